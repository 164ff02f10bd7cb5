"""Neuromorphic hardware fault injection: break a simulated chip, see what it costs, rescue it.

    torch ─ from_torch → Network ─ deploy → Deployment ─ inject → Deployment ─ rescue → Rescued
                                                         └─────── run → Result ───────┘

``deploy`` and ``rescue`` here are functions; their packages are reached as ``from neurofault.deploy.profile import …``. Names that need torch or
numba load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from neurofault import errors, faults
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.deploy.saved import load, save
from neurofault.faults import inject
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Schedule, Source, Sparse, chain
from neurofault.inputs import Bias, Inputs, Spikes, State
from neurofault.rescue import Budget, Guard, Plan, rescue

if TYPE_CHECKING:
    from neurofault.engines import run
    from neurofault.study.calibrate import from_torch

__all__ = [
    "Bias",
    "Budget",
    "Connection",
    "Conv",
    "CubaLif",
    "Dense",
    "Deployment",
    "Guard",
    "HardwareProfile",
    "Inputs",
    "Network",
    "Plan",
    "Population",
    "Readout",
    "Schedule",
    "Source",
    "Sparse",
    "Spikes",
    "State",
    "chain",
    "deploy",
    "errors",
    "faults",
    "from_torch",
    "inject",
    "load",
    "load_profile",
    "rescue",
    "run",
    "save",
]

_ON_USE = {
    "from_torch": "neurofault.study.calibrate",
    "run": "neurofault.engines",
}


def __getattr__(name: str) -> object:
    if name in _ON_USE:
        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
