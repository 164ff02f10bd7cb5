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
from neurofault.deploy.bound import one_sign_sums, step_current
from neurofault.damage.damage import Detour, LearningDefect, SetSynapses, Silence
from neurofault.deploy.deployment import ChipLayer, Deployment
from neurofault.engines.availability import require
from neurofault.engines.kernels import STATE_LIMIT
from neurofault.engines.packing import bias_of
from neurofault.engines.wiring import corrections, dense_weights, edits_of
from neurofault.errors import UnsupportedError
from neurofault.graph import Conv, Dense
from neurofault.graph.neurons import NO_MEMORY
from neurofault.inputs import Inputs

if TYPE_CHECKING:
    from neurofault.engines.twin import Twin

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
        """Return None if spikes are sure to be exact for every input, else the reason, naming the layer."""
        for edit in deployment.damage.edits:
            if isinstance(edit, LearningDefect | Detour) or (isinstance(edit, Silence | SetSynapses) and edit.when.always):
                continue
            place = f"layer {deployment.layers[edit.layer].name!r}" if hasattr(edit, "layer") else "the chip"
            what = type(edit).__name__ + ("" if edit.when.always else " in a time window")
            return f"{place}: snnTorch takes permanent Silence and SetSynapses, not {what}"
        for index, layer in enumerate(deployment.layers):
            reason = _unlike_leaky(layer) or _out_of_range(deployment, index)
            if reason is not None:
                return f"layer {layer.name!r}: {reason}"
        return None

    def run(self, deployment: Deployment, inputs: Inputs, *, record: Collection[str] = ()) -> Activity:
        """Present every sample for T steps (see :class:`neurofault.engines.base.Engine`).

        Memory: the result, plus a few values of 4 MB a layer.
        """
        from neurofault.engines.twin import present

        return present(deployment, inputs, record)


def twin(deployment: Deployment) -> Twin:
    """Return the differentiable twin of a (damaged) deployment, whose forward pass is what the engine runs.

    Raises:
        UnsupportedError: snnTorch is not installed, or the arithmetic would not be the chip's; the text names the layer.
    """
    reason = SnnTorchEngine().supports(deployment)
    if reason is not None:
        raise UnsupportedError(f"engine 'snntorch' cannot run {reason}")
    from neurofault.engines.twin import Twin

    return Twin(deployment)


def _unlike_leaky(layer: ChipLayer) -> str | None:
    """Return what in a layer's neurons or synapses snnTorch's ``Leaky`` does not have."""
    if np.any(layer.du != NO_MEMORY) or np.any(layer.dv != 0):
        return "snnTorch's Leaky needs du = 4095 and dv = 0 (its decays do not round)"
    if isinstance(layer.synapses, Dense) and layer.synapses.delay is not None and np.any(layer.synapses.delay):
        return "snnTorch has no synaptic delays"
    if int(layer.vth.min()) < 0 or layer.v_init > int(layer.vth.min()) << 6:
        return "snnTorch's reset needs thresholds of at least 0 and an initial potential below them"
    return None


def _out_of_range(deployment: Deployment, index: int) -> str | None:
    """Return why a layer might leave the whole numbers that float32 holds, for some input; None if no input can do it."""
    layer = deployment.layers[index]
    if abs(layer.v_init) >= STATE_LIMIT:
        return f"initial potential {layer.v_init} is outside ±(2**23 − 1)"
    if index == 0:
        if layer.bias_exponent > _LARGEST_BIAS_EXPONENT:
            return f"bias exponent {layer.bias_exponent} is above {_LARGEST_BIAS_EXPONENT}: a bias may reach 2**23"
        return None
    bias = bias_of(layer.bias_mantissa, layer.bias_exponent).astype(np.float64)
    alive = ~deployment.damage.silent(index, layer.size)
    worst = 0
    for sign in (1, -1):
        drive = _most(deployment, index, sign)
        if int(drive.max(initial=0)) > 2 * STATE_LIMIT:
            return f"weights of one sign sum to {int(drive.max())}, above 2**24: float32 may round"
        current = step_current(drive, layer.weight_exponent)
        worst = max(worst, int(np.maximum(current, current + sign * bias)[alive].max(initial=0)))
    if worst >= STATE_LIMIT:
        return f"current and bias of one step may reach {worst}, not below 2**23: u may wrap, float32 may round"
    return None


def _most(deployment: Deployment, index: int, sign: int) -> NDArray[np.float64]:
    """Return float64 [n], whole numbers: what all the weights of one sign into each neuron sum to, at least 0."""
    layer, edits = deployment.layers[index], edits_of(deployment, index)
    match layer.synapses:
        case Dense() as dense:
            return one_sign_sums(Dense(dense_weights(dense, edits)), sign)
        case Conv() as conv:
            delta = corrections(conv, edits)
            single = np.bincount(delta.targets, np.maximum(sign * delta.values, 0), conv.n_out)
            return np.asarray(one_sign_sums(conv, sign) + single)
        case None:
            return np.zeros(layer.size)
