"""The synapses that a damaged chip really has, as plain arrays: what every engine starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.deploy.connectivity import taps
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.network import Conv, Dense


@dataclass(frozen=True, eq=False)
class Edits:
    """The last value that the damage gives to each edited synapse of one layer; each pair once.

    Attributes:
        sources, targets: int64 [k], C, H, W order.
        values: int64 [k].
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int64]


def edits_of(deployment: Deployment, layer: int) -> Edits:
    """Fold the synapse edits of a layer, in their order, into one.

    Raises:
        UsageError: if an edit names a neuron that does not exist.
    """
    chip, edits = deployment.layers[layer], deployment.damage.synapse_edits(layer)
    n_in = deployment.layers[layer - 1].size
    sources = np.concatenate([np.empty(0, np.int64), *(edit.sources for edit in edits)])
    targets = np.concatenate([np.empty(0, np.int64), *(edit.targets for edit in edits)])
    values = np.concatenate([np.empty(0, np.int64), *(edit.values for edit in edits)])
    for label, ids, size in (("source", sources, n_in), ("target", targets, chip.size)):
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise UsageError(f"layer {chip.name!r}: a synapse edit names {label} {ids.min()}…{ids.max()}, allowed are 0…{size - 1}")
    _, last = np.unique((targets * n_in + sources)[::-1], return_index=True)
    keep = sources.size - 1 - last
    return Edits(sources[keep], targets[keep], values[keep])


def dense_weights(dense: Dense, edits: Edits) -> NDArray[np.int32]:
    """Return int32 [n_out, n_in]: the weights that the chip now reads."""
    weights = dense.weight.astype(np.int32)
    weights[edits.targets, edits.sources] = edits.values
    return weights


def conv_weights(conv: Conv, sources: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 [k]: the healthy weight from each source to each target neuron, 0 where the kernel does not join them."""
    c_out, height, width = conv.out_shape
    channel, y, x = np.unravel_index(sources, conv.in_shape)
    to_channel, to_y, to_x = np.unravel_index(targets, (c_out, height, width))
    taps_y, rest_y = np.divmod(y + conv.padding[0] - to_y * conv.stride[0], conv.dilation[0])
    taps_x, rest_x = np.divmod(x + conv.padding[1] - to_x * conv.stride[1], conv.dilation[1])
    per_group, _, k_h, k_w = conv.weight.shape[1], *conv.weight.shape[1:]
    joined = (rest_y == 0) & (rest_x == 0) & (channel // per_group == to_channel // (c_out // conv.groups))
    joined &= (taps_y >= 0) & (taps_y < k_h) & (taps_x >= 0) & (taps_x < k_w)
    found = conv.weight[to_channel, channel % per_group, np.where(joined, taps_y, 0), np.where(joined, taps_x, 0)].astype(np.int64)
    return np.where(joined, found, 0)


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
