"""Repairs of networks with loops, skips and several inputs: what works on every graph, and what says that it takes chains only."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from remap_chips import LOOPS, SIZES, STEPS, graph, same

import neurofault as nf
from neurofault import faults
from neurofault.deploy.memory import stored_weights, write
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import LearningRuleError, UnsupportedError, UsageError
from neurofault.graph import Dense, Population
from neurofault.inputs import Inputs
from neurofault.learning.setup import strict_engine
from neurofault.rescue import check_way
from neurofault.rescue.examples import Examples
from neurofault.rescue.fresh import implant
from neurofault.rescue.learners import gain
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.learners.errors import ErrorLearning, delta
from neurofault.rescue.learners.unchanging import arriving_spikes
from neurofault.rescue.lesson import Lesson, Plasticity
from neurofault.rescue.remap.remap import remap
from neurofault.study.rescue_study import rescue_study, treatments

SAMPLES = 24
SMALL = (
    ("hidden1", "input", "hidden1", 1),
    ("hidden1.rec", "hidden1", "hidden1", 1),
    ("output", "hidden1", "output", 1),
    ("skip", "input", "output", 1),
)
TWO_INPUTS = (*LOOPS, ("second", "other", "hidden2", 1), ("aside", "other", "output", 4))
WAYS = {"small": (SMALL, False), "lags": (LOOPS, False), "sparse": (LOOPS, True), "two inputs": (TWO_INPUTS, False)}


@cache
def chip(name="small", seed=0):
    ways, some = WAYS[name]
    return nf.deploy(graph(seed, ways, some), "loihi2", neurons_per_core=3, spare_cores=4)


@cache
def samples(name="small", seed=1):
    rng = np.random.default_rng(seed)
    spikes = {one: rng.random((SAMPLES, STEPS, chip(name).population(one).size)) < 0.4 for one in chip(name).inputs}
    return Inputs(events=spikes), rng.integers(0, 4, SAMPLES)


def core_of(deployment, population):
    return int(deployment.placement.core_of[population][0])


def dead(deployment, *populations):
    return nf.inject(deployment, faults.CoreDead(cores=sorted({core_of(deployment, name) for name in populations})))


def held(deployment, connection):
    """What a connection's memory holds, or its weights where nothing can be written."""
    own = deployment.connection(connection).synapses
    return stored_weights(deployment, connection) if isinstance(own, Dense) else own.weight


def changed(before, after):
    """Names of the connections whose weights differ."""
    return {one.name for one in before.connections if not np.array_equal(held(before, one.name), held(after, one.name))}


# ── remap ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lost", [("hidden1",), ("output",), ("input",), ("input", "hidden1", "output")], ids="+".join)
def test_a_remap_restores_every_spike_of_a_recurrent_network(lost):
    whole = chip()
    hurt = dead(whole, *lost)
    repaired = remap(hurt)
    assert not same(whole, hurt)
    assert same(whole, repaired.deployment)
    assert {move.population for move in repaired.moves} == set(lost)
    assert repaired.left == {}


def test_a_strategy_remaps_and_charges_it():
    hurt = dead(chip(), "hidden1")
    x, y = samples()
    done = nf.rescue(hurt, x, y, strategy="remap", test=(x, y))
    assert same(chip(), done.deployment)
    assert done.final == done.points[0].accuracy
    by_hand = remap(hurt)
    assert (done.spent.writes, done.spent.axon_updates, done.spent.host_bytes) == (
        by_hand.writes, by_hand.axon_updates, by_hand.host_bytes,
    )  # fmt: skip
    words = 3 * (SIZES["input"] + SIZES["hidden1"])  # each of the three neurons stores a row for each source of both connections
    assert by_hand.writes == words


