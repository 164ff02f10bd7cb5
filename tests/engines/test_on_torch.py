"""Engine exact on a device of torch: its operations, on torch's CPU device, against a chip with one clock; what it refuses; that a wrong device is found out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from chips import chip, conv, dense, graph_chip, neurons, population, sparse
from random_graphs import random_edit, random_graph
from reference import check, present
from test_laws import lawful
from test_readouts import read_otherwise

from neurofault.activity import TRACES
from neurofault.damage.damage import Damage, Drop, SetSynapses, Silence
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine, run
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.on_torch import neurons as neurons_module
from neurofault.engines.on_torch import present as present_module
from neurofault.engines.on_torch import products
from neurofault.engines.on_torch.devices import TORCH_CPU, check_device
from neurofault.engines.on_torch.engine import TorchEngine
from neurofault.errors import EngineError, UnsupportedError, UsageError
from neurofault.graph import Conv, Dense
from neurofault.graph.arithmetic import Arithmetic, Register
from neurofault.graph.law import Law
from neurofault.graph.synapses import Sparse
from neurofault.inputs import Inputs


def assert_same(made: Deployment, inputs: Inputs, engine: TorchEngine, record: tuple[str, ...] = TRACES) -> None:
    """Everything of a run, against the compiled kernels."""
    right, found = ExactEngine().run(made, inputs, record=record), engine.run(made, inputs, record=record)
    np.testing.assert_array_equal(found.scores, right.scores)
    np.testing.assert_array_equal(found.sample_spikes, right.sample_spikes)
    assert found.spike_counts.keys() == right.spike_counts.keys()
    assert found.traces.keys() == right.traces.keys()
    for name, counts in right.spike_counts.items():
        np.testing.assert_array_equal(found.spike_counts[name], counts)
    for name, own in right.traces.items():
        for trace in TRACES:
            np.testing.assert_array_equal(getattr(found.traces[name], trace), getattr(own, trace))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], ...]]:
    """The islands of each batch that goes through the device, in order."""
    found: list[tuple[tuple[str, ...], ...]] = []
    original = present_module.run_batch

    def spied(chip, *rest):
        found.append(tuple(chip.islands))
        return original(chip, *rest)

    monkeypatch.setattr(present_module, "run_batch", spied)
    return found


@pytest.mark.parametrize("seed", range(14))
def test_graphs_laws_and_readouts_equal_a_chip_with_one_clock(seed: int, ran: list[tuple[tuple[str, ...], ...]]) -> None:
    made, inputs, rng = (random_graph, lawful)[seed % 2](seed, 24)
    made = read_otherwise(made, rng) if seed % 3 else made
    made = made.with_damage(Damage(tuple(random_edit(rng, made, plain=True) for _ in range(int(rng.integers(0, 4))))))
    check(made, TorchEngine(TORCH_CPU, batch=2).run(made, inputs, record=TRACES), present(made, inputs))
    assert ran
    assert all(islands == made.schedule.islands for islands in ran)
    assert_same(made, inputs, TorchEngine(TORCH_CPU), ())


@pytest.mark.parametrize("seed", range(6))
def test_what_damage_in_time_leaves_alone_goes_through_the_device(seed: int) -> None:
    made, inputs, rng = random_graph(seed, 20)
    made = made.with_damage(Damage(tuple(random_edit(rng, made) for _ in range(2))))
    assert_same(made, inputs, TorchEngine(TORCH_CPU))


def test_a_population_with_damage_in_time_runs_on_the_cpu_and_the_others_on_the_device(
    ran: list[tuple[tuple[str, ...], ...]],
) -> None:
    rng = np.random.default_rng(2)
    layers = [population("input", (6,)), population("a", (5,), dense(rng, 5, 6)), population("b", (4,), dense(rng, 4, 5))]
    made = chip(layers, 8)
    made = made.with_damage(Damage((replace(Silence("b", np.array([1])), when=When(2, 5)),)))
    assert_same(made, Inputs(events=rng.random((3, 8, 6)) < 0.4), TorchEngine(TORCH_CPU))
    assert ran == [(("input",), ("a",))]


@pytest.mark.parametrize("exponent", [-9, -1, 0, 7, 24])
@pytest.mark.parametrize("kind", ["dense", "listed", "unfolded"])
def test_sums_beyond_float32_and_32_bits_are_exact(kind: str, exponent: int) -> None:
    rng = np.random.default_rng(5)
    big = lambda *shape: (rng.integers(-(1 << 28), 1 << 28, shape) | 1).astype(np.int32)  # noqa: E731  # odd: float32 would round
    match kind:
        case "dense":
            synapses = Dense(big(4, 36))
        case "listed":
            made = sparse(rng, 4, 36, 0.8, delays=2)
            synapses = replace(made, weight=big(len(made.weight)))
        case _:
            synapses = Conv(big(4, 1, 3, 3), (4, 3, 3), groups=4, padding=(1, 0), stride=(2, 1), dilation=(1, 1))
    layers = [
        population("input", (4, 3, 3)),
        population("output", (synapses.n_out,), synapses, exponent=exponent, vth=9000, du=700, dv=3),
    ]
    edits = [
        SetSynapses("output", np.array([0, 1]), np.array([0, 0]), np.array([77777777, 3], np.int32)),
        Silence("input", np.array([5])),
    ]
    made, inputs = chip(layers, 9, edits), Inputs(events=rng.random((5, 9, 36)) < 0.7)
    check(made, TorchEngine(TORCH_CPU).run(made, inputs, record=TRACES), present(made, inputs))


def test_float32_is_taken_where_it_is_proved_and_float64_elsewhere() -> None:
    def kind(weights: np.ndarray) -> torch.dtype:
        made = chip([population("input", (weights.shape[1],)), population("output", (1,), Dense(weights))], 1)
        ((_, (product,)),) = products.connection_sums(made, made.connections[0], torch.device("cpu")).products
        return product.matrix.dtype

    assert kind(np.full((1, (1 << 16) - 1), -256)) == torch.float32
    assert kind(np.full((1, 1 << 16), 256)) == torch.float64  # the sum may reach 2**24
    assert kind(np.array([[257, 0]])) == torch.float64  # nine bits


def test_what_a_caller_has_switched_on_for_matrices_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    layers = [population("input", (500,)), population("output", (8,), dense(rng, 8, 500), vth=131071)]
    made, inputs = chip(layers, 6, readout="potential"), Inputs(events=rng.random((4, 6, 500)) < 0.7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(made, inputs, TorchEngine(TORCH_CPU))


def test_networks_without_an_input_and_samples_of_any_number() -> None:
    made = graph_chip([neurons("alone", (3,), bias=[10, 900, 3000])], [], 12)
    assert_same(made, Inputs(samples=5), TorchEngine(TORCH_CPU, batch=2))


def test_the_function_run_takes_a_device() -> None:
    made, inputs, _ = random_graph(7, 12)
    np.testing.assert_array_equal(run(made, inputs, device=TORCH_CPU).activity.scores, run(made, inputs).activity.scores)
    assert (get_engine("exact", TORCH_CPU), get_engine("exact", TORCH_CPU).name) == (TorchEngine(TORCH_CPU), "exact")


def test_labels_of_steps_go_through_the_device(ran: list[tuple[tuple[str, ...], ...]]) -> None:
    made, inputs, _ = random_graph(11, 12)
    labels = np.zeros((len(inputs), made.timesteps), np.int64)
    right, found = run(made, inputs, labels), run(made, inputs, labels, device=TORCH_CPU)
    np.testing.assert_array_equal(found.activity.answers, right.activity.answers)
    assert ran


def test_the_incremental_engine_runs_on_the_device_what_it_does_not_follow(ran: list[tuple[tuple[str, ...], ...]]) -> None:
    rng = np.random.default_rng(2)
    layers = [population("input", (6,)), population("a", (5,), dense(rng, 5, 6)), population("b", (4,), dense(rng, 4, 5))]
    made, inputs = chip(layers, 8), Inputs(events=rng.random((3, 8, 6)) < 0.4)
    lost = made.with_damage(Damage((Drop("a", 1, np.array([2]), np.arange(5), 1.0, 1, ALWAYS),)))
    one = made.with_damage(Damage((SetSynapses("b", np.array([1]), np.array([2]), np.array([9])),)))
    engine = IncrementalEngine(device=TORCH_CPU)
    assert engine.why_whole(lost, 3) is not None
    assert engine.why_whole(one, 3) is None
    for found, broken in zip(engine.run_many([lost, one], inputs), (lost, one), strict=True):
        np.testing.assert_array_equal(found.scores, ExactEngine().run(broken, inputs).scores)
    assert ran == [(("input",),), (("b",),)]


# what a wrong device does


def two_layers() -> tuple[Deployment, Inputs]:
    rng = np.random.default_rng(2)
    weights = np.full((3, 6), 200)
    layers = [population("input", (6,)), population("a", (3,), Dense(weights)), population("b", (4,), dense(rng, 4, 3), vth=131071)]
    return chip(layers, 8, readout="potential"), Inputs(events=rng.random((40, 8, 6)) < 0.2, first_sample=100)


def breaks(monkeypatch: pytest.MonkeyPatch, where: type, method: str, change: Callable[..., object]) -> None:
    original = getattr(where, method)
    monkeypatch.setattr(where, method, lambda self, *given: change(self, original(self, *given)))


REFUSED = " on the CPU; no result of it is kept. Run with --device cpu"


def test_a_sum_that_the_device_gets_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = two_layers()
    right = ExactEngine().run(made, inputs, record=("spikes",)).traces["a"].spikes

    def one_too_many(self, sums):
        sums = sums.clone()
        if sums.shape[1] == 3:
            sums[:, 2] -= 200
        return sums

    breaks(monkeypatch, products.DenseProduct, "sums", one_too_many)
    step = int(np.argmax(right[:16, :, 2].any(axis=0)))
    with pytest.raises(EngineError) as refused:
        TorchEngine(TORCH_CPU, batch=16).run(made, inputs)
    assert re.fullmatch(
        rf"device torch-cpu computes otherwise than the CPU: spike of neuron 2 of population 'a' in step {step} of sample 1\d\d is 0 there, 1{re.escape(REFUSED)}",
        str(refused.value),
    )


def test_a_device_that_goes_wrong_later_is_found_by_the_last_sample_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = two_layers()
    batches = []

    def later(self, sums):
        batches.append(len(sums))
        return sums + 4096 if len(batches) > 2 else sums  # two connections a batch

    breaks(monkeypatch, products.DenseProduct, "sums", later)
    with pytest.raises(EngineError, match="of population 'a' in step 0 of sample 119 is 1 there, 0" + re.escape(REFUSED)):
        TorchEngine(TORCH_CPU, batch=10).run(made, inputs)
    assert len(batches) == 4


def test_potentials_that_the_device_gets_wrong_are_named_as_scores_and_as_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = two_layers()
    right = ExactEngine().run(made, inputs, record=("v",))

    def higher(self, after):
        v, fired, waiting = after
        return (v + 1 if self.name == "b" else v), fired, waiting

    breaks(monkeypatch, neurons_module.NeuronTensors, "fire", higher)
    score = int(right.scores[0, 0])
    with pytest.raises(EngineError) as refused:
        TorchEngine(TORCH_CPU).run(made, inputs)
    assert str(refused.value) == (
        f"device torch-cpu computes otherwise than the CPU: score of neuron 0 of population 'b' for sample 100 is {score + 8} there, {score}{REFUSED}"
    )
    v = int(right.traces["b"].v[0, 0, 0])
    with pytest.raises(EngineError) as refused:
        TorchEngine(TORCH_CPU).run(made, inputs, record=("v",))
    assert str(refused.value) == (
        f"device torch-cpu computes otherwise than the CPU: v of neuron 0 of population 'b' in step 0 of sample 100 is {v + 1} there, {v}{REFUSED}"
    )


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    original, sizes = present_module.run_batch, list[int]()

    def run_batch(chip, inputs, sheet, kept):
        sheet.sample_spikes[:] = 7  # what a batch that was broken off leaves
        if len(inputs) > most:
            raise torch.cuda.OutOfMemoryError
        sizes.append(len(inputs))
        return original(chip, inputs, sheet, kept)

    monkeypatch.setattr(present_module, "run_batch", run_batch)
    return sizes


def test_batches_that_do_not_fit_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = two_layers()
    sizes = _short_of_memory(monkeypatch, 12)
    assert_same(made, inputs, TorchEngine(TORCH_CPU))
    assert sizes == [10, 10, 10, 10]


def test_a_sample_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = two_layers()
    _short_of_memory(monkeypatch, 0)
    with pytest.raises(
        EngineError, match=r"^device torch-cpu has no room for this network and one sample of it; allowed: --device cpu$"
    ):
        TorchEngine(TORCH_CPU).run(made, inputs)


@pytest.mark.parametrize(("where", "what"), [(present_module.ChipTensors, "of"), (present_module, "run_batch")])
def test_a_device_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, where: object, what: str) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be")

    made, inputs = two_layers()
    monkeypatch.setattr(where, what, fails)
    with pytest.raises(EngineError) as refused:
        TorchEngine(TORCH_CPU).run(made, inputs)
    assert str(refused.value) == (
        "device torch-cpu failed: CUDA error: an illegal memory access was encountered; allowed: --device cpu"
    )


# what is refused


def test_devices_that_are_none_or_do_not_go_with_an_engine() -> None:
    with pytest.raises(UsageError) as refused:
        check_device("cudda")
    assert str(refused.value) == "no device 'cudda' (did you mean 'cuda'?); devices: cpu, cuda, torch-cpu (and cuda:0, cuda:1 …)"
    with pytest.raises(UsageError, match=r"^device torch-cpu goes with engine exact, not lava$"):
        get_engine("lava", TORCH_CPU)
    with pytest.raises(UsageError, match=r"^device cpu is engine exact itself \(ExactEngine\); of torch: cuda, torch-cpu$"):
        TorchEngine("cpu")
    made, inputs, _ = random_graph(7, 12)
    with pytest.raises(UsageError, match=r"^device torch-cpu goes with engine='exact', not with an engine that is made already"):
        run(made, inputs, engine=ExactEngine(), device=TORCH_CPU)
    check_device("cpu", "lava")


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnsupportedError) as refused:
        TorchEngine("cuda")
    assert str(refused.value) == f"no CUDA device: torch {torch.__version__} sees none; allowed: --device cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UnsupportedError) as refused:
        check_device("cuda:2")
    assert str(refused.value) == f"no device cuda:2: torch {torch.__version__} sees cuda:0 to cuda:1; allowed: these, cpu"

    def no_kernel(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available\nfor execution")

    monkeypatch.setattr(torch, "ones", no_kernel)
    with pytest.raises(UnsupportedError) as refused:
        check_device("cuda:1")
    assert str(refused.value) == (
        f"device cuda:1: torch {torch.__version__} cannot compute on it: CUDA error: no kernel image is available; allowed: --device cpu"
    )


def test_what_cannot_run_on_a_device_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs, _ = random_graph(7, 12)
    stream = replace(made, reset="never")
    with pytest.raises(UnsupportedError) as refused:
        run(stream, inputs, device=TORCH_CPU)
    assert str(refused.value).startswith(
        "engine 'exact' cannot run a network that keeps its state between samples (reset: never) on device torch-cpu; engines that can (device cpu): exact"
    )
    with pytest.raises(UnsupportedError, match=r"\(reset: never\) on device torch-cpu; allowed: device cpu$"):
        TorchEngine(TORCH_CPU).run(stream, inputs)
    state = StepwiseEngine().run(made, inputs, stop=1).state
    for part in ({"stop": 1}, {"state": state}):
        with pytest.raises(
            UnsupportedError,
            match=r"^device torch-cpu runs samples as a whole: it takes no state and no stop; allowed: device cpu$",
        ):
            run(made, inputs, device=TORCH_CPU, **part)
    wide = Sparse(1 << 22, np.zeros(2, np.int64), np.empty(0, np.int64), np.empty(0, np.int32))
    assert TorchEngine(TORCH_CPU).supports(chip([population("input", (1 << 22,)), population("output", (1,), wide)], 1)) == (
        "layer 'output': 4,194,304 source neurons, whose sums may pass 2**53; allowed: fewer than 4,194,304, on device torch-cpu"
    )
    unknown, _, _ = lawful(3)
    other = replace(made.output, law=Law(arithmetic=Arithmetic("other", Register(16))))
    assert TorchEngine(TORCH_CPU).supports(
        replace(made, populations=(*(one for one in made.populations if one is not made.output), other))
    ) == (f"layer {other.name!r} on device torch-cpu: arithmetic (of another arithmetic than Loihi's)")
    monkeypatch.setattr(neurons_module, "FEATURES", frozenset())
    assert TorchEngine(TORCH_CPU).supports(unknown) == "layer 'left' on device torch-cpu: refractory (of refractory steps)"


# a GPU, where there is one


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("seed", range(12))
def test_cuda_equals_the_cpu(seed: int) -> None:
    made, inputs, rng = (random_graph, lawful)[seed % 2](seed, 24)
    made = read_otherwise(made, rng)
    made = made.with_damage(Damage(tuple(random_edit(rng, made, plain=True) for _ in range(2))))
    assert_same(made, inputs, TorchEngine("cuda", batch=2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_cuda_equals_the_cpu_on_a_convolution_and_a_wide_layer() -> None:
    rng = np.random.default_rng(6)
    layers = [
        population("input", (3, 20, 20)),
        population("a", (8, 20, 20), conv(rng, (3, 20, 20), 8, (3, 3), padding=(1, 1)), vth=300),
    ]
    layers.append(population("output", (10,), dense(rng, 10, 3200)))
    made, inputs = chip(layers, 20), Inputs(events=rng.random((100, 20, 1200)) < 0.1)
    assert_same(made, inputs, TorchEngine("cuda"), TRACES)
