"""Links between tiles, and the steps of messages over them: what all topologies of a chip share."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UsageError

Tile = tuple[int, int]
"""A router's place (x, y): of a mesh and of hexagonal links column and row, of a tree number in its level and level."""


class Link(NamedTuple):
    """One directed link: the way out of the router at (x, y).

    Attributes:
        x, y: the router; on a mesh x counts through the chips.
        direction: of a mesh E, W, N or S (N: to the row before); of hexagonal links E, NE, N, W, SW or S (N: y + 1); of a tree U (to the
            level above) or D0, D1 … (to that child).
    """

    x: int
    y: int
    direction: str


class Hops(NamedTuple):
    """Steps between tiles, int64 of one shape: within a chip east-west, north-south and along a tree, and from chip to chip."""

    east_west: NDArray[np.int64]
    north_south: NDArray[np.int64]
    inter_chip: NDArray[np.int64]
    tree: NDArray[np.int64] | int = 0

    @property
    def total(self) -> NDArray[np.int64]:
        """All steps, whichever their kind."""
        return np.asarray(self.east_west + self.north_south + self.inter_chip + self.tree)


def core_ids(cores: NDArray[np.integer], total: int) -> NDArray[np.int64]:
    """Return core ids as int64.

    Raises:
        UsageError: one of them is not among the ``total`` cores.
    """
    ids = np.asarray(cores, np.int64)
    if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= total):
        wrong = int(ids[(ids < 0) | (ids >= total)].flat[0])
        raise UsageError(f"core {wrong} does not exist; cores are 0 to {total - 1}")
    return ids


class Routers(Protocol):
    """What a search over links asks of a topology."""

    def out_of(self, tile: Tile) -> tuple[Link, ...]:
        """Return the links out of a router, in the order in which they are tried."""

    def over(self, link: Link) -> Tile:
        """Return the router that a link leads to."""


def shortest(routers: Routers, start: Tile, end: Tile, closed: Collection[Link]) -> tuple[Link, ...] | None:
    """Return the shortest way between two routers that avoids closed links (the first found); None: there is none."""
    came: dict[Tile, Link | None] = {start: None}
    queue = deque([start])
    while queue and end not in came:
        for link in routers.out_of(queue.popleft()):
            there = routers.over(link)
            if there not in came and link not in closed:
                came[there] = link
                queue.append(there)
    if end not in came:
        return None
    way: list[Link] = []
    while (link_in := came[end]) is not None:
        way.append(link_in)
        end = (link_in.x, link_in.y)
    return tuple(reversed(way))
