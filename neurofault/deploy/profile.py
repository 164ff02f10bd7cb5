"""`HardwareProfile`: what a chip has and what it costs, every number with its source.

A profile is a YAML file (``hardware_profiles/*.yaml``). Each number in it is a :class:`Quantity`: the value, its unit, where it was
read and how good that evidence is. A value of ``null`` means that the number is not known; such a limit is shown as "not checked".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from neurofault.errors import UsageError, nearest
from neurofault.specfile import load_spec

Evidence = Literal["measured", "calibrated", "simulated", "documented", "assumed"]
"""How a number is known, best first: measured on silicon, a model calibrated to silicon, a circuit simulation, stated by a
document or a program, assumed by us."""

EVIDENCE_ORDER: tuple[Evidence, ...] = ("measured", "calibrated", "simulated", "documented", "assumed")
"""Evidence from the strongest to the weakest; a result carries the weakest evidence among its inputs."""

_RECORD = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

V = TypeVar("V")
U = TypeVar("U", bound=str)


class Quantity(BaseModel, Generic[V, U]):
    """One number of a profile and how it is known.

    Attributes:
        value: the number (or list of allowed numbers, or flag) in ``unit``; None: unknown, not checked.
        unit: the one unit that the field takes.
        source: key, or keys, into the profile's ``sources``; only a null value may go without, and then says why in ``note``.
        evidence: see :data:`Evidence`.
        note: what a reader must know before trusting the number.
    """

    model_config = _RECORD

    value: V | None
    unit: U
    evidence: Evidence
    note: str | None = None
    source: str | tuple[str, ...] | None = Field(default=None, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _not_bare(cls, data: Any) -> Any:
        if isinstance(data, bool | int | float | str | list) or data is None:
            raise PydanticCustomError(
                "bare_number",
                "{data} has no source (write {{value: {data}, unit: …, source: …, evidence: …}})",
                {"data": "null" if data is None else str(data).lower() if isinstance(data, bool) else str(data)},
            )
        return data

    @field_validator("source")
    @classmethod
    def _sourced(cls, source: str | tuple[str, ...] | None, info: ValidationInfo) -> str | tuple[str, ...] | None:
        if not source and "value" in info.data:
            value = info.data["value"]
            if value is not None:
                raise PydanticCustomError(
                    "no_source", "the value {value} has no source (add source: KEY, a key of sources)", {"value": str(value)}
                )
            if not info.data.get("note"):
                raise PydanticCustomError("no_reason", "a null value needs a source or a note that says why it is not known")
        _check_sources(source, info)
        return source

    @property
    def source_keys(self) -> tuple[str, ...]:
        """The source's keys as a tuple, empty if there is none."""
        return (self.source,) if isinstance(self.source, str) else self.source or ()

    @property
    def known(self) -> V:
        """The value.

        Raises:
            UsageError: if it is not known.
        """
        if self.value is None:
            raise UsageError(f"the profile leaves this number unknown: {self.note or ', '.join(self.source_keys)}")
        return self.value


def _check_sources(source: str | tuple[str, ...] | None, info: ValidationInfo) -> None:
    """Refuse a key that the document's ``sources`` do not hold (checked where there is a document, see :func:`load_profile`)."""
    sources = info.context["document"].get("sources") if info.context else None
    if not isinstance(sources, dict):
        return
    for key in (source,) if isinstance(source, str) else source or ():
        if key not in sources:
            raise PydanticCustomError(
                "unknown_source",
                "{key} is not a key of sources{near}; keys: {keys}",
                {"key": repr(key), "near": nearest(key, sources), "keys": ", ".join(sources)},
            )


def _must_be_known(quantity: Quantity[V, U]) -> Quantity[V, U]:
    if quantity.value is None:
        raise PydanticCustomError("unknown_value", "must be known: nothing can be placed without it")
    return quantity


