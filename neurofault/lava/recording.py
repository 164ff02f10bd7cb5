"""Chains only: what every neuron of Lava processes in a row does in a run from the beginning, with the graph left as it was."""

from __future__ import annotations

import math
import os
import pickle
import sys
import tempfile
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from neurofault.activity import TRACES, Traces
from neurofault.engines.on_lava.shim import require_lava
from neurofault.errors import EngineError, UnsupportedError, UsageError, nearest
from neurofault.lava.chain import Chain, chain_of, kind_of
from neurofault.lava.reading import names_of, places_of

require_lava()

from lava.magma.core.process.process import AbstractProcess  # noqa: E402
from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg, RunConfig  # noqa: E402
from lava.proc.monitor.process import Monitor  # noqa: E402


def record(
    processes: AbstractProcess | Iterable[AbstractProcess],
    steps: int,
    run_config: RunConfig | None = None,
    *,
    states: Collection[str] = TRACES,
) -> dict[str, Traces]:
    """Run a graph from its beginning and return what the neurons of a chain in it did.

    The run happens in a fork of this process: here the graph is not compiled and stays as it was, so that it can be broken, run,
    restored and run again. Lava may hang, and so may a fork of a process with threads: call it inside :func:`neurofault.lava.watched`.

    Args:
        processes: the chain, see :func:`neurofault.lava.from_lava`; it may be a part of a larger graph.
        steps: T of each population, at least 1; Lava runs T + the depth of the last one.
        run_config: ``handle.run_config(…)`` or any other; None: ``Loihi2SimCfg(select_tag="fixed_pt")``.
        states: which of ``u``, ``v``, ``spikes``.

    Returns:
        population → traces as an engine gives them for one sample, [1, T, n], step t at depth l being Lava's step t + l + 1, neurons in our
        order. A source of spikes has no u and v.

    Raises:
        ConversionError: no chain.
        EngineError: the run failed; the text ends with its last words.
        UsageError: a number or name out of range, or a graph that is running.
        UnsupportedError: an operating system that cannot fork.
    """
    chain = chain_of(processes, part=True)
    for state in states:
        if state not in TRACES:
            raise UsageError(f"no trace {state!r}; traces: {', '.join(TRACES)}{nearest(state, TRACES)}")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, is {steps}")
    if any(process.runtime is not None for process in chain.populations):
        raise UsageError("the graph is running; record() runs one from its beginning")
    if not hasattr(os, "fork"):
        raise UnsupportedError("recording needs an operating system that can fork (Linux, macOS)")
    config = run_config or Loihi2SimCfg(select_tag="fixed_pt")
    with tempfile.TemporaryDirectory(prefix="neurofault-lava-") as folder:
        result = Path(folder) / "result"
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            _in_fork(chain, steps, config, tuple(states), result)
        _, status = os.waitpid(child, 0)
        found = pickle.loads(result.read_bytes()) if result.exists() else f"it ended with status {status}"
    if isinstance(found, str):
        raise EngineError(f"Lava failed; last words:\n{found}")
    recorded: dict[str, Traces] = found
    return recorded


def _in_fork(chain: Chain, steps: int, config: RunConfig, states: tuple[str, ...], result: Path) -> None:
    """Run, leave the result in a file, and end this process."""
    status = 1
    try:
        result.write_bytes(pickle.dumps(_run(chain, steps, config, states)))
        status = 0
    except BaseException:  # whatever it is, the parent tells it
        result.write_bytes(pickle.dumps(traceback.format_exc()))
    finally:
        os._exit(status)


def _run(chain: Chain, steps: int, config: RunConfig, states: tuple[str, ...]) -> dict[str, Traces]:
    total = steps + len(chain.connections)
    monitors: dict[tuple[int, str], Any] = {}
    for depth, process in enumerate(chain.populations):
        for state in states if kind_of(process) == "neurons" else {"spikes"} & set(states):
            monitors[depth, state] = Monitor()
            monitors[depth, state].probe(process.s_out if state == "spikes" else getattr(process, state), total)
    chain.populations[0].run(condition=RunSteps(num_steps=total), run_cfg=config)
    _, orders = places_of(chain)
    names = names_of(chain)
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for (depth, state), monitor in monitors.items():
        ((data,),) = (each.values() for each in monitor.get_data().values())
        sheet = np.asarray(data).reshape(total, math.prod(chain.populations[depth].s_out.shape))[
            depth : depth + steps, orders[depth]
        ]
        found[names[depth]][state] = (sheet != 0 if state == "spikes" else sheet.astype(np.int32))[None]
    chain.populations[0].stop()
    return {name: Traces(**arrays) for name, arrays in found.items()}
