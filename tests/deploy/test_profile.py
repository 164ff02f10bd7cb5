"""Hardware profiles: every number has a source, mistakes are told apart, the bundled files say what the reference says."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from neurofault.deploy.profile import HardwareProfile, Quantity, bundled_profiles, load_profile
from neurofault.errors import SpecError, UsageError

KEYS = "keys: intel2021, halapoint2024, open_neuromorphic, davies2018, frady2020, sanafe, nengo_loihi, lava, wikichip"


@pytest.fixture(scope="module")
def loihi2_text() -> str:
    file = Path(__file__).parents[2] / "hardware_profiles" / "loihi2.yaml"
    return file.read_text(encoding="utf-8")


def edited(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def place(text: str, needle: str) -> str:
    """Return ``line:column`` of the only occurrence of ``needle``."""
    assert text.count(needle) == 1, needle
    before = text[: text.index(needle)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def refused(folder: Path, text: str) -> list[str]:
    """Load a profile that is wrong; return its mistakes without the file's folder."""
    file = folder / "p.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_profile(file)
    return [line.removeprefix(f"{folder}/") for line in caught.value.mistakes]


def quantities(record: BaseModel) -> list[Quantity]:
    found = []
    for _, value in record:
        for inner in value.values() if isinstance(value, dict) else [value]:
            if isinstance(inner, Quantity):
                found.append(inner)
            elif isinstance(inner, BaseModel):
                found += quantities(inner)
    return found


def test_both_loihis_are_bundled():
    assert {"loihi1", "loihi2"} <= set(bundled_profiles())


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_a_bundled_profile_is_found_by_its_name_with_and_without_suffix(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile == load_profile(f"{name}.yaml")


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_every_number_names_its_source_and_every_source_is_used(name):
    profile = load_profile(name)
    used = set(profile.learning.source)
    numbers = quantities(profile)
    assert len(numbers) > 70
    for number in numbers:
        assert set(number.source) <= set(profile.sources)
        assert number.source if number.value is not None else number.source or number.note
        used |= set(number.source)
    assert used == set(profile.sources)


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_a_profile_survives_being_written_and_read(name):
    profile = load_profile(name)
    assert HardwareProfile.model_validate_json(profile.model_dump_json()) == profile


def test_loihi1_has_the_published_limits():
    profile = load_profile("loihi1")
    assert (profile.chip.cores.known, profile.chip.usable_cores.known, profile.chip.max_chips.known) == (128, 128, 16384)
    assert (profile.chip.tile_columns.known, profile.chip.tile_rows.known, profile.chip.cores_per_tile.known) == (8, 4, 4)
    assert (profile.core.neurons.known, profile.core.in_axons.known, profile.core.out_axons.known) == (1024, 4096, 4096)
    assert profile.core.synapse_bits.known == 128 * 1024 * 8
    assert profile.synapse.weight_bits.known == (1, 2, 3, 4, 5, 6, 8)
    assert (profile.synapse.weight_exponent_min.known, profile.synapse.weight_exponent_max.known) == (-8, 7)
    assert (profile.neuron.threshold_max.known, profile.neuron.decay_max.known) == (2**17 - 1, 4095)
    assert (profile.learning.third_factor, profile.learning.epoch_max.known) == ("reward", 63)


def test_loihi2_has_what_lava_gives_and_leaves_the_unpublished_open():
    profile = load_profile("loihi2")
    assert (profile.chip.cores.known, profile.chip.usable_cores.known, profile.core.neurons.known) == (128, 120, 8192)
    assert profile.learning.third_factor == "graded"
    assert profile.core.in_axons.value is None
    with pytest.raises(UsageError, match=r"^the profile leaves this number unknown: not published; not checked$"):
        _ = profile.core.in_axons.known


def test_both_published_energy_tables_are_there_and_the_default_is_the_first():
    profile = load_profile("loihi1")
    assert list(profile.energy_tables) == ["davies2018", "sanafe"]
    assert profile.costs is profile.energy_tables["davies2018"]
    assert profile.costs.energy.synaptic_operation.known == 23.6e-12
    assert profile.energy_tables["sanafe"].energy.synaptic_operation.known == 35.5e-12
    assert {number.evidence for number in quantities(profile.energy_tables["sanafe"].time)} == {"calibrated", "simulated"}


def test_no_cost_of_loihi2_claims_to_be_more_than_assumed():
    tables = load_profile("loihi2").energy_tables
    assert {number.evidence for table in tables.values() for number in quantities(table)} == {"assumed"}
    first = load_profile("loihi1").energy_tables
    for name, table in tables.items():
        assert [number.value for number in quantities(table)] == [number.value for number in quantities(first[name])]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "loihi3",
            "no profile 'loihi3' (did you mean 'loihi2'?): neither a file nor a bundled profile (darwin3, hala_point, kapoho_bay, loihi1, loihi2, nahuku32, odin, pohoiki_springs, reckon, speck2f, spinnaker1, spinnaker2, truenorth, xylo_audio2)",
        ),
        (
            "lohi1.yaml",
            "no profile 'lohi1.yaml' (did you mean 'loihi1'?): neither a file nor a bundled profile (darwin3, hala_point, kapoho_bay, loihi1, loihi2, nahuku32, odin, pohoiki_springs, reckon, speck2f, spinnaker1, spinnaker2, truenorth, xylo_audio2)",
        ),
        (
            "mosaic",
            "no profile 'mosaic': neither a file nor a bundled profile (darwin3, hala_point, kapoho_bay, loihi1, loihi2, nahuku32, odin, pohoiki_springs, reckon, speck2f, spinnaker1, spinnaker2, truenorth, xylo_audio2)",
        ),
        (
            "no/such/file.yaml",
            "no profile 'no/such/file.yaml': neither a file nor a bundled profile (darwin3, hala_point, kapoho_bay, loihi1, loihi2, nahuku32, odin, pohoiki_springs, reckon, speck2f, spinnaker1, spinnaker2, truenorth, xylo_audio2)",
        ),
    ],
)
def test_an_unknown_profile_is_answered_with_the_nearest_name(name, message):
    with pytest.raises(UsageError) as caught:
        load_profile(name)
    assert str(caught.value) == message


