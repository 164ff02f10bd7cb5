"""`nf.save` and `nf.load`: a deployment comes back as it was, whatever had happened to it; anything else is refused in one line."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import zipfile
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

import neurofault as nf
from neurofault import faults
from neurofault.damage.damage import Damage
from neurofault.deploy.memory import write
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.graph import Conv, CubaLif, Dense, Encoding, Population, Source, chain
from neurofault.graph.synapses import Stored

RNG = np.random.default_rng(3)
STORED = Stored(0, 8, "mixed")


def even(*shape):
    return (RNG.integers(-128, 128, shape) * 2).astype(np.int32)


def network(kind):
    if kind == "conv":
        conv = Conv(even(2, 1, 3, 3), (1, 4, 4), padding=(1, 1))
        shape, synapses = (1, 4, 4), [conv, Dense(even(3, 32))]
        driven = [
            Population("conv1", conv.out_shape, CubaLif(60, bias_exponent=0)),
            Population("output", (3,), CubaLif(None, bias_exponent=0)),
        ]
    else:
        delay = RNG.integers(0, 4, (12, 8)) if kind == "delays" else None
        shape, synapses = (8,), [Dense(even(12, 8), delay), Dense(even(9, 12)), Dense(even(3, 9))]
        driven = [
            Population("hidden1", (12,), CubaLif(60, 5, 3000, 100, bias_exponent=0)),
            Population("hidden2", (9,), CubaLif(60, bias_exponent=0)),
            Population("output", (3,), CubaLif(None, bias_exponent=0)),
        ]
    encoding = None if kind == "events" else Encoding.for_pixels(0.8, 0.5, 12)
    source = Population("input", shape, Source(encoding, threshold=60, start=0))
    return chain(kind, [source, *driven], synapses, timesteps=12, stored=[STORED] * len(synapses))


CHIPS = {
    kind: nf.deploy(network(kind), "loihi2", neurons_per_core=3, spare_cores=3, strategy="random", seed=4)
    for kind in ("dense", "delays", "conv", "events")
}


def everything():
    extra = {
        "neuron_threshold": {"factor": 0.5}, "neuron_leak": {"bit": 3}, "neuron_bias": {"offset": 7}, "core_hung": {"on_core_death": "silent"},
        "link_dead": {"reroute": True}, "axon_misrouted": {"layer": "hidden2"}, "synapse_delay": {"layer": "hidden1"},
    }  # fmt: skip
    for kind, model in faults.KINDS.items():
        if model.needs in ("chips", "boards", "shared_memory", "crossbar"):  # which this chip lacks
            continue
        spec = {"kind": kind, "count": 2, **extra.get(kind, {})}
        yield spec | {
            "when": {"kind": "once", "at": 3} if model.whens == ("once",) else {"kind": "death", "at": 9, "clock": "chip"}
        }
    yield {"kind": "core_dead", "layer": "spare", "count": 1}
    yield {"kind": "memory_word_dead", "layer": "spare", "count": 2}
    yield {"kind": "synapse_bit_stuck", "rate": 0.1}
    yield {"kind": "link_lossy", "count": 1, "when": {"kind": "intermittent", "on": 2, "off": 3}}


def same(one, other, path="deployment"):
    assert type(one) is type(other), path
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, path
        np.testing.assert_array_equal(one, other, path)
    elif isinstance(one, nf.HardwareProfile):
        assert one == other
    elif is_dataclass(one):
        for field in fields(one):
            same(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            same(one[key], other[key], f"{path}[{key!r}]")
    elif isinstance(one, tuple):
        assert len(one) == len(other), path
        for number, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{path}[{number}]")
    else:
        assert one == other, path


@pytest.mark.parametrize("kind", CHIPS)
def test_a_healthy_deployment_comes_back_and_runs_the_same(kind, tmp_path):
    chip = CHIPS[kind]
    nf.save(chip, tmp_path / "chip.npz")
    read = nf.load(tmp_path / "chip.npz")
    same(chip, read)
    events = nf.Inputs(events=RNG.random((3, 12, chip.population("input").size)) < 0.3)
    runs = [ExactEngine().run(each, events, record=("u", "v", "spikes")) for each in (chip, read)]
    np.testing.assert_array_equal(runs[0].scores, runs[1].scores)
    nf.save(read, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "chip.npz").read_bytes()


def test_every_kind_of_damage_comes_back_can_be_undone_and_runs_the_same(tmp_path):
    hurt = faults.inject(CHIPS["dense"], list(everything()), seed=2)
    nf.save(hurt, tmp_path / "hurt.npz")
    read = nf.load(tmp_path / "hurt.npz")
    same(hurt, read)
    images = RNG.integers(0, 256, (3, 8)).astype(np.uint8)
    runs = [ExactEngine().run(chip, chip.encode(images), record=("v",)) for chip in (hurt, read)]
    for name in runs[0].traces:
        np.testing.assert_array_equal(runs[0].traces[name].v, runs[1].traces[name].v)
    same(hurt.damage.without(-1), read.damage.without(-1))


@pytest.mark.parametrize("strategy", ["batch", "iterative", "remap+learn"])
def test_a_rescued_deployment_comes_back_and_runs_and_learns_on_the_same(strategy, tmp_path):
    chip = CHIPS["dense"]
    images, labels = RNG.integers(0, 256, (60, 8)).astype(np.uint8), RNG.integers(0, 3, 60)
    core = int(chip.placement.core_of["hidden1"][0])
    hurt = nf.inject(chip, [faults.CoreDead(cores=[core]), faults.SynapseBitStuck(rate=0.05), faults.SynapseBitFlip(rate=0.02)])
    healed = nf.rescue(
        hurt, chip.encode(images), labels, strategy=strategy, learner="delta", budget=nf.Budget(cycles=1), seed=5, guard=None
    )
    learned = healed.deployment
    assert any((a.synapses.weight != b.synapses.weight).any() for a, b in zip(chip.connections, learned.connections, strict=True))
    nf.save(learned, tmp_path / "learned.npz")
    read = nf.load(tmp_path / "learned.npz")
    same(learned, read)
    runs = [ExactEngine().run(each, each.encode(images)).scores for each in (learned, read)]
    np.testing.assert_array_equal(*runs)
    wanted = even(3, 9)
    same(*(write(each, "output", wanted).connection("output") for each in (learned, read)))
    again = [
        nf.rescue(
            each, each.encode(images), labels, strategy="batch", learner="delta", budget=nf.Budget(cycles=1), seed=6, guard=None
        ).deployment
        for each in (learned, read)
    ]
    same(*again)


def rewritten(path, change):
    """The file with its JSON text changed by a function."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    raw = members["deployment.npy"]
    data = json.loads(np.load(io.BytesIO(raw)).tobytes())
    changed = change(data, members)
    text = np.frombuffer(json.dumps(data if changed is None else changed).encode(), np.uint8)
    stream = io.BytesIO()
    np.save(stream, text)
    members["deployment.npy"] = stream.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def put(*keys):
    *way, last, value = keys

    def change(data, members):
        for key in way:
            data = data[key]
        data[last] = value

    return change


