"""`neurofault alarms`: neurons that watch a chip at work; `neurofault alarms run`: what they say of a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurofault.cli import complete, options
from neurofault.cli.headlines import of_alarms
from neurofault.cli.output import JsonOut, check_file, percent, scientific
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tabled, tell, width
from neurofault.errors import UsageError
from neurofault.numerals import plural

app = typer.Typer(help="Choose neurons that watch a chip at work and alarm when it breaks; `run` shows them a chip.")


@app.callback(invoke_without_command=True)
def choose(
    context: typer.Context,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of single fault to watch for, as of `testset`; may be repeated. Default: core_dead and neuron_dead.",
            autocompletion=complete.sites,
        ),
    ] = None,
    watcher: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of watcher: busy, idle, silence (of spikes), above, below, still (of potentials). Default: all.",
            autocompletion=complete.words("busy", "idle", "silence", "above", "below", "still"),
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="Whom one watcher of spikes listens to: neuron, core, layer. Default: all three.",
            autocompletion=complete.words("neuron", "core", "layer"),
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Most watchers.")] = 8,
    window: Annotated[int, typer.Option(help="Samples that a watcher takes together.")] = 10,
    false_alarms: Annotated[float, typer.Option(help="False alarms per 10,000 healthy samples, of all watchers, at most.")] = 20.0,
    critical: Annotated[int, typer.Option(help="Of how many samples a fault changes the class to count in the choice.")] = 1,
    heartbeat: Annotated[
        str,
        typer.Option(
            help="Cores with a heartbeat: watchers (those that hold one), all, or none.",
            autocompletion=complete.words("watchers", "all", "none"),
        ),
    ] = "watchers",
    by_class: Annotated[
        bool, typer.Option("--by-class", help="Thresholds for samples that come class by class, not shuffled.")
    ] = False,
    cores: Annotated[int, typer.Option(help="Free cores over which watchers are spread.")] = 1,
    pool: Annotated[int, typer.Option(help="Training samples that set thresholds, at most.")] = 10000,
    stream: Annotated[int, typer.Option(help="Validation samples on which the alarms are tried, and that the file carries.")] = 300,
    draws: Annotated[int, typer.Option(help="Draws of each kind of fault by which coverage and delay are measured.")] = 40,
    seed: Annotated[int, typer.Option(help="Seed of the order of samples, and of the draws.")] = 1,
    out: Annotated[Path | None, typer.Option(help="File for the alarms (.npz).")] = None,
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
    chip_file: Annotated[
        Path | None, typer.Option("--save-chip", help="File for the healthy chip with its watchers (.npz), as nf.load reads it.")
    ] = None,
    quiet: options.Quiet = False,
    json_file: options.Json = None,
) -> None:
    """Choose neurons that watch a chip at work, with thresholds by training samples; what they see is measured on validation samples."""
    if context.invoked_subcommand is not None:
        return
    from neurofault.deploy.saved import save
    from neurofault.study.alarms.alarm_file import save_alarms
    from neurofault.study.alarms.choose import choose_alarms
    from neurofault.study.alarms.on_chip import with_alarms
    from neurofault.study.alarms.report import report
    from neurofault.study.alarms.tried import alarm_cost, try_alarms
    from neurofault.study.alarms.tried import false_alarms as counted
    from neurofault.study.alarms.watchers import SCOPES, WATCHER_KINDS, known_words
    from neurofault.study.prepare import Setup, prepare
    from neurofault.study.shown import shown

    for name, number in (("pool", pool), ("stream", stream), ("draws", draws), ("cores", cores)):
        if number < 1:
            raise UsageError(f"--{name} must be at least 1, is {number}")
    watching, around = (
        known_words("watcher", watcher or WATCHER_KINDS, WATCHER_KINDS),
        known_words("scope", scope or SCOPES, SCOPES),
    )
    result_file = JsonOut(json_file)
    for option, file in (("--out", out), ("--save-chip", chip_file)):
        check_file(option, file, (".npz",))
    setup = Setup(
        network=network, profile=profile, weights=weights, data=data, data_dir=data_dir, timesteps=timesteps, dt=dt, nir_reset=nir_reset,
        readout=readout, reset=reset,  # type: ignore[arg-type]  # checked by prepare
        weight_bits=weight_bits, place=place, neurons_per_core=neurons_per_core, spare_cores=spare_cores, chips=chips,
        place_seed=place_seed, signed=signed, adapt=pool, samples=1, binning=options.binned(binning), calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
    )  # fmt: skip
    with result_file.working(), StderrProgress() as progress:
        prepared = prepare(setup, progress, accuracy_for="alarms", one_label_for="alarms")
        chip, train, validation = prepared.deployment, prepared.data.train, prepared.data.validation
        if prepared.metric.lower:
            raise UsageError(f"data {prepared.data.name} has targets; alarms go by changes of class: they take labels")
        train, kinds = train.first(min(pool, len(train))), fault or ["core_dead", "neuron_dead"]
        found = choose_alarms(
            chip, shown(chip, train), shown(chip, validation.first(min(stream, len(validation)))), size=size, window=window, false_alarms=false_alarms,
            watchers=watching, scopes=around, faults=kinds, critical=critical, heartbeat=heartbeat,
            labels=train.labels if by_class else None, seed=seed, data=train.name, progress=progress,
        )  # fmt: skip
        whole = with_alarms(chip, found.alarms, cores)
        false = counted(whole, found.alarms, shown(chip, validation))
        tried = try_alarms(whole, found.alarms, faults=kinds, draws=draws, seed=seed, progress=progress)
        cost = alarm_cost(whole, found.alarms)
    written = []
    if out is not None:
        save_alarms(found.alarms, out)
        written.append(str(out))
    if chip_file is not None:
        save(whole, chip_file)
        written.append(str(chip_file))
    answer: dict[str, Any] = {
        "network": network, "weights": prepared.weights, "data": prepared.data.name, "thresholds_by": train.name, "tried_on": validation.name,
        "horizon": len(found.alarms.stream), "timesteps": chip.timesteps, "seed": seed, **report(found, cost, false, tried), "files": written,
    }  # fmt: skip
    result_file.write(answer)
    if not result_file.alone:
        tell(of_alarms(answer))
        if not quiet:
            _print(answer)


def _print(answer: dict[str, Any]) -> None:
    false = answer["false_alarms"]
    tell(
        f"{plural(answer['size'], 'watcher')} of {plural(answer['candidates'], 'candidate')}, windows of {plural(answer['window'], 'sample')}: {'; '.join(answer['names'])}",
        f"by themselves they show {answer['shown_by_first'][-1]:,} of {plural(answer['faults'], 'single fault')} that change a class",
        f"false alarms per 10,000 samples: {false['per_10000']:.3g} ({false['low']:.3g} … {false['high']:.3g}) on {plural(false['windows'], 'window')} of {answer['tried_on']}; "
        f"stated: at most {answer['stated_false_alarms']:g}, by {plural(answer['vouched_by_windows'], 'window')} of {answer['thresholds_by']}, "
        f"{'class by class' if answer['by_class'] else 'shuffled'}\n",
    )
    rows = [
        (
            one["kind"], f"{one['draws']:,}", _bounds(one["seen"]), f"{one['critical']:,}", _bounds(one["critical_seen"]), _delay(one, "half"), _delay(one, "nine_tenths"),
        )
        for one in answer["tried"]
    ]  # fmt: skip
    heads = ("fault", "draws", "seen", "critical", "critical seen (95 %)", "half within", "nine tenths within")
    tell(*tabled(heads, rows, ("fault",), width()))
    tell(
        f"\nthe horizon is {plural(answer['horizon'], 'sample')}; the watchers take {plural(answer['neurons'], 'neuron')}, {plural(answer['synapses'], 'synapse')} and {plural(answer['compartments'], 'compartment')} on "
        f"{plural(answer['cores'], 'further core')}, and {scientific(answer['energy_joule'], 'J')} a sample beside {scientific(answer['energy_plain_joule'], 'J')} ({answer['energy_evidence']}); 95 % intervals: Wilson's over draws, of false alarms over windows",
        *(f"wrote {path}" for path in answer["files"]),
    )


def _bounds(interval: dict[str, Any] | None) -> str:
    if interval is None:
        return "none to tell"
    return f"{percent(interval['mean'])} ({percent(interval['low'])} … {percent(interval['high'])})"


def _delay(one: dict[str, Any], share: str) -> str:
    samples, seconds = one["delay_samples"][share], one["delay_seconds"][share]
    return "not within" if samples is None else f"{plural(samples, 'sample', form='.1f')}, {scientific(seconds, 's')}"


@app.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="Alarms that `neurofault alarms --out` wrote.")],
    deployment: Annotated[
        Path, typer.Option(help="Chip with these watchers, as `neurofault alarms --save-chip` wrote it, and what was broken of it.")
    ],
    quiet: options.Quiet = False,
    json_file: options.Json = None,
) -> int:
    """Show the alarms' own samples to a chip: exit code 0 if no watcher alarms, 1 if one does; how late, and who."""
    from neurofault.deploy.cost import cost
    from neurofault.deploy.saved import load
    from neurofault.engines import run as present
    from neurofault.study.alarms.alarm_file import load_alarms
    from neurofault.study.alarms.watch import watch

    result_file = JsonOut(json_file)
    alarms, chip = load_alarms(file), load(deployment)
    with result_file.working():
        found = watch(chip, alarms)
        step = None if found.stalled else cost(chip, present(chip, alarms.stream).activity, len(alarms.stream)).step.value
    first = found.first()
    samples = None if first is None else (first + 1) / alarms.timesteps
    seconds = None if first is None or step is None else (first + 1) * step
    result_file.write({
        "alarms": str(file), "network": alarms.network, "window": alarms.window, "windows": len(found.alarmed), "alarmed": int(found.alarmed.sum()),
        "stalled": found.stalled, "delay_samples": samples, "delay_seconds": seconds, "first": [] if first is None else list(found.who(first)),
        "by_watcher": {str(one): int(found.spikes[:, :, at].any(axis=1).sum()) for at, one in enumerate(alarms.watchers)},
    })  # fmt: skip
    if not result_file.alone:
        if first is None or samples is None:
            tell(f"quiet: no watcher alarms in {plural(len(found.alarmed), 'window')} of {plural(alarms.window, 'sample')}")
        else:
            tell(f"ALARM after {plural(samples, 'sample', form='.1f')} ({scientific(seconds, 's')}): {'; '.join(found.who(first))}")
            if not quiet:
                tell(f"{int(found.alarmed.sum()):,} of {plural(len(found.alarmed), 'window')} alarm")
    return 0 if first is None else 1
