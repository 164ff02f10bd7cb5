"""Values of faults that are none: one line that says what and what is allowed, from every way in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_every_kind import CHIPS

from neurofault import faults
from neurofault.errors import FaultError, NeurofaultError, SpecError
from neurofault.faults.plan import models_of
from neurofault.specfile import parse_yaml
from neurofault.study.campaign.spec import load_campaign

BEYOND = 10**30

WORDS = {
    f"{{kind: core_dead, count: {BEYOND}}}": "core_dead: count must lie within ±2,147,483,647, is a number beyond 64 bits",
    "{kind: core_dead, count: 4294967296}": "core_dead: count must lie within ±2,147,483,647, is 4294967296",
    "{kind: core_dead, count: .inf}": "core_dead: count must be a whole number, is inf",
    "{kind: core_dead, count: true}": "core_dead: count must be a whole number, is True",
    "{kind: core_dead, count: ²}": "core_dead: count must be a whole number, is '²'",
    "{kind: core_dead, count: {a: 1}}": "core_dead: count must be a whole number, is {'a': 1}",
    "{kind: core_dead, rate: .nan}": "core_dead: rate must lie in [0, 1], is nan",
    f"{{kind: core_dead, rate: {BEYOND}}}": "core_dead: rate must lie in [0, 1], is a number beyond 64 bits",
    "{kind: neuron_threshold, count: 1, factor: .inf}": "neuron_threshold: factor must be a finite number within 64 bits, is inf",
    "{kind: neuron_threshold, count: 1, factor: .nan}": "neuron_threshold: factor must be at least 0, is nan",
    f"{{kind: neuron_threshold, count: 1, offset: -{BEYOND}}}": "neuron_threshold: offset must lie within ±2,147,483,647, is a number beyond 64 bits",
    f"{{kind: sensor_noisy, count: 1, sigma: {BEYOND}}}": "sensor_noisy: sigma must be a finite number within 64 bits, is a number beyond 64 bits",
    "{kind: core_dead, count: 1, where: {a: 1}}": "core_dead: where must be random or clustered or least_important or most_important, is {'a': 1}",
    "{kind: core_dead, count: 1, layer: [hidden]}": "core_dead: layer must be a name, is ['hidden']",
    "{kind: core_dead, count: 1, when: 3}": "core_dead: when: must be a mapping such as {kind: transient, start: 3, stop: 8}, is 3",
    "{kind: core_dead, count: 1, when: {kind: [a]}}": "core_dead: when: unknown kind ['a']",
    "{kind: core_dead, count: 1, when: {kind: {a: 1}}}": "core_dead: when: unknown kind {'a': 1}",
    f"{{kind: core_dead, count: 1, when: {{kind: once, at: {BEYOND}}}}}": "core_dead: when: at must be at most 1,099,511,627,776 steps",
    "{kind: core_dead, count: 1, when: {kind: once, at: .inf}}": "core_dead: when: at must be a whole number of steps, is inf",
    "{kind: core_dead, count: 1, when: {kind: ageing, start: 0, stop: 4, shape: .inf}}": "core_dead: when: shape must be above 0 and at most 1000, is inf",
    "{kind: core_dead, count: 1, when: {kind: ageing, start: 0, stop: 4, shape: .nan}}": "core_dead: when: shape must be above 0 and at most 1000, is nan",
    "{kind: core_dead, cores: ['²']}": "core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is ['²']",
    "{kind: core_dead, cores: ['٣']}": "core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is ['٣']",
    "{kind: core_dead, cores: ['0-99999999999']}": "core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is ['0-99999999999']",
    "{kind: core_dead, cores: ['7-4']}": "core_dead: cores: '7-4' hits nothing: the lower end comes first (did you mean '4-7'?)",
    f"{{kind: core_dead, cores: [{BEYOND}]}}": f"core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is [{BEYOND}]",
    "{kind: core_dead, cores: [.inf]}": "core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is [inf]",
    "{kind: core_dead, cores: {a: 1}}": "core_dead: cores must be a list of whole numbers or ranges such as \"4-7\", is {'a': 1}",
    f"{{kind: synapse_dead, synapses: [[0, {BEYOND}]]}}": f"synapse_dead: synapses must be a list of lists of 2 whole numbers, is ((0, {BEYOND}),)",
    "{kind: synapse_dead, synapses: [{a: 1, b: 2}]}": "synapse_dead: synapses must be a list of lists of 2 whole numbers, is (('a', 'b'),)",
    "{kind: synapse_bit_flip, count: 1, bits: '²'}": "synapse_bit_flip: bits must be any, msb, lsb or numbers such as \"0,3\", is '²'",
    "{kind: synapse_bit_flip, rate: {environment: [a], days: 3}}": "synapse_bit_flip: rate: environment must be a name, is ['a']",
    f"{{kind: synapse_bit_flip, rate: {{environment: sea_level, days: {BEYOND}}}}}": "synapse_bit_flip: rate: days must be at most 1e12, is a number beyond 64 bits",
    "{kind: synapse_bit_flip, rate: {environment: sea_level, days: .inf}}": "synapse_bit_flip: rate: days must be at most 1e12, is inf",
    "{kind: synapse_bit_flip, rate: {environment: sea_level, days: .nan}}": "synapse_bit_flip: rate: days must be at most 1e12, is nan",
    "{kind: [core_dead]}": "unknown kind ['core_dead']",
    "{kind: {a: 1}}": "unknown kind {'a': 1}",
}  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_a_word_that_says_no_fault_is_one_line(cli, word):
    code, out, err = cli("inject", "--fault", word)
    assert (code, out) == (2, "")
    assert err.startswith(f"neurofault: {WORDS[word]}")
    assert err.count("\n") == 1


PLACES = {
    "core:²": "is not a place", "core:٣": "is not a place", f"core:{BEYOND}": "is not a place", "word:0-99999999999999999999": "is not a place", "core:": "is not a place",
}  # fmt: skip


@pytest.mark.parametrize("at", PLACES)
def test_a_place_that_is_none(at):
    with pytest.raises(FaultError, match=PLACES[at]):
        faults.plan(CHIPS["dense"], {"kind": "core_dead", "count": 1, "at": at})


@pytest.mark.parametrize("layer", ["hidden٣", "hidden" + "9" * 5000])
def test_a_layer_that_is_none(layer):
    with pytest.raises(FaultError, match="no layer 'hidden") as caught:
        faults.plan(CHIPS["dense"], {"kind": "core_dead", "count": 1, "layer": layer})
    assert len(str(caught.value)) <= 2100


@pytest.mark.parametrize("name", ["²,0", "٣,0", "0,1_0", "9" * 40 + ",0"])
def test_a_router_that_is_none(name):
    with pytest.raises(FaultError, match="no router"):
        faults.plan(CHIPS["dense"], {"kind": "router_dead", "routers": [name]})


@pytest.mark.parametrize("spec", [3, "core_dead", {"all": 3}, {"all": [3]}, {"all": {"kind": "core_dead"}}, [["kind"]]])
def test_what_is_no_mapping_is_no_fault(spec):
    with pytest.raises(FaultError, match=r"a fault must be a mapping|all must be a list of faults"):
        models_of([spec] if not isinstance(spec, list) else spec)


def test_ids_of_numpy_are_ids():
    assert faults.NeuronDead(neurons=np.array([3, 1])).neurons == (1, 3)


CAMPAIGN = "name: x\nnetwork: {zoo: digits-mlp}\nfaults:\n  - {kind: core_dead, count: %s}\nrepeats: {draws: %s}\n"


@pytest.mark.parametrize(
    ("count", "draws", "message"),
    [
        (BEYOND, 3, f":4:30: {BEYOND} is too large for a 64-bit number"),
        (1, 2**64, f":5:18: {2**64} is too large for a 64-bit number"),
        (1, "1e400", ":5:18: 1e400 is too large for a 64-bit number"),
        (1, "²", ":5:18: repeats.draws: expected a whole number, found text '²'"),
        (1, "true", ":5:18: repeats.draws: expected a whole number, found true"),
        (".inf", 3, ":4:30: faults[0]: core_dead: count must be a whole number, is inf"),
    ],
)
def test_a_campaign_says_where_its_number_is_none(tmp_path, count, draws, message):
    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN % (count, draws))
    with pytest.raises(SpecError) as caught:
        load_campaign(path)
    assert caught.value.mistakes == (f"{path}{message}",)


@pytest.mark.parametrize("value", [BEYOND, "1e400", ".nan", "²", "9" * 50])
def test_a_setting_says_that_its_number_is_none(tmp_path, value):
    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN % (1, 3))
    with pytest.raises(SpecError) as caught:
        load_campaign(path, [f"limits.seconds={value}"])
    assert str(caught.value).startswith(f"--set limits.seconds={value}:")
    assert "\n" not in str(caught.value)


def test_a_long_setting_is_cut_in_the_message(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CAMPAIGN % (1, 3))
    with pytest.raises(SpecError) as caught:
        load_campaign(path, ["limits.seconds=" + "x" * 50_000])
    assert len(str(caught.value)) < 2100


def test_a_document_of_another_encoding_is_said():
    with pytest.raises(SpecError, match="byte 0xff is not UTF-8 text"):
        parse_yaml("a: 1\n".encode("utf-16"))
    assert parse_yaml("\ufeffa: 1\n".encode())[0] == {"a": 1}


def spoiled(path, change):
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    data = json.loads(arrays["plan"].tobytes())
    change(data, arrays)
    np.savez(path, **(arrays | {"plan": np.frombuffer(json.dumps(data).encode(), np.uint8)}))


def edit_of(data, kind):
    return next(edit for fault in data["faults"] for edit in fault["edits"] if edit["edit"] == kind)


PLANS = {
    "neurons of another type": (lambda data, arrays: arrays.update(array_0=arrays["array_0"].astype(float)), r"neurons must be a one-dimensional array of int64, is an array of float64 of shape \(3,\)"),
    "neurons in two dimensions": (lambda data, arrays: arrays.update(array_0=arrays["array_0"][None]), r"neurons must be a one-dimensional array of int64, is an array of int64 of shape \(1, 3\)"),
    "neurons that are no numbers from 0": (lambda data, arrays: arrays.update(array_0=-1 - arrays["array_0"]), "neurons must be numbers from 0, not -"),
    "neurons twice": (lambda data, arrays: arrays.update(array_0=np.repeat(arrays["array_0"], 2)), "neurons are not sorted, or one stands there twice"),
    "a population that is a number": (lambda data, arrays: edit_of(data, "Silence").update(population=1), r"Silence: population must be text, is 1 \(int\)"),
    "a population that is true": (lambda data, arrays: edit_of(data, "Silence").update(population=True), r"Silence: population must be text, is True \(bool\)"),
    "a connection that is a number": (lambda data, arrays: edit_of(data, "SetSynapses").update(connection=1), r"SetSynapses: connection must be text, is 1 \(int\)"),
    "a layer as well": (lambda data, arrays: edit_of(data, "Silence").update(layer=1), "Silence has no layer"),
    "synapses of two lengths": (lambda data, arrays: arrays.update({edit_of(data, "SetSynapses")["values"]["array"]: np.zeros(1, np.int32)}), "SetSynapses: values must be as many as sources, 3, not 1"),
    "a time that ends before it begins": (lambda data, arrays: edit_of(data, "Silence").update(when={"when": {"start": 3, "stop": 1}}), "stop 1 does not come after start 3"),
    "a time of nothing": (lambda data, arrays: edit_of(data, "Silence").update(when={"when": {"period": 0}}), "1 active steps of a cycle of 0"),
    "an unknown edit": (lambda data, arrays: edit_of(data, "Silence").update(edit="Explode"), "KeyError: 'Explode'"),
    "an unknown field": (lambda data, arrays: edit_of(data, "Silence").update(colour=1), "Silence has no colour"),
    "an echo of another fault": (lambda data, arrays: data["faults"][0]["hit"].update(kind="link_dead"), "its echo is that of another fault"),
    "a seed beyond 64 bits": (lambda data, arrays: data.update(seed=BEYOND), "is no whole number of 64 bits"),
    "faults that are no list": (lambda data, arrays: data.update(faults=3), "TypeError"),
    "another format": (lambda data, arrays: data.update(format=[9]), r"format \[9\] of a plan is not known"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_file_that_says_what_cannot_be(tmp_path, case):
    path = tmp_path / "plan.npz"
    words = [{"kind": "neuron_dead", "count": 3}, {"kind": "synapse_dead", "count": 3}]
    faults.save_plan(faults.plan(CHIPS["dense"], words), path)
    faults.load_plan(path)
    change, message = PLANS[case]
    spoiled(path, change)
    with pytest.raises(NeurofaultError, match=message):
        faults.load_plan(path)
