"""The report of an atlas: one HTML file that loads nothing, with the chip by core, the input image, how many sites change how much, and the critical sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.plotting import COLOURS
from neurofault.study import atlas_places as places
from neurofault.study.chip_map import figure_of, grid_chart, holds, placed
from neurofault.study.drawing import STYLE, as_svg, draw_map, plain
from neurofault.study.page import check_tools, csv_link, page_from

if TYPE_CHECKING:
    from neurofault.study.atlas import Atlas

_LISTED = 200
_PIXELS = 4096
"""Marks of an image's map; of more pixels several stand in one mark."""


def page_of_atlas(found: Atlas, chip: Deployment, shape: Sequence[int] | None = None, data: str = "") -> str:
    """Return an atlas as one HTML page, with each figure's SVG and CSV in it. Equal atlases give equal bytes.

    Args:
        found: the atlas.
        chip: that it is of.
        shape: of a sample, where that is an image, ``(rows, columns)`` or ``(planes, rows, columns)``; None: that of the input population.
        data: name of the data, for the page's first line.

    Raises:
        UsageError: jinja2, matplotlib, pyarrow or vl-convert-python is missing.
    """
    check_tools()
    metric, count = found.metric, len(found)
    image = places.image_shape(chip, shape)
    pixels = None if image is None else places.on_image(found, chip, image)
    figures = [_chip(found, chip), *([] if pixels is None else [_image(found, pixels)]), _histogram(found)]
    losses, changed, core = places.losses_of(found), found.sites["changed"], found.sites["core"]
    listed = [
        site for place, site in enumerate(found.most_critical(_LISTED).tolist()) if place < 10 or int(np.asarray(changed)[site])
    ]
    rows = [
        {
            "site": places.site_words(found, site), "layer": found.layers[int(np.asarray(found.sites["layer"])[site])], "core": int(np.asarray(core)[site]),
            "changed": int(np.asarray(changed)[site]), "change": metric.differing(float(found.accuracy_change[site])),
        }
        for site in listed
    ]  # fmt: skip
    return page_from(
        Path(__file__).with_name("atlas_report.html"), figures, {}, beside=False,
        name=chip.name, kind=found.kind, chip=chip.profile.title, sites=f"{count:,}", what=places.what_sites_are(found, count), samples=f"{found.samples:,}",
        data=data, metric=metric, healthy=metric.shown(found.healthy), answer=sentence_of_atlas(found, losses), point=f"{100 / found.number:.3g}",
        predictions=places.answers_words(found), rows=rows, csv=csv_link("atlas-sites", [_in_csv(found, site, row) for site, row in zip(listed, rows, strict=True)]),
    )  # fmt: skip


