from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.convert.asked import PixelCoding
from neurofault.convert.nir_graph import from_nir
from neurofault.data.datasets import load
from neurofault.errors import ConversionError, DataError

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")

DATA = Path(__file__).parent / "data"
SNNTORCH_DIGITS = DATA / "snntorch_digits.nir"
SNNTORCH_ANSWERED = 475 / 500  # on the test digits, shown directly; see data/README.md
STEPS = 25


def lif(n, *, tau=10e-4, r=10.0, v_threshold=1.0, **more):
    full = {"tau": tau, "r": r, "v_leak": 0.0, "v_threshold": v_threshold, "v_reset": 0.0} | more
    return nir.LIF(**{key: np.full(n, value) for key, value in full.items()})


def chain(*nodes, **metadata):
    """A graph of nodes in a row, without NIR's own type check."""
    names = [f"n{index}" for index in range(len(nodes))]
    return nir.NIRGraph(dict(zip(names, nodes, strict=True)), list(itertools.pairwise(names)), metadata=metadata, type_check=False)


def mlp(*, neurons=None, **metadata):
    rng = np.random.default_rng(0)
    return chain(
        nir.Input(np.array([4])), nir.Affine(rng.normal(size=(3, 4)), rng.normal(size=3)), neurons or lif(3),
        nir.Linear(rng.normal(size=(2, 3))), lif(2), nir.Output(np.array([2])), **metadata,
    )  # fmt: skip


# --- what a graph means -----------------------------------------------------------------------------------------------------------


def test_lif_is_discretised_by_forward_euler_and_its_gain_goes_into_the_threshold():
    graph = mlp(neurons=lif(3, tau=4e-3, r=2.0, v_leak=0.5, v_threshold=0.3))
    network = from_nir(graph, dt=1e-3, timesteps=5)
    neuron = network.populations[1].neuron
    affine = graph.nodes["n1"]
    assert (neuron.du, neuron.dv) == (4095, 1024)  # dt/τ = 1/4
    assert np.isclose(neuron.threshold, 0.3 / (0.25 * 2.0))
    assert np.allclose(neuron.bias, affine.bias + 0.5 / 2.0)
    weight = network.connections[0].synapses.weight
    assert np.array_equal(weight, affine.weight / 0.5)  # one input spike stands for half of a full pixel


def test_cuba_lif_if_and_integrators_become_the_chips_neuron():
    cuba = nir.CubaLIF(**{key: np.full(3, value) for key, value in {
        "tau_syn": 2e-4, "tau_mem": 8e-4, "r": 8.0, "v_leak": 0.0, "v_threshold": 1.5, "v_reset": 0.0, "w_in": 4.0}.items()})  # fmt: skip
    neuron = from_nir(chain(nir.Input(np.array([4])), nir.Linear(np.ones((3, 4))), cuba), dt=1e-4).populations[1].neuron
    assert (neuron.du, neuron.dv) == (2047, 512)
    assert np.isclose(neuron.threshold, 1.5 / (8 / 8 * 4 / 2))
    neuron = from_nir(mlp(neurons=nir.IF(r=np.full(3, 1e4), v_threshold=np.ones(3))), dt=1e-4).populations[1].neuron
    assert (neuron.du, neuron.dv, neuron.threshold) == (4095, 0, 1.0)
    for node, decay in ((nir.LI(tau=np.full(2, 4.0), r=np.full(2, 4.0), v_leak=np.zeros(2)), 1024), (nir.I(r=np.ones(2)), 0)):
        network = from_nir(chain(nir.Input(np.array([4])), nir.Linear(np.ones((2, 4))), node), dt=1.0)
        last = network.populations[-1].neuron
        assert (network.readout.how, last.threshold, last.dv) == ("potential", None, decay)


