"""What needs an extra that is not installed is skipped, tests and examples of docstrings; everything else is in ``tests/conftest.py``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from doctest import UnexpectedException
from typing import Any

import pytest
from _pytest import doctest

_DOCTEST_MODULE = doctest.DoctestModule
_COLLECT = doctest.DoctestModule.collect
_RUN = doctest.DoctestItem.runtest


_IMPORT = pytest.Module.collect


class _OwnCollector:
    """A plugin of its own, for hooks of this file do not reach a package that is installed elsewhere."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self) -> None:
        """Give pytest its own collector of doctests back: importing Brian2 puts another in its place, which fails on ``__init__.py``."""
        doctest.DoctestModule = _DOCTEST_MODULE  # type: ignore[misc]  # pytest's own class


def pytest_configure(config: pytest.Config) -> None:
    """Register what is to see all that is collected."""
    config.pluginmanager.register(_OwnCollector())


def _lacks(error: BaseException | None) -> str | None:
    """The module of an extra for want of which something was raised, if it was and the module is really not there."""
    from neurofault.engines.availability import EXTRAS
    from neurofault.errors import UnsupportedError

    extras = {module.split(".")[0] for extra in EXTRAS for module in extra.modules.values()} | {"h5py"}  # h5py comes with nir
    while error is not None:
        if isinstance(error, UnsupportedError) and "lava-nc" in str(error) and importlib.util.find_spec("lava") is None:
            return "lava"
        if isinstance(error, ModuleNotFoundError) and error.name:
            name = error.name.split(".")[0]
            return name if name in extras and importlib.util.find_spec(name) is None else None
        error = error.__cause__ or error.__context__
    return None


def _run(example: doctest.DoctestItem) -> None:
    """Run a docstring's examples up to the first that goes wrong; skip them if it does so because an extra is not installed."""
    try:
        _RUN(example)
    except UnexpectedException as failed:
        if lacks := _lacks(failed.exc_info[1]):
            pytest.skip(f"{lacks} is not installed")
        raise


def _where_extras_are(collect: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Iterator[Any]]:
    """Return what collects the tests or examples of a module, and skips it if it cannot be imported because an extra is not installed."""

    def collected(module: Any) -> Iterator[Any]:
        try:
            yield from collect(module)
        except Exception as failed:
            if lacks := _lacks(failed):
                pytest.skip(f"{lacks} is not installed", allow_module_level=True)
            raise

    return collected


def _tried() -> Iterator[None]:
    try:
        return (yield)
    except Exception as failed:
        if lacks := _lacks(failed):
            pytest.skip(f"{lacks} is not installed")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Skip a test whose fixtures need an extra that is not installed."""
    return (yield from _tried())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test that comes to need an extra that is not installed."""
    return (yield from _tried())


pytest.Module.collect = _where_extras_are(_IMPORT)  # type: ignore[method-assign]
# The classes, not hooks: hooks of this file do not reach the examples of a package that is installed elsewhere.
doctest.DoctestModule.collect = _where_extras_are(_COLLECT)  # type: ignore[method-assign]
doctest.DoctestItem.runtest = _run  # type: ignore[method-assign]
