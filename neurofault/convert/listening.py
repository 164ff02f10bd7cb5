"""What a spiking module does over the steps of its samples: every call of its layers, heard while its own forward runs.

Its neurons' answers may be replaced by random spikes on the way (a *probe*). Then every layer gets a strong and varied input in every step, so that what
happens between the layers shows even in a network that hardly spikes, and each population is still heard under a drive that is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neurofault.convert.running import misplaced_channels, one_line, same_values, undisturbed
from neurofault.convert.tracing import KNOWN
from neurofault.errors import ConversionError
from neurofault.numerals import plural

Form = Literal["one step", "steps first", "samples first"]
"""How forward takes samples: [N, …] (one step, or the same in every step of its own loop), [T, N, …], or [N, T, …]."""

FORMS: tuple[Form, ...] = ("one step", "steps first", "samples first")


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer.

    Attributes:
        name: torch's name of the layer.
        module: the layer.
        given: its first argument.
        answer: what it returned by itself (of a tuple, the first).
        passed: what the caller got: ``answer``, or random spikes in a probe.
        before, after: a neuron's ``mem`` as the call found and left it.
        returned: the spikes that a recurrent neuron was given back in this call; None: it is not recurrent.
    """

    name: str
    module: nn.Module
    given: Tensor
    answer: Tensor
    passed: Tensor
    before: Tensor | None = None
    after: Tensor | None = None
    returned: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """One sample's presentation, from a fresh state.

    Attributes:
        shown: [K, N, …], what was shown in each of the K steps that forward took.
        calls: of all layers, in order.
        returned: what forward returned, once for each time that it was called.
    """

    shown: Tensor
    calls: list[LayerCall]
    returned: list[Any]


