"""Sixteen-bit weights, 32 at a time: one vector addition with its clamp, written as vector code.

A compiler that cannot prove that weights and tables lie apart checks it for each row anew, which takes three times as long as the
additions themselves; here nothing is left to prove. LLVM turns the vectors into whatever the processor has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 32
"""Weights of one vector."""


def _add_clamped_lanes(typing_context: Any, values: Any, at: Any, tables: Any, first: Any, pitch: Any) -> Any:
    """``values[at + k] ← min(max(values[at + k] + t[first + k], t[first + pitch + k]), t[first + 2·pitch + k])``, k = 0 … 31.

    ``values``, ``tables``: int16 arrays, C order; ``at``, ``first``, ``pitch``: places counted over the flat arrays, not checked.
    """
    signature = types.void(values, types.intp, tables, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(16), LANES)

        def place(array: int, offset: Any) -> Any:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        offsets = [arguments[3], builder.add(arguments[3], arguments[4])]
        offsets.append(builder.add(offsets[1], arguments[4]))
        more, least, most = (builder.load(place(2, offset), align=2) for offset in offsets)
        here = place(0, arguments[1])
        total = builder.add(builder.load(here, align=2), more)
        total = builder.select(builder.icmp_signed(">", total, least), total, least)
        total = builder.select(builder.icmp_signed("<", total, most), total, most)
        builder.store(total, here, align=2)
        return context.get_dummy_value()

    return signature, generate


add_clamped_lanes: Any = intrinsic(_add_clamped_lanes)
"""Called from compiled functions as ``add_clamped_lanes(values, at, tables, first, pitch)``."""
