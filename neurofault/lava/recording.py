"""What every neuron of a Lava graph does in a run from the beginning, with the graph left as it was."""

from __future__ import annotations

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
from neurofault.lava.joins import Joined, graph_of, kind_of
from neurofault.lava.reading import places_of

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
    """Run a graph from its beginning and return what its neurons did.

    The run happens in a fork of this process: here the graph is not compiled and stays as it was, so that it can be broken, run,
    restored and run again. Lava may hang, and so may a fork of a process with threads: call it inside :func:`neurofault.lava.watched`.

    Args:
        processes: see :func:`neurofault.lava.from_lava`; they may be a part of a larger graph.
        steps: T of each population, at least 1; Lava runs T + the largest phase.
        run_config: ``handle.run_config(…)`` or any other; None: ``Loihi2SimCfg(select_tag="fixed_pt")``.
        states: which of ``u``, ``v``, ``spikes``.

    Returns:
        population → traces as an engine gives them for one sample, [1, T, n], step t at phase p being Lava's step t + p + 1, neurons in our
        order. A source of spikes has no u and v.

    Raises:
        ConversionError: processes that cannot be imported.
        EngineError: the run failed; the text ends with its last words.
        UsageError: a number or name out of range, or a graph that is running.
        UnsupportedError: an operating system that cannot fork.
    """
    joined = graph_of(processes, part=True)
    for state in states:
        if state not in TRACES:
            raise UsageError(f"no trace {state!r}; traces: {', '.join(TRACES)}{nearest(state, TRACES)}")
    if steps < 1:
        raise UsageError(f"steps must be at least 1, is {steps}")
    if any(one.process.runtime is not None for one in joined.populations):
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
            _in_fork(joined, steps, config, tuple(states), result)
        _, status = os.waitpid(child, 0)
        found = pickle.loads(result.read_bytes()) if result.exists() else f"it ended with status {status}"
    if isinstance(found, str):
        raise EngineError(f"Lava failed; last words:\n{found}")
    recorded: dict[str, Traces] = found
    return recorded


def _in_fork(joined: Joined, steps: int, config: RunConfig, states: tuple[str, ...], result: Path) -> None:
    """Run, leave the result in a file, and end this process."""
    status = 1
    try:
        result.write_bytes(pickle.dumps(_run(joined, steps, config, states)))
        status = 0
    except BaseException:  # whatever it is, the parent tells it
        result.write_bytes(pickle.dumps(traceback.format_exc()))
    finally:
        os._exit(status)


def _run(joined: Joined, steps: int, config: RunConfig, states: tuple[str, ...]) -> dict[str, Traces]:
    schedule = joined.schedule
    total = steps + schedule.depth
    monitors: dict[tuple[str, str], Any] = {}
    for one in joined.populations:
        for state in states if kind_of(one.process) == "neurons" else {"spikes"} & set(states):
            monitors[one.name, state] = Monitor()
            monitors[one.name, state].probe(one.process.s_out if state == "spikes" else getattr(one.process, state), total)
    first = joined.populations[0].process
    first.run(condition=RunSteps(num_steps=total), run_cfg=config)
    _, orders = places_of(joined)
    found: dict[str, dict[str, Any]] = {one.name: {} for one in joined.populations}
    for (name, state), monitor in monitors.items():
        ((data,),) = (each.values() for each in monitor.get_data().values())
        begin = schedule.phase[name]
        sheet = np.asarray(data).reshape(total, orders[name].size)[begin : begin + steps, orders[name]]
        found[name][state] = (sheet != 0 if state == "spikes" else sheet.astype(np.int32))[None]
    first.stop()
    return {name: Traces(**arrays) for name, arrays in found.items()}