_Natural = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]
_Cost = Annotated[float, Field(ge=0.0)]
_Cores = Annotated[Quantity[_Positive, Literal["cores"]], AfterValidator(_must_be_known)]
_Tiles = Annotated[Quantity[_Positive, Literal["tiles"]], AfterValidator(_must_be_known)]
_Bits = Quantity[_Natural, Literal["bits"]]
_Axons = Quantity[_Positive, Literal["axons"]]
_Steps = Quantity[_Natural, Literal["steps"]]
_Integer = Quantity[int, Literal["1"]]
_NaturalNumber = Quantity[_Natural, Literal["1"]]
_Flag = Quantity[bool, Literal["flag"]]
_WeightBits = Annotated[Quantity[tuple[Annotated[int, Field(ge=1, le=8)], ...], Literal["bits"]], AfterValidator(_must_be_known)]
Joule = Quantity[_Cost, Literal["J"]]
"""An energy in joules."""
Watt = Quantity[_Cost, Literal["W"]]
"""A power in watts."""
Second = Quantity[_Cost, Literal["s"]]
"""A time in seconds."""


class Source(BaseModel):
    """Where numbers come from.

    Attributes:
        title: of the paper, document or file.
        url, doi: at least one of the two.
        year: of publication or of the version read.
        note: what was read, and how.
    """

    model_config = _RECORD

    title: str
    url: str | None = None
    doi: str | None = None
    year: int | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _findable(self) -> Source:
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

    model_config = _RECORD

    cores: _Cores
    usable_cores: _Cores
    tile_columns: _Tiles
    tile_rows: _Tiles
    cores_per_tile: _Cores
    max_chips: Quantity[_Positive, Literal["chips"]]

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

    model_config = _RECORD

    neurons: Quantity[_Positive, Literal["neurons"]]
    synapse_bits: Quantity[_Positive, Literal["bits"]]
    in_axons: _Axons
    out_axons: _Axons


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
    """

    model_config = _RECORD

    weight_bits: _WeightBits
    weight_exponent_min: _Integer
    weight_exponent_max: _Integer
    delay_max: _Steps
    delay_bits: _Bits
    tag_bits: _Bits
    index_bits: Quantity[tuple[_Natural, ...], Literal["bits"]]
    block_synapses: Quantity[_Positive, Literal["synapses"]]
    block_header_bits: _Bits
    word_bits: Quantity[_Positive, Literal["bits"]]
    shared_kernels: _Flag


class Neuron(BaseModel):
    """Ranges of a neuron's parameters (Lava ``LIF`` names); null: not checked.

    Attributes:
        threshold_max: largest ``vth``; the membrane is compared with ``vth`` · 64.
        bias_mantissa_min, bias_mantissa_max, bias_exponent_max: bias = mantissa · 2**exponent, exponent from 0.
        decay_max: largest ``du``, ``dv``, in 1/4096.
    """

    model_config = _RECORD

    threshold_max: _NaturalNumber
    bias_mantissa_min: _Integer
    bias_mantissa_max: _Integer
    bias_exponent_max: _NaturalNumber
    decay_max: _NaturalNumber


class EnergyCosts(BaseModel):
    """Energy of each event.

    Attributes:
        synaptic_operation: one spike at one synapse.
        neuron_update_active, neuron_update_inactive: a neuron's step, with and without synaptic input.
        neuron_spike: extra for a neuron's step that ends in a spike.
        spike_in_tile: a spike message inside its tile.
        hop_east_west, hop_north_south: a message's way to the next tile.
        axon_out_message, axon_in_message: a message leaving and entering a core.
        synaptic_write: one learning update of one synapse.
        static_power: of a whole chip, all the time.
    """

    model_config = _RECORD

    synaptic_operation: Joule
    neuron_update_active: Joule
    neuron_update_inactive: Joule
    neuron_spike: Joule
    spike_in_tile: Joule
    hop_east_west: Joule
    hop_north_south: Joule
    axon_out_message: Joule
    axon_in_message: Joule
    synaptic_write: Joule
    static_power: Watt


class TimeCosts(BaseModel):
    """Time of each event; the events are those of :class:`EnergyCosts`.

    Attributes:
        barrier_min, barrier_max: synchronisation at the end of a step, with one tile and with all tiles of a chip.
    """

    model_config = _RECORD

    synaptic_operation: Second
    neuron_update_active: Second
    neuron_update_inactive: Second
    neuron_spike: Second
    spike_in_tile: Second
    hop_east_west: Second
    hop_north_south: Second
    axon_out_message: Second
    axon_in_message: Second
    synaptic_write: Second
    barrier_min: Second
    barrier_max: Second


class CostTable(BaseModel):
    """One published set of costs.

    Attributes:
        title: what the table is, for display.
        energy, time: costs of each event.
    """

    model_config = _RECORD

    title: str
    energy: EnergyCosts
    time: TimeCosts


class Learning(BaseModel):
    """What the on-chip learning engine can do.

    Attributes:
        available: whether the chip learns at all.
        third_factor: ``none``; ``reward``: a signal shared by a core; ``graded``: a value for each neuron.
        source: key, or keys, of what says so.
        traces_bits: bits of a (non-negative) spike trace.
        pre_traces, post_traces: number of traces of a source and of a target neuron.
        tag_bits: bits of the synaptic tag variable, sign included.
        reward_bits: bits of the reward trace, sign included.
        products_max: products that a rule may sum.
        epoch_max: longest learning epoch, in steps.
        scale_mantissa_min, scale_mantissa_max, scale_exponent_min, scale_exponent_max: a product's factor, mantissa · 2**exponent.
        in_axons_per_connection: input axon entries that a learning connection takes.
    """

    model_config = _RECORD

    available: bool
    third_factor: Literal["none", "reward", "graded"]
    source: str | tuple[str, ...]
    traces_bits: _Bits
    pre_traces: _NaturalNumber
    post_traces: _NaturalNumber
    tag_bits: _Bits
    reward_bits: _Bits
    products_max: _NaturalNumber
    epoch_max: _Steps
    scale_mantissa_min: _Integer
    scale_mantissa_max: _Integer
    scale_exponent_min: _Integer
    scale_exponent_max: _Integer
    in_axons_per_connection: _Axons

    @field_validator("source")
    @classmethod
    def _sourced(cls, source: str | tuple[str, ...], info: ValidationInfo) -> str | tuple[str, ...]:
        _check_sources(source, info)
        return source


class HardwareProfile(BaseModel):
    """A chip: limits, integer widths, costs, learning engine, parts known bad.

    Attributes:
        name: short, as in file names.
        title: for display.
        arithmetic: whose integer arithmetic is simulated; ``lava`` is the only one.
        sources: what the numbers' ``source`` keys stand for.
        chip, core, synapse, neuron, learning: see their classes.
        energy_tables: published sets of costs by name.
        default_energy: name of the set that :attr:`energy` and :attr:`time` give.
        facts: further numbers, for display; nothing is computed from them.
        dead_cores: known bad cores, ids and ranges such as ``12-15``; never used.
    """

    model_config = _RECORD

    name: str
    title: str
    arithmetic: Literal["lava"]
    sources: dict[str, Source]
    chip: Chip
    core: Core
    synapse: Synapse
    neuron: Neuron
    learning: Learning
    energy_tables: dict[str, CostTable] = Field(min_length=1)
    default_energy: str
    facts: dict[str, Quantity[float, str]] = {}
    dead_cores: tuple[_Natural | str, ...] = ()

    @field_validator("default_energy")
    @classmethod
    def _is_a_table(cls, name: str, info: ValidationInfo) -> str:
        tables = info.data.get("energy_tables")
        if tables is not None and name not in tables:
            raise PydanticCustomError(
                "unknown_table",
                "{name} is not one of energy_tables{near}; tables: {tables}",
                {"name": repr(name), "near": nearest(name, tables), "tables": ", ".join(tables)},
            )
        return name

    @field_validator("dead_cores")
    @classmethod
    def _on_the_chips(cls, entries: tuple[int | str, ...], info: ValidationInfo) -> tuple[int | str, ...]:
        chip: Chip | None = info.data.get("chip")
        for entry in entries:
            if not _CORES.fullmatch(str(entry)) or not _core_range(entry):
                raise PydanticCustomError(
                    "bad_cores", "{entry} is not a core; write an id such as 5 or a range such as 12-15", {"entry": repr(entry)}
                )
            if chip is not None and chip.max_chips.value is not None:
                cores = chip.cores.known * chip.max_chips.value
                if _core_range(entry)[-1] >= cores:
                    raise PydanticCustomError(
                        "no_such_core",
                        "core {entry} does not exist; ids go from 0 to {last}",
                        {"entry": str(entry), "last": cores - 1},
                    )
        return entries

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


_CORES = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?")


def _core_range(entry: int | str) -> range:
    """Return the ids of ``5``, ``"5"`` or ``"12-15"`` (both ends included)."""
    first, _, last = str(entry).partition("-")
    return range(int(first), int(last or first) + 1)


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
