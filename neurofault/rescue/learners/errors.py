"""Learning from errors on chip: `delta` trains the readout, `dfa` (chains only) the hidden layers too.

At a sample's last step each error neuron compares its class's score with that of the right class
(:func:`neurofault.rescue.learners.error_sizes.margin_errors`; where targets are to be answered with its target, :func:`~neurofault.rescue.learners.error_sizes.target_errors`) and writes what it finds into the third factors of the output neurons; with `dfa`
it also goes through fixed feedback synapses to the hidden neurons that fired (direct feedback alignment, Nøkland 2016,
arXiv:1609.01596). The rule is the three-factor product series of a Loihi 2 ::

    dw = 2^e·u·x1·y1 − 2^e·u·x1·y2        x1: spikes of the source in the sample; y1, y2: error above and below zero

at the end of each sample (mode ``hardware_strict``: stochastic rounding to the stored width, unsigned 7-bit traces, stuck bits).
Arithmetic: Δw = ⌊x1·y/8⌋·2^e before rounding (Lava 0.10, see :mod:`neurofault.learning.update`).

Why these choices (``experiments/bench/learners.py`` prints the comparison): an error only within a margin leaves a network that is
right alone, which keeps sham training harmless; feedback that is a copy of the healthy readout points where back-propagation would,
while random feedback would first have to turn weights that were trained off chip; small steps, rounded at random, average over samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import counts_from
from neurofault.damage.damage import Damage
from neurofault.deploy.cost_events import alive
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.engines import get_engine
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Dense
from neurofault.graph.chains import links
from neurofault.inputs import Inputs
from neurofault.learning.rule import LearningRule, learning_rule
from neurofault.learning.rule_check import LAVA_EXPONENT, check_rule
from neurofault.metrics import Expected
from neurofault.numerals import whole_number
from neurofault.rescue.charge import LessonCharge, charge
from neurofault.rescue.guard import Differences
from neurofault.rescue.learners import error_kernel, gain
from neurofault.rescue.learners.error_sizes import TIE
from neurofault.rescue.learners.error_stages import Stages, Writes, build, counted_on, learned_deployment, show, spikes_of
from neurofault.rescue.learners.trainable import dense_end, hidden_targets, into_readout
from neurofault.rescue.lesson import Lesson, Plasticity, Taught, check_labels
from neurofault.rescue.provision import Provision, Support, provision
from neurofault.streams import generator

Feedback = Literal["readout_copy", "random"]

_PRODUCT_SHIFT = 3
"""A product of x1 and y1 loses so many bits in the learning engine."""

_CHUNK = 1 << 26
"""Largest array of spikes that is kept at a time, in bytes."""


@final
@dataclass(frozen=True)
class ErrorLearning:
    """Three-factor error learning; made by :func:`delta` and :func:`dfa`.

    Attributes:
        hidden: whether hidden dense layers learn too.
        margin: scores closer than this to that of the right class are errors, in the unit of v (potential readout) or in spikes (count
            readout), at least 1.
        tie: error of a rival whose score equals that of the right class, 1 to 127; of targets, that of a score which misses its target by the margin.
        readout_exponent, hidden_exponent: e of the rule, −7 to 8.
        readout_impulse, hidden_impulse: what a spike adds to x1 in the readout and in hidden layers, 1 to 127.
        feedback: where feedback synapses come from.
        feedback_shift: what hidden neurons receive through feedback is divided by 2**feedback_shift, 0 to 31.
        feedback_weights: hidden population → int32 [n_out, n], copied at deployment, then frozen.
    """

    hidden: bool
    margin: int
    tie: int = TIE
    readout_exponent: int = -6
    hidden_exponent: int = -7
    readout_impulse: int = 2
    hidden_impulse: int = 1
    feedback: Feedback = "readout_copy"
    feedback_shift: int = 10
    feedback_weights: tuple[tuple[str, NDArray[np.int32]], ...] = ()

    @property
    def name(self) -> str:
        """``dfa`` or ``delta``."""
        return "dfa" if self.hidden else "delta"

    @property
    def on_chip(self) -> bool:
        """True."""
        return True

    @property
    def error_populations(self) -> int:
        """1: an error neuron of each class tells of errors of both signs."""
        return 1

    def trainable(self, deployment: Deployment) -> tuple[str, ...]:
        """Return the connections that it can train: dense ones into the readout; with ``hidden`` all from which only dense ones follow.

        Raises:
            UnsupportedError: the readout drives something, or none of several connections into it is dense; with ``hidden``, the network is
                no chain.
        """
        if self.hidden:
            return tuple(link.incoming.name for link in dense_end(deployment, "dfa"))
        return into_readout(deployment)

    def rule(self, deployment: Deployment, connection: str) -> LearningRule:
        """Return the rule of a connection; a sample that is longer than an epoch can be takes several, with a gate on the last."""
        readout = deployment.connection(connection).target == deployment.output.name
        exponent = self.readout_exponent if readout else self.hidden_exponent
        impulse = self.readout_impulse if readout else self.hidden_impulse
        epoch, gate = epoch_of(deployment.timesteps, deployment.profile)
        return learning_rule(
            dw=f"2^{exponent}*u{gate}*x1*y1 - 2^{exponent}*u{gate}*x1*y2",
            x1_impulse=impulse,
            x1_tau=float("inf"),
            t_epoch=epoch,
            third_factor=True,
        )

    def provide(self, deployment: Deployment, plasticity: Plasticity) -> Provision:
        """See :meth:`neurofault.rescue.lesson.Learner.provide`."""
        plastic = plasticity.chosen(self.trainable(deployment))
        for name in plastic:
            check_rule(self.rule(deployment, name), deployment.profile)
        outputs = deployment.output.size
        hidden = dict.fromkeys(hidden_targets(deployment, plastic), outputs)
        return provision(deployment, plastic, (Support("error", outputs, 3),), hidden)

    def teach(self, deployment: Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`; ``memory``: how often each synapse was written."""
        check_labels(deployment, lesson)
        plastic = lesson.plasticity.chosen(self.trainable(deployment))
        if not plastic:
            raise UsageError(f"{self.name} can train {', '.join(self.trainable(deployment))}, none of which is plastic")
        stages = build(self, deployment, plastic, lesson, memory)
        tally, counts = stages.tally(), dict[str, NDArray[np.int64]]()
        for part in parts_of(deployment, lesson, stages):
            for name, total in show(deployment, stages, part, self.margin, self.tie, tally).items():
                counts[name] = counts.get(name, 0) + total
        learned = self._learned(deployment, lesson, stages, tally)
        return Taught(
            learned_deployment(deployment, stages),
            charge(deployment, spikes_of(deployment, stages, counts, tally), len(lesson.labels), learned),
            stages.writes(),
        )

    def written_back(self, memory: Writes | None, differing: Differences) -> Writes | None:
        """See :meth:`neurofault.rescue.lesson.Learner.written_back`."""
        return counted_on(memory, differing)

    def _learned(self, deployment: Deployment, lesson: Lesson, stages: Stages, tally: error_kernel.StageTally) -> LessonCharge:
        """Count what learning took."""
        visits = {}
        for name in stages.plastic:
            old, new = tally.active[stages.of(name)].tolist()
            live, stage = alive(deployment, deployment.connection(name).target), stages.stages[stages.of(name)]
            visits[name] = new * int(live.sum()) + old * int((live & stage.new_out if stage.old_shift < 0 else live).sum())
        errors, outputs = int(tally.errors[0]), deployment.output.size
        hidden = sum(int(alive(deployment, name).sum()) for name in hidden_targets(deployment, stages.plastic))
        known = lesson.known
        return LessonCharge(
            visits,
            stages.written(),
            operations=3 * outputs * known + errors * (1 + hidden),
            messages=(outputs + 2) * known + errors,
            neurons=outputs,
            host_bytes=lesson.bytes_told,
        )


