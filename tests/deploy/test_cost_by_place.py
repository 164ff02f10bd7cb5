"""What an inference costs at each place adds up to what it costs, and says where damage saves or costs energy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_networks import activity, deployment, graph_deployment, mlp, random_graph
from test_cost import CORES, ENERGY, LAYERS, SPIKES, TIME, priced

from neurofault.damage.damage import Damage, Detour, Silence
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.cost import cost, cost_by_place, energy_changes
from neurofault.errors import UsageError

FIELDS = {
    "synaptic_operation": "synaptic_operations",
    "neuron_update_active": "active_updates",
    "neuron_spike": "spikes",
    "axon_out_message": "messages",
}


def counted(parts, counts):
    return activity(parts, counts).spike_counts


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), samples=st.sampled_from([1, 2, 4]))
def test_the_places_add_up_to_the_cost(seed, samples):
    """Random graphs, several populations on a core, random tables with unknown costs, silent neurons, dead cores, detours."""
    rng = np.random.default_rng(seed)
    populations, connections = random_graph(rng)
    core_of = {one.name: rng.integers(0, 6, one.size) for one in populations}
    counts = [rng.integers(0, 5, one.size) for one in populations]
    unknown = rng.random(len(ENERGY)) < 0.2
    table = {
        name: None
        if hidden and name not in ("synaptic_operation", "neuron_update_active")
        else int(rng.integers(0, 1000)) * 2.0**-40
        for (name, _), hidden in zip(ENERGY.items(), unknown, strict=True)
    }
    silent = tuple(Silence(one.name, np.flatnonzero(rng.random(one.size) < 0.3)) for one in populations)
    pairs = np.unique(rng.integers(0, 6, (4, 2)), axis=0)
    detour = Detour(
        pairs[:, 0], pairs[:, 1], rng.integers(1, 4, len(pairs)), ALWAYS if rng.random() < 0.5 else When(start=1, stop=3)
    )
    damage = Damage((*silent, detour), dead_cores=(int(rng.integers(0, 8)),))
    placed = graph_deployment(populations, connections, priced(energy=table), core_of.values(), timesteps=4, damage=damage)
    ran = activity(populations, counts)
    whole, places = cost(placed, ran, samples), cost_by_place(placed, ran.spike_counts, samples)
    assert places.total == whole
    held = [(one.name, core) for one in populations for core in np.unique(core_of[one.name]).tolist()]
    assert list(zip(places.populations, places.cores.tolist(), strict=True)) == held
    for event, field in FIELDS.items():
        assert sum(map(Fraction, places.events[event].tolist())) == Fraction(getattr(whole, field))
    hops = places.events["hop_east_west"] + places.events["hop_north_south"]
    assert sum(map(Fraction, hops.tolist())) == Fraction(whole.hops)
    # every price, count and share here is a whole number of a power of two, so that sums have no rounding at all
    assert sum(map(Fraction, places.energy.tolist())) == Fraction(whole.energy.value)
    dead = [one for one, core in zip(places.energy.tolist(), places.cores.tolist(), strict=True) if core in damage.dead_cores]
    assert all(one == 0 for one in dead)


def test_each_event_is_charged_where_it_is_worked_off():
    """The network by hand of :mod:`test_cost`: input on core 0, hidden neurons on 1 and 6, output on 7."""
    places = cost_by_place(deployment(LAYERS, priced(), CORES, timesteps=4), counted(LAYERS, SPIKES), 2)
    where = list(zip(places.populations, places.cores.tolist(), strict=True))
    assert where == [("input", 0), ("hidden1", 1), ("hidden1", 6), ("output", 7)]
    events = {name: values.tolist() for name, values in places.events.items()}
    assert events == {
        "synaptic_operation": [0, 2, 2, 3],
        "neuron_update_active": [8, 2, 2, 3],
        "neuron_update_inactive": [0, 2, 2, 1],
        "neuron_spike": [2, 1, 2, 0.5],
        "axon_out_message": [4, 1, 2, 0],
        "axon_in_message": [0, 2, 2, 3],
        "spike_in_tile": [0, 2, 2, 3],
        "hop_east_west": [2 * 1 + 2 * 2, 2, 2, 0],
        "hop_north_south": [2, 1, 0, 0],
    }


def test_a_stuck_neuron_costs_downstream_and_a_dead_core_saves():
    healthy = cost_by_place(deployment(LAYERS, priced(), CORES, timesteps=4), counted(LAYERS, SPIKES), 2)
    stuck = cost_by_place(deployment(LAYERS, priced(), CORES, timesteps=4), counted(LAYERS, [SPIKES[0], [8, 4], SPIKES[2]]), 2)
    changes = energy_changes(healthy, stuck)
    assert [(one.population, one.core) for one in changes] == [("output", 7), ("hidden1", 1)]
    assert all(one.change > 0 for one in changes)
    assert changes[1].healthy == dict(healthy.places())["hidden1", 1]
    dead = deployment(LAYERS, priced(), CORES, timesteps=4, damage=Damage(dead_cores=(6,)))
    saved = energy_changes(healthy, cost_by_place(dead, counted(LAYERS, SPIKES), 2))
    assert {(one.population, one.core) for one in saved} == {("input", 0), ("hidden1", 6), ("output", 7)}
    assert {one.damaged for one in saved if one.core == 6} == {0.0}
    assert all(one.change < 0 for one in saved)
    assert energy_changes(healthy, healthy) == ()


def test_neurons_that_moved_are_gone_from_one_place_and_new_at_another():
    here = cost_by_place(deployment(LAYERS, priced(), CORES), counted(LAYERS, SPIKES), 2)
    there = cost_by_place(deployment(LAYERS, priced(), [[0, 0], [1, 5], [7]]), counted(LAYERS, SPIKES), 2)
    moved = {(one.population, one.core): (one.healthy > 0, one.damaged > 0) for one in energy_changes(here, there)}
    assert moved["hidden1", 6] == (True, False)
    assert moved["hidden1", 5] == (False, True)


def test_what_cannot_be_compared_is_refused():
    layers = mlp(1, 1)
    ran = counted(layers, [[1], [0]])
    known = cost_by_place(deployment(layers, priced(), [[0], [1]]), ran, 1)
    other = cost_by_place(deployment(layers, priced(), [[0], [1]]), ran, 1, table="sanafe")
    with pytest.raises(UsageError) as caught:
        energy_changes(known, other)
    assert str(caught.value) == "the healthy chip is costed by table 'davies2018', the damaged one by 'sanafe'; give both the same"
    unknown = priced(energy=ENERGY | {"synaptic_operation": None}, time=TIME)
    nothing = cost_by_place(deployment(layers, unknown, [[0], [1]]), ran, 1)
    assert nothing.energy is None
    with pytest.raises(UsageError) as caught:
        energy_changes(nothing, nothing)
    assert str(caught.value) == "table 'davies2018' does not know the cost of synaptic_operation"


def test_without_a_mesh_hops_are_left_out_and_without_a_table_nothing_is_compared():
    ran = counted(LAYERS, SPIKES)
    flat = priced(chip__tile_columns=None, chip__tile_rows=None, chip__cores_per_tile=None)
    places = cost_by_place(deployment(LAYERS, flat, CORES), ran, 2)
    assert not [event for event in places.events if event.startswith("hop")]
    assert places.total.hops is None
    assert sum(places.energy.tolist()) == places.total.energy.value
    free = priced().model_copy(update={"energy_tables": {}, "default_energy": None})
    nothing = cost_by_place(deployment(LAYERS, free, CORES), ran, 2)
    assert nothing.energy is None
    with pytest.raises(UsageError) as caught:
        energy_changes(nothing, nothing)
    assert str(caught.value) == "the profile has no energy table"
