"""Several faults at once: what the engines give, against a chip that is worked out bit by bit from the documentation."""

from __future__ import annotations

import numpy as np
import pytest
from composed import SHAPES, case_of, differences, side_by_side_case
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_matrix import OTHERS

from neurofault.activity import TRACES
from neurofault.engines import get_engine
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental import engine as incremental

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing


@pytest.fixture
def followed(monkeypatch):
    """An incremental engine that follows whatever it can, and the chips that it has followed."""
    monkeypatch.setattr(incremental, "touched_share", lambda *_: 0.0)
    follow, chips = incremental.IncrementalEngine._activities, []
    monkeypatch.setattr(
        incremental.IncrementalEngine, "_activities", lambda self, whole, own: chips.extend(own) or follow(self, whole, own)
    )
    return incremental.IncrementalEngine(threads=1), chips


def test_600_plans_of_several_faults_equal_the_slow_chip(followed):
    engine, chips = followed

    @settings(max_examples=600, deadline=None, derandomize=True)
    @given(st.integers(0, 2**32 - 1))
    def check(seed):
        case = case_of(seed)
        wanted = case.slow.present(case.inputs)
        exact = ExactEngine(threads=1).run(case.chip, case.inputs, record=TRACES)
        assert differences(case.slow, exact, wanted) == [], case.kinds
        assert differences(case.slow, engine.run(case.chip, case.inputs), wanted, traces=False) == [], case.kinds

    check()
    assert len(chips) > 180


def test_150_plans_of_several_faults_on_graphs_equal_the_slow_chip(followed):
    engine, chips = followed

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.integers(0, 2**32 - 1))
    def check(seed):
        case = case_of(seed, shape="graph")
        wanted = case.slow.present(case.inputs)
        exact = ExactEngine(threads=1).run(case.chip, case.inputs, record=TRACES)
        assert differences(case.slow, exact, wanted) == [], case.kinds
        assert differences(case.slow, engine.run(case.chip, case.inputs), wanted, traces=False) == [], case.kinds

    check()
    assert len(chips) > 7


@pytest.mark.parametrize("engine", [one for one in OTHERS if one.values[0] != "snntorch"])
@pytest.mark.parametrize("shape", SHAPES)
def test_plans_of_several_faults_give_the_states_of_exact(shape, engine):
    whole, inputs = side_by_side_case(7 + SHAPES.index(shape), shape, 10)
    chosen = get_engine(engine)
    assert chosen.supports(whole) is None
    one, other = (each.run(whole, inputs, record=TRACES) for each in (ExactEngine(), chosen))
    np.testing.assert_array_equal(other.scores, one.scores)
    for name, trace in one.traces.items():
        for state in TRACES:
            np.testing.assert_array_equal(getattr(other.traces[name], state), getattr(trace, state), err_msg=f"{name} {state}")
