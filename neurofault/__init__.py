"""Neuromorphic hardware fault injection: break a simulated chip, see what it costs, rescue it.

    torch, snnTorch, NIR, Lava ─ from_… → Network ─ deploy → Deployment ─ inject → Deployment ─ rescue → Rescued
                                                                └───────── run → Result ──────────┘
    campaign.yaml, or a dict ─ campaign → CheckedCampaign ─ run → CampaignResults

``deploy``, ``rescue`` and ``campaign`` here are functions; their packages are reached as ``from neurofault.deploy.profile import …``. Names
that need torch, numba or an optional library load it when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from neurofault import errors, faults
from neurofault.activity import Activity
from neurofault.data.scaling import Scaling
from neurofault.deploy import deploy
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile, load_profile
from neurofault.deploy.saved import load, save
from neurofault.faults import inject
from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Schedule, Source, Sparse, chain
from neurofault.inputs import Bias, Inputs, Spikes, State
from neurofault.rescue import Budget, Guard, Plan, rescue
from neurofault.rescue.outcome import Rescued

if TYPE_CHECKING:
    from neurofault.convert.netx_graph import from_netx
    from neurofault.convert.nir_graph import from_nir
    from neurofault.convert.snntorch_model import from_snntorch
    from neurofault.deploy.netx_export import to_netx
    from neurofault.deploy.nir_export import to_nir
    from neurofault.deploy.units import unit_of
    from neurofault.engines import Result, run
    from neurofault.lava import from_lava
    from neurofault.study.alarms.alarm_file import load_alarms, save_alarms
    from neurofault.study.alarms.alarm_set import AlarmSet
    from neurofault.study.alarms.choose import choose_alarms
    from neurofault.study.alarms.on_chip import with_alarms
    from neurofault.study.alarms.tried import try_alarms
    from neurofault.study.alarms.watch import watch
    from neurofault.study.calibrate import from_torch
    from neurofault.study.campaign.api import campaign
    from neurofault.study.neurobench import neurobench_metric, neurobench_model
    from neurofault.study.patterns.apply import apply_patterns
    from neurofault.study.patterns.choose import choose_patterns
    from neurofault.study.patterns.diagnose import diagnose, fault_dictionary
    from neurofault.study.patterns.pattern_set import PatternSet, load_patterns, save_patterns
    from neurofault.study.placing import search_placement
    from neurofault.study.protect.api import protect
    from neurofault.study.robustness import Robustness, robustness

__all__ = [  # noqa: RUF022  (in pipeline order)
    # what computes
    "Network",
    "Population",
    "Connection",
    "Readout",
    "CubaLif",
    "Source",
    "Dense",
    "Conv",
    "Sparse",
    "Schedule",
    "chain",
    "from_torch",
    "Scaling",
    "from_snntorch",
    "from_nir",
    "from_netx",
    "from_lava",
    "to_nir",
    "to_netx",
    # where it sits
    "HardwareProfile",
    "load_profile",
    "deploy",
    "search_placement",
    "Deployment",
    "save",
    "load",
    # what guards it
    "protect",
    # what breaks
    "faults",
    "inject",
    # what it is shown, and what comes of it
    "Inputs",
    "Bias",
    "Spikes",
    "State",
    "run",
    "unit_of",
    "Result",
    "Activity",
    # what heals it
    "rescue",
    "Budget",
    "Plan",
    "Guard",
    "Rescued",
    # what finds it
    "choose_patterns",
    "apply_patterns",
    "PatternSet",
    "save_patterns",
    "load_patterns",
    "fault_dictionary",
    "diagnose",
    "choose_alarms",
    "with_alarms",
    "watch",
    "try_alarms",
    "AlarmSet",
    "save_alarms",
    "load_alarms",
    # how much it bears
    "robustness",
    "Robustness",
    "neurobench_model",
    "neurobench_metric",
    # many trials
    "campaign",
    "errors",
]

_ON_USE = {
    "from_torch": "neurofault.study.calibrate",
    "from_snntorch": "neurofault.convert.snntorch_model",
    "from_nir": "neurofault.convert.nir_graph",
    "from_netx": "neurofault.convert.netx_graph",
    "from_lava": "neurofault.lava",
    "to_nir": "neurofault.deploy.nir_export",
    "to_netx": "neurofault.deploy.netx_export",
    "run": "neurofault.engines",
    "unit_of": "neurofault.deploy.units",
    "Result": "neurofault.engines",
    "choose_patterns": "neurofault.study.patterns.choose",
    "apply_patterns": "neurofault.study.patterns.apply",
    "PatternSet": "neurofault.study.patterns.pattern_set",
    "save_patterns": "neurofault.study.patterns.pattern_set",
    "load_patterns": "neurofault.study.patterns.pattern_set",
    "search_placement": "neurofault.study.placing",
    "fault_dictionary": "neurofault.study.patterns.diagnose",
    "diagnose": "neurofault.study.patterns.diagnose",
    "choose_alarms": "neurofault.study.alarms.choose",
    "with_alarms": "neurofault.study.alarms.on_chip",
    "watch": "neurofault.study.alarms.watch",
    "try_alarms": "neurofault.study.alarms.tried",
    "AlarmSet": "neurofault.study.alarms.alarm_set",
    "save_alarms": "neurofault.study.alarms.alarm_file",
    "load_alarms": "neurofault.study.alarms.alarm_file",
    "protect": "neurofault.study.protect.api",
    "robustness": "neurofault.study.robustness",
    "Robustness": "neurofault.study.robustness",
    "neurobench_model": "neurofault.study.neurobench",
    "neurobench_metric": "neurofault.study.neurobench",
    "campaign": "neurofault.study.campaign.api",
}
"""Name → module that has it, for what is not loaded with the package."""


def __getattr__(name: str) -> object:
    if name in _ON_USE:
        return getattr(import_module(_ON_USE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
