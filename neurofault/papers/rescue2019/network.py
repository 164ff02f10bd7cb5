"""A multi-layer perceptron of float32 as plain matrices: forward, gradients, damage.

Hidden nodes are numbered through all hidden layers, from the first one on. Node i is dead when its incoming weights, its bias and its
outgoing weights are zero (the paper's D_i); with ReLU it then has no gradient of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurofault.data.splits import Split
from neurofault.streams import generator


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images as torch takes them.

    Attributes:
        x: float32 [N, pixels], pixels in [0, 1] (x/255).
        y: int64 [N].
    """

    x: Tensor
    y: Tensor

    @staticmethod
    def of(split: Split) -> Images:
        """Return the images of a split."""
        flat = np.array(split.images).reshape(len(split), -1)
        return Images(torch.from_numpy(flat).float() / 255, torch.from_numpy(np.array(split.labels)))

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """A ReLU network; the last layer is linear.

    Attributes:
        weights: float32 [n_in, n_out] of each layer.
        biases: float32 [n_out] of each layer.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, hidden widths, outputs."""
        return (self.weights[0].shape[0], *(len(bias) for bias in self.biases))

    @property
    def hidden(self) -> int:
        """Number of hidden nodes in all layers."""
        return sum(self.sizes[1:-1])

    @property
    def parameters(self) -> list[Tensor]:
        """Weights and biases, layer by layer (w₁, b₁, w₂, b₂ and so on)."""
        return [parameter for layer in zip(self.weights, self.biases, strict=True) for parameter in layer]

    def copy(self) -> FloatNetwork:
        """Return a network with tensors of its own."""
        return FloatNetwork(tuple(w.clone() for w in self.weights), tuple(b.clone() for b in self.biases))

    def logits(self, x: Tensor) -> Tensor:
        """Return float32 [N, outputs]."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.addmm(bias, x, weight).relu_()
        return torch.addmm(self.biases[-1], x, self.weights[-1])

    def correct(self, images: Images) -> int:
        """Return how many images are classified as labelled; the first of equal scores is the answer."""
        return int((self.logits(images.x).argmax(1) == images.y).sum())

    def loss(self, images: Images) -> float:
        """Return the mean cross-entropy, in nats."""
        return float(functional.cross_entropy(self.logits(images.x), images.y))

    def vector(self) -> NDArray[np.float32]:
        """Return all parameters as float32 [P]."""
        return np.concatenate([parameter.reshape(-1).numpy() for parameter in self.parameters])

    @property
    def digest(self) -> str:
        """16 hexadecimal digits by which the trained network is known: BLAKE2b over its sizes and the bytes of :meth:`vector`."""
        digest = hashlib.blake2b(repr(self.sizes).encode(), digest_size=8)
        digest.update(self.vector().tobytes())
        return digest.hexdigest()

    def with_vector(self, vector: NDArray[np.float32]) -> FloatNetwork:
        """Return a network of this shape whose :meth:`vector` is ``vector``."""
        parts, start = list[Tensor](), 0
        for parameter in self.parameters:
            parts.append(torch.from_numpy(vector[start : start + parameter.numel()].copy()).reshape(parameter.shape))
            start += parameter.numel()
        return FloatNetwork(tuple(parts[::2]), tuple(parts[1::2]))


def fresh(sizes: Sequence[int], *key: int | str) -> FloatNetwork:
    """Return an untrained network: weights and biases uniform in ±1/√n_in, as torch's ``Linear`` does.

    Args:
        sizes: inputs, hidden widths, outputs.
        key: names the random stream.
    """
    random = generator(*key, "weights")
    weights, biases = [], []
    for n_in, n_out in pairwise(sizes):
        bound = n_in**-0.5
        weights.append(torch.from_numpy(random.uniform(-bound, bound, (n_in, n_out)).astype(np.float32)))
        biases.append(torch.from_numpy(random.uniform(-bound, bound, n_out).astype(np.float32)))
    return FloatNetwork(tuple(weights), tuple(biases))


def gradients(network: FloatNetwork, x: Tensor, y: Tensor, keep: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Return the gradient of the mean cross-entropy, in the order of :attr:`FloatNetwork.parameters`.

    Args:
        network: of L layers.
        x: float32 [N, inputs].
        y: int64 [N].
        keep: float32 [N, width] for each hidden layer: factors of its activations (dropout); None: 1.
    """
    seen = [x]
    for number, (weight, bias) in enumerate(zip(network.weights[:-1], network.biases[:-1], strict=True)):
        active = torch.addmm(bias, seen[-1], weight).relu_()
        seen.append(active if keep is None else active.mul_(keep[number]))
    error = torch.softmax(torch.addmm(network.biases[-1], seen[-1], network.weights[-1]), 1)
    error[torch.arange(len(y)), y] -= 1
    error /= len(y)
    found = list[Tensor]()
    for layer in range(len(network.weights) - 1, -1, -1):
        found = [seen[layer].T @ error, error.sum(0), *found]
        if layer:
            error = (error @ network.weights[layer].T).mul_(seen[layer] > 0)
            if keep is not None:
                error.mul_(keep[layer - 1])
    return found


