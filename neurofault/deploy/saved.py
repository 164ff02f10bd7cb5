"""A deployment as one file, whatever has happened to it: placed, broken, learned, repaired, moved.

The file is a ZIP archive of NumPy arrays (as ``numpy.savez`` writes them, nothing packed) and one JSON text, ``deployment``, that says
what each is. It holds no code. A reader checks every size against the file before it makes anything, and everything that it reads
against what a chip of this profile can hold. Equal deployments give equal bytes.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import ValidationError

from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.profile import HardwareProfile
from neurofault.deploy.saved_chain import as_graph
from neurofault.deploy.saved_damage import read_damage, written_edit
from neurofault.deploy.saved_parts import Arrays, Parts, read_connections, read_placement, read_populations, read_readout
from neurofault.deploy.saved_protection import read_protection, written_protection
from neurofault.errors import UsageError
from neurofault.files import write_arrays
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.network import SampleReset

FORMAT = 2
"""Raised when a file of this version could not be read by an older one; files of 1 (chains of layers) are read too."""
STREAM_FORMAT = 3
"""As 2, with ``reset``: of deployments whose state is never reset, which an older version would reset."""
LAW_FORMAT = 4
"""As 2, or with ``reset`` as 3, and with laws or initial potentials of populations that an older version would not read."""
READ_FORMAT = 5
"""As 4 or below, with a readout of other potentials than the last, or of some steps, which an older version would not know."""
PROTECTED_FORMAT = 6
"""As 5 or below, with what protects the chip, and what is broken in the cells under it."""
KEPT_FORMAT = 7
"""As 6 or below, with spare cores that are kept for a chip, tile or layer, which an older version would share."""
ORDERED_FORMAT = 8
"""As 7 or below, with orders of bits, which an older version would leave out."""

_TEXT = "deployment"
_TYPES = ("|b1", "|i1", "|u1", "<i2", "<i4", "<i8", "<f8")
"""Types of numbers that a file holds."""

_Keep = Callable[[NDArray[np.generic]], int]
"""Puts an array aside and returns its number."""


def save(deployment: Deployment, path: str | Path) -> None:
    """Write a deployment to a file that :func:`load` reads back: the same integers, places and damage.

    >>> import tempfile
    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(chip, f"{folder}/chip.npz")
    ...     print(load(f"{folder}/chip.npz").connection("hands").synapses.weight.tolist())
    [[254, 0], [0, 254]]

    Args:
        deployment: healthy, damaged, learned or repaired.
        path: replaced if it exists; ``.npz`` by custom.

    Raises:
        UsageError: the file cannot be written.
    """
    arrays: list[NDArray[np.generic]] = []

    def kept(array: NDArray[np.generic]) -> int:
        arrays.append(np.ascontiguousarray(array))
        return len(arrays) - 1

    data = {
        "format": _format(deployment),
        "name": deployment.name,
        "profile": json.loads(deployment.profile.model_dump_json()),
        "populations": [_population(one, kept) for one in deployment.populations],
        "connections": [_connection(one, kept) for one in deployment.connections],
        "placement": {field.name: getattr(deployment.placement, field.name) for field in fields(deployment.placement)}
        | {"core_of": {one.name: kept(deployment.placement.core_of[one.name]) for one in deployment.populations}}
        | {"spare_layers": {str(core): name for core, name in deployment.placement.spare_layers.items()}},
        "timesteps": deployment.timesteps,
        **({} if deployment.reset == "sample" else {"reset": deployment.reset}),
        "readout": {name: value for name, value in asdict(deployment.readout).items() if name != "when" or value is not None},
        "damage": _damage(deployment.damage, kept),
    }
    if deployment.protection:
        data["protection"] = written_protection(deployment.protection, kept)
        data["cells"] = None if deployment.damage.under is None else _damage(deployment.damage.under, kept)
    if deployment.placement.spares_for == "all":
        del data["placement"]["spares_for"], data["placement"]["spare_layers"]
    text = np.frombuffer(json.dumps(data, default=lambda value: value.item()).encode(), np.uint8)
    try:
        write_arrays(Path(path), {_TEXT: text, **{str(number): array for number, array in enumerate(arrays)}})
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _damage(damage: Damage, kept: _Keep) -> dict[str, Any]:
    return {
        "edits": [written_edit(edit, kept) for edit in damage.edits],
        "hits": [
            asdict(hit) | {"broken": [{"broken": type(place).__name__, **asdict(place)} for place in hit.broken]}
            for hit in damage.hits
        ],
        "dead_cores": damage.dead_cores,
    }


def _format(deployment: Deployment) -> int:
    """Return the lowest format that says all of a deployment."""
    if deployment.protection.orders:
        return ORDERED_FORMAT
    if deployment.placement.spares_for != "all":
        return KEPT_FORMAT
    if deployment.protection:
        return PROTECTED_FORMAT
    if not deployment.readout.usual:
        return READ_FORMAT
    if any(not one.law.usual or np.ndim(one.v_init) for one in deployment.populations):
        return LAW_FORMAT
    return FORMAT if deployment.reset == "sample" else STREAM_FORMAT


def _population(population: ChipPopulation, kept: _Keep) -> dict[str, Any]:
    own = _written(population, kept)
    if population.law.usual:
        del own["law"]  # as files of before have it, which are read by what was before
    else:
        own["law"] = _written(population.law, lambda array: {"array": kept(array)})
        own["law"]["arithmetic"] = asdict(population.law.arithmetic)
    if np.ndim(population.v_init):
        own["v_init"] = {"array": own["v_init"]}
    if population.encoding is not None:
        own["encoding"] = _written(population.encoding, kept)
    return own


def _connection(connection: ChipConnection, kept: _Keep) -> dict[str, Any]:
    synapses = connection.synapses
    return _written(connection, kept) | {"synapses": {"kind": type(synapses).__name__, **_written(synapses, kept)}}


def _written(record: Any, kept: Callable[[NDArray[np.generic]], Any]) -> dict[str, Any]:
    """Return the fields of a record; of arrays, what stands for them."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: kept(value) if isinstance(value, np.ndarray) else value for name, value in values.items()}


