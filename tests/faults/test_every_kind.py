"""Each kind does what its equation says, worked out here from the healthy chip by other means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import EVERYWHERE, cnn, encoded, even, from_sample, mlp, pairs_of, small_profile, with_synapses
from reference import present

from neurofault import faults
from neurofault.damage.damage import (
    Damage,
    Detour,
    Drop,
    Force,
    InputNoise,
    LearningDefect,
    SetDelays,
    SetField,
    SetSynapses,
    Stall,
    Upset,
)
from neurofault.deploy.routing import topology
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError, StalledError
from neurofault.faults.places import weights_at
from neurofault.graph import Conv, Dense

WHENS = {
    "permanent": {"kind": "permanent"},
    "transient": {"kind": "transient", "start": 1, "stop": 3},
    "intermittent": {"kind": "intermittent", "on": 2, "off": 1, "clock": "chip"},
    "periodic": {"kind": "periodic", "period": 2, "start": 1},
    "once": {"kind": "once", "at": 2},
    "death": {"kind": "death", "at": 7, "clock": "chip"},
    "ageing": {"kind": "ageing", "start": 2, "stop": 9, "clock": "chip"},
}
EXTRA = {
    "neuron_threshold": {"factor": 0.3},
    "neuron_leak": {"bit": 11},
    "neuron_bias": {"factor": 0.0},
    "sensor_noisy": {"sigma": 0.5, "each": "step"},
    "link_lossy": {"probability": 0.5},
    "core_hung": {"on_core_death": "silent"},
}


def at_time(kind, when):
    """A time of this kind, on a clock of the fault's; another where the fault cannot be at such a time."""
    model = faults.KINDS[kind]
    when = WHENS[when if when in model.whens else model.whens[0]]
    return (
        when
        if when["kind"] == "permanent" or when.get("clock", "presentation") in model.clocks
        else {**when, "clock": model.clocks[0]}
    )


SENSED = {"input"}
LEARNING = {model.kind for model in faults.FAMILIES["learning"]}


def lively(chip):
    """The same chip with neurons that fire often, and input neurons that follow the pixels."""
    rng = np.random.default_rng(5)
    populations = [
        replace(
            one,
            du=rng.choice([1500, 4095], one.size).astype(np.int32),
            dv=rng.choice([0, 300], one.size).astype(np.int32),
            vth=rng.integers(20, 120, one.size).astype(np.int32),
            bias_mantissa=rng.integers(0, 3000, one.size).astype(np.int32) * (not one.is_source),
        )
        for one in chip.populations
    ]
    chip = replace(chip, populations=tuple(populations), timesteps=5, readout=replace(chip.readout, how="count"))
    return encoded(chip, np.arange(256, dtype=np.int32) * 30)


CONV = Conv(even(np.random.default_rng(2), (2, 1, 2, 2)), in_shape=(1, 3, 3), padding=(1, 1), stride=(2, 1))
CHIPS = {
    "dense": lively(mlp(6, 7, 5, 4, neurons_per_core=2)),
    "conv": lively(cnn(CONV, neurons_per_core=3)),
    "shared": lively(cnn(CONV, neurons_per_core=3, profile=small_profile(shared_kernels=True))),
}


@pytest.mark.parametrize("net", CHIPS)
@pytest.mark.parametrize(
    ("kind", "when"), [(kind, when) for kind, model in EVERYWHERE.items() for when in model.whens], ids="-".join
)
def test_every_kind_at_every_time_equals_plain_integers(kind, when, net):
    chip = CHIPS[net]
    if kind == "feedback_dead" and net != "dense":  # no feedback reaches a convolution
        with pytest.raises(FaultError, match="layer 'hidden' has no feedback synapses"):
            faults.inject(chip, {"kind": kind, "count": 2})
        return
    hurt = faults.inject(chip, {"kind": kind, "count": 2, "when": at_time(kind, when), **EXTRA.get(kind, {})}, seed=4)
    assert hurt.damage.edits
    (hit,) = hurt.damage.hits
    assert hit.cores
    assert (when == "permanent") == (not any(note.startswith("acts: ") for note in hit.notes))
    images = np.random.default_rng(1).integers(0, 256, (2, chip.population("input").size)).astype(np.uint8)
    inputs = from_sample(chip.encode(images), 1)
    activity = ExactEngine().run(hurt, inputs, record=("u", "v", "spikes"))
    for population, wanted in present(hurt, inputs).items():
        for name in ("u", "v", "spikes"):
            np.testing.assert_array_equal(getattr(activity.traces[population], name), wanted[name], err_msg=f"{population} {name}")


