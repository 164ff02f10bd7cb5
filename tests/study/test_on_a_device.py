"""Lesions and atlases on a device of torch, against the CPU's: equal, and run there where nothing is followed."""

from __future__ import annotations

import numpy as np
import pytest
from test_studies_of_graphs import CHIP, INPUTS, TEST

import neurofault as nf
from neurofault.engines.on_torch import present
from neurofault.engines.on_torch.devices import TORCH_CPU
from neurofault.study.atlas import atlas
from neurofault.study.lesion import lesion


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Samples of each batch that goes through the device."""
    found: list[int] = []
    original = present.run_batch

    def spied(chip, inputs, *rest):
        found.append(len(inputs))
        return original(chip, inputs, *rest)

    monkeypatch.setattr(present, "run_batch", spied)
    return found


def test_a_lesion_is_the_same_and_runs_there(batches: list[int]) -> None:
    plan = [nf.faults.CoreDead(count=1, layer="any")]
    right = lesion(CHIP, TEST, plan, draws=3, seed=2)
    found = lesion(CHIP, TEST, plan, draws=3, seed=2, device=TORCH_CPU)
    assert found.healthy == right.healthy
    assert [draw.measured for draw in found.draws] == [draw.measured for draw in right.draws]
    assert found.accuracy == right.accuracy
    assert batches[:4] == [20] * 4


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("kind", ["neuron_dead", "synapse_dead"])
def test_an_atlas_is_the_same_and_its_sites_that_reach_a_loop_run_there(kind: str, batches: list[int], *, steps: bool) -> None:
    labels = np.repeat(TEST.labels[:, None], CHIP.timesteps, axis=1) if steps else TEST.labels
    right, found = atlas(CHIP, INPUTS, labels, kind), atlas(CHIP, INPUTS, labels, kind, device=TORCH_CPU)
    assert (found.healthy_total, found.whole) == (right.healthy_total, right.whole)
    for name, column in right.sites.items():
        np.testing.assert_array_equal(found.sites[name], column)
    for part in ("faults", "samples", "predictions"):
        np.testing.assert_array_equal(getattr(found.changes, part), getattr(right.changes, part))
    sites = len(found)
    assert found.whole == (sites if steps else {"neuron_dead": 15, "synapse_dead": 54 + 36}[kind])
    assert len(batches) == found.whole + steps
