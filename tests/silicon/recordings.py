"""Where recordings of real chips lie, and the networks that were on them, as integers.

The files are other people's (``docs/silicon.md`` names them) and not part of the project: the folder is ``NEUROFAULT_FIELD``, else
``../shared/data/field`` beside the checkout.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import neurofault as nf
from neurofault.deploy.deployment import Deployment
from neurofault.graph import CubaLif, Dense, Population, Source, chain
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs

MARK = 128
"""What a chip reports for v in the step in which the neuron spikes: Loihi counts the refractory period in v, one period being 128."""


def folder(*parts: str) -> Path:
    """Return a folder of recordings, or skip the test with the place where it was looked for."""
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root.joinpath(*parts)
    if not found.exists():
        pytest.skip(f"no recordings of a chip at {found}; NEUROFAULT_FIELD names the folder that holds them")
    return found


@dataclass(frozen=True, eq=False)
class Recording:
    """What a chip reported of one population; nan and 255 where nothing is known.

    Attributes:
        v, u: float64 [N, T, n]; None where it was not recorded.
        spikes: uint8 [N, T, n], 0, 1 or 255.
    """

    spikes: np.ndarray
    v: np.ndarray | None = None
    u: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Driven:
    """A population and the synapses into it."""

    population: Population
    synapses: Dense


def population(name: str, synapses: Dense, *, vth: int, du: int, dv: int, bias: np.ndarray | int = 0) -> Driven:
    """Return a population of the chip's own integers: weights of exponent 0 with a sign, bias in units of 64."""
    return Driven(Population(name, (synapses.n_out,), CubaLif(vth, bias, du, dv, bias_exponent=6)), synapses)


def chip(profile: str, timesteps: int, in_shape: tuple[int, ...], *driven: Driven) -> Deployment:
    """Return a healthy chip whose input population sends given events."""
    source = Population("input", in_shape, Source(threshold=60))
    network = chain(
        "recorded", [source, *(one.population for one in driven)], [one.synapses for one in driven], timesteps=timesteps, how="count",
        stored=[Stored()] * len(driven),
    )  # fmt: skip
    return nf.deploy(network, profile)


def differences(deployment: Deployment, events: np.ndarray, recorded: dict[str, Recording], engine: str) -> dict[str, list[int]]:
    """Run a chip on recorded spikes and return for each population [spikes that differ, v that differ, u that differ, values compared].

    Args:
        events: bool [N, T, n_in].
        recorded: by the population's name; v in a step with a spike must be :data:`MARK`.
    """
    traces = nf.run(deployment, Inputs(events=events), engine=engine, record=("u", "v", "spikes")).activity.traces
    found = {}
    for name, chips in recorded.items():
        ours, known = traces[name], chips.spikes != 255
        assert ours.spikes is not None
        assert ours.u is not None
        assert ours.v is not None
        counts = [int(np.count_nonzero((ours.spikes != chips.spikes) & known)), 0, 0, int(np.count_nonzero(known))]
        if chips.v is not None:
            ours_v, there = np.where(ours.spikes, MARK, ours.v), ~np.isnan(chips.v)
            counts[1] = int(np.count_nonzero((ours_v != chips.v) & there))
            counts[3] += int(np.count_nonzero(there))
        if chips.u is not None:
            there = ~np.isnan(chips.u)
            counts[2] = int(np.count_nonzero((ours.u != chips.u) & there))
            counts[3] += int(np.count_nonzero(there))
        found[name] = counts
    return found


def loihi2_neuron() -> tuple[Deployment, np.ndarray, dict[str, Recording]]:
    """One neuron on Loihi 2: ``paper/01_lif`` of the NIR paper (w 10, du 4095, dv 163, vth 25), 1,000 steps: input spike, v, spike."""
    table = np.loadtxt(folder("neuromorphs__NIR", "paper", "01_lif") / "lif_lava_loihi_fixed.csv", delimiter=",")
    steps = len(table)
    made = chip("loihi2", steps, (1,), population("neuron", Dense(np.array([[10]], np.int32)), vth=25, du=4095, dv=163))
    later = np.roll(table, -1, axis=0)  # the neuron sees an input spike one step of the chip later
    spikes, v = later[None, :, 2:].astype(np.uint8), later[None, :, 1:2].copy()
    spikes[:, -1], v[:, -1] = 255, np.nan
    return made, table[None, :, :1] > 0, {"neuron": Recording(spikes, v)}


