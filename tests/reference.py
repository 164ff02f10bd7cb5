"""The chip in plain Python integers under one clock, one neuron and one message at a time: the definition that engines are compared with.

Written from the equations of Lava 0.10 ``fixed_pt`` (``lava/proc/lif/models.py``, ``lava/proc/dense/models.py``) and from the order of
events in ``damage/damage.py``, without NumPy arithmetic, so that no width is implied: every wrap is written out. Nothing here knows
lags or islands: in each chip step every population steps, a message sent in step s arrives in step s + delay, and it is dropped where
its target has begun another sample by then, unless the deployment is never reset.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import plain_law

from neurofault.activity import DEAD_SCORE, TRACES, Activity
from neurofault.damage.damage import (
    Drop,
    Edit,
    Force,
    InputNoise,
    KeptState,
    LostReset,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    StuckCounter,
    Upset,
)
from neurofault.damage.when import When
from neurofault.deploy.deployment import Deployment
from neurofault.graph import Conv, Dense, Sparse
from neurofault.graph.arithmetic import LOIHI
from neurofault.graph.chip import ChipConnection
from neurofault.inputs import Bias, Inputs, Spikes

Traces = dict[str, dict[str, np.ndarray]]


def wrap(value: int, bits: int) -> int:
    """Two's complement."""
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def shift(value: int, places: int) -> int:
    return value << places if places >= 0 else value >> -places


def decay(value: int, loss: int) -> int:
    kept = abs(value) * (4096 - loss) >> 12
    return kept if value >= 0 else -kept


def chance(key: int, *counters: int) -> int:
    """64 bits of a counter-based hash (SplitMix64's finaliser), in Python's integers."""
    whole = 2**64 - 1

    def mixed(value: int) -> int:
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & whole
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB & whole
        return value ^ (value >> 31)

    state = key & whole
    for counter in counters:
        state = mixed((state + 0x9E3779B97F4A7C15 + mixed((counter + 0x632BE59BD9B4E019) & whole)) & whole)
    return state


def phases(chip: Deployment) -> dict[str, int]:
    """The first step of each population: the shortest way from an input in delays, or as early as those need it that it drives."""
    far = 10**9
    first = {one.name: 0 if one.is_source else far for one in chip.populations}
    for _ in chip.populations:
        for one in chip.connections:
            first[one.target] = min(first[one.target], first[one.source] + one.delay)
    alone = [name for name, phase in first.items() if phase >= far]
    first |= dict.fromkeys(alone, 0)
    for _ in chip.populations:
        for one in chip.connections:
            if one.source in alone:
                first[one.source] = max(first[one.source], first[one.target] - one.delay)
    return first


def acts(when: When, t: int, chip_step: int) -> bool:
    """`When` without `When.active`, in step t of a sample, which is the chip's step ``chip_step``."""
    now = t if when.clock == "presentation" else chip_step
    if now < when.start or (when.stop is not None and now >= when.stop):
        return False
    return when.period is None or (now - when.start) % when.period < when.on


def synapses(connection: ChipConnection) -> dict[int, dict[int, tuple[int, int]]]:
    """Source → target → (weight, delay), healthy."""
    found: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)

    def extra(own: Dense | Conv | Sparse, place: tuple[int, ...]) -> int:
        return 0 if own.delay is None else int(own.delay[place])

    match connection.synapses:
        case Dense(weight=weight) as dense:
            for target, source in np.ndindex(*weight.shape):
                found[source][target] = int(weight[target, source]), extra(dense, (target, source))
        case Sparse(weight=weight) as sparse:
            for target in range(sparse.n_out):
                for place in range(int(sparse.starts[target]), int(sparse.starts[target + 1])):
                    found[int(sparse.sources[place])][target] = int(weight[place]), extra(sparse, (place,))
        case Conv() as conv:
            c_out, height, width = conv.out_shape
            _, in_height, in_width = conv.in_shape
            _, per_group, k_h, k_w = conv.weight.shape
            for co, oy, ox, ci, ky, kx in np.ndindex(c_out, height, width, per_group, k_h, k_w):
                y = oy * conv.stride[0] + ky * conv.dilation[0] - conv.padding[0]
                x = ox * conv.stride[1] + kx * conv.dilation[1] - conv.padding[1]
                if 0 <= y < in_height and 0 <= x < in_width:
                    channel = co // (c_out // conv.groups) * per_group + ci
                    target, source = (co * height + oy) * width + ox, (channel * in_height + y) * in_width + x
                    found[source][target] = int(conv.weight[co, ci, ky, kx]), extra(conv, (co, ci, ky, kx))
    return found


