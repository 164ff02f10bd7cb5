"""Weights that a chip stores once for several neurons whose spikes it pools."""

from __future__ import annotations

from collections.abc import Sequence

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import sum_pooled
from neurofault.errors import FaultError


def check_not_pooled(deployment: Deployment, connections: Sequence[str]) -> None:
    """Refuse faults of the stored weights of some connections where one of them is stored once for several neurons of its source.

    Raises:
        FaultError: naming the connection and the window.
    """
    for name in connections:
        own = deployment.connection(name)
        if (pool := sum_pooled(own, deployment.population(own.source).shape, deployment.profile)) > 1:
            raise FaultError(
                f"connection {name!r}: chip {deployment.profile.name!r} stores a weight once for {pool} × {pool} neurons of {own.source!r} that it pools; "
                "faults of such stored weights are not simulated; allowed: faults of cores and neurons, and of connections without a pool"
            )
