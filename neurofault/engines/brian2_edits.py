"""What a damage changes in a running Brian2 network, step by step: numbers that are written into the variables of its groups.

A network holds B copies of the chip side by side; copy c shows sample pB + c in presentation p. The order of events in a step is
defined in :mod:`neurofault.deploy.damage`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.damage import Drop, Edit, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset, saturated
from neurofault.deploy.deployment import Deployment
from neurofault.engines.packing import bias_of
from neurofault.engines.wiring import conv_weights, dense_weights, edits_of, sparse_weights
from neurofault.network import Conv, Dense, Inputs

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Show:
    """One presentation: which samples the copies show.

    Attributes:
        first: index of the first copy's sample in the whole data set.
        copies: B.
        timesteps: T.
        inputs: of those samples; fewer than B in the last presentation.
    """

    first: int
    copies: int
    timesteps: int
    inputs: Inputs

    def active(self, edit: Edit, layer: int) -> NDArray[np.bool_]:
        """Return bool [B, T]: when an edit acts on a layer."""
        return edit.when.grid(layer, self.first, self.copies, self.timesteps)


@dataclass
class NeuronEdits:
    """The parameters and the state of one layer's neurons, as the damage wants them.

    Attributes:
        deployment: the chip.
        index: of the layer.
    """

    deployment: Deployment
    index: int
    _edits: list[Edit] = field(default_factory=list)
    _grids: list[NDArray[np.bool_]] = field(default_factory=list)
    _noise: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        kinds = Silence | Force | SetField | Upset | InputNoise
        self._edits = [e for e in self.deployment.damage.edits if isinstance(e, kinds) and e.layer == self.index]
        self.varies = any(isinstance(e, InputNoise | Force) or not e.when.always for e in self._edits)

    def begin(self, show: Show) -> None:
        """Make ready for a presentation."""
        self.show = show
        self._grids = [show.active(edit, self.index) for edit in self._edits]
        self._noise = [
            edit.mantissas(show.first, show.copies, show.timesteps) if isinstance(edit, InputNoise) else np.empty(0, np.int64)
            for edit in self._edits
        ]

    def parameters(self, step: int) -> dict[str, Values]:
        """Return float64 [B, n] each of ``keep_u``, ``keep_v``, ``theta``, ``bias``, ``alive``, ``forced`` (−1: not) in a step."""
        layer, show = self.deployment.layers[self.index], self.show
        shape = (show.copies, layer.size)
        fields = {
            name: np.broadcast_to(getattr(layer, name).astype(np.int64), shape) for name in ("du", "dv", "vth", "bias_mantissa")
        }
        if show.inputs.bias is not None and self.index == 0:
            fields["bias_mantissa"] = np.pad(show.inputs.bias.astype(np.int64), ((0, show.copies - len(show.inputs)), (0, 0)))
        fields = {name: values.copy() for name, values in fields.items()}
        alive, forced = np.ones(shape), np.full(shape, -1.0)
        for edit, noise in zip(self._edits, self._noise, strict=True):
            if isinstance(edit, InputNoise) and show.inputs.bias is not None:
                fields["bias_mantissa"][:, edit.neurons] += noise[:, step]
        for edit in self._edits:
            if isinstance(edit, InputNoise) and show.inputs.bias is not None:
                fields["bias_mantissa"][:, edit.neurons] = saturated(fields["bias_mantissa"][:, edit.neurons])
        for edit, grid in zip(self._edits, self._grids, strict=True):
            now = grid[:, step]
            match edit:
                case SetField():
                    fields[edit.field][np.ix_(now, edit.neurons)] = edit.values
                case Silence():
                    alive[np.ix_(now, edit.neurons)] = 0
                case Force():
                    forced[np.ix_(now, edit.neurons)] = edit.spikes(show.timesteps)[step]
        return {
            "keep_u": (4095 - fields["du"]) / 4096,
            "keep_v": (4096 - fields["dv"]) / 4096,
            "theta": fields["vth"] * 64.0,
            "bias": bias_of(fields["bias_mantissa"], layer.bias_exponent).astype(np.float64),
            "alive": alive,
            "forced": forced,
        }

    def upset(self, step: int, u: Values, v: Values) -> None:
        """Flip the bits of u and v [B·n] that flip at the beginning of a step."""
        for edit, grid in zip(self._edits, self._grids, strict=True):
            if isinstance(edit, Upset) and grid[:, step].any():
                state = (u if edit.state == "u" else v).reshape(self.show.copies, -1)
                where = np.ix_(grid[:, step], edit.neurons)
                word = (state[where].astype(np.int64) ^ edit.masks) & 0xFFFFFF
                state[where] = np.where(word >= 1 << 23, word - (1 << 24), word)


@dataclass(frozen=True, eq=False)
class Wires:
    """The synapses of one delay in one copy; the last of them vary in time.

    Attributes:
        delay: extra steps, at least 0.
        sources, targets: int64 [k].
        weights: float64 [k], 0 where they vary.
        varying: int64 [m], which of the pairs of :class:`SynapseEdits` the last m synapses are.
    """

    delay: int
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: Values
    varying: NDArray[np.int64]


class SynapseEdits:
    """The synapses into one layer, and those pairs whose weight or delay varies in time or whose messages may get lost.

    Attributes:
        wires: the synapses of each delay that can still arrive within a presentation.
        presentation: which one :meth:`begin` has prepared; −1: none.
    """

    def __init__(self, deployment: Deployment, index: int) -> None:
        self.index = index
        n_in = deployment.layers[index - 1].size
        self._edits = [e for e in deployment.damage.edits if isinstance(e, SetSynapses | SetDelays | Drop) and e.layer == index]
        targets, sources, weights, delays = _synapses(deployment, index)
        keys = targets * n_in + sources
        touched = [np.empty(0, np.int64)]
        for edit in self._edits:
            if isinstance(edit, Drop):
                touched.append(keys[np.isin(targets, edit.targets) & np.isin(sources, edit.sources)])
            elif isinstance(edit, SetDelays) or not edit.when.always:
                touched.append(edit.targets * n_in + edit.sources)
        self._keys = np.unique(np.concatenate(touched))
        self._targets, self._sources = np.divmod(self._keys, n_in)
        self._weights, self._delays = _at(deployment, index, self._sources, self._targets)
        self._places = [self._place(edit, n_in) for edit in self._edits]
        steady = ~np.isin(keys, self._keys)
        possible: dict[int, list[NDArray[np.int64]]] = {int(d): [] for d in np.unique(delays[steady])}
        for delay in np.unique(self._delays):
            possible.setdefault(int(delay), []).append(np.flatnonzero(self._delays == delay))
        for edit, (among, where) in zip(self._edits, self._places, strict=True):
            if isinstance(edit, SetDelays):
                for delay in np.unique(edit.delays):
                    possible.setdefault(int(delay), []).append(where[edit.delays[among] == delay])
        self.presentation = -1
        self.wires = []
        for delay in sorted(delay for delay in possible if delay < deployment.timesteps):
            own = steady & (delays == delay)
            varying = np.unique(np.concatenate([np.empty(0, np.int64), *possible[delay]]))
            self.wires.append(
                Wires(
                    delay,
                    np.concatenate([sources[own], self._sources[varying]]),
                    np.concatenate([targets[own], self._targets[varying]]),
                    np.concatenate([weights[own], np.zeros(varying.size)]),
                    varying,
                )
            )

    def _place(self, edit: Edit, n_in: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return which pairs of an edit are ours, and where."""
        assert isinstance(edit, SetSynapses | SetDelays | Drop)
        if isinstance(edit, Drop):
            ours = np.isin(self._targets, edit.targets) & np.isin(self._sources, edit.sources)
            return ours, np.flatnonzero(ours)
        keys = edit.targets * n_in + edit.sources
        among = np.isin(keys, self._keys)
        return among, np.searchsorted(self._keys, keys[among])

    def begin(self, show: Show, presentation: int) -> None:
        """Make ready for a presentation."""
        self.presentation = presentation
        self._copies = show.copies
        self._grids = [
            edit.lost(show.first, show.copies, show.timesteps) if isinstance(edit, Drop) else show.active(edit, self.index)
            for edit in self._edits
        ]

    def varying(self, wires: Wires, sent: int) -> Values:
        """Return float64 [B, m]: what the varying synapses of one delay carry for spikes that arrived in step ``sent``."""
        weights, delays = (np.tile(values, (self._copies, 1)) for values in (self._weights, self._delays))
        kept = np.ones(weights.shape, bool)
        for edit, grid, (among, where) in zip(self._edits, self._grids, self._places, strict=True):
            match edit:
                case SetSynapses():
                    weights[np.ix_(grid[:, sent], where)] = edit.values[among]
                case SetDelays():
                    delays[np.ix_(grid[:, sent], where)] = edit.delays[among]
                case Drop():
                    kept[:, where] &= ~grid[:, sent][:, np.searchsorted(edit.sources, self._sources[where])]
        return np.asarray((weights * (kept & (delays == wires.delay)))[:, wires.varying], np.float64)


