"""Widths of the learning engine's arithmetic, as Lava 0.10 has them (``lava/magma/core/learning/constants.py``)."""

from __future__ import annotations

FRACTION = 7
"""Bits of a synaptic variable's accumulator below its lowest bit (Lava: ``W_ACCUMULATOR_S - W_SYN_VAR_S``)."""

LOWEST, HIGHEST = -(1 << 15) - 1, (1 << 15) - 1
"""Where the accumulator saturates (Lava: ``LearningRuleApplierBitApprox.apply``)."""
