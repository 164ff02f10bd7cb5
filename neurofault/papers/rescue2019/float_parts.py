"""What of the figures of networks of floats can be computed apart; see :mod:`neurofault.papers.rescue2019.parts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from neurofault.papers.rescue2019.bases import Base
from neurofault.papers.rescue2019.curves import Place, path, places
from neurofault.papers.rescue2019.float_declines import Condition, conditions, curve
from neurofault.papers.rescue2019.float_declines import places as orders_of
from neurofault.papers.rescue2019.float_repairs import (
    WAYS,
    FloatRepair,
    batch,
    history,
    iterative,
    snapshots,
    until_recovered,
    waiting,
)
from neurofault.papers.rescue2019.floats import End, Floats, ends

Stages = Sequence[Sequence[Callable[[Floats], object]]]


def _trained(floats: Floats, base: Base) -> None:
    floats.study.network(base)


def _curve(floats: Floats, condition: Condition, number: int, order: int) -> None:
    curve(floats.study, condition, number, order)


def _history(floats: Floats, repair: FloatRepair) -> None:
    history(floats.study, repair)


def _way(floats: Floats, repair: FloatRepair) -> None:
    history(floats.study, repair)
    snapshots(floats.study, repair)


def _line(floats: Floats, kind: str, one: End, other: End) -> None:
    floats.line(kind, one, other)


def _repaired(floats: Floats, repair: FloatRepair) -> None:
    snapshots(floats.study, repair)


def _path(floats: Floats, one: Place, other: Place) -> None:
    path(floats.study, one, other)


def _bases(floats: Floats, kinds: set[tuple[tuple[int, ...], float]]) -> list[Callable[[Floats], object]]:
    """Return the trainings of some kinds of networks, by widths and dropout."""
    numbers = range(floats.study.setting.bases)
    return [
        partial(_trained, base=floats.study.base(hidden, number, dropout))
        for hidden, dropout in sorted(kinds)
        for number in numbers
    ]


def _fig1(floats: Floats) -> Stages:
    study = floats.study
    lines = [
        partial(_curve, condition=one, number=number, order=order) for one in conditions(study) for number, order in orders_of(study, one)
    ]  # fmt: skip
    return [_bases(floats, {(one.hidden, one.dropout) for one in conditions(study)}), lines]


def _repairs(floats: Floats, repairs: Sequence[FloatRepair]) -> Stages:
    study = floats.study.setting.study
    first = _bases(floats, {(study, one.dropout) for one in repairs})
    return [first, [partial(_history, repair=one) for one in dict.fromkeys(repairs)]]


def _fig2(floats: Floats) -> Stages:
    study, setting = floats.study, floats.study.setting
    return _repairs(floats, [
        until_recovered(setting, way, pair, m)
        for way in WAYS for m in (setting.deaths if way.hurts else (0,)) for pair in way.pairs(study)
    ])  # fmt: skip


def _fig3(floats: Floats) -> Stages:
    study, setting = floats.study, floats.study.setting
    longest, found = max(setting.deaths), list[FloatRepair]()
    fresh = next(way for way in WAYS if way.name == "fresh-subnetwork")
    for pair in study.pairs:
        found += [
            iterative(setting, pair, longest), iterative(setting, pair, longest, until_recovered=True),
            batch(setting, pair, longest, "sham"),
        ]  # fmt: skip
    for m in setting.deaths:
        for pair in study.pairs:
            found += [batch(setting, pair, m, "batch"), waiting(study, pair, m), until_recovered(setting, WAYS[0], pair, m)]
        found += [until_recovered(setting, fresh, pair, m) for pair in fresh.pairs(study)]
    return _repairs(floats, found)


def _fig4(floats: Floats) -> Stages:
    study, setting = floats.study, floats.study.setting
    ways = [partial(_way, repair=iterative(setting, pair, max(setting.deaths))) for pair in study.pairs]
    lines = [partial(_line, kind=kind, one=one, other=other) for kind, one, other in ends(study)]
    return [_bases(floats, {(setting.study, 0.0)}), ways, lines]


def _curves(floats: Floats) -> Stages:
    study, listed = floats.study, list(places(floats.study))
    repairs = dict.fromkeys(end.repair(study) for _, *both in listed for end in both if end.dead)
    paths = [partial(_path, one=one, other=other) for _, one, other in listed]
    return [_bases(floats, {(study.setting.study, 0.0)}), [partial(_repaired, repair=one) for one in repairs], paths]


FLOAT_PARTS: Mapping[str, Callable[[Floats], Stages]] = {
    "fig1": _fig1, "fig2": _fig2, "fig3": _fig3, "fig4": _fig4, "curves": _curves,
}  # fmt: skip
"""Figure of networks of floats → its parts."""
