"""Reading the parts of a saved deployment: each value is of its type and each array of the size that the chip asks for."""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from neurofault.deploy import broken as places
from neurofault.deploy import damage as edits
from neurofault.damage.broken import Broken
from neurofault.damage.damage import Damage, Detour, Edit, Hit, Stall
from neurofault.deploy.deployment import ChipLayer, Placement
from neurofault.deploy.profile import HardwareProfile
from neurofault.damage.when import When
from neurofault.graph import Conv, Dense
from neurofault.graph.synapses import Synapses

V = TypeVar("V")

_EDITS: Mapping[str, type[Edit]] = {
    kind.__name__: kind
    for kind in (
        edits.Silence, edits.Force, edits.SetField, edits.Upset, edits.SetSynapses, edits.SetDelays, edits.Drop, edits.InputNoise,
        edits.Stall, edits.LearningDefect, edits.Detour,
    )
}  # fmt: skip
_BROKEN: Mapping[str, type[Broken]] = {kind.__name__: kind for kind in (places.BrokenCells, places.BrokenCore, places.BrokenMesh)}

_MOST = 1 << 31
_LINK, _TILE = re.compile(r"[0-9]{1,9},[0-9]{1,9}:[EWNS]"), re.compile(r"[0-9]{1,9},[0-9]{1,9}")


@dataclass(frozen=True, eq=False)
class Parts:
    """A mapping of a JSON text; every value that is taken out is of the type that is asked for."""

    data: Mapping[str, Any]

    def of(self, name: str, kind: type[V]) -> V:
        """Return a value.

        Raises:
            ValueError: it is missing or of another type.
        """
        if name not in self.data:
            raise ValueError(f"{name} is missing")
        value: V = typed(kind, self.data[name])
        return value

    def one_of(self, name: str, allowed: Sequence[str]) -> str:
        """Return one of some words."""
        word = self.of(name, str)
        if word not in allowed:
            raise ValueError(f"{name} is {word[:40]!r}, not {' or '.join(allowed)}")
        return word

    def inner(self, name: str) -> Parts:
        """Return a mapping inside."""
        return Parts(self.of(name, dict[str, Any]))

    def listed(self, name: str) -> list[Parts]:
        """Return a list of mappings inside."""
        return [Parts(each) for each in self.of(name, list[dict[str, Any]])]


