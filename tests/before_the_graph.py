"""What stands before the data model becomes a graph: digests of results that the change must leave as they are, byte for byte.

    python tests/before_the_graph.py --check [--only NAME…] [--keep DIR]
    python tests/before_the_graph.py --write [--only NAME…]

A name is a part or where its name begins: ``inject``, ``inject/digits-mlp``, ``inject/mnist-mlp/core_dead``, ``rescue``, ``atlas``,
``trials``, ``paper``, ``paper/chip``. What takes long is ``paper`` (the chip's figures above all). ``--keep`` writes what was hashed into a folder, so that two commits can be compared line by
line. Exit code 1: something changed, is gone or failed.

``cifar10-cnn`` stands for its architecture with untrained weights of a fixed seed, converted with the first candidate: nothing is
trained here, and measuring every candidate on chip takes minutes. MNIST and CIFAR-10 come from ``$NEUROFAULT_DATA``. The digests hold for
the versions and the kind of processor under ``environment``: trainings and conversions are floating point.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import io
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import neurofault as nf
from neurofault.cli.app import main as neurofault
from neurofault.convert.torch_model import candidates
from neurofault.data.datasets import load
from neurofault.deploy.cost import cost
from neurofault.errors import NeurofaultWarning
from neurofault.study.campaign.run import ready
from neurofault.study.campaign.spec import load_campaign
from neurofault.zoo import build, recipe

DATA = Path(__file__).with_suffix(".json")
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "pyarrow")
VOLATILE = {
    "seconds",
    "host",
    "worker",
    "versions",
    "version",
    "machine",
    "path",
    "out",
    "covers_at_least",
    "energy_change_joule_per_inference",
}
"""Keys of JSON that say when, where and with what, or that are newer and say nothing of a result; of ``files`` the names count."""

FAULTS: dict[str, tuple[dict[str, Any], ...]] = {
    "core_dead": ({"kind": "core_dead", "count": 2},),
    "core_dead_clustered": ({"kind": "core_dead", "count": 3, "layer": "any", "where": "clustered"},),
    "core_hung": ({"kind": "core_hung", "count": 1, "on_core_death": "silent"},),
    "core_hung_stalls": ({"kind": "core_hung", "count": 1, "when": {"kind": "death", "at": 9}},),
    "neuron_dead": ({"kind": "neuron_dead", "count": 12},),
    "neuron_dead_least": ({"kind": "neuron_dead", "count": 12, "layer": "any", "where": "least_important"},),
    "neuron_dead_most": ({"kind": "neuron_dead", "rate": 0.1, "where": "most_important"},),
    "neuron_saturated": ({"kind": "neuron_saturated", "count": 3},),
    "neuron_stuck": ({"kind": "neuron_stuck", "count": 4, "spike_rate": 0.3},),
    "neuron_threshold": ({"kind": "neuron_threshold", "rate": 0.3, "factor": 1.4},),
    "neuron_leak": ({"kind": "neuron_leak", "count": 10, "decay": "du", "factor": 0.5},),
    "neuron_bias": ({"kind": "neuron_bias", "count": 10, "offset": 20},),
    "state_upset": ({"kind": "state_upset", "count": 10, "when": {"kind": "once", "at": 4}},),
    "synapse_dead": ({"kind": "synapse_dead", "rate": 0.05},),
    "synapse_dead_output": ({"kind": "synapse_dead", "count": 40, "layer": "output"},),
    "synapse_stuck": ({"kind": "synapse_stuck", "count": 60},),
    "synapse_perturbed": ({"kind": "synapse_perturbed", "rate": 0.2},),
    "synapse_saturated": ({"kind": "synapse_saturated", "count": 60},),
    "synapse_bit_flip": ({"kind": "synapse_bit_flip", "rate": 1e-3},),
    "synapse_bit_flip_msb_once": ({"kind": "synapse_bit_flip", "rate": 3e-3, "bits": "msb", "when": {"kind": "once", "at": 40, "clock": "chip"}},),
    "synapse_bit_stuck": ({"kind": "synapse_bit_stuck", "rate": 1e-3},),
    "synapse_delay": ({"kind": "synapse_delay", "count": 100, "bit": 2},),
    "memory_word_dead": ({"kind": "memory_word_dead", "count": 8},),
    "word_header": ({"kind": "word_header", "count": 8},),
    "axon_lost": ({"kind": "axon_lost", "count": 30},),
    "axon_misrouted": ({"kind": "axon_misrouted", "count": 30},),
    "router_dead": ({"kind": "router_dead", "count": 1},),
    "link_dead": ({"kind": "link_dead", "count": 1},),
    "link_dead_rerouted": ({"kind": "link_dead", "count": 2, "reroute": True},),
    "link_lossy": ({"kind": "link_lossy", "count": 2, "probability": 0.2},),
    "sensor_dead": ({"kind": "sensor_dead", "count": 6},),
    "sensor_noisy": ({"kind": "sensor_noisy", "count": 6},),
    "intermittent": ({"kind": "neuron_dead", "count": 20, "when": {"kind": "intermittent", "on": 3, "off": 5, "start": 2}},),
    "ageing": ({"kind": "core_dead", "count": 3, "when": {"kind": "ageing", "start": 4, "stop": 28}},),
    "several": (
        {"kind": "core_dead", "count": 1},
        {"kind": "synapse_bit_flip", "rate": 1e-3},
        {"kind": "neuron_threshold", "count": 10, "factor": 0.7},
        {"kind": "axon_misrouted", "count": 10, "when": {"kind": "transient", "start": 3, "stop": 20}},
    ),
}  # fmt: skip
"""Name → one plan of faults."""

MNIST = ("core_dead", "neuron_dead", "synapse_dead", "synapse_bit_flip", "link_dead", "neuron_threshold", "intermittent", "several")
CNN = ("core_dead", "neuron_dead", "synapse_dead", "synapse_bit_flip", "link_dead", "memory_word_dead", "intermittent", "several")
CIFAR = (*MNIST, "memory_word_dead", "axon_misrouted", "core_dead_clustered", "synapse_bit_flip_msb_once")

SMALL_CNN = f"{Path(__file__).stem}:small_cnn"

PLACED: dict[str, tuple[str, ...]] = {
    "plain": (),
    "spread": ("--place", "spread", "--kill-cores", "3"),
    "random_on_two_chips": ("--place", "random", "--place-seed", "5", "--chips", "2", "--fault", "{kind: link_dead, count: 2}"),
    "loihi1": ("--profile", "loihi1", "--kill-cores", "3"),
    "four_bits": ("--weight-bits", "4", "--fault", "synapse_bit_flip", "--rate", "0.002"),
    "coarse_with_spares": ("--neurons-per-core", "20", "--spare-cores", "3", "--timesteps", "16", "--kill-cores", "1"),
}
"""Name → other words for `neurofault inject` on digits."""

RESCUED = {
    "digits-mlp": ("none,remap,batch,iterative,remap+learn", "--learner", "delta,dfa,emstdp"),
    "digits-mlp-embryonic": ("embryonic", "--learner", "delta,host", "--control", "fresh-network,dropout"),
    "digits-mlp-learning": ("batch", "--fault", "learning_frozen", "--fault", "error_dead", "--count", "2", "--watchdog", "20"),
    "digits-cnn": ("none,remap,batch", "--network", SMALL_CNN, "--neurons-per-core", "16", "--kill-cores", "2"),
}
"""Name → ways of healing, and other words for `neurofault rescue`."""

CAMPAIGN = """\
name: before
network: {NETWORK}
data: {samples: 60, adapt: 100}
place: {spare_cores: 4, neurons_per_core: 8}
faults:
  - {kind: core_dead, count: {sweep: [1, 3]}}
  - {kind: neuron_dead, rate: 0.1}
  - {kind: synapse_dead, rate: 0.05, layer: any}
  - {kind: synapse_bit_flip, rate: 1e-3, bits: msb, when: {kind: once, at: 40, clock: chip}}
  - {kind: link_dead, count: 1, reroute: true}
  - all:
      - {kind: neuron_threshold, count: 10, factor: 1.4}
      - {kind: axon_misrouted, count: 5}
