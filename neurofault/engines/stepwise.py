"""The stepwise engine: every edit that a damage can hold, with its time window, one step after the other over a batch of samples.

Slower than the exact engine and equal to it bit for bit; it runs a chip whose damage is more than permanent dead neurons and
replaced weights. The order of events in a step is defined in :mod:`neurofault.damage.damage`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, Traces, scores_from
from neurofault.damage.damage import Damage, SetSynapses, Silence
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.damage.fold_neurons import Neurons, NeuronsInTime, silent_at_the_end
from neurofault.engines.base import Engine
from neurofault.engines.currents import Currents
from neurofault.errors import StalledError
from neurofault.inputs import Inputs

_LIMIT = 1 << 23
_BATCH_STATES = 1 << 22


@dataclass(frozen=True)
class StepwiseEngine:
    """Runs a deployment in this process with NumPy, a step at a time.

    Attributes:
        plain: an engine to which runs of layers are handed whose damage is :attr:`Damage.plain`; None: all layers are run here.
        name: the engine's.
    """

    plain: Engine | None = None
    name: str = "stepwise"

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the layer."""
        for layer in deployment.layers:
            if not -31 <= layer.weight_exponent <= 24:
                return f"layer {layer.name!r}: weight exponent {layer.weight_exponent} is outside −31…24"
        return None

    def run(self, deployment: Deployment, inputs: Inputs, *, record: Collection[str] = ()) -> Activity:
        """Present every sample for T steps (see :class:`neurofault.engines.base.Engine`).

        Raises:
            StalledError: a hung core stops the chip.
        """
        hung = deployment.damage.stalled(inputs.first_sample + len(inputs), deployment.timesteps, len(deployment.layers))
        if hung:
            raise StalledError(f"the chip stalls: core {', '.join(map(str, hung))} hangs and the mesh waits for it")
        largest = max(layer.size for layer in deployment.layers)
        batch = max(1, _BATCH_STATES // (largest * deployment.timesteps))
        parts = [
            _run_batch(self.plain, deployment, inputs[start : start + batch], record) for start in range(0, len(inputs), batch)
        ]
        names = [layer.name for layer in deployment.layers]
        traces = {name: _joined([part.traces[name] for part in parts]) for name in (names if record else [])}
        return Activity(
            np.concatenate([part.scores for part in parts]),
            {name: np.sum([part.spike_counts[name] for part in parts], axis=0, dtype=np.int64) for name in names},
            np.concatenate([part.sample_spikes for part in parts]),
            traces,
        )


def _joined(parts: list[Traces]) -> Traces:
    """Put the traces of batches one after the other."""
    first = parts[0]
    return Traces(
        None if first.u is None else np.concatenate([part.u for part in parts if part.u is not None]),
        None if first.v is None else np.concatenate([part.v for part in parts if part.v is not None]),
        None if first.spikes is None else np.concatenate([part.spikes for part in parts if part.spikes is not None]),
    )


def _run_batch(plain: Engine | None, deployment: Deployment, inputs: Inputs, record: Collection[str]) -> Activity:
    samples, last = len(inputs), len(deployment.layers) - 1
    sample_spikes = np.zeros(samples, np.int64)
    counts: dict[str, NDArray[np.int64]] = {}
    traces: dict[str, Traces] = {}
    arriving = np.empty((samples, 0, 0), bool)
    scores = np.empty((samples, 0), np.int64)
    index = 0
    while index <= last:
        end = index if plain is None else _plain_until(deployment, index)
        if plain is not None and end > index:
            activity = _handed_over(plain, deployment, slice(index, end), arriving, inputs, record)
            for layer in deployment.layers[index:end]:
                trace = activity.traces[layer.name]
                assert trace.spikes is not None
                arriving = trace.spikes
                counts[layer.name] = activity.spike_counts[layer.name]
                sample_spikes += arriving.sum(axis=(1, 2), dtype=np.int64)
                traces[layer.name] = trace if "spikes" in record else replace(trace, spikes=None)
            scores, index = activity.scores, end
            continue
        layer = deployment.layers[index]
        arriving, v, traces[layer.name] = _run_layer(deployment, index, arriving, inputs, record)
        counts[layer.name] = arriving.sum(axis=(0, 1), dtype=np.int64)
        sample_spikes += arriving.sum(axis=(1, 2), dtype=np.int64)
        if index == last:
            dead = silent_at_the_end(deployment, inputs.first_sample, samples)
            scores = scores_from(v, arriving.sum(axis=1, dtype=np.int64), deployment.readout, dead)
        index += 1
    return Activity(scores, counts, sample_spikes, traces if record else {})


def _plain_until(deployment: Deployment, index: int) -> int:
    """Return the first layer from ``index`` on whose own damage is not plain; the number of layers if there is none."""
    special = {getattr(edit, "layer", -1) for edit in deployment.damage.edits if not Damage((edit,)).plain}
    return min((layer for layer in special if layer >= index), default=len(deployment.layers))


def _handed_over(
    plain: Engine, deployment: Deployment, part: slice, arriving: NDArray[np.bool_], inputs: Inputs, record: Collection[str]
) -> Activity:
    """Run some layers in another engine; the spikes of the layer before them become its input events."""
    before = max(0, part.start - 1)
    layers = list(deployment.layers[before : part.stop])
    if part.start:
        layers[0], inputs = replace(layers[0], synapses=None), Inputs(events=arriving, first_sample=inputs.first_sample)
    own = [
        replace(edit, layer=edit.layer - before)
        for edit in deployment.damage.edits
        if isinstance(edit, Silence | SetSynapses) and part.start <= edit.layer < part.stop
    ]
    piece = replace(deployment, layers=tuple(layers), damage=Damage(tuple(own)))
    return plain.run(piece, inputs, record={*record, "spikes"})


def _run_layer(
    deployment: Deployment, index: int, arriving: NDArray[np.bool_], inputs: Inputs, record: Collection[str]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], Traces]:
    """Return the spikes [N, T, n] that leave a layer, v after the last step [N, n], and its traces."""
    layer, steps, samples = deployment.layers[index], deployment.timesteps, len(inputs)
    neurons = NeuronsInTime(deployment, index, inputs.first_sample, samples)
    spikes = np.zeros((samples, steps, layer.size), bool)
    u_trace, v_trace = (np.zeros(spikes.shape, np.int32) if name in record else None for name in ("u", "v"))
    u, v = np.zeros((samples, layer.size), np.int64), np.full((samples, layer.size), layer.v_init, np.int64)
    if index == 0 and inputs.events is not None:
        for t in range(steps):
            spikes[:, t] = neurons.at(t).let_out(inputs.events[:, t], t)
        return spikes, v * 0, Traces(u_trace, v_trace, spikes if "spikes" in record else None)
    currents = Currents(deployment, index, arriving, inputs.first_sample) if index else None
    given = inputs.bias if index == 0 else None
    for t in range(steps):
        now = neurons.at(t)
        now.upset(u, v)
        drive = currents.at(t) if currents is not None else np.zeros((samples, layer.size), np.int64)
        bias = _bias(now.mantissa(None if given is None else neurons.noisy(given, t)), layer)
        fired = _lif(u, v, drive, now, bias)
        for state in (u, v):
            state[np.broadcast_to(now.silent, state.shape)] = 0
        spikes[:, t] = now.let_out(fired, t)
        for array, state in ((u_trace, u), (v_trace, v)):
            if array is not None:
                array[:, t] = state
    return spikes, v, Traces(u_trace, v_trace, spikes if "spikes" in record else None)


