"""The file of a hardware profile, and what it takes over from the one that it extends.

``extends: loihi2`` names a bundled profile, or a file (from the folder of this one). The file then says only what differs:

- ``chip``, ``core``, ``synapse``, ``neuron``, ``learning`` and any other section are taken over key by key; a number is replaced as a whole,
  with its source; ``null`` makes it unknown. A section that says its ``kind``, and ``learning`` with ``available``, is written anew.
- ``name``, ``title``, ``facts`` and what is known bad (``dead_cores``, ``dead_chips``, ``dead_links``) are never taken over.
- Costs neither, but for tables that are named, ``energy_tables: {davies2018: {inherit: unchanged}}`` for the same silicon, or
  ``{inherit: assumed, reason: …}`` for another: evidence of each number is ``assumed`` then. A table may say other costs beside that.
- ``sources`` are taken over where a number that is taken over names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurofault.errors import SpecError, UsageError, nearest
from neurofault.specfile import parse_yaml, read_bytes
from neurofault.specnodes import Mark, Node, at, replaced

_OWN = ("name", "title", "facts", "dead_cores", "dead_chips", "dead_links", "energy_tables", "default_energy", "extends")
"""What is never taken over."""

_INHERIT = ("unchanged", "assumed")


def profile_folder() -> Path:
    """Return the folder of the bundled profiles: inside the package (wheel) or beside it (source checkout)."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "hardware_profiles"
    return inside if inside.is_dir() else package.parent / "hardware_profiles"


def bundled_profiles() -> list[str]:
    """Return the names of the bundled profiles, sorted."""
    return sorted(file.stem for file in profile_folder().glob("*.yaml"))


def profile_path(name_or_path: str | Path, folder: Path = Path()) -> Path:
    """Return the file of a profile.

    Args:
        name_or_path: a YAML file, or the name of a bundled profile with or without ``.yaml``; a file that exists wins.
        folder: what a relative path starts from.

    Raises:
        UsageError: there is neither such a file nor such a bundled profile; the text names the nearest one and lists all.
    """
    path = folder / name_or_path
    if path.is_file():
        return path
    name = str(name_or_path).removesuffix(".yaml")
    bundled = bundled_profiles()
    if name not in bundled:
        raise UsageError(
            f"no profile {str(name_or_path)!r}{nearest(name, bundled)}: neither a file nor a bundled profile ({', '.join(bundled)})"
        )
    return profile_folder() / f"{name}.yaml"


@dataclass(frozen=True, eq=False)
class ProfileDocument:
    """A profile as its files say it, not checked yet.

    Attributes:
        root: the whole document, without ``extends``; values that another file says know that file.
        inherited: path of a key (``core.neurons``) → name of the profile that says it, for what is taken over.
        files: the file, the one that it extends, and so on.
    """

    root: Node
    inherited: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def read_profile_file(path: Path) -> ProfileDocument:
    """Read a profile's file and those that it extends.

    Raises:
        SpecError: mistakes in the YAML or in what is taken over, at ``file:line:column``.
    """
    return _read(path, ())


def whole_profile(path: Path) -> bytes:
    """Return a profile's file as it reads on its own: of one that extends another, with what it takes over.

    Raises:
        SpecError: as :func:`read_profile_file`.
    """
    document = read_profile_file(path)
    if len(document.files) == 1:
        return path.read_bytes()
    return (json.dumps(document.root.value, indent=1, ensure_ascii=False) + "\n").encode()


def _read(path: Path, before: tuple[Path, ...]) -> ProfileDocument:
    filename = str(path)
    _, root = parse_yaml(read_bytes(path), filename)
    if before:
        root = _of_file(root, filename)
    files = (*before, path)
    root = replaced(root, {}, [key for key, value in root.value.items() if value is None and key not in ("name", "title")])
    named = root.children.get("extends")
    if named is None:
        return ProfileDocument(_without_inherit(root, filename), files=(path,))

    def wrong(text: str) -> SpecError:
        return SpecError([at(filename, named.mark, f"extends: {text}")])

    if not isinstance(named.value, str):
        raise wrong("expected the name of a bundled profile or a file")
    try:
        base = profile_path(named.value, path.parent)
    except UsageError as error:
        raise wrong(str(error)) from None
    resolved = [file.resolve() for file in files]
    if base.resolve() in resolved:
        circle = " → ".join(file.name for file in (*files[resolved.index(base.resolve()) :], base))
        raise wrong(f"a circle: {circle}")
    parent = _read(base, files)
    merged = _Merge(root, parent, filename)
    if merged.mistakes:
        raise SpecError(merged.mistakes)
    return ProfileDocument(merged.root, merged.inherited, (path, *parent.files))


