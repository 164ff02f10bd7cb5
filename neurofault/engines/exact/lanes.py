"""Many targets at a time: rows of weights summed in registers, and a step of Lava's plain neurons, written as vector code.

A compiler that cannot prove that rows, sums and states lie apart checks it for each row anew, and keeps sums in memory; here nothing is
left to prove, and the sums of a block of targets stay in registers while the rows of a step go by. LLVM turns the vectors into whatever
the processor has. Offsets are not checked.

Weights that fit a byte lie in pairs (:func:`paired`): of each 64 targets, the byte of target k + 32 stands above that of target k, which is
stored 128 too large, so never negative. Added up as words of 16 bits, the upper bytes H and the words W of a row give the sums of both:
Σ upper = Σ (W >> 8), Σ lower = Σ W − 256 · Σ upper − 128 · rows, modulo 2**16. That is three operations for 64 targets, and half the memory of words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from neurofault.graph.arithmetic import STATE_LIMIT

UNIT = 64
"""Targets of one word of spikes, to which populations are padded."""

_BLOCK, _HALF, _LEAST = 2 * UNIT, UNIT // 2, 16
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def paired(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return weights [n_in, a multiple of 64] as :func:`add_block` reads them, uint8 of the same shape."""
    sources, width = weights.shape
    halves = weights.reshape(sources, width // UNIT, 2, _HALF).astype(np.int16)
    words = (halves[:, :, 0] + 128) | (halves[:, :, 1] << 8)
    return np.ascontiguousarray(words.astype("<i2")).view(np.uint8).reshape(sources, width)


def _vector(bits: int, lanes: int) -> Any:
    return ir.VectorType(ir.IntType(bits), lanes)


def _same(value: int, kind: Any) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector of one value that is known when the kernel runs."""
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _I32(0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _same(0, _vector(32, lanes)))


def _resized(builder: Any, values: Any, bits: int) -> Any:
    """Return whole numbers in a type of so many bits."""
    kind, own = _vector(bits, values.type.count), values.type.element.width
    return values if own == bits else builder.sext(values, kind) if own < bits else builder.trunc(values, kind)


class _Arguments:
    """The arguments of a call: arrays by their data, the others as they are."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.builder, self.kinds, self.values = builder, signature.args, values
        self.arrays = [
            context.make_array(kind)(context, builder, value) if isinstance(kind, types.Array) else None
            for kind, value in zip(signature.args, values, strict=True)
        ]

    def bits(self, which: int) -> int:
        """Return the width of an array's elements."""
        return int(self.kinds[which].dtype.bitwidth)

    def place(self, which: int, offset: Any, vector: Any) -> Any:
        """Return where a vector begins in an array, ``offset`` elements from its start."""
        array = self.arrays[which]
        assert array is not None
        return self.builder.bitcast(self.builder.gep(array.data, [offset]), vector.as_pointer())

    def load(self, which: int, offset: Any, lanes: int) -> Any:
        """Load some elements of an array."""
        bits = self.bits(which)
        return self.builder.load(self.place(which, offset, _vector(bits, lanes)), align=bits // 8)

    def size(self, which: int) -> Any:
        """Return the length of an array of one dimension."""
        array = self.arrays[which]
        assert array is not None
        return self.builder.extract_value(array.shape, 0)

    def store(self, which: int, offset: Any, values: Any) -> None:
        """Store elements of an array."""
        self.builder.store(values, self.place(which, offset, values.type), align=self.bits(which) // 8)


def _loop(
    builder: Any, first: Any, stop: Any, step: int, carried: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> tuple[Any, list[Any]]:
    """Emit ``while place + step ≤ stop`` from ``first`` on, handing values on from turn to turn; return the last place and values."""
    before = builder.block
    head, inside, done = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    place, own = builder.phi(_I64), [builder.phi(value.type) for value in carried]
    after = builder.add(place, _I64(step))
    builder.cbranch(builder.icmp_signed("<=", after, stop), inside, done)
    builder.position_at_end(inside)
    made = body(place, list(own))
    for phi, initial, later in zip([place, *own], [first, *carried], [after, *made], strict=True):
        phi.add_incoming(initial, before)
        phi.add_incoming(later, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return place, own


def _over_targets(builder: Any, size: Any, body: Callable[[Any, int], None], rest: int = UNIT) -> None:
    """Emit ``body(column, lanes)`` for blocks of targets, then for what is left of them, ``rest`` at a time."""

    def of(lanes: int) -> Callable[[Any, list[Any]], list[Any]]:
        def turn(column: Any, carried: list[Any]) -> list[Any]:
            body(column, lanes)
            return carried

        return turn

    column, _ = _loop(builder, _I64(0), size, _BLOCK, [], of(_BLOCK))
    _loop(builder, column, size, rest, [], of(rest))


def _summed(given: _Arguments, column: Any, lanes: int) -> list[Any]:
    """Add the rows of some sources up; return the sums of each 64 (or all, if fewer) of ``lanes`` targets from ``column`` on.

    The first four of the arguments: weights [n_in, width], sources, first and stop: window of ``sources``.
    """
    builder, (weights, sources) = given.builder, given.arrays[:2]
    assert weights is not None
    assert sources is not None
    first, stop = given.values[2:4]
    pairs = given.kinds[0].dtype == types.uint8
    bits = 16 if pairs else given.bits(0)
    kind = _vector(bits, lanes // 2 if pairs else lanes)
    pitch, begin = builder.extract_value(weights.strides, 0), builder.bitcast(builder.gep(weights.data, [column]), _I8.as_pointer())

    def add(place: Any, sums: list[Any]) -> list[Any]:
        source = builder.sext(builder.load(builder.gep(sources.data, [place])), _I64)
        at = builder.bitcast(builder.gep(begin, [builder.mul(source, pitch)]), kind.as_pointer())
        row = builder.load(at, align=1 if pairs else bits // 8)
        parts = [row, builder.ashr(row, _same(8, kind))] if pairs else [row]
        return [builder.add(own, part) for own, part in zip(sums, parts, strict=True)]

    _, sums = _loop(builder, first, stop, 1, [ir.Constant(kind, None)] * (2 if pairs else 1), add)
    lower, upper, apart = sums[0], sums[-1], min(lanes, UNIT)
    if pairs:
        rows = builder.trunc(builder.shl(builder.sub(stop, first), _I64(7)), _I16)
        lower = builder.sub(builder.sub(lower, builder.shl(upper, _same(8, kind))), _spread(builder, rows, lanes // 2))
        apart = _HALF
    parts = []
    for unit in range(0, kind.count, apart):
        chosen = [*range(unit, unit + apart), *(range(kind.count + unit, kind.count + unit + apart) if pairs else ())]
        parts.append(builder.shuffle_vector(lower, upper, ir.Constant(_vector(32, len(chosen)), chosen)))
    return parts


def _stepped(given: _Arguments, sums: Any, at: Any, first: int, wraps: bool) -> None:
    """Advance 64 plain neurons from ``at`` on by one step; ``first``: of the arguments factor, bias, threshold, v and fired."""
    builder, kind = given.builder, _vector(32, UNIT)
    current = builder.mul(_resized(builder, sums, 32), _spread(builder, given.values[first], UNIT))
    if wraps:
        over = builder.icmp_signed(">", current, _same(STATE_LIMIT, kind))
        under = builder.icmp_signed("<=", current, _same(-STATE_LIMIT, kind))
        turn = _same(2 * STATE_LIMIT, kind)
        lower, higher = builder.sub(current, turn), builder.add(current, turn)
        current = builder.select(under, higher, builder.select(over, lower, current))
    moved = builder.add(builder.add(given.load(first + 3, at, UNIT), current), given.load(first + 1, at, UNIT))
    for sign, end in (("<", _same(1 - STATE_LIMIT, kind)), (">", _same(STATE_LIMIT - 1, kind))):
        moved = builder.select(builder.icmp_signed(sign, moved, end), end, moved)
    spike = builder.icmp_signed(">", moved, given.load(first + 2, at, UNIT))
    given.store(first + 3, at, builder.select(spike, ir.Constant(kind, None), moved))
    word = builder.lshr(at, _I64(UNIT.bit_length() - 1))
    builder.store(builder.bitcast(spike, _I64), given.place(first + 4, word, _I64), align=8)


def _either(builder: Any, wraps: Any, body: Callable[[bool], None]) -> None:
    """Emit ``body`` for neurons whose u can wrap, and for others."""
    with builder.if_else(builder.trunc(wraps, ir.IntType(1))) as (then, otherwise):
        with then:
            body(True)
        with otherwise:
            body(False)


def _add_rows(typing: Any, weights: Any, sources: Any, first: Any, stop: Any, total: Any) -> Any:
    """Add the rows of ``sources[first:stop]`` to ``total``.

    ``weights``: int16 or int32 [n_in, width, a multiple of 16], or pairs (:func:`paired`); ``sources``: int32; ``total``: [width], int16, int32 or int64.
    The sums of the rows must fit 16 bits, those of int32 weights 32.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = _Arguments(context, builder, signature, values)

        def body(column: Any, lanes: int) -> None:
            for unit, sums in enumerate(_summed(given, column, lanes)):
                at = builder.add(column, _I64(unit * UNIT))
                given.store(4, at, builder.add(given.load(4, at, sums.type.count), _resized(builder, sums, given.bits(4))))

        _over_targets(builder, given.size(4), body, UNIT if weights.dtype == types.uint8 else _LEAST)
        return context.get_dummy_value()

    return types.void(weights, sources, types.intp, types.intp, total), generate


def _step_rows(
    typing: Any,
    weights: Any,
    sources: Any,
    first: Any,
    stop: Any,
    factor: Any,
    bias: Any,
    threshold: Any,
    v: Any,
    fired: Any,
    wraps: Any,
) -> Any:
    """Add up rows as :func:`add_rows` does and advance plain neurons by the sums times ``factor`` (int32).

    ``bias``, ``threshold``, ``v``: int32 [width]; ``fired``: uint64 [width / 64], filled, bit k of word w for neuron 64w + k; ``wraps``: whether u can leave
    its range.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = _Arguments(context, builder, signature, values)

        def step(wrapping: bool) -> None:
            def body(column: Any, lanes: int) -> None:
                for unit, sums in enumerate(_summed(given, column, lanes)):
                    _stepped(given, sums, builder.add(column, _I64(unit * UNIT)), 4, wrapping)

            _over_targets(builder, given.size(7), body)

        _either(builder, values[9], step)
        return context.get_dummy_value()

    return types.void(weights, sources, types.intp, types.intp, types.int32, bias, threshold, v, fired, types.boolean), generate


def _step_sums(typing: Any, total: Any, factor: Any, bias: Any, threshold: Any, v: Any, fired: Any, wraps: Any) -> Any:
    """Advance plain neurons as :func:`step_rows` does, by sums (int16, int32 or int64 [width]) that are set to zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = _Arguments(context, builder, signature, values)

        def step(wrapping: bool) -> None:
            def body(at: Any, carried: list[Any]) -> list[Any]:
                sums = given.load(0, at, UNIT)
                given.store(0, at, ir.Constant(sums.type, None))
                _stepped(given, sums, at, 1, wrapping)
                return carried

            _loop(builder, _I64(0), given.size(0), UNIT, [], body)

        _either(builder, values[6], step)
        return context.get_dummy_value()

    return types.void(total, types.int32, bias, threshold, v, fired, types.boolean), generate


def _write_ones(typing: Any, word: Any, first: Any, places: Any, out: Any, end: Any) -> Any:
    """Write ``first`` plus the place of each one of a word to ``out`` (int32) from ``end`` on; return the new end.

    ``places``: uint8 [256, 8], the ones of each byte. Up to 8 elements beyond the new end are overwritten.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given, (word, first, _, _, end) = _Arguments(context, builder, signature, values), values
        for shift in range(0, UNIT, 8):
            byte = builder.and_(builder.lshr(word, _I64(shift)), _I64(255))
            found = builder.zext(given.load(2, builder.shl(byte, _I64(3)), 8), _vector(32, 8))
            given.store(3, end, builder.add(found, _spread(builder, builder.add(first, _I32(shift)), 8)))
            end = builder.add(end, builder.ctpop(byte))
        return end

    return types.intp(types.uint64, types.int32, places, out, types.intp), generate


add_rows: Any = intrinsic(_add_rows)
step_rows: Any = intrinsic(_step_rows)
step_sums: Any = intrinsic(_step_sums)
write_ones: Any = intrinsic(_write_ones)
