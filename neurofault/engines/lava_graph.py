"""A deployment as a graph of Lava processes, and the program that runs it in an operating-system process of its own.

Neurons are Lava's ``LIF``, synapses its ``Dense``, ``Sparse`` and ``DelayDense``, in their ``fixed_pt`` models: the arithmetic is
Lava's. Two of the models are extended around Lava's own step, which they call: :class:`SampledLif` starts each sample (u = 0,
v = v_init and the sample's bias), applies faults and writes down what happens, :class:`SampledDelayDense` forgets what is on its way
when a sample ends and applies faults. Samples run one after the other; layer l (input = 0) handles sample k in Lava's steps
kT + l + 1 … (k + 1)T + l.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from neurofault.engines.lava_plan import JOB, PROGRESS, Job, Population, Wires
from neurofault.engines.lava_shim import require_lava

require_lava()

from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.dense.models import PyDelayDenseModelBitAcc  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import RingBuffer  # noqa: E402
from lava.proc.lif.models import PyLifModelBitAcc  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.sparse.process import Sparse  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402

_SIGN_MODES = {"mixed": SignMode.MIXED, "excitatory": SignMode.EXCITATORY, "inhibitory": SignMode.INHIBITORY}


@implements(proc=LIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SampledLif(PyLifModelBitAcc):  # type: ignore[misc]  # Lava ships no types
    """Lava's ``LIF`` that starts each sample afresh, suffers faults and records itself; the step itself is Lava's ``run_spk``.

    Process parameters: ``population``, ``first`` (Lava's step in which sample 0 starts), ``samples`` and ``period`` (N, T),
    ``record`` (state → .npy file [N, T, n]).
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.population: Population = proc_params["population"]
        self.record: dict[str, NDArray[Any]] | None = None
        self.now: tuple[int, int] | None = None

    def run_spk(self) -> None:
        """Do Lava's step: before it, start a sample if it is time and change what faults change; after it, record."""
        if self.record is None:
            self.record = {name: np.load(path, mmap_mode="r+") for name, path in self.proc_params["record"].items()}
        sample, step = divmod(self.time_step - self.proc_params["first"], self.proc_params["period"])
        self.now = (sample, step) if 0 <= sample < self.proc_params["samples"] else None
        if self.now is not None:
            if step == 0:
                self.u[:], self.v[:] = 0, self.population.start
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
        mantissa = damage.mantissa(own.damage.noisy(given, step, sample) if own.wires is None else None)
        self.du, self.dv, self.vth = damage.du, damage.dv, damage.vth
        self.isthrscaled = False
        self.bias_mant[:] = mantissa.astype(np.int16)

    def reset_voltage(self, spike_vector: NDArray[np.bool_]) -> None:
        """Reset who fired; then what is silent has no state and no spike, and what is forced leaves (``spike_vector`` is sent)."""
        super().reset_voltage(spike_vector)
        if self.now is not None:
            damage = self.population.damage.one(*self.now)
            self.u[damage.silent] = self.v[damage.silent] = 0
            spike_vector[:] = damage.let_out(spike_vector, self.now[1])


@implements(proc=DelayDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class SampledDelayDense(PyDelayDenseModelBitAcc):  # type: ignore[misc]  # Lava ships no types
    """Lava's ``DelayDense`` that forgets what is on its way when a sample ends and suffers faults; the step is Lava's ``run_spk``.

    Process parameters: ``wires``, ``first`` (Lava's step in which the source starts sample 0), ``samples`` and ``period`` (N, T).
    """

    def run_spk(self) -> None:
        """Do Lava's step, before it keep of older spikes only what arrives right now, if a sample starts, and apply faults."""
        wires: Wires = self.proc_params["wires"]
        sample, step = divmod(self.time_step - self.proc_params["first"], self.proc_params["period"])
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


MODELS = {LIF: SampledLif, DelayDense: SampledDelayDense}
"""Which model runs in place of Lava's own (``exception_proc_model_map`` of a run configuration)."""


def connection(wires: Wires, first: int, samples: int, period: int) -> AbstractProcess:
    """Return the Lava process of a layer's synapses; its source starts sample 0 in Lava's step ``first``."""
    stored = {"weight_exp": wires.exponent, "num_weight_bits": wires.bits, "sign_mode": _SIGN_MODES[wires.sign_mode]}
    if isinstance(wires.weights, sparse.csr_matrix):
        return Sparse(weights=wires.weights, **stored)
    if wires.delays is None:
        return Dense(weights=wires.weights, **stored)
    timing = {"first": first, "samples": samples, "period": period}
    return DelayDense(weights=wires.weights, delays=wires.delays, max_delay=wires.max_delay, wires=wires, **timing, **stored)


def neurons(population: Population, first: int, samples: int, period: int, record: dict[str, str]) -> AbstractProcess:
    """Return the Lava process of a population that starts sample 0 in Lava's step ``first``."""
    return LIF(
        shape=population.start.shape,
        v=population.start,
        du=population.du,
        dv=population.dv,
        vth=population.vth,
        bias_mant=population.bias[0].astype(np.int16),
        bias_exp=population.bias_exponent,
        population=population,
        first=first,
        samples=samples,
        period=period,
        record=record,
    )


def build(job: Job, folder: Path) -> AbstractProcess:
    """Build and join all processes of a job; return the last one. What is recorded has a file ``folder/{layer}-{state}.npy``."""
    last = None
    for index, population in enumerate(job.populations):
        if index == 0 and job.events is not None:
            spikes = job.events.reshape(-1, job.events.shape[2])
            silence = np.zeros(
                (len(job.populations), spikes.shape[1]), bool
            )  # while the last samples pass through the other layers
            last = RingBuffer(data=np.concatenate([spikes, silence]).T.astype(np.int32))
            continue
        files = {state: folder / f"{index}-{state}.npy" for state in ("u", "v", "spikes")}
        record = {state: str(path) for state, path in files.items() if path.exists()}
        process = neurons(population, index + 1, job.samples, job.timesteps, record)
        if population.wires is not None and last is not None:
            synapses = connection(population.wires, index, job.samples, job.timesteps)
            last.s_out.connect(synapses.s_in)
            synapses.a_out.connect(process.a_in)
        last = process
    assert last is not None
    return last


def main(place: str) -> None:
    """Run the job in the folder ``place``, a sample at a time, and note the progress."""
    folder = Path(place)
    job: Job = pickle.loads((folder / JOB).read_bytes())
    graph = build(job, folder)
    config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=MODELS)
    try:
        for sample in range(job.samples):
            rest = len(job.populations) - 1 if sample == job.samples - 1 else 0
            graph.run(condition=RunSteps(num_steps=job.timesteps + rest), run_cfg=config)
            (folder / PROGRESS).write_text(str(sample + 1))
    finally:
        graph.stop()
