"""Engines: final classes behind one small protocol, each running the same deployment on the same encoded input."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import TRACES, Activity, counted
from neurofault.arrays import as_labels
from neurofault.deploy.deployment import Deployment
from neurofault.engines.answers import run_with_answers
from neurofault.engines.base import Engine
from neurofault.engines.health import suspicions
from neurofault.errors import UnsupportedError, UsageError, nearest
from neurofault.frames import import_pandas
from neurofault.inputs import Bias, Inputs, Spikes, State

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["ENGINES", "Engine", "Result", "get_engine", "run"]


def _lazy(module: str, name: str) -> Callable[[], Engine]:
    def make() -> Engine:
        engine: Engine = getattr(importlib.import_module(module), name)()
        return engine

    return make


ENGINES: Mapping[str, Callable[[], Engine]] = {
    "exact": _lazy("neurofault.engines.exact.engine", "ExactEngine"),
    "lava": _lazy("neurofault.engines.on_lava.engine", "LavaEngine"),
    "brian2": _lazy("neurofault.engines.on_brian2.engine", "Brian2Engine"),
    "snntorch": _lazy("neurofault.engines.on_snntorch.engine", "SnnTorchEngine"),
}
"""Name → factory; what an engine needs is imported when it is made."""


@dataclass(frozen=True, eq=False)
class Result:
    """A run and, where labels were given, how good it was.

    Attributes:
        activity: scores, spikes, traces.
        n: number of samples.
        correct: labels that are answered right; None without labels.
        labels: int64 [N], −1 where unknown; or [N, T], of steps, −1 where there is none; None without labels.
        notes: what is suspect about a healthy chip on these samples (:mod:`neurofault.engines.health`); empty for a damaged one.
    """

    activity: Activity
    n: int
    correct: int | None
    notes: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None

    @property
    def accuracy(self) -> float | None:
        """``correct`` by the number of labels: of samples, n; of steps, those that are not −1. None without labels."""
        return None if self.correct is None or self.labels is None else self.correct / counted(self.labels)

    def table(self) -> DataFrame:
        """Return one row a sample.

        Columns, int64 but for ``correct``: ``sample`` (from 0), ``prediction`` (index of an output neuron), ``label`` and ``correct`` (bool)
        where labels were given (of labels of steps: ``steps_labelled`` and ``steps_correct``, how many), ``spikes`` (of all populations), and ``score.0``, ``score.1`` … of the output neurons
        (:attr:`neurofault.Activity.scores`).

        Raises:
            UnsupportedError: pandas is not installed.
        """
        activity, predictions = self.activity, self.activity.predictions
        known: dict[str, NDArray[np.generic]] = {}
        if self.labels is not None and self.labels.ndim == 2:
            assert activity.answers is not None
            known = {
                "steps_labelled": np.count_nonzero(self.labels >= 0, axis=1),
                "steps_correct": np.count_nonzero(activity.answers == self.labels, axis=1),
            }
        elif self.labels is not None:
            known = {"label": self.labels, "correct": predictions == self.labels}
        scores = {f"score.{neuron}": column for neuron, column in enumerate(activity.scores.T)}
        columns = {"sample": np.arange(self.n), "prediction": predictions, **known, "spikes": activity.sample_spikes, **scores}
        return import_pandas().DataFrame(columns)


def get_engine(name: str) -> Engine:
    """Return the engine called ``name``.

    Raises:
        UsageError: if there is none.
        UnsupportedError: if what it needs is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine {name!r}; engines: {', '.join(ENGINES)}{nearest(name, ENGINES)}")
    return ENGINES[name]()


Presented = NDArray[np.generic] | Bias | Spikes
"""What one input is shown: images, mantissas, or spikes (also as an array of 0 and 1, [N, T, n], where it takes events)."""


