"""The figures on the chip, on digits, made as small as they can be."""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import neurofault as nf
from neurofault.deploy.memory import stored_weights
from neurofault.engines import run
from neurofault.errors import UsageError
from neurofault.papers.rescue2019.cases import Case, CaseHarm
from neurofault.papers.rescue2019.chip_match import WRITES, equal_energy
from neurofault.papers.rescue2019.chip_repairs import ChipRepair, batch, history, iterative, perform, watched, whole_way
from neurofault.papers.rescue2019.chip_setting import FULL, QUICK, ChipStudy, Loss, Sweep
from neurofault.papers.rescue2019.chip_vectors import vector, with_vector
from neurofault.papers.rescue2019.chips import CYCLES, STOPPED
from neurofault.papers.rescue2019.declines import declines
from neurofault.papers.rescue2019.losses import DRIFT, LOSSES, RAISED, faults_of, whole_of
from neurofault.papers.rescue2019.networks import LAST, TOTAL, CaseTraining, count_of, recovered_at
from neurofault.papers.rescue2019.parts import parts_of, subject_of
from neurofault.papers.rescue2019.run import FIGURES, ON_CHIP, figures_named, paper
from neurofault.papers.rescue2019.scrub import scrub
from neurofault.papers.rescue2019.units import Units, trial_of
from neurofault.papers.rescue2019.watched import WatchedBench
from neurofault.progress import silent
from neurofault.study.campaign.journal import read_rows
from neurofault.study.statistics import holm

READOUT = Case("digits-mlp", (None, 1), (CaseHarm("cores", 0.3, 2), CaseHarm("flipped bits", 0.05, 2)), 2, 200, "delta", samples=120, fine=False, scaled=True)  # fmt: skip
TINY = replace(
    QUICK, name="tiny", losses=(Loss("cores", 2, (4,), (4,), 6, 12, (6, 12)), Loss("neurons", 16, (32,), (32,), 40, 80, (40, 80))),
    sweep=Sweep((2,), (0.1,), (1,), 4, 100), decline_draws=3, decline_bits=(8,), draws=2, adapt=200, cap=0.5, looks=(0.1,), alphas=3,
    learners=("delta", "dfa"),
    cases=(Case("digits-mlp", (None, 1), (CaseHarm("cores", 0.3, 2), CaseHarm("flipped bits", 0.05, 2), CaseHarm("stuck bits", 0.05, 2)), 2, 200),),
    heartbeats=(READOUT,), maps=(READOUT,),
    damages=(Case("digits-mlp", (None, 1), (CaseHarm("links", 0.3, 2), CaseHarm("raised thresholds", 0.3, 2), CaseHarm("drifted weights", 0.3, 2)), 2, 200, place="spread"),),
)  # fmt: skip


class Recorder:
    """Units that are known, and which of them are asked for."""

    def __init__(self, units: Units) -> None:
        self.units, self.trials = units, set()

    def once(self, key, compute):
        self.trials.add(trial_of(key))
        return self.units[trial_of(key)]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


NAMES = (
    "chip_fig1",
    "chip_fig2",
    "chip_fig3",
    "chip_fig4",
    "chip_ranking",
    "chip_networks",
    "chip_declines",
    "chip_availability",
    "chip_damages",
    "chip_heartbeats",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """One run of all figures."""
    out = tmp_path_factory.mktemp("chip")
    paper(["all", "heartbeats"], out, setting=TINY)
    return out, {name: json.loads((out / f"{name}.json").read_text()) for name in NAMES}


@pytest.fixture(scope="module")
def study(made) -> ChipStudy:
    return ChipStudy(TINY, Units(made[0] / "units.jsonl"), silent, None)


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(made, tmp_path):
    (tmp_path / "units.jsonl").write_bytes((made[0] / "units.jsonl").read_bytes())
    paper(["all", "heartbeats"], tmp_path, setting=TINY)
    for path in made[0].iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".png", ".svg", ".jsonl"}


def test_any_number_of_workers_gives_the_same_bytes(made, tmp_path):
    paper(["ranking", "networks", "declines", "availability", "heartbeats"], tmp_path, setting=TINY, jobs=2)
    rows = read_rows(tmp_path / "units.jsonl").rows
    assert len({row["trial"] for row in rows}) == len(rows)  # no unit is computed twice
    names = [
        path.name
        for path in made[0].iterdir()
        if path.name.startswith(("chip_ranking", "chip_networks", "chip_declines", "chip_availability", "chip_heartbeats"))
    ]
    assert len(names) == 35
    for name in names:
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes(), name


