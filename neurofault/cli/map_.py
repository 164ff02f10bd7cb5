"""`neurofault map`: draw the chip with a network on it, and how full it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurofault.cli import options
from neurofault.cli.output import check_folder
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import draw_chip, tell
from neurofault.numerals import plural

if TYPE_CHECKING:
    from neurofault.deploy.deployment import Deployment


def map_(
    profile: options.Profile = "loihi2",
    network: options.Network = "digits-mlp",
    weights: options.Weights = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    signed: options.Signed = "bias",
    binning: options.Binned = None,
    timesteps: options.Timesteps = None,
    calibrate: options.Calibrate = "usual",
    reset: options.Reset = None,
    dt: options.Dt = None,
    nir_reset: options.NirReset = None,
    readout: options.Readout = None,
    weight_bits: options.WeightBits = None,
    place: options.Place = "pack",
    neurons_per_core: options.NeuronsPerCore = None,
    spare_cores: options.SpareCores = 0,
    chips: options.Chips = None,
    place_seed: options.PlaceSeed = 0,
    sanafe: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write the mapped network, shown its first test sample, as architecture.yaml and network.yaml of SANA-FE 2.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Draw the grid of cores with a network on it, and the utilisation of each resource."""
    from neurofault.study.prepare import Setup, prepare

    check_folder("--sanafe", sanafe)
    setup = Setup(
        network,
        profile,
        weights,
        data,
        data_dir,
        1,
        timesteps,
        dt,
        weight_bits,
        place,
        neurons_per_core,
        spare_cores,
        chips,
        place_seed,
        signed=signed,
        nir_reset=nir_reset,
        readout=readout,
        binning=options.binned(binning),
        adapt=0,
        validates=False,
        reset=reset,  # type: ignore[arg-type]  # checked by prepare
        calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
    )
    with StderrProgress() as progress:
        prepared = prepare(setup, progress)
    chip = prepared.deployment
    if quiet:
        tell(headline(chip))
    else:
        draw_chip(chip)
    if sanafe is not None:
        from neurofault.deploy.sanafe_export import FILES, to_sanafe
        from neurofault.study.shown import shown

        notes = to_sanafe(chip, sanafe, shown(chip, prepared.test.first(1)))
        if not quiet:
            tell(f"wrote {' and '.join(str(sanafe / file) for file in FILES)}", *(f"note: {note}" for note in notes))


def headline(chip: Deployment) -> str:
    """Return in one sentence how much of a chip a network takes."""
    used, place = len(chip.placement.used_cores), chip.placement
    known = chip.profile.chip.cores.value
    of = "" if known is None else f" of {place.chips * known:,}"
    return f"{chip.name} takes {used:,}{of} cores on {plural(place.chips, f'{chip.profile.title} chip')}"
