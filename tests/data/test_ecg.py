"""ECG with a label of every step: MATLAB files against SciPy's reader, damaged ones refused, roles, and the published recordings."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from neurofault.data.datasets import load
from neurofault.data.mat_files import read_mat
from neurofault.errors import DataError

KINDS = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(0, 4), min_size=2, max_size=4), st.booleans(), st.integers(0, 2**32 - 1))
def test_arrays_are_those_that_scipy_writes(tmp_path_factory, kind, shape, packed, seed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    random = np.random.default_rng(seed)
    first, second = (random.integers(0, 100, size).astype(kind) for size in (shape, (1, 3)))
    other = {"text": "abc", "complex": np.array([[1j]]), "cells": np.array([[1, "a"]], object)}
    scipy.io.savemat(path, {**other, "first": first, "b": second}, do_compression=packed)
    found = read_mat(path, ("b", "first"))
    for name, array in (("first", first), ("b", second)):
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array.reshape(found[name].shape))
        assert found[name].flags.c_contiguous
        assert found[name].shape == array.shape
    for name in ("text", "complex", "cells"):
        with pytest.raises(DataError, match=f"{name!r} \\(byte [0-9]+\\) is no real array of numbers"):
            read_mat(path, (name,))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_in_one_line_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    scipy.io.savemat(path, {"x": np.arange(60, dtype="i2").reshape(3, 4, 5)}, do_compression=data.draw(st.booleans()))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(124, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        found, said = read_mat(path, ("x",)), ""
    except DataError as error:
        found, said = {}, str(error)
    assert said.startswith(str(path)) if said else found["x"].size < 1000
    assert "\n" not in said


def test_what_unpacks_without_end_and_other_versions_are_refused(tmp_path):
    path = tmp_path / "a.mat"
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    packer = zlib.compressobj()
    bomb = packer.compress(b"\0" * (200 << 20)) + packer.flush()
    path.write_bytes(head + struct.pack("<II", 15, len(bomb)) + bomb)
    with pytest.raises(DataError, match="unpacks to more than"):
        read_mat(path, ("x",))
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512))
    with pytest.raises(DataError, match=r"no MATLAB file of version 5; version 7.3 is HDF5: save it with -v7$"):
        read_mat(path, ("x",))


def folder(root: Path, *, recordings: int = 30, steps: int = 7, **changed: object) -> Path:
    """Write a small set in the published layout."""
    random = np.random.default_rng(1)
    (root / "ecg-qtdb").mkdir(exist_ok=True)
    for role, count in (("train", recordings), ("test", 4)):
        x = random.integers(-1, 2, (count, steps, 4)).astype("i2")
        y = np.eye(6, dtype="u1")[random.integers(0, 6, (count, steps))]
        y[:, 2] = 0
        part = {"x": x, "y": y} | {key: value for key, value in changed.items() if role == "train"}
        scipy.io.savemat(root / "ecg-qtdb" / f"QTDB_{role}.mat", part)
    return root


def test_a_channel_is_two_lines_and_a_step_without_a_one_has_no_label(tmp_path):
    data = load("ecg-qtdb", data_dir=folder(tmp_path))
    assert (len(data.train), len(data.validation), len(data.test)) == (27, 3, 4)
    assert (data.shape, data.timesteps, data.classes) == ((8,), 7, ("P", "PQ", "QR", "RS", "ST", "TP"))
    given = {role: scipy.io.loadmat(tmp_path / "ecg-qtdb" / f"QTDB_{role}.mat") for role in ("train", "test")}
    assert sorted([*data.train.indices, *data.validation.indices]) == list(range(30))
    for split in (data.train, data.validation, data.test):
        source = given["test" if split is data.test else "train"]
        x, y = (source[name][split.indices] for name in "xy")
        events = split.events.to_dense()
        assert np.array_equal(events[:, :, :4], x == 1)
        assert np.array_equal(events[:, :, 4:], x == -1)
        assert (split.labels[:, 2] == -1).all()
        known = np.arange(7) != 2
        assert np.array_equal(split.labels[:, known], y.argmax(axis=2)[:, known])
        assert not split.labels.flags.writeable


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros((30, 7, 3), "i2")}, r"x has the shape \(30, 7, 3\); expected \[N, T, 4\]"),
        ({"y": np.zeros((30, 6, 6), "u1")}, r"y has the shape \(30, 6, 6\); expected \(30, 7, 6\)"),
        ({"x": np.full((30, 7, 4), 2, "i2")}, r"x holds 2 at \[0, 0, 0\]; expected -1, 0, 1"),
        ({"y": np.ones((30, 7, 6), "u1")}, r"y holds 6 labels at \[0, 0\]; expected one, or none"),
        ({"y": np.zeros((30, 7, 6), "u1")}, r"no step has a label"),
        ({"recordings": 9}, "9 recordings, expected at least 10"),
        ({"steps": 7, "x": np.zeros((30, 9, 4), "i2"), "y": np.eye(6, dtype="u1")[np.zeros((30, 9), int)]}, "7 steps a recording, but"),
    ],
)  # fmt: skip
def test_other_arrays_are_refused(tmp_path, changed, message):
    with pytest.raises(DataError, match=message):
        load("ecg-qtdb", data_dir=folder(tmp_path, **changed))


def test_missing_files_are_named_with_where_they_are_from(tmp_path, monkeypatch):
    with pytest.raises(
        DataError, match=rf"no file {tmp_path}/ecg-qtdb/QTDB_train.mat; put QTDB_train.mat and QTDB_test.mat \(github"
    ):
        load("ecg-qtdb", data_dir=tmp_path)
    monkeypatch.delenv("NEUROFAULT_DATA", raising=False)
    with pytest.raises(DataError, match="no folder is named"):
        load("ecg-qtdb")


def test_published_recordings(tmp_path):
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root / "byin-cwi__Efficient-spiking-networks" / "data"
    if not found.exists():
        pytest.skip(f"no recordings at {found}; NEUROFAULT_FIELD names the folder that holds them")
    (tmp_path / "ecg-qtdb").symlink_to(found)
    data = load("ecg-qtdb", data_dir=tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [557, 61, 141]
    assert data.timesteps == 1301
    spikes = np.bincount(data.test.events.neurons, minlength=8)
    assert spikes.tolist() == [15968, 12650, 14923, 14356, 141, 0, 0, 0]
    assert (data.test.events.steps[data.test.events.neurons == 4] == 1300).all()
    assert np.count_nonzero(data.test.labels < 0) == 19056
