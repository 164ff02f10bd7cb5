"""Max pooling of spikes, as a population of its own."""

from __future__ import annotations

import numpy as np

from neurofault.errors import ConversionError
from neurofault.graph.neurons import CubaLif
from neurofault.graph.populations import Connection, Population
from neurofault.graph.synapses import Conv

Pair = int | tuple[int, int]
"""One number for both axes, or (vertical, horizontal)."""


def spike_max_pool(
    name: str, source: Population, kernel: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1
) -> tuple[Population, Connection]:
    """Return neurons that fire in a step where any neuron of their window does, and the connection that drives them.

    The largest of values that are 0 or 1 is their OR: weights of 1, a threshold of ½, no memory. It costs a population and one step on the way; a spike at
    (channel, y, x) is one of torch's ``max_pool2d`` of the source's spikes.

    >>> from neurofault.graph import Source
    >>> maps = Population("maps", (2, 4, 4), Source())
    >>> pooled, connection = spike_max_pool("pooled", maps, 2)
    >>> pooled.shape, (connection.source, connection.target, connection.delay)
    ((2, 2, 2), ('maps', 'pooled', 1))

    Args:
        name: of the population and of the connection.
        source: whose spikes are pooled, of shape (channels, height, width).
        kernel: size of a window, at least 1.
        stride: from window to window, at least 1; None: the window's size.
        padding: silent places around the map, 0 to half the kernel, as torch takes it.
        dilation: from place to place in a window, at least 1.

    Raises:
        ConversionError: the source is no map, numbers are out of range, or no window fits.
    """
    if len(source.shape) != 3:
        raise ConversionError(
            f"population {name!r}: max pooling takes spikes of (channels, height, width); {source.name!r} has the shape {source.shape}"
        )
    size, apart, around, within = (_both(each) for each in (kernel, kernel if stride is None else stride, padding, dilation))
    if min(*size, *apart, *within) < 1 or min(around) < 0 or any(2 * pad > one for pad, one in zip(around, size, strict=True)):
        raise ConversionError(
            f"population {name!r}: kernel {size}, stride {apart} and dilation {within} must be at least 1, padding {around} 0 to half the kernel"
        )
    channels, height, width = source.shape
    conv = Conv(np.ones((channels, 1, *size)), (channels, height, width), apart, around, within, channels)
    if min(conv.out_shape) < 1:
        raise ConversionError(f"population {name!r}: no window of {size} fits into {source.name!r}, which is {height} × {width}")
    return Population(name, conv.out_shape, CubaLif(0.5)), Connection(name, source.name, name, conv)


def _both(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
