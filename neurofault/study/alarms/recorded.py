"""What the exact engine records of the neurons that are watched: their spikes and potentials, step by step, a few samples at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.numerals import plural

_ROOM = 128 << 20
"""Bytes of traces that are held at a time."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Some neurons of a run, step by step.

    Attributes:
        neurons: population → int64 [k], which of its neurons, rising.
        spikes: population → bool [N, T, k].
        v: of populations whose potentials are recorded, int32 [N, T, k].
        predictions: int64 [N], the class that is answered.
    """

    neurons: Mapping[str, NDArray[np.int64]]
    spikes: Mapping[str, NDArray[np.bool_]]
    v: Mapping[str, NDArray[np.int32]]
    predictions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.predictions)

    def column(self, population: str, neuron: int) -> int:
        """Return the place of a neuron among those that are recorded."""
        return int(np.searchsorted(self.neurons[population], neuron))

    def windows(self, window: int) -> int:
        """Return how many whole windows of W samples there are.

        Raises:
            UsageError: not one.
        """
        if len(self) < window:
            raise UsageError(f"a window of {plural(window, 'sample')} is longer than the data: {plural(len(self), 'sample')}")
        return len(self) // window

    def taken(self, samples: NDArray[np.integer]) -> Recorded:
        """Return some samples, by number, in this order."""
        spikes, v = ({name: own[samples] for name, own in part.items()} for part in (self.spikes, self.v))
        return Recorded(self.neurons, spikes, v, self.predictions[samples])

    def after(self, other: Recorded, sample: int) -> Recorded:
        """Return the first samples of another run of the same samples, and this one from a sample on."""
        return Recorded(
            self.neurons,
            {name: np.concatenate([other.spikes[name][:sample], own[sample:]]) for name, own in self.spikes.items()},
            {name: np.concatenate([other.v[name][:sample], own[sample:]]) for name, own in self.v.items()},
            np.concatenate([other.predictions[:sample], self.predictions[sample:]]),
        )


def in_windows(trace: NDArray[np.generic], window: int) -> NDArray[np.generic]:
    """Return a trace, [N, T, k], window by window: [⌊N / W⌋, W·T, k]."""
    samples, steps, neurons = trace.shape
    return trace[: samples // window * window].reshape(samples // window, window * steps, neurons)


def parts(
    chip: Deployment,
    inputs: Inputs,
    neurons: Mapping[str, NDArray[np.int64]],
    potentials: Collection[str],
    window: int = 1,
    threads: int | None = None,
) -> Iterator[Recorded]:
    """Yield a run, some whole windows at a time.

    Args:
        chip: healthy or broken.
        inputs: N samples.
        neurons: population → int64 [k], those to record, rising.
        potentials: populations whose potentials are recorded too.
        window: W; parts are multiples of it, but the last.
        threads: worker threads; None: one for each usable core.
    """
    width = sum(one.size for one in chip.populations) * (5 if potentials else 1)
    each = max(1, _ROOM // (width * chip.timesteps * window)) * window
    engine = ExactEngine(threads)
    for start in range(0, len(inputs), each):
        run = engine.run(chip, inputs[start : start + each], record=("spikes", "v") if potentials else ("spikes",))
        spikes, v = {}, {}
        for name, which in neurons.items():
            traces = run.traces[name]
            assert traces.spikes is not None
            spikes[name] = traces.spikes[:, :, which]
            if name in potentials:
                assert traces.v is not None
                v[name] = traces.v[:, :, which]
        yield Recorded(neurons, spikes, v, run.predictions)


def recorded(
    chip: Deployment,
    inputs: Inputs,
    neurons: Mapping[str, NDArray[np.int64]],
    potentials: Collection[str] = (),
    threads: int | None = None,
) -> Recorded:
    """Return a run of all samples; arguments as of :func:`parts`."""
    return joined(list(parts(chip, inputs, neurons, potentials, 1, threads)))


def joined(runs: Sequence[Recorded]) -> Recorded:
    """Return runs of the same neurons as one, one after the other."""
    first = runs[0]
    return Recorded(
        first.neurons,
        {name: np.concatenate([one.spikes[name] for one in runs]) for name in first.spikes},
        {name: np.concatenate([one.v[name] for one in runs]) for name in first.v},
        np.concatenate([one.predictions for one in runs]),
    )
