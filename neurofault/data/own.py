"""Own data: arrays under documented names, from a ``.npz`` file or a factory, in fixed roles.

Names, each with ``train_``, ``validation_`` or, for the test samples, no prefix (``test_`` says the same):

======================  ================================================================================================
``images``              values [N, …] of any shape: uint8, 0 to 255, or real numbers of any range
``events``              or spikes of steps, [N, T, …], 0 or more each: any number above 0 is a spike
``sample, step,         or the same, sparse: three arrays [E] of whole numbers, with ``timesteps`` (T) and ``shape`` (of the
neuron``                lines of a step) once for all roles; N is the number of labels
``labels``              whole numbers from 0, [N], or [N, T]: a label of every step, −1 for none. Numbers with fractions are targets
``targets``             in the place of labels: real numbers to be answered, [N], or [N, K], or [N, T, K]: targets of every step
======================  ================================================================================================

Without ``train_…`` six tenths of the samples, in a fair order, calibrate and choose and are not reported on: half of all are the training part,
a tenth the validation part. Without ``validation_…`` a tenth of the training part, at most 5,000, is held out for it. Samples keep no order of
their own: as of every data set, the first N are a fair sample (:func:`neurofault.data.order.fair_order`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import as_array, as_labels, not_finite, one_hot_hint
from neurofault.data.labels import answers_of, targets_of, unknown_labels
from neurofault.data.order import fair_order
from neurofault.data.splits import DataSet, Split, said
from neurofault.errors import DataError, UsageError, nearest
from neurofault.files import read_arrays
from neurofault.inputs import Spikes
from neurofault.numerals import plural
from neurofault.streams import stream_key

KEYS: Final = ("images", "events", "sample", "step", "neuron", "labels", "targets")
SHARED: Final = ("timesteps", "shape")
PREFIXES: Final = {"": "test", "test_": "test", "train_": "train", "validation_": "validation"}
ELSEWHERE: Final = {
    **dict.fromkeys(("x", "data", "inputs", "input", "samples", "features", "values", "image"), "images"),
    **dict.fromkeys(("y", "label", "classes"), "labels"),
}
"""Names that other programs give to arrays, and what they are called here."""
ROLE_WORDS: Final = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_SPARSE: Final = ("sample", "step", "neuron")
_FEWEST: Final = 10


@dataclass(frozen=True, eq=False)
class GivenSamples:
    """Samples and their labels, in the order in which they were given.

    Attributes:
        samples: values [N, …], or events.
        labels: int64 [N] or [N, T].
        sensor: shape of the lines of a step of events.
        notes: what was lost when they were read.
        targets: float64 [N, K] or [N, T, K], in the place of labels, which are −1 then; None: there are none.
    """

    samples: NDArray[np.generic] | Spikes
    labels: NDArray[np.int64]
    sensor: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    targets: NDArray[np.float64] | None = None


def read_npz(path: Path) -> DataSet:
    """Read a data set from a NumPy archive; nothing in it is executed.

    Raises:
        DataError: no such file, damaged, or arrays that do not make a data set; one line that says what was expected and what came.
    """
    return data_set_of(read_arrays(path), str(path), path.name)


def data_set_of(arrays: Mapping[str, object], where: str, name: str | None = None) -> DataSet:
    """Return a data set of arrays under the names that this module documents.

    >>> data = data_set_of({"images": np.arange(40.0).reshape(20, 2), "labels": np.arange(20) % 2}, "mine")
    >>> len(data.train), len(data.validation), len(data.test), data.shape, data.classes
    (10, 2, 8, (2,), ('0', '1'))

    Args:
        arrays: name → array, torch tensor or nested lists.
        where: they come from, for messages.
        name: of the data, for results; None: the same.

    Raises:
        DataError: see :func:`read_npz`.
    """
    try:
        return whole(_parts(arrays, where), name or where)
    except UsageError as error:
        raise DataError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def _parts(arrays: Mapping[str, object], name: str) -> dict[str, GivenSamples]:
    """Return role → its samples, of the roles that are there."""
    allowed = [*(prefix + key for prefix in PREFIXES for key in KEYS), *SHARED]
    for key in arrays:
        if key not in allowed:
            raise DataError(
                f"{name}: unknown array {key!r}{_meant(key, allowed)}; known: {', '.join(KEYS)}, each also as train_… and validation_…, "
                f"and {' and '.join(SHARED)}"
            )
    found: dict[str, GivenSamples] = {}
    for prefix, role in PREFIXES.items():
        mine = {key: arrays[prefix + key] for key in KEYS if prefix + key in arrays}
        if mine and role in found:
            raise DataError(f"{name}: test samples are there twice, with test_ and without")
        if mine:
            found[role] = _part(mine, {key: arrays[key] for key in SHARED if key in arrays}, f"{name}: ", prefix)
    if "test" not in found:
        raise DataError(f"{name}: expected images or events, and labels; there is {', '.join(sorted(arrays)) or 'nothing'}")
    return found


def _meant(key: str, allowed: Sequence[str]) -> str:
    """Return what an unknown name probably means: one of the usual names elsewhere, with its role, or the nearest known one.

    >>> _meant("x_train", ["images"]), _meant("y", ["labels"]), _meant("lables", ["labels"])
    (" (did you mean 'train_images'?)", " (did you mean 'labels'?)", " (did you mean 'labels'?)")
    """
    words = [ROLE_WORDS.get(word, word) for word in key.lower().split("_")]
    said = [word for word in words if word not in ROLE_WORDS.values()]
    roles = [f"{word}_" for word in words if word in ROLE_WORDS.values() and word != "test"]
    if len(said) == 1 and len(roles) <= 1 and said[0] in ELSEWHERE:
        return f" (did you mean {''.join(roles) + ELSEWHERE[said[0]]!r}?)"
    return nearest(key, allowed)


def _part(mine: Mapping[str, object], shared: Mapping[str, object], where: str, prefix: str) -> GivenSamples:
    if "labels" in mine and "targets" in mine:
        raise DataError(f"{where}{prefix}labels and {prefix}targets are there; expected classes, or real numbers to be answered")
    if "labels" not in mine and "targets" not in mine:
        raise DataError(f"{where}{prefix}labels are missing: whole numbers, one for each sample")
    targets: NDArray[np.float64] | None
    if "targets" in mine:
        numbers = targets_of(mine["targets"], f"{where}{prefix}targets")
        labels, targets = unknown_labels(numbers), numbers
    else:
        labels, targets = answers_of(mine["labels"], f"{where}{prefix}labels")
    kinds = [key for key in ("images", "events") if key in mine] + (["sample, step, neuron"] if set(_SPARSE) & set(mine) else [])
    if len(kinds) != 1:
        raise DataError(
            f"{where}{prefix or 'the test samples: '}: expected one of images, events and sample, step, neuron; there is {' and '.join(kinds) or 'none'}"
        )
    sensor: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    samples: NDArray[np.generic] | Spikes
    if kinds == ["images"]:
        samples = values_of(mine["images"], f"{where}{prefix}images")
    elif kinds == ["events"]:
        samples, sensor = _dense(mine["events"], f"{where}{prefix}events")
    else:
        samples, sensor, notes = _sparse(mine, shared, len(labels), where, prefix)
    return checked(GivenSamples(samples, labels, sensor, notes, targets), f"{where}{prefix}", kinds[0])


def checked(part: GivenSamples, where: str, kind: str = "samples") -> GivenSamples:
    """Return samples whose labels fit them.

    Raises:
        DataError: they do not.
    """
    if len(part.samples) != len(part.labels):
        given = "labels" if part.targets is None else "targets"
        raise DataError(
            f"{where}{kind}: {plural(len(part.samples), 'sample')}, but {len(part.labels)} {given}; expected one for each sample"
        )
    steps = part.samples.timesteps if isinstance(part.samples, Spikes) else None
    if part.labels.ndim == 2 and steps not in (None, part.labels.shape[1]):
        raise DataError(
            f"{where}labels: {plural(part.labels.shape[1], 'label')} a sample, but its events have {plural(steps, 'step')}; expected one, or one for each step{one_hot_hint(part.labels)}"
        )
    if steps is None and part.targets is None and (hint := one_hot_hint(part.labels)):
        raise DataError(f"{where}labels: shape {part.labels.shape}; expected [N], one class a sample, whole numbers from 0{hint}")
    if part.targets is not None and part.targets.ndim == 3 and steps not in (None, part.targets.shape[1]):
        raise DataError(
            f"{where}targets: of {plural(part.targets.shape[1], 'step')} a sample, but its events have {plural(steps, 'step')}; expected [N, {steps}, K], or [N, K]"
        )
    return part


def values_of(given: object, what: str) -> NDArray[np.generic]:
    """Return values [N, …]: uint8, or real numbers.

    Raises:
        UsageError: no array of numbers.
        DataError: no samples, single numbers, or values that are not finite.
    """
    array = as_array(given, what)
    if array.ndim < 2 or not array.size:
        raise DataError(f"{what}: shape {array.shape}; expected [N, …], N samples of at least one value each")
    if array.dtype == np.uint8:
        return array
    if (problem := not_finite(array)) is not None:
        raise DataError(f"{what}: {problem}")
    return array


def _dense(given: object, what: str) -> tuple[Spikes, tuple[int, ...]]:
    array = as_array(given, what)
    if array.ndim < 3 or not array.size:
        raise DataError(f"{what}: shape {array.shape}; expected [N, T, …], T steps of the lines of a sample")
    if (problem := not_finite(array)) is not None:
        raise DataError(f"{what}: {problem}")
    if array.dtype.kind != "b" and float(array.min()) < 0:
        raise DataError(
            f"{what}: {array.min()} events of a line in a step; expected 0 or more (a negative polarity is a line of its own)"
        )
    fired: NDArray[np.bool_] = np.not_equal(array, 0).reshape(*array.shape[:2], -1)
    return Spikes.dense(fired), array.shape[2:]


def _sparse(
    mine: Mapping[str, object], shared: Mapping[str, object], samples: int, where: str, prefix: str
) -> tuple[Spikes, tuple[int, ...], tuple[str, ...]]:
    if missing := [key for key in (*_SPARSE, *SHARED) if key not in mine and key not in shared]:
        name = missing[0] if missing[0] in SHARED else prefix + missing[0]
        raise DataError(f"{where}{name} is missing: sparse events are sample, step and neuron, with timesteps and shape")
    timesteps = _whole(shared["timesteps"], f"{where}timesteps")
    shape = _whole(shared["shape"], f"{where}shape")
    if len(timesteps) != 1 or not all(size > 0 for size in (*timesteps, *shape)):
        raise DataError(
            f"{where}timesteps {list(timesteps)} and shape {list(shape)}; expected one number above 0, and sizes above 0"
        )
    sample, step, neuron = (as_labels(np.atleast_1d(np.asarray(mine[key])), f"{where}{prefix}{key}") for key in _SPARSE)
    size = int(np.prod(shape))
    if size >= 1 << 31 or samples * timesteps[0] * size >= 1 << 62:
        raise DataError(f"{where}shape {list(shape)}: too many lines")
    try:
        spikes = Spikes.of(sample, step, neuron, samples=samples, timesteps=timesteps[0], size=size)
    except UsageError as error:
        raise DataError(f"{where}{prefix}{error}") from None
    lost = len(sample) - len(spikes.steps)
    notes = (
        (f"{where}{lost:,} of {len(sample):,} {prefix}events are lost: another of the same line falls into the same step",)
        if lost
        else ()
    )
    return spikes, shape, notes


def _whole(given: object, what: str) -> tuple[int, ...]:
    return tuple(int(each) for each in as_labels(np.atleast_1d(np.asarray(given)), what).reshape(-1))


def whole(parts: Mapping[str, GivenSamples], name: str) -> DataSet:
    """Return a data set of the roles that are there: the others are parts of them.

    Args:
        parts: role → samples in the order in which they were given; ``test`` is there.
        name: of the data.

    Raises:
        DataError: samples of different kinds, a class without samples, or too few samples.
    """
    kinds = {role: _kind(part) for role, part in parts.items()}
    for role, kind in kinds.items():
        if kind != kinds["test"]:
            raise DataError(f"{name}: {role} samples are {kind}, but those of test are {kinds['test']}; expected the same")
    cut = roles_of({role: _mixed_by(part) for role, part in parts.items()}, name, "own")
    made = {role: _taken(parts[source], order, f"{name}/{role}") for role, (source, order) in cut.places.items()}
    notes = (*(note for part in parts.values() for note in part.notes), *cut.notes)
    classes = cut.classes if parts["test"].targets is None else ()
    return DataSet(name, **made, classes=classes, sensor=parts["test"].sensor, notes=notes)


@dataclass(frozen=True, eq=False)
class Division:
    """Which samples play which role.

    Attributes:
        places: role → where its samples were given (a role) and their numbers there, int64 [N], in order.
        classes: names of the classes, their numbers.
        notes: what was cut for want of training samples.
    """

    places: Mapping[str, tuple[str, NDArray[np.int64]]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def roles_of(labels: Mapping[str, NDArray[np.int64]], name: str, key: str) -> Division:
    """Return which samples play which role, of the labels alone.

    Args:
        labels: role → labels [N] or [N, T] in the order in which they were given; ``test`` is there.
        name: of the data, for messages.
        key: of the order, the same for every set of one kind.

    Raises:
        DataError: a class without samples, or too few samples.
    """
    notes: tuple[str, ...] = ()
    orders = {role: fair_order(_classes(given), stream_key("data", key, role)) for role, given in labels.items()}
    places = {role: (role, order) for role, order in orders.items()}
    if "train" not in labels:
        order = orders["test"]
        if len(order) < _FEWEST:
            raise DataError(
                f"{name}: {plural(len(order), 'sample')}; expected at least {_FEWEST} (six tenths calibrate and are not reported on), or train_… beside them"
            )
        half, tenth = len(order) // 2, len(order) // 10
        reported = order[half + tenth :]
        places |= {"train": ("test", order[:half]), "test": ("test", reported)}
        if "validation" not in labels:
            places["validation"] = ("test", order[half : half + tenth])
        else:
            places["test"] = ("test", order[half:])
        notes = (
            f"{name} has no train_… samples: {len(order) - len(places['test'][1]):,} of its {len(order):,} calibrate and are not reported on, "
            f"{len(places['test'][1]):,} are reported on",
        )
    elif "validation" not in labels:
        order = orders["train"]
        if len(order) < _FEWEST:
            raise DataError(
                f"{name}: {len(order)} training samples; expected at least {_FEWEST} (a tenth is held out for validation)"
            )
        held = min(5000, len(order) // 10)
        places |= {"train": ("train", order[held:]), "validation": ("train", order[:held])}
    highest = max(int(given.max()) for given in labels.values())
    there = np.zeros(highest + 1, bool)
    for given in labels.values():
        there[given[given >= 0]] = True
    if not there.all():
        without = int(np.flatnonzero(~there)[0])
        raise DataError(
            f"{name}: class {without} has no sample (labels go up to {highest}); expected labels 0 to the number of classes − 1, each in use"
        )
    return Division(places, tuple(map(str, range(highest + 1))), notes)


def _kind(part: GivenSamples) -> str:
    labels = "" if part.labels.ndim == 1 else f", {plural(part.labels.shape[1], 'label')} each"
    labels = labels if part.targets is None else f", {' × '.join(map(str, part.targets.shape[1:]))} targets each"
    return said(part.samples) + labels


def _mixed_by(part: GivenSamples) -> NDArray[np.int64]:
    """Return labels by which samples are mixed; of targets one class for all."""
    return part.labels if part.targets is None else np.zeros(len(part.labels), np.int64)


def _classes(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return by what samples are mixed: their class; of labels of every step, nothing."""
    return labels if labels.ndim == 1 else np.zeros(len(labels), np.int64)


def _taken(part: GivenSamples, order: NDArray[np.int64], name: str) -> Split:
    """Return the samples of ``order`` as a read-only split."""
    samples = part.samples.take(order) if isinstance(part.samples, Spikes) else part.samples[order]
    targets = None if part.targets is None else part.targets[order]
    split = Split(samples, part.labels[order], order.copy(), name, targets)
    held = (samples, targets)
    for array in (split.labels, split.indices, *(one for one in held if isinstance(one, np.ndarray))):
        array.setflags(write=False)
    return split
