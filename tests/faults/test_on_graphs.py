"""Every kind on chips that are no chains: a loop, a skip, several connections into one population, several inputs, shared cores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fault_chips import EVERYWHERE, deployment, even, from_sample, neurons, pairs_of, small_profile, wire
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import present
from test_every_kind import EXTRA, LEARNING, WHENS, at_time, lively

import neurofault as nf
from neurofault import faults
from neurofault.damage.broken import BrokenCells, BrokenCore
from neurofault.damage.damage import Drop, InputNoise, LearningDefect
from neurofault.deploy.routing import topology
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError
from neurofault.faults.base import ConnectionFault
from neurofault.faults.context import FaultOutcome
from neurofault.faults.idle import idle_notes
from neurofault.faults.importance import neuron_scores
from neurofault.faults.masking import prune
from neurofault.faults.places import connections_into, populations_named, synapse_blocks, synapses_at
from neurofault.faults.spare import strike_cells, strike_core
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Source, Sparse
from neurofault.graph.synapses import Stored
from neurofault.inputs import Bias, Inputs

STORED = ["hidden1", "hidden1.rec", "skip", "output"]
"""The connections as a core stores them; the graph lists them otherwise."""
INTO = {"hidden": STORED[:2], "hidden1": STORED[:2], "output": STORED[2:], "any": STORED, "input": []}
OF_ONE = sorted(kind for kind, model in EVERYWHERE.items() if issubclass(model, ConnectionFault))
"""Kinds that may name a connection."""


def scattered(rng, n_out, n_in, *, delays=False):
    """Synapses one by one, about two in three."""
    there = rng.random((n_out, n_in)) < 0.66
    there[0, 0] = True
    targets, sources = np.nonzero(there)
    own = rng.integers(0, 4, len(targets)) if delays else None
    return Sparse.of(n_out, n_in, targets, sources, even(rng, len(targets)), own)


def recurrent(*, sparse=False, delay=1, **options):
    """input → hidden1, hidden1 → hidden1, input → output, hidden1 → output."""
    rng = np.random.default_rng(3)
    populations = [neurons("input", (5,), is_source=True), neurons("hidden1", (7,)), neurons("output", (4,))]
    synapses = {
        "output": Dense(even(rng, (4, 7))),
        "hidden1": Dense(even(rng, (7, 5))),
        "skip": scattered(rng, 4, 5) if sparse else Dense(even(rng, (4, 5))),
        "hidden1.rec": scattered(rng, 7, 7, delays=True) if sparse else Dense(even(rng, (7, 7))),
    }
    connections = [
        wire("skip", "input", "output", synapses["skip"], delay=delay),
        wire("hidden1", "input", "hidden1", synapses["hidden1"]),
        wire("output", "hidden1", "output", synapses["output"]),
        wire("hidden1.rec", "hidden1", "hidden1", synapses["hidden1.rec"]),
    ]
    options = {"neurons_per_core": 2} | options
    return lively(deployment(populations, connections, **options))


CHIPS = {
    "dense": recurrent(),
    "sparse": recurrent(sparse=True, delay=2),
    "crowded": recurrent(
        core_of={
            "input": np.array([0, 0, 1, 1, 1], np.int32),
            "hidden1": np.array([1, 1, 2, 2, 3, 3, 4], np.int32),
            "output": np.array([2, 2, 4, 4], np.int32),
        }
    ),
}
CHIP = CHIPS["dense"]


def spec_of(kind, when="permanent", **more):
    return {"kind": kind, "count": 2, "when": at_time(kind, when), **EXTRA.get(kind, {}), **more}


def shown(chip, samples=2):
    rng = np.random.default_rng(1)
    images = {name: rng.integers(0, 256, (samples, chip.population(name).size)).astype(np.uint8) for name in chip.inputs}
    return from_sample(chip.encode(images), 1)


def check(hurt):
    """The exact engine gives what plain integers give."""
    inputs = shown(hurt)
    activity = ExactEngine(threads=1).run(hurt, inputs, record=("u", "v", "spikes"))
    for population, wanted in present(hurt, inputs).items():
        for name in ("u", "v", "spikes"):
            np.testing.assert_array_equal(getattr(activity.traces[population], name), wanted[name], err_msg=f"{population} {name}")


@pytest.mark.parametrize("net", CHIPS)
@pytest.mark.parametrize("when", ["permanent", "transient", "ageing"])
@pytest.mark.parametrize("kind", EVERYWHERE)
def test_every_kind_equals_plain_integers(kind, when, net):
    if kind == "feedback_dead" and net == "sparse":  # feedback reaches dense populations only
        with pytest.raises(FaultError, match="layer 'hidden' has no feedback synapses"):
            faults.inject(CHIPS[net], spec_of(kind, when))
        return
    hurt = faults.inject(CHIPS[net], spec_of(kind, when), seed=4)
    assert hurt.damage.edits
    assert hurt.damage.hits[0].cores
    check(hurt)


@pytest.mark.parametrize("net", CHIPS)
@pytest.mark.parametrize("connection", STORED)
@pytest.mark.parametrize("kind", OF_ONE)
def test_a_named_connection_is_the_only_one_hit(kind, connection, net):
    chip = CHIPS[net]
    plan = faults.plan(chip, spec_of(kind, connection=connection), seed=2)
    (hit,) = plan.hits
    edits = plan.faults[0].edits
    assert edits
    if kind not in ("link_dead", "link_lossy"):  # whose links take what others send too
        assert {edit.connection for edit in edits} == {connection}
        assert set(hit.synapses) <= {connection}
        assert set(hit.neurons) <= {chip.connection(connection).source}
    check(faults.inject(chip, plan))


@pytest.mark.parametrize("kind", sorted(set(OF_ONE) - {"link_dead", "link_lossy"}))
@pytest.mark.parametrize("layer", ["hidden", "hidden1", "output", "any"])
def test_a_layer_means_all_connections_into_it(kind, layer):
    spec = {**spec_of(kind, layer=layer), "count": None, "rate": 1.0}
    (planned,) = faults.plan(CHIP, spec).faults
    names = [edit.connection for edit in planned.edits]
    assert list(dict.fromkeys(names)) == INTO[layer]
    if not kind.startswith("axon"):
        stored = {name: CHIP.connection(name).synapses.weight.size for name in INTO[layer]}
        assert planned.hit.synapses == stored


def test_links_of_a_connection_are_those_that_its_messages_cross():
    grid = topology(CHIP)
    for name in STORED:
        one = CHIP.connection(name)
        used = {
            link
            for source in CHIP.placement.cores_of(one.source)
            for core in CHIP.placement.cores_of(one.target)
            if source != core
            for link in grid.path(int(source), int(core))
        }
        seen = set()
        for draw in range(40):
            seen |= set(faults.plan(CHIP, faults.LinkDead(count=1, connection=name, direction="one"), draw=draw).hits[0].sites)
        assert seen <= {f"link {link.x},{link.y}:{link.direction}" for link in used}
        assert len(seen) > 1
        with pytest.raises(FaultError, match=f"only {len(used)}$"):
            faults.plan(CHIP, faults.LinkDead(count=99, connection=name))


def test_the_names_of_layers():
    named = {
        name: populations_named(TWO, name)
        for name in ("any", "input", "output", "hidden", "hidden1", "hidden2", "hidden3", "memory")
    }
    assert named == {
        "any": ("camera", "memory", "decision", "sound", "late", "motor"),
        "input": ("camera", "sound"),
        "output": ("decision",),
        "hidden": ("memory", "late", "motor"),
        "hidden1": ("memory",),
        "hidden2": ("late",),
        "hidden3": ("motor",),
        "memory": ("memory",),
    }
    with pytest.raises(FaultError) as error:
        populations_named(TWO, "hidden4")
    assert str(error.value) == (
        "no layer 'hidden4' (did you mean 'hidden'?); layers: camera, memory, decision, sound, late, motor, any, input, output, "
        "hidden, hidden1, hidden2, hidden3"
    )
    assert connections_into(TWO) == ("seen", "heard", "kept", "read", "moved", "delayed", "acts")
    assert connections_into(TWO, ("decision", "camera")) == ("read", "moved")


def two_inputs():
    """Two cameras of which one hears, a loop, a readout in the middle of the list, and populations behind it."""
    rng = np.random.default_rng(5)
    sizes = {"camera": 4, "memory": 5, "decision": 3, "sound": 4, "late": 3, "motor": 2}
    ends = {
        "read": ("memory", "decision"), "acts": ("decision", "motor"), "seen": ("camera", "memory"), "heard": ("sound", "memory"),
        "kept": ("memory", "memory"), "delayed": ("memory", "late"), "moved": ("late", "decision"),
    }  # fmt: skip
    populations = [neurons(name, (size,), is_source=name in ("camera", "sound")) for name, size in sizes.items()]
    connections = [
        wire(name, source, target, Dense(even(rng, (sizes[target], sizes[source]))), delay=1 + (name == "delayed"))
        for name, (source, target) in ends.items()
    ]
    return lively(deployment(populations, connections, neurons_per_core=2, readout="decision"))


TWO = two_inputs()


@pytest.mark.parametrize("kind", EVERYWHERE)
def test_every_kind_on_a_chip_with_two_inputs(kind):
    check(faults.inject(TWO, spec_of(kind, "intermittent"), seed=1))


def test_sensors_of_several_inputs():
    hurt = faults.inject(TWO, faults.SensorDead(rate=1.0, value=7))
    assert [(edit.population, len(edit.neurons)) for edit in hurt.damage.edits] == [("camera", 4), ("sound", 4)]
    (edit,) = faults.plan(TWO, faults.SensorDead(pixels=[1], layer="sound")).faults[0].edits
    assert (edit.population, edit.neurons.tolist()) == ("sound", [1])
    with pytest.raises(FaultError) as error:
        faults.plan(TWO, faults.SensorDead(pixels=[1]))
    assert str(error.value) == "sensor_dead: pixels are listed, so layer must name one layer, not 'input'"
    noise = faults.inject(TWO, faults.SensorNoisy(rate=1.0, each="step")).damage.edits
    first, second = (edit.mantissas(0, 0, 3, 8) for edit in noise if isinstance(edit, InputNoise))
    assert (first != second).mean() > 0.9
    events = TWO.with_population(replace(TWO.population("sound"), encoding=None))
    assert {edit.population for edit in faults.plan(events, faults.SensorDead(rate=1.0)).faults[0].edits} == {"camera"}
    with pytest.raises(FaultError, match="sensors need pixels, and layer 'sound' takes events; use neuron_dead"):
        faults.plan(events, faults.SensorDead(count=1, layer="sound"))
    with pytest.raises(FaultError, match="the bias of input neurons comes with each sample"):
        faults.plan(events, faults.NeuronBias(count=1, layer="camera", bit=1))
    assert faults.plan(events, faults.NeuronBias(count=1, layer="sound", bit=1)).hits[0].neurons == {"sound": 1}
    inputs = Inputs(bias={"camera": shown(events.with_population(TWO.population("sound"))).of("camera")},
                    events={"sound": np.random.default_rng(0).random((2, 5, 4)) < 0.5})  # fmt: skip
    assert isinstance(inputs.of("camera"), Bias)
    for kind in ("sensor_noisy", "sensor_dead", "neuron_dead"):
        hurt = faults.inject(events, spec_of(kind, layer="input"))
        activity = ExactEngine(threads=1).run(hurt, inputs, record=("v", "spikes"))
        for population, wanted in present(hurt, inputs).items():
            np.testing.assert_array_equal(activity.traces[population].spikes, wanted["spikes"], err_msg=f"{kind} {population}")


MISTAKES = [
    (
        {"kind": "synapse_dead", "count": 1, "layer": "hidden1", "connection": "hidden1.rec"},
        "synapse_dead: give layer or connection, not both",
    ),
    (
        {"kind": "synapse_dead", "count": 1, "connection": "hiden1.rec"},
        "synapse_dead: no connection 'hiden1.rec' (did you mean 'hidden1.rec'?); connections: skip, hidden1, output, hidden1.rec",
    ),
    ({"kind": "synapse_dead", "count": 1, "connection": 3}, "synapse_dead: connection must be a name, is 3"),
    (
        {"kind": "core_dead", "count": 1, "connection": "skip"},
        "core_dead: unknown key 'connection'; allowed: count, rate, where, layer, at, when, again, cores",
    ),
    (
        {"kind": "synapse_dead", "synapses": [[0, 0]]},
        "synapse_dead: synapses are listed, and 2 connections lead into layer 'hidden'; name one of them with connection, in place of "
        "layer: hidden1, hidden1.rec",
    ),
    (
        {"kind": "axon_lost", "axons": [[6, 3]], "connection": "hidden1"},
        "axon_lost: no axon from neuron 6 to connection 'hidden1' on core 3",
    ),
    (
        {"kind": "synapse_dead", "synapses": [[5, 0]], "connection": "skip"},
        "synapse_dead: no synapse 5 → 0 into connection 'skip'",
    ),
    (
        {"kind": "synapse_bit_flip", "synapse_bits": [[0, 0, 8]], "connection": "skip"},
        "synapse_bit_flip: bit must lie in [0, 7]: connection 'skip' stores 8 bits a weight",
    ),
    (
        {"kind": "synapse_dead", "count": 99, "connection": "skip"},
        "synapse_dead: 99 stored synapses asked for, but connection 'skip' has only 20",
    ),
    (
        {"kind": "synapse_dead", "count": 1, "connection": "skip", "at": "core:0-2"},
        "synapse_dead: connection 'skip' has no stored synapses at 'core:0-2'",
    ),
    (
        {"kind": "memory_word_dead", "words": [[3, 12]], "layer": "hidden1"},
        "memory_word_dead: no memory word 12 of layer 'hidden1' on core 3; there: 0 to 4, 5 to 11",
    ),
    (
        {"kind": "memory_word_dead", "words": [[3, 2]], "connection": "hidden1.rec"},
        "memory_word_dead: no memory word 2 of connection 'hidden1.rec' on core 3; there: 5 to 11",
    ),
    (
        {"kind": "memory_word_dead", "words": [[1, 0]], "layer": "hidden1"},
        "memory_word_dead: no memory word 0 of layer 'hidden1' on core 1; there: none",
    ),
]


@pytest.mark.parametrize(("spec", "message"), MISTAKES)
def test_mistakes_name_the_connection(spec, message):
    with pytest.raises(FaultError) as error:
        faults.plan(CHIP, spec)
    assert str(error.value) == message


def test_a_connection_shows_only_where_it_is_named():
    for kind, model in EVERYWHERE.items():
        plain = faults.fault_from_mapping({**spec_of(kind), "layer": "output" if kind == "error_dead" else "input"})
        assert "connection" not in faults.fault_to_mapping(plain)
        names = [parameter.name for parameter in faults.describe(kind).parameters]
        assert ("connection" in names) == issubclass(model, ConnectionFault)
    named = faults.fault_from_mapping(spec_of("synapse_dead", connection="skip"))
    assert faults.fault_to_mapping(named) == {"kind": "synapse_dead", "count": 2, "connection": "skip"}
    assert faults.fault_from_mapping(faults.fault_to_mapping(named)) == named


def words_of(chip, core, size):
    """Every run of a core's memory by plain loops: (connection, its pairs), in the order in which it stores them."""
    found = []
    for population in chip.populations:
        here = [n for n, home in enumerate(chip.placement.core_of[population.name]) if home == core]
        for one in chip.connections:
            if one.target == population.name:
                pairs = pairs_of(one.synapses)
                for source in range(one.synapses.n_in):
                    row = [(source, target) for target in here if (source, target) in pairs]
                    found += [(one.name, row[at : at + size]) for at in range(0, len(row), size)]
    return found


