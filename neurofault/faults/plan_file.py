"""A plan as one file: everything that it changes, and how it was asked for. Also its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import BROKEN, Broken
from neurofault.damage.damage import Hit
from neurofault.damage.edits import EDITS, Edit
from neurofault.damage.neuron_edits import SetField
from neurofault.damage.synapse_edits import SetDelays, SetSynapses
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.errors import DataError, FaultError
from neurofault.faults.models import fault_from_mapping, fault_to_mapping
from neurofault.faults.plan import FaultPlan, PlannedFault
from neurofault.faults.plan_chain import numbers_layers, with_names
from neurofault.faults.plan_check import record
from neurofault.files import read_arrays, why_not, write_arrays

_FORMAT = 2
"""Raised when a file of this version could not be read by an older one; files of 1 (edits that number layers) are read too."""


_CHANGES: Mapping[type[Edit], Collection[str]] = {
    SetField: ("low", "high", "bit", "factor", "offset"),
    SetSynapses: ("flips", "factor", "offset", "of_sources", "of_targets"),
    SetDelays: ("flips", "longest"),
}
"""Fields of edits that say how they act on what else is broken; left out where they say nothing, and from hashes (as of before there were
such fields; what these edits leave is in their other fields)."""


def _flat(plan: FaultPlan, *, whole: bool = True) -> tuple[dict[str, Any], dict[str, NDArray[np.generic]]]:
    """Return a plan as JSON data and the arrays that it refers to by name; ``whole``: with how edits act on what else is broken."""
    arrays: dict[str, NDArray[np.generic]] = {}

    def edit_data(edit: Edit) -> dict[str, Any]:
        data: dict[str, Any] = {"edit": type(edit).__name__}
        for field in fields(edit):
            value = getattr(edit, field.name)
            if field.name in _CHANGES.get(type(edit), ()) and (
                not whole or (not isinstance(value, np.ndarray) and value == field.default)
            ):
                continue
            if isinstance(value, np.ndarray):
                arrays[name := f"array_{len(arrays)}"] = value
                value = {"array": name}
            elif isinstance(value, When):
                value = {"when": asdict(value)}
            data[field.name] = value
        return data

    def broken_data(broken: Broken) -> dict[str, Any]:
        parts = {field.name: getattr(broken, field.name) for field in fields(broken)}
        return {"broken": type(broken).__name__, **parts, "when": {"when": asdict(broken.when)}}

    data = {
        "format": _FORMAT,
        "seed": plan.seed,
        "draw": plan.draw,
        "faults": [
            {
                "fault": fault_to_mapping(planned.fault),
                "edits": [edit_data(edit) for edit in planned.edits],
                "hit": asdict(planned.hit) | {"broken": [broken_data(broken) for broken in planned.hit.broken]},
                "dead_cores": planned.dead_cores,
            }
            for planned in plan.faults
        ],
    }
    return data, arrays


def plan_hash(plan: FaultPlan) -> str:
    """Return 32 hexadecimal digits that change with anything that a fault of the plan changes by itself (not with texts or seeds).

    That is its edits, what breaks physically, and which cores are dead for good, which nothing may be placed on again.
    """
    data, arrays = _flat(plan, whole=False)
    digest = hashlib.blake2b(digest_size=16)
    changes = [[*fault["edits"], *fault["hit"]["broken"], *fault["dead_cores"]] for fault in data["faults"]]
    digest.update(json.dumps(changes, sort_keys=True).encode())
    for array in arrays.values():
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_plan(plan: FaultPlan, path: str | Path) -> None:
    """Write a plan to a NumPy ``.npz`` file (no pickle)."""
    data, arrays = _flat(plan)
    text = np.frombuffer(json.dumps(data).encode(), np.uint8)
    write_arrays(Path(path), {"plan": text, **arrays}, packed=True)


def load_plan(path: str | Path, chip: Deployment | None = None) -> FaultPlan:
    """Read a plan that :func:`save_plan` wrote.

    Args:
        path: the file.
        chip: what the plan was made on; only needed for files of earlier versions, which number layers instead of naming them.

    Raises:
        FaultError: the file is missing, damaged, or not a plan, or it numbers layers and no chip is given, or one that is no chain of them.
    """
    reason = why_not(Path(path))
    if reason is not None:
        raise FaultError(f"{path}: {reason}")
    try:
        arrays = read_arrays(Path(path))
        text = arrays.pop("plan")
        if text.dtype != np.uint8 or text.ndim != 1:
            raise ValueError("plan is no text")
        data = json.loads(text.tobytes().decode())
        if data["format"] not in (1, _FORMAT) or isinstance(data["format"], bool):
            raise FaultError(f"{path}: format {data['format']!r:.40} of a plan is not known; this version reads {_FORMAT}, and 1")
        stored = data["faults"]
        if data["format"] == 1 and numbers_layers(stored):
            if chip is None:
                raise FaultError(
                    f"{path}: this plan of an earlier version numbers layers; say which chip it was made on: load_plan(path, chip)"
                )
            try:
                stored = with_names(stored, chip)
            except FaultError as error:
                raise FaultError(f"{path}: {error}") from None
        faults = tuple(_planned(item, arrays) for item in stored)
        return FaultPlan(faults, _number(data["seed"]), _number(data["draw"]))
    except DataError as error:
        raise FaultError(f"{path}: not a fault plan, or a damaged one ({str(error).removeprefix(f'{path}: ')})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise FaultError(f"{path}: not a fault plan, or a damaged one ({type(error).__name__}: {said:.200})") from None


def _number(value: Any) -> int:
    """Return a seed or a draw."""
    if type(value) is not int or abs(value) >= 1 << 63:
        raise ValueError(f"{value!r:.40} is no whole number of 64 bits")
    return value


def _planned(item: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> PlannedFault:
    def value(stored: Any) -> Any:
        if isinstance(stored, dict) and set(stored) == {"array"}:
            return arrays[stored["array"]]
        if isinstance(stored, dict) and set(stored) == {"when"}:
            return record(When, stored["when"])
        return tuple(stored) if isinstance(stored, list) else stored

    def rebuilt(kinds: Mapping[str, type[Any]], tag: str, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValueError(f"{data!r:.40} is no {tag}")
        return record(kinds[data[tag]], {name: value(stored) for name, stored in data.items() if name != tag})

    fault = fault_from_mapping(item["fault"])
    made = tuple(rebuilt(EDITS, "edit", data) for data in item["edits"])
    hit = {name: value(stored) for name, stored in item["hit"].items()}
    hit["broken"] = tuple(rebuilt(BROKEN, "broken", data) for data in hit.get("broken", ()))
    echo, dead = record(Hit, hit), tuple(_number(core) for core in item["dead_cores"])
    if echo.kind != fault.kind or any(core < 0 for core in dead):
        raise ValueError(f"{fault.kind}: its echo is that of another fault")
    return PlannedFault(fault, made, echo, dead)
