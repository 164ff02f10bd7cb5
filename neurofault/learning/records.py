"""What the compiled learning engine reads and writes: plain tuples of arrays.

Arrays are stored by source: weights, delays and tags are [n_in, n_out], so that a source that did nothing is skipped whole and its
targets are worked on side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neurofault.learning.counter import words
from neurofault.learning.drawn_rows import drawing_order
from neurofault.learning.vectors import LANES


class Program(NamedTuple):
    """A rule as numbers.

    Attributes:
        head: int64 [P, 9], for each product its variable (0 w, 1 d, 2 t), gate (0 x0, 1 y0, 2 u), mantissa, shifts to the right and
            to the left, and where its factors begin: of the source, of the target, of the synapse, end.
        factors: int64 [F, 5]: which (source: x1, x2, x0; target: y1, y2, y3, y0; synapse: w, d, t), constant, lowest, highest, sign.
        epoch: steps of an epoch.
        every: u gates are open in epochs that this divides.
        plain: whether no product has a y0 gate or a factor of the synapse.
        used: uint8 [3], whether w, d, t learn.
    """

    head: NDArray[np.int64]
    factors: NDArray[np.int64]
    epoch: int
    every: int
    plain: bool
    used: NDArray[np.uint8]


class TraceDynamics(NamedTuple):
    """How traces x1, x2, y1, y2, y3 move.

    Attributes:
        keep: float64 [5], what stays of them in a step.
        whole, fraction: int64 [5], a spike's impulse, and its fraction in 1/256.
        top: largest value.
        third: whether the neurons write y1, y2, y3 in each step.
    """

    keep: NDArray[np.float64]
    whole: NDArray[np.int64]
    fraction: NDArray[np.int64]
    top: int
    third: bool


class Memory(NamedTuple):
    """What a connection holds; changed in place.

    Attributes:
        x, y: int32 [2, n_in], [3, n_out], traces.
        tx, ty: int32 [n_in], [n_out], step of the last spike in the epoch, from 1; 0: none.
        weight, delay, tag: int32 [n_in, n_out] (delays and tags without rows where they neither learn nor are read).
        writes: int32 [n_in, n_out], how often a synapse was written (``hardware_strict``; no rows otherwise).
        left: int64 [1], writes that the budget still allows.
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    tx: NDArray[np.int32]
    ty: NDArray[np.int32]
    weight: NDArray[np.int32]
    delay: NDArray[np.int32]
    tag: NDArray[np.int32]
    writes: NDArray[np.int32]
    left: NDArray[np.int64]


class Noise(NamedTuple):
    """Random numbers: Lava's shared ones, or the keys of one's own for each neuron and synapse.

    Attributes:
        decay: float64 [S, 2], of the decay of x and y in the epoch that ends with this step.
        impulse: int64 [S, 3], of impulses to x and y in the epoch that ends with this step, and to y at a repeated spike of this step.
        rounding: int64 [E], 7 bits, of the synaptic variables of each epoch.
        keys: uint64 [7], of x decay, x impulse, y decay, y impulse, w, d, t rounding.
        strict: whether the keys count, not the shared numbers.
        first: number of the first of these sources in the whole connection, on which the numbers of one's own depend.
    """

    decay: NDArray[np.float64]
    impulse: NDArray[np.int64]
    rounding: NDArray[np.int64]
    keys: NDArray[np.uint64]
    strict: bool
    first: int


class Cells(NamedTuple):
    """How values are stored.

    Attributes:
        low, high: int64 [3], ranges of w, d, t.
        shift: bits that are cut from a weight (``hardware_strict``).
        sign: −1 where weights are stored as magnitudes of negative numbers.
        keep, force: int32 [n_in, n_out], bits of a weight's magnitude that can change and that are stuck at 1; ``none``: no bit is stuck.
        none: int32 [1, 0].
        limit: writes allowed to a synapse.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    shift: int
    sign: int
    keep: NDArray[np.int32]
    force: NDArray[np.int32]
    none: NDArray[np.int32]
    limit: int


class Defects(NamedTuple):
    """What is broken in the learning engine, for each epoch (one row: the same in all).

    Attributes:
        plastic: uint8 [E, n_out], whether a target's synapses can be updated.
        rounding: int64 [E, n_out], number that is always drawn, −1: none.
        post: int64 [E, 3, n_out], value that y1, y2, y3 read, −1: none.
        group: int64 [E, n_out], index in ``pre`` of each target.
        pre: int64 [G, 2], value that x1, x2 read, −1: none.
    """

    plastic: NDArray[np.uint8]
    rounding: NDArray[np.int64]
    post: NDArray[np.int64]
    group: NDArray[np.int64]
    pre: NDArray[np.int64]


class StepRecord(NamedTuple):
    """What is kept of each step; no rows: nothing.

    Attributes:
        x, y: int32 [S, 2, n_in], [S, 3, n_out].
        weight, delay, tag: int16 [S, n_in, n_out].
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]
    weight: NDArray[np.int16]
    delay: NDArray[np.int16]
    tag: NDArray[np.int16]


