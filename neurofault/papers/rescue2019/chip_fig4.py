"""Figure 4 on the chip: do repaired chips return to one set, is it connected, and what does the way look like beside a random walk?

A chip is taken as the weights that it acts with: stored integers, zero where a neuron at either end is dead. Between two chips lie the weights
(1 − α) a + α b, rounded to what a synapse can store. Chips of different training have weights in different units (the exponent of a
layer is fitted to it), so there are no lines between bases here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.cost import alive
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write
from neurofault.engines import run
from neurofault.papers.rescue2019.chip_repairs import ChipRepair, history, perform
from neurofault.papers.rescue2019.chip_setting import ChipStudy, Loss
from neurofault.papers.rescue2019.fig4 import barrier_summary, returns_and_exits, shape_of
from neurofault.papers.rescue2019.landscape import arc, principal_components, random_walk
from neurofault.papers.rescue2019.output import Figure
from neurofault.streams import stream_key

PAIR_TYPES = ("same trajectory", "other draw")


def way(study: ChipStudy, loss: Loss, draw: int) -> ChipRepair:
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


def vector(chip: Deployment) -> NDArray[np.float32]:
    """Return the weights that a chip of dense connections acts with, float32 [P], connection by connection, 0 where a neuron at either end is dead.

    Raises:
        UsageError: a connection that is not dense.
    """
    parts = []
    for one in chip.connections:
        weights = stored_weights(chip, one.name) * alive(chip, one.target)[:, None] * alive(chip, one.source)
        parts.append(weights.ravel())
    return np.concatenate(parts).astype(np.float32)


def with_vector(chip: Deployment, weights: NDArray[np.floating]) -> Deployment:
    """Return a healthy chip of dense connections with other weights, each rounded to the nearest that can be stored.

    Args:
        chip: the healthy chip.
        weights: float [P], as :func:`vector` gives them.

    Raises:
        UsageError: a connection that is not dense.
    """
    start = 0
    for one in chip.connections:
        shape = stored_weights(chip, one.name).shape
        size = shape[0] * shape[1]
        grid = 1 << field_shift(one.weight_bits, one.sign_mode)
        chip = write(chip, one.name, (np.rint(weights[start : start + size] / grid) * grid).astype(np.int64).reshape(shape))
        start += size
    return chip


def fig4(study: ChipStudy) -> Figure:
    """Compute figure 4.

    JSON, each by loss (``cores``, ``neurons``): ``return_rate`` {epsilon → left, returned, rate, low, high, outside, came_back}; ``first_exit``
    {epsilon → m, survival, exits, median}; ``barriers`` {pair_type → mean, low, high (over draws, of which lines share
    ends), max (points of accuracy under the straight line), end_points,
    lowest, pairs, ends_inside, inside}; ``embedding`` {repair, walk → share of variance of the first two components, arc, each with its interval}.
    """
    setting = study.setting
    answer: dict[str, Any] = {
        "setting": setting.name, "network": setting.network, "weights": study.chip().prepared.weights, "profile": setting.profile, "learner": setting.way_learner,
        "cycles_a_step": setting.cycles, "trajectories": setting.draws, "headline": setting.headline,
        "steps": {loss.name: loss.way_step for loss in setting.losses},
        "return_rate": {}, "first_exit": {}, "barriers": {}, "embedding": {},
    }  # fmt: skip
    tables: dict[str, list[dict[str, Any]]] = {"ways": [], "barriers": [], "lines": [], "shapes": []}
    for loss in setting.losses:
        returns, exits, rows = _returns(study, loss)
        answer["return_rate"][loss.name], answer["first_exit"][loss.name] = returns, exits
        tables["ways"] += rows
        answer["barriers"][loss.name], barrier_rows, lines = _barriers(study, loss)
        tables["barriers"] += barrier_rows
        tables["lines"] += lines
        answer["embedding"][loss.name], shapes = _embedding(study, loss)
        tables["shapes"] += shapes
    return Figure("chip_fig4", answer, tables)


def _returns(study: ChipStudy, loss: Loss) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Return return rates, first exits and the ways."""
    setting = study.setting
    deaths = np.arange(1, loss.way // loss.way_step + 1) * loss.way_step
    seen = [history(study, way(study, loss, draw)).seen for draw in study.draws]
    healthy = np.array([one.healthy for one in seen])
    damaged, repaired = (np.zeros((len(seen), len(deaths))) for _ in range(2))
    for row, one in enumerate(seen):
        for step in range(len(deaths)):
            until = one.until(step + 1)
            damaged[row, step], repaired[row, step] = until.test[until.began] / until.n_test, until.final
    returns, exits = returns_and_exits(damaged, repaired, healthy, deaths, setting.tolerances)
    rows = [
        {"loss": loss.name, "draw": draw, "m": int(m), "healthy": healthy[draw], "damaged": damaged[draw, k], "repaired": repaired[draw, k]}
        for draw in study.draws for k, m in enumerate(deaths)
    ]  # fmt: skip
    return returns, exits, rows


def _chips(study: ChipStudy, loss: Loss, draw: int) -> list[Deployment]:
    """Return the chips of a way: the healthy one, then damaged and repaired at each step. They are made again, not kept."""
    key = (loss.name, draw)
    if key not in study.ways:
        study.ways[key] = list(perform(study, way(study, loss, draw)).snapshots)
    return study.ways[key]


def _end(study: ChipStudy, loss: Loss, draw: int, dead: int) -> Deployment:
    return _chips(study, loss, draw)[2 * (dead // loss.way_step)]


def _barriers(study: ChipStudy, loss: Loss) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    setting, test = study.setting, study.chip().test
    listed = [(PAIR_TYPES[0], (draw, a), (draw, b)) for draw in study.draws for a, b in combinations((0, *loss.ends), 2)]
    listed += [(PAIR_TYPES[1], (a, dead), (b, dead)) for dead in loss.ends for a, b in combinations(study.draws, 2)]
    rows, lines = [], []
    healthy = history(study, way(study, loss, 0)).seen.healthy
    goal = healthy - setting.headline - 1e-12
    for done, (kind, one, other) in enumerate(listed):
        study.progress("figure 4, barriers", done, len(listed), f"{kind}, dead {loss.name}")

        def compute(one: tuple[int, int] = one, other: tuple[int, int] = other) -> list[int]:
            start, end = (vector(_end(study, loss, *which)) for which in (one, other))
            chip, found = study.chip().deployment, []
            for alpha in np.linspace(0, 1, setting.alphas):
                between = with_vector(chip, (1 - alpha) * start + alpha * end)
                correct = run(between, test.inputs, test.labels).correct
                assert correct is not None
                found.append(correct)
            return found

        key = {
            "unit": "chip barrier", "chip": study.chip().digest, "seed": setting.seed, "loss": loss.name, "step": loss.way_step, "last": loss.way,
            "adapt": setting.adapt, "cycles": setting.cycles, "learner": setting.way_learner, "alphas": setting.alphas,
            "ends": [list(one), list(other)],
        }  # fmt: skip
        line = np.asarray(study.journal.once(key, compute)) / len(test.labels)
        share = np.linspace(0, 1, setting.alphas)
        height = float((line[0] + share * (line[-1] - line[0]) - line).max())
        place = {"loss": loss.name, "pair_type": kind, "draw_a": one[0], "m_a": one[1], "draw_b": other[0], "m_b": other[1]}
        rows.append(
            {**place, "accuracy_a": line[0], "accuracy_b": line[-1], "lowest": line.min(), "barrier": max(0.0, height),
             "ends_inside": bool(min(line[0], line[-1]) >= goal), "inside": bool(line.min() >= goal)}
        )  # fmt: skip
        lines += [
            {**place, "alpha": float(alpha), "accuracy": float(accuracy)} for alpha, accuracy in zip(share, line, strict=True)
        ]
    study.progress("figure 4, barriers", len(listed), len(listed), "")
    return summaries(rows), rows, lines


def summaries(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``barriers`` of one loss from its rows of the figure's table."""
    return {kind: barrier_summary([row for row in rows if row["pair_type"] == kind], ("draw",)) for kind in PAIR_TYPES}


def _embedding(study: ChipStudy, loss: Loss) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return how much of an arc the ways draw in the plane of their first two components, beside random walks of the same steps."""
    setting, rows = study.setting, []
    for draw in study.draws:
        study.progress("figure 4, embedding", draw, setting.draws, f"dead {loss.name}")

        def compute(draw: int = draw) -> list[dict[str, Any]]:
            points = np.stack([vector(chip) for chip in _chips(study, loss, draw)])
            walk = random_walk(points, stream_key(setting.seed, "chip walk", loss.name, draw))
            found = []
            for kind, each in (("repair", points), ("walk", walk)):
                scores, share = principal_components(each, 2)
                found.append(
                    {"kind": kind, "first_component": float(share[0]), "second_component": float(share[1]), "arc": arc(scores)}
                )
            return found

        key = {
            "unit": "chip embedding", "chip": study.chip().digest, "seed": setting.seed, "loss": loss.name, "step": loss.way_step,
            "last": loss.way, "adapt": setting.adapt, "cycles": setting.cycles, "learner": setting.way_learner, "draw": draw,
        }  # fmt: skip
        columns = ("kind", "first_component", "second_component", "arc")
        rows += [
            {"loss": loss.name, "draw": draw, **{name: each[name] for name in columns}} for each in study.journal.once(key, compute)
        ]
    study.progress("figure 4, embedding", setting.draws, setting.draws, "")
    return shapes(rows), rows


def shapes(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``embedding`` of one loss from its rows of the figure's table."""
    return {
        kind: {
            name: shape_of([row[name] for row in rows if row["kind"] == kind])
            for name in ("first_component", "second_component", "arc")
        }
        for kind in ("repair", "walk")
    }
