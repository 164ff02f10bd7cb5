"""Files that a campaign names: found from the campaign's own folder, and copied into the run folder so that the run can be made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from neurofault.deploy.profile_file import bundled_profiles, whole_profile
from neurofault.errors import UsageError, nearest
from neurofault.specnodes import Node, at, replaced

PLACES = (("profile",), ("network", "nir"), ("network", "netx"), ("network", "weights"), ("data", "npz"), ("data", "events"))
"""Where a document names a file; a profile may be a bundled one instead."""

FOLDERS = (("data", "events"),)
"""Where a folder may stand in the place of a file; it is not copied, but named in full."""

MODULES = (("network", "torch"), ("data", "python"))
"""Where a document names what a module of the user's own makes; beside it may stand ``folder``, in which Python finds the module."""

INPUTS = "inputs"
"""Folder in the run folder that holds copies of them."""


def piped(path: Path) -> bool:
    """Return whether a document does not come from a file of its own, but through a pipe."""
    return str(path).startswith(("/dev/", "/proc/"))


def there(path: Path) -> bool:
    """Return whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def folder_there(path: Path) -> bool:
    """Return whether there is such a folder; a name that no folder can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def base_of(path: Path) -> Path:
    """Return the folder that a campaign's relative paths start from: that of its file; of a pipe, where the command runs."""
    return Path.cwd() if piped(path) else path.absolute().parent


def mapped(node: Node, place: tuple[str, ...], change: Callable[[Node], Node]) -> Node:
    """Return a document in which what stands at a place, in each value of an axis on the way there too, is another node."""
    if isinstance(node.value, dict) and "sweep" in node.value and isinstance(node.value["sweep"], list):
        values = node.children["sweep"]
        new = {index: mapped(child, place, change) for index, child in values.children.items()}
        return replaced(node, {"sweep": replaced(values, new)})
    if not place:
        return change(node)
    child = node.children.get(place[0]) if isinstance(node.value, dict) else None
    return node if child is None else replaced(node, {place[0]: mapped(child, place[1:], change)})


def from_base(root: Node, base: Path) -> Node:
    """Return a document whose paths all start from its folder: also those of included files (from theirs) and of settings (from here)."""

    def moved(node: Node) -> Node:
        file = node.mark.file
        if file is None or not isinstance(node.value, str):
            return node
        found = (Path.cwd() if file.startswith("--set ") else base_of(Path(file))) / node.value
        return Node(os.path.relpath(found, base), node.mark) if there(found) and not Path(node.value).is_absolute() else node

    def moved_folder(node: Node) -> Node:
        file = node.mark.file
        if file is None or not isinstance(node.value, str) or Path(node.value).is_absolute():
            return node
        found = (Path.cwd() if file.startswith("--set ") else base_of(Path(file))) / node.value
        return Node(os.path.relpath(found, base), node.mark) if folder_there(found) else node

    def moved_module(node: Node) -> Node:
        name = _file_of(node.value) if isinstance(node.value, str) else None
        there_now = None if name is None else moved(Node(name, node.mark)).value
        return node if name is None else Node(f"{there_now}:{node.value.partition(':')[2]}", node.mark)

    for place in PLACES:
        root = mapped(root, place, moved)
    for held in FOLDERS:
        root = mapped(root, held, moved_folder)
    for place in MODULES:
        root = mapped(root, place, moved_module)
    return root


def profile_named(value: str, base: Path) -> str:
    """Return what :func:`neurofault.deploy.profile.load_profile` takes: a file beside the campaign, or a bundled name.

    Raises:
        UsageError: it is neither.
    """
    file = base / value
    if there(file):
        return str(file)
    bundled = bundled_profiles()
    if value.removesuffix(".yaml") in bundled:
        return value
    raise UsageError(f"profile {value!r}: no file {file}, and no bundled profile of that name{nearest(value, bundled)}; bundled: {', '.join(bundled)}")  # fmt: skip


def _file_of(module: str) -> str | None:
    """Return the file that ``file.py:factory`` or ``folder/file:factory`` names; None: a module."""
    name = module.partition(":")[0]
    return None if not (name.endswith(".py") or "/" in name) else name if name.endswith(".py") else f"{name}.py"


def module_named(module: str, folder: Path) -> str:
    """Return what :func:`neurofault.importing.made_by` takes: a file's name with the folder in front of it."""
    return module if _file_of(module) is None else f"{folder / module}"


