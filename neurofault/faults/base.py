"""What every kind of fault shares: how many, where, when; validated with every mistake at once.

A model says how many in exactly one way: ``count``, ``rate`` or an explicit list. Its fields carry their own documentation, from
which :func:`neurofault.faults.describe` and the checks are made.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, SupportsInt, TypeGuard

import numpy as np

from neurofault.errors import FaultError, nearest
from neurofault.faults.ranges import turned
from neurofault.faults.timing import PERMANENT, WHENS, Timing, timing_from
from neurofault.numerals import natural

if TYPE_CHECKING:
    from neurofault.faults.context import Context, Outcome

MOST = (1 << 31) - 1
"""Largest id, count or other whole number of a fault, where its field says no less."""
MOST_LISTED = 1 << 20
"""Sites of an explicit list."""
AGAIN = ("later", "never", "always")
"""Whether a site that is broken for good may be drawn again: only by a later injection; never; also by the same plan."""

WHERE = ("random", "clustered", "least_important", "most_important")
"""How sites are chosen: uniformly; growing outwards over the mesh from a random core; in the order of what depends on them."""


def param(
    default: Any, text: str, *, unit: str = "", low: float | None = None, high: float | None = None, choices: Sequence[str] = (),
) -> Any:  # fmt: skip
    """Return a dataclass field that documents and checks itself.

    Args:
        default: value if none is given.
        text: what it is, for ``faults describe``.
        unit: of the number.
        low: smallest allowed number.
        high: largest allowed number.
        choices: allowed names.
    """
    return field(default=default, metadata={"text": text, "unit": unit, "low": low, "high": high, "choices": tuple(choices)})


def listed(text: str, width: int = 1) -> Any:
    """Return the dataclass field of an explicit list: ids and ranges (width 1), tuples of ``width`` numbers, or names (width 0)."""
    return field(default=None, metadata={"text": text, "width": width})


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """What every kind shares (abstract: use one of the kinds).

    Attributes:
        count: how many sites, at least 0.
        rate: probability of each site, 0 to 1; the number is the binomial quantile of one keyed number for a draw.
        where: ``random``; ``clustered`` (neighbours on the mesh, growing outwards from a random core); ``least_important`` or
            ``most_important`` first.
        layer: populations: ``hidden`` (all that are neither an input nor the readout), ``input``, ``hidden1`` …, ``output``, ``any``, or
            one's own name; of faults of synapses and messages: the connections into them. ``spare``: the spare cores (kinds of cores and
            learning, ``memory_word_dead``, ``synapse_bit_stuck``).
        at: physical place that the sites must lie in: ``"core:0-7"``, ``"chip:0"``, ``"tile:3"``, ``"word:0-63"``; a list is a
            union, ``{all_of: […]}`` an intersection. With it, ``layer`` defaults to ``any``.
        when: :class:`neurofault.faults.timing.Timing` or its mapping.
        again: whether sites that are broken for good may be drawn again: ``later`` (default) passes over those that earlier faults of
            this kind in the same plan broke, ``never`` over all at which nothing is left to break, ``always`` over none.

    Raises:
        FaultError: all that is out of range, in one text.
    """

    kind: ClassVar[str]
    site: ClassVar[str]
    """What one site is, for messages: ``used cores``, ``neurons`` …"""
    list_field: ClassVar[str]
    """Name of the field that holds an explicit list."""
    equation: ClassVar[str]
    mechanism: ClassVar[str]
    sources: ClassVar[tuple[str, ...]]
    neighbours: ClassVar[str] = "–"
    """How other tools name it."""
    whens: ClassVar[tuple[str, ...]] = tuple(WHENS)
    stored: ClassVar[bool] = False
    """Whether a stored bit breaks, which keeps an upset until it is rewritten."""

    count: int | None = param(None, "how many sites", low=0)
    rate: float | None = param(None, "probability of each site", low=0, high=1)
    where: str = param("random", "how sites are chosen", choices=WHERE)
    layer: str | None = param(None, "hidden (default), input, hidden1 …, output, any, spare, or a layer's own name")
    at: str | Sequence[str] | Mapping[str, Any] | None = param(
        None, 'physical place, e.g. "core:0-7", "chip:0", "tile:3", "word:0-63"'
    )
    when: Timing = field(default=PERMANENT, metadata={"text": f"when it acts: {', '.join(WHENS)}"})
    again: str = param("later", "whether a site that is broken for good may be drawn again", choices=AGAIN)

    def __post_init__(self) -> None:
        object.__setattr__(self, self.list_field, _tidy(getattr(self, self.list_field), self._list_width()))
        found = []
        try:
            object.__setattr__(self, "when", timing_from(self.when))
        except FaultError as error:
            found = str(error).split("\n")
        if isinstance(self.at, list):
            object.__setattr__(self, "at", tuple(self.at))
        found += self.mistakes()
        if found:
            raise FaultError("\n".join(f"{self.kind}: {mistake}" for mistake in found))

    @abstractmethod
    def resolve(self, context: Context) -> Outcome:
        """Turn the model into edits on a deployment.

        Raises:
            FaultError: what it asks for does not exist there.
        """

    @property
    def sites(self) -> tuple[Any, ...] | None:
        """The explicit list, if one was given."""
        given: tuple[Any, ...] | None = getattr(self, self.list_field)
        return given

    @property
    def layers(self) -> str:
        """The layer's name, or what stands for it: ``hidden``, or ``any`` where ``at`` names a place."""
        return self.layer if self.layer is not None else "hidden" if self.at is None else "any"

    @property
    def about(self) -> str:
        """What it is about, for messages: ``layer 'hidden'``."""
        return f"layer {self.layers!r}"

    @property
    def stored_words(self) -> bool:
        """Whether its sites lie in words of the synapse memory."""
        return self.site in ("stored synapses", "stored bits")

    def _list_width(self) -> int:
        return int(type(self).__dataclass_fields__[self.list_field].metadata["width"])

    def mistakes(self) -> list[str]:
        """Return what is wrong with this model, without the kind in front."""
        found = []
        given = [name for name in ("count", "rate", self.list_field) if getattr(self, name) is not None]
        if len(given) != 1:
            said = f"not {' and '.join(given)}" if given else "none is given"
            found.append(f"say how many in one way: count, rate or {self.list_field}; {said}")
        found += _check_list(self.list_field, getattr(self, self.list_field), self._list_width())
        for one in fields(self):
            if one.name not in ("at", "when", self.list_field):
                found += _check(one.name, getattr(self, one.name), str(one.type), one.metadata)
        if isinstance(self.when, Timing) and self.when.kind not in self.whens:
            found.append(f"when: {self.when.kind} is not possible here; {', '.join(self.whens)}")
        return found


