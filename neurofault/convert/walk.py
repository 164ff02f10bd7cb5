"""The walk along a torch module's operations: each makes a value of values, or populations of neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurofault.convert import affine
from neurofault.convert.affine import Affine, image_of
from neurofault.convert.asked import Pooling
from neurofault.convert.driven import Activation, Driven, Populations, Rectified, is_population
from neurofault.convert.layers import arguments_of, average_of, cap_of, conv_of, linear_of, norm_of, windows_of
from neurofault.convert.max_pools import Largest, is_settled, settled
from neurofault.convert.refusals import is_refused, refusal
from neurofault.convert.running import one_line, same_values
from neurofault.convert.tracing import JOINED, KNOWN, Operation, Taken, kind_of
from neurofault.errors import ConversionError
from neurofault.numerals import plural
from neurofault.zoo.rate_curve import RateCurve

_SHAPING = (
    "flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten", "contiguous", "clone", "detach", "to", "float", "double", "type", "dropout", "dropout1d",
    "dropout2d", "feature_dropout", "Unflatten",
)  # fmt: skip
"""What is taken where it leaves a sample's values as they are, in their order."""

_ADDED = {"add": 1.0, "add_": 1.0, "iadd": 1.0, "sub": -1.0, "sub_": -1.0, "isub": -1.0, "subtract": -1.0}
_EACH = (
    *_ADDED,
    "rsub",
    "mul",
    "mul_",
    "imul",
    "multiply",
    "truediv",
    "div",
    "div_",
    "itruediv",
    "divide",
    "neg",
    "negative",
    "neg_",
)
"""What is taken of one value and constants where it is one gain and one shift of each number."""

_AVERAGES = {"AvgPool1d": 1, "avg_pool1d": 1, "AvgPool2d": 2, "avg_pool2d": 2}
LARGEST = {
    "MaxPool1d": 1, "max_pool1d": 1, "AdaptiveMaxPool1d": 1, "adaptive_max_pool1d": 1,
    "MaxPool2d": 2, "max_pool2d": 2, "AdaptiveMaxPool2d": 2, "adaptive_max_pool2d": 2,
}  # fmt: skip
"""Kinds of max pooling, with their dimensions."""
_CAPS = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_", "clip", "clamp_min", "ReLU", "ReLU6", "Hardtanh")
_MEASURED = (
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "mean", "sum", "permute", "transpose", "swapaxes", "movedim", "flip", "roll",
    "rot90", "pad", "getitem", "narrow", "select", "index_select", "chunk", "split", "unbind", "tensor_split", "interpolate", "upsample", "Upsample", "PixelShuffle",
    "PixelUnshuffle", "ChannelShuffle", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "matmul", "mm", "ConvTranspose1d", "ConvTranspose2d", "conv_transpose1d",
    "conv_transpose2d", "ZeroPad1d", "ZeroPad2d", "ConstantPad1d", "ConstantPad2d", "ReflectionPad1d", "ReflectionPad2d", "ReplicationPad1d", "ReplicationPad2d",
)  # fmt: skip
"""What is taken where it is affine and the same for each sample: its matrix is measured."""
_SILENT = ("Dropout", "Dropout1d", "Dropout2d", "Identity")
_READ = {
    *_SHAPING, *_EACH, *JOINED, *_AVERAGES, *LARGEST, *_CAPS, *_MEASURED, *_SILENT, "Flatten", "RateCurve", "Linear", "linear", "Conv1d", "conv1d", "Conv2d", "conv2d",
    "BatchNorm1d", "BatchNorm2d", "batch_norm",
}  # fmt: skip

_TOLERANCE = 1e-4
"""Of the largest value: what float32 leaves between an operation and its matrix."""


def base_of(operation: Operation) -> str:
    """Return the name of an operation's function, or of the class of torch's that its module is one of; ``""`` for a module of another kind."""
    match operation.what:
        case str() as function:
            return function
        case RateCurve():
            return "RateCurve"
        case module:
            own = (each.__name__ for each in type(module).__mro__ if each.__module__.startswith("torch.nn.modules"))
            return next((each for each in own if each in _READ), "")


