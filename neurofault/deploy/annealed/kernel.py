"""The compiled loop of the annealing: three kinds of moves, each worked out as a difference, in whole numbers where it can be.

A *part* is a few neurons that stay together, a *row group* is source neurons of one part that reach the same parts with the same numbers of
synapses (so that their messages go to the same cores), a *seat* is one of the cores that may hold neurons, a *site* a place on the chip.
Kernels that the neurons of a core share are groups without sources: they take memory and send nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import jit, part

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Puzzle(NamedTuple):
    """What does not change while parts move: A parts, G groups, R pairs of group and part, S seats, P sites, F features.

    Attributes:
        size: int64 [A], neurons of each part.
        own_start: int64 [A + 1], the groups of part a are ``own_start[a]`` … ``own_start[a + 1]`` − 1.
        into_start: int64 [A + 1], rows of ``into_group`` and ``into_count`` that end in part a.
        into_group, into_count: int64 [R], which group, and how many synapses each of its sources has in the part.
        owner: int64 [G], the part whose neurons the group's sources are; −1: a shared kernel.
        sources, spikes: int64 [G], number of sources, and the spikes of all of them.
        entries: int64 [G], in-axons that a source takes in a core that it reaches.
        bits: int64 [G], bits of a synapse; negative: minus the bits of the whole row, however many
            synapses read it; 0: the row is stored elsewhere.
        header, word, block: of a row of synapses, as in :func:`neurofault.deploy.resources.row_bits`; block 0: not cut.
        limit: int64 [4], what a core has of neurons, synapse bits, in-axons and out-axons.
        distance: int64 [P, P], hops.
        features: float64 [A, F].
        linear, square: float64 [F], the loss of a core whose parts sum to f is Σ linear · f + square · f².
    """

    size: Ints
    own_start: Ints
    into_start: Ints
    into_group: Ints
    into_count: Ints
    owner: Ints
    sources: Ints
    spikes: Ints
    entries: Ints
    bits: Ints
    header: int
    word: int
    block: int
    limit: Ints
    distance: Ints
    features: Floats
    linear: Floats
    square: Floats


class Standing(NamedTuple):
    """Where parts are, and what follows from it.

    Attributes:
        seat: int64 [A], of each part.
        site: int64 [P], of each seat; those from S on are empty and stay so.
        reach: int32 [G, S], synapses of each source of a group in each seat.
        messages: int64 [S, S], from seat to seat.
        used: int64 [4, S], neurons, synapse bits, in-axons, out-axons.
        held: float64 [S, F], sums of features.
        loss: float64 [S].
        hops: int64 [1].
    """

    seat: Ints
    site: Ints
    reach: NDArray[np.int32]
    messages: Ints
    used: Ints
    held: Floats
    loss: Floats
    hops: Ints


@part
def _row(puzzle: Puzzle, group: int, count: int) -> int:
    """Return the bits of a row of so many synapses."""
    bits = int(puzzle.bits[group])
    if count == 0 or bits == 0:
        return 0
    if bits < 0:
        return -bits
    if puzzle.block == 0:
        return -(-(count * bits + puzzle.header) // puzzle.word) * puzzle.word
    full = count // puzzle.block
    rest = count - full * puzzle.block
    total = full * (-(-(puzzle.block * bits + puzzle.header) // puzzle.word) * puzzle.word)
    if rest > 0:
        total += -(-(rest * bits + puzzle.header) // puzzle.word) * puzzle.word
    return total


@part
def _land(puzzle: Puzzle, now: Standing, moved: int, at: int, sign: int) -> None:
    """Add a part's rows and neurons to a seat (``sign`` 1), or take them away (−1); its own messages stay where they are."""
    for row in range(puzzle.into_start[moved], puzzle.into_start[moved + 1]):
        group, count = puzzle.into_group[row], puzzle.into_count[row]
        old = int(now.reach[group, at])
        new = old + sign * count
        now.reach[group, at] = new
        many = puzzle.sources[group]
        now.used[1, at] += many * (_row(puzzle, group, new) - _row(puzzle, group, old))
        if (old == 0) != (new == 0):
            now.used[2, at] += sign * many * puzzle.entries[group]
            owner = puzzle.owner[group]
            if owner >= 0:
                start = now.seat[owner]
                now.used[3, start] += sign * many
                now.messages[start, at] += sign * puzzle.spikes[group]
                now.hops[0] += sign * puzzle.spikes[group] * puzzle.distance[now.site[start], now.site[at]]
    now.used[0, at] += sign * puzzle.size[moved]
    total = 0.0
    for feature in range(puzzle.features.shape[1]):
        now.held[at, feature] += sign * puzzle.features[moved, feature]
        f = now.held[at, feature]
        total += puzzle.linear[feature] * f + puzzle.square[feature] * f * f
    now.loss[at] = total


