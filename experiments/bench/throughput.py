"""The exact engine against Lava, snnTorch and Brian2: 784-512-10, given input spikes at rate 0.1, 32 steps a sample.

python experiments/bench/throughput.py --data-dir ../shared/data --json throughput.json

All four get the same integers and the same spikes: the network trained for the other benchmarks, with v = 0 at a sample's start and an
output layer that fires, so that every simulator can be fed and read in its own way. Before a ratio is printed, the output spikes
of the samples that the other side ran must equal ours. What is timed:

* ours: ``ExactEngine.run`` on all samples, 1 and 2 threads, from bool events to scores and counts;
* Lava 0.10: one graph RingBuffer, Dense, LIFReset, Dense, LIFReset, RingBuffer in its ``fixed_pt`` models, one sample after the other,
  at least 5 s; compilation, start and reading the sink are not timed;
* snnTorch: ``Leaky`` without gradients, the best of several batch sizes and of two ways to write the loop, 1 and 2 threads of torch;
  making the spikes floats is not timed;
* Brian2: the best of its code generation targets and of 1 or 8 copies side by side; ``Network.run`` (standalone: the binary) only.

``fraction_of_peak``: additions of 16-bit weights a second, of those that the engine needs (spikes times targets, padding included), over what
one loop of this machine reaches, in the fastest of its runs before and after ours, that does nothing but add rows of eight sources, 512 weights long, in the
first-level cache.

``rates``: the same fraction from rate 0.01 to 0.5, dense and convolutional, against a plain reference (``rates.py``, which says what the keys mean).
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from common import arguments, finish, median_time, require, wide
from numpy.typing import NDArray
from rates import measure

from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.on_lava.shim import require_lava
from neurofault.graph import Dense
from neurofault.graph.chains import ChainLink, links
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.inputs import Inputs

RATE, SEED, OUTPUT_THRESHOLD = 0.1, 11, 300
BATCHES = (32, 128, 512, 2048)
COPIES = (1, 8)


def firing(chip: Deployment) -> Deployment:
    """Return the chip with v = 0 at a sample's start and an output layer that fires."""
    *front, output = (replace(one, v_init=0) for one in chip.populations)
    output = replace(output, vth=np.full(output.size, OUTPUT_THRESHOLD, np.int32), fires=True)
    return replace(chip, populations=(*front, output), readout=replace(chip.readout, how="count"))


def driven(chip: Deployment) -> tuple[ChainLink[ChipPopulation, ChipConnection], ...]:
    """Return the hidden layer and the output, each with what drives it."""
    return links(chip, "this benchmark")[1:]


def weights(layer: ChainLink[ChipPopulation, ChipConnection]) -> NDArray[np.int32]:
    """Return int32 [n_out, n_in]."""
    synapses = layer.incoming.synapses
    assert isinstance(synapses, Dense)
    return np.asarray(synapses.weight, np.int32)


def bias(own: ChipPopulation) -> NDArray[np.int64]:
    """Return what is added to v in each step."""
    return own.bias_mantissa.astype(np.int64) << own.bias_exponent