def test_a_file_that_exists_wins_over_a_bundled_name(tmp_path, monkeypatch, loihi2_text):
    (tmp_path / "loihi2").write_text(edited(loihi2_text, ("title: Intel Loihi 2 (Intel 4, 2021)", "title: mine")), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_profile("loihi2").title == "mine"
    assert load_profile("loihi2.yaml").title == "Intel Loihi 2 (Intel 4, 2021)"


DELAY = "delay_max: {value: 63, unit: steps, source: lava, evidence: documented}"


def test_a_number_without_a_source_is_refused(tmp_path, loihi2_text):
    text = edited(loihi2_text, (DELAY, DELAY.replace("source: lava, ", "")))
    where = place(text, "{value: 63, unit: steps, evidence: documented}")
    assert refused(tmp_path, text) == [
        f"p.yaml:{where}: synapse.delay_max: the value 63 has no source (add source: KEY, a key of sources; "
        "or evidence: assumed and a note that says why)"
    ]


def test_a_bare_number_is_refused(tmp_path, loihi2_text):
    text = edited(loihi2_text, (DELAY, "delay_max: 63"))
    where = place(text, "63\n  delay_bits")
    assert refused(tmp_path, text) == [
        f"p.yaml:{where}: synapse.delay_max: 63 has no source (write {{value: 63, unit: steps, source: …, evidence: …}})"
    ]


def test_an_unknown_number_must_say_why(tmp_path, loihi2_text):
    old = "out_axons: {value: null, unit: axons, source: intel2021, evidence: documented, note: not published; not checked}"
    text = edited(loihi2_text, (old, "out_axons: {value: null, unit: axons, evidence: documented}"))
    where = place(text, "{value: null, unit: axons, evidence: documented}")
    assert refused(tmp_path, text) == [
        f"p.yaml:{where}: core.out_axons: a null value needs a source or a note that says why it is not known; or write null alone"
    ]


def test_what_placement_needs_may_not_be_unknown(tmp_path, loihi2_text):
    old = "cores: {value: 128, unit: cores, source: [intel2021, open_neuromorphic], evidence: documented}"
    text = edited(loihi2_text, (old, "cores: {value: null, unit: cores, source: intel2021, evidence: documented}"))
    where = place(text, "{value: null, unit: cores")
    assert refused(tmp_path, text) == [f"p.yaml:{where}: chip.cores: must be known: nothing can be placed without it"]


def test_every_mistake_of_a_profile_is_reported_at_once(tmp_path, loihi2_text):
    text = edited(
        loihi2_text,
        ("arithmetic: loihi\n", "arithmetic: spinnaker\n"),
        ("  tile_rows: {value: 4, unit: tiles, source: sanafe", "  tile_row: {value: 4, unit: tiles, source: sanafe"),
        ("value: 8192\n    unit: neurons\n    source: intel2021", 'value: "8192"\n    unit: cells\n    source: intel2022'),
        ("value: [1, 2, 3, 4, 5, 6, 7, 8]", "value: [1, 9]"),
        ("available: true", "available: yes"),
        ("default_energy: davies2018", "default_energy: davis2018"),
        ("synaptic_operation: {value: 23.6e-12, unit: J", "synaptic_operation: {value: 23.6e-12, unit: pW"),
        ("dead_cores: []", "dead_cores: [5, 12-15, x]"),
    )
    assert refused(tmp_path, text) == [
        f"p.yaml:{place(text, 'spinnaker')}: arithmetic: text 'spinnaker' is not allowed; allowed: loihi, lava",
        f"p.yaml:{place(text, 'tile_row:')}: unknown key 'tile_row' in chip (did you mean 'tile_rows'?); "
        "allowed: cores, usable_cores, tile_columns, tile_rows, cores_per_tile, max_chips, reserved_cores",
        f"p.yaml:{place(text, chr(34) + '8192')}: core.neurons.value: expected a whole number, found text '8192'",
        f"p.yaml:{place(text, 'cells')}: core.neurons.unit: text 'cells' is not allowed; allowed: neurons",
        f"p.yaml:{place(text, 'intel2022')}: core.neurons.source: 'intel2022' is not a key of sources "
        f"(did you mean 'intel2021'?); {KEYS}",
        f"p.yaml:{place(text, '9]')}: synapse.weight_bits.value[1]: must be at most 8, is 9",
        f"p.yaml:{place(text, 'yes' + chr(10))}: learning.available: expected true or false, found text 'yes'",
        f"p.yaml:{place(text, 'davis2018')}: default_energy: 'davis2018' is not one of energy_tables (did you mean 'davies2018'?); "
        "tables: davies2018, sanafe",
        f"p.yaml:{place(text, 'pW,')}: energy_tables.davies2018.energy.synaptic_operation.unit: text 'pW' is not allowed; "
        "allowed: J",
        f"p.yaml:{place(text, 'x]')}: dead_cores[2]: 'x' is not a core; write an id such as 5 or a range such as 12-15",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    value: 120\n", "    value: 129\n", "usable_cores 129 is more than cores 128"),
        (
            "tile_columns: {value: 8",
            "tile_columns: {value: 7",
            "128 cores do not fit on a mesh of 112 places (tile_columns · tile_rows · cores_per_tile)",
        ),
    ],
)
def test_a_chip_must_fit_together(tmp_path, loihi2_text, old, new, message):
    text = edited(loihi2_text, (old, new))
    assert refused(tmp_path, text) == [f"p.yaml:{place(text, 'cores: {value: 128')}: chip: {message}"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("weight_exponent_min: {value: -8", "weight_exponent_min: {value: 9", "weight_bits:", "synapse: weight_exponent_min 9 is more than weight_exponent_max 7"),
        ("weight_exponent_min: {value: -8", "weight_exponent_min: {value: -2147483648", "-2147483648", "synapse.weight_exponent_min.value: must be at least -32, is -2147483648"),
    ],
)  # fmt: skip
def test_ranges_have_an_order_and_exponents_a_size(tmp_path, loihi2_text, old, new, line, message):
    text = edited(loihi2_text, (old, new))
    assert refused(tmp_path, text) == [f"p.yaml:{place(text, line)}: {message}"]


