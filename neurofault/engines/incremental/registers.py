"""Neurons of Lava's law side by side, their states in registers for all steps, as vector code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from neurofault.engines.exact.lanes import _either, _kept, _wrapped
from neurofault.engines.incremental.fault_table import BIAS, THRESHOLD, U, V
from neurofault.graph.arithmetic import STATE_LIMIT
from neurofault.vector_code import I32, I64, Arguments, loop, same, spread, vector

WIDTH = 16
"""Neurons that are run at a time."""


def _run_wide(
    typing: Any, drive: Any, numbers: Any, keep: Any, bits: Any, begin: Any, stop: Any, width: Any, remembers: Any, leaks: Any
) -> Any:
    """Run ``width`` neurons, a multiple of 16, from step ``begin`` to ``stop`` − 1; the arrays are those of ``Lanes``, their places are not checked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = Arguments(context, builder, signature, values)
        array = given.arrays[0]
        assert array is not None
        pitch = builder.extract_value(array.shape, 1)
        begin, stop, width = values[4:7]
        kind = vector(32, WIDTH)

        def row(of: int, number: Any, first: Any) -> Any:
            return given.load(of, builder.add(builder.mul(number, pitch), first), WIDTH)

        def run(remembering: bool, leaking: bool) -> None:
            def block(first: Any, carried: list[Any]) -> list[Any]:
                share_u, share_v = (row(2, I64(number), first) for number in (0, 1))
                threshold, bias = (row(1, I64(number), first) for number in (THRESHOLD, BIAS))

                def word(number: Any, states: list[Any]) -> list[Any]:
                    start = builder.shl(number, I64(5))
                    end = builder.add(start, I64(32))
                    start = builder.select(builder.icmp_signed("<", start, begin), begin, start)
                    end = builder.select(builder.icmp_signed("<", end, stop), end, stop)

                    def step(at: Any, held: list[Any]) -> list[Any]:
                        u, v, ones = held
                        arrived = row(0, at, first)
                        u = _wrapped(builder, builder.add(arrived, _kept(builder, u, share_u)) if remembering else arrived)
                        left = _kept(builder, v, share_v) if leaking else v
                        moved = builder.add(builder.add(left, u), bias)
                        for sign, limit in (("<", same(1 - STATE_LIMIT, kind)), (">", same(STATE_LIMIT - 1, kind))):
                            moved = builder.select(builder.icmp_signed(sign, moved, limit), limit, moved)
                        spike = builder.icmp_signed(">", moved, threshold)
                        bit = builder.shl(I32(1), builder.trunc(builder.and_(at, I64(31)), I32))
                        none = ir.Constant(kind, None)
                        ones = builder.or_(ones, builder.select(spike, spread(builder, bit, WIDTH), none))
                        return [u, builder.select(spike, none, moved), ones]

                    place = builder.add(builder.mul(number, pitch), first)
                    _, done = loop(builder, start, end, 1, [*states, given.load(3, place, WIDTH)], step)
                    given.store(3, place, done[2])
                    return done[:2]

                words = builder.lshr(builder.add(stop, I64(31)), I64(5))
                states = [row(1, I64(number), first) for number in (U, V)]
                _, states = loop(builder, builder.lshr(begin, I64(5)), words, 1, states, word)
                for number, state in zip((U, V), states, strict=True):
                    given.store(1, builder.add(builder.mul(I64(number), pitch), first), state)
                return carried

            loop(builder, I64(0), width, WIDTH, [], block)

        _either(builder, values[7], lambda remembering: _either(builder, values[8], lambda leaking: run(remembering, leaking)))
        return context.get_dummy_value()

    counts = types.intp, types.intp, types.intp
    return types.void(drive, numbers, keep, bits, *counts, types.boolean, types.boolean), generate


run_wide: Any = intrinsic(_run_wide)
