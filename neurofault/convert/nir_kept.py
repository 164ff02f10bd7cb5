"""What ``metadata["neurofault"]`` of a NIR file may say: every field with its type and range, before a network is built from it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurofault.convert.nir_fields import MAX_NEURONS, MAX_SIZE
from neurofault.errors import DataError
from neurofault.graph.law import MOST_REFRACTORY
from neurofault.graph.readout import How
from neurofault.graph.synapses import MOST_DELAY
from neurofault.specmistakes import mistakes_of

KEY = "neurofault"
"""Of the graph's metadata."""

_RECORD = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)
_Name = Annotated[str, Field(max_length=1000)]
_Size = Annotated[int, Field(ge=1, le=MAX_NEURONS)]


class _Stored(BaseModel):
    model_config = _RECORD
    weight_exponent: Annotated[int, Field(ge=-8, le=16)] = 0
    weight_bits: Annotated[int, Field(ge=1, le=15)] = 8
    sign_mode: Literal["mixed", "excitatory", "inhibitory"] = "mixed"
    bias_exponent: Annotated[int, Field(ge=-64, le=64)] = 0


class _Encoding(BaseModel):
    model_config = _RECORD
    table: Annotated[list[Annotated[int, Field(ge=-(1 << 23), lt=1 << 23)]], Field(min_length=256, max_length=256)]
    threshold: Annotated[int, Field(ge=1, le=131071)]
    start: Annotated[int, Field(ge=-(1 << 23), lt=1 << 23)]
    full_rate: Annotated[float, Field(gt=0, le=1)]


class _Layer(BaseModel):
    model_config = _RECORD
    name: _Name
    shape: Annotated[list[_Size], Field(min_length=1, max_length=3)]
    synapses: _Name | None
    neuron: _Name | None
    start: Annotated[float, Field(ge=-(1 << 23), lt=1 << 23)]
    groups: _Size
    stored: _Stored | None

    @model_validator(mode="after")
    def _small(self) -> _Layer:
        if len(self.shape) == 2:
            raise ValueError("shape: (n,) or (channels, height, width) is taken")
        if math.prod(self.shape) > MAX_NEURONS:
            raise ValueError(f"shape: {math.prod(self.shape):,} neurons; at most {MAX_NEURONS:,} can be built")
        return self


class Kept(BaseModel):
    """The whole of it in version 1: a chain."""

    model_config = _RECORD
    name: _Name
    timesteps: Annotated[int, Field(ge=1, le=1 << 20)]
    readout: Literal["potential", "count"]
    encoding: _Encoding | None
    peak_potential: Annotated[float, Field(ge=0)] | None
    layers: Annotated[list[_Layer], Field(min_length=1, max_length=4096)]


_Side = Annotated[int, Field(ge=0, le=MAX_SIZE)]
_Potential = Annotated[float, Field(ge=-(1 << 23), lt=1 << 23)]


class _Bare(BaseModel):
    model_config = _RECORD
    du: list[_Potential]
    dv: list[_Potential]
    threshold: list[_Potential]
    bias: list[Annotated[float, Field(ge=-(2.0**80), le=2.0**80)]]


class _PopulationKept(BaseModel):
    model_config = _RECORD
    name: _Name
    shape: Annotated[list[_Size], Field(min_length=1, max_length=3)]
    source: bool
    input: _Name | None
    neuron: _Name | None
    encoding: _Encoding | None
    start: _Potential | list[_Potential]
    bias_exponent: Annotated[int, Field(ge=0, le=64)] | None
    reset: Literal["zero", "subtract", "none"]
    reset_delay: Annotated[int, Field(ge=0, le=1)]
    refractory: Annotated[int, Field(ge=0, le=MOST_REFRACTORY)] | list[Annotated[int, Field(ge=0, le=MOST_REFRACTORY)]]
    floor: _Potential | list[_Potential] | None
    bare: _Bare | None

    @model_validator(mode="after")
    def _small(self) -> _PopulationKept:
        if math.prod(self.shape) > MAX_NEURONS:
            raise ValueError(f"shape: {math.prod(self.shape):,} neurons; at most {MAX_NEURONS:,} can be built")
        return self


class _Window(BaseModel):
    model_config = _RECORD
    in_shape: Annotated[list[_Size], Field(min_length=3, max_length=3)]
    kernel: Annotated[list[_Size], Field(min_length=4, max_length=4)]
    stride: Annotated[list[_Size], Field(min_length=2, max_length=2)]
    padding: Annotated[list[_Side], Field(min_length=2, max_length=2)]
    dilation: Annotated[list[_Size], Field(min_length=2, max_length=2)]
    groups: _Size


class _Part(BaseModel):
    model_config = _RECORD
    node: _Name
    delay: Annotated[int, Field(ge=0, le=MOST_DELAY)]


class _Format(BaseModel):
    model_config = _RECORD
    weight_exponent: Annotated[int, Field(ge=-8, le=16)]
    weight_bits: Annotated[int, Field(ge=1, le=15)]
    sign_mode: Literal["mixed", "excitatory", "inhibitory"]


class _ConnectionKept(BaseModel):
    model_config = _RECORD
    name: _Name
    source: _Name
    target: _Name
    delay: Annotated[int, Field(ge=1, le=1 << 20)]
    kind: Literal["dense", "sparse", "conv"]
    window: _Window | None
    parts: Annotated[list[_Part], Field(min_length=1, max_length=MOST_DELAY + 1)]
    delayed: bool
    stored: _Format | None

    @model_validator(mode="after")
    def _whole(self) -> _ConnectionKept:
        if (self.kind == "conv") != (self.window is not None):
            raise ValueError("window: goes with kind conv")
        return self


class _Read(BaseModel):
    model_config = _RECORD
    population: _Name
    how: How
    when: Annotated[list[Annotated[int, Field(ge=0, le=1 << 20)]], Field(min_length=2, max_length=2)] | None = None


class KeptGraph(BaseModel):
    """The whole of it in version 2, and in 3, which knows every readout."""

    model_config = _RECORD
    name: _Name
    timesteps: Annotated[int, Field(ge=1, le=1 << 20)]
    readout: _Read
    peak_potential: Annotated[float, Field(ge=0)] | None
    populations: Annotated[list[_PopulationKept], Field(min_length=1, max_length=4096)]
    connections: Annotated[list[_ConnectionKept], Field(max_length=4096)]


def check_kept(where: str, said: Any) -> None:
    """Refuse metadata that do not describe a network.

    Args:
        where: what to name in the message.
        said: the JSON value.

    Raises:
        DataError: the first thing that is wrong.
    """
    model = KeptGraph if isinstance(said, dict) and said.get("version", 1) != 1 else Kept
    try:
        model.model_validate(said)
    except ValidationError as error:
        (_, text), *_ = mistakes_of(error, model, said if isinstance(said, dict) else {})
        raise DataError(f"{where}: {text:.300}") from None