def missing_files(root: Node, base: Path, filename: str) -> list[str]:
    """Return which files that a document names are not there, each at ``file:line:column``; the document may be wrong otherwise too."""
    mistakes: list[str] = []

    def look(place: tuple[str, ...]) -> Callable[[Node], Node]:
        def visit(node: Node) -> Node:
            if isinstance(node.value, str):
                if place == ("profile",):
                    try:
                        profile_named(node.value, base)
                    except UsageError as error:
                        mistakes.append(at(filename, node.mark, str(error)))
                elif not (there(base / node.value) or (place in FOLDERS and folder_there(base / node.value))):
                    kind = "file or folder" if place in FOLDERS else "file"
                    mistakes.append(at(filename, node.mark, f"{'.'.join(place)}: no {kind} {base / node.value}"))
            return node

        return visit

    def module(part: str, key: str) -> Callable[[Node], Node]:
        def visit(node: Node) -> Node:
            named = node.value.get(key) if isinstance(node.value, dict) else None
            file = _file_of(named) if isinstance(named, str) else None
            folder = node.value.get("folder", ".") if isinstance(node.value, dict) else None
            if file is not None and isinstance(folder, str) and not there(where := base / folder / file):
                mistakes.append(at(filename, node.children[key].mark, f"{part}.{key}: no file {where}"))
            return node

        return visit

    for place in PLACES:
        mapped(root, place, look(place))
    for part, key in MODULES:
        mapped(root, (part,), module(part, key))
    return mistakes


def digests_in(root: Node, base: Path) -> Any:
    """Return a document's data with the digest of each file in place of its name, and without the folder of a module.

    Raises:
        SpecError: a profile extends what it cannot.
    """

    def profile(node: Node) -> Node:
        if not isinstance(node.value, str) or not there(base / node.value):
            return node
        return Node({"file": blake2b(whole_profile(base / node.value), digest_size=16).hexdigest()}, node.mark)

    def read(node: Node) -> Node:
        if isinstance(node.value, str):
            found = base / node.value
            if there(found):
                with found.open("rb") as file:
                    digest = blake2b(digest_size=16)
                    while part := file.read(1 << 20):
                        digest.update(part)
                return Node({"file": digest.hexdigest()}, node.mark)
        return node

    def bare(node: Node) -> Node:
        if not isinstance(node.value, dict) or "folder" not in node.value:
            return node
        made = Node({}, node.mark, node.keys)
        for key, child in node.children.items():
            if key != "folder":
                made.add(key, child)
                made.value[key] = child.value
        return made

    for place in PLACES:
        root = mapped(root, place, profile if place == ("profile",) else read)
    for part, _ in MODULES:
        root = mapped(root, (part,), bare)
    return root.value


def portable(root: Node, base: Path, save: Callable[[str, Path, bool], None]) -> Any:
    """Return a document's data as it reads in the run folder: each file is a copy there, and a module's folder is named in full.

    Args:
        root: the document.
        base: what its paths start from.
        save: called with the name that a copy has in :data:`INPUTS`, the file, and whether it is a profile, which may extend another.
    """
    names: dict[Path, str] = {}

    def profile(node: Node) -> Node:
        return copied(node, True)

    def copied(node: Node, profile: bool = False) -> Node:
        if not isinstance(node.value, str) or not there(base / node.value):
            return node
        file = (base / node.value).resolve()
        if file not in names:
            name, number = file.name, 1
            while name in names.values():
                number += 1
                name = f"{file.stem}-{number}{file.suffix}"
            names[file] = name
            save(name, file, profile)
        return Node(f"{INPUTS}/{names[file]}", node.mark)

    def placed(node: Node) -> Node:
        if not isinstance(node.value, dict) or not any(key in node.value for _, key in MODULES):
            return node
        return replaced(node, {"folder": Node(str((base / node.value.get("folder", ".")).resolve()), node.mark)})

    def whole(node: Node) -> Node:
        found = base / node.value if isinstance(node.value, str) else None
        return Node(str(found.resolve()), node.mark) if found is not None and folder_there(found) else node

    for held in FOLDERS:
        root = mapped(root, held, whole)
    for place in PLACES:
        root = mapped(root, place, profile if place == ("profile",) else copied)
    for part, _ in MODULES:
        root = mapped(root, (part,), placed)
    return root.value


def shown(value: Any) -> Any:
    """Return a value of a campaign as a report names it: a copied file by its own name."""
    return value.removeprefix(f"{INPUTS}/") if isinstance(value, str) else value
