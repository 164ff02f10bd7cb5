"""One step of a population in torch, the same as :func:`neurofault.graph.law.step`; silent neurons have no bias, get no drive and cannot fire."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.engines.on_torch.products import wrap32
from neurofault.graph.arithmetic import STATE_LIMIT, bias_of
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.law import Law

FEATURES = frozenset({"reset subtract", "reset none", "delayed", "refractory", "floor"})
"""What laws this module knows (:attr:`neurofault.graph.law.Law.features`)."""


@dataclass(frozen=True, eq=False)
class NeuronTensors:
    """A population on a device.

    Attributes:
        name: the population's.
        size: n.
        keep_u, keep_v: int64 [n], 4096ths of u and v that survive a step; None: none of u does, all of v.
        threshold: int64 [n], in the unit of v.
        start: int64 [n], v before the first step.
        bias: int64 [1, n], of neurons that are not driven from outside.
        bias_exponent: of biases from outside.
        silent: bool [n].
        law: what happens at the threshold and below.
        refractory, floor: int64 [n], the law's; None: none.
    """

    name: str
    size: int
    keep_u: Tensor | None
    keep_v: Tensor | None
    threshold: Tensor
    start: Tensor
    bias: Tensor
    bias_exponent: int
    silent: Tensor
    law: Law
    refractory: Tensor | None
    floor: Tensor | None

    @classmethod
    def of(cls, chip: ChipPopulation, silent: NDArray[np.bool_], device: torch.device) -> NeuronTensors:
        """Lay a population out; ``silent``: bool [n]."""

        def there(values: NDArray[np.integer]) -> Tensor:
            return torch.from_numpy(np.broadcast_to(values, chip.size).astype(np.int64)).to(device)

        furthest = 2 * STATE_LIMIT
        threshold = np.clip(chip.vth.astype(np.int64) << 6, -furthest, furthest)
        law = chip.law
        return cls(
            chip.name,
            chip.size,
            None if np.all(chip.du == 4095) else there(4095 - chip.du),
            None if np.all(chip.dv == 0) else there(4096 - chip.dv),
            there(np.where(silent, furthest, threshold)),
            there(np.where(silent, 0, chip.v_init)),
            there(np.where(silent, 0, bias_of(chip.bias_mantissa, chip.bias_exponent)))[None],
            chip.bias_exponent,
            torch.from_numpy(silent.copy()).to(device),
            law,
            None if law.refractory is None else there(law.refractory),
            None if law.floor is None else there(law.floor),
        )

    def given_bias(self, mantissa: NDArray[np.int32]) -> Tensor:
        """Biases from outside, int32 [S, n] → int64 [S, n]."""
        bias = torch.from_numpy(bias_of(mantissa, self.bias_exponent)).to(self.threshold.device, torch.int64)
        return bias.masked_fill(self.silent, 0)

    def current(self, u: Tensor, drive: Tensor) -> Tensor:
        """Return u after a step, from u before it and the drive, int64 [S, n] each."""
        current = wrap32(drive.masked_fill(self.silent, 0) << 6)
        if self.keep_u is not None:
            current = wrap32(current + _decayed(u, self.keep_u))
        turn = 2 * STATE_LIMIT
        return torch.where(current > STATE_LIMIT, current - turn, torch.where(current <= -STATE_LIMIT, current + turn, current))

    def fire(self, u: Tensor, v: Tensor, bias: Tensor, waiting: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return v and the refractory counters after a step and who fires, from v and the counters before it and u after it."""
        law, threshold, before, taken = self.law, self.threshold, v, None
        if law.delayed and law.reset != "none":
            above = v > threshold
            before, taken = (torch.where(above, 0, v), None) if law.reset == "zero" else (v, torch.where(above, threshold, 0))
        moved = before if self.keep_v is None else _decayed(before, self.keep_v)
        moved = moved + u + bias if taken is None else moved + u + bias - taken
        moved = wrap32(moved).clamp(1 - STATE_LIMIT, STATE_LIMIT - 1)
        if self.floor is not None:
            moved = torch.maximum(moved, self.floor)
        fired = moved > threshold
        if waiting is not None and self.refractory is not None:
            live = waiting == 0
            fired = fired & live
            waiting = torch.where(fired, self.refractory, (waiting - 1).clamp(min=0))
        if not law.delayed and law.reset == "zero":
            moved = torch.where(fired, 0, moved)
        elif not law.delayed and law.reset == "subtract":
            moved = torch.where(fired, (moved - threshold).clamp(max=STATE_LIMIT - 1), moved)
        if waiting is not None and self.refractory is not None:
            moved = torch.where(live, moved, v)
        return moved, fired, waiting


def _decayed(state: Tensor, keep: Tensor) -> Tensor:
    """Return ``state · keep / 4096``, rounded towards 0."""
    return torch.sign(state) * ((state.abs() * keep) >> 12)
