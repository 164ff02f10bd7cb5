"""`to_sanafe`: a mapped network, with whatever is broken in it, as the two files that SANA-FE 2 reads: an architecture and a mapped network.

SANA-FE (Boyle et al., IEEE TCAD 2025, doi 10.1109/TCAD.2025.3537971; github.com/SLAM-Lab/SANA-FE) estimates energy and time of a spiking chip from a
YAML description. Its neuron ``leaky_integrate_fire`` computes in units of 1/64 with leak rounded towards 0, so that with v/64 in the place of v its
spikes are those of the chip's integers: weight·2**e, vth, bias/64, leak (4096 − dv)/4096.

It knows no sample: all neurons step from its step 1 on, at v = 0. Population p handles step t of the sample in SANA-FE's step phase[p] + 2 + t. What
a bias has added to v by then, and ``v_init``, come right in the population's first step, by one spike of an input of its own (group ``start_p``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.as_read import AsRead, as_read
from neurofault.deploy.cost_table import CostTable
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.routing import Mesh, topology_of
from neurofault.errors import UnsupportedError, UsageError, with_remedy
from neurofault.files import write_whole
from neurofault.graph.arithmetic import bias_of, decayed
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import unknown_feature
from neurofault.graph.network import samples_apart
from neurofault.graph.synapses import Dense, Sparse, longest_delay
from neurofault.inputs import Bias, Inputs

FILES = ("architecture.yaml", "network.yaml")
"""What is written: for ``sanafe.load_arch`` and ``sanafe.load_net``."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEVER = float(1 << 24)
_FEATURES = frozenset({"reset subtract", "reset none", "floor"})
_RESETS = {"zero": "hard", "subtract": "soft", "none": "none"}


def to_sanafe(deployment: Deployment, folder: str | Path, inputs: Inputs | None = None) -> tuple[str, ...]:
    """Write a (damaged, repaired) deployment as ``architecture.yaml`` and ``network.yaml`` of SANA-FE 2.

    >>> import tempfile, neurofault as nf
    >>> folder = tempfile.TemporaryDirectory()
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"), "loihi1")
    >>> shown = nf.Inputs(events=np.ones((1, 4, 2), bool))
    >>> notes = to_sanafe(chip, folder.name, shown)
    >>> notes[0]
    'cost not known and written as 0: energy of a message out, a message in, a spike; time of a message out, a message in, a spike'

    There, ``net = sanafe.load_net("network.yaml", sanafe.load_arch("architecture.yaml"))``, ``chip.load(net)`` and ``chip.sim(steps)`` with
    steps = T + depth + 1 give every neuron the spikes of ``nf.run``, in step phase + 2 + t for step t.

    Args:
        deployment: on a mesh of tiles, in Loihi's arithmetic.
        folder: made if there is none; files of these names are replaced.
        inputs: the one sample that is shown; None: nothing is, as the biases of inputs are 0.

    Returns:
        What SANA-FE does not say as the chip has it, one text each.

    Raises:
        UnsupportedError: SANA-FE has no words for something (a decaying current, delays, refractory steps, faults that come and go, a neuron that its
            bias fires before its first step …); the text names the population or connection.
        UsageError: not one sample, or the files cannot be written.
    """
    samples_apart(deployment, "the export to SANA-FE")
    with with_remedy("nf.save keeps a chip whole, all its damage too"):
        mesh = topology_of(deployment.profile, deployment.placement.chips)
        if not isinstance(mesh, Mesh):
            raise UnsupportedError(
                f"profile {deployment.profile.name!r}: its cores are joined by no mesh, and SANA-FE has meshes alone"
            )
        held = as_read(deployment, "a file of SANA-FE")
        parts = [_population(deployment, one, held, inputs) for one in held.populations]
        network, inputs_of = _network(deployment, held, parts, mesh)
    name = deployment.profile.default_energy
    table = None if name is None else deployment.profile.energy_tables[name]
    architecture, notes = _architecture(deployment, mesh, table, inputs_of)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for file, text in zip(FILES, (architecture, network), strict=True):
            write_whole(Path(folder) / file, text.encode())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    return (*notes, *_notes(deployment, held))