def _in_csv(found: Atlas, site: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the table of sites with its change as a number: a fraction of accuracy, or of the mean squared error's unit."""
    return {
        **{name: row[name] for name in ("site", "layer", "core", "changed")},
        f"{found.metric.key}_change": float(found.accuracy_change[site]),
    }


def sentence_of_atlas(found: Atlas, losses: NDArray[np.float64] | None = None) -> str:
    """Return the answer in words: the most critical site and what it costs, and how many sites do nothing."""
    own = places.losses_of(found) if losses is None else losses
    worst, count = int(found.most_critical(1)[0]), len(found)
    nothing = int((np.asarray(found.sites["changed"]) == 0).sum())
    what = places.what_sites_are(found, count)
    rest = f"{nothing:,} of {count:,} {what} ({100 * nothing / count:.0f} %) change no {'error' if found.metric.lower else 'prediction'}."
    if own[worst] <= 0:
        return f"No single {places.what_sites_are(found, 1)} makes the chip worse on these samples. {rest}"
    alone = int(np.asarray(found.sites["core"])[worst])
    on = "" if found.kind == "core_dead" else f" on core {alone}"
    ends = f"{found.metric.shown(found.healthy)} → {found.metric.shown(found.healthy + float(found.accuracy_change[worst]))}"
    return (
        f"The most critical: {places.site_words(found, worst)}{on}, {places.loss_words(found, float(own[worst]))} ({ends}). {rest}"
    )


def _unit(found: Atlas) -> str:
    return f"{found.metric.words} added" if found.metric.lower else "points of accuracy lost"


def _shown(found: Atlas, loss: float) -> str:
    return figure_of(loss, _times(found))


def _times(found: Atlas) -> int:
    return 1 if found.metric.lower else 100


def _most(found: Atlas, losses: Sequence[float]) -> float:
    """Return the loss of the darkest shade, above 0."""
    return max([*losses, (abs(found.healthy) or 1) * 1e-3 if found.metric.lower else 1e-3])


def _chip(found: Atlas, chip: Deployment) -> dict[str, Any]:
    cores = places.cores_of(found, chip)
    most, times = _most(found, [core["loss"] for core in cores if core["loss"] is not None]), _times(found)
    title = "The chip: what the worst fault on each core costs"
    marks = [
        {
            "id": core["core"], "x": x, "y": y, "side": side, "loss": None if core["loss"] is None else times * core["loss"],
            "text": "" if core["loss"] is None else _shown(found, core["loss"]), "say": f"core {core['core']}: {holds(core)}; {_worst(found, core)}",
            "detail": places.core_detail(found, core),
        }
        for core, x, y, side in placed(cores)
    ]  # fmt: skip
    chart = grid_chart(
        marks, cores, title=title, what="core", unit=_unit(found), most=times * most, axes=("tile column", "tile row"),
        ask="what sits there, and which faults hit it most",
    )  # fmt: skip
    kept = ("core", "column", "row", "layer", "sites", "loss", "changed")
    return {
        "name": "atlas-chip", "title": title, "drawn_by": "atlas-chip-explorer", "chart": chart, "svg": draw_map(cores, most, times, _unit(found)),
        "alt": f"Map of the chip: {_unit(found)} by the worst site of each core; the CSV has the numbers",
        "caption": f"Number of the core, and the {_unit(found)} by the worst single {places.what_sites_are(found, 1)} there. "
        "Without a number, striped or dashed: no site of this atlas; dotted: spare.",
        "rows": [{name: core[name] for name in kept} for core in cores],
    }  # fmt: skip


def _worst(found: Atlas, core: Mapping[str, Any]) -> str:
    if core["loss"] is None:
        return "no site of this atlas"
    return f"worst {places.site_words(found, core['worst'][0])}, {places.loss_words(found, core['loss'])}"


def _image(found: Atlas, pixels: NDArray[np.float64]) -> dict[str, Any]:
    rows, columns = pixels.shape
    block = 1
    while -(-rows // block) * -(-columns // block) > _PIXELS:
        block += 1
    known = [float(value) for value in pixels.ravel() if np.isfinite(value)]
    most, times = _most(found, known), _times(found)
    title = "The input image: what the worst fault of each pixel costs"
    marks, at = [], []
    for row in range(0, rows, block):
        for column in range(0, columns, block):
            own = pixels[row : row + block, column : column + block]
            loss = None if np.isnan(own).all() else float(np.nanmax(own))
            name = f"{row}, {column}" if block == 1 else f"{row}–{row + own.shape[0] - 1}, {column}–{column + own.shape[1] - 1}"
            words = "no site of this atlas" if loss is None else places.loss_words(found, loss)
            at.append({"column": column // block, "row": row // block})
            marks.append(
                {
                    "id": name, "x": column // block, "y": row // block, "side": 1, "loss": None if loss is None else times * loss, "text": "" if loss is None else _shown(found, loss), "bare": True,
                    "say": f"row, column {name}: {words}", "detail": [("Its worst fault", [words])],
                }
            )  # fmt: skip
    side = max(18, min(48, 480 // max(1, at[-1]["column"] + 1)))
    chart = grid_chart(
        marks, at, title=title, what="pixel", unit=_unit(found), most=times * most, axes=("column", "row"), ask="what its worst fault costs", sides=(4, side),
    )  # fmt: skip
    some = "" if block == 1 else f" Each mark is {block} × {block} pixels, of which the worst is shown."
    return {
        "name": "atlas-image", "title": title, "drawn_by": "atlas-image-explorer", "chart": chart, "svg": _draw_image(pixels, times, most, _unit(found)),
        "alt": f"Map of the input image: {_unit(found)} by the worst site of each pixel; the CSV has the numbers",
        "caption": f"Pixels by the {_unit(found)} by the worst single fault that concerns each: its input neuron, the core of that, or a synapse that leaves it.{some}",
        "rows": [{"row": row, "column": column, "loss": float(pixels[row, column])} for row in range(rows) for column in range(columns)],
    }  # fmt: skip


def _draw_image(pixels: NDArray[np.float64], times: int, most: float, label: str) -> str:
    from matplotlib import rc_context
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure((6, 5), layout="constrained")
        axes = figure.add_subplot()
        shade = Normalize(0, times * most)
        # a mesh of vectors, not an image: its bytes do not follow from how a picture is packed
        rows, columns = pixels.shape
        axes.pcolormesh(np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, times * pixels, norm=shade, cmap="cividis_r")
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_xlabel("column")
        axes.set_ylabel("row")
        figure.colorbar(ScalarMappable(shade, "cividis_r"), ax=axes, label=label, shrink=0.8)
        return as_svg(figure)


def _histogram(found: Atlas) -> dict[str, Any]:
    names, counted = places.histogram(found)
    of, what = f"{places.answers_words(found)} changed", places.what_sites_are(found, 2)
    title = f"How many {what} change how many {places.answers_words(found)}"
    groups = [
        {"label": f"{layer} ({sum(counts):,} {places.what_sites_are(found, sum(counts))})", "counts": counts}
        for layer, counts in counted
    ]
    chart = {"kind": "bars", "title": title, "x": of, "y": what, "names": names, "groups": groups}
    return {
        "name": "atlas-histogram", "title": title, "drawn_by": "atlas-histogram-explorer", "chart": chart, "svg": _draw_bars(chart),
        "alt": f"{title}, by layer; the CSV has the numbers", "caption": f"Of {found.predictions.size:,} {places.answers_words(found)}. The scale of counts is even from 0 to 1, then logarithmic.",
        "rows": [
            {"layer": layer, "changed": name, "sites": count} for layer, counts in counted for name, count in zip(names, counts, strict=True)
        ],
    }  # fmt: skip


def _draw_bars(chart: Mapping[str, Any]) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    groups, names = chart["groups"], chart["names"]
    most = max(1, *(count for group in groups for count in group["counts"]))
    with rc_context(STYLE):
        figure = Figure((7.2, 4 + 0.2 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / len(groups)
        for index, group in enumerate(groups):
            x = np.arange(len(names)) - 0.4 + width * (index + 0.5)
            axes.bar(x, group["counts"], width, label=plain(group["label"]), color=COLOURS[index % len(COLOURS)])
        axes.set_yscale("symlog", linthresh=1)
        ticks = [0, *(10**power for power in range(len(str(most))))]
        axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_ylim(0, 1.3 * most)
        axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 8 else 0)
        axes.set_xlabel(chart["x"])
        axes.set_ylabel(chart["y"])
        figure.legend(loc="outside lower left", frameon=False, fontsize=9)
        return as_svg(figure)
