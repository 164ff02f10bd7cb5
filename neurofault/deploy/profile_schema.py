"""A JSON Schema of profile files for editors, and the template of a new one: both from the records' own texts, where each key is explained."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from neurofault.deploy.arithmetic_spec import ArithmeticSpec, DecaySpec, RegisterSpec
from neurofault.deploy.cost_table import EnergyCosts, TimeCosts
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.profile_sections import Chip, Core, Learning, NeuronRanges, Synapse
from neurofault.deploy.quantity import PREFIXES, Quantity
from neurofault.specnodes import Mark, Node

FILL = "FILL"
"""What stands in a template where a user must write something."""

SCHEMA_FILE = "neurofault-profile.schema.json"
"""Name of the schema beside a new profile, which its first line names."""

EXTENDS = (
    "the bundled profile, or the file (from the folder of this one), from which everything is taken over that this file does not say, "
    "but for name, title, facts, what is known bad (dead_…) and costs"
)
INHERIT = (
    "this table is that of the profile that is extended: unchanged (the same silicon) or assumed (another chip, with a reason)"
)
REASON = "why costs of another chip are assumed for this one"

_SAME = {TimeCosts: EnergyCosts}
"""Records whose keys another one explains too."""


def descriptions(record: type[BaseModel]) -> dict[str, str]:
    """Return what a record's text, or that of a record above it, says of each key; where one text is of several keys, each has it."""
    above = [one for one in record.__bases__ if issubclass(one, BaseModel) and one is not BaseModel]
    same = [_SAME[record]] if record in _SAME else []
    found: dict[str, str] = {}
    for other in above + same:
        found |= descriptions(other)
    text = inspect.getdoc(record) or ""
    block = text.partition("Attributes:\n")[2]
    for entry in re.split(r"\n(?=    \S)", "\n" + block.split("\n\n")[0]):
        names, colon, said = entry.strip().partition(": ")
        if colon:
            found |= dict.fromkeys((name.strip() for name in names.split(",")), _plain(said))
    return {name: found[name] for name in record.model_fields if name in found}


def summary(record: type[BaseModel]) -> str:
    """Return the first paragraph of a record's text, plain."""
    return _plain((inspect.getdoc(record) or "").split("\n\n")[0])


def _plain(text: str) -> str:
    """Return a text without the marks of a documentation."""
    text = re.sub(r":(?:class|func|attr|mod|data):`~?([^`]*)`", lambda named: str(named[1]).rsplit(".", 1)[-1], text)
    return " ".join(text.replace("``", "").split())


