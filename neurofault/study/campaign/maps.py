"""The chips of a campaign as maps: what each core holds, which faults hit it, and which draws were worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from neurofault.study.campaign.labels import words, x_axis
from neurofault.study.campaign.planned import HeldCore, Planned
from neurofault.study.campaign.spec import Cell

_WORST = 3
"""Draws of a core that are told."""


class CoreHit(NamedTuple):
    """What a trial hit: its cell and draw, the cores, the total before healing and the loss against the healthy chip."""

    cell: int
    draw: int
    cores: tuple[int, ...]
    damaged: int | float
    loss: float


def maps_of(cells: Sequence[Cell], planned: Planned, hits: Iterable[CoreHit]) -> dict[str, Any]:
    """Return for each core of each chip the mean loss in trials that hit it (without repair), and what is known of these trials.

    Trials that differ in the way of healing alone are one, for what they cost before it is one number.

    Args:
        cells: of the campaign.
        planned: where cores lie and what they hold.
        hits: one a trial that has a result.

    Returns:
        ``maps``: one a chip of which a core was hit, with its ``label`` (what differs between the chips), ``columns``, ``rows`` and ``cores``;
        ``criticality`` and ``grid``: the cores of the first chip in short, empty and None where none was hit.
    """
    seen: dict[str, set[tuple[Any, ...]]] = {chip: set() for chip in planned.chips}
    struck: dict[str, dict[int, list[CoreHit]]] = {chip: {} for chip in planned.chips}
    for hit in hits:
        chip = planned.chip_of[str(hit.cell)]
        key = (hit.draw, hit.cores, hit.damaged)
        if key in seen[chip]:
            continue
        seen[chip].add(key)
        for core in hit.cores:
            struck[chip].setdefault(core, []).append(hit)
    by_index = {cell.index: cell for cell in cells}
    labels = _labels(cells, planned)
    maps: list[dict[str, Any]] = [
        {
            "label": labels[chip], "columns": grid.columns, "rows": grid.rows,
            "cores": [_core(int(core), place, struck[chip].get(int(core), []), by_index) for core, place in grid.cores.items()],
        }
        for chip, grid in planned.chips.items()
        if struck[chip].keys() & set(map(int, grid.cores))
    ]  # fmt: skip
    chip, grid = next(iter(planned.chips.items()))
    if not struck[chip].keys() & set(map(int, grid.cores)):
        return {"maps": maps, "criticality": [], "grid": None}
    brief = ("core", "column", "row", "layer", "loss", "trials")
    return {
        "maps": maps,
        "criticality": [{name: core[name] for name in brief} for core in maps[0]["cores"]],
        "grid": {"columns": grid.columns, "rows": grid.rows},
    }


def _core(core: int, place: HeldCore, hits: Sequence[CoreHit], cells: dict[int, Cell]) -> dict[str, Any]:
    faults = Counter(" + ".join(fault.kind for fault in cells[hit.cell].faults) for hit in hits)
    worst = sorted(hits, key=lambda hit: (-hit.loss, hit.draw, hit.cell))[:_WORST]
    return {
        "core": core, "column": place.column, "row": place.row, "layer": place.layer, "neurons": place.neurons,
        "loss": float(np.mean([hit.loss for hit in hits])) if hits else None, "trials": len(hits),
        "faults": dict(faults), "worst": [_told(hit, core, cells[hit.cell]) for hit in worst],
    }  # fmt: skip


def _told(hit: CoreHit, core: int, cell: Cell) -> dict[str, Any]:
    x = x_axis(cell)
    return {
        "draw": hit.draw, "loss": hit.loss, "faults": " + ".join(fault.kind for fault in cell.faults),
        "axis": x, "x": None if x is None else words(cell.axes[x]), "with": [other for other in hit.cores if other != core],
    }  # fmt: skip


def _labels(cells: Sequence[Cell], planned: Planned) -> dict[str, str]:
    """Return what tells each chip from the others: the axes in which the first cells that use them differ."""
    first: dict[str, dict[str, Any]] = {}
    for cell in cells:
        own = {name: value for name, value in cell.axes.items() if not name.startswith(("faults.", "rescue."))}
        first.setdefault(planned.chip_of[str(cell.index)], own)
    differing = [
        name
        for name in dict.fromkeys(name for own in first.values() for name in own)
        if len({repr(own.get(name)) for own in first.values()}) > 1
    ]
    said = {
        chip: ", ".join(f"{name.replace('.', ' ')} {words(own[name])}" for name in differing if name in own)
        for chip, own in first.items()
    }
    often = Counter(said.values())
    return {
        chip: said.get(chip, "") if often[said.get(chip, "")] == 1 else f"{said.get(chip, '')} chip {number}".strip()
        for number, chip in enumerate(planned.chips, 1)
    }
