from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_networks import convolutions, dense, expand

from neurofault.graph.connectivity import arrivals, fan_in, fan_out, taps

SYNAPSES = st.one_of(convolutions(), st.builds(dense, st.integers(1, 5), st.integers(1, 5)))


@settings(max_examples=150, deadline=None)
@given(synapses=SYNAPSES, seed=st.integers(0, 2**32 - 1))
def test_fan_out_counts_the_synapses_of_a_plain_expansion(synapses, seed):
    targets = np.random.default_rng(seed).random(synapses.n_out) < 0.5
    reached = Counter(source for source, target, _ in expand(synapses) if targets[target])
    counted = fan_out(synapses, targets)
    assert counted.dtype == np.int64
    assert counted.tolist() == [reached[source] for source in range(synapses.n_in)]


@settings(max_examples=150, deadline=None)
@given(synapses=SYNAPSES, seed=st.integers(0, 2**32 - 1))
def test_arrivals_add_up_the_spikes_of_a_plain_expansion(synapses, seed):
    spikes = np.random.default_rng(seed).integers(0, 9, synapses.n_in)
    arrived = np.zeros(synapses.n_out, np.int64)
    for source, target, _ in expand(synapses):
        arrived[target] += spikes[source]
    assert arrivals(synapses, spikes).tolist() == arrived.tolist()
    inputs = Counter(target for _, target, _ in expand(synapses))
    assert fan_in(synapses).tolist() == [inputs[target] for target in range(synapses.n_out)]


@settings(max_examples=100, deadline=None)
@given(conv=convolutions())
def test_taps_list_every_kernel_position_that_reads_an_input(conv):
    _, height, width = conv.in_shape
    _, out_height, out_width = conv.out_shape
    expected = Counter()
    for source, target, (_, k, ky, kx) in expand(conv):
        if target < out_height * out_width and k == 0:
            expected[ky, kx, target, source % (height * width)] += 1
    found = Counter()
    for ky, kx, outputs, inputs in taps(conv):
        targets = np.arange(out_height * out_width).reshape(out_height, out_width)[outputs]
        sources = np.arange(height * width).reshape(height, width)[inputs]
        found.update((ky, kx, t, s) for t, s in zip(targets.ravel().tolist(), sources.ravel().tolist(), strict=True))
    assert found == expected
