"""A first run compiles what it uses, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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


def ran(folder: Path, name: str) -> list[str]:
    cache = {"NUMBA_CACHE_DIR": str(folder / "kernels"), "NEUROFAULT_CACHE": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(folder / name)], env=os.environ | cache, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def test_a_first_inject_compiles_two_kinds_of_connections_and_a_second_nothing(tmp_path):
    compiled = ran(tmp_path, "first.json")
    kept = sorted(path.name.split("-")[0].split(".")[1] for path in (tmp_path / "kernels").rglob("*.nbc"))
    assert kept == ["present", "present", "spread", "tally", "unfold"]
    assert len(compiled) <= 28  # with the parts that are compiled into them
    assert ran(tmp_path, "second.json") == []
    assert json.loads((tmp_path / "first.json").read_text()) == json.loads((tmp_path / "second.json").read_text())
