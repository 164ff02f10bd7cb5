"""Orders of bits that know which cells are stuck: what the chip reads of its stored weights when their bits do not lie in the cells of their own number.

A field f whose bits are turned by r lies in its cells as ``turned(f, r)``; stuck cells change that, and the chip reads it turned back:
``turned((turned(f, r) & keep) | force, -r) = (f & turned(keep, -r)) | turned(force, -r)``. So a stuck cell is an edit of another bit, and so is an upset, which
hits the bit that lies in its cell. What goes by whole weights and not by cells (drift, values set by hand, headers, axon entries) stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit, SetSynapses, SingleSynapses
from neurofault.damage.fold import with_values
from neurofault.damage.stored import from_field, to_field
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import BitOrder, Ordered
from neurofault.errors import FaultError
from neurofault.faults.places import weights_at
from neurofault.faults.stored_numbers import StoredNumbers


def turned(fields: NDArray[np.integer], turns: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return int64 [k]: fields of ``width`` bits, bit b of each moved to (b + turn) mod width.

    >>> [format(int(turned(np.array([0b0011]), np.array([by]), 4)[0]), "04b") for by in (0, 1, 3, -1)]
    ['0011', '0110', '1001', '1001']
    """
    by, wide, whole = turns % width, fields.astype(np.int64), (1 << width) - 1
    return np.asarray(((wide << by) | (wide >> (width - by))) & whole)


def units_of(numbers: StoredNumbers, unit: Ordered) -> NDArray[np.int64]:
    """Return int64 [stored synapses]: which unit each stored synapse of a connection is in."""
    return np.arange(len(numbers)) if unit == "word" else numbers.rows()


def stuck_from_the_start(edits: Sequence[Edit], connection: str) -> list[SetSynapses]:
    """Return the edits of cells of a connection that a test of the chip finds: stuck, and from the start."""
    return [
        edit
        for edit in edits
        if isinstance(edit, SetSynapses)
        and edit.connection == connection
        and edit.keep is not None
        and edit.of_sources is None
        and edit.when.always
    ]


def best_turns(
    deployment: Deployment, numbers: StoredNumbers, connection: str, unit: Ordered, stuck: Sequence[SetSynapses]
) -> NDArray[np.int64]:
    """Return int64 [units]: the turn of each unit by which stuck cells change its weights least, by the sum of squares; the smallest among equals.

    Args:
        deployment: the chip; of its weights the healthy ones count.
        numbers: of the stored synapses of the connection.
        connection: its name.
        unit: what has a turn of its own.
        stuck: what is stuck in its cells (:func:`stuck_from_the_start`).
    """
    own, unit_of = deployment.connection(connection), units_of(numbers, unit)
    width, sign = own.weight_bits, own.sign_mode
    turns = np.zeros(int(unit_of[-1]) + 1 if len(unit_of) else 0, np.int64)
    if not stuck:
        return turns
    sources, targets = (np.concatenate([getattr(edit, name) for edit in stuck]) for name in ("sources", "targets"))
    pairs, first, back = np.unique(targets * own.synapses.n_in + sources, return_index=True, return_inverse=True)
    sources, targets, back = sources[first], targets[first], np.asarray(back).reshape(-1)
    keep, force, end = np.full(len(pairs), (1 << width) - 1, np.int64), np.zeros(len(pairs), np.int64), 0
    for edit in stuck:
        assert edit.keep is not None
        assert edit.force is not None
        at = back[end : end + len(edit.sources)]
        keep[at], force[at] = keep[at] & edit.keep, (force[at] & edit.keep) | edit.force
        end += len(edit.sources)
    healthy = weights_at(deployment, connection, sources, targets).astype(np.int64)
    fields, units = to_field(healthy, width, sign), unit_of[numbers.of(sources, targets)]
    hit, place = np.unique(units, return_inverse=True)
    harm = np.empty((width, len(hit)))
    for turn in range(width):
        by = np.full(len(pairs), -turn)
        read = from_field((fields & turned(keep, by, width)) | turned(force, by, width), width, sign)
        harm[turn] = np.bincount(np.asarray(place).reshape(-1), (read - healthy).astype(np.float64) ** 2, len(hit))
    turns[hit] = harm.argmin(axis=0)
    return turns


def reordered(deployment: Deployment, order: BitOrder, by_hit: Sequence[Sequence[Edit]]) -> tuple[list[list[Edit]], str]:
    """Return what is read of broken cells through an order of bits, in the place of what stood in them, and what is to be said of it.

    Args:
        deployment: the chip.
        order: of one of its connections.
        by_hit: the edits of each hit, as planned.

    Raises:
        FaultError: the order is one of another chip.
    """
    own, numbers = deployment.connection(order.connection), StoredNumbers(deployment, order.connection)
    stuck = stuck_from_the_start([edit for edits in by_hit for edit in edits], order.connection)
    turns = best_turns(deployment, numbers, order.connection, order.unit, stuck) if order.tested else order.turns
    unit_of = units_of(numbers, order.unit)
    if len(turns) != (int(unit_of[-1]) + 1 if len(unit_of) else 0):
        raise FaultError(f"connection {own.name!r}: its orders of bits are those of another chip: {len(turns):,} {order.unit}s")
    earlier: list[SingleSynapses] = []
    out: list[list[Edit]] = []
    for edits in by_hit:
        out.append([])
        for edit in edits:
            if isinstance(edit, SetSynapses) and edit.connection == order.connection:
                back = -turns[unit_of[numbers.of(edit.sources, edit.targets)]]
                new = _through(deployment, edit, back, own.weight_bits, earlier) if len(edit.sources) else edit
                if new.when.always:
                    earlier.append(new)
                out[-1].append(new)
            else:
                out[-1].append(edit)
    return out, f"remap_bits of {own.name}: {np.count_nonzero(turns):,} of {len(turns):,} {order.unit}s are turned"


def _through(
    deployment: Deployment, edit: SetSynapses, back: NDArray[np.int64], width: int, earlier: Sequence[SingleSynapses]
) -> SetSynapses:
    """Return an edit of cells as one of the bits that lie in them."""
    sign = deployment.connection(edit.connection).sign_mode
    if edit.of_sources is None and edit.keep is not None and edit.force is not None:
        keep, force = (turned(each, back, width).astype(np.int32) for each in (edit.keep, edit.force))
        edit = replace(edit, keep=keep, force=force, values=from_field(force, width, sign))
    elif edit.flips is not None:
        edit = replace(edit, flips=turned(edit.flips, back, width).astype(np.int32))
    elif edit.factor is None and edit.of_sources is None:
        return edit  # a value set by hand
    return with_values(deployment, earlier, edit)
