"""What is chosen once is kept, under all that it depends on, and torch is not loaded for it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.errors import NeurofaultWarning
from neurofault.study.kept import once
from neurofault.study.prepare import Setup, prepare
from neurofault.zoo import weights_digest

SCRIPT = """
import sys
from neurofault.cli.app import main
sys.argv = ["neurofault", *sys.argv[1:]]
try:
    main()
finally:
    print("\\ntorch" if "torch" in sys.modules else "\\nnone")
"""


def ran(folder: Path, *words: str) -> tuple[bool, str]:
    """Run the command line with nothing kept but in ``folder``; return whether torch was loaded, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env=os.environ | {"NEUROFAULT_CACHE": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    return last == "torch", "\n".join(said)


def test_a_second_run_says_the_same_without_torch(tmp_path):
    first, second = (ran(tmp_path, "inject", "--json", str(tmp_path / name)) for name in ("a.json", "b.json"))
    assert (first[0], second[0]) == (True, False)
    assert first[1] == second[1]
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    other = ran(tmp_path, "inject", "--timesteps", "16", "--json", str(tmp_path / "c.json"))  # other steps, another conversion
    assert other[0]
    assert json.loads((tmp_path / "c.json").read_text()) != json.loads((tmp_path / "a.json").read_text())


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """How often a conversion is chosen; nothing is kept before."""
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path))
    from neurofault.study import calibrate

    times, choose = [], calibrate.choose
    monkeypatch.setattr(calibrate, "choose", lambda *given, **named: times.append(named) or choose(*given, **named))
    return times


SETUP = Setup("digits-mlp", samples=20)


def silent(*_: object) -> None:
    """Tell nothing."""


def test_a_kept_conversion_is_the_one_that_was_chosen(chosen):
    first, second = prepare(SETUP, silent), prepare(SETUP, silent)
    assert len(chosen) == 1
    assert first.calibration is not None
    assert second.calibration is not None
    assert first.calibration.trials == second.calibration.trials
    assert first.calibration.chosen == second.calibration.chosen
    for one, other in zip(first.network.connections, second.network.connections, strict=True):
        assert isinstance(one.synapses, nf.Dense)
        assert isinstance(other.synapses, nf.Dense)
        assert np.array_equal(one.synapses.weight, other.synapses.weight)
    assert first.weights == second.weights
    assert second.model is not None
    assert second.weights == weights_digest(second.model)
    assert first.ann_accuracy() == second.ann_accuracy()


@pytest.mark.parametrize(
    "other",
    [
        {"timesteps": 31}, {"weight_bits": 6}, {"profile": "loihi1"}, {"learns": True}, {"neurons_per_core": 4}, {"calibrate": "settled"},
        {"network": "digits-mlp-dropout"}, {"place": "spread"},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_conversion_depends_on_makes_another_choice(chosen, other):
    prepare(SETUP, silent)
    prepare(replace(SETUP, **other), silent)
    assert len(chosen) == 2


def test_another_number_of_test_samples_does_not(chosen):
    first, second = prepare(SETUP, silent), prepare(replace(SETUP, samples=30), silent)
    assert len(chosen) == 1
    assert first.ann_accuracy() is not None
    assert second.ann_accuracy() == pytest.approx(second_look(second))


def second_look(prepared) -> float:
    """Ask the torch module itself."""
    from neurofault.zoo import torch_accuracy

    return torch_accuracy(prepared.model, prepared.test.images, prepared.test.labels)


def test_what_is_damaged_or_of_other_sources_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path))
    made = []

    def value() -> dict[str, float]:
        made.append(1)
        return {"a": 0.5}

    assert once("thing", ["key", 1], value) == once("thing", ["key", 1], value) == {"a": 0.5}
    assert len(made) == 1
    once("thing", ["key", 2], value)
    assert len(made) == 2
    [file, _] = sorted((tmp_path / "kept").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    whole = file.read_bytes()
    for broken in (b"", whole[:-1], whole[:70] + bytes([whole[70] ^ 1]) + whole[71:]):
        file.write_bytes(broken)
        assert once("thing", ["key", 1], value) == {"a": 0.5}
        assert file.read_bytes() == whole
    assert len(made) == 5
    monkeypatch.setattr("neurofault.study.kept._made_with", lambda: ["other sources", "2", "2"])
    once("thing", ["key", 1], value)
    assert len(made) == 6


def test_a_module_of_ones_own_is_looked_at_each_time(chosen, tmp_path, monkeypatch):
    (tmp_path / "looked_at.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with pytest.warns(NeurofaultWarning, match="itself classifies"):
            prepare(Setup("looked_at.py:net", samples=20), silent)
    assert len(chosen) == 2
