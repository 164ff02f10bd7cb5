"""Files of recordings: what each format holds comes back, what is damaged is one line, and one format in a folder equals another."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from neurofault.data.aedat import open_aedat
from neurofault.data.binning import Binning
from neurofault.data.datasets import load
from neurofault.data.event_folder import unread_folder
from neurofault.data.event_hdf5 import unread_hdf5
from neurofault.data.prophesee import dat_events
from neurofault.data.stmnist import stmnist_events
from neurofault.errors import DataError

EVENTS = [(3, 5, 1, 7), (0, 99, 0, 7), (119, 0, 1, 2_000), (8, 8, 0, 60_000)]
SHAPE = (2, 100, 120)


def tonic(name: str) -> Path:
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root / "neuromorphs__tonic" / "test" / "test_data" / name
    if not found.exists():
        pytest.skip(f"no recording at {found}; NEUROFAULT_FIELD names the folder that holds it")
    return found


def dat(events, head: bytes = b"% Data file\n% Version 2\n") -> bytes:
    return head + b"\x00\x08" + b"".join(struct.pack("<II", t, x | y << 14 | p << 28) for x, y, p, t in events)


def packet(events, gone: int = 0, kind: int = 1, invalid=()) -> bytes:
    body = b"".join(
        struct.pack("<II", x << 17 | y << 2 | p << 1 | (place not in invalid), t) for place, (x, y, p, t) in enumerate(events)
    )
    return struct.pack("<HHIIIIII", kind, 1, 8, 4, gone, len(events), len(events), len(events) - len(invalid)) + body


def aedat(*packets: bytes) -> bytes:
    return b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + b"".join(packets)


def rows(columns) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_dat_file_comes_back_with_times_from_its_first_event():
    columns, shape = dat_events("a.dat", dat(EVENTS), None)
    assert rows(columns) == [(x, y, p, t - 7) for x, y, p, t in EVENTS]
    assert shape == SHAPE
    sized = dat(EVENTS[:1], b"% Version 2\n% Height 6\n% Width 4\n")
    assert dat_events("a.dat", sized, None)[1] == (2, 6, 4)


def test_a_real_recording_of_ncars_is_read():
    columns, _ = dat_events("ncars", tonic("sample_ncars.dat").read_bytes(), None)
    assert (len(columns[0]), columns[3].min(), columns[3].max() < 100_000, set(columns[2].tolist())) == (2009, 0, True, {0, 1})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (dat(EVENTS)[:-3], "truncated: an event of 5 bytes at byte 50, expected 8"),
        (dat([]), "holds no events, expected at least 1"),
        (dat([(120, 0, 0, 1)]), "event at byte 26 has x 120, y 0, polarity 0; allowed: x below 120, y below 100, polarity below 2"),
        (dat(EVENTS, b"% Version 1\n"), "no DAT file of version 2 (its header says 1)"),
        (b"% Version 2", "header line at byte 0 has no end"),
        (b"% Version 2\n\x0e\x08", "byte 12: 0e08; expected a kind of event, 0 or 12 (contrast), and its 8 bytes"),
    ],
)
def test_a_damaged_dat_file_is_one_line(content, said):
    with pytest.raises(DataError) as error:
        dat_events("a.dat", content, None)
    assert str(error.value) == f"a.dat: {said}"


def test_an_aedat_file_comes_back_and_stretches_of_time_of_it(tmp_path):
    path = tmp_path / "a.aedat"
    later = [(1, 2, 0, 5), (4, 4, 1, 9)]
    path.write_bytes(aedat(packet(EVENTS, invalid=(1,)), packet([(0, 0, 0, 0)], kind=0), packet(later, gone=1)))
    opened = open_aedat(path)
    valid = [EVENTS[0], *EVENTS[2:], *((x, y, p, t + 2**31) for x, y, p, t in later)]
    assert rows(opened.events(SHAPE)) == [(x, y, p, t - 7) for x, y, p, t in valid]
    assert rows(opened.events(SHAPE, 2_000, 60_000)) == [(119, 0, 1, 0)]
    assert rows(opened.events(SHAPE, 2**31 + 6, 2**31 + 90)) == [(4, 4, 1, 3)]
    with pytest.raises(DataError, match=r"a.aedat: no valid polarity events from 100 to 200 µs, expected at least 1$"):
        opened.events(SHAPE, 100, 200)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (aedat(packet(EVENTS))[:-3], "byte 42: truncated or damaged: a packet of 4 events (room for 4) of 8 bytes each, 29 bytes are left"),
        (aedat(packet(EVENTS)) + b"abc", "byte 102: truncated: 3 bytes, expected 28"),
        (b"#!AER-DAT2.0\r\n", "starts with b'#!AER-DAT2.0\\r\\n', expected #!AER-DAT3.1"),
        (b"#!AER-DAT3.1\r\n#Format: RAW\r\n", "byte 28: the header has no end (#!END-HEADER)"),
        (aedat(), "holds no polarity events, expected at least 1"),
        (aedat(struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, 1 << 31, 1 << 31, 0)), "byte 42: truncated or damaged: a packet of 2147483648 events (room for 2147483648) of 8 bytes each, 0 bytes are left"),
        (aedat(struct.pack("<HHIIIIII", 1, 1, 4, 4, 0, 1, 1, 0), b"abcd"), "byte 42: 1 polarity events of 4 bytes; expected 8 bytes, at most 4,194,304 events"),
    ],
)  # fmt: skip
def test_a_damaged_aedat_file_is_one_line(tmp_path, content, said):
    path = tmp_path / "a.aedat"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        open_aedat(path)
    assert str(error.value) == f"{path}: {said}"


def test_a_recording_of_touch_comes_back(tmp_path):
    train = np.zeros((101, 3))
    train[[4, 17], [0, 2]], train[99, 2], train[100] = (1, -1), 1, (0.5, 0.6, 0.75)
    scipy.io.savemat(tmp_path / "a.mat", {"spiketrain": train})
    assert rows(stmnist_events(tmp_path / "a.mat")) == [(4, 0, 1, 0), (7, 1, 0, 250_000), (9, 9, 1, 250_000)]
    for wrong, said in (
        (np.zeros((100, 3)), "spiketrain has the shape (100, 3); expected (101, moments)"),
        (np.where(train == -1, 2, train), "spiketrain has other values than −1, 0 and 1 in its first 100 rows"),
        (
            np.where(train == 0.6, np.nan, train),
            "spiketrain has times that are not finite or more than 1,000,000 s apart in row 100",
        ),
    ):
        scipy.io.savemat(tmp_path / "a.mat", {"spiketrain": wrong})
        with pytest.raises(DataError, match=re.escape(said)):
            stmnist_events(tmp_path / "a.mat")


def test_a_real_recording_of_touch_is_read():
    x, _, polarity, times = stmnist_events(tonic("sample_stmnist.mat"))
    assert (x.max(), set(polarity.tolist()), times.min(), len(times) >= 2346) == (9, {0, 1}, 0, True)


def spikes(path: Path, times, units, labels, **kinds):
    kinds = {"times": np.float32, "units": np.uint16} | kinds
    with h5py.File(path, "w") as file:
        for name, values in (("times", times), ("units", units)):
            part = file.create_dataset(f"spikes/{name}", (len(values),), h5py.vlen_dtype(kinds[name]))
            for row, each in enumerate(values):
                part[row] = np.asarray(each, kinds[name])
        file["labels"] = np.asarray(labels)
    return path


def cochlea(random, n: int, classes: int):
    labels = np.arange(n) % classes
    times = [np.sort(random.random(9)).astype(np.float32) for _ in labels]
    return times, [random.integers(0, 700, 9) for _ in labels], labels


def test_rows_of_hdf5_come_back_in_any_order(tmp_path):
    times, units, labels = cochlea(np.random.default_rng(1), 12, 3)
    times[4], units[4] = np.zeros(0), np.zeros(0, int)
    unread = unread_hdf5(spikes(tmp_path / "a.h5", times, units, labels), None)
    assert unread.labels.tolist() == labels.tolist()
    which = np.array([7, 4, 0, 7])
    found = unread.read(which)
    assert found.labels.tolist() == labels[which].tolist()
    assert found.shape == (1, 1, 700)
    assert found.x.tolist() == np.concatenate([units[row] for row in which]).astype(int).tolist()
    assert found.times.tolist() == np.rint(np.concatenate([times[row] for row in which]).astype(float) * 1e6).astype(int).tolist()


@pytest.mark.parametrize("name", ["shd", "ssc"])
def test_shd_and_ssc_have_their_published_roles(tmp_path, name):
    random, classes = np.random.default_rng(2), {"shd": 20, "ssc": 35}[name]
    parts = {"train": 40, "test": 35} | ({"valid": 35} if name == "ssc" else {})
    folder = tmp_path / name
    folder.mkdir()
    given = {part: cochlea(random, n, classes) for part, n in parts.items()}
    for part, values in given.items():
        spikes(folder / f"{name}_{part}.h5", *values)
    data = load(name, data_dir=tmp_path)
    assert (data.shape, data.timesteps, len(data.classes)) == ((1, 1, 700), 100, classes)
    assert len(data.train) == (36 if name == "shd" else 40)
    assert len(data.validation) == (4 if name == "shd" else 35)
    times, units, labels = given["test"]
    for place, row in enumerate(data.test.indices):
        one = data.test.events[place : place + 1]
        step = np.rint(times[row].astype(float) * 1e6).astype(int) // 14_000
        assert set(zip(one.steps.tolist(), one.neurons.tolist(), strict=True)) == set(
            zip(step.tolist(), units[row].tolist(), strict=True)
        )
        assert data.test.labels[place] == labels[row]
    (folder / f"{name}_test.h5").unlink()
    with pytest.raises(DataError, match=rf"{name}_test.h5: no such HDF5 file$"):
        load(name, data_dir=tmp_path)


@pytest.mark.parametrize(
    ("times", "units", "labels", "said"),
    [
        ([[0.1]], [[700]], [0], "spikes/units: 700 in row 0; allowed: 0 to 699"),
        ([[0.1], [-0.5]], [[3], [3]], [0, 1], "spikes/times: -0.5 in row 1; allowed: 0 to 1e+06"),
        ([[0.1], [np.nan]], [[3], [3]], [0, 1], "spikes/times: nan in row 1; allowed: 0 to 1e+06"),
        ([[0.1], [0.1, 0.2]], [[3], [3]], [0, 1], "row 1 has another number of spikes/times than of spikes/units"),
        ([[0.1]], [[3]], [-1], "labels: -1 at row 0, expected 0 to 99999"),
        ([[0.1]], [[3]], [0, 1], "labels: expected 1 whole numbers"),
        ([[0.1]], [[3], [4]], [0], "spikes/times and spikes/units: 1 and 2 rows; expected the same number, at most 1,000,000"),
    ],
)
def test_rows_that_fit_no_recording_are_one_line(tmp_path, times, units, labels, said):
    path = spikes(tmp_path / "a.h5", times, units, labels)
    with pytest.raises(DataError) as error:
        unread_hdf5(path, None).read(np.arange(len(times)))
    assert str(error.value) == f"{path}: {said}"


def test_hostile_hdf5_is_one_line(tmp_path):
    path = spikes(tmp_path / "a.h5", [[0.1]], [[3]], [0])
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"a.h5: not a readable HDF5 file: "):
        unread_hdf5(path, None)
    with h5py.File(path, "w") as file:
        file["labels"] = np.zeros(2, int)
        file["spikes/times"] = np.zeros((2, 5))
        file["spikes/units"] = h5py.SoftLink("/labels")
    with pytest.raises(
        DataError, match=r"a.h5: spikes/times: expected rows of numbers, each as long as it is \(variable length\)$"
    ):
        unread_hdf5(path, None)
    with h5py.File(path, "r+") as file:
        del file["spikes/times"]
        file["spikes/times"] = h5py.SoftLink("/labels")
    with pytest.raises(DataError, match=r"a.h5: spikes/times: is a link; only what the file itself holds is read$"):
        unread_hdf5(path, None)


def folders(root: Path, suffix: str, roles=("",)):
    random = np.random.default_rng(5)
    for role in roles:
        for label, name in enumerate(("10", "9", "x")):
            (root / role / name).mkdir(parents=True)
            for number in range(12):
                events = [
                    (*random.integers(0, 30, 2).tolist(), int(random.integers(0, 2)), t)
                    for t in sorted(random.integers(1, 9000, 8).tolist())
                ]
                events[0] = (label, 0, 0, 0)
                bits = b"".join(bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events)
                content = {".bin": bits, ".dat": dat(events), ".aedat": aedat(packet(events))}[suffix]
                (root / role / name / f"{number}{suffix}").write_bytes(content)
    return root


def test_a_folder_is_the_same_in_every_format(tmp_path):
    binning = Binning(bins=9, dt=1e-3, sensor=(2, 34, 34))
    found = [load(str(folders(tmp_path / suffix[1:], suffix)), binning=binning) for suffix in (".bin", ".dat", ".aedat")]
    assert len({each.digest for each in found}) == 1
    assert (found[0].classes, found[0].shape, len(found[0].train), len(found[0].test)) == (("9", "10", "x"), (2, 34, 34), 18, 15)
    one = found[0].test
    assert all((one.events[place : place + 1].neurons == [1, 0, 2][label]).any() for place, label in enumerate(one.labels))


def test_roles_of_a_folder_are_kept(tmp_path):
    data = load(str(folders(tmp_path / "a", ".bin", ("train", "test"))), binning=Binning(bins=9, dt=1e-3))
    assert (len(data.train), len(data.validation), len(data.test)) == (33, 3, 36)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("test/9/note.txt", "{}/test/9/note.txt: no recording; read are .bin, .bs2, .aedat, .dat, .mat"),
        ("test/9/a.aedat4", "{}/test/9/a.aedat4: AEDAT 4 is not read: convert it to AEDAT 3.1, or give its events from a factory, package.module:datasets (docs/events.md)"),
        ("test/9/a.h5", "{}/test/9/a.h5: an HDF5 file holds many recordings: give it by itself, --data FILE.h5"),
        ("other/a.bin", "{}: holds test and other; expected roles alone, or one folder a class"),
    ],
)  # fmt: skip
def test_what_is_no_folder_of_recordings_is_one_line(tmp_path, file, said):
    folders(tmp_path, ".bin", ("test",))
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(DataError) as error:
        unread_folder(tmp_path, None)
    assert str(error.value) == said.format(tmp_path)


def gestures(root: Path, names=("DvsGesture",)) -> Path:
    folder = root.joinpath(*names)
    folder.mkdir(parents=True)
    for role, users in (("train", (1, 2)), ("test", (3,))):
        (folder / f"trials_to_{role}.txt").write_text("".join(f"user{user:02d}_led.aedat\n" for user in users) + "\n")
        for user in users:
            lines, events = ["class,startTime_usec,endTime_usec"], []
            for label in range(1, 12):
                start = label * 100_000 + user
                lines.append(f"{label},{start},{start + 50_000}")
                events += [(label * 4, user * 4, 1, start), (0, 0, 0, start + 10_000), (9, 9, 0, start + 60_000)]
            (folder / f"user{user:02d}_led_labels.csv").write_text("\n".join(lines) + "\n")
            (folder / f"user{user:02d}_led.aedat").write_bytes(aedat(packet(events[:9]), packet(events[9:])))
    return folder


def test_gestures_are_cut_out_of_their_files(tmp_path):
    gestures(tmp_path)
    data = load("dvs-gesture", data_dir=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 2, 11)
    assert (data.shape, data.timesteps, len(data.classes)) == ((2, 32, 32), 300, 11)
    for place, label in enumerate(data.test.labels):
        one = data.test.events[place : place + 1]
        assert rows((one.steps, one.neurons)) == [(0, 1024 + 3 * 32 + label + 1), (2, 0)]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("trials_to_test.txt", "../a.aedat\n", "trials_to_test.txt:1: '../a.aedat', expected a name *.aedat"),
        ("trials_to_test.txt", "b.aedat\n", "b_labels.csv: no such file"),
        ("trials_to_test.txt", "\n", "trials_to_test.txt: lists no recordings"),
        ("user03_led_labels.csv", "class,a,b\n1,2\n", "user03_led_labels.csv:2: '1,2', expected class, first and last µs"),
        ("user03_led_labels.csv", "12,2,3\n", "user03_led_labels.csv:1: '12,2,3', expected a class of 1 to 11 and a last µs after the first"),
        ("user03_led.aedat", "", "user03_led.aedat: starts with b'', expected #!AER-DAT3.1"),
    ],
)  # fmt: skip
def test_damaged_gestures_are_one_line(tmp_path, file, content, said):
    folder = gestures(tmp_path, ("dvs-gesture",))
    (folder / file).write_text(content)
    with pytest.raises(DataError) as error:
        load("dvs-gesture", data_dir=tmp_path)
    assert str(error.value) == f"{folder}/{said}"