def place_of(array: np.ndarray, value: int) -> int | None:
    hits = [i for i, other in enumerate(array.tolist()) if other == value]
    return hits[0] if hits else None


class Cell:
    """One population while the clock runs."""

    def __init__(self, deployment: Deployment, inputs: Inputs, name: str, phase: int) -> None:
        self.deployment, self.inputs, self.name = deployment, inputs, name
        self.chip, self.phase = deployment.population(name), phase
        self.into = [(one, synapses(one)) for one in deployment.into(name)]
        self.mail: dict[int, list[tuple[str, int, int]]] = defaultdict(list)  # chip step → connection, sample, source
        into = [one.name for one in deployment.into(name)]
        self.own = [
            edit
            for edit in deployment.damage.edits
            if getattr(edit, "population", None) == name or getattr(edit, "connection", None) in into
        ]
        noisy = [edit for edit in self.own if isinstance(edit, InputNoise)]
        samples, steps = len(inputs), deployment.timesteps
        self.noise = [(edit.neurons, edit.mantissas(self.phase, inputs.first_sample, samples, steps)) for edit in noisy]
        given = inputs.named(deployment.inputs).of(name) if self.chip.is_source else None
        self.mantissa = given.mantissa if isinstance(given, Bias) else None
        self.events = given.to_dense() if isinstance(given, Spikes) else None
        shape = (samples, steps, self.chip.size)
        self.traces = {trace: np.zeros(shape, np.int64) for trace in ("u", "v", "spikes")}

    def step(self, chip_step: int) -> tuple[int, list[int]] | None:
        """Run one chip step; return the sample and who fires, None outside the run."""
        k, t = divmod(chip_step - 1 - self.phase, self.deployment.timesteps)
        if not 0 <= k < len(self.inputs):
            return None
        sample, size = k + self.inputs.first_sample, self.chip.size
        absolute = chip_step + self.inputs.first_sample * self.deployment.timesteps
        live = [edit for edit in self.own if acts(edit.when, t, absolute)]
        stream = self.deployment.reset == "never"
        if t == 0 and not (stream and k):
            start = np.broadcast_to(0 if self.events is not None else self.chip.v_init, size).tolist()
            kept = {n for edit in live if k and isinstance(edit, KeptState) for n in edit.neurons.tolist()}
            self.u = [self.u[n] if n in kept else 0 for n in range(size)]
            self.v = [self.v[n] if n in kept else start[n] for n in range(size)]
            self.waiting = [self.waiting[n] if n in kept else 0 for n in range(size)]
            self.on_the_way: dict[int, list[list[int]]] = defaultdict(list)
        self._upset(live)
        self._receive(live, sample, t, chip_step, [letter for letter in self.mail.pop(chip_step, []) if stream or letter[1] == k])
        arrived = self.on_the_way.pop(chip_step, [])
        fired = []
        for n in range(size):
            spike = self._neuron(live, k, t, n, sum(sums[n] for sums in arrived))
            if any(isinstance(edit, Silence) and n in edit.neurons for edit in live):
                self.u[n] = self.v[n] = self.waiting[n] = 0
                spike = False
            else:
                for edit in live:
                    if isinstance(edit, Force) and n in edit.neurons:
                        spike = (t + 1) * edit.rate // 65536 > t * edit.rate // 65536
            for trace, value in (("u", self.u[n]), ("v", self.v[n]), ("spikes", spike)):
                self.traces[trace][k, t, n] = value
            fired += [n] * spike
        return k, fired

    def _upset(self, live: list[Edit]) -> None:
        for edit in live:
            if isinstance(edit, Upset):
                state = self.u if edit.state == "u" else self.v
                register = getattr(self.chip.law.arithmetic, edit.state)
                for n, mask in zip(edit.neurons.tolist(), edit.masks.tolist(), strict=True):
                    if register is not None:
                        state[n] = plain_law.held(replace(register, overflow="wrap"), state[n] ^ mask)

    def _receive(self, live: list[Edit], sample: int, t: int, chip_step: int, letters: list[tuple[str, int, int]]) -> None:
        for one, healthy in self.into:
            sums: dict[int, list[int]] = defaultdict(lambda: [0] * self.chip.size)
            edits = [edit for edit in live if getattr(edit, "connection", None) == one.name]
            for source in [source for name, _, source in letters if name == one.name]:
                reached = dict(healthy.get(source, {}))
                for edit in edits:
                    if isinstance(edit, SetSynapses | SetDelays):
                        for at, (other, target) in enumerate(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True)):
                            if other == source:
                                reached[target] = _read(edit, at, healthy, *reached.get(target, (0, 0)))
                for edit in edits:
                    if isinstance(edit, Drop) and source in edit.sources:
                        bits = chance(edit.key, sample, t, source, edit.core)
                        if edit.probability >= 1 or bits < int(edit.probability * 2**64):
                            reached = {target: value for target, value in reached.items() if target not in edit.targets}
                for target, (weight, delay) in reached.items():
                    sums[delay][target] += weight
            for delay, totals in sums.items():
                self.on_the_way[chip_step + delay].append([shift(total, one.weight_exponent) for total in totals])

    def _neuron(self, live: list[Edit], k: int, t: int, n: int, arrived: int) -> int:
        if self.events is not None:
            self.u[n] = self.v[n] = 0
            return bool(self.events[k, t, n])
        held = {field: int(getattr(self.chip, field)[n]) for field in ("vth", "du", "dv", "bias_mantissa")}
        if self.mantissa is not None:
            bias = int(self.mantissa[k, n])
            for neurons, added in self.noise:
                place = place_of(neurons, n)
                bias += 0 if place is None else int(added[k, t, place])
            if any(place_of(neurons, n) is not None for neurons, _ in self.noise):
                bias = max(-32768, min(32767, bias))
            held["bias_mantissa"] = bias
        for edit in live:
            if isinstance(edit, SetField) and (place := place_of(edit.neurons, n)) is not None:
                held[edit.field] = int(edit.values[place])
        if self.chip.law.arithmetic != LOIHI:
            return self._neuron_of_another_chip(live, n, arrived, held)
        u = wrap(decay(self.u[n], held["du"] + 1) + wrap(wrap(arrived, 32) << 6, 32), 32)
        if u > 2**23:
            u -= 2**24
        elif u <= -(2**23):
            u += 2**24
        bias = wrap(shift(wrap(held["bias_mantissa"], 16), self.chip.bias_exponent), 32)
        self.u[n] = u
        law, theta = self.chip.law, held["vth"] << 6
        lost = any(isinstance(edit, LostReset) and n in edit.neurons for edit in live)
        for edit in live:
            if isinstance(edit, StuckCounter) and n in edit.neurons:
                self.waiting[n] = edit.value
        if self.waiting[n]:
            self.waiting[n] -= 1
            return False
        v, owed = self.v[n], 0
        if law.delayed and v > theta and not lost:
            if law.reset == "zero":
                v = 0
            elif law.reset == "subtract":
                owed = theta
        v = wrap(decay(v, held["dv"]) - owed + u + bias, 32)
        v = max(1 - 2**23, min(2**23 - 1, v))
        if law.floor is not None:
            v = max(v, int(law.floor[n]))
        spike = v > theta
        if spike and law.refractory is not None:
            self.waiting[n] = int(law.refractory[n])
        if spike and not law.delayed and not lost:
            v = {"zero": 0, "subtract": min(v - theta, 2**23 - 1), "none": v}[law.reset]
        self.v[n] = v
        return spike

    def _neuron_of_another_chip(self, live: list[Edit], n: int, arrived: int, held: dict[str, int]) -> int:
        bias = wrap(shift(wrap(held["bias_mantissa"], 16), self.chip.bias_exponent), 32)
        lost = any(isinstance(edit, LostReset) and n in edit.neurons for edit in live)
        for edit in live:
            if isinstance(edit, StuckCounter) and n in edit.neurons:
                self.waiting[n] = edit.value
        law = self.chip.law
        self.u[n], self.v[n], times = plain_law.step(
            law, n, self.u[n], self.v[n], arrived, held, bias, waits=self.waiting[n] > 0, lost=lost
        )
        if times is None:
            self.waiting[n] -= 1
            return 0
        if times and law.refractory is not None:
            self.waiting[n] = int(law.refractory[n])
        return min(times, 1) if self.chip.is_source else times


