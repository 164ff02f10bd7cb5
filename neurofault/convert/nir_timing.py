"""When spikes arrive in a graph whose connections say how many steps later they act, as delays of a chip.

In NIR what a node sends acts in the same step, over a Delay of d steps d steps later; a loop without a Delay acts one step later, which every framework
means by recurrence. On a chip each connection takes a step at least, so each population begins its samples a step or more after those that drive it
(:mod:`neurofault.graph.schedule`), and what is left over is lag:

- the step of a loop falls on its connections that do not lead further away from the inputs (all of them where two populations are equally far);
- a loop over k populations takes k steps on the chip, however few the file means: what acts later than the file means is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from neurofault.errors import ConversionError
from neurofault.graph.schedule import Schedule
from neurofault.graph.synapses import MOST_DELAY
from neurofault.numerals import plural


@dataclass(frozen=True)
class MeantLink:
    """A connection as a file means it; also what :class:`Schedule` takes for one.

    Attributes:
        source, target: names of populations.
        steps: of its Delay nodes, 0 or more.
        name, delay: its number as text, and one step.
    """

    source: str
    target: str
    steps: int
    name: str = ""
    delay: int = 1


@dataclass(frozen=True)
class TimedPlace:
    """A population, as :class:`Schedule` takes it."""

    name: str
    is_source: bool
    size: int = 1


@dataclass(frozen=True)
class Arrival:
    """A connection as the chip has it.

    Attributes:
        delay: of the connection, at least 1.
        extra: delay of each of its synapses on top, 0 to 63.
        lag: steps that its spikes act after they were sent, each population's steps counted from its own first one.
        meant: steps that the file means.
    """

    delay: int
    extra: int
    lag: int
    meant: int


@dataclass(frozen=True)
class ArrivalTimes:
    """When populations begin, and how connections get there.

    Attributes:
        order: populations, each behind those that drive it but for loops.
        arrivals: one a link.
    """

    order: tuple[str, ...]
    arrivals: tuple[Arrival, ...]


def timing_of(where: str, places: Sequence[TimedPlace], links: Sequence[MeantLink]) -> ArrivalTimes:
    """Return when spikes arrive.

    Args:
        where: file name, for messages.
        places: the populations.
        links: what drives them; several may join the same two.

    Raises:
        ConversionError: a Delay that all of a population's ways from the inputs have, of more than 63 steps.
    """
    names = [one.name for one in places]
    depth = _depths(places, links)
    far = len(names)
    together = _parts(places, links)
    at_once = _parts(places, [one for one in links if not one.steps])
    meant, forward = [], []
    for one in links:
        back = (
            not one.steps
            and at_once[one.source] == at_once[one.target]
            and depth.get(one.target, far) <= depth.get(one.source, far)
        )
        meant.append(1 if back else one.steps)
        forward.append(not back and (together[one.source] != together[one.target] or not one.steps))
    phase = _phases(names, depth, [one for one, leads in zip(links, forward, strict=True) if leads], together)
    lags = [max(own, 1 + phase[one.source] - phase[one.target]) for one, own in zip(links, meant, strict=True)]
    extra = _first_ways(where, links, lags, depth)
    arrivals = tuple(
        Arrival(lag - more + phase[one.target] - phase[one.source], more, lag, own)
        for one, lag, more, own in zip(links, lags, extra, meant, strict=True)
    )
    return ArrivalTimes(tuple(sorted(names, key=lambda name: (phase[name], names.index(name)))), arrivals)


def _depths(places: Sequence[TimedPlace], links: Sequence[MeantLink]) -> dict[str, int]:
    """Return how many connections lead from the inputs to each population that they reach."""
    after: dict[str, list[str]] = {one.name: [] for one in places}
    for one in links:
        after[one.source].append(one.target)
    depth = {one.name: 0 for one in places if one.is_source}
    queue = deque(depth)
    while queue:
        name = queue.popleft()
        for target in after[name]:
            if target not in depth:
                depth[target] = depth[name] + 1
                queue.append(target)
    return depth


def _parts(places: Sequence[TimedPlace], links: Sequence[MeantLink]) -> dict[str, int]:
    """Return the number of the strongly connected part of each population."""
    islands = Schedule.of(places, links).islands
    return {name: number for number, island in enumerate(islands) for name in island}


def _phases(names: Sequence[str], depth: dict[str, int], links: Sequence[MeantLink], parts: dict[str, int]) -> dict[str, int]:
    """Return when populations begin, over links without loops: each behind all that drive it, and those of a loop as late as the ones of it that they drive allow.

    So a detour into a loop makes all of the loop begin later, and not its way round longer. What no input reaches begins as late as those need it that it drives.
    """
    after: dict[str, list[str]] = {name: [] for name in names}
    before: dict[str, list[str]] = {name: [] for name in names}
    for one in links:
        after[one.source].append(one.target)
        before[one.target].append(one.source)
    phase = dict.fromkeys(names, 0)
    ordered = _behind(names, before, after)
    ordered.sort(key=lambda name: parts[name])  # a part is behind those that lead to it; the order within each stays
    for _, members in groupby(ordered, key=lambda name: parts[name]):
        own = list(members)
        for name in own:
            phase[name] = max((phase[source] + 1 for source in before[name]), default=0)
        for name in reversed(own):
            inside = [phase[target] for target in after[name] if parts[target] == parts[name]]
            phase[name] = max(phase[name], min(inside, default=0) - 1)
    for name in reversed(ordered):
        if name not in depth and after[name]:
            phase[name] = min(phase[target] for target in after[name]) - 1
    return phase


def _behind(names: Sequence[str], before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """Return populations behind those that drive them, over links without loops."""
    waiting = {name: len(before[name]) for name in names}
    ready, ordered = deque(name for name in names if not waiting[name]), list[str]()
    while ready:
        ordered.append(ready.popleft())
        for target in after[ordered[-1]]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return ordered


def _first_ways(where: str, links: Sequence[MeantLink], lags: Sequence[int], depth: dict[str, int]) -> list[int]:
    """Return what of each lag must be a delay of the synapses, so that each population has a way from the inputs by which it begins when it should."""
    first: dict[str, int] = {}
    for number, one in enumerate(links):
        if one.source in depth and depth[one.source] < depth[one.target]:
            best = first.setdefault(one.target, number)
            if lags[number] < lags[best]:
                first[one.target] = number
    extra = [0] * len(links)
    for target, number in first.items():
        extra[number] = lags[number]
        if lags[number] > MOST_DELAY:
            raise ConversionError(
                f"{where}: node {target!r}: every way to it from the input takes {plural(lags[number], 'step')} of Delay or more; at most {MOST_DELAY} are taken: "
                "leave the Delay out, which only makes the answer come later"
            )
    return extra
