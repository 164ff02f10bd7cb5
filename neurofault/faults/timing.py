"""When a fault acts: ``when=transient(3, 8)`` in Python is ``when: {kind: transient, start: 3, stop: 8}`` in YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neurofault.damage.when import ALWAYS, Clock, When
from neurofault.errors import nearest
from neurofault.faults.mistakes import FaultMistakes, Mistake
from neurofault.numerals import plural

WHENS: Mapping[str, tuple[str, ...]] = {
    "permanent": (),
    "transient": ("start", "stop"),
    "intermittent": ("on", "off", "start"),
    "periodic": ("period", "start"),
    "once": ("at",),
    "death": ("at",),
    "ageing": ("start", "stop", "shape"),
}
"""Kinds of time windows and the parameters of each."""

MOST_STEPS = 1 << 40
"""Largest step and number of steps."""
MOST_SHAPE = 1000
"""Largest shape of ageing."""


def _needed(kind: str, name: str) -> bool:
    """Whether a kind of window cannot be without one of its parameters."""
    return name != "shape" and (name != "start" or kind in ("transient", "ageing"))


def _least(name: str) -> int:
    """Return the smallest number of steps of a parameter."""
    return 1 if name in ("on", "off", "period") else 0


def timing_schema() -> dict[str, Any]:
    """Return the JSON Schema of what :func:`timing_from` takes: a mapping for each kind, or the name of one without parameters."""
    clock = {"enum": ["presentation", "chip"], "default": "presentation"}
    steps: dict[str, dict[str, Any]] = {
        name: {"type": "integer", "minimum": _least(name), "maximum": MOST_STEPS} for names in WHENS.values() for name in names
    }
    steps["shape"] = {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_SHAPE}
    kinds = [
        {
            "type": "object",
            "properties": {"kind": {"const": kind}, **{name: steps[name] for name in names}, "clock": clock},
            "required": ["kind", *(name for name in names if _needed(kind, name))],
            "additionalProperties": False,
        }
        for kind, names in WHENS.items()
    ]
    alone = [kind for kind, names in WHENS.items() if not any(_needed(kind, name) for name in names)]
    return {"anyOf": [*kinds, {"enum": alone}]}


@dataclass(frozen=True)
class Timing:
    """In which steps a fault acts.

    Attributes:
        kind: ``permanent``;
            ``transient``: from ``start`` up to, not including, ``stop``;
            ``intermittent``: ``on`` steps broken, ``off`` steps sound, and again, from ``start``;
            ``periodic``: one step in each ``period``, from ``start``;
            ``once``: an upset at step ``at`` (a stored bit keeps it until it is rewritten);
            ``death``: broken from step ``at`` on;
            ``ageing``: the sites fail one after the other between ``start`` and ``stop``: of k sites, n have failed when
            the fraction ((t − start)/(stop − start))**shape reaches n/k.
        start, stop, on, off, period, at: steps.
        shape: of ageing, > 0: 1 is a constant rate, above 1 wear-out (Weibull's shape).
        clock: ``presentation``: steps of a sample, 0 … T − 1, anew for each; ``chip``: steps since the chip started, from 1.
    """

    kind: str = "permanent"
    start: int | None = None
    stop: int | None = None
    on: int | None = None
    off: int | None = None
    period: int | None = None
    at: int | None = None
    shape: float | None = None
    clock: Clock = "presentation"

    def __post_init__(self) -> None:
        mistakes = list(self._mistakes())
        if mistakes:
            raise FaultMistakes([Mistake(f"when: {text}", ("when", name)) for name, text in mistakes])

    def _mistakes(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with it: (field, text)."""
        if not isinstance(self.kind, str) or self.kind not in WHENS:
            yield "kind", f"unknown kind {self.kind!r:.80}{nearest(str(self.kind)[:80], WHENS)}; kinds: {', '.join(WHENS)}"
            return
        wrong = False
        for name, text in self._mistakes_of_parts(WHENS[self.kind]):
            wrong = True
            yield name, text
        if not wrong and self.stop is not None and self.stop <= (self.start or 0):
            yield "stop", f"stop {self.stop} must come after start {self.start}"

    def _mistakes_of_parts(self, takes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if self.clock not in ("presentation", "chip"):
            yield "clock", f"clock must be presentation or chip, is {self.clock!r:.80}"
        for name, value in asdict(self).items():
            least = _least(name)
            if name in ("kind", "clock"):
                continue
            if value is None:
                if name in takes and _needed(self.kind, name):
                    yield "kind", f"{self.kind} needs {name}"
            elif name not in takes:
                yield name, f"{self.kind} takes no {name}; it takes {', '.join((*takes, 'clock'))}"
            elif name == "shape":
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_SHAPE:
                    yield name, f"shape must be above 0 and at most {MOST_SHAPE}, is {value!r:.80}"
            elif isinstance(value, bool) or not isinstance(value, int):
                yield name, f"{name} must be a whole number of steps, is {value!r:.80}"
            elif value < least:
                yield name, f"{name} must be at least {least}, is {value}"
            elif value > MOST_STEPS:
                yield name, f"{name} must be at most {MOST_STEPS:,} steps"

    def window(self, *, stored: bool) -> When:
        """Return the active steps (of ageing: those of the first site).

        Args:
            stored: what breaks is a stored bit, which keeps an upset; else the fault is gone after the step of ``once``.
        """
        start, clock = self.start or 0, self.clock
        match self.kind:
            case "permanent":
                return ALWAYS
            case "transient":
                return When(start, self.stop, clock=clock)
            case "intermittent":
                assert self.on is not None
                assert self.off is not None
                return When(start, None, self.on + self.off, self.on, clock)
            case "periodic":
                return When(start, None, self.period, 1, clock)
            case "once" if not stored:
                assert self.at is not None
                return When(self.at, self.at + 1, clock=clock)
            case _:
                return When(self.at if self.at is not None else start, clock=clock)

    def onsets(self, count: int) -> list[tuple[int, int, When]]:
        """Return for ageing ``(first site, last site + 1, active steps)``: who of ``count`` sites fails when."""
        assert self.start is not None
        assert self.stop is not None
        span, shape = self.stop - self.start, self.shape or 1.0
        steps = [self.start + min(span, math.ceil(span * ((site + 1) / count) ** (1 / shape) - 1e-9)) for site in range(count)]
        groups = [site for site in range(count) if site == 0 or steps[site] != steps[site - 1]]
        ends = [*groups[1:], count] if groups else []
        return [(a, b, When(steps[a], clock=self.clock)) for a, b in zip(groups, ends, strict=True)]

    def never(self, timesteps: int) -> str | None:
        """Return why it can never act on the presentation clock, or None."""
        first = next((value for value in (self.at, self.start) if value is not None), 0)
        if self.clock == "presentation" and first >= timesteps:
            return f"when: a sample lasts {plural(timesteps, 'step')} (0 to {timesteps - 1}), so step {first} of the presentation never comes"
        return None

    def __str__(self) -> str:
        given = [f"{name} {value}" for name, value in asdict(self).items() if value is not None and name not in ("kind", "clock")]
        steps = f" ({', '.join(given)} of the {self.clock})" if given else ""
        return f"{self.kind}{steps}"


PERMANENT = Timing()
"""All the time."""


def transient(start: int, stop: int, *, clock: Clock = "presentation") -> Timing:
    """Broken from step ``start`` up to, not including, ``stop``."""
    return Timing("transient", start=start, stop=stop, clock=clock)


def intermittent(on: int, off: int, *, start: int = 0, clock: Clock = "presentation") -> Timing:
    """Broken for ``on`` steps, sound for ``off`` steps, and again, from ``start``."""
    return Timing("intermittent", start=start, on=on, off=off, clock=clock)


def periodic(period: int, *, start: int = 0, clock: Clock = "presentation") -> Timing:
    """Broken for one step in each ``period``, from ``start``."""
    return Timing("periodic", start=start, period=period, clock=clock)


def once(at: int, *, clock: Clock = "presentation") -> Timing:
    """Return an upset at step ``at``: one step, or in stored bits until they are rewritten."""
    return Timing("once", at=at, clock=clock)


def death(at: int, *, clock: Clock = "chip") -> Timing:
    """Broken for good from step ``at`` on (of the chip, unless said)."""
    return Timing("death", at=at, clock=clock)


def ageing(start: int, stop: int, *, shape: float = 1.0, clock: Clock = "chip") -> Timing:
    """Sites fail one after the other between ``start`` and ``stop``."""
    return Timing("ageing", start=start, stop=stop, shape=shape, clock=clock)


def timing_from(value: object) -> Timing:
    """Return the timing that a mapping, or the name of a kind without parameters, stands for.

    Raises:
        FaultError: unknown kind or key, or contradictory times; all at once.
    """
    if isinstance(value, Timing):
        return value
    if isinstance(value, str):
        return Timing(value)
    if not isinstance(value, Mapping):
        text = f"when: must be a mapping such as {{kind: transient, start: 3, stop: 8}}, is {value!r:.80}"
        raise FaultMistakes([Mistake(text, ("when",))])
    allowed = list(Timing.__dataclass_fields__)
    unknown = [
        Mistake(
            f"when: unknown key {key!r:.80}{nearest(str(key)[:80], allowed)}; allowed: {', '.join(allowed)}",
            ("when", str(key)),
            at_key=True,
        )
        for key in value
        if key not in allowed
    ]
    known: dict[str, Any] = {str(key): item for key, item in value.items() if key in allowed}
    try:
        timing = Timing(**known)
    except FaultMistakes as error:
        raise FaultMistakes([*unknown, *error.mistakes]) from None
    if unknown:
        raise FaultMistakes(unknown)
    return timing
