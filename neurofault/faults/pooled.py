"""Weights that a chip stores once for several neurons whose spikes it pools: a fault of one is a fault of all that read it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.resources import shares_kernels, sum_pooled
from neurofault.errors import FaultError
from neurofault.graph import Conv


def pool_of(deployment: Deployment, connection: str) -> int:
    """Return the width of the windows over which a connection's weights are stored once; 1: none is.

    Raises:
        FaultError: so are kernels that the chip stores anew for each position, of which no place of a word is known.
    """
    own, profile = deployment.connection(connection), deployment.profile
    pool = sum_pooled(own, deployment.population(own.source).shape, profile)
    if pool > 1 and isinstance(own.synapses, Conv) and not shares_kernels(own, profile):
        raise FaultError(
            f"connection {connection!r}: chip {profile.name!r} stores a weight once for {pool} × {pool} neurons of {own.source!r} that it pools, but a kernel "
            "once for each position; faults of such stored weights are not simulated; allowed: faults of cores and neurons, and of connections without a pool"
        )
    return pool


def window_shape(deployment: Deployment, connection: str) -> tuple[int, ...]:
    """Return the shape that windows are cut from: of a convolution a channel's kernel, else the source's map."""
    own = deployment.connection(connection)
    if isinstance(own.synapses, Conv):
        return own.synapses.weight.shape[1:]
    return deployment.population(own.source).shape


def windows(shape: tuple[int, ...], pool: int) -> NDArray[np.int64]:
    """Return int64 [windows, pool · pool]: what each window of a map (channels, height, width) holds.

    >>> windows((1, 2, 4), 2).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    channels, height, width = shape
    ids = np.arange(channels * height * width, dtype=np.int64).reshape(channels, height // pool, pool, width // pool, pool)
    return np.asarray(ids.transpose(0, 1, 3, 2, 4).reshape(-1, pool * pool))


def window_of(shape: tuple[int, ...], pool: int) -> NDArray[np.int64]:
    """Return int64 [channels · height · width]: the window of each place of a map.

    >>> window_of((1, 2, 4), 2).tolist()
    [0, 0, 1, 1, 0, 0, 1, 1]
    """
    found = np.empty(int(np.prod(shape)), np.int64)
    found[windows(shape, pool)] = np.arange(len(found) // (pool * pool))[:, None]
    return found
