"""Where repaired networks lie in the space of weights: do they return to a set, and is that set path-connected?

The founding paper's invariant set is U_ε: the networks whose accuracy is at least that of the healthy network minus ε. Its claim
``w ∈ U ⇒ (r∘D)^m(w) ∈ U`` is put as two numbers (:func:`return_rate`, :func:`first_exit`), path-connectedness as the barrier on the straight
line between two networks (:func:`barrier`), with the permutation symmetry of hidden nodes taken out where that is asked for
(:func:`aligned`, the weight matching of Ainsworth, Hayase & Srinivasa 2023, "Git Re-Basin", arXiv:2209.04836). Pictures
(:func:`principal_components`, :func:`t_sne`) stand beside those of a random walk of the same step lengths (:func:`random_walk`), which draws
arcs by itself: principal components of a walk in many dimensions are cosines (Antognini & Sohl-Dickstein 2018, arXiv:1806.08805).

Interpolation is between whole networks: dead nodes are zeros among the weights, and masks are not intersected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.network import FloatNetwork, Images
from neurofault.streams import generator, stream_key
from neurofault.study.clustered import clustered_rate
from neurofault.study.statistics import Interval

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Returns:
    """How often repair leads back into U, given that damage led out of it.

    Attributes:
        left: damage steps that led from inside U to outside.
        returned: of these, those whose repair ended in U.
        rate: returned / left, with its interval over trajectories (:func:`neurofault.study.clustered.clustered_rate`); None where nothing left.
        outside: damage steps that hit a network already outside U, and left it outside.
        came_back: of these, those whose repair ended in U.
    """

    left: int
    returned: int
    rate: Interval | None
    outside: int
    came_back: int


def return_rate(damaged: Table, repaired: Table, healthy: Table, epsilon: float) -> Returns:
    """Return the conditional return rate.

    Args:
        damaged: [trajectories, steps], accuracy right after each damage step.
        repaired: [trajectories, steps], accuracy after the repair that follows it.
        healthy: [trajectories], accuracy before anything happened.
        epsilon: accuracy that may be lost inside U, at least 0.

    Raises:
        UsageError: shapes that do not fit, or a negative epsilon.
    """
    _check(damaged, repaired, healthy, epsilon)
    gone_out, inside = damaged < _edge(healthy, epsilon), repaired >= _edge(healthy, epsilon)
    before = np.concatenate([np.ones((len(healthy), 1), bool), inside[:, :-1]], 1)
    gone, returned = (gone_out & before).sum(1), (gone_out & before & inside).sum(1)
    already = gone_out & ~before
    rate = clustered_rate(returned, gone) if gone.any() else None
    return Returns(int(gone.sum()), int(returned.sum()), rate, int(already.sum()), int((already & inside).sum()))


@dataclass(frozen=True, eq=False)
class Exits:
    """When trajectories first fail to return.

    Attributes:
        exits: dead nodes at the first repair that ended outside U, by trajectory; None: it never did.
        survival: [steps], share of trajectories whose repairs ended in U at this step and every one before.
        median: dead nodes at which at most half are left; None: more than half never left.
    """

    exits: tuple[int | None, ...]
    survival: Table
    median: int | None


def first_exit(repaired: Table, healthy: Table, deaths: NDArray[np.int64], epsilon: float) -> Exits:
    """Return when repair first fails. All trajectories are seen to their end, so the survival curve needs no correction.

    Args:
        repaired: [trajectories, steps], accuracy after each repair.
        healthy: [trajectories].
        deaths: int [steps], dead nodes at each step.
        epsilon: accuracy that may be lost inside U.

    Raises:
        UsageError: shapes that do not fit, or a negative epsilon.
    """
    _check(repaired, repaired, healthy, epsilon)
    if deaths.shape != repaired.shape[1:]:
        raise UsageError(f"deaths have the shape {deaths.shape}; expected {repaired.shape[1:]}, one number a step")
    inside = np.logical_and.accumulate(repaired >= _edge(healthy, epsilon), axis=1)
    survival = inside.mean(0)
    exits = tuple(None if one.all() else int(deaths[np.argmin(one)]) for one in inside)
    half = np.flatnonzero(survival <= 0.5)
    return Exits(exits, survival, int(deaths[half[0]]) if half.size else None)


@dataclass(frozen=True, eq=False)
class Barrier:
    """What lies on the straight line, or on a curve, between two networks.

    Attributes:
        height: largest shortfall of accuracy under the straight line between the accuracies of both ends, at least 0.
        loss_height: largest excess of the loss over the straight line between the losses of both ends, at least 0 (nats).
        ends: accuracies of both ends.
        lowest: lowest accuracy on the way.
        accuracies, losses: [alphas], on the way.
    """

    height: float
    loss_height: float
    ends: tuple[float, float]
    lowest: float
    accuracies: Table
    losses: Table


def barrier(a: FloatNetwork, b: FloatNetwork, images: Images, alphas: int = 21, bend: FloatNetwork | None = None) -> Barrier:
    """Walk from one network to another: (1 − α) a + α b, or with a bend on the Bézier curve (1 − α)² a + 2α (1 − α) bend + α² b.

    Args:
        a: one end.
        b: the other, of the same shape.
        images: on which accuracy and loss are measured.
        alphas: points of the walk, evenly spaced, both ends included; at least 3.
        bend: control point of the curve, of the same shape; None: the straight line.

    Raises:
        UsageError: shapes that differ, or fewer than 3 points.
    """
    for other in (b, bend or b):
        if a.sizes != other.sizes:
            raise UsageError(f"networks of different shapes: {a.sizes} and {other.sizes}")
    if alphas < 3:
        raise UsageError(f"alphas is {alphas}; allowed: at least 3, both ends and something between")
    start, end, control = a.vector(), b.vector(), None if bend is None else bend.vector()
    share = np.linspace(0, 1, alphas)
    accuracies, losses = np.empty(alphas), np.empty(alphas)
    for at, alpha in enumerate(share):
        on, off = np.float32(alpha), 1 - np.float32(alpha)
        point = off * start + on * end if control is None else off * off * start + 2 * on * off * control + on * on * end
        between = a.with_vector(point.astype(np.float32))
        accuracies[at] = between.correct(images) / len(images)
        losses[at] = between.loss(images)
    height = float((accuracies[0] + share * (accuracies[-1] - accuracies[0]) - accuracies).max())
    loss_height = float((losses - losses[0] - share * (losses[-1] - losses[0])).max())
    ends = (float(accuracies[0]), float(accuracies[-1]))
    return Barrier(max(0.0, height), max(0.0, loss_height), ends, float(accuracies.min()), accuracies, losses)


def permuted(network: FloatNetwork, orders: list[NDArray[np.int64]]) -> FloatNetwork:
    """Return the same function with its hidden nodes in another order.

    Args:
        network: of L hidden layers.
        orders: for each hidden layer int [width]: the new node j is the old node ``orders[layer][j]``.
    """
    weights, biases = list(network.weights), list(network.biases)
    for layer, order in enumerate(orders):
        weights[layer], biases[layer] = weights[layer][:, order], biases[layer][order]
        weights[layer + 1] = weights[layer + 1][order]
    return FloatNetwork(tuple(weights), tuple(biases))


def aligned(reference: FloatNetwork, other: FloatNetwork) -> FloatNetwork:
    """Return ``other`` with its hidden nodes in the order that is closest to ``reference``.

    The sum of products of incoming weights, biases and outgoing weights is made largest: one assignment problem a hidden layer
    (:func:`scipy.optimize.linear_sum_assignment`), repeated over the layers until none changes.

    Raises:
        UsageError: shapes that differ.
    """
    if reference.sizes != other.sizes:
        raise UsageError(f"networks of different shapes: {reference.sizes} and {other.sizes}")
    found, layers = other, len(other.sizes) - 2
    for _ in range(100):
        still = True
        for layer in range(layers):
            gain = (
                reference.weights[layer].T @ found.weights[layer]
                + reference.biases[layer][:, None] * found.biases[layer][None]
                + reference.weights[layer + 1] @ found.weights[layer + 1].T
            ).numpy()
            order = np.asarray(linear_sum_assignment(gain, maximize=True)[1], np.int64)
            here = np.arange(len(order))
            if gain[here, order].sum() > gain.trace() * (1 + 1e-6) + 1e-9:
                still = False
                orders = [np.arange(width) for width in found.sizes[1:-1]]
                orders[layer] = order
                found = permuted(found, orders)
        if still:
            break
    return found


def random_walk(way: NDArray[np.float32], *key: int | str) -> NDArray[np.float32]:
    """Return a walk from the first point of another one, with steps as long as its steps and in directions of their own.

    Args:
        way: float32 [points, P].
        key: names the random stream of the directions (uniform on the sphere).
    """
    lengths = np.linalg.norm(np.diff(way.astype(np.float64), axis=0), axis=1)
    directions = generator(*key, "walk").standard_normal((len(lengths), way.shape[1]))
    directions *= (lengths / np.linalg.norm(directions, axis=1))[:, None]
    walked: NDArray[np.float32] = (way[0] + np.concatenate([np.zeros((1, way.shape[1])), directions.cumsum(0)])).astype(np.float32)
    return walked


def principal_components(points: NDArray[np.float32], count: int | None = None) -> tuple[Table, Table]:
    """Return the scores on the first principal components, and the share of variance of each.

    Args:
        points: float32 [n, P], n at least 2.
        count: components; None: n, which keeps every distance. The sign of each is such that its largest score is positive.

    Returns:
        [n, count] and [count].
    """
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    scores = vectors * np.sqrt(values)
    scores = scores * np.where(scores[np.abs(scores).argmax(0), np.arange(len(values))] < 0, -1.0, 1.0)
    share = values / max(float(values.sum()), 1e-300)
    return scores[:, :count], share[:count]


def arc(scores: Table) -> float:
    """Return how much of the second component a parabola in the first explains (R², 0 to 1): 1 is a perfect arc.

    Args:
        scores: [n, 2 or more], n at least 4.
    """
    x, y = scores[:, 0], scores[:, 1]
    design = np.vander(x / max(float(np.abs(x).max()), 1e-300), 3)
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(1 - (rest**2).sum() / max(float(((y - y.mean()) ** 2).sum()), 1e-300))


def t_sne(points: NDArray[np.float32], perplexity: float, seed: int) -> Table:
    """Return a t-SNE embedding in two dimensions (van der Maaten & Hinton 2008, scikit-learn), from a start at the principal components.

    Args:
        points: float32 [n, P].
        perplexity: about the number of neighbours, below n.
        seed: of the embedding.

    Raises:
        UsageError: perplexity is not below n.
    """
    from sklearn.manifold import TSNE

    if not 0 < perplexity < len(points):
        raise UsageError(f"perplexity is {perplexity}; allowed: above 0 and below the number of points, {len(points)}")
    scores = principal_components(points)[0]
    model: Any = TSNE(2, perplexity=perplexity, init="pca", random_state=stream_key(seed, "t-sne") % 2**32, method="exact")
    return np.asarray(model.fit_transform(scores), np.float64)


def _edge(healthy: Table, epsilon: float) -> Table:
    """Return the least accuracy inside U, [trajectories, 1]; half a hair under it, against rounding."""
    return np.asarray(healthy, np.float64)[:, None] - epsilon - 1e-12


def _check(damaged: Table, repaired: Table, healthy: Table, epsilon: float) -> None:
    if damaged.ndim != 2 or damaged.shape != repaired.shape or healthy.shape != damaged.shape[:1]:
        raise UsageError(
            f"shapes {damaged.shape}, {repaired.shape} and {healthy.shape}; expected [trajectories, steps] twice and [trajectories]"
        )
    if not epsilon >= 0:
        raise UsageError(f"epsilon is {epsilon}; allowed: at least 0")
