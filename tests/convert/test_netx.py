"""lava-dl's network files: every type of layer against a plain restatement, refusals by name, and the files that are published."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.data.datasets import load
from neurofault.errors import ConversionError, DataError, NeurofaultError

h5py = pytest.importorskip("h5py")

NEURON = {"type": "CUBA", "iDecay": 4096, "vDecay": 128, "vThMant": 20, "refDelay": 1, "gradedSpike": False}
T = 12


def write(path, *layers, simulation=True):
    """Write layers as lava-dl's `export_hdf5` does; a key neuron holds a dict."""
    with h5py.File(path, "w") as file:
        for index, layer in enumerate(layers):
            group = file.create_group(f"layer/{index}")
            for key, value in layer.items():
                if key == "type":
                    group.create_dataset("type", (1,), "S10", [value.encode()])
                elif isinstance(value, dict):
                    for field, one in value.items():
                        group.create_dataset(f"{key}/{field}", data=one)
                else:
                    group.create_dataset(key, data=value)
        if simulation:
            file["simulation/Ts"], file["simulation/tSample"] = 1, T
    return path


def dense(weight, neuron=NEURON, **more):
    weight = np.asarray(weight, np.float32)
    return {"type": "dense", "shape": [len(weight)], "weight": weight, **({} if neuron is None else {"neuron": neuron}), **more}


def conv(weight, shape, neuron=NEURON, **more):
    return {"type": "conv", "shape": shape, "weight": np.asarray(weight, np.float32), "neuron": neuron, **more}


def step(neuron, state, drive, bias=0):
    """One step of the law, from its equations (du = iDecay − 1, exponent 0, bias · 64)."""
    u, v = state
    u = np.sign(u) * (np.abs(u) * (4096 - neuron["iDecay"]) >> 12) + (drive << 6)
    v = np.sign(v) * (np.abs(v) * (4096 - neuron["vDecay"]) >> 12) + u + bias * 64
    fired = v > neuron["vThMant"] << 6
    return (u, np.where(fired, 0, v)), fired


def layer_run(spikes, drive_of, n, neuron=NEURON, bias=0, rec=None):
    state, fired, out = (np.zeros(n, np.int64),) * 2, np.zeros(n, bool), []
    for now in spikes:
        drive = drive_of(now) + (0 if rec is None else rec @ fired.astype(np.int64))
        state, fired = step(neuron, state, drive, bias)
        out.append(fired)
    return np.array(out), state[1]


def spikes_of(network, events, engine="exact"):
    chip = nf.deploy(network, "loihi2")
    traces = nf.run(chip, nf.Inputs(events=events[None]), engine=engine, record=("spikes", "v")).activity.traces
    return {name: trace.spikes[0] for name, trace in traces.items()}, {name: trace.v[0] for name, trace in traces.items()}


def even(rng, *shape):
    return rng.integers(-20, 21, shape) * 2


def test_dense_layers_and_a_readout_without_neurons(tmp_path):
    rng = np.random.default_rng(1)
    one, two = even(rng, 7, 5), even(rng, 3, 7)
    neuron = NEURON | {"iDecay": 1024}
    network = nf.from_netx(write(tmp_path / "x.net", dense(one, neuron, bias=np.arange(7.0)), dense(two, None)))
    events = rng.random((T, 5)) < 0.4
    spikes, v = spikes_of(network, events)
    hidden, _ = layer_run(events, lambda now: one @ now.astype(np.int64), 7, neuron, np.arange(7))
    assert (network.timesteps, network.readout.how) == (T, "potential")
    assert 0 < hidden.sum() < hidden.size
    np.testing.assert_array_equal(spikes["hidden1"], hidden)
    np.testing.assert_array_equal(v["output"], np.cumsum(hidden @ two.T * 64, axis=0))


@pytest.mark.parametrize("engine", ["lava", "brian2"])
def test_other_engines_agree(tmp_path, engine):
    rng = np.random.default_rng(2)
    weights = even(rng, 6, 4), even(rng, 3, 6)
    plain = write(tmp_path / "plain.net", dense(weights[0], NEURON | {"iDecay": 600}), dense(weights[1], bias=[3.0, 1, 2]))
    loop = write(tmp_path / "loop.net", dense(weights[0], weight_rec=even(rng, 6, 6)), dense(weights[1] + 1))
    events = rng.random((T, 4)) < 0.5
    for path in (plain, loop):
        network = nf.from_netx(path)
        try:
            nf.engines.get_engine(engine)
        except NeurofaultError as error:
            pytest.skip(str(error))
        ours, theirs = spikes_of(network, events), spikes_of(network, events, engine)
        for name in ("hidden1", "output"):
            np.testing.assert_array_equal(ours[0][name], theirs[0][name])
            assert ours[0][name].any()


