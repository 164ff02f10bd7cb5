"""Own data from Python: what ``package.module:datasets`` returns.

One of

- a :class:`neurofault.data.splits.DataSet`;
- a mapping of arrays under the names of :mod:`neurofault.data.own`;
- a mapping of roles, ``train``, ``validation`` and ``test`` (the last must be there), to datasets: anything with a length and numbered samples, such as torch's
  ``Dataset``, each sample a pair of what is seen and a label;
- one such dataset, of which six tenths calibrate.

What is seen is a value of any shape (array, tensor, picture), or one recording as tonic gives them: a structured array of events with the fields
``x``, ``p``, ``t`` (µs) and, of cameras, ``y``. Recordings need ``timesteps``, ``dt`` (seconds a step) and ``shape`` ((polarities, height, width) of the sensor) beside the roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array
from neurofault.data.labels import answers_of, labels_of
from neurofault.data.own import GivenSamples, checked, data_set_of, values_of, whole
from neurofault.data.recordings import Recordings
from neurofault.data.splits import ROLES, DataSet
from neurofault.errors import DataError, NeurofaultError
from neurofault.importing import made_by

_BINNING = ("timesteps", "dt", "shape")
_FIELDS = ("x", "p", "t")


@runtime_checkable
class Numbered(Protocol):
    """Samples by number, each a pair of what is seen and a label."""

    def __len__(self) -> int:
        """Return how many."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return one."""
        ...


def from_factory(path: str) -> DataSet:
    """Return the data set that a factory makes.

    Args:
        path: ``package.module:factory`` or ``file.py:factory``.

    Raises:
        UsageError: no such factory.
        DataError: it fails, or returns something else than this module describes; one line that says what was expected and what came.
    """
    made = made_by(path, "data", DataError, "a name of a data set")
    name = path if "/" not in path else PurePath(path).name
    match made:
        case DataSet():
            return made
        case Mapping() if set(made) <= {*ROLES, *_BINNING} and set(made) & set(ROLES):
            return _of_roles(made, name)
        case Mapping():
            return data_set_of(made, name)
        case np.ndarray():
            raise DataError(f"{name}: returned an array; expected samples with their labels, see docs/own_data.md")
        case Numbered():
            return _of_roles({"test": made}, name)
        case _:
            raise DataError(
                f"{name}: returned {type(made).__name__}; expected a mapping of arrays or of datasets, see docs/own_data.md"
            )


def _of_roles(made: Mapping[str, object], name: str) -> DataSet:
    if "test" not in made:
        raise DataError(f"{name}: returned {', '.join(sorted(made))}; expected test among them")
    parts: dict[str, GivenSamples] = {}
    for role in ROLES:
        dataset = made.get(role)
        if dataset is None:
            continue
        if not isinstance(dataset, Numbered) or not len(dataset):
            raise DataError(
                f"{name}: {role} is {type(dataset).__name__}; expected a dataset with a length above 0 and numbered samples"
            )
        try:
            parts[role] = _part(dataset, {key: made[key] for key in _BINNING if key in made}, f"{name}: {role}")
        except NeurofaultError as error:
            raise DataError(str(error) if str(error).startswith(name) else f"{name}: {role}: {error}") from None
    return whole(parts, name)


def _part(dataset: Numbered, binning: Mapping[str, Any], where: str) -> GivenSamples:
    seen, labels = [], []
    for index in range(len(dataset)):
        try:
            pair = dataset[index]
        except Exception as error:  # the user's own code may raise anything; it is reported as theirs
            raise DataError(f"{where}[{index}] raised {type(error).__name__}: {error}") from error
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"{where}[{index}] is {type(pair).__name__}; expected a pair of what is seen and a label")
        seen.append(pair[0])
        labels.append(np.asarray(pair[1]))
    known = _stacked(labels, f"{where}: labels")
    if isinstance(seen[0], np.ndarray) and seen[0].dtype.names is not None:
        return checked(_binned(seen, labels_of(known, f"{where}: labels"), binning, where), f"{where}: ")
    if binning:
        raise DataError(f"{where}: {' and '.join(binning)} go with recordings, but samples are {type(seen[0]).__name__}")
    pictures = [each if isinstance(each, np.ndarray) else _array(each, f"{where}[{index}]") for index, each in enumerate(seen)]
    values = values_of(_stacked(pictures, f"{where}: samples"), f"{where}: samples")
    classes, targets = answers_of(known, f"{where}: labels")
    return checked(GivenSamples(values, classes, targets=targets), f"{where}: ")


def _array(one: object, what: str) -> NDArray[np.generic]:
    """Return a sample as an array: of a tensor, a picture or lists."""
    return as_array(one if isinstance(one, list | tuple) or "torch" in type(one).__module__ else np.asarray(one), what)


def _stacked(arrays: list[NDArray[np.generic]], what: str) -> NDArray[np.generic]:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        wrong = next(index for index, array in enumerate(arrays) if array.shape != arrays[0].shape)
        raise DataError(
            f"{what}: sample {wrong} has the shape {arrays[wrong].shape}, sample 0 {arrays[0].shape}; expected the same"
        )
    return np.stack(arrays)


def _binned(seen: list[Any], labels: NDArray[np.int64], binning: Mapping[str, Any], where: str) -> GivenSamples:
    if missing := [key for key in _BINNING if key not in binning]:
        raise DataError(f"{where}: recordings need {', '.join(_BINNING)} beside the roles; {missing[0]} is missing")
    counts = [0]
    fields: dict[str, list[NDArray[np.int64]]] = {key: [] for key in ("x", "y", "p", "t")}
    for index, events in enumerate(seen):
        names = events.dtype.names if isinstance(events, np.ndarray) else None
        if names is None or not set(_FIELDS) <= set(names):
            raise DataError(
                f"{where}[{index}] has the fields {', '.join(names or ()) or 'none'}; expected x, p, t and, of cameras, y"
            )
        for key, column in fields.items():
            column.append(np.asarray(events[key] if key in names else np.zeros(len(events)), np.int64))
        counts.append(len(events))
    x, y, p, t = (np.concatenate(fields[key]) for key in ("x", "y", "p", "t"))
    shape = tuple(int(size) for size in binning["shape"])
    if len(shape) != 3:
        raise DataError(f"{where}: shape {shape}; expected (polarities, height, width)")
    if labels.ndim != 1:
        raise DataError(f"{where}: labels of recordings have the shape {labels.shape}; expected [N]")
    for key, values, end in (("x", x, shape[2]), ("y", y, shape[1]), ("p", p, shape[0])):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < end:
            raise DataError(f"{where}: {key} lies in {values.min()} … {values.max()}; expected 0 to {end - 1}")
    recordings = Recordings(
        np.cumsum(counts, dtype=np.int64), x.astype(np.int16), y.astype(np.int16), p.astype(np.uint8), t, (shape[0], shape[1], shape[2]), labels
    )  # fmt: skip
    binned = recordings.binned(bins=int(binning["timesteps"]), dt=float(binning["dt"]), rounding="down")
    return GivenSamples(binned.spikes, labels, binned.shape, (f"{where}: {binned}",))
