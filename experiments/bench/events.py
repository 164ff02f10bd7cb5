"""Event recordings: 10,000 samples of N-MNIST's size and rate (2312 lines, 300 steps, 4,200 events each) through 2312-512-10.

python experiments/bench/events.py --json events.json

The events are synthetic, at the real rate; the weights are random integers, with a threshold at which the hidden neurons fire about fifteen times a
sample. What is measured: samples a second from `Spikes` to scores, and the most memory that the process held (``peak_bytes``; the events
themselves included). As dense bool the same input would be 6.9 GB. The first samples are checked against dense input.
"""

from __future__ import annotations

import resource

import numpy as np
from common import arguments, finish, median_time, require

from neurofault.deploy import deploy
from neurofault.engines.exact.engine import ExactEngine
from neurofault.graph import CubaLif, Dense, Population, Source, chain
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs, Spikes

LINES, HIDDEN, OUTPUTS, STEPS, EVENTS, SEED = 2312, 512, 10, 300, 4200, 3


def recordings(samples: int) -> Spikes:
    """Return samples of distinct events, about :data:`EVENTS` each."""
    rng = np.random.default_rng(SEED)
    starts = np.zeros(samples + 1, np.int64)
    steps, neurons = (np.empty(samples * EVENTS, np.int32) for _ in range(2))
    for sample in range(samples):
        places = np.unique(rng.integers(0, STEPS * LINES, EVENTS))
        here = slice(int(starts[sample]), int(starts[sample]) + len(places))
        steps[here], neurons[here] = np.divmod(places, LINES)
        starts[sample + 1] = here.stop
    end = int(starts[-1])
    return Spikes(starts, steps[:end], neurons[:end], STEPS, LINES)


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__.splitlines()[0])
    samples = 200 if options.quick else 10_000
    rng = np.random.default_rng(SEED + 1)
    chip = deploy(
        chain(
            "2312-512-10",
            [
                Population("input", (LINES,), Source()),
                Population("hidden1", (HIDDEN,), CubaLif(2400, du=1024, dv=128, bias_exponent=0)),
                Population("output", (OUTPUTS,), CubaLif(400, du=1024, dv=128, bias_exponent=0)),
            ],
            [Dense(rng.integers(-20, 24, (HIDDEN, LINES)) * 2), Dense(rng.integers(-20, 24, (OUTPUTS, HIDDEN)) * 2)],
            timesteps=STEPS,
            how="count",
            stored=[Stored(), Stored()],
        )
    )
    given = recordings(samples)
    few = given[:20]
    ours, dense = (ExactEngine().run(chip, Inputs(events=each)) for each in (few, few.to_dense()))
    require(np.array_equal(ours.scores, dense.scores), "scores of events and of the dense array")
    hidden = float(ours.spike_counts["hidden1"].sum()) / (20 * HIDDEN)
    seconds, _ = median_time(lambda: ExactEngine().run(chip, Inputs(events=given)), 1 if options.quick else options.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rows = [
        ("events", f"{len(given.steps):,} ({given.nbytes / 1e6:,.0f} MB)"),
        ("hidden neurons", f"{hidden:.1f} spikes a sample each"),
        ("samples a second", f"{samples / seconds:,.0f}"),
        ("peak memory", f"{peak / 1e9:.2f} GB"),
    ]
    answer = {"samples": samples, "events": len(given.steps), "samples_per_second": samples / seconds, "peak_bytes": peak}
    finish(f"{samples:,} recordings through 2312-512-10", rows, answer, options.json)


if __name__ == "__main__":
    main()
