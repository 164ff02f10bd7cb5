"""From a YAML document to a typed record, with every mistake reported at once, at ``file:line:column``.

:func:`parse_yaml` reads YAML 1.2 (core schema: ``1e-3`` is a number, ``on`` is text) into plain data and remembers where each value
stood. :func:`load_spec` checks that data against a pydantic model. A document is data only: no tags, no Python objects; its size,
depth and expansion through aliases are bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from neurofault.errors import SpecError
from neurofault.files import why_not
from neurofault.numerals import INT64
from neurofault.specmistakes import mistakes_of, path_name
from neurofault.specnodes import Mark, Node, at, mark_of

M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 1 << 20
"""Largest document."""
MAX_DEPTH = 32
"""Deepest nesting, aliases followed."""
MAX_VALUES = 100_000
"""Most values in a document, every use of an alias counted in full."""
MAX_DIGITS = 40
"""Longest whole number."""

_REASONS = {
    "no such file": "cannot be read (No such file or directory)",
    "is a folder, not a file": "cannot be read (Is a directory)",
}
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _quoted(sign: str) -> str:
    return f'a value that begins with > is in quotes: write "{sign}"'


class _Composer:
    """Turns PyYAML's events into nodes; collects mistakes that do not stop the reading."""

    def __init__(self, text: str, filename: str) -> None:
        self.filename = filename
        self.mistakes: list[tuple[Mark, str]] = []
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._reached = Mark(1, 1)
        self._anchors: dict[str, Node | None] = {}
        self._count = 0

    def document(self) -> Node | None:
        """Return the only document's root, or None if there is nothing but comments."""
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        root = self._node(self._next(), 1)
        self._next()
        if not isinstance(event := self._next(), yaml.StreamEndEvent):
            raise self._fatal(_mark(event.start_mark), "a second document starts here; one file holds one document")
        return root

    def _fatal(self, mark: Mark, text: str) -> SpecError:
        return SpecError([at(self.filename, mark, text)])

    def _next(self) -> yaml.Event:
        try:
            event = next(self._events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            tab = mark is not None and mark.buffer is not None and mark.buffer[mark.pointer : mark.pointer + 1] == "\t"
            problem = "a tab cannot stand here; indent with spaces" if tab else f"not YAML: {error.problem or error.context}"
            if mark is not None and mark.buffer is not None and mark.buffer[mark.pointer - 1 : mark.pointer + 1] == ">=":
                problem = _quoted(">=")
            elif mark is not None and mark.buffer is not None and mark.buffer[mark.pointer : mark.pointer + 1] == ">":
                problem = _quoted(">=" if mark.buffer[mark.pointer : mark.pointer + 2] == ">=" else ">")
            raise self._fatal(_mark(mark), problem) from None
        except (ValueError, OverflowError):  # PyYAML hands impossible escapes such as "\UFFFFFFFF" to chr()
            raise self._fatal(self._reached, "not YAML: an impossible escape or number after this place") from None
        self._reached = _mark(event.end_mark)
        return event

    def _node(self, event: yaml.Event, depth: int) -> Node:
        mark = _mark(event.start_mark)
        self._count += 1
        if depth > MAX_DEPTH:
            raise self._fatal(mark, f"nested deeper than {MAX_DEPTH} levels")
        if self._count > MAX_VALUES:
            raise self._fatal(mark, f"more than {MAX_VALUES:,} values")
        match event:
            case yaml.ScalarEvent():
                self._open(event.anchor, event.tag, mark)
                node = Node(self._scalar(event, mark), mark)
            case yaml.SequenceStartEvent():
                self._open(event.anchor, event.tag, mark)
                node = self._sequence(mark, depth)
            case yaml.MappingStartEvent():
                self._open(event.anchor, event.tag, mark)
                node = self._mapping(mark, depth)
            case _:
                assert isinstance(event, yaml.AliasEvent)
                assert event.anchor is not None
                return self._alias(event.anchor, mark, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _open(self, anchor: str | None, tag: str | None, mark: Mark) -> None:
        if tag is not None:
            self.mistakes.append((mark, f"tag {tag!r} is not allowed; write the plain value"))
        if anchor is not None:
            self._anchors[anchor] = None

    def _alias(self, anchor: str, mark: Mark, depth: int) -> Node:
        if anchor not in self._anchors:
            known = ", ".join(self._anchors) or "none"
            self.mistakes.append((mark, f"alias *{anchor} names no anchor above it; anchors: {known}"))
            return Node(None, mark)
        node = self._anchors[anchor]
        if node is None:
            raise self._fatal(mark, f"alias *{anchor} stands inside its own anchor")
        self._count += node.size
        if self._count > MAX_VALUES:
            raise self._fatal(mark, f"aliases expand to more than {MAX_VALUES:,} values")
        if depth + node.height - 1 > MAX_DEPTH:
            raise self._fatal(mark, f"nested deeper than {MAX_DEPTH} levels")
        return node

    def _sequence(self, mark: Mark, depth: int) -> Node:
        node = Node([], mark)
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            child = self._node(event, depth + 1)
            node.add(len(node.value), child)
            node.value.append(child.value)
        return node

    def _mapping(self, mark: Mark, depth: int) -> Node:
        node = Node({}, mark)
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key_mark = _mark(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent):
                self.mistakes.append((key_mark, "a key must be plain text"))
                self._node(event, depth + 1)
                self._node(self._next(), depth + 1)
                continue
            key = self._text(event.value, key_mark)
            self._open(event.anchor, event.tag, key_mark)
            if event.anchor is not None:
                self._anchors[event.anchor] = Node(key, key_mark)
            child = self._node(self._next(), depth + 1)
            if key in node.keys:
                first = node.keys[key]
                self.mistakes.append((key_mark, f"key {key!r} is already given at {first.line}:{first.column}"))
                continue
            node.keys[key] = key_mark
            node.add(key, child)
            node.value[key] = child.value
        return node

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Any:
        text = self._text(event.value, mark)
        if event.style == ">" and not text:  # a folded text without a line: what was meant is the sign
            self.mistakes.append((mark, _quoted(">")))
        if not event.implicit[0]:  # quoted, literal or folded
            return text
        return self._plain(text, mark)

    def _text(self, text: str, mark: Mark) -> str:
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            self.mistakes.append((mark, "half of a surrogate pair is not text"))
        return text

    def _plain(self, text: str, mark: Mark) -> Any:
        """Resolve a plain scalar by the core schema of YAML 1.2.2, section 10.3."""
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            if len(text) > MAX_DIGITS:
                self.mistakes.append((mark, f"a whole number of more than {MAX_DIGITS} digits"))
                return 0
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                self.mistakes.append((mark, f"{text[:MAX_DIGITS]} is too large for a 64-bit number"))
            return number
        if _SPECIAL_FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1))
        return text


