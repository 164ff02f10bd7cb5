"""Small chains that tests protect."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import neurofault as nf


def chain_of(sizes, *, seed=0, timesteps=8):
    """A chain of dense layers with random weights."""
    rng = np.random.default_rng(seed)
    names = ["eyes", *(f"mid{number}" for number in range(len(sizes) - 2)), "hands"]
    populations = [
        nf.Population(name, (size,), nf.CubaLif(1.0) if at else nf.Source())
        for at, (name, size) in enumerate(zip(names, sizes, strict=True))
    ]
    links = [nf.Dense(rng.normal(size=(after, before))) for before, after in pairwise(sizes)]
    return nf.chain("reflex", populations, links, timesteps=timesteps)