HOSTILE = {
    "another format": (put("format", 9), "format 9 of a saved deployment is not known; this version reads 1 to 8"),
    "a stream that is none": (put("format", 3), "reset is missing"),
    "a list": (lambda data, members: [data], "no format is named"),
    "no populations": (put("populations", []), "there is no population"),
    "two of one name": (put("populations", 1, "name", "input"), "two populations are called 'input'"),
    "connections of one name": (put("connections", 1, "name", "hidden1"), "two connections are called 'hidden1'"),
    "a connection to an input": (put("connections", 1, "target", "input"), "connection 'hidden2' ('hidden1' → 'input'): 'input' is driven from outside; nothing else may drive it"),
    "a connection in no time": (put("connections", 1, "delay", 0), "connection 'hidden2' ('hidden1' → 'hidden2'): delay must be at least 1 step, is 0"),
    "a connection in half a step": (put("connections", 1, "delay", 0.5), "Input should be a valid integer"),
    "a connection from nowhere": (
        put("connections", 1, "source", "hiden1"),
        "connection 'hidden2' ('hiden1' → 'hidden2'): no population 'hiden1' (did you mean 'hidden1'?); populations: input, hidden1, hidden2, output",
    ),
    "sizes that do not join": (
        put("connections", 1, "source", "input"),
        "connection 'hidden2' ('input' → 'hidden2'): synapses join 12 → 9 neurons, but 'input' has 8 and 'hidden2' has 9",
    ),
    "a readout that is not there": (put("readout", "population", "ouput"), "readout: no population 'ouput' (did you mean 'output'?); populations: input, hidden1, hidden2, output"),
    "a readout that nothing reaches": (lambda *file: cut_off(*file), "no input and no bias reaches the readout 'output'"),
    "synapses of no kind": (put("connections", 1, "synapses", "kind", "Full"), "kind is 'Full', not Dense or Conv or Sparse"),
    "nobody placed": (put("placement", "core_of", {}), "0 populations are placed, there are 4"),
    "a word for a number": (put("timesteps", "12"), "Input should be a valid integer"),
    "no steps": (put("timesteps", 0), "timesteps is 0"),
    "a huge population": (put("populations", 1, "shape", [1 << 40]), "population 'hidden1' has the shape [1099511627776]"),
    "another size": (put("populations", 1, "shape", [13]), "population 'hidden1': du is int32 [12], not int32 [13]"),
    "an array that is not there": (put("populations", 1, "vth", 9999), "array 9999 is missing"),
    "a decay beyond": (lambda data, members: members.update({"0.npy": npy(np.full(8, 5000, np.int32))}), "population 'input': du must lie in [0, 4095]"),
    "floats": (lambda data, members: members.update({"0.npy": npy(np.full(8, 0.5))}), "population 'input': du is float64 [8], not int32 [8]"),
    "objects": (lambda data, members: members.update({"0.npy": pickled()}), "array 0 holds |O"),
    "a size beyond the file": (lambda data, members: members.update({"0.npy": claimed(1 << 60)}), "does not take 32 bytes"),
    "a core beyond": (put("placement", "spare_cores", [120000]), "cores are 0 to 127"),
    "a chip of other cores": (put("placement", "cores_per_chip", 5), "1 chip of 5 cores; the profile has 128"),
    "a readout of its own": (put("readout", "how", "loud"), "how is 'loud', not potential or count"),
    "a profile of nothing": (put("profile", {}), "Field required"),
    "not a number": (put("populations", 0, "encoding", "full_rate", float("nan")), "not JSON compliant"),
    "an unknown edit": (put("damage", "edits", 0, "edit", "Explode"), "edit is 'Explode', not Silence or"),
    "an edit of no population": (put("damage", "edits", 0, "population", "hidden7"), "population 'hidden7' is not there"),
    "steps that end first": (
        put("damage", "edits", 0, "when", {"start": 5, "stop": 2, "period": None, "on": 1, "clock": "chip"}),
        "steps contradict each other",
    ),
    "edits of nobody": (put("damage", "hits", 0, "n_edits", 10**6), "faults claim more edits than"),
    "a place of no mesh": (put("damage", "hits", 0, "broken", [{"broken": "BrokenMesh", "links": ["../../x"]}]), "is missing"),
}  # fmt: skip


