"""snnTorch's networks here and there: spikes of every neuron in every step, in snnTorch and on the chip.

    python experiments/snntorch_networks.py [--seeds 5] [--finer 1 2] [--json docs/data/snntorch_networks.json]

Networks of random weights on the grid of 8 mixed bits, thresholds on the grid of vth, T = 50, N = 100 samples of random events: each kind of neuron, reset and
recurrence, and poolings, with leaks and without. Leaks are the only thing that the chip rounds: towards 0 in each step, by less than a unit of v, which its leak forgets. So where a spike
differs, snnTorch's potential must lie as close to the threshold as rounding can carry it: ``bound`` in units of v, 1/(1 − β), and with a current
(1 + 1/(1 − α))/(1 − β). Of each sample whose spikes differ, ``largest_margin`` looks at the first step in which they do; what follows in later steps follows from
that. Two of the networks run in Lava and Brian2 too, on a few samples. ``--finer`` runs those with leaks again with so many more bits of v below a weight.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import snntorch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import neurofault as nf
from neurofault.cli.output import JsonOut
from neurofault.errors import UnsupportedError

STEPS, SAMPLES, LINES, HIDDEN, OUTPUTS = 50, 100, 16, 32, 10
THRESHOLD = 3 + 1 / 64
LEAKS = ((0.5, 0.875), (0.0, 1.0))
"""α and β: with leaks, and without."""
Case = tuple[str, str, bool, str]
CASES: tuple[Case, ...] = (
    *(
        (kind, reset, delay, "")
        for kind in ("Leaky", "Synaptic", "RLeaky", "RSynaptic")
        for reset in ("subtract", "zero")
        for delay in (True, False)
        if delay or (kind != "RSynaptic" and reset == "zero")
    ),
    ("RLeaky", "subtract", True, "one to one"),
    ("RSynaptic", "zero", True, "one to one"),
    ("Leaky", "subtract", True, "learned"),
    ("Leaky", "subtract", True, "MaxPool2d"),
    ("Leaky", "zero", True, "MaxPool2d"),
    ("Leaky", "subtract", True, "AvgPool2d"),
)
"""Kind, reset mechanism, reset_delay, and what else."""
ELSEWHERE = (("RLeaky", "subtract", True, ""), ("Leaky", "subtract", True, "MaxPool2d"))
"""Run in Lava and Brian2 too."""
FEW = 4


class Net(nn.Module):
    """Two layers of neurons in a loop over the steps, [T, N, …]."""

    def __init__(self, front: nn.Module, neurons: nn.Module, between: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.front, self.neurons, self.between, self.last = front, neurons, between, last

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the last layer in every step."""
        return torch.stack([self.last(self.between(self.neurons(self.front(step)))) for step in x])


def network(case: Case, alpha: float, beta: float, rng: np.random.Generator) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network and the shape of a step's events."""
    kind, reset, delay, more = case
    own: dict[str, Any] = {"alpha": alpha} if "Synaptic" in kind else {}
    own |= {"beta": beta, "threshold": THRESHOLD, "init_hidden": True, "reset_mechanism": reset, "reset_delay": delay}
    if kind.startswith("R"):
        back = torch.from_numpy(rng.integers(-64, 64, HIDDEN) / 32).float()
        own |= {"all_to_all": False, "V": back} if more == "one to one" else {"linear_features": HIDDEN}
    if more == "learned":
        own |= {"beta": torch.from_numpy(rng.choice([0.5, 0.75, beta] if beta < 1 else [1.0], HIDDEN)).float(), "learn_beta": True}
        own |= {"threshold": torch.from_numpy(rng.integers(2, 6, HIDDEN) + 1 / 64).float(), "learn_threshold": True}
    neurons = getattr(snntorch, kind)(**own)
    last = snntorch.Leaky(beta=beta, threshold=THRESHOLD, init_hidden=True, reset_mechanism=reset)
    if more.endswith("Pool2d"):
        pool = getattr(nn, more)(2)
        front, between = (
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.Sequential(pool, nn.Flatten(), nn.Linear(36, OUTPUTS, bias=False)),
        )
        model, shape = Net(front, neurons, between, last), (2, 6, 6)
    else:
        model, shape = Net(nn.Linear(LINES, HIDDEN, bias=False), neurons, nn.Linear(HIDDEN, OUTPUTS, bias=False), last), (LINES,)
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            weight = 2 * rng.integers(-128, 128, parameter.shape)
            weight.flat[0] = -256  # the end of the range, so that the chip's grid is this one
            parameter.data = torch.from_numpy(weight / 64).float()
        elif name.endswith("bias"):
            parameter.data.zero_()
    return model.eval(), shape


def run_there(model: Net, events: Tensor) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.float64]]]:
    """Return spikes and potentials before the reset, [N, T, n] each, of both layers in snnTorch."""
    potentials: list[list[Tensor]] = [[], []]
    spikes: list[list[Tensor]] = [[], []]
    for place, neurons in enumerate((model.neurons, model.last)):
        fire = neurons.fire

        def heard(mem: Tensor, place: int = place, fire: Any = fire) -> Tensor:
            potentials[place].append(mem.detach().flatten(1).clone())
            fired: Tensor = fire(mem)
            spikes[place].append(fired.detach().flatten(1).clone())
            return fired

        neurons.fire = heard
        neurons.reset_mem()
    with torch.no_grad():
        model(events.transpose(0, 1))
    return (
        [torch.stack(each, 1).numpy() > 0 for each in spikes],
        [torch.stack(each, 1).double().numpy() for each in potentials],
    )