def _wrap32(value: NDArray[np.int64]) -> NDArray[np.int64]:
    return value.astype(np.int32).astype(np.int64)


def _decayed(state: NDArray[np.int64], loss: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.sign(state) * ((np.abs(state) * (4096 - loss)) >> 12))


def _bias(mantissa: NDArray[np.int64], layer: ChipLayer) -> NDArray[np.int64]:
    stored, exponent = mantissa.astype(np.int16).astype(np.int64), layer.bias_exponent
    return _wrap32(stored << exponent) if exponent >= 0 else stored >> -exponent


def _lif(
    u: NDArray[np.int64], v: NDArray[np.int64], drive: NDArray[np.int64], now: Neurons, bias: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Advance u and v in place by one step (Lava 0.10 ``PyLifModelBitAcc``); return who fires."""
    current = _wrap32(_decayed(u, now.du + 1) + _wrap32(drive << 6))
    u[:] = np.where(current > _LIMIT, current - 2 * _LIMIT, np.where(current <= -_LIMIT, current + 2 * _LIMIT, current))
    moved = _wrap32(_decayed(v, now.dv) + u + bias)
    v[:] = np.clip(moved, 1 - _LIMIT, _LIMIT - 1)
    fired = v > now.vth << 6
    v[fired] = 0
    return np.asarray(fired)
