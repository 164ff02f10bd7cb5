"""From a spiking network to a placed, quantised deployment on a chip."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from neurofault.deploy.anneal_words import ANNEAL
from neurofault.deploy.bound import wraps
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.given import check_placement
from neurofault.deploy.grid import grid_html
from neurofault.deploy.neuron_laws import approximated
from neurofault.deploy.placement import place
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.deploy.quantise import lost, quantise
from neurofault.errors import ConversionError, NeurofaultWarning, UsageError
from neurofault.graph import Network
from neurofault.graph.chip import reached
from neurofault.graph.network import horizon
from neurofault.numerals import whole_number

__all__ = ["deploy"]

Deployment._repr_html_ = grid_html


def deploy(
    network: Network,
    profile: HardwareProfile | str | Path = "loihi2",
    *,
    weight_bits: int | None = None,
    strategy: str = "pack",
    neurons_per_core: int | None = None,
    spare_cores: int | str | Mapping[str, int] = 0,
    chips: int | None = None,
    seed: int = 0,
    placement: Placement | None = None,
) -> Deployment:
    """Quantise a network to a chip's integers and place it on the chip's cores.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> net = nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count")
    >>> chip = deploy(net, "loihi2", neurons_per_core=1)
    >>> chip.connection("hands").synapses.weight.tolist(), chip.connection("hands").weight_exponent
    ([[254, 0], [0, 254]], 3)
    >>> {name: core_of.tolist() for name, core_of in chip.placement.core_of.items()}
    {'eyes': [0, 1], 'hands': [2, 3]}

    Args:
        network: the spiking network.
        profile: a profile, the name of a bundled one, or a YAML file.
        weight_bits: stored bits a weight, as the profile allows; None: the most that it stores.
        strategy: where blocks of neurons go: ``pack``, ``spread`` or ``random``.
        neurons_per_core: neurons of a population in one core, at least 1; None: as many as the core's limits allow.
        spare_cores: healthy cores kept free for repair, at least 0, shared by all; or of each chip, tile or layer, for what sits there alone: ``{"per_chip": 1}``, ``per_tile``, ``per_layer``,
            also as ``"per_chip:1"``.
        chips: number of chips; None: the fewest that fit.
        seed: of the ``random`` strategy.
        placement: the cores themselves, as :func:`neurofault.search_placement` finds them; then nothing of the five above is given.

    Warns:
        NeurofaultWarning: some input makes a neuron's current wrap, all weights of a connection become 0, or the chip stores another decay
            than the network has; the text names the neuron and the input, the connection, or the population.

    Raises:
        UsageError: unknown profile, width or strategy, or a placement of something else.
        ConversionError: a decay is no whole number from 0 to 4095, or nothing but a bias that rounds to 0 reaches the readout.
        CapacityError: the network does not fit.
    """
    seed = whole_number(seed, "seed")
    if strategy == ANNEAL:
        raise UsageError(
            f"strategy {ANNEAL!r} measures traffic and damage on samples: deploy with another, then nf.search_placement(chip, x, y).chip"
        )
    if placement is not None and (strategy, neurons_per_core, spare_cores, chips, seed) != ("pack", None, 0, None, 0):
        raise UsageError(
            "placement says which core each neuron sits on; leave out strategy, neurons_per_core, spare_cores, chips and seed"
        )
    chip = profile if isinstance(profile, HardwareProfile) else load_profile(profile)
    populations, connections = quantise(network, chip, weight_bits=weight_bits)
    read = network.readout.population
    if read not in reached(populations, connections):
        raise ConversionError(
            f"network {network.name!r}: its readout {read!r} has a bias alone, which rounds to 0 beside the threshold"
        )
    for said in (
        *lost(network, connections),
        *approximated(network, populations, chip),
        *map(str, wraps(populations, connections, horizon(network))),
    ):
        warnings.warn(said, NeurofaultWarning, stacklevel=2)
    placed = placement or place(
        populations, connections, chip, strategy=strategy, neurons_per_core=neurons_per_core, spare_cores=spare_cores, chips=chips,
        seed=seed,
    )  # fmt: skip
    made = Deployment(network.name, chip, populations, connections, placed, network.timesteps, network.readout, reset=network.reset)
    if placement is not None:
        check_placement(made)
    return made
