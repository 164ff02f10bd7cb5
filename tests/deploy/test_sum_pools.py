"""Sum pools in front of kernels: a chip that pools stores a weight once a window, and a fault of it hits all that read it."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.profile import load_profile
from neurofault.deploy.resources import stored_words, sum_pooled, usage
from neurofault.errors import FaultError
from neurofault.graph.chip import ChipConnection
from neurofault.graph.synapses import Stored
from neurofault.study.atlas_sites import all_sites
from neurofault.study.campaign.hit import changed_bits

SPECK = load_profile("speck2f")


def pooled(kernel: np.ndarray, k: int) -> np.ndarray:
    """The kernel of a sum pool of k × k and a convolution after it."""
    return np.kron(kernel, np.ones((1, 1, k, k), kernel.dtype))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_window_of_a_pool_is_found_in_its_kernel(k: int) -> None:
    rng = np.random.default_rng(k)
    kernel = rng.permutation(2 * 3 * 9).reshape(3, 2, 3, 3).astype(np.int32)
    conv = nf.Conv(pooled(kernel, k), (2, 16, 16), (k, k), (k, k))
    assert sum_pooled(ChipConnection("c", "a", "b", conv, 0, 8, "signed"), (2, 16, 16), SPECK) == k
    dense = nf.Dense(pooled(rng.permutation(5 * 2 * 4).reshape(5, 2, 2, 2).astype(np.int32), k).reshape(5, -1))
    assert sum_pooled(ChipConnection("d", "a", "b", dense, 0, 8, "signed"), (2, 2 * k, 2 * k), SPECK) == k
    assert sum_pooled(ChipConnection("d", "a", "b", dense, 0, 8, "signed"), None, SPECK) == 1  # of what map, is not known
    assert sum_pooled(ChipConnection("c", "a", "b", conv, 0, 8, "mixed"), (2, 16, 16), load_profile("loihi2")) == 1
    uneven = nf.Conv(pooled(kernel, 2), (2, 16, 16), (1, 1), (0, 0))  # moves by half a window
    assert sum_pooled(ChipConnection("c", "a", "b", uneven, 0, 8, "signed"), (2, 16, 16), SPECK) == 1


def network(weight: np.ndarray) -> nf.Network:
    maps, out = nf.Population("maps", (2, 4, 4), nf.Source()), nf.Population("out", (3,), nf.CubaLif(1.0, reset="subtract"))
    return nf.chain("pools", [maps, out], [nf.Dense(weight)], timesteps=4, how="count")


def test_a_pooled_layer_takes_the_memory_of_one_weight_a_window() -> None:
    rng = np.random.default_rng(5)
    small = rng.integers(-120, 120, (3, 2, 2, 2)) / 100
    whole, large = nf.deploy(network(pooled(small, 2).reshape(3, -1)), SPECK), nf.deploy(network(rng.random((3, 32))), SPECK)
    bits = [int(usage(chip).used["synapse_bits"].max()) for chip in (whole, large)]
    assert bits == [2 * 4 * 4 * 8, 2 * 16 * 4 * 8]  # channels · (window places) · targets rounded up to powers of two, of 8 bits


def maps(kind: str, small: np.ndarray, k: int) -> nf.Network:
    """A convolution of 3 × 3 with padding, or a dense layer, behind a pool of k × k of two maps of 4k × 4k places."""
    source = nf.Population("maps", (2, 4 * k, 4 * k), nf.Source())
    whole = pooled(small, k)
    synapses = nf.Conv(whole, (2, 4 * k, 4 * k), (k, k), (k, k)) if kind == "conv" else nf.Dense(whole.reshape(len(small), -1))
    out = nf.Population("out", (3, 4, 4) if kind == "conv" else (3,), nf.CubaLif(120, du=0, bias_exponent=0, reset="subtract"))
    wires = nf.Connection("out", "maps", "out", synapses, stored=Stored(0, 8, "signed"))
    return nf.Network("pools", (source, out), (wires,), 4, nf.Readout("out", "count"))


SHAPES = {"conv": (3, 2, 3, 3), "dense": (3, 2, 4, 4)}


def ran(chip: nf.Deployment, k: int) -> tuple[np.ndarray, np.ndarray]:
    events = np.random.default_rng(7).random((2, 4, 2 * 16 * k * k)) < 0.2
    traces = nf.engines.get_engine("exact").run(chip, nf.Inputs(events=events), record=("v", "spikes")).traces["out"]
    return traces.v, traces.spikes


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("kind", SHAPES)
def test_a_fault_of_a_pooled_word_is_another_small_kernel(kind: str, k: int) -> None:
    """What the chip does with a broken word is what it does with the small kernel that has this word, pooled."""
    rng = np.random.default_rng(3)
    small = rng.integers(-60, 60, SHAPES[kind]).astype(np.int64)
    chip = nf.deploy(maps(kind, small, k), SPECK)
    healthy = ran(chip, k)
    assert 0.02 < healthy[1].mean() < 2
    for _ in range(12):
        out, channel, row, column = (int(rng.integers(size)) for size in small.shape)
        tap = int(rng.integers(k)), int(rng.integers(k))  # any of the synapses that read the word names it
        if kind == "dense":
            source, target = np.ravel_multi_index((channel, row * k + tap[0], column * k + tap[1]), (2, 4 * k, 4 * k)), out
        else:
            y, x = 1, 2  # of the output; its kernel begins a window before
            source = np.ravel_multi_index((channel, (y + row - 1) * k + tap[0], (x + column - 1) * k + tap[1]), (2, 4 * k, 4 * k))
            target = np.ravel_multi_index((out, y, x), (3, 4, 4))
        bit = int(rng.integers(7))
        changed = small.copy()
        changed[out, channel, row, column] = ((int(small[out, channel, row, column]) ^ 1 << bit) + 128) % 256 - 128
        hurt = nf.inject(chip, nf.faults.SynapseBitFlip(synapse_bits=[(int(source), int(target), bit)], layer="out"))
        for found, expected in zip(ran(hurt, k), ran(nf.deploy(maps(kind, changed, k), SPECK), k), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert hurt.damage.hits[0].synapses == {"out": 1}
        assert changed_bits(hurt) == 1
        assert nf.faults.struck(nf.inject(hurt, nf.faults.NeuronDead(count=0, layer="out"))).synapses == {"out": 1}


@pytest.mark.parametrize("kind", SHAPES)
def test_words_are_counted_once_and_all_can_be_drawn(kind: str) -> None:
    small = np.random.default_rng(3).integers(1, 60, SHAPES[kind]).astype(np.int64)
    chip = nf.deploy(maps(kind, small, 2), SPECK)
    dead = nf.inject(chip, nf.faults.SynapseDead(count=small.size, layer="out"))
    assert not ran(dead, 2)[0].any()
    assert stored_words(chip, "out").tolist() == [small.size]
    with pytest.raises(FaultError, match=f"layer 'out' has only {small.size}"):
        nf.inject(chip, nf.faults.SynapseDead(count=small.size + 1, layer="out"))
    with pytest.raises(FaultError, match=f"only {small.size}, 0 of them not broken for good"):
        nf.inject(dead, nf.faults.SynapseDead(count=1, layer="out", again="never"))
    assert len(all_sites(chip, "synapse_dead", "out")) == small.size
    one = nf.inject(chip, nf.faults.SynapseBitFlip(count=1, bits="5", layer="out"), seed=4)
    (edit,) = one.damage.edits
    assert len(edit.sources) % 4 == 0
