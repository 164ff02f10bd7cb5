"""`neurofault rescue`, end to end through the command line, on digits."""

from __future__ import annotations

import json

import numpy as np
import pytest

import neurofault as nf
from neurofault.rescue.learners import by_name as learners
from neurofault.rescue.learners.errors import delta

SMALL = ("--adapt", "400", "--samples", "200", "--draws", "2", "--kill-cores", "4", "--coarse")
ACCURACIES = ("healthy", "damaged", "final", "worst", "mean_served")
KEYS = {
    "strategy", "learner", *ACCURACIES, "recovered_fraction", "cycles_total", "cycles_after_last_damage", "writes", "energy_joule",
    "time_second", "draws", "n_draws",
}  # fmt: skip


def answer(cli, *arguments: str) -> dict:
    code, out, err = cli("rescue", *arguments, "--json", "-")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module")
def kept() -> dict:
    return {}


def study(cli, kept: dict) -> dict:
    """Return one study that several tests look at, run by the first of them in this process."""
    if not kept:
        kept |= answer(cli, *SMALL, "--strategy", "none,batch,iterative,remap", "--learner", "delta,dfa", "--draws", "3")
    return kept


def test_rows_pairs_and_both_accountings(cli, kept):
    found = study(cli, kept)
    rows = {(row["strategy"], row["learner"]): row for row in found["rows"]}
    assert {name for name, _ in rows} == {"none", "remap", "batch", "batch (last-step budget)", "iterative", "sham"}
    for row in found["rows"]:
        assert row.keys() >= KEYS
        for name in ACCURACIES:
            assert row[name].keys() == {"mean", "low", "high"}
        assert row["n_draws"] == len(row["draws"]) == 3
    for learner in ("delta", "dfa"):
        batch, last, iterative = (rows[name, learner] for name in ("batch", "batch (last-step budget)", "iterative"))
        assert batch["cycles_total"] == batch["cycles_after_last_damage"] == iterative["cycles_total"] == 1
        assert last["cycles_total"] == last["cycles_after_last_damage"] == iterative["cycles_after_last_damage"] == 0.5
        assert batch["final"]["mean"] > batch["damaged"]["mean"]
        assert rows["sham", learner]["recovered_fraction"] is None
    assert rows["remap", None]["final"]["mean"] == found["healthy_accuracy"]
    assert rows["remap", None]["axon_updates"] > 0
    assert rows["none", None]["recovered_fraction"]["mean"] == 0
    assert rows["none", None]["recovered_fraction"]["covers_at_least"] is None
    both = [pair for pair in found["paired"] if {pair["a"], pair["b"]} == {"batch · dfa", "iterative · dfa"}]
    assert len(both) == 1
    assert both[0]["draws"] == 3
    expected = rows["batch", "dfa"]["final"]["mean"] - rows["iterative", "dfa"]["final"]["mean"]
    assert np.isclose(both[0]["difference"], expected if both[0]["a"] == "batch · dfa" else -expected)


def test_iterative_ends_on_the_cores_that_batch_ends_on(cli, kept):
    rows = {(row["strategy"], row["learner"]): row for row in study(cli, kept)["rows"]}
    for draw in range(3):
        dead = [
            sorted(core for hit in rows[name, "dfa"]["draws"][draw]["faults"] for core in hit["cores"])
            for name in ("batch", "batch (last-step budget)", "iterative")
        ]
        assert dead[0] == dead[1] == dead[2]
        assert len(dead[0]) == 4
        strikes = [point["what"] for point in rows["iterative", "dfa"]["draws"][draw]["time_line"]].count("strike")
        assert strikes == 2


def test_the_same_run_gives_the_same_bytes(cli):
    texts = [cli("rescue", *SMALL, "--strategy", "batch", "--learner", "dfa", "--json", "-")[1] for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0] != cli("rescue", *SMALL, "--strategy", "batch", "--learner", "dfa", "--seed", "2", "--json", "-")[1]


def test_table_and_picture(cli, tmp_path):
    path = tmp_path / "line.svg"
    code, out, err = cli("rescue", *SMALL, "--strategy", "batch", "--learner", "delta", "--control", "none", "--picture", str(path))
    assert code == 0, err
    for text in (
        "strategy",
        "recovered",
        "after last",
        "batch",
        "delta",
        "hardware_strict",
        "; 95 % intervals: Student's t over draws",
    ):
        assert text in out
    assert "cycles since the first strike" in path.read_text(encoding="utf-8")


