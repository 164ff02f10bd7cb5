"""Few outcomes: which there are, how likely each is, and that nothing is left to chance once all are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neurofault.deploy.topology import Board, SharedMemory
from neurofault.errors import UsageError
from neurofault.faults import fault_from_mapping, inject
from neurofault.study.hits import hit_to_json
from neurofault.study.lesion import lesion, measure_many
from neurofault.study.outcomes import cores_drawn_from, exact_interval, interval_of_few, possible
from neurofault.study.prepare import Setup, prepare
from neurofault.study.statistics import SHARE, cautious_interval, t_interval


@pytest.fixture(scope="module")
def prepared():
    return prepare(Setup(samples=150), lambda *_: None)


def faults(*specs: str | dict) -> list:
    return [fault_from_mapping(spec) for spec in specs]


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        ({"kind": "core_dead", "count": 1, "layer": "any"}, 23),
        ({"kind": "core_dead", "count": 2, "layer": "any"}, 253),
        ({"kind": "core_dead", "count": 2}, 78),
        ({"kind": "core_dead", "count": 0}, 1),
        ({"kind": "core_dead", "cores": [3, 9]}, 1),
        ({"kind": "core_dead", "rate": 0.1, "layer": "input"}, 256),
        ({"kind": "core_dead", "count": 1, "at": "core:0-9"}, 10),
        ({"kind": "core_dead", "count": 1, "when": {"kind": "transient", "start": 2, "stop": 9}}, 13),
        ({"kind": "core_hung", "count": 1, "on_core_death": "silent"}, 13),
        ({"kind": "neuron_dead", "count": 1}, 100),
        ({"kind": "neuron_saturated", "count": 2, "layer": "output"}, 45),
        ({"kind": "neuron_stuck", "count": 1, "at": "core:8"}, 8),
        ({"kind": "core_dead", "count": 3, "layer": "any"}, None),
        ({"kind": "core_dead", "rate": 0.1}, None),
        ({"kind": "core_dead", "count": 1, "where": "clustered"}, None),
        ({"kind": "core_dead", "count": 1, "when": {"kind": "ageing", "start": 0, "stop": 9}}, None),
        ({"kind": "synapse_dead", "count": 1}, None),
        ({"kind": "neuron_dead", "count": 1, "layer": "any"}, 174),
        ({"kind": "neuron_dead", "count": 2}, None),
    ],
    ids=str,
)
def test_outcomes_are_all_there_are(prepared, spec, number):
    found = possible(prepared.deployment, faults(spec))
    if number is None:
        assert found is None
        return
    assert found is not None
    assert len(found) == number
    assert sum(chance for _, chance in found) == pytest.approx(1)
    hits = {str(hit_to_json(inject(prepared.deployment, listed).damage.hits[0])) for listed, _ in found}
    assert len(hits) == number
    for draw in range(20):
        drawn = inject(prepared.deployment, faults(spec), seed=3, draw=draw)
        assert str(hit_to_json(drawn.damage.hits[0])) in hits


def test_a_rate_has_outcomes_of_unequal_chance(prepared):
    found = possible(prepared.deployment, faults({"kind": "core_dead", "rate": 0.25, "layer": "output"}))
    assert [chance for _, chance in found] == pytest.approx([0.75**2, 0.25 * 0.75, 0.75 * 0.25, 0.25**2])


def test_faults_together_multiply(prepared):
    two = faults({"kind": "core_dead", "count": 1}, {"kind": "core_hung", "count": 1, "layer": "output", "on_core_death": "silent"})
    found = possible(prepared.deployment, two)
    assert len(found) == 26
    assert [chance for _, chance in found] == pytest.approx([1 / 26] * 26)
    assert possible(prepared.deployment, two, most=25) is None
    assert possible(prepared.deployment, [*two, *faults({"kind": "synapse_dead", "count": 1})]) is None
    assert possible(prepared.deployment, []) is None


def test_a_lesion_of_few_outcomes_is_the_mean_over_all_of_them_whatever_was_drawn(prepared):
    chip, test = prepared.deployment, prepared.test
    plan = faults({"kind": "core_dead", "count": 1, "layer": "output"})
    broken = [inject(chip, faults({"kind": "core_dead", "cores": [core]})) for core in (21, 22)]
    truth = float(np.mean([each.accuracy for each in measure_many(broken, chip.encode(test.images), test, engine="exact")]))
    for seed in range(3):
        found = lesion(chip, test, plan, draws=2, seed=seed)
        assert found.accuracy == found.exact
        assert (found.exact.mean, found.exact.low, found.exact.n, found.exact.method) == (
            pytest.approx(truth),
            found.exact.mean,
            2,
            "exact",
        )
        assert found.over_draws == t_interval([draw.measured.accuracy for draw in found.draws], within=SHARE)
    assert lesion(chip, test, plan, draws=1, seed=0).exact is None
    assert lesion(chip, test, faults({"kind": "core_hung", "count": 1, "layer": "output"}), draws=2, seed=0).exact is None


def test_outcomes_beyond_what_was_drawn_are_run_where_that_is_little_work_and_are_told(prepared, monkeypatch):
    chip, test = prepared.deployment, prepared.test
    plan = faults({"kind": "core_dead", "count": 1})
    told = []
    each = len(test) * chip.timesteps * (64 * 100 + 100 * 10)  # synapses, as the network says
    monkeypatch.setattr(f"{lesion.__module__}._MOST_WORK", 13 * each)
    assert lesion(chip, test, plan, draws=2, seed=0, progress=lambda *event: told.append(event)).exact.n == 13
    assert told[-1][:3] == ("every outcome", 13, 13)
    monkeypatch.setattr(f"{lesion.__module__}._MOST_WORK", 13 * each - 1)
    assert lesion(chip, test, plan, draws=2, seed=0).exact is None
    assert lesion(chip, test, plan, draws=13, seed=0).exact.n == 13  # no more than was asked for


def test_chances_weigh():
    assert exact_interval([1.0, 0.0], [1, 3]).mean == 0.25
    for values, chances, message in (
        ([1, 2], [1], "2 draws against 1, expected as many: paired values come from the same draws"),
        ([1, 2], [1, -1], "chances: expected at least 0, and one above 0"),
        ([1, 2], [0, 0], "chances: expected at least 0, and one above 0"),
    ):
        with pytest.raises(UsageError, match=message):
            exact_interval(values, chances)


LAYER_OF = {core: "input" if core < 8 else "hidden1" if core < 21 else "output" for core in range(23)}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"kind": "core_dead", "count": 1, "layer": "any"}, (23, True)),
        ({"kind": "core_dead", "count": 2}, (78, False)),
        ({"kind": "core_dead", "count": 1, "layer": "output"}, (2, False)),
        ({"kind": "core_dead", "count": 3, "layer": "any"}, None),
        ({"kind": "core_dead", "count": 1, "layer": "elsewhere"}, None),
        ({"kind": "core_dead", "rate": 0.1}, None),
        ({"kind": "core_dead", "count": 1, "where": "clustered"}, None),
        ({"kind": "core_dead", "cores": [3]}, None),
        ({"kind": "synapse_dead", "count": 1}, None),
    ],
    ids=str,
)
def test_a_map_of_the_chip_tells_how_many_outcomes_there_are(spec, expected):
    assert cores_drawn_from(faults(spec), LAYER_OF) == expected


def test_draws_that_saw_all_outcomes_are_exact():
    values, hit = [0.9, 0.5, 0.9, 0.9], [(1,), (2,), (1,), (1,)]
    assert interval_of_few(values, hit, 2, False) == exact_interval([0.9, 0.5], [1, 1])
    assert interval_of_few(values, hit, 3, False) == t_interval(values, within=SHARE)
    assert interval_of_few(values, hit, 3, True) == cautious_interval(values)
    with pytest.raises(UsageError, match="4 draws, but outcomes of 1"):
        interval_of_few(values, [(1,)], 3, True)


DIGITS = [0.194, 0.704, 0.76, 0.788, 0.804, 0.87, 0.876, 0.88, 0.906, 0.92, 0.934, 0.946, 0.946, 0.948, 0.95, 0.952, 0.952, 0.954,
          0.954, 0.954, 0.956, 0.96, 0.964]  # fmt: skip
"""Accuracy of `digits-mlp` on Loihi 2 without each of its 23 cores."""


@pytest.mark.parametrize("draws", [10, 20])
def test_intervals_over_draws_of_few_outcomes_cover_what_they_claim(draws):
    random, truth = np.random.default_rng(1), float(np.mean(DIGITS))
    cautious, plain = [], []
    for hit in random.integers(0, 23, (600, draws)):
        values = np.array(DIGITS)[hit]
        for found, interval in ((cautious, interval_of_few(values, hit.tolist(), 23, True)), (plain, t_interval(values))):
            found.append(interval.low <= truth <= interval.high)
    assert np.mean(cautious) > 0.93
    assert np.mean(plain) < 0.86


def test_intervals_over_draws_of_few_outcomes_of_one_layer_cover_what_they_claim():
    random, hidden = np.random.default_rng(2), np.array(DIGITS)[[10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]]
    truth = float(hidden.mean())
    for draws in (10, 20):
        found = [interval_of_few(hidden[hit], hit.tolist(), 13, False) for hit in random.integers(0, 13, (2000, draws))]
        assert np.mean([each.low - 1e-12 <= truth <= each.high + 1e-12 for each in found]) >= 0.93


@pytest.mark.parametrize(("kind", "part"), [("board_dead", "boards"), ("memory_dead", "memories")])
def test_boards_and_memories_are_few(prepared, kind, part):
    chip = prepared.deployment
    used = np.unique(chip.placement.used_cores)
    profile = chip.profile.model_copy(
        update={
            "shared_memory": SharedMemory.model_validate({"cores": quantity(8, "cores")}),
            "board": Board.model_validate({"chips": quantity(1, "chips")}),
        }
    )
    chip = replace(chip, profile=profile)
    expected = 1 if kind == "board_dead" else len(np.unique(used // 8))
    found = possible(chip, faults({"kind": kind, "count": 1, "layer": "any"}))
    assert found is not None
    assert [chance for _, chance in found] == pytest.approx([1 / expected] * expected)
    hits = {str(hit_to_json(inject(chip, listed).damage.hits[0])) for listed, _ in found}
    drawn = {
        str(hit_to_json(inject(chip, faults({"kind": kind, "count": 1, "layer": "any"}), draw=n).damage.hits[0])) for n in range(20)
    }
    assert len(hits) == expected
    assert drawn <= hits
    assert len(possible(chip, faults({"kind": kind, part: [0]}))) == 1


def quantity(value: int, unit: str) -> dict:
    return {"value": value, "unit": unit, "evidence": "assumed", "note": "a test"}
