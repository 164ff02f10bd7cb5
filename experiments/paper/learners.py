"""A better learner than `dfa`? What was tried on validation images, and what is best on test images: 16 draws of dead cores of each of three trainings.

    python experiments/paper/learners.py --data-dir DIR --out docs/data/paper
    python experiments/paper/learners.py --data-dir DIR --out FOLDER --quick

`mnist-mlp` on Loihi 2, 8 neurons a core, 6 of the 13 cores of hidden1 dead, batch repair without a guard, one cycle of 5,000 training images for each learner, the same in the same order.

1. Every candidate (``candidates.py``) repairs 4 draws of the recipe's own training; the 5,000 validation images judge, and the draws have another seed than all others on the page.
2. The two best repair 8 more draws. The best of these, of equal ones the first, is the one that is compared; where its interval over these 12 draws holds 0, none is better.
3. It and `dfa` repair 16 draws of each of three trainings, 48 in all, and are judged on the 10,000 test images, once. Sham: both learn on the three healthy chips.

Intervals of 3. are Student's t over the means of the trainings; beside them stands a bootstrap of trainings, and of draws within them. What is done is kept in ``units.jsonl`` in the
folder, so that a run that was broken off goes on; the same data, processor and libraries give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from candidates import Candidate, candidates, usual  # beside this file

import neurofault as nf
from neurofault.papers.rescue2019.bases import one_thread
from neurofault.papers.rescue2019.cases import Case, CaseHarm
from neurofault.papers.rescue2019.chip_setting import FULL, ChipStudy
from neurofault.papers.rescue2019.losses import faults_of
from neurofault.papers.rescue2019.networks import CaseTraining, healthy
from neurofault.papers.rescue2019.output import Figure, write
from neurofault.papers.rescue2019.stopped import correct
from neurofault.papers.rescue2019.units import Units
from neurofault.study.statistics import holm, paired_difference, paired_p, t_interval

_SEMANTICS = 1  # raised by hand when a candidate of the same name gives other counts

NETWORK, LOSS, COUNT, ADAPT = "mnist-mlp", "cores", 6, 5_000
TRAININGS, DRAWS = (None, 1, 2), 16
SEARCH_SEED, FEW, MORE, KEPT = 101, 4, 12, 2
RESAMPLES = 10_000
QUICK = {"TRAININGS": (None, 1), "DRAWS": 2, "FEW": 2, "MORE": 3, "KEPT": 2, "ADAPT": 500, "NETWORK": "digits-mlp"}
Row = dict[str, Any]


def trainings(units: Units, data_dir: Path | None) -> list[tuple[CaseTraining, ChipStudy]]:
    """Return the trainings, each with its study."""
    whole = ChipStudy(FULL, units, lambda *_: None, data_dir)
    case = Case(NETWORK, TRAININGS, (CaseHarm(LOSS, 0.46),), DRAWS, ADAPT)
    listed = [CaseTraining(case, number) for number in range(len(TRAININGS))]
    return [(one, one.at_work(whole)) for one in listed]


def repaired(study: ChipStudy, candidate: Candidate, seed: int, draw: int | None, split: str) -> Row:
    """Return what a candidate makes of a draw of damage, or of the healthy chip.

    Args:
        study: of one training.
        candidate: what learns.
        seed: of the damage; the order of samples and the rounding follow from it and the draw.
        draw: of the damage; None: nothing is broken (sham).
        split: ``validation`` or ``test``: which images judge.

    Returns:
        ``right`` samples, ``writes``, ``updates``, ``samples``, ``host_bytes``, and ``energy`` {table: joules, dynamic}.
    """

    def compute() -> Row:
        chip, adapt = study.chip(), study.adapt(ADAPT, study.bits)
        learner = candidate.make(usual(chip.deployment, adapt.inputs, adapt.labels))
        hurt = chip.deployment if draw is None else nf.inject(chip.deployment, faults_of(LOSS, COUNT), seed=seed, draw=draw)
        done = nf.rescue(
            hurt, adapt.inputs, adapt.labels, strategy="sham" if draw is None else "batch", learner=learner,
            budget=nf.Budget(cycles=candidate.cycles), seed=seed + 1000 * (draw or 0), fine=False, guard=None, progress=False,
        )  # fmt: skip
        spent = done.spent
        return {
            "right": correct(done.deployment, chip.test if split == "test" else chip.validation), "writes": spent.writes, "updates": spent.updates,
            "samples": spent.samples, "host_bytes": spent.host_bytes, "energy": dict(spent.energy),
        }  # fmt: skip

    key = {
        "unit": "learner", "semantics": _SEMANTICS, "chip": study.chip().digest, "learner": candidate.name, "cycles": candidate.cycles, "loss": LOSS,
        "count": COUNT, "adapt": ADAPT, "seed": seed, "draw": draw, "split": split,
    }  # fmt: skip
    found: Row = study.units.once(key, compute)
    return found


def damaged(study: ChipStudy, draw: int) -> int:
    """Return how many test images a chip answers right right after a draw of damage."""
    chip = study.chip()
    key = {"unit": "learner damaged", "semantics": _SEMANTICS, "chip": chip.digest, "loss": LOSS, "count": COUNT, "draw": draw}
    found: int = study.units.once(
        key, lambda: correct(nf.inject(chip.deployment, faults_of(LOSS, COUNT), seed=FULL.seed, draw=draw), chip.test)
    )
    return found


def tried(study: ChipStudy) -> list[Row]:
    """Return a row for each candidate and draw on validation images; the best ones have more draws."""
    listed, images = list(candidates()), len(study.chip().validation.labels)
    rows: list[Row] = []

    def shown(some: list[Candidate], draws: range) -> Iterator[Row]:
        for candidate in some:
            for draw in draws:
                seen = repaired(study, candidate, SEARCH_SEED, draw, "validation")
                yield {"learner": candidate.name, "draw": draw, **book(seen, images)}
            print(f"{candidate.name}: {len(draws)} draws", flush=True)

    rows += shown(listed, range(FEW))
    best = sorted(listed[1:], key=lambda one: -mean_of(rows, one.name, "accuracy"))
    best = [one for one in best if one.cycles == listed[0].cycles][:KEPT]
    return rows + list(shown([listed[0], *best], range(FEW, MORE)))


def book(seen: Row, images: int) -> Row:
    """Return a repair as a row."""
    energy = {f"energy_{table}": joules for table, joules in seen["energy"].items()}
    return {
        "accuracy": seen["right"] / images,
        **{name: seen[name] for name in ("samples", "writes", "updates", "host_bytes")},
        **energy,
    }


def mean_of(rows: list[Row], learner: str, what: str) -> float:
    """Return the mean of a column over the draws of a learner."""
    return float(np.mean([row[what] for row in rows if row["learner"] == learner]))


def judged(rows: list[Row]) -> list[Row]:
    """Return a row for each candidate: means over its draws, and the difference to `dfa` on the same draws."""
    names = list(dict.fromkeys(row["learner"] for row in rows))
    by_draw = {name: {row["draw"]: row["accuracy"] for row in rows if row["learner"] == name} for name in names}
    found: list[Row] = []
    for name in names:
        draws = sorted(by_draw[name])
        own, usual_ones = ([by_draw[each][draw] for draw in draws] for each in (name, names[0]))
        apart = paired_difference(own, usual_ones)
        costs = [one for one in rows[0] if one not in ("learner", "draw", "accuracy")]
        found.append(
            {"learner": name, "draws": len(draws), "accuracy": float(np.mean(own)), "difference": apart.mean, "low": apart.low, "high": apart.high,
             "p": paired_p(own, usual_ones), **{cost: mean_of(rows, name, cost) for cost in costs}}
        )  # fmt: skip
    corrected = holm([row["p"] for row in found[1:]])
    return [{**row, "p_holm": p} for row, p in zip(found, (1.0, *corrected), strict=True)]


def chosen_of(rows: list[Row]) -> Row:
    """Return the row of the candidate that is compared on test images: the best of those with the most draws."""
    most = max(row["draws"] for row in rows[1:])
    return max((row for row in rows[1:] if row["draws"] == most), key=lambda row: round(row["accuracy"], 9))


def reported(listed: list[tuple[CaseTraining, ChipStudy]], candidate: Candidate) -> tuple[list[Row], list[Row]]:
    """Return a row for each training, draw and learner on test images, and one for each training of the shams."""
    rows, shams, first = list[Row](), list[Row](), next(candidates())
    for training, study in listed:
        images = len(study.chip().test.labels)
        whole = healthy(study)[0] / images
        for one in (first, candidate):
            seen = repaired(study, one, FULL.seed, None, "test")
            shams.append({"training": training.name, "learner": one.name, "healthy": whole, **book(seen, images)})
        for draw in training.draws:
            for one in (first, candidate):
                seen = repaired(study, one, FULL.seed, draw, "test")
                rows.append(
                    {"training": training.name, "draw": draw, "learner": one.name, "healthy": whole, "damaged": damaged(study, draw) / images, **book(seen, images)}
                )  # fmt: skip
        print(f"{training.name}: {len(training.draws)} draws", flush=True)
    return rows, shams


def two_levels(apart: np.ndarray) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of a mean: trainings are drawn again, then draws within each.

    Args:
        apart: [trainings, draws], differences.
    """
    random = np.random.default_rng(1)
    which = random.integers(len(apart), size=(RESAMPLES, len(apart), 1))
    within = random.integers(apart.shape[1], size=(RESAMPLES, *apart.shape))
    low, high = np.quantile(apart[which, within].mean((1, 2)), (0.025, 0.975))
    return float(low), float(high)


