from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from chips import connection, neurons
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_networks import (
    activity,
    convolutions,
    dense,
    deployment,
    expand,
    graph_deployment,
    layer,
    mlp,
    profile_with,
    random_graph,
    small_chip,
)

from neurofault.damage.damage import Damage, Detour, Silence
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.cost import LowerBound, cost
from neurofault.deploy.cost_events import traffic
from neurofault.errors import UsageError

ENERGY = {
    "synaptic_operation": 1.0,
    "neuron_update_active": 10.0,
    "neuron_update_inactive": 1e2,
    "neuron_spike": 1e3,
    "spike_in_tile": 1e4,
    "hop_east_west": 1e5,
    "hop_north_south": 1e6,
    "axon_out_message": 1e7,
    "axon_in_message": 1e8,
    "static_power": 2.0,
}
TIME = {
    "synaptic_operation": 1000.0,
    "neuron_update_active": 1.0,
    "neuron_update_inactive": 2.0,
    "neuron_spike": 3.0,
    "spike_in_tile": 4.0,
    "axon_in_message": 5.0,
    "axon_out_message": 6.0,
    "hop_east_west": 7.0,
    "hop_north_south": 8.0,
    "barrier_min": 100.0,
    "barrier_max": 400.0,
}


def priced(energy=ENERGY, time=TIME, columns=4, rows=2, **changes):
    """A mesh of single-core tiles with these costs."""
    table = {f"energy_tables__davies2018__energy__{name}": value for name, value in energy.items()}
    table |= {f"energy_tables__davies2018__time__{name}": value for name, value in time.items()}
    return small_chip(columns, rows, 1, **table | changes)


LAYERS = mlp(2, 2, 1)
CORES = [[0, 0], [1, 6], [7]]
SPIKES = [[3, 1], [2, 4], [1]]


def test_a_small_network_by_hand():
    """Two samples of four steps; input on core 0, hidden neurons on 1 and 6, output on 7 of a 4 × 2 mesh."""
    result = cost(deployment(LAYERS, priced(), CORES, timesteps=4), activity(LAYERS, SPIKES), samples=2)
    assert result.table == "davies2018"
    assert result.synaptic_operations == (4 + 4 + 6) / 2
    assert (result.neuron_updates, result.active_updates) == (5 * 4, (8 + 8 + 4 + 4 + 6) / 2)
    assert result.spikes == 11 / 2
    assert result.messages == (4 * 2 + 6) / 2
    east_west, north_south = (4 * 1 + 4 * 2 + 2 * 2 + 4 * 1) / 2, (4 + 2) / 2
    assert (result.hops, result.inter_chip_hops) == (east_west + north_south, 0)
    energy = 7 + 15 * 10 + 5 * 1e2 + 5.5 * 1e3 + 7 * 1e4 + east_west * 1e5 + north_south * 1e6 + 7 * 1e7 + 7 * 1e8
    assert result.energy.value == pytest.approx(energy, rel=1e-12)
    core_7 = (3 * 1000 + 3 * 1 + 1 * 2 + 0.5 * 3 + 3 * 4 + 3 * 5) / 4
    step = core_7 + (2 * 7 + 8) + (100 + 300 * 2 / 3)  # four of eight tiles: log2 4 / log2 8
    assert result.step.value == pytest.approx(step, rel=1e-12)
    assert result.time.value == pytest.approx(4 * step, rel=1e-12)
    assert result.latency.value == pytest.approx((4 + 2) * step, rel=1e-12)
    assert result.static_energy.value == pytest.approx(2.0 * 4 * step, rel=1e-12)
    assert result.energy.missing == result.step.missing == ()


