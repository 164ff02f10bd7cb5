"""The JSON Schema of campaign files, for editors: every value may also be ``{sweep: […]}``."""

from __future__ import annotations

from typing import Any

from neurofault.faults import KINDS
from neurofault.faults.schema import fault_definitions
from neurofault.rescue.learners.by_name import LEARNERS
from neurofault.rescue.strategies import STRATEGIES
from neurofault.study.campaign.records import CampaignSpec


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (2020-12) of campaign files."""
    schema = CampaignSpec.model_json_schema()
    rescue = schema["$defs"]["Rescue"]["properties"]
    rescue["strategy"] = {"type": "string", "enum": list(STRATEGIES)}
    rescue["learner"] = {"anyOf": [{"type": "string", "enum": list(LEARNERS)}, {"type": "null"}]}
    for record in schema["$defs"].values():
        for name, value in record.get("properties", {}).items():
            record["properties"][name] = _swept(value)
    schema["$defs"] |= {name: _swept_within(value) for name, value in fault_definitions().items()} | {
        "FaultOfSweptKind": {
            "type": "object", "properties": {"kind": _axis({"type": "string", "enum": list(KINDS)})}, "required": ["kind"],
        },
        "Plan": {"anyOf": [{"$ref": "#/$defs/Fault"}, {"$ref": "#/$defs/FaultOfSweptKind"}, {
            "type": "object", "properties": {"all": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Plan"}}},
            "required": ["all"], "additionalProperties": False,
        }]},
    }  # fmt: skip
    free = ("name", "faults", "rescue", "limits")
    for name, value in schema["properties"].items():
        schema["properties"][name] = value if name in free else _swept(value)
    schema["properties"]["faults"] = {"type": "array", "minItems": 1, "items": _swept({"$ref": "#/$defs/Plan"})}
    schema["properties"]["include"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["include"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _axis(value: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": {"sweep": {"type": "array", "minItems": 1, "items": value}}, "required": ["sweep"],
        "additionalProperties": False,
    }  # fmt: skip


def _swept(value: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [value, _axis(value)]}


def _swept_within(value: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which all that lies inside it may be a sweep, but for the ``kind`` that tells mappings apart."""

    def either(part: dict[str, Any]) -> dict[str, Any]:
        return part if "const" in part else {"anyOf": [_swept_within(part), _axis(part)]}  # no sweep stands inside another

    made = dict(value)
    if "properties" in value:
        made["properties"] = {name: either(part) for name, part in value["properties"].items()}
    if "items" in value:
        made["items"] = either(value["items"])
    if "anyOf" in value:
        made["anyOf"] = [_swept_within(part) for part in value["anyOf"]]
    return made
