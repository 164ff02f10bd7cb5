"""A first run compiles what it uses, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurofault.cli.ahead import suits

COUNT = """
import sys
from numba.core import event

class Compiled(event.Listener):
    names = []

    def on_start(self, one):
        function = one.data["dispatcher"].py_func
        if function.__module__.startswith("neurofault"):
            self.names.append(function.__name__)

    def on_end(self, one):
        pass

event.register("numba:compile", Compiled())
from neurofault.cli.app import main
sys.argv = ["neurofault", "inject", "--json", sys.argv[1]]
try:
    main()
finally:
    print("\\ncompiled", *Compiled.names)
"""


def places(folder: Path) -> dict[str, str]:
    return os.environ | {"NUMBA_CACHE_DIR": str(folder / "kernels"), "NEUROFAULT_CACHE": str(folder)}


def kept(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0].split(".")[1] for path in (folder / "kernels").rglob("*.nbc"))


def ran(folder: Path, name: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(folder / name)], env=places(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


KERNELS = ["_present_rows", "_present_rows", "spread", "tally", "unfold"]
"""What an inject of a dense network of pixels needs: two kinds of connections, weights of the chip and those that are not rounded."""


def test_a_first_inject_compiles_two_kinds_of_connections_and_a_second_nothing(tmp_path):
    compiled = ran(tmp_path, "first.json")
    assert kept(tmp_path) == KERNELS
    assert len(compiled) <= 12  # with the parts that are compiled into them
    assert ran(tmp_path, "second.json") == []
    assert json.loads((tmp_path / "first.json").read_text()) == json.loads((tmp_path / "second.json").read_text())


def test_what_is_compiled_ahead_is_what_inject_needs_and_is_done_once(tmp_path):
    words = [sys.executable, "-c", "from neurofault.cli.ahead import main; main()"]
    subprocess.run(words, env=places(tmp_path), check=True)
    assert kept(tmp_path) == KERNELS
    assert len(list((tmp_path / "ahead").iterdir())) == 1
    assert ran(tmp_path, "first.json") == []
    assert kept(tmp_path) == KERNELS
    assert not [path for path in tmp_path.rglob("*.lock") if not path.name.endswith(".index.lock")]


def test_the_process_that_compiles_takes_nothing_of_the_current_folder_for_a_library(tmp_path):
    (tmp_path / "profile.py").write_text("open('was_run', 'w')\n")
    (tmp_path / "numba.py").write_text("open('was_run', 'w')\n")
    script = "import sys; sys.path.remove(''); import time; from neurofault.cli.ahead import compiled_ahead, _done\nwith compiled_ahead('digits-mlp', 'exact'):\n    while not _done().exists(): time.sleep(0.1)\n"
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=places(tmp_path) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
    )
    assert kept(tmp_path) == KERNELS
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("network", "engine", "wanted"),
    [
        ("digits-mlp", "exact", True), ("mnist-mlp2+dropout=0.3", "exact", True), ("digits-mlp", "lava", False),
        ("cifar10-cnn", "exact", False), ("cifar10-resnet", "exact", False), ("digits-events", "exact", False), ("mine.nir", "exact", False),
    ],
)  # fmt: skip
def test_kernels_are_compiled_ahead_only_where_they_are_those_of_the_run(network, engine, wanted):
    assert suits(network, engine) == wanted
