"""Trained weights: those that come with the package, so that everybody breaks the same network, those that are kept; and the digest by which weights are known.

Training gives the same bits on the same kind of processor only: libraries of linear algebra add in another order on another. So the small
networks of the zoo are shipped as they were trained once (``weights/<name>-<recipe>-<data>.npz``: the arrays of a state dict).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neurofault.cache import cache_dir, keep
from neurofault.progress import told

if TYPE_CHECKING:
    from torch import nn

FOLDER = Path(__file__).with_name("weights")


def weights_digest(model: nn.Module) -> str:
    """Return 16 hexadecimal digits of a module's parameters and buffers: BLAKE2b over their names and bytes, in the state dict's order.

    Two modules have the same digest if and only if all their numbers are the same, bit for bit.
    """
    import torch

    state = model.state_dict().items()
    return arrays_digest({name: each.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy() for name, each in state})


def arrays_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return :func:`weights_digest` of a module whose state dict holds these arrays, in this order."""
    digest = hashlib.blake2b(digest_size=8)
    for name, array in arrays.items():
        digest.update(name.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def shipped_file(key: str) -> Path:
    """Return where the weights of ``key`` (name, recipe and data, joined by ``-``) lie if they are shipped."""
    return FOLDER / f"{key}.npz"


def load_shipped(key: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of the shipped state dict of ``key``, in its order; None if there is none."""
    path = shipped_file(key)
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def set_weights(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Give a module the weights of a shipped state dict, in place."""
    import torch

    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})


def with_weights(model: nn.Module, key: str, train: Callable[[], object]) -> None:
    """Give a module its trained weights: shipped, else kept in the cache, else trained now and kept. The file appears whole or not at all.

    Args:
        model: of ``key``, untrained; its parameters are set in place.
        key: name, recipe and data, joined by ``-``.
        train: trains it.
    """
    import torch

    path, shipped = cache_dir() / "zoo" / f"{key}.pt", load_shipped(key)
    if shipped is not None:
        told(f"weights {key}: they come with neurofault")
        set_weights(model, shipped)
    elif path.exists():
        told(f"weights {key}: from the cache, {path.parent}")
        model.load_state_dict(torch.load(path, weights_only=True))
    else:
        told(f"weights {key}: not in the cache, trained now")
        train()
        keep(path, lambda part: torch.save(model.state_dict(), part))


def save_shipped(key: str, state: Mapping[str, Any]) -> Path:
    """Write a state dict as it is shipped and return the file; what stands there is replaced.

    Args:
        key: name, recipe and data, joined by ``-``.
        state: name → tensor.
    """
    path = shipped_file(key)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **{name: tensor.numpy() for name, tensor in state.items()})
    return path
