"""The synapses that a damaged chip really has, as plain arrays: what every engine starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.damage.damage import OnChip
from neurofault.damage.fold import SynapseFold
from neurofault.graph.connectivity import conv_weights, taps, weights_and_delays
from neurofault.graph.synapses import Conv, Dense, Sparse, Synapses


@dataclass(frozen=True, eq=False)
class Edits:
    """What the permanent damage makes of the edited synapses of one connection; each pair once.

    Attributes:
        sources, targets: int64 [k], C, H, W order.
        values: int64 [k], weights.
        delays: int64 [k]; None: as if nothing were broken.
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    values: NDArray[np.int64]
    delays: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Listed:
    """Synapses one by one, in any order (healthy dense ones by source, then target); each pair once.

    Attributes:
        sources, targets: int64 [k], C, H, W order.
        weights: int32 [k].
        delays: int64 [k], on top of the connection's.
    """

    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.int32]
    delays: NDArray[np.int64]


def edits_of(chip: OnChip, connection: str) -> Edits:
    """Return what the permanent edits of a connection's weights come to.

    Raises:
        UsageError: there is no such connection, or an edit names a neuron that does not exist.
    """
    fold = SynapseFold(chip.connection(connection), chip.damage.synapse_edits(connection))
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


def listed(synapses: Synapses, edits: Edits) -> Listed:
    """Return every synapse that the chip now reads, those of weight 0 included."""
    match synapses:
        case Dense():
            sources = np.repeat(np.arange(synapses.n_in, dtype=np.int64), synapses.n_out)
            targets, places = np.tile(np.arange(synapses.n_out, dtype=np.int64), synapses.n_in), None
        case Sparse():
            targets, sources, places = synapses.targets, synapses.sources, None
        case Conv():
            targets, sources, places = _conv_pairs(synapses)
    weights = _of_words(synapses.weight, places).astype(np.int32)
    delays = np.zeros(len(weights), np.int64) if synapses.delay is None else _of_words(synapses.delay, places).astype(np.int64)
    if edits.sources.size:
        n_in = synapses.n_in
        kept = ~np.isin(targets * n_in + sources, edits.targets * n_in + edits.sources)
        own = weights_and_delays(synapses, edits.sources, edits.targets)[1] if edits.delays is None else edits.delays
        targets, sources = np.append(targets[kept], edits.targets), np.append(sources[kept], edits.sources)
        weights = np.append(weights[kept], edits.values.astype(np.int32))
        delays = np.append(delays[kept], own)
    return Listed(sources, targets, weights, delays)


def _of_words(words: NDArray[np.generic], places: NDArray[np.int64] | None) -> NDArray[np.generic]:
    return words.T.reshape(-1) if places is None else words.reshape(-1)[places]  # a dense matrix source by source


def _conv_pairs(conv: Conv) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return int64 [k] each: target, source and kernel word of every synapse of a convolution."""
    c_out, height, width = conv.out_shape
    per_group, group_out = conv.weight.shape[1], c_out // conv.groups
    source_ids = np.arange(conv.n_in).reshape(conv.groups, per_group, *conv.in_shape[1:])
    target_ids = np.arange(conv.n_out).reshape(conv.groups, group_out, height, width)
    word_ids = np.arange(conv.weight.size).reshape(conv.groups, group_out, *conv.weight.shape[1:])
    targets, sources, words = ([np.empty(0, np.int64)] for _ in range(3))
    for ky, kx, (out_rows, out_columns), (in_rows, in_columns) in taps(conv):
        source = source_ids[:, None, :, in_rows, in_columns]
        target = target_ids[:, :, None, out_rows, out_columns]
        word = word_ids[:, :, :, ky, kx, None, None]
        for ids, found in ((target, targets), (source, sources), (word, words)):
            found.append(np.broadcast_to(ids, np.broadcast_shapes(source.shape, target.shape)).ravel())
    return np.concatenate(targets), np.concatenate(sources), np.concatenate(words)


def sparse_weights(synapses: Conv | Sparse, edits: Edits) -> sparse.csr_matrix:
    """Return int32 [n_out, n_in], C, H, W order: every synapse of a damaged connection as a matrix, whatever its delay."""
    found = listed(synapses, edits)
    return sparse.coo_matrix((found.weights, (found.targets, found.sources)), shape=(synapses.n_out, synapses.n_in)).tocsr()
