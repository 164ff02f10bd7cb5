"""RANC's simulator of TrueNorth-like cores, restated in plain numbers from what its sources do, and a reader of its networks.

Source: UA-RCL/RANC (MIT), ``simulator/src``: ``neuronblock.cpp`` (integrate, leak, spike, reset), ``corecontroller.cpp`` (axons with a spike and a
connection; clear), ``schedulersram.cpp`` (a packet of destination tick d is read d + 1 ticks after it was written), ``rancgrid.cpp`` (the packets of
tick 0 are there before the first tick), ``outputbus.cpp``, ``decode.hpp`` (the file). Integers have no width there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import neurofault as nf
from neurofault.graph.synapses import Stored


class Cell(NamedTuple):
    """A neuron's own numbers; ``absolute``: its reset mode, else linear; ``symmetric``: the reset type of its core."""

    threshold: int
    negative: int
    reset: int
    leak: int
    absolute: bool
    symmetric: bool = False


def tick(own: Cell, potential: int, arriving: int) -> tuple[int, bool]:
    """Return the potential after a tick in which weights of that sum arrive, and whether it spikes."""
    potential += arriving
    potential += own.leak
    if potential >= own.threshold:
        return (own.reset if own.absolute else potential - own.threshold), True
    if potential < own.negative or (own.symmetric and potential == own.negative):
        return (-own.reset if own.absolute else potential - own.negative), False
    return potential, False


@dataclass(frozen=True)
class Core:
    """A core of a file.

    Attributes:
        place: (x, y).
        types: of each axon.
        rows: for each neuron its cell, its table of weights, the axons that it is connected to, and where its spikes go: (x, y), axon, tick.
    """

    place: tuple[int, int]
    types: list[int]
    rows: list[tuple[Cell, list[int], list[int], tuple[tuple[int, int], int, int]]]

    def weight(self, neuron: int, axon: int) -> int:
        """What a spike of an axon adds to a neuron."""
        _, table, connected, _ = self.rows[neuron]
        return table[self.types[axon]] if axon in connected else 0


@dataclass(frozen=True)
class Grid:
    """A file: its cores, the packets as (tick that they come in, core, axon, destination tick), the place of the output bus, its lines."""

    cores: list[Core]
    packets: list[tuple[int, tuple[int, int], int, int]]
    bus: tuple[int, int]
    outputs: int


def read(path: Path, symmetric: bool = False) -> Grid:
    text = json.loads(path.read_text())
    cores = []
    for core in text["cores"]:
        x, y = core["coordinates"]
        rows = []
        for neuron, connected in zip(core["neurons"], core["connections"], strict=False):
            cell = Cell(
                neuron["positive_threshold"], neuron["negative_threshold"], neuron["reset_potential"], neuron["leak"],
                neuron["reset_mode"] == 0, symmetric,
            )  # fmt: skip
            dx, dy = neuron["destination_core_offset"]
            goes = ((x + dx, y + dy), neuron["destination_axon"], neuron["destination_tick"])
            rows.append((cell, neuron["weights"], [axon for axon, bit in enumerate(connected) if bit], goes))
        cores.append(Core((x, y), core["axons"], rows))
    packets = [
        (at, tuple(one["destination_core"]), one["destination_axon"], one["destination_tick"])
        for at, together in enumerate(text["packets"])
        for one in together
    ]
    return Grid(cores, packets, tuple(text["output_bus"]["coordinates"]), text["output_bus"]["num_outputs"])


def simulated(grid: Grid, ticks: int) -> list[list[int]]:
    """Return for each tick from 1 on the lines of the output bus on which a spike came in it."""
    waiting = {(at + tick_ + 1, core, axon) for at, core, axon, tick_ in grid.packets}
    potentials = {core.place: [0] * len(core.rows) for core in grid.cores}
    found = []
    for now in range(1, ticks + 1):
        lines = set()
        for core in grid.cores:
            spikes = [axon for axon in range(len(core.types)) if (now, core.place, axon) in waiting]
            for neuron, (cell, table, connected, (to, axon, later)) in enumerate(core.rows):
                arriving = sum(table[core.types[each]] for each in spikes if each in connected)
                potentials[core.place][neuron], fires = tick(cell, potentials[core.place][neuron], arriving)
                if fires and to == grid.bus:
                    lines.add(axon)
                elif fires:
                    waiting.add((now + later + 1, to, axon))
        found.append(sorted(lines))
    return found


def network(grid: Grid, timesteps: int) -> tuple[nf.Network, nf.Inputs]:
    """Return the same as a graph: a source for each axon that packets come to, a population for each core; a spike that packets bring is shown in the
    step before the one in which it is read. All cores begin in the same step, for the source leads to all of them, to some with weights of 0.

    Neurons that send to one axon of the file at once would be one spike there and are two here: such files are refused.
    """
    by_place = {core.place: core for core in grid.cores}
    fed = sorted({(core, axon) for _, core, axon, _ in grid.packets})
    last = max(grid.cores, key=lambda core: core.place)
    populations = [nf.Population("packets", (len(fed),), nf.Source())]
    connections = []

    def named(core: Core) -> str:
        return f"core{core.place[0]},{core.place[1]}"

    def wires(name: str, source: str, target: Core, axons: Sequence[int | None], delay: int) -> nf.Connection:
        weight = np.array([
            [0 if axon is None else target.weight(neuron, axon) for axon in axons] for neuron in range(len(target.rows))
        ])  # fmt: skip
        return nf.Connection(name, source, named(target), nf.Dense(weight), delay, stored=Stored(0, 8, "signed"))

    heard: dict[tuple[tuple[int, int], int], str] = {}
    for core in grid.cores:
        cells = [cell for cell, *_ in core.rows]
        assert len({(cell.absolute, cell.symmetric) for cell in cells}) == 1
        populations.append(nf.Population(named(core), (len(cells),), neurons(cells)))
        axons = [axon if place == core.place else None for place, axon in fed]
        connections.append(wires(f"packets>{named(core)}", "packets", core, axons, 1))
    for core in grid.cores:
        ways: dict[tuple[tuple[int, int], int], list[int | None]] = {}
        for neuron, (*_, (to, axon, later)) in enumerate(core.rows):
            if to == grid.bus:
                continue
            if heard.setdefault((to, axon), f"{core.place}[{neuron}]") != f"{core.place}[{neuron}]" or (to, axon) in fed:
                raise ValueError(f"several spikes may come to axon {axon} of core {to} at once")
            ways.setdefault((to, later), [None] * len(core.rows))[neuron] = axon
        for (to, later), sent in ways.items():
            target = by_place[to]
            connections.append(wires(f"{named(core)}>{named(target)}:{later}", named(core), target, sent, later + 1))
    events = np.zeros((1, timesteps, len(fed)), bool)
    for at, core_of, axon, later in grid.packets:
        events[0, at + later, fed.index((core_of, axon))] = True
    made = nf.Network("ranc", tuple(populations), tuple(connections), timesteps, nf.Readout(named(last), "count"))
    return made, nf.Inputs(events=events)


def neurons(cells: Sequence[Cell]) -> nf.CubaLif:
    """Return a population's neurons, all of one reset mode."""
    absolute = cells[0].absolute
    return nf.CubaLif(
        np.array([cell.threshold for cell in cells]), np.array([cell.leak for cell in cells]), du=0, bias_exponent=0,
        reset="zero" if absolute else "subtract", floor=np.array([cell.negative for cell in cells]), at_floor="reset",
        reset_to=np.array([cell.reset for cell in cells]) if absolute else 0,
    )  # fmt: skip
