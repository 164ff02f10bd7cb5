"""What of a chip's answer a tester can see.

=============  ==============================================================================================
``observe``    what is seen of a sample
=============  ==============================================================================================
``class``      the class that is answered
``counts``     how many spikes each output sent (readout ``count`` alone); a dead output sent none
``potential``  every output's score to the last bit: its potential, of readout ``count`` its spikes and its potential; a dead output has none
``spikes``     how many spikes all neurons of the chip sent together
=============  ==============================================================================================

An observation exposes a fault by a sample if what is seen differs from what is seen of the healthy chip.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE, Activity, counts_from
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError, nearest

Observe = Literal["class", "counts", "potential", "spikes"]
OBSERVATIONS: tuple[Observe, ...] = ("class", "counts", "potential", "spikes")


def observation(chip: Deployment, name: str) -> Observe:
    """Return an observation by its name.

    Raises:
        UsageError: there is none of that name, or the chip does not show it.
    """
    found = next((each for each in OBSERVATIONS if each == name), None)
    if found is None:
        raise UsageError(f"no observation {name!r}{nearest(name, OBSERVATIONS)}; there are: {', '.join(OBSERVATIONS)}")
    if found == "counts" and chip.readout.how != "count":
        raise UsageError(
            f"observe counts: network {chip.name!r} is read by its outputs' {chip.readout.how}, their spikes are not counted; observe class, potential or spikes"
        )
    return found


def seen(observe: Observe, scores: NDArray[np.int64], sample_spikes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what is seen of each sample, int64 [..., N, k].

    >>> seen("class", np.array([[3, 5]]), np.array([7])).tolist(), seen("spikes", np.array([[3, 5]]), np.array([7])).tolist()
    ([[1]], [[7]])

    Args:
        observe: the observation.
        scores: int64 [..., N, n_out], as of :class:`neurofault.Activity`.
        sample_spikes: int64 [..., N], likewise.
    """
    match observe:
        case "class":
            return np.asarray(np.argmax(scores, axis=-1), np.int64)[..., None]
        case "counts":
            return np.where(scores == DEAD_SCORE, 0, counts_from(scores))
        case "potential":
            return scores
        case "spikes":
            return sample_spikes[..., None]


def seen_of(observe: Observe, activity: Activity) -> NDArray[np.int64]:
    """Return what is seen of a run, int64 [N, k]."""
    return seen(observe, activity.scores, activity.sample_spikes)
