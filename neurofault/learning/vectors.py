"""Many synapses at a time, as vector code: what sources of equal factors add, its addition to each of their rows, and rounding at random.

A compiler that cannot prove that weights and tables lie apart checks it for each row anew, which takes three times as long as the
additions themselves; here nothing is left to prove. Places are not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from neurofault.learning.widths import FRACTION, HIGHEST, LOWEST
from neurofault.vector_code import I64, Arguments, loop, resized, same, spread, vector

LANES = 32
"""Rows of 16-bit weights are filled up to a multiple of so many."""

_BLOCK = 128
_GOLDEN, _MUL1, _MUL2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def clamped(builder: Any, values: Any, least: Any, most: Any) -> Any:
    """Return values between two ends."""
    values = builder.select(builder.icmp_signed(">", values, least), values, least)
    return builder.select(builder.icmp_signed("<", values, most), values, most)


def hashed(builder: Any, values: Any) -> Any:
    """Return numbers of 64 bits whose upper 31 are those of the hash of :mod:`neurofault.learning.counter`, from states with all added that counters contribute.

    The last shift of the hash reaches its lower 33 bits only.
    """
    kind = values.type
    for places, factor in ((30, _MUL1), (27, _MUL2)):
        values = builder.mul(builder.xor(values, builder.lshr(values, same(places, kind))), same(factor, kind))
    return values


def _over_columns(builder: Any, width: Any, body: Callable[[Any, int], None]) -> None:
    """Emit ``body(column, lanes)`` for blocks of a row, then for what is left of it, 32 at a time."""
    column: Any = I64(0)
    for lanes in (_BLOCK, LANES):

        def turn(at: Any, carried: list[Any], lanes: int = lanes) -> list[Any]:
            body(at, lanes)
            return carried

        column, _ = loop(builder, column, width, lanes, [], turn)


def _add_chain(typing: Any, values: Any, following: Any, member: Any, tables: Any, number: Any) -> Any:
    """Add a class's table to the weights of its members: ``w ← min(max(w + t0, t1), t2)``.

    ``values``: int16 [n_in, width]; ``following``: int64 [n_in], the next member, −1: none; ``member``: the first; ``tables``: int16
    [classes, 3, width], of which ``number`` is the class's.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, first = Arguments(context, builder, signature, arguments), arguments[2]
        weights, chain = given.arrays[:2]
        assert weights is not None
        assert chain is not None
        width = builder.extract_value(weights.shape, 1)
        table = builder.mul(builder.mul(arguments[4], I64(3)), width)

        def body(column: Any, lanes: int) -> None:
            begin = builder.add(table, column)
            second = builder.add(begin, width)
            more, least, most = (given.load(3, at, lanes) for at in (begin, second, builder.add(second, width)))
            before, row = builder.block, builder.append_basic_block()
            builder.branch(row)
            builder.position_at_end(row)
            source = builder.phi(I64)
            source.add_incoming(first, before)
            at = builder.add(builder.mul(source, width), column)
            given.store(0, at, clamped(builder, builder.add(given.load(0, at, lanes), more), least, most))
            later = builder.load(builder.gep(chain.data, [source]))
            source.add_incoming(later, row)
            done = builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">=", later, I64(0)), row, done)
            builder.position_at_end(done)

        _over_columns(builder, width, body)
        return context.get_dummy_value()

    return types.void(values, following, types.intp, tables, types.intp), generate


