"""Curved paths between networks of floats: where a straight line leaves the set of good networks, does a bent one stay inside?

A path is a quadratic Bézier curve, φ(t) = (1 − t)² a + 2t (1 − t) θ + t² b, between two networks that stay as they are. Its control point θ
begins in the middle between them (a straight line) and follows the gradient of the training loss at one t, uniform in (0, 1), for each
minibatch: Garipov et al. 2018, "Loss surfaces, mode connectivity, and fast ensembling of DNNs", arXiv:1802.10026, with
their schedule of the learning rate. Nodes are taken as they are numbered: nothing is aligned.

A node that is dead at both ends is zero on the whole curve, as it is on the straight line: the curve runs in the space of weights that the
line runs in. Where both ends have the same dead nodes, all of it is networks with that damage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.bases import epoch_order
from neurofault.papers.rescue2019.float_repairs import FloatRepair, batch, iterative, snapshots
from neurofault.papers.rescue2019.float_setting import FloatStudy, Pair
from neurofault.papers.rescue2019.landscape import Barrier, barrier
from neurofault.papers.rescue2019.network import FloatNetwork, Images, gradients, living, put_back
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.subject import Row
from neurofault.streams import generator, stream_key
from neurofault.study.clustered import jackknife_interval

SAME_DAMAGE, OTHER_ORDER, OTHER_TRAINING = KINDS = (
    "same damage, iterative and batch",
    "same training, other order",
    "other training",
)
PATHS = ("line", "curve")


@dataclass(frozen=True)
class Place:
    """A network between which and another one paths are looked at.

    Attributes:
        pair: base and order.
        dead: nodes that have died; 0: the base itself.
        act: ``iterative`` or ``batch``, the repair, of equal cycles in all.
    """

    pair: Pair
    dead: int
    act: str = "iterative"

    def repair(self, study: FloatStudy) -> FloatRepair:
        """Return the repair that ends here, or passes by."""
        setting = study.setting
        if self.act == "batch":
            return batch(setting, self.pair, self.dead, self.act)
        return iterative(setting, self.pair, max(setting.deaths))

    def network(self, study: FloatStudy) -> FloatNetwork:
        """Return the network, repaired if it was damaged."""
        base = study.network(study.base(study.setting.study, self.pair.base))
        if not self.dead:
            return base
        way = snapshots(study, self.repair(study))
        return base.with_vector(way[-1] if self.act == "batch" else way[2 * (self.dead // study.setting.step)])


def places(study: FloatStudy) -> Iterator[tuple[str, Place, Place]]:
    """Yield the pairs of networks with their kind: repaired from the same damage in two ways, from other damage of one base, and two bases unharmed."""
    setting = study.setting
    for dead in setting.barrier_deaths:
        for pair in study.pairs:
            yield SAME_DAMAGE, Place(pair, dead), Place(pair, dead, "batch")
    for dead in setting.barrier_deaths:
        for base in range(setting.bases):
            for one, other in combinations(range(setting.repair_orders), 2):
                yield OTHER_ORDER, Place(Pair(base, one), dead), Place(Pair(base, other), dead)
    for one, other in combinations(range(setting.bases), 2):
        yield OTHER_TRAINING, Place(Pair(one, 0), 0), Place(Pair(other, 0), 0)


def silent(network: FloatNetwork) -> Tensor:
    """Return which hidden nodes are dead, bool [hidden]: incoming weights, bias and outgoing weights are all zero."""
    layers = zip(network.weights[:-1], network.biases[:-1], network.weights[1:], strict=True)
    return torch.cat([~(into.any(0) | bias.bool() | out.any(1)) for into, bias, out in layers])


def falling(epoch: int, epochs: int) -> float:
    """Return the factor of the learning rate in an epoch, counted from 1: 1 for the first half, then down a straight line to a hundredth at nine tenths.

    >>> [round(falling(epoch, 10), 3) for epoch in (1, 5, 7, 9, 10)]
    [1.0, 1.0, 0.505, 0.01, 0.01]
    """
    share = epoch / epochs
    return 1.0 if share <= 0.5 else max(0.01, 1.0 - (share - 0.5) / 0.4 * 0.99)


def bent(a: FloatNetwork, b: FloatNetwork, train: Images, *, epochs: int, size: int, rate: float, seed: int) -> FloatNetwork:
    """Fit the control point of a quadratic Bézier curve between two networks.

    Args:
        a: one end; it is not changed.
        b: the other, of the same shape.
        train: images whose mean cross-entropy is made small on the curve.
        epochs: passes over them; 0 leaves the curve a straight line.
        size: images of a minibatch; what is left over at the end of an epoch is not shown in it.
        rate: learning rate of plain gradient descent, times :func:`falling`.
        seed: of the orders of images and of t.

    Returns:
        The control point. Nodes that are dead at both ends are dead in it.

    Raises:
        UsageError: shapes that differ.
    """
    if a.sizes != b.sizes:
        raise UsageError(f"networks of different shapes: {a.sizes} and {b.sizes}")
    alive = ~(silent(a) & silent(b))
    start, end = (living(one, alive, one.parameters) for one in (a, b))
    control = [(one + other) / 2 for one, other in zip(start, end, strict=True)]
    steps = len(train) // size
    for epoch in range(epochs):
        order = torch.from_numpy(epoch_order(len(train), seed, "curve order", epoch)[: steps * size])
        pace = rate * falling(epoch + 1, epochs)
        for t, chosen in zip(generator(seed, "curve", epoch).random(steps).tolist(), torch.split(order, size), strict=True):
            between = 2 * t * (1 - t)
            way = [(1 - t) ** 2 * p + between * q + t**2 * r for p, q, r in zip(start, control, end, strict=True)]
            found = gradients(FloatNetwork(tuple(way[::2]), tuple(way[1::2])), train.x[chosen], train.y[chosen])
            for parameter, gradient in zip(control, found, strict=True):
                parameter.sub_(gradient, alpha=pace * between)
    whole = a.copy()
    put_back(whole, alive, control)
    return whole


def path(study: FloatStudy, one: Place, other: Place) -> Row:
    """Return what lies between two networks on test images, for ``line`` and ``curve`` each, and ``healthy``: the accuracy of their base, of the worse one of two."""
    setting = study.setting

    def compute() -> Row:
        a, b = one.network(study), other.network(study)
        bases = (study.network(study.base(setting.study, end.pair.base)) for end in (one, other))
        names = ((place.act, place.pair.base, place.pair.order, place.dead) for place in (one, other))
        seed = stream_key(setting.seed, "path", *(part for name in names for part in name))
        control = bent(
            a, b, study.roles.train, epochs=setting.curve_epochs, size=setting.batch, rate=setting.rate, seed=seed
        )  # fmt: skip
        found = (barrier(a, b, study.roles.test, setting.alphas, bend) for bend in (None, control))
        whole = min(base.correct(study.roles.test) for base in bases) / len(study.roles.test)
        return {"healthy": whole, **{name: _seen(each) for name, each in zip(PATHS, found, strict=True)}}

    key = {
        "unit": "path", "alphas": setting.alphas, "epochs": setting.curve_epochs, "seed": setting.seed, "batch": setting.batch,
        "rate": setting.rate, "step": setting.step, "cycles": setting.cycles, "last": max(setting.deaths),
        "ends": [
            [study.base(setting.study, end.pair.base).digest, end.pair.base, end.pair.order, end.dead, end.act] for end in (one, other)
        ],
    }  # fmt: skip
    result: Row = study.units.once(key, compute)
    return result


def _seen(found: Barrier) -> Row:
    return {
        "accuracies": found.accuracies.tolist(),
        "losses": found.losses.tolist(),
        "barrier": found.height,
        "loss_barrier": found.loss_height,
    }


def curves(study: FloatStudy) -> Figure:
    """Compute the figure of curved paths.

    JSON: ``rows``, one for each kind of pair and number of dead, as :func:`summaries` gives them. CSV: ``pairs`` (both ends, and what line and
    curve between them have) and ``points`` (accuracy and test loss on the way).
    """
    setting, rows, points = study.setting, list[Row](), list[Row]()
    listed = list(places(study))
    for done, (kind, one, other) in enumerate(listed):
        study.progress("curves", done, len(listed), kind)
        found = path(study, one, other)
        ends = {
            f"{name}_{end}": value
            for end, place in zip("ab", (one, other), strict=True)
            for name, value in (
                ("base", place.pair.base),
                ("order", place.pair.order),
                ("repair", place.act if place.dead else "none"),
            )
        }
        row = {"pair_type": kind, "m": one.dead, **ends, "healthy": found["healthy"]}
        first, last = (found["line"]["accuracies"][at] for at in (0, -1))
        row |= {"accuracy_a": first, "accuracy_b": last}
        for name in PATHS:
            own = found[name]
            row |= {
                f"lowest_{name}": min(own["accuracies"]),
                f"barrier_{name}": own["barrier"],
                f"loss_barrier_{name}": own["loss_barrier"],
            }
            for t, accuracy, loss in zip(np.linspace(0, 1, setting.alphas).tolist(), own["accuracies"], own["losses"], strict=True):
                points.append({"pair_type": kind, "m": one.dead, **ends, "path": name, "t": t, "accuracy": accuracy, "loss": loss})
        rows.append(row)
    study.progress("curves", len(listed), len(listed), "")
    answer = {
        "setting": setting.name, "network": study.name(setting.study), "weights": study.weights(setting.study), "nodes_a_step": setting.step,
        "cycles_a_step": setting.cycles, "epochs": setting.curve_epochs, "points": setting.alphas, "headline": setting.headline,
        "rows": summaries(rows, setting.tolerances),
    }  # fmt: skip
    return Figure("curves", answer, {"pairs": rows, "points": points})


def summaries(rows: Sequence[Mapping[str, Any]], tolerances: Sequence[float]) -> list[Row]:
    """Return what the pairs of one kind and number of dead have in common.

    Barriers are means of accuracies with intervals over trainings, which pairs share. ``inside`` counts, by tolerance, paths that stay in U, of the
    ``ends_inside`` whose ends are; ``level`` those that never fall further than the tolerance below their worse end.

    Args:
        rows: of the table ``pairs``.
        tolerances: epsilon of U, in accuracy.
    """
    found = list[Row]()
    for kind, m in dict.fromkeys((row["pair_type"], row["m"]) for row in rows):
        own = [row for row in rows if (row["pair_type"], row["m"]) == (kind, m)]
        trainings = [sorted({row["base_a"], row["base_b"]}) for row in own]
        each: Row = {"pair_type": kind, "m": m, "pairs": len(own), "trainings": len({base for pair in trainings for base in pair})}
        for name in PATHS:
            heights = [row[f"barrier_{name}"] for row in own]
            mean = jackknife_interval(heights, trainings)
            each[name] = {
                "mean": mean.mean,
                "low": mean.low,
                "high": mean.high,
                "max": max(heights),
                "lowest": min(row[f"lowest_{name}"] for row in own),
            }
        apart = jackknife_interval([row["barrier_line"] - row["barrier_curve"] for row in own], trainings, within=None)
        each["difference"] = {"mean": apart.mean, "low": apart.low, "high": apart.high}
        each["end_points"] = [float(np.mean([row[name] for row in own])) for name in ("accuracy_a", "accuracy_b")]
        each["inside"], each["level"] = {}, {}
        for epsilon in tolerances:
            good = [row for row in own if min(row["accuracy_a"], row["accuracy_b"]) >= _edge(row["healthy"], epsilon)]
            each["inside"][f"{epsilon:g}"] = {
                "ends_inside": len(good), **{name: sum(row[f"lowest_{name}"] >= _edge(row["healthy"], epsilon) for row in good) for name in PATHS}
            }  # fmt: skip
            each["level"][f"{epsilon:g}"] = {
                name: sum(row[f"lowest_{name}"] >= _edge(min(row["accuracy_a"], row["accuracy_b"]), epsilon) for row in own) for name in PATHS
            }  # fmt: skip
        found.append(each)
    return found


def _edge(accuracy: float, epsilon: float) -> float:
    """Return the least accuracy that is within a tolerance; half a hair under it, against rounding."""
    return accuracy - epsilon - 1e-12
