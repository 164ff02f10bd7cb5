"""A figure in a few lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neurofault.numerals import plural
from neurofault.papers.rescue2019 import availability
from neurofault.papers.rescue2019.networks import verdicts
from neurofault.papers.rescue2019.output import Figure


def lines(figure: Figure) -> Iterator[str]:
    """Yield what a figure says, in plain text."""
    answer = figure.answer
    if "weights" in answer:
        yield f"{figure.name} weights: {_weights(answer['weights'])}"
    match figure.name:
        case "fig1":
            for name, one in answer["change_point"].items():
                mark = answer["thresholds"][name]
                yield f"fig1 {name}: half-way at {_share(mark['half'])} of the nodes, −1 point at {_share(mark['minus1pp'])}; {one['verdict']}"
        case "fig1_cnn":
            for name, one in answer["change_point"].items():
                mark = answer["thresholds"][name]
                yield f"{figure.name} {name}: half-way at {_share(mark['half'])} of the units, −1 point at {_share(mark['minus1pp'])}; {one['verdict']}"
        case "fig2":
            for row in answer["recovery"]:
                if row["m"] and row["tolerance"] == answer["headline"]:
                    yield (
                        f"fig2 {row['strategy']}, {row['m']} dead: {_cycles(row['cycles'])} cycles to within "
                        f"{100 * row['tolerance']:g} points, {row['reached']} of {plural(row['pairs'], 'pair')}"
                    )
        case "fig3":
            for row in answer["paired"]:
                yield (
                    f"fig3 {row['m']} dead, {plural(row['pairs'], 'pair')}: iterative − batch {_points(row, 'difference_total', 'low', 'high')} at equal "
                    f"total budget, {_points(row, 'difference_last', 'low_last', 'high_last')} at equal last-step budget"
                )
        case "fig4":
            for epsilon, one in answer["return_rate"].items():
                yield f"fig4 ε = {100 * float(epsilon):g} points: {one['returned']} of {plural(one['left'], 'repair')} returned to U"
            for kind, one in answer["barriers"].items():
                yield f"fig4 {kind}: barrier {100 * one['mean']:.2f} points, at most {100 * one['max']:.2f}, {plural(one['pairs'], 'pair')}"
        case "curves":
            for row in answer["rows"]:
                yield (
                    f"curves {row['pair_type']}, {row['m']} dead: barrier {100 * row['line']['mean']:.2f} points on the straight line, "
                    f"{100 * row['curve']['mean']:.2f} on the curve, {plural(row['pairs'], 'pair')}"
                )
        case "chip_fig3":
            for row in answer["comparisons"]:
                yield (
                    f"{figure.name} {row['m']} dead {row['loss']}, {row['learner']}, {row['accounting']}: iterative − batch "
                    f"{_difference(row)}; {row['better']}"
                )
            for row in answer["controls"]:
                who = "" if row["learner"] is None else f", {row['learner']}"
                yield f"{figure.name} control {row['control']}{who}, {row['m']} dead {row['loss']}: {100 * row['accuracy']:.2f} %"
        case "chip_fig1":
            for name, one in answer["change_point"].items():
                mark = answer["thresholds"][name]
                half = "no" if mark["half"] is None else f"{100 * mark['half']:.1f} %"
                yield f"{figure.name} {name}: half-way at {half} dead; {one['verdict']}"
        case "chip_fig2":
            for row in answer["recovery"]:
                if row["m"] and row["tolerance"] == answer["headline"]:
                    cycles = row["cycles"] if isinstance(row["cycles"], str) else f"{row['cycles']:.2f}"
                    who = row["strategy"] if row["learner"] is None else f"{row['strategy']} · {row['learner']}"
                    yield (
                        f"{figure.name} {who}, {row['m']} dead {row['loss']}: {cycles} cycles to within {100 * row['tolerance']:g} points, "
                        f"{row['reached']} of {plural(row['pairs'], 'draw')}, best {100 * row['best']:.2f} %"
                    )
        case "chip_fig4":
            for loss, rates in answer["return_rate"].items():
                for epsilon, one in rates.items():
                    yield f"{figure.name} dead {loss}, ε = {100 * float(epsilon):g} points: {one['returned']} of {plural(one['left'], 'repair')} returned to U"
                for kind, one in answer["barriers"][loss].items():
                    yield f"{figure.name} dead {loss}, {kind}: barrier {100 * one['mean']:.2f} points, at most {100 * one['max']:.2f}, {plural(one['pairs'], 'pair')}"
        case "chip_ranking":
            for row in answer["rows"]:
                yield f"{figure.name} {row['learner']}, {row['change']} {row['value']}: iterative − batch {_difference(row)}; {row['better']}"
        case "chip_networks" | "chip_damages" | "chip_heartbeats" | "chip_maps":
            yield from verdicts(figure)
        case "chip_declines":
            for row in answer["rows"]:
                yield f"{figure.name} {row['network']}, dead {row['loss']}: half-way at {_share(row['half'])}; {row['verdict']}"
        case "chip_availability":
            yield from availability.verdicts(figure)
        case _:
            return


def _weights(found: Any) -> str:
    """Return digests of trained weights: one, or by number of base, or these by network."""
    if not isinstance(found, dict):
        return str(found)
    return ", ".join(f"{name} ({_weights(one)})" if isinstance(one, dict) else f"base {name} {one}" for name, one in found.items())


def _share(value: float | None) -> str:
    return "no" if value is None else f"{100 * value:.1f} %"


def _cycles(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}"


def _points(row: dict[str, Any], mean: str, low: str, high: str) -> str:
    span = "" if row[low] is None else f" [{100 * row[low]:+.2f}, {100 * row[high]:+.2f}]"
    return f"{100 * row[mean]:+.2f}{span} points"


def _difference(row: dict[str, Any]) -> str:
    span = "" if row["low"] is None else f" [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
    return f"{100 * row['difference']:+.2f}{span} points, {plural(row['pairs'], 'draw')}"