def pairs_in(edits):
    return {(e.connection, s, t) for e in edits for s, t in zip(e.sources.tolist(), e.targets.tolist(), strict=True)}


@pytest.mark.parametrize("net", ["crowded", "sparse"])
def test_memory_words_count_through_all_that_a_core_stores(net):
    chip = CHIPS[net]
    for core in chip.placement.used_cores.tolist():
        words = words_of(chip, core, 2)  # two 8-bit weights a word of 16 bits
        for number, (connection, pairs) in enumerate(words):
            wanted = {(connection, s, t) for s, t in pairs}
            place = {"all_of": [f"core:{core}", f"word:{number}"]}
            for fault in (
                faults.MemoryWordDead(words=[(core, number)], connection=connection),
                faults.MemoryWordDead(words=[(core, number)], layer=chip.connection(connection).target),
                faults.SynapseDead(rate=1.0, layer="any", at=place),
                faults.SynapseBitFlip(rate=1.0, at=place),
            ):
                assert pairs_in(faults.plan(chip, fault).faults[0].edits) == wanted
        headers = words_of(chip, core, 3)
        for number, (connection, pairs) in enumerate(headers):
            edits = faults.plan(chip, faults.WordHeader(headers=[(core, number)], connection=connection)).faults[0].edits
            assert pairs_in(edits) == {(connection, s, t) for s, t in pairs}
    everything = faults.plan(chip, faults.MemoryWordDead(rate=1.0, layer="any")).faults[0].edits
    assert len(pairs_in(everything)) == sum(one.synapses.weight.size for one in chip.connections)