def cut_off(data, members):
    """Take what drives the readout away, and its bias."""
    data["connections"] = [one for one in data["connections"] if one["target"] != "output"]
    size = math.prod(data["populations"][-1]["shape"])
    members[f"{data['populations'][-1]['bias_mantissa']}.npy"] = npy(np.zeros(size, np.int32))


def pickled():
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    return stream.getvalue()


def claimed(size):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": (size,), "fortran_order": False, "descr": "<i4"})
    return stream.getvalue() + bytes(32)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_chip_holds_is_refused_in_one_line(name, tmp_path):
    change, message = HOSTILE[name]
    path = tmp_path / "chip.npz"
    nf.save(faults.inject(CHIPS["dense"], faults.CoreDead(count=1)), path)
    rewritten(path, change)
    with pytest.raises(UsageError) as error:
        nf.load(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_packed_members_missing_files_and_other_files_are_refused(tmp_path):
    path = tmp_path / "chip.npz"
    with pytest.raises(UsageError, match="no such file"):
        nf.load(path)
    for content in (b"", b"PK\x03\x04rest", b"{}"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"not a saved deployment, or a damaged one \("):
            nf.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deployment.npy", npy(np.zeros(1 << 22, np.uint8)))
    with pytest.raises(UsageError, match="array deployment is packed"):
        nf.load(path)
    with pytest.raises(UsageError, match="cannot be written"):
        nf.save(CHIPS["dense"], tmp_path / "nowhere" / "chip.npz")
    faults.save_plan(faults.plan(CHIPS["dense"], faults.CoreDead(count=1)), path)
    with pytest.raises(UsageError, match="array deployment is missing"):
        nf.load(path)


def test_mutated_files_are_read_or_refused_and_nothing_else(tmp_path):
    path = tmp_path / "chip.npz"
    nf.save(
        faults.inject(CHIPS["conv"], [faults.CoreDead(count=1), faults.LinkDead(count=1), faults.SynapseBitStuck(count=3)]), path
    )
    whole, rng = path.read_bytes(), np.random.default_rng(7)
    odd = [None, -1, 0, 1 << 63, 1 << 70, 1.5, "", "x", [], {}, [[]], True, 1e308, [1 << 40], "é" * 50]
    for _ in range(250):
        path.write_bytes(whole)
        if rng.random() < 0.3:
            bad = bytearray(whole)
            for place in rng.integers(0, len(bad), int(rng.integers(1, 9))):
                bad[place] = int(rng.integers(256))
            path.write_bytes(bytes(bad[: int(rng.integers(len(bad)))] if rng.random() < 0.3 else bad))
        else:
            rewritten(path, lambda found, _: mutate(found, rng, odd))
        assert "\n" not in outcome(path)


def outcome(path):
    try:
        return nf.load(path).name
    except UsageError as error:
        return str(error)


def mutate(data, rng, odd):
    node = data
    while True:
        keys = [
            key for key in (list(node) if isinstance(node, dict) else range(len(node))) if not (node is data and key == "profile")
        ]
        if not keys:
            return
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
            node = node[key]
            continue
        node[key] = odd[int(rng.integers(len(odd)))]
        return


def test_saving_needs_nothing_that_is_not_installed_and_loads_no_engine(tmp_path):
    nf.save(CHIPS["dense"], tmp_path / "chip.npz")
    code = (
        "import sys, neurofault as nf; chip = nf.load(sys.argv[1]); "
        "assert chip.population('hidden1').size == 12; assert not {'torch', 'numba', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "chip.npz")], check=True)


def test_a_network_that_carries_what_only_memory_keeps_comes_back(tmp_path):
    chip = CHIPS["dense"]
    written = write(chip.with_damage(Damage()), "hidden2", even(9, 12))
    nf.save(replace(written, name="written"), tmp_path / "chip.npz")
    same(replace(written, name="written"), nf.load(tmp_path / "chip.npz"))


def test_a_deployment_that_is_never_reset_stays_one(tmp_path):
    chip = replace(CHIPS["dense"], reset="never")
    nf.save(chip, tmp_path / "stream.npz")
    again = nf.load(tmp_path / "stream.npz")
    assert again.reset == "never"
    nf.save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "stream.npz").read_bytes()
    nf.save(CHIPS["dense"], tmp_path / "samples.npz")
    assert nf.load(tmp_path / "samples.npz").reset == "sample"
    rewritten(tmp_path / "stream.npz", put("reset", "sometimes"))
    with pytest.raises(UsageError, match="reset is 'sometimes'"):
        nf.load(tmp_path / "stream.npz")
