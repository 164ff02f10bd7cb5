"""`neurofault rescue`: break a chip, heal it in several ways, and say which way is worth what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofault.cli import complete, options
from neurofault.cli.headlines import of_rescue, of_tests
from neurofault.cli.inject import read_faults
from neurofault.cli.output import JsonOut, check_file, scientific
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tabled, tell, width
from neurofault.cli.telling import of_prepared
from neurofault.deploy.arithmetic_spec import computes
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import UsageError
from neurofault.numerals import plural

if TYPE_CHECKING:
    from neurofault.faults import Fault
    from neurofault.metrics import Metric
    from neurofault.study.prepare import Prepared
    from neurofault.study.rescue_study import RescueStudy


def rescue(
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
    kill_cores: Annotated[int | None, typer.Option(help="Cores to kill. Default, without --fault: 4.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Kind of fault, or a whole '{kind: …, count: …}'; may be repeated.", autocompletion=complete.kinds),
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many sites fail.")] = None,
    rate: Annotated[float | None, typer.Option(help="Probability that a site fails, 0 to 1.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="random (default), clustered, least_important, most_important.",
            autocompletion=complete.words("random", "clustered", "least_important", "most_important"),
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="hidden (all hidden layers; default), hidden1 …, output, any.",
            autocompletion=complete.words("hidden", "input", "output", "any"),
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="none, remap, batch, iterative, remap+learn, diagnose, diagnose+learn, embryonic; several with commas.",
            autocompletion=complete.healing,
        ),
    ] = "none,batch,iterative",
    learner: Annotated[
        str,
        typer.Option(help="delta, dfa, falling, emstdp, homeostasis, host; several with commas.", autocompletion=complete.learners),
    ] = "delta,dfa",
    diagnose: Annotated[
        Path | None,
        typer.Option(
            help="Test of this chip, as `neurofault testset --out` wrote it, for diagnose and diagnose+learn. Default: one is chosen here."
        ),
    ] = None,
    suspect: Annotated[
        list[str] | None,
        typer.Option(
            help="diagnose: kind of single fault that it may be, as of `neurofault diagnose`; may be repeated. Default: core_dead and neuron_dead.",
            autocompletion=complete.suspects,
        ),
    ] = None,
    together: Annotated[
        bool,
        typer.Option("--together", help="diagnose: suspects that no answer tells apart move at once; else one after the other."),
    ] = False,
    control: Annotated[
        str | None,
        typer.Option(
            help="Controls: sham, fresh-subnetwork, fresh-network, dropout; several with commas, or none. Default: sham, where a strategy learns.",
            autocompletion=complete.controls,
        ),
    ] = None,
    cycles: Annotated[float, typer.Option(help="Passes over the adapt set, in all.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Equal damage steps of iterative and remap+learn.")] = 2,
    spend: Annotated[
        str,
        typer.Option(
            help="How these keep --max-writes, --max-energy and --max-time: greedy, or even, the same share after each step.",
            autocompletion=complete.words("greedy", "even"),
        ),
    ] = "greedy",
    adapt: Annotated[int, typer.Option(help="Training images to adapt to; one pass over them is a cycle.")] = 10_000,
    max_writes: Annotated[int | None, typer.Option(help="Weight writes allowed in all.")] = None,
    max_writes_per_synapse: Annotated[int | None, typer.Option(help="Writes that one weight stands.")] = None,
    max_energy: Annotated[float | None, typer.Option(help="Joules allowed (default energy table).")] = None,
    max_time: Annotated[float | None, typer.Option(help="Seconds on the chip allowed.")] = None,
    labels: Annotated[float, typer.Option(help="Share of the adapt set whose labels are known, 0 to 1.")] = 1.0,
    plastic: Annotated[
        str | None,
        typer.Option(help="Connections (in a chain: layers) that may change, with commas. Default: all the learner can train."),
    ] = None,
    watchdog: Annotated[int, typer.Option(help="Samples served broken before a strike is noticed.")] = 0,
    old_shift: Annotated[
        int | None, typer.Option(help="embryonic: halvings by which old synapses learn more slowly. Default: they do not change.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Stop a step once validation accuracy is within this of healthy, e.g. 0.005.")
    ] = None,
    guard: Annotated[
        float,
        typer.Option(
            help="Share of the adapt images, up to 1,000, that watch learning: it ends when they get worse, and the best weights stay. 0: none."
        ),
    ] = 0.2,
    protect: options.Protect = None,
    draws: Annotated[int, typer.Option(help="Independent draws of the faults.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of faults, orders and rounding.")] = 1,
    coarse: Annotated[bool, typer.Option("--coarse", help="Look at the chip at the end of cycles only (faster).")] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw accuracy over the damage time line (png, svg or pdf).")] = None,
    weight_bits: options.WeightBits = None,
    place: options.Place = "pack",
    neurons_per_core: options.NeuronsPerCore = None,
    spare_cores: Annotated[
        Any,
        typer.Option(
            parser=options.spare_words,
            metavar="N|per_chip:N",
            help="Healthy cores kept free for repair: a number for all, or per_chip:N, per_tile:N, per_layer:N for what sits there alone. Default: as many for all as are killed where a strategy needs them.",
        ),
    ] = None,
    chips: options.Chips = None,
    place_seed: options.PlaceSeed = 0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json_file: options.Json = None,
) -> None:
    """Break a chip, heal it in several ways on the same draws and samples, and report what came back and at what cost."""
    from neurofault.rescue.budget import Budget
    from neurofault.rescue.examples import Examples
    from neurofault.rescue.plans import Guard, Plan
    from neurofault.rescue.strategies import strategy_named
    from neurofault.study.patterns.pattern_set import load_patterns
    from neurofault.study.prepare import Setup, prepare
    from neurofault.study.protect.prepared import most_samples, protected
    from neurofault.study.protect.spec import specs_of
    from neurofault.study.rescue_json import to_json
    from neurofault.study.rescue_study import rescue_study, treatments
    from neurofault.study.shown import shown

    result_file = JsonOut(json_file)
    guards = specs_of(protect or [])
    check_file("--picture", picture, (".png", ".svg", ".pdf"))
    if kill_cores is None and not fault:
        kill_cores = 4
    faults = read_faults(kill_cores, fault or [], count, rate, {"where": where, "layer": layer, "at": None}, None)
    assert faults is not None
    budget = Budget(
        cycles=cycles, writes=max_writes, writes_per_synapse=max_writes_per_synapse, energy=max_energy, time=max_time, labels=labels
    )
    ways = _names(strategy)
    tests = any(strategy_named(name).tests for name in ways)
    if diagnose is not None and not tests:
        ways, tests = [*ways, "diagnose"], True
    for option, given in (("--suspect", suspect), ("--together", together)):
        if given and not tests:
            raise UsageError(f"{option} goes with --diagnose, or strategy diagnose or diagnose+learn")
    patterns = None if diagnose is None else load_patterns(diagnose)
    usual = ["sham"] if "sham" not in ways and any(strategy_named(name).learns for name in ways) else []
    controls = usual if control is None else _names(control)
    names = [*ways, *(name for name in controls if name not in ("none", "dropout"))]
    robust = _dropout_twin(network) if "dropout" in controls else None
    how = Plan(
        steps=steps if {"iterative", "remap+learn"} & set(names) else 1, spend=spend,  # type: ignore[arg-type]  # checked by Plan
        watchdog=watchdog, old_shift=old_shift, tolerance=tolerance, together=together,
    )  # fmt: skip
    watch = Guard(guard) if guard else None
    rows = treatments(names, _names(learner), budget, how)
    if adapt < 1:
        raise UsageError(f"--adapt must be at least 1, is {adapt}")
    if any(row.learner for row in rows) and budget.samples_allowed(adapt) == 0:
        raise UsageError(f"--cycles {cycles:g} of {plural(adapt, 'sample')} leaves nothing to learn from; allowed: more than 0")
    spares = spare_cores
    if spares is None:
        spares = cores_killed(faults) if any(strategy_named(row.strategy).spares for row in rows) else 0
    setup = Setup(
        network, profile, weights, data, data_dir, samples, timesteps, dt, weight_bits, place, neurons_per_core, spares, chips,
        place_seed, signed=signed, adapt=max(adapt, most_samples(guards)), validates=tolerance is not None, binning=options.binned(binning), learns=any(row.learner for row in rows), nir_reset=nir_reset, readout=readout, reset=reset, calibrate=calibrate,  # type: ignore[arg-type]  # checked by prepare
    )  # fmt: skip
    one_label_for = "what learns" if setup.learns else None
    with result_file.working(), StderrProgress(verbose=verbose) as progress:
        prepared = prepare(setup, progress, accuracy_for="rescue", one_label_for=one_label_for)
        prepared = protected(prepared, guards, seed=seed, progress=progress)
        chip, validation = prepared.deployment, prepared.data.validation
        unit = prepared.metric.unit
        train = prepared.data.train.first(min(adapt, len(prepared.data.train)))
        progress.part("network and chip", lambda: of_prepared(prepared, learn_from=f"{len(train):,} of {train.name}"))
        tester = None
        if tests:
            from neurofault.study.patterns.usual import dictionary_for  # compiled, and only these strategies need it

            tester = dictionary_for(chip, shown(chip, train), patterns, suspect, progress)
        study = rescue_study(
            chip,
            faults,
            Examples(shown(chip, train), train.expected, unit),
            Examples(shown(chip, prepared.test), prepared.test.expected, unit),
            rows,
            draws=draws,
            seed=seed,
            plastic=None if plastic is None else tuple(_names(plastic)),
            validation=None if tolerance is None else Examples(shown(chip, validation), validation.expected, unit),
            fine=not coarse,
            guard=watch,
            tester=tester,
            progress=progress,
        )
        engine = f"engine: exact, {plural(len(rows), 'way')} on the same {plural(draws, 'draw')}, learning in mode hardware_strict"
        progress.part("healing", lambda: [engine])
        if robust is not None:
            twin = prepare(replace(setup, network=robust), progress, accuracy_for="rescue", one_label_for=one_label_for)
            twin = protected(twin, guards, seed=seed, progress=progress)
            study = _with_control(study, twin, faults, draws, seed, progress)
    from neurofault.faults import fault_to_mapping

    answer = {
        "profile": prepared.profile.name,
        "network": setup.network,
        "weights": prepared.weights,
        "data": prepared.data.name,
        "timesteps": chip.timesteps,
        **({} if prepared.metric.name == "accuracy" else {"metric": prepared.metric.name}),
        **({} if chip.reset == "sample" else {"reset": chip.reset}),
        **({} if calibrate == "usual" else {"calibrate": calibrate}),
        **({"protect": [json.loads(text) for text in chip.protection.asked]} if guards else {}),
        "faults": [fault_to_mapping(each) for each in faults],
        "energy_table": prepared.profile.default_energy,
        **to_json(study),
    }
    result_file.write(answer)
    if not result_file.alone:
        tell(of_rescue(answer, prepared.metric) + ("" if quiet else "\n"))
        if not quiet:
            _print(answer, prepared.profile, prepared.metric)
    if picture is not None:
        from neurofault.study.rescue_picture import draw_time_line

        draw_time_line(study, picture)


def cores_killed(faults: Sequence[Fault]) -> int:
    """Return how many cores the ``core_dead`` faults of a plan kill at the most: so many spare cores a remap needs.

    Raises:
        UsageError: a fault kills cores at a rate, so that their number is not known beforehand.
    """
    from neurofault.faults import CoreDead

    total = 0
    for fault in faults:
        if isinstance(fault, CoreDead):
            if fault.rate is not None:
                raise UsageError(
                    "how many cores core_dead kills at a rate is not known beforehand; say how many are kept free with --spare-cores"
                )
            total += fault.count if fault.count is not None else len(fault.cores or ())
    return total


def _dropout_twin(network: str) -> str:
    """Return the zoo's network of the same shape that was trained with dropout."""
    from neurofault.zoo import RECIPES

    name = f"{network}-dropout"
    if name not in RECIPES:
        able = ", ".join(each.removesuffix("-dropout") for each in RECIPES if each.endswith("-dropout"))
        raise UsageError(f"--control dropout: the zoo has no {name!r}; networks that have one: {able}")
    return name


