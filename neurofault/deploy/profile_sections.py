"""The sections of a hardware profile: chip, core, synapse, neuron, learning. Each key of a profile is explained here, once."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from neurofault.deploy.core_ids import core_range
from neurofault.deploy.core_limits import LayerCores
from neurofault.deploy.quantity import (
    RECORD,
    Axons,
    Bits,
    Cores,
    Exponent,
    Flag,
    IndexBits,
    Integer,
    Keys,
    NaturalExponent,
    NaturalNumber,
    Positive,
    Quantity,
    ReservedCores,
    SomeCores,
    Steps,
    Tiles,
    WeightBits,
    check_sources,
    not_given,
)
from neurofault.graph.synapses import SignMode


class Provenance(BaseModel):
    """Where numbers come from.

    Attributes:
        title: of the paper, document or file.
        url, doi: at least one of the two; without either, ``note`` says where a reader finds it (a data sheet that is not on the web).
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
        if self.url is None and self.doi is None and not self.note:
            raise PydanticCustomError(
                "no_address", "needs a url or a doi, or a note that says where a reader finds it (document number, revision)"
            )
        return self


class Chip(BaseModel):
    """The chip as a grid of tiles.

    Attributes:
        cores: neuron cores on the die.
        usable_cores: cores that a user gets: those with the lowest ids that are not reserved; null: all others.
        tile_columns, tile_rows: the mesh of routers; null: how the cores are joined is not known (hops are not counted then, and
            faults of links, routers and tiles are refused). One core needs no mesh.
        cores_per_tile: cores that share a router; core id = tile · cores_per_tile + place, tiles counted row by row.
        max_chips: chips that can be joined; null: not checked.
        reserved_cores: cores of each chip that its system takes (SpiNNaker's monitor, a column for input and output): how many, with the lowest
            ids, or a list of ids within a chip and ranges such as ``12-15``; left out: none.
    """

    model_config = RECORD

    cores: Cores
    usable_cores: SomeCores = not_given()
    tile_columns: Tiles = not_given()
    tile_rows: Tiles = not_given()
    cores_per_tile: SomeCores = not_given()
    max_chips: Quantity[Positive, Literal["chips"]] = not_given()
    reserved_cores: ReservedCores | None = None

    @property
    def usable(self) -> int:
        """How many cores a user gets."""
        return self.cores.known - len(self.reserved) if self.usable_cores.value is None else self.usable_cores.value

    @property
    def local_ids(self) -> tuple[int, ...]:
        """Ids within a chip of the cores that a user gets, sorted."""
        reserved = self.reserved
        return tuple(core for core in range(self.cores.known) if core not in reserved)[: self.usable]

    @property
    def reserved(self) -> frozenset[int]:
        """Ids within a chip of the cores that its system takes."""
        given = None if self.reserved_cores is None else self.reserved_cores.value
        if given is None or isinstance(given, int):
            return frozenset(range(given or 0))
        return frozenset(core for entry in given for core in core_range(entry))

    @property
    def sides(self) -> tuple[int, int, int] | None:
        """Columns and rows of the mesh, and cores of a tile; None: not known."""
        columns, rows, each = self.tile_columns.value, self.tile_rows.value, self.cores_per_tile.value
        if columns is not None and rows is not None and each is not None:
            return columns, rows, each
        return (1, 1, 1) if self.cores.known == 1 else None

    @model_validator(mode="after")
    def _consistent(self) -> Chip:
        cores, usable, sides = self.cores.known, self.usable, self.sides
        room = cores if sides is None else math.prod(sides)
        if cores > room:
            raise PydanticCustomError(
                "mesh_too_small",
                "{cores} cores do not fit on a mesh of {room} places (tile_columns · tile_rows · cores_per_tile)",
                {"cores": cores, "room": room},
            )
        reserved = self.reserved
        if (beyond := max(reserved, default=0)) >= cores and not isinstance(self.reserved_cores and self.reserved_cores.value, int):
            text = "reserved_cores: core {core} does not exist; ids within a chip go from 0 to {last}"
            raise PydanticCustomError("no_such_core", text, {"core": beyond, "last": cores - 1})
        if usable < 1:
            raise PydanticCustomError(
                "none_usable", "all {cores} cores are reserved: there is none for a network", {"cores": cores}
            )
        if usable + len(reserved) > cores:
            raise PydanticCustomError(
                "too_many_usable",
                "usable_cores {usable}{more} is more than cores {cores}",
                {"usable": usable, "cores": cores, "more": f" and {len(reserved)} reserved" if reserved else ""},
            )
        return self


