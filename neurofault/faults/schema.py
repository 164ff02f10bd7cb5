"""The JSON Schema of faults: what each kind takes, for editors."""

from __future__ import annotations

from typing import Any

from neurofault.faults.base import ConnectionFault, Fault
from neurofault.faults.environment import exposure_schema
from neurofault.faults.models import KINDS
from neurofault.faults.timing import PERMANENT, timing_schema


def fault_definitions() -> dict[str, dict[str, Any]]:
    """Return JSON Schemas (2020-12) to stand under ``$defs``: ``Fault``, which is one of the kinds by its ``kind``, and what it refers to."""
    names = {kind: f"#/$defs/{model.__name__}" for kind, model in KINDS.items()}
    union = {
        "oneOf": [{"$ref": name} for name in names.values()],
        "discriminator": {"propertyName": "kind", "mapping": names},
    }
    common = ConnectionFault.model_json_schema()["properties"]
    common["when"] = {**timing_schema(), "default": PERMANENT.kind, "description": common["when"]["description"]}
    kinds = {model.__name__: _schema(model, common) for model in KINDS.values()}
    return {"Fault": union, **kinds, **{_title(name): field for name, field in common.items()}}


def _title(name: str) -> str:
    return f"Fault{name.capitalize()}"


def _schema(model: type[Fault], common: dict[str, Any]) -> dict[str, Any]:
    properties = model.model_json_schema()["properties"]
    for name, field in properties.items():
        if name == "rate" and model.single_bits:
            field["anyOf"].append(exposure_schema())
        elif name == "when" or field == common.get(name):
            properties[name] = {"$ref": f"#/$defs/{_title(name)}"}
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
