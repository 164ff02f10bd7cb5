"""One repair of one (base, order) pair, computed once and kept: what figures 2, 3 and 4 are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.cache import cache_dir
from neurofault.papers.rescue2019.bases import save_array
from neurofault.papers.rescue2019.bench import FloatBench, Repaired
from neurofault.papers.rescue2019.damage import random_order
from neurofault.papers.rescue2019.descent import Optimiser
from neurofault.papers.rescue2019.setting import Pair, Setting, Study
from neurofault.rescue import strategies
from neurofault.rescue.bench import Bench
from neurofault.rescue.budget import Budget, Spent
from neurofault.rescue.outcome import Point, mean_served, served
from neurofault.rescue.plans import Plan
from neurofault.streams import stream_key


def wait(bench: Bench) -> None:
    """Damage in steps, and nothing is repaired."""
    for _ in bench.parts:
        bench.strike(1)
        bench.wait(bench.plan.watchdog)


ACTS: dict[str, Callable[[Bench], None]] = {
    "batch": strategies.batch,
    "embryonic": strategies.embryonic,
    "iterative": strategies.iterative,
    "wait": wait,
    "sham": strategies.sham,
    "fresh-subnetwork": strategies.fresh_subnetwork,
    "fresh-network": strategies.fresh_network,
}


@dataclass(frozen=True)
class Repair:
    """One repair.

    Attributes:
        pair: base and order.
        act: a name of :data:`ACTS`.
        dead: nodes that die.
        cycles: of learning in all.
        plan: how.
        sustained: evaluations in a row that end a step, see :class:`FloatBench`.
        dropout: of the base's training.
    """

    pair: Pair
    act: str
    dead: int
    cycles: float
    plan: Plan
    sustained: int = 1
    dropout: float = 0.0


@dataclass(frozen=True)
class History:
    """What was seen in the course of a repair, point by point.

    Attributes:
        steps: gradient steps so far.
        samples: samples shown so far, those served without learning included.
        strikes: damage steps so far.
        what: what had just happened, see :class:`neurofault.rescue.outcome.Point`.
        validation, test: images classified as labelled.
        updates: weights and biases changed so far, step by step.
        cycle: gradient steps of a cycle.
        batch: samples of a step.
        n_validation, n_test: images.
    """

    steps: tuple[int, ...]
    samples: tuple[int, ...]
    strikes: tuple[int, ...]
    what: tuple[str, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    updates: tuple[int, ...]
    cycle: int
    batch: int
    n_validation: int
    n_test: int

    @property
    def points(self) -> list[Point]:
        """The points as :mod:`neurofault.rescue.outcome` takes them."""
        return [
            Point(self.samples[i], self.strikes[i], self.test[i] / self.n_test, Spent(samples=self.samples[i]), self.what[i])
            for i in range(len(self.steps))
        ]

    @property
    def healthy(self) -> float:
        """Test accuracy before anything happened."""
        return self.test[0] / self.n_test

    @property
    def final(self) -> float:
        """Test accuracy in the end."""
        return self.test[-1] / self.n_test

    @property
    def worst(self) -> float:
        """Lowest test accuracy from the first strike on."""
        return min(point.accuracy or 0.0 for point in served(self.points))

    @property
    def began(self) -> int:
        """Where the last change that was not learning stands: the first evaluation of the last repair."""
        return max(i for i, what in enumerate(self.what) if what != "learn")

    def until(self, strikes: int) -> History:
        """Return the history as it was before the strike after this many."""
        return self._first(sum(count <= strikes for count in self.strikes))

    def then(self, other: History) -> History:
        """Return the history that goes on with the last repair of another one, to the same mask.

        Waiting changes no weight, so a repair that begins later is the same repair.
        """
        start, shift = other.began + 1, self.samples[-1] - other.samples[other.began]
        return replace(
            self, steps=self.steps + other.steps[start:], samples=self.samples + tuple(at + shift for at in other.samples[start:]),
            strikes=self.strikes + (self.strikes[-1],) * len(other.steps[start:]), what=self.what + other.what[start:],
            validation=self.validation + other.validation[start:], test=self.test + other.test[start:],
            updates=self.updates + other.updates[start:],
        )  # fmt: skip

    def _first(self, kept: int) -> History:
        cut: dict[str, Any] = {name: value[:kept] for name, value in vars(self).items() if isinstance(value, tuple)}
        return replace(self, **cut)

    def at_cycle(self, cycles: float) -> float:
        """Return the test accuracy after so many cycles of learning since :attr:`began`."""
        wanted = self.steps[self.began] + cycles * self.cycle
        return self.test[max(i for i in range(self.began, len(self.steps)) if self.steps[i] <= wanted)] / self.n_test

    def mean_served(self, cycles: float) -> float:
        """Return the mean test accuracy over so many cycles from the first strike on."""
        mean = mean_served(self.points, round(cycles * self.cycle * self.batch))
        assert mean is not None
        return mean

    def recovered(self, tolerance: float, sustained: int) -> int | None:
        """Return where the last repair first comes within a tolerance of the healthy network, on validation images.

        The evaluation right after the damage counts as the first.

        Args:
            tolerance: in accuracy.
            sustained: evaluations in a row that must be within it.
        """
        goal = self.validation[0] - tolerance * self.n_validation
        good = [count >= goal for count in self.validation]
        for i in range(self.began, len(good) - sustained + 1):
            if all(good[i : i + sustained]):
                return i
        return None

    def cycles_at(self, point: int) -> float:
        """Return the cycles of the last repair at a point."""
        return (self.steps[point] - self.steps[self.began]) / self.cycle


def _history(done: Repaired, batch: int, n_validation: int, n_test: int) -> dict[str, Any]:
    points = done.points
    return asdict(
        History(
            done.steps_taken, tuple(p.samples for p in points), tuple(p.strikes for p in points), tuple(p.what for p in points),
            done.validation, done.test, tuple(p.spent.updates for p in points), done.cycle, batch, n_validation, n_test,
        )
    )  # fmt: skip


def _key(study: Study, repair: Repair) -> dict[str, Any]:
    setting = study.setting
    base = study.base(setting.study, repair.pair.base, repair.dropout)
    return {
        "unit": "repair",
        "base": base.digest,
        "seed": setting.seed,
        "batch": setting.batch,
        "rate": setting.rate,
        **asdict(repair),
    }


def _perform(study: Study, repair: Repair, snapshots: bool) -> FloatBench:
    setting = study.setting
    base = study.base(setting.study, repair.pair.base, repair.dropout)
    seed = stream_key(setting.seed, "repair", repair.pair.base, repair.pair.order)
    network = study.network(base)
    nodes = random_order(network, seed)[: repair.dead]
    bench = FloatBench(
        network, nodes, study.roles, Optimiser("sgd", setting.rate), Budget(cycles=repair.cycles), repair.plan,
        batch=setting.batch, seed=seed, sustained=repair.sustained, snapshots=snapshots,
    )  # fmt: skip
    ACTS[repair.act](bench)
    return bench


def history(study: Study, repair: Repair) -> History:
    """Return what a repair looked like, computing it if it is not in the journal."""

    def compute() -> dict[str, Any]:
        return _history(
            _perform(study, repair, False).result(), study.setting.batch, len(study.roles.validation), len(study.roles.test)
        )

    known = study.journal.once(_key(study, repair), compute)
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in known.items()}
    return History(**fields)


def snapshots(study: Study, repair: Repair) -> NDArray[np.float32]:
    """Return the networks on the way of a repair, float32 [1 + 2 × steps, P]: the base, then damaged and repaired at each step.

    Kept in the cache, not in the journal.
    """
    key = json.dumps(_key(study, repair), sort_keys=True)
    path = cache_dir() / "paper" / f"way-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.npy"
    if not path.exists():
        bench = _perform(study, repair, True)
        assert bench.snapshots is not None
        save_array(path, np.stack(bench.snapshots))
    way: NDArray[np.float32] = np.load(path)
    return way


def iterative(setting: Setting, pair: Pair, dead: int, *, until_recovered: bool = False) -> Repair:
    """Return the iterative repair of a setting, to so many dead nodes."""
    steps = -(-dead // setting.step)
    if until_recovered:
        plan = Plan(steps=steps, tolerance=setting.headline)
        return Repair(pair, "iterative", dead, steps * setting.step_cap, plan, setting.sustained)
    return Repair(pair, "iterative", dead, steps * setting.cycles, Plan(steps=steps))
