from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import EVERYWHERE
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_kind import CHIPS, EXTRA, WHENS, at_time

from neurofault import faults
from neurofault.engines.exact.engine import ExactEngine
from neurofault.faults.masking import prune

KINDS = sorted(set(EVERYWHERE) - {"feedback_dead"})  # no feedback reaches a convolution


def quiet(chip):
    """The same chip with some neurons that never spike on dark images."""
    populations = [
        replace(one, vth=np.where(np.arange(one.size) % 3 == 1, 131071, one.vth).astype(np.int32)) for one in chip.populations
    ]
    return replace(chip, populations=tuple(populations))


QUIET = {name: quiet(chip) for name, chip in CHIPS.items()}


@settings(max_examples=70, deadline=None)
@given(
    st.sampled_from(sorted(QUIET)),
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(sorted(WHENS))), min_size=1, max_size=3),
    st.integers(0, 99),
)
def test_a_pruned_plan_gives_the_same_spikes(net, chosen, seed):
    chip = QUIET[net]
    specs = []
    for kind, when in chosen:
        specs.append({"kind": kind, "rate": 0.4, "when": at_time(kind, when), **EXTRA.get(kind, {})})
    plan = faults.plan(chip, specs, seed=seed)
    images = (np.random.default_rng(seed).integers(0, 2, (2, chip.populations[0].size)) * 200).astype(np.uint8)
    images[:, ::2] = 0
    inputs = chip.encode(images)
    masked = prune(chip, plan, ExactEngine().run(chip, inputs).spike_counts)
    assert 0 <= masked.masked <= masked.sites
    whole, pruned = (ExactEngine().run(faults.inject(chip, one), inputs, record=("spikes",)) for one in (plan, masked.plan))
    np.testing.assert_array_equal(whole.scores, pruned.scores)
    for name, trace in whole.traces.items():
        np.testing.assert_array_equal(trace.spikes, pruned.traces[name].spikes)


def left(net, fault, images):
    chip = QUIET[net]
    plan = faults.plan(chip, fault)
    masked = prune(chip, plan, ExactEngine().run(chip, chip.encode(images)).spike_counts)
    return masked, masked.plan.faults[0].edits


DARK = np.zeros((2, 6), np.uint8)


@pytest.mark.parametrize(
    "fault",
    [
        faults.SynapseDead(rate=1.0, layer="hidden1"),
        faults.SynapseDelay(rate=1.0, layer="hidden1"),
        faults.AxonLost(rate=1.0, layer="hidden1"),
        faults.SynapseBitFlip(rate=1.0, layer="hidden1"),
    ],
)
def test_synapses_of_a_dark_input_cannot_matter(fault):
    masked, edits = left("dense", fault, DARK)
    assert edits == ()
    assert masked.masked == masked.sites > 0


def test_a_bit_stuck_at_what_it_was_cannot_matter():
    chip = QUIET["dense"]
    images = np.full((2, 6), 255, np.uint8)
    weight = chip.connection("hidden1").synapses.weight
    _, edits = left("dense", faults.SynapseBitStuck(rate=1.0, bits="msb", level=1, layer="hidden1"), images)
    spikes = ExactEngine().run(chip, chip.encode(images)).spike_counts["input"] > 0
    assert {(s, t) for s, t in zip(edits[0].sources.tolist(), edits[0].targets.tolist(), strict=True)} == {
        (s, t) for t in range(7) for s in range(6) if weight[t, s] >= 0 and spikes[s]
    }


def test_a_current_without_memory_cannot_be_upset():
    chip = QUIET["dense"]
    _, edits = left("dense", faults.StateUpset(rate=1.0, layer="hidden1", state="u", when=faults.once(2)), DARK)
    assert edits[0].neurons.tolist() == np.flatnonzero(chip.population("hidden1").du != 4095).tolist()
    _, edits = left("dense", faults.StateUpset(rate=1.0, layer="hidden1", state="v", when=faults.once(2)), DARK)
    assert len(edits[0].neurons) == 7


def test_what_makes_a_source_fire_unmasks_its_synapses():
    chip = QUIET["dense"]
    plan = faults.plan(chip, [faults.SynapseDead(rate=1.0, layer="hidden1"), faults.NeuronSaturated(neurons=[0], layer="input")])
    masked = prune(chip, plan, ExactEngine().run(chip, chip.encode(DARK)).spike_counts)
    assert len(masked.plan.faults[0].edits[0].sources) > 0


def test_nothing_is_pruned_on_a_damaged_chip():
    chip = faults.inject(QUIET["dense"], faults.NeuronDead(neurons=[0], layer="input"))
    plan = faults.plan(chip, faults.SynapseDead(rate=1.0, layer="hidden1"))
    masked = prune(chip, plan, ExactEngine().run(chip, chip.encode(DARK)).spike_counts)
    assert masked.plan is plan
    assert masked.masked == 0
