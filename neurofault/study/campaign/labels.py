"""What curves are called: every axis that varies and everything that tells two plans or two ways of healing apart, no two alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from neurofault.faults import Fault, fault_to_mapping
from neurofault.study.campaign.files import shown
from neurofault.study.campaign.spec import Campaign, Cell
from neurofault.study.campaign.ways import Rescue

_VARIED = object()
"""Stands for a parameter that an axis of its plan varies."""
_LEVELS = 3
"""How much a label may say: what is mostly enough, every parameter, everything."""


def x_axis(cell: Cell) -> str | None:
    """Return the axis that a curve runs along: the first number of faults, else the first one that varies outside the rescue."""
    names = list(cell.axes)
    own = [name for name in names if name.startswith("faults.") and name.rsplit(".", 1)[-1] in ("count", "rate")]
    return next(iter([*own, *[name for name in names if not name.startswith("rescue.")]]), None)


def line_of(cell: Cell) -> tuple[Any, ...]:
    """Return what cells of one curve share: all but the value of the axis that it runs along."""
    x = x_axis(cell)
    return cell.plan, cell.way, x, tuple((name, repr(value)) for name, value in cell.axes.items() if name != x)


def lines_of(cells: Iterable[Cell]) -> dict[tuple[Any, ...], list[Cell]]:
    """Return the cells of each curve, in order."""
    lines: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        lines.setdefault(line_of(cell), []).append(cell)
    return lines


def labels_of(campaign: Campaign, cells: Sequence[Cell]) -> dict[int, str]:
    """Return the label of each cell's curve; cells of different curves have different ones."""
    lines = lines_of(cells)
    plans = _plans(cells)
    levels = dict.fromkeys(lines, 0)
    labels = {line: _label(campaign, plans, members[0], 0) for line, members in lines.items()}
    for _ in range(_LEVELS - 1):
        often = Counter(labels.values())
        for line, members in lines.items():
            if often[labels[line]] > 1:
                levels[line] += 1
                labels[line] = _label(campaign, plans, members[0], levels[line])
    often = Counter(labels.values())
    if any(count > 1 for count in often.values()):
        labels = {line: _label(campaign, plans, members[0], _LEVELS - 1) for line, members in lines.items()}
    return {cell.index: labels[line] for line, members in lines.items() for cell in members}


def words(value: Any) -> str:
    """Return a value as a label, a table or a legend shows it."""
    if isinstance(value, str):
        return str(shown(value))
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def _exactly(value: Any) -> str:
    """Return a value as it is shown and, where that leaves something out, as it is written."""
    shown_as, written = words(value), json.dumps(value, ensure_ascii=False)
    return shown_as if shown_as == written else f"{shown_as} {written}"


def _label(campaign: Campaign, plans: Mapping[int, list[dict[str, Any]]], cell: Cell, level: int) -> str:
    x = x_axis(cell)
    many = len(campaign.spec.faults) > 1 or len(campaign.spec.rescue) == 1
    own = (f"rescue.{cell.way}.strategy", f"rescue.{cell.way}.learner")  # said by the label of the rescue
    varied = {name: value for name, value in cell.axes.items() if name != x and (level == _LEVELS - 1 or name not in own)}
    names = _short(varied) if level == 0 else {name: name.replace(".", " ") for name in varied}
    say = words if level < _LEVELS - 1 else _exactly
    others = ", ".join(f"{names[name]} {say(value)}" for name, value in varied.items())
    budget = ", ".join(
        f"{name} {value if level else words(value)}"
        for name, value in _budget(campaign, cell, level).items()
        if f"rescue.{cell.way}.{name}" not in varied
    )
    exact = f"faults {cell.plan}, rescue {cell.way}" if level == _LEVELS - 1 else ""
    parts = (_faults(plans, cell, level) if many or level else "", others, cell.rescue.label, budget, exact)
    return " · ".join(part for part in parts if part)


def _short(axes: Mapping[str, Any]) -> dict[str, str]:
    """Return short names of axes: the last word where it says enough."""
    last = {name: name.rsplit(".", 1)[-1] for name in axes}
    often = Counter(last.values())
    taken = set(Rescue.model_fields) | {"seed", "name"}
    return {
        name: word
        if often[word] == 1 and not word.isdigit() and (word not in taken or name.startswith(("rescue.", "faults.")))
        else name.replace(".", " ")
        for name, word in last.items()
    }


def _plans(cells: Sequence[Cell]) -> dict[int, list[dict[str, Any]]]:
    """Return, for each plan, the parameters of each of its faults; what an axis varies is :data:`_VARIED`."""
    plans: dict[int, list[dict[str, Any]]] = {}
    for cell in cells:
        found = [fault_to_mapping(fault) for fault in cell.faults]
        known = plans.setdefault(cell.plan, found)
        for index, fault in enumerate(found[: len(known)]):
            for name in {**fault, **known[index]}:
                if known[index].get(name) != fault.get(name):
                    known[index][name] = _VARIED
    return plans


def _faults(plans: Mapping[int, list[dict[str, Any]]], cell: Cell, level: int) -> str:
    """Return the faults of a cell with the parameters in which its plan differs from others of the same kinds (level 1 up: with all)."""
    kinds = _kinds(cell.faults)
    mine = plans[cell.plan]
    alike = [plan for plan in plans.values() if [fault.get("kind") for fault in plan] == [fault.get("kind") for fault in mine]]
    texts = []
    for index, kind in enumerate(kinds):
        fixed = mine[index] if index < len(mine) else {}
        fields = {name: value for name, value in fixed.items() if name != "kind"}
        if level == 0:
            fields = {name: value for name, value in fields.items() if any(plan[index].get(name) != value for plan in alike)}
        told = ", ".join(
            f"{name} {'varied' if value is _VARIED else words(value)}"
            for name, value in fields.items()
            if level or value is not _VARIED
        )
        texts.append(f"{kind} ({told})" if told else kind)
    return " + ".join(texts)


def _kinds(faults: Sequence[Fault]) -> list[str]:
    return [fault.kind for fault in faults]


def _budget(campaign: Campaign, cell: Cell, level: int) -> dict[str, Any]:
    """Return what tells a cell's way of healing from the others of the same strategy: what it sets and some do not."""
    ways = [way for way in campaign.spec.rescue if way.strategy == cell.rescue.strategy]
    fields = [name for name in Rescue.model_fields if name not in ("strategy", "learner")]
    differing = [name for name in fields if level or any(getattr(way, name) != getattr(cell.rescue, name) for way in ways)]
    usual = Rescue.model_fields
    return {name: getattr(cell.rescue, name) for name in differing if getattr(cell.rescue, name) != usual[name].default}
