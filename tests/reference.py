"""The chip in plain Python integers, one neuron and one step at a time: the definition that engines are compared with.

Written from the equations of Lava 0.10 ``fixed_pt`` (``lava/proc/lif/models.py``, ``lava/proc/dense/models.py``), without NumPy
arithmetic, so that no width is implied: every wrap is written out.
"""

from __future__ import annotations

import numpy as np

from neurofault.damage.damage import SetSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs


def wrap(value: int, bits: int) -> int:
    """Two's complement."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def shift(value: int, places: int) -> int:
    return value << places if places >= 0 else value >> -places


def decay(value: int, loss: int) -> int:
    kept = abs(value) * (4096 - loss) >> 12
    return kept if value >= 0 else -kept


def synapses(deployment: Deployment, index: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(target, source) → (weight, delay), damage applied."""
    layer, found = deployment.layers[index], {}
    match layer.synapses:
        case Dense(weight=weight, delay=delay):
            for target, source in np.ndindex(*weight.shape):
                found[target, source] = int(weight[target, source]), 0 if delay is None else int(delay[target, source])
        case Conv() as conv:
            c_out, height, width = conv.out_shape
            _, in_height, in_width = conv.in_shape
            _, per_group, k_h, k_w = conv.weight.shape
            for co, oy, ox, ci, ky, kx in np.ndindex(c_out, height, width, per_group, k_h, k_w):
                y = oy * conv.stride[0] + ky * conv.dilation[0] - conv.padding[0]
                x = ox * conv.stride[1] + kx * conv.dilation[1] - conv.padding[1]
                if 0 <= y < in_height and 0 <= x < in_width:
                    channel = co // (c_out // conv.groups) * per_group + ci
                    target, source = (co * height + oy) * width + ox, (channel * in_height + y) * in_width + x
                    found[target, source] = int(conv.weight[co, ci, ky, kx]), 0
    for edit in deployment.damage.edits:
        if isinstance(edit, SetSynapses) and edit.layer == index:
            for source, target, value in zip(edit.sources, edit.targets, edit.values, strict=True):
                pair = int(target), int(source)
                found[pair] = int(value), found.get(pair, (0, 0))[1]
    return found


def present(deployment: Deployment, inputs: Inputs) -> list[dict[str, np.ndarray]]:
    """Return u, v, spikes, each [N, T, n], of every layer."""
    steps = deployment.timesteps
    traces = [
        {name: np.zeros((len(inputs), steps, layer.size), np.int64) for name in ("u", "v", "spikes")} for layer in deployment.layers
    ]
    for index, layer in enumerate(deployment.layers):
        silent = deployment.damage.silent(index, layer.size)
        own = traces[index]
        joined = synapses(deployment, index)
        for sample in range(len(inputs)):
            for n in range(layer.size):
                if silent[n]:
                    continue
                if index == 0 and inputs.events is not None:
                    own["spikes"][sample, :, n] = inputs.events[sample, :, n]
                    continue
                mantissa = layer.bias_mantissa[n] if index or inputs.bias is None else inputs.bias[sample, n]
                bias = wrap(shift(wrap(int(mantissa), 16), layer.bias_exponent), 32)
                mine = [(source, *value) for (target, source), value in joined.items() if target == n]
                u, v = 0, layer.v_init
                for step in range(steps):
                    arriving: dict[int, int] = {}
                    for source, weight, delay in mine:
                        if step >= delay and traces[index - 1]["spikes"][sample, step - delay, source]:
                            arriving[delay] = arriving.get(delay, 0) + weight
                    a = wrap(sum(shift(total, layer.weight_exponent) for total in arriving.values()), 32)
                    u = wrap(decay(u, int(layer.du[n]) + 1) + wrap(a << 6, 32), 32)
                    if u > 2**23:
                        u -= 2**24
                    elif u <= -(2**23):
                        u += 2**24
                    v = wrap(decay(v, int(layer.dv[n])) + u + bias, 32)
                    v = max(1 - 2**23, min(2**23 - 1, v))
                    spike = v > int(layer.vth[n]) << 6
                    v = 0 if spike else v
                    for name, value in (("u", u), ("v", v), ("spikes", spike)):
                        own[name][sample, step, n] = value
    return traces
