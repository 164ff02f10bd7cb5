"""The sections of a profile that say how its places are joined: ``links``, ``board``, ``shared_memory``; and the parts known bad.

Without ``links``, or with ``links: {topology: mesh}``, tiles form a mesh (:class:`neurofault.deploy.routing.Mesh`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neurofault.deploy.hexagonal import HEXAGONAL, Hexagon
from neurofault.deploy.links import Link, Tile
from neurofault.deploy.quantity import RECORD, Keys, Positive, Quantity, check_sources, not_given

_ROWS = re.compile(r"([0-9]{1,4})-([0-9]{1,4})")
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_MONITOR = 10
"""Physical number of the core that SpiNNMachine's typical map gives the virtual number 0; every other one's is one higher."""

Pair = Annotated[tuple[int, int], Field(strict=False)]


class Down(NamedTuple):
    """What a profile of hexagonal links lists as bad.

    Attributes:
        chips: places (x, y).
        links: the links.
    """

    chips: frozenset[Tile] = frozenset()
    links: frozenset[Link] = frozenset()


class _Sourced(BaseModel):
    model_config = RECORD

    source: Keys = ()
    note: str | None = None

    @field_validator("source")
    @classmethod
    def _known(cls, source: Keys, info: ValidationInfo) -> Keys:
        check_sources(source, info)
        return source


class HexagonalLinks(_Sourced):
    """Chips with one router each, joined to six neighbours (SpiNNaker).

    Attributes:
        topology: ``hexagonal``.
        board_columns: shape of a board: for each column x, from 0, the rows that have a chip, ``"0-3"``. Chips count column by column.
        origins: [x, y] of each board's column 0 and row 0. Boards count in this order, and so do their chips.
        wrap: [width, height] of a torus; null: the edges are not joined.
        source, note: what says so.
    """

    topology: Literal["hexagonal"]
    board_columns: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    origins: Annotated[tuple[Pair, ...], Field(strict=False, min_length=1)] = ((0, 0),)
    wrap: Pair | None = None

    @field_validator("board_columns")
    @classmethod
    def _rows(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        for column in columns:
            found = _ROWS.fullmatch(column)
            if found is None or int(found[1]) > int(found[2]):
                raise PydanticCustomError(
                    "no_rows", "{column} is no range of rows; write the first and the last, such as '0-3'", {"column": repr(column)}
                )
        return columns

    @model_validator(mode="after")
    def _apart(self) -> HexagonalLinks:
        places = self.places
        if self.wrap is not None and min(self.wrap) < 1:
            raise PydanticCustomError("no_torus", "wrap must be two numbers of at least 1: width and height")
        twice = next((place for place in places if places.count(place) > 1), None) if len(set(places)) < len(places) else None
        if twice is not None:
            raise PydanticCustomError("twice", "two chips at {x},{y}: origins let boards overlap", {"x": twice[0], "y": twice[1]})
        return self

    @property
    def board(self) -> tuple[Tile, ...]:
        """Places of a board's chips from its origin."""
        found = [(x, _ROWS.fullmatch(rows)) for x, rows in enumerate(self.board_columns)]
        return tuple((x, y) for x, rows in found if rows is not None for y in range(int(rows[1]), int(rows[2]) + 1))

    @property
    def places(self) -> tuple[Tile, ...]:
        """Places of all chips, by id."""
        shifted = [(x + dx, y + dy) for dx, dy in self.origins for x, y in self.board]
        return tuple(shifted if self.wrap is None else [(x % self.wrap[0], y % self.wrap[1]) for x, y in shifted])

    def machine(self, cores_per_chip: int, down: Down) -> Hexagon:
        """Return the geometry, without what is known bad."""
        return Hexagon(self.places, cores_per_chip, self.wrap, down.chips, down.links)


class TreeLinks(_Sourced):
    """Routers in levels (quad-tree, H-tree): a chip's tiles, counted row by row, are the leaves.

    Attributes:
        topology: ``tree``.
        branches: children of a router, at least 2; a chip's tiles must be a power of it.
        source, note: what says so.
    """

    topology: Literal["tree"]
    branches: Quantity[Annotated[int, Field(ge=2)], Literal["1"]]


