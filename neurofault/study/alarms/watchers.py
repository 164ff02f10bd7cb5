"""A watcher: what it looks at in a window of W samples, the number that it makes of it, and when it alarms.

A window is S = W·T steps; n(t) are the spikes of the watched neurons in its first t steps, v(t) the potential of the watched neuron after step t. Each kind is one number
per window, and the watcher alarms in the first step in which it is above a threshold:

===========  ===========================================  ============================================================================
kind         number of a window                           on the chip
===========  ===========================================  ============================================================================
``busy``     ω·n(S)                                       a neuron without leak, and a synapse of weight ω from each watched one
``idle``     max over t of ⌈(b·t − 64·ω·n(t)) / 64⌉       the same with a bias b, 64·ω times the healthy rate, and weights −ω
``silence``  steps before the first spike                 a bias of 64, and synapses of which each takes more than the bias of the window
``above``    max over t of v(t)                           a compartment that is joined to the watched one, on its core
``below``    max over t of −v(t)                          likewise
``still``    −(max over t of v(t)), at the window's end   likewise, with a timer
===========  ===========================================  ============================================================================

The first three are neurons of their own, with the law of every other, on cores of their own: they can listen to one neuron, to those of a core or to a whole layer, sit
anywhere and break apart from what they watch. A potential never leaves its core, so the last three live and die with the core that they watch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError, nearest
from neurofault.graph.arithmetic import STATE_LIMIT

_Word = TypeVar("_Word", bound=str)

WatcherKind = Literal["busy", "idle", "silence", "above", "below", "still"]
WATCHER_KINDS: tuple[WatcherKind, ...] = get_args(WatcherKind)
OF_SPIKES: tuple[WatcherKind, ...] = ("busy", "idle", "silence")
OF_POTENTIALS: tuple[WatcherKind, ...] = ("above", "below", "still")
MOST_THRESHOLD = 131071
"""Largest threshold of a neuron, in units of 64 (Lava ``vth``, 17 bits); what it stands for fits into the 24 bits of v."""
_MOST_WEIGHT = 32
Scope = Literal["neuron", "core", "layer"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Whom one watcher of spikes listens to: one neuron, those of a layer on one core, or all of a layer."""


@dataclass(frozen=True)
class Watcher:
    """One watcher.

    Attributes:
        kind: what it looks at.
        population: whom it watches.
        neurons: which of its neurons, rising; one where potentials are watched.
        threshold: the largest number of a window that is no alarm.
        bias: b, of ``idle``; 64 of ``silence``; else 0.
        weight: ω, of ``busy`` and ``idle``; else 0.
    """

    kind: WatcherKind
    population: str
    neurons: tuple[int, ...]
    threshold: int
    bias: int = 0
    weight: int = 0

    @property
    def spiking(self) -> bool:
        """Whether it is a neuron of its own that takes the spikes of those that it watches."""
        return self.kind in OF_SPIKES

    def __str__(self) -> str:
        many = f"…{self.neurons[-1]}" if len(self.neurons) > 1 else ""
        return f"{self.kind} {self.population} {self.neurons[0]}{many}"


def known_words(what: str, names: Sequence[str] | str, known: Sequence[_Word]) -> tuple[_Word, ...]:
    """Return words that are among the known ones, each once.

    Raises:
        UsageError: none, one twice, or an unknown one; ``what`` is how the message calls it.
    """
    found: list[_Word] = []
    for name in [names] if isinstance(names, str) else names:
        word = next((each for each in known if each == name), None)
        if word is None:
            raise UsageError(f"no {what} {name!r}{nearest(str(name), known)}; there are: {', '.join(known)}")
        if word in found:
            raise UsageError(f"{what} {name!r} is named twice")
        found.append(word)
    if not found:
        raise UsageError(f"no {what} is named; there are: {', '.join(known)}")
    return tuple(found)


def weight_of(spikes: int, neurons: int) -> int:
    """Return ω, the weight of a spike at a watcher: the largest power of 2, 2 to 32, that keeps within the range of thresholds; 0: there is none.

    >>> weight_of(900, 1), weight_of(20000, 8), weight_of(100000, 8)
    (32, 2, 0)

    Args:
        spikes: the most that come in a window; as many more must be counted.
        neurons: the most that come in a step.
    """
    room = MOST_THRESHOLD // max(2 * spikes, neurons, 1)
    return min(_MOST_WEIGHT, 1 << (room.bit_length() - 1)) if room >= 2 else 0


def stop_of(steps: int) -> tuple[int, int]:
    """Return the weight by which a spike stops a watcher of silence, and the exponent by which it takes more than the bias of a window of so many steps."""
    return -256, (-(-steps // 256) - 1).bit_length()


def stops(steps: int, neurons: int) -> bool:
    """Whether so many spikes in one step still stop a watcher of silence: their sum stays within the 24 bits of the current, and the bias of the window in those of v."""
    weight, exponent = stop_of(steps)
    return neurons * (-weight << (exponent + 6)) < STATE_LIMIT and steps <= MOST_THRESHOLD


def spike_numbers(
    kind: WatcherKind, spikes: NDArray[np.integer], bias: NDArray[np.int64], weight: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the number of each window and watcher, int64 [n, k], of a kind that takes spikes.

    >>> train = np.array([[[0], [1], [0], [1]]])
    >>> [int(spike_numbers(kind, train, np.array([64 * 16]), np.array([32]))[0, 0]) for kind in ("busy", "idle", "silence")]
    [64, 16, 1]

    Args:
        kind: ``busy``, ``idle`` or ``silence``.
        spikes: int [n, S, k], how many of those that each watches fire in each step.
        bias: int64 [k], b of ``idle``.
        weight: int64 [k], ω of ``busy`` and ``idle``.
    """
    steps = spikes.shape[1]
    match kind:
        case "busy":
            return np.asarray(weight * spikes.sum(axis=1, dtype=np.int64), np.int64)
        case "idle":
            moves = bias.astype(np.int32) - (64 * weight).astype(np.int32) * spikes.astype(np.int32)
            potential = np.cumsum(moves, axis=1, dtype=np.int32)
            most = potential.max(axis=1)
            if potential.min(initial=0) <= -STATE_LIMIT:  # v is held there, and comes back sooner
                most = _held(moves)
            return np.asarray(np.maximum(-(-most.astype(np.int64) // 64), 0), np.int64)
        case _:
            return np.where(spikes.any(axis=1), (spikes > 0).argmax(axis=1), steps).astype(np.int64)


def _held(moves: NDArray[np.int32]) -> NDArray[np.int64]:
    v, most = np.zeros((moves.shape[0], moves.shape[2]), np.int64), np.zeros((moves.shape[0], moves.shape[2]), np.int64)
    for step in range(moves.shape[1]):
        v = np.clip(v + moves[:, step], 1 - STATE_LIMIT, STATE_LIMIT - 1)
        most = np.maximum(most, v)
    return most


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
