"""A test of a few seconds that shows whether an installed engine really gives the exact engine's spikes."""

from __future__ import annotations

import numpy as np

from neurofault.deploy.deployment import ChipLayer, Deployment, Placement
from neurofault.deploy.profile import load_profile
from neurofault.engines import get_engine, run
from neurofault.graph import Dense
from neurofault.inputs import Inputs

_TIMESTEPS = 3


def spikes_equal_exact(engine: str) -> bool:
    """Return whether an engine and ``exact`` give the same spikes at each of 3 steps of a small network, for 2 samples.

    Args:
        engine: name of an engine.

    Raises:
        NeurofaultError: the engine is unknown, not installed, or fails.
    """
    deployment, inputs = _case()
    one, other = (run(deployment, inputs, engine=get_engine(name), record=("spikes",)).activity for name in (engine, "exact"))
    return all(
        np.array_equal(np.asarray(one.traces[layer.name].spikes), np.asarray(other.traces[layer.name].spikes))
        for layer in deployment.layers
    )


def _case() -> tuple[Deployment, Inputs]:
    """8 → 6 → 3 neurons of which about half fire in each step."""
    rng = np.random.default_rng(0)
    sizes = (8, 6, 3)
    layers = []
    for index, size in enumerate(sizes):
        synapses = Dense(2 * rng.integers(-40, 100, (size, sizes[index - 1]), np.int32)) if index else None
        zeros, threshold = np.zeros(size, np.int32), np.full(size, 80, np.int32)
        layers.append(
            ChipLayer(f"layer{index}", (size,), synapses, 0, 8, "mixed", zeros + 4095, zeros, threshold, zeros + 40, 0, 0)
        )
    placement = Placement(1, 1, tuple(np.zeros(size, np.int32) for size in sizes))
    inputs = Inputs(bias=rng.integers(2000, 8000, (2, sizes[0]), np.int32))
    return Deployment("self-test", load_profile("loihi2"), tuple(layers), placement, _TIMESTEPS, None, "count"), inputs
