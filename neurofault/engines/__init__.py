"""Engines: final classes behind one small protocol, each running the same deployment on the same encoded input."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import TRACES, Activity
from neurofault.arrays import as_labels, one_hot_hint
from neurofault.data.labels import targets_of
from neurofault.deploy.deployment import Deployment
from neurofault.engines.answers import run_with_answers
from neurofault.engines.base import Engine
from neurofault.engines.health import suspicions
from neurofault.engines.on_torch.devices import CPU, check_device
from neurofault.errors import UnsupportedError, UsageError, nearest
from neurofault.frames import import_pandas
from neurofault.inputs import Bias, Inputs, Spikes, State
from neurofault.metrics import ACCURACY, STEPS, Expected, Metric, metric_of_targets
from neurofault.numerals import plural

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
    """A run and, where labels or targets were given, how good it was.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> nf.run(chip, x, y)
    Result(2 samples: accuracy 100.00 %, 16 spikes)

    Attributes:
        activity: scores, spikes, traces.
        n: number of samples.
        correct: labels that are answered right; None without labels.
        labels: int64 [N], −1 where unknown; or [N, T], of steps, −1 where there is none; None without labels.
        targets: float64 [N, K] or [N, T, K]; None without targets.
        metric: what is measured; None without labels and targets.
        notes: what is suspect about a healthy chip on these samples (:mod:`neurofault.engines.health`); empty for a damaged one.
    """

    activity: Activity
    n: int
    correct: int | None
    notes: tuple[str, ...] = ()
    labels: NDArray[np.int64] | None = None
    targets: NDArray[np.float64] | None = None
    metric: Metric | None = None

    def __repr__(self) -> str:
        how = "" if self.metric is None or self.value is None else f"{self.metric.words} {self.metric.shown(self.value)}, "
        notes = "".join(f"; note: {note}" for note in self.notes)
        return f"Result({plural(self.n, 'sample')}: {how}{plural(self.activity.spikes, 'spike')}{notes})"

    @property
    def total(self) -> int | float | None:
        """What :attr:`value` is the share or the mean of: right answers, or the sum of squared errors; None without labels and targets."""
        expected = self.labels if self.targets is None else self.targets
        return None if self.metric is None or expected is None else self.metric.total(self.activity, expected)

    @property
    def value(self) -> float | None:
        """:attr:`accuracy` where labels were given, :attr:`mean_squared_error` where targets were; None without."""
        expected = self.labels if self.targets is None else self.targets
        return None if self.metric is None or expected is None else self.metric.value(self.activity, expected)

    @property
    def mean_squared_error(self) -> float | None:
        """Mean over samples and outputs, of targets of steps over steps too, of (answer − target)², in the targets' unit squared; None without targets."""
        return None if self.targets is None else self.value

    @property
    def accuracy(self) -> float | None:
        """``correct`` by the number of labels: of samples, n; of steps, those that are not −1. None without labels."""
        return None if self.labels is None else self.value

    def table(self) -> DataFrame:
        """Return one row a sample.

        Columns, int64 but for ``correct``: ``sample`` (from 0), ``prediction`` (index of an output neuron), ``label`` and ``correct`` (bool)
        where labels were given (of labels of steps: ``steps_labelled`` and ``steps_correct``, how many; of targets: ``squared_error``, float64, the sum over outputs and
        steps), ``spikes`` (of all populations), and ``score.0``, ``score.1`` … of the output neurons
        (:attr:`neurofault.Activity.scores`).

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> nf.run(chip, x, y).table()[["sample", "prediction", "label", "correct"]].values.tolist()
        [[0, 0, 0, True], [1, 1, 1, True]]

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
        elif self.targets is not None and self.metric is not None:
            known = {"squared_error": -self.metric.merits(activity, self.targets)}
        scores = {f"score.{neuron}": column for neuron, column in enumerate(activity.scores.T)}
        columns = {"sample": np.arange(self.n), "prediction": predictions, **known, "spikes": activity.sample_spikes, **scores}
        return import_pandas().DataFrame(columns)


def get_engine(name: str, device: str = "cpu") -> Engine:
    """Return the engine called ``name``, on a device.

    Args:
        name: one of :data:`ENGINES`.
        device: as of :func:`run`.

    Raises:
        UsageError: if there is none, or no such device, or the device does not go with it.
        UnsupportedError: if what it needs is not installed, or the device is not there.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine {name!r}; engines: {', '.join(ENGINES)}{nearest(name, ENGINES)}")
    if device == CPU:
        return ENGINES[name]()
    check_device(device, name)
    from neurofault.engines.on_torch.engine import TorchEngine

    return TorchEngine(device)


Presented = NDArray[np.generic] | Bias | Spikes
"""What one input is shown: images, mantissas, or spikes (also as an array of 0 and 1, [N, T, n], where it takes events)."""


