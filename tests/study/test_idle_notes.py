"""What did nothing is said: a draw that hit nothing, damage that begins after the last step, links that nothing crosses."""

from __future__ import annotations

import json

import numpy as np
import pytest

import neurofault as nf
from neurofault import faults
from neurofault.faults.idle import idle_notes, of_draws
from neurofault.graph import CubaLif, Dense, Encoding, Population, Source, chain
from neurofault.graph.synapses import Stored

STEPS = 8
WEIGHT = np.full((4, 6), 20, np.int32)
POPULATIONS = (
    Population("input", (6,), Source(Encoding.for_pixels(0.8, 0.5, STEPS), threshold=60, start=0)),
    Population("hidden1", (4,), CubaLif(60, 0, bias_exponent=0)),
    Population("output", (2,), CubaLif(None, 0, bias_exponent=0)),
)
NETWORK = chain("tiny", POPULATIONS, [Dense(WEIGHT), Dense(WEIGHT[:2, :4])], timesteps=STEPS, stored=[Stored(), Stored()])
CHIP = nf.deploy(NETWORK, "loihi2", neurons_per_core=2)
LAST = 3 * STEPS + 2
"""The chip's last step of three samples through three layers."""


def notes(*specs):
    return idle_notes(nf.inject(CHIP, list(specs)), 3, [faults.fault_from_mapping(spec) for spec in specs])


@pytest.mark.parametrize("kind", ["core_dead", "neuron_saturated", "synapse_dead", "axon_lost", "neuron_bias"])
@pytest.mark.parametrize("when", [{"kind": "death"}, {"kind": "once"}, {"kind": "transient"}, {"kind": "ageing"}])
def test_damage_that_begins_after_the_last_step_is_said(kind, when):
    def at(step):
        times = {"start": step, "stop": step + 5} if when["kind"] in ("transient", "ageing") else {"at": step}
        extra = {"bit": 3} if kind == "neuron_bias" else {}
        return {"kind": kind, "count": 1, "when": when | times | {"clock": "chip"}, **extra}

    assert notes(at(3)) == ()
    late = LAST + 1
    (note,) = notes(at(late))
    assert when["kind"] == "ageing" or notes(at(LAST)) == ()
    begins = late + (5 if when["kind"] == "ageing" else 0)  # one site fails when the fraction reaches 1
    assert note == f"{kind} never acted: it begins in step {begins} of the chip, the last step of 3 samples is {LAST}"


def test_what_hit_nothing_is_said_unless_nothing_was_asked_for():
    rare = {"kind": "synapse_bit_flip", "rate": 1e-9}
    assert notes(rare) == ("synapse_bit_flip hit nothing",)
    assert notes(rare, {"kind": "core_dead", "count": 1}) == ("synapse_bit_flip hit nothing",)
    for spec in ({"kind": "core_dead", "count": 0}, {"kind": "core_dead", "cores": []}, {"kind": "neuron_dead", "rate": 0.0}):
        assert notes(spec) == ()
    assert notes({"kind": "link_dead", "links": ["6,3:E"]}) == ("link_dead changed nothing: no message crosses what it closed",)


def profile_file(tmp_path, text):
    path = tmp_path / "sample.yaml"
    path.write_text(f"extends: loihi2\nname: sample\ntitle: a sample\n{text}")
    return str(path)


def test_cores_that_hold_nothing_are_said_where_they_are_listed(tmp_path):
    assert notes({"kind": "core_dead", "cores": [90]}) == ("core_dead changed nothing: core 90 holds nothing",)
    assert notes({"kind": "core_dead", "cores": [0, 90, 91]}) == ("core_dead: cores 90, 91 hold nothing",)
    assert notes({"kind": "learning_frozen", "cores": [90]}) == ("learning_frozen changed nothing: core 90 holds nothing",)
    assert notes({"kind": "core_dead", "cores": [0]}) == ()
    many = {"kind": "core_hung", "cores": list(range(60, 80)), "on_core_death": "silent"}
    assert notes(many) == ("core_hung changed nothing: cores 60, 61, 62, 63, 64, 65, 66, 67 … hold nothing",)
    bad = nf.deploy(NETWORK, profile_file(tmp_path, "dead_cores: [11, 12]\n"), neurons_per_core=2)

    def said(**fault):
        spec = {"kind": "core_dead"} | fault
        return idle_notes(nf.inject(bad, [spec]), 3, [faults.fault_from_mapping(spec)])

    assert said(cores=[11]) == ("core_dead changed nothing: core 11 is known bad already",)
    assert said(cores=[0, 11, 12, 90]) == ("core_dead: cores 11, 12 are known bad already, core 90 holds nothing",)
    assert said(kind="core_hung", cores=[11]) == ("core_hung: core 11 is known bad already",)  # the chip stalls all the same
    assert said(count=1) == ()


def test_a_reserved_core_that_is_listed_is_said(tmp_path):
    text = "chip:\n  usable_cores: null\n  reserved_cores: {value: [11], unit: cores, source: made_up, evidence: documented}\n"
    text += "sources: {made_up: {title: nothing, note: of this test}}\n"
    kept = nf.deploy(NETWORK, profile_file(tmp_path, text), neurons_per_core=2)
    spec = {"kind": "core_dead", "cores": [11]}
    assert idle_notes(nf.inject(kept, [spec]), 3, [faults.fault_from_mapping(spec)]) == (
        "core_dead changed nothing: core 11 is reserved",
    )


def test_a_board_on_which_nothing_sits_is_said(tmp_path):
    text = "board:\n  chips: {value: 1, unit: chips, source: made_up, evidence: documented}\n"
    text += "sources: {made_up: {title: nothing, note: of this test}}\n"
    two = nf.deploy(NETWORK, profile_file(tmp_path, text), neurons_per_core=2, chips=2)
    first = two.placement.cores_per_chip
    spec = {"kind": "board_dead", "boards": [1]}
    named = ", ".join(str(first + core) for core in range(8))
    assert idle_notes(nf.inject(two, [spec]), 3, [faults.fault_from_mapping(spec)]) == (
        f"board_dead changed nothing: cores {named} … hold nothing",
    )


def test_spare_cores_that_were_asked_for_are_not():
    spares = nf.deploy(NETWORK, "loihi2", neurons_per_core=2, spare_cores=2)
    spec = {"kind": "core_dead", "count": 1, "layer": "spare"}
    assert idle_notes(nf.inject(spares, [spec]), 3, [faults.fault_from_mapping(spec)]) == ()


def test_notes_of_draws_are_put_together():
    assert of_draws([(0, ["a"]), (1, ["a", "b"]), (2, ["a"])]) == ("a in every draw", "b in draw 1")
    assert of_draws([(0, []), (1, [])]) == ()


def test_the_command_line_says_it_and_its_json_too(cli, tmp_path):
    late = "{kind: core_dead, count: 4, when: {kind: death, at: 5000, clock: chip}}"
    code, out, err = cli("inject", "--samples", "20", "--draws", "2", "--fault", late, "--json", str(tmp_path / "a.json"))
    assert code == 0, err
    said = json.loads((tmp_path / "a.json").read_text())["notes"]
    assert len(said) == 1
    assert said[0].startswith("core_dead never acted: it begins in step 5000 of the chip, the last step of 20 samples is 6")
    assert said[0].endswith("in every draw")
    assert f"note: {said[0]}" in " ".join(out.split())
    code, out, err = cli("inject", "--samples", "20", "--draws", "2", "--kill-cores", "2", "--json", "-")
    assert "notes" not in json.loads(out)
