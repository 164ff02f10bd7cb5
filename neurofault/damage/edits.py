"""Edits: what may be broken, each one thing, with the steps in which it acts. What they come to together: ``fold.py`` and ``fold_neurons.py``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.arrays import beyond
from neurofault.damage.neuron_edits import InputNoise, NeuronEdit
from neurofault.damage.synapse_edits import Drop, SetDelays, SingleSynapses, SynapseEdit
from neurofault.damage.when import ALWAYS, When


@dataclass(frozen=True, eq=False)
class Stall:
    """Cores that hang: in a mesh with barrier synchronisation the whole chip stops in the first active step.

    Attributes:
        cores: ids, sorted.
        when: active steps.
    """

    cores: tuple[int, ...]
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return None


@dataclass(frozen=True, eq=False)
class Detour:
    """Messages that arrive by a longer way. They arrive in the same step; only energy and time are charged.

    Attributes:
        sources, destinations: int64 [k], core ids of each flow.
        extra_hops: int64 [k], tiles more than by the direct way.
        when: active steps.
    """

    sources: NDArray[np.int64]
    destinations: NDArray[np.int64]
    extra_hops: NDArray[np.int64]
    when: When = ALWAYS

    def misfit(self) -> str | None:
        """Return which of its own numbers is out of range, whatever chip it is of; None: none."""
        return beyond(self, extra_hops=(0, 1 << 31))


Edit = NeuronEdit | SynapseEdit | Stall | Detour
EDITS: Mapping[str, type[Edit]] = {kind.__name__: kind for kind in get_args(Edit)}
"""Every kind of edit by the name that files hold."""


def not_applied(edits: Sequence[Edit], applied: Collection[str]) -> str | None:
    """Return which edit does something that an engine does not apply, as its ``supports`` says it; None: none does.

    Each engine lists what it applies by itself, on purpose: with one list for all, what one of them has learnt would pass in the others.

    Args:
        edits: of a chip.
        applied: what edits may do there (``does`` of their classes).
    """
    for edit in edits:
        if isinstance(edit, NeuronEdit | SynapseEdit) and not edit.does <= set(applied):
            place = f"layer {edit.population!r}" if isinstance(edit, NeuronEdit) else f"connection {edit.connection!r}"
            return f"{place}: {type(edit).__name__} is not applied there"
    return None


def sites(edit: Edit) -> int | None:
    """Return how many sites an edit has, which can break one after the other; None: it is one thing."""
    if isinstance(edit, InputNoise | SetDelays | Drop | Stall | Detour):
        return None
    return len(edit.targets) if isinstance(edit, SingleSynapses) else len(edit.neurons)


def mistake(edit: Edit) -> str | None:
    """Return what is wrong with an edit's own numbers, whatever chip it is of; None: nothing."""
    arrays = {name: value for name, value in vars(edit).items() if isinstance(value, np.ndarray)}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{name} holds what is no number"
    lengths = {name: len(array) for name, array in arrays.items() if not (isinstance(edit, Drop) and name == "targets")}
    first = next(iter(lengths), None)
    for name, length in lengths.items():
        if first is not None and length != lengths[first]:
            return f"{name} must be as many as {first}, {lengths[first]}, not {length}"
    return edit.misfit()