def test_dead_cores_are_ids_and_ranges(tmp_path, loihi2_text):
    file = tmp_path / "p.yaml"
    file.write_text(edited(loihi2_text, ("dead_cores: []", 'dead_cores: [130, 12-15, "3", 13]')), encoding="utf-8")
    assert load_profile(file).dead_core_ids == (3, 12, 13, 14, 15, 130)


def test_dead_cores_must_exist(tmp_path, loihi2_text):
    text = edited(loihi2_text, ("dead_cores: []", "dead_cores: [2097152, 7-3, -2, [1]]"))
    line = place(text, "dead_cores").split(":")[0]
    assert refused(tmp_path, text) == [
        f"p.yaml:{line}:14: dead_cores[0]: core 2097152 does not exist; ids go from 0 to 2097151",
        f"p.yaml:{line}:23: dead_cores[1]: '7-3' is no range: the lower end comes first (did you mean '3-7'?)",
        f"p.yaml:{line}:28: dead_cores[2]: must be at least 0, is -2",
        f"p.yaml:{line}:32: dead_cores[3]: expected a whole number or text, found a list",
    ]


UNFOUNDED = (
    ("{value: 63, unit: steps}", "the value 63 has no source and no evidence (add source: KEY, a key of sources, and evidence: documented; "
     "or evidence: assumed and a note that says why)"),
    ("{value: 63, unit: steps, source: lava}", "the value 63 says no evidence (add evidence: one of measured, calibrated, simulated, "
     "documented, assumed)"),
    ("{value: 63, unit: steps, evidence: assumed}", "the value 63 is assumed and does not say why (add a note)"),
    ("{value: 63, unit: steps, source: lava, evidence: assumed}", "the value 63 is assumed and does not say why (add a note)"),
)  # fmt: skip


