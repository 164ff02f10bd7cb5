"""A (damaged) deployment as one hierarchical Lava process that drops into any graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurofault.damage.damage import Stall
from neurofault.deploy.deployment import Deployment
from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph.chip import ChipPopulation
from neurofault.graph.network import samples_apart
from neurofault.lava.broken import (
    KEY,
    BrokenNeurons,
    BrokenSynapses,
    BrokenTraffic,
    Clock,
    Windows,
    neurons_of,
    refuse_other_laws,
    synapses_of,
)
from neurofault.lava.models import BrokenLif

require_lava()

from lava.magma.core.decorator import implements, requires, tag  # noqa: E402
from lava.magma.core.model.py.model import PyLoihiProcessModel  # noqa: E402
from lava.magma.core.model.py.ports import PyInPort, PyOutPort  # noqa: E402
from lava.magma.core.model.py.type import LavaPyType  # noqa: E402
from lava.magma.core.model.sub.model import AbstractSubProcessModel  # noqa: E402
from lava.magma.core.process.ports.ports import InPort, OutPort  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.process.variable import Var  # noqa: E402
from lava.magma.core.resources import CPU  # noqa: E402
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402


class DeploymentProcess(AbstractProcess):  # type: ignore[misc]  # Lava ships no types
    """A chip with everything that is broken on it; make it with :func:`process`.

    Runs with ``Loihi2SimCfg(select_tag="fixed_pt")``. What leaves in step t of a sample leaves as many steps after the input's step t came
    in as the readout's phase says (:class:`neurofault.graph.Schedule`; in a chain, the number of connections).

    Attributes:
        s_in: int [n_in], C, H, W order: spikes in place of those of the input population; what is dead there stays silent.
        s_out: int [n_out]: spikes of the readout.
        v: int [n_out]: its potential (for the readout ``potential``, whose neurons never fire).
    """

    def __init__(self, *, deployment: Deployment, timesteps: int, first_step: int, name: str | None = None) -> None:
        super().__init__(deployment=deployment, timesteps=timesteps, first_step=first_step, name=name)
        output = deployment.output
        self.s_in = InPort(shape=(deployment.population(deployment.inputs[0]).size,))
        self.s_out = OutPort(shape=(output.size,))
        self.v = Var(shape=(output.size,), init=output.v_init)


def process(
    deployment: Deployment, *, timesteps: int | None = None, first_step: int = 1, name: str | None = None
) -> DeploymentProcess:
    """Return a (damaged) deployment as one Lava process with the ports ``s_in`` and ``s_out``.

    On the same input spikes it sends what the engines give for the readout: :func:`neurofault.run` with
    ``Inputs(events=…)`` [N, T, n_in] for N · T steps; every kind of damage acts as it does there.

    Args:
        deployment: the chip.
        timesteps: T, steps after which the next sample starts (u = 0, v = v_init, nothing on its way); None: the deployment's. To
            present one sample for ever, give more than you run.
        first_step: Lava's step in which the first spikes of sample 0 come in: 1 behind a source, 2 behind a source and a connection.
        name: of the process.

    Raises:
        UsageError: a number out of range, or a network without synapses.
        UnsupportedError: not one input, a readout that is the input, or state that is kept between samples; a core hangs, which would hang Lava; or Lava is not installed.
    """
    samples_apart(deployment, "a Lava process")
    for label, number in (("timesteps", timesteps), ("first_step", first_step)):
        if number is not None and number < 1:
            raise UsageError(f"{label} must be at least 1, is {number}")
    if len(deployment.populations) < 2:
        raise UsageError(f"deployment {deployment.name!r} has one layer; a process needs an input and an output")
    if len(deployment.inputs) != 1:
        names = f": {', '.join(deployment.inputs)}" if deployment.inputs else ""
        raise UnsupportedError(f"deployment {deployment.name!r} has {len(deployment.inputs)} inputs{names}; a process has one s_in")
    if deployment.output.is_source:
        raise UnsupportedError(
            f"deployment {deployment.name!r}: the readout {deployment.output.name!r} is the input; a process needs an output"
        )
    hung = sorted({core for edit in deployment.damage.edits if isinstance(edit, Stall) for core in edit.cores})
    if hung:
        raise UnsupportedError(f"core {', '.join(map(str, hung))} hangs, which stops the chip; no Lava graph can go on with it")
    refuse_other_laws(deployment)
    return DeploymentProcess(deployment=deployment, timesteps=timesteps or deployment.timesteps, first_step=first_step, name=name)


class ChipInput(AbstractProcess):  # type: ignore[misc]  # Lava ships no types
    """The input population of a :class:`DeploymentProcess`: lets the spikes through that leave it, in the same step."""

    def __init__(self, *, own: BrokenNeurons) -> None:
        super().__init__(**{KEY: own})
        self.s_in = InPort(shape=own.order.shape)
        self.s_out = OutPort(shape=own.order.shape)


class ChipSynapses(AbstractProcess):  # type: ignore[misc]  # Lava has no types
    """A connection of a :class:`DeploymentProcess`."""

    def __init__(self, *, own: BrokenSynapses) -> None:
        super().__init__(**{KEY: own})
        self.s_in = InPort(shape=own.order_in.shape)
        self.a_out = OutPort(shape=own.order_out.shape)


class ChipNeurons(LIF):  # type: ignore[misc]  # Lava has no types
    """A population of a :class:`DeploymentProcess`: Lava's ``LIF``."""


