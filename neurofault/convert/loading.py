"""Networks by name: the zoo, or a user's own torch module with weights that are read as data only."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from torch import nn

from neurofault.convert.state_dict import read_state
from neurofault.errors import ConversionError, UsageError
from neurofault.graph import Network


def user_network(path: str, weights: Path | None = None) -> nn.Module | Network:
    """Build a user's network: a torch module, whose weights are loaded, or a network of neurofault.

    Args:
        path: ``package.module:factory``, or ``file.py:factory``; ``factory()`` returns a ``torch.nn.Module`` (a class will do) or a
            :class:`neurofault.Network`. The current folder is searched too.
        weights: a state dict saved with ``torch.save``; read as data (:mod:`neurofault.convert.state_dict`), so a pickle that
            would execute code is refused. None: the weights that the factory made. A :class:`neurofault.Network` takes none.

    Raises:
        UsageError: no such module or factory.
        ConversionError: the factory fails or returns something else, or the weights do not fit it.
        DataError: the weights file is missing, unsafe or not a state dict.
    """
    module_name, _, factory_name = path.partition(":")
    if not module_name or not factory_name:
        raise UsageError(f"network {path!r}: write package.module:factory, or a name of the zoo")
    factory = getattr(_module(module_name, path), factory_name, None)
    if factory is None:
        raise UsageError(f"network {path!r}: module {module_name} has no {factory_name!r}")
    if not callable(factory):
        raise UsageError(
            f"network {path!r}: {factory_name} is {type(factory).__name__}, not a class or function that makes the module"
        )
    try:
        model = factory()
    except Exception as error:  # the user's own code may raise anything; it is reported as theirs
        raise ConversionError(f"network {path!r}: {factory_name}() raised {type(error).__name__}: {error}") from error
    if isinstance(model, Network):
        if weights is not None:
            raise UsageError(
                f"network {path!r}: {factory_name}() returned a Network, which has its weights; --weights goes with a torch module"
            )
        return model
    if not isinstance(model, nn.Module):
        raise ConversionError(
            f"network {path!r}: {factory_name}() returned {type(model).__name__}, not a torch.nn.Module or a neurofault.Network"
        )
    if weights is not None:
        state = read_state(weights)
        try:
            model.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            raise ConversionError(f"{weights}: weights do not fit {path}: {' '.join(str(error).split())}") from error
    return model.eval()


def _module(name: str, path: str) -> ModuleType:
    """Import a user's module by its name, or from a file if the name is one.

    Raises:
        UsageError: there is none, or importing it fails.
    """
    file = Path(name if name.endswith(".py") else f"{name}.py")
    folder = Path.cwd()
    if name.endswith(".py") or "/" in name:
        if not file.is_file():
            raise UsageError(f"network {path!r}: there is no file {file}; write package.module:factory, or file.py:factory")
        folder, name = file.resolve().parent, file.stem
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"network {path!r}: {error}; run where Python finds {name}, or set PYTHONPATH") from error
    except Exception as error:  # the user's own code may raise anything; it is reported as theirs
        raise UsageError(f"network {path!r}: importing {name} raised {type(error).__name__}: {error}") from error
    if folder != Path.cwd() and found.__file__ is not None and Path(found.__file__).resolve() != file.resolve():
        raise UsageError(
            f"network {path!r}: another module of the name {name} is loaded, from {found.__file__}; rename one of them"
        )
    return found
