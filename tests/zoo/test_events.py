"""The zoo's networks of events: shipped weights, and what they reach on the chip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import neurofault as nf
from neurofault.errors import UsageError
from neurofault.study.prepare import Setup, prepare
from neurofault.zoo import any_recipe, recipe, weights_digest
from neurofault.zoo.events import EVENT_RECIPES, trained_model
from neurofault.zoo.surrogate import model_accuracy


@pytest.fixture
def data_dir(tmp_path):
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root / "byin-cwi__Efficient-spiking-networks" / "data"
    if not found.exists():
        pytest.skip(f"no recordings at {found}; NEUROFAULT_FIELD names the folder that holds them")
    (tmp_path / "ecg-qtdb").symlink_to(found)
    return tmp_path


def test_ecg_rnn_has_its_bits_without_training_and_names_phases_on_the_chip(data_dir):
    told = []
    model, _ = trained_model(EVENT_RECIPES["ecg-rnn"], data_dir=data_dir, progress=lambda *at: told.append(at))
    assert told == []
    assert weights_digest(model) == "41d9ca7ed79c0aba"
    prepared = prepare(Setup("ecg-rnn", data_dir=data_dir, samples=12), lambda *_: None)
    chip, test = prepared.deployment, prepared.test
    assert [one.name for one in chip.connections] == ["hidden1", "hidden1.rec", "output"]
    assert len(chip.placement.cores_of("hidden1")) == 16
    result = nf.run(chip, test.events, test.labels)
    assert result.notes == ()
    assert result.accuracy is not None
    assert result.accuracy > 0.75 > 2 * prepared.metric.chance(test.labels)


def test_a_name_is_looked_for_in_both_kinds_of_networks():
    assert any_recipe("ecg-rnn").dataset == "ecg-qtdb"
    assert any_recipe("digits-mlp") is recipe("digits-mlp")
    with pytest.raises(UsageError, match=r"no network 'ecg-rn' in the zoo \(did you mean 'ecg-rnn'\?\)"):
        any_recipe("ecg-rn")
    with pytest.raises(
        UsageError, match="network 'ecg-rnn' takes events and is spiking already; here a torch module is needed: digits-mlp"
    ):
        recipe("ecg-rnn")


def test_digits_events_mlp_is_shipped_and_loses_nothing_by_rounding(offline):
    model, data = trained_model(EVENT_RECIPES["digits-events-mlp"])
    assert weights_digest(model) == "a8fb0e5165b7250a"
    assert not (offline / "zoo").exists()
    part = data.test.first(100)
    chip = prepare(Setup("digits-events-mlp", samples=100), lambda *_: None).deployment
    reached = nf.run(chip, part.events, part.labels).accuracy
    assert reached is not None
    assert reached > 0.9
    assert abs(reached - model_accuracy(model, part, "last")) <= 0.02
