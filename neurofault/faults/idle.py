"""Faults that did nothing in a run, said in words: a draw that hit nothing, cores that hold nothing, damage that begins after the last step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from neurofault.damage.broken import BrokenCore, BrokenMesh
from neurofault.damage.damage import Edit, Hit
from neurofault.deploy.deployment import Deployment
from neurofault.faults.base import Fault
from neurofault.numerals import plural

_NAMED = 8
"""Cores that a note names one by one."""


def idle_notes(deployment: Deployment, samples: int, faults: Sequence[Fault] = ()) -> tuple[str, ...]:
    """Return one line for each fault of a chip that a run of its first samples cannot show.

    Args:
        deployment: the damaged chip.
        samples: number of samples of the run, shown from step 1 of the chip on.
        faults: the models, in the order of the hits, where they are at hand: of one that asks for no site nothing is said.
    """
    notes, end = list[str](), 0
    last = samples * deployment.timesteps + deployment.schedule.depth
    none = {number for number, fault in enumerate(faults) if fault.count == 0 or fault.sites == () or fault.rate == 0}
    spare = {number for number, fault in enumerate(faults) if fault.layer == "spare"}
    damage = deployment.damage.cells
    for number, hit in enumerate(damage.hits):
        edits = damage.edits[end : end + hit.n_edits]
        end += hit.n_edits
        if number in none:
            continue
        listed = number < len(faults) and faults[number].list_field == "cores" and faults[number].sites is not None
        if number not in spare and (empty := _empty(deployment, hit, listed, bool(edits))):
            notes.append(empty)
        if not edits and not hit.broken and not hit.dead_cores:
            notes.append(f"{hit.kind} hit nothing")
        elif not edits and hit.broken and all(isinstance(place, BrokenMesh) for place in hit.broken):
            notes.append(f"{hit.kind} changed nothing: no message crosses what it closed")
        elif edits and not any(_acts(edit, last, deployment.timesteps) for edit in edits):
            first = min(edit.when.start for edit in edits)
            notes.append(
                f"{hit.kind} never acted: it begins in step {first} of the chip, the last step of {plural(samples, 'sample')} is {last}"
            )
    return tuple(notes)


def _empty(deployment: Deployment, hit: Hit, listed: bool, acts: bool) -> str:
    """Return which cores of a hit hold nothing, and why; nothing where all do what was asked.

    Args:
        deployment: the damaged chip.
        hit: of one fault.
        listed: whether its cores were listed one by one; of others only a hit that changes nothing is said.
        acts: whether it changes something elsewhere.
    """
    empty = {place.core for place in hit.broken if isinstance(place, BrokenCore)}
    if acts and not listed:
        return ""
    chip = deployment.profile.chip
    bad = (set(hit.cores) | empty).intersection(deployment.profile.dead_core_ids) if listed or empty else set[int]()
    kept = {core for core in empty - bad if core % chip.cores.known in chip.reserved}
    groups = (
        (bad, "is", "are", "known bad already"),
        (kept, "is", "are", "reserved"),
        (empty - bad - kept, "holds", "hold", "nothing"),
    )
    said = [f"{_cores(cores)} {one if len(cores) == 1 else more} {what}" for cores, one, more, what in groups if cores]
    return f"{hit.kind}{'' if acts else ' changed nothing'}: {', '.join(said)}" if said else ""


def of_draws(notes: Iterable[tuple[int, Iterable[str]]]) -> tuple[str, ...]:
    """Put the notes of several draws together.

    Args:
        notes: number of each draw, and its notes.
    """
    drawn, of = list[int](), dict[str, list[int]]()
    for draw, texts in notes:
        drawn.append(draw)
        for text in texts:
            of.setdefault(text, []).append(draw)
    return tuple(f"{text} in {_draws(draws, drawn)}" for text, draws in of.items())


def _cores(cores: Collection[int]) -> str:
    first = sorted(cores)[:_NAMED]
    return f"core{'s' * (len(cores) > 1)} {', '.join(map(str, first))}{' …' * (len(cores) > _NAMED)}"


def _draws(draws: Sequence[int], drawn: Sequence[int]) -> str:
    return "every draw" if draws == drawn else f"draw{'s' * (len(draws) > 1)} {', '.join(map(str, draws))}"


def _acts(edit: Edit, last: int, timesteps: int) -> bool:
    """Whether an edit is active in a step of the run."""
    steps = np.arange(1, last + 1) if edit.when.clock == "chip" else np.arange(timesteps)
    return bool(edit.when.active(steps).any())
