"""What may break (models), exactly what breaks (plan), and a chip on which it has broken (inject)."""

from neurofault.faults.inject import inject
from neurofault.faults.models import KINDS, CoreDead, Fault, NeuronDead, SynapseDead, fault_from_mapping, fault_to_mapping
from neurofault.faults.plan import FaultPlan, PlannedFault, plan

__all__ = [
    "KINDS",
    "CoreDead",
    "Fault",
    "FaultPlan",
    "NeuronDead",
    "PlannedFault",
    "SynapseDead",
    "fault_from_mapping",
    "fault_to_mapping",
    "inject",
    "plan",
]
