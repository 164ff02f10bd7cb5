"""A deployment as a graph of Lava processes, and the program that runs it in an operating-system process of its own.

Neurons are Lava's ``LIF``, synapses its ``Dense``, ``Sparse`` and ``DelayDense``, in their ``fixed_pt`` models: the arithmetic is
Lava's, and so is the sum of what several connections bring to one ``LIF``. The models are extended around Lava's own step, which they
call: :class:`SampledLif` starts each sample (u = 0, v = v_init and the sample's bias), applies faults and writes down what happens;
connections hold spikes back where they take more than Lava's one step, forget what is on its way when a sample ends, and apply faults.
Samples run one after the other; a population handles sample k in Lava's steps kT + phase + 1 … (k + 1)T + phase.
"""

from __future__ import annotations

import pickle
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.engines.on_lava.plan import JOB, PROGRESS, Job, LavaConnection, LavaPopulation
from neurofault.engines.on_lava.shim import require_lava
from neurofault.graph.arithmetic import STATE_LIMIT

require_lava()

from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.models import PyLifModelBitAcc  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.sparse.models import PySparseModelBitAcc  # noqa: E402
from lava.proc.sparse.process import Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402

_SIGN_MODES = {"mixed": SignMode.MIXED, "excitatory": SignMode.EXCITATORY, "inhibitory": SignMode.INHIBITORY}


