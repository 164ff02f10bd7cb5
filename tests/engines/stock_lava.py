"""A graph of Lava's own processes and models, written by hand with nothing of neurofault's but the import shim.

Usage: ``python stock_lava.py IN.npz OUT.npz``. Runs one sample through input (LIF) → DelayDense → LIFReset → Dense → LIFReset;
a layer that is reset at its first own step starts as a layer of the chip does.
"""

from __future__ import annotations

import sys

import numpy as np

from neurofault.engines.on_lava.shim import require_lava

require_lava()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.dense.process import DelayDense, Dense  # noqa: E402
from lava.proc.lif.process import LIF, LIFReset  # noqa: E402
from lava.proc.monitor.process import Monitor  # noqa: E402
from lava.utils.weightutils import SignMode  # noqa: E402


def main() -> None:
    given = dict(np.load(sys.argv[1]))
    steps = int(given["steps"])
    layers = []
    for index in range(3):
        own = {key.removeprefix(f"{index}-"): value for key, value in given.items() if key.startswith(f"{index}-")}
        size = own["du"].size
        neurons = {
            "shape": (size,),
            "du": own["du"],
            "dv": own["dv"],
            "vth": own["vth"],
            "bias_mant": own["bias_mantissa"],
            "bias_exp": int(own["bias_exponent"]),
        }
        if index == 0:
            layers.append(LIF(v=np.full(size, own["v_init"]), **neurons))
            continue
        stored = {"weight_exp": int(own["weight_exponent"]), "num_weight_bits": 8, "sign_mode": SignMode.MIXED}
        layer = LIFReset(reset_interval=10**6, reset_offset=index + 1, **neurons)
        synapses = (
            DelayDense(weights=own["weight"], delays=own["delay"], **stored)
            if index == 1
            else Dense(weights=own["weight"], **stored)
        )
        layers[-1].s_out.connect(synapses.s_in)
        synapses.a_out.connect(layer.a_in)
        layers.append(layer)
    monitors = {}
    for index, layer in enumerate(layers):
        for state, target in (("u", layer.u), ("v", layer.v), ("spikes", layer.s_out)):
            monitors[index, state] = Monitor()
            monitors[index, state].probe(target, steps + 2)
    layers[0].run(condition=RunSteps(num_steps=steps + 2), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    out = {}
    for (index, state), monitor in monitors.items():
        ((recorded,),) = (each.values() for each in monitor.get_data().values())
        out[f"{index}-{state}"] = recorded[index : index + steps]
    layers[0].stop()
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
