"""Running somebody's torch module without leaving a trace in it, and reporting what its forward raises as one line."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from neurofault.convert.scaled import ShownLevels
from neurofault.errors import ConversionError


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module itself where it is wrapped for several devices (DataParallel) or compiled (torch.compile).

    Raises:
        ConversionError: a scripted module, whose forward cannot be read.
    """
    while True:
        inner = (
            model.module
            if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
            else getattr(model, "_orig_mod", None)
        )
        if not isinstance(inner, nn.Module):
            break
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise ConversionError("a scripted module (torch.jit) cannot be read; pass the module that it was made of")
    return model


def readable(model: nn.Module, *, double: bool = True) -> nn.Module:
    """Return the module in float32 (or float64) on the CPU: itself, or a copy (half and bfloat16 numbers are exact in float32).

    Args:
        model: the module.
        double: float64 is kept.

    Raises:
        ConversionError: it cannot be copied, or has lazy layers that have not seen a sample.
    """
    model = unwrapped(model)
    for name, module in model.named_modules():
        own = (*module._parameters.values(), *module._buffers.values())
        if any(isinstance(each, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer) for each in own):
            raise ConversionError(
                f"layer {name!r}: {type(module).__name__} has no parameters yet; run the module on a sample first"
            )
    tensors = [*model.parameters(), *model.buffers()]
    kept = (torch.float32, torch.float64) if double else (torch.float32,)
    if all(tensor.device.type == "cpu" and tensor.dtype in kept for tensor in tensors if tensor.is_floating_point()):
        return model
    try:
        return copy.deepcopy(model).to("cpu", torch.float32)
    except Exception as error:  # a user's class may refuse to be copied in any way
        raise ConversionError(
            f"the module cannot be copied to float32 on the CPU ({one_line(error)}); pass model.float().cpu()"
        ) from error


def dtype_of(model: nn.Module) -> torch.dtype:
    """Return the type of a module's numbers, that of its samples too; float32 for a module without any."""
    return next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), torch.float32)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluate a module inside: eval mode, no gradients; its modes, parameters and buffers are as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(module, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    tensors = [*model.parameters(), *(buffer for _, _, buffer in buffers if buffer is not None)]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        for module, name, buffer in buffers:
            module._buffers[name] = buffer
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                if not same_values(tensor, value):
                    tensor.copy_(value)


def same_values(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same values in the same order, whatever their shapes; NaN equals NaN."""
    if one.numel() != other.numel():
        return False
    return bool(torch.allclose(one.reshape(-1), other.reshape(-1), rtol=0, atol=0, equal_nan=True))


def one_line(error: BaseException) -> str:
    """Return an exception of somebody's code as one line, its type first."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def answer_of(model: nn.Module, samples: Tensor) -> Any:
    """Return what a module's forward returns.

    Raises:
        ConversionError: whatever it raises, as one line.
    """
    try:
        return model(samples)
    except Exception as error:  # the user's own forward may raise anything
        raise ConversionError(why_it_does_not_run(model, samples, error)) from error


def why_it_does_not_run(model: nn.Module, samples: Tensor, error: Exception) -> str:
    """Return in one line that a module's forward raised on samples [N, …], and what is wrong with these where that is seen."""
    shape = tuple(samples.shape[1:])
    why = misplaced_channels(model, shape, one_line(error)) or one_line(error)
    return f"the module does not run on samples of shape {shape} ({why})"


def misplaced_channels(model: nn.Module, shape: Sequence[int], said: str) -> str | None:
    """Return what is wrong with the axis of channels of a sample, judged by a module's first convolution; None: nothing that is seen.

    >>> misplaced_channels(nn.Conv2d(3, 8, 3), (32, 32, 3), "expected input[2, 32, 32, 3] to have 3 channels")
    'samples are channels first: (3, height, width) was expected, (32, 32, 3) came; np.moveaxis(x, -1, 1) puts the last axis there'
    >>> misplaced_channels(nn.Conv1d(1, 8, 3), (64,), "expected input[1, 2, 64] to have 1 channels")
    'samples have an axis of channels: (1, length) was expected, (64,) came; x[:, None] adds it'

    Args:
        model: the module, whose forward raised.
        shape: of a sample.
        said: what it raised; other exceptions than torch's of channels are not judged.
    """
    if isinstance(model, ShownLevels) and model.lines:
        shape = shape[1:]
    if "channels" not in said:
        return None
    first = next((each for each in model.modules() if isinstance(each, nn.Conv1d | nn.Conv2d)), None)
    if first is None:
        return None
    channels, axes = first.in_channels, ("height", "width") if isinstance(first, nn.Conv2d) else ("length",)
    expected, came = f"({channels}, {', '.join(axes)}) was expected", f"{tuple(shape)} came"
    if channels == 1 and len(shape) == len(axes):
        return f"samples have an axis of channels: {expected}, {came}; x[:, None] adds it"
    if len(shape) != len(axes) + 1 or shape[0] == channels:
        return None
    if shape[-1] == channels:
        return f"samples are channels first: {expected}, {came}; np.moveaxis(x, -1, 1) puts the last axis there"
    return f"samples are channels first: {expected}, {came}"
