"""Reading what is broken on a saved deployment: edits, hits and places, each within the chip's ranges."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from neurofault.damage import broken as places
from neurofault.damage import damage as edits
from neurofault.damage.broken import Broken
from neurofault.damage.damage import Damage, Detour, Edit, Hit, NeuronEdit, Stall
from neurofault.damage.when import When
from neurofault.deploy.deployment import Placement
from neurofault.deploy.saved_parts import MOST, Arrays, Parts, inside, typed
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.schedule import Wiring

_EDITS: Mapping[str, type[Edit]] = {
    kind.__name__: kind
    for kind in (
        edits.Silence, edits.Force, edits.SetField, edits.Upset, edits.SetSynapses, edits.SetDelays, edits.Drop, edits.InputNoise,
        edits.Stall, edits.LearningDefect, edits.Detour, edits.StuckCounter, edits.LostReset,
        edits.KeptState,
    )
}  # fmt: skip
_BROKEN: Mapping[str, type[Broken]] = {kind.__name__: kind for kind in (places.BrokenCells, places.BrokenCore, places.BrokenMesh)}

_LINK, _TILE = re.compile(r"[0-9]{1,9},[0-9]{1,9}:[EWNS]"), re.compile(r"[0-9]{1,9},[0-9]{1,9}")
_Wiring = Wiring[ChipPopulation, ChipConnection]


def written_edit(edit: Edit, kept: Callable[[NDArray[np.generic]], int]) -> dict[str, Any]:
    """Return an edit as JSON data; arrays are put aside by ``kept``, which returns their numbers."""
    own = {field.name: getattr(edit, field.name) for field in fields(edit)}
    data = {name: {"array": kept(value)} if isinstance(value, np.ndarray) else value for name, value in own.items()}
    return {"edit": type(edit).__name__, **data} | ({"when": vars(own["when"])} if "when" in own else {})


def read_damage(
    parts: Parts,
    arrays: Arrays,
    populations: Sequence[ChipPopulation],
    connections: Sequence[ChipConnection],
    placement: Placement,
) -> Damage:
    """Return what is broken."""
    cores = placement.chips * placement.cores_per_chip
    wiring = Wiring(tuple(populations), tuple(connections))
    made = tuple(_edit(each, arrays, wiring, cores) for each in parts.listed("edits"))
    hits = tuple(_hit(each, cores) for each in parts.listed("hits"))
    dead = parts.of("dead_cores", tuple[int, ...])
    inside("core", dead, cores)
    if sum(hit.n_edits for hit in hits) > len(made) or any(hit.n_edits < 0 for hit in hits):
        raise ValueError(f"faults claim more edits than the {len(made)} that there are")
    return Damage(made, hits, dead)


def _when(data: Any) -> When:
    when: When = typed(When, data)
    numbers = (when.start, when.stop, when.period, when.on)
    if any(number is not None and not -1 < number < 1 << 62 for number in numbers) or when.on < 1:
        raise ValueError("steps are out of range")
    if (when.stop is not None and when.stop <= when.start) or (when.period is not None and when.period < when.on):
        raise ValueError("steps contradict each other")
    return when


def _edit(parts: Parts, arrays: Arrays, wiring: _Wiring, cores: int) -> Edit:
    kind = _EDITS[parts.one_of("edit", tuple(_EDITS))]
    hints, values = get_type_hints(kind), dict[str, Any]()
    for field in fields(kind):
        stored = parts.data.get(field.name)
        if field.name == "when":
            values["when"] = _when(stored)
        elif (held := _held(hints[field.name])) is not None:
            free = stored is None and type(None) in get_args(hints[field.name])
            own = None if free else arrays.get(parts.inner(field.name).of("array", int), (None,), held)
            if own is not None and own.dtype.kind == "f" and not np.isfinite(own).all():
                raise ValueError(f"{kind.__name__}: {field.name} holds what is no number")
            values[field.name] = own
        else:
            values[field.name] = typed(hints[field.name], stored)
    edit = kind(**values)
    lengths = {name: len(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    if isinstance(edit, edits.Drop):
        lengths.pop("targets")
    together = (("keep", "force"), ("factor", "offset"), ("of_sources", "of_targets"))
    halved = isinstance(edit, edits.SetSynapses) and any((one in lengths) != (other in lengths) for one, other in together)
    if len(set(lengths.values())) > 1 or halved:
        raise ValueError(f"{kind.__name__}: its arrays have {' and '.join(map(str, lengths.values()))} entries")
    _in_range(edit, wiring, cores)
    return edit


def _held(hint: Any) -> np.dtype[Any] | None:
    """Return what an array field holds; None: it is no array."""
    for one in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        if get_origin(one) is np.ndarray:
            held: np.dtype[Any] = np.dtype(get_args(get_args(one)[1])[0])
            return held
    return None


def _in_range(edit: Edit, wiring: _Wiring, cores: int) -> None:
    """Refuse ids that do not exist and numbers that mean nothing."""
    if isinstance(edit, Stall):
        inside("core", edit.cores, cores)
        return
    if isinstance(edit, Detour):
        inside("core", np.concatenate([edit.sources, edit.destinations]), cores)
        return
    ends = (0, 0)
    if isinstance(edit, NeuronEdit):
        if edit.population not in {one.name for one in wiring.populations}:
            raise ValueError(f"population {edit.population[:40]!r} is not there")
        inside("neuron", edit.neurons, wiring.population(edit.population).size)
    else:
        if edit.connection not in {one.name for one in wiring.connections}:
            raise ValueError(f"connection {edit.connection[:40]!r} is not there")
        synapses = wiring.connection(edit.connection).synapses
        ends = synapses.n_in, synapses.n_out
        if isinstance(edit, edits.LearningDefect):
            inside("neuron", edit.neurons, ends[1])
        else:
            inside("neuron", edit.targets, ends[1])
            inside("neuron", edit.sources, ends[0])
    match edit:
        case edits.Force(rate=rate):
            good = 0 <= rate <= edits.FORCE_UNIT
        case edits.StuckCounter(value=value):
            good = value in (0, 1)
        case edits.Upset(at=at, masks=masks):
            good = 0 <= at < 1 << 62 and not (masks.size and not 0 <= int(masks.min()) <= int(masks.max()) < 1 << 24)
        case edits.Drop(core=core, probability=probability, key=key):
            inside("core", (core,), cores)
            good = 0 < probability <= 1 and 0 <= key < 1 << 64
        case edits.InputNoise(population=name, sigma=sigma, key=key):
            good = sigma >= 0 and 0 <= key < 1 << 64 and wiring.population(name).is_source
        case edits.LearningDefect(value=value):
            good = 0 <= value < MOST
        case edits.SetDelays(delays=delays, flips=flips, longest=longest):
            good = all(
                not each.size or 0 <= int(each.min()) <= int(each.max()) <= 63 for each in (delays, flips) if each is not None
            )
            good = good and (flips is None) == (longest is None) and (longest is None or 0 <= longest <= 63)
        case edits.SetField(low=low, high=high, bit=bit):
            ranged = low is not None and high is not None and -MOST <= low <= high < MOST
            good = (ranged or low is high is None) and (bit is None or 0 <= bit < 32)
        case edits.SetSynapses(of_sources=sources, of_targets=targets) if sources is not None and targets is not None:
            good = all(
                not each.size or -1 <= int(each.min()) <= int(each.max()) < end
                for each, end in zip((sources, targets), ends, strict=True)
            )
        case _:
            good = True
    if not good:
        raise ValueError(f"{type(edit).__name__}: a number is out of range")


def _hit(parts: Parts, cores: int) -> Hit:
    found: dict[str, Any] = {}
    hints = get_type_hints(Hit)
    for field in fields(Hit):
        if field.name != "broken":
            found[field.name] = parts.of(field.name, hints[field.name])
    inside("core", (*found["cores"], *found["dead_cores"]), cores)
    return Hit(**found, broken=tuple(_broken(each, cores) for each in parts.listed("broken")))


def _broken(parts: Parts, cores: int) -> Broken:
    kind = _BROKEN[parts.one_of("broken", tuple(_BROKEN))]
    hints = get_type_hints(kind)
    found = {field.name: parts.of(field.name, hints[field.name]) for field in fields(kind) if field.name != "when"}
    place: Broken = kind(**found, when=_when(parts.of("when", dict[str, Any])))
    if isinstance(place, places.BrokenMesh):
        for text, form in (*((link, _LINK) for link in place.links), *((router, _TILE) for router in place.routers)):
            if not form.fullmatch(text):
                raise ValueError(f"{text[:40]!r} is no place of the mesh")
    else:
        inside("core", (place.core,), cores)
    if isinstance(place, places.BrokenCells):
        if place.bits is not None and len(place.bits) != len(place.words):
            raise ValueError(f"{len(place.words)} words of {len(place.bits)} bits")
        inside("word", place.words, MOST)
        inside("bit", place.bits or (), 1 << 16)
    return place
