"""Rows of numbers and words as CSV text, and numbers as they are written: the same bytes for the same results."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def table(rows: Rows) -> str:
    """Return rows as CSV; numbers as :func:`rounded`, None as an empty field.

    >>> print(table([{"m": 1, "accuracy": 0.5}, {"m": 2, "accuracy": None}]), end="")
    m,accuracy
    1,0.5
    2,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows([rounded(dict(row)) for row in rows])
    return text.getvalue()


def rounded(value: Any) -> Any:
    """Return JSON values with floats at seven significant digits and NaN as None, in all depths.

    >>> rounded({"a": [1 / 3, float("nan"), 2]})
    {'a': [0.3333333, None, 2]}
    """
    match value:
        case float():
            return None if math.isnan(value) else float(f"{value:.7g}")
        case Mapping():
            return {key: rounded(one) for key, one in value.items()}
        case list() | tuple():
            return [rounded(one) for one in value]
        case _:
            return value
