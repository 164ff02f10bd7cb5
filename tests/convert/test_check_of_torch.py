"""What a torch module's forward does beside calling its layers in order is composed where that is exact, else refused by name."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from neurofault.convert.driven import activations
from neurofault.convert.torch_model import as_taken, from_torch, read
from neurofault.errors import ConversionError, NeurofaultError, NeurofaultWarning

IMAGES = np.random.default_rng(0).random((30, 1, 8, 8)).astype(np.float32)


class Net(nn.Module):
    """A convolution and two matrices; each hook is what a user may write in between."""

    def __init__(self, *, before=None, act=functional.relu, flat=None, end=None, **more):
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 16), nn.Linear(16, 5)
        for name, module in more.items():
            setattr(self, name, module)
        same = lambda net, x: x  # noqa: E731
        self.before, self.act, self.flat, self.end = before or same, act, flat or (lambda net, h: h.flatten(1)), end or same

    def forward(self, x):
        h = self.flat(self, self.act(self.conv(self.before(self, x))))
        return self.end(self, self.fc2(self.act(self.fc1(h))))


def made(seed=0, **more):
    torch.manual_seed(seed)
    return Net(**more)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.2))
        self.register_buffer("std", torch.tensor(0.4))

    def forward(self, x):
        return (x - self.mean) / self.std


class Same(nn.Linear):
    pass


class Twice(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


def seq(*modules):
    return nn.Sequential(nn.Flatten(), *modules)


TAKEN = {
    "view of size": lambda: made(flat=lambda net, h: h.view(h.size(0), -1)),
    "view of shape": lambda: made(flat=lambda net, h: h.view(h.shape[0], 256)),
    "view of -1": lambda: made(flat=lambda net, h: h.view(-1, 256)),
    "reshape": lambda: made(flat=lambda net, h: h.reshape(-1, 4 * 8 * 8)),
    "contiguous clone": lambda: made(flat=lambda net, h: h.contiguous().clone().flatten(1)),
    "relu in place": lambda: made(act=lambda h: functional.relu(h, inplace=True)),
    "relu_": lambda: made(act=torch.relu_),
    "relu method": lambda: made(act=lambda h: h.relu()),
    "dropout that ends": lambda: made(flat=lambda net, h: functional.dropout(h, 0.5, net.training).flatten(1)),
    "normalised": lambda: made(before=lambda net, x: (x - 0.13) / 0.31),
    "inverted": lambda: made(before=lambda net, x: 1 - x),
    "scaled twice": lambda: made(before=lambda net, x: x * 255 / 255),
    "normalising module": lambda: nn.Sequential(Scale(), nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)),
    "normalised and pooled": lambda: nn.Sequential(Scale(), nn.AvgPool2d(2), nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)),
    "normalised matrix": lambda: seq(Scale(), nn.Linear(64, 3)),
    "subclass": lambda: seq(Same(64, 3)),
    "weight norm": lambda: seq(nn.utils.parametrizations.weight_norm(nn.Linear(64, 3))),
    "spectral norm": lambda: seq(nn.utils.parametrizations.spectral_norm(nn.Linear(64, 3))),
    "data parallel": lambda: nn.DataParallel(made()),
    "padding same": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding="same", dilation=2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)),
    "padding valid": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding="valid"), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)),
    "half": lambda: made().half(),
    "bfloat16": lambda: made().bfloat16(),
    "double": lambda: made().double(),
    "permuted": lambda: made(flat=lambda net, h: h.permute(0, 2, 3, 1).flatten(1)),
    "transposed": lambda: made(flat=lambda net, h: h.transpose(2, 3).flatten(1)),
    "flipped": lambda: made(flat=lambda net, h: h.flip(3).flatten(1)),
    "padded": lambda: made(flat=lambda net, h: functional.pad(h, (1, 0))[..., :-1].flatten(1)),
    "mul_": lambda: made(flat=lambda net, h: h.mul_(0.5).flatten(1)),
    "add": lambda: made(flat=lambda net, h: (h + 1).flatten(1)),
    "relu6": lambda: made(act=functional.relu6),
    "flipped before": lambda: made(before=lambda net, x: x.flip(3)),
    "clamped before": lambda: made(before=lambda net, x: x.clamp(0, 0.5)),
    "even kernel": lambda: nn.Sequential(nn.Conv2d(1, 4, 2, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)),
    "layer used twice": lambda: made(flat=lambda net, h: functional.relu(net.more(functional.relu(net.more(h.flatten(1))))), more=nn.Linear(256, 256)),
}  # fmt: skip


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_what_is_exact_is_taken(make):
    model = make().eval()
    found = read(model, IMAGES)
    with torch.no_grad():
        expected = model.float()(torch.from_numpy(IMAGES)).double().numpy()
    np.testing.assert_allclose(activations(found.stages, IMAGES)[-1].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert from_torch(model, torch.from_numpy(IMAGES)).populations[-1].size == expected.shape[1]


FRONT = "layer 'conv' does not take the sample itself: forward changes it first, and not by one gain and one shift of each value"


def with_value(model, layer, field, value):
    with torch.no_grad():
        getattr(model.get_submodule(layer), field).view(-1)[2] = value
    return model


def hooked(model, layer, hook):
    model.get_submodule(layer).register_forward_hook(hook)
    return model


def front_hooked():
    model = made()
    model.fc1.register_forward_pre_hook(lambda module, inputs: (inputs[0].flip(-1),))
    return model


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.fc(x.flatten(1))


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


REFUSED = {
    "flatten 0": (lambda: made(flat=lambda net, h: h.flatten(0).view(h.size(0), -1)), "layer 'flatten': flatten(0) is not a flattening: it mixes samples"),
    "dropout stays": (lambda: made(flat=lambda net, h: functional.dropout(h).flatten(1)), "layer 'dropout': dropout that stays on in eval mode; pass training="),
    "noise": (lambda: made(flat=lambda net, h: (h + torch.randn_like(h)).flatten(1)), "layer 'randn_like': randn_like cannot become spiking; what can: Linear, "),
    "squared before": (lambda: made(before=lambda net, x: x**2), FRONT),
    "binary before": (lambda: made(before=lambda net, x: (x > 0.5).float()), FRONT),
    "centred before": (lambda: made(before=lambda net, x: x - x.mean()), "layer 'mean': mean() mixes samples, or is no sum of a sample's values"),
    "another forward": (lambda: seq(Twice(64, 3)), "layer '1' differs from the original: its output by "),
    "hook": (lambda: hooked(made(), "fc1", lambda module, inputs, output: output + 0.5), "layer 'fc1' differs from the original: its output by 0.5"),
    "hook in front": (front_hooked, "layer 'fc1' differs from the original: its output by "),
    "hook on the whole": (lambda: hooked(made(), "", lambda module, inputs, output: -output), "layer 'fc2': the module gives another answer than its layers"),
    "softmax of samples": (lambda: made(end=lambda net, x: x.softmax(0)), "layer 'softmax': softmax changes the order of a sample's scores"),
    "argmax": (lambda: made(end=lambda net, x: x.argmax(1)), "layer 'argmax': argmax cannot become spiking; use nothing: return the scores themselves"),
    "one score": (lambda: seq(nn.Linear(64, 1), nn.Sigmoid()), "layer '2': Sigmoid of one score; the largest of one score is always the same"),
    "two tensors": (lambda: made(end=lambda net, x: (x, x)), "the module returns something other than its last layer's tensor; return that alone"),
    "NaN weight": (lambda: with_value(made(), "fc1", "weight", float("nan")), "layer 'fc1': weight: 1 of 4096 values are not finite (the first: nan at [0, 2])"),
    "inf bias": (lambda: with_value(made(), "fc2", "bias", float("inf")), "layer 'fc2': bias: 1 of 5 values are not finite (the first: inf at [2])"),
    "NaN variance": (lambda: with_value(seq(nn.Linear(64, 4), nn.BatchNorm1d(4)), "2", "running_var", float("nan")), "layer '2': running_var: 1 of 4 values"),
    "recurrent": (lambda: nn.GRU(64, 10), "the module's forward cannot be traced (TraceError"),
    "lazy": (lambda: seq(nn.LazyLinear(3)), "layer '1': LazyLinear has no parameters yet; run the module on a sample first"),
    "quantised": (
        lambda: torch.ao.quantization.quantize_dynamic(seq(nn.Linear(64, 3)), {nn.Linear}),
        "layer '1': torch.ao.nn.quantized.dynamic.modules.linear.Linear cannot become spiking",
    ),
    "KeyError": (lambda: Raises(KeyError("a")), "the module's forward cannot be traced (KeyError: 'a')"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_is_refused_by_its_name(make, message):
    with pytest.raises(ConversionError, match="^" + re.escape(message)):
        from_torch(make(), IMAGES)


def test_a_module_is_left_as_it_was_counters_and_partly_frozen_modes_included():
    model = Counts().train()
    model.fc.eval()
    from_torch(model, IMAGES)
    assert (float(model.calls), model.training, model.fc.training) == (0.0, True, False)


@pytest.mark.parametrize("ending", [nn.Softmax(1), nn.LogSoftmax(-1), nn.Sigmoid(), nn.Tanh()])
def test_a_function_at_the_end_that_keeps_the_order_of_the_scores_is_left_out_with_a_word(ending):
    torch.manual_seed(0)
    body = seq(nn.Linear(64, 4))
    kind = type(ending).__name__
    with pytest.warns(
        NeurofaultWarning, match=f"^layer '2': {kind} at the end is left out: the chip reads the scores in front of it"
    ):
        network = from_torch(nn.Sequential(*body, ending), IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bare = from_torch(body, IMAGES)
    np.testing.assert_array_equal(network.connections[-1].synapses.weight, bare.connections[-1].synapses.weight)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (
            (IMAGES * 255).astype(np.int64),
            "calibration is int64; images are uint8 (shown as x/255) or float in [0, 1]: pass it as uint8",
        ),
        (IMAGES > 0.5, "calibration is bool; images are uint8"),
        (IMAGES * 255, "calibration lies in [0.0"),
        ((IMAGES - 0.3) / 0.37, "calibration lies in [-0.81"),
        (
            (IMAGES > 0.5).astype(np.uint8),
            "calibration is uint8 with no value above 1, and x/255 would be all but black; pass it as float",
        ),
        (np.where(IMAGES > 0.9, np.nan, IMAGES), "calibration: "),
        (IMAGES[:0], "calibration needs at least one image"),
        (IMAGES[0, 0, 0], "calibration has the shape (8,); images are [N, …]"),
        ("digits", "calibration: an array or a tensor of numbers is taken, not "),
        ([[0.1, 0.2], [0.3]], "calibration: a list is no array of numbers"),
    ],
)
def test_calibration_of_another_range_or_type_is_refused_with_what_to_do(calibration, message):
    with pytest.raises(NeurofaultError, match="^" + re.escape(message)):
        from_torch(made(), calibration)


def test_calibration_bytes_tensors_and_fractions_mean_the_same():
    pixels = np.rint(IMAGES * 255).astype(np.uint8)
    networks = [
        from_torch(made(), each) for each in (pixels, torch.from_numpy(pixels), pixels / 255, torch.from_numpy(pixels / 255))
    ]
    for network in networks[1:]:
        assert network.populations[1].neuron.threshold == networks[0].populations[1].neuron.threshold


class Flat(nn.Module):
    """Takes flattened samples only, and says so in its own way."""

    def __init__(self, check):
        super().__init__()
        self.check, self.fc = check, nn.Linear(64, 10)

    def forward(self, x):
        self.check(x)
        return self.fc(x)


def unpacks(x):
    n, width = x.shape
    return n, width


def asserts(x):
    assert x.ndim == 2, "flat samples, please"


@pytest.mark.parametrize("check", [unpacks, asserts])
def test_a_forward_that_raises_on_images_is_tried_on_flat_ones(check):
    assert as_taken(Flat(check), IMAGES).shape == (30, 64)


@pytest.mark.parametrize("error", [ValueError("no\nsuch"), TypeError("x"), KeyError("x"), AssertionError(), ZeroDivisionError("x")])
def test_whatever_forward_raises_is_one_line(error):
    with pytest.raises(ConversionError) as refusal:
        as_taken(Raises(error), IMAGES)
    assert "\n" not in str(refusal.value)
    assert type(error).__name__ in str(refusal.value)


def test_a_module_that_returns_no_scores_is_named():
    with pytest.raises(
        ConversionError,
        match=r"^the network takes no samples of 64 values; .* \(the module returns a tuple; scores \[N, classes\] are taken",
    ):
        as_taken(nn.GRU(64, 10), IMAGES.reshape(30, 64))