class LearningRoom(NamedTuple):
    """Room to work in.

    Attributes:
        a: int32 [P, G, 1 or T + 1, n_in], mantissa · Π factors of the source, for y0 gates at each step of the epoch.
        b: int32 [P, T + 1, n_out], Π factors of the target; at step T unless the gate is x0.
        active: bool [P], products that can be other than 0.
        live: uint8 [n_in]: 0 every product is 0, 1 only those with y0 gates are not, 2 others.
        times: bool [T + 1], steps at which a target spiked last.
        slots: int64, a power of two above n_in, room to find equal sources.
        heads: int64 [n_in + 1], one source of each class of those that add the same to each target.
        following, which: int64 [n_in], for each source another of its class, −1: no further one; and its class.
        tables: int32 [3, n_in, 3, n_out], what a class adds to each target, and between what the sum stays.
        total: int32 [3, n_out], accumulators of one source.
        columns, spiked: int64 [n_out], all targets, those that spiked.
        words: uint64 [n_out], see :func:`neurofault.learning.counter.word`.
        narrow: int16 [n_in, n_out filled up to whole vectors], the weights while they learn by plain products, without the bits that are cut from them: in ``lava_compat``,
            and where no write can be refused; no rows otherwise.
        narrow_tables: int16 [n_in, 3, as wide], the weights' part of ``tables``.
        wide: int32 [at least 2 and P, as wide], factors of the targets of a pair of products, or of all that change weights.
        products: int32 [P, 3], of those the factor of a source, and how they are shifted to the right and to the left.
        written: int16, as ``narrow``, writes that are not counted yet, in ``hardware_strict``.
        sources, states: uint64 [n_in], what their numbers contribute to what is drawn, and the states before a target's number does, both where ``written`` has rows.
        drawn_words: uint64 [as wide], ``words`` in the order of :func:`neurofault.learning.drawn_rows.drawing_order`.
        hx, hy: int32 [T + 1, 2, n_in], [T + 1, 3, n_out], traces before an epoch and after each of its steps.
    """

    a: NDArray[np.int32]
    b: NDArray[np.int32]
    active: NDArray[np.bool_]
    live: NDArray[np.uint8]
    times: NDArray[np.bool_]
    slots: NDArray[np.int64]
    heads: NDArray[np.int64]
    following: NDArray[np.int64]
    which: NDArray[np.int64]
    tables: NDArray[np.int32]
    total: NDArray[np.int32]
    columns: NDArray[np.int64]
    spiked: NDArray[np.int64]
    words: NDArray[np.uint64]
    narrow: NDArray[np.int16]
    narrow_tables: NDArray[np.int16]
    wide: NDArray[np.int32]
    products: NDArray[np.int32]
    written: NDArray[np.int16]
    sources: NDArray[np.uint64]
    states: NDArray[np.uint64]
    drawn_words: NDArray[np.uint64]
    hx: NDArray[np.int32]
    hy: NDArray[np.int32]


def room(program: Program, defects: Defects, n_in: int, n_out: int, *, strict: bool, free: bool = False) -> LearningRoom:
    """Return room to work in for a connection.

    Args:
        program: the rule.
        defects: of its learning engine; their number of groups counts.
        n_in: source neurons.
        n_out: target neurons.
        strict: whether the mode is ``hardware_strict``.
        free: whether :func:`neurofault.learning.drawn_sums.never_refused` says so there.
    """
    products, groups, steps = len(program.head), len(defects.pre), program.epoch + 1
    slots = 2
    while slots < 2 * n_in:
        slots *= 2
    plain = n_in if program.plain and groups == 1 else 0
    narrow = plain if (free or not strict) and program.used[0] else 0
    width, drawn = -(-n_out // LANES) * LANES, narrow if strict else 0
    return LearningRoom(
        np.zeros((products, groups, 1 if program.plain else steps, n_in), np.int32),
        np.zeros((products, steps, n_out), np.int32),
        np.zeros(products, np.bool_),
        np.zeros(n_in, np.uint8),
        np.zeros(steps, np.bool_),
        np.full(slots if plain else 0, -1, np.int64),
        np.empty(n_in + 1, np.int64),
        np.empty(n_in, np.int64),
        np.empty(n_in, np.int64),
        np.empty((3, plain, 3, n_out), np.int32),
        np.zeros((3, n_out), np.int32),
        np.arange(n_out),
        np.zeros(n_out, np.int64),
        words(n_out),
        np.zeros((narrow, width), np.int16),
        np.zeros((narrow, 3, width), np.int16),
        np.zeros((max(2, products), width), np.int32),
        np.zeros((products, 3), np.int32),
        np.zeros((drawn, width), np.int16),
        np.zeros(drawn, np.uint64),
        np.zeros(drawn, np.uint64),
        words(width if drawn else 0)[drawing_order(n_out if drawn else 0)],
        np.zeros((steps, 2, n_in), np.int32),
        np.zeros((steps, 3, n_out), np.int32),
    )
