"""Pairs of faults that nobody chose a test by: how many of those that matter does it expose?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurofault.damage.damage import Edit
from neurofault.deploy.deployment import Deployment
from neurofault.inputs import Inputs
from neurofault.streams import generator
from neurofault.study.patterns.cover import ones
from neurofault.study.patterns.fault_list import FaultList
from neurofault.study.patterns.matrix import Prober
from neurofault.study.patterns.seen import Observe
from neurofault.study.statistics import Interval, wilson


@dataclass(frozen=True)
class Doubles:
    """Keyed draws of two faults at once.

    Attributes:
        draws: how many pairs were drawn.
        critical: how many of them change the class of as many reference samples as a critical fault.
        exposed: how many of these the test exposes.
        coverage: their share, Wilson's interval over draws; None where none is critical.
    """

    draws: int
    critical: int
    exposed: int
    coverage: Interval | None


def pairs(faults: FaultList, draws: int, seed: int) -> list[tuple[int, int]]:
    """Draw pairs of different faults: the kind of each at random, then its place; draw d is the same however many are drawn."""
    found = []
    for draw in range(draws):
        random = generator(seed, "testset", "double", draw)
        first = second = -1
        while first == second:
            first, second = (
                int(random.integers(int(faults.first[kind]), int(faults.first[kind + 1])))
                for kind in random.integers(0, len(faults.kinds), 2).tolist()
            )
            if len(faults) == 1:
                return []
        found.append((first, second))
    return found


def doubles(
    chip: Deployment,
    faults: FaultList,
    shown: Inputs,
    reference: Prober,
    observe: Observe,
    draws: int,
    seed: int,
    threads: int | None,
    critical: int,
) -> Doubles:
    """Break a chip by pairs of faults and show it a test.

    Args:
        chip: healthy.
        faults: single faults.
        shown: the test's samples.
        reference: shows the reference samples, and sees the class.
        observe: what the test sees.
        draws: how many pairs.
        seed: key of the draws.
        threads: worker threads; None: one for each usable core.
        critical: of how many reference samples a critical pair changes the class.
    """
    edits: list[tuple[Edit, ...]] = [(*faults.edits(one), *faults.edits(two)) for one, two in pairs(faults, draws, seed)]
    matters = ones(reference.of_edits(edits)) >= critical
    own = [edits[at] for at in np.flatnonzero(matters)]
    exposed = int(Prober(chip, shown, observe, threads).of_edits(own).any(axis=1).sum()) if own else 0
    return Doubles(len(edits), len(own), exposed, wilson(exposed, len(own)) if own else None)
