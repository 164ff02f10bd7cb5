"""Event recordings: 40-bit files, binning against a plain reference, and Intel's N-MNIST network on real ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.data.address_events import read_address_events, read_label_list
from neurofault.data.recordings import Recordings
from neurofault.errors import DataError, UsageError
from neurofault.graph import CubaLif, Dense, Population, Source, chain
from neurofault.graph.synapses import Stored
from neurofault.inputs import Inputs


def field(*parts: str) -> Path:
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root.joinpath("bamsumit__slayerPytorch", *parts)
    if not found.exists():
        pytest.skip(f"no recordings at {found}; NEUROFAULT_FIELD names the folder that holds them")
    return found


def packed(*events: tuple[int, int, int, int]) -> bytes:
    """Return events (x, y, polarity, µs) as the 40 bits of the publisher."""
    return b"".join(bytes((x, y)) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events)


def recordings(events: list[list[tuple[int, int, int, int]]], shape: tuple[int, int, int]) -> Recordings:
    flat = np.array([event for one in events for event in one], np.int64).reshape(-1, 4)
    starts = np.cumsum([0, *(len(one) for one in events)], dtype=np.int64)
    x, y, polarity, times = flat.T
    labels = np.zeros(len(events), np.int64)
    return Recordings(starts, x.astype(np.int16), y.astype(np.int16), polarity.astype(np.uint8), times, shape, labels)


def test_events_of_40_bits_come_back_with_their_labels(tmp_path):
    first, second = [(33, 0, 1, 0x7FFFFF), (0, 33, 0, 1)], [(5, 6, 1, 70000)]
    paths = [tmp_path / "a.bin", tmp_path / "b.bs2"]
    for path, events in zip(paths, (first, second), strict=True):
        path.write_bytes(packed(*events))
    read = read_address_events(paths, [7, 2])
    assert read.starts.tolist() == [0, 2, 3]
    columns = (read.x, read.y, read.polarity, read.times)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [*first, *second]
    assert (read.labels.tolist(), read.shape) == ([7, 2], (2, 34, 34))


def test_a_marker_of_overflow_moves_all_later_events_by_8192_microseconds(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(packed((1, 1, 0, 5), (0, 240, 0, 0), (2, 2, 0, 5), (0, 240, 0, 0), (3, 3, 0, 5)))
    read = read_address_events([path], [0])
    assert (read.x.tolist(), read.times.tolist()) == ([1, 2, 3], [5, 8197, 16389])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (packed((1, 1, 0, 5)) + b"abc", "truncated: an event of 3 bytes at byte 5, expected 5"),
        (b"", "holds no events, expected at least 1"),
        (
            packed((1, 1, 0, 5), (34, 1, 0, 5)),
            "event at byte 5 has x 34, y 1, polarity 0; allowed: x below 34, y below 34, polarity below 2",
        ),
    ],
)
def test_a_damaged_recording_is_refused_by_file_and_byte(tmp_path, content, said):
    path = tmp_path / "00001.bin"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_address_events([path], [0])
    assert str(error.value) == f"{path}: {said}"


def test_a_missing_recording_is_refused(tmp_path):
    with pytest.raises(DataError) as error:
        read_address_events([tmp_path / "1.bin"], [0])
    assert str(error.value) == f"{tmp_path / '1.bin'}: no such file"


def test_a_list_of_labels_is_read_and_a_wrong_line_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("#sample #class\n60001\t7\n60002\t2\n")
    assert read_label_list(path, 10) == [("60001", 7), ("60002", 2)]
    for line in ("3 10", "../1 2", "3", "3 -1"):
        path.write_text(f"#sample #class\n{line}\n")
        with pytest.raises(DataError) as error:
            read_label_list(path, 10)
        assert str(error.value) == f"{path}:2: {line!r}, expected a sample's number and its class, 0 to 9"


EVENTS = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 1), st.integers(0, 9000)), max_size=30), max_size=3
)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from(["nearest", "down"]), st.booleans(), st.integers(1, 3), st.sampled_from([None, (1, 2, 3, 4)]))
def test_binning_equals_a_plain_reference(events, rounding, merge, down, crop):
    binned = recordings(events, (2, 5, 7)).binned(
        bins=5, dt=1.5e-3, rounding=rounding, polarity="merged" if merge else "kept", down=down, crop=crop
    )
    top, left, high, wide = crop or (0, 0, 5, 7)
    height, width = -(-high // down), -(-wide // down)
    expected = np.zeros((len(events), 5, (1 if merge else 2) * height * width), bool)
    lost = {"merged": 0, "outside": 0, "cropped": 0}
    for sample, one in enumerate(events):
        for x, y, p, t in one:
            step = round(t / 1500) if rounding == "nearest" else t // 1500
            line = (0 if merge else p) * height * width + (y - top) // down * width + (x - left) // down
            if not (top <= y < top + high and left <= x < left + wide):
                lost["cropped"] += 1
            elif step >= 5:
                lost["outside"] += 1
            else:
                lost["merged"] += int(expected[sample, step, line])
                expected[sample, step, line] = True
    assert np.array_equal(binned.spikes.to_dense(), expected)
    assert {"merged": binned.merged, "outside": binned.outside, "cropped": binned.cropped} == lost
    assert binned.shape == ((1 if merge else 2), height, width)


def test_what_binning_lost_is_said():
    events = [[(0, 0, 0, 100), (0, 0, 0, 200), (0, 0, 1, 100), (6, 0, 0, 100), (1, 1, 0, 9000)]]
    binned = recordings(events, (2, 5, 7)).binned(bins=5, dt=1e-3, crop=(0, 0, 5, 6))
    assert str(binned) == "2 of 5 events are spikes; lost: 1 of one line in one step, 1 after step 4, 1 beside the crop"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dt": 1.5e-6}, "dt: 1.5e-06 s; allowed: a whole number of µs, such as 1e-3"),
        ({"dt": float("nan")}, "dt: nan s; allowed: a whole number of µs, such as 1e-3"),
        ({"bins": 0}, "bins: 0; allowed: 1 or more"),
        ({"down": 0}, "down: 0; allowed: 1 or more"),
        ({"crop": (0, 0, 6, 1)}, "crop: (0, 0, 6, 1) does not lie within the sensor's 5×7 pixels"),
        ({"rounding": "up"}, "rounding: 'up'; allowed: nearest, down"),
        ({"polarity": "both"}, "polarity: 'both'; allowed: kept, merged"),
    ],
)
def test_a_wrong_way_to_bin_is_refused(arguments, said):
    with pytest.raises(UsageError) as error:
        recordings([[]], (2, 5, 7)).binned(**{"bins": 5, "dt": 1e-3, **arguments})
    assert str(error.value) == said


def test_recordings_beside_their_sensor_are_refused():
    with pytest.raises(DataError) as error:
        recordings([[(7, 0, 0, 0)]], (2, 5, 7))
    assert str(error.value) == "recordings: x lies in 7 … 7; allowed: 0 to 6"


def test_intels_nmnist_network_answers_100_of_100():
    at, trained = field("test", "test_files", "NMNISTsmall"), field("exampleLoihi", "02_NMNIST", "TrainedFull")
    listed = read_label_list(at / "test100.txt", 10)
    read = read_address_events([at / f"{name}.bs2" for name, _ in listed], [label for _, label in listed])
    binned = read.binned(bins=300, dt=1e-3)
    weights = [
        np.loadtxt(trained / file).reshape(shape).astype(np.int32)
        for file, shape in (("NMNISTFc1.txt.gz", (512, 2312)), ("NMNISTFc2.txt", (10, 512)))
    ]
    neurons = [Population(name, (n,), CubaLif(80, 0, 1024, 128, bias_exponent=6)) for name, n in (("hidden", 512), ("output", 10))]
    network = chain(
        "nmnist", [Population("input", (2, 34, 34), Source(threshold=60)), *neurons], [Dense(one) for one in weights],
        timesteps=300, how="count", stored=[Stored()] * 2,
    )  # fmt: skip
    result = nf.run(nf.deploy(network, "loihi1"), Inputs(events=binned.spikes), read.labels)
    assert (len(read), result.accuracy) == (100, 1.0)