@pytest.mark.parametrize("kind", [kind for kind, model in EVERYWHERE.items() if kind not in ("core_hung",)])
def test_an_effect_is_there_and_goes_when_undone(kind):
    chip = CHIPS["dense"]
    what = {"kind": kind, "rate": 1.0, **EXTRA.get(kind, {})}
    if faults.KINDS[kind].whens == ("once",):
        what["when"] = {"kind": "once", "at": 2}
    if "sensor" not in kind and kind != "error_dead":
        what["layer"] = "any" if "dead" in kind or "layer" in kind else "hidden"
    hurt = faults.inject(chip, what)
    inputs = chip.encode(np.random.default_rng(1).integers(0, 256, (6, 6)).astype(np.uint8))
    healthy = ExactEngine().run(chip, inputs)
    broken = ExactEngine().run(hurt, inputs)
    assert (healthy.scores == broken.scores).all() == (kind in LEARNING)
    restored = chip.with_damage(hurt.damage.without(-1))
    assert restored.damage == Damage()
    np.testing.assert_array_equal(ExactEngine().run(restored, inputs).scores, healthy.scores)


def edit_of(chip, fault, **keys):
    (planned,) = faults.plan(chip, fault, **keys).faults
    (edit,) = planned.edits
    return edit


def field_of(weight):
    """8-bit two's complement of an even weight, as text."""
    return format((weight // 2) % 256, "08b")


def weight_of(text):
    value = int(text, 2)
    return 2 * (value - 256 if text[0] == "1" else value)


@pytest.mark.parametrize("bit", range(8))
def test_a_flip_is_in_the_stored_field(bit):
    chip = CHIPS["dense"]
    for source, target in ((0, 0), (3, 6)):
        before = int(chip.connection("hidden1").synapses.weight[target, source])
        edit = edit_of(chip, faults.SynapseBitFlip(synapse_bits=[(source, target, bit)], layer="hidden1"))
        text = list(field_of(before))
        text[7 - bit] = "10"[int(text[7 - bit])]
        assert edit.values.tolist() == [weight_of("".join(text))]
        assert edit.keep is None
        assert abs(int(edit.values[0]) - before) == 2 << bit


@pytest.mark.parametrize(("mode", "low", "high"), [("excitatory", 0, 255), ("inhibitory", -255, 0)])
@pytest.mark.parametrize("bits", [8, 4])
def test_flips_of_one_sign_fields_keep_the_sign(mode, low, high, bits):
    weights = (np.arange(16).reshape(4, 4) << (8 - bits)) * (1 if mode == "excitatory" else -1)
    base = mlp(4, 4, 2)
    chip = with_synapses(base, "hidden1", Dense(weights.astype(np.int32)), sign_mode=mode, weight_bits=bits)
    edit = edit_of(chip, faults.SynapseBitFlip(rate=1.0))
    assert len(edit.values) == 16
    assert (edit.values >= low).all()
    assert (edit.values <= high).all()
    magnitude = np.abs(weights[edit.targets, edit.sources]) >> (8 - bits)
    assert (np.abs(edit.values) == ((2**bits - 1 - magnitude) << (8 - bits))).all()


def test_flipping_every_bit_twice_is_nothing_and_once_is_the_complement():
    chip = CHIPS["dense"]
    weight = chip.connection("hidden1").synapses.weight
    once = faults.inject(chip, faults.SynapseBitFlip(rate=1.0, layer="hidden1"))
    edit = once.damage.edits[0]
    assert (edit.values == -2 - weight[edit.targets, edit.sources]).all()
    twice = faults.inject(once, faults.SynapseBitFlip(rate=1.0, layer="hidden1"))
    assert (twice.damage.edits[1].values == weight[edit.targets, edit.sources]).all()


def test_the_rate_of_flips_is_per_bit():
    chip = mlp(60, 50, 4, neurons_per_core=16)
    numbers = []
    for draw in range(40):
        edit = edit_of(chip, faults.SynapseBitFlip(rate=0.001), draw=draw)
        weight = chip.connection("hidden1").synapses.weight[edit.targets, edit.sources]
        numbers.append(sum((field_of(int(a)) != field_of(int(b))) for a, b in zip(weight, edit.values, strict=True)))
    assert abs(np.mean(numbers) - 24) < 4 * np.sqrt(24 / 40)


@pytest.mark.parametrize(("bits", "sizes"), [("msb", {256}), ("lsb", {2}), ("0,3", {2, 16}), ("any", {2 << b for b in range(8)})])
def test_named_bits_are_the_only_ones_hit(bits, sizes):
    chip = CHIPS["dense"]
    found = set()
    for draw in range(60):
        edit = edit_of(chip, faults.SynapseBitFlip(count=1, bits=bits), draw=draw)
        found.add(
            abs(int(edit.values[0]) - int(chip.connection(edit.connection).synapses.weight[edit.targets[0], edit.sources[0]]))
        )
    assert found == sizes


@pytest.mark.parametrize("level", [0, 1])
def test_stuck_bits_read_their_level_and_never_flip(level):
    chip = CHIPS["dense"]
    sites = [(source, target, bit) for source in range(6) for target in range(7) for bit in (2, 7)]
    stuck = faults.inject(chip, faults.SynapseBitStuck(synapse_bits=sites, level=level, layer="hidden1"))
    after = faults.inject(stuck, faults.SynapseBitFlip(synapse_bits=sites, layer="hidden1"))
    for damaged in (stuck, after):
        edit = damaged.damage.edits[-1]
        for source, target, value in zip(edit.sources, edit.targets, edit.values, strict=True):
            text = list(field_of(int(chip.connection("hidden1").synapses.weight[target, source])))
            text[0] = text[5] = str(level)
            assert value == weight_of("".join(text))


def test_a_word_of_a_shared_kernel_gets_one_value_everywhere():
    chip = CHIPS["shared"]
    for fault in (
        faults.SynapseBitFlip(count=1),
        faults.SynapsePerturbed(count=1, sigma=2.0),
        faults.SynapseStuck(count=1, value=20),
    ):
        edits = [edit_of(chip, fault, draw=draw) for draw in range(12)]
        assert max(len(edit.values) for edit in edits) > 1
        for edit in edits:
            assert (
                len({int(chip.placement.core_of["conv1"][target]) for target in edit.targets}) <= 1
            )  # none: a word that nothing reads
            word = weights_at(chip, "conv1", edit.sources, edit.targets)
            assert len(set(zip(word.tolist(), edit.values.tolist(), strict=True))) <= 1


def test_a_listed_synapse_of_a_shared_kernel_takes_its_whole_word_along():
    chip = CHIPS["shared"]
    random = edit_of(chip, faults.SynapseDead(count=1), seed=3)
    listed = edit_of(chip, faults.SynapseDead(synapses=[(int(random.sources[-1]), int(random.targets[-1]))], layer="conv1"))
    pairs = [set(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True)) for edit in (random, listed)]
    assert pairs[0] == pairs[1]


def test_dead_stuck_and_saturated_synapses():
    chip = CHIPS["dense"]
    pair = [(2, 3)]
    weight = int(chip.connection("hidden1").synapses.weight[3, 2])
    values = {
        faults.SynapseDead(synapses=pair, layer="hidden1"): 0,
        faults.SynapseStuck(synapses=pair, layer="hidden1", value=77): 76,
        faults.SynapseStuck(synapses=pair, layer="hidden1", value=255): 254,
        faults.SynapseSaturated(synapses=pair, layer="hidden1", to="highest"): 254,
        faults.SynapseSaturated(synapses=pair, layer="hidden1", to="lowest"): -256,
        faults.SynapseSaturated(synapses=pair, layer="hidden1"): 254 if weight >= 0 else -256,
    }
    for fault, value in values.items():
        edit = edit_of(chip, fault)
        assert (edit.sources.tolist(), edit.targets.tolist(), edit.values.tolist()) == ([2], [3], [value])
        assert edit.keep.tolist() == [0]


@pytest.mark.parametrize("relative", [True, False])
def test_perturbed_synapses_scatter_as_asked(relative):
    chip = mlp(60, 50, 4, neurons_per_core=16)
    sigma = 0.2 if relative else 12.0
    edit = edit_of(chip, faults.SynapsePerturbed(rate=1.0, sigma=sigma, relative=relative))
    weight = chip.connection("hidden1").synapses.weight[edit.targets, edit.sources].astype(float)
    inner = np.abs(weight) < 150
    moved = (edit.values - weight)[inner] / (np.maximum(np.abs(weight[inner]), 1) if relative else 1)
    wide = np.abs(weight[inner]) > 40
    assert abs(moved[wide].std() / sigma - 1) < 0.1
    assert abs(moved[wide].mean()) < 0.1 * sigma
    assert (edit.values % 2 == 0).all()
    fewer = edit_of(chip, faults.SynapsePerturbed(rate=0.2, sigma=sigma, relative=relative))
    whole = {(s, t): v for s, t, v in zip(edit.sources.tolist(), edit.targets.tolist(), edit.values.tolist(), strict=True)}
    assert all(
        whole[s, t] == v for s, t, v in zip(fewer.sources.tolist(), fewer.targets.tolist(), fewer.values.tolist(), strict=True)
    )


def test_a_memory_word_is_a_run_of_one_axon_on_one_core():
    chip = mlp(3, 10, 2, neurons_per_core=5)  # two 8-bit weights a 16-bit word: words of 2, 2, 1 targets for each of 3 axons
    seen = []
    for word in range(9):
        edit = edit_of(chip, faults.MemoryWordDead(words=[(1, word)], layer="hidden1"))
        assert not edit.values.any()
        seen.append((edit.sources.tolist(), edit.targets.tolist()))
    assert seen[:4] == [([0, 0], [0, 1]), ([0, 0], [2, 3]), ([0], [4]), ([1, 1], [0, 1])]
    assert sum(len(sources) for sources, _ in seen) == 15
    with pytest.raises(FaultError) as error:
        faults.plan(chip, faults.MemoryWordDead(words=[(1, 9)], layer="hidden1"))
    assert str(error.value) == "memory_word_dead: no memory word 9 of layer 'hidden1' on core 1; there: 0 to 8"


def test_a_corrupt_header_loses_or_shifts_its_block():
    chip = mlp(3, 10, 2, neurons_per_core=5)
    lost = edit_of(chip, faults.WordHeader(headers=[(2, 0)], layer="hidden1"))
    assert (lost.sources.tolist(), lost.targets.tolist(), lost.values.tolist()) == ([0] * 3, [5, 6, 7], [0] * 3)
    shifted = edit_of(chip, faults.WordHeader(headers=[(2, 0), (2, 3)], layer="hidden1", effect="shifted"))
    weight = chip.connection("hidden1").synapses.weight
    wanted = {(5, 0): weight[7, 0], (6, 0): weight[5, 0], (7, 0): weight[6, 0], (8, 1): weight[9, 1], (9, 1): weight[8, 1]}
    got = {(t, s): v for s, t, v in zip(shifted.sources.tolist(), shifted.targets.tolist(), shifted.values.tolist(), strict=True)}
    assert got == wanted


def test_delays_flip_in_their_field_up_to_the_longest():
    chip = CHIPS["dense"]
    delay = np.random.default_rng(0).integers(0, 6, (7, 6))
    chip = with_synapses(chip, "hidden1", replace(chip.connection("hidden1").synapses, delay=delay))
    edit = edit_of(chip, faults.SynapseDelay(rate=1.0, bit=1, layer="hidden1"))
    assert isinstance(edit, SetDelays)
    assert (edit.delays == np.minimum(delay[edit.targets, edit.sources] ^ 2, 5)).all()
    with pytest.raises(FaultError, match=r"bit must lie in \[0, 2\]: the delay field has 3 bits, is 3"):
        faults.plan(chip, faults.SynapseDelay(count=1, bit=3))


@pytest.mark.parametrize(
    ("fault", "field", "change"),
    [
        (faults.NeuronThreshold(rate=1.0, factor=0.5), "vth", lambda x: np.rint(x * 0.5)),
        (faults.NeuronThreshold(rate=1.0, bit=16), "vth", lambda x: x + 65536),
        (faults.NeuronThreshold(rate=1.0, factor=1e6), "vth", lambda x: np.full_like(x, 2**17 - 1)),
        (faults.NeuronLeak(rate=1.0, decay="du", bit=0), "du", lambda x: x ^ 1),
        (faults.NeuronLeak(rate=1.0, offset=9999), "dv", lambda x: np.full_like(x, 4095)),
        (faults.NeuronBias(rate=1.0, bit=12), "bias_mantissa", lambda x: x - 4096),
        (faults.NeuronBias(rate=1.0, offset=-5000), "bias_mantissa", lambda x: np.maximum(x - 5000, -4096)),
    ],
)
def test_parameters_change_in_their_stored_field(fault, field, change):
    chip = CHIPS["dense"]
    plan = faults.plan(chip, fault)
    assert [edit.population for edit in plan.faults[0].edits] == ["hidden1", "hidden2"]
    for edit in plan.faults[0].edits:
        assert isinstance(edit, SetField)
        assert edit.field == field
        assert edit.values.tolist() == change(getattr(chip.population(edit.population), field)).astype(int).tolist()


def test_outputs_are_forced_at_the_rate_that_is_asked_for():
    chip = CHIPS["dense"]
    saturated = edit_of(chip, faults.NeuronSaturated(neurons=[1], layer="hidden1"))
    assert isinstance(saturated, Force)
    assert saturated.spikes(5).all()
    assert (
        edit_of(chip, faults.NeuronStuck(neurons=[1], layer="hidden1", spike_rate=0.25)).spikes(12).tolist()
        == [False, False, False, True] * 3
    )
    hurt = faults.inject(chip, faults.NeuronSaturated(neurons=[1], layer="hidden1"))
    counts = ExactEngine().run(hurt, chip.encode(np.zeros((3, 6), np.uint8))).spike_counts["hidden1"]
    assert counts[1] == 3 * chip.timesteps


def test_a_state_upset_flips_one_bit_once():
    edit = edit_of(CHIPS["dense"], faults.StateUpset(neurons=[3], layer="hidden1", state="u", bit=23, when=faults.once(4)))
    assert isinstance(edit, Upset)
    assert (edit.state, edit.masks.tolist(), edit.at, edit.clock) == ("u", [1 << 23], 4, "presentation")


def test_a_dead_sensor_reads_one_pixel_value():
    chip = CHIPS["dense"]
    images = np.random.default_rng(1).integers(0, 256, (4, 6)).astype(np.uint8)
    hurt = faults.inject(chip, faults.SensorDead(pixels=[0, 4], value=9))
    images_by_hand = images.copy()
    images_by_hand[:, [0, 4]] = 9
    one, other = (ExactEngine().run(*pair) for pair in ((hurt, chip.encode(images)), (chip, chip.encode(images_by_hand))))
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.spike_counts["input"], other.spike_counts["input"])


