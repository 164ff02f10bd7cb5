"""Answers that are the largest or the mean of the potentials of a NIR graph's last neurons, beside its equations."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.convert.nir_graph import from_nir
from neurofault.errors import ConversionError

nir = pytest.importorskip("nir")
EVENTS = np.random.default_rng(5).random((9, 8, 4)) < 0.5


def graph(*, fires: bool):
    weight = np.random.default_rng(1).integers(-60, 128, (2, 4)) / 64.0
    last = nir.IF(r=np.ones(2), v_threshold=np.full(2, 3.0)) if fires else nir.I(r=np.ones(2))
    nodes = {"input": nir.Input(np.array([4])), "w": nir.Linear(weight), "n": last, "output": nir.Output(np.array([2]))}
    return nir.NIRGraph(nodes, [("input", "w"), ("w", "n"), ("n", "output")]), weight


@pytest.mark.parametrize("fires", [False, True])
@pytest.mark.parametrize("how", ["largest", "mean"])
def test_potentials_of_all_steps_are_those_of_the_equations(how, fires):
    made, weight = graph(fires=fires)
    v, seen = np.zeros((9, 2)), []
    for step in range(8):
        v = v + EVENTS[:, step] @ weight.T
        v = np.where(v > 3.0, 0.0, v) if fires else v
        seen.append(v)
    wanted = np.max(seen, axis=0) if how == "largest" else np.sum(seen, axis=0)
    network = from_nir(made, timesteps=8, coding=None, readout=how)
    scores = nf.run(nf.deploy(network), nf.Spikes.dense(EVENTS)).activity.scores
    unit = np.abs(scores).max() / np.abs(wanted).max()
    np.testing.assert_allclose(scores, wanted * unit, atol=0.02 * np.abs(scores).max())


def test_what_is_reset_a_step_late_is_refused():
    made, _ = graph(fires=True)
    with pytest.raises(ConversionError) as error:
        from_nir(made, timesteps=8, coding=None, readout="mean", reset="snntorch-zero")
    assert str(error.value) == (
        "graph: node 'n': neurons that are reset to zero a step late (reset snntorch-zero) hold what made them fire until the next step, and the chip's "
        "are 0 there, so the potentials of all steps are not the same; use readout 'count'"
    )
