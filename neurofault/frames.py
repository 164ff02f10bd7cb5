"""Tables as pandas DataFrames; pandas is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurofault.errors import UnsupportedError

if TYPE_CHECKING:
    from pandas import DataFrame

DTYPES: Mapping[type, str] = {bool: "boolean", int: "Int64", float: "float64", str: "string", list: "object"}
"""Pandas dtype of a column by the type of its values; each has room for values that are missing."""


def import_pandas() -> Any:
    """Return pandas.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UnsupportedError("a table needs pandas, which is not installed: pip install 'neurofault[pandas]'") from None
    return pandas


def frame_of(columns: Mapping[str, type], rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Return rows as a table whose dtypes depend on the columns alone.

    Args:
        columns: name → type of the values, one of :data:`DTYPES`.
        rows: name → value, None where it is missing; names that are no columns are left out.

    Raises:
        UnsupportedError: pandas is not installed.
    """
    pandas = import_pandas()
    return pandas.DataFrame(
        {name: pandas.Series([row[name] for row in rows], dtype=DTYPES[kind]) for name, kind in columns.items()}
    )
