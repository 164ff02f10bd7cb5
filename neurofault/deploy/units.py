"""From scores of a chip back to the unit of the network that was deployed: what its quantising multiplied the readout's weights by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.quantise import REFERENCE, in_ranges
from neurofault.deploy.weight_fields import Grid, weight_range
from neurofault.errors import UnsupportedError
from neurofault.graph import Network
from neurofault.graph.chip import ChipConnection
from neurofault.graph.populations import Connection


def unit_of(network: Network, chip: Deployment, what: str = "targets", *, rates: bool = False) -> float:
    """Return what one unit of a score is in the network's own unit: of ``v``, or 1 spike.

    Quantising writes a weight w into a population as the integer nearest to w·σ·2**(−e), with σ a power of two times what fills the stored field, and
    ``v`` holds 64 times the sum of weights (:mod:`neurofault.deploy.quantise`). So ``v`` of 1.0 is 64·σ there; σ is read off the largest weight.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (1,), nf.Source()), nf.Population("hands", (1,), nf.CubaLif(None))
    >>> net = nf.chain("reach", [eyes, hands], [nf.Dense(np.array([[0.5]]))], timesteps=4)
    >>> chip, seen = nf.deploy(net), nf.Spikes.dense(np.ones((1, 4, 1), bool))
    >>> unit = unit_of(net, chip)
    >>> round(float(nf.run(chip, seen).activity.scores[0, 0] * unit), 1)
    2.0
    >>> nf.run(chip, seen, np.array([[2.5]]), unit=unit).mean_squared_error < 0.26
    True

    Args:
        network: what was deployed, with real weights.
        chip: its deployment, healthy or broken.
        what: what needs it, for messages.
        rates: the network was converted from one without time (``nf.from_torch``), so that its potential after T steps is T times the answer.

    Raises:
        UnsupportedError: a network that carries a chip's integers, which have no unit; the text names the population.
    """
    read = chip.readout
    each = chip.timesteps if rates else 1
    if read.how == "count":
        return 1.0 / each
    into = network.into(read.population)
    if any(one.stored is not None for one in into) or not any(np.any(np.asarray(one.synapses.weight)) for one in into):
        raise UnsupportedError(
            f"{what}: population {read.population!r} has a chip's integers, or no weights, so its potential has no unit; give a network with real weights"
        )
    steps = len(read.steps(chip.timesteps)) if read.how == "mean" else 1
    return 1 / (64 * _sigma(into, [chip.connection(one.name) for one in into]) * steps) / each


def _sigma(real: Sequence[Connection], stored: Sequence[ChipConnection]) -> float:
    """Return σ: a power of two times 1 by the largest weight, in ranges of the stored field."""
    weights = [np.asarray(one.synapses.weight, np.float64) for one in real]
    chosen = max(range(len(weights)), key=lambda place: float(np.abs(weights[place]).max(initial=0)))
    own, chip = weights[chosen].ravel(), stored[chosen]
    at = int(np.abs(own).argmax())
    integers = np.asarray(chip.synapses.weight).ravel()
    rough = float(integers[at]) * 2.0**chip.weight_exponent / float(own[at])
    bits = chip.weight_bits
    grid = REFERENCE if bits > 8 else Grid(*weight_range(bits, chip.sign_mode), bits, chip.weight_exponent, chip.sign_mode)
    ranges = max(in_ranges(weight, grid) for weight in weights)
    return 2.0 ** round(math.log2(rough * ranges)) / ranges
