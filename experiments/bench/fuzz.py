"""Every reader against spoiled files and words: never a traceback, a hang, much memory or anything run; a record or one clear refusal.

    python experiments/bench/fuzz.py --mutants 100000 [--reader NAME] [--seed 1] [--workers 2] [--cli 300] [--keep DIR] [--json FILE]

Each mutant is made from valid input by structure, by token or by byte (``fuzz_mutants.py``), depends on (seed, reader, number) alone, and
goes through the reader's public function in a worker process: its memory is limited, a mutant that takes 5 seconds of processor time counts
as a hang, one that ends the process counts as a crash. HDF5 is opened, as always, by a process of its own, here a fork. A sample goes
through the real command line. Several mutants would make a file ``canary`` if anything in them were run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing as mp
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import fuzz_mutants as mutants
import fuzz_own as own
from fuzz_mutants import CANARY, HERE, Chance
from machine import machine

from neurofault import faults, hdf5_child, hdf5_file
from neurofault.cli.inject import read_faults
from neurofault.convert.loading import user_network
from neurofault.convert.netx_graph import from_netx
from neurofault.convert.nir_graph import from_nir
from neurofault.data.binning import Binning
from neurofault.data.datasets import load
from neurofault.data.image_files import CIFAR_ARCHIVE, IDX_STEMS, read_cifar_set, read_idx_set
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.errors import NeurofaultError, NeurofaultWarning
from neurofault.graph import Conv, CubaLif, Dense, Encoding, Network, Population, Source, chain
from neurofault.graph.synapses import Synapses
from neurofault.study.campaign.journal import Journal, read_rows
from neurofault.study.campaign.spec import load_campaign

HANG = 5.0
"""Processor time of one mutant that counts as a hang."""
STUCK = 120.0
"""Seconds without progress after which a worker is ended; those in which this process itself was held up do not count."""
BATCH = 250
"""Mutants of one worker process."""
MEMORY = 2 << 30
"""Bytes that a worker may take beyond what it holds when it begins."""
NETWORK = """
import torch
def net():
    return torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))
"""


@dataclass(frozen=True)
class Reader:
    """One kind of input.

    Attributes:
        share: how many of a thousand mutants are of this kind.
        make: a mutant.
        read: reads it as the product does; takes the mutant and a folder.
        command: the command line that reads it; None: no verb does, or only after long work.
    """

    share: int
    make: Callable[[Chance], bytes]
    read: Callable[[bytes, Path], object]
    command: Callable[[bytes, Path], list[str]] | None = None


def small_network(*, convolution: bool = False) -> Network:
    """Return a network that is placed in a moment."""
    random_numbers = np.random.default_rng(5)
    first = Population("input", (2, 4, 4) if convolution else (8,), Source(Encoding.for_pixels(0.5, 0.5, 8)))
    hidden = Population("hidden1", (3, 4, 4) if convolution else (12,), CubaLif(1.0))
    last = Population("output", (4,), CubaLif(None))
    if convolution:
        into: Synapses = Conv(random_numbers.normal(size=(3, 2, 3, 3)), (2, 4, 4), padding=(1, 1))
    else:
        into = Dense(random_numbers.normal(size=(12, 8)))
    out_of = Dense(random_numbers.normal(size=(4, hidden.size)))
    return chain("small", [first, hidden, last], [into, out_of], timesteps=8, peak_potential=10.0)


def small_chip(profile: HardwareProfile, *, convolution: bool = False) -> Deployment:
    """Return a small network on a chip, a few neurons a core."""
    return deploy(small_network(convolution=convolution), profile, neurons_per_core=4)


def sound(network: Network) -> None:
    """Refuse to believe a network that was read and makes no sense."""
    for one in network.connections:
        assert np.all(np.isfinite(np.asarray(one.synapses.weight, np.float64))), f"{one.name}: not finite"
    for population in network.populations:
        neuron, name = population.neuron, population.name
        own = [neuron.bias] if isinstance(neuron, CubaLif) else []
        numbers = [*own, neuron.du, neuron.dv, 0 if neuron.start is None else neuron.start]
        assert all(np.all(np.isfinite(np.asarray(part, np.float64))) for part in numbers), f"{name}: not finite"
        real = isinstance(neuron, CubaLif) and neuron.bias_exponent is None
        least = 0 if real else -(2**31)  # a chip's own integers may lie below
        assert neuron.threshold is None or np.all(np.asarray(neuron.threshold) > least), f"{name}: threshold"
        assert 1 <= population.size <= 1 << 22, f"{name}: size"


def forked(path: Path, asked: str = "") -> bytes:
    """Return what :func:`neurofault.hdf5_file.sent_by_child` does, from a fork in place of a new interpreter."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.close(reading)
            with os.fdopen(writing, "w") as sys.stdout:
                hdf5_child.main(str(path), asked)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        sent = pipe.read()
    _, status = os.waitpid(process, 0)
    return sent if status == 0 else b""


