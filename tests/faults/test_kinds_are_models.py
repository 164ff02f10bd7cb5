"""Kinds of faults as pydantic models: what Python sees of them, where their mistakes stand, what the JSON Schema of campaigns says."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from neurofault import faults
from neurofault.errors import FaultError, SpecError
from neurofault.faults.mistakes import FaultMistakes, Mistake
from neurofault.specfile import parse_yaml
from neurofault.study.campaign.schema import json_schema
from neurofault.study.campaign.spec import load_campaign

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SCHEMA = json_schema()


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is what a schema of ours says: of JSON Schema 2020-12 the words that stand in it."""
    types = {
        "object": lambda: isinstance(value, dict),
        "array": lambda: isinstance(value, list),
        "string": lambda: isinstance(value, str),
        "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda: isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": lambda: isinstance(value, bool),
        "null": lambda: value is None,
    }
    number, sized = types["number"](), isinstance(value, list | dict)
    words = {
        "$ref": lambda say: fits(value, SCHEMA["$defs"][say.removeprefix("#/$defs/")]),
        "type": lambda say: types[say](),
        "const": lambda say: value == say and type(value) is type(say),
        "enum": lambda say: any(value == one and type(value) is type(one) for one in say),
        "anyOf": lambda say: any(fits(value, one) for one in say),
        "oneOf": lambda say: sum(fits(value, one) for one in say) == 1,
        "not": lambda say: not fits(value, say),
        "minimum": lambda say: not number or value >= say,
        "maximum": lambda say: not number or value <= say,
        "exclusiveMinimum": lambda say: not number or value > say,
        "exclusiveMaximum": lambda say: not number or value < say,
        "pattern": lambda say: not isinstance(value, str) or re.search(say, value) is not None,
        "minLength": lambda say: not isinstance(value, str) or len(value) >= say,
        "items": lambda say: not isinstance(value, list) or all(fits(one, say) for one in value),
        "minItems": lambda say: not isinstance(value, list) or len(value) >= say,
        "maxItems": lambda say: not isinstance(value, list) or len(value) <= say,
        "minProperties": lambda say: not sized or len(value) >= say,
        "maxProperties": lambda say: not sized or len(value) <= say,
        "required": lambda say: not isinstance(value, dict) or set(say) <= set(value),
        "properties": lambda say: not isinstance(value, dict) or all(fits(value[key], say[key]) for key in set(say) & set(value)),
        "additionalProperties": lambda say: (
            not isinstance(value, dict) or bool(say) or set(value) <= set(schema.get("properties", {}))
        ),
    }
    silent = {"title", "description", "default", "unit", "discriminator", "$schema", "$defs"}
    assert set(schema) <= {*words, *silent}, set(schema) - {*words, *silent}
    return all(words[word](say) for word, say in schema.items() if word in words)


def fault(spec: dict[str, Any]) -> bool:
    return fits(spec, {"$ref": "#/$defs/Fault"})


SAMPLES = {
    "neurons": [1, "3-5"], "cores": [3], "errors": [0], "pixels": [4], "synapses": [[0, 1], [2, 1]], "words": [[0, 1]], "headers": [[1, 2]], "axons": [[1, 2]],
    "synapse_bits": [[0, 1, 2]], "type_bits": [[1, 5, 0]], "table_bits": [[0, 3, 8]], "lines": [[1, 5]], "line": "column", "links": ["0,0:E"], "routers": ["1,2"], "chips": [1], "boards": [1], "memories": ["0-2"], "count": 2, "rate": 1, "where": "clustered", "layer": "hidden1", "connection": "hidden1.rec",
    "at": {"all_of": ["core:0-3", "tile:0"]}, "when": {"kind": "once", "at": 4, "clock": "chip"}, "again": "never", "spike_rate": 1, "factor": 2, "offset": -4, "bit": 3,
    "decay": "du", "state": "u", "value": 1, "sigma": 3, "each": "step", "relative": False, "to": "lowest", "bits": "0,3", "level": 1, "effect": "shifted",
    "direction": "one", "reroute": True, "probability": 1, "on_core_death": "silent", "trace": "y3", "stuck": "off",
}  # fmt: skip


