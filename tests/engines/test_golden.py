from __future__ import annotations

import golden
import numpy as np
import pytest

from neurofault.activity import TRACES
from neurofault.engines.exact.engine import ExactEngine


@pytest.mark.parametrize("name", golden.names())
def test_exact_engine_repeats_what_lava_did(name: str) -> None:
    deployment, inputs, expected = golden.read(name)
    activity = ExactEngine().run(deployment, inputs, record=TRACES)
    for layer, traces in expected.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(activity.traces[layer], state), getattr(traces, state), f"{layer} {state}")


def test_golden_vectors_hold_something_to_repeat() -> None:
    assert len(golden.names()) == 8
    for name in golden.names():
        _, _, traces = golden.read(name)
        assert sum(int(trace.spikes.sum()) for trace in traces.values()) > 50
        assert any(np.any(trace.u) for trace in traces.values())
