"""The one place that makes lava-nc 0.10.0 importable on Python 3.11 and later.

Lava declares ``@dataclass`` fields whose defaults are dataclass instances (``lava.magma.compiler.var_model``). Since Python 3.11 a
default without a hash is refused when the class is created. Lava never changes these defaults, so the cure is to create the
dataclasses of that one module with ``unsafe_hash=True``, which gives the defaults a hash; the standard library is restored at once.
It also chooses ``fork`` for the process as it is imported, which Python refuses where a start method was chosen before, if only by asking
for it, as every process that was started does; so that choice is taken back first.
lava-nc 0.10.0 also asks for Python < 3.11 and NumPy < 2 without need: it is installed without its limits.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import multiprocessing
import sys

from neurofault.errors import UnsupportedError

INSTALL = "pip install asteval networkx scipy scikit-learn && pip install --no-deps --ignore-requires-python lava-nc==0.10.0"
"""Command that installs what the ``lava`` engine needs."""

_VAR_MODEL = "lava.magma.compiler.var_model"
_PROCESSES = "lava.magma.runtime.message_infrastructure.multiprocessing"


def require_lava() -> None:
    """Make ``import lava`` work, once for the process.

    Raises:
        UnsupportedError: Lava is not installed; the text gives the command.
    """
    if importlib.util.find_spec("lava") is None or importlib.util.find_spec("lava.magma") is None:
        raise UnsupportedError(f"engine 'lava' needs lava-nc 0.10.0, which is not installed: {INSTALL}")
    if _PROCESSES not in sys.modules:
        multiprocessing.set_start_method(None, force=True)
    if _VAR_MODEL in sys.modules:
        return
    original = dataclasses.dataclass
    dataclasses.dataclass = functools.partial(original, unsafe_hash=True)
    try:
        importlib.import_module(_VAR_MODEL)
    finally:
        dataclasses.dataclass = original
