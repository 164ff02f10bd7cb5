"""Resolving a fault: choosing its sites on a deployment, and collecting what it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.broken import Broken
from neurofault.damage.damage import Edit, Hit
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import topology
from neurofault.errors import FaultError, nearest
from neurofault.faults.base import ConnectionFault, Fault
from neurofault.faults.chip_places import check_chip
from neurofault.faults.importance import block_scores
from neurofault.faults.places import Block, connections_into, populations_named
from neurofault.faults.region import ALL_WORDS, Region, region
from neurofault.faults.spent import Earlier, spent
from neurofault.streams import binomial_count, permutation_prefix, stream_key

SPARE = "spare"
"""Stands, as a layer, for the cores that the placement keeps free."""
_SHOWN = 8
"""Sites that a `Hit` names one by one."""

Picked = list[tuple[Block, NDArray[np.int64]]]
"""The blocks that are hit, each with the sorted numbers of its sites."""


@dataclass(eq=False)
class FaultOutcome:
    """What a fault changes, while it is being worked out."""

    edits: list[Edit] = field(default_factory=list)
    cores: set[int] = field(default_factory=set)
    dead_cores: set[int] = field(default_factory=set)
    neurons: dict[str, int] = field(default_factory=dict)
    synapses: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    def count(self, what: dict[str, int], name: str, number: int) -> None:
        """Add to :attr:`neurons` (of a population) or :attr:`synapses` (of a connection)."""
        if number:
            what[name] = what.get(name, 0) + int(number)

    def name(self, texts: Iterable[str]) -> None:
        """Add sites to the few that are named."""
        for text in texts:
            if len(self.texts) >= _SHOWN:
                return
            self.texts.append(text)

    def hit(self, fault: Fault) -> Hit:
        """Return the echo."""
        notes = [*self.notes, *([] if fault.when.kind == "permanent" else [f"acts: {fault.when}"])]
        return Hit(
            fault.kind, tuple(sorted(self.cores)), self.neurons, self.synapses, tuple(self.texts), tuple(notes),
            broken=tuple(self.broken),
        )  # fmt: skip


@dataclass(eq=False)
class TakenSites:
    """Sites that are taken by their numbers in place of drawn ones.

    Attributes:
        numbers: of the sites that a draw chooses from, counted from 0, those that are taken; sites that are passed over have none.
        left: how many a draw chooses from; None until a fault has chosen, and where it draws none.
    """

    numbers: tuple[int, ...] = ()
    left: int | None = None


@dataclass(frozen=True, eq=False)
class Context:
    """Where and with which random streams a fault is resolved.

    Attributes:
        deployment: the chip.
        seed, draw: keys of the streams.
        importance: population → [n] score of each neuron, for ``where: least_important``; None: by weights (see ``importance.py``).
        earlier: how many faults of the same kind come before in the plan; they have streams of their own.
        faults_before: number of faults that the chip had before the plan.
        listed: sites that are taken in place of drawn ones, with ``where: random``; None: they are drawn.
    """

    deployment: Deployment
    seed: int
    draw: int
    importance: Mapping[str, NDArray[np.floating]] | None = None
    earlier: int = 0
    faults_before: int = 0
    listed: TakenSites | None = None

    def done(self, fault: Fault) -> Earlier:
        """Return the earlier damage whose sites a fault does not draw again (see :attr:`Fault.again`)."""
        match fault.again:
            case "never":
                return Earlier.of(self.deployment, 0, None)
            case "later":
                return Earlier.of(self.deployment, self.faults_before, fault.kind)
            case _:
                return Earlier((), (), frozenset())

    def on_spares(self, fault: Fault) -> bool:
        """Whether a fault is about the spare cores: ``layer: spare``, unless a population is called so."""
        return fault.layer == SPARE and all(one.name != SPARE for one in self.deployment.populations)

    def populations(self, fault: Fault) -> tuple[str, ...]:
        """Return the populations that a fault is about, in the order of the deployment.

        Raises:
            FaultError: there are none of that name, or the fault is of a kind that cannot break a spare core.
        """
        if self.on_spares(fault):
            raise FaultError(
                f"layer 'spare': spare cores hold no {fault.site}; kinds of cores and learning, memory_word_dead and "
                "synapse_bit_stuck can break them"
            )
        return populations_named(self.deployment, fault.layers)

    def connections(self, fault: Fault) -> tuple[str, ...]:
        """Return the connections that a fault is about: the one that it names, or all into its populations as a core stores them.

        Raises:
            FaultError: there are none of that name.
        """
        named = self._connection(fault)
        return connections_into(self.deployment, self.populations(fault)) if named is None else (named,)

    def _connection(self, fault: Fault) -> str | None:
        if not isinstance(fault, ConnectionFault) or fault.connection is None:
            return None
        known = [one.name for one in self.deployment.connections]
        if fault.connection not in known:
            raise FaultError(
                f"no connection {fault.connection!r}{nearest(fault.connection, known)}; connections: {', '.join(known) or 'none'}"
            )
        return fault.connection

    def one_population(self, fault: Fault) -> str:
        """Return the one population that an explicit list is about."""
        populations = self.populations(fault)
        if len(populations) != 1:
            raise FaultError(f"{fault.list_field} are listed, so layer must name one layer, not {fault.layers!r}")
        return populations[0]

    def into_one(self, fault: Fault) -> tuple[str, ...]:
        """Return the connections that an explicit list of sites in cores is about: the one that it names, or all into one population."""
        named = self._connection(fault)
        if named is not None:
            return (named,)
        found = connections_into(self.deployment, [self.one_population(fault)])
        if not found:
            raise FaultError(f"layer {fault.layers!r} has no synapses")
        return found

    def one_connection(self, fault: Fault) -> str:
        """Return the one connection that an explicit list of neurons at both its ends is about."""
        found = self.into_one(fault)
        if len(found) != 1:
            raise FaultError(
                f"{fault.list_field} are listed, and {len(found)} connections lead into layer {fault.layers!r}; "
                f"name one of them with connection, in place of layer: {', '.join(found)}"
            )
        return found[0]

    def region(self, fault: Fault) -> Region | None:
        """Return the place that sites must lie in."""
        return None if fault.at is None else region(self.deployment, fault.at)

    def key(self, fault: Fault, what: str = "sites") -> int:
        """Return the key of one of a fault's streams: seed, kind, place, draw; never count or rate."""
        named = self._connection(fault)
        if named is not None:
            names = f"connection:{named}"
        else:
            names = SPARE if self.on_spares(fault) else ",".join(self.populations(fault))
        place = f"{fault.where}:{names}:{fault.at}" if fault.at is not None else f"{fault.where}:{names}"
        place += f":{self.earlier}" if self.earlier else ""
        return stream_key(self.seed, fault.kind, place, self.draw) if what == "sites" else stream_key(
            self.seed, fault.kind, place, self.draw, what
        )  # fmt: skip

    def choose(
        self,
        fault: Fault,
        blocks: Sequence[Block],
        *,
        bits: Mapping[str, Sequence[int]] | None = None,
        run: Callable[[str], int] | None = None,
        gone: Callable[[Earlier, Block], NDArray[np.bool_]] | None = None,
    ) -> Iterator[tuple[When, Picked]]:
        """Choose the sites of a fault that lists none; several groups where they fail one after the other.

        Args:
            fault: the model.
            blocks: all sites.
            bits: where bits are the sites: connection → those of each stored weight that are.
            run: where runs of stored synapses are the sites: connection → synapses of a run.
            gone: says which sites of a block earlier damage leaves nothing to break at; None: as :func:`spent` does.

        Raises:
            FaultError: there are no sites, or not as many as asked for; or the fault lists its sites.
        """
        if fault.sites is not None:
            raise FaultError(
                f"it lists its {fault.list_field}, and its resolve draws sites all the same; take fault.sites where they are listed, or for cores "
                "neurofault.faults.cores.chosen_cores, which does both"
            )
        place = self.region(fault)
        if place is not None:
            if not fault.stored_words and any(words != ALL_WORDS for words in place.values()):
                raise FaultError(f"{fault.site} do not lie in memory words; name chips, tiles or cores")
            blocks = [block for block in blocks if block.core in place]
        population = sum(block.size for block in blocks)
        if not population:
            where = "" if fault.at is None else f" at {fault.at!r}"
            spares = self.deployment.placement.spare_cores
            hint = "; layer='spare' breaks spare cores" if place and set(place) <= set(spares) and fault.layer is None else ""
            raise FaultError(f"{fault.about} has no {fault.site}{where}{hint}")
        key, done = self.key(fault), self.done(fault)
        if fault.where == "clustered":
            blocks = _clustered(self.deployment, blocks, key)
        over = np.zeros(population if done else 0, bool)
        if done:
            parts = [
                gone(done, block) if gone else spent(
                    self.deployment, done, fault.breaks, fault.site, block, bits[block.connection] if bits else None,
                    run(block.connection) if run else None,
                )
                for block in blocks
            ]  # fmt: skip
            over = np.concatenate(parts)
        passed = int(over.sum())
        if self.listed is not None:
            self.listed.left = population - passed
            open_sites = np.flatnonzero(~over) if done else np.arange(population)
            for when, sites in self.in_time(fault, open_sites[list(self.listed.numbers)].astype(np.int64)):
                yield when, _by_block(blocks, np.sort(sites))
            return
        count = _how_many(fault.count, fault.rate, population - passed, key)
        if count > population - passed:
            thin = "cores" in fault.site and fault.layers != "spare" and not passed
            spread = "; fewer neurons a core (--neurons-per-core) spread a network over more cores" if thin else ""
            widen = "" if self._connection(fault) or fault.layers == "any" else "; layer='any' takes all layers"
            least = f", {population - passed} of them not broken for good already; again='always' draws those too" if passed else ""
            raise FaultError(f"{count} {fault.site} asked for, but {fault.about} has only {population}{least or widen}{spread}")
        if fault.where == "clustered":
            order = np.arange(count + passed, dtype=np.int64)
        elif fault.where == "random":
            order = permutation_prefix(key, population, count + passed)
        else:
            scores = np.concatenate(
                [
                    block_scores(self.deployment, block, fault.site, bits[block.connection] if bits else None, self.importance)
                    for block in blocks
                ]
            )
            scores = scores if fault.where == "least_important" else -scores
            order = np.argsort(scores, kind="stable")[: count + passed].astype(np.int64)
        if passed:
            order = order[~over[order]][:count]
        for when, sites in self.in_time(fault, order):
            yield when, _by_block(blocks, np.sort(sites))

    def in_time(self, fault: Fault, sites: NDArray[np.int64]) -> Iterator[tuple[When, NDArray[np.int64]]]:
        """Yield the sites that share their active steps, in the order in which they fail."""
        never = fault.when.never(self.deployment.timesteps)
        if never is not None:
            raise FaultError(never)
        if fault.when.kind == "ageing":
            for first, end, when in fault.when.onsets(len(sites)):
                yield when, sites[first:end]
        elif len(sites):
            yield fault.when.window(stored=fault.stored), sites


