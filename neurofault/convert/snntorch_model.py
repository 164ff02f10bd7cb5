"""`from_snntorch`: a trained snnTorch network becomes a :class:`SpikingNetwork`.

What snnTorch 1.0 computes in a step, and what the chip does with it (``Leaky``: ``snntorch/_neurons/leaky.py``, ``Synaptic``: ``synaptic.py``):

- ``Leaky``, reset ``zero``: ``mem ← β·mem·(1 − reset) + input``, spike where ``mem > threshold``: the chip's neuron with ``du`` 4095 and ``dv`` =
  round(4096·(1 − β)). With ``reset_delay`` (snnTorch's default) ``mem`` is shown before it is reset and is zero one step later; the spikes
  are the same with and without.
- ``Synaptic``, reset ``zero``, ``reset_delay=False``: ``syn ← α·syn + input``, ``mem ← β·mem + syn``: ``du`` = round(4096·(1 − α)) − 1.
  With ``reset_delay=True`` snnTorch also clears what arrives in the step after a spike, a dead time that the chip's neuron has not: refused.
- reset ``subtract`` keeps what is above the threshold; the chip resets to zero: refused. Reset ``none`` is taken for the last
  layer, which is then read by its potential.

snnTorch usually shows the image itself to the first Linear at each step. On the chip that layer sits behind input neurons that spike, so the
drive is a spike train of the same mean (:class:`neurofault.convert.chain.PixelCoding`). A network that is trained on
spikes takes them as they are with ``coding=None`` and ``Inputs(events=…)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from neurofault.convert.chain import Neuron, Operation, PixelCoding, current_decay, membrane_decay, network_of
from neurofault.errors import ConversionError, UnsupportedError
from neurofault.network import Readout, SpikingNetwork

_STATE = ("mem", "syn")


def is_snntorch(model: nn.Module) -> bool:
    """Return whether a module holds snnTorch neurons (without importing snnTorch)."""
    return any(type(module).__module__.partition(".")[0] == "snntorch" for module in model.modules())


def from_snntorch(
    model: nn.Module,
    in_shape: Sequence[int],
    *,
    timesteps: int,
    name: str = "snntorch",
    coding: PixelCoding | None = PixelCoding(),  # noqa: B008  (frozen)
    readout: Readout | None = None,
) -> SpikingNetwork:
    """Convert a feed-forward snnTorch network.

    The module is called once in eval mode with a sample, and the order in which its layers are called is the chain: ``nn.Sequential`` with
    ``init_hidden=True`` and classes whose ``forward`` loops over the steps are both taken. Layers: Leaky, Synaptic; Linear, Conv2d,
    BatchNorm, AvgPool2d, Flatten, Dropout, Identity. Its parameters, states and mode are left as they were.

    Args:
        model: the module.
        in_shape: of one sample in one step, (n,) or (channels, height, width).
        timesteps: T, steps that a sample will be shown, at least 1.
        name: for display.
        coding: how pixels in [0, 1] become spikes; None: the network takes ``Inputs(events=…)``.
        readout: ``count`` (spikes of the last layer; the default where it fires) or ``potential`` (its ``mem`` at the end; it then never fires).

    Raises:
        ConversionError: something in it has no counterpart on the chip; the text names the layer.
        UnsupportedError: snnTorch is not installed.
    """
    try:
        import snntorch
    except ImportError as error:
        raise UnsupportedError("snnTorch is not installed; pip install 'neurofault[snntorch]'") from error
    shape = tuple(int(size) for size in in_shape)
    chain: list[tuple[str, Operation]] = []
    calls = _calls(model, shape, timesteps)
    for index, (each, module) in enumerate(calls):
        last = all(not _computes(later) for _, later in calls[index + 1 :])
        match module:
            case snntorch.Leaky() | snntorch.Synaptic():
                chain.append((each, _neuron(each, module, last=last)))
            case _ if _is_neuron(module):
                raise ConversionError(
                    f"layer {each!r}: {type(module).__name__} neurons have no counterpart on the chip; taken: Leaky, Synaptic"
                )
            case _:
                chain.append((each, module))
    if not any(isinstance(operation, Neuron) for _, operation in chain):
        raise ConversionError(f"network {name!r} holds no snnTorch neurons; use from_torch")
    return network_of(name, chain, shape, timesteps=timesteps, coding=coding, readout=readout)


def _is_neuron(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "snntorch"


def _computes(module: nn.Module) -> bool:
    return not isinstance(module, nn.Flatten | nn.Dropout | nn.Dropout2d | nn.Identity)


def _neuron(name: str, module: Any, *, last: bool) -> Neuron:
    """Return a Leaky or Synaptic module as the chip's neuron."""
    kind = type(module).__name__
    if module.inhibition:
        raise ConversionError(
            f"layer {name!r}: {kind} with inhibition lets one neuron of the layer fire; the chip's neurons do not see each other"
        )
    if module.state_quant:
        raise ConversionError(f"layer {name!r}: {kind} with state_quant has another state grid than the chip; convert without it")
    if not torch.all(module.graded_spikes_factor == 1):
        raise ConversionError(
            f"layer {name!r}: {kind} with graded_spikes_factor: spikes are 0 or 1 here; fold the factor into the next layer's weights"
        )
    reset = module.reset_mechanism
    if reset == "subtract" or (reset == "none" and not last):
        raise ConversionError(
            f"layer {name!r}: {kind} with reset_mechanism {reset!r}; the chip's neuron resets to zero: train with reset_mechanism='zero'"
        )
    synaptic = hasattr(module, "alpha")
    if synaptic and reset == "zero" and module.reset_delay:
        raise ConversionError(
            f"layer {name!r}: {kind} with reset_delay=True also clears what arrives in the step after a spike, which the chip's neuron does not; "
            "use reset_delay=False"
        )
    du = current_decay(name, _array(module.alpha)) if synaptic else 4095
    threshold = None if reset == "none" else _array(module.threshold)
    return Neuron(threshold, du, membrane_decay(_array(module.beta)))


