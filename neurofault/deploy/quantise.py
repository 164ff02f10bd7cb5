"""From a network's real numbers to the chip's integers.

A population's threshold and bias, and the weights of every connection into it, are scaled by one number σ and rounded: one stored weight
unit of a connection adds 2**(h + e) to ``u``, one threshold unit is 2**h of ``v``, h the shift of the chip's arithmetic (Loihi: 6), so with weight w,
threshold θ and bias b::

    weight = round(w·σ / 2**e)      vth = round(θ·σ)      mantissa · 2**x = round(b·σ·2**h)

Where sums join u before it decays (Xylo), what arrives has lost its share once before it counts: weights are made so much larger.

σ is set by the largest weight of all, which takes the whole range of its field; each connection has the smallest exponent e at which its own
weights fit theirs. That of the largest is chosen so that threshold and bias have enough integers to be exact in, the potential of a population
that is never reset stays below saturation, and the current does not wrap (:mod:`neurofault.deploy.bound`): for no input where a network takes
events, which may be any; where it takes pixels, for none in which neurons fire independently of each other, at whatever rate. What a chosen
set of a pixel network's neurons could still wrap, :func:`neurofault.deploy.deploy` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.bound import CURRENT_LIMIT, Arriving, reaches
from neurofault.deploy.neuron_laws import check_carried, kept_of_arrivals, law_of, stored_decays
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.stored_weights import check_source_signs, check_stored
from neurofault.deploy.weight_fields import Grid, truncate_weights, weight_range
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.graph import Connection, CubaLif, Network, Population, Source
from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import Law
from neurofault.graph.network import horizon
from neurofault.graph.schedule import title
from neurofault.graph.synapses import longest_delay, with_weight

_HEADROOM = 0.5
_MIN_THRESHOLD = 512
_LEAST_THRESHOLD = 64
"""A threshold is not made coarser than this to keep the current from wrapping: it is then off by less than 1 %."""

_DEEP_RATE = 0.5
"""Spikes a step that the neurons of a hidden population of a pixel network stay below on average."""


_EXPONENT_LIMIT = 32
"""Largest |exponent| of a connection that there is at all; where a profile knows no limit, this one holds."""

REFERENCE = Grid(-(1 << 14), (1 << 14) - 1, 1, None, -24, "mixed")
"""15-bit weights, which no hardware has."""


def quantise(
    network: Network, profile: HardwareProfile, *, weight_bits: int | None = None, rounded: bool = True
) -> tuple[tuple[ChipPopulation, ...], tuple[ChipConnection, ...]]:
    """Return the network's populations and connections in the profile's integers.

    Args:
        network: real numbers, or integers of a chip already (kept bit for bit, or refused).
        profile: integer widths and ranges.
        weight_bits: stored bits a weight; None: the most that the profile stores.
        rounded: False: 15-bit weights that no chip has, a reference for the cost of rounding.

    Raises:
        UsageError: the profile has no such weight width.
        ConversionError: a decay is no whole number from 0 to 4095.
        CapacityError: a threshold, bias, delay or carried integer does not fit the profile's fields, or is no integer.
    """
    allowed = profile.synapse.weight_bits.known
    if weight_bits is not None and weight_bits not in allowed:
        raise UsageError(f"profile {profile.name!r} stores no {weight_bits}-bit weights; allowed: {', '.join(map(str, allowed))}")
    if not rounded:
        grid = REFERENCE
    else:
        weight_bits = weight_bits or max(allowed)
        mode, least = profile.synapse.sign_mode, _or(profile.synapse.weight_exponent_min.value, -_EXPONENT_LIMIT)
        low, high, step = weight_range(weight_bits, mode)
        signs = profile.synapse.source_signs
        grid = Grid(low if signs is None or not signs.value else -high, high, step, weight_bits, least, mode)
    populations: list[ChipPopulation] = []
    connections: dict[str, ChipConnection] = {}
    for population in network.populations:
        into = network.into(population.name)
        for connection in into:
            _check_delay(connection, profile)
        match population.neuron:
            case Source() as source:
                populations.append(_source(population, source, profile))
                continue
            case CubaLif(bias_exponent=None) as neuron:
                quantised = _scaled(network, population, neuron, into, profile, grid)
            case CubaLif() as neuron:
                quantised = _carried(population, neuron, into, profile)
        populations.append(quantised[0])
        connections |= {one.name: one for one in quantised[1]}
    made = tuple(connections[one.name] for one in network.connections)
    if rounded:
        check_source_signs(made, profile)
    return tuple(populations), made


def lost(network: Network, connections: Sequence[ChipConnection]) -> list[str]:
    """Return what quantising has made nothing of, one text each: connections whose weights have all become 0 beside larger ones."""
    found = []
    for chip in connections:
        real = np.asarray(network.connection(chip.name).synapses.weight)
        if real.any() and not np.asarray(chip.synapses.weight).any():
            found.append(
                f"{title(chip)} ({chip.source!r} → {chip.target!r}): all its weights become 0: the largest, {np.abs(real).max():.3g}, is too small "
                f"beside the other weights into {chip.target!r} for the {chip.weight_bits} bits and exponents of the chip"
            )
    return found


def _check_delay(connection: Connection, profile: HardwareProfile) -> None:
    """Refuse delays that the synapses of a chip cannot hold: what a connection takes beyond its first step, and its synapses on top."""
    if profile.synapse.format == "crossbar" and longest_delay(connection.synapses):
        raise UnsupportedError(
            f"{title(connection)}: its synapses have delays of their own; on the crossbar of {profile.name!r} a spike comes to all neurons of a core at "
            "once: give the connection one delay"
        )
    most = profile.synapse.delay_max.value
    if most is None or (longest := connection.delay + longest_delay(connection.synapses)) <= 1 + most:
        return
    relays, excess = -(-longest // (1 + most)) - 1, longest - 1 - most
    between = "a relay population, a copy" if relays == 1 else f"{relays} relay populations, copies"
    own = "" if longest == connection.delay else f" ({connection.delay} its own, {longest - connection.delay} of a synapse)"
    raise CapacityError(
        f"{title(connection)} ({connection.source!r} → {connection.target!r}) takes {longest} steps{own}; a synapse of {profile.name!r} holds "
        f"delays of 1 to {1 + most} steps; put {between} of {connection.source!r} with one synapse a neuron and a threshold below its weight, "
        f"between them, to take up {excess} of the steps"
    )


def _source(population: Population, neuron: Source, profile: HardwareProfile) -> ChipPopulation:
    """Return an input; its bias comes with each sample. It computes as Loihi does on any chip: it stands for what makes its spikes."""
    size, encoding = population.size, neuron.encoding
    du, dv = stored_decays(population, profile)
    threshold = neuron.threshold if neuron.threshold is not None else 1 if encoding is None else encoding.threshold
    start = neuron.start if neuron.start is not None else 0 if encoding is None else encoding.start
    _check_whole(population.name, threshold=threshold, bias=neuron.bias, start=start)
    _check_bias(population.name, neuron.bias, neuron.bias_exponent)
    return ChipPopulation(
        population.name, population.shape, du, dv, _array(threshold, size),
        _array(neuron.bias, size), neuron.bias_exponent, round(start), is_source=True, encoding=encoding, law=Law(neuron.reset),
    )  # fmt: skip


def _scaled(
    network: Network,
    population: Population,
    neuron: CubaLif,
    into: Sequence[Connection],
    profile: HardwareProfile,
    grid: Grid,
) -> tuple[ChipPopulation, list[ChipConnection]]:
    size, chip_law = population.size, profile.law
    du, dv = stored_decays(population, profile)
    counts = kept_of_arrivals(chip_law, du)  # exactly 1 on Loihi
    weights = [np.asarray(one.synapses.weight, np.float64) for one in into]
    ranges = [in_ranges(weight, grid) for weight in weights]
    largest = max(ranges, default=0.0)
    unit = 1 / largest if largest else 1.0  # σ / 2**e of the largest weight
    below = [_exponent_below(one, largest) for one in ranges]
    threshold_max = _threshold_max(profile)
    theta = None if neuron.threshold is None else np.asarray(neuron.threshold, np.float64) * _each(counts)
    shift = 1 << chip_law.shift
    peak = network.peak_potential if population.name == network.readout.population and theta is None else None
    wanted = _exponent(population, neuron, theta, unit, peak, profile, threshold_max)
    arriving = [
        Arriving(with_weight(one.synapses, _integers(weight, unit * 2.0**-k, grid)), k, _rate(network, one.source))
        for one, weight, k in zip(into, weights, below, strict=True)
    ]
    if chip_law == LOIHI:
        wanted = _without_wrap(wanted, arriving, du, theta, unit, horizon(network))
    if into:
        wanted = min(wanted, _or(profile.synapse.weight_exponent_max.value, _EXPONENT_LIMIT))
    sigma = unit * 2.0**wanted
    connections = []
    for one, weight, k in zip(into, weights, below, strict=True):
        exponent = max(wanted + k, grid.exponent_min)  # no smaller exponent: the weights take a part of their range
        integers = _integers(weight, unit * 2.0 ** (wanted - exponent), grid)
        connections.append(
            ChipConnection(
                one.name,
                one.source,
                one.target,
                with_weight(one.synapses, integers),
                exponent,
                grid.bits or 15,
                grid.sign_mode,
                one.delay,
            )
        )
    vth = np.rint(theta * sigma) if theta is not None else np.asarray(threshold_max)
    if theta is not None and (vth.min() < 1 or vth.max() > threshold_max):
        raise CapacityError(
            f"population {population.name!r}: threshold becomes {int(vth.min())}…{int(vth.max())} beside its weights, "
            f"outside 1…{threshold_max}; rescale its weights, or convert with another peak rate"
        )
    bias = np.broadcast_to(np.asarray(neuron.bias, np.float64) * _each(counts), size) * sigma * shift
    mantissa, bias_exponent = _bias(population.name, bias, profile)
    full = sigma if theta is None else float(np.mean(vth)) if np.ndim(neuron.start) == 0 else vth
    chip = ChipPopulation(
        population.name, population.shape, du, dv, _array(vth, size), mantissa, bias_exponent,
        _start(np.asarray(full) * shift * neuron.start, size), theta is not None, law=law_of(population, neuron, sigma * shift, profile),
    )  # fmt: skip
    return chip, connections


def _start(v: float | NDArray[np.generic], size: int) -> int | NDArray[np.int32]:
    """Return v before the first step: one number where it is one, else int32 [n]."""
    return round(float(v)) if np.ndim(v) == 0 else _array(np.rint(v), size)


def _threshold_max(profile: HardwareProfile) -> int:
    """Return the largest threshold that is stored and that v can reach."""
    reached = profile.law.v.high >> profile.law.shift
    return reached if profile.neuron.threshold_max.value is None else min(profile.neuron.threshold_max.value, reached)


def _each(counts: NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Return one number where all are equal."""
    return float(counts[0]) if np.all(counts == counts[0]) else counts


