"""What a chip's stored fields can hold of weights: the format that carried integers must have, and the signs of a source's synapses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.profile import HardwareProfile
from neurofault.errors import CapacityError, UnsupportedError
from neurofault.graph.chip import ChipConnection
from neurofault.graph.synapses import Conv, Dense, Sparse, Stored, Synapses


def check_stored(where: str, stored: Stored, profile: HardwareProfile) -> None:
    """Refuse carried weights in a format that the chip does not read.

    Args:
        where: the connection, in words.
        stored: how its integers are to be read.
        profile: the chip.

    Raises:
        CapacityError: another format, or an exponent that a chip of another format than Loihi's has not.
    """
    form, low, high = profile.synapse.format, profile.synapse.weight_exponent_min.value, profile.synapse.weight_exponent_max.value
    said = f"{where} carries {stored.sign_mode} weights with exponent {stored.weight_exponent}"
    match form:
        case "crossbar":
            if (stored.sign_mode, stored.weight_exponent) != ("mixed", 0):
                raise CapacityError(f"{said}; the crossbar of {profile.name!r} has mixed ones with exponent 0")
        case "signed":
            least, most = -32 if low is None else low, 24 if high is None else high
            if stored.sign_mode != "signed" or not least <= stored.weight_exponent <= most:
                raise CapacityError(f"{said}; {profile.name!r} stores signed ones with exponents {least} to {most}")
        case "loihi":
            if stored.sign_mode == "signed":
                raise CapacityError(f"{said}; {profile.name!r} stores mixed, excitatory and inhibitory ones")


def check_source_signs(connections: Sequence[ChipConnection], profile: HardwareProfile) -> None:
    """Refuse sources with synapses of both signs on a chip where a source has one sign for all of them (``synapse.source_signs``).

    Args:
        connections: of a network, with all weights.
        profile: the chip.

    Raises:
        UnsupportedError: naming the population and how many of its neurons.
    """
    if profile.synapse.source_signs is None or not profile.synapse.source_signs.value:
        return
    signs: dict[str, list[NDArray[np.bool_]]] = {}
    for one in connections:
        found = signs.setdefault(one.source, [np.zeros(one.synapses.n_in, bool), np.zeros(one.synapses.n_in, bool)])
        for own, new in zip(found, _signs(one.synapses), strict=True):
            own |= new
    for name, (excitatory, inhibitory) in signs.items():
        if both := int((excitatory & inhibitory).sum()):
            raise UnsupportedError(
                f"population {name!r}: {both} of its {excitatory.size} neurons drive synapses of both signs; a neuron of {profile.name!r} has one sign for "
                "all its synapses: give each two copies, one with the positive weights and one with the negative ones"
            )


def _signs(synapses: Synapses) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which sources have positive weights, and which negative ones, bool [n_in] each; of a convolution those of the whole channel."""
    weight = np.asarray(synapses.weight)
    match synapses:
        case Dense():
            return np.asarray((weight > 0).any(axis=0)), np.asarray((weight < 0).any(axis=0))
        case Conv():
            channels, height, width = synapses.in_shape
            by_channel = weight.reshape(synapses.groups, -1, *weight.shape[1:])
            found = [(by_channel * sign > 0).any(axis=(1, 3, 4)).reshape(channels) for sign in (1, -1)]
            return np.repeat(found[0], height * width), np.repeat(found[1], height * width)
        case Sparse():
            positive, negative = (np.bincount(synapses.sources[weight * sign > 0], minlength=synapses.n_in) > 0 for sign in (1, -1))
            return positive, negative
