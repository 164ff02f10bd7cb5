"""Healing a damaged chip within its own limits: learners, strategies, budgets, and what it cost.

``rescue`` is light to import; what needs numba loads when it is called, or from the modules by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurofault.arrays import one_hot_hint
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph.chains import links
from neurofault.graph.network import samples_apart
from neurofault.graph.readout import usual_readout
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.numerals import plural
from neurofault.progress import Asked, listening
from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Guard, Plan

if TYPE_CHECKING:
    from neurofault.engines import Presented
    from neurofault.rescue.detection import Tester
    from neurofault.rescue.examples import Examples
    from neurofault.rescue.lesson import Learner
    from neurofault.rescue.outcome import Point, Rescued
    from neurofault.rescue.strategies import Act

__all__ = ["Budget", "Guard", "Plan", "rescue"]

_USUAL_GUARD = Guard()


def rescue(
    deployment: Deployment,
    x: Inputs | Presented | Mapping[str, Presented],
    y: Expected,
    *,
    unit: float | None = None,
    strategy: str | Act = "batch",
    learner: str | Learner | None = None,
    budget: Budget | None = None,
    plan: Plan | None = None,
    plastic: tuple[str, ...] | None = None,
    test: tuple[Inputs | Presented | Mapping[str, Presented], Expected] | None = None,
    validation: tuple[Inputs | Presented | Mapping[str, Presented], Expected] | None = None,
    seed: int = 0,
    fine: bool = True,
    guard: Guard | None = _USUAL_GUARD,
    tester: Tester | None = None,
    on_point: Callable[[Point], object] | None = None,
    progress: Asked = None,
) -> Rescued:
    """Heal a damaged chip.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(
    ...     nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"), neurons_per_core=1, spare_cores=1
    ... )
    >>> seen = nf.Spikes.dense(np.eye(2)[:, None, :].repeat(4, axis=1))
    >>> hurt = nf.inject(chip, nf.faults.CoreDead(count=1, layer="output"), seed=1)
    >>> healed = rescue(hurt, seen, np.array([0, 1]), strategy="remap", test=(seen, np.array([0, 1])))
    >>> [(point.what, point.accuracy) for point in healed.points]
    [('healthy', 1.0), ('strike', 0.5), ('remap', 1.0)]

    Args:
        deployment: the chip with all its damage; strategies that let damage happen in steps cut it into equal parts.
        x: N samples to adapt to, as :func:`neurofault.run` takes them; one pass over them is a cycle.
        y: their labels, int [N]: the index of an output neuron each; −1: unknown. Where nothing learns, labels of every step, [N, T], are taken too.
            With ``unit`` targets instead, [N, K] of K output neurons; where nothing learns also [N, T, K].
        unit: what one of a score is in the targets' unit, here and in ``test`` and ``validation``, as of :func:`neurofault.run`; None: of labels. Accuracies
            are mean squared errors then, of which less is better.
        strategy: one of :data:`STRATEGIES`, or a function of a :class:`Workbench`.
        learner: one of :data:`LEARNERS`, or a learner; None: ``delta`` where the strategy learns.
        budget: None: one cycle.
        plan: how the strategy goes about it; None: one step, no delay.
        plastic: names of the connections that may change (in a chain: of the layers); None: all that the learner can train.
        test: samples and labels or targets, also of every step, for the accuracies in :attr:`Rescued.points`; None: none are measured.
        validation: samples and labels or targets for ``plan.tolerance``.
        seed: of the order of damage and samples, rounding, fresh weights.
        fine: look at the chip inside the first cycle after a strike too.
        guard: what is held back of the samples to adapt to, so that learning leaves the chip no worse on it; None: nothing, and a learner
            may destroy what it should heal.
        tester: for strategies that find out by themselves what is broken: a test and what its answers mean, such as :func:`neurofault.fault_dictionary` returns of
            the healthy chip.
        on_point: called with each :class:`neurofault.rescue.outcome.Point` as it is seen, such as :func:`neurofault.to_log`; None: nothing is called.
        progress: True: a bar; False: nothing; None: a bar in a notebook or at a prompt; or called as ``progress("rescue", samples shown, samples at most, text)``.

    Raises:
        UsageError: a strategy that tests without a tester, or one of another chip; unknown names, labels that do not fit, a budget of nothing for a strategy that learns, no spare cores.
        UnsupportedError: the chip cannot learn like this, the strategy or learner takes chains only and it is none, or
            something is to learn on a network that keeps its state between samples, or on neurons that do.
        CapacityError: a core has no room for learning.
        LearningRuleError: the chip cannot express the learner's rule.
    """
    from neurofault.engines import as_inputs, check_expected, expected_of
    from neurofault.rescue.examples import Examples
    from neurofault.rescue.learners.by_name import learner_named
    from neurofault.rescue.lesson import UNKNOWN, in_scores
    from neurofault.rescue.outcome import sham_notes
    from neurofault.rescue.strategies import strategy_named
    from neurofault.rescue.workbench import Workbench

    inputs = as_inputs(deployment, x)
    labels = expected_of(deployment, y, unit)[0]
    limits, how = budget or Budget(), plan or Plan()
    act = strategy_named(strategy).act if isinstance(strategy, str) else strategy
    learns = not isinstance(strategy, str) or strategy_named(strategy).learns
    if isinstance(strategy, str):
        check_way(deployment, strategy, learner, plastic)
        if strategy_named(strategy).tests and tester is None:
            raise UsageError(
                f"strategy {strategy!r} tests the chip: give a tester, such as nf.fault_dictionary(chip, patterns) of the healthy chip"
            )
    else:
        samples_apart(deployment, "what learns")
        usual_readout(deployment.readout, "what learns")
    if learns and (joining := deployment.damage.joining) is not None:
        raise UnsupportedError(f"{joining}: what learns takes samples that start anew; strategies that do not learn: none, remap")
    outputs, each = deployment.output.size, unit
    of_steps = (len(inputs), deployment.timesteps) if unit is None else (len(inputs), deployment.timesteps, outputs)
    if not learns and labels.shape == of_steps:
        labels, each = np.full(len(inputs), UNKNOWN, np.int64), None  # nothing reads them
    if each is None and labels.shape != (len(inputs),):
        raise UsageError(
            f"labels have the shape {labels.shape}, but there are {plural(len(inputs), 'sample')} to adapt to{one_hot_hint(labels)}"
        )
    if labels.ndim == 3:
        raise UsageError(f"targets have the shape {labels.shape}; what learns takes those of one answer a sample, [N, {outputs}]")
    if len(labels):
        check_expected(deployment, inputs, labels)
    adapt = Examples(inputs, labels, each)
    if learns and isinstance(strategy, str) and limits.samples_allowed(len(labels)) == 0:
        raise UsageError(f"a budget of no samples leaves strategy {strategy!r} nothing to learn from; allowed: more than 0 cycles")
    chosen = None if isinstance(learner, str) else learner
    if learns and chosen is None:
        chosen = learner_named(
            learner if isinstance(learner, str) else "delta",
            deployment,
            inputs,
            labels if each is None else in_scores(deployment, labels, each),
        )
    named = None if plastic is None else tuple(deployment.connection(name).name for name in plastic)
    most = max(1, limits.samples_allowed(len(labels)))
    with listening(progress) as say:

        def told(point: Point) -> None:
            say(
                "rescue",
                min(point.samples, most),
                most,
                f"{point.what}{'' if point.accuracy is None else f', {point.accuracy:.4g}'}",
            )
            if on_point is not None:
                on_point(point)

        bench = Workbench(
            deployment, adapt, chosen, limits, how, plastic=named, test=_examples(deployment, test, unit),
            validation=_examples(deployment, validation, unit), seed=seed, fine=fine, guard=guard, tester=tester, on_point=told,
        )  # fmt: skip
        act(bench)
        done = bench.result()
    return replace(done, notes=(*done.notes, *sham_notes(done))) if strategy == "sham" else done


def check_way(
    deployment: Deployment, strategy: str, learner: str | Learner | None = None, plastic: tuple[str, ...] | None = None
) -> None:
    """Refuse a chip that a way of healing cannot take, before anything runs.

    Args:
        deployment: the chip.
        strategy: one of the strategies' names.
        learner: as of :func:`rescue`.
        plastic: likewise.

    Raises:
        UsageError: there is no such strategy, learner or connection; or it moves weights that code words or ranges guard.
        UnsupportedError: the chip is none that it takes; the text says why, and what takes it.
        LearningRuleError: the chip cannot express the learner's rule.
    """
    from neurofault.rescue.learners.by_name import check_learns
    from neurofault.rescue.strategies import strategy_named

    chosen = strategy_named(strategy)
    if chosen.spares and deployment.protection.reads_otherwise:
        raise UsageError(
            f"strategy {strategy!r} moves stored weights away from their code words, ranges and orders of bits, and no new ones are made: remap the chip, then protect it; "
            "potentials, tmr and mute may stand beside it"
        )
    if strategy == "embryonic" and deployment.placement.spares_for != "all":
        raise UsageError(
            f"strategy {strategy!r} puts fresh neurons on any spare core, and here each is kept for its {deployment.placement.spares_for}; deploy with a number of spare_cores, or remap"
        )
    if chosen.chains:
        links(deployment, f"strategy {strategy!r}", instead="strategies for other graphs: remap, remap+learn, batch, iterative")
    if not chosen.learns:
        return
    if learner is None or isinstance(learner, str):
        check_learns(learner or "delta", deployment, plastic)
    else:
        samples_apart(deployment, "what learns")
        usual_readout(deployment.readout, "what learns")


def _examples(deployment: Deployment, given: tuple[Any, Expected] | None, unit: float | None) -> Examples | None:
    from neurofault.engines import as_inputs, expected_of
    from neurofault.rescue.examples import Examples

    if given is None:
        return None
    images, labels = given
    return Examples(as_inputs(deployment, images), expected_of(deployment, labels, unit)[0], unit)
