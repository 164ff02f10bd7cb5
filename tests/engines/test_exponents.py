"""Weight exponents below 0 that cut nothing off: sums of such weights are plain ones, and every fault gives what the exact and the plain engine give."""

from __future__ import annotations

import numpy as np
import pytest
from chips import chip, dense, population, random_weights

from neurofault.damage.damage import Damage, Edit, SetDelays, SetSynapses, Silence
from neurofault.damage.stored import from_field, to_field
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.incremental.fault_rows import edit_rows
from neurofault.engines.incremental.golden import effects, golden
from neurofault.engines.incremental.limits import not_followed
from neurofault.engines.wiring import edits_of, listed
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs
from neurofault.study.atlas import atlas
from neurofault.study.atlas_follow import able
from neurofault.study.atlas_sites import all_sites

PAIRS = [(-1, 8), (-1, 7), (-2, 7), (-3, 6), (-5, 4), (-8, 1)]
"""Exponents, and stored bits of mixed sign, that cut nothing off: such fields are read as multiples of 2**(9 − bits)."""


def small(exponent: int, bits: int, *, convolutional: bool) -> tuple[Deployment, Inputs]:
    rng = np.random.default_rng(-exponent * 10 + bits)
    own = {"exponent": exponent, "bits": bits}
    if convolutional:
        first: Dense | Conv = Conv(random_weights(rng, (1, 1, 2, 2), bits), (1, 3, 3), padding=(1, 0))
        layers = [population("input", (1, 3, 3)), population("hidden", first.out_shape, first, vth=60 >> -exponent, bias=9, **own)]
    else:
        first = dense(rng, 7, 9, bits=bits)
        layers = [population("input", (9,)), population("hidden", (7,), first, du=900, dv=200, vth=150 >> -exponent, **own)]
    last = dense(rng, 3, first.n_out, bits=bits)
    layers.append(population("output", (3,), last, vth=131072, fires=False, **own))
    return chip(layers, 12, readout="potential"), Inputs(events=rng.random((8, 12, layers[0].size)) < 0.3)


def single_faults(deployment: Deployment) -> list[tuple[Edit, ...]]:
    """Every synapse dead, every bit of every synapse flipped, every neuron dead."""
    found: list[tuple[Edit, ...]] = []
    for one in deployment.connections:
        every = listed(one.synapses, edits_of(deployment, one.name))
        fields = to_field(every.weights, one.weight_bits, one.sign_mode)
        others = [np.zeros_like(every.weights)] + [
            from_field(fields ^ (1 << bit), one.weight_bits, one.sign_mode) for bit in range(one.weight_bits)
        ]
        for at, (source, target) in enumerate(zip(every.sources, every.targets, strict=True)):
            found += [(SetSynapses(one.name, source[None], target[None], other[at][None]),) for other in others]
    for layer in deployment.populations:
        found += [(Silence(layer.name, np.array([neuron])),) for neuron in range(layer.size)]
    return found


def sums_are_plain(deployment: Deployment, inputs: Inputs) -> bool:
    return not golden(deployment, inputs, threads=1).flat.net.groups["right"].any()


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize(("exponent", "bits"), PAIRS)
def test_every_single_fault_is_followed_along_plain_sums_and_gives_what_the_exact_engine_gives(
    exponent: int, bits: int, convolutional: bool
) -> None:
    deployment, inputs = small(exponent, bits, convolutional=convolutional)
    assert sums_are_plain(deployment, inputs)
    whole, faults = golden(deployment, inputs, threads=1), single_faults(deployment)
    assert all(not_followed(deployment, edits) is None for edits in faults)
    found = effects(edit_rows(whole, faults), threads=1, changes=True).changes
    assert found is not None
    predictions = np.repeat(whole.predictions[None], len(faults), axis=0)
    predictions[found.faults, found.samples] = found.predictions
    engine = ExactEngine(threads=1)
    assert len(np.unique(predictions, axis=0)) >= 2
    for own, edits in zip(predictions, faults, strict=True):
        np.testing.assert_array_equal(own, engine.run(deployment.with_damage(Damage(edits)), inputs).predictions)


@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.parametrize(("exponent", "bits"), PAIRS)
def test_weights_without_their_exponent_give_the_steps_of_the_plain_engine(exponent: int, bits: int, convolutional: bool) -> None:
    deployment, inputs = small(exponent, bits, convolutional=convolutional)
    for edits in [(), *single_faults(deployment)[::23]]:
        hurt = deployment.with_damage(Damage(edits))
        one, other = (engine.run(hurt, inputs, record=("v",)) for engine in (ExactEngine(threads=1), StepwiseEngine()))
        for name, traces in one.traces.items():
            np.testing.assert_array_equal(traces.v, other.traces[name].v)


