"""Two-phase learning with two factors, chains only, for chips without a third factor for each neuron (Loihi 1): `emstdp`.

After Shrestha, Fang, Mei, Rider, Wu and Qiu, "In-hardware learning of multilayer spiking neural networks on a neuromorphic processor"
(arXiv:2105.03649): errors become spikes of error neurons, which make the neurons that learn fire, and a rule of source trace and target
spike turns that into weight changes. Here, in each sample:

1. T steps forward; a source's trace x1 holds its spikes. An embedded processor reads the output potentials (Loihi 1 has three), works
   the margin errors out as :mod:`neurofault.rescue.learners.error_sizes` does, and sets the biases of two error neurons a class.
2. S steps in which positive errors excite: an output neuron fires with its error neuron (through teacher synapses strong enough), a
   hidden neuron that fired before integrates the feedback of all error neurons. Each spike adds ``dw = +2^e·x1·y0``.
3. S steps with the signs turned, and ``dw = −2^e·x1·y0``: the processor switches the rule, as nengo-loihi's PES does.

What differs from the paper: two phases of one sign each in the place of one in which the input goes on (ĥ − h from a tag), because our
outputs are read by their potential and do not fire; and the margin. Hidden neurons that did not fire are held, as there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.cost_events import alive
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UnsupportedError, UsageError
from neurofault.inputs import Inputs
from neurofault.learning.rule import LearningRule, learning_rule
from neurofault.learning.rule_check import LAVA_EXPONENT, check_rule
from neurofault.learning.setup import strict_engine
from neurofault.metrics import Expected
from neurofault.rescue.charge import LessonCharge, charge
from neurofault.rescue.guard import Differences
from neurofault.rescue.learners import emstdp_kernel, error_kernel, gain
from neurofault.rescue.learners.error_sizes import MOST, TIE
from neurofault.rescue.learners.error_stages import Stages, Writes, arriving, build, counted_on, learned_deployment, spikes_of
from neurofault.rescue.learners.errors import Feedback, feedback_weights, parts_of, usual_margin
from neurofault.rescue.learners.kept_records import kept
from neurofault.rescue.learners.trainable import dense_end, hidden_targets
from neurofault.rescue.lesson import Lesson, Plasticity, Taught, check_labels
from neurofault.rescue.provision import Provision, Support, provision

_TEACHERS = 5
"""Teacher synapses of the largest weight that lift an output neuron beyond any threshold in one step."""


_LIMIT = 0.16
"""Largest gain of the readout, 0.11 on ``mnist-mlp``: errors are whole spikes, at least one, so small ones are answered too strongly."""

_HIDDEN_LIMIT = 0.5
"""Largest gain of hidden layers, 0.35 on ``mnist-mlp``: it counts the spikes of one error alone, which others cut short."""


@final
@dataclass(frozen=True)
class Emstdp:
    """Two-phase, two-factor error learning; made by :func:`emstdp`.

    Attributes:
        margin, tie: as of :class:`neurofault.rescue.learners.errors.ErrorLearning`.
        phase: S, steps of each error phase, 1 to 63.
        readout_exponent, hidden_exponent: e of the rule, −7 to 8.
        impulse: what a spike adds to x1, 1 to 127.
        feedback_exponent: feedback currents are weights times 2**(6 + feedback_exponent), −6 to 7.
        feedback_weights: hidden population → int32 [n_out, n], copied at deployment, then frozen.
    """

    margin: int
    tie: int = TIE
    phase: int = 16
    readout_exponent: int = -6
    hidden_exponent: int = -7
    impulse: int = 1
    feedback_exponent: int = 3
    feedback_weights: tuple[tuple[str, NDArray[np.int32]], ...] = ()

    @property
    def feedback_shift(self) -> int:
        """0: hidden neurons integrate their feedback."""
        return 0

    @property
    def name(self) -> str:
        """``emstdp``."""
        return "emstdp"

    @property
    def on_chip(self) -> bool:
        """True."""
        return True

    @property
    def error_populations(self) -> int:
        """2: an error neuron of each class for each sign."""
        return 2

    def trainable(self, deployment: Deployment) -> tuple[str, ...]:
        """Return the connections of a chain into the readout and into what dense ones drive from which only dense ones follow.

        Raises:
            UnsupportedError: the network is no chain.
        """
        return tuple(link.incoming.name for link in dense_end(deployment, "emstdp"))

    def rule(self, deployment: Deployment, connection: str, sign: str = "") -> LearningRule:
        """Return the rule of a connection in the exciting phase, or with ``sign="-"`` in the other."""
        readout = deployment.connection(connection).target == deployment.output.name
        exponent = self.readout_exponent if readout else self.hidden_exponent
        return learning_rule(dw=f"{sign}2^{exponent}*y0*x1", x1_impulse=self.impulse, x1_tau=float("inf"), t_epoch=1)

    def provide(self, deployment: Deployment, plasticity: Plasticity) -> Provision:
        """See :meth:`neurofault.rescue.lesson.Learner.provide`."""
        plastic = plasticity.chosen(self.trainable(deployment))
        for name in plastic:
            check_rule(self.rule(deployment, name), deployment.profile)
        outputs = deployment.output.size
        hidden = dict.fromkeys(hidden_targets(deployment, plastic), 2 * outputs)
        return provision(deployment, plastic, (Support("error", 2 * outputs, 1),), hidden)

    def teach(self, deployment: Deployment, lesson: Lesson, memory: Any = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`; ``memory``: how often each synapse was written."""
        check_labels(deployment, lesson)
        plastic = lesson.plasticity.chosen(self.trainable(deployment))
        if not plastic:
            raise UsageError(f"emstdp can train {', '.join(self.trainable(deployment))}, none of which is plastic")
        if any(mask.any() for mask in lesson.plasticity.new.values()) and lesson.plasticity.old_shift != 0:
            raise UnsupportedError(
                "emstdp learns at one rate: it cannot hold old synapses back for new neurons; use delta, dfa, falling or host"
            )
        plus = build(self, deployment, plastic, lesson, memory)
        if not plus.steady:
            raise UnsupportedError(
                "emstdp: damage that comes and goes while the chip learns is not simulated; use delta, dfa, falling"
            )
        plus = replace(plus, stages=tuple(self._in_phases(stage) for stage in plus.stages))
        programs = [strict_engine(deployment, one.name, self.rule(deployment, one.name, "-")).program for one in plus.connections]
        tally, counts = plus.tally(), dict[str, NDArray[np.int64]]()
        for part in parts_of(deployment, lesson, plus):
            stages, before = arriving(deployment, plus, part)
            for name, total in before.items():
                counts[name] = counts.get(name, 0) + total
            own = kept([*stages, *(stage._replace(program=each) for stage, each in zip(stages, programs, strict=True))])
            emstdp_kernel.teach(
                own.kind, own.rows[: len(stages)], own.rows[len(stages) :], part.first, part.labels, part.wanted, plus.counted, self.margin, self.tie,
                6 + self.feedback_exponent, tally,
            )  # fmt: skip
        done, activity = self._learned(deployment, lesson, plus, tally), spikes_of(deployment, plus, counts, tally)
        return Taught(learned_deployment(deployment, plus), charge(deployment, activity, len(lesson.labels), done), plus.writes())

    def _in_phases(self, stage: error_kernel.Stage) -> error_kernel.Stage:
        silence, driven = (np.zeros((self.phase, side.size), np.bool_) for side in (stage.new_in, stage.new_out))
        return stage._replace(room=stage.room._replace(silence=silence, driven=driven))

    def written_back(self, memory: Writes | None, differing: Differences) -> Writes | None:
        """See :meth:`neurofault.rescue.lesson.Learner.written_back`."""
        return counted_on(memory, differing)

    def _learned(self, deployment: Deployment, lesson: Lesson, stages: Stages, tally: error_kernel.StageTally) -> LessonCharge:
        """Count what learning took: in each step of both phases the engine visits the synapses of every source with a trace."""
        visits = {}
        for name in stages.plastic:
            live = alive(deployment, deployment.connection(name).target)
            visits[name] = 2 * self.phase * int(tally.active[stages.of(name)].sum()) * int(live.sum())
        hidden = sum(int(alive(deployment, name).sum()) for name in hidden_targets(deployment, stages.plastic))
        outputs = deployment.output.size
        spikes = int(tally.errors[0]) * self.phase  # at most: every error at its largest
        return LessonCharge(
            visits,
            stages.written(),
            operations=spikes * (_TEACHERS + hidden),
            messages=spikes,
            neurons=2 * outputs,
            host_bytes=lesson.bytes_told,
            extra_steps=2 * self.phase,
        )


