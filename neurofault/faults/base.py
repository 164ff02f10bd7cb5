"""What every kind of fault shares: how many, where, when; validated with every mistake at once.

A kind is a pydantic model. It says how many in exactly one way: ``count``, ``rate`` or an explicit list. Its fields carry their text, unit,
range and choices, from which :func:`neurofault.faults.describe`, the messages and the JSON Schema of campaigns are made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from neurofault.damage.when import Clock
from neurofault.errors import FaultError
from neurofault.faults.environment import exposed
from neurofault.faults.mistakes import MOST, FaultMistakes, Mistake, Wrong, in_words, without_range
from neurofault.faults.timing import PERMANENT, WHENS, Timing, timing_from, timing_schema

if TYPE_CHECKING:
    from neurofault.faults.context import Context, FaultOutcome

F = TypeVar("F", bound="Fault")

Part = Literal["links", "routers", "chips", "boards", "shared_memory", "crossbar", "learning"]
"""A part that not every chip has."""


def _timing(value: object) -> Timing:
    try:
        return timing_from(value)
    except FaultMistakes as error:
        raise Wrong(error.mistakes) from None


def _place(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_When = Annotated[Timing, PlainValidator(_timing), WithJsonSchema(timing_schema())]
_At = Annotated[
    str | Sequence[str] | Mapping[str, Any],
    PlainValidator(_place),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}, {"type": "object", "maxProperties": 1}]}),
]


class Fault(BaseModel, ABC):
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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

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
    clocks: ClassVar[tuple[Clock, ...]] = ("presentation", "chip")
    """Clocks of the windows that it may have; ``chip`` alone where something happens between samples only."""
    stored: ClassVar[bool] = False
    """Whether a stored bit breaks, which keeps an upset until it is rewritten."""
    single_bits: ClassVar[bool] = False
    """Whether a site is one stored bit, so that an environment can say the rate."""
    needs: ClassVar[Part | None] = None
    """What a chip must have for it; None: every chip has."""
    breaks: ClassVar[str] = "silent"
    """What of its sites it breaks, in the words of the edits (``holds`` of neurons, ``does`` of synapses, ``part`` of a learning engine)."""

    count: int | None = Field(default=None, description="how many sites", ge=0, le=MOST)
    rate: float | None = Field(default=None, description="probability of each site", ge=0, le=1)
    where: Literal["random", "clustered", "least_important", "most_important"] = Field(
        default="random", description="how sites are chosen"
    )
    layer: str | None = Field(
        default=None, description="hidden (default), input, hidden1 …, output, any, spare, or a layer's own name"
    )
    at: _At | None = Field(default=None, description='physical place, e.g. "core:0-7", "chip:0", "tile:3", "word:0-63"')
    when: _When = Field(default=PERMANENT, description=f"when it acts: {', '.join(WHENS)}")
    again: Literal["later", "never", "always"] = Field(
        default="later", description="whether a site that is broken for good may be drawn again"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Refuse a kind of which a number could be any: what is out of its range would be taken silently."""
        super().__pydantic_init_subclass__(**options)
        if bare := without_range(cls):
            raise FaultError(
                f"{getattr(cls, 'kind', cls.__name__)}: parameter {bare[0]!r} is a number without a range; say its smallest and largest: "
                f"{bare[0]}: … = Field(default=…, ge=…, le=…), of pydantic"
            )

    @field_validator("rate", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        """Take an exposure, ``{environment: low_earth_orbit, days: 30}``, for a rate."""
        if not isinstance(value, Mapping):
            return value
        try:
            return exposed(value, stored_bits=cls.single_bits)
        except FaultMistakes as error:
            raise Wrong([mistake.inside("rate") for mistake in error.mistakes]) from None

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_given(cls, value: Any, handler: Callable[[Any], Any]) -> Any:
        """Keep a whole number for a real one as it was given: a fault's mapping says it, and a trial's identity is made of that."""
        checked = handler(value)
        if not isinstance(checked, float) or not isinstance(value, int | float):
            return checked
        if isinstance(value, int) and abs(value) >= 1 << 63:
            raise PydanticKnownError("finite_number")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls: type[F], values: Any, handler: Callable[[Any], F]) -> F:
        """Raise one error with everything that is wrong, in our words, in place of pydantic's."""
        made, wrong = None, list[Mistake]()
        try:
            made = handler(values)
            wrong += made.contradictions(vars(made))
        except ValidationError as error:
            wrong += in_words(error, cls)
            if isinstance(values, Mapping):
                known = {name: values.get(name, field.default) for name, field in cls.model_fields.items()}
                wrong += cls.contradictions(known)
        if made is None or wrong:
            raise FaultMistakes([mistake.behind(cls.kind) for mistake in wrong])
        return made

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> list[Mistake]:
        """Return what is wrong between fields, without the kind in front.

        Args:
            given: value of each field; of one that is wrong by itself what was given for it.
        """
        found = []
        ways = ("count", "rate", cls.list_field)
        said = [name for name in ways if given[name] is not None]
        if len(said) != 1:
            which = f"not {' and '.join(said)}" if said else "none is given"
            found.append(Mistake(f"say how many in one way: count, rate or {cls.list_field}; {which}", tuple(said[:1])))
        with suppress(FaultError):
            when = timing_from(given["when"])
            if when.kind not in cls.whens:
                found.append(Mistake(f"when: {when.kind} is not possible here; {', '.join(cls.whens)}", ("when", "kind")))
            elif when.kind != "permanent" and when.clock not in cls.clocks:
                found.append(Mistake("when: it acts between samples, so steps within one say nothing; use clock: chip", ("when",)))
        return found

    def replace(self: F, **changes: Any) -> F:
        """Return the same fault with other values of some fields.

        Raises:
            FaultError: what comes out cannot be.
        """
        return type(self)(**{**vars(self), **changes})

    __replace__ = replace

    def __str__(self) -> str:
        return repr(self)

    @abstractmethod
    def resolve(self, context: Context) -> FaultOutcome:
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


class ConnectionFault(Fault):
    """What kinds share whose sites are synapses of a connection, or what carries its spikes (abstract: use one of the kinds).

    Attributes:
        connection: name of one connection, in place of ``layer``, which names all connections into its populations.
    """

    connection: str | None = Field(
        default=None, description="one connection by its name, in place of layer: its synapses, words or messages"
    )

    @property
    def about(self) -> str:
        """See :attr:`Fault.about`."""
        return super().about if self.connection is None else f"connection {self.connection!r}"

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> list[Mistake]:
        """See :meth:`Fault.contradictions`."""
        found = super().contradictions(given)
        if given["layer"] is not None and given["connection"] is not None:
            found.append(Mistake("give layer or connection, not both", ("layer",)))
        return found
