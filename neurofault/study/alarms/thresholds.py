"""Thresholds from healthy samples, and what they are worth.

Some windows give each candidate its scale: its number's median m, and how far above it the largest lies, d ≥ 1. Other windows, by which nothing was chosen, vouch
for the thresholds of all watchers together: the score of a window is the largest (number − m) / d of its watchers; with q the r-th largest score of n windows, a watcher's
threshold is ⌊m + q·d⌋. Whatever the distribution, a further window that comes as these did has a score above q with a probability of at most r / (n + 1) (conformal
prediction: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"), for the rank of its score among n + 1 exchangeable ones is uniform. Windows do not overlap.
Nothing of this holds where samples come otherwise: a run of one class, another mix, a drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.alarms.alarm_set import PER
from neurofault.study.alarms.recorded import Recorded, in_windows, parts
from neurofault.study.alarms.watchers import (
    MOST_THRESHOLD,
    OF_POTENTIALS,
    Watcher,
    WatcherKind,
    idle_bias,
    potential_numbers,
    spike_numbers,
)

MOST_WINDOWS = 2000
"""Windows that give the scales, at most."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Whom a watcher may watch, and how; one a row.

    Attributes:
        kinds: which kinds there are; ``kind`` counts them.
        populations: likewise of ``population``.
        kind, population, neuron, bias: int64 [C].
        middle, spread: int64 [C], m and d of the numbers of healthy windows.
    """

    kinds: tuple[WatcherKind, ...]
    populations: tuple[str, ...]
    kind: NDArray[np.int64]
    population: NDArray[np.int64]
    neuron: NDArray[np.int64]
    bias: NDArray[np.int64]
    middle: NDArray[np.int64]
    spread: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    def taken(self, which: Sequence[int]) -> Candidates:
        """Return some of them, in this order."""
        at = np.array(which, np.int64)
        columns = (self.kind, self.population, self.neuron, self.bias, self.middle, self.spread)
        return Candidates(self.kinds, self.populations, *(column[at] for column in columns))

    def thresholds(self, q: float) -> NDArray[np.int64]:
        """Return ⌊m + q·d⌋, int64 [C], within what a watcher holds."""
        found = np.floor(self.middle + q * self.spread).astype(np.int64)
        of_spikes = np.array([kind not in OF_POTENTIALS for kind in self.kinds])[self.kind]
        return np.where(of_spikes, np.clip(found, 0, MOST_THRESHOLD), found)

    def watchers(self, q: float) -> tuple[Watcher, ...]:
        """Return them as watchers with the thresholds of q."""
        rows = zip(self.kind, self.population, self.neuron, self.thresholds(q), self.bias, strict=True)
        return tuple(Watcher(self.kinds[k], self.populations[p], int(n), int(t), int(b)) for k, p, n, t, b in rows)

    def numbers(self, trains: Recorded, window: int) -> NDArray[np.int64]:
        """Return the number of each window and candidate, int64 [n, C]."""
        found = np.zeros((trains.windows(window), len(self)), np.int64)
        for k, kind in enumerate(self.kinds):
            for p, name in enumerate(self.populations):
                own = np.flatnonzero((self.kind == k) & (self.population == p))
                if not len(own):
                    continue
                place = np.searchsorted(trains.neurons[name], self.neuron[own])
                trace = trains.v[name] if kind in OF_POTENTIALS else trains.spikes[name]
                shown = in_windows(trace[:, :, place], window)
                found[:, own] = (
                    potential_numbers(kind, shown.astype(np.int32, copy=False))
                    if kind in OF_POTENTIALS
                    else spike_numbers(kind, shown.astype(bool, copy=False), self.bias[own])
                )
        return found

    def scores(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the score of each window, float64 [n], from the numbers of its watchers."""
        return np.asarray(((numbers - self.middle) / self.spread).max(axis=1), np.float64)


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
            f"{windows:,} healthy windows of {window:,} samples cannot vouch for {false_alarms:g} false alarms per {PER:,} samples, only for {least:.3g} or more: "
            "more samples, or more false alarms"
        )
    return min(rank, windows)


def candidates_of(
    chip: Deployment, inputs: Inputs, kinds: Sequence[WatcherKind], populations: Sequence[str], window: int, threads: int | None
) -> Candidates:
    """List whom a watcher may watch, with the scale of its numbers on healthy samples: of spikes all neurons that fire, of potentials the outputs.

    Raises:
        UsageError: no neuron fires on the samples, or there are fewer than a window.
    """
    if len(inputs) < window:
        raise UsageError(f"a window of {window:,} samples is longer than the data: {len(inputs):,} samples to set thresholds by")
    inputs = inputs[: min(len(inputs) // window, MOST_WINDOWS) * window]
    run = ExactEngine(threads).run(chip, inputs)
    steps = window * chip.timesteps
    rows: list[tuple[int, int, int, int]] = []
    for k, kind in enumerate(kinds):
        for p, name in enumerate(populations):
            if kind in OF_POTENTIALS:
                known = np.arange(chip.output.size) if name == chip.output.name else np.empty(0, np.int64)
                bias = np.zeros(len(known), np.int64)
            else:
                known = np.flatnonzero(run.spike_counts[name])
                rate = run.spike_counts[name][known] / (len(inputs) * chip.timesteps)
                bias = idle_bias(rate, steps) if kind == "idle" else np.full(len(known), 64 if kind == "silence" else 0, np.int64)
            rows += [(k, p, int(neuron), int(b)) for neuron, b in zip(known, bias, strict=True)]
    if not rows:
        raise UsageError(
            f"no neuron of network {chip.name!r} fires on {len(inputs):,} samples ({', '.join(populations)}): there is nothing to watch"
        )
    kind_of, population_of, neuron, bias = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    none = np.zeros(len(rows), np.int64)
    bare = Candidates(tuple(kinds), tuple(populations), kind_of, population_of, neuron, bias, none, none + 1)
    found = np.concatenate([bare.numbers(part, window) for part in parts(chip, inputs, *_wanted(bare), window, threads)])
    middle = np.median(found, axis=0).astype(np.int64)
    spread = np.maximum(found.max(axis=0) - middle, 1)
    return Candidates(bare.kinds, bare.populations, kind_of, population_of, neuron, bias, middle, spread)


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
        [chosen.scores(chosen.numbers(part, window)) for part in parts(chip, inputs, *_wanted(chosen), window, threads)]
    )
    return float(np.sort(scores)[-rank]), windows


def _wanted(candidates: Candidates) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """Return the neurons that candidates watch, and the populations whose potentials they watch."""
    neurons = {
        name: np.unique(candidates.neuron[candidates.population == p])
        for p, name in enumerate(candidates.populations)
        if (candidates.population == p).any()
    }
    of_v = np.array([kind in OF_POTENTIALS for kind in candidates.kinds])[candidates.kind]
    return neurons, [name for p, name in enumerate(candidates.populations) if (of_v & (candidates.population == p)).any()]
