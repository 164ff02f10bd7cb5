"""Compiled steps of neurons on a drive that is known for all T steps: a few side by side, or one whose numbers change with time.

Arithmetic as in :mod:`neurofault.engines.exact.neuron_steps`: wrapping int32, equal to Lava 0.10 ``fixed_pt``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from neurofault.compiled import jit, part
from neurofault.engines.exact.neuron_steps import _moved, _wrapped
from neurofault.engines.incremental.fault_table import (
    BIAS,
    FLOOR,
    KEEP_U,
    KEEP_V,
    REFRACTORY,
    THRESHOLD,
    WAITING,
    FaultTable,
    Lanes,
    U,
    V,
)
from neurofault.engines.incremental.net import Net
from neurofault.engines.incremental.registers import WIDTH, run_wide
from neurofault.graph.arithmetic import STATE_LIMIT

_Function = TypeVar("_Function", bound=Callable[..., Any])


def entry(function: _Function) -> _Function:
    """Compile a kernel that Python calls, without reference counts."""
    return jit(function, no_cfunc_wrapper=True, _nrt=False)


def _instruction(function: Callable[..., Any]) -> Any:
    """Make a function of one machine instruction."""
    return intrinsic(function)


_ZERO, _ONE = np.int32(0), np.uint32(1)
_HIGHEST = np.int32(STATE_LIMIT - 1)
_WHOLE = np.int32(4096)
_WORD, _HALF = np.int32((1 << 24) - 1), np.int32(1 << 23)


@_instruction
def popcount(typing: Any, word: Any) -> Any:
    """Number of ones of a uint32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.ctpop(arguments[0]), context.get_value_type(types.int64))

    return types.int64(types.uint32), generate


