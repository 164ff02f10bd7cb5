"""A campaign at work: chips made once, trials found by identity, rows into the journal; run again, it goes on where it stopped."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.errors import UsageError
from neurofault.study.campaign.agenda import Agenda
from neurofault.study.campaign.folder import ENVIRONMENT, JOURNAL, PLANNED, RESOLVED, WRITTEN, begin, save
from neurofault.study.campaign.identity import chip_digest, digest_of, trial_id
from neurofault.study.campaign.interrupts import Interrupts
from neurofault.study.campaign.journal import Journal, Row, read_rows
from neurofault.study.campaign.on_dask import run_dask
from neurofault.study.campaign.spec import Campaign, Cell
from neurofault.study.campaign.trial import Chip, Task
from neurofault.study.campaign.workers import run_local
from neurofault.study.prepare import Prepared, Setup, prepare

Progress = Callable[[str, int, int, str], None]
"""Called as ``progress(stage, done, total, text)``."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A campaign with its chips made.

    Attributes:
        campaign: what was asked for.
        chips: key → chip.
        prepared: key → where it came from.
        chip_of: for each cell, the key of its chip.
        digests: key → digests of the chip, the images, the adapt set.
    """

    campaign: Campaign
    chips: Mapping[str, Chip]
    prepared: Mapping[str, Prepared]
    chip_of: Mapping[int, str]
    digests: Mapping[str, tuple[str, str, str]]

    def tasks_of(self, cell: Cell) -> Iterator[Task]:
        """Yield the trials of one cell."""
        key, repeats = self.chip_of[cell.index], cell.spec.repeats
        for draw in range(repeats.draws):
            yield Task(
                trial_id(cell, draw, *self.digests[key]), draw, key, cell.faults, cell.rescue,
                repeats.seed, cell.spec.engine, None if repeats.stop is None else str(repeats.stop),
            )  # fmt: skip


def ready(campaign: Campaign, data_dir: Path | None, progress: Progress) -> Ready:
    """Make every chip that a campaign needs: train, convert, place.

    Raises:
        NeurofaultError: whatever the user must mend, before any trial runs.
    """
    chips: dict[str, Chip] = {}
    prepared: dict[str, Prepared] = {}
    digests: dict[str, tuple[str, str, str]] = {}
    chip_of: dict[int, str] = {}
    made: dict[Setup, Prepared] = {}
    known: dict[str, str] = {}
    learns = any(one.learner is not None for one in campaign.spec.rescue)
    for cell in campaign.cells():
        setup, data = replace(cell.spec.setup(data_dir), learns=learns), cell.spec.data
        name = digest_of(repr(setup), data.model_dump())
        if name not in known:
            if setup not in made:
                made[setup] = prepare(setup, progress)
            whole = made[setup]
            split = whole.data.split(data.split)
            split = split if data.samples is None else split.first(data.samples)
            train, deployment = whole.data.train.first(min(data.adapt, len(whole.data.train))), whole.deployment
            adapt = deployment.encode(train.images) if learns else None
            labels = split.labels.astype(np.int64)
            inputs = deployment.encode(split.images)
            key = f"chip{len(chips)}"
            chips[key] = Chip(deployment, inputs, labels, adapt, train.labels.astype(np.int64) if learns else None)
            prepared[key] = whole
            digests[key] = (chip_digest(deployment), digest_of(split.images, labels), digest_of(train.images, train.labels))
            known[name] = key
        chip_of[cell.index] = known[name]
    return Ready(campaign, chips, prepared, chip_of, digests)


@dataclass(frozen=True)
class Executor:
    """Who runs the trials.

    Attributes:
        workers: local processes, at least 1.
        dask: address of a scheduler, ``local``, or None: local processes without Dask.
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
class Outcome:
    """How a run ended.

    Attributes:
        ran: trials that ran now.
        kept: trials that had a row already.
        failed: trials that ran now and have no result.
        stopped: whether Ctrl-C ended it early.
    """

    ran: int
    kept: int
    failed: int
    stopped: bool


