"""`experiments/pareto.py`: fronts against a plain reference, and what it reads off a run folder against the campaign's own table."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.progress import silent
from neurofault.study.campaign.trial import TrialChip
from neurofault.study.prepare import Setup, prepare
from neurofault.study.protect.spec import specs_of
from neurofault.study.shown import shown

SCRIPT = Path(__file__).parents[2] / "experiments" / "pareto.py"
PARETO = runpy.run_path(str(SCRIPT), run_name="pareto")
FLIPS = {"kind": "synapse_bit_flip", "rate": 1e-3, "layer": "any"}


@given(some.lists(some.tuples(*[some.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(rows):
    def beats(a, b):
        return all(x >= y for x, y in zip(a, b, strict=True)) and a != b

    expected = [not any(beats(other, row) for other in rows) for row in rows]
    assert PARETO["unbeaten"](np.array(rows, float)).tolist() == expected


def config(name, draws, bits, energy, *, control=False):
    return {
        "network": name, "protection": "nothing", "control": control, "samples": 10, "weight_bits": 100, "added_bits": bits, "energy_joule": energy, "time_second": 1.0,
        "plans": {"flips": {"low": min(draws), "high": max(draws), "draws": draws}},
    }  # fmt: skip


def test_a_front_says_how_sure_it_is_and_what_beats_the_rest():
    found = [
        config("plain", [0.5, 0.6, 0.7], 0, 1.0),
        config("coded", [0.9, 0.9, 0.9], 10, 1.0),
        config("dear", [0.6, 0.6, 0.6], 20, 2.0),
        config("even", [0.5, 0.7, 0.6], 0, 1.0),
    ]
    rows = {row["network"]: row for row in PARETO["fronts"](found)["flips"]}
    assert [rows[name]["on_front"] for name in ("plain", "coded", "dear", "even")] == [True, True, False, True]
    assert (rows["coded"]["on_front_share"], rows["dear"]["on_front_share"], rows["coded"]["bits"]) == (
        1.0,
        0.0,
        pytest.approx(0.1),
    )
    assert 0.5 < rows["plain"]["on_front_share"] < 1  # some resamples put plain above even, some below
    assert rows["dear"]["beaten_by"] == "coded, nothing"
    assert rows["dear"]["by"] == pytest.approx(0.3)
    assert "beaten_by" not in rows["coded"]


def test_plans_draws_and_samples_must_be_the_same():
    other = config("other", [0.5], 0, 1.0)
    with pytest.raises(UsageError, match="do not report on the same number of samples"):
        PARETO["fronts"]([config("plain", [0.5], 0, 1.0), {**other, "samples": 20}])
    with pytest.raises(UsageError, match="do not have the same number of draws"):
        PARETO["fronts"]([config("plain", [0.5, 0.6], 0, 1.0), other])
    other["plans"] = {"cores": other["plans"]["flips"]}
    with pytest.raises(UsageError, match="the same plans of faults"):
        PARETO["fronts"]([config("plain", [0.5], 0, 1.0), other])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    shared = {
        "network": {"zoo": "digits-mlp"}, "data": {"samples": 40}, "repeats": {"draws": 2},
        "faults": [FLIPS, {"kind": "core_dead", "layer": "hidden", "count": 6}],
    }  # fmt: skip
    place = {"neurons_per_core": 8}
    guarded = {
        **shared,
        "name": "guarded",
        "place": place,
        "protect": {"sweep": [[], [{"kind": "secded", "budget": 0.05, "by": "random", "unit": "plane"}]]},
    }
    spared = {**shared, "name": "spared", "place": {**place, "spare_cores": 6}, "rescue": [{"strategy": "remap"}]}
    for campaign in (guarded, spared):
        assert not nf.campaign(campaign, out=folder / campaign["name"]).run(workers=1).failed
    return folder


@pytest.mark.parametrize(
    ("guards", "words"),
    [
        (["potentials"], "floors of potentials"),
        (["tmr", "bounds"], "copies of all and bounds"),
        ([{"kind": "tmr", "cores": 6}], "copies, 6 cores more, by importance"),
        (["tmr:0.5:random"], "copies, 50% of the neurons, by random"),
        (["mute"], "muting"),
        (["mute:0.25"], "muting, 25% of the neurons by importance"),
    ],
)
def test_what_guards_neurons_has_words(guards, words):
    assert PARETO["said"](specs_of(guards), 0) == words


def test_copies_count_as_added_bits():
    prepared = prepare(Setup("digits-mlp", samples=20, neurons_per_core=8), silent)
    chip = nf.protect(prepared.deployment, "tmr")
    trial = TrialChip(chip, shown(chip, prepared.test), prepared.test.expected, None, None, prepared.metric)
    found = PARETO["costs"](trial)
    assert found["added_bits"] == found["copied_bits"] == 8 * (2 * 64 * 100 + 3 * 100)
    assert found["weight_bits"] == 8 * (64 * 100 + 100 * 10)


def test_what_is_read_off_a_run_folder(runs):
    bare, coded = PARETO["configurations"](runs / "guarded", None)
    (spare,) = PARETO["configurations"](runs / "spared", None)
    assert [one["protection"] for one in (bare, coded, spare)] == [
        "nothing",
        "secded, 5% more bits, planes by random",
        "6 spare cores",
    ]
    assert [one["control"] for one in (bare, coded, spare)] == [False, True, False]
    assert bare["weight_bits"] == 8 * (64 * 100 + 100 * 10)
    assert (bare["added_bits"], coded["spare_bits"], coded["map_bits"]) == (0, 0, 0)
    assert 0.03 < coded["check_bits"] / coded["weight_bits"] <= 0.05
    assert spare["added_bits"] == 6 * 8 * 100 * 8  # the fullest core holds 8 outputs of 100 inputs, 8 bits a weight
    assert coded["energy_joule"] > bare["energy_joule"]
    assert spare["plans"]["core_dead 6"]["accuracy"] == spare["healthy"] > bare["plans"]["core_dead 6"]["accuracy"]
    table = nf.campaign(runs / "guarded" / "resolved.json").results().table()
    own = table[(table.plan == 1) & (table["axis.protect"] == "[]")]
    assert bare["plans"]["core_dead 6"]["draws"] == (own.correct / own.samples).tolist()


def test_a_run_that_is_not_whole_is_refused(runs, tmp_path, monkeypatch, capsys):
    for file in (runs / "spared").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 2
    assert "1 of 2 draws of cell 1 have a result" in capsys.readouterr().err
