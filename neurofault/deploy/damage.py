"""`Damage`: what is broken on a chip, as data that can be shown, counted, undone and saved.

The healthy integers of a deployment are never overwritten. A damage is an ordered tuple of edits; each later edit acts on the
result of the earlier ones; taking an edit out of the tuple undoes it exactly. Engines read edits, never fault kinds.

A step t of a layer, with everything that edits can change (only edits whose ``when`` is active in this step of this layer count; an
edit of synapses goes by the clock of the target layer)::

    1  in the first step  u = 0, v = v_init, no spike is on its way
    2  Upset              u or v ^= mask (24-bit two's complement), edits in order
    3  arriving spikes    s'_j,i = s_j[t], unless a Drop of (j, core of i) says that the message is lost
    4  synapses           w, d: healthy, replaced by the last active SetSynapses, SetDelays of the pair (j, i)
                          Σ w·s' of the synapses with delay d is shifted by the layer's exponent and arrives at step t + d (after
                          step T − 1: never)
    5  neuron             as Lava's LIF, with vth, du, dv, bias_mantissa replaced by the last active SetField (for layer 0 the bias
                          comes from the sample, every InputNoise is added, the sum saturates at 16 bits, then SetField replaces it)
    6  Silence            u = v = 0 and no spike; nothing else can make a silent neuron fire
    7  Force              the spike that leaves the neuron is replaced; u and v are not
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.broken import Broken, BrokenMesh
from neurofault.deploy.when import ALWAYS, Clock, When
from neurofault.errors import UsageError
from neurofault.streams import counter_hash, standard_normal

FORCE_UNIT = 65536
"""A forced rate is stored in 1/65536 spikes a step."""

Field = Literal["vth", "du", "dv", "bias_mantissa"]
EnginePart = Literal["frozen", "stuck_trace", "third_factor", "rounding"]
"""What can break of a core's learning engine."""
Part = Literal[EnginePart, "error", "feedback"]
"""The same, or what serves a learner: its error neurons, its feedback synapses."""


