"""Online alarms of small networks: watchers as neurons of the chip, against plain arithmetic on recorded trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chips import chip, dense, population

import neurofault as nf
from neurofault.damage.damage import Damage, SetSynapses, Silence, Stall
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.streams import stream_key
from neurofault.study.alarms.choose import at_least
from neurofault.study.alarms.on_chip import BEATS, WATCHERS, without_alarms
from neurofault.study.alarms.recorded import recorded
from neurofault.study.alarms.thresholds import candidates_of, order_of, rank_of
from neurofault.study.alarms.tried import alarm_cost, false_alarms, try_alarms
from neurofault.study.alarms.watch import watch
from neurofault.study.alarms.watchers import SCOPES, WATCHER_KINDS, Watcher, spike_numbers
from neurofault.study.patterns.fault_list import single_faults

STEPS = 8


def small(seed=8):
    rng = np.random.default_rng(seed)
    layers = [
        population("input", (9,)),
        population("hidden", (6,), dense(rng, 6, 9), vth=200),
        population("deep", (5,), dense(rng, 5, 6), vth=250),
        population("output", (3,), dense(rng, 3, 5), vth=131072),
    ]
    made = chip(layers, STEPS, readout="potential")
    return replace(made, profile=nf.load_profile("loihi2"))


def shown(samples=240, seed=3):
    return nf.Inputs(events=np.random.default_rng(seed).random((samples, STEPS, 9)) < 0.3)


def chosen(made, inputs, **asked):
    return nf.choose_alarms(made, inputs, **{"window": 3, "false_alarms": 200, "size": 6, "windows": 4, "threads": 1, **asked})


def every_kind(made, inputs, window, q):
    """Watchers of all kinds and scopes with thresholds in the middle of what is seen, and the candidates they are from."""
    names = [one.name for one in made.populations]
    found = candidates_of(made, inputs, WATCHER_KINDS, SCOPES, names, window, 1)
    some = found.taken(list(range(0, len(found), 3)))
    alarms = chosen(made, inputs, window=window).alarms
    return some, replace(alarms, watchers=some.watchers(q))


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("q", [0.0, 0.5])
def test_a_watcher_alarms_in_the_windows_whose_number_is_above_its_threshold(window, q):
    made, inputs = small(), shown()
    some, alarms = every_kind(made, inputs, window, q)
    assert {one.kind for one in alarms.watchers} == set(WATCHER_KINDS)
    assert {len(one.neurons) for one in alarms.watchers if one.population == "hidden"} >= {1, 6}
    found = watch(nf.with_alarms(made, alarms, cores=3), alarms, inputs)
    numbers = some.numbers(recorded(made, inputs, *some.wanted()), window)
    above = numbers > some.thresholds(q)
    assert np.array_equal(found.spikes.any(axis=1), above)
    assert above.any()
    assert not above.all()
    assert found.beats.all()
    assert np.array_equal(found.alarmed, above.any(axis=1))


def test_windows_of_one_sample_are_what_the_whole_chip_does_in_one_run():
    made, inputs = small(), shown(120)
    _, alarms = every_kind(made, inputs, 1, 0.2)
    whole = nf.with_alarms(made, alarms, cores=2)
    run = ExactEngine(1).run(whole, inputs, record=("spikes",))
    found, spiking = watch(whole, alarms, inputs), [one.spiking for one in alarms.watchers]
    assert np.array_equal(run.traces[WATCHERS].spikes, found.spikes[:, :, spiking])
    assert found.spikes[:, :, spiking].any()
    assert run.traces[BEATS].spikes[:, -1].all()
    assert not run.traces[BEATS].spikes[:, :-1].any()
    assert np.array_equal(run.scores, ExactEngine(1).run(made, inputs).scores)


def test_the_numbers_are_those_of_their_formulas_and_are_held_where_v_is():
    rng = np.random.default_rng(1)
    fired = rng.integers(0, 3, (5, 40, 1))
    bias, weight = np.array([900]), np.array([16])
    t = np.arange(1, 41)[:, None]
    deficit = (900 * t - 64 * 16 * np.cumsum(fired, axis=1)).max(axis=1)
    assert np.array_equal(spike_numbers("idle", fired, bias, weight), np.maximum(np.ceil(deficit / 64), 0))
    assert np.array_equal(spike_numbers("busy", fired, bias, weight), 16 * fired.sum(axis=1))
    low = np.zeros((1, 3000, 1), np.int32)
    low[0, :100] = 200  # far below what 24 bits hold: v stays at the floor, and rises from there
    limit = 1 - (1 << 23)
    expected = max(limit + 2900 * 4000, 0)
    assert spike_numbers("idle", low, np.array([4000]), np.array([32])) == -(-expected // 64)


def test_what_the_choice_counts_is_there():
    made, inputs = small(), shown()
    found = candidates_of(made, inputs, WATCHER_KINDS, SCOPES, [one.name for one in made.populations], 4, 1)
    faults = single_faults(made, ["core_dead", "neuron_dead"])
    for at in range(len(faults)):
        hurt = made.with_damage(Damage(faults.edits(at)))
        least = at_least(made, found, found.places(made), ExactEngine(1).run(hurt, inputs[:4]), 4)
        (own,) = found.numbers(recorded(hurt, inputs[:4], *found.wanted()), 4)
        assert (own >= least).all()
        assert (own == least).any()


def test_greedy_choice_shows_more_than_random_and_every_further_watcher_adds():
    made, inputs = small(), shown(600)
    best = chosen(made, inputs, faults=["core_dead", "neuron_dead"], critical=0)
    assert list(best.shown) == sorted(best.shown)
    assert best.shown[-1] > 0
    assert all(
        chosen(made, inputs, placement="random", critical=0, size=2, seed=seed).shown[-1] <= best.shown[-1] for seed in range(4)
    )
    again = chosen(made, inputs, faults=["core_dead", "neuron_dead"], critical=0, threads=2)
    assert again.alarms.watchers == best.alarms.watchers


def test_false_alarms_stay_below_what_is_stated():
    made = small()
    fresh, alarmed, windows = shown(3000, seed=77), 0, 0
    for seed in range(3):
        alarms = chosen(made, shown(900, seed=100 + seed), false_alarms=150, seed=seed).alarms
        found = false_alarms(nf.with_alarms(made, alarms), alarms, fresh)
        alarmed, windows = alarmed + found.alarmed, windows + found.windows
        low, high = found.per_samples[1:]
        assert low <= found.per_samples[0] <= high
    expected = windows * 150 * 3 / 10_000
    assert 0 < alarmed < expected + 4 * np.sqrt(6 * expected)  # six sets see the same windows
    assert rank_of(99, 10, 10.0) == 1


def test_a_watcher_on_a_dead_core_never_alarms_and_its_heartbeat_says_so():
    made, inputs = small(), shown()
    for heartbeat, seen in (("watchers", True), ("all", True), ("none", False)):
        alarms = chosen(made, inputs, heartbeat=heartbeat, watchers=["busy", "idle", "silence"], critical=0).alarms
        whole = nf.with_alarms(made, alarms)
        (core,) = whole.placement.cores_of(WATCHERS).tolist()
        hurt = nf.inject(whole, nf.faults.CoreDead(cores=[core]))
        found = watch(hurt, alarms, inputs[:30])
        assert not found.spikes.any()
        assert found.alarmed.all() == seen == found.alarmed.any()
        if seen:
            assert found.first() == 3 * STEPS - 1
            assert found.who(found.first()) == (f"no heartbeat of core {core}",)
        assert len(whole.placement.core_of.get(BEATS, ())) == {"watchers": 1, "all": 4 + 1, "none": 0}[heartbeat]


def test_a_potential_is_watched_on_its_core_and_dies_with_it():
    made, inputs = small(), shown()
    alarms = chosen(made, inputs, watchers=["above", "below", "still"], critical=0, heartbeat="none").alarms
    alarms = replace(alarms, watchers=tuple(Watcher(kind, "output", (1,), -(1 << 23)) for kind in ("above", "below", "still")))
    assert watch(made, alarms, inputs[:30]).spikes.any(axis=1).all()
    neuron = made.with_damage(Damage((Silence("output", np.array([1])),)))
    assert watch(neuron, alarms, inputs[:30]).spikes.any(axis=1).all()
    core = made.with_damage(Damage((Silence("output", np.arange(3)),)))
    assert not watch(core, alarms, inputs[:30]).spikes.any()


def test_a_broken_synapse_of_a_watcher_is_broken():
    made, inputs = small(), shown()
    alarms = replace(chosen(made, inputs).alarms, watchers=(Watcher("busy", "hidden", (2,), 0, 0, 32),))
    whole = nf.with_alarms(made, alarms)
    assert watch(whole, alarms, inputs).spikes.any()
    hurt = whole.with_damage(Damage((SetSynapses("alarm busy hidden", np.array([2]), np.array([0]), np.array([0], np.int32)),)))
    assert not watch(hurt, alarms, inputs).spikes.any()


def test_a_chip_that_stands_still_sends_no_heartbeat():
    made, inputs = small(), shown()
    alarms = chosen(made, inputs).alarms
    whole = nf.with_alarms(made, alarms)
    found = watch(whole.with_damage(Damage((Stall((0,)),))), alarms, inputs[:30])
    assert found.stalled
    assert found.alarmed.all()


def test_the_delay_is_counted_from_the_fault_and_what_a_healthy_chip_says_does_not_count():
    made, inputs = small(), shown(600)
    alarms = chosen(made, inputs, critical=0, size=8).alarms
    whole = nf.with_alarms(made, alarms)
    core, neuron = try_alarms(whole, alarms, inputs[:60], faults=["core_dead", "neuron_dead"], draws=30, threads=1)
    assert core.seen.mean > 0.5
    assert all(step is None or 1 <= step <= 60 * STEPS for step in (*core.steps, *neuron.steps))
    known = sorted(step for step in core.steps if step is not None)
    assert core.delay(0.1, critical=False) == known[2]
    assert core.delay(1.0, critical=False) == (known[-1] if len(known) == 30 else None)
    assert [one is None for one in core.steps] == [not names for names in core.first]
    deaf = replace(
        alarms, watchers=(Watcher("busy", "input", (0,), 0, 0, 32),), heartbeat="none"
    )  # alarms in every window, broken or not
    (never,) = try_alarms(nf.with_alarms(made, deaf), deaf, inputs[:60], faults=["neuron_dead"], draws=20, threads=1)
    assert watch(nf.with_alarms(made, deaf), deaf, inputs[:60]).alarmed.mean() > 0.9
    assert never.seen.mean < 0.2


def test_each_draw_may_have_a_stretch_of_its_own():
    made, inputs = small(), shown(600)
    alarms = chosen(made, inputs, critical=0, size=4).alarms
    whole = nf.with_alarms(made, alarms)

    def tried(samples, draws, horizon=None):
        return try_alarms(whole, alarms, samples, faults=["neuron_dead"], draws=draws, horizon=horizon, threads=1)[0]

    own = tried(inputs, 6, horizon=30)
    starts = [stream_key(1, "alarms", "stretch", "neuron_dead", draw) % (600 - 30 + 1) for draw in range(6)]
    alone = [tried(inputs[start : start + 30], draw + 1) for draw, start in enumerate(starts)]
    assert own.steps == tuple(one.steps[-1] for one in alone)
    assert own.matters == tuple(one.matters[-1] for one in alone)
    assert own.first == tuple(one.first[-1] for one in alone)
    assert own.steps != tried(inputs[:30], 6).steps
    assert tried(inputs[:60], 6, horizon=60) == tried(inputs[:60], 6)
    for horizon in (alarms.window - 1, 61):
        with pytest.raises(
            UsageError, match=rf"^horizon must be from a window, {alarms.window} samples, to all 60 samples, is {horizon}$"
        ):
            tried(inputs[:60], 2, horizon=horizon)


def test_watchers_are_charged():
    made, inputs = small(), shown()
    some, alarms = every_kind(made, inputs, 3, 1.0)
    whole = nf.with_alarms(made, alarms, cores=2)
    found = alarm_cost(whole, alarms, inputs[:30])
    spiking = [one for one in alarms.watchers if one.spiking]
    assert found.cores == 2
    assert found.neurons == len(spiking) + 3  # heartbeats of both cores, and of the outputs'
    assert found.synapses == sum(len(one.neurons) for one in spiking)
    assert found.compartments == len(alarms.watchers) - len(spiking) == len(some) - len(spiking)
    assert found.energy > 0
    assert found.watched.synaptic_operations > found.plain.synaptic_operations
    assert without_alarms(whole).populations == made.populations


def test_alarms_and_their_chip_are_saved_and_read_back(tmp_path):
    made, inputs = small(), shown()
    alarms = chosen(made, inputs, data="somewhere").alarms
    nf.save_alarms(alarms, tmp_path / "alarms.npz")
    nf.save(nf.with_alarms(made, alarms), tmp_path / "chip.npz")
    read, whole = nf.load_alarms(tmp_path / "alarms.npz"), nf.load(tmp_path / "chip.npz")
    assert (read.watchers, read.stated, read.data, read.heartbeat) == (alarms.watchers, alarms.stated, "somewhere", "watchers")
    hurt = nf.inject(whole, nf.faults.CoreDead(layer="hidden", count=1))
    assert np.array_equal(watch(hurt, read).spikes, watch(hurt, alarms).spikes)


def test_samples_come_class_by_class_where_labels_are_given():
    labels = np.random.default_rng(2).integers(0, 4, 103)
    order = order_of(103, 1, labels, 5)
    assert len(np.unique(order)) == len(order) > 80
    assert all(len(set(labels[own])) == 1 for own in order.reshape(-1, 5))
    assert sorted(order_of(103, 1, None, 5)) == list(range(103))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"window": 500}, "a window of 500 samples is longer than the data: 240 samples are for scales, for vouching and to be tried on"),
        ({"window": 0}, "window must be at least 1, is 0"),
        ({"false_alarms": 1}, "36 healthy windows of 3 samples cannot vouch for 1 false alarms per 10,000 samples, only for 90.1 or more: more samples, or more false alarms"),
        ({"false_alarms": 0}, "false_alarms must be above 0 and at most 10,000, is 0"),
        ({"watchers": ["bussy"]}, r"no watcher 'bussy' \(did you mean 'busy'\?\); there are: busy, idle, silence, above, below, still"),
        ({"watchers": []}, "no watcher is named; there are: busy, idle, .*"),
        ({"scopes": ["core", "core"]}, "scope 'core' is named twice"),
        ({"heartbeat": "some"}, r"no heartbeat 'some' \(did you mean 'none'\?\); there are: none, watchers, all"),
        ({"populations": ["hiden"]}, ".*'hiden'.*"),
        ({"critical": 1000}, r"nothing to watch for: none of 27 single faults \(core_dead and neuron_dead\) changes the class of 1,000 or more of 12 samples"),
        ({"labels": np.zeros(3, int)}, r"labels have the shape \(3,\), but there are 240 samples"),
        ({"placement": "spread"}, "no placement 'spread' of watchers; there are: greedy, random"),
    ],
)  # fmt: skip
def test_bad_requests_get_one_message(asked, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        chosen(small(), shown(), **asked)


def test_a_network_that_never_fires_has_nothing_to_watch():
    with pytest.raises(UsageError, match=r"^no neuron of network 'test' fires on 108 samples .*: there is nothing to watch$"):
        chosen(small(), nf.Inputs(events=np.zeros((240, STEPS, 9), bool)))


def test_chips_without_room_and_other_chips_are_refused(tmp_path):
    made, inputs = small(), shown()
    alarms = chosen(made, inputs).alarms
    with pytest.raises(CapacityError, match=r"^200 free cores are needed for watchers, 'loihi2' has 116 left"):
        nf.with_alarms(made, replace(alarms, watchers=alarms.watchers[:1] * 200), cores=200)
    tight = made.profile.model_copy(
        update={"core": made.profile.core.model_copy(update={"neurons": made.profile.core.neurons.model_copy(update={"value": 9})})}
    )
    busy = replace(alarms, watchers=(Watcher("busy", "hidden", (2,), 0, 0, 32),) * 10)
    with pytest.raises(
        CapacityError, match=r"^core 4 of watchers would take 11 neurons, 'loihi2' has 9: fewer watchers, or over more cores$"
    ):
        nf.with_alarms(replace(made, profile=tight), busy)
    whole = nf.with_alarms(made, alarms)
    with pytest.raises(UsageError, match=r"^the chip of 'test' has alarms already$"):
        nf.with_alarms(whole, alarms)
    with pytest.raises(UsageError, match=r"^the chip of 'test' has no watchers: nf.with_alarms puts them there$"):
        watch(made, alarms, inputs)
    with pytest.raises(UsageError, match=r"^the alarms were chosen for network 'test' with other weights"):
        watch(nf.with_alarms(small(9), chosen(small(9), inputs).alarms), alarms, inputs)
    with pytest.raises(UsageError, match=r"^a window of 3 samples is longer than the data: 2 samples$"):
        watch(whole, alarms, inputs[:2])
    with pytest.raises(UnsupportedError, match=r"^watchers are neurons by the law of Loihi; 'truenorth' computes by another"):
        chosen(replace(made, profile=nf.load_profile("truenorth")), inputs)
    (tmp_path / "junk.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"junk.npz"):
        nf.load_alarms(tmp_path / "junk.npz")
    np.savez(tmp_path / "other.npz", alarms=np.frombuffer(b"{}", np.uint8))
    with pytest.raises(
        UsageError, match=r"^.*other.npz: not saved alarms, or damaged ones \(its format is not known; this version reads 1\)$"
    ):
        nf.load_alarms(tmp_path / "other.npz")
