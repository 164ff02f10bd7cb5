"""A damaged chip worked out bit by bit and step by step from the list of its faults, as ``docs/faults.md`` says: plain integers, no edits.

A memory of words, each with a weight field and a delay field; a list of things that are wrong, each at certain steps. Nothing of the
package folds anything here. Only what is drawn at random is taken from the plan: the noise of a drift, the row that a corrupt axon
entry points at, which messages a broken mesh may lose, the noise of a sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fault_chips import expanded
from slow_chip import decayed, shifted, wrap

from neurofault import faults
from neurofault.damage.damage import Drop, InputNoise
from neurofault.graph import Conv, Dense
from neurofault.streams import counter_hash

PARAMETERS = {"neuron_threshold": "vth", "neuron_leak": "dv", "neuron_bias": "bias_mantissa"}
UPSETS = ("flip", "drift", "lost", "shifted", "delay")
"""What a write mends."""


@dataclass
class Wrong:
    """One thing that is wrong in one layer.

    ``start`` and ``stop`` (None: for good) of the clock, ``on`` of every ``period`` steps from ``start``.
    """

    what: str
    layer: int
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

    def acts(self, sample, step, steps):
        now = step if self.clock == "presentation" else sample * steps + self.layer + 1 + step
        if now < self.start or (self.stop is not None and now >= self.stop):
            return False
        return (now - self.start) % self.period < self.on


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
    """A chip whose faults happen one after the other, and whose dense layers can be written in between."""

    def __init__(self, chip):
        self.chip, self.wrong = chip, []
        self.weight, self.delay = [{}], [{}]  # of each layer: pair → what is stored
        self.words = [[]]  # of each layer: core → rows → words → pairs that read them
        for index in range(1, len(chip.layers)):
            synapses, core_of = chip.layers[index].synapses, chip.placement.core_of[index]
            if isinstance(synapses, Conv):
                flat = synapses.weight.reshape(synapses.weight.shape[0], -1)
                found = expanded(synapses)
                self.weight.append({pair: int(flat[place]) for pair, place in found.items()})
                self.delay.append(dict.fromkeys(found, 0))
            else:
                pairs = [(s, t) for s in range(synapses.n_in) for t in range(synapses.n_out)]
                self.weight.append({(s, t): int(synapses.weight[t, s]) for s, t in pairs})
                self.delay.append({(s, t): 0 if synapses.delay is None else int(synapses.delay[t, s]) for s, t in pairs})
            self.words.append({int(core): self._rows(index, int(core)) for core in np.unique(core_of)})

    def _rows(self, index, core):
        synapses = self.chip.layers[index].synapses
        here = [t for t, home in enumerate(self.chip.placement.core_of[index]) if home == core]
        if isinstance(synapses, Dense):
            return [[[(s, t)] for t in here] for s in range(synapses.n_in)]
        found = expanded(synapses)
        if not self.chip.profile.synapse.shared_kernels.value:
            return [[[pair] for pair in found if pair[1] in here]]
        channels = sorted({t // (synapses.out_shape[1] * synapses.out_shape[2]) for t in here})
        size = int(np.prod(synapses.weight.shape[1:]))
        return [
            [[pair for pair, place in found.items() if place == (channel, word) and pair[1] in here] for word in range(size)]
            for channel in channels
        ]

    def _core(self, layer, neuron):
        return int(self.chip.placement.core_of[layer][neuron])

    def _word(self, layer, pair):
        """All pairs that read the stored synapse of a pair."""
        rows = self.words[layer][self._core(layer, pair[1])]
        return next(word for row in rows for word in row if pair in word)

    def _run(self, layer, core, number, size):
        """The words of a run of a row."""
        for row in self.words[layer][core]:
            runs = -(-len(row) // size)
            if number < runs:
                return row[number * size : (number + 1) * size]
            number -= runs
        raise AssertionError

    def strike(self, plan):
        """Let the faults of a plan happen."""
        for planned in plan.faults:
            fault = planned.fault
            own = list(self._things(fault, planned.edits))
            sites = fault.sites if isinstance(fault.sites, tuple) else ()
            for number, what, layer, where, more in own:
                self.wrong.append(Wrong(what, layer, where, more, **times(fault.when, number, len(sites), type(fault).stored)))
            for edit in planned.edits:  # what is drawn at random, and which flows cross what is broken
                if isinstance(edit, Drop | InputNoise) and fault.kind != "axon_lost":
                    when = edit.when
                    period, on = (1, 1) if when.period is None else (when.period, when.on)
                    self.wrong.append(Wrong("edit", edit.layer, edit, None, when.start, when.stop, period, on, when.clock))

    def _things(self, fault, edits):
        """Yield (number of the site, what, layer, sites, more)."""
        kind, chip = fault.kind, self.chip
        names = [layer.name for layer in chip.layers]
        layer = names.index(fault.layer) if fault.layer in names else 0
        bits = chip.layers[layer].weight_bits
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
                    for index, cores in enumerate(chip.placement.core_of):
                        yield number, "silent", index, {n for n, home in enumerate(cores) if home == site}, None
                case "neuron_dead":
                    yield number, "silent", layer, {site}, None
                case "neuron_saturated":
                    yield number, "forced", layer, {site}, 65536
                case "neuron_stuck":
                    yield number, "forced", layer, {site}, round(fault.spike_rate * 65536)
                case "neuron_threshold" | "neuron_leak" | "neuron_bias":
                    name = fault.decay if kind == "neuron_leak" else PARAMETERS[kind]
                    yield number, name, layer, {site}, fault
                case "sensor_dead":
                    yield number, "pixel", 0, {site}, int(chip.encoding.table[fault.value])
                case "state_upset":
                    yield number, fault.state, layer, {site}, 1 << fault.bit
                case "synapse_bit_flip":
                    yield number, "flip", layer, self._word(layer, site[:2]), 1 << site[2]
                case "synapse_bit_stuck":
                    yield number, "stuck", layer, self._word(layer, site[:2]), (1 << site[2], fault.level << site[2])
                case "synapse_dead":
                    yield number, "stuck", layer, self._word(layer, site), (whole, 0)
                case "synapse_stuck":
                    yield number, "stuck", layer, self._word(layer, site), (whole, self.nearest(layer, float(fault.value)))
                case "synapse_saturated":
                    word = self._word(layer, site)
                    lasting = [w for w in self.wrong if w.always]
                    weight = self.read(layer, self.cell(layer, word[0], lasting))
                    up = {"highest": True, "lowest": False, "sign": weight >= 0}[fault.to]
                    yield number, "stuck", layer, word, (whole, self.nearest(layer, 1e9 if up else -1e9))
                case "synapse_perturbed":
                    word = self._word(layer, site)
                    yield number, "drift", layer, word, drift[word[0]]
                case "synapse_delay":
                    yield number, "delay", layer, self._word(layer, site), 1 << fault.bit
                case "memory_word_dead":
                    size = chip.profile.synapse.word_bits.value // bits
                    pairs = [pair for word in self._run(layer, site[0], site[1], size) for pair in word]
                    yield number, "stuck", layer, pairs, (whole, 0)
                case "word_header":
                    run = self._run(layer, site[0], site[1], chip.profile.synapse.block_synapses.value)
                    before = {
                        pair: (run[i - 1][-1] if run[i - 1] else None) if fault.effect == "shifted" else None
                        for i, word in enumerate(run)
                        for pair in word
                    }
                    yield number, fault.effect, layer, list(before), before
                case "axon_lost":
                    here = {t for t, home in enumerate(chip.placement.core_of[layer]) if home == site[1]}
                    yield number, "cut", layer, here, site[0]
                case "axon_misrouted":
                    here = {t for t, home in enumerate(chip.placement.core_of[layer]) if home == site[1]}
                    (other,) = {of for (s, t), of in rows.items() if s == site[0] and t in here and of >= 0}
                    yield number, "misrouted", layer, here, (site[0], other)

    def step(self, layer):
        """(bits, places by which a field is shifted when it is read)."""
        own = self.chip.layers[layer]
        return own.weight_bits, 8 - own.weight_bits + (own.sign_mode == "mixed")

    def read(self, layer, word):
        """The weight of a stored field."""
        bits, shift = self.step(layer)
        match self.chip.layers[layer].sign_mode:
            case "mixed":
                return wrap(word, bits) << shift
            case "excitatory":
                return word << shift
        return -(word << shift)

    def store(self, layer, weight):
        """The field of a weight that fits it."""
        bits, shift = self.step(layer)
        return ((-weight if self.chip.layers[layer].sign_mode == "inhibitory" else weight) >> shift) % (1 << bits)

    def ends(self, layer):
        """The lowest and the highest weight that a field holds."""
        weights = [self.read(layer, word) for word in range(1 << self.step(layer)[0])]
        return min(weights), max(weights)

    def nearest(self, layer, weight):
        _, shift = self.step(layer)
        low, high = self.ends(layer)
        if weight >= high or weight <= low:
            return self.store(layer, high if weight >= high else low)
        return self.store(layer, int(np.rint(weight / (1 << shift))) << shift)  # halves go to the even one

    def stored(self, layer, pair, acting):
        word = self.store(layer, self.weight[layer][pair])
        for w in acting:
            if w.layer == layer and w.what in ("flip", "drift") and pair in w.sites and pair not in w.mended:
                if w.what == "flip":
                    word ^= w.more
                else:
                    word = self.nearest(layer, self.read(layer, word) * w.more[0] + w.more[1])
        return word

    def cell(self, layer, pair, acting):
        """The field that a cell reads: what is stored in it, and its stuck bits."""
        word = self.stored(layer, pair, acting)
        for w in acting:
            if w.layer == layer and w.what == "stuck" and pair in w.sites:
                word = (word & ~w.more[0]) | w.more[1]
        return word

    def memory(self, layer, acting):
        """(source, target) → (weight, delay) as the chip reads them."""
        own = [w for w in acting if w.layer == layer]
        cells = {pair: self.read(layer, self.cell(layer, pair, own)) for pair in self.weight[layer]}
        delays = {}
        for pair, delay in self.delay[layer].items():
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

    def write(self, layer, weights, written, now):
        """Write a dense layer after the chip's step ``now``."""
        for w in self.wrong:
            if w.what in UPSETS and w.clock == "chip" and w.stop is None and w.on == w.period and w.start <= now:
                w.start, w.clock = 0, "presentation"
        lasting = [w for w in self.wrong if w.layer == layer and w.always]
        low, high = self.ends(layer)
        for s, t in self.weight[layer]:
            dead = any(w.what == "silent" and t in w.sites for w in lasting)
            past = any(w.what == "misrouted" and t in w.sites and w.more[0] == s for w in lasting)
            if not written[t, s] or dead or past:
                continue
            word = self.store(layer, min(max(int(weights[t, s]), low), high))
            for w in lasting:
                if w.what == "stuck" and (s, t) in w.sites:
                    word = (word & ~w.more[0]) | w.more[1]
            self.weight[layer][s, t] = self.read(layer, word)
            for w in lasting:
                if w.what in UPSETS and w.what != "delay" and (s, t) in w.sites:
                    w.mended.add((s, t))

    def fields(self, layer, n, acting):
        """The stored parameters of a neuron, and whether its own bias takes the place of what is given."""
        chip, limits = self.chip.layers[layer], self.chip.profile.neuron
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
        """Return, for each layer, u, v (int64) and spikes (bool), each [N, T, n]; and who is dead in the last step of each sample."""
        steps, result = self.chip.timesteps, []
        for index, layer in enumerate(self.chip.layers):
            shape = (len(inputs), steps, layer.size)
            out = {"u": np.zeros(shape, np.int64), "v": np.zeros(shape, np.int64), "spikes": np.zeros(shape, bool)}
            out["dead"] = np.zeros((len(inputs), layer.size), bool)
            known: dict = {}
            for row in range(len(inputs)):
                u, v = [0] * layer.size, [layer.v_init] * layer.size
                coming: list[dict] = [{} for _ in range(layer.size)]
                for t in range(steps):
                    self._step(index, inputs, row, t, u, v, coming, known, result, out)
            result.append(out)
        return result

    def _step(self, index, inputs, row, t, u, v, coming, known, result, out):
        layer, steps = self.chip.layers[index], self.chip.timesteps
        sample = inputs.first_sample + row
        acting = [w for w in self.wrong if w.layer == index and w.acts(sample, t, steps)]
        key = tuple(map(id, acting))
        if key not in known:
            known[key] = (
                self.memory(index, acting) if index else {},
                [self.fields(index, n, acting) for n in range(layer.size)],
            )
        memory, fields = known[key]
        for w in acting:
            if w.what in ("u", "v"):
                for n in w.sites:
                    state = u if w.what == "u" else v
                    state[n] = wrap((state[n] ^ w.more) % 2**24, 24)
        arrived: list[dict] = [{} for _ in range(layer.size)]
        if index:
            fired = result[-1]["spikes"][row, t]
            for (s, n), (weight, delay) in memory.items():
                if fired[s] and not any(self._loses(w, s, n, sample, t) for w in acting):
                    arrived[n][delay] = arrived[n].get(delay, 0) + weight
        for n in range(layer.size):
            for delay, total in arrived[n].items():
                coming[n].setdefault(t + delay, []).append(shifted(total, layer.weight_exponent))
            held, own = fields[n]
            mantissa = held["bias_mantissa"]
            if index == 0 and inputs.bias is not None and not own:
                mantissa = int(inputs.bias[row, n])
                for w in acting:
                    if w.what == "edit" and n in w.sites.neurons.tolist():
                        at = int(np.flatnonzero(w.sites.neurons == n)[0])
                        mantissa += int(w.sites.mantissas(sample, 1, steps)[0, t, at])
            a = wrap(sum(coming[n].pop(t, [])), 32)
            current = wrap(decayed(u[n], held["du"] + 1) + wrap(a << 6, 32), 32)
            u[n] = current - 2**24 if current > 2**23 else current + 2**24 if current <= -(2**23) else current
            bias = wrap(shifted(wrap(mantissa, 16), layer.bias_exponent), 32)
            v[n] = max(1 - 2**23, min(2**23 - 1, wrap(decayed(v[n], held["dv"]) + u[n] + bias, 32)))
            spike = v[n] > held["vth"] << 6
            v[n] = 0 if spike else v[n]
            if index == 0 and inputs.events is not None:
                u[n], v[n], spike = 0, 0, bool(inputs.events[row, t, n])
            for w in acting:
                if w.what == "forced" and n in w.sites:
                    spike = (t + 1) * w.more // 65536 > t * w.more // 65536
            dead = any(w.what == "silent" and n in w.sites for w in acting)
            if dead:
                u[n] = v[n] = 0
                spike = False
            out["u"][row, t, n], out["v"][row, t, n], out["spikes"][row, t, n] = u[n], v[n], spike
            out["dead"][row, n] = dead

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
