"""Networks by name: the zoo, or a user's own torch module with weights that are read as data only."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from neurofault.convert.state_dict import read_state
from neurofault.errors import ConversionError, UsageError
from neurofault.graph import Network
from neurofault.importing import made_by


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
    model, factory = made_by(path, "network", ConversionError, "a name of the zoo, or a file (.nir, .net)"), path.partition(":")[2]
    if isinstance(model, Network):
        if weights is not None:
            raise UsageError(
                f"network {path!r}: {factory}() returned a Network, which has its weights; --weights goes with a torch module"
            )
        return model
    if not isinstance(model, nn.Module):
        raise ConversionError(
            f"network {path!r}: {factory}() returned {type(model).__name__}, not a torch.nn.Module or a neurofault.Network"
        )
    if weights is not None:
        state = read_state(weights)
        try:
            model.load_state_dict(state)
        except (RuntimeError, AttributeError) as error:
            raise ConversionError(f"{weights}: weights do not fit {path}: {' '.join(str(error).split())}") from error
    return model.eval()
