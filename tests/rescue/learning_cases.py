"""Cases of the learning engine: rule texts and traces, weights, spikes. Nothing of neurofault is imported, so that Lava can run them too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

RECORDS = ("weight", "delay", "tag", "x1", "x2", "y1", "y2", "y3")

TRACES = {"x1_impulse": 16, "x1_tau": 8, "x2_impulse": 8.3, "x2_tau": 20}
POSTS = {"y1_impulse": 20, "y1_tau": 10, "y2_impulse": 5.75, "y2_tau": 30, "y3_impulse": 40, "y3_tau": 3}
FAST = {"x1_impulse": 127, "x1_tau": 2, "x2_impulse": 126.9, "x2_tau": 1}
NO_DECAY = {"x1_impulse": 30.5, "x1_tau": 0, "x2_impulse": 1.25, "x2_tau": 65535, "y1_impulse": 9.99, "y1_tau": 0}


@dataclass(frozen=True)
class Case:
    """A connection and what reaches it.

    Attributes:
        rule: arguments of the rule, Lava's names; ``t_epoch`` included.
        third: whether the targets write y1, y2, y3.
        sign_mode, weight_bits, seed: of the connection.
        rate: spikes of a source a step.
        spread: third factors lie between −spread and spread.
        wild: weights are not clipped to the field's range.
    """

    rule: dict = field(default_factory=dict)
    third: bool = False
    sign_mode: str = "mixed"
    weight_bits: int = 8
    seed: int = 7
    rate: float = 0.35
    spread: int = 127
    wild: bool = False
    n_in: int = 9
    n_out: int = 6
    steps: int = 48

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights, delays, tags [n_out, n_in]; pre, post [S, n]; y1, y2, y3 [S, n_out]."""
        rng = np.random.default_rng(self.seed + 1000)
        shape = (self.n_out, self.n_in)
        low, high = {"mixed": (-256, 256), "excitatory": (0, 256), "inhibitory": (-255, 1)}[self.sign_mode]
        if self.wild:
            low, high = -900, 900
        out = {
            "weight": rng.integers(low, high, shape),
            "delay": rng.integers(0, 64, shape),
            "tag": rng.integers(-100, 100, shape),
            "pre": rng.random((self.steps, self.n_in)) < self.rate,
            "post": rng.random((self.steps, self.n_out)) < 0.3,
        }
        return out | {name: rng.integers(-self.spread, self.spread + 1, (self.steps, self.n_out)) for name in ("y1", "y2", "y3")}


DELTA = "2^-2*u0*x1*y1 - 2^-2*u0*x1*y2"

CASES = {
    **{
        f"stdp_epoch_{epoch}": Case({"dw": "2^-1*y0*x1 - 2^0*x0*y1", "t_epoch": epoch, **TRACES, **POSTS}, seed=epoch)
        for epoch in (1, 2, 3, 4)
    },
    **{
        f"three_factor_epoch_{epoch}": Case({"dw": DELTA, "t_epoch": epoch, **TRACES}, third=True, seed=20 + epoch)
        for epoch in (1, 2, 4)
    },
    "three_factor_at_spikes": Case({"dw": "2^-2*x0*x1*y1 - 2^-1*y0*(y2-3)*x2", "t_epoch": 3, **TRACES}, third=True, spread=300),
    "u_gate_1": Case({"dw": "2^-1*u1*x1*y1 + 3*2^-2*u1*y3", "t_epoch": 2, **TRACES, **POSTS}),
    "u_gate_4": Case({"dw": "2^1*u4*x1*y1 - 2^2*x0*y2", "t_epoch": 1, **TRACES, **POSTS}),
    "delta_u4": Case({"dw": DELTA.replace("u0", "u4"), "t_epoch": 1, **TRACES}, third=True),
    "no_decay": Case({"dw": "2^-1*u0*x1*y1 - 2^-1*u0*x2*(y1-8)", "t_epoch": 2, **NO_DECAY}),
    "sign": Case({"dw": "2^-1*x0*y1*sgn(w) - 2^-3*y0*x1*sgn(w+5)", **TRACES, **POSTS}),
    "constants": Case({"dw": "2^-2*x0*(y1-8)*(w+20) - 2^-1*y0*(5-x1)*(3+y2)", "t_epoch": 2, **TRACES, **POSTS}),
    "three_factors": Case({"dw": "2^1*u0*x1*y1*w - 2^1*u0*x2*y2*(100-w)", **TRACES, **POSTS}),
    "gates_as_factors": Case({"dw": "2^3*x0*y0*x1 - 4*2^2*u0*x0*(y0+1)*y3", "t_epoch": 2, **TRACES, **POSTS}),
    "tags": Case({"dt": "2^-1*x0*y1 - 2^-2*u0*t", "dw": "2^-2*u0*t*y1", "t_epoch": 2, **TRACES, **POSTS}),
    "tags_at_the_edge": Case({"dt": "-7*2^3*x0*y1", "dw": "2^-2*u0*(t+3)*sgn(t)", **TRACES, **POSTS}),
    "delays": Case(
        {"dd": "x0*y1 - 2^-1*u0*d", "dw": "2^-2*x0*d*sgn(d-30)", "dt": "u0*d*x1 - 2^-1*u0*w", "t_epoch": 3, **TRACES, **POSTS}
    ),
    "excitatory": Case({"dw": "2^1*y0*x1 - 2^2*x0*y1", **TRACES, **POSTS}, sign_mode="excitatory"),
    "inhibitory": Case({"dw": "2^1*y0*x1 - 2^2*x0*y1", "t_epoch": 2, **TRACES, **POSTS}, sign_mode="inhibitory"),
    "few_bits": Case({"dw": "2^-1*y0*x1 - x0*y1", **TRACES, **POSTS}, weight_bits=6),
    "few_bits_inhibitory": Case({"dw": "2^-1*y0*x1 - x0*y1", **TRACES, **POSTS}, sign_mode="inhibitory", weight_bits=5),
    "saturation": Case({"dw": "7*2^8*u0*x1*y1 - 7*2^8*x0*y2 + 2^7*y0*x2", "t_epoch": 2, **FAST, **POSTS}, rate=0.8),
    "overflow": Case({"dw": "7*2^3*u0*x1*x2*y1*w*t - 5*2^2*u0*w*w*t*x1", "dt": "2^1*x0*y1", **FAST, **POSTS}, rate=0.7),
    "wild_weights": Case({"dw": "2^-1*u2*x1*y1 - 2^1*u2*x2*y2 + 2^5*x0*y1", "t_epoch": 2, **TRACES, **POSTS}, wild=True),
    "wild_plain": Case({"dw": "-2^6*u1*x1*y1 + 2^6*u1*x2*y2", **TRACES, **POSTS}, wild=True),
    "only_gates": Case({"dw": "2*u1 - 3*x0 + y0"}),
}
"""Name → case."""
