"""Torch modules that are more than a chain: skips, concatenations, max pooling, 1-D convolutions, caps; each population against the module's own forward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import neurofault as nf
from neurofault.convert.asked import Candidate
from neurofault.convert.driven import activations
from neurofault.convert.torch_model import from_torch, read
from neurofault.graph import Conv, Sparse

IMAGES = np.random.default_rng(0).random((20, 2, 8, 8)).astype(np.float32)
SIGNALS = np.random.default_rng(1).random((20, 3, 24)).astype(np.float32)


class Forward(nn.Module):
    """Layers by name and what forward does with them."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, x):
        return self.run(self, x)


def made(forward, **layers):
    """Return a module with weights and statistics that matter."""
    model = Forward(forward, **layers)
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.5 if parameter.dim() == 1 else 0.3))
    return model.eval()


def resnet():
    """A stem, a block that halves, a block with a plain skip, the mean over space."""

    def forward(m, x):
        h = torch.relu(m.n0(m.stem(x)))
        h = torch.relu(m.nb(m.b(torch.relu(m.na(m.a(h))))) + m.ns(m.short(h)))
        h = functional.relu(m.d(torch.relu(m.c(h))) + h)
        return m.head(m.pool(h).flatten(1))

    return made(
        forward, stem=nn.Conv2d(2, 4, 3, padding=1, bias=False), n0=nn.BatchNorm2d(4), a=nn.Conv2d(4, 6, 3, 2, 1, bias=False), na=nn.BatchNorm2d(6),
        b=nn.Conv2d(6, 6, 3, padding=1, bias=False), nb=nn.BatchNorm2d(6), short=nn.Conv2d(4, 6, 1, 2, bias=False), ns=nn.BatchNorm2d(6),
        c=nn.Conv2d(6, 6, 3, padding=1), d=nn.Conv2d(6, 6, 3, padding=1), pool=nn.AdaptiveAvgPool2d(1), head=nn.Linear(6, 4),
    )  # fmt: skip


def shuffled(m, x):
    h = torch.relu(m.a(x))
    h = h.view(h.size(0), 2, 2, 8, 8).transpose(1, 2).contiguous().view(h.size(0), 4, 8, 8)
    one, other = h.chunk(2, 1)
    return m.head(torch.cat([torch.relu(m.b(one)), other], 1).flatten(1))


def functions(m, x):
    h = functional.conv2d(x, m.a.weight, m.a.bias, padding=1)
    h = functional.batch_norm(h, m.n.running_mean, m.n.running_var, m.n.weight, m.n.bias)
    h = functional.avg_pool2d(functional.relu(h), 2)
    return functional.linear(h.reshape(h.shape[0], -1), m.head.weight, m.head.bias)


def padded_skip(m, x):
    h = torch.relu(m.a(x))
    return m.head(torch.relu(m.b(h) + functional.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))).mean((2, 3)))


def linear_sum(m, x):
    h = torch.relu(m.a(x))
    both = m.b(h) + 0.5 * h - 0.1  # no ReLU: what takes it takes its parts
    return m.head(torch.relu(m.c(both)).flatten(1) + both.flatten(1))


def signal(m, x):
    h = torch.relu(m.n(m.a(x)))
    h = m.pool(torch.relu(m.b(h)))
    return m.head(h.flatten(1))


