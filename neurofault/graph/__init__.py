"""What computes: populations of neurons, the connections between them, and when each of them steps."""

from neurofault.graph.network import Network, chain
from neurofault.graph.neurons import CubaLif, Encoding, Source
from neurofault.graph.populations import Connection, Population
from neurofault.graph.readout import Readout
from neurofault.graph.schedule import Schedule
from neurofault.graph.synapses import Conv, Dense, Sparse

__all__ = [
    "Connection",
    "Conv",
    "CubaLif",
    "Dense",
    "Encoding",
    "Network",
    "Population",
    "Readout",
    "Schedule",
    "Source",
    "Sparse",
    "chain",
]
