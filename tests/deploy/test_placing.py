"""Placement by search: never worse than where it starts, on no more cores, within every limit, by its seed, and no spike changes."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed_networks import convolutions, profile_with, small_chip

import neurofault as nf
from neurofault.deploy.anneal_words import Annealing, anneal_words
from neurofault.deploy.annealed.search import Harm, Search, believed_worst, hops_of
from neurofault.deploy.resources import RESOURCES, usage
from neurofault.deploy.routing import topology
from neurofault.errors import CapacityError, UsageError
from neurofault.graph.connectivity import fan_out
from neurofault.study.placing import dead_cores

STEPS = 8


@cache
def samples(count=16, size=16, classes=4):
    """Noisy images whose class is a bright row, and their labels."""
    rng = np.random.default_rng(3)
    labels = np.arange(count) % classes
    events = rng.random((count, STEPS, classes, size // classes)) < 0.1
    events[np.arange(count), :, labels] |= rng.random((count, STEPS, size // classes)) < 0.8
    return nf.Spikes.dense(events.reshape(count, STEPS, size).astype(int)), labels


def rows_chip(strategy="pack", profile=None, spare=0):
    """4 × 4 pixels, a convolution of two maps, four outputs that see a row each: what a class needs lies together in ``pack``."""
    rng = np.random.default_rng(5)
    eyes = nf.Population("eyes", (1, 4, 4), nf.Source())
    maps = nf.Population("maps", (2, 4, 4), nf.CubaLif(1.0))
    hands = nf.Population("hands", (4,), nf.CubaLif(1.0))
    kernel = np.zeros((2, 1, 3, 3))
    kernel[:, 0, 1] = 0.7
    read = rng.normal(0, 0.02, (4, 2, 4, 4))
    read[np.arange(4), :, np.arange(4)] += 0.4
    net = nf.chain(
        "rows",
        [eyes, maps, hands],
        [nf.Conv(kernel, (1, 4, 4), padding=(1, 1)), nf.Dense(read.reshape(4, 32))],
        timesteps=STEPS,
        how="count",
    )
    return nf.deploy(net, profile or small_chip(4, 3, 2), neurons_per_core=4, strategy=strategy, spare_cores=spare)


@cache
def searched(damage=0.5, k=1, seed=0):
    x, y = samples()
    return nf.search_placement(rows_chip(), x, y, damage=damage, k=k, seed=seed, moves=8000, threads=1)


def test_fewer_hops_and_a_lower_worst_loss_on_as_many_cores_and_every_spike_as_before():
    found, (x, y) = searched(), samples()
    before, after = nf.run(found.start.chip, x, y), nf.run(found.chip, x, y)
    assert found.best.hops < 0.9 * found.start.hops
    robust = searched(damage=0.9)
    assert robust.best.loss < robust.start.loss
    assert robust.best.objective < 1
    assert found.placement.strategy == "anneal"
    assert all(np.array_equal(after.activity.spike_counts[name], own) for name, own in before.activity.spike_counts.items())
    assert np.array_equal(after.activity.scores, before.activity.scores)
    assert len(found.placement.used_cores) <= len(found.start.chip.placement.used_cores)
    assert usage(found.chip).used["neurons"].max() <= 4


def test_what_is_told_is_what_the_engine_and_the_ways_of_messages_say():
    found, (x, y) = searched(), samples()
    right = nf.run(found.chip, x, y).accuracy
    assert found.healthy == right
    for core, loss in zip(found.best.dead.cores.tolist(), found.best.dead.losses, strict=True):
        hurt = nf.inject(found.chip, nf.faults.CoreDead(cores=(core,)))
        assert right - nf.run(hurt, x, y).accuracy == pytest.approx(loss)
    assert found.best.loss == pytest.approx(max(found.best.dead.losses))
    activity = nf.run(found.chip, x).activity
    assert plain_hops(found.chip, activity.spike_counts) == pytest.approx(found.best.hops * len(y))


def plain_hops(chip, spikes) -> int:
    """Every message of every neuron, one at a time."""
    grid, total = topology(chip), 0
    for connection in chip.connections:
        ends, starts = chip.placement.core_of[connection.target], chip.placement.core_of[connection.source]
        for core in np.unique(ends):
            for source in np.flatnonzero(fan_out(connection.synapses, ends == core)):
                total += int(spikes[connection.source][source]) * len(grid.path(int(starts[source]), int(core)))
    return total


@pytest.mark.parametrize("damage", [0.0, 0.3, 1.0])
def test_never_worse_than_the_start_in_its_objective(damage):
    x, y = samples()
    for moves in (1, 50):
        found = nf.search_placement(rows_chip("spread"), x, y, damage=damage, moves=moves, threads=1)
        assert found.best.objective <= 1.0
        assert found.best.objective == min(one.objective for one in found.tried)


def test_the_seed_decides_and_nothing_else_does():
    x, y = samples()
    again = nf.search_placement(rows_chip(), x, y, damage=0.5, moves=8000, threads=2)
    one, other = searched().placement.core_of, again.placement.core_of
    assert all(np.array_equal(one[name], other[name]) for name in one)
    different = [searched(seed=seed).tried[1].chip.placement.core_of["maps"] for seed in (1, 2)]
    assert not np.array_equal(*different)


def test_two_dead_cores_are_measured_together():
    found, (x, y) = searched(k=2), samples()
    hurt = nf.inject(found.chip, nf.faults.CoreDead(cores=found.best.dead.worst))
    assert len(found.best.dead.worst) == 2
    assert found.best.loss == pytest.approx(max(0.0, found.healthy - nf.run(hurt, x, y).accuracy))


def test_spare_and_bad_cores_stay_free():
    x, y = samples()
    chip = rows_chip(profile=small_chip(4, 3, 2, dead_cores=(3, 9)), spare=3)
    found = nf.search_placement(chip, x, y, moves=5000, threads=1)
    assert found.placement.spare_cores == chip.placement.spare_cores
    assert len(found.placement.spare_cores) == 3
    assert not set(found.placement.used_cores.tolist()) & {3, 9, *chip.placement.spare_cores}


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_search_keeps_book_of_hops_memory_and_axons_as_they_are_counted_afterwards(data):
    """The standing that the annealing leaves, and the counts of ``usage`` and of ``hops_of`` on the placement, agree core by core."""
    conv = data.draw(convolutions())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    shapes = [conv.in_shape, conv.out_shape]
    if min(int(np.prod(shape)) for shape in shapes) < 1:
        return
    people = [nf.Population("in", shapes[0], nf.Source()), nf.Population("out", shapes[1], nf.CubaLif(1.0))]
    synapses = replace(conv, weight=rng.normal(0, 1, conv.weight.shape), delay=None)
    net = nf.chain("any", people, [synapses], timesteps=2, how="count")
    grain = data.draw(st.integers(1, 5))
    chip = nf.deploy(net, profile_with("loihi1", core__neurons=16), neurons_per_core=grain)
    spikes = {one.name: rng.integers(0, 5, one.size) for one in chip.populations}
    harm = Harm({one.name: rng.random((one.size, 2)) for one in chip.populations}, np.array([1.0, 0.0]), np.array([0.5, 2.0]))
    search = Search(chip, spikes, harm)
    found = search.run(
        damage=0.3, seed=1, moves=300, hops=max(1, hops_of(chip, spikes)), loss=believed_worst(chip.placement, harm, 1)
    )
    assert found is not None
    placed = replace(chip, placement=found.placement)
    hops, loss = max(1, hops_of(chip, spikes)), believed_worst(chip.placement, harm, 1)
    # empty cores are not in use afterwards, but have their part in the mean
    seats = len(chip.placement.used_cores)
    each = believed_worst(found.placement, harm, 1)
    used = len(found.placement.used_cores)
    if used == seats:
        assert found.value == pytest.approx(0.7 * hops_of(placed, spikes) / hops + 0.3 * each / loss)
    counted = usage(placed)
    for name in RESOURCES:
        limit = counted.limits[name]
        assert limit is None or counted.used[name].max() <= limit
    assert counted.used["neurons"].max() <= grain


def test_words_of_a_search():
    assert [anneal_words(text) for text in ("anneal", "anneal:0.2", "anneal:1:3", "random")] == [
        Annealing(), Annealing(0.2), Annealing(1.0, 3), None,
    ]  # fmt: skip
    for text in ("anneal:2", "anneal:x", "anneal:0.5:0", "anneal:0.5:1:1", "anneal:nan"):
        with pytest.raises(UsageError, match=f"place '{text}': write anneal, anneal:DAMAGE or anneal:DAMAGE:CORES"):
            anneal_words(text)


def test_a_found_placement_is_deployed_as_it_is_and_one_of_something_else_is_refused():
    chip, found = rows_chip(), searched()
    net = nf.chain(
        "one",
        [nf.Population("eyes", (4,), nf.Source()), nf.Population("hands", (4,), nf.CubaLif(1.0))],
        [nf.Dense(np.eye(4))],
        timesteps=4,
    )
    profile = small_chip(2, 1, 1)
    placed = nf.deploy(net, profile)
    again = nf.deploy(net, profile, placement=placed.placement)
    assert np.array_equal(again.placement.core_of["hands"], placed.placement.core_of["hands"])
    own = placed.placement

    def refused(text, error=UsageError, chip=profile, **changes):
        with pytest.raises(error, match=text):
            nf.deploy(net, chip, placement=replace(own, **changes))

    cores = dict(own.core_of)
    refused(
        r"placement: no population 'eye' \(did you mean 'eyes'\?\); populations: eyes, hands",
        core_of=cores | {"eye": cores["eyes"]},
    )
    refused("placement: population 'hands' has no cores", core_of={"eyes": cores["eyes"]})
    refused(
        "placement: population 'hands' takes 4 cores, one a neuron, is int32 \\[3\\]", core_of=cores | {"hands": cores["hands"][:3]}
    )
    refused("placement: chips of 128 cores, those of 'loihi1' have 2", cores_per_chip=128)
    refused("sits on core 0, which is dead, spare, not usable or not there", spare_cores=(0,))
    refused(
        "placement: core 0 takes 4 neurons, a core of 'loihi1' has 2", CapacityError, small_chip(2, 1, 1, core__neurons=2),
    )  # fmt: skip
    with pytest.raises(UsageError, match="placement says which core each neuron sits on; leave out strategy"):
        nf.deploy(net, profile, placement=own, strategy="spread")
    with pytest.raises(UsageError, match="strategy 'anneal' measures traffic and damage on samples: deploy with another"):
        nf.deploy(net, profile, strategy="anneal")
    assert chip.placement.strategy == "pack"
    assert found.placement.strategy == "anneal"


def test_what_cannot_be_searched_is_said():
    chip, (x, y) = rows_chip(), samples()
    hurt = nf.inject(chip, nf.faults.CoreDead(cores=(0,)))
    for text, arguments, changes in (
        ("damage must lie in 0 to 1, is 1.5", (chip, x, y), {"damage": 1.5}),
        ("moves must be at least 1, is 0", (chip, x, y), {"moves": 0}),
        ("k must be 1 to 13, the cores in use, is 14", (chip, x, y), {"k": 14}),
        ("y is missing: what dead cores cost is measured by labels; give them, or damage=0", (chip, x), {}),
        ("y: labels must be 16 whole numbers, one a sample, are int64 \\(15,\\)", (chip, x, y[:15]), {}),
        ("the chip is broken: search a placement of the healthy one", (hurt, x, y), {}),
        ("the chip was placed by a search already: start from pack, spread or random", (searched().chip, x, y), {}),
    ):
        with pytest.raises(UsageError, match=text):
            nf.search_placement(*arguments, **changes)


def test_a_chip_is_saved_with_the_placement_that_was_found(tmp_path):
    found = searched()
    nf.save(found.chip, tmp_path / "chip.npz")
    again = nf.load(tmp_path / "chip.npz").placement
    assert again.strategy == "anneal"
    assert np.array_equal(again.core_of["maps"], found.placement.core_of["maps"])


def test_dead_cores_of_any_placement():
    x, y = samples()
    found = dead_cores(rows_chip(), x, y, threads=1)
    assert found.loss == pytest.approx(searched().start.loss)
    assert found.cores.tolist() == rows_chip().placement.used_cores.tolist()
