"""Real values as levels: what comes back, what is cut off, and a module that takes them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurofault as nf
from neurofault.errors import ConversionError, DataError, NeurofaultWarning, UsageError


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=40).filter(any), st.sampled_from(["bias", "lines"]))
@settings(deadline=None, max_examples=50)
def test_levels_stand_for_the_values_to_half_a_level(values, signed):
    x = np.array(values)[:, None]
    scaling = nf.Scaling.of(x, signed)
    levels = scaling.levels(x).astype(float) / 255 * scaling.unit
    back = levels + scaling.low if signed == "bias" else levels[:, 0] - levels[:, 1]
    assert np.abs(back - x).max() <= scaling.rounding * (1 + 1e-9)
    assert scaling.low <= 0 <= scaling.high


def test_what_lies_outside_is_cut_off_and_said():
    scaling = nf.Scaling.of(torch.tensor([[-1.0], [3.0]]))
    with pytest.warns(
        NeurofaultWarning, match=r"^50\.00% of the values lie outside -1 … 3, the training samples' range, and are cut off$"
    ):
        assert scaling.levels([[-2.0, 0.0], [5.0, 1.0]]).tolist() == [[0, 64], [255, 128]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaling.levels([[-1.0, 3.0]])


@pytest.mark.parametrize(
    ("values", "signed", "error", "message"),
    [
        ([[0.0], [0.0]], "bias", DataError, "the values: every value is 0, so there is nothing to show"),
        ([[1.0]], "line", UsageError, "signed: 'line'; allowed: bias, lines (did you mean 'lines'?)"),
        ([[np.inf]], "bias", UsageError, "values: 1 of 1 values are not finite (the first: inf at [0, 0])"),
        ([1.0, 2.0], "bias", UsageError, "values have the shape (2,); samples are [N, …], N and every axis at least 1"),
    ],
)
def test_what_is_no_range_is_one_line(values, signed, error, message):
    with pytest.raises(error) as caught:
        nf.Scaling.of(values, signed)
    assert str(caught.value) == message


@pytest.mark.parametrize("signed", ["bias", "lines"])
def test_a_module_of_signed_values_is_converted(signed):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    x = (random.normal(0, 0.3, (60, 5)) + np.where(labels, 1.0, -1.0)[:, None]).astype(np.float32)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():  # it tells the classes by the sign of the sum
        model[0].weight[:] = torch.tensor([1.0, -1.0]).repeat(4)[:, None].expand(8, 5)
        model[0].bias.zero_()
        model[2].weight[:] = torch.tensor([[0.0, 1.0] * 4, [1.0, 0.0] * 4])
        model[2].bias.zero_()
    with pytest.raises(ConversionError, match=r"negative by nature take nf\.from_torch\(…, scaling=nf\.Scaling\.of\(x\)\)$"):
        nf.from_torch(model, x)
    scaling = nf.Scaling.of(x, signed)
    net = nf.from_torch(model, x, labels=labels, timesteps=16, scaling=scaling)
    assert net.population("input").size == {"bias": 5, "lines": 10}[signed]
    assert nf.run(nf.deploy(net), scaling.levels(x), labels).accuracy > 0.95
