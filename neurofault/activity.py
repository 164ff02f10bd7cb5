"""What a run returns, whichever engine ran it, and the accuracy that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.inputs import State

TRACES = ("u", "v", "spikes")
"""What an engine can record at every step of every population."""


@dataclass(frozen=True, eq=False)
class Traces:
    """State of one population at each of its own steps that were run, T of a whole run, after the update (C, H, W order).

    Attributes:
        u, v: int32 [N, T, n]; None where not recorded.
        spikes: bool [N, T, n]; uint8, how many, of neurons that may fire several times a step; None where not recorded.
    """

    u: NDArray[np.int32] | None = None
    v: NDArray[np.int32] | None = None
    spikes: NDArray[np.bool_] | None = None

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Activity:
    """Result of presenting N samples.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> nf.run(chip, x, y).activity.predictions.tolist()
    [0, 1]

    Attributes:
        scores: int64 [N, n_out], by :class:`neurofault.graph.Readout`: v after the last step (``potential``), the largest v of the steps that
            are read (``largest``), the sum of v over them (``mean``: the mean is that by their number), or spike counts · 2**24 + v after the
            last of them (``count``: counts first, then v); an output neuron that is dead in the last of them scores the smallest int64.
        spike_counts: for each population by name, int64 [n], spikes of each neuron over all samples and the steps that were run.
        sample_spikes: int64 [N], spikes of all populations for each sample.
        traces: by population name, if recorded.
        state: what goes on after the last step, of runs that start from a state or stop early; else None.
        answers: int64 [N, T], the class answered in each step, where labels of steps were given (:mod:`neurofault.engines.answers`); else None.
        step_scores: int64 [N, T, n_out], what ``scores`` would be if the sample ended with each step, where targets of steps were given; else None.
    """

    scores: NDArray[np.int64]
    spike_counts: Mapping[str, NDArray[np.int64]]
    sample_spikes: NDArray[np.int64]
    traces: Mapping[str, Traces] = field(default_factory=dict)
    state: State | None = None
    answers: NDArray[np.int64] | None = None
    step_scores: NDArray[np.int64] | None = None

    __repr__ = brief

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Int64 [N]: the class of the highest score; ties go to the lowest index."""
        predictions: NDArray[np.int64] = np.argmax(self.scores, axis=1)
        return predictions

    @property
    def spikes(self) -> int:
        """Spikes of all neurons (input population included) over all samples."""
        return int(self.sample_spikes.sum())

    def correct(self, labels: NDArray[np.integer]) -> int:
        """Return how many labels are answered right.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> nf.run(chip, x).activity.correct(y)
        2

        Args:
            labels: int [N], of samples; or [N, T], of steps, for which :attr:`answers` must be there. One of −1 is never right.
        """
        if labels.ndim == 1:
            return int(np.count_nonzero(self.predictions == labels))
        assert self.answers is not None
        return int(np.count_nonzero(self.answers == labels))

    def among(self, labels: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
        """Return bool [N], which samples have the class of their label (int [N]) among the k highest scores.

        Of equal scores those of the lowest indices are higher; a dead neuron is never among them.

        >>> found = Activity(np.array([[3, 5, 5], [1, 1, 0]]), {}, np.zeros(2, np.int64))
        >>> [found.among(np.array([2, 2]), k).tolist() for k in (1, 2, 3)]
        [[False, False], [True, False], [True, True]]
        """
        order = np.argsort(-self.scores.astype(np.float64), axis=1, kind="stable")
        found = (order[:, :k] == np.asarray(labels)[:, None]).any(axis=1)
        own = np.take_along_axis(self.scores, np.maximum(labels, 0)[:, None].astype(np.int64), axis=1)[:, 0]
        return np.asarray(found & (own != DEAD_SCORE))


def counted(labels: NDArray[np.integer]) -> int:
    """Return how many labels there are to be answered: N of samples, [N]; of steps, [N, T], those that are not −1."""
    return len(labels) if labels.ndim == 1 else int(np.count_nonzero(labels >= 0))


DEAD_SCORE = int(np.iinfo(np.int64).min)
"""Score of a dead output neuron."""


def scores_from(
    potential: NDArray[np.integer], counts: NDArray[np.integer], how: str, dead: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Combine what was read of the readout's potentials and its spike counts into scores.

    Args:
        potential: what :func:`gather` made of v of the readout in the steps that are read, [N, n_out].
        counts: spikes of each output neuron in these steps, [N, n_out].
        how: as of :class:`neurofault.graph.Readout`.
        dead: bool [n_out] or [N, n_out], neurons that are dead at the readout.
    """
    scores = potential.astype(np.int64)
    if how == "count":
        scores = counts.astype(np.int64) * (1 << 24) + scores
    return np.where(dead, DEAD_SCORE, scores)


def gather(held: NDArray[np.int64], v: NDArray[np.number], how: str, *, first: bool) -> None:
    """Add a step that is read to what was read of the potentials of a sample.

    >>> held = np.zeros(2, np.int64)
    >>> for step, v in enumerate(np.array([[-3, 5], [-1, -9]])):
    ...     gather(held, v, "largest", first=step == 0)
    >>> held.tolist()
    [-1, 5]

    Args:
        held: written to; zeros before the first step.
        v: potentials after the step, whole numbers, of the same shape.
        how: as of :class:`neurofault.graph.Readout`.
        first: whether it is the first step that is read.
    """
    match how:
        case "mean":
            held += v.astype(np.int64)
        case "largest" if not first:
            np.maximum(held, v.astype(np.int64), out=held)
        case _:
            held[...] = v


def counts_from(scores: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the spike counts that scores of the ``count`` readout hold; what dead neurons score stays far below any count.

    >>> counts_from(np.array([3 * (1 << 24) - 5, 3 * (1 << 24) + 5])).tolist()
    [3, 3]
    """
    return np.asarray(scores + (1 << 23) * (scores != DEAD_SCORE) >> 24, np.int64)
