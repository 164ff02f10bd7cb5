"""Returns, exits, barriers and pictures against hand counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.landscape import (
    aligned,
    arc,
    barrier,
    first_exit,
    permuted,
    principal_components,
    random_walk,
    return_rate,
    t_sne,
)
from neurofault.papers.rescue2019.network import FloatNetwork, Images, fresh

HEALTHY = np.array([0.98, 0.96])
DAMAGED = np.array([[0.90, 0.975, 0.90, 0.80], [0.90, 0.90, 0.90, 0.90]])
REPAIRED = np.array([[0.975, 0.98, 0.96, 0.975], [0.955, 0.954, 0.96, 0.90]])


def test_return_rate_by_hand():
    found = return_rate(DAMAGED, REPAIRED, HEALTHY, 0.005)
    # first way: left at step 1 (back), not at 2, at 3 (stays out), and is found outside at 4 (comes back);
    # second way: left at 1 (back, exactly on the edge), at 2 (stays out), found outside at 3 (comes back), left at 4 (stays out)
    assert (found.left, found.returned, found.outside, found.came_back) == (5, 2, 2, 2)
    assert found.rate is not None
    assert found.rate.mean == pytest.approx(2 / 5)
    assert found.rate.n == 2


def test_nobody_left():
    assert return_rate(REPAIRED, REPAIRED, HEALTHY, 0.5).rate is None


def test_first_exit_by_hand():
    found = first_exit(REPAIRED, HEALTHY, np.array([5, 10, 15, 20]), 0.005)
    assert found.exits == (15, 10)
    np.testing.assert_array_equal(found.survival, [1, 0.5, 0, 0])
    assert found.median == 10
    assert first_exit(REPAIRED, HEALTHY, np.array([5, 10, 15, 20]), 0.02).exits == (None, 20)


@pytest.fixture
def images() -> Images:
    random = np.random.default_rng(0)
    return Images(torch.from_numpy(random.random((300, 5)).astype(np.float32)), torch.from_numpy(random.integers(0, 3, 300)))


def shuffled(network: FloatNetwork, seed: int) -> FloatNetwork:
    random = np.random.default_rng(seed)
    return permuted(network, [random.permutation(width) for width in network.sizes[1:-1]])


@pytest.mark.parametrize("sizes", [(5, 20, 3), (5, 12, 10, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_the_barrier_to_its_own_permutation_is_zero_after_alignment(sizes, seed, images):
    network = fresh(sizes, seed)
    other = shuffled(network, seed)
    torch.testing.assert_close(other.logits(images.x), network.logits(images.x))
    raw, flat = barrier(network, other, images), barrier(network, aligned(network, other), images)
    assert (flat.height, flat.ends[0], flat.lowest) == (0.0, raw.ends[0], raw.ends[0])
    assert flat.loss_height == pytest.approx(0, abs=1e-6)
    assert not np.allclose(raw.losses, raw.losses[0], atol=1e-5)
    torch.testing.assert_close(aligned(network, other).weights[0], network.weights[0])


def test_a_barrier_is_the_largest_shortfall(images):
    a, b = fresh((5, 20, 3), 1), fresh((5, 20, 3), 2)
    found = barrier(a, b, images, 5)
    assert found.ends == (a.correct(images) / 300, b.correct(images) / 300)
    middle = a.with_vector((a.vector() + b.vector()) / 2)
    assert found.accuracies[2] == middle.correct(images) / 300
    straight = np.linspace(*found.ends, 5)
    assert found.height == pytest.approx(max(0, (straight - found.accuracies).max()))
    assert found.losses[2] == pytest.approx(middle.loss(images), rel=1e-5)


def test_a_random_walk_keeps_step_lengths_and_draws_an_arc():
    way = np.random.default_rng(3).standard_normal((40, 3000)).cumsum(0).astype(np.float32)
    walk = random_walk(way, 7)
    np.testing.assert_array_equal(walk[0], way[0])
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(walk, axis=0), axis=1), np.linalg.norm(np.diff(way, axis=0), axis=1), rtol=1e-4
    )
    np.testing.assert_array_equal(walk, random_walk(way, 7))
    assert abs(float(np.diff(walk, axis=0).ravel() @ np.diff(way, axis=0).ravel())) < 0.1 * float((np.diff(way, axis=0) ** 2).sum())
    scores, share = principal_components(walk, 2)
    assert share[0] == pytest.approx(6 / np.pi**2, abs=0.06)
    assert arc(scores) > 0.95
    assert arc(np.random.default_rng(1).standard_normal((40, 2))) < 0.4


def test_principal_components_keep_distances():
    points = np.random.default_rng(4).standard_normal((9, 50)).astype(np.float32)
    scores, share = principal_components(points)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(scores[:, None] - scores[None], axis=2), apart, atol=1e-4)
    assert share.sum() == pytest.approx(1)


def test_t_sne_keeps_clusters_apart_and_repeats_itself():
    random = np.random.default_rng(5)
    points = np.concatenate([random.standard_normal((15, 40)), 20 + random.standard_normal((15, 40))]).astype(np.float32)
    plane = t_sne(points, 5, 1)
    np.testing.assert_array_equal(plane, t_sne(points, 5, 1))
    inside = np.linalg.norm(plane[:15] - plane[:15].mean(0), axis=1).max()
    assert np.linalg.norm(plane[:15].mean(0) - plane[15:].mean(0)) > inside


def test_mistakes_are_named(images):
    a = fresh((5, 4, 3), 1)
    for refused in (lambda b: barrier(a, b, images), lambda b: aligned(a, b)):
        with pytest.raises(UsageError, match=r"different shapes: \(5, 4, 3\) and \(5, 6, 3\)"):
            refused(fresh((5, 6, 3), 1))
    with pytest.raises(UsageError, match="alphas is 2; allowed: at least 3"):
        barrier(a, a, images, 2)
    with pytest.raises(UsageError, match=r"shapes \(2, 4\), \(2, 3\) and \(2,\)"):
        return_rate(DAMAGED, REPAIRED[:, :3], HEALTHY, 0.01)
    with pytest.raises(UsageError, match="epsilon is -1; allowed: at least 0"):
        return_rate(DAMAGED, REPAIRED, HEALTHY, -1)
    with pytest.raises(UsageError, match=r"deaths have the shape \(3,\)"):
        first_exit(REPAIRED, HEALTHY, np.array([1, 2, 3]), 0.01)
    with pytest.raises(UsageError, match="perplexity is 9; allowed: above 0 and below the number of points, 9"):
        t_sne(np.zeros((9, 3), np.float32), 9, 0)