def _array(value: Tensor) -> Any:
    return value.detach().cpu().double().numpy()


def _calls(model: nn.Module, shape: tuple[int, ...], timesteps: int) -> list[tuple[str, nn.Module]]:
    """Run the module on one sample and return its layers in the order of their first calls.

    Raises:
        ConversionError: it takes no such sample, or something happens between the layers.
    """
    problem: Exception | None = None
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    for sample in ((1, *shape), (timesteps, 1, *shape)):
        seen: list[tuple[str, nn.Module, Tensor, Tensor]] = []
        try:
            with _listening(model, seen), torch.no_grad():
                model(torch.rand(sample, generator=torch.Generator().manual_seed(0), dtype=dtype))
        except Exception as error:  # the user's own forward may raise anything; the other shape is tried, then it is reported
            problem = problem or error
            continue
        return _one_step(seen)
    assert problem is not None
    raise ConversionError(
        f"the network does not run on a sample of shape {shape} ({type(problem).__name__}: {' '.join(str(problem).split())})"
    ) from problem


@contextmanager
def _listening(model: nn.Module, seen: list[tuple[str, nn.Module, Tensor, Tensor]]) -> Iterator[None]:
    """Note every call of a leaf module; mode and neuron states are as before afterwards."""
    leaves = [(name, module) for name, module in model.named_modules() if _is_neuron(module) or not list(module.children())]
    was_training = {module: module.training for module in model.modules()}
    states = [
        (module, field, getattr(module, field))
        for _, module in leaves
        for field in _STATE
        if _is_neuron(module) and hasattr(module, field)
    ]
    for module, field, value in states:
        setattr(module, field, torch.zeros_like(value[:0]) if value.dim() else torch.zeros(0))

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            seen.append((name, module, inputs[0], output[0] if isinstance(output, tuple) else output))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in leaves]
    try:
        model.eval()
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in was_training.items():
            module.training = training
        for module, field, value in states:
            setattr(module, field, value)


def _one_step(seen: Sequence[tuple[str, nn.Module, Tensor, Tensor]]) -> list[tuple[str, nn.Module]]:
    """Return the calls of the first step; each must take exactly what the call before gave."""
    chain: list[tuple[str, nn.Module]] = []
    before: Tensor | None = None
    for name, module, given, returned in seen:
        if chain and module is chain[0][1]:
            break
        if before is not None and not (given.data_ptr() == before.data_ptr() and given.numel() == before.numel()):
            raise ConversionError(
                f"layer {name!r} does not take what layer {chain[-1][0]!r} returns: a branch, or a function between them; "
                "only a chain of layers is taken, so write functions as modules (nn.AvgPool2d, nn.Flatten)"
            )
        chain.append((name, module))
        before = returned
    if not chain:
        raise ConversionError("the network has no layers")
    return chain
