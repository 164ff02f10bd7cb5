"""``{sweep: […]}`` is an axis: where they are in a document, and the document with one value of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from neurofault.errors import SpecError
from neurofault.specfile import parse_yaml, read_bytes
from neurofault.specnodes import Mark, Node, at
from neurofault.study.campaign.files import piped

Place = tuple[str | int, ...]
"""Keys and indices from the top of a document to a value."""

MAX_INCLUDES = 8
"""Deepest chain of included files."""


@dataclass(frozen=True)
class Axis:
    """One ``{sweep: […]}``.

    Attributes:
        place: where it stands.
        values: what it takes, plain data, at least one.
    """

    place: Place
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Return ``faults.0.count``."""
        return ".".join(map(str, self.place))


def axes_of(root: Node, filename: str) -> list[Axis]:
    """Return the axes of a document, in its order.

    Raises:
        SpecError: a sweep that is no list, an empty one, one with keys beside it, or one inside another.
    """
    mistakes: list[str] = []
    found: list[Axis] = []

    def visit(node: Node, place: Place, inside: bool) -> None:
        if isinstance(node.value, dict) and "sweep" in node.value:
            mark = node.keys["sweep"]
            values = node.value["sweep"]
            others = [key for key in node.value if key != "sweep"]
            name = ".".join(map(str, place)) or "the top level"
            if others:
                mistakes.append(at(filename, mark, f"{name}: sweep stands alone in its mapping, not beside {', '.join(others)}"))
            elif inside:
                mistakes.append(at(filename, mark, f"{name}: a sweep cannot stand inside another"))
            elif not place:
                mistakes.append(at(filename, mark, "the top level cannot be a sweep"))
            elif not isinstance(values, list) or not values:
                mistakes.append(at(filename, mark, f"{name}: sweep takes a list with at least one value"))
            else:
                found.append(Axis(place, tuple(values)))
                for index in range(len(values)):
                    visit(node.children["sweep"].children[index], (*place, index), True)
            return
        if isinstance(node.value, dict) and len(node.value) == 1:
            (word,) = node.value
            if isinstance(node.value[word], list) and get_close_matches(str(word), ["sweep"]):
                mistakes.append(
                    at(filename, node.keys[word], f"{'.'.join(map(str, place))}: unknown key {word!r} (did you mean 'sweep'?)")
                )
        for key, child in node.children.items():
            visit(child, (*place, key), inside)

    visit(root, (), False)
    if mistakes:
        raise SpecError(mistakes)
    return found


def chosen(root: Node, choice: Mapping[Place, int]) -> Node:
    """Return a document in which each axis is replaced by one of its values, with that value's mark.

    Args:
        root: the document.
        choice: place of an axis → index of its value; 0 where it is not named.
    """

    def visit(node: Node, place: Place) -> Node:
        if isinstance(node.value, dict) and "sweep" in node.value:
            return node.children["sweep"].children[choice.get(place, 0)]
        if not node.children:
            return node
        made: Node = Node([] if isinstance(node.value, list) else {}, node.mark, dict(node.keys))
        for key, child in node.children.items():
            new = visit(child, (*place, key))
            made.add(key, new)
            if isinstance(made.value, list):
                made.value.append(new.value)
            else:
                made.value[key] = new.value
        return made

    return visit(root, ())


def choices(axes: Sequence[Axis]) -> Iterator[dict[Place, int]]:
    """Yield every combination of values, the last axis fastest."""
    for indices in product(*(range(len(axis.values)) for axis in axes)):
        yield {axis.place: index for axis, index in zip(axes, indices, strict=True)}


def one_at_a_time(axes: Sequence[Axis]) -> Iterator[dict[Place, int]]:
    """Yield choices in which every value of every axis occurs, each beside the first values of the others."""
    yield {}
    for axis in axes:
        for index in range(1, len(axis.values)):
            yield {axis.place: index}


def read_document(path: Path, source: bytes, settings: Sequence[str] = ()) -> Node:
    """Read a campaign file with what it includes, and change values in it.

    ``include: base.yaml`` (or a list) takes over what the named files say (paths from the including file); mappings are merged key by
    key, anything else is replaced, the including file has the last word.

    Args:
        path: the file.
        source: its bytes.
        settings: ``place=value`` each, such as ``faults.0.count={sweep: [1, 2]}``; values are YAML.

    Raises:
        SpecError: as :func:`neurofault.specfile.parse_yaml`; an include that is no path or includes itself; a place that is not there.
    """
    root = _included(path, source, ())
    for setting in settings:
        root = _set(root, setting)
    return root


