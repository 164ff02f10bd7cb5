"""Lava graphs as other people build them by hand: nothing of neurofault's but the import shim and the names under test."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurofault.engines.lava_shim import require_lava

require_lava()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.process import Dense  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402

import neurofault.lava as nl  # noqa: E402

STEPS = 40


def fixed_pt() -> Any:
    return Loihi2SimCfg(select_tag="fixed_pt")


def stranger() -> list[Any]:
    """LIF – Dense – LIF – Conv – LIF: a driven population, an image of 5 × 4 pixels and 3 channels, a convolution of it."""
    rng = np.random.default_rng(5)
    source = LIF(shape=(12,), du=4095, dv=100, vth=300, bias_mant=rng.integers(1500, 9000, 12), name="source")
    dense = Dense(weights=rng.integers(-120, 200, (60, 12)), weight_exp=1, num_weight_bits=7)
    image = LIF(shape=(5, 4, 3), du=2000, dv=64, vth=800, bias_mant=70, bias_exp=3, name="image")
    conv = Conv(
        weight=rng.integers(-100, 128, (2, 3, 2, 3)), input_shape=(5, 4, 3), padding=(1, 0), stride=(2, 1), weight_exp=3
    )  # Lava's Conv ignores weight_exp
    out = LIF(shape=conv.output_shape, du=3000, dv=10, vth=400, bias_mant=30, name="out")
    source.s_out.connect(dense.s_in)
    dense.a_out.reshape((5, 4, 3)).connect(image.a_in)
    image.s_out.connect(conv.s_in)
    conv.a_out.connect(out.a_in)
    return [source, dense, image, conv, out]


def break_run_restore(faults: Any, seed: int) -> tuple[Any, ...]:
    """The same processes, run healthy, broken and restored."""
    processes = stranger()
    first = nl.record(processes, STEPS, fixed_pt())
    handle = nl.inject(processes, faults, timesteps=STEPS, seed=seed, neurons_per_core=8)
    middle = nl.record(processes, STEPS, handle.run_config(fixed_pt()))
    handle.restore()
    last = nl.record(processes, STEPS, handle.run_config(fixed_pt()))
    return first, middle, last
