"""Answers of every step: what the readout would answer if the sample ended there, on random graphs, healthy and broken; and the labels that go with them."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.engines import answers as answers_module
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults import inject

T, N = 11, 7
RANDOM = np.random.default_rng(5)
EVENTS = nf.Spikes.dense(RANDOM.random((N, T, 6)) < 0.4)
LABELS = RANDOM.integers(-1, 4, (N, T))


def chip(how: str, reset: str = "sample"):
    random = np.random.default_rng(3)
    populations = (
        nf.Population("eyes", (6,), nf.Source()),
        nf.Population("loop", (8,), nf.CubaLif(1.0, du=1500, dv=300)),
        nf.Population("hands", (4,), nf.CubaLif(1.0 if how == "count" else None, dv=400)),
    )
    connections = (
        nf.Connection("in", "eyes", "loop", nf.Dense(random.normal(0.3, 0.6, (8, 6)))),
        nf.Connection("loop.rec", "loop", "loop", nf.Dense(random.normal(0, 0.4, (8, 8)))),
        nf.Connection("out", "loop", "hands", nf.Dense(random.normal(0.2, 0.6, (4, 8)))),
    )
    network = nf.Network("loop", populations, connections, T, nf.Readout("hands", how), reset=reset)
    return nf.deploy(network, neurons_per_core=2)


BROKEN = {
    "healthy": [],
    "dead core": [{"kind": "core_dead", "cores": [4]}],
    "dead in a window": [
        {"kind": "neuron_dead", "layer": "hands", "count": 2, "when": {"kind": "transient", "start": 3, "stop": 7}}
    ],
}


def broken(what: str, how: str):
    faults = [nf.faults.fault_from_mapping(one) for one in BROKEN[what]]
    return inject(chip(how), faults, seed=2) if faults else chip(how)


@pytest.mark.parametrize("how", ["potential", "count", "largest", "mean"])
@pytest.mark.parametrize("what", BROKEN)
def test_an_answer_is_that_of_a_sample_that_ends_there(what, how):
    deployment = broken(what, how)
    found = nf.run(deployment, EVENTS, LABELS)
    wanted = np.stack([nf.run(deployment, EVENTS, stop=step + 1).activity.predictions for step in range(T)], axis=1)
    assert len(np.unique(wanted)) > 1
    assert np.array_equal(found.activity.answers, wanted)
    assert found.correct == np.count_nonzero(wanted == LABELS)
    assert found.accuracy == found.correct / np.count_nonzero(LABELS >= 0)


@pytest.mark.parametrize("engine", ["lava", "brian2"])
@pytest.mark.parametrize("how", ["potential", "count"])
def test_other_engines_give_the_same_answers(engine, how):
    pytest.importorskip(engine)
    deployment = broken("dead core", how)
    wanted = nf.run(deployment, EVENTS[:2], LABELS[:2]).activity
    assert np.array_equal(nf.run(deployment, EVENTS[:2], LABELS[:2], engine=engine).activity.answers, wanted.answers)


def test_batches_change_nothing_and_traces_that_were_asked_for_are_there(monkeypatch):
    deployment = broken("dead in a window", "count")
    whole = nf.run(deployment, EVENTS, LABELS, record=("u",)).activity
    monkeypatch.setattr(answers_module, "_MOST_BYTES", 1)
    single = nf.run(deployment, EVENTS, LABELS).activity
    for name in ("scores", "sample_spikes", "answers"):
        assert np.array_equal(getattr(whole, name), getattr(single, name))
    assert all(np.array_equal(whole.spike_counts[name], single.spike_counts[name]) for name in whole.spike_counts)
    assert single.traces == {}
    assert whole.traces["hands"].u.shape == (N, T, 4)
    assert whole.traces["hands"].v is None


def test_a_stream_goes_on_from_sample_to_sample():
    deployment = chip("potential", "never")
    found = nf.run(deployment, EVENTS, LABELS).activity
    assert np.array_equal(found.answers[:, -1], nf.run(deployment, EVENTS).activity.predictions)
    assert not np.array_equal(found.answers, nf.run(chip("potential"), EVENTS, LABELS).activity.answers)


def test_a_table_counts_steps():
    pytest.importorskip("pandas")
    table = nf.run(chip("count"), EVENTS, LABELS).table()
    assert table["steps_labelled"].tolist() == np.count_nonzero(LABELS >= 0, axis=1).tolist()
    assert (table["steps_correct"] <= table["steps_labelled"]).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"labels have the shape \(7, 10\), but there are 7 samples of 11 steps"):
        nf.run(chip("count"), EVENTS, LABELS[:, 1:])
    with pytest.raises(UsageError, match=r"labels lie in -1 … 4; allowed: 0 to 3, −1 for unknown"):
        nf.run(chip("count"), EVENTS, np.where(LABELS == 3, 4, LABELS))
    with pytest.raises(UnsupportedError, match="labels of steps are of whole samples"):
        nf.run(chip("count"), EVENTS, LABELS, stop=5)
