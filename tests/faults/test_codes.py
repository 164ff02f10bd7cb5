"""Codes over words: exhaustive on error patterns, and on all words where there are few."""

from itertools import combinations, product

import numpy as np
import pytest

from neurofault.damage.codes import CLEAN, CORRECTED, DETECTED, HammingCode, ParityBit, code_named


def patterns(bits: int, wrong: int) -> np.ndarray:
    """Return every pattern of so many wrong bits, uint8 [n, bits]."""
    chosen = list(combinations(range(bits), wrong))
    found = np.zeros((len(chosen), bits), np.uint8)
    for row, places in enumerate(chosen):
        found[row, list(places)] = 1
    return found


def decoded(code, data, wrong):
    """Return what a decoder says of words with wrong bits, data bits first, then check bits."""
    checks = code.encode(data)
    return code.decode(data ^ wrong[:, : code.data], checks ^ wrong[:, code.data :])


@pytest.mark.parametrize("data", range(1, 9))
def test_secded_puts_every_single_and_sees_every_double_error_of_every_word_right(data):
    code = HammingCode(data)
    words = np.array(list(product((0, 1), repeat=data)), np.uint8)
    for wrong, said in ((0, CLEAN), (1, CORRECTED), (2, DETECTED)):
        for pattern in patterns(data + code.checks, wrong):
            right, found = decoded(code, words, np.tile(pattern, (len(words), 1)))
            assert (found == said).all()
            if said != DETECTED:
                assert (right == words).all()


@pytest.mark.parametrize("data", [11, 12, 26, 32, 57, 58, 64, 128])
def test_secded_of_longer_words_on_every_single_and_double_error(data):
    code, random = HammingCode(data), np.random.default_rng(data)
    single, double = patterns(data + code.checks, 1), patterns(data + code.checks, 2)
    for _ in range(3):
        word = random.integers(0, 2, (1, data)).astype(np.uint8)
        right, found = decoded(code, np.tile(word, (len(single), 1)), single)
        assert (right == word).all()
        assert (found == CORRECTED).all()
        right, found = decoded(code, np.tile(word, (len(double), 1)), double)
        assert (found == DETECTED).all()
        assert (right == np.tile(word, (len(double), 1)) ^ double[:, :data]).all()  # nothing is changed where nothing is known


def test_secded_has_the_check_bits_of_the_books():
    assert {data: code_named("secded", data).checks for data in (1, 4, 8, 11, 16, 26, 32, 57, 64, 120)} == {
        1: 3, 4: 4, 8: 5, 11: 5, 16: 6, 26: 6, 32: 7, 57: 7, 64: 8, 120: 8,
    }  # fmt: skip


def test_parity_sees_odd_numbers_of_wrong_bits_alone():
    code = ParityBit(8)
    words = np.array(list(product((0, 1), repeat=8)), np.uint8)
    for wrong in range(5):
        for pattern in patterns(9, wrong):
            right, found = decoded(code, words, np.tile(pattern, (len(words), 1)))
            assert (found == (DETECTED if wrong % 2 else CLEAN)).all()
            assert (right == words ^ pattern[:8]).all()
