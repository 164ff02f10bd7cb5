from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from neurofault.cli.atlas import atlas
from neurofault.errors import UsageError


@pytest.fixture
def verb() -> Callable[..., object]:
    app = typer.Typer()
    app.command()(atlas)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_every_neuron_of_the_default_network(verb: Callable[..., object], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    done = verb("--samples", "50", "--top", "3", "--out", str(tmp_path), "--json", "-")
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    assert (answer["fault"], answer["sites"], answer["samples"]) == ("neuron_dead", 174, 50)
    assert len(answer["most_critical"]) == 3
    assert answer["most_critical"][0]["layer"] == "output"
    assert {Path(file).name for file in answer["files"]} == {"sites.parquet", "healthy.parquet", "changes.parquet", "atlas.png"}


def test_a_kind_that_has_no_atlas(verb: Callable[..., object]) -> None:
    failure = verb("--fault", "link_dead").exception
    assert isinstance(failure, UsageError)
    assert str(failure) == "--fault link_dead: an atlas takes synapse_dead, synapse_bit_flip, neuron_dead, core_dead"
