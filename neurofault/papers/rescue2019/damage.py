"""In which order nodes die, and what that costs where nothing is repaired."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.errors import UsageError, nearest
from neurofault.papers.rescue2019.network import FloatNetwork, Images, silence
from neurofault.streams import generator

_BLOCK = 20_000_000  # numbers that one block of masks may need


def random_order(network: FloatNetwork, *key: int | str, layer: int | None = None) -> NDArray[np.int64]:
    """Return a keyed permutation of hidden nodes (the paper's stochastic sequence), int64.

    Args:
        network: whose nodes.
        key: names the random stream.
        layer: hidden layer, from 0; None: the nodes of all hidden layers.

    Raises:
        UsageError: there is no such layer.
    """
    widths = network.sizes[1:-1]
    if layer is None:
        return generator(*key, "death").permutation(network.hidden)
    if not 0 <= layer < len(widths):
        raise UsageError(f"layer is {layer}; hidden layers: 0 to {len(widths) - 1}")
    return generator(*key, "death", layer).permutation(widths[layer]) + sum(widths[:layer])


def by_importance(network: FloatNetwork, images: Images, first: str) -> NDArray[np.int64]:
    """Return the hidden nodes by how much the loss grows when one of them dies alone, int64 [hidden].

    Args:
        network: the healthy network.
        images: on which the loss is measured (validation: test images only report).
        first: ``least`` or ``most`` important first. Equal ones go by their number.

    Raises:
        UsageError: neither of the two.
    """
    if first not in ("least", "most"):
        raise UsageError(f"first is {first!r}; allowed: least, most{nearest(first, ('least', 'most'))}")
    losses = np.empty(network.hidden)
    for node in range(network.hidden):
        alone = network.copy()
        silence(alone, torch.arange(network.hidden) != node)
        losses[node] = alone.loss(images)
    return np.argsort(losses if first == "least" else -losses, kind="stable").astype(np.int64)


def decline(network: FloatNetwork, order: NDArray[np.int64], images: Images) -> NDArray[np.int64]:
    """Return how many images are classified as labelled after the first k nodes of an order have died, k = 0 … K.

    Many masks are evaluated as one product of matrices; a dead node is a row of zeros in the weights that leave it.

    Args:
        network: the healthy network.
        order: int64 [K], hidden nodes in the order of their death.
        images: N of them.

    Returns:
        int64 [K + 1].
    """
    death = torch.full((network.hidden,), len(order))
    death[torch.from_numpy(order)] = torch.arange(len(order))
    first = torch.addmm(network.biases[0], images.x, network.weights[0]).relu_()
    block = max(1, _BLOCK // (len(images) * max(network.sizes[1:])))
    counts = [
        _correct(network, first, death >= torch.arange(start, min(start + block, len(order) + 1))[:, None], images.y)
        for start in range(0, len(order) + 1, block)
    ]
    return np.concatenate(counts)


def _correct(network: FloatNetwork, first: Tensor, alive: Tensor, labels: Tensor) -> NDArray[np.int64]:
    """Return int64 [masks].

    Args:
        network: the healthy network.
        first: float32 [N, width of the first hidden layer], its activations.
        alive: bool [masks, hidden].
        labels: int64 [N].
    """
    masks, widths = len(alive), network.sizes[1:]
    kept = torch.split(alive.float(), list(network.sizes[1:-1]), 1)
    joined = (kept[0][:, :, None] * network.weights[1]).permute(1, 0, 2).reshape(widths[0], -1)
    seen = (first @ joined).view(len(labels), masks, widths[1]).add_(network.biases[1])
    for layer in range(2, len(network.weights)):
        weight = kept[layer - 1][:, :, None] * network.weights[layer]
        seen = torch.bmm(seen.relu_().transpose(0, 1), weight).add_(network.biases[layer]).transpose(0, 1)
    answers: NDArray[np.int64] = (seen.argmax(2) == labels[:, None]).sum(0).numpy()
    return answers
