"""Edits of a connection: what may be broken in its synapses, their learning, or what it carries.

``does``: what an edit changes for inference: ``weights``, ``delays``, ``messages``. An engine that does not apply it refuses the edit
(:func:`neurofault.damage.edits.not_applied`).
``left_behind``: what of it stays with the cores that neurons leave, given bool [n] of the source and of the target population: which neurons stay.
Of single synapses besides ``mended_by``: which write mends it where it has happened for good (None: none does), and ``held``: which bits of a
stored field it holds while it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import beyond, only
from neurofault.damage.stored import MOST_TYPE, TABLE_BITS
from neurofault.damage.when import ALWAYS, When
from neurofault.graph.synapses import MOST_DELAY
from neurofault.streams import counter_hash

EnginePart = Literal["frozen", "stuck_trace", "third_factor", "rounding"]
"""What can break of a core's learning engine."""
Part = Literal[EnginePart, "error", "feedback"]
"""The same, or what serves a learner: its error neurons, its feedback synapses."""
Write = Literal["weights", "delays"]
"""What a write sets."""


@dataclass(frozen=True, eq=False)
class SetSynapses:
    """Synapses of which the chip reads another weight.

    What it does is one of these, by what is given; all arrays are [k]:

    - ``flips``: these bits of the stored field flip (an upset).
    - ``factor``, ``offset``: the stored field becomes the one nearest to factor · weight + offset (drift).
    - ``of_sources``, ``of_targets``, without ``keep``: a corrupt header; the chip reads what those synapses hold.
    - ``of_sources``, ``of_targets``, with ``keep``: an axon entry that points at another row of the core.
    - ``keep``, ``force``: stuck bits: whatever field f is stored, the chip reads (f & keep) | force.
    - none of them: ``values`` is stored (an upset by hand, or of a plan that an earlier version saved).

    Attributes:
        connection: its name.
        sources, targets: int64, neuron indices (C, H, W order); each pair once.
        values: int32, the weight that the chip read when the edit was worked out, on top of what was broken for good (same unit as the
            connection's stored weights). Where the other fields say what happens, it is for the reader, but for synapses wholly stuck, which
            read it.
        when: active steps of the target population.
        keep, force: int32, bits of the stored field that a later write can still change, and bits that are stuck at 1. None: gone with
            the next write.
        flips: int32, bits of the stored field.
        factor, offset: float64.
        of_sources, of_targets: int64, whose weight and delay are read; −1 in both: none, the weight is 0.
    """

    does: ClassVar[frozenset[str]] = frozenset({"weights"})
    connection: str
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int32]
    when: When = ALWAYS
    keep: NDArray[np.int32] | None = None
    force: NDArray[np.int32] | None = None
    flips: NDArray[np.int32] | None = None
    factor: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    of_sources: NDArray[np.int64] | None = None
    of_targets: NDArray[np.int64] | None = None

    @property
    def mended_by(self) -> Write | None:
        """Which write mends it: of weights, unless bits are stuck or an axon entry leads past."""
        return "weights" if self.keep is None else None

    def held(self, whole: int) -> NDArray[np.int64]:
        """Return int64 [k]: which bits of each stored field it holds, of ``whole`` (all that the field has)."""
        return np.zeros(len(self.targets), np.int64) if self.keep is None else whole & ~self.keep.astype(np.int64)

    def left_behind(self, sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> SetSynapses:
        """Return what stays behind: the words are in the target's core, an axon entry is in the source's too."""
        stay = targets[self.targets]
        if self.keep is not None and self.of_sources is not None:
            stay = stay & sources[self.sources]
        return only(self, stay)

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        for one, other in (("keep", "force"), ("factor", "offset"), ("of_sources", "of_targets")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                return f"{one} and {other} go together: give both, or neither"
        most = (1 << 63) - 1
        return beyond(self, flips=(0, (1 << 31) - 1), of_sources=(-1, most), of_targets=(-1, most))


@dataclass(frozen=True, eq=False)
class SetTerms:
    """Synapses of a crossbar of which a stored bit counts for another number: the type of its axon has flipped, or a value of the target's table.

    On a crossbar the chip reads Σ bit · table[type of the bit's axon]. With ``axon``, ``flips`` are bits of the type of the axon of that bit of
    the weights; with ``entry``, bits of the value of that type in the target's table. Give one of the two. Values of a
    table for types that no weight needs are 0.

    Attributes:
        connection: its name.
        sources, targets: int64 [k], neuron indices (C, H, W order); each pair once.
        values: int32 [k], the weight that the chip read when the edit was worked out, on top of what was broken for good; for the reader.
        flips: int32 [k], bits of the type, or of the 9-bit value.
        axon: bit of the weights whose axon it is, 0 to 7; None: it is about tables.
        entry: type whose value it is, 0 to 255; None: it is about axons.
        when: active steps of the target population.
    """

    does: ClassVar[frozenset[str]] = frozenset({"weights", "terms"})
    mended_by: ClassVar[Write | None] = None
    connection: str
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int32]
    flips: NDArray[np.int32]
    axon: int | None = None
    entry: int | None = None
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        if (self.axon is None) == (self.entry is None):
            return "give axon or entry, one of the two"
        most = MOST_TYPE if self.entry is None else (1 << TABLE_BITS) - 1
        return beyond(self, axon=(0, 7), entry=(0, MOST_TYPE), flips=(0, most))

    def held(self, whole: int) -> NDArray[np.int64]:
        """Return int64 [k]: which bits of each stored field it holds, of ``whole``: none."""
        return np.zeros(len(self.targets), np.int64)

    def left_behind(self, sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> SetTerms:
        """Return what stays behind: types and tables are in the target's core."""
        return only(self, targets[self.targets])


@dataclass(frozen=True, eq=False)
class SetDelays:
    """Synapses whose delay field holds another value: ``flips`` of its bits, or else ``delays`` itself.

    Attributes:
        connection: its name.
        sources, targets: int64 [k], neuron indices (C, H, W order); each pair once.
        delays: int64 [k], extra steps, at least 0; with ``flips``: what it left when it was worked out, for the reader.
        when: active steps of the target population (a spike's delay is read when it arrives).
        flips: int64 [k], bits of the stored delay.
        longest: with ``flips``, the most steps that are read.
    """

    does: ClassVar[frozenset[str]] = frozenset({"delays"})
    mended_by: ClassVar[Write | None] = "delays"
    connection: str
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    delays: NDArray[np.int64]
    when: When = ALWAYS
    flips: NDArray[np.int64] | None = None
    longest: int | None = None

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        if (self.flips is None) != (self.longest is None):
            return "flips and longest go together: give both, or neither"
        delay = (0, MOST_DELAY)
        return beyond(self, delays=delay, flips=delay, longest=delay)

    def held(self, whole: int) -> NDArray[np.int64]:
        """Return int64 [k]: which bits of each stored field it holds, of ``whole``: all."""
        return np.full(len(self.targets), whole, np.int64)

    def left_behind(self, sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> SetDelays:
        """Return what stays behind: the words are in the target's core."""
        return only(self, targets[self.targets])


@dataclass(frozen=True, eq=False)
class Drop:
    """Messages from some neurons to one core that get lost.

    The message of source j in step t of sample k (its index in the whole data set) is lost iff
    ``counter_hash(key, k, t, j, core) < probability · 2**64``; in that step none of the core's neurons receives that spike.

    Attributes:
        connection: its name.
        core: id of the destination core.
        sources: int64 [k], sorted, neurons of the source population.
        targets: int64 [m], sorted, all neurons of the target population on this core.
        probability: of each message, (0, 1]; 1: every message.
        key: of the random stream.
        when: active steps of the target population.
    """

    does: ClassVar[frozenset[str]] = frozenset({"messages"})
    connection: str
    core: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    probability: float = 1.0
    key: int = 0
    when: When = ALWAYS

    def lost(self, phase: int, first_sample: int, samples: int, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [N, T, k]: which messages are lost; ``phase``: of the target population."""
        active = self.when.grid(phase, first_sample, samples, timesteps)[:, :, None]
        sample = (first_sample + np.arange(samples, dtype=np.int64))[:, None, None]
        step = np.arange(timesteps, dtype=np.int64)[:, None]
        return np.asarray(active & self.chance(sample, step, self.sources))

    def chance(self, sample: NDArray[np.int64], step: NDArray[np.int64], source: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return bool, broadcast: whether chance takes these messages while the fault is active."""
        if self.probability >= 1.0:
            return np.ones(np.broadcast_shapes(sample.shape, step.shape, source.shape), bool)
        bits = counter_hash(self.key, sample, step, source, self.core)
        return np.asarray(bits < np.uint64(int(self.probability * 2.0**64)))

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        if not 0 < self.probability <= 1:
            return f"probability must be above 0 and at most 1, is {self.probability}"
        return beyond(self, core=(0, (1 << 63) - 1), key=(0, (1 << 64) - 1))

    def left_behind(self, sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> Drop:
        """Return what stays behind: the way between what is left at both ends."""
        return replace(self, sources=self.sources[sources[self.sources]], targets=self.targets[targets[self.targets]])


@dataclass(frozen=True, eq=False)
class LearningDefect:
    """A broken part of a core's learning engine. Inference does not see it.

    Attributes:
        connection: name of the connection whose synapses learn there.
        part: ``frozen`` (no update), ``stuck_trace``, ``third_factor`` (reads 0), ``rounding`` (always draws ``value``), ``error`` (the
            error neurons of these outputs are dead), ``feedback`` (synapses from error neuron ``value`` read 0).
        neurons: int64 [k], sorted: target neurons whose synapses are concerned.
        trace: for ``stuck_trace``: ``x1`` … ``y3``.
        value: what a stuck trace or rounding generator reads; of ``feedback`` the error neuron.
        when: active steps.
    """

    does: ClassVar[frozenset[str]] = frozenset()
    connection: str
    part: Part
    neurons: NDArray[np.int64]
    trace: str = ""
    value: int = 0
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return beyond(self, value=(0, (1 << 31) - 1))

    def left_behind(self, sources: NDArray[np.bool_], targets: NDArray[np.bool_]) -> LearningDefect:
        """Return what stays behind: the target's core learns; error neurons have a core of their own, which nothing leaves."""
        return self if self.part == "error" else only(self, targets[self.neurons])


SingleSynapses = SetSynapses | SetTerms | SetDelays
"""Edits of single synapses, given by pairs of source and target; a write of them mends what says so (``mended_by``)."""
SynapseEdit = SingleSynapses | Drop | LearningDefect
"""Edits of a connection's synapses, or of what it carries."""
