"""Where a core sits and which way its messages go: the links between tiles, as the profile has them.

Tiles of a mesh (the default) form a grid of columns × rows, row 0 in the north; chips stand side by side, west to east. A message goes along
its row first, then along its column (dimension-order or XY routing, Davies et al. 2018, IEEE Micro 38(1), section "Mesh operation").
Other topologies: :class:`~neurofault.deploy.hexagonal.Hexagon`, :class:`~neurofault.deploy.tree.Tree`, :class:`Unlinked`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.hexagonal import Hexagon
from neurofault.deploy.links import Hops, Link, Tile, core_ids
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.topology import HexagonalLinks, NoLinks, TreeLinks
from neurofault.deploy.tree import Tree
from neurofault.errors import UsageError

__all__ = ["Hexagon", "Hops", "Link", "Mesh", "Topology", "Tree", "Unlinked", "topology", "topology_of"]

_STEPS = {"E": (1, 0), "W": (-1, 0), "N": (0, -1), "S": (0, 1)}
_BACK = {"E": "W", "W": "E", "N": "S", "S": "N"}


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

    @property
    def tiles_per_chip(self) -> int:
        """Routers of one chip."""
        return self.columns * self.rows

    def tiles(self, cores: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tile (x, y) of each core; x counts through the chips (0 … columns · chips − 1).

        Args:
            cores: global core ids, any shape.

        Raises:
            UsageError: if a core id is not on these chips.
        """
        chip, local = np.divmod(core_ids(cores, self.chips * self.cores_per_chip), self.cores_per_chip)
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

    def core_at(self, tile: Tile) -> int:
        """Return the first core of a tile (the chip's last where the tile has none)."""
        chip, column = divmod(tile[0], self.columns)
        local = min((tile[1] * self.columns + column) * self.cores_per_tile, self.cores_per_chip - 1)
        return chip * self.cores_per_chip + local

    def routers(self) -> tuple[Tile, ...]:
        """Return every tile from the north-west, row by row."""
        return tuple((x, y) for y in range(self.rows) for x in range(self.columns * self.chips))

    def over(self, link: Link) -> Tile:
        """Return the tile that a link leads to."""
        dx, dy = _STEPS[link.direction]
        return link.x + dx, link.y + dy

    def opposite(self, link: Link) -> Link:
        """Return the link back."""
        return Link(*self.over(link), _BACK[link.direction])

    def out_of(self, tile: Tile) -> tuple[Link, ...]:
        """Return the links out of a tile, in the order E, W, N, S."""
        (x, y), width = tile, self.columns * self.chips
        inside = {"E": x + 1 < width, "W": x > 0, "N": y > 0, "S": y + 1 < self.rows}
        return tuple(Link(x, y, direction) for direction in _STEPS if inside[direction])

    def links(self) -> tuple[Link, ...]:
        """Return every directed link of the mesh, tile by tile from the north-west, in the order E, W, N, S."""
        return tuple(link for tile in self.routers() for link in self.out_of(tile))


@dataclass(frozen=True)
class Unlinked:
    """Cores without links of their own: all of a chip hand spikes to each other in one place, and chips are not joined.

    Attributes:
        cores_per_chip: core ids of the chip.
    """

    cores_per_chip: int

    @property
    def chips(self) -> int:
        """Number of chips."""
        return 1

    @property
    def tiles_per_chip(self) -> int:
        """Places of one chip."""
        return 1

    def tiles(self, cores: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (0, 0) for each core; UsageError where a core is not on this chip."""
        x = np.zeros_like(core_ids(cores, self.cores_per_chip))
        return x, x

    def core_at(self, tile: Tile) -> int:
        """Return the first core."""
        return 0

    def routers(self) -> tuple[Tile, ...]:
        """Return no router."""
        return ()

    def over(self, link: Link) -> Tile:
        """Return the only place: no link leads out of it."""
        return 0, 0

    def opposite(self, link: Link) -> Link:
        """Return the link."""
        return link

    def out_of(self, tile: Tile) -> tuple[Link, ...]:
        """Return no link."""
        return ()

    def links(self) -> tuple[Link, ...]:
        """Return no link."""
        return ()

    def path(self, source: int, destination: int) -> tuple[Link, ...]:
        """Return the empty way."""
        return ()

    def hops(self, sources: NDArray[np.integer], destinations: NDArray[np.integer]) -> Hops:
        """Count no step between any cores (broadcast together)."""
        none = np.zeros(np.broadcast_shapes(self.tiles(sources)[0].shape, self.tiles(destinations)[0].shape), np.int64)
        return Hops(none, none, none)


Topology = Mesh | Hexagon | Tree | Unlinked
"""Where routers are and how they are linked."""


def topology_of(profile: HardwareProfile, chips: int = 1) -> Topology:
    """Return the places and links of ``chips`` chips of a profile; of hexagonal links those of the whole machine.

    Raises:
        UsageError: the profile does not know them.
    """
    chip = profile.chip
    match profile.links:
        case HexagonalLinks() as links:
            return links.machine(chip.cores.known, profile.down)
        case NoLinks():
            return Unlinked(chip.cores.known)
    sides = chip.sides
    if sides is None:
        raise UsageError(
            f"profile {profile.name!r} does not know how its cores are joined (chip.tile_columns, tile_rows, cores_per_tile): it has no tiles, "
            "routers, links, ways and distances that could be used or break"
        )
    if isinstance(profile.links, TreeLinks):
        return Tree(profile.links.branches.known, sides[0] * sides[1], sides[2], chip.cores.known, chips)
    return Mesh(*sides, chip.cores.known, chips)


def machine_chips(profile: HardwareProfile) -> int | None:
    """Return how many chips a profile's machine has, of which all are there, used or not; None: chips are joined as needed."""
    return len(profile.links.places) if isinstance(profile.links, HexagonalLinks) else None


def topology(deployment: Deployment) -> Topology:
    """Return the places and links of a deployment's chips."""
    return topology_of(deployment.profile, deployment.placement.chips)
