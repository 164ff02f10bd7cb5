"""The compiled twin of :func:`neurofault.streams.counter_hash`, one counter at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault import compiled
from neurofault.compiled import part

_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    """Compile without reference counts: such a function makes no arrays, and handing dozens of them on costs nothing."""
    return compiled.jit(function, _nrt=False)


_GOLDEN, _OFFSET = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x632BE59BD9B4E019)
_MUL1, _MUL2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@part
def _mix(value: Any) -> Any:
    value = (value ^ (value >> _S30)) * _MUL1
    value = (value ^ (value >> _S27)) * _MUL2
    return value ^ (value >> _S31)


@jit
def word(counter: Any) -> Any:
    """What a counter contributes, for counters that are used again and again."""
    return _mix(np.uint64(counter) + _OFFSET)


@part
def before_mixing(state: Any, contribution: Any) -> Any:
    """What is mixed into the state after a counter; without the counter's :func:`word`, which is added to it, if that is 0."""
    return state + _GOLDEN + contribution


@part
def absorb_word(state: Any, contribution: Any) -> Any:
    """The state after a counter whose :func:`word` is given; the state after the last one is the hash."""
    return _mix(before_mixing(state, contribution))


@part
def absorb(state: Any, counter: Any) -> Any:
    """The state after a counter; the first state is the key."""
    return absorb_word(state, word(counter))


def words(counters: int) -> NDArray[np.uint64]:
    """Return :func:`word` of 0, 1, 2 …, uint64 [counters]."""
    return np.array([word(counter) for counter in range(counters)], np.uint64)
