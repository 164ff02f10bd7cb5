"""The parts of a graph: populations of neurons, and the connections between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurofault.brief import brief
from neurofault.graph.neurons import CubaLif, Source
from neurofault.graph.synapses import Stored, Synapses, known


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one kind.

    >>> import neurofault as nf
    >>> nf.Population("hidden1", (3, 4), nf.CubaLif(1.0)).size
    12

    Attributes:
        name: its identity; ``input``, ``hidden1`` …, ``output`` in converted chains.
        shape: (n,) or (channels, height, width), flattened in this order.
        neuron: the model, with parameters of one or of each neuron; :class:`Source` for what is driven from outside.
    """

    name: str
    shape: tuple[int, ...]
    neuron: CubaLif | Source

    __repr__ = brief

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)

    @property
    def is_source(self) -> bool:
        """Whether it is driven from outside."""
        return isinstance(self.neuron, Source)


@dataclass(frozen=True, eq=False)
class Connection:
    """Synapses from one population to another, or to itself.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> back = nf.Connection("back", "hidden", "hidden", nf.Dense(np.eye(3)), delay=2)
    >>> back.source, back.target, back.delay
    ('hidden', 'hidden', 2)

    Attributes:
        name: its identity; in a chain, its target's name.
        source, target: names of populations.
        synapses: their weights, and delays on top of ``delay``; a kind of one's own (:class:`~neurofault.graph.synapses.Listing`) becomes
            what it lists.
        delay: chip steps from firing to arrival, at least 1.
        stored: None for real weights; else they are the chip's own integers, read in this format.

    Raises:
        ConversionError: synapses of no kind.
    """

    name: str
    source: str
    target: str
    synapses: Synapses
    delay: int = 1
    stored: Stored | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        object.__setattr__(self, "synapses", known(self.synapses))
