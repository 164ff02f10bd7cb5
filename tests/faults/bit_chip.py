"""A damaged chip worked out bit by bit under one clock from the list of its faults, as ``docs/faults.md`` says: plain integers, no edits.

A memory of words, each with a weight field and a delay field; a list of things that are wrong, each at certain steps. In each of the
chip's steps every population steps; a message that leaves in step s arrives in step s + delay, and is lost where its target has begun
another sample by then. Nothing of the package folds, times, routes or schedules anything here. Only what is drawn at random is taken from
the plan: which sites a fault without a list hits, the noise of a drift, the row that a corrupt axon entry points at, the key by which a
lossy link takes messages, the noise of a sensor; and, where several faults of the mesh meet, which flows the later ones take.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from fault_chips import expanded, pairs_of
from reference import answered, chance, phases, shift, wrap

from neurofault.damage.damage import (
    Drop,
    Force,
    InputNoise,
    KeptState,
    LostReset,
    SetDelays,
    SetField,
    SetSynapses,
    Silence,
    Stall,
    StuckCounter,
    Upset,
)
from neurofault.damage.when import ALWAYS
from neurofault.graph import Conv
from neurofault.inputs import Bias

PARAMETERS = {"neuron_threshold": "vth", "neuron_leak": "dv", "neuron_bias": "bias_mantissa"}
OF_NEURONS = ("silent", "forced", "vth", "du", "dv", "bias_mantissa", "pixel", "u", "v", "noise", "held", "unreset", "unclear")
"""What is wrong with neurons; all else with synapses and messages."""
OF_MESH = ("link_dead", "link_lossy", "router_dead")
UPSETS = ("flip", "drift", "lost", "shifted", "delay")
"""What a write mends."""
DEAD_SCORE = -(2**63)
MOVES = {"E": (1, 0), "W": (-1, 0), "N": (0, -1), "S": (0, 1)}
BACK = {"E": "W", "W": "E", "N": "S", "S": "N"}


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

    def acts(self, step, now):
        """Whether it does in a population's own step of a sample, which is the chip's step ``now``."""
        now = step if self.clock == "presentation" else now
        if now < self.start or (self.stop is not None and now >= self.stop):
            return False
        return (now - self.start) % self.period < self.on


class _Cell:
    """A population while the clock runs: the states of its neurons, and what is on its way to them (step → sums)."""

    def __init__(self, chip, one, phase, inputs, wrong):
        given = inputs.named(chip.inputs).of(one.name) if one.is_source else None
        self.one, self.phase = one, phase
        self.into = [wire for wire in chip.connections if wire.target == one.name]
        self.out = [wire for wire in chip.connections if wire.source == one.name]
        self.mantissas = given.mantissa.tolist() if isinstance(given, Bias) else None
        self.events = None if given is None or isinstance(given, Bias) else given.to_dense()
        self.wrong = [w for w in wrong if w.of == one.name and w.what in OF_NEURONS]
        names = {wire.name for wire in self.into}
        self.wires = [w for w in wrong if w.what not in OF_NEURONS and (w.of in names or w.what == "shut")]
        self.u, self.v, self.coming, self.trace = [], [], {}, []

    def traces(self, samples):
        """What it went through, and who was dead in each step."""
        u, v, spikes, dead = (np.array(own).reshape(samples, -1, self.one.size) for own in zip(*self.trace, strict=True))
        return {"u": u, "v": v, "spikes": spikes, "dead": dead}


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
        self.chip, self.wrong, self.first = chip, [], phases(chip)
        found = {one.name: pairs_of(one.synapses) for one in chip.connections}
        self.weight, self.delay = ({name: {p: held[i] for p, held in own.items()} for name, own in found.items()} for i in (0, 1))
        self.wire = {one.name: one for one in chip.connections}
        self.home = {name: cores.tolist() for name, cores in chip.placement.core_of.items()}
        self.words: dict = {}  # connection → core → rows → words → pairs that read them
        self.order = [one for population in chip.populations for one in chip.connections if one.target == population.name]
        for one in self.order:
            self.words[one.name] = {core: self._rows(one, core) for core in sorted(set(self.home[one.target]))}
        self.meshed = False

    def healthy(self):
        """The same chip with nothing wrong."""
        other = copy.copy(self)
        other.wrong, other.meshed = [], False
        return other

    def _rows(self, one, core):
        synapses = one.synapses
        here = [t for t, home in enumerate(self.home[one.target]) if home == core]
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
        core = self.home[self.wire[connection].target][pair[1]]
        return next(word for row in self.words[connection][core] for word in row if pair in word)

    def runs(self, kind):
        """Core → (connection, words) of each run of consecutive words that a fault of this kind takes, in the order of the memory."""
        limits, found = self.chip.profile.synapse, {}
        for one in self.order:
            size = limits.block_synapses.value if kind == "word_header" else limits.word_bits.value // one.weight_bits
            for core, rows in self.words[one.name].items():
                parts = [(one.name, row[at : at + size]) for row in rows for at in range(0, len(row), size)]
                found.setdefault(core, []).extend(parts)
        return found

    def strike(self, plan):
        """Let the faults of a plan happen."""
        for planned in plan.faults:
            fault = planned.fault
            if fault.kind in OF_MESH and self.meshed:
                self._struck_as_planned(planned.edits)
                continue
            self.meshed |= fault.kind in OF_MESH
            sites = self.sites(planned)
            for number, (of, site) in enumerate(sites):
                if fault.kind in ("core_dead", "core_hung"):
                    own = self._of_core(fault, site)
                elif fault.kind in OF_MESH:
                    own = self._of_mesh(fault, site, planned.edits)
                elif fault.list_field in ("neurons", "pixels"):
                    own = [self._of_neurons(fault, of, site, planned.edits)]
                else:
                    own = [self._of_synapses(fault, of, site, planned.edits)]
                for thing in own:
                    self.wrong.append(Wrong(*thing, **times(fault.when, number, len(sites), type(fault).stored)))

    def _struck_as_planned(self, edits):
        """Take which flows a fault of the mesh cuts from its edits: where it meets others (``test_ways_round.py`` has these)."""
        for edit in edits:
            if isinstance(edit, Drop):
                when = edit.when
                period, on = (1, 1) if when.period is None else (when.period, when.on)
                sites, more = (set(edit.sources.tolist()), set(edit.targets.tolist())), (edit.key, edit.probability)
                self.wrong.append(Wrong("edit", edit.connection, sites, more, when.start, when.stop, period, on, when.clock))

    def sites(self, planned):
        """What a fault hits: (name of the population or connection, site), in the order in which they fail."""
        fault, wires = planned.fault, list(self.wire)
        if fault.list_field in ("errors", "cores") and fault.kind not in ("core_dead", "core_hung"):
            return []
        if fault.kind in OF_MESH and fault.sites is None:
            return [(None, text.split()[1]) for text in planned.hit.sites]
        if fault.sites is None:
            return list(dict.fromkeys(one for edit in planned.edits for one in self._drawn(fault.kind, edit)))
        of = (
            fault.connection
            if getattr(fault, "connection", None)
            else fault.layer
            if fault.layer in wires
            else wires[0]
            if wires
            else None
        )
        if fault.list_field in ("neurons", "pixels"):
            of = self.chip.inputs[0] if fault.layer == "input" else fault.layer
        return [] if fault.kind == "feedback_dead" else [(of, site) for site in fault.sites]

    def _drawn(self, kind, edit):
        """Yield the sites that an edit says were drawn."""
        match edit:
            case Stall():
                yield from ((None, core) for core in edit.cores)
            case Silence() if kind.startswith("core"):
                yield from ((None, self.home[edit.population][n]) for n in edit.neurons.tolist())
            case Silence() | Force() | SetField() | Upset() | StuckCounter() | LostReset() | KeptState() | InputNoise():
                yield from ((edit.population, n) for n in edit.neurons.tolist())
            case Drop():
                yield from ((edit.connection, (s, edit.core)) for s in edit.sources.tolist())
            case SetSynapses() | SetDelays():
                target = self.home[self.wire[edit.connection].target]
                runs = self.runs(kind) if kind in ("memory_word_dead", "word_header") else {}
                for at, (s, t) in enumerate(zip(edit.sources.tolist(), edit.targets.tolist(), strict=True)):
                    if kind == "axon_misrouted":
                        yield edit.connection, (s, target[t])
                    elif runs:
                        here = enumerate(runs[target[t]])
                        number = next(i for i, (own, run) in here if own == edit.connection and any((s, t) in word for word in run))
                        yield edit.connection, (target[t], number)
                    else:
                        word = self._word(edit.connection, (s, t))[0]
                        bits = self.wire[edit.connection].weight_bits
                        mask = {
                            "synapse_bit_flip": lambda at=at: int(edit.flips[at]),
                            "synapse_bit_stuck": lambda at=at, bits=bits: ~int(edit.keep[at]) & ((1 << bits) - 1),
                        }.get(kind)
                        if mask is None:
                            yield edit.connection, word
                        else:
                            yield from ((edit.connection, (*word, bit)) for bit in range(bits) if mask() >> bit & 1)

    def _of_core(self, fault, core):
        """(what, population, sites, more) of a fault of one core."""
        if fault.kind == "core_hung" and fault.on_core_death == "stall":
            return [("stall", None, (), None)]
        on = {name: {n for n, home in enumerate(cores) if home == core} for name, cores in self.home.items()}
        return [("silent", name, neurons, None) for name, neurons in on.items()]

    def _of_neurons(self, fault, name, site, edits):
        """(what, population, sites, more) of a fault of one neuron or sensor."""
        match fault.kind:
            case "neuron_dead":
                return "silent", name, {site}, None
            case "neuron_saturated":
                return "forced", name, {site}, 65536
            case "neuron_stuck":
                return "forced", name, {site}, round(fault.spike_rate * 65536)
            case "neuron_threshold" | "neuron_leak" | "neuron_bias":
                return fault.decay if fault.kind == "neuron_leak" else PARAMETERS[fault.kind], name, {site}, fault
            case "sensor_dead":
                return "pixel", name, {site}, int(self.chip.population(name).encoding.table[fault.value])
            case "sensor_noisy":
                drawn = next(e for e in edits if e.population == name and site in e.neurons)
                return "noise", name, {site}, replace(drawn, when=ALWAYS)
            case "state_upset":
                return fault.state, name, {site}, 1 << fault.bit
            case "refractory_stuck":  # on: no neuron here has refractory steps that it could fail to enter
                return "held", name, {site}, None
            case "spike_reset_lost":
                return "unreset", name, {site}, None
            case "state_kept":
                return "unclear", name, {site}, None
        raise AssertionError(fault.kind)

    def _of_synapses(self, fault, wire, site, edits):
        """(what, connection, sites, more) of a fault of one stored synapse, bit, run of words or axon entry."""
        bits = self.wire[wire].weight_bits
        whole = (1 << bits) - 1
        edits = [e for e in edits if e.connection == wire]
        here = {t for t, home in enumerate(self.home[self.wire[wire].target]) if home == site[1]}
        match fault.kind:
            case "synapse_bit_flip":
                return "flip", wire, self._word(wire, site[:2]), 1 << site[2]
            case "synapse_bit_stuck":
                return "stuck", wire, self._word(wire, site[:2]), (1 << site[2], fault.level << site[2])
            case "synapse_dead":
                return "stuck", wire, self._word(wire, site), (whole, 0)
            case "synapse_stuck":
                return "stuck", wire, self._word(wire, site), (whole, self.nearest(wire, float(fault.value)))
            case "synapse_saturated":
                word = self._word(wire, site)
                lasting = [w for w in self.wrong if w.always]
                weight = self.read(wire, self.cell(wire, word[0], lasting))
                up = {"highest": True, "lowest": False, "sign": weight >= 0}[fault.to]
                return "stuck", wire, word, (whole, self.nearest(wire, 1e9 if up else -1e9))
            case "synapse_perturbed":
                word = self._word(wire, site)
                drawn = {
                    (s, t): (float(f), float(o))
                    for e in edits
                    for s, t, f, o in zip(e.sources.tolist(), e.targets.tolist(), e.factor, e.offset, strict=True)
                }
                return "drift", wire, word, drawn[word[0]]
            case "synapse_delay":
                return "delay", wire, self._word(wire, site), 1 << fault.bit
            case "memory_word_dead":
                own, run = self.runs(fault.kind)[site[0]][site[1]]
                pairs = [pair for word in run for pair in word]
                return "stuck", own, pairs, ((1 << self.wire[own].weight_bits) - 1, 0)
            case "word_header":
                own, run = self.runs(fault.kind)[site[0]][site[1]]
                before = {
                    pair: (run[i - 1][-1] if run[i - 1] else None) if fault.effect == "shifted" else None
                    for i, word in enumerate(run)
                    for pair in word
                }
                return fault.effect, own, list(before), before
            case "axon_lost":
                return "cut", wire, here, site[0]
            case "axon_misrouted":
                drawn = {
                    (s, t): of
                    for e in edits
                    for s, t, of in zip(e.sources.tolist(), e.targets.tolist(), e.of_sources.tolist(), strict=True)
                }
                (other,) = {of for (s, t), of in drawn.items() if s == site[0] and t in here and of >= 0}
                return "misrouted", wire, here, (site[0], other)
        raise AssertionError(fault.kind)

    def _of_mesh(self, fault, site, edits):
        """(what, connection, sites, more) of a fault of one link or router."""
        if fault.kind == "router_dead":
            x, y = map(int, site.split(","))
            return [("shut", None, (frozenset(), frozenset({(x, y)})), fault.reroute)]
        (x, y), way = map(int, site[:-2].split(",")), site[-1]
        if fault.kind == "link_dead":
            dx, dy = MOVES[way]
            back = {(x + dx, y + dy, BACK[way])} if fault.direction == "both" else set()
            return [("shut", None, (frozenset({(x, y, way), *back}), frozenset()), fault.reroute)]
        found = []
        for name, one in self.wire.items():
            flows = {
                (a, b) for a in self.home[one.source] for b in self.home[one.target] if a != b and (x, y, way) in self._route(a, b)
            }
            keys = {e.key for e in edits if e.connection == name}
            assert len(keys) <= 1, "the plan says whose messages are drawn by which key of one link only"
            found += [("lossy", name, flows, (key, fault.probability)) for key in keys]
        return found

    def _tile(self, core):
        chip = self.chip.profile.chip
        columns, cores = chip.tile_columns.value, chip.cores.value
        row, column = divmod(core % cores // chip.cores_per_tile.value, columns)
        return column + core // cores * columns, row

    def _route(self, here, there):
        """The links that a message crosses: along its row, then along its column."""
        (x, y), (to_x, to_y) = self._tile(here), self._tile(there)
        links = []
        while (x, y) != (to_x, to_y):
            way = "E" if x < to_x else "W" if x > to_x else "S" if y < to_y else "N"
            links.append((x, y, way))
            x, y = x + MOVES[way][0], y + MOVES[way][1]
        return links

    def _closed(self, shut, here, there):
        """Whether messages from one core to another are lost in a mesh in which all this is shut."""
        chip = self.chip.profile.chip
        tiles = {(x, y) for x in range(chip.tile_columns.value * self.chip.placement.chips) for y in range(chip.tile_rows.value)}
        dead = {tile for w in shut for tile in w.sites[1]}
        links, taking = set(), set()
        for w in shut:
            own = {(x, y, way) for x, y in tiles for way, (dx, dy) in MOVES.items() if {(x, y), (x + dx, y + dy)} & w.sites[1]}
            links |= own | w.sites[0]
            taking |= set() if w.more else own | w.sites[0]
        start, end, crossed = self._tile(here), self._tile(there), set(self._route(here, there))
        if {start, end} & dead or crossed & taking:
            return True
        if not crossed & links:
            return False
        reached, fresh = {start}, [start]
        while fresh:
            x, y = fresh.pop()
            for way, (dx, dy) in MOVES.items():
                if (x + dx, y + dy) in tiles - reached and (x, y, way) not in links:
                    reached.add((x + dx, y + dy))
                    fresh.append((x + dx, y + dy))
        return end not in reached

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
        chip = self.chip
        cells = [_Cell(chip, one, self.first[one.name], inputs, self.wrong) for one in chip.populations]
        letters: dict = {}  # (connection, the chip's step) → the sample that is meant, who fired
        known: dict = {}
        for now in range(1, len(inputs) * chip.timesteps + max(self.first.values()) + 1):
            sent = []
            for cell in cells:
                k, t = divmod(now - 1 - cell.phase, chip.timesteps)
                if 0 <= k < len(inputs):
                    fired = self._step(cell, k, t, now, inputs.first_sample, letters, known)
                    sent += [(wire, k, fired) for wire in cell.out]
            for wire, k, fired in sent:
                letters[wire.name, now + wire.delay] = k, fired
        return {cell.one.name: cell.traces(len(inputs)) for cell in cells}

    def stalls(self, inputs):
        """Whether a core has hung by the end of these samples, counted from the chip's first step."""
        steps, samples = self.chip.timesteps, inputs.first_sample + len(inputs)
        end = samples * steps + max(self.first.values())
        hung = [w for w in self.wrong if w.what == "stall"]
        return any(w.acts(t, -1) for w in hung for t in range(steps) if w.clock == "presentation") or any(
            w.acts(-1, now) for w in hung for now in range(1, end + 1) if w.clock == "chip"
        )

    def scores(self, result):
        """What the readout's neurons score, int64 [N, n]."""
        read = result[self.chip.readout.population]
        return np.where(
            read["dead"][:, self.chip.readout.steps(self.chip.timesteps).stop - 1], DEAD_SCORE, answered(self.chip, result)
        )

    def _step(self, cell, k, t, now, first, letters, known):
        """All neurons of a population in one of the chip's steps; return who fires."""
        one, sample = cell.one, first + k
        now_on_chip = now + first * self.chip.timesteps
        acting = [w for w in cell.wrong if w.acts(t, now_on_chip)]
        if t == 0:
            unclear = {n for w in acting if k and w.what == "unclear" for n in w.sites}
            cell.u = [cell.u[n] if n in unclear else 0 for n in range(one.size)]
            cell.v = [cell.v[n] if n in unclear else one.v_init for n in range(one.size)]
            cell.coming = {}
        key = one.name, *map(id, acting)
        if key not in known:
            known[key] = self._held(one, acting)
        for w in acting:
            if w.what in ("u", "v"):
                for n in w.sites:
                    state = cell.u if w.what == "u" else cell.v
                    state[n] = wrap((state[n] ^ w.more) % 2**24, 24)
        for wire in cell.into:
            live = [w for w in cell.wires if w.of in (wire.name, None) and w.acts(t, now_on_chip)]
            meant, fired = letters.pop((wire.name, now), (k, ()))
            if meant == k and len(fired):
                self._arrive(cell, wire, fired, live, sample, t, known)
        arrived = cell.coming.pop(t, None)
        if cell.events is not None:
            u, v, spikes = [0] * one.size, [0] * one.size, cell.events[k, t].tolist()
        else:
            given = None if cell.mantissas is None else self._given(cell, k, acting, key, sample, t, known)
            before = cell.v.copy()
            unreset = {n for w in acting if w.what == "unreset" for n in w.sites}
            u, v, spikes = self._law(one, cell.u, cell.v, arrived, known[key][0], given, unreset)
            for n in {n for w in acting if w.what == "held" for n in w.sites}:
                v[n], spikes[n] = before[n], False
        dead = set()
        for w in acting:
            if w.what == "forced":
                for n in w.sites:
                    spikes[n] = (t + 1) * w.more // 65536 > t * w.more // 65536
            dead |= w.sites if w.what == "silent" else set()
        for n in dead:
            u[n] = v[n] = 0
            spikes[n] = False
        cell.u, cell.v = u, v
        cell.trace.append((u.copy(), v.copy(), spikes, [n in dead for n in range(one.size)]))
        return [n for n, spike in enumerate(spikes) if spike]

    def _law(self, one, before_u, before_v, arrived, held, given, unreset):
        """The neurons' own step, Lava's ``fixed_pt`` LIF; numbers that fit 32 bits are not wrapped."""
        after_u, after_v, spikes = [], [], []
        for n, (keep_u, keep_v, threshold, bias) in enumerate(held):
            u = before_u[n]
            u = u * keep_u // 4096 if u >= 0 else -(-u * keep_u // 4096)
            if arrived is not None:
                sum_ = arrived[n]
                u += sum_ << 6 if -(2**25) <= sum_ < 2**25 else wrap(wrap(sum_, 32) << 6, 32)
            u = u if -(2**31) <= u < 2**31 else wrap(u, 32)
            u = u - 2**24 if u > 2**23 else u + 2**24 if u <= -(2**23) else u
            v = before_v[n]
            v = (v * keep_v // 4096 if v >= 0 else -(-v * keep_v // 4096)) + u + (bias if given is None else given[n])
            v = v if -(2**31) <= v < 2**31 else wrap(v, 32)
            v = 1 - 2**23 if v < 1 - 2**23 else 2**23 - 1 if v > 2**23 - 1 else v
            spike = v > threshold
            after_u.append(u)
            after_v.append(0 if spike and n not in unreset else v)
            spikes.append(spike)
        return after_u, after_v, spikes

    def _held(self, one, acting):
        """What a neuron's step takes, for each: what is kept of u and v in 4096, the threshold, the bias; and whether that is its own."""
        held, own = [], []
        for n in range(one.size):
            fields, mine = self.fields(one.name, n, acting)
            keep = 4096 - (fields["du"] + 1), 4096 - fields["dv"]
            held.append((*keep, fields["vth"] << 6, self._bias(one, fields["bias_mantissa"])))
            own.append(mine)
        return held, own

    @staticmethod
    def _bias(one, mantissa):
        return wrap(shift(wrap(mantissa, 16), one.bias_exponent), 32)

    def _given(self, cell, k, acting, key, sample, t, known):
        """The bias of each neuron of an input: what the sample gives, its noise, or what a broken line or field puts in its place."""
        given, noisy = cell.mantissas[k], [w for w in acting if w.what == "noise"]
        place = "given", sample, t if noisy else None, key
        if place not in known:
            given = list(given)
            for w in noisy:
                (n,) = w.sites
                given[n] += int(w.more.mantissas(0, sample, 1, self.chip.timesteps)[0, t, w.more.neurons.tolist().index(n)])
            for n in {n for w in noisy for n in w.sites}:
                given[n] = max(-(2**15), min(2**15 - 1, given[n]))
            held, own = known[key]
            known[place] = [held[n][3] if own[n] else self._bias(cell.one, mantissa) for n, mantissa in enumerate(given)]
        return known[place]

    def _arrive(self, cell, wire, fired, live, sample, t, known):
        """Put what comes over a connection in a step on its way."""
        key = "wire", wire.name, *map(id, live)
        if key not in known:
            rows: list[list] = [[] for _ in range(wire.synapses.n_in)]
            for (s, n), (weight, delay) in self.memory(wire.name, [w for w in live if w.what != "shut"]).items():
                rows[s].append((n, weight, delay))
            known[key] = rows
        rows = known[key]
        sending, home = self.home[wire.source], self.home[wire.target]
        taking = [w for w in live if w.what in ("cut", "lossy", "shut", "edit")]
        lost: dict = {}
        arrived: dict = {}
        for s in fired:
            for n, weight, delay in rows[s]:
                if taking:
                    place = s, home[n]
                    if place not in lost:
                        lost[place] = self._loses(taking, s, n, sending[s], home[n], sample, t, known)
                    if lost[place]:
                        continue
                if delay not in arrived:
                    arrived[delay] = [0] * cell.one.size
                arrived[delay][n] += weight
        for delay, totals in arrived.items():
            coming = cell.coming.setdefault(t + delay, [0] * cell.one.size)
            for n, total in enumerate(totals):
                if total:
                    coming[n] += shift(total, wire.weight_exponent)

    def _loses(self, taking, source, target, here, there, sample, t, known):
        """Whether the message of a neuron to a core is lost; ``target``: one of the neurons there."""
        shut = [w for w in taking if w.what == "shut"]
        if shut and here != there:
            key = "mesh", here, there, *map(id, shut)
            if key not in known:
                known[key] = self._closed(shut, here, there)
            if known[key]:
                return True
        for w in taking:
            if w.what == "cut" and source == w.more and target in w.sites:
                return True
            if (w.what == "lossy" and (here, there) in w.sites) or (
                w.what == "edit" and source in w.sites[0] and target in w.sites[1]
            ):
                key, probability = w.more
                if probability >= 1 or chance(key, sample, t, source, there) < int(probability * 2**64):
                    return True
        return False
