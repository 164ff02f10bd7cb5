"""Engines that learn: from a rule and a weight matrix (as Lava) or a connection of a chip (as hardware) to what the kernel reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import LearningDefect
from neurofault.damage.stored import field_shift, from_field
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import stored_weights, write, write_delays, write_gate
from neurofault.errors import LearningRuleError, UsageError
from neurofault.graph import Dense
from neurofault.graph.synapses import SignMode
from neurofault.learning import records
from neurofault.learning.engine import Chance, DefectSchedule, LearningEngine, LearningState
from neurofault.learning.rule import POST, PRE, SYNAPTIC, TARGETS, LearningRule
from neurofault.learning.rule_check import LAVA_EXPONENT, LAVA_MANTISSA, check_rule, scale_mistakes
from neurofault.learning.widths import FRACTION
from neurofault.numerals import whole_number
from neurofault.streams import stream_key

_TRACE_BITS, _VARIABLE_BITS, _MANTISSA_BITS, _ACCUMULATOR_BITS = 7, 9, 4, 15
"""Widths that decide by how much a product is shifted (Lava 0.10 ``lava/magma/core/learning/constants.py``)."""

_UNLIMITED = 1 << 62
_GATES = {"x0": 0, "y0": 1, "u": 2}
_SIDES = (("x1", "x2", "x0"), ("y1", "y2", "y3", "y0"), SYNAPTIC)


def lava_engine(
    rule: LearningRule,
    weight: NDArray[np.integer],
    *,
    delay: NDArray[np.integer] | None = None,
    tag: NDArray[np.integer] | None = None,
    sign_mode: SignMode = "mixed",
    weight_bits: int = 8,
    seed: int = 1,
) -> LearningEngine:
    """Return an engine in mode ``lava_compat``: Lava 0.10's ``LearningDense`` on its CPU model ``fixed_pt``.

    Args:
        rule: two or three factors.
        weight: int [n_out, n_in]; cut to the stored width as Lava does at its first step, not clipped.
        delay: int [n_out, n_in], Lava's ``tag_2``; None: 0.
        tag: likewise, ``tag_1``.
        sign_mode: Lava's default is ``mixed``.
        weight_bits: Lava's ``num_weight_bits``, 1 to 8.
        seed: Lava's ``rng_seed``.

    Raises:
        LearningRuleError: a scale outside Lava's ranges.
        UsageError: arrays that do not fit.
    """
    seed = whole_number(seed, "seed")
    mistakes = scale_mistakes(rule, LAVA_MANTISSA, LAVA_EXPONENT, "Lava")
    if mistakes:
        raise LearningRuleError(mistakes)
    cut, sign = field_shift(weight_bits, sign_mode), -1 if sign_mode == "inhibitory" else 1
    stored = ((np.asarray(weight, np.int64) * sign) >> cut << cut) * sign
    low, high = {"mixed": (-256, 255), "excitatory": (0, 255), "inhibitory": (-255, 0)}[sign_mode]
    cells = records.Cells(np.array([low, 0, -257]), np.array([high, 255, 255]), 0, 1, _NONE, _NONE, _NONE, _UNLIMITED)
    memory = _memory(rule, stored, delay, tag, counted=False)
    dynamics = _dynamics(rule, (1 << _TRACE_BITS) - 1, held=False)
    schedule = DefectSchedule(np.ones(stored.shape[0], bool))
    start = LearningState("lava_compat", 0, memory)
    return LearningEngine("lava_compat", rule, start, _program(rule), dynamics, cells, Chance(seed=seed), schedule)


def strict_engine(
    deployment: Deployment,
    connection: str,
    rule: LearningRule,
    *,
    seed: int = 0,
    write_limit: int | None = None,
    write_budget: int | None = None,
) -> LearningEngine:
    """Return an engine in mode ``hardware_strict`` for the synapses of a dense connection of a (damaged) chip.

    Permanent damage to the synapses is what the engine starts from and what its writes respect; a synapse edit that is active only
    at times is not seen by learning. A write is one change of a stored weight, delay or tag, whatever stuck bits make of it.

    Args:
        deployment: the chip; its profile says what a rule may be.
        connection: name of a dense one.
        rule: two or three factors.
        seed: of the random numbers; they also depend on the connection's name.
        write_limit: writes that a synapse stands; None: no limit.
        write_budget: writes in all; None: no limit. Sources are served in order, then targets.

    Raises:
        UnsupportedError: the chip does not learn.
        LearningRuleError: the chip cannot express the rule.
        UsageError: there is no such connection, it is not dense, or a limit is negative.
    """
    seed = whole_number(seed, "seed")
    for name, limit in (("write_limit", write_limit), ("write_budget", write_budget)):
        if limit is not None and limit < 0:
            raise UsageError(f"{name} is {limit}; allowed: 0 or more")
    gate, chip, profile = write_gate(deployment, connection), deployment.connection(connection), deployment.profile
    check_rule(rule, profile)
    mistakes = scale_mistakes(rule, LAVA_MANTISSA, LAVA_EXPONENT, "the learning engine's arithmetic")
    if mistakes:
        raise LearningRuleError(mistakes)
    dense = chip.synapses
    assert isinstance(dense, Dense)
    bits, mode = chip.weight_bits, chip.sign_mode
    edges = (1 << (bits - 1), (1 << (bits - 1)) - 1) if mode == "mixed" else (0, (1 << bits) - 1)
    ends = from_field(np.array(edges), bits, mode)
    delay_bits, tag_bits = profile.synapse.delay_bits.value or 6, profile.learning.tag_bits.value or _VARIABLE_BITS
    longest = min(x for x in ((1 << delay_bits) - 1, profile.synapse.delay_max.value) if x is not None)
    half = 1 << (tag_bits - 1)
    masks = _NONE, _NONE
    if (gate.keep != (1 << bits) - 1).any() or gate.force.any():
        masks = _mask(gate.keep, bits, mode), _mask(gate.force, bits, mode)
    cells = records.Cells(
        np.array([ends.min(), 0, -half], np.int64),
        np.array([ends.max(), longest, half - 1], np.int64),
        field_shift(bits, mode),
        -1 if mode == "inhibitory" else 1,
        *masks,
        _NONE,
        _UNLIMITED if write_limit is None else write_limit,
    )
    memory = _memory(rule, stored_weights(deployment, connection), dense.delay, None, counted=True)
    memory = memory._replace(left=np.array([_UNLIMITED if write_budget is None else write_budget], np.int64))
    trace_bits = profile.learning.traces_bits.value or _TRACE_BITS
    names = ("x decay", "x impulse", "y decay", "y impulse", "w", "d", "t")
    keys = np.array([stream_key(seed, "learning", chip.name, name) for name in names], np.uint64)
    defects = tuple(edit for edit in deployment.damage.of_connection(connection) if isinstance(edit, LearningDefect))
    schedule = DefectSchedule(gate.alive, defects, rule.third_factor, deployment.schedule.phase[chip.target], deployment.timesteps)
    return LearningEngine(
        "hardware_strict",
        rule,
        LearningState("hardware_strict", 0, memory),
        _program(rule),
        _dynamics(rule, (1 << trace_bits) - 1, held=rule.third_factor),
        cells,
        Chance(keys=keys),
        schedule,
    )


def write_back(deployment: Deployment, connection: str, engine: LearningEngine, state: LearningState) -> Deployment:
    """Return the chip with what a connection has learned: weights through the write gate, delays where the rule changes them.

    Raises:
        UsageError: the state is of mode ``lava_compat``, which knows no chip.
    """
    if state.mode != "hardware_strict":
        raise UsageError("only what was learned in mode 'hardware_strict' can be written to a chip")
    written = write(deployment, connection, state.weight)
    return write_delays(written, connection, state.delay) if engine.rule.dd else written


_NONE = np.empty((1, 0), np.int32)
"""No masks."""


def _mask(field: NDArray[np.int64], bits: int, mode: SignMode) -> NDArray[np.int32]:
    """Turn bits of stored fields, [n_out, n_in], into bits of the magnitude that is read, by source; the sign bit is extended."""
    read = from_field(field, bits, mode)
    return np.ascontiguousarray((-read if mode == "inhibitory" else read).T)


def _memory(
    rule: LearningRule,
    weight: NDArray[np.integer],
    delay: NDArray[np.integer] | None,
    tag: NDArray[np.integer] | None,
    *,
    counted: bool,
) -> records.Memory:
    n_out, n_in = weight.shape
    read = {factor.variable for target in TARGETS for product in rule.products(target) for factor in product.factors}
    arrays: list[NDArray[np.int32]] = []
    for name, values, own in (("delay", delay, bool(rule.dd) or "d" in read), ("tag", tag, bool(rule.dt) or "t" in read)):
        if values is not None and np.shape(values) != weight.shape:
            raise UsageError(f"{name} has the shape {np.shape(values)}, but there are {weight.shape} weights")
        full = np.zeros((n_in, n_out), np.int32) if values is None else np.ascontiguousarray(np.asarray(values, np.int32).T)
        arrays.append(full if own else np.empty((0, 0), np.int32))
    return records.Memory(
        np.zeros((2, n_in), np.int32),
        np.zeros((3, n_out), np.int32),
        np.zeros(n_in, np.int32),
        np.zeros(n_out, np.int32),
        np.ascontiguousarray(weight.T.astype(np.int32)),
        arrays[0],
        arrays[1],
        np.zeros((n_in, n_out) if counted else (0, 0), np.int32),
        np.zeros(1, np.int64),
    )


def _dynamics(rule: LearningRule, top: int, *, held: bool) -> records.TraceDynamics:
    """Traces as the kernel reads them; ``held``: y1, y2, y3 stay as the neurons wrote them."""
    traces = [getattr(rule, name) for name in (*PRE, *POST)]
    taus, impulses = np.array([trace.tau for trace in traces]), np.array([trace.impulse for trace in traces])
    keep = np.where(taus > 0, np.exp(-1 / np.where(taus > 0, taus, 1.0)), 0.0)
    if held:
        keep[2:] = 1.0
    whole = np.floor(impulses)
    return records.TraceDynamics(
        keep, whole.astype(np.int64), np.round((impulses - whole) * 256).astype(np.int64), top, rule.third_factor
    )


def _program(rule: LearningRule) -> records.Program:
    """Turn a rule into numbers; its scales lie in Lava's ranges."""
    heads: list[list[int]] = []
    factors: list[list[int]] = []
    plain = True
    for variable, target in enumerate(TARGETS):
        for product in rule.products(target):
            bounds, width = [], _MANTISSA_BITS
            for side, names in enumerate(_SIDES):
                bounds.append(len(factors))
                for factor in product.factors:
                    if factor.variable not in names:
                        continue
                    own = _VARIABLE_BITS if side == 2 else 1 if factor.variable in ("x0", "y0") else _TRACE_BITS
                    width += own
                    factors.append([names.index(factor.variable), factor.constant, -(1 << own), (1 << own) - 1, int(factor.sign)])
            bounds.append(len(factors))
            right = max(0, width - _ACCUMULATOR_BITS)
            heads.append([variable, _GATES[product.gate], product.mantissa, right, product.exponent + FRACTION, *bounds])
            plain &= product.gate != "y0" and bounds[2] == bounds[3]
    return records.Program(
        np.array(heads, np.int64).reshape(-1, 9),
        np.array(factors, np.int64).reshape(-1, 5),
        rule.t_epoch,
        1 << (rule.decimation or 0),
        plain,
        np.array([bool(rule.products(target)) for target in TARGETS], np.uint8),
    )
