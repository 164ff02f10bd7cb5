"""NIR files that others published (neuromorphs/NIR, folder paper): skipped where they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.data.address_events import read_address_events, read_label_list
from neurofault.errors import ConversionError
from neurofault.inputs import Inputs

nir = pytest.importorskip("nir")

BRAILLE = {
    "braille_noDelay_bias_zero.nir": "snntorch-zero", "extras/braille_noDelay_bias_zero_subgraph.nir": "snntorch-zero",
    "braille_noDelay_noBias_subtract.nir": "snntorch-subtract", "extras/braille_noDelay_noBias_subtract_subgraph.nir": "snntorch-subtract",
}  # fmt: skip
DT, T = 1e-4, 96


def field(*parts: str) -> Path:
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root.joinpath(*parts)
    if not found.exists():
        pytest.skip(f"no file at {found}; NEUROFAULT_FIELD names the folder that holds it")
    return found


def snntorch_spikes(nodes, events, mechanism):
    """What snnTorch's RSynaptic fires with a file's weights and decays, [samples, T, n]."""
    torch, snntorch = pytest.importorskip("torch"), pytest.importorskip("snntorch")
    lif, rec, first = nodes["lif1.lif"], nodes["lif1.w_rec"], nodes["fc1"]
    n = len(lif.r)
    layer = snntorch.RSynaptic(
        float(1 - DT / lif.tau_syn[0]), float(1 - DT / lif.tau_mem[0]), linear_features=n, reset_mechanism=mechanism
    )
    biases = [torch.from_numpy(np.array(getattr(node, "bias", np.zeros(n)), np.float32)) for node in (rec, first)]
    with torch.no_grad():
        layer.recurrent.weight.copy_(torch.from_numpy(rec.weight))
        layer.recurrent.bias.copy_(biases[0])
        state, found = layer.reset_mem(), []
        for step in range(T):
            drive = torch.from_numpy(events[:, step].astype(np.float32)) @ torch.from_numpy(first.weight).T + biases[1]
            state = layer(drive, *state) if step else layer(drive)
            found.append(state[0].numpy() > 0)
    return np.stack(found, axis=1)


@pytest.mark.parametrize("name", BRAILLE)
def test_snntorchs_recurrent_networks_fire_as_in_snntorch(name):
    """In real numbers and with the file's decays every spike is the same; what the chip's 8 bits change: ``docs/data/nir_field.json``."""
    path, reset = field("neuromorphs__NIR", "paper", "03_rnn", name), BRAILLE[name]
    network = from_nir(path, dt=DT, timesteps=T, coding=None, reset=reset)
    flat = nir.read(
        field("neuromorphs__NIR", "paper", "03_rnn", name.removeprefix("extras/").replace("_subgraph", "")), type_check=False
    ).nodes
    events = np.random.default_rng(5).random((4, T, 12)) < 0.05
    theirs = snntorch_spikes(flat, events, reset.removeprefix("snntorch-"))
    first, back = (network.connection(each).synapses.weight for each in ("hidden1", "hidden1.rec"))
    assert network.schedule.lag == {one.name: int(one.name == "hidden1.rec") for one in network.connections}
    assert network.population("hidden1").neuron.threshold == pytest.approx(1.0)
    carried = [one.synapses.weight.reshape(-1) for one in network.connections if one.name == "hidden1.bias"]
    assert len(carried) == ("bias_zero" in name)
    bias = carried[0] if carried else 0.0
    lif = flat["lif1.lif"]
    u = v = np.zeros((4, len(first)))
    fired = np.zeros(v.shape, bool)
    for step in range(T):
        u = (1 - DT / lif.tau_syn) * u + events[:, step] @ first.T + fired @ back.T + bias
        v = (1 - DT / lif.tau_mem) * v + u
        v = v - fired if reset.endswith("subtract") else np.where(fired, 0, v)
        fired = v > 1
        assert np.array_equal(fired, theirs[:, step])
    assert theirs.any()
    law = network.population("hidden1").neuron
    assert (law.reset, law.reset_delay, law.refractory) == (("subtract", 1, 0) if reset.endswith("subtract") else ("zero", 0, 1))
    mended = "edges name a node 'lif1.lif' that is not there: 'lif1.lif1', the only node without edges, is taken for it"
    assert (mended in network.notes) == name.startswith("extras")


def test_sinabs_nmnist_network_reads_at_least_97_of_100_recordings_without_a_step():
    file = field("neuromorphs__NIR", "paper", "02_cnn", "cnn_sinabs.nir")
    at = field("bamsumit__slayerPytorch", "test", "test_files", "NMNISTsmall")
    listed = read_label_list(at / "test100.txt", 10)
    read = read_address_events([at / f"{name}.bs2" for name, _ in listed], [label for _, label in listed])
    chip = nf.deploy(from_nir(file, timesteps=316, coding=None, reset="subtract"))
    result = nf.run(chip, Inputs(events=read.binned(bins=316, dt=1e-3, rounding="down").spikes), read.labels)
    assert (len(read), round(100 * result.accuracy)) == (100, 98)
    with pytest.raises(ConversionError) as refused:
        from_nir(file, dt=1e-3)
    assert str(refused.value) == (
        f"{file}: dt 0.001 is given, and no node has a time constant, a resistance other than 1 or a Delay: the network counts steps, and its weights are "
        "those of a step; leave dt (--dt) out"
    )
