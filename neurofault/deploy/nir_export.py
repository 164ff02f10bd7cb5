"""`to_nir`: a network, or a deployment with whatever is broken in it, as a NIR graph.

:mod:`neurofault.convert.nir_writer` writes the nodes; here stands what a deployment is in its units.

A deployment is written in units of ``v``: weight·2**(6 + e), vth·64, mantissa·2**x. These are whole numbers, so reading back gives the
same integers. Other readers compute with them in real numbers: they leave out the rounding of decays (towards 0) and of negative weight
exponents, the wrap of ``u`` and the saturation of ``v``; with dv = 0, du = 4095 and e ≥ 0 there is nothing to leave out.
They also begin at v = 0: NIR has no initial state, ``v_init`` is in the metadata only.

What is broken is written so that any reader computes it: dead neurons get weights and bias 0 (they stay at v = v_init, below threshold);
where they share a kernel with living ones, an infinite threshold; damaged synapses have the weight that the chip reads, and a convolution with damaged
synapses becomes a matrix. Dead outputs must lose every comparison: they get the lowest weights and bias that the chip's fields hold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_file import import_nir
from neurofault.convert.nir_metadata import NEVER, V_UNIT
from neurofault.convert.nir_writer import SNNTORCH_DT, write_nir
from neurofault.convert.nir_written import WrittenConnection, WrittenGraph, WrittenPopulation, matrix_of, scaled, written_network
from neurofault.damage.damage import (
    Detour,
    Drop,
    Force,
    InputNoise,
    KeptState,
    LearningDefect,
    LostReset,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    StuckCounter,
    Upset,
)
from neurofault.damage.fold import SynapseFold
from neurofault.damage.fold_neurons import NeuronFold
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.weight_fields import weight_range
from neurofault.errors import UnsupportedError, UsageError, with_remedy
from neurofault.graph import Dense, Network, Sparse
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import unknown_feature
from neurofault.graph.network import samples_apart
from neurofault.graph.synapses import Stored, Synapses

_FEATURES = frozenset({"reset subtract", "reset none", "delayed", "refractory", "floor"})
"""What a law may have to be written."""


def to_nir(network: Network | Deployment, path: str | Path | None = None, *, dt: float = SNNTORCH_DT) -> Any:
    """Return a network or a (damaged) deployment as a ``nir.NIRGraph``, and write it if a path is given.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> graph = to_nir(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"))
    >>> {name: type(node).__name__ for name, node in graph.nodes.items()}
    {'input': 'Input', 'hands_neurons': 'LIF', 'hands_synapses': 'Linear', 'output': 'Output'}

    Reading the file back with :func:`neurofault.convert.nir_graph.from_nir` and deploying on the same profile gives the same spikes of every
    neuron for the same inputs, and the same answers.

    Args:
        network: what to write.
        path: NIR file (HDF5), replaced as a whole; None: nothing is written.
        dt: the step in the unit of the time constants that are written, > 0; kept in ``metadata["dt"]``.

    Raises:
        UnsupportedError: NIR is not installed, or NIR cannot hold something: faults that come and go, stuck outputs, samples that are one stream,
            matrices of more than 2**25 numbers.
        UsageError: dt is not above 0, or the file cannot be written.
    """
    samples_apart(network, "the export to NIR")
    if not (np.isfinite(dt) and dt > 0):
        raise UsageError(f"dt must be above 0, is {dt}")
    import_nir()
    with with_remedy("nf.save keeps a chip whole, all its damage too"):
        return write_nir(_written(network) if isinstance(network, Deployment) else written_network(network), path, dt)


def _written(deployment: Deployment) -> WrittenGraph:
    """Return a deployment as it is written, everything that is broken in its numbers."""
    lag, read = deployment.schedule.lag, deployment.readout.population
    populations, dead = [], {}
    matrices = {one.name: isinstance(one.synapses, Dense | Sparse) or _struck(deployment, one) for one in deployment.connections}
    for one in deployment.populations:
        chip, dead[one.name] = _struck_population(deployment, one)
        into = deployment.into(one.name)
        only_matrices = bool(into) and all(matrices[each.name] for each in into)
        lowest = deployment.profile.neuron.bias_mantissas[0] if chip.name == read and dead[one.name].any() else 0
        populations.append(_with_dead(chip, dead[one.name], only_matrices, lowest))
    if not deployment.readout.usual and (count := int(dead[read].sum())):
        raise UnsupportedError(
            f"population {read!r}: {count} of its neurons are dead; a readout by {deployment.readout} scores them below all others, which "
            "NIR cannot hold"
        )
    connections = []
    for each in deployment.connections:
        source, target = deployment.population(each.source), each.target
        lost = dead[each.source] if source.is_source and source.encoding is None else np.zeros(source.size, bool)
        synapses = _damaged_synapses(deployment, each, lost)
        if dead[target].any() and all(matrices[other.name] for other in deployment.into(target)):
            lowest = weight_range(min(each.weight_bits, 8), each.sign_mode)[0] if target == read else 0
            synapses = _rows(synapses, dead[target], lowest)
        form = Stored(each.weight_exponent, each.weight_bits, each.sign_mode)
        connections.append(
            WrittenConnection(
                each.name, each.source, target, each.delay, lag[each.name], scaled(synapses, each.weight_exponent), form
            )
        )
    return WrittenGraph(deployment.name, deployment.timesteps, deployment.readout, None, populations, connections)


def _struck(deployment: Deployment, connection: ChipConnection) -> bool:
    """Return whether what a connection brings is no convolution any more."""
    source = deployment.population(connection.source)
    edits = any(isinstance(edit, SetSynapses | Drop) for edit in deployment.damage.of_connection(connection.name))
    lost = source.is_source and source.encoding is None and bool(deployment.damage.silent(source.name, source.size).any())
    return edits or lost


def _struck_population(deployment: Deployment, chip: ChipPopulation) -> tuple[ChipPopulation, NDArray[np.bool_]]:
    """Return a population with its damaged fields, and which of its neurons are dead.

    Raises:
        UnsupportedError: a fault that NIR cannot hold, in it or in what drives it.
    """
    dead, altered = np.zeros(chip.size, bool), list[SetField]()
    own = {one.name for one in deployment.into(chip.name)}
    for edit in deployment.damage.edits:
        match edit:
            case Detour() | LearningDefect():
                pass
            case Silence() | Force() | SetField() | Upset() | StuckCounter() | LostReset() | KeptState() | InputNoise() if (
                edit.population != chip.name
            ):
                pass
            case SetSynapses() | SetDelays() | Drop() if edit.connection not in own:
                pass
            case Silence(neurons=neurons) if edit.when.always:
                dead[neurons] = True
            case SetField(field=field) if edit.when.always and not (chip.is_source and field == "bias_mantissa"):
                altered.append(edit)
            case SetSynapses() if edit.when.always:
                pass
            case Drop(probability=1.0) if edit.when.always:
                pass
            case _:
                at_times = "" if edit.when.always else " that acts only at times"
                raise UnsupportedError(f"layer {chip.name!r}: NIR holds no fault of the kind {type(edit).__name__}{at_times}")
    now = NeuronFold(chip, altered).at(np.ones(len(altered), bool))
    fields = {name: getattr(now, name).astype(np.int32) for name in ("du", "dv", "vth", "bias_mantissa")}
    return replace(chip, **fields), dead  # names of int32 [n] fields


def _damaged_synapses(deployment: Deployment, connection: ChipConnection, lost: NDArray[np.bool_]) -> Synapses:
    """Return synapses as the chip reads them; a matrix where they are damaged."""
    name, synapses = connection.name, connection.synapses
    edits = [edit for edit in deployment.damage.of_connection(name) if isinstance(edit, SetSynapses | Drop)]
    if not edits and not lost.any():
        return synapses
    delay = None
    if synapses.delay is not None:
        delay = matrix_of(name, replace(synapses, weight=synapses.delay, delay=None)).astype(np.int64)
    weight = matrix_of(name, synapses).astype(np.int32)
    fold = SynapseFold(connection, [edit for edit in edits if isinstance(edit, SetSynapses)])
    weight[fold.targets, fold.sources] = fold.at(fold.always).weights
    for edit in edits:
        if isinstance(edit, Drop):
            weight[np.ix_(edit.targets, edit.sources)] = 0
    weight[:, lost] = 0
    return Dense(weight, delay)


def _rows(synapses: Synapses, which: NDArray[np.bool_], value: int) -> Synapses:
    """Return a matrix or listed synapses with one weight into some neurons."""
    weight = np.array(synapses.weight)
    weight[which[synapses.targets] if isinstance(synapses, Sparse) else which] = value
    return replace(synapses, weight=weight)


def _with_dead(chip: ChipPopulation, dead: NDArray[np.bool_], only_matrices: bool, lowest_bias: int) -> WrittenPopulation:
    """Return a population whose dead neurons get a bias, and where a kernel drives them no threshold to reach."""
    threshold = np.asarray(chip.vth, np.float64) * V_UNIT
    exponent = chip.bias_exponent
    bias = np.floor(np.array(chip.bias_mantissa, np.int64) * 2.0**exponent)
    bias[dead] = lowest_bias * 2.0 ** max(exponent, 0)
    if only_matrices:
        threshold[dead & (chip.v_init > chip.vth << 6)] = np.inf
    else:
        threshold[dead] = np.inf
    threshold[chip.vth >= NEVER] = np.inf
    law = chip.law
    if (unknown := unknown_feature(law, _FEATURES)) is not None:
        raise UnsupportedError(f"population {chip.name!r}: {unknown}, which a NIR file does not say")
    return WrittenPopulation(
        chip.name, chip.shape, chip.is_source, chip.encoding, threshold if chip.fires else None, bias, np.asarray(chip.du, np.float64),
        np.asarray(chip.dv, np.float64), float(chip.v_init) if np.ndim(chip.v_init) == 0 else np.asarray(chip.v_init, np.float64), max(exponent, 0),
        law.reset, int(law.delayed), 0 if law.refractory is None else law.refractory,
        None if law.floor is None else np.asarray(law.floor, np.float64),
    )  # fmt: skip
