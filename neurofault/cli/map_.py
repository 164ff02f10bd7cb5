"""`neurofault map`: draw the chip with a network on it, and how full it is."""

from __future__ import annotations

from neurofault.cli import options
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import draw_chip


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
) -> None:
    """Draw the grid of cores with a network on it, and the utilisation of each resource."""
    from neurofault.study.prepare import Setup, prepare

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
    draw_chip(prepared.deployment)
