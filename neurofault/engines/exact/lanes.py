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
from neurofault.vector_code import I8, I16, I32, I64, Arguments, loop, resized, same, spread, vector

UNIT = 64
"""Targets of one word of spikes, to which populations are padded."""

PLACES = np.array([[bit for bit in range(8) if mask >> bit & 1] + [0] * (8 - mask.bit_count()) for mask in range(256)], np.uint8)
"""The ones of each byte, uint8 [256, 8]."""

_BLOCK, _HALF, _LEAST = 2 * UNIT, UNIT // 2, 16


def paired(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return weights [n_in, a multiple of 64] as :func:`add_block` reads them, uint8 of the same shape."""
    sources, width = weights.shape
    halves = weights.reshape(sources, width // UNIT, 2, _HALF).astype(np.int16)
    words = (halves[:, :, 0] + 128) | (halves[:, :, 1] << 8)
    return np.ascontiguousarray(words.astype("<i2")).view(np.uint8).reshape(sources, width)


def _over_targets(builder: Any, size: Any, body: Callable[[Any, int], None], rest: int = UNIT) -> None:
    """Emit ``body(column, lanes)`` for blocks of targets, then for what is left of them, ``rest`` at a time."""

    def of(lanes: int) -> Callable[[Any, list[Any]], list[Any]]:
        def turn(column: Any, carried: list[Any]) -> list[Any]:
            body(column, lanes)
            return carried

        return turn

    column, _ = loop(builder, I64(0), size, _BLOCK, [], of(_BLOCK))
    loop(builder, column, size, rest, [], of(rest))


def _summed(given: Arguments, column: Any, lanes: int) -> list[Any]:
    """Add the rows of some sources up; return the sums of each 64 (or all, if fewer) of ``lanes`` targets from ``column`` on.

    The first four of the arguments: weights [n_in, width], sources, first and stop: window of ``sources``.
    """
    builder, (weights, sources) = given.builder, given.arrays[:2]
    assert weights is not None
    assert sources is not None
    first, stop = given.values[2:4]
    pairs = given.kinds[0].dtype == types.uint8
    bits = 16 if pairs else given.bits(0)
    kind = vector(bits, lanes // 2 if pairs else lanes)
    pitch, begin = builder.extract_value(weights.strides, 0), builder.bitcast(builder.gep(weights.data, [column]), I8.as_pointer())

    def add(place: Any, sums: list[Any]) -> list[Any]:
        source = builder.sext(builder.load(builder.gep(sources.data, [place])), I64)
        at = builder.bitcast(builder.gep(begin, [builder.mul(source, pitch)]), kind.as_pointer())
        row = builder.load(at, align=1 if pairs else bits // 8)
        parts = [row, builder.ashr(row, same(8, kind))] if pairs else [row]
        return [builder.add(own, part) for own, part in zip(sums, parts, strict=True)]

    _, sums = loop(builder, first, stop, 1, [ir.Constant(kind, None)] * (2 if pairs else 1), add)
    lower, upper, apart = sums[0], sums[-1], min(lanes, UNIT)
    if pairs:
        rows = builder.trunc(builder.shl(builder.sub(stop, first), I64(7)), I16)
        lower = builder.sub(builder.sub(lower, builder.shl(upper, same(8, kind))), spread(builder, rows, lanes // 2))
        apart = _HALF
    parts = []
    for unit in range(0, kind.count, apart):
        chosen = [*range(unit, unit + apart), *(range(kind.count + unit, kind.count + unit + apart) if pairs else ())]
        parts.append(builder.shuffle_vector(lower, upper, ir.Constant(vector(32, len(chosen)), chosen)))
    return parts


def _kept(builder: Any, values: Any, share: Any) -> Any:
    """Return what is left of values (int32) of which a share (float64, a multiple of 1/4096) survives: exact, cut off towards 0."""
    return builder.fptosi(builder.fmul(builder.sitofp(values, share.type), share), values.type)


def _wrapped(builder: Any, current: Any) -> Any:
    """Wrap u (int32) once: to −2**23 + 1 … 2**23, unless it is farther away than that."""
    kind = current.type
    over = builder.icmp_signed(">", current, same(STATE_LIMIT, kind))
    under = builder.icmp_signed("<=", current, same(-STATE_LIMIT, kind))
    turn = same(2 * STATE_LIMIT, kind)
    lower, higher = builder.sub(current, turn), builder.add(current, turn)
    return builder.select(under, higher, builder.select(over, lower, current))


def _stepped(given: Arguments, u: Any, v: Any, at: Any, first: int) -> None:
    """Advance 64 neurons from ``at`` on, of which v is left, by u; ``first``: of the arguments bias, threshold, v and fired."""
    builder, kind = given.builder, u.type
    moved = builder.add(builder.add(v, u), given.load(first, at, UNIT))
    for sign, end in (("<", same(1 - STATE_LIMIT, kind)), (">", same(STATE_LIMIT - 1, kind))):
        moved = builder.select(builder.icmp_signed(sign, moved, end), end, moved)
    spike = builder.icmp_signed(">", moved, given.load(first + 1, at, UNIT))
    given.store(first + 2, at, builder.select(spike, ir.Constant(kind, None), moved))
    word = builder.lshr(at, I64(UNIT.bit_length() - 1))
    builder.store(builder.bitcast(spike, I64), given.place(first + 3, word, I64), align=8)


def _either(builder: Any, condition: Any, body: Callable[[bool], None]) -> None:
    """Emit ``body`` for both values of a condition."""
    with builder.if_else(builder.trunc(condition, ir.IntType(1))) as (then, otherwise):
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
        given = Arguments(context, builder, signature, values)

        def body(column: Any, lanes: int) -> None:
            for unit, sums in enumerate(_summed(given, column, lanes)):
                at = builder.add(column, I64(unit * UNIT))
                given.store(4, at, builder.add(given.load(4, at, sums.type.count), resized(builder, sums, given.bits(4))))

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
        given = Arguments(context, builder, signature, values)

        def step(wrapping: bool) -> None:
            def body(column: Any, lanes: int) -> None:
                for unit, sums in enumerate(_summed(given, column, lanes)):
                    at = builder.add(column, I64(unit * UNIT))
                    current = builder.mul(resized(builder, sums, 32), spread(builder, values[4], UNIT))
                    _stepped(given, _wrapped(builder, current) if wrapping else current, given.load(7, at, UNIT), at, 5)

            _over_targets(builder, given.size(7), body)

        _either(builder, values[9], step)
        return context.get_dummy_value()

    return types.void(weights, sources, types.intp, types.intp, types.int32, bias, threshold, v, fired, types.boolean), generate


def _step_sums(
    typing: Any,
    total: Any,
    right: Any,
    factor: Any,
    keep_u: Any,
    keep_v: Any,
    u: Any,
    bias: Any,
    threshold: Any,
    v: Any,
    fired: Any,
    remembers: Any,
    leaks: Any,
    wraps: Any,
) -> Any:
    """Advance neurons of Lava's law (``PyLifModelBitAcc``) by sums (int16, int32 or int64 [width]), shifted to the right, times ``factor``.

    The sums are set to zero. ``keep_u``, ``keep_v``: float64 [width]; ``u`` (int32 [width]) is read and written where neurons remember it, ``v`` loses
    something where they leak; what else there is: :func:`step_rows`.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = Arguments(context, builder, signature, values)

        def step(remembering: bool, leaking: bool, wrapping: bool) -> None:
            def body(at: Any, carried: list[Any]) -> list[Any]:
                sums = given.load(0, at, UNIT)
                given.store(0, at, ir.Constant(sums.type, None))
                places = spread(builder, builder.trunc(values[1], sums.type.element), UNIT)
                sums = resized(builder, builder.ashr(sums, places), 32)
                own = builder.mul(sums, spread(builder, values[2], UNIT))
                if remembering:
                    own = builder.add(own, _kept(builder, given.load(5, at, UNIT), given.load(3, at, UNIT)))
                own = _wrapped(builder, own) if wrapping else own
                if remembering:
                    given.store(5, at, own)
                before = given.load(8, at, UNIT)
                before = _kept(builder, before, given.load(4, at, UNIT)) if leaking else before
                _stepped(given, own, before, at, 6)
                return carried

            loop(builder, I64(0), given.size(0), UNIT, [], body)

        def plain(wrapping: bool) -> None:
            step(False, False, wrapping)

        def remember(remembering: bool) -> None:
            if remembering:
                _either(builder, values[11], lambda leaking: step(True, leaking, True))
            else:
                _either(
                    builder, values[11], lambda leaking: step(False, True, True) if leaking else _either(builder, values[12], plain)
                )

        _either(builder, values[10], remember)
        return context.get_dummy_value()

    flags = types.boolean, types.boolean, types.boolean
    return types.void(total, types.intp, types.int32, keep_u, keep_v, u, bias, threshold, v, fired, *flags), generate


def _add_words(
    typing: Any, kernel: Any, table: Any, sources: Any, first: Any, stop: Any, offset: Any, total: Any, target: Any, length: Any
) -> Any:
    """Add, for the sources in ``sources[first:stop]``, the words of ``kernel`` from ``table[source, 1] + offset`` on to ``total[target : target + length]``.

    ``kernel``: int16 or int32; ``table``: int32 [n_in, 5]; ``total``: int16, int32 or int64.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given, (_, _, _, first, stop, offset, _, target, length) = Arguments(context, builder, signature, values), values
        place: Any = I64(0)
        for lanes in (128, 32, 8, 1):

            def body(at: Any, carried: list[Any], lanes: int = lanes) -> list[Any]:
                here, begin = builder.add(target, at), builder.add(offset, at)

                def add(position: Any, sums: list[Any]) -> list[Any]:
                    source = builder.sext(builder.extract_element(given.load(2, position, 1), I32(0)), I64)
                    column = builder.add(builder.mul(source, I64(5)), I64(1))
                    word = builder.sext(builder.extract_element(given.load(1, column, 1), I32(0)), I64)
                    words = given.load(0, builder.add(word, begin), lanes)
                    return [builder.add(sums[0], resized(builder, words, given.bits(6)))]

                _, sums = loop(builder, first, stop, 1, [given.load(6, here, lanes)], add)
                given.store(6, here, sums[0])
                return carried

            place, _ = loop(builder, place, length, lanes, [], body)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(kernel, table, sources, whole, whole, whole, total, whole, whole), generate


def _write_ones(typing: Any, word: Any, first: Any, places: Any, out: Any, end: Any) -> Any:
    """Write ``first`` plus the place of each one of a word to ``out`` (int32) from ``end`` on; return the new end.

    ``places``: :data:`PLACES`. Up to 8 elements beyond the new end are overwritten.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given, (word, first, _, _, end) = Arguments(context, builder, signature, values), values
        for shift in range(0, UNIT, 8):
            byte = builder.and_(builder.lshr(word, I64(shift)), I64(255))
            found = builder.zext(given.load(2, builder.shl(byte, I64(3)), 8), vector(32, 8))
            given.store(3, end, builder.add(found, spread(builder, builder.add(first, I32(shift)), 8)))
            end = builder.add(end, builder.ctpop(byte))
        return end

    return types.intp(types.uint64, types.int32, places, out, types.intp), generate


add_rows: Any = intrinsic(_add_rows)
step_rows: Any = intrinsic(_step_rows)
step_sums: Any = intrinsic(_step_sums)
add_words: Any = intrinsic(_add_words)
write_ones: Any = intrinsic(_write_ones)