def odd(values: list[int] | None = None, *, exponent: int = -1, vth: int = 4) -> Deployment:
    """Many inputs into two relays; these into two neurons over magnitudes of 8 bits, which may be odd, and on into two outputs."""
    weights = np.array([[6, 4], [2, 8]] if values is None else [values, [2, 8]], np.int32)
    relays = population("relays", (2,), Dense(np.eye(2, 60, dtype=np.int32) * 200))
    last = population("output", (2,), Dense(np.array([[2, 4], [6, 0]])), vth=131072, fires=False)
    layers = [
        population("input", (60,)),
        relays,
        population("hidden", (2,), Dense(weights), exponent=exponent, sign_mode="excitatory", vth=vth),
        last,
    ]
    return chip(layers, 3, readout="potential")


def test_sums_by_hand() -> None:
    """(6·1 + 4·1) ≫ 1 = 5 ≥ 5 is what arrives; with 5 in place of 6 (5 + 4) ≫ 1 = 4: bits of the sum are cut off, not of its parts."""
    both = Inputs(events=np.ones((1, 3, 60), bool))
    for values, v in (([6, 4], 5), ([5, 4], 4), ([7, 4], 5), ([5, 5], 5)):
        assert ExactEngine().run(odd(values, vth=1000), both, record=("v",)).traces["hidden"].v[0, 0, 0] == v << 6
    assert sums_are_plain(odd(), both)
    assert not sums_are_plain(odd([5, 4]), both)
    assert not sums_are_plain(odd(exponent=-2), both)


def held(value: int, **how: float) -> SetSynapses:
    """One synapse that reads a value, whatever makes it do so."""
    fields = {name: np.array([number], np.float64 if name in ("factor", "offset") else np.int32) for name, number in how.items()}
    return SetSynapses("hidden", np.array([0]), np.array([0]), np.array([value], np.int32), **fields)


@pytest.mark.parametrize(
    ("edit", "rounded"),
    [
        (held(8), False),
        (held(7), True),
        (held(4, flips=2), False),
        (held(4, flips=3), True),
        (held(6, keep=254, force=2), False),
        (held(6, keep=254, force=1), True),
        (held(4, factor=0.8, offset=0), True),
        (SetDelays("hidden", np.array([0]), np.array([0]), np.array([1])), False),
    ],
)
def test_a_weight_that_damage_makes_odd_is_run_exactly_and_said(edit: SetSynapses | SetDelays, rounded: bool) -> None:
    rng = np.random.default_rng(7)
    deployment, inputs = odd(), Inputs(events=rng.random((5, 3, 60)) < 0.7)
    hurt = deployment.with_damage(Damage((edit,)))
    engine = IncrementalEngine(threads=1)
    said = engine.explained(hurt, 5, together=9)
    assert ("exponent -1 cuts bits off" in said) == rounded
    assert (not_followed(deployment, (edit,)) is not None) == rounded
    np.testing.assert_array_equal(engine.run_many([hurt, deployment], inputs)[0].scores, ExactEngine().run(hurt, inputs).scores)


def test_a_weight_that_is_odd_for_some_steps_is_run_exactly() -> None:
    edit = SetSynapses("hidden", np.array([0]), np.array([0]), np.array([7], np.int32), When(1, 2))
    deployment, inputs = odd(), Inputs(events=np.ones((2, 3, 60), bool))
    hurt = deployment.with_damage(Damage((edit,)))
    assert "cuts bits off" in IncrementalEngine(threads=1).explained(hurt, 2)
    np.testing.assert_array_equal(IncrementalEngine(threads=1).run(hurt, inputs).scores, StepwiseEngine().run(hurt, inputs).scores)


def test_an_atlas_follows_the_bits_that_leave_weights_even_and_runs_the_others_exactly() -> None:
    deployment, rng = odd(), np.random.default_rng(5)
    inputs, labels = Inputs(events=rng.random((9, 3, 60)) < 0.6), np.arange(9) % 2
    followed = able(golden(deployment, inputs, threads=1), all_sites(deployment, "synapse_bit_flip", "any"))
    found = atlas(deployment, inputs, labels, "synapse_bit_flip", layer="any")
    sites, rounded = found.sites, found.layers.index("hidden")
    own = (sites["layer"] == rounded) & (sites["bit"] == 0)
    assert own.sum() == 4
    np.testing.assert_array_equal(followed, np.flatnonzero(~own))
    healthy = ExactEngine(1).run(deployment, inputs).predictions
    for row, one in enumerate(all_sites(deployment, "synapse_bit_flip", "any").edits):
        predictions = ExactEngine(1).run(deployment.with_damage(Damage(one)), inputs).predictions
        assert sites["changed"][row] == np.count_nonzero(predictions != healthy)
