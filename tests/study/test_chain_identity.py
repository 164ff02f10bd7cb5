"""What was known by a digest before there were graphs is known by the same one: the digits here were computed by the last version of chains."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from chips import chip, connection, dense, graph_chip, neurons, population
from torch import nn

import neurofault as nf
from neurofault.convert.asked import Candidate
from neurofault.convert.networks import spiking_module
from neurofault.convert.nir_graph import from_nir
from neurofault.convert.torch_model import from_torch
from neurofault.deploy.nir_export import to_nir
from neurofault.digest import digest_of
from neurofault.graph import CubaLif, Dense, Population, Source, chain
from neurofault.study.campaign.identity import chip_digest
from neurofault.study.chain_identity import network_record
from neurofault.study.prepare import Setup, prepare


@pytest.mark.parametrize(
    ("setup", "known"),
    [
        (Setup(), "ce2781a4dee02b5bd9a8d119d301581a"),
        (
            Setup(profile="loihi1", weight_bits=4, place="random", neurons_per_core=5, spare_cores=3, place_seed=4),
            "8ea49bf228999b86e790020fd36e131e",
        ),
    ],
)
def test_a_chip_of_the_zoo_is_the_same_chip(setup, known):
    prepared = prepare(setup, lambda *_: None)
    assert chip_digest(prepared.deployment) == known
    assert prepared.weights == "26e398c5d12a99b3"


def even(*shape):
    return (np.arange(np.prod(shape)).reshape(shape) * 37 % 101 - 40) / 50.0


def graph():
    nir = pytest.importorskip("nir")

    def lif(n):
        full = {"tau": 8e-4, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
        return nir.LIF(**{key: np.full(n, value) for key, value in full.items()})

    nodes = {
        "in": nir.Input(np.array([4])), "a": nir.Affine(even(5, 4), even(5)), "b": lif(5), "c": nir.Linear(even(3, 5)), "d": lif(3),
        "out": nir.Output(np.array([3])),
    }  # fmt: skip
    return nir.NIRGraph(nodes, list(itertools.pairwise(nodes)), metadata={"dt": 1e-4})


def convolution():
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).double()
    for part in (module[0], module[3]):
        part.weight.data, part.bias.data = (torch.from_numpy(even(*each.shape)) for each in (part.weight, part.bias))
    images = (np.arange(6 * 16).reshape(6, 1, 4, 4) * 53 % 256).astype(np.uint8)
    return from_torch(module, images, candidate=Candidate(0.8, 0.3, 0.5))


def snntorch_module():
    snn = pytest.importorskip("snntorch")

    def leaky():
        return snn.Leaky(beta=0.75, init_hidden=True, reset_mechanism="zero")

    module = nn.Sequential(nn.Linear(16, 5), leaky(), nn.Linear(5, 3, bias=False), leaky())
    module[0].weight.data, module[0].bias.data = torch.from_numpy(even(5, 16)).float(), torch.from_numpy(even(5)).float()
    module[2].weight.data = torch.from_numpy(even(3, 5)).float()
    return spiking_module(module, (1, 4, 4), timesteps=9, name="net")


NETWORKS = {
    "somebody's file": (lambda: from_nir(graph()), False, "4805dd69f7fbfc44", "74fc3a76132e19080f4c6aa97b056e31"),
    "somebody's file, of events": (
        lambda: from_nir(graph(), coding=None), False, "92011f1b2c5c32f3", "66bd90ef04de83b7999f23efcbe38df6",
    ),
    "a file of ours": (lambda: from_nir(to_nir(convolution())), True, "ec72586af1cd2cff", "1636712af49d794ad0c37b863a75490b"),
    "a file of ours, of events": (
        lambda: from_nir(to_nir(from_nir(graph(), coding=None))), True, "92011f1b2c5c32f3", "66bd90ef04de83b7999f23efcbe38df6",
    ),
    "a file of a chip": (
        lambda: from_nir(to_nir(nf.deploy(convolution()))), True, "047896eff7621ff3", "1636712af49d794ad0c37b863a75490b",
    ),
    "snnTorch": (snntorch_module, False, "d1916e5a3b59947d", "ae73ef9ee21a5fb74a0cdd6bc53a143e"),
}  # fmt: skip


OF_OTHER_PROCESSORS = {"ec72586af1cd2cff": "6fcf76945dcd3b9e"}
"""Calibration runs torch's convolution, whose last bit differs between processors; the chip's integers do not."""


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_and_their_chips_are_known_by_the_digits_of_chains(case):
    make, written, weights, known = NETWORKS[case]
    if "file" in case:
        pytest.importorskip("nir")
    network = make()
    assert digest_of(network_record(network, written=written))[:16] in (weights, OF_OTHER_PROCESSORS.get(weights))
    assert chip_digest(nf.deploy(network)) == known


def loop(rng, *, own="again", delay=1, exponent=0):
    """An input, a population that drives itself, and a readout."""
    populations = (neurons("input", (4,), is_source=True), neurons("middle", (5,)), neurons("output", (3,)))
    connections = (
        connection("in", "input", "middle", dense(rng, 5, 4)), connection(own, "middle", "middle", dense(rng, 5, 5), delay=delay),
        connection("out", "middle", "output", dense(rng, 3, 5), exponent=exponent),
    )  # fmt: skip
    return replace(graph_chip(populations, connections, 8), profile=nf.load_profile("loihi2"))


def test_whatever_a_graph_consists_of_changes_its_digest():
    def rng():
        return np.random.default_rng(0)

    whole = loop(rng())
    moved = replace(whole.placement, core_of={**whole.placement.core_of, "middle": whole.placement.core_of["middle"] + 9})
    others = [
        loop(rng(), own="anew"), loop(rng(), delay=2), loop(rng(), exponent=1), loop(np.random.default_rng(1)),
        replace(whole, timesteps=9), replace(whole, readout=replace(whole.readout, population="middle")),
        replace(whole, reset="never"), replace(whole, placement=moved), whole.with_population(replace(whole.population("middle"), v_init=3)),
    ]  # fmt: skip
    assert chip_digest(loop(rng())) == chip_digest(whole)
    assert len({chip_digest(one) for one in (whole, *others)}) == 10


def test_a_chain_with_a_name_of_its_own_for_a_connection_is_another_chip():
    rng = np.random.default_rng(0)
    made = chip([population("input", (4,)), population("output", (3,), dense(rng, 3, 4))], 8)
    made = replace(made, profile=nf.load_profile("loihi2"))
    (only,) = made.connections
    assert chip_digest(made) != chip_digest(replace(made, connections=(replace(only, name="wires"),)))


def test_a_networks_digest_takes_its_loops_in():
    populations = [Population("input", (2,), Source()), Population("output", (3,), CubaLif(1.0))]
    plain = chain("plain", populations, [Dense(np.ones((3, 2)))], timesteps=4, how="count")
    again = replace(plain.connections[0], name="again", source="output", synapses=Dense(np.ones((3, 3))))
    looped = replace(plain, connections=(*plain.connections, again))
    slower = replace(plain, connections=(*plain.connections, replace(again, delay=2)))
    assert len({digest_of(network_record(one, written=False)) for one in (plain, looped, slower)}) == 3


def test_a_law_counts_in_a_digest_and_lavas_does_not():
    def made(**law):
        eyes, hands = Population("eyes", (2,), Source()), Population("hands", (2,), CubaLif(1.0, **law))
        return chain("reflex", [eyes, hands], [Dense(np.eye(2) * 2)], timesteps=4, how="count")

    plain = made()
    laws = [{"reset": "subtract"}, {"reset": "none"}, {"reset_delay": 1}, {"refractory": 1}, {"floor": -1.0}, {"floor": -0.5}]
    chips = {chip_digest(nf.deploy(net)) for net in [plain, *(made(**law) for law in laws)]}
    networks = {digest_of(*network_record(net, written=False)) for net in [plain, *(made(**law) for law in laws)]}
    assert len(chips) == len(networks) == len(laws) + 1
    stated = made(reset="zero", reset_delay=0, refractory=0, floor=None)
    assert chip_digest(nf.deploy(stated)) == chip_digest(nf.deploy(plain))
    assert digest_of(*network_record(stated, written=False)) == digest_of(*network_record(plain, written=False))
