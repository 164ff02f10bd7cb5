"""What the neurons of a NIR graph do in one time step, and what had to be assumed to say so.

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_fields import MAX_NUMBER
from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.spiking_layers import SpikingNeurons, Value, current_decay, membrane_decay
from neurofault.errors import ConversionError

NORSE_DT = 1e-6
"""norse 1.1 multiplies its time constants by its own dt of 1e-3 when it writes them."""

DT_OF_WRITERS = "1e-4 for snnTorch, 1 for sinabs, 1e-6 for norse"

TIMED = ("LIF", "CubaLIF", "LI", "CubaLI")
"""Nodes that have time constants."""

_PARAMETERS = ("r", "tau", "tau_mem", "tau_syn", "w_in", "v_leak", "v_threshold", "v_reset")
_SECONDS = 100.0
"""An IF resistance from which on its writer seems to have divided by a step in seconds."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """The time step.

    Attributes:
        dt: in the unit of the file's time constants.
        source: who says so, in words.
    """

    dt: float
    source: str


@dataclass(frozen=True, eq=False)
class NodeDynamics:
    """A population's equations in one step, in NIR's own units; arrays of the node's shape.

    ``i ← i·(1 − lost_i) + gain_i·I``, ``v ← v·(1 − lost_v) + leak + gain_v·i``, spike where v > threshold, then v ← 0.

    Attributes:
        lost_i, lost_v: fractions that are lost each step, 0 to 1; lost_i 1: the current has no memory.
        gain_i, gain_v: > 0.
        leak: added to v each step.
        threshold: None for neurons that never fire.
        said: what was assumed of these neurons, one text each.
    """

    lost_i: Array
    gain_i: Array
    lost_v: Array
    gain_v: Array
    leak: Array
    threshold: Array | None
    said: tuple[str, ...] = ()

    @property
    def gain(self) -> Array:
        """What one unit of I adds to v at once."""
        gain = self.gain_i * self.gain_v
        return np.where(np.abs(gain - 1) < 1e-6, 1.0, gain)  # what float32 time constants leave of a gain of 1


def step_of(graph: UntypedGraph, chain: Sequence[tuple[str, Any]], dt: float | None) -> Step:
    """Return the time step: as given, else of the file's metadata, else 1 where nothing in the file depends on it.

    Raises:
        ConversionError: nobody says, or it is no number above 0.
    """
    if dt is not None:
        return Step(_positive(graph.where, "dt", dt), "as given")
    if "dt" in graph.metadata:
        return Step(_positive(graph.where, "metadata dt", graph.metadata["dt"]), "from the file's metadata")
    timed = [name for name, node in chain if type(node).__name__ in TIMED]
    if timed:
        raise ConversionError(
            f"{graph.where}: no time step: NIR neurons are continuous in time and the metadata have no 'dt'; pass dt (--dt), in the unit of "
            f"the file's time constants: {DT_OF_WRITERS}"
        )
    for name, node in chain:
        resistance = _double(node.r) if type(node).__name__ in ("IF", "I") else np.ones(1)
        if np.any(resistance >= _SECONDS):
            raise ConversionError(
                f"{graph.where}: node {name!r}: {type(node).__name__} with resistance {some(node.r)} and no time step; some writers "
                f"(spikingjelly) write 1/dt: pass dt (--dt) {1 / float(resistance.max()):g} for them, or 1"
            )
    return Step(1.0, "no node has a time constant")


def _positive(where: str, what: str, value: Any) -> float:
    """Return a step as a number.

    Raises:
        ConversionError: it is none, or not above 0.
    """
    shown = value.decode("utf8", "replace") if isinstance(value, bytes) else value
    try:
        array = np.asarray(shown)
        number = float(array.reshape(-1)[0]) if array.size == 1 and array.dtype.kind in "iuf" else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise ConversionError(f"{where}: {what} must be a number above 0, is {str(shown)[:40]!r}; pass dt (--dt)")
    if not (np.isfinite(number) and number > 0):
        raise ConversionError(f"{where}: {what} must be above 0, is {number}")
    return number


def dynamics_of(where: str, name: str, node: Any, dt: float) -> NodeDynamics:
    """Return what a neuron node does in a step.

    Raises:
        ConversionError: a parameter is NaN or infinite without a limit, ``v_reset`` is not 0, ``dt`` exceeds a time constant, or a gain is not
            positive; the text names the node.
    """
    kind, at = type(node).__name__, f"{where}: node {name!r}"
    fields = {field: _double(value) for field in _PARAMETERS if (value := getattr(node, field, None)) is not None}
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
            return _integrator(at, kind, fields["r"], threshold, dt)
        case "LIF" | "LI":
            lost, gain = _leak(at, kind, "tau", fields["tau"], "r", fields["r"], dt)
            return NodeDynamics(one, one, lost, gain, lost * fields["v_leak"], threshold, _coarse(name, "leak", lost))
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
            return NodeDynamics(lost_i, gain_i, lost, gain, lost * fields["v_leak"] + none, threshold, said)


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
def neuron_of(where: str, name: str, node: Any, dt: float) -> SpikingNeurons:
    """Return a NIR neuron as the chip's, its gain divided out.

    Raises:
        ConversionError: as for :func:`dynamics_of`, or a gain beyond what can be divided out.
    """
    dynamics = dynamics_of(where, name, node, dt)
    gain = dynamics.gain
    if not np.all((gain >= 1 / MAX_NUMBER) & (gain <= MAX_NUMBER)):
        raise ConversionError(
            f"{where}: node {name!r}: {type(node).__name__}: an input of 1 adds {some(gain)} to v in a step; {1 / MAX_NUMBER:g} to "
            f"{MAX_NUMBER:g} is taken"
        )
    du: Value = 4095 if np.all(dynamics.lost_i == 1) else current_decay(name, 1 - dynamics.lost_i)
    dv: Value = 0 if np.all(dynamics.lost_v == 0) else membrane_decay(1 - dynamics.lost_v)
    threshold = None if dynamics.threshold is None else dynamics.threshold / gain
    return SpikingNeurons(threshold, du, dv, dynamics.leak / gain)


def assumed(graph: UntypedGraph, step: Step, dynamics: Mapping[str, NodeDynamics], shown: str) -> tuple[str, ...]:
    """Return what reading a graph took for granted, one text each.

    Args:
        graph: the graph.
        step: the time step.
        dynamics: of its neurons, by node.
        shown: how samples reach the first layer, in words.
    """
    said = [f"time step {step.dt:g} ({step.source})"]
    if any(each.threshold is not None for each in dynamics.values()):
        said.append(
            "reset to zero and at most one spike a step for each neuron; NIR does not say whether its writer subtracts the threshold instead"
        )
    return (*said, shown, *(text for each in dynamics.values() for text in each.said))


def _double(value: Any) -> Array:
    return np.asarray(value, np.float64)


def some(value: Any) -> str:
    """Return a value or the range of an array, for messages."""
    array = _double(value)
    low, high = float(array.min()), float(array.max())
    return f"{low:g}" if low == high or np.isnan(low) else f"{low:g}…{high:g}"
