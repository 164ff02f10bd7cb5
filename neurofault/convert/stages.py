"""From a torch module to a chain of linear stages, each a convolution or a matrix and an activation.

Everything that is linear and has no neurons of its own is composed into the stage's weights exactly: batch normalisation,
average pooling (before or after a layer), flattening. What cannot become spiking is refused by the name of its layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neurofault.arrays import not_finite
from neurofault.convert.endings import without_ending
from neurofault.convert.running import same_values
from neurofault.convert.tracing import KNOWN, Operation, Traced, kind_of
from neurofault.errors import ConversionError
from neurofault.zoo import RateCurve

_ACCEPTED = "Linear, Conv2d, BatchNorm1d/2d, AvgPool2d, Flatten, ReLU, RateCurve, Dropout, Identity"

_REPLACEMENTS: Mapping[str, str] = {
    "MaxPool2d": "AvgPool2d, or a Conv2d with stride 2",
    "AdaptiveAvgPool2d": "AvgPool2d with an explicit kernel size",
    "Sigmoid": "ReLU",
    "Tanh": "ReLU",
    "GELU": "ReLU",
    "SiLU": "ReLU",
    "ELU": "ReLU",
    "LeakyReLU": "ReLU",
    "PReLU": "ReLU",
    "Softmax": "nothing: the largest score is read without it, so remove it",
    "LogSoftmax": "nothing: the largest score is read without it, so remove it",
    "LayerNorm": "BatchNorm1d or BatchNorm2d directly after the Linear or Conv2d",
    "GroupNorm": "BatchNorm2d directly after the Conv2d",
    "softmax": "nothing: the largest score is read without it, so remove it",
    "log_softmax": "nothing: the largest score is read without it, so remove it",
    "max_pool2d": "AvgPool2d, or a Conv2d with stride 2",
    "avg_pool2d": "the module nn.AvgPool2d",
    "linear": "the module nn.Linear",
    "conv2d": "the module nn.Conv2d",
    "batch_norm": "the module nn.BatchNorm1d or nn.BatchNorm2d",
    "argmax": "nothing: return the scores themselves",
}

_SHAPING = (
    "flatten",
    "view",
    "reshape",
    "squeeze",
    "unsqueeze",
    "contiguous",
    "clone",
    "detach",
    "to",
    "float",
    "double",
    "dropout",
    "dropout2d",
)
"""Functions that are taken where they leave a sample's values as they are, in their order."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One linear map and what follows it.

    Attributes:
        name: torch's name of the layer.
        weight: float64 [n_out, n_in] of a matrix or [c_out, c_in/groups, k_h, k_w] of a convolution.
        bias: float64 [n_out] or [c_out], or [c_out, height, width] where it differs from place to place.
        in_shape: of a sample, (n,) or (channels, height, width).
        stride, padding, dilation, groups: of a convolution.
        activation: None for the last stage, else the module (ReLU or RateCurve).
    """

    name: str
    weight: Tensor
    bias: Tensor
    in_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    activation: nn.Module | None = None

    @property
    def is_convolution(self) -> bool:
        """Whether the stage is a convolution."""
        return self.weight.dim() == 4

    def drive(self, x: Tensor) -> Tensor:
        """Return the linear part for ``x`` of shape [N, *in_shape], before the activation."""
        x = x.reshape(-1, *self.in_shape).to(self.weight.dtype)
        if self.is_convolution:
            even = self.bias if self.bias.dim() == 1 else None
            y = functional.conv2d(x, self.weight, even, self.stride, self.padding, self.dilation, self.groups)
            return y if even is not None else y + self.bias
        return functional.linear(x.flatten(1), self.weight, self.bias)

    def biases(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return the bias of each neuron of a population, [n] in C, H, W order."""
        spread = self.bias.reshape(-1, *[1] * (len(shape) - 1)) if self.bias.dim() == 1 else self.bias
        return np.ascontiguousarray(spread.expand(shape).reshape(-1).numpy())