def lava(chip: Deployment, events: NDArray[np.bool_], least: float) -> Iterator[tuple[float, int, NDArray[np.int64]]]:
    """Yield seconds, steps and output spike counts [N, n_out] of one run of at least ``least`` seconds."""
    require_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense as LavaDense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer
    from lava.proc.lif.process import LIFReset
    from lava.utils.weightutils import SignMode

    steps = chip.timesteps
    spikes = events.reshape(-1, events.shape[2])
    last = RingBuffer(data=np.concatenate([spikes, np.zeros((2, spikes.shape[1]), bool)]).T.astype(np.int32))
    for layer in driven(chip):
        own, exponent = layer.population, layer.incoming.weight_exponent
        dense = LavaDense(weights=weights(layer), weight_exp=exponent, num_weight_bits=8, sign_mode=SignMode.MIXED)
        lif = LIFReset(
            shape=(own.size,), du=int(own.du[0]), dv=int(own.dv[0]), vth=int(own.vth[0]), bias_mant=own.bias_mantissa.astype(int),
            bias_exp=own.bias_exponent, reset_interval=steps, reset_offset=layer.index + 1,
        )  # fmt: skip
        last.s_out.connect(dense.s_in)
        dense.a_out.connect(lif.a_in)
        last = lif
    sink = Sink(shape=(chip.output.size,), buffer=len(spikes) + 2)
    last.s_out.connect(sink.a_in)
    try:
        last.run(condition=RunSteps(num_steps=2), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        begin = time.perf_counter()
        last.run(condition=RunSteps(num_steps=len(spikes)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        seconds = time.perf_counter() - begin
        require(seconds >= least, f"Lava ran for {seconds:.1f} s, not {least:g}")
        out = np.asarray(sink.data.get())[:, 2:]
    finally:
        last.stop()
    yield seconds, len(spikes), out.T.reshape(len(events), steps, -1).sum(axis=1).astype(np.int64)


def snntorch_times(chip: Deployment, events: NDArray[np.bool_], threads: int, batches: tuple[int, ...]) -> Iterator[Any]:
    """Yield (name, seconds a sample, counts) for each batch size and way to write the loop."""
    import snntorch
    import torch

    layers = [
        (
            torch.from_numpy((weights(layer).astype(np.float32) * 2.0 ** (6 + layer.incoming.weight_exponent)).T.copy()),
            torch.from_numpy(bias(layer.population).astype(np.float32)),
            snntorch.Leaky(beta=1.0, threshold=float(int(layer.population.vth[0]) << 6), reset_mechanism="zero", reset_delay=False),
        )
        for layer in driven(chip)
    ]

    def present(batch: Any, ahead: bool) -> Any:
        """Return counts [B, n_out]; ``ahead``: the first layer's currents of all steps in one product."""
        count = torch.zeros(len(batch), layers[-1][0].shape[1])
        memories = [lif.init_leaky() for *_, lif in layers]
        first = batch @ layers[0][0] if ahead else None
        for t in range(batch.shape[1]):
            current = first[:, t] if first is not None else batch[:, t] @ layers[0][0]
            spikes, memories[0] = layers[0][2](current + layers[0][1], memories[0])
            spikes, memories[1] = layers[1][2](spikes @ layers[1][0] + layers[1][1], memories[1])
            count += spikes
        return count

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            for size in batches:
                batch = torch.from_numpy(events[:size].astype(np.float32))
                for ahead in (False, True):
                    present(batch[: min(8, size)], ahead)
                    seconds, count = median_time(lambda batch=batch, ahead=ahead: present(batch, ahead), 3)
                    way = "currents ahead" if ahead else "step by step"
                    yield f"batch {size}, {way}", seconds / size, count.numpy().astype(np.int64)
    finally:
        torch.set_num_threads(before)


def brian2_time(chip: Deployment, events: NDArray[np.bool_], target: str, copies: int) -> tuple[float, NDArray[np.int64]]:
    """Return seconds a sample and output spike counts of Brian2 with one code generation target."""
    import brian2

    samples, steps, n_in = events.shape
    shows = samples // copies
    folder = None
    if target == "cpp_standalone":
        folder = tempfile.mkdtemp(prefix="brian2-")
        brian2.set_device("cpp_standalone", build_on_run=False, directory=folder)
        brian2.device.reinit()
        brian2.device.activate(build_on_run=False, directory=folder)
    else:
        brian2.set_device("runtime")
        brian2.prefs.codegen.target = target
    try:
        ms = 1 * brian2.ms
        brian2.defaultclock.dt = ms
        show, copy = np.divmod(np.arange(shows * copies), copies)
        sample, step, neuron = np.nonzero(events[: shows * copies])
        order = np.argsort(show[sample] * steps + step, kind="stable")
        source = brian2.SpikeGeneratorGroup(
            n_in * copies, (copy[sample] * n_in + neuron)[order], (show[sample] * steps + step)[order] * ms
        )
        objects, groups, before, size_before = [source], [], source, n_in
        for layer in driven(chip):
            own = layer.population
            group = brian2.NeuronGroup(
                own.size * copies, "v : 1\narrived : 1\nown_bias : 1\ntheta : 1", threshold="v > theta", reset="v = 0"
            )
            group.own_bias, group.theta = np.tile(bias(own), copies), float(int(own.vth[0]) << 6)
            group.run_regularly(
                f"v = v*int((t_in_timesteps + {steps - layer.index}) % {steps} != 0) + arrived*{2.0 ** (6 + layer.incoming.weight_exponent)} + own_bias\n"
                f"arrived = 0",
                when="start",
            )  # fmt: skip
            synapses = brian2.Synapses(before, group, "w : 1", on_pre="arrived_post += w")
            own_weights = weights(layer)
            target_id, source_id = np.indices(own_weights.shape)
            at = np.arange(copies)[:, None]
            synapses.connect(i=(at * size_before + source_id.ravel()).ravel(), j=(at * own.size + target_id.ravel()).ravel())
            synapses.w = np.tile(own_weights.ravel().astype(float), copies)
            objects += [group, synapses]
            groups.append(group)
            before, size_before = group, own.size
        monitor = brian2.SpikeMonitor(groups[-1])
        network = brian2.Network([*objects, monitor])
        total = shows * steps + 2
        if target == "cpp_standalone":
            network.run(total * ms)
            brian2.device.build(directory=folder, compile=True, run=True)
            seconds = float(brian2.device._last_run_time)
            times, ids = np.array(monitor.t / ms), np.array(monitor.i)
        else:
            network.store()
            network.run(2 * ms)  # compiles
            network.restore()
            begin = time.perf_counter()
            network.run(total * ms)
            seconds = time.perf_counter() - begin
            times, ids = np.array(monitor.t / ms), np.array(monitor.i)
        outputs = chip.output.size
        counts = np.zeros((shows * copies, outputs), np.int64)
        at_show = (np.rint(times).astype(np.int64) - 2) // steps
        inside = (at_show >= 0) & (at_show < shows)
        which, neuron = np.divmod(ids[inside], outputs)
        np.add.at(counts, (at_show[inside] * copies + which, neuron), 1)
        return seconds / (shows * copies), counts
    finally:
        brian2.set_device("runtime")
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


_PEAK_RUNS = 40


@numba.njit(nogil=True)
def _add_rows(rows: NDArray[np.int16], lane: NDArray[np.int16], times: int) -> None:
    for _ in range(times):
        a, b, c, d, e, f, g, h = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7]
        for j in range(lane.shape[0]):
            lane[j] += a[j] + b[j] + c[j] + d[j] + e[j] + f[j] + g[j] + h[j]


def peak_adds(threads: int) -> float:
    """Return the additions a second that this machine reaches: in the fastest of many runs, so that a slow moment of it lowers no peak."""
    from concurrent.futures import ThreadPoolExecutor

    rows = np.random.default_rng(0).integers(-256, 256, (8, 512)).astype(np.int16)
    _add_rows(rows, np.zeros(512, np.int16), 1)
    times = 400_000

    def work(_: int) -> None:
        _add_rows(rows, np.zeros(512, np.int16), times)

    with ThreadPoolExecutor(threads) as pool:
        seconds = [median_time(lambda: list(pool.map(work, range(threads))), 1)[0] for _ in range(_PEAK_RUNS)]
    return threads * times * 8 * 512 / min(seconds)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    prepared, _, sizes = wide(options, 2)
    chip = firing(prepared.deployment)
    n, steps = (200 if options.quick else 10_000), chip.timesteps
    events = np.random.default_rng(SEED).random((n, steps, 784), np.float32) < RATE
    inputs = Inputs(events=events)
    rows: list[tuple[str, str]] = []
    answer: dict[str, Any] = {
        "network": sizes, "samples": n, "steps": steps, "input_rate": RATE, "quick": options.quick,
    }  # fmt: skip
    traced = ExactEngine().run(chip, inputs[:400], record=("spikes",)).traces[chip.readout.population].spikes
    assert traced is not None
    ours = traced.sum(axis=1)
    require(bool(ours.any()), "the output layer fires")

    def same(counts: NDArray[np.int64], side: str) -> None:
        k = min(len(counts), len(ours))
        require(np.array_equal(counts[:k], ours[:k]), f"output spikes of {side}")

    own: dict[int, float] = {}

    def measure_own() -> None:
        for threads in (1, 2):
            seconds, activity = median_time(lambda threads=threads: ExactEngine(threads).run(chip, inputs), options.repeats)
            own[threads] = min(own.get(threads, np.inf), seconds) if options.quick else seconds
            adds = sum(
                int(activity.spike_counts[layer.incoming.source].sum()) * (-(-layer.population.size // 64) * 64)
                for layer in driven(chip)
            )
            answer["_adds"] = adds

    peaks = {threads: peak_adds(threads) for threads in (1, 2)}
    measure_own()
    adds = answer.pop("_adds")
    peaks = {threads: max(before, peak_adds(threads)) for threads, before in peaks.items()}
    for threads, tag in ((2, ""), (1, "_1_thread")):
        fraction = adds / own[threads] / peaks[threads]
        answer |= {
            f"samples_a_second{tag}": n / own[threads],
            f"steps_a_second{tag}": n * steps / own[threads],
            f"adds_a_second{tag}": adds / own[threads],
            f"peak_adds_a_second{tag}": peaks[threads],
            f"fraction_of_peak{tag}": fraction,
        }
        rows.append(
            (f"ours, {threads} threads", f"{n * steps / own[threads]:,.0f} steps/s, {100 * fraction:.0f} % of peak additions")
        )
    answer["rates"], found = measure(chip, options.quick, options.repeats, peak_adds)
    rows += found
    counted = 16 if options.quick else 600
    for seconds, ran, counts in lava(chip, events[:counted], 0.0 if options.quick else 5.0):
        same(counts, "Lava")
        measure_own()
        answer.pop("_adds")
        answer["lava_steps_a_second"], answer["lava_seconds"] = ran / seconds, seconds
        for threads, tag in ((2, ""), (1, "_1_thread")):
            answer[f"speedup_lava{tag}"] = n * steps / own[threads] / (ran / seconds)
        rows.append(
            (
                "Lava",
                f"{ran / seconds:,.0f} steps/s: ours {answer['speedup_lava']:,.0f} × ({answer['speedup_lava_1_thread']:,.0f} × on one)",
            )
        )
    for threads, tag in ((2, ""), (1, "_1_thread")):
        best = (np.inf, "")
        for name, each, counts in snntorch_times(chip, events, threads, BATCHES[:1] if options.quick else BATCHES):
            same(counts, f"snnTorch, {name}")
            best = min(best, (each, name))
        answer[f"snntorch_samples_a_second{tag}"], answer[f"snntorch_best{tag}"] = 1 / best[0], best[1]
        answer[f"speedup_snntorch{tag}"] = n / own[threads] * best[0]
        rows.append(
            (
                f"snnTorch, {threads} threads",
                f"{steps / best[0]:,.0f} steps/s ({best[1]}): ours {answer[f'speedup_snntorch{tag}']:.1f} ×",
            )
        )
    slow = (np.inf, "")
    targets = ("numpy",) if options.quick else ("numpy", "cython", "cpp_standalone")
    for target in targets:
        for copies in COPIES[:1] if options.quick else COPIES:
            try:
                each, counts = brian2_time(chip, events[: 2 * copies], target, copies)
            except Exception as error:  # a target that this machine cannot build does not count
                rows.append((f"Brian2, {target}", f"not measured: {type(error).__name__}: {str(error)[:80]}"))
                break
            same(counts, f"Brian2, {target}")
            slow = min(slow, (each, f"{target}, {copies} copies"))
    answer |= {"brian2_steps_a_second": steps / slow[0], "brian2_best": slow[1]}
    for threads, tag in ((2, ""), (1, "_1_thread")):
        answer[f"speedup_brian2{tag}"] = n / own[threads] * slow[0]
    rows.append(("Brian2", f"{steps / slow[0]:,.0f} steps/s ({slow[1]}): ours {answer['speedup_brian2']:,.0f} ×"))
    finish("exact engine, output spikes equal on both sides", rows, answer, options.json)


if __name__ == "__main__":
    main()
