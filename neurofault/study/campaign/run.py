"""A campaign at work: chips made once, trials found by identity, rows into the journal; run again, it goes on where it stopped."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from neurofault.data.splits import Split
from neurofault.deploy.deployment import Deployment
from neurofault.digest import digest_of
from neurofault.engines import get_engine
from neurofault.errors import NeurofaultError, UnsupportedError, UsageError
from neurofault.faults.base import ConnectionFault
from neurofault.faults.context import check_place
from neurofault.metrics import Metric
from neurofault.progress import Progress
from neurofault.rescue import check_way
from neurofault.study.campaign.agenda import Agenda
from neurofault.study.campaign.files import INPUTS
from neurofault.study.campaign.folder import CHIPS, ENVIRONMENT, JOURNAL, RESOLVED, WRITTEN, begin, rows_in, save
from neurofault.study.campaign.identity import chip_digest, settings_of, trial_id
from neurofault.study.campaign.interrupts import Interrupts
from neurofault.study.campaign.journal import Journal, read_rows
from neurofault.study.campaign.on_dask import run_dask
from neurofault.study.campaign.planned import PLANNED, planned_json
from neurofault.study.campaign.rows import SEMANTICS, Row, best, failed, usable
from neurofault.study.campaign.spec import Campaign, Cell, load_campaign
from neurofault.study.campaign.trial import Task, TrialChip
from neurofault.study.campaign.workers import run_local
from neurofault.study.prepare import Prepared, Setup, prepare
from neurofault.study.protect.prepared import hit_alike, most_samples, protected
from neurofault.study.protect.spec import asked_as
from neurofault.study.shown import shown


@dataclass(frozen=True, eq=False)
class Ready:
    """A campaign with its chips made.

    Attributes:
        campaign: what was asked for.
        chips: key → chip.
        prepared: key → where it came from.
        chip_of: for each cell, the key of its chip.
        digests: key → digests of the chip, the images, the adapt set.
        data_dir: folder of published data files.
    """

    campaign: Campaign
    chips: Mapping[str, TrialChip]
    prepared: Mapping[str, Prepared]
    chip_of: Mapping[int, str]
    digests: Mapping[str, tuple[str, str, str]]
    data_dir: Path | None = None

    def tasks_of(self, cell: Cell) -> Iterator[Task]:
        """Yield the trials of one cell."""
        key, repeats = self.chip_of[cell.index], cell.spec.repeats
        for draw in range(repeats.draws):
            metric = self.chips[key].metric.name
            trial = trial_id(cell, draw, *self.digests[key], metric=metric)
            yield Task(trial, draw, key, cell.faults, cell.rescue, repeats.seed, cell.spec.engine, metric)


def ready(campaign: Campaign, data_dir: Path | None, progress: Progress) -> Ready:
    """Make every chip that a campaign needs: train, convert, place.

    Raises:
        NeurofaultError: whatever the user must mend, before any trial runs.
    """
    chips: dict[str, TrialChip] = {}
    prepared: dict[str, Prepared] = {}
    digests: dict[str, tuple[str, str, str]] = {}
    chip_of: dict[int, str] = {}
    made: dict[Setup, Prepared] = {}
    known: dict[str, str] = {}
    folders = {cell.spec.network.folder for cell in campaign.cells() if cell.spec.network.torch is not None}
    folders |= {cell.spec.data.folder for cell in campaign.cells() if cell.spec.data.python is not None}
    if len(folders) > 1:
        raise UsageError(f"network.folder, data.folder: modules of a campaign are found in one folder, not in {len(folders)}")
    _find_modules(folders, campaign.base)
    heals = any(way.strategy != "none" for way in campaign.ways())
    learns = any(way.learner is not None for way in campaign.ways())
    wanted = [cell.spec.data for cell in campaign.cells()]
    needed, validates = max(data.adapt for data in wanted) if heals else 0, any(data.split == "validation" for data in wanted)
    needed = max(needed, *(most_samples(cell.spec.protect) for cell in campaign.cells()))
    shows = [data.samples or 0 for data in wanted if data.split == "test"]
    samples = max(shows) if shows and all(shows) else None
    for cell in campaign.cells():
        setup = replace(
            cell.spec.setup(data_dir, campaign.base), learns=learns, samples=samples, adapt=needed, validates=validates
        )  # fmt: skip
        data = cell.spec.data
        guards, seed = cell.spec.protect, cell.spec.repeats.seed
        name = digest_of(repr(setup), data.model_dump(), *([[*map(asked_as, guards)], seed] if guards else []))
        if name not in known:
            if setup not in made:
                made[setup] = prepare(
                    setup, progress, accuracy_for="rescue" if heals else None, one_label_for="what learns" if learns else None,
                )  # fmt: skip
            whole = protected(made[setup], guards, seed=seed, progress=progress)
            split = whole.data.split(data.split)
            split = split if data.samples is None else split.first(data.samples)
            train, deployment = whole.data.train.first(min(data.adapt, len(whole.data.train))), whole.deployment
            adapt = shown(deployment, train) if heals else None
            inputs, expected = shown(deployment, split), split.expected
            key = f"chip{len(chips)}"
            chips[key] = TrialChip(deployment, inputs, expected, adapt, train.expected if heals else None, whole.metric)
            prepared[key] = whole
            digests[key] = (chip_digest(deployment), _digest(split, whole.metric), _digest(train, whole.metric))
            known[name] = key
        chip_of[cell.index] = known[name]
        if (bare := prepared[known[name]].bare) is not None:
            hit_alike(bare, chips[known[name]].deployment, cell.faults)
    _check_possible(campaign, chips, chip_of)
    if len(measured := {chip.metric.name for chip in chips.values()}) > 1:
        raise UsageError(f"data: a campaign measures one thing, not {' and '.join(sorted(measured))}; make a campaign of each")
    _check_stops(campaign, next(iter(chips.values())).metric)
    return Ready(campaign, chips, prepared, chip_of, digests, data_dir)


def _digest(split: Split, metric: Metric) -> str:
    """Return the digest of samples and what they are to be answered with; the unit and the way in which scores are read belong to targets."""
    return digest_of(split.samples, split.expected, *([metric.unit, metric.how] if metric.lower else []))


def _check_stops(campaign: Campaign, metric: Metric) -> None:
    """Refuse a stop rule that does not suit what is measured.

    Raises:
        UsageError: of errors one without ``most``, of shares one with it.
    """
    stops = [stop for cell in campaign.cells() if (stop := cell.spec.repeats.stop) is not None]
    if metric.lower and any(stop.most is None for stop in stops):
        raise UsageError(
            f"repeats.stop: a {metric.words} has no largest value, and a rule that stops must allow for draws heavier than those it saw; "
            "say with most which error no draw will exceed, in the targets' unit squared"
        )
    if not metric.lower and any(stop.most is not None for stop in stops):
        raise UsageError(
            f"repeats.stop.most goes with a mean squared error; a share of right answers is at most 1, and {metric.words} is measured here"
        )


def _check_possible(campaign: Campaign, chips: Mapping[str, TrialChip], chip_of: Mapping[int, str]) -> None:
    """Refuse what none of the campaign's chips can do: a fault's place, an engine, a way of healing. Where only some can, trials fail.

    Raises:
        UsageError: the first such, with the nearest name or with what could.
    """
    refused: dict[tuple[str, ...], str] = {}
    met: set[tuple[str, ...]] = set()
    for cell in campaign.cells():
        deployment = chips[chip_of[cell.index]].deployment
        for what, check in _demands(cell, deployment):
            if what in met:
                continue
            try:
                check()
                met.add(what)
            except NeurofaultError as error:
                refused.setdefault(what, f"{what[0]}: {error}")
    for asked, text in refused.items():
        if asked not in met:
            raise UsageError(text)


def _demands(cell: Cell, deployment: Deployment) -> Iterator[tuple[tuple[str, ...], Callable[[], None]]]:
    """Yield what a cell asks of its chip, and what says whether the chip can do it."""
    for fault in cell.faults:
        connection = fault.connection if isinstance(fault, ConnectionFault) else None
        if (fault.layer, connection) != (None, None):
            yield (fault.kind, str(fault.layer), str(connection)), partial(check_place, deployment, fault)
    yield ("engine", cell.spec.engine), partial(_check_engine, cell.spec.engine, deployment)
    way = cell.rescue
    plastic = None if way.plastic is None else tuple(way.plastic)
    yield (
        (f"rescue {way.strategy}", str(way.learner), str(plastic)),
        partial(check_way, deployment, way.strategy, way.learner, plastic),
    )


def _check_engine(name: str, deployment: Deployment) -> None:
    """Refuse a chip that an engine cannot run (UnsupportedError)."""
    if (reason := get_engine(name).supports(deployment)) is not None:
        raise UnsupportedError(f"{name} cannot run {reason}")


def _find_modules(folders: set[str | None], base: Path) -> None:
    """Let Python find the modules of a campaign's networks and data beside its file, or in the one folder named, before those of the current folder."""
    first = str(base / (next(iter(folders), None) or "."))
    if folders and sys.path[:1] != [first]:
        sys.path[:0] = [first, *([] if str(Path.cwd()) in sys.path else [str(Path.cwd())])]


