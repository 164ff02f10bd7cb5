"""The search itself: from a placed chip and what was measured on it to another placement on as many cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.anneal_words import ANNEAL
from neurofault.deploy.annealed.kernel import Puzzle, Standing, anneal, land_all
from neurofault.deploy.annealed.parts import CutParts, cut_parts, puzzle_of
from neurofault.deploy.cost_events import connection_traffic
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.placement import healthy_cores
from neurofault.deploy.resources import limits, usage
from neurofault.deploy.routing import topology
from neurofault.errors import UsageError
from neurofault.streams import stream_key

_SPARE_SITES = 64
"""So many cores beyond twice those in use are looked at as places, the nearest ones."""

_MOST_REACH = 1 << 30
"""Most pairs of a group of sources and a core that are counted (4 bytes each)."""

_UNLIMITED = 1 << 62

_HOT, _COLD = 2e-5, 1e-8
"""First and last temperature, as shares of the objective of the placement that the search begins with."""


@dataclass(frozen=True, eq=False)
class Harm:
    """What dies with a neuron, as the search sees it: a core whose neurons' shares sum to f costs Σ linear · f + square · f².

    Attributes:
        shares: population → float64 [n, F].
        linear, square: float64 [F].
    """

    shares: Mapping[str, NDArray[np.float64]]
    linear: NDArray[np.float64]
    square: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Annealed:
    """A placement that was found.

    Attributes:
        placement: of the same network on as many cores, or fewer.
        value: of the objective, as the search counts it.
        taken: moves that were taken.
    """

    placement: Placement
    value: float
    taken: int


class Search:
    """A placed chip, made ready to be searched from with any weights.

    Args:
        chip: healthy, placed by ``pack``, ``spread`` or ``random``.
        spikes: population → int64 [n], spikes of each neuron over the samples that traffic is counted on.
        harm: what the search believes of dead cores.

    Raises:
        UsageError: the chip's cores cannot be shared, it is not known how they are joined, or the network is too large.
    """

    def __init__(self, chip: Deployment, spikes: Mapping[str, NDArray[np.int64]], harm: Harm) -> None:
        profile = chip.profile
        if profile.one_core or profile.core.layers is not None:
            held = "all of a network" if profile.one_core else "one whole population"
            raise UsageError(
                f"placement {ANNEAL!r} moves parts of populations, but a core of {profile.name!r} holds {held}; use pack, spread or random"
            )
        grid = topology(chip)  # refuses a profile that does not know it
        self._chip = chip
        self._seats = chip.placement.used_cores
        self._parts: CutParts = cut_parts(chip, self._seats)
        seats, core = len(self._seats), limits(profile)
        free = np.setdiff1d(healthy_cores(profile, chip.placement.chips), chip.placement.spare_cores)
        empty = np.setdiff1d(free, self._seats)
        near = grid.hops(self._seats[:, None], empty[None]).total.sum(axis=0)
        empty = empty[np.argsort(near, kind="stable")][: seats + _SPARE_SITES]
        self._sites = np.concatenate([self._seats, empty])
        full = max(int(np.bincount(self._at(one)).max()) for one in chip.placement.core_of.values())
        limit = np.array(
            [full, *(_UNLIMITED if core[each] is None else core[each] for each in ("synapse_bits", "in_axons", "out_axons"))],
            np.int64,
        )
        distance = grid.hops(self._sites[:, None], self._sites[None]).total.astype(np.int64)
        features = np.zeros((len(self._parts.size), len(harm.linear)))
        for name, part in self._parts.of.items():
            np.add.at(features, part, harm.shares[name])
        self._puzzle: Puzzle = puzzle_of(chip, self._parts, spikes, limit, distance, features, harm.linear, harm.square)
        if len(self._puzzle.owner) * seats > _MOST_REACH:
            raise UsageError(
                f"placement {ANNEAL!r}: {len(self._puzzle.owner):,} groups of neurons on {seats:,} cores are too many to search; use pack, spread or random"
            )

    def _at(self, cores: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.searchsorted(self._seats, cores).astype(np.int64)

    def _standing(self) -> Standing:
        """Return where the search begins."""
        puzzle, seats = self._puzzle, len(self._seats)
        now = Standing(
            self._parts.start.copy(), np.arange(len(self._sites)), np.zeros((len(puzzle.owner), seats), np.int32),
            np.zeros((seats, seats), np.int64), np.zeros((4, seats), np.int64), np.zeros((seats, len(puzzle.linear))),
            np.zeros(seats), np.zeros(1, np.int64),
        )  # fmt: skip
        land_all(puzzle, now)
        return now

    def run(self, *, damage: float, k: int = 1, seed: int = 0, moves: int, hops: float, loss: float) -> Annealed | None:
        """Anneal; None where what was found does not fit the cores after all.

        Args:
            damage: weight of the loss of the worst k cores, 0 to 1; traffic has the rest.
            k: cores that die.
            seed: key of the random numbers.
            moves: how many are tried.
            hops: by which traffic is measured: of the placement to beat.
            loss: the same of the loss, as :func:`believed_worst` says.
        """
        now = self._standing()
        traffic = (1 - damage) / hops if hops else 0.0
        harm = damage / loss if loss else 0.0
        key = np.uint64(stream_key(seed, "placement", ANNEAL))
        seat, site, value, taken = anneal(self._puzzle, now, moves, _HOT, _COLD, traffic, harm, k, key)
        core = self._sites[site]
        placed = replace(
            self._chip.placement,
            core_of={name: core[seat[part]].astype(np.int32) for name, part in self._parts.of.items()},
            strategy=ANNEAL,
        )
        return Annealed(placed, value, taken) if fits(replace(self._chip, placement=placed), int(self._puzzle.limit[0])) else None


def fits(chip: Deployment, neurons: int) -> bool:
    """Say whether each core holds at most so many neurons, and no more than it has of any resource."""
    counted = usage(chip)
    if int(counted.used["neurons"].max()) > neurons:
        return False
    return all(limit is None or int(counted.used[name].max()) <= limit for name, limit in counted.limits.items())


def hops_of(chip: Deployment, spikes: Mapping[str, NDArray[np.int64]]) -> int:
    """Return the hops of all messages that measured spikes send, from chip to chip too, damaged or not.

    Args:
        chip: placed.
        spikes: population → int64 [n].
    """
    flows, grid = connection_traffic(chip, spikes), topology(chip)
    return sum(int((one.messages * grid.hops(one.sources, one.destinations).total).sum()) for one in flows)


def believed(placement: Placement, harm: Harm) -> NDArray[np.float64]:
    """Return float64 [S]: what each core in use costs when it dies, as the search sees it."""
    cores = placement.used_cores
    held = np.zeros((len(cores), len(harm.linear)))
    for name, own in placement.core_of.items():
        np.add.at(held, np.searchsorted(cores, own), harm.shares[name])
    return held @ harm.linear + held**2 @ harm.square


def believed_worst(placement: Placement, harm: Harm, k: int) -> float:
    """Return the sum of the k largest of :func:`believed`, plus k times their mean: what the search lowers."""
    each = np.sort(believed(placement, harm))
    return float(each[-k:].sum() + k * each.mean())
