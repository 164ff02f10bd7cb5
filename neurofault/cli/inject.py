"""`neurofault inject`: break a chip and see what it costs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofault.cli import complete, options
from neurofault.cli.ahead import compiled_ahead
from neurofault.cli.output import JsonOut, estimated, scientific
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import draw_chip, tabled, tell, width
from neurofault.cli.telling import of_engine, of_prepared
from neurofault.deploy.arithmetic_spec import computes
from neurofault.errors import UsageError
from neurofault.graph import Network, Source
from neurofault.numerals import plural

if TYPE_CHECKING:
    from neurofault.data.binning import Binning
    from neurofault.faults import Fault
    from neurofault.metrics import Metric
    from neurofault.study.inject_report import Injection
    from neurofault.study.lesion import Lesion
    from neurofault.study.prepare import Prepared


def inject(
    profile: options.Profile = "loihi2",
    network: options.Network = "digits-mlp",
    weights: options.Weights = None,
    data: options.Data = None,
    data_dir: options.DataDir = None,
    signed: options.Signed = "bias",
    metric: options.Metric = None,
    binning: options.Binned = None,
    samples: options.Samples = None,
    timesteps: options.Timesteps = None,
    calibrate: options.Calibrate = "usual",
    reset: options.Reset = None,
    dt: options.Dt = None,
    nir_reset: options.NirReset = None,
    readout: options.Readout = None,
    kill_cores: Annotated[int | None, typer.Option(help="Cores to kill (short for --fault core_dead --count N).")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of fault (see `neurofault faults list`), or a whole '{kind: …, count: …}'; may be repeated.",
            autocompletion=complete.kinds,
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many sites fail.")] = None,
    rate: Annotated[float | None, typer.Option(help="Probability that a site fails, 0 to 1.")] = None,
    defects: Annotated[Path | None, typer.Option(help="Defect map (YAML) to apply before the other faults.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="random (default), clustered (neighbours on the mesh), least_important, most_important.",
            autocompletion=complete.words("random", "clustered", "least_important", "most_important"),
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="hidden (all hidden layers; default), input, hidden1 …, output, any.",
            autocompletion=complete.words("hidden", "input", "output", "any"),
        ),
    ] = None,
    at: Annotated[str | None, typer.Option(help="Physical place of the sites, e.g. core:0-7, chip:0, tile:3, word:0-63.")] = None,
    protect: options.Protect = None,
    draws: Annotated[int, typer.Option(help="Independent draws of the faults.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 1,
    engine: Annotated[str, typer.Option(help="Which simulator runs the chip.", autocompletion=complete.engines)] = "exact",
    device: options.Device = "cpu",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say which draws were followed as differences from the healthy chip, and why others were not."
        ),
    ] = False,
    weight_bits: options.WeightBits = None,
    place: options.Place = "pack",
    neurons_per_core: options.NeuronsPerCore = None,
    spare_cores: options.SpareCores = 0,
    chips: options.Chips = None,
    place_seed: options.PlaceSeed = 0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    json_file: options.Json = None,
) -> None:
    """Put a trained network on a simulated chip, break part of it, and report what that costs.

    Without options: real 8×8 digits on a Loihi 2, killing hidden cores until the effect shows.
    """
    with compiled_ahead(network, engine):
        from neurofault.engines.on_torch.devices import check_device
        from neurofault.study.inject_report import injection
        from neurofault.study.prepare import Setup, prepare
        from neurofault.study.protect.orders import with_its_map
        from neurofault.study.protect.prepared import most_samples, protected
        from neurofault.study.protect.spec import specs_of

        check_device(device, engine)
        result_file = JsonOut(json_file)
        guards = tuple(map(with_its_map, specs_of(protect or [])))
        faults = read_faults(kill_cores, fault or [], count, rate, {"where": where, "layer": layer, "at": at}, defects)
        setup = Setup(
            network, profile, weights, data, data_dir, samples, timesteps, dt, weight_bits, place, neurons_per_core, spare_cores,
            chips, place_seed, signed=signed, adapt=most_samples(guards), validates=False, binning=options.binned(binning), nir_reset=nir_reset, readout=readout, reset=reset, calibrate=calibrate, metric=metric,  # type: ignore[arg-type]  # checked by prepare
        )  # fmt: skip
        with result_file.working(), StderrProgress(verbose=verbose) as progress:
            prepared = protected(prepare(setup, progress), guards, seed=seed, progress=progress)
            progress.part("network and chip", lambda: of_prepared(prepared))
            result = injection(
                prepared, faults, layer=layer or "hidden", draws=draws, seed=seed, engine=engine, progress=progress, device=device
            )
            progress.part("faults and draws", lambda: of_engine(result))
    from neurofault.study.inject_report import to_json

    answer = to_json(result, explain=explain)
    result_file.write(answer)
    if quiet and not result_file.alone:
        tell(result.headline)
    elif not result_file.alone:
        tell(f"{result.headline}\n")
        _print(result, answer)
        if explain:
            tell("\nhow the draws were run", *(f"  {how}: {_listed(own)}" for how, own in result.how.items()))


def read_faults(
    kill_cores: int | None,
    given: Sequence[str],
    count: int | None,
    rate: float | None,
    places: Mapping[str, str | None],
    defects: Path | None,
) -> list[Fault] | None:
    """Return the faults of the command line in the one grammar, or None where no number was asked for."""
    from neurofault.faults import fault_from_mapping, load_defects
    from neurofault.specfile import parse_yaml

    number = {key: value for key, value in {"count": count, "rate": rate}.items() if value is not None}
    chosen = {key: value for key, value in places.items() if value is not None}
    whole = [text for text in given if text.lstrip().startswith("{")]
    mappings: list[Mapping[str, Any]] = [parse_yaml(text, "--fault")[0] for text in whole]
    kinds = [text for text in given if text not in whole]
    if kill_cores is not None:
        if kinds or number:
            raise UsageError("--kill-cores N is short for --fault core_dead --count N; give one of the two")
        kinds, number = ["core_dead"], {"count": kill_cores}
    if number and not kinds:
        raise UsageError("--count and --rate go with --fault KIND")
    lost = [f"--{name}" for name in ("where", "at", "layer") if name in chosen and (name != "layer" or whole or defects)]
    if lost and not kinds:
        raise UsageError(
            f"{' and '.join(lost)} goes with --fault KIND or --kill-cores N; write it inside a whole --fault '{{kind: …}}'"
        )
    if lost and whole:
        raise UsageError(
            f"{' and '.join(lost)} beside a whole --fault '{{kind: …}}' says nothing of that one; write it inside, for each fault its own"
        )
    mappings += [{"kind": kind} | number | chosen for kind in kinds]
    if not mappings and defects is None:
        return None
    known = load_defects(defects) if defects is not None else ()
    return [*known, *(fault_from_mapping(mapping) for mapping in mappings)]


def _listed(draws: Sequence[int]) -> str:
    """Return numbers of draws, of many how many."""
    return f"draw {', '.join(map(str, draws))}" if len(draws) <= 8 else f"{plural(len(draws), 'draw')}"


def _neurons(network: Network) -> str:
    """Return in words what a spike does to the neurons of a network."""
    resets = sorted(
        {one.neuron.reset for one in network.populations if isinstance(one.neuron, Source) or one.neuron.threshold is not None}
    )
    return "reset-to-zero neurons" if resets == ["zero"] else f"neurons of reset {' and '.join(resets)}"


def _print(result: Injection, answer: dict[str, Any]) -> None:
    from neurofault.study.inject_report import in_words
    from neurofault.study.statistics import METHODS

    prepared, lesions = result.prepared, result.lesion
    interval = lesions.accuracy
    kinds = ", ".join(in_words(each) for each in lesions.faults)
    tell(
        f"{answer['network']} (weights {answer['weights']}) on {prepared.profile.title} ({plural(answer['cores_used'], 'core')} on {plural(answer['chips'], 'chip')}), "
        f"{answer['samples']} test {_seen(prepared)} of {answer['data']}, {plural(answer['timesteps'], 'time step')}{', one stream (reset: never)' if 'reset' in answer else ''}, engine {answer['engine']}",
        f"simulated with {computes(prepared.profile.arithmetic, prepared.profile.name)}; broken: {kinds}, {plural(answer['n_draws'], 'draw')}\n",
    )
    if prepared.scaling is not None:
        tell(f"{prepared.scaling}\n")
    metric = prepared.metric
    value = metric.shown
    rows = [] if result.ann_accuracy is None else [("ANN", value(result.ann_accuracy), "", "the torch network")]
    rows += [
        ("spiking", value(result.spiking_accuracy), "", f"{_neurons(prepared.network)}, weights not yet rounded"),
        ("healthy chip", value(lesions.healthy.accuracy), "", f"{answer['weight_bits']}-bit weights, placed"),
        *([] if result.bare is None else [_damaged_row(result.bare, value, "unprotected")]),
        *(_damaged_row(each, value, "damaged" if prepared.bare is None else "protected") for each in (*result.tried, lesions)),
        ("chance", value(result.chance), "", _chance(metric)),
    ]
    heads = ("what", metric.words, "95 % interval", "what it is")
    tell(*tabled(heads, rows, (heads[0], *heads[2:]), width()))
    broken = [each for each in (result.bare, *result.tried, lesions) if each is not None and each.exact is None]
    if any(each.accuracy is not None and each.accuracy.low is not None for each in broken):
        tell(f"95 % intervals: {METHODS['t']}")
    reference, healthy = result.spiking_accuracy if result.ann_accuracy is None else result.ann_accuracy, lesions.healthy.accuracy
    lost = "no accuracy is left: every draw stalled"
    if metric.lower:
        if interval is not None:
            lost = f"the damage adds {interval.mean - healthy:.4g} to the mean squared error"
        tell(f"\nconversion adds {healthy - reference:.4g} to the mean squared error; {lost}", "\nwhat was hit")
    else:
        if interval is not None:
            lost = f"the damage costs {100 * (healthy - interval.mean):.2f} points"
        tell(f"\nconversion gap {100 * (reference - healthy):+.2f} points; {lost}", "\nwhat was hit")
    hits = []
    for draw in answer["draws"]:
        measured = draw[metric.key]
        accuracy = draw["status"] if measured is None else value(measured)
        for each in draw["faults"]:
            hits.append((str(draw["draw"]), accuracy, each["kind"], _cores_hit(each), str(each["neurons"]), str(each["synapses"])))
    tell(
        *tabled(
            ("draw", "error" if metric.lower else "accuracy", "fault", "cores", "neurons", "synapses"),
            hits,
            ("fault", "cores"),
            width(),
        )
    )
    for note in _notes(result):
        tell(f"note: {note}")
    cost = lesions.healthy.cost
    spikes = f"{answer['spikes_healthy'] / answer['samples']:.0f} spikes"
    tell(
        f"\nper inference (healthy): {spikes}; energy and time are not known: profile {answer['profile']} has no energy table"
        if cost.table is None
        else f"\nper inference (healthy): {estimated(cost.energy, 'J', f'; table {cost.table}; {cost.static_note}')}, "
        f"{scientific(cost.time.value, 's')} ({cost.time.evidence}), "
        f"{spikes}; damaged: {_damaged_energy(answer)}",
        *_where_energy_changes(result, answer),
        *_what_protects(result),
        f"\nchip after draw {lesions.draws[0].draw}",
    )
    draw_chip(lesions.draws[0].deployment)
    print(f"\nto repeat: {_command(result)}")


def _cores_hit(hit: Mapping[str, Any]) -> str:
    """Return the cores that a fault hits; where it kills some of them, or breaks only what is between them, those that live apart."""
    groups = {"dead": set(hit.get("dead_cores", ())), "dead for a time": set(hit.get("dead_for_a_time", ()))}
    dead = set.union(*groups.values())
    alive = [core for core in hit["cores"] if core not in dead]
    if alive and (len(alive) < len(hit["cores"]) or hit["kind"] in ("link_dead", "router_dead")):
        told = {words: [core for core in hit["cores"] if core in ids] for words, ids in groups.items()} | {
            "alive, lost messages": alive
        }
        return "; ".join(f"{words} {_some(ids)}" for words, ids in told.items() if ids)
    return _some(hit["cores"])


def _some(cores: Sequence[int]) -> str:
    return " ".join(map(str, cores[:16])) + (" …" if len(cores) > 16 else "")


def _damaged_energy(answer: dict[str, Any]) -> str:
    if (least := answer.get("energy_at_least_joule_per_inference_damaged")) is not None:
        return f"at least {scientific(least, 'J')}"
    return scientific(answer["energy_joule_per_inference_damaged"], "J")


def _where_energy_changes(result: Injection, answer: dict[str, Any]) -> list[str]:
    """Return a line that says where the damage costs or saves energy, none where it does neither."""
    by_core = result.energy_by_core
    if not by_core:
        return []
    core = max(by_core, key=lambda each: abs(by_core[each]))
    draws = len(result.energy_changes)
    sign = "+" if by_core[core] > 0 else "−"
    return [
        f"energy a sample: {scientific(answer['energy_joule_per_inference'], 'J')} → "
        f"{scientific(answer['energy_joule_per_inference_damaged'], 'J')}, "
        f"{sign}{scientific(abs(by_core[core]), 'J')} of it on core {core}{f' (means of {draws} draws)' if draws > 1 else ''}"
    ]


def _what_protects(result: Injection) -> list[str]:
    """Return the lines that say what a protection costs and takes back, none where there is none."""
    if result.prepared.bare is None:
        return []
    cost, regained = result.charge, result.regained
    back = (
        "the chip without it has nothing of what was hit"
        if result.bare is None
        else "nothing was lost without it"
        if regained is None
        else f"it regains {100 * regained:.1f} % of the loss"
    )
    return [
        f"protection: {cost.data_bits:,} of {plural(cost.stored_bits, 'stored bit')} in code words; {back}",
        f"it costs {plural(cost.check_bits, 'check bit')} and {plural(cost.map_bits, 'bit')} of map, ranges and floors, {plural(cost.copied_bits, 'bit')} of copies ({100 * cost.added:.2f} % more), {plural(cost.cores, 'core')}, "
        f"{cost.bits_read:,.0f} bits read a sample: {scientific(cost.energy, 'J')} and at most {scientific(cost.time, 's')} an inference (assumed: a bit costs a synaptic operation / "
        "bits of a weight)",
    ]


def _chance(metric: Metric) -> str:
    if metric.lower:
        return "always the mean of the training targets"
    return "always the most frequent class" if metric.k == 1 else f"always the {metric.k} most frequent classes"


def _seen(prepared: Prepared) -> str:
    return "images" if prepared.scaling is None and prepared.data.timesteps is None else "samples"


def _notes(result: Injection) -> list[str]:
    """Return what a reader of these figures should know."""
    from neurofault.faults import FAMILIES

    chip, setup, notes = result.prepared.deployment, result.prepared.setup, []
    hidden = [one.name for one in chip.populations if not one.is_source and one.name != chip.readout.population]
    crowded = [name for name in hidden if len(chip.placement.cores_of(name)) == 1]
    if crowded:
        notes.append(f"all of {', '.join(crowded)} sits on one core, so losing that core loses it; --neurons-per-core spreads it")
    if result.prepared.calibration is not None and ":" in setup.network and setup.weights is None:
        notes.append("no --weights: the network has the weights that its factory made")
    if all(type(fault) in FAMILIES["learning"] for fault in result.lesion.faults):
        notes.append("faults of the learning engine act only while a chip learns; inference is untouched")
    gap = (
        0.0 if result.ann_accuracy is None or result.prepared.metric.lower else result.ann_accuracy - result.lesion.healthy.accuracy
    )
    if gap > 0.03:
        ways = "more --timesteps" if setup.calibrate == "subtract" else "--calibrate subtract or more --timesteps"
        notes.append(f"conversion costs {100 * gap:.1f} points before anything breaks; {ways} may cost less")
    if result.ann_accuracy is None:
        notes.append("the network was spiking already: the conversion gap is that of rounding alone")
    return [*notes, *result.notes]


def _damaged_row(lesions: Lesion, value: Callable[[float], str], name: str = "damaged") -> tuple[str, str, str, str]:
    from neurofault.study.inject_report import in_words

    interval = lesions.accuracy
    what = ", ".join(in_words(each) for each in lesions.faults)
    if interval is None:
        return name, "stalled", "", what
    bounds = "no interval from one draw"
    if lesions.exact is not None:
        bounds = "exact: the only outcome" if lesions.exact.n == 1 else f"exact: all {plural(lesions.exact.n, 'outcome')}"
    elif interval.low is not None and interval.high is not None:
        bounds = f"{value(interval.low)} … {value(interval.high)}"
    stalled = sum(draw.status == "stalled" for draw in lesions.draws)
    return name, value(interval.mean), bounds, what + (f"; {plural(stalled, 'draw')} stalled" if stalled else "")


def _binning(asked: Binning | None) -> str | None:
    return None if asked is None else json.dumps(asked.asked())


def _command(result: Injection) -> str:
    """Return the command line that repeats this run, with every default written out."""
    from neurofault.faults import fault_to_mapping

    setup = result.prepared.setup
    words: list[str] = ["neurofault", "inject", "--profile", setup.profile, "--network", setup.network]
    named: dict[str, object] = {
        "reset": setup.reset,
        "weights": setup.weights, "data": setup.data or result.prepared.data.name,
        "metric": None if result.prepared.metric.name == "accuracy" else result.prepared.metric.name,
        "signed": None if result.prepared.scaling is None else result.prepared.scaling.signed, "binning": _binning(setup.binning), "data-dir": setup.data_dir, "samples": len(result.prepared.test),
        "timesteps": result.prepared.deployment.timesteps, "calibrate": None if setup.calibrate == "usual" else setup.calibrate, "dt": setup.dt, "nir-reset": setup.nir_reset, "readout": setup.readout, "weight-bits": setup.weight_bits, "place": setup.place,
        "neurons-per-core": setup.neurons_per_core, "spare-cores": setup.spare_cores or None, "chips": setup.chips,
        "place-seed": setup.place_seed or None,
    }  # fmt: skip
    for text in result.prepared.deployment.protection.asked:
        words += ["--protect", text]
    for each in result.lesion.faults:
        words += ["--fault", json.dumps(fault_to_mapping(each))]
    named |= {
        "draws": len(result.lesion.draws),
        "seed": result.seed,
        "engine": result.engine,
        "device": None if result.device == "cpu" else result.device,
    }
    for key, value in named.items():
        if value is not None:
            words += [f"--{key}", str(value)]
    return shlex.join(words)