class _Written:
    """A population as it is written.

    Attributes:
        name: of its group.
        trains: bool [n, steps] of an input of events; None where neurons integrate.
        lines: attributes of each neuron.
        start: float64 [n], what is added to v/64 in its first step; None: nothing.
        common: attributes of all.
    """

    def __init__(
        self, name: str, trains: NDArray[np.bool_] | None, lines: list[str], start: NDArray[np.float64] | None, common: str
    ):
        self.name, self.trains, self.lines, self.start, self.common = name, trains, lines, start, common


def _population(chip: Deployment, one: ChipPopulation, held: AsRead, inputs: Inputs | None) -> _Written:
    where = f"population {one.name!r}"
    if not _NAME.fullmatch(one.name):
        raise UnsupportedError(f"{where}: names of groups in SANA-FE are letters, digits and _")
    shown = None if inputs is None or not one.is_source else _shown(chip, one, inputs)
    steps, phase = chip.timesteps, chip.schedule.phase[one.name]
    dead = held.dead[one.name]
    if shown is not None and shown.dtype == bool:
        trains = np.zeros((one.size, phase + 1 + steps), bool)
        trains[:, phase + 1 :] = shown.T & ~dead[:, None]
        return _Written(one.name, trains, [], None, "log_spikes: true")
    if one.is_source and one.encoding is None and shown is None:
        return _Written(one.name, np.zeros((one.size, 1), bool), [], None, "log_spikes: true")
    if (unknown := unknown_feature(one.law, _FEATURES)) is not None:
        raise UnsupportedError(f"{where}: {unknown}, which SANA-FE does not say")
    if not one.is_source and (one.du != 4095).any():
        raise UnsupportedError(f"{where}: currents that decay (du {int(one.du.min())}); SANA-FE's are of one step")
    mantissa = np.asarray(
        one.bias_mantissa if not one.is_source else np.zeros(one.size, np.int64) if shown is None else shown, np.int64
    )
    bias = bias_of(mantissa, one.bias_exponent).astype(np.int64)
    bias[dead] = 0
    theta, dv = one.vth.astype(np.int64) << 6, one.dv.astype(np.int64)
    before = np.zeros(one.size, np.int64)
    floor = None if one.law.floor is None else one.law.floor.astype(np.int64)
    for _ in range(phase + 1):
        before = decayed(before, dv) + bias
        if ((before > theta) & ~dead).any() or (floor is not None and (before < floor).any()):
            raise UnsupportedError(
                f"{where}: its biases fire it, or pass its floor, before its first step; SANA-FE's neurons step from the beginning"
            )
    start = decayed(np.broadcast_to(np.asarray(one.v_init, np.int64), (one.size,)).copy(), dv) - decayed(before, dv)
    start[dead] = 0
    vth = np.where(dead, _NEVER, one.vth.astype(np.float64))
    lines = [
        f"threshold: {_number(limit)}, bias: {_number(current / 64)}, leak_decay: {_number((4096 - leak) / 4096)}"
        + ("" if floor is None else f", reverse_threshold: {_number(floor[index] / 64)}, reverse_reset_mode: saturate")
        for index, (limit, current, leak) in enumerate(zip(vth.tolist(), bias.tolist(), dv.tolist(), strict=True))
    ]
    common = f"log_spikes: true, soma_hw_name: neurons, reset: 0.0, reset_mode: {_RESETS[one.law.reset]}"
    return _Written(one.name, None, lines, start / 64 if start.any() else None, common)


def _shown(chip: Deployment, one: ChipPopulation, inputs: Inputs) -> NDArray[np.bool_] | NDArray[np.int32]:
    """Return what one input shows: bool [T, n] events, or int32 [n] mantissas."""
    given = inputs.named(chip.inputs).of(one.name)
    if len(given) != 1:
        raise UsageError(f"SANA-FE is shown one sample, not {len(given)}: inputs.take(np.array([0]))")
    if isinstance(given, Bias):
        return np.asarray(given.mantissa[0], np.int32)
    events = np.zeros((chip.timesteps, one.size), bool)
    events[given.steps, given.neurons] = True
    return events


