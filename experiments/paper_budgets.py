"""Does experiments/paper/chip_budgets.yaml still give docs/data/paper/chip_budgets.json? Runs its cheapest ways again, all ten draws, and compares them with the published points.

    python experiments/paper_budgets.py --data-dir DIR [--all]     # exit code 1 where a point is another

The cheapest are no repair and `emstdp` under the cap of energy, of dead cores, a few hundred images a draw; with ``--all`` all ways of both kinds of damage, about an hour on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import neurofault as nf

CAMPAIGN = Path(__file__).parent / "paper" / "chip_budgets.yaml"
PUBLISHED = Path(__file__).parents[1] / "docs" / "data" / "paper" / "chip_budgets.json"


def cheapest(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the campaign with its first kind of damage and the ways that learn least."""
    ways = [
        {**way, "learner": "emstdp"} if "learner" in way else way
        for way in asked["rescue"]
        if way["strategy"] == "none" or "energy" in way
    ]
    return {**asked, "faults": asked["faults"][:1], "rescue": ways}


def label(row: Any) -> str:
    """Return what the published curves call the cell of a trial."""
    caps = [f"{name} {row[f'rescue.{name}']:g}" for name in ("writes", "energy") if row[f"rescue.{name}"] == row[f"rescue.{name}"]]
    learner = [row["learner"]] if isinstance(row["learner"], str) else []
    return " · ".join([row["faults"], row["strategy"], *learner, *caps])


def points(asked: dict[str, Any], folder: Path, data_dir: Path | None) -> dict[str, dict[str, float]]:
    """Run a campaign and return its points by label."""
    done = nf.campaign(asked, out=folder).run(workers=1, data_dir=data_dir)
    if done.failed:
        sys.exit(f"{done.failed} trials failed: see {done.folder}")
    rows = done.table().astype({"rescue.writes": float, "rescue.energy": float})
    found = {}
    for name, own in rows.groupby(rows.apply(label, axis=1)):
        right = (own["correct"] / own["samples"]).astype(float)
        found[str(name)] = {
            "mean": right.mean(), "lowest": right.min(), "median": right.median(), "highest": right.max(), "draws": len(own),
            "cycles": own["cycles_total"].astype(float).mean(), "writes": own["writes"].astype(float).mean(),
            "energy_joule": own["repair_energy_joule"].astype(float).mean(),
        }  # fmt: skip
    return found


def main() -> None:
    """Run and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    asked = yaml.safe_load(CAMPAIGN.read_text(encoding="utf-8"))
    published = {curve["label"]: curve["points"][0] for curve in json.loads(PUBLISHED.read_text(encoding="utf-8"))["curves"]}
    with tempfile.TemporaryDirectory() as folder:
        found = points(asked if options.all else cheapest(asked), Path(folder) / "run", options.data_dir)
    wrong = 0
    for name, point in found.items():
        differ = [key for key, value in point.items() if not np.isclose(value, published[name][key], rtol=1e-9, atol=1e-12)]
        wrong += bool(differ)
        said = ", ".join(f"{key} {point[key]:.6g} (published {published[name][key]:.6g})" for key in differ)
        print(f"{name}: {100 * point['mean']:.3f} %, {said or 'as published'}")
    print(f"{len(found)} of {len(published)} points, {wrong} are not what is published")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
