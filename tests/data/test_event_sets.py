"""Event recordings by name: N-MNIST's layouts, and digits before a simulated camera."""

from __future__ import annotations

import itertools
import zipfile

import numpy as np
import pytest

import neurofault as nf
from neurofault.data import saccades
from neurofault.data.binning import Binning
from neurofault.data.datasets import load
from neurofault.data.digits import digit_pixels
from neurofault.errors import DataError, UsageError
from neurofault.streams import counter_hash, stream_key

COUNTS = {"Train": 40, "Test": 20}


def contents(role: str) -> dict[str, tuple[int, bytes]]:
    """Return name of a recording → its class and its bytes."""
    random = np.random.default_rng(len(role))
    found = {}
    for number in range(1, COUNTS[role] + 1):
        events = [
            bytes((*random.integers(0, 34, 2).tolist(),)) + int(p << 23 | t).to_bytes(3, "big")
            for p, t in zip(random.integers(0, 2, 30), np.sort(random.integers(0, 310_000, 30)), strict=True)
        ]
        found[f"{number:05d}"] = (number % 10, b"".join(events))
    return found


def write(root, layout: str, roles=("Train", "Test")):
    root.mkdir(parents=True, exist_ok=True)
    for role in roles:
        files = contents(role)
        match layout:
            case "folders":
                for name, (label, content) in files.items():
                    path = root / role / str(label) / f"{name}.bin"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
            case "zip":
                with zipfile.ZipFile(root / f"{role}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr(f"{role}/read me.txt", "no recording")
                    for name, (label, content) in files.items():
                        archive.writestr(f"{role}/{label}/{name}.bin", content)
            case _:
                first = 0 if role == "Train" else 60000
                lines = [f"{first + int(name)}\t{label}" for name, (label, _) in files.items()]
                (root / f"{role.lower()}20.txt").write_text("#sample #class\n" + "\n".join(lines))
                for name, (_, content) in files.items():
                    (root / f"{first + int(name)}.bs2").write_bytes(content)


@pytest.mark.parametrize("layout", ["folders", "zip", "list"])
@pytest.mark.parametrize("inside", [True, False])
def test_every_layout_of_nmnist_holds_the_same_set(tmp_path, layout, inside):
    write(tmp_path / "nmnist" if inside else tmp_path, layout)
    data = load("nmnist", data_dir=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 20)
    assert (data.shape, data.timesteps, len(data.classes), data.name) == ((2, 34, 34), 300, 10, "nmnist")
    given = list(contents("Test").values())
    total = lost = 0
    for place, number in enumerate(data.test.indices):
        label, content = given[number]
        rows = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(int)
        step = [round(int(t) / 1000) for t in (rows[:, 2] & 127) << 16 | rows[:, 3] << 8 | rows[:, 4]]
        expected = {(s, (r[2] >> 7) * 1156 + r[1] * 34 + r[0]) for s, r in zip(step, rows.tolist(), strict=True) if s < 300}
        events = data.test.events[place : place + 1]
        assert set(zip(events.steps.tolist(), events.neurons.tolist(), strict=True)) == expected
        assert data.test.labels[place] == label
        total, lost = total + len(rows), lost + len(rows) - len(expected)
    assert lost
    kept = sum(len(split.events.steps) for split in (data.train, data.validation, data.test))
    assert data.notes[-1].startswith(f"nmnist: {1800 - kept:,} of 1,800 events are lost: ")
    assert data.notes[-1].endswith(" after step 299")


def test_recordings_come_in_another_binning(tmp_path):
    write(tmp_path, "zip")
    data = load("nmnist", data_dir=tmp_path, binning=Binning(bins=31, dt=1e-2, polarity="merged", crop=(1, 1, 32, 32), down=4))
    assert (data.shape, data.timesteps) == ((1, 8, 8), 31)
    with pytest.raises(UsageError, match=r"^data 'digits' are not recordings in files: how they become steps cannot be chosen$"):
        load("digits", binning=Binning(bins=3))


def test_test_recordings_alone_are_cut_as_own_data(tmp_path):
    write(tmp_path, "folders", ["Test"])
    data = load("nmnist", data_dir=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 2, 8)
    assert sorted(np.concatenate([data.split(role).indices for role in ("train", "validation", "test")])) == list(range(20))
    assert "12 of its 20 calibrate and are not reported on, 8 are reported on" in data.notes[0]


def test_recordings_beyond_what_is_needed_are_not_read(tmp_path):
    write(tmp_path, "folders")
    whole = load("nmnist", data_dir=tmp_path)
    most = {"train": 7, "validation": 1, "test": 3}
    needed = {role: set(whole.split(role).indices[:number].tolist()) for role, number in most.items()}
    for role, names in (("Train", needed["train"] | needed["validation"]), ("Test", needed["test"])):
        for path in (tmp_path / role).rglob("*.bin"):
            if int(path.stem) - 1 not in names:
                path.write_bytes(b"cut")
    data = load("nmnist", data_dir=tmp_path, most=most)
    for role, number in most.items():
        assert data.split(role).digest == whole.split(role).first(number).digest
    assert "events that were read are lost" in data.notes[-1]
    with pytest.raises(DataError, match=r"\.bin: "):
        load("nmnist", data_dir=tmp_path, most=most | {"test": 4})


def test_a_list_of_recordings_that_are_not_all_there_says_so(tmp_path):
    write(tmp_path, "list")
    for number in range(31, 41):
        (tmp_path / f"{number}.bs2").unlink()
    assert load("nmnist", data_dir=tmp_path).notes[0] == "nmnist: 10 of the 40 recordings that train20.txt lists are not there"


WANTED = "Train/ and Test/ (0/00004.bin …), Train.zip and Test.zip, or train*.txt and test*.txt with *.bs2"


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(DataError) as error:
        load("nmnist", data_dir=tmp_path)
    assert str(error.value) == (
        f"data set 'nmnist' not found: looked in {tmp_path / 'nmnist'} and in {tmp_path} for {WANTED}. It is not downloaded: put the files of "
        "www.garrickorchard.com/datasets/n-mnist into DIR/nmnist/ and give --data-dir DIR (or NEUROFAULT_DATA=DIR)"
    )
    write(tmp_path, "zip", ["Train"])
    with pytest.raises(DataError) as error:
        load("nmnist", data_dir=tmp_path)
    assert str(error.value) == f"{tmp_path}: holds training recordings of nmnist alone; expected those of Test too: {WANTED}"


def test_damaged_files_are_refused_by_name(tmp_path):
    write(tmp_path, "zip")
    whole = (tmp_path / "Test.zip").read_bytes()
    (tmp_path / "Test.zip").write_bytes(whole[:-40])
    with pytest.raises(DataError, match=rf"^{tmp_path}/Test.zip: truncated, damaged or unreadable \("):
        load("nmnist", data_dir=tmp_path)
    spoiled = bytearray(whole)
    at = whole.index(b"00007.bin") + 20
    spoiled[at : at + 40] = bytes(40)
    (tmp_path / "Test.zip").write_bytes(spoiled)
    with pytest.raises(DataError, match=rf"^{tmp_path}/Test.zip: Test/7/00007.bin: truncated, damaged or unreadable \("):
        load("nmnist", data_dir=tmp_path)
    with zipfile.ZipFile(tmp_path / "Test.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Test/7/00007.bin", bytes(17 << 20))
    with pytest.raises(DataError, match=r"Test/7/00007.bin: larger than 16,777,216 bytes$"):
        load("nmnist", data_dir=tmp_path)
    with zipfile.ZipFile(tmp_path / "Test.zip", "w") as archive:
        archive.writestr("Test/readme", "")
    with pytest.raises(DataError, match=r"Test.zip: holds no recordings, expected 0/00004.bin …$"):
        load("nmnist", data_dir=tmp_path)
    (tmp_path / "Test" / "3").mkdir(parents=True)
    (tmp_path / "Test" / "3" / "cat.bin").write_bytes(b"12345")
    with pytest.raises(DataError, match=r"Test/3/cat.bin: expected a name of digits, such as 00004.bin$"):
        load("nmnist", data_dir=tmp_path)


def test_digits_events_are_the_digits_in_their_roles(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROFAULT_CACHE", str(tmp_path))
    made = load("digits-events")
    (kept,) = (tmp_path / "data").iterdir()
    with monkeypatch.context() as once:
        once.setattr(saccades, "seen", None)  # what is kept is taken only if its digest is the one that is written down
        assert load("digits-events").digest == made.digest
    kept.write_bytes(kept.read_bytes()[:-100])
    assert load("digits-events").digest == made.digest
    still = load("digits")
    for role in ("train", "validation", "test"):
        assert (made.split(role).indices == still.split(role).indices).all()
        assert (made.split(role).labels == still.split(role).labels).all()
    assert (made.shape, made.timesteps, made.classes) == ((2, 16, 16), 60, still.classes)
    assert made.notes == (
        "digits-events: 2,998 of 2,472,641 events are lost: 2,998 with another of the same line in the same step",
    )


def plain_camera(digit, number: int, camera: saccades.Camera) -> set[tuple[int, int]]:
    """Return (µs, line) of every event, pixel by pixel with Python's own integers."""
    key = stream_key("digits-events", camera.seed)

    def below(end: int, *counters: int) -> int:
        return (int(counter_hash(key, *counters)) >> 33) * end >> 31

    def bright(y: int, x: int, time: int) -> int:
        corners = [(0, 0), (camera.travel // 2, camera.travel), (camera.travel, 0), (0, 0)]
        saccade, into = (2, 100) if time == 300 else divmod(time, 100)
        shift = [
            a + (b - a) * into // 100 - camera.travel // 2 for a, b in zip(corners[saccade], corners[saccade + 1], strict=True)
        ]
        total, parts = 0, []
        for at, moved in ((y, shift[0]), (x, shift[1])):
            low, part = divmod((2 * at - 15) * 16 + 224 + moved, 64)
            parts.append([(low, 64 - part), (low + 1, part)])
        for row, high in parts[0]:
            for column, wide in parts[1]:
                if 0 <= row < 8 and 0 <= column < 8:
                    total += int(digit[row][column]) * high * wide
        return ((total >> 4) + camera.black) ** 1024

    found = set()
    for y in range(16):
        for x in range(16):
            pixel = y * 16 + x
            levels = [bright(y, x, time).bit_length() - 1 for time in range(0, 301, 2)]
            last = levels[0] + below(camera.threshold, number, pixel, 1) - camera.threshold // 2
            for look, (start, end) in enumerate(itertools.pairwise(levels)):
                for sign, line in ((1, pixel), (-1, 256 + pixel)):
                    step = camera.threshold + below(2 * camera.mismatch + 1, line, 0) - camera.mismatch
                    while (end - last) * sign >= step:
                        last += sign * step
                        into = (last - start) * 2000 // ((end - start) or sign)
                        found.add((look * 2000 + min(max(into, 0), 1999), line))
    for line in range(512):
        if below(100, number, line, 2) < camera.noise:
            found.add((below(300_000, number, line, 3), line))
    return found


def test_the_camera_equals_a_plain_one():
    pixels, labels = digit_pixels()
    camera = saccades.Camera(noise=20, seed=4)
    seen = saccades.seen(pixels[5:7], labels[5:7], np.array([5, 6]), camera)
    for place in range(2):
        one = seen.take(np.array([place]))
        line = (one.polarity.astype(int) * 16 + one.y) * 16 + one.x
        assert set(zip(one.times.tolist(), line.tolist(), strict=True)) == plain_camera(pixels[5 + place], 5 + place, camera)


def test_joined_samples_are_those_of_the_parts():
    random = np.random.default_rng(3)
    dense = random.random((7, 4, 5)) < 0.3
    whole = nf.Spikes.dense(dense)
    parts = [whole[0:0], whole[0:3], whole[3:4], whole[4:7]]
    joined = nf.Spikes.joined(parts)
    assert (joined.to_dense() == dense).all()
    assert parts == []
    with pytest.raises(UsageError, match=r"^events of 2 kinds \(steps, lines\) cannot be joined: \[\(4, 5\), \(5, 5\)\]$"):
        nf.Spikes.joined([whole, nf.Spikes.dense(np.zeros((1, 5, 5)))])
