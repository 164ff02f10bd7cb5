"""Networks without an input, driven by their biases alone."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import UsageError


def clock() -> nf.Deployment:
    """Four neurons under a bias that drive themselves, and three that listen."""
    random = np.random.default_rng(0)
    populations = (
        nf.Population("clock", (4,), nf.CubaLif(1.0, bias=np.array([0.3, 0.5, 0.2, 1.1]))),
        nf.Population("out", (3,), nf.CubaLif(1.0)),
    )
    connections = (
        nf.Connection("clock.rec", "clock", "clock", nf.Dense(random.normal(0, 0.4, (4, 4)))),
        nf.Connection("out", "clock", "out", nf.Dense(random.normal(0.3, 0.6, (3, 4)))),
    )
    return nf.deploy(nf.Network("clock", populations, connections, 20, nf.Readout("out", "count")))


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_every_engine_runs_it_alike(engine):
    chip = clock()
    hurt = nf.inject(chip, {"kind": "synapse_dead", "rate": 0.2}, seed=1)
    for one in (chip, hurt):
        exact = nf.run(one, nf.Inputs(samples=2), record=("spikes",)).activity
        other = nf.run(one, nf.Inputs(samples=2), record=("spikes",), engine=engine).activity
        assert exact.scores.shape == (2, 3)
        assert exact.scores.any()
        np.testing.assert_array_equal(other.scores, exact.scores)
        for name, trace in exact.traces.items():
            np.testing.assert_array_equal(other.traces[name].spikes, trace.spikes)


def test_a_run_of_it_stops_and_goes_on():
    chip = clock()
    stopped = nf.run(chip, nf.Inputs(samples=2), stop=7).activity.state
    np.testing.assert_array_equal(
        nf.run(chip, nf.Inputs(samples=2), state=stopped).activity.scores, nf.run(chip, nf.Inputs(samples=2)).activity.scores
    )


def test_samples_of_it_are_cut_and_taken_as_others_are():
    several = nf.Inputs(samples=5, first_sample=3)
    assert len(several) == 5
    assert (len(several[1:4]), several[1:4].first_sample) == (3, 4)
    assert len(several.take(np.array([0, 4]))) == 2
    assert several.counted_from(9).first_sample == 9
    assert (several.bias, several.events) == (None, None)


@pytest.mark.parametrize(
    ("presented", "message"),
    [
        (np.zeros((2, 3)), "network 'clock' has no input: nothing can be presented to it; pass Inputs(samples=N)"),
        ({}, "Inputs takes either bias or events; for a network without an input, samples"),
        ({"eyes": np.zeros((2, 3))}, "the network has no input 'eyes', nor any other: pass Inputs(samples=N)"),
        (nf.Bias(np.zeros((2, 3), np.int32)), "the network has no input: nothing can be presented to it; pass Inputs(samples=N)"),
    ],
)
def test_what_is_presented_to_no_input_is_said(presented, message):
    with pytest.raises(UsageError) as error:
        nf.run(clock(), presented)
    assert str(error.value) == message


def test_a_number_of_samples_stands_alone_and_is_one():
    with pytest.raises(UsageError, match="has its number of samples"):
        nf.Inputs(bias=np.zeros((2, 3), np.int32), samples=2)
    for wrong in (0, -1, 2.5, True, "3"):
        with pytest.raises(UsageError, match="samples must be a whole number of at least 1"):
            nf.Inputs(samples=wrong)
    chip = nf.deploy(
        nf.chain(
            "reflex",
            [nf.Population("eyes", (3,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))],
            [nf.Dense(np.ones((2, 3)))],
            timesteps=4,
            how="count",
        )
    )
    with pytest.raises(UsageError, match="input 'eyes' gets nothing: pass bias or events for it"):
        nf.run(chip, nf.Inputs(samples=2))
