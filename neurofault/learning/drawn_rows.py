"""Rounding at random of what many sources add alike, as vector code: ``hardware_strict`` where no write can be refused.

Weights lie as whole numbers of 16 bits, in the unit that their field can hold. Such a weight is a multiple of 2**bits in its accumulator, so the fraction that is
rounded is the table's, the same for each source of a class, and only the number that is drawn differs. Places are not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from neurofault.learning.vectors import LANES, clamped, hashed
from neurofault.learning.widths import HIGHEST, LOWEST
from neurofault.vector_code import I32, I64, Arguments, loop, same, spread, vector

FEW = 8
"""Targets at a time where less than ``LANES`` are left of a row."""

_FAR = 1 << 30


def _any(builder: Any, mask: Any) -> Any:
    return builder.icmp_unsigned("!=", builder.bitcast(mask, ir.IntType(mask.type.count)), ir.IntType(mask.type.count)(0))


def drawing_order(targets: int) -> NDArray[np.int64]:
    """Return the target of each number of the words of :func:`round_class`, filled up to whole vectors.

    Where ``LANES`` are taken at a time, the upper 16 bits of four vectors are pushed into one, and the last of them lies lowest.
    """
    order = np.arange(-(-targets // LANES) * LANES)
    whole = -(-targets // FEW) * FEW // LANES * LANES
    order[:whole] = order[:whole].reshape(-1, FEW, LANES // FEW)[:, :, ::-1].swapaxes(1, 2).ravel()
    return order


def _either(builder: Any, condition: Any, body: Callable[[bool], None]) -> None:
    """Emit ``body`` for both values of a condition."""
    with builder.if_else(condition) as (then, otherwise):
        with then:
            body(True)
        with otherwise:
            body(False)


class _Table:
    """What a class adds to some targets, each number as what is added to a weight, or read instead, and the fraction that is left, of 16 bits."""

    def __init__(self, builder: Any, sums: Any, least: Any, most: Any, bits: Any) -> None:
        lanes = sums.type.count
        self._builder, self._bits, self._up = builder, bits, builder.sub(same(16, vector(32, lanes)), bits)
        ones = builder.sub(builder.shl(same(1, vector(32, lanes)), bits), same(1, vector(32, lanes)))
        self.sums, self.least, self.most = (self._cut(part) for part in (sums, least, most))
        self.first = self._short(builder.ashr(builder.add(builder.sub(least, sums), ones), bits))
        self.last = self._short(builder.ashr(builder.sub(most, sums), bits))

    def _short(self, values: Any) -> Any:
        return self._builder.trunc(values, vector(16, values.type.count))

    def _cut(self, values: Any) -> tuple[Any, Any]:
        return self._short(self._builder.ashr(values, self._bits)), self._short(self._builder.shl(values, self._up))

    def reached(self, before: Any, *, below: bool, above: bool) -> tuple[Any, Any]:
        """Return the whole part and the fraction of the sums that some weights come to, which end at ``least`` and ``most`` if they may reach them."""
        whole, fraction = self._builder.add(before, self.sums[0]), self.sums[1]
        for asked, sign, edge, end in ((below, "<", self.first, self.least), (above, ">", self.last, self.most)):
            if asked:
                beyond = self._builder.icmp_signed(sign, before, edge)
                whole, fraction = (
                    self._builder.select(beyond, own, part) for own, part in zip(end, (whole, fraction), strict=True)
                )
        return whole, fraction


def _round_class(
    typing: Any, values: Any, writes: Any, following: Any, member: Any, products: Any, count: Any, factors: Any, states: Any, words: Any, size: Any,
    bits: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    """Add what a class adds to the accumulators of its members, and round each by a number of its own.

    The same as :func:`neurofault.learning.update._store_strict` without limits, stuck bits and stuck numbers.

    ``values``: int16 [n_in, width], ``writes``: int16 [n_in, width], how often each was changed; ``following``: int64 [n_in], the next member, −1: none; ``member``: the
    first; ``products``: int32 [≥ count, 3], of each the factor of the source, and how the product is shifted to the right and to the left; ``factors``: int32 [≥ count, width],
    of the targets; ``states``: uint64 [n_in], of the sources; ``words``: uint64 [width], of the targets, ordered by :func:`drawing_order`; ``size``: targets; ``bits``: of
    the fraction, at most 15; ``low``, ``high``: range of the values, which lies in the accumulator's.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = Arguments(context, builder, signature, arguments)
        rows, chain, entropy = given.arrays[0], given.arrays[2], given.arrays[7]
        assert rows is not None
        assert chain is not None
        assert entropy is not None
        width = builder.extract_value(rows.shape, 1)

        def summed(column: Any, lanes: int) -> list[Any]:
            kind = vector(32, lanes)
            lowest, highest = same(LOWEST, kind), same(HIGHEST, kind)

            def turn(number: Any, carried: list[Any]) -> list[Any]:
                place = builder.mul(number, I64(3))
                factor, right, left = (
                    spread(builder, builder.extract_element(given.load(4, builder.add(place, I64(part)), 1), I32(0)), lanes)
                    for part in range(3)
                )
                own = builder.mul(factor, given.load(6, builder.add(builder.mul(number, width), column), lanes))
                own = clamped(builder, builder.shl(builder.ashr(own, right), left), lowest, highest)
                sums, least, most = (builder.add(part, own) for part in carried)
                return [sums, clamped(builder, least, lowest, highest), clamped(builder, most, lowest, highest)]

            return loop(builder, I64(0), arguments[5], 1, [same(0, kind), same(-_FAR, kind), same(_FAR, kind)], turn)[1]

        def numbers(source: Any, contributions: list[Any], lanes: int) -> Any:
            """Return the upper 16 bits of what is drawn for some synapses of a source."""
            state = spread(builder, builder.load(builder.gep(entropy.data, [source])), FEW)
            first, *others = (hashed(builder, builder.add(state, word)) for word in contributions)
            own, above = same(48, vector(64, FEW)), same(16, vector(64, FEW))
            drawn = builder.lshr(first, own)
            if not others:
                return builder.trunc(drawn, vector(16, FEW))
            for other in others:
                drawn = builder.or_(builder.shl(drawn, above), builder.lshr(other, own))
            return builder.bitcast(drawn, vector(16, lanes))

        def members(column: Any, lanes: int, table: _Table, *, below: bool, above: bool) -> None:
            short = vector(16, lanes)
            lowest, highest = (spread(builder, builder.trunc(arguments[place], ir.IntType(16)), lanes) for place in (11, 12))
            contributions = [given.load(8, builder.add(column, I64(part)), FEW) for part in range(0, lanes, FEW)]
            before, row = builder.block, builder.append_basic_block()
            builder.branch(row)
            builder.position_at_end(row)
            source = builder.phi(I64)
            source.add_incoming(arguments[3], before)
            at = builder.add(builder.mul(source, width), column)
            own = given.load(0, at, lanes)
            whole, fraction = table.reached(own, below=below, above=above)
            rises = builder.icmp_unsigned("<", numbers(source, contributions, lanes), fraction)
            new = clamped(builder, builder.sub(whole, builder.sext(rises, short)), lowest, highest)
            given.store(0, at, new)
            changed = builder.sext(builder.icmp_signed("!=", new, own), short)
            given.store(1, at, builder.sub(given.load(1, at, lanes), changed))
            later = builder.load(builder.gep(chain.data, [source]))
            source.add_incoming(later, row)
            done = builder.append_basic_block()
            builder.cbranch(builder.icmp_signed(">=", later, I64(0)), row, done)
            builder.position_at_end(done)

        def block(column: Any, lanes: int) -> None:
            bits = spread(builder, arguments[10], lanes)
            sums, least, most = summed(column, lanes)
            table = _Table(builder, sums, least, most, bits)
            if lanes == FEW:
                members(column, lanes, table, below=True, above=True)
                return
            low, high = (builder.shl(spread(builder, arguments[place], lanes), bits) for place in (11, 12))
            below, above = (
                _any(builder, builder.icmp_signed(sign, own, end)) for sign, own, end in ((">", least, low), ("<", most, high))
            )
            _either(
                builder,
                below,
                lambda below: _either(builder, above, lambda above: members(column, lanes, table, below=below, above=above)),
            )

        column: Any = I64(0)
        stop = builder.and_(builder.add(arguments[9], I64(FEW - 1)), I64(-FEW))
        for lanes in (LANES, FEW):
            column, _ = loop(builder, column, stop, lanes, [], _turned(block, lanes))
        return context.get_dummy_value()

    whole = types.int32, types.int32, types.int32
    counts = products, types.intp, factors, states, words, types.intp
    return types.void(values, writes, following, types.intp, *counts, *whole), generate


def _turned(block: Callable[[Any, int], None], lanes: int) -> Callable[[Any, list[Any]], list[Any]]:
    def turn(column: Any, carried: list[Any]) -> list[Any]:
        block(column, lanes)
        return carried

    return turn


round_class: Any = intrinsic(_round_class)
