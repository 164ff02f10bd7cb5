"""Named random streams: keys, permutations that are prefixes of each other, counts that grow with the rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neurofault.streams import binomial_count, counter_hash, generator, permutation_prefix, standard_normal, stream_key

KEYS = st.integers(0, 2**64 - 1)
PART = st.integers(-(2**70), 2**70) | st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), max_size=8)


@given(KEYS, st.integers(1, 3000))
def test_a_whole_permutation_holds_every_index_once(key, population):
    assert sorted(permutation_prefix(key, population, population).tolist()) == list(range(population))


@given(KEYS, st.integers(1, 2**62), st.integers(0, 200), st.integers(0, 200))
def test_fewer_are_the_first_of_more(key, population, few, more):
    few, more = sorted((min(few, population), min(more, population)))
    longer = permutation_prefix(key, population, more)
    assert np.array_equal(permutation_prefix(key, population, few), longer[:few])
    assert len(set(longer.tolist())) == more
    assert np.all((longer >= 0) & (longer < population))


def test_a_prefix_costs_nothing_in_the_population():
    assert permutation_prefix(1, 2**62, 3).dtype == np.int64


@pytest.mark.parametrize("count", [-1, 11])
def test_more_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=f"^count {count} outside 0…10$"):
        permutation_prefix(1, 10, count)


def test_every_index_is_first_about_as_often():
    population, keys = 16, 4000
    first = [int(permutation_prefix(stream_key("first", key), population, 1)[0]) for key in range(keys)]
    assert stats.chisquare(np.bincount(first, minlength=population)).pvalue > 1e-4


def test_every_pair_of_neighbours_is_about_as_frequent():
    population, keys = 5, 3000
    pairs = [permutation_prefix(stream_key("pair", key), population, 2) for key in range(keys)]
    counts = np.bincount([int(first * population + second) for first, second in pairs], minlength=population**2)
    off_diagonal = counts[~np.eye(population, dtype=bool).reshape(-1)]
    assert counts.sum() == off_diagonal.sum()
    assert stats.chisquare(off_diagonal).pvalue > 1e-4


@given(st.lists(PART, min_size=1, max_size=5), st.lists(PART, min_size=1, max_size=5))
def test_a_key_names_its_parts_with_their_types(one, other):
    assert 0 <= stream_key(*one) < 2**64
    same = [(type(part), part) for part in one] == [(type(part), part) for part in other]
    assert (stream_key(*one) == stream_key(*other)) == same


def test_a_number_is_not_its_text_and_parts_do_not_run_together():
    assert len({stream_key(1, 2), stream_key("1", 2), stream_key(12), stream_key("1", "2"), stream_key("12")}) == 5


def test_keys_do_not_change_between_releases():
    assert stream_key(1, "core_dead", "hidden", 0) == 4175321271218532255
    assert permutation_prefix(7, 100, 5).tolist() == [92, 47, 65, 9, 64]
    assert [int(bits) for bits in counter_hash(5, np.arange(2), 3)] == [8053012747547350337, 10333776422494348831]
    assert binomial_count(11, 10**6, 1e-3) == 1061


def test_a_generator_is_its_stream():
    assert generator(1, "order").integers(0, 2**32, 4).tolist() == generator(1, "order").integers(0, 2**32, 4).tolist()
    assert generator(1, "order").integers(0, 2**32, 4).tolist() != generator(2, "order").integers(0, 2**32, 4).tolist()


@given(KEYS, st.integers(0, 10**9), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_never_fails_fewer_sites(key, population, one, other):
    low, high = sorted((one, other))
    assert 0 <= binomial_count(key, population, low) <= binomial_count(key, population, high) <= population


@given(KEYS, st.integers(0, 10**9))
def test_no_rate_fails_none_and_certainty_fails_all(key, population):
    assert binomial_count(key, population, 0.0) == 0
    assert binomial_count(key, population, 1.0) == population


def test_counts_follow_the_binomial_distribution():
    population, rate, keys = 50, 0.2, 4000
    counts = [binomial_count(stream_key("binomial test", key), population, rate) for key in range(keys)]
    edges = [0, 7, 8, 9, 10, 11, 12, 13, population + 1]
    observed = np.histogram(counts, edges)[0]
    expected = np.diff(stats.binom.cdf(np.array(edges) - 1, population, rate)) * keys
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4


@given(KEYS, st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
def test_counter_bits_are_the_same_one_by_one_and_together(key, counters):
    together = counter_hash(key, np.array(counters), np.arange(len(counters)))
    assert together.dtype == np.uint64
    assert together.tolist() == [int(counter_hash(key, counter, index)) for index, counter in enumerate(counters)]


def test_counters_are_told_apart_by_place():
    sample, step = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    assert len(np.unique(counter_hash(3, sample, step))) == 64 * 64
    assert int(counter_hash(3, 1, 2)) != int(counter_hash(3, 2, 1))
    assert int(counter_hash(3, 1, 2)) != int(counter_hash(4, 1, 2))


def test_counter_bits_are_even():
    bits = counter_hash(9, np.arange(4096)[:, None], np.arange(8))
    ones = np.unpackbits(np.ascontiguousarray(bits).view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.005


def test_normal_numbers_are_normal():
    numbers = standard_normal(counter_hash(17, np.arange(20_000)))
    assert stats.kstest(numbers, "norm").pvalue > 1e-4
    extremes = standard_normal(np.array([0, 2**64 - 1], np.uint64))
    assert extremes[0] == -extremes[1]
    assert np.all(np.isfinite(extremes))
