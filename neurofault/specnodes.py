"""Values of a document and where each of them stood."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A place in a document; line and column count from 1 (0: the whole of it); ``file`` where it is another file than the document's own."""

    line: int
    column: int
    file: str | None = None


@dataclass(eq=False)
class Node:
    """A value and where it stood.

    Attributes:
        value: plain data: dict, list, str, int, float, bool or None.
        mark: where the value starts.
        keys: for a mapping, where each key stands.
        children: for a mapping or a list, the nodes inside, by key or index.
        size: values inside, itself included, aliases counted in full.
        height: levels of nesting inside.
    """

    value: Any
    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    children: dict[str | int, Node] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    def add(self, key: str | int, child: Node) -> None:
        """Put a child in, keeping ``size`` and ``height``."""
        self.children[key] = child
        self.size += child.size
        self.height = max(self.height, child.height + 1)


def at(filename: str, mark: Mark, text: str) -> str:
    """Return ``file:line:column: text``; a mark on line 0 is the whole source, ``source: text``."""
    source = mark.file or filename
    return f"{source}:{mark.line}:{mark.column}: {text}" if mark.line else f"{source}: {text}"


def mark_of(node: Node, path: Sequence[str | int], *, at_key: bool = False) -> Mark:
    """Return where a value stands, or as much of its path as there is.

    Args:
        node: what the path begins in.
        path: keys and indices.
        at_key: its last key, not its value.
    """
    mark = node.mark
    for index, element in enumerate(path):
        if element not in node.children:
            break
        mark = node.keys[str(element)] if at_key and index + 1 == len(path) else node.children[element].mark
        node = node.children[element]
    return mark


def replaced(node: Node, new: Mapping[Any, Node], without: Collection[str | int] = ()) -> Node:
    """Return a mapping or a list with some of its children replaced, added, or (of a mapping) left out.

    Args:
        node: what stays as it is.
        new: key or index → what stands there now.
        without: keys that are left out.
    """
    made = Node(
        [] if isinstance(node.value, list) else {}, node.mark, {key: mark for key, mark in node.keys.items() if key not in without}
    )
    for key, child in {**node.children, **new}.items():
        if key in without:
            continue
        made.add(key, child)
        if isinstance(made.value, list):
            made.value.append(child.value)
        else:
            made.value[key] = child.value
            made.keys.setdefault(str(key), child.mark)
    return made
