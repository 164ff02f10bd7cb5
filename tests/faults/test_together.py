"""Two faults in one place, by hand: each kind beside its siblings, in either order of the list."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import chain, mlp, neurons, small_profile

from neurofault import faults
from neurofault.deploy.memory import settled, stored_weights, write, write_delays
from neurofault.engines.exact.engine import ExactEngine
from neurofault.graph import Dense
from neurofault.inputs import Inputs

STEPS = 16


def chip_of(weight, delay=None):
    """One dense layer behind inputs that are given."""
    weight = np.asarray(weight, np.int32)
    populations = [
        neurons("input", (weight.shape[1],), is_source=True), neurons("hidden1", (weight.shape[0],), vth=10**5), neurons("output", (1,)),
    ]  # fmt: skip
    synapses = [Dense(weight, delay), Dense(np.full((1, weight.shape[0]), 2, np.int32))]
    return chain(populations, synapses, neurons_per_core=8, timesteps=STEPS, profile=small_profile(columns=4, rows=4))


ONE = chip_of([[0]])


def once(at, clock="presentation"):
    return {"kind": "once", "at": at, "clock": clock}


def flip(bit, when=None):
    return {"kind": "synapse_bit_flip", "layer": "hidden1", "synapse_bits": [[0, 0, bit]], **({"when": when} if when else {})}


def stuck(bit, level, when=None):
    return {
        "kind": "synapse_bit_stuck", "layer": "hidden1", "synapse_bits": [[0, 0, bit]], "level": level, **({"when": when} if when else {}),
    }  # fmt: skip


def dead(when=None):
    return {"kind": "synapse_dead", "layer": "hidden1", "synapses": [[0, 0]], **({"when": when} if when else {})}


def weights(chip, given=None, samples=1, neuron=0):
    """What a neuron gets in each step, over 64, when all inputs fire, or those given."""
    events = np.zeros((samples, STEPS, chip.population("input").size), bool)
    events[:, :, slice(None) if given is None else given] = True
    u = ExactEngine().run(chip, Inputs(events=events), record=("u",)).traces["hidden1"].u
    return (u[:, :, neuron] // 64).reshape(-1).tolist()


def runs(*parts):
    """[(length, value), …] as a list."""
    return [value for length, value in parts for _ in range(length)]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (flip(5, once(4)), flip(2, once(8)), runs((4, 0), (4, 64), (8, 72))),
        (flip(5, once(4)), flip(5, once(8)), runs((4, 0), (4, 64), (8, 0))),
        (stuck(5, 1, {"kind": "death", "at": 4, "clock": "presentation"}), flip(2, once(8)), runs((4, 0), (4, 64), (8, 72))),
        (stuck(5, 0, {"kind": "transient", "start": 4, "stop": 12}), flip(5, once(8)), runs((12, 0), (4, 64))),
        (flip(5, once(4)), flip(2), runs((4, 8), (12, 72))),
        (flip(5, {"kind": "transient", "start": 4, "stop": 12}), flip(2, once(8)), runs((4, 0), (4, 64), (4, 72), (4, 8))),
        (dead(once(4)), flip(2), runs((4, 8), (12, 0))),
        (dead({"kind": "transient", "start": 4, "stop": 8}), flip(2, once(6)), runs((8, 0), (8, 8))),
        (flip(5), stuck(2, 1, {"kind": "periodic", "period": 2}), runs(*[(1, 72), (1, 64)] * 8)),
    ],
)
def test_flips_and_stuck_bits_of_one_word(first, second, wanted, turned):
    hurt = faults.inject(ONE, [second, first] if turned else [first, second])
    assert weights(hurt) == wanted
    assert weights(faults.inject(faults.inject(ONE, second if turned else first), first if turned else second)) == wanted


def test_of_two_levels_of_one_bit_the_later_in_the_list_is_read():
    late = {"kind": "transient", "start": 4, "stop": 12}
    assert weights(faults.inject(ONE, [stuck(5, 1), stuck(5, 0, late)])) == runs((4, 64), (8, 0), (4, 64))
    assert weights(faults.inject(ONE, [stuck(5, 0, late), stuck(5, 1)])) == runs((16, 64))


def test_drift_is_of_what_is_stored_then():
    drift = {"kind": "synapse_perturbed", "layer": "hidden1", "synapses": [[0, 0]], "sigma": 0.5, "when": once(8)}
    eight = chip_of([[8]])
    alone = faults.inject(eight, drift, seed=3)
    (edit,) = alone.damage.edits
    both = faults.inject(eight, [flip(5, once(4)), drift], seed=3)
    drifted = int(np.rint(72 * edit.factor[0] / 2)) * 2
    assert weights(both) == runs((4, 8), (4, 72), (8, drifted))
    assert drifted != 72


@pytest.mark.parametrize("kind", ["memory_word_dead", "word_header"])
def test_a_lost_word_overrides_what_flips_in_it(kind):
    site = {"words": [[1, 0]]} if kind == "memory_word_dead" else {"headers": [[1, 0]]}
    gone = {"kind": kind, "layer": "hidden1", **site, "when": {"kind": "transient", "start": 4, "stop": 12}}
    for order in ([gone, flip(2, once(8))], [flip(2, once(8)), gone]):
        assert weights(faults.inject(ONE, order)) == runs((12, 0), (4, 8))


def test_a_shifted_header_reads_the_broken_cell_of_its_neighbour():
    chip = chip_of([[10], [20], [30]])
    header = {"kind": "word_header", "layer": "hidden1", "headers": [[1, 0]], "effect": "shifted"}
    for order in ([header, flip(5, once(8))], [flip(5, once(8)), header]):
        hurt = faults.inject(chip, order)
        assert weights(hurt, neuron=1) == runs((8, 10), (8, 74))
        assert weights(hurt, neuron=0) == runs((16, 30))


ROW = chip_of([[10, 20], [30, 40], [50, 60]], np.array([[0, 2], [0, 2], [0, 2]]))
ENTRY = {"kind": "axon_misrouted", "layer": "hidden1", "axons": [[0, 1]]}


@pytest.mark.parametrize(
    ("broken", "wanted"),
    [
        ({"kind": "synapse_dead", "synapses": [[1, 0]]}, runs((16, 0))),
        ({"kind": "synapse_stuck", "synapses": [[1, 0]], "value": 40}, runs((2, 0), (14, 40))),
        ({"kind": "synapse_bit_flip", "synapse_bits": [[1, 0, 5]], "when": once(8)}, runs((2, 0), (8, 20), (6, 84))),
        ({"kind": "synapse_delay", "synapses": [[1, 0]], "bit": 2}, runs((5, 0), (11, 20))),
        ({"kind": "memory_word_dead", "words": [[1, 2]]}, runs((16, 0))),
        ({"kind": "synapse_dead", "synapses": [[0, 0]]}, runs((2, 0), (14, 20))),
    ],
)
def test_a_misrouted_axon_reads_the_row_as_it_is(broken, wanted):
    for order in ([broken | {"layer": "hidden1"}, ENTRY], [ENTRY, broken | {"layer": "hidden1"}]):
        assert weights(faults.inject(ROW, order), given=[0]) == wanted


def test_an_entry_that_is_misrouted_twice_points_where_the_later_says():
    chip = chip_of([[10, 20, 30]])
    twice = faults.inject(chip, [ENTRY, ENTRY], seed=1)
    rows = [int(edit.of_sources[0]) for edit in twice.damage.edits]
    assert weights(twice, given=[0])[-1] == (rows[1] + 1) * 10


VALUES = {"vth": 320, "dv": 300, "du": 800, "bias_mantissa": 200}


def neurons_of(**changed):
    """Four neurons, some of whose fields differ."""
    base = mlp(3, 4, 2, timesteps=STEPS)
    fields = {name: np.full(4, value, np.int32) for name, value in VALUES.items()}
    for name, value in changed.items():
        fields[name][3] = value
    return base.with_population(replace(base.population("hidden1"), **fields))


def potential(chip):
    inputs = Inputs(bias=np.full((1, 3), 3000, np.int32))
    return ExactEngine().run(chip, inputs, record=("v",)).traces["hidden1"].v.tolist()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("when", [{"kind": "permanent"}, {"kind": "intermittent", "on": 3, "off": 3, "start": 0, "clock": "chip"}])
@pytest.mark.parametrize(
    ("kind", "field", "more"),
    [("neuron_threshold", "vth", {}), ("neuron_leak", "dv", {"decay": "dv"}), ("neuron_leak", "du", {"decay": "du"}), ("neuron_bias", "bias_mantissa", {})],
)  # fmt: skip
def test_changes_of_one_parameter_add_up(kind, field, more, when, turned):
    where = {"kind": kind, "layer": "hidden1", "neurons": [3], "when": when, **more}
    low, high = where | {"bit": 6}, where | {"bit": 8, "when": {"kind": "permanent"}}
    both = faults.inject(neurons_of(), [high, low] if turned else [low, high])
    assert potential(both) == potential(faults.inject(neurons_of(**{field: VALUES[field] ^ 256}), low))
    if when["kind"] == "permanent":
        assert potential(both) == potential(neurons_of(**{field: VALUES[field] ^ 320}))
    assert potential(faults.inject(neurons_of(), [low, low])) == potential(neurons_of())
    halves = faults.inject(neurons_of(), [where | {"factor": 0.5}, where | {"factor": 0.5}])
    assert potential(halves) == potential(faults.inject(neurons_of(), where | {"factor": 0.25}))


def test_flips_of_one_delay_field_add_up():
    chip = chip_of([[10]], np.array([[1]]))
    delay = {"kind": "synapse_delay", "layer": "hidden1", "synapses": [[0, 0]]}
    assert weights(faults.inject(chip, [delay | {"bit": 0}, delay | {"bit": 1}])) == runs((2, 0), (14, 10))
    assert weights(faults.inject(chip, [delay | {"bit": 1}, delay | {"bit": 1}])) == runs((1, 0), (15, 10))
    written = write_delays(faults.inject(chip, delay | {"bit": 1}), "hidden1", np.array([[2]]))
    assert weights(written) == runs((2, 0), (14, 10))


def test_two_upsets_of_one_state_bit_in_one_step_are_none():
    upset = {"kind": "state_upset", "layer": "hidden1", "neurons": [0], "bit": 20, "when": once(5)}
    inputs = Inputs(events=np.ones((1, STEPS, 1), bool))
    v = [
        ExactEngine().run(faults.inject(ONE, [upset] * times), inputs, record=("v",)).traces["hidden1"].v.tolist() for times in (0, 1, 2)
    ]  # fmt: skip
    assert v[0] == v[2] != v[1]


@pytest.mark.parametrize(
    ("when", "now", "wanted"),
    [
        ({"kind": "permanent"}, 0, runs((32, 100))),
        (once(3), 0, runs((3, 100), (13, 36), (3, 100), (13, 36))),
        (once(20, "chip"), 0, runs((18, 100), (14, 36))),
        (once(20, "chip"), 19, runs((18, 100), (14, 36))),
        (once(20, "chip"), 20, runs((32, 100))),
        ({"kind": "death", "at": 20, "clock": "chip"}, 40, runs((32, 100))),
        ({"kind": "ageing", "start": 4, "stop": 20, "clock": "chip"}, 40, runs((32, 100))),
        ({"kind": "transient", "start": 20, "stop": 24, "clock": "chip"}, 40, runs((18, 100), (4, 36), (10, 100))),
    ],
)
def test_a_write_mends_what_has_happened_and_nothing_else(when, now, wanted):
    hurt = faults.inject(chip_of([[6]]), flip(5, when))
    assert weights(write(hurt, "hidden1", np.array([[100]]), now=now), samples=2) == wanted


def test_what_has_happened_and_is_not_written_stays():
    hurt = faults.inject(chip_of([[6], [6]]), {**flip(5, once(20, "chip")), "synapse_bits": [[0, 0, 5], [0, 1, 5]]})
    after = write(hurt, "hidden1", np.array([[100], [100]]), np.array([[True], [False]]), now=20)
    assert weights(after, neuron=0) == runs((16, 100))
    assert weights(after, neuron=1) == runs((16, 70))
    assert stored_weights(settled(hurt, 20), "hidden1").tolist() == [[70], [70]]
    assert settled(hurt, 19) is hurt


def test_a_write_goes_under_a_bit_that_is_stuck_later():
    hurt = faults.inject(ONE, stuck(5, 1, {"kind": "transient", "start": 4, "stop": 8}))
    assert weights(write(hurt, "hidden1", np.array([[8]]))) == runs((4, 8), (4, 72), (8, 8))


def test_nothing_is_written_where_an_entry_points_elsewhere():
    hurt = write(faults.inject(ROW, ENTRY), "hidden1", np.full((3, 2), 100))
    assert weights(hurt, given=[0])[-1] == 100  # the other row was written
    assert hurt.connection("hidden1").synapses.weight.tolist() == [[10, 100], [30, 100], [50, 100]]
