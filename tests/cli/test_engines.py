"""`neurofault inject --engine NAME`: one answer from every engine, or one message."""

from __future__ import annotations

import importlib.util
import json

import pytest

from neurofault.engines import ENGINES
from neurofault.engines.availability import OF_ENGINE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing

HERE = [name for name in ENGINES if importlib.util.find_spec(OF_ENGINE[name].module.split(".")[0]) is not None]
ARGUMENTS = ("--network", "digits-mlp", "--samples", "5", "--neurons-per-core", "8", "--draws", "1", "--seed", "3")
ABLE = ", ".join(name for name in HERE if name != "snntorch")


def inject(cli, *arguments: str) -> tuple[int, str, str]:
    return cli("inject", *ARGUMENTS, *arguments, "--json", "-")


def test_every_engine_gives_the_same_answer(cli):
    answers = []
    for engine in HERE:
        code, out, err = inject(cli, "--kill-cores", "6", "--engine", engine)
        assert code == 0, err
        answers.append(json.loads(out))
        assert answers[-1].pop("engine") == engine
    first = answers[0]
    assert all(answer == first for answer in answers)
    (draw,) = first["draws"]
    assert 0 < draw["spikes"] != first["spikes_healthy"]
    assert 0 <= draw["accuracy"] <= first["healthy_accuracy"]


@pytest.mark.skipif("snntorch" not in HERE, reason="snntorch is not installed")
@pytest.mark.parametrize(
    ("fault", "place", "what"),
    [
        ("{kind: core_dead, count: 2, when: {kind: transient, start: 3, stop: 8}}", "layer 'hidden1'", "Silence in a time window"),
        ("{kind: neuron_saturated, count: 1}", "layer 'hidden1'", "Force"),
        ("{kind: core_hung, count: 1}", "the chip", "Stall"),
    ],
)
def test_what_an_engine_cannot_run_is_one_message_and_exit_code_2(cli, fault, place, what):
    code, out, err = inject(cli, "--fault", fault, "--engine", "snntorch")
    assert code == 2
    assert out == ""
    (message,) = [line for line in err.splitlines() if line.startswith("neurofault: ")]
    assert message == (
        f"neurofault: engine 'snntorch' cannot run {place}: snnTorch takes permanent Silence and SetSynapses, not {what}; "
        f"engines that can: {ABLE}"
    )
    assert "Traceback" not in err


def test_an_unknown_engine_is_named_with_the_nearest(cli):
    code, out, err = inject(cli, "--kill-cores", "1", "--engine", "lave")
    assert (code, out) == (2, "")
    assert "no engine 'lave'; engines: exact, lava, brian2, snntorch" in err
    assert "'lava'" in err
