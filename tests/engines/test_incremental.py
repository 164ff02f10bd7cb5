"""The incremental engine equals the exact one, fault by fault, sample by sample, on random chips that wrap, leak and saturate, and on random graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import Driven, chip, connection, conv, dense, graph_chip, neurons, population, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_edit, random_graph, random_law, random_when

from neurofault.activity import DEAD_SCORE, Activity
from neurofault.damage.damage import (
    Damage,
    Drop,
    Edit,
    Force,
    InputNoise,
    KeptState,
    LostReset,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    StuckCounter,
)
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.incremental.fault_rows import edit_rows, joined_rows, synapse_rows
from neurofault.engines.incremental.golden import Effects, Golden, effects, follow_faults, golden
from neurofault.engines.incremental.limits import course, not_followed, refusal
from neurofault.engines.incremental.rest import Rest
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Dense
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.inputs import Inputs


def _neurons(rng: np.random.Generator, size: int) -> dict[str, object]:
    calm = rng.random() < 0.5
    return {
        "exponent": 0 if calm else int(rng.choice([-8, -3, -1, 1, 2, 6, 12])),
        "du": 4095 if calm else rng.choice([0, 1, 500, 4094, 4095], size),
        "dv": 0 if calm else rng.choice([0, 3, 700, 4095], size),
        "vth": rng.choice([50, 300, 600], size) if calm else rng.choice([-2, 0, 50, 500, 2000, 131071], size),
        "bias": rng.integers(-900, 2000, size) if calm else rng.integers(-3000, 40000, size),
        "bias_exponent": 0 if calm else int(rng.integers(-6, 18)),
        "v_init": int(rng.integers(-100, 2000)),
    }


def _chip(seed: int, *, convolutional: bool) -> tuple[Deployment, Inputs, np.random.Generator]:
    rng = np.random.default_rng(seed)
    layers: list[Driven]
    if convolutional:
        groups = int(rng.choice([1, 2]))
        image = (2, int(rng.integers(3, 7)), int(rng.integers(3, 6)))
        geometry = {key: (int(rng.integers(1, 3)), int(rng.integers(1, 3))) for key in ("stride", "dilation")}
        first = conv(
            rng, image, 2 * int(rng.integers(1, 3)), (2, int(rng.integers(1, 3))), groups=groups, padding=(1, 1), **geometry
        )
        second = conv(rng, first.out_shape, 3, (2, 2), padding=(1, 1))
        layers = [population("input", image), population("conv1", first.out_shape, first, **_neurons(rng, first.n_out))]
        layers.append(population("conv2", second.out_shape, second, **_neurons(rng, second.n_out)))
    else:
        layers = [population("input", (14,)), population("hidden1", (20,), dense(rng, 20, 14), **_neurons(rng, 20))]
    layers.append(population("hidden", (9,), dense(rng, 9, layers[-1].size), **_neurons(rng, 9)))
    last = {"vth": 131072} if rng.random() < 0.7 else {}
    layers.append(population("output", (3,), dense(rng, 3, 9), **{**_neurons(rng, 3), **last}))
    steps, samples = int(rng.choice([1, 5, 12, 33, 64])), 4
    deployment = chip(layers, steps, readout="count" if rng.random() < 0.4 else "potential")
    if rng.random() < 0.5:
        return deployment, Inputs(bias=rng.integers(-500, 4000, (samples, layers[0].size)).astype(np.int32)), rng
    return deployment, Inputs(events=rng.random((samples, steps, layers[0].size)) < 0.15), rng


def _synapses(rng: np.random.Generator, deployment: Deployment, index: int, count: int) -> SetSynapses:
    layers = deployment.populations
    total = layers[index].size * layers[index - 1].size
    targets, sources = np.divmod(rng.choice(total, min(count, total), replace=False), layers[index - 1].size)
    return SetSynapses(layers[index].name, sources, targets, random_weights(rng, targets.shape))


def _fault(rng: np.random.Generator, deployment: Deployment) -> tuple[Edit, ...]:
    """One synapse, some synapses, dead and stuck neurons, or all at once, in one layer or several."""
    layers = deployment.populations
    last = len(layers) - 1
    found: list[Edit] = []
    for _ in range(int(rng.integers(1, 4))):
        index = int(rng.integers(0, last + 1))
        neurons = np.unique(rng.integers(0, layers[index].size, int(rng.integers(1, 4))))
        match int(rng.integers(0, 5)):
            case 0 if index:
                found.append(_synapses(rng, deployment, index, 1))
            case 1 if index:
                found.append(_synapses(rng, deployment, index, 6))
            case 2 if index < last:
                found.append(Force(layers[index].name, neurons, int(rng.choice([0, 9000, 65536]))))
            case _:
                found.append(Silence(layers[index].name, neurons))
    return tuple(found)


def _assert_equal(first: Activity, second: Activity) -> None:
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.sample_spikes, second.sample_spikes)
    assert first.spike_counts.keys() == second.spike_counts.keys()
    for name, counts in first.spike_counts.items():
        np.testing.assert_array_equal(counts, second.spike_counts[name])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0, 1 << 30]))
def test_whole_faults_equal_the_exact_engine(seed: int, convolutional: bool, keep_bytes: int) -> None:
    deployment, inputs, rng = _chip(seed, convolutional=convolutional)
    whole = golden(deployment, inputs, threads=1, keep_bytes=keep_bytes)
    faults = [_fault(rng, deployment) for _ in range(12)]
    healthy = ExactEngine(1).run(deployment, inputs)
    np.testing.assert_array_equal(whole.scores, healthy.scores)
    found = effects(edit_rows(whole, faults), np.arange(4) % 3, threads=2, changes=True)
    engine = IncrementalEngine(1, keep_bytes)
    activities = engine._activities(whole, [deployment.with_damage(Damage(edits)) for edits in faults])
    for row, (edits, activity) in enumerate(zip(faults, activities, strict=True)):
        expected = ExactEngine(1).run(deployment.with_damage(Damage(edits)), inputs)
        _assert_equal(activity, expected)
        differs = np.flatnonzero(expected.predictions != healthy.predictions)
        assert found.changed[row] == differs.size
        assert found.correct[row] == expected.correct(np.arange(4) % 3) - healthy.correct(np.arange(4) % 3)
        own = found.changes.faults == row
        assert found.changes.samples[own].tolist() == differs.tolist()
        assert found.changes.predictions[own].tolist() == expected.predictions[differs].tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_single_synapses_equal_the_exact_engine(seed: int, convolutional: bool) -> None:
    deployment, inputs, rng = _chip(seed, convolutional=convolutional)
    healthy = ExactEngine(1).run(deployment, inputs)
    whole = golden(deployment, inputs, threads=1)
    for index in range(1, len(deployment.populations)):
        edit = _synapses(rng, deployment, index, 25)
        batch = synapse_rows(whole, edit.connection, edit.sources, edit.targets, edit.values)
        found = effects(batch, threads=1, changes=True)
        for row in range(len(batch)):
            one = SetSynapses(edit.connection, edit.sources[[row]], edit.targets[[row]], edit.values[[row]])
            expected = ExactEngine(1).run(deployment.with_damage(Damage((one,))), inputs).predictions
            own = found.changes.faults == row
            predictions = healthy.predictions.copy()
            predictions[found.changes.samples[own]] = found.changes.predictions[own]
            np.testing.assert_array_equal(predictions, expected)


def _small() -> tuple[Deployment, Inputs]:
    rng = np.random.default_rng(3)
    layers = [population("input", (30,)), population("hidden", (20,), dense(rng, 20, 30), vth=300)]
    layers.append(population("output", (3,), dense(rng, 3, 20), vth=131072))
    return chip(layers, 16, readout="potential"), Inputs(events=rng.random((6, 16, 30)) < 0.2)


def test_faults_on_top_of_a_damaged_chip() -> None:
    deployment, inputs = _small()
    rng = np.random.default_rng(4)
    hurt = deployment.with_damage(
        Damage((_synapses(rng, deployment, 1, 40), Silence("hidden", np.array([2, 5])), Silence("output", np.array([1]))))
    )
    whole = golden(hurt, inputs)
    faults = [(_synapses(rng, hurt, 1, 30),), (_synapses(rng, hurt, 2, 5), Silence("input", np.arange(7)))]
    activities = IncrementalEngine()._activities(whole, [hurt.with_damage(Damage(hurt.damage.edits + edits)) for edits in faults])
    for edits, activity in zip(faults, activities, strict=True):
        _assert_equal(activity, ExactEngine().run(hurt.with_damage(Damage(hurt.damage.edits + edits)), inputs))
        assert (activity.scores[:, 1] == DEAD_SCORE).all()


def test_results_do_not_depend_on_threads_or_on_what_is_kept() -> None:
    deployment, inputs = _small()
    targets, sources = np.divmod(np.arange(600), 30)

    def found(threads: int, keep_bytes: int) -> Effects:
        whole = golden(deployment, inputs, threads=threads, keep_bytes=keep_bytes)
        batch = synapse_rows(whole, "hidden", sources, targets, np.full(600, -200))
        return effects(batch, np.zeros(6, int), threads=threads, changes=True)

    first = found(1, 1 << 30)
    assert first.changed.sum() > 0
    for threads, keep_bytes in ((3, 1 << 30), (2, 0)):
        other = found(threads, keep_bytes)
        np.testing.assert_array_equal(first.changed, other.changed)
        np.testing.assert_array_equal(first.correct, other.correct)
        for column in ("faults", "samples", "predictions"):
            np.testing.assert_array_equal(getattr(first.changes, column), getattr(other.changes, column))


def test_engine_keeps_the_healthy_run_and_hands_over_what_it_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment, inputs = _small()
    engine = IncrementalEngine()
    small = deployment.with_damage(Damage((Silence("hidden", np.array([3])),)))
    field = deployment.with_damage(Damage((SetField("hidden", "vth", np.array([3]), np.array([1], np.int32)),)))
    timed = deployment.with_damage(Damage((Silence("output", np.array([1]), When(2, 5)),)))
    all_inputs = deployment.with_damage(Damage((Silence("input", np.arange(30)),)))
    expected = [ExactEngine().run(each, inputs) for each in (small, field, timed, all_inputs)]
    calls = []
    exact = ExactEngine.run
    monkeypatch.setattr(ExactEngine, "run", lambda self, *args, **named: calls.append(1) or exact(self, *args, **named))
    for each, right, through in zip(
        (small, field, timed, all_inputs, small), [*expected, expected[0]], (0, 0, 1, 1, 0), strict=True
    ):
        calls.clear()
        _assert_equal(engine.run(each, inputs), right)
        assert bool(calls) == through  # the exact engine may call itself for what it hands on
    kept = engine._kept
    _assert_equal(engine.run(small, Inputs(events=inputs.events.copy())), expected[0])
    assert engine._kept is kept
    for activity, right in zip(engine.run_many([small, field, timed], inputs), expected, strict=False):
        _assert_equal(activity, right)
    assert engine.run(small, inputs, record=("v",)).traces["hidden"].v is not None


def test_what_cannot_be_followed_is_refused() -> None:
    deployment, inputs = _small()
    stream = replace(deployment, reset="never")
    with pytest.raises(UnsupportedError) as error:
        golden(stream, inputs)
    assert str(error.value) == f"engine 'incremental' cannot run {refusal(stream)}"
    hurt = deployment.with_damage(Damage((Silence("hidden", np.array([1]), When(2, 5)),)))
    assert refusal(hurt) == "damage that acts in time windows or alters parameters"
    neuron = np.array([0])
    for edit, reason in (
        (Force("output", neuron, 0), "layer 'output': stuck outputs of the readout"),
        (Silence("output", neuron, When(2, 5)), "layer 'output': outputs that are dead or stuck for some steps"),
        (SetField("input", "vth", neuron, np.array([1], np.int32)), "layer 'input': what changes in an input's neurons with time"),
        (InputNoise("input", neuron, 3.0, 1), "layer 'input': noise of inputs"),
        (KeptState("hidden", neuron), "layer 'hidden': states that are kept between samples"),
        (Drop("hidden", 0, neuron, neuron), "Drop: messages that are lost, or a chip that stalls"),
        (SetSynapses("hidden", neuron, neuron, np.array([1 << 24])), "layer 'hidden': weights beyond 24 bits"),
    ):
        assert not_followed(deployment, [edit]) == reason
        with pytest.raises(UsageError) as usage:
            edit_rows(golden(deployment, inputs), [(edit,)])
        assert str(usage.value) == f"the incremental engine does not follow {reason}"
    whole = golden(deployment, inputs)
    with pytest.raises(UsageError) as usage:
        synapse_rows(whole, "hidden", np.array([30]), np.array([0]), np.array([0]))
    assert str(usage.value) == "layer 'hidden': a synapse fault names source 30…30, allowed are 0…29"
    with pytest.raises(UsageError) as usage:
        edit_rows(whole, [(Silence("hidden", np.array([20])),)])
    assert str(usage.value) == "layer 'hidden': an edit names neuron 20, allowed are 0…19"
    with pytest.raises(UsageError) as usage:
        effects(edit_rows(whole, [()]), np.zeros(5, int))
    assert str(usage.value) == "labels have the shape (5,), but there are 6 samples"


def _looped() -> tuple[Deployment, Inputs, list[ChipPopulation], list[ChipConnection]]:
    """Two ways from an input to the output, one of them over a loop."""
    rng = np.random.default_rng(2)
    populations = [neurons(name, (6,), is_source=name == "in") for name in ("in", "a", "b", "out")]
    ends = [("in", "a"), ("a", "a"), ("a", "out"), ("in", "b"), ("b", "out")]
    made = [connection(f"{s}{t}", s, t, dense(rng, 6, 6)) for s, t in ends]
    return graph_chip(populations, made, 9, readout="out"), Inputs(events=rng.random((4, 9, 6)) < 0.3), populations, made


def test_what_reaches_a_loop_or_splits_a_rounded_sum_is_not_followed_on() -> None:
    looped, inputs, populations, made = _looped()
    one = np.array([0])
    assert not_followed(looped, [Silence("b", one)]) is None
    assert not_followed(looped, [SetSynapses("aout", one, one, one)]) is None
    for edit in (Silence("a", one), Silence("in", one), SetSynapses("ina", one, one, one)):
        assert not_followed(looped, [edit]) == "layer 'a' is in a loop: it drives itself"
    rounded = graph_chip(populations, [made[0], *made[2:4], replace(made[4], weight_exponent=-3)], 9, readout="out")
    assert not_followed(rounded, [Silence("b", one)]) is None
    reason = "connection 'bout': other delays where a weight exponent below 0 rounds sums"
    assert not_followed(rounded, [SetDelays("bout", one, one, one)]) == reason
    engine = IncrementalEngine(1)
    for chip_, edit in ((looped, Silence("b", one)), (looped, Silence("a", one)), (rounded, Silence("a", one))):
        hurt = chip_.with_damage(Damage((edit,)))
        _assert_equal(engine.run(hurt, inputs), ExactEngine(1).run(hurt, inputs))


def test_a_loop_is_run_only_on_the_samples_in_which_something_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looped, inputs, _, _ = _looped()
    monkeypatch.setattr("neurofault.engines.incremental.engine.touched_share", lambda *_: 0.0)
    ran: list[int] = []
    run = Rest.run
    monkeypatch.setattr(Rest, "run", lambda self, trains: ran.append(len(trains)) or run(self, trains))
    engine, one = IncrementalEngine(1), np.array([0])
    trace = ExactEngine(1).run(looped, inputs, record=("spikes",)).traces
    spikes = {name: trace[name].spikes for name in ("in", "a", "b")}
    silent, busy = (np.argmin(spikes["in"].sum((0, 1))), np.argmax(spikes["a"].sum((0, 1))))
    fired = int(spikes["a"][:, :, busy].any(axis=1).sum())
    for edit, least, most in (
        (Silence("a", np.array([busy])), fired, fired),
        (SetSynapses("ina", np.array([silent]), one, np.array([254])), 0, int(spikes["in"][:, :, silent].any(axis=1).sum())),
        (SetSynapses("aa", np.array([busy]), one, np.array([-256])), 0, fired),
        (Silence("b", one), 0, 0),
    ):
        ran.clear()
        hurt = looped.with_damage(Damage((edit,)))
        _assert_equal(engine.run(hurt, inputs), ExactEngine(1).run(hurt, inputs))
        assert least <= sum(ran) <= most
    assert engine.explained(looped.with_damage(Damage((Silence("b", one),))), 4) == "followed"
    assert (
        engine.explained(looped.with_damage(Damage((Silence("a", one),))), 4)
        == "followed, but layers 'a', 'out' run on the samples in which anything reaches them: layer 'a' is in a loop: it drives itself"
    )
    large = SetSynapses("bout", one, one, np.array([1 << 24]))
    assert (
        engine.explained(looped.with_damage(Damage((large,))), 4)
        == "followed, but layers 'out' run on every sample: connection 'bout': weights beyond 24 bits"
    )
    timed = Silence("a", one, When(2, 5))
    why = "layer 'a' is in a loop: it drives itself, and Silence there or behind it is more than dead neurons and synapses changed for good"
    assert engine.explained(looped.with_damage(Damage((timed,))), 4) == f"whole: {why}"
    whole = golden(looped, inputs)
    with pytest.raises(UsageError, match="run anew only where spikes are counted"):
        effects(edit_rows(whole, [(Silence("a", one),)], whole=True))


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_of_a_graph_with_loops_equals_the_exact_engine(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 5 == 0:
        monkeypatch.setattr("neurofault.engines.incremental.rest._BYTES", 100 * seed)  # what is run anew is run in parts
    chip_, inputs, rng = random_graph(seed, 60)
    whole = golden(chip_, inputs, threads=1, keep_bytes=0 if seed % 3 == 0 else 1 << 30)
    np.testing.assert_array_equal(whole.scores, ExactEngine(1).run(chip_, inputs).scores)
    faults: list[tuple[Edit, ...]] = []
    for number in range(9):
        edits = [random_edit(rng, chip_, plain=number % 3 != 0) for _ in range(int(rng.integers(1, 4)))]
        if number % 3 == 1 and chip_.connections:
            one = chip_.connections[int(rng.integers(0, len(chip_.connections)))]
            sources, targets = rng.integers(0, one.synapses.n_in, 2), np.arange(2)
            edits = [SetSynapses(one.name, sources, targets, rng.choice([0, 100, 1 << 24], 2).astype(np.int32))]
        if not isinstance(course(chip_, edits), str):
            faults.append(tuple(edits))
    threads = 1 + seed % 2
    tally, _ = follow_faults(edit_rows(whole, faults, whole=True), None, threads, full=True)
    for row, edits in enumerate(faults):
        hurt = chip_.with_damage(Damage(edits))
        wanted = ExactEngine(1).run(hurt, inputs)
        spikes = whole.spikes + tally.spikes[row]
        counts = {name: spikes[place] for name, place in whole.flat.place_of.items()}
        scores = np.where(hurt.damage.silent(hurt.output.name, hurt.output.size), DEAD_SCORE, tally.scores[row])
        _assert_equal(Activity(scores, counts, whole.sample_spikes + tally.sample_spikes[row]), wanted)


def _graph(seed: int) -> tuple[Deployment, Inputs, np.random.Generator, Golden]:
    """A random graph without loops; half of them with laws of their own, a third with permanent damage."""
    chip_, inputs, rng = random_graph(seed, 100, forward=True)
    if seed % 2:
        own = [
            one
            if one.is_source or rng.random() < 0.4
            else replace(one, law=random_law(rng, one.size), v_init=rng.integers(-9000, 9000, one.size).astype(np.int32))
            for one in chip_.populations
        ]
        chip_ = replace(chip_, populations=tuple(own))
    if seed % 3 == 0:
        chip_ = chip_.with_damage(Damage(tuple(random_edit(rng, chip_, plain=True) for _ in range(2))))
    whole = golden(chip_, inputs, threads=1, keep_bytes=0 if seed % 5 == 0 else 1 << 30)
    np.testing.assert_array_equal(whole.scores, ExactEngine(1).run(chip_, inputs).scores)
    return chip_, inputs, rng, whole


def _predictions(whole: Golden, found: Effects, row: int) -> np.ndarray:
    assert found.changes is not None
    predictions, own = whole.predictions.copy(), found.changes.faults == row
    predictions[found.changes.samples[own]] = found.changes.predictions[own]
    assert found.changed[row] == own.sum()
    return predictions


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_of_a_graph_equals_the_exact_engine(seed: int) -> None:
    chip_, inputs, rng, whole = _graph(seed)
    faults: list[tuple[Edit, ...]] = []
    for number in range(9):
        edits = [random_edit(rng, chip_, plain=number % 3 == 0) for _ in range(int(rng.integers(1, 4)))]
        one = chip_.populations[int(rng.integers(0, len(chip_.populations)))]
        some, when = np.sort(rng.choice(one.size, 2, replace=False)), random_when(rng, chip_.timesteps)
        if number % 3 == 1:
            edits.append(StuckCounter(one.name, some, int(rng.integers(0, 2)), when))
        elif number % 3 == 2:
            edits.append(LostReset(one.name, some, when))
        if not_followed(chip_, edits) is None:
            faults.append(tuple(edits))
    found = effects(edit_rows(whole, faults), threads=1, changes=True)
    tally, _ = follow_faults(edit_rows(whole, faults, whole=True), None, 1, full=True)
    for row, edits in enumerate(faults):
        wanted = ExactEngine(1).run(chip_.with_damage(Damage((*chip_.damage.edits, *edits))), inputs)
        spikes = whole.spikes + tally.spikes[row]
        counts = {name: spikes[place] for name, place in whole.flat.place_of.items()}
        _assert_equal(Activity(tally.scores[row], counts, whole.sample_spikes + tally.sample_spikes[row]), wanted)
        np.testing.assert_array_equal(_predictions(whole, found, row), wanted.predictions)


@pytest.mark.parametrize("seed", range(24))
def test_single_synapses_of_a_graph_equal_the_exact_engine(seed: int) -> None:
    """Of some connections those of one target alone: of so many faults a neuron the healthy states are worked out once."""
    chip_, inputs, rng, whole = _graph(seed)
    parts = []
    for one in chip_.connections:
        n_in, count = one.synapses.n_in, min(one.synapses.n_in * one.synapses.n_out, 20)
        targets, sources = np.divmod(np.sort(rng.choice(n_in * one.synapses.n_out, count, replace=False)), n_in)
        if rng.random() < 0.5:
            sources, targets = np.arange(n_in), np.full(n_in, targets[0])
        example = SetSynapses(one.name, sources[:1], targets[:1], np.zeros(1, np.int32))
        if not_followed(chip_, [example]) is not None:
            continue
        parts.append(
            (
                one.name,
                np.arange(len(sources) + 1),
                sources,
                targets,
                rng.integers(-128, 128, len(targets)) * 2 * (rng.random(len(targets)) < 0.5),
            )
        )
    found = effects(joined_rows(whole, parts), threads=2, changes=True)
    row = 0
    for name, _, *columns in parts:
        for source, target, value in zip(*columns, strict=True):
            edit = SetSynapses(name, np.array([source]), np.array([target]), np.array([value], np.int32))
            wanted = ExactEngine(1).run(chip_.with_damage(Damage((*chip_.damage.edits, edit))), inputs)
            np.testing.assert_array_equal(_predictions(whole, found, row), wanted.predictions)
            row += 1


@pytest.mark.parametrize("seed", range(30))
def test_single_synapses_of_long_trains_equal_the_exact_engine(seed: int) -> None:
    """Several words of steps, states that decay and are rounded, delays past a word, every synapse of some neurons a fault: most of them stay in the room."""
    rng = np.random.default_rng(seed)
    steps, samples, n_in = int(rng.choice([40, 96, 150])), 6, 24
    own = {
        "du": rng.choice([0, 200, 1024, 4095], 5) if rng.random() < 0.5 else int(rng.choice([0, 1024, 4095])),
        "dv": rng.choice([0, 3, 128, 900], 5) if rng.random() < 0.5 else int(rng.choice([0, 128])),
        "vth": rng.integers(20, 900, 5),
    }
    layers = [
        population("input", (n_in,)),
        population("hidden", (5,), dense(rng, 5, n_in, delays=int(rng.choice([0, 0, 3, 45]))), **own),
    ]
    layers.append(population("output", (3,), dense(rng, 3, 5), du=1024, dv=128, vth=60))
    deployment = chip(layers, steps, readout="count")
    inputs = Inputs(events=rng.random((samples, steps, n_in)) < rng.choice([0.005, 0.03, 0.1], (1, 1, n_in)))
    whole, engine = golden(deployment, inputs, threads=1), ExactEngine(1)
    targets, sources = np.divmod(np.arange(5 * n_in), n_in)
    weight = deployment.connection("hidden").synapses.weight.ravel()
    values = np.where(rng.random(weight.size) < 0.4, 0, (weight + 2 * rng.integers(-8, 9, weight.size)).clip(-256, 254)).astype(
        np.int32
    )
    found = effects(synapse_rows(whole, "hidden", sources, targets, values), threads=1, changes=True)
    for row in range(len(targets)):
        edit = SetSynapses("hidden", sources[[row]], targets[[row]], values[[row]])
        wanted = engine.run(deployment.with_damage(Damage((edit,))), inputs)
        np.testing.assert_array_equal(_predictions(whole, found, row), wanted.predictions)


def _wide_chip(seed: int) -> tuple[Deployment, Inputs, np.random.Generator]:
    """A chip whose sums leave 16 bits on some samples, up or down, in a hidden layer or the last; some only once it is broken."""
    rng = np.random.default_rng(seed)
    n_in, drive = int(rng.choice([260, 600])), int(rng.choice([-1, 1]))

    def one_sign(outputs: int, inputs: int) -> Dense:
        weight = drive * rng.integers(90, 128, (outputs, inputs)) * 2
        weight[rng.random(weight.shape) < 0.1] *= -1
        return Dense(weight.clip(-256, 254).astype(np.int32))

    layers = [population("input", (n_in,))]
    layers.append(
        population("hidden1", (150,), one_sign(150, n_in), **{**_neurons(rng, 150), "vth": rng.choice([50, 131071], 150)})
    )
    layers.append(population("hidden2", (9,), one_sign(9, 150), **_neurons(rng, 9)))
    layers.append(population("output", (3,), dense(rng, 3, 9), **{**_neurons(rng, 3), "vth": 131072}))
    steps, samples = int(rng.choice([3, 33])), 4
    events = rng.random((samples, steps, n_in)) < np.array([0.02, 0.3, 0.6, 1.0])[:, None, None]
    return chip(layers, steps, readout="count" if rng.random() < 0.4 else "potential"), Inputs(events=events), rng


@pytest.mark.parametrize("seed", range(12))
def test_sums_beyond_sixteen_bits_are_followed(seed: int) -> None:
    deployment, inputs, rng = _wide_chip(seed)
    faults = [_fault(rng, deployment) for _ in range(12)]
    faults += [(SetSynapses("hidden1", np.arange(130), np.full(130, 7), np.full(130, value, np.int32)),) for value in (-256, 254)]
    broken = [deployment.with_damage(Damage(fault)) for fault in faults if not_followed(deployment, fault) is None]
    wanted = [ExactEngine().run(each, inputs) for each in broken]
    for keep in (1 << 30, 0):
        whole = golden(deployment, inputs, keep_bytes=keep)
        assert (whole.sums is None) == (keep == 0)
        batch = edit_rows(whole, [each.damage.edits for each in broken])
        found = effects(batch, np.zeros(4, np.int64), changes=True)
        predictions = np.repeat(whole.predictions[None], len(broken), axis=0)
        assert found.changes is not None
        predictions[found.changes.faults, found.changes.samples] = found.changes.predictions
        np.testing.assert_array_equal(predictions, [np.argmax(run.scores, axis=1) for run in wanted])
    for mine, exact in zip(IncrementalEngine().run_many(broken, inputs), wanted, strict=True):
        _assert_equal(mine, exact)


def test_sums_that_only_damage_takes_beyond_sixteen_bits_are_exact_too() -> None:
    layers = [population("input", (140,)), population("hidden", (3,), Dense(np.full((3, 140), 200, np.int32)), vth=1)]
    layers.append(population("output", (2,), Dense(np.array([[2, 2, 6], [4, -4, 2]], np.int32)), vth=131072))
    deployment, inputs = chip(layers, 3, readout="potential"), Inputs(events=np.ones((2, 3, 140), bool))
    for value in (254, -256):
        edit = SetSynapses("hidden", np.arange(140), np.full(140, 1), np.full(140, value, np.int32))
        hurt = deployment.with_damage(Damage((edit, Silence("hidden", np.array([0])))))
        _assert_equal(IncrementalEngine().run(hurt, inputs), ExactEngine().run(hurt, inputs))


def test_a_readout_that_is_an_input_has_no_sums() -> None:
    made = graph_chip([neurons("in", (40,), is_source=True)], [], 500, readout="in")
    inputs = Inputs(bias=np.arange(80).reshape(2, 40).astype(np.int32) * 40)
    hurt = made.with_damage(Damage((Silence("in", np.array([39])),)))
    whole = golden(made, inputs)
    assert (whole.room == -1).all()
    wanted = ExactEngine().run(hurt, inputs)
    found = effects(edit_rows(whole, [hurt.damage.edits]), changes=True)
    np.testing.assert_array_equal(_predictions(whole, found, 0), wanted.predictions)


def test_rounded_sums_that_damage_takes_beyond_32_bits_are_run_whole() -> None:
    populations = [neurons("in", (256,), is_source=True), neurons("out", (2,), vth=131072)]
    weight = np.full((2, 256), 2, np.int32)
    made = graph_chip(populations, [connection("c", "in", "out", Dense(weight), exponent=-8)], 5, readout="out")
    inputs, every = Inputs(events=np.ones((1, 5, 256), bool)), np.arange(256)
    large = SetSynapses("c", every, np.zeros(256, int), np.full(256, (1 << 24) - 1))
    reason = "connection 'c': sums beyond 32 bits that are rounded"
    assert not_followed(made, [large]) == reason
    assert not_followed(made, [SetSynapses("c", every[:100], every[:100] * 0, large.values[:100])]) is None
    broken = made.with_damage(Damage((large,)))
    assert not_followed(broken, [Silence("in", np.array([3]))]) == reason
    _assert_equal(IncrementalEngine().run(broken, inputs), ExactEngine().run(broken, inputs))
    with pytest.raises(UsageError) as usage:
        synapse_rows(golden(made, inputs), "c", every[:2], every[:2] * 0, np.array([0, 1 << 24]))
    assert str(usage.value) == "the incremental engine does not follow connection 'c': weights beyond 24 bits"


def test_a_start_near_the_end_of_32_bits_is_never_calm() -> None:
    layers = [population("input", (2,)), population("hidden", (1,), Dense(np.array([[60, 2]])), vth=131072, v_init=2**31 - 1)]
    layers.append(population("output", (2,), Dense(np.array([[4], [8]])), vth=131072))
    made, inputs = chip(layers, 3, readout="potential"), Inputs(events=np.ones((1, 3, 2), bool))
    whole = golden(made, inputs)
    assert whole.flat.net.pops["slack"][1] == -1
    found = effects(synapse_rows(whole, "hidden", np.array([0]), np.array([0]), np.array([-60])), changes=True)
    edit = SetSynapses("hidden", np.array([0]), np.array([0]), np.array([-60]))
    wanted = ExactEngine().run(made.with_damage(Damage((edit,))), inputs).predictions
    np.testing.assert_array_equal(_predictions(whole, found, 0), wanted)


def test_the_healthy_run_is_of_what_was_shown_and_of_one_readout() -> None:
    deployment, _ = _small()
    hurt, engine = deployment.with_damage(Damage((Silence("hidden", np.array([3])),))), IncrementalEngine()
    spikes = np.ones((6, 16, 30), bool)
    shown = Inputs(bias=np.full((6, 30), 4000, np.int32))
    first = engine.run(hurt, shown)
    for part in shown.parts.values():
        part.mantissa[:] = 0
    _assert_equal(engine.run(hurt, shown), ExactEngine().run(hurt, shown))
    assert not np.array_equal(first.scores, engine.run(hurt, shown).scores)
    counted = replace(hurt, readout=replace(hurt.readout, how="count"))
    for found, made in zip(engine.run_many([hurt, counted], Inputs(events=spikes)), (hurt, counted), strict=True):
        _assert_equal(found, ExactEngine().run(made, Inputs(events=spikes)))
