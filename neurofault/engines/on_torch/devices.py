"""Where engine ``exact`` can run, by name, and whether that is there."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from neurofault.errors import UnsupportedError, UsageError, nearest

if TYPE_CHECKING:
    import torch

CPU, TORCH_CPU = "cpu", "torch-cpu"
DEVICES = (CPU, "cuda", TORCH_CPU)
"""``cpu``: compiled kernels; ``cuda``, ``cuda:1`` …: torch on a GPU; ``torch-cpu``: what runs on a GPU, on the CPU: slower than its kernels, there to be
compared with them."""

_NUMBERED = re.compile(r"cuda(:\d{1,3})?")


def check_device(name: str, engine: str = "exact") -> None:
    """Make sure that a device is one, is there, can be computed on, and goes with an engine.

    Raises:
        UsageError: no such device, or another engine than ``exact``, beside ``cpu``.
        UnsupportedError: it is not there.
    """
    if name not in DEVICES and not _NUMBERED.fullmatch(name):
        raise UsageError(f"no device {name!r:.80}{nearest(name, DEVICES)}; devices: {', '.join(DEVICES)} (and cuda:0, cuda:1 …)")
    if name == CPU:
        return
    if engine != "exact":
        raise UsageError(f"device {name} goes with engine exact, not {engine}")
    device_of(name)


def device_of(name: str) -> torch.device:
    """Return torch's device of a name other than ``cpu``.

    Raises:
        UnsupportedError: it is not there, or cannot be computed on; torch is imported to find out.
    """
    import torch

    if name == TORCH_CPU:
        return torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of drivers; what they say stands in the refusal
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not seen:
            raise UnsupportedError(f"no CUDA device: torch {torch.__version__} sees none; allowed: --device cpu")
        device = torch.device(name)
        if (device.index or 0) >= seen:
            raise UnsupportedError(
                f"no device {name}: torch {torch.__version__} sees cuda:0 to cuda:{seen - 1}; allowed: these, cpu"
            )
        try:
            torch.ones(1, dtype=torch.int64, device=device).sum().item()
        except (RuntimeError, AssertionError) as error:
            said = str(error).strip().partition("\n")[0]
            raise UnsupportedError(
                f"device {name}: torch {torch.__version__} cannot compute on it: {said}; allowed: --device cpu"
            ) from None
    return device
