"""From names on a command line or in a YAML file to a healthy chip: network, data, conversion, placement."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurofault.convert.asked import CALIBRATION_IMAGES, Calibrate, check_calibrate
from neurofault.convert.networks import is_network_file, is_nir_file, load_network, own_words, read_as, refuse_other_files
from neurofault.damage.damage import Damage
from neurofault.data.binning import Binning
from neurofault.data.datasets import load
from neurofault.data.scaling import Scaling, in_levels
from neurofault.data.splits import DataSet, Split, said
from neurofault.deploy.anneal_words import anneal_words
from neurofault.deploy.bound import wraps
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.deploy.protection import Protection
from neurofault.deploy.quantise import quantise
from neurofault.digest import digest_of
from neurofault.engines import run
from neurofault.errors import NeurofaultWarning, UsageError
from neurofault.graph import Network
from neurofault.graph.network import SampleReset, check_reset, horizon
from neurofault.graph.readout import readout_words
from neurofault.metrics import ACCURACY, Metric, metric_of, metric_of_targets
from neurofault.progress import Progress
from neurofault.study.chain_identity import network_record
from neurofault.study.conversions import Calibration, say_if_it_fails
from neurofault.study.converting import OwnModule, TorchNetwork, check_labels, converted, module_accuracy
from neurofault.study.found_cores import on_found_cores
from neurofault.study.hardened import placing, zoo_network
from neurofault.study.shown import shown, why_not
from neurofault.study.targets import check_outputs, error_of
from neurofault.zoo import any_recipe
from neurofault.zoo.events import EventRecipe
from neurofault.zoo.hardening import named

if TYPE_CHECKING:
    from torch import nn


DEFAULT_NETWORK = "digits-mlp"
_USER_TIMESTEPS = 32
_HEALTH_IMAGES = 100
"""Training images on which the healthy chip of a torch network is looked at."""
MAX_TIMESTEPS = 4096
"""Most steps that a sample is shown."""


@dataclass(frozen=True)
class Setup:
    """What to run, by name.

    Attributes:
        network: zoo name (with what it is trained for, :mod:`neurofault.zoo.hardening`), ``package.module:factory`` of a torch or snnTorch module or a :class:`neurofault.Network`,
            a NIR file (``*.nir``) or a netx file (``*.net``).
        profile: bundled name or YAML file.
        weights: state dict of a user's module.
        data: data set: a name, or one's own (:func:`neurofault.data.datasets.load`); None: the zoo network's own (digits for a user's module).
        data_dir: folder of published data files.
        samples: how many test images; None: all.
        timesteps: T; None: the network's own (32 for a user's module), of a zoo network of events that of the recordings.
        dt: time step of a NIR file that does not say it.
        weight_bits: stored bits a weight; None: the most that the profile stores.
        place: ``pack``, ``spread``, ``random``, or ``anneal[:DAMAGE[:CORES]]``: :func:`neurofault.deploy.anneal_words.anneal_words`.
        neurons_per_core: None: the zoo network's own grain (as many as fit for a user's module).
        spare_cores: kept free, as :func:`neurofault.deploy.spares.spares_of` takes it.
        chips: None: the fewest that fit.
        place_seed: of ``random`` placement and of the search.
        learns: the chip is to learn, which counts in the choice of its conversion; see :func:`neurofault.study.calibrate.choose`.
        signed: how negative values are shown: ``bias`` or ``lines``; see :class:`neurofault.data.scaling.Scaling`.
        binning: how recordings become spikes of steps, over what their data set proposes; None: as it proposes.
        reset: ``sample``, or ``never``: the samples are one stream; None: the network's own (``sample`` for what is converted). Conversions
            are compared on samples that start anew.
        calibrate: which conversions of a torch network are compared: ``usual``, ``settled`` or ``subtract``; see :func:`neurofault.study.calibrate.choose`.
        nir_reset: what a spike does to the potential in a NIR file that does not say it (:data:`neurofault.convert.nir_neurons.NirReset`).
        metric: what is measured (:mod:`neurofault.metrics`); None: what goes with the labels.
        adapt: training samples that something learns from or waits with; recordings beyond these and the calibration's are not read. None: all.
        validates: whether anything is measured on validation samples; else recordings of them are not read.
        readout: how a network of spiking neurons answers, as :func:`neurofault.graph.readout.readout_words` takes it; None: the network's own.
    """

    network: str = DEFAULT_NETWORK
    profile: str = "loihi2"
    weights: Path | None = None
    data: str | None = None
    data_dir: Path | None = None
    samples: int | None = None
    timesteps: int | None = None
    dt: float | None = None
    weight_bits: int | None = None
    place: str = "pack"
    neurons_per_core: int | None = None
    spare_cores: int | str = 0
    chips: int | None = None
    place_seed: int = 0
    learns: bool = False
    signed: str = "bias"
    binning: Binning | None = None
    reset: SampleReset | None = None
    calibrate: Calibrate = "usual"
    nir_reset: str | None = None
    metric: str | None = None
    readout: str | None = None
    adapt: int | None = None
    validates: bool = True

    @property
    def most(self) -> dict[str, int]:
        """Role → how many recordings of it are needed; roles that are needed whole are left out."""
        found = {"test": self.samples, "train": None if self.adapt is None else max(self.adapt, CALIBRATION_IMAGES)}
        found |= {} if self.validates or anneal_words(self.place) else {"validation": 1}
        return {role: max(1, number) for role, number in found.items() if number is not None}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A healthy chip and where it came from.

    Attributes:
        setup: as asked for.
        profile: the chip's profile.
        source: the torch network; None for a network that is spiking already.
        data: its data set, real values as levels.
        test: the test samples that results are reported on, likewise.
        network: the spiking network before rounding.
        calibration: the conversions that it was chosen from; None for a network that is spiking already.
        deployment: the healthy chip.
        notes: what was assumed of a file that was read, and what is suspect about the healthy chip (:mod:`neurofault.engines.health`).
        scaling: how real values became levels; None: they are uint8 or events, or the network takes them in [0, 1].
        original: the test samples as they were given; None for a network that is spiking already.
        metric: what is measured.
        bare: the healthy chip without protection, where :attr:`deployment` is a protected one.
        keeps: whether :meth:`ann_accuracy` is kept (:mod:`neurofault.study.kept`).
    """

    setup: Setup
    profile: HardwareProfile
    source: TorchNetwork | None
    data: DataSet
    test: Split
    network: Network
    calibration: Calibration | None
    deployment: Deployment
    notes: tuple[str, ...] = ()
    scaling: Scaling | None = None
    original: Split | None = None
    metric: Metric = ACCURACY
    bare: Deployment | None = None
    keeps: bool = False

    @property
    def model(self) -> nn.Module | None:
        """The torch network, loaded now if it was not; None for a network that is spiking already."""
        return None if self.source is None else self.source.model

    @property
    def weights(self) -> str:
        """16 hexadecimal digits by which the trained network is known: results of other digits are those of another network.

        Of a torch module :func:`neurofault.zoo.weights_digest`; of a network that is spiking already, of its populations and connections.
        """
        if self.source is not None:
            return self.source.digest
        written = is_nir_file(self.setup.network) and not self.network.notes  # of other files something is always assumed
        return digest_of(network_record(self.network, written=written))[:16]

    def levels_model(self) -> nn.Module | None:
        """Return the torch network as it sees :attr:`data`: behind what turns levels into values, where that is anything."""
        model = self.model
        if model is None or self.scaling is None:
            return model
        from neurofault.convert.scaled import ShownLevels

        return ShownLevels(model, self.scaling)

    def ann_accuracy(self) -> float | None:
        """Return what the torch network reaches, by the metric, on the test samples as they were given; None for a network that is spiking already."""
        if self.source is None or self.original is None:
            return None
        return module_accuracy(self.source, self.original, self.metric, kept=self.keeps)

    def metric_on(self, chip: Deployment) -> Metric:
        """Return what is measured, on another chip of the same network: a squared error knows the unit of the chip's scores."""
        if not self.metric.lower:
            return self.metric
        return error_of(self.network, chip, self.data, rates=self.model is not None)

    def unrounded(self) -> Deployment:
        """Return the chip with 15-bit weights, which no hardware has: the spiking network before rounding."""
        chip = self.bare or self.deployment
        populations, connections = quantise(self.network, self.profile, rounded=False)
        return replace(chip, populations=populations, connections=connections, damage=Damage(), protection=Protection())


