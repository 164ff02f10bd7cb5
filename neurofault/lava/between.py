"""Faults in a running Lava graph, those that ``Var.set`` can really cause between two runs, and why not the others.

Measured with lava-nc 0.10.0: ``Dense.weights``, ``DelayDense.weights``, ``Conv.weight`` and ``LIF.bias_mant`` take effect at the next step; ``vth`` is read once, at the first step;
setting ``du`` or ``dv`` crashes the model; ``Sparse.weights`` becomes a matrix of floats and crashes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Detour, Edit, LearningDefect, SetField, SetSynapses
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.engines.on_lava.shim import require_lava
from neurofault.engines.wiring import Edits, edits_of, sparse_weights
from neurofault.errors import UnsupportedError
from neurofault.graph import Conv
from neurofault.graph.chip import ChipConnection
from neurofault.graph.connectivity import places
from neurofault.lava.joins import kind_of, title
from neurofault.lava.reading import LavaGraph

require_lava()

from lava.magma.core.process.process import AbstractProcess  # noqa: E402

_REMEDY = "inject before the first run, and pass handle.run_config(…) to it"
_NONE = Edits(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))

Undo = list[Callable[[], object]]


@dataclass(frozen=True, eq=False)
class _Change:
    """New values in a Var: at flat places of the Var ``name`` of ``process``."""

    process: AbstractProcess
    name: str
    places: NDArray[np.int64]
    values: NDArray[np.int64]

    def make(self) -> Callable[[], object]:
        """Set the values; return what sets them back."""
        variable = getattr(self.process, self.name)
        before = variable.get()
        after = before.copy()
        after.reshape(-1)[self.places] = self.values
        variable.set(after)
        return lambda: variable.set(before)


def set_vars(graph: LavaGraph, deployment: Deployment, steps_run: int) -> tuple[Deployment, Undo]:
    """Cause a deployment's damage in the running graph that it was imported from.

    Args:
        graph: the import.
        deployment: with damage.
        steps_run: Lava's steps so far, at least 1.

    Returns:
        the deployment whose damage begins now, and what sets the Vars back.

    Raises:
        UnsupportedError: an edit that no Var can cause; nothing has been changed then.
    """
    kinds = [hit.kind for hit in deployment.damage.hits for _ in range(hit.n_edits)]
    begun = [_from_now(graph, edit, kind, steps_run) for edit, kind in zip(deployment.damage.edits, kinds, strict=True)]
    changes = [*_biases(graph, deployment), *(_weights(graph, deployment, one) for one in deployment.connections)]
    undo = [change.make() for change in changes if change is not None]
    return deployment.with_damage(replace(deployment.damage, edits=tuple(begun))), undo


def _from_now(graph: LavaGraph, edit: Edit, kind: str, steps_run: int) -> Edit:
    """Return an edit that begins with the next of Lava's steps.

    Raises:
        UnsupportedError: no Var can cause it.
    """
    phase = graph.network.schedule.phase
    match edit:
        case LearningDefect() | Detour():
            return edit
        case SetSynapses(connection=name) if edit.when.always:
            process = graph.synapses(name)
            if kind_of(process) != "sparse":  # the next step's spikes arrive in the target's step steps_run + 1 - phase
                return replace(edit, when=When(max(0, steps_run + 1 - phase[graph.network.connection(name).target])))
            why = f"{title(process)}: setting its weights crashes Lava's model"
        case SetField(population=name, field="bias_mantissa") if edit.when.always:
            if steps_run >= phase[name]:
                return replace(edit, when=When(steps_run - phase[name]))
            why = f"{title(graph.process(name))} gets its first input after {phase[name]} steps, and {steps_run} are done"
        case SetField(population=name, field=field):
            crash = "Lava reads vth once, at its first step" if field == "vth" else f"setting {field} crashes Lava's model"
            why = f"{title(graph.process(name))}: {crash if edit.when.always else 'nothing can change with time'}"
        case SetSynapses(connection=name):
            why = f"{title(graph.synapses(name))}: nothing can change with time"
        case _:
            why = "no Var of Lava's can cause it"
    raise UnsupportedError(f"{kind}: in a running graph, {why}; {_REMEDY}")


def _biases(graph: LavaGraph, deployment: Deployment) -> list[_Change]:
    """Return what is to be set of populations."""
    return [
        _Change(
            graph.process(edit.population), "bias_mant", graph.order(edit.population)[edit.neurons], edit.values.astype(np.int64)
        )
        for edit in deployment.damage.edits
        if isinstance(edit, SetField)
    ]


def _weights(graph: LavaGraph, deployment: Deployment, connection: ChipConnection) -> _Change | None:
    """Return what is to be set of a connection; None: nothing."""
    edits = edits_of(deployment, connection.name)
    if not edits.values.size:
        return None
    process, before, order = graph.synapses(connection.name), graph.order(connection.source), graph.order(connection.target)
    if isinstance(connection.synapses, Conv):
        return _kernel_change(process, connection, connection.synapses, edits)
    return _Change(process, "weights", order[edits.targets] * before.size + before[edits.sources], edits.values)


def _kernel_change(process: AbstractProcess, connection: ChipConnection, conv: Conv, edits: Edits) -> _Change:
    """Return the change of the kernel that causes edits of single synapses.

    Raises:
        UnsupportedError: they hit some of the synapses that read a kernel weight, and not the others.
    """
    words = places(conv, edits.sources, edits.targets)
    kernel = conv.weight.astype(np.int32)
    joined = words >= 0
    kernel.reshape(-1)[words[joined]] = edits.values[joined]
    whole = replace(conv, weight=kernel)
    if (sparse_weights(whole, _NONE) != sparse_weights(conv, edits)).nnz:
        raise UnsupportedError(
            f"in a running graph, {title(process)} has one Var for its kernel, and these faults hit single synapses of it; {_REMEDY}"
        )
    changed = np.unique(words[joined])
    values = kernel.reshape(-1)[changed].astype(np.int64)
    exponent = connection.weight_exponent
    values = values << exponent if exponent >= 0 else values >> -exponent
    at = np.arange(kernel.size).reshape(np.asarray(process.weight.init).shape)[:, ::-1, ::-1, :].transpose(0, 3, 2, 1)
    return _Change(process, "weight", at.reshape(-1)[changed], values)
