"""What is not followed: the exact engine runs a part of a chip, on the samples in which a fault reaches it, from the trains of what drives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import scores_from
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import RunPlan, RunSheet, run_batch
from neurofault.engines.exact.presented import Events
from neurofault.engines.incremental.fault_loop import write_events
from neurofault.engines.incremental.fault_table import CLOSED, HANDED, REST, SENDER, Handed, Tally
from neurofault.engines.incremental.limits import Course
from neurofault.engines.incremental.net import FlatNetwork
from neurofault.inputs import Inputs

_BYTES = 32 << 20
"""Of trains that are kept before what they drive is run."""
_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class Rest:
    """A part of a chip that is run anew.

    Attributes:
        deployment: the chip, with what is broken in the part.
        flat: the healthy chip as the kernels read it.
        course: which populations these are.
    """

    deployment: Deployment
    flat: FlatNetwork
    course: Course

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """The populations outside that drive one of the part, in the order of the kernels."""
        into = [one for name in self.course.rest for one in self.deployment.into(name)]
        driving = {one.source for one in into} - self.course.rest
        return tuple(name for name in self.flat.names if name in driving)

    @property
    def roles(self) -> NDArray[np.uint8]:
        """Return a row of :attr:`neurofault.engines.incremental.fault_table.FaultTable.roles`."""
        kinds = ((REST, self.course.rest), (CLOSED, self.course.closed), (SENDER, self.senders))
        return np.array([sum(role for role, own in kinds if name in own) for name in self.flat.names], np.uint8)

    @cached_property
    def width(self) -> int:
        """Words of the trains of all senders."""
        return sum(self._words(name) for name in self.senders)

    def _words(self, name: str) -> int:
        place = self.flat.net.pops[self.flat.index(name)]
        return int(place["stop"] - place["base"]) * self.flat.net.words

    @property
    def together(self) -> int:
        """How many samples are run at a time."""
        largest = max(self.deployment.population(name).size for name in (*self.course.rest, *self.senders))
        return max(1, min(_TOGETHER, _BYTES // (8 * largest * self.deployment.timesteps)))

    @cached_property
    def _plan(self) -> RunPlan:
        return RunPlan.of(self.deployment, self.course.rest, Inputs(samples=1))  # no input is among them

    def run(self, trains: NDArray[np.uint32]) -> tuple[RunSheet, Mapping[str, NDArray[np.int64]]]:
        """Run some samples, uint32 [S, at least ``width``]; return what was read, and the spikes of each neuron by population."""
        net, begin, events = self.flat.net, 0, {}
        for name in self.senders:
            words = self._words(name)
            events[name] = Events.room(len(trains), net.steps, words // net.words)
            write_events(trains[:, begin : begin + words], net.words, events[name].starts, events[name].sources)
            begin += words
        sheet = RunSheet.blank(self.deployment, self.course.rest, len(trains), ())
        return sheet, run_batch(self._plan, Inputs(samples=len(trains)), sheet, before=events)


@dataclass(eq=False)
class Waiting:
    """What a thread has found to be run anew.

    Attributes:
        rests: by fault, what is not followed of it.
        handed: room for what a call of the kernels hands on.
    """

    rests: Mapping[int, Rest]
    handed: Handed
    _kept: list[tuple[NDArray[Any], NDArray[np.uint32]]] = field(default_factory=list)
    _bytes: int = 0

    @classmethod
    def of(cls, rests: Mapping[int, Rest]) -> Waiting:
        """Return room for all faults of a sample at least."""
        width = max((one.width for one in rests.values()), default=0)
        room = max(len(rests), _BYTES // (16 * max(width, 1))) if rests else 0
        return cls(rests, Handed(np.empty(room, HANDED), np.empty((room, width), np.uint32)))

    @property
    def samples(self) -> int:
        """Return of how many samples all faults have room."""
        return len(self.handed.cases) // len(self.rests)

    def keep(self, count: int, window_first: int, tally: Tally) -> None:
        """Keep what was handed on, and run it if it is much."""
        if count:
            cases = self.handed.cases[:count].copy()
            cases["sample"] += window_first
            self._kept.append((cases, self.handed.trains[:count].copy()))
            self._bytes += self._kept[-1][1].nbytes
        if self._bytes > _BYTES:
            self.run(tally)

    def run(self, tally: Tally) -> None:
        """Run what is kept; add it to the results of a thread, from which the healthy run's were taken away."""
        if not self._kept:
            return
        cases = np.concatenate([cases for cases, _ in self._kept])
        trains = np.concatenate([trains for _, trains in self._kept])
        self._kept, self._bytes = [], 0
        order = np.argsort(cases["row"], kind="stable")
        rows, begins = np.unique(cases["row"][order], return_index=True)
        for row, own in zip(rows.tolist(), np.split(order, begins[1:]), strict=True):
            together = self.rests[row].together
            for start in range(0, len(own), together):
                which = own[start : start + together]
                self._run(row, cases["sample"][which], trains[which], tally)

    def _run(self, row: int, samples: NDArray[np.int64], trains: NDArray[np.uint32], tally: Tally) -> None:
        rest = self.rests[row]
        sheet, counts = rest.run(trains)
        for name, own in counts.items():
            tally.spikes[row, rest.flat.place_of[name]] += own
        tally.sample_spikes[row, samples] += sheet.sample_spikes
        readout = rest.deployment.readout
        if readout.population in rest.course.rest:
            dead = rest.deployment.damage.silent(readout.population, rest.deployment.output.size)
            tally.scores[row, samples] = scores_from(sheet.potential, sheet.output_counts, readout.how, dead)
