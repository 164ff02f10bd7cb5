"""The exact engine against Lava on a loop: 256 inputs at rate 0.1 → 256 neurons that drive themselves and fire at about the same rate.

python experiments/bench/recurrent.py --json recurrent.json

Both get the same integers and the same spikes. A sample is one long run, which Lava 0.10 does as one graph (RingBuffer, two Dense, LIF,
RingBuffer in its ``fixed_pt`` models) in at least 5 s; compilation, start and reading the sink are not timed. Ours are several such samples, 1
and 2 threads, from events to counts. Before the ratio is printed, every spike of the sample that Lava ran must equal ours, and its weights.
"""

from __future__ import annotations

import time

import numpy as np
from common import arguments, finish, median_time, require
from numpy.typing import NDArray

from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.on_lava.shim import require_lava
from neurofault.graph import Connection, CubaLif, Dense, Network, Population, Readout, Source
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs, Spikes

SIZE, RATE, SEED, DV = 256, 0.1, 5, 512


def network(steps: int, threshold: int) -> Network:
    """Return the network, in integers."""
    rng = np.random.default_rng(SEED)
    inward, own = (rng.integers(-16, 17, (SIZE, SIZE)) * 2 for _ in range(2))
    stored = Stored(0, 8, "mixed")
    return Network(
        "recurrent",
        (
            Population("input", (SIZE,), Source()),
            Population("loop", (SIZE,), CubaLif(threshold, du=2048, dv=DV, bias_exponent=0)),
        ),
        (
            Connection("loop", "input", "loop", Dense(inward), stored=stored),
            Connection("loop.rec", "loop", "loop", Dense(own), stored=stored),
        ),
        steps,
        Readout("loop", "count"),
    )


def active(steps: int, events: NDArray[np.bool_]) -> tuple[Deployment, float]:
    """Return the chip whose threshold makes its neurons fire nearest to :data:`RATE`, and their rate."""
    found: list[tuple[float, float, Deployment]] = []
    for threshold in (40, 60, 80, 100, 120, 150, 180, 220, 270, 330):
        chip = deploy(network(steps, threshold))
        fired = ExactEngine().run(chip, Inputs(events=events)).spike_counts["loop"].sum()
        rate = float(fired) / (len(events) * steps * SIZE)
        found.append((abs(rate - RATE), rate, chip))
    return min(found, key=lambda one: one[0])[2], min(found, key=lambda one: one[0])[1]


def lava(chip: Deployment, spikes: NDArray[np.bool_]) -> tuple[float, NDArray[np.bool_], list[NDArray[np.int32]]]:
    """Return seconds, spikes [T, n] and weights of one sample in Lava."""
    require_lava()
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense as LavaDense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer
    from lava.proc.lif.process import LIF
    from lava.utils.weightutils import SignMode

    own, steps = chip.population("loop"), len(spikes)
    source = RingBuffer(data=np.concatenate([spikes, np.zeros((2, SIZE), bool)]).T.astype(np.int32))
    lif = LIF(shape=(SIZE,), du=int(own.du[0]), dv=int(own.dv[0]), vth=int(own.vth[0]))
    dense = [
        LavaDense(
            weights=np.asarray(one.synapses.weight), weight_exp=one.weight_exponent, num_weight_bits=8, sign_mode=SignMode.MIXED
        )
        for one in chip.connections
    ]
    sink = Sink(shape=(SIZE,), buffer=steps + 2)
    for sender, synapses in zip((source, lif), dense, strict=True):
        sender.s_out.connect(synapses.s_in)
        synapses.a_out.connect(lif.a_in)
    lif.s_out.connect(sink.a_in)
    config = Loihi2SimCfg(select_tag="fixed_pt")
    try:
        lif.run(condition=RunSteps(num_steps=1), run_cfg=config)
        begin = time.perf_counter()
        lif.run(condition=RunSteps(num_steps=steps), run_cfg=config)
        seconds = time.perf_counter() - begin
        out = np.asarray(sink.data.get())[:, 1 : steps + 1].T.astype(bool)
        weights = [np.asarray(one.weights.get(), np.int32) for one in dense]
    finally:
        lif.stop()
    return seconds, out, weights


def main() -> None:
    """Run the benchmark."""
    options = arguments(__doc__.splitlines()[0])
    steps, samples = (300, 4) if options.quick else (12000, 8)
    events = np.random.default_rng(SEED + 1).random((samples, steps, SIZE)) < RATE
    chip, rate = active(steps, events[:1])
    require(0.5 * RATE < rate < 2 * RATE, f"the loop fires at {rate:.3f} spikes a neuron and step, not at about {RATE:g}")
    theirs, out, weights = lava(chip, events[0])
    require(options.quick or theirs >= 5, f"Lava ran for {theirs:.1f} s, not 5")
    traced = ExactEngine().run(chip, Inputs(events=events[:1]), record=("spikes",)).traces["loop"].spikes
    assert traced is not None
    require(np.array_equal(traced[0], out), "spikes of Lava and of the exact engine")
    require(
        all(np.array_equal(own.synapses.weight, weight) for own, weight in zip(chip.connections, weights, strict=True)), "weights"
    )
    given = Inputs(events=Spikes.dense(events))
    rows = [("Lava", f"{theirs / steps * 1e6:,.0f} µs a step")]
    ours: dict[int, float] = {}
    for threads in (1, 2):
        seconds, _ = median_time(lambda threads=threads: ExactEngine(threads).run(chip, given), options.repeats)
        ours[threads] = seconds / (samples * steps)
        rows.append(
            (f"exact, {threads} thread(s)", f"{ours[threads] * 1e6:,.2f} µs a step, {theirs / steps / ours[threads]:,.0f} × Lava")
        )
    answer = {
        "rate": rate,
        "steps": steps,
        "samples": samples,
        "lava_step_seconds": theirs / steps,
        "step_seconds": {str(threads): seconds for threads, seconds in ours.items()},
        "speedup_lava": theirs / steps / ours[2],
    }
    finish(f"256-256 recurrent, {steps} steps, {rate:.3f} spikes a neuron and step", rows, answer, options.json)


if __name__ == "__main__":
    main()
