"""Lava process models in which something is broken; they run in place of Lava's own ``fixed_pt`` models.

Neurons call Lava's own step and change what it reads and sends. Connections compute their sums from the stored weights, because Lava's models keep
weights in forms (a kernel, a matrix without delays) that cannot hold every fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import SetField
from neurofault.damage.fold_neurons import NeuronsNow
from neurofault.engines.on_lava.shim import require_lava
from neurofault.lava.broken import KEY, BrokenNeurons, BrokenTraffic, Windows

require_lava()

from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.model.py.model import PyLoihiProcessModel  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.conv.models import PyConvModelFixed  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.io.source import PySendModelFixed, RingBuffer  # noqa: E402
from lava.proc.lif.models import PyLifModelBitAcc  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.sparse.models import PySparseModelBitAcc  # noqa: E402
from lava.proc.sparse.process import Sparse  # noqa: E402

_FIELDS = {"vth": "vth", "du": "du", "dv": "dv", "bias_mantissa": "bias_mant"}


@implements(proc=LIF, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BrokenLif(PyLifModelBitAcc):  # type: ignore[misc]  # Lava has no types
    """Lava's ``LIF`` with broken neurons: parameters, state and output change around Lava's own step."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.own: BrokenNeurons = proc_params[KEY]
        self.windows = Windows(self.own.fold.edits, self.own.clock)
        self.healthy: dict[str, NDArray[np.int64]] = {}
        self.altered = set[str]()
        for edit in self.own.fold.edits:
            self.altered |= {edit.field} if isinstance(edit, SetField) else edit.does & {"du", "dv", "vth", "bias_mantissa"}
        self.now: tuple[int, int] | None = None
        self.neurons: NeuronsNow | None = None

    def run_spk(self) -> None:
        """Start a sample if it is time, change what is broken in this step, and do Lava's step."""
        self.now = self.own.clock.now(self.time_step)
        if self.now is not None:
            if self.now[1] == 0 and self.own.clock.period is not None:
                self.u[:], self.v[:] = 0, self.own.start
            self.neurons = self.own.fold.at(self.windows.active(self.now), {name: self.base(name) for name in _FIELDS})
            self.change(self.neurons)
        super().run_spk()

    def change(self, neurons: NeuronsNow) -> None:
        """Flip bits of the state and set the parameters of this step."""
        order = self.own.order
        u, v = (state.reshape(-1)[order] for state in (self.u, self.v))
        neurons.upset(u, v)
        self.u.reshape(-1)[order], self.v.reshape(-1)[order] = u, v
        for name in self.altered:
            value = np.empty(order.size, np.int64)
            value[order] = getattr(neurons, name)
            shaped = value.reshape(self.v.shape)
            if name == "bias_mantissa":
                self.bias_mant[:] = shaped.astype(np.int16)
            else:
                setattr(self, name, shaped)
        if "vth" in self.altered:
            self.isthrscaled = False

    def base(self, field: str) -> NDArray[np.int64]:
        """Return int64 [n], in the population's order: a parameter as it is without faults."""
        if field not in self.healthy:
            value = np.broadcast_to(np.asarray(getattr(self, _FIELDS[field])), self.v.shape)
            self.healthy[field] = value.astype(np.int64).reshape(-1)[self.own.order]
        return self.healthy[field]

    def reset_voltage(self, spike_vector: NDArray[np.bool_]) -> None:
        """Reset who fired; then what is silent has no state and no spike, and what is forced leaves (``spike_vector`` is sent)."""
        super().reset_voltage(spike_vector)
        if self.now is None or self.neurons is None:
            return
        hit = self.own.order[self.neurons.silent]
        self.u.reshape(-1)[hit] = self.v.reshape(-1)[hit] = 0
        self.own.let_out(self.neurons, self.now[1], spike_vector.reshape(-1))


@implements(proc=RingBuffer, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BrokenSource(PySendModelFixed):  # type: ignore[misc]  # Lava has no types
    """Lava's source of recorded spikes, some of whose lines are broken."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.own: BrokenNeurons = proc_params[KEY]
        self.windows = Windows(self.own.fold.edits, self.own.clock)

    def run_spk(self) -> None:
        """Send the recorded spikes of this step as they leave."""
        spikes = self.data[..., (self.time_step - 1) % self.data.shape[-1]].copy()
        now = self.own.clock.now(self.time_step)
        if now is not None:
            self.own.let_out(self.own.fold.at(self.windows.active(now)), now[1], spikes.reshape(-1))
        self.s_out.send(spikes)


def _step(model: Any) -> None:
    """Do a connection's step: send what is due, take the spikes of this step."""
    if model.traffic is None:
        model.traffic = BrokenTraffic(model.proc_params[KEY])
    model.a_out.send(model.traffic.due(model.time_step).reshape(model.a_out.shape))
    model.traffic.take(model.time_step, model.s_in.recv())


@implements(proc=Dense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BrokenDense(PyDenseModelBitAcc):  # type: ignore[misc]  # Lava has no types
    """Lava's ``Dense`` with broken synapses."""

    traffic: BrokenTraffic | None = None

    def run_spk(self) -> None:
        """See :func:`_step`."""
        _step(self)


@implements(proc=DelayDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BrokenDelayDense(PyDelayDenseModelBitAcc):  # type: ignore[misc]  # Lava has no types
    """Lava's ``DelayDense`` with broken synapses."""

    traffic: BrokenTraffic | None = None

    def run_spk(self) -> None:
        """See :func:`_step`."""
        _step(self)


@implements(proc=Sparse, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BrokenSparse(PySparseModelBitAcc):  # type: ignore[misc]  # Lava has no types
    """Lava's ``Sparse`` with broken synapses."""

    traffic: BrokenTraffic | None = None

    def run_spk(self) -> None:
        """See :func:`_step`."""
        _step(self)


@implements(proc=Conv, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class BrokenConv(PyConvModelFixed):  # type: ignore[misc]  # Lava has no types
    """Lava's ``Conv`` with broken synapses."""

    traffic: BrokenTraffic | None = None

    def run_spk(self) -> None:
        """See :func:`_step`."""
        _step(self)


MODELS: Mapping[type[AbstractProcess], type[PyLoihiProcessModel]] = {
    LIF: BrokenLif,
    RingBuffer: BrokenSource,
    Dense: BrokenDense,
    DelayDense: BrokenDelayDense,
    Sparse: BrokenSparse,
    Conv: BrokenConv,
}
"""Which model runs a broken process of each class."""
