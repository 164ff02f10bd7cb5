"""Published NIR files on the chip: sinabs' N-MNIST network on recordings, and snnTorch's Braille networks beside snnTorch itself.

    python experiments/nir_field.py --field FOLDER [--json docs/data/nir_field.json]

FOLDER holds `neuromorphs__NIR` (github.com/neuromorphs/NIR, folder `paper`) and `bamsumit__slayerPytorch` (github.com/bamsumit/slayerPytorch, `test/test_files/NMNISTsmall`).

**N-MNIST.** `02_cnn/cnn_sinabs.nir`, without being told dt. Its publisher's loop (`02_cnn/sinabs.py`) shows events of 1 ms by tonic: polarity, y, x, steps rounded down, all
of them; that order is tried beside its three mirrors on the training recordings 1 to 200 alone, and the test recordings 60001 to 60100 are shown in the order that is best there.

**Braille.** `03_rnn`: the folder has the spikes that nine platforms recorded, but not the sample that they saw, so the networks see seeded events here, and snnTorch runs them too
(RSynaptic and Synaptic, weights and decays of the file). Spikes of the recurrent layer that differ from snnTorch's, of all neurons and steps, one cause more in each row.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.data.address_events import read_address_events, read_label_list
from neurofault.data.recordings import Recordings
from neurofault.errors import ConversionError
from neurofault.graph import CubaLif, Network
from neurofault.inputs import Inputs, Spikes

BRAILLE = {"braille_noDelay_bias_zero": "snntorch-zero", "braille_noDelay_noBias_subtract": "snntorch-subtract"}
"""File → the reset that it was trained with."""
STEPS, SAMPLES, RATE = 256, 8, 0.05
"""Of the seeded events that the Braille networks see; the recorded sample has 256 steps."""
SNNTORCH_DT = 1e-4

Array = NDArray[np.float64]


def recordings(field: Path, listed: str, count: int) -> Recordings:
    """Return the first recordings of a list of SLAYER's."""
    at = field / "bamsumit__slayerPytorch" / "test" / "test_files" / "NMNISTsmall"
    names = read_label_list(at / listed, 10)[:count]
    return read_address_events([at / f"{name}.bs2" for name, _ in names], [label for _, label in names])


def seen(read: Recordings, bins: int, *, swapped: bool, turned: bool) -> Spikes:
    """Return recordings as spikes of 1 ms; ``swapped``: polarities; ``turned``: x for y."""
    x, y = (read.y, read.x) if turned else (read.x, read.y)
    polarity = (1 - read.polarity).astype(np.uint8) if swapped else read.polarity
    turned_read = Recordings(read.starts, x, y, polarity, read.times, read.shape, read.labels)
    return turned_read.binned(bins=bins, dt=1e-3, rounding="down").spikes


