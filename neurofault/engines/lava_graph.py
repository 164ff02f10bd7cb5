"""A deployment as a graph of Lava processes, and the program that runs it in an operating-system process of its own.

Neurons are Lava's ``LIF``, synapses its ``Dense``, ``Sparse`` and ``DelayDense``, in their ``fixed_pt`` models: the arithmetic is
Lava's. Two of the models are extended without touching what they compute: :class:`SampledLif` starts each sample (u = 0, v = v_init
and the sample's bias) and writes down what happens, :class:`ClearedDelayDense` forgets what is on its way when a sample ends.
Samples run one after the other; layer l (input = 0) handles sample k in Lava's steps kT + l + 1 … (k + 1)T + l.
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
class SampledLif(PyLifModelBitAcc):  # type: ignore[misc]
    """Lava's ``LIF`` that starts each sample afresh and records itself; the step itself is Lava's ``run_spk``.

    Process parameters: ``first`` (Lava's step in which sample 0 starts), ``period`` (T), ``start`` (v of each neuron at a sample's
    start), ``bias`` (int16 [1 or N, n]), ``samples`` (N), ``record`` (state → .npy file [N, T, n]).
    """

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.record: dict[str, NDArray[Any]] | None = None

    def run_spk(self) -> None:
        """Start a sample if it is time, do Lava's step, record."""
        if self.record is None:
            self.record = {name: np.load(path, mmap_mode="r+") for name, path in self.proc_params["record"].items()}
        sample, own_step = divmod(self.time_step - self.proc_params["first"], self.proc_params["period"])
        running = 0 <= sample < self.proc_params["samples"]
        if running and own_step == 0:
            bias = self.proc_params["bias"]
            self.u[:] = 0
            self.v[:] = self.proc_params["start"]
            self.bias_mant[:] = bias[sample if len(bias) > 1 else 0]
        super().run_spk()
        if running:
            state = {"u": self.u, "v": self.v, "spikes": self.s_out_buff}
            for name, sheet in self.record.items():
                sheet[sample, own_step] = state[name]


@implements(proc=DelayDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ClearedDelayDense(PyDelayDenseModelBitAcc):  # type: ignore[misc]
    """Lava's ``DelayDense`` that forgets delayed spikes when its source starts a sample; the step itself is Lava's ``run_spk``.

    Process parameters: ``first`` (Lava's step in which the source starts sample 0), ``period`` (T).
    """

    def run_spk(self) -> None:
        """Keep only what arrives in this very step, the last one of the target's sample, if it is time; do Lava's step."""
        if (self.time_step - self.proc_params["first"]) % self.proc_params["period"] == 0:
            self.a_buff[:, 1:] = 0
        super().run_spk()


MODELS = {LIF: SampledLif, DelayDense: ClearedDelayDense}
"""Which model runs in place of Lava's own (``exception_proc_model_map`` of a run configuration)."""


def connection(wires: Wires, first: int, period: int) -> AbstractProcess:
    """Return the Lava process of a layer's synapses; its source starts sample 0 in Lava's step ``first``."""
    stored = {"weight_exp": wires.exponent, "num_weight_bits": wires.bits, "sign_mode": _SIGN_MODES[wires.sign_mode]}
    if isinstance(wires.weights, sparse.csr_matrix):
        return Sparse(weights=wires.weights, **stored)
    if wires.delays is None:
        return Dense(weights=wires.weights, **stored)
    return DelayDense(weights=wires.weights, delays=wires.delays, first=first, period=period, **stored)


def neurons(population: Population, first: int, samples: int, period: int, record: dict[str, str]) -> AbstractProcess:
    """Return the Lava process of a population that starts sample 0 in Lava's step ``first``."""
    return LIF(
        shape=population.start.shape,
        u=0,
        v=population.start,
        du=population.du,
        dv=population.dv,
        vth=population.vth,
        bias_mant=population.bias[0],
        bias_exp=population.bias_exponent,
        first=first,
        period=period,
        start=population.start,
        bias=population.bias,
        samples=samples,
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
            synapses = connection(population.wires, index, job.timesteps)
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
