"""`to_nir`: a chain of populations, as a network or a deployment with whatever is broken in it, as a NIR graph. Chains only.

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
import torch
from numpy.typing import NDArray
from torch.nn import functional

from neurofault.convert.nir_metadata import NEVER, V_UNIT
from neurofault.convert.nir_writer import (
    SNNTORCH_DT,
    WrittenChain,
    WrittenPopulation,
    as_nir_holds,
    check_matrix,
    formats,
    scaled,
    write_nir,
    written_network,
)
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
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Conv, Dense, Network
from neurofault.graph.chains import links
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.network import samples_apart
from neurofault.graph.synapses import Stored


def to_nir(network: Network | Deployment, path: str | Path | None = None, *, dt: float = SNNTORCH_DT) -> Any:
    """Return a network or a (damaged) deployment as a ``nir.NIRGraph``, and write it if a path is given.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> graph = to_nir(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"))
    >>> {name: type(node).__name__ for name, node in graph.nodes.items()}
    {'input': 'Input', 'hands_synapses': 'Linear', 'hands_neurons': 'LIF', 'output': 'Output'}

    Reading the file back with :func:`neurofault.convert.nir_graph.from_nir` and deploying on the same profile gives the same spikes of every
    neuron for the same inputs, and the same answers.

    Args:
        network: what to write.
        path: NIR file (HDF5), replaced as a whole; None: nothing is written.
        dt: the step in the unit of the time constants that are written, > 0; kept in ``metadata["dt"]``.

    Raises:
        UnsupportedError: NIR is not installed, the network is no chain, or NIR cannot hold something: delays, faults that come and go,
            stuck outputs.
        UsageError: dt is not above 0, or the file cannot be written.
    """
    samples_apart(network, "the export to NIR")
    if not (np.isfinite(dt) and dt > 0):
        raise UsageError(f"dt must be above 0, is {dt}")
    return write_nir(_written(network) if isinstance(network, Deployment) else written_network(network), path, dt)


def _beyond(chip: ChipPopulation) -> str:
    return "initial potentials of single neurons" if chip.law.usual else str(chip.law)


def _written(deployment: Deployment) -> WrittenChain:
    """Return a deployment as it is written, everything that is broken in its numbers."""
    populations: list[WrittenPopulation] = []
    lost_inputs = np.zeros(0, bool)  # dead inputs of a network without input neurons
    for link in links(deployment, "the export to NIR"):
        chip, connection = link.population, link.connection
        if not chip.law.usual or np.ndim(chip.v_init):
            raise UnsupportedError(f"layer {chip.name!r}: {_beyond(chip)}, which NIR's nodes do not say")
        dead = np.zeros(chip.size, bool)
        altered: list[SetField] = []
        for edit in deployment.damage.edits:
            match edit:
                case Detour() | LearningDefect():
                    pass
                case Silence() | Force() | SetField() | Upset() | StuckCounter() | LostReset() | KeptState() | InputNoise() if (
                    edit.population != chip.name
                ):
                    pass
                case SetSynapses() | SetDelays() | Drop() if connection is None or edit.connection != connection.name:
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
        chip = replace(chip, **fields)  # names of int32 [n] fields
        synapses = None
        if connection is not None:
            synapses = _damaged_synapses(deployment, connection, len(populations[-1].shape) == 1, lost_inputs)
        lost_inputs = dead if chip.is_source and deployment.encoding is None else np.zeros(0, bool)
        shape = (chip.size,) if isinstance(synapses, Dense) else chip.shape
        last = chip.name == deployment.readout.population
        lowest_bias = deployment.profile.neuron.bias_mantissa_min.known
        populations.append(_with_dead(chip, connection, synapses, shape, dead, last, lowest_bias))
    return WrittenChain(deployment.name, deployment.timesteps, deployment.readout.how, deployment.encoding, None, populations)


def _damaged_synapses(
    deployment: Deployment, connection: ChipConnection, flat: bool, lost_inputs: NDArray[np.bool_]
) -> Dense | Conv:
    """Return synapses as the chip reads them; a matrix where a kernel cannot hold them or the source population is flat."""
    name = connection.name
    synapses = as_nir_holds(name, connection.synapses)
    edits = [edit for edit in deployment.damage.of_connection(name) if isinstance(edit, SetSynapses | Drop)]
    lost = bool(lost_inputs.any())
    if isinstance(synapses, Conv) and (edits or flat or lost):
        synapses = Dense(_matrix(name, synapses))
    if not edits and not lost:
        return synapses
    weight = np.array(synapses.weight)
    fold = SynapseFold(connection, [edit for edit in edits if isinstance(edit, SetSynapses)])
    weight[fold.targets, fold.sources] = fold.at(fold.always).weights
    for edit in edits:
        if isinstance(edit, Drop):
            weight[np.ix_(edit.targets, edit.sources)] = 0
    if lost:
        weight[:, lost_inputs] = 0
    return replace(synapses, weight=weight)


def _matrix(name: str, conv: Conv) -> NDArray[np.int32]:
    """Return the matrix [n_out, n_in] that a convolution is."""
    check_matrix(name, "a damaged convolution", conv)
    weight = torch.from_numpy(np.array(conv.weight, np.float64))
    images = torch.eye(conv.n_in, dtype=torch.float64).reshape(-1, *conv.in_shape)
    out = functional.conv2d(images, weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return np.asarray(out.flatten(1).T.contiguous().numpy(), np.int32)


def _with_dead(
    chip: ChipPopulation,
    connection: ChipConnection | None,
    synapses: Dense | Conv | None,
    shape: tuple[int, ...],
    dead: NDArray[np.bool_],
    last: bool,
    lowest_bias: int,
) -> WrittenPopulation:
    form = Stored() if connection is None else Stored(connection.weight_exponent, connection.weight_bits, connection.sign_mode)
    mantissa = np.array(chip.bias_mantissa, np.int64)
    threshold = np.asarray(chip.vth, np.float64) * V_UNIT
    exponent = chip.bias_exponent
    bias = np.floor(mantissa * 2.0**exponent)
    if dead.any() and last:
        bias[dead] = lowest_bias * 2.0 ** max(exponent, 0)
    elif dead.any():
        bias[dead] = 0
    if dead.any() and isinstance(synapses, Dense):
        weight = np.array(synapses.weight)
        weight[dead] = weight_range(min(form.weight_bits, 8), form.sign_mode)[0] if last else 0
        synapses = replace(synapses, weight=weight)
        threshold[dead & (chip.v_init > chip.vth << 6)] = np.inf
    elif dead.any():
        threshold[dead] = np.inf
    threshold[chip.vth >= NEVER] = np.inf
    return WrittenPopulation(
        chip.name, shape, None if synapses is None else scaled(synapses, form.weight_exponent), threshold if chip.fires else None, bias,
        np.asarray(chip.du, np.float64), np.asarray(chip.dv, np.float64), float(chip.v_init), formats(form, exponent),
    )  # fmt: skip