class Core(BaseModel):
    """Limits of one core; null: not checked.

    Attributes:
        neurons: compartments.
        synapse_bits: synapse memory, headers included.
        in_axons, out_axons: entries of the input and output axon tables.
        layers: that each core holds one whole population, and what each of them has in place of ``neurons`` and ``synapse_bits``; left out:
            cores are alike, and hold parts of any populations.
        inputs, outputs: neurons of inputs, and of the readout, that a chip of one core takes besides ``neurons``; left out: they count
            among these.
    """

    model_config = RECORD

    neurons: Quantity[Positive, Literal["neurons"]] = not_given()
    synapse_bits: Quantity[Positive, Literal["bits"]] = not_given()
    in_axons: Axons = not_given()
    out_axons: Axons = not_given()
    layers: LayerCores | None = None
    inputs: Quantity[Positive, Literal["neurons"]] | None = None
    outputs: Quantity[Positive, Literal["neurons"]] | None = None


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
    """How a synapse is stored; null: not known, not checked (of parts of a synapse: not counted).

    Attributes:
        weight_bits: allowed numbers of stored bits of a weight; the most are taken unless one asks for fewer.
        weight_exponent_min, weight_exponent_max: range of the exponent that a layer's weights share.
        delay_max: longest extra delay in steps.
        delay_bits, tag_bits: bits of a synapse's delay and learning tag, where it has them.
        index_bits: allowed numbers of bits of a target index (0: none, a dense run).
        block_synapses, block_header_bits, word_bits: synapses of an axon are stored in blocks of ``block_synapses``, each with a
            header and filled up to whole words.
        shared_kernels: whether the positions of a convolution in one core read the same stored kernel; null: they do not.
        format: how the bits of a weight are read: ``loihi`` (shifted so that they span ±256), or ``signed`` (two's complement, as they are), or
            ``crossbar``: each bit of a weight is a crossing of an axon of its own, and counts as the target's table of values says for that axon's
            type. With k bits the values are 2**(9 − k)·(1, 2, …, −2**(k − 1)), so weights span ±256 as ``loihi``'s do; all axons of bit i have type i.
        axon_types: of a crossbar: types that an axon may have, which are the values of a neuron's table; at least the most weight bits.
        table_bits: of a crossbar: width of a value of the table, sign included; 9, or null.
        source_signs: whether a source neuron has one sign for all its synapses (ODIN ``SPI_SYN_SIGN``), and a stored weight none of its own: what needs
            both is refused, and so are faults that would change a sign; null: no. With format ``signed``, whose lowest weight is then not used.
    """

    model_config = RECORD

    weight_bits: WeightBits
    weight_exponent_min: Exponent = not_given()
    weight_exponent_max: Exponent = not_given()
    delay_max: Steps = not_given()
    delay_bits: Bits = not_given()
    tag_bits: Bits = not_given()
    index_bits: IndexBits = not_given()
    block_synapses: Quantity[Positive, Literal["synapses"]] = not_given()
    block_header_bits: Bits = not_given()
    word_bits: Quantity[Positive, Literal["bits"]] = not_given()
    shared_kernels: Flag = not_given()
    format: Literal["loihi", "signed", "crossbar"] = "loihi"
    axon_types: NaturalNumber | None = None
    table_bits: Bits | None = None
    source_signs: Flag | None = None

    @property
    def sign_mode(self) -> SignMode:
        """The mode of fields that hold weights of both signs."""
        return "signed" if self.format == "signed" else "mixed"

    _in_order = model_validator(mode="after")(_ranges_in_order)

    @model_validator(mode="after")
    def _crossbar(self) -> Synapse:
        if (wrong := self._contradiction()) is not None:
            raise PydanticCustomError("contradiction", "{wrong}", {"wrong": wrong})
        return self

    def _contradiction(self) -> str | None:
        """Return what the format contradicts; None: nothing."""
        widths = self.weight_bits.known
        types, table = (None if one is None else one.value for one in (self.axon_types, self.table_bits))
        if self.source_signs is not None and self.source_signs.value and self.format != "signed":
            return f"source_signs goes with format signed; it is {self.format}"
        if self.format != "crossbar":
            given = types is not None or table is not None
            return "axon_types and table_bits are of a crossbar; format is " + self.format if given else None
        if types is None:
            return "a crossbar needs axon_types: a weight has a bit for each type at most"
        if max(widths) > types or min(widths) < 2:
            return f"weights of a crossbar have 2 to axon_types ({types}) bits, one an axon, the last of them negative; weight_bits are {list(widths)}"
        if table not in (None, 9):
            return f"table_bits: values of 9 bits are what weights are made of; it is {table}"
        if (self.weight_exponent_min.value, self.weight_exponent_max.value) != (0, 0):
            return "weights of a crossbar have no exponent: weight_exponent_min and weight_exponent_max must be 0"
        return "a crossbar has a bit for each pair: shared_kernels must be false" if self.shared_kernels.value else None

    @model_validator(mode="after")
    def _delays_fit(self, info: ValidationInfo) -> Synapse:
        longest, bits = self.delay_max.value, self.delay_bits.value
        if "document" in (info.context or {}) and longest is not None and bits is not None and longest >= 1 << bits:
            text = "delay_max {longest} is more than delay_bits {bits} hold: 0 to {most}"
            raise PydanticCustomError("delays_do_not_fit", text, {"longest": longest, "bits": bits, "most": (1 << bits) - 1})
        return self


