from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.deploy.nir_export import to_nir
from neurofault.errors import ConversionError, DataError, UnsupportedError, UsageError
from neurofault.graph import Conv, CubaLif, Dense, Encoding, Population, Source, Sparse, chain
from neurofault.graph.synapses import Stored

nir = pytest.importorskip("nir")

TRACES = ["spikes"]


def network(rng, *, convolutional, readout="count", events=False, start=0.0, du=4095, dv=0, timesteps=12, in_shape=(1, 6, 6)):
    """A random network that spikes; (1, 6, 6) pixels, two convolutions or a matrix, 3 outputs."""
    encoding = None if events else Encoding.for_pixels(0.5, start, timesteps)

    def layer(name, shape, own):
        weight = rng.normal(0.25, 1.0, own.weight.shape)
        threshold = 2.0 if name != "output" or readout == "count" else None
        bias = rng.normal(0, 0.1, int(np.prod(shape)))
        populations.append(Population(name, shape, CubaLif(threshold, bias, du, dv, start)))
        synapses.append(replace(own, weight=weight))

    populations, synapses = [Population("input", in_shape, Source(encoding))], []
    if convolutional:
        layer("hidden1", (2, 6, 6), Conv(np.ones((2, 1, 3, 3)), (1, 6, 6), padding=(1, 1)))
        layer("hidden2", (4, 3, 3), Conv(np.ones((4, 1, 2, 2)), (2, 6, 6), stride=(2, 2), groups=2))
    else:
        layer("hidden1", (20,), Dense(np.ones((20, 36))))
    layer("output", (3,), Dense(np.ones((3, populations[-1].size))))
    peak = 200.0 if readout == "potential" else None
    return chain("random", populations, synapses, timesteps=timesteps, how=readout, peak_potential=peak)


def inputs(rng, chip, samples=6):
    if chip.encoding is None:
        return nf.Inputs(events=rng.random((samples, chip.timesteps, 36)) < 0.4)
    return chip.encode(rng.integers(0, 256, (samples, 1, 6, 6)).astype(np.uint8))


def assert_same_spikes(one, two, samples):
    first, second = (nf.run(chip, samples, record=TRACES).activity for chip in (one, two))
    for name, traces in first.traces.items():
        assert np.array_equal(traces.spikes, second.traces[name].spikes), name
    assert np.array_equal(first.predictions, second.predictions)
    return first


KINDS = [
    {"kind": "neuron_dead", "rate": 0.2, "layer": "any"},
    {"kind": "core_dead", "count": 2, "layer": "any"},
    {"kind": "synapse_dead", "rate": 0.2, "layer": "any"},
    {"kind": "synapse_bit_flip", "rate": 0.02, "layer": "any"},
    {"kind": "synapse_stuck", "rate": 0.1, "layer": "any"},
    {"kind": "neuron_threshold", "rate": 0.3, "layer": "hidden", "factor": 1.5},
    {"kind": "neuron_leak", "rate": 0.3, "layer": "hidden", "offset": 200},
]


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**32 - 1), convolutional=st.booleans(), readout=st.sampled_from(["count", "potential"]), events=st.booleans(),
    start=st.sampled_from([0.0, 0.5]), du=st.sampled_from([4095, 1500]), dv=st.sampled_from([0, 300]), faults=st.lists(st.sampled_from(KINDS), max_size=2),
)  # fmt: skip
def test_a_deployment_comes_back_with_the_same_spikes_and_answers(
    tmp_path_factory, seed, convolutional, readout, events, start, du, dv, faults
):
    rng = np.random.default_rng(seed)
    healthy = nf.deploy(
        network(rng, convolutional=convolutional, readout=readout, events=events, start=start, du=du, dv=dv), neurons_per_core=6
    )
    chip = nf.inject(healthy, [nf.faults.fault_from_mapping(fault) for fault in faults], seed=seed % 1000) if faults else healthy
    path = tmp_path_factory.mktemp("nir") / "chip.nir"
    to_nir(chip, path)
    again = from_nir(path)
    assert again.timesteps == chip.timesteps
    if (
        events and chip.damage.silent("input", 36).any()
    ):  # dead inputs are left out of the weights: the events themselves still come
        first, second = (
            nf.run(each, inputs(np.random.default_rng(1), chip), record=TRACES).activity for each in (chip, nf.deploy(again))
        )
        assert np.array_equal(first.traces["output"].spikes, second.traces["output"].spikes)
        assert np.array_equal(first.predictions, second.predictions)
    else:
        assert_same_spikes(chip, nf.deploy(again), inputs(rng, chip))


