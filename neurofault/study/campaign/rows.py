"""What a row of a journal holds, which rows count, and which one of several speaks for its trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from neurofault.metrics import ACCURACY, SQUARED, Metric

Row = dict[str, Any]

SEMANTICS = 3
"""Raised by hand whenever the same trial would give another result than before; stands in each row (rows without it: 1)."""

COLUMNS: Mapping[str, type] = {
    "trial": str, "draw": int, "status": str, "message": str, "engine": str, "semantics": int, "samples": int,
    "healthy_correct": int, "healthy_spikes": int, "damaged_correct": int, "damaged_spikes": int,
    "energy_joule_per_inference": float, "cores": list, "neurons": int, "synapses": int, "bits": int, "correct": int,
    "worst": float, "served": float, "cycles_total": float, "cycles_after_last_damage": float, "samples_learned": int,
    "writes": int, "updates": int, "host_bytes": int, "repair_energy_joule": float, "repair_time_second": float,
    "seconds": float, "host": str, "worker": str,
}  # fmt: skip
"""Every column of a row and what its values are; all but the first six may also be None."""

_OF_ERRORS = {"samples": ("values", int)} | {
    f"{when}correct": (f"{when}squared_error", float) for when in ("healthy_", "damaged_", "")
}


def columns_of(metric: Metric) -> Mapping[str, type]:
    """Return the columns of what is measured: of errors ``values`` and ``…squared_error``, float64, stand in the places of ``samples`` and ``…correct``."""
    return dict(_OF_ERRORS.get(name, (name, kind)) for name, kind in COLUMNS.items()) if metric.lower else COLUMNS


def value_of(row: Row, when: str = "") -> float | None:
    """Return the accuracy, or the mean squared error, that a row holds; None: it has none.

    Args:
        row: of a trial.
        when: ``healthy_``, ``damaged_``, or nothing: in the end.
    """
    total, number = total_of(row, when), row["values" if "values" in row else "samples"]
    return None if total is None or number is None else float(total / number)


def total_of(row: Row, when: str = "") -> float | None:
    """Return what :func:`value_of` is the share or the mean of; None: there is none."""
    found: float | None = row[f"{when}squared_error" if "values" in row else f"{when}correct"]
    return found


VOLATILE = ("seconds", "host", "worker")
"""Columns in which equal trials may differ."""

STATUSES = ("ok", "stalled", "error", "timeout", "memory", "died")
"""What became of a trial: it has a result; a hung core stopped the chip; it failed with a message; it ran too long; it took too much
memory; its process ended."""

_NEVER_NONE = ("trial", "draw", "status", "message", "engine", "semantics", "cores")


def failed(row: Row) -> bool:
    """Return whether a trial has come to nothing; a chip that a hung core stopped is a result."""
    return row["status"] not in ("ok", "stalled")


def sound(row: Row) -> bool:
    """Return whether a row is one that a trial makes: every column is there, of its type, and an accuracy can be had of it."""
    errors = "values" in row
    if not all(
        name in row and _is(row[name], kind, name) for name, kind in columns_of(Metric(SQUARED) if errors else ACCURACY).items()
    ):
        return False
    if row["status"] not in STATUSES or not all(_is(core, int, "draw") for core in row["cores"]):
        return False
    totals, number = [total_of(row, when) for when in ("", "damaged_", "healthy_")], row["values" if errors else "samples"]
    if all(total is None for total in totals):
        return True
    most = inf if errors else number
    return (
        None not in totals
        and number is not None
        and all(0 <= total <= most and number > 0 for total in totals if total is not None)
    )


def _is(value: object, kind: type, name: str) -> bool:
    if value is None:
        return name not in _NEVER_NONE
    return not isinstance(value, bool) and isinstance(value, int | float if kind is float else kind)


def usable(rows: Iterable[Row], semantics: int) -> list[Row]:
    """Return the rows that this version may take for its own: computed under the same ``semantics``, and sound."""
    return [row for row in rows if row.get("semantics") == semantics and sound(row)]


def best(rows: Iterable[Row]) -> dict[str, Row]:
    """Return one row a trial: the last that has a result, else the last."""
    found: dict[str, Row] = {}
    for row in rows:
        before = found.get(row["trial"])
        if before is None or failed(before) or not failed(row):
            found[row["trial"]] = row
    return found
