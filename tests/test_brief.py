"""Records as people print them: one line, what they are, no numbers of arrays."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.brief import brief
from neurofault.data.datasets import load
from neurofault.deploy import load_profile
from neurofault.rescue.examples import Examples


@pytest.fixture(scope="module")
def chain() -> nf.Network:
    rng = np.random.default_rng(1)
    populations = (
        nf.Population("in", (6,), nf.Source()),
        nf.Population("mid", (5,), nf.CubaLif(threshold=np.full(5, 60.0))),
        nf.Population("out", (3,), nf.CubaLif(threshold=None)),
    )
    connections = (
        nf.Connection("mid", "in", "mid", nf.Dense(rng.normal(size=(5, 6)) * 20)),
        nf.Connection("out", "mid", "out", nf.Dense(rng.normal(size=(3, 5)) * 20)),
    )
    return nf.Network("small", populations, connections, 16, nf.Readout("out"))


def test_central_records_say_what_they_are(chain):
    chip = nf.deploy(chain, "loihi2", neurons_per_core=2)
    assert repr(chain) == "Network('small': in 6, mid 5, out 3; 2 connections, 16 steps, reads the potential of out)"
    start = "Deployment('small' on Intel Loihi 2 (Intel 4, 2021): in 6 on 3 cores, mid 5 on 3 cores, out 3 on 2 cores; 16 steps, reads the potential of out; broken: "
    assert repr(chip) == start + "nothing)"
    hurt = nf.inject(chip, [nf.faults.NeuronDead(count=1), nf.faults.NeuronDead(count=1), nf.faults.SynapseDead(count=2)], seed=1)
    assert repr(hurt) == start + "2 × neuron_dead, 1 × synapse_dead)"
    assert (
        str(load_profile("loihi2"))
        == "HardwareProfile('loihi2': Intel Loihi 2 (Intel 4, 2021), 120 cores for users, arithmetic loihi)"
    )
    events = nf.Spikes(np.array([0, 1]), np.array([0]), np.array([0]), 16, 6)
    labelled = nf.run(chip, events, np.array([0]))
    assert repr(labelled).startswith(f"Result(1 sample: accuracy {100 * labelled.accuracy:.2f} %, {labelled.activity.spikes} spike")
    assert repr(load("digits")) == "DataSet('digits': uint8 of shape (1, 8, 8), 10 classes; train 1,097, validation 200, test 500)"


def test_no_record_prints_its_numbers(chain):
    chip = nf.inject(nf.deploy(chain, "loihi2"), [nf.faults.SynapseDead(rate=0.5)], seed=1)
    events = nf.Spikes(np.arange(101), np.zeros(100, int), np.zeros(100, int), 16, 6)
    run = nf.run(chip, events)
    digits = load("digits")
    records = [
        *chain.populations, *(one.neuron for one in chain.populations), *chain.connections, *(one.synapses for one in chain.connections),
        *chip.populations, *chip.connections, chip.placement, chip.damage, events, run, run.activity, digits.train,
    ]  # fmt: skip
    for record in records:
        text = repr(record)
        assert text.startswith(type(record).__name__)
        assert "array(" not in text
        assert "\n" not in text
        assert len(text) < 500


def test_inputs_say_what_is_presented_and_how_many_samples():
    spikes = nf.Spikes.dense(np.zeros((3, 5, 4), np.uint8))
    assert repr(nf.Inputs(np.zeros((3, 4), int))) == "Inputs(Bias(mantissa=int32 [3, 4]), samples=3)"
    assert repr(nf.Inputs(samples=2)) == "Inputs(samples=2)"
    assert repr(nf.Inputs(events={"eye": spikes}, first_sample=7)) == f"Inputs('eye': {spikes!r}, samples=3, first_sample=7)"
    assert repr(Examples(nf.Inputs(samples=2), np.zeros(2, int))) == "Examples(inputs=Inputs(samples=2), labels=int64 [2])"


def test_arrays_are_named_by_type_and_shape_and_what_is_usual_is_left_out():
    dense = nf.Dense(np.zeros((3, 5), np.float32))
    assert brief(dense) == repr(dense) == "Dense(weight=float32 [3, 5])"
    assert (
        repr(nf.Connection("far", "a", "b", dense, delay=3))
        == "Connection(name='far', source='a', target='b', synapses=Dense, delay=3)"
    )
