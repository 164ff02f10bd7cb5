"""`neurofault atlas`: what every single site does to every test image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurofault.cli import complete, options
from neurofault.cli.output import JsonOut, check_file, check_folder
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tabled, tell, width
from neurofault.cli.telling import of_prepared
from neurofault.errors import UsageError
from neurofault.numerals import plural


def atlas(
    fault: Annotated[
        str,
        typer.Option(help="Kind of site: synapse_dead, synapse_bit_flip, neuron_dead or core_dead.", autocompletion=complete.sites),
    ] = "neuron_dead",
    layer: Annotated[
        str,
        typer.Option(
            help="Layer whose sites are meant: any (default), hidden (all hidden layers), input, hidden1 …, output, or its name; of synapses their target's, or a connection's name.",
            autocompletion=complete.words("hidden", "input", "output", "any"),
        ),
    ] = "any",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the Parquet tables and the picture; an atlas that was broken off goes on there.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many of the most critical sites to list.")] = 10,
    profile: options.Profile = "loihi2",
    network: options.Network = "digits-mlp",
    weights: options.Weights = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    signed: options.Signed = "bias",
    binning: options.Binned = None,
    samples: options.Samples = None,
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
    device: options.Device = "cpu",
    report: Annotated[
        Path | None,
        typer.Option(help="HTML file, which loads nothing: the chip by core, the input image and the critical sites, to explore."),
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json_file: options.Json = None,
) -> None:
    """Work out the effect of every single site on every test image, and name the most critical sites."""
    import numpy as np

    from neurofault.engines.on_torch.devices import check_device
    from neurofault.inputs import Spikes
    from neurofault.metrics import ACCURACY
    from neurofault.study.atlas import atlas as follow
    from neurofault.study.atlas import picture, write_parquet
    from neurofault.study.atlas_api import AtlasResults
    from neurofault.study.atlas_follow import forget
    from neurofault.study.atlas_sites import COLUMNS, KINDS
    from neurofault.study.page import check_tools
    from neurofault.study.prepare import Setup, prepare
    from neurofault.study.shown import shown

    if top < 0:
        raise UsageError(f"--top must be at least 0, is {top}")
    kind = next((each for each in KINDS if each == fault), None)
    if kind is None:
        raise UsageError(f"--fault {fault}: an atlas takes {', '.join(KINDS)}")
    check_device(device)
    result_file = JsonOut(json_file)
    check_folder("--out", out)
    check_file("--report", report)
    if report is not None:
        check_tools()
    setup = Setup(
        network=network, profile=profile, weights=weights, data=data, data_dir=data_dir, samples=samples, timesteps=timesteps,
        dt=dt, nir_reset=nir_reset, readout=readout, reset=reset,  # type: ignore[arg-type]  # checked by prepare
        weight_bits=weight_bits, place=place, neurons_per_core=neurons_per_core, spare_cores=spare_cores, chips=chips,
        place_seed=place_seed, signed=signed, adapt=0, validates=False, binning=options.binned(binning), calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
    )  # fmt: skip
    with result_file.working(), StderrProgress(verbose=verbose) as progress:
        prepared = prepare(setup, progress, accuracy_for="atlas")
        progress.part("network and chip", lambda: of_prepared(prepared))
        found = follow(
            prepared.deployment, shown(prepared.deployment, prepared.test), prepared.test.expected, kind, unit=prepared.metric.unit, layer=layer,
            changes=out is not None, progress=lambda done, total: progress("atlas", done, total, ""), keep=None if out is None else out / "parts", device=device,
        )  # fmt: skip
        progress.part(
            "sites", lambda: [f"{len(found) - found.whole:,} of {plural(len(found), 'site')} were followed as differences from the healthy chip, the others ran whole on {device}"]
        )  # fmt: skip
    written: list[str] = []
    if out is not None:
        written += map(str, write_parquet(found, out))
        picture(found, out / "atlas.png")
        written.append(str(out / "atlas.png"))
        forget(out / "parts")
    if report is not None:
        values = None if isinstance(prepared.test.samples, Spikes) else prepared.test.samples.shape[1:]
        written.append(str(AtlasResults(found, prepared.deployment, values, prepared.data.name).report(report)))
    metric = prepared.metric
    sites, changed = np.asarray(found.sites["layer"], np.int64), np.asarray(found.sites["changed"], np.int64)
    critical: list[dict[str, Any]] = [
        {name: int(found.sites[name][row]) for name in COLUMNS if name in found.sites}
        | ({metric.stored: float(found.sites[metric.stored][row])} if metric.lower else {})
        | {"layer": found.layers[int(sites[row])], "accuracy_change": float(found.accuracy_change[row])}
        for row in found.most_critical(top)
    ]
    figures = {
        "network": network, "weights": prepared.weights, "data": prepared.data.name, "fault": kind, "sites": len(found), "samples": found.samples,
        "timesteps": prepared.deployment.timesteps, **({} if calibrate == "usual" else {"calibrate": calibrate}), **({} if metric == ACCURACY else {"metric": metric.name}), "healthy_accuracy": found.healthy,
        "sites_without_effect": int((changed == 0).sum()), "changed_predictions": int(changed.sum()),
        "most_critical": critical, "files": written,
    }  # fmt: skip
    answer: dict[str, Any] = metric.named(figures)
    result_file.write(answer)
    if result_file.alone:
        return
    tell(
        f"{kind}: {plural(len(found), 'site')} × {plural(found.samples, 'sample' if metric != ACCURACY else 'image')}; healthy {'' if metric == ACCURACY else metric.words + ' '}{metric.shown(found.healthy)}; "
        f"{plural(answer['sites_without_effect'], 'site changes', 'sites change')} no {'error' if metric.lower else 'prediction'}"
    )
    if quiet:
        return
    tell(
        *(
            []
            if device == "cpu"
            else [
                f"{plural(found.whole, 'site')} ran on {device}; {len(found) - found.whole:,} were followed as differences on the CPU"
            ]
        ),
        "most critical sites",
    )
    rows = [
        (
            *("-" if site[name] == -1 else str(site[name]) for name in COLUMNS[:5]), str(site["changed"]),
            metric.differing(site[f"{metric.key}_change"]) + ("" if metric.lower else " points"),
        )
        for site in answer["most_critical"]
    ]  # fmt: skip
    tell(
        *tabled((*COLUMNS[:5], "changed", f"{'error' if metric.lower else 'accuracy'} change"), rows, (), width()),
        *(f"wrote {path}" for path in written),
    )
