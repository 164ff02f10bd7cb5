"""Results on digits are those before the data model became a graph; `tests/before_the_graph.py` compares far more than these."""

from __future__ import annotations

import before_the_graph as before
import pytest

KINDS = (
    "plain", "core_dead", "neuron_dead", "synapse_dead", "synapse_bit_flip_msb_once", "link_dead", "neuron_threshold", "synapse_delay",
    "intermittent", "several", "random_on_two_chips", "loihi1",
)  # fmt: skip
PARTS = (
    *(f"inject/digits-mlp/{kind}" for kind in KINDS),
    "inject/digits-cnn/link_dead", "inject/digits-cnn/several", "rescue/digits-mlp", "rescue/digits-cnn",
    "atlas/neuron_dead", "atlas/core_dead", "atlas/synapse_dead", "atlas/synapse_bit_flip", "trials/mlp", "trials/cnn",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_as_before(part: str) -> None:
    data = before.kept()
    if data["environment"] != before.environment():
        pytest.skip(f"made with {data['environment']}")
    verdicts = before.verdicts(data["digests"][part], before.made(before.parts()[part]))
    assert {name: verdict for name, verdict in verdicts.items() if verdict != "ok"} == {}
