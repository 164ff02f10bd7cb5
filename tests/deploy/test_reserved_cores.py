"""Cores that a chip's system takes, wherever they are: nothing is placed there, and maps show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import neurofault as nf
from neurofault.deploy.grid import draw_grid
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.errors import CapacityError, SpecError


def profile(folder: Path, reserved: Any, usable: int | None = None, cores: int = 16) -> HardwareProfile:
    text = yaml.safe_load((Path(__file__).parents[2] / "hardware_profiles" / "loihi2.yaml").read_text())
    sizes = {"cores": cores, "usable_cores": usable, "tile_columns": 2, "tile_rows": 2, "cores_per_tile": 4}
    for name, value in sizes.items():
        text["chip"][name] = text["chip"][name] | {"value": value}
    text["chip"]["reserved_cores"] = {"value": reserved, "unit": "cores", "source": "lava", "evidence": "documented"}
    text |= {"name": "kept", "title": "kept"}
    file = folder / "kept.yaml"
    file.write_text(yaml.safe_dump(text))
    return load_profile(file)


def network(neurons: int) -> nf.Network:
    populations = [nf.Population("in", (2,), nf.Source()), nf.Population("out", (neurons,), nf.CubaLif(1.0))]
    return nf.chain("net", populations, [nf.Dense(np.ones((neurons, 2)))], timesteps=4)


@pytest.mark.parametrize("strategy", ["pack", "spread", "random"])
@pytest.mark.parametrize("chips", [1, 2])
def test_nothing_sits_on_them(tmp_path: Path, strategy: Any, chips: int) -> None:
    reserved = {0, 4, 5, 6, 7, 13}
    own = profile(tmp_path, [13, "4-7", 0])
    free = 10 * chips
    chip = nf.deploy(network(free - 2), own, neurons_per_core=1, chips=chips, strategy=strategy)
    used = set(chip.placement.used_cores.tolist())
    assert used == {core for core in range(16 * chips) if core % 16 not in reserved}
    assert chip.placement.bad_cores == ()
    listed = ", ".join(f"{16 * each}, {16 * each + 4}-{16 * each + 7}, {16 * each + 13}" for each in range(chips))
    drawing = draw_grid(chip)
    assert f"= {6 * chips} cores reserved by the chip's design, never used: {listed}\n" in drawing
    assert "not for users" not in drawing
    assert "known bad" not in drawing
    with pytest.raises(CapacityError, match=f"offers {free} healthy usable cores"):
        nf.deploy(network(free - 1), own, neurons_per_core=1, chips=chips)


def test_usable_cores_are_the_lowest_of_the_others(tmp_path: Path) -> None:
    assert profile(tmp_path, ["1-2"], usable=3).chip.local_ids == (0, 3, 4)
    assert profile(tmp_path, 2, usable=3).chip.local_ids == (2, 3, 4)
    assert profile(tmp_path, ["0-1"]).chip.local_ids == profile(tmp_path, 2).chip.local_ids


def test_a_saved_chip_keeps_them(tmp_path: Path) -> None:
    chip = nf.deploy(network(3), profile(tmp_path, [0, "4-7"]), neurons_per_core=1)
    nf.save(chip, tmp_path / "chip.npz")
    assert nf.load(tmp_path / "chip.npz").profile.chip.local_ids == chip.profile.chip.local_ids == (1, 2, 3, *range(8, 16))


@pytest.mark.parametrize(
    ("reserved", "message"),
    [
        (["9-3"], "chip.reserved_cores.value[0]: '9-3' is no range: the lower end comes first (did you mean '3-9'?)"),
        (["left"], "chip.reserved_cores.value[0]: 'left' is not a core; write an id such as 5 or a range such as 12-15"),
        ([], "chip.reserved_cores.value: names no core; leave the key out"),
        ([3, 16], "chip: reserved_cores: core 16 does not exist; ids within a chip go from 0 to 15"),
        (["0-15"], "chip: all 16 cores are reserved: there is none for a network"),
        (16, "chip: all 16 cores are reserved: there is none for a network"),
    ],
    ids=str,
)
def test_what_names_no_core_is_refused(tmp_path: Path, reserved: Any, message: str) -> None:
    with pytest.raises(SpecError) as error:
        profile(tmp_path, reserved)
    (line,) = str(error.value).splitlines()
    assert line.split(": ", 1)[1] == message
