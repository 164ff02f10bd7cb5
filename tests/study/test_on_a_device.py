"""Lesions and atlases on a device of torch, against the CPU's: equal, and run there where nothing is followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_studies_of_graphs import CHIP, INPUTS, TEST

import neurofault as nf
from neurofault.engines.on_torch import present
from neurofault.engines.on_torch.devices import TORCH_CPU
from neurofault.graph import Readout
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


@pytest.mark.parametrize("what", ["followed", "steps", "mean"])
@pytest.mark.parametrize("kind", ["neuron_dead", "synapse_dead"])
def test_an_atlas_is_the_same_and_its_healthy_run_and_sites_run_there_where_they_run_whole(
    kind: str, what: str, batches: list[int]
) -> None:
    labels = np.repeat(TEST.labels[:, None], CHIP.timesteps, axis=1) if what == "steps" else TEST.labels
    chip = replace(CHIP, readout=Readout("output", "mean")) if what == "mean" else CHIP
    right, found = atlas(chip, INPUTS, labels, kind), atlas(chip, INPUTS, labels, kind, device=TORCH_CPU)
    assert (found.healthy_total, found.whole) == (right.healthy_total, right.whole)
    for name, column in right.sites.items():
        np.testing.assert_array_equal(found.sites[name], column)
    for part in ("faults", "samples", "predictions"):
        np.testing.assert_array_equal(getattr(found.changes, part), getattr(right.changes, part))
    assert found.whole == (0 if what == "followed" else len(found))
    assert batches == ([] if what == "followed" else [20] * (len(found) + 1))
