"""A test of a few seconds, on a chain of three populations, that shows whether an installed engine really gives the exact engine's spikes."""

from __future__ import annotations

import numpy as np

from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.profile import load_profile
from neurofault.engines import get_engine, run
from neurofault.graph import Dense, Readout
from neurofault.graph.chip import ChipConnection, ChipPopulation
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
        np.array_equal(np.asarray(one.traces[population.name].spikes), np.asarray(other.traces[population.name].spikes))
        for population in deployment.populations
    )


def _case() -> tuple[Deployment, Inputs]:
    """8 → 6 → 3 neurons of which about half fire in each step."""
    rng = np.random.default_rng(0)
    sizes = (8, 6, 3)
    populations, connections = [], []
    for index, size in enumerate(sizes):
        name = f"layer{index}"
        if index:
            synapses = Dense(2 * rng.integers(-40, 100, (size, sizes[index - 1]), np.int32))
            connections.append(ChipConnection(name, f"layer{index - 1}", name, synapses, 0, 8, "mixed"))
        zeros, threshold = np.zeros(size, np.int32), np.full(size, 80, np.int32)
        populations.append(ChipPopulation(name, (size,), zeros + 4095, zeros, threshold, zeros + 40, 0, 0, is_source=not index))
    placement = Placement(1, 1, {one.name: np.zeros(one.size, np.int32) for one in populations})
    inputs = Inputs(bias=rng.integers(2000, 8000, (2, sizes[0]), np.int32))
    readout = Readout(populations[-1].name, "count")
    chip = Deployment("self-test", load_profile("loihi2"), tuple(populations), tuple(connections), placement, _TIMESTEPS, readout)
    return chip, inputs