@part
def _shift(puzzle: Puzzle, now: Standing, moved: int, to: int) -> None:
    """Move a part to another seat, with all that follows."""
    start = now.seat[moved]
    _land(puzzle, now, moved, start, -1)
    for group in range(puzzle.own_start[moved], puzzle.own_start[moved + 1]):
        spikes, many = puzzle.spikes[group], puzzle.sources[group]
        for end in range(now.messages.shape[1]):
            if now.reach[group, end] > 0:
                now.messages[start, end] -= spikes
                now.messages[to, end] += spikes
                now.used[3, start] -= many
                now.used[3, to] += many
                now.hops[0] += spikes * (
                    puzzle.distance[now.site[to], now.site[end]] - puzzle.distance[now.site[start], now.site[end]]
                )
    now.seat[moved] = to
    _land(puzzle, now, moved, to, 1)


@part
def _worst(loss: Floats, k: int, taken: NDArray[np.bool_]) -> float:
    """Return the sum of the k largest losses, plus k times their mean."""
    total, mean, most = 0.0, 0.0, 0.0
    for one in range(loss.shape[0]):
        mean += float(loss[one])
    mean /= loss.shape[0]
    if k == 1:
        for one in range(loss.shape[0]):
            most = max(most, float(loss[one]))
        return float(most + mean)
    for one in range(loss.shape[0]):
        taken[one] = False
    for _ in range(min(k, loss.shape[0])):
        best = -1
        for one in range(loss.shape[0]):
            if not taken[one] and (best < 0 or loss[one] > loss[best]):
                best = one
        taken[best] = True
        total += float(loss[best])
    return float(total + k * mean)


@part
def _fits(puzzle: Puzzle, now: Standing, at: int, before: Ints) -> bool:
    """Say whether a seat is within its limits, or takes no more than before of what it is beyond."""
    for resource in range(4):
        if now.used[resource, at] > puzzle.limit[resource] and now.used[resource, at] > before[resource]:
            return False
    return True


@part
def _random(state: NDArray[np.uint64]) -> float:
    """Return the next number of SplitMix64 (Steele, Lea & Flood 2014), in [0, 1)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    value = state[0]
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    value = value ^ (value >> np.uint64(31))
    return float(value >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@part
def _pick(state: NDArray[np.uint64], count: int) -> int:
    """Return a random number from 0 to count − 1."""
    return min(int(_random(state) * count), count - 1)


@part
def _neighbour(puzzle: Puzzle, now: Standing, moved: int, state: NDArray[np.uint64]) -> int:
    """Return the seat of a random part that sends to this one; −1: there is none."""
    rows = puzzle.into_start[moved + 1] - puzzle.into_start[moved]
    if rows == 0:
        return -1
    owner = puzzle.owner[puzzle.into_group[puzzle.into_start[moved] + _pick(state, rows)]]
    return -1 if owner < 0 else int(now.seat[owner])


@part
def _exchange_sites(puzzle: Puzzle, now: Standing, one: int, other: int) -> None:
    """Let two seats, of which the second may be an empty one, change places."""
    seats = now.messages.shape[0]
    before, after = now.site[one], now.site[other]
    for turn in range(2):
        sign = 2 * turn - 1
        if turn == 1:
            now.site[one], now.site[other] = after, before
        for end in range(seats):
            there = now.site[end]
            now.hops[0] += sign * now.messages[one, end] * puzzle.distance[now.site[one], there]
            if end != one:
                now.hops[0] += sign * now.messages[end, one] * puzzle.distance[there, now.site[one]]
            if other < seats and end != one:
                now.hops[0] += sign * now.messages[other, end] * puzzle.distance[now.site[other], there]
                if end != other:
                    now.hops[0] += sign * now.messages[end, other] * puzzle.distance[there, now.site[other]]


@jit
def land_all(puzzle: Puzzle, now: Standing) -> None:
    """Fill an empty standing whose parts' seats are given."""
    for moved in range(puzzle.size.shape[0]):
        _land(puzzle, now, moved, now.seat[moved], 1)


