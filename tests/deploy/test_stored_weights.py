"""Formats of stored weights: carried integers of another format are refused, and so are sources of two signs where a chip gives each one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.profile import load_profile
from neurofault.errors import CapacityError, FaultError, UnsupportedError
from neurofault.graph.synapses import Stored, Synapses

ODIN = load_profile("odin")


def network(
    synapses: Synapses, shape: tuple[int, ...], out: tuple[int, ...], stored: Stored | None = None, **own: object
) -> nf.Network:
    neuron = nf.CubaLif(20, du=0, bias_exponent=0, **own) if stored else nf.CubaLif(3.0, **own)  # type: ignore[arg-type]  # fields of CubaLif
    populations = (nf.Population("eyes", shape, nf.Source()), nf.Population("hands", out, neuron))
    return nf.Network(
        "reflex", populations, (nf.Connection("wires", "eyes", "hands", synapses, stored=stored),), 4, nf.Readout("hands", "count")
    )


def both(weight: np.ndarray) -> np.ndarray:
    """The same weights from two copies of each source: the positive ones, then the negative ones."""
    return np.concatenate([np.maximum(weight, 0), np.minimum(weight, 0)], axis=1)


def test_a_source_of_two_signs_is_refused_and_its_two_copies_are_not() -> None:
    weight = np.array([[1.0, -2.0, 0.5], [2.0, -1.0, -0.5]])
    with pytest.raises(UnsupportedError) as error:
        nf.deploy(network(nf.Dense(weight), (3,), (2,)), ODIN)
    assert str(error.value) == (
        "population 'eyes': 1 of its 3 neurons drive synapses of both signs; a neuron of 'odin' has one sign for all its synapses: give each two "
        "copies, one with the positive weights and one with the negative ones"
    )
    chip = nf.deploy(network(nf.Dense(both(weight)), (6,), (2,)), ODIN)
    stored = np.asarray(chip.connection("wires").synapses.weight)
    assert (stored.min(), stored.max()) == (-7, 7)  # three bits and the source's sign
    assert nf.deploy(network(nf.Dense(weight), (3,), (2,)), "speck2f").connections  # where a weight has a sign of its own


def test_signs_of_kernels_and_lists() -> None:
    kernel = np.ones((2, 2, 1, 1)) * np.array([1.0, -1.0])[None, :, None, None]  # channel 0 excites, channel 1 inhibits
    assert nf.deploy(network(nf.Conv(kernel, (2, 2, 2)), (2, 2, 2), (2, 2, 2)), ODIN).connections
    kernel[1, 1] = 1
    with pytest.raises(UnsupportedError, match="population 'eyes': 4 of its 8 neurons drive"):
        nf.deploy(network(nf.Conv(kernel, (2, 2, 2)), (2, 2, 2), (2, 2, 2)), ODIN)
    listed = nf.Sparse.of(2, 2, np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([1.0, -1.0, 1.0]))
    with pytest.raises(UnsupportedError, match="population 'eyes': 1 of its 2 neurons drive"):
        nf.deploy(network(listed, (2,), (2,)), ODIN)


def test_no_fault_gives_a_weight_a_sign_of_its_own() -> None:
    chip = nf.deploy(network(nf.Dense(np.ones((2, 3))), (3,), (2,)), ODIN)
    assert nf.inject(chip, nf.faults.SynapseDead(count=1, layer="hands")).damage.edits
    for fault in (
        nf.faults.SynapseBitFlip(count=1, layer="hands"),
        nf.faults.SynapseSaturated(count=1, layer="hands", to="lowest"),
        nf.faults.SynapsePerturbed(count=1, layer="hands", sigma=0.5),
    ):
        with pytest.raises(FaultError, match="a weight of 'odin' is stored without a sign, which is its source neuron's"):
            nf.inject(chip, fault)


@pytest.mark.parametrize(
    ("profile", "mode", "exponent", "said"),
    [
        ("speck2f", "mixed", 0, "carries mixed weights with exponent 0; 'speck2f' stores signed ones with exponents 0 to 0"),
        ("speck2f", "signed", 2, "carries signed weights with exponent 2; 'speck2f' stores signed ones with exponents 0 to 0"),
        ("loihi2", "signed", 0, "carries signed weights with exponent 0; 'loihi2' stores mixed, excitatory and inhibitory ones"),
    ],
)
def test_carried_weights_are_of_the_chips_format(profile: str, mode: str, exponent: int, said: str) -> None:
    carried = network(nf.Dense(np.full((2, 2), 2)), (2,), (2,), Stored(exponent, 8, mode))  # type: ignore[arg-type]  # one of the modes
    with pytest.raises(CapacityError) as error:
        nf.deploy(carried, profile)
    assert str(error.value).endswith(said)


def test_carried_thresholds_and_biases_are_what_the_chips_neurons_hold() -> None:
    fits = network(nf.Dense(np.full((2, 2), 2)), (2,), (2,), Stored(0, 8, "signed"))
    assert nf.deploy(fits, "speck2f").connections
    for change, said in (
        ({"threshold": 40000}, "a threshold of 40000 to 40000; neurons of chip 'speck2f' hold any to 32767"),
        ({"bias": np.array([0, 40000])}, "a bias of 0 to 40000; neurons of chip 'speck2f' hold -32768 to 32767"),
        ({"bias": 3, "bias_exponent": 2}, "a bias exponent of 2 to 2; neurons of chip 'speck2f' hold 0 to 0"),
    ):
        hands = fits.population("hands")
        own = replace(hands, neuron=replace(hands.neuron, **change))
        with pytest.raises(CapacityError) as error:
            nf.deploy(replace(fits, populations=(fits.population("eyes"), own)), "speck2f")
        assert str(error.value) == f"population 'hands' carries {said}"
