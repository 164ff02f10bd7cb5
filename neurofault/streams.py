"""Named random streams: every draw is keyed, so that comparisons are paired and a larger fault contains the smaller one.

A stream's key is a hash of what it is for (seed, kind, place, draw), never of how many are taken: ``k`` faults are the first
``k`` of one keyed permutation of the site indices. The permutation is a balanced Feistel network with cycle walking
(Black & Rogaway 2002, "Ciphers with arbitrary finite domains"), so no list of the population is ever made.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from neurofault.numerals import whole_number

_ROUNDS = 8
_MASK64 = (1 << 64) - 1


def stream_key(*parts: int | str) -> int:
    """Return a 64-bit key for a named stream.

    Args:
        parts: what the stream is for, e.g. ``(seed, "core_dead", "hidden", draw)``; whole numbers and texts (``1`` is not ``"1"``). NumPy's numbers name what Python's do.

    Raises:
        UsageError: a part is neither.
    """
    named = [part if isinstance(part, str) else whole_number(part, "part of a random stream's name") for part in parts]
    text = "\x1f".join(f"{'str' if isinstance(part, str) else 'int'}:{part}" for part in named)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(*parts: int | str) -> np.random.Generator:
    """Return a numpy generator seeded by :func:`stream_key` of ``parts``."""
    return np.random.default_rng(stream_key(*parts))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014), elementwise on uint64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed


def counter_hash(key: int, *counters: NDArray[np.integer] | int) -> NDArray[np.uint64]:
    """Return 64 random bits for each tuple of counters (broadcast together), for faults that are random in time.

    Args:
        key: a stream key.
        counters: non-negative integers, e.g. sample, step, source, destination.
    """
    state = np.asarray(np.uint64(key & _MASK64))
    with np.errstate(over="ignore"):
        for counter in counters:
            word = np.asarray(counter).astype(np.uint64)
            state = _mix(state + np.uint64(0x9E3779B97F4A7C15) + _mix(word + np.uint64(0x632BE59BD9B4E019)))
    return np.asarray(state, dtype=np.uint64)


def standard_normal(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn random bits, 64 a number, into standard normal numbers, elementwise (the quantile of a uniform number of 52 bits)."""
    from scipy import special  # slow to load, and only noise needs it

    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52  # never 0 nor 1
    return np.asarray(special.ndtri(uniform), np.float64)


def permutation_prefix(key: int, population: int, count: int) -> NDArray[np.int64]:
    """Return the first ``count`` elements of the keyed permutation of ``range(population)``.

    Constant memory in ``population``; a prefix of a longer prefix for the same key.

    Args:
        key: a stream key.
        population: size of the index space, 1 to 2**62.
        count: how many, 0 to ``population``.

    Raises:
        ValueError: if ``count`` is outside 0…population.

    >>> permutation_prefix(7, 10, 4).tolist() == permutation_prefix(7, 10, 10)[:4].tolist()
    True
    >>> sorted(permutation_prefix(7, 10, 10).tolist()) == list(range(10))
    True
    """
    if not 0 <= count <= population:
        raise ValueError(f"count {count} outside 0…{population}")
    if count == 0:
        return np.empty(0, np.int64)
    half_bits = max(1, ((population - 1).bit_length() + 1) // 2)
    half_mask = np.uint64((1 << half_bits) - 1)
    shift = np.uint64(half_bits)
    round_keys = [stream_key(key, "feistel", index) for index in range(_ROUNDS)]
    values = np.arange(count, dtype=np.uint64)
    pending = np.arange(count)
    while pending.size:
        left, right = values[pending] >> shift, values[pending] & half_mask
        for round_key in round_keys:
            left, right = right, left ^ (counter_hash(round_key, right) & half_mask)
        values[pending] = (left << shift) | right
        pending = pending[values[pending] >= np.uint64(population)]
    return values.astype(np.int64)


def binomial_count(key: int, population: int, rate: float) -> int:
    """Return how many of ``population`` sites fail at ``rate``: the binomial quantile of one keyed uniform number.

    Monotone in ``rate`` for a fixed key, so the sites of a lower rate are among those of a higher one.

    Args:
        key: a stream key.
        population: number of sites, at least 0.
        rate: probability for each site, in [0, 1].
    """
    if not population or not rate:
        return 0
    from scipy import stats  # half a second to load, and only rates need it

    uniform = (stream_key(key, "binomial") + 0.5) / 2.0**64
    return int(stats.binom.ppf(uniform, population, rate))