def typed(kind: Any, value: Any) -> Any:
    """Return JSON data as a value of a type, strictly (a list becomes a tuple); numbers are finite and fit 64 bits.

    Raises:
        ValueError: it is of another type.
    """
    return _adapter(kind).validate_json(json.dumps(value, allow_nan=False), strict=True)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of a file by number."""

    members: Mapping[str, NDArray[Any]]

    def get(self, number: int, shape: tuple[int | None, ...], dtype: Any) -> NDArray[Any]:
        """Return an array.

        Args:
            number: which.
            shape: its shape; None: any size.
            dtype: its type.

        Raises:
            ValueError: there is none, or of another shape or type.
        """
        array = self.members[str(number)]
        fits = len(shape) == array.ndim and all(want in (None, size) for want, size in zip(shape, array.shape, strict=True))
        if not fits or array.dtype != np.dtype(dtype):
            wanted = f"{np.dtype(dtype)} [{', '.join('any' if size is None else str(size) for size in shape)}]"
            raise ValueError(f"array {number} is {array.dtype} {list(array.shape)}, not {wanted}")
        return array


def read_layers(parts: Parts, arrays: Arrays) -> tuple[ChipLayer, ...]:
    """Return the populations."""
    layers: list[ChipLayer] = []
    for each in parts.listed("layers"):
        shape = each.of("shape", tuple[int, ...])
        size = math.prod(shape)
        if not shape or min(shape) < 1 or size >= _MOST:
            raise ValueError(f"layer {len(layers)} has the shape {list(shape)[:8]}")
        own: dict[str, Any] = {}
        for name in ("du", "dv", "vth", "bias_mantissa"):
            own[name] = arrays.get(each.of(name, int), (size,), np.int32)
        for name in ("du", "dv"):
            if int(own[name].min()) < 0 or int(own[name].max()) > 4095:
                raise ValueError(f"layer {len(layers)}: {name} must lie in [0, 4095]")
        limits = {"weight_exponent": (-32, 32), "weight_bits": (1, 16), "bias_exponent": (-64, 64), "v_init": (-(1 << 23), 1 << 23)}
        for name, (low, high) in limits.items():
            own[name] = each.of(name, int)
            if not low <= own[name] <= high:
                raise ValueError(f"layer {len(layers)}: {name} must lie in [{low}, {high}], is {own[name]}")
        synapses = _synapses(each, arrays, layers[-1].size, size) if layers else None
        if not layers and each.data.get("synapses") is not None:
            raise ValueError("layer 0 has synapses")
        layers.append(
            ChipLayer(
                each.of("name", str), shape, synapses, sign_mode=each.one_of("sign_mode", ("mixed", "excitatory", "inhibitory")),  # type: ignore[arg-type]
                fires=each.of("fires", bool), **own,
            )
        )  # fmt: skip
    if not layers or len({layer.name for layer in layers}) < len(layers):
        raise ValueError("layers must have names of their own, and be one at least")
    return tuple(layers)


def _synapses(layer: Parts, arrays: Arrays, n_in: int, n_out: int) -> Synapses:
    own = layer.inner("synapses")
    if "dense" in own.data:
        weight = _weights(arrays, own.of("dense", int), (n_out, n_in))
        delay = own.of("delay", int | None)  # type: ignore[arg-type]  # mypy: a union is no type[V]
        if delay is None:
            return Dense(weight)
        steps = arrays.get(delay, (n_out, n_in), np.int64)
        if steps.size and (int(steps.min()) < 0 or int(steps.max()) > 63):
            raise ValueError("delays must lie in [0, 63]")
        return Dense(weight, steps)
    weight = _weights(arrays, own.of("weight", int), (None, None, None, None))
    pairs = {name: own.of(name, tuple[int, int]) for name in ("stride", "padding", "dilation")}
    in_shape, groups = own.of("in_shape", tuple[int, int, int]), own.of("groups", int)
    least = min(*in_shape, *pairs["stride"], *pairs["dilation"], groups, *weight.shape)
    most = max(*in_shape, *pairs["stride"], *pairs["padding"], *pairs["dilation"], groups)
    if least < 1 or min(pairs["padding"]) < 0 or most >= _MOST:
        raise ValueError("a convolution's numbers are out of range")
    conv = Conv(weight, in_shape, groups=groups, **pairs)
    joined = weight.shape[0] % groups == 0 and weight.shape[1] * groups == in_shape[0] and min(conv.out_shape) >= 1
    if not joined or (conv.n_in, conv.n_out) != (n_in, n_out):
        raise ValueError(f"a convolution does not join {n_in} and {n_out} neurons")
    return conv


def _weights(arrays: Arrays, number: int, shape: tuple[int | None, ...]) -> NDArray[Any]:
    weight = arrays.get(number, shape, np.int32)
    if weight.size and int(np.abs(weight.astype(np.int64)).max()) > 1 << 20:
        raise ValueError("a weight is beyond what any chip stores")
    return weight


def read_placement(parts: Parts, arrays: Arrays, layers: Sequence[ChipLayer], profile: HardwareProfile) -> Placement:
    """Return who sits where."""
    chips, per_chip = parts.of("chips", int), parts.of("cores_per_chip", int)
    if chips < 1 or per_chip != profile.chip.cores.known or chips * per_chip >= _MOST:
        raise ValueError(f"{chips} chips of {per_chip} cores; the profile has {profile.chip.cores.known}")
    numbers = parts.of("core_of", list[int])
    if len(numbers) != len(layers):
        raise ValueError(f"{len(numbers)} layers are placed, there are {len(layers)}")
    core_of = tuple(arrays.get(number, (layer.size,), np.int32) for number, layer in zip(numbers, layers, strict=True))
    spare, bad = parts.of("spare_cores", tuple[int, ...]), parts.of("bad_cores", tuple[int, ...])
    for ids in core_of:
        _inside("core", ids, chips * per_chip)
    _inside("core", (*spare, *bad), chips * per_chip)
    return Placement(chips, per_chip, core_of, spare, bad, parts.one_of("strategy", ("pack", "spread", "random")))


def _inside(what: str, ids: NDArray[Any] | Sequence[int], end: int) -> None:
    low, high = _edges(ids) if isinstance(ids, np.ndarray) else (min(ids, default=0), max(ids, default=0))
    if not 0 <= low <= high < end:
        raise ValueError(f"{what} {low} to {high}: {what}s are 0 to {end - 1}")


def _edges(ids: NDArray[Any]) -> tuple[int, int]:
    return (int(ids.min()), int(ids.max())) if ids.size else (0, 0)


def written_edit(edit: Edit, kept: Callable[[NDArray[np.generic]], int]) -> dict[str, Any]:
    """Return an edit as JSON data; arrays are put aside by ``kept``, which returns their numbers."""
    own = {field.name: getattr(edit, field.name) for field in fields(edit)}
    data = {name: {"array": kept(value)} if isinstance(value, np.ndarray) else value for name, value in own.items()}
    return {"edit": type(edit).__name__, **data} | ({"when": vars(own["when"])} if "when" in own else {})


def read_damage(parts: Parts, arrays: Arrays, layers: Sequence[ChipLayer], placement: Placement) -> Damage:
    """Return what is broken."""
    cores = placement.chips * placement.cores_per_chip
    made = tuple(_edit(each, arrays, layers, cores) for each in parts.listed("edits"))
    hits = tuple(_hit(each, cores) for each in parts.listed("hits"))
    dead = parts.of("dead_cores", tuple[int, ...])
    _inside("core", dead, cores)
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


def _edit(parts: Parts, arrays: Arrays, layers: Sequence[ChipLayer], cores: int) -> Edit:
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
    _in_range(edit, layers, cores)
    return edit


def _held(hint: Any) -> np.dtype[Any] | None:
    """Return what an array field holds; None: it is no array."""
    for one in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        if get_origin(one) is np.ndarray:
            held: np.dtype[Any] = np.dtype(get_args(get_args(one)[1])[0])
            return held
    return None


def _in_range(edit: Edit, layers: Sequence[ChipLayer], cores: int) -> None:
    """Refuse ids that do not exist and numbers that mean nothing."""
    if isinstance(edit, Stall):
        _inside("core", edit.cores, cores)
        return
    if isinstance(edit, Detour):
        _inside("core", np.concatenate([edit.sources, edit.destinations]), cores)
        return
    synaptic = isinstance(edit, edits.SetSynapses | edits.SetDelays | edits.Drop)
    if not (1 if synaptic or isinstance(edit, edits.LearningDefect) else 0) <= edit.layer < len(layers):
        raise ValueError(f"layer {edit.layer}: layers are 0 to {len(layers) - 1}")
    size = layers[edit.layer].size
    if isinstance(edit, edits.SetSynapses | edits.SetDelays | edits.Drop):
        _inside("neuron", edit.targets, size)
        _inside("neuron", edit.sources, layers[edit.layer - 1].size)
    else:
        _inside("neuron", edit.neurons, size)
    match edit:
        case edits.Force(rate=rate):
            good = 0 <= rate <= edits.FORCE_UNIT
        case edits.Upset(at=at, masks=masks):
            good = 0 <= at < 1 << 62 and not (masks.size and not 0 <= int(masks.min()) <= int(masks.max()) < 1 << 24)
        case edits.Drop(core=core, probability=probability, key=key):
            _inside("core", (core,), cores)
            good = 0 < probability <= 1 and 0 <= key < 1 << 64
        case edits.InputNoise(sigma=sigma, key=key):
            good = sigma >= 0 and 0 <= key < 1 << 64
        case edits.LearningDefect(value=value):
            good = 0 <= value < _MOST
        case edits.SetDelays(delays=delays, flips=flips, longest=longest):
            good = all(
                not each.size or 0 <= int(each.min()) <= int(each.max()) <= 63 for each in (delays, flips) if each is not None
            )
            good = good and (flips is None) == (longest is None) and (longest is None or 0 <= longest <= 63)
        case edits.SetField(low=low, high=high, bit=bit):
            ranged = low is not None and high is not None and -_MOST <= low <= high < _MOST
            good = (ranged or low is high is None) and (bit is None or 0 <= bit < 32)
        case edits.SetSynapses(of_sources=sources, of_targets=targets) if sources is not None and targets is not None:
            ends = (layers[edit.layer - 1].size, size)
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
    _inside("core", (*found["cores"], *found["dead_cores"]), cores)
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
        _inside("core", (place.core,), cores)
    if isinstance(place, places.BrokenCells):
        if place.bits is not None and len(place.bits) != len(place.words):
            raise ValueError(f"{len(place.words)} words of {len(place.bits)} bits")
        _inside("word", place.words, _MOST)
        _inside("bit", place.bits or (), 1 << 16)
    return place
