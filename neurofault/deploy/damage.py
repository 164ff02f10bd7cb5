"""`Damage`: what is broken on a chip, as data that can be shown, counted, undone and saved.

The healthy integers of a deployment are never overwritten. A damage is an ordered tuple of edits; each later edit acts on the
result of the earlier ones; taking an edit out of the tuple undoes it exactly. Engines read edits, never fault kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Silence:
    """Dead neurons: u = v = 0 and no spike at any step; as outputs they score lowest.

    Attributes:
        layer: index of the layer, 0 = input.
        neurons: int64 [k], sorted, without duplicates.
    """

    layer: int
    neurons: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SetSynapses:
    """Synapses whose effective stored weight is another one.

    Attributes:
        layer: index of the target layer, at least 1.
        sources, targets: int64 [k], neuron indices (C, H, W order); each pair once.
        values: int32 [k], the weight that the chip now reads (same unit as the layer's stored weights).
    """

    layer: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int32]


Edit = Silence | SetSynapses


@dataclass(frozen=True)
class Hit:
    """Echo of one fault, in physical and in logical terms.

    Attributes:
        kind: the fault's kind.
        cores: ids of the cores that it touches, sorted.
        neurons: layer name → number of neurons lost or altered.
        synapses: layer name → number of synapses lost or altered (by target layer).
        sites: for faults of single sites, ``(place, layer, index…)`` texts of the first few; all of them are in the edits.
    """

    kind: str
    cores: tuple[int, ...]
    neurons: Mapping[str, int]
    synapses: Mapping[str, int]
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Damage:
    """Everything that is broken on a chip.

    Attributes:
        edits: in the order in which they act.
        hits: what each fault hit, in the order of injection.
        dead_cores: ids of cores that are dead, sorted; nothing may be placed on them.
    """

    edits: tuple[Edit, ...] = ()
    hits: tuple[Hit, ...] = ()
    dead_cores: tuple[int, ...] = ()

    def plus(self, edits: Sequence[Edit], hit: Hit, dead_cores: Sequence[int] = ()) -> Damage:
        """Return this damage followed by one more fault."""
        return Damage(
            self.edits + tuple(edits), (*self.hits, hit), tuple(sorted({*self.dead_cores, *map(int, dead_cores)}))
        )

    def silent(self, layer: int, size: int) -> NDArray[np.bool_]:
        """Return bool [size]: which neurons of a layer are dead."""
        mask = np.zeros(size, bool)
        for edit in self.edits:
            if isinstance(edit, Silence) and edit.layer == layer:
                mask[edit.neurons] = True
        return mask

    def synapse_edits(self, layer: int) -> tuple[SetSynapses, ...]:
        """Return the synapse edits of a layer in order."""
        return tuple(edit for edit in self.edits if isinstance(edit, SetSynapses) and edit.layer == layer)
