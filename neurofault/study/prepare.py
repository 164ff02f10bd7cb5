"""From names on a command line or in a YAML file to a healthy chip: network, data, conversion, placement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from neurofault.convert.loading import user_module
from neurofault.convert.networks import is_nir_file, load_network
from neurofault.convert.torch_model import as_taken
from neurofault.datasets import DataSet, Split, load
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.deploy.quantise import quantise
from neurofault.errors import UsageError
from neurofault.network import SpikingNetwork
from neurofault.study.calibrate import Calibration, choose
from neurofault.zoo import recipe, torch_accuracy, trained

Progress = Callable[[str, int, int, str], None]
"""Called as ``progress(stage, done, total, text)``."""

DEFAULT_NETWORK = "digits-mlp"
_USER_TIMESTEPS = 32
MAX_TIMESTEPS = 4096
"""Most steps that a sample is shown."""


@dataclass(frozen=True)
class Setup:
    """What to run, by name.

    Attributes:
        network: zoo name, ``package.module:factory`` of a torch or snnTorch module, or a NIR file (``*.nir``).
        profile: bundled name or YAML file.
        weights: state dict of a user's module.
        data: data set; None: the zoo network's own (digits for a user's module).
        data_dir: folder of published data files.
        samples: how many test images; None: all.
        timesteps: T; None: the network's own (32 for a user's module).
        dt: time step of a NIR file that does not say it.
        weight_bits: stored bits a weight.
        place: ``pack``, ``spread`` or ``random``.
        neurons_per_core: None: the zoo network's own grain (as many as fit for a user's module).
        spare_cores: kept free.
        chips: None: the fewest that fit.
        place_seed: of ``random`` placement.
    """

    network: str = DEFAULT_NETWORK
    profile: str = "loihi2"
    weights: Path | None = None
    data: str | None = None
    data_dir: Path | None = None
    samples: int | None = None
    timesteps: int | None = None
    dt: float | None = None
    weight_bits: int = 8
    place: str = "pack"
    neurons_per_core: int | None = None
    spare_cores: int = 0
    chips: int | None = None
    place_seed: int = 0


@dataclass(frozen=True, eq=False)
class Prepared:
    """A healthy chip and where it came from.

    Attributes:
        setup: as asked for.
        profile: the chip's profile.
        model: the torch network; None for a network that is spiking already.
        data: its data set.
        test: the test images that results are reported on.
        network: the spiking network before rounding.
        calibration: the conversions that it was chosen from; None for a network that is spiking already.
        deployment: the healthy chip.
    """

    setup: Setup
    profile: HardwareProfile
    model: nn.Module | None
    data: DataSet
    test: Split
    network: SpikingNetwork
    calibration: Calibration | None
    deployment: Deployment

    def ann_accuracy(self) -> float | None:
        """Return the torch network's accuracy on the test images; None for a network that is spiking already."""
        if self.model is None:
            return None
        images = as_taken(self.model, self.test.images)
        return torch_accuracy(self.model, np.asarray(images, np.uint8), self.test.labels)

    def unrounded(self) -> Deployment:
        """Return the chip with 15-bit weights, which no hardware has: the spiking network before rounding."""
        chip = self.deployment
        layers = quantise(self.network, self.profile, weight_bits=None)
        return Deployment(chip.name, chip.profile, layers, chip.placement, chip.timesteps, chip.encoding, chip.readout)


def prepare(setup: Setup, progress: Progress) -> Prepared:
    """Load, train, convert and place a network.

    Raises:
        NeurofaultError: whatever the user must mend, in the order in which it is met; profile and arguments before any long work.
    """
    if setup.timesteps is not None and setup.timesteps < 1:
        raise UsageError(f"timesteps must be at least 1, is {setup.timesteps}")
    if setup.timesteps is not None and setup.timesteps > MAX_TIMESTEPS:
        raise UsageError(f"timesteps must be at most {MAX_TIMESTEPS}, is {setup.timesteps}")
    profile = load_profile(setup.profile)
    spec = recipe(setup.network) if ":" not in setup.network and not is_nir_file(setup.network) else None
    if setup.weights is not None and ":" not in setup.network:
        raise UsageError(
            f"--weights goes with a network of your own (package.module:factory), not with {setup.network!r}"
            + (" of the zoo" if spec is not None else "")
        )
    data = load(setup.data or (spec or recipe(DEFAULT_NETWORK)).dataset, data_dir=setup.data_dir)
    test = data.test if setup.samples is None else data.test.first(setup.samples)
    grain = setup.neurons_per_core
    if grain is None and spec is not None:
        grain = spec.neurons_per_core

    def place(network: SpikingNetwork) -> Deployment:
        return deploy(
            network, profile, weight_bits=setup.weight_bits, strategy=setup.place, neurons_per_core=grain,
            spare_cores=setup.spare_cores, chips=setup.chips, seed=setup.place_seed,
        )  # fmt: skip

    if spec is None:
        spiking = load_network(
            setup.network, sample_shape=data.shape, timesteps=setup.timesteps, weights=setup.weights, dt=setup.dt
        )
        if spiking is not None:
            return Prepared(setup, profile, None, data, test, spiking, None, place(spiking))
        model = user_module(setup.network, setup.weights)
        timesteps = setup.timesteps or _USER_TIMESTEPS
    else:
        model, _ = trained(setup.network, data_dir=setup.data_dir, progress=lambda *at: progress("training", *at))
        timesteps = setup.timesteps or spec.timesteps
    as_taken(model, data.test.images[:2])
    calibration = choose(
        model, data, place, timesteps=timesteps, name=setup.network, progress=lambda *at: progress("calibrating", *at)
    )
    return Prepared(setup, profile, model, data, test, calibration.network, calibration, place(calibration.network))
