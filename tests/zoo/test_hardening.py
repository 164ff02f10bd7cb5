"""Training for damage: what is asked for, what is hit in a batch, that the twin is broken as the chip is, and that it helps."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurofault as nf
from neurofault.data.splits import Split
from neurofault.deploy.profile import load_profile
from neurofault.errors import UnsupportedError, UsageError
from neurofault.study.hardened import ZooNetwork, placing, sites_of, zoo_network
from neurofault.study.prepare import Setup, prepare
from neurofault.zoo import RECIPES
from neurofault.zoo.events import EVENT_RECIPES
from neurofault.zoo.hardening import Hardening, HiddenPlaces, Hits, Strike, hardening_digest, hardening_of, named
from neurofault.zoo.hurt import Broken, Hurt, check_module
from neurofault.zoo.surrogate import SpikingModel, fit, network_of
from neurofault.zoo.surrogate_specs import LayerSpec, Training

SITES = HiddenPlaces((np.repeat(np.arange(5, 9, dtype=np.int32), 3), np.repeat(np.arange(9, 12, dtype=np.int32), 2)), 8)


def place(name="digits-mlp", profile="loihi2", grain=None):
    recipe = {**RECIPES, **EVENT_RECIPES}[name]
    return placing(
        recipe, load_profile(profile), weight_bits=None, strategy="pack", neurons_per_core=grain, spare_cores=0, chips=None, seed=0
    )


@settings(deadline=None)
@given(
    cores=st.one_of(st.just(0.0), st.floats(1e-6, 0.999), st.integers(1, 1000).map(float)),
    bits=st.floats(0, 0.5), dropout=st.floats(0, 0.99), seed=st.none() | st.integers(0, 2**31 - 1),
)  # fmt: skip
def test_what_is_asked_for_goes_round_as_text(cores, bits, dropout, seed):
    asked = Hardening(*(float(f"{one:.9g}") for one in (cores, bits, dropout)), seed)
    if str(asked):
        assert hardening_of(str(asked)) == asked
        assert named(f"digits-mlp+{asked}") == ("digits-mlp", asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cors=6", "--harden cors=6: unknown 'cors' (did you mean 'cores'?); allowed: cores, bits, dropout, seed"),
        ("cores", "--harden cores: cores takes a number, as in cores=0.2"),
        ("seed=1.5", "--harden seed=1.5: seed takes a whole number, as in seed=1"),
        ("cores=2,cores=3", "--harden cores=2,cores=3: cores is said twice"),
        ("cores=2.5", "harden: cores must be a share from 0 to below 1, or a whole number of cores, is 2.5"),
        ("bits=0.6", "harden: bits must be from 0 to 0.5, is 0.6"),
        ("dropout=1", "harden: dropout must be from 0 to below 1, is 1"),
        ("", "--harden : unknown ''; allowed: cores, bits, dropout, seed"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError) as caught:
        hardening_of(text)
    assert str(caught.value) == message


def test_whole_cores_die_together_as_many_as_are_asked_for_and_anew_in_each_batch():
    hits = Hits(Hardening(cores=3), SITES, 1)
    seen = set()
    for _ in range(200):
        draw = hits.draw()
        dead = {int(core) for cores, alive in zip(SITES.cores, draw.alive, strict=True) for core in cores[~alive]}
        assert len(dead) == 3
        for cores, alive, passed in zip(SITES.cores, draw.alive, draw.passed, strict=True):
            assert np.array_equal(alive, ~np.isin(cores, list(dead)))
            assert np.array_equal(passed, alive[None].astype(np.float32))
        seen.add(frozenset(dead))
    assert len(seen) == len(list(itertools.combinations(range(7), 3)))


def test_dropout_is_of_single_neurons_of_each_sample_and_rescales():
    draw = Hits(Hardening(dropout=0.25), SITES, 1).draw(4000)
    assert all(one.all() for one in draw.alive)
    assert set(np.unique(draw.passed[0])) == {0, np.float32(1 / 0.75)}
    assert np.abs(draw.passed[0].mean(axis=0) - 1).max() < 0.05


@settings(deadline=None)
@given(rate=st.sampled_from([0.0, 0.01, 0.5]), bits=st.integers(2, 8), seed=st.integers(0, 1000), rows=st.booleans())
def test_flips_of_stored_bits_against_a_plain_reading_of_each_field(rate, bits, seed, rows):
    weight = np.random.default_rng(seed).normal(size=(7, 9)).astype(np.float32)
    clean, hit = (Strike((), (), each, bits, seed).read_back(weight, 0, rows=rows) for each in (0.0, rate))
    unit = np.abs(weight).max(axis=1 if rows else None, keepdims=True) / (2 ** (bits - 1) - 1)
    assert np.abs(clean - weight).max() <= unit.max() * 0.5001
    assert np.array_equal(hit, Strike((), (), rate, bits, seed).read_back(weight, 0, rows=rows))
    flipped = 0
    for before, after in zip(np.rint(clean / unit).astype(int).flat, np.rint(hit / unit).astype(int).flat, strict=True):
        flipped += bin((before % 2**bits) ^ (after % 2**bits)).count("1")
    sites = weight.size * bits
    assert abs(flipped - rate * sites) <= 5 * (rate * (1 - rate) * sites) ** 0.5
    if rate == 0.5:
        assert not np.array_equal(hit, Strike((), (), rate, bits, seed).read_back(weight, 1, rows=rows))


def test_the_identity_knows_what_is_asked_for_and_the_places_that_it_takes():
    moved = replace(SITES, cores=tuple(one + 40 for one in SITES.cores))
    other = replace(SITES, cores=(np.zeros(12, np.int32), np.ones(6, np.int32)))
    digest = hardening_digest(Hardening(cores=2), SITES)
    assert hardening_digest(Hardening(cores=2), moved) == digest
    assert hardening_digest(Hardening(cores=2, seed=2026), SITES) == digest  # the recipe's digest knows it
    assert hardening_digest(Hardening(cores=2), replace(SITES, weight_bits=4)) == digest
    assert hardening_digest(Hardening(cores=2), other) != digest
    assert hardening_digest(Hardening(cores=3), SITES) != digest
    assert hardening_digest(Hardening(bits=0.1), other) == hardening_digest(Hardening(bits=0.1), SITES)
    assert hardening_digest(Hardening(bits=0.1), replace(SITES, weight_bits=4)) != hardening_digest(Hardening(bits=0.1), SITES)


def test_places_are_those_of_the_chip(offline):
    data = nf_data("digits")
    chip = prepare(Setup("digits-mlp", samples=1), lambda *_: None).deployment
    sites = sites_of(RECIPES["digits-mlp"], data, place(), whole=True)
    assert len(sites.cores) == 1
    assert np.array_equal(sites.cores[0], chip.placement.core_of["hidden1"])
    assert sites.weight_bits == chip.connection("hidden1").weight_bits
    assert sites.hidden.size == 13


def nf_data(name):
    from neurofault.data.datasets import load

    return load(name)


def test_a_broken_module_is_the_module_without_the_dead_neurons():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))
    draw = Hits(Hardening(cores=3), SITES, 3).draw()
    cut = nn.Sequential(*(nn.Linear(one.in_features, one.out_features) if isinstance(one, nn.Linear) else one for one in model))
    cut.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer, alive in zip((cut[3], cut[5]), draw.alive, strict=True):
            layer.weight[:, torch.from_numpy(~alive)] = 0
    x = torch.rand(5, 4)
    assert torch.equal(Broken(model, draw)(x), cut(x))
    assert not torch.equal(model(x), cut(x))
    check_module(model, Hits(Hardening(cores=3), SITES, 3))
    with pytest.raises(UnsupportedError, match="the network has 2 activations but 1 hidden populations on the chip"):
        check_module(model, Hits(Hardening(cores=2), replace(SITES, cores=SITES.cores[:1]), 3))


def test_batch_normalisation_keeps_the_healthy_statistics():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)
    ).train()
    before = model[4].running_mean.clone()
    hurt = Hurt(model, Hits(Hardening(cores=3), SITES, 3))
    Broken(model, hurt.hits.draw())(torch.rand(20, 4))
    assert torch.equal(model[4].running_mean, before)
    hurt.loss(torch.rand(20, 4), torch.zeros(20, dtype=torch.int64)).backward()
    assert not torch.equal(model[4].running_mean, before)
    assert model[1].training
    with pytest.raises(UnsupportedError, match="into which batch normalisation is folded"):
        check_module(model, Hits(Hardening(bits=0.1), SITES, 3))


@pytest.mark.parametrize("recurrent", [True, False])
def test_a_broken_spiking_model_is_the_chip_with_these_cores_dead(recurrent):
    torch.manual_seed(0)
    layers = (LayerSpec(12, recurrent, (5.0, 30.0)), LayerSpec(3, tau_v=(30.0, 30.0), fires=False))
    model = SpikingModel(6, layers, seed=4)
    rng = np.random.default_rng(5)
    events = nf.Spikes.dense(rng.random((20, 15, 6)) < 0.3)
    with torch.no_grad():
        model.peak.copy_(model(events)[0].abs().max() * 2)
    chip = nf.deploy(network_of(model, "toy", (6,), 15), neurons_per_core=3)
    sites = HiddenPlaces((chip.placement.core_of["hidden1"],), 8)
    draw = Hits(Hardening(cores=2), sites, 6).draw()
    dead = np.unique(sites.cores[0][~draw.alive[0]]).tolist()
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=dead))
    spikes = [model(events, each)[1][0].detach().numpy().astype(bool).transpose(1, 0, 2) for each in (None, draw)]
    found = [nf.run(each, events, record=("spikes",)).activity.traces["hidden1"].spikes for each in (chip, hurt)]
    assert not spikes[1][:, :, ~draw.alive[0]].any()
    assert spikes[1].any()
    for twin, real in zip(spikes, found, strict=True):
        assert (twin == real).mean() > 0.98  # the twin's weights are not rounded


def test_hardening_helps_where_whole_cores_die_and_is_kept(offline):
    data = nf_data("digits")
    part = replace(data, train=data.train.first(500))
    recipe = replace(RECIPES["digits-mlp"], epochs=12)
    asked = ZooNetwork(recipe, Hardening(cores=6))
    plain = ZooNetwork(recipe, None).trained(place(), data=part)
    told = []
    hard = asked.trained(place(), data=part, progress=lambda *at: told.append(at))
    draws = hard.tried(10)
    lost = [
        one.accuracy(data.validation) - np.mean([one.accuracy(data.validation, draw) for draw in draws]) for one in (plain, hard)
    ]
    assert lost[1] < 0.5 * lost[0]
    assert hard.broken_words == "with 6 of 13 hidden cores dead"
    assert len(told) == 12
    again = asked.trained(place(), data=part, progress=lambda *at: told.append(at))
    assert again.digest == hard.digest != plain.digest
    assert len(told) == 12


def test_a_network_of_events_learns_under_flipped_bits_and_dead_cores():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 60)
    rates = np.where(labels[:, None] == np.arange(6) // 3, 0.4, 0.05)
    events = nf.Spikes.dense(rng.random((60, 12, 6)) < rates[:, None])
    split = Split(events, labels, np.arange(60), "toy/train")
    model = SpikingModel(6, (LayerSpec(12), LayerSpec(2, fires=False)), seed=1)
    hits = Hits(Hardening(cores=2, bits=1e-2), replace(SITES, cores=SITES.cores[:1]), 1)
    reached = fit(model, split, split, Training(epochs=40, batch=20, learning_rate=0.05), hits=hits)
    assert reached > 0.9


def test_a_name_with_its_hardening_goes_wherever_a_network_is_named(offline, monkeypatch):
    monkeypatch.setitem(RECIPES, "digits-mlp", replace(RECIPES["digits-mlp"], epochs=2))
    prepared = prepare(Setup("digits-mlp+cores=6", samples=20), lambda *_: None)
    assert prepared.network.name == "digits-mlp+cores=6"
    assert prepared.weights == zoo_network("digits-mlp+cores=6").trained(place()).digest
    assert isinstance(zoo_network("digits-mlp+seed=3"), ZooNetwork)
    assert zoo_network("digits-mlp+seed=3").harden is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits-mlp", "--harden", "cores=13"], "harden: cores=13 is 13 of the 13 cores that hold hidden neurons; at least one must die and one live"),
        (["digits-mlp", "--harden", "cores=0.5", "--neurons-per-core", "200"], "harden: all of population 'hidden1' sits on one core of 'loihi2', and nothing is left of it when that dies; spread it with"),
        (["digits-mlp", "--place", "spread"], "--place goes with --harden: a network that is trained for no damage is the same on every chip"),
        (["digits-mlp+cores=x"], "network 'digits-mlp+cores=x': cores takes a number, as in cores=0.2"),
        (["digits-mlq+cores=2"], "no network 'digits-mlq' in the zoo (did you mean 'digits-mlp'?)"),
    ],
)  # fmt: skip
def test_the_verb_refuses_in_one_line(words, message, cli):
    code, _, err = cli("train", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
