"""Reading the parts of a saved deployment: each value is of its type and each array of the size that the chip asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from neurofault.deploy.deployment import Placement
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import ConversionError, nearest
from neurofault.graph.arithmetic import AT_FLOOR, RESETS, Arithmetic
from neurofault.graph.chip import ChipConnection, ChipPopulation, reached
from neurofault.graph.law import USUAL, Law
from neurofault.graph.neurons import Encoding
from neurofault.graph.readout import How, Readout
from neurofault.graph.schedule import Wiring
from neurofault.graph.synapses import MOST_DELAY, Conv, Dense, SignMode, Sparse, Synapses
from neurofault.numerals import plural

V = TypeVar("V")

MOST = 1 << 31
"""Whole numbers of a file stay below this."""


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

    def get(self, number: int, shape: tuple[int | None, ...], dtype: Any, what: str | None = None) -> NDArray[Any]:
        """Return an array.

        Args:
            number: which.
            shape: its shape; None: any size.
            dtype: its type.
            what: what it is, for messages; None: its number.

        Raises:
            ValueError: there is none, or of another shape or type.
        """
        array = self.members[str(number)]
        fits = len(shape) == array.ndim and all(want in (None, size) for want, size in zip(shape, array.shape, strict=True))
        if not fits or array.dtype != np.dtype(dtype):
            wanted = f"{np.dtype(dtype)} [{', '.join('any' if size is None else str(size) for size in shape)}]"
            raise ValueError(f"{what or f'array {number}'} is {array.dtype} {list(array.shape)}, not {wanted}")
        return array


def read_populations(parts: Parts, arrays: Arrays) -> tuple[ChipPopulation, ...]:
    """Return the populations."""
    populations: list[ChipPopulation] = []
    for each in parts.listed("populations"):
        name, shape = each.of("name", str), each.of("shape", tuple[int, ...])
        size = math.prod(shape)
        if not shape or min(shape) < 1 or size >= MOST:
            raise ValueError(f"population {name[:40]!r} has the shape {list(shape)[:8]}")
        own: dict[str, Any] = {}
        for field in ("du", "dv", "vth", "bias_mantissa"):
            own[field] = arrays.get(each.of(field, int), (size,), np.int32, f"population {name[:40]!r}: {field}")
        own |= _whole(each, name, {"bias_exponent": (-64, 64)})
        if isinstance(each.data.get("v_init"), dict):
            own["v_init"] = _between(
                arrays, each.inner("v_init").of("array", int), size, f"population {name[:40]!r}: v_init", -_V, _V
            )
        else:
            own |= _whole(each, name, {"v_init": (-_V, _V)})
        own["law"] = USUAL if each.data.get("law") is None else _law(each.inner("law"), arrays, name, size)
        chip = own["law"].arithmetic
        for field, register in (("du", chip.u), ("dv", chip.v)):
            most = 0 if register is None else register.decay.most
            if int(own[field].min()) < 0 or int(own[field].max()) > most:
                raise ValueError(f"population {name[:40]!r}: {field} must lie in [0, {most}]")
        encoding = None if each.data.get("encoding") is None else _encoding(each.inner("encoding"), arrays)
        is_source = each.of("is_source", bool)
        if encoding is not None and not is_source:
            raise ValueError(f"population {name[:40]!r} has a table of pixels, but is no input")
        populations.append(ChipPopulation(name, shape, fires=each.of("fires", bool), is_source=is_source, encoding=encoding, **own))
    if not populations:
        raise ValueError("there is no population")
    _check_names(populations, ())
    return tuple(populations)


_V = 1 << 23
"""No v is larger."""


def _between(arrays: Arrays, number: int, size: int, what: str, low: int, high: int) -> NDArray[np.int32]:
    array = arrays.get(number, (size,), np.int32, what)
    if int(array.min()) < low or int(array.max()) > high:
        raise ValueError(f"{what} must lie in [{low}, {high}]")
    return array


def _law(parts: Parts, arrays: Arrays, name: str, size: int) -> Law:
    """Return a law, from what a file holds of its attributes; those that it does not hold are Lava's."""
    held: dict[str, Any] = {}
    for field in fields(Law):
        value = parts.data.get(field.name)
        if value is None:
            continue
        if field.name == "arithmetic":
            held[field.name] = typed(Arithmetic, value)
            continue
        if isinstance(value, dict) or field.default is None:
            number = parts.inner(field.name).of("array", int)
            held[field.name] = arrays.get(number, (size,), np.int32, f"population {name[:40]!r}: {field.name}")
        else:
            named = {"reset": RESETS, "at_floor": AT_FLOOR}.get(field.name)
            held[field.name] = parts.one_of(field.name, named) if named else parts.of(field.name, type(field.default))
    if unknown := sorted(set(parts.data) - {field.name for field in fields(Law)}):
        raise ValueError(f"population {name[:40]!r}: a law with {unknown[0][:40]!r}")
    law = Law(**held)
    if (problem := law.mistake(size)) is not None:
        raise ValueError(f"population {name[:40]!r}: {problem}")
    return law


