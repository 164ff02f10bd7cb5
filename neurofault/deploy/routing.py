"""The mesh: where a core sits and which way its messages go.

Tiles form a grid of columns × rows, row 0 in the north; chips stand side by side, west to east. A message goes along its row
first, then along its column (dimension-order or XY routing, Davies et al. 2018, IEEE Micro 38(1), section "Mesh operation").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import UsageError

Direction = Literal["E", "W", "N", "S"]


class Link(NamedTuple):
    """One directed link: the way out of the tile at (x, y) to its neighbour. x counts through the chips."""

    x: int
    y: int
    direction: Direction


class Hops(NamedTuple):
    """Steps between tiles, int64 of one shape: within a chip east-west and north-south, and from chip to chip."""

    east_west: NDArray[np.int64]
    north_south: NDArray[np.int64]
    inter_chip: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.int64]:
        """All steps, whichever their kind."""
        return np.asarray(self.east_west + self.north_south + self.inter_chip)


@dataclass(frozen=True)
class Mesh:
    """Geometry of the chips in use.

    Attributes:
        columns, rows: tiles of one chip.
        cores_per_tile: cores of one tile.
        cores_per_chip: core ids of one chip; local ids fill the tiles in turn, row by row.
        chips: number of chips, west to east.
    """

    columns: int
    rows: int
    cores_per_tile: int
    cores_per_chip: int
    chips: int = 1

    def tiles(self, cores: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tile (x, y) of each core; x counts through the chips (0 … columns · chips − 1).

        Args:
            cores: global core ids, any shape.

        Raises:
            UsageError: if a core id is not on these chips.
        """
        ids = np.asarray(cores, np.int64)
        total = self.chips * self.cores_per_chip
        if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= total):
            wrong = int(ids[(ids < 0) | (ids >= total)].flat[0])
            raise UsageError(f"core {wrong} does not exist; cores are 0 to {total - 1}")
        chip, local = np.divmod(ids, self.cores_per_chip)
        y, x = np.divmod(local // self.cores_per_tile, self.columns)
        return chip * self.columns + x, y

    def hops(self, sources: NDArray[np.integer], destinations: NDArray[np.integer]) -> Hops:
        """Count the steps of a message from each source core to each destination core (broadcast together).

        Cores of one tile are 0 hops apart. A step over a chip's edge counts as ``inter_chip`` only.
        """
        (x0, y0), (x1, y1) = self.tiles(sources), self.tiles(destinations)
        inter_chip = np.abs(x1 // self.columns - x0 // self.columns)
        north_south = np.broadcast_to(np.abs(y1 - y0), inter_chip.shape)
        return Hops(np.abs(x1 - x0) - inter_chip, north_south, inter_chip)

    def path(self, source: int, destination: int) -> tuple[Link, ...]:
        """Return the links that a message crosses, in order; empty within a tile."""
        (x0, x1), (y0, y1) = (axis.tolist() for axis in self.tiles(np.array([source, destination])))
        east, south = x1 >= x0, y1 >= y0
        along_row = [Link(x, y0, "E" if east else "W") for x in range(x0, x1, 1 if east else -1)]
        along_column = [Link(x1, y, "S" if south else "N") for y in range(y0, y1, 1 if south else -1)]
        return (*along_row, *along_column)

    def links(self) -> tuple[Link, ...]:
        """Return every directed link of the mesh, tile by tile from the north-west, in the order E, W, N, S."""
        width = self.columns * self.chips
        links: list[Link] = []
        for y in range(self.rows):
            for x in range(width):
                links += [Link(x, y, "E")] * (x + 1 < width) + [Link(x, y, "W")] * (x > 0)
                links += [Link(x, y, "N")] * (y > 0) + [Link(x, y, "S")] * (y + 1 < self.rows)
        return tuple(links)


def mesh_of(profile: HardwareProfile, chips: int = 1) -> Mesh:
    """Return the mesh of ``chips`` chips of a profile.

    Raises:
        UsageError: the profile does not know it.
    """
    sides = profile.chip.sides
    if sides is None:
        raise UsageError(
            f"profile {profile.name!r} does not know how its cores are joined (chip.tile_columns, tile_rows, cores_per_tile): it has no tiles, "
            "routers, links, ways and distances that could be used or break"
        )
    return Mesh(*sides, profile.chip.cores.known, chips)


def mesh(deployment: Deployment) -> Mesh:
    """Return the mesh of a deployment's chips."""
    return mesh_of(deployment.profile, deployment.placement.chips)