def test_a_healthy_deployment_comes_back_with_the_same_integers():
    chip = nf.deploy(network(np.random.default_rng(3), convolutional=True, du=1500, dv=300, start=0.5))
    again = nf.deploy(from_nir(to_nir(chip)))
    for one, two in zip(chip.populations, again.populations, strict=True):
        assert (one.name, one.shape, one.bias_exponent, one.v_init, one.fires) == (
            two.name, two.shape, two.bias_exponent, two.v_init, two.fires,
        )  # fmt: skip
        for field in ("du", "dv", "vth", "bias_mantissa"):
            assert np.array_equal(getattr(one, field), getattr(two, field)), field
    for one, two in zip(chip.connections, again.connections, strict=True):
        assert (one.name, one.weight_exponent, one.weight_bits, one.sign_mode) == (
            two.name, two.weight_exponent, two.weight_bits, two.sign_mode,
        )  # fmt: skip
        assert np.array_equal(one.synapses.weight, two.synapses.weight)


@pytest.mark.parametrize("convolutional", [True, False])
def test_a_network_of_real_numbers_comes_back_as_it_was(tmp_path, convolutional):
    net = network(np.random.default_rng(4), convolutional=convolutional, readout="potential", du=1500, dv=300, start=0.4)
    to_nir(net, tmp_path / "net.nir", dt=1e-3)
    again = from_nir(tmp_path / "net.nir")
    assert (again.name, again.timesteps, again.readout, again.peak_potential) == (
        net.name,
        net.timesteps,
        net.readout,
        net.peak_potential,
    )
    assert np.array_equal(again.encoding.table, net.encoding.table)
    assert (again.encoding.threshold, again.encoding.start) == (net.encoding.threshold, net.encoding.start)
    for one, two in zip(net.populations, again.populations, strict=True):
        assert (one.name, one.shape, one.neuron.du, one.neuron.dv, one.neuron.threshold, one.neuron.start) == (
            two.name,
            two.shape,
            two.neuron.du,
            two.neuron.dv,
            two.neuron.threshold,
            two.neuron.start,
        )
        if not one.is_source:
            assert np.allclose(np.broadcast_to(one.neuron.bias, one.size), two.neuron.bias, rtol=1e-14, atol=0)
    for one, two in zip(net.connections, again.connections, strict=True):
        assert np.array_equal(one.synapses.weight, two.synapses.weight)
    assert from_nir(tmp_path / "net.nir", timesteps=9, name="other").timesteps == 9


# --- any other reader ---------------------------------------------------------------------------------------------------------------


