"""Lava graphs as networks of ours: equal to what Lava runs, or refused with the process's name."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurofault.activity import TRACES
from neurofault.deploy import deploy
from neurofault.engines import run
from neurofault.errors import ConversionError
from neurofault.faults import fault_from_mapping, inject

if importlib.util.find_spec("lava") is None:
    pytest.skip("lava-nc is not installed", allow_module_level=True)

import stranger_graphs as graphs
from stranger_graphs import LIF, Conv, DelayDense, Dense, Sparse, stranger

import neurofault.lava as nl
from neurofault.graph.synapses import Stored


def test_every_kind_of_connection_equals_lava_at_every_step():
    lava = nl.run_watched(graphs.imaged, 20, timeout=600)
    graph = nl.read_graph(graphs.imaged(), timesteps=20)
    ours = run(deploy(graph.network), graph.inputs, record=TRACES).activity.traces
    assert list(ours) == list(lava) == ["input", "hidden1", "hidden2", "output"]
    for name, traces in lava.items():
        for state in TRACES:
            if getattr(traces, state) is not None:
                np.testing.assert_array_equal(getattr(ours[name], state), getattr(traces, state), f"{name} {state}")
        assert 0.02 < traces.spikes.mean() < 0.9, name
    assert (lava["input"].u, lava["input"].v) == (None, None)


def assert_equal(ours: Any, lava: Any) -> None:
    assert set(ours) == set(lava)
    for name, traces in lava.items():
        for state in TRACES:
            if getattr(traces, state) is not None:
                np.testing.assert_array_equal(getattr(ours[name], state), getattr(traces, state), f"{name} {state}")
        assert 0.01 < traces.spikes.mean() < 0.95, name


def test_graphs_with_branches_and_loops_equal_lava_at_every_step():
    steps = 18
    for seed, lava in zip((1, 2, 3), nl.watched(graphs.looped_runs, [1, 2, 3], steps, timeout=600), strict=True):
        graph = nl.read_graph(graphs.looped(seed), timesteps=steps)
        network = graph.network
        assert {one.name for one in network.connections if one.source == one.target} == {"again", "own"}
        assert (network.inputs, network.readout.population) == (("eyes", "ears"), "out")
        assert_equal(run(deploy(network), graph.inputs, record=TRACES).activity.traces, lava)


def test_faults_in_a_graph_with_loops_do_the_same_in_lava():
    steps = 18
    faults = [
        {"kind": "core_dead", "count": 1, "layer": "left"},
        {"kind": "synapse_stuck", "count": 5, "connection": "again", "value": 120},
        {"kind": "neuron_threshold", "count": 2, "layer": "meet", "factor": 0.5, "when": {"kind": "death", "at": 6}},
    ]
    lava = nl.watched(graphs.looped_broken, faults, steps, timeout=600)
    graph = nl.read_graph(graphs.looped(1), timesteps=steps)
    chip = inject(deploy(graph.network, neurons_per_core=4), [fault_from_mapping(fault) for fault in faults], seed=2)
    assert_equal(run(chip, graph.inputs, record=("spikes",)).activity.traces, {
        name: replace(traces, u=None, v=None) for name, traces in lava.items()
    })  # fmt: skip


def test_names_and_phases_of_a_graph():
    network = nl.from_lava(graphs.looped(1), timesteps=3)
    assert [one.name for one in network.populations] == ["eyes", "ears", "left", "right", "meet", "own", "out", "seen"]
    assert network.schedule.phase == {"eyes": 0, "ears": 0, "own": 1, "left": 1, "right": 1, "meet": 1, "seen": 2, "out": 2}
    assert [one.name for one in network.connections if one.target == "right"] == ["right.eyes", "right.left", "again"]
    assert [one.name for one in nl.from_lava(_loop(bias_mant=5), timesteps=3, readout="b").populations] == ["a", "b"]


def test_integers_formats_and_names_are_carried():
    network = nl.from_lava(graphs.imaged()[3], timesteps=5)  # one process stands for the whole graph
    stored = [connection.stored for connection in network.connections]
    assert stored == [Stored(2, 8, "mixed"), Stored(-1, 5, "inhibitory"), Stored(0, 8, "excitatory")]
    assert [population.shape for population in network.populations] == [(4, 4, 5), (6, 6, 5), (2, 2, 3), (3, 2, 2)]
    starts = [population.neuron.start for population in network.populations]
    assert starts == [None, 0, 7700, 0]  # −300 and two steps of bias before the first input
    assert (network.timesteps, network.readout.how, network.encoding) == (5, "count", None)
    assert [population.name for population in nl.from_lava(stranger(), timesteps=5).populations] == ["source", "image", "out"]


def test_a_conv_as_the_sparse_connection_with_its_settings():
    conv = Conv(weight=np.full((1, 1, 1, 1), 77), input_shape=(1, 1, 1), weight_exp=2, num_weight_bits=4)
    members = _chain(LIF(shape=(1, 1, 1)), conv, LIF(shape=(1, 1, 1)))
    as_lava = nl.from_lava(members, timesteps=3).connections[0]
    as_sparse = nl.from_lava(members, timesteps=3, conv="sparse").connections[0]
    assert (as_lava.synapses.weight.item(), as_lava.stored.weight_exponent, as_lava.stored.weight_bits) == (77, 0, 8)
    assert (as_sparse.synapses.weight.item(), as_sparse.stored.weight_exponent, as_sparse.stored.weight_bits) == (64, 2, 4)


def test_layers_that_begin_with_their_first_input():
    out = LIF(shape=(2,), vth=10, bias_mant=np.array([0, 100]), name="out")
    members = _chain(LIF(shape=(2,)), Dense(weights=np.eye(2)), out)
    staggered = nl.from_lava(members, timesteps=3, starts="staggered")
    assert staggered.populations[1].neuron.start == 0
    assert nl.from_lava(members, timesteps=3).populations[1].neuron.start.tolist() == [0, 100]


def _chain(*members: Any) -> list[Any]:
    for before, after in itertools.pairwise(members):
        out = before.s_out if hasattr(before, "s_out") else before.a_out
        into = after.a_in if hasattr(after, "a_in") else after.s_in
        out.reshape(into.shape).connect(into)
    return list(members)


def _two(connection: Any = None, **settings: Any) -> list[Any]:
    connection = connection or Dense(weights=np.eye(3), name="wires")
    return _chain(LIF(shape=connection.s_in.shape, name="a"), connection, LIF(shape=connection.a_out.shape, name="b", **settings))


def _loop(**settings: Any) -> list[Any]:
    members = _two(**settings)
    back = Dense(weights=np.eye(3), name="back")
    members[2].s_out.connect(back.s_in)
    back.a_out.connect(members[0].a_in)
    return [*members, back]


def _fork() -> list[Any]:
    members = _two()
    other = Dense(weights=np.eye(3), name="other")
    members[0].s_out.connect(other.s_in)
    third = LIF(shape=(3,), name="c")
    other.a_out.connect(third.a_in)
    return [*members, other, third]


def _outsider() -> list[Any]:
    return _fork()[:3]


def _join() -> list[Any]:
    members = _two()
    more = _two(Dense(weights=np.eye(3), name="more"))
    more[1].a_out.connect(members[2].a_in)
    return members


def _shared() -> list[Any]:
    members = [*_two(), LIF(shape=(3,), name="c")]
    members[1].a_out.connect(members[3].a_in)
    return members


def _both() -> list[Any]:
    members = [*_two(), LIF(shape=(3,), name="c")]
    members[3].s_out.connect(members[1].s_in)
    return members


def _direct() -> list[Any]:
    members = [*_two(), LIF(shape=(3,), name="c")]
    members[0].s_out.connect(members[3].a_in)
    return members


def _twice() -> list[Any]:
    members = _two()
    more = Dense(weights=np.eye(3), name="more")
    members[1].a_out.connect(more.s_in)
    return [*members, more]


def _turned() -> list[Any]:
    members = [LIF(shape=(2, 3), name="a"), Dense(weights=np.eye(6), name="wires"), LIF(shape=(6,), name="b")]
    members[0].s_out.transpose((1, 0)).reshape((6,)).connect(members[1].s_in)
    members[1].a_out.connect(members[2].a_in)
    return members


def _reset() -> list[Any]:
    from lava.proc.lif.process import LIFReset

    return _chain(LIF(shape=(3,), name="a"), Dense(weights=np.eye(3)), LIFReset(shape=(3,), reset_interval=5, name="b"))


def _kernel(weights: Any) -> Any:
    return Conv(weight=np.array(weights).reshape(1, -1, 1, 1), input_shape=(4, 1, 1), name="kernel")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (_loop, "which population is read? every one drives another; say readout=, one of a, b"),
        (_fork, "which population is read? 'b' and 'c' drive no other; say readout=, one of a, b, c"),
        (_shared, "Dense 'wires' drives LIF 'b' and LIF 'c'; give each a connection of its own"),
        (_both, "Dense 'wires' is driven by LIF 'a' and LIF 'c'; Lava makes one spike of theirs; give each a connection of its own"),
        (_direct, "LIF 'c' stands where a connection is expected, behind LIF 'a'"),
        (_twice, "Dense 'more' stands where a LIF is expected, behind Dense 'wires'"),
        (_outsider, "LIF 'a' also drives Dense 'other', which is not among the processes"),
        (_join, "LIF 'b' is driven by Dense 'more', which is not among the processes"),
        (_turned, "LIF 'a' → Dense 'wires': a TransposePort lies between; only reshape and flatten can be imported"),
        (lambda: _two()[:2], "Dense 'wires' also drives LIF 'b', which is not among the processes"),
        (lambda: [], "no processes to import"),
        (lambda: _two(u=5), "LIF 'b' starts with u = 5; only u = 0 can be imported"),
        (lambda: [LIF(shape=(3,), v=[1, 2, 3], name="a")], "LIF 'a' begins at v = 1, 2, 3, and an input begins at one v for all neurons"),
        (
            lambda: _two(bias_mant=700, vth=10),
            "LIF 'b' fires in step 1, before its first input, which arrives in step 2; "
            'starts="staggered" lets each layer begin with its first input',
        ),
        (lambda: _two(du=0.5), "LIF 'b': du is 0.5; Lava's fixed_pt model takes whole numbers"),
        (lambda: _two(bias_exp=[0, 1, 1]), "LIF 'b': bias_exp is [0, 1] in one population; use one LIF for each"),
        (lambda: _two(Dense(weights=np.eye(3), num_weight_bits=9, name="w")), "Dense 'w': num_weight_bits is 9, allowed are 1 to 8"),
        (
            lambda: _two(_kernel([1, -300])),
            "Conv 'kernel': weights -300 … 1 are not 8-bit stored weights times a power of two, "
            "which Lava's Conv does not mind; requantise the kernel",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_named(members, message):
    with pytest.raises(ConversionError) as error:
        nl.from_lava(members(), timesteps=4)
    assert str(error.value) == message


def test_a_process_of_another_class_is_named():
    with pytest.raises(ConversionError) as error:
        nl.from_lava(_reset()[0], timesteps=4)
    assert (
        str(error.value)
        == "LIFReset 'b' is not one of LIF, RingBuffer, Dense, DelayDense, Sparse, Conv, nor a listener without outputs"
    )
    members = _two()
    monitor = graphs.Monitor()
    monitor.probe(members[2].s_out, 5)
    assert len(nl.from_lava(members[0], timesteps=4).populations) == 2


def test_steps_must_be_at_least_one():
    with pytest.raises(ConversionError, match=r"^timesteps must be at least 1, is 0$"):
        nl.from_lava(_two(), timesteps=0)


def test_kernels_of_any_even_odd_or_signed_weights_are_carried_exactly():
    for weights, exponent, sign_mode in (
        ([254, -256], 0, "mixed"),
        ([3, -127], -1, "mixed"),
        ([3, 255], 0, "excitatory"),
        ([0, -255], 0, "inhibitory"),
        ([512, -256 * 4], 2, "mixed"),
        ([256 * 5, 0], 3, "excitatory"),
    ):
        held = nl.from_lava(_two(_kernel(weights)), timesteps=3).connections[0]
        assert (held.stored.weight_exponent, held.stored.sign_mode) == (exponent, sign_mode), weights
        kernel = held.synapses.weight.astype(float) * 2.0**exponent
        np.testing.assert_array_equal(np.sort(kernel.ravel()), np.sort(weights))


def test_sign_modes_that_are_given_and_inferred():
    given = Sparse(weights=np.array([[3, 0], [5, 200]]), sign_mode=graphs.SignMode.MIXED)
    assert nl.from_lava(_two(given), timesteps=3).connections[0].synapses.weight.tolist() == [[2, 0], [4, 200]]
    inferred = DelayDense(weights=np.array([[3, 0], [5, 300]]), delays=2)
    held = nl.from_lava(_two(inferred), timesteps=3).connections[0]
    assert (held.synapses.weight.tolist(), held.stored.sign_mode) == ([[3, 0], [5, 255]], "excitatory")
    assert held.synapses.delay.tolist() == [[2, 2], [2, 2]]
