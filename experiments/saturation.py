"""Does learning on chip go on too long? Accuracy and saturated readout weights in the course of one batch repair of heavy damage.

    python experiments/saturation.py --data-dir DIR [--json docs/data/saturation.json]

The repair of `neurofault paper fig3 --on chip` (mnist-mlp, 80 of 100 hidden neurons dead, two cycles of 10,000 images), looked at every
fifth of a cycle; a weight is saturated at either end of what its field can hold. Means over the 8 draws of the figure.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurofault.damage.stored import from_field
from neurofault.deploy.cost_events import alive
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights
from neurofault.papers.rescue2019.chip_repairs import batch, perform
from neurofault.papers.rescue2019.chip_setting import FULL, ChipStudy
from neurofault.papers.rescue2019.units import Units
from neurofault.progress import silent

DEAD, LOOKS = 80, tuple(round(0.2 * look, 1) for look in range(1, 11))


def saturated(chip: Deployment) -> float:
    """Return the share of the readout's weights from live neurons that are at an end of their range."""
    (readout,) = chip.into(chip.readout.population)
    half = 1 << (readout.weight_bits - 1)
    low, high = from_field(np.array([half, half - 1]), readout.weight_bits, readout.sign_mode)
    weights = stored_weights(chip, readout.name)[:, alive(chip, readout.source)]
    return float(((weights == low) | (weights == high)).mean())


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    study = ChipStudy(FULL, Units(Path(tempfile.mkdtemp()) / "units.jsonl"), silent, options.data_dir)
    neurons = next(loss for loss in FULL.losses if loss.name == "neurons")
    answer = []
    for learner in FULL.learners:
        benches = [perform(study, replace(batch(study, neurons, learner, DEAD, draw), looks=LOOKS)) for draw in study.draws]
        correct = np.array([bench.test[1:] for bench in benches]) / len(study.chip().test.labels)
        shares = np.array([[saturated(chip) for chip in bench.snapshots[1:]] for bench in benches])
        for at, cycles in enumerate((0.0, *LOOKS)):
            row = {
                "learner": learner, "cycles": cycles, "accuracy": round(float(correct[:, at].mean()), 4),
                "saturated": round(float(shares[:, at].mean()), 4), "draws": len(benches),
            }  # fmt: skip
            answer.append(row)
            print(
                f"{learner:7s} {cycles:3.1f} cycles: {100 * row['accuracy']:.1f} %, {100 * row['saturated']:.1f} % of weights saturated"
            )
    if options.json:
        options.json.write_text(json.dumps(answer, indent=1) + "\n")


if __name__ == "__main__":
    main()
