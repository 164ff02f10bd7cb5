"""A chip of a few neurons and a campaign of a few trials, for examples that run anywhere in a moment."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.graph import CubaLif, Dense, Population, Source, chain
from neurofault.inputs import Spikes
from neurofault.study.campaign.api import CheckedCampaign, campaign


def reflex() -> tuple[Deployment, Spikes, NDArray[np.int64]]:
    """Return a chip on which two eyes drive two hands, two samples in each of which one eye fires in all four steps, and the hand that should answer.

    >>> import neurofault as nf
    >>> chip, x, y = reflex()
    >>> nf.run(chip, x, y).accuracy
    1.0

    Returns:
        The chip; events [2 samples, 4 steps, 2 lines]; labels, int64 [2].
    """
    eyes, hands = Population("eyes", (2,), Source()), Population("hands", (2,), CubaLif(1.0))
    chip = deploy(chain("reflex", [eyes, hands], [Dense(np.eye(2) * 2)], timesteps=4, how="count"))
    return chip, Spikes.dense(np.repeat(np.eye(2, dtype=bool)[:, None], 4, axis=1)), np.array([0, 1])


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="neurofault-example-")


def small_campaign() -> CheckedCampaign:
    """Return a campaign of four trials: one or three dead cores, two draws each, on 20 images of digits.

    Its run folder is gone when Python ends; until then a second run finds the trials of the first.

    >>> small_campaign().run(workers=1).failed
    0
    """
    asked = {
        "name": "small",
        "network": {"zoo": "digits-mlp"},
        "data": {"samples": 20},
        "faults": [{"kind": "core_dead", "count": {"sweep": [1, 3]}}],
        "repeats": {"draws": 2, "seed": 1},
    }
    return campaign(asked, out=Path(_folder().name) / "small")