def test_what_broke_in_a_spare_core_is_what_a_repair_meets_there():
    chip, core = CHIPS["crowded"], 2
    words = words_of(chip, core, 2)
    for number, (connection, pairs) in enumerate(words):
        out = FaultOutcome()
        strike_cells(chip, out, BrokenCells(core, (number,), None, 0), [])
        assert pairs_in(out.edits) == {(connection, s, t) for s, t in pairs}
        assert out.synapses == {connection: len(pairs)}
    for part in ("silent", "frozen"):
        out, dead = FaultOutcome(), faults.CoreDead if part == "silent" else faults.LearningFrozen
        strike_core(chip, out, BrokenCore(core, part))
        edits = faults.plan(chip, dead(cores=[core])).faults[0].edits
        assert [type(edit) for edit in out.edits] == [type(edit) for edit in edits]
        assert out.synapses == faults.plan(chip, dead(cores=[core])).hits[0].synapses


def test_a_dead_core_takes_every_population_and_all_that_leads_there():
    chip = CHIPS["crowded"]
    (planned,) = faults.plan(chip, faults.CoreDead(cores=[2])).faults
    assert [(edit.population, edit.neurons.tolist()) for edit in planned.edits] == [("hidden1", [2, 3]), ("output", [0, 1])]
    assert planned.hit.neurons == {"hidden1": 2, "output": 2}
    assert planned.hit.synapses == {"hidden1": 10, "hidden1.rec": 14, "skip": 10, "output": 14}
    assert list(planned.hit.synapses) == STORED