def run(
    deployment: Deployment,
    x: Inputs | Presented | Mapping[str, Presented],
    y: NDArray[np.integer] | None = None,
    *,
    engine: str | Engine = "exact",
    record: Collection[str] = (),
    state: State | None = None,
    stop: int | None = None,
) -> Result:
    """Present samples to a (damaged) deployment.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (3,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.array([[2.0, 0, 0], [0, 0, 2.0]]))], timesteps=4, how="count"))
    >>> seen = nf.Spikes.of(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0, 0, 2]), samples=2, timesteps=4, size=3)
    >>> result = run(chip, seen, np.array([0, 1]))
    >>> result.accuracy, result.activity.predictions.tolist(), result.activity.sample_spikes.tolist()
    (1.0, [0, 1], [4, 2])

    Args:
        deployment: the chip.
        x: images as :meth:`Deployment.encode` takes them, [N, …] uint8 or float in [0, 1], arrays or torch tensors; or :class:`Spikes`, or
            spikes as 0 and 1, [N, T, n]; or a :class:`Bias`; or :class:`Inputs` (``Inputs(samples=N)`` where there is no input). Where there are several inputs, a mapping with one of
            these for each by name (:attr:`Deployment.inputs`).
        y: labels, whole numbers [N], the index of an output neuron each; −1: unknown, so never right. Or [N, T], a label of every step, −1 where there is
            none, which does not count: what the answer in a step is, see :mod:`neurofault.engines.answers`.
        engine: name of one of :data:`ENGINES`, or an engine.
        record: which of ``u``, ``v``, ``spikes`` to keep for every population, sample and step.
        state: what an earlier run of the same samples left in :attr:`Activity.state`, to go on from; None: from the first step.
        stop: the first step that is not run; None: all T steps are. ``x`` holds all steps in either case.

    Raises:
        UsageError: unknown engine or trace, no samples, or arrays that do not fit the deployment or each other.
        UnsupportedError: the engine cannot run this deployment, or not from a state or to a stop; the text names the layer and the engines
            that can.
    """
    chosen = get_engine(engine) if isinstance(engine, str) else engine
    inputs = as_inputs(deployment, x)
    labels = None if y is None else as_labels(y)
    _check(deployment, inputs, labels, record)
    reason = chosen.supports(deployment)
    if reason is not None:
        raise UnsupportedError(f"engine {chosen.name!r} cannot run {reason}; engines that can: {_able(deployment, chosen.name)}")
    if labels is not None and labels.ndim == 2:
        if state is not None or stop is not None:
            raise UnsupportedError("labels of steps are of whole samples: a run from a state or to a stop takes labels of samples")
        activity = run_with_answers(chosen, deployment, inputs, record)
        notes = () if deployment.damage.edits else suspicions(deployment, activity, labels)
    elif state is None and stop is None:
        activity = chosen.run(deployment, inputs, record=record)
        notes = () if deployment.damage.edits else suspicions(deployment, activity, labels)
    else:
        activity, notes = chosen.run(deployment, inputs, record=record, state=state, stop=stop), ()
    return Result(activity, len(inputs), None if labels is None else activity.correct(labels), notes, labels)


def as_inputs(deployment: Deployment, x: Inputs | Presented | Mapping[str, Presented]) -> Inputs:
    """Return what is presented to each input, by name; ``x`` as :func:`run` takes it.

    Raises:
        UsageError: it does not fit the deployment.
    """
    match x:
        case Inputs():
            return x.named(deployment.inputs)
        case Spikes():
            return Inputs(events=x).named(deployment.inputs)
        case Bias():
            return Inputs(bias=x).named(deployment.inputs)
        case Mapping():
            if unknown := next((name for name in x if name not in deployment.inputs), None):
                raise UsageError(
                    f"no input {unknown!r}{nearest(unknown, deployment.inputs)}; inputs: {', '.join(deployment.inputs)}"
                    if deployment.inputs
                    else f"the network has no input {unknown!r}, nor any other: pass Inputs(samples=N)"
                )
            biases: dict[str, object] = {}
            spikes: dict[str, object] = {}
            for name, part in x.items():
                if isinstance(part, Spikes) or (_has_steps(part) and deployment.population(name).encoding is None):
                    spikes[name] = part
                else:
                    biases[name] = part if isinstance(part, Bias) else deployment.encode({name: part}).of(name)
            return Inputs(bias=biases, events=spikes).named(deployment.inputs)
        case _ if _has_steps(x) and len(deployment.inputs) == 1 and deployment.population(deployment.inputs[0]).encoding is None:
            return Inputs(events=x).named(deployment.inputs)
        case _:
            return deployment.encode(x).named(deployment.inputs)


def _has_steps(given: object) -> bool:
    """Whether something is an array or tensor [N, T, n]."""
    return not isinstance(given, Bias) and len(getattr(given, "shape", ())) == 3


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
    if y is not None and np.shape(y) not in ((len(inputs),), (len(inputs), deployment.timesteps)):
        of_steps = f" of {deployment.timesteps} steps" if np.ndim(y) == 2 else ""
        raise UsageError(f"labels have the shape {np.shape(y)}, but there are {len(inputs)} samples{of_steps}")
    outputs = deployment.output.size
    if y is not None and not -1 <= int(y.min()) <= int(y.max()) < outputs:
        raise UsageError(f"labels lie in {y.min()} … {y.max()}; allowed: 0 to {outputs - 1}, −1 for unknown")
    steps = deployment.timesteps
    for name in deployment.inputs:
        part, size = inputs.of(name), deployment.population(name).size
        who = "the input layer" if len(deployment.inputs) == 1 else f"input {name!r}"
        if isinstance(part, Bias) and part.mantissa.shape[1:] != (size,):
            raise UsageError(f"bias has the shape {part.mantissa.shape}, but {who} needs [N, {size}]")
        if isinstance(part, Spikes) and (part.timesteps, part.size) != (steps, size):
            what = "input neurons" if len(deployment.inputs) == 1 else f"neurons of input {name!r}"
            raise UsageError(
                f"events have the shape {(len(part), part.timesteps, part.size)}, but {steps} steps of {size} {what} are [N, {steps}, {size}]"
            )
