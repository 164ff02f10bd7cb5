"""Learners by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError, nearest, with_remedy
from neurofault.graph.network import samples_apart
from neurofault.graph.readout import usual_readout
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.rescue.lesson import Learner

Maker = Callable[..., Learner]


def _lazy(module: str, name: str) -> Maker:
    def make(*given: Any, **options: Any) -> Learner:
        learner: Learner = getattr(import_module(f"neurofault.rescue.learners.{module}"), name)(*given, **options)
        return learner

    return make


LEARNERS: Mapping[str, Maker] = {
    "delta": _lazy("errors", "delta"),
    "dfa": _lazy("errors", "dfa"),
    "falling": _lazy("falling", "falling"),
    "emstdp": _lazy("emstdp", "emstdp"),
    "homeostasis": _lazy("homeostasis", "homeostasis"),
    "host": _lazy("host", "host"),
}
"""Name → function of (deployment, inputs, labels, options): what a learner is given when the chip is deployed. What it needs is imported when it is made."""

TEXTS: Mapping[str, str] = {
    "delta": "the readout learns on chip from the errors of its own neurons",
    "dfa": "readout and hidden layers learn on chip, through feedback synapses that are fixed at deployment",
    "falling": "as dfa, in steps that begin large and fall over the first cycle",
    "emstdp": "readout and hidden layers learn on chip in two phases, with spikes of error neurons (also on Loihi 1)",
    "homeostasis": "neurons move their biases on chip until they fire as before, without labels",
    "host": "a computer beside the chip learns and writes weights back",
}
"""Name → what it is."""


def check_learner(name: str) -> None:
    """Refuse a name that is no learner's.

    Raises:
        UsageError: naming the nearest.
    """
    if name not in LEARNERS:
        raise UsageError(f"no learner {name!r}; learners: {', '.join(LEARNERS)}{nearest(name, LEARNERS)}")


def check_learns(name: str, deployment: Deployment, plastic: tuple[str, ...] | None = None) -> None:
    """Refuse a chip that a learner cannot train, before anything runs.

    Args:
        name: one of :data:`LEARNERS`.
        deployment: the chip; its damage is left out.
        plastic: names of the connections that may change; None: all that the learner can train.

    Raises:
        UsageError: there is no such learner or connection.
        UnsupportedError: the text names the population or connection, or what the learner takes, and the learners that can.
        LearningRuleError: the chip cannot express the learner's rule; likewise.
    """
    check_learner(name)
    samples_apart(deployment, "what learns")
    with with_remedy("strategies that do not learn: none, remap"):
        usual_readout(deployment.readout, "what learns")
    from neurofault.rescue.learners.suited import check_suits

    check_suits(
        name, deployment, None if plastic is None else tuple(deployment.connection(each).name for each in plastic), tuple(LEARNERS)
    )


def learner_named(name: str, deployment: Deployment, inputs: Inputs, labels: Expected, **options: Any) -> Learner:
    """Make a learner for a chip.

    Args:
        name: one of :data:`LEARNERS`.
        deployment: the chip; its healthy state is what counts.
        inputs: encoded samples that are at hand at deployment, with
        labels: int [N]; or targets, float [N, n_out] in the unit of scores (:func:`neurofault.rescue.lesson.in_scores`).
        options: of the learner.

    Raises:
        UsageError: there is no such learner or option.
    """
    check_learner(name)
    try:
        return LEARNERS[name](deployment, inputs, labels, **options)
    except TypeError as error:
        raise UsageError(f"learner {name!r}: {error}") from None