@implements(proc=LIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SampledLif(PyLifModelBitAcc):  # type: ignore[misc]  # Lava ships no types
    """Lava's ``LIF`` that starts each sample afresh, suffers faults and records itself; the step itself is Lava's ``run_spk``.

    Laws that Lava has not (:class:`neurofault.graph.law.Law`) are put around Lava's dynamics.

    Process parameters: ``population``, ``samples`` and ``period`` (N, T), ``record`` (state → .npy file [N, T, n]).
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.population: LavaPopulation = proc_params["population"]
        self.record: dict[str, NDArray[Any]] | None = None
        self.now: tuple[int, int] | None = None
        self.waiting = np.zeros(self.population.start.shape, np.int64)
        self.kept = np.zeros(self.population.start.shape, bool)

    def run_spk(self) -> None:
        """Do Lava's step: before it, start a sample if it is time and change what faults change; after it, record."""
        if self.record is None:
            self.record = {name: np.load(path, mmap_mode="r+") for name, path in self.proc_params["record"].items()}
        sample, step = divmod(self.time_step - 1 - self.population.phase, self.proc_params["period"])
        self.now = (sample, step) if 0 <= sample < self.proc_params["samples"] else None
        if self.now is not None:
            if step == 0:
                self.u[:], self.v[:], self.waiting[:] = 0, self.population.start, 0
            self.change(sample, step)
        super().run_spk()
        if self.now is not None:
            state = {"u": self.u, "v": self.v, "spikes": self.s_out_buff}
            for name, sheet in self.record.items():
                sheet[sample, step] = state[name]

    def change(self, sample: int, step: int) -> None:
        """Set the bias of this step, and the state and parameters that faults alter in it."""
        own = self.population
        given = own.bias[sample if len(own.bias) > 1 else 0]
        damage = own.damage.one(sample, step)
        damage.upset(self.u, self.v)
        mantissa = damage.mantissa(own.damage.noisy(given, step, sample) if own.noisy else None)
        self.du, self.dv, self.vth = damage.du, damage.dv, damage.vth
        self.isthrscaled = False
        self.bias_mant[:] = mantissa.astype(np.int16)
        np.copyto(self.waiting, damage.counter, where=damage.counter >= 0)
        self.kept = damage.kept

    def subthr_dynamics(self, activation_in: NDArray[np.int32]) -> None:
        """Move u and v; a reset of the step before comes first, a floor and refractory neurons after."""
        law, before = self.population.law, self.v.copy()
        above = ~self.kept & (self.v > self.effective_vth) if law.delayed else np.zeros(self.v.shape, bool)
        if law.reset == "zero":
            self.v[above] = 0
        elif law.reset == "subtract":
            self.effective_bias: NDArray[np.int32] = (self.effective_bias - np.where(above, self.effective_vth, 0)).astype(np.int32)
        super().subthr_dynamics(activation_in)
        if law.floor is not None:
            np.maximum(self.v, law.floor, out=self.v)
        self.v[self.waiting > 0] = before[self.waiting > 0]

    def spiking_activation(self) -> NDArray[np.bool_]:
        """Return who fires."""
        fired: NDArray[np.bool_] = super().spiking_activation() & (self.waiting == 0)
        return fired

    def reset_voltage(self, spike_vector: NDArray[np.bool_]) -> None:
        """Reset who fired; then what is silent has no state and no spike, and what is forced leaves (``spike_vector`` is sent)."""
        law, reset = self.population.law, spike_vector & ~self.kept
        if not law.delayed and law.reset == "zero":
            super().reset_voltage(reset)
        elif not law.delayed and law.reset == "subtract":
            left = self.v.astype(np.int64) - self.effective_vth
            self.v[reset] = np.minimum(left, STATE_LIMIT - 1)[reset]
        refractory = 0 if law.refractory is None else law.refractory
        self.waiting = np.where(self.waiting > 0, self.waiting - 1, np.where(spike_vector, refractory, 0))
        if self.now is not None:
            damage = self.population.damage.one(*self.now)
            self.u[damage.silent] = self.v[damage.silent] = self.waiting[damage.silent] = 0
            spike_vector[:] = damage.let_out(spike_vector, self.now[1])


class _HeldBack:
    """An in-port that gives spikes some steps after they came, and none of them while it is closed."""

    def __init__(self, port: Any, waits: int) -> None:
        self.port, self.closed = port, False
        self.waiting = deque([np.zeros(port.shape, np.int32)] * waits)

    def recv(self) -> NDArray[np.int32]:
        """Take the spikes of this step in and give those that are due."""
        self.waiting.append(self.port.recv())
        due = self.waiting.popleft()
        return np.zeros_like(due) if self.closed else due


def _begin(model: Any) -> tuple[int, int]:
    """Return the sample and step in which the target sees what arrives now; let nothing in that was sent in another sample.

    Process parameters: ``wires``, ``samples`` and ``period`` (N, T).
    """
    wires: LavaConnection = model.proc_params["wires"]
    sample, step = divmod(model.time_step - wires.phase, model.proc_params["period"])
    if wires.waits or wires.lag:
        if not isinstance(model.s_in, _HeldBack):
            model.s_in = _HeldBack(model.s_in, wires.waits)
        model.s_in.closed = step < wires.lag
    return sample, step


@implements(proc=Dense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SampledDense(PyDenseModelBitAcc):  # type: ignore[misc]  # Lava ships no types
    """Lava's ``Dense`` whose spikes may come later and stay in their sample; the step is Lava's ``run_spk``."""

    def run_spk(self) -> None:
        """Do Lava's step with what is due."""
        _begin(self)
        super().run_spk()


@implements(proc=Sparse, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SampledSparse(PySparseModelBitAcc):  # type: ignore[misc]  # Lava ships no types
    """Lava's ``Sparse`` whose spikes may come later and stay in their sample; the step is Lava's ``run_spk``."""

    def run_spk(self) -> None:
        """Do Lava's step with what is due."""
        _begin(self)
        super().run_spk()


@implements(proc=DelayDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SampledDelayDense(PyDelayDenseModelBitAcc):  # type: ignore[misc]  # Lava ships no types
    """Lava's ``DelayDense`` that forgets what is on its way when a sample ends and suffers faults; the step is Lava's ``run_spk``."""

    def run_spk(self) -> None:
        """Do Lava's step, before it keep of older spikes only what arrives right now, if a sample starts, and apply faults."""
        sample, step = _begin(self)
        wires: LavaConnection = self.proc_params["wires"]
        if step == 0:
            self.a_buff[:, 1:] = 0
        if wires.rewired is not None and 0 <= sample < self.proc_params["samples"]:
            self.weights, self.delays = wires.weights.copy(), wires.delays.copy()  # type: ignore[union-attr]  # never None where there is something to rewire
            broken = wires.rewired.broken
            held = broken.held(int(broken.which[sample, step]))
            self.weights[broken.targets, broken.sources] = held.weights
            self.delays[broken.targets, broken.sources] = held.delays
            for drop, lost in wires.rewired.drops:
                self.weights[np.ix_(drop.targets, drop.sources[lost[sample, step]])] = 0
        super().run_spk()


MODELS = {LIF: SampledLif, Dense: SampledDense, Sparse: SampledSparse, DelayDense: SampledDelayDense}
"""Which model runs in place of Lava's own (``exception_proc_model_map`` of a run configuration)."""


def connection(wires: LavaConnection, samples: int, period: int) -> AbstractProcess:
    """Return the Lava process of a connection."""
    stored = {"weight_exp": wires.exponent, "num_weight_bits": wires.bits, "sign_mode": _SIGN_MODES[wires.sign_mode]}
    timing = {"wires": wires, "samples": samples, "period": period}
    if isinstance(wires.weights, sparse.csr_matrix):
        return Sparse(weights=wires.weights, **timing, **stored)
    if wires.delays is None:
        return Dense(weights=wires.weights, **timing, **stored)
    return DelayDense(weights=wires.weights, delays=wires.delays, max_delay=wires.max_delay, **timing, **stored)


def neurons(population: LavaPopulation, samples: int, period: int, record: dict[str, str]) -> AbstractProcess:
    """Return the Lava process of a population."""
    return LIF(
        shape=population.start.shape,
        v=population.start,
        du=population.du,
        dv=population.dv,
        vth=population.vth,
        bias_mant=population.bias[0].astype(np.int16),
        bias_exp=population.bias_exponent,
        population=population,
        samples=samples,
        period=period,
        record=record,
    )


def build(job: Job, folder: Path) -> list[AbstractProcess]:
    """Build and join all processes of a job; what is recorded of a population has a file ``folder/{place}-{state}.npy``.

    Returns:
        a process of each part that is joined to no other.
    """
    processes = [_population(job, place, folder) for place in range(len(job.populations))]
    part = list(range(len(processes)))
    for wires in job.wires:
        synapses = connection(wires, job.samples, job.timesteps)
        processes[wires.source].s_out.connect(synapses.s_in)
        synapses.a_out.connect(processes[wires.target].a_in)
        joined, other = part[wires.source], part[wires.target]
        part = [joined if own == other else own for own in part]
    return [processes[part.index(own)] for own in dict.fromkeys(part)]


def _population(job: Job, place: int, folder: Path) -> AbstractProcess:
    if place in job.events:
        spikes = job.events[place].reshape(-1, job.events[place].shape[2])
        silence = np.zeros((job.depth + 1, spikes.shape[1]), bool)  # while the last samples pass through the other populations
        return RingBuffer(data=np.concatenate([spikes, silence]).T.astype(np.int32))
    files = {state: folder / f"{place}-{state}.npy" for state in ("u", "v", "spikes")}
    record = {state: str(path) for state, path in files.items() if path.exists()}
    return neurons(job.populations[place], job.samples, job.timesteps, record)


def main(place: str) -> None:
    """Run the job in the folder ``place``, a sample at a time, and note the progress."""
    folder = Path(place)
    job: Job = pickle.loads((folder / JOB).read_bytes())
    parts = build(job, folder)
    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    try:
        for sample in range(job.samples):
            rest = job.depth if sample == job.samples - 1 else 0
            for part in parts:
                part.run(condition=RunSteps(num_steps=job.timesteps + rest), run_cfg=config)
            (folder / PROGRESS).write_text(str(sample + 1))
    finally:
        for part in parts:
            part.stop()
