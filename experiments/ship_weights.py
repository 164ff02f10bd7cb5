"""Train networks of the zoo anew and put their weights into the package: ``python experiments/ship_weights.py digits-mlp … [--data-dir DIR]``.

Weights that are shipped define the published figures: a network that is trained on another kind of processor is another network, and its
digest, which this prints, is another one. Then every figure that names the old digest is made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import nn

from neurofault.data.datasets import load
from neurofault.zoo import any_recipe, trained, weights_digest
from neurofault.zoo.events import EventRecipe, trained_model
from neurofault.zoo.shipped import save_shipped, shipped_file


def main() -> None:
    """Train, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data-dir", type=Path)
    asked = parser.parse_args()
    for name in asked.names:
        spec = any_recipe(name)
        key = f"{name}-{spec.digest}-{load(spec.dataset, data_dir=asked.data_dir).digest[:12]}"
        shipped_file(key).unlink(missing_ok=True)
        model: nn.Module
        if isinstance(spec, EventRecipe):
            model, _ = trained_model(spec, data_dir=asked.data_dir)
        else:
            model, _ = trained(name, data_dir=asked.data_dir)
        print(name, weights_digest(model), save_shipped(key, model.state_dict()).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