def delta(
    deployment: Deployment,
    inputs: Inputs,
    labels: Expected,
    *,
    margin: int | None = None,
    scaled: bool = True,
    **options: Any,
) -> ErrorLearning:
    """Return `delta`: the readout learns from the errors of its own neurons (Widrow & Hoff 1960, with a margin).

    Args:
        deployment: the chip; its healthy state says what a usual distance between scores is, and how large a step may be.
        inputs: encoded samples for that.
        labels: int [N]; or targets, float [N, n_out] in the unit of scores, of ``v`` or spikes.
        margin: None: the power of two nearest to 0.4 of the median distance between the right class and its best rival; of targets that nearest to their
            standard deviation.
        scaled: whether steps follow from the chip (:mod:`neurofault.rescue.learners.gain`); else they are the attributes' defaults.
        options: other attributes of :class:`ErrorLearning`, in the place of what follows from the chip.

    Raises:
        UnsupportedError: the readout drives something, or none of several connections into it is dense.
    """
    trained = into_readout(deployment)
    learner = ErrorLearning(False, usual_margin(deployment, inputs, labels))
    if scaled:
        learner = with_readout_steps(learner, gain.seen(deployment, inputs, trained))
    return replace(learner, **{"margin": learner.margin if margin is None else margin, **options})


