"""The check of a converted chain, whose populations may drive themselves: the built network, in float64, beside the original on the same samples, step by step.

Each layer is compared on its own: it gets what the original's layer before it gave, so the first one that differs is the one that is named.

- **Drive.** What reaches a layer's neurons (or its activation) may differ by :data:`TOLERANCE` of the layer's largest value: room for float32, none for
  an operation that was left out.
- **Spikes and potentials.** Under the original's own drive, the built neuron must fire in the same steps and hold the same potential, up to what its
  decays lose when they become 4096ths: |v|/8192 a step, which adds up as the membrane keeps it. Where a potential is nearer to the threshold than that,
  the original's spike is taken over and the comparison goes on.

Only the rounding to integers, which :func:`neurofault.deploy` does, and a pixel's way through spikes are outside of the check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurofault.errors import ConversionError
from neurofault.graph import Conv, CubaLif, Dense, Network, Sparse
from neurofault.graph.synapses import Synapses

TOLERANCE = 1e-3
"""Of a layer's largest value; float32 leaves about 1e-6, a normalisation with a small variance up to 1e-4."""

_ROUNDING = 1e-5
"""Of the largest potential: what float32 leaves in a potential."""

CAUSES = (
    "usual causes: a function or an operation in place between layers (h += a, h *= c), a branch or a recurrence, weights or thresholds that change with "
    "the step, a layer that is used twice, noise, a hook or a parametrization that changes values, a state that forward sets or that outlives a sample"
)


@dataclass(frozen=True, eq=False)
class Heard:
    """What one population of the original got and gave in K steps of N samples.

    Attributes:
        name: the original's name of it.
        drive: [K, N, n], what its neurons got, over their own recurrence too.
        gave: [K, N, n], what the next layer got of it; None for the last.
        fired: bool [K, N, n]; None where it never fires, or where its spikes are not to be compared.
        potential: [K, N, n] after each step, before or after the reset; None where it is not known.
        returned: [K, N, n], the spikes that came back to them over their own recurrence; None: there is none.
    """

    name: str
    drive: Tensor
    gave: Tensor | None = None
    fired: Tensor | None = None
    potential: Tensor | None = None
    returned: Tensor | None = None