def test_recurrence_sees_the_spikes_of_the_step_before(tmp_path):
    rng = np.random.default_rng(3)
    weight, rec = even(rng, 6, 4), even(rng, 6, 6)
    network = nf.from_netx(write(tmp_path / "x.net", {**dense(weight), "type": "recurrent", "weight_rec": rec}))
    events = rng.random((T, 4)) < 0.5
    expected, _ = layer_run(events, lambda now: weight @ now.astype(np.int64), 6, rec=rec)
    np.testing.assert_array_equal(spikes_of(network, events)[0]["output"], expected)
    assert [one.name for one in network.connections] == ["output", "output.rec"]


@pytest.mark.parametrize("held", [3, [1, 2, 5, 1, 3, 2]])
def test_refractory_delays_hold_v_from_the_step_of_the_spike_on(tmp_path, held):
    """Beside the counter of nengo-loihi's emulator: set to refDelay by a spike, decremented in each step, v is 0 above 0."""
    rng = np.random.default_rng(11)
    weight, neuron = even(rng, 6, 4) + 8, NEURON | {"refDelay": held}
    network = nf.from_netx(write(tmp_path / "x.net", dense(weight, neuron)))
    events = rng.random((T, 4)) < 0.7
    u, v, count, expected = np.zeros(6, np.int64), np.zeros(6, np.int64), np.zeros(6, np.int64), []
    for now in events:
        (u, v), fired = step(neuron | {"vThMant": 1 << 20}, (u, v), weight @ now.astype(np.int64))
        v[count > 0] = 0
        fired = v > neuron["vThMant"] << 6
        v[fired] = 0
        count = np.maximum(np.where(fired, np.broadcast_to(held, 6), count) - 1, 0)
        expected.append(fired)
    np.testing.assert_array_equal(spikes_of(network, events)[0]["output"], expected)
    assert np.array(expected).sum() > 6
    assert (
        "refDelay: v is held for refDelay − 1 steps after a spike, as on Loihi; lava-dl's own loader leaves it out" in network.notes
    )


