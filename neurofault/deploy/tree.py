"""Tree links: routers in levels, each with as many children as the tree branches; a message climbs to the common ancestor and down."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.links import Hops, Link, Tile, core_ids


@dataclass(frozen=True)
class Tree:
    """Geometry of the chips in use: a quad-tree, an H-tree, or any other of equal branches.

    Routers of level 0 have cores, those above have none. A router is (x, y): its number in its level, from the west, and the level.
    Where chips are joined, their tops are children of routers above them.

    Attributes:
        branches: children of a router, at least 2.
        tiles_per_chip: routers of level 0 of one chip, a power of ``branches``.
        cores_per_tile: cores of a router of level 0.
        cores_per_chip: core ids of one chip; local ids fill the tiles in turn.
        chips: number of chips.
    """

    branches: int
    tiles_per_chip: int
    cores_per_tile: int
    cores_per_chip: int
    chips: int = 1

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Number of routers of each level, from level 0 to the one at the top."""
        found = [self.chips * self.tiles_per_chip]
        while found[-1] > 1:
            found.append(-(-found[-1] // self.branches))
        return tuple(found)

    @cached_property
    def chip_level(self) -> int:
        """Level of a chip's own top: links above it are from chip to chip."""
        level, reach = 0, 1
        while reach < self.tiles_per_chip:
            level, reach = level + 1, reach * self.branches
        return level

    def tiles(self, cores: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the router (x, 0) of each core; UsageError where a core is not on these chips."""
        chip, local = np.divmod(core_ids(cores, self.chips * self.cores_per_chip), self.cores_per_chip)
        x = chip * self.tiles_per_chip + local // self.cores_per_tile
        return x, np.zeros_like(x)

    def core_at(self, tile: Tile) -> int:
        """Return the first core below a router (the chip's last where that place has none)."""
        chip, leaf = divmod(tile[0] * int(self.branches ** tile[1]), self.tiles_per_chip)
        return chip * self.cores_per_chip + min(leaf * self.cores_per_tile, self.cores_per_chip - 1)

    def routers(self) -> tuple[Tile, ...]:
        """Return every router, level by level."""
        return tuple((x, y) for y, width in enumerate(self.levels) for x in range(width))

    def over(self, link: Link) -> Tile:
        """Return the router that a link leads to."""
        if link.direction == "U":
            return link.x // self.branches, link.y + 1
        return link.x * self.branches + int(link.direction[1:]), link.y - 1

    def opposite(self, link: Link) -> Link:
        """Return the link back."""
        x, y = self.over(link)
        return Link(x, y, f"D{link.x % self.branches}" if link.direction == "U" else "U")

    def out_of(self, tile: Tile) -> tuple[Link, ...]:
        """Return the links out of a router: up, then down to its children in order."""
        x, y = tile
        up = [Link(x, y, "U")] if y + 1 < len(self.levels) else []
        children = range(self.branches) if y > 0 else range(0)
        return (*up, *(Link(x, y, f"D{child}") for child in children if x * self.branches + child < self.levels[y - 1]))

    def links(self) -> tuple[Link, ...]:
        """Return every link, router by router."""
        return tuple(link for tile in self.routers() for link in self.out_of(tile))

    def path(self, source: int, destination: int) -> tuple[Link, ...]:
        """Return the links that a message crosses, in order; empty within a tile."""
        x, z = self.tiles(np.array([source, destination]))[0].tolist()
        up, down, y = list[Link](), list[Link](), 0
        while x != z:
            up.append(Link(x, y, "U"))
            down.append(Link(z // self.branches, y + 1, f"D{z % self.branches}"))
            x, z, y = x // self.branches, z // self.branches, y + 1
        return (*up, *reversed(down))

    def hops(self, sources: NDArray[np.integer], destinations: NDArray[np.integer]) -> Hops:
        """Count the steps of a message from each source core to each destination core (broadcast together)."""
        x, z = np.broadcast_arrays(self.tiles(sources)[0], self.tiles(destinations)[0])
        within, between = np.zeros(x.shape, np.int64), np.zeros(x.shape, np.int64)
        for level in range(len(self.levels) - 1):
            steps = within if level < self.chip_level else between
            steps += 2 * (x != z)
            x, z = x // self.branches, z // self.branches
        return Hops(np.zeros_like(within), np.zeros_like(within), between, within)
