"""`neurofault testset`: the fewest samples that show that a chip is broken; `neurofault testset run`: show them to a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurofault.cli import complete, options
from neurofault.cli.headlines import of_testset
from neurofault.cli.output import JsonOut, check_file, percent, scientific
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tabled, tell, width
from neurofault.cli.telling import of_prepared
from neurofault.errors import UsageError
from neurofault.numerals import plural

app = typer.Typer(help="Choose the fewest samples that expose the faults that matter; `run` shows them to a chip.")


@app.callback(invoke_without_command=True)
def choose(
    context: typer.Context,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of single fault: synapse_dead, synapse_bit_flip, neuron_dead, core_dead; may be repeated. Default: synapse_dead, neuron_dead and core_dead.",
            autocompletion=complete.sites,
        ),
    ] = None,
    observe: Annotated[
        str,
        typer.Option(
            help="What of an answer the tester sees: class, counts, potential or spikes.",
            autocompletion=complete.words("class", "counts", "potential", "spikes"),
        ),
    ] = "class",
    aim: Annotated[
        str,
        typer.Option(
            help="critical: faults that change the class of reference samples; detectable: all that can be seen.",
            autocompletion=complete.words("critical", "detectable"),
        ),
    ] = "critical",
    critical: Annotated[int, typer.Option(help="Of how many reference samples a critical fault changes the class.")] = 1,
    size: Annotated[int | None, typer.Option(help="Most samples of the test. Default: as many as it takes.")] = None,
    coverage: Annotated[float | None, typer.Option(help="Share of these faults to be exposed, above 0 to 1. Default: all.")] = None,
    layer: Annotated[str, typer.Option(help="Layer whose faults are meant: its name, or any.")] = "any",
    out: Annotated[Path | None, typer.Option(help="File for the test (.npz).")] = None,
    pool: Annotated[int, typer.Option(help="Training samples that the test is chosen from.")] = 10000,
    candidates: Annotated[int, typer.Option(help="How many of these are tried by every fault.")] = 1000,
    made: Annotated[
        int, typer.Option(help="Most inputs that are made, by a search, for faults that no sample exposes. 0: none.")
    ] = 0,
    reference: Annotated[int | None, typer.Option(help="Validation samples by which a fault is critical. Default: all.")] = None,
    draws: Annotated[int, typer.Option(help="Pairs of faults on which the test is tried.")] = 200,
    check: Annotated[
        str, typer.Option(metavar="N|all", help="Faults that the exact engine runs again, one by one, to compare every claim.")
    ] = "100",
    seconds: Annotated[float, typer.Option(help="How long the search for the fewest samples may take, about.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the pairs, and of what is checked.")] = 1,
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
        Path | None, typer.Option("--save-chip", help="File for the healthy chip (.npz), as nf.load reads it.")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json_file: options.Json = None,
) -> None:
    """Choose the fewest samples that expose the single faults of a chip that matter, from training samples; test samples are not touched."""
    if context.invoked_subcommand is not None:
        return
    from neurofault.deploy.saved import save
    from neurofault.study.patterns.choose import choose_patterns
    from neurofault.study.patterns.pattern_set import save_patterns
    from neurofault.study.patterns.report import report
    from neurofault.study.prepare import Setup, prepare
    from neurofault.study.shown import shown

    for name, number in (("pool", pool), ("reference", reference)):
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be at least 1, is {number}")
    if check != "all" and not check.isdigit():
        raise UsageError(f"--check is a number of faults, or all, not {check!r}")
    result_file = JsonOut(json_file)
    for option, file in (("--out", out), ("--save-chip", chip_file)):
        check_file(option, file, (".npz",))
    setup = Setup(
        network=network, profile=profile, weights=weights, data=data, data_dir=data_dir, timesteps=timesteps, dt=dt, nir_reset=nir_reset,
        readout=readout, reset=reset,  # type: ignore[arg-type]  # checked by prepare
        weight_bits=weight_bits, place=place, neurons_per_core=neurons_per_core, spare_cores=spare_cores, chips=chips,
        place_seed=place_seed, signed=signed, adapt=pool, samples=1, binning=options.binned(binning), calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
    )  # fmt: skip
    with result_file.working(), StderrProgress(verbose=verbose) as progress:
        prepared = prepare(setup, progress, accuracy_for="testset", one_label_for="testset")
        chip = prepared.deployment
        if prepared.metric.lower:
            raise UsageError(f"data {prepared.data.name} has targets; testset goes by changes of class: it takes labels")
        train, validation = prepared.data.train, prepared.data.validation
        train = train.first(min(pool, len(train)))
        validation = validation if reference is None else validation.first(reference)
        progress.part(
            "network and chip",
            lambda: of_prepared(
                prepared,
                reports=False,
                choose_from=f"{len(train):,} of {train.name}",
                tell_what_is_critical=f"{len(validation):,} of {validation.name}",
            ),
        )
        found = choose_patterns(
            chip, shown(chip, train), shown(chip, validation), faults=fault or ["synapse_dead", "neuron_dead", "core_dead"], observe=observe, aim=aim,
            critical=critical, size=size, coverage=coverage, most=candidates, made=made, layer=layer, draws=draws, check=None if check == "all" else int(check),
            seconds=seconds, seed=seed, data=train.name, indices=train.indices, progress=progress,
        )  # fmt: skip
        progress.part(
            "test", lambda: [f"engine: single faults as differences from the healthy chip, by the incremental engine where it follows them; {found.checked:,} run again by exact"]
        )  # fmt: skip
    written = []
    if out is not None:
        save_patterns(found.patterns, out)
        written.append(str(out))
    if chip_file is not None:
        save(chip, chip_file)
        written.append(str(chip_file))
    answer: dict[str, Any] = {
        "network": network, "weights": prepared.weights, "data": prepared.data.name, "chosen_from": train.name, "critical_by": validation.name,
        "timesteps": chip.timesteps, "critical": critical, "seed": seed, **report(found), "files": written,
    }  # fmt: skip
    result_file.write(answer)
    if not result_file.alone:
        tell(of_testset(answer))
        if not quiet:
            _print(answer)


def _print(answer: dict[str, Any]) -> None:
    what = (
        f"change the class of {answer['critical']:,} or more of {plural(answer['reference'], 'sample')} of {answer['critical_by']}"
    )
    if answer["aim"] == "detectable":
        what = f"show in the {answer['observe']} of some candidate"
    made = f" ({answer['made_chosen']} of them made: {answer['made']} of the candidates are)" if answer["made"] else ""
    least = "proved the fewest" if answer["proved_least"] else f"no fewer than {answer['least']} do (proved)"
    if answer["exposed"] < answer["reached"] and answer["most"] is not None:
        least = f"no {answer['size']} samples expose more than {answer['most']:,} (proved)"
    tell(
        f"{plural(answer['single_faults'], 'single fault')} ({', '.join(answer['faults'])}); {answer['matter']:,} of them {what}",
        f"{plural(answer['size'], 'sample')} of {answer['chosen_from']}{made} expose{'s' if answer['size'] == 1 else ''} {answer['exposed']:,} of the {answer['reached']:,} that any of {plural(answer['candidates'], 'candidate')} exposes by {answer['observe']} "
        f"({percent(answer['coverage'])}); {least}; greedy choice takes {answer['greedy']}",
        f"samples: {' '.join(str(index) if index >= 0 else f'made{-index}' for index in answer['samples'])}\n",
    )
    rows = [
        (
            str(row["of"]),
            f"{row['faults']:,}",
            f"{row['matter']:,}",
            f"{row['reached']:,}",
            f"{row['exposed']:,}",
            _bounds(row["unseen_faults"]),
        )
        for row in (*answer["by_kind"], *answer["by_layer"])
    ]
    heads = ("of", "single faults", "matter", "reached", "exposed", "unseen faults (95 %)")
    tell(*tabled(heads, rows, ("of",), width()))
    tell(f"\nfaults that another test was not chosen by: {_bounds(answer['unseen_faults'])}")
    if answer["doubles"] is not None:
        twice = answer["doubles"]
        tell(
            f"pairs of faults: of {plural(twice['draws'], 'draw')} {twice['critical']:,} are critical; exposed {_bounds(twice['coverage'])}"
        )
    hidden = {why: number for why, number in answer["hidden"].items() if number}
    if hidden:
        tell("exposed by no candidate: " + ", ".join(f"{number:,} {why}" for why, number in hidden.items()))
    tell(
        f"the test takes {scientific(answer['time_seconds'], 's')} ({answer['time_evidence']}) and {scientific(answer['energy_joule'], 'J')} ({answer['energy_evidence']}) on the chip; "
        f"{plural(answer['checked'], 'fault')} run again by the exact engine: every claim holds; 95 % intervals: Wilson's over faults",
        *(f"wrote {path}" for path in answer["files"]),
    )


def _bounds(interval: dict[str, Any] | None) -> str:
    if interval is None:
        return "none to tell"
    return f"{percent(interval['mean'])} ({percent(interval['low'])} … {percent(interval['high'])}, n {interval['n']:,})"


@app.command("run")
def run(
    file: Annotated[Path, typer.Argument(help="Test that `neurofault testset --out` wrote.")],
    deployment: Annotated[Path | None, typer.Option(help="Chip to be tested, as nf.save writes it.")] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Recorded answers instead: the array `answers` of a .npz, [K] classes or [K, outputs].")
    ] = None,
    engine: Annotated[str, typer.Option(help="Which simulator runs the chip.", autocompletion=complete.engines)] = "exact",
    quiet: options.Quiet = False,
    json_file: options.Json = None,
) -> int:
    """Show a test to a chip: exit code 0 if every sample is answered as by the healthy chip, 1 if not."""
    from neurofault.deploy.saved import load
    from neurofault.study.patterns.apply import apply_patterns, compared, read_answers
    from neurofault.study.patterns.pattern_set import load_patterns

    if (deployment is None) == (answers is None):
        raise UsageError("say what is tested: --deployment CHIP.npz, or --answers ANSWERS.npz")
    result_file = JsonOut(json_file)
    patterns = load_patterns(file)
    with result_file.working():
        if deployment is not None:
            verdict = apply_patterns(patterns, load(deployment), engine)
        else:
            assert answers is not None
            verdict = compared(patterns, read_answers(answers))
    differing = [at for at, differs in enumerate(verdict.differs.tolist()) if differs]
    result_file.write({
        "test": str(file), "network": patterns.network, "observe": patterns.observe, "size": len(patterns), "passed": verdict.passed,
        "stalled": verdict.answers is None, "differing": differing, "samples": [int(patterns.indices[at]) for at in differing],
    })  # fmt: skip
    if not result_file.alone:
        if verdict.answers is None:
            tell("FAIL: the chip stalls and answers nothing")
        elif verdict.passed:
            tell(f"pass: {plural(len(patterns), 'sample is', 'samples are')} answered as by the healthy chip ({patterns.observe})")
        else:
            tell(
                f"FAIL: {len(differing)} of {plural(len(patterns), 'sample')} differ{'s' if len(differing) == 1 else ''} in {patterns.observe}"
            )
            for at in differing[: 0 if quiet else 20]:
                healthy, seen = patterns.answers[at].tolist(), verdict.answers[at].tolist()
                tell(f"  {patterns.says(at)}: {_said(seen)} in place of {_said(healthy)}")
    return 0 if verdict.passed else 1


def _said(values: list[int]) -> str:
    return " ".join("dead" if value == -(1 << 63) else str(value) for value in values)
