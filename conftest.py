"""For the tests of the package's own docstrings; everything else is in ``tests/conftest.py``."""

from __future__ import annotations

import pytest
from _pytest import doctest

_DOCTEST_MODULE = doctest.DoctestModule


@pytest.hookimpl(tryfirst=True)
def pytest_collectstart() -> None:
    """Give pytest its own collector of doctests back: importing Brian2 puts another in its place, which fails on ``__init__.py``."""
    doctest.DoctestModule = _DOCTEST_MODULE  # type: ignore[misc]  # pytest's own class
