"""A graph in a chip's integers as the sequence of layers that a netx file is: who follows whom, what is joined, where delays go.

A netx file is a sequence: each layer gets what the one before sends, and over a ``concat`` what other layers send, later ones too (lava-dl,
``src/lava/lib/dl/netx/README.md``). Delays of synapses are written as those of axons (``delay`` of the layer that sends) or, where these differ
between targets, as they are (``delay`` of the shape of ``weight``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import UnsupportedError
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import weights_and_delays
from neurofault.graph.readout import Readout
from neurofault.graph.schedule import title
from neurofault.graph.synapses import Conv, Dense, Sparse, Synapses

MATRIX_LIMIT = 1 << 25
"""Numbers of the largest matrix that is written."""
_TRIES = 100_000


@dataclass(frozen=True, eq=False)
class LaidPopulation:
    """A population as a layer.

    Attributes:
        population: with its integers.
        before: what drives it, the layer before first, without what ``weight_rec`` says.
        recurrent: what ``weight_rec`` says; None: nothing.
        is_image: whether it has the shape (channels, height, width) in the file: a convolution, or an input that one sees.
        axons: int64 [n], extra steps of all that it sends but over ``weight_rec``; None: none.
        delay: extra steps that are written with the synapses, of each of ``before``, of the weights' shape; None: none.
    """

    population: ChipPopulation
    before: tuple[ChipConnection, ...]
    recurrent: ChipConnection | None
    is_image: bool
    axons: NDArray[np.int64] | None
    delay: tuple[NDArray[np.int64], ...] | None


def layers_of(
    populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection], readout: Readout
) -> tuple[LaidPopulation, ...]:
    """Put populations in an order that a netx file can say, the input first, the readout last.

    Raises:
        UnsupportedError: there is no such order, or a connection or delay that the format has no words for; the text names it.
    """
    order = _order(populations, connections, readout)
    by_name = {one.name: one for one in populations}
    images, connections = _images(by_name, connections)
    laid = []
    for place, name in enumerate(order):
        into = {one.source: one for one in connections if one.target == name}
        own = into.get(name)
        recurrent = own if own is not None and name not in images and own.synapses.delay is None else None
        sources = [
            source for source in (order[place - 1], *order) if source in into and not (source == name and recurrent is not None)
        ]
        before = tuple(into[source] for source in dict.fromkeys(sources)) if place else ()
        laid.append(LaidPopulation(by_name[name], before, recurrent, name in images, None, None))
    return _with_delays(laid)


def _order(populations: Sequence[ChipPopulation], connections: Sequence[ChipConnection], readout: Readout) -> list[str]:
    """Return names, each population driven by the one before it (a path through all of them, found by depth first)."""
    inputs = [one.name for one in populations if one.is_source]
    if len(inputs) != 1:
        raise UnsupportedError(f"a netx file has one input; this network has {len(inputs)}: {', '.join(inputs)}")
    pairs: dict[tuple[str, str], str] = {}
    for one in connections:
        other = pairs.setdefault((one.source, one.target), one.name)
        if other != one.name:
            raise UnsupportedError(
                f"connections {other!r} and {one.name!r} both go from {one.source!r} to {one.target!r}; a layer of a netx file gets another one once"
            )
    for population in populations:
        if not population.is_source and not any(target == population.name for _, target in pairs):
            raise UnsupportedError(
                f"population {population.name!r} is driven by its bias alone; a layer of a netx file has weights"
            )
    following = {
        one.name: [other.name for other in populations if (one.name, other.name) in pairs and other is not one]
        for one in populations
    }
    path, tries = [inputs[0]], 0
    choices = [iter(following[inputs[0]])]
    while choices:
        if len(path) == len(populations) and path[-1] == readout.population:
            return path
        ends = len(path) == len(populations) - 1
        chosen = next((name for name in choices[-1] if name not in path and (ends or name != readout.population)), None)
        tries += 1
        if chosen is None or tries > _TRIES:
            choices.pop()
            path.pop()
            continue
        path.append(chosen)
        choices.append(iter(following[chosen]))
    raise UnsupportedError(
        f"a netx file is a sequence in which each layer is driven by the one before it (and by others too); no order of "
        f"{', '.join(one.name for one in populations)} from the input {inputs[0]!r} to the readout {readout.population!r} is one"
    )


def _images(
    populations: Mapping[str, ChipPopulation], connections: Sequence[ChipConnection]
) -> tuple[set[str], list[ChipConnection]]:
    """Return which populations keep their (channels, height, width), and the connections: kernels between those, matrices elsewhere."""
    images = {one.name for one in populations.values() if len(one.shape) == 3}
    moved = True
    while moved:
        moved = False
        for name in sorted(images):
            into = [one for one in connections if one.target == name]
            if into and not _is_convolution(populations, into, images):
                images.discard(name)
                moved = True
    kept = {one.target for one in connections} & images
    return images, [one if one.target in kept else replace(one, synapses=as_matrix(one)) for one in connections]


def _is_convolution(populations: Mapping[str, ChipPopulation], into: Sequence[ChipConnection], images: set[str]) -> bool:
    """Return whether one convolution over the channels of all that drives a population says the same."""
    first = into[0].synapses
    for one in into:
        own = one.synapses
        if not isinstance(own, Conv) or not isinstance(first, Conv) or one.source not in images:
            return False
        if own.in_shape != populations[one.source].shape or own.out_shape != populations[one.target].shape:
            return False
        windows = {(each.stride, each.padding, each.dilation, each.in_shape[1:], each.weight.shape[2:]) for each in (first, own)}
        if len(windows) > 1 or (len(into) > 1 and own.groups > 1):
            return False
    return True


def as_matrix(connection: ChipConnection) -> Dense:
    """Return synapses as a matrix, 0 where no synapse joins two neurons.

    Raises:
        UnsupportedError: it would have more than 2**25 numbers.
    """
    synapses = connection.synapses
    if isinstance(synapses, Dense):
        return synapses
    if synapses.n_in * synapses.n_out > MATRIX_LIMIT:
        raise UnsupportedError(
            f"{title(connection)}: a netx file holds it only as a matrix, here {synapses.n_out} × {synapses.n_in} numbers (more than {MATRIX_LIMIT})"
        )
    weight = np.zeros((synapses.n_out, synapses.n_in), np.int32)
    delay = np.zeros(weight.shape, np.int64)
    if isinstance(synapses, Sparse):
        weight[synapses.targets, synapses.sources] = synapses.weight
        delay[synapses.targets, synapses.sources] = 0 if synapses.delay is None else synapses.delay
        return Dense(weight, delay if delay.any() else None)
    sources = np.arange(synapses.n_in)
    for target in range(synapses.n_out):
        weight[target], delay[target] = weights_and_delays(synapses, sources, np.full(synapses.n_in, target))
    return Dense(weight, delay if delay.any() else None)


def _with_delays(laid: Sequence[LaidPopulation]) -> tuple[LaidPopulation, ...]:
    """Give delays to axons where all that a population sends agrees, else to synapses; a layer has room for one of the two."""
    axons: dict[str, NDArray[np.int64]] = {}
    for one in laid[1:-1]:
        sent = [_of_axons(each.synapses) for other in laid for each in other.before if each.source == one.population.name]
        agreed = [each for each in sent if each is not None and np.array_equal(each, sent[0] if sent[0] is not None else ())]
        if agreed and len(agreed) == len(sent) and agreed[0].any():
            axons[one.population.name] = agreed[0]
    moved = True
    while moved:
        single = {
            one.population.name
            for one in laid
            if any(each.synapses.delay is not None and each.source not in axons for each in one.before)
        }
        moved = bool(single & axons.keys())
        for name in single & axons.keys():
            del axons[name]
    return tuple(
        replace(
            one,
            axons=axons.get(one.population.name),
            delay=tuple(_left(each, axons) for each in one.before) if one.population.name in single else None,
        )
        for one in laid
    )


def _left(connection: ChipConnection, axons: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the delays that are written with synapses."""
    extra = connection.synapses.delay
    if extra is None or connection.source in axons:
        return np.zeros(connection.synapses.weight.shape, np.int64)
    return extra