def dfa(
    deployment: Deployment,
    inputs: Inputs,
    labels: Expected,
    *,
    margin: int | None = None,
    feedback: Feedback = "readout_copy",
    seed: int = 0,
    scaled: bool = True,
    **options: Any,
) -> ErrorLearning:
    """Return `dfa`: readout and hidden layers learn, through feedback synapses that are fixed at deployment.

    Args:
        deployment: the chip; feedback is copied from its healthy weights: of the last hidden layer those of the readout, of an
            earlier one the product of all that follow, scaled to the stored width.
        inputs: as in :func:`delta`, with
        labels: and
        margin: likewise.
        feedback: ``readout_copy``, or ``random`` (±1 of the same mean size).
        seed: of random feedback.
        scaled: likewise.
        options: other attributes of :class:`ErrorLearning`, in the place of what follows from the chip.

    Raises:
        UnsupportedError: the network is no chain.
    """
    weights = tuple(feedback_weights(deployment, feedback, seed, "dfa").items())
    learner = ErrorLearning(True, usual_margin(deployment, inputs, labels), feedback=feedback, feedback_weights=weights)
    if scaled:
        seen = gain.seen(deployment, inputs, learner.trainable(deployment))
        learner = with_hidden_steps(with_readout_steps(learner, seen), seen)
    return replace(learner, **{"margin": learner.margin if margin is None else margin, **options})


def readout_gain(learner: ErrorLearning, seen: gain.Seen) -> float:
    """Return the loop gain of the readout's steps; see :mod:`neurofault.rescue.learners.gain`."""
    rate = learner.tie / learner.margin * 2.0 ** (learner.readout_exponent - _PRODUCT_SHIFT)
    return sum(rate * seen.drive(name, learner.readout_impulse) * seen.unit(name) for name in into_readout(seen.deployment))


def usual_gain(deployment: Deployment, inputs: Inputs, labels: Expected) -> float:
    """Return the gain that the usual steps of the readout would have on a chip."""
    learner = ErrorLearning(False, usual_margin(deployment, inputs, labels))
    return readout_gain(learner, gain.seen(deployment, inputs, into_readout(deployment)))


def hidden_gain(learner: ErrorLearning, seen: gain.Seen) -> float:
    """Return the largest loop gain of the hidden layers' steps; 0 where none learns."""
    rate = 2.0 ** (learner.hidden_exponent - _PRODUCT_SHIFT)
    gains = []
    for population, weights in learner.feedback_weights:
        (connection,) = seen.deployment.into(population)
        drive = rate / learner.margin * seen.drive(connection.name, learner.hidden_impulse) * seen.unit(connection.name)
        arriving = learner.tie * weights.astype(np.float64) / 2.0**learner.feedback_shift
        gains.append(drive * gain.through_feedback(seen, population, arriving))
    return max(gains, default=0.0)


def with_readout_steps(learner: ErrorLearning, seen: gain.Seen) -> ErrorLearning:
    """Return a learner whose readout's steps are halved until their gain is small enough."""
    ladder = [learner]
    while ladder[-1].tie > 1:
        ladder.append(halved_readout_steps(ladder[-1]))
    return gain.first_stable((each, readout_gain(each, seen)) for each in ladder)