def test_what_breaks_a_connection_stays_with_those_who_did_not_move():
    whole = chip()
    hurt = nf.inject(
        whole, [faults.SynapseDead(rate=1.0, connection="skip"), faults.SynapseDead(rate=1.0, connection="hidden1.rec")]
    )
    after = remap(dead(hurt, "hidden1")).deployment
    skip, loop = after.damage.edits
    assert skip.connection == "skip"
    assert len(skip.targets) == SIZES["input"] * SIZES["output"]
    moved = hurt.placement.core_of["hidden1"] != after.placement.core_of["hidden1"]
    assert loop.connection == "hidden1.rec"
    assert not moved[loop.targets].any()
    assert len(loop.targets) == SIZES["hidden1"] * int((~moved).sum())
    assert not stored_weights(after, "skip").any()
    np.testing.assert_array_equal(stored_weights(after, "hidden1.rec")[moved], stored_weights(whole, "hidden1.rec")[moved])


# ── delta ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", WAYS)
def test_delta_changes_connections_into_the_readout_only(name):
    whole, (x, y) = chip(name), samples(name)
    hurt = nf.inject(whole, [faults.CoreDead(count=1, layer="hidden"), faults.SynapseDead(rate=0.2, layer="output")], seed=3)
    done = nf.rescue(hurt, x, y, learner="delta", budget=nf.Budget(cycles=3), guard=None, seed=2)
    trained = {one.name for one in whole.into("output") if isinstance(one.synapses, Dense)}
    assert changed(hurt, done.deployment) == trained
    assert done.provision.plastic == tuple(one.name for one in whole.connections if one.name in trained)
    assert done.spent.updates > done.spent.writes > 0
    assert done.spent.energy["davies2018"] > 0
    again = nf.rescue(hurt, x, y, learner="delta", budget=nf.Budget(cycles=3), guard=None, seed=2)
    assert changed(again.deployment, done.deployment) == set()
    assert all(a is b for a, b in zip(whole.populations, done.deployment.populations, strict=True))


