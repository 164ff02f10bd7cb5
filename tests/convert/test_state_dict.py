"""State dicts are data: what torch writes comes back as torch would read it, and nothing else is believed or run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from neurofault.convert.pickled import MAX_BYTES
from neurofault.convert.state_dict import read_state
from neurofault.errors import DataError

OPTIONS = {
    "zip": {}, "legacy": {"_use_new_zipfile_serialization": False}, "protocol 4": {"pickle_protocol": 4},
    "legacy, protocol 5": {"_use_new_zipfile_serialization": False, "pickle_protocol": 5},
}  # fmt: skip


def model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5)).to(dtype)


def saved(value, path, **options):
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_what_torch_writes_comes_back(tmp_path, options, dtype):
    state = model(dtype).state_dict()
    state |= {
        "mask": torch.tensor([True, False]),
        "ids": torch.arange(6, dtype=torch.int32).reshape(2, 3).t(),
        "none": torch.zeros(0),
        "part": torch.arange(9.0)[2:7:2],
    }
    read = read_state(saved(state, tmp_path / "w.pt", **OPTIONS[options]))
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].stride() == tensor.stride() or not tensor.numel()
        assert torch.equal(read[name], tensor)
    other = model(dtype)
    other.load_state_dict({name: read[name] for name in other.state_dict()})


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "weights"])
def test_the_state_dict_of_a_checkpoint_is_taken(tmp_path, options, key):
    trained = model()
    optimiser = torch.optim.Adam(trained.parameters())
    trained(torch.ones(2, 2, 4, 4)).sum().backward()
    optimiser.step()
    held = {"epoch": 3, "optimizer": optimiser.state_dict(), key: trained.state_dict(), "best": None, "losses": [0.5, 0.25]}
    read = read_state(saved(held, tmp_path / "w.pt", **OPTIONS[options]))
    assert list(read) == list(trained.state_dict())
    assert all(torch.equal(read[name], tensor) for name, tensor in trained.state_dict().items())


def test_tied_weights_and_parameters(tmp_path):
    weight = nn.Parameter(torch.ones(3, 3))
    read = read_state(saved({"a": weight, "b": weight, "c": weight.data.t()}, tmp_path / "w.pt"))
    assert all(torch.equal(tensor, torch.ones(3, 3)) for tensor in read.values())


class Canary:
    """Loaded by Python's own unpickler it makes a file."""

    def __reduce__(self):
        return os.system, ("touch canary",)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "value",
    [Canary(), {"a": Canary()}, {"a": [torch.eye(2), Canary()]}, nn.Linear(2, 2)],
    ids=["alone", "in a dict", "in a list", "a module"],
)
def test_nothing_is_run(tmp_path, monkeypatch, options, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match=r"^w\.pt: (refused: it holds more than tensors and could execute code when loaded|holds no state dict)"
    ):
        read_state(saved(value, Path("w.pt"), **OPTIONS[options]))
    assert not Path("canary").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_is_no_state_dict(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    for value in (Canary(), {"a": 1}):
        Path("w.pt").write_bytes(pickle.dumps(value, protocol))
        with pytest.raises(DataError, match=r"^w\.pt: "):
            read_state(Path("w.pt"))
    assert not Path("canary").exists()


SAVE = "save it with torch.save(model.state_dict(), path)"
ODD = {
    "a checkpoint of another key": ({"brain": model().state_dict(), "epoch": 3}, f"holds a state dict under 'brain', which is none of state_dict, model_state_dict, model, net, weights; {SAVE}"),
    "two in a checkpoint": ({"model": model().state_dict(), "net": model().state_dict()}, f"holds several state dicts, under 'model' and 'net'; save the one that is meant alone: {SAVE}"),
    "no tensors": ({"epoch": 3, "loss": 0.5}, f"holds no state dict (names → tensors), but 'epoch', 'loss'; {SAVE}"),
    "a list": ([torch.eye(2)], f"holds no state dict (names → tensors); {SAVE}"),
    "a tensor": (torch.eye(2), f"holds no state dict (names → tensors); {SAVE}"),
    "numbers as keys": ({1: torch.eye(2)}, f"holds no state dict (names → tensors), but 1; {SAVE}"),
    "other keys": ({(1, 2): torch.eye(2)}, "refused: it holds more than tensors"),
    "sparse": ({"a": torch.eye(2).to_sparse()}, "tensor 'a': is no plain dense tensor (_rebuild_sparse_tensor): sparse, quantised and meta tensors are not taken"),
    "meta": ({"a": torch.eye(2, device="meta")}, "tensor 'a': is no plain dense tensor (_rebuild_meta_tensor_no_storage)"),
    "complex": ({"a": torch.eye(2, dtype=torch.complex64)}, "tensor 'a': its numbers are a ComplexFloatStorage; taken: FloatStorage, DoubleStorage"),
    "expanded": ({"a": torch.ones(1).expand(10**12)}, "tensor 'a': shape [1000000000000] with strides [0] reaches beyond its 1 numbers"),
    "not a number": ({"b": torch.ones(2), "a": torch.tensor([1, float("nan")])}, "tensor 'a': holds a number that is not finite"),
    "infinite": ({"a": torch.tensor(float("-inf"))}, "tensor 'a': holds a number that is not finite"),
    "shared by too many": ({str(index): tensor for index, tensor in enumerate([torch.ones(50)] * 5)}, "tensor '4': too many tensors share one storage"),
    "a long name": ({"a" * 2000: torch.eye(2)}, "a name of 2,000 characters; at most 1,000"),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_plain_state_dict_is_said(tmp_path, case):
    value, message = ODD[case]
    with pytest.raises(DataError) as caught:
        read_state(saved(value, tmp_path / "w.pt"))
    assert str(caught.value).startswith(f"{tmp_path / 'w.pt'}: {message}")
    assert "\n" not in str(caught.value)


def rewritten(path, change, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def weights(tmp_path):
    return saved({"a": torch.ones(4)}, tmp_path / "w.pt")


CHANGES = {
    "a storage cut short": (lambda entries: entries.update({"w/data/0": bytes(12)}), r"not a readable torch file \(data/0 has 12 bytes, not 16\)"),
    "a storage too long": (lambda entries: entries.update({"w/data/0": bytes(1 << 20)}), "data/0 has 1,048,576 bytes, not 16"),
    "no storage": (lambda entries: entries.pop("w/data/0"), r"\(data/0 is missing\)"),
    "no pickle": (lambda entries: entries.pop("w/data.pkl"), "no data.pkl in the archive"),
    "two pickles": (lambda entries: entries.update({"v/data.pkl": b"."}), "no data.pkl in the archive"),
    "big-endian": (lambda entries: entries.update({"w/byteorder": b"big"}), "numbers are not little-endian"),
    "a program": (lambda entries: entries.update({"w/constants.pkl": b"."}), "is a TorchScript program"),
    "a long pickle": (lambda entries: entries.update({"w/data.pkl": bytes(MAX_BYTES + 1)}), "take more than 4,194,304 bytes"),
    "an empty pickle": (lambda entries: entries.update({"w/data.pkl": b""}), "its pickle is damaged"),
    "a huge memo": (lambda entries: entries.update({"w/data.pkl": b"\x80\x02}r\xff\xff\xff\x7f."}), "holds no state dict|nothing"),
    "a huge text": (lambda entries: entries.update({"w/data.pkl": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x00."}), "its pickle is damaged"),
    "a huge array": (lambda entries: entries.update({"w/data.pkl": b"\x80\x05\x96" + b"\xff" * 6 + b"\x00\x00."}), "its pickle is damaged|refused"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_an_archive_that_is_not_what_its_pickle_says(weights, case):
    change, message = CHANGES[case]
    if case == "a huge memo":  # nothing is allocated for it: an empty state dict
        assert read_state(rewritten(weights, change)) == {}
        return
    with pytest.raises(DataError, match=message):
        read_state(rewritten(weights, change))


def test_a_packed_archive_is_refused(weights):
    with pytest.raises(DataError, match=r"its archive is packed; torch.save writes it plain$"):
        read_state(
            rewritten(weights, lambda entries: entries.update({"w/data/0": bytes(50_000_000)}), compression=zipfile.ZIP_DEFLATED)
        )


@pytest.mark.parametrize("options", ["zip", "legacy"])
def test_a_file_cut_anywhere_is_one_line(tmp_path, options):
    whole = saved(model().state_dict(), tmp_path / "w.pt", **OPTIONS[options]).read_bytes()
    for size in range(0, len(whole), 97):
        (tmp_path / "w.pt").write_bytes(whole[:size])
        with pytest.raises(DataError, match="not a readable torch file"):
            read_state(tmp_path / "w.pt")


def test_a_bit_flipped_in_the_numbers_is_seen(weights):
    content = bytearray(weights.read_bytes())
    at = content.index(torch.ones(4).numpy().tobytes())
    content[at] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable torch file \(BadZipFile\)$"):
        read_state(weights)


def test_numbers_that_are_no_truth_values(tmp_path):
    path = saved({"a": torch.tensor([True, False])}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"tensor 'a': holds truth values other than 0 and 1$"):
        read_state(rewritten(path, lambda entries: entries.update({"w/data/0": b"\x07\x00"})))