class _Ends(NamedTuple):
    """A connection before its synapses are read."""

    name: str
    source: str
    target: str
    delay: int

    def __str__(self) -> str:
        return f"connection {self.name[:40]!r} ({self.source[:40]!r} → {self.target[:40]!r})"


def _check_names(populations: Sequence[ChipPopulation], connections: Sequence[_Ends]) -> None:
    try:
        Wiring(tuple(populations), tuple(connections))
    except ConversionError as error:
        raise ValueError(str(error)) from None


def _whole(parts: Parts, name: str, limits: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    found = {}
    for field, (low, high) in limits.items():
        found[field] = parts.of(field, int)
        if not low <= found[field] <= high:
            raise ValueError(f"{name[:40]!r}: {field} must lie in [{low}, {high}], is {found[field]}")
    return found


def _encoding(parts: Parts, arrays: Arrays) -> Encoding:
    table = arrays.get(parts.of("table", int), (256,), np.int32)
    return Encoding(table, parts.of("threshold", int), parts.of("start", int), parts.of("full_rate", float))


def read_connections(parts: Parts, arrays: Arrays, populations: Sequence[ChipPopulation]) -> tuple[ChipConnection, ...]:
    """Return the connections."""
    known = {one.name: one for one in populations}
    listed = parts.listed("connections")
    joined = [_Ends(each.of("name", str), each.of("source", str), each.of("target", str), each.of("delay", int)) for each in listed]
    _check_names(populations, joined)
    connections: list[ChipConnection] = []
    for each, ends in zip(listed, joined, strict=True):
        if known[ends.target].is_source:
            raise ValueError(f"{ends}: {ends.target[:40]!r} is driven from outside; nothing else may drive it")
        own = _whole(each, ends.name, {"weight_exponent": (-32, 32), "weight_bits": (1, 16), "delay": (1, MOST - 1)})
        mode = each.one_of("sign_mode", get_args(SignMode))
        try:
            synapses = _synapses(each.inner("synapses"), arrays, known[ends.source], known[ends.target])
        except ValueError as error:
            raise ValueError(f"{ends}: {error}") from None
        connections.append(ChipConnection(ends.name, ends.source, ends.target, synapses, sign_mode=mode, **own))  # type: ignore[arg-type]  # one of the modes, checked by one_of
    return tuple(connections)


def read_readout(
    parts: Parts, populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection], *, known: bool
) -> Readout:
    """Return where the answer is read; ``known``: the file is of a format that knows more than potential and count of all steps."""
    name, names = parts.of("population", str), [one.name for one in populations]
    if name not in names:
        raise ValueError(f"readout: no population {name[:40]!r}{nearest(name, names)}; populations: {', '.join(names)}")
    if name not in reached(populations, connections):
        raise ValueError(f"no input and no bias reaches the readout {name[:40]!r}")
    if not known:
        return Readout(name, parts.one_of("how", ("potential", "count")))  # type: ignore[arg-type]  # one of the two, checked by one_of
    how, when = parts.one_of("how", get_args(How)), parts.data.get("when")
    try:
        return Readout(name, how, None if when is None else typed(tuple[int, int], when))  # type: ignore[arg-type]  # checked by one_of
    except ConversionError as error:
        raise ValueError(str(error)) from None


def _synapses(own: Parts, arrays: Arrays, source: ChipPopulation, target: ChipPopulation) -> Synapses:
    synapses = _synapses_of(own, arrays)
    if (synapses.n_in, synapses.n_out) != (source.size, target.size):
        raise ValueError(
            f"synapses join {synapses.n_in} → {plural(synapses.n_out, 'neuron')}, but {source.name[:40]!r} has {source.size} "
            f"and {target.name[:40]!r} has {target.size}"
        )
    return synapses


def _synapses_of(own: Parts, arrays: Arrays) -> Synapses:
    match own.one_of("kind", ("Dense", "Conv", "Sparse")):
        case "Dense":
            weight = _weights(arrays, own.of("weight", int), (None, None))
            return Dense(weight, _delays(own, arrays, weight))
        case "Sparse":
            weight = _weights(arrays, own.of("weight", int), (None,))
            starts = arrays.get(own.of("starts", int), (None,), np.int64)
            sources = arrays.get(own.of("sources", int), weight.shape, np.int64)
            n_in = own.of("n_in", int)
            if not 1 <= n_in < MOST:
                raise ValueError(f"n_in must lie in [1, {MOST - 1}], is {n_in}")
            sparse = Sparse(n_in, starts, sources, weight, _delays(own, arrays, weight))
            if (problem := sparse.mistake()) is not None:
                raise ValueError(problem)
            return sparse
        case _:
            return _conv(own, arrays)


