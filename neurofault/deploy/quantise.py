"""From a network's real numbers to the chip's integers.

A layer's weights, threshold and bias are scaled by one number σ and rounded: one stored weight unit adds 2**(6 + e) to ``u``, one
threshold unit is 64 of ``v``, so with weight w, threshold θ and bias b::

    weight = round(w·σ / 2**e)      vth = round(θ·σ)      mantissa · 2**x = round(b·σ·64)

σ is set by the largest weight, and the exponent e so that threshold and bias have enough integers to be exact in, the potential of a layer
that is never reset stays below saturation, and the current does not wrap (:mod:`neurofault.deploy.bound`): for no input where a network takes
events, which may be any; where it takes pixels, for none in which neurons fire independently of each other, at whatever rate. What a chosen
set of a pixel network's neurons could still wrap, :func:`neurofault.deploy.deploy` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.bound import CURRENT_LIMIT, Drive
from neurofault.deploy.deployment import ChipLayer
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import CapacityError, ConversionError, UsageError
from neurofault.graph import Conv, Dense, Network, Population
from neurofault.graph.synapses import SignMode, Synapses

POTENTIAL_LIMIT = 2**23 - 1
"""Largest |v| (Lava ``LIF`` ``fixed_pt``: v saturates there)."""

_HEADROOM = 0.5
_MIN_THRESHOLD = 512
_LEAST_THRESHOLD = 64
"""A threshold is not made coarser than this to keep the current from wrapping: it is then off by less than 1 %."""

_DEEP_RATE = 0.5
"""Spikes a step that the neurons of a hidden layer of a pixel network stay below on average."""


def weight_range(bits: int, sign_mode: SignMode) -> tuple[int, int, int]:
    """Return (lowest, highest, step) of the weights that a stored field can hold, as Lava reads them.

    Args:
        bits: stored bits, 1 to 8.
        sign_mode: ``mixed`` spends one bit on the sign.

    >>> weight_range(8, "mixed")
    (-256, 254, 2)
    >>> weight_range(4, "excitatory")
    (0, 240, 16)
    """
    step = 1 << (8 - bits + (sign_mode == "mixed"))
    top = 256 - step
    match sign_mode:
        case "mixed":
            return -256, top, step
        case "excitatory":
            return 0, top, step
        case "inhibitory":
            return -top, 0, step


def truncate_weights(weight: NDArray[np.integer], bits: int, sign_mode: SignMode) -> NDArray[np.int32]:
    """Clip and truncate integers to the stored field exactly as Lava does at the first step.

    MIXED clips to [−256, 255], EXC to [0, 255], INH to [−255, 0]; then k = 8 − bits (+ 1 if MIXED) low bits are cut: towards −∞ for
    mixed and excitatory weights, towards 0 for inhibitory ones (Lava 0.10 ``lava/utils/weightutils.py``).

    Args:
        weight: integers of any shape.
        bits: stored bits, 1 to 8.
        sign_mode: which signs the field holds.
    """
    k = 8 - bits + (sign_mode == "mixed")
    wide = weight.astype(np.int64)
    match sign_mode:
        case "mixed":
            wide = (np.clip(wide, -256, 255) >> k) << k
        case "excitatory":
            wide = (np.clip(wide, 0, 255) >> k) << k
        case "inhibitory":
            wide = -((-np.clip(wide, -255, 0) >> k) << k)
    return wide.astype(np.int32)


@dataclass(frozen=True)
class Grid:
    """The integers that weights may take.

    Attributes:
        low, high, step: of the weights.
        bits: stored bits; None for the reference grid, which no chip has.
        exponent_min: smallest exponent e.
    """

    low: int
    high: int
    step: int
    bits: int | None
    exponent_min: int


_REFERENCE = Grid(-(1 << 14), (1 << 14) - 1, 1, None, -24)


def quantise(network: Network, profile: HardwareProfile, *, weight_bits: int | None = 8) -> tuple[ChipLayer, ...]:
    """Return the network's layers in the profile's integers.

    Args:
        network: real-valued layers, or layers that carry integers already (kept bit for bit, or refused).
        profile: integer widths and ranges.
        weight_bits: stored bits a weight; None: 15-bit weights that no chip has, a reference for the cost of rounding.

    Raises:
        UsageError: the profile has no such weight width.
        ConversionError: a decay is no whole number from 0 to 4095.
        CapacityError: a threshold, bias or carried integer does not fit the profile's fields, or is no integer.
    """
    allowed = profile.synapse.weight_bits.known
    if weight_bits is not None and weight_bits not in allowed:
        raise UsageError(f"profile {profile.name!r} stores no {weight_bits}-bit weights; allowed: {', '.join(map(str, allowed))}")
    if weight_bits is None:
        grid = _REFERENCE
    else:
        grid = Grid(*weight_range(weight_bits, "mixed"), weight_bits, profile.synapse.weight_exponent_min.known)
    layers = []
    for index, layer in enumerate(network.layers):
        _check_decays(layer)
        if layer.stored is not None:
            layers.append(_carried(layer, profile))
        elif layer.synapses is None:
            layers.append(_input_layer(layer, network))
        else:
            last = index == len(network.layers) - 1
            peak = network.peak_potential if last and layer.threshold is None else None
            share = None if network.encoding is None else 1.0 if index == 1 else _DEEP_RATE
            layers.append(_scaled(layer, layer.synapses, profile, grid, peak, Drive(network.timesteps, share)))
    return tuple(layers)


def _check_decays(layer: Layer) -> None:
    """Refuse decays that are no 4096ths (other numbers are finite: :class:`Network` sees to it).

    Raises:
        ConversionError: the text names the layer and the field.
    """
    for field, decay in (("du", layer.du), ("dv", layer.dv)):
        values = np.asarray(decay, np.float64)
        wrong = values[~((values >= 0) & (values <= 4095) & (np.rint(values) == values))]
        if wrong.size:
            raise ConversionError(f"layer {layer.name!r}: {field} {wrong.flat[0]:g} is no whole number from 0 to 4095")


def _input_layer(layer: Layer, network: Network) -> ChipLayer:
    """Return the input population; its bias comes with each sample."""
    size = layer.size
    encoding = network.encoding
    vth = encoding.threshold if encoding is not None else 1
    return ChipLayer(
        layer.name, layer.shape, None, 0, 8, "mixed", _array(layer.du, size), _array(layer.dv, size), _array(vth, size),
        np.zeros(size, np.int32), 0, encoding.start if encoding is not None else 0,
    )  # fmt: skip


def _scaled(layer: Layer, synapses: Synapses, profile: HardwareProfile, grid: Grid, peak: float | None, drive: Drive) -> ChipLayer:
    weight = np.asarray(synapses.weight, np.float64)
    positive = float(weight.max(initial=0)) / grid.high if grid.high else 0.0  # one mixed bit holds no positive weight
    largest = max(positive, float(-weight.min(initial=0)) / -grid.low)
    unit = 1 / largest if largest else 1.0  # σ / 2**e
    threshold_max = profile.neuron.threshold_max.known if profile.neuron.threshold_max.value is not None else 131071
    theta = None if layer.threshold is None else np.asarray(layer.threshold, np.float64)
    wanted = _exponent(layer, theta, unit, peak, profile, threshold_max)
    wanted = _without_wrap(wanted, layer, _with_weight(synapses, _integers(weight, unit, grid)), theta, unit, drive)
    exponent = int(np.clip(wanted, grid.exponent_min, profile.synapse.weight_exponent_max.known))
    unit *= 2.0 ** min(0, wanted - exponent)  # no smaller exponent: the weights take a part of their range
    sigma = unit * 2.0**exponent
    integers = _integers(weight, unit, grid)
    fires = theta is not None
    vth = np.rint(theta * sigma) if theta is not None else np.asarray(threshold_max)
    if fires and (vth.min() < 1 or vth.max() > threshold_max):
        raise CapacityError(
            f"layer {layer.name!r}: threshold becomes {int(vth.min())}…{int(vth.max())} beside its weights, "
            f"outside 1…{threshold_max}; rescale the layer's weights, or convert with another peak rate"
        )
    mantissa, bias_exponent = _bias(layer, np.broadcast_to(np.asarray(layer.bias, np.float64), layer.size) * sigma * 64, profile)
    start = float(np.mean(vth)) * 64 * layer.start if fires else 0.0
    return ChipLayer(
        layer.name, layer.shape, _with_weight(synapses, integers), exponent, grid.bits or 15, "mixed",
        _array(layer.du, layer.size), _array(layer.dv, layer.size), _array(vth, layer.size), mantissa, bias_exponent,
        round(start), fires,
    )  # fmt: skip


def _integers(weight: NDArray[np.float64], unit: float, grid: Grid) -> NDArray[np.int32]:
    return np.asarray(np.clip(np.rint(weight * unit / grid.step) * grid.step, grid.low, grid.high), np.int32)


def _without_wrap(
    exponent: int, layer: Layer, synapses: Synapses, theta: NDArray[np.float64] | None, unit: float, drive: Drive
) -> int:
    """Return the weight exponent, lowered until the current cannot wrap or the threshold would become too coarse."""
    least = np.inf if theta is None else float(np.min(theta)) * unit
    reach = drive.reaches(synapses, _array(layer.du, layer.size))
    while reach * 2.0**exponent >= CURRENT_LIMIT and least * 2.0 ** (exponent - 1) >= _LEAST_THRESHOLD:
        exponent -= 1
    return exponent


def _exponent(
    layer: Layer,
    theta: NDArray[np.float64] | None,
    unit: float,
    peak: float | None,
    profile: HardwareProfile,
    threshold_max: int,
) -> int:
    """Return the weight exponent: large enough for a fine threshold, small enough for threshold, bias and potential to fit."""
    neuron = profile.neuron
    largest_bias = min(-neuron.bias_mantissa_min.known, neuron.bias_mantissa_max.known) << neuron.bias_exponent_max.known
    biased = float(np.max(np.abs(layer.bias))) > 0
    if biased and largest_bias <= 0:
        low, high = neuron.bias_mantissa_min.known, neuron.bias_mantissa_max.known
        raise CapacityError(
            f"layer {layer.name!r} has a bias, for which the mantissas {low}…{high} of {profile.name} leave no room"
        )
    limit = _log2_floor(largest_bias, float(np.max(np.abs(layer.bias))) * unit * 64) if biased else _NO_LIMIT
    if theta is not None:
        if threshold_max < 1:
            raise CapacityError(
                f"layer {layer.name!r} has thresholds, and the largest that {profile.name} stores is {threshold_max}"
            )
        fine = math.ceil(math.log2(_MIN_THRESHOLD / max(float(np.min(theta)) * unit, 1e-300)))
        exponent = min(max(0, fine), _log2_floor(threshold_max, float(np.max(theta)) * unit), limit)
    else:
        # One threshold unit is 64 of v: keep the largest potential met in calibration under half of the range.
        exponent = min(0, _log2_floor(_HEADROOM * POTENTIAL_LIMIT, (peak or 0.0) * unit * 64), limit)
    return exponent


_NO_LIMIT = 1 << 10
"""An exponent that nothing reaches."""


def _log2_floor(room: float, need: float) -> int:
    """Return the largest e with ``need · 2**e ≤ room``."""
    return math.floor(math.log2(room / max(need, 1e-300)))


def _bias(layer: Layer, bias: NDArray[np.float64], profile: HardwareProfile) -> tuple[NDArray[np.int32], int]:
    """Return (mantissa, exponent) of a layer's bias, the exponent as small as the mantissa's range allows."""
    low, high = profile.neuron.bias_mantissa_min.known, profile.neuron.bias_mantissa_max.known
    exponent = 0
    while exponent < profile.neuron.bias_exponent_max.known and (
        np.rint(bias.max(initial=0) / 2**exponent) > high or np.rint(bias.min(initial=0) / 2**exponent) < low
    ):
        exponent += 1
    mantissa = np.rint(bias / 2**exponent)
    if mantissa.size and (mantissa.max() > high or mantissa.min() < low):
        raise CapacityError(
            f"layer {layer.name!r}: bias {float(np.abs(bias).max()):.0f} exceeds mantissa {low}…{high} · 2**{exponent}; "
            "rescale the layer, or convert with a smaller peak rate"
        )
    return mantissa.astype(np.int32), exponent


def _carried(layer: Layer, profile: HardwareProfile) -> ChipLayer:
    """Take over a layer that is integer already, bit for bit."""
    stored = layer.stored
    assert stored is not None
    size = layer.size
    vth = 131071 if layer.threshold is None else layer.threshold
    for field, value in (("threshold", vth), ("bias", layer.bias), ("start", layer.start)):
        numbers = np.asarray(value, np.float64)
        if np.any(np.rint(numbers) != numbers) or np.any(np.abs(numbers) >= 2.0**31):
            raise CapacityError(f"layer {layer.name!r} carries a {field} that is no whole number of 32 bits")
    largest = float(np.abs(np.asarray(layer.bias, np.float64)).max(initial=0)) * 2.0**stored.bias_exponent
    if largest >= 2.0**31:
        raise CapacityError(
            f"layer {layer.name!r}: carried bias of {largest:.3g} (mantissa · 2**{stored.bias_exponent}) exceeds 32 bits, where it wraps"
        )
    synapses = layer.synapses
    if synapses is not None:
        weight = np.asarray(synapses.weight)
        if stored.weight_bits not in profile.synapse.weight_bits.known:
            raise CapacityError(
                f"layer {layer.name!r} carries {stored.weight_bits}-bit weights; profile {profile.name!r} stores "
                f"{', '.join(map(str, profile.synapse.weight_bits.known))}"
            )
        kept = truncate_weights(weight.astype(np.int64), stored.weight_bits, stored.sign_mode)
        if not np.array_equal(kept, weight):
            raise CapacityError(
                f"layer {layer.name!r}: {int(np.count_nonzero(kept != weight))} of {weight.size} carried weights do not fit "
                f"{stored.weight_bits} {stored.sign_mode} bits bit for bit; truncate them first (quantise.truncate_weights)"
            )
        if np.any(kept != 0) and not -32 <= stored.weight_exponent <= 24:
            raise CapacityError(f"layer {layer.name!r}: weight exponent {stored.weight_exponent} outside -32…24")
        synapses = _with_weight(synapses, kept)
    return ChipLayer(
        layer.name, layer.shape, synapses, stored.weight_exponent, stored.weight_bits, stored.sign_mode,
        _array(layer.du, size), _array(layer.dv, size), _array(vth, size), _array(layer.bias, size),
        stored.bias_exponent, round(layer.start), layer.threshold is not None,
    )  # fmt: skip


def _with_weight(synapses: Synapses, weight: NDArray[np.int32]) -> Synapses:
    match synapses:
        case Dense():
            return Dense(weight, synapses.delay)
        case Conv():
            return Conv(weight, synapses.in_shape, synapses.stride, synapses.padding, synapses.dilation, synapses.groups)


def _array(value: object, size: int) -> NDArray[np.int32]:
    """Return a field of every neuron as int32 [size]."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value), (size,))).astype(np.int32)
