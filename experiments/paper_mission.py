"""Availability over a mission in "Does it hold?": its table, and the numbers of its sentences (beside ``paper_tables.py`` and ``paper_claims.py``)."""

from __future__ import annotations

from collections.abc import Iterator

from paper_words import apart, between, percent, significant, table

Cells = tuple[str, ...]


def availability() -> Iterator[Cells]:
    """What is served over a mission, by way of maintenance and spare cores."""
    yield (
        "mission", "maintenance", "spare cores", "accuracy served", "− nothing, points", "lowest", "within 1 point", "within 5 points",
        "energy of nothing's", "of it code and scrubbing", "of it repair",
    )  # fmt: skip
    for row in table("chip_availability_rows"):
        whole = sum(row[name] for name in ("serving", "static", "protection", "repair"))
        yield (
            row["mission"], row["arm"], str(row["spares"]), f"{percent(row['served'])} {between(row, 'served_low', 'served_high', digits=1, signed=False)}",
            "–" if row["arm"] == "nothing" else apart(row, "difference", "difference_low", "difference_high", digits=1), percent(row["worst"]),
            *(percent(row[name], 0) for name in ("within_1", "within_5")), percent(row["energy"]),
            "–" if not row["protection"] else percent(row["protection"] / whole), "–" if not row["repair"] else f"{significant(100 * row['repair'] / whole, 1)} %",
        )  # fmt: skip
