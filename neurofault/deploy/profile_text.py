"""What a profile says, key by key: shown, and compared with another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from neurofault.deploy.arithmetic_spec import ArithmeticSpec, DecaySpec
from neurofault.deploy.cost_table import ESSENTIAL
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.quantity import EVIDENCE_ORDER, Quantity
from neurofault.deploy.resources import limits

_OF_SOME = ("links", "board", "shared_memory", "layers", "inputs", "outputs", "reserved_cores", "hop_tree", "hop_inter_chip")
"""Keys of what some chips have; a profile that leaves one out does not leave it unknown."""
_MESH = ("tile_columns", "tile_rows", "cores_per_tile")
_CROSSBAR = ("axon_types", "table_bits")

Said = Quantity[Any, Any] | str
"""A number with what is known of it, or a word."""


def keys_of(profile: HardwareProfile) -> dict[str, Said]:
    """Return what a profile says by the path of its key (``core.neurons``), in its order; without ``name``, ``title`` and ``sources``."""
    return dict(_keys({name: value for name, value in profile if name not in ("name", "title", "sources")}, ""))


def _keys(record: Any, path: str) -> Iterator[tuple[str, Said]]:
    pairs = record.items() if isinstance(record, dict) else record
    for name, value in pairs:
        inner = f"{path}.{name}".removeprefix(".")
        if value is None and name in _OF_SOME:
            continue
        if isinstance(record, DecaySpec) and name not in ("kind", *record.own):
            continue
        if isinstance(value, Quantity):
            yield inner, value
        elif isinstance(value, BaseModel | dict) and value:
            yield from _keys(value, inner)
        elif isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
            yield from _keys({str(at): one for at, one in enumerate(value)}, inner)
        else:
            yield inner, "none" if value is None and isinstance(record, ArithmeticSpec) else _word(value)


def _word(value: Any) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return str(value).lower()
        case tuple() | dict():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value)


def shown(said: Said) -> str:
    """Return a value with its unit, as a user reads it.

    >>> shown("loihi"), shown(Quantity[int, str](value=None, unit="neurons"))
    ('loihi', 'not known')
    """
    if isinstance(said, str):
        return said
    if said.value is None:
        return "not known"
    value = f"{said.value:g}" if isinstance(said.value, float) else _word(said.value)
    return value if said.unit in ("1", "flag") else f"{value} {said.unit}"


def basis(said: Said) -> str:
    """Return how a number is known: its evidence, and the keys of its sources; nothing of words and what is not known."""
    if isinstance(said, str) or said.value is None:
        return ""
    return "; ".join(part for part in (said.evidence or "", ", ".join(said.source)) if part)


def unknown(profile: HardwareProfile) -> list[str]:
    """Return what a profile does not know, by section: ``core: in_axons, out_axons``."""
    found: dict[str, list[str]] = {}
    for path, said in keys_of(profile).items():
        section, _, key = path.partition(".")
        if path == "chip.usable_cores" or (path.startswith("chip.") and key in _MESH and profile.joined):
            continue  # all of them; one core has no mesh
        if key == "source_signs" or (key in _CROSSBAR and profile.synapse.format != "crossbar"):
            continue  # left out, they are not there
        if shown(said) == "not known" and section in ("chip", "core", "synapse", "neuron", "learning"):
            found.setdefault(section, []).append(key)
    learning = profile.learning
    if not learning.available:
        found.pop("learning", None)
    if learning.available is None:
        found["learning"] = ["whether there is any"]
    costs = [] if profile.costs is not None else ["energy and time (no energy_tables)"]
    return [f"{section}: {', '.join(keys)}" for section, keys in found.items()] + costs


def beyond_usable(profile: HardwareProfile) -> str:
    """Return the cores of each chip that are neither reserved nor known bad in the first one, and that ``usable_cores`` leaves out, as ``120-127``; none: nothing."""
    chip = profile.chip
    left = set(range(chip.cores.known)) - set(chip.local_ids) - chip.reserved - set(profile.dead_core_ids)
    runs: list[list[int]] = []
    for core in sorted(left):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def difference(first: HardwareProfile, second: HardwareProfile) -> dict[str, tuple[Said | None, Said | None]]:
    """Return the keys whose values differ, with both; None: the key is not there, which is the same as not known.

    What differs only in how it is known (evidence, source, note) is the same here.
    """
    one, other = keys_of(first), keys_of(second)
    return {
        key: (one.get(key), other.get(key)) for key in dict.fromkeys([*one, *other]) if _said(one.get(key)) != _said(other.get(key))
    }


def _said(said: Said | None) -> str:
    return "not known" if said is None else shown(said)


def law_of(profile: HardwareProfile) -> str:
    """Return whose law its neurons are simulated with."""
    match profile.arithmetic:
        case ArithmeticSpec() as spec:
            return f"exact: {spec.name}"
        case "loihi":
            return "exact: Lava 0.10"
        case _:
            return "Lava's law on its places"


def energy_evidence(profile: HardwareProfile) -> str | None:
    """Return the weakest evidence of the default table's energies; None: none is known."""
    if profile.costs is None:
        return None
    known = [
        cost.evidence
        for _, cost in profile.costs.energy
        if cost is not None and cost.value is not None and cost.evidence is not None
    ]
    return max(known, key=EVIDENCE_ORDER.index, default=None)


def energy_gaps(profile: HardwareProfile) -> tuple[str, ...]:
    """Return the events whose energy the default table does not know, and without which sums are only "at least"; none without a table."""
    costs = profile.costs
    return () if costs is None else tuple(name for name in ESSENTIAL if getattr(costs.energy, name).value is None)


def overview(profile: HardwareProfile) -> dict[str, Any]:
    """Return a profile in a row, JSON-ready."""
    return {
        "name": profile.name,
        "title": profile.title,
        "cores": profile.chip.cores.known,
        "usable_cores": profile.chip.usable,
        "neurons_per_core": limits(profile)["neurons"],
        "weight_bits": list(profile.synapse.weight_bits.known),
        "law": law_of(profile),
        "energy_table": profile.default_energy,
        "energy_evidence": energy_evidence(profile),
        "energy_gaps": list(energy_gaps(profile)),
    }