def test_the_barrier_goes_from_its_least_at_one_tile_to_its_most_at_all():
    quiet = priced(time=TIME | dict.fromkeys([name for name in TIME if "barrier" not in name], 0.0))
    one_tile = deployment(mlp(1, 1), quiet, [[0], [0]])
    assert cost(one_tile, activity(mlp(1, 1), [[1], [1]]), 1).step.value == 100.0
    all_tiles = deployment(mlp(4, 4), quiet, [range(4), range(4, 8)])
    assert cost(all_tiles, activity(mlp(4, 4), [[1] * 4, [0] * 4]), 1).step.value == 400.0
    chips = deployment(mlp(4, 12), quiet, [range(4), range(4, 16)], chips=2)
    assert cost(chips, activity(mlp(4, 12), [[1] * 4, [0] * 12]), 1).step.value == 400.0


def test_steps_between_chips_are_counted_and_cost_nothing():
    layers, profile = mlp(1, 1), priced(columns=2, rows=1)
    result = cost(deployment(layers, profile, [[1], [2]], chips=2), activity(layers, [[6], [0]]), 3)
    assert (result.messages, result.hops, result.inter_chip_hops) == (2.0, 0.0, 2.0)
    assert result.static_energy.value == pytest.approx(2.0 * 2 * result.time.value)


SILENT = Damage((Silence("hidden1", np.array([1])),))
DEAD = Damage(dead_cores=(6,))


@pytest.mark.parametrize("damage", [SILENT, DEAD], ids=["silent neuron", "dead core"])
def test_the_dead_cost_nothing(damage):
    result = cost(deployment(LAYERS, priced(), CORES, damage=damage), activity(LAYERS, SPIKES), samples=2)
    assert result.synaptic_operations == (4 + 2) / 2
    assert result.neuron_updates == 4 * 4
    assert result.spikes == (4 + 2 + 1) / 2
    assert result.messages == (4 + 2) / 2
    flows = traffic(deployment(LAYERS, priced(), CORES, damage=damage), activity(LAYERS, SPIKES))
    assert 6 not in flows.sources
    assert 6 not in flows.destinations


def test_everything_dead_costs_only_the_barrier():
    result = cost(deployment(LAYERS, priced(), CORES, damage=Damage(dead_cores=(0, 1, 6, 7))), activity(LAYERS, SPIKES), 2)
    assert (result.energy.value, result.messages, result.neuron_updates) == (0, 0, 0)
    assert result.step.value == 100.0


@settings(max_examples=60, deadline=None)
@given(conv=convolutions(), seed=st.integers(0, 2**32 - 1))
def test_messages_and_operations_equal_a_plain_expansion(conv, seed):
    rng = np.random.default_rng(seed)
    layers = [layer("input", conv.in_shape), layer("hidden1", conv.out_shape, conv), layer("output", (3,), dense(3, conv.n_out))]
    core_of = [rng.integers(0, 6, part.size) for part in layers]
    counts = [rng.integers(0, 5, part.size) for part in layers]
    silent = [np.flatnonzero(rng.random(part.size) < 0.3) for part in layers]
    dead_core = int(rng.integers(0, 8))
    damage = Damage(
        tuple(Silence(part.name, neurons) for part, neurons in zip(layers, silent, strict=True)), dead_cores=(dead_core,)
    )
    live = [~np.isin(np.arange(part.size), silent[index]) & (core_of[index] != dead_core) for index, part in enumerate(layers)]
    messages, operations = Counter(), 0
    for index in (1, 2):
        sent = set()
        for source, target, _ in expand(layers[index].synapses):
            if live[index - 1][source] and live[index][target]:
                operations += int(counts[index - 1][source])
                sent.add((source, int(core_of[index][target])))
        for source, core in sent:
            if counts[index - 1][source]:
                messages[int(core_of[index - 1][source]), core] += int(counts[index - 1][source])
    placed = deployment(layers, priced(), core_of, damage=damage)
    flows = traffic(placed, activity(layers, counts))
    pairs = zip(flows.sources.tolist(), flows.destinations.tolist(), strict=True)
    assert dict(zip(pairs, flows.messages.tolist(), strict=True)) == messages
    result = cost(placed, activity(layers, counts), samples=3)
    assert result.synaptic_operations == pytest.approx(operations / 3)
    assert result.messages == pytest.approx(sum(messages.values()) / 3)
    assert result.neuron_updates == 4 * sum(int(mask.sum()) for mask in live)
    assert result.spikes == pytest.approx(sum(int(count[mask].sum()) for count, mask in zip(counts, live, strict=True)) / 3)


