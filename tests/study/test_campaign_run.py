import multiprocessing
import os
import pickle
import signal
from dataclasses import replace

import numpy as np
import pytest
from campaigns import SMALL, made_ready, ran, rows_in

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.study.campaign.folder import JOURNAL
from neurofault.study.campaign.journal import read_rows
from neurofault.study.campaign.run import Executor, merge
from neurofault.study.campaign.summary import answer_of, found_in
from neurofault.study.campaign.tables import write_csv, write_parquet
from neurofault.study.campaign.trial import WorkerBench
from neurofault.study.lesion import measure
from neurofault.study.statistics import cautious_interval, holm


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return made_ready(tmp_path_factory.mktemp("spec"))


@pytest.fixture(scope="module")
def calm(state, tmp_path_factory):
    """A run with one worker."""
    folder = tmp_path_factory.mktemp("calm") / "run"
    outcome = ran(folder, state)
    assert (outcome.ran, outcome.kept, outcome.failed, outcome.stopped) == (18, 0, 0, False)
    return folder


def test_a_profile_and_a_deployment_travel_between_processes(state):
    chip = state.chips["chip0"]
    again = pickle.loads(pickle.dumps(chip))
    assert again.deployment.profile == nf.load_profile("loihi2")
    assert np.array_equal(again.deployment.connections[0].synapses.weight, chip.deployment.connections[0].synapses.weight)


def test_a_trial_is_inject_and_rescue_by_hand(state, calm):
    chip, labels = state.chips["chip0"].deployment, state.chips["chip0"].expected
    whole = state.chips["chip0"]
    found = {(row["cell"], row["draw"]): row for row in found_in(calm).rows}
    broken = nf.inject(chip, [nf.faults.CoreDead(count=3)], seed=7, draw=2)
    damaged = nf.run(broken, whole.inputs, labels)
    assert found[2, 2]["correct"] == damaged.correct
    assert found[2, 2]["cores"] == sorted(broken.damage.hits[0].cores)
    healed = nf.rescue(
        broken, whole.adapt, whole.adapt_expected, strategy="batch", learner="delta", budget=nf.Budget(cycles=1.0), seed=7 + 2000
    )
    row = found[3, 2]
    assert row["correct"] == nf.run(healed, whole.inputs, labels).correct if hasattr(healed, "layers") else True
    assert row["damaged_correct"] == damaged.correct
    assert row["healthy_correct"] == nf.run(chip, whole.inputs, labels).correct
    assert row["writes"] > 0
    assert found[2, 2]["writes"] == 0


def test_again_it_runs_nothing(state, calm):
    before = (calm / JOURNAL).read_bytes()
    outcome = ran(calm, state)
    assert (outcome.ran, outcome.kept) == (0, 18)
    assert (calm / JOURNAL).read_bytes() == before


def test_four_workers_one_of_them_killed_give_the_same_rows(state, calm, tmp_path):
    killed = []

    def kill_one(*_):
        for child in multiprocessing.active_children():
            if not killed and child.pid is not None:
                killed.append(child.pid)
                os.kill(child.pid, signal.SIGKILL)

    first = ran(tmp_path / "run", state, Executor(4), kill_one)
    assert killed
    assert first.ran == 18
    lost = [row for row in rows_in(tmp_path / "run") if row["status"] == "died"]
    assert len(lost) == first.failed <= 1
    assert all("exit code -9" in row["message"] for row in lost)
    ran(tmp_path / "run", state, Executor(4, retry=True))
    assert rows_in(tmp_path / "run") == rows_in(calm)


def test_three_shards_merged_give_the_same_rows(state, calm, tmp_path):
    parts = [tmp_path / f"part{number}" for number in (1, 2, 3)]
    counts = [ran(part, state, Executor(shard=(number, 3))).ran for number, part in enumerate(parts, 1)]
    assert sum(counts) == 18
    assert all(count < 18 for count in counts)
    assert merge(tmp_path / "whole", parts) == (18, 0)
    assert merge(tmp_path / "whole", parts) == (0, 18)
    assert rows_in(tmp_path / "whole") == rows_in(calm)
    assert answer_of(found_in(tmp_path / "whole"))["curves"] == answer_of(found_in(calm))["curves"]


