"""Which connections learners on chip can train."""

from __future__ import annotations

from collections.abc import Collection

from neurofault.deploy.deployment import Deployment
from neurofault.errors import UnsupportedError
from neurofault.graph import Dense
from neurofault.graph.chains import ChainLink, links
from neurofault.graph.chip import ChipConnection, ChipPopulation


def into_readout(deployment: Deployment) -> tuple[str, ...]:
    """Return the names of the connections into the readout that can be trained: dense ones without delays; the only one in any case.

    Raises:
        UnsupportedError: the readout drives something, or none of several connections is dense.
    """
    output = deployment.output.name
    if deployment.out_of(output):
        leaving = deployment.out_of(output)[0].name
        raise UnsupportedError(
            f"delta trains a readout that drives nothing, and connection {leaving!r} leaves the readout {output!r}"
        )
    into = deployment.into(output)
    dense = tuple(one.name for one in into if isinstance(one.synapses, Dense) and one.synapses.delay is None)
    if not dense and len(into) != 1:
        named = ", ".join(one.name for one in into) or "none"
        raise UnsupportedError(
            f"delta trains dense connections without delays, and none into the readout {output!r} is one: {named}"
        )
    return dense or (into[0].name,)


def dense_end(deployment: Deployment, what: str) -> tuple[ChainLink[ChipPopulation, ChipConnection], ...]:
    """Return the end of a chain that can be trained: the readout, and each population behind dense synapses from which only such follow.

    Args:
        deployment: the chip.
        what: what takes chains only.

    Raises:
        UnsupportedError: it is no chain.
    """
    chain = links(deployment, what)
    first = len(chain) - 1
    while first > 1 and isinstance(chain[first - 1].incoming.synapses, Dense):
        first -= 1
    return chain[first:]


def hidden_targets(deployment: Deployment, plastic: Collection[str]) -> tuple[str, ...]:
    """Return the populations, the readout left out, that plastic connections drive."""
    targets = [deployment.connection(name).target for name in plastic]
    return tuple(name for name in targets if name != deployment.output.name)
