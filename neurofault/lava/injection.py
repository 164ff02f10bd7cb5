"""Faults in somebody else's Lava graph, in place, and their exact undoing.

Lava chooses the models of its processes when it compiles a graph, at the first run. Before it, any fault is possible: the models of broken
processes are swapped in the run configuration. Between runs only what Lava's ``Var.set`` really changes can break: the weights of
``Dense``, whole kernel weights of ``Conv``, the bias of ``LIF``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from neurofault.damage.damage import Stall
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import UnsupportedError, UsageError
from neurofault.faults.inject import inject as inject_faults
from neurofault.faults.plan import FaultPlan, Faults
from neurofault.lava.between import set_vars
from neurofault.lava.broken import KEY, Clock, neurons_of, refuse_other_laws, synapses_of
from neurofault.lava.joins import kind_of, title
from neurofault.lava.models import MODELS
from neurofault.lava.reading import LavaGraph, Starts, read_graph
from neurofault.numerals import whole_number

require_lava()

from lava.magma.core.model.model import AbstractProcessModel  # noqa: E402
from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.run_configs import RunConfig  # noqa: E402

_TAGS = ("fixed_pt", "bit_accurate_loihi")


@final
@dataclass(eq=False)
class Handle:
    """What was broken in a Lava graph, and how to undo it.

    Attributes:
        deployment: the imported network, placed and broken in the same way: the engines run it to the same spikes.
        graph: the import: its inputs, processes, and the order of their neurons.
        models: process → the model that runs in place of Lava's; empty where a running graph was broken through its Vars.
        broken: whether the graph is broken now.
    """

    deployment: Deployment
    graph: LavaGraph
    models: Mapping[AbstractProcess, type[AbstractProcessModel]]
    broken: bool = True
    _undo: list[Callable[[], object]] = field(default_factory=list)

    def run_config(self, base: RunConfig) -> RunConfig:
        """Return a copy of a run configuration in which broken processes have their models; ``base`` itself once restored.

        Args:
            base: e.g. ``Loihi2SimCfg(select_tag="fixed_pt")``.

        Raises:
            UnsupportedError: ``base`` runs other models than ``fixed_pt``, or already replaces one of these.
        """
        if not self.broken or not self.models:
            return base
        tag, replaced = getattr(base, "select_tag", None), getattr(base, "exception_proc_model_map", None)
        if tag not in _TAGS or replaced is None:
            raise UnsupportedError(
                f"{type(base).__name__} with select_tag={tag!r} does not run fixed_pt models; faults need "
                'Loihi2SimCfg(select_tag="fixed_pt")'
            )
        for process in self.models:
            if process in replaced or type(process) in replaced:
                raise UnsupportedError(
                    f"{title(process)}: the run configuration already replaces its model in exception_proc_model_map; "
                    "leave this process out there"
                )
        config = copy.copy(base)
        config.exception_proc_model_map = {**replaced, **self.models}
        return config

    def restore(self) -> None:
        """Undo everything; the graph is as it was before. A second call does nothing.

        Before the first run this takes the faults out, so that ``run_config`` gives plain configurations again; between runs it sets the Vars
        back. State (u, v, spikes on their way) goes on as it is.

        Raises:
            UnsupportedError: the graph was compiled with its broken models, which Lava cannot change any more.
        """
        if self.broken and self.models and any(process.runtime is not None for process in self.models):
            raise UnsupportedError(
                "the graph has been compiled with broken models, and Lava keeps them; build it anew, or run it through record()"
            )
        while self._undo:
            self._undo.pop()()
        self.broken = False


def inject(
    processes: AbstractProcess | Iterable[AbstractProcess],
    faults: Faults | FaultPlan,
    *,
    timesteps: int,
    seed: int = 0,
    draw: int = 0,
    profile: HardwareProfile | str | Path = "loihi2",
    steps_run: int | None = None,
    starts: Starts = "together",
    readout: str | None = None,
    **placement: Any,
) -> Handle:
    """Break an existing Lava graph in place.

    The processes are imported (:func:`from_lava`), placed on a chip, and broken there, so that cores, routers and memory words mean something; what
    breaks is then written into the processes. Pass ``handle.run_config(…)`` to the first run.

    Args:
        processes: as :func:`from_lava` takes them; they may be a part of a larger graph. One process stands for all that it is joined to.
        faults: models (or their mappings), or a plan. ``when`` counts from each population's first input: step t at phase p is Lava's step t + p + 1.
        timesteps: T of :attr:`Handle.deployment`; a presentation in the graph itself never ends.
        seed: key of the random streams, with
        draw: which draw of this seed.
        profile: the chip, with
        placement: arguments of :func:`neurofault.deploy`, e.g. ``neurons_per_core=8``.
        steps_run: steps that a running graph has done so far.
        starts: see :func:`from_lava`; ``staggered`` where a graph cannot be imported otherwise: then Lava's early steps are not those of the engines.
        readout: see :func:`from_lava`: which population is no hidden one, beside the inputs.

    Raises:
        ConversionError: processes that cannot be imported.
        FaultError: see :func:`neurofault.inject`.
        CapacityError: they do not fit the chip.
        UnsupportedError: a fault that Lava cannot hold, or cannot take on in a running graph; the text says what can be done.
        UsageError: a graph that is broken already, or ``steps_run`` is missing or given without need.
    """
    seed, draw = whole_number(seed, "seed"), whole_number(draw, "draw")
    graph = read_graph(processes, timesteps=timesteps, starts=starts, readout=readout, part=True)
    everything = (*graph.populations, *graph.connections)
    broken = [process for process in everything if process.proc_params.get(KEY) is not None]
    if broken:
        raise UsageError(f"{title(broken[0])} is broken already; restore it first, or inject all faults at once")
    running = any(process.runtime is not None for process in everything)
    if running and not all(process.runtime is not None and process.runtime._is_started for process in everything):
        raise UnsupportedError("the graph was stopped, and Lava does not run a graph again; build it anew")
    if running and (steps_run is None or steps_run < 1):
        raise UsageError("the graph is running: say with steps_run how many steps it has done (at least 1)")
    if not running and steps_run is not None:
        raise UsageError("the graph has not run yet: leave steps_run out")
    deployment = inject_faults(deploy(graph.network, profile, **placement), faults, seed=seed, draw=draw)
    hung = sorted({core for edit in deployment.damage.edits if isinstance(edit, Stall) for core in edit.cores})
    if hung:
        raise UnsupportedError(f"core_hung: core {', '.join(map(str, hung))} would hang Lava for ever; run it on an engine")
    refuse_other_laws(deployment)
    if running:
        assert steps_run is not None
        changed, undo = set_vars(graph, deployment, steps_run)
        return Handle(changed, graph, {}, True, undo)
    return _swapped(graph, deployment)


def _swapped(graph: LavaGraph, deployment: Deployment) -> Handle:
    """Put what is broken beside the processes, for models that are swapped in."""
    own: dict[AbstractProcess, Any] = {}
    phase = deployment.schedule.phase
    for population in deployment.populations:
        clock = Clock(phase[population.name], phase[population.name] + 1, None)
        neurons = neurons_of(deployment, population.name, clock, graph.order(population.name))
        if neurons.fold.edits:
            own[graph.process(population.name)] = neurons
    for connection in deployment.connections:
        clock = Clock(phase[connection.target], phase[connection.target], None)
        synapses = synapses_of(deployment, connection.name, clock, graph.order(connection.source), graph.order(connection.target))
        if synapses.fold.edits or synapses.drops:
            own[graph.synapses(connection.name)] = synapses
    undo: list[Callable[[], object]] = []
    for process, broken in own.items():
        process.proc_params.overwrite(KEY, broken)
        undo.append(_forget(process))
    models = {process: MODELS[type(process)] for process in own if kind_of(process) is not None}
    return Handle(deployment, graph, models, True, undo)


def _forget(process: AbstractProcess) -> Callable[[], object]:
    return lambda: process.proc_params._parameters.pop(KEY)