def compared(rows: list[Row], shams: list[Row]) -> Row:
    """Return the comparison on test images."""
    names = list(dict.fromkeys(row["learner"] for row in rows))
    places = list(dict.fromkeys(row["training"] for row in rows))
    table = np.array(
        [
            [[row["accuracy"] for row in rows if (row["learner"], row["training"]) == (name, place)] for place in places]
            for name in names
        ]
    )
    apart = table[1] - table[0]
    found, (low, high) = t_interval(apart.mean(axis=1)), two_levels(apart)
    each = [t_interval(own) for own in apart]
    lost = [np.array([row["accuracy"] - row["healthy"] for row in shams if row["learner"] == name]) for name in names]
    of_shams = t_interval(lost[1] - lost[0])
    costs = [one for one in rows[0] if one not in ("training", "draw", "learner", "healthy", "damaged", "accuracy")]
    return {
        "learner": names[1], "beside": names[0], "trainings": len(places), "draws": apart.shape[1],
        **{name: float(np.mean([row[name] for row in rows])) for name in ("healthy", "damaged")},
        "accuracy": {name: float(own.mean()) for name, own in zip(names, table, strict=True)},
        "difference": found.mean, "low": found.low, "high": found.high, "p": paired_p(table[1].mean(axis=1), table[0].mean(axis=1)),
        "bootstrap_low": low, "bootstrap_high": high, "wins": int((apart > 0).sum()), "pairs": int(apart.size),
        "by_training": [{"training": place, "difference": one.mean, "low": one.low, "high": one.high} for place, one in zip(places, each, strict=True)],
        "costs": {name: {cost: mean_of(rows, name, cost) for cost in costs} for name in names},
        "sham": {name: float(own.mean()) for name, own in zip(names, lost, strict=True)},
        "sham_difference": of_shams.mean, "sham_low": of_shams.low, "sham_high": of_shams.high,
    }  # fmt: skip