def halved_readout_steps(learner: ErrorLearning) -> ErrorLearning:
    """Return a learner whose readout's steps are half as large: by the rule's scale, then by the impulse of its traces, then by the size of errors."""
    if learner.readout_exponent > LAVA_EXPONENT[0]:
        return replace(learner, readout_exponent=learner.readout_exponent - 1)
    if learner.readout_impulse > 1:
        return replace(learner, readout_impulse=learner.readout_impulse // 2)
    return replace(learner, tie=max(1, learner.tie // 2))


def with_hidden_steps(learner: ErrorLearning, seen: gain.Seen) -> ErrorLearning:
    """Return a learner whose hidden layers' steps are halved until their gain is small enough."""
    ladder = [replace(learner, feedback_shift=shift) for shift in range(learner.feedback_shift, 32)]
    return gain.first_stable((each, hidden_gain(each, seen)) for each in ladder)


def parts_of(deployment: Deployment, lesson: Lesson, stages: Stages) -> Iterator[Lesson]:
    """Yield a lesson in parts whose spikes can be kept at a time."""
    kept = sum(one.size for one in deployment.populations if one.name not in stages.trained)
    size = max(1, _CHUNK // max(1, deployment.timesteps * kept))
    for start in range(0, len(lesson.labels), size):
        yield lesson.part(slice(start, min(start + size, len(lesson.labels))))


def feedback_weights(deployment: Deployment, feedback: Feedback, seed: int, what: str) -> dict[str, NDArray[np.int32]]:
    """Return for each hidden population that can learn what each error neuron sends it, int32 [n_out, n].

    Args:
        deployment: the chip.
        feedback: where feedback synapses come from.
        seed: of random feedback.
        what: whose they are, for messages.

    Raises:
        UnsupportedError: the network is no chain.
    """
    seed = whole_number(seed, "seed")
    found: dict[str, NDArray[np.int32]] = {}
    product: NDArray[np.float64] | None = None
    chain = links(deployment, what)
    for link, before in zip(chain[:1:-1], chain[-2:0:-1], strict=True):
        synapses, name = link.incoming.synapses, before.population.name
        if not isinstance(synapses, Dense) or not isinstance(before.incoming.synapses, Dense):
            break
        weight = np.asarray(synapses.weight, np.float64)
        product = weight if product is None else product @ weight
        last = link is chain[-1]
        scaled = product if last else product * (np.abs(weight).mean() / max(np.abs(product).mean(), 1e-9))
        if feedback == "random":
            signs = generator(seed, "feedback", name).integers(0, 2, scaled.shape) * 2 - 1
            scaled = signs * np.abs(scaled).mean()
        found[name] = np.clip(np.rint(scaled / 2) * 2, -256, 254).astype(np.int32)
    return found


def usual_margin(deployment: Deployment, inputs: Inputs, labels: Expected, samples: int = 512) -> int:
    """Return the power of two nearest to 0.4 of the median distance between the right class's score and its best rival's, or to the spread of targets.

    It is a parameter of the error neurons, set when the chip is deployed, so it is read off the healthy chip.

    Args:
        deployment: the chip; its damage is left out.
        inputs: encoded samples.
        labels: int [N], their classes; −1: not known. Or targets, float [N, n_out] in the unit of scores, of which it is their standard deviation, the mean
            over outputs.
        samples: how many of them are looked at.
    """
    if labels.dtype.kind == "f":
        return 1 << max(0, round(math.log2(max(float(np.asarray(labels[:samples], np.float64).std(axis=0).mean()), 1.0))))
    healthy = deployment.with_damage(Damage())
    activity = get_engine("exact").run(healthy, inputs[: min(samples, len(inputs))])
    scores = activity.scores if deployment.readout.how == "potential" else counts_from(activity.scores)
    known = np.flatnonzero(np.asarray(labels[: len(scores)]) >= 0)
    if not known.size:
        raise UsageError("no labels: an error needs at least one")
    right = scores[known, labels[known]]
    others = scores[known].copy()
    others[np.arange(known.size), labels[known]] = np.iinfo(np.int64).min
    gap = float(np.median(np.abs(right - others.max(axis=1))))
    return 1 << max(0, round(math.log2(max(0.4 * gap, 1.0))))


def epoch_of(steps: int, profile: HardwareProfile) -> tuple[int, int]:
    """Return (steps of an epoch, k of its gate u_k) such that 2**k epochs are a sample.

    Raises:
        UnsupportedError: the sample cannot be cut like that.
    """
    longest = profile.learning.epoch_max.value
    for gate in range(10):
        if steps % (1 << gate) == 0 and (longest is None or steps >> gate <= longest):
            return steps >> gate, gate
    raise UnsupportedError(
        f"{steps} steps a sample cannot be cut into 1, 2, 4 … equal epochs of at most {longest} steps; choose other timesteps"
    )
