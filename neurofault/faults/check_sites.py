"""Faults of stored bits on a protected chip: its check bits are stored bits too, and break as often as all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import BrokenChecks
from neurofault.deploy.protection import CodedWords
from neurofault.faults.base import Fault
from neurofault.faults.context import Context, FaultOutcome
from neurofault.faults.places import synapse_blocks
from neurofault.faults.region import ALL_WORDS
from neurofault.faults.synapses import SynapseBitFlip, SynapseBitStuck
from neurofault.streams import binomial_count, permutation_prefix, stream_key

Checks = list[tuple[CodedWords, NDArray[np.int64]]]
"""Code words of the connections that a fault is about, and which of them lie where it acts."""


def resolve_with_checks(context: Context, fault: Fault) -> FaultOutcome:
    """Resolve a fault; of random stored bits, check bits with them.

    With ``rate`` each check bit breaks with that probability, by a stream of its own, so that the bits of weights are those of the unprotected chip. With
    ``count`` the sites are drawn from both together. Faults that name bits or memory words, or choose bits by importance or from neighbours, hit no
    check bits.
    """
    if (
        not isinstance(fault, SynapseBitFlip | SynapseBitStuck)
        or not context.deployment.protection.words
        or context.on_spares(fault)
    ):
        return fault.resolve(context)
    if fault.sites is not None or fault.bits != "any" or fault.where != "random":
        return fault.resolve(context)
    chosen = _reached(context, fault)
    total = sum(int(words.check_bits[own].sum()) for words, own in chosen)
    if not total:
        return fault.resolve(context)
    key = stream_key(context.key(fault), "check bits")
    if fault.rate is not None:
        count, outcome = binomial_count(key, total, float(fault.rate)), fault.resolve(context)
    else:
        stored = sum(
            block.size * context.deployment.connection(block.connection).weight_bits
            for block in synapse_blocks(context.deployment, context.connections(fault))
        )
        asked = int(fault.count or 0)
        drawn = permutation_prefix(stream_key(key, "shares"), stored + total, min(asked, stored + total))
        count = int((drawn >= stored).sum())
        outcome = fault.replace(count=asked - count).resolve(context)
    for when, sites in context.in_time(fault, permutation_prefix(key, total, count)):
        for place in _broken(chosen, np.sort(sites), fault):
            outcome.broken.append(BrokenChecks(*place, when=when))
            outcome.cores.add(place[0])
    outcome.notes.append(f"check bits: {count} of {total}")
    return outcome


def _reached(context: Context, fault: SynapseBitFlip | SynapseBitStuck) -> Checks:
    """Return the code words that a fault may hit, by where it acts."""
    region = context.region(fault)
    found = []
    for name in context.connections(fault):
        words = context.deployment.protection.words_of(name)
        if words is not None:
            whole = None if region is None else [core for core, ranges in region.items() if ranges == ALL_WORDS]
            inside = np.ones(len(words), bool) if whole is None else np.isin(words.cores, whole)
            found.append((words, np.flatnonzero(inside)))
    return found


def _broken(
    chosen: Checks, sites: NDArray[np.int64], fault: SynapseBitFlip | SynapseBitStuck
) -> Iterator[tuple[int, str, tuple[int, ...], tuple[int, ...], int]]:
    """Yield core, connection, words, bits and level of broken check bits, of each connection core by core."""
    first = 0
    level = fault.level if isinstance(fault, SynapseBitStuck) else -1
    for words, own in chosen:
        ends = np.cumsum(words.check_bits[own])
        size = int(ends[-1]) if len(ends) else 0
        here = sites[(sites >= first) & (sites < first + size)] - first
        first += size
        at = np.searchsorted(ends, here, "right")
        bits = here - (ends[at] - words.check_bits[own][at])
        for core in np.unique(words.cores[own[at]]):
            mine = words.cores[own[at]] == core
            yield int(core), words.connection, _ints(own[at][mine]), _ints(bits[mine]), level


def _ints(values: Sequence[int] | NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(map(int, values))
