"""A learning connection cut by its sources, for threads: no source's synapses depend on another's, but by a budget of writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.learning.records import Cells, Memory, StepRecord

_BY_SOURCE = {"x": -1, "tx": -1, "weight": -2, "delay": -2, "tag": -2, "writes": -2}
"""Fields of a memory and a record that have a value for each source, and along which axis."""


@dataclass(frozen=True, eq=False)
class Part:
    """What one thread works on; the fields are those of :func:`neurofault.learning.kernel.run`.

    Attributes:
        memory, record: written to.
        pre: bool [S, n], spikes of its sources.
        cells: how their values are stored.
        first: number of its first source in the whole.
    """

    memory: Memory
    record: StepRecord
    pre: NDArray[np.bool_]
    cells: Cells
    first: int = 0

    def of(self, sources: slice) -> Part:
        """Return a copy for some of the sources."""
        memory = Memory(*(_taken(name, array, sources) for name, array in self.memory._asdict().items()))
        record = StepRecord(*(_taken(name, array, sources) for name, array in self.record._asdict().items()))
        cells = self.cells
        if cells.keep.shape[1]:
            cells = cells._replace(keep=cells.keep[sources], force=cells.force[sources])
        return Part(memory, record, np.ascontiguousarray(self.pre[:, sources]), cells, self.first + sources.start)

    def fill(self, sources: Sequence[slice], parts: Sequence[Part]) -> None:
        """Write what the parts have become into the whole; what is no source's is the same in all of them."""
        for own, part in zip(sources, parts, strict=True):
            for mine, its in ((self.memory, part.memory), (self.record, part.record)):
                for name, array in its._asdict().items():
                    if array.size:
                        getattr(mine, name)[_place(name, own)] = array


def _place(name: str, sources: slice) -> Any:
    axis = _BY_SOURCE.get(name, 0)
    return (...,) if not axis else (..., sources) if axis == -1 else (..., sources, slice(None))


def _taken(name: str, array: NDArray[Any], sources: slice) -> NDArray[Any]:
    return array[_place(name, sources)].copy() if array.size else array