def in_ranges(weight: NDArray[np.float64], grid: Grid) -> float:
    """Return how many times the range of a stored field the largest weight takes."""
    positive = float(weight.max(initial=0)) / grid.high if grid.high else 0.0  # one mixed bit holds no positive weight
    return max(positive, float(-weight.min(initial=0)) / -grid.low)


def _exponent_below(own: float, largest: float) -> int:
    """Return the smallest k from −64 to 0 with ``own ≤ largest · 2**k``; 0 where all its weights are 0."""
    if not own:
        return 0
    fraction, k = math.frexp(own / largest)
    return max(k - (fraction == 0.5), -64)


def _rate(network: Network, source: str) -> float | None:
    """Return how many spikes a step the neurons of a population stay below on average; None: there may be any."""
    neuron = network.population(source).neuron
    if isinstance(neuron, Source):
        return None if neuron.encoding is None else 1.0
    inputs = [one.neuron for one in network.populations if isinstance(one.neuron, Source)]
    return _DEEP_RATE if inputs and all(one.encoding is not None for one in inputs) else None


def _integers(weight: NDArray[np.float64], unit: float, grid: Grid) -> NDArray[np.int32]:
    return np.asarray(np.clip(np.rint(weight * unit / grid.step) * grid.step, grid.low, grid.high), np.int32)