def prepare(
    setup: Setup,
    progress: Progress,
    *,
    accuracy_for: str | None = None,
    one_label_for: str | None = None,
) -> Prepared:
    """Load, train, convert and place a network.

    Args:
        setup: what to run, by name.
        progress: called as work goes on.
        accuracy_for: what it is for, where that measures no top-K accuracy; None: it is taken, too.
        one_label_for: what it is for, where that takes one label, or the targets of one answer, a sample; None: those of every step are taken, too.

    Warns:
        NeurofaultWarning: each of the notes.

    Raises:
        NeurofaultError: whatever the user must mend, in the order in which it is met; profile and arguments before any long work.
    """
    if setup.timesteps is not None and setup.timesteps < 1:
        raise UsageError(f"timesteps must be at least 1, is {setup.timesteps}")
    if setup.timesteps is not None and setup.timesteps > MAX_TIMESTEPS:
        raise UsageError(f"timesteps must be at most {MAX_TIMESTEPS}, is {setup.timesteps}")
    check_reset(setup.reset)
    check_calibrate(setup.calibrate)
    asked = None if setup.readout is None else readout_words(setup.readout)
    profile = load_profile(setup.profile)
    setup = replace(setup, weight_bits=setup.weight_bits or max(profile.synapse.weight_bits.known))
    refuse_other_files(named(setup.network)[0])
    elsewhere = ":" in setup.network or is_network_file(setup.network)
    zoo = None if elsewhere else zoo_network(setup.network, own_words(setup.network))
    spec = None if zoo is None else zoo.recipe
    if setup.weights is not None and ":" not in setup.network:
        raise UsageError(
            f"--weights goes with a network of your own (package.module:factory), not with {setup.network!r}"
            + (" of the zoo" if spec is not None else "")
        )
    data = load(
        setup.data or (spec or any_recipe(DEFAULT_NETWORK)).dataset, data_dir=setup.data_dir, binning=setup.binning, most=setup.most
    )
    original = _reported(setup, data)
    if original.targets is not None:
        metric = metric_of_targets(original.targets, setup.metric, data.name)  # until there is a chip, whose scores have a unit
    else:
        metric = metric_of(original.labels, len(data.classes), setup.metric, data.name)
    if metric.k > 1 and accuracy_for is not None:
        raise UsageError(
            f"metric {metric.name}: {accuracy_for} measures accuracy; what measures others: inject, campaigns that heal nothing"
        )
    if metric.of_steps and one_label_for is not None:
        given = f"targets of {original.expected.shape[1]} steps" if metric.lower else f"{original.labels.shape[1]} labels a sample"
        each = "those of one answer" if metric.lower else "one"
        raise UsageError(
            f"data {data.name} has {given}; {one_label_for} takes {each}. What takes {'targets' if metric.lower else 'a label'} of every step: inject, atlas, map, "
            "convert --check, and what learns nothing: campaigns and rescue --strategy none,remap"
            + (
                ""
                if metric.lower
                else "; cut into windows it has one label each (neurofault.data.windows.in_windows; ecg-qtdb-windows)"
            )
        )
    place = placing(
        spec, profile, weight_bits=setup.weight_bits, strategy=setup.place, neurons_per_core=setup.neurons_per_core,
        spare_cores=setup.spare_cores, chips=setup.chips, seed=setup.place_seed,
    )  # fmt: skip

    found: Network | TorchNetwork
    own = None
    if zoo is None:
        loaded = load_network(
            setup.network, sample_shape=data.shape, timesteps=setup.timesteps, weights=setup.weights, dt=setup.dt,
            events=data.timesteps, nir_reset=setup.nir_reset, readout=asked,
        )  # fmt: skip
        found = loaded if isinstance(loaded, Network) else OwnModule(loaded)
        timesteps = setup.timesteps or _USER_TIMESTEPS
    else:
        recorded = data.timesteps if isinstance(spec, EventRecipe) else None
        timesteps = setup.timesteps or recorded or zoo.recipe.timesteps
        own = (
            data if data.name == zoo.recipe.dataset and not isinstance(spec, EventRecipe) else None
        )  # of events only those that are needed are read
        of_zoo = zoo.trained(place, data_dir=setup.data_dir, progress=progress, data=own)
        found = of_zoo.spiking(timesteps) if isinstance(spec, EventRecipe) else of_zoo
    if isinstance(found, Network):
        found = read_as(found, asked)
        if setup.calibrate != "usual":
            raise UsageError(f"calibrate {setup.calibrate} is of torch networks; {setup.network!r} is spiking already")
        found = _kept_going(found, setup)
        encoded = _as_taken_by(found, data)
        chip = on_found_cores(place(found), encoded, setup.place, seed=setup.place_seed, progress=progress)
        made = Prepared(setup, profile, None, encoded, _reported(setup, encoded), found, None, chip, metric=metric)
        if original.targets is not None:
            check_outputs(data, chip.output.size, setup.network, chip.timesteps)
            made = replace(made, metric=error_of(found, chip, data, rates=False))
        return _noted(made)
    if asked is not None:
        raise UsageError(
            f"readout {setup.readout}: network {setup.network!r} is a torch module without spiking neurons, whose chip is read by the potential after the last "
            "step; readouts are of snnTorch, NIR and netx networks and of neurofault.Network"
        )
    if metric.of_steps:
        raise UsageError(
            f"data {data.name} has {'targets' if metric.lower else 'a label'} of each of {original.expected.shape[1]} steps, but network {setup.network!r} is a torch module without spiking "
            "neurons, which answers once for a sample; a network of spiking neurons answers in every step: snnTorch, NIR or neurofault.Network"
        )
    if data.timesteps is not None:
        raise UsageError(
            f"network {setup.network!r} is a torch module without spiking neurons, which takes values, but data {data.name} holds events "
            f"({said(data.test.samples)}); give it values, or a network of spiking neurons: snnTorch, NIR or neurofault.Network"
        )
    placed: list[object] = [
        profile.model_dump(mode="json"), setup.weight_bits, setup.place, setup.neurons_per_core, setup.spare_cores, setup.chips, setup.place_seed,
    ]  # fmt: skip
    done = converted(
        found, data, place, timesteps=timesteps, name=setup.network, learns=setup.learns, calibrate=setup.calibrate, signed=setup.signed,
        placed=None if own is None else placed, as_made=setup.weights is None, progress=progress,
    )  # fmt: skip
    encoded = done.data
    network = _kept_going(done.calibration.network, setup)
    chip = on_found_cores(place(network), encoded, setup.place, seed=setup.place_seed, progress=progress)
    made = Prepared(setup, profile, found, encoded, _reported(setup, encoded), network, done.calibration, chip, metric=metric)
    if original.targets is not None:
        made = replace(made, metric=error_of(network, made.deployment, data, rates=True))
    return _noted(replace(made, scaling=done.scaling, original=original, keeps=own is not None))