def interpret(graph, frames):
    """Output of a chain of NIR nodes for frames [T, N, …], by the equations of NIR's own docstrings (Euler), knowing nothing of neurofault."""
    dt = graph.metadata["dt"]
    order, at = [], "input"
    after = dict(graph.edges)
    while at in after:
        at = after[at]
        order.append(at)
    state = {name: [0.0, 0.0] for name in order}
    outputs = []
    for frame in frames:
        x = torch.from_numpy(frame.astype(np.float64))
        for name in order:
            node = graph.nodes[name]
            match type(node).__name__:
                case "Flatten":
                    x = x.flatten(1)
                case "Linear" | "Affine":
                    x = x @ torch.from_numpy(node.weight).T + torch.from_numpy(np.asarray(getattr(node, "bias", 0.0)))
                case "Conv2d":
                    x = torch.nn.functional.conv2d(
                        x,
                        torch.from_numpy(node.weight),
                        torch.from_numpy(node.bias),
                        node.stride,
                        node.padding,
                        node.dilation,
                        node.groups,
                    )
                case "LIF" | "LI":
                    _u, v = state[name]
                    v = v + dt / torch.from_numpy(node.tau) * (torch.from_numpy(node.v_leak) - v + torch.from_numpy(node.r) * x)
                    x = v if type(node).__name__ == "LI" else (v > torch.from_numpy(node.v_threshold)).double()
                    state[name][1] = v if type(node).__name__ == "LI" else torch.where(x > 0, 0.0, v)
        outputs.append(x.numpy())
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("convolutional", [True, False])
@pytest.mark.parametrize("fault", [None, *KINDS[:5]], ids=lambda fault: "healthy" if fault is None else fault["kind"])
def test_a_reader_that_knows_only_nirs_equations_computes_the_broken_chips_spikes(convolutional, fault):
    rng = np.random.default_rng(8)
    chip = nf.deploy(network(rng, convolutional=convolutional), neurons_per_core=6)
    if fault is not None:
        chip = nf.inject(chip, nf.faults.fault_from_mapping(fault), seed=2)
    samples = inputs(rng, chip)
    expected = nf.run(chip, samples, record=TRACES).activity.traces["output"].spikes
    currents = np.broadcast_to(samples.bias.reshape(1, -1, 1, 6, 6), (chip.timesteps, len(samples), 1, 6, 6))
    assert np.array_equal(interpret(to_nir(chip), currents) > 0, expected)
    assert expected.any() or fault is not None


def test_snntorchs_own_importer_computes_the_same_counts():
    pytest.importorskip("nirtorch")
    import_from_nir = pytest.importorskip("snntorch.import_nir").import_from_nir
    from snntorch import utils

    rng = np.random.default_rng(9)
    chip = nf.deploy(network(rng, convolutional=False, events=True, in_shape=(36,)))
    chip = nf.inject(chip, nf.faults.fault_from_mapping({"kind": "synapse_dead", "rate": 0.2, "layer": "any"}), seed=2)
    samples = inputs(rng, chip)
    expected = nf.run(chip, samples, record=TRACES).activity.traces["output"].spikes
    model = import_from_nir(to_nir(chip))
    utils.reset(model)
    state, counts = None, 0
    with torch.no_grad():
        for step in range(chip.timesteps):
            frame = torch.from_numpy(np.array(samples.events[:, step])).float()
            spikes, state = model(frame) if state is None else model(frame, state)
            counts = counts + spikes.numpy()
    assert np.array_equal(counts, expected.sum(axis=1))


def test_a_dead_output_never_wins():
    rng = np.random.default_rng(10)
    chip = nf.deploy(network(rng, convolutional=False, readout="potential"))
    samples = inputs(rng, chip, 40)
    favourite = int(np.bincount(nf.run(chip, samples).activity.predictions).argmax())
    hurt = nf.inject(chip, nf.faults.fault_from_mapping({"kind": "neuron_dead", "layer": "output", "neurons": [favourite]}), seed=1)
    again = nf.deploy(from_nir(to_nir(hurt)))
    predictions = nf.run(again, samples).activity.predictions
    assert favourite not in predictions
    assert np.array_equal(predictions, nf.run(hurt, samples).activity.predictions)


# --- what NIR cannot hold, and edited files -------------------------------------------------------------------------------------------


