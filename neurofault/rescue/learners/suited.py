"""Which learners can train a chip, said before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines.on_snntorch.engine import check_twin
from neurofault.errors import LearningRuleError, UnsupportedError, UsageError
from neurofault.learning.rule_check import check_rule
from neurofault.rescue.learners.emstdp import Emstdp
from neurofault.rescue.learners.error_stages import stages_of
from neurofault.rescue.learners.errors import ErrorLearning
from neurofault.rescue.learners.falling import Falling
from neurofault.rescue.learners.homeostasis import Homeostasis
from neurofault.rescue.learners.host import HostLearning
from neurofault.rescue.lesson import Plasticity


def check_suits(name: str, deployment: Deployment, plastic: tuple[str, ...] | None, learners: Sequence[str]) -> None:
    """Refuse a chip that a learner cannot train.

    Args:
        name: of the learner.
        deployment: the chip; its damage is left out.
        plastic: names of the connections that may change; None: all that the learner can train.
        learners: all that there are.

    Raises:
        UsageError: none of what it can train is plastic.
        UnsupportedError: the text names the population or connection, and the learners that can.
        LearningRuleError: the chip cannot express the learner's rule; likewise.
    """
    allowed = Plasticity(plastic)
    try:
        _check_trains(name, deployment, allowed)
    except UnsupportedError as error:
        raise UnsupportedError(f"{error}; {_instead_of(name, deployment, allowed, learners)}") from None
    except LearningRuleError as error:
        raise LearningRuleError((*error.mistakes, _instead_of(name, deployment, allowed, learners))) from None


def _check_trains(name: str, deployment: Deployment, allowed: Plasticity) -> None:
    """Refuse a chip that a learner cannot train.

    Raises:
        UsageError: none of what it can train is plastic.
        UnsupportedError: the text names the population or connection.
        LearningRuleError: the chip cannot express its rule.
    """
    match name:
        case "homeostasis":
            if not Homeostasis(()).trainable(deployment):
                raise UnsupportedError(
                    f"homeostasis moves the biases of hidden populations, and network {deployment.name!r} has none between its inputs and its readout"
                )
        case "host":
            check_twin(deployment.with_damage(Damage()))
            if not _chosen(name, HostLearning(margin=1).trainable(deployment), allowed):
                raise UnsupportedError(f"host trains dense connections, and network {deployment.name!r} has none")
        case _:
            learner = _unset(name)
            plastic = _chosen(name, learner.trainable(deployment), allowed)
            stages_of(name, deployment, plastic)
            for connection in plastic:
                check_rule(learner.rule(deployment, connection), deployment.profile)


def _unset(name: str) -> Emstdp | ErrorLearning | Falling:
    """Return a learner by error neurons with usual steps, whatever the chip."""
    match name:
        case "emstdp":
            return Emstdp(margin=1)
        case "falling":
            return Falling((ErrorLearning(True, margin=1),))
        case _:
            return ErrorLearning(name == "dfa", margin=1)


def _chosen(name: str, trainable: tuple[str, ...], allowed: Plasticity) -> tuple[str, ...]:
    chosen = allowed.chosen(trainable)
    if trainable and not chosen:
        raise UsageError(f"{name} can train {', '.join(trainable)}, none of which is plastic")
    return chosen


def _instead_of(name: str, deployment: Deployment, allowed: Plasticity, learners: Sequence[str]) -> str:
    """Return which learners can train a chip that one cannot."""

    def able(other: str) -> bool:
        try:
            _check_trains(other, deployment, allowed)
        except (UnsupportedError, LearningRuleError, UsageError):
            return False
        return True

    found = [other for other in learners if other != name and able(other)]
    if not found:
        return "no learner can train this chip; strategies that do not learn: none, remap"
    return f"learners that can: {', '.join(found)}"