@dataclass(frozen=True)
class _Pool:
    """An average pooling that waits for the linear layer behind it."""

    name: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    in_shape: tuple[int, int, int]

    @property
    def out_shape(self) -> tuple[int, int, int]:
        high, wide = ((self.in_shape[1 + axis] - self.kernel[axis]) // self.stride[axis] + 1 for axis in (0, 1))
        return self.in_shape[0], high, wide


@dataclass(frozen=True, eq=False)
class Walked:
    """The stages of a chain of operations, and what the module itself gives at the end of each.

    Attributes:
        stages: in order.
        answers: output of each stage on the samples, [N, …]; empty where the operations carry no samples.
        dropped: a function at the end that leaves the order of the scores as it is.
    """

    stages: list[Stage]
    answers: list[Tensor]
    dropped: Operation | None


def stages_along(traced: Traced, in_shape: tuple[int, ...]) -> Walked:
    """Return the stages of a chain of operations.

    Args:
        traced: the operations.
        in_shape: of one sample, (channels, height, width) or (n,).

    Raises:
        ConversionError: something in it cannot become spiking, or does not run; the text names the layer and what could replace it.
    """
    kept, dropped = without_ending(traced.chain)
    walk = _Walk(in_shape)
    for operation in kept:
        walk.take(operation)
    if traced.problem is not None:
        raise ConversionError(traced.problem)
    return Walked(walk.finish(), [answer for answer in walk.answers if answer is not None], dropped)


def is_read(operation: Operation) -> bool:
    """Return whether a walk knows an operation, to take or to refuse it by name."""
    if isinstance(operation.what, nn.Module):
        return isinstance(operation.what, KNOWN) or type(operation.what).__module__.startswith("torch.nn")
    return operation.what in _SHAPING or operation.what in _REPLACEMENTS or operation.what.startswith("relu")


class _Walk:
    """The state of one walk along the chain: what is linear so far, and the finished stages."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        self.shape = in_shape
        self.pending: Stage | None = None
        self.pool: _Pool | None = None
        self.done: list[Stage] = []
        self.answers: list[Tensor | None] = []
        self.answer: Tensor | None = None

    def take(self, operation: Operation) -> None:
        name = operation.name
        match operation.what:
            case nn.Linear() as module:
                self._linear(name, module)
            case nn.Conv2d() as module:
                self._convolution(name, module)
            case nn.BatchNorm1d() | nn.BatchNorm2d() as module:
                self._batch_norm(name, module)
            case nn.AvgPool2d() as module:
                self._average_pool(name, module)
            case nn.ReLU() | RateCurve() as module:
                self._activation(name, module)
                self.answers.append(operation.returned)
            case "relu" | "relu_":
                self._activation(name, nn.ReLU())
                self.answers.append(operation.returned)
            case nn.Dropout() | nn.Dropout2d() | nn.Identity():
                pass
            case nn.Flatten():
                self._flatten()
            case str() as function if function in _SHAPING:
                self._reshape(operation, function)
            case _:
                kind = kind_of(operation)
                if (
                    isinstance(operation.what, nn.Module) and kind in _ACCEPTED
                ):  # another class of the same name, such as a quantised one
                    kind = f"{type(operation.what).__module__}.{kind}"
                instead = _REPLACEMENTS.get(kind)
                hint = f"; use {instead}" if instead else f"; layers that can: {_ACCEPTED}"
                raise ConversionError(f"layer {name!r}: {kind} cannot become spiking{hint}")
        self.answer = operation.returned

    def finish(self) -> list[Stage]:
        if self.pending is None or self.pool is not None:
            last = self.done[-1].name if self.done else "?"
            raise ConversionError(
                f"the network ends with an activation or a pooling after layer {last!r}; it must end with a Linear or Conv2d, "
                "whose neurons are read by their potential: remove what follows it"
            )
        self.answers.append(self.answer)
        return [*self.done, self.pending]

    def _reshape(self, operation: Operation, kind: str) -> None:
        """Accept what leaves the values of each sample as they are, in their order."""
        given, returned = operation.given, operation.returned
        if given is None or returned is None or len(given) != len(returned) or not same_values(given, returned):
            if kind.startswith("dropout"):
                raise ConversionError(
                    f"layer {operation.name!r}: {kind} that stays on in eval mode; pass training=self.training, or use nn.Dropout"
                )
            arguments = ", ".join(map(str, operation.arguments))
            raise ConversionError(
                f"layer {operation.name!r}: {kind}({arguments}) is not a flattening: it mixes samples, or changes their values; use Flatten"
            )
        self.shape = tuple(returned.shape[1:])

    def _flatten(self) -> None:
        self.shape = (int(torch.Size(self.shape).numel()),)

    def _linear(self, name: str, module: nn.Linear) -> None:
        weight, bias = _parameters(name, module, module.out_features)
        if self.shape != (module.in_features,):
            raise ConversionError(
                f"layer {name!r}: Linear takes {module.in_features} values, but a sample has shape {self.shape} there"
                + ("; put Flatten before it" if len(self.shape) > 1 else "")
            )
        if self.pool is not None:
            pool, self.pool = self.pool, None
            channels = pool.in_shape[0]
            spread = functional.conv_transpose2d(
                weight.reshape(-1, *pool.out_shape), _box(pool, channels), stride=pool.stride, groups=channels
            )
            rest = [pool.in_shape[1 + axis] - spread.shape[2 + axis] for axis in (0, 1)]
            weight = functional.pad(spread, (0, rest[1], 0, rest[0])).flatten(1)
            self.shape = pool.in_shape
        if self.pending is not None:
            if self.pending.is_convolution:
                raise ConversionError(
                    f"layer {name!r}: Linear directly after the convolution {self.pending.name!r}; put a ReLU between them"
                )
            weight, bias = weight @ self.pending.weight, weight @ self.pending.bias + bias
            self.pending = replace(self.pending, name=name, weight=weight, bias=bias)
        else:
            self.pending = Stage(name, weight, bias, (int(torch.Size(self.shape).numel()),))
        self.shape = (module.out_features,)

    def _convolution(self, name: str, module: nn.Conv2d) -> None:
        weight, bias = _parameters(name, module, module.out_channels)
        padding = _padding(module)
        if module.padding_mode != "zeros" or padding is None:
            raise ConversionError(
                f"layer {name!r}: Conv2d with padding {module.padding!r} ({module.padding_mode}); use zeros, as many on either side"
            )
        if len(self.shape) != 3 or self.shape[0] != module.in_channels:
            raise ConversionError(
                f"layer {name!r}: Conv2d takes {module.in_channels} channels, but a sample has shape {self.shape} there"
            )
        if self.pending is not None:
            raise ConversionError(f"layer {name!r}: Conv2d directly after layer {self.pending.name!r}; put a ReLU between them")
        stride, dilation = _pair(module.stride), _pair(module.dilation)
        in_shape, groups = self.shape, module.groups
        self.pending = Stage(name, weight, bias, in_shape, stride, padding, dilation, groups)
        self.shape = self._out_shape(self.pending)
        if self.pool is not None:
            pool, self.pool = self.pool, None
            ragged = any(
                (pool.in_shape[1 + a] - pool.kernel[a]) % pool.stride[a] or pool.kernel[a] != pool.stride[a] for a in (0, 1)
            )
            if dilation != (1, 1) or (padding != (0, 0) and ragged):
                raise ConversionError(
                    f"layer {name!r}: a dilated or padded Conv2d behind AvgPool2d {pool.name!r} is taken only without dilation and where "
                    "the pool's windows tile its input; use kernel_size = stride that divides the input, or padding 0"
                )
            weight = functional.conv_transpose2d(weight, _box(pool, weight.shape[1]), stride=pool.stride, groups=weight.shape[1])
            self.pending = replace(
                self.pending,
                weight=weight,
                in_shape=pool.in_shape,
                stride=(stride[0] * pool.stride[0], stride[1] * pool.stride[1]),
                padding=(padding[0] * pool.stride[0], padding[1] * pool.stride[1]),
            )

    def _batch_norm(self, name: str, module: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        if self.pending is None or self.pool is not None:
            raise ConversionError(f"layer {name!r}: {type(module).__name__} must stand directly after a Linear or Conv2d")
        if module.running_mean is None or module.running_var is None:
            raise ConversionError(f"layer {name!r}: batch normalisation without running statistics; use track_running_stats=True")
        for what, array in (("running_mean", module.running_mean), ("running_var", module.running_var), *module.named_parameters()):
            _check_finite(name, what, array)
        gain = (module.running_var.double() + module.eps).rsqrt()
        shift = torch.zeros_like(gain)
        if module.affine:
            gain = gain * module.weight.detach().double()
            shift = module.bias.detach().double()
        weight = self.pending.weight * gain.reshape(-1, *[1] * (self.pending.weight.dim() - 1))
        bias = (self.pending.bias - module.running_mean.double()) * gain + shift
        self.pending = replace(self.pending, weight=weight, bias=bias)

    def _average_pool(self, name: str, module: nn.AvgPool2d) -> None:
        kernel = _pair(module.kernel_size)
        stride = _pair(module.stride)
        if _pair(module.padding) != (0, 0) or module.ceil_mode or module.divisor_override:
            raise ConversionError(f"layer {name!r}: AvgPool2d with padding, ceil_mode or divisor_override; use it without")
        if len(self.shape) != 3:
            raise ConversionError(f"layer {name!r}: AvgPool2d needs (channels, height, width), but a sample has shape {self.shape}")
        if self.pool is not None:
            raise ConversionError(f"layer {name!r}: AvgPool2d directly after AvgPool2d {self.pool.name!r}; use one larger pool")
        pool = _Pool(name, kernel, stride, (self.shape[0], self.shape[1], self.shape[2]))
        if self.pending is None:
            self.pool = pool
        else:
            inner = self.pending
            if inner.dilation != (1, 1):
                raise ConversionError(f"layer {name!r}: AvgPool2d directly after a dilated Conv2d; put a ReLU between them")
            box = torch.full((1, 1, *kernel), 1 / (kernel[0] * kernel[1]), dtype=torch.float64)
            flat = inner.weight.reshape(-1, 1, *inner.weight.shape[2:])
            weight = torch.cat([functional.conv_transpose2d(box, row[None], stride=inner.stride) for row in flat])
            self.pending = replace(
                inner,
                weight=weight.reshape(*inner.weight.shape[:2], *weight.shape[2:]),
                stride=(inner.stride[0] * stride[0], inner.stride[1] * stride[1]),
            )
        self.shape = pool.out_shape

    def _activation(self, name: str, module: nn.Module) -> None:
        if self.pending is None or self.pool is not None:
            raise ConversionError(f"layer {name!r}: an activation must stand behind a Linear, Conv2d or batch normalisation")
        self.done.append(replace(self.pending, activation=module))
        self.pending = None

    @staticmethod
    def _out_shape(stage: Stage) -> tuple[int, ...]:
        probe = torch.zeros(1, *stage.in_shape, dtype=stage.weight.dtype)
        try:
            return tuple(stage.drive(probe).shape[1:])
        except RuntimeError as error:
            raise ConversionError(f"layer {stage.name!r}: {error}") from error


def _parameters(name: str, module: nn.Linear | nn.Conv2d, outputs: int) -> tuple[Tensor, Tensor]:
    _check_finite(name, "weight", module.weight)
    weight = module.weight.detach().double()
    if module.bias is None:
        return weight, torch.zeros(outputs, dtype=torch.float64)
    _check_finite(name, "bias", module.bias)
    return weight, module.bias.detach().double()


def _check_finite(name: str, what: str, tensor: Tensor) -> None:
    problem = not_finite(tensor.detach().double().numpy())
    if problem is not None:
        raise ConversionError(f"layer {name!r}: {what}: {problem}; did training diverge?")


def _padding(module: nn.Conv2d) -> tuple[int, int] | None:
    """Return a convolution's (vertical, horizontal) padding; None where it is not the same on either side."""
    match module.padding:
        case "valid":
            return 0, 0
        case "same":
            whole = [dilation * (kernel - 1) for dilation, kernel in zip(_pair(module.dilation), module.kernel_size, strict=True)]
            return None if any(each % 2 for each in whole) else (whole[0] // 2, whole[1] // 2)
        case numbers:
            return _pair(numbers)


def _box(pool: _Pool, channels: int) -> Tensor:
    """Return the depthwise kernel of an average pooling, [channels, 1, k_h, k_w]."""
    return torch.full((channels, 1, *pool.kernel), 1 / (pool.kernel[0] * pool.kernel[1]), dtype=torch.float64)


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, tuple):
        return int(value[0]), int(value[-1])
    return int(value), int(value)  # type: ignore[call-overload]  # torch: an int where it is no tuple