def _synapses(deployment: Deployment, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Values, NDArray[np.int64]]:
    """Return targets, sources, weights and delays of every synapse that is not 0 once permanent damage is done."""
    synapses, edits = deployment.layers[index].synapses, edits_of(deployment, index)
    match synapses:
        case Conv():
            matrix = sparse_weights(synapses, edits).tocoo()
            found = matrix.data != 0
            targets, sources = matrix.row[found].astype(np.int64), matrix.col[found].astype(np.int64)
            return targets, sources, matrix.data[found].astype(np.float64), np.zeros(targets.size, np.int64)
        case Dense():
            weight = dense_weights(synapses, edits)
            targets, sources = np.nonzero(weight)
            _, delays = _at(deployment, index, sources, targets)
            return targets, sources, weight[targets, sources].astype(np.float64), delays
        case None:
            raise AssertionError("only layer 0 has no synapses")


def _at(
    deployment: Deployment, index: int, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the healthy weights and delays of some pairs."""
    none = np.zeros(sources.size, np.int64)
    match deployment.layers[index].synapses:
        case Conv() as conv:
            return conv_weights(conv, sources, targets), none
        case Dense(weight=weight, delay=delay):
            return weight[targets, sources].astype(np.int64), none if delay is None else delay[targets, sources].astype(np.int64)
        case None:
            raise AssertionError("only layer 0 has no synapses")
