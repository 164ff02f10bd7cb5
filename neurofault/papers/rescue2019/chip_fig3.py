"""Figure 3 on the chip: iterative against batch repair of the same damage, at equal cycles, writes and energy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurofault.papers.rescue2019.chip_repairs import ChipHistory, ChipRepair, history
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss
from neurofault.papers.rescue2019.compare import compared, judged
from neurofault.papers.rescue2019.output import Figure
from neurofault.study.statistics import SHARE, paired_difference, t_interval

CYCLES, LAST, WRITES = "equal cycles in all", "equal cycles after the last death", "equal writes"
STOPPED = "equal cycles in all, each stopped at its best look"
_FINE = (0.02, 0.05, 0.1)  # looks after a death, in cycles, of those that are stopped
_ROOM = 3.0  # cycles that a batch repair of equal writes or energy may take, in those of the iterative one


def equal_energy(table: str) -> str:
    """Return how equal energy by a table is called."""
    return f"equal energy, {table}"


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
    looks = (*_FINE, *(round(study.setting.cycles * step, 6) for step in range(1, steps + 1)))
    return replace(repair, looks=looks, watched=True)


def fig3(study: ChipStudy) -> Figure:
    """Compute figure 3.

    JSON: ``paired`` rows {loss, learner, m, iterative, batch_total, batch_last_step, difference_total, difference_last, low, high, low_last,
    high_last, pairs, damaged, healthy}; ``comparisons`` rows {loss, learner, m, accounting, iterative, batch, difference, low, high, p,
    p_holm (Holm over all rows), better, pairs}, where "stopped at its best look" takes the look since the last death that validation images
    liked best; ``served`` rows, mean accuracy from the first death on; ``controls`` rows {control, learner,
    loss, m, accuracy, low, high, healthy, draws}; ``accounting`` rows, what each repair used.
    """
    setting = study.setting
    tables = tuple(study.chip().deployment.profile.energy_tables)
    jobs = [(loss, m, name) for loss in setting.losses for m in loss.deaths for name in setting.learners]
    paired, rows, served, accounting, draw_rows = [], [], [], [], []
    for done, (loss, m, name) in enumerate(jobs):
        study.progress("figure 3", done, len(jobs), f"{m} dead {loss.name}, {name}")
        place = {"loss": loss.name, "learner": name, "m": m}
        ways = [history(study, iterative(study, loss, name, m, draw)) for draw in study.draws]
        whole = [history(study, batch(study, loss, name, m, draw)) for draw in study.draws]
        finals: dict[str, list[float]] = {
            CYCLES: [one.final for one in whole],
            LAST: [one.seen.at_cycle(setting.cycles) for one in whole],
            STOPPED: [history(study, watched(study, batch(study, loss, name, m, draw))).stopped for draw in study.draws],
        }
        equal = {WRITES: [_equal(study, loss, way, name, m, draw, None) for draw, way in enumerate(ways)]}
        equal |= {
            equal_energy(table): [_equal(study, loss, way, name, m, draw, table) for draw, way in enumerate(ways)]
            for table in tables
        }
        finals |= {accounting_name: [one.final for one in each] for accounting_name, each in equal.items()}
        own = [one.final for one in ways]
        early = [history(study, watched(study, iterative(study, loss, name, m, draw))).stopped for draw in study.draws]
        found = {key: compared(early if key == STOPPED else own, each) for key, each in finals.items()}
        rows += [{**place, "accounting": accounting_name, **one} for accounting_name, one in found.items()]
        paired.append({**place, **_paired(found, whole)})
        served.append({**place, **_served(study, loss, m, ways, whole)})
        books = {"iterative": ways, "batch": whole, **{f"batch, {key}": each for key, each in equal.items()}}
        accounting += [{**place, "strategy": key, **_book(each)} for key, each in books.items()]
        draw_rows += [
            {**place, "draw": draw, "healthy": ways[draw].seen.healthy, "iterative": own[draw],
             "iterative, stopped": early[draw], **{key: each[draw] for key, each in finals.items()}}
            for draw in study.draws
        ]  # fmt: skip
    study.progress("figure 3", len(jobs), len(jobs), "")
    comparisons, controls = judged(rows), _controls(study)
    answer: dict[str, Any] = {
        "setting": setting.name, "network": setting.network, "weights": study.chip().prepared.weights, "profile": setting.profile, "cycles_a_step": setting.cycles,
        "cycle_samples": setting.adapt, "test_images": len(study.chip().test.labels), "draws": setting.draws,
        "steps": {loss.name: loss.step for loss in setting.losses}, "energy_tables": list(tables), "comparisons_made": len(comparisons),
        "paired": paired, "comparisons": comparisons, "served": served, "controls": controls, "accounting": accounting,
    }  # fmt: skip
    return Figure(
        "chip_fig3", answer,
        {"paired": paired, "comparisons": comparisons, "served": served, "controls": controls, "accounting": accounting, "draws": draw_rows},
    )  # fmt: skip


def _equal(study: ChipStudy, loss: Loss, way: ChipHistory, name: str, m: int, draw: int, table: str | None) -> ChipHistory:
    """Return a batch repair that may use what an iterative one used: its writes, or its energy by a table."""
    usual = batch(study, loss, name, m, draw)
    roomy = replace(usual, cycles=_ROOM * usual.cycles, looks=(usual.cycles,))
    if table is None:
        return history(study, replace(roomy, writes=way.writes))
    return history(study, replace(roomy, energy=way.energy[table], table=table))


def _paired(found: dict[str, dict[str, Any]], whole: list[ChipHistory]) -> dict[str, Any]:
    total, last = found[CYCLES], found[LAST]
    return {
        "iterative": total["iterative"], "batch_total": total["batch"], "batch_last_step": last["batch"],
        "difference_total": total["difference"], "difference_last": last["difference"], "low": total["low"], "high": total["high"],
        "low_last": last["low"], "high_last": last["high"], "pairs": total["pairs"],
        "damaged": float(np.mean([one.seen.test[one.seen.began] / one.seen.n_test for one in whole])),
        "healthy": float(np.mean([one.seen.healthy for one in whole])),
    }  # fmt: skip


def _served(study: ChipStudy, loss: Loss, m: int, ways: list[ChipHistory], whole: list[ChipHistory]) -> dict[str, Any]:
    """Return the mean accuracy from the first death to twice the time that the deaths take."""
    setting, steps = study.setting, m // loss.step
    horizon = 2 * steps * setting.cycles
    pace = round(setting.cycles * setting.adapt)
    waits = [
        history(study, ChipRepair(draw, "wait", None, loss.name, m, setting.adapt, study.bits, steps=steps, watchdog=pace)).seen
        for draw in study.draws
    ]
    own = [one.seen.mean_served(horizon) for one in ways]
    later = [still.then(one.seen).mean_served(horizon) for still, one in zip(waits, whole, strict=True)]
    difference = paired_difference(own, later)
    return {
        "horizon_cycles": horizon, "iterative": float(np.mean(own)),
        "batch": float(np.mean([one.seen.mean_served(horizon) for one in whole])), "wait_then_batch": float(np.mean(later)),
        "no_repair": float(np.mean([one.mean_served(horizon) for one in waits])), "difference": difference.mean, "low": difference.low,
        "high": difference.high, "worst_iterative": float(np.mean([one.seen.worst for one in ways])),
        "worst_batch": float(np.mean([one.seen.worst for one in whole])),
    }  # fmt: skip


def _book(each: list[ChipHistory]) -> dict[str, Any]:
    """Return what a repair used, a mean over draws, and how many draws ran to the end of their cycles in place of their budget."""
    tables = each[0].energy
    return {
        "final": float(np.mean([one.final for one in each])),
        "cycles": float(np.mean([one.seen.steps[-1] / one.seen.cycle for one in each])),
        "writes": float(np.mean([one.writes for one in each])), "updates": float(np.mean([one.updates for one in each])),
        **{f"energy_{table}": float(np.mean([one.energy[table] for one in each])) for table in tables},
        **{f"time_{table}": float(np.mean([one.time.get(table, 0.0) for one in each])) for table in tables},
    }  # fmt: skip


def _controls(study: ChipStudy) -> list[dict[str, Any]]:
    """Return sham, fresh sub-network, remap, and the network trained with dropout, over draws."""
    setting, rows = study.setting, []

    def add(control: str, loss: str, m: int, learner: str | None, repairs: list[ChipRepair]) -> None:
        seen = [history(study, one) for one in repairs]
        found = t_interval([one.final for one in seen], within=SHARE)
        rows.append(
            {"control": control, "loss": loss, "m": m, "learner": learner, "accuracy": found.mean, "low": found.low, "high": found.high,
             "healthy": float(np.mean([one.seen.healthy for one in seen])), "draws": found.n,
             "writes": float(np.mean([one.writes for one in seen])), "notes": "; ".join(sorted({n for one in seen for n in one.notes}))}
        )  # fmt: skip

    def plain(act: str, loss: str, m: int, dropout: bool = False) -> list[ChipRepair]:
        return [ChipRepair(draw, act, None, loss, m, setting.adapt, study.bits, dropout=dropout) for draw in study.draws]

    longest = max(loss.middle // loss.step for loss in setting.losses)
    for name in setting.learners:
        add("sham", "none", 0, name, [
            ChipRepair(draw, "sham", name, "cores", 0, setting.adapt, study.bits, cycles=longest * setting.cycles)
            for draw in study.draws
        ])  # fmt: skip
        for loss in setting.losses:
            add("fresh-subnetwork", loss.name, loss.middle, name, [
                replace(batch(study, loss, name, loss.middle, draw), act="fresh-subnetwork", looks=()) for draw in study.draws
            ])  # fmt: skip
    for loss in setting.losses:
        for m in loss.deaths:
            add("none", loss.name, m, None, plain("none", loss.name, m))
            add("dropout-trained, no repair", loss.name, m, None, plain("none", loss.name, m, True))
            if loss.name == "cores":
                add("remap", loss.name, m, None, plain("remap", loss.name, m))
    return rows
