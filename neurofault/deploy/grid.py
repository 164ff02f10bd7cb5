"""The grid of cores as text: what sits where, what is broken, and how full the cores are.

Each cell is a core, each group of cells a tile, in the chip's own rows and columns. The letter carries the meaning; colours
(Okabe & Ito's, told apart by colour-blind readers) only repeat it.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from neurofault.deploy.cost_events import alive
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import RESOURCES, Resource, Usage, stored_biases, usage
from neurofault.deploy.routing import Hexagon, Mesh, Tree, topology
from neurofault.numerals import plural

if TYPE_CHECKING:
    from rich.text import Text

DRAWN_CHIPS = 8
"""Up to so many chips are drawn core by core; of more, neighbours with the same counts share one line."""

_LABELS: dict[Resource, str] = {
    "neurons": "neurons",
    "synapse_bits": "synapse bits",
    "in_axons": "in-axons",
    "out_axons": "out-axons",
}
_INPUTS = "ijklmn"
_HIDDEN = string.digits[1:] + string.ascii_uppercase
_INPUT_COLOUR, _OUTPUT_COLOUR = "#56B4E9", "#D55E00"
_HIDDEN_COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2")


class _Mark(NamedTuple):
    """How a core is shown: its character and its rich style."""

    symbol: str
    style: str


_DEAD, _SHARED, _SPARE = _Mark("✗", "bold reverse"), _Mark("&", "bold"), _Mark("+", "bold")
_BAD, _RESERVED, _KEPT, _FREE = _Mark("#", "dim"), _Mark("=", "dim"), _Mark("-", "dim"), _Mark("·", "dim")

_Line = list[tuple[str, str]]
"""Pieces of one line of text with their rich styles."""


def draw_grid(deployment: Deployment) -> str:
    """Draw the chips, the legend and the utilisation of each resource as plain text.

    Args:
        deployment: a placed network, damaged or not.

    Returns:
        Lines joined by newlines, without colour codes; the last one without a newline.
    """
    return "\n".join("".join(text for text, _ in line).rstrip() for line in _lines(deployment))


def grid_renderable(deployment: Deployment) -> Text:
    """Return the drawing of :func:`draw_grid` for rich, with colours."""
    from rich.text import Text

    drawing = Text("\n").join(Text.assemble(*line) for line in _lines(deployment))
    drawing.rstrip()
    return drawing


def grid_html(deployment: Deployment) -> str:
    """Return the drawing of :func:`draw_grid` as an HTML fragment, with colours; a notebook shows it for a deployment."""
    lines = "\n".join("".join(map(_span, line)) for line in _lines(deployment))
    return f'<pre style="line-height:1.2">{lines.rstrip()}</pre>'


def _span(piece: tuple[str, str]) -> str:
    text, style = escape(piece[0]), piece[1]
    if not style:
        return text
    rules = {"bold": "font-weight:bold", "dim": "opacity:.6", "bold reverse": "font-weight:bold;background:#000;color:#fff"}
    return f'<span style="{rules.get(style, f"color:{style}")}">{text}</span>'


def _lines(deployment: Deployment) -> Iterator[_Line]:
    marks = _marks(deployment)
    placement = deployment.placement
    chips = [marks[first : first + placement.cores_per_chip] for first in range(0, len(marks), placement.cores_per_chip)]
    if deployment.profile.joined and isinstance(geometry := topology(deployment), Hexagon):
        yield from _machine(geometry, chips)
        yield []
    if placement.chips <= DRAWN_CHIPS:
        for chip, own in enumerate(chips):
            yield [(f"chip {chip}", "bold")]
            yield from _chip_rows(deployment, own)
    else:
        for counts, alike in groupby(enumerate(chips), key=lambda numbered: _counts(numbered[1])):
            numbers = [chip for chip, _ in alike]
            yield [(f"chip{'s' * (len(numbers) > 1)} {_ranges(numbers)}".ljust(20), "bold"), *counts]
    yield []
    yield from _legend(deployment, marks)
    yield []
    yield from _utilisation(deployment)


def _marks(deployment: Deployment) -> list[_Mark]:
    """Return how each core is shown, by core id."""
    placement, chip = deployment.placement, deployment.profile.chip
    local = np.arange(placement.chips * placement.cores_per_chip) % placement.cores_per_chip
    usable, reserved = frozenset(chip.local_ids), chip.reserved
    marks = [_FREE if core in usable else _RESERVED if core in reserved else _KEPT for core in local.tolist()]
    for core in placement.bad_cores:
        marks[core] = _BAD
    for core in placement.spare_cores:
        marks[core] = _SPARE
    taken: set[int] = set()
    for name, mark in _population_marks(deployment).items():
        for core in placement.cores_of(name).tolist():
            marks[core] = _SHARED if core in taken else mark
            taken.add(core)
    for core in deployment.damage.dead_cores:
        marks[core] = _DEAD
    return marks


def _population_marks(deployment: Deployment) -> dict[str, _Mark]:
    """``i`` to ``n`` for inputs, ``o`` for the readout, 1 to 9 and A to Z for hidden populations (from 1 again after 35)."""
    marks: dict[str, _Mark] = {}
    inputs, hidden = 0, 0
    for population in deployment.populations:
        if population.is_source:
            marks[population.name] = _Mark(_INPUTS[inputs % len(_INPUTS)], _INPUT_COLOUR)
            inputs += 1
        elif population.name == deployment.readout.population:
            marks[population.name] = _Mark("o", _OUTPUT_COLOUR)
        else:
            marks[population.name] = _Mark(_HIDDEN[hidden % len(_HIDDEN)], _HIDDEN_COLOURS[hidden % len(_HIDDEN_COLOURS)])
            hidden += 1
    return marks


def _chip_rows(deployment: Deployment, marks: Sequence[_Mark]) -> Iterator[_Line]:
    """Draw one chip: a line for each row of tiles of a mesh; one line, gaps growing with the level, of a tree; one line of others.

    Where it is not known how cores are joined, they stand in rows by their ids.
    """
    if not deployment.profile.joined:
        columns, rows, _ = in_rows(len(marks))
        for row in range(rows):
            yield _tiles(marks, range(row * columns, (row + 1) * columns), 1)
        return
    match topology(deployment):
        case Mesh() as mesh:
            width = mesh.columns * mesh.cores_per_tile
            for row in range(mesh.rows):
                yield _tiles(marks, range(row * width, (row + 1) * width, mesh.cores_per_tile), mesh.cores_per_tile)
        case Tree() as tree:
            firsts = range(0, tree.tiles_per_chip * tree.cores_per_tile, tree.cores_per_tile)
            yield _tiles(marks, firsts, tree.cores_per_tile, tree.branches)
        case _:
            yield _tiles(marks, range(0, 1), len(marks))


def _tiles(marks: Sequence[_Mark], firsts: range, size: int, branches: int | None = None) -> _Line:
    """Draw tiles side by side; ``branches``: so many are one group, so many groups a larger one, and so on."""
    line: _Line = []
    for number, first in enumerate(firsts):
        level = 0
        while branches is not None and number and number % branches ** (level + 1) == 0:
            level += 1
        cells = marks[first : first + size]
        line += [("  " + " " * level, ""), *((mark.symbol, mark.style) for mark in cells), (" " * (size - len(cells)), "")]
    return line


def _machine(hexagon: Hexagon, chips: Sequence[Sequence[_Mark]]) -> Iterator[_Line]:
    """Draw chips of hexagonal links by one letter each, y upwards; a row is half a cell left of that below, so that the six neighbours touch."""
    width, height = (max(axis) + 1 for axis in zip(*hexagon.places, strict=True))
    symbol: dict[tuple[int, int], _Mark] = {place: _of_chip(own) for place, own in zip(hexagon.places, chips, strict=True)}
    shift = max(0, height - 1)
    for y in reversed(range(height)):
        line: _Line = [(f"y {y:<3}", "dim"), (" " * (shift - y), "")]
        for x in range(width):
            mark = symbol.get((x, y), _Mark(" ", ""))
            line += [(mark.symbol, mark.style), (" ", "")]
        yield line
    yield [(f"x from the left, 0 to {width - 1}; E is right, NE up and right, N up and left", "dim")]


def _of_chip(marks: Sequence[_Mark]) -> _Mark:
    """Return one mark for a chip: its only population, or that several share it, that all of it is dead or known bad, or free."""
    used = [mark for mark in dict.fromkeys(marks) if mark not in (_SPARE, _BAD, _RESERVED, _KEPT, _FREE, _DEAD)]
    if len(used) == 1:
        return used[0]
    if used:
        return _SHARED
    return next((mark for mark in (_DEAD, _SPARE, _FREE) if mark in marks), _BAD)


def in_rows(cores: int) -> tuple[int, int, int]:
    """Return columns, rows and cores of a tile in which cores are drawn whose places are not known: in the order of their ids."""
    columns = min(cores, math.isqrt(cores - 1) + 1)
    return columns, -(-cores // columns), 1


def _counts(marks: Sequence[_Mark]) -> _Line:
    """Count the marks of one chip in the order in which they first occur."""
    return [(f"{mark.symbol} × {marks.count(mark):<5} ", mark.style) for mark in dict.fromkeys(marks)]


def _legend(deployment: Deployment, marks: Sequence[_Mark]) -> Iterator[_Line]:
    width = max(len(population.name) for population in deployment.populations)
    own = _population_marks(deployment)
    for population in deployment.populations:
        name, mark = population.name, own[population.name]
        cores = deployment.placement.cores_of(name)
        text = f" {name:<{width}}  {plural(population.size, 'neuron')} on {plural(len(cores), 'core')}"
        if lost := population.size - int(np.count_nonzero(alive(deployment, name))):
            text += f", {lost} dead"
        yield [(mark.symbol, mark.style), (text, "")]
    meanings = (
        (_SHARED, "with neurons of several populations"),
        (_DEAD, "dead"),
        (_SPARE, "spare"),
        (_BAD, "known bad, never used"),
        (_RESERVED, "reserved by the chip's design, never used"),
        (_KEPT, "not for users"),
        (_FREE, "free"),
    )
    for mark, meaning in meanings:
        shown = [core for core, drawn in enumerate(marks) if drawn == mark]
        if shown:
            listed = "" if mark in (_FREE, _KEPT) else f": {_ranges(shown)}"
            yield [(mark.symbol, mark.style), (f" {plural(len(shown), 'core')} {meaning}{listed}", "")]


def _utilisation(deployment: Deployment) -> Iterator[_Line]:
    counted = usage(deployment)
    if deployment.profile.core.layers is not None:
        yield from _core_by_core(deployment, counted)
        return
    yield [(f"{'of a core in use':<16}{'largest':>12}{'mean':>12}{'limit':>16}{'largest/limit':>15}", "bold")]
    for name in RESOURCES:
        used, limit = counted.used[name], counted.limits[name]
        known = f"{limit:>16,}{used.max() / limit:>15.1%}" if limit is not None else f"{'not checked':>16}"
        yield [(f"{_LABELS[name]:<16}{used.max():>12,}{used.mean():>12,.1f}{known}", "")]


def _core_by_core(deployment: Deployment, counted: Usage) -> Iterator[_Line]:
    """Say how full each core is where cores differ and hold one population each."""
    names = ("neurons", "synapse_bits", "biases")
    held = {int(deployment.placement.core_of[one.name][0]): one for one in deployment.populations}
    width = max(len(one.name) for one in held.values())
    yield [
        (
            "core  "
            + " " * width
            + "".join(f"{_LABELS.get(name, name):>26}" for name in ("neurons", "synapse_bits"))
            + f"{'biases':>18}",
            "bold",
        )
    ]
    for at, core in enumerate(counted.cores.tolist()):
        used = {
            "neurons": counted.used["neurons"][at],
            "synapse_bits": counted.used["synapse_bits"][at],
            "biases": stored_biases(held[core]),
        }
        parts = [f"{used[name]:,} of {'?' if (most := counted.own[at][name]) is None else f'{most:,}'}" for name in names]
        yield [(f"{core:>4}  {held[core].name:<{width}}{parts[0]:>26}{parts[1]:>26}{parts[2]:>18}", "")]


def _ranges(cores: Sequence[int], most: int = 12) -> str:
    """Write sorted ids as ``3, 7-9``; after ``most`` ranges comes an ellipsis."""
    runs = [[core for _, core in run] for _, run in groupby(enumerate(cores), key=lambda pair: pair[1] - pair[0])]
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(texts[:most]) + (", …" if len(texts) > most else "")