def test_what_nir_cannot_hold_is_refused_by_the_name_of_its_layer(tmp_path):
    rng = np.random.default_rng(11)
    chip = nf.deploy(network(rng, convolutional=False))
    for fault, message in (
        ({"kind": "neuron_stuck", "count": 1, "layer": "hidden"}, "layer 'hidden1': NIR holds no fault of the kind Force"),
        (
            {"kind": "neuron_dead", "count": 1, "layer": "hidden", "when": {"kind": "transient", "start": 3, "stop": 5}},
            "layer 'hidden1': NIR holds no fault of the kind Silence that acts only at times",
        ),
    ):
        with pytest.raises(UnsupportedError) as error:
            to_nir(nf.inject(chip, nf.faults.fault_from_mapping(fault), seed=1))
        assert str(error.value) == f"{message}; nf.save keeps a chip whole, all its damage too"
    with pytest.raises(UnsupportedError) as error:
        to_nir(network(rng, convolutional=False).with_reset("never"))
    assert str(error.value) == (
        "the export to NIR takes samples that start anew (reset: sample), and this network keeps its state between them (reset: never); "
        "--reset sample, or convert: {reset: sample}, shows it such samples"
    )
    with pytest.raises(UsageError) as usage:
        to_nir(chip, dt=0.0)
    assert str(usage.value) == "dt must be above 0, is 0.0"
    with pytest.raises(UsageError) as usage:
        to_nir(chip, tmp_path / "missing" / "x.nir")
    assert str(usage.value).startswith(f"{tmp_path / 'missing' / 'x.nir'}: cannot be written")


def test_metadata_that_do_not_belong_to_the_nodes_are_refused():
    populations = [Population("input", (2,), Source()), Population("output", (2,), CubaLif(20, start=3.0, bias_exponent=0))]
    synapses = Dense(np.array([[2, 4], [-6, 8]]))
    graph = to_nir(chain("integers", populations, [synapses], timesteps=4, how="count", stored=[Stored()]))
    again = from_nir(graph)
    assert np.array_equal(again.connection("output").synapses.weight, synapses.weight)
    neuron = again.population("output").neuron
    assert (neuron.threshold, neuron.start) == (20, 3.0)
    sound = graph.nodes["output_synapses"].weight
    graph.nodes["output_synapses"].weight = sound * 1.01
    with pytest.raises(DataError) as error:
        from_nir(graph)
    assert str(error.value) == (
        "graph: node 'output_synapses': weight is not the integer that metadata 'neurofault' promise; was the file edited? "
        "Take the metadata 'neurofault' out to read real numbers"
    )
    graph.nodes["output_synapses"].weight = sound
    said = json.loads(graph.metadata["neurofault"])
    graph.metadata["neurofault"] = json.dumps(said | {"version": 4})
    with pytest.raises(DataError) as error:
        from_nir(graph)
    assert str(error.value) == "graph: written by a newer neurofault (metadata version 4, this one reads 3)"
    del graph.metadata["neurofault"]
    assert from_nir(graph, coding=None).populations[1].neuron.threshold == 20 * 64
    del graph.metadata["dt"]
    with pytest.raises(ConversionError, match="no time step"):
        from_nir(graph)


def test_kernels_that_are_not_square_and_names_with_slashes_come_back(tmp_path):
    rng = np.random.default_rng(12)
    shapes = {"a/b": (3, 6, 2), "a_b": (4, 3, 3), "output": (3,)}
    populations = [Population(name, shape, CubaLif(2.0)) for name, shape in shapes.items()]
    synapses = [
        Conv(rng.normal(0.3, 1, (3, 2, 2, 3)), (2, 5, 4), padding=(1, 0)),
        Conv(rng.normal(0.3, 1, (4, 3, 1, 2)), (3, 6, 2), stride=(2, 1), padding=(0, 1)),
        Dense(rng.normal(0.3, 1, (3, 36))),
    ]
    net = chain("odd", [Population("in/put", (2, 5, 4), Source()), *populations], synapses, timesteps=6, how="count")
    to_nir(net, tmp_path / "net.nir")
    again = from_nir(tmp_path / "net.nir")
    assert [(one.name, one.shape) for one in again.populations] == [("in/put", (2, 5, 4)), *shapes.items()]
    assert all(np.array_equal(one.synapses.weight, two.weight) for one, two in zip(again.connections, synapses, strict=True))
    chip = nf.deploy(net)
    to_nir(chip, tmp_path / "chip.nir")
    samples = nf.Inputs(events=rng.random((4, 6, 40)) < 0.5)
    assert_same_spikes(chip, nf.deploy(from_nir(tmp_path / "chip.nir")), samples)


