"""`SpikingNetwork`: what computes, free of any framework and of any chip.

A network is a chain of populations of current-based leaky integrate-and-fire (CUBA LIF) neurons. Layer 0 is the input
population, driven by a bias current from each pixel (or by given events); every later layer is driven by its synapses.
Each step, a layer with membrane ``v`` and synaptic current ``u`` does (Lava 0.10 ``LIF``, reset to zero)::

    u ← u·(4096 − du − 1)/4096 + Σ w·s        v ← v·(4096 − dv)/4096 + u + bias        s = [v > threshold], v ← 0 where s

Flattened populations are in torch's C, H, W order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, not_finite
from neurofault.errors import ConversionError, UsageError

SignMode = Literal["mixed", "excitatory", "inhibitory"]
Readout = Literal["potential", "count"]

NO_MEMORY = 4095
"""The ``du`` for which the current has no memory: ``u`` is this step's input (Davies 2018; Lava ``LIF``, du + 1 = 4096)."""


@dataclass(frozen=True, eq=False)
class Dense:
    """All-to-all synapses.

    Attributes:
        weight: [n_out, n_in]; float64, or an integer type in a network that carries integers.
        delay: [n_out, n_in] extra steps, int, 0 to 63 (0: the usual one step); None for no delays.
    """

    weight: NDArray[np.generic]
    delay: NDArray[np.int64] | None = None

    @property
    def n_in(self) -> int:
        """Number of source neurons."""
        return int(self.weight.shape[1])

    @property
    def n_out(self) -> int:
        """Number of target neurons."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Conv:
    """A 2-D convolution as torch computes it (cross-correlation, zero padding).

    Attributes:
        weight: kernel [c_out, c_in/groups, k_h, k_w]; float64 or an integer type.
        in_shape: (c_in, height, width) of the source population.
        stride, padding, dilation: (vertical, horizontal).
        groups: number of groups; divides c_in and c_out.
    """

    weight: NDArray[np.generic]
    in_shape: tuple[int, int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """(c_out, height, width) of the target population."""
        size = [
            (self.in_shape[1 + axis] + 2 * self.padding[axis] - self.dilation[axis] * (self.weight.shape[2 + axis] - 1) - 1)
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        ]
        return int(self.weight.shape[0]), size[0], size[1]

    @property
    def n_in(self) -> int:
        """Number of source neurons."""
        return math.prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Number of target neurons."""
        return math.prod(self.out_shape)


Synapses = Dense | Conv


