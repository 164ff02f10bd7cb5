"""Real data in fixed roles: digits (ships with scikit-learn), MNIST, Fashion-MNIST and CIFAR-10 from their published files; events by name.

Files are read in the publishers' own layouts, plain, gzip or xz, and never unpacked to disk::

    <dir>/mnist/train-images-idx3-ubyte[.gz|.xz]          likewise train-labels-idx1, t10k-images-idx3, t10k-labels-idx1
    <dir>/fashion-mnist/…                                 the same four names
    <dir>/cifar10/cifar-10-batches-bin/*.bin              or cifar-10-binary.tar[.gz|.xz] holding that folder
    <dir>/nmnist/…                                        and dvs-gesture, shd, ssc: see :mod:`neurofault.data.event_sets`
    <dir>/ecg-qtdb/QTDB_train.mat                         and QTDB_test.mat (:mod:`neurofault.data.ecg`); these are not downloaded; ``ecg-qtdb-windows``: the same
                                                          in windows of :data:`WINDOW` steps that have one label each (:mod:`neurofault.data.windows`)

``<dir>`` is the ``data_dir`` argument (``--data-dir``), else the environment's ``NEUROFAULT_DATA``; files that are not there are
downloaded once into the cache (:func:`neurofault.cache.cache_dir`) and checked against the publishers' MD5; recordings are not.

**Roles.** ``train`` fits, calibrates and adapts; ``validation`` (5,000 images of the published training set, a tenth of it if it
is smaller than 50,000) stops and tunes; ``test`` only reports. ``digits``, which has no published split, is cut into 500 test, 200
validation and 1,097 training images; ``digits-events`` (:mod:`neurofault.data.saccades`) has the same digits in the same roles and order.

**Order.** Each split is in one fixed order, keyed by the data set's name only, in which the first N images hold every class in its
share (to within a few images) and are among the first M > N. So the first N are a fair sample of the split. (The published order is
not fair: the first 5,000 of MNIST's test images are easier than the last 5,000, see the data set's own page.) ``indices`` leads
back to the published order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from neurofault.cache import cache_dir
from neurofault.data.binning import Binning
from neurofault.data.digits import TEN, digit_pixels, digit_roles
from neurofault.data.ecg import NAME as ECG
from neurofault.data.ecg import read_ecg_qtdb
from neurofault.data.event_sets import EVENT_SETS, is_recordings, load_events, load_recordings
from neurofault.data.factories import from_factory
from neurofault.data.image_files import CIFAR_ARCHIVE, CIFAR_FOLDER, IDX_STEMS, read_cifar_set, read_idx_set, variant
from neurofault.data.order import fair_order
from neurofault.data.own import read_npz
from neurofault.data.splits import DataSet, Split
from neurofault.data.unread import NOTHING
from neurofault.data.windows import in_windows
from neurofault.errors import DataError, UsageError, nearest
from neurofault.progress import told
from neurofault.streams import stream_key


@dataclass(frozen=True)
class Published:
    """A data set as its publisher offers it.

    Attributes:
        files: MD5 of each published file, by name.
        mirrors: where the files are, in the order in which they are tried; each ends in ``/``.
        classes: as in :class:`DataSet`.
        shape: (channels, height, width).
    """

    files: Mapping[str, str]
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    shape: tuple[int, int, int]


PUBLISHED: Final[Mapping[str, Published]] = {
    "mnist": Published(
        files={
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        classes=TEN,
        shape=(1, 28, 28),
    ),
    "fashion-mnist": Published(
        files={
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
        mirrors=(
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        shape=(1, 28, 28),
    ),
    "cifar10": Published(
        files={"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        shape=(3, 32, 32),
    ),
}
"""MNIST: mirrors of yann.lecun.com/exdb/mnist; Fashion-MNIST: github.com/zalandoresearch/fashion-mnist; CIFAR-10:
www.cs.toronto.edu/~kriz/cifar.html. A file fetched over any of them must have the publisher's MD5."""

ECG_WINDOWS: Final = f"{ECG}-windows"
"""Name of ``ecg-qtdb`` in windows."""

WINDOW: Final = 320
"""Steps of a window: 1.28 s, which is more than a heartbeat; it can be cut into 2, 4, 8 … equal epochs of learning."""

OF_EACH: Final[Mapping[str, int]] = {"train": 4, "validation": 16, "test": 8}
"""Windows of a recording, by role: of 557, 61 and 141 recordings 2,171, 976 and 1,098, for some of them have fewer labels."""