@pytest.mark.parametrize(("number", "message"), UNFOUNDED)
def test_how_a_number_is_known_is_asked_for_in_one_message(tmp_path, loihi2_text, number, message):
    text = edited(loihi2_text, (DELAY, f"delay_max: {number}"))
    assert refused(tmp_path, text) == [f"p.yaml:{place(text, number)}: synapse.delay_max: {message}"]


def test_what_is_assumed_needs_a_reason_and_no_source(tmp_path, loihi2_text):
    file = tmp_path / "p.yaml"
    file.write_text(
        edited(loihi2_text, (DELAY, "delay_max: {value: 63, unit: steps, evidence: assumed, note: 6 bits}")), encoding="utf-8"
    )
    delay = load_profile(file).synapse.delay_max
    assert (delay.known, delay.evidence, delay.source, delay.note) == (63, "assumed", (), "6 bits")


def test_a_source_that_is_not_on_the_web_says_where_it_is_found(tmp_path, loihi2_text):
    old = "    url: https://en.wikichip.org/wiki/intel/loihi_2\n    year: 2021\n    note: Read as quoted by later sources.\n"
    file = tmp_path / "p.yaml"
    file.write_text(edited(loihi2_text, (old, "    note: data sheet, revision 3, under NDA\n")), encoding="utf-8")
    assert load_profile(file).sources["wikichip"].note == "data sheet, revision 3, under NDA"
    text = edited(loihi2_text, (old, ""))
    assert refused(tmp_path, text) == [
        f"p.yaml:{place(text, 'title: WikiChip')}: sources.wikichip: needs a url or a doi, or a note that says where a reader finds it "
        "(document number, revision)"
    ]