def _delays(own: Parts, arrays: Arrays, weight: NDArray[Any]) -> NDArray[np.int64] | None:
    number = own.of("delay", int | None)  # type: ignore[arg-type]  # mypy: a union is no type[V]
    if number is None:
        return None
    steps = arrays.get(number, weight.shape, np.int64)
    if steps.size and not 0 <= int(steps.min()) <= int(steps.max()) <= MOST_DELAY:
        raise ValueError(f"delays must lie in [0, {MOST_DELAY}]")
    return steps


def _conv(own: Parts, arrays: Arrays) -> Conv:
    weight = _weights(arrays, own.of("weight", int), (None, None, None, None))
    pairs = {name: own.of(name, tuple[int, int]) for name in ("stride", "padding", "dilation")}
    in_shape, groups = own.of("in_shape", tuple[int, int, int]), own.of("groups", int)
    least = min(*in_shape, *pairs["stride"], *pairs["dilation"], groups, *weight.shape)
    most = max(*in_shape, *pairs["stride"], *pairs["padding"], *pairs["dilation"], groups)
    if least < 1 or min(pairs["padding"]) < 0 or most >= MOST:
        raise ValueError("a convolution's numbers are out of range")
    conv = Conv(weight, in_shape, groups=groups, delay=_delays(own, arrays, weight), **pairs)
    if weight.shape[0] % groups or weight.shape[1] * groups != in_shape[0] or min(conv.out_shape) < 1:
        raise ValueError(
            f"a convolution of {list(weight.shape)} in {plural(groups, 'group')} does not fit an input of {list(in_shape)}"
        )
    return conv


def _weights(arrays: Arrays, number: int, shape: tuple[int | None, ...]) -> NDArray[Any]:
    weight = arrays.get(number, shape, np.int32)
    if weight.size and int(np.abs(weight.astype(np.int64)).max()) > 1 << 20:
        raise ValueError("a weight is beyond what any chip stores")
    return weight


def read_placement(parts: Parts, arrays: Arrays, populations: Sequence[ChipPopulation], profile: HardwareProfile) -> Placement:
    """Return who sits where."""
    chips, per_chip = parts.of("chips", int), parts.of("cores_per_chip", int)
    if chips < 1 or per_chip != profile.chip.cores.known or chips * per_chip >= MOST:
        raise ValueError(f"{plural(chips, 'chip')} of {plural(per_chip, 'core')}; the profile has {profile.chip.cores.known}")
    numbers = parts.of("core_of", dict[str, int])
    if set(numbers) != {one.name for one in populations}:
        raise ValueError(f"{plural(len(numbers), 'population is placed', 'populations are placed')}, there are {len(populations)}")
    core_of = {one.name: arrays.get(numbers[one.name], (one.size,), np.int32) for one in populations}
    spare, bad = parts.of("spare_cores", tuple[int, ...]), parts.of("bad_cores", tuple[int, ...])
    for ids in core_of.values():
        inside("core", ids, chips * per_chip)
    inside("core", (*spare, *bad), chips * per_chip)
    strategy = parts.one_of("strategy", ("pack", "spread", "random", "anneal"))
    if "spares_for" not in parts.data:
        return Placement(chips, per_chip, core_of, spare, bad, strategy)
    kept_for, layers = parts.one_of("spares_for", ("chip", "tile", "layer")), parts.of("spare_layers", dict[int, str])
    if set(layers.values()) - set(core_of) or (kept_for == "layer" and set(spare) - set(layers)):
        raise ValueError("spare cores are kept for layers that are not there")
    return Placement(chips, per_chip, core_of, spare, bad, strategy, kept_for, layers)  # type: ignore[arg-type]  # checked by one_of


def inside(what: str, ids: NDArray[Any] | Sequence[int], end: int) -> None:
    """Refuse ids beyond 0 … ``end`` − 1."""
    low, high = _edges(ids) if isinstance(ids, np.ndarray) else (min(ids, default=0), max(ids, default=0))
    if not 0 <= low <= high < end:
        raise ValueError(f"{what} {low} to {high}: {what}s are 0 to {end - 1}")


def _edges(ids: NDArray[Any]) -> tuple[int, int]:
    return (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
