"""Plans of format 1, whose edits number the layers of a chain, as format 2 says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.graph.chains import ChainLink, links, not_a_chain
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.numerals import plural

_OF_CONNECTIONS = ("SetSynapses", "SetDelays", "Drop", "LearningDefect")
_OF_NOTHING = ("Stall", "Detour")

_Links = Sequence[ChainLink[ChipPopulation, ChipConnection]]


def numbers_layers(faults: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any edit of some stored faults is of a layer."""
    return any(edit["edit"] not in _OF_NOTHING for fault in faults for edit in fault["edits"])


def with_names(faults: Sequence[Mapping[str, Any]], chip: Deployment) -> list[dict[str, Any]]:
    """Return stored faults with edits that name populations and connections.

    Args:
        faults: of a file of format 1.
        chip: a chain.

    Raises:
        FaultError: the chip is no chain, or has fewer layers.
        ValueError: a layer's number is missing, or an edit of synapses is of the input.
    """
    reason = not_a_chain(chip)
    if reason is not None:
        raise FaultError(f"the plan numbers the layers of a chain, but of this chip {reason}")
    chain = links(chip, "a plan that numbers layers")
    driven = {one.population.name: one.incoming.name for one in chain[1:]}
    return [
        {
            **fault,
            "edits": [_named(edit, chain) for edit in fault["edits"]],
            "hit": {
                **fault["hit"],
                "synapses": {driven.get(name, name): number for name, number in fault["hit"]["synapses"].items()},
            },
        }
        for fault in faults
    ]


def _named(edit: Mapping[str, Any], chain: _Links) -> dict[str, Any]:
    kind = edit["edit"]
    if kind in _OF_NOTHING:
        return dict(edit)
    place = 0 if kind == "InputNoise" else edit["layer"]
    rest = {name: value for name, value in edit.items() if name != "layer"}
    if type(place) is not int or place < (kind in _OF_CONNECTIONS):
        raise ValueError(f"{kind}: {place!r:.40} is no layer of its kind")
    if place >= len(chain):
        raise FaultError(
            f"the plan was made on another chip: it hits layer {place}, but here there are {plural(len(chain), 'layer')}"
        )
    link = chain[place]
    return rest | ({"connection": link.incoming.name} if kind in _OF_CONNECTIONS else {"population": link.population.name})
