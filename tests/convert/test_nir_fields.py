"""What a NIR file says of itself is believed only where it makes sense: by node and field, before anything is allocated."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from neurofault.convert.nir_fields import check_fields
from neurofault.convert.nir_graph import from_nir
from neurofault.convert.nir_kept import check_kept
from neurofault.deploy.nir_export import to_nir
from neurofault.errors import ConversionError, DataError
from neurofault.graph import CubaLif, Dense, Encoding, Population, Source
from neurofault.graph import chain as chain_of
from neurofault.graph.synapses import Stored

nir = pytest.importorskip("nir")

ONES = np.ones(4, np.float32)
NODES = {
    "LIF": {"tau": ONES, "r": ONES, "v_leak": ONES, "v_threshold": ONES, "v_reset": 0 * ONES},
    "CubaLIF": {"tau_syn": ONES, "tau_mem": ONES, "r": ONES, "v_leak": ONES, "v_threshold": ONES, "w_in": ONES},
    "IF": {"r": ONES, "v_threshold": ONES}, "LI": {"tau": ONES, "r": ONES, "v_leak": ONES}, "I": {"r": ONES}, "Linear": {"weight": np.ones((4, 3))},
    "Affine": {"weight": np.ones((4, 3)), "bias": ONES},
    "Conv2d": {
        "weight": np.ones((4, 2, 3, 3)), "bias": ONES, "stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1]),
        "groups": np.int64(1), "input_shape": np.array([8, 8]),
    },
    "SumPool2d": {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])},
    "Input": {"shape": np.array([3])}, "Flatten": {"start_dim": np.int64(0), "end_dim": np.int64(-1), "input_type": np.array([1, 4])},
}  # fmt: skip
REAL = [(kind, field) for kind, node in NODES.items() for field, value in node.items() if np.asarray(value).dtype.kind == "f"]
WHOLE = [(kind, field) for kind, node in NODES.items() for field, value in node.items() if np.asarray(value).dtype.kind == "i"]


def check(kind, **fields):
    check_fields("f.nir", "n", {"type": kind, **NODES[kind], **fields})


@pytest.mark.parametrize("kind", NODES)
def test_sound_nodes_are_taken(kind):
    check(kind)


def test_what_else_is_taken():
    check("Conv2d", padding="valid", stride=np.float64(2.0))
    check("LIF", v_threshold=np.full(4, np.inf))  # neurons that never fire


@pytest.mark.parametrize(("kind", "field"), REAL)
def test_numbers_that_are_none(kind, field):
    sound = NODES[kind][field]
    for value, said in (
        (np.nan, "nan at position 0: not a finite number"),
        (-np.inf, "-inf at position 0: not a finite number"),
        (1e31, "1e+31 at position 0: beyond ±1e+30"),
    ):
        spoiled = np.array(sound, np.float64)
        spoiled.reshape(-1)[0] = value
        with pytest.raises(DataError) as caught:
            check(kind, **{field: spoiled})
        assert str(caught.value) == f"f.nir: node 'n' ({kind}): {field} holds {said}"
    for value, said in (
        ("text", "is text; numbers are expected"),
        (sound[:0], f"has the shape {sound[:0].shape}: it is empty"),
        ({}, "is a group; numbers are expected"),
        (sound > 0, "holds true and false; numbers are expected"),
    ):
        with pytest.raises(DataError) as caught:
            check(kind, **{field: value})
        assert str(caught.value) == f"f.nir: node 'n' ({kind}): {field} {said}"


@pytest.mark.parametrize(("kind", "field"), WHOLE)
def test_sizes_that_are_none(kind, field):
    for value in (
        np.array([-9]),
        np.array([1 << 40]),
        np.array([1.5]),
        np.array([np.nan]),
        np.array(2.0**70),
        "text",
        np.zeros(0, int),
        np.zeros((2, 2), int),
        np.array([True]),
    ):
        with pytest.raises(DataError, match=rf"^f\.nir: node 'n' \({kind}\): {field} "):
            check(kind, **{field: value})


@pytest.mark.parametrize(
    ("kind", "field"),
    [("Conv2d", "stride"), ("Conv2d", "dilation"), ("Conv2d", "groups"), ("SumPool2d", "stride"), ("Input", "shape")],
)
def test_a_size_of_nothing(kind, field):
    with pytest.raises(DataError, match=f"{field} must be whole numbers from 1 to 4,194,304, holds 0$"):
        check(kind, **{field: np.array([0])})


def test_groups_that_do_not_divide():
    with pytest.raises(DataError, match=r"groups 3 does not divide its 4 channels$"):
        check("Conv2d", groups=np.int64(3))


def graph(shape, *nodes):
    made = {
        "input": nir.Input(np.array(shape)),
        **{f"n{index}": node for index, node in enumerate(nodes)},
        "output": nir.Output(np.array([1])),
    }
    names = [*made]
    whole = nir.NIRGraph(made, list(itertools.pairwise(names)), type_check=False)
    whole.metadata = {"dt": 1.0}
    return whole


def conv(weight, *, stride=1, padding=0, dilation=1):
    return nir.Conv2d(
        None,
        np.ones(weight, np.float32),
        (stride, stride),
        (padding, padding),
        (dilation, dilation),
        1,
        np.zeros(weight[0], np.float32),
    )


def pool(size, stride):
    return nir.SumPool2d(np.array([size, size]), np.array([stride, stride]), np.array([0, 0]))


HUGE = {
    "an input": (graph((10**9, 10**9), conv((1, 1, 1, 1))), "a sample has the shape (1, 1000000000, 1000000000); taken: 1 to "),
    "channels": (graph((1, 1000, 1000), conv((100, 1, 3, 3))), "node 'n0' has 99,600,400 neurons"),
    "padding": (graph((1, 8, 8), conv((1, 1, 3, 3), padding=100_000, stride=100_000)), "node 'n0' with its padding has 40,003,200,064 neurons"),
    "synapses": (graph((1, 2000, 2000), conv((1, 1, 100, 100))), "node 'n0' has 36,138,010,000 synapses; at most 268,435,456"),
    "a pool before a matrix": (graph((1, 2000, 2000), pool(2000, 2000), nir.Flatten({"input": np.array([1, 1, 1])}, 0, -1), nir.Linear(np.ones((100, 1)))), "node 'n2' has 400,000,000 synapses"),
    "a window": (graph((1, 8, 8), conv((1, 1, 3, 3), dilation=1000)), "node 'n0': Conv2d with a window of 2001 × 2001 on 8 × 8 values"),
    "a pool": (graph((1, 8, 8), pool(1000, 1)), "node 'n0': SumPool2d with a window of 1000 × 1000 on 8 × 8 values"),
}  # fmt: skip


@pytest.mark.parametrize("case", HUGE)
def test_a_population_too_large_to_build_is_refused_before_it_is(case):
    made, message = HUGE[case]
    with pytest.raises(ConversionError) as caught:
        from_nir(made)
    assert message in str(caught.value)


def test_edges_nodes_and_dt_that_are_none(tmp_path):
    import h5py

    path = tmp_path / "x.nir"
    neurons = nir.LIF(ONES, ONES, ONES, ONES)
    sound = graph((3,), nir.Affine(np.ones((4, 3), np.float32), ONES), neurons)

    def spoiled(name, value, **options):
        nir.write(path, sound)
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_dataset(name, data=value, **options)
        with pytest.raises((DataError, ConversionError)) as caught:
            from_nir(path)
        return str(caught.value)

    assert spoiled("node/edges", np.arange(4)) == f"{path}: node/edges must be pairs of names, has the shape (4,) of int64"
    assert spoiled("node/type", 3).startswith(f"{path}: not a NIR graph")
    assert spoiled("node/nodes/n0/type", np.zeros(3)) == f"{path}: node 'n0' has no type"
    assert spoiled("node/nodes", np.zeros(3)).startswith(f"{path}: not a NIR graph")
    for value in ("soon", np.ones(3), np.nan):
        assert spoiled("node/metadata/dt", value).startswith(f"{path}: metadata dt must be ")


def test_constants_whose_quotient_no_number_holds():
    tiny = np.full(4, 1e-25)
    with pytest.raises(ConversionError, match=r"n1': LIF: an input of 1 adds 0 to v in a step; 1e-30 to 1e\+30 is taken$"):
        from_nir(
            graph(
                (3,),
                nir.Affine(np.ones((4, 3), np.float32), ONES),
                nir.LIF(np.full(4, 1e30), tiny * 1e-275, 1e30 * np.ones(4), ONES),
            )
        )


KEPT = {
    "name": "n", "timesteps": 8, "readout": "count", "encoding": None, "peak_potential": None,
    "layers": [{"name": "a", "shape": [3], "synapses": None, "neuron": None, "start": 0.0, "groups": 1, "stored": None}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("timesteps",), 0, "timesteps: must be at least 1, is 0"),
        (("timesteps",), 10**9, "timesteps: must be at most 1048576, is 1000000000"),
        (("timesteps",), True, "timesteps: expected a whole number, found true"),
        (("readout",), "vote", "readout: text 'vote' is not allowed"),
        (("peak_potential",), float("nan"), "peak_potential: must be finite, is nan"),
        (("layers",), [], "layers: needs at least 1, has 0"),
        (("layers", 0, "shape"), [10**9, 10**9, 10**9], "layers[0].shape[0]: must be at most 4194304, is 1000000000"),
        (("layers", 0, "shape"), [2000, 2000, 2000], "layers[0]: shape: 8,000,000,000 neurons; at most 4,194,304 can be built"),
        (("layers", 0, "shape"), [0], "layers[0].shape[0]: must be at least 1, is 0"),
        (("layers", 0, "groups"), 0, "layers[0].groups: must be at least 1, is 0"),
        (("layers", 0, "start"), 1e300, "layers[0].start: must be less than 8388608"),
        (("layers", 0, "stored"), {"weight_exponent": 10**6}, "layers[0].stored.weight_exponent: must be at most 16, is 1000000"),
        (
            ("encoding",),
            {"table": [0] * 255, "threshold": 1, "start": 0, "full_rate": 0.5},
            "encoding.table: needs at least 256, has 255",
        ),
    ],
)
def test_metadata_that_describe_no_network(place, value, said):
    data = json.loads(json.dumps(KEPT))
    check_kept("f.nir", data)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(DataError) as caught:
        check_kept("f.nir", data)
    assert str(caught.value).startswith(f"f.nir: {said}")


def test_what_was_written_is_still_read(tmp_path):
    network = from_nir(graph((3,), nir.Affine(np.ones((4, 3), np.float32), ONES), nir.LIF(2 * ONES, ONES, ONES, ONES)))
    to_nir(network, tmp_path / "x.nir")
    assert from_nir(tmp_path / "x.nir").name == network.name


def test_an_input_of_integers_comes_back_with_its_own_bias():
    table = Encoding(np.arange(256, dtype=np.int32), 90, 0, 1.0)
    source = Source(table, 4000, 12, np.array([70, 80]), 1, 5, np.array([3, -2]))
    populations = [Population("input", (2,), source), Population("output", (3,), CubaLif(60, 1, bias_exponent=0))]
    made = chain_of("n", populations, [Dense(np.full((3, 2), 20))], timesteps=8, how="count", stored=[Stored()])
    back = from_nir(to_nir(made)).populations[0].neuron
    assert (back.du, back.dv, back.bias_exponent, back.start) == (4000, 12, 1, 5)
    assert (back.threshold.tolist(), back.bias.tolist()) == ([70, 80], [3, -2])
    assert back.encoding.threshold == 90


@pytest.mark.parametrize("threshold", [0.0, -1.0, [1.0, 0.0, 1.0]])
def test_a_threshold_that_is_not_above_0_is_refused_unless_it_is_a_chips_own(threshold):
    def network(neuron, stored):
        populations = [Population("input", (2,), Source()), Population("output", (3,), neuron)]
        return chain_of("n", populations, [Dense(np.ones((3, 2)))], timesteps=8, how="count", stored=[stored])

    with pytest.raises(
        ConversionError, match=r"^population 'output': thresholds must be above 0 \(integers of a chip may be lower\)$"
    ):
        network(CubaLif(np.asarray(threshold)), None)
    network(CubaLif(np.asarray(threshold, int), 0, bias_exponent=0), Stored())
