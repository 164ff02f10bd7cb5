from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurofault.data import datasets
from neurofault.data.datasets import load
from neurofault.data.digits import digit_pixels
from neurofault.data.splits import ROLES, DataSet, Split
from neurofault.errors import DataError, UsageError

PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": partial(gzip.compress, mtime=0), ".xz": lzma.compress}
STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def idx(array: NDArray[np.integer]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def tiny(shape: tuple[int, ...], n_train: int = 40, n_test: int = 13) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(5)
    return [
        random.integers(0, 256 if size else 10, (count, *size), np.uint8) for count in (n_train, n_test) for size in (shape, ())
    ]


def write_mnist(root: Path, arrays: list[NDArray[np.uint8]], suffix: str = "", name: str = "mnist") -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(STEMS, arrays, strict=True):
        (folder / (stem + suffix)).write_bytes(PACK[suffix](idx(array)))
    return root


def cifar_batches(arrays: list[NDArray[np.uint8]]) -> dict[str, bytes]:
    images, labels, test_images, test_labels = arrays
    parts = [*zip(np.array_split(images, 5), np.array_split(labels, 5), strict=True), (test_images, test_labels)]
    return {
        name: b"".join(bytes([label]) + image.tobytes() for image, label in zip(*part, strict=True))
        for name, part in zip(BATCHES, parts, strict=True)
    }


def tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in {"batches.meta.txt": b"airplane\n", **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def write_cifar(root: Path, files: dict[str, bytes], form: str) -> Path:
    folder = root / "cifar10"
    if form == "folder":
        (folder / "cifar-10-batches-bin").mkdir(parents=True)
        for name, content in files.items():
            (folder / "cifar-10-batches-bin" / name).write_bytes(content)
    else:
        folder.mkdir(parents=True)
        (folder / f"cifar-10-binary.tar{form}").write_bytes(PACK[form](tar(files)))
    return root


def published_order(*splits: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    order = np.argsort(np.concatenate([split.indices for split in splits]))
    images = np.concatenate([split.images for split in splits])[order]
    return images, np.concatenate([split.labels for split in splits])[order]


def check_holds(data: DataSet, arrays: list[NDArray[np.uint8]], shape: tuple[int, int, int]) -> None:
    for splits, images, labels in (((data.train, data.validation), *arrays[:2]), ((data.test,), *arrays[2:])):
        held_images, held_labels = published_order(*splits)
        np.testing.assert_array_equal(held_images, images.reshape(-1, *shape))
        np.testing.assert_array_equal(held_labels, labels)
        assert held_images.dtype == np.uint8
        assert held_labels.dtype == np.int64


def message(call: Callable[[], object], kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# ── digits ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load("digits")


def test_digits_are_the_real_ones_scaled_to_a_byte(digits: DataSet) -> None:
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images, labels = published_order(digits.train, digits.validation, digits.test)
    np.testing.assert_array_equal(images, np.floor(pixels * 255 / 16 + 0.5).reshape(-1, 1, 8, 8))
    np.testing.assert_array_equal(labels, target)
    assert (images.dtype, images.min(), images.max(), digits.shape) == (np.uint8, 0, 255, (1, 8, 8))
    assert digits.classes == tuple("0123456789")


def test_digits_are_found_wherever_scikit_learn_keeps_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = digit_pixels()
    monkeypatch.setattr("neurofault.data.digits.digits_file", lambda: tmp_path / "gone")
    for one, other in zip(found, digit_pixels(), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype == np.int64


def test_digits_roles_are_fixed_disjoint_and_balanced(digits: DataSet) -> None:
    splits = (digits.train, digits.validation, digits.test)
    assert [len(split) for split in splits] == [1097, 200, 500]
    assert sorted(np.concatenate([split.indices for split in splits]).tolist()) == list(range(1797))
    for split in splits:
        counts = np.bincount(split.labels)
        expected = np.bincount(np.concatenate([part.labels for part in splits])) * len(split) / 1797
        assert np.abs(counts - expected).max() < 3
    assert digits.test.indices[:6].tolist() == [177, 1121, 66, 291, 1026, 1531]
    assert digits.digest == "b7232ac2ec74b33cbc78768925b9199a"


def test_first_is_a_prefix_and_a_fair_sample(digits: DataSet) -> None:
    few, more = digits.test.first(100), digits.test.first(200)
    np.testing.assert_array_equal(few.indices, more.indices[:100])
    np.testing.assert_array_equal(few.images, digits.test.images[:100])
    np.testing.assert_array_equal(few.labels, digits.test.labels[:100])
    assert np.abs(np.bincount(few.labels) - 10).max() <= 2
    assert digits.test.first(500).digest == digits.test.digest != few.digest


@pytest.mark.parametrize("samples", [0, -3, 501])
def test_first_refuses_more_than_there_is(digits: DataSet, samples: int) -> None:
    expected = f"samples: {samples} asked for, digits/test holds 500 images (allowed: 1 to 500)"
    assert message(lambda: digits.test.first(samples), UsageError) == expected


def test_roles_by_name(digits: DataSet) -> None:
    assert [digits.split(role).name for role in ROLES] == ["digits/train", "digits/validation", "digits/test"]
    expected = "unknown split 'tset'; known: train, validation, test (did you mean 'test'?)"
    assert message(lambda: digits.split("tset"), UsageError) == expected


def test_arrays_are_read_only(digits: DataSet) -> None:
    for array in (digits.train.images, digits.train.labels, digits.train.indices, digits.test.first(3).images):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# ── published layouts ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_plain_and_packed(tmp_path: Path, name: str, suffix: str) -> None:
    arrays = tiny((28, 28))
    data = load(name, data_dir=write_mnist(tmp_path, arrays, suffix, name))
    check_holds(data, arrays, (1, 28, 28))
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 13)
    assert data.test.name == f"{name}/test"


@pytest.mark.parametrize("form", ["folder", "", ".gz", ".xz"])
def test_cifar_folder_and_archives(tmp_path: Path, form: str) -> None:
    arrays = tiny((3, 32, 32))
    data = load("cifar10", data_dir=write_cifar(tmp_path, cifar_batches(arrays), form))
    check_holds(data, arrays, (3, 32, 32))
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 13)
    assert data.classes[3] == "cat"


def test_packing_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    arrays = tiny((28, 28))
    write_mnist(tmp_path, arrays, ".gz")
    for stem in STEMS:
        (tmp_path / "mnist" / f"{stem}.gz").rename(tmp_path / "mnist" / stem)
    check_holds(load("mnist", data_dir=tmp_path), arrays, (1, 28, 28))


def test_digest_is_of_the_data_not_of_the_files(tmp_path: Path) -> None:
    arrays = tiny((28, 28))
    digest = load("mnist", data_dir=write_mnist(tmp_path / "plain", arrays)).digest
    assert load("mnist", data_dir=write_mnist(tmp_path / "packed", arrays, ".xz")).digest == digest
    arrays[2][3, 4, 5] ^= 1
    assert load("mnist", data_dir=write_mnist(tmp_path / "pixel", arrays)).digest != digest
    arrays[2][3, 4, 5] ^= 1
    arrays[3][4] = (arrays[3][4] + 1) % 10
    assert load("mnist", data_dir=write_mnist(tmp_path / "label", arrays)).digest != digest


def test_data_folder_from_the_environment_unless_one_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "a", tiny((28, 28), n_test=3))
    write_mnist(tmp_path / "b", tiny((28, 28), n_test=5))
    monkeypatch.setenv("NEUROFAULT_DATA", str(tmp_path / "a"))
    assert len(load("mnist").test) == 3
    assert len(load("mnist", data_dir=tmp_path / "b").test) == 5


@given(labels=st.lists(st.integers(0, 9), min_size=10, max_size=300))
@settings(max_examples=25, deadline=None)
def test_every_prefix_holds_each_class_in_its_share(tmp_path_factory: pytest.TempPathFactory, labels: list[int]) -> None:
    n = len(labels)
    arrays = [np.zeros((n, 28, 28), np.uint8), np.array(labels, np.uint8)] * 2
    test = load("mnist", data_dir=write_mnist(tmp_path_factory.mktemp("fair"), arrays)).test
    share = np.bincount(labels, minlength=10) / n
    seen = np.cumsum(np.eye(10)[test.labels], axis=0)
    assert np.all(np.abs(seen - np.outer(np.arange(1, n + 1), share)) <= 1 + 10 * share)


# ── what can be wrong with files ───────────────────────────────────────────────────────────────────────────────────────


def test_unknown_name() -> None:
    expected = "unknown data set 'cifar-10'; known: digits, mnist, fashion-mnist, cifar10, digits-events, nmnist, dvs-gesture, shd, ssc, ecg-qtdb, ecg-qtdb-windows, a file *.npz, a folder or a file *.h5 of recordings, or package.module:factory (did you mean 'cifar10'?)"
    assert message(lambda: load("cifar-10")) == expected


def test_data_folder_that_does_not_exist(tmp_path: Path) -> None:
    files = ", ".join(f"{stem}[.gz|.xz]" for stem in STEMS)
    expected = f"data folder {tmp_path}/nowhere (--data-dir) does not exist; it should hold mnist/ with {files}"
    assert message(lambda: load("mnist", data_dir=tmp_path / "nowhere")) == expected


def test_one_file_missing(tmp_path: Path) -> None:
    write_mnist(tmp_path, tiny((28, 28)))
    (tmp_path / "mnist" / STEMS[3]).unlink()
    expected = f"{tmp_path}/mnist: t10k-labels-idx1-ubyte[.gz|.xz] is missing; expected all of {', '.join(STEMS)}"
    assert message(lambda: load("mnist", data_dir=tmp_path)) == expected


IMAGES = idx(tiny((28, 28))[0])
IDX_MISTAKES = {
    "empty": (0, b"", "is empty, expected 0x00000803 (IDX, unsigned bytes, dimensions: 3)"),
    "magic": (0, b"\0\0\x08\1" + IMAGES[4:], "starts with 0x00000801, expected 0x00000803 (IDX, unsigned bytes, dimensions: 3)"),
    "header": (0, IMAGES[:15], "truncated: 15 bytes, expected a header of 16"),
    "short": (0, IMAGES[:-1], "truncated: 31359 bytes after the header, expected 31360 for 40 items"),
    "long": (0, IMAGES + b"\0", "too long: 31361 bytes after the header, expected 31360 for 40 items"),
    "huge": (
        0,
        IMAGES[:4] + b"\xff" * 4 + IMAGES[8:],
        f"truncated: 31360 bytes after the header, expected {(2**32 - 1) * 784} for {2**32 - 1} items",
    ),
    "shape": (0, idx(np.zeros((40, 28, 27), np.uint8)), "images of 28×27 pixels, expected 28×28"),
    "none": (0, idx(np.zeros((0, 28, 28), np.uint8)), "holds no items, expected at least 1"),
    "label": (1, idx(np.arange(40) % 11), "label 10 at position 10, expected 0 to 9"),
    "counts": (1, idx(np.zeros(39, np.uint8)), f"39 labels for the 40 images of {{folder}}/{STEMS[0]}"),
}


@pytest.mark.parametrize("case", IDX_MISTAKES)
def test_idx_files_that_are_not_what_they_say(tmp_path: Path, case: str) -> None:
    which, content, expected = IDX_MISTAKES[case]
    folder = write_mnist(tmp_path, tiny((28, 28))) / "mnist"
    (folder / STEMS[which]).write_bytes(content)
    assert message(lambda: load("mnist", data_dir=tmp_path)) == f"{folder}/{STEMS[which]}: " + expected.format(folder=folder)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_packed_file_cut_short(tmp_path: Path, suffix: str) -> None:
    path = write_mnist(tmp_path, tiny((28, 28)), suffix) / "mnist" / (STEMS[0] + suffix)
    path.write_bytes(path.read_bytes()[:-20])
    expected = f"{path}: truncated, damaged or unreadable (Compressed file ended before the end-of-stream marker was reached)"
    assert message(lambda: load("mnist", data_dir=tmp_path)) == expected


def test_packed_file_with_a_flipped_byte(tmp_path: Path) -> None:
    path = write_mnist(tmp_path, tiny((28, 28)), ".gz") / "mnist" / f"{STEMS[0]}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert message(lambda: load("mnist", data_dir=tmp_path)).startswith(f"{path}: truncated, damaged or unreadable (")


def test_too_few_training_images(tmp_path: Path) -> None:
    write_mnist(tmp_path, tiny((28, 28), n_train=9))
    expected = f"{tmp_path}/mnist: 9 training images, expected at least 10 (a tenth is held out for validation)"
    assert message(lambda: load("mnist", data_dir=tmp_path)) == expected


@pytest.mark.parametrize(("form", "source"), [("folder", "cifar-10-batches-bin"), (".gz", "cifar-10-binary.tar.gz")])
def test_cifar_batches_that_are_not_what_they_should_be(tmp_path: Path, form: str, source: str) -> None:
    files = cifar_batches(tiny((3, 32, 32)))
    where = tmp_path / "{}" / "cifar10" / source
    size = len(files["data_batch_2.bin"])

    def told(case: str, changed: dict[str, bytes]) -> str:
        write_cifar(tmp_path / case, changed, form)
        return message(lambda: load("cifar10", data_dir=tmp_path / case))

    left = {name: content for name, content in files.items() if name not in ("data_batch_4.bin", "test_batch.bin")}
    assert told("missing", left) == (
        f"{where}: data_batch_4.bin, test_batch.bin missing; expected all of {', '.join(BATCHES)}".format("missing")
    )
    assert told("short", files | {"data_batch_2.bin": files["data_batch_2.bin"][:-1]}) == (
        f"{where}: data_batch_2.bin: {size - 1} bytes, expected a multiple of 3073 (1 label, 3072 pixels an image)".format("short")
    )
    assert told("empty", files | {"test_batch.bin": b""}) == (
        f"{where}: test_batch.bin: 0 bytes, expected a multiple of 3073 (1 label, 3072 pixels an image)".format("empty")
    )
    assert told("label", files | {"test_batch.bin": b"\x0a" + files["test_batch.bin"][1:]}) == (
        f"{where}: test_batch.bin: label 10 at position 0, expected 0 to 9".format("label")
    )


@pytest.mark.parametrize("form", ["", ".gz", ".xz"])
@pytest.mark.parametrize("share", [0.001, 0.4, 0.8])
def test_cifar_archive_cut_short(tmp_path: Path, form: str, share: float) -> None:
    path = write_cifar(tmp_path, cifar_batches(tiny((3, 32, 32))), form) / "cifar10" / f"cifar-10-binary.tar{form}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert message(lambda: load("cifar10", data_dir=tmp_path)).startswith(f"{path}: truncated, damaged or unreadable (")


def test_cifar_archive_never_follows_links(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(cifar_batches(tiny((3, 32, 32)))["test_batch.bin"])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in BATCHES:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.bin")
            archive.addfile(member)
    path = tmp_path / "cifar10" / "cifar-10-binary.tar"
    path.parent.mkdir()
    path.write_bytes(packed.getvalue())
    expected = f"{path}: {', '.join(BATCHES)} missing; expected all of {', '.join(BATCHES)}"
    assert message(lambda: load("cifar10", data_dir=tmp_path)) == expected


# ── download ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_offline_without_files_says_what_where_and_both_ways_out(offline: Path, tmp_path: Path) -> None:
    expected = (
        "data set 'cifar10' not found: looked for cifar-10-binary.tar[.gz|.xz] or cifar-10-batches-bin/ in {} "
        f"and in the cache {offline}/data/cifar10, "
        "and could not download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (ProxyError). "
        "Either put the published files into DIR/cifar10/ and give --data-dir DIR (or NEUROFAULT_DATA=DIR), "
        "or run once with a network; what is downloaded stays in the cache"
    )
    nowhere = "no folder (neither --data-dir nor NEUROFAULT_DATA is given)"
    assert message(lambda: load("cifar10")) == expected.format(nowhere)
    assert message(lambda: load("cifar10", data_dir=tmp_path)) == expected.format(tmp_path / "cifar10")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ThreadingHTTPServer, str]]:
    """A server of tmp_path/site, reachable although nothing else is."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "site").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "site"))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_download_tries_the_mirrors_checks_the_sum_and_is_kept(
    server: tuple[ThreadingHTTPServer, str], offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server[1]
    arrays = tiny((28, 28))
    site = write_mnist(tmp_path / "site", arrays, ".gz") / "mnist"
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in site.iterdir()}
    offer = dataclasses.replace(datasets.PUBLISHED["mnist"], files=sums, mirrors=(f"{url}/gone/", f"{url}/mnist/"))
    monkeypatch.setattr(datasets, "PUBLISHED", {"mnist": offer})
    check_holds(load("mnist"), arrays, (1, 28, 28))

    monkeypatch.delenv("no_proxy")
    check_holds(load("mnist"), arrays, (1, 28, 28))

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    kept = offline / "data" / "mnist" / f"{STEMS[2]}.gz"
    kept.write_bytes(kept.read_bytes()[:-1])
    (site / f"{STEMS[2]}.gz").write_bytes(b"something else")
    told = message(lambda: load("mnist"))
    assert f"{url}/gone/{STEMS[2]}.gz (HTTPError) or {url}/mnist/{STEMS[2]}.gz (what came has another MD5)." in told


# ── the real files ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_real_mnist(data_dir: Path) -> None:
    if not (data_dir / "mnist").is_dir():
        pytest.skip(f"{data_dir}/mnist does not exist")
    data = load("mnist", data_dir=data_dir)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [55000, 5000, 10000]
    images, labels = published_order(data.train, data.validation)
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert abs(float(images.mean()) / 255 - 0.1307) < 5e-5
    assert published_order(data.test)[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_the_published_mnist_sums_are_those_of_the_real_files(data_dir: Path) -> None:
    if not (data_dir / "mnist").is_dir():
        pytest.skip(f"{data_dir}/mnist does not exist")
    for name, expected in datasets.PUBLISHED["mnist"].files.items():
        path = data_dir / "mnist" / name
        if path.exists():
            assert hashlib.md5(path.read_bytes()).hexdigest() == expected


def test_real_cifar10(data_dir: Path) -> None:
    if not (data_dir / "cifar10").is_dir():
        pytest.skip(f"{data_dir}/cifar10 does not exist")
    data = load("cifar10", data_dir=data_dir)
    assert (len(data.train), len(data.validation)) == (45000, 5000)
    assert len(data.test) in (9980, 10000)
    images, labels = published_order(data.train, data.validation)
    assert [data.classes[label] for label in labels[:5]] == ["frog", "truck", "truck", "deer", "automobile"]
    assert np.abs(images.mean(axis=(0, 2, 3)) / 255 - [0.4914, 0.4822, 0.4465]).max() < 1e-4
    assert np.bincount(labels).tolist() == [5000] * 10
    assert [data.classes[label] for label in published_order(data.test)[1][:4]] == ["cat", "ship", "ship", "airplane"]