@pytest.mark.parametrize("kind", sorted(LEARNING))
def test_learning_defects_are_of_every_connection_into_the_neurons(kind):
    (planned,) = faults.plan(
        CHIPS["crowded"], {"kind": kind, "rate": 1.0, **({"layer": "any"} if kind != "error_dead" else {})}
    ).faults
    own = [edit for edit in planned.edits if isinstance(edit, LearningDefect)]
    wanted = STORED[2:] if kind == "error_dead" else STORED[:2] if kind == "feedback_dead" else STORED
    assert {edit.connection for edit in own} == set(wanted)
    targets = {CHIP.connection(edit.connection).target: set() for edit in own}
    for edit in own:
        targets[CHIP.connection(edit.connection).target] |= set(edit.neurons.tolist())
    assert all(found == set(range(CHIP.population(name).size)) for name, found in targets.items())
    counted = 4 * 7 if kind == "feedback_dead" else 0 if kind == "error_dead" else 7 * 5 + 7 * 7 + 4 * 5 + 4 * 7
    assert sum(planned.hit.synapses.values()) == counted


def test_connections_have_streams_of_their_own():
    noise = {}
    for edit in faults.plan(CHIP, faults.SynapsePerturbed(rate=1.0, sigma=30.0, relative=False, layer="any")).faults[0].edits:
        order = np.lexsort((edit.sources, edit.targets))
        noise[edit.connection] = edit.offset[order][: 4 * 5]
    for one, other in ((0, 1), (2, 3), (1, 3), (0, 2)):
        assert len(set(noise[STORED[one]]) & set(noise[STORED[other]])) == 0
    lossy = faults.plan(BIG, faults.LinkLossy(links=["0,0:S"], probability=0.5)).faults[0].edits
    keys = {edit.connection: edit.key for edit in lossy if isinstance(edit, Drop)}
    assert keys["hidden1"] != keys["hidden1.rec"]
    drawn = {
        name: pairs_in(faults.plan(CHIP, faults.SynapseDead(count=9, connection=name), seed=s).faults[0].edits)
        for name in ("hidden1", "hidden1.rec")
        for s in (1,)
    }
    assert {pair[1:] for pair in drawn["hidden1"]} != {pair[1:] for pair in drawn["hidden1.rec"]}


