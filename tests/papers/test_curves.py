"""Curves between networks of floats, against autograd and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.curves import bent, falling, silent, summaries
from neurofault.papers.rescue2019.landscape import barrier
from neurofault.papers.rescue2019.network import FloatNetwork, Images, fresh, silence
from neurofault.streams import generator

SIZES = (5, 8, 6, 3)


@pytest.fixture(scope="module")
def images() -> Images:
    random = np.random.default_rng(0)
    x = random.random((60, 5)).astype(np.float32)
    return Images(torch.from_numpy(x), torch.from_numpy(x[:, :3].argmax(1)))


def damaged(seed: int, *dead: int) -> FloatNetwork:
    network, alive = fresh(SIZES, seed), torch.ones(14, dtype=torch.bool)
    alive[list(dead)] = False
    silence(network, alive)
    return network


def test_a_curve_that_is_not_fitted_is_the_straight_line(images):
    a, b = fresh(SIZES, 1), fresh(SIZES, 2)
    middle = bent(a, b, images, epochs=0, size=20, rate=0.1, seed=1)
    np.testing.assert_allclose(middle.vector(), (a.vector() + b.vector()) / 2, rtol=1e-6)
    line, curve = (barrier(a, b, images, 5, bend) for bend in (None, middle))
    np.testing.assert_allclose(curve.losses, line.losses, rtol=1e-5)
    assert curve.accuracies.tolist() == line.accuracies.tolist()


def test_a_step_follows_the_gradient_of_the_loss_at_a_point_of_the_curve(images):
    a, b = fresh(SIZES, 1), fresh(SIZES, 2)
    found = bent(a, b, images, epochs=1, size=60, rate=5.0, seed=3)
    t = float(generator(3, "curve", 0).random(1)[0])
    control = [((p + q) / 2).requires_grad_() for p, q in zip(a.parameters, b.parameters, strict=True)]
    with torch.enable_grad():
        way = [
            (1 - t) ** 2 * p + 2 * t * (1 - t) * c + t * t * q for p, c, q in zip(a.parameters, control, b.parameters, strict=True)
        ]
        seen = images.x
        for layer in range(3):
            seen = seen @ way[2 * layer] + way[2 * layer + 1]
            seen = seen.relu() if layer < 2 else seen
        torch.nn.functional.cross_entropy(seen, images.y).backward()
    for got, was in zip(found.parameters, control, strict=True):
        torch.testing.assert_close(got, was.detach() - 5.0 * falling(1, 1) * was.grad)
        assert not torch.equal(got, was.detach())


def test_what_is_dead_at_both_ends_is_dead_on_the_curve_and_nothing_else(images):
    a, b = damaged(1, 0, 3, 9), damaged(2, 3, 9, 13)
    before = a.vector(), b.vector()
    found = bent(a, b, images, epochs=5, size=20, rate=0.5, seed=1)
    assert silent(a).nonzero()[:, 0].tolist() == [0, 3, 9]
    assert silent(found).nonzero()[:, 0].tolist() == [3, 9]
    assert all(np.array_equal(old, new.vector()) for old, new in zip(before, (a, b), strict=True))


def test_fitting_makes_the_loss_on_the_way_smaller_and_repeats_itself(images):
    def fitted(seed: int) -> FloatNetwork:
        return bent(a, b, images, epochs=40, size=20, rate=0.5, seed=seed)

    a, b = (bent(one, one, images, epochs=80, size=20, rate=1.0, seed=1) for one in (fresh(SIZES, 1), fresh(SIZES, 2)))
    line, curve = (barrier(a, b, images, 9, bend) for bend in (None, fitted(1)))
    assert curve.losses.mean() < line.losses.mean()
    np.testing.assert_array_equal(fitted(1).vector(), fitted(1).vector())
    assert not np.array_equal(fitted(1).vector(), fitted(2).vector())


def test_networks_of_other_shapes_are_refused(images):
    a, other = fresh(SIZES, 1), fresh((5, 8, 7, 3), 1)
    with pytest.raises(UsageError, match="networks of different shapes"):
        bent(a, other, images, epochs=1, size=20, rate=0.1, seed=1)
    with pytest.raises(UsageError, match="networks of different shapes"):
        barrier(a, a, images, 5, other)


def test_pairs_are_counted_by_hand():
    def pair(base_a: int, base_b: int, ends: tuple[float, float], line: tuple[float, float], curve: tuple[float, float]) -> dict:
        return {
            "pair_type": "kind", "m": 4, "base_a": base_a, "base_b": base_b, "healthy": 0.98, "accuracy_a": ends[0], "accuracy_b": ends[1],
            "lowest_line": line[0], "barrier_line": line[1], "lowest_curve": curve[0], "barrier_curve": curve[1],
        }  # fmt: skip

    rows = [
        pair(0, 0, (0.98, 0.975), (0.96, 0.02), (0.975, 0.0)),  # both ends in U; the curve stays on its edge
        pair(1, 1, (0.98, 0.97), (0.9, 0.08), (0.966, 0.01)),  # one end outside; the curve is near the worse one
        pair(2, 2, (0.98, 0.98), (0.95, 0.03), (0.97, 0.01)),
    ]
    (found,) = summaries(rows, (0.005, 0.01))
    assert (found["pair_type"], found["m"], found["pairs"], found["trainings"]) == ("kind", 4, 3, 3)
    assert found["inside"] == {
        "0.005": {"ends_inside": 2, "line": 0, "curve": 1},
        "0.01": {"ends_inside": 3, "line": 0, "curve": 2},
    }
    assert found["level"] == {"0.005": {"line": 0, "curve": 2}, "0.01": {"line": 0, "curve": 3}}
    assert found["line"]["mean"] == pytest.approx(0.13 / 3)
    assert (found["line"]["max"], found["line"]["lowest"]) == (0.08, 0.9)
    assert found["difference"]["mean"] == pytest.approx(0.11 / 3)
    apart = np.array([0.02, 0.07, 0.02])
    assert found["difference"]["high"] >= apart.mean() + 4.302 * apart.std(ddof=1) / 3**0.5 > apart.mean()  # at least Student's t
