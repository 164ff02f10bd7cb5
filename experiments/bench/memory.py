"""Peak memory of `neurofault inject` on whole test sets, each in a process of its own.

python experiments/bench/memory.py --data-dir ../shared/data --json memory.json

MNIST: `mnist-mlp`, 10,000 images, 4 dead hidden cores in 4 draws. CIFAR-10: the zoo's CNN trained for one epoch in place of fourteen (its
shape and activity, not its accuracy), 10,000 images, 1 dead core in 2 draws. Training, where the weights are not kept yet, is done before
in another process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from common import BRIEF, arguments, finish

CASES = {"mnist": ("mnist-mlp", 4, 4), "cifar10": (BRIEF, 1, 2)}


def inject(case: str, data_dir: Path | None, samples: int | None) -> None:
    """Run one case and print its peak memory in bytes and its seconds."""
    from neurofault.faults import CoreDead
    from neurofault.study.inject_report import injection
    from neurofault.study.prepare import Setup, prepare

    network, cores, draws = CASES[case]
    begin = time.perf_counter()
    prepared = prepare(Setup(network=network, data_dir=data_dir, samples=samples), lambda *_: None)
    result = injection(
        prepared, [CoreDead(count=cores)], layer="hidden", draws=draws, seed=1, engine="exact", progress=lambda *_: None
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak": peak, "seconds": time.perf_counter() - begin, "images": len(result.prepared.test)}))


def main() -> None:
    """Measure and print."""
    if len(sys.argv) > 1 and sys.argv[1] in CASES:
        inject(sys.argv[1], Path(sys.argv[2]) if sys.argv[2] else None, int(sys.argv[3]) or None)
        return
    options = arguments(__doc__ or "")
    rows: list[tuple[str, str]] = []
    answer: dict[str, object] = {"quick": options.quick, "peak_bytes": {}, "images": {}}
    for case in CASES:
        words = [sys.executable, __file__, case, str(options.data_dir or "")]
        subprocess.run([*words, "2"], check=True, capture_output=True)  # trains and compiles
        done = subprocess.run([*words, "50" if options.quick else "0"], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        answer["peak_bytes"][case], answer["images"][case] = found["peak"], found["images"]
        rows.append((f"{case}, {found['images']:,} images", f"{found['peak'] / 1e9:.2f} GB, {found['seconds']:.0f} s"))
    finish("peak memory of inject", rows, answer, options.json)


if __name__ == "__main__":
    main()