NAMES: Final = ("digits", *PUBLISHED, *EVENT_SETS, ECG, ECG_WINDOWS)
"""Every name that :func:`load` takes."""


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    binning: Binning | None = None,
    most: Mapping[str, int] = NOTHING,
) -> DataSet:
    """Return a data set in its fixed roles.

    Args:
        name: one of :data:`NAMES`; or one's own: a file ``*.npz`` (:mod:`neurofault.data.own`), ``package.module:factory``
            (:mod:`neurofault.data.factories`), or recordings, a folder or a file ``*.h5`` (:mod:`neurofault.data.event_sets`).
        data_dir: folder that holds ``mnist/``, ``fashion-mnist/``, ``cifar10/``; None: the environment's ``NEUROFAULT_DATA``.
            If it does not hold the set, the cache and then, for images, the network are tried. ``digits`` and ``digits-events`` need none of these.
        binning: how recordings become spikes of steps, over what the data set proposes; None: as it proposes.
        most: role → how many samples are needed, from the first, at least 1: recordings beyond are not read. Other data come whole.

    Raises:
        UsageError: a binning of what are no recordings, or out of range.
        DataError: unknown name; no such folder; a file that is missing, truncated or not what its format says; nothing there and
            no network; own data that do not make a data set.
    """
    if name in EVENT_SETS:
        return load_events(name, _root(data_dir), binning or Binning(), most)
    if name not in NAMES and ":" not in name and is_recordings(name):
        return load_recordings(Path(name).expanduser(), binning or Binning(), most)
    if binning is not None:
        raise UsageError(f"data {name!r} are not recordings in files: how they become steps cannot be chosen")
    if name.lower().endswith(".npz"):
        return read_npz(Path(name).expanduser())
    if ":" in name:
        return from_factory(name)
    if name not in NAMES:
        how = "; numbers of another file become one by numpy.savez('mine.npz', images=…, labels=…)" if Path(name).suffix else ""
        raise DataError(
            f"unknown data set {name!r}; known: {', '.join(NAMES)}, a file *.npz, a folder or a file *.h5 of recordings, or package.module:factory{nearest(name, NAMES)}{how}"
        )
    if name == "digits":
        return _digits()
    if name == ECG:
        return read_ecg_qtdb(_root(data_dir))
    if name == ECG_WINDOWS:
        return in_windows(read_ecg_qtdb(_root(data_dir)), name, WINDOW, OF_EACH)
    published = PUBLISHED[name]
    folder = _local_folder(name, data_dir) or _download(name, published, data_dir)
    told(f"data {name}: {'from the cache' if folder == cache_dir() / 'data' / name else 'files'}, {folder}")
    read = read_cifar_set if name == "cifar10" else read_idx_set
    images, labels, test_images, test_labels = read(folder, published.shape, len(published.classes))
    if len(labels) < 10:
        raise DataError(f"{folder}: {len(labels)} training images, expected at least 10 (a tenth is held out for validation)")
    order = fair_order(labels, stream_key("data", name, "train"))
    held_out = min(5000, len(order) // 10)
    test_order = fair_order(test_labels, stream_key("data", name, "test"))
    return DataSet(
        name,
        train=_take(images, labels, order[held_out:], f"{name}/train"),
        validation=_take(images, labels, order[:held_out], f"{name}/validation"),
        test=_take(test_images, test_labels, test_order, f"{name}/test"),
        classes=published.classes,
    )


def _digits() -> DataSet:
    """Scikit-learn's digits, 0…16 scaled to 0…255."""
    pixels, labels = digit_pixels()
    images = ((pixels * 255 + 8) // 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    train, validation, test = (_take(images, labels, order, f"digits/{role}") for role, order in digit_roles(labels).items())
    return DataSet("digits", train, validation, test, TEN)


def _take(images: NDArray[np.uint8], labels: NDArray[np.int64], order: NDArray[np.int64], name: str) -> Split:
    """Return the samples of ``order`` as a read-only split."""
    split = Split(images[order], labels[order], order.copy(), name)
    for array in (split.images, split.labels, split.indices):
        array.setflags(write=False)
    return split


def _local_folder(name: str, data_dir: str | Path | None) -> Path | None:
    """Return the set's folder under the data folder if it holds anything of the set, else None."""
    root = _root(data_dir)
    if root is None:
        return None
    if not root.is_dir():
        origin = "NEUROFAULT_DATA" if data_dir is None else "--data-dir"
        raise DataError(f"data folder {root} ({origin}) does not exist; it should hold {name}/ with {_wanted(name)}")
    folder = root / name
    if name == "cifar10":
        present = (folder / CIFAR_FOLDER).is_dir() or variant(folder, CIFAR_ARCHIVE) is not None
    else:
        present = any(variant(folder, stem) for stem in IDX_STEMS)
    return folder if present else None


def _root(data_dir: str | Path | None) -> Path | None:
    """Return the data folder that was asked for, if any."""
    asked = data_dir if data_dir is not None else os.environ.get("NEUROFAULT_DATA")
    return Path(asked).expanduser() if asked else None


def _wanted(name: str) -> str:
    """Name the files of a set."""
    if name == "cifar10":
        return f"{CIFAR_ARCHIVE}[.gz|.xz] or {CIFAR_FOLDER}/"
    return ", ".join(f"{stem}[.gz|.xz]" for stem in IDX_STEMS)


def _download(name: str, published: Published, data_dir: str | Path | None) -> Path:
    """Fetch a set's files into the cache, unless they are there with the right sum; return their folder."""
    import pooch

    folder = cache_dir() / "data" / name
    for file, md5 in published.files.items():
        failures = []
        for mirror in published.mirrors:
            try:
                pooch.retrieve(
                    mirror + file, f"md5:{md5}", file, folder, downloader=pooch.HTTPDownloader(chunk_size=2**18, timeout=30)
                )
                break
            except (OSError, ValueError) as error:
                reason = type(error).__name__ if isinstance(error, OSError) else "what came has another MD5"
                failures.append(f"{mirror}{file} ({reason})")
        else:
            root = _root(data_dir)
            looked = f"in {root / name}" if root else "in no folder (neither --data-dir nor NEUROFAULT_DATA is given)"
            raise DataError(
                f"data set {name!r} not found: looked for {_wanted(name)} {looked} and in the cache {folder}, "
                f"and could not download {' or '.join(failures)}. "
                f"Either put the published files into DIR/{name}/ and give --data-dir DIR (or NEUROFAULT_DATA=DIR), "
                f"or run once with a network; what is downloaded stays in the cache"
            )
    return folder
