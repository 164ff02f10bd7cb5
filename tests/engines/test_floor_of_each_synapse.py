"""Loihi models that floor each synapse, as ``docs/engines.md`` says they can be had: another weight, no switch."""

from __future__ import annotations

import numpy as np
import pytest
from chips import chip, population, random_weights

from neurofault.deploy.weight_fields import truncate_weights
from neurofault.engines import run
from neurofault.graph import Dense
from neurofault.inputs import Inputs


@pytest.mark.parametrize("k", range(1, 9))
def test_halved_weights_at_exponent_minus_one_floor_each_synapse(k: int) -> None:
    rng = np.random.default_rng(k)
    weights = random_weights(rng, (12, 20))
    carried = 2 * (weights >> k)
    np.testing.assert_array_equal(truncate_weights(carried, 8, "mixed"), carried)  # Lava's stored field holds them
    events = rng.random((2, 8, 20)) < 0.4
    u = {}
    for name, stored, exponent in (("each", carried, -1), ("sum", weights, -k)):
        layers = [population("input", (20,)), population("o", (12,), Dense(stored), exponent=exponent, vth=131072)]
        u[name] = run(chip(layers, 8), Inputs(events=events), record=("u",)).activity.traces["o"].u
    each = np.floor(weights * 2.0**-k).astype(np.int64)
    np.testing.assert_array_equal(u["each"], 64 * (events.astype(np.int64) @ each.T))
    assert np.array_equal(u["each"], u["sum"]) == (k == 1)  # 8-bit mixed weights are even
