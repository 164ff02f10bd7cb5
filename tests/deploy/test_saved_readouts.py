"""Readouts in saved chips, NIR files and identities: what is not as it was before is said in a format of its own, and changes who a chip is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.saved import load, save
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults import inject
from neurofault.study.campaign.identity import chip_digest

READOUTS = [("potential", (7, 8)), ("count", (2, 5)), ("largest", None), ("largest", (0, 4)), ("mean", None), ("mean", (3, 8))]
SEEN = nf.Spikes.dense(np.random.default_rng(4).random((6, 8, 5)) < 0.4)


def network(how: str = "potential", when: tuple[int, int] | None = None, skip: bool = False) -> nf.Network:
    rng = np.random.default_rng(3)
    populations = (
        nf.Population("eyes", (5,), nf.Source()),
        nf.Population("mind", (4,), nf.CubaLif(1.0, dv=200)),
        nf.Population("hands", (3,), nf.CubaLif(1.0 if how == "count" else None, dv=300)),
    )
    connections = [
        nf.Connection("mind", "eyes", "mind", nf.Dense(rng.normal(0.4, 0.5, (4, 5)))),
        nf.Connection("hands", "mind", "hands", nf.Dense(rng.normal(0, 0.5, (3, 4)))),
    ]
    if skip:
        connections.append(nf.Connection("skip", "eyes", "hands", nf.Dense(rng.normal(0, 0.5, (3, 5)))))
    return nf.Network("reflex", populations, tuple(connections), 8, nf.Readout("hands", how, when))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("how", "when"), READOUTS)
def test_a_saved_chip_is_read_as_it_was(how: str, when: tuple[int, int] | None, skip: bool, tmp_path: Path) -> None:
    chip = nf.deploy(network(how, when, skip))
    save(chip, tmp_path / "chip.npz")
    with np.load(tmp_path / "chip.npz") as held:
        said = json.loads(held["deployment"].tobytes())
    assert said["format"] == 5
    again = load(tmp_path / "chip.npz")
    assert again.readout == chip.readout == nf.Readout("hands", how, when)
    np.testing.assert_array_equal(nf.run(again, SEEN).activity.scores, nf.run(chip, SEEN).activity.scores)


def test_a_usual_readout_is_saved_as_before(tmp_path: Path) -> None:
    save(nf.deploy(network()), tmp_path / "chip.npz")
    with np.load(tmp_path / "chip.npz") as held:
        said = json.loads(held["deployment"].tobytes())
    assert (said["format"], said["readout"]) == (2, {"population": "hands", "how": "potential"})


@pytest.mark.parametrize(
    ("readout", "format_", "text"),
    [
        ({"how": "largest"}, 2, "how is 'largest', not potential or count"),
        ({"how": "mode"}, 5, "how is 'mode', not potential or count or largest or mean"),
        ({"how": "mean", "when": [2, 9]}, 5, "its readout 'hands' reads steps 2 to 8, but a sample has steps 0 to 7"),
        (
            {"how": "mean", "when": [4, 4]},
            5,
            "readout of 'hands': when is the steps that are read, two whole numbers (first, stop) with 0 <= first < stop, not (4, 4)",
        ),
    ],
)
def test_a_damaged_file_is_refused(readout: dict, format_: int, text: str, tmp_path: Path) -> None:
    save(nf.deploy(network()), tmp_path / "chip.npz")
    with np.load(tmp_path / "chip.npz") as held:
        arrays = dict(held)
    said = json.loads(arrays["deployment"].tobytes()) | {"format": format_, "readout": {"population": "hands"} | readout}
    arrays["deployment"] = np.frombuffer(json.dumps(said).encode(), np.uint8)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(UsageError) as error:
        load(tmp_path / "other.npz")
    assert str(error.value) == f"{tmp_path}/other.npz: not a saved deployment, or a damaged one ({text})"


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("how", "when"), READOUTS)
def test_nir_files_keep_the_readout(how: str, when: tuple[int, int] | None, skip: bool) -> None:
    pytest.importorskip("nir")
    chip = nf.deploy(network(how, when, skip))
    graph = nf.to_nir(chip)
    assert json.loads(graph.metadata["neurofault"])["version"] == 3
    again = nf.deploy(nf.from_nir(graph))
    assert again.readout == nf.Readout(again.readout.population, how, when)
    np.testing.assert_array_equal(nf.run(again, SEEN).activity.scores, nf.run(chip, SEEN).activity.scores)


def test_what_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    chip = nf.deploy(network("largest"), neurons_per_core=1)
    hurt = inject(chip, [nf.faults.NeuronDead(count=1, layer="hands")], seed=1)
    with pytest.raises(UnsupportedError) as error:
        nf.to_nir(hurt)
    assert str(error.value) == (
        "population 'hands': 1 of its neurons are dead; a readout by largest scores them below all others, which NIR cannot hold; "
        "nf.save keeps a chip whole, all its damage too"
    )
    with pytest.raises(
        UnsupportedError, match=r"the export to netx takes .*; here population 'hands' is read by largest of all steps; a NIR file "
    ):
        nf.to_netx(chip, tmp_path / "chip.net")


@pytest.mark.parametrize("skip", [False, True])
def test_the_readout_is_part_of_who_a_chip_is(skip: bool) -> None:
    chip = nf.deploy(network(skip=skip))
    found = {chip_digest(replace(chip, readout=nf.Readout("hands", how, when))) for how, when in [("potential", None), *READOUTS]}
    assert len(found) == 1 + len(READOUTS)
