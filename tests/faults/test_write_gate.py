from __future__ import annotations

import numpy as np
import pytest
from fault_chips import mlp, with_synapses
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_kind import CHIPS, field_of, weight_of

from neurofault import faults
from neurofault.deploy.memory import stored_weights, write, write_gate
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.graph import Dense

CHIP = CHIPS["dense"]


def rewritten(damaged, weights):
    """Write and read back."""
    return stored_weights(write(damaged, "hidden1", weights), "hidden1")


def test_a_stuck_bit_survives_a_write():
    stuck = faults.inject(CHIP, faults.SynapseBitStuck(rate=1.0, bits="7", level=1, layer="hidden1"))
    held = rewritten(stuck, np.full((7, 6), 100))
    assert (held == 100 - 256).all()
    held = rewritten(faults.inject(CHIP, faults.SynapseBitStuck(rate=1.0, bits="1", level=0, layer="hidden1")), np.full((7, 6), 6))
    assert (held == 2).all()


def test_a_flipped_bit_does_not_survive_being_rewritten():
    weight = CHIP.connection("hidden1").synapses.weight
    flipped = faults.inject(CHIP, faults.SynapseBitFlip(rate=1.0, bits="msb", layer="hidden1"))
    assert (stored_weights(flipped, "hidden1") != weight).all()
    written = write(flipped, "hidden1", weight)
    np.testing.assert_array_equal(stored_weights(written, "hidden1"), weight)
    inputs = CHIP.encode(np.random.default_rng(1).integers(0, 256, (4, 6)).astype(np.uint8))
    np.testing.assert_array_equal(ExactEngine().run(written, inputs).scores, ExactEngine().run(CHIP, inputs).scores)


def test_a_dead_core_accepts_no_write():
    core = int(CHIP.placement.core_of["hidden1"][2])
    dead = faults.inject(CHIP, faults.CoreDead(cores=[core]))
    held = rewritten(dead, np.full((7, 6), 50))
    here = CHIP.placement.core_of["hidden1"] == core
    np.testing.assert_array_equal(held[here], CHIP.connection("hidden1").synapses.weight[here])
    assert (held[~here] == 50).all()


def test_a_dead_synapse_stays_dead_and_a_stuck_one_stays_stuck():
    damaged = faults.inject(
        CHIP,
        [faults.SynapseDead(synapses=[(0, 1)], layer="hidden1"), faults.SynapseStuck(synapses=[(2, 3)], value=40, layer="hidden1")],
    )
    held = rewritten(damaged, np.full((7, 6), 90))
    assert (held[1, 0], held[3, 2]) == (0, 40)
    assert (np.delete(held.ravel(), [1 * 6 + 0, 3 * 6 + 2]) == 90).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.sampled_from(["stuck0", "stuck1", "flip", "dead", "core"]), max_size=4))
def test_any_write_keeps_every_stuck_bit_and_nothing_else(seed, kinds):
    rng = np.random.default_rng(seed)
    masks = {pair: list("........") for pair in np.ndindex(7, 6)}
    dead_rows: set = set()
    damaged = CHIP
    for kind in kinds:
        source, target, bit = int(rng.integers(6)), int(rng.integers(7)), int(rng.integers(8))
        match kind:
            case "stuck0" | "stuck1":
                level = int(kind[-1])
                fault = faults.SynapseBitStuck(synapse_bits=[(source, target, bit)], level=level, layer="hidden1")
                masks[target, source][7 - bit] = str(level)
            case "flip":
                fault = faults.SynapseBitFlip(synapse_bits=[(source, target, bit)], layer="hidden1")
            case "dead":
                fault = faults.SynapseDead(synapses=[(source, target)], layer="hidden1")
                masks[target, source] = list("00000000")
            case _:
                core = int(CHIP.placement.core_of["hidden1"][target])
                fault = faults.CoreDead(cores=[core])
                dead_rows |= set(np.flatnonzero(CHIP.placement.core_of["hidden1"] == core).tolist())
        damaged = faults.inject(damaged, fault)
    asked = rng.integers(-400, 400, (7, 6))
    before, held = stored_weights(damaged, "hidden1"), rewritten(damaged, asked)
    for target, source in np.ndindex(7, 6):
        if target in dead_rows:
            assert held[target, source] == before[target, source]
            continue
        wanted = int(np.clip(asked[target, source], -256, 254)) >> 1 << 1
        text = "".join(bit if mask == "." else mask for bit, mask in zip(field_of(wanted), masks[target, source], strict=True))
        assert held[target, source] == weight_of(text)


def test_one_sign_fields_are_written_within_their_sign():
    base = mlp(4, 4, 2)
    for mode, low, high in (("excitatory", 0, 255), ("inhibitory", -255, 0)):
        chip = with_synapses(base, "hidden1", Dense(np.zeros((4, 4), np.int32)), sign_mode=mode)
        held = rewritten(chip, np.array([[-999, -3, 3, 999]] * 4))
        assert held[0].tolist() == np.clip([-999, -3, 3, 999], low, high).tolist()


def test_convolutions_are_not_written():
    with pytest.raises(UsageError) as error:
        write_gate(CHIPS["conv"], "conv1")
    assert str(error.value) == "layer 'conv1' is not dense: only dense layers can be written"