def plain_reference(deployment, learner, lesson, plastic):
    """Delta one sample at a time: the exact engine, the documented formulas, and the strict learning engine of each connection."""
    x, y, now = lesson.inputs, lesson.labels, deployment
    alive = ~deployment.damage.silent("output", SIZES["output"])
    for k in range(len(y)):
        traces = ExactEngine().run(now, x[k : k + 1], record=("spikes",)).traces
        scores = traces["output"].spikes[0].sum(axis=0)
        error = np.zeros(SIZES["output"], int)
        if alive[y[k]]:
            for c in np.flatnonzero(alive):
                excess = int(scores[c] - scores[y[k]]) + learner.margin
                if c != y[k] and excess > 0:
                    error[c] = -min(127, learner.tie * excess // learner.margin)
            error[y[k]] = min(127, -error.sum())
        if not error.any():
            continue
        third = {"y1": np.zeros((1, STEPS, 4), np.int64), "y2": np.zeros((1, STEPS, 4), np.int64)}
        third["y1"][0, -1], third["y2"][0, -1] = np.maximum(error, 0), np.maximum(-error, 0)
        learned = {}
        for name in plastic:
            own, lag = now.connection(name), now.schedule.lag[name]
            arriving = np.zeros((1, STEPS, own.synapses.n_in), bool)
            for t in range(lag, STEPS):
                arriving[0, t] = traces[own.source].spikes[0, t - lag]
            engine = strict_engine(now, name, learner.rule(now, name), seed=lesson.seed)
            state = type(engine.start)(engine.start.mode, k * STEPS, engine.start.memory)
            learned[name] = engine.learn(state, arriving, third=third, clear=True).state.weight
        for name, weights in learned.items():
            now = write(now, name, weights, weights != stored_weights(now, name))
    return now


DAMAGE = {
    "none": [],
    "lasting": [
        faults.CoreDead(count=1, layer="hidden1"),
        faults.NeuronDead(count=1, layer="output"),
        faults.SynapseBitStuck(rate=0.1, level=1, connection="output"),
        faults.SynapseBitStuck(rate=0.1, level=0, connection="skip"),
    ],
    "in time": [
        faults.NeuronDead(rate=0.4, layer="hidden1", when=faults.transient(1, 3)),
        faults.LearningFrozen(count=1, layer="output", when={"kind": "intermittent", "on": 7, "off": 9, "clock": "chip"}),
    ],
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", WAYS)
def test_delta_on_graphs_equals_the_plain_one(name, damage, seed):
    whole, (x, y) = chip(name, seed), samples(name)
    hurt = nf.inject(whole, DAMAGE[damage], seed=seed) if DAMAGE[damage] else whole
    learner = delta(whole, x, y, readout_exponent=-3, scaled=False)
    lesson = Lesson(x[:10], y[:10], cycle=10, seed=seed)
    fast, plain = learner.teach(hurt, lesson).deployment, plain_reference(hurt, learner, lesson, learner.trainable(hurt))
    assert changed(hurt, fast)
    for one in whole.into("output"):
        np.testing.assert_array_equal(held(fast, one.name), held(plain, one.name))


@pytest.mark.parametrize("name", WAYS)
def test_how_a_cycle_is_cut_into_lessons_changes_nothing(name):
    hurt, (x, y) = nf.inject(chip(name), DAMAGE["lasting"], seed=5), samples(name)
    learner = delta(chip(name), x, y)
    whole = learner.teach(hurt, Lesson(x, y, cycle=SAMPLES, seed=4))
    now, memory, spikes = hurt, None, 0
    for start in range(0, SAMPLES, 7):
        taught = learner.teach(now, Lesson(x, y, cycle=SAMPLES, seed=4).part(slice(start, min(start + 7, SAMPLES))), memory)
        now, memory, spikes = taught.deployment, taught.memory, spikes + taught.spent.spikes
    assert changed(now, whole.deployment) == set()
    assert spikes == whole.spent.spikes
    assert all(np.array_equal(memory[one], whole.memory[one]) for one in whole.memory)


def test_spikes_of_a_lesson_are_those_of_a_run():
    hurt, (x, y) = nf.inject(chip("two inputs"), DAMAGE["lasting"], seed=5), samples("two inputs")
    learner = delta(chip("two inputs"), x, y)
    taught = learner.teach(hurt, Lesson(x, np.full(SAMPLES, -1), cycle=SAMPLES))
    assert taught.spent.writes == 0
    assert taught.spent.spikes == nf.run(hurt, x).activity.spikes


def test_plastic_names_connections():
    whole, (x, y) = chip(), samples()
    hurt = dead(whole, "hidden1")
    done = nf.rescue(hurt, x, y, learner="delta", plastic=("skip",), guard=None)
    assert changed(whole, done.deployment) == {"skip"}
    assert done.provision.plastic == ("skip",)
    for name, text in (
        ("skop", r"no connection 'skop' \(did you mean 'skip'\?\); connections: hidden1, hidden1.rec, output, skip"),
        ("hidden1.rec", "delta can train output, skip, none of which is plastic"),
    ):
        with pytest.raises(UsageError, match=text):
            nf.rescue(hurt, x, y, learner="delta", plastic=(name,), guard=None)


def test_budgets_and_the_guard_hold_on_graphs():
    whole, (x, y) = chip("lags"), samples("lags")
    hurt = nf.inject(whole, DAMAGE["lasting"], seed=7)
    free = nf.rescue(hurt, x, y, learner="delta", budget=nf.Budget(cycles=3), guard=nf.Guard(0.5)).spent
    assert free.writes > 30
    for limits in ({"writes": 30}, {"writes_per_synapse": 2}, {"energy": free.energy["davies2018"] / 2}):
        budget = nf.Budget(cycles=3, **limits)
        done = nf.rescue(
            hurt, x, y, strategy="iterative", learner="delta", budget=budget, plan=nf.Plan(steps=2), guard=nf.Guard(0.5)
        )
        assert done.spent.writes <= limits.get("writes", np.inf)
        assert done.spent.energy["davies2018"] <= limits.get("energy", np.inf)
        assert all(spell.kept >= spell.begun for spell in done.guarded.spells)
        assert changed(hurt, done.deployment) <= {"output", "skip"}


def test_several_inputs_go_through_a_whole_repair():
    whole, (x, y) = chip("two inputs"), samples("two inputs")
    hurt = dead(whole, "other", "hidden1")
    done = nf.rescue(hurt, x, y, strategy="remap+learn", learner="delta", plan=nf.Plan(watchdog=5), guard=nf.Guard(0.3))
    assert same_spikes(whole, done.deployment, x, ("input", "other", "hidden1", "hidden2"))


def same_spikes(one, other, x, names):
    first, second = (ExactEngine().run(each, x, record=("spikes",)).traces for each in (one, other))
    return all(np.array_equal(first[name].spikes, second[name].spikes) for name in names)


def test_new_neurons_learn_faster_than_old_ones():
    whole, (x, y) = chip(), samples()
    new = np.arange(SIZES["hidden1"]) < 3
    plasticity = Plasticity(new={"hidden1": new}, old_shift=None)
    learner = delta(whole, x, y, readout_exponent=-3, scaled=False)
    taught = learner.teach(whole, Lesson(x, y, cycle=SAMPLES, plasticity=plasticity)).deployment
    assert changed(whole, taught) == {"output"}
    moved = (stored_weights(taught, "output") != stored_weights(whole, "output")).any(axis=0)
    assert moved[new].any()
    assert not moved[~new].any()


def test_the_gain_counts_spikes_that_arrive_over_every_connection():
    whole, (x, _) = chip("lags"), samples("lags")
    seen = gain.seen(whole, x, ["output", "skip"])
    traces = ExactEngine().run(whole, x, record=("spikes",)).traces
    lag = whole.schedule.lag["output"]
    assert lag > 0
    np.testing.assert_array_equal(seen.spikes["output"], traces["hidden2"].spikes[:, : STEPS - lag].sum(axis=1))
    np.testing.assert_array_equal(seen.spikes["skip"], traces["input"].spikes.sum(axis=1))


def test_the_phase_of_what_no_input_reaches_is_kept():
    """A population with a bias alone drives hidden1 early and the output late: without the output it would begin earlier."""
    net = graph(0, (*SMALL, ("beats", "hidden2", "hidden1", 1), ("late", "hidden2", "output", 1)), some=False)
    ways = tuple(replace(one, delay=3) if one.name in ("output", "skip") else one for one in net.connections)
    whole = nf.deploy(replace(net, connections=ways), "loihi2", neurons_per_core=3)
    assert whole.schedule.phase["hidden2"] > 0
    x, y = samples()
    found, counts = arriving_spikes(whole, x, ("output",))
    traces = ExactEngine().run(whole, x, record=("spikes",)).traces
    assert set(found) == set(counts) == {"input", "hidden1", "hidden2"}
    assert all(np.array_equal(found[name], traces[name].spikes) for name in found)
    learner = delta(whole, x, y, readout_exponent=-3, scaled=False)
    lesson = Lesson(x[:8], y[:8], cycle=8)
    plain = plain_reference(whole, learner, lesson, learner.trainable(whole))
    assert changed(learner.teach(whole, lesson).deployment, plain) == set()


# ── other learners ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_homeostasis_moves_biases_of_hidden_populations_that_plastic_connections_drive():
    whole, (x, y) = chip("lags"), samples("lags")
    hurt = nf.inject(whole, faults.NeuronLeak(rate=1.0, layer="hidden", offset=3500))
    learner = learner_named("homeostasis", whole, x, y, every=8, tolerance=0.0)
    assert learner.trainable(whole) == ("hidden1", "hidden2")
    for plastic, moved in ((None, {"hidden1", "hidden2"}), (("back",), {"hidden1"}), (("hidden2", "skip"), {"hidden2"})):
        done = learner.teach(hurt, Lesson(x, y, cycle=SAMPLES, plasticity=Plasticity(plastic))).deployment
        assert {
            one.name for one in hurt.populations if not np.array_equal(one.bias_mantissa, done.population(one.name).bias_mantissa)
        } == moved
    with pytest.raises(UsageError, match="homeostasis can change hidden1, hidden2, none of which is plastic"):
        learner.teach(hurt, Lesson(x, y, plasticity=Plasticity(("output",))))


@pytest.mark.parametrize("name", ["small", "sparse", "two inputs"])
def test_a_host_trains_every_dense_connection_also_through_loops(name):
    ways, some = WAYS[name]
    net = graph(0, ways, some)
    flat = [replace(one, neuron=replace(one.neuron, du=4095, dv=0)) for one in net.populations]
    whole = nf.deploy(replace(net, populations=tuple(flat)), "loihi2", neurons_per_core=3, spare_cores=2)
    x, y = samples(name)
    hurt = dead(whole, "hidden1")
    learner = learner_named("host", whole, x, y, optimiser="adam", rate=4.0)
    done = nf.rescue(hurt, x, y, learner=learner, budget=nf.Budget(cycles=3), guard=None)
    late = {"back"} if name == "sparse" else set()  # what it changes reaches the output after the last step
    assert changed(whole, done.deployment) == {one.name for one in whole.connections if isinstance(one.synapses, Dense)} - late
    assert not nf.run(done.deployment, x).activity.spike_counts["hidden1"][hurt.damage.silent("hidden1", 8)].any()


# ── what takes chains only ─────────────────────────────────────────────────────────────────────────────────────────────


def never(*_, **__):
    raise AssertionError("something ran")


LOOP = "takes chains only, and connection 'hidden1.rec' drives itself"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"learner": "dfa"}, f"dfa {LOOP}; learners that can: delta, homeostasis"),
        ({"learner": "emstdp"}, f"emstdp {LOOP}; learners that can: delta, homeostasis"),
        ({"learner": ErrorLearning(True, 1)}, f"dfa {LOOP}"),
        (
            {"learner": "delta", "strategy": "embryonic"},
            f"strategy 'embryonic' {LOOP}; strategies for other graphs: remap, remap+learn, batch, iterative",
        ),
    ],
)
def test_what_takes_chains_only_says_so_before_anything_runs(monkeypatch, options, text):
    hurt, (x, y) = dead(chip(), "hidden1"), samples()
    if not isinstance(options["learner"], ErrorLearning):
        monkeypatch.setattr(ExactEngine, "run", never)
    with pytest.raises(UnsupportedError) as error:
        nf.rescue(hurt, x, y, **options)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("law", "learner", "text"),
    [
        ({"reset": "subtract"}, "delta", "layer 'hands': reset 'subtract': delta trains neurons of Loihi's arithmetic that reset to zero at once; learners that can: homeostasis"),
        ({"reset": "subtract"}, "host", "engine 'snntorch' cannot run layer 'hidden1': with reset_delay=False snnTorch takes the threshold off again from a neuron that is still above it; reset_delay 1 is taken; learners that can: homeostasis"),
        ({"reset": "subtract", "reset_delay": 1}, "dfa", "layer 'hidden1': reset 'subtract', a reset one step after the spike: dfa trains neurons of Loihi's arithmetic that reset to zero at once; learners that can: homeostasis, host"),
        ({"refractory": 2}, "emstdp", "layer 'hidden1': refractory steps: emstdp trains neurons of Loihi's arithmetic that reset to zero at once; learners that can: homeostasis"),
    ],
)  # fmt: skip
def test_other_laws_are_refused_before_anything_runs_with_the_learners_that_can(monkeypatch, law, learner, text):
    cells = [nf.Population(name, (4,), nf.CubaLif(1.0, **law)) for name in ("hidden1", "hands")]
    net = nf.chain(
        "other law", [nf.Population("eyes", (4,), nf.Source()), *cells], [nf.Dense(np.eye(4) * 2)] * 2, timesteps=5, how="count"
    )
    hurt, x = dead(nf.deploy(net, neurons_per_core=2), "hidden1"), np.ones((8, 5, 4), bool)
    monkeypatch.setattr(ExactEngine, "run", never)
    with pytest.raises(UnsupportedError) as error:
        nf.rescue(hurt, x, np.arange(8) % 4, learner=learner)
    assert str(error.value) == text
    rows = treatments(["none", "batch"], [learner], nf.Budget(), nf.Plan())
    examples = Examples(Inputs(events=x), np.arange(8) % 4)
    with pytest.raises(UnsupportedError) as error:
        rescue_study(hurt, [faults.CoreDead(count=1)], examples, examples, rows, draws=1, seed=1)
    assert str(error.value) == text


