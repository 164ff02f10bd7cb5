"""Spare cores by a policy: for whom cores are kept free, how many of each, and which cores these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.routing import Unlinked, topology_of
from neurofault.errors import UsageError, nearest

SparesFor = Literal["all", "chip", "tile", "layer"]
"""For whom a spare core is kept: for all, for what sits on its own chip or tile, or for one population."""
POLICIES = ("per_chip", "per_tile", "per_layer")


@dataclass(frozen=True)
class Spares:
    """How many cores are kept free, and for whom.

    Attributes:
        count: of all, or of each chip, tile or layer; at least 0.
        kept_for: for whom.
    """

    count: int = 0
    kept_for: SparesFor = "all"

    def __str__(self) -> str:
        return str(self.count) if self.kept_for == "all" else f"per_{self.kept_for}:{self.count}"


def spares_of(given: int | str | Mapping[str, Any] | Spares) -> Spares:
    """Return what is meant by a number of spare cores, ``per_chip:1``, ``per_tile:1``, ``per_layer:1``, or a mapping such as ``{"per_chip": 1}``.

    >>> str(spares_of(4)), str(spares_of({"per_chip": 1})), spares_of("per_layer:2").kept_for
    ('4', 'per_chip:1', 'layer')

    Raises:
        UsageError: it is nothing of these, or the number is below 0 (of a policy below 1).
    """
    if isinstance(given, Spares):
        return given
    policy: str | None = None
    number: Any = given
    if isinstance(given, Mapping):
        if len(given) != 1:
            raise UsageError(f"spare_cores takes one of {', '.join(POLICIES)}, is {dict(given)!r:.80}")
        ((policy, number),) = given.items()
    elif isinstance(given, str):
        *before, number = given.split(":", 1)
        policy = before[0] if before else None
        if isinstance(number, str) and number.isascii() and number.lstrip("-").isdigit():
            number = int(number)
        elif policy is None and number.replace("_", "").isalpha():
            policy, number = number, None
    if policy is not None and policy not in POLICIES:
        raise UsageError(
            f"spare_cores: unknown policy {policy!r:.40}{nearest(str(policy)[:40], POLICIES)}; policies: {', '.join(POLICIES)}"
        )
    least = 0 if policy is None else 1
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= 1 << 31:
        raise UsageError(
            f"spare_cores must be at least 0, is {number}" if policy is None and isinstance(number, int)
            else f"spare_cores: {policy or 'a number of cores'} must be a whole number of at least {least}, is {number!r:.40}"
        )  # fmt: skip
    return Spares(number, "all" if policy is None else policy.removeprefix("per_"))  # type: ignore[arg-type]  # one of POLICIES


def groups_of(cores: NDArray[np.int64], kept_for: SparesFor, profile: HardwareProfile, chips: int) -> NDArray[np.int64]:
    """Return int64 [k]: the chip or tile of each core; of other policies 0.

    Raises:
        UsageError: the profile has no tiles.
    """
    per_chip = profile.chip.cores.known
    match kept_for:
        case "chip":
            return np.asarray(cores // per_chip)
        case "tile":
            grid = topology_of(profile, chips)
            if isinstance(grid, Unlinked):
                raise UsageError(
                    f"spare_cores per_tile: cores of {profile.name!r} are joined in one place, without tiles; allowed: a number, per_chip, per_layer"
                )
            x, y = grid.tiles(cores)
            return np.asarray(y.astype(np.int64) * (int(x.max(initial=0)) + 1) + x)
        case _:
            return np.zeros(len(cores), np.int64)


def kept_free(healthy: NDArray[np.int64], spares: Spares, profile: HardwareProfile, chips: int) -> NDArray[np.int64]:
    """Return sorted ids of the spare cores among the healthy ones, evenly spaced: of all, or of each chip or tile; of ``layer`` none, for these follow the layers."""
    if spares.kept_for == "layer":
        return np.empty(0, np.int64)
    groups = groups_of(healthy, spares.kept_for, profile, chips)
    found = [_even(healthy[groups == one], spares.count) for one in np.unique(groups)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def _even(cores: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    count = min(count, len(cores))
    return np.asarray(cores[(2 * np.arange(count) + 1) * len(cores) // (2 * max(1, count))])
