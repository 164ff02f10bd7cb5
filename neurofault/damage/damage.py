"""`Damage`: what is broken on a chip, as data that can be shown, counted, undone and saved.

The healthy integers of a deployment are never overwritten. A damage is an ordered tuple of edits (``edits.py``); taking an edit out of
the tuple undoes it exactly. Engines read edits, never fault kinds, and what edits come to together in a step is worked out in one place,
``fold.py``.

A step t of a population, with everything that edits can change (only edits whose ``when`` is active in this step of this population count;
an edit of synapses goes by the clock of the target population)::

    1  in the first step  u = 0, v = v_init, no refractory step is left; none of this where a KeptState acts and a sample went before in the
                          run. No spike is on its way
    2  Upset              u or v ^= mask (24-bit two's complement), edits in order
    3  arriving spikes    over each connection, s'_j,i = s_j[t − lag], unless a Drop of (j, core of i) says that the message is lost
    4  synapses           w, d of the pair (j, i): see below
                          Σ w·s' of the connection's synapses with delay d is shifted by its exponent and arrives at step t + d (after
                          step T − 1: never)
    5  neuron             by its population's law; a StuckCounter is the refractory counter, a LostReset leaves v as it is; each of vth, du, dv, bias_mantissa is its healthy value, changed by each active SetField in
                          order (of an input the bias comes from the sample, every InputNoise is added, the sum saturates at 16 bits;
                          where a SetField is active, the population's own stored bias takes its place, changed)
    6  Silence            u = v = 0 and no spike; nothing else can make a silent neuron fire
    7  Force              the spike that leaves the neuron is replaced (by the last active one); u and v are not

What the chip reads of a synapse in a step, from the healthy weight and delay, by the active edits; those of one kind act in the order of
the tuple, whenever they began, each on the result of the one before::

    a  stored field  flips of its bits, drift, values that are set: they change what is stored; delay fields likewise
    b  stuck bits    (f & keep) | force: what lies under a stuck bit may still flip, and shows once the bit is no longer stuck
    b' crossbars     where types of axons or values of tables have flipped: Σ bit · table[type] of what b reads (SetTerms)
    c  headers       the weight and delay that the neighbour reads after b', or weight 0
    d  axon entries  the weight and delay that the other source's synapse reads after c (of several entries none leads to another's)

So a flip with an end is undone at its end, one without (``permanent``, ``once``, ``death``, ``ageing``) stays until a write
(``memory.py``). A flip whose clock is the presentation's starts anew in each sample, from what is stored then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.damage.broken import Broken, BrokenMesh
from neurofault.damage.edits import Detour, Edit, Stall
from neurofault.damage.neuron_edits import (
    FORCE_UNIT,
    Field,
    Force,
    InputNoise,
    KeptState,
    LostReset,
    NeuronEdit,
    SetField,
    Silence,
    StuckCounter,
    Upset,
)
from neurofault.damage.synapse_edits import (
    Drop,
    EnginePart,
    LearningDefect,
    Part,
    SetDelays,
    SetSynapses,
    SetTerms,
    SingleSynapses,
    SynapseEdit,
)
from neurofault.errors import UsageError
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.readout import Readout
from neurofault.graph.schedule import Schedule

__all__ = [
    "FORCE_UNIT",
    "Damage",
    "Detour",
    "Drop",
    "Edit",
    "EnginePart",
    "Field",
    "Force",
    "Hit",
    "InputNoise",
    "KeptState",
    "LearningDefect",
    "LostReset",
    "NeuronEdit",
    "OnChip",
    "Part",
    "SetDelays",
    "SetField",
    "SetSynapses",
    "SetTerms",
    "Silence",
    "SingleSynapses",
    "Stall",
    "StuckCounter",
    "SynapseEdit",
    "Upset",
]


@dataclass(frozen=True)
class Hit:
    """Echo of one fault, in physical and in logical terms.

    Attributes:
        kind: the fault's kind.
        cores: ids of the cores that it touches, sorted.
        neurons: population → number of neurons lost or altered.
        synapses: connection → number of stored synapses lost or altered.
        sites: for faults of single sites, texts of the first few; all of them are in the edits.
        notes: what else must be known, e.g. links and routers hit, extra hops of a detour, when it acts.
        dead_cores: ids of the cores that it kills.
        n_edits: number of its edits; set by :meth:`Damage.plus`.
        broken: physical places for which edits alone do not say what a repair meets there.
    """

    kind: str
    cores: tuple[int, ...]
    neurons: Mapping[str, int]
    synapses: Mapping[str, int]
    sites: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dead_cores: tuple[int, ...] = ()
    n_edits: int = 0
    broken: tuple[Broken, ...] = ()


@dataclass(frozen=True)
class Damage:
    """Everything that is broken on a chip.

    Attributes:
        edits: in the order in which they act.
        hits: what each fault hit, in the order of injection.
        dead_cores: ids of cores that are dead, sorted; nothing may be placed on them.
        under: on a protected chip, what is broken in the cells themselves, of which the edits are what its protection leaves; None: they are
            the same.
    """

    edits: tuple[Edit, ...] = ()
    hits: tuple[Hit, ...] = ()
    dead_cores: tuple[int, ...] = ()
    under: Damage | None = None

    @property
    def cells(self) -> Damage:
        """What is broken in the cells, whatever a protection makes of it."""
        return self if self.under is None else self.under

    __repr__ = brief

    def plus(self, edits: Sequence[Edit], hit: Hit, dead_cores: Sequence[int] = ()) -> Damage:
        """Return this damage followed by one more fault."""
        killed = tuple(sorted(map(int, dead_cores)))
        hit = replace(hit, dead_cores=killed, n_edits=len(edits))
        return Damage(self.edits + tuple(edits), (*self.hits, hit), tuple(sorted({*self.dead_cores, *killed})), self.under)

    def without(self, index: int) -> Damage:
        """Return this damage with one fault undone.

        Args:
            index: of the fault in :attr:`hits`; −1 is the last one, which can always be undone.

        Raises:
            UsageError: there is no such fault, or a later one was worked out on synapses that it had changed, or on ways round what
                it had closed; or a protection has worked on the damage as a whole.
        """
        if not -len(self.hits) <= index < len(self.hits):
            raise UsageError(f"no fault {index}: there are {len(self.hits)}")
        if self.under is not None:
            raise UsageError(
                "the chip is protected: what is left of one fault depends on the others; inject the others into the healthy chip"
            )
        index %= len(self.hits)
        first = sum(hit.n_edits for hit in self.hits[:index])
        gone, later = self.edits[first : first + self.hits[index].n_edits], self.edits[first + self.hits[index].n_edits :]
        for edit in (edit for edit in gone if isinstance(edit, SetSynapses | SetTerms)):
            pairs = set(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True))
            for other in later:
                if isinstance(other, SetSynapses | SetTerms) and other.connection == edit.connection:
                    common = pairs & set(zip(other.sources.tolist(), other.targets.tolist(), strict=True))
                    if common:
                        raise UsageError(
                            f"fault {index} ({self.hits[index].kind}) and a later one hit the same synapse "
                            f"{' → '.join(map(str, min(common)))}; undo the later one first"
                        )
        closed = [[place for place in hit.broken if isinstance(place, BrokenMesh)] for hit in self.hits]
        turning = any(place.reroute for places in closed for place in places)
        if turning and any(place.key is None for place in closed[index]) and any(closed[index + 1 :]):
            raise UsageError(
                f"fault {index} ({self.hits[index].kind}) and a later one decide together which way messages go; undo the later one first"
            )
        hits = self.hits[:index] + self.hits[index + 1 :]
        dead = tuple(sorted({core for hit in hits for core in hit.dead_cores}))
        return Damage(self.edits[:first] + later, hits, dead)

    @property
    def plain(self) -> bool:
        """Whether inference is changed by nothing but permanent `Silence` and `SetSynapses`, which every engine takes."""
        return all(
            isinstance(edit, LearningDefect | Detour) or (isinstance(edit, Silence | SetSynapses) and edit.when.always)
            for edit in self.edits
        )

    @property
    def steady(self) -> bool:
        """Whether inference is broken in the same way in every step: `plain`, or with other parameters and lost messages that are so for good."""
        return all(
            Damage((edit,)).plain
            or (isinstance(edit, SetField) and edit.when.always)
            or (isinstance(edit, Drop) and edit.when.always and edit.probability >= 1.0)
            for edit in self.edits
        )

    def lost(self, connection: str, n_out: int, n_in: int) -> NDArray[np.bool_]:
        """Return bool [n_out, n_in]: synapses of a connection to which no message ever comes."""
        mask = np.zeros((n_out, n_in), bool)
        for edit in self.edits:
            if isinstance(edit, Drop) and edit.connection == connection and edit.when.always and edit.probability >= 1.0:
                mask[np.ix_(edit.targets, edit.sources)] = True
        return mask

    def silent(self, population: str, size: int) -> NDArray[np.bool_]:
        """Return bool [size]: which neurons of a population are dead for good."""
        mask = np.zeros(size, bool)
        for edit in self.edits:
            if isinstance(edit, NeuronEdit) and "silent" in edit.does and edit.population == population and edit.when.always:
                mask[edit.neurons] = True
        return mask

    def synapse_edits(self, connection: str) -> tuple[SingleSynapses, ...]:
        """Return the permanent edits of a connection's weights in order."""
        return tuple(
            edit
            for edit in self.edits
            if isinstance(edit, SingleSynapses) and "weights" in edit.does and edit.connection == connection and edit.when.always
        )

    @property
    def joining(self) -> str | None:
        """Which population goes from one sample into the next with what is left of the first; None: none does."""
        return next(
            (
                f"layer {edit.population!r}: states that are kept between samples (state_kept)"
                for edit in self.edits
                if isinstance(edit, NeuronEdit) and "goes_on" in edit.does
            ),
            None,
        )

    def of_population(self, name: str) -> tuple[NeuronEdit, ...]:
        """Return the edits of a population's neurons in order."""
        return tuple(edit for edit in self.edits if isinstance(edit, NeuronEdit) and edit.population == name)

    def of_connection(self, name: str) -> tuple[SynapseEdit, ...]:
        """Return the edits of a connection in order."""
        return tuple(edit for edit in self.edits if isinstance(edit, SynapseEdit) and edit.connection == name)

    def stalled(self, samples: int, timesteps: int, depth: int) -> tuple[int, ...]:
        """Return the ids of the cores that hang the chip while it runs samples 0 … ``samples`` − 1; ``depth``: the largest phase."""
        cores: set[int] = set()
        for edit in self.edits:
            if isinstance(edit, Stall):
                last = samples * timesteps + depth if edit.when.clock == "chip" else timesteps - 1
                first = 1 if edit.when.clock == "chip" else 0
                if edit.when.active(np.arange(first, last + 1)).any():
                    cores.update(edit.cores)
        return tuple(sorted(cores))


class OnChip(Protocol):
    """A chip as the folds see it: its integers and its damage, wherever they sit."""

    @property
    def populations(self) -> tuple[ChipPopulation, ...]:
        """In the order of the network."""
        ...

    @property
    def connections(self) -> tuple[ChipConnection, ...]:
        """Between them."""
        ...

    @property
    def timesteps(self) -> int:
        """T, steps a sample is shown."""
        ...

    @property
    def readout(self) -> Readout:
        """Where the answer is read."""
        ...

    @property
    def damage(self) -> Damage:
        """What is broken."""
        ...

    @property
    def schedule(self) -> Schedule:
        """When populations step."""
        ...

    def population(self, name: str) -> ChipPopulation:
        """Return the population of a name."""
        ...

    def connection(self, name: str) -> ChipConnection:
        """Return the connection of a name."""
        ...
