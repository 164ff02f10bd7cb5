"""A damaged deployment as a Lava process, in a graph of Lava's own processes and run configuration."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from chip_graphs import SAMPLES, STEPS, broken_chip, broken_graph, embed_broken_chip, embed_broken_graph
from chips import chip, connection, dense, graph_chip, neurons, population

from neurofault.damage.damage import Damage, Stall
from neurofault.engines import run
from neurofault.errors import UnsupportedError, UsageError

if importlib.util.find_spec("lava") is None:
    pytest.skip("lava-nc is not installed", allow_module_level=True)

import neurofault.lava as nl


@pytest.mark.parametrize(("embed", "build"), [(embed_broken_chip, broken_chip), (embed_broken_graph, broken_graph)])
def test_a_broken_chip_in_a_lava_graph_spikes_as_on_our_engine(embed, build):
    spikes, v = nl.watched(embed, timeout=600)
    deployment, inputs = build()
    expected = run(deployment, inputs, record=("spikes", "v")).activity.traces["out"]
    healthy = run(deployment.with_damage(Damage()), inputs, record=("spikes",)).activity.traces["out"]
    np.testing.assert_array_equal(spikes.reshape(SAMPLES, STEPS, -1), expected.spikes)
    np.testing.assert_array_equal(v, expected.v[-1, -1])
    assert (expected.spikes != healthy.spikes).mean() > 0.1
    assert 0.05 < expected.spikes.mean() < 0.6


def test_what_a_process_cannot_be_is_said():
    rng = np.random.default_rng(0)
    layers = [population("input", (4,)), population("output", (3,), dense(rng, 3, 4))]
    with pytest.raises(UsageError) as error:
        nl.process(chip(layers[:1], 3))
    assert str(error.value) == "deployment 'test' has one layer; a process needs an input and an output"
    with pytest.raises(UsageError) as error:
        nl.process(chip(layers, 3), first_step=0)
    assert str(error.value) == "first_step must be at least 1, is 0"
    with pytest.raises(UnsupportedError) as unsupported:
        nl.process(chip(layers, 3).with_damage(Damage((Stall((2, 5)),))))
    assert str(unsupported.value) == "core 2, 5 hangs, which stops the chip; no Lava graph can go on with it"
    ends = [neurons("left", (4,), is_source=True), neurons("right", (2,), is_source=True), neurons("out", (3,))]
    joined = [connection("a", "left", "out", dense(rng, 3, 4)), connection("b", "right", "out", dense(rng, 3, 2))]
    for deployment, message in (
        (graph_chip(ends, joined, 3), "deployment 'test' has 2 inputs: left, right; a process has one s_in"),
        (graph_chip([neurons("a", (4,)), ends[2]], [connection("b", "a", "out", dense(rng, 3, 4))], 3), "deployment 'test' has 0 inputs; a process has one s_in"),
        (graph_chip(ends[::2], joined[:1], 3, readout="left"), "deployment 'test': the readout 'left' is the input; a process needs an output"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedError) as unsupported:
            nl.process(deployment)
        assert str(unsupported.value) == message
