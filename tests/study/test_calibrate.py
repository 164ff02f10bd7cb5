"""`nf.from_torch` chooses as the command line does, and says what the conversion costs."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import neurofault as nf
from neurofault.convert.asked import Candidate
from neurofault.convert.torch_model import SMOOTH, candidates, scores_of
from neurofault.data.datasets import load
from neurofault.errors import ConversionError, NeurofaultWarning, UsageError
from neurofault.graph.neurons import NO_MEMORY
from neurofault.study.calibrate import choose
from neurofault.zoo import RateCurve


def body(rates):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), RateCurve(0.25, 0.5) if rates else nn.ReLU(), nn.Linear(24, 10)).eval()


@pytest.fixture(scope="module", params=[True, False], ids=["rates", "relu"])
def trained(request):
    """A small network of digits, trained in a second, and the data; one with rate curves has 5 candidates, one with ReLU 30."""
    torch.manual_seed(0)
    data = load("digits")
    x, y = torch.from_numpy(np.array(data.train.images)).float().flatten(1) / 255, torch.from_numpy(np.array(data.train.labels))
    model = body(request.param)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model, data


def test_the_best_candidate_on_the_calibration_images_is_chosen_and_the_gap_said(trained):
    model, data = trained
    part = data.train.first(150)
    network = nf.from_torch(model, part.images, labels=torch.from_numpy(np.array(part.labels)), timesteps=12)
    each = [
        nf.run(nf.deploy(nf.from_torch(model, part.images, timesteps=12, candidate=candidate)), part.images, part.labels).accuracy
        for candidate in candidates(model)
    ]
    own = float(np.mean(scores_of(model, part.images).argmax(1) == part.labels))
    assert max(each) > min(each)
    gap = network.gap
    assert gap is not None
    assert (gap.samples, gap.original, gap.chip, gap.labelled) == (150, own, max(each), True)
    assert gap.points == pytest.approx(100 * (own - max(each)))
    assert nf.run(nf.deploy(network), part.images, part.labels).accuracy == max(each)
    assert network.with_timesteps(20).gap is None


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_without_labels_agreement_with_the_module_counts(trained):
    model, data = trained
    images = data.train.images[:100]
    network = nf.from_torch(model, images.reshape(100, -1), timesteps=12)
    answers = scores_of(model, images).argmax(1)
    assert network.gap is not None
    assert (network.gap.original, network.gap.labelled) == (1.0, False)
    assert network.gap.chip == nf.run(nf.deploy(network), images, answers).accuracy


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_the_command_line_and_from_torch_choose_the_same_from_the_same_images(trained):
    model, data = trained
    one = choose(model, data, nf.deploy, timesteps=12, name="x")
    assert max(trial.accuracy for trial in one.trials) == pytest.approx(
        nf.run(nf.deploy(one.network), data.validation.images, data.validation.labels).accuracy
    )


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_a_candidate_that_is_given_is_taken_unmeasured(trained):
    model, data = trained
    network = nf.from_torch(model, data.train.images[:50], candidate=Candidate(0.5, 0.3, 0.5))
    assert network.gap is None
    assert network.encoding.full_rate == 0.5


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_a_network_that_fails_by_itself_is_said(trained):
    model, data = trained
    part = data.train.first(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nf.from_torch(model, part.images, labels=part.labels, timesteps=4)
    normalised = body(rates=True)
    normalised.load_state_dict(model.state_dict())
    with torch.no_grad():  # as if trained on (x - 0.3) / 0.05
        normalised[1].bias.add_(normalised[1].weight.sum(1) * 0.3 / 0.05)
        normalised[1].weight.div_(20)
    with pytest.warns(
        NeurofaultWarning,
        match=r"itself classifies \d.* of 100 calibration images \(chance: 1.*%\): is it untrained, or was it trained on",
    ):
        nf.from_torch(normalised, part.images, labels=part.labels, timesteps=4)


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_labels_that_do_not_fit_are_refused(trained):
    model, data = trained
    with pytest.raises(UsageError, match=r"^labels have the shape \(9,\), but there are 10 calibration images$"):
        nf.from_torch(model, data.train.images[:10], labels=data.train.labels[:9])


@pytest.mark.parametrize("trained", [False], indirect=True)
def test_settled_conversions_are_measured_by_agreement_and_never_see_a_label(trained):
    model, data = trained
    few = data.validation.first(60)
    wrong = replace(
        data, validation=replace(few, labels=(few.labels + 1) % 10), train=replace(data.train, labels=(data.train.labels + 1) % 10)
    )
    one, other = (
        choose(model, each, nf.deploy, timesteps=8, name="x", calibrate="settled")
        for each in (replace(data, validation=few), wrong)
    )
    assert one.trials == other.trials
    assert {(trial.candidate.settled, trial.candidate.du) for trial in one.trials} == {(True, NO_MEMORY), (True, SMOOTH)}
    answers = scores_of(model, few.images).argmax(1)
    assert max(trial.accuracy for trial in one.trials) == nf.run(nf.deploy(one.network), few.images, answers).accuracy


def test_the_usual_candidates_are_those_of_before():
    chain = candidates(body(rates=False))
    assert len(chain) == 30
    assert not any(one.settled for one in chain)
    assert {one.du for one in chain} == {NO_MEMORY}
    assert candidates(body(rates=True), "settled") == candidates(body(rates=True))


@pytest.mark.parametrize("trained", [False], indirect=True)
def test_subtraction_is_chosen_by_agreement(trained):
    model, data = trained
    images = data.train.images[:60]
    network = nf.from_torch(model, images, timesteps=8, calibrate="subtract")
    assert [one.neuron.reset for one in network.populations] == ["subtract", "subtract", "zero"]
    assert {(one.settled, one.peak_rate, one.full_rate, one.reset) for one in candidates(model, "subtract")} == {
        (settled, peak, 1.0, "subtract") for settled in (True, False) for peak in (1.0, 0.8)
    }
    assert network.gap is not None
    assert network.gap.chip == nf.run(nf.deploy(network), images, scores_of(model, images).argmax(1)).accuracy


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_subtraction_is_not_for_rate_curves(trained):
    with pytest.raises(ConversionError) as error:
        nf.from_torch(trained[0], trained[1].train.images[:10], calibrate="subtract")
    assert str(error.value) == (
        "calibrate subtract is of ReLU networks; this one has RateCurve activations, the curve of neurons that reset to zero: usual or settled"
    )


@pytest.mark.parametrize("trained", [True], indirect=True)
def test_an_unknown_way_is_refused(trained):
    model, data = trained
    with pytest.raises(UsageError, match=r"^calibrate is usual, settled or subtract, not 'setled' \(did you mean 'settled'\?\)$"):
        nf.from_torch(model, data.train.images[:10], calibrate="setled")
