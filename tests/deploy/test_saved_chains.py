"""Files of format 1, chains of layers that were saved before there were graphs: the same chip, the same damage, the same spikes."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from test_saved import put, rewritten, same

import neurofault as nf
from neurofault.damage.damage import InputNoise
from neurofault.deploy.saved_chain import as_graph
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError

FILES = Path(__file__).parent / "format1"
"""Damaged chips of ``test_saved`` as format 1 saved them; of the first, every kind of fault that there is."""

RUNS = {
    "dense": "57680a4f6b8f645ce0a0ede328da7124eccbf9707302f08404b00e0e0a3c5c69",
    "delays": "7e00d3b7e5e046cfad848f070c1a12a393654129ac290913253bb50736c12b1d",
    "conv": "fa2ffa5f806be394d9b37ad4da20f17ba1c9c59e4667bc71989f783730d87a90",
    "events": "ab5a4621cd51b64106e8e9b0647804add1d028732dbd37705b072c732a3816a9",
}
"""SHA-256 of the potentials of every population and step, and of the scores, as the version that wrote the file ran it."""


def unpacked(kind, folder):
    path = folder / f"{kind}.npz"
    path.write_bytes(gzip.decompress((FILES / f"{kind}.npz.gz").read_bytes()))
    return path


def digest(chip, kind):
    rng = np.random.default_rng(5)
    n = chip.population("input").size
    if kind == "events":
        inputs = nf.Inputs(events=rng.random((3, 12, n)) < 0.3)
    else:
        inputs = chip.encode(rng.integers(0, 256, (3, n)).astype(np.uint8))
    run = ExactEngine().run(chip, inputs, record=("v", "spikes"))
    parts = [run.scores.astype("<i8"), *(run.traces[one.name].v.astype("<i4") for one in chip.populations)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("kind", RUNS)
def test_a_chain_of_layers_runs_as_it_did_and_is_saved_as_a_graph(kind, tmp_path):
    chip = nf.load(unpacked(kind, tmp_path))
    assert [one.is_source for one in chip.populations] == [True] + [False] * (len(chip.populations) - 1)
    assert [(one.name, one.source, one.target, one.delay) for one in chip.connections] == [
        (after.name, before.name, after.name, 1) for before, after in zip(chip.populations[:-1], chip.populations[1:], strict=True)
    ]
    assert chip.readout == nf.Readout("output", "potential")
    assert digest(chip, kind) == RUNS[kind]
    nf.save(chip, tmp_path / "graph.npz")
    same(chip, nf.load(tmp_path / "graph.npz"))


def test_every_kind_of_edit_finds_its_population_or_connection(tmp_path):
    chip = nf.load(unpacked("dense", tmp_path))
    kinds = {type(edit).__name__ for edit in chip.damage.edits}
    assert kinds >= {"Silence", "Force", "SetField", "Upset", "SetSynapses", "SetDelays", "Drop", "InputNoise", "LearningDefect"}
    assert {edit.population for edit in chip.damage.edits if isinstance(edit, InputNoise)} == {"input"}
    assert set().union(*(hit.neurons for hit in chip.damage.hits)) <= {one.name for one in chip.populations}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("layers", []), "4 layers are placed, there are 0"),
        (put("layers", 0, "synapses", {"dense": 1, "delay": None}), "layer 0 has synapses"),
        (put("layers", 1, "synapses", None), "Input should be an object"),
        (put("layers", 1, "name", "input"), "two populations are called 'input'"),
        (put("damage", "edits", 0, "layer", 77), "layer 77: layers are 0 to 3"),
        (put("damage", "edits", 0, "layer", None), "valid integer"),
        (put("placement", "core_of", [1, 2]), "2 layers are placed, there are 4"),
        (put("readout", 7), "valid string"),
        (put("encoding", {"table": 0}), "array 0 is int32 [8], not int32 [256]"),
    ],
)
def test_what_no_chip_holds_is_refused_in_one_line(change, message, tmp_path):
    path = unpacked("dense", tmp_path)
    rewritten(path, change)
    with pytest.raises(UsageError) as error:
        nf.load(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_of_a_chain_is_looked_at_before_it_is_known_to_be_there():
    with pytest.raises(ValueError, match="layers is missing"):
        as_graph({"format": 1})