BIG = recurrent(neurons_per_core=1, profile=small_profile(columns=3, rows=3, cores_per_tile=2))


@pytest.mark.parametrize("kind", OF_ONE)
def test_fewer_sites_are_among_more_and_the_second_of_a_kind_hits_others(kind):
    few, more = (faults.plan(BIG, {**spec_of(kind, connection="hidden1.rec"), "count": k}, seed=6).faults[0].edits for k in (1, 3))
    if kind not in ("link_dead", "link_lossy", "synapse_perturbed"):
        assert pairs_or_axons(few) < pairs_or_axons(more)
    if kind in ("synapse_dead", "memory_word_dead", "axon_lost"):
        first, second = faults.plan(BIG, [{**spec_of(kind, connection="hidden1.rec"), "count": 3}] * 2).faults
        assert not pairs_or_axons(first.edits) & pairs_or_axons(second.edits)


def pairs_or_axons(edits):
    return {
        (e.connection, s, t)
        for e in edits
        for s, t in (
            [(s, e.core) for s in e.sources.tolist()]
            if isinstance(e, Drop)
            else zip(e.sources.tolist(), e.targets.tolist(), strict=True)
        )
    }


def test_dead_links_cut_every_connection_that_crosses_them():
    grid = topology(BIG)
    for name in ("0,0:E", "1,0:S", "1,1:W", "2,1:S"):
        x, y, direction = int(name[0]), int(name[2]), name[4]
        wanted = {
            (one.name, int(source), int(core))
            for one in BIG.connections
            for source in BIG.placement.cores_of(one.source)
            for core in BIG.placement.cores_of(one.target)
            if source != core and (x, y, direction) in grid.path(int(source), int(core))
        }
        hurt = faults.inject(BIG, faults.LinkDead(links=[name], direction="one"))
        got = {
            (edit.connection, int(source), edit.core)
            for edit in hurt.damage.edits
            for source in np.unique(BIG.placement.core_of[BIG.connection(edit.connection).source][edit.sources])
        }
        assert got == wanted
        assert sum(hurt.damage.hits[0].neurons.values()) == len({core for _, _, core in wanted})  # one neuron a core, each once
        check(hurt)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([*CHIPS, "two"]),
    st.lists(
        st.tuples(st.sampled_from(sorted(set(EVERYWHERE) - {"feedback_dead"})), st.sampled_from(sorted(WHENS))),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 99),
)
def test_a_pruned_plan_gives_the_same_spikes(net, chosen, seed):
    chip = {**CHIPS, "two": TWO}[net]
    quiet = [replace(one, vth=np.where(np.arange(one.size) % 3 == 1, 131071, one.vth).astype(np.int32)) for one in chip.populations]
    chip = replace(chip, populations=tuple(quiet))
    plan = faults.plan(chip, [{**spec_of(kind, when), "count": None, "rate": 0.4} for kind, when in chosen], seed=seed)
    rng = np.random.default_rng(seed)
    inputs = chip.encode(
        {name: (rng.integers(0, 2, (2, chip.population(name).size)) * 200).astype(np.uint8) for name in chip.inputs}
    )
    masked = prune(chip, plan, ExactEngine(threads=1).run(chip, inputs).spike_counts)
    assert 0 <= masked.masked <= masked.sites
    whole, pruned = (
        ExactEngine(threads=1).run(faults.inject(chip, one), inputs, record=("spikes",)) for one in (plan, masked.plan)
    )
    np.testing.assert_array_equal(whole.scores, pruned.scores)
    for name, trace in whole.traces.items():
        np.testing.assert_array_equal(trace.spikes, pruned.traces[name].spikes)


