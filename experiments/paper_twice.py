"""Every figure of the founding paper twice, in its quick version, each time from an empty folder and an empty cache: are all files the same, byte by byte, and how long does it take?

    python experiments/paper_twice.py [--jobs 1 2] [--on floats chip] [--json FILE]     # exit code 1 where a file differs

``--jobs`` are the numbers of processes of the runs, two or more of them. Units stand in their journal in the order in which they were finished, so of that file the sorted lines are compared.
Seconds are those of ``neurofault paper all --quick`` and ``… --on chip`` one after the other; seconds of a processor and the load of the machine stand beside them, for on a busy machine the first say little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PLACES = ("floats", "chip")


def processor() -> float:
    """Return the seconds of a processor that ended processes have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, jobs: int, places: list[str]) -> dict[str, Any]:
    """Make all figures into an empty folder, with an empty cache, and return what it took."""
    found: dict[str, Any] = {"jobs": jobs, "load": [round(os.getloadavg()[0], 2)]}
    words = [sys.executable, "-m", "neurofault", "paper", "all", "--quick", "--quiet", "--jobs", str(jobs)]
    own = {**os.environ, "NEUROFAULT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    for place in places:
        began, worked = time.perf_counter(), processor()
        subprocess.run(
            [*words, "--on", place, "--out", str(folder / place)],
            env=own,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found[f"seconds_{place}"] = round(time.perf_counter() - began, 1)
        found[f"processor_seconds_{place}"] = round(processor() - worked, 1)
        found["load"].append(round(os.getloadavg()[0], 2))
    return found


def files(folder: Path, places: list[str]) -> dict[str, bytes]:
    """Return the content of each file of the figures; of the journal, its lines in order."""
    found = {}
    for path in sorted(one for place in places for one in (folder / place).iterdir()):
        content = path.read_bytes()
        found[f"{path.parent.name}/{path.name}"] = b"\n".join(sorted(content.splitlines())) if path.suffix == ".jsonl" else content
    return found


def main() -> None:
    """Run, compare and say it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--on", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs, seen = [], []
    for jobs in options.jobs:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(Path(folder), jobs, options.on))
            seen.append(files(Path(folder), options.on))
        whole, worked = (sum(runs[-1][f"{kind}_{place}"] for place in options.on) for kind in ("seconds", "processor_seconds"))
        print(f"{jobs} jobs: {whole:.0f} s, {worked:.0f} s of a processor, load {runs[-1]['load']}", flush=True)
    names = sorted({name for one in seen for name in one})
    differ = [name for name in names if any(one.get(name) != seen[0].get(name) for one in seen)]
    kinds = {suffix: sum(name.endswith(suffix) for name in names) for suffix in (".csv", ".json", ".png", ".svg", ".jsonl")}
    print(
        f"{len(names)} files ({', '.join(f'{count} {suffix}' for suffix, count in kinds.items())}), {len(differ)} differ",
        *differ,
        sep="\n",
    )
    if options.json:
        text = {"runs": runs, "files": kinds, "differ": differ, "cores": os.cpu_count()}
        options.json.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