def test_a_bias_through_a_synaptic_current_ramps_up_in_it():
    cuba = nir.CubaLIF(**{key: np.full(3, value) for key, value in {
        "tau_syn": 4e-4, "tau_mem": 8e-4, "r": 8.0, "v_leak": 0.5, "v_threshold": 1.5, "v_reset": 0.0, "w_in": 4.0}.items()})  # fmt: skip
    rest = {"dt": 1e-4, "timesteps": 12, "coding": None}
    network = from_nir(chain(nir.Input(np.array([4])), nir.Affine(np.ones((3, 4)), np.zeros(3)), cuba), **rest)
    assert [one.name for one in network.populations] == ["input", "output"]
    leak = network.populations[1].neuron.bias
    assert np.all(leak)  # v_leak
    biases = np.array([0.25, 0.0, -0.125])
    network = from_nir(chain(nir.Input(np.array([4])), nir.Affine(np.ones((3, 4)), biases), cuba), readout="potential", **rest)
    assert [one.name for one in network.populations] == ["input", "output.bias", "output"]
    assert (
        "node 'n2' gets a bias through a synaptic current: a neuron 'output.bias' that fires in every step carries it"
        in network.notes
    )
    chip = nf.deploy(network)
    traces = nf.run(chip, nf.Inputs(events=np.zeros((1, 12, 4), bool)), record=["v", "spikes"]).activity.traces
    assert traces["output.bias"].spikes.all()
    current = potential = np.zeros(3)
    for _ in range(12):
        current = 0.75 * current + biases
        potential = potential * (1 - 512 / 4096) + current + leak
    unit = traces["output"].v[0, -1, 1] / potential[1]
    assert np.allclose(traces["output"].v[0, -1], unit * potential, rtol=0.01)


def test_a_graph_that_ends_with_a_matrix_is_read_by_the_sum_of_its_output():
    network = from_nir(chain(nir.Input(np.array([4])), nir.Linear(np.ones((2, 4)))), dt=1.0)
    last = network.populations[-1].neuron
    assert (network.readout.how, last.threshold, last.dv) == ("potential", None, 0)


def test_neurons_at_the_input_take_the_pixel_as_their_current():
    graph = chain(
        nir.Input(np.array([4])),
        nir.IF(r=np.ones(4), v_threshold=np.full(4, 2.0)),
        nir.Linear(np.ones((2, 4))),
        lif(2, tau=2.0, r=2.0),
    )
    network = from_nir(graph, dt=1.0, timesteps=30)
    assert [one.name for one in network.populations] == ["input", "output"]
    chip = nf.deploy(network)
    counts = nf.run(chip, np.array([[1.0, 0.49, 0.25, 0.0]])).activity.spike_counts["input"]
    assert counts.tolist() == [10, 6, 3, 0]  # v > 2 after 3, 5 and 8 steps (64/255 is above 1/4)


def test_missing_shapes_are_found_from_the_neighbours(tmp_path):
    convolution = nir.Conv2d(
        input_shape=None, weight=np.ones((2, 1, 3, 3)), stride=1, padding=1, dilation=1, groups=1, bias=np.zeros(2)
    )
    pool = nir.AvgPool2d(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
    rest = (convolution, lif(1), pool, nir.Flatten(None, 0, -1), nir.Linear(np.ones((3, 8))), lif(1))
    shapes = [one.shape for one in from_nir(chain(nir.Input(np.array([1, 4, 4])), *rest), dt=1e-4).populations]
    assert shapes == [(1, 4, 4), (2, 4, 4), (3,)]
    bare = chain(*rest)
    assert [one.shape for one in from_nir(bare, dt=1e-4, in_shape=(1, 4, 4)).populations] == shapes
    with pytest.raises(ConversionError) as error:
        from_nir(bare, dt=1e-4)
    assert str(error.value) == "graph: no node says what shape a sample has; pass in_shape"


def test_sum_and_average_pools_differ_by_their_window():
    def weight(kind):
        pool = kind(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))
        graph = chain(
            nir.Input(np.array([1, 4, 4])),
            pool,
            nir.Flatten(np.array([1, 2, 2]), 0, -1),
            nir.Affine(np.ones((3, 4)), np.ones(3)),
            lif(3),
        )
        network = from_nir(graph, dt=1e-4)
        return network.connections[0].synapses.weight, network.populations[1].neuron.bias

    (average, bias), (total, same) = weight(nir.AvgPool2d), weight(nir.SumPool2d)
    assert np.array_equal(total, 4 * average)
    assert np.array_equal(bias, same)


def test_dt_comes_from_the_argument_else_from_the_metadata():
    assert from_nir(mlp(dt=1e-4)).populations[1].neuron.dv == 410
    assert from_nir(mlp(dt=1e-4), dt=2e-4).populations[1].neuron.dv == 819