def test_a_learner_that_trains_what_is_plastic_alone_is_taken():
    cells = [nf.Population("hidden1", (4,), nf.CubaLif(1.0, reset="subtract")), nf.Population("hands", (4,), nf.CubaLif(1.0))]
    net = nf.chain(
        "one other", [nf.Population("eyes", (4,), nf.Source()), *cells], [nf.Dense(np.eye(4) * 2)] * 2, timesteps=5, how="count"
    )
    whole = nf.deploy(net, neurons_per_core=2)
    with pytest.raises(UnsupportedError, match=r"learners that can: homeostasis$"):
        check_way(whole, "batch", "dfa", ("hidden1",))
    check_way(whole, "batch", "dfa", ("hands",))


def test_a_chip_without_the_rules_third_factor_names_the_learners_that_can():
    eyes, hands = nf.Population("eyes", (4,), nf.Source()), nf.Population("hands", (4,), nf.CubaLif(1.0))
    whole = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(4) * 2)], timesteps=5, how="count"), "loihi1")
    with pytest.raises(LearningRuleError) as error:
        check_way(whole, "batch", "delta")
    assert error.value.mistakes[-1] == "learners that can: emstdp, host"


def test_fresh_neurons_are_for_chains():
    with pytest.raises(UnsupportedError, match=f"embryonic replacement {LOOP}"):
        implant(remap(dead(chip(), "hidden1")), "zero", 0)


