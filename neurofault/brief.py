"""Records in one line: what a person wants to see of them, never the numbers of an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

_MOST = 60
"""Characters of a text, and of what a sequence holds."""


def brief(record: Any) -> str:
    """Return a dataclass as ``Name(field=…, …)`` with arrays by type and shape, records within by name, and what stands at its default left out.

    >>> from dataclasses import dataclass
    >>> @dataclass(repr=False)
    ... class Weights:
    ...     values: object
    ...     bits: int = 8
    ...     exponent: int = 0
    >>> brief(Weights(np.zeros((10, 64), np.int8), exponent=6))
    'Weights(values=int8 [10, 64], exponent=6)'
    """
    shown = [f"{one.name}={_value(getattr(record, one.name))}" for one in fields(record) if one.repr and not _usual(one, record)]
    return f"{type(record).__name__}({', '.join(shown)})"


def _usual(one: Field[Any], record: object) -> bool:
    """Whether a field is what it is unless given."""
    value = getattr(record, one.name)
    if one.default_factory is not MISSING:
        return isinstance(value, (tuple, list, Mapping)) and not value
    return one.default is not MISSING and not isinstance(value, np.ndarray) and value is one.default


def _value(value: object) -> str:
    match value:
        case np.ndarray():
            return f"{value.dtype} {list(value.shape)}"
        case np.generic():
            return str(value)
        case str():
            return repr(value) if len(value) <= _MOST else repr(value[: _MOST - 1] + "…")
        case Mapping():
            return "{" + _some([str(key) for key in value]) + "}"
        case tuple() | list():
            return "(" + _some([_value(one) for one in value]) + ")"
        case _ if is_dataclass(value) and not isinstance(value, type):
            name = getattr(value, "name", None) if any(one.name == "name" for one in fields(value)) else None
            return f"{type(value).__name__} {name!r}" if isinstance(name, str) else type(value).__name__
    text = repr(value)
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def _some(texts: list[str]) -> str:
    """Return texts side by side, of many the first and how many there are."""
    kept = list(texts)
    while len(kept) > 1 and sum(map(len, kept)) > _MOST:
        kept.pop()
    return ", ".join(kept) + (f", … {len(texts)} in all" if len(kept) < len(texts) else "")


def html_table(line: str, heads: Sequence[str], rows: Sequence[Sequence[str]], most: int = 20) -> str:
    """Return a line and a table as HTML, as notebooks show a record; of many rows the first, and how many there are.

    >>> html_table("a < b", ("n",), [("1",), ("2",)], most=1)
    '<p>a &lt; b</p><table><thead><tr><th>n</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table><p>… 2 in all</p>'
    """
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[:most])
    more = f"<p>… {len(rows)} in all</p>" if len(rows) > most else ""
    return f"<p>{escape(line)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
