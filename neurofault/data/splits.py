"""A data set in fixed roles: samples that are values or events, with labels."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.errors import UsageError, nearest
from neurofault.inputs import Spikes
from neurofault.numerals import plural

ROLES: Final = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """The samples of one role.

    Attributes:
        samples: values [N, …] of any shape: uint8, 0 to 255, or real numbers; or :class:`neurofault.Spikes`. Read-only.
        labels: int64 [N], 0 to the number of classes − 1; or [N, T], a label of every step, −1 for none. Read-only.
        indices: int64 [N], where each sample stands in the published set or the file (``validation`` and ``train``: in its training part).
        name: ``data set/role``, for messages.
        targets: float64 [N, K], or [N, T, K] of every step, real numbers to be answered, in the place of classes: the labels are then all −1, unknown; None:
            there are none. Read-only.
    """

    samples: NDArray[np.generic] | Spikes
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    name: str
    targets: NDArray[np.float64] | None = None

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def expected(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """What is to be answered: the targets where there are any, else the labels."""
        return self.labels if self.targets is None else self.targets

    @property
    def images(self) -> NDArray[np.generic]:
        """The values, [N, …].

        Raises:
            UsageError: the samples are events.
        """
        if isinstance(self.samples, Spikes):
            raise UsageError(f"{self.name} holds events ({said(self.samples)}); values are needed here, such as images")
        return self.samples

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The values, where they are uint8, [N, …].

        Raises:
            UsageError: they are not.
        """
        images = self.images
        if images.dtype != np.uint8:
            raise UsageError(f"{self.name} holds {said(images)}; uint8, 0 to 255, is needed here")
        return images  # type: ignore[return-value]  # its type is this

    @property
    def events(self) -> Spikes:
        """The events.

        Raises:
            UsageError: the samples are values.
        """
        if not isinstance(self.samples, Spikes):
            raise UsageError(f"{self.name} holds values ({said(self.samples)}); events are needed here")
        return self.samples

    def first(self, samples: int) -> Split:
        """Return the first ``samples``, a fair sample of the split; what ``--samples N`` means.

        Raises:
            UsageError: if ``samples`` is not in 1…N.
        """
        if not 1 <= samples <= len(self):
            what = "samples" if isinstance(self.samples, Spikes) else "images"
            raise UsageError(f"samples: {samples} asked for, {self.name} holds {len(self)} {what} (allowed: 1 to {len(self)})")
        targets = None if self.targets is None else self.targets[:samples]
        return replace(
            self, samples=self.samples[:samples], labels=self.labels[:samples], indices=self.indices[:samples], targets=targets
        )

    @functools.cached_property
    def digest(self) -> str:
        """32 hexadecimal digits: a hash of the samples, their shape and their labels, in order."""
        match self.samples:
            case Spikes() as events:
                begin, end = int(events.starts[0]), int(events.starts[-1])
                parts = [events.starts - begin, events.steps[begin:end], events.neurons[begin:end]]
                head = f"events{(len(events), events.timesteps, events.size)}"
            case images:
                parts, head = [images], repr(images.shape) + ("" if images.dtype == np.uint8 else images.dtype.str)
        state = hashlib.blake2b(head.encode(), digest_size=16)
        for part in parts:
            state.update(np.ascontiguousarray(part).data)
        if self.labels.ndim > 1:
            state.update(repr(self.labels.shape).encode())
        state.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        if self.targets is not None:
            state.update(f"targets{self.targets.shape}".encode())
            state.update(np.ascontiguousarray(self.targets, dtype="<f8").data)
        return state.hexdigest()


@dataclass(frozen=True, eq=False)
class DataSet:
    """One data set in its three roles, which share no sample.

    Attributes:
        name: ``digits``, ``mnist``, …, or what was given: a file, or ``package.module:factory``.
        train, validation, test: the roles.
        classes: name of each class; a label is an index into it. Empty: there are targets instead.
        sensor: shape of the lines of a step of events, such as (polarities, height, width); None: a row, or the samples are values.
        notes: what was assumed or lost when it was read.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    sensor: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        answers = f"{len(self.classes)} classes" if self.classes else "real-valued targets"
        roles = ", ".join(f"{role} {len(self.split(role)):,}" for role in ROLES)
        return f"DataSet({self.name!r}: {said(self.train.samples)}, {answers}; {roles})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample, or of one step of events: (channels, height, width) of an image."""
        match self.train.samples:
            case Spikes() as events:
                return self.sensor or (events.size,)
            case images:
                return images.shape[1:]

    @property
    def timesteps(self) -> int | None:
        """Steps of its events; None where the samples are values, shown for as long as wanted."""
        return self.train.samples.timesteps if isinstance(self.train.samples, Spikes) else None

    @functools.cached_property
    def digest(self) -> str:
        """32 hexadecimal digits that identify the data: a hash of every split's :attr:`Split.digest`."""
        parts = ":".join(split.digest for split in (self.train, self.validation, self.test))
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()

    def split(self, role: str) -> Split:
        """Return the split of a role.

        Raises:
            UsageError: if the role is not ``train``, ``validation`` or ``test``.
        """
        match role:
            case "train":
                return self.train
            case "validation":
                return self.validation
            case "test":
                return self.test
            case _:
                raise UsageError(f"unknown split {role!r}; known: {', '.join(ROLES)}{nearest(role, ROLES)}")


def said(samples: NDArray[np.generic] | Spikes) -> str:
    """Return in words what a sample is.

    >>> said(np.zeros((5, 1, 8, 8), np.uint8))
    'uint8 of shape (1, 8, 8)'
    """
    if isinstance(samples, Spikes):
        return f"{plural(samples.timesteps, 'step')} of {plural(samples.size, 'line')}"
    return f"{samples.dtype} of shape {samples.shape[1:]}"
