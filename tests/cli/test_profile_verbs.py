"""`neurofault profiles` and `neurofault profile new | check | show | diff | schema`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from neurofault.deploy.profile import bundled_profiles, load_profile
from neurofault.deploy.profile_schema import profile_schema


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_profiles_are_a_table_that_fits_80_columns(cli):
    code, out, err = cli("profiles")
    assert (code, err) == (0, "")
    table = out.split("\n\n")[1].splitlines()
    assert table[0].split() == ["name", "cores", "neurons", "bits", "energy", "law"]
    assert [line.split()[0] for line in table[1::2]] == bundled_profiles()
    assert all(len(line) <= 80 for line in table)
    assert re.search(r"^loihi1 +128 +1,024 +1-6, 8 +simulated +exact: Lava 0.10$", out, re.M)
    for name in bundled_profiles():
        assert load_profile(name).title in out


def test_profiles_as_json(cli):
    code, out, err = cli("profiles", "--json", "-")
    assert (code, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(out)["profiles"]}
    assert rows["loihi2"] == {
        "name": "loihi2", "title": "Intel Loihi 2 (Intel 4, 2021)", "cores": 128, "usable_cores": 120, "neurons_per_core": 8192,
        "weight_bits": [1, 2, 3, 4, 5, 6, 7, 8], "law": "exact: Lava 0.10", "energy_table": "davies2018", "energy_evidence": "assumed", "energy_gaps": [],
    }  # fmt: skip
    assert list(rows) == bundled_profiles()
    assert rows["truenorth"]["energy_gaps"] == ["neuron_update_active"]
    said = " ".join(cli("profiles")[1].split())
    assert (
        'energies are only "at least", for the cost of a synaptic operation or of a neuron\'s update is not known: odin, reckon, spinnaker1, spinnaker2, truenorth'
        in said
    )


def test_a_new_profile_says_what_to_fill_in_and_is_never_overwritten(cli, here):
    code, out, err = cli("profile", "new", "mine.yaml")
    assert (code, err) == (0, "")
    assert "mine.yaml: write something at each FILL, then: neurofault profile check mine.yaml" in out
    assert json.loads((here / "neurofault-profile.schema.json").read_text()) == profile_schema()
    text = (here / "mine.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=neurofault-profile.schema.json\n")
    code, out, err = cli("profile", "check", "mine.yaml")
    assert (code, out) == (2, "")
    places = [
        f"{number}:{line.index('FILL') + 1}"
        for number, line in enumerate(text.splitlines(), 1)
        if "FILL" in line and "#" not in line
    ]
    keys = ["title", "arithmetic", "sources.sheet.title", "sources.sheet.note", "chip.cores", "synapse.weight_bits"]
    assert err.removeprefix("neurofault: ").splitlines() == [
        f"mine.yaml:{place}: {key}: write something in the place of FILL" for place, key in zip(places, keys, strict=True)
    ]
    (here / "mine.yaml").write_text("mine")
    assert cli("profile", "new", "mine.yaml") == (
        2,
        "",
        "neurofault: mine.yaml: is there already; give another name, or remove it\n",
    )
    assert (here / "mine.yaml").read_text() == "mine"
    assert cli("profile", "new", "mine.txt") == (2, "", "neurofault: mine.txt: the name of a profile's file ends in .yaml\n")


def test_a_law_shows_what_it_has(cli):
    code, out, err = cli("profile", "show", "odin")
    assert (code, err) == (0, "")
    law = out.split("\narithmetic", 1)[1].split("\nsources", 1)[0]
    assert "\n  u: none\n" in law
    code, out, err = cli("profile", "show", "xylo_audio2")
    assert (code, err) == (0, "")
    assert "  kind: shift\n  most: " in out
    assert "rounding" not in out
    code, out, err = cli("profile", "diff", "odin", "xylo_audio2")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert not [
        at for at, line in enumerate(lines) if line == "  odin: not known" and lines[at + 1].endswith(("not known", "not there"))
    ]


def test_a_profile_that_extends_another_is_checked_shown_and_compared(cli, here):
    (here / "sub").mkdir()
    assert cli("profile", "new", "mine.yaml", "--extends", "loihi2")[0] == 0
    text = (here / "mine.yaml").read_text().replace("title: FILL", "title: My chip", 1)
    text += "sources: {sheet: {title: Data sheet, note: revision 3}}\ncore: {neurons: {value: 256, unit: neurons, source: sheet, evidence: documented, note: counted}}\n"
    (here / "mine.yaml").write_text(text.replace("\ncore:\n", "\n", 1))
    code, out, err = cli("profile", "check", "mine.yaml")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "mine.yaml: mine (My chip) holds together; exact: Lava 0.10",
        "good cores beyond usable_cores, never used: 120-127 of each chip",
        "not known, so not checked or counted: core: in_axons, out_axons; learning: reward_bits, products_max; energy and time (no energy_tables)",
    ]
    code, out, err = cli("profile", "show", "mine.yaml")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "mine: My chip"
    assert "  neurons: 256 neurons (documented)" in lines
    assert "  synapse_bits: 1572864 bits (documented) from loihi2" in lines
    assert "  in_axons: not known from loihi2" in lines
    code, out, err = cli("profile", "show", "mine.yaml", "--sources")
    lines = out.splitlines()
    at = lines.index("  neurons: 256 neurons (documented; sheet)")
    assert lines[at + 1] == "      counted"
    assert "  sheet: Data sheet" in lines
    code, out, err = cli("profile", "diff", "loihi2", "mine.yaml")
    assert (code, err) == (0, "")
    assert "core.neurons\n  loihi2: 8192 neurons (documented; intel2021)\n  mine: 256 neurons (documented; sheet)\n" in out
    assert "dead_cores" not in out
    assert "chip.cores\n" not in out
    assert "default_energy\n  loihi2: davies2018\n  mine: not known\n" in out
    assert cli("profile", "diff", "mine.yaml", "mine.yaml")[1] == "mine.yaml and mine.yaml have the same values\n"
    assert cli("profile", "new", "sub/board.yaml", "--extends", "mine.yaml")[0] == 0
    board = here / "sub/board.yaml"
    board.write_text(board.read_text().replace("title: FILL", "title: B", 1))
    assert load_profile(board).core.neurons.known == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "lohi1"), "no profile 'lohi1' (did you mean 'loihi1'?): neither a file nor a bundled profile"),
        (("diff", "loihi1", "lohi2"), "no profile 'lohi2' (did you mean 'loihi2'?): neither a file nor a bundled profile"),
        (
            ("new", "mine.yaml", "--extends", "lohi2"),
            "no profile 'lohi2' (did you mean 'loihi2'?): neither a file nor a bundled profile",
        ),
        (("check", "bad.yaml"), "bad.yaml:3:1: unknown key 'croe' (did you mean 'core'?)"),
    ],
)
def test_mistakes_end_in_one_message(cli, here, arguments, message):
    (here / "bad.yaml").write_text("extends: loihi2\nname: bad\ncroe: {}\ntitle: Bad\n")
    code, out, err = cli("profile", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"neurofault: {message}")
    assert not (here / "mine.yaml").exists()


def test_the_schema_is_printed(cli):
    code, out, err = cli("profile", "schema")
    assert (code, err, json.loads(out)) == (0, "", profile_schema())


def test_good_cores_beyond_the_usable_ones_are_said(cli, here):
    own = "name: mine\ntitle: M\nextends: loihi2\ndead_cores: [126]\nchip:\n"
    known = "unit: cores, evidence: assumed, note: a test}\n"
    file = here / "mine.yaml"
    file.write_text(f"{own}  reserved_cores: {{value: [3], {known}  usable_cores: {{value: 120, {known}")
    code, out, err = cli("profile", "check", "mine.yaml")
    assert (code, err) == (0, "")
    assert "good cores beyond usable_cores, never used: 121-125, 127 of each chip\n" in out
    file.write_text(f"{own}  usable_cores: {{value: null, {known}")
    code, out, err = cli("profile", "check", "mine.yaml")
    assert (code, err) == (0, "")
    assert "beyond usable_cores" not in out
