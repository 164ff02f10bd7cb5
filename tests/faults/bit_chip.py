"""A damaged chip worked out bit by bit and step by step from the list of its faults, as ``docs/faults.md`` says: plain integers, no edits.

A memory of words, each with a weight field and a delay field; a list of things that are wrong, each at certain steps. Nothing of the
package folds anything here. Only what is drawn at random is taken from the plan: the noise of a drift, the row that a corrupt axon
entry points at, which messages a broken mesh may lose, the noise of a sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fault_chips import expanded, pairs_of
from slow_chip import decayed, shifted, wrap

from neurofault import faults
from neurofault.damage.damage import Drop, InputNoise
from neurofault.graph import Conv
from neurofault.inputs import Bias, Spikes
from neurofault.streams import counter_hash

PARAMETERS = {"neuron_threshold": "vth", "neuron_leak": "dv", "neuron_bias": "bias_mantissa"}
OF_NEURONS = ("silent", "forced", "vth", "du", "dv", "bias_mantissa", "pixel", "u", "v")
"""What is wrong with neurons; all else with synapses and messages."""
UPSETS = ("flip", "drift", "lost", "shifted", "delay")
"""What a write mends."""


@dataclass
class Wrong:
    """One thing that is wrong with a population's neurons or a connection's synapses: ``of`` is its name, ``what`` says which.

    ``start`` and ``stop`` (None: for good) of the clock, ``on`` of every ``period`` steps from ``start``.
    """

    what: str
    of: str
    sites: Any
    more: Any = None
    start: int = 0
    stop: int | None = None
    period: int = 1
    on: int = 1
    clock: str = "presentation"
    mended: set = field(default_factory=set)

    @property
    def always(self):
        return self.start <= (self.clock == "chip") and self.stop is None and self.on == self.period

    def acts(self, phase, sample, step, steps):
        now = step if self.clock == "presentation" else sample * steps + phase + 1 + step
        if now < self.start or (self.stop is not None and now >= self.stop):
            return False
        return (now - self.start) % self.period < self.on


@dataclass
class _Neurons:
    """The states of a population in a sample, and what is on its way to each neuron: step → parts."""

    u: list
    v: list
    coming: list


def times(when, number, count, stored):
    """The clock's steps in which site ``number`` of ``count`` is wrong."""
    start = when.start or 0
    match when.kind:
        case "permanent":
            return {}
        case "transient":
            own = {"start": start, "stop": when.stop}
        case "intermittent":
            own = {"start": start, "period": when.on + when.off, "on": when.on}
        case "periodic":
            own = {"start": start, "period": when.period}
        case "once":
            own = {"start": when.at, "stop": None if stored else when.at + 1}
        case "death":
            own = {"start": when.at}
        case "ageing":
            step = start
            while ((step - start) / (when.stop - start)) ** (when.shape or 1.0) < (number + 1) / count - 1e-9:
                step += 1
            own = {"start": step}
    return own | {"clock": when.clock}


