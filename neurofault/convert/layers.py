"""Layers as numbers, whether they are modules or calls: the arguments of a call by name, a convolution's kernel, the windows of a max pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurofault.arrays import not_finite
from neurofault.convert.maps import Convolution, Image, Pair
from neurofault.convert.tracing import Operation, Taken, kind_of
from neurofault.errors import ConversionError


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A dense layer: float64 weight [n_out, n_in], bias [n_out]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """A convolution of ``axes`` dimensions with its bias [c_out]; ``layer`` is None where zero padding alone does not say what it does."""

    layer: Convolution | None
    bias: Tensor
    channels: int
    axes: int


@dataclass(frozen=True, eq=False)
class NormLayer:
    """A batch normalisation with fixed statistics: (x − mean) · gain + shift, float64 [channels] each."""

    mean: Tensor
    gain: Tensor
    shift: Tensor


@dataclass(frozen=True)
class AverageLayer:
    """An average pooling without padding."""

    kernel: Pair
    stride: Pair


@dataclass(frozen=True)
class CapLayer:
    """min(max(x, low), high); ``high`` None: no upper end."""

    low: float
    high: float | None


def arguments_of(operation: Operation, **named: Any) -> dict[str, Any]:
    """Return the arguments of a call by name, with the defaults that are given, in order.

    Raises:
        ConversionError: more arguments than these, or one of them is computed from the sample where only the first may be.
    """
    names = list(named)
    if len(operation.arguments) > len(names) or not set(operation.keywords) <= set(names):
        raise ConversionError(f"layer {operation.name!r}: {kind_of(operation)} with arguments that are not known here")
    found = named | dict(zip(names, operation.arguments, strict=False)) | dict(operation.keywords)
    if any(isinstance(found[name], Taken) for name in names[1:]):
        raise ConversionError(
            f"layer {operation.name!r}: {kind_of(operation)} of two values that both depend on the sample; spikes only add, so products of activations are not taken"
        )
    return found


def finite(name: str, what: str, tensor: Tensor) -> Tensor:
    """Return numbers of a layer in float64.

    Raises:
        ConversionError: some are not finite.
    """
    problem = not_finite(tensor.detach().double().numpy())
    if problem is not None:
        raise ConversionError(f"layer {name!r}: {what}: {problem}; did training diverge?")
    return tensor.detach().double()


def _biases(name: str, bias: Tensor | None, outputs: int) -> Tensor:
    return torch.zeros(outputs, dtype=torch.float64) if bias is None else finite(name, "bias", bias)


def linear_of(operation: Operation) -> LinearLayer:
    """Return a Linear module, or a call of ``linear``."""
    if isinstance(operation.what, nn.Linear):
        weight, bias = operation.what.weight, operation.what.bias
    else:
        given = arguments_of(operation, input=None, weight=None, bias=None)
        weight, bias = given["weight"], given["bias"]
    own = finite(operation.name, "weight", weight)
    return LinearLayer(own, _biases(operation.name, bias, len(own)))


def conv_of(operation: Operation) -> ConvLayer:
    """Return a Conv1d or Conv2d module, or a call of ``conv1d`` or ``conv2d``."""
    what = operation.what
    if isinstance(what, nn.Conv1d | nn.Conv2d):
        given: Mapping[str, Any] = {
            "weight": what.weight, "bias": what.bias, "stride": what.stride, "padding": what.padding, "dilation": what.dilation, "groups": what.groups,
        }  # fmt: skip
        zeros = what.padding_mode == "zeros"
    else:
        given = arguments_of(operation, input=None, weight=None, bias=None, stride=1, padding=0, dilation=1, groups=1)
        zeros = True
    weight = finite(operation.name, "weight", given["weight"])
    bias = _biases(operation.name, given["bias"], len(weight))
    channels, axes = weight.shape[1] * given["groups"], weight.dim() - 2
    stride, dilation = _sizes(given["stride"], axes), _sizes(given["dilation"], axes)
    if axes == 1:
        weight = weight.unsqueeze(2)
    padding, weight = _padding(given["padding"], axes, dilation, weight)
    layer = Convolution(weight, stride, padding, dilation, given["groups"]) if zeros and padding is not None else None
    return ConvLayer(layer, bias, channels, axes)


def _sizes(value: Any, axes: int) -> Pair:
    """Return (vertical, horizontal) of an argument that is one number, or one for each axis."""
    numbers = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(numbers) == 1:
        numbers = (1, numbers[0]) if axes == 1 else numbers * 2
    return int(numbers[0]), int(numbers[1])


def _padding(padding: Any, axes: int, dilation: Pair, weight: Tensor) -> tuple[Pair | None, Tensor]:
    """Return a convolution's padding, the same on either side, and its kernel, in front of which zeros make an uneven one even; None if they cannot."""
    if padding == "valid":
        return (0, 0), weight
    if padding != "same":
        numbers = (padding,) * axes if isinstance(padding, int) else tuple(padding)
        return ((0, int(numbers[0])) if axes == 1 else (int(numbers[0]), int(numbers[-1]))), weight
    whole = [dilation[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1)]
    if any(whole[axis] % 2 and dilation[axis] != 1 for axis in (0, 1)):
        return None, weight
    if any(each % 2 for each in whole):
        weight = functional.pad(weight, (whole[1] % 2, 0, whole[0] % 2, 0))
    return ((whole[0] + 1) // 2, (whole[1] + 1) // 2), weight


def norm_of(operation: Operation) -> NormLayer:
    """Return a BatchNorm module, or a call of ``batch_norm``."""
    what, name = operation.what, operation.name
    if isinstance(what, nn.BatchNorm1d | nn.BatchNorm2d):
        mean, variance, weight, bias, eps = what.running_mean, what.running_var, what.weight, what.bias, what.eps
    else:
        given = arguments_of(
            operation,
            input=None,
            running_mean=None,
            running_var=None,
            weight=None,
            bias=None,
            training=False,
            momentum=0.1,
            eps=1e-5,
        )
        mean, variance, weight, bias, eps = (given[each] for each in ("running_mean", "running_var", "weight", "bias", "eps"))
        if given["training"]:
            mean = None
    if mean is None or variance is None:
        raise ConversionError(f"layer {name!r}: batch normalisation without running statistics; use track_running_stats=True")
    mean, gain = finite(name, "running_mean", mean), (finite(name, "running_var", variance) + eps).rsqrt()
    if weight is not None:
        gain = gain * finite(name, "weight", weight)
    return NormLayer(mean, gain, torch.zeros_like(gain) if bias is None else finite(name, "bias", bias))


def average_of(operation: Operation, axes: int) -> AverageLayer | None:
    """Return an average pooling, module or call; None where it has padding, a divisor of its own or an incomplete window."""
    names = {
        "input": None,
        "kernel_size": None,
        "stride": None,
        "padding": 0,
        "ceil_mode": False,
        "count_include_pad": True,
        "divisor_override": None,
    }
    if isinstance(operation.what, nn.Module):
        given = {name: operation.what.__dict__.get(name, default) for name, default in names.items()}
    else:
        given = arguments_of(operation, **names)
    if (
        _sizes(given["padding"], axes)[1]
        or _sizes(given["padding"], axes)[0] * (axes == 2)
        or given["ceil_mode"]
        or given["divisor_override"]
    ):
        return None
    kernel = _sizes(given["kernel_size"], axes)
    return AverageLayer(kernel, kernel if given["stride"] in (None, (), []) else _sizes(given["stride"], axes))


def cap_of(operation: Operation) -> CapLayer | None:
    """Return ReLU, ReLU6, Hardtanh or clamp, module or call; None where a bound is not one number below another, or the lower one is missing."""
    what = operation.what
    if isinstance(what, nn.ReLU) or what in ("relu", "relu_"):
        return CapLayer(0.0, None)
    if what == "relu6":
        return CapLayer(0.0, 6.0)
    if isinstance(what, nn.Hardtanh):
        low, high = what.min_val, what.max_val
    elif what in ("hardtanh", "hardtanh_"):
        given = arguments_of(operation, input=None, min_val=-1.0, max_val=1.0, inplace=False)
        low, high = given["min_val"], given["max_val"]
    else:
        given = arguments_of(operation, input=None, min=None, max=None)
        low, high = given["min"], given["max"]
    if not isinstance(low, int | float) or not isinstance(high, int | float | None) or (high is not None and high <= low):
        return None
    return CapLayer(float(low), None if high is None else float(high))


def windows_of(operation: Operation, image: Image, axes: int) -> tuple[NDArray[np.int64], Image]:
    """Return which values of an image each value of a max pooling is the largest of.

    Args:
        operation: max pooling, plain or adaptive, module or call.
        image: (channels, height, width) of what it takes.
        axes: 1 or 2 dimensions.

    Returns:
        int64 [n_out, k], flat places in the image, some of them more than once in a window that is smaller than others; and the shape of what it gives.

    Raises:
        ConversionError: it returns the places too.
    """
    names = {
        "input": None, "kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False,
    }  # fmt: skip
    adaptive = "daptive" in kind_of(operation)
    if adaptive:
        names = {"input": None, "output_size": None, "return_indices": False}
    if isinstance(operation.what, nn.Module):
        given = {name: operation.what.__dict__.get(name, default) for name, default in names.items()}
    else:
        given = arguments_of(operation, **names)
    if given["return_indices"]:
        raise ConversionError(f"layer {operation.name!r}: max pooling that returns places; use return_indices=False")
    along = []
    for axis in (0, 1):
        size = image[1 + axis]
        if axes == 1 and axis == 0:
            along.append([[0]])
        elif adaptive:
            wanted = (
                given["output_size"]
                if isinstance(given["output_size"], int | None)
                else given["output_size"][axis if axes == 2 else 0]
            )
            count = size if wanted is None else int(wanted)
            along.append([list(range(i * size // count, -(-(i + 1) * size // count))) for i in range(count)])
        else:
            kernel, dilation, padding = (_sizes(given[each], axes)[axis] for each in ("kernel_size", "dilation", "padding"))
            stride = kernel if given["stride"] in (None, (), []) else _sizes(given["stride"], axes)[axis]
            along.append(_windows(size, kernel, stride, padding, dilation, ceil=bool(given["ceil_mode"])))
    rows, columns = (_even(each) for each in along)
    places = rows[:, None, :, None] * image[2] + columns[None, :, None, :]
    spatial = places.reshape(len(rows) * len(columns), -1)
    every = np.arange(image[0])[:, None, None] * (image[1] * image[2]) + spatial[None]
    return every.reshape(-1, spatial.shape[1]), (image[0], len(rows), len(columns))


def _windows(size: int, kernel: int, stride: int, padding: int, dilation: int, *, ceil: bool) -> list[list[int]]:
    reach = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-reach // stride) if ceil else reach // stride) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    inside = [[i * stride + j * dilation - padding for j in range(kernel)] for i in range(count)]
    return [[place for place in window if 0 <= place < size] for window in inside]


def _even(windows: list[list[int]]) -> NDArray[np.int64]:
    """Return windows with equally many places each, the last one again where one has fewer."""
    most = max(len(window) for window in windows)
    return np.asarray([window + window[-1:] * (most - len(window)) for window in windows], np.int64)