def nmnist(field: Path) -> dict[str, Any]:
    """Return what cnn_sinabs.nir answers."""
    file = field / "neuromorphs__NIR" / "paper" / "02_cnn" / "cnn_sinabs.nir"
    train, test = recordings(field, "train1K.txt", 200), recordings(field, "test100.txt", 100)
    bins = int(train.times.max() // 1000) + 1
    chips = {reset: nf.deploy(from_nir(file, timesteps=bins, coding=None, reset=reset)) for reset in ("subtract", "zero")}
    order = {}
    for swapped in (False, True):
        for turned in (False, True):
            name = f"{'off first' if not swapped else 'on first'}, {'x, y' if turned else 'y, x'}"
            order[name] = nf.run(
                chips["subtract"], Inputs(events=seen(train, bins, swapped=swapped, turned=turned)), train.labels
            ).accuracy
    best = max(order, key=lambda name: order[name])
    given = {"swapped": best.startswith("on"), "turned": best.endswith("x, y")}
    found: dict[str, Any] = {"timesteps": bins, "train_accuracy_by_order": order, "order": best}
    for reset, chip in chips.items():
        train_result = nf.run(chip, Inputs(events=seen(train, bins, **given)), train.labels)
        result = nf.run(chip, Inputs(events=seen(test, bins, **given)), test.labels)
        found[f"reset {reset}"] = {"train_of_200": round(200 * train_result.accuracy), "test_of_100": round(100 * result.accuracy)}
    try:
        from_nir(file, dt=1e-3)
    except ConversionError as error:
        found["dt 1e-3"] = str(error).removeprefix(f"{file}: ")
    return found


def snntorch_spikes(path: Path, events: NDArray[np.bool_], mechanism: str) -> NDArray[np.bool_]:
    """Return the spikes of the recurrent layer that snnTorch computes, [samples, steps, n]."""
    import nir
    import snntorch

    nodes = nir.read(path, type_check=False).nodes
    lif, rec, first = nodes["lif1.lif"], nodes["lif1.w_rec"], nodes["fc1"]
    n = len(lif.r)
    layer = snntorch.RSynaptic(
        alpha=float(1 - SNNTORCH_DT / lif.tau_syn[0]),
        beta=float(1 - SNNTORCH_DT / lif.tau_mem[0]),
        linear_features=n,
        reset_mechanism=mechanism,
    )
    with torch.no_grad():
        layer.recurrent.weight.copy_(torch.from_numpy(rec.weight))
        layer.recurrent.bias.copy_(torch.from_numpy(np.array(getattr(rec, "bias", np.zeros(n)), np.float32)))
        spikes, current, v = layer.reset_mem()
        found = []
        for step in range(events.shape[1]):
            drive = torch.from_numpy(events[:, step].astype(np.float32)) @ torch.from_numpy(first.weight).T
            drive = drive + torch.from_numpy(np.array(getattr(first, "bias", np.zeros(n)), np.float32))
            spikes, current, v = layer(drive) if not step else layer(drive, spikes, current, v)
            found.append(spikes.numpy() > 0)
    return np.stack(found, axis=1)


@dataclass(frozen=True, eq=False)
class Layer:
    """The recurrent layer as numbers: drives, decays and threshold in one unit."""

    first: Array
    back: Array
    bias: Array
    keep_u: Array
    keep_v: Array
    threshold: Array

    def spikes(self, events: NDArray[np.bool_], *, subtract: bool) -> NDArray[np.bool_]:
        """Return its spikes in float64 with snnTorch's resets, one step late: [samples, steps, n]."""
        samples, steps, _ = events.shape
        u = v = np.zeros((samples, len(self.first)))
        fired, found = np.zeros(v.shape, bool), np.zeros((samples, steps, len(self.first)), bool)
        for step in range(steps):
            u = self.keep_u * u + events[:, step] @ self.first.T + fired @ self.back.T + self.bias
            v = self.keep_v * v + u - self.threshold * fired if subtract else np.where(fired, 0.0, self.keep_v * v + u)
            fired = v > self.threshold
            found[:, step] = fired
        return found


def layer_of(network: Network, tau_syn: Array | None = None, tau_mem: Array | None = None) -> Layer:
    """Return the recurrent layer of a network; with time constants given, those decays instead of 4096ths."""
    neuron = network.population("hidden1").neuron
    assert isinstance(neuron, CubaLif)
    carried = [one for one in network.connections if one.name == "hidden1.bias"]
    return Layer(
        np.asarray(network.connection("hidden1").synapses.weight, float), np.asarray(network.connection("hidden1.rec").synapses.weight, float),
        np.asarray(carried[0].synapses.weight, float).reshape(-1) if carried else np.zeros(network.population("hidden1").size),
        np.asarray(1 - (np.asarray(neuron.du) + 1) / 4096 if tau_syn is None else 1 - SNNTORCH_DT / tau_syn),
        np.asarray(1 - np.asarray(neuron.dv) / 4096 if tau_mem is None else 1 - SNNTORCH_DT / tau_mem),
        np.asarray(neuron.threshold, float),
    )  # fmt: skip


def braille(field: Path, name: str) -> dict[str, Any]:
    """Return how many spikes of the recurrent layer differ from snnTorch's."""
    import nir

    folder = field / "neuromorphs__NIR" / "paper" / "03_rnn"
    path, reset = folder / f"{name}.nir", BRAILLE[name]
    events = np.random.default_rng(2024).random((SAMPLES, STEPS, 12)) < RATE
    theirs = snntorch_spikes(path, events, reset.removeprefix("snntorch-"))
    network = from_nir(path, dt=SNNTORCH_DT, timesteps=STEPS, coding=None, reset=reset)
    lif = nir.read(path, type_check=False).nodes["lif1.lif"]
    subtract = reset.endswith("subtract")
    chip = nf.deploy(network)
    unit = {one.name: 2.0 ** (6 + one.weight_exponent) for one in chip.connections}
    real = layer_of(network)
    integers = Layer(
        *(np.asarray(chip.connection(one).synapses.weight, float) * unit[one] for one in ("hidden1", "hidden1.rec")),
        np.asarray(chip.connection("hidden1.bias").synapses.weight, float).reshape(-1) * unit["hidden1.bias"] if "hidden1.bias" in unit else real.bias,
        real.keep_u, real.keep_v, np.asarray(chip.population("hidden1").vth, float) * 64,
    )  # fmt: skip
    rows = {
        "NIR's equations in float64, snnTorch's reset": layer_of(network, lif.tau_syn, lif.tau_mem).spikes(events, subtract=subtract),
        "… and decays in 4096ths": real.spikes(events, subtract=subtract),
        "… and weights in 8 bits": integers.spikes(events, subtract=subtract),
        "the chip: … and u and v in whole numbers": on_chip(network, events),
        "the chip, reset at once": on_chip(from_nir(path, dt=SNNTORCH_DT, timesteps=STEPS, coding=None, reset="subtract" if subtract else "zero"), events),
    }  # fmt: skip
    recorded = np.load(folder / f"snntorch_activity_{name.removeprefix('braille_')}.npy")
    return {
        "reset": reset, "places": int(theirs.size), "spikes_of_snntorch": int(theirs.sum()), "spikes_recorded_of_its_first_test_sample": int(recorded.sum()),
        "differ": {row: int((own != theirs).sum()) for row, own in rows.items()},
        "first_step_that_differs": {row: first_difference(own, theirs) for row, own in rows.items()},
        "spikes": {row: int(own.sum()) for row, own in rows.items()},
    }  # fmt: skip


def on_chip(network: Network, events: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the spikes of the recurrent layer on the chip, [samples, steps, n]."""
    traces = nf.run(nf.deploy(network), Inputs(events=events), record=["spikes"]).activity.traces
    return np.asarray(traces["hidden1"].spikes, bool)


def first_difference(own: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> int | None:
    """Return the first step, counted from 1, in which any sample differs; None: none does."""
    steps = np.flatnonzero((own != theirs).any(axis=(0, 2)))
    return int(steps[0]) + 1 if steps.size else None


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: braille(options.field, name) for name in BRAILLE} | {"cnn_sinabs": nmnist(options.field)}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