def _of_axons(synapses: Synapses) -> NDArray[np.int64] | None:
    """Return int64 [n_in], delays as those of the neurons that send; None: synapses of one neuron differ."""
    match synapses:
        case Dense(delay=None) | Conv(delay=None):
            return np.zeros(synapses.n_in, np.int64)
        case Dense(delay=delay) if delay is not None and np.all(delay == delay[:1]):
            return np.asarray(delay[0], np.int64)
        case Conv(delay=delay) as conv if delay is not None:
            channels = conv.in_shape[0]
            per_group = conv.weight.shape[1]
            rows = delay.reshape(conv.groups, -1, per_group, *delay.shape[2:])
            if np.any(rows != rows[:, :1, :, :1, :1]):
                return None
            return np.repeat(rows[:, 0, :, 0, 0].reshape(channels), conv.n_in // channels).astype(np.int64)
        case _:
            return None


def scale_of(connections: Sequence[ChipConnection]) -> int:
    """Return the ``wgtExp`` of a layer: 0, or else the least at which every weight is a whole number of its unit.

    Raises:
        UnsupportedError: weights that no unit of the format makes whole numbers of 16 bits.
    """
    used = [one for one in connections if np.any(one.synapses.weight)]
    if all(_whole(one, 0, 256) for one in used):
        return 0
    exponents = [one.weight_exponent for one in used]
    scale = min(exponents)
    wrong = next((one for one in used if not (-8 <= scale <= 16 and _whole(one, scale, 1 << 15))), None)
    if wrong is not None:
        raise UnsupportedError(
            f"{title(wrong)} ({wrong.source!r} → {wrong.target!r}): weight exponents of the layer lie in {scale} … {max(exponents)}; "
            "a netx file holds one exponent a layer, −8 to 16, and weights of 16 bits in its unit"
        )
    return scale


def numbers(connection: ChipConnection, scale: int) -> NDArray[np.float64]:
    """Return weights in units of 2**scale, of their shape."""
    return np.asarray(np.ldexp(connection.synapses.weight.astype(np.float64), connection.weight_exponent - scale), np.float64)


def _whole(connection: ChipConnection, scale: int, most: int) -> bool:
    """Return whether the weights are whole numbers of the unit, of this magnitude at most."""
    found = numbers(connection, scale)
    return bool(np.all(np.rint(found) == found) and np.abs(found).max(initial=0) <= most)
