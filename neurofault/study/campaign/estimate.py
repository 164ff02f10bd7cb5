"""What a campaign will take: one trial of some cells, run here, and what analytic masking takes off the first draw."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from neurofault.engines import run
from neurofault.faults import plan, prune
from neurofault.study.campaign.run import Progress, Ready
from neurofault.study.campaign.spec import Cell
from neurofault.study.campaign.trial import Bench

_MEASURED = 12
"""Cells of which a trial is run, spread evenly."""


@dataclass(frozen=True)
class CellEstimate:
    """One cell.

    Attributes:
        cell: what it is.
        trials: its draws.
        seconds: of one trial; None: not measured.
        sites, masked: synapses, neurons and messages that its first draw changes, and those of them that cannot matter; 0: not looked at.
    """

    cell: Cell
    trials: int
    seconds: float | None
    sites: int
    masked: int


@dataclass(frozen=True)
class Estimate:
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


def estimate(state: Ready, progress: Progress) -> Estimate:
    """Run a trial of up to a dozen cells, after one that warms up, and reckon with the mean of the measured ones for the others.

    Args:
        state: from :func:`neurofault.study.campaign.run.ready`.
        progress: called after each trial.
    """
    bench = Bench(state.chips)
    cells = list(state.campaign.cells())
    stride = max(1, -(-len(cells) // _MEASURED))
    chosen = {cell.index for cell in cells[::stride]}
    counts = {key: run(chip.deployment, chip.inputs).activity.spike_counts for key, chip in state.chips.items()}
    found: list[CellEstimate] = []
    warm: set[tuple[str, str, str | None]] = set()
    for cell in cells:
        seconds, sites, masked = None, 0, 0
        if cell.index in chosen:
            task = next(state.tasks_of(cell))
            kind = (task.chip, cell.rescue.strategy, cell.rescue.learner)
            if kind not in warm:
                bench.row(task)
                warm.add(kind)
            began = time.perf_counter()
            bench.row(task)
            seconds = time.perf_counter() - began
            deployment = state.chips[task.chip].deployment
            left = prune(deployment, plan(deployment, task.faults, seed=task.seed, draw=0), counts[task.chip])
            sites, masked = left.sites, left.masked
            progress("measuring", len([one for one in found if one.seconds is not None]) + 1, len(chosen), f"{seconds:.2f} s")
        found.append(CellEstimate(cell, cell.spec.repeats.draws, seconds, sites, masked))
    known = [one.seconds for one in found if one.seconds is not None]
    mean = sum(known) / len(known)
    total = sum((mean if one.seconds is None else one.seconds) * one.trials for one in found)
    unit = 1 if sys.platform == "darwin" else 1024
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20
    return Estimate(tuple(found), sum(one.trials for one in found), total, megabytes, len(chosen))