def test_what_a_loop_reaches_is_not_taken_to_be_quiet():
    dark = {"input": np.zeros((2, 5), np.uint8)}
    still = CHIP.with_population(replace(CHIP.population("hidden1"), bias_mantissa=np.zeros(7, np.int32)))
    counts = ExactEngine(threads=1).run(still, still.encode(dark)).spike_counts
    assert not counts["hidden1"].any()
    loop = faults.plan(still, faults.SynapseDead(rate=1.0, connection="hidden1.rec"))
    assert prune(still, loop, counts).masked == 0  # what it changes is behind itself
    skipped = faults.plan(
        still, [faults.SynapseDead(rate=1.0, connection="skip"), faults.NeuronSaturated(neurons=[0], layer="hidden1")]
    )
    assert not prune(still, skipped, counts).plan.faults[0].edits  # the input is not behind it


@pytest.mark.parametrize(
    "kind", sorted(set(EVERYWHERE) - {"axon_lost", "axon_misrouted", "link_dead", "link_lossy", "router_dead"})
)
@pytest.mark.parametrize("net", ["crowded", "dense"])
def test_what_is_hit_twice_is_counted_once(kind, net):
    hurt = faults.inject(CHIPS[net], spec_of(kind))
    (hit,) = hurt.damage.hits
    twice = faults.struck(hurt.with_damage(hurt.damage.plus(hurt.damage.edits, hit)))
    assert (twice.cores, twice.neurons, twice.synapses) == (hit.cores, hit.neurons, hit.synapses)


