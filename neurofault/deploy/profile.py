"""`HardwareProfile`: what a chip has and what it costs, every number with its source.

A profile is a YAML file (``hardware_profiles/*.yaml``). Each number in it is a :class:`Quantity`: the value, its unit, where it was
read and how good that evidence is. A value of ``null`` means that the number is not known; such a limit is shown as "not checked".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neurofault.deploy.arithmetic_spec import AnyArithmetic, ArithmeticSpec
from neurofault.deploy.cost_table import CostTable, EnergyCosts, TimeCosts
from neurofault.deploy.quantity import (
    EVIDENCE_ORDER,
    RECORD,
    Axons,
    Bits,
    Cores,
    Evidence,
    Exponent,
    Flag,
    IndexBits,
    Integer,
    Joule,
    Keys,
    Natural,
    NaturalExponent,
    NaturalNumber,
    Positive,
    Quantity,
    Second,
    Steps,
    Tiles,
    Watt,
    WeightBits,
    check_sources,
)
from neurofault.errors import UsageError, nearest
from neurofault.graph.arithmetic import LOIHI, Arithmetic
from neurofault.graph.synapses import SignMode
from neurofault.specfile import load_spec

__all__ = [
    "EVIDENCE_ORDER",
    "CostTable",
    "EnergyCosts",
    "Evidence",
    "HardwareProfile",
    "Joule",
    "Quantity",
    "Second",
    "TimeCosts",
    "Watt",
    "bundled_profiles",
    "load_profile",
]


class Provenance(BaseModel):
    """Where numbers come from.

    Attributes:
        title: of the paper, document or file.
        url, doi: at least one of the two.
        year: of publication or of the version read.
        note: what was read, and how.
    """

    model_config = RECORD

    title: str
    url: str | None = None
    doi: str | None = None
    year: int | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _findable(self) -> Provenance:
        if self.url is None and self.doi is None:
            raise PydanticCustomError("no_address", "needs a url or a doi")
        return self


class Chip(BaseModel):
    """The chip as a grid of tiles.

    Attributes:
        cores: neuron cores on the die.
        usable_cores: cores that a user gets: those with the lowest ids.
        tile_columns, tile_rows: the mesh of routers.
        cores_per_tile: cores that share a router; core id = tile · cores_per_tile + place, tiles counted row by row.
        max_chips: chips that can be joined; null: not checked.
    """

    model_config = RECORD

    cores: Cores
    usable_cores: Cores
    tile_columns: Tiles
    tile_rows: Tiles
    cores_per_tile: Cores
    max_chips: Quantity[Positive, Literal["chips"]]

    @model_validator(mode="after")
    def _consistent(self) -> Chip:
        cores, usable = self.cores.known, self.usable_cores.known
        room = self.tile_columns.known * self.tile_rows.known * self.cores_per_tile.known
        if cores > room:
            raise PydanticCustomError(
                "mesh_too_small",
                "{cores} cores do not fit on a mesh of {room} places (tile_columns · tile_rows · cores_per_tile)",
                {"cores": cores, "room": room},
            )
        if usable > cores:
            raise PydanticCustomError(
                "too_many_usable", "usable_cores {usable} is more than cores {cores}", {"usable": usable, "cores": cores}
            )
        return self


class Core(BaseModel):
    """Limits of one core; null: not checked.

    Attributes:
        neurons: compartments.
        synapse_bits: synapse memory, headers included.
        in_axons, out_axons: entries of the input and output axon tables.
    """

    model_config = RECORD

    neurons: Quantity[Positive, Literal["neurons"]]
    synapse_bits: Quantity[Positive, Literal["bits"]]
    in_axons: Axons
    out_axons: Axons


_Ranges = TypeVar("_Ranges", bound=BaseModel)


def _ranges_in_order(record: _Ranges) -> _Ranges:
    """Refuse a ``…_min`` above its ``…_max``, where both are known."""
    for name in type(record).model_fields:
        if not name.endswith("_min"):
            continue
        low, high = (getattr(record, f"{name.removesuffix('_min')}_{end}").value for end in ("min", "max"))
        if low is not None and high is not None and low > high:
            raise PydanticCustomError("range_upside_down", "{name} {low} is more than {other} {high}", {
                "name": name, "low": low, "other": f"{name.removesuffix('_min')}_max", "high": high,
            })  # fmt: skip
    return record


class Synapse(BaseModel):
    """How a synapse is stored.

    Attributes:
        weight_bits: allowed numbers of stored bits of a weight.
        weight_exponent_min, weight_exponent_max: range of the exponent that a layer's weights share.
        delay_max: longest extra delay in steps.
        delay_bits, tag_bits: bits of a synapse's delay and learning tag, where it has them.
        index_bits: allowed numbers of bits of a target index (0: none, a dense run).
        block_synapses, block_header_bits, word_bits: synapses of an axon are stored in blocks of ``block_synapses``, each with a
            header and filled up to whole words.
        shared_kernels: whether the positions of a convolution in one core read the same stored kernel.
        format: how the bits of a weight are read: ``loihi`` (shifted so that they span ±256), or ``signed`` (two's complement, as they are).
    """

    model_config = RECORD

    weight_bits: WeightBits
    weight_exponent_min: Exponent
    weight_exponent_max: Exponent
    delay_max: Steps
    delay_bits: Bits
    tag_bits: Bits
    index_bits: IndexBits
    block_synapses: Quantity[Positive, Literal["synapses"]]
    block_header_bits: Bits
    word_bits: Quantity[Positive, Literal["bits"]]
    shared_kernels: Flag
    format: Literal["loihi", "signed"] = "loihi"

    @property
    def sign_mode(self) -> SignMode:
        """The mode of fields that hold weights of both signs."""
        return "mixed" if self.format == "loihi" else "signed"

    _in_order = model_validator(mode="after")(_ranges_in_order)


class NeuronRanges(BaseModel):
    """Ranges of a neuron's parameters (Lava ``LIF`` names); null: not checked.

    Attributes:
        threshold_max: largest ``vth``; the membrane is compared with ``vth`` · 64.
        bias_mantissa_min, bias_mantissa_max, bias_exponent_max: bias = mantissa · 2**exponent, exponent from 0.
        decay_max: largest ``du``, ``dv``, in 1/4096.
    """

    model_config = RECORD

    threshold_max: NaturalNumber
    bias_mantissa_min: Integer
    bias_mantissa_max: Integer
    bias_exponent_max: NaturalExponent
    decay_max: NaturalNumber

    _in_order = model_validator(mode="after")(_ranges_in_order)


class Learning(BaseModel):
    """What the on-chip learning engine can do.

    Attributes:
        available: whether the chip learns at all.
        third_factor: ``none``; ``reward``: a signal shared by a core; ``graded``: a value for each neuron.
        source: keys of what says so.
        traces_bits: bits of a (non-negative) spike trace.
        pre_traces, post_traces: number of traces of a source and of a target neuron.
        tag_bits: bits of the synaptic tag variable, sign included.
        reward_bits: bits of the reward trace, sign included.
        products_max: products that a rule may sum.
        epoch_max: longest learning epoch, in steps.
        scale_mantissa_min, scale_mantissa_max, scale_exponent_min, scale_exponent_max: a product's factor, mantissa · 2**exponent.
        in_axons_per_connection: input axon entries that a learning connection takes.
    """

    model_config = RECORD

    available: bool
    third_factor: Literal["none", "reward", "graded"]
    source: Keys
    traces_bits: Bits
    pre_traces: NaturalNumber
    post_traces: NaturalNumber
    tag_bits: Bits
    reward_bits: Bits
    products_max: NaturalNumber
    epoch_max: Steps
    scale_mantissa_min: Integer
    scale_mantissa_max: Integer
    scale_exponent_min: Exponent
    scale_exponent_max: Exponent
    in_axons_per_connection: Axons

    _in_order = model_validator(mode="after")(_ranges_in_order)

    @field_validator("source")
    @classmethod
    def _sourced(cls, source: Keys, info: ValidationInfo) -> Keys:
        check_sources(source, info)
        return source


_CORES = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?")


def _core_range(entry: int | str) -> range:
    """Return the ids of ``5``, ``"5"`` or ``"12-15"`` (both ends included)."""
    first, _, last = str(entry).partition("-")
    return range(int(first), int(last or first) + 1)


def _is_core(entry: int | str, info: ValidationInfo) -> int | str:
    if _CORES.fullmatch(str(entry)) and not _core_range(entry):
        first, _, last = str(entry).partition("-")
        text = "{entry} is no range: the lower end comes first (did you mean '{right}'?)"
        raise PydanticCustomError("not_a_core", text, {"entry": repr(entry), "right": f"{last}-{first}"})
    if not _CORES.fullmatch(str(entry)):
        text = "{entry} is not a core; write an id such as 5 or a range such as 12-15"
        raise PydanticCustomError("not_a_core", text, {"entry": repr(entry)})
    chip: Chip | None = info.data.get("chip")
    chips = chip.max_chips.value if chip else None
    if chip and chips and _core_range(entry)[-1] >= (cores := chip.cores.known * chips):
        text = "core {entry} does not exist; ids go from 0 to {last}"
        raise PydanticCustomError("no_such_core", text, {"entry": str(entry), "last": cores - 1})
    return entry


_CoreEntry = Annotated[Natural | str, AfterValidator(_is_core)]


class HardwareProfile(BaseModel):
    """A chip: limits, integer widths, costs, learning engine, parts known bad.

    Attributes:
        name: short, as in file names.
        title: for display.
        arithmetic: how its neurons compute: ``loihi`` (Lava 0.10's integers), ``lava`` (those on the places of a chip that has others), or a record
            (:class:`neurofault.deploy.arithmetic_spec.ArithmeticSpec`).
        sources: what the numbers' ``source`` keys stand for.
        chip, core, synapse, neuron, learning: see their classes.
        energy_tables: published sets of costs by name.
        default_energy: name of the set that :attr:`energy` and :attr:`time` give.
        facts: further numbers, for display. Of them ``refractory_max`` alone limits what is deployed: steps that a neuron's refractory counter
            holds, that of the spike included; without it they are not checked.
        dead_cores: known bad cores, ids and ranges such as ``12-15``; never used.
    """

    model_config = RECORD

    name: str
    title: str
    arithmetic: AnyArithmetic
    sources: dict[str, Provenance]
    chip: Chip
    core: Core
    synapse: Synapse
    neuron: NeuronRanges
    learning: Learning
    energy_tables: dict[str, CostTable] = Field(min_length=1)
    default_energy: str
    facts: dict[str, Quantity[float, str]] = {}
    dead_cores: tuple[_CoreEntry, ...] = ()

    @field_validator("default_energy")
    @classmethod
    def _is_a_table(cls, name: str, info: ValidationInfo) -> str:
        tables = info.data.get("energy_tables") or (info.context or {}).get("document", {}).get("energy_tables")
        if isinstance(tables, dict) and name not in tables:
            raise PydanticCustomError(
                "unknown_table",
                "{name} is not one of energy_tables{near}; tables: {tables}",
                {"name": repr(name), "near": nearest(name, tables), "tables": ", ".join(tables)},
            )
        return name

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as JSON: pickle cannot name the generic classes of the quantities."""
        return HardwareProfile.model_validate_json, (self.model_dump_json(),)

    @property
    def law(self) -> Arithmetic:
        """How its neurons compute."""
        return self.arithmetic.arithmetic_of() if isinstance(self.arithmetic, ArithmeticSpec) else LOIHI

    @property
    def energy(self) -> EnergyCosts:
        """Energy costs of the default table."""
        return self.energy_tables[self.default_energy].energy

    @property
    def time(self) -> TimeCosts:
        """Times of the default table."""
        return self.energy_tables[self.default_energy].time

    @property
    def dead_core_ids(self) -> tuple[int, ...]:
        """Ids in :attr:`dead_cores`, sorted, without duplicates."""
        return tuple(sorted({core for entry in self.dead_cores for core in _core_range(entry)}))


def _profile_folder() -> Path:
    """Return the folder of the bundled profiles: inside the package (wheel) or beside it (source checkout)."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "hardware_profiles"
    return inside if inside.is_dir() else package.parent / "hardware_profiles"


def bundled_profiles() -> list[str]:
    """Return the names of the bundled profiles, sorted."""
    return sorted(file.stem for file in _profile_folder().glob("*.yaml"))


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Load a hardware profile.

    >>> profile = load_profile("loihi2")
    >>> profile.title, profile.chip.cores_per_tile.known
    ('Intel Loihi 2 (Intel 4, 2021)', 4)

    Args:
        name_or_path: a YAML file, or the name of a bundled profile with or without ``.yaml``; a file that exists wins.

    Raises:
        UsageError: there is neither such a file nor such a bundled profile; the text names the nearest one and lists all.
        SpecError: mistakes in the file, all of them, at ``file:line:column``.
    """
    path = Path(name_or_path)
    if path.is_file():
        return load_spec(path, HardwareProfile)
    name = str(name_or_path).removesuffix(".yaml")
    bundled = bundled_profiles()
    if name not in bundled:
        raise UsageError(
            f"no profile {str(name_or_path)!r}{nearest(name, bundled)}: neither a file nor a bundled profile ({', '.join(bundled)})"
        )
    return load_spec(_profile_folder() / f"{name}.yaml", HardwareProfile)