TAKEN = {
    "residual": lambda: (resnet(), IMAGES),
    "matrix skip": lambda: (made(lambda m, x: m.b(torch.relu(m.a(x.flatten(1))) + x.flatten(1)), a=nn.Linear(128, 128), b=nn.Linear(128, 3)), IMAGES),
    "shuffled halves": lambda: (made(shuffled, a=nn.Conv2d(2, 4, 3, padding=1, groups=2), b=nn.Conv2d(2, 3, 1), head=nn.Linear(320, 3)), IMAGES),
    "functions": lambda: (made(functions, a=nn.Conv2d(2, 4, 3), n=nn.BatchNorm2d(4), head=nn.Linear(64, 3)), IMAGES),
    "padded skip": lambda: (made(padded_skip, a=nn.Conv2d(2, 4, 3, padding=1), b=nn.Conv2d(4, 6, 3, 2, 1), head=nn.Linear(6, 3)), IMAGES),
    "sum without ReLU": lambda: (made(linear_sum, a=nn.Conv2d(2, 4, 1), b=nn.Conv2d(4, 4, 3, padding=1), c=nn.Conv2d(4, 4, 3, padding=1), head=nn.Linear(256, 3)), IMAGES),
    "joined drive": lambda: (made(lambda m, x: m.head(torch.relu(torch.cat([m.a(x), m.b(x)], 1)).flatten(1)), a=nn.Conv2d(2, 2, 1), b=nn.Conv2d(2, 3, 3, padding=1), head=nn.Linear(320, 3)), IMAGES),
    "joined along width": lambda: (made(lambda m, x: m.head(torch.cat([torch.relu(m.a(x)), x], 3).flatten(1)), a=nn.Conv2d(2, 2, 1), head=nn.Linear(256, 3)), IMAGES),
    "stacked": lambda: (made(lambda m, x: m.head(torch.stack([torch.relu(m.a(x)), x], 2).flatten(1)), a=nn.Conv2d(2, 2, 1), head=nn.Linear(256, 3)), IMAGES),
    "two convolutions": lambda: (made(lambda m, x: m.head(m.b(m.a(x)).flatten(1)), a=nn.Conv2d(2, 3, 3, padding=1), b=nn.Conv2d(3, 2, 3, stride=2), head=nn.Linear(18, 3)), IMAGES),
    "norm behind ReLU": lambda: (made(lambda m, x: m.b(m.n(torch.relu(m.a(x)))).mean((2, 3)), a=nn.Conv2d(2, 3, 3, padding=1), n=nn.BatchNorm2d(3), b=nn.Conv2d(3, 4, 3, padding=1)), IMAGES),
    "pool with padding": lambda: (made(lambda m, x: m.head(functional.avg_pool2d(torch.relu(m.a(x)), 3, 2, 1).flatten(1)), a=nn.Conv2d(2, 3, 1), head=nn.Linear(48, 3)), IMAGES),
    "circular": lambda: (made(lambda m, x: m.head(torch.relu(m.a(x)).flatten(1)), a=nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), head=nn.Linear(192, 3)), IMAGES),
    "transposed convolution": lambda: (made(lambda m, x: m.head(torch.relu(m.a(x)).flatten(1)), a=nn.ConvTranspose2d(2, 3, 2, 2), head=nn.Linear(768, 3)), IMAGES),
    "1-D": lambda: (made(signal, a=nn.Conv1d(3, 4, 5, 2, 2), n=nn.BatchNorm1d(4), b=nn.Conv1d(4, 6, 4, padding="same", groups=2), pool=nn.AvgPool1d(2), head=nn.Linear(36, 3)), SIGNALS),
    "1-D, mean over time": lambda: (made(lambda m, x: m.head(torch.relu(m.a(x)).mean(-1)), a=nn.Conv1d(3, 4, 5, dilation=2), head=nn.Linear(4, 3)), SIGNALS),
    "a Linear at each place": lambda: (made(lambda m, x: m.head(torch.relu(m.a(x)).flatten(1)), a=nn.Linear(24, 5), head=nn.Linear(15, 3)), SIGNALS),
    "ReLU6": lambda: (made(lambda m, x: m.head(nn.functional.relu6(8 * m.a(x)).flatten(1)), a=nn.Conv2d(2, 3, 1), head=nn.Linear(192, 3)), IMAGES),
    "Hardtanh": lambda: (made(lambda m, x: m.head(m.h(m.a(x)).flatten(1)), a=nn.Conv2d(2, 3, 1), h=nn.Hardtanh(-0.2, 0.3), head=nn.Linear(192, 3)), IMAGES),
    "clamp": lambda: (made(lambda m, x: m.head(m.a(x).clamp(min=0).flatten(1)), a=nn.Conv2d(2, 3, 1), head=nn.Linear(192, 3)), IMAGES),
    "max pool": lambda: (made(lambda m, x: m.head(m.p(torch.relu(m.a(x))).flatten(1)), a=nn.Conv2d(2, 3, 3, padding=1), p=nn.MaxPool2d(2), head=nn.Linear(48, 3)), IMAGES),
    "ReLU behind max pool": lambda: (made(lambda m, x: m.head(torch.relu(functional.max_pool2d(m.a(x), 3, 2, 1)).flatten(1)), a=nn.Conv2d(2, 3, 3, padding=1), head=nn.Linear(48, 3)), IMAGES),
    "max pool of any sign": lambda: (made(lambda m, x: m.head(m.p(m.a(x)).flatten(1)), a=nn.Conv2d(2, 3, 3), p=nn.MaxPool2d(2, ceil_mode=True), head=nn.Linear(27, 3)), IMAGES),
    "max pool of a join": lambda: (made(lambda m, x: m.head(m.p(torch.cat([torch.relu(m.a(x)), x], 1)).flatten(1)), a=nn.Conv2d(2, 3, 1), p=nn.AdaptiveMaxPool2d(3), head=nn.Linear(45, 3)), IMAGES),
    "1-D max pool": lambda: (made(lambda m, x: m.head(m.p(torch.relu(m.a(x))).flatten(1)), a=nn.Conv1d(3, 3, 3, padding=1), p=nn.MaxPool1d(3, 2, 1), head=nn.Linear(36, 3)), SIGNALS),
}  # fmt: skip


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_what_is_built_gives_what_forward_gives(make):
    model, samples = make()
    found = read(model, samples)
    with torch.no_grad():
        expected = model(torch.from_numpy(samples)).double().flatten(1).numpy()
    np.testing.assert_allclose(activations(found.stages, found.images)[-1].flatten(1).numpy(), expected, rtol=1e-4, atol=1e-4)
    network = from_torch(model, samples, timesteps=4)
    assert set(network.schedule.lag.values()) == {0}
    assert network.populations[0].size == samples[0].size


