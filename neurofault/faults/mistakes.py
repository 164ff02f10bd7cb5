"""What is wrong with a fault: every mistake with its place in the mapping that names it, in words that a user can act on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from neurofault.errors import FaultError, nearest

MOST = (1 << 31) - 1
"""Largest id, count or other whole number of a fault, where its field says no less."""


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        text: what is wrong, what is allowed, the nearest match.
        path: keys from the fault's mapping to what is wrong; the last of them may be missing there.
        at_key: whether the last key itself is wrong, not its value.
    """

    text: str
    path: tuple[str, ...] = ()
    at_key: bool = False

    def inside(self, key: str) -> Mistake:
        """Return it as one of the mapping that holds its own under a key."""
        return Mistake(f"{key}: {self.text}", (key, *self.path), self.at_key)

    def behind(self, words: str) -> Mistake:
        """Return it with some words in front."""
        return replace(self, text=f"{words}: {self.text}")


class FaultMistakes(FaultError):
    """Everything that is wrong with one fault, a line each.

    Args:
        mistakes: each with its place.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistake.text for mistake in self.mistakes))

    def __reduce__(self) -> tuple[type[FaultMistakes], tuple[tuple[Mistake, ...]]]:
        return type(self), (self.mistakes,)


class Wrong(ValueError):
    """What a validator found wrong with one field's value.

    Args:
        mistakes: each with its place in the fault's mapping.
    """

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(mistake.text for mistake in self.mistakes))


def said(value: object) -> str:
    """Return a value as a message shows it: what Python would write, cut short; a number beyond all bounds is only called that."""
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number beyond 64 bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the smallest and largest number of a field; None where it says none of its own (±:data:`MOST` is everybody's)."""
    low: Any = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    high: Any = next((one.le for one in field.metadata if isinstance(one, Le)), None)
    return (None if low == -MOST else low), (None if high == MOST else high)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Return what a field may hold, where that is a list of names or numbers; empty: it is no choice."""
    hints = (field.annotation, *get_args(field.annotation))
    return tuple(str(one) for hint in hints if get_origin(hint) is Literal for one in get_args(hint))


def span(field: FieldInfo) -> str:
    """Return the range of a field in words, ``0 to 1``, ``from 0``, ``above 0, at most 1``; empty: it says none of its own."""
    low, high = bounds(field)
    above: Any = next((one.gt for one in field.metadata if isinstance(one, Gt)), None)
    below: Any = next((one.lt for one in field.metadata if isinstance(one, Lt)), None)
    if low is not None and high is not None:
        return f"{low} to {high}"
    ends = {"from": low, "above": above, "at most": high, "below": below}
    return ", ".join(f"{word} {end}" for word, end in ends.items() if end is not None)


def without_range(model: type[BaseModel]) -> list[str]:
    """Return the names of the fields of a kind that are numbers, and say neither their smallest nor their largest."""
    ends, found = (Ge, Gt, Le, Lt), []
    for name, field in model.model_fields.items():
        hint = field.annotation
        kinds = set(get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)) - {NoneType}
        if kinds <= {int, float} and not any(isinstance(one, ends) for one in field.metadata):
            found.append(name)
    return found


def in_words(error: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """Put what pydantic says of a fault into words: unknown keys first, then the fields in their order."""
    unknown, found = [], []
    allowed = list(model.model_fields)
    for item in error.errors(include_url=False):
        if item["type"] in ("extra_forbidden", "invalid_key"):
            key = item["loc"][-1] if item["type"] == "extra_forbidden" else item["input"]
            text = f"unknown key {said(key)}{nearest(said(key), allowed)}; allowed: {', '.join(allowed)}"
            unknown.append(Mistake(text, (str(key),), at_key=True))
        elif not item["loc"]:
            found.append(Mistake(f"must be a mapping, is {said(item['input'])}"))
        elif item["type"] == "value_error":
            found += item["ctx"]["error"].mistakes
        else:
            name = str(item["loc"][0])
            found.append(
                Mistake(f"{name} must {_must(item['type'], item['input'], model.model_fields[name], item['msg'])}", (name,))
            )
    return unknown + found


def _must(kind: str, value: Any, field: FieldInfo, otherwise: str) -> str:
    """Return what a field's value must be, and what it is; ``otherwise``: in pydantic's words, of what only kinds of one's own ask for."""
    names, (low, high), words = choices(field), bounds(field), span(field)
    match kind:
        case "literal_error":
            return f"be {' or '.join(names)}, is {said(value)}{nearest(said(value), names)}"
        case "bool_type":
            return f"be true or false, is {said(value)}"
        case "int_type":
            return f"be a whole number, is {said(value)}"
        case "float_type":
            return f"be a number, is {said(value)}"
        case "string_type":
            return f"be a name, is {said(value)}"
    if kind == "multiple_of" or not isinstance(value, int | float):
        return f"be given otherwise: {otherwise}; it is {said(value)}"
    if low is not None and high is not None and not low <= value <= high:
        return f"lie in [{low}, {high}], is {said(value)}"
    if low is not None and (math.isnan(value) or value < low):
        return f"be at least {low}, is {said(value)}"
    if kind == "finite_number":
        return f"be a finite number within 64 bits, is {said(value)}"
    if kind in ("greater_than", "less_than") or (high is not None and value > high):
        return f"be {words}, is {said(value)}"
    return f"lie within ±{MOST:,}, is {said(value)}"
