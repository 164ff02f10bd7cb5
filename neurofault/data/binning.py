"""How recordings become spikes of steps: what was asked for, over what a data set proposes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from neurofault.data.recordings import Binned, Recordings
from neurofault.errors import UsageError


@dataclass(frozen=True)
class Binning:
    """How recordings become spikes of steps (:meth:`neurofault.data.recordings.Recordings.binned`); None: as the data set proposes.

    Attributes:
        bins: steps a recording, 1 or more.
        dt: seconds a step, a whole number of µs.
        polarity: ``kept``: a line for each; ``merged``: one line a pixel.
        crop: (top, left, height, width) in pixels of the sensor.
        down: pixels in each direction that become one line, 1 or more.
        rounding: an event falls into the ``nearest`` step, t/dt rounded, or ``down``, t/dt cut off.
    """

    bins: int | None = None
    dt: float | None = None
    polarity: Literal["kept", "merged"] | None = None
    crop: tuple[int, int, int, int] | None = None
    down: int | None = None
    rounding: Literal["nearest", "down"] | None = None

    def over(self, proposed: Binning) -> Binning:
        """Return what is asked for here, and as proposed where nothing is."""
        asked = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}
        return replace(proposed, **asked)

    def of(self, recordings: Recordings, name: str) -> Binned:
        """Return recordings as spikes of steps.

        Args:
            recordings: events.
            name: of the data, for messages.

        Raises:
            UsageError: ``bins`` or ``dt`` is not known, or something is out of range.
        """
        if self.bins is None or self.dt is None:
            missing = " and ".join(key for key in ("bins", "dt") if getattr(self, key) is None)
            raise UsageError(
                f"data {name} are recordings: how they become steps must be said, {missing} are missing, such as bins: 300, dt: 1e-3 "
                "(steps a sample, seconds a step)"
            )
        given: dict[str, Any] = {
            "polarity": self.polarity, "crop": self.crop, "down": self.down, "rounding": self.rounding,
        }  # fmt: skip
        return recordings.binned(bins=self.bins, dt=self.dt, **{key: value for key, value in given.items() if value is not None})