@dataclass(frozen=True)
class StoredFormat:
    """How a layer's integers are to be read, for networks that already carry integers (Lava graphs, exports).

    Attributes:
        weight_exponent: e; one weight unit adds 2**(6 + e) to ``u``; −8 to 16.
        weight_bits: stored bits a weight (Lava ``num_weight_bits``), 1 to 8.
        sign_mode: which signs the stored field can hold.
        bias_exponent: the bias is ``mantissa · 2**bias_exponent`` (an arithmetic right shift if negative).
    """

    weight_exponent: int = 0
    weight_bits: int = 8
    sign_mode: SignMode = "mixed"
    bias_exponent: int = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """One population and the synapses into it.

    Attributes:
        name: unique; ``input``, ``hidden1`` …, ``output`` for converted networks.
        shape: (n,) or (channels, height, width).
        synapses: what drives it; None for layer 0 only.
        threshold: in units of weight · spikes, > 0, scalar or [n]; None for neurons that never fire (potential readout).
        bias: [n] or scalar, added to ``v`` each step, in the threshold's unit.
        du, dv: decays in 1/4096, 0 to 4095, scalar or [n].
        start: ``v`` at a sample's first step, as a fraction of the threshold (of 1 where the threshold is None).
        stored: None for real-valued layers; else weights, threshold and bias are the chip's own integers (threshold = Lava ``vth``,
            bias = Lava ``bias_mant``) read in this format, and ``start`` is ``v`` itself.
    """

    name: str
    shape: tuple[int, ...]
    synapses: Synapses | None
    threshold: float | NDArray[np.generic] | None
    bias: float | NDArray[np.generic] = 0.0
    du: int | NDArray[np.generic] = NO_MEMORY
    dv: int | NDArray[np.generic] = 0
    start: float = 0.0
    stored: StoredFormat | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Encoding:
    """From a pixel to the bias current of its input neuron, a constant for the whole presentation.

    Attributes:
        table: int32 [256], bias mantissa of each 8-bit pixel value.
        threshold: Lava ``vth`` of the input neurons, 1 to 131071.
        start: ``v`` of the input neurons at a sample's first step, in the unit of ``v`` (64 a threshold unit).
        full_rate: spike rate (spikes a step) that stands for a pixel of 255; (0, 1].
    """

    table: NDArray[np.int32]
    threshold: int
    start: int
    full_rate: float

    @staticmethod
    def for_pixels(full_rate: float, start: float, timesteps: int) -> Encoding:
        """Return the table whose spike counts in ``timesteps`` come nearest to ``full_rate · timesteps · pixel / 255``.

        A reset-to-zero neuron under a constant bias fires at one of the rates 1, ½, ⅓ …, so the table is a search, not a line.

        Args:
            full_rate: spikes a step for a pixel of 255, in (0, 1].
            start: ``v`` at a sample's first step as a fraction of the threshold, [0, 1].
            timesteps: T, at least 1.
        """
        threshold, mantissas = 63, np.arange(4096, dtype=np.int32)  # 13-bit signed mantissa; 4033 fires at every step
        begin = int(start * (threshold << 6))
        counts = _constant_drive_counts(mantissas, threshold, begin, timesteps)
        target = np.arange(256) / 255 * full_rate * timesteps
        chosen = np.abs(counts[None, :] - target[:, None]).argmin(axis=1)
        return Encoding(mantissas[chosen], threshold, begin, full_rate)

    def rates(self, timesteps: int) -> NDArray[np.float64]:
        """Return [256]: the exact spike rate (spikes / ``timesteps``) of an input neuron for each pixel value."""
        return _constant_drive_counts(self.table, self.threshold, self.start, timesteps) / timesteps


def _constant_drive_counts(bias: NDArray[np.int32], threshold: int, start: int, timesteps: int) -> NDArray[np.int64]:
    """Return the spikes in ``timesteps`` of a leak-free neuron for each constant bias."""
    v = np.full(bias.shape, start, np.int64)
    count = np.zeros(bias.shape, np.int64)
    for _ in range(timesteps):
        v = np.minimum(v + bias, 2**23 - 1)
        fired = v > threshold << 6
        count += fired
        v[fired] = 0
    return count


@dataclass(frozen=True, eq=False)
class Inputs:
    """Encoded samples: the one array that every engine receives.

    Exactly one of the two is given, as an array or a torch tensor.

    Attributes:
        bias: int32 [N, n_in], bias mantissa of each input neuron, constant during the presentation; any integer type is taken.
        events: bool [N, T, n_in], spikes of the input population itself; any type is taken whose values are 0 and 1.
        first_sample: index of sample 0 in the whole data set, for faults that are random in time.

    Raises:
        UsageError: both or none is given, or they hold other numbers than these.
    """

    bias: NDArray[np.int32] | None = None
    events: NDArray[np.bool_] | None = None
    first_sample: int = 0

    def __post_init__(self) -> None:
        if (self.bias is None) == (self.events is None):
            raise UsageError("Inputs takes either bias or events")
        if self.bias is not None:
            object.__setattr__(self, "bias", _mantissas(self.bias))
        if self.events is not None:
            object.__setattr__(self, "events", _spikes(self.events))

    def __len__(self) -> int:
        array = self.bias if self.bias is not None else self.events
        assert array is not None
        return int(array.shape[0])

    def __getitem__(self, window: slice) -> Inputs:
        start = range(len(self))[window].start
        return Inputs(
            None if self.bias is None else self.bias[window],
            None if self.events is None else self.events[window],
            self.first_sample + start,
        )


