"""What a repair may use, and what it has used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from neurofault.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """Limits of a repair; None: no limit. A limit is never exceeded, not by one write.

    >>> import neurofault as nf
    >>> nf.Budget(cycles=2, writes=1000)
    Budget(cycles=2, samples=None, writes=1000, writes_per_synapse=None, energy=None, time=None, labels=1.0)

    Attributes:
        cycles: passes over the adapt set, at least 0; fractions are allowed.
        samples: samples shown, at least 0.
        writes: changes of stored weights in all, at least 0.
        writes_per_synapse: changes that one stored weight stands, at least 0.
        energy: joules (of the profile's default table; static power not included), at least 0.
        time: seconds on the chip, at least 0.
        labels: share of the adapt set whose labels are known, 0 to 1; the rest is shown without labels.
    """

    cycles: float | None = 1.0
    samples: int | None = None
    writes: int | None = None
    writes_per_synapse: int | None = None
    energy: float | None = None
    time: float | None = None
    labels: float = 1.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is None and one.name != "labels":
                continue
            whole = one.name in ("samples", "writes", "writes_per_synapse")
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not math.isfinite(value):
                raise UsageError(f"budget: {one.name} must be a {'whole ' if whole else ''}number, is {value!r}")
            if value < 0 or (one.name == "labels" and value > 1):
                raise UsageError(f"budget: {one.name} is {value}; allowed: {'0 to 1' if one.name == 'labels' else '0 or more'}")
        if self.cycles is None and self.samples is None:
            raise UsageError("budget: give cycles or samples; without either a repair would never end")

    def part(self, share: float) -> Budget:
        """Return the same budget with a share, 0 to 1, of its limits of writes (rounded down), energy and time.

        >>> Budget(cycles=2, writes=1001, energy=0.5).part(0.5)
        Budget(cycles=2, samples=None, writes=500, writes_per_synapse=None, energy=0.25, time=None, labels=1.0)
        """
        return replace(
            self,
            writes=None if self.writes is None else int(share * self.writes),
            energy=None if self.energy is None else share * self.energy,
            time=None if self.time is None else share * self.time,
        )

    def samples_allowed(self, cycle: int) -> int:
        """Return how many samples may be shown in all, where a cycle has ``cycle`` samples.

        >>> import neurofault as nf
        >>> nf.Budget(cycles=2).samples_allowed(500)
        1000
        """
        allowed = [] if self.samples is None else [self.samples]
        return min([*allowed, *([] if self.cycles is None else [round(self.cycles * cycle)])])


@dataclass(frozen=True)
class Spent:
    """What a repair has used. Sums with ``+``.

    Attributes:
        samples: samples shown while the chip learned or waited.
        updates: synapses that the learning engine visited at the end of an epoch (each costs the table's ``synaptic_write``).
        writes: stored weights that changed, and words that were written into a spare core.
        axon_updates: entries of axon tables that were rewritten.
        spikes: of all neurons while samples were shown.
        synaptic_operations: likewise, those of error and feedback synapses included.
        host_bytes: between host and chip: labels, weights read and written, configuration of spare cores. The samples themselves
            are the sensor's and not counted.
        energy: cost table → joules, without static power; None: not known by that table, also of a repair that did nothing where it does not know what a write costs. A table that is not there: nothing was spent.
        time: cost table → seconds on the chip; likewise.
    """

    samples: int = 0
    updates: int = 0
    writes: int = 0
    axon_updates: int = 0
    spikes: int = 0
    synaptic_operations: int = 0
    host_bytes: int = 0
    energy: Mapping[str, float | None] = field(default_factory=dict)
    time: Mapping[str, float | None] = field(default_factory=dict)

    def __add__(self, other: Spent) -> Spent:
        def joined(name: str) -> int | dict[str, float | None]:
            mine, its = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                return int(mine + its)
            return {table: _sum(mine.get(table, 0.0), its.get(table, 0.0)) for table in {**mine, **its}}

        return Spent(**{one.name: joined(one.name) for one in fields(self)})  # type: ignore[arg-type]  # each field keeps its type

    def joules(self, table: str | None) -> float | None:
        """Return the energy by a table of costs; None: not known, as where there is no table."""
        return None if table is None else self.energy.get(table, 0.0)

    def seconds(self, table: str | None) -> float | None:
        """Return the time by a table of costs; None: not known, as where there is no table."""
        return None if table is None else self.time.get(table, 0.0)


def _sum(mine: float | None, its: float | None) -> float | None:
    return None if mine is None or its is None else mine + its
