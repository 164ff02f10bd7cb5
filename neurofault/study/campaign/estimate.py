"""What a campaign will take: one trial of some cells, run here, and what analytic masking takes off the first draw."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from neurofault.engines import run
from neurofault.errors import NeurofaultError
from neurofault.faults import plan, prune
from neurofault.progress import Progress
from neurofault.study.campaign.rows import failed
from neurofault.study.campaign.run import Ready
from neurofault.study.campaign.spec import Cell
from neurofault.study.campaign.trial import WorkerBench

_MEASURED = 12
"""Cells of which a trial is run, spread evenly."""


@dataclass(frozen=True)
class CellEstimate:
    """One cell.

    Attributes:
        cell: what it is.
        trials: its draws.
        seconds: of one trial; None: not measured.
        sites, masked: synapses, neurons and messages that its first draw changes, and those of them that cannot matter.
        problem: why its first trial fails; empty: it does not, as far as the faults go.
    """

    cell: Cell
    trials: int
    seconds: float | None
    sites: int
    masked: int
    problem: str


@dataclass(frozen=True)
class CampaignEstimate:
    """A campaign.

    Attributes:
        cells: in order.
        trials: in all.
        total_seconds: on one worker.
        megabytes: largest memory of this process while it ran the trials.
        measured: cells of which a trial was run.
    """

    cells: tuple[CellEstimate, ...]
    trials: int
    total_seconds: float
    megabytes: int
    measured: int

    @property
    def problems(self) -> dict[str, list[int]]:
        """Why cells fail → which ones."""
        found: dict[str, list[int]] = {}
        for one in self.cells:
            if one.problem:
                found.setdefault(one.problem, []).append(one.cell.index)
        return found


def estimate(state: Ready, progress: Progress) -> CampaignEstimate:
    """Break the chip as every cell does, run a trial of up to a dozen, after one that warms up, and reckon with their mean for the others.

    Args:
        state: from :func:`neurofault.study.campaign.run.ready`.
        progress: called after each trial.
    """
    bench = WorkerBench(state.chips)
    cells = list(state.campaign.cells())
    stride = max(1, -(-len(cells) // _MEASURED))
    chosen = {cell.index for cell in cells[::stride]}
    counts = {key: run(chip.deployment, chip.inputs).activity.spike_counts for key, chip in state.chips.items()}
    found: list[CellEstimate] = []
    warm: set[tuple[str, str, str | None]] = set()
    for cell in cells:
        task = next(state.tasks_of(cell))
        deployment = state.chips[task.chip].deployment
        seconds, sites, masked, problem = None, 0, 0, ""
        try:
            left = prune(deployment, plan(deployment, task.faults, seed=task.seed, draw=0), counts[task.chip])
            sites, masked = left.sites, left.masked
        except NeurofaultError as error:
            problem = str(error)
        if cell.index in chosen and not problem:
            kind = (task.chip, cell.rescue.strategy, cell.rescue.learner)
            if kind not in warm:
                bench.row(task)
                warm.add(kind)
            began = time.perf_counter()
            row = bench.row(task)
            seconds = time.perf_counter() - began
            problem = row["message"] if failed(row) else ""
        progress("measuring", cell.index + 1, len(cells), problem or ("" if seconds is None else f"{seconds:.2f} s"))
        found.append(CellEstimate(cell, cell.spec.repeats.draws, seconds, sites, masked, problem))
    known = [one.seconds for one in found if one.seconds is not None]
    mean = sum(known) / len(known) if known else 0.0
    total = sum((mean if one.seconds is None else one.seconds) * one.trials for one in found)
    unit = 1 if sys.platform == "darwin" else 1024
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20
    return CampaignEstimate(tuple(found), sum(one.trials for one in found), total, megabytes, len(known))
