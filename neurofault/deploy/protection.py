"""What a chip does about what breaks: code words over its stored synapses, ranges and orders of their bits, floors of potentials, copies of neurons.

Made by :func:`neurofault.protect`; a deployment carries it, and :func:`neurofault.inject` asks it what is left of a fault
(``neurofault/faults/protected.py``). Stored synapses of a connection are counted core by core, in the order in which a core stores them
(``neurofault/faults/stored_numbers.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.codes import CodeName, code_named

Seen = Literal["keep", "mute"]
"""What is done with a word that is known to be wrong: read as it is, or as zeros."""
Outside = Literal["clip", "mute"]
"""What is done with a weight outside its range: it reads the nearest end, or 0."""
Per = Literal["connection", "target", "source"]
"""What has a range of its own."""
Ordered = Literal["row", "word"]
"""What has an order of its bits of its own: the synapses of a source on a core (of shared kernels a channel's), or each stored synapse."""


MOST_BITS = 16
"""No stored field is as wide."""


@dataclass(frozen=True, eq=False)
class CodedWords:
    """Code words over bits of the stored synapses of one connection. A stored synapse is in one word at most, a word on one core.

    Attributes:
        connection: its name.
        code: which code.
        seen: what is done with a word in which an error is seen that is not put right.
        sites: int64 [n], sorted, stored synapses that are in a word.
        masks: int64 [n], which bits of each one's field are data bits of its word.
        starts: int64 [words + 1], the sites of each word.
        cores: int64 [words], where each one is stored, its check bits too.
        scrub: steps of the chip from one pass that reads, corrects and writes back every word to the next; None: there is none.
        map_bits: stored bits that say which bits are covered.
    """

    connection: str
    code: CodeName
    seen: Seen
    sites: NDArray[np.int64]
    masks: NDArray[np.int64]
    starts: NDArray[np.int64]
    cores: NDArray[np.int64]
    scrub: int | None = None
    map_bits: int = 0

    def __len__(self) -> int:
        return len(self.cores)

    @cached_property
    def data_bits(self) -> NDArray[np.int64]:
        """Int64 [words]: data bits of each word."""
        own = (self.masks[:, None] >> np.arange(MOST_BITS) & 1).sum(axis=1)
        return np.add.reduceat(own, self.starts[:-1]) if len(self) else np.empty(0, np.int64)

    @cached_property
    def check_bits(self) -> NDArray[np.int64]:
        """Int64 [words]: check bits of each word."""
        sizes, back = np.unique(self.data_bits, return_inverse=True)
        return np.array([code_named(self.code, int(size)).checks for size in sizes], np.int64)[back]


@dataclass(frozen=True, eq=False)
class WeightRange:
    """The range that the weights of a connection lie in on the healthy chip; what is read outside it is wrong.

    Attributes:
        connection: its name.
        per: what has a range of its own.
        low, high: int64 [g], in the unit of stored weights: one range, or one for each target or source neuron.
        outside: what is done with a weight beyond it.
        stored_bits: bits that the ranges take on all cores.
    """

    connection: str
    per: Per
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    outside: Outside
    stored_bits: int

    def admit(self, weights: NDArray[np.integer], sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 [k]: what is read of weights [k] of these synapses."""
        at = {"connection": np.zeros(len(sources), np.int64), "target": targets, "source": sources}[self.per]
        low, high = self.low[at], self.high[at]
        if self.outside == "clip":
            return np.clip(weights.astype(np.int64), low, high)
        return np.where((weights >= low) & (weights <= high), weights, 0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class BitOrder:
    """The order in which the bits of the stored weights of a connection lie in their cells: with a turn of r, bit b of a field of w bits lies in cell (b + r) mod w.

    Attributes:
        connection: its name.
        unit: what has an order of its own.
        turns: int64 [units], 0 to w − 1, in the order in which the units are stored; empty where ``tested``.
        tested: each chip is tested: the orders are made from the cells that are stuck on it from the start.
        stored_bits: bits that say what the orders are.
    """

    connection: str
    unit: Ordered
    turns: NDArray[np.int64]
    tested: bool
    stored_bits: int


@dataclass(frozen=True, eq=False)
class PotentialFloor:
    """Neurons whose potential is held at the lowest that healthy samples show; the floor itself stands in the population's law.

    Attributes:
        population: its name.
        stored_bits: bits that its floors take.
    """

    population: str
    stored_bits: int


@dataclass(frozen=True, eq=False)
class Copies:
    """A population that is computed three times, on cores apart, and voted on.

    Attributes:
        population: its name, which the voters carry on.
        copies: names of the populations that compute it; the first holds all of its neurons, the others those that are chosen.
        neurons: int64 [k], sorted, the chosen ones.
        cores: ids of the cores that were free before.
        links: names of the connections that are there for the copies and the voters alone.
        stored_bits: bits of the weights of these.
    """

    population: str
    copies: tuple[str, str, str]
    neurons: NDArray[np.int64]
    cores: tuple[int, ...]
    links: tuple[str, ...]
    stored_bits: int


@dataclass(frozen=True, eq=False)
class Mutes:
    """A population whose neurons are silenced where they fire too often.

    Attributes:
        population: its name, which the relays carry on.
        own: name of the population of its neurons.
        watchers: name of the population of the watchers, one for each neuron that is chosen.
        neurons: int64 [k], sorted, the chosen ones.
        cores: ids of the cores that were free before.
        links: names of the connections that are there for watchers and relays alone.
        stored_bits: bits of the weights of these.
    """

    population: str
    own: str
    watchers: str
    neurons: NDArray[np.int64]
    cores: tuple[int, ...]
    links: tuple[str, ...]
    stored_bits: int


@dataclass(frozen=True, eq=False)
class Protection:
    """Everything that protects a chip.

    Attributes:
        words: code words; one set for a connection at most.
        ranges: of weights; one for a connection at most.
        asked: what it was asked for as, in YAML, one text a protection.
        floors: of potentials.
        copies: of neurons.
        mutes: of neurons that fire too often.
        orders: of the bits of stored weights; one for a connection at most, and none beside code words.
    """

    words: tuple[CodedWords, ...] = ()
    ranges: tuple[WeightRange, ...] = ()
    asked: tuple[str, ...] = ()
    floors: tuple[PotentialFloor, ...] = ()
    copies: tuple[Copies, ...] = ()
    mutes: tuple[Mutes, ...] = ()
    orders: tuple[BitOrder, ...] = ()

    def __bool__(self) -> bool:
        return self.reads_otherwise or self.computes_otherwise

    @property
    def computes_otherwise(self) -> bool:
        """Whether populations or connections are not those of the chip without it."""
        return bool(self.floors or self.copies or self.mutes)

    @property
    def built_in(self) -> tuple[Copies | Mutes, ...]:
        """Everything that has cores and connections of its own."""
        return (*self.copies, *self.mutes)

    @property
    def reads_otherwise(self) -> bool:
        """Whether broken cells are read otherwise than they stand: of what is built into populations and connections it is no question."""
        return bool(self.words or self.ranges or self.orders)

    def words_of(self, connection: str) -> CodedWords | None:
        """Return the code words of a connection; None: it has none."""
        return next((one for one in self.words if one.connection == connection), None)

    def range_of(self, connection: str) -> WeightRange | None:
        """Return the range of a connection's weights; None: none is known."""
        return next((one for one in self.ranges if one.connection == connection), None)

    @property
    def data_bits(self) -> int:
        """Stored bits that are in a code word."""
        return sum(int(one.data_bits.sum()) for one in self.words)

    @property
    def check_bits(self) -> int:
        """Check bits of all words."""
        return sum(int(one.check_bits.sum()) for one in self.words)

    @property
    def map_bits(self) -> int:
        """Bits that say which bits are covered and in which order they lie, and those of ranges and floors."""
        return (
            sum(one.map_bits for one in self.words)
            + sum(one.stored_bits for one in self.ranges)
            + sum(one.stored_bits for one in self.orders)
            + sum(one.stored_bits for one in self.floors)
        )

    @property
    def copied_bits(self) -> int:
        """Bits of the weights of copies and voters, watchers and relays."""
        return sum(one.stored_bits for one in self.built_in)

    @property
    def extra_bits(self) -> int:
        """Stored bits that the chip has for it alone."""
        return self.check_bits + self.map_bits
