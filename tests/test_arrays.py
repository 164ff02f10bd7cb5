"""What people hand over as numbers: arrays and tensors of any type mean the same, everything else is refused by its name."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import replace

import numpy as np
import pytest
import torch
from chips import chip, dense, population
from numpy.typing import NDArray

import neurofault as nf
from neurofault.arrays import as_labels, dtype_of_hint
from neurofault.errors import ConversionError, NeurofaultError, UsageError
from neurofault.graph import CubaLif, Dense, Encoding, Population, Source, chain

STEPS = 5
EVENTS = np.random.default_rng(0).random((4, STEPS, 6)) < 0.4
IMAGES = np.random.default_rng(1).random((4, 6))
LABELS = np.array([0, 2, 1, 1])


def deployment(encoding=None):
    rng = np.random.default_rng(0)
    made = chip([population("input", (6,)), population("output", (3,), dense(rng, 3, 6))], STEPS)
    return made.with_population(replace(made.population("input"), encoding=encoding))


@pytest.mark.parametrize(
    "given",
    [
        EVENTS.astype(np.uint8), EVENTS.astype(np.int64), EVENTS.astype(np.float32), EVENTS.tolist(), torch.from_numpy(EVENTS),
        torch.from_numpy(EVENTS).float(), torch.from_numpy(EVENTS).bfloat16(), torch.from_numpy(EVENTS).half(), torch.from_numpy(EVENTS).long(),
    ],
)  # fmt: skip
def test_events_of_any_type_are_the_same_spikes(given):
    expected = nf.run(deployment(), nf.Inputs(events=EVENTS)).activity.scores
    np.testing.assert_array_equal(nf.run(deployment(), nf.Inputs(events=given)).activity.scores, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Inputs takes either bias or events"),
        ({"bias": np.zeros((1, 6), np.int32), "events": EVENTS}, "Inputs takes either bias or events"),
        ({"events": EVENTS * 2}, "events: values lie in 0 … 2; a line spikes or not in a step: 0 or 1. Of counts, pass events > 0"),
        ({"events": EVENTS - 1.0}, "events: values lie in -1 … 0; a line"),
        ({"events": EVENTS * 0.5}, "events: values lie in 0 … 0.5; a line"),
        (
            {"events": np.where(EVENTS, np.nan, 0.0)},
            "events: 41 of 120 values are not finite (the first: nan at [0, 0, 1]); a line",
        ),
        (
            {"events": torch.full((1, STEPS, 6), float("inf"))},
            "events: 30 of 30 values are not finite (the first: inf at [0, 0, 0])",
        ),
        ({"events": np.full((1, 5, 6), "spike")}, "events: an array or a tensor of numbers is taken, not <U5 (ndarray)"),
        ({"events": [[1, 0], [1]]}, "events: a list is no array of numbers ("),
        ({"events": 1}, "events: an array [N, …] is taken, not a single number"),
        ({"bias": np.ones((1, 6))}, "bias holds the integers of the chip, not float64; Deployment.encode makes them of images"),
        ({"bias": np.full((1, 6), 2**40)}, "bias lies in 1099511627776 … 1099511627776; allowed: 32-bit integers"),
    ],
)
def test_inputs_that_are_no_spikes_or_no_currents_are_refused(arguments, message):
    with pytest.raises(NeurofaultError, match="^" + re.escape(message)):
        nf.Inputs(**arguments)


@pytest.mark.parametrize(
    "given",
    [
        torch.from_numpy(IMAGES),
        torch.from_numpy(IMAGES).float(),
        IMAGES.tolist(),
        torch.from_numpy(np.rint(IMAGES * 255).astype(np.uint8)),
    ],
)
@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.astype(np.uint8), LABELS.astype(float), LABELS.tolist(), torch.from_numpy(LABELS)]
)
def test_images_and_labels_of_any_type_mean_the_same(given, labels):
    pixels = deployment(Encoding.for_pixels(1.0, 0.5, STEPS))
    expected = nf.run(pixels, IMAGES, LABELS)
    result = nf.run(pixels, given, labels)
    assert result.correct == expected.correct
    np.testing.assert_array_equal(result.activity.scores, expected.activity.scores)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.where(IMAGES > 0.9, np.nan, IMAGES), LABELS, "images: "),
        (torch.full((4, 6), float("inf")), LABELS, "images: 24 of 24 values are not finite (the first: inf at [0, 0])"),
        (IMAGES - 0.5, LABELS, "float images must lie in [0, 1], not ["),
        (torch.ones(4, 6).long(), LABELS, "images must be uint8 or float in [0, 1], not int64"),
        ("images", LABELS, "images: an array or a tensor of numbers is taken, not "),
        (IMAGES, LABELS + 0.5, "labels must be whole numbers: float64 with fractions was given"),
        (
            IMAGES,
            torch.tensor([0, 1, float("nan"), 1]),
            "labels must be whole numbers: 1 of 4 values are not finite (the first: nan at [2])",
        ),
        (IMAGES, ["a", "b", "a", "b"], "labels: an array or a tensor of numbers is taken, not <U1 (list)"),
        (IMAGES, LABELS + 1, "labels lie in 1 … 3; allowed: 0 to 2, −1 for unknown"),
        (IMAGES, np.eye(3)[LABELS], "labels have the shape (4, 3), but there are 4 samples"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "rescue"])
def test_images_and_labels_that_mean_nothing_are_refused_alike_by_run_and_rescue(images, labels, message, verb):
    pixels = replace(deployment(Encoding.for_pixels(1.0, 0.5, STEPS)), profile=nf.load_profile("loihi2"))
    with pytest.raises(NeurofaultError, match="^" + re.escape(message)) as error:
        nf.run(pixels, images, labels) if verb == "run" else nf.rescue(pixels, images, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("verb", ["run", "rescue"])
@pytest.mark.parametrize(
    ("labels", "how"),
    [
        (np.eye(3)[LABELS], "; one 1 in each row, so these are one-hot: labels.argmax(axis=1) makes classes of them"),
        (["a", "b", "a", "b"], "; labels are whole numbers from 0: names, labels = numpy.unique(labels, return_inverse=True) makes them of names"),
    ],
)  # fmt: skip
def test_labels_that_are_one_hot_or_names_say_how_they_become_classes(labels, how, verb):
    pixels = replace(deployment(Encoding.for_pixels(1.0, 0.5, STEPS)), profile=nf.load_profile("loihi2"))
    with pytest.raises(NeurofaultError) as error:
        nf.run(pixels, IMAGES, labels) if verb == "run" else nf.rescue(pixels, IMAGES, labels)
    assert str(error.value).endswith(how)


@pytest.mark.parametrize("field", ["weight", "threshold", "bias"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_network_with_numbers_that_are_not_finite_is_refused_by_its_layer(field, value):
    weight, fields = np.ones((3, 6)), {"threshold": np.ones(3), "bias": np.zeros(3)}
    (weight if field == "weight" else fields[field]).flat[1] = value
    populations = (Population("input", (6,), Source()), Population("output", (3,), CubaLif(**fields)))
    at = "0, 1" if field == "weight" else "1"
    named = "connection 'output' ('input' → 'output')" if field == "weight" else "population 'output'"
    message = f"{named}: {field}: 1 of {18 if field == 'weight' else 3} values are not finite (the first: {value:g} at [{at}])"
    with pytest.raises(ConversionError, match="^" + re.escape(message)):
        chain("mine", populations, [Dense(weight)], timesteps=STEPS, how="count")


def test_labels_beyond_64_bits_are_said():
    for wrong in (np.array([1.0, 1e30]), np.array([2**63], np.uint64)):
        with pytest.raises(UsageError, match="labels must be whole numbers of 64 bits, and the largest is "):
            as_labels(wrong)
    assert as_labels(np.array([3.0, -1.0])).tolist() == [3, -1]


@pytest.mark.parametrize("held", [np.int32, np.int64, np.bool_])
def test_a_hint_of_an_array_is_known_whether_it_is_another_name_or_a_type_of_its_own(held):
    """From NumPy 2.5 on ``NDArray`` is a type of its own: saved chips and plans with damage were refused there."""
    own = types.GenericAlias(NDArray, (held,))
    assert typing.get_origin(own) is NDArray
    assert dtype_of_hint(own) == dtype_of_hint(NDArray[held]) == np.dtype(held)
    assert dtype_of_hint(np.ndarray[typing.Any, np.dtype[held]]) == np.dtype(held)
    assert dtype_of_hint(int) is dtype_of_hint(dict[str, int]) is dtype_of_hint(own | None) is None
