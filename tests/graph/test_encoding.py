"""Input neurons under constant currents: which rates they have, and what a spike does to them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.digest import digest_of
from neurofault.engines import get_engine
from neurofault.errors import ConversionError, UnsupportedError
from neurofault.graph import Encoding
from neurofault.study.campaign.identity import chip_digest
from neurofault.study.chain_identity import network_record

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing
STEPS = 8


def eyes(reset, steps=STEPS, *, skip=False):
    """An input of every pixel value, and a readout that counts; ``skip``: two ways between them, which is no chain."""
    source = nf.Population("input", (256,), nf.Source(Encoding.for_pixels(1.0, 0.5, steps, reset), reset=reset))
    hands = nf.Population("output", (2,), nf.CubaLif(40.0))
    ways = [nf.Connection(f"way{k}", "input", "output", nf.Dense(np.full((2, 256), 1.0 + k))) for k in range(1 + skip)]
    return nf.Network("eyes", (source, hands), tuple(ways), steps, nf.Readout("output", "count"))


def run(network, engine="exact"):
    pixels = np.arange(256, dtype=np.uint8)[None]
    return nf.run(nf.deploy(network), pixels, engine=engine, record=("spikes", "v")).activity.traces


@settings(max_examples=40, deadline=None)
@given(steps=st.integers(1, 70), rate=st.sampled_from([0.25, 0.5, 0.9, 1.0]), start=st.sampled_from([0.0, 0.3, 0.5]))
def test_by_subtraction_counts_are_those_of_a_line(steps, rate, start):
    """A neuron that loses its threshold alone has fired as often as its charge holds whole thresholds, its start included."""
    table = Encoding.for_pixels(rate, start, steps, "subtract")
    charge = table.start + steps * table.table.astype(np.int64)
    np.testing.assert_array_equal(
        np.rint(table.rates(steps, "subtract") * steps), np.maximum(0, (charge - 1) // (table.threshold << 6))
    )
    assert np.abs(table.table / (table.threshold << 6) - rate * np.arange(256) / 255).max() <= 0.5 / (table.threshold << 6)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_every_engine_gives_the_rates_of_the_table(reset):
    network = eyes(reset)
    expected = network.encoding.rates(STEPS, reset)
    found = run(network)["input"]
    np.testing.assert_array_equal(found.spikes[0].mean(0), expected)
    for engine in ("lava", "brian2") if reset == "subtract" else ():  # the usual one: tests/engines
        if importlib.util.find_spec(engine) is not None:
            other = run(network, engine)["input"]
            np.testing.assert_array_equal(other.spikes, found.spikes, engine)
            np.testing.assert_array_equal(other.v, found.v, engine)


def test_snntorch_refuses_it_by_name():
    if importlib.util.find_spec("snntorch") is None:
        pytest.skip("snntorch is not installed")
    assert get_engine("snntorch").supports(nf.deploy(eyes("zero"))) is None
    with pytest.raises(UnsupportedError, match="layer 'input': with reset_delay=False snnTorch takes the threshold off again"):
        run(eyes("subtract"), "snntorch")


def test_other_resets_are_refused():
    source = nf.Source(Encoding.for_pixels(1.0, 0.5, STEPS), reset="subtrac")
    with pytest.raises(ConversionError) as error:
        nf.chain(
            "x",
            [nf.Population("input", (2,), source), nf.Population("output", (1,), nf.CubaLif(1.0))],
            [nf.Dense(np.ones((1, 2)))],
            timesteps=2,
        )
    assert str(error.value) == "population 'input': reset must be zero or subtract, is 'subtrac' (did you mean 'subtract'?)"


@pytest.mark.parametrize("written", ["npz", "nir"])
def test_it_comes_back_from_files(written, tmp_path):
    network = eyes("subtract")
    chip = nf.deploy(network)
    if written == "npz":
        nf.save(chip, tmp_path / "chip.npz")
        back = nf.load(tmp_path / "chip.npz")
    else:
        pytest.importorskip("nir")
        assert nf.from_nir(nf.to_nir(network)).population("input").neuron.reset == "subtract"
        back = nf.deploy(nf.from_nir(nf.to_nir(chip)))
    assert back.population("input").law.reset == "subtract"
    pixels = np.arange(256, dtype=np.uint8)[None]
    one, two = (nf.run(each, pixels, record=("spikes",)).activity.traces["input"].spikes for each in (chip, back))
    np.testing.assert_array_equal(one, two)


def test_netx_refuses_it_by_name(tmp_path):
    pytest.importorskip("h5py")
    with pytest.raises(UnsupportedError, match="population 'input': reset 'subtract', which a netx file does not say"):
        nf.to_netx(nf.deploy(eyes("subtract")), tmp_path / "x.net")


@pytest.mark.parametrize(("skip", "known"), [(False, "6cc13dcf70b9f201"), (True, "db4045f6f02920a1")])
def test_a_reset_counts_in_the_identity_and_the_usual_one_is_what_it_was(skip, known):
    """The digits are those of the version before inputs had a reset."""
    usual, other = eyes("zero", skip=skip), eyes("subtract", skip=skip)
    assert digest_of(network_record(usual, written=False))[:16] == known
    same_table = nf.Network("eyes", (nf.Population("input", (256,), nf.Source(usual.encoding, reset="subtract")), usual.populations[1]), usual.connections, STEPS, usual.readout)  # fmt: skip
    assert len({digest_of(network_record(each, written=False)) for each in (usual, other, same_table)}) == 3
    assert len({chip_digest(nf.deploy(each)) for each in (usual, other, same_table)}) == 3
