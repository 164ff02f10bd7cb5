"""Graphs of any shape in Lava, Brian2 and snnTorch: u, v and spikes of every neuron at every step as in the exact engine.

``NEUROFAULT_TEST_GRAPHS_ELSEWHERE=60`` tries sixty random graphs in each.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace

import numpy as np
import pytest
from chips import connection, dense, graph_chip, neurons
from random_graphs import MOST_STEPS, random_edit, random_graph

from neurofault.activity import TRACES, Activity
from neurofault.damage.damage import Damage, Drop
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.graph import Dense, Sparse
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.synapses import Synapses
from neurofault.inputs import Inputs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing

GRAPHS = int(os.environ.get("NEUROFAULT_TEST_GRAPHS_ELSEWHERE", "0"))
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed"))
    for name in ("lava", "brian2", "snntorch")
]


def assert_equal_to_exact(deployment: Deployment, inputs: Inputs, engine: str) -> Activity:
    exact, other = (run(deployment, inputs, engine=name, record=TRACES).activity for name in ("exact", engine))
    for name, trace in exact.traces.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(other.traces[name], state), getattr(trace, state), f"{name} {state}")
        np.testing.assert_array_equal(other.spike_counts[name], exact.spike_counts[name])
    np.testing.assert_array_equal(other.scores, exact.scores)
    np.testing.assert_array_equal(other.sample_spikes, exact.sample_spikes)
    return exact


def random_case(seed: int, *, plain: bool = False) -> tuple[Deployment, Inputs]:
    """A random graph; every other one is damaged."""
    made, inputs, rng = random_graph(seed, MOST_STEPS if GRAPHS else 20)
    number = int(rng.integers(1, 6)) if seed % 2 else 0
    return made.with_damage(Damage(tuple(random_edit(rng, made, plain=plain) for _ in range(number)))), inputs


@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
@pytest.mark.parametrize("seed", range(3000, 3000 + (GRAPHS or 6)))
def test_random_graphs_in_lava(seed: int) -> None:
    assert_equal_to_exact(*random_case(seed), "lava")


@pytest.mark.skipif(importlib.util.find_spec("brian2") is None, reason="brian2 is not installed")
@pytest.mark.parametrize("seed", range(4000, 4000 + (GRAPHS or 12)))
def test_random_graphs_in_brian2(seed: int) -> None:
    assert_equal_to_exact(*random_case(seed), "brian2")


def as_leaky(deployment: Deployment) -> Deployment:
    """The same graph with neurons and synapses that snnTorch has, and sums that are sure to be exact."""

    def leaky(own: ChipPopulation) -> ChipPopulation:
        ones = np.ones_like(own.du)
        return replace(own, du=4095 * ones, dv=0 * ones, v_init=min(own.v_init, int(own.vth.min()) << 6))

    return replace(
        deployment,
        populations=tuple(map(leaky, deployment.populations)),
        connections=tuple(
            replace(one, synapses=replace(one.synapses, delay=None), weight_exponent=min(0, one.weight_exponent))
            for one in deployment.connections
        ),
    )


@pytest.mark.skipif(importlib.util.find_spec("snntorch") is None, reason="snntorch is not installed")
@pytest.mark.parametrize("seed", range(5000, 5000 + (GRAPHS or 20)))
def test_random_graphs_in_snntorch(seed: int) -> None:
    deployment, inputs = random_case(seed, plain=True)
    assert_equal_to_exact(as_leaky(deployment), inputs, "snntorch")


@pytest.mark.parametrize("engine", ["exact", *ENGINES])
def test_nothing_crosses_the_border_of_a_sample(engine: str) -> None:
    def one(weight: int) -> Dense:
        return Dense(np.array([[weight]], np.int32))

    populations = [neurons("in", (1,), is_source=True), neurons("p", (1,), vth=0)]
    connections = [
        connection("straight", "in", "p", one(2)),
        connection("late", "in", "p", one(6), delay=4),
        connection("own", "p", "p", one(4), delay=2),
    ]
    events = np.zeros((2, 6, 1), bool)
    events[0, [1, 4]] = events[1, 0] = True
    traces = run(graph_chip(populations, connections, 6), Inputs(events=events), engine=engine, record=TRACES).activity.traces["p"]
    assert traces.u is not None
    assert (traces.u[:, :, 0] // 64).tolist() == [[0, 2, 0, 4, 8, 4], [2, 0, 4, 6, 4, 4]]


@pytest.mark.parametrize("engine", ENGINES)
def test_parts_that_nothing_joins_run_beside_each_other(engine: str) -> None:
    rng = np.random.default_rng(3)
    populations = [
        neurons("alone", (3,), is_source=True),
        neurons("in", (4,), vth=50, is_source=True),
        neurons("a", (3,), vth=60),
        neurons("ticks", (2,), vth=20, bias=700),
        neurons("b", (3,), vth=90),
    ]
    connections = [connection("a", "in", "a", dense(rng, 3, 4)), connection("b", "ticks", "b", dense(rng, 3, 2), delay=2)]
    inputs = Inputs(bias={"in": rng.integers(500, 6000, (2, 4))}, events={"alone": rng.random((2, 5, 3)) < 0.5})
    exact = assert_equal_to_exact(graph_chip(populations, connections, 5), inputs, engine)
    assert all(counts.sum() for counts in exact.spike_counts.values())


def _skip(synapses: Synapses, *, size: int = 2, **settings: int) -> Deployment:
    populations = [neurons("in", (size,), is_source=True), neurons("out", (size,))]
    direct = Sparse.of(size, size, np.array([0]), np.array([0]), np.array([2], np.int32))
    connections = [connection("out", "in", "out", direct), connection("skip", "in", "out", synapses, **settings)]
    return graph_chip(populations, connections, 3)


def _pairs(size: int, **more: object) -> Sparse:
    ids = np.arange(size)
    return Sparse.of(size, size, ids, ids, np.full(size, 2, np.int32), **more)


@pytest.mark.skipif(importlib.util.find_spec("lava") is None, reason="lava-nc is not installed")
def test_lava_refuses_by_the_name_of_the_connection() -> None:
    def reason(deployment: Deployment) -> str | None:
        return get_engine("lava").supports(deployment)

    assert reason(_skip(_pairs(2, delay=np.array([0, 63])), delay=99)) is None
    assert reason(_skip(_pairs(2, delay=np.array([0, 64])))) == "connection 'skip': delay 64 is above Lava's 63"
    many = _pairs(2100, delay=np.arange(2100) % 3)
    assert reason(_skip(_pairs(2100), size=2100, delay=3)) is None
    assert reason(_skip(many, size=2100)) == (
        "connection 'skip': Lava's DelayDense holds every pair of neurons, and 2100 × 2100 are too many for that"
    )
    wide = _skip(_pairs(2100), size=2100)
    assert reason(wide.with_damage(Damage((Drop("skip", 1, np.array([0]), np.arange(9)),)))) == (
        "connection 'skip': synapses that change in time are rewritten in each step, and 2100 × 2100 are too many for that"
    )


@pytest.mark.skipif(importlib.util.find_spec("brian2") is None, reason="brian2 is not installed")
def test_brian2_refuses_by_the_name_of_the_connection() -> None:
    assert get_engine("brian2").supports(_skip(_pairs(2), exponent=25)) == "connection 'skip': weight exponent 25 is outside −31…24"


@pytest.mark.skipif(importlib.util.find_spec("snntorch") is None, reason="snntorch is not installed")
def test_snntorch_refuses_by_the_name_of_the_connection_and_adds_connections_up() -> None:
    def reason(deployment: Deployment) -> str | None:
        return get_engine("snntorch").supports(deployment)

    assert reason(_skip(_pairs(2, delay=np.array([0, 1])))) == "connection 'skip': snnTorch has no synaptic delays"
    assert reason(_skip(_pairs(2), exponent=15)) is None
    both = _skip(Dense(np.array([[128, 0], [0, 0]], np.int32)), exponent=10)
    assert (
        reason(both)
        == "layer 'out': current and bias of one step may reach 8388736, not below 2**23: u may wrap, float32 may round"
    )
    drop = _skip(_pairs(2)).with_damage(Damage((Drop("skip", 1, np.array([0]), np.arange(2)),)))
    assert reason(drop) == "connection 'skip': snnTorch takes permanent Silence and SetSynapses, not Drop"


@pytest.mark.skipif(importlib.util.find_spec("snntorch") is None, reason="snntorch is not installed")
def test_the_twin_learns_through_loops_and_single_synapses() -> None:
    import torch

    from neurofault.engines.on_snntorch.engine import twin

    rng = np.random.default_rng(5)
    populations = [neurons("in", (4,), is_source=True), neurons("h", (4,), vth=40), neurons("out", (3,), vth=131071, fires=False)]
    connections = [
        connection("h", "in", "h", dense(rng, 4, 4), exponent=-2),
        connection("loop", "h", "h", _pairs(4), exponent=3),
        connection("out", "h", "out", dense(rng, 3, 4)),
    ]
    module = twin(graph_chip(populations, connections, 6, how="potential"))
    labels = torch.tensor([0, 1, 2, 0])
    events = rng.random((4, 6, 4)) < 0.5
    torch.nn.functional.cross_entropy(module(Inputs(events=events)).potential / 2**14, labels).backward()
    for one in connections:
        gradient = module.weight(one.name).grad
        assert gradient is not None
        assert gradient.shape == one.synapses.weight.shape
        assert float(gradient.abs().sum()) > 0
