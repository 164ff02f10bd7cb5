"""Own data: a file or a factory becomes the same data set, or one line says what was expected and what came."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest
import torch

import neurofault as nf
from neurofault.data.datasets import load
from neurofault.data.own import data_set_of
from neurofault.data.scaling import Scaling, in_levels, scaling_of
from neurofault.data.splits import DataSet, Split
from neurofault.errors import DataError, UsageError

RANDOM = np.random.default_rng(5)
VALUES = RANDOM.normal(0, 2, (40, 6)).astype(np.float32)
LABELS = np.arange(40) % 4
EVENTS = RANDOM.random((40, 7, 2, 3)) < 0.3


def file(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def made(monkeypatch):
    """Return a function that puts what it is given behind ``made_for_a_test:datasets`` and loads it."""

    def load_made(result):
        module = types.ModuleType("made_for_a_test")
        module.datasets = lambda: result
        monkeypatch.setitem(sys.modules, "made_for_a_test", module)
        return load("made_for_a_test:datasets")

    return load_made


def same(one: DataSet, other: DataSet) -> bool:
    return one.digest == other.digest and (one.shape, one.timesteps, one.classes) == (other.shape, other.timesteps, other.classes)


def back(split: Split, labels) -> None:
    """The labels and indices of a split lead back to what was given."""
    assert (split.labels == np.asarray(labels)[split.indices]).all()


def test_a_file_without_training_samples_is_cut_in_three_and_says_so(tmp_path):
    data = load(file(tmp_path, images=VALUES, labels=LABELS))
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 4, 16)
    assert sorted(np.concatenate([data.split(role).indices for role in ("train", "validation", "test")])) == list(range(40))
    for role in ("train", "validation", "test"):
        split = data.split(role)
        assert (split.images == VALUES[split.indices]).all()
        back(split, LABELS)
        assert set(np.bincount(split.labels)) <= {len(split) // 4, len(split) // 4 + 1, max(len(split) // 4 - 1, 0)}
    assert data.notes == ("mine.npz has no train_… samples: 24 of its 40 calibrate and are not reported on, 16 are reported on",)
    assert (data.name, data.classes) == ("mine.npz", ("0", "1", "2", "3"))


def test_own_roles_are_kept(tmp_path):
    parts = {"images": VALUES[:8], "labels": LABELS[:8], "train_images": VALUES[8:], "train_labels": LABELS[8:]}
    data = load(file(tmp_path, **parts))
    assert (len(data.train), len(data.validation), len(data.test)) == (29, 3, 8)
    assert data.notes == ()
    whole = load(file(tmp_path, **parts, validation_images=VALUES[:5], validation_labels=LABELS[:5]))
    assert (len(whole.train), len(whole.validation), len(whole.test)) == (32, 5, 8)
    assert whole.test.digest == data.test.digest
    assert same(whole, data_set_of({**parts, "validation_images": VALUES[:5], "validation_labels": LABELS[:5]}, "mine.npz"))


def test_dense_and_sparse_events_are_one(tmp_path):
    dense = load(file(tmp_path, events=EVENTS, labels=LABELS))
    counted = load(file(tmp_path, events=EVENTS * 3, labels=LABELS))
    sample, step, *line = np.nonzero(EVENTS)
    neuron = np.ravel_multi_index(line, EVENTS.shape[2:])
    mixed = RANDOM.permutation(np.append(np.arange(len(sample)), 0))  # one event twice
    sparse = load(
        file(tmp_path, sample=sample[mixed], step=step[mixed], neuron=neuron[mixed], timesteps=7, shape=[2, 3], labels=LABELS)
    )
    assert same(dense, counted)
    assert same(dense, sparse)
    assert (dense.timesteps, dense.shape, dense.test.events.size) == (7, (2, 3), 6)
    assert (dense.test.events.to_dense() == EVENTS.reshape(40, 7, 6)[dense.test.indices]).all()
    assert f"1 of {len(sample) + 1:,} events are lost: another of the same line falls into the same step" in sparse.notes[0]


class Pairs(torch.utils.data.Dataset):
    def __init__(self, seen, labels):
        self.seen, self.labels = seen, labels

    def __len__(self):
        return len(self.seen)

    def __getitem__(self, index):
        return self.seen[index], self.labels[index]


def test_arrays_and_torch_datasets_are_one(made):
    arrays = {"images": VALUES[:8], "labels": LABELS[:8], "train_images": VALUES[8:], "train_labels": LABELS[8:]}
    given = made(arrays)
    assert same(given, data_set_of(arrays, "mine"))
    tensors = {key: torch.tensor(value) for key, value in arrays.items()}
    assert same(made(tensors), given)
    pairs = {"test": Pairs(torch.tensor(VALUES[:8]), LABELS[:8].tolist()), "train": Pairs(VALUES[8:], torch.tensor(LABELS[8:]))}
    assert same(made(pairs), given)
    assert same(made(Pairs(VALUES, LABELS)), data_set_of({"images": VALUES, "labels": LABELS}, "mine"))
    assert made(given) is given


def structured(sample):
    step, p, y, x = np.nonzero(sample.reshape(7, 1, 2, 3))
    events = np.zeros(len(step), [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    events["t"], events["x"], events["y"], events["p"] = step * 1000 + 999, x, y, p
    return events


def test_recordings_as_tonic_gives_them(made):
    recordings = [(structured(one), int(label)) for one, label in zip(EVENTS, LABELS, strict=True)]
    found = made({"test": recordings, "timesteps": 7, "dt": 1e-3, "shape": (1, 2, 3)})
    assert found.test.digest == data_set_of({"events": EVENTS, "labels": LABELS}, "mine").test.digest
    assert (found.shape, found.timesteps) == ((1, 2, 3), 7)
    with pytest.raises(
        DataError,
        match=r"^made_for_a_test:datasets: test: recordings need timesteps, dt, shape beside the roles; timesteps is missing$",
    ):
        made({"test": recordings})
    with pytest.raises(DataError, match=r"^made_for_a_test:datasets: test: x lies in 0 … 2; expected 0 to 1$"):
        made({"test": recordings, "timesteps": 7, "dt": 1e-3, "shape": (1, 2, 2)})


GOOD = {"images": VALUES, "labels": LABELS}
KNOWN = (
    "known: images, events, sample, step, neuron, labels, targets, each also as train_… and validation_…, and timesteps and shape"
)
BAD = [
    ({"labels": LABELS}, "expected one of images, events and sample, step, neuron; there is none"),
    ({"images": VALUES}, "labels are missing: whole numbers, one for each sample"),
    ({"train_images": VALUES, "train_labels": LABELS}, "expected images or events, and labels; there is train_images, train_labels"),
    ({"x": GOOD["images"], "labels": LABELS}, f"unknown array 'x' (did you mean 'images'?); {KNOWN}"),
    ({"images": GOOD["images"], "Y": LABELS}, f"unknown array 'Y' (did you mean 'labels'?); {KNOWN}"),
    ({**GOOD, "x_train": GOOD["images"]}, f"unknown array 'x_train' (did you mean 'train_images'?); {KNOWN}"),
    ({**GOOD, "test_y": LABELS}, f"unknown array 'test_y' (did you mean 'labels'?); {KNOWN}"),
    ({**GOOD, "lables": LABELS}, f"unknown array 'lables' (did you mean 'labels'?); {KNOWN}"),
    ({**GOOD, "labels": LABELS[:39]}, "images: 40 samples, but 39 labels; expected one for each sample"),
    ({**GOOD, "labels": LABELS - 1}, "labels lie in -1 … 2; expected 0 to the number of classes − 1 (at most 100,000 classes)"),
    ({**GOOD, "labels": LABELS + 1}, "class 0 has no sample (labels go up to 4); expected labels 0 to the number of classes − 1, each in use"),
    ({**GOOD, "labels": np.where(LABELS == 2, 3, LABELS)}, "class 2 has no sample (labels go up to 3); expected labels 0 to the number of classes − 1, each in use"),
    ({**GOOD, "images": np.where(VALUES[3, 2] == VALUES, np.nan, VALUES)}, "images: 1 of 240 values are not finite (the first: nan at [3, 2])"),
    ({**GOOD, "images": VALUES[:, 0]}, "images: shape (40,); expected [N, …], N samples of at least one value each"),
    ({**GOOD, "events": EVENTS}, "expected one of images, events and sample, step, neuron; there is images and events"),
    ({"events": EVENTS * -1, "labels": LABELS}, "events: -1 events of a line in a step; expected 0 or more (a negative polarity is a line of its own)"),
    ({"events": EVENTS[:, 0, 0], "labels": LABELS}, "events: shape (40, 3); expected [N, T, …], T steps of the lines of a sample"),
    ({"sample": [0], "step": [0], "neuron": [0], "shape": [3], "labels": LABELS}, "timesteps is missing: sparse events are sample, step and neuron, with timesteps and shape"),
    ({"sample": [0], "step": [0], "timesteps": 3, "shape": [3], "labels": LABELS}, "neuron is missing: sparse events are sample, step and neuron, with timesteps and shape"),
    ({"sample": [40], "step": [0], "neuron": [0], "timesteps": 3, "shape": [3], "labels": LABELS}, "events: samples lie in 40 … 40; allowed: 0 to 39"),
    ({"events": EVENTS, "labels": np.zeros((40, 6), int)}, "labels: 6 labels a sample, but its events have 7 steps; expected one, or one for each step"),
    ({"images": VALUES[:9], "labels": LABELS[:9]}, "9 samples; expected at least 10 (six tenths calibrate and are not reported on), or train_… beside them"),
    ({**GOOD, "labels": np.eye(4)[LABELS]}, "labels: shape (40, 4); expected [N], one class a sample, whole numbers from 0; one 1 in each row, so these are one-hot: labels.argmax(axis=1) makes classes of them"),
    ({**GOOD, "train_images": VALUES, "train_labels": np.eye(4, dtype=int)[LABELS]}, "train_labels: shape (40, 4); expected [N], one class a sample, whole numbers from 0; one 1 in each row, so these are one-hot: labels.argmax(axis=1) makes classes of them"),
    ({"events": EVENTS, "labels": np.eye(4, dtype=int)[LABELS]}, "labels: 4 labels a sample, but its events have 7 steps; expected one, or one for each step; one 1 in each row, so these are one-hot: labels.argmax(axis=1) makes classes of them"),
    ({**GOOD, "labels": np.array(list("abcd"))[LABELS]}, "labels.npy: holds <U1; booleans, integers and real numbers are read; labels are whole numbers from 0: names, labels = numpy.unique(labels, return_inverse=True) makes them of names"),
    ({**GOOD, "labels": np.array(list("abcd"), object)[LABELS]}, "labels.npy: holds object; booleans, integers and real numbers are read; labels are whole numbers from 0: names, labels = numpy.unique(labels, return_inverse=True) makes them of names"),
    ({**GOOD, "train_images": VALUES[:, :5], "train_labels": LABELS}, "train samples are float32 of shape (5,), but those of test are float32 of shape (6,); expected the same"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), BAD)
def test_what_makes_no_data_set_is_one_line(tmp_path, arrays, message):
    path = file(tmp_path, **arrays)
    with pytest.raises(DataError, match=rf"^({re.escape(path)}|mine\.npz): .*{re.escape(message)}$") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_or_a_torn_file_is_refused_by_name(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.array([{"x": 1}], object), labels=[0])
    with pytest.raises(DataError, match=r"images\.npy: holds object; booleans, integers and real numbers are read$"):
        load(str(path))
    whole = (tmp_path / "whole.npz").open("wb")
    np.savez(whole, **GOOD)
    whole.close()
    path.write_bytes((tmp_path / "whole.npz").read_bytes()[:-30])
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: not a NumPy archive, or a damaged one"):
        load(str(path))
    with pytest.raises(DataError, match=r"gone.npz: no such file$"):
        load(str(tmp_path / "gone.npz"))


def test_labels_of_a_factory_that_are_names_or_one_hot_say_what_makes_classes_of_them(made):
    names = np.array(["cat", "dog", "eel", "fox"])[LABELS]
    said = "labels are whole numbers from 0: names, labels = numpy.unique(labels, return_inverse=True) makes them of names"
    for given in ({"images": VALUES, "labels": names}, Pairs(VALUES, names.tolist())):
        with pytest.raises(
            DataError,
            match=rf"^made_for_a_test:datasets: .*labels: an array or a tensor of numbers is taken, not <U3 .*; {re.escape(said)}$",
        ):
            made(given)
    _, labels = np.unique(names, return_inverse=True)
    assert same(made({"images": VALUES, "labels": labels}), made({"images": VALUES, "labels": LABELS}))
    with pytest.raises(
        DataError, match=r"test: labels: shape \(40, 4\); expected \[N\], .*labels\.argmax\(axis=1\) makes classes of them$"
    ):
        made({"test": Pairs(VALUES, np.eye(4)[LABELS])})


def test_a_label_of_every_step_is_no_one_hot_label(tmp_path):
    once = np.eye(7, dtype=int)[np.arange(40) % 7]  # class 1 in one step of seven, in a set of events of seven steps
    assert load(file(tmp_path, events=EVENTS, labels=once)).test.labels.shape == (16, 7)
    often = np.tile([1, 0, 1], (40, 1))
    assert load(file(tmp_path, images=VALUES, labels=often)).test.labels.shape == (16, 3)


def test_what_a_factory_should_not_return_is_said(made):
    with pytest.raises(
        DataError,
        match=r"^made_for_a_test:datasets: returned int; expected a mapping of arrays or of datasets, see docs/own_data.md$",
    ):
        made(3)
    with pytest.raises(
        DataError, match=r"^made_for_a_test:datasets: test\[0\] is ndarray; expected a pair of what is seen and a label$"
    ):
        made({"test": list(VALUES)})
    uneven = [(np.zeros(3), 0), (np.zeros(4), 1)]
    with pytest.raises(
        DataError,
        match=r"^made_for_a_test:datasets: test: samples: sample 1 has the shape \(4,\), sample 0 \(3,\); expected the same$",
    ):
        made({"test": uneven})
    with pytest.raises(
        UsageError,
        match=r"^data 'no_such_module:datasets': No module named 'no_such_module'; run where Python finds no_such_module",
    ):
        load("no_such_module:datasets")


@pytest.mark.parametrize("signed", ["bias", "lines"])
def test_levels_stand_for_the_training_range_to_half_a_level(signed):
    data = data_set_of({"train_images": VALUES, "train_labels": LABELS, "images": VALUES * 1.2, "labels": LABELS}, "mine")
    scaling = scaling_of(data, signed)
    levels = in_levels(data, scaling)
    assert (scaling.low, scaling.high) == (data.train.images.min(), data.train.images.max())
    shown = levels.train.images / 255
    values = shown * scaling.unit + scaling.low if signed == "bias" else (shown[:, 0] - shown[:, 1]) * scaling.unit
    assert np.abs(values - data.train.images).max() <= scaling.rounding * (1 + 1e-6)
    outside = (data.test.images < scaling.low) | (data.test.images > scaling.high)
    assert scaling.clipped == outside.mean() > 0
    cut = levels.test.images.reshape(40, -1, 6)[:, 0][data.test.images > scaling.high]
    assert (cut == 255).all() if signed == "bias" or -scaling.low < scaling.high else cut.size


def test_uint8_and_events_are_shown_as_they_are():
    assert scaling_of(load("digits")) is None
    assert scaling_of(data_set_of({"events": EVENTS, "labels": LABELS}, "mine")) is None
    positive = data_set_of({"images": np.abs(VALUES), "labels": LABELS}, "mine")
    assert scaling_of(positive) == Scaling(0.0, float(positive.train.images.max()), "bias", scaling_of(positive).clipped)
    with pytest.raises(UsageError, match=r"^signed: 'line'; allowed: bias, lines"):
        scaling_of(positive, "line")
    with pytest.raises(DataError, match=r"^mine/train: every value is 0, so there is nothing to show$"):
        scaling_of(data_set_of({"images": np.zeros((40, 2)), "labels": LABELS}, "mine"))


def test_a_split_says_what_it_holds_where_something_else_is_needed():
    values, events = (
        data_set_of({key: given, "labels": LABELS}, "mine").test for key, given in (("images", VALUES), ("events", EVENTS))
    )
    with pytest.raises(
        UsageError, match=r"^mine/test holds events \(7 steps of 6 lines\); values are needed here, such as images$"
    ):
        _ = events.images
    with pytest.raises(UsageError, match=r"^mine/test holds values \(float32 of shape \(6,\)\); events are needed here$"):
        _ = values.events
    with pytest.raises(UsageError, match=r"^mine/test holds float32 of shape \(6,\); uint8, 0 to 255, is needed here$"):
        _ = values.pixels
    assert isinstance(events.first(3).events, nf.Spikes)
    assert len(events.first(3)) == 3


def test_a_step_without_a_label_is_minus_one(tmp_path):
    steps = np.arange(len(LABELS) * 7).reshape(-1, 7) % 3 - 1
    data = load(file(tmp_path, events=EVENTS, labels=steps))
    assert data.classes == ("0", "1")
    assert np.array_equal(data.test.labels, steps[data.test.indices])
    for wrong, message in (
        (steps - 1, "labels lie in -2 … 0; expected 0 .* or −1 for a step without a label"),
        (steps * 0 - 1, "no step has"),
    ):
        with pytest.raises(DataError, match=message):
            load(file(tmp_path, events=EVENTS, labels=wrong))
