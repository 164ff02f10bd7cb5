"""The synapses that a damaged chip really has, as plain arrays: what every engine starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.graph.connectivity import conv_weights, taps
from neurofault.deploy.deployment import Deployment
from neurofault.damage.fold import SynapseFold
from neurofault.graph import Conv, Dense


@dataclass(frozen=True, eq=False)
class Edits:
    """What the permanent damage makes of the edited synapses of one layer; each pair once.

    Attributes:
        sources, targets: int64 [k], C, H, W order.
        values: int64 [k], weights.
        delays: int64 [k]; None: as if nothing were broken.
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int64]
    delays: NDArray[np.int64] | None = None


def edits_of(deployment: Deployment, layer: int) -> Edits:
    """Return what the permanent edits of a layer's weights come to.

    Raises:
        UsageError: if an edit names a neuron that does not exist.
    """
    fold = SynapseFold(deployment, layer, deployment.damage.synapse_edits(layer))
    held = fold.at(fold.always)
    moved = held.delays if (held.delays != fold.healthy.delays).any() else None
    if fold.named.all():
        return Edits(fold.sources, fold.targets, held.weights, moved)
    own = fold.named
    return Edits(fold.sources[own], fold.targets[own], held.weights[own], None if moved is None else moved[own])


def dense_weights(dense: Dense, edits: Edits) -> NDArray[np.int32]:
    """Return int32 [n_out, n_in]: the weights that the chip now reads."""
    weights = dense.weight.astype(np.int32)
    weights[edits.targets, edits.sources] = edits.values
    return weights


def dense_delays(dense: Dense, edits: Edits) -> NDArray[np.integer] | None:
    """Return [n_out, n_in]: the delays that the chip now reads; None where there are none."""
    if dense.delay is None or edits.delays is None:
        return dense.delay
    delays = dense.delay.astype(np.int64)
    delays[edits.targets, edits.sources] = edits.delays
    return delays


def corrections(conv: Conv, edits: Edits) -> Edits:
    """Return what must be added to the healthy weights of a convolution; edits that change nothing are left out."""
    deltas = edits.values - conv_weights(conv, edits.sources, edits.targets)
    changed = deltas != 0
    return Edits(edits.sources[changed], edits.targets[changed], deltas[changed])


def sparse_weights(conv: Conv, edits: Edits) -> sparse.csr_matrix:
    """Return int32 [n_out, n_in], C, H, W order: the Sparse connection that a damaged convolution expands to."""
    c_out, height, width = conv.out_shape
    per_group, group_out = conv.weight.shape[1], c_out // conv.groups
    source_ids = np.arange(conv.n_in).reshape(conv.groups, per_group, *conv.in_shape[1:])
    target_ids = np.arange(conv.n_out).reshape(conv.groups, group_out, height, width)
    kernel = conv.weight.reshape(conv.groups, group_out, *conv.weight.shape[1:])
    added = corrections(conv, edits)
    sources, targets, weights = [added.sources], [added.targets], [added.values]
    for ky, kx, (out_rows, out_columns), (in_rows, in_columns) in taps(conv):
        source = source_ids[:, None, :, in_rows, in_columns]
        target = target_ids[:, :, None, out_rows, out_columns]
        words = kernel[:, :, :, ky, kx, None, None]
        for ids, found in ((source, sources), (target, targets), (words, weights)):
            found.append(np.broadcast_to(ids, np.broadcast_shapes(source.shape, target.shape)).ravel())
    places = (np.concatenate(targets), np.concatenate(sources))
    return sparse.coo_matrix((np.concatenate(weights).astype(np.int32), places), shape=(conv.n_out, conv.n_in)).tocsr()
