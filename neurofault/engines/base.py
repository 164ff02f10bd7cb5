"""The protocol that every engine keeps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UnsupportedError
from neurofault.inputs import Inputs, State

STREAM = "a network that keeps its state between samples (reset: never)"
"""Why an engine refuses, that can run samples only which start anew."""


class Engine(Protocol):
    """Something that runs a deployment. Final classes, no base class with hooks."""

    @property
    def name(self) -> str:
        """Name on the command line and in results."""
        ...

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the population or connection."""
        ...

    def run(
        self,
        deployment: Deployment,
        inputs: Inputs,
        *,
        record: Collection[str] = (),
        state: State | None = None,
        stop: int | None = None,
    ) -> Activity:
        """Present every sample for T steps, or for some of them.

        A population of phase p handles sample k in the chip's steps kT + p + 1 … (k + 1)T + p; at its first step u = 0 and v = v_init.

        Args:
            deployment: the (damaged) chip.
            inputs: N encoded samples, always all T steps of them.
            record: which of ``u``, ``v``, ``spikes`` to keep for every population, sample and step that is run.
            state: what an earlier run of the same samples left, to go on from after its step; None: from the first step.
            stop: the first step that is not run; None: T. With a state or a stop, :attr:`Activity.state` is there to go on from.

        Raises:
            UnsupportedError: a state or a stop that this engine cannot take.
        """
        ...


def whole_runs_only(engine: str, state: State | None, stop: int | None) -> None:
    """Make sure that a run is of all steps, for an engine that can do nothing else.

    Raises:
        UnsupportedError: it is not.
    """
    if state is not None or stop is not None:
        raise UnsupportedError(f"engine {engine!r} runs samples as a whole: it takes no state and no stop; engines that do: exact")