rescue:
  - {strategy: none}
  - {strategy: remap}
  - {strategy: batch, learner: {sweep: [delta, dfa]}, cycles: 1}
repeats: {draws: 3, seed: 7}
"""
NETWORKS = {"mlp": "{zoo: {sweep: [digits-mlp, digits-mlp-dropout]}}", "cnn": f"{{torch: {SMALL_CNN!r}}}"}

Found = Iterator[tuple[str, bytes]]
"""Names under a part, the empty one for the part itself, and what is hashed."""


def small_cnn() -> torch.nn.Module:
    """A convolutional network for 8×8 digits, with untrained weights of a fixed seed."""
    generator = torch.Generator().manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.AvgPool2d(2), torch.nn.Conv2d(6, 8, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
    return model.eval()


def command(*words: str) -> None:
    """Run the command line in this process.

    Raises:
        RuntimeError: it ended with an error; what it said.
    """
    said, before, paths = io.StringIO(), sys.argv, list(sys.path)
    sys.argv = ["neurofault", *words]
    sys.path.insert(0, str(DATA.parent))
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            neurofault()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(said.getvalue().strip()) from end
    finally:
        sys.argv, sys.path[:] = before, paths


def steady(value: Any) -> Any:
    """Return JSON's data in the order that it has, without what is volatile."""
    match value:
        case dict():
            kept = {key: steady(one) for key, one in value.items() if key not in VOLATILE}
            return kept | ({"files": [Path(one).name for one in value["files"]]} if "files" in value else {})
        case list():
            return [steady(one) for one in value]
        case _:
            return value


