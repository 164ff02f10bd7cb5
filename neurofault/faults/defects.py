"""Defect maps: what is known to be broken on a piece of hardware, as a YAML file of explicit sites; unions and intersections.

A map is a list of faults that name their sites::

    defects:
      - {kind: core_dead, cores: [5, "12-15"]}
      - {kind: link_dead, links: ["1,0:E"]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurofault.errors import FaultError
from neurofault.faults.base import Fault
from neurofault.faults.mistakes import FaultMistakes, Mistake
from neurofault.faults.models import fault_from_mapping, fault_to_mapping
from neurofault.files import why_not, write_whole


def load_defects(path: str | Path) -> tuple[Fault, ...]:
    """Read a defect map.

    Raises:
        FaultError: no such file, no list ``defects``, or entries that are wrong or do not name their sites; all at once, each at
            ``file:line:column``.
        SpecError: not YAML.
    """
    from neurofault.specfile import parse_yaml, read_bytes
    from neurofault.specnodes import at, mark_of

    reason = why_not(Path(path))
    if reason is not None:
        raise FaultError(f"{path}: {reason}")
    data, root = parse_yaml(read_bytes(Path(path)), str(path))
    entries = data.get("defects")
    if set(data) != {"defects"} or not isinstance(entries, list):
        raise FaultError(f"{path}: a defect map holds one list, defects")
    faults, mistakes = [], []
    for index, node in root.children["defects"].children.items():
        try:
            if not isinstance(node.value, dict):
                raise FaultMistakes([Mistake("must be a mapping such as {kind: core_dead, cores: [5]}")])
            faults.append(_explicit(fault_from_mapping(node.value)))
        except FaultMistakes as error:
            for mistake in error.mistakes:
                place = mark_of(node, mistake.path, at_key=mistake.at_key)
                mistakes.append(at(str(path), place, f"defect {int(index) + 1}: {mistake.text}"))
    if mistakes:
        raise FaultError("\n".join(mistakes))
    return tuple(faults)


def defects_of(mappings: Sequence[Mapping[str, Any]]) -> tuple[Fault, ...]:
    """Return the faults of a defect map that is given as mappings.

    Raises:
        FaultError: entries that are wrong or do not name their sites, all at once.
    """
    faults, mistakes = [], []
    for index, one in enumerate(mappings):
        try:
            faults.append(_explicit(fault_from_mapping(dict(one))))
        except FaultError as error:
            mistakes.append(f"defect {index + 1}: {error}")
    if mistakes:
        raise FaultError("; ".join(mistakes))
    return tuple(faults)


def save_defects(faults: Sequence[Fault], path: str | Path) -> None:
    """Write a defect map.

    Raises:
        FaultError: a fault does not name its sites.
    """
    import yaml

    entries = [fault_to_mapping(_explicit(fault)) for fault in faults]
    text = yaml.safe_dump({"defects": entries}, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_whole(Path(path), text.encode())


def union(*maps: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return what is broken in at least one of some defect maps."""
    return _combined(maps, lambda parts: [site for part in parts for site in part])


def intersection(*maps: Sequence[Fault]) -> tuple[Fault, ...]:
    """Return what is broken in all of some defect maps."""
    return _combined(maps, lambda parts: [site for site in parts[0] if all(site in part for part in parts[1:])])


def _explicit(fault: Fault) -> Fault:
    if fault.sites is None:
        text = f"{fault.kind}: a defect map names its sites: give {fault.list_field}, not count or rate"
        raise FaultMistakes([Mistake(text, ("count" if fault.rate is None else "rate",))])
    return fault


def _combined(maps: Sequence[Sequence[Fault]], join: Callable[[list[list[Any]]], list[Any]]) -> tuple[Fault, ...]:
    """Combine the lists of faults that are alike but for their sites."""
    alike: dict[tuple[Any, ...], Fault] = {}
    for fault in (fault for one in maps for fault in one):
        alike.setdefault(_likeness(_explicit(fault)), fault)
    combined = []
    for likeness, fault in alike.items():
        parts = [[site for other in one if _likeness(other) == likeness for site in other.sites or ()] for one in maps]
        sites = list(dict.fromkeys(join(parts)))
        if sites:
            combined.append(fault.replace(**{fault.list_field: sites}))
    return tuple(combined)


def _likeness(fault: Fault) -> tuple[Any, ...]:
    return (fault.kind, *(getattr(fault, name) for name in type(fault).model_fields if name != fault.list_field))
