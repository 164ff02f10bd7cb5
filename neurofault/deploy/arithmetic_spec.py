"""The ``arithmetic:`` of a hardware profile: the name of a known one, or a record of what its neurons do in a step."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neurofault.deploy.quantity import RECORD, Evidence, Keys, check_sources
from neurofault.graph.arithmetic import Arithmetic, Decay, DecayKind, Overflow, Register, Reset, Rounding


class DecaySpec(BaseModel):
    """What a state x loses in a step, by a stored number d of each neuron (:class:`neurofault.graph.arithmetic.Decay`).

    Attributes:
        kind: ``multiply``: x·(2**bits − d − more)/2**bits; ``shift``: x − (x >> d); ``linear``: x − d towards 0; ``none``.
        most: the largest d that is stored; 0 for none. Of ``shift`` at most 31, and at most the register's bits.
        bits: of ``multiply``: 1 to 16.
        rounding: of ``multiply``: towards ``zero``, or ``floor``.
        more: of ``multiply``: 0 or 1.
        tail: of ``shift``: what is not 0 loses at least 1.
    """

    model_config = RECORD

    kind: DecayKind
    most: int = Field(default=0, ge=0, le=1 << 16)
    bits: int = Field(default=12, ge=1, le=16)
    rounding: Rounding = "zero"
    more: Literal[0, 1] = 0
    tail: bool = False

    @property
    def own(self) -> frozenset[str]:
        """The keys, beside ``kind``, that a decay of this kind has."""
        of = {"multiply": {"most", "bits", "rounding", "more"}, "shift": {"most", "tail"}, "linear": {"most"}, "none": set[str]()}
        return frozenset(of[self.kind])

    @field_validator("most")
    @classmethod
    def _shifts(cls, most: int, info: ValidationInfo) -> int:
        if info.data.get("kind") == "shift" and most > 31:
            raise PydanticCustomError("no_such_shift", "a decay shifts by at most 31, not {most}", {"most": most})
        return most

    @model_validator(mode="after")
    def _of_its_kind(self) -> DecaySpec:
        of, own = self.own - {"most"}, type(self).model_fields
        given = {name for name in ("bits", "rounding", "more", "tail") if getattr(self, name) != own[name].default}
        wrong = sorted(given - of)
        if wrong:
            text = "a decay of kind {kind} has no {field}; it has: {allowed}"
            allowed = ", ".join(sorted(of)) or "kind and most alone"
            raise PydanticCustomError("not_of_this_kind", text, {"kind": self.kind, "field": wrong[0], "allowed": allowed})
        if self.kind != "none" and not self.most:
            raise PydanticCustomError(
                "no_decay", "a decay of kind {kind} needs most, the largest number that is stored", {"kind": self.kind}
            )
        return self


class RegisterSpec(BaseModel):
    """What holds a state of a neuron (:class:`neurofault.graph.arithmetic.Register`).

    Attributes:
        bits: its width.
        signed: two's complement; else from 0 on.
        overflow: ``saturate`` or ``wrap``.
        decay: what it loses in a step.
    """

    model_config = RECORD

    bits: int = Field(ge=2, le=32)
    signed: bool = True
    overflow: Overflow = "saturate"
    decay: DecaySpec = DecaySpec(kind="none")

    def register_of(self) -> Register:
        """Return it as the package computes with it."""
        return Register(self.bits, self.signed, self.overflow, Decay(**self.decay.model_dump()))


_Resets = Annotated[tuple[Reset, ...], Field(strict=False, min_length=1)]


class ArithmeticSpec(BaseModel):
    """How the neurons of a chip compute (:class:`neurofault.graph.arithmetic.Arithmetic`, which has the equations).

    Attributes:
        name: for display.
        evidence: how it is known.
        note: what is simplified, or why it is assumed.
        source: keys of what says so; what is assumed may go without.
        v: the membrane.
        u: the synaptic current; null: what arrives goes into v.
        threshold: ``">"`` or ``">="``, in quotes.
        resets: what a spike may do to v: ``zero``, ``subtract``, ``none``.
        reset_delays: steps from a spike to its reset, of 0 and 1.
        spikes: of a neuron in a step, at most.
        shift: of sums and thresholds, to the left.
        sums: whether sums join u ``after_decay`` or ``before_decay``.
        partly: whether v changes in steps that are each held in its width.
        floor: whether neurons have a lower bound of v.
        floor_resets: whether v may be reset below it (TrueNorth).
        below: ``"<"`` or ``"<="``, in quotes: when v is beyond its floor, where it is reset there.
        reset_to: whether neurons have a number of their own that a reset ``zero`` leaves v at.
        refractory: the most refractory steps that a neuron counts, those after the step of a spike; 0: none. ``facts.refractory_max``, where it is given,
            counts the step of the spike too, and is one more.
    """

    model_config = RECORD

    name: str = Field(min_length=1, max_length=40)
    evidence: Evidence
    note: str | None = None
    source: Keys = Field(default=(), validate_default=True)
    v: RegisterSpec
    u: RegisterSpec | None
    threshold: Literal[">", ">="]
    resets: _Resets
    reset_delays: Annotated[tuple[Literal[0, 1], ...], Field(strict=False, min_length=1)] = (0,)
    spikes: int = Field(default=1, ge=1, le=255)
    shift: int = Field(default=0, ge=0, le=16)
    sums: Literal["after_decay", "before_decay"] = "after_decay"
    partly: bool = False
    floor: bool = False
    floor_resets: bool = False
    below: Literal["<", "<="] = "<"
    reset_to: bool = False
    refractory: int = Field(default=0, ge=0, le=1 << 20)

    @field_validator("source")
    @classmethod
    def _sourced(cls, source: Keys, info: ValidationInfo) -> Keys:
        if not source and (info.data.get("evidence") != "assumed" or not info.data.get("note")):
            text = "the arithmetic has no source (add source: KEY, a key of sources; or evidence: assumed and a note that says why)"
            raise PydanticCustomError("no_source", text)
        check_sources(source, info)
        return source

    @model_validator(mode="after")
    def _consistent(self) -> ArithmeticSpec:
        wrong = self.arithmetic_of().mistake()
        if wrong is not None:
            raise PydanticCustomError("contradiction", "{wrong}", {"wrong": wrong})
        return self

    def arithmetic_of(self) -> Arithmetic:
        """Return it as the package computes with it."""
        own: dict[str, Any] = {
            name: getattr(self, name) for name in type(self).model_fields if name not in ("source", "evidence", "note", "v", "u")
        }
        return Arithmetic(v=self.v.register_of(), u=None if self.u is None else self.u.register_of(), **own)


KnownArithmetic = Literal["loihi", "lava"]
"""``loihi``: the chip computes as Lava 0.10's ``fixed_pt``; ``lava``: it computes otherwise, or that is not published, and Lava's law is simulated on
its places."""


def _branch(given: Any) -> str:
    return "record" if isinstance(given, dict | ArithmeticSpec) else "name"


AnyArithmetic = Annotated[
    Annotated[KnownArithmetic, Tag("name")] | Annotated[ArithmeticSpec, Tag("record")],
    Discriminator(_branch),
]
"""What a profile's ``arithmetic`` may be."""


def computes(arithmetic: KnownArithmetic | ArithmeticSpec, chip: str) -> str:
    """Return in words whose integers are simulated, and whether the chip has others.

    >>> computes("loihi", "loihi2"), computes("lava", "darwin3")
    ("Lava's integer arithmetic", "Lava's integer arithmetic on the places of darwin3, whose own it is not")
    """
    if isinstance(arithmetic, ArithmeticSpec):
        return f"the integer arithmetic of {arithmetic.name} ({arithmetic.evidence})"
    return "Lava's integer arithmetic" + ("" if arithmetic == "loihi" else f" on the places of {chip}, whose own it is not")