def is_read(operation: Operation) -> bool:
    """Return whether a walk knows an operation, to take or to refuse it by name."""
    if isinstance(operation.what, nn.Module) and (
        isinstance(operation.what, KNOWN) or type(operation.what).__module__.startswith("torch.nn")
    ):
        return True
    return base_of(operation) in _READ or is_refused(kind_of(operation))


class Walk:
    """The values that a module's operations give, by their keys, and the populations that they have needed so far.

    Attributes:
        populations: in order.
    """

    def __init__(self, entering: str, value: Affine, pooling: Pooling) -> None:
        self.populations = Populations([])
        self._values: dict[str, Affine | Largest] = {entering: value}
        self._names: dict[str, str] = {entering: "?"}
        self._pooling: Pooling = pooling

    def value(self, key: str) -> Affine:
        """Return a value, after the neurons that it needs."""
        value = self._values[key]
        if isinstance(value, Largest):
            value = self._values[key] = settled(value, self._pooling, self.populations, None)
        return value

    def name(self, key: str) -> str:
        """Return the name of the layer that a value is known by."""
        return self._names[key]

    def take(self, operation: Operation) -> None:
        """Take an operation.

        Raises:
            ConversionError: it cannot become spiking; the text names it and what could replace it.
        """
        kind, key, source = base_of(operation), operation.key, operation.inputs[0]
        self._names[key] = operation.name
        if kind in _SILENT:
            self._values[key], self._names[key] = self._values[source], self._names[source]
        elif kind == "Flatten" or kind in _SHAPING:
            self._values[key], self._names[key] = self._shaped(operation, kind), self._names[source]
        elif kind in ("Linear", "linear"):
            self._values[key] = self._linear(operation)
        elif kind in ("Conv1d", "conv1d", "Conv2d", "conv2d"):
            self._values[key] = self._convolution(operation)
        elif kind in ("BatchNorm1d", "BatchNorm2d", "batch_norm"):
            self._values[key] = self._norm(operation)
            self._names[key] = self._names[source] if self._names[source] != "?" else operation.name
        elif isinstance(operation.what, RateCurve):
            self._values[key] = self._activated(operation, operation.what, 0.0)
        elif kind in _CAPS:
            self._values[key] = self._capped(operation)
        elif kind in _AVERAGES:
            self._values[key] = self._average(operation, _AVERAGES[kind])
        elif kind in LARGEST:
            self._values[key] = self._largest(operation, LARGEST[kind])
        elif kind in JOINED:
            self._values[key] = self._joined(operation)
        elif kind in _ADDED and sum(isinstance(each, Taken) for each in operation.arguments) == 2:
            self._values[key] = self._added(operation, _ADDED[kind])
        elif kind in _EACH:
            self._values[key], self._names[key] = self._each(operation), self._names[source]
        elif kind in _MEASURED:
            self._values[key] = self._measured(operation)
        else:
            raise refusal(operation)

    def _shaped(self, operation: Operation, kind: str) -> Affine:
        """Take what leaves the values of each sample as they are, in their order."""
        value, given, returned = self.value(operation.inputs[0]), operation.given, operation.returned
        if kind == "Flatten" and given is None:
            return affine.reshaped((value.size,), value)
        if given is None or returned is None or len(given) != len(returned) or not same_values(given, returned):
            if kind.startswith("dropout"):
                raise ConversionError(
                    f"layer {operation.name!r}: {kind} that stays on in eval mode; pass training=self.training, or use nn.Dropout"
                )
            raise ConversionError(
                f"layer {operation.name!r}: {_call(operation)} is not a flattening: it mixes samples, or changes their values; use Flatten"
            )
        return affine.reshaped(tuple(returned.shape[1:]), value)

    def _linear(self, operation: Operation) -> Affine:
        value, layer = self.value(operation.inputs[0]), linear_of(operation)
        inputs = layer.weight.shape[1]
        if value.shape == (inputs,):
            return affine.linear(operation.name, layer.weight, layer.bias, value)
        if value.shape[-1] == inputs:
            return self._measured(operation)
        raise ConversionError(
            f"layer {operation.name!r}: Linear takes {plural(inputs, 'value')}, but a sample has shape {value.shape} there"
            + ("; put Flatten before it" if len(value.shape) > 1 else "")
        )

    def _convolution(self, operation: Operation) -> Affine:
        value, layer = self.value(operation.inputs[0]), conv_of(operation)
        if len(value.shape) != layer.axes + 1 or value.shape[0] != layer.channels:
            raise ConversionError(
                f"layer {operation.name!r}: Conv{layer.axes}d takes {plural(layer.channels, 'channel')}, but a sample has shape {value.shape} there"
            )
        if layer.layer is None:
            return self._measured(operation)
        image = image_of(value.shape)
        assert image is not None
        if min(layer.layer.behind(image).out_shape) < 1:
            raise ConversionError(
                f"layer {operation.name!r}: its kernel is larger than a sample there, {value.shape} with its padding"
            )
        return affine.convolution(operation.name, layer.layer, layer.bias, value)

    def _norm(self, operation: Operation) -> Affine:
        value, norm = self.value(operation.inputs[0]), norm_of(operation)
        if value.shape[0] != len(norm.mean):
            raise ConversionError(
                f"layer {operation.name!r}: batch normalisation of {plural(len(norm.mean), 'channel')}, but a sample has shape {value.shape} there"
            )
        return affine.normalised(operation.name, norm.mean, norm.gain, norm.shift, value)

    def _capped(self, operation: Operation) -> Affine:
        cap = cap_of(operation)
        if cap is None:
            raise ConversionError(
                f"layer {operation.name!r}: {_call(operation)}; bounds are taken that are numbers, a lower one and above it an upper one or none"
            )
        source = self._values[operation.inputs[0]]
        if cap.low == 0 and cap.high is None and isinstance(source, Affine) and is_population(source) and source.terms[0].source:
            return source  # activations are not negative
        return self._activated(operation, Rectified(None if cap.high is None else cap.high - cap.low), cap.low)

    def _activated(self, operation: Operation, activation: Activation, low: float) -> Affine:
        """Take an activation of values above ``low``; of a max pooling, before the pooling: it never falls, so the order does not matter."""
        source = self._values[operation.inputs[0]]
        value = source.value if isinstance(source, Largest) else source
        above = affine.shifted(torch.full(value.shape, -low, dtype=torch.float64), value) if low else value
        returned = None if operation.returned is None else operation.returned - low
        name = self._names[operation.inputs[0]]
        if isinstance(source, Largest):
            fired = self.populations.fire_apart(Driven(name, above, activation))
            fired = settled(Largest(source.name, fired, source.windows, source.shape), self._pooling, self.populations, returned)
        else:
            fired = self.populations.fire_apart(Driven(name if name != "?" else operation.name, above, activation, returned))
        return affine.shifted(torch.full(fired.shape, low, dtype=torch.float64), fired) if low else fired

    def _average(self, operation: Operation, axes: int) -> Affine:
        value = self._image(operation, axes)
        layer = average_of(operation, axes)
        return self._measured(operation) if layer is None else affine.average(operation.name, layer.kernel, layer.stride, value)

    def _largest(self, operation: Operation, axes: int) -> Affine | Largest:
        value = self._image(operation, axes)
        image = image_of(value.shape)
        assert image is not None
        windows, behind = windows_of(operation, image, axes)
        largest = Largest(operation.name, value, windows, behind if axes == 2 else (behind[0], behind[2]))
        return settled(largest, self._pooling, self.populations, operation.returned) if is_settled(largest) else largest

    def _image(self, operation: Operation, axes: int) -> Affine:
        value = self.value(operation.inputs[0])
        if len(value.shape) != axes + 1:
            needed = "(channels, height, width)" if axes == 2 else "(channels, length)"
            raise ConversionError(
                f"layer {operation.name!r}: {kind_of(operation)} needs {needed}, but a sample has shape {value.shape}"
            )
        return value

    def _joined(self, operation: Operation) -> Affine:
        stacked = kind_of(operation) == "stack"
        given = arguments_of(operation, tensors=None, dim=operation.keywords.get("axis", 0), axis=0)
        pieces, returned = given["tensors"], operation.returned
        if not all(isinstance(each, Taken) for each in pieces):
            raise ConversionError(
                f"layer {operation.name!r}: {kind_of(operation)} with a constant; only values of the network are joined"
            )
        values = [self.value(operation.inputs[each.index]) for each in pieces]
        axis = int(given["dim"])
        axis = axis if axis >= 0 else axis + len(values[0].shape) + 1 + stacked
        if axis == 0 or returned is None:
            raise ConversionError(
                f"layer {operation.name!r}: {kind_of(operation)} along axis 0 joins samples; use axis 1 for channels"
            )
        if stacked:
            values = [affine.reshaped((*each.shape[: axis - 1], 1, *each.shape[axis - 1 :]), each) for each in values]
        return affine.joined(operation.name, values, axis - 1)

    def _added(self, operation: Operation, factor: float) -> Affine:
        one, other = (self.value(operation.inputs[each.index]) for each in operation.arguments[:2])
        factor *= float(operation.keywords.get("alpha", 1))
        if operation.returned is not None:
            shape = tuple(operation.returned.shape[1:])
            one, other = self._stretched(operation, shape, one), self._stretched(operation, shape, other)
        return affine.added(one, other, operation.name, factor)

    def _stretched(self, operation: Operation, shape: tuple[int, ...], value: Affine) -> Affine:
        """Return a value of the shape of a sum, where it has one of another."""
        if value.shape == shape:
            return value
        if len(value.shape) != len(shape):
            raise ConversionError(
                f"layer {operation.name!r}: {kind_of(operation)} of samples of the shapes {value.shape} and {shape}; use one shape"
            )
        rows, _, _ = affine.measured(operation.name, lambda x: x.expand(len(x), *shape), value.shape)
        return affine.through(operation.name, rows, None, shape, value)

    def _each(self, operation: Operation) -> Affine:
        """Take one gain and one shift of each number."""
        value = self.value(operation.inputs[0])
        shift, top = (self._called(operation, torch.full((1, *value.shape), level, dtype=torch.float64)) for level in (0.0, 1.0))
        if tuple(shift.shape[1:]) != value.shape or len(shift) != 1 or not bool(torch.isfinite(torch.stack([shift, top])).all()):
            return self._measured(operation)
        shift, gain = shift[0], (top - shift)[0]
        if operation.given is not None:
            self._compare(operation, operation.given.double() * gain + shift)
        scaled = value if bool((gain == 1).all()) else affine.scaled(operation.name, gain, value)
        return affine.shifted(shift, scaled) if bool(shift.any()) else scaled

    def _measured(self, operation: Operation) -> Affine:
        value = self.value(operation.inputs[0])
        if len(operation.inputs) > 1:
            raise ConversionError(
                f"layer {operation.name!r}: {kind_of(operation)} of {len(operation.inputs)} values that depend on the sample; spikes only add, so products of "
                "activations are not taken"
            )
        if operation.returned is not None and (operation.returned.dim() < 2 or len(operation.returned) != len(operation.values[0])):
            raise _mixed(operation)
        rows, constant, shape = affine.measured(operation.name, lambda x: self._called(operation, x), value.shape)
        if operation.given is not None:
            flat = torch.from_numpy(np.ascontiguousarray((rows @ operation.given.double().flatten(1).numpy().T).T)) + constant
            self._compare(operation, flat.reshape(-1, *shape))
        return affine.through(operation.name, rows, constant if bool(constant.any()) else None, shape, value)

    @staticmethod
    def _called(operation: Operation, x: Tensor) -> Tensor:
        assert operation.call is not None
        try:
            found: Any = operation.call(x)
        except Exception as error:  # torch's functions may raise anything
            raise ConversionError(
                f"layer {operation.name!r}: {_call(operation)} does not run on other samples ({one_line(error)})"
            ) from error
        if not isinstance(found, Tensor) or found.dim() < 2 or len(found) != len(x):
            raise _mixed(operation)
        return found

    @staticmethod
    def _compare(operation: Operation, ours: Tensor) -> None:
        """Refuse an operation that gave something else on the samples than its matrix does."""
        theirs = operation.returned
        if theirs is None:
            return
        if theirs.shape != ours.shape or not bool((theirs.double() - ours).abs().max() <= _TOLERANCE * theirs.abs().max()):
            raise _mixed(operation)


def _mixed(operation: Operation) -> ConversionError:
    return ConversionError(
        f"layer {operation.name!r}: {_call(operation)} mixes samples, or is no sum of a sample's values with fixed weights; nothing on the chip does this"
    )


def _call(operation: Operation) -> str:
    arguments = ", ".join(map(str, operation.arguments[1:]))
    return f"{kind_of(operation)}({arguments})" if isinstance(operation.what, str) else kind_of(operation)
