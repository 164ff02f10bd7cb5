"""A protected chip as a file: the same protection, the same faults under it, the same answers; nonsense is refused."""

import json

import numpy as np
import pytest

import neurofault as nf
from neurofault.digest import digest_of
from neurofault.errors import UsageError
from neurofault.faults import SynapseBitFlip
from neurofault.inputs import Bias

ALL = [
    {"kind": "secded", "share": 0.3, "by": "random", "word": 16, "scrub": 7, "layer": "hidden"},
    {"kind": "parity", "word": 8, "layer": "hands"},
    {"kind": "bounds", "layer": "hidden"},
    "potentials",
    {"kind": "tmr", "share": 0.5, "by": "random"},
]


def protected():
    rng = np.random.default_rng(0)
    sizes = {"eyes": 12, "mid": 9, "hands": 4}
    populations = [nf.Population(name, (size,), nf.CubaLif(1.0) if name != "eyes" else nf.Source()) for name, size in sizes.items()]
    links = [nf.Dense(rng.normal(size=(9, 12))), nf.Dense(rng.normal(size=(4, 9)))]
    chip = nf.deploy(nf.chain("reflex", populations, links, timesteps=6), neurons_per_core=5)
    x = Bias(rng.integers(0, 4000, (4, 12)).astype(np.int32))
    return nf.protect(chip, ALL, x, np.zeros(4, np.int64)), x


def test_a_protected_and_broken_chip_comes_back_as_it_was(tmp_path):
    safe, x = protected()
    fault = SynapseBitFlip(rate=0.05, layer="any")
    for chip in (safe, nf.inject(safe, fault, seed=1)):
        nf.save(chip, tmp_path / "chip.npz")
        back = nf.load(tmp_path / "chip.npz")
        assert digest_of(back.protection) == digest_of(chip.protection)
        assert digest_of(*back.damage.cells.edits) == digest_of(*chip.damage.cells.edits)
        one, other = (nf.inject(each, fault, seed=2) for each in (chip, back))  # decoded with all that was broken before
        assert digest_of(*one.damage.edits) == digest_of(*other.damage.edits)
        assert np.array_equal(nf.run(one, x).activity.scores, nf.run(other, x).activity.scores)
        nf.save(back, tmp_path / "again.npz")
        assert (tmp_path / "chip.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


def spoilt(path, change):
    with np.load(path) as held:
        arrays = dict(held)
    data = json.loads(arrays["deployment"].tobytes())
    change(data, arrays)
    arrays["deployment"] = np.frombuffer(json.dumps(data).encode(), np.uint8)
    np.savez(path, **arrays)


def array_of(name, value):
    def change(data, arrays):
        arrays[str(data["protection"]["words"][0][name])][0] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (array_of("starts", 1), "words of 'mid' do not follow on each other"),
        (array_of("cores", 100), "words of 'mid' lie on cores that store none of it"),
        (array_of("masks", 0), "words of 'mid' are not in order"),
        (array_of("sites", -1), "stored synapse"),
        (lambda data, _: data["protection"]["words"][0].update(code="crc"), "code is 'crc', not parity or secded"),
        (lambda data, _: data["protection"]["ranges"][0].update(connection="ears"), "connection 'ears' is not there"),
        (lambda data, _: data["protection"]["ranges"].append(data["protection"]["ranges"][0]), "is protected twice"),
        (lambda data, _: data["protection"]["floors"][0].update(population="eyes"), "population 'eyes' has no floor"),
        (lambda data, _: data["protection"]["copies"][0].update(links=["gone"]), "copy 'gone' is not there"),
    ],
)
def test_a_file_of_nonsense_is_refused(tmp_path, change, text):
    path = tmp_path / "chip.npz"
    nf.save(protected()[0], path)
    spoilt(path, change)
    with pytest.raises(UsageError) as raised:
        nf.load(path)
    assert text in str(raised.value)
    assert "not a saved deployment, or a damaged one" in str(raised.value)
