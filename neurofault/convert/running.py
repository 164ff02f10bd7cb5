"""Running somebody's torch module without leaving a trace in it, and reporting what its forward raises as one line."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

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
        shape = tuple(samples.shape[1:])
        raise ConversionError(f"the module does not run on samples of shape {shape} ({one_line(error)})") from error
