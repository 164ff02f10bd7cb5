"""Figure 3 on the chip, draw by draw: both repairs of the same damage at equal cycles, writes and energy, and the controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.chip_repairs import ChipRepair, batch, history, iterative, watched
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss
from neurofault.papers.rescue2019.history import History
from neurofault.study.statistics import SHARE, t_interval

WRITES = "equal writes"
ROOM = 3.0  # cycles that a batch repair of equal writes or energy may take, in those of the iterative one


def equal_energy(table: str) -> str:
    """Return how equal energy by a table is called."""
    return f"equal energy, {table}"


@final
@dataclass(frozen=True)
class Drawn:
    """One draw of a comparison.

    Attributes:
        iterative, batch: repairs of the same damage with the same cycles in all.
        iterative_watched, batch_watched: the same, looked at on validation images.
        equal: accounting → batch repair with what the iterative one used of it.
        waiting: where nothing is repaired.
    """

    iterative: History
    batch: History
    iterative_watched: History
    batch_watched: History
    equal: dict[str, History]
    waiting: History


def drawn(study: ChipStudy, loss: Loss, learner: str, m: int, draw: int) -> Drawn:
    """Return all repairs of a draw that figure 3 compares."""
    way, whole = iterative(study, loss, learner, m, draw), batch(study, loss, learner, m, draw)
    done = history(study, way)
    tables = study.chip().deployment.profile.energy_tables
    equal = {WRITES: _equal(study, loss, done, learner, m, draw, None)}
    equal |= {equal_energy(table): _equal(study, loss, done, learner, m, draw, table) for table in tables}
    return Drawn(
        done, history(study, whole), history(study, watched(study, way)), history(study, watched(study, whole)), equal,
        history(study, _waiting(study, loss, m, draw)),
    )  # fmt: skip


def _waiting(study: ChipStudy, loss: Loss, dead: int, draw: int) -> ChipRepair:
    """Return what lets damage happen at the pace of the iterative repair, and repairs nothing."""
    setting = study.setting
    pace = round(setting.cycles * setting.adapt)
    return ChipRepair(draw, "wait", None, loss.name, dead, setting.adapt, study.bits, steps=dead // loss.step, watchdog=pace)


def _equal(study: ChipStudy, loss: Loss, way: History, name: str, m: int, draw: int, table: str | None) -> History:
    """Return a batch repair that may use what an iterative one used: its writes, or its energy by a table."""
    usual = batch(study, loss, name, m, draw)
    roomy = replace(usual, cycles=ROOM * usual.cycles, looks=(usual.cycles,))
    if table is None:
        return history(study, replace(roomy, writes=way.spent.writes))
    return history(study, replace(roomy, energy=joules(way, table), table=table))


def joules(one: History, table: str | None) -> float:
    """Return the energy of a repair by a table of costs; refuse one that is not known."""
    if (energy := one.spent.joules(table)) is not None:
        return energy
    raise UsageError("figure 2 compares repairs of equal energy, which the profile does not know; take loihi1 or loihi2")


def _mean_seconds(each: list[History], table: str) -> float | None:
    known = [seconds for one in each if (seconds := one.spent.seconds(table)) is not None]
    return float(np.mean(known)) if len(known) == len(each) else None


def book(each: list[History]) -> dict[str, Any]:
    """Return what a repair used, a mean over draws, and how many draws ran to the end of their cycles in place of their budget."""
    tables = each[0].spent.energy
    return {
        "final": float(np.mean([one.final for one in each])),
        "cycles": float(np.mean([one.steps[-1] / one.cycle for one in each])),
        "writes": float(np.mean([one.spent.writes for one in each])), "updates": float(np.mean([one.spent.updates for one in each])),
        **{f"energy_{table}": float(np.mean([joules(one, table) for one in each])) for table in tables},
        **{f"time_{table}": _mean_seconds(each, table) for table in tables},
    }  # fmt: skip


@final
@dataclass(frozen=True)
class Control:
    """What the comparisons are seen beside.

    Attributes:
        name: as the rows name it.
        loss: what breaks; ``none``.
        m: how much of it.
        learner: None: nothing learns.
        repairs: one a draw.
    """

    name: str
    loss: str
    m: int
    learner: str | None
    repairs: tuple[ChipRepair, ...]


def control_repairs(study: ChipStudy) -> list[Control]:
    """Return sham, fresh sub-network, remap, and the network trained with dropout."""
    setting, found = study.setting, list[Control]()

    def plain(act: str, loss: str, m: int, dropout: bool = False) -> tuple[ChipRepair, ...]:
        return tuple(ChipRepair(draw, act, None, loss, m, setting.adapt, study.bits, dropout=dropout) for draw in study.draws)

    longest = max(loss.middle // loss.step for loss in setting.losses)
    for name in setting.learners:
        shams = [
            ChipRepair(draw, "sham", name, "cores", 0, setting.adapt, study.bits, cycles=longest * setting.cycles)
            for draw in study.draws
        ]
        found.append(Control("sham", "none", 0, name, tuple(shams)))
        for loss in setting.losses:
            fresh = [replace(batch(study, loss, name, loss.middle, draw), act="fresh-subnetwork", looks=()) for draw in study.draws]
            found.append(Control("fresh-subnetwork", loss.name, loss.middle, name, tuple(fresh)))
    for loss in setting.losses:
        for m in loss.deaths:
            found.append(Control("none", loss.name, m, None, plain("none", loss.name, m)))
            found.append(Control("dropout-trained, no repair", loss.name, m, None, plain("none", loss.name, m, True)))
            if loss.name == "cores":
                found.append(Control("remap", loss.name, m, None, plain("remap", loss.name, m)))
    return found


def controls(study: ChipStudy) -> list[dict[str, Any]]:
    """Return the controls, over draws."""
    rows = []
    for one in control_repairs(study):
        seen = [history(study, repair) for repair in one.repairs]
        found = t_interval([each.final for each in seen], within=SHARE)
        rows.append(
            {"control": one.name, "loss": one.loss, "m": one.m, "learner": one.learner, "accuracy": found.mean, "low": found.low,
             "high": found.high, "healthy": float(np.mean([each.healthy for each in seen])), "draws": found.n,
             "writes": float(np.mean([each.spent.writes for each in seen])),
             "notes": "; ".join(sorted({note for each in seen for note in each.notes}))}
        )  # fmt: skip
    return rows
