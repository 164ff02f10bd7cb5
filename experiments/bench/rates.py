"""The exact engine from few events to many, dense and convolutional: for ``throughput.py``.

Dense: the hidden layer and the output of 784-512-10. Convolutional: 32 × 16 × 16 sources, 48 kernels of 3 × 3, an output of 10, as behind the first
layer of CIFAR-10's CNN; weights at random. Before anything is timed the spike counts of the first samples must equal those of sums in
float32, where whole numbers below 2**24 are exact, and Lava's neurons in int64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import median_time, require
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.profile import load_profile
from neurofault.engines.exact.engine import ExactEngine
from neurofault.graph import Conv, Dense, Readout
from neurofault.graph.chains import links
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.inputs import Inputs

RATES = (0.01, 0.05, 0.1, 0.2, 0.5)
_CHECKED = 4
_LIMIT = 1 << 23
_MOSTLY = 0.9


def convolutional(steps: int) -> Deployment:
    """Return the convolutional chip."""
    rng = np.random.default_rng(3)
    kernel = np.clip(rng.normal(0, 20, (48, 32, 3, 3)), -120, 120).astype(np.int32) * 2
    conv = Conv(kernel, (32, 16, 16), padding=(1, 1))
    dense = Dense(np.clip(rng.normal(0, 20, (10, conv.n_out)), -120, 120).astype(np.int32) * 2)

    def neurons(name: str, shape: tuple[int, ...], vth: int, *, is_source: bool = False) -> ChipPopulation:
        none = np.zeros(int(np.prod(shape)), np.int32)
        return ChipPopulation(name, shape, none + 4095, none, none + vth, none, 0, 0, is_source=is_source)

    populations = (
        neurons("input", (32, 16, 16), 1, is_source=True),
        neurons("conv", conv.out_shape, 2000),
        neurons("output", (10,), 4000),
    )
    connections = (
        ChipConnection("conv", "input", "conv", conv, 0, 8, "mixed"),
        ChipConnection("output", "conv", "output", dense, 0, 8, "mixed"),
    )
    cores = {one.name: np.full(one.size, core, np.int32) for core, one in enumerate(populations)}
    return Deployment(
        "conv", load_profile("loihi2"), populations, connections, Placement(1, 128, cores), steps, Readout("output", "count")
    )


def _sums(link: Any, spikes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return int64 [N, T, n]: the sums of weights that reach each neuron."""
    sent = torch.from_numpy(spikes.reshape(-1, spikes.shape[2]).astype(np.float32))
    synapses = link.incoming.synapses
    if isinstance(synapses, Conv):
        images = sent.reshape(-1, *synapses.in_shape)
        sums = torch.nn.functional.conv2d(images, torch.from_numpy(synapses.weight.astype(np.float32)), padding=synapses.padding)
    else:
        sums = sent @ torch.from_numpy(synapses.weight.astype(np.float32)).T
    return sums.reshape(*spikes.shape[:2], -1).numpy().astype(np.int64)