def specs(kind: str) -> list[dict[str, Any]]:
    """Every field of a kind, each in a mapping that is right."""
    model = faults.KINDS[kind]
    base = dict(faults.describe(kind).example)
    ways = ("count", "rate", model.list_field)
    bare = {name: value for name, value in base.items() if name not in ways}
    found = []
    for name in model.model_fields:
        spec = {**(bare if name in ways else base), name: SAMPLES[name]}
        if name == "when" and "once" not in model.whens:
            spec["when"] = {**SAMPLES["when"], "kind": "death"}
        if name in ("factor", "offset"):
            spec.pop("bit", None)
        found.append(spec)
    return found


@pytest.mark.parametrize("kind", faults.KINDS)
def test_every_field_of_every_kind_is_in_the_schema_and_comes_back(kind):
    model = faults.KINDS[kind]
    assert issubclass(model, BaseModel)
    shown = SCHEMA["$defs"][model.__name__]["properties"]
    assert list(shown) == ["kind", *model.model_fields]
    for spec in specs(kind):
        made = faults.fault_from_mapping(spec)
        assert fault(spec)
        back = faults.fault_to_mapping(made)
        assert faults.fault_from_mapping(back) == made
        assert fault(json.loads(json.dumps(back)))
        own = set(back) - {"kind", "when", model.list_field}
        assert {name: back[name] for name in own} == {name: spec[name] for name in own}


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_fault_is_a_value(kind):
    for spec in specs(kind):
        made, again = faults.fault_from_mapping(spec), faults.fault_from_mapping(spec)
        assert made == again
        for other in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made), made.replace()):
            assert other == made
            assert type(other) is type(made)
        if "at" not in spec:  # a mapping has no hash
            assert hash(made) == hash(again)
        assert repr(made) == str(made)
        assert repr(made).startswith(f"{type(made).__name__}(count=")


def test_whole_numbers_stay_whole():
    """A trial's identity is made of what a fault's mapping says: 1 and 1.0 are not one text."""
    for rate in (0, 1, 1.0, 0.5, np.float64(0.25)):
        made = faults.NeuronStuck(rate=rate, spike_rate=rate)
        assert json.dumps(faults.fault_to_mapping(made)["rate"]) == json.dumps(rate)
    assert faults.NeuronDead(neurons=np.array([3, 1])).neurons == (1, 3)
    assert json.dumps(faults.fault_to_mapping(faults.SynapseDead(synapses=np.array([[3, 1]])))["synapses"]) == "[[3, 1]]"


def test_other_values_are_checked_too():
    one = faults.CoreDead(count=1, layer="any")
    assert one.replace(count=None, cores=[3, 2]) == faults.CoreDead(cores=(2, 3), layer="any")
    with pytest.raises(FaultError, match="core_dead: say how many in one way: count, rate or cores; not count and rate"):
        one.replace(rate=0.1)


def test_python_says_every_mistake_at_once_with_its_place():
    with pytest.raises(FaultMistakes) as caught:
        faults.CoreDead(cuont=3, where="clusterd", when={"kind": "once", "att": 3})
    allowed = "count, rate, where, layer, at, when, again, cores"
    steps = "kind, start, stop, on, off, period, at, shape, clock"
    ways = "random or clustered or least_important or most_important"
    mistakes = [
        Mistake(f"core_dead: unknown key 'cuont' (did you mean 'count'?); allowed: {allowed}", ("cuont",), at_key=True),
        Mistake(f"core_dead: where must be {ways}, is 'clusterd' (did you mean 'clustered'?)", ("where",)),
        Mistake(f"core_dead: when: unknown key 'att' (did you mean 'at'?); allowed: {steps}", ("when", "att"), at_key=True),
        Mistake("core_dead: when: once needs at", ("when", "kind")),
        Mistake("core_dead: say how many in one way: count, rate or cores; none is given"),
    ]
    assert list(caught.value.mistakes) == mistakes
    assert str(caught.value) == "\n".join(mistake.text for mistake in mistakes)
    assert pickle.loads(pickle.dumps(caught.value)).mistakes == caught.value.mistakes


def test_what_is_no_mapping_is_no_fault_either():
    with pytest.raises(FaultError, match="core_dead: must be a mapping, is 3"):
        faults.CoreDead.model_validate(3)


