"""Energy and time by the published tables beside what Loihi measured: five networks.

    python experiments/energy.py [--json FILE|-]

The measurements are printed by notebooks of intel-nrc-ecosystem/models (commit 3dc53bf); nothing of them enters this project but the figures. Sizes, connections, steps and cores are
those of the notebooks. How often their neurons fire is not printed there: what is not known fires in MIDDLE of the steps, every network alike (set before a prediction was made, and left so), and everything is worked out for LOW and HIGH too, so that a miss
that no rate in that range explains can be told from one that a rate would. Nothing is fitted to a network; what is fitted (one or two factors for all) is tested on the network left out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import nnls

from neurofault.activity import Activity
from neurofault.cli.output import JsonOut, scientific
from neurofault.deploy.cost import cost
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.deploy.profile import load_profile
from neurofault.graph import Conv, Dense, Readout, Sparse
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.connectivity import fan_in
from neurofault.graph.synapses import Synapses
from neurofault.streams import generator

PROFILE = "loihi1"
LOW, MIDDLE, HIGH = 0.01, 0.03, 0.1
"""Spikes of a neuron a step where they are not known: 10, 30 and 100 a second at steps of 1 ms."""
WITHIN = 1.5
"""A prediction holds within this factor."""
UNITS = {"energy": "J", "step": "s", "power": "W"}
SEED = 1


@dataclass(frozen=True)
class Benchmark:
    """A network that was measured.

    Attributes:
        name: short.
        build: makes it, on the cores that it was measured on.
        steps: T, of a sample.
        copies: networks on a chip, each with a sample of its own; measured energy and power are those of one.
        measured: quantity → SI value.
        known: population (the last word of its name) → spikes of a neuron a step, where a source gives them.
        assumed: what the source does not say.
        beyond: what the measurement holds that the sum does not.
    """

    name: str
    build: Callable[[Net], None]
    steps: int
    measured: Mapping[str, float]
    beyond: str
    copies: int = 1
    known: Mapping[str, float] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()


class Net:
    """Populations and connections in the order in which they come, each population on cores of its own."""

    def __init__(self) -> None:
        self.populations: list[ChipPopulation] = []
        self.connections: list[ChipConnection] = []
        self.core_of: dict[str, np.ndarray[Any, np.dtype[np.int32]]] = {}
        self.free = 0

    def add(self, name: str, shape: tuple[int, ...], per_core: int, core: int | None = None) -> None:
        """Add neurons, so many on a core from the next free core on, or all on one that is in use."""
        size = math.prod(shape)
        nothing = np.zeros(size, np.int32)
        source = not self.populations or name.endswith("input")
        self.populations.append(ChipPopulation(name, shape, nothing, nothing, nothing + 100, nothing, 0, 0, is_source=source))
        seats = np.arange(size) // per_core
        self.core_of[name] = (seats + (self.free if core is None else core)).astype(np.int32)
        if core is None:
            self.free += int(seats[-1]) + 1

    def join(self, source: str, target: str, synapses: Synapses, delay: int = 1) -> None:
        """Connect two populations; weights say nothing of the cost and are 0."""
        self.connections.append(ChipConnection(f"{source} to {target}", source, target, synapses, 0, 8, "mixed", delay=delay))

    def layer(self, name: str, source: str, synapses: Synapses, shape: tuple[int, ...], per_core: int) -> None:
        """Add a population and its connection from ``source``."""
        self.add(name, shape, per_core)
        self.join(source, name, synapses)


def dense(targets: int, sources: int) -> Dense:
    """Return synapses from each to each."""
    return Dense(np.zeros((targets, sources), np.int32))


def braille(net: Net) -> None:
    """Two copies of 48-450-28, the 450 recurrent, 10 neurons a core (output 14)."""
    for copy in range(2):
        inputs, hidden, output = (f"{copy} {name}" for name in ("input", "hidden", "output"))
        net.add(inputs, (48,), 10)
        net.layer(hidden, inputs, dense(450, 48), (450,), 10)
        net.join(hidden, hidden, dense(450, 450))
        net.layer(output, hidden, dense(28, 450), (28,), 14)


def ntidigits(net: Net) -> None:
    """Twenty copies of 64-256-256-242 on six cores each, axonal delays behind both hidden layers."""
    for copy in range(20):
        names = [f"{copy} {name}" for name in ("input", "hidden1", "hidden2", "output")]
        net.add(names[0], (64,), 1024)
        for number, (size, before, per_core) in enumerate(((256, 64, 128), (256, 256, 128), (242, 256, 336)), 1):
            net.layer(names[number], names[number - 1], dense(size, before), (size,), per_core)


def lsnn(net: Net) -> None:
    """80 inputs on a core of their own; 140 regular and 100 adaptive neurons, 100 compartments of adaptation and 10 outputs on another."""
    net.add("input", (80,), 1024)
    net.layer("hidden", "input", dense(240, 80), (240,), 1024)
    net.join("hidden", "hidden", dense(240, 240))
    for name, size in (("adaptation", 100), ("output", 10)):
        net.add(name, (size,), 1024, core=1)
    net.join("hidden", "adaptation", Sparse(240, np.arange(101), np.arange(140, 240), np.zeros(100, np.int32)))
    net.join("hidden", "output", dense(10, 240))


def mnist(net: Net) -> None:
    """A 28 × 28 image, convolutions of 16, 32, 64 and 10 channels (NxTF tutorial a)."""
    net.add("input", (1, 28, 28), 523)
    shape, before = (1, 28, 28), "input"
    for number, (channels, kernel, stride) in enumerate(((16, 5, 2), (32, 3, 1), (64, 3, 2), (10, 4, 1)), 1):
        conv = Conv(np.zeros((channels, shape[0], kernel, kernel), np.int32), shape, stride=(stride, stride))
        net.layer(f"conv{number}", before, conv, conv.out_shape, 640)
        shape, before = conv.out_shape, f"conv{number}"


def mobilenet(net: Net) -> None:
    """A 32 × 32 colour image, a convolution, five pairs of depthwise and pointwise convolutions, average pooling, 10 outputs (NxTF tutorial b)."""
    per_core = 528
    net.add("input", (3, 32, 32), per_core)
    shape, before = (3, 32, 32), "input"
    plan = [("conv", 32, 3, 2, 1)]
    for channels, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        plan += [("depthwise", 0, 3, stride, 0), ("pointwise", channels, 1, 1, 1)]
    for number, (kind, channels, kernel, stride, groups) in enumerate(plan):
        groups = groups or shape[0]
        channels = channels or shape[0]
        conv = Conv(
            np.zeros((channels, shape[0] // groups, kernel, kernel), np.int32), shape,
            stride=(stride, stride), padding=(kernel // 2, kernel // 2), groups=groups,
        )  # fmt: skip
        net.layer(f"{number} {kind}", before, conv, conv.out_shape, per_core)
        shape, before = conv.out_shape, f"{number} {kind}"
    pool = Conv(np.zeros((256, 1, 2, 2), np.int32), shape, stride=(2, 2), groups=256)
    net.layer("pool", before, pool, pool.out_shape, per_core)
    net.layer("output", "pool", dense(10, 1024), (10,), per_core)


RATES = f"every population fires in {MIDDLE:g} of the steps ({LOW:g} and {HIGH:g} beside it)"
BENCHMARKS = (
    Benchmark(
        "braille", braille, 270, {"energy": 132.40603e-6, "step": 6.640671e-6, "power": 73.846862e-3},
        "half the chip's x86 cores (three, each passing on input spikes; their share is not printed), the barrier over 32 chips",
        copies=2, assumed=(RATES, "the board that was loaded holds the layout that the notebook prints"),
    ),
    Benchmark(
        "ntidigits", ntidigits, 3000, {"energy": 575.96309e-6, "step": 17.625042e-6, "power": 10.892893e-3},
        "a twentieth of the chip's x86 cores and of seven relay cores, the barrier over 32 chips",
        copies=20, known={"input": 898 / (64 * 3000)},
        assumed=("898 input spikes a sample, as the one sample in SLAYER's test files has", RATES.replace("every", "every other")),
    ),
    Benchmark(
        "lsnn", lsnn, 840, {"energy": 22.145582e-6, "step": 16.649476e-6, "power": 1.583461e-3},
        "step: one x86 core computes and injects the input of every step; energy and power are of the neuron cores alone, 6 % of the dynamic power",
        assumed=(RATES, "an adaptive neuron is two compartments, its own spike reaches the second as one synapse"),
    ),
    Benchmark(
        "mnist", mnist, 512, {"step": (4.994 - 0.986) / (128 * 512)},
        "host clock from the end of booting to the last answer: images sent over the network, resets by x86 cores (with booting 76.2 µs)",
        assumed=(RATES, "14 cores, as the NxTF paper gives for its MNIST network; the notebook does not say"),
    ),
    Benchmark(
        "mobilenet", mobilenet, 512, {"step": 137.429e-6},
        "host clock from the end of booting to the last answer: images sent over the network, resets by x86 cores",
        assumed=(RATES, "reset by subtraction takes no compartments of its own", "layers cut evenly on 157 cores"),
    ),
)  # fmt: skip
LSNN_WITH_X86 = {"energy": 24.778585e-3 * 13.98556e-3, "power": 24.778585e-3}
"""Dynamic energy a sample and power of the LSNN with its x86 core, as the other two print theirs."""
STATIC = 89.084028e-3 * 2
"""Static power of a chip, measured with the Braille network."""


def deployed(benchmark: Benchmark) -> Deployment:
    """Return the network on its cores."""
    net, profile = Net(), load_profile(PROFILE)
    benchmark.build(net)
    chips = -(-net.free // profile.chip.cores.known)
    placement = Placement(chips, profile.chip.cores.known, net.core_of)
    readout = Readout(net.populations[-1].name, "count")
    return Deployment(benchmark.name, profile, tuple(net.populations), tuple(net.connections), placement, benchmark.steps, readout)


def spikes(benchmark: Benchmark, chip: Deployment, rate: float) -> Activity:
    """Return one sample in which each neuron spikes at random, in as many steps as its rate says."""
    counts = {
        one.name: generator(SEED, "energy", benchmark.name, one.name)
        .binomial(benchmark.steps, benchmark.known.get(one.name.split()[-1], rate), one.size)
        .astype(np.int64)
        for one in chip.populations
    }
    total = sum(int(each.sum()) for each in counts.values())
    return Activity(np.zeros((1, chip.populations[-1].size), np.int64), counts, np.array([total]))


def predicted(benchmark: Benchmark, chip: Deployment, table: str, rate: float) -> dict[str, Any]:
    """Return energy a sample, time of a step and power of one copy, in SI units."""
    result = cost(chip, spikes(benchmark, chip, rate), 1, table=table)
    assert result.energy.value is not None
    assert result.step.value is not None
    energy = result.energy.value / benchmark.copies
    return {
        "energy": energy, "step": result.step.value, "power": energy / (benchmark.steps * result.step.value),
        "evidence": {"energy": result.energy.evidence, "step": result.step.evidence},
        "synaptic_operations": result.synaptic_operations / benchmark.copies, "neuron_updates": result.neuron_updates / benchmark.copies,
        "messages": result.messages / benchmark.copies,
    }  # fmt: skip


def holds(ratio: float) -> bool:
    """Return whether prediction / measurement lies within the factor."""
    return 1 / WITHIN <= ratio <= WITHIN


@dataclass(frozen=True)
class Model:
    """A sum that is fitted: what is taken as it is, and terms each with a factor that is the same for all networks.

    Attributes:
        fixed: network → what is not fitted.
        terms: network → what is multiplied with a factor each.
        values: network → what was measured.
    """

    fixed: Mapping[str, float]
    terms: Mapping[str, Sequence[float]]
    values: Mapping[str, float]

    def factors(self, names: Sequence[str]) -> list[float]:
        """Return the factors, at least 0, with the least sum of squares of relative errors on these networks."""
        scaled = np.array([self.terms[name] for name in names]) / np.array([[self.values[name]] for name in names])
        missing = np.array([1 - self.fixed[name] / self.values[name] for name in names])
        return [float(factor) for factor in nnls(scaled, missing)[0]]

    def left_out(self) -> dict[str, Any]:
        """Fit on all networks but one and predict that one, for each."""
        found, names = {}, list(self.values)
        for name, value in self.values.items():
            factors = self.factors([other for other in names if other != name])
            ratio = (self.fixed[name] + sum(factor * term for factor, term in zip(factors, self.terms[name], strict=True))) / value
            found[name] = {"factors": factors, "ratio": ratio, "holds": holds(ratio)}
        return {"factors_on_all": self.factors(names), "left_out": found}


def calibrations(predictions: Mapping[str, Mapping[str, Any]], table: str, at: str) -> dict[str, Any]:
    """Return what factors for all networks would give on a network that was not used to find them."""
    timed, probed = [one.name for one in BENCHMARKS], ["braille", "ntidigits", "lsnn"]
    known = {one.name: one for one in BENCHMARKS}
    step = {name: known[name].measured["step"] for name in timed}
    own = {name: predictions[name][table][at] for name in timed}
    energy = {name: (known[name].measured | (LSNN_WITH_X86 if name == "lsnn" else {}))["energy"] for name in probed}
    x86 = {name: known[name].steps * step[name] / known[name].copies for name in probed}
    table_energy = {name: own[name]["energy"] for name in probed}
    nothing = dict.fromkeys(timed, 0.0)
    models = {
        "energy: k · table": Model(nothing, {name: [table_energy[name]] for name in probed}, energy),
        "energy: table + P · time": Model(table_energy, {name: [x86[name]] for name in probed}, energy),
        "energy: k · table + P · time": Model(nothing, {name: [table_energy[name], x86[name]] for name in probed}, energy),
    }
    for what, names in (("step", timed), ("step, on-chip probes alone", probed)):
        values, table_step = {name: step[name] for name in names}, {name: own[name]["step"] for name in names}
        models[f"{what}: k · table"] = Model(nothing, {name: [table_step[name]] for name in names}, values)
        models[f"{what}: table + t"] = Model(table_step, {name: [1.0] for name in names}, values)
        models[f"{what}: k · table + t"] = Model(nothing, {name: [table_step[name], 1.0] for name in names}, values)
    return {name: model.left_out() for name, model in models.items()}


def matching(benchmark: Benchmark, chip: Deployment, table: str, quantity: str) -> float | None:
    """Return the spikes of a neuron a step at which a prediction would be the measurement, to 1 %; None: none from 0.0001 to 1 would."""
    low, high, value = math.log(1e-4), 0.0, benchmark.measured[quantity]

    def short(rate: float) -> bool:
        return bool(predicted(benchmark, chip, table, math.exp(rate))[quantity] < value)

    if not short(low) or short(high):
        return None
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) else (low, middle)
    return math.exp((low + high) / 2)


def main() -> None:
    """Print predictions beside measurements, then what calibration would give."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE|-")
    arguments = parser.parse_args()
    result_file, quiet = JsonOut(arguments.json), arguments.json == "-"
    tables = list(load_profile(PROFILE).energy_tables)
    rows, predictions = [], {}
    say: Callable[..., None] = (lambda *_: None) if quiet else print
    say(
        f"{'network':10s} {'cores':>5s} {'synapses':>10s} {'quantity':9s} {'measured':>10s}  {'table':10s} {'predicted':>10s} {'ratio':>6s}   rates {LOW:g} … {HIGH:g}"
    )
    for benchmark in BENCHMARKS:
        chip = deployed(benchmark)
        every = {
            table: {
                name: predicted(benchmark, chip, table, rate) for name, rate in (("low", LOW), ("middle", MIDDLE), ("high", HIGH))
            }
            for table in tables
        }
        predictions[benchmark.name] = every
        synapses = sum(int(fan_in(one.synapses).sum()) for one in chip.connections) // benchmark.copies
        size = {
            "neurons": sum(one.size for one in chip.populations) // benchmark.copies, "synapses": synapses,
            "cores": len(chip.placement.used_cores), "chips": chip.placement.chips,
        }  # fmt: skip
        ratios = {
            table: {quantity: {at: found[at][quantity] / value for at in found} for quantity, value in benchmark.measured.items()}
            for table, found in every.items()
        }
        match = {
            table: {quantity: matching(benchmark, chip, table, quantity) for quantity in benchmark.measured if quantity != "power"}
            for table in tables
        }
        for quantity, value in benchmark.measured.items():
            for table in tables:
                rate = match[table].get(quantity)
                right = "" if quantity == "power" else "no rate would match" if rate is None else f"right at {rate:.2g}"
                at, unit = ratios[table][quantity], UNITS[quantity]
                say(
                    f"{benchmark.name:10s} {size['cores']:5d} {synapses:10,d} {quantity:9s} {scientific(value, unit):>10s}  {table:10s} "
                    f"{scientific(every[table]['middle'][quantity], unit):>10s} {at['middle']:6.2f}   {at['low']:.2f} … {at['high']:.2f}   "
                    f"{'within' if holds(at['middle']) else 'missed'} {right}"
                )
        rows.append(
            {
                "network": benchmark.name, "steps": benchmark.steps, "copies": benchmark.copies, **size, "measured": dict(benchmark.measured),
                "predicted": every, "ratios": ratios, "rate_that_would_match": match, "assumed": list(benchmark.assumed), "measurement_also_holds": benchmark.beyond,
            }
        )  # fmt: skip
    static = load_profile(PROFILE).energy_tables[tables[0]].energy.static_power.value
    assert static is not None
    lsnn_ratio = {table: predictions["lsnn"][table]["middle"]["energy"] / LSNN_WITH_X86["energy"] for table in tables}
    say(
        "\nof the LSNN's dynamic energy a sample with its x86 core, "
        + f"{scientific(LSNN_WITH_X86['energy'], 'J')}: "
        + ", ".join(f"{table} {ratio:.3f}" for table, ratio in lsnn_ratio.items())
    )
    say(
        f"static power of a chip: profile {scientific(static, 'W')}, measured {scientific(STATIC, 'W')}, ratio {static / STATIC:.2f}\n"
    )
    fits = {table: {at: calibrations(predictions, table, at) for at in ("low", "middle", "high")} for table in tables}
    say("fitted on the other networks, predicted / measured of the one left out")
    for table, by_rate in fits.items():
        for name, found in by_rate["middle"].items():
            each = ", ".join(f"{network} {one['ratio']:.2f}" for network, one in found["left_out"].items())
            passed = {at: all(one["holds"] for one in models[name]["left_out"].values()) for at, models in by_rate.items()}
            verdict = "holds" if all(passed.values()) else f"holds at {MIDDLE:g} alone" if passed["middle"] else "does not hold"
            say(f"{table:10s} {name:42s} {each}: {verdict}; factors {', '.join(f'{one:.3g}' for one in found['factors_on_all'])}")
    say("")
    for table in tables:
        for quantity in UNITS:
            found = [row["ratios"][table][quantity]["middle"] for row in rows if quantity in row["ratios"][table]]
            say(
                f"{table:10s} {quantity:7s} {min(found):.2f} … {max(found):.2f} of what was measured, {sum(map(holds, found))} of {len(found)} within {WITHIN:g}"
            )
    for benchmark in BENCHMARKS:
        say(f"\n{benchmark.name}: assumed: {'; '.join(benchmark.assumed)}\n  the measurement also holds: {benchmark.beyond}")
    result_file.write(
        {
            "profile": PROFILE, "within": WITHIN, "rates": {"low": LOW, "middle": MIDDLE, "high": HIGH}, "rows": rows, "lsnn_with_x86": LSNN_WITH_X86,
            "lsnn_with_x86_ratio": lsnn_ratio, "static_power": {"profile": static, "measured": STATIC, "ratio": static / STATIC}, "calibration": fits,
        }
    )  # fmt: skip


if __name__ == "__main__":
    main()
