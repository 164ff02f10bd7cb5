"""States of runs that start or end within a sample: checks, windows of samples, and joining what batches leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.inputs import State

_Kind = TypeVar("_Kind", bound=np.generic)


def checked(deployment: Deployment, samples: int, state: State | None, stop: int | None) -> range:
    """Return which of the T steps a run is of.

    Raises:
        UsageError: there are none, or the state is not of this chip and these samples.
    """
    first, steps = 0 if state is None else state.step, deployment.timesteps
    last = steps if stop is None else stop
    if not 0 <= first < steps:
        raise UsageError(f"the state is that after step {first}, but a sample has {steps} steps: nothing is left to run")
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
                    f"the state's {what} of population {population.name!r} {said}, but {samples} samples need {(samples, population.size)}"
                )
    for name, flying in state.flying.items():
        size = deployment.population(deployment.connection(name).source).size
        if flying.ndim != 3 or (len(flying), flying.shape[2]) != (samples, size):
            raise UsageError(
                f"the state's spikes on connection {name!r} have the shape {flying.shape}, but {samples} samples need [{samples}, steps, {size}]"
            )
    if state.counts is not None and state.counts.shape != (samples, deployment.output.size):
        raise UsageError(
            f"the state's counts have the shape {state.counts.shape}, but {samples} samples need {(samples, deployment.output.size)}"
        )
    return range(first, last)


def window_of(state: State, window: slice) -> State:
    """Return the state of some samples."""
    return State(
        state.step,
        {name: own[window] for name, own in state.u.items()},
        {name: own[window] for name, own in state.v.items()},
        {name: own[window] for name, own in state.flying.items()},
        None if state.counts is None else state.counts[window],
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
    )


def _joined(parts: Sequence[Mapping[str, NDArray[_Kind]]]) -> dict[str, NDArray[_Kind]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
