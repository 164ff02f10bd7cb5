"""Networks that are spiking already: NIR files and snnTorch modules, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from neurofault.convert.loading import user_module
from neurofault.convert.nir_graph import DEFAULT_TIMESTEPS, from_nir
from neurofault.convert.snntorch_model import from_snntorch, is_snntorch
from neurofault.errors import ConversionError
from neurofault.graph import Network


def is_nir_file(name: str) -> bool:
    """Return whether a network's name is a NIR file.

    >>> is_nir_file("runs/model.nir"), is_nir_file("package.module:factory"), is_nir_file("mnist-mlp")
    (True, False, False)
    """
    return name.lower().endswith(".nir")


def load_network(
    name: str,
    *,
    sample_shape: Sequence[int],
    timesteps: int | None = None,
    weights: Path | None = None,
    dt: float | None = None,
) -> Network | None:
    """Load a network that is spiking already.

    Args:
        name: NIR file (``*.nir``), or ``package.module:factory`` of a torch module.
        sample_shape: (channels, height, width) of the images that it will see.
        timesteps: T; None: what the file says, else 32.
        weights: state dict for a module.
        dt: time step of a NIR file that does not say it.

    Returns:
        The network; None for a module without spiking neurons, which :func:`neurofault.convert.torch_model.from_torch` converts.

    Raises:
        NeurofaultError: it cannot be read, or has no counterpart on the chip.
    """
    if is_nir_file(name):
        return from_nir(name, timesteps=timesteps, dt=dt)
    model = user_module(name, weights)
    return spiking_module(model, sample_shape, timesteps=timesteps, name=name) if is_snntorch(model) else None


def spiking_module(model: nn.Module, sample_shape: Sequence[int], *, timesteps: int | None, name: str) -> Network:
    """Convert an snnTorch module that takes images as they are, or flattened.

    Args:
        model: the module.
        sample_shape: (channels, height, width) of the images.
        timesteps: T; None: 32.
        name: for display.

    Raises:
        ConversionError: it takes neither, or something in it has no counterpart on the chip.
    """
    first: ConversionError | None = None
    for shape in (tuple(sample_shape), (math.prod(sample_shape),)):
        try:
            return from_snntorch(model, shape, timesteps=timesteps or DEFAULT_TIMESTEPS, name=name)
        except ConversionError as error:
            first = first if first is not None and "does not run on a sample" in str(error) else error
    assert first is not None
    raise first
