"""A NIR file that cannot run ends in one message and exit code 2, through `inject` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

nir = pytest.importorskip("nir")


def lif(size: int) -> nir.LIF:
    ones = np.ones(size, np.float32)
    return nir.LIF(tau=ones, r=ones, v_leak=0 * ones, v_threshold=ones)


def graph(edges, metadata=None, **nodes) -> nir.NIRGraph:
    ends = {"input": nir.Input(np.array([64])), "output": nir.Output(np.array([10]))}
    made = nir.NIRGraph(nodes=ends | nodes, edges=edges, type_check=False)
    made.metadata = metadata if metadata is not None else {"dt": 0.5}
    return made


CHAIN = [("input", "fc"), ("fc", "cells"), ("cells", "output")]
FC = nir.Linear(np.ones((10, 64), np.float32))

GRAPHS = {
    "half a step of delay": (graph(CHAIN, fc=FC, cells=nir.Delay(np.full(10, 1.5e-4))), "cells", "whole steps"),
    "a sum of two shapes": (graph([*CHAIN, ("cells", "fc")], fc=FC, cells=lif(10)), "fc", "(10,) of 'cells'"),
    "wrong shape": (graph(CHAIN, fc=nir.Linear(np.ones((10, 33), np.float32)), cells=lif(10)), "fc", "33"),
    "no dt": (graph(CHAIN, {}, fc=FC, cells=lif(10)), "'dt'", "--dt"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_that_cannot_run(cli, tmp_path, case):
    made, name, reason = GRAPHS[case]
    nir.write(tmp_path / "bad.nir", made)
    code, out, err = cli("inject", "--network", str(tmp_path / "bad.nir"), "--kill-cores", "1")
    assert (code, out) == (2, "")
    assert err.startswith("neurofault: ")
    assert err.count("\n") == 1
    assert name in err
    assert reason in err


MESSAGES = {
    "an edge to a node that is not there": (
        graph([("input", "fc"), ("fc", "cels"), ("cells", "output")], fc=FC, cells=lif(10)),
        "edge 'fc' → 'cels' names a node 'cels' that is not there (did you mean 'cells'?); nodes: cells, fc, input, output",
    ),
    "sizes that do not join": (
        graph(CHAIN, fc=nir.Linear(np.ones((10, 33), np.float32)), cells=lif(10)),
        "layer 'fc': Linear takes 33 values, but a sample has shape (64,) there",
    ),
    "fewer outputs than neurons": (
        graph(CHAIN, fc=nir.Linear(np.ones((9, 64), np.float32)), cells=lif(10)),
        "layer 'cells': threshold has the shape (10,), but the population has the shape (9,)",
    ),
    "an output that nothing reaches": (
        graph(CHAIN[:2], fc=FC, cells=lif(10)),
        "nothing leads to the Output 'output'; add an edge",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_does_not_fit_in_a_graph_is_said_in_one_line(cli, tmp_path, case):
    made, message = MESSAGES[case]
    nir.write(tmp_path / "bad.nir", made)
    code, out, err = cli("inject", "--network", str(tmp_path / "bad.nir"), "--kill-cores", "1")
    assert (code, out, err) == (2, "", f"neurofault: {tmp_path / 'bad.nir'}: {message}\n")


def test_a_truncated_file(cli, tmp_path):
    nir.write(tmp_path / "whole.nir", graph(CHAIN, fc=FC, cells=lif(10)))
    whole = (tmp_path / "whole.nir").read_bytes()
    Path(tmp_path / "cut.nir").write_bytes(whole[: len(whole) // 2])
    code, out, err = cli("inject", "--network", str(tmp_path / "cut.nir"), "--kill-cores", "1")
    assert (code, out) == (2, "")
    assert err.startswith(f"neurofault: {tmp_path / 'cut.nir'}")
    assert err.count("\n") == 1


def test_the_sound_graph_runs(cli, tmp_path):
    nir.write(tmp_path / "good.nir", graph(CHAIN, fc=FC, cells=lif(10)))
    code, _, err = cli(
        "inject", "--network", str(tmp_path / "good.nir"), "--kill-cores", "1", "--layer", "input", "--samples", "5", "--draws", "1"
    )
    assert code == 0, err