def test_skips_carry_the_steps_of_the_longest_way_and_one_only_connection_keeps_its_target_s_name():
    network = from_torch(resnet(), IMAGES, timesteps=4)
    found = [(one.name, one.source, one.delay) for one in network.connections]
    assert found == [
        ("hidden1", "input", 1), ("hidden2", "hidden1", 1), ("hidden3.hidden2", "hidden2", 1), ("hidden3.hidden1", "hidden1", 2), ("hidden4", "hidden3", 1),
        ("hidden5.hidden4", "hidden4", 1), ("hidden5.hidden3", "hidden3", 2), ("output", "hidden5", 1),
    ]  # fmt: skip
    kinds = {one.name: type(one.synapses) for one in network.connections}
    assert kinds["hidden3.hidden1"] is Conv
    assert kinds["hidden5.hidden3"] is Sparse


def test_each_connection_is_scaled_by_what_a_spike_of_its_source_stands_for():
    network = from_torch(resnet(), IMAGES, timesteps=4, candidate=Candidate(0.5))
    skip = network.connection("hidden5.hidden3").synapses
    np.testing.assert_allclose(skip.weight, network.population("hidden3").neuron.threshold)
    assert len(skip.weight) == network.population("hidden3").size


@pytest.mark.parametrize("engine", ["brian2", "lava", "snntorch"])
@pytest.mark.parametrize("make", [resnet, lambda: TAKEN["1-D"]()[0]], ids=["residual", "1-D"])
def test_other_engines_send_the_same_spikes(make, engine):
    pytest.importorskip(engine)
    model, samples = make(), IMAGES if make is resnet else SIGNALS
    chip = nf.deploy(from_torch(model, samples, timesteps=6, candidate=Candidate(0.8)))
    ours, theirs = (nf.run(chip, samples[:2], engine=name).activity for name in ("exact", engine))
    assert all(int(ours.spike_counts[one.name].sum()) > 0 for one in chip.populations if one.fires)
    for name, counts in ours.spike_counts.items():
        np.testing.assert_array_equal(theirs.spike_counts[name], counts)
    np.testing.assert_array_equal(theirs.scores, ours.scores)
