"""The Lava engine: a deployment as a graph of Lava 0.10 processes, really run by Lava's own ``fixed_pt`` models.

Lava's runtime is a set of forked processes that wait for each other: where one of them dies, the others may wait for ever, and a
fork of a process with threads may hang. So each run is an operating-system process of its own, watched from here, and ended with
all that it started when it makes no progress.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurofault.activity import TRACES, Activity, Traces, gather, scores_from
from neurofault.damage.fold_neurons import silent_at_the_end
from neurofault.deploy.deployment import Deployment
from neurofault.engines.base import whole_runs_only
from neurofault.engines.on_lava.plan import JOB, PROGRESS, Job, plan, unfit
from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import EngineError, StalledError
from neurofault.inputs import Inputs, State

_KINDS = {"u": np.int32, "v": np.int32, "spikes": np.bool_}
_RECORD_BYTES = 256 << 20
_POLL = 0.05
_LAST_WORDS = 2000
_CHILD = "import sys; sys.path[:] = {path!r}\nfrom neurofault.engines.on_lava.graph import main\nmain({folder!r})"


@dataclass(frozen=True)
class LavaEngine:
    """Runs a deployment in Lava, a sample after the other (some hundred steps a second).

    Attributes:
        patience: seconds without progress after which Lava is taken to hang.
        name: the engine's.
    """

    patience: float = 120.0
    name: str = "lava"

    def __post_init__(self) -> None:
        require_lava()

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine can run the deployment, else the reason, naming the connection."""
        return unfit(deployment)

    def run(
        self,
        deployment: Deployment,
        inputs: Inputs,
        *,
        record: Collection[str] = (),
        state: State | None = None,
        stop: int | None = None,
    ) -> Activity:
        """Present every sample for T steps (see :class:`neurofault.engines.base.Engine`).

        Raises:
            StalledError: a hung core stops the chip.
            UnsupportedError: a state or a stop is given.
            EngineError: Lava failed or made no progress for ``patience`` seconds; the text ends with its last words.
        """
        whole_runs_only(self.name, state, stop)
        hung = deployment.damage.stalled(inputs.first_sample + len(inputs), deployment.timesteps, deployment.schedule.depth)
        if hung:
            raise StalledError(f"the chip stalls: core {', '.join(map(str, hung))} hangs and the mesh waits for it")
        a_sample = deployment.timesteps * sum(own.size * (1 + 4 * len(record)) for own in deployment.populations)
        chunk = max(1, _RECORD_BYTES // a_sample)
        windows = [slice(start, start + chunk) for start in range(0, len(inputs), chunk)]
        chunks = [inputs[window] for window in windows]
        parts = [self._run_part(deployment, plan(deployment, chunk), record, chunk.first_sample) for chunk in chunks]
        names = [own.name for own in deployment.populations]
        return Activity(
            np.concatenate([part.scores for part in parts]),
            {name: np.sum([part.spike_counts[name] for part in parts], axis=0) for name in names},
            np.concatenate([part.sample_spikes for part in parts]),
            {name: _joined([part.traces[name] for part in parts]) for name in (names if record else ())},
        )

    def _run_part(self, deployment: Deployment, job: Job, record: Collection[str], first_sample: int) -> Activity:
        with tempfile.TemporaryDirectory(prefix="neurofault-lava-") as name:
            folder = Path(name)
            for place, population in enumerate(job.populations):
                for state in {"spikes", *record, *(("v",) if population.name == deployment.readout.population else ())}:
                    kind, shape = _KINDS[state], (job.samples, job.timesteps, population.start.size)
                    sheet = np.lib.format.open_memmap(folder / f"{place}-{state}.npy", "w+", kind, shape)  # type: ignore[no-untyped-call]  # untyped in NumPy
                    if place in job.events and state == "spikes":
                        sheet[:] = job.events[place]
            (folder / JOB).write_bytes(pickle.dumps(job))
            self._watch(folder)
            return _collect(deployment, job, folder, record, first_sample)

    def _watch(self, folder: Path) -> None:
        """Run the job in ``folder``; end it, and all that it started, if it hangs."""
        code = _CHILD.format(path=sys.path, folder=str(folder))
        log, progress = folder / "log", folder / PROGRESS
        with log.open("wb") as out:
            child = subprocess.Popen(
                [sys.executable, "-c", code], stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        seen, since = "0", time.monotonic()
        try:
            while child.poll() is None:
                now = progress.read_text() if progress.exists() else "0"
                if now != seen:
                    seen, since = now, time.monotonic()
                if time.monotonic() - since > self.patience:
                    raise EngineError(_report(f"no progress for {self.patience:g} seconds after {seen} samples", log))
                time.sleep(_POLL)
        finally:
            _end(child)
        if child.returncode:
            raise EngineError(_report(f"Lava ended with exit code {child.returncode}", log))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started: Lava's processes are in its group."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.wait()


def _report(what: str, log: Path) -> str:
    words = log.read_text(errors="replace")[-_LAST_WORDS:].strip() or "(none)"
    return f"engine 'lava': {what}; last words:\n{words}"


def _collect(deployment: Deployment, job: Job, folder: Path, record: Collection[str], first_sample: int) -> Activity:
    """Read what the processes recorded."""
    names = [own.name for own in deployment.populations]
    trains = [np.load(folder / f"{place}-spikes.npy", mmap_mode="r") for place in range(len(names))]
    read = names.index(deployment.readout.population)
    v, readout = np.load(folder / f"{read}-v.npy", mmap_mode="r"), deployment.readout
    steps, potential = readout.steps(job.timesteps), np.zeros(v.shape[::2], np.int64)
    for step in steps:
        gather(potential, v[:, step], readout.how, first=step == steps.start)
    dead = silent_at_the_end(deployment, first_sample, job.samples)
    traces = {
        name: Traces(**{state: np.load(folder / f"{place}-{state}.npy") for state in record})
        for place, name in enumerate(names)
        if record
    }
    return Activity(
        scores_from(potential, trains[read][:, steps.start : steps.stop].sum(axis=1, dtype=np.int64), readout.how, dead),
        {name: train.sum(axis=(0, 1), dtype=np.int64) for name, train in zip(names, trains, strict=True)},
        np.sum([train.sum(axis=(1, 2), dtype=np.int64) for train in trains], axis=0),
        traces,
    )


def _joined(parts: list[Traces]) -> Traces:
    """Put the traces of consecutive samples one after the other."""
    kept = [state for state in TRACES if getattr(parts[0], state) is not None]
    return Traces(**{state: np.concatenate([getattr(part, state) for part in parts]) for state in kept})
