"""The Brian2 engine; the network that it runs, and why float64 carries the chip's integers, is in :mod:`.brian2_chip`."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass

from neurofault.activity import Activity
from neurofault.damage.edits import not_applied
from neurofault.deploy.deployment import Deployment
from neurofault.engines.availability import require
from neurofault.engines.base import STREAM, whole_runs_only
from neurofault.errors import StalledError
from neurofault.graph.law import unknown_feature
from neurofault.graph.schedule import title
from neurofault.inputs import Inputs, State

_FEATURES = frozenset({"reset subtract", "reset none", "delayed", "refractory", "floor"})
"""What laws are built here (:attr:`neurofault.graph.law.Law.features`)."""
_APPLIED = frozenset({
    "silent", "rate", "du", "dv", "vth", "bias_mantissa", "own_bias", "flips_u", "flips_v", "noise", "weights", "delays",
    "messages", "counter", "kept",
})  # fmt: skip
"""What edits may do to a step here (``does`` of their classes)."""


@dataclass(frozen=True)
class Brian2Engine:
    """Runs a deployment in Brian2.

    Brian2's code generation target is ``numpy``: ``cython`` needs a compiler and 100 s for a first network, and then is no faster.

    Attributes:
        name: the engine's.
    """

    name: str = "brian2"

    def __post_init__(self) -> None:
        require(self.name)

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the connection."""
        if deployment.reset == "never":
            return STREAM
        if (joining := deployment.damage.joining) is not None:
            return joining
        if (reason := not_applied(deployment.damage.edits, _APPLIED)) is not None:
            return reason
        for own in deployment.populations:
            if (feature := unknown_feature(own.law, _FEATURES)) is not None:
                return f"layer {own.name!r}: {feature} is not built here"
        for connection in deployment.connections:
            if not -31 <= connection.weight_exponent <= 24:
                return f"{title(connection)}: weight exponent {connection.weight_exponent} is outside −31…24"
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

        Memory: the result, plus about 120 bytes a synapse of one copy of the chip, or of 2 million synapses in several copies.

        Raises:
            StalledError: a hung core stops the chip.
            UnsupportedError: a state or a stop is given.
        """
        whole_runs_only(self.name, state, stop)
        last = inputs.first_sample + len(inputs)
        hung = deployment.damage.stalled(last, deployment.timesteps, deployment.schedule.depth)
        if hung:
            raise StalledError(f"the chip stalls: core {', '.join(map(str, hung))} hangs and the mesh waits for it")
        hook = sys.excepthook
        from neurofault.engines.on_brian2.chip import simulate

        sys.excepthook = hook  # importing Brian2 sets its own, which would call any error one of Brian2
        return simulate(deployment, inputs, record)
