"""What should be protected, in one currency: which configurations no other beats in accuracy under faults, stored bits, energy and time.

    neurofault campaign run experiments/full/protect.yaml --data-dir DIR          # and protect_neurons.yaml, protect_spares.yaml
    python experiments/pareto.py runs/protect-full runs/protect-neurons-full runs/protect-spares-full --data-dir DIR [--json docs/data/pareto.json]

Takes run folders (campaign files run first, in ``runs/``). A configuration is a network, what guards its weights, and spare cores; its accuracy under each plan of faults comes from the campaign's rows, its
energy and time are those of the healthy chip on the same samples plus what its protection is charged (:mod:`neurofault.study.protect.charge`), its stored bits those of the weights, of check bits, maps, ranges and copies, and
for each spare core the room that the fullest core's weights take. Bits are given as what is added to the plain chip.

A configuration beats another where it is no worse in all four and better in one, by the means; the front is what none beats. How sure that is: the share of 10,000 resamples of the draws (the same ones in
all configurations) in which it is on the front. What is chosen ``by: random`` is the control, and competes like all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import neurofault as nf
from neurofault.deploy.cost import cost
from neurofault.deploy.deployment import Deployment
from neurofault.errors import NeurofaultError, UsageError
from neurofault.faults import Fault, fault_to_mapping
from neurofault.faults.places import connections_into, synapse_blocks
from neurofault.progress import silent
from neurofault.study.campaign.folder import default_folder
from neurofault.study.campaign.rows import value_of
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign
from neurofault.study.campaign.summary import found_in
from neurofault.study.campaign.trial import TrialChip
from neurofault.study.protect.charge import charge
from neurofault.study.protect.spec import AnySpec, CodeSpec, CopySpec, FloorSpec, MuteSpec, OrderSpec, RangeSpec
from neurofault.study.statistics import paired_difference, t_interval

RESAMPLES = 10_000


def spare_bits(chip: Deployment) -> int:
    """Return the bits of weights that spare cores must have room for, each for those of the fullest core."""
    held: dict[int, int] = {}
    for name in connections_into(chip):
        for block in synapse_blocks(chip, [name]):
            held[block.core] = held.get(block.core, 0) + block.size * chip.connection(name).weight_bits
    return len(chip.placement.spare_cores) * max(held.values())


def costs(chip: TrialChip) -> dict[str, float]:
    """Return stored bits, energy and time of a configuration.

    Raises:
        UsageError: the profile does not know them.
    """
    run = nf.run(chip.deployment, chip.inputs, chip.expected)
    whole, more = (
        cost(chip.deployment, run.activity, len(chip.expected)),
        charge(chip.deployment, run.activity.spike_counts, len(chip.expected)),
    )
    if None in (whole.energy.value, whole.time.value, more.energy, more.time):
        raise UsageError(f"profile {chip.deployment.profile.name!r} does not know what an inference costs; one currency needs it")
    spare = spare_bits(chip.deployment)
    return {
        "weight_bits": more.stored_bits, "added_bits": more.check_bits + more.map_bits + more.copied_bits + spare,
        "check_bits": more.check_bits, "map_bits": more.map_bits, "spare_bits": spare,
        **({"copied_bits": more.copied_bits} if more.copied_bits else {}),
        "energy_joule": (whole.energy.value or 0.0) + (more.energy or 0.0), "time_second": (whole.time.value or 0.0) + (more.time or 0.0),
    }  # fmt: skip


def said(guards: Sequence[AnySpec], spares: int) -> str:
    """Return what protects, in a few words."""
    return " and ".join([*map(_said, guards), *([f"{spares} spare cores"] if spares else [])]) or "nothing"


def _said(one: AnySpec) -> str:
    units = {"plane": "planes", "row": "rows", "bit": "bits"}
    match one:
        case RangeSpec():
            return "bounds"
        case OrderSpec():
            return f"bits in another order, by {one.unit}"
        case FloorSpec():
            return "floors of potentials"
        case CopySpec() if one.whole:
            return "copies of all"
        case CopySpec():
            return f"copies, {f'{one.cores} cores more' if one.share is None else f'{one.share:.0%} of the neurons'}, by {one.by}"
        case MuteSpec():
            return "muting" if one.whole else f"muting, {one.share:.0%} of the neurons by {one.by}"
        case CodeSpec() if one.whole:
            return one.kind
        case CodeSpec():
            much = f"{one.budget:.0%} more bits" if one.budget else f"{one.share:.0%} of the bits"
            return f"{one.kind}, {much}, {units[one.unit]} by {one.by}"


def plan_said(faults: Sequence[Fault]) -> str:
    """Return a plan in a few words."""
    told = [fault_to_mapping(fault) for fault in faults]
    return " and ".join(f"{one['kind']} {one.get('rate', one.get('count'))}" for one in told)


def configurations(folder: Path, data_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Yield each configuration of a run folder with its costs and its draws.

    Raises:
        UsageError: trials are missing or failed; the chips made here are not those that the campaign ran.
    """
    found = found_in(folder)
    state = ready(found.campaign, data_dir or (None if found.planned.data_dir is None else Path(found.planned.data_dir)), silent)
    if dict(state.digests) != {key: tuple(digests) for key, digests in found.planned.digests.items()}:
        raise UsageError(f"{folder}: its campaign ran other chips or samples than are made of it here; run it again")
    rows: dict[int, dict[int, float]] = {}
    healthy: dict[int, float] = {}
    for row in found.rows:
        value, whole = value_of(row), value_of(row, "healthy_")
        if value is not None and whole is not None:
            rows.setdefault(row["cell"], {})[row["draw"]] = value
            healthy[row["cell"]] = whole
    by_chip: dict[tuple[str, int], dict[str, Any]] = {}
    for cell in found.campaign.cells():
        own, draws = rows.get(cell.index, {}), cell.spec.repeats.draws
        if len(own) < draws:
            raise UsageError(
                f"{folder}: {len(own)} of {draws} draws of cell {cell.index} have a result; `neurofault campaign run` goes on"
            )
        key, guards = state.chip_of[cell.index], cell.spec.protect
        name = (key, cell.way)
        if name not in by_chip:
            chip = state.chips[key]
            spares = len(chip.deployment.placement.spare_cores)
            by_chip[name] = {
                "network": cell.spec.network.zoo or str(cell.spec.network), "protection": said(guards, spares), "rescue": cell.rescue.label,
                "control": any(isinstance(one, CodeSpec | CopySpec | MuteSpec) and not one.whole and one.by == "random" for one in guards),
                "samples": len(chip.expected), "healthy": healthy[cell.index], **costs(chip), "plans": {},
            }  # fmt: skip
        values = [own[draw] for draw in range(draws)]
        mean = t_interval(values, within=(0.0, 1.0))
        by_chip[name]["plans"][plan_said(cell.faults)] = {
            "accuracy": mean.mean,
            "low": mean.low,
            "high": mean.high,
            "draws": values,
        }
    yield from by_chip.values()


