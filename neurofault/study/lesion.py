"""A lesion experiment: a healthy chip, the same chip broken in K draws, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.damage.damage import Hit
from neurofault.data.splits import Split
from neurofault.deploy.cost import Cost, cost
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.errors import StalledError
from neurofault.faults import Fault, inject
from neurofault.graph.connectivity import fan_in
from neurofault.inputs import Inputs
from neurofault.metrics import ACCURACY, Metric
from neurofault.numerals import whole_number
from neurofault.progress import Progress
from neurofault.study.outcomes import MOST, exact_interval, possible
from neurofault.study.shown import shown
from neurofault.study.statistics import Interval, t_interval

if TYPE_CHECKING:
    from neurofault.engines.incremental.engine import IncrementalEngine

_TOGETHER = 16
"""Draws that are run at a time; a healthy run is shared by them."""


@dataclass(frozen=True)
class Measured:
    """One chip on the test images.

    Attributes:
        accuracy: value of the metric: share of the labels that are answered right, or mean squared error.
        spikes: of all neurons over all samples.
        cost: energy and time per inference.
        total: that the value is of: number of labels that are answered right, or sum of squared errors.
        spike_counts: for each population by name, int64 [n], spikes of each neuron over all samples.
    """

    accuracy: float
    spikes: int
    cost: Cost
    total: int | float
    spike_counts: Mapping[str, NDArray[np.int64]] = field(compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of the faults.

    Attributes:
        draw: its number, from 0.
        measured: the broken chip; None if it stalled.
        status: ``ok``, or ``stalled`` where a hung core stops the chip.
        hits: what each fault hit.
        deployment: the broken chip itself.
    """

    draw: int
    measured: Measured | None
    status: Literal["ok", "stalled"]
    hits: tuple[Hit, ...]
    deployment: Deployment


@dataclass(frozen=True, eq=False)
class Lesion:
    """A healthy chip and its broken draws.

    Attributes:
        faults: what was broken.
        healthy: the healthy chip on the same images.
        draws: in order.
        exact: the damaged accuracy over all that a draw can be, where that is little (:mod:`neurofault.study.outcomes`); else None.
        metric: what is measured.
    """

    faults: tuple[Fault, ...]
    healthy: Measured
    draws: tuple[Draw, ...]
    exact: Interval | None = None
    metric: Metric = ACCURACY

    @property
    def over_draws(self) -> Interval | None:
        """Mean and 95 % t interval of the damaged accuracy over the draws that ran; None if every one stalled."""
        values = [draw.measured.accuracy for draw in self.draws if draw.measured is not None]
        return t_interval(values, within=self.metric.within) if values else None

    @property
    def accuracy(self) -> Interval | None:
        """The damaged accuracy: exact where that is known, else over the draws that ran; None if every one stalled."""
        return self.exact if self.exact is not None else self.over_draws

    def shows(self) -> bool:
        """Whether the mean over draws lies below the healthy accuracy (of errors: above) by more than three half-widths of their interval."""
        interval = self.over_draws
        width = None if interval is None else interval.half_width
        if interval is None or width is None:
            return False
        if self.metric.lower:
            return interval.mean > self.healthy.accuracy + 3 * width
        return interval.mean < self.healthy.accuracy - 3 * width


def measure(
    deployment: Deployment, inputs: Inputs, test: Split, *, engine: str, metric: Metric = ACCURACY, device: str = "cpu"
) -> Measured:
    """Run a chip on encoded test images, on a device as :func:`neurofault.run` takes it, and cost it."""
    found = run(deployment, inputs, test.expected, unit=metric.unit, engine=engine, device=device)
    return _costed(deployment, found.activity, test, metric)


def measure_many(
    deployments: Sequence[Deployment],
    inputs: Inputs,
    test: Split,
    *,
    engine: str,
    metric: Metric = ACCURACY,
    of: int | None = None,
    follower: Callable[[], IncrementalEngine] | None = None,
    device: str = "cpu",
) -> list[Measured | None]:
    """Run several damaged states of one chip on the same samples and cost them; None where a hung core stops the chip.

    With the ``exact`` engine, what each differs in from the healthy chip is followed where that is less work
    (:class:`neurofault.engines.incremental.engine.IncrementalEngine`); the results are the same. That is done on the CPU; what runs whole, on ``device``. Answers of every step it does not say. Where ``of`` states in all (None: these) are little work, each is run as
    it is: that takes no longer than loading what follows differences, and a first run need not compile it.
    """
    if engine != "exact" or metric.of_steps or _work(deployments, len(inputs)) * (of or len(deployments)) < _LITTLE:
        return [_measured(chip, inputs, test, engine, metric, device) for chip in deployments]
    last = inputs.first_sample + len(inputs)
    hung = [bool(chip.damage.stalled(last, chip.timesteps, chip.schedule.depth)) for chip in deployments]
    able = [chip for chip, stalls in zip(deployments, hung, strict=True) if not stalls]
    found = iter((follower or partial(_follower, device))().run_many(able, inputs))
    return [None if stalls else _costed(chip, next(found), test, metric) for chip, stalls in zip(deployments, hung, strict=True)]


def _follower(device: str = "cpu") -> IncrementalEngine:
    """Return an engine that keeps a healthy run from call to call, and runs on a device what it does not follow."""
    from neurofault.engines.incremental.engine import IncrementalEngine

    return IncrementalEngine(device=device)