def _network(chip: Deployment, held: AsRead, parts: list[_Written], mesh: Mesh) -> tuple[str, int]:
    """Return the text of the mapped network, and the most inputs of one core."""
    groups, edges, maps = [], [], []
    used: dict[int, int] = {}

    def place(core: int, as_input: bool) -> str:
        (x,), (y,) = mesh.tiles(np.array([core]))
        local = core % mesh.cores_per_chip
        text = f"core: {x * mesh.rows + y}.{local % mesh.cores_per_tile}"
        if as_input:
            used[core] = used.get(core, 0) + 1
            text += f', soma: "inputs[{used[core] - 1}]"'
        return text

    for part in parts:
        cores = chip.placement.core_of[part.name].tolist()
        is_input = part.trains is not None
        lines = (
            part.lines
            if part.trains is None
            else [f"spikes: [{', '.join(map(str, train.astype(int).tolist()))}]" for train in part.trains]
        )
        groups.append(_group(part.name, part.common, lines))
        maps += [f"  - {part.name}.{index}: [{place(core, is_input)}]" for index, core in enumerate(cores)]
        if part.start is not None:
            first = chip.schedule.phase[part.name]
            name = f"start_{part.name}"
            groups.append(_group(name, "", [f"spikes: [{', '.join(['0'] * first + ['1'])}]"]))
            maps.append(f"  - {name}.0: [{place(cores[0], True)}]")
            edges += [
                f"    - {name}.0 -> {part.name}.{index}: [weight: {_number(value)}]"
                for index, value in enumerate(part.start.tolist())
                if value
            ]
    for one in held.connections:
        edges += _edges(one)
    head = f"# {chip.name} on {chip.profile.title}, {chip.timesteps} steps\nnetwork:\n  name: {_word(chip.name)}\n  groups:\n"
    return head + "".join(groups) + "  edges:\n" + "\n".join(edges) + "\nmappings:\n" + "\n".join(maps) + "\n", max(
        used.values(), default=0
    )


def _group(name: str, common: str, lines: list[str]) -> str:
    neurons = "".join(f"        - {index}: [{line}]\n" for index, line in enumerate(lines))
    return f"    - name: {name}\n      attributes: [{common}]\n      neurons:\n{neurons}"


def _edges(one: ChipConnection) -> list[str]:
    where = f"connection {one.name!r}"
    if one.delay != 1 or longest_delay(one.synapses):
        raise UnsupportedError(f"{where}: delays; in SANA-FE a spike arrives one step later")
    exponent = one.weight_exponent
    match one.synapses:
        case Dense(weight=matrix):
            targets, sources = np.nonzero(matrix)
            values = np.asarray(matrix)[targets, sources]
        case Sparse():
            targets, sources, values = one.synapses.targets, one.synapses.sources, np.asarray(one.synapses.weight)
        case _:
            from neurofault.convert.netx_layout import as_matrix

            matrix = np.asarray(as_matrix(one).weight)
            targets, sources = np.nonzero(matrix)
            values = matrix[targets, sources]
    if exponent < 0 and (values.astype(np.int64) & ((1 << -exponent) - 1)).any():
        raise UnsupportedError(f"{where}: a weight exponent of {exponent} cuts bits off sums of weights; SANA-FE adds real numbers")
    scale = 2.0**exponent
    return [
        f"    - {one.source}.{source} -> {one.target}.{target}: [weight: {_number(value * scale)}]"
        for source, target, value in zip(sources.tolist(), targets.tolist(), values.tolist(), strict=True)
        if value
    ]


_COSTS: Mapping[str, str] = {
    "hop_north_south": "a hop north or south", "hop_east_west": "a hop east or west", "axon_out_message": "a message out", "axon_in_message": "a message in",
    "synaptic_operation": "a synaptic operation", "neuron_update_active": "a neuron's update", "neuron_update_inactive": "a neuron's step", "neuron_spike": "a spike",
}  # fmt: skip


