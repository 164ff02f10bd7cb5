"""snnTorch's neurons, resets, recurrence and max pooling: equal spike counts here and there, on weights of the chip's grid.

The chip's decays round towards 0 and snnTorch's do not, so a spike that hangs on a few units of v may differ (``experiments/snntorch_networks.py`` counts how
often, and how close to the threshold). The drawing that is used here has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snntorch = pytest.importorskip("snntorch")

from snntorch._neurons import SpikingNeuron  # noqa: E402
from torch import nn  # noqa: E402

import neurofault as nf  # noqa: E402
from neurofault.convert.snntorch_model import from_snntorch  # noqa: E402
from neurofault.errors import ConversionError  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing

STEPS, SAMPLES = 50, 100
THRESHOLD = 3 + 1 / 128
"""Between the sums of weights, which are whole 32nds."""


def on_grid(module: nn.Module, seed: int) -> None:
    """Weights that 8 mixed bits hold, the largest at the end of the range; no biases."""
    rng = np.random.default_rng(seed)
    for name, parameter in module.named_parameters():
        if name.endswith("weight"):
            weight = 2 * rng.integers(-128, 128, parameter.shape)
            weight.flat[0] = -256
            parameter.data = torch.from_numpy(weight / 64).float()
        elif name.endswith("bias"):
            parameter.data.zero_()


class Net(nn.Module):
    """Two layers of neurons in a loop over the steps, [T, N, …]."""

    def __init__(self, first: nn.Module, neurons: nn.Module, second: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.first, self.neurons, self.second, self.last = first, neurons, second, last

    def forward(self, x: Any) -> Any:
        counts = []
        for step in x:
            counts.append(self.last(self.second(self.neurons(self.first(step)))))
        return torch.stack(counts)


def events(n: int, seed: int, rate: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((SAMPLES, STEPS, n)) < rate


def leaky(kind: str, **fields: Any) -> Any:
    own = {"beta": 0.875, "threshold": THRESHOLD, "init_hidden": True, **fields}
    if "Synaptic" in kind:
        own["alpha"] = 0.5
    return getattr(snntorch, kind)(**own)


def counts_there(model: nn.Module, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for module in model.modules():
        if isinstance(module, SpikingNeuron):
            module.reset_mem()
    given = torch.from_numpy(x).float().transpose(0, 1).reshape(STEPS, len(x), *shape)
    with torch.no_grad():
        return model(given).sum(0).flatten(1).numpy()


def counts_here(chip: nf.Deployment, x: np.ndarray, engine: str = "exact") -> np.ndarray:
    found = nf.run(chip, nf.Inputs(events=x), engine=engine, record=("spikes",)).activity.traces["output"].spikes
    assert found is not None
    return found.sum(axis=1)


CASES = [
    (kind, reset, delay)
    for kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic")
    for reset in ("subtract", "zero")
    for delay in (True, False)
    if delay or (kind != "RSynaptic" and reset != "subtract")
]


def two_layers(kind: str, reset: str, delay: bool, **fields: Any) -> Net:
    own = {"reset_mechanism": reset, "reset_delay": delay, **fields}
    if kind.startswith("R"):
        own.setdefault("linear_features", 12)
    last = leaky("Leaky", reset_mechanism=reset, reset_delay=True)
    model = Net(nn.Linear(9, 12, bias=False), leaky(kind, **own), nn.Linear(12, 5, bias=False), last)
    on_grid(model, len(kind) + len(reset))
    return model.eval()


@pytest.mark.parametrize(("kind", "reset", "delay"), CASES)
def test_spike_counts_are_equal(kind: str, reset: str, delay: bool) -> None:
    model = two_layers(kind, reset, delay)
    network = from_snntorch(model, (9,), timesteps=STEPS, coding=None)
    x = events(9, 2)
    there, here = counts_there(model, x, (9,)), counts_here(nf.deploy(network), x)
    np.testing.assert_array_equal(here, there)
    assert there.sum() > SAMPLES


@pytest.mark.parametrize("engine", ["lava", "brian2"])
@pytest.mark.parametrize(("kind", "reset"), [("RLeaky", "subtract"), ("RSynaptic", "zero")])
def test_other_engines_agree(kind: str, reset: str, engine: str) -> None:
    pytest.importorskip(engine)
    chip = nf.deploy(from_snntorch(two_layers(kind, reset, True), (9,), timesteps=STEPS, coding=None))
    x = events(9, 2)[:2]
    np.testing.assert_array_equal(counts_here(chip, x, engine), counts_here(chip, x))


@pytest.mark.parametrize("v", [0.5, np.linspace(-1, 1.5, 12)], ids=["one", "each"])
def test_recurrence_of_each_neuron_to_itself(v: Any) -> None:
    model = two_layers(
        "RLeaky", "subtract", True, all_to_all=False, linear_features=None, V=torch.as_tensor(np.asarray(v) * 1.0).float()
    )
    network = from_snntorch(model, (9,), timesteps=STEPS, coding=None)
    assert [(one.name, one.source, one.target) for one in network.connections][-1] == ("hidden1.rec", "hidden1", "hidden1")
    weight = network.connection("hidden1.rec").synapses.weight
    np.testing.assert_allclose(weight, np.broadcast_to(v, 12), rtol=1e-6)


def test_learned_leaks_and_thresholds_of_single_neurons() -> None:
    rng = np.random.default_rng(2)
    beta, threshold = (
        torch.from_numpy(rng.choice([0.5, 0.75, 0.875], 12)).float(),
        torch.from_numpy(rng.integers(2, 6, 12) + 1 / 128).float(),
    )
    model = two_layers("Leaky", "subtract", True, beta=beta, threshold=threshold, learn_beta=True, learn_threshold=True)
    network = from_snntorch(model, (9,), timesteps=STEPS, coding=None)
    x = events(9, 2)
    np.testing.assert_array_equal(counts_here(nf.deploy(network), x), counts_there(model, x, (9,)))


@pytest.mark.parametrize(
    ("pool", "out"), [(nn.MaxPool2d(2), 3 * 3 * 3), (nn.MaxPool2d(3, 2, padding=1), 3 * 3 * 3), (nn.AvgPool2d(2), 3 * 3 * 3)], ids=["max", "padded", "average"]
)  # fmt: skip
def test_pooling_between_spiking_layers(pool: nn.Module, out: int) -> None:
    conv = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    model = Net(
        conv,
        nn.Sequential(leaky("Leaky", reset_mechanism="zero"), pool),
        nn.Sequential(nn.Flatten(), nn.Linear(out, 5, bias=False)),
        leaky("Leaky"),
    )
    on_grid(model, 6)
    model.eval()
    network = from_snntorch(model, (2, 6, 6), timesteps=STEPS, coding=None)
    assert len(network.populations) == (3 if isinstance(pool, nn.AvgPool2d) else 4)
    x = events(72, 2, 0.15)
    there, here = counts_there(model, x, (2, 6, 6)), counts_here(nf.deploy(network), x)
    np.testing.assert_array_equal(here, there)
    assert there.sum() > SAMPLES


def test_max_pooling_of_spikes_is_torchs() -> None:
    conv = nn.Conv2d(1, 2, 1, bias=False)
    model = Net(
        conv,
        nn.Sequential(leaky("Leaky", reset_mechanism="zero"), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(8, 2, bias=False)),
        leaky("Leaky"),
    )
    on_grid(model, 1)
    conv.weight.data[:] = 4.0
    network = from_snntorch(model.eval(), (1, 4, 4), timesteps=STEPS, coding=None)
    x = events(16, 8)[:5]
    traces = nf.run(nf.deploy(network), nf.Inputs(events=x), record=("spikes",)).activity.traces
    before, pooled = (torch.from_numpy(traces[name].spikes).float() for name in ("hidden1", "hidden2"))
    wanted = nn.functional.max_pool2d(before.reshape(-1, 2, 4, 4), 2).reshape(pooled.shape)
    assert torch.equal(pooled, wanted)
    assert 0 < float(pooled.mean()) < 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Net(
                nn.Linear(9, 12), leaky("RSynaptic", linear_features=12, reset_delay=False), nn.Linear(12, 5), leaky("Leaky")
            ),
            "with reset_delay=False is never reset in snnTorch 1.0",
        ),
        (
            lambda: Net(nn.Linear(9, 12), snntorch.Alpha(alpha=0.9, beta=0.8, init_hidden=True), nn.Linear(12, 5), leaky("Leaky")),
            "layer 'neurons': Alpha neurons have no membrane: their potential is the difference of two currents, and their reset clears both; taken: Leaky, Synaptic, RLeaky, RSynaptic",
        ),
        (
            lambda: Net(nn.Linear(9, 12, bias=False), leaky("RSynaptic", linear_features=12), nn.Linear(12, 5), leaky("Leaky")),
            "get a bias through a synaptic current",
        ),
    ],
    ids=["RSynaptic", "Alpha", "bias"],
)
def test_what_is_not_exact_is_refused(build: Any, message: str) -> None:
    with pytest.raises(ConversionError) as error:
        from_snntorch(build().eval(), (9,), timesteps=STEPS, coding=None)
    assert message in str(error.value)


def test_max_pooling_of_currents_is_refused() -> None:
    model = Net(
        nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2)),
        leaky("Leaky"),
        nn.Sequential(nn.Flatten(), nn.Linear(27, 5)),
        leaky("Leaky"),
    )
    with pytest.raises(ConversionError) as error:
        from_snntorch(model.eval(), (2, 6, 6), timesteps=5, coding=None)
    assert str(error.value) == (
        "layer 'first.1': max pooling of currents, the largest of sums of weights, is nothing that a chip's neurons do; put it behind the spiking layer, "
        "where it is an OR of spikes, or use AvgPool2d"
    )


@pytest.mark.parametrize("first", ["steps", "samples"])
def test_explicit_states_are_taken_in_either_order_of_axes(first: str) -> None:
    class Explicit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(9, 12, bias=False), nn.Linear(12, 5, bias=False)
            self.lif1 = snntorch.RLeaky(beta=0.875, threshold=THRESHOLD, linear_features=12)
            self.lif2 = snntorch.Leaky(beta=0.5, threshold=THRESHOLD)

        def forward(self, x: Any) -> Any:
            spk1, mem1 = self.lif1.init_rleaky()
            mem2 = self.lif2.init_leaky()
            out = []
            for step in x if first == "steps" else x.transpose(0, 1):
                spk1, mem1 = self.lif1(self.fc1(step), spk1, mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
                out.append(spk2)
            return torch.stack(out)

    model = Explicit()
    on_grid(model, 3)
    network = from_snntorch(model.eval(), (9,), timesteps=STEPS, coding=None)
    x = events(9, 2)
    given = torch.from_numpy(x).float()
    with torch.no_grad():
        there = model(given.transpose(0, 1) if first == "steps" else given).sum(0).numpy()
    np.testing.assert_array_equal(counts_here(nf.deploy(network), x), there)


def test_a_recurrence_of_other_spikes_is_refused() -> None:
    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(9, 12, bias=False), nn.Linear(12, 12, bias=False)
            self.lif1, self.lif2 = snntorch.Leaky(beta=0.5), snntorch.RLeaky(beta=0.875, linear_features=12)

        def forward(self, x: Any) -> Any:
            mem1, mem2, out = self.lif1.init_leaky(), torch.zeros(1), []
            for step in x:
                spk1, mem1 = self.lif1(self.fc1(step), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), spk1, mem2.expand_as(spk1))
                out.append(spk2)
            return torch.stack(out)

    model = Wrong()
    on_grid(model, 3)
    with pytest.raises(ConversionError, match="layer 'lif2' does not get its own spikes of the step before back"):
        from_snntorch(model.eval(), (9,), timesteps=8, coding=None)
