"""What a chip answers in each step of a sample, from what an engine records of its readout, a batch of samples at a time.

**The answer in step t is what the readout would answer if the sample ended with that step**: of a ``potential`` readout the neuron whose v is highest after its
t-th step (as Yin, Corradi and Bohté 2021 read their ECG network, Nature Machine Intelligence 3:905), of a ``count`` readout the one with the most spikes so far
(ties by v), of ``largest`` and ``mean`` that whose v was largest in any step so far, or in the mean of them; then the lowest index. A neuron that is dead in that step is never the answer. A step is the readout's own: that in which what was presented in
step t can first have reached it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity, Traces, gather, scores_from
from neurofault.damage.fold_neurons import NeuronsInTime
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import Engine
from neurofault.errors import UnsupportedError
from neurofault.graph.readout import unusual_readout
from neurofault.inputs import Inputs

_MOST_BYTES = 64 << 20
"""Of the traces of a batch."""


def run_with_answers(
    engine: Engine, deployment: Deployment, inputs: Inputs, record: Collection[str] = (), *, scores: bool = False
) -> Activity:
    """Present every sample for T steps, and keep the answer of each step in :attr:`Activity.answers`, or its scores in :attr:`Activity.step_scores`.

    Samples go to the engine in batches, unless traces are asked for, which hold all of them anyway, or the samples are one stream.

    Args:
        engine: one that can run the deployment.
        deployment: the (damaged) chip.
        inputs: N encoded samples.
        record: traces to keep as well.
        scores: keep scores, which are N·T·n_out numbers of 8 bytes, in the place of answers.

    Raises:
        UnsupportedError: a readout of some steps alone, which answers in no other.
    """
    if deployment.readout.when is not None:
        raise UnsupportedError(
            f"{'targets' if scores else 'labels'} of every step: {unusual_readout(deployment.readout)}, which answers in no other step; take all steps"
        )
    needed = {"v"} if deployment.readout.potentials else {"v", "spikes"}
    neurons = sum(population.size for population in deployment.populations)
    batch = max(1, _MOST_BYTES // (5 * neurons * deployment.timesteps))
    if record or deployment.reset == "never":
        batch = len(inputs)
    parts: list[Activity] = []
    for start in range(0, len(inputs), batch):
        window = inputs[start : start + batch]
        activity = engine.run(deployment, window, record={*record, *needed})
        found = _answers(deployment, activity.traces[deployment.readout.population], window.first_sample, scores=scores)
        kept = {name: _only(trace, record) for name, trace in activity.traces.items()} if record else {}
        parts.append(replace(activity, traces=kept, answers=None if scores else found, step_scores=found if scores else None))
    if len(parts) == 1:
        return parts[0]
    names = parts[0].spike_counts
    return Activity(
        np.concatenate([part.scores for part in parts]),
        {name: np.sum([part.spike_counts[name] for part in parts], axis=0, dtype=np.int64) for name in names},
        np.concatenate([part.sample_spikes for part in parts]),
        answers=_joined([part.answers for part in parts]),
        step_scores=_joined([part.step_scores for part in parts]),
    )


def _joined(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None


def _answers(deployment: Deployment, trace: Traces, first_sample: int, *, scores: bool) -> NDArray[np.int64]:
    """Return int64 [N, T] from the readout's traces; of scores [N, T, n_out]."""
    readout = deployment.readout
    assert trace.v is not None
    samples, steps, _ = trace.v.shape
    neurons = NeuronsInTime(deployment, readout.population, first_sample, samples)
    counts, held = np.zeros(trace.v.shape[::2], np.int64), np.zeros(trace.v.shape[::2], np.int64)
    answers = np.empty(trace.v.shape if scores else (samples, steps), np.int64)
    for step in range(steps):
        if trace.spikes is not None:
            counts += trace.spikes[:, step]
        gather(held, trace.v[:, step], readout.how, first=step == 0)
        now = scores_from(held, counts, readout.how, neurons.at(step).silent)
        answers[:, step] = now if scores else now.argmax(axis=1)
    return answers


def _only(trace: Traces, record: Collection[str]) -> Traces:
    return Traces(
        trace.u if "u" in record else None, trace.v if "v" in record else None, trace.spikes if "spikes" in record else None
    )