@dataclass(frozen=True)
class Executor:
    """Who runs the trials.

    Attributes:
        workers: local processes, at least 1.
        dask: address of a scheduler, or the file that it wrote (``….json``), ``local``, or None: local processes without Dask.
        shard: (i, n): only the trials whose identity is i − 1 modulo n (of cells with a stop rule all trials or none); 1 ≤ i ≤ n.
        retry: also run again what failed before.
    """

    workers: int = 1
    dask: str | None = None
    shard: tuple[int, int] = (1, 1)
    retry: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"workers must be at least 1, is {self.workers}")
        number, of = self.shard
        if not 1 <= number <= of:
            raise UsageError(f"shard {number}/{of}: the first number goes from 1 to the second")


@dataclass(frozen=True)
class CampaignOutcome:
    """How a run ended.

    Attributes:
        ran: trials that ran now.
        kept: trials that had a row already.
        failed: trials that ran now and have no result.
        stopped: whether a signal (Ctrl-C, SIGTERM, SIGHUP) ended it early.
        signal: its number; None: none.
        earlier: trials of the journal whose rows an earlier version of neurofault computed; they are kept and not used.
    """

    ran: int
    kept: int
    failed: int
    stopped: bool
    signal: int | None = None
    earlier: int = 0


def run_campaign(
    folder: Path, state: Ready, executor: Executor, progress: Progress, on_row: Callable[[Row], object] | None = None
) -> CampaignOutcome:
    """Run what has no row yet.

    Args:
        folder: run folder; it is made.
        state: from :func:`ready`.
        executor: who runs the trials; the rows do not depend on it.
        progress: called after each trial.
        on_row: called with a copy of each row that was added to the journal; None: nothing is called.

    Raises:
        UsageError: the folder cannot be written, or another run writes to it; nothing in it has changed then.
    """
    limits = state.campaign.spec.limits
    stop = Interrupts()
    with Journal(folder / JOURNAL) as journal, stop:
        begin(folder, state.campaign, planned_of(state))
        everything = read_rows(folder / JOURNAL).rows
        done = [row for row in best(usable(everything, SEMANTICS)).values() if not (executor.retry and failed(row))]
        earlier = len({row["trial"] for row in everything if row.get("semantics", 1) != SEMANTICS})
        agenda = Agenda(state.campaign, state.tasks_of, done, executor.shard)
        del done, everything
        payload = pickle.dumps(dict(state.chips))
        if executor.dask is None:
            chips = save(folder / CHIPS, payload)
            rows = run_local(agenda.due(), chips, limits, executor.workers, patience=lambda: stop.asked)
        else:
            rows = run_dask(agenda.due(), payload, executor.dask, executor.workers, patience=lambda: stop.asked)
        ran = lost = 0
        began = time.monotonic()
        try:
            for row in rows:
                journal.add(row)
                agenda.note(row)
                if on_row is not None:
                    on_row({**row})
                ran += 1
                lost += failed(row)
                if stop.asked:
                    continue
                left = max(0, agenda.most - agenda.kept - ran)
                at_most = "at most " if state.campaign.spec.repeats.stop else ""
                seconds = (time.monotonic() - began) / ran * left
                progress("trials", agenda.kept + ran, agenda.kept + ran + left, f"{lost} failed, {at_most}{seconds:.0f} s left")
        finally:
            rows.close()  # workers end with it, whatever came in between
            (folder / CHIPS).unlink(missing_ok=True)
    return CampaignOutcome(ran, agenda.kept, lost, stop.asked, stop.signal, earlier)


