"""`Quantity`: a number of a hardware profile, its unit, its source and how good the evidence is."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from neurofault.deploy.core_ids import core_problem
from neurofault.errors import UsageError, nearest

Evidence = Literal["measured", "calibrated", "simulated", "documented", "assumed"]
"""How a number is known, best first: measured on silicon, a model calibrated to silicon, a circuit simulation, stated by a
document or a program, assumed by us."""

EVIDENCE_ORDER: tuple[Evidence, ...] = ("measured", "calibrated", "simulated", "documented", "assumed")
"""Evidence from the strongest to the weakest; a result carries the weakest evidence among its inputs."""

RECORD = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

V = TypeVar("V")
U = TypeVar("U", bound=str)


Keys = Annotated[
    tuple[str, ...],
    Field(strict=False),
    BeforeValidator(lambda keys: (keys,) if isinstance(keys, str) else keys),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""A key, or a list of keys, into a profile's ``sources``; read as a tuple."""


class Quantity(BaseModel, Generic[V, U]):
    """One number of a profile and how it is known.

    In a file ``null`` alone, or leaving the key out, says that the number is not known.

    Attributes:
        value: the number (or list of allowed numbers, or flag) in ``unit``; None: unknown, not checked.
        unit: the one unit that the field takes; in a file ``J``, ``W`` and ``s`` may have a prefix (``pJ``, ``ns``), which is taken into the value.
        source: keys into the profile's ``sources``; what is assumed may go without, and so may a null that says why in ``note``.
        evidence: see :data:`Evidence`; only a null may go without.
        note: what a reader must know before trusting the number; of what is assumed, why.
    """

    model_config = RECORD

    value: V | None
    unit: U
    evidence: Evidence | None = None
    note: str | None = None
    source: Keys = Field(default=(), validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _not_bare(cls, data: Any) -> Any:
        units = get_args(cls.model_fields["unit"].annotation)
        if data is None and units:
            return {"value": None, "unit": units[0]}
        if not isinstance(data, dict | Quantity):
            text = "{data} has no source (write {value: {data}, unit: {unit}, source: …, evidence: …})"
            raise PydanticCustomError("no_source", text, {"data": json.dumps(data), "unit": units[0] if units else "…"})
        return _without_prefix(data, units[0]) if isinstance(data, dict) and units else data

    @field_validator("source")
    @classmethod
    def _sourced(cls, source: Keys, info: ValidationInfo) -> Keys:
        if not source and "value" in info.data and "evidence" in info.data:
            wrong = _unfounded(info.data["value"], info.data["evidence"], info.data.get("note"), source, info)
            if wrong is not None:
                raise PydanticCustomError("no_source", "{wrong}", {"wrong": wrong})
        check_sources(source, info)
        return source

    @model_validator(mode="after")
    def _founded(self, info: ValidationInfo) -> Quantity[V, U]:
        wrong = _unfounded(self.value, self.evidence, self.note, self.source, info)
        if wrong is not None:
            raise PydanticCustomError("no_reason", "{wrong}", {"wrong": wrong})
        return self

    @property
    def known(self) -> V:
        """The value.

        Raises:
            UsageError: if it is not known.
        """
        if self.value is None:
            reason = self.note or ", ".join(self.source) or "it is not given"
            raise UsageError(f"the profile leaves this number unknown: {reason}")
        return self.value


PREFIXES = {"f": -15, "p": -12, "n": -9, "µ": -6, "μ": -6, "u": -6, "m": -3}
"""Prefixes of ``J``, ``W`` and ``s`` in a file, and their powers of ten; µ is both of Unicode's signs."""


def _without_prefix(data: dict[str, Any], unit: str) -> dict[str, Any]:
    """Return a quantity given in ``pJ`` or such in its unit without a prefix, as exact as the decimal number that was written."""
    given, value = data.get("unit"), data.get("value")
    if unit not in ("J", "W", "s") or not isinstance(given, str) or given[1:] != unit or given[0] not in PREFIXES:
        return data
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = float(Decimal(str(value)).scaleb(PREFIXES[given[0]]))
    return data | {"unit": unit, "value": value}


def _per_event(most: float, unit: str) -> AfterValidator:
    """Refuse a cost that no event of a chip has, which is one whose power of ten was left out."""

    def check(value: float) -> float:
        if value > most:
            text = "{value} {unit} an event is more than any chip takes ({most} {unit} at most): was a prefix meant ({value} p{unit} are {pico} {unit})?"
            given = {"value": f"{value:g}", "unit": unit, "most": f"{most:g}", "pico": f"{value * 1e-12:g}"}
            raise PydanticCustomError("no_such_cost", text, given)
        return value

    return AfterValidator(check)


def not_given() -> Any:
    """Return the default of a quantity that a profile may leave out: a null of its unit."""
    return Field(default=None, validate_default=True)


def _unfounded(value: Any, evidence: Evidence | None, note: str | None, source: Keys, info: ValidationInfo) -> str | None:
    """Return what a quantity fails to say of how it is known; None: nothing.

    Args:
        value: as in :class:`Quantity`.
        evidence: likewise.
        note: likewise.
        source: likewise.
        info: knows the document where somebody writes a profile, in which what is assumed must say why; saved chips hold what was valid once.
    """
    if value is None:
        if source or note or evidence is None:
            return None
        return "a null value needs a source or a note that says why it is not known; or write null alone"
    number = f"the value {json.dumps(value)}"
    match evidence:
        case None if not source:
            return (
                f"{number} has no source and no evidence (add source: KEY, a key of sources, and evidence: documented; "
                "or evidence: assumed and a note that says why)"
            )
        case None:
            return f"{number} says no evidence (add evidence: one of {', '.join(EVIDENCE_ORDER)})"
        case "assumed":
            return (
                f"{number} is assumed and does not say why (add a note)"
                if "document" in (info.context or {}) and not note
                else None
            )
        case _ if not source:
            return f"{number} has no source (add source: KEY, a key of sources; or evidence: assumed and a note that says why)"
    return None


def check_sources(source: tuple[str, ...], info: ValidationInfo) -> None:
    """Refuse a key that the document's ``sources`` do not hold (checked where there is a document, see :func:`load_profile`)."""
    sources = (info.context or {}).get("document", {"sources": None}).get("sources", {})
    if not isinstance(sources, dict):
        return
    for key in source:
        if key not in sources:
            raise PydanticCustomError(
                "unknown_source",
                "{key} is not a key of sources{near}; keys: {keys}",
                {"key": repr(key), "near": nearest(key, sources), "keys": ", ".join(sources) or "none"},
            )


def must_be_known(quantity: Quantity[V, U]) -> Quantity[V, U]:
    """Refuse a quantity whose value is null."""
    if quantity.value is None:
        raise PydanticCustomError("unknown_value", "must be known: nothing can be placed without it")
    return quantity


def _is_core(entry: int | str) -> int | str:
    if (problem := core_problem(entry)) is not None:
        raise PydanticCustomError("not_a_core", "{problem}", {"problem": problem})
    return entry


def _some(entries: tuple[int | str, ...]) -> tuple[int | str, ...]:
    if not entries:
        raise PydanticCustomError("no_core", "names no core; leave the key out")
    return entries


Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Cost = Annotated[float, Field(ge=0.0)]
Cores = Annotated[Quantity[Positive, Literal["cores"]], AfterValidator(must_be_known)]
SomeCores = Quantity[Positive, Literal["cores"]]
ReservedCores = Quantity[
    Natural | Annotated[tuple[Annotated[Natural | str, AfterValidator(_is_core)], ...], Field(strict=False), AfterValidator(_some)],
    Literal["cores"],
]
"""How many cores with the lowest ids, or which ones."""
Tiles = Quantity[Positive, Literal["tiles"]]
Bits = Quantity[Natural, Literal["bits"]]
Axons = Quantity[Positive, Literal["axons"]]
Steps = Quantity[Natural, Literal["steps"]]
Integer = Quantity[int, Literal["1"]]
NaturalNumber = Quantity[Natural, Literal["1"]]
Exponent = Quantity[Annotated[int, Field(ge=-32, le=32)], Literal["1"]]
NaturalExponent = Quantity[Annotated[int, Field(ge=0, le=32)], Literal["1"]]
"""Of 2, of numbers of at most 32 bits."""
Flag = Quantity[bool, Literal["flag"]]
WeightBits = Annotated[
    Quantity[Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Field(strict=False, min_length=1)], Literal["bits"]],
    AfterValidator(must_be_known),
]
IndexBits = Quantity[Annotated[tuple[Natural, ...], Field(strict=False, min_length=1)], Literal["bits"]]
Joule = Quantity[Annotated[Cost, _per_event(1e-3, "J")], Literal["J"]]
"""An energy of one event in joules, at most 1 mJ."""
Watt = Quantity[Cost, Literal["W"]]
"""A power in watts."""
Second = Quantity[Annotated[Cost, _per_event(1.0, "s")], Literal["s"]]
"""A time of one event in seconds, at most 1 s."""
