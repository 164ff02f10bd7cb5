"""How long a first run takes, and a second: `neurofault inject` on digits in a fresh interpreter with nothing kept, and `neurofault --help`.

    python experiments/bench/first_run.py [--json FILE|-] [--repeats N] [--quick]

Sources are compiled to bytecode before, as pip does on installation. Weights of the network are those that come with the package; nothing is trained. Both runs must print the same JSON. Medians of wall time.
"""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import arguments, finish, require

import neurofault


def seconds(words: list[str], environment: dict[str, str]) -> tuple[float, bytes]:
    """Run the command line and return its wall time and what it printed."""
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "neurofault", *words], env=environment, capture_output=True, check=True)
    return time.perf_counter() - begin, done.stdout


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    repeats = 1 if options.quick else options.repeats
    first, second, help_ = [], [], []
    compileall.compile_dir(str(Path(neurofault.__file__).parent), quiet=1)
    usual = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "kernels"
            environment = usual | {"NEUROFAULT_CACHE": folder, "NUMBA_CACHE_DIR": str(kept)}
            help_.append(seconds(["--help"], environment)[0])
            cold, told = seconds(["inject", "--json", "-"], environment)
            warm, again = seconds(["inject", "--json", "-"], environment)
            require(told == again, "the JSON of the first run and of the second")
            first.append(cold)
            second.append(warm)
            kernels = len(list(kept.rglob("*.nbc")))
    medians = [statistics.median(each) for each in (first, second, help_)]
    finish(
        "neurofault inject on digits, 500 images, 10 draws",
        [
            ("first run, nothing kept", f"{medians[0]:.2f} s, {kernels} kernels compiled"),
            ("second run", f"{medians[1]:.2f} s"),
            ("neurofault --help", f"{medians[2]:.2f} s"),
        ],
        {
            "seconds_first": medians[0], "seconds_second": medians[1], "help_seconds": medians[2],
            "kernels": kernels, "repeats": repeats,
        },
        options.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
