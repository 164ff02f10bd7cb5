"""Which optional packages are installed, in which version, and the command that installs them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from neurofault.engines.on_lava.shim import INSTALL as INSTALL_LAVA
from neurofault.errors import UnsupportedError


@dataclass(frozen=True)
class Package:
    """Something that can be installed.

    Attributes:
        distribution: its name for pip.
        module: its name for ``import``.
        purpose: what neurofault does with it.
        install: the command that installs it.
    """

    distribution: str
    module: str
    purpose: str
    install: str

    @property
    def version(self) -> str | None:
        """What is installed; None: it is not. Nothing is imported."""
        try:
            found = importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:  # the parent of a submodule is missing
            found = False
        try:
            return importlib.metadata.version(self.distribution) if found else None
        except importlib.metadata.PackageNotFoundError:
            return "unknown"


def _adds(extra: str) -> str:
    """Return the one command that adds an extra."""
    if extra == "lava" and sys.version_info >= (3, 11):
        return INSTALL_LAVA
    return f'pip install "neurofault[{extra}]"'


BASE = (
    Package("numpy", "numpy", "everything", "pip install numpy"),
    Package("torch", "torch", "networks and their training", "pip install torch"),
)
"""What neurofault cannot do without, and what reports are asked about."""

OF_ENGINE: Mapping[str, Package] = {
    "exact": Package("numba", "numba", "engine exact", "pip install numba"),
    "lava": Package("lava-nc", "lava.magma", "engine lava", _adds("lava")),
    "brian2": Package("brian2", "brian2", "engine brian2", _adds("brian2")),
    "snntorch": Package("snntorch", "snntorch", "engine snntorch, networks of snnTorch", _adds("snntorch")),
}
"""What each engine needs beyond :data:`BASE`."""

FORMATS = (Package("nir", "nir", "NIR files in and out", _adds("nir")),)
"""What exchange formats need."""


@dataclass(frozen=True)
class Extra:
    """What ``pip install "neurofault[NAME]"`` adds.

    Attributes:
        name: of the extra.
        purpose: what neurofault does with it.
        modules: distribution → its name for ``import``.
        install: the command that adds it.
    """

    name: str
    purpose: str
    modules: Mapping[str, str]
    install: str

    @property
    def lacks(self) -> tuple[str, ...]:
        """Distributions that are missing; none: all of it is there. Nothing is imported."""
        return tuple(
            distribution
            for distribution, module in self.modules.items()
            if Package(distribution, module, self.purpose, self.install).version is None
        )


def _extra(name: str, purpose: str, **modules: str) -> Extra:
    known = {module.replace("_", "-"): found for module, found in modules.items()}
    return Extra(name, purpose, known, _adds(name))


EXTRAS = (
    _extra(
        "campaign",
        "campaign run and report",
        jinja2="jinja2",
        matplotlib="matplotlib",
        pyarrow="pyarrow",
        vl_convert_python="vl_convert",
    ),
    _extra("atlas", "atlas --out: tables and picture", matplotlib="matplotlib", pyarrow="pyarrow"),
    _extra("paper", "figures of paper, rescue --picture", matplotlib="matplotlib"),
    _extra("pandas", "results as pandas.DataFrame", pandas="pandas"),
    _extra("dask", "campaign run --dask", distributed="distributed"),
    _extra("nir", "NIR files in and out", nir="nir"),
    _extra("brian2", "engine brian2", brian2="brian2"),
    _extra("snntorch", "engine snntorch, networks of snnTorch", snntorch="snntorch"),
    _extra("lava", "engine lava, netx of Lava", lava_nc="lava.magma"),
    _extra(
        "docs",
        "building the site and the preprint",
        sphinx="sphinx",
        myst_parser="myst_parser",
        furo="furo",
        jinja2="jinja2",
        typst="typst",
    ),
)
"""Extras of the package, those that most need first."""


def require(engine: str) -> None:
    """Make sure that what an engine needs is there.

    Raises:
        UnsupportedError: it is not; the text gives the command.
    """
    package = OF_ENGINE[engine]
    if package.version is None:
        raise UnsupportedError(f"engine {engine!r} needs {package.distribution}, which is not installed: {package.install}")
