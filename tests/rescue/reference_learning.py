"""``hardware_strict`` in plain Python, one synapse at a time, for what the tests need: written from the documents, not from the kernel."""

from __future__ import annotations

import math

from neurofault.damage.stored import field_shift, from_field, to_field
from neurofault.deploy.memory import stored_weights, write_gate
from neurofault.streams import counter_hash, stream_key

WIDTH = {"x0": 1, "y0": 1, **dict.fromkeys(("x1", "x2", "y1", "y2", "y3"), 7), **dict.fromkeys("wdt", 9)}
LIMIT = -(2**15) - 1, 2**15 - 1


def clip(value, low, high):
    return max(low, min(high, value))


def drawn(key, *counters, bits):
    return int(counter_hash(key, *counters)) >> (64 - bits)


class Reference:
    """State of one connection; ``step`` advances it."""

    def __init__(self, deployment, connection, rule, seed=0):
        import numpy as np

        self.chip, self.rule, self.timesteps = deployment.connection(connection), rule, deployment.timesteps
        self.phase = deployment.schedule.phase[self.chip.target]
        self.gate = write_gate(deployment, connection)
        self.w = stored_weights(deployment, connection).tolist()
        n_out, n_in = len(self.w), len(self.w[0])
        self.t = [[0] * n_in for _ in range(n_out)]
        self.d = [[0] * n_in for _ in range(n_out)]
        self.trace = {"x1": [0] * n_in, "x2": [0] * n_in} | {name: [0] * n_out for name in ("y1", "y2", "y3")}
        self.last = {"x": [0] * n_in, "y": [0] * n_out}
        self.now = 0
        self.edits = [edit for edit in deployment.damage.of_connection(connection) if getattr(edit, "part", None)]
        names = ("x decay", "x impulse", "y decay", "y impulse", "w", "d", "t")
        self.key = {name: stream_key(seed, "learning", self.chip.name, name) for name in names}
        self.np = np

    def bump(self, name, value, step, neuron):
        trace, side = getattr(self.rule, name), name[0]
        if side == "y" and self.rule.third_factor:
            return value
        whole = math.floor(trace.impulse)
        fraction = round((trace.impulse - whole) * 256)
        kinds = 2 if side == "x" else 3
        up = drawn(self.key[f"{side} impulse"], step, neuron * kinds + int(name[1]) - 1, bits=8) < fraction
        return clip(value + whole + up, 0, 127)

    def decay(self, name, value, step, neuron):
        side, tau = name[0], getattr(self.rule, name).tau
        if side == "y" and self.rule.third_factor:
            return value
        part = math.exp(-1 / tau) * value if tau else 0.0
        kinds = 2 if side == "x" else 3
        uniform = drawn(self.key[f"{side} decay"], step, neuron * kinds + int(name[1]) - 1, bits=53) / 2**53
        return math.floor(part) + (uniform < part - math.floor(part))

    def step(self, pre, post, third):
        epoch = self.rule.t_epoch
        within, start = self.now % epoch + 1, self.now - self.now % epoch
        self.now += 1
        for side, fired in (("x", pre), ("y", post)):
            for n, spike in enumerate(fired):
                if spike and self.last[side][n]:
                    for name in (key for key in self.trace if key[0] == side):
                        self.trace[name][n] = self.bump(name, self.trace[name][n], start + self.last[side][n], n)
                if spike:
                    self.last[side][n] = within
        if self.rule.third_factor:
            for name in ("y1", "y2", "y3"):
                self.trace[name] = [clip(int(value), 0, 127) for value in third[name]]
        if within == epoch:
            self.learn(start)

    def learn(self, start):
        epoch = self.rule.t_epoch
        history = {}
        for name, values in self.trace.items():
            history[name] = []
            for n, value in enumerate(values):
                steps = [value]
                for t in range(1, epoch + 1):
                    value = self.decay(name, value, start + t, n)
                    if self.last[name[0]][n] == t:
                        value = self.bump(name, value, start + t, n)
                    steps.append(value)
                history[name].append(steps)
        active = [
            edit
            for edit in self.edits
            if edit.when.active(
                self.np.array((self.now - 1) % self.timesteps if edit.when.clock == "presentation" else self.now + self.phase)
            )
        ]
        for edit in active:
            names = ("y1", "y2", "y3") if edit.part == "third_factor" and self.rule.third_factor else (edit.trace,)
            for name in names:
                if name[:1] == "y":
                    for n in edit.neurons:
                        history[name][n] = [edit.value if edit.part == "stuck_trace" else 0] * (epoch + 1)
        if not self.rule.third_factor:
            self.trace |= {name: [steps[-1] for steps in history[name]] for name in ("y1", "y2", "y3")}
        self.trace |= {name: [steps[-1] for steps in history[name]] for name in ("x1", "x2")}
        old = {"w": [row[:] for row in self.w], "t": [row[:] for row in self.t], "d": [row[:] for row in self.d]}
        for j, row in enumerate(old["w"]):
            for i in range(len(row)):
                mine = [edit for edit in active if j in edit.neurons]
                if not self.gate.alive[j] or any(edit.part == "frozen" for edit in mine):
                    continue
                for variable in "wdt":
                    self.update(variable, i, j, history, old, mine)
        self.last = {side: [0] * len(values) for side, values in self.last.items()}

    def update(self, variable, i, j, history, old, mine):
        products = self.rule.products(f"d{variable}")
        before = total = old[variable][j][i] * 128
        number = self.now // self.rule.t_epoch
        tx, ty = self.last["x"][i], self.last["y"][j]
        for product in products:
            at = {"x0": tx, "y0": ty, "u": self.rule.t_epoch}[product.gate]
            value = bool(at) if product.gate != "u" else number % 2 ** (self.rule.decimation or 0) == 0
            value = int(value) * product.mantissa
            width = 4
            for factor in product.factors:
                name = factor.variable
                stuck = [edit.value for edit in mine if edit.part == "stuck_trace" and edit.trace == name]
                if name in "wdt":
                    read = old[name][j][i]
                elif name in ("x0", "y0"):
                    read = int((tx if name == "x0" else ty) > 0)
                else:
                    read = stuck[-1] if stuck else history[name][i if name[0] == "x" else j][at]
                read += factor.constant
                if factor.sign:
                    read = (read > 0) - (read < 0)
                value *= clip(read, -(2 ** WIDTH[name]), 2 ** WIDTH[name] - 1)
                width += WIDTH[name]
            value = (value >> max(0, width - 15)) << (product.exponent + 7)
            total = clip(total + clip(value, *LIMIT), *LIMIT)
        if total == before:
            return
        bits, mode = self.chip.weight_bits, self.chip.sign_mode
        cut = field_shift(bits, mode) if variable == "w" else 0
        ones = 2 ** (7 + cut) - 1
        stuck = [edit.value for edit in mine if edit.part == "rounding"]
        random = stuck[-1] * ones // 127 if stuck else drawn(self.key[variable], number, i, j, bits=7 + cut)
        new = (total >> (7 + cut)) + (random < (total & ones))
        new <<= cut
        if variable == "w":
            edges = (2 ** (bits - 1), 2 ** (bits - 1) - 1) if mode == "mixed" else (0, 2**bits - 1)
            ends = [int(from_field(self.np.array(edge), bits, mode)) for edge in edges]
            field = int(to_field(self.np.array(clip(new, min(ends), max(ends))), bits, mode))
            if clip(new, min(ends), max(ends)) != old["w"][j][i]:
                field = (field & int(self.gate.keep[j, i])) | int(self.gate.force[j, i])
                self.w[j][i] = int(from_field(self.np.array(field), bits, mode))
        elif variable == "t":
            self.t[j][i] = clip(new, -256, 255)
        else:
            self.d[j][i] = clip(new, 0, 62)