def _architecture(chip: Deployment, mesh: Mesh, table: CostTable | None, inputs: int) -> tuple[str, list[str]]:
    """Return the text of the architecture, and what of its costs is not known."""
    gaps: dict[str, list[str]] = {"energy": [], "time": []}

    def cost(kind: str, event: str) -> float:
        known = None if table is None else getattr(getattr(table, kind), event).value
        if known is None:
            gaps[kind].append(_COSTS[event])
        return 0.0 if known is None else float(known)

    found = {(kind, event): cost(kind, event) for kind in ("energy", "time") for event in _COSTS}
    words = {"energy": "energy", "time": "latency"}

    def pair(name: str, event: str) -> str:
        return "".join(f"{words[kind]}_{name}: {_number(found[kind, event])}, " for kind in words).removesuffix(", ")

    hops = ", ".join(
        pair(f"{way}_hop", f"hop_{axis}")
        for way, axis in (("north", "north_south"), ("south", "north_south"), ("east", "east_west"), ("west", "east_west"))
    )
    updates = ", ".join(
        f"{words[kind]}_access_neuron: {_number(found[kind, 'neuron_update_inactive'])}, "
        f"{words[kind]}_update_neuron: {_number(max(0.0, found[kind, 'neuron_update_active'] - found[kind, 'neuron_update_inactive']))}"
        for kind in words
    )
    barrier = (None, None) if table is None else (table.time.barrier_min.value, table.time.barrier_max.value)
    sync = f"{{1: {_number(barrier[0] or 0.0)}, {mesh.tiles_per_chip}: {_number(barrier[1] or 0.0)}}}"
    most = max(
        np.bincount(np.concatenate(list(chip.placement.core_of.values()))).max() + inputs, chip.profile.core.neurons.value or 0
    )
    nothing = ", ".join(f"{words[kind]}_{what}: 0.0" for what in ("access_neuron", "update_neuron", "spike_out") for kind in words)
    spare = (
        f"\n            - name: inputs[0..{inputs - 1}]\n              attributes: {{model: input, {nothing}}}" if inputs else ""
    )
    text = f"""# {chip.profile.title}; costs: {"none" if table is None else table.title}
architecture:
  name: {_word(chip.profile.name)}
  attributes: {{topology: mesh, width: {mesh.columns * mesh.chips}, height: {mesh.rows}, link_buffer_size: 16, sync_model: table, latency_sync: {sync}}}
  tile:
    - name: tile[0..{mesh.columns * mesh.chips * mesh.rows - 1}]
      attributes: {{{hops}}}
      core:
        - name: core[0..{mesh.cores_per_tile - 1}]
          attributes: {{buffer_position: soma, max_neurons_supported: {most}}}
          axon_in:
            - name: axon_in
              attributes: {{{pair("message_in", "axon_in_message")}}}
          synapse:
            - name: synapses
              attributes: {{model: current_based, {pair("process_spike", "synaptic_operation")}}}
          dendrite:
            - name: dendrites
              attributes: {{model: accumulator, energy_update: 0.0, latency_update: 0.0}}
          soma:
            - name: neurons
              attributes: {{model: leaky_integrate_fire, {updates}, {pair("spike_out", "neuron_spike")}}}{spare}
          axon_out:
            - name: axon_out
              attributes: {{{pair("message_out", "axon_out_message")}}}
"""
    words_of = "; ".join(f"{kind} of {', '.join(events)}" for kind, events in gaps.items() if events)
    return text, [f"cost not known and written as 0: {words_of}"] if words_of else []


def _notes(chip: Deployment, held: AsRead) -> list[str]:
    notes = ["SANA-FE has no 24-bit registers: where u wraps or v saturates on the chip, its spikes are other ones"]
    if held.dead[chip.readout.population].any():
        notes.append(f"dead neurons of {chip.readout.population!r} never fire; here they score below all others")
    if held.beside:
        notes.append("what is broken of routes and learning engines is left out: messages take SANA-FE's own ways")
    if chip.placement.chips > 1:
        notes.append(f"{chip.placement.chips} chips are written as one mesh: a way from chip to chip costs a hop")
    return notes


def _number(value: float) -> str:
    """Return a number that every YAML reader takes as one: ``3.0e-12``."""
    text = repr(float(value))
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