def test_sensor_noise_has_the_size_that_is_asked_for():
    chip = CHIPS["dense"]
    edit = edit_of(chip, faults.SensorNoisy(rate=1.0, sigma=0.1, each="step"))
    assert isinstance(edit, InputNoise)
    noise = edit.mantissas(0, 0, 500, 5)
    assert noise.shape == (500, 5, 6)
    assert abs(noise.std() / (0.1 * 255 * 30) - 1) < 0.05
    still = edit_of(chip, faults.SensorNoisy(rate=1.0, sigma=0.1)).mantissas(0, 0, 500, 5)
    assert (still == still[:, :1]).all()


def test_a_lost_axon_is_one_source_at_one_core():
    chip = CHIPS["dense"]
    core = int(chip.placement.core_of["hidden1"][2])
    edit = edit_of(chip, faults.AxonLost(axons=[(4, core)], layer="hidden1"))
    assert isinstance(edit, Drop)
    assert (edit.core, edit.sources.tolist(), edit.targets.tolist(), edit.probability) == (core, [4], [2, 3], 1.0)
    by_hand = SetSynapses("hidden1", np.array([4, 4]), np.array([2, 3]), np.zeros(2, np.int32))
    inputs = chip.encode(np.random.default_rng(1).integers(0, 256, (6, 6)).astype(np.uint8))
    one, other = (ExactEngine().run(chip.with_damage(Damage((e,))), inputs) for e in (edit, by_hand))
    np.testing.assert_array_equal(one.scores, other.scores)


