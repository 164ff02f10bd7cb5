"""`nf.protect` with `mute`: watchers and relays on every engine that takes graphs, by hand on a small net, and what cannot be muted."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
from protected_chips import chain_of

import neurofault as nf
from neurofault.errors import CapacityError, UnsupportedError, UsageError
from neurofault.faults import CoreDead, NeuronDead, NeuronSaturated, NeuronStuck
from neurofault.inputs import Bias, Inputs
from neurofault.study.protect.charge import charge

ENGINES = ["exact", *(name for name, module in (("brian2", "brian2"), ("lava", "lava")) if importlib.util.find_spec(module))]
CHIP = nf.deploy(chain_of((20, 12, 9, 5), timesteps=8), neurons_per_core=5)
X = Bias(np.random.default_rng(0).integers(0, 4000, (6, 20)).astype(np.int32))
LABELS = np.arange(6) % 5
SAFE = nf.protect(CHIP, "mute", X, LABELS)


def traces(chip, x=X, engine="exact"):
    return nf.run(chip, x, engine=engine, record=("spikes", "v")).activity.traces


@pytest.mark.parametrize("engine", ENGINES)
def test_a_healthy_chip_that_mutes_spikes_as_before_on_every_engine(engine):
    before, after = traces(CHIP), traces(SAFE, engine=engine)
    for name in ("mid0", "mid1", "hands"):
        assert np.array_equal(before[name].spikes, after[name].spikes)
    assert np.array_equal(before["hands"].v, after["hands"].v)
    assert 0 < before["mid1"].spikes.mean() < 1
    assert not any(after[f"{name}.watch"].spikes.any() for name in ("mid0", "mid1"))


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_engines_agree_on_what_is_muted(engine):
    hurt = nf.inject(SAFE, NeuronSaturated(neurons=[int(SAFE.protection.mutes[0].neurons[0])], layer="mid0.own"))
    one, other = traces(hurt), traces(hurt, engine=engine)
    for name in one:
        assert np.array_equal(one[name].spikes, other[name].spikes)
    assert one["mid0.watch"].spikes.any()


def tiny(events, *, steps=12):
    """One input neuron that drives one hidden neuron spike for spike."""
    populations = [nf.Population("in", (1,), nf.Source()), *(nf.Population(name, (1,), nf.CubaLif(0.5)) for name in ("mid", "out"))]
    chip = nf.deploy(nf.chain("tiny", populations, [nf.Dense(np.ones((1, 1)))] * 2, timesteps=steps))
    seen = np.zeros((len(events), steps, 1), bool)
    for sample, when in enumerate(events):
        seen[sample, when] = True
    return chip, Inputs(events=seen)


def test_by_hand_a_neuron_is_passed_on_until_one_spike_after_the_most_that_was_seen():
    chip, healthy = tiny([[0, 4, 8], [1, 5]])  # at most three spikes of a sample, no two within four steps
    safe = nf.protect(chip, "mute", healthy, np.zeros(2, np.int64))
    shown = nf.run(safe, healthy, record=("spikes",)).activity.traces
    assert np.flatnonzero(shown["mid"].spikes[0]).tolist() == [0, 4, 8]
    stuck = nf.run(nf.inject(safe, NeuronSaturated(neurons=[0], layer="mid.own")), healthy, record=("spikes",)).activity.traces
    for sample in (0, 1):
        assert stuck["mid.own"].spikes[sample].all()
        first = int(np.flatnonzero(stuck["mid.watch"].spikes[sample])[0])
        assert first <= 3  # the fourth spike at the latest
        assert np.flatnonzero(stuck["mid"].spikes[sample]).tolist() == list(range(first + 1))
    # as often as was seen at most, and as far apart: not muted
    slow = nf.run(nf.inject(safe, NeuronStuck(neurons=[0], layer="mid.own", spike_rate=0.25)), healthy, record=("spikes",))
    assert slow.activity.traces["mid"].spikes[0].sum() == 3


def test_a_count_begins_anew_in_each_sample():
    chip, healthy = tiny([[0, 1, 2]] * 5)
    safe = nf.protect(chip, "mute", healthy[:1], np.zeros(1, np.int64))
    assert (nf.run(safe, healthy, record=("spikes",)).activity.traces["mid"].spikes.sum(axis=(1, 2)) == 3).all()


def test_muting_lasts_to_the_end_of_a_long_sample():
    chip, healthy = tiny([[0, 400]], steps=900)
    safe = nf.protect(chip, "mute", healthy, np.zeros(1, np.int64))
    hurt = nf.inject(safe, NeuronSaturated(neurons=[0], layer="mid.own"))
    spikes = nf.run(hurt, healthy, record=("spikes",)).activity.traces["mid"].spikes
    assert 1 <= spikes.sum() <= 3
    assert not spikes[0, 3:].any()


def test_stuck_neurons_change_less_than_without_and_stuck_watchers_mute_sound_ones():
    wrong = {False: 0, True: 0}
    healthy = traces(CHIP)["hands"].v
    for neuron in SAFE.protection.mutes[0].neurons.tolist():
        for chip, layer, guarded in ((CHIP, "mid0", False), (SAFE, "mid0.own", True)):
            hurt = nf.inject(chip, NeuronSaturated(neurons=[neuron], layer=layer))
            wrong[guarded] += int(np.abs(traces(hurt)["hands"].v.astype(np.int64) - healthy).sum())
    assert wrong[True] < wrong[False]
    watched = SAFE.protection.mutes[0].neurons
    spikes = traces(CHIP)["mid0"].spikes
    busy = next(at for at, one in enumerate(watched.tolist()) if spikes[:, 2:, one].any())
    muted = traces(nf.inject(SAFE, NeuronSaturated(neurons=[busy], layer="mid0.watch")))["mid0"].spikes
    assert not muted[:, 1:, watched[busy]].any()
    dead = traces(nf.inject(SAFE, NeuronDead(neurons=list(range(len(watched))), layer="mid0.watch")))
    assert np.array_equal(dead["mid0"].spikes, spikes)


def test_a_neuron_that_fires_in_each_step_of_a_healthy_sample_is_not_watched():
    spikes = traces(CHIP)["mid0"].spikes
    always = np.flatnonzero(spikes.all(axis=1).any(axis=0))
    assert always.size
    assert not np.isin(always, SAFE.protection.mutes[0].neurons).any()


def test_watchers_and_relays_sit_where_neurons_are_driven_or_on_cores_of_their_own():
    place = SAFE.placement
    assert np.array_equal(place.core_of["mid1.own"], CHIP.placement.core_of["mid1"])
    assert set(place.cores_of("mid1")) == set(CHIP.placement.cores_of("hands"))
    assert not any(one.cores for one in SAFE.protection.mutes)
    own = nf.protect(CHIP, {"kind": "mute", "layer": "mid1", "relays": "own"}, X, LABELS)
    (only,) = own.protection.mutes
    assert len(only.cores) == len(CHIP.placement.cores_of("mid1"))
    assert set(own.placement.cores_of("mid1")) == set(only.cores)
    hurt = nf.inject(own, CoreDead(cores=list(only.cores)))
    assert not traces(hurt)["mid1"].spikes.any()


def test_watchers_and_relays_are_charged():
    activity = nf.run(SAFE, X).activity
    cost = charge(SAFE, activity.spike_counts, len(X))
    watched = [one.neurons for one in SAFE.protection.mutes]
    assert cost.copied_bits == 8 * sum(size + 2 * len(own) for size, own in zip((12, 9), watched, strict=True))
    assert cost.stored_bits == 8 * (20 * 12 + 12 * 9 + 9 * 5)
    sent = [activity.spike_counts[f"{name}.own"] for name in ("mid0", "mid1")]
    operations = sum(each.sum() + each[own].sum() for each, own in zip(sent, watched, strict=True))
    assert cost.bits_read == pytest.approx(8 * operations / len(X))


def test_a_share_goes_to_those_that_would_do_most_harm():
    spikes, loud = traces(CHIP)["mid1"].spikes, np.abs(CHIP.connection("hands").synapses.weight.astype(np.int64)).sum(axis=0)
    harm = loud * (6 * 8 - spikes.sum(axis=(0, 1)))
    every = nf.protect(CHIP, {"kind": "mute", "layer": "mid1"}, X, LABELS).protection.mutes[0].neurons
    some = nf.protect(CHIP, {"kind": "mute", "layer": "mid1", "share": 0.34}, X, LABELS).protection.mutes[0].neurons
    assert some.tolist() == sorted(every[np.argsort(-harm[every], kind="stable")][:3].tolist())


def test_floors_leave_relays_alone_and_hold_the_neurons():
    both = nf.protect(CHIP, ["potentials", "mute"], X, LABELS)
    assert both.population("mid0").law.floor is None
    assert np.array_equal(both.population("mid0.own").law.floor, np.minimum(0, traces(CHIP)["mid0"].v.min(axis=(0, 1))))
    hurt = nf.inject(both, NeuronSaturated(neurons=[int(both.protection.mutes[0].neurons[0])], layer="mid0.own"))
    assert traces(hurt)["mid0"].spikes[..., both.protection.mutes[0].neurons[0]].sum(axis=1).max() < 8


def test_a_chip_that_mutes_comes_back_from_a_file(tmp_path):
    nf.save(SAFE, tmp_path / "chip.npz")
    back = nf.load(tmp_path / "chip.npz")
    assert [one.neurons.tolist() for one in back.protection.mutes] == [one.neurons.tolist() for one in SAFE.protection.mutes]
    hurt = NeuronSaturated(count=2, layer="mid0.own")
    assert np.array_equal(traces(nf.inject(back, hurt))["hands"].v, traces(nf.inject(SAFE, hurt))["hands"].v)


@pytest.mark.parametrize(
    ("make", "what", "error", "text"),
    [
        (lambda: (CHIP, None), "mute", UsageError, "protect: mute looks at samples; give inputs and labels (of training or validation, never those that are reported on)"),
        (lambda: (CHIP, X), {"kind": "mute", "layer": "hands"}, UsageError, "protect mute: 'hands' is read by its potentials or counts, which a relay does not have; protect hidden layers"),
        (lambda: (CHIP, X), "mute:0.01", UsageError, "protect mute:0.01:importance: 0.01 of 21 neurons is less than one"),
        (lambda: (CHIP, X), ["tmr", "mute"], UsageError, "protect mute: 'mid0' has voters or relays already; a layer takes one of tmr and mute, once"),
        (lambda: (CHIP, X), ["mute", "mute"], UsageError, "protect mute: 'mid0' has voters or relays already; a layer takes one of tmr and mute, once"),
        (lambda: (CHIP, X), ["mute", {"kind": "potentials", "layer": "mid0"}], UsageError, "protect potentials: layer 'mid0' holds relays alone, which are muted by a low potential; its neurons are mid0.own"),
        (lambda: tiny([list(range(12))]), "mute", UsageError, "protect mute: there is nothing to protect: every neuron of 'mid' fires in each step of some healthy sample, so none can be too often"),
        (lambda: (replace(CHIP, reset="never"), X), "mute", UnsupportedError, "protect mute: samples are one stream (reset: never), in which no watcher's count begins anew"),
        (lambda: (nf.deploy(chain_of((4, 3, 2)), neurons_per_core=1, spare_cores=110, chips=1), Bias(np.ones((1, 4), np.int32))), {"kind": "mute", "relays": "own"}, CapacityError, "protect mute: relays of 'mid0' take 3 more cores, and 1 are free; give relays: target, keep fewer spare cores, or deploy on more chips"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_message(make, what, error, text):
    chip, x = make()
    with pytest.raises(error) as raised:
        nf.protect(chip, what, x, None if x is None else np.zeros(len(x), np.int64))
    assert str(raised.value) == text


def test_the_command_and_campaigns_mute(cli, tmp_path):
    code, out, err = cli(
        "inject", "--protect", "mute", "--fault", "neuron_saturated", "--count", "1", "--layer", "hidden", "--draws", "2", "--samples", "50",
        "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["protection"]["copied_bits"] == 8 * 300
    pytest.importorskip("pandas")
    given = {
        "name": "muted", "network": {"zoo": "digits-mlp"}, "data": {"samples": 50}, "repeats": {"draws": 2},
        "faults": [{"kind": "neuron_saturated", "count": 1, "layer": "hidden1.own"}], "protect": [{"kind": "mute"}],
    }  # fmt: skip
    table = nf.campaign(given, out=tmp_path / "run").run(workers=1).table()
    assert set(table["status"]) == {"ok"}, table["message"].tolist()


@pytest.mark.parametrize(
    "way",
    [
        ("mute", "muted", "relays", "hidden1.own", "watchers: 'hidden1.watch'"),
        ("tmr", "copied", "voters", "hidden1.1", "their copies: 'hidden1.2', 'hidden1.3'"),
    ],
)
def test_a_layer_that_means_other_neurons_on_the_protected_chip_is_refused_and_its_own_neurons_are_compared(
    way, capsys, monkeypatch, tmp_path
):
    from neurofault.cli.app import main

    kind, done, passing, own, beside = way

    def inject(layer, *, code=0):
        words = [
            "inject",
            "--samples",
            "60",
            "--protect",
            kind,
            "--fault",
            "neuron_saturated",
            "--count",
            "2",
            "--draws",
            "2",
            "--layer",
            layer,
        ]
        monkeypatch.setattr("sys.argv", ["neurofault", *words, "--json", str(tmp_path / "found.json")])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
        return capsys.readouterr()

    said = inject("hidden1", code=2).err
    assert said.strip() == (
        f"neurofault: neuron_saturated: layer 'hidden1' is {done}: on the protected chip that name is of the {passing} alone, on the other of its neurons; "
        f"neurons: {own!r}, {beside}, all of them: 'hidden'"
    )
    out = inject(own).out
    assert out.startswith("With its protection, neuron_saturated")
    found = json.loads((tmp_path / "found.json").read_text())["protection"]
    assert found["regained"] > 0.5
    assert found["unprotected_accuracy"]["mean"] < 0.95
    assert out.splitlines()[0].endswith(f"; without it {100 * found['unprotected_accuracy']['mean']:.2f} %")
    out = inject(beside.split("'")[1]).out
    found = json.loads((tmp_path / "found.json").read_text())["protection"]
    if kind == "mute":
        assert "the chip without it has nothing of what was hit" in " ".join(out.split())
        assert found["unprotected_accuracy"]["mean"] is None


def test_arms_of_a_campaign_that_would_hit_other_neurons_are_refused(tmp_path):
    spec = {
        "name": "arms", "network": {"zoo": "digits-mlp"}, "data": {"samples": 20}, "protect": {"sweep": [[], [{"kind": "mute"}]]},
        "faults": [{"kind": "neuron_saturated", "count": 1, "layer": "hidden1"}], "repeats": {"draws": 2, "seed": 1},
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"^neuron_saturated: layer 'hidden1' is muted: on the protected chip"):
        nf.campaign(spec, out=tmp_path / "run").run(workers=1)
