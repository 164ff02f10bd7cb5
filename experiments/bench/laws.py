"""The exact engine on chips that compute otherwise: a Speck-like and a Xylo-like law beside Loihi's, 784-512-10, input rate 0.1, 32 steps.

python experiments/bench/laws.py --json laws.json

Random integer weights, the same for all; thresholds at which the hidden layer fires at about 0.1 a neuron and step. What is timed is ``ExactEngine.run``
on one thread, from events to scores and counts, kernels compiled before; the NumPy steps of the same engine on fewer samples, whose
scores and spike counts must be equal first.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from common import arguments, finish, median_time, require
from numpy.typing import NDArray

from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.graph import Connection, CubaLif, Dense, Network, Population, Readout, Source
from neurofault.graph.arithmetic import LOIHI, Arithmetic, Decay, Register
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.law import Law
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs, Spikes

SIZES, STEPS, RATE, SEED = (784, 512, 10), 32, 0.1, 7
_HALVES = Decay("shift", 15, tail=True)
SPECK = Arithmetic("speck-like", Register(16), resets=("subtract",))
XYLO = Arithmetic(
    "xylo-like",
    Register(16, decay=_HALVES),
    Register(16, decay=_HALVES),
    resets=("subtract",),
    spikes=31,
    sums="before_decay",
    partly=True,
)
THRESHOLDS = (50, 100, 200, 400, 800, 1600, 3200, 6400, 9000, 12800, 18000)


def network() -> Deployment:
    """Return the chip with Loihi's arithmetic."""
    rng = np.random.default_rng(SEED)
    names = ("input", "hidden", "output")
    populations = [Population("input", (SIZES[0],), Source())]
    populations += [Population(name, (n,), CubaLif(400, bias_exponent=0)) for name, n in zip(names[1:], SIZES[1:], strict=True)]
    weights = [Dense(rng.integers(-30, 34, (after, before)) * 2) for before, after in itertools.pairwise(SIZES)]
    pairs = zip(names, names[1:], weights, strict=False)
    joined = [Connection(after, before, after, one, stored=Stored(0, 8, "mixed")) for before, after, one in pairs]
    return deploy(Network("laws", tuple(populations), tuple(joined), STEPS, Readout("output", "count")))


def computing_as(chip: Deployment, arithmetic: Arithmetic, threshold: int) -> Deployment:
    """Return the chip with another arithmetic (decays by 2**-4, where it has them) and threshold."""

    def own(one: ChipPopulation) -> ChipPopulation:
        vth = np.full(one.size, threshold, np.int32)
        if one.is_source or arithmetic == LOIHI:
            return one if one.is_source else replace(one, vth=vth)
        du, dv = (np.full(one.size, 4 * bool(kept), np.int32) for kept in (arithmetic.u, arithmetic.v.decay.most))
        return replace(one, law=Law("subtract", arithmetic=arithmetic), vth=vth, du=du, dv=dv)

    return replace(chip, populations=tuple(map(own, chip.populations)))


def active(chip: Deployment, arithmetic: Arithmetic, events: NDArray[np.bool_]) -> tuple[Deployment, float]:
    """Return the chip whose threshold makes its hidden neurons fire nearest to :data:`RATE`, and their rate."""
    found: list[tuple[float, float, Deployment]] = []
    for threshold in THRESHOLDS:
        made = computing_as(chip, arithmetic, threshold)
        fired = float(ExactEngine(1).run(made, Inputs(events=events)).spike_counts["hidden"].sum())
        rate = fired / (len(events) * STEPS * SIZES[1])
        found.append((abs(rate - RATE), rate, made))
    best = min(found, key=lambda one: one[0])
    return best[2], best[1]


def main() -> None:
    """Measure and print."""
    options = arguments((__doc__ or "").splitlines()[0])
    samples, few = (200, 20) if options.quick else (2000, 100)
    events = np.random.default_rng(SEED + 1).random((samples, STEPS, SIZES[0]), np.float32) < RATE
    inputs, chip = Inputs(events=Spikes.dense(events)), network()
    rows: list[tuple[str, str]] = []
    answer: dict[str, Any] = {
        "network": "-".join(map(str, SIZES)),
        "samples": samples,
        "steps": STEPS,
        "input_rate": RATE,
        "laws": {},
    }
    loihi = 0.0
    for arithmetic in (LOIHI, SPECK, XYLO):
        made, rate = active(chip, arithmetic, events[:20])
        seconds, _ = median_time(lambda made=made: ExactEngine(1).run(made, inputs), options.repeats)
        own = seconds / (samples * STEPS)
        loihi = loihi or own
        found: dict[str, Any] = {"rate": rate, "step_seconds": own, "times_loihi": own / loihi}
        text = f"{own * 1e6:,.2f} µs a step, {own / loihi:,.2f} × Loihi's; {rate:.3f} spikes a neuron and step"
        if arithmetic != LOIHI:
            slow, one = median_time(lambda made=made: StepwiseEngine().run(made, inputs[:few]), 1)
            other = ExactEngine(1).run(made, inputs[:few])
            same = all(np.array_equal(other.spike_counts[name], counts) for name, counts in one.spike_counts.items())
            require(same and np.array_equal(one.scores, other.scores), f"scores and spikes of the NumPy steps, {arithmetic.name}")
            found["speedup_stepwise"] = slow / (few * STEPS) / own
            text += f"; NumPy steps take {found['speedup_stepwise']:,.0f} × as long"
        answer["laws"][arithmetic.name] = found
        rows.append((arithmetic.name, text))
    finish(f"{answer['network']}, {samples} samples × {STEPS} steps, one thread", rows, answer, options.json)


if __name__ == "__main__":
    main()