def run_campaign(folder: Path, state: Ready, executor: Executor, progress: Progress) -> Outcome:
    """Run what has no row yet.

    Args:
        folder: run folder; it is made.
        state: from :func:`ready`.
        executor: who runs the trials; the rows do not depend on it.
        progress: called after each trial.

    Raises:
        UsageError: the folder cannot be written, or another run writes to it.
    """
    begin(folder, state.campaign, planned_json(state))
    limits = state.campaign.spec.limits
    stop = Interrupts()
    with Journal(folder / JOURNAL) as journal, stop:
        done = [row for row in read_rows(folder / JOURNAL).rows if not executor.retry or row["status"] == "ok"]
        agenda = Agenda(state.campaign, state.tasks_of, done, executor.shard)
        del done
        payload = pickle.dumps(dict(state.chips))
        if executor.dask is None:
            chips = save(folder / ".chips.pkl", payload)
            rows = run_local(agenda.due(), chips, limits, executor.workers, patience=lambda: stop.asked)
        else:
            rows = run_dask(agenda.due(), payload, executor.dask, executor.workers, patience=lambda: stop.asked)
        ran = failed = 0
        began = time.monotonic()
        for row in rows:
            journal.add(row)
            agenda.note(row)
            ran += 1
            failed += row["status"] not in ("ok", "stalled")
            left = max(0, agenda.most - agenda.kept - ran)
            at_most = "at most " if state.campaign.spec.repeats.stop else ""
            seconds = (time.monotonic() - began) / ran * left
            progress("trials", agenda.kept + ran, agenda.kept + ran + left, f"{failed} failed, {at_most}{seconds:.0f} s left")
        (folder / ".chips.pkl").unlink(missing_ok=True)
    return Outcome(ran, agenda.kept, failed, stop.asked)


def planned_json(state: Ready) -> dict[str, Any]:
    """Return what the report must know of a campaign without making its chips again."""
    labels = {key: chip.labels for key, chip in state.chips.items()}
    first = next(iter(state.chips.values()))
    return {
        "name": state.campaign.spec.name,
        "axes": [{"name": axis.name, "values": list(axis.values)} for axis in state.campaign.axes],
        "data": next(iter(state.prepared.values())).data.name,
        "samples": len(first.labels),
        "timesteps": first.deployment.timesteps,
        "chance": {key: float(np.bincount(found).max() / len(found)) for key, found in labels.items()},
        "chips": {key: _map_of(chip) for key, chip in state.chips.items()},
        "digests": {key: list(found) for key, found in state.digests.items()},
        "chip_of": {str(cell): key for cell, key in state.chip_of.items()},
    }


def _map_of(chip: Chip) -> dict[str, Any]:
    """Return where each used or spare core lies and which layer it holds; None: a spare."""
    deployment = chip.deployment
    grid, placement = deployment.profile.chip, deployment.placement
    columns, per = grid.tile_columns.known, grid.cores_per_tile.known
    layer_of: dict[int, str | None] = dict.fromkeys(placement.spare_cores)
    for index, layer in enumerate(deployment.layers):
        layer_of |= dict.fromkeys(map(int, placement.cores_of_layer(index)), layer.name)
    cores = {}
    for core, name in sorted(layer_of.items()):
        board, local = divmod(core, placement.cores_per_chip)
        tile = local // per
        cores[str(core)] = {"layer": name, "column": tile % columns, "row": tile // columns + board * grid.tile_rows.known}
    return {"columns": columns, "rows": grid.tile_rows.known * placement.chips, "cores": cores}


def merge(into: Path, folders: Sequence[Path]) -> tuple[int, int]:
    """Add the rows of other run folders to one, each trial once.

    Returns:
        Rows added, rows that were there already.

    Raises:
        UsageError: a folder without a journal, or one that ran another campaign.
    """
    specs = set()
    for folder in folders:
        if not (folder / JOURNAL).exists():
            raise UsageError(f"{folder}: no journal there")
        specs.add((folder / RESOLVED).read_text(encoding="utf-8"))
    if (into / RESOLVED).exists():
        specs.add((into / RESOLVED).read_text(encoding="utf-8"))
    if len(specs) > 1:
        raise UsageError("these folders ran different campaigns (their resolved.json differ); only shards of one can be merged")
    for name in (WRITTEN, RESOLVED, ENVIRONMENT, PLANNED):
        if not (into / name).exists():
            save(into / name, (folders[0] / name).read_bytes())
    added = known = 0
    with Journal(into / JOURNAL) as journal:
        have = {row["trial"] for row in read_rows(into / JOURNAL).rows}
        for folder in folders:
            if folder.resolve() == into.resolve():
                continue
            for row in read_rows(folder / JOURNAL).rows:
                if row["trial"] in have:
                    known += 1
                    continue
                have.add(row["trial"])
                journal.add(row)
                added += 1
    return added, known


def sorted_rows(rows: Sequence[Row]) -> list[Row]:
    """Return one row a trial, the last one that was written, by identity."""
    last = {row["trial"]: row for row in rows}
    return [last[trial] for trial in sorted(last)]
