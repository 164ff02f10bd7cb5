"""Compiled kernels that are kept: found again by the same sources, made anew by others, and never in the way."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

KERNEL = """
from typing import NamedTuple
import neurofault.compiled as compiled

class {name}(NamedTuple):
    size: int

@compiled.jit
def half(record):
    return record.size // 2

print(half({name}(8)), sum(half.stats.cache_hits.values()))
"""


def ran(folder: Path, name: str, before: str = "", text: str | None = None) -> list[str]:
    file, text = folder / "kept.py", text or KERNEL.format(name=name)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", f"{before}\nimport kept"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_kept_kernel_is_used_again_and_not_for_other_sources(tmp_path):
    other = "import neurofault.compiled; neurofault.compiled.sources_digest = lambda: 'other'"
    assert ran(tmp_path, "Record") == ["4", "0"]
    assert ran(tmp_path, "Record") == ["4", "1"]
    assert ran(tmp_path, "Record", other) == ["4", "0"]


def test_what_is_kept_of_a_record_that_is_called_otherwise_now_is_made_anew(tmp_path):
    assert ran(tmp_path, "Record") == ["4", "0"]
    assert ran(tmp_path, "Renamed") == ["4", "0"]
    assert ran(tmp_path, "Renamed") == ["4", "1"]


PARTS = """
import numpy as np
import neurofault.compiled as compiled

@compiled.part
def next_of(value, unused):
    return value + np.int32(1)

@compiled.part
def add_up(values, unused):
    total = np.int32(0)
    for value in values:
        total += next_of(value, unused)
    return total

@compiled.jit
def both(values):
    return add_up(values, values), next_of(values[0], values)

print(*both(np.arange(4, dtype=np.int32)), sum(both.stats.cache_hits.values()))
"""


def test_parts_go_into_the_kernels_that_call_them_and_nothing_else_is_kept(tmp_path):
    assert ran(tmp_path, "", text=PARTS) == ["10", "1", "0"]
    assert ran(tmp_path, "", text=PARTS) == ["10", "1", "1"]
    assert [path.name.split("-")[0] for path in tmp_path.rglob("*.nbc")] == ["kept.both"]


def test_that_a_kernel_is_compiled_is_said_once(tmp_path):
    say = "import neurofault.progress; neurofault.progress.when_compiling(lambda: print('compiling'))"
    text = PARTS + "both(np.arange(4, dtype=np.int64).astype(np.int32)[::2])\n"
    assert ran(tmp_path, "", say, text) == ["compiling", "10", "1", "0"]
    assert ran(tmp_path, "", say, text) == ["10", "1", "1"]


AT_ONCE = """
import sys
import time
import numpy as np
import neurofault.compiled as compiled

@compiled.jit
def doubled(values):
    return values[0] + values[0]

KINDS = (np.int8, np.int16, np.int32, np.int64, np.float32, np.float64)
first = int(sys.argv[1])
while time.time() < float(sys.argv[2]):
    pass
for place in range(len(KINDS)):
    kind = KINDS[(first + place) % len(KINDS)]
    assert doubled(np.array([21], kind)) == 42, kind
print(sum(doubled.stats.cache_misses.values()))
"""


def test_processes_that_want_the_same_kernels_at_once_compile_each_once_and_keep_them_all(tmp_path):
    (tmp_path / "many.py").write_text(AT_ONCE, encoding="utf-8")
    begin = time.time() + 4
    words = [sys.executable, "many.py"]
    at_once = [
        subprocess.Popen([*words, str(first), str(begin)], cwd=tmp_path, stdout=subprocess.PIPE, text=True) for first in range(4)
    ]
    compiled = [int(one.communicate()[0]) for one in at_once]
    assert [one.returncode for one in at_once] == [0] * 4
    assert sum(compiled) == 6
    assert len(list(tmp_path.rglob("*.nbc"))) == 6
    assert not [path for path in tmp_path.rglob("*.lock") if not path.name.endswith(".index.lock")]
    again = subprocess.run([*words, "2", "0"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["0"]
