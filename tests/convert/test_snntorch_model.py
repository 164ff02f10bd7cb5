from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neurofault as nf
from neurofault.convert.asked import PixelCoding
from neurofault.convert.networks import spiking_module
from neurofault.convert.snntorch_model import from_snntorch, is_snntorch
from neurofault.errors import ConversionError
from neurofault.graph import Conv

snn = pytest.importorskip("snntorch")


def leaky(beta=1.0, threshold=1.0, **more):
    return snn.Leaky(beta=beta, threshold=threshold, init_hidden=True, reset_mechanism=more.pop("reset_mechanism", "zero"), **more)


def snntorch_spikes(model, events):
    """Output spikes [N, T, n] of a one-step module that is shown events [N, T, …]."""
    from snntorch import utils

    utils.reset(model)
    frames = torch.from_numpy(np.array(events)).float()
    with torch.no_grad():
        return np.stack([model(frames[:, step]).numpy() for step in range(frames.shape[1])], axis=1) > 0


def chip_spikes(network, events):
    chip = nf.deploy(network)
    result = nf.run(chip, nf.Inputs(events=events.reshape(*events.shape[:2], -1)), record=["spikes"])
    return result.activity.traces["output"].spikes


@st.composite
def grid_networks(draw):
    """A snnTorch network whose weights fill the chip's 8-bit grid, and events for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = [draw(st.integers(1, 6)) for _ in range(draw(st.integers(2, 4)))]
    unit = 2.0 ** -draw(st.integers(5, 9))
    modules = []
    for n_in, n_out in itertools.pairwise(sizes):
        layer = nn.Linear(n_in, n_out)
        weight = rng.integers(-128, 128, (n_out, n_in)) * 2
        weight.flat[0] = rng.choice([-256, 254])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight * unit))
            layer.bias.copy_(torch.from_numpy(rng.integers(-100, 101, n_out) * unit))
        threshold = torch.from_numpy(rng.integers(64, 600, n_out) * unit).float()
        modules += [layer, leaky(threshold=threshold, reset_delay=draw(st.booleans()))]
    return nn.Sequential(*modules), rng.random((5, 12, sizes[0])) < 0.5


@settings(max_examples=30, deadline=None)
@given(grid_networks())
def test_weights_on_the_chips_grid_without_leak_give_snntorchs_spikes_at_every_step(case):
    model, events = case
    network = from_snntorch(model, events.shape[2:], timesteps=events.shape[1], coding=None)
    assert network.readout.how == "count"
    assert np.array_equal(chip_spikes(network, events), snntorch_spikes(model, events))


def test_pools_between_before_and_behind_layers_give_snntorchs_spikes():
    rng = np.random.default_rng(5)

    def even(*shape):
        weight = rng.integers(-60, 128, shape) * 2.0
        weight.flat[0] = 254
        return torch.from_numpy(weight)

    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), leaky(threshold=300.0),
        nn.AvgPool2d(2), leaky(threshold=0.5),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3, bias=False), leaky(threshold=400.0),
    )  # fmt: skip
    with torch.no_grad():
        model[0].weight.copy_(even(4, 2, 3, 3))
        model[7].weight.copy_(even(3, 16))
    model.eval()
    model[1].eps = 0.0
    events = rng.random((4, 10, 2, 8, 8)) < 0.4
    network = from_snntorch(model, (2, 8, 8), timesteps=10, coding=None)
    assert [type(one.synapses).__name__ for one in network.connections] == ["Conv", "Conv", "Dense"]
    pool = network.connections[1].synapses
    assert isinstance(pool, Conv)
    assert (pool.groups, pool.stride) == (4, (2, 2))
    expected = snntorch_spikes(model, events)
    assert expected.any()
    assert np.array_equal(chip_spikes(network, events), expected)


def test_decays_become_the_chips_4096ths():
    model = nn.Sequential(
        nn.Linear(4, 3), leaky(beta=torch.tensor([0.9, 0.5, 0.0])),
        nn.Linear(3, 2, bias=False), snn.Synaptic(alpha=0.8, beta=0.95, init_hidden=True, reset_mechanism="zero", reset_delay=False),
    )  # fmt: skip
    network = from_snntorch(model, (4,), timesteps=8)
    hidden, output = (one.neuron for one in network.populations[1:])
    assert np.array_equal(hidden.dv, [410, 2048, 4095])
    assert hidden.du == 4095
    assert (output.du, output.dv) == (818, 205)
    assert not np.any(output.bias)


class Loop(nn.Module):
    """The form of snnTorch's tutorials: the steps are in forward."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 3), nn.Linear(3, 2)
        self.lif1 = snn.Leaky(beta=0.9, reset_mechanism="zero")
        self.lif2 = snn.Leaky(beta=0.9, reset_mechanism="zero")

    def forward(self, x):
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(5):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