def run(
    deployment: Deployment,
    x: Inputs | Presented | Mapping[str, Presented],
    y: Expected | None = None,
    *,
    unit: float | None = None,
    engine: str | Engine = "exact",
    device: str = "cpu",
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
            none, which does not count: what the answer in a step is, see :mod:`neurofault.engines.answers`. With ``unit`` targets instead: real numbers to be
            answered, [N, K] of K output neurons, or of every step, [N, T, K].
        unit: what one of a score is in the targets' unit, above 0: of potentials :func:`neurofault.unit_of` the network and its chip, of spike counts 1.0
            where targets are spikes. None: ``y`` is labels.
        engine: name of one of :data:`ENGINES`, or an engine.
        device: where engine ``exact`` runs, by name: ``cpu``; ``cuda`` (or ``cuda:1`` …), through torch on a GPU, with the same results; ``torch-cpu``, the same
            operations on the CPU, slower, to be compared.
        record: which of ``u``, ``v``, ``spikes`` to keep for every population, sample and step.
        state: what an earlier run of the same samples left in :attr:`Activity.state`, to go on from; None: from the first step.
        stop: the first step that is not run; None: all T steps are. ``x`` holds all steps in either case.

    Raises:
        UsageError: unknown engine, device or trace, no samples, or arrays that do not fit the deployment or each other.
        UnsupportedError: the engine cannot run this deployment, or not from a state or to a stop; the text names the layer and the engines
            that can. Or the device is not there.
        EngineError: the device computes otherwise than the CPU.
    """
    if device != CPU and not isinstance(engine, str):
        raise UsageError(f"device {device} goes with engine='exact', not with an engine that is made already, which has its own")
    chosen = get_engine(engine, device) if isinstance(engine, str) else engine
    inputs = as_inputs(deployment, x)
    expected, metric = expected_of(deployment, y, unit)
    _check(deployment, inputs, record)
    check_expected(deployment, inputs, expected)
    reason = chosen.supports(deployment)
    if reason is not None:
        able, where = _able(deployment, chosen.name if device == CPU else ""), "" if device == CPU else " (device cpu)"
        raise UnsupportedError(f"engine {chosen.name!r} cannot run {reason}; engines that can{where}: {able}")
    lower = metric is not None and metric.lower
    labels = None if lower else expected
    if metric is not None and metric.of_steps:
        if state is not None or stop is not None:
            what = "targets" if lower else "labels"
            raise UnsupportedError(f"{what} of steps are of whole samples: a run from a state or to a stop takes {what} of samples")
        activity = run_with_answers(chosen, deployment, inputs, record, scores=lower)
        notes = () if deployment.damage.edits else suspicions(deployment, activity, labels)
    elif state is None and stop is None:
        activity = chosen.run(deployment, inputs, record=record)
        notes = () if deployment.damage.edits else suspicions(deployment, activity, labels)
    else:
        activity, notes = chosen.run(deployment, inputs, record=record, state=state, stop=stop), ()
    correct = None if labels is None else activity.correct(labels)
    return Result(activity, len(inputs), correct, notes, labels, expected if lower else None, metric)


def expected_of(deployment: Deployment, y: object, unit: float | None) -> tuple[Any, Metric | None]:
    """Return what is to be answered, int64 labels or float64 targets, and what is measured by it; ``y`` and ``unit`` as of :func:`run`.

    Raises:
        UsageError: no numbers, labels with fractions, or a unit that is none.
    """
    if y is None:
        return None, None
    if unit is None:
        try:
            labels = as_labels(y)
        except UsageError as error:
            if "with fractions" in str(error):
                raise UsageError(
                    f"{error}; numbers to be answered are targets, which go with unit=, what one of a score is in their unit"
                ) from None
            raise
        return labels, STEPS if labels.ndim == 2 else ACCURACY
    if not 0 < unit < float("inf"):
        raise UsageError(f"unit must be above 0 and finite, is {unit}")
    targets = targets_of(y, "targets")
    return targets, replace(metric_of_targets(targets, None, "targets"), unit=float(unit), how=deployment.readout.how)


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


def check_expected(deployment: Deployment, inputs: Inputs, y: Expected | None) -> None:
    """Refuse labels or targets that do not fit the chip or the samples.

    Args:
        deployment: the chip.
        inputs: N samples.
        y: int64 labels, or float64 targets.

    Raises:
        UsageError: another shape, or a label that is no output neuron's.
    """
    if y is None:
        return
    outputs = deployment.output.size
    if y.dtype.kind == "f":
        if y.shape not in ((len(inputs), outputs), (len(inputs), deployment.timesteps, outputs)):
            raise UsageError(
                f"targets have the shape {y.shape}, but there are {plural(len(inputs), 'sample')} of {plural(deployment.timesteps, 'step')}, and {plural(outputs, 'output neuron')}; "
                f"expected [N, {outputs}], or [N, {deployment.timesteps}, {outputs}]"
            )
        return
    if np.shape(y) not in ((len(inputs),), (len(inputs), deployment.timesteps)):
        of_steps = f" of {plural(deployment.timesteps, 'step')}" if np.ndim(y) == 2 else ""
        raise UsageError(
            f"labels have the shape {np.shape(y)}, but there are {plural(len(inputs), 'sample')}{of_steps}{one_hot_hint(y)}"
        )
    if not -1 <= int(y.min()) <= int(y.max()) < outputs:
        raise UsageError(f"labels lie in {y.min()} … {y.max()}; allowed: 0 to {outputs - 1}, −1 for unknown")


def _check(deployment: Deployment, inputs: Inputs, record: Collection[str]) -> None:
    for name in record:
        if name not in TRACES:
            raise UsageError(f"no trace {name!r}; traces: {', '.join(TRACES)}{nearest(name, TRACES)}")
    if not len(inputs):
        raise UsageError("no samples: a run needs at least one")
    steps = deployment.timesteps
    for name in deployment.inputs:
        part, size = inputs.of(name), deployment.population(name).size
        who = "the input layer" if len(deployment.inputs) == 1 else f"input {name!r}"
        if isinstance(part, Bias) and part.mantissa.shape[1:] != (size,):
            raise UsageError(f"bias has the shape {part.mantissa.shape}, but {who} needs [N, {size}]")
        if isinstance(part, Spikes) and (part.timesteps, part.size) != (steps, size):
            what = "input neurons" if len(deployment.inputs) == 1 else f"neurons of input {name!r}"
            raise UsageError(
                f"events have the shape {(len(part), part.timesteps, part.size)}, but {plural(steps, 'step')} of {size} {what} are [N, {steps}, {size}]"
            )
