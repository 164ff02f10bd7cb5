"""Random graphs of any shape: skips, loops, self-loops, several inputs, delays, exponents, dense, sparse and convolutional connections."""

from __future__ import annotations

import math

import numpy as np
from chips import connection, conv, delayed, dense, graph_chip, neurons, random_weights, sparse

from neurofault.damage.damage import Drop, Edit, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.graph.arithmetic import RESETS
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import Law
from neurofault.graph.synapses import Synapses
from neurofault.inputs import Inputs

MOST_STEPS = 200
"""T of a random graph is 1 to this, log-uniform."""
SHAPES = ((2, 3, 2), (1, 3, 2), (3, 3, 2), (2, 2, 3), (4,), (7,))


def _population(rng: np.random.Generator, name: str, *, source: bool = False) -> ChipPopulation:
    shape = SHAPES[int(rng.integers(0, len(SHAPES)))]
    size, calm = int(np.prod(shape)), rng.random() < 0.5
    return neurons(
        name,
        shape,
        du=4095 if calm or source else rng.choice([0, 500, 3000, 4095], size),
        dv=0 if calm else rng.choice([0, 3, 700, 4095], size),
        vth=rng.choice([20, 100, 300, 131071], size, p=[0.3, 0.4, 0.2, 0.1]),
        bias=rng.integers(-300, 3000, size),
        bias_exponent=int(rng.choice([0, 0, -2, 1])),
        v_init=int(rng.integers(0, 3000)),
        is_source=source,
    )


def _synapses(rng: np.random.Generator, source: ChipPopulation, target: ChipPopulation) -> Synapses:
    longest = int(rng.choice([0, 0, 1, 4]))
    kind = int(rng.integers(0, 4))
    if len(source.shape) == len(target.shape) == 3 and kind != 1 and source.shape[1:] == target.shape[1:]:
        reach = int(rng.integers(0, 2))
        found = conv(rng, source.shape, target.shape[0], (2 * reach + 1, 3), padding=(reach, 1))
        return delayed(rng, found, longest) if longest else found
    if kind <= 1:
        return sparse(rng, target.size, source.size, delays=longest)
    return dense(rng, target.size, source.size, delays=longest)


def random_graph(
    seed: int, most_steps: int = MOST_STEPS, *, forward: bool = False
) -> tuple[Deployment, Inputs, np.random.Generator]:
    """One or two inputs and up to five other populations; a chain, and up to six connections more, wherever they lead.

    T is 1 to ``most_steps``, log-uniform. ``forward``: no loops.
    """
    rng = np.random.default_rng(seed)
    sources = [_population(rng, name, source=True) for name in ("left", "right")[: int(rng.integers(1, 3))]]
    others = [_population(rng, f"p{number}") for number in range(int(rng.integers(1, 6)))]
    populations = [sources[0], *others, *sources[1:]]
    ends = [(before, after) for before, after in zip([sources[0], *others[:-1]], others, strict=True) if rng.random() < 0.9]
    for _ in range(int(rng.integers(0, 7))):
        ends.append((populations[int(rng.integers(0, len(populations)))], others[int(rng.integers(0, len(others)))]))
    if forward:
        order = [one.name for one in [*sources, *others]]
        ends = [(before, after) for before, after in ends if order.index(before.name) < order.index(after.name)]
    connections = [
        connection(
            f"c{number}",
            source.name,
            target.name,
            _synapses(rng, source, target),
            exponent=int(rng.choice([0, 0, 1, 4, -2] if forward else [-3, -1, 0, 0, 1, 4])),
            delay=int(rng.choice([1, 1, 2, 5])),
        )
        for number, (source, target) in enumerate(ends)
    ]
    steps, samples = int(math.exp(rng.uniform(0, math.log(most_steps + 1)))), int(rng.integers(1, 4))
    readout = others[int(rng.integers(0, len(others)))].name
    chip = graph_chip(populations, connections, steps, readout=readout, how="count" if rng.random() < 0.5 else "potential")
    bias, events = {}, {}
    for one in sources:
        if rng.random() < 0.5:
            bias[one.name] = rng.integers(-500, 8000, (samples, one.size)).astype(np.int32)
        else:
            events[one.name] = rng.random((samples, steps, one.size)) < 0.3
    return chip, Inputs(bias, events, int(rng.integers(0, 3))), rng


