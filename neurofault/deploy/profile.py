"""`HardwareProfile`: what a chip has and what it costs, every number with its source.

A profile is a YAML file (``hardware_profiles/*.yaml``). Each number in it is a :class:`Quantity`: the value, its unit, where it was
read and how good that evidence is. A value of ``null`` means that the number is not known, as leaving its key out does; such a limit is
shown as "not checked". A profile may extend another one (:mod:`neurofault.deploy.profile_file`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from neurofault.deploy.arithmetic_spec import AnyArithmetic, ArithmeticSpec
from neurofault.deploy.contradictions import contradictions
from neurofault.deploy.core_ids import core_problem, core_range
from neurofault.deploy.cost_table import CostTable, EnergyCosts, TimeCosts
from neurofault.deploy.profile_file import bundled_profiles, profile_path, read_profile_file
from neurofault.deploy.profile_sections import Chip, Core, Learning, NeuronRanges, Provenance, Synapse
from neurofault.deploy.quantity import EVIDENCE_ORDER, RECORD, Evidence, Joule, Natural, Quantity, Second, Watt
from neurofault.deploy.topology import (
    Board,
    Down,
    HexagonalLinks,
    Links,
    NoLinks,
    SharedMemory,
    spinnaker_chip,
    spinnaker_cores,
    spinnaker_link,
)
from neurofault.errors import SpecError, nearest
from neurofault.graph.arithmetic import LOIHI, Arithmetic
from neurofault.specfile import checked, said_at

__all__ = [
    "EVIDENCE_ORDER",
    "Chip",
    "Core",
    "CostTable",
    "EnergyCosts",
    "Evidence",
    "HardwareProfile",
    "Joule",
    "Learning",
    "NeuronRanges",
    "ProfileSheet",
    "Provenance",
    "Quantity",
    "Second",
    "Synapse",
    "TimeCosts",
    "Watt",
    "bundled_profiles",
    "load_profile",
    "load_sheet",
]


def _is_core(entry: int | str, info: ValidationInfo) -> int | str:
    links, chip = info.data.get("links"), info.data.get("chip")
    if isinstance(entry, str) and "," in entry and isinstance(links, HexagonalLinks) and chip:
        try:
            for part in entry.split(":"):
                place, numbers = spinnaker_cores(part)
                if place not in links.places:
                    raise ValueError(f"no chip {place[0]},{place[1]}")
                if beyond := [one for one in numbers if not 0 <= one < chip.cores.known]:
                    raise ValueError(f"chip {place[0]},{place[1]} has no core {beyond[0]}; cores: 0 to {chip.cores.known - 1}")
        except ValueError as error:
            raise PydanticCustomError("not_a_core", "{problem}", {"problem": str(error)}) from None
        return entry
    if (problem := core_problem(entry)) is not None:
        raise PydanticCustomError("not_a_core", "{problem}", {"problem": problem})
    chips = chip.max_chips.value if chip else None
    if chip and chips and core_range(entry)[-1] >= (cores := chip.cores.known * chips):
        text = "core {entry} does not exist; ids go from 0 to {last}"
        raise PydanticCustomError("no_such_core", text, {"entry": str(entry), "last": cores - 1})
    return entry


_CoreEntry = Annotated[Natural | str, AfterValidator(_is_core)]


def _is_down(entry: str, info: ValidationInfo) -> str:
    """Refuse an entry of dead_chips or dead_links that the machine does not have."""
    links = info.data.get("links")
    try:
        if not isinstance(links, HexagonalLinks):
            raise ValueError("only a profile with links: {topology: hexagonal} lists dead chips and links; list its dead_cores")
        place = spinnaker_chip(entry) if info.field_name == "dead_chips" else spinnaker_link(entry)[:2]
        if place not in links.places:
            raise ValueError(f"no chip {place[0]},{place[1]}")
    except ValueError as error:
        raise PydanticCustomError("not_down", "{problem}", {"problem": str(error)}) from None
    return entry


_DownEntry = Annotated[str, AfterValidator(_is_down)]


class HardwareProfile(BaseModel):
    """A chip: limits, integer widths, costs, learning engine, parts known bad. What is not known is null or left out.

    >>> import neurofault as nf
    >>> nf.load_profile("loihi2").name
    'loihi2'

    Attributes:
        name: short, as in file names.
        title: for display.
        arithmetic: how its neurons compute: ``loihi`` (Lava 0.10's integers), ``lava`` (those on the places of a chip that has others), or a record
            of its own registers, decays and resets.
        sources: what the numbers' ``source`` keys stand for.
        chip, core, synapse, neuron, learning: see their classes; the number of cores and the weights' bits must be known.
        energy_tables: published sets of costs by name; none: energy and time are not known.
        default_energy: name of the set that :attr:`costs` gives; left out where there is one, or none.
        facts: further numbers, for display. Of them ``refractory_max`` alone limits what is deployed: steps that a neuron's refractory counter
            holds, that of the spike included; without it they are not checked.
        links: how tiles are joined (:mod:`neurofault.deploy.topology`); left out: a mesh.
        board: chips that share a board; left out: boards are not known.
        shared_memory: a memory that holds the synapses of several cores; left out: each core has its own.
        dead_cores: known bad cores, ids and ranges such as ``12-15``; never used. On hexagonal links also SpiNNMachine's ``"x,y,p"`` and
            ``"x,y,2-17"``, several of them joined by colons.
        dead_chips, dead_links: on hexagonal links, chips ``"x,y"`` and links ``"x,y,link"`` known bad, as SpiNNMachine's ``down_chips`` and
            ``down_links``: their cores are not used and messages go round them.
    """

    model_config = RECORD

    name: str
    title: str
    arithmetic: AnyArithmetic
    sources: dict[str, Provenance] = {}
    chip: Chip
    core: Core = Field(default_factory=Core)
    synapse: Synapse
    neuron: NeuronRanges = Field(default_factory=NeuronRanges)
    learning: Learning = Field(default_factory=Learning)
    energy_tables: dict[str, CostTable] = {}
    default_energy: str | None = Field(default=None, validate_default=True)
    facts: dict[str, Quantity[float, str]] = {}
    links: Links | None = None
    board: Board | None = None
    shared_memory: SharedMemory | None = None
    dead_cores: tuple[_CoreEntry, ...] = ()
    dead_chips: tuple[_DownEntry, ...] = ()
    dead_links: tuple[_DownEntry, ...] = ()

    @field_validator("default_energy")
    @classmethod
    def _is_a_table(cls, name: str | None, info: ValidationInfo) -> str | None:
        tables = info.data.get("energy_tables", (info.context or {}).get("document", {}).get("energy_tables"))
        if not isinstance(tables, dict) or name in tables:
            return name
        if name is None and len(tables) <= 1:
            return next(iter(tables), None)
        if name is None:
            text = "default_energy must say which of energy_tables counts: {tables}"
            raise PydanticCustomError("no_table", text, {"tables": ", ".join(tables)})
        raise PydanticCustomError(
            "unknown_table",
            "{name} is not one of energy_tables{near}; tables: {tables}",
            {"name": repr(name), "near": nearest(name, tables), "tables": ", ".join(tables) or "none"},
        )

    def __repr__(self) -> str:
        law = self.arithmetic if isinstance(self.arithmetic, str) else "its own"
        return f"HardwareProfile({self.name!r}: {self.title}, {self.chip.usable} cores for users, arithmetic {law})"

    def __str__(self) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as JSON: pickle cannot name the generic classes of the quantities."""
        return HardwareProfile.model_validate_json, (self.model_dump_json(),)

    @property
    def law(self) -> Arithmetic:
        """How its neurons compute."""
        return self.arithmetic.arithmetic_of() if isinstance(self.arithmetic, ArithmeticSpec) else LOIHI

    @property
    def costs(self) -> CostTable | None:
        """The default table of costs; None: energy and time are not known."""
        return None if self.default_energy is None else self.energy_tables[self.default_energy]

    @property
    def dead_core_ids(self) -> tuple[int, ...]:
        """Ids in :attr:`dead_cores` and of chips that are down or cut off, sorted, without duplicates."""
        size, dead = self.chip.cores.known, set[int]()
        places = self.links.places if isinstance(self.links, HexagonalLinks) else ()
        for entry in self.dead_cores:
            if isinstance(entry, int) or "," not in entry:
                dead.update(core_range(entry))
                continue
            for place, cores in map(spinnaker_cores, entry.split(":")):
                dead.update(places.index(place) * size + core for core in cores)
        if isinstance(self.links, HexagonalLinks):
            for chip in self.links.machine(size, self.down).cut_off:
                dead.update(range(chip * size, (chip + 1) * size))
        return tuple(sorted(dead))

    @property
    def joined(self) -> bool:
        """Whether it is known how cores are joined: by links of some topology, by none, or by a mesh of known sides."""
        return isinstance(self.links, HexagonalLinks | NoLinks) or self.chip.sides is not None

    @property
    def one_core(self) -> bool:
        """Whether all of a network shares one core: there is no other, and no other chip."""
        return self.core.layers is None and self.chip.usable == 1 and self.chip.max_chips.value == 1

    @property
    def cuts(self) -> bool:
        """Whether populations are cut into slices: not on the only core, nor on cores that hold one whole population each."""
        return self.core.layers is None and not self.one_core

    @property
    def down(self) -> Down:
        """Chips and links of hexagonal links that are known bad."""
        return Down(frozenset(map(spinnaker_chip, self.dead_chips)), frozenset(map(spinnaker_link, self.dead_links)))


@dataclass(frozen=True)
class ProfileSheet:
    """A profile and who says what in it.

    Attributes:
        profile: the whole profile.
        inherited: path of a key (``core.neurons``) → name of the profile that says it, for what is taken over.
        files: the file that was read, the one that it extends, and so on.
    """

    profile: HardwareProfile
    inherited: Mapping[str, str]
    files: tuple[Path, ...]


def load_sheet(name_or_path: str | Path) -> ProfileSheet:
    """Load a hardware profile, and say what it takes over from the one that it extends; see :func:`load_profile`."""
    path = profile_path(name_or_path)
    document = read_profile_file(path)
    profile = checked(document.root, HardwareProfile, filename=str(path), also=("extends",))
    if wrong := contradictions(profile):
        raise SpecError([said_at(document.root, place, text, str(path)) for place, text in wrong])
    return ProfileSheet(profile, document.inherited, document.files)


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Load a hardware profile.

    >>> profile = load_profile("loihi2")
    >>> profile.title, profile.chip.cores_per_tile.known
    ('Intel Loihi 2 (Intel 4, 2021)', 4)

    Args:
        name_or_path: a YAML file, or the name of a bundled profile with or without ``.yaml``; a file that exists wins.

    Raises:
        UsageError: there is neither such a file nor such a bundled profile; the text names the nearest one and lists all.
        SpecError: mistakes in the file or in one that it extends, all of them, at ``file:line:column``.
    """
    return load_sheet(name_or_path).profile