def planned_of(state: Ready) -> dict[str, Any]:
    """Return what ``planned.json`` of a campaign holds."""
    data = next(iter(state.prepared.values())).data.name
    weights = {key: prepared.weights for key, prepared in state.prepared.items()}
    return planned_json(state.campaign, state.chips, data, state.digests, weights, state.chip_of, state.data_dir)


def merge(into: Path, folders: Sequence[Path]) -> tuple[int, int]:
    """Add the rows of other run folders to one: a trial that has a result there keeps it, one that failed takes a later result.

    Returns:
        Rows added, rows that were there already.

    Raises:
        UsageError: a folder that is not whole, or one that ran another campaign (limits aside); nothing has been written then.
    """
    settings = set()
    read: list[Sequence[Row]] = []
    for folder in [*folders, *([into] if (into / RESOLVED).exists() else [])]:
        found = rows_in(folder)
        settings.add(settings_of(load_campaign(folder / RESOLVED)))
        read.append(found.rows)
    if len(settings) > 1:
        raise UsageError("these folders ran different campaigns (their resolved.json differ); only shards of one can be merged")
    missing = [folder / name for folder in folders[:1] for name in (WRITTEN, ENVIRONMENT, PLANNED) if not (folder / name).exists()]
    if missing:
        raise UsageError(f"{missing[0].parent}: half a run folder: {missing[0].name} is missing")
    added = known = 0
    with Journal(into / JOURNAL) as journal:
        copies = [str(file.relative_to(folders[0])) for file in sorted((folders[0] / INPUTS).glob("*")) if file.is_file()]
        for name in (WRITTEN, RESOLVED, ENVIRONMENT, PLANNED, *copies):
            if not (into / name).exists():
                save(into / name, (folders[0] / name).read_bytes())
        have = best(read_rows(into / JOURNAL).rows)
        for folder, rows in zip(folders, read, strict=False):
            if folder.resolve() == into.resolve():
                continue
            for trial, row in best(rows).items():
                if trial in have and (not failed(have[trial]) or failed(row)):
                    known += 1
                    continue
                have[trial] = row
                journal.add(row)
                added += 1
    return added, known
