"""Mean squared errors above `inject`: campaigns, their stop rules and reports, rescue, the atlas, and the functions of Python."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import UnsupportedError, UsageError
from neurofault.metrics import ACCURACY, Metric
from neurofault.rescue.guard import Check
from neurofault.rescue.learners.error_sizes import target_errors
from neurofault.study.atlas import atlas, write_parquet
from neurofault.study.campaign.rows import columns_of, sound, value_of
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.campaign.trial import WorkerBench
from neurofault.study.statistics import StopRule

CODE = """
import numpy as np
import neurofault as nf

def relay(how="potential", **law):
    eyes, mid = nf.Population("eyes", (4,), nf.Source()), nf.Population("hidden1", (8,), nf.CubaLif(1.0))
    hands = nf.Population("hands", (2,), nf.CubaLif(None, **law))
    sums = np.tile([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]], (1, 2)) / 2
    return nf.chain("relay", [eyes, mid, hands], [nf.Dense(np.tile(np.eye(4), (2, 1)) * 1.5), nf.Dense(sums)], timesteps=6, how=how)

def doubled():
    net = relay()
    return nf.Network("doubled", net.populations, (net.connections[0], nf.Connection("hands", "hidden1", "hands",
        nf.Dense(np.asarray(net.connections[1].synapses.weight) * 2))), net.timesteps, net.readout)