# --- files of other frameworks ----------------------------------------------------------------------------------------------------


def test_a_network_trained_and_exported_by_snntorch_keeps_the_accuracy_that_snntorch_reports():
    test = load("digits").test
    chip = nf.deploy(from_nir(SNNTORCH_DIGITS, dt=1e-4, timesteps=STEPS))
    accuracy = nf.run(chip, test.images, test.labels).accuracy
    assert abs(accuracy - SNNTORCH_ANSWERED) <= 0.01  # measured: 0.948 against 0.950


def test_shown_the_chips_own_input_spikes_snntorch_gives_the_chips_counts_once_weights_and_decay_are_exact():
    torch = pytest.importorskip("torch")
    snn = pytest.importorskip("snntorch")
    from snntorch import utils
    from torch import nn

    from neurofault.convert.snntorch_model import from_snntorch

    graph = nir.read(SNNTORCH_DIGITS)
    modules = []
    for affine in (graph.nodes["0"], graph.nodes["2"]):
        layer = nn.Linear(*affine.weight.shape[::-1])
        unit = 2.0 ** np.ceil(np.log2(max(affine.weight.max() / 254, -affine.weight.min() / 256)))
        weight = np.clip(np.rint(affine.weight / unit / 2) * 2, -256, 254)
        weight.flat[np.abs(affine.weight).argmax()] = 254  # the largest fills the field, so that deploy rescales nothing
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight * unit))
            layer.bias.copy_(torch.from_numpy(np.rint(affine.bias / unit) * unit))
        modules += [layer, snn.Leaky(beta=1.0, threshold=float(np.rint(1 / unit) * unit), init_hidden=True, reset_mechanism="zero")]
    model = nn.Sequential(*modules)
    test = load("digits").test
    chip = nf.deploy(from_snntorch(model, (64,), timesteps=STEPS, coding=PixelCoding(1.0, 0.5)))
    activity = nf.run(chip, test.images, record=["spikes"]).activity
    frames = torch.from_numpy(activity.traces["input"].spikes).float()
    utils.reset(model)
    with torch.no_grad():
        counts = sum(model(frames[:, step]) for step in range(STEPS)).numpy()
    assert np.array_equal(activity.traces["output"].spikes.sum(axis=1), counts)


@pytest.mark.parametrize(
    ("file", "dt", "spikes", "tolerance", "expected"),
    [
        ("sinabs_iaf.nir", 1.0, "img", 0, [1, 0, 2, 2]),
        ("sinabs_lif.nir", 1.0, "ev", 0, [1, 7, 0, 7]),
        ("norse_lifbox.nir", 1e-6, "ev", 2, [4, 3, 9, 9]),  # β = 0.9 is 410/4096 on the chip
    ],
)
def test_files_of_sinabs_and_norse_give_the_spikes_of_their_writers(file, dt, spikes, tolerance, expected):
    events = np.load(DATA / "spikes.npz")[spikes]
    chip = nf.deploy(from_nir(DATA / file, dt=dt, timesteps=len(events), coding=None))
    result = nf.run(chip, nf.Inputs(events=events.reshape(1, len(events), -1)))
    assert np.abs(result.activity.spike_counts["output"] - expected).max() <= tolerance


# --- bad input --------------------------------------------------------------------------------------------------------------------

ACCEPTED = "Affine, Linear, Scale, Conv1d, Conv2d, Flatten, SumPool2d, AvgPool2d, Delay, LIF, CubaLIF, IF, Threshold, LI, CubaLI, I, Input, Output, NIRGraph"


class Izhikevich(nir.LIF):
    """A kind that is not known."""


def endless():
    graph = mlp()
    graph.nodes |= {"a": nir.Linear(np.eye(3)), "b": nir.Linear(np.eye(3))}
    graph.edges += [("a", "b"), ("b", "a"), ("b", "n2")]
    return graph


def two_answers():
    graph = mlp()
    graph.nodes["side"] = nir.Output(np.array([3]))
    graph.edges.append(("n2", "side"))
    return graph


def uneven_sum():
    graph = mlp()
    graph.edges.append(("n0", "n2"))
    return graph


