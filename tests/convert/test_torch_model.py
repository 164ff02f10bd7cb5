"""Conversion of torch modules: what is composed is exact, what cannot spike is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurofault.convert.asked import Candidate
from neurofault.convert.driven import activations
from neurofault.convert.torch_model import as_taken, candidates, from_torch, read
from neurofault.errors import ConversionError
from neurofault.graph import Conv, Dense
from neurofault.zoo import RateCurve

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 2, 12, 12), dtype=np.uint8)


def composed_output(model: nn.Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs = activations(read(model, images).stages, images)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images).float() / 255)
    return outputs[-1].flatten(1).numpy(), expected.flatten(1).numpy()


def randomised(model: nn.Module) -> nn.Module:
    """Give batch normalisations statistics that matter."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.num_features, generator=generator))
                module.bias.copy_(torch.randn(module.num_features, generator=generator))
    return model.eval()


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 4), stride=st.integers(1, 3), padding=st.integers(0, 2), dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]), norm=st.booleans(), pool=st.sampled_from(["none", "before", "after"]),
    pool_kernel=st.integers(1, 3), pool_stride=st.integers(1, 3), seed=st.integers(0, 100),
)  # fmt: skip
def test_composed_stages_equal_the_module(kernel, stride, padding, dilation, groups, norm, pool, pool_kernel, pool_stride, seed):
    torch.manual_seed(seed)
    if pool == "before":
        dilation = 1
    body: list[nn.Module] = [nn.Conv2d(2, 4, kernel, stride, padding, dilation, groups)]
    if norm:
        body.append(nn.BatchNorm2d(4))
    if pool == "before":
        body.append(nn.AvgPool2d(pool_kernel, pool_stride))
    body.append(nn.ReLU())
    if pool == "after":
        body.append(nn.AvgPool2d(pool_kernel, pool_stride))
    body += [nn.Flatten(), nn.Dropout(0.3)]
    try:
        size = nn.Sequential(*body).eval()(torch.zeros(1, 2, 12, 12)).shape[1]
    except RuntimeError:
        return  # the image is smaller than the kernel
    model = randomised(nn.Sequential(*body, nn.Linear(size, 5), nn.BatchNorm1d(5)))
    ours, expected = composed_output(model, IMAGES)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("padding", "pool"), [(0, 2), (1, 2), (2, 3), (0, 5)])
def test_pool_before_a_convolution_is_composed(padding, pool):
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(pool), nn.Conv2d(4, 3, 2, padding=padding), nn.ReLU(), nn.Flatten()
    )
    size = model(torch.zeros(1, 2, 12, 12)).shape[1]
    model.append(nn.Linear(size, 3))
    ours, expected = composed_output(model, IMAGES)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert len(read(model, IMAGES).stages) == 3


def test_functional_forward_is_traced():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(288, 7), nn.Linear(7, 3)

        def forward(self, x):
            return self.second(torch.relu(self.first(torch.flatten(x, 1))))

    ours, expected = composed_output(Net(), IMAGES)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_layers_names_shapes_and_input_population():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(300, 8), nn.ReLU(), nn.Linear(8, 4))
    network = from_torch(model, IMAGES, timesteps=16, name="mine")
    assert [one.name for one in network.populations] == ["input", "hidden1", "hidden2", "output"]
    assert [one.shape for one in network.populations] == [(2, 12, 12), (3, 10, 10), (8,), (4,)]
    assert isinstance(network.connections[0].synapses, Conv)
    assert isinstance(network.connections[1].synapses, Dense)
    assert network.populations[-1].neuron.threshold is None
    assert network.timesteps == 16


def test_thresholds_follow_the_peak_rate_and_scale_the_next_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 8), nn.ReLU(), nn.Linear(8, 4))
    slow = from_torch(model, IMAGES, candidate=Candidate(peak_rate=0.25))
    fast = from_torch(model, IMAGES, candidate=Candidate(peak_rate=1.0))
    assert slow.populations[1].neuron.threshold == pytest.approx(4 * fast.populations[1].neuron.threshold)
    np.testing.assert_allclose(slow.connections[1].synapses.weight, 4 * fast.connections[1].synapses.weight)
    np.testing.assert_allclose(slow.connections[0].synapses.weight, fast.connections[0].synapses.weight)


