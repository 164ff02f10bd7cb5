"""What a campaign tried, in words: faults, ways of healing, placement, images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from neurofault.faults import fault_to_mapping
from neurofault.numerals import plural
from neurofault.rescue.learners.by_name import TEXTS
from neurofault.rescue.strategies import strategy_named
from neurofault.study.campaign.records import CampaignSpec
from neurofault.study.campaign.spec import Cell

_NOUNS = {
    "core": "cores", "neuron": "neurons", "synapse": "synapses", "link": "links", "router": "routers", "axon": "axons", "memory": "memory words",
    "sensor": "inputs",
}  # fmt: skip
"""What a kind of fault counts, by the first word of its name."""


def axis_words(plans: Sequence[str], axis: str | None) -> str:
    """Return an axis in words: ``cores hit by core_dead`` for ``faults.0.count``, ``place strategy`` for ``place.strategy``.

    Args:
        plans: kinds of each plan, joined by `` + ``.
        axis: its name; None: none.
    """
    if axis is None:
        return ""
    part, _, rest = axis.partition(".")
    if part != "faults":
        return axis.replace(".", " ")
    item, _, name = rest.partition(".")
    kind = plans[int(item)]
    together, _, own = name.removeprefix("all.").partition(".")
    if name.startswith("all.") and own and together.isdigit():
        name, kind = own, kind.split(" + ")[int(together)]
    if not name:
        return "plan of faults"
    if name == "count":
        return f"{_NOUNS.get(kind.split('_')[0], 'places')} hit by {kind}"
    return f"{name.replace('.', ' ')} of {kind}"


def tested(spec: CampaignSpec, cells: Sequence[Cell], cores: Mapping[str, int], hits: Sequence[int]) -> dict[str, Any]:
    """Return what a campaign tried.

    Args:
        spec: with the first value of each axis.
        cells: all of them.
        cores: layer → number of cores of the first chip.
        hits: numbers of cores that a trial hit, of every trial.
    """
    plans: dict[int, str] = {}
    for cell in cells:
        varied = {name.split(".")[2] for name in cell.axes if name.startswith(f"faults.{cell.plan}.") and name.count(".") >= 2}
        plans.setdefault(cell.plan, " + ".join(_fault(fault, varied) for fault in cell.faults))
    ways = {}
    for cell in cells:
        strategy, learner = strategy_named(cell.rescue.strategy), cell.rescue.learner
        ways[cell.rescue.strategy] = strategy.text
        if learner is not None:
            ways[learner] = f"learner: {TEXTS[learner]}"
    place = spec.place
    grain = "as the network says" if place.neurons_per_core is None else f"{plural(place.neurons_per_core, 'neuron')} a core"
    learns = any(cell.rescue.learner is not None for cell in cells)
    return {
        "plans": list(plans.values()),
        "ways": ways,
        "cells": len(cells),
        "draws": max(cell.spec.repeats.draws for cell in cells),
        "placement": f"{place.strategy}, {grain}, {place.spare_cores} spare cores; "
        + ", ".join(f"{name} on {plural(count, 'core')}" for name, count in cores.items()),
        "adapt": f"{spec.data.adapt:,} labelled training images, none of them among those that accuracy is measured on" if learns else None,
        "cores_hit": [min(hits), max(hits)] if hits else None,
    }  # fmt: skip


def _fault(fault: Any, varied: set[str]) -> str:
    fields = {name: value for name, value in fault_to_mapping(fault).items() if name != "kind"}
    words = [
        "varied" if name in varied else value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()
    ]
    given = ", ".join(f"{name} {word}" for name, word in zip(fields, words, strict=True))
    return f"{fault.kind} ({given})" if given else str(fault.kind)