def test_delta_needs_a_readout_that_drives_nothing(monkeypatch):
    whole = nf.deploy(graph(0, (*SMALL, ("answer", "output", "hidden1", 1)), some=False), "loihi2", neurons_per_core=3)
    x, y = samples()
    monkeypatch.setattr(ExactEngine, "run", never)
    with pytest.raises(UnsupportedError) as error:
        nf.rescue(whole, x, y, learner="delta")
    assert (
        str(error.value)
        == "delta trains a readout that drives nothing, and connection 'answer' leaves the readout 'output'; learners that can: homeostasis"
    )


def test_delta_needs_a_dense_connection_without_delays():
    net = graph(0, LOOPS, some=True)
    late = tuple(
        replace(one, synapses=replace(one.synapses, delay=np.ones_like(one.synapses.weight, np.int64)))
        if one.target == "output" and isinstance(one.synapses, Dense)
        else one
        for one in net.connections
    )
    whole = nf.deploy(replace(net, connections=late), "loihi2", neurons_per_core=3)
    with pytest.raises(UnsupportedError) as error:
        delta(whole, *samples("lags"))
    assert str(error.value) == (
        "delta trains dense connections without delays, and none into the readout 'output' is one: output, skip, some"
    )


def test_the_networks_are_what_they_are_meant_to_be():
    assert isinstance(graph().populations[0], Population)
    for name in WAYS:
        activity = nf.run(chip(name), samples(name)[0]).activity
        assert all(counts.sum() > len(counts) for counts in activity.spike_counts.values())
    assert {lag > 0 for lag in chip("lags").schedule.lag.values()} == {True, False}
    assert len(chip("two inputs").inputs) == 2
