"""`protect`: a chip with code words over its weights, ranges that they must lie in, or their bits in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import BitOrder, CodedWords, Copies, Mutes, PotentialFloor, Protection, WeightRange
from neurofault.deploy.resources import usage
from neurofault.engines import Presented, as_inputs
from neurofault.errors import CapacityError, UnsupportedError, UsageError, nearest, unforeseen
from neurofault.faults.places import connections_into, populations_named, shares_kernels, synapse_blocks
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.graph import Conv
from neurofault.graph.connectivity import weights_and_delays
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.numerals import plural, whole_number
from neurofault.progress import Progress, silent
from neurofault.study.protect.choose import Stores, covered
from neurofault.study.protect.copies import with_copies
from neurofault.study.protect.floors import with_floors
from neurofault.study.protect.mutes import layers_of, with_mutes
from neurofault.study.protect.orders import bit_orders, with_its_map
from neurofault.study.protect.scores import BitScores, Looked, bit_scores
from neurofault.study.protect.spec import (
    AnySpec,
    CodeSpec,
    CopySpec,
    FloorSpec,
    Given,
    MuteSpec,
    OrderSpec,
    RangeSpec,
    asked_as,
    specs_of,
)


def protect(
    deployment: Deployment,
    protections: Given | Sequence[Given],
    x: Inputs | Presented | Mapping[str, Presented] | None = None,
    y: Expected | Sequence[int] | None = None,
    *,
    unit: float | None = None,
    scores: BitScores | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Deployment:
    """Return the chip with protection of its stored weights or its neurons; :func:`neurofault.inject` then gives what is left of a fault.

    Check bits are stored bits of the core whose bits they check, they count against its memory, and they break like all others.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4))
    >>> safe = protect(chip, "secded")
    >>> flip = nf.faults.SynapseBitFlip(synapse_bits=[(0, 0, 7)], layer="hands")
    >>> len(nf.inject(chip, flip).damage.edits), len(nf.inject(safe, flip).damage.edits), safe.protection.check_bits
    (1, 0, 7)

    Args:
        deployment: the healthy chip.
        protections: one or several, as texts (``secded``, ``secded:0.05:atlas``, ``parity:0.1:random``, ``bounds:target:mute``, ``remap_bits:tested``, ``potentials``, ``tmr``, ``mute``), mappings or records
            (:mod:`neurofault.study.protect.spec`). A connection takes one range, and one code or one order of its bits.
        x: samples by which bits are chosen (``by: atlas``, ``fitted``, ``importance``): of training or validation, never those that results are reported on.
        y: their labels, int [N] or [N, T], or targets with ``unit``.
        unit: of targets, as of :func:`neurofault.run`.
        scores: of one's own, in place of ``by``: connection → [stored synapses, bits of a weight], the largest covered first, as
            :func:`neurofault.study.protect.scores.bit_scores` gives them.
        seed: of ``by: random``.
        progress: called as the atlas goes on.

    Raises:
        UsageError: what is wrong with a protection; a budget that is too small; samples that are missing; a chip that is broken or protected already.
        CapacityError: a core's memory does not hold its check bits.
        UnsupportedError: the chip has no such stored weights.
    """
    seed = whole_number(seed, "seed")
    if deployment.damage.hits or deployment.damage.edits:
        raise UsageError(
            "protect takes the healthy chip: its check bits are those of the words that were stored; protect, then inject"
        )
    if deployment.protection:
        raise UsageError("the chip is protected already; give all its protections at once")
    looked = _looked(deployment, x, y, unit)
    words: dict[str, CodedWords] = {}
    ranges: dict[str, WeightRange] = {}
    orders: dict[str, BitOrder] = {}
    specs = tuple(map(with_its_map, specs_of(protections)))
    deployment, copies, floors, mutes = _built(deployment, specs, looked, seed, progress)
    for spec in specs:
        if isinstance(spec, RangeSpec):
            names = _connections(deployment, spec)
            _once(ranges, names, spec)
            ranges |= {name: _range(deployment, name, spec) for name in names}
    for spec in specs:
        match spec:
            case OrderSpec():
                names = _connections(deployment, spec)
                _once(orders, names, spec)
                orders |= {one.connection: one for one in bit_orders(deployment, names, spec)}
            case RangeSpec() | FloorSpec() | CopySpec() | MuteSpec():
                pass  # found before, or built in
            case CodeSpec():
                names = _connections(deployment, spec)
                _once(words, names, spec)
                stores = Stores.of(deployment, names)
                ranks: BitScores | None = None
                if not spec.whole and scores is not None:
                    ranks = _own_scores(stores, scores)
                elif not spec.whole:
                    ranks = bit_scores(
                        deployment, names, spec.by, looked, samples=spec.samples, seed=seed, progress=progress, ranges=ranges
                    )  # fmt: skip
                words |= {one.connection: one for one in covered(stores, spec, ranks)}
            case _:
                unforeseen(spec)
    if both := sorted({*orders} & {*words}):
        raise UsageError(
            f"protect: connection {both[0]!r} has a code and an order of its bits: a code puts stuck cells right by itself, and its words are those of bits that "
            "lie in order; give it one of the two"
        )
    asked = tuple(map(asked_as, specs))
    safe = replace(
        deployment,
        protection=Protection(tuple(words.values()), tuple(ranges.values()), asked, floors, copies, mutes, tuple(orders.values())),
    )
    _check_room(safe)
    return safe


def _built(
    deployment: Deployment, specs: Sequence[AnySpec], looked: Looked | None, seed: int, progress: Progress
) -> tuple[Deployment, tuple[Copies, ...], tuple[PotentialFloor, ...], tuple[Mutes, ...]]:
    """Return the chip with copies of neurons, then with what mutes others, then with floors; codes and ranges guard what is then stored."""
    copies, floors, mutes = list[Copies](), list[PotentialFloor](), list[Mutes]()
    layers = [(spec, layers_of(deployment, spec)) for spec in specs if isinstance(spec, MuteSpec)]
    for spec in specs:
        if isinstance(spec, CopySpec):
            deployment, more = with_copies(deployment, spec, looked, seed=seed, progress=progress)
            copies += more
    for spec, names in layers:
        again = next(
            (name for name in names if name in [*(one.population for one in copies), *(one.population for one in mutes)]), None
        )
        if again is not None:
            raise UsageError(f"protect {spec}: {again!r} has voters or relays already; a layer takes one of tmr and mute, once")
        deployment, muted = with_mutes(deployment, spec, looked, names, seed=seed)
        mutes += muted
    beside = {name for one in mutes for name in (one.population, one.watchers)}  # a floor would hold a muted relay up
    for spec in specs:
        if isinstance(spec, FloorSpec):
            known = {one.population for one in floors}
            deployment, held = with_floors(deployment, spec, looked, beside)
            again = next((one.population for one in held if one.population in known), None)
            if again is not None:
                raise UsageError(f"protect {spec}: neurons of {again!r} have floors already; a layer takes them once")
            floors += held
    return deployment, tuple(copies), tuple(floors), tuple(mutes)


def _own_scores(stores: Stores, given: BitScores) -> BitScores:
    for name, numbers in stores.numbers.items():
        shape = (len(numbers), stores.widths[name])
        if name not in given or given[name].shape != shape or not np.isfinite(given[name]).all():
            raise UsageError(f"protect: scores of connection {name!r} must be {shape[0]:,} × {shape[1]} numbers")
    return {name: np.asarray(given[name], np.float64) for name in stores.numbers}


def _looked(
    deployment: Deployment,
    x: Inputs | Presented | Mapping[str, Presented] | None,
    y: Expected | Sequence[int] | None,
    unit: float | None,
) -> Looked | None:
    if x is None:
        return None
    inputs = as_inputs(deployment, x)
    if y is None:
        raise UsageError("protect: samples come with their labels; give y too")
    return Looked(inputs, np.asarray(y), unit)


def _connections(deployment: Deployment, spec: CodeSpec | RangeSpec | OrderSpec) -> tuple[str, ...]:
    """Return the connections that a protection is about.

    Raises:
        UsageError: there are none of that name.
        UnsupportedError: their weights are no fields of a memory.
    """
    if spec.connection is not None:
        known = [one.name for one in deployment.connections]
        if spec.connection not in known:
            raise UsageError(
                f"protect {spec}: no connection {spec.connection!r}{nearest(spec.connection, known)}; connections: {', '.join(known) or 'none'}"
            )
        names: tuple[str, ...] = (spec.connection,)
    else:
        names = connections_into(deployment, populations_named(deployment, spec.layer or "any"))
    if not names:
        raise UsageError(f"protect {spec}: layer {spec.layer!r} has no synapses")
    profile = deployment.profile
    if profile.synapse.format == "crossbar":
        raise UnsupportedError(
            f"protect {spec}: the crossbar of {profile.name!r} has no memory words: its bits stand at crossings of axons and neurons, and nothing reads check bits there"
        )
    if profile.synapse.source_signs is not None and profile.synapse.source_signs.value:
        raise UnsupportedError(
            f"protect {spec}: a weight of {profile.name!r} is stored without a sign, which is its source neuron's: faults that change a weight are not simulated on it"
        )
    return names


def _once(known: Mapping[str, object], names: Sequence[str], spec: CodeSpec | RangeSpec | OrderSpec) -> None:
    again = next((name for name in names if name in known), None)
    if again is not None:
        what = {CodeSpec: "a code", RangeSpec: "a range", OrderSpec: "an order of its bits"}[type(spec)]
        raise UsageError(f"protect {spec}: connection {again!r} has {what} already; a connection takes one")


def _range(deployment: Deployment, name: str, spec: RangeSpec) -> WeightRange:
    own = deployment.connection(name)
    shared = isinstance(own.synapses, Conv) and shares_kernels(deployment)
    if shared and spec.per != "connection":
        raise UnsupportedError(
            f"protect {spec}: the positions of {name!r} share kernels, whose words belong to no single neuron; give per: connection"
        )
    numbers = StoredNumbers(deployment, name)
    _, sources, targets, _ = numbers.readers(np.arange(len(numbers)))
    weights = weights_and_delays(own.synapses, sources, targets)[0].astype(np.int64)
    at, size, copies = _groups(deployment, name, spec, sources, targets)
    low, high = np.full(size, np.iinfo(np.int64).max), np.full(size, np.iinfo(np.int64).min)
    np.minimum.at(low, at, weights)
    np.maximum.at(high, at, weights)
    empty = low > high  # a neuron without synapses
    low[empty] = high[empty] = 0
    return WeightRange(name, spec.per, low, high, spec.outside, 2 * own.weight_bits * copies)


def _groups(
    deployment: Deployment, name: str, spec: RangeSpec, sources: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int, int]:
    """Return the group of each synapse, how many groups there are, and how many ranges all cores together store."""
    own, cores = deployment.connection(name), len(synapse_blocks(deployment, [name]))
    match spec.per:
        case "connection":
            return np.zeros(len(sources), np.int64), 1, cores
        case "target":
            return targets, own.synapses.n_out, own.synapses.n_out
        case "source":
            return sources, own.synapses.n_in, own.synapses.n_in * cores


def _check_room(deployment: Deployment) -> None:
    """Make sure that each core's memory holds what is added to it.

    Raises:
        CapacityError: naming the core.
    """
    have, added = usage(deployment), added_by_core(deployment)
    for core, extra in added.items():
        used, limit = have.of(core)["synapse_bits"]
        if limit is not None and used + extra > limit:
            raise CapacityError(
                f"protect: core {core} stores {plural(used, 'bit')} of synapses and would store {plural(extra, 'bit')} of protection more, but it has {limit:,}; "
                "cover fewer bits, or put fewer neurons on a core"
            )


def added_by_core(deployment: Deployment) -> dict[int, int]:
    """Return core → stored bits that its protection adds; maps and ranges are dealt out evenly."""
    found: dict[int, int] = {}
    for one in deployment.protection.words:
        for core in np.unique(one.cores).tolist():
            found[core] = found.get(core, 0) + int(one.check_bits[one.cores == core].sum())
    even = [(one.connection, one.map_bits) for one in deployment.protection.words]
    even += [(one.connection, one.stored_bits) for one in deployment.protection.ranges]
    even += [(one.connection, one.stored_bits) for one in deployment.protection.orders]
    for name, bits in even:
        cores = [block.core for block in synapse_blocks(deployment, [name])]
        for core in cores:
            found[core] = found.get(core, 0) + -(-bits // len(cores))
    return found
