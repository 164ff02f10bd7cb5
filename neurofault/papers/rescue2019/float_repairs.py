"""One repair of one (base, order) pair, computed once and kept: what figures 2, 3 and 4 are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.cache import cache_dir
from neurofault.papers.rescue2019.acts import wait
from neurofault.papers.rescue2019.bases import save_array
from neurofault.papers.rescue2019.damage import random_order
from neurofault.papers.rescue2019.descent import Optimiser
from neurofault.papers.rescue2019.float_bench import FloatBench, Repaired
from neurofault.papers.rescue2019.float_setting import FloatSetting, FloatStudy, Pair
from neurofault.papers.rescue2019.history import History
from neurofault.rescue import strategies
from neurofault.rescue.bench import Bench
from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Plan
from neurofault.streams import stream_key

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
class FloatRepair:
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


def _history(done: Repaired, batch: int, n_validation: int, n_test: int) -> dict[str, Any]:
    points = done.points
    return asdict(
        History(
            done.steps_taken, tuple(p.samples for p in points), tuple(p.strikes for p in points), tuple(p.what for p in points),
            done.validation, done.test, tuple(p.spent.updates for p in points), done.cycle, batch, n_validation, n_test,
        )
    )  # fmt: skip


def _key(study: FloatStudy, repair: FloatRepair) -> dict[str, Any]:
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


def _perform(study: FloatStudy, repair: FloatRepair, snapshots: bool) -> FloatBench:
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


def history(study: FloatStudy, repair: FloatRepair) -> History:
    """Return what a repair looked like, computing it if it is not in the journal."""

    def compute() -> dict[str, Any]:
        return _history(
            _perform(study, repair, False).result(), study.setting.batch, len(study.roles.validation), len(study.roles.test)
        )

    return History.of(study.units.once(_key(study, repair), compute))


def snapshots(study: FloatStudy, repair: FloatRepair) -> NDArray[np.float32]:
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


def iterative(setting: FloatSetting, pair: Pair, dead: int, *, until_recovered: bool = False) -> FloatRepair:
    """Return the iterative repair of a setting, to so many dead nodes."""
    steps = -(-dead // setting.step)
    if until_recovered:
        plan = Plan(steps=steps, tolerance=setting.headline)
        return FloatRepair(pair, "iterative", dead, steps * setting.step_cap, plan, setting.sustained)
    return FloatRepair(pair, "iterative", dead, steps * setting.cycles, Plan(steps=steps))


@dataclass(frozen=True)
class FloatWay:
    """One strategy of the figure.

    Attributes:
        name: as the rows name it.
        act: a name of :data:`ACTS`.
        old_shift: embryonic: halvings of the rate of old weights; None: they stay.
        dropout: of the base's training.
        hurts: whether nodes die.
        control: a control takes one order of each base.
        text: what it is.
    """

    name: str
    act: str
    old_shift: int | None = None
    dropout: float = 0.0
    hurts: bool = True
    control: bool = False
    text: str = ""

    def pairs(self, study: FloatStudy) -> tuple[Pair, ...]:
        """Return the pairs that the strategy repairs."""
        return tuple(pair for pair in study.pairs if not (self.control and pair.order))


WAYS = (
    FloatWay("batch", "batch", text="strategy 1: all damage, then the functioning sub-network learns"),
    FloatWay("embryonic", "embryonic", text="strategy 2: fresh nodes in the place of the dead ones, only these learn"),
    FloatWay("embryonic-8", "embryonic", 3, text="strategy 2: fresh nodes learn, old ones at an eighth of their rate"),
    FloatWay("fresh-subnetwork", "fresh-subnetwork", control=True, text="control: the same mask, fresh weights"),
    FloatWay("batch-dropout", "batch", dropout=0.5, control=True, text="control: strategy 1 on a network trained with dropout"),
    FloatWay("sham", "sham", hurts=False, control=True, text="control: no damage, the same learning"),
    FloatWay("fresh-network", "fresh-network", hurts=False, control=True, text="control: no damage, fresh weights"),
)


def until_recovered(setting: FloatSetting, way: FloatWay, pair: Pair, dead: int) -> FloatRepair:
    """Return the repair of a pair by a strategy, until it has recovered at every tolerance or the cap is met.

    The sham learns on to the cap.
    """
    tolerance = None if way.act == "sham" else min(setting.tolerances)
    plan = Plan(tolerance=tolerance, old_shift=way.old_shift)
    return FloatRepair(pair, way.act, dead if way.hurts else 0, setting.cap, plan, setting.sustained, way.dropout)


def batch(setting: FloatSetting, pair: Pair, dead: int, act: str) -> FloatRepair:
    """Return a repair with the total budget of an iterative one to the same mask."""
    return FloatRepair(pair, act, 0 if act == "sham" else dead, dead // setting.step * setting.cycles, Plan())


def waiting(study: FloatStudy, pair: Pair, dead: int) -> FloatRepair:
    """Return what lets damage happen at the pace of the iterative repair, and repairs nothing."""
    setting, steps = study.setting, dead // study.setting.step
    watchdog = setting.cycles * (len(study.roles.train) // setting.batch) * setting.batch
    return FloatRepair(pair, "wait", dead, 0, Plan(steps=steps, watchdog=watchdog))
