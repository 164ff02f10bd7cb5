"""sinabs' N-MNIST network on Speck 2f, beside what was published of that chip.

    python experiments/speck.py --field FOLDER [--json docs/data/speck.json]

FOLDER holds `neuromorphs__NIR` (github.com/neuromorphs/NIR, folder `paper/02_cnn`) and `bamsumit__slayerPytorch` (github.com/bamsumit/slayerPytorch,
`test/test_files/NMNISTsmall`).

`cnn_sinabs.nir` is deployed on `speck2f`: weights of 8 bits, membranes of 16, reset by subtraction. sinabs reads the IF neurons of a NIR file with a lower clamp at minus their
threshold (`sinabs/nir.py`), which the file itself does not hold: the run is shown with that clamp, and without one. Accuracy on N-MNIST's test recordings 60001 to 60100 (in the
order that `nir_field.py` finds on training recordings); the published one of the chip is `speck_accuracy.npy`. `speck_activity.npy` holds spikes of the first layer, summed over
time, of ten samples that are not named: their mean is compared with ours over the 100 recordings, for scale.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nir_field import recordings, seen

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.deploy.resources import RESOURCES, usage
from neurofault.inputs import Inputs


def clamped(network: nf.Network) -> nf.Network:
    """Return a network whose neurons do not fall below minus their threshold."""
    populations = []
    for one in network.populations:
        neuron = one.neuron
        if isinstance(neuron, nf.CubaLif) and neuron.threshold is not None:
            one = replace(one, neuron=replace(neuron, floor=-np.asarray(neuron.threshold, np.float64)))
        populations.append(one)
    return replace(network, populations=tuple(populations))


def cores_of(chip: nf.Deployment) -> list[dict[str, Any]]:
    """Return what each core in use holds, and of how much."""
    counted = usage(chip)
    held: dict[int, list[str]] = {}
    for name, core_of in chip.placement.core_of.items():
        for core in np.unique(core_of).tolist():
            held.setdefault(core, []).append(name)
    return [
        {"core": int(core), "holds": held[int(core)], **{name: counted.of(int(core))[name] for name in RESOURCES}}
        for core in counted.cores
    ]


def measured(field: Path) -> dict[str, Any]:
    """Return accuracies, spikes and capacities."""
    folder = field / "neuromorphs__NIR" / "paper" / "02_cnn"
    train, test = recordings(field, "train1K.txt", 200), recordings(field, "test100.txt", 100)
    bins = int(train.times.max() // 1000) + 1
    plain = from_nir(folder / "cnn_sinabs.nir", timesteps=bins, coding=None, reset="subtract")
    inputs = Inputs(events=seen(test, bins, swapped=False, turned=False))
    published = np.load(folder / "speck_activity.npy")
    found: dict[str, Any] = {
        "timesteps": bins,
        "published_accuracy": float(np.load(folder / "speck_accuracy.npy")),
        "published_spikes_of_layer_1": float(published.sum() / published.shape[1]),
    }
    for name, network in (("clamp at minus threshold", clamped(plain)), ("no clamp", plain)):
        chip = nf.deploy(network, "speck2f")
        result = nf.run(chip, inputs, test.labels)
        first = chip.connections[0].target
        spikes = float(result.activity.spike_counts[first].sum() / len(test.labels))
        found[name] = {
            "test_of_100": round(100 * result.accuracy),
            "spikes_of_layer_1": spikes,
            "to_published": spikes / found["published_spikes_of_layer_1"],
        }
        found["cores"] = cores_of(chip)
    return found


def main() -> None:
    """Print the figures; write them down if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", type=Path, required=True, help="folder of the published files")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    found = measured(options.field)
    print(json.dumps(found, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
