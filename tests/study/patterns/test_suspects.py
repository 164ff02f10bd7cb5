"""Single faults that a dictionary knows, against the models of the same faults, injected one by one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import neurofault as nf
from neurofault.damage.damage import Damage
from neurofault.deploy.routing import topology
from neurofault.deploy.topology import NoLinks
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import FaultError, UsageError
from neurofault.faults.flows import flows_of, link_text
from neurofault.graph import Conv
from neurofault.study.patterns.diagnose import HEALTHY
from neurofault.study.patterns.suspects import SUSPECTED, suspects

RNG = np.random.default_rng(4)
CONV = Conv(RNG.integers(-20, 21, (3, 1, 3, 3)) * 2, (1, 4, 4), (1, 1), (1, 1))


def network(conv=None):
    """Three layers of neurons that fire often."""
    rng = np.random.default_rng(7)
    first = nf.Dense(rng.integers(-60, 90, (12, 8)) * 2) if conv is None else conv
    shapes = ((8,), (12,)) if conv is None else (conv.in_shape, conv.out_shape)
    layers = [nf.Population("input", shapes[0], nf.Source(threshold=20)), nf.Population("hidden1", shapes[1], nf.CubaLif(100.0))]
    layers.append(nf.Population("output", (4,), nf.CubaLif(100.0)))
    last = nf.Dense(rng.integers(-60, 90, (4, int(np.prod(shapes[1])))) * 2)
    return nf.chain("random", layers, [first, last], timesteps=6).with_readout("count")


def placed(conv=None, each=1):
    """On some cores of Loihi's mesh, of which four share a tile."""
    return nf.deploy(network(conv), "loihi2", neurons_per_core=each)


def shown(chip, samples=12):
    size = chip.population("input").size
    return nf.Inputs(events=np.random.default_rng(1).random((samples, chip.timesteps, size)) < 0.4)


def same(chip, edits, model):
    """Whether edits do to a chip what a model does, in every score and spike."""
    runs = (
        ExactEngine(1).run(each, shown(chip)) for each in (chip.with_damage(Damage(tuple(edits))), nf.inject(chip, [model], seed=1))
    )
    one, two = runs
    return np.array_equal(one.scores, two.scores) and np.array_equal(one.sample_spikes, two.sample_spikes)


@pytest.mark.parametrize("conv", [None, CONV])
def test_a_dead_word_is_that_of_the_model(conv):
    chip = placed(conv, 4)
    (listed,) = suspects(chip, ["memory_word_dead"])
    words = set()
    for name, edits, cores in listed:
        _, layer, _, word, _, core = name.rstrip(")").replace("(", "").split()
        assert cores == (int(core),)
        assert same(chip, edits, nf.faults.MemoryWordDead(layer=layer, words=((int(core), int(word)),)))
        words.add((int(core), int(word)))
    assert len(words) == len(listed) > 10


def test_every_link_that_a_message_crosses_is_there_once_and_does_what_the_model_does():
    chip = placed()
    (listed,) = suspects(chip, ["link_dead"])
    grid = topology(chip)
    crossed = {link for flow in flows_of(chip) for link in grid.path(flow.source, flow.block.core)}
    named = [name.removeprefix("link_dead ") for name, _, _ in listed]
    assert {frozenset({link_text(link), link_text(grid.opposite(link))}) for link in crossed} == {
        frozenset({link_text(link), link_text(grid.opposite(link))}) for link in grid.links() if link_text(link) in named
    }
    assert len(named) == len({frozenset({link_text(link), link_text(grid.opposite(link))}) for link in crossed})
    for name, edits, cores in listed:
        assert cores == ()
        assert edits
        assert same(chip, edits, nf.faults.LinkDead(links=(name.removeprefix("link_dead "),)))


