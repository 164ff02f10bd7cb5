"""Sum pools in front of kernels: a chip that pools stores a weight once a window, and its faults say so."""

from __future__ import annotations

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.profile import load_profile
from neurofault.deploy.resources import sum_pooled, usage
from neurofault.errors import FaultError
from neurofault.graph.chip import ChipConnection

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


def test_a_pooled_layer_takes_the_memory_of_one_weight_a_window_and_its_words_are_no_places_for_faults() -> None:
    rng = np.random.default_rng(5)
    small = rng.integers(-120, 120, (3, 2, 2, 2)) / 100
    whole, large = nf.deploy(network(pooled(small, 2).reshape(3, -1)), SPECK), nf.deploy(network(rng.random((3, 32))), SPECK)
    bits = [int(usage(chip).used["synapse_bits"].max()) for chip in (whole, large)]
    assert bits == [2 * 4 * 4 * 8, 2 * 16 * 4 * 8]  # channels · (window places) · targets rounded up to powers of two, of 8 bits
    with pytest.raises(FaultError) as error:
        nf.inject(whole, nf.faults.SynapseDead(count=1, layer="out"))
    assert str(error.value).endswith(
        "connection 'out': chip 'speck2f' stores a weight once for 2 × 2 neurons of 'maps' that it pools; faults of such stored weights are not "
        "simulated; allowed: faults of cores and neurons, and of connections without a pool"
    )
    assert nf.inject(large, nf.faults.SynapseDead(count=1, layer="out")).damage.edits
    assert nf.inject(whole, nf.faults.NeuronDead(count=1, layer="out")).damage.edits
