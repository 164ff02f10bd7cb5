"""What curves are called: no two alike, and every axis in it."""

from __future__ import annotations

import json

import pytest
from campaigns import written
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from neurofault.study.campaign.labels import labels_of, line_of, words, x_axis
from neurofault.study.campaign.spec import load_campaign


def labelled(folder, plans, ways, axes=()):
    text = "name: labels\nnetwork: {zoo: digits-mlp}\n" + f"faults: {json.dumps(plans)}\nrescue: {json.dumps(ways)}\n"
    campaign = load_campaign(written(folder, text), axes)
    cells = list(campaign.cells())
    return cells, labels_of(campaign, cells)


def distinct(folder, plans, ways=({"strategy": "none"},), axes=()):
    cells, labels = labelled(folder, list(plans), list(ways), axes)
    return list(dict.fromkeys(labels[cell.index] for cell in cells)), len({line_of(cell) for cell in cells})


@pytest.mark.parametrize(
    ("plans", "ways", "axes", "expected"),
    [
        (
            [{"kind": "core_dead", "count": 1, "layer": layer} for layer in ("input", "hidden1", "output")],
            [{"strategy": "none"}],
            (),
            ["core_dead (layer input) · none", "core_dead (layer hidden1) · none", "core_dead (layer output) · none"],
        ),
        (
            [{"kind": "core_dead", "count": {"sweep": [1, 2]}}],
            [{"strategy": "none"}],
            ("place.strategy={sweep: [pack, spread]}",),
            ["core_dead · place strategy pack · none", "core_dead · place strategy spread · none"],
        ),
        (
            [{"kind": "core_dead", "count": {"sweep": [1, 2]}, "at": {"sweep": [["core:8-14"], ["core:15-20"]]}}],
            [{"strategy": "none"}],
            (),
            ["core_dead · at [core:8-14] · none", "core_dead · at [core:15-20] · none"],
        ),
        (
            [{"kind": "core_dead", "count": 1}],
            [
                {"strategy": "batch", "learner": "delta"},
                {"strategy": "batch", "learner": "delta", "plastic": ["output"]},
                {"strategy": "batch", "learner": "delta", "watchdog": 5},
            ],
            (),
            ["batch · delta", "batch · delta · plastic [output]", "batch · delta · watchdog 5"],
        ),
        (
            [{"kind": "synapse_bit_flip", "rate": {"sweep": [1e-3, 1e-2]}, "bits": {"sweep": ["msb", "any"]}}],
            [{"strategy": "none"}, {"strategy": "batch", "learner": {"sweep": ["delta", "dfa"]}}],
            (),
            [f"bits {bits} · {way}" for bits in ("msb", "any") for way in ("none", "batch · delta", "batch · dfa")],
        ),
        (
            [{"kind": "core_dead", "count": {"sweep": [1, 2]}}, {"kind": "core_dead", "rate": {"sweep": [0.1, 0.2]}}],
            [{"strategy": "none"}],
            (),
            ["core_dead (count varied) · none", "core_dead (rate varied) · none"],
        ),
        (
            [{"kind": "core_dead", "count": 1}, {"kind": "core_dead", "count": 1}],
            [{"strategy": "none"}],
            (),
            ["core_dead (count 1) · none · faults 0, rescue 0", "core_dead (count 1) · none · faults 1, rescue 0"],
        ),
    ],
    ids=["layer", "place", "list", "budget", "two axes", "count or rate", "same twice"],
)
def test_labels(tmp_path, plans, ways, axes, expected):
    assert distinct(tmp_path, plans, ways, axes) == (expected, len(expected))


counts = some.one_of(
    some.integers(0, 3), some.lists(some.integers(0, 3), min_size=1, max_size=3).map(lambda found: {"sweep": found})
)
places = some.one_of(some.just("core:8"), some.lists(some.sampled_from(["core:8", "core:9", ["core:8"]]), min_size=1, max_size=2).map(lambda found: {"sweep": found}))  # fmt: skip
fault = some.one_of(
    some.fixed_dictionaries({"kind": some.sampled_from(["core_dead", "neuron_dead"]), "count": counts}, optional={"at": places}),
    some.fixed_dictionaries(
        {"kind": some.just("synapse_bit_flip"), "rate": some.sampled_from([1e-3, {"sweep": [1e-3, 1e-2]}])},
        optional={
            "bits": some.sampled_from(["msb", {"sweep": ["msb", "any", "0,1"]}]),
            "layer": some.sampled_from(["hidden1", "output"]),
        },
    ),
)
plan = some.one_of(fault, some.lists(fault, min_size=1, max_size=2).map(lambda found: {"all": found}))
way = some.one_of(
    some.just({"strategy": "none"}),
    some.fixed_dictionaries(
        {"strategy": some.sampled_from(["batch", "sham"]), "learner": some.sampled_from(["delta", {"sweep": ["delta", "dfa"]}])},
        optional={
            "cycles": some.sampled_from([0.5, 1.0, 1.0000001, {"sweep": [1, 2]}]),
            "plastic": some.sampled_from([["output"], ["hidden1", "output"]]),
            "writes": some.integers(0, 2),
        },
    ),
)
axis = some.sampled_from(
    ["place.strategy={sweep: [pack, random]}", "place.seed={sweep: [1, 2]}", "repeats.seed={sweep: [1, 2]}", "data.samples={sweep: [5, null]}"]
)  # fmt: skip


@example(
    [{"kind": "synapse_bit_flip", "rate": {"sweep": [1e-3, 1e-2]}}], [{"strategy": "none"}] * 2, ["data.samples={sweep: [5, null]}"]
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.lists(plan, min_size=1, max_size=2), some.lists(way, min_size=1, max_size=2), some.lists(axis, unique=True, max_size=2))
def test_no_two_curves_of_any_campaign_are_called_alike(tmp_path_factory, plans, ways, axes):
    cells, labels = labelled(tmp_path_factory.mktemp("l"), plans, ways, axes)
    lines = {}
    for cell in cells:
        lines.setdefault(line_of(cell), set()).add(labels[cell.index])
        for name, value in cell.axes.items():
            assert name == x_axis(cell) or name.startswith("rescue.") or words(value) in labels[cell.index]
    assert all(len(found) == 1 for found in lines.values())
    assert len(set(labels.values())) == len(lines)
