"""Kernels are compiled once: not anew for weights of another width, labels that may not be written to, or another number of connections that learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from chips import chip, population

import neurofault as nf
from neurofault.damage.damage import Damage, SetSynapses, Silence
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_loop import run_rest
from neurofault.engines.incremental.fault_rows import edit_rows
from neurofault.engines.incremental.golden import effects, golden
from neurofault.engines.incremental.singles import run_singles
from neurofault.graph import Conv, Dense
from neurofault.inputs import Inputs
from neurofault.rescue.learners import emstdp_kernel, error_kernel
from neurofault.rescue.learners.kept_records import kept


def followed(large: int, labels: np.ndarray) -> None:
    """Follow faults of a convolution and of a dense layer whose largest weights are given, and compare them with the exact engine."""
    rng = np.random.default_rng(2)
    first = Conv(rng.integers(-9, 10, (2, 1, 2, 2)).astype(np.int32) * large, (1, 3, 3))
    second = Dense(rng.integers(-9, 10, (5, first.n_out)).astype(np.int32) * large)
    layers = [population("input", (1, 3, 3)), population("maps", first.out_shape, first, vth=9 * large)]
    layers += [population("hidden", (5,), second, vth=9 * large)]
    layers += [population("output", (3,), Dense(rng.integers(-9, 10, (3, 5)).astype(np.int32) * large), vth=131072, fires=False)]
    deployment, inputs = chip(layers, 6, readout="potential"), Inputs(events=rng.random((len(labels), 6, 9)) < 0.4)
    faults = [
        (Silence("maps", np.array([3])),),
        (Silence("hidden", np.array([1])),),
        (SetSynapses("maps", np.array([4]), np.array([2]), np.zeros(1, np.int32)),),
        (SetSynapses("output", np.array([4]), np.array([2]), np.zeros(1, np.int32)),),
    ]
    whole = golden(deployment, inputs, threads=1)
    found = effects(edit_rows(whole, faults), labels, threads=1)
    for row, edits in enumerate(faults):
        answers = ExactEngine(1).run(deployment.with_damage(Damage(edits)), inputs).predictions
        assert found.changed[row] == np.count_nonzero(answers != whole.predictions)
        assert found.correct[row] == np.count_nonzero(answers == labels) - np.count_nonzero(whole.predictions == labels)


def test_following_is_compiled_once_for_16_and_32_bits_and_for_any_labels() -> None:
    labels = np.arange(12) % 3
    followed(1, labels)
    known = [len(kernel.signatures) for kernel in (run_rest, run_singles)]
    labels.flags.writeable = False
    followed(1, labels)
    followed(9000, labels.astype(np.int32))
    assert [len(kernel.signatures) for kernel in (run_rest, run_singles)] == known


def test_learning_is_compiled_once_for_any_number_of_connections() -> None:
    rng = np.random.default_rng(4)
    events, labels = nf.Spikes.dense(rng.random((20, 8, 6)) < 0.5), rng.integers(0, 3, 20)
    counts = []
    for hidden in (1, 2, 3):
        sizes = [6, *[5] * hidden, 3]
        populations = [nf.Population("eyes", (6,), nf.Source())]
        populations += [nf.Population(f"p{at}", (size,), nf.CubaLif(1.0)) for at, size in enumerate(sizes[1:])]
        weights = [nf.Dense(rng.normal(0, 1, (after, before))) for before, after in pairwise(sizes)]
        made = nf.deploy(nf.chain("several", populations, weights, timesteps=8, how="count"))
        for learner in ("delta", "dfa", "emstdp"):
            nf.rescue(made, events, labels, learner=learner, guard=None)
        counts.append([len(kernel.signatures) for kernel in (error_kernel.teach, error_kernel.respond, emstdp_kernel.teach)])
    assert counts[0] == counts[1] == counts[2]


def test_records_in_a_table_must_be_of_one_type() -> None:
    one, other = (np.zeros(2),), (np.zeros(2, np.float32),)
    assert kept([one, one]).rows.shape[0] == 2
    with pytest.raises(TypeError, match="records of two types"):
        kept([one, other])