def test_importance_adds_up_over_all_connections():
    size = {name: np.abs(CHIP.connection(name).synapses.weight) for name in STORED}
    assert neuron_scores(CHIP, "input").tolist() == (size["hidden1"].sum(axis=0) + size["skip"].sum(axis=0)).tolist()
    assert neuron_scores(CHIP, "hidden1").tolist() == (size["hidden1.rec"].sum(axis=0) + size["output"].sum(axis=0)).tolist()
    assert neuron_scores(CHIP, "output").tolist() == (size["skip"].sum(axis=1) + size["output"].sum(axis=1)).tolist()
    sparse = CHIPS["sparse"]
    dense = np.zeros((7, 7), int)
    for (s, t), (weight, _) in pairs_of(sparse.connection("hidden1.rec").synapses).items():
        dense[t, s] = abs(weight)
    wanted = dense.sum(axis=0) + np.abs(sparse.connection("output").synapses.weight).sum(axis=0)
    assert neuron_scores(sparse, "hidden1").tolist() == wanted.tolist()
    assert neuron_scores(TWO, "motor").tolist() == [0, 0]  # nothing depends on what nobody reads
    largest = faults.plan(CHIP, faults.SynapseDead(count=5, connection="hidden1.rec", where="most_important")).faults[0].edits[0]
    found = size["hidden1.rec"][largest.targets, largest.sources]
    assert sorted(found) == sorted(np.sort(size["hidden1.rec"].ravel())[-5:])


def test_sparse_synapses_are_stored_axon_by_axon():
    chip = CHIPS["sparse"]
    pairs = pairs_of(chip.connection("skip").synapses)
    found = []
    for block in synapse_blocks(chip, ["skip"]):
        which, sources, targets = synapses_at(chip, block, np.arange(block.size))
        assert which.tolist() == list(range(block.size))
        here = list(zip(sources.tolist(), targets.tolist(), strict=True))
        assert here == sorted(here)
        assert {int(chip.placement.core_of["output"][target]) for target in targets} <= {block.core}
        found += here
    assert sorted(found) == sorted(pairs)


