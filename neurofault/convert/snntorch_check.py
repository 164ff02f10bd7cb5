"""The check of a converted snnTorch chain beside its own runs: what each population got and gave, and what forward returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurofault.convert.asked import PixelCoding
from neurofault.convert.check import Heard, check_neurons, check_spikes
from neurofault.convert.endings import same_order
from neurofault.convert.listening import LayerCall, Run, of_module
from neurofault.convert.running import same_values
from neurofault.convert.spiking_layers import SILENT, sum_of_windows, windows_of
from neurofault.convert.spiking_neurons import SpikingNeurons
from neurofault.errors import ConversionError
from neurofault.graph import CubaLif, Network, Population, Source
from neurofault.numerals import plural


def check_network(
    network: Network, neurons: Mapping[str, SpikingNeurons], chain: Sequence[LayerCall], run: Run, coding: PixelCoding | None
) -> None:
    """Compare the network with a run of the module."""
    populations = [(call, neurons[call.name]) for call in chain if call.name in neurons]
    last, silenced = populations[-1][0], network.readout.how == "potential"
    heard, used, met = list[Heard](), Counter(call.module for call in chain), Counter[nn.Module]()
    for call in chain:
        own = of_module(run.calls, call.module)[met[call.module] :: used[call.module]]
        met[call.module] += 1
        if isinstance(call.module, nn.MaxPool2d):
            heard.append(_pooled(call, own, len(run.shown)))
        elif call.name in neurons:
            heard.append(_neurons(call.name, neurons[call.name], own, read=not (call is last and silenced)))
    shown, full_rate = run.shown.flatten(2), 1.0 if coding is None else coding.full_rate
    if len(heard) == len(network.populations):  # neurons at the very front: the input population
        front, heard = heard[0], heard[1:]
        check_neurons(*_front(network.populations[0], populations[0][1]), front)
        assert front.gave is not None
        shown, full_rate = front.gave.flatten(2), 1.0
    ending = _ending(chain, neurons, run)
    if ending is not None:
        heard.append(Heard(chain[-1].name, ending))
    check_spikes(network, shown, heard, full_rate=full_rate)
    call, neuron = populations[-1]
    if isinstance((pool := _last(chain)).module, nn.MaxPool2d):
        call, neuron = pool, SpikingNeurons(0.5)
    spikes = torch.stack([each.passed for each in of_module(run.calls, call.module)])
    how = network.readout.how
    if ending is not None:
        _check_returned(chain[-1].name, run, [(ending, ending.flatten(2).sum(0))])
    elif how == "count":
        _check_returned(call.name, run, [(spikes, spikes.flatten(2).sum(0))])
    elif neuron.threshold is None or how != "potential":
        potentials = torch.stack([_potential(each) for each in of_module(run.calls, call.module)])
        counted = (spikes, spikes.flatten(2).sum(0))  # a forward that hands spikes on leaves the reading to who asked for it
        _check_returned(call.name, run, [counted, (potentials, _read(potentials.flatten(2), how))])


def _neurons(name: str, neuron: SpikingNeurons, calls: Sequence[LayerCall], *, read: bool) -> Heard:
    """Return what a population got and gave in each step; ``read``: its spikes count."""
    drive, fires = torch.stack([each.given for each in calls]), neuron.threshold is not None
    back = None
    if neuron.recurrent is not None:
        back = _given_back(name, calls)
        recurrent: Any = calls[0].module.recurrent
        drive = drive + torch.stack([recurrent(each).detach() for each in back])
    return Heard(
        name,
        drive,
        torch.stack([each.passed for each in calls]),
        torch.stack([_spikes(name, each.answer) for each in calls]) if fires and read else None,
        torch.stack([_potential(each) for each in calls]) if read or not fires else None,
        back,
    )


def _given_back(name: str, calls: Sequence[LayerCall]) -> Tensor:
    """Return the spikes that came back to a recurrent population in each step, [K, N, …].

    Raises:
        ConversionError: they are not its own of the step before.
    """
    found, before = [], [torch.zeros_like(calls[0].answer)] * 2
    for step, call in enumerate(calls):
        if call.returned is None or not any(same_values(call.returned, one) for one in before):
            raise ConversionError(
                f"layer {name!r} does not get its own spikes of the step before back (step {step + 1}); pass what it returned to its next call, or use "
                "init_hidden=True"
            )
        found.append(call.returned)
        before = [call.answer, call.passed]
    return torch.stack(found)


def _pooled(call: LayerCall, calls: Sequence[LayerCall], steps: int) -> Heard:
    """Return what a max pooling of spikes got, the sum over each window, and gave, in each step."""
    if len(calls) != steps:
        raise ConversionError(
            f"layer {call.name!r} is called {plural(len(calls), 'time')} in {plural(steps, 'step')}; call it in each"
        )
    pool = windows_of(call.name, call.module)
    sums = sum_of_windows(pool, call.given.shape[1]).to(call.given.dtype)
    drive = torch.stack([sums(each.given).detach() for each in calls])
    gave = torch.stack([each.answer for each in calls])
    return Heard(call.name, drive, gave, gave != 0)


def _front(inputs: Population, neuron: SpikingNeurons) -> tuple[int, CubaLif]:
    """Return how many neurons stand at the input, and what they do under a given current."""
    assert isinstance(inputs.neuron, Source)
    return inputs.size, CubaLif(neuron.threshold, 0.0, inputs.neuron.du, inputs.neuron.dv)


def _spikes(name: str, answer: Tensor) -> Tensor:
    if not torch.all((answer == 0) | (answer == 1)):
        raise ConversionError(
            f"layer {name!r} gives {float(answer.max()):.4g} for a spike; spikes are 0 or 1: a hook, or a class that changes them?"
        )
    return answer != 0


def _potential(call: LayerCall) -> Tensor:
    assert call.after is not None
    return call.after


def _last(chain: Sequence[LayerCall]) -> LayerCall:
    """Return the last layer that computes."""
    return next(call for call in reversed(chain) if not isinstance(call.module, SILENT))


def _ending(chain: Sequence[LayerCall], neurons: Mapping[str, SpikingNeurons], run: Run) -> Tensor | None:
    """Return what the layers behind the last neurons give in each step, [K, N, n]; None if there are none.

    Raises:
        ConversionError: they are called neither in each step nor for all steps at once.
    """
    computes = _last(chain)
    if computes.name in neurons or isinstance(computes.module, nn.MaxPool2d):
        return None
    steps, count = run.shown.shape[:2]
    last = chain[-1]
    calls = of_module(run.calls, last.module)
    used = Counter(call.module for call in chain)[last.module]
    if len(calls) == steps * used:
        return torch.stack([call.answer for call in calls[used - 1 :: used]]).flatten(2)
    answer = calls[-1].answer
    match tuple(answer.shape[:2]):
        case (first, second) if (first, second) == (steps, count):
            return answer.flatten(2)
        case (first, second) if (first, second) == (count, steps):
            return answer.transpose(0, 1).flatten(2)
        case (first, *_) if first == steps * count:
            return answer.reshape(steps, count, -1)
        case _:
            raise ConversionError(
                f"layer {last.name!r} is called {plural(len(calls), 'time')} in {plural(steps, 'step')}; a layer behind the last neurons is read by the sum of its output over "
                "the steps, so call it in each"
            )


def _read(potentials: Tensor, how: str) -> Tensor:
    """Return what a readout makes of potentials [K, N, n]."""
    match how:
        case "largest":
            return potentials.amax(0)
        case "mean":
            return potentials.mean(0)
        case _:
            return potentials[-1]


def _check_returned(name: str, run: Run, known: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Refuse a forward that returns nothing of its last layer, nor scores in its order.

    Args:
        name: of the last layer.
        run: with what forward returned.
        known: spikes, outputs or potentials [K, N, …], and what is read of them, [N, n].
    """
    found = [tensor.detach() for returned in run.returned for tensor in _tensors(returned)]
    if not any(_is_of(tensor.to(steps.dtype), steps.flatten(2), answer) for tensor in found for steps, answer in known):
        raise ConversionError(
            f"forward returns neither what its last layer {name!r} gives in a step or in all, nor scores in the order that is read from the chip (sums of "
            "spikes; potentials at the end): something changes them (argmax, a group of neurons for each class, a sign, another order), or it is potentials of "
            "neurons that fire, or their largest or mean over time: then say readout="
        )


def _is_of(tensor: Tensor, steps: Tensor, answer: Tensor) -> bool:
    """Return whether a tensor shows all the steps [K, N, n], one of them, or scores in the order of the answer [N, n]."""
    if tensor.numel() == steps.numel() and any(
        torch.equal(tensor.reshape(-1), steps.permute(order).reshape(-1)) for order in ((0, 1, 2), (1, 0, 2), (1, 2, 0))
    ):
        return True
    if tensor.numel() != answer.numel() or len(tensor) != len(answer):
        return False
    scores = tensor.reshape(answer.shape)
    return any(torch.equal(each, scores) for each in steps) or (
        same_order(answer, scores) and bool(torch.any(answer != answer[:, :1]))
    )


def _tensors(value: object) -> Iterator[Tensor]:
    match value:
        case Tensor():
            yield value
        case dict():
            for each in value.values():
                yield from _tensors(each)
        case tuple() | list():
            if value and all(isinstance(each, Tensor) for each in value) and len({each.shape for each in value}) == 1:
                yield torch.stack(list(value))
            for each in value:
                yield from _tensors(each)
        case _:
            return