LEAST = """\
name: bare
title: A chip of which little is known
arithmetic: loihi
sources: {sheet: {title: Data sheet, note: revision 3}}
chip: {cores: {value: 16, unit: cores, source: sheet, evidence: documented}}
synapse: {weight_bits: {value: [2, 4], unit: bits, source: sheet, evidence: documented}}
"""


def test_what_is_not_known_is_left_out_or_null(tmp_path):
    nulls = "core: {neurons: null, in_axons: null}\nneuron: null\nlearning:\nfacts: null\nenergy_tables: {}\ndefault_energy: null\n"
    for more in ("", nulls):
        file = tmp_path / "p.yaml"
        file.write_text(
            LEAST.replace(
                "source: sheet, evidence: documented}}\nsyn", "source: sheet, evidence: documented}, tile_rows: null}\nsyn"
            )
            + more
        )
        profile = load_profile(file)
        assert (profile.chip.usable, profile.chip.sides) == (16, None)
        assert (profile.core.neurons.value, profile.core.neurons.unit, profile.core.neurons.evidence) == (None, "neurons", None)
        assert (profile.learning.available, profile.costs, profile.default_energy) == (None, None, None)
        assert HardwareProfile.model_validate_json(profile.model_dump_json()) == profile
    with pytest.raises(UsageError, match=r"^the profile leaves this number unknown: it is not given$"):
        _ = profile.core.neurons.known


def test_one_core_needs_no_mesh(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(LEAST.replace("value: 16", "value: 1"))
    assert load_profile(file).chip.sides == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("learning: {available: false}\n", "{available", "learning: has no source (add source: KEY, a key of sources)"),
        (
            "learning: {available: true, source: sheet}\n",
            "{available",
            "learning: the chip learns; say its third_factor (none, reward or graded)",
        ),
        (
            "learning: {available: false, source: sheet, pre_traces: {value: 1, unit: '1', source: sheet, evidence: documented}}\n",
            "{available",
            "learning: the chip does not learn (available is false), yet pre_traces is given",
        ),
        ("learning: {third_factor: reward}\n", "{third", "learning: the chip does not learn (available is not given), yet third_factor is given"),
        ("facts: {power: null}\n", "null", "facts.power: null has no source (write {value: null, unit: …, source: …, evidence: …})"),
        ("default_energy: sheet\n", "sheet\n", "default_energy: 'sheet' is not one of energy_tables; tables: none"),
        ("energy_tables: {a: {title: A}, b: {title: B}}\n", "name: bare", "default_energy must say which of energy_tables counts: a, b"),
        ("extend: loihi1\n", "extend:", "unknown key 'extend' (did you mean 'extends'?); allowed: name, title, arithmetic, sources, chip, core, synapse, neuron, "
         "learning, energy_tables, default_energy, facts, links, board, shared_memory, dead_cores, dead_chips, dead_links, extends"),
    ],
)  # fmt: skip
def test_sections_that_contradict_themselves_are_refused(tmp_path, text, at, message):
    whole = LEAST + text
    assert refused(tmp_path, whole) == [f"p.yaml:{place(whole, at)}: {message}"]


def test_delays_that_their_bits_do_not_hold_are_refused(tmp_path, loihi2_text):
    text = edited(loihi2_text, ("delay_bits: {value: 6", "delay_bits: {value: 5"))
    assert refused(tmp_path, text) == [
        f"p.yaml:{place(text, 'weight_bits:')}: synapse: delay_max 63 is more than delay_bits 5 hold: 0 to 31"
    ]


def test_chips_that_learn_not_need_only_say_so(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(LEAST + "learning: {available: false, source: sheet}\n")
    assert load_profile(file).learning.available is False
