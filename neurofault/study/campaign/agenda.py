"""Which trials are due: those without a row, and of a cell that may stop early only those up to its next look."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, final

from neurofault.study.campaign.rows import Row, value_of
from neurofault.study.campaign.spec import Campaign, Cell
from neurofault.study.statistics import StopRule

if TYPE_CHECKING:
    from neurofault.study.campaign.trial import Task


@dataclass(eq=False)
class _Open:
    """A cell whose draws may end early."""

    rule: StopRule
    tasks: Iterator[Task]
    trials: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


@final
class Agenda:
    """Gives out trials, each once, and learns from rows when a cell has enough.

    Args:
        campaign: whose trials.
        tasks_of: trials of a cell by draw.
        rows: that are there already.
        shard: (i, n): only those trials whose identity is i − 1 modulo n; a cell with a stop rule goes whole, by its first trial.

    Attributes:
        kept: trials met so far that had a row already.
        most: most trials there can be in this shard.
    """

    def __init__(
        self, campaign: Campaign, tasks_of: Callable[[Cell], Iterator[Task]], rows: Sequence[Row], shard: tuple[int, int]
    ) -> None:
        self._campaign, self._tasks_of, self._shard = campaign, tasks_of, shard
        self._done = {row["trial"] for row in rows}
        self._given: set[str] = set()
        self._may_stop = campaign.spec.repeats.stop is not None or any(axis.place[0] == "repeats" for axis in campaign.axes)
        self._outcomes = {row["trial"]: value_of(row) for row in rows} if self._may_stop else {}
        self._waiting: dict[str, list[_Open]] = {}
        self._next: deque[Task] = deque()
        self.kept = 0
        self.most = campaign.n_trials // shard[1]

    def due(self) -> Iterator[Task | None]:
        """Yield what to run next; None: nothing until another row has been noted."""
        cells = self._campaign.cells()
        while True:
            while self._next:
                yield self._next.popleft()
            cell = next(cells, None)
            if cell is not None:
                stop = cell.spec.repeats.stop
                if stop is None:
                    yield from (task for task in self._tasks_of(cell) if self._mine(task.trial) and self._is_due(task))
                elif self._mine(next(self._tasks_of(cell)).trial):
                    self._go_on(_Open(stop.rule, self._tasks_of(cell)))
            elif self._waiting:
                yield None
            elif not self._next:
                return

    def note(self, row: Row) -> None:
        """Learn that a trial has its row."""
        if self._may_stop:
            self._outcomes[row["trial"]] = value_of(row)
        for cell in self._waiting.pop(row["trial"], ()):
            cell.missing.discard(row["trial"])
            if not cell.missing:
                self._go_on(cell)

    def _mine(self, trial: str) -> bool:
        number, of = self._shard
        return int(trial[:8], 16) % of == number - 1

    def _is_due(self, task: Task) -> bool:
        if task.trial in self._given:
            return False
        if task.trial in self._done:
            self.kept += 1
            return False
        self._given.add(task.trial)
        return True

    def _go_on(self, cell: _Open) -> None:
        """Give out a cell's trials up to its next look, unless it has enough; looks at once where all of these have rows."""
        while cell.rule.last_draw([self._outcomes[trial] for trial in cell.trials]) is None:
            more = list(islice(cell.tasks, cell.rule.next_look(len(cell.trials)) - len(cell.trials)))
            if not more:
                return
            cell.trials += [task.trial for task in more]
            self._next.extend(task for task in more if self._is_due(task))
            cell.missing = {task.trial for task in more if task.trial not in self._outcomes}
            for trial in cell.missing:
                self._waiting.setdefault(trial, []).append(cell)
            if cell.missing:
                return
