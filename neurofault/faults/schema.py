"""The JSON Schema of faults: what each kind takes, for editors."""

from __future__ import annotations

from typing import Any

from neurofault.faults.base import Fault
from neurofault.faults.environment import exposure_schema
from neurofault.faults.models import KINDS
from neurofault.faults.timing import timing_schema


def fault_definitions() -> dict[str, dict[str, Any]]:
    """Return JSON Schemas (2020-12) to stand under ``$defs``: ``Fault``, which is one of the kinds by its ``kind``, each kind, and ``When``."""
    names = {kind: f"#/$defs/{model.__name__}" for kind, model in KINDS.items()}
    union = {
        "oneOf": [{"$ref": name} for name in names.values()],
        "discriminator": {"propertyName": "kind", "mapping": names},
    }
    return {"Fault": union, **{model.__name__: _schema(model) for model in KINDS.values()}, "When": timing_schema()}


def _schema(model: type[Fault]) -> dict[str, Any]:
    properties = model.model_json_schema()["properties"]
    when = model.model_fields["when"]
    properties["when"] = {"$ref": "#/$defs/When", "default": when.default.kind, "description": when.description}
    if model.site == "stored bits":
        properties["rate"]["anyOf"].append(exposure_schema())
    return {
        "description": " ".join((model.__doc__ or "").split("\n\n")[0].split()),
        "type": "object",
        "properties": {"kind": {"const": model.kind}, **properties},
        "required": ["kind"],
        "oneOf": [
            {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in ("count", "rate", model.list_field)
        ],
        "additionalProperties": False,
    }
