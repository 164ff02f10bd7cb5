"""Faults of what follows a spike: a stuck refractory counter, a lost reset."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import FaultError


def reflex(**law: object) -> nf.Deployment:
    """A current of 1 threshold a step into two neurons of which the first is hit below."""
    eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(0.9, **law))
    return nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2))], timesteps=6, how="count"))


def spikes(chip: nf.Deployment) -> list[list[int]]:
    found = nf.run(chip, np.ones((1, 6, 2), bool), record=("spikes",)).activity.traces["hands"].spikes
    assert found is not None
    return found[0].T.astype(int).tolist()


def test_a_counter_that_is_stuck_on_stops_a_neuron_and_one_that_is_stuck_off_ends_its_refractory_steps() -> None:
    chip = reflex(refractory=2)
    assert spikes(chip) == [[1, 0, 0, 1, 0, 0]] * 2
    hit = {"kind": "refractory_stuck", "layer": "hands", "neurons": [0]}
    assert spikes(nf.inject(chip, hit)) == [[0] * 6, [1, 0, 0, 1, 0, 0]]
    assert spikes(nf.inject(chip, {**hit, "stuck": "off"})) == [[1] * 6, [1, 0, 0, 1, 0, 0]]
    late = nf.inject(chip, {**hit, "when": {"kind": "transient", "start": 3, "stop": 5}})
    assert spikes(late) == [[1, 0, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0]]


def test_a_held_neuron_keeps_its_potential_while_its_current_goes_on() -> None:
    chip = nf.inject(reflex(), nf.faults.RefractoryStuck(layer="hands", neurons=[1]))
    trace = nf.run(chip, np.ones((1, 6, 2), bool), record=("u", "v")).activity.traces["hands"]
    assert trace.u is not None
    assert trace.v is not None
    np.testing.assert_array_equal(trace.v[0, :, 1], 0)
    np.testing.assert_array_equal(trace.u[0, :, 1], trace.u[0, :, 0])


def test_without_its_reset_a_neuron_goes_on_from_where_it_fired() -> None:
    chip = nf.inject(reflex(refractory=1), nf.faults.SpikeResetLost(layer="hands", neurons=[0]))
    trace = nf.run(chip, np.ones((1, 6, 2), bool), record=("v",)).activity.traces["hands"]
    assert trace.v is not None
    one = int(trace.v[0, 0, 0])
    assert one > 0
    assert trace.v[0, :, 0].tolist() == [one, one, 2 * one, 2 * one, 3 * one, 3 * one]
    assert not trace.v[0, :, 1].any()


@pytest.mark.parametrize(
    ("law", "fault", "message"),
    [
        (
            {},
            {"kind": "refractory_stuck", "stuck": "off", "layer": "hands", "neurons": [0]},
            "layer 'hands': its neurons have no refractory steps that they could fail to enter",
        ),
        (
            {"reset": "none"},
            {"kind": "spike_reset_lost", "layer": "hands", "neurons": [0]},
            "layer 'hands': its neurons have reset 'none': there is none to lose",
        ),
    ],
    ids=["no refractory steps", "no reset"],
)
def test_what_cannot_break_is_refused(law: dict[str, object], fault: dict[str, object], message: str) -> None:
    with pytest.raises(FaultError) as error:
        nf.inject(reflex(**law), fault)
    assert message in str(error.value)