def test_an_axon_lost_at_a_convolution_exists_only_where_it_sends():
    chip = CHIPS["conv"]
    with pytest.raises(FaultError, match="no axon from neuron 8 to layer 'conv1' on core 3"):
        faults.plan(chip, faults.AxonLost(axons=[(8, 3)], layer="conv1"))


@pytest.mark.parametrize("net", ["dense", "conv"])
def test_a_misrouted_axon_reads_another_row_of_the_same_core(net):
    chip = CHIPS[net]
    name = chip.populations[1].name
    core = int(chip.placement.core_of[name][0])
    targets = np.flatnonzero(chip.placement.core_of[name] == core)
    edit = edit_of(chip, faults.AxonMisrouted(axons=[(1, core)], layer=name))
    rows = {n: {s: held for (s, t), held in pairs_of(chip.connection(name).synapses).items() if t == n} for n in targets}
    now = {int(n): 0 for n in targets} | dict(zip(edit.targets.tolist(), edit.values.tolist(), strict=True))
    others = [s for s in range(chip.population("input").size) if s != 1 and any(s in row for row in rows.values())]
    assert set(edit.sources.tolist()) == {1}
    assert any(all(now[int(n)] == rows[n].get(s, (0, 0))[0] for n in targets) for s in others)


def crossing(chip, closed):
    """(connection, source core, destination core) of the flows whose route uses a link, by the routing alone."""
    grid, found = topology(chip), set()
    for one in chip.connections:
        for source in chip.placement.cores_of(one.source):
            for core in chip.placement.cores_of(one.target):
                if source != core and closed & {(x, y, d) for x, y, d in grid.path(int(source), int(core))}:
                    found.add((one.name, int(source), int(core)))
    return found