def test_where_no_strategy_learns_no_control_learns_unless_it_is_asked_for(cli):
    words = (*SMALL, "--calibrate", "subtract")  # neurons that delta and dfa do not train
    found = answer(cli, *words, "--strategy", "none,remap")
    assert [(row["strategy"], row["learner"]) for row in found["rows"]] == [("none", None), ("remap", None)]
    none, remap = found["rows"]
    assert none["final"]["mean"] < remap["final"]["mean"] == found["healthy_accuracy"]
    for asked in (("--control", "sham"), ("--strategy", "none,batch")):
        code, out, err = cli("rescue", *words, "--strategy", "none,remap", *asked)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith("neurofault: layer 'hidden1': reset 'subtract'")
    found = answer(cli, *SMALL, "--draws", "1", "--strategy", "none,sham", "--learner", "delta")
    assert [(row["strategy"], row["control"]) for row in found["rows"]] == [("none", False), ("sham", True)]


def test_a_network_trained_with_dropout_is_a_control(cli):
    found = answer(cli, *SMALL, "--strategy", "none", "--control", "dropout")
    rows = {row["strategy"]: row for row in found["rows"]}
    assert rows["dropout-trained"]["control"]
    assert rows["dropout-trained"]["final"]["mean"] > rows["none"]["final"]["mean"]
    assert [[hit["cores"] for hit in draw["faults"]] for draw in rows["dropout-trained"]["draws"]] == [
        [hit["cores"] for hit in draw["faults"]] for draw in rows["none"]["draws"]
    ]


def test_what_watches_learning_is_said_and_counted(cli):
    found = answer(cli, *SMALL, "--strategy", "batch", "--learner", "delta", "--control", "none")
    assert (found["cycle_samples"], found["held_back_samples"], found["warnings"]) == (320, 80, [])
    row = found["rows"][0]["guard"]
    assert row["held_back"] == 80
    assert row["checks"] >= 2
    assert row["energy_joule"] > 0
    assert row["kept"] >= row["begun"]
    assert sum(row["stayed"].values()) == row["spells"] == 2
    bare = answer(cli, *SMALL, "--strategy", "batch", "--learner", "delta", "--control", "none", "--guard", "0")
    assert (bare["cycle_samples"], bare["held_back_samples"], bare["rows"][0]["guard"]) == (400, 0, None)


def test_a_sham_that_loses_is_said_before_the_table(cli, monkeypatch):
    def wild(*chip, **_):
        return delta(*chip, tie=127, readout_exponent=0, scaled=False)

    monkeypatch.setattr(learners, "LEARNERS", {**learners.LEARNERS, "delta": wild})
    code, out, err = cli("rescue", *SMALL, "--strategy", "batch", "--learner", "delta", "--guard", "0")
    assert code == 0, err
    text = " ".join(out.split())
    assert "warning: learner 'delta' harms a healthy chip: its sham control loses " in text
    assert "warning: batch · delta ends below the damaged accuracy: " in text
    assert text.index("warning:") < text.index("strategy learner damaged")


def test_a_chip_that_is_told_nothing_finds_its_dead_cores_and_moves_them(cli, tmp_path):
    test = str(tmp_path / "test.npz")
    words = (
        "--fault",
        "core_dead",
        "--observe",
        "potential",
        "--aim",
        "detectable",
        "--candidates",
        "100",
        "--draws",
        "0",
        "--check",
        "5",
    )
    assert cli("testset", *words, "--made", "4", "--out", test)[0] == 0
    few = ("--adapt", "60", "--samples", "100", "--draws", "3", "--kill-cores", "2", "--layer", "any", "--control", "none")
    found = answer(cli, *few, "--strategy", "none,remap", "--diagnose", test, "--watchdog", "25")
    none, told, own = found["rows"]
    assert (own["strategy"], own["final"]["mean"], none["final"]["mean"] < own["final"]["mean"]) == (
        "diagnose",
        found["healthy_accuracy"],
        True,
    )
    seen = own["detection"]
    assert (seen["noticed"], seen["passed"]) == (3, 3)
    assert "detection" not in none | told
    shows = seen["samples"] / seen["tests"]
    assert seen["delay"] == 25 + shows == 25 + len(nf.load_patterns(test))
    assert own["energy_joule"] > told["energy_joule"]
    assert own["host_bytes"] > 0
    for draw in own["draws"]:
        kept = {core for each in draw["detection"]["tries"] if each["stays"] for core in each["left"]}
        assert kept == set(draw["faults"][0]["cores"])
    code, out, err = cli(
        "rescue", *few, "--strategy", "diagnose+learn", "--learner", "delta", "--suspect", "core_dead", "--draws", "1"
    )
    assert code == 0, err
    assert "diagnose+learn delta: the test noticed 1 of 1 draw, " in out