def check_activations(names: Sequence[str], ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    """Compare the layers of a network without time.

    Args:
        names: of the layers.
        ours: the output of each as converted, [N, …].
        theirs: the output of each in the original.

    Raises:
        ConversionError: the first layer that differs, by how much.
    """
    for name, one, other in zip(names, ours, theirs, strict=True):
        compare(name, "output", one.flatten(1), other.flatten(1), "")


def check_spikes(network: Network, shown: Tensor, heard: Sequence[Heard], *, full_rate: float = 1.0) -> None:
    """Compare a spiking network with its original in every step.

    Args:
        network: as it was built.
        shown: [K, N, n_in], what the original's first layer got in each step.
        heard: what each population behind the input got and gave, in order.
        full_rate: input spikes a step that stand for 1.0.

    Raises:
        ConversionError: the first layer that differs, in which step, by how much.
    """
    before = shown.double() * full_rate
    for source, population, each in zip(network.populations[:-1], network.populations[1:], heard, strict=True):
        neuron, size, into = population.neuron, population.size, network.into(population.name)
        assert isinstance(neuron, CubaLif)
        synapses = next(one.synapses for one in into if one.source == source.name)
        back = next((one.synapses for one in into if one.source == population.name), None)
        bias = torch.as_tensor(np.broadcast_to(np.asarray(neuron.bias, np.float64), (size,)).copy())
        for step, (spikes, theirs) in enumerate(zip(before, each.drive, strict=True)):
            ours = drive_of(synapses, spikes) + bias
            if back is not None and each.returned is not None:
                ours = ours + drive_of(back, each.returned[step].double().flatten(1))
            compare(each.name, "input to its neurons", ours, theirs.flatten(1), f" in step {step + 1}")
        check_neurons(size, neuron, each)
        if each.gave is not None:
            before = each.gave.double().flatten(2)


def check_neurons(size: int, neuron: CubaLif, heard: Heard) -> None:
    """Compare a population's spikes and potentials under the original's own drive.

    Args:
        size: of the population.
        neuron: as it was built; its bias is part of the drive.
        heard: the original's.

    Raises:
        ConversionError: they differ by more than rounded decays explain.
    """
    if heard.fired is None and heard.potential is None:
        return
    kept_u, lost_u = _decay(np.asarray(neuron.du, np.float64) + 1, size)
    kept_v, lost_v = _decay(np.asarray(neuron.dv, np.float64), size)
    bias = np.broadcast_to(np.asarray(neuron.bias, np.float64), (size,))
    threshold = np.inf if neuron.threshold is None else np.broadcast_to(np.asarray(neuron.threshold, np.float64), (size,))
    drive = heard.drive.flatten(2).double().numpy()
    u, v, error_u, error_v = (np.zeros(drive.shape[1:]) for _ in range(4))
    fired = held = np.zeros(drive.shape[1:], bool)
    for step, given in enumerate(drive):
        if np.any(neuron.refractory):
            held = fired  # readers know of one refractory step
        owed = np.where(fired, threshold, 0.0) if neuron.reset_delay and neuron.reset == "subtract" else 0.0
        error_u = kept_u * error_u + lost_u * np.abs(u) + _ROUNDING * np.abs(given)
        u = kept_u * u + given - bias
        error_v = np.where(held, 0.0, kept_v * error_v + lost_v * np.abs(v) + error_u)
        v = np.where(held, v, kept_v * v - owed + u + bias)
        error_v += _ROUNDING * np.abs(v)
        fired = np.zeros(v.shape, bool) if heard.fired is None else heard.fired[step].flatten(1).numpy()
        near = np.abs(v - threshold) <= error_v + _ROUNDING * np.abs(threshold)
        wrong = (fired != (v > threshold)) & ~near if heard.fired is not None else fired
        if heard.potential is not None:
            theirs = heard.potential[step].flatten(1).double().numpy()
            wrong |= ~fired & ~(np.abs(theirs - v) <= error_v + _ROUNDING)
        if wrong.any():
            sample, which = (int(index) for index in np.argwhere(wrong)[0])
            seen = (
                ""
                if heard.potential is None
                else f" and its potential is {float(heard.potential[step].flatten(1)[sample, which]):.4g}"
            )
            limit = "" if neuron.threshold is None else f" (threshold {float(np.broadcast_to(threshold, v.shape[1:])[which]):.4g})"
            raise ConversionError(
                f"layer {heard.name!r} differs from the original in step {step + 1}: its neuron {which} {_does(fired[sample, which])} there{seen}, while the "
                f"converted one has the potential {v[sample, which]:.4g}{limit}; {int(wrong.sum())} of {wrong.size} differ. {_capital(CAUSES)}"
            )
        if neuron.reset == "zero":
            v, error_v = np.where(fired, 0.0, v), np.where(fired, 0.0, error_v)
        elif neuron.reset == "subtract" and not neuron.reset_delay:
            v = np.where(fired, v - threshold, v)


def _does(fired: bool) -> str:
    return "fires" if fired else "does not fire"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _decay(lost: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fraction that is kept a step, and how far rounding may have moved it: half of a 4096th, a whole one for no memory at all."""
    spread = np.broadcast_to(lost, (size,))
    return 1 - spread / 4096, np.where(spread == 4095, 1.0, 0.5) / 4096


def drive_of(synapses: Synapses, spikes: Tensor) -> Tensor:
    """Return Σ w·s for spikes [N, n_in], float64 [N, n_out]."""
    weight = torch.from_numpy(np.asarray(synapses.weight, np.float64))
    match synapses:
        case Dense():
            return spikes @ weight.T
        case Sparse():
            summed = torch.zeros((len(spikes), synapses.n_out), dtype=torch.float64)
            return summed.index_add_(1, torch.from_numpy(synapses.targets), spikes[:, synapses.sources] * weight)
        case Conv():
            x = spikes.reshape(-1, *synapses.in_shape)
            return functional.conv2d(
                x, weight, None, synapses.stride, synapses.padding, synapses.dilation, synapses.groups
            ).flatten(1)


def compare(name: str, what: str, ours: Tensor, theirs: Tensor, when: str) -> None:
    """Refuse a layer whose values differ, or whose shape does."""
    if ours.shape != theirs.shape:
        raise ConversionError(
            f"layer {name!r} differs from the original: its {what} has {theirs[0].numel()} values a sample there, {ours[0].numel()} as converted; {CAUSES}"
        )
    largest = max(float(theirs.abs().max()), float(ours.abs().max()))
    error = float((ours - theirs.double()).abs().max())
    if not error <= TOLERANCE * largest:
        raise ConversionError(
            f"layer {name!r} differs from the original{when}: its {what} by {error:.3g}, the largest value being {largest:.3g} "
            f"(allowed: {TOLERANCE:g} of it); {CAUSES}"
        )
