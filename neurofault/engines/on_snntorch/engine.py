"""The snnTorch engine: a deployment whose neurons are snnTorch's, where float32 can be proved exact.

``Leaky(beta=1, reset_mechanism="zero", reset_delay=False)`` is Lava's LIF with du = 4095 and dv = 0. Whole numbers in float32 are
exact up to 2**24 in size, whatever the order of summation. :meth:`SnnTorchEngine.supports` proves from the weights, for every
input, that nothing exceeds it: all weights of one sign into a neuron, times 2**(6 + e), with its bias, stay below 2**23; then its
current cannot wrap, and its potential, clamped to ±(2**23 − 1) after each step as the chip does, stays below 2**24 in between.
Thresholds are at least 0 and at least v_init, because snnTorch resets a neuron that begins a step above its threshold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.damage.damage import Detour, LearningDefect, NeuronEdit, SetSynapses, Silence, SynapseEdit
from neurofault.deploy.bound import one_sign_sums, step_current
from neurofault.deploy.deployment import Deployment
from neurofault.engines.availability import require
from neurofault.engines.base import STREAM, whole_runs_only
from neurofault.engines.wiring import corrections, dense_weights, edits_of, listed
from neurofault.errors import UnsupportedError
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.arithmetic import STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import unknown_feature
from neurofault.graph.neurons import NO_MEMORY
from neurofault.graph.schedule import title
from neurofault.graph.synapses import longest_delay
from neurofault.inputs import Inputs, State

if TYPE_CHECKING:
    from neurofault.engines.on_snntorch.twin import Twin

_LARGEST_BIAS_EXPONENT = 7  # a 16-bit mantissa then stays below 2**23


@dataclass(frozen=True)
class SnnTorchEngine:
    """Runs a deployment in snnTorch, in float32, batched over samples.

    Attributes:
        name: the engine's.
    """

    name: str = "snntorch"

    def __post_init__(self) -> None:
        require(self.name)

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if spikes are sure to be exact for every input, else the reason, naming the population or connection."""
        if deployment.reset == "never":
            return STREAM
        for edit in deployment.damage.edits:
            if isinstance(edit, LearningDefect | Detour) or (isinstance(edit, Silence | SetSynapses) and edit.when.always):
                continue
            place = "the chip"
            if isinstance(edit, NeuronEdit):
                place = f"layer {edit.population!r}"
            elif isinstance(edit, SynapseEdit):
                place = title(deployment.connection(edit.connection))
            what = type(edit).__name__ + ("" if edit.when.always else " in a time window")
            return f"{place}: snnTorch takes permanent Silence and SetSynapses, not {what}"
        for population in deployment.populations:
            reason = _unlike_leaky(deployment, population) or _out_of_range(deployment, population)
            if reason is not None:
                return reason
        return None

    def run(
        self,
        deployment: Deployment,
        inputs: Inputs,
        *,
        record: Collection[str] = (),
        state: State | None = None,
        stop: int | None = None,
    ) -> Activity:
        """Present every sample for T steps (see :class:`neurofault.engines.base.Engine`).

        Memory: the result, plus a few values of 4 MB a population.

        Raises:
            UnsupportedError: a state or a stop is given.
        """
        whole_runs_only(self.name, state, stop)
        from neurofault.engines.on_snntorch.twin import present

        return present(deployment, inputs, record)


def twin(deployment: Deployment) -> Twin:
    """Return the differentiable twin of a (damaged) deployment, whose forward pass is what the engine runs.

    Raises:
        UnsupportedError: snnTorch is not installed, or the arithmetic would not be the chip's; the text names the population or connection.
    """
    check_twin(deployment)
    from neurofault.engines.on_snntorch.twin import Twin

    return Twin(deployment)


def check_twin(deployment: Deployment) -> None:
    """Refuse a deployment that has no twin.

    Raises:
        UnsupportedError: as of :func:`twin`.
    """
    reason = SnnTorchEngine().supports(deployment)
    if reason is not None:
        raise UnsupportedError(f"engine 'snntorch' cannot run {reason}")


def _unlike_leaky(deployment: Deployment, own: ChipPopulation) -> str | None:
    """Return what in a population's neurons or the synapses into them snnTorch's ``Leaky`` does not have."""
    if np.any(own.du != NO_MEMORY) or np.any(own.dv != 0):
        return f"layer {own.name!r}: snnTorch's Leaky needs du = 4095 and dv = 0 (its decays do not round)"
    for connection in deployment.into(own.name):
        if longest_delay(connection.synapses):
            return f"{title(connection)}: snnTorch has no synaptic delays"
    law, place = own.law, f"layer {own.name!r}"
    if law.refractory is not None or law.floor is not None:
        return f"{place}: snnTorch's Leaky has no refractory steps and no floor of the potential"
    if (feature := unknown_feature(law, ("reset subtract", "reset none", "delayed"))) is not None:
        return f"{place}: snnTorch's Leaky has no {feature}"
    if law.reset == "subtract" and not law.delayed:
        return f"{place}: with reset_delay=False snnTorch takes the threshold off again from a neuron that is still above it; reset_delay 1 is taken"
    if int(own.vth.min()) < 0 or (law.reset == "zero" and not law.delayed and np.any(own.v_init > own.vth.astype(np.int64) << 6)):
        return f"layer {own.name!r}: snnTorch's reset needs thresholds of at least 0 and an initial potential below them"
    return None


def _out_of_range(deployment: Deployment, own: ChipPopulation) -> str | None:
    """Return why a population might leave the whole numbers that float32 holds, for some input; None if no input can do it."""
    place = f"layer {own.name!r}"
    if (furthest := int(np.abs(own.v_init).max())) >= STATE_LIMIT:
        return f"{place}: initial potential {furthest} is outside ±(2**23 − 1)"
    if own.is_source:
        if own.bias_exponent > _LARGEST_BIAS_EXPONENT:
            return f"{place}: bias exponent {own.bias_exponent} is above {_LARGEST_BIAS_EXPONENT}: a bias may reach 2**23"
        return None
    bias = bias_of(own.bias_mantissa, own.bias_exponent).astype(np.float64)
    alive = ~deployment.damage.silent(own.name, own.size)
    worst = 0
    for sign in (1, -1):
        current = np.zeros(own.size)
        for connection in deployment.into(own.name):
            drive = _most(deployment, connection, sign)
            if int(drive.max(initial=0)) > 2 * STATE_LIMIT:
                return f"{title(connection)}: weights of one sign sum to {int(drive.max())}, above 2**24: float32 may round"
            current += step_current(drive, connection.weight_exponent)
        worst = max(worst, int(np.maximum(current, current + sign * bias)[alive].max(initial=0)))
    if worst >= STATE_LIMIT:
        return f"{place}: current and bias of one step may reach {worst}, not below 2**23: u may wrap, float32 may round"
    return None


def _most(deployment: Deployment, connection: ChipConnection, sign: int) -> NDArray[np.float64]:
    """Return float64 [n], whole numbers: what all the weights of one sign into each neuron sum to, at least 0."""
    edits = edits_of(deployment, connection.name)
    match connection.synapses:
        case Dense() as dense:
            return one_sign_sums(Dense(dense_weights(dense, edits)), sign)
        case Sparse() as one_by_one:
            found = listed(one_by_one, edits)
            return np.asarray(np.bincount(found.targets, np.maximum(sign * found.weights, 0), one_by_one.n_out), np.float64)
        case Conv() as conv:
            delta = corrections(conv, edits)
            single = np.bincount(delta.targets, np.maximum(sign * delta.values, 0), conv.n_out)
            return np.asarray(one_sign_sums(conv, sign) + single)
