"""What the neurons of a NIR graph do in one time step.

With step ``dt`` and forward Euler, currents before membranes::

    LIF      v ← v·(1 − dt/τ) + (dt/τ)·(v_leak + R·I)
    CubaLIF  i ← i·(1 − dt/τ_syn) + (dt/τ_syn)·w_in·I       v ← v·(1 − dt/τ_mem) + (dt/τ_mem)·(v_leak + R·i)
    IF       v ← v + dt·R·I
             spike where v > v_threshold, then v ← v_reset = 0

which is what snnTorch's own exporter and importer mean (``snntorch/export_nir.py``, ``import_nir.py``: β = 1 − dt/τ, R = τ/dt,
dt = 1e-4) and what norse computes for LIFBoxCell (``norse/torch/functional/lif_box.py``). Three things are written by somebody in another sense:

- IF with R = 1 counts, v ← v + I, whatever dt is: so do snnTorch, norse (IAFCell) and sinabs; spikingjelly writes R = 1/dt, which is the equation.
- CubaLIF with w_in = R = 1 at norse's dt of 1e-6 is norse's LIFCell (``norse/torch/functional/lif.py``), whose current takes each spike
  whole: i ← i·(1 − dt/τ_syn) + I.
- τ = R = ∞ is the limit R = τ/dt of no leak (snnTorch, β = 1): v ← v + I.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_fields import MAX_NUMBER, NirReset
from neurofault.convert.spiking_neurons import SpikingNeurons, Value, current_decay, membrane_decay
from neurofault.errors import ConversionError
from neurofault.graph.arithmetic import Reset

NORSE_DT = 1e-6
"""norse 1.1 multiplies its time constants by its own dt of 1e-3 when it writes them."""

TIMED = ("LIF", "CubaLIF", "LI", "CubaLI")
"""Nodes that have time constants."""
FIRING = ("IF", "LIF", "CubaLIF", "Threshold")
"""Nodes that spike."""
NEURONS = (*FIRING, "I", "LI", "CubaLI")
"""Nodes that become populations."""

_PARAMETERS = ("r", "tau", "tau_mem", "tau_syn", "w_in", "v_leak", "v_threshold", "v_reset", "threshold")
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NodeDynamics:
    """A population's equations in one step, in NIR's own units; arrays of the node's shape.

    ``i ← i·(1 − lost_i) + gain_i·I``, ``v ← v·(1 − lost_v) + leak + gain_v·i``, spike where v > threshold, then the reset.

    Attributes:
        lost_i, lost_v: fractions that are lost each step, 0 to 1; lost_i 1: the current has no memory.
        gain_i, gain_v: > 0.
        leak: added to v each step.
        threshold: None for neurons that never fire.
        said: what was assumed of these neurons, one text each.
        reset, reset_delay, refractory: as of :class:`neurofault.graph.CubaLif`.
    """

    lost_i: Array
    gain_i: Array
    lost_v: Array
    gain_v: Array
    leak: Array
    threshold: Array | None
    said: tuple[str, ...] = ()
    reset: Reset = "zero"
    reset_delay: int = 0
    refractory: int = 0

    @property
    def gain(self) -> Array:
        """What one unit of I adds to v at once."""
        gain = self.gain_i * self.gain_v
        return np.where(np.abs(gain - 1) < 1e-6, 1.0, gain)  # what float32 time constants leave of a gain of 1


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # what is beyond all numbers is refused by name
def dynamics_of(where: str, name: str, node: Any, dt: float, reset: NirReset = "zero", *, recurrent: bool = False) -> NodeDynamics:
    """Return what a neuron node does in a step.

    Args:
        where: file name, for messages.
        name: of the node.
        node: it.
        dt: the time step.
        reset: what a spike does.
        recurrent: whether the neurons drive themselves, which snnTorch's reset to zero depends on.

    Raises:
        ConversionError: a parameter is NaN or infinite without a limit, ``v_reset`` is not 0, ``dt`` exceeds a time constant, or a gain is not
            positive; the text names the node.
    """
    kind, at = type(node).__name__, f"{where}: node {name!r}"
    fields = {field: double(value) for field in _PARAMETERS if (value := getattr(node, field, None)) is not None}
    synaptic = kind == "CubaLIF"
    law = _law(reset, held=recurrent or synaptic) if kind in FIRING else {}
    for field, value in fields.items():
        if np.any(np.isnan(value)) or (field in ("v_leak", "v_reset") and np.any(np.isinf(value))):
            raise ConversionError(f"{at}: {kind} with {field} {some(value)}: not finite; did training diverge?")
    if np.any(fields.get("v_reset", 0.0) != 0):
        raise ConversionError(f"{at}: {kind} with v_reset {some(node.v_reset)}; the chip's neuron resets to zero")
    for field, word in (("r", "resistance"), ("w_in", "w_in")):
        if field in fields and not np.all(fields[field] > 0):
            raise ConversionError(
                f"{at}: {kind} with {word} {some(fields[field])}; it must be above 0 (fold signs into the weights)"
            )
    threshold, one, none = fields.get("v_threshold"), np.ones(()), np.zeros(())
    match kind:
        case "IF" | "I":
            return replace(_integrator(at, kind, fields["r"], threshold, dt), **law)
        case "Threshold":
            kept = (f"node {name!r}: a Threshold compares the input of one step; the chip's membrane keeps 1/4096 of what it had",)
            return NodeDynamics(one, one, one, one, none, fields["threshold"], kept, **law)
        case "LIF" | "LI":
            lost, gain = _leak(at, kind, "tau", fields["tau"], "r", fields["r"], dt)
            return NodeDynamics(one, one, lost, gain, lost * fields["v_leak"], threshold, _coarse(name, "leak", lost), **law)
        case _:
            lost, gain = _leak(at, kind, "tau_mem", fields["tau_mem"], "r", fields["r"], dt)
            lost_i, gain_i = _leak(at, kind, "tau_syn", fields["tau_syn"], "w_in", fields["w_in"], dt)
            said = _coarse(name, "leak", lost) + _coarse(name, "current's decay", lost_i)
            if np.all(fields["w_in"] == 1) and np.all(fields["r"] == 1) and np.any(lost_i < 1):
                share = some(gain_i)
                if np.isclose(dt, NORSE_DT, rtol=1e-6, atol=0):
                    gain_i = np.ones_like(gain_i)
                    said += (
                        f"node {name!r}: {kind} with w_in 1 at dt 1e-06 is norse's LIFCell: each spike adds its whole weight to the current",
                    )
                else:
                    said += (
                        f"node {name!r}: {kind} with w_in 1: by NIR's equation a spike adds {share} of its weight to the current (dt/tau_syn); "
                        "where its writer meant the whole weight, w_in should be tau_syn/dt",
                    )
            return NodeDynamics(lost_i, gain_i, lost, gain, lost * fields["v_leak"] + none, threshold, said, **law)


def _law(reset: NirReset, *, held: bool) -> dict[str, Any]:
    """Return the fields of a reset; ``held``: snnTorch's reset to zero also clears what the membrane gets in the step after (not in Leaky)."""
    match reset:
        case "snntorch-zero":
            return {"reset": "zero", "refractory": int(held)}
        case "snntorch-subtract":
            return {"reset": "subtract", "reset_delay": 1}
        case how:
            return {"reset": how}


