"""Event recordings by name or by path: which sets there are, and where their files are looked for.

=================  ===========================================================================================
``digits-events``  embedded (:mod:`neurofault.data.saccades`)
``nmnist``         ``<dir>/nmnist/`` (:mod:`neurofault.data.nmnist`)
``dvs-gesture``    ``<dir>/dvs-gesture/`` (:mod:`neurofault.data.dvs_gesture`)
``shd``, ``ssc``   ``<dir>/shd/shd_train.h5``, ``shd_test.h5``; SSC has ``ssc_valid.h5`` too, which is its validation part
=================  ===========================================================================================

``<dir>`` itself may be that folder. None of them is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from neurofault.data import dvs_gesture, nmnist, saccades
from neurofault.data.binning import Binning
from neurofault.data.digits import TEN, digit_pixels, digit_roles
from neurofault.data.event_folder import unread_folder, why_no_recording
from neurofault.data.event_hdf5 import unread_hdf5
from neurofault.data.own import Division, roles_of
from neurofault.data.splits import DataSet
from neurofault.data.unread import NOTHING, Unread, data_set_of_recordings
from neurofault.errors import DataError, UsageError

HDF5: Final = (".h5", ".hdf5")
"""How names of recordings in HDF5 end."""

_COCHLEA: Final = Binning(bins=100, dt=0.014, rounding="down")
"""The 1.4 s of SHD and SSC in 100 steps, as Cramer et al. 2020 have them."""


@dataclass(frozen=True)
class _Named:
    """A published set of recordings.

    Attributes:
        folders: in the data folder, the first that holds it.
        wanted: files, in words.
        site: where it is published.
        binning: proposed.
        classes: names.
        is_there: says whether a folder holds it.
        unread: role → its recordings.
    """

    folders: tuple[str, ...]
    wanted: str
    site: str
    binning: Binning
    classes: tuple[str, ...]
    is_there: Callable[[Path], bool]
    unread: Callable[[Path], dict[str, Unread]]


def _of_cochlea(name: str, classes: int, parts: Mapping[str, str]) -> _Named:
    """Return SHD or SSC: role → its file."""

    def unread(folder: Path) -> dict[str, Unread]:
        return {role: unread_hdf5(folder / file, None, classes) for role, file in parts.items()}

    return _Named(
        (name,), " and ".join(parts.values()), "zenkelab.org/datasets", _COCHLEA, tuple(map(str, range(classes))),
        lambda folder: any((folder / file).is_file() for file in parts.values()), unread,
    )  # fmt: skip


_PUBLISHED: Final[Mapping[str, _Named]] = {
    nmnist.NAME: _Named(
        (nmnist.NAME,), nmnist.WANTED, "www.garrickorchard.com/datasets/n-mnist", nmnist.BINNING, TEN, nmnist.is_there, nmnist.unread_nmnist,
    ),
    dvs_gesture.NAME: _Named(
        dvs_gesture.FOLDERS, dvs_gesture.WANTED, "research.ibm.com/interactive/dvsgesture", dvs_gesture.BINNING, dvs_gesture.CLASSES,
        dvs_gesture.is_there, dvs_gesture.unread_gestures,
    ),
    "shd": _of_cochlea("shd", 20, {"train": "shd_train.h5", "test": "shd_test.h5"}),
    "ssc": _of_cochlea("ssc", 35, {"train": "ssc_train.h5", "validation": "ssc_valid.h5", "test": "ssc_test.h5"}),
}  # fmt: skip

DIGITS: Final = "digits-events"
EVENT_SETS: Final = (DIGITS, *_PUBLISHED)
"""Names of sets of event recordings."""


def load_events(name: str, root: Path | None, binning: Binning, most: Mapping[str, int] = NOTHING) -> DataSet:
    """Return a set of event recordings, binned.

    Args:
        name: one of :data:`EVENT_SETS`.
        root: the data folder; None: there is none.
        binning: over what the set proposes.
        most: role → how many of its recordings are read, at least 1; of files alone.

    Raises:
        DataError: its files are not there, damaged, or not what their format says.
        UsageError: the binning does not fit.
    """
    if binning.sensor is not None:
        raise UsageError(f"sensor: data {name} says its own; leave it out")
    if name == DIGITS:
        pixels, labels = digit_pixels()
        part = Unread(labels, saccades.seen_once(pixels, labels).take, chunk=len(labels))
        division = Division({role: ("all", order) for role, order in digit_roles(labels).items()}, TEN, ())
        return data_set_of_recordings({"all": part}, name, binning.over(saccades.BINNING), division)
    published = _PUBLISHED[name]
    unread = published.unread(_folder(name, published, root))
    division = replace(roles_of({role: part.labels for role, part in unread.items()}, name, name), classes=published.classes)
    return data_set_of_recordings(unread, name, binning.over(published.binning), division, most)


def load_recordings(path: Path, binning: Binning, most: Mapping[str, int] = NOTHING) -> DataSet:
    """Return one's own recordings, binned: a folder (:mod:`neurofault.data.event_folder`) or an HDF5 file (:mod:`neurofault.data.event_hdf5`).

    Args:
        path: of it.
        binning: complete.
        most: as of :func:`load_events`.

    Raises:
        DataError: what they hold is no recordings, or damaged.
        UsageError: the binning does not fit, or lacks ``bins`` or ``dt``.
    """
    name = path.name or str(path)
    if path.suffix.lower() in HDF5:
        unread, classes = {"test": unread_hdf5(path, binning.sensor)}, None
    else:
        unread, classes = unread_folder(path, binning.sensor)
    division = roles_of({role: part.labels for role, part in unread.items()}, name, "own")
    if classes is not None:
        division = replace(division, classes=classes)
    return data_set_of_recordings(unread, name, binning, division, most)


def is_recordings(name: str) -> bool:
    """Say whether a name is that of one's own recordings: an HDF5 file, or a folder.

    Raises:
        DataError: it is a single recording, which has no class.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() in HDF5 or path.is_dir():
        return True
    why = why_no_recording(path)
    if why is None or path.suffix.lower() == ".aedat4":
        raise DataError(
            f"{path}: {why or 'one recording has no class; put recordings into a folder, one inner folder a class, and give that folder'}"
        )
    return False


def _folder(name: str, published: _Named, root: Path | None) -> Path:
    """Return the folder that holds a set.

    Raises:
        DataError: there is none.
    """
    tried = [] if root is None else [*(root / each for each in published.folders), root]
    for folder in tried:
        if folder.is_dir() and published.is_there(folder):
            return folder
    looked = " and in ".join(map(str, tried)) or "no folder (neither --data-dir nor NEUROFAULT_DATA is given)"
    raise DataError(
        f"data set {name!r} not found: looked in {looked} for {published.wanted}. It is not downloaded: put the files of "
        f"{published.site} into DIR/{name}/ and give --data-dir DIR (or NEUROFAULT_DATA=DIR)"
    )