def finer(chip: nf.Deployment, bits: int) -> nf.Deployment:
    """Return the same chip with weights and thresholds of 2**bits as many units of v each."""
    return replace(
        chip,
        populations=tuple(one if one.is_source else replace(one, vth=one.vth << bits) for one in chip.populations),
        connections=tuple(replace(one, weight_exponent=one.weight_exponent + bits) for one in chip.connections),
    )


def compared(case: Case, alpha: float, beta: float, seed: int, bits: int = 0) -> dict[str, Any]:
    """Run one network here and there, with more bits of v; return how many spike counts and samples differ, and how close to the threshold."""
    rng = np.random.default_rng([seed, CASES.index(case)])
    model, shape = network(case, alpha, beta, rng)
    chip = finer(nf.deploy(nf.from_snntorch(model, shape, timesteps=STEPS, coding=None)), bits)
    shown = rng.random((SAMPLES, STEPS, *shape)) < 0.3
    there, potentials = run_there(model, torch.from_numpy(shown).float())
    inputs = nf.Inputs(events=shown.reshape(SAMPLES, STEPS, -1))
    traces = nf.run(chip, inputs, record=("spikes",)).activity.traces
    names = ("hidden1", "output")
    counts = unequal = spikes = 0
    first, margin = np.full(SAMPLES, STEPS), 0.0
    for name, other in zip(names, there, strict=True):
        own = traces[name].spikes
        assert own is not None
        counts += own.shape[0] * own.shape[2]
        unequal += int((own.sum(1) != other.sum(1)).sum())
        spikes += int(other.sum())
        different = (own != other).any(2)
        first = np.minimum(first, np.where(different.any(1), different.argmax(1), STEPS))
    for sample in np.flatnonzero(first < STEPS):
        for name, other, mem in zip(names, there, potentials, strict=True):  # the layer behind may differ because of this one
            own, at = traces[name].spikes, (sample, first[sample])
            assert own is not None
            where = np.flatnonzero(own[at] != other[at])
            if where.size:
                layer = model.neurons if name == "hidden1" else model.last
                theta = np.broadcast_to(layer.threshold.detach().double().numpy(), mem.shape[2])[where]
                unit = chip.population(name).vth[where] * 64 / theta
                margin = max(margin, float(np.abs((mem[at][where] - theta) * unit).max()))
                break
    return {
        "spikes": spikes, "counts": counts, "unequal_counts": unequal, "samples": SAMPLES, "unequal_samples": int((first < STEPS).sum()),
        "largest_margin": margin, "elsewhere": elsewhere(chip, inputs[:FEW]) if case in ELSEWHERE and beta < 1 and not seed and not bits else {},
    }  # fmt: skip


def elsewhere(chip: nf.Deployment, inputs: nf.Inputs) -> dict[str, bool]:
    """Return for the other engines that are installed whether every spike is that of ``exact``."""
    found = {}
    mine = nf.run(chip, inputs, record=("spikes",)).activity.traces
    for engine in ("lava", "brian2"):
        try:
            theirs = nf.run(chip, inputs, engine=engine, record=("spikes",)).activity.traces
        except UnsupportedError:
            continue
        found[engine] = all(np.array_equal(mine[name].spikes, theirs[name].spikes) for name in mine)
    return found


def main() -> None:
    """Print one line a network, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--finer", type=int, nargs="*", default=[], help="bits of v more below a weight, of the networks with leaks"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result_file = JsonOut(arguments.json)
    rows = []
    for (alpha, beta), case in product(LEAKS, CASES):
        kind, reset, delay, more = case
        runs = [compared(case, alpha, beta, seed) for seed in range(arguments.seeds)]
        bound = 0.0 if beta == 1 else (1 + 1 / (1 - alpha) if "Synaptic" in kind else 1) / (1 - beta)
        row: dict[str, Any] = {"neurons": kind, "reset": reset, "reset_delay": delay, "more": more or None, "beta": beta}
        row |= {"alpha": alpha if "Synaptic" in kind else None, "seeds": arguments.seeds}
        row |= {
            name: sum(run[name] for run in runs) for name in ("spikes", "counts", "unequal_counts", "samples", "unequal_samples")
        }
        row |= {"largest_margin": max(run["largest_margin"] for run in runs), "bound": bound}
        row |= {f"equal_in_{engine}": equal for engine, equal in runs[0]["elsewhere"].items()}
        rows.append(row)
        print(", ".join(f"{name} {value}" for name, value in row.items() if value is not None), flush=True)
    again = []
    for bits in arguments.finer:
        runs = [compared(case, *LEAKS[0], seed, bits) for case, seed in product(CASES, range(arguments.seeds))]
        total: dict[str, Any] = {"bits": bits} | {
            name: sum(run[name] for run in runs) for name in ("counts", "unequal_counts", "unequal_samples")
        }
        again.append(total | {"largest_margin": max(run["largest_margin"] for run in runs)})
        print(", ".join(f"{name} {value}" for name, value in again[-1].items()), flush=True)
    result_file.write({"timesteps": STEPS, "rows": rows, "finer": again})


if __name__ == "__main__":
    main()