def _mark(mark: Any) -> Mark:
    return Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)


def _decode(raw: bytes, filename: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        place = Mark(before.count(b"\n") + 1, column)
        raise SpecError([at(filename, place, f"byte 0x{raw[error.start]:02x} is not UTF-8 text")]) from None


def parse_yaml(text: str | bytes, filename: str = "<text>") -> tuple[dict[str, Any], Node]:
    """Read one YAML 1.2 document whose top level is a mapping.

    Keys are text as written. Values used twice through an alias are the same object twice.

    Args:
        text: the document; bytes must be UTF-8.
        filename: shown in messages.

    Returns:
        The plain data, and the root node, which knows where each value stood.

    Raises:
        SpecError: the first mistake that stops the reading, or else all of the others (duplicate keys, tags …).
    """
    if len(text) > MAX_BYTES:
        raise SpecError([f"{filename}: larger than {MAX_BYTES:,} bytes"])
    if isinstance(text, bytes):
        text = _decode(text, filename)
    bad = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if bad is not None:
        before = text[: bad.start()]
        place = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise SpecError([at(filename, place, f"character U+{ord(bad.group()):04X} is not allowed in YAML")])
    composer = _Composer(text, filename)
    root = composer.document()
    if root is None:
        raise SpecError([f"{filename}:1:1: the file is empty"])
    if composer.mistakes:
        ordered = sorted(composer.mistakes, key=lambda mistake: (mistake[0].line, mistake[0].column))
        raise SpecError([at(filename, mark, mistake) for mark, mistake in ordered])
    if not isinstance(root.value, dict):
        raise SpecError([at(filename, root.mark, "the top level must be a mapping (key: value)")])
    return root.value, root


def load_spec(path_or_text: Path | str, model: type[M], *, context: Mapping[str, Any] | None = None, filename: str = "<text>") -> M:
    """Read a YAML document into a pydantic model.

    Args:
        path_or_text: a ``Path`` is a file; a ``str`` is the document itself.
        model: what the document must be. It is checked as JSON is (strict types; a list becomes a tuple).
        context: for the model's validators; they find the whole document under ``document``.
        filename: shown in messages for a document given as text.

    Raises:
        SpecError: every mistake, as ``file:line:column: …`` in the order of the file.
    """
    if isinstance(path_or_text, Path):
        filename = str(path_or_text)
        _, root = parse_yaml(read_bytes(path_or_text), filename)
    else:
        _, root = parse_yaml(path_or_text, filename)
    return checked(root, model, context=context, filename=filename)


def checked(
    root: Node, model: type[M], *, context: Mapping[str, Any] | None = None, filename: str = "<text>", also: Sequence[str] = ()
) -> M:
    """Check a document that is read already against a pydantic model; as :func:`load_spec`.

    Args:
        root: the document's root node.
        model: what it must be.
        context: for the model's validators.
        filename: shown in messages.
        also: keys of the top level that are allowed too, for messages: whoever read the document has taken them out.

    Raises:
        SpecError: every mistake, in the order of the file.
    """
    data = root.value
    beyond = [at(filename, node.mark, f"{node.value} is too large for a 64-bit number") for node in _beyond(root)]
    if beyond:
        raise SpecError(beyond)
    try:
        return model.model_validate_json(json.dumps(data), context={**(context or {}), "document": data})
    except ValidationError as error:
        found = mistakes_of(error, model, data, also)
        raise SpecError(list(_placed(found, root, filename))) from None


def said_at(root: Node, path: Sequence[str | int], text: str, filename: str) -> str:
    """Return ``file:line:column: path: text`` of a value of a document, or of as much of its path as there is.

    Args:
        root: the document's root node.
        path: keys and indices of the value.
        text: what is wrong with it.
        filename: shown where the value stands in no other file.
    """
    return at(filename, mark_of(root, path), f"{path_name(path)}: {text}")


def _beyond(node: Node) -> Iterator[Node]:
    """Yield the whole numbers of a document that 64 bits cannot hold, in its order."""
    if type(node.value) is int and node.value not in INT64:
        yield node
    for child in node.children.values():
        yield from _beyond(child)


def read_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, or of a pipe that the shell has opened (``/dev/stdin``): one more than a document may have.

    Raises:
        SpecError: it is a folder, a named pipe or a device, or cannot be read.
    """
    reason = why_not(path, pipe=True)
    if reason is not None:
        raise SpecError([f"{path}: {_REASONS.get(reason, reason)}"])
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError([f"{path}: cannot be read ({error.strerror})"]) from None


def _placed(found: Mapping[tuple[tuple[str | int, ...], str], bool], root: Node, filename: str) -> Iterator[str]:
    """Yield mistakes with their places, in the order of the file.

    Args:
        found: (path of the value, text) → whether the key, not the value, is what is wrong.
        root: the document's root node.
        filename: shown before the place.
    """
    placed = []
    for (path, text), is_key in found.items():
        node, mark = root, root.mark
        for element in path:
            mark = node.keys.get(str(element), node.children[element].mark) if is_key else node.children[element].mark
            node = node.children[element]
        placed.append(((mark.line, mark.column), at(filename, mark, text)))
    yield from dict.fromkeys(text for _, text in sorted(placed))