def test_a_plan_of_a_graph_survives_its_file(tmp_path):
    specs = [spec_of(kind, list(WHENS)[number % len(WHENS)]) for number, kind in enumerate(EVERYWHERE)]
    specs += [spec_of(kind, connection="hidden1.rec") for kind in OF_ONE]
    plan = faults.plan(CHIP, specs, seed=1)
    faults.save_plan(plan, tmp_path / "plan.npz")
    read = faults.load_plan(tmp_path / "plan.npz")
    assert faults.plan_hash(read) == faults.plan_hash(plan)
    assert read.hits == plan.hits
    assert [one.fault for one in read.faults] == [one.fault for one in plan.faults]
    inputs = shown(CHIP)
    runs = [ExactEngine(threads=1).run(faults.inject(CHIP, one), inputs).scores for one in (plan, read)]
    np.testing.assert_array_equal(*runs)
    with pytest.raises(
        FaultError, match=r"made on another chip: it hits connection 'hidden1.rec', but here connections are read, "
    ):
        faults.inject(TWO, faults.plan(CHIP, faults.SynapseDead(count=1, connection="hidden1.rec")))


def test_the_last_step_of_a_run_is_that_of_the_deepest_population():
    last = 2 * TWO.timesteps + max(TWO.schedule.phase.values())
    for at, said in ((last, False), (last + 1, True)):
        when = faults.death(at)
        hurt = faults.inject(TWO, faults.NeuronDead(neurons=[0], layer="motor", when=when))
        assert bool(idle_notes(hurt, 2)) == said


def test_a_defect_map_keeps_connections_apart(tmp_path):
    known = (
        faults.SynapseDead(synapses=[(1, 2)], connection="hidden1.rec"),
        faults.SynapseDead(synapses=[(1, 2)], connection="hidden1"),
    )
    faults.save_defects(known, tmp_path / "chip.yaml")
    assert faults.load_defects(tmp_path / "chip.yaml") == known
    assert faults.defects.intersection(known[:1], known[1:]) == ()


def test_delays_of_kernels_and_shared_kernels_in_a_loop():
    rng = np.random.default_rng(2)
    shape = (2, 3, 3)
    loop = Conv(even(rng, (2, 2, 3, 3)), in_shape=shape, padding=(1, 1), delay=rng.integers(0, 4, (2, 2, 3, 3)))
    first = Conv(even(rng, (2, 1, 2, 2)), in_shape=(1, 4, 4))
    populations = [neurons("input", (1, 4, 4), is_source=True), neurons("hidden1", shape), neurons("output", (3,))]
    connections = [
        wire("hidden1", "input", "hidden1", first),
        wire("hidden1.rec", "hidden1", "hidden1", loop),
        wire("output", "hidden1", "output", Dense(even(rng, (3, 18)))),
    ]
    for shared in (False, True):
        chip = lively(deployment(populations, connections, neurons_per_core=5, profile=small_profile(shared_kernels=shared)))
        for kind in OF_ONE:
            for named in ("hidden1", "hidden1.rec"):
                check(faults.inject(chip, spec_of(kind, "transient", connection=named), seed=3))


def test_every_kind_on_a_deployed_graph():
    rng = np.random.default_rng(0)
    network = Network(
        "loop",
        (
            Population("input", (6,), Source(threshold=60)),
            Population("hidden1", (8,), CubaLif(60, bias_exponent=0)),
            Population("output", (3,), CubaLif(None, bias_exponent=0)),
        ),
        tuple(
            Connection(name, source, target, Dense(even(rng, size)), 1, Stored())
            for name, source, target, size in (
                ("hidden1", "input", "hidden1", (8, 6)), ("hidden1.rec", "hidden1", "hidden1", (8, 8)),
                ("skip", "input", "output", (3, 6)), ("output", "hidden1", "output", (3, 8)),
            )
        ),
        5,
        Readout("output"),
    )  # fmt: skip
    chip = nf.deploy(network, "loihi2", neurons_per_core=3)
    inputs = Inputs(events=rng.random((2, 5, 6)) < 0.5)
    for kind in sorted(set(EVERYWHERE) - {"sensor_dead", "sensor_noisy"}):
        for named in [None, *([*STORED] if kind in OF_ONE else [])]:
            hurt = nf.inject(chip, spec_of(kind, **({} if named is None else {"connection": named})) | {"count": 1}, seed=5)
            activity = ExactEngine(threads=1).run(hurt, inputs, record=("v", "spikes"))
            for population, wanted in present(hurt, inputs).items():
                np.testing.assert_array_equal(activity.traces[population].v, wanted["v"], err_msg=f"{kind} {named} {population}")
