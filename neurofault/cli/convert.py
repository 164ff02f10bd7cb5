"""`neurofault convert`: write a network, or what a chip makes of it, as a NIR or netx file; or say what its conversion loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurofault.cli import complete, options
from neurofault.cli.output import check_file
from neurofault.cli.progress import StderrProgress
from neurofault.errors import UsageError
from neurofault.numerals import plural

if TYPE_CHECKING:
    from neurofault.deploy.deployment import Deployment
    from neurofault.graph import Network


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="Network of the zoo, your own as package.module:factory, a NIR file (.nir), or a netx file (.net).",
            autocompletion=complete.networks,
        ),
    ],
    target: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="File to write, NIR (.nir) or netx of lava-dl (.net); none with --check.")
    ] = None,
    weights: options.Weights = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    signed: options.Signed = "bias",
    binning: options.Binned = None,
    timesteps: options.Timesteps = None,
    calibrate: options.Calibrate = "usual",
    reset: options.Reset = None,
    dt: Annotated[
        float | None, typer.Option(help="Time step: of a NIR file that does not say it, and of the file that is written.")
    ] = None,
    nir_reset: options.NirReset = None,
    readout: options.Readout = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Write the integers that this chip would hold, instead of real numbers.", autocompletion=complete.profiles
        ),
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option(help="Break the chip first: kind of fault, e.g. core_dead (with --profile).", autocompletion=complete.kinds),
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many sites fail.")] = None,
    rate: Annotated[float | None, typer.Option(help="Probability that a site fails, 0 to 1.")] = None,
    layer: Annotated[
        str,
        typer.Option(
            help="hidden (all hidden layers), input, hidden1 …, output, any.",
            autocompletion=complete.words("hidden", "input", "output", "any"),
        ),
    ] = "hidden",
    seed: Annotated[int, typer.Option(help="Seed of the fault.")] = 1,
    neurons_per_core: options.NeuronsPerCore = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what is lost: gap, silent populations, caps, delays of skips, max pooling.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert a network to the Neuromorphic Intermediate Representation (.nir), which snnTorch, norse, sinabs and others read, or to lava-dl's netx (.net)."""
    from neurofault.convert.networks import is_network_file, is_netx_file, is_nir_file, read_as
    from neurofault.convert.netx_graph import from_netx
    from neurofault.convert.nir_copy import copy_nir
    from neurofault.convert.nir_graph import from_nir
    from neurofault.deploy import deploy
    from neurofault.faults import fault_from_mapping, inject
    from neurofault.graph.network import check_reset
    from neurofault.graph.readout import readout_words
    from neurofault.study.prepare import Setup, prepare

    if timesteps is not None and timesteps < 1:
        raise UsageError(f"timesteps must be at least 1, is {timesteps}")
    if check:
        if target is not None or fault is not None:
            raise UsageError("--check only says what is lost: it goes without OUT and without --fault")
        setup = Setup(
            source, profile or "loihi2", weights, data, data_dir, None, timesteps, dt, neurons_per_core=neurons_per_core, signed=signed, adapt=0, validates=False, binning=options.binned(binning),
            nir_reset=nir_reset, readout=readout, reset=reset, calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
        )  # fmt: skip
        with StderrProgress() as progress:
            prepared = prepare(setup, progress)
            from neurofault.study.convert_report import lost_by

            report = lost_by(prepared)
        lines = list(report.lines())
        print(*(lines[:1] if quiet else lines), sep="\n")
        return
    if target is None:
        raise UsageError("say which file to write (OUT.nir or OUT.net), or --check")
    check_file("OUT", target, (".nir", ".net"))
    check_reset(reset)
    if reset == "never":
        raise UsageError(
            "--reset never: no file says that samples are one stream; leave it out here, and give it to the verb that shows the samples: inject, map, rescue"
        )
    if fault is None and (count is not None or rate is not None):
        raise UsageError("--count and --rate go with --fault KIND")
    if fault is not None and profile is None:
        raise UsageError("--fault breaks a chip: say which with --profile")
    nets = target.suffix.lower() == ".net"
    if is_network_file(source) and weights is not None:
        raise UsageError(f"--weights goes with a network of your own (package.module:factory), not with {source!r}")
    if nir_reset is not None and not is_nir_file(source):
        raise UsageError(f"--nir-reset goes with a NIR file, not with {source!r}")
    if dt is not None and nets and not is_nir_file(source):
        raise UsageError("--dt goes with a NIR file; a netx file counts steps")
    asked = None if readout is None else readout_words(readout)
    if is_nir_file(source) and profile is None and not nets:
        if asked is not None:
            raise UsageError(
                "--readout: a copy of a NIR file has the nodes of the file, which say nothing of a readout; with --profile the network is written, and its readout"
            )
        network, step = copy_nir(Path(source), target, dt=dt, timesteps=timesteps, reset=nir_reset)  # type: ignore[arg-type]  # checked there
        print(f"{target}: {network.name}, {_numbers(network)}, {plural(network.timesteps, 'time step')}, dt {step:g}")
        return
    if is_nir_file(source):
        how = None if asked is None else asked[0]
        network = read_as(from_nir(source, timesteps=timesteps, dt=dt, reset=nir_reset, readout=how), asked)  # type: ignore[arg-type]  # checked there
    elif is_netx_file(source):
        network = read_as(from_netx(source, timesteps=timesteps), asked)
    else:
        setup = Setup(
            source, profile or "loihi2", weights, data, data_dir, None, timesteps, signed=signed, adapt=0, validates=False, binning=options.binned(binning),
            readout=readout, reset=reset, calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
        )  # fmt: skip
        with StderrProgress() as progress:
            network = prepare(setup, progress).network
    from neurofault.convert.nir_writer import SNNTORCH_DT
    from neurofault.deploy.netx_export import to_netx
    from neurofault.deploy.nir_export import to_nir

    written = dt if dt is not None else SNNTORCH_DT
    what = f"{network.name}, {_numbers(network)}"
    given: Network | Deployment = network
    if profile is not None:
        given = chip = deploy(network, profile, neurons_per_core=neurons_per_core)
        what = f"{network.name}, integers of {profile}{'' if fault is None else f', broken by {fault}'}"
        if fault is not None:
            number = {key: value for key, value in {"count": count, "rate": rate}.items() if value is not None}
            given = inject(chip, [fault_from_mapping({"kind": fault, "layer": layer} | number)], seed=seed)
    notes: tuple[str, ...] = ()
    if nets:
        notes = to_netx(given, target)
    else:
        to_nir(given, target, dt=written)
    print(f"{target}: {what}, {plural(network.timesteps, 'time step')}" + ("" if nets else f", dt {written:g}"))
    for note in () if quiet else (*network.notes, *notes):
        print(f"note: {note}")


def _numbers(network: Network) -> str:
    return "a chip's integers" if any(one.stored is not None for one in network.connections) else "real numbers"