@dataclass(frozen=True, eq=False)
class Silence:
    """Dead neurons: u = v = 0 and no spike; as outputs they score lowest if they are dead in step T − 1.

    Attributes:
        layer: index of the layer, 0 = input.
        neurons: int64 [k], sorted, without duplicates.
        when: active steps.
    """

    layer: int
    neurons: NDArray[np.int64]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class Force:
    """Neurons whose output is stuck at a rate: a spike in step t of the sample iff ⌊(t + 1)·rate/65536⌋ > ⌊t·rate/65536⌋.

    Attributes:
        layer: index of the layer, 0 = input.
        neurons: int64 [k], sorted, without duplicates.
        rate: spikes a step in 1/65536, 0 to 65536 (saturated: one in each step).
        when: active steps.
    """

    layer: int
    neurons: NDArray[np.int64]
    rate: int
    when: When = ALWAYS

    def spikes(self, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [T]: what leaves the neurons in the steps of a sample."""
        t = np.arange(timesteps + 1, dtype=np.int64)
        return np.diff(t * self.rate // FORCE_UNIT) > 0


@dataclass(frozen=True, eq=False)
class SetField:
    """Neuron parameters whose stored field holds another value.

    Attributes:
        layer: index of the layer, 0 = input.
        field: ``vth``, ``du``, ``dv`` or ``bias_mantissa`` (of layer 0: in place of what the sample gives).
        neurons: int64 [k], sorted, without duplicates.
        values: int32 [k].
        when: active steps.
    """

    layer: int
    field: Field
    neurons: NDArray[np.int64]
    values: NDArray[np.int32]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class Upset:
    """Bits of the state that flip once, at the beginning of a step; the 24-bit result is read as two's complement.

    Attributes:
        layer: index of the layer, 0 = input.
        state: ``u`` or ``v``.
        neurons: int64 [k], sorted, without duplicates.
        masks: int32 [k], bits that flip, 1 to 2**24 − 1.
        at: the step.
        clock: whose step.
    """

    layer: int
    state: Literal["u", "v"]
    neurons: NDArray[np.int64]
    masks: NDArray[np.int32]
    at: int
    clock: Clock = "presentation"

    @property
    def when(self) -> When:
        """The one step."""
        return When(self.at, self.at + 1, clock=self.clock)


@dataclass(frozen=True, eq=False)
class SetSynapses:
    """Synapses whose effective stored weight is another one.

    Attributes:
        layer: index of the target layer, at least 1.
        sources, targets: int64 [k], neuron indices (C, H, W order); each pair once.
        values: int32 [k], the weight that the chip now reads (same unit as the layer's stored weights).
        when: active steps of the target layer.
        keep, force: int32 [k], bits of the stored field that a later write can still change, and bits that are stuck at 1: a write
            of field f stores (f & keep) | force. None: an upset, gone with the next write.
    """

    layer: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int32]
    when: When = ALWAYS
    keep: NDArray[np.int32] | None = None
    force: NDArray[np.int32] | None = None


@dataclass(frozen=True, eq=False)
class SetDelays:
    """Synapses whose delay field holds another value.

    Attributes:
        layer: index of the target layer, at least 1.
        sources, targets: int64 [k], neuron indices (C, H, W order); each pair once.
        delays: int64 [k], extra steps, at least 0.
        when: active steps of the target layer (a spike's delay is read when it arrives).
    """

    layer: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    delays: NDArray[np.int64]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class Drop:
    """Messages from some neurons to one core that get lost.

    The message of source j in step t of sample k (its index in the whole data set) is lost iff
    ``counter_hash(key, k, t, j, core) < probability · 2**64``; in that step none of the core's neurons receives that spike.

    Attributes:
        layer: index of the target layer, at least 1.
        core: id of the destination core.
        sources: int64 [k], sorted, neurons of the layer before.
        targets: int64 [m], sorted, all neurons of the layer on this core.
        probability: of each message, (0, 1]; 1: every message.
        key: of the random stream.
        when: active steps of the target layer.
    """

    layer: int
    core: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    probability: float = 1.0
    key: int = 0
    when: When = ALWAYS

    def lost(self, first_sample: int, samples: int, timesteps: int) -> NDArray[np.bool_]:
        """Return bool [N, T, k]: which messages are lost."""
        active = self.when.grid(self.layer, first_sample, samples, timesteps)[:, :, None]
        sample = (first_sample + np.arange(samples, dtype=np.int64))[:, None, None]
        step = np.arange(timesteps, dtype=np.int64)[:, None]
        return np.asarray(active & self.chance(sample, step, self.sources))

    def chance(self, sample: NDArray[np.int64], step: NDArray[np.int64], source: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return bool, broadcast: whether chance takes these messages while the fault is active."""
        if self.probability >= 1.0:
            return np.ones(np.broadcast_shapes(sample.shape, step.shape, source.shape), bool)
        bits = counter_hash(self.key, sample, step, source, self.core)
        return np.asarray(bits < np.uint64(int(self.probability * 2.0**64)))


@dataclass(frozen=True, eq=False)
class InputNoise:
    """Noisy sensor lines: round(σ·g), g normal and keyed by (sample, step, neuron), is added to an input neuron's bias mantissa.

    Attributes:
        neurons: int64 [k], sorted, of layer 0.
        sigma: in mantissa units, > 0.
        key: of the random stream.
        each: a new number for each ``sample``, or for each ``step``.
        when: active steps.
    """

    neurons: NDArray[np.int64]
    sigma: float
    key: int
    each: Literal["sample", "step"] = "sample"
    when: When = ALWAYS

    @property
    def layer(self) -> int:
        """Always the input."""
        return 0

    def mantissas(self, first_sample: int, samples: int, timesteps: int) -> NDArray[np.int64]:
        """Return int64 [N, T, k]: what is added in each step of each sample (0 where inactive)."""
        sample = (first_sample + np.arange(samples, dtype=np.int64))[:, None, None]
        step = np.arange(timesteps, dtype=np.int64)[:, None] if self.each == "step" else np.zeros((1, 1), np.int64)
        bits = counter_hash(self.key, sample, step, self.neurons)
        noise = np.clip(np.rint(self.sigma * standard_normal(bits)), -(1 << 17), 1 << 17).astype(np.int64)
        active = self.when.grid(0, first_sample, samples, timesteps)[:, :, None]
        return np.asarray(noise * active, np.int64)


def saturated(mantissa: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return bias mantissas of noisy input neurons: the sum stays within 16 bits."""
    return np.clip(mantissa, -(1 << 15), (1 << 15) - 1)


@dataclass(frozen=True, eq=False)
class Stall:
    """Cores that hang: in a mesh with barrier synchronisation the whole chip stops in the first active step.

    Attributes:
        cores: ids, sorted.
        when: active steps.
    """

    cores: tuple[int, ...]
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class LearningDefect:
    """A broken part of a core's learning engine. Inference does not see it.

    Attributes:
        layer: index of the target layer whose synapses learn there, at least 1.
        part: ``frozen`` (no update), ``stuck_trace``, ``third_factor`` (reads 0), ``rounding`` (always draws ``value``), ``error`` (the
            error neurons of these outputs are dead), ``feedback`` (synapses from error neuron ``value`` read 0).
        neurons: int64 [k], sorted: target neurons whose synapses are concerned.
        trace: for ``stuck_trace``: ``x1`` … ``y3``.
        value: what a stuck trace or rounding generator reads; of ``feedback`` the error neuron.
        when: active steps.
    """

    layer: int
    part: Part
    neurons: NDArray[np.int64]
    trace: str = ""
    value: int = 0
    when: When = ALWAYS


@dataclass(frozen=True, eq=False)
class Detour:
    """Messages that arrive by a longer way. They arrive in the same step; only energy and time are charged.

    Attributes:
        sources, destinations: int64 [k], core ids of each flow.
        extra_hops: int64 [k], tiles more than by the direct way.
        when: active steps.
    """

    sources: NDArray[np.int64]
    destinations: NDArray[np.int64]
    extra_hops: NDArray[np.int64]
    when: When = ALWAYS


Edit = Silence | Force | SetField | Upset | SetSynapses | SetDelays | Drop | InputNoise | Stall | LearningDefect | Detour


@dataclass(frozen=True)
class Hit:
    """Echo of one fault, in physical and in logical terms.

    Attributes:
        kind: the fault's kind.
        cores: ids of the cores that it touches, sorted.
        neurons: layer name → number of neurons lost or altered.
        synapses: layer name → number of stored synapses lost or altered (by target layer).
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
    """

    edits: tuple[Edit, ...] = ()
    hits: tuple[Hit, ...] = ()
    dead_cores: tuple[int, ...] = ()

    def plus(self, edits: Sequence[Edit], hit: Hit, dead_cores: Sequence[int] = ()) -> Damage:
        """Return this damage followed by one more fault."""
        killed = tuple(sorted(map(int, dead_cores)))
        hit = replace(hit, dead_cores=killed, n_edits=len(edits))
        return Damage(self.edits + tuple(edits), (*self.hits, hit), tuple(sorted({*self.dead_cores, *killed})))

    def without(self, index: int) -> Damage:
        """Return this damage with one fault undone.

        Args:
            index: of the fault in :attr:`hits`; −1 is the last one, which can always be undone.

        Raises:
            UsageError: there is no such fault, or a later one was worked out on synapses that it had changed, or on ways round what
                it had closed.
        """
        if not -len(self.hits) <= index < len(self.hits):
            raise UsageError(f"no fault {index}: there are {len(self.hits)}")
        index %= len(self.hits)
        first = sum(hit.n_edits for hit in self.hits[:index])
        gone, later = self.edits[first : first + self.hits[index].n_edits], self.edits[first + self.hits[index].n_edits :]
        for edit in (edit for edit in gone if isinstance(edit, SetSynapses)):
            pairs = set(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True))
            for other in later:
                if isinstance(other, SetSynapses) and other.layer == edit.layer:
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

    def silent(self, layer: int, size: int) -> NDArray[np.bool_]:
        """Return bool [size]: which neurons of a layer are dead for good."""
        mask = np.zeros(size, bool)
        for edit in self.edits:
            if isinstance(edit, Silence) and edit.layer == layer and edit.when.always:
                mask[edit.neurons] = True
        return mask

    def synapse_edits(self, layer: int) -> tuple[SetSynapses, ...]:
        """Return the permanent synapse edits of a layer in order."""
        return tuple(edit for edit in self.edits if isinstance(edit, SetSynapses) and edit.layer == layer and edit.when.always)

    def stalled(self, samples: int, timesteps: int, n_layers: int) -> tuple[int, ...]:
        """Return the ids of the cores that hang the chip while it runs samples 0 … ``samples`` − 1 through ``n_layers`` layers."""
        cores: set[int] = set()
        for edit in self.edits:
            if isinstance(edit, Stall):
                last = samples * timesteps + n_layers - 1 if edit.when.clock == "chip" else timesteps - 1
                first = 1 if edit.when.clock == "chip" else 0
                if edit.when.active(np.arange(first, last + 1)).any():
                    cores.update(edit.cores)
        return tuple(sorted(cores))