class MeshLinks(_Sourced):
    """Tiles in rows and columns, each joined to its neighbours: what a profile without ``links`` has.

    Attributes:
        topology: ``mesh``; its sides are ``chip.tile_columns`` and ``chip.tile_rows``.
        source, note: what says so.
    """

    topology: Literal["mesh"]


class NoLinks(_Sourced):
    """Cores of one chip that reach each other without links of their own: a single core, or a router that all share.

    Attributes:
        topology: ``none``.
        source, note: what says so.
    """

    topology: Literal["none"]


Links = Annotated[HexagonalLinks | MeshLinks | TreeLinks | NoLinks, Field(discriminator="topology")]


class Board(BaseModel):
    """Chips that share a board: its connectors, its supply.

    Attributes:
        chips: of one board; chip c is on board c // chips. Null: not known.
    """

    model_config = RECORD

    chips: Quantity[Positive, Literal["chips"]] = not_given()


class SharedMemory(BaseModel):
    """A memory outside the cores that holds the synapses of several of them.

    Attributes:
        cores: consecutive cores of a chip that share one; a chip's last memory may serve fewer.
    """

    model_config = RECORD

    cores: Quantity[Positive, Literal["cores"]] = not_given()


def spinnaker_cores(entry: str) -> tuple[Tile, tuple[int, ...]]:
    """Return the chip (x, y) and the cores of SpiNNMachine's ``"x,y,p"`` (``ignores/ignore_core.py``).

    Args:
        entry: p is a virtual number above 0, a range of them such as ``2-17``, or minus a physical number (0 included), which SpiNNMachine's typical
            map turns into a virtual one; a real chip's map may be another.

    Raises:
        ValueError: it is no such text; the text says why.
    """
    parts = [part.strip() for part in entry.split(",")]
    if len(parts) == 4:
        raise ValueError(f"{entry!r} counts from the board at {parts[3]}; write x and y of the whole machine, and no address")
    if len(parts) != 3 or not all(_NUMBER.fullmatch(part) for part in parts[:2]):
        raise ValueError(f"{entry!r} is not a core; write x,y,p such as 4,7,3 or 2,3,2-17")
    place, cores = (int(parts[0]), int(parts[1])), parts[2]
    if (found := _ROWS.fullmatch(cores)) is not None:
        if int(found[1]) > int(found[2]):
            raise ValueError(f"{entry!r} is no range: the lower end comes first")
        return place, tuple(range(int(found[1]), int(found[2]) + 1))
    if not _NUMBER.fullmatch(cores):
        raise ValueError(f"{entry!r} is not a core; write x,y,p such as 4,7,3 or 2,3,2-17")
    physical = -int(cores)
    return place, (int(cores) if physical < 0 else 0 if physical == _MONITOR else physical + 1,)


def spinnaker_chip(entry: str) -> Tile:
    """Return the chip of SpiNNMachine's ``"x,y"``; ValueError where it is none."""
    parts = [part.strip() for part in entry.split(",")]
    if len(parts) != 2 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise ValueError(f"{entry!r} is not a chip; write x,y such as 4,7")
    return int(parts[0]), int(parts[1])


def spinnaker_link(entry: str) -> Link:
    """Return the link of SpiNNMachine's ``"x,y,link"``, link 0 to 5 (E, NE, N, W, SW, S); ValueError where it is none."""
    parts, names = [part.strip() for part in entry.split(",")], list(HEXAGONAL)
    if len(parts) != 3 or not all(_NUMBER.fullmatch(part) for part in parts) or not 0 <= int(parts[2]) < len(names):
        raise ValueError(f"{entry!r} is not a link; write x,y,link such as 4,7,3, link 0 to 5 ({', '.join(names)})")
    return Link(int(parts[0]), int(parts[1]), names[int(parts[2])])