def cut(chip, plan):
    found = set()
    for edit in plan.faults[0].edits:
        if isinstance(edit, Drop):
            one = chip.connection(edit.connection)
            assert edit.targets.tolist() == np.flatnonzero(chip.placement.core_of[one.target] == edit.core).tolist()
            homes = chip.placement.core_of[one.source]
            for source in np.unique(homes[edit.sources]):
                assert set(np.flatnonzero(homes == source)) <= set(edit.sources.tolist())
                found.add((edit.connection, int(source), edit.core))
    return found


BIG = mlp(16, 16, 16, 4, neurons_per_core=2, profile=small_profile(columns=4, rows=4, cores_per_tile=2))


@pytest.mark.parametrize("name", ["0,0:E", "1,0:S", "2,1:W", "3,0:S"])
def test_a_dead_link_cuts_the_flows_that_cross_it(name):
    x, y, direction = int(name[0]), int(name[2]), name[4]
    one = faults.plan(BIG, faults.LinkDead(links=[name], direction="one"))
    assert cut(BIG, one) == crossing(BIG, {(x, y, direction)})
    back = {"E": (x + 1, y, "W"), "W": (x - 1, y, "E"), "S": (x, y + 1, "N")}[direction]
    both = faults.plan(BIG, faults.LinkDead(links=[name]))
    assert cut(BIG, both) == crossing(BIG, {(x, y, direction), back})
    assert one.hits[0].sites == (f"link {name}",)


