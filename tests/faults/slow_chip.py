"""A damaged chip in plain Python integers: one neuron, one step at a time. Written from the definition in ``deploy/damage.py``."""

from __future__ import annotations

import numpy as np
from fault_chips import expanded

from neurofault.damage.damage import Drop, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.graph import Conv
from neurofault.streams import counter_hash


def wrap(value, bits):
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def shifted(value, places):
    return value << places if places >= 0 else value >> -places


def decayed(value, loss):
    kept = abs(value) * (4096 - loss) // 4096
    return kept if value >= 0 else -kept


def acts(when, layer, sample, step, steps):
    """`when` for a layer's own step of a sample, without `When.active`."""
    now = step if when.clock == "presentation" else sample * steps + layer + 1 + step
    if now < when.start or (when.stop is not None and now >= when.stop):
        return False
    return when.period is None or (now - when.start) % when.period < when.on


def healthy_synapses(layer):
    """target → source → (weight, delay)."""
    found: dict = {target: {} for target in range(layer.size)}
    if isinstance(layer.synapses, Conv):
        words = layer.synapses.weight.reshape(layer.synapses.weight.shape[0], -1)
        for (source, target), (channel, word) in expanded(layer.synapses).items():
            found[target][source] = int(words[channel, word]), 0
    else:
        weight, delay = layer.synapses.weight, layer.synapses.delay
        for target, source in np.ndindex(*weight.shape):
            found[target][source] = int(weight[target, source]), 0 if delay is None else int(delay[target, source])
    return found


def index_of(array, value):
    hits = [i for i, other in enumerate(array) if other == value]
    return hits[0] if hits else None


def present(chip, inputs):
    """Return, for each layer, u, v (int64) and spikes (bool), each [N, T, n]."""
    steps, edits = chip.timesteps, chip.damage.edits
    noise = [(e, e.mantissas(inputs.first_sample, len(inputs), steps)) for e in edits if isinstance(e, InputNoise)]
    result = []
    for index, layer in enumerate(chip.layers):
        shape = (len(inputs), steps, layer.size)
        out = {"u": np.zeros(shape, np.int64), "v": np.zeros(shape, np.int64), "spikes": np.zeros(shape, bool)}
        own = [e for e in edits if not isinstance(e, InputNoise) and getattr(e, "layer", None) == index]
        healthy = healthy_synapses(layer) if index else {}
        for row in range(len(inputs)):
            sample = inputs.first_sample + row
            for n in range(layer.size):
                u, v = 0, layer.v_init
                on_the_way: dict = {}
                for t in range(steps):
                    live = [e for e in own if acts(e.when, index, sample, t, steps)]
                    dead = any(isinstance(e, Silence) and n in e.neurons for e in live)
                    for e in live:
                        at = index_of(e.neurons, n) if isinstance(e, Upset) else None
                        if at is not None:
                            word = ((u if e.state == "u" else v) ^ int(e.masks[at])) % 2**24
                            flipped = word - 2**24 if word >= 2**23 else word
                            u, v = (flipped, v) if e.state == "u" else (u, flipped)
                    if index:
                        lost = set()
                        for e in live:
                            if isinstance(e, Drop) and n in e.targets:
                                for source in e.sources:
                                    bits = int(counter_hash(e.key, sample, t, int(source), e.core))
                                    if e.probability >= 1 or bits < int(e.probability * 2**64):
                                        lost.add(int(source))
                        arrived: dict = {}
                        for source in range(chip.layers[index - 1].size):
                            if not result[-1]["spikes"][row, t, source] or source in lost:
                                continue
                            weight, delay = healthy[n].get(source, (0, 0))
                            for e in live:
                                if isinstance(e, SetSynapses | SetDelays):
                                    for s, to, value in zip(
                                        e.sources, e.targets, e.values if isinstance(e, SetSynapses) else e.delays, strict=True
                                    ):
                                        if (s, to) == (source, n):
                                            weight, delay = (
                                                (int(value), delay) if isinstance(e, SetSynapses) else (weight, int(value))
                                            )
                            arrived[delay] = arrived.get(delay, 0) + weight
                        for delay, total in arrived.items():
                            on_the_way.setdefault(t + delay, []).append(shifted(total, layer.weight_exponent))
                    a = wrap(sum(on_the_way.pop(t, [])), 32)
                    fields = {name: int(getattr(layer, name)[n]) for name in ("vth", "du", "dv", "bias_mantissa")}
                    if index == 0 and inputs.bias is not None:
                        fields["bias_mantissa"] = int(inputs.bias[row, n])
                        for e, mantissas in noise:
                            if index_of(e.neurons, n) is not None:
                                fields["bias_mantissa"] += int(mantissas[row, t, index_of(e.neurons, n)])
                        if any(index_of(e.neurons, n) is not None for e, _ in noise):
                            fields["bias_mantissa"] = max(-32768, min(32767, fields["bias_mantissa"]))
                    for e in live:
                        if isinstance(e, SetField) and index_of(e.neurons, n) is not None:
                            fields[e.field] = int(e.values[index_of(e.neurons, n)])
                    u = wrap(decayed(u, fields["du"] + 1) + wrap(a << 6, 32), 32)
                    u = u - 2**24 if u > 2**23 else u + 2**24 if u <= -(2**23) else u
                    bias = wrap(shifted(wrap(fields["bias_mantissa"], 16), layer.bias_exponent), 32)
                    v = max(1 - 2**23, min(2**23 - 1, wrap(decayed(v, fields["dv"]) + u + bias, 32)))
                    spike = v > fields["vth"] << 6
                    v = 0 if spike else v
                    if index == 0 and inputs.events is not None:
                        u, v, spike = 0, 0, bool(inputs.events[row, t, n])
                    if dead:
                        u = v = 0
                        spike = False
                    else:
                        for e in live:
                            if isinstance(e, Force) and n in e.neurons:
                                spike = (t + 1) * e.rate // 65536 > t * e.rate // 65536
                    out["u"][row, t, n], out["v"][row, t, n], out["spikes"][row, t, n] = u, v, spike
        result.append(out)
    return result
