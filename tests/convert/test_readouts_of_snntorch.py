"""Answers that snnTorch modules take from the potentials of all steps, their largest or their mean, beside the chip's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import neurofault as nf
from neurofault.convert.snntorch_model import from_snntorch
from neurofault.errors import ConversionError

snn = pytest.importorskip("snntorch")
T = 10


class MembraneNet(nn.Module):
    """Two layers with weights on the chip's grid; the answer is made of ``mem`` of the last one."""

    def __init__(self, ending: str, answer) -> None:
        super().__init__()
        rng = np.random.default_rng(2)
        self.fc1, self.fc2, self.answer = nn.Linear(6, 8, bias=False), nn.Linear(8, 3, bias=False), answer
        with torch.no_grad():
            for layer in (self.fc1, self.fc2):
                weight = rng.integers(-60, 128, layer.weight.shape) * 2
                weight.flat[0] = 254
                layer.weight.copy_(torch.from_numpy(weight / 128))
        self.lif1 = snn.Leaky(beta=1.0, threshold=4.0, reset_mechanism="zero")
        self.lif2 = snn.Leaky(beta=1.0, threshold=6.0, reset_mechanism=ending)

    def forward(self, x):
        mem1, mem2, seen = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for step in range(x.shape[1]):
            spikes, mem1 = self.lif1(self.fc1(x[:, step]), mem1)
            _, mem2 = self.lif2(self.fc2(spikes), mem2)
            seen.append(mem2)
        return self.answer(torch.stack(seen))


def largest(mem):
    return mem.amax(0)


def mean(mem):
    return mem.mean(0)


def late(mem):
    return mem[4:9].mean(0)


EVENTS = np.random.default_rng(5).random((20, T, 6)) < 0.4


@pytest.mark.parametrize("ending", ["none", "zero", "subtract"])
@pytest.mark.parametrize(("how", "answer"), [("largest", largest), ("mean", mean)])
def test_the_chip_answers_from_the_same_potentials(ending, how, answer):
    model = MembraneNet(ending, answer).eval()
    network = from_snntorch(model, (6,), timesteps=T, coding=None, readout=how)
    assert (network.readout.how, network.readout.when) == (how, None)
    assert (network.population("output").neuron.threshold is None) == (ending == "none")
    scores = nf.run(nf.deploy(network), nf.Spikes.dense(EVENTS)).activity.scores
    with torch.no_grad():
        wanted = model(torch.from_numpy(EVENTS).float()).double().numpy() * (T if how == "mean" else 1)
    unit = scores[np.unravel_index(wanted.argmax(), wanted.shape)] / wanted.max()
    np.testing.assert_allclose(scores, wanted * unit, atol=1e-6 * np.abs(scores).max())


def test_steps_of_ones_own_are_said_afterwards():
    model = MembraneNet("none", late).eval()
    network = from_snntorch(MembraneNet("none", mean).eval(), (6,), timesteps=T, coding=None, readout="mean").with_readout(
        "mean", (4, 9)
    )
    result = nf.run(nf.deploy(network), nf.Spikes.dense(EVENTS))
    with torch.no_grad():
        assert np.array_equal(result.activity.predictions, model(torch.from_numpy(EVENTS).float()).argmax(1).numpy())


def test_a_forward_that_answers_otherwise_says_what_to_do():
    with pytest.raises(ConversionError, match=r"or their largest or mean over time: then say readout=$"):
        from_snntorch(MembraneNet("zero", largest).eval(), (6,), timesteps=T, coding=None)


def test_a_linear_layer_at_the_end_has_no_potentials():
    model = nn.Sequential(nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero"), nn.Linear(3, 2))
    with pytest.raises(ConversionError) as error:
        from_snntorch(model, (4,), timesteps=T, coding=None, readout="mean")
    assert str(error.value) == (
        "layer '2' has no neurons behind it: it is read by the sum of its output over the steps, whose mean says nothing of any step; that sum is T "
        "times the mean of its output, so 'potential' ranks them alike; put neurons that never reset behind it (in snnTorch Leaky with "
        "reset_mechanism='none'), or use readout 'potential'"
    )


def test_what_holds_its_potential_while_the_chip_is_at_zero_is_refused():
    last = snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True, reset_mechanism="zero", reset_delay=True)
    with pytest.raises(ConversionError) as error:
        from_snntorch(nn.Sequential(nn.Linear(4, 3), last), (4,), timesteps=T, coding=None, readout="largest")
    assert str(error.value) == (
        "layer '1': Synaptic that is reset to zero a step late holds what made it fire until the next step, and the chip's refractory neuron is 0 there, "
        "so the potentials of all steps are not the same; use reset_mechanism='subtract' or 'none', or readout 'count'"
    )