def _mantissas(given: object) -> NDArray[np.int32]:
    array = as_array(given, "bias")
    if array.dtype == np.int32:
        return array  # type: ignore[return-value]  # its type is this
    if array.dtype.kind not in "iu":
        raise UsageError(f"bias holds the integers of the chip, not {array.dtype}; Deployment.encode makes them of images")
    if array.size and not -(2**31) <= int(array.min()) <= int(array.max()) < 2**31:
        raise UsageError(f"bias lies in {array.min()} … {array.max()}; allowed: 32-bit integers")
    return array.astype(np.int32)


def _spikes(given: object) -> NDArray[np.bool_]:
    array = as_array(given, "events")
    if array.dtype == np.bool_:
        return array  # type: ignore[return-value]  # its type is this
    spikes: NDArray[np.bool_] = np.not_equal(array, 0)
    if not np.array_equal(spikes, array):
        lowest, highest = array.min(), array.max()
        raise UsageError(
            f"events: {not_finite(array) or f'values lie in {lowest:g} … {highest:g}'}; a line spikes or not in a step: 0 or 1. "
            "Of counts, pass events > 0"
        )
    return spikes


@dataclass(frozen=True)
class ConversionGap:
    """What a conversion cost, on the images that it was calibrated with.

    Attributes:
        samples: how many images.
        original: accuracy of the original on them; 1.0 where its own answers are the labels.
        chip: accuracy of the converted network, in the chip's integers.
        labelled: whether true labels were given, or the original's own answers taken.
    """

    samples: int
    original: float
    chip: float
    labelled: bool

    @property
    def points(self) -> float:
        """What was lost, in percentage points."""
        return 100 * (self.original - self.chip)


@dataclass(frozen=True, eq=False)
class SpikingNetwork:
    """A feed-forward chain of spiking populations.

    Attributes:
        name: for display and for hashes of what was run.
        layers: layer 0 is the input population (no synapses).
        timesteps: T, steps a sample is shown, at least 1.
        encoding: pixel table of the input population; None for a network that takes events.
        readout: ``potential`` (output neurons never fire; score = ``v`` after step T) or ``count`` (spikes; ties by ``v``).
        peak_potential: largest magnitude of v of the output layer met in calibration, in the threshold's unit; lets :func:`neurofault.deploy` choose an
            exponent at which it does not saturate. None: unknown.
        gap: what the conversion cost; None: not measured.
        notes: what whoever read it from a file had to assume, one text each; for people, it changes nothing.
    """

    name: str
    layers: tuple[Layer, ...]
    timesteps: int
    encoding: Encoding | None
    readout: Readout = "potential"
    peak_potential: float | None = None
    gap: ConversionGap | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers or self.layers[0].synapses is not None:
            raise ConversionError(f"network {self.name!r}: layer 0 must be an input population without synapses")
        for before, layer in zip(self.layers, self.layers[1:], strict=False):
            if layer.synapses is None:
                raise ConversionError(f"layer {layer.name!r} has no synapses; only layer 0 may")
            if (layer.synapses.n_in, layer.synapses.n_out) != (before.size, layer.size):
                raise ConversionError(
                    f"layer {layer.name!r}: synapses join {layer.synapses.n_in} → {layer.synapses.n_out} neurons, "
                    f"but {before.name!r} has {before.size} and {layer.name!r} has {layer.size}"
                )
        for layer in self.layers:
            weight = None if layer.synapses is None else layer.synapses.weight
            for what, array in (("weight", weight), ("threshold", layer.threshold), ("bias", layer.bias), ("start", layer.start)):
                problem = None if array is None else not_finite(array)
                if problem is not None:
                    raise ConversionError(f"layer {layer.name!r}: {what}: {problem}; did training diverge?")
            if layer.stored is None and layer.threshold is not None and not np.all(np.asarray(layer.threshold) > 0):
                raise ConversionError(f"layer {layer.name!r}: thresholds must be above 0 (integers of a chip may be lower)")
        if self.timesteps < 1:
            raise ConversionError(f"network {self.name!r}: timesteps must be at least 1, is {self.timesteps}")

    def with_timesteps(self, timesteps: int) -> SpikingNetwork:
        """Return the same network shown for another number of steps."""
        return replace(self, timesteps=timesteps, gap=None)