def _written(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """Return a reader of a file of a certain name."""

    def of(mutant: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(mutant)
        return read(path)

    return of


def all_readers(folder: Path) -> dict[str, Reader]:
    """Return every reader by name."""
    specs = [path.read_bytes() for path in sorted((HERE / "experiments").glob("*.yaml"))]
    profiles = [path.read_bytes() for path in sorted((HERE / "hardware_profiles").glob("*.yaml"))]
    base = folder / "base.yaml"
    base.write_bytes(specs[0])
    resolved = json.dumps(load_campaign(base).root.value, indent=1).encode()
    profile = load_profile("loihi2")
    chips = (small_chip(profile), small_chip(profile, convolution=True))
    network = small_network()
    plan = mutants.plan_seed(chips[0], folder / "seed.npz")
    (folder / "fuzz_net.py").write_text(NETWORK)
    sys.path.insert(0, str(folder))
    nirs, states = mutants.nir_seeds(folder / "seed.nir"), mutants.state_seeds()
    idx, cifar = mutants.idx_seeds(), mutants.cifar_seed()
    npzs, nets, recorded = own.npz_seeds(), own.netx_seeds(folder / "seed.net"), own.recording_seeds()
    shd, binning = own.hdf5_seed(folder / "seed.h5"), Binning(bins=10, dt=0.1)
    spoiled_idx = IDX_STEMS[0]

    def word(mutant: bytes, _: Path) -> object:
        models = read_faults(None, [mutant.decode("utf-8", "surrogateescape")], None, None, {}, None)
        return [faults.inject(chip, models or [], seed=3) for chip in chips]

    def campaign(path: Path) -> object:
        return next(load_campaign(path).cells())

    def profiled(path: Path) -> object:
        return deploy(network, load_profile(path), neurons_per_core=4)

    def planned(path: Path) -> object:
        return faults.inject(chips[0], faults.load_plan(path))

    def spiking(path: Path) -> object:
        read = from_nir(path)
        sound(read)
        return deploy(read, profile)

    def images(path: Path) -> object:
        for stem in IDX_STEMS:
            if stem != path.name:
                path.with_name(stem).write_bytes(idx[stem])
        return read_idx_set(path.parent, (1, 28, 28), 10)

    def integers(path: Path) -> object:
        read = from_netx(path)
        sound(read)
        return deploy(read, profile)

    def recording(suffix: str) -> Callable[[bytes, Path], object]:
        def read(mutant: bytes, place: Path) -> object:
            whole = place / suffix
            for label in ("0", "1"):
                (whole / label).mkdir(parents=True, exist_ok=True)
                for number in range(5):
                    spoiled = label == "0" and number == 0
                    (whole / label / f"{number}.{suffix}").write_bytes(mutant if spoiled else recorded[suffix])
            return load(str(whole), binning=binning)

        return read

    def journal(path: Path) -> object:
        with Journal(path):
            return read_rows(path)

    def injected(*options: str) -> list[str]:
        return ["inject", "--network", "fuzz_net:net", "--samples", "20", "--draws", "1", "--timesteps", "8", *options]

    recordings = {
        f"recordings .{suffix}": Reader(
            15, lambda chance, suffix=suffix: mutants.spoiled_bytes(recorded[suffix], chance), recording(suffix)
        )
        for suffix in own.RECORDINGS
    }
    return {
        "fault words": Reader(
            380, mutants.fault_word, word, lambda mutant, _: injected("--fault", mutant.decode("utf-8", "surrogateescape").replace("\0", ""))
        ),
        "campaigns": Reader(
            80, lambda chance: mutants.spoiled_text(chance.choice(specs), chance), _written("campaign.yaml", campaign),
            lambda _, place: ["campaign", "check", str(place / "campaign.yaml")],
        ),
        "settings": Reader(
            30, mutants.setting, lambda mutant, _: load_campaign(base, [mutant.decode("utf-8", "surrogateescape")]),
            lambda mutant, _: ["campaign", "check", str(base), "--set", mutant.decode("utf-8", "surrogateescape").replace("\0", "")],
        ),
        "profiles": Reader(
            40, lambda chance: mutants.spoiled_text(chance.choice(profiles), chance), _written("profile.yaml", profiled),
            lambda _, place: injected("--kill-cores", "1", "--profile", str(place / "profile.yaml")),
        ),
        "defect maps": Reader(
            80, mutants.defect_map, _written("defects.yaml", faults.load_defects),
            lambda _, place: injected("--defects", str(place / "defects.yaml")),
        ),
        "plans": Reader(80, lambda chance: mutants.spoiled_plan(plan, chance), _written("plan.npz", planned)),
        "NIR": Reader(
            100, lambda chance: mutants.spoiled_nir(chance.choice(nirs), chance), _written("network.nir", spiking),
            lambda _, place: ["convert", str(place / "network.nir"), str(place / "out.nir")],
        ),
        "state dicts": Reader(
            110, lambda chance: mutants.spoiled_state(chance.choice(states), chance),
            _written("weights.pt", lambda path: user_network("fuzz_net:net", path)),
            lambda _, place: [*injected("--kill-cores", "1"), "--weights", str(place / "weights.pt")],
        ),
        "IDX": Reader(30, lambda chance: mutants.spoiled_images(idx[spoiled_idx], chance), _written(spoiled_idx, images)),
        "CIFAR": Reader(
            20, lambda chance: mutants.spoiled_archive(cifar, chance),
            _written(CIFAR_ARCHIVE, lambda path: read_cifar_set(path.parent, (3, 32, 32), 10)),
        ),
        "own data": Reader(
            60, lambda chance: own.spoiled_npz(chance.choice(npzs), chance), _written("own.npz", lambda path: load(str(path))),
            lambda _, place: ["inject", "--network", "fuzz_net:net", "--draws", "1", "--kill-cores", "1", "--data", str(place / "own.npz")],
        ),
        "netx": Reader(
            60, lambda chance: mutants.spoiled_nir(chance.choice(nets), chance), _written("network.net", integers),
            lambda _, place: ["convert", str(place / "network.net"), str(place / "out.nir")],
        ),
        **recordings,
        "recordings in HDF5": Reader(
            30, lambda chance: mutants.spoiled_nir(shd, chance), _written("own.h5", lambda path: load(str(path), binning=binning))
        ),
        "journals": Reader(30, mutants.spoiled_journal, _written("journal.jsonl", journal)),
        "resolved.json": Reader(
            20, lambda chance: mutants.spoiled_json(resolved, chance), _written("resolved.json", campaign),
            lambda _, place: ["campaign", "check", str(place / "resolved.json")],
        ),
    }  # fmt: skip


def warm() -> None:
    """Import what readers import when they get so far, so that workers, which are forks of this process, need not each do it."""
    for name in ("convert.nir_check", "convert.nir_network", "convert.snntorch_model", "convert.torch_model"):
        importlib.import_module(f"neurofault.{name}")


def mutant_of(readers: dict[str, Reader], name: str, seed: int, number: int) -> bytes:
    """Return one mutant."""
    return readers[name].make(random.Random(f"{seed}:{name}:{number}"))


@dataclass
class Tally:
    """What came of the mutants of one reader.

    Attributes:
        refused, accepted, tracebacks, hangs, crashes: numbers of mutants.
        slowest: processor time of the slowest one, in seconds.
        grown: bytes by which the memory of a worker grew at most.
        failures: last line of a traceback → number of the first mutant, how often.
    """

    refused: int = 0
    accepted: int = 0
    tracebacks: int = 0
    hangs: int = 0
    crashes: int = 0
    slowest: float = 0.0
    grown: int = 0

    def add(self, other: Tally) -> None:
        """Take over what another batch found."""
        for name in ("refused", "accepted", "tracebacks", "hangs", "crashes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest, self.grown = max(self.slowest, other.slowest), max(self.grown, other.grown)


def _cpu() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _work(readers: dict[str, Reader], name: str, seed: int, numbers: range, folder: Path, at: Any, answers: Any) -> None:
    """Read mutants one after the other; say at each what it is at, and at the end what came of them."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-".replace(" ", "-"), dir=folder))
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("error", RuntimeWarning)
    warnings.simplefilter("error", UserWarning)
    warnings.simplefilter("ignore", NeurofaultWarning)  # what is taken with a word
    hdf5_file.sent_by_child = forked
    statm = Path("/proc/self/statm")
    if statm.exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    tally, failures = Tally(), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in numbers:
        at.value = number
        began = _cpu()
        try:
            mutant = mutant_of(readers, name, seed, number)
            began = _cpu()
            readers[name].read(mutant, folder)
            tally.accepted += 1
        except NeurofaultError as error:
            if not str(error).strip() or max(map(len, str(error).split("\n"))) > 3000:
                failures.append((number, f"a refusal of {len(str(error)):,} characters"))
            tally.refused += 1
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = next((frame for frame in reversed(frames) if "neurofault" in frame.filename), frames[-1])
            failures.append(
                (number, f"{type(error).__name__}: {' '.join(str(error).split())[:150]} at {Path(own.filename).name}:{own.lineno}")
            )
        seconds = _cpu() - began
        tally.hangs += seconds > HANG
        tally.slowest = max(tally.slowest, seconds)
    tally.tracebacks = len(failures)
    tally.grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << (0 if sys.platform == "darwin" else 10)
    answers.send((tally, failures, list(Path().rglob(CANARY)) != []))


@dataclass(eq=False)
class _Batch:
    """A worker process and its mutants."""

    name: str
    numbers: range
    process: Any
    at: Any
    answers: Any
    idle: float = 0.0
    last: int = -1


def fuzz(
    readers: dict[str, Reader], counts: dict[str, int], seed: int, workers: int, folder: Path
) -> tuple[dict[str, Tally], dict[str, Any], bool]:
    """Read so many mutants of each kind.

    Args:
        readers: by name.
        counts: name → number of mutants.
        seed: of the mutants.
        workers: processes at a time.
        folder: to work in.

    Returns:
        What came of each kind; what failed → (reader, number of the first mutant, how often); whether anything was run.
    """
    fork = mp.get_context("fork")
    waiting = [
        (name, range(first, min(first + BATCH, count))) for name, count in counts.items() for first in range(0, count, BATCH)
    ]
    random.Random(seed).shuffle(waiting)
    tallies = {name: Tally() for name in counts}
    failures: dict[str, Any] = {}
    running: list[_Batch] = []
    executed = False

    def failed(name: str, number: int, text: str) -> None:
        kept = failures.setdefault(f"{name}: {text}", [number, 0])
        kept[1] += 1
        if kept[1] == 1:
            print(f"{name} {number}: {text}", file=sys.stderr)

    while waiting or running:
        while waiting and len(running) < workers:
            name, numbers = waiting.pop()
            at, (receiving, sending) = fork.Value("q", numbers.start - 1), fork.Pipe(False)
            process = fork.Process(target=_work, args=(readers, name, seed, numbers, folder, at, sending))
            process.start()
            sending.close()
            running.append(_Batch(name, numbers, process, at, receiving))
        began = time.monotonic()
        time.sleep(0.05)
        waited = min(time.monotonic() - began, 0.5)
        for batch in [*running]:
            now = batch.at.value
            batch.idle = batch.idle + waited if now == batch.last else 0.0
            batch.last = now
            if batch.answers.poll():
                try:
                    tally, found, ran = batch.answers.recv()
                except EOFError:
                    batch.process.join()
                else:
                    tallies[batch.name].add(tally)
                    finished = sum(one.refused + one.accepted + one.tracebacks for one in tallies.values())
                    print(f"{finished:,} read, {len(failures)} kinds of failures", file=sys.stderr)
                    executed |= ran
                    for number, text in found:
                        failed(batch.name, number, text)
                    batch.process.join()
                    running.remove(batch)
                    continue
            stuck = batch.idle > STUCK
            if stuck or not batch.process.is_alive():
                if batch.process.is_alive():
                    batch.process.kill()
                batch.process.join()
                running.remove(batch)
                tallies[batch.name].hangs += stuck
                tallies[batch.name].crashes += not stuck
                failed(batch.name, now, "hangs" if stuck else f"ends the process ({batch.process.exitcode})")
                # what the worker had done is done again without the culprit, so that nothing is counted twice
                waiting += [
                    (batch.name, part) for part in (range(batch.numbers.start, now), range(now + 1, batch.numbers.stop)) if part
                ]
    return tallies, failures, executed


def through_the_command_line(readers: dict[str, Reader], sample: int, seed: int, folder: Path) -> dict[str, Any]:
    """Read a sample of mutants as a user would: exit code 0 or 2, no traceback, within 60 s of processor time and 4 GB."""
    codes: Counter[str] = Counter()
    wrong: list[str] = []
    place = folder / "cli"
    place.mkdir()
    (place / "fuzz_net.py").write_text(NETWORK)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4_000_000 << 10, 4_000_000 << 10))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    verbs = {name: reader for name, reader in readers.items() if reader.command is not None}
    for number in range(sample):
        name = [*verbs][number % len(verbs)]
        mutant = mutant_of(readers, name, seed, number)
        for file in (
            "campaign.yaml",
            "profile.yaml",
            "defects.yaml",
            "network.nir",
            "network.net",
            "own.npz",
            "weights.pt",
            "resolved.json",
        ):
            (place / file).write_bytes(mutant)
        command = verbs[name].command
        assert command is not None
        words = [sys.executable, "-m", "neurofault", *command(mutant, place)]
        try:
            done = subprocess.run(words, cwd=place, capture_output=True, check=False, timeout=900, preexec_fn=limit)
        except subprocess.TimeoutExpired:
            codes["timeout"] += 1
            wrong.append(f"{name} {number}: over 900 s")
            continue
        codes[str(done.returncode)] += 1
        if b"Traceback" in done.stderr or done.returncode not in (0, 2) or (done.returncode == 2 and not done.stderr):
            wrong.append(f"{name} {number}: {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-400:]}")
    return {"mutants": sample, "exit_codes": dict(codes), "wrong": wrong, "executed": bool([*place.rglob(CANARY)])}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=5000)
    parser.add_argument("--reader", help="one kind only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cli", type=int, default=0, help="mutants for the real command line")
    parser.add_argument("--keep", type=Path, help="folder for the first mutant of each failure")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warm()
    json_file, keep = (None if path is None else path.absolute() for path in (options.json, options.keep))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        readers = all_readers(folder)
        if options.reader is not None and options.reader not in readers:
            parser.error(f"--reader: one of {', '.join(readers)}")
        chosen = {options.reader: readers[options.reader]} if options.reader else readers
        total = sum(reader.share for reader in chosen.values())
        counts = {name: -(-options.mutants * reader.share // total) for name, reader in chosen.items()}
        tallies, failures, executed = fuzz(readers, counts, options.seed, options.workers, folder)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for text, (number, _) in failures.items():
                name = text.partition(":")[0]
                (keep / f"{name}-{number}".replace(" ", "-")).write_bytes(mutant_of(readers, name, options.seed, number))
        for text, (number, times) in sorted(failures.items(), key=lambda item: -item[1][1]):
            print(f"\n{times} × {text} (first: {number})", file=sys.stderr)
        whole = Tally()
        for tally in tallies.values():
            whole.add(tally)
        answer = {
            "seed": options.seed, "mutants": sum(counts.values()), "executed": executed, "whole": _plain(whole),
            "readers": {name: {"mutants": counts[name], **_plain(tally)} for name, tally in tallies.items()}, "cli": None,
            "machine": machine(),
        }  # fmt: skip
        _save(answer, json_file)
        wrong = bool(executed or failures or whole.hangs)
        if options.cli:
            cli = through_the_command_line(chosen, options.cli, options.seed, folder)
            answer |= {"executed": executed or cli["executed"], "cli": cli}
            wrong |= bool(cli["wrong"] or cli["executed"])
            _save(answer, json_file)
    print(json.dumps(answer, indent=1))
    return int(wrong)


def _save(answer: dict[str, Any], target: Path | None) -> None:
    if target is not None:
        target.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


def _plain(tally: Tally) -> dict[str, Any]:
    return {
        "refused": tally.refused, "accepted": tally.accepted, "tracebacks": tally.tracebacks, "hangs_over_5_s": tally.hangs, "crashes": tally.crashes,
        "slowest_processor_second": round(tally.slowest, 2), "memory_growth_megabytes": tally.grown >> 20,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
