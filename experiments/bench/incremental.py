"""The incremental engine against our full engine at its best, by kind of fault and layer; equality is asserted first.

python experiments/bench/incremental.py --data-dir ../shared/data --json incremental.json

784-512-10 on all of MNIST's test images (10,000 × 32 steps), and single synapses of the first convolution of CIFAR-10's CNN (64 steps): the
zoo's network trained for one epoch in place of fourteen, for its shape and activity, on the first images.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import arguments, brief, finish, median_time, require, wide

from neurofault.damage.damage import Damage, SetSynapses, Silence
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_rows import FaultBatch, neuron_rows, synapse_rows
from neurofault.engines.incremental.golden import Effects, Golden, effects, golden
from neurofault.graph import Conv

_CHECKED = 3


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    prepared, inputs, sizes = wide(options, 1000 if options.quick else None)
    chip, n, rng = prepared.deployment, len(inputs), np.random.default_rng(1)
    hidden = chip.population("hidden1").size
    rows: list[tuple[str, str]] = []
    answer: dict[str, object] = {"network": sizes, "images": n, "steps": chip.timesteps, "quick": options.quick}
    counts = (100, 1000) if options.quick else (100, 10_000, 1_000_000)
    for threads in (1, 2):
        full = ExactEngine(threads)
        full.run(chip, inputs[:64])
        full_seconds, healthy = median_time(lambda full=full: full.run(chip, inputs), options.repeats)
        golden_seconds, whole = median_time(lambda threads=threads: golden(chip, inputs, threads=threads), options.repeats)
        require(np.array_equal(whole.scores, healthy.scores), "healthy scores")
        rows += [
            (f"{threads} threads: full run", f"{full_seconds:.3f} s"),
            (f"{threads} threads: healthy run kept", f"{golden_seconds:.3f} s"),
        ]
        tag = "" if threads == 2 else "_1_thread"
        answer |= {f"full_seconds{tag}": full_seconds, f"golden_seconds{tag}": golden_seconds}
        groups: list[tuple[str, FaultBatch]] = []
        for count in counts[: 3 if threads == 2 else 2]:  # the largest batch takes minutes: on two threads, once
            sources, targets = rng.integers(0, 784, count), rng.integers(0, hidden, count)
            groups.append((f"synapse_{count}", synapse_rows(chip, 1, sources, targets, np.zeros(count, int), whole.flat)))
        groups.append(
            (
                "output_synapse",
                synapse_rows(chip, 2, *np.divmod(np.arange(10 * hidden), 10), np.zeros(10 * hidden, int), whole.flat),
            )
        )
        groups.append(("neuron", neuron_rows(chip, [[(1, np.array([i]))] for i in range(hidden)], whole.flat)))
        groups.append(("core", neuron_rows(chip, [[(1, np.arange(i, i + 8))] for i in range(hidden - 7)], whole.flat)))
        groups.append(("input_neuron", neuron_rows(chip, [[(0, np.array([i]))] for i in range(300, 420)], whole.flat)))
        for name, batch in groups:
            repeats = options.repeats if len(batch) <= 10_000 else 1
            seconds, found = median_time(
                lambda whole=whole, batch=batch, threads=threads: effects(whole, batch, threads=threads), repeats
            )
            check(whole, batch, full, found)
            rate = len(batch) * n / seconds
            ratio = rate * full_seconds / n
            rows.append((f"{threads} threads: {name}, {len(batch):,} faults", f"{rate:.3g} fault-images/s, {ratio:,.0f} × full"))
            answer |= {f"{name}_rate{tag}": rate, f"{name}{tag}": ratio}
        answer |= {
            f"synapse_rate{tag}": answer[f"synapse_{counts[-1 if threads == 2 else 1]}_rate{tag}"],
            f"synapse{tag}": answer[f"synapse_{counts[-1 if threads == 2 else 1]}{tag}"],
        }
    convolution(options, rows, answer)
    finish("incremental engine, exact on every image", rows, answer, options.json)


def convolution(options: argparse.Namespace, rows: list[tuple[str, str]], answer: dict[str, object]) -> None:
    """Measure single synapses of the first layer of the convolutional network."""
    chip, inputs = brief(options, 30 if options.quick else 200)
    repeats, rng = options.repeats, np.random.default_rng(2)
    n = len(inputs)
    conv = chip.connection("hidden1").synapses
    assert isinstance(conv, Conv)
    count = 100 if options.quick else 5000
    targets = rng.integers(0, conv.n_out, 4 * count)
    _, y, x = np.unravel_index(targets, conv.out_shape)
    tap = rng.integers(0, conv.weight[0].size, targets.size)
    source_channel, ky, kx = np.unravel_index(tap, conv.weight[0].shape)
    in_y, in_x = (
        at * conv.stride[axis] - conv.padding[axis] + k * conv.dilation[axis] for axis, (at, k) in enumerate(((y, ky), (x, kx)))
    )
    inside = (in_y >= 0) & (in_y < conv.in_shape[1]) & (in_x >= 0) & (in_x < conv.in_shape[2])
    sources = np.ravel_multi_index((source_channel[inside], in_y[inside], in_x[inside]), conv.in_shape)[:count]
    targets = targets[inside][:count]
    for threads, tag in ((1, "_1_thread"), (2, "")):
        full = ExactEngine(threads)
        full.run(chip, inputs[:2])
        full_seconds, healthy = median_time(lambda full=full: full.run(chip, inputs), repeats)
        whole = golden(chip, inputs, threads=threads)
        require(np.array_equal(whole.scores, healthy.scores), "healthy scores of the convolutional network")
        batch = synapse_rows(chip, 1, sources, targets, np.zeros(count, int), whole.flat)
        seconds, found = median_time(
            lambda whole=whole, batch=batch, threads=threads: effects(whole, batch, threads=threads), repeats
        )
        for row in np.linspace(0, count - 1, _CHECKED).astype(int):
            edit = SetSynapses("hidden1", sources[row : row + 1], targets[row : row + 1], np.zeros(1, np.int32))
            predictions = full.run(chip.with_damage(Damage((edit,))), inputs).predictions
            require(int(found.changed[row]) == int(np.count_nonzero(predictions != healthy.predictions)), f"fault {row}")
        rate = count * n / seconds
        answer |= {f"conv_synapse_rate{tag}": rate, f"conv_synapse{tag}": rate * full_seconds / n, "conv_images": n}
        rows.append(
            (
                f"{threads} threads: conv_synapse, {count:,} faults",
                f"{rate:.3g} fault-images/s, {rate * full_seconds / n:,.0f} × full",
            )
        )


def check(whole: Golden, batch: FaultBatch, full: ExactEngine, measured: Effects) -> None:
    """Compare a few faults of a batch with the full engine, every image."""
    found = effects(whole, batch, changes=True) if len(batch) <= 10_000 else measured
    require(np.array_equal(found.changed, measured.changed), "two runs of a batch")
    chip, net, rows = whole.deployment, whole.flat.net, batch.rows
    offset, names = rows.single_layers, [one.name for one in chip.populations]
    for row in np.linspace(0, len(batch) - 1, _CHECKED).astype(int):
        at = np.flatnonzero(rows.single_row == row)
        if at.size:
            numbered = int(np.searchsorted(rows.first, at[0], "right")) - 1
            layer = int(np.searchsorted(offset, numbered, "right"))
            source, target = numbered - offset[layer - 1], rows.single_target[at[0]] - net.base[layer]
            edit: SetSynapses | Silence = SetSynapses(names[layer], np.array([source]), np.array([target]), np.zeros(1, np.int32))
        else:
            other = int(np.searchsorted(rows.others, row))
            if other >= len(rows.others) or rows.others[other] != row:
                continue  # a weight that is zero already: no fault
            units = slice(rows.units[other], rows.units[other + 1])
            layer = int(rows.layer[units][0])
            edit = Silence(names[layer], np.sort(rows.neuron[units] - net.base[layer]))
        predictions = full.run(chip.with_damage(Damage((edit,))), whole.inputs).predictions
        require(int(found.changed[row]) == int(np.count_nonzero(predictions != whole.predictions)), f"fault {row}")
        if found.changes is not None:
            expected = whole.predictions.copy()
            own = found.changes.faults == row
            expected[found.changes.samples[own]] = found.changes.predictions[own]
            require(np.array_equal(expected, predictions), f"predictions of fault {row}")


if __name__ == "__main__":
    main()
