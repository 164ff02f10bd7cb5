"""Profiles that extend others: what is taken over and what never is, who says what, mistakes where they stand."""

from pathlib import Path

import pytest

from neurofault.deploy.profile import HardwareProfile, load_profile, load_sheet
from neurofault.deploy.profile_file import read_profile_file
from neurofault.errors import SpecError

MINE = "name: mine\ntitle: My chip\n"
LIKE = MINE + "extends: loihi2\n"
SHEET = "sources: {sheet: {title: Data sheet, note: revision 3}}\n"
COSTS = ("chip", "core", "synapse", "neuron", "learning")


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def place(text: str, needle: str) -> str:
    assert text.count(needle) == 1, needle
    before = text[: text.index(needle)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def refused(folder: Path, text: str, name: str = "mine.yaml") -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_profile(write(folder, text, name))
    return [line.replace(f"{folder}/", "") for line in caught.value.mistakes]


def test_a_file_that_says_nothing_else_has_the_limits_of_what_it_extends_and_none_of_its_costs(tmp_path):
    mine, base = load_profile(write(tmp_path, LIKE)), load_profile("loihi2")
    for section in COSTS:
        assert getattr(mine, section) == getattr(base, section)
    assert (mine.name, mine.title, mine.facts, mine.dead_cores, mine.energy_tables, mine.costs) == (
        "mine",
        "My chip",
        {},
        (),
        {},
        None,
    )


def test_it_says_who_says_what_and_takes_only_the_sources_that_it_needs(tmp_path):
    text = LIKE + SHEET + "core: {neurons: {value: 256, unit: neurons, source: sheet, evidence: documented}, synapse_bits: null}\n"
    sheet, base = load_sheet(write(tmp_path, text)), load_profile("loihi2")
    assert (sheet.profile.core.neurons.known, sheet.profile.core.synapse_bits.value) == (256, None)
    assert sheet.profile.core.in_axons == base.core.in_axons
    own = {"core.neurons", "core.synapse_bits"}
    assert {path for path, name in sheet.inherited.items() if name == "loihi2"} >= {
        "core.in_axons",
        "chip.cores",
        "learning.available",
        "arithmetic",
    }
    assert not own & set(sheet.inherited)
    assert set(sheet.profile.sources) == {"sheet", "intel2021", "open_neuromorphic", "sanafe", "nengo_loihi", "lava", "davies2018"}


def test_what_is_known_bad_is_of_one_chip_alone(tmp_path):
    bad = "dead_cores: [3]\n"
    base = load_profile(write(tmp_path, LIKE + bad, "base.yaml"))
    mine = load_profile(write(tmp_path, MINE + "extends: base.yaml\n"))
    assert (base.dead_cores, mine.dead_cores) == ((3,), ())
    assert {"dead_cores", "dead_chips", "dead_links"} == {key for key in HardwareProfile.model_fields if key.startswith("dead_")}
    for key in ("dead_chips", "dead_links"):
        document = read_profile_file(write(tmp_path, MINE.replace("mine", "c") + f"extends: base.yaml\n{key}: ['1,1']\n", "c.yaml"))
        assert key in document.root.value
        assert key not in read_profile_file(write(tmp_path, MINE + "extends: c.yaml\n", "d.yaml")).root.value


def test_it_travels_and_is_kept_whole(tmp_path):
    mine = load_profile(write(tmp_path, LIKE))
    assert HardwareProfile.model_validate_json(mine.model_dump_json()) == mine


def test_profiles_extend_profiles_that_extend_others(tmp_path):
    (tmp_path / "boards").mkdir()
    write(tmp_path, LIKE + SHEET + "core: {neurons: {value: 256, unit: neurons, source: sheet, evidence: documented}}\n")
    board = "name: board\ntitle: Four of mine\nextends: ../mine.yaml\nsources: {web: {title: W, url: x}}\nchip: {max_chips: {value: 4, unit: chips, source: web, evidence: documented}}\n"
    sheet = load_sheet(write(tmp_path / "boards", board, "board.yaml"))
    assert (sheet.profile.core.neurons.known, sheet.profile.chip.max_chips.known, sheet.profile.core.synapse_bits.known) == (
        256,
        4,
        1572864,
    )
    assert (sheet.inherited["core.neurons"], sheet.inherited["chip.cores"], "chip.max_chips" in sheet.inherited) == (
        "mine",
        "loihi2",
        False,
    )
    assert [file.name for file in sheet.files] == ["board.yaml", "mine.yaml", "loihi2.yaml"]


def test_learning_that_says_whether_there_is_any_is_written_anew(tmp_path):
    text = LIKE + SHEET + "learning: {available: false, source: sheet}\n"
    assert load_profile(write(tmp_path, text)).learning.pre_traces.value is None
    text = LIKE + SHEET + "learning: {epoch_max: {value: 9, unit: steps, source: sheet, evidence: documented}}\n"
    learning = load_profile(write(tmp_path, text)).learning
    assert (learning.available, learning.epoch_max.known, learning.pre_traces.known) == (True, 9, 2)


def test_costs_of_the_same_silicon_are_taken_over_by_name(tmp_path):
    text = (
        MINE
        + SHEET
        + "extends: loihi1\nenergy_tables:\n  davies2018:\n    inherit: unchanged\n    energy: {static_power: {value: 3.0, unit: W, source: sheet, evidence: measured}}\n"
    )
    sheet, base = load_sheet(write(tmp_path, text)), load_profile("loihi1")
    mine, theirs = sheet.profile.costs, base.costs
    assert (mine.title, mine.time, mine.energy.static_power.known) == (theirs.title, theirs.time, 3.0)
    assert mine.energy.synaptic_operation == theirs.energy.synaptic_operation
    assert sheet.inherited["energy_tables.davies2018.energy.hop_east_west"] == "loihi1"
    assert "energy_tables.davies2018.energy.static_power" not in sheet.inherited
    assert "sanafe" not in sheet.profile.energy_tables


def test_costs_of_other_silicon_are_assumed_and_say_why(tmp_path):
    text = MINE + "extends: loihi1\nenergy_tables: {davies2018: {inherit: assumed, reason: the same process}}\n"
    table = load_profile(write(tmp_path, text)).costs
    base = load_profile("loihi1").costs
    operation = table.energy.synaptic_operation
    assert (operation.known, operation.evidence) == (23.6e-12, "assumed")
    assert operation.note == f"loihi1's: the same process; {base.energy.synaptic_operation.note}"
    assert {one.evidence for _, one in (*table.energy, *table.time) if one is not None} == {"assumed"}
    assert table.title == f"{base.title} (loihi1's, assumed)"


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        (MINE + "extends: lohi2\n", "lohi2", "extends: no profile 'lohi2' (did you mean 'loihi2'?): neither a file nor a bundled profile ({bundled})"),
        (MINE + "extends: [loihi2]\n", "[", "extends: expected the name of a bundled profile or a file"),
        (MINE + "extends: mine.yaml\n", "mine.yaml", "extends: a circle: mine.yaml → mine.yaml"),
        ("extends: loihi2\nname: mine\n", "extends", "missing key 'title'"),
        (LIKE + "sources: {lava: {title: Other, url: x}}\n", "lava", "sources.lava: loihi2 has another source of this name, which numbers taken over go by; choose another key"),
        (LIKE + "energy_tables: {davis: {inherit: unchanged}}\n", "unchanged", "energy_tables.davis: no table of loihi2 (did you mean 'davies2018'?); tables: davies2018, sanafe"),
        (LIKE + "energy_tables: {davies2018: {inherit: unchangd}}\n", "unchangd", "energy_tables.davies2018.inherit: 'unchangd' is not allowed (did you mean 'unchanged'?); allowed: unchanged (the same silicon), assumed (another)"),
        (LIKE + "energy_tables: {davies2018: {inherit: assumed}}\n", "assumed", "energy_tables.davies2018: is assumed and does not say why (add reason)"),
        (LIKE + "energy_tables: {davies2018: {inherit: unchanged, reason: no}}\n", "no}", "energy_tables.davies2018: reason goes with inherit: assumed"),
        (MINE + "energy_tables: {davies2018: {inherit: unchanged}}\n", "unchanged", "energy_tables.davies2018.inherit: goes with extends: PROFILE, whose table it is"),
        (LIKE + SHEET + "chip: {cores: {value: 256, unit: cores, source: sheet, evidence: documented}}\n", "{cores", "chip: 256 cores do not fit on a mesh of 128 places (tile_columns · tile_rows · cores_per_tile)"),
        (LIKE + SHEET + "core: {nerons: {value: 256, unit: neurons, source: sheet, evidence: documented}}\n", "nerons", "unknown key 'nerons' in core (did you mean 'neurons'?); allowed: neurons, synapse_bits, in_axons, out_axons, layers, inputs, outputs"),
        (LIKE + "core: {neurons: {value: 256, unit: neurons, evidence: documented}}\n", "{value", "core.neurons: the value 256 has no source (add source: KEY, a key of sources; or evidence: assumed and a note that says why)"),
    ],
)  # fmt: skip
def test_mistakes_of_what_is_taken_over_stand_where_they_are_written(tmp_path, text, at, message):
    found = refused(tmp_path, text)
    assert [
        line.replace(", ".join(__import__("neurofault.deploy.profile_file", fromlist=["x"]).bundled_profiles()), "{bundled}")
        for line in found
    ] == [f"mine.yaml:{place(text, at)}: {message}"]


def test_a_mistake_in_the_file_that_is_extended_is_shown_there(tmp_path):
    base = (
        LIKE.replace("mine", "base") + SHEET + "core: {neurons: {value: no, unit: neurons, source: sheet, evidence: documented}}\n"
    )
    write(tmp_path, base, "base.yaml")
    assert refused(tmp_path, MINE + "extends: base.yaml\n") == [
        f"base.yaml:{place(base, 'no, unit')}: core.neurons.value: expected a whole number, found text 'no'"
    ]
    for name, other in (("a.yaml", "b.yaml"), ("b.yaml", "a.yaml")):
        write(tmp_path, MINE + f"extends: {other}\n", name)
    with pytest.raises(SpecError) as caught:
        load_profile(tmp_path / "a.yaml")
    assert caught.value.mistakes == (f"{tmp_path}/b.yaml:3:10: extends: a circle: a.yaml → b.yaml → a.yaml",)
