"""A test as a file, and applied."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from chips import chip, dense, population

import neurofault as nf
from neurofault.damage.damage import Damage, Silence, Stall
from neurofault.errors import UsageError
from neurofault.study.patterns.apply import compared, read_answers


def made(seed=8):
    rng = np.random.default_rng(seed)
    layers = [population("input", (9,)), population("hidden", (6,), dense(rng, 6, 9), vth=200)]
    layers.append(population("output", (3,), dense(rng, 3, 6), vth=131072))
    return replace(chip(layers, 10, readout="potential"), profile=nf.load_profile("loihi2"))


def shown(kind="events"):
    rng = np.random.default_rng(3)
    if kind == "bias":
        return nf.Inputs(bias=rng.integers(0, 150, (12, 9)))
    return nf.Inputs(events=rng.random((12, 10, 9)) < 0.3)


def patterns(kind="events", **asked):
    return nf.choose_patterns(
        made(), shown(kind), faults=["neuron_dead"], aim="detectable", draws=0, indices=np.arange(100, 112), **asked
    ).patterns


@pytest.mark.parametrize("kind", ["events", "bias"])
def test_a_file_gives_back_what_was_written(tmp_path, kind):
    first = patterns(kind, observe="potential", data="somewhere")
    nf.save_patterns(first, tmp_path / "t.npz")
    second = nf.load_patterns(tmp_path / "t.npz")
    for name in ("network", "chip", "observe", "faults", "data", "timesteps"):
        assert getattr(first, name) == getattr(second, name)
    for name in ("indices", "scores", "sample_spikes", "answers"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert first.indices.min() >= 100
    assert nf.apply_patterns(second, made()).passed
    again = nf.run(made(), second.inputs).activity.scores
    assert np.array_equal(again, first.scores)


def test_a_broken_chip_fails_and_its_samples_are_named(tmp_path):
    own = patterns(observe="potential")
    nf.save(made().with_damage(Damage((Silence("hidden", np.array([1, 2])),))), tmp_path / "hurt.npz")
    hurt = nf.load(tmp_path / "hurt.npz")
    verdict = nf.apply_patterns(own, hurt)
    scores = nf.run(hurt, own.inputs).activity.scores
    assert not verdict.passed
    assert np.array_equal(verdict.differs, (scores != own.scores).any(axis=1))
    assert np.array_equal(verdict.answers, scores)
    moved = replace(
        made(), placement=replace(made().placement, core_of={name: cores + 7 for name, cores in made().placement.core_of.items()})
    )
    assert nf.apply_patterns(own, moved).passed


def test_a_chip_that_stalls_fails():
    verdict = nf.apply_patterns(patterns(), made().with_damage(Damage((Stall(np.array([0])),))))
    assert verdict.answers is None
    assert verdict.differs.all()


def test_recorded_answers_are_compared(tmp_path):
    own = patterns(observe="class")
    assert compared(own, own.answers[:, 0]).passed
    other = own.answers.copy()
    other[0] += 1
    np.savez(tmp_path / "a.npz", answers=other)
    assert compared(own, read_answers(tmp_path / "a.npz")).differs.tolist() == [True] + [False] * (len(own) - 1)
    with pytest.raises(
        UsageError,
        match=r"^answers have the shape \(1, 7\), but the test has \d+ samples and sees 1 numbers of each \(class\): \(\d+, 1\)$",
    ):
        compared(own, np.zeros((1, 7), np.int64))
    np.savez(tmp_path / "b.npz", other=other)
    with pytest.raises(UsageError, match=r"b.npz: holds no array 'answers' of whole numbers$"):
        read_answers(tmp_path / "b.npz")
    with pytest.raises(UsageError, match=r"c.npz: no such file$"):
        read_answers(tmp_path / "c.npz")


def test_a_test_of_another_chip_is_refused():
    with pytest.raises(
        UsageError,
        match=r"^the test was made for network 'test' with other weights, readout or steps than this chip of 'test' holds .*$",
    ):
        nf.apply_patterns(patterns(), made(seed=9))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"test": None}, "it has no text of a test"),
        ({"test": {"format": 2}}, "its format is not known; this version reads 1"),
        ({"test": {"observe": "smell"}}, "observe is 'smell'"),
        ({"test": {"network": 3}}, "network is no text"),
        ({"test": {"timesteps": 0}}, "timesteps is 0"),
        ({"test": {"faults": "all"}}, "faults are not a list of names"),
        ({"test": {"inputs": []}}, "its arrays are of different numbers of samples, or empty"),
        ({"indices": np.zeros(0, np.int64), "scores": np.zeros((0, 3), np.int64)}, "its arrays are of different numbers of samples, or empty"),
        ({"scores": np.zeros(3)}, "array scores is float64 of shape (3,)"),
        ({"0.steps": np.zeros((2, 2), np.int32)}, "input 'input': events in arrays that do not fit"),
        ({"0.neurons": None}, "'0.neurons'"),
    ],
)  # fmt: skip
def test_a_damaged_file_gets_one_line(tmp_path, broken, message):
    path = tmp_path / "t.npz"
    nf.save_patterns(patterns(), path)
    with np.load(path) as held:
        arrays = dict(held)
    for name, value in broken.items():
        if value is None:
            del arrays[name]
        elif isinstance(value, dict):
            arrays[name] = np.frombuffer(json.dumps(json.loads(arrays[name].tobytes()) | value).encode(), np.uint8)
        else:
            arrays[name] = value
    if "empty" in message and "inputs" in str(broken):
        arrays |= {name: arrays[name][:0] for name in ("indices", "scores", "sample_spikes")}
    np.savez(path, **arrays)
    with pytest.raises(UsageError) as error:
        nf.load_patterns(path)
    if "inputs" in str(broken):
        assert str(error.value).startswith(f"{path}: not a saved test, or a damaged one (")
    else:
        assert str(error.value) == f"{path}: not a saved test, or a damaged one ({message})"


def test_what_is_no_archive_gets_one_line(tmp_path):
    (tmp_path / "t.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match=r"t.npz: not a NumPy archive, or a damaged one \(.*\)$"):
        nf.load_patterns(tmp_path / "t.npz")
