"""States of runs that start or end within a sample: checks, windows of samples, and joining what batches leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.sample_layout import SampleLayout
from neurofault.errors import UsageError
from neurofault.inputs import Inputs, State
from neurofault.numerals import plural

_Kind = TypeVar("_Kind", bound=np.generic)


def checked(deployment: Deployment, samples: int, state: State | None, stop: int | None) -> range:
    """Return which of the T steps a run is of.

    Raises:
        UsageError: there are none, or the state is not of this chip and these samples.
    """
    first, steps = 0 if state is None else state.step, deployment.timesteps
    last = steps if stop is None else stop
    if deployment.reset == "never":
        first, samples = first % steps, 1
    if not 0 <= first < steps:
        raise UsageError(f"the state is that after step {first}, but a sample has {plural(steps, 'step')}: nothing is left to run")
    if not first < last <= steps:
        raise UsageError(f"stop is {last}; allowed: {first + 1} to {steps}")
    if state is None:
        return range(first, last)
    for what, held in (("u", state.u), ("v", state.v)):
        for population in deployment.populations:
            shape = np.shape(held[population.name]) if population.name in held else None
            if shape != (samples, population.size):
                said = "lacks it" if shape is None else f"has the shape {shape}"
                raise UsageError(
                    f"the state's {what} of population {population.name!r} {said}, but {plural(samples, 'sample needs', 'samples need')} {(samples, population.size)}"
                )
    for population in deployment.populations:
        for what in population.law.states:
            held_own = state.own.get(population.name, {})
            shape = np.shape(held_own[what]) if what in held_own else None
            if shape != (samples, population.size):
                said = "lacks it" if shape is None else f"has the shape {shape}"
                raise UsageError(
                    f"the state's own {what!r} of population {population.name!r}: it {said}, but {plural(samples, 'sample needs', 'samples need')} "
                    f"{(samples, population.size)}"
                )
    for name, flying in state.flying.items():
        size = deployment.population(deployment.connection(name).source).size
        if flying.ndim != 3 or (len(flying), flying.shape[2]) != (samples, size):
            raise UsageError(
                f"the state's spikes on connection {name!r} have the shape {flying.shape}, but {plural(samples, 'sample needs', 'samples need')} [{samples}, steps, {size}]"
            )
    if state.counts is not None and state.counts.shape != (samples, deployment.output.size):
        raise UsageError(
            f"the state's counts have the shape {state.counts.shape}, but {plural(samples, 'sample needs', 'samples need')} {(samples, deployment.output.size)}"
        )
    shape = None if state.read is None else state.read.shape
    if first and not deployment.readout.usual and shape != (samples, deployment.output.size):
        said = "lacks it" if shape is None else f"has the shape {shape}"
        raise UsageError(
            f"the state's read of the readout {deployment.output.name!r}: it {said}, but {plural(samples, 'sample needs', 'samples need')} "
            f"{(samples, deployment.output.size)}"
        )
    return range(first, last)


def follows(deployment: Deployment, inputs: Inputs, state: State | None, stop: int | None) -> Inputs:
    """Return the samples of a stream, counted on from where a state stands.

    Raises:
        UsageError: they do not follow it, or a run of several samples starts or ends within one.
    """
    steps = deployment.timesteps
    within = state is not None and 0 < state.step < steps
    if len(inputs) != 1 and (within or stop not in (None, steps)):
        raise UsageError(
            f"a run of a stream (reset: never) that starts or ends within a sample is of that sample alone, not of {len(inputs)}"
        )
    if state is None:
        return inputs
    expected = state.sample if within else state.sample + 1
    if inputs.first_sample not in (0, expected):
        raise UsageError(
            f"the state is that after step {state.step} of sample {state.sample}, so sample {expected} comes next, not {inputs.first_sample}"
        )
    return inputs.counted_from(expected)


def laid_out(deployment: Deployment, inputs: Inputs, steps: range, known: int) -> tuple[SampleLayout, range]:
    """Return how the samples of a run lie in its arrays, and which steps there are run.

    Args:
        deployment: the chip.
        inputs: what is presented.
        steps: from which step of the first sample up to which of the last.
        known: steps before the run whose spikes may still be on their way; of a stream they have their place in the arrays.
    """
    first, samples, each = inputs.first_sample, len(inputs), deployment.timesteps
    if deployment.reset == "sample":
        return SampleLayout(first, samples, each, stream=False), steps
    before = min(-(-max(0, known - steps.start) // each), first)
    last = (before + samples - 1) * each
    return SampleLayout(first - before, before + samples, each, stream=True, cleared=False), range(
        before * each + steps.start, last + steps.stop
    )


def window_of(state: State, window: slice) -> State:
    """Return the state of some samples."""
    return State(
        state.step,
        {name: own[window] for name, own in state.u.items()},
        {name: own[window] for name, own in state.v.items()},
        {name: own[window] for name, own in state.flying.items()},
        None if state.counts is None else state.counts[window],
        own={name: {what: held[window] for what, held in own.items()} for name, own in state.own.items()},
        read=None if state.read is None else state.read[window],
    )


def joined_states(parts: Sequence[State]) -> State | None:
    """Put the states of batches one after the other; None: there are none."""
    if not parts:
        return None
    return State(
        parts[0].step,
        _joined([part.u for part in parts]),
        _joined([part.v for part in parts]),
        _joined([part.flying for part in parts]),
        np.concatenate([part.counts for part in parts if part.counts is not None]),
        own={name: _joined([part.own[name] for part in parts]) for name in parts[0].own},
        read=None if parts[0].read is None else np.concatenate([part.read for part in parts if part.read is not None]),
    )


def _joined(parts: Sequence[Mapping[str, NDArray[_Kind]]]) -> dict[str, NDArray[_Kind]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
