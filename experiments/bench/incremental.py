"""The incremental engine against our full engine at its best, by kind of fault and layer, exact on every image.

Of three faults of each kind every prediction is compared with the full engine's, of all the numbers of changed predictions on one thread and on two.

python experiments/bench/incremental.py --data-dir ../shared/data --field ../shared/data/field --json incremental.json

784-512-10 on all of MNIST's test images (10,000 × 32 steps), also with faults that come and go (``window``) and thresholds changed for good
(``threshold``); single synapses of the first layer of: a network with a skip, trained for one epoch (2,000 images); Intel's N-MNIST network (100
recordings × 300 steps); single synapses of a loop of 256 neurons (1,000 samples × 32 steps, spikes counted); CIFAR-10's CNN (64 steps), the zoo's network trained for one epoch in place of fourteen, for its shape and activity, on the
first images.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import arguments, brief, finish, intel, median_time, require, wide
from numpy.typing import NDArray
from recurrent import RATE, SIZE, active

from neurofault.convert.torch_model import candidates, from_torch
from neurofault.damage.damage import Damage, Edit, SetField, SetSynapses, Silence
from neurofault.damage.when import When
from neurofault.data.datasets import load
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.engines.incremental.fault_rows import edit_rows, synapse_rows
from neurofault.engines.incremental.golden import Effects, FaultBatch, effects, golden
from neurofault.graph import Conv
from neurofault.inputs import Inputs

_CHECKED = 3
_MOST_SECONDS = 10.0
"""What took so long in all is not measured once more."""


def main() -> None:
    """Measure and print."""
    options, begin = arguments(__doc__ or ""), time.perf_counter()
    prepared, inputs, sizes = wide(options, 1000 if options.quick else None)
    chip, n, rng = prepared.deployment, len(inputs), np.random.default_rng(1)
    hidden = chip.population("hidden1").size
    rows: list[tuple[str, str]] = []
    answer: dict[str, object] = {"network": sizes, "images": n, "steps": chip.timesteps, "quick": options.quick}
    counts = (100, 1000, 10_000) if options.quick else (100, 10_000, 300_000)
    outputs, input_neurons = np.divmod(np.arange(10 * hidden), 10), range(300, 360)
    single = {f"synapse_{count}": ("hidden1", rng.integers(0, 784, count), rng.integers(0, hidden, count)) for count in counts}
    single["output_synapse"] = ("output", *outputs)
    listed: dict[str, list[tuple[Edit, ...]]] = {
        "neuron": [(Silence("hidden1", np.array([one])),) for one in range(hidden)],
        "core": [(Silence("hidden1", np.arange(one, one + 8)),) for one in range(hidden - 7)],
        "input_neuron": [(Silence("input", np.array([one])),) for one in input_neurons],
        "window": transient(chip, counts[1] // 2),
        "threshold": thresholds(chip),
    }
    whole, batches, known = golden(chip, inputs), dict[str, FaultBatch](), dict[str, Effects]()
    batches |= {name: synapse_rows(whole, *places, np.zeros(len(places[1]), int)) for name, places in single.items()}
    batches |= {name: edit_rows(whole, edits) for name, edits in listed.items()}
    compiled(chip, inputs[:64], single, listed)
    for threads in (2, 1):
        full = ExactEngine(threads)
        full.run(chip, inputs[:64])
        full_seconds, healthy = median_time(lambda full=full: full.run(chip, inputs), options.repeats)
        golden_seconds, again = median_time(lambda threads=threads: golden(chip, inputs, threads=threads), options.repeats)
        require(np.array_equal(again.scores, healthy.scores), "healthy scores")
        del again
        rows += [
            (f"{threads} threads: full run", f"{full_seconds:.3f} s"),
            (f"{threads} threads: healthy run kept", f"{golden_seconds:.3f} s"),
        ]
        tag = "" if threads == 2 else "_1_thread"
        answer |= {f"full_seconds{tag}": full_seconds, f"golden_seconds{tag}": golden_seconds}
        for name, batch in batches.items():
            if threads == 1 and name == f"synapse_{counts[-1]}":  # it takes long: on two threads alone
                continue
            seconds, found = median_time(
                lambda batch=batch, threads=threads: effects(batch, threads=threads), options.repeats, _MOST_SECONDS
            )
            if name in known:
                require(np.array_equal(found.changed, known[name].changed), f"{name} on one thread and on two")
            else:
                known[name] = found
                for row in np.linspace(0, len(batch) - 1, _CHECKED).astype(int):
                    check(batch, full, found, row, listed[name][row] if name in listed else dead(*single[name], row))
            rate = len(batch) * n / seconds
            ratio = rate * full_seconds / n
            rows.append((f"{threads} threads: {name}, {len(batch):,} faults", f"{rate:.3g} fault-images/s, {ratio:,.0f} × full"))
            answer |= {f"{name}_rate{tag}": rate, f"{name}{tag}": ratio}
        answer |= {
            f"synapse_rate{tag}": answer[f"synapse_{counts[threads]}_rate{tag}"],
            f"synapse{tag}": answer[f"synapse_{counts[threads]}{tag}"],
        }
    del whole, batches, batch
    skip(options, rows, answer)
    loop(options, rows, answer)
    recordings(options, rows, answer)
    convolution(options, rows, answer)
    answer["seconds"] = time.perf_counter() - begin
    finish("incremental engine, exact on every image", rows, answer, options.json)


def compiled(
    chip: Deployment, inputs: Inputs, single: dict[str, tuple[str, NDArray[np.int64], NDArray[np.int64]]], listed: dict[str, list[tuple[Edit, ...]]]
) -> None:  # fmt: skip
    """Follow a few faults of each kind, so that whatever is compiled is compiled before anything is timed."""
    whole = golden(chip, inputs)
    for name, *places in single.values():
        few = [part[:16] for part in places]
        effects(synapse_rows(whole, name, *few, np.zeros(len(few[0]), int)))
    for edits in listed.values():
        effects(edit_rows(whole, edits[:16]))


def transient(chip: Deployment, count: int) -> list[tuple[Edit, ...]]:
    """Return single synapses of the first layer that read 0 for some steps of each sample."""
    rng, (n_out, n_in) = np.random.default_rng(4), chip.connection("hidden1").synapses.weight.shape
    found: list[tuple[Edit, ...]] = []
    for source, target, start in zip(*(rng.integers(0, most, count) for most in (n_in, n_out, chip.timesteps - 8)), strict=True):
        when = When(int(start), int(start) + int(rng.integers(1, 9)))
        found.append((SetSynapses("hidden1", np.array([source]), np.array([target]), np.zeros(1, np.int32), when),))
    return found


def thresholds(chip: Deployment) -> list[tuple[Edit, ...]]:
    """Return each hidden neuron with a threshold of half its own."""
    vth = chip.population("hidden1").vth // 2
    return [(SetField("hidden1", "vth", np.array([one]), vth[one : one + 1]),) for one in range(len(vth))]


class Skipping(torch.nn.Module):
    """784-256-256-10 whose second layer is added to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = torch.nn.Linear(784, 256), torch.nn.Linear(256, 256), torch.nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, 10]."""
        hidden = self.first(x.flatten(1)).relu()
        return self.last(hidden + self.second(hidden).relu())


def skip(options: argparse.Namespace, rows: list[tuple[str, str]], answer: dict[str, object]) -> None:
    """Measure single synapses of the first layer of a network with a skip, trained for one epoch."""
    data, count = load("mnist", data_dir=options.data_dir), 200 if options.quick else 2000
    torch.manual_seed(1)
    model, order = Skipping(), torch.randperm(len(data.train.images))
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    images = torch.from_numpy(data.train.images.astype(np.float32))
    labels = torch.from_numpy(data.train.labels.astype(np.int64))
    for batch in order[: 10_000 if options.quick else len(order)].split(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    network = from_torch(model.eval(), data.train.images[:512], candidate=candidates(model)[0], timesteps=32, name="skipping")
    chip = deploy(network)
    connection = chip.out_of(chip.inputs[0])[0]
    inputs, rng = chip.encode(data.test.images[:count]), np.random.default_rng(3)
    synapses = connection.synapses
    places = rng.integers(0, synapses.n_in, 2000), rng.integers(0, synapses.n_out, 2000)
    measured(options, "skip", connection.name, places, chip, inputs, rows, answer)


def loop(options: argparse.Namespace, rows: list[tuple[str, str]], answer: dict[str, object]) -> None:
    """Measure single synapses of a loop (``recurrent.py``'s network, 32 steps), which is run anew where one changes anything; every score is compared."""
    count, samples = (16, 100) if options.quick else (80, 1000)
    events, rng = np.random.default_rng(6).random((samples, 32, SIZE)) < RATE, np.random.default_rng(7)
    chip, _ = active(32, events[:20])
    inputs, weight = Inputs(events=events), chip.connection("loop.rec").synapses.weight
    places = list(zip(*rng.integers(0, SIZE, (2, count)), strict=True))
    for name, value in (("loop_dead", lambda now: 0), ("loop_bit", lambda now: now ^ 2)):
        edits = [
            SetSynapses("loop.rec", np.array([s]), np.array([t]), np.array([value(weight[t, s])], np.int32)) for s, t in places
        ]
        hurt = [chip.with_damage(Damage((edit,))) for edit in edits]
        for threads, tag in ((2, ""), (1, "_1_thread")):
            full, engine = ExactEngine(threads), IncrementalEngine(threads)
            full.run(hurt[0], inputs[:2])  # compile
            engine.run_many(hurt[:2], inputs)
            full_seconds, wanted = median_time(lambda full=full, hurt=hurt: [full.run(one, inputs) for one in hurt], 1)
            seconds, found = median_time(lambda engine=engine, hurt=hurt: engine.run_many(hurt, inputs), options.repeats)
            require(all(np.array_equal(one.scores, own.scores) for one, own in zip(found, wanted, strict=True)), name)
            answer |= {
                f"{name}_rate{tag}": count * samples / seconds,
                f"{name}{tag}": full_seconds / seconds,
                "loop_samples": samples,
            }
            rows.append(
                (
                    f"{threads} threads: {name}, {count} faults",
                    f"{count * samples / seconds:.3g} fault-samples/s, {full_seconds / seconds:,.1f} × full",
                )
            )


def recordings(options: argparse.Namespace, rows: list[tuple[str, str]], answer: dict[str, object]) -> None:
    """Measure single synapses of the first layer of Intel's N-MNIST network on 100 recordings of 300 steps."""
    if options.field is None:
        rows.append(("N-MNIST", "not measured: no --field"))
        return
    chip, inputs, _ = intel(options.field)
    some, rng = 500 if options.quick else 20_000, np.random.default_rng(5)
    places = rng.integers(0, 2312, some), rng.integers(0, 512, some)
    measured(options, "nmnist_synapse", "hidden1", places, chip, inputs, rows, answer)


def measured(
    options: argparse.Namespace, name: str, connection: str, places: tuple[NDArray[np.int64], NDArray[np.int64]], chip: Deployment, inputs: Inputs,
    rows: list[tuple[str, str]], answer: dict[str, object],
) -> None:  # fmt: skip
    """Measure dead synapses of a connection of a network, on one thread and on two."""
    count, n, known = len(places[0]), len(inputs), None
    few = [part[:16] for part in places]
    for threads, tag in ((2, ""), (1, "_1_thread")):
        full = ExactEngine(threads)
        full.run(chip, inputs[:2])
        full_seconds, healthy = median_time(lambda full=full: full.run(chip, inputs), options.repeats)
        whole = golden(chip, inputs, threads=threads)
        require(np.array_equal(whole.scores, healthy.scores), f"healthy scores, {name}")
        effects(synapse_rows(whole, connection, *few, np.zeros(len(few[0]), int)), threads=threads)
        batch = synapse_rows(whole, connection, *places, np.zeros(count, int))
        seconds, found = median_time(
            lambda batch=batch, threads=threads: effects(batch, threads=threads), options.repeats, _MOST_SECONDS
        )
        if known is None:
            for row in np.linspace(0, count - 1, _CHECKED).astype(int):
                check(batch, full, found, row, dead(connection, *places, row))
        require(known is None or np.array_equal(found.changed, known), f"{name} on one thread and on two")
        known = found.changed
        rate = count * n / seconds
        answer |= {f"{name}_rate{tag}": rate, f"{name}{tag}": rate * full_seconds / n, f"{name}_samples": n}
        rows.append(
            (f"{threads} threads: {name}, {count:,} faults", f"{rate:.3g} fault-images/s, {rate * full_seconds / n:,.0f} × full")
        )


def convolution(options: argparse.Namespace, rows: list[tuple[str, str]], answer: dict[str, object]) -> None:
    """Measure single synapses of the first layer of the convolutional network."""
    chip, inputs = brief(options, 30 if options.quick else 200)
    rng = np.random.default_rng(2)
    conv = chip.connection("hidden1").synapses
    assert isinstance(conv, Conv)
    count = 100 if options.quick else 2000
    targets = rng.integers(0, conv.n_out, 4 * count)
    _, y, x = np.unravel_index(targets, conv.out_shape)
    tap = rng.integers(0, conv.weight[0].size, targets.size)
    source_channel, ky, kx = np.unravel_index(tap, conv.weight[0].shape)
    in_y, in_x = (
        at * conv.stride[axis] - conv.padding[axis] + k * conv.dilation[axis] for axis, (at, k) in enumerate(((y, ky), (x, kx)))
    )
    inside = (in_y >= 0) & (in_y < conv.in_shape[1]) & (in_x >= 0) & (in_x < conv.in_shape[2])
    sources = np.ravel_multi_index((source_channel[inside], in_y[inside], in_x[inside]), conv.in_shape)[:count]
    measured(options, "conv_synapse", "hidden1", (sources, targets[inside][:count]), chip, inputs, rows, answer)


def dead(connection: str, sources: NDArray[np.int64], targets: NDArray[np.int64], row: int) -> tuple[Edit, ...]:
    """Return what one of the dead synapses does."""
    return (SetSynapses(connection, sources[row : row + 1], targets[row : row + 1], np.zeros(1, np.int32)),)


def check(batch: FaultBatch, full: ExactEngine, found: Effects, row: int, edits: tuple[Edit, ...]) -> None:
    """Compare a fault of a batch with the full engine, every image."""
    whole = batch.healthy
    answers = full.run(whole.deployment.with_damage(Damage(edits)), whole.inputs).predictions
    alone = effects(edit_rows(whole, [edits]), changes=True).changes
    assert alone is not None
    expected = whole.predictions.copy()
    expected[alone.samples] = alone.predictions
    require(np.array_equal(expected, answers), f"predictions of fault {row}")
    require(int(found.changed[row]) == int(np.count_nonzero(answers != whole.predictions)), f"fault {row}")


if __name__ == "__main__":
    main()
