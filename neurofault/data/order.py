"""The order of samples: of whatever part is taken first, a fair sample of the whole."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from neurofault.streams import counter_hash


def fair_order(labels: NDArray[np.int64], key: int) -> NDArray[np.int64]:
    """Return a keyed permutation of the samples in which every window holds each class in its share, to within a few samples.

    Within its class a sample gets a random rank r; it is placed at (r + uniform) / (size of the class).
    """
    samples = np.arange(len(labels))
    shuffled = np.lexsort((counter_hash(key, samples, 0), labels))
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    grouped = labels[shuffled]
    uniform = (counter_hash(key, shuffled, 1) >> np.uint64(11)) / 2.0**53
    place = (samples - starts[grouped] + uniform) / sizes[grouped]
    return cast("NDArray[np.int64]", shuffled[np.argsort(place, kind="stable")])