def test_a_result_carries_the_weakest_evidence_of_what_went_in():
    def evidence(**changed):
        table = {f"energy_tables__davies2018__{name}__evidence": value for name, value in changed.items()}
        return cost(deployment(LAYERS, priced(**table), CORES), activity(LAYERS, SPIKES), 2)

    every = {f"{part}__{name}": "measured" for part, costs in (("energy", ENERGY), ("time", TIME)) for name in costs}
    assert {getattr(evidence(**every), part).evidence for part in ("energy", "static_energy", "step", "latency")} == {"measured"}
    weak_energy = evidence(**every | {"energy__hop_north_south": "simulated", "energy__neuron_spike": "calibrated"})
    assert (weak_energy.energy.evidence, weak_energy.step.evidence) == ("simulated", "measured")
    weak_time = evidence(**every | {"time__barrier_max": "assumed", "energy__static_power": "calibrated"})
    assert (weak_time.energy.evidence, weak_time.time.evidence, weak_time.static_energy.evidence) == (
        "measured",
        "assumed",
        "assumed",
    )


def test_evidence_of_events_that_did_not_happen_does_not_count():
    changes = {f"energy_tables__davies2018__energy__{name}__evidence": "measured" for name in ENERGY}
    changes["energy_tables__davies2018__energy__hop_north_south__evidence"] = "assumed"
    layers = mlp(1, 1)
    profile = priced(**changes)
    assert cost(deployment(layers, profile, [[0], [1]]), activity(layers, [[2], [0]]), 1).energy.evidence == "measured"
    assert cost(deployment(layers, profile, [[0], [4]]), activity(layers, [[2], [0]]), 1).energy.evidence == "assumed"


def test_unknown_costs_are_named_and_left_out():
    known = priced(energy=ENERGY | {"axon_out_message": None, "axon_in_message": None}, time=TIME | {"hop_north_south": None})
    result = cost(deployment(LAYERS, known, CORES), activity(LAYERS, SPIKES), 2)
    full = cost(deployment(LAYERS, priced(), CORES), activity(LAYERS, SPIKES), 2)
    assert result.energy.missing == ("axon_out_message", "axon_in_message")
    assert result.energy.value == pytest.approx(full.energy.value - 7 * 1.1e8)
    assert result.step.missing == ("hop_north_south",)
    assert result.step.value == pytest.approx(full.step.value - 8.0)


@pytest.mark.parametrize("name", ["synaptic_operation", "neuron_update_active"])
def test_without_the_main_costs_there_is_no_estimate(name):
    unknown = priced(energy=ENERGY | {name: None}, time=TIME | {name: None})
    result = cost(deployment(LAYERS, unknown, CORES), activity(LAYERS, SPIKES), 2)
    for estimate in (result.energy, result.step, result.time, result.latency, result.static_energy):
        assert (estimate.value, estimate.evidence) == (None, "unknown")
        assert name in estimate.missing
    assert result.synaptic_operations == 7


@pytest.mark.parametrize("name", ["synaptic_operation", "neuron_update_active"])
def test_a_silent_chip_is_not_one_whose_energy_is_known(name):
    unknown = priced(energy=ENERGY | {name: None}, time=TIME | {name: None})
    dead, silence = Damage(dead_cores=(0, 1, 6, 7)), activity(LAYERS, [[0, 0], [0, 0], [0]])
    result = cost(deployment(LAYERS, unknown, CORES, damage=dead), silence, 2)
    assert (result.energy.value, result.energy.evidence, result.energy.missing) == (None, "unknown", (name,))
    assert (result.time.value, result.latency.value) == (None, None)
    assert cost(deployment(LAYERS, priced(), CORES, damage=dead), silence, 2).energy.value == 0


