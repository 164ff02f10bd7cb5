"""A batch of samples through the populations of a chip on a device: outside loops what arrives in all steps is summed at once, in loops step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import RunSheet
from neurofault.engines.on_torch.neurons import NeuronTensors
from neurofault.engines.on_torch.products import ConnectionSums, connection_sums, wrap32
from neurofault.inputs import Bias, Inputs, Spikes


@dataclass(frozen=True, eq=False)
class ChipTensors:
    """Some populations of a chip on a device, permanent damage applied.

    Attributes:
        deployment: the chip.
        device: torch's.
        islands: the populations that run, in order.
        given: populations outside of these that drive them.
        neurons: by population.
        into: the connections into each population that runs.
    """

    deployment: Deployment
    device: torch.device
    islands: Sequence[tuple[str, ...]]
    given: Sequence[str]
    neurons: Mapping[str, NeuronTensors]
    into: Mapping[str, Sequence[ConnectionSums]]

    @classmethod
    def of(cls, deployment: Deployment, part: Collection[str], device: torch.device) -> ChipTensors:
        """Lay some populations out, all of a loop or none."""
        given = tuple({one.source: None for one in deployment.connections if one.target in part and one.source not in part})
        neurons = {
            name: NeuronTensors.of(population, deployment.damage.silent(name, population.size), device)
            for name, population in ((name, deployment.population(name)) for name in (*part, *given))
        }
        into = {name: [connection_sums(deployment, one, device) for one in deployment.into(name)] for name in part}
        islands = [island for island in deployment.schedule.islands if island[0] in part]
        return cls(deployment, device, islands, given, neurons, into)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Compute without gradients, and without the narrower types that a caller may have switched on."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


def run_batch(
    chip: ChipTensors, inputs: Inputs, sheet: RunSheet, kept: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.bool_]]]:
    """Run a batch of samples through all populations and fill the results in.

    Args:
        chip: what runs.
        inputs: the batch, S samples.
        sheet: filled in; what stood there is written over.
        kept: int64 [k], samples of the batch whose spikes are wanted.

    Returns:
        For each population that runs its spike counts, int64 [n], and the spikes of the kept samples, bool [k, T, n].
    """
    readout, last_use = chip.deployment.readout, _last_use(chip)
    chosen = torch.from_numpy(kept).to(chip.device)
    sent = {name: _events(inputs.of(name), chip.neurons[name], chip.device) for name in chip.given}
    counts, seen = dict[str, NDArray[np.int64]](), dict[str, NDArray[np.bool_]]()
    sheet.sample_spikes[:] = 0
    for place, island in enumerate(chip.islands):
        _run_island(chip, island, inputs, sent, sheet)
        for name in island:
            own = sent[name]
            counts[name] = own.sum(dim=(0, 1)).cpu().numpy()
            seen[name] = own[chosen].cpu().numpy()
            sheet.sample_spikes[:] += own.sum(dim=(1, 2)).cpu().numpy()
            spikes = sheet.traces[name].spikes
            if spikes is not None:
                spikes[:] = own.cpu().numpy()
            if name == readout.population:
                steps = readout.steps(chip.deployment.timesteps)
                sheet.output_counts[:] = own[:, steps.start : steps.stop].sum(dim=1).cpu().numpy()
        for name in [name for name in sent if last_use.get(name, -1) <= place]:
            del sent[name]
    return counts, seen


def _last_use(chip: ChipTensors) -> dict[str, int]:
    """Return the last island that each population drives; those that drive none are not there."""
    return {one.source: place for place, island in enumerate(chip.islands) for name in island for one in chip.into[name]}


def _events(spikes: Bias | Spikes, own: NeuronTensors, device: torch.device) -> Tensor:
    """Return given spikes, bool [S, T, n]; silent neurons send none."""
    assert isinstance(spikes, Spikes)
    shape, here = (len(spikes), spikes.timesteps, spikes.size), slice(int(spikes.starts[0]), int(spikes.starts[-1]))
    row = np.repeat(np.arange(len(spikes)), np.diff(spikes.starts)) * spikes.timesteps + spikes.steps[here]
    places = torch.from_numpy(row * spikes.size + spikes.neurons[here])
    sent = torch.zeros(shape[0] * shape[1] * shape[2], dtype=torch.bool, device=device)
    sent[places.to(device)] = True
    return sent.reshape(shape).masked_fill(own.silent, False)


def _run_island(chip: ChipTensors, island: tuple[str, ...], inputs: Inputs, sent: dict[str, Tensor], sheet: RunSheet) -> None:
    """Run the populations of an island; write their spikes to ``sent``."""
    first = chip.deployment.population(island[0])
    presented = inputs.of(first.name) if first.is_source else None
    if isinstance(presented, Spikes):  # what is driven from outside is in no loop
        sent[first.name] = _events(presented, chip.neurons[first.name], chip.device)
        return
    cells = [_Cell(chip, name, island, inputs, sent, sheet) for name in island]
    for cell in cells:
        sent[cell.own.name] = cell.sent
    for step in range(chip.deployment.timesteps):
        for cell in cells:
            cell.step(step, sent)
    for cell in cells:
        cell.write(sheet)


class _Cell:
    """A population in a run of S samples.

    Attributes:
        own: the population.
        sent: bool [S, T, n], its spikes.
    """

    def __init__(
        self, chip: ChipTensors, name: str, island: Collection[str], inputs: Inputs, sent: Mapping[str, Tensor], sheet: RunSheet
    ) -> None:
        self.own = chip.neurons[name]
        own, samples, steps = self.own, len(inputs), chip.deployment.timesteps
        presented = inputs.of(name) if chip.deployment.population(name).is_source else None
        self._bias = own.given_bias(presented.mantissa) if isinstance(presented, Bias) else own.bias
        self._inside = [one for one in chip.into[name] if one.source in island]
        self._outside = _arriving(own.size, [one for one in chip.into[name] if one.source not in island], sent)
        self._u = torch.zeros((samples, own.size), dtype=torch.int64, device=chip.device)
        self._v = own.start.expand(samples, own.size)
        self._waiting = None if own.refractory is None else torch.zeros_like(self._u)
        self.sent = torch.zeros((samples, steps, own.size), dtype=torch.bool, device=chip.device)
        traces, readout = sheet.traces[name], chip.deployment.readout
        self._u_trace, self._v_trace = (
            None if array is None else torch.zeros(array.shape, dtype=torch.int32, device=chip.device)
            for array in (traces.u, traces.v)
        )
        self._how, self._steps = readout.how, readout.steps(steps) if name == readout.population else None
        self._read = torch.zeros_like(self._u)

    def step(self, step: int, sent: Mapping[str, Tensor]) -> None:
        """Run one step; write the spikes that leave."""
        own = self.own
        drive = torch.zeros_like(self._u) if self._outside is None else self._outside[:, step].to(torch.int64)
        for one in self._inside:
            for late, products in one.products:
                if step >= late:
                    drive = drive + one.drive(products, sent[one.source][:, step - late])
        if self._outside is not None or self._inside:
            self._u = own.current(self._u, wrap32(drive))
        self._v, fired, self._waiting = own.fire(self._u, self._v, self._bias, self._waiting)
        self.sent[:, step] = fired
        for state, held in ((self._u, self._u_trace), (self._v, self._v_trace)):
            if held is not None:
                held[:, step] = state
        if self._steps is not None and step in self._steps:
            self._gather(first=step == self._steps.start)

    def _gather(self, *, first: bool) -> None:
        """Add a step that is read to what was read of v, as :func:`neurofault.activity.gather` does."""
        match self._how:
            case "mean":
                self._read = self._read + self._v
            case "largest" if not first:
                self._read = torch.maximum(self._read, self._v)
            case _:
                self._read = self._v

    def write(self, sheet: RunSheet) -> None:
        """Write traces, and what was read of v where this is the readout."""
        trace = sheet.traces[self.own.name]
        for array, held in ((trace.u, self._u_trace), (trace.v, self._v_trace)):
            if array is not None and held is not None:
                array[:] = held.cpu().numpy()
        if self._steps is not None:
            sheet.potential[:] = self._read.cpu().numpy()


def _arriving(size: int, into: Sequence[ConnectionSums], sent: Mapping[str, Tensor]) -> Tensor | None:
    """Return int32 [S, T, n], modulo 2**32: what arrives in each step over connections from populations whose spikes are all there; None: nothing."""
    total: Tensor | None = None
    for one in into:
        spikes = sent[one.source]
        samples, steps, sources = spikes.shape
        if total is None:
            total = torch.zeros((samples, steps, size), dtype=torch.int32, device=spikes.device)
        for late, products in one.products:
            if late < steps:
                arrived = one.drive(products, spikes[:, : steps - late].reshape(-1, sources)).reshape(samples, steps - late, size)
                total[:, late:] = wrap32(total[:, late:].to(torch.int64) + arrived).to(torch.int32)
    return total