def how_run(lesions: Lesion, inputs: Inputs, *, engine: str) -> list[str]:
    """Say for each draw how :func:`lesion` has run it: ``followed`` as a difference from the healthy chip, but for what layers, or ``whole``, and why.

    Args:
        lesions: what was measured.
        inputs: the samples.
        engine: name of the engine.
    """
    chips, follower = [draw.deployment for draw in lesions.draws], cache(_follower)

    def how(number: int, chip: Deployment) -> str:
        if engine != "exact":
            return f"whole: engine {engine!r} runs every chip so"
        if lesions.metric.of_steps:
            return "whole: answers of every step"
        if _work(chips, len(inputs)) * len(chips) < _LITTLE:
            return "whole: little work, it takes no longer"
        if lesions.draws[number].measured is None:
            return "not: a hung core stops the chip"
        together = min(_TOGETHER, len(chips) - number // _TOGETHER * _TOGETHER)
        return follower().explained(chip, len(inputs), together)

    return [how(number, chip) for number, chip in enumerate(chips)]


_LITTLE = 2_000_000_000
"""So many synapses · steps are not worth following as differences: the exact engine takes 0.1 s for them."""


def _work(deployments: Sequence[Deployment], samples: int) -> int:
    """Return synapses · steps of one of the states on all samples, as if every population were wholly connected."""
    chip = next(iter(deployments), None)
    if chip is None:
        return 0
    pairs = ((chip.population(one.source).size, chip.population(one.target).size) for one in chip.connections)
    return samples * chip.timesteps * sum(source * target for source, target in pairs)


def _measured(deployment: Deployment, inputs: Inputs, test: Split, engine: str, metric: Metric, device: str) -> Measured | None:
    try:
        return measure(deployment, inputs, test, engine=engine, metric=metric, device=device)
    except StalledError:
        return None


def _costed(deployment: Deployment, activity: Activity, test: Split, metric: Metric) -> Measured:
    total = metric.total(activity, test.expected)
    costs = cost(deployment, activity, len(test))
    return Measured(total / metric.number(test.expected), activity.spikes, costs, total, activity.spike_counts)


def lesion(
    deployment: Deployment,
    test: Split,
    faults: Sequence[Fault],
    *,
    draws: int,
    seed: int,
    engine: str = "exact",
    metric: Metric = ACCURACY,
    healthy: Measured | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> Lesion:
    """Break a healthy chip in ``draws`` independent draws of the same faults and run each.

    Where a draw can be one of few outcomes, and two draws or more are asked for, every outcome is run as well (engine ``exact``: up to 256 of
    them, and of large networks so many as ``_MOST_WORK`` allows; other engines: no more than draws), and the damaged accuracy is exact.

    Args:
        deployment: the healthy chip.
        test: images and labels.
        faults: one plan; several faults act together, in order.
        draws: number of draws, at least 1.
        seed: key of the random sites.
        engine: name of the engine.
        metric: what is measured.
        healthy: the healthy measurement, if there is one already.
        progress: called after each draw.
        device: where engine ``exact`` runs, as of :func:`neurofault.run`.

    Raises:
        FaultError: the faults do not fit the deployment.
    """
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    inputs = shown(deployment, test)
    broken = [inject(deployment, faults, seed=seed, draw=draw) for draw in range(draws)]
    whole = healthy or measure(deployment, inputs, test, engine=engine, metric=metric, device=device)
    done: list[Draw] = []
    follower = cache(partial(_follower, device))
    for start in range(0, draws, _TOGETHER):
        part = broken[start : start + _TOGETHER]
        found = measure_many(part, inputs, test, engine=engine, metric=metric, of=draws, follower=follower, device=device)
        for chip, measured in zip(part, found, strict=True):
            done.append(Draw(len(done), measured, "stalled" if measured is None else "ok", chip.damage.hits, chip))
        if progress is not None:
            last = done[-1].measured
            progress("breaking", len(done), draws, "stalled" if last is None else f"{metric.words} {metric.shown(last.accuracy)}")
    exact = _exact(deployment, inputs, test, faults, draws, engine, metric, follower, device, progress)
    return Lesion(tuple(faults), whole, tuple(done), exact, metric)


_MOST_WORK = 2_500_000_000_000
"""Most synapses · steps · samples for the sake of outcomes that were not drawn: of 784-100-10 and 10,000 samples of 32 steps, 98 outcomes."""


def _exact(
    deployment: Deployment, inputs: Inputs, test: Split, faults: Sequence[Fault], draws: int, engine: str, metric: Metric,
    follower: Callable[[], IncrementalEngine], device: str, progress: Progress | None,
) -> Interval | None:  # fmt: skip
    """Return the accuracy over all outcomes; None where they are many, or one of them stalls the chip."""
    one = len(test) * deployment.timesteps * sum(int(fan_in(each.synapses).sum()) for each in deployment.connections)
    few = min(MOST, max(draws, _MOST_WORK // max(1, one))) if engine == "exact" else draws
    outcomes = possible(deployment, faults, few) if draws > 1 else None
    if outcomes is None:
        return None
    broken, done = [inject(deployment, listed) for listed, _ in outcomes], list[Measured | None]()
    for at in range(0, len(broken), _TOGETHER):
        part = broken[at : at + _TOGETHER]
        done += measure_many(part, inputs, test, engine=engine, metric=metric, of=len(broken), follower=follower, device=device)
        if progress is not None:
            progress("every outcome", len(done), len(broken), "")
    found = [each.accuracy for each in done if each is not None]
    return exact_interval(found, [chance for _, chance in outcomes]) if len(found) == len(outcomes) else None
