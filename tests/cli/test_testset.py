"""`neurofault testset`: a test of the default network, and the chip that it is shown to."""

from __future__ import annotations

import json

import numpy as np
import pytest

import neurofault as nf


def test_a_test_is_chosen_saved_and_shown_to_chips(cli, tmp_path):
    test, chip, hurt = (str(tmp_path / name) for name in ("test.npz", "chip.npz", "hurt.npz"))
    code, out, err = cli(
        "testset", "--fault", "neuron_dead", "--fault", "core_dead", "--observe", "potential", "--candidates", "200", "--draws", "20", "--check", "10",
        "--out", test, "--save-chip", chip, "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["chosen_from"], answer["critical_by"], answer["coverage"]) == ("digits/train", "digits/validation", 1.0)
    assert answer["size"] == len(answer["samples"]) == len(nf.load_patterns(test)) == answer["least"]
    assert answer["proved_least"]
    assert {row["of"] for row in answer["by_kind"]} == {"neuron_dead", "core_dead"}
    assert answer["doubles"]["draws"] == 20
    assert answer["checked"] > 0
    assert answer["time_seconds"] > 0 < answer["energy_joule"]
    code, out, err = cli("testset", "run", test, "--deployment", chip)
    assert (code, out.split(":")[0]) == (0, "pass"), err
    nf.save(nf.inject(nf.load(chip), [nf.faults.CoreDead(count=2)], seed=1), hurt)
    code, out, err = cli("testset", "run", test, "--deployment", hurt, "--json", "-")
    assert code == 1, err
    found = json.loads(out)
    assert not found["passed"]
    assert set(found["samples"]) <= set(answer["samples"])
    code, out, _ = cli("testset", "run", test, "--deployment", hurt)
    assert (code, out.split()[0]) == (1, "FAIL:")
    np.savez(tmp_path / "answers.npz", answers=nf.load_patterns(test).answers)
    assert cli("testset", "run", test, "--answers", str(tmp_path / "answers.npz"))[0] == 0


def test_the_table_says_what_is_exposed_and_what_it_costs(cli):
    code, out, err = cli("testset", "--fault", "core_dead", "--draws", "10")
    assert code == 0, err
    assert "23 single faults (core_dead)" in out
    assert "digits/train expose" in out
    assert "proved the fewest" in out
    assert "run again by the exact engine: every claim holds; 95 % intervals: Wilson's over faults" in out


def test_inputs_are_made_for_what_no_sample_exposes(cli, tmp_path):
    test, chip = str(tmp_path / "test.npz"), str(tmp_path / "chip.npz")
    words = (
        "--fault",
        "core_dead",
        "--fault",
        "neuron_dead",
        "--observe",
        "potential",
        "--aim",
        "detectable",
        "--candidates",
        "40",
        "--pool",
        "40",
        "--draws",
        "0",
    )
    code, out, err = cli("testset", *words, "--made", "30", "--out", test, "--save-chip", chip, "--json", "-")
    assert code == 0, err
    made = json.loads(out)
    plain = json.loads(cli("testset", *words, "--json", "-")[1])
    assert made["reached"] > plain["reached"]
    assert (plain["made"], plain["candidates"]) == (0, 40)
    assert 0 < made["made_chosen"] <= made["made"] <= 30
    assert made["candidates"] == 40 + made["made"]
    assert sum(index < 0 for index in made["samples"]) == made["made_chosen"]
    dark = nf.inject(nf.load(chip), nf.faults.NeuronDead(layer="input", neurons=(0,)))  # a pixel that no digit lights
    nf.save(dark, tmp_path / "dark.npz")
    code, out, err = cli("testset", "run", test, "--deployment", str(tmp_path / "dark.npz"))
    assert (code, "  made input " in out) == (1, True), err
    code, out, err = cli("testset", *words, "--made", "5")
    assert code == 0, err
    assert " of them made: " in out
    assert " made1" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["testset", "--made", "-1"], "made must be at least 0, is -1"),
        (["testset", "--observe", "counts"], "observe counts: "),
        (["testset", "--fault", "link_dead"], "no test for single faults of kind 'link_dead'"),
        (["testset", "--check", "some"], "--check is a number of faults, or all, not 'some'"),
        (["testset", "--pool", "0"], "--pool must be at least 1, is 0"),
        (["testset", "--out", "test.txt"], "--out test.txt: the name of the file must end in .npz"),
        (["testset", "--fault", "core_dead", "--size", "1", "--coverage", "1"], "size 1 is too small to expose 100 % of "),
        (["testset", "run", "missing.npz", "--deployment", "chip.npz"], "missing.npz: no such file"),
        (["testset", "run", "missing.npz"], "say what is tested: --deployment CHIP.npz, or --answers ANSWERS.npz"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line(cli, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_the_dead_core_is_named(cli, tmp_path):
    test, chip, hurt = (str(tmp_path / name) for name in ("test.npz", "chip.npz", "hurt.npz"))
    words = ("--fault", "core_dead", "--observe", "potential", "--candidates", "100", "--draws", "0")
    assert cli("testset", *words, "--out", test, "--save-chip", chip)[0] == 0
    nf.save(nf.inject(nf.load(chip), nf.faults.CoreDead(cores=(15,))), hurt)
    code, out, err = cli("diagnose", test, "--chip", chip, "--deployment", hurt, "--draws", "20", "--json", "-")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["suspects"][0] == {"faults": ["core_dead core 15"], "distance": 0.0}
    assert (answer["naming"][0]["cores"], answer["naming"][0]["named"]["mean"]) == (1, 1.0)
    code, out, err = cli("diagnose", test, "--chip", chip, "--deployment", hurt, "--fault", "core_dead")
    assert code == 0, err
    assert "1. core_dead core 15 (the very answers)" in out
    code, out, err = cli("diagnose", test, "--chip", chip, "--deployment", hurt, "--fault", "memory_word_dead", "--layer", "output")
    assert code == 0, err
    assert "memory_word_dead output word " in out
    for words, message in (
        (("--chip", chip), "say what is diagnosed: --deployment CHIP.npz, or --answers ANSWERS.npz; or --draws N"),
        (("--chip", hurt, "--draws", "5"), "is damaged; the dictionary is made on the healthy chip"),
        (
            ("--chip", chip, "--draws", "5", "--fault", "link_dead"),
            "naming is measured on dead cores, and the dictionary knows none",
        ),
        (("--chip", chip, "--draws", "5", "--layer", "hiden1"), "no layer 'hiden1'"),
        (("--chip", chip, "--draws", "5", "--most", "5"), "is more than the 5 that are allowed"),
        (("--chip", chip, "--deployment", hurt, "--top", "0"), "--top must be at least 1, is 0"),
        (("--chip", chip, "--deployment", hurt, "--answers", hurt), "not both"),
    ):
        code, out, err = cli("diagnose", test, *words)
        assert (code, out) == (2, "")
        assert message in err
