"""Thresholds from healthy samples, and what they are worth.

Some windows give each candidate its scale: its number's median m, and how far above it the largest lies, d ≥ 1. Other windows, by which nothing was chosen, vouch
for the thresholds of all watchers together: the score of a window is the largest (number − m) / d of its watchers; with q the r-th largest score of n windows, a watcher's
threshold is ⌊m + q·d⌋. Whatever the distribution, a further window that comes as these did has a score above q with a probability of at most r / (n + 1) (conformal
prediction: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"), for the rank of its score among n + 1 exchangeable ones is uniform. Windows do not overlap.
Nothing of this holds where samples come otherwise: a run of one class, another mix, a drift.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.numerals import plural
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.alarms.alarm_set import PER
from neurofault.study.alarms.recorded import Recorded, in_windows, parts
from neurofault.study.alarms.watchers import (
    MOST_THRESHOLD,
    OF_POTENTIALS,
    Scope,
    Watcher,
    WatcherKind,
    potential_numbers,
    spike_numbers,
    stops,
    weight_of,
)

MOST_WINDOWS = 2000
"""Windows that give the scales, at most."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Whom a watcher may watch, and how; one a row.

    Attributes:
        kinds: which kinds there are; ``kind`` counts them.
        populations: likewise of ``population``.
        kind, population: int64 [C].
        neurons: [C], int64 each, rising, those that are watched together.
        bias, weight: int64 [C], as of :class:`neurofault.study.alarms.watchers.Watcher`.
        middle, spread: int64 [C], m and d of the numbers of healthy windows.
    """

    kinds: tuple[WatcherKind, ...]
    populations: tuple[str, ...]
    kind: NDArray[np.int64]
    population: NDArray[np.int64]
    neurons: tuple[NDArray[np.int64], ...]
    bias: NDArray[np.int64]
    weight: NDArray[np.int64]
    middle: NDArray[np.int64]
    spread: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    def taken(self, which: Sequence[int]) -> Candidates:
        """Return some of them, in this order."""
        at = np.array(which, np.int64)
        kind, population, bias, weight, middle, spread = (
            column[at] for column in (self.kind, self.population, self.bias, self.weight, self.middle, self.spread)
        )
        own = tuple(self.neurons[place] for place in which)
        return Candidates(self.kinds, self.populations, kind, population, own, bias, weight, middle, spread)

    def thresholds(self, q: float) -> NDArray[np.int64]:
        """Return ⌊m + q·d⌋, int64 [C], within what a watcher holds."""
        found = np.floor(self.middle + q * self.spread).astype(np.int64)
        return np.where(self.of_potentials, found, np.clip(found, 0, MOST_THRESHOLD))

    @property
    def of_potentials(self) -> NDArray[np.bool_]:
        """Bool [C]: which of them take potentials."""
        return np.array([kind in OF_POTENTIALS for kind in self.kinds])[self.kind]

    def watchers(self, q: float) -> tuple[Watcher, ...]:
        """Return them as watchers with the thresholds of q."""
        rows = zip(self.kind, self.population, self.neurons, self.thresholds(q), self.bias, self.weight, strict=True)
        return tuple(
            Watcher(self.kinds[k], self.populations[p], tuple(n.tolist()), int(t), int(b), int(w)) for k, p, n, t, b, w in rows
        )

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """Int64 [C]: the first neuron of each."""
        return np.array([int(own[0]) for own in self.neurons], np.int64)

    def places(self, chip: Deployment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return int64: the neurons of all candidates, one after the other, counted through the populations of the chip, and where those of each begin [C]."""
        begins = dict(
            zip(
                [one.name for one in chip.populations],
                np.cumsum([0, *(one.size for one in chip.populations)]).tolist(),
                strict=False,
            )
        )
        own = [begins[self.populations[p]] + neurons for p, neurons in zip(self.population, self.neurons, strict=True)]
        return np.concatenate(own).astype(np.int64), np.cumsum([0, *map(len, own[:-1])]).astype(np.int64)

    def wanted(self) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
        """Return the neurons that are watched, and the populations whose potentials are."""
        names = [(p, name) for p, name in enumerate(self.populations) if (self.population == p).any()]
        neurons = {
            name: np.unique(np.concatenate([self.neurons[at] for at in np.flatnonzero(self.population == p)])) for p, name in names
        }
        return neurons, [name for p, name in names if (self.of_potentials & (self.population == p)).any()]

    def numbers(self, trains: Recorded, window: int) -> NDArray[np.int64]:
        """Return the number of each window and candidate, int64 [n, C]."""
        found = np.zeros((trains.windows(window), len(self)), np.int64)
        for p, name in enumerate(self.populations):
            groups: dict[bytes, NDArray[np.integer]] = {}
            for k, kind in enumerate(self.kinds):
                own = np.flatnonzero((self.kind == k) & (self.population == p))
                if not len(own):
                    continue
                places = [np.searchsorted(trains.neurons[name], self.neurons[at]) for at in own]
                if kind in OF_POTENTIALS:
                    shown = in_windows(trains.v[name][:, :, [int(place[0]) for place in places]], window)
                    found[:, own] = potential_numbers(kind, shown.astype(np.int32, copy=False))
                    continue
                fired = np.stack([_together(trains.spikes[name], place, groups) for place in places], axis=2)
                found[:, own] = spike_numbers(kind, in_windows(fired, window).astype(np.int32), self.bias[own], self.weight[own])
        return found

    def scores(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the score of each window, float64 [n], from the numbers of its watchers."""
        return np.asarray(((numbers - self.middle) / self.spread).max(axis=1), np.float64)


def _together(
    spikes: NDArray[np.bool_], place: NDArray[np.integer], known: dict[bytes, NDArray[np.integer]]
) -> NDArray[np.integer]:
    """Return how many of some neurons fire in each step, [N, T]."""
    if len(place) == 1:
        return spikes[:, :, int(place[0])].astype(np.int16)
    key = place.tobytes()
    if key not in known:
        known[key] = spikes[:, :, place].sum(axis=2, dtype=np.int16)
    return known[key]


def order_of(samples: int, seed: int, labels: NDArray[np.integer] | None, window: int) -> NDArray[np.int64]:
    """Return in which order healthy samples come: shuffled, or, with labels, class by class, in windows that hold one class each.

    Args:
        samples: N.
        seed: key of the order.
        labels: int [N], or None.
        window: W; what is left of a class after its whole windows is left out.
    """
    mixed = permutation_prefix(stream_key(seed, "alarms", "order"), samples, samples)
    if labels is None:
        return mixed
    held = [mixed[labels[mixed] == label] for label in np.unique(labels)]
    whole = [own[: len(own) // window * window].reshape(-1, window) for own in held]
    runs = np.concatenate([np.empty((0, window), np.int64), *whole])
    return (
        runs[permutation_prefix(stream_key(seed, "alarms", "runs"), len(runs), len(runs))].reshape(-1) if len(runs) else mixed[:0]
    )


def rank_of(windows: int, window: int, false_alarms: float) -> int:
    """Return r: the r-th largest of so many scores is a threshold that is passed by at most so many false alarms per 10,000 samples.

    >>> rank_of(999, 10, 10.0)
    10

    Raises:
        UsageError: too few windows can vouch for so few.
    """
    each = false_alarms * window / PER
    rank = math.floor(each * (windows + 1) + 1e-9)
    if rank < 1:
        least = PER / window / (windows + 1)
        raise UsageError(
            f"{plural(windows, 'healthy window')} of {plural(window, 'sample')} cannot vouch for {false_alarms:g} false alarms per {PER:,} samples, only for {least:.3g} or more: "
            "more samples, or more false alarms"
        )
    return min(rank, windows)


def candidates_of(
    chip: Deployment,
    inputs: Inputs,
    kinds: Sequence[WatcherKind],
    scopes: Sequence[Scope],
    populations: Sequence[str],
    window: int,
    threads: int | None,
) -> Candidates:
    """List whom a watcher may watch, with the scale of its numbers on healthy samples: of spikes those that fire, of potentials the outputs.

    Raises:
        UsageError: no neuron fires on the samples, there are fewer than a window, or a window is longer than any watcher counts.
    """
    if len(inputs) < window:
        raise UsageError(
            f"a window of {plural(window, 'sample')} is longer than the data: {plural(len(inputs), 'sample')} to set thresholds by"
        )
    inputs = inputs[: min(len(inputs) // window, MOST_WINDOWS) * window]
    counts = ExactEngine(threads).run(chip, inputs).spike_counts
    if any(kind not in OF_POTENTIALS for kind in kinds) and not any(counts[name].any() for name in populations):
        raise UsageError(
            f"no neuron of network {chip.name!r} fires on {plural(len(inputs), 'sample')} ({', '.join(populations)}): there is nothing to watch"
        )
    groups = [(p, own) for p, name in enumerate(populations) for own in _groups(chip, name, counts[name], scopes)]
    most = _most_spikes(chip, inputs, populations, groups, window, threads)
    rows: list[tuple[int, int, NDArray[np.int64], int, int]] = []
    steps, high = window * chip.timesteps, chip.profile.neuron.bias_mantissas[1]
    for k, kind in enumerate(kinds):
        for (p, own), spikes in zip(groups, most, strict=True):
            weight = weight_of(spikes, len(own))
            bias = round(64 * weight * int(counts[populations[p]][own].sum()) / (len(inputs) * chip.timesteps))
            if kind == "silence" and stops(steps, len(own)):
                rows.append((k, p, own, 64, 0))
            elif kind in ("busy", "idle") and weight and bias <= high:
                rows.append((k, p, own, bias if kind == "idle" else 0, weight))
        if kind in OF_POTENTIALS and chip.output.name in populations:
            rows += [(k, populations.index(chip.output.name), np.array([at]), 0, 0) for at in range(chip.output.size)]
    if not rows:
        raise UsageError(
            f"a window of {plural(window, 'sample')} of {plural(chip.timesteps, 'step')} is longer than a watcher counts: fewer samples a window"
        )
    kind_of, population_of, bias_of, weight_of_each = (np.array([row[at] for row in rows], np.int64) for at in (0, 1, 3, 4))
    own_of, none = tuple(row[2] for row in rows), np.zeros(len(rows), np.int64)
    bare = Candidates(tuple(kinds), tuple(populations), kind_of, population_of, own_of, bias_of, weight_of_each, none, none + 1)
    found = np.concatenate([bare.numbers(part, window) for part in parts(chip, inputs, *bare.wanted(), window, threads)])
    middle = np.median(found, axis=0).astype(np.int64)
    return replace(bare, middle=middle, spread=np.maximum(found.max(axis=0) - middle, 1))


def _groups(chip: Deployment, name: str, counts: NDArray[np.int64], scopes: Sequence[Scope]) -> Iterator[NDArray[np.int64]]:
    """Yield neurons of a population that a watcher may listen to together, each group once, those that ever fire."""
    core_of, firing = chip.placement.core_of[name], np.flatnonzero(counts)
    found: dict[bytes, NDArray[np.int64]] = {}
    for scope in scopes:
        match scope:
            case "neuron":
                groups = list(firing[:, None])
            case "core":
                groups = [firing[core_of[firing] == core] for core in np.unique(core_of[firing])]
            case _:
                groups = [firing] if len(firing) else []
        for own in groups:
            found.setdefault(own.tobytes(), own.astype(np.int64))
    yield from found.values()


def _most_spikes(
    chip: Deployment,
    inputs: Inputs,
    populations: Sequence[str],
    groups: Sequence[tuple[int, NDArray[np.int64]]],
    window: int,
    threads: int | None,
) -> list[int]:
    """Return the most spikes that each group sends in a window."""
    most = np.zeros(len(groups), np.int64)
    every = {name: np.arange(chip.population(name).size) for name in populations}
    for part in parts(chip, inputs, every, (), window, threads):
        sums = {
            name: in_windows(part.spikes[name].sum(axis=1, dtype=np.int32, keepdims=True), window).sum(axis=1)
            for name in populations
        }
        for at, (p, own) in enumerate(groups):
            most[at] = max(int(most[at]), int(sums[populations[p]][:, own].sum(axis=1).max()))
    return [int(one) for one in most]


def vouched(
    chip: Deployment, inputs: Inputs, chosen: Candidates, window: int, false_alarms: float, threads: int | None
) -> tuple[float, int]:
    """Return q, by which the watchers together keep within so many false alarms per 10,000 samples, and how many windows vouch for it.

    Args:
        chip: healthy.
        inputs: N samples by which nothing was chosen.
        chosen: the watchers.
        window: W.
        false_alarms: per 10,000 samples.
        threads: worker threads; None: one for each usable core.

    Raises:
        UsageError: too few samples.
    """
    windows = len(inputs) // window
    rank = rank_of(windows, window, false_alarms)
    inputs = inputs[: windows * window]
    scores = np.concatenate(
        [chosen.scores(chosen.numbers(part, window)) for part in parts(chip, inputs, *chosen.wanted(), window, threads)]
    )
    return float(np.sort(scores)[-rank]), windows
