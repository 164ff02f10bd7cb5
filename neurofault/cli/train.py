"""`neurofault train`: train a network of the zoo, or say that it is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from neurofault.cli import options
from neurofault.cli.output import percent
from neurofault.cli.progress import StderrProgress


def train(
    name: Annotated[str, typer.Argument(help="Name in the zoo, e.g. mnist-mlp.")],
    data_dir: options.DataDir = None,
) -> None:
    """Train a network of the zoo; the weights are kept, so that a second call only reads them."""
    from neurofault.zoo import torch_accuracy, trained, weights_digest

    with StderrProgress() as progress:
        model, data = trained(name, data_dir=data_dir, progress=progress)
    print(f"{name} weights {weights_digest(model)}")
    for split in (data.train, data.validation, data.test):
        accuracy = torch_accuracy(model, split.pixels, split.labels)
        print(f"{name} {split.name} {percent(accuracy)} of {len(split)} images")