def test_every_router_of_a_used_tile_is_there_and_does_what_the_model_does():
    chip = placed()
    (listed,) = suspects(chip, ["router_dead"])
    assert len(listed) == len({core // 4 for core in chip.placement.used_cores})
    for name, edits, _ in listed:
        assert same(chip, edits, nf.faults.RouterDead(routers=(name.removeprefix("router_dead "),)))


def test_one_layer_is_suspected_alone():
    chip = placed()
    for kind in SUSPECTED:
        (every,), (own,) = suspects(chip, [kind]), suspects(chip, [kind], "output")
        assert 0 < len(own) < len(every)
        assert {name for name, _, _ in own} <= {name for name, _, _ in every}


def test_a_dictionary_names_a_dead_link_a_dead_word_and_a_dead_synapse():
    chip = placed()
    test = nf.choose_patterns(
        chip, shown(chip, 40), faults=["synapse_dead", "core_dead"], observe="potential", aim="detectable", draws=0
    ).patterns
    book = nf.fault_dictionary(chip, test, ["link_dead", "memory_word_dead", "synapse_dead"])
    assert book.faults == sum(map(len, suspects(chip, ["link_dead", "memory_word_dead", "synapse_dead"])))
    link = next(name for name, _, _ in suspects(chip, ["link_dead"])[0] if book.class_of(name))
    hurt = nf.inject(chip, nf.faults.LinkDead(links=(link.removeprefix("link_dead "),)))
    answers = nf.apply_patterns(test, hurt).answers
    first = nf.diagnose(book, answers)[0]
    assert link in first.faults
    assert first.distance == 0
    hurt = nf.inject(chip, nf.faults.MemoryWordDead(layer="hidden1", words=((int(chip.placement.cores_of("hidden1")[0]), 1),)))
    first = nf.diagnose(book, nf.apply_patterns(test, hurt).answers)[0]
    assert any(name.startswith("memory_word_dead hidden1 word 1 ") for name in first.faults)
    assert [len(names) for names in book.classes] == [len(cores) for cores in book.cores]
    for name, cores in itertools.chain.from_iterable(zip(*one, strict=True) for one in zip(book.classes, book.cores, strict=True)):
        assert cores == (() if name == HEALTHY or name.startswith("link") else (int(name.rstrip(")").split()[-1]),))


def blind(chip):
    """A test of one sample that lights nothing."""
    dark = nf.Inputs(events=np.zeros((1, chip.timesteps, chip.population("input").size), bool))
    test = nf.choose_patterns(chip, shown(chip), faults=["core_dead"], observe="potential", aim="detectable", size=1, draws=0)
    found = test.patterns
    activity = ExactEngine(1).run(chip, dark)
    return type(found)(
        found.network, found.chip, "class", found.faults, found.data, found.timesteps, dark, found.indices, activity.scores, activity.sample_spikes
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (lambda chip, test: suspects(chip, []), UsageError, "no kind of fault is named; kinds: synapse_dead, .*"),
        (lambda chip, test: suspects(chip, ["link_dead"] * 2), UsageError, "kind 'link_dead' is named twice"),
        (lambda chip, test: suspects(chip, ["link_dad"]), UsageError, r"a dictionary has no faults of kind 'link_dad' \(did you mean 'link_dead'\?\); kinds: .*"),
        (lambda chip, test: suspects(chip, ["link_dead"], "hiden1"), UsageError, r"no layer 'hiden1'; layers: input, hidden1, output \(did you mean 'hidden1'\?\)"),
        (
            lambda chip, test: nf.fault_dictionary(chip, test, ["synapse_dead", "core_dead"], pairs=True, most=100), UsageError,
            r"a dictionary of 444 faults \(144 synapse_dead, 24 core_dead, pairs of 24 cores\) is more than the 100 that are allowed, for each is run over the whole test: .*",
        ),
        (lambda chip, test: nf.fault_dictionary(chip, test, most=0), UsageError, "most must be at least 1, is 0"),
        (
            lambda chip, test: nf.fault_dictionary(chip, blind(chip), ["link_dead"]), UsageError,
            r"nothing detectable: to the 1 sample of the test, each of \d+ faults \(link_dead\) answers as the healthy chip \(class\); .*",
        ),
    ],
)  # fmt: skip
def test_mistakes_get_one_message(asked, error, message):
    chip = placed()
    test = nf.choose_patterns(chip, shown(chip), faults=["core_dead"], observe="potential", aim="detectable", draws=0).patterns
    with pytest.raises(error, match=f"^{message}$"):
        asked(chip, test)


def test_a_chip_without_links_has_no_dead_ones():
    links = NoLinks.model_construct(topology="none", source=(), note=None)
    alone = replace(placed(), profile=nf.load_profile("loihi2").model_copy(update={"name": "unlinked", "links": links}))
    with pytest.raises(FaultError, match=r"^chip 'unlinked' has no links between tiles; places it has: "):
        suspects(alone, ["link_dead"])
