"""A NIR file as a NIR file: the same nodes and edges, bit for bit, with the time step and the steps a sample that were asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from neurofault.convert.nir_fields import NirReset
from neurofault.convert.nir_file import read_graph
from neurofault.convert.nir_graph import from_nir
from neurofault.convert.nir_kept import KEY
from neurofault.convert.nir_step import step_of
from neurofault.errors import UsageError
from neurofault.graph import Network


def copy_nir(
    source: Path, target: Path, *, dt: float | None = None, timesteps: int | None = None, reset: NirReset | None = None
) -> tuple[Network, float]:
    """Copy a NIR file that converts; nothing is written of one that does not.

    Args:
        source: NIR file.
        target: NIR file to write, replaced as a whole.
        dt: kept in ``metadata["dt"]`` of the copy; None: as in the file.
        timesteps: kept in ``metadata["timesteps"]``; None: as in the file.
        reset: kept in ``metadata["reset"]``; None: as in the file.

    Returns:
        The network as :func:`neurofault.convert.nir_graph.from_nir` reads it, and its time step.

    Raises:
        NeurofaultError: as for ``from_nir``, or the file cannot be written.
    """
    import h5py  # type: ignore[import-untyped]  # ships no type information

    network = from_nir(source, dt=dt, timesteps=timesteps, reset=reset)
    graph = read_graph(source)
    step = step_of(graph, dt)
    said: dict[str, object] = {
        key: value for key, value in (("dt", dt), ("timesteps", timesteps), ("reset", reset)) if value is not None
    }
    if timesteps is not None and KEY in graph.metadata:
        text = graph.metadata[KEY]
        said[KEY] = json.dumps(json.loads(text.decode("utf8") if isinstance(text, bytes) else str(text)) | {"timesteps": timesteps})
    part = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(source, part)
        if said:
            with h5py.File(part, "r+") as file:
                metadata = file["node"].require_group("metadata")
                for key, value in said.items():
                    if key in metadata:
                        del metadata[key]
                    metadata[key] = value
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"{target}: cannot be written ({error.strerror or error})") from error
    return network, step.dt
