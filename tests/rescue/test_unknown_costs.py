"""What a repair costs where the profile does not know it: not known, never nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from remap_chips import network

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.rescue.budget import Spent

PROFILE = nf.load_profile("loihi2")
WITHOUT = PROFILE.model_copy(update={"energy_tables": {}, "default_energy": None})


def table_without(event: str):
    """Loihi 2 with one table, in which the cost of one event is not known."""
    table = PROFILE.energy_tables["davies2018"]
    costs = {part: getattr(table, part) for part in ("energy", "time")}
    null = {
        part: one.model_copy(update={event: getattr(one, event).model_copy(update={"value": None})}) for part, one in costs.items()
    }
    return PROFILE.model_copy(update={"energy_tables": {"mine": table.model_copy(update=null)}, "default_energy": "mine"})


@cache
def samples():
    rng = np.random.default_rng(8)
    return Inputs(events=rng.random((12, 8, 12)) < 0.4), rng.integers(0, 4, 12)


def healed(profile, strategy="batch", **options):
    net = network((12, 16, 10, 4), seed=3).with_timesteps(8)
    hurt = nf.inject(
        nf.deploy(net, profile, neurons_per_core=4, spare_cores=2), nf.faults.CoreDead(count=1, layer="hidden"), seed=1
    )
    x, y = samples()
    return nf.rescue(hurt, x, y, strategy=strategy, learner="dfa", **{"guard": None, **options})


def test_without_a_table_energy_and_time_are_not_known():
    done, known = healed(WITHOUT), healed(PROFILE)
    assert (done.spent.updates, done.spent.writes, done.spent.synaptic_operations) == (
        known.spent.updates, known.spent.writes, known.spent.synaptic_operations,
    )  # fmt: skip
    assert done.spent.writes > 0
    assert (done.spent.joules(None), done.spent.seconds(None), done.spent.energy) == (None, None, {})
    assert done.table()["energy_joule"].isna().all()
    assert known.table()["energy_joule"].notna().all()


@pytest.mark.parametrize("strategy", ["batch", "remap"])
def test_a_write_of_unknown_cost_makes_the_sum_unknown(strategy):
    done = healed(table_without("synaptic_write"), strategy)
    assert done.spent.writes > 0
    assert (done.spent.joules("mine"), done.spent.seconds("mine")) == (None, None)
    assert healed(table_without("neuron_spike"), strategy).spent.joules("mine") > 0


def test_a_repair_that_did_nothing_is_of_unknown_cost_where_a_write_is():
    done = healed(table_without("synaptic_write"), "none")
    assert done.spent.writes == 0
    assert (done.spent.joules("mine"), done.spent.seconds("mine")) == (None, None)
    assert done.table()["energy_joule"].isna().all()
    known = healed(PROFILE, "none").spent
    assert (known.joules("davies2018"), known.seconds("davies2018")) == (0, 0)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (
            WITHOUT,
            "profile 'loihi2' has no energy table, so no limit of energy or time can be kept; limit samples, cycles or writes",
        ),
        (table_without("synaptic_write"), "energy table 'mine' of 'loihi2' gives no total, so no limit can be kept"),
    ],
)
def test_no_limit_is_kept_of_what_is_not_known(profile, message):
    for limit in ({"energy": 1.0}, {"time": 1.0}):
        with pytest.raises(UsageError) as caught:
            healed(profile, budget=nf.Budget(**limit))
        assert str(caught.value) == message


def test_what_is_not_known_stays_unknown_in_sums():
    whole = Spent(energy={"a": 1.0, "b": 1.0}) + Spent(energy={"a": None, "c": 2.0})
    assert [whole.joules(name) for name in "abcd"] == [None, 1.0, 2.0, 0.0]