class _Merge:
    """A file and what it takes over.

    Attributes:
        root: the whole document.
        inherited: see :class:`ProfileDocument`.
        mistakes: at ``file:line:column``.
    """

    def __init__(self, own: Node, parent: ProfileDocument, filename: str) -> None:
        self.filename, self.parent = filename, parent
        self.base_name = str(parent.root.value.get("name", parent.files[0].stem))
        self.inherited: dict[str, str] = {}
        self.mistakes: list[str] = []
        sections: dict[Any, Node] = {}
        for key, node in parent.root.children.items():
            if key in _OWN or key == "sources":
                continue
            mine = own.children.get(key)
            if mine is None:
                sections[key] = node
                self._note(str(key), node)
            elif _is_section(mine) and _is_section(node) and not {"available", "kind"} & set(mine.value):
                sections[key] = self._section(str(key), mine, node)
        tables = own.children.get("energy_tables")
        if tables is not None and isinstance(tables.value, dict):
            sections["energy_tables"] = self._tables(tables)
        merged = replaced(own, sections, ["extends"])
        self.root = replaced(merged, {"sources": self._sources(merged)})

    def _note(self, path: str, node: Node) -> None:
        """Note of what is taken over who says it: of a section each key."""
        if _is_section(node):
            for key, child in node.children.items():
                self._note(f"{path}.{key}", child)
        else:
            self.inherited[path] = self.parent.inherited.get(path, self.base_name)

    def _section(self, path: str, own: Node, base: Node) -> Node:
        """Return a section with what is taken over, key by key."""
        taken = {}
        for key, node in base.children.items():
            mine = own.children.get(key)
            if mine is None:
                taken[key] = node
                self._note(f"{path}.{key}", node)
            elif _is_section(mine) and _is_section(node):
                taken[key] = self._section(f"{path}.{key}", mine, node)
        return replaced(own, taken)

    def _tables(self, tables: Node) -> Node:
        """Return the tables of costs, those that are taken over by name in full."""
        base = self.parent.root.children.get("energy_tables")
        there = {} if base is None or not isinstance(base.value, dict) else base.children
        full = {}
        for name, table in tables.children.items():
            how = table.children.get("inherit")
            if how is None:
                continue
            path = f"energy_tables.{name}"
            reason = table.children.get("reason")
            if how.value not in _INHERIT:
                near = nearest(str(how.value), _INHERIT)
                self._wrong(
                    how,
                    f"{path}.inherit: {how.value!r} is not allowed{near}; allowed: unchanged (the same silicon), assumed (another)",
                )
            elif name not in there:
                names = f"; tables: {', '.join(map(str, there))}" if there else ", which has none"
                self._wrong(how, f"{path}: no table of {self.base_name}{nearest(str(name), [str(each) for each in there])}{names}")
            elif how.value == "assumed" and (reason is None or not isinstance(reason.value, str) or not reason.value.strip()):
                self._wrong(how, f"{path}: is assumed and does not say why (add reason)")
            elif how.value == "unchanged" and reason is not None:
                self._wrong(reason, f"{path}: reason goes with inherit: assumed")
            else:
                source = there[name]
                if how.value == "assumed":
                    assert reason is not None
                    source = _assumed(source, self.base_name, reason.value)
                full[name] = self._section(path, replaced(table, {}, ["inherit", "reason"]), source)
        return replaced(tables, full)

    def _sources(self, merged: Node) -> Node:
        """Return the sources: the file's own, and those that numbers which are taken over name."""
        own = merged.children.get("sources", Node({}, merged.mark))
        base = self.parent.root.children.get("sources", Node({}, merged.mark))
        used = set(_sources_of_others(merged, self.filename)) & {str(key) for key in base.children}
        taken = {}
        for key in base.children:
            mine = own.children.get(key)
            if key not in used:
                continue
            if mine is None:
                taken[key] = base.children[key]
            elif mine.value != base.children[key].value:
                text = f"sources.{key}: {self.base_name} has another source of this name, which numbers taken over go by; choose another key"
                self.mistakes.append(at(self.filename, own.keys[str(key)], text))
        return replaced(own, taken)

    def _wrong(self, node: Node, text: str) -> None:
        self.mistakes.append(at(self.filename, node.mark, text))


def _is_section(node: Node) -> bool:
    """Say whether a value is a mapping of others, not a number with its source."""
    return isinstance(node.value, dict) and "value" not in node.value


def _without_inherit(root: Node, filename: str) -> Node:
    """Return a document that extends nothing; refuse costs that it would take over.

    Raises:
        SpecError: at their places.
    """
    tables = root.children.get("energy_tables")
    wrong = [
        at(filename, table.children["inherit"].mark, f"energy_tables.{name}.inherit: goes with extends: PROFILE, whose table it is")
        for name, table in ({} if tables is None else tables.children).items()
        if "inherit" in table.children
    ]
    if wrong:
        raise SpecError(wrong)
    return root


def _assumed(node: Node, base: str, reason: str) -> Node:
    """Return costs of another chip as what they are here: assumed, and why."""
    if _is_section(node):
        new = {key: _assumed(child, base, reason) for key, child in node.children.items() if isinstance(child.value, dict)}
        title = node.children.get("title")
        if title is not None and isinstance(title.value, str):
            new["title"] = Node(f"{title.value} ({base}'s, assumed)", title.mark)
        return replaced(node, new)
    note = node.value.get("note")
    text = f"{base}'s: {reason}" if not note else f"{base}'s: {reason}; {note}"
    return replaced(node, {"evidence": Node("assumed", node.mark), "note": Node(text, node.mark)})


def _sources_of_others(node: Node, filename: str) -> Iterator[str]:
    """Yield the keys of sources that values of other files than this one name."""
    named = node.children.get("source")
    if named is not None and named.mark.file not in (None, filename):
        yield from [named.value] if isinstance(named.value, str) else [key for key in named.value if isinstance(key, str)]
    for key, child in node.children.items():
        if key != "sources":
            yield from _sources_of_others(child, filename)


def _of_file(node: Node, filename: str) -> Node:
    """Return a node whose marks name their file."""

    def mark(place: Mark) -> Mark:
        return place if place.file is not None else Mark(place.line, place.column, filename)

    made = Node([] if isinstance(node.value, list) else {} if isinstance(node.value, dict) else node.value, mark(node.mark))
    made.keys = {key: mark(place) for key, place in node.keys.items()}
    for key, child in node.children.items():
        made.add(key, _of_file(child, filename))
        if isinstance(made.value, list):
            made.value.append(made.children[key].value)
        else:
            made.value[key] = made.children[key].value
    return made
