"""Scores of a chip in the unit of the network that was deployed: beside the sum of its real weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.deploy.quantise import quantise
from neurofault.deploy.units import unit_of
from neurofault.errors import UnsupportedError
from neurofault.graph.synapses import Stored
from neurofault.metrics import values_of

T = 9


@st.composite
def drives(draw):
    """A readout that two inputs drive, weights of any size, stored in some bits; and events."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    sizes = [10.0 ** draw(st.integers(-4, 3)) * factor for factor in (1.0, draw(st.sampled_from([1.0, 0.4, 0.05])))]
    weights = [rng.normal(0, size, (3, 5)) for size in sizes]
    peak = float(sum(np.abs(weight).sum(axis=1).max() for weight in weights)) * T  # nothing saturates
    eyes = [nf.Population(name, (5,), nf.Source()) for name in ("left", "right")]
    wires = [nf.Connection(one.name, one.name, "hands", nf.Dense(weight)) for one, weight in zip(eyes, weights, strict=True)]
    how, when = draw(
        st.sampled_from([("potential", None), ("potential", (4, 5)), ("mean", None), ("mean", (2, 7)), ("largest", None)])
    )
    hands = nf.Population("hands", (3,), nf.CubaLif(None))
    net = nf.Network("sum", (*eyes, hands), tuple(wires), T, nf.Readout("hands", how, when), peak)
    return net, rng.random((4, T, 10)) < 0.5, draw(st.sampled_from([8, 6, 4]))


@settings(max_examples=15, deadline=None)
@given(drives())
def test_values_are_those_of_the_real_weights(case):
    net, seen, bits = case
    v = np.cumsum(seen @ np.concatenate([one.synapses.weight for one in net.connections], axis=1).T, axis=1)
    first, stop = net.readout.when or (0, T)
    wanted = {"potential": v[:, stop - 1], "mean": v[:, first:stop].mean(1), "largest": v[:, first:stop].max(1)}[net.readout.how]
    chip = nf.deploy(net, weight_bits=bits)
    shown = {"left": nf.Spikes.dense(seen[..., :5]), "right": nf.Spikes.dense(seen[..., 5:])}
    largest = max(float(np.abs(one.synapses.weight).max()) for one in net.connections)
    for one, error in (
        (chip, 2.0 ** (1 - bits)),
        (
            replace(chip, **dict(zip(("populations", "connections"), quantise(net, chip.profile, rounded=False), strict=True))),
            2.0**-14,
        ),
    ):
        scores, unit = nf.run(one, shown).activity.scores, unit_of(net, one, "this")
        floors = (
            2 * T * 64 * unit * (stop - first if net.readout.how == "mean" else 1)
        )  # a negative exponent cuts each step off, once a connection
        assert np.abs(values_of(scores, one.readout.how, unit) - wanted).max() <= 10 * T * largest * error + floors


def test_counts_are_spikes_and_dead_neurons_answer_nothing():
    hands = nf.Population("hands", (2,), nf.CubaLif(1.0))
    net = nf.chain("reflex", [nf.Population("eyes", (2,), nf.Source()), hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count")
    chip = nf.deploy(net, neurons_per_core=1)
    hurt = nf.inject(chip, [nf.faults.NeuronDead(count=1, layer="hands")], seed=1)
    scores = nf.run(hurt, nf.Spikes.dense(np.ones((1, 4, 2), bool))).activity.scores
    assert sorted(values_of(scores, chip.readout.how, unit_of(net, chip, "this"))[0].tolist()) == [0.0, 4.0]


def test_integers_of_a_chip_have_no_unit():
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(None, bias_exponent=0))
    net = nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2, dtype=int) * 8)], timesteps=4, stored=[Stored()])
    with pytest.raises(UnsupportedError) as error:
        unit_of(net, nf.deploy(net), "metric mean-squared-error")
    assert str(error.value) == (
        "metric mean-squared-error: population 'hands' has a chip's integers, or no weights, so its potential has no unit; give a network with real weights"
    )