class NeuronRanges(BaseModel):
    """Ranges of a neuron's parameters (Lava ``LIF`` names); null: not checked.

    Attributes:
        threshold_max: largest ``vth``; the membrane is compared with ``vth`` · 2**shift of the arithmetic (Loihi: ``vth`` · 64).
        bias_mantissa_min, bias_mantissa_max, bias_exponent_max: bias = mantissa · 2**exponent, exponent from 0.
        decay_max: largest ``du``, ``dv`` that is stored (Loihi: in 1/4096).
    """

    model_config = RECORD

    threshold_max: NaturalNumber = not_given()
    bias_mantissa_min: Integer = not_given()
    bias_mantissa_max: Integer = not_given()
    bias_exponent_max: NaturalExponent = not_given()
    decay_max: NaturalNumber = not_given()

    _in_order = model_validator(mode="after")(_ranges_in_order)

    @property
    def bias_mantissas(self) -> tuple[int, int]:
        """The lowest and the highest mantissa of a bias; where they are not known, those of Lava's 16 bits."""
        low, high = self.bias_mantissa_min.value, self.bias_mantissa_max.value
        return -(1 << 15) if low is None else low, (1 << 15) - 1 if high is None else high

    @property
    def bias_exponent_limit(self) -> int:
        """The largest exponent of a bias; where it is not known, that at which a mantissa of 16 bits fills 32."""
        return 16 if self.bias_exponent_max.value is None else self.bias_exponent_max.value


class Learning(BaseModel):
    """What the on-chip learning engine can do; null: not known, not checked.

    Attributes:
        available: whether the chip learns at all; null: not known, and nothing learns on it. Where it does not, the rest is left out.
        third_factor: ``none``; ``reward``: a signal shared by a core; ``graded``: a value for each neuron. Given where the chip learns.
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

    available: bool | None = None
    third_factor: Literal["none", "reward", "graded"] = "none"
    source: Keys = Field(default=(), validate_default=True)
    traces_bits: Bits = not_given()
    pre_traces: NaturalNumber = not_given()
    post_traces: NaturalNumber = not_given()
    tag_bits: Bits = not_given()
    reward_bits: Bits = not_given()
    products_max: NaturalNumber = not_given()
    epoch_max: Steps = not_given()
    scale_mantissa_min: Integer = not_given()
    scale_mantissa_max: Integer = not_given()
    scale_exponent_min: Exponent = not_given()
    scale_exponent_max: Exponent = not_given()
    in_axons_per_connection: Axons = not_given()

    _in_order = model_validator(mode="after")(_ranges_in_order)

    @field_validator("source")
    @classmethod
    def _sourced(cls, source: Keys, info: ValidationInfo) -> Keys:
        if info.data.get("available") is not None and not source:
            raise PydanticCustomError("no_source", "has no source (add source: KEY, a key of sources)")
        check_sources(source, info)
        return source

    @model_validator(mode="after")
    def _only_where_it_learns(self, info: ValidationInfo) -> Learning:
        if "document" not in (info.context or {}):
            return self
        if self.available:
            if "third_factor" not in self.model_fields_set:
                raise PydanticCustomError("no_third_factor", "the chip learns; say its third_factor (none, reward or graded)")
            return self
        given = [name for name, one in self if isinstance(one, Quantity) and one.value is not None]
        given += ["third_factor"] * (self.third_factor != "none")
        if given:
            text = "the chip does not learn (available is {word}), yet {given} is given"
            word = "false" if self.available is False else "not given"
            raise PydanticCustomError("learns_not", text, {"word": word, "given": given[0]})
        return self
