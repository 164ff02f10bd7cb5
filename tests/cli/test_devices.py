"""`--device`: the same bytes; what is not there is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize(
    "words",
    [
        ("inject", "--kill-cores", "2", "--draws", "2", "--samples", "40"),
        ("inject", "--fault", "{kind: synapse_bit_flip, rate: 0.01}", "--draws", "2", "--samples", "40", "--explain"),
        ("atlas", "--samples", "10"),
    ],
)
def test_the_answer_does_not_depend_on_the_device(cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    for device in ("cpu", "torch-cpu"):
        code, _, err = cli(*words, "--device", device, "--json", str(tmp_path / f"{device}.json"))
        assert code == 0, err
    assert (tmp_path / "cpu.json").read_bytes() == (tmp_path / "torch-cpu.json").read_bytes()


def test_what_is_printed_says_how_to_repeat_it_and_where_sites_ran(cli) -> None:
    code, out, err = cli("inject", "--kill-cores", "2", "--draws", "2", "--samples", "20", "--device", "torch-cpu")
    assert code == 0, err
    assert out.rstrip().endswith("--engine exact --device torch-cpu")
    code, out, err = cli("atlas", "--samples", "10", "--device", "torch-cpu")
    assert code == 0, err
    assert "0 sites ran on torch-cpu; 174 were followed as differences on the CPU" in out


@pytest.mark.parametrize("verb", ["inject", "atlas"])
def test_a_device_that_is_not_there_is_one_line_before_anything_runs(cli, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = cli(verb, "--device", "cuda", "--network", "no_such_network")
    assert (code, out) == (2, "")
    assert err == f"neurofault: no CUDA device: torch {torch.__version__} sees none; allowed: --device cpu\n"


def test_a_device_beside_another_engine_is_one_line(cli) -> None:
    code, out, err = cli("inject", "--device", "torch-cpu", "--engine", "lava")
    assert (code, out, err) == (2, "", "neurofault: device torch-cpu goes with engine exact, not lava\n")
