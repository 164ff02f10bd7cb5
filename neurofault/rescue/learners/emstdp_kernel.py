"""Compiled two-phase learning with two factors: forward, then error spikes that make neurons fire, then what fires learns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.compiled import part
from neurofault.learning.counter import jit
from neurofault.learning.kernel import run as run_learning
from neurofault.rescue.learners.error_kernel import Stage, StageTally, count, forward
from neurofault.rescue.learners.error_sizes import MOST, errors_of, silence_errors
from neurofault.rescue.learners.kept_records import record_at

_FLOOR = -(1 << 23)


@part
def _spikes_now(size: int, steps: int, step: int) -> bool:
    """Whether one of ⌈size·steps/127⌉ spikes, evenly spread over a phase, falls into a step."""
    number = (size * steps + MOST - 1) // MOST
    return (step + 1) * number // steps > step * number // steps


@part
def drive(stage: Stage, error: NDArray[np.int32], sign: int, left: int, post: NDArray[np.bool_]) -> bool:
    """Fill ``post`` (bool [S, n]) with what error spikes make fire in one phase; return whether anything does.

    An output neuron fires with each spike of its error neuron of this sign. A hidden neuron that fired in the forward phase starts
    at v = 0, adds Σ ±feedback of the error spikes, times 2**left, and fires beyond its threshold; one that did not is held.
    """
    steps, v, some = post.shape[0], stage.room.v, False
    direct = stage.feedback.shape[0] == 0
    for j in range(v.shape[0]):
        v[j] = 0
    for step in range(steps):
        for j in range(v.shape[0]):
            post[step, j] = False
            if not stage.alive[j]:
                continue
            if direct:
                post[step, j] = error[j] * sign > 0 and _spikes_now(abs(error[j]), steps, step)
            else:
                current = np.int64(0)
                for c in range(error.shape[0]):
                    if error[c] and _spikes_now(abs(error[c]), steps, step):
                        current += stage.feedback[c, j] if error[c] * sign > 0 else -stage.feedback[c, j]
                moved = max(np.int64(v[j]) + (current << left), np.int64(_FLOOR))
                fires = moved > stage.threshold[j]
                v[j] = np.int32(0) if fires else np.int32(min(moved, np.int64(-_FLOOR)))
                if fires:
                    for t in range(stage.room.fired.shape[0]):
                        if stage.room.fired[t, j]:
                            post[step, j] = True
                            break
            some |= post[step, j]
    return some


@part
def _traces(stage: Stage) -> None:
    """Set x1 to what the forward phase leaves: an impulse for each spike, up to the largest trace."""
    x, before = stage.memory.x[0], stage.room.before
    for i in range(x.shape[0]):
        spikes = 0
        for t in range(before.shape[0]):
            spikes += before[t, i]
        x[i] = min(spikes * stage.dynamics.whole[0], stage.dynamics.top)


@jit
def teach(
    kind: Any,
    plus: NDArray[np.int64],
    minus: NDArray[np.int64],
    first: int,
    labels: NDArray[np.int64],
    wanted: NDArray[np.float64],
    counted: bool,
    margin: int,
    tie: int,
    left: int,
    tally: StageTally,
) -> None:
    """Show samples one after the other, each to the chip that the earlier ones left.

    Args:
        kind: of the stages, see :func:`neurofault.rescue.learners.error_kernel.respond`.
        plus: rows of the stages with the rule of the exciting phase.
        minus: the same with the rule of the other phase.
        first: number of the first sample in the rescue, from 0.
        labels: int64 [N]; −1: not known.
        wanted: float64 [N, n_out], targets; no columns: there are none.
        counted: whether spike counts are read, not potentials.
        margin: see :func:`neurofault.rescue.learners.error_sizes.margin_errors`.
        tie: likewise.
        left: what arrives through feedback is shifted left by this much.
        tally: counted on.
    """
    output = record_at(kind, plus, plus.shape[0] - 1)
    error = output.room.error
    steps = output.room.driven.shape[0]
    for k in range(labels.shape[0]):
        forward(kind, plus, k, counted)
        for s in range(plus.shape[0]):
            count(record_at(kind, plus, s), tally.spikes[s], tally.active[s])
        found = errors_of(output.room.scores, output.alive, labels[k], wanted[k], margin, tie, error)
        tally.errors[0] += found
        if not found:
            continue
        tally.errors[0] -= silence_errors(output.mute, error)
        for s in range(plus.shape[0]):
            stage = record_at(kind, plus, s)
            if stage.plastic:
                _traces(stage)
        for phase in range(2):
            for s in range(plus.shape[0]):
                stage = record_at(kind, plus if phase == 0 else minus, s)
                post = stage.room.driven
                if not stage.plastic or not drive(stage, error, 1 if phase == 0 else -1, left, post):
                    continue
                for t in range(steps):
                    for j in range(post.shape[1]):
                        tally.spikes[s, j] += post[t, j]
                run_learning(
                    stage.program, stage.dynamics, stage.cells, stage.defects, stage.noise, stage.memory, stage.record, stage.room.work,
                    (2 * (first + k) + phase) * steps, 0, stage.room.silence, post, stage.room.third[:0],
                )  # fmt: skip
