"""Event recordings by name: which there are, and where their files are looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from neurofault.data import nmnist, saccades
from neurofault.data.binning import Binning
from neurofault.data.digits import TEN, digit_pixels, digit_roles
from neurofault.data.own import Division
from neurofault.data.splits import DataSet
from neurofault.data.unread import Unread, data_set_of_recordings
from neurofault.errors import DataError

DIGITS: Final = "digits-events"
EVENT_SETS: Final = (DIGITS, nmnist.NAME)
"""Names of sets of event recordings."""


def load_events(name: str, root: Path | None, binning: Binning) -> DataSet:
    """Return a set of event recordings, binned.

    Args:
        name: one of :data:`EVENT_SETS`.
        root: the data folder; None: there is none.
        binning: over what the set proposes.

    Raises:
        DataError: its files are not there, damaged, or not what their format says.
        UsageError: the binning does not fit.
    """
    if name == DIGITS:
        return _digits(binning)
    return nmnist.read_nmnist(_folder(root), binning)


def _digits(binning: Binning) -> DataSet:
    """Scikit-learn's digits before a simulated camera, in the roles and the order of ``digits``."""
    pixels, labels = digit_pixels()
    part = Unread(labels, saccades.seen_once(pixels, labels).take, chunk=len(labels))
    division = Division({role: ("all", order) for role, order in digit_roles(labels).items()}, TEN, ())
    return data_set_of_recordings({"all": part}, DIGITS, binning.over(saccades.BINNING), division)


def _folder(root: Path | None) -> Path:
    """Return the folder that holds N-MNIST: in the data folder, or that folder itself.

    Raises:
        DataError: there is none.
    """
    tried = [] if root is None else [root / nmnist.NAME, root]
    for folder in tried:
        if folder.is_dir() and nmnist.is_there(folder):
            return folder
    looked = " and in ".join(map(str, tried)) or "no folder (neither --data-dir nor NEUROFAULT_DATA is given)"
    raise DataError(
        f"data set {nmnist.NAME!r} not found: looked in {looked} for {nmnist.WANTED}. It is not downloaded: put the files of "
        f"www.garrickorchard.com/datasets/n-mnist into DIR/{nmnist.NAME}/ and give --data-dir DIR (or NEUROFAULT_DATA=DIR)"
    )