def main() -> None:
    """Compute what is not computed yet, and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="digits, few draws")
    given = parser.parse_args()
    if given.quick:
        globals().update(QUICK)
    given.out.mkdir(parents=True, exist_ok=True)
    with one_thread(), Units(given.out / "units.jsonl") as units:
        listed = trainings(units, given.data_dir)
        seen = tried(listed[0][1])
        rows = judged(seen)
        best = chosen_of(rows)
        candidate = next(one for one in candidates() if one.name == best["learner"])
        reports, shams = reported(listed, candidate)
        answer = {
            "network": NETWORK, "weights": {one.name: study.chip().prepared.weights for one, study in listed}, "profile": FULL.profile, "loss": LOSS, "count": COUNT,
            "of": listed[0][1].whole(LOSS), "cycle_samples": ADAPT, "search_seed": SEARCH_SEED, "seed": FULL.seed,
            "chosen": best["learner"], "better_on_validation": best["low"] > 0, "tried": rows, "compared": compared(reports, shams),
        }  # fmt: skip
    written = write(Figure("chip_learners", answer, {"tried": seen, "draws": reports, "shams": shams}), given.out)
    for row in rows:
        print(
            f"{row['learner']:60s} {row['draws']:2d} {100 * row['accuracy']:.2f} {100 * row['difference']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
        )
    one = answer["compared"]
    print(
        f"test: {100 * one['difference']:+.2f} [{100 * one['low']:+.2f}, {100 * one['high']:+.2f}], bootstrap [{100 * one['bootstrap_low']:+.2f}, {100 * one['bootstrap_high']:+.2f}]"
    )
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
