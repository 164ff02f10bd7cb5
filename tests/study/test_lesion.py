"""What `inject` measures by following differences is what the exact engine measures draw by draw."""

from __future__ import annotations

import pytest

from neurofault.faults import fault_from_mapping, inject
from neurofault.study.lesion import lesion, measure
from neurofault.study.prepare import Setup, prepare


@pytest.fixture(scope="module")
def prepared():
    return prepare(Setup(samples=150), lambda *_: None)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "core_dead", "count": 2},
        {"kind": "core_dead", "count": 3, "layer": "input"},
        {"kind": "core_dead", "count": 1, "layer": "output"},
        {"kind": "neuron_dead", "count": 1},
        {"kind": "neuron_stuck", "count": 2},
        {"kind": "synapse_dead", "rate": 0.02},
        {"kind": "synapse_bit_flip", "rate": 0.01, "layer": "any"},
        {"kind": "core_dead", "count": 1, "when": {"kind": "transient", "start": 2, "stop": 9}},
        {"kind": "link_lossy", "count": 2, "probability": 0.5},
    ],
    ids=lambda spec: f"{spec['kind']}-{spec.get('layer', 'hidden')}",
)
def test_following_differences_changes_no_number(prepared, spec):
    chip, test = prepared.deployment, prepared.test
    fault = fault_from_mapping(spec)
    found = lesion(chip, test, [fault], draws=3, seed=4)
    inputs = chip.encode(test.images)
    for draw in found.draws:
        assert draw.measured == measure(inject(chip, [fault], seed=4, draw=draw.draw), inputs, test, engine="exact")


def test_a_chip_that_stalls_is_a_draw_without_accuracy(prepared):
    found = lesion(prepared.deployment, prepared.test, [fault_from_mapping({"kind": "core_hung", "count": 1})], draws=2, seed=1)
    assert [(draw.status, draw.measured) for draw in found.draws] == [("stalled", None)] * 2
