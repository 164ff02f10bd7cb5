"""The JSON Schema of campaign files, for editors: every value may also be ``{sweep: […]}``."""

from __future__ import annotations

from typing import Any

from neurofault.faults import KINDS
from neurofault.rescue.learners import LEARNERS
from neurofault.rescue.strategies import STRATEGIES
from neurofault.study.campaign.records import CampaignSpec


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (2020-12) of campaign files."""
    schema = CampaignSpec.model_json_schema()
    rescue = schema["$defs"]["Rescue"]["properties"]
    rescue["strategy"] = {"type": "string", "enum": list(STRATEGIES)}
    rescue["learner"] = {"anyOf": [{"type": "string", "enum": list(LEARNERS)}, {"type": "null"}]}
    schema["$defs"]["Fault"] = {
        "type": "object",
        "properties": {"kind": _swept({"type": "string", "enum": list(KINDS)}), "all": {"type": "array", "minItems": 1}},
    }
    for record in schema["$defs"].values():
        for name, value in record.get("properties", {}).items():
            if record is not schema["$defs"]["Fault"]:
                record["properties"][name] = _swept(value)
    free = ("name", "faults", "rescue", "limits")
    for name, value in schema["properties"].items():
        schema["properties"][name] = value if name in free else _swept(value)
    schema["properties"]["faults"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Fault"}}
    schema["properties"]["include"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["include"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _swept(value: dict[str, Any]) -> dict[str, Any]:
    axis = {
        "type": "object", "properties": {"sweep": {"type": "array", "minItems": 1, "items": value}}, "required": ["sweep"],
        "additionalProperties": False,
    }  # fmt: skip
    return {"anyOf": [value, axis]}
