"""Files from anywhere: what is no file is said, and an archive is never larger than its bytes allow."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neurofault import load_profile
from neurofault.convert.nir_graph import from_nir
from neurofault.convert.state_dict import read_state
from neurofault.data.image_files import IDX_STEMS, read_idx_set
from neurofault.errors import DataError, NeurofaultError
from neurofault.faults import load_defects, load_plan
from neurofault.files import read_arrays, read_file, why_not, write_arrays, write_whole
from neurofault.numerals import integer, natural, real
from neurofault.study.campaign.journal import read_rows
from neurofault.study.campaign.spec import load_campaign


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_what_is_no_file_is_said(tmp_path, pipe):
    (tmp_path / "file").write_bytes(b"abc")
    assert why_not(tmp_path / "file") is None
    assert why_not(tmp_path / "missing") == "no such file"
    assert why_not(tmp_path) == "is a folder, not a file"
    assert why_not(pipe) == why_not(pipe, pipe=True) == "is a pipe, not a file"
    assert why_not(Path("/dev/zero"), pipe=True) == "is a device, not a file"
    assert why_not(Path("a\0b")) == "cannot be read (not a name of a file)"


def test_a_pipe_that_the_shell_opened_is_taken_where_it_may_be():
    reading, writing = os.pipe()
    try:
        assert why_not(Path(f"/dev/fd/{reading}"), pipe=True) is None
        assert why_not(Path(f"/dev/fd/{reading}")) == "is a pipe, not a file"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("read", [from_nir, read_state, load_plan, load_defects, load_campaign, read_rows])
def test_no_reader_waits_for_a_pipe_or_a_device(read, pipe):
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(NeurofaultError, match=r"is a (pipe|device), not a file$"):
            read(path)


def test_nor_do_those_that_take_a_name_or_a_folder(pipe):
    with pytest.raises(NeurofaultError, match="neither a file nor a bundled profile"):
        load_profile(pipe)
    for stem in IDX_STEMS[1:]:
        pipe.with_name(stem).write_bytes(b"")
    pipe.rename(pipe.with_name(IDX_STEMS[0]))
    with pytest.raises(DataError, match=f"{IDX_STEMS[0]}: is a pipe, not a file$"):
        read_idx_set(pipe.parent, (1, 28, 28), 10)


def test_a_file_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"abcd")
    assert read_file(tmp_path / "file", 4) == b"abcd"
    with pytest.raises(DataError, match=r"file: larger than 3 bytes$"):
        read_file(tmp_path / "file", 3)


def npy(shape: str, descr: str, content: bytes = b"") -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            out.writestr(f"{name}.npy", content)
    return path


def test_arrays_come_back_as_numpy_wrote_them(tmp_path):
    stored = {
        "a": np.arange(6, dtype=">i4").reshape(2, 3), "b": np.asfortranarray(np.ones((2, 3))), "c": np.array(True), "d": np.zeros((0, 4), np.float16),
    }  # fmt: skip
    np.savez_compressed(tmp_path / "x.npz", **stored)
    read = read_arrays(tmp_path / "x.npz")
    assert list(read) == list(stored)
    for name, array in stored.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        assert read[name].flags.writeable


@pytest.mark.parametrize("packed", [False, True])
def test_arrays_are_written_as_numpy_reads_them_and_equal_ones_as_equal_bytes(tmp_path, packed):
    stored = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "allow_pickle": np.ones(3), "file": np.array(True)}
    for name in ("one.npz", "other.npz"):
        write_arrays(tmp_path / name, stored, packed=packed)
    with np.load(tmp_path / "one.npz", allow_pickle=False) as read:
        assert list(read) == list(stored)
        for name, array in stored.items():
            np.testing.assert_array_equal(read[name], array)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    write_arrays(tmp_path / "zeros.npz", {"a": np.zeros(9999)}, packed=packed)
    assert ((tmp_path / "zeros.npz").stat().st_size < 9999) == packed
    with pytest.raises(ValueError, match="allow_pickle"):
        write_arrays(tmp_path / "one.npz", {"a": np.array([None])})
    assert len(read_arrays(tmp_path / "one.npz")) == 3


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")

    def full(part, data):
        part.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(kept, b"new")
    assert kept.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [kept]


def test_a_write_follows_links_and_keeps_permissions(tmp_path):
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_bytes(b"old")
    kept.chmod(0o640)
    link.symlink_to(kept)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert kept.read_bytes() == b"new"
    assert kept.stat().st_mode & 0o777 == 0o640
    write_whole(Path(os.devnull), b"nothing is kept")
    assert not Path(os.devnull).is_file()


HOSTILE = {
    "exabytes": (npy("(10**18,)".replace("10**18", str(10**18)), "<f8"), "0 bytes for an array of shape"),
    "a negative size": (npy("(-1,)", "<f8"), "0 bytes for an array of shape"),
    "two negative sizes": (npy("(-1, -1)", "<f8", bytes(8)), "8 bytes for an array of shape"),
    "fewer bytes": (npy("(2,)", "<f8", bytes(8)), r"8 bytes for an array of shape \(2,\) and 16 bytes$"),
    "more bytes": (npy("(2,)", "<f8", bytes(24)), "24 bytes for an array of shape"),
    "objects": (npy("(1,)", "|O", b"cposix\nsystem\n."), "a.npy: holds object; booleans, integers and real numbers are read$"),
    "texts": (npy("(1,)", "<U2", bytes(8)), "a.npy: holds <U2; booleans"),
    "records": (npy("(1,)", "|V8", bytes(8)), r"a.npy: holds \|V8; booleans"),
    "code for a header": (npy("__import__('os').system('touch canary')", "<f8"), "a.npy: not a NumPy array"),
    "nothing": (b"", "a.npy: not a NumPy array"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_array_of_another_size_or_kind_than_its_bytes_is_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    content, message = HOSTILE[case]
    with pytest.raises(DataError, match=message):
        read_arrays(archive(tmp_path / "x.npz", a=content))
    assert not Path("canary").exists()


def test_an_archive_that_unpacks_without_end_is_refused(tmp_path):
    path = archive(tmp_path / "x.npz", a=npy("(80000000,)", "|u1", bytes(80_000_000)))
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError, match="unpacks to more than"):
        read_arrays(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rest", b"\x93NUMPY"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match="not a NumPy archive, or a damaged one"):
        read_arrays(tmp_path / "x.npz")


def test_an_archive_with_a_flipped_bit_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(100))
    content = bytearray(buffer.getvalue())
    content[300] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("text", ["²", "٣", "1_000", "", " ", "0x10", "1e3", "one", "1 2"])
def test_what_is_no_whole_number(text):
    assert natural(text) is None
    assert integer(text) is None


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e400", "٣.٥", "1_0.5", "0x1p3", ".", "1e"])
def test_what_is_no_real_number(text):
    assert real(text) is None


def test_numbers_within_64_bits():
    assert integer(str(2**63 - 1)) == 2**63 - 1
    assert integer(str(2**63)) is None
    assert integer(str(-(2**63))) == -(2**63)
    assert real("-.5e2") == -50.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--count", "٣"], "--count ٣: not a number: write finite numbers with the digits 0 to 9, a point and an exponent"),
        (["--rate=nan"], "--rate nan: not a number: write finite numbers with the digits 0 to 9, a point and an exponent"),
        (["--dt", "1e400"], "--dt 1e400: not a number: write finite numbers with the digits 0 to 9, a point and an exponent"),
        (
            ["--samples", "1_000"],
            "--samples 1_000: not a number: write finite numbers with the digits 0 to 9, a point and an exponent",
        ),
        (["--seed", "9" * 30], f"--seed {'9' * 30}: a whole number beyond 64 bits (−2⁶³ to 2⁶³ − 1)"),
    ],
)
def test_a_number_on_the_command_line_is_one_to_everybody(cli, words, message):
    assert cli("inject", *words) == (2, "", f"neurofault: {message}\n")