BAD_GRAPHS = [
    (lambda: mlp(), None, "no time step: NIR neurons are continuous in time and the metadata have no 'dt'; pass dt (--dt), in the unit of the file's "
        "time constants: 1e-4 for snnTorch, 1 for sinabs, 1e-6 for norse"),
    (lambda: mlp(neurons=Izhikevich(*[np.ones(3)] * 4)), 1e-4, f"node 'n2' is a Izhikevich, which cannot become spiking; taken: {ACCEPTED}"),
    (endless, 1e-4, "the graph has a cycle without neurons: a → b → a; a loop needs neurons or is a sum without end"),
    (two_answers, 1e-4, "2 nodes give an answer (n5, side); one is read: keep the Output of that one alone"),
    (uneven_sum, 1e-4, "node 'n2' gets the shape (3,) of 'n1' and (4,) of 'n0'; edges that meet are summed, which takes one shape"),
    (lambda: mlp(neurons=lif(3, v_reset=0.5)), 1e-4, "node 'n2': LIF with v_reset 0.5; the chip's neuron resets to zero"),
    (lambda: mlp(neurons=lif(3, r=-1.0)), 1e-4, "node 'n2': LIF with resistance -1; it must be above 0 (fold signs into the weights)"),
    (lambda: mlp(), 1.0, "node 'n2': tau 0.001 does not reach one step of dt 1; pass the dt that the file was made with"),
    (lambda: mlp(), -1.0, "dt must be above 0, is -1.0"),
    (lambda: mlp(neurons=lif(5)), 1e-4, "layer 'n2': threshold has the shape (5,), but the population has the shape (3,)"),
    (lambda: chain(nir.Input(np.array([5])), nir.Linear(np.ones((2, 4))), lif(2)), 1e-4,
        "layer 'n1': Linear takes 4 values, but a sample has shape (5,) there"),
    (lambda: chain(nir.Input(np.array([4])), nir.Output(np.array([4]))), 1.0, "the graph has no neurons and no weights: its answer is its input"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "dt", "message"), BAD_GRAPHS)
def test_a_graph_that_has_no_counterpart_gets_one_text_that_names_the_node(make, dt, message):
    with pytest.raises(ConversionError) as error:
        from_nir(make(), dt=dt)
    assert str(error.value) == f"graph: {message}"


def test_a_file_that_is_missing_truncated_or_something_else_is_named(tmp_path):
    missing, cut, text, other = (tmp_path / name for name in ("missing.nir", "cut.nir", "text.nir", "other.nir"))
    cut.write_bytes(SNNTORCH_DIGITS.read_bytes()[:20_000])
    text.write_text("not HDF5")
    with h5py.File(other, "w") as file:
        file["something"] = 1
    for path, message in (
        (missing, "no such NIR file"),
        (cut, "not a readable NIR file: not HDF5, or cut short"),
        (text, "not a readable NIR file: not HDF5, or cut short"),
        (other, "not a NIR file: it has no group 'node'"),
    ):
        with pytest.raises(DataError) as error:
            from_nir(path, dt=1e-4)
        assert str(error.value) == f"{path}: {message}"


def edited(tmp_path, edit):
    path = tmp_path / "edited.nir"
    path.write_bytes(SNNTORCH_DIGITS.read_bytes())
    with h5py.File(path, "r+") as file:
        edit(file["node"])
    return path


def replace_dataset(node, name, value):
    del node[name]
    node[name] = value


def test_a_file_with_an_unknown_node_or_fields_that_do_not_fit_names_the_node(tmp_path):
    path = edited(tmp_path, lambda node: replace_dataset(node, "nodes/1/type", "Izhikevich"))
    with pytest.raises(ConversionError) as error:
        from_nir(path, dt=1e-4)
    assert str(error.value) == f"{path}: node '1' is a Izhikevich, which cannot become spiking; taken: {ACCEPTED}"
    path = edited(tmp_path, lambda node: replace_dataset(node, "nodes/1/tau", np.ones(7)))
    with pytest.raises(DataError) as malformed:
        from_nir(path, dt=1e-4)
    assert str(malformed.value) == f"{path}: node '1' (LIF) is malformed: All parameters must have the same shape"
    path = edited(tmp_path, lambda node: node.__delitem__("edges"))
    with pytest.raises(DataError) as incomplete:
        from_nir(path, dt=1e-4)
    assert str(incomplete.value) == f"{path}: not a NIR graph (an HDF5 file with node/type 'NIRGraph', node/nodes and node/edges)"
