"""One identity, one row: whatever changes a column of a row changes the identity of its trial."""

from __future__ import annotations

import json
from functools import cache

import pytest
import yaml
from campaigns import written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pydantic import BaseModel

from neurofault.deploy.profile_file import profile_folder
from neurofault.study.campaign import run as running
from neurofault.study.campaign.records import CampaignSpec
from neurofault.study.campaign.rows import COLUMNS, SEMANTICS, VOLATILE, sound
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.campaign.trial import WorkerBench

BASE = {
    "name": "base",
    "network": {"zoo": "digits-mlp"},
    "data": {"samples": 20, "adapt": 12},
    "place": {"spare_cores": 3, "neurons_per_core": 8},
    "faults": [{"kind": "core_dead", "count": 2}],
    "rescue": [{"strategy": "remap", "watchdog": 4}, {"strategy": "batch", "learner": "delta"}, {"strategy": "none"}],
    "repeats": {"draws": 1, "seed": 5},
}

CHANGES = {
    "name": "other",
    "network.zoo": None, "network.torch": None, "network.weights": None, "network.folder": None, "network.nir": None, "network.netx": None, "network.dt": None, "network.nir_reset": None, "network.readout": None,
    "data.events": None, "data.bins": None, "data.dt": None, "data.polarity": None, "data.crop": None, "data.down": None, "data.rounding": None, "data.sensor": None,
    "data.name": None, "data.npz": None, "data.python": None, "data.folder": None, "data.signed": None, "data.metric": None, "data.split": "validation", "data.samples": 30, "data.adapt": 20,
    "profile": None,
    "convert.timesteps": 16, "convert.weight_bits": 4, "convert.reset": None, "convert.calibrate": None,
    "place.strategy": "random", "place.neurons_per_core": 6, "place.spare_cores": 4, "place.chips": 2, "place.seed": None, "place.damage": None, "place.dying": None,
    "engine": None,
    "protect": None,
    "faults": [{"kind": "core_dead", "count": 3}],
    "rescue.0.strategy": "remap", "rescue.0.watchdog": 9, "rescue.0.cycles": 3.0, "rescue.1.strategy": "sham", "rescue.1.learner": "dfa",
    "rescue.1.cycles": 2.0, "rescue.1.writes": 10, "rescue.1.writes_per_synapse": 1, "rescue.1.energy": 1e-9, "rescue.1.time": 1e-6,
    "rescue.1.labels": 0.5, "rescue.1.steps": None, "rescue.1.spend": None, "rescue.1.watchdog": 3, "rescue.1.plastic": ["output"], "rescue.1.guard": 0.5,
    "repeats.draws": 2, "repeats.seed": 6, "repeats.stop": None,
    "limits.seconds": 99.0, "limits.megabytes": 4000,
}  # fmt: skip
"""Every key of a campaign → another value of it; None: taken up by a test of its own below, or by the digest of the chip's integers."""


def keys_of(record: type[BaseModel], place: str = "") -> set[str]:
    found = set()
    for name, field in record.model_fields.items():
        parts = [part for part in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(part, type)]
        inner = next((part for part in parts if issubclass(part, BaseModel) and part.__name__ not in ("Stop", "KeptSpares")), None)
        found |= {f"{place}{name}"} if inner is None else keys_of(inner, f"{place}{name}.")
    return found


def test_no_key_of_a_campaign_is_left_out():
    plain = {".".join(part for part in key.split(".") if not part.isdigit()) for key in CHANGES}
    assert plain == keys_of(CampaignSpec)


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory):
    """Return a function from a document to its rows by identity, and what is told of each identity so far."""
    folder = tmp_path_factory.mktemp("identity")
    told: dict[str, dict] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "prepare", cache(running.prepare))

        @cache
        def of(text: str) -> dict[str, dict]:
            state = running.ready(load_campaign(written(folder, text)), None, lambda *_: None)
            bench = WorkerBench(state.chips)
            found = {}
            for cell in state.campaign.cells():
                for task in state.tasks_of(cell):
                    row = {key: value for key, value in bench.row(task).items() if key not in VOLATILE}
                    assert sound({**row, "seconds": 0.0, "host": "", "worker": ""}), row
                    assert told.setdefault(task.trial, row) == row, f"one identity, two rows: {text}"
                    found[task.trial] = row
            return found

        yield lambda document: of(yaml.safe_dump(document))


def changed(changes) -> dict:
    document = json.loads(json.dumps(BASE))
    for place, value in changes:
        at = document
        *above, last = place.split(".")
        for step in above:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        at[last] = value
    return document


SINGLE = [(place, value) for place, value in CHANGES.items() if value is not None]


