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
    assert notes({"kind": "core_dead", "cores": [90]}) == ()


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