def check_place(deployment: Deployment, fault: Fault) -> None:
    """Check that the populations or the connection that a fault names are there, and that the chip has the places that it breaks.

    Raises:
        FaultError: they are not; the text names the nearest.
    """
    check_chip(deployment.profile, fault)
    context = Context(deployment, 0, 0)
    if context.on_spares(fault):
        return
    if isinstance(fault, ConnectionFault):
        context.connections(fault)
    else:
        context.populations(fault)


def _clustered(deployment: Deployment, blocks: Sequence[Block], key: int) -> list[Block]:
    """Return the blocks in the order in which damage spreads: from a keyed core over the mesh, ties in keyed order."""
    cores = np.unique([block.core for block in blocks]).astype(np.int64)
    ranks = permutation_prefix(key, len(cores), len(cores))
    place = np.empty(len(cores), np.int64)
    place[ranks] = np.arange(len(cores))
    distance = topology(deployment).hops(cores[ranks[:1]], cores).total
    order = {int(core): (int(d), int(p)) for core, d, p in zip(cores, distance, place, strict=True)}
    return sorted(blocks, key=lambda block: order[block.core])


def _how_many(count: int | None, rate: float | None, population: int, key: int) -> int:
    """Return the number of sites that a count or a rate asks for."""
    return binomial_count(key, population, float(rate)) if rate is not None else int(count or 0)


def _by_block(blocks: Sequence[Block], sites: NDArray[np.int64]) -> Picked:
    """Sort site numbers of the whole index space into blocks."""
    ends = np.cumsum([block.size for block in blocks])
    which, starts = np.unique(np.searchsorted(ends, sites, "right"), return_index=True)
    return [
        (blocks[index], part - (int(ends[index]) - blocks[index].size) + blocks[index].first)
        for index, part in zip(map(int, which), np.split(sites, starts[1:]), strict=True)
    ]


def listed_array(rows: Sequence[Any], width: int) -> NDArray[np.int64]:
    """Return an explicit list as int64 [k] or [k, width]."""
    array = np.array(rows, np.int64)
    return array if width == 1 else array.reshape(-1, width)


__all__ = ["Context", "FaultOutcome", "Picked", "check_place", "listed_array", "replace"]
