"""Recordings with a label of every step, cut into windows: against a plain reading of the same recordings."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurofault as nf
from neurofault.data.datasets import OF_EACH, WINDOW, load
from neurofault.data.splits import ROLES, DataSet, Split
from neurofault.data.windows import in_windows
from neurofault.errors import DataError, UsageError


def recordings(seed: int, counts: tuple[int, int, int], steps: int, unlabelled: float) -> DataSet:
    """Return random events [N, T, 3] with labels [N, T] of 4 classes, some of them missing."""
    random, first, parts = np.random.default_rng(seed), 0, {}
    for role, count in zip(ROLES, counts, strict=True):
        labels = random.integers(0, 4, (count, steps))
        labels[random.random(labels.shape) < unlabelled] = -1
        labels[:, -1] = 0
        events = nf.Spikes.dense(random.random((count, steps, 3)) < 0.4)
        parts[role] = Split(events, labels.astype(np.int64), first + random.permutation(count), f"own/{role}")
        first += 100
    return DataSet("own", **parts, classes=("a", "b", "c", "d"))


@settings(max_examples=40)
@given(
    st.integers(0, 10_000), st.tuples(*(st.integers(1, 5) for _ in ROLES)), st.integers(4, 20), st.data(), st.floats(0, 0.9)
)  # fmt: skip
def test_a_window_ends_at_a_labelled_step_of_its_recording(seed, counts, steps, drawn, unlabelled):
    data = recordings(seed, counts, steps, unlabelled)
    size = drawn.draw(st.integers(1, steps))
    of_each = {role: drawn.draw(st.integers(1, 6)) for role in ROLES}
    found = in_windows(data, "cut", size, of_each)
    assert (found.name, found.timesteps, found.classes, found.shape) == ("cut", size, data.classes, data.shape)
    for role in ROLES:
        source, own = data.split(role), found.split(role)
        whole, windows = source.events.to_dense(), own.events.to_dense()
        for number, index in enumerate(source.indices):
            ends = [end for end in range(size - 1, steps) if source.labels[number, end] >= 0]
            mine = np.flatnonzero(own.indices == index)
            assert len(mine) == min(of_each[role], len(ends))
            left = [(whole[number, end - size + 1 : end + 1].tobytes(), source.labels[number, end]) for end in ends]
            for window in mine:
                left.remove((windows[window].tobytes(), own.labels[window]))  # each at most once
        assert own.labels.shape == own.indices.shape == (len(windows),)
        assert not own.labels.flags.writeable
        assert own.name == f"cut/{role}"


def test_windows_of_a_recording_depend_on_nothing_but_its_name_and_its_index():
    data = recordings(1, (6, 2, 2), 30, 0.3)
    back = replace(
        data,
        train=replace(
            data.train,
            samples=data.train.events.take(np.arange(6)[::-1]),
            labels=data.train.labels[::-1],
            indices=data.train.indices[::-1],
        ),
    )
    of_each = dict.fromkeys(ROLES, 3)
    one, other = (in_windows(each, "cut", 10, of_each).train for each in (data, back))
    for index in data.train.indices:
        seen = [
            sorted((split.events.take(np.flatnonzero(split.indices == index)).to_dense()[k].tobytes(), int(label)) for k, label in enumerate(split.labels[split.indices == index]))
            for split in (one, other)
        ]  # fmt: skip
        assert seen[0] == seen[1]


def test_what_cannot_be_cut_is_refused():
    data = recordings(1, (2, 2, 2), 8, 0.2)
    plain = replace(data, test=replace(data.test, labels=data.test.labels[:, 0]))
    with pytest.raises(DataError, match=r"^data own has no label of every step, so it cannot be cut into windows$"):
        in_windows(plain, "cut", 4, OF_EACH)
    early = replace(data, validation=replace(data.validation, labels=np.where(np.arange(8) < 5, data.validation.labels, -1)))
    with pytest.raises(DataError, match=r"^own/validation: no step from 6 on has a label, so no window of 6 steps ends at one$"):
        in_windows(early, "cut", 6, OF_EACH)


@pytest.mark.parametrize(
    ("steps", "of_each", "message"),
    [
        (0, OF_EACH, "steps of a window must be 1 to 8, those of a recording, are 0"),
        (-2, OF_EACH, "steps of a window must be 1 to 8, those of a recording, are -2"),
        (9, OF_EACH, "steps of a window must be 1 to 8, those of a recording, are 9"),
        (4, {"train": 1}, "windows of each recording are given for train; needed are those of train, validation, test"),
        (4, {}, "windows of each recording are given for no role; needed are those of train, validation, test"),
        (4, {**OF_EACH, "test": 0}, "windows of test must be at least 1 of each recording, are 0"),
    ],
)
def test_numbers_out_of_range_are_refused(steps, of_each, message):
    with pytest.raises(UsageError, match=f"^{message}$"):
        in_windows(recordings(1, (2, 2, 2), 8, 0.2), "cut", steps, of_each)


def field(tmp_path: Path) -> Path:
    """Return a data folder with the published recordings."""
    root = Path(os.environ.get("NEUROFAULT_FIELD") or Path(__file__).resolve().parents[3] / "shared" / "data" / "field")
    found = root / "byin-cwi__Efficient-spiking-networks" / "data"
    if not found.exists():
        pytest.skip(f"no recordings at {found}; NEUROFAULT_FIELD names the folder that holds them")
    (tmp_path / "ecg-qtdb").symlink_to(found)
    return tmp_path


def test_heartbeats_in_windows_are_read_and_learned_from(tmp_path, cli):
    folder = field(tmp_path)
    data = load("ecg-qtdb-windows", data_dir=folder)
    assert [len(data.split(role)) for role in ROLES] == [
        2171,
        976,
        1098,
    ]  # of 557, 61 and 141 recordings, some of which end without a label
    assert data.timesteps == WINDOW
    command = (
        "--network",
        "ecg-rnn",
        "--data-dir",
        str(folder),
        "--kill-cores",
        "2",
        "--samples",
        "100",
        "--draws",
        "1",
        "--learner",
        "delta",
    )
    code, _, err = cli("rescue", *command, "--adapt", "200", "--strategy", "batch")
    assert (code, "; cut into windows it has one label each" in err) == (2, True)
    file = tmp_path / "healed.json"
    code, _, err = cli(
        "rescue",
        *command,
        "--data",
        "ecg-qtdb-windows",
        "--adapt",
        "200",
        "--cycles",
        "1",
        "--strategy",
        "batch",
        "--json",
        str(file),
    )
    assert code == 0, err
    (row,) = [one for one in json.loads(file.read_text())["rows"] if one["strategy"] == "batch"]
    assert row["final"]["mean"] > row["damaged"]["mean"]
