"""Writing and reading what protects a saved deployment; each array is checked against what the chip stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.codes import CodeName
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import (
    BitOrder,
    CodedWords,
    Copies,
    Mutes,
    Ordered,
    Outside,
    Per,
    PotentialFloor,
    Protection,
    Seen,
    WeightRange,
)
from neurofault.deploy.resources import stored_words
from neurofault.deploy.saved_parts import MOST, Arrays, Parts, inside


def written_protection(protection: Protection, kept: Callable[[NDArray[np.generic]], int]) -> dict[str, Any]:
    """Return a protection as JSON data; arrays are put aside by ``kept``, which returns their numbers."""

    def record(one: Any) -> dict[str, Any]:
        own = {field.name: getattr(one, field.name) for field in fields(one)}
        return {name: kept(value) if isinstance(value, np.ndarray) else value for name, value in own.items()}

    return {
        field.name: [one if isinstance(one, str) else record(one) for one in getattr(protection, field.name)]
        for field in fields(protection)
        if field.name != "orders" or protection.orders
    }


def read_protection(parts: Parts, arrays: Arrays, deployment: Deployment) -> Protection:
    """Return what protects a deployment.

    Raises:
        ValueError: it is of other places than the chip has.
    """
    found = Protection(
        tuple(_words(each, arrays, deployment) for each in parts.listed("words")),
        tuple(_range(each, arrays, deployment) for each in parts.listed("ranges")),
        parts.of("asked", tuple[str, ...]),
        tuple(_floor(each, deployment) for each in parts.listed("floors")),
        tuple(_copies(each, arrays, deployment) for each in parts.listed("copies")),
        tuple(_mutes(each, arrays, deployment) for each in parts.listed("mutes")),
        tuple(_order(each, arrays, deployment) for each in parts.listed("orders")) if "orders" in parts.data else (),
    )
    for named in (
        [*(one.connection for one in found.words), *(one.connection for one in found.orders)],
        [one.connection for one in found.ranges],
        [one.population for one in found.floors],
    ):
        if len(set(named)) < len(named):
            raise ValueError(f"{max(named, key=named.count)[:40]!r} is protected twice")
    return found


def _known(parts: Parts, name: str, allowed: list[str]) -> str:
    known = parts.of(name, str)
    if known not in allowed:
        raise ValueError(f"{name} {known[:40]!r} is not there")
    return known


def _connection(parts: Parts, deployment: Deployment) -> str:
    return _known(parts, "connection", [one.name for one in deployment.connections])


def _population(parts: Parts, deployment: Deployment) -> str:
    return _known(parts, "population", [one.name for one in deployment.populations])


def _bits(parts: Parts, name: str) -> int:
    value = parts.of(name, int)
    if not 0 <= value < MOST:
        raise ValueError(f"{name} is {value}")
    return value


def _words(parts: Parts, arrays: Arrays, deployment: Deployment) -> CodedWords:
    name = _connection(parts, deployment)
    sites = arrays.get(parts.of("sites", int), (None,), np.int64, "sites")
    masks = arrays.get(parts.of("masks", int), sites.shape, np.int64, "masks")
    cores = arrays.get(parts.of("cores", int), (None,), np.int64, "cores")
    starts = arrays.get(parts.of("starts", int), (len(cores) + 1,), np.int64, "starts")
    inside("stored synapse", sites, int(stored_words(deployment, name).sum()))
    inside("bits of a weight", masks, 1 << deployment.connection(name).weight_bits)
    if not len(cores) or np.any(np.diff(sites) <= 0) or not masks.all():
        raise ValueError(f"words of {name[:40]!r} are not in order")
    if starts[0] != 0 or starts[-1] != len(sites) or np.any(np.diff(starts) <= 0):
        raise ValueError(f"words of {name[:40]!r} do not follow on each other")
    if not np.isin(cores, deployment.placement.cores_of(deployment.connection(name).target)).all():
        raise ValueError(f"words of {name[:40]!r} lie on cores that store none of it")
    scrub = parts.data.get("scrub")
    if scrub is not None and not 1 <= parts.of("scrub", int) <= 1 << 40:
        raise ValueError(f"scrub is {scrub}")
    code, seen = parts.one_of("code", get_args(CodeName)), parts.one_of("seen", get_args(Seen))
    return CodedWords(name, code, seen, sites, masks, starts, cores, scrub, _bits(parts, "map_bits"))  # type: ignore[arg-type]  # checked by one_of


def _range(parts: Parts, arrays: Arrays, deployment: Deployment) -> WeightRange:
    name = _connection(parts, deployment)
    per, outside = parts.one_of("per", get_args(Per)), parts.one_of("outside", get_args(Outside))
    synapses = deployment.connection(name).synapses
    size = {"connection": 1, "target": synapses.n_out, "source": synapses.n_in}[per]
    low, high = (arrays.get(parts.of(end, int), (size,), np.int64, end) for end in ("low", "high"))
    if np.any(low > high):
        raise ValueError(f"a range of {name[:40]!r} ends before it begins")
    return WeightRange(name, per, low, high, outside, _bits(parts, "stored_bits"))  # type: ignore[arg-type]  # checked by one_of


def _order(parts: Parts, arrays: Arrays, deployment: Deployment) -> BitOrder:
    name, tested = _connection(parts, deployment), parts.of("tested", bool)
    unit = parts.one_of("unit", get_args(Ordered))
    turns = arrays.get(parts.of("turns", int), (None,), np.int64, "turns")
    inside("turn of bits", turns, deployment.connection(name).weight_bits)
    most = 0 if tested else int(stored_words(deployment, name).sum())
    if len(turns) > most or (unit == "word" and len(turns) < most) or (not tested and not len(turns)):
        raise ValueError(f"orders of bits of {name[:40]!r} are {len(turns)}, its stored synapses {most}")
    return BitOrder(name, unit, turns, tested, _bits(parts, "stored_bits"))  # type: ignore[arg-type]  # checked by one_of


def _floor(parts: Parts, deployment: Deployment) -> PotentialFloor:
    name = _population(parts, deployment)
    if deployment.population(name).law.floor is None:
        raise ValueError(f"population {name[:40]!r} has no floor")
    return PotentialFloor(name, _bits(parts, "stored_bits"))


def _copies(parts: Parts, arrays: Arrays, deployment: Deployment) -> Copies:
    copies = parts.of("copies", tuple[str, str, str])
    name, neurons, cores, links, bits = _built_in(parts, arrays, deployment, "copy", copies)
    return Copies(name, copies, neurons, cores, links, bits)


def _mutes(parts: Parts, arrays: Arrays, deployment: Deployment) -> Mutes:
    own, watchers = parts.of("own", str), parts.of("watchers", str)
    name, neurons, cores, links, bits = _built_in(parts, arrays, deployment, "part of what mutes", (own, watchers))
    return Mutes(name, own, watchers, neurons, cores, links, bits)


def _built_in(
    parts: Parts, arrays: Arrays, deployment: Deployment, what: str, populations: tuple[str, ...]
) -> tuple[str, NDArray[np.int64], tuple[int, ...], tuple[str, ...], int]:
    """Return population, neurons, cores, links and stored bits of what has cores and connections of its own."""
    name, links = _population(parts, deployment), parts.of("links", tuple[str, ...])
    cores, neurons = parts.of("cores", tuple[int, ...]), arrays.get(parts.of("neurons", int), (None,), np.int64, "neurons")
    inside("core", cores, deployment.placement.chips * deployment.placement.cores_per_chip)
    inside("neuron", neurons, deployment.population(name).size)
    gone = {*populations, *links} - {one.name for one in deployment.populations} - {one.name for one in deployment.connections}
    if gone:
        raise ValueError(f"{what} {min(gone)[:40]!r} is not there")
    return name, neurons, cores, links, _bits(parts, "stored_bits")