def unbeaten(worth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows no other row beats: none is at least as large in every column and larger in one.

    >>> unbeaten(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])).tolist()
    [True, True, False]
    """
    no_worse = (worth[:, None] >= worth[None]).all(axis=2)
    better = (worth[:, None] > worth[None]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))


def fronts(found: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return, for each plan, every configuration with whether it is on the front, how sure that is, and by which best it is beaten.

    Raises:
        UsageError: configurations that were not broken by the same plans, as often, on as many samples.
    """
    if len({one["samples"] for one in found}) > 1:
        raise UsageError("the campaigns do not report on the same number of samples")
    base = min(one["weight_bits"] for one in found)
    prices = np.array([[one["weight_bits"] + one["added_bits"], one["energy_joule"], one["time_second"]] for one in found])
    plans = list(found[0]["plans"])
    if any(list(one["plans"]) != plans for one in found):
        raise UsageError("the campaigns do not break their chips by the same plans of faults")
    answer: dict[str, list[dict[str, Any]]] = {}
    for plan in plans:
        draws = [one["plans"][plan]["draws"] for one in found]
        if len({len(one) for one in draws}) > 1:
            raise UsageError("the campaigns do not have the same number of draws")
        values = np.array(draws)
        means = values.mean(axis=1)
        on = unbeaten(np.column_stack([means, -prices]))
        picks = np.random.default_rng(1).integers(0, values.shape[1], (RESAMPLES, values.shape[1]))
        counts = np.apply_along_axis(np.bincount, 1, picks, minlength=values.shape[1]) / values.shape[1]
        sure = np.mean([unbeaten(np.column_stack([again, -prices])) for again in counts @ values.T], axis=0)
        answer[plan] = []
        for at, one in enumerate(found):
            row = {
                "network": one["network"], "protection": one["protection"], "control": one["control"], "accuracy": means[at],
                "low": one["plans"][plan]["low"], "high": one["plans"][plan]["high"],
                "bits": float(prices[at, 0] / base - 1), "energy_joule": float(prices[at, 1]), "time_second": float(prices[at, 2]),
                "on_front": bool(on[at]), "on_front_share": float(sure[at]),
            }  # fmt: skip
            above = (prices <= prices[at]).all(axis=1) & (
                (means > means[at]) | ((means == means[at]) & (prices < prices[at]).any(axis=1))
            )
            if above.any():
                best = int(np.argmax(np.where(above, means, -1.0)))
                gap = paired_difference(values[best].tolist(), values[at].tolist())
                row |= {
                    "beaten_by": f"{found[best]['network']}, {found[best]['protection']}",
                    "by": gap.mean, "by_low": gap.low, "by_high": gap.high,
                }  # fmt: skip
            answer[plan].append(row)
        answer[plan].sort(key=lambda row: -row["accuracy"])
    return answer


def line(row: dict[str, Any]) -> str:
    """Return a configuration as a row of a table."""
    mark = "front" if row["on_front"] else "" if not row["control"] else "control"
    said = (
        f"{row['network']:20} {row['protection']:75} {row['accuracy']:.2%} [{row['low']:.2%}, {row['high']:.2%}]  bits {row['bits']:+7.2%}  "
        f"{row['energy_joule'] * 1e6:6.3f} µJ  {row['time_second'] * 1e6:6.1f} µs  {mark:7} {row['on_front_share']:4.0%}"
    )
    return (
        said
        if row["on_front"]
        else f"{said}  beaten by {row['beaten_by']} ({row['by']:+.2%} [{row['by_low']:+.2%}, {row['by_high']:+.2%}])"
    )


def main() -> None:
    """Print the front of each plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or campaign files of runs in runs/")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    folders = [default_folder(load_campaign(run)) if run.is_file() else run for run in given.runs]
    try:
        found = [one for folder in folders for one in configurations(folder, given.data_dir)]
        answer = fronts(found)
    except NeurofaultError as error:
        parser.exit(2, f"{error}\n")
    for plan, rows in answer.items():
        print(f"\n{plan}: {sum(row['on_front'] for row in rows)} of {len(rows)} configurations are beaten by none")
        print("\n".join(map(line, rows)))
    if given.json is not None:
        given.json.write_text(json.dumps({"configurations": found, "fronts": answer}, indent=1) + "\n")


if __name__ == "__main__":
    main()