def test_a_forward_that_loops_over_the_steps_is_read_once():
    model = Loop()
    network = from_snntorch(model, (4,), timesteps=5, coding=None)
    assert [one.name for one in network.populations] == ["input", "hidden1", "output"]
    assert np.array_equal(network.connections[1].synapses.weight, model.fc2.weight.detach().double().numpy())


def test_conversion_leaves_states_and_mode_as_they_were():
    model = nn.Sequential(nn.Linear(4, 3), leaky(beta=0.9)).train()
    model(torch.ones(2, 4))
    before = model[1].mem.clone()
    from_snntorch(model, (4,), timesteps=5)
    assert model.training
    assert torch.equal(model[1].mem, before)


def test_pixel_coding_scales_the_first_layer_only():
    model = nn.Sequential(nn.Linear(4, 3), leaky(), nn.Linear(3, 2), leaky())
    network = from_snntorch(model, (4,), timesteps=8, coding=PixelCoding(0.25, 0.5))
    assert network.encoding.full_rate == 0.25
    assert np.array_equal(network.connections[0].synapses.weight, model[0].weight.detach().double().numpy() * 4)
    assert np.array_equal(network.connections[1].synapses.weight, model[2].weight.detach().double().numpy())
    assert np.array_equal(network.populations[1].neuron.bias, model[0].bias.detach().double().numpy())


def test_a_last_layer_without_reset_is_read_by_its_potential():
    model = nn.Sequential(nn.Linear(4, 3), leaky(), nn.Linear(3, 2), leaky(beta=0.5, reset_mechanism="none"))
    network = from_snntorch(model, (4,), timesteps=8)
    assert (network.readout.how, network.populations[-1].neuron.threshold, network.populations[-1].neuron.dv) == (
        "potential",
        None,
        2048,
    )


def test_images_are_taken_as_they_are_or_flattened():
    flat = nn.Sequential(nn.Linear(16, 3), leaky())
    image = nn.Sequential(nn.Conv2d(1, 2, 3), leaky(), nn.Flatten(), nn.Linear(8, 3), leaky())
    assert is_snntorch(flat)
    assert not is_snntorch(nn.Sequential(nn.Linear(16, 3)))
    assert spiking_module(flat, (1, 4, 4), timesteps=None, name="f").populations[0].shape == (16,)
    assert spiking_module(image, (1, 4, 4), timesteps=7, name="i").populations[0].shape == (1, 4, 4)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.lif = nn.Conv2d(1, 2, 3), leaky()

    def forward(self, x):
        return self.lif(nn.functional.max_pool2d(self.conv(x), 2))


REFUSED = [
    (
        lambda: nn.Sequential(
            nn.Linear(4, 3), snn.Synaptic(alpha=1.0, beta=0.5, init_hidden=True, reset_mechanism="zero", reset_delay=False)
        ),
        "layer '1': its synaptic current never decays; the chip's slowest decay is 1/4096 a step",
    ),
    (
        lambda: nn.Sequential(nn.Linear(4, 3), snn.Lapicque(beta=0.5, init_hidden=True)),
        "layer '1': Lapicque neurons have no counterpart on the chip; taken: Leaky, Synaptic, RLeaky, RSynaptic",
    ),
    (
        lambda: nn.Sequential(nn.Linear(4, 3), leaky(), leaky()),
        "layer '2': neurons directly behind the neurons '1'; put a Linear or Conv2d between them",
    ),
    (
        lambda: nn.Sequential(nn.Linear(4, 3), leaky(threshold=0.0)),
        "layer '1': thresholds must be finite and above 0",
    ),
    (
        lambda: nn.Sequential(nn.Linear(4, 3), leaky(graded_spikes_factor=2.0)),
        "layer '1': Leaky with graded_spikes_factor: spikes are 0 or 1 here; fold the factor into the next layer's weights",
    ),
    (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "network 'snntorch' holds no snnTorch neurons; use from_torch"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_the_chip_cannot_do_is_refused_by_the_name_of_its_layer(make, message):
    with pytest.raises(ConversionError) as error:
        from_snntorch(make(), (4,), timesteps=5)
    assert str(error.value) == message


def test_a_function_between_layers_is_refused():
    with pytest.raises(ConversionError) as error:
        from_snntorch(Functional(), (1, 6, 6), timesteps=5)
    assert str(error.value) == (
        "layer 'lif' does not take what layer 'conv' returns (step 1): a branch, a recurrence, or something between them, in place (h += a, h *= c) "
        "or a view that reorders (transpose); only a chain of layers is taken, so write functions as modules (nn.AvgPool2d, nn.Flatten)"
    )
