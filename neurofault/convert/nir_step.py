"""What a NIR file leaves open and somebody has to say: the time step, how neurons reset; and delays in steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.convert.nir_fields import NIR_RESETS, NirReset
from neurofault.convert.nir_file import UntypedGraph
from neurofault.convert.nir_neurons import TIMED, NodeDynamics, double, some
from neurofault.errors import ConversionError, nearest

DT_OF_WRITERS = "1e-4 for snnTorch, 1 for sinabs, 1e-6 for norse"

_MOST_STEPS = 100_000
_SECONDS = 100.0
"""An IF resistance from which on its writer seems to have divided by a step in seconds."""


@dataclass(frozen=True)
class Step:
    """The time step.

    Attributes:
        dt: in the unit of the file's time constants.
        source: who says so, in words.
    """

    dt: float
    source: str


def step_of(graph: UntypedGraph, dt: float | None) -> Step:
    """Return the time step: as given, else of the file's metadata, else 1 where nothing in the file depends on it.

    Raises:
        ConversionError: nobody says, it is no number above 0, or it is given and nothing in the file depends on it.
    """
    timed = [name for name, node in graph.nodes.items() if type(node).__name__ in TIMED]
    late = [name for name, node in graph.nodes.items() if type(node).__name__ == "Delay" and np.any(double(node.delay) != 0)]
    resisting = {name: double(node.r) for name, node in graph.nodes.items() if type(node).__name__ in ("IF", "I")}
    if dt is not None:
        step = _positive(graph.where, "dt", dt)
        if step != 1 and not timed and not late and all(np.all(one == 1) for one in resisting.values()):
            raise ConversionError(
                f"{graph.where}: dt {step:g} is given, and no node has a time constant, a resistance other than 1 or a Delay: the network counts steps, and "
                "its weights are those of a step; leave dt (--dt) out"
            )
        return Step(step, "as given")
    if "dt" in graph.metadata:
        return Step(_positive(graph.where, "metadata dt", graph.metadata["dt"]), "from the file's metadata")
    if timed or late:
        why = "NIR neurons are continuous in time" if timed else f"node {late[0]!r} is a Delay in the unit of time"
        raise ConversionError(
            f"{graph.where}: no time step: {why} and the metadata have no 'dt'; pass dt (--dt), in the unit of "
            f"the file's time constants: {DT_OF_WRITERS}"
        )
    for name, resistance in resisting.items():
        if np.any(resistance >= _SECONDS):
            raise ConversionError(
                f"{graph.where}: node {name!r}: {type(graph.nodes[name]).__name__} with resistance {some(resistance)} and no time step; some writers "
                f"(spikingjelly) write 1/dt: pass dt (--dt) {1 / float(resistance.max()):g} for them, or 1"
            )
    return Step(1.0, "no node has a time constant")


@dataclass(frozen=True)
class ResetRule:
    """How neurons reset.

    Attributes:
        how: the rule.
        source: who says so, in words; empty: nobody.
    """

    how: NirReset
    source: str


def reset_of(graph: UntypedGraph, name: str, node: Any, reset: NirReset | None) -> ResetRule:
    """Return how a node's neurons reset: as given, else as the node's or the graph's metadata say (``reset``), else to zero, which is ``v_reset``.

    Raises:
        ConversionError: a word that is none of :data:`NIR_RESETS`.
    """
    own = getattr(node, "metadata", None)
    for said, where, source in (
        (reset, f"{graph.where}: reset", "as given"),
        (
            own.get("reset") if isinstance(own, Mapping) else None,
            f"{graph.where}: node {name!r}: metadata reset",
            "from the node's metadata",
        ),
        (graph.metadata.get("reset"), f"{graph.where}: metadata reset", "from the file's metadata"),
    ):
        if said is not None:
            word = said.decode("utf8", "replace") if isinstance(said, bytes) else said
            if not isinstance(word, str) or word not in NIR_RESETS:
                raise ConversionError(
                    f"{where} must be {', '.join(NIR_RESETS[:-1])} or {NIR_RESETS[-1]}, is {str(word)!r:.60}{nearest(str(word), NIR_RESETS)}"
                )
            return ResetRule(word, source)
    return ResetRule("zero", "")


def delay_steps(where: str, name: str, node: Any, dt: float) -> NDArray[np.int64]:
    """Return a Delay node's steps, int64 of its shape.

    Raises:
        ConversionError: negative, not finite, or no whole number of steps.
    """
    delay = double(node.delay)
    steps = delay / dt
    whole = np.rint(steps)
    if not np.all(np.isfinite(steps)) or np.any(whole < 0) or np.any(whole > _MOST_STEPS):
        raise ConversionError(
            f"{where}: node {name!r}: Delay {some(delay)} is {some(steps)} steps of dt {dt:g}; 0 to {_MOST_STEPS} are taken"
        )
    if np.any(np.abs(steps - whole) > 1e-4 * np.maximum(whole, 1)):
        raise ConversionError(
            f"{where}: node {name!r}: Delay {some(delay)} is {some(steps)} steps of dt {dt:g}; a chip delays by whole steps: pass a dt that divides it"
        )
    return whole.astype(np.int64)


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


def assumed(step: Step, rules: Mapping[str, ResetRule], dynamics: Mapping[str, NodeDynamics], shown: str) -> tuple[str, ...]:
    """Return what reading a graph took for granted, one text each.

    Args:
        step: the time step.
        rules: how its spiking neurons reset, by node.
        dynamics: of its neurons, by node.
        shown: how samples reach the first layer, in words.
    """
    said = [f"time step {step.dt:g} ({step.source})"]
    for rule in dict.fromkeys(rules.values()):
        nodes = "" if len(set(rules.values())) == 1 else f" of {', '.join(name for name, own in rules.items() if own == rule)}"
        if rule.source:
            said.append(f"reset{nodes}: {_IN_WORDS[rule.how]} ({rule.source}), and at most one spike a step for each neuron")
        else:
            said.append(
                f"reset{nodes} to zero and at most one spike a step for each neuron; NIR does not say whether its writer subtracts the threshold instead "
                "(--nir-reset subtract)"
            )
    return (*said, shown, *(text for each in dynamics.values() for text in each.said))


_IN_WORDS: dict[NirReset, str] = {
    "zero": "to zero", "subtract": "the threshold is subtracted", "none": "none", "snntorch-zero": "to zero, one step late as in snnTorch",
    "snntorch-subtract": "the threshold is subtracted, one step late as in snnTorch",
}  # fmt: skip