def listen(
    model: nn.Module,
    is_neuron: Callable[[nn.Module], bool],
    samples: Tensor,
    form: Form,
    *,
    probe: torch.Generator | None = None,
) -> list[Run]:
    """Run a module on samples.

    Args:
        model: the module; left as it was.
        is_neuron: which of its modules are neurons, whose ``mem`` (and ``syn``) is cleared first.
        samples: [T, N, …].
        form: how forward takes them. Of ``one step``, a forward that loops by itself sees the first step's; one that does not is called T times.
        probe: random spikes in the place of each neuron's answer, from this generator; None: its own.

    Returns:
        One run; or one for each call of a forward of one step that clears the state itself.

    Raises:
        ConversionError: whatever forward raises, as one line; or a number of steps that depends on the data.
    """
    calls: list[LayerCall] = []
    ends: list[int] = []
    returned: list[Any] = []
    with undisturbed(model), _hearing(model, is_neuron, calls, probe):
        try:
            match form:
                case "steps first":
                    returned.append(model(samples.clone()))
                case "samples first":
                    returned.append(model(samples.transpose(0, 1).contiguous()))
                case "one step":
                    returned.append(model(samples[0].clone()))
                    ends.append(len(calls))
                    if _steps(calls, is_neuron) == 1:
                        for each in samples[1:]:
                            returned.append(model(each.clone()))
                            ends.append(len(calls))
        except Exception as error:  # the user's own forward may raise anything
            shape, said = tuple(samples.shape[2:]), one_line(error)
            raise ConversionError(
                f"the network does not run on a sample of shape {shape} ({misplaced_channels(model, shape, said) or said})"
            ) from error
    if form != "one step":
        steps = min(_steps(calls, is_neuron), len(samples))
        return [Run(samples[:steps], calls, returned)]
    if len(ends) == 1:
        steps = _steps(calls, is_neuron)
        return [Run(samples[:1].expand(steps, *samples.shape[1:]), calls, returned)]
    pieces = [calls[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    if any(len(piece) != len(pieces[0]) for piece in pieces):
        raise ConversionError(
            "which layers the network calls depends on the data or on the number of calls; only a chain of layers is taken"
        )
    if _clears(pieces[0], pieces[1:2]):
        return [Run(samples[k : k + 1], piece, [answer]) for k, (piece, answer) in enumerate(zip(pieces, returned, strict=True))]
    return [Run(samples, calls, returned)]


def of_module(calls: Sequence[LayerCall], module: nn.Module) -> list[LayerCall]:
    """Return the calls of one module."""
    return [call for call in calls if call.module is module]


def _steps(calls: Sequence[LayerCall], is_neuron: Callable[[nn.Module], bool]) -> int:
    """Return how often each population was called.

    Raises:
        ConversionError: some were called more often than others.
    """
    counts = Counter(call.name for call in calls if is_neuron(call.module))
    if len(set(counts.values())) > 1:
        (least, few), (most, many) = min(counts.items(), key=lambda each: each[1]), max(counts.items(), key=lambda each: each[1])
        raise ConversionError(
            f"layer {most!r} is called {plural(many, 'time')}, layer {least!r} {plural(few, 'time')}; each population is called once a step: give each its own module"
        )
    return next(iter(counts.values()), 1)


def _clears(first: Sequence[LayerCall], second: Sequence[Sequence[LayerCall]]) -> bool:
    """Return whether forward clears the neurons' states at its start."""
    found = {call.name: call.before for piece in second for call in piece if call.before is not None}
    left = [call.name for call in first if call.after is not None and bool(torch.any(call.after != 0))]
    return bool(left) and not any(bool(torch.any(found[name] != 0)) for name in left)


@contextmanager
def _hearing(
    model: nn.Module, is_neuron: Callable[[nn.Module], bool], calls: list[LayerCall], probe: torch.Generator | None
) -> Iterator[None]:
    """Note every call of a layer: a neuron, a layer that may have parametrizations inside, or another module without children."""
    whole = {module for module in model.modules() if is_neuron(module) or isinstance(module, KNOWN)}
    inside = {child for module in whole for child in module.modules() if child is not module}
    leaves = [
        (name, module)
        for name, module in model.named_modules()
        if module not in inside and (module in whole or not list(module.children()))
    ]
    for module in model.modules():
        if is_neuron(module):
            for field, state in module.named_buffers(recurse=False):
                if field in ("mem", "syn", "spk"):
                    setattr(module, field, torch.zeros(0, dtype=state.dtype))
    found: list[tuple[Tensor, Tensor | None]] = []

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state = kwargs.get("mem", args[-1] if len(args) > 1 else None)
        mem = _copy(state if isinstance(state, Tensor) else module.get_buffer("mem"))
        found.append(
            (mem, _given_back(module, args, kwargs) if isinstance(getattr(module, "recurrent", None), nn.Module) else None)
        )

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            given = args[0] if args else next(iter(kwargs.values()))
            answer = output[0] if isinstance(output, tuple) else output
            if not isinstance(given, Tensor) or not isinstance(answer, Tensor):
                raise TypeError(
                    f"layer {name!r} takes a {type(given).__name__} and returns a {type(answer).__name__}; tensors are taken"
                )
            before = after = returned = None
            passed = answer
            if is_neuron(module):
                (before, returned), after = found.pop(), _copy(module.get_buffer("mem"))
                if returned is not None and returned.shape != given.shape:
                    returned = torch.zeros_like(given)  # as snnTorch starts
                if probe is not None:
                    passed = (torch.rand(answer.shape, generator=probe) < 0.5).to(answer.dtype)
            kept = _copy(answer)
            calls.append(
                LayerCall(name, module, _copy(given), kept, kept if passed is answer else _copy(passed), before, after, returned)
            )
            return None if passed is answer else (passed, *output[1:]) if isinstance(output, tuple) else passed

        return hook

    handles = [module.register_forward_hook(leave(name), with_kwargs=True) for name, module in leaves]
    handles += [module.register_forward_pre_hook(enter, with_kwargs=True) for _, module in leaves if is_neuron(module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _given_back(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the spikes that a call of a recurrent neuron takes as its own of the step before."""
    spikes = kwargs.get("spk", args[1] if len(args) > 1 else None)
    return _copy(spikes if isinstance(spikes, Tensor) else module.get_buffer("spk"))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def one_step(calls: Sequence[LayerCall], is_neuron: Callable[[nn.Module], bool]) -> list[LayerCall]:
    """Return the calls of one step, in the order of the chain.

    A forward may loop over the steps around all layers, or over each layer's steps in turn; layers that hold no state may be used several times in a step,
    or once for all steps.
    """
    first: dict[nn.Module, int] = {}
    for index, call in enumerate(calls):
        if is_neuron(call.module):
            first.setdefault(call.module, index)
    if not first:
        return list(calls)
    begin, last = min(first.values()), max(first.values())
    head, behind = list(calls[:begin]), list(calls[last + 1 :])
    chain = [call for index, call in enumerate(calls[: last + 1]) if not is_neuron(call.module) or first[call.module] == index]
    again = next((index for index, call in enumerate(behind) if is_neuron(call.module)), None)
    tail = behind if again is None else behind[:again]
    modules = [call.module for call in head]
    if again is not None and modules and [call.module for call in tail[-len(modules) :]] == modules:
        tail = tail[: -len(modules)]
    if again is not None and not tail:  # what follows the last loop
        stop = max(index for index, call in enumerate(behind) if is_neuron(call.module))
        tail = behind[stop + 1 :]
    return [*chain, *tail]


def check_flow(chain: Sequence[LayerCall], run: Run, is_neuron: Callable[[nn.Module], bool]) -> None:
    """Compare what each layer takes with what the layer before it returned, in every step.

    Layers that are called once for all steps are left to the comparison of drives.

    Raises:
        ConversionError: the first layer that takes something else.
    """
    steps = _steps(run.calls, is_neuron)
    used = Counter(call.module for call in chain)
    met: Counter[nn.Module] = Counter()
    before: tuple[str, list[LayerCall]] | None = None
    for call in chain:
        every = of_module(run.calls, call.module)
        own = every[met[call.module] :: used[call.module]] if len(every) == steps * used[call.module] else []
        met[call.module] += 1
        if before is not None and own and before[1]:
            for step, (one, two) in enumerate(zip(before[1], own, strict=True)):
                if not same_values(one.passed, two.given):
                    raise ConversionError(
                        f"layer {call.name!r} does not take what layer {before[0]!r} returns (step {step + 1}): a branch, a recurrence, or something between "
                        "them, in place (h += a, h *= c) or a view that reorders (transpose); only a chain of layers is taken, so write functions as modules "
                        "(nn.AvgPool2d, nn.Flatten)"
                    )
        before = call.name, own