def test_of_an_unknown_energy_it_is_said_what_it_is_at_least():
    some = ENERGY | {"neuron_update_active": None, "hop_east_west": None}
    energy = cost(deployment(LAYERS, priced(energy=some), CORES), activity(LAYERS, SPIKES), 2).energy
    zero = ENERGY | {"neuron_update_active": 0.0, "hop_east_west": 0.0}
    assert energy.at_least.value == cost(deployment(LAYERS, priced(energy=zero), CORES), activity(LAYERS, SPIKES), 2).energy.value
    alone = dict.fromkeys(ENERGY) | {"synaptic_operation": 2.5}
    energy = cost(deployment(LAYERS, priced(energy=alone), CORES), activity(LAYERS, SPIKES), 2).energy
    assert (energy.value, energy.at_least) == (None, LowerBound(7 * 2.5, "simulated", ("synaptic_operation",)))
    assert cost(deployment(LAYERS, priced(), CORES), activity(LAYERS, SPIKES), 2).energy.at_least is None
    nothing = cost(deployment(LAYERS, priced(energy=dict.fromkeys(ENERGY)), CORES), activity(LAYERS, SPIKES), 2).energy
    assert (nothing.value, nothing.at_least) == (None, None)


def test_static_power_is_stated_either_way():
    known = cost(deployment(LAYERS, priced(energy=ENERGY | {"static_power": 1e-3}), CORES), activity(LAYERS, SPIKES), 2)
    assert known.static_note == f"static power not included; it adds {known.time.value * 1e3:.3g} µJ"
    unknown = cost(deployment(LAYERS, priced(energy=ENERGY | {"static_power": None}), CORES), activity(LAYERS, SPIKES), 2)
    assert unknown.static_note == "static power unknown, not included"
    assert unknown.energy == known.energy
    assert unknown.static_energy.missing == ("static_power",)


def test_both_published_tables_can_be_used():
    placed, run = deployment(LAYERS, profile_with("loihi1"), CORES), activity(LAYERS, SPIKES)
    default, other = cost(placed, run, 2), cost(placed, run, 2, table="sanafe")
    assert (default.table, other.table) == ("davies2018", "sanafe")
    assert default.synaptic_operations == other.synaptic_operations
    assert default.hops == 3.0  # 4 spikes from tile 0 to core 6 and 2 from core 1 to core 7, both on tile 1, in two samples
    assert default.energy.value == pytest.approx((7 * 23.6 + 15 * 81 + 5 * 52 + 7 * 1.7 + 3 * 3.0) * 1e-12)
    assert other.energy.value == pytest.approx((7 * 35.5 + 15 * 72.8 + 5 * 51.2 + 5.5 * 69.3 + 7 * 111 + 3 * 3.0) * 1e-12)
    assert (default.energy.evidence, other.energy.evidence) == ("simulated", "calibrated")


@pytest.mark.parametrize(
    ("samples", "table", "text"),
    [
        (0, None, "samples must be at least 1, is 0"),
        (1, "davies", "profile 'loihi1' has no energy table 'davies' (did you mean 'davies2018'?): davies2018, sanafe"),
    ],
)
def test_arguments_out_of_range_are_refused(samples, table, text):
    with pytest.raises(UsageError) as caught:
        cost(deployment(LAYERS, profile_with("loihi1"), CORES), activity(LAYERS, SPIKES), samples, table=table)
    assert str(caught.value) == text


