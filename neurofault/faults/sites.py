"""Explicit lists of sites, as types of fields: ids and ranges of ids, lists of whole numbers, names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, SupportsInt, TypeGuard

import numpy as np
from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from neurofault.faults.mistakes import MOST, Mistake, Wrong, said
from neurofault.faults.ranges import turned
from neurofault.numerals import natural

MOST_LISTED = 1 << 20
"""Sites of an explicit list."""


def _whole(value: object) -> TypeGuard[SupportsInt]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) <= MOST


def _wrong(info: ValidationInfo, *texts: str) -> Wrong:
    name = str(info.field_name)
    return Wrong([Mistake(f"{name}{text}", (name,)) for text in texts])


def _is_list(values: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)


def _ids(values: Any, info: ValidationInfo) -> tuple[int, ...]:
    """Return sorted ids of a list of ids and ranges, ``[3, "5-7"]``."""
    given: list[Any] = list(values) if _is_list(values) else []
    if backwards := {value: right for value in given if (right := turned(value)) is not None}:
        text = ": {!r} hits nothing: the lower end comes first (did you mean {!r}?)"
        raise _wrong(info, *(text.format(value, right) for value, right in backwards.items()))
    ids = _united(given) if _is_list(values) else None
    if ids is None:
        raise _wrong(
            info, f' must be a list of whole numbers or ranges such as "4-7", is {said(given if _is_list(values) else values)}'
        )
    if ids and ids[0] < 0:
        raise _wrong(info, f" must be at least 0, not {ids[0]}")
    return ids


def _united(given: Sequence[Any]) -> tuple[int, ...] | None:
    """Return the sorted ids that some ids and ranges name; None: one of them is neither, or there are too many."""
    ids: set[int] = set()
    for value in given:
        if isinstance(value, str):
            first, dash, last = value.partition("-")
            low, high = natural(first), natural(last if dash else first)
            if low is None or high is None or not 0 <= high - low <= MOST_LISTED or high > MOST:
                return None
            ids.update(range(low, high + 1))
        elif _whole(value):
            ids.add(int(value))
        else:
            return None
        if len(ids) > MOST_LISTED:
            return None
    return tuple(sorted(ids))


def _tuples(values: Any, info: ValidationInfo, shape: str, good: Callable[[Any], bool]) -> tuple[Any, ...]:
    """Return a list as a tuple, lists in it too, if all that it holds is good."""
    made = values
    if _is_list(values):
        made = tuple(tuple(row) if isinstance(row, Iterable) and not isinstance(row, str) else row for row in values)
    if not isinstance(made, tuple) or not all(map(good, made)):
        raise _wrong(info, f" must be {shape}, is {said(made)}")
    if len(set(made)) < len(made):
        raise _wrong(info, " names the same one twice")
    return made


def _names(values: Any, info: ValidationInfo) -> tuple[str, ...]:
    return _tuples(values, info, "a list of names", lambda name: isinstance(name, str))


def _rows(width: int) -> Callable[[Any, ValidationInfo], tuple[tuple[int, ...], ...]]:
    def good(row: Any) -> bool:
        return isinstance(row, tuple) and len(row) == width and all(map(_whole, row))

    def check(values: Any, info: ValidationInfo) -> tuple[tuple[int, ...], ...]:
        rows = _tuples(values, info, f"a list of lists of {width} whole numbers", good)
        return tuple(tuple(map(int, row)) for row in rows)

    return check


def _list_of(items: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": items})


def _numbers(width: int) -> dict[str, Any]:
    number = {"type": "integer", "minimum": -MOST, "maximum": MOST}
    return {"type": "array", "items": number, "minItems": width, "maxItems": width}


Ids = Annotated[
    Sequence[int | str],
    PlainValidator(_ids),
    _list_of(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MOST},
                {"type": "string", "pattern": "^ *[0-9]{1,18} *(- *[0-9]{1,18} *)?$"},
            ]
        }
    ),
]
"""Ids, and ranges of ids such as ``"5-7"``; kept as a sorted tuple of ids."""
Pairs = Annotated[Sequence[Sequence[int]], PlainValidator(_rows(2)), _list_of(_numbers(2))]
"""Lists of two whole numbers; kept as a tuple of tuples."""
Triples = Annotated[Sequence[Sequence[int]], PlainValidator(_rows(3)), _list_of(_numbers(3))]
"""Lists of three whole numbers; kept as a tuple of tuples."""
Names = Annotated[Sequence[str], PlainValidator(_names), _list_of({"type": "string"})]
"""Names; kept as a tuple."""


def _named_bits(bits: Any) -> str:
    if isinstance(bits, str) and (bits in ("any", "msb", "lsb") or all(natural(part) is not None for part in bits.split(","))):
        return bits
    raise Wrong([Mistake(f'bits must be any, msb, lsb or numbers such as "0,3", is {said(bits)}', ("bits",))])


NamedBits = Annotated[
    str,
    PlainValidator(_named_bits),
    WithJsonSchema({"type": "string", "pattern": "^(any|msb|lsb| *[0-9]{1,18} *(, *[0-9]{1,18} *)*)$"}),
]
"""Which bits of a stored number are sites; kept as text: ``any``, ``msb``, ``lsb``, ``"0,3"``."""


def bits_named(text: str, width: int) -> tuple[int, ...]:
    """Return the bits that a text means of a number of ``width`` bits; none: it names one that is not there.

    >>> bits_named("msb", 8), bits_named("0,3", 8), bits_named("8", 8)
    ((7,), (0, 3), ())
    """
    names = {"any": range(width), "msb": (width - 1,), "lsb": (0,)}
    bits = names[text] if text in names else tuple(int(part) for part in text.split(","))
    return () if max(bits) >= width else tuple(dict.fromkeys(bits))
