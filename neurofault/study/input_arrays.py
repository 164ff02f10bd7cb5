"""Encoded samples as named arrays, for files that carry some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.inputs import Bias, Inputs, Spikes

_MOST = 1 << 31


def input_arrays(inputs: Inputs) -> tuple[list[dict[str, str | int]], dict[str, NDArray[Any]]]:
    """Return what is presented to each input, as text and arrays that :func:`inputs_of` takes."""
    listed: list[dict[str, str | int]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for number, (name, part) in enumerate(sorted(inputs.parts.items())):
        match part:
            case Bias(mantissa=mantissa):
                listed.append({"name": name, "kind": "bias"})
                arrays[f"{number}.mantissa"] = mantissa
            case Spikes():
                begin, end = int(part.starts[0]), int(part.starts[-1])
                listed.append({"name": name, "kind": "spikes", "size": part.size})
                arrays[f"{number}.starts"] = part.starts - begin
                arrays[f"{number}.steps"], arrays[f"{number}.neurons"] = part.steps[begin:end], part.neurons[begin:end]
    return listed, arrays


def inputs_of(listed: Any, arrays: Mapping[str, NDArray[np.generic]], timesteps: int, samples: int) -> Inputs:
    """Return encoded samples from text and arrays.

    Args:
        listed: what there is, as of :func:`input_arrays`.
        arrays: likewise.
        timesteps: T.
        samples: how many there are, where there is no input.

    Raises:
        ValueError, LookupError, TypeError, UsageError: they hold something else.
    """
    biases: dict[str, object] = {}
    spikes: dict[str, object] = {}
    if not isinstance(listed, list):
        raise TypeError("inputs are no list")
    for number, one in enumerate(listed):
        name = one["name"]
        if not isinstance(name, str):
            raise TypeError("name is no text")
        if name in biases or name in spikes:
            raise ValueError(f"input {name!r} is there twice")
        if one["kind"] == "bias":
            mantissa = arrays[f"{number}.mantissa"]
            if mantissa.ndim != 2 or mantissa.dtype != np.int32:
                raise ValueError(f"input {name!r} is {mantissa.dtype} of shape {mantissa.shape}")
            biases[name] = Bias(mantissa.astype(np.int32))
        elif one["kind"] == "spikes":
            starts, steps, neurons = (arrays[f"{number}.{part}"] for part in ("starts", "steps", "neurons"))
            size = one["size"]
            if not isinstance(size, int) or not 1 <= size < _MOST:
                raise ValueError(f"input {name!r} has {size!r} lines")
            if starts.ndim != 1 or steps.ndim != 1 or neurons.ndim != 1 or not len(starts) or starts[-1] != len(steps):
                raise ValueError(f"input {name!r}: events in arrays that do not fit")
            spikes[name] = Spikes(starts.astype(np.int64), steps.astype(np.int32), neurons.astype(np.int32), timesteps, size)
        else:
            raise ValueError(f"input {name!r} is of kind {one['kind']!r}")
    if not biases and not spikes:
        return Inputs(samples=samples)
    return Inputs(bias=biases or None, events=spikes or None)
