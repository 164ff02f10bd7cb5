"""Mapped, broken and repaired networks as files of SANA-FE: a reader of its own law, and SANA-FE where it is installed, gets the same spikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import neurofault as nf
from neurofault.deploy.routing import topology
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Encoding, Network

T = 12


def network(rng, *, events=False, how="count", reset="zero", convolutional=False, **neuron) -> Network:
    encoding = None if events else Encoding.for_pixels(0.5, 0.4, T)
    more = {"start": 0.4, "reset": reset, **neuron}
    if convolutional:
        shapes, synapses = [(1, 4, 4), (2, 4, 4), (3,)], [nf.Conv(rng.normal(0.3, 1.0, (2, 1, 3, 3)), (1, 4, 4), padding=(1, 1))]
    else:
        shapes, synapses = [(16,), (9,), (3,)], [nf.Dense(rng.normal(0.2, 1.0, (9, 16)))]
    hidden = int(np.prod(shapes[1]))
    synapses.append(nf.Dense(rng.normal(0.25, 1.0, (3, hidden))))
    populations = [
        nf.Population("input", shapes[0], nf.Source(encoding)),
        nf.Population("hidden1", shapes[1], nf.CubaLif(2.0, rng.normal(0, 0.05, hidden), **more)),
        nf.Population("output", (3,), nf.CubaLif(2.0, rng.normal(0, 0.05, 3), **more)),
    ]
    return nf.chain("random", populations, synapses, timesteps=T, how=how)


def shown(rng, chip: nf.Deployment) -> nf.Inputs:
    if chip.encoding is None:
        return nf.Inputs(events=rng.random((1, T, 16)) < 0.4)
    return chip.encode(rng.integers(0, 200, (1, 16)).astype(np.uint8))


def attributes(given) -> dict:
    return {key: value for one in given or [] for key, value in one.items()}


def simulated(folder: Path, steps: int) -> dict[str, np.ndarray]:
    """Return bool [steps, n] for each group, by what SANA-FE says of its own models, in plain floats."""
    found = yaml.safe_load((folder / "network.yaml").read_text())
    groups = {}
    for group in found["network"]["groups"]:
        common = attributes(group["attributes"])
        groups[group["name"]] = [common | attributes(line[index]) for index, line in enumerate(group["neurons"])]
    into: dict[tuple[str, int], list[tuple[str, int, float]]] = {}
    for edge in found["network"]["edges"]:
        ((ends, what),) = edge.items()
        (source, target) = ((name, int(index)) for name, index in (end.strip().split(".") for end in ends.split("->")))
        into.setdefault(target, []).append((*source, attributes(what)["weight"]))
    spikes = {name: np.zeros((steps, len(neurons)), bool) for name, neurons in groups.items()}
    potential = {name: [0.0] * len(neurons) for name, neurons in groups.items()}
    for step in range(steps):
        for name, neurons in groups.items():
            for index, neuron in enumerate(neurons):
                if "spikes" in neuron:
                    spikes[name][step, index] = step < len(neuron["spikes"]) and neuron["spikes"][step] == 1
                    continue
                current = sum(w for source, which, w in into.get((name, index), []) if step and spikes[source][step - 1, which])
                v = int(potential[name][index] * neuron["leak_decay"] * 64.0) / 64.0 + neuron["bias"] + current
                if v > neuron["threshold"]:
                    spikes[name][step, index] = True
                    v = {"hard": neuron["reset"], "soft": v - neuron["threshold"], "none": v}[neuron["reset_mode"]]
                if v < neuron.get("reverse_threshold", -np.inf):
                    v = neuron["reverse_threshold"]
                potential[name][index] = v
    return spikes


def by_sanafe(folder: Path, steps: int) -> dict[str, np.ndarray]:
    sanafe = pytest.importorskip("sanafe")
    architecture = sanafe.load_arch(folder / "architecture.yaml")
    net = sanafe.load_net(folder / "network.yaml", architecture)
    chip = sanafe.SpikingChip(architecture)
    chip.load(net)
    done = chip.sim(steps, spike_trace=True)
    assert done["energy"]["total"] > 0
    sizes = {
        group["name"]: len(group["neurons"]) for group in yaml.safe_load((folder / "network.yaml").read_text())["network"]["groups"]
    }
    spikes = {name: np.zeros((steps, size), bool) for name, size in sizes.items()}
    for step, fired in enumerate(done["spike_trace"]):
        for one in fired:
            name, index = str(one).rsplit(".", 1)
            spikes[name][step, int(index)] = True
    return spikes


def assert_same_spikes(chip: nf.Deployment, inputs: nf.Inputs, folder: Path, run=simulated) -> int:
    nf.to_sanafe(chip, folder, inputs)
    traces = nf.run(chip, inputs, record=["spikes"]).activity.traces
    phase = chip.schedule.phase
    got = run(folder, T + max(phase.values()) + 1)
    for name, trace in traces.items():
        first = phase[name] + 1
        assert np.array_equal(got[name][first : first + T], trace.spikes[0]), name
    return sum(int(trace.spikes.sum()) for trace in traces.values())


CASES = {
    "images": {},
    "events": {"events": True},
    "a leak": {"dv": 300},
    "reset by subtraction": {"reset": "subtract"},
    "no reset": {"reset": "none", "events": True},
    "a convolution": {"convolutional": True},
    "a floor": {"floor": -0.3, "events": True},
}


@pytest.mark.parametrize("run", [simulated, by_sanafe])
@pytest.mark.parametrize("case", CASES)
def test_the_same_spikes_of_every_neuron(case, run, tmp_path):
    rng = np.random.default_rng(3)
    chip = nf.deploy(network(rng, **CASES[case]), "loihi1", neurons_per_core=4)
    assert assert_same_spikes(chip, shown(rng, chip), tmp_path, run) > 20


@pytest.mark.parametrize("run", [simulated, by_sanafe])
def test_broken_and_repaired_chips_too(run, tmp_path):
    rng = np.random.default_rng(4)
    chip = nf.deploy(network(rng, convolutional=True), "loihi1", neurons_per_core=4, spare_cores=3)
    faults = [nf.faults.CoreDead(count=2), nf.faults.SynapseBitFlip(rate=0.02), nf.faults.NeuronDead(count=2, layer="input")]
    hurt = nf.inject(chip, faults, seed=1)
    inputs = shown(rng, chip)
    before = assert_same_spikes(hurt, inputs, tmp_path / "hurt", run)
    healed = nf.rescue(hurt, np.zeros((2, 16), np.uint8), np.array([0, 1]), strategy="remap").deployment
    after = assert_same_spikes(healed, inputs, tmp_path / "healed", run)
    assert after > before > 0


def test_neurons_sit_on_the_tiles_and_cores_of_the_placement(tmp_path):
    rng = np.random.default_rng(5)
    chip = nf.deploy(network(rng), "loihi1", neurons_per_core=2, strategy="spread")
    nf.to_sanafe(chip, tmp_path)
    found, architecture = (yaml.safe_load((tmp_path / file).read_text()) for file in ("network.yaml", "architecture.yaml"))
    height, mesh = architecture["architecture"]["attributes"]["height"], topology(chip)
    rows = [next(iter(one.items())) for one in found["mappings"]]
    assert len(rows) == sum(one.size for one in chip.populations) + sum(name.startswith("start_") for name, _ in rows)
    for where, what in rows:
        name, index = where.split(".")
        if name.startswith("start_"):
            continue
        tile, core = map(int, str(attributes(what)["core"]).split("."))
        own = int(chip.placement.core_of[name][int(index)])
        (x,), (y,) = mesh.tiles(np.array([own]))
        assert (tile // height, tile % height, core) == (x, y, own % 4), where


def test_costs_are_those_of_the_profile_and_what_is_not_known_is_named(tmp_path):
    chip = nf.deploy(network(np.random.default_rng(6)), "loihi1")
    notes = nf.to_sanafe(chip, tmp_path)
    tile = yaml.safe_load((tmp_path / "architecture.yaml").read_text())["architecture"]["tile"][0]
    costs = chip.profile.energy_tables[chip.profile.default_energy]
    assert tile["attributes"]["energy_north_hop"] == costs.energy.hop_north_south.known
    core = tile["core"][0]
    assert core["synapse"][0]["attributes"]["energy_process_spike"] == costs.energy.synaptic_operation.known
    soma = core["soma"][0]["attributes"]
    assert soma["energy_access_neuron"] + soma["energy_update_neuron"] == pytest.approx(costs.energy.neuron_update_active.known)
    assert notes[0].startswith("cost not known and written as 0: energy of a message out")


@pytest.mark.parametrize(
    ("neuron", "words"),
    [({"du": 1000}, "population 'hidden1': currents that decay"), ({"refractory": 2}, "population 'hidden1': refractory")],
)
def test_what_it_cannot_say_is_refused_by_name(neuron, words, tmp_path):
    chip = nf.deploy(network(np.random.default_rng(7), **neuron), "loihi1")
    with pytest.raises(UnsupportedError, match=words):
        nf.to_sanafe(chip, tmp_path)
    assert not list(tmp_path.iterdir())


def test_faults_that_come_and_go_delays_other_meshes_and_many_samples_are_refused(tmp_path):
    rng = np.random.default_rng(8)
    chip = nf.deploy(network(rng), "loihi1")
    blinking = nf.inject(chip, nf.faults.NeuronDead(count=2, when={"kind": "transient", "start": 3, "stop": 6}), seed=1)
    with pytest.raises(
        UnsupportedError, match="population 'hidden1': a file of SANA-FE holds no fault of the kind Silence that acts only at times"
    ):
        nf.to_sanafe(blinking, tmp_path)
    with pytest.raises(UnsupportedError, match="joined by no mesh"):
        nf.to_sanafe(nf.deploy(network(rng, du=4095), "spinnaker1"), tmp_path)
    with pytest.raises(UsageError, match="one sample, not 2"):
        nf.to_sanafe(chip, tmp_path, chip.encode(np.zeros((2, 16), np.uint8)))
