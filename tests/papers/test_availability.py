"""Missions on the chip: what is served while cores die and bits flip."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.cost import cost
from neurofault.errors import UsageError
from neurofault.faults.environment import ENVIRONMENTS
from neurofault.faults.plan import plan
from neurofault.papers.rescue2019.availability import ENERGIES, availability
from neurofault.papers.rescue2019.cases import Case, Mission
from neurofault.papers.rescue2019.chip_setting import QUICK, ChipStudy
from neurofault.papers.rescue2019.missions import Arm, arms, at_work, flown, missions_of
from neurofault.papers.rescue2019.networks import CaseTraining
from neurofault.papers.rescue2019.run import paper
from neurofault.papers.rescue2019.units import Units
from neurofault.progress import silent
from neurofault.streams import generator

CASE = Case("digits-mlp", (None, 1), (), 2, 200)
STORM = Mission("storm", CASE, 3000.0, deaths=0.04, years=6.0, epochs=2, passes=2, lesson=60, looks=(1.0,), spares=(2,))
DYING = replace(STORM, name="dying", factor=0.0, spares=(8,))
WET = replace(STORM, name="wet", factor=100.0, deaths=0.0, epochs=1, passes=1)
SMALL = replace(QUICK, name="small", missions=(STORM,))
TRAINING = CaseTraining(CASE, 1)
DRAW = TRAINING.draws[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """One run of the figure."""
    out = tmp_path_factory.mktemp("availability")
    paper(["availability"], out, setting=SMALL)
    return out, json.loads((out / "chip_availability.json").read_text())


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> ChipStudy:
    return ChipStudy(SMALL, Units(tmp_path_factory.mktemp("units") / "units.jsonl"), silent, None)


def table(made, name: str) -> list[dict[str, str]]:
    with (made[0] / f"chip_availability_{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def by_hand(own: ChipStudy, mission: Mission, epochs: int):
    """Return the chip after so many epochs of the draw in which nothing is maintained."""
    healthy = own.chip().deployment
    per_second = mission.factor * ENVIRONMENTS["low_earth_orbit"].upsets_per_bit_second
    seconds = mission.years / mission.epochs / mission.passes * 365.25 * 86400
    fault = nf.faults.SynapseBitFlip(rate=(1 - np.exp(-2 * per_second * seconds)) / 2, layer="any")
    chip = healthy
    for number in range(epochs * mission.passes):
        chip = nf.inject(chip, plan(healthy, [fault], seed=1, draw=1_000_000 * (DRAW + 1) + number))
    place = healthy.placement
    lives = generator(1, "mission", "lifetimes", DRAW).exponential(size=place.chips * place.cores_per_chip) / mission.deaths
    cores = sorted({*map(int, place.used_cores), *place.spare_cores})
    dead = [core for core in cores if lives[core] <= mission.years * epochs / mission.epochs]
    return nf.inject(chip, nf.faults.CoreDead(cores=tuple(dead))) if dead else chip


def test_without_maintenance_a_mission_is_the_damage_of_its_draw_injected_at_once(study):
    own = at_work(study, STORM, TRAINING)
    found, test = flown(own, STORM, Arm("nothing"), DRAW), own.chip().test
    assert found["dead"][-1] > 0
    assert found["upsets"][-1] > 100
    for epoch in range(STORM.epochs + 1):
        chip = by_hand(own, STORM, epoch) if epoch else own.chip().deployment
        seen = nf.run(chip, test.inputs, test.labels, engine="exact")
        assert found["before"][epoch] == found["after"][epoch] == seen.correct
        each = cost(chip, seen.activity, seen.n)
        assert found["serving"][epoch] == [pytest.approx(each.energy.value)] * 2
        assert found["static"][epoch] == [pytest.approx(each.static_energy.value)] * 2
    assert found["before"][2] < found["before"][1] < found["before"][0]


def test_with_enough_spare_cores_and_without_upsets_each_maintenance_brings_everything_back(study):
    own = at_work(study, DYING, TRAINING)
    found = [flown(own, DYING, arm, DRAW) for arm in (Arm("nothing"), Arm("remap", 8))]
    assert found[0]["dead"][-1] == found[1]["dead"][-1] > 0
    assert found[0]["after"][-1] < found[0]["after"][0]
    assert set(found[1]["after"]) == {found[0]["after"][0]}
    assert min(found[1]["before"]) < found[1]["before"][0]
    assert found[1]["before"][1] == found[0]["before"][1]
    assert sum(found[1]["repair"]) > 0


def test_a_code_leaves_what_inject_leaves_on_a_protected_chip(study):
    own = at_work(study, WET, TRAINING)
    chip, test = own.chip().deployment, own.chip().test
    per_second = WET.factor * ENVIRONMENTS["low_earth_orbit"].upsets_per_bit_second
    fault = nf.faults.SynapseBitFlip(rate=(1 - np.exp(-2 * per_second * WET.seconds)) / 2, layer="any")
    hurt = nf.inject(nf.protect(chip, "secded"), [fault], seed=1, draw=1_000_000 * (DRAW + 1))
    assert hurt.damage.edits
    found, bare = (flown(own, WET, Arm(name), DRAW) for name in ("protect", "nothing"))
    assert found["after"][1] == nf.run(hurt, test.inputs, test.labels).correct > bare["after"][1]
    assert found["protection"][0][0] > bare["protection"][0][0] == 0
    reload = flown(own, WET, Arm("reload"), DRAW)
    assert (reload["before"][1], reload["after"]) == (bare["before"][1], [bare["before"][0]] * 2)


def test_learning_is_a_repair_of_the_chip_as_it_is_kept_where_validation_samples_like_it(study):
    own = at_work(study, STORM, TRAINING)
    chip, adapt, hurt = own.chip(), own.adapt(200, 8), by_hand(own, STORM, 1)
    healed = nf.rescue(
        hurt, adapt.inputs, adapt.labels, strategy="batch", learner="dfa", budget=nf.Budget(cycles=None, samples=60),
        seed=1 + 1000 * DRAW, fine=False, guard=None,
    ).deployment  # fmt: skip
    right = [nf.run(one, chip.validation.inputs, chip.validation.labels).correct for one in (hurt, healed)]
    kept = healed if right[1] > right[0] else hurt
    found = flown(own, STORM, Arm("learn"), DRAW)
    assert found["after"][1] == nf.run(kept, chip.test.inputs, chip.test.labels).correct
    assert found["repair"][1] > 0


def test_what_is_served_lies_between_two_maintenances(made, study):
    rows, draws = made[1]["rows"], table(made, "draws")
    assert [(row["arm"], row["spares"]) for row in rows] == [(arm.name, arm.spares) for arm in arms(STORM)]
    assert [len(missions_of(study)), len(draws)] == [2, 2 * 2 * len(rows)]
    bare = {}
    for row in rows:
        own = [one for one in draws if (one["arm"], one["spares"]) == (row["arm"], str(row["spares"]))]
        means = [np.mean([float(one["served"]) for one in own if one["training"] == training]) for training in ("own", "1")]
        joules = [
            np.mean([sum(float(one[name]) for name in ENERGIES) for one in own if one["training"] == training])
            for training in ("own", "1")
        ]
        bare = bare or {"served": means, "energy": joules}
        assert row["served"] == pytest.approx(np.mean(means), abs=1e-6)
        assert row["difference"] == pytest.approx(np.mean(np.subtract(means, bare["served"])), abs=1e-6)
        assert row["energy"] == pytest.approx(np.mean(np.divide(joules, bare["energy"])), rel=1e-4)
        assert (row["protection"] > 0, row["added_bits"] > 0) == (row["arm"] in ("protect", "all"),) * 2
        assert row["cores"] == rows[0]["cores"] + row["spares"]
        assert 0 <= row["within_1"] <= row["within_5"] <= 1
    own = at_work(study, STORM, TRAINING)
    found, samples = flown(own, STORM, Arm("all", 2), DRAW), len(own.chip().test.labels)
    seen = next(one for one in draws if (one["arm"], one["spares"], one["training"], one["draw"]) == ("all", "2", "1", str(DRAW)))
    ends = [found[end][k] / samples for k in range(2) for end, k in (("after", k), ("before", k + 1))]
    assert float(seen["served"]) == pytest.approx(np.mean(ends), abs=1e-6)
    assert float(seen["within_5"]) == np.mean([end >= ends[0] - 0.05 - 1e-9 for end in ends])
    joules = [found["serving"][k][at] for k in range(2) for at, k in ((1, k), (0, k + 1))]
    assert float(seen["serving"]) == pytest.approx(np.mean(joules) * 6 * 365.25 * 86400, rel=1e-4)


def test_a_run_that_was_broken_off_goes_on_and_gives_the_same_bytes(made, tmp_path):
    lines = (made[0] / "units.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "units.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]) + lines[-1][:40])
    paper(["availability"], tmp_path, setting=SMALL)
    names = sorted(path.name for path in made[0].iterdir())
    assert len(names) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        read = [(folder / name).read_bytes() for folder in (made[0], tmp_path)]
        if name == "units.jsonl":
            read = [sorted(each.splitlines()) for each in read]
        assert read[0] == read[1], name


def test_the_verdicts_say_what_the_rows_do(made):
    rows = [row for row in made[1]["rows"] if row["arm"] != "nothing"]
    for row, verdict in zip(rows, made[1]["verdicts"], strict=True):
        assert verdict["text"].startswith(f"storm, {row['arm']}")
        decided = row["difference_low"] > 0 or row["difference_high"] < 0
        assert ("not told apart from nothing" in verdict["text"]) != decided
        assert verdict["text"].endswith(" energy, 2 trainings of 2 draws each")


def test_a_mission_that_cannot_be_flown_is_refused(study):
    with pytest.raises(
        UsageError,
        match=r"^mission storm: no environment 'low_earth_orbti' \(did you mean 'low_earth_orbit'\?\); environments: sea_level, ",
    ):
        replace(STORM, environment="low_earth_orbti")
    for words, text in (
        ({"epochs": 0}, "epochs must be at least 1, is 0"), ({"deaths": -0.1}, "deaths must be at least 0, is -0.1"), ({"years": 0.0}, "years must be above 0, is 0"),
        ({"looks": (0.5, 0.9)}, "looks must rise from above 0 to 1, are 0.5, 0.9"), ({"spares": ()}, "spares must rise from above 0, are none"),
        ({"spares": (4, 2)}, "spares must rise from above 0, are 4, 2"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"^mission storm: {text}$"):
            replace(STORM, **words)
    with pytest.raises(UsageError, match="setting 'none' names no missions to compare"):
        availability(replace(study, setting=replace(SMALL, name="none", missions=())))