def test_dask_with_a_worker_killed_gives_the_same_rows(state, calm, tmp_path):
    distributed = pytest.importorskip("distributed")
    killed = []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill_one(*_):
            if not killed:
                killed.append(worker := next(iter(cluster.workers.values())))
                os.kill(worker.pid, signal.SIGKILL)

        ran(tmp_path / "run", state, Executor(dask=cluster.scheduler_address), kill_one)
    assert killed
    assert rows_in(tmp_path / "run") == rows_in(calm)


def test_a_longer_axis_keeps_the_rows_that_are_there(state, calm, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / JOURNAL).write_bytes((calm / JOURNAL).read_bytes())
    longer = made_ready(tmp_path, SMALL.replace("[1, 3]", "[2, 1, 3]"))
    outcome = ran(tmp_path / "run", longer)
    assert (outcome.ran, outcome.kept) == (6, 18)
    found = {(row["cell"], row["draw"]): row for row in found_in(tmp_path / "run").rows}
    before = {(row["cell"], row["draw"]): row for row in found_in(calm).rows}
    assert all(found[cell + 2, draw]["trial"] == row["trial"] for (cell, draw), row in before.items())


def test_cells_that_ask_for_the_same_trial_share_its_row(tmp_path):
    both = made_ready(tmp_path, SMALL.replace("adapt: 40", "adapt: {sweep: [40, 50]}"))
    assert ran(tmp_path / "run", both).ran == 18 + 9
    assert len(found_in(tmp_path / "run").rows) == 36


def test_trials_that_fail_are_rows(tmp_path):
    text = SMALL.replace("[1, 3]", "[1, 99]").replace("\n  - {strategy: batch, learner: delta}", "")
    bad = made_ready(tmp_path, text)
    outcome = ran(tmp_path / "run", bad)
    assert (outcome.ran, outcome.failed) == (9, 3)
    failed = [row for row in found_in(tmp_path / "run").rows if row["status"] == "error"]
    assert {row["cell"] for row in failed} == {1}
    assert all("core_dead" in row["message"] and row["correct"] is None for row in failed)
    assert ran(tmp_path / "run", bad).ran == 0
    assert ran(tmp_path / "run", bad, Executor(retry=True)).ran == 3
    answer = answer_of(found_in(tmp_path / "run"))
    assert answer["trials"] == {"planned": 9, "done": 9, "failed": 3, "others": 0}
    assert len(answer["failures"]) == 3


def test_a_trial_that_runs_too_long_is_a_row_and_the_others_go_on(tmp_path):
    hasty = made_ready(tmp_path, SMALL.replace("draws: 3", "draws: 1") + "limits: {seconds: 0.001}\n")
    outcome = ran(tmp_path / "run", hasty)
    assert outcome.ran == 6
    statuses = {row["status"] for row in rows_in(tmp_path / "run")}
    assert "timeout" in statuses
    assert statuses <= {"timeout", "ok"}
    assert "ran longer than the limit of 0.001 seconds" in {row["message"] for row in rows_in(tmp_path / "run")}


def test_a_trial_that_takes_too_much_memory_is_a_row(state, tmp_path):
    spec, whole = state.campaign.spec, state.chips["chip0"]
    images = next(iter(state.prepared.values())).data.test.images
    huge = replace(
        whole, inputs=whole.deployment.encode(np.repeat(images, 100, axis=0)), expected=np.resize(whole.expected, 100 * len(images))
    )
    limits = spec.limits.model_copy(update={"megabytes": 128})
    campaign = replace(state.campaign, spec=spec.model_copy(update={"limits": limits}))
    ran(tmp_path / "run", replace(state, campaign=campaign, chips={"chip0": huge}))
    rows = rows_in(tmp_path / "run")
    assert {row["status"] for row in rows} <= {"memory", "died"}
    assert {row["message"].split(":")[0] for row in rows} <= {
        "needs more than the limit of 128 megabytes", "its process ended with exit code -6", "its process ended with exit code 127",
    }  # fmt: skip


