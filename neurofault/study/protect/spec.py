"""What a protection may be, in words: ``secded:0.05:atlas``, or a mapping such as ``{kind: secded, share: 0.05, by: atlas, word: 64}``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neurofault.deploy.protection import Ordered, Outside, Per, Seen
from neurofault.errors import FaultError, SpecError, UsageError, nearest
from neurofault.faults.base import Fault
from neurofault.faults.defects import defects_of, load_defects
from neurofault.faults.models import fault_to_mapping
from neurofault.specfile import checked, parse_yaml
from neurofault.specnodes import Mark, Node

By = Literal["atlas", "fitted", "importance", "random"]
"""What decides which bits come first."""
NeuronsBy = Literal["atlas", "importance", "random"]
"""What decides which neurons come first."""
Unit = Literal["bit", "row", "plane"]
"""What is covered as one: single bits, one bit of all synapses of a row, one bit of all synapses of a connection."""

_RECORD = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
_Share = Annotated[float, Field(gt=0, le=1)]


class CodeSpec(BaseModel):
    """Code words over stored bits.

    Attributes:
        kind: ``secded`` puts one wrong bit of a word right and sees two; ``parity`` sees an odd number.
        layer, connection: whose weights, as of faults: ``any`` (default), ``hidden``, ``output``, a layer's own name; or one connection.
        share: bits that are covered, of all stored bits there, above 0 to 1; null (and no budget): all.
        budget: in place of ``share``: stored bits that may be added, of all stored bits there: as many bits are covered as their check bits and
            the map of what is covered leave room for.
        by: which bits come first: those that change most predictions (``atlas``), those whose flip changes the weight most, times the spikes that read it
            (``importance``), that fitted to the atlas (``fitted``, which knows the ranges that are asked for beside it), or ``random``, the control.
        unit: what is covered as one.
        word: data bits of a code word at most.
        seen: what is done with a word in which an error is seen that is not put right: it is read as it is (``keep``), or as zeros (``mute``);
            null: ``keep`` with secded, ``mute`` with parity.
        scrub: of secded, steps of the chip from one correcting pass over all words to the next; null: none.
        samples: of all choices but ``random``, how many of the samples that are given are looked at, from the first.
    """

    model_config = _RECORD
    kind: Literal["secded", "parity"]
    layer: str | None = None
    connection: str | None = None
    share: _Share | None = None
    budget: _Share | None = None
    by: By = "atlas"
    unit: Unit = "bit"
    word: Annotated[int, Field(ge=1, le=4096)] = 64
    seen: Seen | None = None
    scrub: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    samples: Annotated[int, Field(ge=1, le=1 << 31)] = 1000

    @model_validator(mode="after")
    def _fits(self) -> CodeSpec:
        if self.share is not None and self.budget is not None:
            raise ValueError("give share or budget, not both")
        if self.layer is not None and self.connection is not None:
            raise ValueError("give layer or connection, not both")
        if self.scrub is not None and self.kind != "secded":
            raise ValueError("scrub goes with secded: parity puts nothing right")
        return self

    @property
    def whole(self) -> bool:
        """Whether every bit is covered."""
        return self.budget is None and (self.share is None or self.share == 1)

    @property
    def needs_samples(self) -> bool:
        """Whether the choice of bits looks at samples."""
        return not self.whole and self.by != "random"

    def __str__(self) -> str:
        much = "all" if self.whole else f"{self.share:g}" if self.share is not None else f"budget {self.budget:g}"
        return f"{self.kind}:{much}" if self.whole else f"{self.kind}:{much}:{self.by}"


class RangeSpec(BaseModel):
    """The range of the healthy weights; what is read beyond it is put inside (SoftSNN, Putra et al. 2022).

    Attributes:
        kind: ``bounds``.
        layer, connection: whose weights.
        per: what has a range of its own: the ``connection``, each ``target`` neuron, or each ``source`` neuron.
        outside: a weight beyond it reads the nearest end (``clip``) or 0 (``mute``).
    """

    model_config = _RECORD
    kind: Literal["bounds"]
    layer: str | None = None
    connection: str | None = None
    per: Per = "target"
    outside: Outside = "mute"

    @model_validator(mode="after")
    def _fits(self) -> RangeSpec:
        if self.layer is not None and self.connection is not None:
            raise ValueError("give layer or connection, not both")
        return self

    @property
    def needs_samples(self) -> bool:
        """Whether the choice looks at samples: no."""
        return False

    def __str__(self) -> str:
        return f"bounds:{self.per}:{self.outside}"


class OrderSpec(BaseModel):
    """The order in which the bits of stored weights lie in their cells: each unit's is turned so that the cells that a test found stuck do least harm (ReSpawn, RescueSNN).

    Attributes:
        kind: ``remap_bits``.
        defects: what the test found: a defect map, as the name of its file (not in a campaign) or as a list of faults that name their sites; or ``tested``: each
            chip is tested before it is used, and what is stuck on it from the start, by whatever fault, is known; nothing that breaks later, and no upset.
        unit: what has an order of its own: ``row`` (the synapses of a source on a core; of shared kernels a channel's), or each stored ``word``.
        layer, connection: whose weights, as of faults: ``any`` (default), ``hidden``, ``output``, a layer's own name; or one connection.
    """

    model_config = _RECORD
    kind: Literal["remap_bits"]
    defects: str | list[dict[str, Any]]
    unit: Ordered = "row"
    layer: str | None = None
    connection: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> OrderSpec:
        if self.layer is not None and self.connection is not None:
            raise ValueError("give layer or connection, not both")
        if not isinstance(self.defects, str):
            self.known()
        return self

    @property
    def tested(self) -> bool:
        """Whether each chip's own stuck cells are known."""
        return self.defects == "tested"

    @property
    def needs_samples(self) -> bool:
        """Whether the choice looks at samples: no."""
        return False

    def known(self) -> tuple[Fault, ...]:
        """Return what the test found, none where each chip is tested.

        Raises:
            ValueError: entries that are wrong, do not name their sites, or break later than a test is made.
            FaultError, SpecError: the file cannot be read as a defect map.
        """
        if self.tested:
            return ()
        try:
            found = load_defects(self.defects) if isinstance(self.defects, str) else defects_of(self.defects)
        except FaultError as error:
            if isinstance(self.defects, str):
                raise
            raise ValueError(str(error)) from None
        for number, one in enumerate(found):
            if fault_to_mapping(one).get("when") is not None:
                raise ValueError(
                    f"defect {number + 1}: a test finds what is broken from the start, nothing that breaks at a time of its own (when)"
                )
        return found

    def __str__(self) -> str:
        return f"remap_bits:{self.defects if isinstance(self.defects, str) else 'a list'}:{self.unit}"


class FloorSpec(BaseModel):
    """The lowest potential of each neuron on healthy samples; what would fall below is held there (bounded membranes of RescueSNN and ReSpawn).

    Attributes:
        kind: ``potentials``.
        layer: whose neurons, as of faults: ``any`` (default), ``hidden``, ``output``, a layer's own name; inputs are left as they are.
        samples: how many of the samples that are given are looked at, from the first.
    """

    model_config = _RECORD
    kind: Literal["potentials"]
    layer: str | None = None
    samples: Annotated[int, Field(ge=1, le=1 << 31)] = 1000

    @property
    def needs_samples(self) -> bool:
        """Whether the choice looks at samples: always."""
        return True

    def __str__(self) -> str:
        return "potentials"


class CopySpec(BaseModel):
    """Three copies of neurons, each on cores of its own, and a voter that fires where two of them do.

    Attributes:
        kind: ``tmr``.
        layer: whose neurons, as of faults; null: those of all hidden layers.
        share: neurons that are copied, of those of a layer, above 0 to 1; null (and no cores): all.
        cores: in place of ``share``: cores that may be added, at most.
        by: which come first: those whose death changes most predictions (``atlas``), those with the largest spikes · Σ|outgoing weights|
            (``importance``), or ``random``, the control.
        unit: what is chosen as one: a ``neuron``, or all neurons of a layer on a ``core``.
        voters: where they sit: dealt out over the cores of the neurons that they drive (``target``), or each slice's on a core of its own (``own``).
        samples: of ``by: atlas`` and ``importance``, how many of the samples that are given are looked at, from the first.
    """

    model_config = _RECORD
    kind: Literal["tmr"]
    layer: str | None = None
    share: _Share | None = None
    cores: Annotated[int, Field(ge=1, le=1 << 31)] | None = None
    by: NeuronsBy = "importance"
    unit: Literal["neuron", "core"] = "neuron"
    voters: Literal["target", "own"] = "target"
    samples: Annotated[int, Field(ge=1, le=1 << 31)] = 1000

    @model_validator(mode="after")
    def _fits(self) -> CopySpec:
        if self.share is not None and self.cores is not None:
            raise ValueError("give share or cores, not both")
        return self

    @property
    def whole(self) -> bool:
        """Whether every neuron is copied."""
        return self.cores is None and (self.share is None or self.share == 1)

    @property
    def needs_samples(self) -> bool:
        """Whether the choice of neurons looks at samples."""
        return not self.whole and self.by != "random"

    def __str__(self) -> str:
        if self.whole:
            return "tmr"
        return f"tmr:{f'{self.share:g}' if self.share is not None else f'{self.cores} cores'}:{self.by}"


class MuteSpec(BaseModel):
    """A watcher for each neuron that is chosen, which silences it for the rest of the sample once it has fired more than healthy samples ever show.

    Attributes:
        kind: ``mute``.
        layer: whose neurons, as of faults; null: those of all hidden layers.
        share: neurons that are watched, of those of the layers, above 0 to 1; null: all.
        by: which come first: those with the most spikes · Σ|outgoing weights| to send too many (``importance``), or ``random``, the control.
        relays: where watchers and relays sit: dealt out over the cores of the neurons that they drive (``target``), or each slice's on a core of its own (``own``).
        samples: how many of the samples that are given are looked at, from the first.
    """

    model_config = _RECORD
    kind: Literal["mute"]
    layer: str | None = None
    share: _Share | None = None
    by: Literal["importance", "random"] = "importance"
    relays: Literal["target", "own"] = "target"
    samples: Annotated[int, Field(ge=1, le=1 << 31)] = 1000

    @property
    def whole(self) -> bool:
        """Whether every neuron is watched."""
        return self.share is None or self.share == 1

    @property
    def needs_samples(self) -> bool:
        """Whether the choice looks at samples: always."""
        return True

    def __str__(self) -> str:
        return "mute" if self.share is None or self.whole else f"mute:{self.share:g}:{self.by}"


AnySpec = CodeSpec | RangeSpec | OrderSpec | FloorSpec | CopySpec | MuteSpec
"""One protection."""
Protect = Annotated[AnySpec, Field(discriminator="kind")]
"""One protection, as a document holds it."""
KINDS = ("secded", "parity", "bounds", "remap_bits", "potentials", "tmr", "mute")
Given = str | Mapping[str, Any] | AnySpec
"""One protection as it may be given."""


_RECORDS: Mapping[str, type[AnySpec]] = {
    "bounds": RangeSpec,
    "remap_bits": OrderSpec,
    "potentials": FloorSpec,
    "tmr": CopySpec,
    "mute": MuteSpec,
}
_WORDS = {"bounds": ("per", "outside"), "remap_bits": ("defects", "unit"), "potentials": ("layer",)}
"""What follows a kind in a text; of all others share and by."""


def spec_of(given: Given) -> AnySpec:
    """Return what is meant by a text, a mapping or a record.

    >>> str(spec_of("secded:0.05:random")), spec_of({"kind": "bounds", "outside": "clip"}).per
    ('secded:0.05:random', 'target')

    Args:
        given: ``kind``, ``kind:share``, ``kind:share:by`` of codes, ``tmr:share:by`` and ``mute:share:by`` likewise, ``bounds:per:outside`` of ranges, ``remap_bits:tested:unit`` of orders of bits (or the name of a defect map in the place of ``tested``), ``potentials:layer``; or a mapping with the fields of :class:`CodeSpec`,
            :class:`RangeSpec`, :class:`OrderSpec`, :class:`FloorSpec`, :class:`CopySpec` or :class:`MuteSpec`, also as YAML in a text.

    Raises:
        UsageError: everything that is wrong with it.
    """
    if isinstance(given, AnySpec):
        return given
    if isinstance(given, str) and given.lstrip().startswith("{"):
        _, root = parse_yaml(given, "protect")
    else:
        root = _node(_in_words(given) if isinstance(given, str) else given)
    if not isinstance(root.value, dict):
        raise UsageError(
            f"a protection is a text such as secded:0.05:atlas, or a mapping such as {{kind: secded}}; is {given!r:.80}"
        )
    kind = root.value.get("kind")
    if kind not in KINDS:
        raise UsageError(f"protect: unknown kind {kind!r:.80}{nearest(str(kind)[:80], KINDS)}; kinds: {', '.join(KINDS)}")
    try:
        return checked(root, _RECORDS.get(kind, CodeSpec), filename="protect")
    except SpecError as error:
        raise UsageError("\n".join(error.mistakes)) from None


def _node(value: Any) -> Node:
    """Return a value as a document, of which no place is known."""
    node = Node(value, Mark(0, 0))
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, each in items:
        node.add(key, _node(each))
        if isinstance(value, Mapping):
            node.keys[str(key)] = Mark(0, 0)
    return node


def _in_words(text: str) -> dict[str, Any]:
    kind, *rest = text.split(":")
    keys = _WORDS.get(kind, ("share", "by"))
    if kind not in KINDS:
        raise UsageError(f"protect: unknown kind {kind!r:.80}{nearest(kind[:80], KINDS)}; kinds: {', '.join(KINDS)}")
    if len(rest) > len(keys):
        raise UsageError(f"protect {text!r:.80}: at most {':'.join(('kind', *keys))}; a mapping {{kind: {kind}, …}} says more")
    found: dict[str, Any] = {"kind": kind, **dict(zip(keys, rest, strict=False))}
    if "share" in found:
        if found["share"] == "all":
            found["share"] = 1.0
        else:
            try:
                found["share"] = float(found["share"])
            except ValueError:
                raise UsageError(
                    f"protect {text!r:.80}: share must be a number above 0, at most 1, or all, is {found['share']!r}"
                ) from None
    return found


def specs_of(given: Given | Sequence[Given]) -> tuple[AnySpec, ...]:
    """Return several protections, or one, as :func:`spec_of` does."""
    if isinstance(given, str | Mapping | AnySpec):
        return (spec_of(given),)
    return tuple(map(spec_of, given))


def asked_as(spec: AnySpec) -> str:
    """Return a protection as YAML in one line, defaults left out.

    >>> asked_as(spec_of("secded:0.05:random"))
    '{"kind": "secded", "share": 0.05, "by": "random"}'
    """
    return json.dumps({"kind": spec.kind, **spec.model_dump(mode="json", exclude_defaults=True)})
