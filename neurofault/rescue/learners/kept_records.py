"""Records of arrays kept as rows of a table, so that kernels are compiled once for any number of them: a tuple is another type for each length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from neurofault.learning.counter import jit
from neurofault.vector_code import I32


class KeptRecords(NamedTuple):
    """Records of one kind, as kernels read them with :func:`record_at`. Whoever holds a table holds its records too: it has their addresses alone.

    Attributes:
        kind: numba's type of each.
        rows: int64 [records, words of one].
    """

    kind: Any
    rows: NDArray[np.int64]


def kept(records: Sequence[tuple[Any, ...]]) -> KeptRecords:
    """Return records (named tuples of arrays, numbers and more of them) as a table.

    Args:
        records: at least one; all of numba's one type. Their arrays are not copied, and must stay as long as the table is read.

    Raises:
        TypeError: two of them differ in type: a program error.
    """
    kinds = [numba.typeof(record) for record in records]  # type: ignore[no-untyped-call]  # numba has no types
    other = next((kind for kind in kinds if kind != kinds[0]), None)
    if other is not None:
        raise TypeError(f"records of two types: {kinds[0]} and {other}")
    rows = np.zeros((len(records), _keep(records[0], np.empty(0, np.int64))), np.int64)
    for record, row in zip(records, rows, strict=True):
        _keep(record, row)
    return KeptRecords(kinds[0], rows)


def _loaded(context: Any, builder: Any, kind: Any, address: Any) -> Any:
    """Load a value part by part, so that what is not read is left out."""
    parts: Any = kind.types if isinstance(kind, types.BaseTuple) else None  # type: ignore[attr-defined]  # numba has no types
    if parts is None:
        return context.unpack_value(builder, kind, address)
    value = ir.Constant(context.get_value_type(kind), ir.Undefined)
    for at, part in enumerate(parts):
        own = _loaded(context, builder, part, builder.gep(address, [I32(0), I32(at)], inbounds=True))
        value = builder.insert_value(value, own, at)
    return value


def _address(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(array.data, [place]), context.get_data_type(kind).as_pointer())


def _words(typing: Any, record: Any) -> Any:
    """Return how many words of 64 bits a record takes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = context.get_abi_sizeof(context.get_data_type(record))
        return context.get_constant(types.intp, -(-size // 8))

    return types.intp(record), generate


def _store(typing: Any, record: Any, row: Any) -> Any:
    """Write a record into a row, int64 [words]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(row)(context, builder, arguments[1])
        address = _address(context, builder, record, array, I32(0))
        context.pack_value(builder, record, arguments[0], address)
        return context.get_dummy_value()

    return types.void(record, row), generate


def _load(typing: Any, kind: Any, rows: Any, number: Any) -> Any:
    own = kind.instance_type

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(rows)(context, builder, arguments[1])
        place = builder.mul(arguments[2], builder.extract_value(array.shape, 1))
        return _loaded(context, builder, own, _address(context, builder, own, array, place))

    return own(kind, rows, types.intp), generate


_words_of: Any = intrinsic(_words)
_store_in: Any = intrinsic(_store)
record_at: Any = intrinsic(_load)
"""``record_at(kind, rows, number)``: a record of a table, in kernels that count no references; places are not checked."""


@jit
def _keep(record: Any, row: NDArray[np.int64]) -> int:
    """Write a record into a row that has room for it; return how many words it takes."""
    if row.shape[0]:
        _store_in(record, row)
    return int(_words_of(record))