@jit
def anneal(
    puzzle: Puzzle, now: Standing, moves: int, hot: float, cold: float, traffic: float, damage: float, k: int, key: int
) -> tuple[Ints, Ints, float, int]:
    """Anneal, and return the best standing that was met: seats of the parts, sites of the seats, its objective, how many moves were taken.

    Args:
        puzzle: the network and the chip.
        now: where it begins; it is left where the walk ended.
        moves: how many are tried.
        hot: temperature of the first.
        cold: of the last; between them it falls geometrically.
        traffic: factor of hops in the objective.
        damage: of the loss of the worst k seats.
        k: seats that die.
        key: of the random numbers.
    """
    state = np.array([key], np.uint64)
    seats, parts = now.messages.shape[0], puzzle.size.shape[0]
    first, second, dead = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(seats, np.bool_)
    value = traffic * now.hops[0] + damage * _worst(now.loss, k, dead)
    best, taken = value, 0
    best_seat, best_site = now.seat.copy(), now.site.copy()
    cooling = (cold / hot) ** (1.0 / max(1, moves))
    heat = hot
    for _ in range(moves):
        heat *= cooling
        kind = _random(state)
        threshold = value - heat * np.log(max(_random(state), 1e-300))
        if kind < 0.1:
            one = _pick(state, seats)
            other = _pick(state, now.site.shape[0])
            if one == other:
                continue
            _exchange_sites(puzzle, now, one, other)
            tried = traffic * now.hops[0] + damage * _worst(now.loss, k, dead)
            if tried > threshold:
                _exchange_sites(puzzle, now, one, other)
                continue
        else:
            moved = _pick(state, parts)
            start = now.seat[moved]
            to = _neighbour(puzzle, now, moved, state) if _random(state) < 0.5 else -1
            back = -1
            if to < 0:
                back = _pick(state, parts)
                to = now.seat[back]
            if to == start:
                continue
            alone = now.used[0, to] + puzzle.size[moved] <= puzzle.limit[0]
            if not alone and back < 0:
                for _ in range(64):  # a part of the seat that is gone to, of the same size
                    other = _pick(state, parts)
                    if now.seat[other] == to and puzzle.size[other] == puzzle.size[moved]:
                        back = other
                        break
                if back < 0:
                    continue
            if alone and _random(state) < 0.5:
                back = -1
            first[:], second[:] = now.used[:, start], now.used[:, to]
            _shift(puzzle, now, moved, to)
            if back >= 0:
                _shift(puzzle, now, back, start)
            good = _fits(puzzle, now, start, first) and _fits(puzzle, now, to, second)
            tried = traffic * now.hops[0] + damage * _worst(now.loss, k, dead) if good else np.inf
            if not tried <= threshold:
                if back >= 0:
                    _shift(puzzle, now, back, to)
                _shift(puzzle, now, moved, start)
                continue
        value, taken = tried, taken + 1
        if value < best:
            best = value
            best_seat[:], best_site[:] = now.seat, now.site
    return best_seat, best_site, best, taken
