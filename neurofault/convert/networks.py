"""Networks that are spiking already: NIR and netx files and snnTorch modules, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from neurofault.convert.asked import PixelCoding
from neurofault.convert.netx_graph import from_netx
from neurofault.convert.nir_graph import DEFAULT_TIMESTEPS, from_nir
from neurofault.errors import ConversionError, UsageError
from neurofault.graph import Network
from neurofault.graph.readout import How

if TYPE_CHECKING:
    from torch import nn


def is_nir_file(name: str) -> bool:
    """Return whether a network's name is a NIR file.

    >>> is_nir_file("runs/model.nir"), is_nir_file("package.module:factory"), is_nir_file("mnist-mlp")
    (True, False, False)
    """
    return name.lower().endswith(".nir")


def is_netx_file(name: str) -> bool:
    """Return whether a network's name is a netx file of lava-dl.

    >>> is_netx_file("Trained/network.net"), is_netx_file("runs/model.nir")
    (True, False)
    """
    return name.lower().endswith(".net")


def is_network_file(name: str) -> bool:
    """Return whether a network's name is a file of a spiking network: NIR or netx."""
    return is_nir_file(name) or is_netx_file(name)


def refuse_other_files(name: str) -> None:
    """Refuse a network's name that is a file of another ending.

    >>> refuse_other_files("runs/model.onnx")
    Traceback (most recent call last):
    neurofault.errors.UsageError: network 'runs/model.onnx': a file of a network ends in .nir (NIR) or .net (netx of lava-dl); a torch module is file.py:function or package.module:function

    Raises:
        UsageError: it is one.
    """
    if Path(name).suffix and ":" not in name and not is_network_file(name):
        one = "a torch module is file.py:function or package.module:function"
        if Path(name).suffix == ".py":
            one = f"of a Python file say which of its functions makes the network: {name}:function"
        raise UsageError(f"network {name!r}: a file of a network ends in .nir (NIR) or .net (netx of lava-dl); {one}")


def own_words(name: str) -> str:
    """Return how a network of one's own is written that was given by this name alone.

    >>> own_words("mynet")
    'file.py:function or package.module:function, which makes it, or a file .nir or .net'
    """
    here = [file for file in (f"{name}.py", f"{name}.nir", f"{name}.net") if Path(file).is_file()]
    written = [f"{file}:function" if file.endswith(".py") else file for file in here]
    return (
        f"there is {' and '.join(here)}, so write {' or '.join(written)}"
        if here
        else "file.py:function or package.module:function, which makes it, or a file .nir or .net"
    )


def load_network(
    name: str,
    *,
    sample_shape: Sequence[int],
    timesteps: int | None = None,
    weights: Path | None = None,
    dt: float | None = None,
    events: int | None = None,
    nir_reset: str | None = None,
    readout: tuple[How, tuple[int, int] | None] | None = None,
) -> Network | nn.Module:
    """Load a network: one that is spiking already, or a torch module that is yet to be converted.

    Args:
        name: NIR file (``*.nir``), netx file (``*.net``), or ``package.module:factory`` of a torch module or a :class:`neurofault.Network`.
        sample_shape: of what it will see: (channels, height, width) of images, or the lines of a step of events.
        timesteps: T; None: what the network says, else 32.
        weights: state dict for a module.
        dt: time step of a NIR file that does not say it.
        events: steps of the events that it will see; None: it will see values in [0, 1].
        nir_reset: what a spike does to the potential in a NIR file that does not say it, as ``reset`` of :func:`neurofault.convert.nir_graph.from_nir`.
        readout: how the answer is read, and of which steps (:func:`neurofault.graph.readout.readout_words`); None: as the network says.

    Returns:
        The network; or a module without spiking neurons, which :func:`neurofault.convert.torch_model.from_torch` converts.

    Raises:
        NeurofaultError: it cannot be read, or has no counterpart on the chip.
    """
    how = None if readout is None else readout[0]
    if is_nir_file(name):
        coding = PixelCoding() if events is None else None
        made = from_nir(name, timesteps=timesteps or events, dt=dt, coding=coding, reset=nir_reset, readout=how)  # type: ignore[arg-type]  # checked there
        return read_as(made, readout)
    if nir_reset is not None:
        raise UsageError(f"--nir-reset goes with a NIR file, not with {name!r}, which says how its neurons reset")
    if is_netx_file(name):
        if dt is not None:
            raise UsageError(f"dt goes with a NIR file, not with {name!r}: a netx file counts steps")
        return read_as(from_netx(name, timesteps=timesteps or events), readout)
    from neurofault.convert.loading import user_network
    from neurofault.convert.snntorch_model import is_snntorch

    found = user_network(name, weights)
    if isinstance(found, Network):
        if timesteps not in (None, found.timesteps):
            raise UsageError(
                f"network {name!r} is made for {found.timesteps} time steps, and {timesteps} are asked for; its factory sets them"
            )
        return read_as(found, readout)
    if is_snntorch(found):
        made = spiking_module(found, sample_shape, timesteps=timesteps or events, name=name, events=events is not None, readout=how)
        return read_as(made, readout)
    return found


def read_as(network: Network, readout: tuple[How, tuple[int, int] | None] | None) -> Network:
    """Return a network whose answer is read as asked for.

    Args:
        network: a network.
        readout: how, and of which steps; None: as it is.

    Raises:
        ConversionError: it cannot be read so.
    """
    own = network.readout
    return network if readout is None or readout == (own.how, own.when) else network.with_readout(*readout)


def spiking_module(
    model: nn.Module,
    sample_shape: Sequence[int],
    *,
    timesteps: int | None,
    name: str,
    events: bool = False,
    readout: How | None = None,
) -> Network:
    """Convert an snnTorch module that takes samples as they are, or flattened.

    Args:
        model: the module.
        sample_shape: (channels, height, width) of the images, or the lines of a step of events.
        timesteps: T; None: 32.
        name: for display.
        events: whether it takes events; else values in [0, 1].
        readout: as of :func:`neurofault.convert.snntorch_model.from_snntorch`.

    Raises:
        ConversionError: it takes neither, or something in it has no counterpart on the chip.
    """
    from neurofault.convert.snntorch_model import from_snntorch

    first: ConversionError | None = None
    for shape in (tuple(sample_shape), (math.prod(sample_shape),)):
        try:
            return from_snntorch(
                model, shape, timesteps=timesteps or DEFAULT_TIMESTEPS, name=name, coding=None if events else PixelCoding(),
                readout=readout,
            )  # fmt: skip
        except ConversionError as error:
            first = first if first is not None and "does not run on a sample" in str(error) else error
    assert first is not None
    raise first