def test_random_links_are_used_ones():
    for draw in range(20):
        plan = faults.plan(BIG, faults.LinkDead(count=1), draw=draw)
        assert cut(BIG, plan)


def test_traffic_goes_round_a_dead_link_and_the_way_is_charged():
    row = mlp(8, 8, 4, neurons_per_core=2, profile=small_profile(columns=4, rows=4, cores_per_tile=2))
    healthy = ExactEngine().run(row, row.encode(np.full((2, 8), 200, np.uint8)))
    hurt = faults.inject(row, faults.LinkDead(links=["1,0:E"], reroute=True))
    (detour,) = hurt.damage.edits
    assert isinstance(detour, Detour)
    flows = {(s, d) for _, s, d in crossing(row, {(1, 0, "E"), (2, 0, "W")})}
    assert set(zip(detour.sources.tolist(), detour.destinations.tolist(), strict=True)) == flows
    assert set(detour.extra_hops.tolist()) <= {0, 2}
    assert detour.extra_hops.sum() > 0
    assert hurt.damage.hits[0].notes == (f"{len(flows)} flows go round it, {detour.extra_hops.sum()} extra hops",)
    assert hurt.damage.plain
    np.testing.assert_array_equal(ExactEngine().run(hurt, row.encode(np.full((2, 8), 200, np.uint8))).scores, healthy.scores)


