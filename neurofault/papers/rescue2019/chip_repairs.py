"""One repair of one draw of damage on the chip, computed once and kept: what figures 2, 3 and 4 and the ranking are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from neurofault.faults import RoundingStuck, inject
from neurofault.papers.rescue2019.acts import wait
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss, Option
from neurofault.papers.rescue2019.history import History
from neurofault.papers.rescue2019.watched import WatchedBench
from neurofault.rescue import strategies
from neurofault.rescue.budget import Budget
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench

_SEMANTICS = 1  # raised by hand when the same repair gives another history


def remap(bench: WatchedBench) -> None:
    """All damage at once, then orphans move to spare cores."""
    bench.strike()
    bench.remap()


FINE = (0.02, 0.05, 0.1)
"""Looks after a death, in cycles, of repairs that are stopped at their best look."""

ACTS: dict[str, Callable[[WatchedBench], None]] = {
    "none": strategies.none,
    "wait": wait,
    "batch": strategies.batch,
    "iterative": strategies.iterative,
    "embryonic": strategies.embryonic,
    "remap": remap,
    "sham": strategies.sham,
    "fresh-subnetwork": strategies.fresh_subnetwork,
}
"""Name → what happens."""


@dataclass(frozen=True)
class ChipRepair:
    """One repair.

    Attributes:
        draw: of the damage.
        act: a name of :data:`ACTS`.
        learner: None: nothing learns.
        loss: ``cores`` or ``neurons``.
        dead: how many die.
        adapt: training images of a cycle.
        bits: stored bits a weight.
        cycles: of learning in all.
        steps: equal damage steps.
        watchdog: samples served before a strike is noticed.
        writes: limit of the budget; None: none.
        energy: likewise, in joules.
        table: energy table that ``energy`` counts in.
        labels: share of the adapt set whose labels are known.
        plastic: names of the connections (in a chain: of the layers) that may change; None: all that the learner can train.
        options: of the learner.
        rounding: number in the place of the learning engine's random one, 0 to 127; None: random.
        dropout: the network that was trained with dropout.
        watched: validation images are looked at.
        stops: likewise, and learning (but that of a sham) ends once it has recovered at the smallest tolerance.
        looks: cycles after a change at which the chip is looked at.
    """

    draw: int
    act: str
    learner: str | None
    loss: str
    dead: int
    adapt: int
    bits: int
    cycles: float = 0.0
    steps: int = 1
    watchdog: int = 0
    writes: int | None = None
    energy: float | None = None
    table: str | None = None
    labels: float = 1.0
    plastic: tuple[str, ...] | None = None
    options: tuple[Option, ...] = ()
    rounding: int | None = None
    dropout: bool = False
    watched: bool = False
    stops: bool = False
    looks: tuple[float, ...] = ()


def perform(study: ChipStudy, repair: ChipRepair) -> WatchedBench:
    """Carry a repair out and return the bench it was done on. Nothing guards it: the figures ask what learning itself does."""
    setting = study.setting
    chip = study.chip(repair.bits, repair.dropout)
    healthy = chip.with_table(repair.table)
    learner = (
        None if repair.learner is None else study.learner(repair.learner, repair.bits, repair.adapt, repair.options, repair.dropout)
    )
    bench = Workbench(
        study.hurt(healthy, repair.loss, repair.dead, repair.draw), study.adapt(repair.adapt, repair.bits, repair.dropout), learner,
        Budget(cycles=repair.cycles, writes=repair.writes, energy=repair.energy, labels=repair.labels),
        Plan(steps=repair.steps, watchdog=repair.watchdog), plastic=repair.plastic, seed=setting.seed + 1000 * repair.draw,
        guard=None,
    )  # fmt: skip
    if repair.rounding is not None:
        cores = tuple(sorted({int(core) for one in healthy.connections for core in healthy.placement.cores_of(one.target)}))
        bench.deployment = inject(bench.deployment, RoundingStuck(cores=cores, value=repair.rounding))
    watched = WatchedBench(
        bench, chip.test, validation=chip.validation if repair.stops or repair.watched else None, looks=repair.looks,
        tolerance=min(setting.tolerances) if repair.stops and repair.act != "sham" else None, sustained=setting.sustained,
    )  # fmt: skip
    ACTS[repair.act](watched)
    return watched


def key_of(study: ChipStudy, repair: ChipRepair) -> dict[str, Any]:
    """Return everything that the result of a repair depends on, as JSON values."""
    setting = study.setting
    stop = [list(setting.tolerances), setting.sustained] if repair.stops else None
    return {
        "unit": "chip repair", "semantics": _SEMANTICS, "chip": study.chip(repair.bits, repair.dropout).digest, "seed": setting.seed,
        "stop": stop, **asdict(repair),
    }  # fmt: skip


def history(study: ChipStudy, repair: ChipRepair) -> History:
    """Return what a repair looked like, computing it if it is not in the journal. A step of learning is one sample, ``updates`` are weight writes."""

    def compute() -> dict[str, Any]:
        watched = perform(study, repair)
        bench, chip = watched.bench, study.chip(repair.bits, repair.dropout)
        spent = replace(bench.spent, energy=dict(bench.spent.energy), time=dict(bench.spent.time))
        return asdict(
            History(
                tuple(watched.steps), tuple(watched.samples), tuple(watched.strikes), tuple(watched.what), tuple(watched.validation),
                tuple(watched.test), tuple(watched.writes), bench.cycle, 1, len(chip.validation.labels), len(chip.test.labels), spent,
                tuple(dict.fromkeys(bench.notes)),
            )
        )  # fmt: skip

    return History.of(study.units.once(key_of(study, repair), compute))


def iterative(study: ChipStudy, loss: Loss, learner: str, dead: int, draw: int) -> ChipRepair:
    """Return the iterative repair: ``loss.step`` die, a short lesson, and so on."""
    steps = dead // loss.step
    setting = study.setting
    return ChipRepair(
        draw, "iterative", learner, loss.name, dead, setting.adapt, study.bits, cycles=steps * setting.cycles, steps=steps
    )


def batch(study: ChipStudy, loss: Loss, learner: str, dead: int, draw: int) -> ChipRepair:
    """Return the batch repair of the same damage with the same cycles in all; it is looked at after those of one step, too."""
    return replace(iterative(study, loss, learner, dead, draw), act="batch", steps=1, looks=(study.setting.cycles,))


def watched(study: ChipStudy, repair: ChipRepair) -> ChipRepair:
    """Return the same repair with looks on validation images: soon after a death, and as often as the iterative one ends a step."""
    steps = round(repair.cycles / study.setting.cycles) if repair.act == "batch" else 1
    looks = (*FINE, *(round(study.setting.cycles * step, 6) for step in range(1, steps + 1)))
    return replace(repair, looks=looks, watched=True)


def whole_way(study: ChipStudy, loss: Loss, draw: int) -> ChipRepair:
    """Return the iterative repair whose course is looked at."""
    setting = study.setting
    steps = loss.way // loss.way_step
    return ChipRepair(
        draw,
        "iterative",
        setting.way_learner,
        loss.name,
        loss.way,
        setting.adapt,
        study.bits,
        cycles=steps * setting.cycles,
        steps=steps,
    )


@dataclass(frozen=True)
class ChipWay:
    """One strategy of the figure.

    Attributes:
        name: as the rows name it.
        act: a name of :data:`ACTS`.
        dropout: a network that was trained with dropout.
        hurts: whether something dies.
        learns: whether a learner is at work.
        spares: whether it needs a spare core for each dead one.
        control: a control of a repair is looked at for the learner of figure 4 and the largest damage alone.
        text: what it is.
    """

    name: str
    act: str
    dropout: bool = False
    hurts: bool = True
    learns: bool = True
    spares: bool = False
    control: bool = False
    text: str = ""


WAYS = (
    ChipWay("batch", "batch", text="strategy 1: all damage, then what is left learns"),
    ChipWay("embryonic", "embryonic", spares=True, text="strategy 2: fresh neurons on spare cores in the place of dead ones learn"),
    ChipWay("remap", "remap", learns=False, spares=True, text="no learning: what sat on dead cores moves to spare cores"),
    ChipWay("fresh-subnetwork", "fresh-subnetwork", control=True, text="control: the same damage, fresh weights"),
    ChipWay("batch-dropout", "batch", dropout=True, control=True, text="control: strategy 1 on a network trained with dropout"),
    ChipWay("sham", "sham", hurts=False, text="control: no damage, the same learning"),
)

ONE_RATE = ("emstdp",)
"""Learners that cannot hold old synapses back while those of fresh neurons learn."""


def until_recovered(study: ChipStudy, way: ChipWay, loss: Loss, learner: str | None, dead: int, draw: int) -> ChipRepair:
    """Return a repair until it has recovered at every tolerance or the cap is met; the sham learns on to the cap."""
    setting = study.setting
    return ChipRepair(
        draw, way.act, learner, loss.name, dead, setting.adapt, study.bits, cycles=setting.cap if way.learns else 0.0, dropout=way.dropout,
        stops=True, looks=setting.looks,
    )  # fmt: skip
