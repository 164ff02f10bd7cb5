"""Random plans of several faults on small chips, with writes in between, and what each engine must give for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from bit_chip import BitChip
from engine_matrix import side_by_side
from fault_chips import EVERYWHERE, chain, deployment, encoded, from_sample, neurons, pairs_of, small_profile, wire

from neurofault import faults
from neurofault.damage.stored import from_field
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import write
from neurofault.deploy.routing import topology
from neurofault.errors import FaultError
from neurofault.graph import Conv, Dense, Sparse
from neurofault.inputs import Inputs

STEPS = 5
SHAPES = ("dense", "delays", "conv", "shared")
"""Of chains; ``graph`` is another."""
KINDS = tuple(EVERYWHERE)
ELSEWHERE = tuple(kind for kind in KINDS if kind != "state_kept")
"""Kinds that other engines than ``exact`` run."""
LASTING = ("core_dead", "neuron_dead", "neuron_saturated", "synapse_bit_flip", "synapse_bit_stuck", "synapse_perturbed",
           "synapse_dead", "synapse_saturated", "memory_word_dead", "word_header", "axon_misrouted")  # fmt: skip
"""Kinds that the incremental engine follows itself where they last for good."""


@dataclass(frozen=True)
class Case:
    """A random case.

    Attributes:
        chip: with all that has happened.
        inputs: what is shown.
        slow: the same worked out apart.
        kinds: of the faults.
        writes: how many there were in between.
    """

    chip: Deployment
    inputs: Inputs
    slow: BitChip
    kinds: tuple[str, ...]
    writes: int


def stored(rng, shape, bits, mode):
    """Random weights of a stored field."""
    return from_field(rng.integers(0, 1 << bits, shape), bits, mode)


def chip_of(rng, shape, scalars):
    """A chip of three populations; ``scalars``: stream of the numbers that a whole one shares."""
    if shape == "graph":
        return graph_of(rng, scalars)
    bits = [int(scalars.choice([8, 4])) for _ in range(2)]
    modes = [str(scalars.choice(["mixed", "mixed", "excitatory", "inhibitory"])) for _ in range(2)]
    if shape in ("conv", "shared"):
        weight = stored(rng, (2, 1, 2, 2), bits[0], modes[0])
        conv = Conv(weight, in_shape=(1, 2, 3), padding=(int(scalars.integers(2)), 0), stride=(2, 1))
        shapes, synapses = [conv.in_shape, conv.out_shape, (3,)], [conv]
    else:
        delay = rng.integers(0, 4, (4, 4)) if shape == "delays" else None
        shapes, synapses = [(4,), (4,), (3,)], [Dense(stored(rng, (4, 4), bits[0], modes[0]), delay)]
    synapses.append(Dense(stored(rng, (3, synapses[0].n_out), bits[1], modes[1])))
    populations = []
    exponents = []
    for index, (name, size) in enumerate(zip(("input", "hidden1", "output"), shapes, strict=True)):
        exponents.append(int(scalars.integers(-2, 4)) if index else 0)
        populations.append(varied(rng, scalars, neurons(name, size, is_source=not index)))
    profile = small_profile(shared_kernels=shape == "shared", columns=3, rows=3, cores_per_tile=1, block=2)
    chip = chain(populations, synapses, neurons_per_core=2 if populations[1].size == 4 else 3, profile=profile, timesteps=STEPS)
    for one, exponent, width, mode in zip(chip.connections, exponents[1:], bits, modes, strict=True):
        chip = chip.with_connection(replace(one, weight_exponent=exponent, weight_bits=width, sign_mode=mode))
    return read_out(chip, scalars)


def varied(rng, scalars, one):
    """The population with other parameters."""
    return replace(
        one,
        du=rng.choice([0, 1500, 4095, 4095], one.size).astype(np.int32),
        dv=rng.choice([0, 300], one.size).astype(np.int32),
        vth=rng.integers(20, 300, one.size).astype(np.int32),
        bias_mantissa=rng.integers(-500, 2000, one.size).astype(np.int32),
        bias_exponent=int(scalars.integers(0, 2)),
        v_init=int(scalars.integers(0, 1000)),
    )


def read_out(chip, scalars):
    """The chip with or without a pixel table, and read in one of the ways."""
    chip = encoded(chip, np.arange(256, dtype=np.int32) * 40 if scalars.random() < 0.7 else None)
    return replace(chip, readout=replace(chip.readout, how=str(scalars.choice(["potential", "count"]))))


def graph_of(rng, scalars):
    """A chip with a loop, a skip and sparse synapses, on cores that populations may share."""
    sizes = {"input": 4, "hidden1": 4, "output": 3}
    ends = {
        "hidden1": ("input", "hidden1"),
        "hidden1.rec": ("hidden1", "hidden1"),
        "skip": ("input", "output"),
        "output": ("hidden1", "output"),
    }
    connections = []
    for name, (source, target) in ends.items():
        bits, mode = int(scalars.choice([8, 4])), str(scalars.choice(["mixed", "mixed", "excitatory", "inhibitory"]))
        weight = stored(rng, (sizes[target], sizes[source]), bits, mode)
        delay = rng.integers(0, 4, weight.shape) if rng.random() < 0.3 else None
        synapses = Dense(weight, delay)
        if rng.random() < 0.4:
            there = rng.random(weight.shape) < 0.7
            there[0, 0] = True
            targets, sources = np.nonzero(there)
            own = None if delay is None else delay[there]
            synapses = Sparse.of(sizes[target], sizes[source], targets, sources, weight[there], own)
        one = wire(name, source, target, synapses, delay=int(rng.integers(1, 4)))
        connections.append(replace(one, weight_exponent=int(scalars.integers(-2, 4)), weight_bits=bits, sign_mode=mode))
    populations = [varied(rng, scalars, neurons(name, (size,), is_source=name == "input")) for name, size in sizes.items()]
    profile = small_profile(columns=3, rows=3, cores_per_tile=1, block=2)
    core_of = {name: np.sort(rng.integers(0, 6, size)).astype(np.int32) for name, size in sizes.items()}
    order = rng.permutation(len(connections))
    return read_out(
        deployment(populations, [connections[at] for at in order], core_of=core_of, profile=profile, timesteps=STEPS), scalars
    )


def when_of(rng, kind):
    """A random time, written as in YAML."""
    allowed = faults.KINDS[kind].whens
    name = str(rng.choice([*allowed, *(each for each in ("permanent", "once") if each in allowed)]))
    clock = str(rng.choice(faults.KINDS[kind].clocks))
    at = int(rng.integers(STEPS)) if clock == "presentation" else int(rng.integers(3 * STEPS))
    match name:
        case "permanent":
            return {"kind": name}
        case "transient":
            own = {"start": at, "stop": at + int(rng.integers(1, STEPS))}
        case "intermittent":
            own = {"start": at, "on": int(rng.integers(1, 3)), "off": int(rng.integers(1, 3))}
        case "periodic":
            own = {"start": at, "period": int(rng.integers(1, 4))}
        case "ageing":
            own = {"start": at, "stop": at + int(rng.integers(1, 6)), "shape": float(rng.choice([1.0, 2.0]))}
        case _:
            own = {"at": at}
    return {"kind": name, **own, "clock": clock}


def fault_of(rng, chip, kind, hot, lasting):
    """A random fault with its sites, as a mapping; None where the chip has none. ``hot``: a small stream that makes sites meet."""
    what: dict = {"kind": kind, "when": {"kind": "permanent"} if lasting else when_of(rng, kind)}
    pick = hot if rng.random() < 0.7 else rng
    model = faults.KINDS[kind]
    own = chip.connections[int(pick.integers(len(chip.connections)))]
    pairs = sorted(pairs_of(own.synapses))
    pair = [list(map(int, pairs[i])) for i in {int(pick.integers(len(pairs))) for _ in range(2)}]
    if chip.profile.synapse.shared_kernels.value:
        pair = pair[:1]  # two may read one word
    core = int(pick.choice(chip.placement.cores_of(own.target)))
    alone = len(chip.into(own.target)) == 1 and own.name == own.target
    named = {"layer": own.target} if alone or kind == "feedback_dead" else {"connection": own.name}
    match model.list_field:
        case "cores":
            what["cores"] = [int(pick.choice(chip.placement.used_cores))]
            what |= {"on_core_death": "silent"} if kind == "core_hung" else {}
        case "neurons":
            population = chip.populations[int(pick.integers(3))]
            if kind == "neuron_bias" and population.encoding is not None:
                population = chip.populations[1]
            what |= {
                "layer": population.name,
                "neurons": [int(n) for n in {*pick.integers(population.size, size=2)}],
            }
        case "pixels":
            if chip.encoding is None:
                return None
            what["pixels"] = [int(pick.integers(chip.population("input").size))]
        case "synapses":
            what |= named | {"synapses": pair}
        case "synapse_bits":
            what |= named | {"synapse_bits": [[*one, int(rng.integers(own.weight_bits))] for one in pair]}
        case "words" | "headers":
            what |= named | {model.list_field: [[core, int(pick.integers(2 if alone else 12))]]}
        case "axons":
            there = [s for s, t in pairs if chip.placement.core_of[own.target][t] == core]
            if not there:
                return None
            what |= named | {"axons": [[int(pick.choice(there)), core]]}
        case "links":
            x, y, direction = pick.choice([list(link) for link in topology(chip).links()])
            what["links"] = [f"{x},{y}:{direction}"]
        case "routers":
            what["routers"] = [f"{pick.integers(3)},{pick.integers(3)}"]
    return what | parameters(rng, kind)


def parameters(rng, kind):
    """Random parameters of a kind."""
    match kind:
        case "neuron_threshold" | "neuron_leak" | "neuron_bias":
            change = (
                {"bit": int(rng.integers(12))}
                if rng.random() < 0.5
                else {"factor": float(rng.choice([0.0, 0.5, 1.5])), "offset": 7}
            )
            return change | ({"decay": str(rng.choice(["du", "dv"]))} if kind == "neuron_leak" else {})
        case "neuron_stuck":
            return {"spike_rate": float(rng.choice([0.25, 0.75]))}
        case "state_upset":
            return {"state": str(rng.choice(["u", "v"])), "bit": int(rng.integers(8, 24))}
        case "synapse_stuck":
            return {"value": int(rng.integers(-256, 256))}
        case "synapse_perturbed":
            return {"sigma": float(rng.choice([0.5, 40.0])), "relative": bool(rng.integers(2))}
        case "synapse_saturated":
            return {"to": str(rng.choice(["sign", "highest", "lowest"]))}
        case "synapse_bit_stuck":
            return {"level": int(rng.integers(2))}
        case "synapse_delay":
            return {"bit": int(rng.integers(3))}
        case "word_header":
            return {"effect": str(rng.choice(["lost", "shifted"]))}
        case "link_dead":
            return {"direction": str(rng.choice(["both", "one"])), "reroute": bool(rng.integers(2))}
        case "router_dead":
            return {"reroute": bool(rng.integers(2))}
        case "link_lossy":
            return {"probability": 0.5}
        case "sensor_dead":
            return {"value": int(rng.integers(256))}
        case "sensor_noisy":
            return {"sigma": 0.3, "each": str(rng.choice(["sample", "step"]))}
    return {}


def case_of(seed, *, batch=None, shape=None, first=None, of=KINDS):
    """Case number ``seed``; those of one ``batch`` share what a layer's neurons and synapses have in common; ``of``: kinds of faults."""
    rng, hot = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    scalars = np.random.default_rng([seed if batch is None else batch, 3])
    chip = chip_of(rng, shape or str(rng.choice(SHAPES)), scalars)
    slow, lasting, kinds, number, writes = BitChip(chip), rng.random() < 0.25, [], int(rng.integers(2, 6)), 0
    while len(kinds) < number:
        group = []
        for _ in range(int(rng.integers(1, number - len(kinds) + 1))):
            kind = str(rng.choice(LASTING if lasting else of))
            what = fault_of(rng, chip, kind, np.random.default_rng([seed, 2, int(hot.integers(2))]), lasting)
            if what is not None:
                group.append(what)
        if not group:
            continue
        try:
            plan = faults.plan(chip, group, seed=int(rng.integers(100)))
        except FaultError:  # a run, a delay field or another axon that this chip does not have
            continue
        chip = faults.inject(chip, plan)
        slow.strike(plan)
        kinds += [what["kind"] for what in group]
        if rng.random() < 0.5:
            chip, writes = written(rng, chip, slow), writes + 1
    shown, first = 2, int(rng.integers(3)) if first is None else first
    size = chip.population("input").size
    if chip.encoding is not None and rng.random() < 0.8:
        inputs = chip.encode(rng.integers(0, 256, (shown, size)).astype(np.uint8))
    elif rng.random() < 0.5:
        inputs = Inputs(bias=rng.integers(0, 8000, (shown, size)).astype(np.int32))
    else:
        inputs = Inputs(events=rng.random((shown, STEPS, size)) < 0.5)
    return Case(chip, from_sample(inputs, first), slow, tuple(kinds), writes)