def by_layer(network: FloatNetwork, nodes: Tensor) -> tuple[Tensor, ...]:
    """Cut an array over all hidden nodes [hidden, …] into one for each hidden layer."""
    return torch.split(nodes, list(network.sizes[1:-1]))


def silence(network: FloatNetwork, alive: Tensor) -> None:
    """Zero the dead nodes in place: incoming weights, bias, outgoing weights.

    Args:
        network: is changed.
        alive: bool [hidden].
    """
    for layer, kept in enumerate(by_layer(network, alive)):
        network.weights[layer].mul_(kept)
        network.biases[layer].mul_(kept)
        network.weights[layer + 1].mul_(kept[:, None])


def _cut(network: FloatNetwork, alive: Tensor) -> list[tuple[Tensor, ...]]:
    """Return for each parameter the indices of what belongs to living nodes only, as ``tensor[indices]`` takes them."""
    living = [
        torch.ones(network.sizes[0], dtype=torch.bool),
        *by_layer(network, alive),
        torch.ones(network.sizes[-1], dtype=torch.bool),
    ]
    at = [mask.nonzero()[:, 0] for mask in living]
    found = list[tuple[Tensor, ...]]()
    for layer in range(len(network.weights)):
        found += [(at[layer][:, None], at[layer + 1][None]), (at[layer + 1],)]
    return found


def living(network: FloatNetwork, alive: Tensor, values: Sequence[Tensor]) -> list[Tensor]:
    """Return the parts of arrays over the parameters that belong to living nodes: with the parameters, the functioning sub-network.

    Args:
        network: gives the shapes.
        alive: bool [hidden].
        values: in the order and shapes of :attr:`FloatNetwork.parameters`.
    """
    return [value[where] for value, where in zip(values, _cut(network, alive), strict=True)]


def put_back(network: FloatNetwork, alive: Tensor, parts: Sequence[Tensor]) -> None:
    """Write the parameters of a functioning sub-network (:func:`living`) back in place; dead nodes are not touched."""
    for parameter, where, part in zip(network.parameters, _cut(network, alive), parts, strict=True):
        parameter[where] = part


def touches(network: FloatNetwork, nodes: Tensor) -> list[Tensor]:
    """Return for each parameter which of its elements belong to some hidden nodes: into them, out of them, or their bias.

    Args:
        network: gives the shapes.
        nodes: bool [hidden].

    Returns:
        Bool tensors in the order and shapes of :attr:`FloatNetwork.parameters`.
    """
    chosen = by_layer(network, nodes)
    found = list[Tensor]()
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        into = chosen[layer] if layer < len(chosen) else torch.zeros(len(bias), dtype=torch.bool)
        out = chosen[layer - 1] if layer else torch.zeros(weight.shape[0], dtype=torch.bool)
        found += [out[:, None] | into, into.clone()]
    return found
