"""Kernels compiled in a second process while the first loads the rest: those that a dense network of pixels needs.

The second process goes through a tiny chip as the first goes through its own, but only notes which kernels are asked for, and of which types; these it
compiles, last ones first. The first begins with the first ones. What either has begun the other waits for (:mod:`neurofault.compiled`).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from neurofault.cache import cache_dir, keep
from neurofault.cores import usable_cores
from neurofault.kernel_sources import sources_digest


def _done() -> Path:
    """Return the file that says that these kernels were compiled ahead before, where they are kept now."""
    parts = sources_digest(), os.environ.get("NUMBA_CACHE_DIR", ""), str(Path(__file__).parent), sys.version
    return cache_dir() / "ahead" / hashlib.blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()


_CHILD = "import sys; sys.path[:] = {path!r}\nfrom neurofault.cli.ahead import main\nmain()"
"""With the path of the first process: what lies in the current folder is not taken for a library."""


def suits(network: str, engine: str) -> bool:
    """Whether a run needs the kernels that are compiled ahead: the exact engine, on a dense zoo network of images."""
    from neurofault.zoo import RECIPES
    from neurofault.zoo.hardening import named

    recipe = RECIPES.get(named(network)[0])
    return engine == "exact" and recipe is not None and not recipe.channels and not recipe.stages


@contextmanager
def compiled_ahead(network: str, engine: str) -> Iterator[None]:
    """Have kernels compiled by a second process while the body runs, on more than one core, where it was not done before; it ends with the body.

    Args:
        network: as named on the command line.
        engine: name of the engine.
    """
    if usable_cores() < 2 or not suits(network, engine) or _done().exists():
        yield
        return
    silent = subprocess.DEVNULL
    child = subprocess.Popen([sys.executable, "-c", _CHILD.format(path=sys.path)], stdin=silent, stdout=silent, stderr=silent)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


def main() -> None:
    """Compile what a dense network of pixels needs that is not kept yet."""
    from neurofault.compiled import rehearse

    asked = rehearse()
    import numpy as np

    import neurofault as nf
    from neurofault.deploy.quantise import quantise
    from neurofault.engines.exact.engine import ExactEngine
    from neurofault.graph import Encoding, Source, chain

    cells = (
        nf.Population("input", (4,), Source(Encoding.for_pixels(0.5, 0.5, 8))),
        nf.Population("hidden", (3,), nf.CubaLif(threshold=1.0)),
        nf.Population("output", (2,), nf.CubaLif(threshold=None)),
    )
    rng = np.random.default_rng(1)
    synapses = [nf.Dense(rng.normal(0, 0.5, shape)) for shape in ((3, 4), (2, 3))]
    network = chain("ahead", cells, synapses, timesteps=8, how="potential", peak_potential=2.0)
    chip = nf.deploy(network)
    populations, connections = quantise(network, chip.profile, rounded=False)
    whole = replace(chip, populations=populations, connections=connections)  # by which the loss to rounding is known
    for each in (chip, whole):
        ExactEngine(1).run(each, each.encode(rng.integers(0, 256, (2, 4), dtype=np.uint8)))
    for kernel, signature in reversed(asked):
        kernel.compile(signature)
    keep(_done(), lambda path: path.write_bytes(b""))
