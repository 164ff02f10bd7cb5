"""States that are not cleared between samples: the samples of a run follow each other in the neurons that are hit, and in no others."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from random_graphs import random_edit, random_graph
from reference import present

import neurofault as nf
from neurofault.activity import TRACES
from neurofault.damage.damage import Damage, KeptState
from neurofault.damage.when import ALWAYS, When
from neurofault.deploy.deployment import Deployment
from neurofault.engines import get_engine
from neurofault.engines.exact import stepwise
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.exact.stepwise import StepwiseEngine
from neurofault.errors import FaultError, UnsupportedError, UsageError
from neurofault.graph.law import Law
from neurofault.inputs import Inputs


def forgetful(seed: int) -> tuple[Deployment, Inputs]:
    """A random graph of up to 20 steps, shown 2 to 5 samples, some of whose neurons are not cleared between them; other edits beside."""
    made, shown, rng = random_graph(seed, 20)
    samples = int(rng.integers(2, 6))
    bias = {
        name: rng.integers(-500, 8000, (samples, part.mantissa.shape[1]))
        for name, part in shown.parts.items()
        if isinstance(part, nf.Bias)
    }
    events = {
        name: rng.random((samples, made.timesteps, part.size)) < 0.3
        for name, part in shown.parts.items()
        if isinstance(part, nf.Spikes)
    }
    if rng.random() < 0.5:
        law = Law("subtract", refractory=np.array(3, np.int32))
        made = replace(
            made,
            populations=tuple(
                one if one.is_source else replace(one, law=replace(law, refractory=np.full(one.size, 3, np.int32)))
                for one in made.populations
            ),
        )
    edits = [random_edit(rng, made) for _ in range(int(rng.integers(0, 3)))]
    last = (samples + 3) * made.timesteps
    for one in made.populations:
        if rng.random() < 0.7:
            some = np.sort(rng.choice(one.size, int(rng.integers(1, one.size + 1)), replace=False))
            start = int(rng.integers(0, last))
            when = (ALWAYS, When(start, clock="chip"), When(start, start + made.timesteps, clock="chip"), When(1))[
                int(rng.integers(0, 4))
            ]
            edits.append(KeptState(one.name, some, when))
    return made.with_damage(Damage(tuple(edits))), Inputs(bias, events, shown.first_sample)


@pytest.mark.parametrize("seed", range(16))
def test_kept_states_equal_a_chip_with_one_clock(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made, inputs = forgetful(seed)
    if seed % 2:
        largest = max(one.size for one in made.populations)
        monkeypatch.setattr(stepwise, "_BATCH_STATES", 2 * largest * made.timesteps)  # two samples at a time
    expected = present(made, inputs)
    for engine in (ExactEngine(), StepwiseEngine()):
        activity = engine.run(made, inputs, record=TRACES)
        for name, own in expected.items():
            for state in TRACES:
                np.testing.assert_array_equal(getattr(activity.traces[name], state), own[state], f"{name} {state}")


def adding(steps: int = 4, **fields: object) -> Deployment:
    """A neuron that adds up what its input sends, 1 a step, and fires at the 8th."""
    neuron = nf.CubaLif(7.5, **fields)
    populations = [nf.Population("eyes", (1,), nf.Source()), nf.Population("hands", (2,), neuron)]
    return nf.deploy(nf.chain("adding", populations, [nf.Dense(np.ones((2, 1)))], timesteps=steps, how="count"))


KEPT = {"kind": "state_kept", "layer": "hands", "neurons": [1]}


def spikes(made: Deployment, samples: int) -> list[list[int]]:
    found = nf.run(made, np.ones((samples, made.timesteps, 1), bool), record=("spikes",)).activity.traces["hands"].spikes
    assert found is not None
    return found.sum(axis=1).tolist()


def test_a_neuron_that_is_not_cleared_goes_on_and_its_neighbour_does_not() -> None:
    made = adding()
    assert spikes(made, 4) == [[0, 0]] * 4
    assert spikes(nf.inject(made, KEPT), 4) == [[0, 0], [0, 1], [0, 0], [0, 1]]
    third = nf.inject(made, {**KEPT, "when": {"kind": "transient", "start": 12, "stop": 15, "clock": "chip"}})
    assert spikes(third, 6) == [[0, 0], [0, 0], [0, 0], [0, 1], [0, 0], [0, 0]]  # hands begin sample k in the chip's step 4k + 2


def test_refractory_steps_go_on_too() -> None:
    made = adding(8, refractory=4)
    shown = np.ones((2, 8, 1), bool)
    v = nf.run(nf.inject(made, KEPT), shown, record=("v",)).activity.traces["hands"].v
    assert v is not None
    assert (v[1] // v[0, 0, 0]).T.tolist() == [[1, 2, 3, 4, 5, 6, 7, 0], [0, 0, 0, 0, 1, 2, 3, 4]]


def test_the_order_of_samples_counts_and_a_run_begins_clean() -> None:
    hurt = nf.inject(adding(), KEPT)
    shown = np.ones((3, 4, 1), bool)
    shown[1] = False
    counts = [nf.run(hurt, shown[order]).activity.scores[:, 1] // 2**24 for order in ([0, 1, 2], [0, 2, 1], [2], [1, 2])]
    assert [each.tolist() for each in counts] == [[0, 0, 1], [0, 1, 0], [0], [0, 0]]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            {**KEPT, "when": {"kind": "transient", "start": 1, "stop": 3}},
            "state_kept: when: it acts between samples, so steps within one say nothing; use clock: chip",
        ),
        (
            {**KEPT, "layer": "eyes", "neurons": [0]},
            "state_kept: layer 'eyes': its neurons are given events and have no state to keep",
        ),
        (
            {**KEPT, "when": {"kind": "once", "at": 1}},
            "state_kept: when: once is not possible here; permanent, transient, intermittent, death, ageing",
        ),
    ],
    ids=["clock", "events", "once"],
)
def test_what_no_sample_would_show_is_refused(fault: dict[str, object], message: str) -> None:
    with pytest.raises(FaultError) as error:
        nf.inject(adding(), fault)
    assert str(error.value) == message


def test_a_network_that_is_never_reset_has_nothing_to_keep() -> None:
    made = replace(adding(), reset="never")
    with pytest.raises(FaultError, match="nothing is cleared that could be kept"):
        nf.inject(made, KEPT)


@pytest.mark.parametrize("engine", ["lava", "brian2", "snntorch"])
def test_other_engines_refuse_it_by_name(engine: str) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    reason = get_engine(engine).supports(nf.inject(adding(), KEPT))
    assert reason is not None
    assert reason.startswith("layer 'hands': ")
    assert "state" in reason.lower()


def test_runs_of_a_part_of_several_samples_and_learning_are_refused() -> None:
    hurt = nf.inject(adding(), KEPT)
    shown = np.ones((2, 4, 1), bool)
    with pytest.raises(UsageError) as error:
        nf.run(hurt, shown, stop=2)
    assert str(error.value) == (
        "layer 'hands': states that are kept between samples (state_kept): a run that starts or ends within a sample is of that sample alone, not of 2"
    )
    state = nf.run(hurt, shown[:1], stop=2).activity.state
    assert state is not None
    np.testing.assert_array_equal(nf.run(hurt, shown[:1], state=state).activity.scores, nf.run(hurt, shown[:1]).activity.scores)
    with pytest.raises(UnsupportedError, match="layer 'hands': states that are kept between samples"):
        nf.rescue(hurt, shown, np.array([0, 1]), strategy="batch")