def as_json(data: Any) -> bytes:
    return (json.dumps(steady(data), indent=1, ensure_ascii=False) + "\n").encode()


def answer(*words: str) -> Found:
    """Yield the JSON of a command."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.json"
        command(*words, "--json", str(path))
        yield "", as_json(json.loads(path.read_text(encoding="utf-8")))


def inject_words(network: str, samples: int, draws: int, plan: tuple[dict[str, Any], ...]) -> tuple[str, ...]:
    words = ("inject", "--network", network, "--samples", str(samples), "--draws", str(draws))
    return (*words, *(word for fault in plan for word in ("--fault", json.dumps(fault))))


@functools.cache
def cifar() -> tuple[nf.Deployment, Any]:
    """Return the chip of the untrained ``cifar10-cnn``, and the data set."""
    spec = recipe("cifar10-cnn")
    data = load(spec.dataset)
    torch.manual_seed(spec.seed)
    model = build(spec, data.shape, len(data.classes)).eval()
    network = nf.from_torch(
        model, data.train.images[:512], candidate=candidates(model)[0], timesteps=spec.timesteps, name="cifar10-cnn"
    )
    return nf.deploy(network, neurons_per_core=spec.neurons_per_core), data


def on_cifar(plan: tuple[dict[str, Any], ...], samples: int = 16, draws: int = 2) -> Found:
    """Yield what the public functions say of a plan on ``cifar10-cnn``."""
    chip, data = cifar()
    images, labels = data.test.images[:samples], data.test.labels[:samples]
    found = []
    for draw in range(-1, draws):
        broken = chip if draw < 0 else nf.inject(chip, list(plan), seed=1, draw=draw)
        result = nf.run(broken, images, labels)
        spent, activity = cost(broken, result.activity, samples), result.activity
        found.append({
            "draw": draw, "correct": result.correct, "predictions": activity.predictions.tolist(), "scores": activity.scores.tolist(),
            "spikes": {name: hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest() for name, counts in activity.spike_counts.items()},
            "energy": spent.energy.value, "time": spent.time.value,
            "hits": [
                [hit.kind, list(map(int, hit.cores)), dict(hit.neurons), dict(hit.synapses), [str(site) for site in hit.sites]]
                for hit in broken.damage.hits
            ],
        })  # fmt: skip
    yield "", as_json(found)


def atlas(kind: str, samples: int) -> Found:
    """Yield the JSON and the files of an atlas of digits."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "answer.json", Path(folder) / "out"
        command("atlas", "--fault", kind, "--samples", str(samples), "--out", str(out), "--json", str(path))
        yield "answer.json", as_json(json.loads(path.read_text(encoding="utf-8")))
        for file in sorted(out.iterdir()):
            yield file.name, file.read_bytes()


def trials(network: str) -> Found:
    """Yield the identities of a campaign's trials, by cell; none of them runs."""
    paths = list(sys.path)
    sys.path.insert(0, str(DATA.parent))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "campaign.yaml"
            path.write_text(CAMPAIGN.replace("{NETWORK}", network), encoding="utf-8")
            state = ready(load_campaign(path), None, lambda *_: None)
            for cell in state.campaign.cells():
                tasks = list(state.tasks_of(cell))
                kinds = "+".join(fault.kind for fault in cell.faults)
                name = (
                    f"{cell.index:02} {cell.spec.network.zoo or 'cnn'} {kinds} {cell.rescue.strategy} {cell.rescue.learner or ''}"
                )
                yield name.strip().replace(" ", "_"), "".join(f"{task.draw} {task.trial}\n" for task in tasks).encode()
    finally:
        sys.path[:] = paths


def paper(place: str) -> Found:
    """Yield every JSON and CSV file of the quick figures."""
    with tempfile.TemporaryDirectory() as folder:
        command("paper", "all", "--quick", "--on", place, "--out", folder)
        for file in sorted(Path(folder).iterdir()):
            if file.suffix == ".json":
                yield file.name, as_json(json.loads(file.read_text(encoding="utf-8")))
            elif file.suffix == ".csv":
                yield file.name, file.read_bytes()