def test_links_that_fail_one_after_the_other_are_avoided_together():
    row = mlp(8, 8, 4, neurons_per_core=2, profile=small_profile(columns=4, rows=2, cores_per_tile=2))
    ageing = {"kind": "ageing", "start": 4, "stop": 12, "clock": "presentation"}
    links = ["1,0:E", "1,1:E"]  # the two ways between the halves of the mesh
    hurt = faults.inject(row, faults.LinkDead(links=links, reroute=True, when=ageing))
    halves = {(s, d) for _, s, d in crossing(row, {(1, 0, "E"), (2, 0, "W"), (1, 1, "E"), (2, 1, "W")})}
    lost = {
        (s, edit.core)
        for edit in hurt.damage.edits
        if isinstance(edit, Drop)
        for s in row.placement.core_of[row.connection(edit.connection).source][edit.sources]
    }
    detours = [edit for edit in hurt.damage.edits if isinstance(edit, Detour)]
    assert halves
    assert lost == halves
    assert {(edit.when.start, edit.when.stop) for edit in detours} == {(8, 12)}
    assert {edit.when.start for edit in hurt.damage.edits if isinstance(edit, Drop)} == {12}
    at_once = faults.inject(row, faults.LinkDead(links=links, reroute=True))
    assert not any(isinstance(edit, Detour) for edit in at_once.damage.edits)


def test_a_dead_router_cuts_off_its_cores_even_with_reroute():
    grid = topology(BIG)
    x, y = grid.tiles(np.arange(32))
    at = {int(core) for core in range(32) if (x[core], y[core]) == (1, 0)}
    assert at == {2, 3}
    ends = {(name, s, d) for name, s, d in crossing(BIG, set(grid.links())) | same_tile(BIG) if {s, d} & at}
    plans = [faults.plan(BIG, faults.RouterDead(routers=["1,0"], reroute=reroute)) for reroute in (False, True)]
    assert cut(BIG, plans[1]) == ends
    through = {link for link in grid.links() if (link.x, link.y) == (1, 0)}
    assert cut(BIG, plans[0]) == ends | crossing(BIG, through)
    assert {2, 3} <= set(plans[0].hits[0].cores)


def same_tile(chip):
    return {
        (one.name, int(s), int(d))
        for one in chip.connections
        for s in chip.placement.cores_of(one.source)
        for d in chip.placement.cores_of(one.target)
        if s != d and not topology(chip).path(int(s), int(d))
    }


def test_a_lossy_link_loses_its_share_at_random():
    plan = faults.plan(BIG, faults.LinkLossy(links=["1,0:E"], probability=0.25))
    assert cut(BIG, plan) == crossing(BIG, {(1, 0, "E")})
    lost = np.concatenate([edit.lost(BIG.schedule.phase[edit.connection], 0, 50, 40).ravel() for edit in plan.faults[0].edits])
    assert abs(lost.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / lost.size)
    assert len({edit.key for edit in plan.faults[0].edits}) == 1


def test_a_hung_core_stalls_or_is_silent():
    chip = CHIPS["dense"]
    hung = faults.inject(chip, faults.CoreHung(cores=[4], when=faults.death(9)))
    assert isinstance(hung.damage.edits[0], Stall)
    images = np.zeros((3, 6), np.uint8)
    with pytest.raises(StalledError):
        ExactEngine().run(hung, chip.encode(images))
    ExactEngine().run(hung, chip.encode(images[:1]))
    silent = faults.inject(chip, faults.CoreHung(cores=[4], on_core_death="silent"))
    dead = faults.inject(chip, faults.CoreDead(cores=[4]))
    runs = [ExactEngine().run(hurt, chip.encode(images)).scores for hurt in (silent, dead)]
    np.testing.assert_array_equal(*runs)
    assert dead.damage.dead_cores == (4,)
    assert silent.damage.dead_cores == ()


@pytest.mark.parametrize(
    ("fault", "part", "trace", "value"),
    [
        (faults.LearningFrozen(cores=[3, 4]), "frozen", "", 0),
        (faults.TraceStuck(cores=[3, 4], trace="y2", value=7), "stuck_trace", "y2", 7),
        (faults.ThirdFactorDead(cores=[3, 4]), "third_factor", "", 0),
        (faults.RoundingStuck(cores=[3, 4], value=127), "rounding", "", 127),
    ],
)
def test_learning_defects_name_their_synapses(fault, part, trace, value):
    edit = edit_of(CHIPS["dense"], fault)
    assert isinstance(edit, LearningDefect)
    assert (edit.connection, edit.part, edit.trace, edit.value) == ("hidden1", part, trace, value)
    assert edit.neurons.tolist() == [0, 1, 2, 3]