def _without_wrap(
    exponent: int,
    arriving: Sequence[Arriving],
    du: NDArray[np.int32],
    theta: NDArray[np.float64] | None,
    unit: float,
    steps: int,
) -> int:
    """Return the weight exponent, lowered until the current cannot wrap or the threshold would become too coarse."""
    least = np.inf if theta is None else float(np.min(theta)) * unit
    reach = reaches(arriving, du, steps)
    while reach * 2.0**exponent >= CURRENT_LIMIT and least * 2.0 ** (exponent - 1) >= _LEAST_THRESHOLD:
        exponent -= 1
    return exponent


def _exponent(
    population: Population,
    neuron: CubaLif,
    theta: NDArray[np.float64] | None,
    unit: float,
    peak: float | None,
    profile: HardwareProfile,
    threshold_max: int,
) -> int:
    """Return the weight exponent: large enough for a fine threshold, small enough for threshold, bias and potential to fit."""
    low, high = profile.neuron.bias_mantissas
    largest_bias, shift = min(-low, high) << profile.neuron.bias_exponent_limit, 1 << profile.law.shift
    biased = float(np.max(np.abs(neuron.bias))) > 0
    if biased and largest_bias <= 0:
        raise CapacityError(
            f"population {population.name!r} has a bias, for which the mantissas {low}…{high} of {profile.name} leave no room"
        )
    limit = _log2_floor(largest_bias, float(np.max(np.abs(neuron.bias))) * unit * shift) if biased else _NO_LIMIT
    if theta is not None:
        if threshold_max < 1:
            raise CapacityError(
                f"population {population.name!r} has thresholds, and the largest that {profile.name} stores is {threshold_max}"
            )
        fine = math.ceil(math.log2(_MIN_THRESHOLD / max(float(np.min(theta)) * unit, 1e-300)))
        exponent = min(max(0, fine), _log2_floor(threshold_max, float(np.max(theta)) * unit), limit)
    else:
        # Keep the largest potential met in calibration under half of the range.
        exponent = min(0, _log2_floor(_HEADROOM * profile.law.v.high, (peak or 0.0) * unit * shift), limit)
    return exponent


