"""Flipped bits that a scrub puts right, beside learning on the flipped chip: is learning needed where nothing is broken for good?

A scrub writes an image of the weights back, synapse by synapse where the memory holds another weight. What it gives follows from the image: that of the healthy chip gives the
healthy chip back, whatever was learned meanwhile; on a chip that had learned around dead cores it takes that away, unless the image was read after learning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.graph import Dense
from neurofault.papers.rescue2019.cases import Case, CaseHarm
from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.compare import compared
from neurofault.papers.rescue2019.networks import count_of, healthy, trainings
from neurofault.papers.rescue2019.stopped import correct
from neurofault.papers.rescue2019.subject import Row
from neurofault.rescue import strategies
from neurofault.rescue.budget import Budget
from neurofault.rescue.guard import changes, write_back
from neurofault.rescue.plans import Plan
from neurofault.rescue.workbench import Workbench

_SEMANTICS = 1  # raised by hand when the same upsets and repair give other counts

UPSETS, DEAD = CaseHarm("flipped bits", 0.03), CaseHarm("cores", 0.46)
"""What a scrub puts right, and what it does not, with as many steps as decide how long batch repair learns."""

_RIGHT = (
    "damaged", "learned", "scrubbed", "learned_scrubbed", "dead", "dead_learned", "dead_flipped", "dead_scrubbed_shipped", "dead_scrubbed_read",
)  # fmt: skip
_WRITES = ("learning_writes", "scrub_writes", "learned_scrub_writes")


def scrub(now: Deployment, image: Deployment) -> tuple[Deployment, int]:
    """Write the weights of an image back to a chip where it holds others; return the chip, and how many stored weights were written.

    Args:
        now: the chip.
        image: the same chip in another state; of it the stored weights count.
    """
    restored = write_back(now, image, changes(now, image))
    return restored, len(changes(restored, now))


def scrubbed(study: ChipStudy, case: Case, draw: int) -> dict[str, int]:
    """Return what learning and scrubbing make of a draw of flipped bits.

    Args:
        study: of one training.
        case: its network.
        draw: of the bits, and of the cores that died before.

    Returns:
        Of test samples those that are answered right: ``damaged`` by flipped bits; ``learned``, after batch repair; ``scrubbed`` without learning; ``learned_scrubbed``,
        scrubbed after it. Where cores died before: ``dead``, ``dead_learned`` after batch repair, ``dead_flipped`` when bits have flipped then, ``dead_scrubbed_shipped`` by the
        healthy chip's image, ``dead_scrubbed_read`` by one that was read after learning. Of stored weights those that were written: ``learning_writes``, ``scrub_writes``, ``learned_scrub_writes``.
    """
    setting, chip = study.setting, study.chip()
    learned_by, sizes = case.learner or setting.way_learner, {harm.loss: count_of(study, harm) for harm in (UPSETS, DEAD)}
    cycles = UPSETS.steps * setting.cycles

    def hurt(deployment: Deployment, harm: CaseHarm) -> Deployment:
        return study.hurt(deployment, harm.loss, sizes[harm.loss], draw)

    def repaired(harm: CaseHarm) -> Workbench:
        bench = Workbench(
            hurt(chip.deployment, harm), study.adapt(case.adapt, study.bits), study.learner(learned_by, study.bits, case.adapt), Budget(cycles=cycles), Plan(),
            seed=setting.seed + 1000 * draw, guard=None,
        )  # fmt: skip
        strategies.batch(bench)
        return bench

    def compute() -> dict[str, int]:
        flipped, learned, dead = hurt(chip.deployment, UPSETS), repaired(UPSETS), repaired(DEAD)
        restored, writes = scrub(flipped, chip.deployment)
        over, writes_over = scrub(learned.deployment, chip.deployment)
        again = hurt(dead.deployment, UPSETS)
        chips = (
            flipped, learned.deployment, restored, over, hurt(chip.deployment, DEAD), dead.deployment, again, scrub(again, chip.deployment)[0],
            scrub(again, dead.deployment)[0],
        )  # fmt: skip
        right = {name: correct(one, chip.test) for name, one in zip(_RIGHT, chips, strict=True)}
        return {**right, **dict(zip(_WRITES, (learned.spent.writes, writes, writes_over), strict=True))}

    key = {
        "unit": "scrub", "semantics": _SEMANTICS, "chip": chip.digest, "seed": setting.seed, "counts": sizes, "draw": draw, "adapt": case.adapt, "cycles": cycles,
        "learner": learned_by,
    }  # fmt: skip
    found: dict[str, int] = study.units.once(key, compute)
    return found


def scrub_rows(study: ChipStudy, cases: tuple[Case, ...]) -> tuple[list[Row], list[Row]]:
    """Return for each network what learning and scrubbing make of flipped bits, over its trainings; and the same for each draw.

    Rows: {network, learner, count, of (bits), dead_cores, of_cores, words (stored weights of all dense connections), healthy, what :func:`scrubbed` returns (shares of test samples; means
    of writes), exact (draws after whose scrub the chip answers as many samples as the healthy one), difference (learned − scrubbed), low, high, p, trainings, draws (of each)}.
    """
    rows, draw_rows, means = list[Row](), list[Row](), list[Row]()
    listed = trainings(study.setting, cases)
    for done, training in enumerate(listed):
        case, seed = training.case, training.case.seeds[training.number]
        study.progress("scrubbing", done, len(listed), training.name)
        own = training.at_work(study)
        samples, (whole, _) = len(own.chip().test.labels), healthy(own)
        seen = [scrubbed(own, case, draw) for draw in training.draws]
        place = {
            "network": case.network, "learner": case.learner or study.setting.way_learner, "count": count_of(own, UPSETS), "of": own.whole(UPSETS.loss),
            "dead_cores": count_of(own, DEAD), "of_cores": own.whole(DEAD.loss),
            "words": sum(one.synapses.weight.size for one in own.chip().deployment.connections if isinstance(one.synapses, Dense)),
        }  # fmt: skip
        shown = [{**{name: one[name] / samples for name in _RIGHT}, **{name: one[name] for name in _WRITES}} for one in seen]
        draw_rows += [
            {
                "network": case.network,
                "training": "own" if seed is None else str(seed),
                "draw": draw,
                "healthy": whole / samples,
                **one,
            }
            for draw, one in zip(training.draws, shown, strict=True)
        ]
        exact = sum(one["scrubbed"] == whole for one in seen)
        means.append({**place, "healthy": whole / samples, **_mean(shown), "exact": exact, "draws": len(seen)})
    study.progress("scrubbing", len(listed), len(listed), "")
    for case in cases:
        own_means = [row for row in means if row["network"] == case.network]
        found = compared([row["learned"] for row in own_means], [row["scrubbed"] for row in own_means])
        rows.append({
            **{name: own_means[0][name] for name in ("network", "learner", "count", "of", "dead_cores", "of_cores", "words")},
            **_mean([{name: row[name] for name in ("healthy", *_RIGHT, *_WRITES)} for row in own_means]), "exact": sum(row["exact"] for row in own_means),
            **{name: found[name] for name in ("difference", "low", "high", "p")}, "trainings": found["pairs"], "draws": own_means[0]["draws"],
        })  # fmt: skip
    return rows, draw_rows


def _mean(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