def load(path: str | Path) -> Deployment:
    """Read a deployment that :func:`save` wrote.

    >>> load("missing.npz")
    Traceback (most recent call last):
    neurofault.errors.UsageError: missing.npz: no such file

    Args:
        path: the file.

    Raises:
        UsageError: it is missing, damaged, of another format, or holds what no chip does; one line.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, _Members(archive))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        _damaged(path, f"{place + ': ' if place else ''}{first['msg']}")
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        RecursionError,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        _damaged(path, f"{error}" or type(error).__name__)


def _damaged(path: str | Path, why: str) -> NoReturn:
    raise UsageError(f"{path}: not a saved deployment, or a damaged one ({' '.join(why.split())[:200]})") from None


class _Members(Mapping[str, NDArray[Any]]):
    """The arrays of an archive by name; each is checked before room is made for it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Any:
        return iter(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._members:
            raise ValueError(f"array {name} is missing")
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"array {name} is packed")
        raw = self._archive.read(member)
        stream = io.BytesIO(raw)
        if npy.read_magic(stream) != (1, 0):  # type: ignore[no-untyped-call]  # NumPy's
            raise ValueError(f"array {name} is of another version")
        shape, fortran, dtype = npy.read_array_header_1_0(stream)  # type: ignore[no-untyped-call]  # NumPy's
        if dtype.str not in _TYPES or fortran:
            raise ValueError(f"array {name} holds {dtype.str}")
        room = len(raw) - stream.tell()
        if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != room:
            raise ValueError(f"array {name} of shape {shape} does not take {room} bytes")
        array: NDArray[Any] = np.frombuffer(raw, dtype, offset=stream.tell()).reshape(shape).copy()
        return array


def _read(path: str | Path, members: _Members) -> Deployment:
    data = json.loads(members[_TEXT].tobytes().decode())
    if not isinstance(data, dict) or "format" not in data:
        raise ValueError("no format is named")
    if data["format"] not in range(1, ORDERED_FORMAT + 1) or isinstance(data["format"], bool):
        raise UsageError(
            f"{path}: format {str(data['format'])[:40]} of a saved deployment is not known; this version reads 1 to {ORDERED_FORMAT}"
        )
    parts, arrays = Parts(as_graph(data) if data["format"] == 1 else data), Arrays(members)
    profile = HardwareProfile.model_validate_json(json.dumps(parts.of("profile", dict[str, Any])))
    populations = read_populations(parts, arrays)
    connections = read_connections(parts, arrays, populations)
    placement = read_placement(parts.inner("placement"), arrays, populations, profile)
    timesteps = parts.of("timesteps", int)
    if not 1 <= timesteps < 1 << 31:
        raise ValueError(f"timesteps is {timesteps}")
    readout = read_readout(parts.inner("readout"), populations, connections, known=data["format"] >= READ_FORMAT)
    if (beyond := readout.beyond(timesteps)) is not None:
        raise ValueError(beyond)
    damage = read_damage(parts.inner("damage"), arrays, populations, connections, placement)
    reset: SampleReset = "sample"
    if data["format"] == STREAM_FORMAT or (data["format"] >= LAW_FORMAT and "reset" in parts.data):
        if parts.of("reset", str) != "never":
            raise ValueError(f"reset is {parts.of('reset', str)!r}")
        reset = "never"
    made = Deployment(parts.of("name", str), profile, populations, connections, placement, timesteps, readout, damage, reset)
    if data["format"] < PROTECTED_FORMAT or (data["format"] == KEPT_FORMAT and "protection" not in parts.data):
        return made
    if parts.data.get("cells") is not None:
        cells = read_damage(parts.inner("cells"), arrays, populations, connections, placement)
        made = replace(made, damage=replace(damage, under=cells))
    return replace(made, protection=read_protection(parts.inner("protection"), arrays, made))