def test_convolution_pool_and_flatten_keep_the_order_of_channels_rows_and_columns(tmp_path):
    rng = np.random.default_rng(4)
    kernel, window, last = even(rng, 4, 1, 2, 3), np.full((1, 1, 2, 1), 24), even(rng, 5, 16)
    path = write(
        tmp_path / "x.net",
        {"type": "input", "shape": [2, 5, 4]},
        conv(kernel[..., None], [4, 4, 2], stride=[1, 1], padding=[0, 0], dilation=[1, 1], groups=2, bias=np.arange(4.0)),
        {"type": "pool", "shape": [4, 2, 2], "weight": window, "stride": [2, 1], "neuron": NEURON},
        {"type": "flatten", "shape": [1, 1, 16]},
        dense(last),
    )
    events = rng.random((T, 2, 5, 4)) < 0.5

    def convolve(now):
        x = now.reshape(2, 5, 4).astype(np.int64)
        out = np.zeros((4, 4, 2), np.int64)
        for channel, row, column in np.ndindex(out.shape):
            out[channel, row, column] = (kernel[channel, 0] * x[channel // 2, row : row + 2, column : column + 3]).sum()
        return out.ravel()

    first, _ = layer_run(events, convolve, 32, bias=np.repeat(np.arange(4), 8))
    pooled, _ = layer_run(first, lambda now: 24 * now.reshape(4, 2, 2, 2).sum(axis=2).ravel(), 16)
    output, _ = layer_run(pooled, lambda now: last @ now.astype(np.int64), 5)
    spikes, _ = spikes_of(nf.from_netx(path), events.reshape(T, -1))
    np.testing.assert_array_equal(spikes["hidden1"], first)
    np.testing.assert_array_equal(spikes["hidden2"], pooled)
    np.testing.assert_array_equal(spikes["output"], output)
    assert output.any()


def test_strides_padding_and_dilation_of_a_convolution(tmp_path):
    shape = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 1}
    path = write(tmp_path / "x.net", {"type": "input", "shape": [1, 4, 5]}, conv(np.full((2, 1, 3, 2), 2), [2, 2, 3], **shape))
    synapses = nf.from_netx(path).connections[0].synapses
    assert (synapses.stride, synapses.padding, synapses.dilation) == ((2, 1), (1, 0), (1, 2))


def test_axonal_delays_reach_what_comes_next(tmp_path):
    rng = np.random.default_rng(5)
    one, two, delay = even(rng, 4, 3), even(rng, 3, 4), np.array([0, 2, 5, 1])
    network = nf.from_netx(write(tmp_path / "x.net", dense(one, delay=delay.astype(np.float32)), dense(two)))
    events = rng.random((T, 3)) < 0.6
    hidden, _ = layer_run(events, lambda now: one @ now.astype(np.int64), 4)
    late = np.zeros_like(hidden)
    for neuron, steps in enumerate(delay):
        late[steps:, neuron] = hidden[: T - steps, neuron]
    output, _ = layer_run(late, lambda now: two @ now.astype(np.int64), 3)
    np.testing.assert_array_equal(spikes_of(network, events)[0]["output"], output)
    assert not np.array_equal(late, hidden)


def test_concat_joins_a_skip_and_closes_a_loop(tmp_path):
    rng = np.random.default_rng(6)
    first, second, last = even(rng, 4, 3), even(rng, 5, 4 + 2), even(rng, 2, 5 + 4)
    path = write(
        tmp_path / "x.net",
        {"type": "input", "shape": [3]},
        dense(first),
        {"type": "concat", "shape": [6], "layers": [5]},
        dense(second),
        {"type": "concat", "shape": [9], "layers": [1]},
        dense(last),
    )
    network = nf.from_netx(path)
    joined = {(one.source, one.target): one.synapses.weight for one in network.connections}
    np.testing.assert_array_equal(joined["hidden1", "hidden2"], second[:, :4])
    np.testing.assert_array_equal(joined["output", "hidden2"], second[:, 4:])
    np.testing.assert_array_equal(joined["hidden2", "output"], last[:, :5])
    np.testing.assert_array_equal(joined["hidden1", "output"], last[:, 5:])
    assert {one.delay for one in network.connections} == {1}


def test_an_average_counts_the_spikes_of_each_group(tmp_path):
    rng = np.random.default_rng(7)
    weight = even(rng, 6, 4)
    network = nf.from_netx(write(tmp_path / "x.net", dense(weight), {"type": "average", "shape": [3, 1, 1]}))
    spikes, v = spikes_of(network, rng.random((T, 4)) < 0.5)
    np.testing.assert_array_equal(v["output"][-1], 128 * spikes["hidden1"].sum(axis=0).reshape(3, 2).sum(axis=1))


def test_input_neurons_get_their_bias_from_the_pixel(tmp_path):
    layer = {"type": "input", "shape": [2], "weight": [76.0], "bias": [64.0], "neuron": NEURON | {"vThMant": 80}}
    network = nf.from_netx(write(tmp_path / "x.net", layer, dense(np.eye(2) * 200)))
    chip = nf.deploy(network, "loihi2")
    images = np.array([[0, 255], [128, 30]], np.uint8)
    np.testing.assert_array_equal(chip.encode(images).bias, np.rint(76 * (images / 127.5 - 1) + 64))
    assert (
        "a pixel p of 0 … 255 is x = p/127.5 − 1 and gives its input neuron the bias 64·round(76·x + 64) in each step"
        in network.notes
    )


@pytest.mark.parametrize(
    ("weight", "stored", "factor"),
    [
        ([[3, -7]], (-1, "mixed"), 2),
        ([[255, 3]], (0, "excitatory"), 1),
        ([[-255, -1]], (0, "inhibitory"), 1),
        ([[-256, 254]], (0, "mixed"), 1),
    ],
)
def test_weights_are_held_in_a_field_in_which_they_are_exact(tmp_path, weight, stored, factor):
    (connection,) = nf.from_netx(write(tmp_path / "x.net", dense(weight))).connections
    assert (connection.stored.weight_exponent, connection.stored.sign_mode) == stored
    np.testing.assert_array_equal(connection.synapses.weight, np.array(weight) * factor)


def test_the_weight_exponent_scales_weights_and_is_said(tmp_path):
    network = nf.from_netx(write(tmp_path / "x.net", dense([[2, 4]], NEURON | {"wgtExp": 3})))
    assert network.connections[0].stored.weight_exponent == 3
    assert "wgtExp 3 of 'output' scales its weights by 2**3; lava-dl's own loader leaves it out" in network.notes


ONE = [[2, 4]]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([dense(ONE, NEURON | {"type": "SDNN"})], "layer 0 (dense): neuron of type 'SDNN' (sigma-delta neurons send graded values, not spikes) is not taken; taken: LOIHI, CUBA, CUBA-LIF"),
        ([dense(ONE, NEURON | {"type": "RF_PHASE"})], "layer 0 (dense): neuron of type 'RF_PHASE' (resonate-and-fire neurons have a complex state) is not taken; taken: LOIHI, CUBA, CUBA-LIF"),
        ([dense(ONE, NEURON | {"gradedSpike": True})], "layer 0 (dense): neuron: gradedSpike True: graded spikes have no counterpart here; 0 is taken"),
        ([dense(ONE, NEURON | {"iDecay": 0})], "layer 0 (dense): neuron: iDecay lies in 0 … 0; taken: 1 to 4096 (0, a current that never decays, has no counterpart)"),
        ([dense(ONE, NEURON | {"vDecay": 4096})], "layer 0 (dense): neuron: vDecay lies in 4096 … 4096; taken: 0 to 4095 (4096, a potential without memory, has no counterpart)"),
        ([dense(ONE, NEURON | {"vDecay": np.nan})], "layer 0 (dense): neuron: vDecay holds nan at position 0"),
        ([dense(ONE, {"type": "CUBA", "iDecay": 1})], "layer 0 (dense): neuron: vDecay is missing"),
        ([dense(ONE, NEURON | {"refDelay": 0})], "layer 0 (dense): neuron: refDelay holds 0 at position 0; taken: whole numbers from 1 to 63"),
        ([{"type": "input", "shape": [2], "neuron": NEURON | {"refDelay": 2}}, dense(ONE)], "layer 0 (input): neuron: refDelay of input neurons is not taken; 1, no pause beyond the step itself, is"),
        ([dense(ONE, stored=[[0, 9, 0]])], "layer 0 (dense): stored must be [1, 3]: weight exponent, bits 1 to 8, signs 0 to 2"),
        ([dense(ONE, stored=[[4, 8, 0]])], "layer 0 (dense): its weights are no 8-bit integers with the exponent 4, as stored says"),
        ([dense(ONE, steps=[1, 1])], "layer 0 (dense): steps holds 2 numbers; 1 are taken"),
        ([dense(ONE, connections=["a", "b"])], "layer 0 (dense): connections holds 2 values; 1 names are taken"),
        ([{"type": "input", "shape": [2], "name": "output"}, dense(ONE)], "two layers have one name"),
        ([dense([[2.5, 4]])], "layer 0 (dense): weight holds 2.5 at position 0; taken: whole numbers from -32,768 to 32,768"),
        ([dense([[-3, 255]])], "layer 0 (dense): weights lie in -3 … 255, 2 of 2 odd; the chip holds even numbers from −256 to 254, or any from −128 to 127, or of one sign up to 255 (lava-dl would clip or truncate them); quantise the weights in training"),
        ([dense(ONE, None), dense([[2]])], "layer 0 (dense): has no neuron; only the last layer may be without, it is read by its summed input"),
        ([dense(ONE), dense(ONE)], "layer 1 (dense): weight takes 2 inputs, but 1 come"),
        ([dense(ONE, delay=[3.0])], "layer 0 (dense): delay: the last layer's spikes are counted when they are sent; leave its delay out"),
        ([{"type": "convT", "shape": [1]}], "layer 0: type 'convT' is not taken (did you mean 'conv'?); taken: input, dense, recurrent, conv, pool, flatten, concat, average"),
        ([conv(np.ones((1, 1, 2, 2)) * 2, [1, 2, 2])], "layer 0 (conv): no layer says what shape a sample has; pass in_shape=(channels, height, width)"),
        ([{"type": "input", "shape": [1, 3, 3]}, conv(np.ones((1, 1, 2, 2)) * 2, [1, 3, 3])], "layer 1 (conv): its weights give the shape (1, 2, 2), but it says (1, 3, 3)"),
        ([{"type": "input", "shape": [1, 5, 4]}, {"type": "pool", "shape": [1, 2, 2], "weight": np.ones((1, 1, 2, 2)), "stride": [2, 2], "neuron": NEURON}], "layer 1 (pool): a window of (2, 2) at strides (2, 2), padding (0, 0), dilation (1, 1) on 5 × 4; SLAYER runs its windows across channels then, so only windows that tile the image are taken"),
        ([{"type": "input", "shape": [2]}], "no layer with neurons; taken: dense, recurrent, conv, pool"),
        ([{"type": "input", "shape": [2]}, {"type": "concat", "shape": [4], "layers": [0]}, dense([[2, 2, 2, 2]])], "layer 1 (concat): names a layer twice, input, input"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused_by_the_layers_name(tmp_path, layers, message):
    path = write(tmp_path / "x.net", *layers)
    with pytest.raises(NeurofaultError) as raised:
        nf.from_netx(path)
    assert str(raised.value) == f"{path}: {message}"


def test_files_that_are_none_are_refused(tmp_path):
    text, empty = tmp_path / "text.net", tmp_path / "empty.net"
    text.write_text("no HDF5")
    with h5py.File(empty, "w") as file:
        file["node"] = 1
    for path, message in (
        (tmp_path / "gone.net", "no such netx file"),
        (text, "not a readable netx file: not HDF5, or cut short"),
        (empty, "not a netx file: it has no group 'layer' with layers 0, 1 …"),
    ):
        with pytest.raises(DataError) as raised:
            nf.from_netx(path)
        assert str(raised.value) == f"{path}: {message}"


def test_steps_come_from_the_file_the_caller_or_are_said_to_be_assumed(tmp_path):
    said, silent = write(tmp_path / "a.net", dense(ONE)), write(tmp_path / "b.net", dense(ONE), simulation=False)
    assert (nf.from_netx(said).timesteps, nf.from_netx(said, timesteps=3).timesteps, nf.from_netx(silent).timesteps) == (T, 3, 32)
    assert "the file does not say how long a sample is shown: 32 steps are taken" in nf.from_netx(silent).notes


def test_a_convolution_may_be_told_the_shape_of_a_sample(tmp_path):
    path = write(tmp_path / "x.net", conv(np.ones((1, 2, 2, 2)) * 2, [1, 2, 3]))
    assert nf.from_netx(path, in_shape=(2, 3, 4)).populations[0].shape == (2, 3, 4)
    with pytest.raises(ConversionError, match=r"\(conv\): weight \(1, 2, 2, 2\) in 1 group takes 2 channels, but 3 come$"):
        nf.from_netx(path, in_shape=(3, 3, 4))


def published():
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    if not root.exists():
        pytest.skip(f"no published networks at {root}; NEUROFAULT_FIELD names the folder that holds them")
    return root


def test_every_published_file_loads_with_these_shapes():
    root = published()
    found = {str(path.relative_to(root / "lava-nc__lava-dl")): nf.from_netx(path) for path in sorted(root.rglob("*.net"))}
    sizes = {
        name: (tuple(one.size for one in network.populations), network.timesteps, network.readout.how)
        for name, network in found.items()
    }
    netx = "tests/lava/lib/dl/netx"
    tutorials = "tutorials/lava/lib/dl"
    assert sizes == {
        f"{netx}/gts/pilotnet_lif/network.net": ((39600, 76032, 26460, 8064, 5632, 2560, 100, 50, 10, 1), 16, "potential"),
        f"{netx}/tiny.net": ((768, 864, 36), 64, "count"),
        f"{tutorials}/bootstrap/mnist/Trained/network.net": ((784, 512, 512, 10), 16, "potential"),
        f"{tutorials}/netx/mnist/trained_mnist_network.net": ((784, 128, 64, 10), 32, "count"),
        f"{tutorials}/netx/oxford/Trained/network.net": ((200, 256, 200), 32, "count"),
    }


def test_the_mnist_network_of_lava_dl_on_the_first_published_test_images(data_dir):
    path = published() / "lava-nc__lava-dl/tutorials/lava/lib/dl/bootstrap/mnist/Trained/network.net"
    test = load("mnist", data_dir=data_dir).test
    first = np.argsort(test.indices)[:3000]  # the published order
    assert test.indices[first].tolist() == list(range(3000))
    result = nf.run(nf.deploy(nf.from_netx(path), "loihi2"), test.images[first], test.labels[first])
    assert round(result.accuracy * 3000) == 2959  # 98.63 %, as a plain restatement of the law gives