def test_what_guards_stored_weights_changes_the_identity(rows_of):
    """By itself: a remap, as the base has it, moves guarded weights, which is refused."""
    bare = [("rescue", [{"strategy": "batch", "learner": "delta"}, {"strategy": "none"}])]
    plain, guarded = rows_of(changed(bare)), rows_of(changed([*bare, ("protect", [{"kind": "bounds"}])]))
    clipped = rows_of(changed([*bare, ("protect", [{"kind": "bounds", "outside": "clip"}])]))
    assert len({*plain, *guarded, *clipped}) == len(plain) + len(guarded) + len(clipped)


@pytest.mark.parametrize(("place", "value"), SINGLE, ids=[place for place, _ in SINGLE])
def test_what_changes_a_row_changes_its_identity(rows_of, place, value):
    before, after = rows_of(BASE), rows_of(changed([(place, value)]))
    if place in ("name", "limits.seconds", "limits.megabytes", "rescue.0.strategy"):
        assert set(before) == set(after)
    elif place == "repeats.draws":
        assert set(before) < set(after)
    else:
        assert set(before) != set(after)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(some.lists(some.sampled_from([one for one in SINGLE if not one[0].startswith("place.chips")]), min_size=2, max_size=5))
def test_changes_together_never_share_an_identity_for_other_rows(rows_of, changes):
    rows_of(changed(changes))


def test_spending_evenly_is_another_trial(rows_of):
    def rows(**more):
        return set(rows_of({**BASE, "rescue": [{"strategy": "iterative", "learner": "delta", "steps": 2, "writes": 30, **more}]}))

    assert rows() == rows(spend="greedy")
    assert rows().isdisjoint(rows(spend="even"))


def test_another_chip_has_other_rows(rows_of):
    ways = [each for each in BASE["rescue"] if each.get("learner") != "delta"]  # whose rule Loihi 1 cannot hold
    chips = [set(rows_of({**BASE, "rescue": ways, "profile": profile})) for profile in ("loihi2", "loihi1")]
    assert chips[0].isdisjoint(chips[1])


def test_a_way_without_learning_has_the_same_row_beside_one_that_learns(rows_of):
    alone = rows_of({**BASE, "rescue": BASE["rescue"][:1]})
    assert set(alone) <= set(rows_of(BASE))


def test_an_engine_computes_its_own_rows(tmp_path):
    texts = [yaml.safe_dump({**BASE, "rescue": [{"strategy": "none"}], "engine": engine}) for engine in ("exact", "brian2")]
    states = [running.ready(load_campaign(written(tmp_path, text)), None, lambda *_: None) for text in texts]
    tasks = [next(state.tasks_of(next(state.campaign.cells()))) for state in states]
    assert tasks[0].trial != tasks[1].trial
    assert WorkerBench(states[0].chips).row(tasks[0])["engine"] == "exact"


def test_a_profile_of_other_numbers_is_another_chip_and_one_of_other_words_is_not(tmp_path, rows_of):
    text = (profile_folder() / "loihi2.yaml").read_text(encoding="utf-8")
    before = set(rows_of(BASE))
    (tmp_path / "words.yaml").write_text(text.replace("title: ", "title: My ", 1), encoding="utf-8")
    assert set(rows_of({**BASE, "profile": str(tmp_path / "words.yaml")})) == before


def test_rows_say_under_which_semantics_they_were_computed(rows_of):
    rows = rows_of(BASE).values()
    assert {row["semantics"] for row in rows} == {SEMANTICS}
    assert all(set(COLUMNS) - set(VOLATILE) == set(row) for row in rows)


@pytest.mark.parametrize(
    ("faults", "bits", "neurons"),
    [
        ([{"kind": "synapse_bit_flip", "count": 7}], 7, 0),
        ([{"kind": "synapse_bit_flip", "synapse_bits": [[0, 0, 1], [0, 0, 2]], "layer": "hidden1"}], 2, 0),
        ([{"kind": "synapse_bit_flip", "count": 3}, {"kind": "synapse_delay", "count": 2}], 3, 0),
        ([{"kind": "neuron_dead", "neurons": [1, 2, 3], "layer": "hidden1"}, {"kind": "neuron_bias", "neurons": [3, 4], "offset": 5, "layer": "hidden1"}], 0, 4),
        ([{"kind": "axon_misrouted", "count": 1}], 0, 0),
    ],
)  # fmt: skip
def test_flipped_bits_are_counted_and_neurons_hit_twice_once(rows_of, faults, bits, neurons):
    (row,) = rows_of({**BASE, "rescue": [{"strategy": "none"}], "faults": [{"all": faults}]}).values()
    assert (row["status"], row["bits"]) == ("ok", bits)
    if neurons:
        assert row["neurons"] == neurons
