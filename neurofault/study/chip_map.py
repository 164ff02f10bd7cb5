"""A chip as a map: where its cores lie, what each holds, and marks on a grid as the explorer draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.grid import in_rows
from neurofault.deploy.routing import Hexagon, Mesh, topology
from neurofault.numerals import plural


def tiles_of(deployment: Deployment) -> dict[str, Any]:
    """Return where each used or spare core lies and what it holds.

    Args:
        deployment: a placed network.

    Returns:
        ``columns``, ``rows`` of tiles, and ``cores``: id as text → ``layer`` (population; None: a spare), ``column``, ``row``, and ``neurons``, the first and the
        last neuron and their number (None: a spare).
    """
    placement = deployment.placement
    layer_of: dict[int, str | None] = dict.fromkeys(placement.spare_cores)
    neurons_of: dict[int, list[int]] = {}
    for population in deployment.populations:
        layer_of |= dict.fromkeys(map(int, placement.cores_of(population.name)), population.name)
        cores, counts = np.unique(placement.core_of[population.name], return_counts=True)
        order = np.argsort(placement.core_of[population.name], kind="stable")
        ends = np.cumsum(counts)
        for core, end, count in zip(cores.tolist(), ends.tolist(), counts.tolist(), strict=True):
            neurons_of[core] = [int(order[end - count]), int(order[end - 1]), count]
    ids = np.array(sorted(layer_of), np.int64)
    grid = topology(deployment) if deployment.profile.joined else None
    if grid is None or isinstance(grid, Mesh):
        columns, rows, per = in_rows(placement.cores_per_chip) if grid is None else (grid.columns, grid.rows, grid.cores_per_tile)
        board, local = np.divmod(ids, placement.cores_per_chip)
        column, row, rows = local // per % columns, local // per // columns + board * rows, rows * placement.chips
    else:
        column, row = grid.tiles(ids)
        columns, rows = (max(axis) + 1 for axis in zip(*(grid.routers() or ((0, 0),)), strict=True))
        row = rows - 1 - row if isinstance(grid, Hexagon) else row
    places = zip(ids.tolist(), column.tolist(), row.tolist(), strict=True)
    return {
        "columns": columns,
        "rows": rows,
        "cores": {
            str(core): {"layer": layer_of[core], "column": x, "row": y, "neurons": neurons_of.get(core)} for core, x, y in places
        },
    }


def placed(cores: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], float, float, float]]:
    """Return each core with its left and upper edge and its side, in tiles: the cores of a tile stand in a square.

    Args:
        cores: each with ``core``, ``column`` and ``row``.

    >>> [(x, round(y, 2), round(side, 2)) for _, x, y, side in placed([{"core": 7, "column": 2, "row": 1}])]
    [(2.04, 1.04, 0.86)]
    """
    tiles: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for core in sorted(cores, key=lambda each: each["core"]):
        tiles.setdefault((core["column"], core["row"]), []).append(core)
    found = []
    for (column, row), members in tiles.items():
        wide = int(-(-(len(members) ** 0.5) // 1))
        side = 0.92 / wide
        found += [
            (core, column + 0.04 + side * (index % wide), row + 0.04 + side * (index // wide), side * 0.94)
            for index, core in enumerate(members)
        ]
    return found


def figure_of(loss: float, times: float) -> str:
    """Return a loss as it stands on a map: with two digits where ``times`` is 1, else as points with one decimal, never ``-0.0``.

    >>> figure_of(0.0312, 100), figure_of(-0.0004, 100), figure_of(0.0312, 1)
    ('3.1', '0.0', '0.031')
    """
    return f"{loss:.2g}" if times == 1 else f"{round(times * loss, 1) + 0.0:.1f}"


def holds(core: Mapping[str, Any]) -> str:
    """Return in words what a core holds.

    >>> holds({"layer": "hidden1", "neurons": [8, 15, 8]})
    'hidden1, 8 neurons (8 to 15)'
    """
    if core["layer"] is None:
        return "spare, holds nothing"
    if core["neurons"] is None:
        return str(core["layer"])
    first, last, count = core["neurons"]
    return f"{core['layer']}, {plural(count, 'neuron')} ({first}{'' if first == last else f' to {last}'})"


def grid_chart(
    marks: Sequence[Mapping[str, Any]],
    places: Sequence[Mapping[str, Any]],
    *,
    title: str,
    what: str,
    unit: str,
    most: float,
    axes: tuple[str, str],
    ask: str,
    sides: tuple[int, int] = (40, 84),
) -> dict[str, Any]:
    """Return marks on a grid as a chart of :mod:`neurofault.study.explorer`.

    Args:
        marks: ``id``, ``x``, ``y``, ``side``, ``loss`` (None: not known), ``text``, ``say`` and ``detail``, as ``explorer.js`` takes them.
        places: each with ``column`` and ``row``, which bound the grid.
        title: of the chart.
        what: a mark is, in a word.
        unit: of ``loss``, in words.
        most: ``loss`` of the darkest shade.
        axes: words of columns and of rows.
        ask: what a click on a mark tells.
        sides: least and largest side of a place of the grid, in pixels.
    """
    columns, rows = ([place[name] for place in places] for name in ("column", "row"))
    return {
        "kind": "map", "title": title, "what": what, "unit": unit, "most": most, "left": min(columns), "columns": 1 + max(columns) - min(columns),
        "top": min(rows), "rows": 1 + max(rows) - min(rows), "axes": list(axes), "ask": ask, "sides": list(sides), "cores": [dict(mark) for mark in marks],
    }  # fmt: skip
