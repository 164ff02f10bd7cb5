"""Which places a chip has, by its profile: a fault of a place that it lacks is refused by the chip's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.routing import Unlinked, topology_of
from neurofault.errors import FaultError
from neurofault.faults.base import Fault, Part


def _linked(profile: HardwareProfile) -> bool:
    return not isinstance(topology_of(profile), Unlinked)


_PARTS: Mapping[Part, tuple[str, Callable[[HardwareProfile], bool]]] = {
    "links": ("links between tiles", _linked),
    "routers": ("routers of tiles", _linked),
    "chips": ("further chips (chip.max_chips)", lambda profile: profile.chip.max_chips.value != 1),
    "boards": ("boards (board.chips)", lambda profile: profile.board is not None and profile.board.chips.value is not None),
    "shared_memory": (
        "memory that cores share (shared_memory.cores)",
        lambda profile: profile.shared_memory is not None and profile.shared_memory.cores.value is not None,
    ),
    "crossbar": ("crossbar (synapse.format: crossbar)", lambda profile: profile.synapse.format == "crossbar"),
    "learning": ("learning engine", lambda profile: bool(profile.learning.available)),
}
"""Parts that not every chip has: what they are called, and whether a profile has them."""


def places_of(profile: HardwareProfile) -> tuple[str, ...]:
    """Return the places of a chip that can break, those that every chip has first."""
    return ("cores", "neurons", "synapses", *(name.split(" (")[0] for name, has in _PARTS.values() if has(profile)))


def check_chip(profile: HardwareProfile, fault: Fault) -> None:
    """Check that a chip has the places that a kind of fault breaks.

    Raises:
        FaultError: it does not; the text says which it has.
    """
    if fault.needs is None:
        return
    name, has = _PARTS[fault.needs]
    if not has(profile):
        raise FaultError(f"chip {profile.name!r} has no {name}; places it has: {', '.join(places_of(profile))}")
