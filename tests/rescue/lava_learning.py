"""Lava's own learning model, step by step, without its runtime; and once with it.

``python tests/rescue/lava_learning.py`` writes the golden vectors anew.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from learning_cases import CASES, RECORDS, Case

FILE = Path(__file__).with_name("golden_learning.npz")
GOLDEN = (
    "stdp_epoch_1",
    "stdp_epoch_3",
    "three_factor_epoch_2",
    "three_factor_at_spikes",
    "u_gate_1",
    "no_decay",
    "sign",
    "constants",
    "delays",
    "inhibitory",
    "saturation",
    "overflow",
    "wild_weights",
)

VARS = {"weight": "weights", "delay": "tag_2", "tag": "tag_1"}


class Port:
    """A port that hands out what it was given."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def recv(self) -> np.ndarray:
        assert self.value is not None
        return self.value

    def send(self, value: np.ndarray) -> None:
        self.value = value


def process(case: Case, arrays: dict[str, np.ndarray]):
    """Lava's LearningDense for a case."""
    from neurofault.engines.on_lava.shim import require_lava

    require_lava()
    from lava.magma.core.learning.learning_rule import Loihi2FLearningRule, Loihi3FLearningRule
    from lava.proc.dense.process import LearningDense
    from lava.utils.weightutils import SignMode

    rule = (Loihi3FLearningRule if case.third else Loihi2FLearningRule)(**case.rule, rng_seed=case.seed)
    return LearningDense(
        weights=arrays["weight"],
        tag_2=arrays["delay"],
        tag_1=arrays["tag"],
        learning_rule=rule,
        sign_mode=SignMode[case.sign_mode.upper()],
        num_weight_bits=case.weight_bits,
    )


def drive(case: Case) -> dict[str, np.ndarray]:
    """Call Lava's process model as its runtime does: run_spk in each step, then run_lrn where its guard says so."""
    arrays = case.arrays()
    built = process(case, arrays)
    from lava.proc.dense.models import PyLearningDenseModelBitApproximate

    model = PyLearningDenseModelBitApproximate(built.proc_params)
    for var in built.vars:
        kind = getattr(type(model), var.name).d_type
        value = var.init if kind is str else np.broadcast_to(np.asarray(var.init), var.shape).astype(kind)
        setattr(model, var.name, value)
    for name in ("s_in", "a_out", "s_in_bap", "s_in_y1", "s_in_y2", "s_in_y3"):
        setattr(model, name, Port())
    model.weights_set = False
    out: dict[str, list[np.ndarray]] = {name: [] for name in RECORDS}
    for step in range(case.steps):
        model.time_step = step + 1
        model.s_in.value, model.s_in_bap.value = arrays["pre"][step], arrays["post"][step]
        for name in ("y1", "y2", "y3"):
            getattr(model, f"s_in_{name}").value = arrays[name][step]
        model.run_spk()
        if model.lrn_guard():
            model.run_lrn()
        for name, steps in out.items():
            steps.append(np.array(getattr(model, VARS.get(name, name))))
    return {name: np.stack(steps) for name, steps in out.items()}


def in_runtime(case: Case) -> dict[str, np.ndarray]:
    """The same in a graph that Lava compiles and runs, state read by its monitors."""
    arrays = case.arrays()
    built = process(case, arrays)
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer
    from lava.proc.monitor.process import Monitor

    ports = {"pre": built.s_in, "post": built.s_in_bap}
    if case.third:
        ports |= {name: getattr(built, f"s_in_{name}") for name in ("y1", "y2", "y3")}
    for name, port in ports.items():
        RingBuffer(data=arrays[name].T.astype(int)).s_out.connect(port)
    monitors = {}
    for name in RECORDS:
        monitors[name] = Monitor()
        monitors[name].probe(getattr(built, VARS.get(name, name)), case.steps)
    built.run(condition=RunSteps(num_steps=case.steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    out = {}
    for name, monitor in monitors.items():
        ((recorded,),) = (each.values() for each in monitor.get_data().values())
        shape = arrays["weight"].shape if name in VARS else (-1,)
        if name in VARS:  # Lava's monitor fills a [steps, …] array in the order of the variable's shape
            recorded = np.asarray(recorded).reshape(case.steps, *shape)
        out[name] = np.asarray(recorded)
    built.stop()
    return out


def main() -> None:
    results = {f"{name}/{key}": value.astype(np.int16) for name in GOLDEN for key, value in drive(CASES[name]).items()}
    np.savez_compressed(FILE, **results)
    print(FILE, FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