def test_write_limits_hold(cli):
    found = answer(cli, *SMALL, "--strategy", "batch", "--learner", "dfa", "--control", "none", "--max-writes", "100")
    assert all(draw["writes"] <= 100 for draw in found["rows"][0]["draws"])
    assert any("budget ended" in note for note in found["rows"][0]["notes"]) or found["rows"][0]["writes"] == 100


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--cycles", "0"), "--cycles 0 of 10,000 samples leaves nothing to learn from; allowed: more than 0"),
        (("--cycles", "-1"), "budget: cycles is -1.0; allowed: 0 or more"),
        (("--strategy", "batsh"), "no strategy 'batsh'; strategies: none, batch, iterative"),
        (("--strategy", "batch,batch"), "strategy 'batch' is given twice"),
        (("--learner", "delt"), "no learner 'delt'; learners: delta, dfa, falling, emstdp, homeostasis, host"),
        (("--steps", "0"), "steps must be at least 1, is 0"),
        (("--network", "mnist-mlp-400", "--control", "dropout"), "--control dropout: the zoo has no 'mnist-mlp-400-dropout'"),
        (("--labels", "2"), "budget: labels is 2.0; allowed: 0 to 1"),
        (("--guard", "0.7"), "guard: share is 0.7; allowed: above 0, at most 0.5"),
        (("--guard", "-1"), "guard: share is -1.0; allowed: above 0, at most 0.5"),
        (("--adapt", "0"), "--adapt must be at least 1, is 0"),
        (("--tolerance", "2"), "tolerance is 2.0; allowed: 0 to 1"),
        (("--old-shift", "9", "--strategy", "embryonic"), "old_shift is 9; allowed: 0 to 7"),
        (("--spend", "evenly"), "spend must be greedy or even, is 'evenly'"),
        (
            ("--spend", "even", "--strategy", "iterative"),
            "spend even goes with more than one step and a limit of writes, energy or time",
        ),
        (("--suspect", "core_dead"), "--suspect goes with --diagnose, or strategy diagnose or diagnose+learn"),
        (("--together",), "--together goes with --diagnose, or strategy diagnose or diagnose+learn"),
        (("--diagnose", "none.npz"), "none.npz: no such file"),
        (
            ("--strategy", "diagnose", "--control", "none", "--adapt", "20", "--suspect", "core_bad"),
            "a dictionary has no faults of kind 'core_bad' (did you mean 'core_dead'?)",
        ),
        (("--draws", "0", "--adapt", "100"), "draws must be at least 1, is 0"),
        (
            ("--plastic", "hiden1", "--adapt", "100"),
            "no connection 'hiden1' (did you mean 'hidden1'?); connections: hidden1, output",
        ),
        (
            ("--plastic", "input", "--adapt", "100", "--learner", "dfa"),
            "no connection 'input' (did you mean 'output'?); connections: hidden1, output",
        ),
        (("--spare-cores", "0", "--strategy", "remap", "--adapt", "100"), "no spare cores:"),
        (
            ("--profile", "loihi1", "--learner", "delta", "--adapt", "100"),
            "would be a third factor, a value for each target neuron",
        ),
        (("--spare-cores", "97", "--adapt", "100"), "no core is free for 10 error neurons of the learner"),
    ],
)
def test_bad_input_is_one_clear_text(cli, arguments, text):
    draws = () if "--draws" in arguments else ("--draws", "1")
    code, out, err = cli("rescue", "--samples", "50", *draws, *arguments)
    assert code == 2
    assert text in err
    assert "Traceback" not in err
    assert out == ""
