"""Engines: final classes behind one small protocol, each running the same deployment on the same encoded input."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import TRACES, Activity
from neurofault.arrays import as_labels
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import Engine
from neurofault.engines.health import suspicions
from neurofault.errors import UnsupportedError, UsageError, nearest
from neurofault.inputs import Inputs

__all__ = ["ENGINES", "Engine", "Result", "get_engine", "run"]


def _lazy(module: str, name: str) -> Callable[[], Engine]:
    def make() -> Engine:
        engine: Engine = getattr(importlib.import_module(module), name)()
        return engine

    return make


ENGINES: Mapping[str, Callable[[], Engine]] = {
    "exact": _lazy("neurofault.engines.exact", "ExactEngine"),
    "lava": _lazy("neurofault.engines.on_lava", "LavaEngine"),
    "brian2": _lazy("neurofault.engines.on_brian2", "Brian2Engine"),
    "snntorch": _lazy("neurofault.engines.on_snntorch", "SnnTorchEngine"),
}
"""Name → factory; what an engine needs is imported when it is made."""


@dataclass(frozen=True, eq=False)
class Result:
    """A run and, where labels were given, how good it was.

    Attributes:
        activity: scores, spikes, traces.
        n: number of samples.
        correct: samples classified as labelled; None without labels.
        notes: what is suspect about a healthy chip on these samples (:mod:`neurofault.engines.health`); empty for a damaged one.
    """

    activity: Activity
    n: int
    correct: int | None
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float | None:
        """``correct / n``; None without labels."""
        return None if self.correct is None else self.correct / self.n


def get_engine(name: str) -> Engine:
    """Return the engine called ``name``.

    Raises:
        UsageError: if there is none.
        UnsupportedError: if what it needs is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine {name!r}; engines: {', '.join(ENGINES)}{nearest(name, ENGINES)}")
    return ENGINES[name]()


def run(
    deployment: Deployment,
    x: NDArray[np.generic] | Inputs,
    y: NDArray[np.integer] | None = None,
    *,
    engine: str | Engine = "exact",
    record: Collection[str] = (),
) -> Result:
    """Present samples to a (damaged) deployment.

    Args:
        deployment: the chip.
        x: images as :meth:`Deployment.encode` takes them, [N, …] uint8 or float in [0, 1], arrays or torch tensors; or encoded samples.
        y: labels, whole numbers [N], the index of an output neuron each; −1: unknown, so never right.
        engine: name of one of :data:`ENGINES`, or an engine.
        record: which of ``u``, ``v``, ``spikes`` to keep for every layer, step and sample.

    Raises:
        UsageError: unknown engine or trace, no samples, or arrays that do not fit the deployment or each other.
        UnsupportedError: the engine cannot run this deployment; the text names the layer and the engines that can.
    """
    chosen = get_engine(engine) if isinstance(engine, str) else engine
    inputs = x if isinstance(x, Inputs) else deployment.encode(x)
    labels = None if y is None else as_labels(y)
    _check(deployment, inputs, labels, record)
    reason = chosen.supports(deployment)
    if reason is not None:
        raise UnsupportedError(f"engine {chosen.name!r} cannot run {reason}; engines that can: {_able(deployment, chosen.name)}")
    activity = chosen.run(deployment, inputs, record=record)
    notes = () if deployment.damage.edits else suspicions(deployment, activity, labels)
    return Result(activity, len(inputs), None if labels is None else activity.correct(labels), notes)


def _able(deployment: Deployment, but: str) -> str:
    """List the other engines that can run a deployment here."""
    able = []
    for name in ENGINES:
        try:
            if name != but and get_engine(name).supports(deployment) is None:
                able.append(name)
        except UnsupportedError:
            continue
    return ", ".join(able) or "none"


def _check(deployment: Deployment, inputs: Inputs, y: NDArray[np.integer] | None, record: Collection[str]) -> None:
    for name in record:
        if name not in TRACES:
            raise UsageError(f"no trace {name!r}; traces: {', '.join(TRACES)}{nearest(name, TRACES)}")
    if not len(inputs):
        raise UsageError("no samples: a run needs at least one")
    if y is not None and np.shape(y) != (len(inputs),):
        raise UsageError(f"labels have the shape {np.shape(y)}, but there are {len(inputs)} samples")
    outputs = deployment.layers[-1].size
    if y is not None and not -1 <= int(y.min()) <= int(y.max()) < outputs:
        raise UsageError(f"labels lie in {y.min()} … {y.max()}; allowed: 0 to {outputs - 1}, −1 for unknown")
    size, steps = deployment.layers[0].size, deployment.timesteps
    if inputs.bias is not None and inputs.bias.shape[1:] != (size,):
        raise UsageError(f"bias has the shape {inputs.bias.shape}, but the input layer needs [N, {size}]")
    if inputs.events is not None and inputs.events.shape[1:] != (steps, size):
        raise UsageError(
            f"events have the shape {inputs.events.shape}, but {steps} steps of {size} input neurons are [N, {steps}, {size}]"
        )
