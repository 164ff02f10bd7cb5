"""Which optional packages are installed, in which version, and the command that installs them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
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


BASE = (
    Package("numpy", "numpy", "everything", "pip install numpy"),
    Package("torch", "torch", "networks and their training", "pip install torch"),
)
"""What neurofault cannot do without, and what reports are asked about."""

OF_ENGINE: Mapping[str, Package] = {
    "exact": Package("numba", "numba", "engine exact", "pip install numba"),
    "lava": Package("lava-nc", "lava.magma", "engine lava", INSTALL_LAVA),
    "brian2": Package("brian2", "brian2", "engine brian2", 'pip install "brian2>=2.7"'),
    "snntorch": Package("snntorch", "snntorch", "engine snntorch, networks of snnTorch", 'pip install "snntorch>=0.9"'),
}
"""What each engine needs beyond :data:`BASE`."""

FORMATS = (Package("nir", "nir", "NIR files in and out", 'pip install "nir>=1.0"'),)
"""What exchange formats need."""


def require(engine: str) -> None:
    """Make sure that what an engine needs is there.

    Raises:
        UnsupportedError: it is not; the text gives the command.
    """
    package = OF_ENGINE[engine]
    if package.version is None:
        raise UnsupportedError(f"engine {engine!r} needs {package.distribution}, which is not installed: {package.install}")