STOPS = """\
name: stops
network: {zoo: digits-mlp}
data: {samples: 60}
faults:
  - {kind: core_dead, layer: any, count: {sweep: [0, 1, 2]}}
  - {all: [{kind: core_dead, layer: any, count: 1}]}
repeats: {draws: 36, seed: 7, stop: {half_width: 0.1, first: 10, every: 5}}
"""


def test_draws_end_when_the_answer_is_narrow_enough_whoever_runs_them(tmp_path):
    early, full = (
        made_ready(tmp_path, STOPS),
        made_ready(tmp_path, STOPS.replace(", stop: {half_width: 0.1, first: 10, every: 5}", "")),
    )
    ran(tmp_path / "full", full)
    whole = {(row["cell"], row["draw"]): row["correct"] / 60 for row in found_in(tmp_path / "full").rows}
    expected = []
    for cell in range(4):
        values = [whole[cell, draw] for draw in range(36)]
        expected.append(next((n for n in range(10, 36, 5) if (cautious_interval(values[:n]).half_width or 0) <= 0.1), 36))
    assert expected[0] == 20 < max(expected[1:]) < 36
    assert [point["narrow"] for point in answer_of(found_in(tmp_path / "full"))["curves"][0]["points"]] == [None] * 3
    outcome = ran(tmp_path / "one", early)
    found = found_in(tmp_path / "one")
    assert [sum(row["cell"] == cell for row in found.rows) for cell in range(4)] == expected
    assert {row["stop"] for row in found.rows} == {"half width <= 0.1 at draws 10, 15, …"}
    assert (outcome.ran, found.trials) == (sum(expected[:3]), sum(expected))  # cells 1 and 3 ask for the same trials
    assert ran(tmp_path / "one", early).ran == 0
    ran(tmp_path / "four", early, Executor(4))
    parts = [tmp_path / f"part{number}" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        ran(part, early, Executor(shard=(number, 2)))
    merge(tmp_path / "merged", parts)
    assert rows_in(tmp_path / "one") == rows_in(tmp_path / "four") == rows_in(tmp_path / "merged")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / JOURNAL).write_bytes((tmp_path / "one" / JOURNAL).read_bytes()[:-2000])
    assert ran(tmp_path / "torn", early).ran > 0
    assert rows_in(tmp_path / "torn") == rows_in(tmp_path / "one")
    ran(tmp_path / "full", early)  # more rows than the rule would have run: the answer uses those up to its look
    assert [row["draw"] for row in found_in(tmp_path / "full").rows] == [row["draw"] for row in found.rows]


def test_a_notebook_shows_the_table_and_the_grid(state, calm):
    text = found_in(calm)._repr_html_()
    assert text.count("<tr>") == 1 + 6
    assert "small: 18 of 18 trials" in text
    grid = nf.inject(state.chips["chip0"].deployment, [nf.faults.CoreDead(count=1)], seed=1)._repr_html_()
    assert grid.startswith("<pre")
    assert grid.count("✗") == 2
    assert "chip 0" in grid


def test_ctrl_c_keeps_what_is_done(state, calm, tmp_path):
    def interrupt(stage, done, total, text):
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = ran(tmp_path / "run", state, Executor(1), interrupt)
    assert outcome.stopped
    assert 2 <= outcome.ran < 18
    assert ran(tmp_path / "run", state).kept == outcome.ran
    assert rows_in(tmp_path / "run") == rows_in(calm)


