"""HDF5 of strangers: opened by a process of its own; links, bombs and what is no plain value are refused by name, within limits."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from neurofault import hdf5_child
from neurofault.errors import DataError
from neurofault.hdf5_file import read_tree

h5py = pytest.importorskip("h5py")


def plain(file):
    file["text"] = "héllo"
    file["texts"] = np.array([["a", "b"]], h5py.string_dtype())
    file["group/real"] = np.arange(6, dtype=">f8").reshape(2, 3)
    file.create_dataset("group/packed", data=np.zeros((300, 300), np.int16), compression="gzip", shuffle=True)
    file["group/deeper/flag"] = True
    file["number"] = np.int64(-3)
    file["fixed"] = np.bytes_(b"abc")
    file.create_dataset("nothing", (0, 2), "f4")


def test_plain_values_come_back(tmp_path):
    with h5py.File(tmp_path / "x.nir", "w") as file:
        plain(file)
    read = read_tree(tmp_path / "x.nir")
    assert read["text"] == "héllo"
    assert read["texts"].tolist() == [["a", "b"]]
    np.testing.assert_array_equal(read["group"]["real"], np.arange(6.0).reshape(2, 3))
    assert read["group"]["packed"].dtype == np.int16
    assert read["group"]["packed"].sum() == 0
    assert read["group"]["deeper"]["flag"]
    assert read["number"] == -3
    assert read["fixed"] == "abc"
    assert read["nothing"].shape == (0, 2)


def link(name):
    def make(file):
        file.require_group("a/b")
        file["a/b/x"] = name

    return make


def cycle(file):
    file.create_group("a/b")
    file["a/b/up"] = file["a"]


def twice(file):
    file["a"] = np.zeros(3)
    file["b"] = file["a"]


def promise(file):
    file.create_dataset("x", (2_000_000_000,), "f4", chunks=(1 << 20,), compression="gzip")


def exabytes(file):
    file.create_dataset("x", (10**9, 10**9), "f4", chunks=(1024, 1024))


def contiguous(file):
    file.create_dataset("x", (1000,), "f8")


def ratio(file):
    file.create_dataset("x", data=np.zeros(80_000_000, np.int8), compression="gzip", chunks=(1 << 20,))


def crumbs(file):
    file.create_dataset("x", data=np.zeros(70_000, np.int8), chunks=(1,))


def boulder(file):
    data = file.create_dataset("x", (10,), "i1", maxshape=(None,), chunks=(1 << 28,), compression="gzip")
    data[0] = 1


def references(file):
    file.create_dataset("x", (2,), h5py.ref_dtype)


def compound(file):
    file["x"] = np.zeros(2, [("a", "f8")])


def ragged(file):
    file.create_dataset("x", (2,), h5py.vlen_dtype(np.float64))


def complex_numbers(file):
    file["x"] = np.zeros(2, complex)


def virtual(file):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    file.create_virtual_dataset("x", layout)


def external(file):
    file.create_dataset("x", (3,), "u1", external=[("/etc/passwd", 0, 3)])


def deep(file):
    file.create_group("/".join("a" * 12))


def many(file):
    for index in range(10_100):
        file.create_group(f"{index}")


def empty(file):
    file["x"] = h5py.Empty("f8")


def latin(file):
    file["x"] = np.bytes_(b"\xff\xfe")


HOSTILE = {
    "an external link": (
        link(h5py.ExternalLink("/etc/passwd", "/x")),
        "a/b/x: is an external link; only what the file itself holds is read",
    ),
    "a soft link": (link(h5py.SoftLink("/a")), "a/b/x: is a soft link; only what the file itself holds is read"),
    "a link to itself": (link(h5py.SoftLink("/a/b/x")), "a/b/x: is a soft link"),
    "a cycle": (cycle, r"a/b/up: links to what stands elsewhere in the file too \(a cycle, or one value many times\)"),
    "a value twice": (twice, "b: links to what stands elsewhere in the file too"),
    "a promise": (promise, "x: is 2000000000 values, far more than [0-9,]+ bytes of file hold"),
    "exabytes": (exabytes, "x: is 1000000000 × 1000000000 values, far more than"),
    "bytes that are not there": (contiguous, "x: promises 8,000 bytes and holds 0"),
    "a bomb": (ratio, "x: is 80000000 values, far more than"),
    "crumbs": (crumbs, "x: 70,000 chunks of 1; it cannot be unpacked safely"),
    "a boulder": (boulder, "x: 1 chunks of 268435456; it cannot be unpacked safely"),
    "object references": (references, "x: holds object references; texts and real numbers are read"),
    "records": (compound, "x: holds compound values; texts and real numbers are read"),
    "ragged rows": (ragged, "x: holds values of type object; texts and real numbers are read"),
    "complex numbers": (complex_numbers, "x: holds (compound values|values of type complex128); texts"),
    "a virtual data set": (virtual, r"x: its values lie in another file \(a virtual or external data set\)"),
    "an external data set": (external, "x: its values lie in another file"),
    "depth": (deep, "a/a/a/a/a/a/a/a/a: groups are nested deeper than 8"),
    "number": (many, "more than 10,000 objects"),
    "no value": (empty, "x: has no value"),
    "no text": (latin, "x: is not UTF-8 text"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_plain_value_is_refused_by_its_name(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    make, message = HOSTILE[case]
    with h5py.File(tmp_path / "x.nir", "w", libver="latest" if case == "number" else None) as file:
        make(file)
    with pytest.raises(DataError, match=message) as caught:
        read_here(tmp_path / "x.nir")
    assert str(caught.value).count("\n") == 0


def read_here(path):
    """Read a file in a fork, which is quicker than a new interpreter; what is refused is the same."""
    from neurofault import hdf5_file

    def forked(path):
        reading, writing = os.pipe()
        if not (process := os.fork()):
            try:
                os.close(reading)
                with os.fdopen(writing, "w") as sys.stdout:
                    hdf5_child.main(str(path))
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            sent = pipe.read()
        return b"" if os.waitpid(process, 0)[1] else sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hdf5_file, "sent_by_child", forked)
        return read_tree(path)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not HDF5 at all" * 100])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    (tmp_path / "x.nir").write_bytes(content)
    with pytest.raises(DataError, match=r"x.nir: not a readable NIR file: not HDF5, or cut short$"):
        read_here(tmp_path / "x.nir")


def test_a_library_that_hangs_or_crashes_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "x.nir").write_bytes(b"anything")
    for end in ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "import sys; sys.exit(3)"):
        monkeypatch.setattr("neurofault.hdf5_file._BOOT", end)
        with pytest.raises(DataError, match=r"the HDF5 library hangs or crashes on it, so it is damaged or hostile$"):
            read_tree(tmp_path / "x.nir")
    monkeypatch.setattr("neurofault.hdf5_file._BOOT", "import time; time.sleep(60)")
    monkeypatch.setattr("neurofault.hdf5_file.WALL_SECONDS", 0.2)
    with pytest.raises(DataError, match="hangs or crashes"):
        read_tree(tmp_path / "x.nir")


def limited(code: str, seconds: float) -> tuple[int, float]:
    began = time.monotonic()
    words = f"from neurofault.hdf5_child import limit; limit({seconds}, 64 << 20)\n{code}"
    return subprocess.run(
        [sys.executable, "-c", words], capture_output=True, check=False, timeout=100
    ).returncode, time.monotonic() - began


def test_the_process_is_ended_after_its_processor_time():
    code, _ = limited("while True: pass", 0.2)
    assert code < 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to RLIMIT_AS")
def test_the_process_gets_no_more_than_its_memory():
    code, _ = limited("import numpy as np\ntry: np.ones(1 << 28)\nexcept MemoryError: raise SystemExit(7)", 60)
    assert code == 7


def test_a_stranger_beside_the_file_is_not_imported(tmp_path, monkeypatch):
    """Modules of the folder that the command runs in are none of the reader's business."""
    with h5py.File(tmp_path / "x.nir", "w") as file:
        plain(file)
    (tmp_path / "h5py.py").write_text("open('canary', 'w')")
    monkeypatch.chdir(tmp_path)
    assert read_tree(tmp_path / "x.nir")["number"] == -3
    assert not (tmp_path / "canary").exists()


def _number(path, answers):
    answers.put(int(read_tree(path)["number"]))


def test_a_worker_process_reads_too(tmp_path):
    """A daemonic process may have no children of `multiprocessing`; this one is none."""
    with h5py.File(tmp_path / "x.nir", "w") as file:
        plain(file)
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    worker = context.Process(target=_number, args=(tmp_path / "x.nir", answers), daemon=True)
    worker.start()
    assert answers.get(timeout=600) == -3
    worker.join()
