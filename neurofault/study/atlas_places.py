"""What an atlas says of places: sites in words, what each core and each value of an image costs at worst, and how many sites change how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.faults.pooled import pool_of
from neurofault.graph import Dense
from neurofault.graph.chains import not_a_chain
from neurofault.study.chip_map import holds, tiles_of

if TYPE_CHECKING:
    from neurofault.study.atlas import Atlas

_NAMED = 5
"""Sites of a core that are told."""


def losses_of(found: Atlas) -> NDArray[np.float64]:
    """Return float64 [F]: by how much each site makes the chip worse, in shares or in errors; below 0: it makes it better."""
    return found.accuracy_change * (1 if found.metric.lower else -1) + 0.0  # a change of none is 0, not −0


def site_words(found: Atlas, site: int) -> str:
    """Return a site in words: ``neuron 7 of output``, ``bit 6 of synapse 3 → 7 (output)``, ``core 12``."""
    at = {name: int(np.asarray(found.sites[name])[site]) for name in ("layer", "source", "target", "bit", "core")}
    layer = found.layers[at["layer"]]
    match found.kind:
        case "core_dead":
            return f"core {at['core']}"
        case "neuron_dead":
            return f"neuron {at['target']} of {layer}"
    synapse = f"synapse {at['source']} → {at['target']} ({layer})"
    return synapse if at["bit"] < 0 else f"bit {at['bit']} of {synapse}"


def what_sites_are(found: Atlas, count: int) -> str:
    """Return what sites are, in the plural unless there is one."""
    one, many = {
        "core_dead": ("core", "cores"),
        "neuron_dead": ("neuron", "neurons"),
        "synapse_dead": ("synapse", "synapses"),
    }.get(found.kind, ("stored bit", "stored bits"))
    return one if count == 1 else many


def cores_of(found: Atlas, chip: Deployment) -> list[dict[str, Any]]:
    """Return each used or spare core and what its sites do.

    Returns:
        ``core``, ``column``, ``row``, ``layer``, ``neurons`` (:func:`tiles_of`), and of the sites there ``sites`` (how many), ``loss`` (of the worst; None: there are
        none), ``changed`` (predictions, by all), ``worst`` (numbers of the worst sites, at most five).
    """
    losses, changed, core = (
        losses_of(found),
        np.asarray(found.sites["changed"], np.int64),
        np.asarray(found.sites["core"], np.int64),
    )
    order = np.lexsort((-changed, -losses, core))
    ids, first = np.unique(core[order], return_index=True)
    windows = dict(zip(ids.tolist(), np.split(order, first[1:]), strict=True))
    cores = []
    for name, place in tiles_of(chip)["cores"].items():
        own = windows.get(int(name), np.empty(0, np.int64))
        cores.append(
            {
                "core": int(name), "column": place["column"], "row": place["row"], "layer": place["layer"], "neurons": place["neurons"], "sites": len(own),
                "loss": float(losses[own[0]]) if own.size else None, "changed": int(changed[own].sum()), "worst": own[:_NAMED].tolist(),
            }
        )  # fmt: skip
    return cores


def image_shape(chip: Deployment, shape: Sequence[int] | None) -> tuple[int, int, int] | None:
    """Return planes, rows and columns of the images that a chip is shown; None: they are no images.

    Args:
        chip: of one input, else there is no image.
        shape: of a sample; None: that of the input population.
    """
    if len(chip.inputs) != 1:
        return None
    size = chip.population(chip.inputs[0]).size
    for one in (shape, chip.population(chip.inputs[0]).shape):
        if one is not None and len(one) in (2, 3) and int(np.prod(one)) == size and min(one[-2:]) > 1:
            planes, rows, columns = (1, *one) if len(one) == 2 else one
            return planes, rows, columns
    return None


def on_image(found: Atlas, chip: Deployment, shape: tuple[int, int, int]) -> NDArray[np.float64] | None:
    """Return float64 [rows, columns]: what the worst site that concerns a pixel costs, of all its planes; NaN: no site does. None: no site concerns the input.

    A site concerns a pixel if it is its input neuron, the core that this sits on, or a synapse (or a bit of one) that leaves it.
    """
    name, losses = chip.inputs[0], losses_of(found)
    layer = np.asarray(found.sites["layer"], np.int64)
    at = np.full(chip.population(name).size, -np.inf)
    if found.kind == "core_dead":
        by_core = dict(zip(np.asarray(found.sites["core"]).tolist(), losses.tolist(), strict=True))
        at = np.array([by_core.get(core, -np.inf) for core in chip.placement.core_of[name].tolist()])
    elif found.kind == "neuron_dead":
        own = layer == (found.layers.index(name) if name in found.layers else -1)
        at[np.asarray(found.sites["target"], np.int64)[own]] = losses[own]
    else:
        chain = not_a_chain(chip) is None
        for one in chip.connections:
            if one.source == name and isinstance(one.synapses, Dense) and pool_of(chip, one.name) == 1:
                own = layer == found.layers.index(one.target if chain else one.name)
                np.maximum.at(at, np.asarray(found.sites["source"], np.int64)[own], losses[own])
    if not np.isfinite(at).any():
        return None
    worst = at.reshape(shape).max(axis=0)
    return np.where(np.isfinite(worst), worst, np.nan)


def histogram(found: Atlas) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Return how many sites change how many predictions: the bins (0, 1, 2, 3–4, 5–8 …), and for each layer that has sites its name and a count for each bin."""
    changed, layer = (np.asarray(found.sites[name], np.int64) for name in ("changed", "layer"))
    tops = [0, 1]
    while tops[-1] < changed.max():
        tops.append(2 * tops[-1])
    lows = [0, *(top + 1 for top in tops[:-1])]
    names = [f"{top:,}" if low == top else f"{low:,}–{top:,}" for low, top in zip(lows, tops, strict=True)]
    which = np.searchsorted(tops, changed)
    counted = [
        (found.layers[number], np.bincount(which[layer == number], minlength=len(tops)).tolist()) for number in np.unique(layer)
    ]
    return names, counted


def loss_words(found: Atlas, loss: float) -> str:
    """Return a loss in words: ``9.20 points lost``, ``0.0123 of mean squared error added``."""
    metric = found.metric
    if metric.lower:
        return f"{abs(loss):.4g} of {metric.words} {'added' if loss >= 0 else 'less'}"
    return f"{100 * abs(loss):.2f} points {'lost' if loss >= 0 else 'gained'}"


def core_detail(found: Atlas, core: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return what the explorer shows of a core: headings, and lines below each."""
    detail = [("What sits there", [holds(core)])]
    if core["sites"]:
        losses, changed = losses_of(found), np.asarray(found.sites["changed"], np.int64)
        said = [
            f"{site_words(found, site)}: {loss_words(found, float(losses[site]))}, {changed[site]:,} {answers_words(found)} changed"
            for site in core["worst"]
        ]
        detail.append(("How many sites", [f"{core['sites']:,} {what_sites_are(found, core['sites'])}"]))
        detail.append((f"Faults that hit it most ({found.kind})", said))
    return detail


def answers_words(found: Atlas) -> str:
    """Return what a site changes, in the plural."""
    return "squared errors" if found.metric.lower else "answers of steps" if found.metric.of_steps else "predictions"
