"""Spare cores kept per chip, per tile and per layer: where they are, and who gets them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.routing import topology
from neurofault.errors import CapacityError, UsageError
from neurofault.faults import CoreDead
from neurofault.inputs import Bias


def network(sizes=(12, 9, 5)):
    rng = np.random.default_rng(0)
    names = ["eyes", "mid", "hands"]
    populations = [
        nf.Population(name, (size,), nf.CubaLif(1.0) if at else nf.Source())
        for at, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    return nf.chain("reflex", populations, [nf.Dense(rng.normal(size=(b, a))) for a, b in pairwise(sizes)], timesteps=6)


NET = network()
X, Y = Bias(np.random.default_rng(1).integers(0, 4000, (3, 12)).astype(np.int32)), np.zeros(3, np.int64)


def deployed(spares, **more):
    return nf.deploy(NET, neurons_per_core=3, spare_cores=spares, **more)


def used(chip):
    return set(chip.placement.used_cores.tolist())


def healed(chip, *cores):
    return nf.rescue(nf.inject(chip, CoreDead(cores=list(cores))), X, Y, strategy="remap")


def test_each_chip_keeps_its_own():
    chip = deployed({"per_chip": 2}, chips=2)
    place = chip.placement
    assert [sum(core // place.cores_per_chip == one for core in place.spare_cores) for one in (0, 1)] == [2, 2]
    assert not used(chip) & set(place.spare_cores)
    dead = sorted(used(chip))[:3]  # all on chip 0
    after = healed(chip, *dead)
    taken = used(after.deployment) - used(chip)
    assert taken == {core for core in place.spare_cores if core < place.cores_per_chip}
    assert any("each kept for its chip" in note for note in after.notes)
    assert set(healed(deployed(4, chips=2), *dead).deployment.placement.spare_cores)  # shared ones serve all three


def test_each_tile_keeps_its_own():
    chip = deployed("per_tile:1", chips=1)
    grid, spares = topology(chip), np.array(chip.placement.spare_cores)
    tiles = list(zip(*(each.tolist() for each in grid.tiles(spares)), strict=True))
    every = np.array(chip.profile.chip.local_ids)
    assert len(tiles) == len(set(tiles)) == len(set(zip(*(each.tolist() for each in grid.tiles(every)), strict=True)))
    dead = min(used(chip))
    (new,) = used(healed(chip, dead).deployment) - used(chip)
    assert [each.tolist() for each in grid.tiles(np.array([new]))] == [each.tolist() for each in grid.tiles(np.array([dead]))]


@pytest.mark.parametrize("strategy", ["pack", "spread", "random"])
def test_each_layer_keeps_its_own(strategy):
    chip = deployed({"per_layer": 1}, strategy=strategy)
    place = chip.placement
    assert sorted(place.spare_layers.values()) == ["eyes", "hands", "mid"]
    assert sorted(place.spare_layers) == list(place.spare_cores)
    assert not used(chip) & set(place.spare_cores)
    spare = next(core for core, name in place.spare_layers.items() if name == "mid")
    first, second = place.cores_of("mid").tolist()[:2]
    after = healed(chip, first)
    assert used(after.deployment) - used(chip) == {spare}
    assert np.array_equal(nf.run(after.deployment, X).activity.scores, nf.run(chip, X).activity.scores)
    both = healed(chip, first, second)
    assert used(both.deployment) - used(chip) == {spare}  # the others' spare cores stay theirs
    assert any("2 slices, 3 sound spare cores, each kept for its layer: left are 3 of mid" in note for note in both.notes)


def test_a_number_is_what_it_was():
    assert deployed(4).placement.spare_cores == deployed("4").placement.spare_cores
    assert deployed(4).placement.spares_for == "all"


def test_more_chips_where_each_keeps_many_free():
    most = nf.deploy(NET, neurons_per_core=3).profile.chip.usable
    chip = deployed({"per_chip": most - 4})  # nine slices at four a chip
    assert chip.placement.chips == 3
    with pytest.raises(CapacityError, match=rf"lower spare_cores \(per_chip:{most}\)"):
        deployed({"per_chip": most})


def test_kept_spares_come_back_from_a_file(tmp_path):
    for policy in ({"per_layer": 1}, {"per_chip": 1}):
        nf.save(deployed(policy), tmp_path / "chip.npz")
        back = nf.load(tmp_path / "chip.npz").placement
        assert (back.spares_for, back.spare_layers) == (
            deployed(policy).placement.spares_for,
            deployed(policy).placement.spare_layers,
        )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("per_chp:1", r"^spare_cores: unknown policy 'per_chp' \(did you mean 'per_chip'\?\); policies: per_chip, per_tile, per_layer$"),
        ({"per_chip": 0}, r"^spare_cores: per_chip must be a whole number of at least 1, is 0$"),
        ({"per_chip": 1, "per_layer": 1}, r"^spare_cores takes one of per_chip, per_tile, per_layer, is "),
        ("per_tile", r"^spare_cores: per_tile must be a whole number of at least 1, is None$"),
        (-1, r"^spare_cores must be at least 0, is -1$"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(given, text):
    with pytest.raises(UsageError, match=text):
        deployed(given)


def test_fresh_neurons_and_copies_refuse_what_is_kept_for_others():
    hurt = nf.inject(deployed({"per_layer": 1}), CoreDead(count=1))
    with pytest.raises(UsageError, match=r"embryonic.*each is kept for its layer"):
        nf.rescue(hurt, X, Y, strategy="embryonic")
    with pytest.raises(nf.errors.UnsupportedError, match="voters would be layers without any"):
        nf.protect(deployed({"per_layer": 1}), "tmr")


def test_verbs_and_campaigns_take_policies(cli, tmp_path):
    code, _, err = cli("map", "--spare-cores", "per_layer:1")
    assert code == 0, err
    code, _, err = cli("map", "--spare-cores", "per_lair:1")
    assert code == 2
    assert "did you mean 'per_layer'?" in err
    given = {
        "name": "kept",
        "network": {"zoo": "digits-mlp"},
        "data": {"samples": 20},
        "faults": [{"kind": "core_dead", "count": 1}],
    }
    nf.campaign({**given, "place": {"spare_cores": {"sweep": [2, {"per_chip": 1}]}}})
    with pytest.raises(nf.errors.SpecError, match="give one of per_chip, per_tile and per_layer"):
        nf.campaign({**given, "place": {"spare_cores": {"per_chip": 1, "per_layer": 1}}})
    with pytest.raises(nf.errors.SpecError, match="per_chip"):
        nf.campaign({**given, "place": {"spare_cores": {"per_chp": 1}}})
