"""Events and biases: what is accepted, what is said otherwise, and that no event is lost or made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neurofault.errors import UsageError
from neurofault.inputs import Bias, Inputs, Spikes

DENSE = st.tuples(*(st.integers(1, 5) for _ in range(3))).flatmap(lambda shape: arrays.arrays(np.bool_, shape))


@given(DENSE, st.randoms())
def test_events_in_any_order_are_the_dense_array(dense: np.ndarray, shuffle: object):
    sample, step, neuron = np.nonzero(dense)
    order = np.arange(len(sample))
    shuffle.shuffle(order)
    n, steps, size = dense.shape
    own = Spikes.of(sample[order], step[order], neuron[order], samples=n, timesteps=steps, size=size)
    assert np.array_equal(own.to_dense(), dense)
    same = Spikes.dense(dense)
    for name in ("starts", "steps", "neurons"):
        assert np.array_equal(getattr(own, name), getattr(same, name))
    assert Spikes(own.starts, own.steps, own.neurons, steps, size).nbytes == own.nbytes


@given(DENSE, st.data())
def test_a_window_of_samples_is_the_window_of_the_array(dense: np.ndarray, data: st.DataObject):
    first = data.draw(st.integers(0, len(dense)))
    stop = data.draw(st.integers(first, len(dense)))
    assert np.array_equal(Spikes.dense(dense)[first:stop].to_dense(), dense[first:stop])
    chosen = np.array(data.draw(st.lists(st.integers(0, len(dense) - 1))), np.int64)
    assert np.array_equal(Spikes.dense(dense).take(chosen).to_dense(), dense[chosen])


def test_events_before_the_first_and_after_the_last_sample_do_not_count():
    own = Spikes(np.array([1, 3]), np.array([0, 0, 2, 1], np.int32), np.array([2, 1, 0, 0], np.int32), 3, 3)
    expected = np.zeros((1, 3, 3), bool)
    expected[0, 0, 1] = expected[0, 2, 0] = True
    assert np.array_equal(own.to_dense(), expected)


def test_two_events_of_one_line_in_one_step_are_one_spike():
    own = Spikes.of(np.array([0, 0]), np.array([1, 1]), np.array([2, 2]), samples=1, timesteps=2, size=3)
    assert own.starts.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("starts", "steps", "neurons", "message"),
    [
        ([0, 1], [2], [0], "events: steps lie in 2 … 2; allowed: 0 to 1"),
        ([0, 1], [0], [-1], "events: neurons lie in -1 … -1; allowed: 0 to 2"),
        ([0, 2], [1, 0], [0, 0], "events must rise by step, then by neuron, each once in a step; Spikes.of sorts them"),
        ([0, 2], [1, 1], [0, 0], "events must rise by step, then by neuron, each once in a step; Spikes.of sorts them"),
        ([0, 2, 1], [1, 1], [0, 1], "events: starts must rise from 0 to at most 2, the number of events"),
        ([0, 1], [1, 1], [0], "events: 2 steps, but 1 neuron"),
    ],
)
def test_events_that_are_not_in_order_or_range_are_said(starts: list[int], steps: list[int], neurons: list[int], message: str):
    with pytest.raises(UsageError) as caught:
        Spikes(np.array(starts), np.array(steps, np.int32), np.array(neurons, np.int32), 2, 3)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": [0, 2]}, "events: samples lie in 0 … 2; allowed: 0 to 1"),
        ({"step": [-1, 0]}, "events: steps lie in -1 … 0; allowed: 0 to 3"),
        ({"neuron": [0, 5]}, "events: neurons lie in 0 … 5; allowed: 0 to 4"),
        ({"step": [0.5, 1]}, "events: steps are an array of float64; an array of whole numbers is taken"),
        ({"neuron": [True, False]}, "events: neurons are an array of bool; an array of whole numbers is taken"),
        ({"sample": [0]}, "events: 1 sample, 2 steps and 2 neurons"),
    ],
)
def test_events_that_cannot_be_sorted_are_said(changes: dict[str, list[float]], message: str):
    given = {"sample": [1, 0], "step": [3, 0], "neuron": [4, 0]} | changes
    with pytest.raises(UsageError) as caught:
        Spikes.of(**{name: np.array(values) for name, values in given.items()}, samples=2, timesteps=4, size=5)
    assert str(caught.value) == message


def test_no_number_of_an_event_is_cut_off_to_a_whole_one():
    starts, whole = np.array([0, 1]), np.array([1], np.int32)
    for what, own in (
        ("steps", (starts, whole + 0.5, whole)),
        ("neurons", (starts, whole, whole + 0.5)),
        ("starts", (starts / 2, whole, whole)),
    ):
        with pytest.raises(UsageError) as caught:
            Spikes(*own, 3, 3)
        assert str(caught.value) == f"events: {what} are an array of float64; an array of whole numbers is taken"
    with pytest.raises(UsageError, match=r"^events: steps are a list; an array of whole numbers is taken$"):
        Spikes(starts, [1], whole, 3, 3)


def test_unsigned_numbers_of_events_are_as_good_as_signed_ones():
    own = Spikes.of(
        np.array([1, 0], np.uint64), np.array([2, 3], np.uint64), np.array([4, 0], np.uint64), samples=2, timesteps=4, size=5
    )
    assert (own.starts.tolist(), own.steps.tolist(), own.neurons.tolist()) == ([0, 1, 2], [3, 2], [0, 4])


def test_samples_out_of_range_are_said():
    with pytest.raises(UsageError, match=r"^events: samples lie in 1 … 1; allowed: 0 to 0$"):
        Spikes.of(np.array([1]), np.array([0]), np.array([0]), samples=1, timesteps=1, size=1)


def test_every_input_gets_what_is_its_own():
    bias, events = np.zeros((2, 3), np.int32), np.zeros((2, 4, 5), bool)
    both = Inputs(bias={"a": bias}, events={"b": events}).named(("a", "b"))
    assert isinstance(both.of("a"), Bias)
    assert isinstance(both.of("b"), Spikes)
    assert len(both) == 2
    assert both[1:].first_sample == 1


@pytest.mark.parametrize(
    ("given", "names", "message"),
    [
        ({"bias": {"a": np.zeros((2, 3), np.int32)}}, ("a", "b"), "input 'b' gets nothing: pass bias or events for it"),
        ({"bias": {"inptu": np.zeros((2, 3), np.int32)}}, ("input",), "no input 'inptu' (did you mean 'input'?); inputs: input"),
        ({"bias": np.zeros((2, 3), np.int32)}, ("a", "b"), "there are 2 inputs: a, b; say whose each is: {name: array}"),
    ],
)
def test_an_input_without_data_or_data_without_an_input_is_said(given: dict[str, object], names: tuple[str, ...], message: str):
    with pytest.raises(UsageError) as caught:
        Inputs(**given).named(names)
    assert str(caught.value) == message


def test_inputs_of_different_lengths_are_said():
    with pytest.raises(UsageError, match=r"^inputs have different numbers of samples: 'a' 2, 'b' 3$"):
        Inputs(bias={"a": np.zeros((2, 3), np.int32)}, events={"b": np.zeros((3, 4, 5), bool)})
