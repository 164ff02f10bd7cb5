"""Every kind of fault, and the one grammar that names them in YAML and on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neurofault.errors import FaultError, nearest
from neurofault.faults.base import Fault
from neurofault.faults.communication import AxonLost, AxonMisrouted, LinkDead, LinkLossy, RouterDead
from neurofault.faults.cores import CoreDead, CoreHung, LearningFrozen, RoundingStuck, ThirdFactorDead, TraceStuck
from neurofault.faults.crossbar import AxonTypeFlip, CrossbarLineDead, TableFlip
from neurofault.faults.learners import ErrorDead, FeedbackDead
from neurofault.faults.mistakes import FaultMistakes, Mistake, choices, said, span
from neurofault.faults.neuron_laws import RefractoryStuck, SpikeResetLost, StateKept
from neurofault.faults.neurons import (
    NeuronBias,
    NeuronDead,
    NeuronLeak,
    NeuronSaturated,
    NeuronStuck,
    NeuronThreshold,
    SensorDead,
    SensorNoisy,
    StateUpset,
)
from neurofault.faults.shared_parts import BoardDead, ChipDead, MemoryDead
from neurofault.faults.synapses import (
    MemoryWordDead,
    SynapseBitFlip,
    SynapseBitStuck,
    SynapseDead,
    SynapseDelay,
    SynapsePerturbed,
    SynapseSaturated,
    SynapseStuck,
    WordHeader,
)
from neurofault.faults.timing import PERMANENT

FAMILIES: Mapping[str, tuple[type[Fault], ...]] = {
    "core": (CoreDead, CoreHung, ChipDead, BoardDead, MemoryDead),
    "neuron": (
        NeuronDead, NeuronSaturated, NeuronStuck, NeuronThreshold, NeuronLeak, NeuronBias, StateUpset, RefractoryStuck, SpikeResetLost,
        StateKept,
    ),
    "synapse": (
        SynapseDead, SynapseStuck, SynapsePerturbed, SynapseSaturated, SynapseBitFlip, SynapseBitStuck, SynapseDelay,
        MemoryWordDead, WordHeader, AxonTypeFlip, TableFlip, CrossbarLineDead,
    ),
    "communication": (AxonLost, AxonMisrouted, RouterDead, LinkDead, LinkLossy),
    "learning": (LearningFrozen, TraceStuck, ThirdFactorDead, RoundingStuck, ErrorDead, FeedbackDead),
    "input": (SensorDead, SensorNoisy),
}  # fmt: skip
"""The kinds by what they break."""

KINDS: Mapping[str, type[Fault]] = {model.kind: model for models in FAMILIES.values() for model in models}
"""Every kind of fault by its name in YAML and on the command line."""


def fault_from_mapping(spec: Mapping[str, Any]) -> Fault:
    """Return the model that a mapping such as ``{kind: core_dead, count: 3}`` names.

    Args:
        spec: ``kind`` and the fields of that kind; for stored bits ``rate`` may be an exposure,
            ``{environment: low_earth_orbit, days: 30}``.

    Raises:
        FaultMistakes: unknown kind or keys (with the nearest match) and everything out of range, all at once, each with its place.
    """
    kind = spec.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        problem = f"unknown kind {said(kind)}{nearest(said(kind), KINDS)}" if "kind" in spec else "a fault needs a kind"
        raise FaultMistakes([Mistake(f"{problem}; kinds: {', '.join(KINDS)}", ("kind",))])
    return KINDS[kind].model_validate({key: value for key, value in spec.items() if key != "kind"})


def fault_to_mapping(fault: Fault) -> dict[str, Any]:
    """Return the plain mapping that :func:`fault_from_mapping` turns back into ``fault``; defaults are left out."""
    spec: dict[str, Any] = {"kind": fault.kind}
    for name, field in type(fault).model_fields.items():
        value = getattr(fault, name)
        if name == "when":
            if value != PERMANENT:
                spec["when"] = {part: steps for part, steps in vars(value).items() if steps is not None}
        elif value != field.default:
            spec[name] = _plain(value)
    return spec


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, Mapping) else value


@dataclass(frozen=True)
class Parameter:
    """One field of a kind, for display.

    Attributes:
        name, text, unit: what it is.
        default: None if it must be given or means "not given".
        allowed: range or names, empty if any value of its type is.
    """

    name: str
    text: str
    unit: str
    default: Any
    allowed: str


@dataclass(frozen=True)
class KindInfo:
    """What ``neurofault faults describe`` shows.

    Attributes:
        kind, family, summary, equation, mechanism, neighbours: texts.
        sources: where it is described.
        site: what one site is.
        whens: kinds of time windows that it takes.
        parameters: its fields.
        example: a mapping that works.
    """

    kind: str
    family: str
    summary: str
    equation: str
    mechanism: str
    neighbours: str
    sources: tuple[str, ...]
    site: str
    whens: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    example: Mapping[str, Any]


def describe(kind: str) -> KindInfo:
    """Return everything that is to be said about a kind.

    Raises:
        FaultError: there is no such kind; the text names the nearest.
    """
    if kind not in KINDS:
        raise FaultError(f"unknown kind {kind!r}{nearest(kind, KINDS)}; kinds: {', '.join(KINDS)}")
    model = KINDS[kind]
    family = next(name for name, models in FAMILIES.items() if model in models)
    example: dict[str, Any] = {"kind": kind, "rate": 0.001} if model.single_bits else {"kind": kind, "count": 2}
    if kind in ("neuron_threshold", "neuron_leak", "neuron_bias"):
        example["bit"] = 3
    if model.whens == ("once",):
        example["when"] = {"kind": "once", "at": 4}
    parameters = []
    for name, field in model.model_fields.items():
        named = ", ".join(choices(field))
        unit = str(field.json_schema_extra.get("unit", "")) if isinstance(field.json_schema_extra, dict) else ""
        default = str(field.default) if name == "when" else field.default
        parameters.append(Parameter(name, field.description or "", unit, default, named or span(field)))
    summary = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    return KindInfo(
        kind, family, summary, model.equation, model.mechanism, model.neighbours, model.sources, model.site, model.whens,
        tuple(parameters), example,
    )  # fmt: skip
