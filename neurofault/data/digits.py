"""Scikit-learn's 1,797 digits (UCI Optical Recognition of Handwritten Digits, test part): the pixels, and which of them play which role."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.data.order import fair_order
from neurofault.streams import stream_key

TEN: Final = tuple(str(digit) for digit in range(10))
"""Names of ten classes."""


def digit_pixels() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the digits, int64 [1797, 8, 8], 0 to 16, and their labels, int64 [1797]."""
    file = digits_file()
    if file.is_file():
        numbers = np.loadtxt(file, np.int64, delimiter=",")
        return numbers[:, :-1].reshape(-1, 8, 8), numbers[:, -1]
    from sklearn.datasets import load_digits  # it knows where another version of scikit-learn has them

    pixels, target = load_digits(return_X_y=True)
    return pixels.astype(np.int64).reshape(-1, 8, 8), target.astype(np.int64)


def digits_file() -> Path:
    """Return where scikit-learn has its digits; importing it would take a second, with SciPy's statistics and whatever else is installed."""
    spec = find_spec("sklearn")
    folders = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(folders or [""]))) / "datasets" / "data" / "digits.csv.gz"


def digit_roles(labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the numbers of the digits in each role, in a fair order: 1,097 train, 200 validation, 500 test."""
    order = fair_order(labels, stream_key("data", "digits"))
    return {"train": order[700:], "validation": order[500:700], "test": order[:500]}