def test_rate_curve_fixes_threshold_and_current_decay():
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 8), RateCurve(0.25, 0.5, du=1023), nn.Linear(8, 4))
    network = from_torch(model, IMAGES)
    assert network.populations[1].neuron.threshold == pytest.approx(
        4 * 4
    )  # 1 / scale, times the four steps that a current remembers
    assert network.populations[1].neuron.du == 1023
    assert all(each.full_rate == 0.5 for each in candidates(model))


def test_flat_models_get_flattened_images():
    model = nn.Sequential(nn.Linear(288, 6), nn.ReLU(), nn.Linear(6, 3))
    assert as_taken(model, IMAGES).shape == (20, 288)
    assert from_torch(model, IMAGES).populations[0].size == 288


def test_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    from_torch(model, IMAGES)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(288, 4), nn.Sigmoid(), nn.Linear(4, 2)),
            "layer '2': Sigmoid cannot become spiking; use ReLU",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.LSTM(288, 4)),
            "layer '1': LSTM cannot become spiking; use spiking neurons that drive themselves (snnTorch's RLeaky or RSynaptic, read by from_snntorch)",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(288, 4), nn.ReLU()),
            "the network ends with an activation after layer '1'; it must end with a Linear or Conv2d, or a sum or average of activations, whose neurons "
            "are read by their potential: remove what follows it",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(100, 4)),
            "layer '1': Linear takes 100 values, but a sample has shape (288,) there",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)  # fmt: skip
def test_what_cannot_spike_is_refused_by_name(model, message):
    with pytest.raises(ConversionError) as refusal:
        from_torch(model, IMAGES)
    assert str(refusal.value) == message


def test_data_dependent_branches_are_refused():
    with pytest.raises(ConversionError, match=r"the module's forward cannot be traced .*write it without branches"):
        from_torch(Branching(), IMAGES)


def test_hidden_computation_is_noticed():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(288, 2)

        def forward(self, x):
            return self.inner(torch.flatten(x, 1).contiguous())

    from_torch(Hidden(), IMAGES)  # the same values in another order of memory are fine
    bias = Hidden()
    bias.inner.forward = lambda x: nn.functional.linear(x, bias.inner.weight) + 1
    with pytest.raises(
        ConversionError,
        match=r"^layer 'inner' differs from the original: its output by .*; usual causes: .* a hook or a parametrization",
    ):
        from_torch(bias, IMAGES)


CHANNELS = {
    "last": (nn.Conv2d(3, 2, 3), (8, 9, 3), "samples are channels first: (3, height, width) was expected, (8, 9, 3) came; np.moveaxis(x, -1, 1) puts the last axis there"),
    "none": (nn.Conv2d(1, 2, 3), (8, 9), "samples have an axis of channels: (1, height, width) was expected, (8, 9) came; x[:, None] adds it"),
    "others": (nn.Conv2d(3, 2, 3), (1, 8, 9), "samples are channels first: (3, height, width) was expected, (1, 8, 9) came"),
    "of a signal": (nn.Conv1d(4, 2, 3), (30, 4), "samples are channels first: (4, length) was expected, (30, 4) came; np.moveaxis(x, -1, 1) puts the last axis there"),
    "none of a signal": (nn.Conv1d(1, 2, 3), (30,), "samples have an axis of channels: (1, length) was expected, (30,) came; x[:, None] adds it"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANNELS)
def test_a_wrong_axis_of_channels_is_said(case):
    first, shape, message = CHANNELS[case]
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    axes = 2 if isinstance(first, nn.Conv2d) else 1
    model(torch.zeros(1, first.in_channels, *[8] * axes))
    images = np.random.default_rng(1).random((12, *shape))
    for call in (from_torch, as_taken):
        with pytest.raises(ConversionError) as caught:
            call(model, images)
        assert str(caught.value) == f"the network does not take the samples: {message}"


def test_another_failure_of_a_forward_is_not_blamed_on_channels():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv1d(1, 2, 3)

        def forward(self, x):
            self.first(x[:, None])
            raise KeyError("mine")

    with pytest.raises(ConversionError, match=r"\(KeyError: 'mine'\); write"):
        from_torch(Own(), np.ones((4, 30)))
