"""Choose, on images that are not reported on, among the candidates that the conversion proposes; say what the conversion costs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from neurofault.arrays import as_array, as_labels, one_hot_hint
from neurofault.convert.asked import CALIBRATION_IMAGES, Calibrate, Candidate, check_calibrate
from neurofault.convert.samples import images_of
from neurofault.convert.scaled import ShownLevels
from neurofault.convert.torch_model import as_taken, candidates, proposals, scores_of
from neurofault.data.scaling import Scaling
from neurofault.data.splits import DataSet
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.engines import run
from neurofault.errors import NeurofaultWarning, UnsupportedError, UsageError
from neurofault.graph import Network
from neurofault.graph.network import ConversionGap
from neurofault.numerals import plural
from neurofault.progress import Asked, Progress, listening
from neurofault.rescue.learners.errors import usual_gain
from neurofault.rescue.learners.gain import first_stable
from neurofault.study.conversions import Calibration, Trial, say_if_it_fails
from neurofault.study.targets import error_of, explained_share

STABLE_WITHIN = 0.003
"""Accuracy that a chip which is to learn may give up for a conversion on which the usual steps of learning are stable."""

_SCREEN = 500
_FINALISTS = 4
_FINAL_WORK = 4_000_000_000
"""Images are taken in the final comparison up to this many neuron · steps · images (all 5,000 for an MLP)."""


def choose(
    model: nn.Module,
    data: DataSet,
    place: Callable[[Network], Deployment],
    *,
    timesteps: int,
    name: str,
    learns: bool = False,
    calibrate: Calibrate = "usual",
    progress: Progress | None = None,
) -> Calibration:
    """Convert a model with every candidate, run each on the chip, and keep the most accurate.

    All candidates are screened on the first validation images, the best few compared on more; ties go to the earlier candidate. Test
    images are never seen.

    Args:
        model: torch module.
        data: its data set; thresholds come from the training split, the choice from the validation split.
        place: how a network is deployed (profile, width, placement).
        timesteps: T.
        name: for display.
        learns: the chip is to learn: of the best few, those within :data:`STABLE_WITHIN` of the best are taken in order until the gain of
            the usual steps (:mod:`neurofault.rescue.learners.gain`) is small enough on one; where it is on none, that of the smallest gain.
        calibrate: ``usual``, or ``settled`` and ``subtract``: other candidates (:func:`neurofault.convert.torch_model.candidates`), and what is measured is how
            often the chip answers as the model does, which tells candidates apart on fewer images than its accuracy.
        progress: called as ``progress("calibrating", done, total, text)`` after each candidate.
    """
    tried = candidates(model, calibrate)
    networks = list(proposals(model, data.train.images[:CALIBRATION_IMAGES], tried, timesteps=timesteps, name=name))
    seen, labels = data.train.images[:CALIBRATION_IMAGES], data.train.labels[:CALIBRATION_IMAGES].astype(np.int64)

    def gain(chip: Deployment) -> float:
        try:
            return usual_gain(chip, chip.encode(seen), labels)
        except UnsupportedError:
            return 0.0  # its readout takes no steps, whatever its learner

    shown, truth = data.validation.images, data.validation.labels
    targets = data.validation.targets
    if calibrate != "usual":
        answers = scores_of(model, as_taken(model, shown))
        truth = answers.argmax(axis=1)
        targets = None if targets is None else answers
    if targets is None:
        return _best(networks, tried, shown, truth, place, progress, gain if learns else None)
    wanted = targets

    def explained(network: Network, chip: Deployment, samples: int) -> float:
        error = error_of(network, chip, data, rates=True)
        return explained_share(error.values(run(chip, shown[:samples]).activity), wanted[:samples])

    return _best(networks, tried, shown, truth, place, progress, None, explained)


def from_torch(
    model: nn.Module,
    calibration: NDArray[np.generic] | Tensor,
    *,
    labels: NDArray[np.integer] | Tensor | None = None,
    timesteps: int = 32,
    name: str = "network",
    candidate: Candidate | None = None,
    calibrate: Calibrate = "usual",
    profile: HardwareProfile | str | Path = "loihi2",
    scaling: Scaling | None = None,
    progress: Asked = None,
) -> Network:
    """Convert a feed-forward torch module, as the command line does: every candidate runs on the chip, and the best is kept.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> net = from_torch(model, np.eye(4, dtype=np.float32), timesteps=8, candidate=candidates(model)[0])
    >>> [(one.name, one.shape) for one in net.populations], net.timesteps
    ([('input', (4,)), ('hidden1', (3,)), ('output', (2,))], 8)

    What is taken, and what is checked: :func:`neurofault.convert.torch_model.from_torch`. Beside it stands the gap between the module and the chip, as
    ``network.gap``; it is measured on the images that the candidate was chosen on, so it is hopeful by what 30 candidates can gain by luck.

    Args:
        model: the module, in any floating type, on any device; evaluated, never changed.
        calibration: training images, array or tensor, uint8 [N, …] (shown to the model as x/255) or float in [0, 1]; with ``scaling`` real numbers of any
            range, as the model takes them; 500 to 1,000 are plenty.
        labels: of the calibration images, int [N]; None: the module's own answers, so that agreement with it is what counts.
        timesteps: T, steps a sample will be shown, at least 1.
        name: for display.
        candidate: peak rate, start potential and pixel rate; None: chosen. One that is given is taken as it is, and no gap is measured.
        calibrate: which are chosen from: ``usual``, ``settled``, which loses less and takes longer, or ``subtract``, whose neurons reset by subtraction
            (:func:`neurofault.convert.torch_model.candidates`).
        profile: the chip that the candidates are measured on, with one core a block as large as fits.
        scaling: how real values, negative ones too, are shown (:meth:`neurofault.data.scaling.Scaling.of` the training samples, as ``--signed`` of the command
            line); the network then takes ``scaling.levels(x)``. None: the model takes values in [0, 1].
        progress: True: a bar; False: nothing; None: a bar in a notebook or at a prompt; or called as ``progress("calibrating", done, total, text)``.

    Raises:
        ConversionError: a layer cannot become spiking, the samples do not fit the model, or the stages do not give what its forward gives.
        UsageError: labels that do not fit the images; an unknown way.
    """
    images = images_of(calibration if scaling is None else scaling.levels(calibration))
    if scaling is not None:
        model = ShownLevels(model, scaling)
    check_calibrate(calibrate)
    tried = candidates(model, calibrate) if candidate is None else [candidate]
    networks = list(proposals(model, images, tried, timesteps=timesteps, name=name))
    if candidate is not None:
        return networks[0]
    answers = scores_of(model, as_taken(model, images)).argmax(axis=1)
    if labels is not None:
        given = as_labels(labels)
        if given.shape != answers.shape:
            raise UsageError(
                f"labels have the shape {given.shape}, but there are {plural(len(images), 'calibration image')}{one_hot_hint(given)}"
            )
        say_if_it_fails(answers, given, name, images if scaling is None else as_array(calibration, "calibration"))
    truth = answers if labels is None else given
    with listening(progress) as say:
        best = _best(networks, tried, images, truth, lambda network: deploy(network, profile), say)
    last = best.trials[-1].samples
    reached = max(trial.accuracy for trial in best.trials if trial.samples == last)
    original = float(np.mean(answers[:last] == truth[:last]))
    return replace(best.network, gap=ConversionGap(last, original, reached, labelled=labels is not None))


def _best(
    networks: list[Network],
    tried: list[Candidate],
    images: NDArray[np.generic],
    labels: NDArray[np.integer],
    place: Callable[[Network], Deployment],
    progress: Progress | None,
    gain: Callable[[Deployment], float] | None = None,
    explained: Callable[[Network, Deployment, int], float] | None = None,
) -> Calibration:
    """Run every candidate's network on the first images and the best few on more; arguments as for :func:`choose`.

    ``gain`` measures the gain of the usual steps on a chip that is to learn; ``explained`` what the first of the images are answered with, where they have targets.
    """
    size = sum(population.size for population in networks[0].populations)
    final = min(len(labels), max(_SCREEN, _FINAL_WORK // (size * networks[0].timesteps)))
    screened = min(_SCREEN, len(labels))
    trials: list[Trial] = []
    total = len(tried) + (_FINALISTS if final > screened else 0)

    def placed(index: int) -> Deployment:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NeurofaultWarning)  # what deploy says is for the network that is chosen
            return place(networks[index])

    def measure(index: int, samples: int) -> Trial:
        chip = placed(index)
        if explained is None:
            accuracy = _accuracy(chip, images[:samples], labels[:samples])
        else:
            accuracy = explained(networks[index], chip, samples)
        trials.append(Trial(tried[index], accuracy, samples))
        if progress is not None:
            progress(
                "calibrating", len(trials), total, f"best {max(trial.accuracy for trial in trials if trial.samples == samples):.2%}"
            )
        return trials[-1]

    ranking = sorted(range(len(tried)), key=lambda index: -measure(index, screened).accuracy)
    if final > screened:
        ranking = sorted(sorted(ranking[:_FINALISTS]), key=lambda index: -measure(index, final).accuracy)
    if gain is not None:
        best = {
            index: next(trial.accuracy for trial in reversed(trials) if trial.candidate == tried[index])
            for index in ranking[:_FINALISTS]
        }
        near = [index for index in best if best[index] >= best[ranking[0]] - STABLE_WITHIN]
        ranking = [first_stable((index, gain(placed(index))) for index in near)]
    found = Calibration(networks[ranking[0]], tuple(trials), tried[ranking[0]])
    if not found.pooled:
        return found
    ways = ", ".join(f"{name} {accuracy:.2%}" for name, accuracy in found.pooled)
    note = f"max pooling is made of neurons by {found.pooled[0][0]!r}; at best, on {plural(trials[0].samples, 'image')}: {ways}"
    return replace(found, network=replace(found.network, notes=(*found.network.notes, note)))


def _accuracy(deployment: Deployment, images: NDArray[np.generic], labels: NDArray[np.integer]) -> float:
    result = run(deployment, images, labels)
    assert result.accuracy is not None
    return result.accuracy