def _with_control(
    study: RescueStudy, twin: Prepared, faults: list[Fault], draws: int, seed: int, progress: StderrProgress
) -> RescueStudy:
    """Return the study with the row of the network trained with dropout, damaged in the same cores and not repaired."""
    from neurofault.rescue.budget import Budget
    from neurofault.rescue.examples import Examples
    from neurofault.rescue.plans import Plan
    from neurofault.study.rescue_study import DROPOUT, Treatment, rescue_study
    from neurofault.study.shown import shown

    chip, test = twin.deployment, twin.test
    judge = Examples(shown(chip, test), test.expected, twin.metric.unit)
    row = Treatment(DROPOUT, "none", None, Budget(), Plan(), control=True)
    own = rescue_study(chip, faults, judge, judge, [row], draws=draws, seed=seed, progress=progress)
    return replace(study, rows=(*study.rows, *own.rows))


def _kin(a: str, b: str) -> bool:
    """Whether two rows differ in the strategy or in the learner alone; the JSON has all pairs."""
    (strategy_a, _, learner_a), (strategy_b, _, learner_b) = a.partition(" · "), b.partition(" · ")
    return strategy_a == strategy_b or learner_a == learner_b or not learner_a or not learner_b


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _print(answer: dict[str, Any], profile: HardwareProfile, metric: Metric) -> None:
    from neurofault.study.statistics import METHODS

    kinds = ", ".join(
        f"{each['kind']} ({', '.join(f'{k} {v}' for k, v in each.items() if k != 'kind')})" for each in answer["faults"]
    )
    value, measured = metric.shown, f"{metric.words} " if metric.lower else ""
    draws = answer["rows"][0]["n_draws"] if answer["rows"] else 0
    tell(
        f"{answer['network']} (weights {answer['weights']}) on {profile.title}, {answer['samples']:,} test {'samples' if metric.lower else 'images'}; broken: {kinds}, {plural(draws, 'draw')}; "
        f"a cycle: {plural(answer['cycle_samples'], 'sample')}"
        + (f" ({answer['held_back_samples']:,} more are held back to watch learning)" if answer["held_back_samples"] else ""),
        *(f"warning: {warning}" for warning in answer["warnings"]),
        f"simulated with {computes(profile.arithmetic, profile.name)}; learning in mode hardware_strict; healthy {measured}{value(answer[f'healthy_{metric.key}'])}\n",
    )
    heads = (
        "strategy", "learner", "damaged", "final", "95 % interval", "recovered", "worst", "served", "cycles", "after last", "writes",
        "energy", "time",
    )  # fmt: skip
    rows = []
    for row in answer["rows"]:
        final, share = row["final"], row["recovered_fraction"]
        rows.append(
            (
                row["strategy"] + (" (control)" if row["control"] else ""),
                row["learner"] or "–",
                value(row["damaged"]["mean"]),
                value(final["mean"]),
                "one draw" if final["low"] is None else f"{value(final['low'])} … {value(final['high'])}",
                "–" if share is None else f"{100 * share['mean']:.0f} %",
                value(row["worst"]["mean"]),
                value(row["mean_served"]["mean"]),
                f"{row['cycles_total']:.2f}",
                f"{row['cycles_after_last_damage']:.2f}",
                f"{row['writes']:,.0f}",
                scientific(row["energy_joule"], "J"),
                scientific(row["time_second"], "s"),
            )
        )
    tell(*tabled(heads, rows, ("strategy", "learner", "95 % interval"), width()))
    for row in answer["rows"]:
        if "detection" in row:
            tell(of_tests(row))
    shown = [each for each in answer["paired"] if each["low"] is not None and _kin(each["a"], each["b"])]
    if shown:
        tell(f"\npaired over draws (a − b, {'of the final ' + metric.words if metric.lower else 'points of final accuracy'})")
        pairs = [
            (
                each["a"],
                each["b"],
                metric.differing(each["difference"]),
                f"{metric.differing(each['low'])} … {metric.differing(each['high'])}",
            )
            for each in shown
        ]
        tell(*tabled(("a", "b", "difference", "95 % interval"), pairs, ("a", "b", "95 % interval"), width()))
    costs = (
        "not known: the profile has no energy table"
        if answer["energy_table"] is None
        else f"by table {answer['energy_table']}, static power not included"
    )
    tell(
        f"\nenergy and time of learning {costs}; "
        f"served: mean {metric.words if metric.lower else 'accuracy'} from the first strike to the end of the budget"
        + (f"; 95 % intervals: {METHODS['t']}" if draws > 1 else "")
    )
    tell(*(f"note: {note}" for note in sorted({note for row in answer["rows"] for note in row["notes"]})))
