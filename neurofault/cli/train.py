"""`neurofault train`: train a network of the zoo, or say that it is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from neurofault.cli import complete, options
from neurofault.cli.output import percent
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tell
from neurofault.errors import UsageError
from neurofault.numerals import plural

_DRAWS = 20
"""Broken networks whose accuracy is printed."""


def train(
    name: Annotated[str, typer.Argument(help="Name in the zoo, e.g. mnist-mlp.", autocompletion=complete.zoo)],
    harden: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=NUMBER,…",
            help="Train for damage: cores=0.46 (share of the hidden cores that are dead in a batch; or a number of them), bits=1e-3 (flips of stored bits), dropout=0.5, seed=7. Other verbs take the network as NAME+KEY=NUMBER,…",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    profile: options.Profile = "loihi2",
    weight_bits: options.WeightBits = None,
    place: options.Place = "pack",
    neurons_per_core: options.NeuronsPerCore = None,
    spare_cores: options.SpareCores = 0,
    chips: options.Chips = None,
    place_seed: options.PlaceSeed = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train a network of the zoo; the weights are kept, so that a second call only reads them."""
    from statistics import fmean

    from neurofault.deploy.profile import load_profile
    from neurofault.study.hardened import placing, zoo_network
    from neurofault.zoo.hardening import hardening_of

    full = name if harden is None else f"{name}+{hardening_of(harden)}"
    asked = zoo_network(full)
    placed = {
        "--profile": profile != "loihi2", "--weight-bits": weight_bits is not None, "--place": place != "pack", "--neurons-per-core": neurons_per_core is not None,
        "--spare-cores": spare_cores != 0, "--chips": chips is not None, "--place-seed": place_seed != 0,
    }  # fmt: skip
    if asked.harden is None and any(placed.values()):
        given = next(option for option, said in placed.items() if said)
        raise UsageError(f"{given} goes with --harden: a network that is trained for no damage is the same on every chip")
    where = placing(
        asked.recipe, load_profile(profile), weight_bits=weight_bits, strategy=place, neurons_per_core=neurons_per_core,
        spare_cores=spare_cores, chips=chips, seed=place_seed,
    )  # fmt: skip
    with StderrProgress() as progress:
        trained = asked.trained(where, data_dir=data_dir, progress=progress)
        found = [(split, trained.accuracy(split)) for split in (trained.data.train, trained.data.validation, trained.data.test)]
        broken = [trained.accuracy(trained.data.validation, draw) for draw in trained.tried(_DRAWS)]
    part, what = "every step of " if trained.answers_steps else "", "images" if trained.data.timesteps is None else "recordings"
    split, accuracy = found[-1]
    tell(f"{full} answers {percent(accuracy)} of {part}{len(split):,} {split.name} {what} right")
    if quiet:
        return
    print(f"{full} weights {trained.digest}")
    for split, accuracy in found:
        print(f"{full} {split.name} {percent(accuracy)} of {part}{len(split)} {what}")
    if broken:
        print(f"{full} {trained.data.validation.name} {percent(fmean(broken))} {trained.broken_words}: mean of {plural(len(broken), 'draw')}, from {percent(min(broken))} to {percent(max(broken))}")  # fmt: skip