@_instruction
def lowest(typing: Any, word: Any) -> Any:
    """Index of the lowest one of a uint32; 32 if there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = builder.cttz(arguments[0], context.get_constant(types.boolean, False))
        return builder.zext(found, context.get_value_type(types.int64))

    return types.int64(types.uint32), generate


@part
def decayed(value: Any, keep: Any) -> Any:
    """Return value · keep / 4096, rounded towards 0: int32, |value| below 2**31, keep 0 to 4096."""
    size = np.int32(-value if value < 0 else value)
    high, low = np.int32(size >> 12), np.int32(size & 4095)
    left = np.int32(np.int32(high * keep) + np.int32(np.int32(low * keep) >> 12))
    return np.int32(-left if value < 0 else left)


@part
def rounded(net: Net, group: int, total: Any) -> Any:
    """Return a sum of weights in the unit of u."""
    return np.int32(np.int32(total >> net.groups[group].right) * np.int32(1 << net.groups[group].left))


@part
def round_lanes(net: Net, population: int, begin: int, lanes: Lanes) -> None:
    """Shift the drive of neurons of a population whose drive is one sum into the unit of u."""
    group = net.pops[population].group
    if net.groups[group].right:
        for step in range(begin, net.steps):
            row = lanes.drive[step]
            for j in range(row.shape[0]):
                row[j] = rounded(net, group, row[j])


@part
def simulate(net: Net, population: int, begin: int, width: int, lanes: Lanes) -> None:
    """Run ``width`` neurons of a population from step ``begin`` on; their drive is in the unit of u."""
    remembers, leaks = net.pops[population].remembers != 0, net.pops[population].leaks != 0
    if width % WIDTH == 0 and not net.pops[population].ruled:
        run_wide(lanes.drive, lanes.numbers, lanes.keep, lanes.bits, begin, net.steps, width, remembers, leaks)
        return
    own = lanes.numbers
    u, v, threshold, bias = own[U][:width], own[V][:width], own[THRESHOLD][:width], own[BIAS][:width]
    keep_u, keep_v = lanes.keep[0][:width], lanes.keep[1][:width]
    for step in range(begin, net.steps):
        row, bits, bit = lanes.drive[step][:width], lanes.bits[step >> 5][:width], np.uint32(_ONE << np.uint32(step & 31))
        if net.pops[population].ruled:
            simulate_ruled(net, population, row, lanes, bits, bit)
        elif remembers or leaks:
            if leaks:
                for j in range(width):
                    v[j] = np.int32(v[j] * keep_v[j])
            for j in range(width):
                u[j] = _wrapped(np.int32(row[j] + np.int32(u[j] * keep_u[j])))
            for j in range(width):
                moved = _moved(v[j], u[j], bias[j])
                spike = moved > threshold[j]
                v[j] = _ZERO if spike else moved
                bits[j] |= bit if spike else np.uint32(0)
        else:
            for j in range(width):
                moved = _moved(v[j], _wrapped(row[j]), bias[j])
                spike = moved > threshold[j]
                v[j] = _ZERO if spike else moved
                bits[j] |= bit if spike else np.uint32(0)


@part
def simulate_ruled(net: Net, population: int, row: NDArray[np.int32], lanes: Lanes, bits: NDArray[np.uint32], bit: Any) -> None:
    """Run a step of neurons with rules of their own."""
    reset, delayed, own = net.pops[population].reset, net.pops[population].delayed, lanes.numbers
    for j in range(row.shape[0]):
        own[U, j] = _wrapped(np.int32(row[j] + decayed(own[U, j], own[KEEP_U, j])))
        if own[WAITING, j] > 0:
            own[WAITING, j] -= 1
            continue
        own[V, j], spike = ruled_step(
            reset, delayed, own[V, j], own[U, j], own[KEEP_V, j], own[THRESHOLD, j], own[BIAS, j], own[FLOOR, j], False
        )
        if spike:
            bits[j] |= bit
            own[WAITING, j] = own[REFRACTORY, j]


@part
def ruled_step(
    reset: int, delayed: int, before: Any, u: Any, keep_v: Any, threshold: Any, bias: Any, floor: Any, kept: bool
) -> tuple[Any, bool]:
    """Return v and whether a neuron fires that is not refractory; ``kept``: its reset is lost."""
    loss = _ZERO
    if delayed and not kept and before > threshold:
        if reset == 0:
            before = _ZERO
        elif reset == 1:
            loss = threshold
    moved = _moved(np.int32(decayed(before, keep_v) - loss), u, bias)
    if moved < floor:
        moved = floor
    spike = moved > threshold
    if spike and not delayed and not kept:
        if reset == 0:
            moved = _ZERO
        elif reset == 1:
            moved = np.int32(moved - threshold)
            if moved > _HIGHEST:
                moved = _HIGHEST
    return moved, spike


@part
def _flipped(state: Any, mask: Any) -> Any:
    word = np.int32(np.int32(state ^ mask) & _WORD)
    return np.int32(word - _WORD - np.int32(1)) if word >= _HALF else word


@part
def perform(
    net: Net, population: int, neuron: int, script: int, sample: int, rows: FaultTable, drive: NDArray[np.int32], train: NDArray[np.uint32]
) -> Any:  # fmt: skip
    """Run one neuron by its script on ``drive`` [T]; fill its train in and return its final v."""
    row = rows.mood_rows[rows.scripts[script].begin + sample * rows.scripts[script].pitch]
    u, v, waiting = _ZERO, net.neurons[neuron].start, _ZERO
    ruled, reset, delayed = net.pops[population].ruled, net.pops[population].reset, net.pops[population].delayed
    floor, refractory = net.neurons[neuron].floor, net.neurons[neuron].refractory
    for word in range(train.shape[0]):
        train[word] = 0
    for step in range(net.steps):
        mood = row[step]
        if rows.moods[mood].flips_u:
            u = _flipped(u, rows.moods[mood].flips_u)
        if rows.moods[mood].flips_v:
            v = _flipped(v, rows.moods[mood].flips_v)
        u = _wrapped(np.int32(drive[step] + decayed(u, rows.moods[mood].keep_u)))
        kept, threshold, stuck = bool(rows.moods[mood].kept), rows.moods[mood].threshold, rows.moods[mood].counter >= 0
        if stuck:
            waiting = rows.moods[mood].counter
        if waiting > 0:
            waiting = np.int32(waiting - 1)
            spike = False
        else:
            v, spike = ruled_step(
                reset if ruled else 0,
                delayed if ruled else 0,
                v,
                u,
                rows.moods[mood].keep_v,
                threshold,
                rows.moods[mood].bias,
                floor,
                kept,
            )
            waiting = refractory if spike else _ZERO
        if rows.moods[mood].silent:
            u, v, waiting, spike = _ZERO, _ZERO, _ZERO, False
        elif rows.moods[mood].rate >= 0:
            spike = (step + 1) * np.int64(rows.moods[mood].rate) // 65536 > step * np.int64(rows.moods[mood].rate) // 65536
        if spike:
            train[step >> 5] |= np.uint32(_ONE << np.uint32(step & 31))
    return v


@part
def perform_steady(
    net: Net, neuron: int, mood: int, rows: FaultTable, sums: NDArray[np.int32], first: int, pitch: int, train: NDArray[np.uint32]
) -> Any:  # fmt: skip
    """Run one neuron of Lava's law with other numbers on a drive in the unit of u; fill its train in and return its final v."""
    numbers = rows.moods[mood]
    keep_u, keep_v, threshold, bias = numbers.keep_u, numbers.keep_v, numbers.threshold, numbers.bias
    u, v, bits = _ZERO, net.neurons[neuron].start, np.uint32(0)
    for step in range(net.steps):
        drive = sums[first + step * pitch]
        u = _wrapped(np.int32(drive + decayed(u, keep_u)) if keep_u else drive)
        moved = _moved(decayed(v, keep_v) if keep_v != _WHOLE else v, u, bias)
        spike = moved > threshold
        v = _ZERO if spike else moved
        if spike:
            bits |= np.uint32(_ONE << np.uint32(step & 31))
        if step & 31 == 31 or step + 1 == net.steps:
            train[step >> 5] = bits
            bits = np.uint32(0)
    return v


@part
def silent_at_the_end(net: Net, script: int, sample: int, rows: FaultTable) -> bool:
    """Say whether a neuron is dead in the last step of a sample."""
    mood = rows.mood_rows[rows.scripts[script].begin + sample * rows.scripts[script].pitch, net.steps - 1]
    return bool(rows.moods[mood].silent != 0)
