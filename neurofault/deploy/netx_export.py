"""`to_netx`: a graph in a chip's integers, with whatever is broken in it, as a netx file of lava-dl (`.net`).

:mod:`neurofault.convert.netx_writer` writes the layers; here stands what a damaged deployment is in the format's integers.

Broken weights, delays, thresholds, decays and biases are written as the chip reads them; a convolution with broken synapses becomes a
matrix. Dead neurons get weights and bias 0, so they never fire; nothing reads what dead inputs send. What no integer of the file is (faults that
come and go, stuck outputs, dead neurons of the readout, which score below all others) is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.netx_file import import_h5py
from neurofault.convert.netx_layout import as_matrix
from neurofault.convert.netx_writer import write_netx
from neurofault.damage.damage import (
    Detour,
    Drop,
    Edit,
    Force,
    LearningDefect,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
)
from neurofault.damage.fold import SynapseFold
from neurofault.damage.fold_neurons import NeuronFold
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import load_profile
from neurofault.deploy.quantise import quantise
from neurofault.errors import UnsupportedError, with_remedy
from neurofault.graph import Network
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.network import samples_apart
from neurofault.graph.synapses import Dense

_MORE = "a NIR file (nf.to_nir, OUT.nir) holds more, nf.save a chip with all its damage"


def to_netx(network: Network | Deployment, path: str | Path) -> tuple[str, ...]:
    """Write a network of a chip's integers, or a (damaged) deployment, as a netx file of lava-dl (``*.net``, HDF5).

    >>> import tempfile, neurofault as nf
    >>> folder = tempfile.TemporaryDirectory()
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"), "loihi2")
    >>> print(*to_netx(chip, f"{folder.name}/reflex.net"))
    wgtExp (hands): lava-dl's own loader leaves it out
    >>> again = nf.from_netx(f"{folder.name}/reflex.net")
    >>> again.connection("hands").synapses.weight.tolist(), again.connection("hands").stored.weight_exponent
    ([[254, 0], [0, 254]], 3)

    Read back with :func:`neurofault.convert.netx_graph.from_netx` and deployed it has the same integers, and every population but a damaged
    input sends the same spikes. lava-dl writes and reads sequences of layers with an input and, over ``concat``, skips and loops.

    Args:
        network: what to write.
        path: the file, replaced as a whole.

    Returns:
        What lava-dl's own loader would leave out, one text each; nothing: it reads the same.

    Raises:
        UnsupportedError: the network has real numbers, h5py is not installed, or the format has no words for something; the text names the
            population or connection.
        UsageError: the file cannot be written.
    """
    samples_apart(network, "the export to netx")
    import_h5py()
    if isinstance(network, Deployment):
        with with_remedy(_MORE):
            return _write(network, Path(path))
    real = next((one for one in network.connections if one.stored is None), None)
    if real is not None:
        raise UnsupportedError(
            f"connection {real.name!r} has real numbers; a netx file holds a chip's integers: write what a chip makes of them, "
            "nf.to_netx(nf.deploy(network, 'loihi2'), path), or --profile loihi2"
        )
    populations, connections = quantise(network, load_profile("loihi2"))
    with with_remedy(_MORE):
        return write_netx(populations, connections, network.readout, network.timesteps, Path(path))


@dataclass
class _Broken:
    """What is broken of a population, and of a connection.

    Attributes:
        dead: bool [n], neurons that never fire.
        fields: edits of its parameters.
        synapses: name of a connection → its edits.
    """

    dead: NDArray[np.bool_]
    fields: list[SetField] = field(default_factory=list)


def _write(chip: Deployment, path: Path) -> tuple[str, ...]:
    broken = {one.name: _Broken(np.zeros(one.size, bool)) for one in chip.populations}
    synapses: dict[str, list[SetSynapses | SetDelays | Drop]] = {one.name: [] for one in chip.connections}
    beside = False
    for edit in chip.damage.edits:
        match edit:
            case Detour() | LearningDefect():
                beside = True
            case Silence() | Force(rate=0) if edit.when.always:
                _check_dead(chip, edit)
                broken[edit.population].dead[edit.neurons] = True
            case SetField(population=name) if edit.when.always and not (
                chip.population(name).is_source and edit.field == "bias_mantissa"
            ):
                broken[name].fields.append(edit)
            case SetSynapses() | SetDelays() if edit.when.always:
                synapses[edit.connection].append(edit)
            case Drop(probability=1.0) if edit.when.always:
                synapses[edit.connection].append(edit)
            case _:
                raise UnsupportedError(
                    f"{_where(edit)}: a netx file holds no fault of the kind {type(edit).__name__}{_times(edit)}"
                )
    populations = [_population(one, broken[one.name]) for one in chip.populations]
    connections = [
        _connection(
            one, synapses[one.name], broken[one.source].dead & chip.population(one.source).is_source, broken[one.target].dead
        )
        for one in chip.connections
    ]
    notes = write_netx(populations, connections, chip.readout, chip.timesteps, path)
    lost = [name for name in chip.inputs if broken[name].dead.any()]
    notes += tuple(f"dead inputs of {name!r} are written as weights of 0 behind them: their own spikes still come" for name in lost)
    return (*notes, "what is broken of routes and learning engines is no integer of a network: it is left out") if beside else notes


def _check_dead(chip: Deployment, edit: Silence | Force) -> None:
    if edit.neurons.size and edit.population == chip.readout.population:
        raise UnsupportedError(
            f"population {edit.population!r}: {edit.neurons.size} of its neurons are dead or stuck; a readout's score below all others then, "
            "which no integer of a netx file says"
        )


def _where(edit: Edit) -> str:
    for kind in ("population", "connection"):
        if kind in vars(edit):
            return f"{kind} {vars(edit)[kind]!r}"
    return "the chip"


def _times(edit: Edit) -> str:
    return "" if edit.when.always else " that acts only at times"


def _population(chip: ChipPopulation, broken: _Broken) -> ChipPopulation:
    """Return a population as its neurons are, dead ones without bias."""
    now = NeuronFold(chip, broken.fields).at(np.ones(len(broken.fields), bool))
    mantissa, vth = (np.asarray(values, np.int32).copy() for values in (now.bias_mantissa, now.vth))
    if not chip.is_source:
        mantissa[broken.dead] = 0
        vth[broken.dead & (chip.v_init > vth.astype(np.int64) << 6)] = 131071
    return replace(chip, du=now.du.astype(np.int32), dv=now.dv.astype(np.int32), vth=vth, bias_mantissa=mantissa)


def _connection(
    chip: ChipConnection,
    edits: list[SetSynapses | SetDelays | Drop],
    dead_sources: NDArray[np.bool_],
    dead_targets: NDArray[np.bool_],
) -> ChipConnection:
    """Return a connection with the weights and delays that the chip reads, none into dead neurons, none from dead inputs."""
    if not edits and not dead_sources.any() and not dead_targets.any():
        return chip
    whole = as_matrix(chip)
    weight = np.array(whole.weight)
    delay = np.zeros(weight.shape, np.int64) if whole.delay is None else np.array(whole.delay)
    fold = SynapseFold(chip, edits)
    held = fold.at(fold.always)
    weight[fold.targets, fold.sources], delay[fold.targets, fold.sources] = held.weights, held.delays
    for edit in edits:
        if isinstance(edit, Drop):
            weight[np.ix_(edit.targets, edit.sources)] = 0
    weight[dead_targets] = 0
    weight[:, dead_sources] = 0
    return replace(chip, synapses=Dense(weight, delay if delay.any() else None))
