"""Learners and strategies: what is dead stays dead, budgets hold, results are paired; on small networks that fire."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remap_chips import network

import neurofault as nf
from neurofault.deploy.cost import cost
from neurofault.deploy.memory import stored_weights, write, write_gate
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.errors import CapacityError, LearningRuleError, NeurofaultError, UnsupportedError, UsageError
from neurofault.inputs import Inputs
from neurofault.learning.setup import strict_engine
from neurofault.rescue.increments import increments, strike
from neurofault.rescue.learners.by_name import LEARNERS, learner_named
from neurofault.rescue.learners.errors import dfa
from neurofault.rescue.lesson import Lesson

SAMPLES, INPUTS = 40, 12
LEARNING = ("hidden1", "hidden2", "output")
ON_CHIP = ("delta", "dfa", "falling", "emstdp")
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def healthy(learner="dfa"):
    """A random chip with leaks; for the host, whose copy has none, one without."""
    net = network((INPUTS, 16, 10, 4), seed=3)
    if learner == "host":
        net = replace(net, populations=tuple(replace(one, neuron=replace(one.neuron, du=4095, dv=0)) for one in net.populations))
    return nf.deploy(net, "loihi2", neurons_per_core=4, spare_cores=2)


@cache
def samples():
    rng = np.random.default_rng(8)
    return Inputs(events=rng.random((SAMPLES, healthy().timesteps, INPUTS)) < 0.4), rng.integers(0, 4, SAMPLES)


def broken(seed, learner="dfa"):
    faults = [
        nf.faults.CoreDead(count=2, layer="hidden"),
        nf.faults.SynapseDead(rate=0.1, layer="hidden"),
        nf.faults.SynapseBitStuck(rate=0.02, layer="output", level=1),
        nf.faults.SynapseBitFlip(rate=0.05, layer="hidden"),
    ]
    return nf.inject(healthy(learner), faults, seed=seed)


def rescued(hurt, strategy="batch", learner="dfa", **options):
    """Rescue without a guard, which has tests of its own: what the learners do by themselves."""
    x, y = samples()
    return nf.rescue(hurt, x, y, strategy=strategy, learner=learner, **{"guard": None, **options})


def assert_broken_bits_hold(chip):
    for layer in (connection.name for connection in chip.connections):
        gate, held = write_gate(chip, layer), stored_weights(chip, layer)
        assert np.array_equal(gate.admit(held, held)[gate.alive], held[gate.alive])
        dead = (gate.keep == 0) & (gate.force == 0)
        assert not held[dead].any()


@few
@given(
    seed=st.integers(0, 1000),
    learner=st.sampled_from([*ON_CHIP, "host"]),
    strategy=st.sampled_from(["batch", "iterative", "remap+learn"]),
)
def test_what_is_dead_or_stuck_stays_so(seed, learner, strategy):
    hurt = broken(seed, learner)
    done = rescued(hurt, strategy, learner, budget=nf.Budget(cycles=1), plan=nf.Plan(steps=2), seed=seed)
    assert_broken_bits_hold(done.deployment)
    if strategy != "remap+learn":
        for own in hurt.populations:
            assert np.array_equal(done.deployment.damage.silent(own.name, own.size), hurt.damage.silent(own.name, own.size))
        silent = ExactEngine().run(done.deployment, samples()[0]).spike_counts
        for own in hurt.populations:
            assert not silent[own.name][hurt.damage.silent(own.name, own.size)].any()


@few
@given(seed=st.integers(0, 1000), learner=st.sampled_from([*ON_CHIP, "host"]), writes=st.integers(0, 60), each=st.integers(1, 3))
def test_budgets_of_writes_hold(seed, learner, writes, each):
    hurt = broken(seed, learner)
    done = rescued(hurt, "batch", learner, budget=nf.Budget(cycles=2, writes=writes, writes_per_synapse=each), seed=seed)
    assert done.spent.writes <= writes
    changed = sum(
        int(np.count_nonzero(stored_weights(done.deployment, layer) != stored_weights(hurt, layer))) for layer in LEARNING
    )
    assert changed <= done.spent.writes


@few
@given(seed=st.integers(0, 100), share=st.floats(0.05, 0.9))
def test_budgets_of_energy_and_time_hold(seed, share):
    hurt = broken(seed)
    free = rescued(hurt, seed=seed).spent
    for name in ("energy", "time"):
        limit = getattr(free, name)["davies2018"] * share
        done = rescued(hurt, budget=nf.Budget(cycles=1, **{name: limit}), seed=seed)
        assert getattr(done.spent, name)["davies2018"] <= limit
        assert done.samples_learned < SAMPLES
        assert any("budget ended" in note for note in done.notes)


@pytest.mark.parametrize("limit", ["writes", "energy", "time"])
def test_limits_are_spent_as_there_are_or_evenly_over_the_steps(limit):
    hurt = broken(3)

    def used(spent):
        return spent.writes if limit == "writes" else getattr(spent, limit)["davies2018"]

    def after_the_first_of_two(spend, **limits):
        done = rescued(hurt, "iterative", budget=nf.Budget(cycles=2, **limits), plan=nf.Plan(steps=2, spend=spend), seed=3)
        return used([point for point in done.points if point.strikes == 1][-1].spent), used(done.spent)

    free_first, free = after_the_first_of_two("greedy")
    most = int(1.2 * free_first) if limit == "writes" else 1.2 * free_first
    assert most < free
    greedy, even = after_the_first_of_two("greedy", **{limit: most}), after_the_first_of_two("even", **{limit: most})
    assert greedy[0] == free_first > most / 2 >= even[0] > 0
    assert most >= even[1] > even[0]
    assert even[1] > 0.9 * most  # what the first step left is the second's


@pytest.mark.parametrize("learner", ON_CHIP)
def test_only_new_neurons_learn_where_old_ones_must_not(learner):
    hurt = nf.inject(healthy(), nf.faults.CoreDead(cores=[int(healthy().placement.core_of["hidden1"][0])]))
    if learner == "emstdp":
        with pytest.raises(UnsupportedError, match="learns at one rate"):
            rescued(hurt, "embryonic", learner)
        return
    done = rescued(hurt, "embryonic", learner, budget=nf.Budget(cycles=3), plan=nf.Plan(old_shift=None))
    new = hurt.damage.silent("hidden1", 16)
    assert new.any()
    for layer, sources, targets in (
        ("hidden1", np.zeros(INPUTS, bool), new),
        ("hidden2", new, np.zeros(10, bool)),
        ("output", np.zeros(10, bool), np.zeros(4, bool)),
    ):
        before, after = stored_weights(healthy(), layer), stored_weights(done.deployment, layer)
        old = ~(targets[:, None] | sources[None])
        assert np.array_equal(before[old], after[old])


@few
@given(seed=st.integers(0, 1000), steps=st.integers(1, 6))
def test_damage_in_steps_is_the_whole_damage(seed, steps):
    hurt = broken(seed)
    chip = hurt.with_damage(nf.inject(healthy(), [], seed=0).damage)
    for part in increments(hurt, steps, seed=seed):
        chip = strike(chip, part)
    assert set(chip.damage.dead_cores) == set(hurt.damage.dead_cores)
    x, _ = samples()
    assert np.array_equal(ExactEngine().run(chip, x).scores, ExactEngine().run(hurt, x).scores)
    for layer in LEARNING:
        assert np.array_equal(stored_weights(chip, layer), stored_weights(hurt, layer))


@cache
def apart():
    """The random chip, its cores far apart, so that messages cross links."""
    return nf.deploy(network((INPUTS, 16, 10, 4), seed=3), "loihi2", neurons_per_core=4, spare_cores=2, strategy="spread")


def lost_synapses(chip):
    """Return connection → [source, target] of each synapse whose messages are lost."""
    return {
        edit.connection: [[int(source), int(target)] for own in chip.damage.edits if own.connection == edit.connection for source in own.sources for target in own.targets]
        for edit in chip.damage.edits
    }  # fmt: skip


ENDS = [
    nf.faults.LinkDead(count=7, layer="any"),
    nf.faults.LinkDead(count=7, layer="any", direction="one", reroute=True),
    nf.faults.LinkLossy(count=5, layer="any", probability=0.5),
    nf.faults.RouterDead(count=3, layer="any"),
    nf.faults.LinkDead(count=6, layer="any", when=nf.faults.transient(1, 4)),
]


@pytest.mark.parametrize("fault", ENDS, ids=["dead", "round", "lossy", "routers", "for a time"])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_links_and_routers_die_one_by_one_and_end_where_they_all_die_at_once(fault, steps):
    hurt, (x, _) = nf.inject(apart(), fault, seed=4), samples()
    chip, closed = apart(), []
    for part in increments(hurt, steps, seed=2):
        chip = strike(chip, part)
        closed.append(sorted(text for hit in chip.damage.hits for place in hit.broken for text in (*place.links, *place.routers)))
    assert closed[-1] == sorted(text for place in hurt.damage.hits[0].broken for text in (*place.links, *place.routers))
    assert all(set(before) <= set(after) for before, after in pairwise(closed))
    grown = [len(after) - len(before) for before, after in pairwise([[], *closed])]
    assert all(grown[: min(steps, 3)])  # of three places at the least
    assert max(grown) <= 2 * -(-fault.count // steps)  # a link and the way back
    ends = [ExactEngine().run(one, x) for one in (chip, hurt)]
    assert np.array_equal(ends[0].scores, ends[1].scores)
    assert cost(chip, ends[0], len(x)) == cost(hurt, ends[1], len(x))
    whole = ExactEngine().run(apart(), x)
    assert not np.array_equal(ends[1].scores, whole.scores) or cost(hurt, ends[1], len(x)) != cost(apart(), whole, len(x))


def test_links_that_die_after_a_remap_take_the_messages_of_the_new_way():
    chip = apart()
    hurt = nf.inject(
        chip,
        [nf.faults.CoreDead(cores=[int(chip.placement.core_of["hidden1"][0])]), nf.faults.LinkDead(count=12, layer="any")],
        seed=4,
    )
    x, y = samples()

    def bit_by_bit(bench):
        for _ in bench.parts:
            bench.strike(1)
            bench.remap()

    ends = [nf.rescue(hurt, x, y, strategy=way, plan=nf.Plan(steps=4), guard=None) for way in (bit_by_bit, "remap")]
    one, other = (ExactEngine().run(end.deployment, x) for end in ends)
    assert np.array_equal(one.scores, other.scores)
    assert not np.array_equal(one.scores, ExactEngine().run(hurt, x).scores)


def test_what_is_broken_for_good_is_the_same_in_kernels_and_step_by_step():
    """Parameters, messages that never come, drifted and dead synapses together: the kernels take them as other integers, the stepwise engine edit by edit."""
    chip, rng, inputs = apart(), np.random.default_rng(8), samples()[0][:12]
    kinds = [
        nf.faults.LinkDead(count=5, layer="any"), nf.faults.AxonLost(count=4, layer="any"), nf.faults.NeuronThreshold(count=6, layer="any", factor=2.0),
        nf.faults.NeuronThreshold(count=6, layer="any", bit=2), nf.faults.NeuronLeak(count=5, layer="any", decay="dv", factor=0.5),
        nf.faults.NeuronBias(count=3, layer="hidden", offset=40), nf.faults.SynapsePerturbed(rate=0.3, layer="any", sigma=1.0), nf.faults.NeuronDead(count=2),
    ]  # fmt: skip
    differed = 0
    for seed in range(20):
        hurt = nf.inject(chip, [kinds[at] for at in rng.permutation(len(kinds))[: 1 + seed % 5]], seed=seed)
        one, other = (engine.run(hurt, inputs, record=("spikes", "v")) for engine in (ExactEngine(), StepwiseEngine()))
        assert np.array_equal(one.scores, other.scores)
        for name, trace in one.traces.items():
            assert np.array_equal(trace.spikes, other.traces[name].spikes)
            assert np.array_equal(trace.v, other.traces[name].v)
        differed += not np.array_equal(one.scores, ExactEngine().run(chip, inputs).scores)
    assert differed > 10


@pytest.mark.parametrize("learner", ON_CHIP)
def test_a_message_that_never_comes_teaches_nothing_and_the_rest_learns_as_if_its_synapse_were_dead(learner):
    hurt, (x, y) = nf.inject(apart(), nf.faults.LinkDead(count=9, layer="any"), seed=4), samples()
    lost = lost_synapses(hurt)
    dead = nf.inject(apart(), [nf.faults.SynapseDead(layer=name, synapses=pairs) for name, pairs in lost.items()])
    options = {"strategy": "batch", "learner": learner, "budget": nf.Budget(cycles=2), "guard": None, "test": (x, y), "seed": 6}
    one, other = (nf.rescue(chip, x, y, **options) for chip in (hurt, dead))
    assert one.final == other.final
    assert 0 < one.spent.writes < other.spent.writes  # a dead cell is written to, though it keeps nothing
    learned = 0
    for name in LEARNING:
        before, after, beside = (stored_weights(chip, name) for chip in (hurt, one.deployment, other.deployment))
        out = np.zeros(before.shape, bool)
        for source, target in lost.get(name, []):
            out[target, source] = True
        assert np.array_equal(after[out], before[out])
        assert np.array_equal(after[~out], beside[~out])
        learned += int((after != before).sum())
    assert learned > 0


LASTING = [
    nf.faults.NeuronThreshold(count=12, layer="any", factor=2.0),
    nf.faults.NeuronThreshold(count=12, layer="any", bit=3),
    nf.faults.NeuronLeak(count=12, layer="any", decay="dv", factor=0.5),
    nf.faults.NeuronLeak(count=12, layer="any", decay="du", offset=700),
    nf.faults.NeuronBias(count=12, layer="hidden", offset=40),
]


@pytest.mark.parametrize("fault", LASTING, ids=["threshold", "a bit of it", "voltage", "current", "bias"])
def test_a_chip_with_other_parameters_learns_what_the_engine_step_by_step_gives(fault):
    """What acts in every step of a sample is not permanent by its name, so it goes through the exact engine, sample by sample."""
    timed = fault.replace(when=nf.faults.transient(0, healthy().timesteps))
    (x, y), chips = samples(), [nf.inject(apart(), one, seed=4) for one in (fault, timed)]
    options = {"strategy": "batch", "learner": "dfa", "budget": nf.Budget(cycles=2), "guard": None, "test": (x, y), "seed": 6}
    fast, slow = (nf.rescue(chip, x, y, **options) for chip in chips)
    assert (fast.final, fast.spent) == (slow.final, slow.spent)
    assert fast.spent.writes > 0
    for name in LEARNING:
        assert np.array_equal(stored_weights(fast.deployment, name), stored_weights(slow.deployment, name))
    unhurt = nf.rescue(nf.inject(apart(), fault.replace(count=0)), x, y, **options)
    assert any(
        not np.array_equal(stored_weights(fast.deployment, name), stored_weights(unhurt.deployment, name)) for name in LEARNING
    )


@pytest.mark.parametrize("name", [*ON_CHIP, "homeostasis"])
def test_how_a_cycle_is_cut_into_lessons_changes_nothing(name):
    hurt, (x, y) = broken(5), samples()
    learner = learner_named(name, healthy(), x, y)
    whole = learner.teach(hurt, Lesson(x, y, cycle=SAMPLES, seed=4))
    chip, memory = hurt, None
    for start in range(0, SAMPLES, 7):
        part = Lesson(x, y, cycle=SAMPLES, seed=4).part(slice(start, min(start + 7, SAMPLES)))
        taught = learner.teach(chip, part, memory)
        chip, memory = taught.deployment, taught.memory
    for layer in LEARNING:
        assert np.array_equal(stored_weights(chip, layer), stored_weights(whole.deployment, layer))
        assert np.array_equal(chip.population(layer).bias_mantissa, whole.deployment.population(layer).bias_mantissa)


def plain_reference(hurt, learner, lesson):
    """Error learning one sample at a time: the exact engine, the documented formulas, and the strict learning engine."""
    x, y = lesson.inputs, lesson.labels
    last, alive = "output", {one.name: ~hurt.damage.silent(one.name, one.size) for one in hurt.populations}
    chip = hurt
    for k in range(len(y)):
        activity = ExactEngine().run(chip, x[k : k + 1], record=("spikes",))
        spikes = {name: trace.spikes[0] for name, trace in activity.traces.items()}
        scores = spikes["output"].sum(axis=0) if chip.readout.how == "count" else activity.scores[0]
        error = np.zeros(len(scores), int)
        if alive[last][y[k]]:
            for c in np.flatnonzero(alive[last]):
                excess = int(scores[c] - scores[y[k]]) + learner.margin
                if c != y[k] and excess > 0:
                    error[c] = -min(127, 64 * excess // learner.margin)
            error[y[k]] = min(127, -error.sum())
        feedback, learned = dict(learner.feedback_weights), {}
        for layer in learner.trainable(hurt):
            value = error
            if layer != last:
                got = error @ feedback[layer]
                value = np.sign(got) * (np.abs(got) >> learner.feedback_shift) * spikes[layer].any(axis=0)
            value = np.clip(value * alive[layer], -127, 127)
            if not value.any():
                continue
            steps, n = chip.timesteps, chip.population(layer).size
            third = {name: np.zeros((1, steps, n), np.int64) for name in ("y1", "y2")}
            third["y1"][0, -1], third["y2"][0, -1] = np.maximum(value, 0), np.maximum(-value, 0)
            engine = strict_engine(chip, layer, learner.rule(chip, layer), seed=lesson.seed)
            state = type(engine.start)(engine.start.mode, (lesson.first + k) * steps, engine.start.memory)
            learned[layer] = engine.learn(state, spikes[chip.connection(layer).source][None], third=third, clear=True).state.weight
        for layer, weights in learned.items():
            chip = write(chip, layer, weights, weights != stored_weights(chip, layer))
    return chip


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000))
def test_compiled_error_learning_equals_the_plain_one(seed):
    hurt, (x, y) = broken(seed), samples()
    learner = dfa(healthy(), x, y, hidden_exponent=-4, readout_exponent=-3, feedback_shift=6)
    lesson = Lesson(x[:12], y[:12], cycle=SAMPLES, seed=seed)
    fast, plain = learner.teach(hurt, lesson).deployment, plain_reference(hurt, learner, lesson)
    assert any(not np.array_equal(stored_weights(fast, layer), stored_weights(hurt, layer)) for layer in LEARNING)
    for layer in LEARNING:
        assert np.array_equal(stored_weights(fast, layer), stored_weights(plain, layer))


def test_damage_that_comes_and_goes_is_learned_through_the_exact_engine():
    (x, y), cores = samples(), [int(healthy().placement.core_of["hidden1"][0])]
    always = nf.inject(healthy(), nf.faults.CoreDead(cores=cores))
    window = nf.inject(
        healthy(),
        nf.faults.CoreHung(
            cores=cores, on_core_death="silent", when={"kind": "transient", "start": 0, "stop": healthy().timesteps}
        ),
    )
    learner = dfa(healthy(), x, y, hidden_exponent=-4, readout_exponent=-3, feedback_shift=6)
    for chip in (always, window):
        assert learner.teach(chip, Lesson(x[:10], y[:10], cycle=10)).spent.samples == 10
    assert not window.damage.plain


def test_the_same_seed_gives_the_same_and_another_another():
    hurt = broken(1)
    first, again, other = (rescued(hurt, seed=seed).deployment for seed in (2, 2, 3))
    assert all(np.array_equal(stored_weights(first, layer), stored_weights(again, layer)) for layer in LEARNING)
    assert any(not np.array_equal(stored_weights(first, layer), stored_weights(other, layer)) for layer in LEARNING)


def test_served_worst_and_accountings_by_hand():
    hurt, (x, y) = broken(2), samples()
    done = nf.rescue(
        hurt,
        x,
        y,
        strategy="iterative",
        learner="delta",
        budget=nf.Budget(cycles=1),
        plan=nf.Plan(steps=2, watchdog=5),
        test=(x, y),
        guard=None,
    )
    points = [point for point in done.points if point.what != "healthy"]
    assert [point.what for point in points if point.what in ("strike", "wait")] == ["strike", "wait", "strike", "wait"]
    assert done.worst == min(point.accuracy for point in points)
    area = sum((b.samples - a.samples) * (a.accuracy + b.accuracy) / 2 for a, b in pairwise(points))
    area += (100 - points[-1].samples) * points[-1].accuracy
    assert done.mean_served(100) == pytest.approx(area / 100)
    assert (done.cycles_total, done.cycles_after_last_damage, done.cycles_per_step) == (1.0, 0.5, 0.5)
    assert done.spent.samples == SAMPLES + 10


def test_a_strategy_of_ones_own():
    seen = []

    def own(bench):
        bench.strike()
        bench.learn(0.5)
        seen.append(bench.learned)

    assert nf.rescue(broken(1), *samples(), strategy=own, guard=None).samples_learned == seen[0] == SAMPLES // 2


def test_learning_needs_room_and_says_which_core_lacks_it():
    chip = healthy()
    tight = chip.profile.core.model_copy(
        update={"synapse_bits": chip.profile.core.synapse_bits.model_copy(update={"value": 64 * 16 + 64})}
    )
    small = nf.deploy(network((INPUTS, 16, 10, 4), seed=3), chip.profile.model_copy(update={"core": tight}), neurons_per_core=4)
    with pytest.raises(
        CapacityError,
        match=r"^core \d+ cannot learn \(plastic: .*\): with tags and feedback it takes [\d,]+ synapse_bits, it has 1,088; [\d,]+ are missing",
    ):
        nf.rescue(nf.inject(small, nf.faults.NeuronDead(count=1)), *samples(), learner="dfa")


def test_error_neurons_sit_on_free_cores():
    hurt = broken(1)
    placed = learner_named("dfa", healthy(), *samples()).provide(hurt, Lesson(*samples()).plasticity)
    cores = {core for each in placed.support for core in each.cores}
    taken = {*hurt.placement.used_cores.tolist(), *hurt.placement.spare_cores, *hurt.damage.dead_cores}
    assert cores
    assert not cores & taken
    assert placed.neurons == 4
    assert placed.synapse_bits > 0


def test_homeostasis_does_not_chase_what_samples_scatter_by():
    x, y = samples()
    chip = healthy()
    usual = learner_named("homeostasis", chip, x, y, every=10)
    eager = learner_named("homeostasis", chip, x, y, every=10, tolerance=0.0)
    lesson = Lesson(x, y)
    changed = [
        sum(
            int(np.count_nonzero(a.bias_mantissa != b.bias_mantissa))
            for a, b in zip(chip.populations, learner.teach(chip, lesson).deployment.populations, strict=True)
        )
        for learner in (usual, eager)
    ]
    assert changed[0] < changed[1] / 3
    with pytest.raises(UsageError, match="homeostasis: tolerance must be at least 0, is -1"):
        learner_named("homeostasis", chip, x, y, tolerance=-1)


def test_homeostasis_needs_no_labels_and_brings_rates_back():
    x, y = samples()
    hurt = nf.inject(healthy(), nf.faults.NeuronBias(rate=1.0, layer="hidden1", offset=-800))
    learner = learner_named("homeostasis", healthy(), x, y, every=20)
    target = dict(learner.rates)["hidden1"]

    def distance(chip):
        return float(np.abs(ExactEngine().run(chip, x).spike_counts["hidden1"] / SAMPLES - target).sum())

    leak = nf.inject(healthy(), nf.faults.NeuronLeak(rate=1.0, layer="hidden1", offset=3500))
    healed = leak
    memory = None
    for _ in range(6):
        taught = learner.teach(healed, Lesson(x, np.full(SAMPLES, -1), cycle=SAMPLES), memory)
        healed, memory = taught.deployment, taught.memory
    assert distance(leak) > 0
    assert distance(healed) < distance(leak)
    stuck = learner.teach(hurt, Lesson(x, np.full(SAMPLES, -1), cycle=SAMPLES)).deployment
    held, before = (each.population("hidden1").bias_mantissa for each in (stuck, hurt))
    assert np.array_equal(held, before)  # the broken field holds


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        ({"budget": nf.Budget(cycles=0)}, UsageError, "a budget of no samples leaves strategy 'batch' nothing to learn from"),
        ({"strategy": "batsh"}, UsageError, "no strategy 'batsh'"),
        ({"learner": "dfaa"}, UsageError, r"no learner 'dfaa'.*did you mean 'dfa'"),
        ({"plastic": ("hidden9",)}, UsageError, r"no connection 'hidden9' \(did you mean 'hidden2'\?\)"),
        ({"plan": nf.Plan(tolerance=0.1)}, UsageError, "tolerance is measured on validation examples"),
    ],
)
def test_bad_input(call, kind, text):
    with pytest.raises(kind, match=text):
        rescued(broken(1), **call)


def test_labels_that_do_not_fit():
    x, y = samples()
    with pytest.raises(UsageError, match=r"labels have the shape \(39,\), but there are 40 samples"):
        nf.rescue(broken(1), x, y[:-1])
    with pytest.raises(UsageError, match=r"labels lie in 0 … 7; allowed: 0 to 3"):
        nf.rescue(broken(1), x, np.where(y == 3, 7, y))


def test_a_chip_without_third_factors_refuses_the_rule_and_takes_emstdp():
    chip = nf.deploy(network((INPUTS, 16, 10, 4), seed=3), "loihi1", neurons_per_core=4)
    hurt = nf.inject(chip, nf.faults.CoreDead(count=1))
    with pytest.raises(LearningRuleError, match="would be a third factor"):
        nf.rescue(hurt, *samples(), learner="delta")
    assert nf.rescue(hurt, *samples(), learner="emstdp").spent.writes > 0


def test_every_learner_is_registered_and_refuses_unknown_options():
    for name in LEARNERS:
        with pytest.raises(NeurofaultError):
            learner_named(name, healthy(), *samples(), nonsense=1)