@implements(proc=ChipInput, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyChipInput(PyLoihiProcessModel):  # type: ignore[misc]  # Lava has no types
    """Runs :class:`ChipInput`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.own: BrokenNeurons = proc_params[KEY]
        self.windows = Windows(self.own.fold.edits, self.own.clock)

    def run_spk(self) -> None:
        """Pass the spikes on that leave."""
        spikes = (self.s_in.recv() != 0).astype(np.int32)
        now = self.own.clock.now(self.time_step)
        if now is not None:
            self.own.let_out(self.own.fold.at(self.windows.active(now)), now[1], spikes)
        self.s_out.send(spikes)


@implements(proc=ChipSynapses, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyChipSynapses(PyLoihiProcessModel):  # type: ignore[misc]  # Lava has no types
    """Runs :class:`ChipSynapses`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.traffic = BrokenTraffic(proc_params[KEY])

    def run_spk(self) -> None:
        """Send what is due, take the spikes of this step."""
        self.a_out.send(self.traffic.due(self.time_step))
        self.traffic.take(self.time_step, self.s_in.recv())


class PyChipNeurons(BrokenLif):
    """Runs :class:`ChipNeurons`: Lava's own step, with samples that restart and faults."""

    implements_process = ChipNeurons  # Lava's decorator refuses classes derived from other models


@implements(proc=DeploymentProcess, protocol=LoihiProtocol)
@tag("fixed_pt")
class DeploymentModel(AbstractSubProcessModel):  # type: ignore[misc]  # Lava has no types
    """Makes the processes inside a :class:`DeploymentProcess` and joins them."""

    def __init__(self, proc: AbstractProcess) -> None:
        deployment: Deployment = proc.proc_params["deployment"]
        period, first = proc.proc_params["timesteps"], proc.proc_params["first_step"]
        phase = deployment.schedule.phase
        orders = {own.name: np.arange(own.size, dtype=np.int64) for own in deployment.populations}
        populations: dict[str, AbstractProcess] = {}
        for place, own in enumerate(deployment.populations):
            clock = Clock(phase[own.name], first + phase[own.name], period)
            broken = neurons_of(deployment, own.name, clock, orders[own.name])
            populations[own.name] = ChipInput(own=broken) if own.is_source else _neurons(own, broken)
            setattr(self, f"layer{place}", populations[own.name])
        proc.in_ports.s_in.connect(populations[deployment.inputs[0]].in_ports.s_in)
        for place, one in enumerate(deployment.connections):
            arrives = Clock(phase[one.target], first + phase[one.target] - 1, period)
            synapses = ChipSynapses(own=synapses_of(deployment, one.name, arrives, orders[one.source], orders[one.target]))
            populations[one.source].out_ports.s_out.connect(synapses.in_ports.s_in)
            synapses.out_ports.a_out.connect(populations[one.target].in_ports.a_in)
            setattr(self, f"synapses{place}", synapses)
        output = populations[deployment.readout.population]
        output.out_ports.s_out.connect(proc.out_ports.s_out)
        proc.vars.v.alias(output.vars.v)


def _neurons(own: ChipPopulation, broken: BrokenNeurons) -> ChipNeurons:
    return ChipNeurons(
        shape=(own.size,), v=own.v_init, du=own.du.astype(np.int64), dv=own.dv.astype(np.int64), vth=own.vth.astype(np.int64),
        bias_mant=own.bias_mantissa.astype(np.int16), bias_exp=own.bias_exponent, **{KEY: broken},
    )  # fmt: skip