CAMPAIGN = """name: x
network: {zoo: digits-mlp}
faults:
  - kind: core_dead
    cuont: 3
    when: {kind: transient, start: 5, stpo: 7}
  - all:
      - {kind: synapse_dead, count: 1, layer: hidden, connection: hidden1}
      - {kind: neuron_leak, rate: 0.1, decay: dx, factor: 2.0, bit: 1}
  - {kind: synapse_bit_flip, rate: {environment: sea_levle, days: 3}}
  - {kind: core_dead, count: {sweep: [1, -2]}, when: {kind: once, at: soon}}
"""


def test_a_campaign_says_where_each_mistake_of_a_fault_stands(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN)
    with pytest.raises(SpecError) as caught:
        load_campaign(path)
    found = [mistake.removeprefix(f"{path}:").partition(";")[0] for mistake in caught.value.mistakes]
    assert found == [
        "4:5: faults[0]: core_dead: say how many in one way: count, rate or cores",
        "5:5: faults[0]: core_dead: unknown key 'cuont' (did you mean 'count'?)",
        "6:18: faults[0]: core_dead: when: transient needs stop",
        "6:39: faults[0]: core_dead: when: unknown key 'stpo' (did you mean 'stop'?)",
        "8:47: faults[1].all[0]: synapse_dead: give layer or connection, not both",
        "9:47: faults[1].all[1]: neuron_leak: decay must be du or dv, is 'dx'",
        "9:69: faults[1].all[1]: neuron_leak: give bit, or factor and offset, not both",
        "10:50: faults[2]: synapse_bit_flip: rate: no environment 'sea_levle' (did you mean 'sea_level'?)",
        "11:42: faults[3]: core_dead: count must be at least 0, is -2",
        "11:71: faults[3]: core_dead: when: at must be a whole number of steps, is 'soon'",
    ]


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXPERIMENTS)))
def test_the_schema_takes_the_campaigns_that_are_shipped(path):
    document, _ = parse_yaml(path.read_bytes(), str(path))
    assert fits(document, SCHEMA)


RIGHT = [
    {"kind": "core_dead", "count": {"sweep": [1, 2]}},
    {"kind": {"sweep": ["core_dead", "neuron_dead"]}, "count": 1},
    {"sweep": [{"kind": "core_dead", "count": 1}, {"kind": "neuron_dead", "rate": 0.1}]},
    {"kind": "core_dead", "count": 1, "when": {"kind": "transient", "start": {"sweep": [1, 2]}, "stop": 9}},
    {"kind": "synapse_bit_flip", "rate": {"environment": "low_earth_orbit", "days": {"sweep": [3, 30]}}},
    {"kind": "synapse_dead", "count": 1, "connection": "hidden1.rec"},
    {"kind": "core_dead", "cores": [1, "2-3"], "when": "permanent"},
    {"all": [{"kind": "core_dead", "count": 1}, {"kind": "link_dead", "count": 1, "reroute": True}]},
]
WRONG = [
    {"kind": "core_dead", "cuont": 1},
    {"kind": "core_ded", "count": 1},
    {"kind": "core_dead"},
    {"kind": "core_dead", "count": 1, "rate": 0.5},
    {"kind": "core_dead", "count": -1},
    {"kind": "core_dead", "count": 1, "connection": "hidden1"},
    {"kind": "core_dead", "rate": {"environment": "low_earth_orbit", "days": 3}},
    {"kind": "core_dead", "cores": ["a"]},
    {"kind": "core_dead", "count": 1, "when": {"kind": "once", "start": 3}},
    {"kind": "neuron_leak", "count": 1, "decay": "dx"},
    {"kind": "neuron_stuck", "count": 1, "spike_rate": 1.5},
    {"kind": "synapse_dead", "synapses": [[1, 2, 3]]},
    {"all": []},
    {"all": [{"kind": "core_ded", "count": 1}]},
]


@pytest.mark.parametrize("plan", [*RIGHT, *WRONG], ids=str)
def test_the_schema_and_the_checks_agree(tmp_path, plan):
    document = {"name": "x", "network": {"zoo": "digits-mlp"}, "faults": [plan]}
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(document))
    assert fits(document, SCHEMA) == (plan in RIGHT)
    if plan in RIGHT:
        assert load_campaign(path).n_cells >= 1
    else:
        with pytest.raises(SpecError):
            load_campaign(path)
