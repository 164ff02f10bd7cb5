"""A checked campaign: its axes and its cells, every mistake at file:line:column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurofault.errors import SpecError
from neurofault.faults import Fault, fault_from_mapping
from neurofault.faults.mistakes import FaultMistakes
from neurofault.faults.plan import models_of
from neurofault.numerals import INT64, plural
from neurofault.specfile import checked, read_bytes
from neurofault.specnodes import Node, at, mark_of
from neurofault.study.campaign.axes import Axis, Place, axes_of, choices, chosen, one_at_a_time, read_document
from neurofault.study.campaign.files import base_of, from_base, missing_files
from neurofault.study.campaign.mapping import GIVEN, document_of, source_of
from neurofault.study.campaign.records import CampaignSpec
from neurofault.study.campaign.ways import Rescue

MAX_TRIALS = 10_000_000
"""Most trials of one campaign."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One combination of all axes, one plan of faults, one way of healing; its trials differ in the draw alone.

    Attributes:
        index: from 0, in the order of the file.
        spec: the file with the axes' values.
        plan: which item of ``faults``.
        faults: the models of that item.
        way: which item of ``rescue``.
        rescue: that item.
        axes: name → value of the axes that vary in this cell.
    """

    index: int
    spec: CampaignSpec
    plan: int
    faults: tuple[Fault, ...]
    way: int
    rescue: Rescue
    axes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Campaign:
    """A checked campaign.

    Attributes:
        path: its file.
        base: folder that its relative paths start from.
        source: its bytes, as they were read.
        root: the document, includes and settings taken in, axes still in it.
        axes: in the order of the file.
        spec: with the first value of each axis.
    """

    path: Path
    base: Path
    source: bytes
    root: Node
    axes: tuple[Axis, ...]
    spec: CampaignSpec

    @property
    def n_cells(self) -> int:
        """Number of cells, counted without making them."""
        common = _product(axis for axis in self.axes if axis.place[0] not in ("faults", "rescue"))

        def own(part: str, items: int) -> int:
            return sum(_product(axis for axis in self.axes if axis.place[:2] == (part, item)) for item in range(items))

        return common * own("faults", len(self.spec.faults)) * own("rescue", len(self.spec.rescue))

    def ways(self) -> Iterator[Rescue]:
        """Yield every way of healing, each with every value of its own axes."""
        for way in range(len(self.spec.rescue)):
            for healed in choices(_axes_in(self.axes, "rescue", way)):
                yield CampaignSpec.model_validate(chosen(self.root, healed).value).rescue[way]

    @property
    def n_trials(self) -> int:
        """Most trials: cells times draws (an axis may vary the draws; the largest counts)."""
        draws = [axis.values for axis in self.axes if axis.place == ("repeats", "draws")]
        most = max(int(value) for value in draws[0]) if draws else self.spec.repeats.draws
        return self.n_cells * most

    def cells(self) -> Iterator[Cell]:
        """Yield the cells: common axes slowest, then plans and their axes, then ways of healing and theirs."""
        common = [axis for axis in self.axes if axis.place[0] not in ("faults", "rescue")]
        index = 0
        for shared in choices(common):
            for plan in range(len(self.spec.faults)):
                for broken in choices(_axes_in(self.axes, "faults", plan)):
                    for way in range(len(self.spec.rescue)):
                        for healed in choices(_axes_in(self.axes, "rescue", way)):
                            choice = {**shared, **broken, **healed}
                            yield self._cell(index, plan, way, choice)
                            index += 1

    def _cell(self, index: int, plan: int, way: int, choice: dict[Place, int]) -> Cell:
        root = chosen(self.root, choice)
        spec = CampaignSpec.model_validate(root.value)
        named = {axis.name: axis.values[choice[axis.place]] for axis in self.axes if axis.place in choice}
        return Cell(index, spec, plan, tuple(models_of(spec.faults[plan])), way, spec.rescue[way], named)


def _axes_in(axes: Sequence[Axis], part: str, item: int) -> list[Axis]:
    return [axis for axis in axes if axis.place[:2] == (part, item)]


def _product(axes: Iterator[Axis]) -> int:
    total = 1
    for axis in axes:
        total *= len(axis.values)
    return total


def load_campaign(path: Path, settings: Sequence[str] = (), *, files: bool = False) -> Campaign:
    """Read and check a campaign file.

    Every value of every axis is checked, each beside the first values of the others.

    Args:
        path: a YAML file.
        settings: ``place=value`` each; see :func:`neurofault.study.campaign.axes.read_document`.
        files: whether a file that it names and that is not there is a mistake: what is to run needs them, what has run does not.

    Raises:
        SpecError: every mistake, at ``file:line:column``.
    """
    source, base = read_bytes(path), base_of(path)
    return _checked(path, base, source, from_base(read_document(path, source, settings), base), files=files)


def campaign_of(given: Mapping[str, Any]) -> Campaign:
    """Check a campaign that is given as a mapping; its relative paths start from where Python runs, and the files that it names must be there.

    Raises:
        SpecError: every mistake, by its place in the mapping.
    """
    source = source_of(given)
    return _checked(GIVEN, Path.cwd(), source, document_of(source), files=True)


def _checked(path: Path, base: Path, source: bytes, root: Node, *, files: bool) -> Campaign:
    axes = axes_of(root, str(path))
    if sum(len(axis.values) for axis in axes) > 10_000:
        raise SpecError([f"{path}: more than 10,000 values in sweeps"])
    whole = [axis for axis in axes if len(axis.place) == 1]
    if any(axis.place[0] in ("faults", "rescue", "name", "limits") for axis in whole):
        raise SpecError([f"{path}: {axis.name} itself cannot be a sweep" for axis in whole])
    mistakes: dict[str, None] = {}
    first: CampaignSpec | None = None
    for choice in one_at_a_time(axes):
        concrete = chosen(root, choice)
        try:
            spec = checked(concrete, CampaignSpec, filename=str(path))
            first = first or spec
        except SpecError as error:
            mistakes.update(dict.fromkeys(error.mistakes))
        plans = concrete.children["faults"].children if "faults" in concrete.children else {}
        for item, node in plans.items():
            if isinstance(node.value, dict):
                mistakes.update(dict.fromkeys(_fault_mistakes(node, f"faults[{item}]", str(path))))
    if files:
        mistakes.update(dict.fromkeys(missing_files(root, base, str(path))))
    if mistakes:
        raise SpecError(list(mistakes) if path == GIVEN else sorted(mistakes, key=_order))
    assert first is not None
    campaign = Campaign(path, base, source, root, tuple(axes), first)
    if campaign.n_trials > MAX_TRIALS:
        raise SpecError([f"{path}: {plural(campaign.n_trials, 'trial')}; at most {MAX_TRIALS:,} in one campaign"])
    return campaign


def _order(mistake: str) -> tuple[str, int, int, str]:
    found = re.match(r"(.*?):(\d+):(\d+): ", mistake)
    return (found[1], int(found[2]), int(found[3]), mistake) if found else ("", 0, 0, mistake)


def _fault_mistakes(node: Node, name: str, filename: str) -> Iterator[str]:
    """Yield what is wrong with one plan, each mistake at its place."""
    if set(node.value) == {"all"}:
        items = node.children["all"]
        if not isinstance(items.value, list) or not items.value or not all(isinstance(one, dict) for one in items.value):
            yield at(filename, items.mark, f"{name}.all: expected a list of faults")
            return
        for index, child in items.children.items():
            yield from _fault_mistakes(child, f"{name}.all[{index}]", filename)
        return
    try:
        fault_from_mapping(node.value)
    except FaultMistakes as error:
        for mistake in error.mistakes:
            value = node.value.get(mistake.path[0]) if mistake.path else None
            if not (type(value) is int and value not in INT64):  # of such a number the document's own check says it
                yield at(filename, mark_of(node, mistake.path, at_key=mistake.at_key), f"{name}: {mistake.text}")
