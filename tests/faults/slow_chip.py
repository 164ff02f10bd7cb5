"""A damaged chip in plain Python integers: one neuron, one step at a time. Written from the definition in ``damage/damage.py``."""

from __future__ import annotations

import numpy as np
from fault_chips import pairs_of

from neurofault.damage.damage import Drop, Force, InputNoise, SetDelays, SetField, SetSynapses, Silence, Upset
from neurofault.inputs import Bias
from neurofault.streams import counter_hash


def wrap(value, bits):
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half


def shifted(value, places):
    return value << places if places >= 0 else value >> -places


def decayed(value, loss):
    kept = abs(value) * (4096 - loss) // 4096
    return kept if value >= 0 else -kept


def acts(when, phase, sample, step, steps):
    """`when` for a population's own step of a sample, without `When.active`."""
    now = step if when.clock == "presentation" else sample * steps + phase + 1 + step
    if now < when.start or (when.stop is not None and now >= when.stop):
        return False
    return when.period is None or (now - when.start) % when.period < when.on


def healthy_synapses(synapses):
    """target → source → (weight, delay)."""
    found: dict = {target: {} for target in range(synapses.n_out)}
    for (source, target), held in pairs_of(synapses).items():
        found[target][source] = held
    return found


def index_of(array, value):
    hits = [i for i, other in enumerate(array) if other == value]
    return hits[0] if hits else None


class _Chip:
    """The chip in one sample."""

    def __init__(self, chip, inputs, row, healthy, out):
        self.chip, self.inputs, self.row, self.healthy, self.out = chip, inputs, row, healthy, out
        self.sample = inputs.first_sample + row
        self.u = {one.name: [0] * one.size for one in chip.populations}
        self.v = {one.name: [one.v_init] * one.size for one in chip.populations}
        self.coming: dict = {one.name: [{} for _ in range(one.size)] for one in chip.populations}

    def step(self, name, t):
        """All neurons of a population in one of its steps."""
        chip, phase, steps = self.chip, self.chip.schedule.phase[name], self.chip.timesteps
        into = chip.into(name)
        own = [e for e in chip.damage.edits if getattr(e, "population", None) == name]
        live = [e for e in own if acts(e.when, phase, self.sample, t, steps)]
        arriving = {
            c.name: [
                e
                for e in chip.damage.edits
                if getattr(e, "connection", None) == c.name and acts(e.when, phase, self.sample, t, steps)
            ]
            for c in into
        }
        for n in range(chip.population(name).size):
            self.upset(live, name, n)
            for connection in into:
                self.arrive(connection, arriving[connection.name], name, n, t)
            self.update([e for e in own if isinstance(e, InputNoise)], live, name, n, t)

    def upset(self, live, name, n):
        for e in live:
            at = index_of(e.neurons, n) if isinstance(e, Upset) else None
            if at is not None:
                state = self.u if e.state == "u" else self.v
                state[name][n] = wrap((state[name][n] ^ int(e.masks[at])) % 2**24, 24)

    def arrive(self, connection, live, name, n, t):
        """Put what comes over a connection in this step on its way to a neuron."""
        before = t - self.chip.schedule.lag[connection.name]
        if before < 0:
            return
        lost = set()
        for e in live:
            if isinstance(e, Drop) and n in e.targets:
                for source in e.sources:
                    bits = int(counter_hash(e.key, self.sample, t, int(source), e.core))
                    if e.probability >= 1 or bits < int(e.probability * 2**64):
                        lost.add(int(source))
        arrived: dict = {}
        for source in range(connection.synapses.n_in):
            if not self.out[connection.source]["spikes"][self.row, before, source] or source in lost:
                continue
            weight, delay = self.healthy[connection.name][n].get(source, (0, 0))
            for e in live:
                if isinstance(e, SetSynapses | SetDelays):
                    for at, (s, to) in enumerate(zip(e.sources, e.targets, strict=True)):
                        if (s, to) == (source, n):
                            weight, delay = self.read(connection.name, e, at, weight, delay)
            arrived[delay] = arrived.get(delay, 0) + weight
        for delay, total in arrived.items():
            self.coming[name][n].setdefault(t + delay, []).append(shifted(total, connection.weight_exponent))

    def read(self, connection, edit, at, weight, delay):
        """What one edit makes of the weight and delay of one synapse, on a chip where nothing else is broken in it."""
        if isinstance(edit, SetDelays):
            return weight, int(edit.delays[at])
        if edit.of_sources is not None and edit.of_sources[at] >= 0:
            delay = self.healthy[connection][int(edit.of_targets[at])].get(int(edit.of_sources[at]), (0, 0))[1]
        return int(edit.values[at]), delay

    def update(self, noise, live, name, n, t):
        """The neuron's own step, and what leaves it."""
        one = self.chip.population(name)
        given = self.inputs.of(name) if one.is_source else None
        a = wrap(sum(self.coming[name][n].pop(t, [])), 32)
        fields = {field: int(getattr(one, field)[n]) for field in ("vth", "du", "dv", "bias_mantissa")}
        if isinstance(given, Bias):
            fields["bias_mantissa"] = int(given.mantissa[self.row, n])
            phase = self.chip.schedule.phase[name]
            noisy = [e for e in noise if index_of(e.neurons, n) is not None]
            for e in noisy:
                mantissas = e.mantissas(phase, self.sample, 1, self.chip.timesteps)
                fields["bias_mantissa"] += int(mantissas[0, t, index_of(e.neurons, n)])
            if noisy:
                fields["bias_mantissa"] = max(-32768, min(32767, fields["bias_mantissa"]))
        for e in live:
            if isinstance(e, SetField) and index_of(e.neurons, n) is not None:
                fields[e.field] = int(e.values[index_of(e.neurons, n)])
        u = wrap(decayed(self.u[name][n], fields["du"] + 1) + wrap(a << 6, 32), 32)
        u = u - 2**24 if u > 2**23 else u + 2**24 if u <= -(2**23) else u
        bias = wrap(shifted(wrap(fields["bias_mantissa"], 16), one.bias_exponent), 32)
        v = max(1 - 2**23, min(2**23 - 1, wrap(decayed(self.v[name][n], fields["dv"]) + u + bias, 32)))
        spike = v > fields["vth"] << 6
        v = 0 if spike else v
        if given is not None and not isinstance(given, Bias):
            u, v, spike = 0, 0, bool(given.to_dense()[self.row, t, n])
        if any(isinstance(e, Silence) and n in e.neurons for e in live):
            u = v = 0
            spike = False
        else:
            for e in live:
                if isinstance(e, Force) and n in e.neurons:
                    spike = (t + 1) * e.rate // 65536 > t * e.rate // 65536
        self.u[name][n], self.v[name][n] = u, v
        for what, value in (("u", u), ("v", v), ("spikes", spike)):
            self.out[name][what][self.row, t, n] = value


def present(chip, inputs):
    """Return, for each population, u, v (int64) and spikes (bool), each [N, T, n]."""
    steps, out = chip.timesteps, {}
    for one in chip.populations:
        shape = (len(inputs), steps, one.size)
        out[one.name] = {"u": np.zeros(shape, np.int64), "v": np.zeros(shape, np.int64), "spikes": np.zeros(shape, bool)}
    healthy = {c.name: healthy_synapses(c.synapses) for c in chip.connections}
    order = sorted(chip.schedule.phase, key=chip.schedule.phase.__getitem__)  # no way without a lag leads back
    for row in range(len(inputs)):
        one = _Chip(chip, inputs, row, healthy, out)
        for t in range(steps):
            for name in order:
                one.step(name, t)
    return out