def parts() -> dict[str, Callable[[], Found]]:
    """Return every part by name, the quick ones first."""
    found: dict[str, Callable[[], Found]] = {}
    for name, plan in FAULTS.items():
        found[f"inject/digits-mlp/{name}"] = functools.partial(answer, *inject_words("digits-mlp", 120, 2, plan))
    for name, more in PLACED.items():
        words = ("inject", "--samples", "120", "--draws", "3", *more)
        found[f"inject/digits-mlp/{name}"] = functools.partial(answer, *words)
    for name in CNN:
        found[f"inject/digits-cnn/{name}"] = functools.partial(
            answer, *inject_words(SMALL_CNN, 120, 2, FAULTS[name]), "--neurons-per-core", "16"
        )
    for name in MNIST:
        found[f"inject/mnist-mlp/{name}"] = functools.partial(answer, *inject_words("mnist-mlp", 100, 2, FAULTS[name]))
    for name in CIFAR:
        found[f"inject/cifar10-cnn/{name}"] = functools.partial(on_cifar, FAULTS[name])
    for name, words in RESCUED.items():
        found[f"rescue/{name}"] = functools.partial(
            answer, "rescue", "--samples", "100", "--adapt", "300", "--draws", "2", "--strategy", *words
        )
    for kind, samples in {"neuron_dead": 360, "core_dead": 360, "synapse_dead": 60, "synapse_bit_flip": 20}.items():
        found[f"atlas/{kind}"] = functools.partial(atlas, kind, samples)
    found |= {f"trials/{name}": functools.partial(trials, network) for name, network in NETWORKS.items()}
    return found | {f"paper/{place}": functools.partial(paper, place) for place in ("floats", "chip")}


def environment() -> dict[str, str]:
    """Return what floating-point numbers depend on."""
    found = {"machine": platform.machine(), "vector unit": torch.backends.cpu.get_cpu_capability()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def kept() -> dict[str, Any]:
    """Return what the data file holds: ``environment``, and ``digests`` by part and name."""
    read: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {"environment": {}, "digests": {}}
    return read


def made(work: Callable[[], Found], folder: Path | None = None) -> dict[str, str]:
    """Return the digests of a part.

    Args:
        work: one of :func:`parts`.
        folder: where to keep what is hashed; None: nowhere.
    """
    digests = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurofaultWarning)
        for name, content in work():
            digests[name] = hashlib.sha256(content).hexdigest()
            if folder is not None:
                path = folder / name if name else folder.with_name(f"{folder.name}.json")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    return digests


def verdicts(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return name → ``ok``, ``CHANGED``, ``GONE`` or ``NEW``."""
    return {
        name: "GONE" if name not in now else "NEW" if name not in before else "ok" if now[name] == before[name] else "CHANGED"
        for name in sorted({*before, *now})
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true")
    what.add_argument("--write", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    parser.add_argument("--keep", type=Path, metavar="DIR")
    options = parser.parse_args()
    every = parts()
    chosen = [
        name for name in every if not options.only or any(f"{name}/".startswith(f"{one.rstrip('/')}/") for one in options.only)
    ]
    if not chosen:
        parser.error(f"no part of that name; there are: {', '.join(every)}")
    data, wrong, began = kept(), 0, time.perf_counter()
    if options.check and data["environment"] != environment():
        print(f"made in another environment: {data['environment']}; here: {environment()}")
    for part in chosen:
        start = time.perf_counter()
        try:
            now = made(every[part], options.keep and options.keep / part)
        except Exception as error:
            wrong += 1
            print(f"{part}  FAILED: {type(error).__name__}: {error}", flush=True)
            continue
        seconds = f"{time.perf_counter() - start:.1f} s"
        if options.write:
            data["digests"][part] = now
            print(f"{part}  {len(now)} written  {seconds}", flush=True)
            continue
        for name, verdict in verdicts(data["digests"].get(part, {}), now).items():
            wrong += verdict != "ok"
            print(f"{part}{'/' if name else ''}{name}  {verdict}", flush=True)
        print(f"    {seconds}", flush=True)
    if options.write:
        data["environment"] = environment()
        data["digests"] = {part: data["digests"][part] for part in every if part in data["digests"]}
        DATA.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    else:
        print("all ok" if not wrong else f"{wrong} not ok", end="")
        print(f" ({time.perf_counter() - began:.0f} s)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