def _pair_table(
    typing: Any,
    a: Any,
    b: Any,
    right: Any,
    left: Any,
    a2: Any,
    b2: Any,
    right2: Any,
    left2: Any,
    offset: Any,
    least: Any,
    most: Any,
    tables: Any,
    number: Any,
) -> Any:
    """Write what two products add, rounded, into 16 bits: :func:`neurofault.learning.shared_sums.compose` and ``round_narrow`` at once.

    ``a``: of the source, ``b``: int32 [width], of the targets; ``right``, ``left``: how their product is shifted; ``offset``: 127 − the number
    drawn; ``least`` ≤ 0 ≤ ``most``; ``tables``: int16 [classes, 3, width], of which ``number`` is filled.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = Arguments(context, builder, signature, arguments)
        room = given.arrays[11]
        assert room is not None
        width = builder.extract_value(room.shape, 2)
        table = builder.mul(builder.mul(arguments[12], I64(3)), width)

        def turn(column: Any, carried: list[Any]) -> list[Any]:
            kind = vector(32, LANES)
            lowest, highest = same(LOWEST, kind), same(HIGHEST, kind)
            offset, least, most = (spread(builder, arguments[place], LANES) for place in (8, 9, 10))

            def product(first: int) -> Any:
                factor, right, left = (spread(builder, arguments[place], LANES) for place in (first, first + 2, first + 3))
                own = builder.mul(factor, given.load(first + 1, column, LANES))
                return clamped(builder, builder.shl(builder.ashr(own, right), left), lowest, highest)

            def rounded(values: Any) -> Any:
                return builder.ashr(builder.add(values, offset), same(FRACTION, kind))

            own, second, none = product(0), product(4), same(0, kind)
            rises = builder.select(builder.icmp_signed(">", second, none), second, none)
            falls = builder.select(builder.icmp_signed("<", second, none), second, none)
            low, high = rounded(builder.add(rises, lowest)), rounded(builder.add(falls, highest))
            low = builder.select(builder.icmp_signed(">", low, least), low, least)  # at most 0
            at = builder.add(table, column)
            for part in (rounded(builder.add(own, second)), low, clamped(builder, high, least, most)):
                given.store(11, at, resized(builder, part, 16))
                at = builder.add(at, width)
            return carried

        loop(builder, I64(0), width, LANES, [], turn)
        return context.get_dummy_value()

    whole = [types.int32] * 4
    return types.void(a, b, *whole[:2], a2, b2, *whole[:2], *whole[:3], tables, types.intp), generate


def _store_at_random(
    typing: Any, values: Any, table: Any, words: Any, state: Any, plastic: Any, writes: Any, cut: Any, low: Any, high: Any
) -> Any:
    """Add a class's table to the accumulators of one source and round each by a number of its own; return how many values changed.

    ``values``, ``writes``: int32 [n_out]; ``table``: int32 [3, n_out]; ``words``: uint64 [n_out] and ``state``: :mod:`neurofault.learning.counter`; ``plastic``:
    uint8 [n_out]. The same as :func:`neurofault.learning.update._store_strict` without limits, stuck bits and stuck numbers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = Arguments(context, builder, signature, arguments)
        size = given.size(0)

        def of(lanes: int) -> Callable[[Any, list[Any]], list[Any]]:
            kind, long = vector(32, lanes), vector(64, lanes)
            cut, low, high = (spread(builder, arguments[place], lanes) for place in (6, 7, 8))
            bits = builder.add(cut, same(FRACTION, kind))
            ones = builder.sub(builder.shl(same(1, kind), bits), same(1, kind))
            down = builder.zext(builder.sub(same(64, kind), bits), long)

            def turn(at: Any, carried: list[Any]) -> list[Any]:
                own, second = given.load(0, at, lanes), builder.add(at, size)
                more, least, most = (given.load(1, place, lanes) for place in (at, second, builder.add(second, size)))
                before = builder.shl(own, same(FRACTION, kind))
                value = clamped(builder, builder.add(before, more), least, most)
                drawn = builder.add(
                    builder.add(spread(builder, arguments[3], lanes), same(_GOLDEN, long)), given.load(2, at, lanes)
                )
                drawn = builder.trunc(builder.lshr(hashed(builder, drawn), down), kind)
                new = builder.ashr(builder.sub(builder.add(value, ones), drawn), bits)
                new = clamped(builder, builder.shl(new, cut), low, high)
                soft = given.load(4, at, lanes)
                changed = builder.and_(builder.icmp_signed("!=", new, own), builder.icmp_signed("!=", value, before))
                changed = builder.and_(changed, builder.icmp_unsigned("!=", soft, ir.Constant(soft.type, None)))
                given.store(0, at, builder.select(changed, new, own))
                given.store(5, at, builder.add(given.load(5, at, lanes), builder.zext(changed, kind)))
                number = builder.ctpop(builder.zext(builder.bitcast(changed, ir.IntType(lanes)), I64))
                return [builder.add(carried[0], number)]

            return turn

        place, count = I64(0), [I64(0)]
        for lanes in (16, 4, 1):
            place, count = loop(builder, place, size, lanes, count, of(lanes))
        return count[0]

    small = types.int32, types.int32, types.int32
    return types.int64(values, table, words, types.uint64, plastic, writes, *small), generate


add_chain: Any = intrinsic(_add_chain)
pair_table: Any = intrinsic(_pair_table)
store_at_random: Any = intrinsic(_store_at_random)