def _read(
    edit: SetSynapses | SetDelays, at: int, healthy: dict[int, dict[int, tuple[int, int]]], weight: int, delay: int
) -> tuple[int, int]:
    """What an edit makes of the weight and delay of its synapse number ``at``, on a chip where nothing else is broken in it."""
    if isinstance(edit, SetDelays):
        return weight, int(edit.delays[at])
    if edit.of_sources is not None and edit.of_targets is not None and edit.of_sources[at] >= 0:
        delay = healthy.get(int(edit.of_sources[at]), {}).get(int(edit.of_targets[at]), (0, 0))[1]
    return int(edit.values[at]), delay


def present(deployment: Deployment, inputs: Inputs) -> Traces:
    """Return u, v, spikes, each [N, T, n], of every population."""
    first = phases(deployment)
    cells = {
        population.name: Cell(deployment, inputs, population.name, first[population.name]) for population in deployment.populations
    }
    for chip_step in range(1, len(inputs) * deployment.timesteps + max(first.values()) + 1):
        sent = {name: cell.step(chip_step) for name, cell in cells.items()}
        for name, messages in sent.items():
            if messages is not None:
                sample, fired = messages
                for one in deployment.out_of(name):
                    cells[one.target].mail[chip_step + one.delay] += [(one.name, sample, source) for source in fired]
    return {name: cell.traces for name, cell in cells.items()}


