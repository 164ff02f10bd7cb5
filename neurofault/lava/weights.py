"""The weights of a Lava connection as its ``fixed_pt`` model holds them, in the terms of a `Network`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.deploy.weight_fields import truncate_weights, weight_range
from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import ConversionError
from neurofault.graph import Conv, Dense
from neurofault.graph.synapses import SignMode, Stored, Synapses
from neurofault.lava.joins import kind_of, title

require_lava()

from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.utils.weightutils import SignMode as LavaSignMode  # noqa: E402

_SIGNS: dict[LavaSignMode, SignMode] = {
    LavaSignMode.MIXED: "mixed",
    LavaSignMode.EXCITATORY: "excitatory",
    LavaSignMode.INHIBITORY: "inhibitory",
}
_ACCUMULATOR = 1 << 23


def stored_synapses(
    process: AbstractProcess,
    order_in: NDArray[np.int64],
    order_out: NDArray[np.int64],
    conv: Literal["lava", "sparse"],
) -> tuple[Synapses, Stored]:
    """Return a connection's integers as the chip would store them, and how they are read.

    Args:
        process: ``Dense``, ``DelayDense``, ``Sparse`` or ``Conv``.
        order_in: where each source neuron is in Lava's array, flattened.
        order_out: where each target neuron is.
        conv: see :func:`neurofault.lava.from_lava`.

    Raises:
        ConversionError: settings or weights that the stored format cannot hold.
    """
    if kind_of(process) == "conv":
        return _convolution(process, conv)
    weights = process.weights.init
    array = np.asarray(weights.toarray() if sparse.issparse(weights) else weights).astype(np.int32)
    bits, exponent = int(process.proc_params.get("num_weight_bits", 8)), int(process.proc_params.get("weight_exp", 0))
    sign_mode = _sign_mode(process, array)
    if not 1 <= bits <= 8:
        raise ConversionError(f"{title(process)}: num_weight_bits is {bits}, allowed are 1 to 8")
    held = truncate_weights(array, bits, sign_mode)[np.ix_(order_out, order_in)]
    delay = None
    if kind_of(process) == "delays":
        delay = np.broadcast_to(np.asarray(process.delays.init), array.shape).astype(np.int64)[np.ix_(order_out, order_in)]
    return Dense(held, delay), Stored(exponent, bits, sign_mode)


def _sign_mode(process: AbstractProcess, weights: NDArray[np.int32]) -> SignMode:
    """Return the sign mode that was given, else the one that Lava would infer."""
    given = process.proc_params.get("sign_mode")
    if given is None:
        return _inferred(weights)
    if given not in _SIGNS:
        raise ConversionError(f"{title(process)}: sign_mode is {given}; allowed: {', '.join(str(mode) for mode in _SIGNS)}")
    return _SIGNS[given]


def _inferred(weights: NDArray[np.int32]) -> SignMode:
    """Lava 0.10 ``determine_sign_mode``."""
    return "excitatory" if weights.min() >= 0 else "inhibitory" if weights.max() <= 0 else "mixed"


def _convolution(process: AbstractProcess, conv: Literal["lava", "sparse"]) -> tuple[Conv, Stored]:
    """Return Lava's true convolution over (W, H, C) as a cross-correlation over (C, H, W)."""
    kernel = np.asarray(process.weight.init).astype(np.int32)
    if conv == "sparse":
        bits, exponent = int(np.max(process.num_weight_bits.init)), int(np.max(process.weight_exp.init))
        sign_mode = _inferred(kernel)
        held = truncate_weights(kernel, bits, sign_mode)
    else:
        bits = 8
        held, exponent, sign_mode = _as_stored(process, kernel)
    if conv == "lava" and np.abs(kernel.astype(np.int64)).sum(axis=(1, 2, 3)).max() >= _ACCUMULATOR:
        raise ConversionError(f"{title(process)}: its sums can pass 2**23, where Lava's Conv wraps them")

    def pair(value: Any) -> tuple[int, int]:
        x, y = (int(part) for part in np.broadcast_to(np.asarray(value.init), (2,)))
        return y, x

    width, height, channels = (int(size) for size in process.input_shape)
    turned = np.ascontiguousarray(held[:, ::-1, ::-1, :].transpose(0, 3, 2, 1))
    ours = Conv(
        turned, (channels, height, width), pair(process.stride), pair(process.padding), pair(process.dilation),
        int(np.max(process.groups.init)),
    )  # fmt: skip
    return ours, Stored(exponent, bits, sign_mode)


def _as_stored(process: AbstractProcess, kernel: NDArray[np.int32]) -> tuple[NDArray[np.int32], int, SignMode]:
    """Return 8-bit stored weights, exponent and sign mode that are exactly this kernel (Lava's ``Conv`` takes any integers).

    Where the weights fit as they are, they stay; else a power of two is moved between weights and exponent.
    """
    sign_mode = _inferred(kernel)
    for exponent in (0, -1, *range(1, 8)):
        if exponent > 0 and np.any(kernel & ((1 << exponent) - 1)):
            break
        stored = kernel.astype(np.int64) << 1 if exponent < 0 else kernel.astype(np.int64) >> exponent
        modes: tuple[SignMode, ...] = (sign_mode,) if sign_mode == "mixed" else (sign_mode, "mixed")
        for mode in modes:
            low, high, _ = weight_range(8, mode)
            if low <= stored.min() and stored.max() <= high and np.array_equal(truncate_weights(stored, 8, mode), stored):
                return stored.astype(np.int32), exponent, mode
    raise ConversionError(
        f"{title(process)}: weights {int(kernel.min())} … {int(kernel.max())} are not 8-bit stored weights times a power of two, "
        "which Lava's Conv does not mind; requantise the kernel"
    )