def written(rng, chip, slow):
    """The chip after some synapses of a dense connection have been written, and the same apart."""
    dense = [one.name for one in chip.connections if isinstance(one.synapses, Dense)]
    if not dense:
        return chip
    name = str(rng.choice(dense))
    weights = rng.integers(-300, 300, chip.connection(name).synapses.weight.shape)
    chosen, now = rng.random(weights.shape) < rng.choice([0.5, 1.0]), int(rng.choice([0, 0, 4, 9]))
    slow.write(name, weights, chosen, now)
    return write(chip, name, weights, chosen, now=now)


def side_by_side_case(batch, shape, copies):
    """Many random plans as one chip, and what is shown to it: for engines that take long to begin."""
    cases = [case_of(1000 * batch + copy, batch=batch, shape=shape, first=0, of=ELSEWHERE) for copy in range(copies)]
    whole, rng = side_by_side([case.chip for case in cases]), np.random.default_rng([batch, 4])
    size, first = whole.population("input").size, int(rng.integers(3))
    if batch % 3 == 2:
        return whole, Inputs(events=rng.random((2, STEPS, size)) < 0.5, first_sample=first)
    return whole, Inputs(bias=rng.integers(0, 8000, (2, size)).astype(np.int32), first_sample=first)


def differences(slow, activity, wanted, *, traces=True):
    """What an engine gives otherwise than a slow chip, which gives ``wanted``."""
    found = []
    for population, own in wanted.items():
        for name in ("u", "v", "spikes") if traces else ():
            if not np.array_equal(getattr(activity.traces[population], name), own[name]):
                found.append(f"{population} {name}")
        if not np.array_equal(activity.spike_counts[population], own["spikes"].sum(axis=(0, 1))):
            found.append(f"{population} counts")
    if not np.array_equal(activity.scores, slow.scores(wanted)):
        found.append("scores")
    if not np.array_equal(activity.sample_spikes, sum(own["spikes"].sum(axis=(1, 2)) for own in wanted.values())):
        found.append("sample spikes")
    return found
