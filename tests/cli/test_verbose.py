"""`--verbose`: stderr says what was chosen and why; stdout is the same bytes. And tables on terminals of several widths."""

from __future__ import annotations

import importlib
import re
from functools import cache
from types import ModuleType

import pytest

FEW = ("--samples", "60")
INJECT = ("inject", "--kill-cores", "2", "--draws", "2", *FEW)
RESCUE = ("rescue", "--kill-cores", "2", "--draws", "2", "--strategy", "remap,batch", "--learner", "delta", "--control", "none", "--adapt", "60", "--coarse", *FEW)  # fmt: skip
TESTSET = ("testset", "--fault", "core_dead", "--observe", "potential", "--candidates", "50", "--draws", "0", "--check", "2")
ATLAS = ("atlas", "--fault", "core_dead", *FEW)
REPORT = r"samples to report on: 60 of digits/test"
CASES = {
    "inject": (INJECT, ("network and chip", "faults and draws"), (REPORT, r"engine: exact, on cpu", r"2 of 2 draws whole: little work, .*")),
    "rescue": (RESCUE, ("network and chip", "healing"), (REPORT, r"samples to learn from: 60 of digits/train", r"placement: .* 2 kept free", r"engine: exact, 2 ways .*")),
    "atlas": (ATLAS, ("network and chip", "sites"), (REPORT, r"23 of 23 sites were followed as differences from the healthy chip, .*")),
    "testset": (TESTSET, ("network and chip", "test"), (r"samples to choose from: 1,097 of digits/train", r"samples to tell what is critical: 200 of digits/validation")),
}  # fmt: skip
CAMPAIGN = "name: few\nnetwork: {zoo: digits-mlp}\ndata: {samples: 40}\nfaults: [{kind: core_dead, count: {sweep: [1, 3]}}]\nrescue: [{strategy: none}, {strategy: batch, learner: delta}]\nrepeats: {draws: 2}\n"


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each healthy chip is made once a test."""
    from neurofault.study import prepare as module

    made = module.prepare

    @cache
    def kept(setup: object, words: object) -> object:
        return made(setup, lambda *_: None, **dict(words))

    monkeypatch.setattr(module, "prepare", lambda setup, progress, **words: kept(setup, tuple(words.items())))


@pytest.mark.parametrize("verb", CASES)
def test_it_says_on_stderr_what_was_chosen_and_changes_no_byte_of_stdout(cli, verb):
    words, parts, lines = CASES[verb]
    _, plain, before = cli(*words)
    code, told, err = cli(*words, "--verbose")
    assert code == 0, err
    assert told == plain
    assert "conversion: " not in before
    for part in parts:
        assert re.search(rf"^{part}: \d+\.\d\d s$", err, re.MULTILINE), err
    for line in (
        *lines,
        r"weights digits-mlp-\S+: they come with neurofault",
        r"chip: Intel Loihi 2 .*, profile loihi2; simulated with Lava's integer arithmetic",
        r"conversion: peak rate .*: the best.* of 30 candidates on 200 samples; it reached \d\d\.\d\d% on 200",
        r"placement: pack, 23 cores on 1 chip \(input 8, hidden1 13, output 2\).*",
        r"samples to set thresholds: 512 of digits/train; to choose the conversion: 200 of digits/validation",
    ):
        assert re.search(rf"^ *{line}$", err, re.MULTILINE), (line, err)
    assert "samples to report on" not in err or verb != "testset"


def test_json_on_stdout_is_the_same_bytes_too(cli, once):
    assert cli(*INJECT, "--json", "-", "--verbose")[1] == cli(*INJECT, "--json", "-")[1]


def test_quiet_and_verbose_go_together(cli, once):
    _, out, err = cli(*INJECT, "--quiet", "--verbose")
    assert len(out.splitlines()) == 1
    assert "placement: pack, 23 cores on 1 chip" in err


def test_a_campaign_says_what_its_chips_are_and_which_trials_were_there_already(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text(CAMPAIGN)
    run = ("campaign", "run", "few.yaml", "--workers", "1")
    code, _, err = cli(*run, "--verbose")
    assert code == 0, err
    assert re.search(r"^  chip0: 4 of 4 cells, engine exact, 40 samples a trial$", err, re.MULTILINE), err
    assert re.search(r"^    placement: pack, 23 cores", err, re.MULTILINE)
    assert "  8 trials run by at most 1 local process; 0 came from the journal" in err
    _, out, err = cli(*run, "-v")
    assert "  0 trials run by at most 1 local process; 8 came from the journal" in err
    assert re.search(r"^networks and chips: \d+\.\d\d s$", err, re.MULTILINE)
    assert cli(*run)[1] == out


def test_a_network_that_was_trained_before_comes_from_the_cache(tmp_path, monkeypatch):
    from torch import nn

    from neurofault.progress import when_told
    from neurofault.zoo.shipped import with_weights

    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path))
    said: list[str] = []
    when_told(said.append)
    for _ in range(2):
        with_weights(nn.Linear(2, 2), "mine-1-2", lambda: None)
    when_told(None)
    with_weights(nn.Linear(2, 2), "mine-1-2", lambda: None)
    assert said == ["weights mine-1-2: not in the cache, trained now", f"weights mine-1-2: from the cache, {tmp_path / 'zoo'}"]


def on_columns(monkeypatch: pytest.MonkeyPatch, verb: str, columns: int | None) -> None:
    modules: list[ModuleType] = [importlib.import_module(f"neurofault.cli.{name}") for name in ("tables", verb)]
    for module in modules:
        monkeypatch.setattr(module, "width", lambda: columns)


@pytest.mark.parametrize("verb", ["inject", "rescue", "testset", "campaign"])
def test_tables_keep_to_60_80_and_110_columns_and_cut_no_number(cli, once, verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if verb == "campaign":
        (tmp_path / "few.yaml").write_text(CAMPAIGN)
        assert cli("campaign", "run", "few.yaml", "--workers", "1", "--quiet")[0] == 0
        words: tuple[str, ...] = ("campaign", "report", "few.yaml")
    else:
        words = CASES[verb][0]

    def shown(columns: int | None) -> str:
        on_columns(monkeypatch, verb, columns)
        return cli(*words)[1].split("\nchip after draw")[0]  # a map keeps its shape, and a terminal breaks it

    numbers = re.findall(r"[0-9]+\.[0-9]+ ?[%a-zA-Zµ]*", re.sub(r"\s+", " ", shown(None)))
    assert len(numbers) > 5
    for columns in (60, 80, 110):
        lines = shown(columns).split("\n")
        assert [line for line in lines if len(line) > columns] == []
        assert not any("…  " in line or line.endswith("…") for line in lines)
        narrow = " ".join(lines)
        assert {number.split()[0] for number in numbers} <= set(re.findall(r"[0-9]+\.[0-9]+", narrow))
