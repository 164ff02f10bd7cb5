"""Set cover against every subset of samples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurofault.study.patterns.cover import columns_of, fewest, greedy, reduced
from neurofault.study.patterns.matrix import ExposedRows, joined, unpacked

MATRICES = st.tuples(st.integers(1, 12), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


def best_of(matrix: np.ndarray, size: int) -> int:
    """Most rows that so many samples expose."""
    return max(int(matrix[:, list(own)].any(axis=1).sum()) for own in itertools.combinations(range(matrix.shape[1]), size))


@settings(deadline=None, max_examples=150)
@given(MATRICES)
def test_the_fewest_samples_are_those_of_brute_force_and_greedy_takes_no_fewer(matrix):
    matrix = matrix[matrix.any(axis=1)]
    if not len(matrix):
        return
    samples = matrix.shape[1]
    rows = np.packbits(matrix, axis=1)
    first = greedy(columns_of(rows, samples), len(matrix))
    found = fewest(rows, samples, first)
    optimum = next(size for size in range(1, samples + 1) if best_of(matrix, size) == len(matrix))
    assert (len(found.samples), found.least, found.exact) == (optimum, optimum, True)
    assert matrix[:, list(found.samples)].any(axis=1).all()
    assert [int(matrix[:, list(found.samples[:at])].any(axis=1).sum()) for at in range(1, optimum + 1)] == list(found.exposed)
    assert len(first.samples) >= optimum >= first.least
    assert first.exposed[-1] == len(matrix)


@settings(deadline=None, max_examples=100)
@given(MATRICES, st.integers(1, 4), st.floats(0.1, 1))
def test_bounds_of_few_samples_and_of_partial_coverage_hold(matrix, size, share):
    if not matrix.any():
        return
    samples = matrix.shape[1]
    columns, whole = columns_of(np.packbits(matrix, axis=1), samples), int(matrix.any(axis=1).sum())
    few = greedy(columns, whole, size)
    best = best_of(matrix, min(size, samples))
    assert few.exposed[-1] <= best <= few.most
    enough = max(1, int(share * whole))
    part = greedy(columns, enough)
    assert part.least <= next(size for size in range(1, samples + 1) if best_of(matrix, size) >= enough) <= len(part.samples)


def test_greedy_takes_the_first_of_equals_and_stops_where_nothing_is_left_to_gain():
    matrix = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    found = greedy(columns_of(np.packbits(matrix, axis=1), 3), 4)
    assert (found.samples, found.exposed) == ((0, 2), (2, 3))


def test_greedy_may_take_more_than_the_fewest():
    matrix = np.zeros((6, 3), bool)
    matrix[[0, 1, 3, 4], 0] = matrix[[0, 1, 2], 1] = matrix[[3, 4, 5], 2] = True
    rows = np.packbits(matrix, axis=1)
    first = greedy(columns_of(rows, 3), 6)
    found = fewest(rows, 3, first)
    assert (first.samples, set(found.samples), found.exact) == ((0, 1, 2), {1, 2}, True)


def test_rows_and_samples_that_decide_nothing_are_taken_out():
    matrix = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]], bool)
    rows, columns, taken = reduced(matrix)
    assert (len(rows), len(columns)) == (0, 0)
    assert taken == (0, 1)


def test_many_rows_come_in_as_they_are_needed():
    rng = np.random.default_rng(3)
    matrix = rng.random((3000, 60)) < 0.08
    matrix = matrix[matrix.any(axis=1)]
    rows = np.packbits(matrix, axis=1)
    found = fewest(rows, 60, greedy(columns_of(rows, 60), len(matrix)))
    assert found.exact
    assert matrix[:, list(found.samples)].any(axis=1).all()


def test_no_time_leaves_a_bound_and_the_choice_that_there_was():
    rng = np.random.default_rng(4)
    matrix = rng.random((200, 40)) < 0.2
    rows = np.packbits(matrix[matrix.any(axis=1)], axis=1)
    first = greedy(columns_of(rows, 40), len(rows))
    found = fewest(rows, 40, first, seconds=0)
    assert (found.samples, found.exact) == (first.samples, False)
    assert 1 <= found.least < len(first.samples)


@pytest.mark.parametrize("samples", [3, 8, 17])
def test_rows_of_two_groups_of_samples_stand_side_by_side(samples):
    rng = np.random.default_rng(samples)
    whole = rng.random((9, samples + 5)) < 0.3
    parts = []
    for own in (whole[:, :samples], whole[:, samples:]):
        kept = np.flatnonzero(own.any(axis=1))
        parts.append(ExposedRows(kept, np.packbits(own[kept], axis=1), own.shape[1]))
    both = joined(*parts)
    assert np.array_equal(both.faults, np.flatnonzero(whole.any(axis=1)))
    assert np.array_equal(unpacked(both.bits, both.samples), whole[both.faults])