def answered(chip: Deployment, expected: Traces) -> np.ndarray:
    """What the readout scores, one sample, neuron and step at a time."""
    read, T = expected[chip.readout.population], chip.timesteps
    first, stop = (0, T) if chip.readout.when is None else chip.readout.when
    samples, _, size = read["v"].shape
    found = np.zeros((samples, size), np.int64)
    for k in range(samples):
        for n in range(size):
            seen = [int(read["v"][k, t, n]) for t in range(first, stop)]
            fired = sum(int(read["spikes"][k, t, n]) for t in range(first, stop))
            match chip.readout.how:
                case "potential":
                    found[k, n] = seen[-1]
                case "count":
                    found[k, n] = (fired << 24) + seen[-1]
                case "largest":
                    found[k, n] = max(seen)
                case "mean":
                    found[k, n] = sum(seen)
    return found


def check(chip: Deployment, activity: Activity, expected: Traces) -> None:
    """Everything that an engine returns against the reference."""
    for name, own in expected.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(activity.traces[name], state), own[state], f"{name} {state}")
        np.testing.assert_array_equal(activity.spike_counts[name], own["spikes"].sum(axis=(0, 1)))
    np.testing.assert_array_equal(activity.sample_spikes, sum(own["spikes"].sum(axis=(1, 2)) for own in expected.values()))
    scores = answered(chip, expected)
    alive = activity.scores != DEAD_SCORE
    np.testing.assert_array_equal(activity.scores[alive], scores[alive])
