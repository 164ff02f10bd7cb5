"""Training by surrogate gradients: gradients against torch's own record of each step, the network that comes out against the model, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import neurofault as nf
from neurofault.data.splits import DataSet, Split
from neurofault.zoo.surrogate import (
    DAMPING,
    SLOPE,
    LayerSpec,
    SpikingLayer,
    SpikingModel,
    Training,
    fit,
    model_accuracy,
    network_of,
)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 1).to(v.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (v,) = ctx.saved_tensors
        return DAMPING * gradient * (1 + SLOPE * (v - 1).abs()) ** -2


@pytest.mark.parametrize(("recurrent", "fires"), [(True, True), (False, True), (False, False)])
def test_gradients_are_those_of_torch_step_by_step(recurrent, fires):
    steps, samples, size = 25, 3, 6
    torch.manual_seed(1)
    layer = SpikingLayer(4, LayerSpec(size, recurrent, (2.0, 30.0), (1.0, 5.0), fires), torch.Generator().manual_seed(2))
    nn.init.normal_(layer.rest)
    drive = (torch.randn(steps, samples, size) * 0.6).requires_grad_()
    of_spikes, of_v = torch.randn(steps, samples, size), torch.randn(steps, samples, size)
    spikes, v = layer(drive)
    assert fires == bool(spikes.any())
    ((spikes * of_spikes).sum() * fires + (v * of_v).sum()).backward()
    found = {"drive": drive.grad} | {name: one.grad for name, one in layer.named_parameters() if name != "free"}
    drive.grad = None
    layer.zero_grad()

    keep_u, keep_v = (each / 4096 for each in layer.kept)
    u = potential = fired = torch.zeros(samples, size)
    total, trains = torch.zeros(()), []
    for step in range(steps):
        u = u * keep_u + drive[step] + (fired @ layer.recurrent.T if recurrent else 0)
        potential = potential * keep_v + u + layer.bias
        fired = Spike.apply(potential) if fires else torch.zeros(samples, size)
        trains.append(fired)
        total = total + (fired * of_spikes[step]).sum() * fires + (potential * of_v[step]).sum()
        potential = potential * (1 - fired.detach())
    total.backward()
    assert torch.equal(torch.stack(trains), spikes)
    wanted = {"drive": drive.grad} | {name: one.grad for name, one in layer.named_parameters() if name != "free"}
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4, msg=name)


def remembered(samples: int, seed: int, steps: int = 12) -> Split:
    """In the first three steps line 0 or line 1 fires; a step is labelled by which it was, the first three are not."""
    random = np.random.default_rng(seed)
    which = random.integers(0, 2, samples)
    events = np.zeros((samples, steps, 3), bool)
    for sample, line in enumerate(which):
        events[sample, :3, line] = True
    events[:, :, 2] = random.random((samples, steps)) < 0.3
    labels = np.repeat(which[:, None], steps, axis=1)
    labels[:, :3] = -1
    return Split(nf.Spikes.dense(events), labels, np.arange(samples), "made/up")


LAYERS = (LayerSpec(12, True, (2.0, 20.0), (1.0, 4.0)), LayerSpec(2, tau_v=(3.0, 10.0), fires=False))


def trained(loss: str = "step") -> tuple[SpikingModel, float, DataSet]:
    train, validation = remembered(160, 1), remembered(60, 2)
    if loss == "last":
        train, validation = (Split(one.samples, one.labels[:, -1], one.indices, one.name) for one in (train, validation))
    model = SpikingModel(3, LAYERS, seed=3)
    best = fit(model, train, validation, Training(loss=loss, epochs=8, batch=20, learning_rate=2e-2))
    return model, best, DataSet("made up", train, validation, validation, ("0", "1"))


@pytest.mark.parametrize("loss", ["step", "last"])
def test_it_learns_to_remember_and_the_best_epoch_is_kept(loss):
    model, best, data = trained(loss)
    assert best > 0.95
    assert model_accuracy(model, data.validation, loss) == best


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_as_it_was():
    threads = torch.get_num_threads()
    first, second = (trained()[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_network_computes_what_the_model_does():
    """In real numbers the network of the graph, scaled neuron by neuron, gives the model's potentials; on the chip, nearly all of its answers."""
    model, _, data = trained()
    network = network_of(model, "memory", data.shape, 12)
    assert [one.name for one in network.connections] == ["hidden1", "hidden1.rec", "output"]
    events = data.validation.events.to_dense()[:20]
    with torch.no_grad():
        wanted = model(data.validation.events[:20])[0].numpy()
    hidden, output = (network.population(name).neuron for name in ("hidden1", "output"))
    weights = {one.name: np.asarray(one.synapses.weight) for one in network.connections}
    u, v, fired, out_u, out_v = (np.zeros((20, size)) for size in (12, 12, 12, 2, 2))
    for step in range(events.shape[1]):
        u = u * (4095 - hidden.du) / 4096 + events[:, step] @ weights["hidden1"].T + fired @ weights["hidden1.rec"].T
        v = v * (4096 - hidden.dv) / 4096 + u + hidden.bias
        fired = (v > hidden.threshold).astype(float)
        v[fired > 0] = 0
        out_u = out_u * (4095 - output.du) / 4096 + fired @ weights["output"].T
        out_v = out_v * (4096 - output.dv) / 4096 + out_u + output.bias
        np.testing.assert_allclose(out_v, wanted[step], rtol=1e-3, atol=1e-3)
    traces = nf.run(nf.deploy(network), data.validation.events, record=("v",)).activity.traces["output"].v
    known = data.validation.labels >= 0
    assert np.mean((traces.argmax(axis=2) == data.validation.labels)[known]) > 0.9
