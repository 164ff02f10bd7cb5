"""A watcher: what it looks at in a window of W samples, the number that it makes of it, and when it alarms.

A window is S = W·T steps; n(t) are the spikes of the watched neuron in its first t steps, v(t) its potential after step t. Each kind is one number
per window, and the watcher alarms in the first step in which it is above a threshold:

===========  ===========================================  ============================================================================
kind         number of a window                           on the chip
===========  ===========================================  ============================================================================
``busy``     ω·n(S)                                       a neuron without leak and one synapse of weight ω
``idle``     max over t of ⌈(b·t − 64·ω·n(t)) / 64⌉       the same with a bias b, 64·ω times the healthy rate, and weight −ω
``silence``  steps before the first spike                 a bias of 64, and one synapse that takes more than the bias of the window
``above``    max over t of v(t)                           a compartment that is joined to the watched one, on its core
``below``    max over t of −v(t)                          likewise
``still``    −(max over t of v(t)), at the window's end   likewise, with a timer
===========  ===========================================  ============================================================================

The first three are neurons of their own, with the law of every other, on cores of their own: they can sit anywhere and break apart from what they watch. A potential
never leaves its core, so the last three live and die with the core that they watch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError, nearest

WatcherKind = Literal["busy", "idle", "silence", "above", "below", "still"]
WATCHER_KINDS: tuple[WatcherKind, ...] = get_args(WatcherKind)
OF_SPIKES: tuple[WatcherKind, ...] = ("busy", "idle", "silence")
OF_POTENTIALS: tuple[WatcherKind, ...] = ("above", "below", "still")
MOST_THRESHOLD = 131071
"""Largest threshold of a neuron, in units of 64 (Lava ``vth``, 17 bits); what it stands for fits into the 24 bits of v."""
_MOST_WEIGHT = 32


@dataclass(frozen=True)
class Watcher:
    """One watcher.

    Attributes:
        kind: what it looks at.
        population, neuron: whom it watches.
        threshold: the largest number of a window that is no alarm.
        bias: b, of ``idle``; 64 of ``silence``; else 0.
    """

    kind: WatcherKind
    population: str
    neuron: int
    threshold: int
    bias: int = 0

    @property
    def spiking(self) -> bool:
        """Whether it is a neuron of its own that takes the spikes of the watched one."""
        return self.kind in OF_SPIKES

    def __str__(self) -> str:
        return f"{self.kind} {self.population} {self.neuron}"


def watcher_kinds(names: object) -> tuple[WatcherKind, ...]:
    """Return kinds of watchers by their names.

    Raises:
        UsageError: none, one twice, or no such kind.
    """
    given = [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]  # any names
    found: list[WatcherKind] = []
    for name in given:
        kind = next((each for each in WATCHER_KINDS if each == name), None)
        if kind is None:
            raise UsageError(f"no watcher {name!r}{nearest(str(name), WATCHER_KINDS)}; there are: {', '.join(WATCHER_KINDS)}")
        if kind in found:
            raise UsageError(f"watcher {name!r} is named twice")
        found.append(kind)
    if not found:
        raise UsageError(f"no watcher is named; there are: {', '.join(WATCHER_KINDS)}")
    return tuple(found)


def weight_of(steps: int) -> int:
    """Return ω, the weight of a spike at a watcher of windows of so many steps: the largest power of 2, 2 to 32, that never leaves the range of thresholds.

    >>> weight_of(32), weight_of(32 * 512)
    (32, 4)

    Raises:
        UsageError: the window is too long.
    """
    if 2 * steps > MOST_THRESHOLD:
        raise UsageError(
            f"a window of {steps:,} steps is beyond the potential of a watcher, which counts to {MOST_THRESHOLD // 2:,}; fewer samples a window"
        )
    return min(_MOST_WEIGHT, 1 << ((MOST_THRESHOLD // steps).bit_length() - 1))


def idle_bias(rate: NDArray[np.float64], steps: int) -> NDArray[np.int64]:
    """Return b of watchers ``idle``, int64, from the healthy spikes a step of those that they watch."""
    return np.rint(64 * weight_of(steps) * rate).astype(np.int64)


def spike_numbers(kind: WatcherKind, spikes: NDArray[np.bool_], bias: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each window and neuron, int64 [n, k], of a kind that takes spikes.

    >>> train = np.array([[[0], [1], [0], [1]]], bool)
    >>> [int(spike_numbers(kind, train, np.array([64 * 16]))[0, 0]) for kind in ("busy", "idle", "silence")]
    [64, 16, 1]

    Args:
        kind: ``busy``, ``idle`` or ``silence``.
        spikes: bool [n, S, k].
        bias: int64 [k], b of ``idle``.
    """
    steps = spikes.shape[1]
    weight = weight_of(steps)
    match kind:
        case "busy":
            return np.asarray(weight * spikes.sum(axis=1, dtype=np.int64), np.int64)
        case "idle":
            potential = np.cumsum(bias.astype(np.int32) - 64 * weight * spikes.astype(np.int32), axis=1, dtype=np.int32)
            return np.asarray(np.maximum(-(-potential.max(axis=1).astype(np.int64) // 64), 0), np.int64)
        case _:
            return np.where(spikes.any(axis=1), spikes.argmax(axis=1), steps).astype(np.int64)


def potential_numbers(kind: WatcherKind, v: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the number of each window and neuron, int64 [n, k], of a kind that takes potentials, int32 [n, S, k]."""
    match kind:
        case "above":
            return np.asarray(v.max(axis=1), np.int64)
        case "below":
            return -np.asarray(v.min(axis=1), np.int64)
        case _:
            return -np.asarray(v.max(axis=1), np.int64)


def potential_alarms(kind: WatcherKind, v: NDArray[np.int32], threshold: int) -> NDArray[np.bool_]:
    """Return in which steps a watcher of a potential alarms, bool [n, S], of int32 [n, S]."""
    match kind:
        case "above":
            return np.asarray(v > threshold)
        case "below":
            return np.asarray(-v.astype(np.int64) > threshold)
        case _:
            found = np.zeros(v.shape, bool)
            found[:, -1] = -v.max(axis=1).astype(np.int64) > threshold
            return found
