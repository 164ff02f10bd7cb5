"""Orders of bits as they are asked for: by a defect map that is given, or by a test of each chip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurofault.damage.damage import Edit, SetSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import BitOrder
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults.bit_orders import best_turns, stuck_from_the_start, units_of
from neurofault.faults.models import fault_to_mapping
from neurofault.faults.plan import plan
from neurofault.faults.stored_numbers import StoredNumbers
from neurofault.study.protect.spec import AnySpec, OrderSpec


def with_its_map(spec: AnySpec) -> AnySpec:
    """Return what is asked for; of an order of bits with its defect map in it, in the place of a file's name, each defect as it is always written.

    Raises:
        UsageError: the map holds what no test finds.
        FaultError, SpecError: the file cannot be read as a defect map.
    """
    if not isinstance(spec, OrderSpec) or spec.tested:
        return spec
    try:
        return spec.model_copy(update={"defects": [fault_to_mapping(one) for one in spec.known()]})
    except ValueError as error:
        raise UsageError(f"protect {spec}: {error}") from None


def bit_orders(deployment: Deployment, names: Sequence[str], spec: OrderSpec) -> list[BitOrder]:
    """Return the orders of the bits of some connections; of a defect map those alone in which something is stuck.

    Raises:
        UsageError: nothing that the map holds is stuck in these connections, or it holds upsets.
        UnsupportedError: a weight is no field of several bits in a memory.
        FaultError: the map names what the chip does not have.
    """
    edits = _edits(deployment, spec)
    found = []
    for name in names:
        width = deployment.connection(name).weight_bits
        if not 1 < width <= 8:
            what = "1 bit, which has no order" if width == 1 else f"a {width}-bit reference that no chip stores"
            raise UnsupportedError(f"protect {spec}: a weight of {name!r} is {what}")
        stuck, numbers = stuck_from_the_start(edits, name), StoredNumbers(deployment, name)
        units = units_of(numbers, spec.unit)
        if len(units) and (stuck or spec.tested):
            turns = np.empty(0, np.int64) if spec.tested else best_turns(deployment, numbers, name, spec.unit, stuck)
            found.append(BitOrder(name, spec.unit, turns, spec.tested, (int(units[-1]) + 1) * (width - 1).bit_length()))
    if not found:
        raise UsageError(
            f"protect {spec}: nothing that its defect map holds is stuck in the stored weights of {', '.join(map(repr, names))}; "
            "what is: synapse_bit_stuck, synapse_dead, synapse_stuck, synapse_saturated, memory_word_dead"
        )
    return found


def _edits(deployment: Deployment, spec: OrderSpec) -> list[Edit]:
    """Return what a defect map breaks."""
    known = spec.known()
    planned = plan(deployment, known).faults if known else ()
    for one in planned:
        if any(isinstance(edit, SetSynapses) and edit.keep is None and edit.of_sources is None for edit in one.edits):
            raise UsageError(
                f"protect {spec}: {one.fault.kind} is gone with the next write, so no test of the chip knows it; name what is stuck"
            )
    return [edit for one in planned for edit in one.edits]
