"""`--quiet`: the answer alone, in one line, and the same line that the whole output begins with."""

from __future__ import annotations

import re

import pytest

import neurofault as nf

FEW = ("--samples", "100")

CASES = {
    "rescue": (
        ("rescue", "--kill-cores", "2", "--draws", "2", "--strategy", "none,remap", "--control", "none", "--adapt", "100", *FEW),
        r"remap brings back 100 % of the loss: accuracy (\d+\.\d\d) % → (\d+\.\d\d) % \[.*\], healthy \2 %",
    ),
    "rescue of nothing": (
        ("rescue", "--kill-cores", "2", "--draws", "2", "--strategy", "none", "--control", "none", "--adapt", "100", *FEW),
        r"The damage leaves accuracy \d+\.\d\d % \[.*\] of \d+\.\d\d %",
    ),
    "rescue that helps nothing": (
        ("rescue", "--kill-cores", "2", "--draws", "2", "--strategy", "none,batch", "--learner", "homeostasis", "--control", "none", "--adapt", "100", *FEW),
        r"No way of healing ends better than no repair: accuracy \d+\.\d\d % \[.*\] of \d+\.\d\d %",
    ),
    "atlas": (("atlas", "--fault", "core_dead", *FEW), r"core_dead: \d+ sites × 100 images; healthy .*; (1 site changes|\d+ sites change) no prediction"),
    "train": (("train", "digits-mlp"), r"digits-mlp answers \d\d\.\d\d % of 500 digits/test images right"),
    "convert": (("convert", "digits-mlp", "--check"), r"on 512 calibration samples: chip \d\d\.\d\d%, original .*, gap .* points"),
    "alarms": (
        ("alarms", "--fault", "core_dead", "--watcher", "busy", "--false-alarms", "60", "--draws", "2", "--stream", "20", "--size", "1"),
        r"1 watcher sees core_dead in \d+\.\d\d % of 2 draws; \S+ false alarms per 10,000 samples",
    ),
    "doctor": (("doctor",), r"Engines? exact.* on Python 3\.\d+\.\d+; (every extra is there|extras? .* not whole)"),
    "profiles": (("profiles",), r"\d+ hardware profiles; the chip's own integers are simulated of \d+"),
    "faults": (("faults", "list"), r"\d+ kinds of faults in \d+ families"),
    "a fault": (("faults", "describe", "core_dead"), r"core_dead \(core\): .*"),
    "a profile": (("profile", "check", "loihi2"), r"loihi2: loihi2 \(.*\) holds together; exact: Lava 0\.10"),
    "map": (("map",), r"digits-mlp takes 23 of 128 cores on 1 .* chip"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_answer_is_one_line_and_the_first(case, cli):
    words, expected = CASES[case]
    code, out, err = cli(*words, "--quiet")
    assert code == 0, err
    (line,) = out.splitlines()
    assert re.fullmatch(expected, line), line
    if not case.startswith(("map", "rescue of")):
        assert cli(*words)[1].splitlines()[0] == line


def test_a_paper_says_where_its_figures_are_and_the_first_thing_that_they_show(cli, tmp_path, monkeypatch):
    from neurofault.papers.rescue2019.output import Figure

    rate = {"0.01": {"returned": 2, "left": 3}}
    figure = Figure("fig4", {"weights": {"a": "0"}, "return_rate": rate, "barriers": {}}, {})
    monkeypatch.setattr("neurofault.papers.rescue2019.run.paper", lambda *_, **__: [figure])
    code, out, err = cli("paper", "fig4", "--out", str(tmp_path), "--quiet")
    assert (code, out) == (0, f"fig4 in {tmp_path}; fig4 ε = 1 points: 2 of 3 repairs returned to U\n"), err
    whole = cli("paper", "fig4", "--out", str(tmp_path))[1].splitlines()
    assert whole[0] == out.rstrip("\n")
    assert whole[1].startswith("fig4 weights: ")


def test_a_test_set_what_it_says_of_a_chip_and_what_is_broken_are_one_line_each(cli, tmp_path):
    test, chip, hurt = (str(tmp_path / name) for name in ("test.npz", "chip.npz", "hurt.npz"))
    choose = ("testset", "--fault", "core_dead", "--observe", "potential", "--candidates", "50", "--draws", "0", "--check", "2")
    out = cli(*choose, "--out", test, "--save-chip", chip)[1]
    assert cli(*choose, "--quiet")[1].splitlines() == out.splitlines()[:1]
    size, exposed = re.search(r"^(\d+) samples? of digits/train exposes? (\d+) of \2 single faults", out).groups()
    assert len(nf.load_patterns(test)) == int(size)
    assert 0 < int(exposed) <= 23
    nf.save(nf.inject(nf.load(chip), [nf.faults.CoreDead(cores=(15,))]), hurt)
    diagnose = ("diagnose", test, "--chip", chip, "--fault", "core_dead")
    for words, said in (
        (
            ("testset", "run", test, "--deployment", hurt),
            f"FAIL: {size} of {size} sample{'' if size == '1' else 's'} differ{'s' if size == '1' else ''} in potential",
        ),
        ((*diagnose, "--deployment", hurt), "These are the answers of core_dead core 15"),
        ((*diagnose, "--deployment", chip), "These are the answers of the healthy chip"),
        ((*diagnose, "--draws", "2"), "The dead cores are named in 100.00 % of 2 draws of 1 dead core, "),
    ):
        quiet, whole = cli(*words, "--quiet")[1].splitlines(), cli(*words)[1].splitlines()
        assert len(quiet) == 1
        assert quiet[0].startswith(said)
        assert whole[0] == quiet[0]
        assert len(whole) > 1


def test_a_campaign_says_its_answer_alone_and_why_trials_failed_on_stderr(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text(
        "name: few\nnetwork: {zoo: digits-mlp}\ndata: {samples: 40}\nfaults: [{kind: core_dead, count: {sweep: [3, 99]}}]\nrepeats: {draws: 2}\n"
    )
    code, out, err = cli("campaign", "run", "few.yaml", "--workers", "1", "--quiet")
    assert (code, len(out.splitlines())) == (1, 1), err
    assert re.match(
        r"The strongest damage \(cores hit by core_dead: 3\) leaves accuracy at (\d+\.\d\d) % \[.*\], healthy (\d+\.\d\d) %\.\n",
        out,
    )
    assert "2 × error: core_dead: " in err
    steps: list[tuple[str, int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            "neurofault.cli.progress.StderrProgress.__call__",
            lambda _, stage, done, total, text: steps.append((stage, done, total)),
        )
        assert cli("campaign", "report", "few.yaml", "--quiet")[1] == out
    assert steps == [("trials.parquet", 0, 1), ("trials.parquet", 1, 1), ("report", 0, 2), ("report", 1, 2), ("report", 2, 2)]
    assert cli("campaign", "report", "few.yaml")[1].startswith(out)
    assert cli("campaign", "run", "few.yaml", "--workers", "1")[1].startswith(f"{out}runs/few: 0 trials run, 4 kept")