def random_when(rng: np.random.Generator, steps: int) -> When:
    start, clock = int(rng.integers(0, 2 * steps + 3)), ("presentation", "chip")[int(rng.integers(0, 2))]
    match int(rng.integers(0, 4)):
        case 0:
            return ALWAYS
        case 1:
            return When(start, clock=clock)
        case 2:
            return When(start, start + int(rng.integers(1, steps + 2)), clock=clock)
        case _:
            return When(start, None, 4, int(rng.integers(1, 5)), clock)


def _pairs(rng: np.random.Generator, chip: Deployment, one: ChipConnection) -> tuple[np.ndarray, np.ndarray]:
    n_in, n_out = chip.population(one.source).size, chip.population(one.target).size
    targets, sources = np.divmod(np.sort(rng.choice(n_in * n_out, min(8, n_in * n_out), replace=False)), n_in)
    return sources, targets


def random_edit(rng: np.random.Generator, chip: Deployment, *, plain: bool = False) -> Edit:
    """An edit of any type, in any window; ``plain``: one that is there for good and that the exact engine takes itself."""
    when = ALWAYS if plain else random_when(rng, chip.timesteps)
    population = chip.populations[int(rng.integers(0, len(chip.populations)))]
    some = np.sort(rng.choice(population.size, int(rng.integers(1, 4)), replace=False))
    kind = int(rng.choice([0, 4])) if plain else int(rng.integers(0, 8))
    if kind >= 4 and not chip.connections:
        kind = 0
    one = chip.connections[int(rng.integers(0, len(chip.connections)))] if chip.connections else None
    match kind:
        case 1:
            return Force(population.name, some, int(rng.choice([0, 20000, 65536])), when)
        case 2:
            field = ("vth", "du", "dv", "bias_mantissa")[int(rng.integers(0, 4))]
            return SetField(population.name, field, some, rng.integers(0, 4096, len(some)).astype(np.int32), when)
        case 3:
            masks = (1 << rng.integers(0, 24, len(some))).astype(np.int32)
            at = int(rng.integers(0, 2 * chip.timesteps))
            return Upset(population.name, "uv"[int(rng.integers(0, 2))], some, masks, at, when.clock)
        case 4 if one is not None:
            sources, targets = _pairs(rng, chip, one)
            return SetSynapses(one.name, sources, targets, random_weights(rng, targets.shape), when)
        case 5 if one is not None:
            sources, targets = _pairs(rng, chip, one)
            return SetDelays(one.name, sources, targets, rng.integers(0, 6, targets.shape), when)
        case 6 if one is not None:
            n_in, n_out = chip.population(one.source).size, chip.population(one.target).size
            lost = np.sort(rng.choice(n_in, min(3, n_in), replace=False))
            core = int(rng.integers(0, 2))  # one holds the first half, the other the rest
            held = np.array_split(np.arange(n_out), 2)[core]
            return Drop(one.name, core, lost, held, float(rng.choice([1.0, 0.5])), int(rng.integers(0, 99)), when)
        case 7:
            name = chip.inputs[int(rng.integers(0, len(chip.inputs)))]
            return InputNoise(
                name, np.arange(3), 500.0, int(rng.integers(0, 99)), ("sample", "step")[int(rng.integers(0, 2))], when
            )
        case _:
            return Silence(population.name, some, when)


def random_law(rng: np.random.Generator, size: int) -> Law:
    """Any reset, delayed or not, refractory steps and floors of single neurons."""
    delayed = bool(rng.random() < 0.4)
    refractory = rng.integers(0, 4, size).astype(np.int32) if not delayed and rng.random() < 0.6 else None
    floor = -rng.integers(0, 9000, size).astype(np.int32) if rng.random() < 0.5 else None
    return Law(RESETS[int(rng.integers(0, 3))], delayed, refractory, floor)
