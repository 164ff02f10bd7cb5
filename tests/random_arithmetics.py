"""Random arithmetics of chips, and random graphs of neurons that compute so: every field of the record, small registers that overflow often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_graphs import random_edit, random_graph

from neurofault.damage.damage import Damage, Edit, LostReset, SetField, StuckCounter, Upset
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.graph.arithmetic import LOIHI, RESETS, Arithmetic, Decay, Register
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.law import Law
from neurofault.inputs import Inputs

KINDS = ("multiply", "shift", "linear", "none")


def random_decay(rng: np.random.Generator) -> Decay:
    match KINDS[int(rng.integers(0, 4))]:
        case "multiply":
            bits, more = int(rng.integers(1, 17)), int(rng.integers(0, 2))
            most = int(rng.integers(0, (1 << bits) - more + 1))
            return Decay("multiply", most, bits, ("zero", "floor")[int(rng.integers(0, 2))], more)
        case "shift":
            return Decay("shift", int(rng.integers(0, 32)), tail=bool(rng.integers(0, 2)))
        case "linear":
            return Decay("linear", int(rng.integers(0, 300)))
        case _:
            return Decay()


def random_register(rng: np.random.Generator) -> Register:
    signed = bool(rng.random() < 0.7)
    bits = int(rng.choice([2, 8, 10, 12, 16, 20, 24, 31 + signed], p=[0.04, 0.16, 0.16, 0.16, 0.2, 0.1, 0.1, 0.08]))
    return Register(bits, signed, ("saturate", "wrap")[int(rng.integers(0, 2))], random_decay(rng))


def random_arithmetic(rng: np.random.Generator) -> Arithmetic:
    several = rng.random() < 0.4
    partly = bool(rng.random() < 0.25)
    u, v = None if rng.random() < 0.3 else random_register(rng), random_register(rng)
    made = Arithmetic(
        "random",
        v,
        u,
        (">", ">=")[int(rng.integers(0, 2))],
        ("subtract",) if several else RESETS,
        (0,) if several or partly else (0, 1),
        int(rng.integers(2, 256)) if several else 1,
        int(rng.choice([0, 0, 3, 6, 16])),
        "before_decay" if u is not None and rng.random() < 0.5 else "after_decay",
        partly,
        bool(v.signed and rng.random() < 0.5),
        refractory=int(rng.choice([0, 5])),
    )
    assert made.mistake() is None
    return made


def random_law_in(rng: np.random.Generator, chip: Arithmetic, size: int) -> Law:
    """Any reset, delay, refractory steps and floors of single neurons that an arithmetic has."""
    delayed = bool(rng.integers(0, 2)) if 1 in chip.reset_delays else False
    refractory = rng.integers(0, chip.refractory, size).astype(np.int32) if chip.refractory and not delayed else None
    floor = -rng.integers(0, min(chip.v.high, 9000) + 1, size).astype(np.int32) if chip.floor and rng.random() < 0.7 else None
    return Law(chip.resets[int(rng.integers(0, len(chip.resets)))], delayed, refractory, floor, chip)


def computing_so(rng: np.random.Generator, one: ChipPopulation, chip: Arithmetic) -> ChipPopulation:
    """The population with that arithmetic: stored decays, thresholds and starts that its registers have."""
    size, high = one.size, chip.v.high >> chip.shift
    reach = rng.choice([8, 50, 300, max(high, 1)], size, p=[0.4, 0.3, 0.2, 0.1])
    return replace(
        one,
        du=rng.integers(0, (0 if chip.u is None else chip.u.decay.most) + 1, size).astype(np.int32),
        dv=rng.integers(0, chip.v.decay.most + 1, size).astype(np.int32),
        vth=np.where(rng.random(size) < 0.1, rng.integers(-3, 2, size), np.minimum(reach, max(high, 1))).astype(np.int32),
        bias_mantissa=rng.integers(-40, 90, size).astype(np.int32),
        v_init=rng.integers(max(chip.v.low, -200), min(chip.v.high, 200) + 1, size).astype(np.int32),
        law=random_law_in(rng, chip, size),
    )


def random_chip(seed: int, most_steps: int = 24) -> tuple[Deployment, Inputs, np.random.Generator]:
    """A random graph of one random arithmetic; now and then another one in some populations, Loihi's among them."""
    made, inputs, rng = random_graph(seed, most_steps)
    common = random_arithmetic(rng)
    mixed = rng.random() < 0.25

    def own(one: ChipPopulation) -> ChipPopulation:
        chip = common if not mixed or rng.random() < 0.5 else LOIHI if rng.random() < 0.5 else random_arithmetic(rng)
        return one if chip == LOIHI else computing_so(rng, one, chip)

    return replace(made, populations=tuple(map(own, made.populations))), inputs, rng


def random_edit_of(rng: np.random.Generator, made: Deployment) -> Edit:
    """Any edit in any window, its numbers within the chip's registers."""
    one = made.populations[int(rng.integers(0, len(made.populations)))]
    some = np.sort(rng.choice(one.size, 2, replace=False))
    start = int(rng.integers(0, made.timesteps + 1))
    when = (ALWAYS, When(start), When(start, start + 2, clock="chip"))[int(rng.integers(0, 3))]
    match int(rng.integers(0, 5)):
        case 0:
            return LostReset(one.name, some, when)
        case 1:
            return StuckCounter(one.name, some, int(rng.integers(0, 2)), when)
        case _:
            pass
    edit = random_edit(rng, made)
    if isinstance(edit, Upset | SetField):
        chip = made.population(edit.population).law.arithmetic
        match edit:
            case Upset(state=state):
                register = getattr(chip, state)
                bits = 1 if register is None else min(register.bits, 31)
                return replace(edit, masks=(1 << rng.integers(0, bits, len(edit.neurons))).astype(np.int32))
            case SetField(field=("du" | "dv") as field):
                register = chip.u if field == "du" else chip.v
                most = 0 if register is None else register.decay.most
                return replace(edit, values=rng.integers(0, most + 1, len(edit.neurons)).astype(np.int32))
    return edit


def damaged(made: Deployment, rng: np.random.Generator, *, plain: bool) -> Deployment:
    """The chip with up to three edits; ``plain``: permanent ones that the kernels apply."""
    number = int(rng.integers(0, 4))
    edits = [random_edit(rng, made, plain=True) if plain else random_edit_of(rng, made) for _ in range(number)]
    return made.with_damage(Damage(tuple(edits)))
