"""`neurofault diagnose`: what is broken, by the answers to a test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurofault.cli import complete, options
from neurofault.cli.headlines import of_diagnosis
from neurofault.cli.output import JsonOut, percent
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tell
from neurofault.errors import UsageError
from neurofault.numerals import plural


def diagnose(
    file: Annotated[Path, typer.Argument(help="Test that `neurofault testset --out` wrote.")],
    chip: Annotated[Path, typer.Option(help="The healthy chip, as `neurofault testset --save-chip` wrote it.")],
    deployment: Annotated[Path | None, typer.Option(help="Chip to be diagnosed, as nf.save writes it.")] = None,
    answers: Annotated[Path | None, typer.Option(help="Recorded answers instead: the array `answers` of a .npz.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of single fault that it may be: core_dead, neuron_dead, synapse_dead, synapse_bit_flip, memory_word_dead, link_dead, router_dead; may be repeated. "
            "Default: core_dead and neuron_dead.",
            autocompletion=complete.suspects,
        ),
    ] = None,
    layer: Annotated[str, typer.Option(help="Layer whose single faults are suspected: its name, or any.")] = "any",
    most: Annotated[
        int | None,
        typer.Option(help="Faults and pairs that the dictionary may hold; each is run over the whole test. Default: 200,000."),
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Two dead cores are suspected, too.")] = False,
    top: Annotated[int, typer.Option(help="How many suspects to list.")] = 5,
    draws: Annotated[int, typer.Option(help="Draws of one and of two dead cores by which the naming is measured; 0: none.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of these draws.")] = 1,
    quiet: options.Quiet = False,
    json_file: options.Json = None,
) -> None:
    """Rank what may be broken, by the answers of a chip to a test; faults that no answer tells apart are named together."""
    from neurofault.deploy.saved import load
    from neurofault.engines import run
    from neurofault.study.patterns.apply import check_chip, read_answers
    from neurofault.study.patterns.diagnose import MOST_FAULTS, Suspect, fault_dictionary, naming
    from neurofault.study.patterns.diagnose import diagnose as ranked
    from neurofault.study.patterns.pattern_set import load_patterns
    from neurofault.study.patterns.report import interval_json
    from neurofault.study.patterns.seen import seen_of

    if deployment is not None and answers is not None:
        raise UsageError("give --deployment CHIP.npz or --answers ANSWERS.npz, not both")
    if deployment is None and answers is None and not draws:
        raise UsageError(
            "say what is diagnosed: --deployment CHIP.npz, or --answers ANSWERS.npz; or --draws N to measure the naming"
        )
    if top < 1:
        raise UsageError(f"--top must be at least 1, is {top}")
    if draws < 0:
        raise UsageError(f"--draws must be at least 0, is {draws}")
    result_file = JsonOut(json_file)
    patterns, healthy = load_patterns(file), load(chip)
    seen = None
    if deployment is not None:
        broken = load(deployment)
        check_chip(patterns, broken)
        seen = seen_of(patterns.observe, run(broken, patterns.inputs).activity)
    elif answers is not None:
        seen = read_answers(answers)
    if healthy.damage.edits:
        raise UsageError(f"--chip {chip}: is damaged; the dictionary is made on the healthy chip")
    suspects: list[Suspect] = []
    with result_file.working(), StderrProgress() as progress:
        kinds = fault or ["core_dead", "neuron_dead"]
        dictionary = fault_dictionary(
            healthy, patterns, kinds, pairs=pairs, layer=layer, most=MOST_FAULTS if most is None else most, progress=progress
        )
        if seen is not None:
            suspects = ranked(dictionary, seen, top)
        measured = [naming(healthy, dictionary, cores, draws, seed) for cores in (1, 2)] if draws else []
    result_file.write({
        "test": str(file), "network": patterns.network, "observe": patterns.observe, "size": len(patterns), "faults": kinds, "pairs": pairs,
        "dictionary": dictionary.faults, "classes": len(dictionary.classes), "not_exposed": len(dictionary.classes[0]) - 1,
        "suspects": [{"faults": list(one.faults), "distance": one.distance} for one in suspects],
        "naming": [
            {"cores": one.cores, "draws": one.draws, "exposed": one.shown, "named": interval_json(one.named), "part_named": interval_json(one.part)}
            for one in measured
        ],
    })  # fmt: skip
    if result_file.alone:
        return
    tell(of_diagnosis(suspects, measured))
    if quiet:
        return
    tell(
        f"{dictionary.faults:,} faults give {len(dictionary.classes):,} different answers to {plural(len(patterns), 'sample')} ({patterns.observe}); "
        f"{len(dictionary.classes[0]) - 1:,} answer as the healthy chip"
    )
    for rank, one in enumerate(suspects, 1):
        more = f" and {len(one.faults) - 8:,} more that no answer tells apart" if len(one.faults) > 8 else ""
        tell(
            f"{rank}. {'; '.join(one.faults[:8])}{more} ({'the very answers' if not one.distance else f'distance {one.distance:,.0f}'})"
        )
    for found in measured:
        named, part = found.named, found.part
        tell(
            f"{found.cores} dead, {plural(found.draws, 'draw')}: named {percent(named.mean)} ({percent(named.low or 0)} … {percent(named.high or 1)}); "
            f"one that died, and no other {percent(part.mean)}; exposed {found.shown} (95 % interval: Wilson's over draws)"
        )
