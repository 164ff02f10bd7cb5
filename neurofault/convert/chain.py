"""From a chain of linear layers and spiking neurons, whatever framework it came from, to a :class:`Network`.

A neuron here is the chip's own (reset to zero, strict threshold), with ``drive`` the output of the linear layer before it::

    u ← u·(1 − (du + 1)/4096) + drive      v ← v·(1 − dv/4096) + u + bias      s = [v > threshold], v ← 0 where s

In one step of such a chain a spike passes through all layers, as in snnTorch and in NIR; on the chip each layer runs one step later
(layer l handles sample k in the steps kT + l + 1 …), which gives every neuron the same input in its own t-th step.

A constant added to the drive of a neuron whose current has a memory (du < 4095) builds up in that current: after t steps ``v`` gets
b·(1 − a^t)/(1 − a) of it, a = 1 − (du + 1)/4096. The chip's bias is added to ``v`` and its current starts at 0, so there is no setting of du, bias
and start that does this: :func:`neurofault.convert.spiking_layers.membrane_bias` refuses it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import nn

from neurofault.convert.asked import PixelCoding
from neurofault.convert.driven import Driven, input_shape
from neurofault.convert.prelude import Prelude
from neurofault.convert.spiking_layers import (
    SILENT,
    Chain,
    Operation,
    membrane_bias,
    pools_as_neurons,
    recurrent_synapses,
)
from neurofault.convert.spiking_neurons import SpikingNeurons, Value, pair, spread
from neurofault.convert.stages import stages_along
from neurofault.convert.tracing import trace
from neurofault.errors import ConversionError
from neurofault.graph import Connection, CubaLif, Encoding, Network, Population, Source
from neurofault.graph import chain as feed_forward
from neurofault.graph.pooling import spike_max_pool
from neurofault.graph.readout import How
from neurofault.graph.synapses import Synapses
from neurofault.zoo.rate_curve import RateCurve

_MANTISSA_MAX = 4095


def network_of(
    name: str,
    chain: Chain,
    in_shape: tuple[int, ...],
    *,
    timesteps: int,
    coding: PixelCoding | None,
    readout: How | None,
    before: Prelude | None = None,
) -> Network:
    """Build the spiking network of a chain.

    Args:
        name: for display.
        chain: (name, operation) in order: torch's Linear, Conv2d, BatchNorm, AvgPool2d, Flatten, Dropout, Identity;
            :class:`SpikeMaxPool`; :class:`SpikingNeurons`. Averages are composed into their neighbour. Neurons at the very front are the input population, driven by
            the pixel itself (1.0 for 255); a linear layer at the very end is read by the sum of its output over the steps.
        in_shape: of a sample, (n,) or (channels, height, width).
        timesteps: T, at least 1.
        coding: how pixels become spikes; None: the network takes events.
        readout: ``count``; ``potential`` (the last neurons then never fire); ``largest`` or ``mean`` of the potentials of the last neurons,
            which fire and reset as they do; None: ``count`` if the last neurons fire.
        before: what the original does to a sample in front of the chain; folded into the first layer.

    Raises:
        ConversionError: something in the chain has no counterpart on the chip; the text names the layer.
    """
    kept = _drop_silent_ends(pools_as_neurons(list(chain), in_shape, events=coding is None))
    _check_order(kept)
    drive: tuple[str, SpikingNeurons] | None = None
    if kept and isinstance(kept[0][1], SpikingNeurons):
        if coding is None:
            raise ConversionError(f"layer {kept[0][0]!r}: neurons at the input take a current from each pixel, not events")
        drive, kept = (kept[0][0], kept[0][1]), kept[1:]
    last_name, last = kept[-1] if kept else ("?", None)
    linear = kept[:-1] if isinstance(last, SpikingNeurons) else kept
    if not any(isinstance(operation, nn.Linear | nn.Conv2d) for _, operation in linear):
        raise ConversionError(f"network {name!r} has no Linear or Conv2d layer")
    neurons = [(each, operation) for each, operation in kept if isinstance(operation, SpikingNeurons)]
    if not isinstance(last, SpikingNeurons):
        check_ends_in_neurons(last_name, readout)
        neurons.append((last_name, SpikingNeurons(None)))
    elif last.pool is not None and readout not in (None, "count"):
        raise ConversionError(f"layer {last_name!r}: a max pooling of spikes has no potential; use readout 'count'")
    elif readout == "potential":
        neurons[-1] = (last_name, replace(last, threshold=None))
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for each, module in _torch_modules(linear):
        title = each.replace(".", "/") or "?"
        used = sum(known == title or known.startswith(f"{title}#") for known in modules)
        modules[f"{title}#{used + 1}" if used else title] = module  # a layer that is used twice has one name
    if drive is not None and before is not None:
        raise ConversionError(f"layer {drive[0]!r}: neurons at the input take the sample itself, but forward changes it first")
    stages = stages_along(trace(nn.Sequential(modules), None), in_shape, before).stages
    encoding = None if coding is None else Encoding.for_pixels(coding.full_rate, coding.start, timesteps)
    unit = 1.0 if coding is None else 1 / coding.full_rate
    source = Source(encoding)
    if drive is not None:
        source, unit = source_under_current(*drive, input_shape(stages, in_shape)), 1.0
    populations, synapses, loops = [Population("input", input_shape(stages, in_shape), source)], [], list[Connection]()
    for index, (stage, (each, neuron)) in enumerate(zip(stages, neurons, strict=True)):
        title = "output" if index == len(stages) - 1 else f"hidden{index + 1}"
        if (pool := neuron.pool) is not None:
            pooled, wires = spike_max_pool(title, populations[-1], pool.kernel, pool.stride, pool.padding, pool.dilation)
            populations.append(pooled)
            synapses.append(wires.synapses)
            fires = True
            continue
        synapses.append(stage.synapses(stage.value.terms[0], unit))
        cells = _cells(each, stage, neuron)
        if neuron.recurrent is not None:
            back, own = recurrent_synapses(each, neuron, stage.shape)
            cells = replace(cells, bias=np.asarray(cells.bias) + membrane_bias(each, own, cells.du))
            loops.append(Connection(f"{title}.rec", title, title, back))
        populations.append(Population(title, stage.shape, cells))
        unit, fires = 1.0, cells.threshold is not None
    if readout == "count" and not fires:
        raise ConversionError(f"layer {last_name!r} never fires, so its spikes cannot be counted; use readout 'potential'")
    peak = None if fires else _peak(cells, synapses[-1], timesteps)
    how: How = "count" if fires else "potential"
    how = readout if readout in ("largest", "mean") else how
    network = feed_forward(name, populations, synapses, timesteps=timesteps, how=how, peak_potential=peak)
    return replace(network, connections=(*network.connections, *loops)) if loops else network


def check_ends_in_neurons(name: str, readout: How | None) -> None:
    """Refuse readouts of the potentials of neurons that are not there: a linear layer at the end is read by the sum of its output.

    Raises:
        ConversionError: such a readout.
    """
    if readout in ("largest", "mean"):
        same = "; that sum is T times the mean of its output, so 'potential' ranks them alike" if readout == "mean" else ""
        raise ConversionError(
            f"layer {name!r} has no neurons behind it: it is read by the sum of its output over the steps, whose {readout} says nothing of any "
            f"step{same}; put neurons that never reset behind it (in snnTorch Leaky with reset_mechanism='none'), or use readout 'potential'"
        )


def _drop_silent_ends(chain: list[tuple[str, Operation]]) -> list[tuple[str, Operation]]:
    while chain and isinstance(chain[-1][1], SILENT):
        chain = chain[:-1]
    while len(chain) > 1 and isinstance(chain[0][1], SILENT) and isinstance(chain[1][1], SpikingNeurons | nn.Flatten):
        chain = chain[1:]
    return chain


def _check_order(chain: Chain) -> None:
    """Refuse neurons that follow neurons, and neurons that never fire before the end."""
    before: str | None = None
    for index, (name, operation) in enumerate(chain):
        if isinstance(operation, SpikingNeurons):
            if before is not None:
                raise ConversionError(
                    f"layer {name!r}: neurons directly behind the neurons {before!r}; put a Linear or Conv2d between them"
                )
            if operation.threshold is None and index != len(chain) - 1:
                raise ConversionError(f"layer {name!r}: neurons that never fire are taken only as the last layer")
            before = name
        elif isinstance(operation, nn.ReLU | RateCurve):
            raise ConversionError(
                f"layer {name!r}: {type(operation).__name__} in a chain of spiking neurons; its values are no spikes: put neurons in its place"
            )
        elif not isinstance(operation, SILENT):
            before = None


def _torch_modules(chain: Chain) -> Iterator[tuple[str, nn.Module]]:
    """Yield torch modules only: a ReLU stands where neurons are; an average pooling between neurons is the convolution that it is."""
    channels, linear = None, False
    operations = list(chain)
    for index, (name, operation) in enumerate(operations):
        match operation:
            case SpikingNeurons():
                linear = False
                yield name, nn.ReLU()
            case nn.AvgPool2d() if not linear and _then_neurons(operations[index + 1 :]):
                yield name, _depthwise(name, operation, channels)
                linear = True
            case nn.Linear() | nn.Conv2d():
                yield name, operation
                linear = True
                channels = operation.out_channels if isinstance(operation, nn.Conv2d) else channels
            case nn.Module():
                yield name, operation


def _then_neurons(rest: Chain) -> bool:
    """Whether the next thing that computes is a population of neurons (or nothing)."""
    following = [operation for _, operation in rest if not isinstance(operation, SILENT)]
    return not following or isinstance(following[0], SpikingNeurons)


def _depthwise(name: str, pool: nn.AvgPool2d, channels: int | None) -> nn.Conv2d:
    """Return a pooling between two populations as the convolution that it is."""
    if channels is None:
        raise ConversionError(f"layer {name!r}: pooling between neurons needs a Conv2d somewhere before it")
    kernel, stride = pair(pool.kernel_size), pair(pool.stride)
    convolution = nn.Conv2d(channels, channels, kernel, stride, groups=channels, bias=False).double()
    nn.init.constant_(convolution.weight, 1 / (kernel[0] * kernel[1]))
    return convolution


def source_under_current(name: str, neuron: SpikingNeurons, shape: tuple[int, ...]) -> Source:
    """Return the input neurons that take the pixel itself as their current.

    The table is a line: pixel/255 times the largest mantissa for which the threshold is a whole number.
    """
    parts = {field: spread(name, field, value, shape) for field, value in _fields(neuron).items()}
    threshold, bias = parts["threshold"], parts["bias"]
    if neuron.recurrent is not None or neuron.refractory or neuron.reset != "zero":
        raise ConversionError(
            f"layer {name!r}: neurons at the input that {'come back to themselves' if neuron.recurrent is not None else 'do not reset to zero at once'}; "
            "put a Linear or Conv2d in front of them, of weight 1 if need be"
        )
    if not isinstance(threshold, float | int) or np.any(np.asarray(bias) != 0):
        raise ConversionError(f"layer {name!r}: neurons at the input need one threshold for all and no leak voltage")
    vth = int(np.clip(np.floor(threshold * _MANTISSA_MAX / 64), 1, 131071))
    full = min(round(vth * 64 / threshold), _MANTISSA_MAX)
    if full < 255:
        raise ConversionError(
            f"layer {name!r}: a pixel of 255 is {1 / threshold:.3g} of the threshold, below what the input's bias current can express"
        )
    table = np.rint(np.arange(256) / 255 * full).astype(np.int32)
    return Source(Encoding(table, vth, 0, 1.0), parts["du"], parts["dv"])  # type: ignore[arg-type]  # a dict of mixed fields


def _fields(neuron: SpikingNeurons) -> dict[str, Value]:
    assert neuron.threshold is not None
    return {"threshold": neuron.threshold, "du": neuron.du, "dv": neuron.dv, "bias": neuron.bias}


def _cells(name: str, stage: Driven, neuron: SpikingNeurons) -> CubaLif:
    """Return the neurons behind a stage, with its bias."""
    bias, shape = stage.biases(), stage.shape
    threshold = None if neuron.threshold is None else spread(name, "threshold", neuron.threshold, shape)
    if threshold is not None and not (np.all(np.asarray(threshold) > 0) and np.all(np.isfinite(threshold))):
        raise ConversionError(f"layer {name!r}: thresholds must be finite and above 0")
    du, dv = spread(name, "du", neuron.du, shape), spread(name, "dv", neuron.dv, shape)
    total = membrane_bias(name, bias, du) + np.asarray(spread(name, "bias", neuron.bias, shape))
    law = (neuron.reset, neuron.reset_delay, neuron.refractory) if threshold is not None else ("zero", 0, 0)
    return CubaLif(threshold, total, du, dv, 0.0, None, *law)  # type: ignore[arg-type]  # scalar or array, as CubaLif takes them


def _peak(neuron: CubaLif, synapses: Synapses, timesteps: int) -> float:
    """Return a bound on |v| of output neurons that never fire: half of all excitatory or all inhibitory sources firing at each step."""
    weight = np.asarray(synapses.weight, np.float64)
    rows = weight.reshape(len(weight), -1)
    drive = np.maximum(np.maximum(rows, 0).sum(axis=1).max(), np.maximum(-rows, 0).sum(axis=1).max()) + np.abs(neuron.bias).max()
    steps = min(float(timesteps), float(4096 / max(int(np.min(neuron.dv)), 1)))
    memory = float(4096 / (np.min(neuron.du) + 1))
    return float(drive) * steps * min(memory, float(timesteps)) / 2