def loihi1_network() -> tuple[Deployment, np.ndarray, dict[str, Recording]]:
    """A network 250-25-1 on Loihi 1: ``test/test_files/Loihi`` of slayerPytorch (du 1023, dv 128, vth 80), 500 steps.

    All spikes of both populations, v of three hidden neurons and of the output. The chip's output runs a step behind its hidden neurons.
    """
    at = folder("bamsumit__slayerPytorch", "test", "test_files", "Loihi")
    steps, known = 500, 499
    events = np.zeros((1, steps, 250), bool)
    for time, neuron in np.loadtxt(at / "snnData" / "spikeIn.txt"):
        step = round(time / 0.1) + 49
        if step < steps:
            events[0, step, int(neuron) - 1] = True
    weights = [np.atleast_2d(np.round(2 * np.loadtxt(at / "snnData" / f"w{k}learned.txt")) * 2).astype(np.int32) for k in (1, 2)]
    common = {"vth": 80, "du": 1023, "dv": 128}
    made = chip(
        "loihi1",
        steps,
        (250,),
        population("hidden", Dense(weights[0]), **common),
        population("output", Dense(weights[1]), **common),
    )
    hidden = Recording(_spikes(at / "LoihiData" / "loihiHiddenSpikes.txt", (steps, 25), 1, known), np.full((1, steps, 25), np.nan))
    output = Recording(
        _spikes(at / "LoihiData" / "loihiOutputSpikes.txt", (steps, 1), 2, known - 1), np.full((1, steps, 1), np.nan)
    )
    assert hidden.v is not None
    assert output.v is not None
    for neuron, name in ((0, "loihiHiddenVoltage"), (23, "loihiHiddenVoltage23"), (24, "loihiHiddenVoltage24")):
        hidden.v[0, :known, neuron] = np.loadtxt(at / "LoihiData" / f"{name}.txt").ravel()
    output.v[0, : known - 1, 0] = np.loadtxt(at / "LoihiData" / "loihiOutputVoltage.txt").ravel()[1:]
    return made, events, {"hidden": hidden, "output": output}


def _spikes(path: Path, shape: tuple[int, int], behind: int, known: int) -> np.ndarray:
    """Read lines «neuron step»; ``behind``: the chip's steps after ours; from our step ``known`` on nothing was recorded."""
    found = np.zeros((1, *shape), np.uint8)
    for neuron, step in np.atleast_2d(np.loadtxt(path, int)):
        if 0 <= step - behind < known:
            found[0, step - behind, neuron] = 1
    found[0, known:] = 255
    return found


PILOTNET = {"conv-2": "hidden3", "conv-3": "hidden4", "conv-4": "hidden5", "fc-0": "hidden6", "fc-1": "hidden7", "fc-2": "hidden8"}
"""Recorded populations of PilotNet → their names as ``from_netx`` reads ``network.net``."""
PERIOD, FIRST_RESET, RECORDED = 17, 3, 24
"""PilotNet was reset every 17 steps, conv-2 at the 4th recorded step, each later population a step after the one before."""


def pilotnet(first: str = "conv-2") -> tuple[Deployment, np.ndarray, dict[str, Recording]]:
    """PilotNet on Loihi 2 from the recorded spikes in front of ``first`` on: ``pilotnet_lif`` of lava-dl (du 4095, dv 1024, vth 25).

    Each reset begins a sample: sample 0 is whole, of sample 1 the first steps were recorded. Left out are the first steps of the recording, which
    belong to a sample whose beginning was not recorded.
    """
    at = folder("lava-nc__lava-dl", "tests", "lava", "lib", "dl", "netx", "gts", "pilotnet_lif")
    names = list(PILOTNET)[list(PILOTNET).index(first) :]
    begin = FIRST_RESET + list(PILOTNET).index(first)
    before = {"conv-2": "conv-1", "fc-0": "conv-4"}[first]
    driven = _steps(np.load(at / f"{before}.npy"))
    events = np.zeros((2, PERIOD, driven.shape[1]), bool)
    events[0], rest = driven[begin - 1 : begin - 1 + PERIOD], driven[begin - 1 + PERIOD :]
    events[1, : len(rest)] = rest
    whole = nf.from_netx(at / "network.net")
    kept = [PILOTNET[one] for one in names] + [whole.readout.population]
    source = whole.into(PILOTNET[first])[0].source
    populations = (replace(whole.population(source), neuron=Source()), *(whole.population(one) for one in kept))
    connections = tuple(one for one in whole.connections if one.target in kept)
    recorded = {
        PILOTNET[name]: Recording(
            _windows(np.load(at / f"{name}.npy"), begin + index, 255).astype(np.uint8),
            *(_windows(np.load(at / f"{name}-{state}.npy"), begin + index, np.nan) for state in "vu"),
        )
        for index, name in enumerate(names)
    }
    return nf.deploy(nf.Network("pilotnet", populations, connections, PERIOD, whole.readout), "loihi2"), events, recorded


def _steps(array: np.ndarray) -> np.ndarray:
    """[x, y, channel, T] or [n, T] → [T, n] in C, H, W order."""
    ordered = array.transpose(3, 2, 1, 0) if array.ndim == 4 else array.T
    return ordered.reshape(len(ordered), -1)


def _windows(array: np.ndarray, begin: int, unknown: float) -> np.ndarray:
    """Return [2, 17, n]: the sample that begins at the recorded step ``begin`` and what there is of the next."""
    steps = _steps(array).astype(float)[begin:]
    padded = np.full((2 * PERIOD, steps.shape[1]), unknown)
    padded[: len(steps)] = steps[: 2 * PERIOD]
    return padded.reshape(2, PERIOD, -1)
