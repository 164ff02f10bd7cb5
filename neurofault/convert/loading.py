"""Networks by name: the zoo, or a user's own torch module with weights that are read as data only."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from torch import nn

from neurofault.convert.state_dict import read_state
from neurofault.errors import ConversionError, UsageError


def user_module(path: str, weights: Path | None = None) -> nn.Module:
    """Build a user's torch module and load its weights.

    Args:
        path: ``package.module:factory``; ``factory()`` returns a ``torch.nn.Module`` (a class will do). The current folder is
            searched too.
        weights: a state dict saved with ``torch.save``; read as data (:mod:`neurofault.convert.state_dict`), so a pickle that would execute code is refused.
            None: the weights that the factory made.

    Raises:
        UsageError: no such module or factory.
        ConversionError: the factory fails or returns something else, or the weights do not fit it.
        DataError: the weights file is missing, unsafe or not a state dict.
    """
    module_name, _, factory_name = path.partition(":")
    if not module_name or not factory_name:
        raise UsageError(f"network {path!r}: write package.module:factory, or a name of the zoo")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except ModuleNotFoundError as error:
        raise UsageError(f"network {path!r}: {error}; run where Python finds {module_name}, or set PYTHONPATH") from error
    except AttributeError as error:
        raise UsageError(f"network {path!r}: module {module_name} has no {factory_name!r}") from error
    try:
        model = factory()
    except Exception as error:  # the user's own code may raise anything; it is reported as theirs
        raise ConversionError(f"network {path!r}: {factory_name}() raised {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ConversionError(f"network {path!r}: {factory_name}() returned {type(model).__name__}, not a torch.nn.Module")
    if weights is not None:
        state = read_state(weights)
        try:
            model.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            raise ConversionError(f"{weights}: weights do not fit {path}: {' '.join(str(error).split())}") from error
    return model.eval()
