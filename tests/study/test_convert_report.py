"""What a conversion loses is measured and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.cli.convert import convert
from neurofault.errors import UsageError
from neurofault.study.convert_report import ConvertReport, Sent, lost_by
from neurofault.study.prepare import Setup, prepare

FACTORY = """\
import torch
from torch import nn
from neurofault.zoo import RateCurve

def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), RateCurve(0.25, 0.5), nn.Linear(16, 10))
"""


@pytest.mark.filterwarnings("ignore")
def test_the_gap_and_what_each_population_sends_are_those_of_the_chip(tmp_path: Path):
    (tmp_path / "report_model.py").write_text(FACTORY)
    prepared = prepare(Setup(f"{tmp_path}/report_model.py:small", timesteps=4), lambda *_: None)
    report = lost_by(prepared)
    part = prepared.data.train.first(512)
    result = nf.run(prepared.deployment, part.images, part.labels)
    assert (report.samples, report.chip) == (512, result.accuracy)
    assert [one.name for one in report.sent] == ["input", "hidden1"]
    counts = result.activity.spike_counts["hidden1"]
    assert report.sent[1].silent == int((counts == 0).sum())
    assert report.sent[1].rate == pytest.approx(np.mean(counts) / 512 / 4)
    assert (report.skips, report.single, report.pooled) == ((), (), ())


def test_every_finding_is_a_line():
    report = ConvertReport(
        100, 0.98, 0.97, (Sent("hidden1", 16, 0.25, 2, 0.031),), (("hidden3.hidden1", "hidden1", "hidden3", 2),), (("hidden3.hidden1", 16),),
        (("differences", 0.96), ("any", 0.94)), ("odd",),
    )  # fmt: skip
    assert list(report.lines()) == [
        "on 100 calibration samples: chip 97.00%, original 98.00%, gap +1.00 points",
        "hidden1: 16 neurons, 0.250 spikes a step, 2 never fire, 3.10% of the original's activations at the cap",
        "hidden3.hidden1: hidden1 → hidden3 takes 2 steps, so that its spikes arrive with those of the longest way",
        "hidden3.hidden1: 16 synapses, one by one",
        "max pooling by differences; at best, on validation images: differences 96.00%, any 94.00%",
        "note: odd",
    ]


def test_a_file_or_the_check_but_not_both(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^say which file to write \(OUT.nir or OUT.net\), or --check$"):
        convert("digits-mlp")
    with pytest.raises(UsageError, match=r"^--check only says what is lost: it goes without OUT and without --fault$"):
        convert("digits-mlp", tmp_path / "a.nir", check=True)
