"""Networks as graphs: what fits together, and what is refused in which words."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import ConversionError, UnsupportedError, UsageError
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Source, Sparse, chain
from neurofault.graph.chains import links, not_a_chain
from neurofault.graph.synapses import Stored


def lif(name: str, size: int, **fields: object) -> Population:
    return Population(name, (size,), CubaLif(1.0, **fields))


def dense(n_out: int, n_in: int) -> Dense:
    return Dense(np.full((n_out, n_in), 0.5))


INPUT = Population("input", (3,), Source())


def recurrent(**changes: object) -> Network:
    """input → hidden ⟲, hidden → output, and a skip input → output."""
    fields: dict[str, object] = {
        "name": "net",
        "populations": (INPUT, lif("hidden", 4), lif("output", 2)),
        "connections": (
            Connection("hidden", "input", "hidden", dense(4, 3)),
            Connection("hidden.rec", "hidden", "hidden", dense(4, 4)),
            Connection("output", "hidden", "output", dense(2, 4)),
            Connection("skip", "input", "output", dense(2, 3)),
        ),
        "timesteps": 5,
        "readout": Readout("output", "count"),
    }
    return Network(**{**fields, **changes})


def test_exactly_these_names_are_public():
    import neurofault.graph

    assert neurofault.graph.__all__ == [
        "Connection", "Conv", "CubaLif", "Dense", "Encoding", "Network", "Population", "Readout", "Schedule", "Source", "Sparse", "chain",
    ]  # fmt: skip
    for name in ("Connection", "Conv", "CubaLif", "Dense", "Network", "Population", "Readout", "Schedule", "Sparse", "chain"):
        assert getattr(nf, name) is getattr(neurofault.graph, name)


def test_neighbours_are_found_by_connection():
    net = recurrent()
    assert [one.name for one in net.into("output")] == ["output", "skip"]
    assert [one.name for one in net.out_of("hidden")] == ["hidden.rec", "output"]
    assert net.inputs == ("input",)
    assert net.readout.population == "output"


def test_the_schedule_of_a_graph_with_a_loop_and_a_skip():
    schedule = recurrent().schedule
    assert schedule.phase == {"input": 0, "hidden": 1, "output": 1}
    assert schedule.lag == {"hidden": 0, "hidden.rec": 1, "output": 1, "skip": 0}
    assert schedule.islands == (("input",), ("hidden",), ("output",))
    assert schedule.loops == (False, True, False)
    assert schedule.depth == 1


def test_a_chain_has_its_position_as_phase_and_no_lag():
    net = chain("net", [INPUT, lif("a", 4), lif("b", 2)], [dense(4, 3), dense(2, 4)], timesteps=3)
    assert net.schedule.phase == {"input": 0, "a": 1, "b": 2}
    assert set(net.schedule.lag.values()) == {0}
    assert [one.name for one in net.connections] == ["a", "b"]
    assert not_a_chain(net) is None
    assert [(link.index, link.population.name) for link in links(net, "this test")] == [(0, "input"), (1, "a"), (2, "b")]


def test_a_population_that_only_a_bias_drives_starts_when_it_is_needed():
    clock = lif("clock", 1, bias=0.5)
    net = recurrent(
        populations=(INPUT, lif("hidden", 4), lif("output", 2), clock),
        connections=(
            Connection("hidden", "input", "hidden", dense(4, 3)),
            Connection("output", "hidden", "output", dense(2, 4)),
            Connection("tick", "clock", "output", dense(2, 1)),
        ),
    )
    assert net.schedule.phase == {"input": 0, "hidden": 1, "output": 2, "clock": 1}
    assert set(net.schedule.lag.values()) == {0}


def test_islands_come_in_topological_order_whatever_the_order_of_the_populations():
    names = ["d", "b", "a", "c", "input"]
    populations = (*(lif(name, 1) for name in names[:-1]), Population("input", (1,), Source()))
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]
    net = Network("net", populations, tuple(Connection(f"{a}{b}", a, b, dense(1, 1)) for a, b in edges), 4, Readout("d", "count"))
    assert net.schedule.islands == (("input",), ("a",), ("b", "c"), ("d",))
    assert net.schedule.loops == (False, False, True, False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"populations": (INPUT, lif("hidden", 4), lif("hidden", 2))},
            "two populations are called 'hidden'; names must be unique",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", dense(4, 3)), Connection("c", "hidden", "output", dense(2, 4)))},
            "two connections are called 'c'; names must be unique",
        ),
        (
            {"connections": (Connection("c", "inptu", "hidden", dense(4, 3)),)},
            "connection 'c' ('inptu' → 'hidden'): no population 'inptu' (did you mean 'input'?); populations: input, hidden, output",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", dense(4, 3), 0),)},
            "connection 'c' ('input' → 'hidden'): delay must be at least 1 step, is 0",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", dense(4, 3), 1.5),)},
            "connection 'c' ('input' → 'hidden'): delay must be a whole number of steps, is 1.5",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", dense(4, 2)),)},
            "connection 'c' ('input' → 'hidden'): synapses join 2 → 4 neurons, but 'input' has 3 and 'hidden' has 4",
        ),
        (
            {"connections": (Connection("c", "hidden", "input", dense(3, 4)),)},
            "connection 'c' ('hidden' → 'input'): 'input' is driven from outside; nothing else may drive it",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", dense(4, 3)),)},
            "population 'output': no connection drives it and it has no bias, so it never does anything",
        ),
        ({"timesteps": 0}, "network 'net': timesteps must be at least 1, is 0"),
        ({"timesteps": 2.5}, "network 'net': timesteps must be a whole number, is 2.5"),
        (
            {"connections": (Connection("c", "input", "hidden", Dense(np.full((4, 3), np.nan))),)},
            "connection 'c' ('input' → 'hidden'): weight: 12 of 12 values are not finite (the first: nan at [0, 0]); did training diverge?",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", Dense(np.ones((4, 3)), np.full((4, 3), 64))),)},
            "connection 'c' ('input' → 'hidden'): delays of synapses lie in 64 … 64; allowed: 0 to 63 extra steps",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", Dense(np.ones((4, 3, 1)))),)},
            "connection 'c' ('input' → 'hidden'): weight has the shape (4, 3, 1); [n_out, n_in] is taken",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", Conv(np.ones((4, 3, 1, 1, 1)), (3, 1, 1))),)},
            "connection 'c' ('input' → 'hidden'): weight has the shape (4, 3, 1, 1, 1); [c_out, c_in/groups, k_h, k_w] is taken",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", Conv(np.ones((4, 3, 1, 1)), (3, 1, 1), groups=2)),)},
            "connection 'c' ('input' → 'hidden'): a kernel of 4 by 3 channels in 2 groups does not fit 3 input channels; "
            "the groups divide both, and a kernel's second size is c_in/groups",
        ),
        (
            {"connections": (Connection("c", "input", "hidden", dense(4, 3), stored=Stored()),)},
            "connection 'c' ('input' → 'hidden'): population 'hidden' has real numbers, the weights integers",
        ),
        ({"populations": ()}, "network 'net' has no population"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_ends(changes: dict[str, object], message: str):
    with pytest.raises(ConversionError) as caught:
        recurrent(**changes)
    assert str(caught.value) == message


def test_a_readout_that_nothing_reaches_is_refused():
    with pytest.raises(ConversionError, match=r"^network 'net': no input and no bias reaches its readout 'output'$"):
        recurrent(
            populations=(INPUT, lif("hidden", 4), lif("output", 2)),
            connections=(
                Connection("hidden", "input", "hidden", dense(4, 3)),
                Connection("output.rec", "output", "output", dense(2, 2)),
            ),
        )


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        UsageError, match=r"^no population 'hiden' \(did you mean 'hidden'\?\); populations: input, hidden, output$"
    ):
        recurrent().into("hiden")
    with pytest.raises(UsageError) as caught:
        recurrent(readout=Readout("ouput"))
    assert str(caught.value) == "no population 'ouput' (did you mean 'output'?); populations: input, hidden, output"
    with pytest.raises(
        UsageError, match=r"^no connection 'skipp' \(did you mean 'skip'\?\); connections: hidden, hidden.rec, output, skip$"
    ):
        recurrent().connection("skipp")


def test_what_takes_chains_only_names_what_makes_it_more():
    with pytest.raises(UnsupportedError, match=r"^this test takes chains only, and connection 'hidden.rec' drives itself$"):
        links(recurrent(), "this test")


def test_sparse_synapses_are_sorted_and_checked():
    own = Sparse.of(2, 3, np.array([1, 0, 1]), np.array([2, 1, 0]), np.array([1.0, 2.0, 3.0]))
    assert (own.starts.tolist(), own.sources.tolist(), own.weight.tolist(), own.targets.tolist()) == (
        [0, 1, 3], [1, 0, 2], [2.0, 3.0, 1.0], [0, 1, 1],
    )  # fmt: skip
    twice = Sparse(3, np.array([0, 2]), np.array([1, 1]), np.ones(2))
    with pytest.raises(ConversionError, match="sources must rise within a row, each pair of neurons once"):
        recurrent(populations=(INPUT, lif("output", 1)), connections=(Connection("output", "input", "output", twice),))


def test_delays_of_a_convolution_have_its_kernels_shape():
    kernel = np.ones((2, 1, 3, 3))
    net = chain(
        "net",
        [Population("input", (1, 4, 4), Source()), Population("output", (2, 2, 2), CubaLif(1.0))],
        [Conv(kernel, (1, 4, 4), delay=np.zeros(kernel.shape, np.int64))],
        timesteps=2,
    )
    assert net.connections[0].synapses.delay is not None
    with pytest.raises(ConversionError, match=r"delays have the shape \(2, 1, 3\), but weights \(2, 1, 3, 3\)$"):
        chain("net", net.populations, [Conv(kernel, (1, 4, 4), delay=np.zeros((2, 1, 3), np.int64))], timesteps=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"reset": "substract"},
            "population 'hidden': reset must be zero, subtract or none, is 'substract' (did you mean 'subtract'?)",
        ),
        ({"reset_delay": 2}, "population 'hidden': reset_delay must be 0 or 1, is 2"),
        ({"refractory": -1}, "population 'hidden': refractory must be whole steps from 0 to 1048576, is -1"),
        ({"refractory": 1.5}, "population 'hidden': refractory must be whole steps from 0 to 1048576, is 1.5"),
        ({"refractory": np.ones(3, int)}, "population 'hidden': refractory has the shape (3,); allowed: a number, or [4]"),
        (
            {"refractory": 2, "reset_delay": 1},
            "population 'hidden': reset_delay 1 beside refractory steps: a neuron is held before it is reset; allowed: one of them",
        ),
        ({"floor": 0.5}, "population 'hidden': floor must be at most 0, where v rests, is 0.5"),
        ({"floor": np.array([0, -1])}, "population 'hidden': floor has the shape (2,); allowed: a number, or [4]"),
        ({"floor": np.nan}, "population 'hidden': floor: 1 of 1 values are not finite (the first: nan); did training diverge?"),
        ({"start": np.zeros(5)}, "population 'hidden': start has the shape (5,); allowed: a number, or [4]"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_laws_that_say_nothing_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConversionError) as error:
        recurrent(populations=(INPUT, lif("hidden", 4, **fields), lif("output", 2)))
    assert str(error.value) == message
