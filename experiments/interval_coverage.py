"""How often the interval of a recovered share holds the truth, simulated: the table behind `neurofault.study.clustered.ratio_covers`.

    python experiments/interval_coverage.py [--studies 2000] [--workers 2] [--json docs/data/coverage.json]

Studies are drawn from the kinds of damage and repair of `tests/study/test_clustered.py`: losses normal or skewed, repairs that bring back
a share that does not depend on the loss, that fail once in a while, and (`heavy`) such that what is not brought back grows with the square
of the loss. A study counts where it has an interval. With 2,000 studies a share is known to about one point (95 %).
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "study"), str(Path(__file__).parent / "bench")]

from common import finish  # noqa: E402  # beside the benchmarks
from test_clustered import RECOVERIES, heavy, share_held  # noqa: E402  # beside the tests

DRAWS = (5, 8, 10, 12, 20, 30, 50)
HEAVY = "heavy losses stay"


def covered(cell: tuple[str, int, int]) -> float:
    """Return the share of studies of a kind, with so many draws, whose interval holds the truth."""
    name, draws, studies = cell
    if name != HEAVY:
        study, truth, _ = RECOVERIES[name]
        return share_held(study, truth, draws, studies)
    gained, lost = heavy(np.random.default_rng(1), 4_000_000)
    return share_held(heavy, float(gained.mean() / lost.mean()), draws, studies)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", metavar="FILE|-")
    options = parser.parse_args()
    cells = [(name, draws, options.studies) for name in (*RECOVERIES, HEAVY) for draws in DRAWS]
    with Pool(options.workers) as pool:
        shares = dict(zip([cell[:2] for cell in cells], pool.map(covered, cells, chunksize=1), strict=True))
    table = {name: {str(draws): shares[name, draws] for draws in DRAWS} for name in (*RECOVERIES, HEAVY)}
    rows = [(name, "  ".join(f"{draws}: {share:.1%}" for draws, share in of.items())) for name, of in table.items()]
    finish(
        "a nominal 95 % interval of a recovered share holds the truth; by number of draws",
        rows,
        {"studies": options.studies, "covers": table},
        options.json,
    )


if __name__ == "__main__":
    main()