_NO_LIMIT = 1 << 10
"""An exponent that nothing reaches."""


def _log2_floor(room: float, need: float) -> int:
    """Return the largest e with ``need · 2**e ≤ room``."""
    return math.floor(math.log2(room / max(need, 1e-300)))


def _or(known: int | None, otherwise: int) -> int:
    return otherwise if known is None else known


def _bias(name: str, bias: NDArray[np.float64], profile: HardwareProfile) -> tuple[NDArray[np.int32], int]:
    """Return (mantissa, exponent) of a population's bias, the exponent as small as the mantissa's range allows."""
    low, high = profile.neuron.bias_mantissas
    exponent = 0
    while exponent < profile.neuron.bias_exponent_limit and (
        np.rint(bias.max(initial=0) / 2**exponent) > high or np.rint(bias.min(initial=0) / 2**exponent) < low
    ):
        exponent += 1
    mantissa = np.rint(bias / 2**exponent)
    if mantissa.size and (mantissa.max() > high or mantissa.min() < low):
        raise CapacityError(
            f"population {name!r}: bias {float(np.abs(bias).max()):.0f} exceeds mantissa {low}…{high} · 2**{exponent}; "
            "rescale its weights, or convert with a smaller peak rate"
        )
    return mantissa.astype(np.int32), exponent


