"""Chips of which little is known, in every verb: nothing crashes, nothing is invented, and what is not known is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import FaultError

BARE = """\
name: bare
title: Sixteen cores, and little else is known
arithmetic: loihi
sources: {sheet: {title: Data sheet, note: revision 3}}
chip: {cores: {value: 16, unit: cores, source: sheet, evidence: documented}}
core: {neurons: {value: 64, unit: neurons, source: sheet, evidence: documented}}
synapse: {weight_bits: {value: [2, 4], unit: bits, source: sheet, evidence: documented}}
"""
NO_LEARNING = "learning: {available: false, source: sheet}\n"
LEARNS = "learning: {available: true, third_factor: graded, source: sheet}\n"
SMALL = ("--network", "digits-mlp", "--neurons-per-core", "32", "--samples", "20", "--draws", "2")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.yaml").write_text(BARE)
    (tmp_path / "learns.yaml").write_text(BARE + LEARNS)
    (tmp_path / "never.yaml").write_text(BARE + NO_LEARNING)
    return tmp_path


def test_cores_die_on_it_and_energy_is_not_known(cli, bare):
    code, out, err = cli("inject", "--profile", "bare.yaml", *SMALL, "--fault", "core_dead", "--count", "1")
    assert code == 0, err
    assert "4-bit weights, placed" in out
    assert "--weight-bits 4" in out
    assert re.search(
        r"per inference \(healthy\): \d+ spikes; energy and time are not known: profile bare has no energy table",
        " ".join(out.split()),
    )
    code, out, err = cli("inject", "--profile", "bare.yaml", *SMALL, "--fault", "core_dead", "--count", "1", "--json", "-")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["weight_bits"] == 4
    costs = [
        answer[f"{what}_per_inference{more}"]
        for what, more in (("energy_joule", ""), ("energy_joule", "_damaged"), ("static_energy_joule", ""), ("time_second", ""))
    ]
    assert costs == [None] * 4
    assert (answer["energy_evidence"], answer["energy_table"], answer["energy_not_included"]) == (
        "unknown",
        None,
        ["energy_tables"],
    )


ONE_COST = """\
energy_tables:
  bench:
    title: One number
    energy: {synaptic_operation: {value: 6.0e-12, unit: J, source: sheet, evidence: measured}}
