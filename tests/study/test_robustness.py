"""Area under the damage curve: its definition against a plain sum, its curves against faults that are injected one by one, and NeuroBench's harness."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.errors import UnsupportedError, UsageError
from neurofault.study.robustness import RATES, Robustness


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(0)
    prototypes = rng.random((3, 12)) < 0.5
    labels = np.arange(60) % 3
    events = nf.Spikes.dense((rng.random((60, 8, 12)) < 0.8) & prototypes[labels][:, None])
    hidden = np.repeat(prototypes[:, None] * 2.0 - 1, 6, axis=1).reshape(18, 12) + rng.normal(size=(18, 12)) * 0.2
    net = nf.chain(
        "toy", [nf.Population("input", (12,), nf.Source()), nf.Population("hidden1", (18,), nf.CubaLif(3.0)), nf.Population("output", (3,), nf.CubaLif(2.0))],
        [nf.Dense(hidden), nf.Dense(np.kron(np.eye(3), np.ones((1, 6))))], timesteps=8, how="count",
    )  # fmt: skip
    return nf.deploy(net, neurons_per_core=3), events, labels


@settings(deadline=None)
@given(
    accuracy=st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5),
    healthy=st.floats(0.6, 1), chance=st.floats(0, 0.5), steps=st.tuples(st.floats(0.01, 0.5), st.floats(0.01, 0.5)),
)  # fmt: skip
def test_the_area_is_the_mean_height_of_what_is_kept(accuracy, healthy, chance, steps):
    grid = (0.0, steps[0], steps[0] + steps[1])
    found = Robustness("core_dead", "hidden", grid, healthy, chance, np.array(accuracy), 10)
    for own, row in zip(found.areas, accuracy, strict=True):
        kept = [(one - chance) / (healthy - chance) for one in row]
        plain = (steps[0] * (kept[0] + kept[1]) + steps[1] * (kept[1] + kept[2])) / 2 / sum(steps)
        assert own == pytest.approx(plain, abs=1e-9)
    assert found.area.mean == pytest.approx(found.areas.mean())


def test_nothing_lost_is_one_chance_is_zero_and_rates_go_by_their_logarithm():
    whole = Robustness("neuron_dead", "hidden", (0.0, 0.5, 1.0), 0.9, 0.1, np.full((3, 3), 0.9), 10)
    assert np.allclose(whole.areas, 1)
    assert np.allclose(Robustness("neuron_dead", "hidden", (0.0, 0.5, 1.0), 0.9, 0.1, np.full((3, 3), 0.1), 10).areas, 0)
    fall = np.array([[0.9, 0.9, 0.9, 0.1, 0.1]])
    assert Robustness("synapse_bit_flip", "hidden", RATES, 0.9, 0.1, fall, 10).areas == pytest.approx([2.5 / 4])


@pytest.mark.parametrize("fault", ["core_dead", "neuron_dead", "synapse_dead", "synapse_bit_flip"])
def test_curves_are_those_of_faults_injected_one_by_one(made, fault):
    chip, events, labels = made
    grid = (1e-3, 0.3) if fault == "synapse_bit_flip" else (0.0, 0.5, 1.0)
    found = nf.robustness(chip, events, labels, fault, grid=grid, draws=3, seed=5)
    assert found.accuracy.shape == (3, len(grid))
    assert found.healthy == nf.run(chip, events, labels).accuracy > 0.9
    assert found.chance == pytest.approx(1 / 3)
    how = {"core_dead": {"count": 3}, "neuron_dead": {"count": 9}}.get(fault, {"rate": grid[1]})
    for draw in range(3):
        hurt = nf.inject(chip, [{"kind": fault, "layer": "hidden", **how}], seed=5, draw=draw)
        assert found.accuracy[draw, 1] == nf.run(hurt, events, labels).accuracy
    if fault != "synapse_bit_flip":
        assert (found.accuracy[:, 0] == found.healthy).all()
        assert np.allclose(found.accuracy[:, 2], 1 / 3)
        assert 0.2 < found.area.mean < 0.95
    assert str(found).startswith(f"R({fault}) = {found.area.mean:.3f} (")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fault": "core_ded"}, "robustness: no damage curve of 'core_ded' (did you mean 'core_dead'?); allowed: core_dead, neuron_dead, synapse_dead, synapse_bit_flip"),
        ({"grid": (0.0,)}, "robustness: a grid is two or more increasing numbers up to 1, not 0"),
        ({"grid": (0.0, 0.5, 0.5)}, "robustness: a grid is two or more increasing numbers up to 1, not 0, 0.5, 0.5"),
        ({"grid": (0.1, 0.5)}, "robustness: shares of core_dead start at 0, the healthy chip; the grid is 0.1, 0.5"),
        ({"fault": "synapse_bit_flip", "grid": (0.0, 0.5)}, "robustness: rates of synapse_bit_flip lie above 0, because their scale is logarithmic; the grid is 0, 0.5"),
        ({"draws": 0}, "robustness: draws must be at least 1, is 0"),
    ],
)  # fmt: skip
def test_what_has_no_area_is_refused_in_one_line(made, given, message):
    with pytest.raises(UsageError) as caught:
        nf.robustness(*made, **given)
    assert str(caught.value) == message


def test_a_chip_that_knows_nothing_has_nothing_to_lose(made):
    chip, events, labels = made
    dead = nf.inject(chip, [nf.faults.CoreDead(count=6, layer="hidden")])
    with pytest.raises(UsageError, match=r"the healthy chip answers 33\.33%, no better than the best constant answer"):
        nf.robustness(dead, events, labels)


class NeuroBenchModel(ABC):
    """As in NeuroBench 2.3."""

    def __init__(self):
        self.activation_hooks = []

    @abstractmethod
    def __call__(self, batch): ...

    @abstractmethod
    def __net__(self): ...


class WorkloadMetric(ABC):
    """As in NeuroBench 2.3."""

    def __init__(self, requires_hooks=False):
        self.requires_hooks = requires_hooks

    @abstractmethod
    def __call__(self, model, preds, data): ...


class AccumulatedMetric(WorkloadMetric):
    """As in NeuroBench 2.3."""

    @abstractmethod
    def compute(self): ...

    @abstractmethod
    def reset(self): ...


@pytest.fixture
def harness(monkeypatch):
    """The two modules of NeuroBench that are imported, unless it is installed."""
    models, metrics = ModuleType("neurobench.models"), ModuleType("neurobench.metrics.abstract")
    models.NeuroBenchModel, metrics.AccumulatedMetric = NeuroBenchModel, AccumulatedMetric
    for name, module in {"neurobench": ModuleType("neurobench"), "neurobench.models": models, "neurobench.metrics": ModuleType("m"), "neurobench.metrics.abstract": metrics}.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)


def test_neurobench_shows_batches_and_gets_the_same_area(made, harness):
    chip, events, labels = made
    model, metric = nf.neurobench_model(chip), nf.neurobench_metric("core_dead", draws=3, seed=5)
    assert issubclass(metric, AccumulatedMetric)
    assert metric.__name__ == "RobustnessCoreDead"
    own = metric()
    dense = torch.from_numpy(events.to_dense().astype(np.float32))
    wanted = nf.robustness(chip, events, labels, "core_dead", draws=3, seed=5)
    for _ in range(2):  # the harness resets it for another run
        own.reset()
        assert own.measured is None
        for batch, truth in zip(dense.split(25), torch.from_numpy(labels).split(25), strict=True):
            preds = model(batch)
            value = own(model, preds, (batch, truth))
        assert value == own.compute() == pytest.approx(wanted.area.mean)
        assert np.array_equal(own.measured.accuracy, wanted.accuracy)
        assert own.measured.healthy == wanted.healthy
    assert torch.equal(model(dense), torch.from_numpy(nf.run(chip, events).activity.predictions))


def test_without_neurobench_it_says_what_to_install(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "neurobench", None)
    for ask in (lambda: nf.neurobench_model(made[0]), nf.neurobench_metric):
        with pytest.raises(UnsupportedError, match="pip install neurobench"):
            ask()
