"""How recordings become spikes of steps: what was asked for, over what a data set proposes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from neurofault.data.recordings import Binned, Recordings
from neurofault.errors import UsageError
from neurofault.specfile import load_spec

_Size = Annotated[int, Field(ge=1, le=1 << 20)]
_Side = Annotated[int, Field(ge=1, le=1 << 14)]
_Four = Annotated[tuple[int, int, int, int], Field(strict=False)]
"""A list is taken for a tuple, as in YAML."""
_Sensor = Annotated[tuple[Annotated[int, Field(ge=1, le=2)], _Side, _Side], Field(strict=False)]


class Binning(BaseModel):
    """How recordings become spikes of steps (:meth:`neurofault.data.recordings.Recordings.binned`); null: as the data set proposes.

    Attributes:
        bins: steps a recording, 1 or more.
        dt: seconds a step, a whole number of µs.
        polarity: ``kept``: a line for each; ``merged``: one line a pixel.
        crop: (top, left, height, width) in pixels of the sensor.
        down: pixels in each direction that become one line, 1 or more.
        rounding: an event falls into the ``nearest`` step, t/dt rounded, or ``down``, t/dt cut off.
        sensor: (polarities, height, width), where the format does not say it and another than the format's usual one is meant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    bins: _Size | None = None
    dt: Annotated[float, Field(gt=0, le=1e6)] | None = None
    polarity: Literal["kept", "merged"] | None = None
    crop: _Four | None = None
    down: _Size | None = None
    rounding: Literal["nearest", "down"] | None = None
    sensor: _Sensor | None = None

    def asked(self) -> dict[str, Any]:
        """Return what is not null."""
        found = {name: getattr(self, name) for name in Binning.model_fields}
        return {name: value for name, value in found.items() if value is not None}

    def over(self, proposed: Binning) -> Binning:
        """Return what is asked for here, and as proposed where nothing is."""
        return Binning(**{**proposed.asked(), **self.asked()})

    def of(self, recordings: Recordings, name: str) -> Binned:
        """Return recordings as spikes of steps.

        Args:
            recordings: events.
            name: of the data, for messages.

        Raises:
            UsageError: ``bins`` or ``dt`` is not known, or something is out of range.
        """
        given = self.asked()
        given.pop("sensor", None)
        if missing := [key for key in ("bins", "dt") if key not in given]:
            raise UsageError(
                f"data {name} are recordings: {' and '.join(missing)} must be said, how many steps a recording has and how many seconds a step takes, "
                "such as bins: 300, dt: 1e-3"
            )
        return recordings.binned(**given)


def binning_named(text: str, option: str) -> Binning:
    """Return the binning that words say, such as ``bins: 300, dt: 1e-3, crop: [0, 0, 32, 32]``.

    Args:
        text: YAML, with or without braces around it.
        option: where it stands, for messages.

    Raises:
        SpecError: an unknown word or a value out of range, each with its place.
    """
    return load_spec(text if text.lstrip().startswith("{") else f"{{{text}}}", Binning, filename=option)