def test_the_parts_of_a_figure_are_all_that_it_asks_for(made):
    asked = Recorder(Units(made[0] / "units.jsonl"))
    subject = subject_of(TINY, asked, None, silent)
    for name in (*FIGURES, *ON_CHIP):
        asked.trials.clear()
        for part in chain.from_iterable(parts_of(subject, name)):
            pickle.loads(pickle.dumps(part))(subject)
        apart = set(asked.trials)
        asked.trials.clear()
        ON_CHIP[name](subject.study) if name in ON_CHIP else FIGURES[name](subject)
        assert asked.trials == apart, name


def test_networks_are_compared_over_trainings(made, study):
    answer = made[1]["chip_networks"]
    rows, draws = answer["rows"], table(made[0] / "chip_networks_draws.csv")
    assert [(row["loss"], row["accounting"]) for row in rows] == [
        (loss, accounting) for loss in ("cores", "flipped bits", "stuck bits") for accounting in (TOTAL, LAST, STOPPED)
    ]
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]))
    assert {name: set(found) for name, found in answer["weights"].items()} == {"digits-mlp": {"own", "1"}}
    assert len(set(answer["weights"]["digits-mlp"].values())) == 2
    for row, keys in zip(
        rows, [("iterative", "batch"), ("iterative", "last"), ("iterative_stopped", "batch_stopped")] * 3, strict=True
    ):
        own = [one for one in draws if one["loss"] == row["loss"]]
        assert [(one["training"], one["draw"]) for one in own] == [("own", "0"), ("own", "1"), ("1", "2"), ("1", "3")]
        means = [
            [np.mean([float(one[name]) for one in own if one["training"] == training]) for training in ("own", "1")]
            for name in keys
        ]
        assert row["difference"] == pytest.approx(np.mean(np.subtract(*means)), abs=1e-6)
        assert (row["p"], row["trainings"]) == (pytest.approx(stats.ttest_rel(*means).pvalue, abs=1e-4), 2)
    bits = 64 * 100 * 8
    assert [(row["count"], row["of"]) for row in rows[::3]] == [(4, 13), (bits // 20, bits), (bits // 20, bits)]
    assert [one["verdict"] for one in answer["verdicts"]] == ["undecided"] * 6
    assert answer["verdicts"][2]["text"].startswith(
        "digits-mlp, dfa, flipped bits (2,560 of 51,200 bits), equal cycles in all: not decided, iterative − batch "
    )


@pytest.mark.parametrize("loss", ["cores", "stuck bits"])
def test_a_draw_of_a_network_is_inject_and_rescue_by_hand(made, study, loss):
    case = TINY.cases[0]
    harm = next(one for one in case.harms if one.loss == loss)
    training = CaseTraining(case, 1)
    own = training.at_work(study)
    chip, adapt, draw = own.chip(), own.adapt(200, 8), training.draws[0]
    fault = {"cores": nf.faults.CoreDead, "stuck bits": nf.faults.SynapseBitStuck}[loss](count=count_of(own, harm), layer="hidden")
    broken = nf.inject(chip.deployment, [fault], seed=1, draw=draw)
    row = next(one for one in table(made[0] / "chip_networks_draws.csv") if (one["loss"], one["draw"]) == (loss, str(draw)))
    assert run(broken, chip.test.inputs, chip.test.labels).accuracy == pytest.approx(float(row["damaged"]), abs=1e-6)

    def healed(strategy, steps, cycles):
        return nf.rescue(
            broken, adapt.inputs, adapt.labels, strategy=strategy, learner="dfa", budget=nf.Budget(cycles=cycles),
            plan=nf.Plan(steps=steps), seed=1 + 1000 * draw, test=(chip.test.inputs, chip.test.labels), fine=False, guard=None,
        )  # fmt: skip

    for strategy, steps in (("batch", 1), ("iterative", 2)):
        assert healed(strategy, steps, 0.4).final == pytest.approx(float(row[strategy]), abs=1e-6)
    right, best = [], (-1.0, 0.0)
    for cycles in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4):  # a shorter repair is the beginning of a longer one
        one = broken if not cycles else healed("batch", 1, cycles).deployment
        seen, test = (run(one, examples.inputs, examples.labels) for examples in (chip.validation, chip.test))
        right.append((cycles, seen.correct))
        best = max(best, (seen.accuracy, test.accuracy), key=lambda pair: pair[0])
    assert best[1] == pytest.approx(float(row["batch_stopped"]), abs=1e-6)
    whole = run(chip.deployment, chip.validation.inputs, chip.validation.labels).correct
    for tolerance in TINY.tolerances:
        at = recovered_at(right, whole - tolerance * len(chip.validation.labels), TINY.sustained)
        assert row[f"cycles_{tolerance:g}"] == ("" if at is None else f"{at:g}")


def test_a_network_comes_back_when_it_stays_back():
    looks = [(0.0, 70), (0.1, 90), (0.2, 80), (0.4, 91), (0.6, 92), (0.8, 93)]
    assert recovered_at(looks, 90, 1) == 0.1
    assert recovered_at(looks, 90, 2) == 0.4
    assert recovered_at(looks, 90, 4) is None
    assert recovered_at(looks, 0, 3) == 0.0


def test_what_comes_back_is_counted_over_trainings(made):
    draws = [one for one in table(made[0] / "chip_networks_draws.csv") if one["loss"] == "cores"]
    rows = [row for row in made[1]["chip_networks"]["recovery"] if row["loss"] == "cores"]
    assert [row["tolerance"] for row in rows] == list(TINY.tolerances)
    means = {name: np.mean([float(one[name]) for one in draws]) for name in ("healthy", "damaged", "batch")}
    for row in rows:
        back = [one[f"cycles_{row['tolerance']:g}"] for one in draws]
        assert (row["draws"], row["recovered"]) == (4, sum(at != "" for at in back) / 4)
        assert row["cycles"] == (">0.4" if sum(at == "" for at in back) > 2 else sorted(float(at or "inf") for at in back)[1])
        if row["regained"] is not None:
            assert row["regained"] == pytest.approx(
                (means["batch"] - means["damaged"]) / (means["healthy"] - means["damaged"]), abs=1e-5
            )


def test_a_decline_over_trainings_is_inject_by_hand(made, study):
    case, curve = TINY.cases[0], made[1]["chip_declines"]["curves"]["digits-mlp"]["cores"]
    each = []
    for training in (CaseTraining(case, 0), CaseTraining(case, 1)):
        chip = training.at_work(study).chip()
        fault = nf.faults.CoreDead(count=5, layer="hidden")
        broken = [nf.inject(chip.deployment, [fault], seed=1, draw=draw) for draw in training.draws]
        each.append(np.mean([run(one, chip.test.inputs, chip.test.labels).accuracy for one in broken]))
    assert (len(curve["mean"]), curve["fraction"][5]) == (14, pytest.approx(5 / 13, abs=1e-6))
    assert curve["mean"][5] == pytest.approx(np.mean(each), abs=1e-6)
    row = made[1]["chip_declines"]["rows"][0]
    assert (row["network"], row["loss"], row["trainings"], row["draws"]) == ("digits-mlp", "cores", 2, 2)
    halves = [float(one["half"]) for one in table(made[0] / "chip_declines_draws.csv")]
    assert row["half"] == pytest.approx(np.mean(halves), abs=1e-5)
    assert row["half_low"] <= row["half"] <= row["half_high"]
    assert [one["loss"] for one in declines(study).answer["rows"]] == ["cores"]  # bits do not die


FAULTS = {
    "links": nf.faults.LinkDead(count=1, layer="any", direction="one"),
    "raised thresholds": nf.faults.NeuronThreshold(count=1, layer="hidden", factor=RAISED),
    "drifted weights": nf.faults.SynapsePerturbed(count=1, layer="hidden", sigma=DRIFT),
}


@pytest.mark.parametrize("loss", FAULTS)
def test_a_draw_of_more_damage_is_inject_and_rescue_by_hand(made, study, loss):
    case = TINY.damages[0]
    harm = next(one for one in case.harms if one.loss == loss)
    training = CaseTraining(case, 0)
    own = training.at_work(study)
    chip, adapt, draw = own.chip(), own.adapt(200, 8), training.draws[1]
    assert chip.deployment.placement.strategy == "spread"
    whole = {"links": len(used_links(chip.deployment)), "raised thresholds": 100, "drifted weights": 64 * 100}[loss]
    assert (own.whole(loss), count_of(own, harm)) == (whole, round(0.3 * whole))
    broken = nf.inject(chip.deployment, [FAULTS[loss].replace(count=round(0.3 * whole))], seed=1, draw=draw)
    row = next(one for one in table(made[0] / "chip_damages_draws.csv") if (one["loss"], one["draw"]) == (loss, str(draw)))
    assert run(broken, chip.test.inputs, chip.test.labels).accuracy == pytest.approx(float(row["damaged"]), abs=1e-6)
    for strategy, steps in (("batch", 1), ("iterative", 2)):
        healed = nf.rescue(
            broken, adapt.inputs, adapt.labels, strategy=strategy, learner="dfa", budget=nf.Budget(cycles=0.4),
            plan=nf.Plan(steps=steps), seed=1 + 1000 * draw, test=(chip.test.inputs, chip.test.labels), fine=False, guard=None,
        )  # fmt: skip
        assert healed.final == pytest.approx(float(row[strategy]), abs=1e-6)


def used_links(chip) -> set[tuple[int, int, int, int]]:
    """Return (from, to) of each hop of each message, along its row first, worked out from core numbers alone: 8 × 4 tiles of 4 cores."""
    hops = set()
    for one in chip.connections:
        for source in np.unique(chip.placement.core_of[one.source]).tolist():
            for target in np.unique(chip.placement.core_of[one.target]).tolist():
                (y, x), (y1, x1) = divmod(source // 4, 8), divmod(target // 4, 8)
                while (x, y) != (x1, y1):
                    step = (int(np.sign(x1 - x)), 0) if x != x1 else (0, int(np.sign(y1 - y)))
                    hops.add((x, y, x + step[0], y + step[1]))
                    x, y = x + step[0], y + step[1]
    return hops


def test_more_damage_of_a_draw_holds_what_less_damage_of_it_breaks(study):
    own = CaseTraining(TINY.damages[0], 0).at_work(study)
    chip = own.chip().deployment
    few, more = (
        {text for place in own.hurt(chip, "links", count, 3).damage.hits[0].broken for text in place.links} for count in (4, 9)
    )
    assert (len(few), len(more)) == (4, 9)
    assert few < more
    for loss, sites in (
        ("raised thresholds", lambda edit: edit.neurons.tolist()),
        ("drifted weights", lambda edit: list(zip(edit.targets, edit.sources, strict=True))),
    ):
        few, more = ({site for edit in own.hurt(chip, loss, count, 3).damage.edits for site in sites(edit)} for count in (20, 60))
        assert (len(few), len(more)) == (20, 60)
        assert few < more


def test_a_draw_of_whole_figures_is_inject_and_rescue_by_hand_on_the_first_samples(made, study):
    case = TINY.heartbeats[0]
    training = CaseTraining(case, 1)
    own = training.at_work(study)
    chip, adapt, draw = own.chip(), own.adapt(200, 8), training.draws[0]
    assert (len(chip.test.labels), len(chip.validation.labels)) == (120, 120)
    data = chip.prepared.data
    assert np.array_equal(chip.test.labels, data.test.labels[:120])
    assert np.array_equal(chip.validation.labels, data.validation.labels[:120])
    broken = nf.inject(chip.deployment, nf.faults.CoreDead(count=count_of(own, case.harms[0]), layer="hidden"), seed=1, draw=draw)
    row = next(one for one in table(made[0] / "chip_heartbeats_draws.csv") if (one["loss"], one["draw"]) == ("cores", str(draw)))
    for strategy, steps in (("batch", 1), ("iterative", 2)):
        healed = nf.rescue(
            broken, adapt.inputs, adapt.labels, strategy=strategy, learner="delta", budget=nf.Budget(cycles=0.4),
            plan=nf.Plan(steps=steps), seed=1 + 1000 * draw, test=(chip.test.inputs, chip.test.labels), fine=False, guard=None,
        )  # fmt: skip
        assert healed.final == pytest.approx(float(row[strategy]), abs=1e-6)
    looks = {
        len(unit["value"]["looks"])
        for unit in read_rows(made[0] / "units.jsonl").rows
        if unit["key"].get("learner") == "delta" and unit["key"]["unit"] == "network"
    }
    assert looks == {3}  # right after the strike, and where each of two steps of iterative repair would end


def test_the_decline_of_other_networks_ends_at_the_damage_of_all_and_begins_healthy(made, study):
    answer = made[1]["chip_heartbeats"]
    (row,) = answer["declines"]
    assert (row["network"], row["loss"], row["trainings"], row["draws"]) == ("digits-mlp", "cores", 2, 2)
    own = CaseTraining(TINY.heartbeats[0], 0).at_work(study)
    chip = own.chip()
    hurt = own.hurt(chip.deployment, "cores", own.whole("cores"), 0)
    last = run(hurt, chip.test.inputs, chip.test.labels).accuracy
    draws = table(made[0] / "chip_heartbeats_decline_draws.csv")
    assert [one["training"] for one in draws] == ["own", "own", "1", "1"]
    curve = answer["curves"]["digits-mlp"]["cores"]
    assert (curve["fraction"][0], curve["fraction"][-1]) == (0, 1)
    assert float(draws[0]["healthy"]) == pytest.approx(run(chip.deployment, chip.test.inputs, chip.test.labels).accuracy, abs=1e-6)
    assert curve["low"][-1] <= last <= curve["high"][-1] or curve["mean"][-1] == pytest.approx(last, abs=0.05)


def convolutional(neurons_per_core: int) -> nf.Deployment:
    """Two convolutions of 4×4 maps and a dense readout."""
    random = np.random.default_rng(3)
    shapes = {"first": (3, 4, 4), "second": (2, 4, 4), "output": (3,)}
    synapses = (
        nf.Conv(random.normal(size=(3, 1, 3, 3)), (1, 4, 4), padding=(1, 1)), nf.Conv(random.normal(size=(2, 3, 3, 3)), (3, 4, 4), padding=(1, 1)),
        nf.Dense(random.normal(size=(3, 32))),
    )  # fmt: skip
    return deployed("two", (1, 4, 4), shapes, synapses, neurons_per_core)


def deployed(name, size, shapes, synapses, neurons_per_core=None) -> nf.Deployment:
    layers = [
        nf.Population("input", size, nf.Source()),
        *(nf.Population(each, shape, nf.CubaLif(1.0)) for each, shape in shapes.items()),
    ]
    return nf.deploy(nf.chain(name, layers, list(synapses), timesteps=4), "loihi2", neurons_per_core=neurons_per_core)


def test_a_dead_feature_map_is_a_map_of_either_convolution_and_nothing_else():
    chip = convolutional(16)
    assert whole_of(chip, ("first", "second"), "two", "feature maps") == 5
    hit = set()
    for draw in range(20):
        damage = nf.inject(chip, faults_of("feature maps", 1, chip), seed=1, draw=draw).damage
        silent = [
            (name, np.flatnonzero(damage.silent(name, size)).tolist())
            for name, size in (("first", 48), ("second", 32), ("output", 3))
        ]
        ((name, dead),) = [one for one in silent if one[1]]
        assert dead == list(range(dead[0] // 16 * 16, dead[0] // 16 * 16 + 16))
        hit.add((name, dead[0] // 16))
    assert hit == {("first", 0), ("first", 1), ("first", 2), ("second", 0), ("second", 1)}
    with pytest.raises(
        UsageError, match=r"the cores of layer 'first' hold parts of feature maps or several; place it with 16 neurons a core"
    ):
        whole_of(convolutional(32), ("first", "second"), "two", "feature maps")
    with pytest.raises(UsageError, match=r"network 'flat' has no convolution, so no feature maps"):
        whole_of(deployed("flat", (4,), {"output": (3,)}, [nf.Dense(np.ones((3, 4)))]), (), "flat", "feature maps")


def test_a_scrub_gives_back_the_chip_that_its_image_is_of(made, study):
    case, rows = TINY.damages[0], made[1]["chip_damages"]["scrub"]
    draws = table(made[0] / "chip_damages_scrub_draws.csv")
    assert [(row["network"], row["exact"], row["trainings"], row["draws"]) for row in rows] == [("digits-mlp", 4, 2, 2)]
    for row in draws:
        assert row["scrubbed"] == row["learned_scrubbed"] == row["healthy"]
        assert row["dead_scrubbed_read"] == row["dead_learned"]
        assert row["dead_scrubbed_shipped"] == row["dead"]
    training = CaseTraining(case, 1)
    own, draw = training.at_work(study), training.draws[0]
    chip, adapt = own.chip(), own.adapt(200, 8)
    flips = nf.faults.SynapseBitFlip(count=round(0.03 * 64 * 100 * 8), layer="hidden")
    flipped = nf.inject(chip.deployment, [flips], seed=1, draw=draw)
    healed = nf.rescue(
        flipped, adapt.inputs, adapt.labels, strategy="batch", learner="dfa", budget=nf.Budget(cycles=1.2), seed=1 + 1000 * draw,
        test=(chip.test.inputs, chip.test.labels), fine=False, guard=None,
    )  # fmt: skip
    row = next(one for one in draws if one["draw"] == str(draw))
    assert (float(row["learned"]), float(row["learning_writes"])) == (pytest.approx(healed.final, abs=1e-6), healed.spent.writes)
    wrong = sum(
        int((stored_weights(flipped, name) != stored_weights(chip.deployment, name)).sum()) for name in ("hidden1", "output")
    )
    assert float(row["scrub_writes"]) == wrong > 0
    restored, written = scrub(healed.deployment, chip.deployment)
    assert written == float(row["learned_scrub_writes"])
    for name in ("hidden1", "output"):
        assert np.array_equal(stored_weights(restored, name), chip.deployment.connection(name).synapses.weight)


def test_links_that_carry_nothing_cannot_be_lost():
    layers = [
        nf.Population("input", (4,), nf.Source()),
        *(nf.Population(name, (n,), nf.CubaLif(1.0)) for name, n in (("hidden1", 3), ("output", 2))),
    ]
    net = nf.chain("tiny", layers, [nf.Dense(np.ones((3, 4))), nf.Dense(np.ones((2, 3)))], timesteps=4, how="count")
    packed = nf.deploy(net, "loihi2", neurons_per_core=4)
    with pytest.raises(
        UsageError,
        match=r"^no message of network 'tiny' crosses a link as it is placed, so none can be lost; place it with spread$",
    ):
        whole_of(packed, ("hidden1",), "tiny", "links")
    apart = nf.deploy(net, "loihi2", neurons_per_core=4, strategy="spread")
    assert all(
        whole_of(apart, ("hidden1",), "tiny", loss) > 0 for loss in LOSSES if loss not in ("recurrent synapses", "feature maps")
    )


def test_a_network_without_a_loop_has_no_recurrent_synapses(study):
    with pytest.raises(UsageError, match="network 'digits-mlp' has no recurrent layer, so no recurrent synapse can break"):
        study.whole("recurrent synapses")


def test_too_few_trainings_or_draws_are_refused():
    harms = (CaseHarm("cores", 0.3),)
    with pytest.raises(UsageError, match="1 training and 3 draws; needed are at least two of each"):
        Case("digits-mlp", (None,), harms, 3)
    with pytest.raises(UsageError, match="2 trainings and 1 draw; needed are at least two of each"):
        Case("digits-mlp", (None, 1), harms, 1)
    with pytest.raises(UsageError, match="a training is named twice"):
        Case("digits-mlp", (1, 1), harms, 2)
    with pytest.raises(UsageError, match="in one step iterative repair is batch repair"):
        CaseHarm("cores", 0.3, 1)
    with pytest.raises(UsageError, match="share of cores must be above 0 and below 1, is 1"):
        CaseHarm("cores", 1.0)


def test_a_curve_is_inject_by_hand(made, study):
    curve = made[1]["chip_fig1"]["curves"]["cores, 8 bits"]
    chip = study.chip()
    assert curve["dead"][0] == 0
    assert curve["dead"][-1] == 13  # 100 neurons, 8 a core
    assert len(made[1]["chip_fig1"]["curves"]["neurons, 8 bits"]["dead"]) == 25
    by_hand = [
        run(
            nf.inject(chip.deployment, [nf.faults.CoreDead(count=5, layer="hidden")], seed=1, draw=draw),
            chip.test.inputs,
            chip.test.labels,
        )
        for draw in range(3)
    ]
    assert curve["mean"][5] == pytest.approx(np.mean([one.accuracy for one in by_hand]))
    assert {"hinge_wins", "slope_ratio", "knot_sd", "verdict"} <= set(made[1]["chip_fig1"]["change_point"]["cores, 8 bits"])
    marks = made[1]["chip_fig1"]["thresholds"]["cores, 8 bits, dropout-trained"]
    assert {"minus1pp", "minus5pp", "half", "width", "auc"} <= set(marks)


def test_recovery_has_every_way_and_control(made):
    answer = made[1]["chip_fig2"]
    rows = answer["recovery"]
    assert {(row["strategy"], row["learner"], row["loss"]) for row in rows} == {
        *(("batch", learner, loss) for learner in ("delta", "dfa") for loss in ("cores", "neurons")),
        *((control, "dfa", loss) for control in ("fresh-subnetwork", "batch-dropout") for loss in ("cores", "neurons")),
        ("embryonic", "delta", "cores"), ("embryonic", "dfa", "cores"), ("remap", None, "cores"),
        ("sham", "delta", "none"), ("sham", "dfa", "none"),
    }  # fmt: skip
    assert {row["tolerance"] for row in rows} == set(TINY.tolerances)
    remap = next(row for row in rows if row["strategy"] == "remap")
    assert (remap["cycles"], remap["reached"], remap["best"]) == (0.0, 2, answer["healthy"])
    fresh = [row for row in rows if row["strategy"] == "fresh-subnetwork" and row["tolerance"] == 0.0025]
    assert {row["cycles"] for row in fresh} == {">0.5"}
    assert set(answer["controls"]) == {"delta", "dfa"}


def test_equal_budgets_are_kept(made, study):
    tables = study.chip().deployment.profile.energy_tables
    assert len(tables) == 2
    accountings = {CYCLES, "equal cycles after the last death", STOPPED, WRITES, *(equal_energy(table) for table in tables)}
    rows = made[1]["chip_fig3"]["comparisons"]
    assert {row["accounting"] for row in rows} == accountings
    assert len(rows) == len(accountings) * 2 * 2
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]))
    for loss in TINY.losses:
        for draw in study.draws:
            long, short = (history(study, make(study, loss, "dfa", loss.deaths[0], draw)) for make in (iterative, batch))
            assert long.steps[-1] == short.steps[-1] == 80  # 2 steps × 0.2 cycles × 200 images
            assert long.strikes[-1] == 2
            assert short.steps.count(40) == 1
            looked = history(study, watched(study, batch(study, loss, "dfa", loss.deaths[0], draw)))
            assert (looked.final, looked.spent.writes) == (short.final, short.spent.writes)  # looking changes nothing
            best = max(range(looked.began, len(looked.test)), key=looked.validation.__getitem__)
            assert looked.stopped == looked.test[best] / looked.n_test
            assert looked.steps[1:] == (0, 4, 10, 20, 40, 80)
            limited = replace(batch(study, loss, "dfa", loss.deaths[0], draw), writes=long.spent.writes, cycles=1.2)
            assert history(study, replace(limited, looks=(0.4,))).spent.writes <= long.spent.writes
            for table in tables:
                frugal = replace(limited, writes=None, looks=(0.4,), energy=long.spent.energy[table], table=table)
                assert history(study, frugal).spent.energy[table] <= long.spent.energy[table]
    assert {
        "m",
        "iterative",
        "batch_total",
        "batch_last_step",
        "difference_total",
        "difference_last",
        "low",
        "high",
        "pairs",
    } <= set(made[1]["chip_fig3"]["paired"][0])
    controls = {row["control"] for row in made[1]["chip_fig3"]["controls"]}
    assert controls == {"sham", "fresh-subnetwork", "none", "dropout-trained, no repair", "remap"}


def test_the_histories_are_those_of_rescue(study):
    chip, healthy = study.chip(), study.chip().deployment
    adapt = study.adapt(200, 8)
    repair = ChipRepair(1, "batch", "delta", "cores", 4, 200, 8, cycles=0.5)
    broken = nf.inject(healthy, [nf.faults.CoreDead(count=4, layer="hidden")], seed=1, draw=1)
    healed = nf.rescue(
        broken, adapt.inputs, adapt.labels, strategy="batch", learner="delta", budget=nf.Budget(cycles=0.5), seed=1001,
        test=(chip.test.inputs, chip.test.labels), fine=False, guard=None,
    )  # fmt: skip
    found = history(study, repair)
    assert found.final == healed.final
    assert found.spent.writes == healed.spent.writes


def test_no_dead_neuron_acts_after_repair_and_lines_end_where_chips_are(study):
    loss = TINY.losses[0]
    watched = perform(study, whole_way(study, loss, 0))
    assert isinstance(watched, WatchedBench)
    test = study.chip().test
    for snapshot, correct in zip(watched.snapshots, watched.test, strict=True):
        again = with_vector(study.chip().deployment, vector(snapshot))
        assert run(again, test.inputs, test.labels).correct == correct
    last = vector(watched.snapshots[-1])
    hidden = last[: 64 * 100].reshape(100, 64)
    assert int((np.abs(hidden).sum(1) == 0).sum()) >= 12 * 8 - 4  # 12 of 13 cores; the last core holds four


def test_ways_return_rates_and_barriers(made):
    answer = made[1]["chip_fig4"]
    for loss in ("cores", "neurons"):
        assert set(answer["return_rate"][loss]) == {"0.01", "0.005", "0.0025"}
        assert answer["first_exit"][loss]["0.0025"]["exits"] != [None, None]
        assert set(answer["barriers"][loss]) == {"same trajectory", "other draw"}
        assert answer["barriers"][loss]["same trajectory"]["pairs"] == 2 * 3
        assert answer["barriers"][loss]["other draw"]["pairs"] == 2
        for one in answer["barriers"][loss].values():
            assert 0 <= one["mean"] <= one["max"]
            assert one["inside"] <= one["ends_inside"] <= one["pairs"]
        assert set(answer["embedding"][loss]) == {"repair", "walk"}


def test_the_ranking_changes_one_thing_at_a_time(made):
    rows = made[1]["chip_ranking"]["rows"]
    assert [(row["change"], row["value"]) for row in rows if row["learner"] == "dfa"] == [
        ("nothing changed", ""), ("weight bits", "2"), ("labels known", "0.1"), ("rounding", "nearest"), ("exponent of the rule", "+1"),
        ("plastic layer", "hidden1 alone"), ("plastic layer", "output alone"),
    ]  # fmt: skip
    assert len([row for row in rows if row["learner"] == "delta"]) == 5
    assert {row["pairs"] for row in rows} == {2}
    bits = next(row for row in rows if row["change"] == "weight bits")
    assert bits["healthy"] < rows[0]["healthy"]


def test_the_command(cli, tmp_path):
    assert cli("paper", "fig1", "--on", "chp", "--out", str(tmp_path))[::2] == (
        2, "neurofault: --on 'chp'; allowed: floats, chip (did you mean 'chip'?)\n",
    )  # fmt: skip
    code, _, err = cli("paper", "rankng", "--on", "chip", "--out", str(tmp_path))
    assert (code, err) == (
        2, "neurofault: no figure 'rankng'; figures: fig1, fig2, fig3, fig4, ranking, networks, declines, availability, damages, heartbeats, maps, all (did you mean 'ranking'?)\n"
    )  # fmt: skip
    with pytest.raises(
        UsageError,
        match=r"no loss 'core'; allowed: cores, neurons, flipped bits, stuck bits, recurrent synapses, links, raised thresholds, drifted weights, feature maps \(did you mean 'cores'\?\)",
    ):
        ChipStudy(TINY, Units(tmp_path / "units.jsonl"), silent, None).whole("core")


@pytest.mark.parametrize("setting", [FULL, QUICK])
def test_the_settings_fit_together(setting):
    assert {*FIGURES, *ON_CHIP} == {
        "fig1",
        "fig2",
        "fig3",
        "fig4",
        "ranking",
        "networks",
        "declines",
        "availability",
        "damages",
        "heartbeats",
        "maps",
    }
    assert {"heartbeats", "maps"}.isdisjoint(figures_named("all", setting))
    for loss in setting.losses:
        assert all(dead % loss.step == 0 and dead > loss.step for dead in loss.deaths)
        assert loss.way % loss.way_step == 0
        assert all(end % loss.way_step == 0 and end <= loss.way for end in loss.ends)
    assert setting.losses[0].name == "cores"
    assert setting.sweep.dead % setting.losses[0].step == 0
    assert setting.headline in setting.tolerances
