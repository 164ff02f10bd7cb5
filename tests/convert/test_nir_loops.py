"""NIR graphs that are more than a chain: joins, skips, loops, Delays, graphs within graphs, several inputs; beside a graph that the test computes itself."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.errors import ConversionError, DataError

nir = pytest.importorskip("nir")

T, N = 12, 3


def whole(rng, *shape, step=2):
    """Weights that the chip holds as they are: even, and the largest, 254, fills its field."""
    weight = step * rng.integers(-40 // step, 100 // step, shape).astype(float)
    weight.flat[int(rng.integers(0, weight.size))] = 254
    return weight


def integrators(n=N, threshold=400.0):
    return nir.IF(r=np.ones(n), v_threshold=np.full(n, threshold))


def graph(nodes, edges, *, sizes=None, **metadata):
    """Nodes between an input of N values and an output of N."""
    nodes = (
        {name: nir.Input(np.array([n])) for name, n in (sizes or {"input": N}).items()}
        | nodes
        | {"output": nir.Output(np.array([N]))}
    )
    return nir.NIRGraph(nodes, edges, metadata=metadata, type_check=False)


def names_of(network):
    """Node → population, of a graph that is no chain."""
    said = next(note for note in network.notes if note.startswith("populations: "))
    return {node: name for name, node in re.findall(r"(\S+) is node '([^']*)'", said)}


def spikes_of(network, events):
    chip = nf.deploy(network)
    given = dict(zip(network.inputs, events, strict=True))
    traces = nf.run(chip, nf.Inputs(events=given), record=["spikes"]).activity.traces
    return {name: trace.spikes for name, trace in traces.items()}


def integrate(drives, events, *, threshold=400.0, subtract=False):
    """Spikes [samples, T, n] of integrators; ``drives``: node → list of (source, weight, steps late), in an order that works within a step."""
    samples = len(next(iter(events.values())))
    spikes = {name: np.asarray(value, float) for name, value in events.items()}
    v = {}
    for name, into in drives.items():
        n = len(into[0][1])
        spikes[name], v[name] = np.zeros((samples, T, n)), np.zeros((samples, n))
    for t in range(T):
        for name, into in drives.items():
            for source, weight, late in into:
                if t >= late:
                    v[name] = v[name] + spikes[source][:, t - late] @ weight.T
            fired = v[name] > threshold
            spikes[name][:, t] = fired
            v[name] = np.where(fired, v[name] - threshold if subtract else 0.0, v[name])
    return spikes


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1), subtract=st.booleans())
def test_random_graphs_give_the_spikes_of_their_equations(seed, subtract):
    rng = np.random.default_rng(seed)
    nodes, edges, drives = {}, [], {}
    for number in range(int(rng.integers(1, 5))):
        name = f"p{number}"
        nodes[name] = integrators()
        into = [*drives, "input"]
        chosen = [one for one in into if rng.random() < 0.5] or [into[0] if drives else "input"]
        if rng.random() < 0.5:
            chosen.append(name)
        drives[name] = []
        for source in chosen:
            weight = whole(rng, N, N)
            steps = int(rng.choice([0, 0, 1, 3]))
            nodes[f"w_{source}_{name}"] = nir.Linear(weight)
            way = [source, f"w_{source}_{name}", name]
            if steps:
                nodes[f"d_{source}_{name}"] = nir.Delay(np.full(N, 0.5 * steps))
                way.insert(int(rng.integers(1, 3)), f"d_{source}_{name}")
            edges += itertools.pairwise(way)
            drives[name].append((source, weight, steps if source != name else max(steps, 1)))
    edges.append((name, "output"))
    rng.shuffle(edges)
    made = graph(dict(rng.permutation(np.array(list(nodes.items()), object)).tolist()), [tuple(edge) for edge in edges], dt=0.5)
    events = rng.random((4, T, N)) < 0.5
    network = from_nir(made, timesteps=T, coding=None, reset="subtract" if subtract else "zero")
    found, expected = spikes_of(network, [events]), integrate(drives, {"input": events}, subtract=subtract)
    if any(note.startswith("populations: ") for note in network.notes):
        named = names_of(network)
    else:  # a chain
        named = dict(zip(drives, [one.name for one in network.populations[1:]], strict=True))
    for node, population in named.items():
        if population != "input":
            assert np.array_equal(found[population], expected[node] > 0), (node, population)


def test_two_populations_that_drive_each_other_act_one_step_later():
    weights = {key: whole(np.random.default_rng(seed), N, N) for seed, key in enumerate(("ia", "ib", "ab", "ba"))}
    nodes = {"a": integrators(), "b": integrators()} | {f"w{key}": nir.Linear(weight) for key, weight in weights.items()}
    edges = [
        ("input", "wia"),
        ("wia", "a"),
        ("input", "wib"),
        ("wib", "b"),
        ("a", "wab"),
        ("wab", "b"),
        ("b", "wba"),
        ("wba", "a"),
        ("b", "output"),
    ]
    network = from_nir(graph(nodes, edges), timesteps=T, coding=None)
    assert {one.delay for one in network.connections} == {1}
    assert "spikes of node 'a' act on 'b' one step later: they close a loop" in network.notes
    events = np.random.default_rng(9).random((5, T, N)) < 0.4
    drives = {
        "a": [("input", weights["ia"], 0), ("b", weights["ba"], 1)],
        "b": [("input", weights["ib"], 0), ("a", weights["ab"], 1)],
    }
    found, expected = spikes_of(network, [events]), integrate(drives, {"input": events})
    assert expected["a"].any()
    assert all(np.array_equal(found[population], expected[node] > 0) for node, population in names_of(network).items())


def test_a_loop_over_two_populations_takes_two_steps_which_is_said():
    ones = nir.Linear(np.full((N, N), 254.0))
    nodes = {"a": integrators(), "b": integrators(), "in": ones, "ab": ones, "ba": ones}
    edges = [("input", "in"), ("in", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("b", "output")]
    network = from_nir(graph(nodes, edges), timesteps=T, coding=None)
    back = next(one for one in network.connections if one.source == names_of(network)["b"])
    assert network.schedule.lag[back.name] == 2
    assert (
        "spikes of node 'b' act on 'a' 2 steps later, where the file means 1: a loop over several populations takes a step for each of them on a chip"
        in network.notes
    )


@pytest.mark.parametrize("detour", [1, 3])
def test_a_detour_into_a_loop_makes_its_way_round_no_longer(detour):
    long = [f"x{number}" for number in range(detour)]
    ways = [("input", "a"), ("a", "b"), ("b", "a"), *itertools.pairwise(["input", *long, "b"]), ("b", "c"), ("a", "c")]
    weights = {way: whole(np.random.default_rng(seed), N, N) for seed, way in enumerate(ways)}
    nodes = {name: integrators() for name in ("a", "b", *long, "c")}
    edges = [("c", "output")]
    for (source, target), weight in weights.items():
        nodes[f"{source}_{target}"] = nir.Linear(weight)
        edges += [(source, f"{source}_{target}"), (f"{source}_{target}", target)]
    network = from_nir(graph(nodes, edges), timesteps=T, coding=None)
    assert [note for note in network.notes if "later" in note] == [
        "spikes of node 'b' act on 'a' 2 steps later, where the file means 1: a loop over several populations takes a step for each of them on a chip"
    ]
    drives = {
        name: [
            (source, weight, 2 * ((source, target) == ("b", "a"))) for (source, target), weight in weights.items() if target == name
        ]
        for name in ("a", *long, "b", "c")
    }
    events = np.random.default_rng(5).random((5, T, N)) < 0.4
    found, expected = spikes_of(network, [events]), integrate(drives, {"input": events})
    assert expected["a"].any()
    assert all(
        np.array_equal(found[population], expected[node] > 0) for node, population in names_of(network).items() if node != "input"
    )


def test_a_graph_within_is_what_it_holds(tmp_path):
    rng = np.random.default_rng(3)
    first, back, last = (whole(rng, N, N) for _ in range(3))
    flat = graph(
        {
            "in": nir.Linear(first),
            "loop.lif": integrators(),
            "loop.rec": nir.Linear(back),
            "out": nir.Linear(last),
            "end": integrators(),
        },
        [
            ("input", "in"),
            ("in", "loop.lif"),
            ("loop.lif", "loop.rec"),
            ("loop.rec", "loop.lif"),
            ("loop.lif", "out"),
            ("out", "end"),
            ("end", "output"),
        ],
    )
    within = nir.NIRGraph(
        {"input": nir.Input(np.array([N])), "lif": integrators(), "rec": nir.Linear(back), "output": nir.Output(np.array([N]))},
        [("input", "lif"), ("lif", "rec"), ("rec", "lif"), ("lif", "output")],
    )
    nested = graph(
        {"in": nir.Linear(first), "loop": within, "out": nir.Linear(last), "end": integrators()},
        [("input", "in"), ("in", "loop"), ("loop", "out"), ("out", "end"), ("end", "output")],
    )
    nir.write(tmp_path / "nested.nir", nested)
    one, *others = (from_nir(each, timesteps=T, coding=None) for each in (flat, nested, tmp_path / "nested.nir"))
    weights = {each.name: each.synapses.weight for each in one.connections}
    assert sorted(weights) == ["hidden1", "hidden1.rec", "output"]
    for other in others:
        assert {each.name: (each.source, each.target, each.delay) for each in other.connections} == {
            each.name: (each.source, each.target, each.delay) for each in one.connections
        }
        assert all(np.array_equal(weights[each.name], each.synapses.weight) for each in other.connections)


def test_several_inputs_take_events_each():
    rng = np.random.default_rng(4)
    left, right = whole(rng, N, 2), whole(rng, N, 4)
    nodes = {"l": nir.Linear(left), "r": nir.Linear(right), "sum": integrators()}
    edges = [("left", "l"), ("right", "r"), ("l", "sum"), ("r", "sum"), ("sum", "output")]
    network = from_nir(graph(nodes, edges, sizes={"left": 2, "right": 4}), timesteps=T)
    assert network.inputs == ("left", "right")
    events = [rng.random((3, T, n)) < 0.5 for n in (2, 4)]
    drives = {"sum": [("left", left, 0), ("right", right, 0)]}
    expected = integrate(drives, {"left": events[0], "right": events[1]})["sum"]
    assert np.array_equal(spikes_of(network, events)["output"], expected > 0)


def test_delays_of_single_lines_become_those_of_synapses():
    weight = np.abs(whole(np.random.default_rng(5), N, N)) + 2
    weight[weight == 256] = 254
    late = np.array([0.0, 2.0, 5.0])
    nodes = {"late": nir.Delay(late), "w": nir.Linear(weight), "end": integrators()}
    network = from_nir(
        graph(nodes, [("input", "late"), ("late", "w"), ("w", "end"), ("end", "output")], dt=1.0), timesteps=T, coding=None
    )
    (connection,) = network.connections
    assert connection.synapses.delay.reshape(N, N).tolist() == [[0, 2, 5]] * N
    events = np.random.default_rng(6).random((3, T, N)) < 0.5
    drives = {"end": [("input", np.where(np.arange(N) == line, weight, 0), int(steps)) for line, steps in enumerate(late)]}
    assert np.array_equal(spikes_of(network, [events])["output"], integrate(drives, {"input": events})["end"] > 0)


def test_a_delay_on_the_only_way_is_kept_where_the_sample_begins():
    """The population begins with the sample, not when the first spike can come: the last steps of the input are lost, as in the equations."""
    weight = np.full((N, N), 254.0)
    nodes = {"late": nir.Delay(np.full(N, 4.0)), "w": nir.Linear(weight), "end": integrators()}
    network = from_nir(
        graph(nodes, [("input", "late"), ("late", "w"), ("w", "end"), ("end", "output")], dt=1.0), timesteps=T, coding=None
    )
    events = np.ones((1, T, N), bool)
    expected = integrate({"end": [("input", weight, 4)]}, {"input": events})["end"] > 0
    assert np.array_equal(spikes_of(network, [events])["output"], expected)


# --- other nodes ------------------------------------------------------------------------------------------------------------------


def torch_counts(layers, events):
    """Spike counts of integrators behind torch layers."""
    torch = pytest.importorskip("torch")
    v, count = 0.0, 0
    for step in range(T):
        x = torch.from_numpy(events[:, step].astype(np.float64))
        for layer in layers:
            x = layer(x)
        v = v + x.numpy()
        fired = v > 400
        v, count = np.where(fired, 0, v), count + fired
    return count.reshape(len(events), -1)


@pytest.mark.parametrize("kind", ["Conv1d", "SumPool2d", "Scale", "flat"])
def test_nodes_without_neurons_do_what_torch_does(kind):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)

    if kind == "Conv1d":
        shape, weight = (2, 9), whole(rng, 3, 2, 3)
        nodes = [nir.Conv1d(9, weight, 2, 1, 1, 1, np.zeros(3))]
        layers = [lambda x: torch.nn.functional.conv1d(x, torch.from_numpy(weight), None, 2, 1)]
    elif kind == "SumPool2d":
        shape, weight = (2, 6, 6), whole(rng, 3, 2, 2, 2)
        two = np.array([2, 2])
        nodes = [nir.SumPool2d(two, two, 0 * two), nir.Conv2d((3, 3), weight, 1, 0, 1, 1, np.zeros(3))]
        layers = [
            lambda x: 4 * torch.nn.functional.avg_pool2d(x, 2),
            lambda x: torch.nn.functional.conv2d(x, torch.from_numpy(weight)),
        ]
    elif kind == "Scale":
        shape, weight, factors = (5,), whole(rng, 3, 5, step=4), np.array([1.0, 0.5, 2.0, 1.0, 0.0])
        weight[weight == 254], weight[0, 0] = 4, 254
        nodes = [nir.Scale(factors), nir.Linear(weight)]
        layers = [lambda x: (x * torch.from_numpy(factors)) @ torch.from_numpy(weight).T]
    else:
        shape, weight = (2, 3, 4), whole(rng, 3, 2, 3)
        nodes = [nir.Flatten({"input": np.array(shape)}, 1, 2), nir.Conv1d(12, weight, 1, 0, 1, 1, np.zeros(3))]
        layers = [lambda x: torch.nn.functional.conv1d(x.flatten(2), torch.from_numpy(weight))]
    names = [f"n{number}" for number in range(len(nodes))]
    every = ["input", *names, "end", "output"]
    made = nir.NIRGraph(
        {"input": nir.Input(np.array(shape)), **dict(zip(names, nodes, strict=True)), "end": integrators(1), "output": nir.Output(np.array([1]))},
        list(itertools.pairwise(every)), type_check=False,
    )  # fmt: skip
    network = from_nir(made, timesteps=T, coding=None)
    events = rng.random((3, T, *shape)) < 0.3
    counts = nf.run(nf.deploy(network), nf.Inputs(events=events.reshape(3, T, -1))).activity.spike_counts["output"]
    assert torch_counts(layers, events).sum() == np.sum(counts)
    assert np.array_equal(torch_counts(layers, events).sum(axis=0), counts)


def test_a_threshold_fires_on_the_input_of_one_step():
    weight = np.full((N, N), 254.0)
    nodes = {"w": nir.Linear(weight), "end": nir.Threshold(np.full(N, 300.0))}
    network = from_nir(graph(nodes, [("input", "w"), ("w", "end"), ("end", "output")]), timesteps=T, coding=None)
    events = np.random.default_rng(8).random((4, T, N)) < 0.5
    assert np.array_equal(spikes_of(network, [events])["output"], (events @ weight.T) > 300)
    assert (
        "node 'end': a Threshold compares the input of one step; the chip's membrane keeps 1/4096 of what it had" in network.notes
    )


# --- what is refused --------------------------------------------------------------------------------------------------------------

ONE = nir.Linear(np.full((N, N), 254.0))
INSIDE = {"input": nir.Input(np.array([N])), "n": integrators(), "output": nir.Output(np.array([N]))}


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (
            {"late": nir.Delay(np.full(N, 1.5)), "w": ONE, "end": integrators()}, [("input", "late"), ("late", "w"), ("w", "end"), ("end", "output")],
            "node 'late': Delay 1.5 is 1.5 steps of dt 1; a chip delays by whole steps: pass a dt that divides it",
        ),
        (
            {"w": nir.Affine(np.eye(N), np.ones(N)), "late": nir.Delay(np.full(N, 1.0)), "end": integrators()},
            [("input", "w"), ("w", "late"), ("late", "end"), ("end", "output")],
            "node 'late': a Delay behind a bias, which would begin late too; put the Delay in front of the node with the bias",
        ),
        (
            {"w": ONE, "end": integrators(), "late": nir.Delay(np.full(N, 1.0))}, [("input", "w"), ("w", "end"), ("end", "late"), ("late", "output")],
            "node 'late': a Delay in front of the answer, which only makes it come later; leave it out",
        ),
        (
            {"late": nir.Delay(np.full(N, 99.0)), "w": ONE, "end": integrators()}, [("input", "late"), ("late", "w"), ("w", "end"), ("end", "output")],
            "node 'end': every way to it from the input takes 99 steps of Delay or more; at most 63 are taken: leave the Delay out, which only makes the "
            "answer come later",
        ),
        (
            {"g": nir.NIRGraph(INSIDE | {"more": nir.Output(np.array([N]))}, [("input", "n"), ("n", "output"), ("n", "more")])},
            [("input", "g"), ("g", "output")],
            "node 'g', a graph within, has 2 nodes of the kind Output (output, more); exactly one is taken",
        ),
        (
            {"w": ONE, "mean": nir.LI(np.full(N, 4.0), np.full(N, 4.0), np.zeros(N)), "x": ONE, "end": integrators()},
            [("input", "w"), ("w", "mean"), ("mean", "x"), ("x", "end"), ("end", "output")],
            "layer 'mean': neurons that never fire are taken only as the last layer, whose answer is read",
        ),
        ({"w": ONE, "end": integrators(), "x": integrators()}, [("input", "w"), ("w", "end"), ("end", "output")], "population 'hidden1': no connection"),
        ({"w": ONE, "end": integrators()}, [("w", "input"), ("input", "w"), ("w", "end"), ("end", "output")], "node 'w' leads to the Input 'input'"),
        ({"w": ONE, "s": nir.Scale(np.ones(2)), "end": integrators()}, [("input", "s"), ("s", "w"), ("w", "end"), ("end", "output")],
            "node 's': scale has the shape (2,), but a sample has (3,) there"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused_by_its_node(nodes, edges, message):
    with pytest.raises(ConversionError) as refused:
        from_nir(graph(nodes, edges, dt=1.0), timesteps=T, coding=None)
    assert str(refused.value).startswith(f"graph: {message}")


def test_a_delay_without_a_step_asks_for_it():
    nodes = {"late": nir.Delay(np.full(N, 2.0)), "w": ONE, "end": integrators()}
    with pytest.raises(ConversionError) as refused:
        from_nir(graph(nodes, [("input", "late"), ("late", "w"), ("w", "end"), ("end", "output")]))
    assert str(refused.value).startswith(
        "graph: no time step: node 'late' is a Delay in the unit of time and the metadata have no 'dt'; pass dt (--dt)"
    )


def test_graphs_within_graphs_without_end():
    inner = nir.NIRGraph(INSIDE, [("input", "n"), ("n", "output")])
    for _ in range(20):
        inner = nir.NIRGraph(
            {"input": nir.Input(np.array([N])), "g": inner, "output": nir.Output(np.array([N]))},
            [("input", "g"), ("g", "output")],
            type_check=False,
        )
    with pytest.raises(DataError) as refused:
        from_nir(inner)
    assert str(refused.value) == "graph: more than 16 graphs within each other"


# --- resets -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["argument", "metadata", "node"])
def test_a_reset_is_taken_from_the_argument_or_the_metadata(place):
    weight = whole(np.random.default_rng(10), N, N)
    neurons = integrators()
    made = graph({"w": nir.Linear(weight), "end": neurons}, [("input", "w"), ("w", "end"), ("end", "output")])
    given = {}
    match place:
        case "argument":
            given = {"reset": "subtract"}
        case "metadata":
            made.metadata["reset"] = "subtract"
        case _:
            neurons.metadata["reset"] = "subtract"
    source = {"argument": "as given", "metadata": "from the file's metadata", "node": "from the node's metadata"}[place]
    network = from_nir(made, timesteps=T, coding=None, **given)
    assert f"reset: the threshold is subtracted ({source}), and at most one spike a step for each neuron" in network.notes
    events = np.random.default_rng(11).random((4, T, N)) < 0.4
    drives = {"end": [("input", weight, 0)]}
    expected, other = (integrate(drives, {"input": events}, subtract=one)["end"] for one in (True, False))
    assert np.array_equal(spikes_of(network, [events])["output"], expected > 0)
    assert not np.array_equal(expected, other)


def test_a_reset_that_is_none_of_them():
    made = graph({"w": ONE, "end": integrators()}, [("input", "w"), ("w", "end"), ("end", "output")], reset="substract")
    with pytest.raises(ConversionError) as refused:
        from_nir(made)
    assert str(refused.value) == (
        "graph: metadata reset must be zero, subtract, none, snntorch-zero or snntorch-subtract, is 'substract' (did you mean 'subtract'?)"
    )