"""
RANDOM = np.random.default_rng(3)
EVENTS = RANDOM.random((120, 6, 4)) < 0.4
SUMS = np.array([[0.5, -0.25, 0.125, 0], [1, 1, 0, -1]]).T
SO_FAR = np.cumsum(EVENTS, axis=1) @ SUMS
TARGETS = SO_FAR[:, -1]
CAMPAIGN = """
name: c
network: {torch: "square_networks.py:NETWORK"}
data: {npz: DATA, samples: 30, adapt: 40}
place: {neurons_per_core: 2, spare_cores: 2}
faults: [{kind: core_dead, count: 1}]
rescue: [{strategy: none}, {strategy: remap}LEARNS]
repeats: {draws: 4, seed: 3}
"""


def campaign(data="sums.npz", network="relay", learns=""):
    return CAMPAIGN.replace("NETWORK", network).replace("DATA", data).replace("LEARNS", learns)


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "square_networks.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "square_networks", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    np.savez("sums.npz", events=EVENTS, targets=TARGETS)
    np.savez("steps.npz", events=EVENTS, targets=SO_FAR)
    np.savez("classes.npz", events=EVENTS, labels=np.arange(120) % 2)
    return tmp_path


@pytest.fixture
def made(here):
    from square_networks import relay

    net = relay()
    chip = nf.deploy(net, neurons_per_core=2, spare_cores=2)
    return chip, nf.Spikes.dense(EVENTS), nf.unit_of(net, chip)


def started(path, text):
    path.write_text(text)
    return ready(load_campaign(path), None, lambda *_: None)


LEARNERS = ", {strategy: batch, learner: delta, cycles: 2}, {strategy: sham, learner: homeostasis}"


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.parametrize(("data", "learns", "steps"), [("sums.npz", LEARNERS, 1), ("steps.npz", "", 6)])
def test_a_campaign_stores_sums_of_squares_and_reports_their_means(cli, here, data, learns, steps):
    state = started(here / "c.yaml", campaign(data, learns=learns))
    bench, chip = WorkerBench(state.chips), state.chips["chip0"]
    rows = [bench.row(task) for cell in state.campaign.cells() for task in state.tasks_of(cell)]
    assert all(sound(row) for row in rows)
    assert {row["values"] for row in rows} == {30 * 2 * steps}
    assert not {"samples", "correct"} & set(rows[0])
    hurt = nf.inject(chip.deployment, [nf.faults.CoreDead(count=1)], seed=3, draw=2)
    by_hand = nf.run(hurt, chip.inputs, chip.expected, unit=chip.metric.unit)
    assert value_of(rows[2], "damaged_") == pytest.approx(by_hand.mean_squared_error)
    assert value_of(rows[2]) == value_of(rows[2], "damaged_") > value_of(rows[2], "healthy_")
    assert [value_of(row) for row in rows[4:8]] == [value_of(row, "healthy_") for row in rows[4:8]]  # remapped
    if learns:
        assert sum(row["squared_error"] for row in rows[8:12]) < 0.7 * sum(row["squared_error"] for row in rows[:4])
    assert cli("campaign", "run", "c.yaml", "--out", "run", "--workers", "1")[0] == 0
    code, out, err = cli("campaign", "report", "run", "--json", "-")
    assert code == 0, err
    answer = json.loads(out)
    name = "mean-squared-error-step" if steps > 1 else "mean-squared-error"
    assert (answer["metric_name"], answer["metric"]) == (name, Metric(name).words)
    none, remapped = (curve["points"][0] for curve in answer["curves"][:2])
    assert none["mean"] == pytest.approx(np.mean([value_of(row) for row in rows[:4]]))
    assert none["damaged"]["highest"] == max(value_of(row) for row in rows[:4])
    assert (remapped["mean"], remapped["recovered"]["mean"]) == (pytest.approx(answer["healthy"]), pytest.approx(1))
    assert max(core["loss"] or 0 for core in answer["criticality"]) > 0
    assert all(pair["difference"] > 0 for pair in answer["paired"][:1])  # an error without repair less one with
    page = (here / "run" / "report.html").read_text()
    assert "lower is better" in page
    assert "points of accuracy" not in page
    assert "leaves mean squared error" in page


def test_the_unit_of_targets_is_part_of_a_trials_identity(here):
    """Weights of twice the size are the same integers on the chip, and answer twice as much."""
    first, second = (started(here / f"{name}.yaml", campaign(network=name)) for name in ("relay", "doubled"))
    one, two = (state.digests["chip0"] for state in (first, second))
    assert one[0] == two[0]
    assert one[1:] != two[1:]
    assert second.chips["chip0"].metric.unit == 2 * first.chips["chip0"].metric.unit


def test_a_stop_rule_of_errors_needs_the_largest_that_it_must_allow_for(here):
    stop = ", stop: {half_width: 0.5, first: 10}"
    text = campaign().replace("draws: 4", "draws: 40")
    with pytest.raises(UsageError) as error:
        started(here / "c.yaml", text.replace("seed: 3", "seed: 3" + stop))
    assert str(error.value) == (
        "repeats.stop: a mean squared error has no largest value, and a rule that stops must allow for draws heavier than those it saw; "
        "say with most which error no draw will exceed, in the targets' unit squared"
    )
    bounded = stop.replace("}", ", most: 9}")
    assert started(here / "c.yaml", text.replace("seed: 3", "seed: 3" + bounded)).campaign.spec.repeats.stop.rule.within == (0, 9)
    with pytest.raises(UsageError) as error:
        started(here / "c.yaml", text.replace("sums", "classes").replace("seed: 3", "seed: 3" + bounded))
    assert str(error.value) == (
        "repeats.stop.most goes with a mean squared error; a share of right answers is at most 1, and accuracy is measured here"
    )
    rule = StopRule(0.5, within=(0, 9))
    assert rule.interval([1.0] * 10).high == pytest.approx(1 + 8 * (1 - 0.025**0.1))
    assert rule.interval([1.0] * 9 + [20.0]).high > rule.interval([1.0] * 9 + [9.0]).high  # what lies beyond widens it
    assert rule.last_draw([1.0] * 400) is not None


def test_rows_of_errors_are_sound_only_with_errors():
    row = dict.fromkeys(columns_of(Metric("mean-squared-error"))) | {
        "trial": "t", "draw": 0, "status": "ok", "message": "", "engine": "exact", "semantics": 2, "cores": [], "values": 4,
        "squared_error": 2.0, "healthy_squared_error": 1.0, "damaged_squared_error": 3.0,
    }  # fmt: skip
    assert sound(row)
    assert (value_of(row), value_of(row, "healthy_"), value_of(row | {"squared_error": None})) == (0.5, 0.25, None)
    assert not sound(row | {"squared_error": -1.0})
    assert not sound(row | {"values": 0})
    assert not sound({**row, "correct": 1} | {"squared_error": None})
    assert columns_of(ACCURACY) is columns_of(Metric("top-3", 3))


def test_python_measures_targets_where_the_unit_is_said(made):
    chip, x, unit = made
    found = nf.run(chip, x, TARGETS + np.array([1.0, 0.0]), unit=unit)
    assert found.mean_squared_error == pytest.approx(0.5, rel=0.02)
    assert (found.accuracy, found.correct) == (None, None)
    steps = nf.run(chip, x, SO_FAR, unit=unit)
    assert steps.activity.step_scores.shape == (120, 6, 2)
    assert np.array_equal(steps.activity.step_scores[:, -1], steps.activity.scores)
    assert steps.mean_squared_error < 1e-3
    table = found.table()
    assert table["squared_error"].mean() == pytest.approx(1.0, rel=0.02)
    with pytest.raises(UsageError) as error:
        nf.run(chip, x, TARGETS)
    assert str(error.value) == (
        "labels must be whole numbers: float64 with fractions was given; numbers to be answered are targets, which go with unit=, what one of a score is in their unit"
    )
    with pytest.raises(UsageError) as error:
        nf.run(chip, x, TARGETS[:, :1], unit=unit)
    assert str(error.value) == (
        "targets have the shape (120, 1), but there are 120 samples of 6 steps, and 2 output neurons; expected [N, 2], or [N, 6, 2]"
    )
    with pytest.raises(UsageError, match="unit must be above 0 and finite, is 0"):
        nf.run(chip, x, TARGETS, unit=0)


@pytest.mark.parametrize("how", ["count", "mean", "largest"])
def test_answers_of_each_step_are_those_of_a_sample_that_ends_there(here, how):
    from square_networks import relay

    net = relay(how)
    net = (
        net
        if how != "count"
        else nf.Network(
            net.name, (*net.populations[:2], nf.Population("hands", (2,), nf.CubaLif(0.4))), net.connections, 6, net.readout
        )
    )
    for steps in (6, 4):
        chip = nf.deploy(net.with_timesteps(steps))
        metric = Metric("mean-squared-error-step", unit=nf.unit_of(net, chip), how=how)
        seen = nf.run(chip, nf.Spikes.dense(EVENTS[:, :steps]), np.zeros((120, steps, 2)), unit=metric.unit).activity
        last = replace(metric, name="mean-squared-error").values(seen)
        assert np.allclose(metric.values(seen)[:, -1], last)
        if steps == 6:
            early = metric.values(seen)[:, 3]
    assert np.allclose(early, last)


def reference(scores, wanted, margin, tie):
    return [max(-127, min(127, int((w - s) * tie / margin))) for s, w in zip(scores, wanted, strict=True)]


def test_an_error_of_a_target_is_what_is_missing_to_it():
    scores, wanted = np.array([0, 100, -1000, 7]), np.array([50.0, 100.4, 2000.0, 9.0])
    error, alive = np.ones(4, np.int32), np.array([True, True, True, False])
    assert target_errors(scores, alive, wanted, 64, 64, error) == 2
    assert error.tolist() == [*reference(scores[:3], wanted[:3], 64, 64), 0] == [50, 0, 127, 0]


@pytest.mark.parametrize("learner", ["delta", "dfa", "emstdp", "host"])
def test_learners_make_squared_errors_smaller(made, learner):
    chip, x, unit = made
    hurt = nf.inject(chip, [nf.faults.CoreDead(count=1, layer="hidden1")], seed=2)
    done = nf.rescue(
        hurt, x, TARGETS, unit=unit, learner=learner, budget=nf.Budget(cycles=4), test=(x, TARGETS), seed=1, fine=False
    )
    healthy, damaged = (point.accuracy for point in done.points[:2])
    assert healthy < 1e-3 < damaged
    assert done.final < 0.7 * damaged
    assert done.worst == max(point.accuracy for point in done.points[1:])
    assert {"mean_squared_error"} == {name for name in done.table().columns if "error" in name or "accuracy" in name}
    again = nf.run(done.deployment, x, TARGETS, unit=unit)
    assert (done.final, done.points[-1].total) == (again.mean_squared_error, again.total)


def test_targets_that_are_not_known_teach_nothing(made):
    chip, x, unit = made
    hurt = nf.inject(chip, [nf.faults.CoreDead(count=1, layer="hidden1")], seed=2)
    done = nf.rescue(hurt, x, TARGETS, unit=unit, learner="delta", budget=nf.Budget(cycles=1, labels=0), guard=None)
    assert (done.spent.writes, done.spent.host_bytes) == (0, 0)
    told = nf.rescue(hurt, x, TARGETS, unit=unit, learner="delta", budget=nf.Budget(cycles=1), guard=None)
    assert told.spent.host_bytes == 120 * 2 * 4


def test_what_learns_takes_the_targets_of_one_answer(made):
    chip, x, unit = made
    with pytest.raises(UsageError) as error:
        nf.rescue(chip, x, SO_FAR, unit=unit)
    assert str(error.value) == "targets have the shape (120, 6, 2); what learns takes those of one answer a sample, [N, 2]"
    hurt = nf.inject(chip, [nf.faults.CoreDead(count=1, layer="hidden1")], seed=2)
    healed = nf.rescue(hurt, x, SO_FAR, unit=unit, strategy="remap", test=(x, SO_FAR))
    assert healed.final == healed.points[0].accuracy < healed.points[1].accuracy


def test_a_guard_compares_squared_errors_in_pairs():
    one, other = (Check(None, np.array(merits), 0.0, None) for merits in ([-1.0, -4.0, -2.0], [-3.0, -3.0, -2.0]))
    assert one.ahead_of(other) == pytest.approx((2 - 1) / np.sqrt(5)) == -other.ahead_of(one)
    assert one.ahead_of(one) == 0


def test_an_atlas_of_targets_says_what_each_site_adds_to_the_error(made, tmp_path):
    chip, x, unit = made
    for targets in (TARGETS, SO_FAR):
        found = atlas(chip, nf.Inputs(events=x), targets, "neuron_dead", unit=unit, layer="hidden1")
        healthy = nf.run(chip, x, targets, unit=unit)
        assert found.healthy == healthy.mean_squared_error
        for site in range(len(found)):
            dead = nf.inject(chip, nf.faults.NeuronDead(layer="hidden1", neurons=[int(found.sites["target"][site])]), seed=1)
            hurt = nf.run(dead, x, targets, unit=unit)
            assert found.accuracy_change[site] == pytest.approx(hurt.mean_squared_error - healthy.mean_squared_error)
            moved = healthy.metric.merits(hurt.activity, targets) != healthy.metric.merits(healthy.activity, targets)
            assert found.sites["changed"][site] == moved.sum()
        assert found.accuracy_change[found.most_critical(1)[0]] == found.accuracy_change.max()
        write_parquet(found, tmp_path)
        from pyarrow import parquet

        assert parquet.read_table(tmp_path / "changes.parquet").column_names == ["site", "image", "squared_error"]
        assert "mean_squared_error_change" in parquet.read_table(tmp_path / "sites.parquet").column_names


def test_an_atlas_of_labels_of_steps_counts_steps(made, tmp_path):
    chip, x, _ = made
    labels = np.where(np.arange(6) == 0, -1, (SO_FAR[..., 1] > SO_FAR[..., 0]).astype(int))
    found = atlas(chip, nf.Inputs(events=x), labels, "core_dead", layer="hidden1")
    healthy = nf.run(chip, x, labels)
    assert (found.healthy, found.number, found.predictions.shape) == (healthy.accuracy, 600, (120, 6))
    for site in range(len(found)):
        hurt = nf.run(nf.inject(chip, nf.faults.CoreDead(cores=[int(found.sites["core"][site])]), seed=1), x, labels)
        assert found.sites["correct"][site] == hurt.correct - healthy.correct
        differ = hurt.activity.answers != healthy.activity.answers
        assert found.sites["changed"][site] == differ.sum()
        own = found.changes.faults == site
        assert np.array_equal(np.stack([found.changes.samples[own], found.changes.steps[own]]), np.nonzero(differ))
        assert np.array_equal(found.changes.predictions[own], hurt.activity.answers[differ])
    write_parquet(found, tmp_path)
    from pyarrow import parquet

    assert parquet.read_table(tmp_path / "changes.parquet").column_names == ["site", "image", "step", "prediction"]
    assert parquet.read_table(tmp_path / "healthy.parquet")["step"].to_pylist()[:7] == [0, 1, 2, 3, 4, 5, 0]


def test_a_potential_beyond_the_largest_of_the_chip_is_said(made):
    eyes, hands = nf.Population("eyes", (1,), nf.Source()), nf.Population("hands", (1,), nf.CubaLif(None))
    chip = nf.deploy(nf.chain("full", [eyes, hands], [nf.Dense(np.ones((1, 1)))], timesteps=2000))
    found = nf.run(chip, nf.Spikes.dense(np.ones((1, 2000, 1), bool)))
    assert (
        "layer 'hands' never fires by design, but its potential passes the largest threshold that the chip stores" in found.notes[0]
    )


def test_integers_of_a_chip_take_no_targets():
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(None))
    net = nf.chain("zeros", [eyes, hands], [nf.Dense(np.zeros((2, 2)))], timesteps=4)
    with pytest.raises(UnsupportedError, match="population 'hands' has a chip's integers, or no weights"):
        nf.unit_of(net, nf.deploy(net))