@dataclass(frozen=True, kw_only=True)
class ConnectionFault(Fault):
    """What kinds share whose sites are synapses of a connection, or what carries its spikes (abstract: use one of the kinds).

    Attributes:
        connection: name of one connection, in place of ``layer``, which names all connections into its populations.
    """

    connection: str | None = param(None, "one connection by its name, in place of layer: its synapses, words or messages")

    @property
    def about(self) -> str:
        """See :attr:`Fault.about`."""
        return super().about if self.connection is None else f"connection {self.connection!r}"

    def mistakes(self) -> list[str]:
        """See :meth:`Fault.mistakes`."""
        found = super().mistakes()
        if self.layer is not None and self.connection is not None:
            found.append("give layer or connection, not both")
        return found


def _check(name: str, value: object, kind: str, limits: Mapping[str, Any]) -> list[str]:
    """Return the mistakes of one field."""
    if value is None and "None" in kind:
        return []
    if limits["choices"]:
        good = isinstance(value, str) and value in limits["choices"]
        return (
            []
            if good
            else [f"{name} must be {' or '.join(limits['choices'])}, is {said(value)}{nearest(said(value), limits['choices'])}"]
        )
    if kind.startswith("bool"):
        return [] if isinstance(value, bool) else [f"{name} must be true or false, is {said(value)}"]
    if kind.startswith(("int", "float")):
        if isinstance(value, bool) or not isinstance(value, int if kind.startswith("int") else int | float):
            return [f"{name} must be a {'whole ' if kind.startswith('int') else ''}number, is {said(value)}"]
        low, high = limits["low"], limits["high"]
        if math.isnan(value) or (low is not None and value < low) or (high is not None and value > high):
            allowed = "be a number" if low is None else f"be at least {low}" if high is None else f"lie in [{low}, {high}]"
            return [f"{name} must {allowed}, is {said(value)}"]
        if kind.startswith("float"):  # what leaves a field's range saturates it
            finite = math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 63
            return [] if finite else [f"{name} must be a finite number within 64 bits, is {said(value)}"]
        return [] if -MOST <= value <= MOST else [f"{name} must lie within ±{MOST:,}, is {said(value)}"]
    return [] if isinstance(value, str) or "Sequence" in kind else [f"{name} must be a name, is {said(value)}"]


def said(value: object) -> str:
    """Return a value as a message shows it: what Python would write, cut short; a number beyond all bounds is only called that."""
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number beyond 64 bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _tidy(values: object, width: int) -> object:
    """Turn a list of ids (``[3, "5-7"]``) into a sorted tuple, other lists into tuples; anything else is returned as it is."""
    if values is None or isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        return values
    if width != 1:
        return tuple(tuple(row) if isinstance(row, Iterable) and not isinstance(row, str) else row for row in values)
    values = list(values)
    if any(map(turned, values)):
        return values
    ids: set[int] = set()
    for value in values:
        if isinstance(value, str):
            first, dash, last = value.partition("-")
            low, high = natural(first), natural(last if dash else first)
            if low is None or high is None or not 0 <= high - low <= MOST_LISTED or high > MOST:
                return values
            ids.update(range(low, high + 1))
        elif _whole(value):
            ids.add(int(value))
        else:
            return values
        if len(ids) > MOST_LISTED:
            return values
    return tuple(sorted(ids))


def _whole(value: object) -> TypeGuard[SupportsInt]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) <= MOST


def _check_list(name: str, values: object, width: int) -> list[str]:
    """Return the mistakes of an explicit list that went through :func:`_tidy`."""
    if values is None:
        return []
    if width == 1 and isinstance(values, list):
        wrong = {value: right for value in values if isinstance(value, str) and (right := turned(value)) is not None}
        if wrong:
            return [
                f"{name}: {value!r} hits nothing: the lower end comes first (did you mean {wrong[value]!r}?)" for value in wrong
            ]
    match width:
        case 0:
            good = isinstance(values, tuple) and all(isinstance(value, str) for value in values)
            shape = "a list of names"
        case 1:
            good = isinstance(values, tuple)
            shape = 'a list of whole numbers or ranges such as "4-7"'
        case _:
            good = isinstance(values, tuple) and all(
                isinstance(row, tuple) and len(row) == width and all(_whole(index) for index in row) for row in values
            )
            shape = f"a list of lists of {width} whole numbers"
    if not good:
        return [f"{name} must be {shape}, is {said(values)}"]
    assert isinstance(values, tuple)
    if width == 1 and any(value < 0 for value in values):
        return [f"{name} must be at least 0, not {values[0]}"]
    if width != 1 and len(set(values)) < len(values):
        return [f"{name} names the same one twice"]
    return []