def emstdp(
    deployment: Deployment,
    inputs: Inputs,
    labels: Expected,
    *,
    margin: int | None = None,
    feedback: Feedback = "readout_copy",
    seed: int = 0,
    scaled: bool = True,
    **options: Any,
) -> Emstdp:
    """Return `emstdp`, its margin, feedback and steps taken from the healthy chip.

    Args:
        deployment: the chip.
        inputs: encoded samples, with
        labels: int [N], or targets, as of :func:`neurofault.rescue.learners.errors.delta`.
        margin: None: as of :func:`neurofault.rescue.learners.errors.delta`.
        feedback: ``readout_copy`` or ``random``.
        seed: of random feedback.
        scaled: whether steps follow from the chip (:mod:`neurofault.rescue.learners.gain`); else they are the attributes' defaults.
        options: other attributes of :class:`Emstdp`, in the place of what follows from the chip.

    Raises:
        UnsupportedError: the network is no chain.
    """
    weights = tuple(feedback_weights(deployment, feedback, seed, "emstdp").items())
    learner = Emstdp(usual_margin(deployment, inputs, labels), feedback_weights=weights)
    if scaled:
        seen = gain.seen(deployment, inputs, learner.trainable(deployment))
        learner = with_hidden_steps(with_readout_steps(learner, seen), seen)
    return replace(learner, **{"margin": learner.margin if margin is None else margin, **options})


