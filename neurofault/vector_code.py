"""What kernels written as vector code are made of: numba calls them as functions, LLVM turns their vectors into whatever the processor has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def vector(bits: int, lanes: int) -> Any:
    """Return the type of so many whole numbers."""
    return ir.VectorType(ir.IntType(bits), lanes)


def same(value: int, kind: Any) -> Any:
    """Return a vector of one constant."""
    return ir.Constant(kind, [value] * kind.count)


def spread(builder: Any, value: Any, lanes: int) -> Any:
    """Return a vector of one value that is known when the kernel runs."""
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), same(0, vector(32, lanes)))


def resized(builder: Any, values: Any, bits: int) -> Any:
    """Return whole numbers in a type of so many bits."""
    kind, own = vector(bits, values.type.count), values.type.element.width
    return values if own == bits else builder.sext(values, kind) if own < bits else builder.trunc(values, kind)


class Arguments:
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

    def place(self, which: int, offset: Any, kind: Any) -> Any:
        """Return where a vector begins in an array, ``offset`` elements from its start."""
        array = self.arrays[which]
        assert array is not None
        return self.builder.bitcast(self.builder.gep(array.data, [offset]), kind.as_pointer())

    def load(self, which: int, offset: Any, lanes: int) -> Any:
        """Load some elements of an array."""
        bits = self.bits(which)
        kind = ir.VectorType(ir.DoubleType(), lanes) if self.kinds[which].dtype == types.float64 else vector(bits, lanes)
        return self.builder.load(self.place(which, offset, kind), align=bits // 8)

    def size(self, which: int) -> Any:
        """Return the length of an array of one dimension."""
        array = self.arrays[which]
        assert array is not None
        return self.builder.extract_value(array.shape, 0)

    def store(self, which: int, offset: Any, values: Any) -> None:
        """Store elements of an array."""
        self.builder.store(values, self.place(which, offset, values.type), align=self.bits(which) // 8)


def loop(
    builder: Any, first: Any, stop: Any, step: int, carried: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> tuple[Any, list[Any]]:
    """Emit ``while place + step ≤ stop`` from ``first`` on, handing values on from turn to turn; return the last place and values."""
    before = builder.block
    head, inside, done = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    place, own = builder.phi(I64), [builder.phi(value.type) for value in carried]
    after = builder.add(place, I64(step))
    builder.cbranch(builder.icmp_signed("<=", after, stop), inside, done)
    builder.position_at_end(inside)
    made = body(place, list(own))
    for phi, initial, later in zip([place, *own], [first, *carried], [after, *made], strict=True):
        phi.add_incoming(initial, before)
        phi.add_incoming(later, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return place, own