class BitChip:
    """A chip whose faults happen one after the other, and whose dense connections can be written in between."""

    def __init__(self, chip):
        self.chip, self.wrong = chip, []
        found = {one.name: pairs_of(one.synapses) for one in chip.connections}
        self.weight, self.delay = ({name: {p: held[i] for p, held in own.items()} for name, own in found.items()} for i in (0, 1))
        self.words: dict = {}  # connection → core → rows → words → pairs that read them
        self.order = [one for population in chip.populations for one in chip.connections if one.target == population.name]
        for one in self.order:
            cores = np.unique(chip.placement.core_of[one.target])
            self.words[one.name] = {int(core): self._rows(one, int(core)) for core in cores}

    def _rows(self, one, core):
        synapses = one.synapses
        here = [t for t, home in enumerate(self.chip.placement.core_of[one.target]) if home == core]
        if not isinstance(synapses, Conv):
            return [[[(s, t)] for t in here if (s, t) in self.weight[one.name]] for s in range(synapses.n_in)]
        found = expanded(synapses)
        if not self.chip.profile.synapse.shared_kernels.value:
            return [[[pair] for pair in found if pair[1] in here]]
        channels = sorted({t // (synapses.out_shape[1] * synapses.out_shape[2]) for t in here})
        size = int(np.prod(synapses.weight.shape[1:]))
        return [
            [[pair for pair, place in found.items() if place == (channel, word) and pair[1] in here] for word in range(size)]
            for channel in channels
        ]

    def _word(self, connection, pair):
        """All pairs that read the stored synapse of a pair."""
        core = int(self.chip.placement.core_of[self.chip.connection(connection).target][pair[1]])
        return next(word for row in self.words[connection][core] for word in row if pair in word)

    def _run(self, core, number, size):
        """The run of that number of all that a core stores, and its connection; ``size``: connection → words of a run."""
        for one in self.order:
            for row in self.words[one.name].get(core, []):
                runs = -(-len(row) // size(one))
                if number < runs:
                    return one.name, row[number * size(one) : (number + 1) * size(one)]
                number -= runs
        raise AssertionError

    def strike(self, plan):
        """Let the faults of a plan happen."""
        for planned in plan.faults:
            fault = planned.fault
            own = list(self._things(fault, planned.edits))
            sites = fault.sites if isinstance(fault.sites, tuple) else ()
            for number, what, of, where, more in own:
                self.wrong.append(Wrong(what, of, where, more, **times(fault.when, number, len(sites), type(fault).stored)))
            for edit in planned.edits:  # what is drawn at random, and which flows cross what is broken
                if isinstance(edit, Drop | InputNoise) and fault.kind != "axon_lost":
                    when, of = edit.when, edit.connection if isinstance(edit, Drop) else edit.population
                    period, on = (1, 1) if when.period is None else (when.period, when.on)
                    self.wrong.append(Wrong("edit", of, edit, None, when.start, when.stop, period, on, when.clock))

    def _things(self, fault, edits):
        """Yield (number of the site, what, population or connection, sites, more)."""
        kind, chip = fault.kind, self.chip
        name = fault.layer
        wires = [one.name for one in chip.connections]
        wire = fault.connection if getattr(fault, "connection", None) else name if name in wires else wires[0]
        bits = chip.connection(wire).weight_bits
        whole = (1 << bits) - 1
        drift = {
            (int(s), int(t)): (float(f), float(o))
            for e in edits
            if kind == "synapse_perturbed"
            for s, t, f, o in zip(e.sources, e.targets, e.factor, e.offset, strict=True)
        }
        rows = {
            (int(s), int(t)): int(of)
            for e in edits
            if kind == "axon_misrouted"
            for s, t, of in zip(e.sources, e.targets, e.of_sources, strict=True)
        }
        for number, site in enumerate(fault.sites or ()):
            match kind:
                case "core_dead" | "core_hung":
                    for population, cores in chip.placement.core_of.items():
                        yield number, "silent", population, {n for n, home in enumerate(cores) if home == site}, None
                case "neuron_dead":
                    yield number, "silent", name, {site}, None
                case "neuron_saturated":
                    yield number, "forced", name, {site}, 65536
                case "neuron_stuck":
                    yield number, "forced", name, {site}, round(fault.spike_rate * 65536)
                case "neuron_threshold" | "neuron_leak" | "neuron_bias":
                    field = fault.decay if kind == "neuron_leak" else PARAMETERS[kind]
                    yield number, field, name, {site}, fault
                case "sensor_dead":
                    seen = chip.inputs[0] if name == "input" else name
                    yield number, "pixel", seen, {site}, int(chip.population(seen).encoding.table[fault.value])
                case "state_upset":
                    yield number, fault.state, name, {site}, 1 << fault.bit
                case "synapse_bit_flip":
                    yield number, "flip", wire, self._word(wire, site[:2]), 1 << site[2]
                case "synapse_bit_stuck":
                    yield number, "stuck", wire, self._word(wire, site[:2]), (1 << site[2], fault.level << site[2])
                case "synapse_dead":
                    yield number, "stuck", wire, self._word(wire, site), (whole, 0)
                case "synapse_stuck":
                    yield number, "stuck", wire, self._word(wire, site), (whole, self.nearest(wire, float(fault.value)))
                case "synapse_saturated":
                    word = self._word(wire, site)
                    lasting = [w for w in self.wrong if w.always]
                    weight = self.read(wire, self.cell(wire, word[0], lasting))
                    up = {"highest": True, "lowest": False, "sign": weight >= 0}[fault.to]
                    yield number, "stuck", wire, word, (whole, self.nearest(wire, 1e9 if up else -1e9))
                case "synapse_perturbed":
                    word = self._word(wire, site)
                    yield number, "drift", wire, word, drift[word[0]]
                case "synapse_delay":
                    yield number, "delay", wire, self._word(wire, site), 1 << fault.bit
                case "memory_word_dead":
                    own, run = self._run(*site, lambda one: chip.profile.synapse.word_bits.value // one.weight_bits)
                    pairs = [pair for word in run for pair in word]
                    yield number, "stuck", own, pairs, ((1 << chip.connection(own).weight_bits) - 1, 0)
                case "word_header":
                    own, run = self._run(*site, lambda _: chip.profile.synapse.block_synapses.value)
                    before = {
                        pair: (run[i - 1][-1] if run[i - 1] else None) if fault.effect == "shifted" else None
                        for i, word in enumerate(run)
                        for pair in word
                    }
                    yield number, fault.effect, own, list(before), before
                case "axon_lost":
                    here = {t for t, home in enumerate(chip.placement.core_of[chip.connection(wire).target]) if home == site[1]}
                    yield number, "cut", wire, here, site[0]
                case "axon_misrouted":
                    here = {t for t, home in enumerate(chip.placement.core_of[chip.connection(wire).target]) if home == site[1]}
                    (other,) = {of for (s, t), of in rows.items() if s == site[0] and t in here and of >= 0}
                    yield number, "misrouted", wire, here, (site[0], other)

    def step(self, wire):
        """(bits, places by which a field is shifted when it is read)."""
        own = self.chip.connection(wire)
        return own.weight_bits, 8 - own.weight_bits + (own.sign_mode == "mixed")

    def read(self, wire, word):
        """The weight of a stored field."""
        bits, shift = self.step(wire)
        match self.chip.connection(wire).sign_mode:
            case "mixed":
                return wrap(word, bits) << shift
            case "excitatory":
                return word << shift
        return -(word << shift)

    def store(self, wire, weight):
        """The field of a weight that fits it."""
        bits, shift = self.step(wire)
        return ((-weight if self.chip.connection(wire).sign_mode == "inhibitory" else weight) >> shift) % (1 << bits)

    def ends(self, wire):
        """The lowest and the highest weight that a field holds."""
        weights = [self.read(wire, word) for word in range(1 << self.step(wire)[0])]
        return min(weights), max(weights)

    def nearest(self, wire, weight):
        _, shift = self.step(wire)
        low, high = self.ends(wire)
        if weight >= high or weight <= low:
            return self.store(wire, high if weight >= high else low)
        return self.store(wire, int(np.rint(weight / (1 << shift))) << shift)  # halves go to the even one

    def stored(self, wire, pair, acting):
        word = self.store(wire, self.weight[wire][pair])
        for w in acting:
            if w.of == wire and w.what in ("flip", "drift") and pair in w.sites and pair not in w.mended:
                if w.what == "flip":
                    word ^= w.more
                else:
                    word = self.nearest(wire, self.read(wire, word) * w.more[0] + w.more[1])
        return word

    def cell(self, wire, pair, acting):
        """The field that a cell reads: what is stored in it, and its stuck bits."""
        word = self.stored(wire, pair, acting)
        for w in acting:
            if w.of == wire and w.what == "stuck" and pair in w.sites:
                word = (word & ~w.more[0]) | w.more[1]
        return word

    def memory(self, wire, acting):
        """(source, target) → (weight, delay) as the chip reads them."""
        own = [w for w in acting if w.of == wire]
        cells = {pair: self.read(wire, self.cell(wire, pair, own)) for pair in self.weight[wire]}
        delays = {}
        for pair, delay in self.delay[wire].items():
            flips = [w.more for w in own if w.what == "delay" and pair in w.sites and pair not in w.mended]
            for flip in flips:
                delay ^= flip
            delays[pair] = min(delay, self.chip.profile.synapse.delay_max.value) if flips else delay
        found = {pair: (cells[pair], delays[pair]) for pair in cells}
        for w in own:
            if w.what in ("lost", "shifted"):
                now = dict(found)
                for pair, other in w.more.items():
                    if pair not in w.mended:
                        found[pair] = (0, now[pair][1]) if other is None else now[other]
        rows = dict(found)
        for w in own:
            if w.what == "misrouted":
                source, other = w.more
                for target in w.sites:
                    found[source, target] = rows.get((other, target), (0, 0))
        return found

    def write(self, wire, weights, written, now):
        """Write a dense connection after the chip's step ``now``."""
        for w in self.wrong:
            if w.what in UPSETS and w.clock == "chip" and w.stop is None and w.on == w.period and w.start <= now:
                w.start, w.clock = 0, "presentation"
        lasting = [w for w in self.wrong if w.of == wire and w.always]
        target = self.chip.connection(wire).target
        silent = [w for w in self.wrong if w.of == target and w.always and w.what == "silent"]
        low, high = self.ends(wire)
        for s, t in self.weight[wire]:
            dead = any(t in w.sites for w in silent)
            past = any(w.what == "misrouted" and t in w.sites and w.more[0] == s for w in lasting)
            if not written[t, s] or dead or past:
                continue
            word = self.store(wire, min(max(int(weights[t, s]), low), high))
            for w in lasting:
                if w.what == "stuck" and (s, t) in w.sites:
                    word = (word & ~w.more[0]) | w.more[1]
            self.weight[wire][s, t] = self.read(wire, word)
            for w in lasting:
                if w.what in UPSETS and w.what != "delay" and (s, t) in w.sites:
                    w.mended.add((s, t))

    def fields(self, population, n, acting):
        """The stored parameters of a neuron, and whether its own bias takes the place of what is given."""
        chip, limits = self.chip.population(population), self.chip.profile.neuron
        held = {name: int(getattr(chip, name)[n]) for name in ("vth", "du", "dv", "bias_mantissa")}
        ranges = {
            "vth": (0, limits.threshold_max.value),
            "du": (0, limits.decay_max.value),
            "dv": (0, limits.decay_max.value),
            "bias_mantissa": (limits.bias_mantissa_min.value, limits.bias_mantissa_max.value),
        }
        own = False
        for w in acting:
            if not isinstance(w.sites, set) or n not in w.sites:
                continue
            if w.what == "pixel":
                held["bias_mantissa"], own = w.more, True
            if w.what not in held:
                continue
            low, high = ranges[w.what]
            value = min(max(held[w.what], low), high)
            if w.more.bit is not None:
                size = (high - low).bit_length()
                value = (value % (1 << size)) ^ (1 << w.more.bit)
                value = wrap(value, size) if low < 0 else value
            else:
                value = int(np.rint(value * w.more.factor)) + w.more.offset
            held[w.what] = min(max(value, low), high)
            own |= w.what == "bias_mantissa"
        return held, own

    def present(self, inputs):
        """Return, for each population, u, v (int64) and spikes (bool), each [N, T, n]; and who is dead in the last step of each sample."""
        chip, result = self.chip, {}
        for one in chip.populations:
            shape = (len(inputs), chip.timesteps, one.size)
            out = {"u": np.zeros(shape, np.int64), "v": np.zeros(shape, np.int64), "spikes": np.zeros(shape, bool)}
            out["dead"] = np.zeros((len(inputs), one.size), bool)
            result[one.name] = out
        phase, known = chip.schedule.phase, {}
        for row in range(len(inputs)):
            now = {
                one.name: _Neurons([0] * one.size, [one.v_init] * one.size, [{} for _ in range(one.size)])
                for one in chip.populations
            }
            for t in range(chip.timesteps):
                for name in sorted(phase, key=phase.__getitem__):  # no way without a lag leads back
                    self._step(chip.population(name), inputs, row, t, now[name], known, result)
        return result

    def _step(self, one, inputs, row, t, now, known, result):
        chip, sample, name = self.chip, inputs.first_sample + row, one.name
        given = inputs.of(name) if one.is_source else None
        into = [wire.name for wire in chip.connections if wire.target == name]
        at = chip.schedule.phase[name], sample, t, chip.timesteps
        acting = [w for w in self.wrong if w.of == name and w.what in OF_NEURONS and w.acts(*at)]
        acting += [w for w in self.wrong if w.of == name and w.what == "edit" and isinstance(w.sites, InputNoise) and w.acts(*at)]
        key = name, *map(id, acting)
        if key not in known:
            known[key] = [self.fields(name, n, acting) for n in range(one.size)]
        for w in acting:
            if w.what in ("u", "v"):
                for n in w.sites:
                    state = now.u if w.what == "u" else now.v
                    state[n] = wrap((state[n] ^ w.more) % 2**24, 24)
        for wire in into:
            self._arrive(wire, at, row, now.coming, known, result)
        for n in range(one.size):
            held, own = known[key][n]
            mantissa = held["bias_mantissa"]
            if isinstance(given, Bias) and not own:
                mantissa = int(given.mantissa[row, n])
                for w in acting:
                    if w.what == "edit" and n in w.sites.neurons.tolist():
                        place = int(np.flatnonzero(w.sites.neurons == n)[0])
                        mantissa += int(w.sites.mantissas(at[0], sample, 1, chip.timesteps)[0, t, place])
            a = wrap(sum(now.coming[n].pop(t, [])), 32)
            current = wrap(decayed(now.u[n], held["du"] + 1) + wrap(a << 6, 32), 32)
            u = current - 2**24 if current > 2**23 else current + 2**24 if current <= -(2**23) else current
            bias = wrap(shifted(wrap(mantissa, 16), one.bias_exponent), 32)
            v = max(1 - 2**23, min(2**23 - 1, wrap(decayed(now.v[n], held["dv"]) + u + bias, 32)))
            spike = v > held["vth"] << 6
            v = 0 if spike else v
            if isinstance(given, Spikes):
                u, v, spike = 0, 0, bool(given.to_dense()[row, t, n])
            for w in acting:
                if w.what == "forced" and n in w.sites:
                    spike = (t + 1) * w.more // 65536 > t * w.more // 65536
            dead = any(w.what == "silent" and n in w.sites for w in acting)
            if dead:
                u = v = 0
                spike = False
            now.u[n], now.v[n] = u, v
            out = result[name]
            out["u"][row, t, n], out["v"][row, t, n], out["spikes"][row, t, n] = u, v, spike
            out["dead"][row, n] = dead

    def _arrive(self, wire, at, row, coming, known, result):
        """Put what comes over a connection in a step on its way."""
        _, sample, t, _ = at
        one, before = self.chip.connection(wire), t - self.chip.schedule.lag[wire]
        acting = [w for w in self.wrong if w.of == wire and self._of_synapses(w) and w.acts(*at)]
        key = "wire", wire, *map(id, acting)
        if key not in known:
            known[key] = self.memory(wire, acting)
        if before < 0:
            return
        fired = result[one.source]["spikes"][row, before]
        arrived: list[dict] = [{} for _ in coming]
        for (s, n), (weight, delay) in known[key].items():
            if fired[s] and not any(self._loses(w, s, n, sample, t) for w in acting):
                arrived[n][delay] = arrived[n].get(delay, 0) + weight
        for n, found in enumerate(arrived):
            for delay, total in found.items():
                coming[n].setdefault(t + delay, []).append(shifted(total, one.weight_exponent))

    @staticmethod
    def _of_synapses(w):
        return isinstance(w.sites, Drop) if w.what == "edit" else w.what not in OF_NEURONS

    @staticmethod
    def _loses(w, source, target, sample, t):
        if w.what == "cut":
            return source == w.more and target in w.sites
        if w.what != "edit" or not isinstance(w.sites, Drop) or target not in w.sites.targets or source not in w.sites.sources:
            return False
        bits = int(counter_hash(w.sites.key, sample, t, int(source), w.sites.core))
        return w.sites.probability >= 1 or bits < int(w.sites.probability * 2**64)


UNSEEN = {model.kind for model in faults.FAMILIES["learning"]}
"""Kinds that inference must not see."""
