"""Which engine runs which kind of fault at which time, and many such cells as one chip.

``python tests/faults/engine_matrix.py`` writes ``engine_matrix.csv`` anew.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from fault_chips import EVERYWHERE
from scipy.linalg import block_diag
from test_every_kind import CHIPS, EXTRA, WHENS, at_time

from neurofault import faults
from neurofault.damage.damage import Damage, Detour, Drop, Edit, NeuronEdit, SetDelays, SetSynapses, Stall
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.engines import ENGINES, get_engine
from neurofault.graph import Conv, Dense
from neurofault.graph.synapses import Synapses

FILE = Path(__file__).with_name("engine_matrix.csv")
NEVER = "–"
"""In the file: the kind cannot happen at this time."""

_PARAMETERS = {
    **EXTRA,
    "neuron_threshold": {"factor": 0.0},
    "neuron_stuck": {"spike_rate": 0.75},
    "error_dead": {"count": 2},
    "spike_reset_lost": {"count": 15, "layer": "any"},
}  # whose effect shows
_VARIANTS = {
    "core_hung": ({"on_core_death": "silent"}, {"on_core_death": "stall"}),
    "link_dead": ({}, {"reroute": True, "count": 1}),  # of one dead link in a mesh nothing is lost
}
_SHOWN = ("on_core_death", "reroute")
_MANY = 4


@dataclass(frozen=True)
class Cell:
    """One kind of fault, with parameters where they change what happens, at one kind of time.

    Attributes:
        kind: of fault.
        parameters: what is not the kind's default.
        when: kind of time window.
    """

    kind: str
    parameters: tuple[tuple[str, object], ...]
    when: str

    @property
    def fault(self) -> str:
        """Its name in the file."""
        shown = [f"{key}: {str(value).lower()}" for key, value in self.parameters if key in _SHOWN]
        return f"{self.kind} ({', '.join(shown)})" if shown else self.kind

    @property
    def stalls(self) -> bool:
        """Whether the chip gives no answer."""
        return ("on_core_death", "stall") in self.parameters

    @property
    def unseen(self) -> bool:
        """Whether inference must not see it."""
        return self.kind in {model.kind for model in faults.FAMILIES["learning"]} or ("reroute", True) in self.parameters


CELLS = [
    Cell(kind, tuple(parameters.items()), when)
    for kind, model in EVERYWHERE.items()
    for parameters in _VARIANTS.get(kind, (_PARAMETERS.get(kind, {}),))
    for when in WHENS
    if when in model.whens
]


def _without_leak(chip: Deployment) -> Deployment:
    populations = tuple(
        replace(one, du=np.full(one.size, 4095, np.int32), dv=np.zeros(one.size, np.int32)) for one in chip.populations
    )
    return replace(chip, populations=populations)


@cache
def hurt(chip: Deployment, cell: Cell) -> Deployment:
    """The chip on which a cell's fault has happened."""
    if cell.kind == "feedback_dead" and isinstance(chip.connections[0].synapses, Conv):
        return chip  # no feedback reaches a convolution
    spec = {"kind": cell.kind, "count": _MANY, "when": at_time(cell.kind, cell.when), **dict(cell.parameters)}
    return faults.inject(chip, spec, seed=8)


LEAKY = {net: CHIPS[net] for net in ("dense", "conv")}
LEAK_FREE = {net: _without_leak(chip) for net, chip in LEAKY.items()}
"""With neurons that every engine has."""


@cache
def runs(engine: str, cell: Cell) -> bool:
    """Whether an engine says that it runs a cell, on the dense and on the convolutional chip."""
    answers = {get_engine(engine).supports(hurt(chip, cell)) is None for chip in LEAK_FREE.values()}
    assert len(answers) == 1, cell
    return answers.pop()


def table(engines: Iterable[str]) -> list[dict[str, str]]:
    """The rows of the matrix, with these engines in its cells."""
    rows: dict[str, dict[str, str]] = {}
    for cell in CELLS:
        row = rows.setdefault(cell.fault, {"fault": cell.fault, **dict.fromkeys(WHENS, NEVER)})
        row[cell.when] = " ".join(engine for engine in engines if runs(engine, cell))
    return list(rows.values())


def read(engines: Iterable[str]) -> list[dict[str, str]]:
    """The committed matrix; only these engines are left in its cells."""
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = {*engines, NEVER}
    return [
        {key: text if key == "fault" else " ".join(word for word in text.split() if word in kept) for key, text in row.items()}
        for row in rows
    ]


def side_by_side(chips: Sequence[Deployment]) -> Deployment:
    """One chip of several damaged copies of one network, each on cores of its own; neuron n of copy c is neuron c · size + n."""
    first = chips[0]
    place = first.placement
    populations, cores = [], {}
    for one in first.populations:
        own = [chip.population(one.name) for chip in chips]
        populations.append(
            replace(
                one,
                shape=(len(chips) * one.shape[0], *one.shape[1:]),
                **{name: np.concatenate([getattr(each, name) for each in own]) for name in ("du", "dv", "vth", "bias_mantissa")},
            )
        )
        homes = place.core_of[one.name]
        cores[one.name] = np.concatenate([homes + copy * place.cores_per_chip for copy in range(len(chips))])
    connections = [
        replace(one, synapses=_apart([chip.connection(one.name).synapses for chip in chips])) for one in first.connections
    ]
    edits = tuple(
        _moved(edit, copy, first) for copy, chip in enumerate(chips) for edit in chip.damage.edits if not isinstance(edit, Detour)
    )
    return replace(
        first,
        populations=tuple(populations),
        connections=tuple(connections),
        placement=Placement(len(chips), place.cores_per_chip, cores),
        damage=Damage(edits),
    )


def _apart(synapses: Sequence[Synapses]) -> Synapses:
    match synapses[0]:
        case Dense():
            delays = [one.delay for one in synapses]
            delay = None if any(one is None for one in delays) else block_diag(*delays).astype(np.int64)
            return Dense(block_diag(*(one.weight for one in synapses)).astype(np.int32), delay)
        case Conv(in_shape=(channels, *size), groups=groups) as conv:
            weight = np.concatenate([one.weight for one in synapses])
            return replace(conv, weight=weight, in_shape=(len(synapses) * channels, *size), groups=len(synapses) * groups)
    raise AssertionError("a chain here is dense or a convolution")


def _moved(edit: Edit, copy: int, chip: Deployment) -> Edit:
    """The same edit on another copy."""
    assert not isinstance(edit, Stall | Detour)
    if isinstance(edit, NeuronEdit):
        return replace(edit, neurons=edit.neurons + copy * chip.population(edit.population).size)
    synapses = chip.connection(edit.connection).synapses
    before, own = copy * synapses.n_in, copy * synapses.n_out
    if isinstance(edit, SetSynapses | SetDelays | Drop):
        moved = replace(edit, sources=edit.sources + before, targets=edit.targets + own)
        if isinstance(moved, SetSynapses) and moved.of_sources is not None:
            none = moved.of_sources < 0
            moved = replace(
                moved,
                of_sources=np.where(none, -1, moved.of_sources + before),
                of_targets=np.where(none, -1, moved.of_targets + own),
            )
        return replace(moved, core=edit.core + copy * chip.placement.cores_per_chip) if isinstance(moved, Drop) else moved
    return replace(edit, neurons=edit.neurons + own)


if __name__ == "__main__":
    with FILE.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["fault", *WHENS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table(ENGINES))