def _integrator(at: str, kind: str, resistance: Array, threshold: Array | None, dt: float) -> NodeDynamics:
    one, none = np.ones(()), np.zeros(())
    if np.any(np.isinf(resistance)):
        raise ConversionError(f"{at}: {kind} with resistance {some(resistance)}; it must be finite")
    counts = bool(np.all(resistance == 1)) and dt != 1
    said = (
        f"{at.rpartition(': ')[2]}: {kind} with r 1 counts, v + I a step, and dt does not enter (so do snnTorch, norse, sinabs)",
    )
    return NodeDynamics(one, one, none, resistance if counts else dt * resistance, none, threshold, said if counts else ())


def _leak(at: str, kind: str, field: str, tau: Array, factor_name: str, factor: Array, dt: float) -> tuple[Array, Array]:
    """Return (dt/τ, (dt/τ)·factor): what is lost each step and the gain; the gain is 1 where both τ and its factor are infinite."""
    if not np.all(tau > 0) or np.any(dt / tau > 1 + 1e-6):
        raise ConversionError(
            f"{at}: {field} {some(tau)} does not reach one step of dt {dt:g}; pass the dt that the file was made with"
        )
    lost = np.minimum(dt / tau, 1.0)
    endless, unbounded = np.isinf(tau), np.isinf(factor)
    if np.any(endless != unbounded):
        raise ConversionError(
            f"{at}: {kind} with {field} {some(tau)} and {factor_name} {some(factor)}; both are infinite (no leak) or none: "
            f"what is added in a step is {factor_name}·dt/{field}"
        )
    with np.errstate(invalid="ignore"):
        return lost, np.where(endless, 1.0, lost * factor)


def _coarse(name: str, what: str, lost: Array) -> tuple[str, ...]:
    """Say where a decay is finer than the chip's grid."""
    kept = np.rint(4096 * lost) / 4096
    off = np.abs(kept - lost) > 0.05 * lost
    if not np.any(off):
        return ()
    return (
        f"node {name!r}: a {what} of {some(np.broadcast_to(lost, off.shape)[off])} a step becomes {some(np.broadcast_to(kept, off.shape)[off])} "
        "(the chip's decays are multiples of 1/4096)",
    )


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # what is beyond all numbers is refused by name
def neuron_of(where: str, name: str, node: Any, dynamics: NodeDynamics) -> SpikingNeurons:
    """Return a NIR neuron as the chip's, its gain divided out.

    Raises:
        ConversionError: a gain beyond what can be divided out.
    """
    gain = dynamics.gain
    if not np.all((gain >= 1 / MAX_NUMBER) & (gain <= MAX_NUMBER)):
        raise ConversionError(
            f"{where}: node {name!r}: {type(node).__name__}: an input of 1 adds {some(gain)} to v in a step; {1 / MAX_NUMBER:g} to "
            f"{MAX_NUMBER:g} is taken"
        )
    du: Value = 4095 if np.all(dynamics.lost_i == 1) else current_decay(name, 1 - dynamics.lost_i)
    dv: Value = 0 if np.all(dynamics.lost_v == 0) else membrane_decay(1 - dynamics.lost_v)
    threshold = None if dynamics.threshold is None else dynamics.threshold / gain
    law = (dynamics.reset, dynamics.reset_delay, dynamics.refractory)
    return SpikingNeurons(threshold, du, dv, dynamics.leak / gain, *law)


def double(value: Any) -> Array:
    """Return numbers of a node in float64."""
    return np.asarray(value, np.float64)


def some(value: Any) -> str:
    """Return a value or the range of an array, for messages."""
    array = double(value)
    low, high = float(array.min()), float(array.max())
    return f"{low:g}" if low == high or np.isnan(low) else f"{low:g}…{high:g}"
