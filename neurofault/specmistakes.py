"""What pydantic says is wrong, in words that a user can act on: what, what is allowed, the nearest match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from neurofault.errors import nearest

Path_ = tuple[str | int, ...]

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
}
"""Pydantic's error types that mean "another type was expected", and that type in YAML's words."""

_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def describe(value: Any) -> str:
    """Return a short text for a YAML value.

    >>> describe("abc"), describe(None), describe(True), describe(3), describe([1])
    ("text 'abc'", 'null', 'true', '3', 'a list')
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"text {value if len(value) <= 40 else value[:37] + '…'!r}"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return str(value)


def mistakes_of(
    error: ValidationError, model: type[BaseModel], data: Mapping[str, Any], also: Sequence[str] = ()
) -> dict[tuple[Path_, str], bool]:
    """Put a validation error into words.

    Args:
        error: what ``model`` said of ``data``.
        model: can make a JSON schema; its property names are what is allowed.
        data: the document.
        also: keys of the top level that are allowed too.

    Returns:
        (path of the value inside ``data``, text) → whether the key is what is wrong rather than the value.
    """
    schema = _Schema(model)
    details = [(_path(item["loc"], data), item) for item in error.errors(include_url=False)]
    expected: dict[Path_, list[str]] = {}
    for path, item in details:
        if item["type"] in _KINDS:
            expected.setdefault(path, []).append(_KINDS[item["type"]])
    found: dict[tuple[Path_, str], bool] = {}
    for path, item in details:
        kind, context = item["type"], item.get("ctx", {})
        where = path_name(path)
        at_key = False
        if kind in _KINDS:
            if any(_says_more(path, other, also["type"]) for other, also in details):
                continue
            text = f"{where}: expected {_either(expected[path])}, found {describe(_value(data, path))}"
        elif kind == "extra_forbidden":
            allowed = [*schema.keys_at(item["loc"][:-1]), *(also if len(path) == 1 else ())]
            inside = f" in {path_name(path[:-1])}" if len(path) > 1 else ""
            at_key = True
            text = f"unknown key {path[-1]!r}{inside}{nearest(str(path[-1]), allowed)}; allowed: {', '.join(allowed)}"
        elif kind == "missing":
            at_key = True
            text = f"{where}: missing key {item['loc'][-1]!r}" if path else f"missing key {item['loc'][-1]!r}"
        elif kind in ("literal_error", "enum"):
            options = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
            given = _value(data, path)
            text = f"{where}: {describe(given)} is not allowed{nearest(str(given), options)}; allowed: {', '.join(options)}"
        elif kind == "union_tag_invalid":
            options = re.findall(r"'([^']*)'", context["expected_tags"])
            key = context["discriminator"].strip("'")
            inner = _value(data, path)
            path = (*path, key) if isinstance(inner, dict) and key in inner else path
            text = (
                f"{path_name(path)}: {context['tag']!r} is unknown{nearest(context['tag'], options)}; allowed: {', '.join(options)}"
            )
        elif kind == "union_tag_not_found":
            at_key = True
            text = f"{where}: missing key {context['discriminator']}"
        elif kind in _BOUNDS:
            key, words = _BOUNDS[kind]
            text = f"{where}: must be {words} {context[key]}, is {_value(data, path)}"
        elif kind in ("too_short", "string_too_short"):
            if len(_value(data, path)) >= context["min_length"]:
                continue  # pydantic counts the valid ones; what is wrong with the others is said of each
            text = f"{where}: needs at least {context['min_length']}, has {len(_value(data, path))}"
        elif kind in ("too_long", "string_too_long"):
            text = f"{where}: may have at most {context['max_length']}, has {len(_value(data, path))}"
        elif kind == "finite_number":
            text = f"{where}: must be finite, is {_value(data, path)}"
        elif kind in ("value_error", "assertion_error"):
            text = f"{where}: {context['error']}"
        else:
            text = f"{where}: {item['msg']}"
        found[path, text.removeprefix(": ")] = at_key
    return found


def _says_more(path: Path_, other: Path_, kind: str) -> bool:
    """Whether another branch of a union took the value at ``path`` and found something wrong with it or inside it."""
    return other[: len(path)] == path and (len(other) > len(path) or kind not in _KINDS)


def _either(words: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def path_name(path: Sequence[str | int]) -> str:
    """Return ``chip.cores[3].value`` for a path.

    >>> path_name(("chip", "cores", 3, "value"))
    'chip.cores[3].value'
    """
    return "".join(f"[{element}]" if isinstance(element, int) else f".{element}" for element in path).removeprefix(".")


def _path(loc: Path_, data: Any) -> Path_:
    """Return the part of pydantic's location that exists in the document (names of union branches do not)."""
    path: list[str | int] = []
    for element in loc:
        inside = isinstance(data, dict) and isinstance(element, str) and element in data
        if inside or (isinstance(data, list) and isinstance(element, int) and element < len(data)):
            data = data[element]
            path.append(element)
    return tuple(path)


def _value(data: Any, path: Path_) -> Any:
    for element in path:
        data = data[element]
    return data


class _Schema:
    """Which keys a model allows at a location, read from its JSON schema."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._root = model.model_json_schema()
        self._definitions = self._root.get("$defs", {})

    def keys_at(self, loc: Iterable[str | int]) -> list[str]:
        """Return the allowed keys of the mapping at a location, in the order in which the model declares them."""
        candidates = self._flat(self._root)
        for element in loc:
            inner = [self._flat(step) for candidate in candidates if (step := self._step(candidate, element)) is not None]
            if inner:
                candidates = [schema for schemas in inner for schema in schemas]
            else:  # the name of a union's branch
                candidates = [schema for schema in candidates if self._is_branch(schema, element)] or candidates
        return list(dict.fromkeys(key for candidate in candidates for key in candidate.get("properties", {})))

    def _flat(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in schema:
            return self._flat(self._definitions[schema["$ref"].rsplit("/", 1)[-1]])
        branches = [branch for word in ("anyOf", "oneOf", "allOf") for branch in schema.get(word, [])]
        return [flat for branch in branches for flat in self._flat(branch)] if branches else [schema]

    @staticmethod
    def _step(schema: dict[str, Any], element: str | int) -> dict[str, Any] | None:
        if isinstance(element, int):
            prefix = schema.get("prefixItems", [])
            step = prefix[element] if element < len(prefix) else schema.get("items")
        else:
            step = schema.get("properties", {}).get(element, schema.get("additionalProperties"))
        return step if isinstance(step, dict) else None

    @staticmethod
    def _is_branch(schema: dict[str, Any], element: str | int) -> bool:
        fields = schema.get("properties", {}).values()
        return schema.get("title") == element or any(element in (field.get("const"), *field.get("enum", [])) for field in fields)
