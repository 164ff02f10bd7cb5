"""Faults of every kind, at every time and at random places, on random graphs that sit on the cores of a small chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from bit_chip import OF_MESH, BitChip
from composed import parameters
from fault_chips import EVERYWHERE, TABLE, small_profile
from random_graphs import MOST_STEPS, random_graph

from neurofault import faults
from neurofault.damage.stored import from_field
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.errors import FaultError
from neurofault.inputs import Bias, Inputs

CORES = 12
"""Of the small chip, one a tile, or two."""
COMBINATIONS = tuple(
    (kind, when, clock)
    for kind, model in EVERYWHERE.items()
    for when in model.whens
    for clock in (("presentation",) if when == "permanent" else model.clocks)
)
"""Every kind, every time that it takes, on both clocks."""


def struck_graph(seed: int, most_steps: int = MOST_STEPS) -> tuple[Deployment, Inputs, np.random.Generator]:
    """A random graph on a small chip: populations share cores, weights are stored in any format, inputs of pixels have a table."""
    chip, inputs, rng = random_graph(seed, most_steps)
    per_tile = int(rng.choice([1, 2]))
    profile = small_profile(
        shared_kernels=bool(rng.integers(2)),
        columns=CORES // 3 // per_tile,
        rows=3,
        cores_per_tile=per_tile,
        block=int(rng.choice([2, 3])),
    )
    connections = []
    for one in chip.connections:
        bits, mode = int(rng.choice([8, 8, 4])), str(rng.choice(["mixed", "mixed", "excitatory", "inhibitory"]))
        weight = from_field(rng.integers(0, 1 << bits, one.synapses.weight.shape), bits, mode)
        connections.append(replace(one, synapses=replace(one.synapses, weight=weight), weight_bits=bits, sign_mode=mode))
    populations = [
        replace(one, encoding=replace(TABLE, table=TABLE.table * 30))
        if one.is_source and isinstance(inputs.of(one.name), Bias)
        else one
        for one in chip.populations
    ]
    cores = {one.name: np.sort(rng.choice(CORES, int(rng.integers(1, 4)), replace=False)) for one in populations}
    core_of = {one.name: np.sort(rng.choice(cores[one.name], one.size)).astype(np.int32) for one in populations}
    placed = replace(
        chip,
        profile=profile,
        populations=tuple(populations),
        connections=tuple(connections),
        placement=Placement(1, CORES, core_of),
    )
    return placed, inputs, rng


def time_of(rng: np.random.Generator, chip: Deployment, samples: int, when: str, clock: str) -> dict[str, object]:
    """A time of this kind on this clock, as a mapping; most begin while the samples are shown."""
    steps = chip.timesteps
    last = steps - 1 if clock == "presentation" else samples * steps + max(chip.schedule.phase.values())
    start, some = int(rng.integers(last + 1)), max(2, min(steps, 12))
    match when:
        case "permanent":
            return {"kind": when}
        case "transient":
            own = {"start": start, "stop": start + int(rng.integers(1, some + 1))}
        case "intermittent":
            own = {"start": start, "on": int(rng.integers(1, some)), "off": int(rng.integers(1, some))}
        case "periodic":
            own = {"start": start, "period": int(rng.integers(1, some))}
        case "ageing":
            own = {"start": start, "stop": start + int(rng.integers(1, some + 1)), "shape": float(rng.choice([0.5, 1.0, 2.0]))}
        case _:
            own = {"at": start}
    return {"kind": when, **own, "clock": clock}


def _places(rng: np.random.Generator, chip: Deployment, kind: str) -> Iterator[dict[str, object]]:
    """Yield places that a fault may be drawn from: by population, by connection, by cores, tiles and words."""
    populations, connections = [one.name for one in chip.populations], [one.name for one in chip.connections]
    model = faults.KINDS[kind]
    whole = ("error_dead", "sensor_dead", "sensor_noisy")
    for _ in range(4):
        low = int(rng.integers(CORES))
        cores = f"core:{low}-{int(rng.integers(low, CORES))}"
        places: list[dict[str, object]] = [
            {"layer": str(rng.choice(populations))},
            {"layer": "any"},
            {"layer": "hidden"},
            {"at": cores},
        ]
        if model.list_field not in ("cores", "links"):
            places.append({"at": {"all_of": [cores, "chip:0"]}, "layer": "any"})
        if issubclass(model, faults.base.ConnectionFault) and connections:
            places += [{"connection": str(rng.choice(connections))}] * 3
        if model.site in ("stored synapses", "stored bits"):
            places.append({"at": f"word:0-{int(rng.integers(4))}"})
        yield {} if kind in whole else places[int(rng.integers(len(places)))]
    yield {} if kind in whole else {"layer": "any"}


def _listed(rng: np.random.Generator, chip: Deployment, slow: BitChip, kind: str) -> dict[str, object] | None:
    """A fault with its sites listed, as a mapping; None where there are none of its kind on the chip, or none by a list."""
    model, some = faults.KINDS[kind], int(rng.integers(1, 4))
    population = chip.populations[int(rng.integers(len(chip.populations)))]
    own = chip.connections[int(rng.integers(len(chip.connections)))] if chip.connections else None
    pairs = [] if own is None else sorted(slow.weight[own.name])
    chosen = [list(pairs[i]) for i in dict.fromkeys(rng.integers(len(pairs), size=some).tolist())] if pairs else []
    words = [slow._word(own.name, tuple(pair))[0] for pair in chosen]  # several pairs may read one stored synapse
    chosen = [pair for at, pair in enumerate(chosen) if words[at] not in words[:at]]
    match model.list_field:
        case "cores":
            used = chip.placement.used_cores
            return {"cores": sorted({int(core) for core in rng.choice(used, some)})}
        case "neurons":
            return {"layer": population.name, "neurons": sorted({int(n) for n in rng.integers(population.size, size=some)})}
        case "pixels":
            seen = [one for one in chip.populations if one.encoding is not None]
            return (
                {"layer": seen[0].name, "pixels": sorted({int(n) for n in rng.integers(seen[0].size, size=some)})} if seen else None
            )
        case "links" | "routers":
            columns, rows = chip.profile.chip.tile_columns.value, chip.profile.chip.tile_rows.value
            x, y = int(rng.integers(columns)), int(rng.integers(rows))
            if kind == "router_dead":
                return {"routers": [f"{x},{y}"]}
            inside = {"E": x + 1 < columns, "W": x > 0, "N": y > 0, "S": y + 1 < rows}
            return {"links": [f"{x},{y}:{rng.choice([way for way, there in inside.items() if there])}"]}
    if own is None or not chosen or kind == "feedback_dead":
        return None
    cores = [int(chip.placement.core_of[own.target][t]) for _, t in chosen]
    match model.list_field:
        case "synapses":
            return {"connection": own.name, "synapses": chosen}
        case "synapse_bits":
            return {"connection": own.name, "synapse_bits": [[*pair, int(rng.integers(own.weight_bits))] for pair in chosen]}
        case "words" | "headers":
            runs = slow.runs(kind)[cores[0]]
            here = [number for number, (name, _) in enumerate(runs) if name == own.name]
            numbers = dict.fromkeys(int(n) for n in rng.choice(here, some))
            return {"connection": own.name, model.list_field: [[cores[0], number] for number in numbers]}
        case "axons":
            axons = dict.fromkeys((pair[0], core) for pair, core in zip(chosen, cores, strict=True))
            return {"connection": own.name, "axons": [list(axon) for axon in axons]}
    return None


def struck(
    rng: np.random.Generator, chip: Deployment, slow: BitChip, samples: int, kind: str, when: str, clock: str
) -> tuple[faults.FaultPlan, BitChip] | str:
    """A plan of one fault of this kind at this time, listed or drawn, and the chip that it strikes worked out apart.

    Returns a text where this graph has no place for it.
    """
    what = {"kind": kind, "when": time_of(rng, chip, samples, when, clock), **parameters(rng, kind)}
    if kind == "core_hung":
        what["on_core_death"] = str(rng.choice(["silent", "silent", "stall"]))
    drawn = [{"count": int(rng.integers(1, 4)), **place} for place in _places(rng, chip, kind)]
    drawn = [{**one, "count": 1} if kind == "link_lossy" else one for one in drawn]
    listed = _listed(rng, chip, slow, kind)
    tried = ([listed] if listed is not None and rng.random() < 0.5 else []) + drawn + ([listed] if listed is not None else [])
    refused = ""
    for place in tried:
        try:
            plan = faults.plan(chip, {**what, **place}, seed=int(rng.integers(1000)), draw=int(rng.integers(3)))
        except FaultError as error:
            refused = str(error)
            if place is listed and not any(text in refused for text in NONE_SUCH):
                raise
            continue
        other = slow.healthy()
        if "count" in place and kind not in OF_MESH and not _as_asked(chip, other, plan, place):
            continue
        other.strike(plan)
        return plan, other
    return refused


def _as_asked(chip: Deployment, slow: BitChip, plan: faults.FaultPlan, place: dict[str, object]) -> bool:
    """Check that drawn sites lie where they were asked for; False where a word that nothing reads hides how many there are."""
    (planned,) = plan.faults
    sites = slow.sites(planned)
    if planned.fault.list_field == "errors" or planned.fault.kind in UNREAD:
        return True
    if len(sites) != place["count"]:
        assert len(sites) < place["count"], (planned.fault, sites)
        assert planned.fault.stored_words or planned.fault.list_field in ("words", "headers"), planned.fault
        return False
    if "connection" in place:
        assert {of for of, _ in sites} == {place["connection"]}, planned.fault
    layer = place.get("layer")
    if layer in [one.name for one in chip.populations] and planned.fault.list_field != "cores":
        assert {slow.wire[of].target if of in slow.wire else of for of, _ in sites} == {layer}, planned.fault
    if isinstance(place.get("at"), str) and str(place["at"]).startswith("core:"):
        low, high = map(int, str(place["at"])[5:].split("-"))
        assert all(low <= _core(slow, planned.fault, of, site) <= high for of, site in sites), planned.fault
    return True


NONE_SUCH = (
    "there is no other to take it for",
    "the bias of input neurons comes with each sample",
    "are given events and have no state",
)
"""Why a fault whose sites are listed may find none."""
UNREAD = {model.kind for model in faults.FAMILIES["learning"]}
"""Kinds that inference must not see."""


def _core(slow: BitChip, fault: faults.Fault, of: str | None, site: object) -> int:
    """The core that a site lies on."""
    match fault.list_field:
        case "cores":
            return site
        case "neurons" | "pixels":
            return slow.home[of][site]
        case "synapses" | "synapse_bits":
            return slow.home[slow.wire[of].target][site[1]]
        case "axons":
            return site[1]
    return site[0]
