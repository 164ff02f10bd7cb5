"""The spec language: YAML 1.2 scalars, every mistake at once with its place, bounds on hostile documents."""

import contextlib
import math
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from neurofault.errors import SpecError
from neurofault.specfile import MAX_BYTES, MAX_DEPTH, MAX_VALUES, load_spec, parse_yaml


def mistakes(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "f.yaml")
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0", 0),
        ("+12", 12),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("Null", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("tRUE", "tRUE"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("0b1", "0b1"),
        ("2026-01-01", "2026-01-01"),
        ("12-15", "12-15"),
        ("core:0-7", "core:0-7"),
        ('"1e-3"', "1e-3"),
        ("'null'", "null"),
        ("|\n  7\n", "7\n"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written, value):
    data, _ = parse_yaml(f"key: {written}")
    assert data["key"] == value
    assert type(data["key"]) is type(value)


def test_not_a_number_is_read():
    assert math.isnan(parse_yaml("x: .NaN")[0]["x"])


def test_keys_are_text_as_written():
    assert parse_yaml("{1: a, true: b, null: c, on: d}")[0] == {"1": "a", "true": "b", "null": "c", "on": "d"}


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), TREES, min_size=1, max_size=4), st.booleans())
def test_what_a_yaml_writer_quotes_or_json_writes_comes_back(tree, flow):
    class Writer(yaml.SafeDumper):
        """PyYAML's, with every text in quotes and floats that YAML 1.1 and 1.2 read alike."""

    Writer.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    Writer.ignore_aliases = lambda self, data: True
    assert parse_yaml(yaml.dump(tree, Dumper=Writer, default_flow_style=flow))[0] == tree


@given(st.binary(max_size=60) | st.text(max_size=60) | st.text("{}[]&*!|>%@`'\"#-?:, \n\tab1e.~\\", max_size=60))
def test_no_input_gives_anything_but_a_mapping_or_a_spec_error(document):
    with contextlib.suppress(SpecError):
        assert isinstance(parse_yaml(document)[0], dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["f.yaml:1:1: the file is empty"]),
        ("# only a comment\n", ["f.yaml:1:1: the file is empty"]),
        ("- a\n", ["f.yaml:1:1: the top level must be a mapping (key: value)"]),
        ("hello", ["f.yaml:1:1: the top level must be a mapping (key: value)"]),
        ("a:\n\tb: 1\n", ["f.yaml:2:1: a tab cannot stand here; indent with spaces"]),
        ("a: b: c\n", ["f.yaml:1:5: not YAML: mapping values are not allowed here"]),
        ("a: 1\n---\nb: 2\n", ["f.yaml:2:1: a second document starts here; one file holds one document"]),
        (b"a: 1\nb: \xff\n", ["f.yaml:2:4: byte 0xff is not UTF-8 text"]),
        ("a: x\0", ["f.yaml:1:5: character U+0000 is not allowed in YAML"]),
        ('a: "\\ud800"\n', ["f.yaml:1:4: half of a surrogate pair is not text"]),
        ('a: 1\nb: "\\UFFFFFFFF"\n', ["f.yaml:2:2: not YAML: an impossible escape or number after this place"]),
        ("a: *x\n", ["f.yaml:1:4: alias *x names no anchor above it; anchors: none"]),
        ("a: &x 1\nb: *y\n", ["f.yaml:2:4: alias *y names no anchor above it; anchors: x"]),
        ("a: &x [*x]\n", ["f.yaml:1:8: alias *x stands inside its own anchor"]),
        ("a: " + "9" * 41 + "\n", ["f.yaml:1:4: a whole number of more than 40 digits"]),
        ("a: 1e999\n", ["f.yaml:1:4: 1e999 is too large for a 64-bit number"]),
        ("? [a]\n: 1\nb: 2\n", ["f.yaml:1:3: a key must be plain text"]),
        (
            "a: 1\nb:\n  c: 1\n  c: 2\na: 3\nd: !!python/object/apply:os.system [ls]\n",
            [
                "f.yaml:4:3: key 'c' is already given at 3:3",
                "f.yaml:5:1: key 'a' is already given at 1:1",
                "f.yaml:6:4: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed; write the plain value",
            ],
        ),
    ],
)
def test_each_broken_document_is_answered_with_its_places(text, expected):
    assert list(mistakes(text)) == expected


def test_aliases_repeat_values():
    assert parse_yaml("a: &x {y: [1, 2]}\nb: *x")[0]["b"] == {"y": [1, 2]}


def test_an_alias_bomb_is_refused_before_it_expands():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)]
    assert mistakes("\n".join(lines)) == (f"f.yaml:5:36: aliases expand to more than {MAX_VALUES:,} values",)


def test_depth_is_bounded_through_aliases_too():
    deep = "a: " + "[" * 20 + "]" * 20
    assert mistakes("a: " + "[" * 5000)[0].endswith(f"nested deeper than {MAX_DEPTH} levels")
    parse_yaml(deep)
    aliased = "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20
    assert mistakes(aliased) == (f"f.yaml:2:24: nested deeper than {MAX_DEPTH} levels",)


def test_a_large_document_is_refused_unread():
    assert mistakes("a: " + "x" * MAX_BYTES) == (f"f.yaml: larger than {MAX_BYTES:,} bytes",)


class Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    kind: Literal["core_dead", "neuron_dead"]
    count: Annotated[int, Field(ge=0)] = 0


class Flip(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    kind: Literal["bit_flip"]
    rate: Annotated[float, Field(gt=0, le=1)]


class Sweep(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    sweep: tuple[float, ...] = Field(min_length=1)


class Spec(BaseModel):
    """As a campaign will be: nested, with a tagged union, a plain union, texts and a cross-reference."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    draws: int = 1
    on: bool = False
    level: float | Sweep = 0.0
    faults: tuple[Annotated[Fault | Flip, Field(discriminator="kind")], ...] = ()
    table: dict[str, float] = {}
    use: str | None = None

    @field_validator("use")
    @classmethod
    def _in_table(cls, use: str | None, info: ValidationInfo) -> str | None:
        table = info.context["document"].get("table", {})
        if use is not None and use not in table:
            raise ValueError(f"{use!r} is not in table")
        return use


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(text, Spec, filename="f.yaml")
    return list(caught.value.mistakes)


def test_a_good_document_becomes_its_record():
    spec = load_spec(
        """\
name: x
level: {sweep: [1e-3, 2]}
faults:
  - {kind: core_dead, count: 2}
  - {kind: bit_flip, rate: 1e-5}
table: {a: 1}
use: a
""",
        Spec,
    )
    assert spec == Spec(
        name="x",
        level=Sweep(sweep=(0.001, 2.0)),
        faults=(Fault(kind="core_dead", count=2), Flip(kind="bit_flip", rate=1e-5)),
        table={"a": 1.0},
    ).model_copy(update={"use": "a"})


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file():
    text = """\
draws: 1.5
on: yes
level: {swep: [1]}
faults:
  - {kind: core_ded, count: 1}
  - {kind: core_dead, count: -1, cont: 3}
  - {kind: bit_flip, rate: often}
  - {count: 1}
  - 7
table: {a: .nan, b: [1]}
use: c
nmae: x
"""
    assert refused(text) == [
        "f.yaml:1:1: missing key 'name'",
        "f.yaml:1:8: draws: expected a whole number, found 1.5",
        "f.yaml:2:5: on: expected true or false, found text 'yes'",
        "f.yaml:3:1: level: missing key 'sweep'",
        "f.yaml:3:9: unknown key 'swep' in level (did you mean 'sweep'?); allowed: sweep",
        "f.yaml:5:12: faults[0].kind: 'core_ded' is unknown (did you mean 'core_dead'?); allowed: core_dead, neuron_dead, bit_flip",
        "f.yaml:6:30: faults[1].count: must be at least 0, is -1",
        "f.yaml:6:34: unknown key 'cont' in faults[1] (did you mean 'count'?); allowed: kind, count",
        "f.yaml:7:28: faults[2].rate: expected a number, found text 'often'",
        "f.yaml:8:5: faults[3]: missing key 'kind'",
        "f.yaml:9:5: faults[4]: expected a mapping, found 7",
        "f.yaml:10:21: table.b: expected a number, found a list",
        "f.yaml:11:6: use: 'c' is not in table",
        "f.yaml:12:1: unknown key 'nmae' (did you mean 'name'?); allowed: name, draws, on, level, faults, table, use",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("level: high", "f.yaml:2:8: level: expected a number or a mapping, found text 'high'"),
        ("level: {sweep: []}", "f.yaml:2:16: level.sweep: needs at least 1, has 0"),
        ("level: {sweep: [1, x]}", "f.yaml:2:20: level.sweep[1]: expected a number, found text 'x'"),
        ("faults: [{kind: bit_flip, rate: 0}]", "f.yaml:2:33: faults[0].rate: must be more than 0.0, is 0"),
        ("faults: [{kind: bit_flip, rate: 2}]", "f.yaml:2:33: faults[0].rate: must be at most 1.0, is 2"),
        ("faults: core_dead", "f.yaml:2:9: faults: expected a list, found text 'core_dead'"),
        ("draws: true", "f.yaml:2:8: draws: expected a whole number, found true"),
        ("draws: null", "f.yaml:2:8: draws: expected a whole number, found null"),
    ],
)
def test_a_mistake_says_what_was_expected_and_what_was_found(line, expected):
    assert refused(f"name: x\n{line}\n") == [expected]


def test_mistakes_inside_an_alias_point_at_the_anchor():
    assert refused("name: x\nfaults:\n  - &f {kind: core_dead, count: -1}\n  - *f\n") == [
        "f.yaml:3:33: faults[0].count: must be at least 0, is -1",
        "f.yaml:3:33: faults[1].count: must be at least 0, is -1",
    ]


def test_files_are_read_and_named(tmp_path: Path):
    good = tmp_path / "good.yaml"
    good.write_bytes(b"\xef\xbb\xbfname: x\r\ndraws: 3\r\n")
    assert load_spec(good, Spec) == Spec.model_construct(name="x", draws=3, on=False, level=0.0, faults=(), table={}, use=None)
    with pytest.raises(SpecError, match=r"^.*missing\.yaml: cannot be read \(No such file or directory\)$"):
        load_spec(tmp_path / "missing.yaml", Spec)
    with pytest.raises(SpecError, match=r"cannot be read \(Is a directory\)$"):
        load_spec(tmp_path, Spec)
