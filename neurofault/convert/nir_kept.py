"""What ``metadata["neurofault"]`` of a NIR file may say: every field with its type and range, before a network is built from it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neurofault.convert.nir_fields import MAX_NEURONS
from neurofault.errors import DataError
from neurofault.specmistakes import mistakes_of

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
    """The whole of it."""

    model_config = _RECORD
    name: _Name
    timesteps: Annotated[int, Field(ge=1, le=1 << 20)]
    readout: Literal["potential", "count"]
    encoding: _Encoding | None
    peak_potential: Annotated[float, Field(ge=0)] | None
    layers: Annotated[list[_Layer], Field(min_length=1, max_length=4096)]


def check_kept(where: str, said: Any) -> None:
    """Refuse metadata that do not describe a network.

    Args:
        where: what to name in the message.
        said: the JSON value.

    Raises:
        DataError: the first thing that is wrong.
    """
    try:
        Kept.model_validate(said)
    except ValidationError as error:
        (_, text), *_ = mistakes_of(error, Kept, said if isinstance(said, dict) else {})
        raise DataError(f"{where}: {text:.300}") from None
