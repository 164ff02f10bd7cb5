"""The JSON Schema takes what the reader takes and refuses what it refuses; each key is explained; the template needs only its marks filled."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from neurofault.deploy.profile import HardwareProfile, bundled_profiles, load_profile
from neurofault.deploy.profile_file import profile_path, read_profile_file
from neurofault.deploy.profile_schema import FILL, profile_schema, template
from neurofault.errors import SpecError

SCHEMA = profile_schema()
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list, "object": dict}


def holds(schema, value) -> bool:
    """JSON Schema 2020-12, as much of it as is used."""
    if schema is True:
        return True
    if "$ref" in schema and not holds(SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]], value):
        return False
    if "type" in schema and (
        not isinstance(value, TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean")
    ):
        return False
    checks = [
        "const" not in schema or value == schema["const"],
        "enum" not in schema or value in schema["enum"],
        "anyOf" not in schema or any(holds(one, value) for one in schema["anyOf"]),
        "oneOf" not in schema or sum(holds(one, value) for one in schema["oneOf"]) == 1,
        not isinstance(value, int | float) or schema.get("minimum", value) <= value <= schema.get("maximum", value),
        not isinstance(value, list) or len(value) >= schema.get("minItems", 0),
        not isinstance(value, list) or all(holds(schema.get("items", True), one) for one in value),
    ]
    if isinstance(value, dict):
        inner, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        checks += [key in value for key in schema.get("required", [])]
        checks += [holds(inner.get(key, more), one) if inner.get(key, more) is not False else False for key, one in value.items()]
        if "if" in schema:
            checks.append(holds(schema["then"] if holds(schema["if"], value) else schema["else"], value))
    return all(checks)


@pytest.mark.parametrize("name", bundled_profiles())
def test_bundled_profiles_are_what_it_describes(name):
    text = profile_path(name).read_text(encoding="utf-8")
    data = {**yaml.safe_load(text), **json.loads(json.dumps(read_profile_file(profile_path(name)).root.value))}
    data.pop("extends", None)  # what it takes over is there
    assert holds(SCHEMA, data)
    for section, key in (("core", "nerons"), ("chip", "tiles"), ("synapse", "bits")):
        assert not holds(SCHEMA, {**data, section: {**data.get(section, {}), key: None}})
    assert not holds(SCHEMA, {**data, "arithmetic": "spinnaker"})
    assert not holds(SCHEMA, {key: value for key, value in data.items() if key != "chip"})


def test_a_file_that_extends_another_needs_only_its_name_and_title():
    mine = {"name": "mine", "title": "Mine", "extends": "loihi2"}
    assert holds(SCHEMA, mine)
    assert holds(SCHEMA, {**mine, "core": None, "energy_tables": {"davies2018": {"inherit": "assumed", "reason": "same process"}}})
    assert holds(SCHEMA, {**mine, "core": {"neurons": None}})
    assert not holds(SCHEMA, {**mine, "energy_tables": {"davies2018": {"inherit": "all"}}})
    assert not holds(SCHEMA, {key: value for key, value in mine.items() if key != "extends"})
    assert not holds(SCHEMA, {key: value for key, value in mine.items() if key != "title"})


def test_each_key_is_explained():
    """As the reader's own records have them: a key that is new there is here, with its text."""
    bare = [
        f"{name}.{key}"
        for name, one in {"": SCHEMA, **SCHEMA["$defs"]}.items()
        for key, inner in one.get("properties", {}).items()
        if len(inner.get("description", "")) < 4
    ]
    assert bare == []
    assert SCHEMA["$defs"]["Core"]["properties"]["in_axons"]["description"] == "entries of the input and output axon tables."
    assert "``" not in json.dumps(SCHEMA)
    assert ":class:" not in json.dumps(SCHEMA)


def test_every_section_is_in_the_template():
    text = template("mine")
    assert [key for key in HardwareProfile.model_fields if not re.search(rf"(?m)^#?{key}:|{key}: ", text)] == []


def test_each_event_of_a_table_of_costs_has_a_line_of_its_own_with_its_meaning():
    lines = template("mine").splitlines()
    start = lines.index("# Events, each a key under energy, under time, or under both:")
    events = {line[4:].split(" ")[0]: line for line in lines[start:] if re.match(r"#   \w+ \(", line)}
    records = [SCHEMA["$defs"][name]["properties"] for name in ("EnergyCosts", "TimeCosts")]
    assert list(events) == list(dict.fromkeys(key for record in records for key in record))
    meanings = [line.split("): ", 1)[1] for line in events.values()]
    assert len(set(meanings)) == len(meanings)
    assert (
        events["neuron_update_inactive"]
        == "#   neuron_update_inactive (energy in J, time in s): a neuron's step in which none arrives."
    )
    assert events["static_power"].startswith("#   static_power (energy in W): ")
    assert events["barrier_max"].startswith("#   barrier_max (time in s): ")


def test_a_template_is_a_profile_once_its_marks_are_filled(tmp_path):
    text = template("mine")
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError):
        load_profile(file)
    live = [line for line in text.splitlines() if FILL in line and "#" not in line]
    assert len(live) == 6
    fillings = {
        "title: FILL": "title: Mine",
        "arithmetic: FILL": "arithmetic: lava",
        "{value: FILL, unit: cores": "{value: 4, unit: cores",
        "[FILL], unit: bits": "[4], unit: bits",
        "note: FILL": "note: rev 1",
    }
    for line in live:
        [new] = {line.replace(old, to) for old, to in fillings.items() if old in line}
        text = text.replace(f"\n{line}\n", f"\n{new}\n")
    file.write_text(text, encoding="utf-8")
    profile = load_profile(file)
    assert (profile.name, profile.chip.cores.known, profile.synapse.weight_bits.known) == ("mine", 4, (4,))


def test_every_line_of_a_template_is_a_key_when_its_mark_is_taken_away(tmp_path):
    """All keys that can be known are there, at their places; what is then wrong is only what is still to fill in."""
    text = re.sub(r"(?m)^( *)#(?! )", r"\1", template("mine", "loihi2")).replace(
        "energy_tables: {FILL: {inherit: assumed, reason: FILL}}\n", ""
    )
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    root = read_profile_file(file).root
    for section in ("chip", "core", "synapse", "neuron", "learning"):
        assert set(root.value[section]) == set(type(getattr(load_profile("loihi2"), section)).model_fields)
    with pytest.raises(SpecError) as caught:
        load_profile(file)
    assert not [line for line in caught.value.mistakes if re.search(r"unknown key|\bsource\b|missing key", line)]


@pytest.mark.parametrize("name", ["1", "true", "a b", "mine"])
def test_names_stay_text(name):
    assert yaml.safe_load(template(name, "loihi2"))["name"] == name
