"""Trained networks to break, kept in the cache by the digest of their recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neurofault.cache import cache_dir, keep
from neurofault.data.splits import DataSet
from neurofault.papers.rescue2019.descent import Descent, Optimiser
from neurofault.papers.rescue2019.network import FloatNetwork, Images, fresh, gradients
from neurofault.streams import generator, stream_key

_SEMANTICS = 1  # raised by hand when the same recipe gives other weights


@dataclass(frozen=True)
class Base:
    """Everything that determines a trained network.

    Attributes:
        data: digest of the data set.
        sizes: inputs, hidden widths, outputs.
        seed: of weights, order of samples and dropout; several seeds are several bases.
        epochs: passes over the training set.
        batch: samples a step; what is left over at the end of an epoch is not shown in it.
        rate: learning rate of plain SGD.
        dropout: share of hidden activations that is dropped in training, 0 to below 1.
    """

    data: str
    sizes: tuple[int, ...]
    seed: int
    epochs: int = 30
    batch: int = 100
    rate: float = 0.1
    dropout: float = 0.0

    @property
    def digest(self) -> str:
        """Short hash; the cache's key."""
        text = json.dumps([_SEMANTICS, asdict(self)], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def name(self) -> str:
        """``784-100-10``, with ``dropout`` where it was trained so."""
        return "-".join(map(str, self.sizes)) + (" dropout" if self.dropout else "")


@dataclass(frozen=True, eq=False)
class Roles:
    """A data set as torch takes it.

    Attributes:
        digest: of the data set.
        train: to fit and to repair.
        validation: to stop.
        test: to report.
        sizes: pixels and classes.
    """

    digest: str
    train: Images
    validation: Images
    test: Images
    sizes: tuple[int, int]

    @staticmethod
    def of(data: DataSet) -> Roles:
        """Return the roles of a data set."""
        splits = (Images.of(data.train), Images.of(data.validation), Images.of(data.test))
        return Roles(data.digest, *splits, (int(np.prod(data.shape)), len(data.classes)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch and BLAS work on one thread: batches are too small to share, and sums stay in one order."""
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def epoch_order(samples: int, *key: int | str) -> NDArray[np.int64]:
    """Return the keyed order of an epoch's samples, int64 [samples]."""
    return generator(*key).permutation(samples)


def trained(base: Base, train: Images) -> FloatNetwork:
    """Return the trained network, from the cache if it is there. The same base, data and torch version give the same weights.

    Args:
        base: recipe.
        train: the training set of the data whose digest the recipe names.
    """
    path = cache_dir() / "paper" / f"base-{base.digest}.npy"
    network = fresh(base.sizes, base.seed, "base")
    if path.exists():
        return network.with_vector(np.load(path))
    descent = Descent(Optimiser("sgd", base.rate))
    random = torch.Generator().manual_seed(stream_key(base.seed, "dropout") >> 1)
    for epoch in range(base.epochs):
        order = torch.from_numpy(epoch_order(len(train), base.seed, "base order", epoch))
        for chosen in torch.split(order, base.batch):
            if len(chosen) < base.batch:
                continue
            keep = None
            if base.dropout:
                share = 1 - base.dropout
                shapes = [(base.batch, width) for width in base.sizes[1:-1]]
                keep = [(torch.rand(shape, generator=random) < share).float().div_(share) for shape in shapes]
            descent.step(network.parameters, gradients(network, train.x[chosen], train.y[chosen], keep))
    save_array(path, network.vector())
    return network


def save_array(path: Path, array: NDArray[np.float32]) -> None:
    """Keep an array as a ``.npy`` file."""
    keep(path, lambda part: np.save(part, array))