def error_spikes(learner: Emstdp) -> int:
    """Return how many spikes the error neuron of a tie sends in a phase."""
    return -(-learner.tie * learner.phase // MOST)


def readout_gain(learner: Emstdp, seen: gain.Seen) -> float:
    """Return the loop gain of the readout's steps; see :mod:`neurofault.rescue.learners.gain`."""
    (last,) = seen.deployment.into(seen.deployment.output.name)
    rate = 2.0**learner.readout_exponent * error_spikes(learner)
    return rate / learner.margin * seen.drive(last.name, learner.impulse) * seen.unit(last.name)


def hidden_gain(learner: Emstdp, seen: gain.Seen) -> float:
    """Return the largest loop gain of the hidden layers' steps; 0 where none learns."""
    gains = []
    for population, weights in learner.feedback_weights:
        (into,) = seen.deployment.into(population)
        threshold = np.maximum(64.0 * seen.deployment.population(population).vth.astype(np.float64), 1.0)
        current = np.abs(weights) * 2.0 ** (6 + learner.feedback_exponent) * error_spikes(learner)
        firing = np.minimum(current / threshold, learner.phase)
        rate = 2.0**learner.hidden_exponent / learner.margin * seen.drive(into.name, learner.impulse) * seen.unit(into.name)
        gains.append(rate * gain.through_feedback(seen, population, firing))
    return max(gains, default=0.0)


def with_readout_steps(learner: Emstdp, seen: gain.Seen) -> Emstdp:
    """Return a learner whose readout's steps are made smaller until their gain is small enough."""
    exponents = range(learner.readout_exponent, LAVA_EXPONENT[0] - 1, -1)
    ladder = [replace(learner, readout_exponent=exponent) for exponent in exponents]
    ladder += [replace(ladder[-1], tie=learner.tie >> halvings) for halvings in range(1, learner.tie.bit_length())]
    return gain.first_stable(((each, readout_gain(each, seen)) for each in ladder), limit=_LIMIT)


def with_hidden_steps(learner: Emstdp, seen: gain.Seen) -> Emstdp:
    """Return a learner whose hidden layers' steps are halved until their gain is small enough."""
    ladder = [replace(learner, feedback_exponent=exponent) for exponent in range(learner.feedback_exponent, -7, -1)]
    return gain.first_stable(((each, hidden_gain(each, seen)) for each in ladder), limit=_HIDDEN_LIMIT)
