"""Neuromorphic hardware fault injection: break a simulated chip, see what it costs, rescue it.

    torch, snnTorch, NIR, Lava ─ from_… → Network ─ deploy → Deployment ─ inject → Deployment ─ rescue → Rescued
                                                                └───────── run → Result ──────────┘
    campaign.yaml, or a dict ─ campaign → CheckedCampaign ─ run → CampaignResults

``deploy``, ``rescue`` and ``campaign`` here are functions; their packages are reached as ``from neurofault.deploy.profile import …``. Each name
is loaded when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neurofault import errors, faults
    from neurofault.activity import Activity
    from neurofault.convert.netx_graph import from_netx
    from neurofault.convert.nir_graph import from_nir
    from neurofault.convert.snntorch_model import from_snntorch
    from neurofault.data.scaling import Scaling
    from neurofault.deploy import deploy
    from neurofault.deploy.deployment import Deployment
    from neurofault.deploy.netx_export import to_netx
    from neurofault.deploy.nir_export import to_nir
    from neurofault.deploy.profile import HardwareProfile, load_profile
    from neurofault.deploy.sanafe_export import to_sanafe
    from neurofault.deploy.saved import load, save
    from neurofault.deploy.units import unit_of
    from neurofault.engines import Result, run
    from neurofault.faults import inject
    from neurofault.graph import Connection, Conv, CubaLif, Dense, Network, Population, Readout, Schedule, Source, Sparse, chain
    from neurofault.inputs import Bias, Inputs, Spikes, State
    from neurofault.lava import from_lava
    from neurofault.logs import to_log
    from neurofault.rescue import Budget, Guard, Plan, rescue
    from neurofault.rescue.outcome import Rescued
    from neurofault.study.alarms.alarm_file import load_alarms, save_alarms
    from neurofault.study.alarms.alarm_set import AlarmSet
    from neurofault.study.alarms.choose import choose_alarms
    from neurofault.study.alarms.on_chip import with_alarms
    from neurofault.study.alarms.tried import try_alarms
    from neurofault.study.alarms.watch import watch
    from neurofault.study.atlas_api import AtlasResults, atlas
    from neurofault.study.calibrate import from_torch
    from neurofault.study.campaign.api import CampaignResults, CheckedCampaign, campaign
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
    "to_sanafe",
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
    "atlas",
    "AtlasResults",
    "robustness",
    "Robustness",
    "neurobench_model",
    "neurobench_metric",
    # many trials
    "campaign",
    "CheckedCampaign",
    "CampaignResults",
    "to_log",
    "errors",
]

_FROM = {
    "neurofault.activity": ("Activity",),
    "neurofault.convert.netx_graph": ("from_netx",),
    "neurofault.convert.nir_graph": ("from_nir",),
    "neurofault.convert.snntorch_model": ("from_snntorch",),
    "neurofault.data.scaling": ("Scaling",),
    "neurofault.deploy": ("deploy",),
    "neurofault.deploy.deployment": ("Deployment",),
    "neurofault.deploy.netx_export": ("to_netx",),
    "neurofault.deploy.nir_export": ("to_nir",),
    "neurofault.deploy.sanafe_export": ("to_sanafe",),
    "neurofault.deploy.profile": ("HardwareProfile", "load_profile"),
    "neurofault.deploy.saved": ("load", "save"),
    "neurofault.deploy.units": ("unit_of",),
    "neurofault.engines": ("Result", "run"),
    "neurofault.faults": ("inject",),
    "neurofault.graph": (
        "Connection", "Conv", "CubaLif", "Dense", "Network", "Population", "Readout", "Schedule", "Source", "Sparse", "chain",
    ),
    "neurofault.inputs": ("Bias", "Inputs", "Spikes", "State"),
    "neurofault.lava": ("from_lava",),
    "neurofault.logs": ("to_log",),
    "neurofault.rescue": ("Budget", "Guard", "Plan", "rescue"),
    "neurofault.rescue.outcome": ("Rescued",),
    "neurofault.study.alarms.alarm_file": ("load_alarms", "save_alarms"),
    "neurofault.study.alarms.alarm_set": ("AlarmSet",),
    "neurofault.study.alarms.choose": ("choose_alarms",),
    "neurofault.study.alarms.on_chip": ("with_alarms",),
    "neurofault.study.alarms.tried": ("try_alarms",),
    "neurofault.study.alarms.watch": ("watch",),
    "neurofault.study.atlas_api": ("AtlasResults", "atlas"),
    "neurofault.study.calibrate": ("from_torch",),
    "neurofault.study.campaign.api": ("CampaignResults", "CheckedCampaign", "campaign"),
    "neurofault.study.neurobench": ("neurobench_metric", "neurobench_model"),
    "neurofault.study.patterns.apply": ("apply_patterns",),
    "neurofault.study.patterns.choose": ("choose_patterns",),
    "neurofault.study.patterns.diagnose": ("diagnose", "fault_dictionary"),
    "neurofault.study.patterns.pattern_set": ("PatternSet", "load_patterns", "save_patterns"),
    "neurofault.study.placing": ("search_placement",),
    "neurofault.study.protect.api": ("protect",),
    "neurofault.study.robustness": ("Robustness", "robustness"),
}  # fmt: skip
"""Module → the names that it gives, which are loaded when they are first used."""

_ON_USE = {name: module for module, names in _FROM.items() for name in names}


def __getattr__(name: str) -> object:
    if name in {"errors", "faults"}:
        return import_module(f"neurofault.{name}")
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_ON_USE[name]), name)
    return found


class _Package(ModuleType):
    """The package itself: importing ``neurofault.deploy.profile`` does not put the package ``deploy`` in the function's place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _ON_USE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return __all__