def _kept_going(network: Network, setup: Setup) -> Network:
    """Return a network that is reset as asked for."""
    return network if setup.reset in (None, network.reset) else network.with_reset(setup.reset)


def _reported(setup: Setup, data: DataSet) -> Split:
    """Return the test samples that are reported on."""
    return data.test if setup.samples is None else data.test.first(setup.samples)


def _as_taken_by(network: Network, data: DataSet) -> DataSet:
    """Return a data set as a network takes it that is spiking already: real values, of which it knows [0, 1] alone, in levels.

    Raises:
        UsageError: values beyond them.
    """
    if data.timesteps is not None or network.encoding is None or data.train.images.dtype == np.uint8:
        return data
    for split in (data.train, data.validation, data.test):
        low, high = float(split.images.min()), float(split.images.max())
        if low < 0 or high > 1:
            raise UsageError(
                f"{split.name} lies in [{low:.4g}, {high:.4g}], but network {network.name!r} is spiking already and takes values in [0, 1]; scale the data by what "
                "the network was trained on"
            )
    return in_levels(data, Scaling(0.0, 1.0, "bias", 0.0))


def _noted(prepared: Prepared) -> Prepared:
    """Look at the healthy chip on training samples, and say what is worth a word."""
    chip, data = prepared.deployment, prepared.data
    notes = [*data.notes, *prepared.network.notes]
    takes = why_not(chip, data.train) is None
    if takes and prepared.calibration is None:
        check_labels(data, chip.output.size, chip.name)
    if takes and (data.timesteps is not None or chip.population(chip.inputs[0]).size == math.prod(data.shape)):
        part = data.train.first(min(len(data.train), CALIBRATION_IMAGES if prepared.calibration is None else _HEALTH_IMAGES))
        result = run(chip, shown(chip, part), part.labels)
        notes += result.notes
        if prepared.calibration is None and part.targets is None:
            answers = result.activity.predictions if result.activity.answers is None else result.activity.answers
            say_if_it_fails(answers, part.labels, prepared.setup.network, part.samples)
    for note in notes:
        warnings.warn(note, NeurofaultWarning, stacklevel=3)
    wrapped = (str(wrap) for wrap in wraps(chip.populations, chip.connections, horizon(chip)))  # by deploy
    return replace(prepared, notes=(*notes, *wrapped))
