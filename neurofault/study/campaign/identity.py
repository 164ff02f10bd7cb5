"""A trial's identity: a hash of everything that can change its result, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.faults import fault_to_mapping
from neurofault.study.campaign.spec import Cell

SEMANTICS = 1
"""Raised by hand whenever the same trial would give another result than before."""


def canonical(value: Any) -> str:
    """Return JSON in which equal numbers are written alike.

    >>> canonical({"b": 1e-3, "a": 2.0}) == canonical({"a": 2, "b": 0.001})
    True
    """

    def plain(part: Any) -> Any:
        match part:
            case bool() | None | str():
                return part
            case float() if part.is_integer() and abs(part) < 2**53:
                return int(part)
            case Mapping():
                return {str(key): plain(one) for key, one in part.items()}
            case list() | tuple():
                return [plain(one) for one in part]
            case _:
                return part

    return json.dumps(plain(value), sort_keys=True, allow_nan=False)


def digest_of(*parts: Any) -> str:
    """Return 32 hexadecimal digits of arrays, records and plain values."""
    digest = hashlib.blake2b(digest_size=16)

    def feed(part: Any) -> None:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        elif is_dataclass(part) and not isinstance(part, type):
            digest.update(type(part).__name__.encode())
            for one in fields(part):
                digest.update(one.name.encode())
                feed(getattr(part, one.name))
        elif isinstance(part, tuple | list):
            digest.update(f"[{len(part)}]".encode())
            for one in part:
                feed(one)
        else:
            digest.update(f"{type(part).__name__}:{canonical(part)}".encode())

    for part in parts:
        feed(part)
    return digest.hexdigest()


def chip_digest(chip: Deployment) -> str:
    """Return the digest of a healthy chip: integers, placement, time, input table, readout, profile without its texts."""
    profile = chip.profile.model_dump(mode="json", exclude={"name", "title", "sources", "facts"})
    return digest_of(
        [chip.layers, chip.placement, chip.timesteps, chip.encoding, chip.readout], canonical(_without_texts(profile))
    )  # fmt: skip


def _without_texts(data: Any) -> Any:
    """Return a profile's data without sources, notes and evidence of its numbers."""
    if isinstance(data, dict):
        return {key: _without_texts(value) for key, value in data.items() if key not in ("source", "note", "evidence")}
    return [_without_texts(value) for value in data] if isinstance(data, list) else data


def trial_id(cell: Cell, draw: int, chip: str, images: str, adapt: str) -> str:
    """Return the identity of one trial.

    Args:
        cell: what is done.
        draw: which draw.
        chip: :func:`chip_digest`.
        images: digest of the images that are reported on and their labels.
        adapt: digest of those that a rescue adapts to; only counts where something learns.
    """
    rescue = cell.rescue.model_dump(exclude_defaults=True)
    if cell.rescue.learner is not None:
        rescue["guard"] = cell.rescue.guard  # also the usual one: before there was a guard, nothing was held back
    else:
        rescue = {key: rescue[key] for key in ("strategy", "watchdog") if key in rescue}
    return digest_of(
        {
            "semantics": SEMANTICS,
            "chip": chip,
            "images": images,
            "adapt": adapt if cell.rescue.learner is not None else None,
            "faults": [fault_to_mapping(fault) for fault in cell.faults],
            "rescue": rescue,
            "seed": cell.spec.repeats.seed,
            "draw": draw,
        }
    )
