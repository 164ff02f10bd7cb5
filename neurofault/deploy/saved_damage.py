"""Reading what is broken on a saved deployment: edits, hits and places, each within the chip's ranges."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import dtype_of_hint
from neurofault.damage.broken import BROKEN, Broken, BrokenCells, BrokenMesh
from neurofault.damage.damage import Damage, Detour, Drop, Edit, Hit, InputNoise, NeuronEdit, Stall
from neurofault.damage.edits import EDITS, mistake
from neurofault.damage.when import When
from neurofault.deploy.deployment import Placement
from neurofault.deploy.saved_parts import MOST, Arrays, Parts, inside, typed
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.schedule import Wiring

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
    kind = EDITS[parts.one_of("edit", tuple(EDITS))]
    hints, values = get_type_hints(kind), dict[str, Any]()
    for field in fields(kind):
        stored = parts.data.get(field.name)
        if field.name == "when":
            values["when"] = _when(stored)
        elif (held := _held(hints[field.name])) is not None:
            free = stored is None and type(None) in get_args(hints[field.name])
            values[field.name] = None if free else arrays.get(parts.inner(field.name).of("array", int), (None,), held)
        else:
            values[field.name] = typed(hints[field.name], stored)
    edit = kind(**values)
    if (problem := mistake(edit)) is not None:
        raise ValueError(f"{kind.__name__}: {problem}")
    _places(edit, wiring, cores)
    return edit


def _held(hint: Any) -> np.dtype[Any] | None:
    """Return what an array field holds; None: it is no array."""
    for one in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        if (held := dtype_of_hint(one)) is not None:
            return held
    return None


def _places(edit: Edit, wiring: _Wiring, cores: int) -> None:
    """Refuse ids that do not exist."""
    match edit:
        case Stall():
            inside("core", edit.cores, cores)
        case Detour():
            inside("core", np.concatenate([edit.sources, edit.destinations]), cores)
        case _ if isinstance(edit, NeuronEdit):
            if edit.population not in {one.name for one in wiring.populations}:
                raise ValueError(f"population {edit.population[:40]!r} is not there")
            own = wiring.population(edit.population)
            inside("neuron", edit.neurons, own.size)
            if isinstance(edit, InputNoise) and not own.is_source:
                raise ValueError(f"population {edit.population[:40]!r} is no input")
        case _:
            if edit.connection not in {one.name for one in wiring.connections}:
                raise ValueError(f"connection {edit.connection[:40]!r} is not there")
            synapses = wiring.connection(edit.connection).synapses
            own_arrays = {name: value for name, value in vars(edit).items() if isinstance(value, np.ndarray)}
            for name, end in (("neurons", synapses.n_out), ("targets", synapses.n_out), ("sources", synapses.n_in)):
                inside("neuron", own_arrays.get(name, ()), end)
                elsewhere = own_arrays.get(f"of_{name}", np.empty(0, np.int64))
                inside("neuron", elsewhere[elsewhere >= 0], end)
            if isinstance(edit, Drop):
                inside("core", (edit.core,), cores)


def _hit(parts: Parts, cores: int) -> Hit:
    found: dict[str, Any] = {}
    hints = get_type_hints(Hit)
    for field in fields(Hit):
        if field.name != "broken":
            found[field.name] = parts.of(field.name, hints[field.name])
    inside("core", (*found["cores"], *found["dead_cores"]), cores)
    return Hit(**found, broken=tuple(_broken(each, cores) for each in parts.listed("broken")))


def _broken(parts: Parts, cores: int) -> Broken:
    kind = BROKEN[parts.one_of("broken", tuple(BROKEN))]
    hints = get_type_hints(kind)
    found = {field.name: parts.of(field.name, hints[field.name]) for field in fields(kind) if field.name != "when"}
    place: Broken = kind(**found, when=_when(parts.of("when", dict[str, Any])))
    if isinstance(place, BrokenMesh):
        for text, form in (*((link, _LINK) for link in place.links), *((router, _TILE) for router in place.routers)):
            if not form.fullmatch(text):
                raise ValueError(f"{text[:40]!r} is no place of the mesh")
    else:
        inside("core", (place.core,), cores)
    if isinstance(place, BrokenCells):
        if place.bits is not None and len(place.bits) != len(place.words):
            raise ValueError(f"{len(place.words)} words of {len(place.bits)} bits")
        inside("word", place.words, MOST)
        inside("bit", place.bits or (), 1 << 16)
    return place
