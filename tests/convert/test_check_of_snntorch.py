"""What a snnTorch module's forward does beside calling its layers in order is refused, or folded in where that is exact."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import neurofault as nf
from neurofault.convert.snntorch_model import from_snntorch
from neurofault.errors import ConversionError

snn = pytest.importorskip("snntorch")

STEPS = 6


def neuron(**more):
    return snn.Leaky(**{"beta": 0.9, "threshold": 0.5, "reset_mechanism": "zero"} | more)


def hidden(**more):
    return neuron(init_hidden=True, **more)


class Net(nn.Module):
    """Two layers, the steps in forward; each hook is what a user may write in between."""

    def __init__(self, *, before=None, between=None, current=None, state=None, shown=None, returned=torch.stack, **more):
        super().__init__()
        self.fc1, self.l1, self.fc2, self.l2 = nn.Linear(12, 12), neuron(), nn.Linear(12, 4), neuron()
        for name, module in more.items():
            setattr(self, name, module)
        same = lambda net, x, step: x  # noqa: E731
        self.before, self.between, self.current, self.state = before or same, between or same, current or same, state or same
        self.shown = shown or (lambda x, step: x)
        self.returned = returned

    def forward(self, x):
        m1, m2, spikes = self.l1.reset_mem(), self.l2.reset_mem(), []
        for step in range(STEPS):
            a, m1 = self.l1(self.fc1(self.before(self, self.shown(x, step), step)), self.state(self, m1, step))
            b, m2 = self.l2(self.current(self, self.fc2(self.between(self, a, step)), step), m2)
            spikes.append(b)
        return self.returned(spikes)


def made(seed=0, **more):
    torch.manual_seed(seed)
    return Net(**more)


def converted(model, coding=None):
    return from_snntorch(model, (12,), timesteps=STEPS, **({"coding": None} if coding is None else {"coding": coding}))


def own_spikes(model, events):
    with torch.no_grad():
        return np.stack([model(torch.from_numpy(sample).float()[:, None]).numpy()[:, 0] for sample in events]) > 0


def weaker(net, a, step):
    with torch.no_grad():
        net.fc2.weight.mul_(0.9)
    return a


def higher(net, a, step):
    net.l2.threshold = net.l2.threshold * 1.2
    return a


FLOW = r"layer '(fc2|l2)' does not take what layer '(l1|fc2)' returns \(step 1\): a branch, a recurrence, or something between them"
DRIVE = r"layer '(l1|l2)' differs from the original in step \d: its input to its neurons by .*, the largest value being .* \(allowed: 0.001 of it\)"
STATE = r"layer '(l1|l2)' differs from the original in step \d: its neuron \d+ .*, while the converted one has the potential"
FRONT = r"layer 'fc1' does not take the sample itself: forward changes it first, and not by one gain and one shift of each value"
BACK = r"forward returns neither what its last layer 'l2' gives in a step or in all, nor scores in the order that is read from the chip"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"between": lambda net, a, step: a.mul_(0.5)}, FLOW),
        ({"between": lambda net, a, step: a.flip(-1)}, FLOW),
        ({"between": lambda net, a, step: a.roll(1, -1)}, FLOW),
        ({"between": lambda net, a, step: a.roll(1, 0)}, FLOW),
        ({"between": lambda net, a, step: a.T.reshape(a.shape)}, FLOW),
        ({"between": lambda net, a, step: functional.pad(a, (1, 0))[:, :-1]}, FLOW),
        ({"between": lambda net, a, step: functional.dropout(a)}, FLOW),
        ({"between": lambda net, a, step: net.l1.mem}, FLOW),
        ({"current": lambda net, h, step: h.add_(0.3)}, FLOW),
        ({"current": lambda net, h, step: torch.relu_(h)}, FLOW),
        ({"current": lambda net, h, step: h.clamp(-0.1, 0.1)}, FLOW),
        ({"current": lambda net, h, step: h + 0.01 * torch.randn_like(h)}, FLOW),
        ({"between": weaker}, DRIVE),
        ({"between": higher}, STATE),
        ({"shown": lambda x, step: x if step == 0 else torch.zeros_like(x)}, DRIVE),
        ({"shown": lambda x, step: x * (step + 1)}, DRIVE),
        ({"state": lambda net, m, step: m * 0.5}, STATE),
        ({"state": lambda net, m, step: m + 0.2}, STATE),
        ({"state": lambda net, m, step: m * (step % 4 > 0)}, STATE),
        ({"before": lambda net, x, step: x.flip(-1)}, FRONT),
        ({"before": lambda net, x, step: x.roll(1, -1)}, FRONT),
        ({"before": lambda net, x, step: (x - x.mean()) / x.std()}, FRONT),
        ({"before": lambda net, x, step: x.clamp(0, 0.5) ** 2}, FRONT),
        ({"before": lambda net, x, step: x.mul_(0.9)}, DRIVE),
        ({"returned": lambda spikes: torch.stack(spikes).sum(0).argmax(1)}, BACK),
        ({"returned": lambda spikes: -torch.stack(spikes).sum(0)}, BACK),
        ({"returned": lambda spikes: torch.stack(spikes).sum(0).flip(1)}, BACK),
        ({"returned": lambda spikes: torch.stack(spikes).sum(0).view(-1, 2, 2).sum(1)}, BACK),
    ],
)
def test_what_lies_beside_the_layers_is_refused_by_the_first_layer_that_differs(more, message):
    with pytest.raises(ConversionError, match=message):
        from_snntorch(made(**more), (12,), timesteps=STEPS)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"before": lambda net, x, step: net.drop(x), "between": lambda net, a, step: net.drop(a), "drop": nn.Dropout(0.2)},
        {"between": lambda net, a, step: functional.dropout(a, training=net.training)},
        {"state": lambda net, m, step: m.detach()},
        {"returned": lambda spikes: torch.stack(spikes).mean(0).log_softmax(1)},
        {"returned": lambda spikes: (torch.stack(spikes, 1), None)},
        {"returned": lambda spikes: {"spikes": spikes}},
        {"shown": lambda x, step: x[step]},
        {"shown": lambda x, step: x[:, step]},
    ],
)
def test_what_changes_nothing_is_taken(more):
    model = made(**more)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert [one.shape for one in converted(model).populations] == [(12,), (12,), (4,)]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class LayerByLayer(Net):
    """Each layer sees all steps before the next one does."""

    def forward(self, x):
        m1, m2, first, second = self.l1.reset_mem(), self.l2.reset_mem(), [], []
        current = self.fc1(x)
        for step in range(len(x)):
            a, m1 = self.l1(current[step], m1)
            first.append(a)
        current = self.fc2(torch.stack(first))
        for step in range(len(x)):
            b, m2 = self.l2(current[step], m2)
            second.append(b)
        return torch.stack(second)


class Late(Net):
    """The second layer sees the spikes of the step before."""

    def forward(self, x):
        m1, m2, a, spikes = self.l1.reset_mem(), self.l2.reset_mem(), torch.zeros(x.shape[1], 12), []
        for frame in x:
            b, m2 = self.l2(self.fc2(a), m2)
            a, m1 = self.l1(self.fc1(frame), m1)
            spikes.append(b)
        return torch.stack(spikes)


class Backwards(LayerByLayer):
    def forward(self, x):
        return super().forward(x.flip(0))


class Recurrent(Net):
    def forward(self, x):
        m1, m2, a, spikes = self.l1.reset_mem(), self.l2.reset_mem(), torch.zeros(x.shape[1], 12), []
        for frame in x:
            a, m1 = self.l1(self.fc1(frame) + a, m1)
            b, m2 = self.l2(self.fc2(a), m2)
            spikes.append(b)
        return torch.stack(spikes)


class Skip(Net):
    def forward(self, x):
        m1, m2, spikes = self.l1.reset_mem(), self.l2.reset_mem(), []
        for frame in x:
            a, m1 = self.l1(self.fc1(frame), m1)
            b, m2 = self.l2(self.fc2(a + frame), m2)
            spikes.append(b)
        return torch.stack(spikes)


@pytest.mark.parametrize("seed", range(3))
def test_a_forward_over_the_steps_of_each_layer_gives_the_modules_spikes(seed):
    torch.manual_seed(seed)
    model = LayerByLayer()
    with torch.no_grad():
        for layer in (model.fc1, model.fc2):
            layer.weight.copy_(torch.randint(-128, 127, layer.weight.shape) / 64)
            layer.weight.view(-1)[0] = -256 / 128
            layer.bias.zero_()
    model.l1, model.l2 = neuron(beta=1.0), neuron(beta=1.0)
    events = np.random.default_rng(seed).random((5, STEPS, 12)) < 0.4
    chip = nf.deploy(converted(model))
    got = nf.run(chip, nf.Inputs(events=torch.from_numpy(events)), record=["spikes"]).activity.traces["output"].spikes
    expected = own_spikes(model, events)
    assert expected.any()
    assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Late, r"layer 'fc1' does not take what layer 'l2' returns"),
        (Backwards, r"layer 'l1' differs from the original in step 1: its input to its neurons"),
        (Recurrent, r"layer 'l1' does not take what layer 'fc1' returns \(step 2\): a branch, a recurrence"),
        (Skip, r"layer 'fc2' does not take what layer 'l1' returns"),
    ],
)
def test_another_order_in_time_or_another_way_round_is_refused(kind, message):
    torch.manual_seed(0)
    with pytest.raises(ConversionError, match=message):
        converted(kind())


class Doubled(snn.Leaky):
    def forward(self, input_, mem=None):
        return super().forward(2 * input_, mem)


def hooked(model, layer, hook):
    model.get_submodule(layer).register_forward_hook(hook)
    return model


def reused_neuron():
    shared = hidden()
    return nn.Sequential(nn.Linear(12, 12), shared, nn.Linear(12, 12), shared)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hooked(made(), "fc2", lambda module, inputs, output: output + 0.3), DRIVE),
        (lambda: hooked(made(), "l1", lambda module, inputs, output: (output[0] * 0.5, output[1])), "layer 'l1' gives 0.5 for a spike"),
        (lambda: nn.Sequential(nn.Linear(12, 4), Doubled(beta=0.9, init_hidden=True, reset_mechanism="zero")), "layer '1' differs from the original"),
        (reused_neuron, "layer '2' is called 1 time in 2 steps"),
        (
            lambda: nn.Sequential(nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 4), hidden()),
            "layer '1': ReLU in a chain of spiking neurons; its values are no spikes: put neurons in its place",
        ),
        (
            lambda: nn.Sequential(nn.Linear(12, 4), snn.SLSTM(4, 4, init_hidden=True)),
            "layer '1': SLSTM cells have gates, which multiply; the chip's neurons only add",
        ),
        (
            lambda: nn.Sequential(nn.Linear(12, 4), hidden(beta=torch.tensor([0.5, float("nan"), 0.5, 0.5]))),
            "layer '1': beta: 1 of 4 values are not finite (the first: nan at [1])",
        ),
        (lambda: nn.Sequential(nn.Linear(12, 4), hidden(threshold=float("inf"))), "layer '1': threshold: 1 of 1 values are not finite"),
        (lambda: nn.Sequential(nn.Linear(12, 8), nn.GRU(8, 8), hidden()), "the network does not run on a sample of shape (12,) ("),
        (
            lambda: nn.Sequential(nn.Linear(12, 4), snn.Synaptic(alpha=0.9, beta=0.9, init_hidden=True, reset_mechanism="zero", reset_delay=False)),
            "layer '1': 4 of 4 of its neurons get a bias through a synaptic current, where it builds up over about 10 steps",
        ),
    ],
)  # fmt: skip
def test_hooks_classes_states_and_numbers_that_are_not_what_they_seem_are_named(make, message):
    torch.manual_seed(0)
    with pytest.raises(ConversionError, match=message if message in (DRIVE,) else re.escape(message)):
        converted(make())


@pytest.mark.parametrize(
    "change",
    [lambda m: m.half(), lambda m: m.bfloat16(), lambda m: m.double(), nn.DataParallel, lambda m: m],
    ids=["half", "bfloat16", "double", "parallel", "float"],
)
def test_any_floating_type_and_wrapper_is_read(change):
    torch.manual_seed(0)
    linear = nn.utils.parametrizations.weight_norm(nn.Linear(12, 12))
    model = change(nn.Sequential(linear, hidden(), nn.Linear(12, 3), hidden()))
    assert [one.shape for one in converted(model).populations] == [(12,), (12,), (3,)]


def test_a_normalisation_in_front_is_folded_into_the_first_layer():
    torch.manual_seed(3)
    plain, shifted = (
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, groups=1), hidden(), nn.Flatten(), nn.Linear(48, 3), hidden()) for _ in range(2)
    )
    shifted.load_state_dict(plain.state_dict())
    mean, spread = torch.tensor([0.1, 0.4]).reshape(1, 2, 1, 1), torch.tensor([0.3, 0.8]).reshape(1, 2, 1, 1)
    shifted.register_forward_pre_hook(lambda module, inputs: ((inputs[0] - mean) / spread,))
    one, two = (from_snntorch(model, (2, 4, 4), timesteps=STEPS, coding=None) for model in (plain, shifted))
    kernel = plain[0].weight.detach().double().numpy()
    np.testing.assert_allclose(two.connections[0].synapses.weight, kernel / spread.numpy(), rtol=1e-5)
    with torch.no_grad():
        expected = plain[0](-mean / spread * torch.ones(1, 2, 4, 4)).double().numpy().reshape(-1)
    one, two = (np.asarray(each.populations[1].neuron.bias) for each in (one, two))
    np.testing.assert_allclose(two, expected, rtol=1e-4, atol=1e-6)  # the padding stays zero behind the normalisation
    assert len(np.unique(np.round(two[:16], 4))) > 1
    assert len(np.unique(one[:16])) == 1


class Shift(nn.Module):
    def forward(self, x):
        return (x - 0.1) / 0.3


class Views(nn.Module):
    """A convolution and a matrix, flattened by a view, pooled by one module twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.lif1, self.conv2, self.lif2 = nn.Conv2d(1, 3, 3), neuron(), nn.Conv2d(3, 4, 2), neuron()
        self.fc, self.lif3, self.pool = nn.Linear(4, 3), neuron(), nn.AvgPool2d(2)

    def forward(self, x):
        m1, m2, m3, spikes, potentials = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem(), [], []
        for _ in range(STEPS):
            a, m1 = self.lif1(self.pool(self.conv1(x)), m1)
            b, m2 = self.lif2(self.pool(self.conv2(a)), m2)
            c, m3 = self.lif3(self.fc(b.view(x.size(0), -1)), m3)
            spikes.append(c)
            potentials.append(m3)
        return torch.stack(spikes), torch.stack(potentials)


