"""Remap: orphans, and nobody else, move to sound spare cores; what is broken there breaks there too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remap_chips import STEPS, chips, cnn, events, mlp, pairs, profile, same, seen

import neurofault as nf
from neurofault import faults
from neurofault.damage.damage import Damage, Detour, Drop, LearningDefect, SetSynapses, Silence
from neurofault.deploy.cost import cost
from neurofault.deploy.cost_events import traffic
from neurofault.deploy.memory import stored_weights, write_gate
from neurofault.deploy.resources import limits, usage
from neurofault.deploy.routing import topology
from neurofault.errors import FaultError, UsageError
from neurofault.graph import Conv, Dense
from neurofault.rescue.remap.remap import remap
from neurofault.study.prepare import Setup, prepare


def dead(chip, *cores, **when):
    return nf.inject(chip, faults.CoreDead(cores=cores, **when))


def moved(before, after):
    """For each population, which neurons sit elsewhere now."""
    return {name: own != after.placement.core_of[name] for name, own in before.placement.core_of.items()}


# ── with enough spare cores ────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=60, deadline=None)
@given(chips(), st.data())
def test_only_orphans_move_to_sound_cores_and_every_spike_is_healthy_again(chip, data):
    spares = chip.placement.spare_cores
    lost = data.draw(st.sets(st.sampled_from(chip.placement.used_cores.tolist()), min_size=1, max_size=len(spares)))
    also = data.draw(st.sets(st.sampled_from(spares), max_size=len(spares) - len(lost)))
    hurt = dead(chip, *sorted(lost | also))
    repaired = remap(hurt)
    after = repaired.deployment
    orphans = {name: np.isin(core_of, sorted(lost)) for name, core_of in chip.placement.core_of.items()}
    for name, change in moved(chip, after).items():
        np.testing.assert_array_equal(orphans[name], change)
    used = set(after.placement.used_cores.tolist())
    new = used - set(chip.placement.used_cores.tolist())
    assert not used & (lost | also | set(chip.placement.bad_cores))
    assert new <= set(spares)
    assert len(new) == len(lost)  # a whole slice each
    assert set(after.placement.spare_cores) == set(spares) - new
    counted, limit = usage(after), limits(chip.profile)
    assert all((counted.used[name] <= limit[name]).all() for name in limit if limit[name] is not None)
    assert repaired.left == {}
    assert sum(len(move.neurons) for move in repaired.moves) == sum(mask.sum() for mask in orphans.values())
    for move in repaired.moves:
        assert set(chip.placement.core_of[move.population][move.neurons].tolist()) == {move.source}
        assert set(after.placement.core_of[move.population][move.neurons].tolist()) == {move.destination}
    assert same(chip, after)
    assert same(chip, after.with_damage(Damage()))
    assert all(a is b for a, b in zip(chip.populations, after.populations, strict=True))  # healthy integers are not touched
    assert all(a is b for a, b in zip(chip.connections, after.connections, strict=True))
    again = remap(after)
    assert again.deployment is after
    assert (again.writes, again.axon_updates, again.parameters, again.host_bytes, again.moves) == (0, 0, 0, 0, ())


def test_several_chips():
    chip = mlp(40, 30, 8, chip=profile(columns=2, rows=2), neurons_per_core=4, spare_cores=3, chips=4)
    per_chip = chip.placement.cores_per_chip
    lost = [int(chip.placement.core_of["hidden1"][0]), int(chip.placement.core_of["output"][-1])]
    after = remap(dead(chip, *lost)).deployment
    assert same(chip, after)
    assert not same(chip, dead(chip, *lost))
    assert {core // per_chip for core in after.placement.spare_cores} <= set(range(4))


def test_known_bad_spare_cores_are_never_used():
    chip = mlp(7, 8, 4, spare_cores=2)
    bad = chip.placement.spare_cores[0]
    chip = replace(chip, placement=replace(chip.placement, bad_cores=(bad,)))
    lost = int(chip.placement.core_of["hidden1"][0])
    after = remap(dead(chip, lost)).deployment
    assert set(after.placement.core_of["hidden1"][moved(chip, after)["hidden1"]].tolist()) == {chip.placement.spare_cores[1]}


@settings(max_examples=30, deadline=None)
@given(chips(), st.data(), st.booleans())
def test_the_hops_of_all_messages_are_the_fewest(chip, data, weighed):
    from itertools import permutations

    spares = chip.placement.spare_cores
    lost = data.draw(st.sets(st.sampled_from(chip.placement.used_cores.tolist()), min_size=1, max_size=min(3, len(spares))))
    counts = nf.run(chip, events(chip)).activity.spike_counts
    ones = {name: np.ones(len(values), np.int64) for name, values in counts.items()}
    weights = counts if weighed else ones
    repaired = remap(dead(chip, *lost), spikes=counts if weighed else None)
    grid = topology(chip)

    def hops(places):
        """Hops of the messages to and from the slices, other slices left out, by plain loops over synapses."""
        total = 0
        for way in chip.connections:
            sent = set()
            for source, target in pairs(chip, way.name):
                a, b = int(chip.placement.core_of[way.source][source]), int(chip.placement.core_of[way.target][target])
                if (a in lost) != (b in lost) and (source, b) not in sent:
                    sent.add((source, b))
                    far = int(grid.hops(np.array(places.get(a, a)), np.array(places.get(b, b))).total)
                    total += int(weights[way.source][source]) * far
        return total

    chosen = hops({move.source: move.destination for move in repaired.moves})
    order = sorted(lost)
    assert chosen == min(hops(dict(zip(order, way, strict=True))) for way in permutations(spares, len(order)))


def test_the_new_way_is_charged_by_cost():
    chip = mlp(7, 8, 4, chip=profile(columns=8, rows=3), spare_cores=1, neurons_per_core=4)
    hurt = dead(chip, int(chip.placement.core_of["hidden1"][0]))
    after = remap(hurt).deployment
    inputs = events(chip)
    before, now = (cost(one, nf.run(one, inputs).activity, len(inputs)) for one in (chip, after))
    assert now.synaptic_operations == before.synaptic_operations
    assert now.messages == before.messages
    assert now.hops > before.hops
    assert now.energy.value > before.energy.value
    flows = traffic(after, nf.run(after, inputs).activity)
    spare = chip.placement.spare_cores[0]
    assert spare in flows.sources
    assert spare in flows.destinations
    assert not set(hurt.damage.dead_cores) & {*flows.sources.tolist(), *flows.destinations.tolist()}


# ── what it takes ──────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None)
@given(chips(), st.data())
def test_charges_equal_plain_counts(chip, data):
    lost = data.draw(st.sets(st.sampled_from(chip.placement.used_cores.tolist()), min_size=1, max_size=6))
    repaired = remap(dead(chip, *lost))
    after, change = repaired.deployment, moved(chip, repaired.deployment)
    taken = set(after.placement.used_cores.tolist()) - set(chip.placement.used_cores.tolist())
    shared = bool(chip.profile.synapse.shared_kernels.value)
    words, ins, outs = set(), set(), set()
    for way in chip.connections:
        synapses, name = way.synapses, way.name
        for source, target in pairs(chip, name):
            core = int(after.placement.core_of[way.target][target])
            lives = int(after.placement.core_of[way.source][source]) not in lost
            if core in taken:
                ins.add((name, source, core))
                if not isinstance(synapses, Conv) or not shared:
                    words.add((name, source, target))
            if core not in lost and lives and (core in taken or change[way.source][source]):
                outs.add((name, source, core))
        if isinstance(synapses, Conv) and shared:
            kernel, area = synapses.weight[0].size, chip.population(way.target).size // len(synapses.weight)
            for target in np.flatnonzero(change[way.target]).tolist():
                core = int(after.placement.core_of[way.target][target])
                words |= {(name, core, target // area, word) for word in range(kernel)}
    assert repaired.writes == len(words)
    assert repaired.axon_updates == len(ins) + len(outs)
    assert repaired.parameters == 4 * sum(int(mask.sum()) for mask in change.values())
    after_use = usage(after)
    bits = sum(after_use.of(core)["synapse_bits"][0] for core in taken)
    assert repaired.host_bytes == (
        -(-bits // 8) + 8 * repaired.axon_updates + 4 * repaired.parameters + 8 * len(chip.placement.used_cores)
    )


# ── when spare cores run out ───────────────────────────────────────────────────────────────────────────────────────────


def test_too_few_spare_cores_heal_in_part_and_say_who_is_left():
    trained = prepare(Setup("digits-mlp", "loihi1", neurons_per_core=8, spare_cores=3), lambda *_: None)
    chip, images, labels = trained.deployment, trained.test.images, trained.test.labels
    hurt = nf.inject(chip, faults.CoreDead(count=8, layer="hidden"), seed=1)
    repaired = remap(hurt)
    healthy, broken, partly = (nf.run(one, images, labels).accuracy for one in (chip, hurt, repaired.deployment))
    assert broken + 0.05 < partly < healthy - 0.02
    orphans = np.isin(chip.placement.core_of["hidden1"], hurt.damage.dead_cores)
    still = np.isin(repaired.deployment.placement.core_of["hidden1"], hurt.damage.dead_cores)
    np.testing.assert_array_equal(repaired.left["hidden1"], np.flatnonzero(still))
    assert repaired.left_counts == {"hidden1": int(still.sum())}
    assert 0 < still.sum() == orphans.sum() - sum(len(move.neurons) for move in repaired.moves)
    assert repaired.deployment.placement.spare_cores == ()
    assert repaired.notes == (f"8 slices, 3 sound spare cores: left are {still.sum()} of hidden1",)
    weight = np.abs(chip.connection("output").synapses.weight).sum(axis=0)
    sums = {core: weight[chip.placement.core_of["hidden1"] == core].sum() for core in hurt.damage.dead_cores}
    assert {move.source for move in repaired.moves} == set(sorted(sums, key=sums.get)[-3:])  # the most important ones
    least = {"hidden1": -weight, "input": np.zeros(64), "output": np.zeros(10)}
    other = remap(hurt, importance=least)
    assert {move.source for move in other.moves} == set(sorted(sums, key=sums.get)[:3])


def test_outputs_go_first_then_hidden_then_inputs():
    chip = mlp(6, 6, 6, 4, spare_cores=4)
    cores = [chip.placement.cores_of(name).tolist() for name in ("output", "hidden1", "hidden2", "input")]
    order = [core for own in cores for core in own]
    for spares in range(1, len(order)):
        few = replace(chip, placement=replace(chip.placement, spare_cores=chip.placement.spare_cores[:spares]))
        served = {move.population for move in remap(dead(few, *order)).moves}
        if spares <= 2:
            assert served == {"output"}
        elif spares <= 4:
            assert served <= {"output", "hidden1", "hidden2"}


def test_no_spare_cores_is_said_and_nothing_dead_takes_nothing():
    chip = mlp(7, 8, 4, spare_cores=0)
    assert remap(chip).deployment is chip
    lost = chip.placement.cores_of("hidden1").tolist()[:2]
    with pytest.raises(UsageError) as error:
        remap(dead(chip, *lost))
    assert str(error.value) == (
        f"no spare cores: neurons of cores {lost[0]}, {lost[1]} have nowhere to move; deploy with spare_cores of at least 2"
    )
    chip = mlp(7, 8, 4, spare_cores=1)
    gone = dead(chip, lost[0], *chip.placement.spare_cores)
    repaired = remap(gone)
    assert repaired.moves == ()
    assert repaired.left_counts == {"hidden1": 3}
    assert same(repaired.deployment, gone)


@pytest.mark.parametrize(("limit", "value", "parts"), [("neurons", 4, 3), ("synapse_bits", 7 * 64, 2), ("neurons", None, 1)])
def test_a_slice_that_fits_no_spare_core_is_split(limit, value, parts):
    chip = mlp(7, 9, 4, neurons_per_core=9, spare_cores=3, chip=profile(columns=6))
    hurt = dead(chip, int(chip.placement.core_of["hidden1"][0]))
    hurt = replace(hurt, profile=profile(columns=6, **{limit: value}))
    repaired = remap(hurt)
    assert len(repaired.moves) == parts
    assert len({move.destination for move in repaired.moves}) == parts
    counted = usage(repaired.deployment)
    for move in repaired.moves:
        assert (np.diff(move.neurons) == 1).all()
        assert all(most is None or used <= most for used, most in counted.of(move.destination).values())
    assert same(chip, repaired.deployment)


def test_pieces_that_would_overflow_the_axons_of_the_cores_before_are_left():
    chip = mlp(7, 9, 4, neurons_per_core=9, spare_cores=3, chip=profile(columns=6))
    hurt = dead(chip, int(chip.placement.core_of["hidden1"][0]))
    hurt = replace(hurt, profile=profile(columns=6, neurons=7, out_axons=7 * 1))
    repaired = remap(hurt)
    assert usage(repaired.deployment).of(int(chip.placement.core_of["input"][0]))["out_axons"][0] <= 2 * 7
    assert repaired.left_counts == {"hidden1": 9 - sum(len(move.neurons) for move in repaired.moves)}
    assert repaired.left_counts["hidden1"] > 0
    assert "fit no spare core, or would take too many out-axons" in repaired.notes[-1]


# ── damage that stays behind ───────────────────────────────────────────────────────────────────────────────────────────

ON_A_CORE = [
    {"kind": "neuron_dead", "rate": 1.0},
    {"kind": "neuron_saturated", "count": 1},
    {"kind": "neuron_threshold", "rate": 1.0, "factor": 0.1},
    {"kind": "neuron_leak", "rate": 1.0, "bit": 11},
    {"kind": "state_upset", "rate": 1.0, "when": {"kind": "once", "at": 2}},
    {"kind": "synapse_bit_stuck", "rate": 0.2, "level": 1},
    {"kind": "synapse_bit_flip", "rate": 0.2},
    {"kind": "synapse_delay", "rate": 0.2},
    {"kind": "word_header", "count": 1},
    {"kind": "axon_lost", "count": 3},
    {"kind": "axon_misrouted", "count": 3},
    {"kind": "learning_frozen", "count": 1},
    {"kind": "core_hung", "count": 1, "on_core_death": "silent", "when": {"kind": "transient", "start": 1, "stop": 4}},
]


@pytest.mark.parametrize("net", [mlp(7, 8, 6, 4), cnn(), cnn(shared=False)], ids=["dense", "shared", "conv"])
@pytest.mark.parametrize("fault", ON_A_CORE, ids=lambda fault: fault["kind"])
def test_a_moved_neuron_leaves_the_damage_of_its_old_core(net, fault):
    core = int(net.placement.core_of["hidden1"][0])
    hurt = dead(nf.inject(net, {**fault, "at": f"core:{core}"}), core)
    after = remap(hurt).deployment
    assert same(net, after)
    assert after.damage.edits == ()
    assert [hit.kind for hit in after.damage.hits] == [fault["kind"], "core_dead"]
    assert all(hit.n_edits == 0 and hit.notes[-1] == "worked out anew after a remap" for hit in after.damage.hits)
    undone = after.damage.without(0)
    assert [hit.kind for hit in undone.hits] == ["core_dead"]
    assert undone.dead_cores == (core,)


@pytest.mark.parametrize("fault", ON_A_CORE, ids=lambda fault: fault["kind"])
def test_damage_of_others_stays(fault):
    chip = mlp(7, 8, 6, 4)
    core, other = int(chip.placement.core_of["hidden2"][0]), int(chip.placement.core_of["hidden1"][0])
    if fault["kind"] in ("neuron_leak", "learning_frozen", "synapse_delay"):
        fault = {**fault, "count": None, "rate": 1.0}
    hurt = nf.inject(chip, {**fault, "at": f"core:{other}"})
    after = remap(dead(hurt, core)).deployment
    assert same(hurt, after)
    assert len(after.damage.edits) == len(hurt.damage.edits) > 0
    assert fault["kind"] == "learning_frozen" or not same(chip, after)


def test_a_source_that_moves_gets_new_axon_entries_and_sensors_stay_with_it():
    chip = mlp(7, 8, 6, 4)
    target = int(chip.placement.core_of["hidden2"][0])
    hurt = nf.inject(chip, [faults.AxonLost(axons=[(0, target), (7, target)], layer="hidden2")])
    after = remap(dead(hurt, int(chip.placement.core_of["hidden1"][0]))).deployment  # of neurons 0 and 7 the first moves
    (drop,) = after.damage.edits
    assert drop.sources.tolist() == [7]
    hurt = nf.inject(chip, [faults.AxonMisrouted(axons=[(0, target), (7, target)], layer="hidden2")])
    after = remap(dead(hurt, int(chip.placement.core_of["hidden1"][0]))).deployment
    (edit,) = after.damage.edits
    assert set(edit.sources.tolist()) == {7}

    trained = prepare(Setup("digits-mlp", "loihi1", neurons_per_core=8, spare_cores=3), lambda *_: None)
    chip, images = trained.deployment, trained.test.images[:20]
    hurt = nf.inject(
        chip, [{"kind": "sensor_dead", "pixels": ["8-40"], "value": 255}, {"kind": "sensor_noisy", "pixels": ["10-30"]}]
    )
    after = remap(dead(hurt, int(chip.placement.core_of["input"][20]))).deployment
    scores = [nf.run(one, images).activity.scores for one in (chip, hurt, after)]
    assert not np.array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[1], scores[2])


def test_cores_that_die_later_are_empty_from_the_remap_on_and_passing_trouble_is_left_alone():
    chip = mlp(7, 8, 6, 4)
    first, second = chip.placement.cores_of("hidden1").tolist()[:2]
    hurt = dead(chip, first, when=faults.death(2 * STEPS))
    assert not same(chip, hurt)
    repaired = remap(hurt)
    assert same(chip, repaired.deployment)
    assert repaired.notes == ()
    passing = dead(chip, second, when=faults.transient(1, 3))
    repaired = remap(passing)
    assert repaired.moves == ()
    assert repaired.deployment is passing
    assert repaired.notes == (f"core {second}: not dead for good, left as they are",)
    both = remap(dead(passing, first))
    assert same(both.deployment, passing)
    assert [move.source for move in both.moves] == [first]


# ── damage that waits on the spare core ────────────────────────────────────────────────────────────────────────────────


def stuck_by_hand(chip, name, neurons, cells, level):
    """The healthy chip with stuck bits in its weights: the memory of a core that holds these neurons, word by word in plain loops.

    Args:
        chip: the chip.
        name: of a connection into the neurons.
        neurons: sorted.
        cells: (word, bit) pairs that are stuck.
        level: at what.
    """
    synapses = chip.connection(name).synapses
    if isinstance(synapses, Dense):
        rows = [[(source, target) for target in neurons] for source in range(synapses.n_in)]
    else:
        area = synapses.n_out // len(synapses.weight)
        channels = sorted({target // area for target in neurons})
        rows = [[(channel, word) for word in range(synapses.weight[0].size)] for channel in channels]
    words = [row[first : first + 8] for row in rows for first in range(0, len(row), 8)]
    weight = synapses.weight.copy()
    for word, bit in cells:
        slot, place = divmod(bit, 8)
        if word < len(words) and slot < len(words[word]):
            one, other = words[word][slot]
            at = (other, one) if isinstance(synapses, Dense) else (one, *np.unravel_index(other, synapses.weight.shape[1:]))
            field = int(weight[at]) // 2 % 256
            field = field | 1 << place if level else field & ~(1 << place)
            weight[at] = 2 * (field - 256 if field > 127 else field)
    return with_weight(chip, name, weight)


def with_weight(chip, name, weight):
    """The chip with other weights of a connection."""
    connection = chip.connection(name)
    return chip.with_connection(replace(connection, synapses=replace(connection.synapses, weight=weight)))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 1), st.integers(0, 50))
def test_stuck_bits_of_a_spare_core_hit_the_slice_that_moves_there(data, level, seed):
    chip = mlp(7, 10, 6, 4, seed=seed, spare_cores=1, neurons_per_core=5, chip=profile(columns=3))
    (spare,) = chip.placement.spare_cores
    cells = sorted(data.draw(st.sets(st.tuples(st.integers(0, 12), st.integers(0, 63)), min_size=1, max_size=40)))
    listed = [(spare, word, bit) for word, bit in cells]
    hurt = nf.inject(chip, faults.SynapseBitStuck(synapse_bits=listed, layer="spare", level=level))
    assert hurt.damage.edits == ()
    assert same(chip, hurt)
    layer = data.draw(st.sampled_from(["hidden1", "hidden2", "output"]))
    core = int(data.draw(st.sampled_from(chip.placement.cores_of(layer).tolist())))
    after = remap(dead(hurt, core)).deployment
    neurons = np.flatnonzero(chip.placement.core_of[layer] == core).tolist()
    wanted = stuck_by_hand(chip, layer, neurons, cells, level)
    assert same(wanted, after)
    np.testing.assert_array_equal(stored_weights(after, layer), wanted.connection(layer).synapses.weight)
    # Later writes meet the same cells.
    gate = write_gate(after, layer)
    asked = stuck_by_hand(chip, layer, neurons, cells, 1 - level).connection(layer).synapses.weight
    held = stuck_by_hand(with_weight(chip, layer, asked), layer, neurons, cells, level).connection(layer).synapses.weight
    np.testing.assert_array_equal(gate.admit(asked, asked), held)
    assert same(chip, after.with_damage(after.damage.without(0)))


def test_a_dead_word_of_a_spare_core_breaks_a_shared_kernel_that_moves_there():
    chip = cnn(spare_cores=1)
    (spare,) = chip.placement.spare_cores
    core = int(chip.placement.core_of["hidden1"][0])
    neurons = np.flatnonzero(chip.placement.core_of["hidden1"] == core)
    area = chip.population("hidden1").size // 3
    assert len(set((neurons // area).tolist())) == 1  # one channel: no other core's part of it is hit
    hurt = dead(nf.inject(chip, faults.MemoryWordDead(words=[(spare, 1)], layer="spare")), core)
    after = remap(hurt).deployment
    (edit,) = after.damage.edits
    assert isinstance(edit, SetSynapses)
    assert set(edit.values.tolist()) == {0}
    assert not same(chip, after)
    kernel = chip.connection("hidden1").synapses.weight[0].reshape(-1).copy()
    kernel[8:16] = 0
    hit = {(source, target) for source, target in zip(edit.sources.tolist(), edit.targets.tolist(), strict=True)}
    wanted = {
        (source, target)
        for source, target in pairs(chip, "hidden1")
        if target in neurons and _kernel_word(chip, source, target) in range(8, 16)
    }
    assert hit == wanted
    assert after.damage.hits[0].synapses == {"hidden1": 4}  # 12 kernel words: the second memory word holds 4


def test_layers_that_shared_a_core_move_together_and_fill_its_words_one_after_the_other():
    chip = mlp(7, 6, 4, spare_cores=1, neurons_per_core=6)
    together = np.where(np.arange(4) < 2, chip.placement.core_of["hidden1"][0], chip.placement.core_of["output"]).astype(np.int32)
    chip = replace(chip, placement=replace(chip.placement, core_of={**chip.placement.core_of, "output": together}))
    (spare,), core = chip.placement.spare_cores, int(together[0])
    cells = [(word, bit) for word in range(0, 16, 3) for bit in (1, 6, 9, 15, 40)]
    hurt = nf.inject(chip, faults.SynapseBitStuck(synapse_bits=[(spare, *cell) for cell in cells], layer="spare", level=1))
    repaired = remap(dead(hurt, core))
    assert [(move.population, move.destination) for move in repaired.moves] == [("hidden1", spare), ("output", spare)]
    first = stuck_by_hand(chip, "hidden1", range(6), cells, 1)
    both = stuck_by_hand(first, "output", [0, 1], [(word - 7, bit) for word, bit in cells if word >= 7], 1)  # 7 words, one a source
    assert same(both, repaired.deployment)
    assert not same(first, both)
    assert same(chip, remap(dead(chip, core)).deployment)


def _kernel_word(chip, source, target):
    conv = chip.connection("hidden1").synapses
    _, _, k_h, k_w = conv.weight.shape
    channel, row, column = np.unravel_index(source, conv.in_shape)
    _, y, x = np.unravel_index(target, conv.out_shape)
    return int((channel * k_h + row - y + conv.padding[0]) * k_w + column - x + conv.padding[1])


def test_two_faults_of_one_cell_act_in_order_and_are_undone_last_first():
    chip = mlp(7, 8, 4, spare_cores=1)
    (spare,) = chip.placement.spare_cores
    cells = [(spare, word, bit) for word in range(7) for bit in range(24)]
    ones = faults.SynapseBitStuck(synapse_bits=cells, layer="spare", level=1)
    zeros = faults.SynapseBitStuck(synapse_bits=cells[::2], layer="spare", level=0)
    after = remap(dead(nf.inject(chip, [ones, zeros]), int(chip.placement.core_of["hidden1"][0]))).deployment
    fields = stored_weights(after, "hidden1")[:3] // 2 % 256
    assert (fields == 0b10101010).all()
    with pytest.raises(UsageError, match="undo the later one first"):
        after.damage.without(0)
    first = after.with_damage(after.damage.without(1))
    assert (stored_weights(first, "hidden1")[:3] == -2).all()
    assert same(chip, first.with_damage(first.damage.without(0)))


WHENS = [
    {"kind": "permanent"},
    {"kind": "transient", "start": 1, "stop": 4},
    {"kind": "intermittent", "on": 2, "off": 1},
    {"kind": "death", "at": 9, "clock": "chip"},
    {"kind": "ageing", "start": 2, "stop": 22, "clock": "chip"},
]


@pytest.mark.parametrize("when", WHENS, ids=lambda when: when["kind"])
def test_cells_that_break_before_the_move_are_cells_that_break_after_it(when):
    chip = mlp(7, 8, 4, spare_cores=1)
    (spare,), core = chip.placement.spare_cores, int(chip.placement.core_of["hidden1"][0])
    rng = np.random.default_rng(3)
    cells = [(int(word), int(bit)) for word, bit in zip(rng.integers(0, 7, 60), rng.integers(0, 24, 60), strict=True)]
    cells = list(dict.fromkeys(cells))
    one = faults.SynapseBitStuck(synapse_bits=[(spare, *cell) for cell in cells], layer="spare", level=1, when=when)
    stored = [(word, bit // 8, bit % 8) for word, bit in cells]  # one axon a word, neurons 0 to 2 in its lowest bits
    other = faults.SynapseBitStuck(synapse_bits=stored, layer="hidden1", level=1, when=when)
    before = remap(dead(nf.inject(chip, one), core)).deployment
    after = nf.inject(remap(dead(chip, core)).deployment, other)
    assert same(before, after)
    assert not same(chip, after)


@pytest.mark.parametrize("word_bits", [64, 20])
@pytest.mark.parametrize("net", ["dense", "shared", "conv"])
def test_words_that_die_before_the_move_are_words_that_die_after_it(net, word_bits):
    if net == "dense":
        chip = mlp(7, 11, 4, spare_cores=1, neurons_per_core=11)
    else:
        chip = cnn(shared=net == "shared", spare_cores=1, neurons_per_core=15)
    chip = replace(chip, profile=profile(shared=net == "shared", word_bits=word_bits))
    (spare,), core = chip.placement.spare_cores, int(chip.placement.core_of["hidden1"][0])
    words = [(spare, word) for word in (0, 1, 3)]
    before = remap(dead(nf.inject(chip, faults.MemoryWordDead(words=words, layer="spare")), core)).deployment
    after = nf.inject(remap(dead(chip, core)).deployment, faults.MemoryWordDead(words=words, layer="hidden1"))
    (one,), (other,) = before.damage.edits, after.damage.edits
    for name in ("sources", "targets", "values", "keep", "force"):
        np.testing.assert_array_equal(getattr(one, name)[one.values == 0], getattr(other, name)[other.values == 0])
    assert before.damage.hits[0].synapses == after.damage.hits[-1].synapses
    assert same(before, after)
    assert not same(chip, after)


def test_a_plan_of_a_larger_chip_is_refused():
    large = mlp(7, 8, 4, spare_cores=1, chip=profile(columns=8))
    small = mlp(7, 8, 4, spare_cores=1)
    for fault in (faults.CoreDead(cores=[40]), faults.TraceStuck(cores=[40])):
        with pytest.raises(FaultError, match="made on another chip: it hits core 40, but here cores are 0 to 23"):
            nf.inject(small, faults.plan(large, fault))


def test_whatever_moves_there_meets_the_same_cells_and_a_second_move_leaves_them():
    chip = mlp(7, 8, 4, spare_cores=2, neurons_per_core=4)
    first, second = chip.placement.spare_cores
    hurt = nf.inject(chip, faults.MemoryWordDead(words=[(first, 0), (second, 0)], layer="spare"))
    core = int(chip.placement.core_of["hidden1"][0])
    once = remap(dead(hurt, core)).deployment
    now = int(once.placement.core_of["hidden1"][0])
    assert (stored_weights(once, "hidden1")[:4, 0] == 0).all()
    assert once.damage.hits[0].notes == (
        "nothing sits there yet: it shows once a repair moves neurons there",
        "worked out anew after a remap",
    )
    twice = remap(dead(once, now)).deployment
    assert int(twice.placement.core_of["hidden1"][0]) == ({first, second} - {now}).pop()
    (edit,) = twice.damage.edits
    assert edit.targets.tolist() == [0, 1, 2, 3]  # the other core's word, not that of the core that died
    assert twice.damage.hits[0].n_edits == 1


def test_random_cells_of_spare_cores_obey_rate_place_and_order():
    chip = mlp(7, 8, 4, spare_cores=4)
    memory = 1 << 20
    few = faults.plan(chip, {"kind": "synapse_bit_stuck", "layer": "spare", "rate": 1e-4}, seed=2)
    bits = [(one.core, word, bit) for one in few.hits[0].broken for word, bit in zip(one.words, one.bits, strict=True)]
    assert abs(len(bits) - 4e-4 * memory) < 5 * np.sqrt(4e-4 * memory)
    assert {core for core, _, _ in bits} == set(chip.placement.spare_cores) == set(few.hits[0].cores)
    more = faults.plan(chip, {"kind": "synapse_bit_stuck", "layer": "spare", "rate": 2e-4}, seed=2)
    assert set(bits) < {(one.core, word, bit) for one in more.hits[0].broken for word, bit in zip(one.words, one.bits, strict=True)}
    spare = chip.placement.spare_cores[1]
    place = {"all_of": [f"core:{spare}", "word:3-5"]}
    (hit,) = faults.plan(chip, {"kind": "synapse_bit_stuck", "layer": "spare", "count": 20, "at": place}).hits
    (one,) = hit.broken
    assert one.core == spare
    assert set(one.words) <= {3, 4, 5}
    assert len(set(zip(one.words, one.bits, strict=True))) == 20
    words = faults.plan(chip, faults.MemoryWordDead(count=5, layer="spare")).hits[0].broken
    assert sum(len(one.words) for one in words) == 5
    assert {one.bits for one in words} == {None}


def test_dead_spare_cores_are_chosen_among_spares_and_never_used():
    chip = mlp(7, 8, 4, spare_cores=4)
    hurt = nf.inject(chip, faults.CoreDead(count=3, layer="spare"), seed=3)
    assert len(set(hurt.damage.dead_cores) & set(chip.placement.spare_cores)) == 3
    assert same(chip, hurt)
    lost = int(chip.placement.core_of["hidden1"][0])
    repaired = remap(dead(hurt, lost))
    assert {move.destination for move in repaired.moves} == set(chip.placement.spare_cores) - set(hurt.damage.dead_cores)
    assert same(chip, repaired.deployment)


def test_trouble_of_a_spare_core_and_of_its_learning_engine_waits_for_neurons():
    chip = mlp(7, 8, 4, spare_cores=1)
    (spare,) = chip.placement.spare_cores
    waiting = [
        faults.CoreDead(cores=[spare], when=faults.transient(1, 4)),
        faults.TraceStuck(cores=[spare], trace="y1", value=9),
        faults.RoundingStuck(count=1, layer="spare", value=3),
    ]
    hurt = nf.inject(chip, waiting)
    assert hurt.damage.edits == ()
    core = int(chip.placement.core_of["hidden1"][0])
    repaired = remap(dead(hurt, core))
    silence, trace, rounding = repaired.deployment.damage.edits
    assert isinstance(silence, Silence)
    assert (silence.when.start, silence.when.stop) == (1, 4)
    assert same(repaired.deployment, dead(chip, core, when=faults.transient(1, 4)))
    assert isinstance(trace, LearningDefect)
    assert (trace.part, trace.trace, trace.value, trace.neurons.tolist()) == ("stuck_trace", "y1", 9, [0, 1, 2])
    assert (rounding.part, rounding.value) == ("rounding", 3)
    assert repaired.deployment.damage.hits[0].neurons == {"hidden1": 3}


def test_places_of_spare_cores_survive_a_plan_file_and_count_in_its_hash(tmp_path):
    chip = mlp(7, 8, 4, spare_cores=2)
    first, second = chip.placement.spare_cores
    what = [
        faults.SynapseBitStuck(count=30, layer="spare", level=1, when=faults.death(5)),
        faults.MemoryWordDead(words=[(first, 2)], layer="spare"),
        faults.TraceStuck(cores=[second], value=3),
        faults.LinkDead(count=1, reroute=True),
        faults.LinkLossy(count=1, probability=0.25, when=faults.transient(1, 3)),
    ]
    plan = faults.plan(chip, what, seed=5)
    faults.save_plan(plan, tmp_path / "plan.npz")
    read = faults.load_plan(tmp_path / "plan.npz")
    assert read.hits == plan.hits
    assert all(hit.broken for hit in read.hits)
    assert faults.plan_hash(read) == faults.plan_hash(plan)
    core = int(chip.placement.core_of["hidden1"][0])
    a, b = (remap(dead(nf.inject(chip, one), core)).deployment for one in (plan, read))
    assert a.damage.edits
    assert same(a, b)
    other = [faults.plan(chip, faults.MemoryWordDead(words=[(first, word)], layer="spare")) for word in (2, 3)]
    assert faults.plan_hash(other[0]) != faults.plan_hash(other[1])
    assert nf.inject(chip, plan).damage.without(-1).hits == nf.inject(chip, what[:-1], seed=5).damage.hits


def refusals():
    spare = mlp(7, 8, 4, spare_cores=2)
    first = spare.placement.spare_cores[0]
    none = mlp(7, 8, 4, spare_cores=0)
    unknown = mlp(7, 8, 4, spare_cores=1, chip=profile(synapse_bits=None))
    kinds = "kinds of cores and learning, memory_word_dead and synapse_bit_stuck can break them"
    return [
        (none, {"kind": "core_dead", "count": 1, "layer": "spare"}, "layer 'spare': the placement keeps no spare cores; deploy with spare_cores"),
        (spare, {"kind": "core_dead", "count": 3, "layer": "spare"}, "3 used cores asked for, but layer 'spare' has only 2"),
        (spare, {"kind": "neuron_dead", "count": 1, "layer": "spare"}, f"layer 'spare': spare cores hold no neurons; {kinds}"),
        (spare, {"kind": "synapse_bit_flip", "count": 1, "layer": "spare"}, f"layer 'spare': spare cores hold no stored bits; {kinds}"),
        (spare, {"kind": "memory_word_dead", "words": [[0, 0]], "layer": "spare"}, "core 0 is not a spare core; spare: "),
        (spare, {"kind": "memory_word_dead", "words": [[first, 16384]], "layer": "spare"}, f"no memory word 16384 in core {first}; words: 0 to 16383"),
        (spare, {"kind": "synapse_bit_stuck", "synapse_bits": [[first, 0, 64]], "layer": "spare"}, "bit must lie in [0, 63]: a memory word has 64 bits, is 64"),
        (spare, {"kind": "synapse_bit_stuck", "count": 1, "layer": "spare", "bits": "msb"}, "bits of a spare core belong to no weight yet: bits must be any, is 'msb'"),
        (spare, {"kind": "synapse_bit_stuck", "count": 1, "layer": "spare", "where": "least_important"}, "nothing is stored in a spare core: where must be random or clustered"),
        (unknown, {"kind": "memory_word_dead", "count": 1, "layer": "spare"}, "layer 'spare': the profile does not say how much memory a core has (core.synapse_bits); list words"),
        (spare, {"kind": "synapse_bit_stuck", "count": 1, "at": f"core:{first}"}, f"layer 'any' has no stored bits at 'core:{first}'; layer='spare' breaks spare cores"),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(len(refusals())))
def test_what_cannot_break_on_a_spare_core_is_said(case):
    chip, fault, message = refusals()[case]
    with pytest.raises(FaultError) as error:
        faults.plan(chip, fault)
    assert message in str(error.value)


# ── the new way ────────────────────────────────────────────────────────────────────────────────────────────────────────

WAYS = [
    {"kind": "link_dead", "count": 2, "layer": "any"},
    {"kind": "link_dead", "count": 2, "layer": "any", "reroute": True, "direction": "one"},
    {"kind": "link_dead", "count": 2, "layer": "any", "when": {"kind": "ageing", "start": 2, "stop": 30}, "reroute": True},
    {"kind": "router_dead", "count": 1},
    {"kind": "router_dead", "count": 2, "reroute": True},
    {"kind": "link_lossy", "count": 2, "probability": 0.5, "layer": "any"},
]


def comparable(edits):
    return [
        (type(edit).__name__, edit.when, *(np.asarray(getattr(edit, name)).tolist() for name in vars(edit) if name != "when"))
        for edit in edits
    ]


@settings(max_examples=12, deadline=None)
@given(chips(), st.integers(0, 30), st.data())
@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way['kind']}-{'reroute' if 'reroute' in way else 'lost'}")
def test_broken_links_and_routers_take_the_messages_of_the_new_way(way, chip, seed, data):
    core = data.draw(st.sampled_from(chip.placement.used_cores.tolist()))
    hurt = nf.inject(chip, way, seed=seed)
    after = remap(dead(hurt, core)).deployment
    plain = remap(dead(chip, core)).deployment.with_damage(Damage())
    named = {"link_dead": "links", "link_lossy": "links", "router_dead": "routers"}[way["kind"]]
    sites = [text.split(" ")[1] for text in hurt.damage.hits[0].sites]
    wanted = nf.inject(plain, {**{key: value for key, value in way.items() if key != "count"}, named: sites}, seed=seed)
    if "ageing" not in str(way):
        assert sorted(comparable(after.damage.edits), key=str) == sorted(comparable(wanted.damage.edits), key=str)
        assert same(after, wanted)
    assert all(isinstance(edit, Drop | Detour) for edit in after.damage.edits)
    gone = after.damage.hits[0].n_edits
    assert gone == len(after.damage.edits)
    assert same(plain, after.with_damage(after.damage.without(0)))


def test_a_dead_link_that_nobody_used_cuts_off_the_spare_core():
    chip = mlp(7, 8, 4, spare_cores=1, neurons_per_core=4, chip=profile(columns=8, rows=1, cores_per_tile=1))
    grid, (spare,) = topology(chip), chip.placement.spare_cores
    used = {link for a in chip.placement.used_cores for b in chip.placement.used_cores for link in grid.path(int(a), int(b))}
    core = int(chip.placement.core_of["hidden1"][0])
    chip = replace(chip, placement=replace(chip.placement, spare_cores=(7,)))
    x, y = (axis.tolist() for axis in grid.tiles(np.array([7])))
    cut = f"{x[0] - 1},{y[0]}:E"
    assert cut not in {f"{link.x},{link.y}:{link.direction}" for link in used}
    assert spare != 7
    hurt = nf.inject(chip, faults.LinkDead(links=[cut]))
    assert same(chip, hurt)
    assert hurt.damage.edits == ()
    after = remap(dead(hurt, core)).deployment
    assert not same(chip, after)
    trace = nf.run(after, events(chip), record=("u",)).activity.traces["hidden1"].u
    assert not trace[:, :, moved(chip, after)["hidden1"]].any()  # no current arrives


def test_the_charge_of_detours_follows():
    chip = mlp(7, 8, 4, spare_cores=1, neurons_per_core=4, chip=profile(columns=3, rows=3, cores_per_tile=1))
    hurt = nf.inject(chip, faults.LinkDead(rate=0.3, reroute=True, direction="one"), seed=4)
    after = remap(dead(hurt, int(chip.placement.core_of["hidden1"][0]))).deployment
    assert same(chip, after) == (not any(isinstance(edit, Drop) for edit in after.damage.edits))
    flows = {
        (int(a), int(b))
        for edit in after.damage.edits
        if isinstance(edit, Detour)
        for a, b in zip(edit.sources, edit.destinations, strict=True)
    }
    assert not {core for flow in flows for core in flow} & set(after.damage.dead_cores)


def test_a_run_of_nothing_is_not_what_is_compared():
    chip = mlp(7, 8, 6, 4)
    activity = nf.run(chip, events(chip)).activity
    assert all(counts.sum() > len(counts) for counts in activity.spike_counts.values())
    assert len(np.unique(seen(chip))) > 50