def _records(record: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return a record and those inside it, by name; numbers apart."""
    found = {record.__name__: record}
    for one in record.model_fields.values():
        for inner in _classes(one.annotation):
            if issubclass(inner, BaseModel) and not issubclass(inner, Quantity) and inner.__name__ not in found:
                found |= _records(inner)
    return found


def _classes(annotation: Any) -> Iterator[type]:
    """Yield the classes in an annotation."""
    if inspect.isclass(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)


def profile_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a profile's file: what may stand where, and what it means.

    Sources that a number names, and numbers that contradict each other, are beyond it: ``neurofault profile check`` sees those.
    """
    schema = HardwareProfile.model_json_schema(ref_template="#/$defs/{model}")
    definitions = {_short(name): made for name, made in schema.pop("$defs").items()}
    schema = _renamed(schema)
    definitions = {name: _renamed(made) for name, made in definitions.items()}
    schema["title"] = "neurofault hardware profile"
    for record in _records(HardwareProfile).values():
        made = schema if record is HardwareProfile else definitions[record.__name__]
        made["description"] = summary(record)
        for name, said in descriptions(record).items():
            if record is HardwareProfile and name not in schema["required"]:
                made["properties"][name]["default"] = None  # a section without anything under it is null
            _describe(made["properties"], name, said)
    for name, made in definitions.items():
        if name.startswith("Quantity"):
            unit = made["properties"]["unit"].get("const")
            made["title"] = "a number and how it is known" if unit is None else f"a number in {unit}"
            made["description"] = summary(Quantity)
            if unit in ("J", "W", "s"):
                made["properties"]["unit"] = {"enum": [unit, *(prefix + unit for prefix in PREFIXES)]}
            for key, said in descriptions(Quantity).items():
                _describe(made["properties"], key, said)
    schema["properties"] = {"extends": {"type": "string", "description": EXTENDS}, **schema["properties"]}
    table = definitions["CostTable"]["properties"]
    table["inherit"] = {"enum": ["unchanged", "assumed"], "description": INHERIT}
    table["reason"] = {"type": "string", "description": REASON}
    del definitions["CostTable"]["required"]
    needed = {
        "chip": {"required": definitions["Chip"].pop("required")},
        "synapse": {"required": definitions["Synapse"].pop("required")},
    }
    schema |= {
        "required": ["name", "title"],
        "if": {"required": ["extends"]},
        "then": True,
        "else": {"required": [key for key in schema["required"] if key not in ("name", "title")], "properties": needed},
        "$defs": definitions,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _describe(properties: dict[str, Any], name: str, said: str) -> None:
    """Put a description on a key; let it be null where it may be."""
    given = properties[name]
    inner = {key: value for key, value in given.items() if key not in ("title", "default", "description")}
    if given.get("default", 0) is None and {"type": "null"} not in inner.get("anyOf", ()):
        inner = {"anyOf": [inner, {"type": "null"}]}
    properties[name] = {"description": said, **inner}


def _renamed(made: Any) -> Any:
    """Return a schema whose references are short names."""
    if isinstance(made, dict):
        return {
            key: f"#/$defs/{_short(value.rsplit('/', 1)[-1])}" if key == "$ref" else _renamed(value) for key, value in made.items()
        }
    return [_renamed(value) for value in made] if isinstance(made, list) else made


def _short(name: str) -> str:
    """Return the name of a definition, without what pydantic puts between the brackets of a generic."""
    return re.sub(r"_+", "_", re.sub(r"Annotated_|FieldInfo_|_NoneType|annotation_|required_True_|metadata_", "", name)).strip("_")


def template(name: str, extends: str | None = None) -> str:
    """Return the text of a new profile: every key with its meaning, those that must be known marked :data:`FILL`, the others commented out.

    Args:
        name: of the chip.
        extends: the profile that it extends; None: none.
    """
    return "\n".join(_lines(name, extends)) + "\n"


def _lines(name: str, extends: str | None) -> Iterator[str]:
    own = descriptions(HardwareProfile)
    yield f"# yaml-language-server: $schema={SCHEMA_FILE}"
    yield from _said(
        f"Write something at each {FILL}. Of what else is known of the chip, take the # away that stands before its key. What is left is not known."
    )
    yield from _said(
        "A number is {value, unit, source, evidence}, with a note where one helps. Evidence: measured (on silicon), calibrated (a model fitted to "
        "silicon), simulated (a circuit), documented (a paper, a data sheet), or assumed (the note says why then, and source may be missing)."
    )
    yield from _said(f"neurofault profile check {name}.yaml says what is wrong, what is still to fill in and what is not known.")
    yield from (f"name: {_text(name)}", f"title: {FILL}", "")
    if extends is not None:
        yield from (*_said(f"extends: {EXTENDS}"), f"extends: {_text(extends)}")
    yield from _said(f"arithmetic: {own['arithmetic']}")
    if extends is None:
        yield f"arithmetic: {FILL}"
    yield "# As a record:"
    yield from _arithmetic()
    yield ""
    yield from _said(f"sources: {own['sources']} Each: title, and url, doi or a note that says where it is found.")
    live = "" if extends is None else "#"
    yield from (f"{live}sources:", f"  {live}sheet:", f"    {live}title: {FILL}", f"    {live}note: {FILL}", "")
    for section, record in (("chip", Chip), ("core", Core), ("synapse", Synapse), ("neuron", NeuronRanges), ("learning", Learning)):
        yield from _section(section, record, extends is None)
    yield from _said(f"energy_tables: {own['energy_tables']} default_energy: {own['default_energy']}")
    yield from _events()
    if extends is not None:
        yield from (*_said(f"inherit: {INHERIT}."), f"#energy_tables: {{{FILL}: {{inherit: assumed, reason: {FILL}}}}}")
    yield from (
        "#energy_tables:",
        "  #mine:",
        f"    #title: {FILL}",
        "    #energy:",
        f"      #synaptic_operation: {_number(FILL, 'J')}",
    )
    yield from ("    #time:", f"      #synaptic_operation: {_number(FILL, 's')}", "")
    yield from (*_said(f"facts: {own['facts']}"), "#facts:", f"  #die_area: {_number(FILL, 'mm2')}", "")
    yield from (
        *_said(f"links: {own['links']} See the page Places of a chip in the documentation."),
        f"#links: {{topology: {FILL}, source: sheet}}",
        "",
    )
    yield from (*_said(f"board: {own['board']}"), f"#board: {{chips: {_number(FILL, 'chips')}}}", "")
    yield from (*_said(f"shared_memory: {own['shared_memory']}"), f"#shared_memory: {{cores: {_number(FILL, 'cores')}}}", "")
    for key in ("dead_cores", "dead_chips", "dead_links"):
        yield from (*_said(f"{key}: {own[key]}"), f"#{key}: [{FILL}]")


def _events() -> Iterator[str]:
    """Yield the events of a table of costs, each with its meaning and its unit."""
    yield "# Events, each a key under energy, under time, or under both:"
    energy, time = descriptions(EnergyCosts), descriptions(TimeCosts)
    for key, text in (energy | time).items():
        units = [
            f"{where} in {_unit(record.model_fields[key].annotation)}"
            for where, record in (("energy", EnergyCosts), ("time", TimeCosts))
            if key in record.model_fields
        ]
        yield from _said(f"  {key} ({', '.join(units)}): {text}")


def _arithmetic() -> Iterator[str]:
    """Yield an arithmetic as a record, commented out, each key with its meaning."""
    decay = f"{{kind: {FILL}, most: {FILL}}}"
    register = f"{{bits: {FILL}, signed: {FILL}, overflow: {FILL}, decay: {decay}}}"
    given = {
        "v": register,
        "u": register,
        "source": "sheet",
        "evidence": "documented",
        "resets": f"[{FILL}]",
        "reset_delays": f"[{FILL}]",
    }
    yield "#arithmetic:"
    for name, said in descriptions(ArithmeticSpec).items():
        yield from (f"  {line}" for line in _said(f"{name}: {said} {_otherwise(ArithmeticSpec, name)}"))
        if name == "v":
            for record in (RegisterSpec, DecaySpec):
                for key, text in descriptions(record).items():
                    yield from (
                        f"  {line}"
                        for line in _said(f"  {'decay.' * (record is DecaySpec)}{key}: {text} {_otherwise(record, key)}")
                    )
        yield f"  #{name}: {given.get(name, FILL)}"


def _otherwise(record: type[BaseModel], key: str) -> str:
    """Return whether a key must be given, or what holds where it is left out."""
    one = record.model_fields[key]
    if one.is_required():
        return "Required."
    if isinstance(one.default, DecaySpec):
        return "Left out: kind none."
    if key == "source":
        return "Required unless evidence is assumed."
    shown = json.dumps(one.default)
    return f"Left out: {'none' if one.default is None else shown}."


def _section(section: str, record: type[BaseModel], alone: bool) -> Iterator[str]:
    """Yield a section of the template: its keys, and what they mean."""
    said = descriptions(record)
    needed = [name for name, one in record.model_fields.items() if one.is_required()] if alone else []
    yield from _said(f"{section}: {summary(record)}")
    yield f"{section}:"
    last = ""
    for name, one in record.model_fields.items():
        if said[name] != last:
            names = ", ".join(each for each, text in said.items() if text == said[name])
            yield from (f"  {line}" for line in _said(f"{names}: {said[name]}"))
        last, unit = said[name], _unit(one.annotation)
        value = f"[{FILL}]" if name in ("weight_bits", "index_bits") else FILL
        given = "sheet" if name == "source" else FILL if unit is None else _number(value, unit)
        yield f"  {'' if name in needed else '#'}{name}: {given}"
    yield ""


def _text(value: str) -> str:
    """Return a text as YAML reads it back as text."""
    return (
        value if re.fullmatch(r"[A-Za-z][\w./-]*", value) and value.lower() not in ("true", "false", "null") else json.dumps(value)
    )


def _number(value: str, unit: str) -> str:
    quoted = '"1"' if unit == "1" else unit
    return f"{{value: {value}, unit: {quoted}, source: sheet, evidence: documented}}"


def _unit(annotation: Any) -> str | None:
    """Return the unit of a key that is a quantity; None: it is none."""
    for number in _classes(annotation):
        if issubclass(number, Quantity):
            return str(get_args(number.model_fields["unit"].annotation)[0])
    return None


def _said(text: str) -> list[str]:
    return textwrap.wrap(text, 138, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False)


def to_fill(root: Node) -> list[tuple[str, Mark]]:
    """Return the places of a profile's document where :data:`FILL` still stands, in its order: path and place."""
    found: list[tuple[str, Mark]] = []

    def look(node: Node, path: str) -> None:
        if node.value == FILL:
            found.append((path, node.mark))
        for key, child in node.children.items():
            if key == FILL:
                found.append((path, node.keys[FILL]))
            look(child, path if isinstance(key, int) else f"{path}.{key}".removeprefix("."))

    look(root, "")
    return [(path.removesuffix(".value"), mark) for path, mark in found]