def _included(path: Path, source: bytes, above: tuple[Path, ...]) -> Node:
    _, root = parse_yaml(source, str(path))
    if above:
        root = _of_file(root, str(path))
    if "include" not in root.value:
        return root
    node = root.children["include"]
    mark = replace(node.mark, file=node.mark.file or str(path))
    names = node.value if isinstance(node.value, list) else [node.value]
    if not all(isinstance(name, str) for name in names):
        raise SpecError([at(str(path), mark, "include: expected the path of a file, or a list of them")])
    here = path.resolve()
    if here in above or len(above) >= MAX_INCLUDES:
        raise SpecError([at(str(path), mark, f"include: more than {MAX_INCLUDES} files deep, or a file that includes itself")])
    own = Node(
        {key: value for key, value in root.value.items() if key != "include"},
        root.mark,
        {key: one for key, one in root.keys.items() if key != "include"},
    )
    for key, child in root.children.items():
        if key != "include":
            own.add(key, child)
    merged: Node | None = None
    for name in names:
        file = Path(name) if piped(path) else path.parent / name
        try:
            content = read_bytes(file)
        except (SpecError, ValueError) as error:  # say where it was asked for; ValueError: a name that no file can have
            raise SpecError([at(str(path), mark, f"include: {error}")]) from None
        base = _included(file, content, (*above, here))
        base = base if above else _of_file(base, str(file))
        merged = base if merged is None else _merged(merged, base)
    return own if merged is None else _merged(merged, own)


def _of_file(node: Node, file: str, *, whole: bool = False) -> Node:
    """Return a node whose marks name their file; ``whole``: and no place in it."""

    def marked(mark: Mark) -> Mark:
        return mark if mark.file else Mark(0, 0, file) if whole else replace(mark, file=file)

    made = Node(node.value, marked(node.mark), {key: marked(mark) for key, mark in node.keys.items()})
    for key, child in node.children.items():
        made.add(key, _of_file(child, file, whole=whole))
    return made


def _merged(under: Node, over: Node) -> Node:
    if not (isinstance(under.value, dict) and isinstance(over.value, dict)):
        return over
    made = Node({}, over.mark, {**under.keys, **over.keys})
    for key in {**under.children, **over.children}:
        if key in under.children and key in over.children:
            child = _merged(under.children[key], over.children[key])
        else:
            child = over.children.get(key) or under.children[key]
        made.add(key, child)
        made.value[key] = child.value
    return made


def _set(root: Node, setting: str) -> Node:
    source = f"--set {setting}"
    place, equals, text = setting.partition("=")
    if not equals or not place.strip():
        raise SpecError([f"{source}: expected PLACE=VALUE, such as faults.0.count=4"])
    _, parsed = parse_yaml(f"value: {text}", source)
    value = _of_file(parsed.children["value"], source, whole=True)
    steps: list[str | int] = [int(step) if re.fullmatch("[0-9]{1,9}", step) else step for step in place.strip().split(".")]

    def visit(node: Node, at_step: int) -> Node:
        step = steps[at_step]
        last = at_step == len(steps) - 1
        if isinstance(node.value, list):
            if not isinstance(step, int) or step >= len(node.value):
                raise SpecError([f"{source}: {step!r} is not there: a list of {len(node.value)}, counted from 0"])
        elif not isinstance(node.value, dict):
            raise SpecError([f"{source}: nothing can be set inside {'.'.join(map(str, steps[:at_step]))}, which is a plain value"])
        else:
            step = str(step)
        child = node.children.get(step)
        if not last and child is None:
            child = Node({}, value.mark)
        new = value if last else visit(child or Node({}, value.mark), at_step + 1)
        made = Node([] if isinstance(node.value, list) else {}, node.mark, {**node.keys})
        if isinstance(node.value, dict):
            made.keys.setdefault(str(step), value.mark)
        for key in {**node.children, step: None}:
            part = new if key == step else node.children[key]
            made.add(key, part)
            if isinstance(made.value, list):
                made.value.append(part.value)
            else:
                made.value[key] = part.value
        return made

    return visit(root, 0)
