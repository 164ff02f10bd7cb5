"""From a torch module to a chain of linear stages, each a convolution or a matrix and an activation.

Everything that is linear and has no neurons of its own is composed into the stage's weights exactly: batch normalisation,
average pooling (before or after a layer), flattening. What cannot become spiking is refused by the name of its layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

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
}


@dataclass(frozen=True, eq=False)
class Stage:
    """One linear map and what follows it.

    Attributes:
        name: torch's name of the layer.
        weight: float64 [n_out, n_in] of a matrix or [c_out, c_in/groups, k_h, k_w] of a convolution.
        bias: float64 [n_out] or [c_out].
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
            return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return functional.linear(x.flatten(1), self.weight, self.bias)


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


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, RateCurve) or super().is_leaf_module(module, qualified_name)


def stages_of(model: nn.Module, in_shape: tuple[int, ...]) -> list[Stage]:
    """Return the stages of a feed-forward module.

    Args:
        model: a torch module whose graph is a chain; it is read in eval mode and left as it was.
        in_shape: of one sample, (channels, height, width) or (n,).

    Raises:
        ConversionError: something in it cannot become spiking; the text names the layer and what could replace it.
    """
    walk = _Walk(in_shape)
    for name, operation, arguments in _chain(model):
        walk.take(name, operation, arguments)
    return walk.finish()


Operation = tuple[str, nn.Module | str, tuple[object, ...]]


def _chain(model: nn.Module) -> list[Operation]:
    """Trace the module into (name, module or function name, further arguments) in order."""
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # torch.fx raises whatever the user's forward raises under symbolic values
        raise ConversionError(
            f"the module's forward cannot be traced ({type(error).__name__}: {error}); "
            "write it without branches that depend on the data"
        ) from error
    modules = dict(model.named_modules())
    chain: list[Operation] = []
    tensor: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if tensor is not None:
                raise ConversionError(f"the module takes a second input {node.target!r}; networks with one input are taken")
            tensor = node
            continue
        if node.op == "output":
            if node.args[0] is not tensor:
                raise ConversionError("the module returns something other than its last layer's tensor; return that alone")
            break
        inputs = node.all_input_nodes
        if inputs != [tensor]:
            raise ConversionError(
                f"layer {node.name!r}: joins or branches ({len(inputs)} inputs); only a chain of layers is taken, "
                "so rewrite skip connections as a chain"
            )
        if node.op == "call_module":
            chain.append((str(node.target), modules[str(node.target)], ()))
        else:
            target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
            chain.append((node.name, str(target), tuple(node.args[1:])))
        tensor = node
    return chain


class _Walk:
    """The state of one walk along the chain: what is linear so far, and the finished stages."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        self.shape = in_shape
        self.pending: Stage | None = None
        self.pool: _Pool | None = None
        self.done: list[Stage] = []

    def take(self, name: str, operation: nn.Module | str, arguments: tuple[object, ...]) -> None:
        match operation:
            case nn.Linear():
                self._linear(name, operation)
            case nn.Conv2d():
                self._convolution(name, operation)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                self._batch_norm(name, operation)
            case nn.AvgPool2d():
                self._average_pool(name, operation)
            case nn.ReLU() | RateCurve():
                self._activation(name, operation)
            case "relu" | "relu_":
                self._activation(name, nn.ReLU())
            case nn.Dropout() | nn.Dropout2d() | nn.Identity() | "dropout" | "contiguous":
                pass
            case nn.Flatten():
                self._flatten()
            case "flatten" | "view" | "reshape":
                self._reshape(name, str(operation), arguments)
            case _:
                kind = operation if isinstance(operation, str) else type(operation).__name__
                instead = _REPLACEMENTS.get(kind)
                hint = f"; use {instead}" if instead else f"; layers that can: {_ACCEPTED}"
                raise ConversionError(f"layer {name!r}: {kind} cannot become spiking{hint}")

    def finish(self) -> list[Stage]:
        if self.pending is None or self.pool is not None:
            last = self.done[-1].name if self.done else "?"
            raise ConversionError(
                f"the network ends with an activation or a pooling after layer {last!r}; it must end with a Linear or Conv2d, "
                "whose neurons are read by their potential: remove what follows it"
            )
        return [*self.done, self.pending]

    def _reshape(self, name: str, kind: str, arguments: tuple[object, ...]) -> None:
        """Accept what flattens a sample; ``x.view(n, -1)`` cannot be told from other shapes, so the layer behind it checks."""
        if kind != "flatten" and (len(arguments) != 2 or arguments[1] != -1):
            raise ConversionError(f"layer {name!r}: {kind}{arguments} is not a flattening; use Flatten")
        self._flatten()

    def _flatten(self) -> None:
        self.shape = (int(torch.Size(self.shape).numel()),)

    def _linear(self, name: str, module: nn.Linear) -> None:
        weight, bias = _parameters(module, module.out_features)
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
        weight, bias = _parameters(module, module.out_channels)
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise ConversionError(
                f"layer {name!r}: Conv2d with padding {module.padding!r} ({module.padding_mode}); use zeros and numbers"
            )
        if len(self.shape) != 3 or self.shape[0] != module.in_channels:
            raise ConversionError(
                f"layer {name!r}: Conv2d takes {module.in_channels} channels, but a sample has shape {self.shape} there"
            )
        if self.pending is not None:
            raise ConversionError(f"layer {name!r}: Conv2d directly after layer {self.pending.name!r}; put a ReLU between them")
        stride, padding, dilation = _pair(module.stride), _pair(module.padding), _pair(module.dilation)
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


def _parameters(module: nn.Linear | nn.Conv2d, outputs: int) -> tuple[Tensor, Tensor]:
    weight = module.weight.detach().double()
    bias = torch.zeros(outputs, dtype=torch.float64) if module.bias is None else module.bias.detach().double()
    return weight, bias


def _box(pool: _Pool, channels: int) -> Tensor:
    """Return the depthwise kernel of an average pooling, [channels, 1, k_h, k_w]."""
    return torch.full((channels, 1, *pool.kernel), 1 / (pool.kernel[0] * pool.kernel[1]), dtype=torch.float64)


def _pair(value: object) -> tuple[int, int]:
    if isinstance(value, tuple):
        return int(value[0]), int(value[-1])
    return int(value), int(value)  # type: ignore[call-overload]  # torch: an int where it is no tuple
