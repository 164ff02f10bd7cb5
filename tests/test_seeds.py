"""Seeds and draws are whole numbers of any type, which name the same random stream; anything else is refused by name before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.learning.rule import learning_rule
from neurofault.learning.setup import lava_engine, strict_engine
from neurofault.rescue.increments import increments
from neurofault.rescue.learners.emstdp import emstdp
from neurofault.rescue.learners.errors import dfa
from neurofault.streams import generator, stream_key

RNG = np.random.default_rng(3)
EYES, HEAD, HANDS = (
    nf.Population("eyes", (4,), nf.Source()),
    nf.Population("head", (6,), nf.CubaLif(1.0)),
    nf.Population("hands", (2,), nf.CubaLif(1.0)),
)
SYNAPSES = [nf.Dense(RNG.normal(0, 1, (6, 4))), nf.Dense(RNG.normal(0, 1, (2, 6)))]
NET = nf.chain("reflex", [EYES, HEAD, HANDS], SYNAPSES, timesteps=4, how="count")
CHIP = nf.deploy(NET, neurons_per_core=2, spare_cores=2)
EVENTS = RNG.random((40, 4, 4)) < 0.5
SHOWN = nf.Spikes.dense(EVENTS)
LABELS = nf.run(CHIP, SHOWN).activity.predictions
HURT = nf.inject(CHIP, nf.faults.CoreDead(count=2, layer="head"), seed=1)
RULE = learning_rule(dw="2^-2*u0*x1*y1", x1_impulse=16, x1_tau=8, t_epoch=1, third_factor=True)
PRE = RNG.random((6, 6)) < 0.5


def learned(engine: Any) -> Any:
    third = {"y1": np.full((6, 2), 33)}
    return engine.learn(engine.start, PRE, third=third, threads=1).state.weight.tolist()


def sites(chip: nf.Deployment) -> Any:
    return [hit.cores for hit in chip.damage.hits], [[edit.population, edit.neurons.tolist()] for edit in chip.damage.edits]


def placed(chip: nf.Deployment) -> Any:
    return {name: cores.tolist() for name, cores in chip.placement.core_of.items()}


CASES: dict[str, Callable[[Any], Any]] = {
    "inject, seed": lambda n: sites(nf.inject(CHIP, nf.faults.NeuronDead(count=3, layer="any"), seed=n)),
    "inject, draw": lambda n: sites(nf.inject(CHIP, nf.faults.NeuronDead(count=3, layer="any"), draw=n)),
    "deploy, seed": lambda n: placed(nf.deploy(NET, neurons_per_core=1, strategy="random", seed=n)),
    "protect, seed": lambda n: [word.masks.tolist() for word in nf.protect(CHIP, "parity:0.3:random", seed=n).protection.words],
    "increments, seed": lambda n: [[fault[2] for fault in part.faults] for part in increments(HURT, 2, seed=n)],
    "rescue, seed": lambda n: (
        nf.rescue(HURT, SHOWN, LABELS, learner="delta", seed=n).deployment.connection("hands").synapses.weight.tolist()
    ),
    "robustness, seed": lambda n: nf.robustness(
        CHIP, SHOWN, LABELS, "neuron_dead", grid=(0, 0.5), draws=2, seed=n
    ).accuracy.tolist(),
    "robustness, draws": lambda n: nf.robustness(CHIP, SHOWN, LABELS, "neuron_dead", grid=(0, 0.5), draws=n).accuracy.tolist(),
    "search_placement, seed": lambda n: placed(nf.search_placement(CHIP, SHOWN, damage=0, moves=200, seed=n).chip),
    "choose_patterns, seed": lambda n: nf.choose_patterns(CHIP, SHOWN, faults=["neuron_dead"], seed=n).patterns.indices.tolist(),
    "dfa, seed": lambda n: dfa(CHIP, nf.Inputs(events=EVENTS), LABELS, feedback="random", seed=n).feedback_weights[0][1].tolist(),
    "emstdp, seed": lambda n: (
        emstdp(CHIP, nf.Inputs(events=EVENTS), LABELS, feedback="random", seed=n).feedback_weights[0][1].tolist()
    ),
    "lava_engine, seed": lambda n: learned(lava_engine(RULE, np.arange(12).reshape(2, 6), seed=n)),
    "strict_engine, seed": lambda n: learned(strict_engine(CHIP, "hands", RULE, seed=n)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_number_of_numpy_draws_the_same(case: str) -> None:
    assert CASES[case](np.int64(2)) == CASES[case](2)


@pytest.mark.parametrize("number", [np.uint8(2), np.int16(2), np.array(2)], ids=["uint8", "int16", "no dimensions"])
def test_so_does_one_of_any_whole_type(number: Any) -> None:
    case = CASES["inject, draw"]
    assert case(number) == case(2) != case(3)


@pytest.mark.parametrize("wrong", [True, np.True_, 1.0, np.float64(1), "0", None, [1]], ids=repr)
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_whole_number_is_refused_by_name(case: str, wrong: Any) -> None:
    name = case.split(", ")[1]
    with pytest.raises(UsageError, match=f"^{name} must be a whole number, such as 0, not "):
        CASES[case](wrong)


def test_a_stream_is_named_by_whole_numbers_and_texts() -> None:
    assert stream_key(np.int32(5), "a") == stream_key(5, "a") != stream_key("5", "a")
    assert generator(np.int64(5)).integers(1 << 40) == generator(5).integers(1 << 40)
    for wrong in (True, 1.0, None):
        with pytest.raises(UsageError, match=r"^part of a random stream's name must be a whole number"):
            stream_key(wrong)
