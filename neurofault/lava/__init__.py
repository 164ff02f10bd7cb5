"""Lava for embedding: damaged chips as Lava processes, and faults in other people's Lava graphs.

    process        a (damaged) deployment as one Lava process with ``s_in`` and ``s_out``
    inject         break an existing Lava graph in place, and restore it exactly
    from_lava      a Lava graph as a Network; read_graph gives its inputs and the order of its neurons too
    record         what every neuron does in a run that leaves the graph as it was
    watched        a function in an operating-system process of its own, with a time limit; run_watched runs a graph there

Needs lava-nc 0.10.0, which is imported when one of these names is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from neurofault.engines.on_lava.shim import require_lava

if TYPE_CHECKING:
    from neurofault.lava.chip_process import DeploymentProcess, process
    from neurofault.lava.injection import Handle, inject
    from neurofault.lava.reading import LavaGraph, from_lava, read_graph
    from neurofault.lava.recording import record
    from neurofault.lava.watching import run_watched, watched

__all__ = [
    "DeploymentProcess",
    "Handle",
    "LavaGraph",
    "from_lava",
    "inject",
    "process",
    "read_graph",
    "record",
    "require_lava",
    "run_watched",
    "watched",
]

_ON_USE = {
    "DeploymentProcess": "chip_process",
    "process": "chip_process",
    "Handle": "injection",
    "inject": "injection",
    "LavaGraph": "reading",
    "from_lava": "reading",
    "read_graph": "reading",
    "record": "recording",
    "run_watched": "watching",
    "watched": "watching",
}


def __getattr__(name: str) -> object:
    if name in _ON_USE:
        return getattr(import_module(f"neurofault.lava.{_ON_USE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
