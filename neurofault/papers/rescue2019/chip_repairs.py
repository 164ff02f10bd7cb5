"""One repair of one draw of damage on the chip, computed once and kept: what figures 2, 3 and 4 and the ranking are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from neurofault.faults import RoundingStuck, inject
from neurofault.papers.rescue2019.chip_bench import WatchedBench
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Option
from neurofault.papers.rescue2019.repairs import History, wait
from neurofault.rescue import strategies
from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench

_SEMANTICS = 1  # raised by hand when the same repair gives another history


def remap(bench: WatchedBench) -> None:
    """All damage at once, then orphans move to spare cores."""
    bench.strike()
    bench.remap()


ACTS: dict[str, Callable[[WatchedBench], None]] = {
    "none": strategies.none,
    "wait": wait,
    "batch": strategies.batch,
    "iterative": strategies.iterative,
    "embryonic": strategies.embryonic,
    "remap": remap,
    "sham": strategies.sham,
    "fresh-subnetwork": strategies.fresh_subnetwork,
}
"""Name → what happens."""


@dataclass(frozen=True)
class ChipRepair:
    """One repair.

    Attributes:
        draw: of the damage.
        act: a name of :data:`ACTS`.
        learner: None: nothing learns.
        loss: ``cores`` or ``neurons``.
        dead: how many die.
        adapt: training images of a cycle.
        bits: stored bits a weight.
        cycles: of learning in all.
        steps: equal damage steps.
        watchdog: samples served before a strike is noticed.
        writes: limit of the budget; None: none.
        energy: likewise, in joules.
        table: energy table that ``energy`` counts in.
        labels: share of the adapt set whose labels are known.
        plastic: names of the connections (in a chain: of the layers) that may change; None: all that the learner can train.
        options: of the learner.
        rounding: number in the place of the learning engine's random one, 0 to 127; None: random.
        dropout: the network that was trained with dropout.
        watched: validation images are looked at.
        stops: likewise, and learning (but that of a sham) ends once it has recovered at the smallest tolerance.
        looks: cycles after a change at which the chip is looked at.
    """

    draw: int
    act: str
    learner: str | None
    loss: str
    dead: int
    adapt: int
    bits: int
    cycles: float = 0.0
    steps: int = 1
    watchdog: int = 0
    writes: int | None = None
    energy: float | None = None
    table: str | None = None
    labels: float = 1.0
    plastic: tuple[str, ...] | None = None
    options: tuple[Option, ...] = ()
    rounding: int | None = None
    dropout: bool = False
    watched: bool = False
    stops: bool = False
    looks: tuple[float, ...] = ()


@dataclass(frozen=True)
class ChipHistory:
    """What a repair looked like and what it used.

    Attributes:
        seen: its history; a gradient step is one sample, ``updates`` are weight writes.
        writes, updates, host_bytes: in all, see :class:`neurofault.rescue.budget.Spent`.
        energy, time: by table.
        notes: what else must be known.
    """

    seen: History
    writes: int
    updates: int
    host_bytes: int
    energy: dict[str, float]
    time: dict[str, float]
    notes: tuple[str, ...]

    @property
    def final(self) -> float:
        """Test accuracy in the end."""
        return self.seen.final

    @property
    def stopped(self) -> float:
        """Test accuracy at the look since the last change that validation images liked best; the first of equal ones."""
        later = range(self.seen.began, len(self.seen.test))
        return self.seen.test[max(later, key=lambda look: self.seen.validation[look])] / self.seen.n_test


def perform(study: ChipStudy, repair: ChipRepair) -> WatchedBench:
    """Carry a repair out and return the bench it was done on. Nothing guards it: the figures ask what learning itself does."""
    setting = study.setting
    chip = study.chip(repair.bits, repair.dropout)
    healthy = chip.with_table(repair.table)
    learner = (
        None if repair.learner is None else study.learner(repair.learner, repair.bits, repair.adapt, repair.options, repair.dropout)
    )
    bench = Workbench(
        study.hurt(healthy, repair.loss, repair.dead, repair.draw), study.adapt(repair.adapt, repair.bits, repair.dropout), learner,
        Budget(cycles=repair.cycles, writes=repair.writes, energy=repair.energy, labels=repair.labels),
        Plan(steps=repair.steps, watchdog=repair.watchdog), plastic=repair.plastic, seed=setting.seed + 1000 * repair.draw,
        guard=None,
    )  # fmt: skip
    if repair.rounding is not None:
        cores = tuple(sorted({int(core) for one in healthy.connections for core in healthy.placement.cores_of(one.target)}))
        bench.deployment = inject(bench.deployment, RoundingStuck(cores=cores, value=repair.rounding))
    watched = WatchedBench(
        bench, chip.test, validation=chip.validation if repair.stops or repair.watched else None, looks=repair.looks,
        tolerance=min(setting.tolerances) if repair.stops and repair.act != "sham" else None, sustained=setting.sustained,
    )  # fmt: skip
    ACTS[repair.act](watched)
    return watched


def key_of(study: ChipStudy, repair: ChipRepair) -> dict[str, Any]:
    """Return everything that the result of a repair depends on, as JSON values."""
    setting = study.setting
    stop = [list(setting.tolerances), setting.sustained] if repair.stops else None
    return {
        "unit": "chip repair", "semantics": _SEMANTICS, "chip": study.chip(repair.bits, repair.dropout).digest, "seed": setting.seed,
        "stop": stop, **asdict(repair),
    }  # fmt: skip


def history(study: ChipStudy, repair: ChipRepair) -> ChipHistory:
    """Return what a repair looked like, computing it if it is not in the journal."""

    def compute() -> dict[str, Any]:
        watched = perform(study, repair)
        bench, chip = watched.bench, study.chip(repair.bits, repair.dropout)
        spent = bench.spent
        seen = History(
            tuple(watched.steps), tuple(watched.samples), tuple(watched.strikes), tuple(watched.what), tuple(watched.validation),
            tuple(watched.test), tuple(watched.writes), bench.cycle, 1, len(chip.validation.labels), len(chip.test.labels),
        )  # fmt: skip
        return asdict(
            ChipHistory(
                seen,
                spent.writes,
                spent.updates,
                spent.host_bytes,
                dict(spent.energy),
                dict(spent.time),
                tuple(dict.fromkeys(bench.notes)),
            )
        )

    known = study.journal.once(key_of(study, repair), compute)
    seen: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known["seen"].items()}
    return ChipHistory(
        History(**seen),
        known["writes"],
        known["updates"],
        known["host_bytes"],
        known["energy"],
        known["time"],
        tuple(known["notes"]),
    )