class Potentials(Views):
    def forward(self, x):
        return super().forward(x)[1]


def test_flattening_by_a_view_and_a_pool_that_is_used_twice_are_read():
    torch.manual_seed(0)
    network = from_snntorch(Views(), (1, 8, 8), timesteps=STEPS)
    assert [one.shape for one in network.populations] == [(1, 8, 8), (3, 3, 3), (4, 1, 1), (3,)]


def test_a_forward_that_returns_the_potentials_of_neurons_that_fire_has_to_say_its_readout():
    torch.manual_seed(0)
    with pytest.raises(
        ConversionError, match=r"or it is potentials of neurons that fire, or their largest or mean over time: then say readout="
    ):
        from_snntorch(Potentials(), (1, 8, 8), timesteps=STEPS)
    assert from_snntorch(Potentials(), (1, 8, 8), timesteps=STEPS, readout="potential").readout.how == "potential"


def test_what_stands_in_front_of_the_first_layer_may_be_a_module_or_a_flattening():
    torch.manual_seed(0)
    linear = nn.Linear(12, 4)
    network = from_snntorch(nn.Sequential(Shift(), linear, hidden()), (12,), timesteps=STEPS, coding=None)
    np.testing.assert_allclose(network.connections[0].synapses.weight, linear.weight.detach().numpy() / 0.3, rtol=1e-5)
    driven = nn.Sequential(nn.Flatten(), hidden(), nn.Linear(12, 4), hidden())
    assert [one.shape for one in from_snntorch(driven, (3, 2, 2), timesteps=STEPS).populations] == [(12,), (4,)]
    with pytest.raises(
        ConversionError, match=r"^layer '1': neurons at the input take the sample itself, but forward changes it first$"
    ):
        from_snntorch(nn.Sequential(Shift(), hidden(), linear, hidden()), (12,), timesteps=STEPS)


def test_calibration_samples_are_used_and_checked():
    images = torch.arange(108).reshape(9, 12) / 107
    assert from_snntorch(made(), (12,), timesteps=STEPS, calibration=images).encoding is not None
    events = torch.rand(4, STEPS, 12) < 0.3
    assert from_snntorch(made(), (12,), timesteps=STEPS, coding=None, calibration=events).encoding is None
    for wrong, coding, message in (
        (images * 255, "pixels", r"calibration lies in \[0, 255\]; images are uint8"),
        (images[:, :5], "pixels", r"calibration has samples of shape \(5,\); the network takes \(12,\)"),
        (events[:, :3], None, r"calibration must be events \[N, 6, 12\] of 0 and 1"),
    ):
        with pytest.raises(ConversionError, match=message):
            from_snntorch(made(), (12,), timesteps=STEPS, calibration=wrong, **({} if coding else {"coding": None}))
