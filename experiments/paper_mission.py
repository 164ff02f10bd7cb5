"""Availability over a mission in "Does it hold?": its table, and the numbers of its sentences (beside ``paper_tables.py`` and ``paper_claims.py``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paper_holm import read
from paper_words import apart, between, number, one, percent, rows_of, significant, table

Cells = tuple[str, ...]
ORBIT, STORM = "orbit", "orbit × 1000"
ENERGIES = ("serving", "static", "protection", "repair")


def mission() -> Iterator[Cells]:
    """What is served over a mission, by way of maintenance and spare cores."""
    yield (
        "upsets", "maintenance", "spare cores", "accuracy served", "− nothing, points", "lowest", "within 1 point", "within 5 points",
        "energy, of that of nothing", "of it code", "of it repair",
    )  # fmt: skip
    for row in table("chip_availability_rows"):
        yield (
            row["mission"], row["arm"], str(row["spares"]), f"{percent(row['served'])} {between(row, 'served_low', 'served_high', digits=1, signed=False)}",
            "–" if row["arm"] == "nothing" else apart(row, "difference", "difference_low", "difference_high", digits=1), percent(row["worst"]),
            *(percent(row[name], 0) for name in ("within_1", "within_5")), percent(row["energy"]),
            percent(row["protection"] / whole(row)) if row["protection"] else "–", small(row) if row["repair"] else "–",
        )  # fmt: skip


def whole(row: Any) -> float:
    """Return the joules of a mission."""
    return float(sum(row[name] for name in ENERGIES))


def small(row: Any) -> str:
    """Return the share of repairs in a mission's energy, which is tiny."""
    share = 100 * row["repair"] / whole(row)
    return f"{significant(share, 1)} %" if share >= 1e-4 else "< 0.0001 %"


def mission_sentences() -> Iterator[str]:
    """What the sentences on a mission say."""
    rows, about = table("chip_availability_rows"), read("chip_availability")["missions"]
    orbit, storm = about[ORBIT], about[STORM]
    yield f"at {percent(orbit['deaths_per_core_year'], 0)} a core-year"
    yield f"upsets {number(orbit['upsets'])} of {number(orbit['stored_bits'], 0)} bits in ten years"
    yield f"{number(storm['upsets'], 0)} upsets, {percent(storm['wrong_at_end'])} of the bits"
    yield f"{number(orbit['dead'])} of the {orbit['cores']} cores in use and 8 spare ones die"

    def way(mission: str, arm: str, spares: int = 0) -> Any:
        return one(rows, mission=mission, arm=arm, spares=spares)

    def served(mission: str, arm: str, spares: int = 0) -> str:
        return percent(way(mission, arm, spares)["served"])

    def ahead(mission: str, arm: str, spares: int = 0) -> str:
        return apart(way(mission, arm, spares), "difference", "difference_low", "difference_high", digits=1)

    moved = [served(ORBIT, "remap", spares) for spares in (2, 4, 8)]
    bare = way(ORBIT, "nothing")
    path = rows_of(table("chip_availability_curves"), mission=ORBIT, way="remap, 8 spare cores")
    yield f"right after each repair it has {percent(sum(row['after'] for row in path[1:]) / (len(path) - 1))} in the mean"
    yield "nothing serves {} of {}, remap {} with 2 spare cores, {} with 4 and {} with 8".format(
        served(ORBIT, "nothing"), percent(bare["healthy"]), *moved
    )
    yield f"within 1 point of the healthy accuracy {percent(bare['within_1'], 0)} of the time without maintenance, {percent(way(ORBIT, 'remap', 8)['within_1'], 0)} with 8 spare cores"
    yield f"Learning alone serves {ahead(ORBIT, 'learn')} points more than nothing, remap with 2 spare cores {ahead(ORBIT, 'remap', 2)}"
    yield f"protect {ahead(STORM, 'protect')} and reload {ahead(STORM, 'reload')} points"
    yield f"remap with 8 spare cores serves {served(STORM, 'remap', 8)}, all of it {served(STORM, 'all', 8)}"
    yield f"all serves {served(ORBIT, 'all', 8)}, remap {served(ORBIT, 'remap', 8)}"
    coded = rows_of(rows, arm="protect")
    extra = [row["energy"] - 1 for row in coded]
    yield f"{percent(max(extra), 0)} more energy"
    yield f"{percent(max(row['protection'] / whole(row) for row in coded), 0)} of the mission's energy are the bits that it reads"
    yield f"{percent(bare['static'] / whole(bare), 0)} of the energy of a mission without maintenance is static power"
    yield f"{percent(coded[0]['added_bits'])} more stored bits"
    yield f"at most {significant(max(100 * row['repair'] / whole(row) for row in rows), 1)} % of the energy of a mission"
    yield f"{percent(way(ORBIT, 'remap', 8)['energy'] - 1, 0)} more with 8 spare cores"