def _carried(
    population: Population, neuron: CubaLif, into: Sequence[Connection], profile: HardwareProfile
) -> tuple[ChipPopulation, list[ChipConnection]]:
    """Take over a population that is integer already, bit for bit."""
    name, size, bias_exponent = population.name, population.size, neuron.bias_exponent
    assert bias_exponent is not None
    vth = _threshold_max(profile) if neuron.threshold is None else neuron.threshold
    check_carried(name, vth, neuron.bias, bias_exponent, _threshold_max(profile), profile)
    _check_whole(name, threshold=vth, bias=neuron.bias, start=neuron.start, floor=0 if neuron.floor is None else neuron.floor)
    _check_bias(name, neuron.bias, bias_exponent)
    chip = ChipPopulation(
        name, population.shape, *stored_decays(population, profile), _array(vth, size), _array(neuron.bias, size),
        bias_exponent, _start(neuron.start, size), neuron.threshold is not None, law=law_of(population, neuron, 1.0, profile),
    )  # fmt: skip
    carried = [_carried_weights(connection, profile) for connection in into]
    widths = sorted({one.weight_bits for one in carried})
    if profile.synapse.format == "crossbar" and len(widths) > 1:
        raise CapacityError(
            f"population {name!r}: connections into it carry weights of {' and '.join(map(str, widths))} bits; a neuron of {profile.name!r} has one "
            "table of values: give them one width"
        )
    return chip, carried


def _carried_weights(connection: Connection, profile: HardwareProfile) -> ChipConnection:
    stored, weight = connection.stored, np.asarray(connection.synapses.weight)
    assert stored is not None
    if stored.weight_bits not in profile.synapse.weight_bits.known:
        raise CapacityError(
            f"{title(connection)} carries {stored.weight_bits}-bit weights; profile {profile.name!r} stores "
            f"{', '.join(map(str, profile.synapse.weight_bits.known))}"
        )
    check_stored(title(connection), stored, profile)
    kept = truncate_weights(weight.astype(np.int64), stored.weight_bits, stored.sign_mode)
    if not np.array_equal(kept, weight):
        raise CapacityError(
            f"{title(connection)}: {int(np.count_nonzero(kept != weight))} of {weight.size} carried weights do not fit "
            f"{stored.weight_bits} {stored.sign_mode} bits bit for bit; truncate them first (deploy.weight_fields.truncate_weights)"
        )
    if np.any(kept != 0) and not -32 <= stored.weight_exponent <= 24:
        raise CapacityError(f"{title(connection)}: weight exponent {stored.weight_exponent} outside -32…24")
    return ChipConnection(
        connection.name, connection.source, connection.target, with_weight(connection.synapses, kept), stored.weight_exponent,
        stored.weight_bits, stored.sign_mode, connection.delay,
    )  # fmt: skip


def _check_whole(name: str, **fields: object) -> None:
    """Refuse fields of a population that are no whole numbers of 32 bits."""
    for field, value in fields.items():
        numbers = np.asarray(value, np.float64)
        if np.any(np.rint(numbers) != numbers) or np.any(np.abs(numbers) >= 2.0**31):
            raise CapacityError(f"population {name!r} carries a {field} that is no whole number of 32 bits")


def _check_bias(name: str, mantissa: object, exponent: int) -> None:
    """Refuse a bias that would wrap."""
    largest = float(np.abs(np.asarray(mantissa, np.float64)).max(initial=0)) * 2.0**exponent
    if largest >= 2.0**31:
        raise CapacityError(
            f"population {name!r}: carried bias of {largest:.3g} (mantissa · 2**{exponent}) exceeds 32 bits, where it wraps"
        )


def _array(value: object, size: int) -> NDArray[np.int32]:
    """Return a field of every neuron as int32 [size]."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value), (size,))).astype(np.int32)
