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
    from neurofault.digest import digest_of
    from neurofault.study.chain_identity import network_record
    from neurofault.zoo import any_recipe
    from neurofault.zoo.events import EventRecipe, trained_model
    from neurofault.zoo.shipped import weights_digest
    from neurofault.zoo.surrogate import model_accuracy, network_of
    from neurofault.zoo.training import torch_accuracy, trained

    spec = any_recipe(name)
    with StderrProgress() as progress:
        if isinstance(spec, EventRecipe):
            events, data = trained_model(spec, data_dir=data_dir, progress=progress)
            rows = [
                (split, model_accuracy(events, split, spec.training.loss), "every step of" if spec.training.loss == "step" else "")
                for split in (data.train, data.validation, data.test)
            ]
            network = network_of(events, name, data.shape, spec.timesteps)
            digest = digest_of(network_record(network, written=False))[:16]
        else:
            model, data = trained(name, data_dir=data_dir, progress=progress)
            rows = [
                (split, torch_accuracy(model, split.pixels, split.labels), "") for split in (data.train, data.validation, data.test)
            ]
            digest = weights_digest(model)
    print(f"{name} weights {digest}")
    for split, accuracy, part in rows:
        samples = f"{len(split)} images" if not isinstance(spec, EventRecipe) else f"{len(split)} recordings"
        print(f"{name} {split.name} {percent(accuracy)} of {part + ' ' if part else ''}{samples}")
