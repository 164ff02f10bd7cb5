"""Codes over stored words: a parity bit, and SECDED (Hamming with an overall parity bit), computed bit by bit.

A code word is k data bits and r check bits. Words of any k are codes of their own (shortened Hamming codes), so a word with fewer data bits has
fewer check bits. All arrays are uint8 of 0 and 1, words along the first axis.

Sources: Hamming 1950, Bell Syst. Tech. J. 29(2); Hsiao 1970, IBM J. Res. Dev. 14(4) (single error correction, double error detection).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
CodeName = Literal["parity", "secded"]
"""Codes that there are."""

CLEAN, CORRECTED, DETECTED = 0, 1, 2
"""What a decoder says of a word: nothing is wrong, one bit was and is put right, something is and it does not know what."""


@dataclass(frozen=True)
class ParityBit:
    """One check bit, the sum of the data bits modulo 2: an odd number of wrong bits is seen, none is put right.

    >>> code = ParityBit(4)
    >>> word = np.array([[1, 0, 1, 1]], np.uint8)
    >>> code.decode(word ^ [[0, 1, 0, 0]], code.encode(word))[1].tolist() == [DETECTED]
    True

    Attributes:
        data: k, at least 1.
    """

    name: ClassVar[CodeName] = "parity"
    data: int

    @property
    def checks(self) -> int:
        """R: 1."""
        return 1

    def encode(self, data: Bits) -> Bits:
        """Return the check bits, [n, 1], of data bits [n, k]."""
        return np.asarray(data.sum(axis=1, keepdims=True) % 2, np.uint8)

    def decode(self, data: Bits, checks: Bits) -> tuple[Bits, Bits]:
        """Return the data bits [n, k] as they are, and what is said of each word, uint8 [n]."""
        odd = (self.encode(data) ^ checks)[:, 0]
        return data, np.where(odd, DETECTED, CLEAN).astype(np.uint8)


@dataclass(frozen=True)
class HammingCode:
    """Single error correction, double error detection: one wrong bit of a word, data or check, is put right, any two are seen.

    The data bits stand at the positions 1, 2, 3 … that are no powers of two, the check bits at the powers of two; check bit i is the parity of all
    positions whose number has bit i. One more check bit is the parity of all. Three wrong bits and more look like one or like two, as in any such code.

    >>> code = HammingCode(64)
    >>> code.checks
    8
    >>> word = np.ones((1, 64), np.uint8)
    >>> wrong = word.copy()
    >>> wrong[0, 17] = 0
    >>> bool((code.decode(wrong, code.encode(word))[0] == word).all())
    True

    Attributes:
        data: k, at least 1.
    """

    name: ClassVar[CodeName] = "secded"
    data: int

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Int64 [k]: the position of each data bit, from 1."""
        numbers = np.arange(1, 2 * self.data + 4, dtype=np.int64)
        return np.asarray(numbers[(numbers & (numbers - 1)) != 0][: self.data])

    @cached_property
    def _syndromes(self) -> int:
        """How many check bits point at a position."""
        return int(self._positions[-1]).bit_length()

    @property
    def checks(self) -> int:
        """R, those that point and the parity of all."""
        return self._syndromes + 1

    @cached_property
    def _matrix(self) -> Bits:
        """[k, r − 1]: which pointing check bits each data bit is in."""
        return np.asarray(self._positions[:, None] >> np.arange(self._syndromes) & 1, np.uint8)

    def encode(self, data: Bits) -> Bits:
        """Return the check bits, [n, r], of data bits [n, k]."""
        pointing = (data.astype(np.int64) @ self._matrix) % 2
        whole = (data.sum(axis=1, keepdims=True) + pointing.sum(axis=1, keepdims=True)) % 2
        return np.asarray(np.concatenate([pointing, whole], axis=1), np.uint8)

    def decode(self, data: Bits, checks: Bits) -> tuple[Bits, Bits]:
        """Return the data bits [n, k], put right where one bit was wrong, and what is said of each word, uint8 [n]."""
        pointing = ((data.astype(np.int64) @ self._matrix) % 2) ^ checks[:, :-1]
        at = pointing @ (1 << np.arange(self._syndromes, dtype=np.int64))
        odd = (data.sum(axis=1, dtype=np.int64) + checks.sum(axis=1, dtype=np.int64)) % 2 == 1
        place = np.searchsorted(self._positions, at)
        is_data = (place < self.data) & (self._positions[np.minimum(place, self.data - 1)] == at)
        is_check = (at & (at - 1)) == 0  # 0: the parity of all itself
        right = data.copy()
        rows = np.flatnonzero(odd & is_data)
        right[rows, place[rows]] ^= 1
        said = np.where(odd, np.where(is_data | is_check, CORRECTED, DETECTED), np.where(at != 0, DETECTED, CLEAN))
        return right, said.astype(np.uint8)


Code = ParityBit | HammingCode
"""A code over words of some size."""


@lru_cache(maxsize=256)
def code_named(name: CodeName, data: int) -> Code:
    """Return a code over words of so many data bits.

    >>> [code_named("secded", bits).checks for bits in (1, 4, 8, 11, 26, 57, 64)]
    [3, 4, 5, 5, 6, 7, 8]
    """
    return ParityBit(data) if name == "parity" else HammingCode(data)
