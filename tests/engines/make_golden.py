"""Run the golden cases in Lava and write what it did to ``golden.npz``; run by hand when the cases change."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import golden
from cases import CASES

from neurofault.activity import TRACES
from neurofault.engines.on_lava.engine import LavaEngine

GOLDEN = (
    "edge_of_u",
    "saturation",
    "stored_mixed",
    "stored_inhibitory",
    "delays",
    "damaged_convolutions",
    "damaged",
    "given_events",
)


def main() -> None:
    results = {}
    for name in GOLDEN:
        case = CASES[name]()
        results[name] = case, LavaEngine().run(*case, record=TRACES).traces
        print(name)
    golden.write(results)
    print(golden.FILE, golden.FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
