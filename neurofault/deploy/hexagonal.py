"""Hexagonal links: chips of several cores behind one router, each router with six neighbours (SpiNNaker).

Links, their order and directions, boards with cut corners and machines that wrap are those of SpiNNMachine (``machine.py``
``LINK_ADD_TABLE``, ``version_5.py`` ``CHIPS_PER_BOARD``, ``spinnaker_triad_geometry.py``). A message goes the shortest way: the two axes
that make it up, the longer one first (PACMAN's ``longest_dimension_first``); where chips or links are down, the shortest way round
them, for routes lie in tables that software writes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.links import Hops, Link, Tile, core_ids, shortest
from neurofault.errors import UsageError

HEXAGONAL = {"E": (1, 0), "NE": (1, 1), "N": (0, 1), "W": (-1, 0), "SW": (-1, -1), "S": (0, -1)}
"""Direction → step (x, y), in the order of SpiNNaker's link ids 0 to 5."""
_AXES = (("E", "W"), ("N", "S"), ("NE", "SW"))


@dataclass(frozen=True)
class Hexagon:
    """Geometry of a machine: all its chips, whichever are in use.

    Attributes:
        places: (x, y) of each chip, by its id; a chip is one tile.
        cores_per_chip: core ids of one chip; all its cores share its router.
        wrap: (width, height) where the edges are joined to a torus; None: they are not.
        down_chips: places of chips whose router is known bad.
        down_links: links known bad; SpiNNMachine takes them for bad both ways.
    """

    places: tuple[Tile, ...]
    cores_per_chip: int
    wrap: Tile | None = None
    down_chips: frozenset[Tile] = frozenset()
    down_links: frozenset[Link] = frozenset()

    @property
    def chips(self) -> int:
        """Number of chips."""
        return len(self.places)

    @property
    def tiles_per_chip(self) -> int:
        """Routers of one chip."""
        return 1

    def tiles(self, cores: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the router (x, y) of each core; UsageError where a core is not on these chips."""
        chip = core_ids(cores, self.chips * self.cores_per_chip) // self.cores_per_chip
        x, y = np.array(self.places, np.int64).T
        return x[chip], y[chip]

    def core_at(self, tile: Tile) -> int:
        """Return the first core behind a router."""
        return self._chip_at[tile] * self.cores_per_chip

    def routers(self) -> tuple[Tile, ...]:
        """Return every router, chip by chip."""
        return self.places

    def over(self, link: Link) -> Tile:
        """Return the router that a link leads to."""
        dx, dy = HEXAGONAL[link.direction]
        x, y = link.x + dx, link.y + dy
        return (x, y) if self.wrap is None else (x % self.wrap[0], y % self.wrap[1])

    def opposite(self, link: Link) -> Link:
        """Return the link back."""
        names = list(HEXAGONAL)
        return Link(*self.over(link), names[(names.index(link.direction) + 3) % 6])

    def out_of(self, tile: Tile) -> tuple[Link, ...]:
        """Return the sound links out of a router, in the order of their ids."""
        return self._out.get(tile, ())

    def links(self) -> tuple[Link, ...]:
        """Return every sound link, chip by chip."""
        return tuple(link for place in self.places for link in self.out_of(place))

    def path(self, source: int, destination: int) -> tuple[Link, ...]:
        """Return the links that a message crosses, in order; empty within a chip.

        Raises:
            UsageError: no way leads there past what is known bad.
        """
        (x0, x1), (y0, y1) = (axis.tolist() for axis in self.tiles(np.array([source, destination])))
        return self._way((x0, y0), (x1, y1))

    def hops(self, sources: NDArray[np.integer], destinations: NDArray[np.integer]) -> Hops:
        """Count the steps of a message from each source core to each destination core (broadcast together); all are from chip to chip."""
        first, last = np.broadcast_arrays(np.asarray(sources, np.int64), np.asarray(destinations, np.int64))
        total = self.chips * self.cores_per_chip
        pairs = core_ids(first, total) // self.cores_per_chip * self.chips + core_ids(last, total) // self.cores_per_chip
        kinds, where = np.unique(pairs, return_inverse=True)
        lengths = [len(self._way(self.places[pair // self.chips], self.places[pair % self.chips])) for pair in kinds.tolist()]
        steps = np.array(lengths, np.int64)[where].reshape(first.shape)
        return Hops(np.zeros_like(steps), np.zeros_like(steps), steps)

    @cached_property
    def cut_off(self) -> frozenset[int]:
        """Ids of the chips that are down, or that no message reaches from the first sound chip, or that none comes back from."""
        sound = [place for place in self.places if place not in self.down_chips]
        if not sound:
            return frozenset(range(self.chips))
        there = _reached(sound[0], {place: [self.over(link) for link in self.out_of(place)] for place in sound})
        back: dict[Tile, list[Tile]] = {place: [] for place in sound}
        for link in self.links():
            back[self.over(link)].append((link.x, link.y))
        both = there & _reached(sound[0], back)
        return frozenset(chip for chip, place in enumerate(self.places) if place not in both)

    @cached_property
    def _chip_at(self) -> dict[Tile, int]:
        return {place: chip for chip, place in enumerate(self.places)}

    @cached_property
    def _out(self) -> dict[Tile, tuple[Link, ...]]:
        known, bad = self._chip_at, self.down_links | {self.opposite(link) for link in self.down_links}

        def sound(link: Link) -> bool:
            return link not in bad and self.over(link) in known and self.over(link) not in self.down_chips

        return {
            place: tuple(link for direction in HEXAGONAL if sound(link := Link(*place, direction)))
            for place in self.places
            if place not in self.down_chips
        }

    def _way(self, start: Tile, end: Tile) -> tuple[Link, ...]:
        way, place = list[Link](), start
        steps = [0, 0, 0] if start == end else self._vector(start, end)
        for axis in sorted(range(3), key=lambda axis: -abs(steps[axis])):
            for _ in range(abs(steps[axis])):
                way.append(Link(*place, _AXES[axis][steps[axis] < 0]))
                place = self.over(way[-1])
        if all(link in self.out_of((link.x, link.y)) for link in way):
            return tuple(way)
        if (found := shortest(self, start, end, ())) is None:
            raise UsageError(f"no way leads from chip {start[0]},{start[1]} to chip {end[0]},{end[1]} past what is known bad")
        return found

    def _vector(self, start: Tile, end: Tile) -> list[int]:
        """Return the shortest (x, y, diagonal) from one place to another, the first of several as SpiNNMachine has it."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        if self.wrap is not None:
            dx, dy = dx % self.wrap[0], dy % self.wrap[1]
            left, down = dx - self.wrap[0], dy - self.wrap[1]
            dx, dy = min(((dx, dy), (left, dy), (dx, down), (left, down)), key=lambda both: _length(*both))
        diagonal = min(dx, dy) if dx > 0 and dy > 0 else max(dx, dy) if dx < 0 and dy < 0 else 0
        return [dx - diagonal, dy - diagonal, diagonal]


def _length(dx: int, dy: int) -> int:
    return max(abs(dx), abs(dy)) if dx * dy > 0 else abs(dx) + abs(dy)


def _reached(start: Tile, after: dict[Tile, list[Tile]]) -> set[Tile]:
    seen, queue = {start}, deque([start])
    while queue:
        for place in after[queue.popleft()]:
            if place not in seen:
                seen.add(place)
                queue.append(place)
    return seen