default_energy: bench
"""


def test_of_one_known_cost_it_says_what_the_energy_is_at_least(cli, bare):
    (bare / "one.yaml").write_text(BARE + ONE_COST)
    how = ("inject", "--profile", "one.yaml", *SMALL, "--fault", "core_dead", "--count", "1")
    code, out, err = cli(*how)
    assert code == 0, err
    said = re.search(
        r"at least ([\d.]+ nJ) \(measured, of synaptic_operation alone; neuron_update_active not known; table bench; static power unknown, not "
        r"included\), unknown s \(unknown\), \d+ spikes; damaged: at least ([\d.]+ nJ)",
        " ".join(out.split()),
    )
    assert said is not None, out
    code, out, err = cli(*how, "--json", "-")
    answer = json.loads(out)
    least, damaged = (answer[f"energy_at_least_joule_per_inference{more}"] for more in ("", "_damaged"))
    assert (said[1], said[2]) == (f"{least * 1e9:.3g} nJ", f"{damaged * 1e9:.3g} nJ")
    assert damaged < least
    assert answer["energy_at_least_of"] == ["synaptic_operation"]
    assert (answer["energy_joule_per_inference"], answer["energy_evidence"]) == (None, "unknown")


def test_it_is_remapped_and_energy_is_not_known(cli, bare):
    how = ("--fault", "core_dead", "--count", "1", "--layer", "hidden", "--strategy", "remap", "--control", "none")
    code, out, err = cli("rescue", "--profile", "bare.yaml", *SMALL, "--spare-cores", "2", *how, "--json", "-")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["energy_table"] is None
    [row] = answer["rows"]
    assert row["writes"] > 0
    assert (row["energy_joule"], row["time_second"], row["energy_joule_by_table"], row["draws"][0]["energy_joule"]) == (
        None,
        None,
        {},
        None,
    )
    code, out, err = cli("rescue", "--profile", "bare.yaml", *SMALL, "--spare-cores", "2", *how)
    assert code == 0, err
    assert "energy and time of learning not known: the profile has no energy table" in " ".join(out.split())


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("never.yaml", "bare has no learning engine: nothing on it can learn on chip"),
        ("bare.yaml", "bare has no learning engine that its profile knows of (learning.available is not given): nothing on it can learn on chip"),
    ],
)  # fmt: skip
def test_nothing_learns_where_there_is_no_learning_engine(cli, bare, profile, message):
    code, out, err = cli("rescue", "--profile", profile, *SMALL, "--fault", "core_dead", "--count", "1", "--strategy", "batch")
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    "fault", ["{kind: link_dead, count: 1}", "{kind: router_dead, count: 1}", "{kind: core_dead, count: 1, at: 'tile:0'}"]
)
def test_what_breaks_in_a_mesh_is_refused_by_the_profiles_name(cli, bare, fault):
    code, out, err = cli("inject", "--profile", "bare.yaml", *SMALL, "--fault", fault)
    assert (code, out) == (2, "")
    assert "profile 'bare' does not know how its cores are joined (chip.tile_columns, tile_rows, cores_per_tile)" in err


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "{kind: memory_word_dead, count: 1}",
            "how wide a memory word is is not known (synapse.word_bits); break single bits or synapses",
        ),
        (
            "{kind: word_header, count: 1}",
            "whether synapses are stored in blocks with headers is not known (synapse.block_synapses)",
        ),
    ],
)
def test_words_and_blocks_that_are_not_known_do_not_break(cli, bare, fault, message):
    code, out, err = cli("inject", "--profile", "bare.yaml", *SMALL, "--fault", fault)
    assert (code, out) == (2, "")
    assert f"chip 'bare': {message}" in err


def test_it_is_drawn_and_followed_site_by_site_and_run_in_campaigns(cli, bare):
    code, out, err = cli("map", "--profile", "bare.yaml", "--neurons-per-core", "32")
    assert code == 0, err
    grid = out.split("chip 0\n")[1].split("\n\n")[0]
    assert [len(line.split()) for line in grid.splitlines()] == [4, 4, 4, 4]
    (bare / "c.yaml").write_text(
        "name: c\nprofile: mine.yaml\nnetwork: {zoo: digits-mlp}\nplace: {neurons_per_core: 32}\ndata: {samples: 20}\n"
        "faults: [{kind: core_dead, count: 1}]\nrepeats: {draws: 2, seed: 1}\n"
    )
    (bare / "mine.yaml").write_text("name: mine\ntitle: Mine\nextends: bare.yaml\nlearning: {available: false, source: sheet}\n")
    code, out, err = cli("campaign", "run", "c.yaml", "--workers", "1")
    assert code == 0, err
    rows = nf.campaign(bare / "c.yaml").run().table()
    assert rows["energy_joule_per_inference"].isna().all()
    assert rows["status"].tolist() == ["ok", "ok"]
    copy = bare / "runs/c/inputs/mine.yaml"
    assert nf.load_profile(copy) == nf.load_profile(bare / "mine.yaml")
    text = (bare / "bare.yaml").read_text()
    (bare / "bare.yaml").write_text(text.replace("value: 64", "value: 63"))
    code, out, err = cli("campaign", "status", "c.yaml")
    assert (code, err) == (
        0,
        "runs/c was run with other settings than c.yaml has now (edited since, or --set); these are its own\n",
    )


def test_bits_of_a_field_whose_width_is_not_known_do_not_flip(bare):
    chip = nf.deploy(
        nf.chain(
            "reflex",
            [nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))],
            [nf.Dense(np.eye(2) * 2)],
            timesteps=4,
        ),
        "bare.yaml",
    )
    assert chip.connection("hands").weight_bits == 4
    for kind, field in ((nf.faults.NeuronThreshold, "vth"), (nf.faults.NeuronBias, "bias_mantissa")):
        with pytest.raises(
            FaultError, match=rf"^{kind.kind}: bit: how many bits {field} has is not known of chip 'bare'; give factor or offset$"
        ):
            nf.inject(chip, kind(count=1, layer="hands", bit=3))
