"""What may break (models), exactly what breaks (plan), and a chip on which it has broken (inject)."""

from neurofault.faults.base import Fault
from neurofault.faults.communication import AxonLost, AxonMisrouted, LinkDead, LinkLossy, RouterDead
from neurofault.faults.cores import CoreDead, CoreHung, LearningFrozen, RoundingStuck, ThirdFactorDead, TraceStuck
from neurofault.faults.crossbar import AxonTypeFlip, CrossbarLineDead, TableFlip
from neurofault.faults.defects import load_defects, save_defects
from neurofault.faults.environment import ENVIRONMENTS, Environment, expected_upsets, upset_probability
from neurofault.faults.inject import inject
from neurofault.faults.learners import ErrorDead, FeedbackDead
from neurofault.faults.masking import Masked, prune
from neurofault.faults.models import FAMILIES, KINDS, KindInfo, Parameter, describe, fault_from_mapping, fault_to_mapping
from neurofault.faults.neuron_laws import RefractoryStuck, SpikeResetLost, StateKept
from neurofault.faults.neurons import (
    NeuronBias,
    NeuronDead,
    NeuronLeak,
    NeuronSaturated,
    NeuronStuck,
    NeuronThreshold,
    SensorDead,
    SensorNoisy,
    StateUpset,
)
from neurofault.faults.plan import FaultPlan, PlannedFault, plan
from neurofault.faults.plan_file import load_plan, plan_hash, save_plan
from neurofault.faults.sampling import enough, sample_size, share_interval
from neurofault.faults.shared_parts import BoardDead, ChipDead, MemoryDead
from neurofault.faults.struck import Struck, struck
from neurofault.faults.synapses import (
    MemoryWordDead,
    SynapseBitFlip,
    SynapseBitStuck,
    SynapseDead,
    SynapseDelay,
    SynapsePerturbed,
    SynapseSaturated,
    SynapseStuck,
    WordHeader,
)
from neurofault.faults.timing import Timing, ageing, death, intermittent, once, periodic, transient

__all__ = [
    "ENVIRONMENTS",
    "FAMILIES",
    "KINDS",
    "AxonLost",
    "AxonMisrouted",
    "AxonTypeFlip",
    "BoardDead",
    "ChipDead",
    "CoreDead",
    "CoreHung",
    "CrossbarLineDead",
    "Environment",
    "ErrorDead",
    "Fault",
    "FaultPlan",
    "FeedbackDead",
    "KindInfo",
    "LearningFrozen",
    "LinkDead",
    "LinkLossy",
    "Masked",
    "MemoryDead",
    "MemoryWordDead",
    "NeuronBias",
    "NeuronDead",
    "NeuronLeak",
    "NeuronSaturated",
    "NeuronStuck",
    "NeuronThreshold",
    "Parameter",
    "PlannedFault",
    "RefractoryStuck",
    "RoundingStuck",
    "RouterDead",
    "SensorDead",
    "SensorNoisy",
    "SpikeResetLost",
    "StateKept",
    "StateUpset",
    "Struck",
    "SynapseBitFlip",
    "SynapseBitStuck",
    "SynapseDead",
    "SynapseDelay",
    "SynapsePerturbed",
    "SynapseSaturated",
    "SynapseStuck",
    "TableFlip",
    "ThirdFactorDead",
    "Timing",
    "TraceStuck",
    "WordHeader",
    "ageing",
    "death",
    "describe",
    "enough",
    "expected_upsets",
    "fault_from_mapping",
    "fault_to_mapping",
    "inject",
    "intermittent",
    "load_defects",
    "load_plan",
    "once",
    "periodic",
    "plan",
    "plan_hash",
    "prune",
    "sample_size",
    "save_defects",
    "save_plan",
    "share_interval",
    "struck",
    "transient",
    "upset_probability",
]