def test_synapses_that_are_listed_are_written_as_a_matrix():
    rng = np.random.default_rng(13)
    targets, sources = np.nonzero(rng.random((7, 36)) < 0.3)
    listed = Sparse.of(7, 36, targets, sources, rng.normal(0.4, 1, len(targets)))
    populations = [
        Population("input", (36,), Source()),
        Population("hidden1", (7,), CubaLif(2.0)),
        Population("output", (3,), CubaLif(2.0)),
    ]
    chip = nf.deploy(chain("listed", populations, [listed, Dense(rng.normal(0.3, 1, (3, 7)))], timesteps=12, how="count"))
    chip = nf.inject(chip, nf.faults.fault_from_mapping({"kind": "neuron_dead", "count": 2, "layer": "hidden"}), seed=2)
    samples = nf.Inputs(events=rng.random((4, 12, 36)) < 0.3)
    assert assert_same_spikes(chip, nf.deploy(from_nir(to_nir(chip))), samples).spike_counts["output"].any()


@pytest.mark.parametrize(
    "change",
    [{"timesteps": float("inf")}, {"timesteps": 1e400}, {"shape": [10**12]}, {"shape": [0]}, {"shape": []}, {"start": "x"}],
)
def test_metadata_with_numbers_that_are_none_are_refused_without_a_traceback(change):
    graph = to_nir(network(np.random.default_rng(4), convolutional=False))
    said = json.loads(graph.metadata["neurofault"])
    if "timesteps" in change:
        said |= change
    else:
        said["populations"][1] |= change
    graph.metadata["neurofault"] = json.dumps(said)
    with pytest.raises(DataError, match="metadata 'neurofault'"):
        from_nir(graph)


@pytest.mark.parametrize("seed", range(8))
def test_parameters_of_single_neurons_come_back_in_real_numbers_and_in_integers(tmp_path, seed):
    rng = np.random.default_rng(seed)
    encoding = Encoding.for_pixels(0.5, 0.3, 8) if seed % 2 else None
    kernel = Conv(rng.normal(0.2, 1, (4, 2, 3, 2)), (2, 5, 4), (2, 1), (1, 0))
    populations, connections = [Population("input", (2, 5, 4), Source(encoding))], []
    for name, synapses, size in (("hidden1", kernel, kernel.n_out), ("output", Dense(rng.normal(0.2, 1, (3, kernel.n_out))), 3)):
        shape = synapses.out_shape if isinstance(synapses, Conv) else (size,)
        threshold = None if name == "output" and seed % 3 == 0 else rng.uniform(1, 3, size)
        decays = (rng.integers(100, 4096, size), rng.integers(0, 4096, size))
        populations.append(Population(name, shape, CubaLif(threshold, rng.normal(0, 0.2, size), *decays, 0.4)))
        connections.append(synapses)
    readout = "potential" if populations[-1].neuron.threshold is None else "count"
    peak = 100.0 if readout == "potential" else None
    net = chain("each", populations, connections, timesteps=8, how=readout, peak_potential=peak)
    to_nir(net, tmp_path / "net.nir", dt=10.0**-seed)
    again = from_nir(tmp_path / "net.nir")
    for one, two in zip(net.connections, again.connections, strict=True):
        assert np.array_equal(one.synapses.weight, two.synapses.weight)
    for one, two in zip(net.populations[1:], again.populations[1:], strict=True):
        for field in ("du", "dv", "bias", "threshold"):
            mine, back = getattr(one.neuron, field), getattr(two.neuron, field)
            assert (mine is None and back is None) or np.allclose(mine, back, rtol=1e-12, atol=1e-13), field
    chip = nf.deploy(net)
    to_nir(chip, tmp_path / "chip.nir", dt=10.0**-seed)
    for one, two in zip(chip.populations, nf.deploy(from_nir(tmp_path / "chip.nir")).populations, strict=True):
        for field in ("du", "dv", "vth", "bias_mantissa"):
            assert np.array_equal(getattr(one, field), getattr(two, field)), field
