"""Verbs on a network of events that comes trained, with an empty cache and no network."""

from __future__ import annotations

import pytest

BROKEN = ("--kill-cores", "1", "--draws", "1")


@pytest.mark.filterwarnings("ignore::neurofault.errors.NeurofaultWarning")
@pytest.mark.parametrize("verb", ["inject", "atlas"])
def test_a_network_of_events_goes_through_the_verbs_without_training(cli, offline, verb):
    words = ("--samples", "5", *(BROKEN if verb == "inject" else ("--fault", "core_dead", "--layer", "output")))
    code, out, err = cli(verb, "--network", "digits-events-mlp", *words)
    assert code == 0, err
    assert "output" in out
    assert not (offline / "zoo").exists()