def _plain(chip: Deployment, spikes: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    """Return the spike counts of each population behind the input, [n]."""
    counts = {}
    for link in links(chip, "this benchmark")[1:]:
        own, exponent = link.population, link.incoming.weight_exponent
        u = _sums(link, spikes)
        u = (u << exponent if exponent >= 0 else u >> -exponent) << 6
        require(int(np.abs(u).max(initial=0)) < _LIMIT, "currents that do not wrap")
        v = np.full((len(spikes), own.size), own.v_init, np.int64)
        fired = np.empty(u.shape, bool)
        for t in range(u.shape[1]):
            v = np.clip(v + u[:, t] + (own.bias_mantissa.astype(np.int64) << own.bias_exponent), 1 - _LIMIT, _LIMIT - 1)
            fired[:, t] = v > own.vth.astype(np.int64) << 6
            v[fired[:, t]] = 0
        spikes = fired
        counts[own.name] = spikes.sum(axis=(0, 1))
    return counts


def _fan_out(link: Any) -> NDArray[np.int64]:
    """Return how many additions a spike of each source needs, padding included."""
    synapses = link.incoming.synapses
    if isinstance(synapses, Conv):
        ones = torch.ones(1, synapses.weight.shape[0], *synapses.out_shape[1:])
        kernel = torch.ones(synapses.weight.shape)
        reached = torch.nn.functional.conv_transpose2d(ones, kernel, padding=synapses.padding)
        return reached.reshape(-1).numpy().astype(np.int64)
    return np.full(synapses.n_in, -(-link.population.size // 64) * 64)


def measure(
    dense: Deployment, quick: bool, repeats: int, peak: Callable[[int], float]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Measure both chips at all rates.

    Args:
        dense: the dense chip, of populations whose u does not wrap.
        quick: few samples.
        repeats: runs of which the median is taken.
        peak: additions a second of some threads, taken beside each rate; the most of all is the peak.

    Returns:
        For the JSON, ``{"dense": {"0.01": {…}, …}, "conv": {…}}``, and rows of the table. Keys of each: ``samples_a_second``, ``adds_a_second``,
        ``fraction_of_peak``; ``idle_share``: the time of the same run without a single event, as a share of this one's; and
        ``fraction_of_peak_of_additions``: additions beyond that run's, a second of the time beyond its, over the peak (null: there is too little of it). All for
        one thread, those of two threads under ``"2 threads"``.
    """
    answer: dict[str, Any] = {}
    rows = []
    peaks = {threads: peak(threads) for threads in (1, 2)}
    for name, chip, samples in (
        ("dense", dense, 100 if quick else 2000),
        ("conv", convolutional(dense.timesteps), 8 if quick else 60),
    ):
        chain = links(chip, "this benchmark")
        size, answer[name] = chain[0].population.size, {}
        idle = Inputs(events=np.zeros((samples, chip.timesteps, size), bool))
        fan_out = {link.incoming.source: _fan_out(link) for link in chain[1:]}
        for rate in RATES:
            events = np.random.default_rng(7).random((samples, chip.timesteps, size), np.float32) < rate
            inputs, found = Inputs(events=events), {}
            checked = ExactEngine(1).run(chip, inputs[:_CHECKED])
            for population, counts in _plain(chip, events[:_CHECKED]).items():
                require(np.array_equal(checked.spike_counts[population], counts), f"{name}, rate {rate}: spikes of {population}")
            for threads in (1, 2):
                engine = ExactEngine(threads)
                seconds, activity = median_time(lambda engine=engine, chip=chip, inputs=inputs: engine.run(chip, inputs), repeats)
                rest, still = median_time(lambda engine=engine, chip=chip, idle=idle: engine.run(chip, idle), repeats)
                adds = sum(int(activity.spike_counts[source] @ each) for source, each in fan_out.items())
                moved = adds - sum(int(still.spike_counts[source] @ each) for source, each in fan_out.items())
                peaks[threads] = max(peaks[threads], peak(threads))
                found[threads] = {
                    "samples_a_second": samples / seconds,
                    "adds_a_second": adds / seconds,
                    "fraction_of_peak": adds / seconds,
                    "idle_share": rest / seconds,
                    "fraction_of_peak_of_additions": moved / (seconds - rest) if rest < _MOSTLY * seconds else None,
                }
            answer[name][str(rate)] = {**found[1], "2 threads": found[2]}
    for name, each in answer.items():
        for rate, one in each.items():
            two = one["2 threads"]
            for threads, own in (
                (1, one),
                (2, two),
            ):  # over the most that the machine reached in all of this time, which has slow and fast moments
                for key in ("fraction_of_peak", "fraction_of_peak_of_additions"):
                    own[key] = None if own[key] is None else own[key] / peaks[threads]
            beyond = two["fraction_of_peak_of_additions"]
            text = (
                f"{two['samples_a_second']:,.0f} samples/s, {100 * two['fraction_of_peak']:.0f} % of peak additions; "
                f"without events {100 * two['idle_share']:.0f} % of the time"
            )
            rows.append((f"{name}, rate {rate}", text + ("" if beyond is None else f", beyond it {100 * beyond:.0f} % of peak")))
    return answer, rows
