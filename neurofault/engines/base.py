"""The protocol that every engine keeps."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.inputs import Inputs


class Engine(Protocol):
    """Something that runs a deployment. Final classes, no base class with hooks."""

    @property
    def name(self) -> str:
        """Name on the command line and in results."""
        ...

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the layer."""
        ...

    def run(self, deployment: Deployment, inputs: Inputs, *, record: Collection[str] = ()) -> Activity:
        """Present every sample for T steps.

        Layer l handles sample k in the chip's steps kT + l + 1 … (k + 1)T + l; at its first step u = 0 and v = v_init.

        Args:
            deployment: the (damaged) chip.
            inputs: N encoded samples.
            record: which of ``u``, ``v``, ``spikes`` to keep for every layer, step and sample.
        """
        ...
