"""Recordings of event cameras and other event sensors, sparse, and the one way to bin them into spikes of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.errors import DataError, UsageError
from neurofault.inputs import Spikes
from neurofault.numerals import plural

SensorShape = tuple[int, int, int]
"""(polarities, height, width)."""

Columns = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
"""x, y, polarity and time (µs) of the events of one recording, [E] each."""

_FIELDS = (("x", 2), ("y", 1), ("polarity", 0))


@dataclass(frozen=True, eq=False)
class Recordings:
    """Events of N recordings: those of recording k are [starts[k], starts[k + 1]), in any order of time.

    Attributes:
        starts: int64 [N + 1], rising from 0 to E.
        x: int16 [E], column, 0 to width − 1.
        y: int16 [E], row, 0 to height − 1.
        polarity: uint8 [E], 0 to polarities − 1.
        times: int64 [E], µs from the start of the recording, 0 or more.
        shape: (polarities, height, width) of the sensor.
        labels: int64 [N], the class of each recording, 0 or more.

    Raises:
        DataError: arrays of different lengths, or values out of range.
    """

    starts: NDArray[np.int64]
    x: NDArray[np.int16]
    y: NDArray[np.int16]
    polarity: NDArray[np.uint8]
    times: NDArray[np.int64]
    shape: SensorShape
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        events = len(self.times)
        starts = self.starts
        if not len(starts) or starts[0] != 0 or starts[-1] != events or np.any(np.diff(starts) < 0):
            raise DataError(f"recordings: starts must rise from 0 to {events}, the number of events")
        if len(self.labels) != len(self):
            raise DataError(f"recordings: {plural(len(self.labels), 'label')} for {plural(len(self), 'recording')}")
        if len(self.labels) and int(self.labels.min()) < 0:
            raise DataError(f"recordings: label {int(self.labels.min())}; allowed: 0 or more")
        for name, axis in _FIELDS:
            values, end = getattr(self, name), self.shape[axis]
            if len(values) != events:
                raise DataError(f"recordings: {plural(len(values), 'value')} of {name} for {plural(events, 'time')}")
            if events and not 0 <= int(values.min()) <= int(values.max()) < end:
                raise DataError(f"recordings: {name} lies in {values.min()} … {values.max()}; allowed: 0 to {end - 1}")
        if events and int(self.times.min()) < 0:
            raise DataError(f"recordings: time {int(self.times.min())} µs; allowed: 0 or more")

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(cls, events: Sequence[Columns], shape: SensorShape, labels: NDArray[np.int64]) -> Recordings:
        """Return recordings of the columns (x, y, polarity, time) of each.

        Raises:
            DataError: values out of range.
        """
        starts = np.cumsum([0, *(len(each[0]) for each in events)], dtype=np.int64)
        x, y, polarity, times = (
            np.concatenate([np.zeros(0, kind), *(each[place] for each in events)]).astype(kind)
            for place, kind in enumerate((np.int16, np.int16, np.uint8, np.int64))
        )
        return cls(starts, x, y, polarity, times, shape, labels)

    def take(self, which: NDArray[np.integer]) -> Recordings:
        """Return some recordings, by number, in this order."""
        counts = np.diff(self.starts)[which]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        place = np.repeat(self.starts[which] - starts[:-1], counts) + np.arange(starts[-1])
        return Recordings(
            starts, self.x[place], self.y[place], self.polarity[place], self.times[place], self.shape, self.labels[which]
        )

    def binned(
        self,
        *,
        bins: int,
        dt: float,
        rounding: Literal["nearest", "down"] = "nearest",
        polarity: Literal["kept", "merged"] = "kept",
        crop: tuple[int, int, int, int] | None = None,
        down: int = 1,
    ) -> Binned:
        """Return the events as spikes of steps; the line of an event is polarity · height · width + y · width + x.

        Args:
            bins: steps a recording; events of later steps are left out and counted.
            dt: seconds a step, a whole number of µs.
            rounding: ``nearest``: step = round(time / dt), a half to the even step (SLAYER, for N-MNIST); ``down``: the step in
                which the event falls.
            polarity: ``kept``: each polarity has lines of its own; ``merged``: they share them.
            crop: (top, left, height, width) in pixels of the sensor; events beside it are left out and counted.
            down: pixels in each direction that become one line, after the crop; a last, narrower one is kept.

        Raises:
            UsageError: an argument out of range.
        """
        step_us = _microseconds(dt)
        if bins < 1:
            raise UsageError(f"bins: {bins}; allowed: 1 or more")
        if down < 1:
            raise UsageError(f"down: {down}; allowed: 1 or more")
        if rounding not in ("nearest", "down"):
            raise UsageError(f"rounding: {rounding!r}; allowed: nearest, down")
        if polarity not in ("kept", "merged"):
            raise UsageError(f"polarity: {polarity!r}; allowed: kept, merged")
        polarities, sensor_height, sensor_width = self.shape
        top, left, high, wide = crop or (0, 0, sensor_height, sensor_width)
        if not (0 <= top < top + high <= sensor_height and 0 <= left < left + wide <= sensor_width):
            raise UsageError(f"crop: {crop} does not lie within the sensor's {sensor_height}×{sensor_width} pixels")
        height, width = -(-high // down), -(-wide // down)
        kept = polarities if polarity == "kept" else 1
        size = kept * height * width
        steps, lines, counts = [], [], [0]
        outside = cropped = merged = 0
        for first, stop in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            y = self.y[first:stop].astype(np.int64) - top
            x = self.x[first:stop].astype(np.int64) - left
            step = _steps(self.times[first:stop], step_us, rounding)
            seen = (y >= 0) & (y < high) & (x >= 0) & (x < wide)
            early = step < bins
            cropped += int(np.count_nonzero(~seen))
            outside += int(np.count_nonzero(seen & ~early))
            use = seen & early
            line = (y[use] // down) * width + x[use] // down
            if kept > 1:
                line += self.polarity[first:stop][use].astype(np.int64) * (height * width)
            key = np.unique(step[use] * size + line)
            merged += len(line) - len(key)
            steps.append((key // size).astype(np.int32))
            lines.append((key % size).astype(np.int32))
            counts.append(len(key))
        none = np.zeros(0, np.int32)
        spikes = Spikes(
            np.cumsum(counts, dtype=np.int64), np.concatenate([none, *steps]), np.concatenate([none, *lines]), bins, size
        )
        return Binned(spikes, (kept, height, width), merged, outside, cropped)


def on_sensor(where: str, events: Columns, shape: SensorShape, at: NDArray[np.integer]) -> Columns:
    """Return events that all lie on the sensor.

    Args:
        where: they come from.
        events: their columns.
        shape: of the sensor.
        at: int [E], byte at which each stands.

    Raises:
        DataError: one lies beside it.
    """
    x, y, polarity, _ = events
    polarities, height, width = shape
    wrong = np.flatnonzero((x < 0) | (x >= width) | (y < 0) | (y >= height) | (polarity < 0) | (polarity >= polarities))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{where}: event at byte {at[first]} has x {x[first]}, y {y[first]}, polarity {polarity[first]}; "
            f"allowed: x below {width}, y below {height}, polarity below {polarities}"
        )
    return events


@dataclass(frozen=True, eq=False)
class Binned:
    """Recordings as spikes of steps, and what that left out.

    Attributes:
        spikes: the spikes, one line a polarity and pixel.
        shape: (polarities, height, width) of the lines.
        merged: events lost because another of the same line fell into the same step.
        outside: events after the last step.
        cropped: events beside the crop.
    """

    spikes: Spikes
    shape: SensorShape
    merged: int
    outside: int
    cropped: int

    def __str__(self) -> str:
        """Say what was kept and what was lost, in one line."""
        kept = len(self.spikes.steps)
        total = kept + self.merged + self.outside + self.cropped
        return (
            f"{kept:,} of {total:,} events are spikes; lost: {self.merged:,} of one line in one step, "
            f"{self.outside:,} after step {self.spikes.timesteps - 1}, {self.cropped:,} beside the crop"
        )


def _microseconds(dt: float) -> int:
    """Return the whole number of µs of a time in seconds."""
    exact = Fraction(repr(float(dt))) * 1_000_000 if np.isfinite(dt) else Fraction(0)
    if exact < 1 or exact.denominator != 1:
        raise UsageError(f"dt: {dt} s; allowed: a whole number of µs, such as 1e-3")
    return int(exact)


def _steps(times: NDArray[np.int64], step_us: int, rounding: str) -> NDArray[np.int64]:
    """Return the step of each time, in whole numbers."""
    step, rest = np.divmod(times, step_us)
    if rounding == "down":
        return step
    up = (rest > step_us - rest) | ((rest == step_us - rest) & (step % 2 == 1))
    nearest: NDArray[np.int64] = step + up
    return nearest