def test_a_torn_tail_is_run_again(state, calm, tmp_path):
    whole = (calm / JOURNAL).read_bytes()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / JOURNAL).write_bytes(whole[:-7])
    assert ran(tmp_path / "run", state).ran == 1
    trials = [row["trial"] for row in read_rows(tmp_path / "run" / JOURNAL).rows]
    assert len(trials) == len(set(trials)) == 18


def test_two_campaigns_are_not_merged(state, calm, tmp_path):
    other = made_ready(tmp_path, SMALL.replace("seed: 7", "seed: 8").replace("draws: 3", "draws: 1"))
    ran(tmp_path / "run", other)
    with pytest.raises(UsageError, match="different campaigns"):
        merge(tmp_path / "whole", [calm, tmp_path / "run"])


def test_the_answer_has_intervals_over_draws_and_paired_differences(calm):
    answer = answer_of(found_in(calm))
    assert [curve["label"] for curve in answer["curves"]] == [
        "core_dead · none", "core_dead · batch · delta", "synapse_bit_flip · none", "synapse_bit_flip · batch · delta",
    ]  # fmt: skip
    first = answer["curves"][0]
    assert (first["axis"], [point["x"] for point in first["points"]]) == ("faults.0.count", [1, 3])
    rows = [row for row in found_in(calm).rows if row["cell"] == 2]
    assert first["points"][1]["mean"] == pytest.approx(np.mean([row["correct"] / 60 for row in rows]))
    assert {point["draws"] for curve in answer["curves"] for point in curve["points"]} == {3}
    assert len(answer["paired"]) == 3
    assert all(row["p_holm"] >= row["p"] for row in answer["paired"])
    hit = {core for row in found_in(calm).rows for core in row["cores"]}
    assert {each["core"] for each in answer["criticality"] if each["trials"]} == hit


def test_rows_leave_as_parquet_and_csv(calm, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(found_in(calm), tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert len(table) == 18
    assert [row["axis.faults.0.count"] for row in table][:3] == [1] * 3
    write_csv(found_in(calm), tmp_path / "t.csv")
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 19


def test_holm_is_bonferroni_for_the_smallest_and_grows():
    assert holm([0.01, 0.04, 0.03]) == [0.03, 0.06, 0.06]
    assert holm([]) == []
    with pytest.raises(UsageError, match="expected 0 to 1"):
        holm([1.5])


def test_measuring_by_hand_agrees_with_the_healthy_row(state, calm):
    whole = state.chips["chip0"]
    split = next(iter(state.prepared.values())).test.first(60)
    by_hand = measure(whole.deployment, whole.inputs, split, engine="exact")
    assert {row["healthy_correct"] for row in found_in(calm).rows} == {by_hand.total}


def test_a_campaign_tests_names_and_moves(tmp_path):
    text = """\
name: found
network: {zoo: digits-mlp}
data: {samples: 60, adapt: 60}
place: {spare_cores: 2}
faults:
  - {kind: core_dead, count: {sweep: [1, 2]}, layer: any}
rescue:
  - {strategy: remap}
  - {strategy: diagnose, watchdog: 30}
repeats: {draws: 2, seed: 3}
"""
    state = made_ready(tmp_path, text)
    bench = WorkerBench(state.chips)
    rows = [[bench.row(task) for task in state.tasks_of(cell)] for cell in state.campaign.cells()]
    flat = [row for cell in rows for row in cell]
    assert [(row["status"], row["message"]) for row in flat] == [("ok", "")] * 8
    assert all(row["correct"] == row["healthy_correct"] for row in flat)
    assert any(row["correct"] > row["damaged_correct"] for row in flat)
    ways = {
        cell.rescue.strategy: [row for at, own in enumerate(rows) if at % 2 == place for row in own]
        for place, cell in enumerate(list(state.campaign.cells())[:2])
    }
    assert list(ways) == ["remap", "diagnose"]
    for told, found in zip(ways["remap"], ways["diagnose"], strict=True):
        assert told["cores"] == found["cores"]
        assert found["writes"] >= told["writes"]
        assert found["repair_energy_joule"] > told["repair_energy_joule"]