def test_a_detour_is_charged_for_as_long_as_it_lasts():
    healthy = deployment(LAYERS, priced(), CORES, timesteps=4)
    ran = activity(LAYERS, SPIKES)
    one = np.array([0]), np.array([6])
    flows = traffic(healthy, ran)
    messages = int(flows.messages[(flows.sources == 0) & (flows.destinations == 6)][0])
    before = cost(healthy, ran, samples=2)
    for when, share in ((ALWAYS, 1.0), (When(start=1, stop=2), 0.25)):
        detour = Detour(one[0], one[1], np.array([3]), when)
        after = cost(healthy.with_damage(Damage((detour,))), ran, samples=2)
        assert after.hops == pytest.approx(before.hops + share * 3 * messages / 2)
        assert after.energy.value == pytest.approx(before.energy.value + share * 3 * messages / 2 * ENERGY["hop_north_south"])
        assert after.time.value > before.time.value


# --- graphs -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_events_of_a_graph_equal_a_plain_expansion(seed):
    """Every spike goes over every connection of its population, to each core that holds a live target."""
    rng = np.random.default_rng(seed)
    populations, connections = random_graph(rng)
    core_of = {one.name: rng.integers(0, 6, one.size) for one in populations}
    counts = {one.name: rng.integers(0, 5, one.size) for one in populations}
    silent = {one.name: np.flatnonzero(rng.random(one.size) < 0.3) for one in populations}
    damage = Damage(tuple(Silence(name, dead) for name, dead in silent.items()), dead_cores=(int(rng.integers(0, 8)),))
    live = {
        name: ~np.isin(np.arange(len(cores)), silent[name]) & (cores != damage.dead_cores[0]) for name, cores in core_of.items()
    }
    messages, arrived = Counter(), {name: np.zeros(len(cores), np.int64) for name, cores in core_of.items()}
    for one in connections:
        sent = set()
        for source, target, _ in expand(one.synapses):
            if live[one.source][source] and live[one.target][target]:
                arrived[one.target][target] += counts[one.source][source]
                sent.add((source, int(core_of[one.target][target])))
        for source, core in sent:
            messages[int(core_of[one.source][source]), core] += int(counts[one.source][source])
    placed = graph_deployment(populations, connections, priced(), core_of.values(), damage=damage)
    ran = activity(populations, counts.values())
    flows = traffic(placed, ran)
    pairs = zip(flows.sources.tolist(), flows.destinations.tolist(), strict=True)
    assert dict(zip(pairs, flows.messages.tolist(), strict=True)) == +messages
    result = cost(placed, ran, samples=3)
    assert result.synaptic_operations == pytest.approx(sum(int(part.sum()) for part in arrived.values()) / 3)
    assert result.messages == pytest.approx(sum(messages.values()) / 3)
    assert result.neuron_updates == 4 * sum(int(mask.sum()) for mask in live.values())
    active = sum(
        int((np.minimum(3 * 4, arrived[one.name]) if placed.into(one.name) else np.full(one.size, 3 * 4))[live[one.name]].sum())
        for one in populations
    )
    assert result.active_updates == pytest.approx(active / 3)
    assert result.spikes == pytest.approx(sum(int(counts[name][mask].sum()) for name, mask in live.items()) / 3)


def test_the_answer_comes_as_many_steps_late_as_the_shortest_way_to_the_readout_takes():
    populations = [neurons("input", (1,), is_source=True), neurons("a", (1,)), neurons("output", (1,))]
    connections = [
        connection("a", "input", "a", dense(1, 1), delay=2), connection("long", "a", "output", dense(1, 1), delay=3),
        connection("short", "input", "output", dense(1, 1), delay=4), connection("own", "output", "output", dense(1, 1)),
    ]  # fmt: skip
    placed = graph_deployment(populations, connections, priced(), [[0], [1], [2]], timesteps=10)
    result = cost(placed, activity(populations, [[1], [1], [1]]), 1)
    assert result.latency.value == pytest.approx(result.step.value * (10 + 4))
    assert result.time.value == pytest.approx(result.step.value * 10)
