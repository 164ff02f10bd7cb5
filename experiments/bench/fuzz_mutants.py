"""Valid files and words of every kind that neurofault reads, and ways to spoil them: by structure, by token, by byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import lzma
import pickle
import random
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import torch

from neurofault import faults
from neurofault.data.image_files import CIFAR_FOLDER, IDX_STEMS
from neurofault.deploy.deployment import Deployment
from neurofault.study.campaign.journal import line_of

HERE = Path(__file__).resolve().parents[2]
CANARY = "canary"
"""File, beside the mutants, that code hidden in one of them would make."""
Chance = random.Random

VALUES = (
    b"1e999", b"-1", b"0", b"1" * 60, b"9" * 30, b"18446744073709551616", b"-9223372036854775809", b"9223372036854775807", b"4294967296", b"2147483648",
    b".nan", b"-.inf", b".inf", b"1e-320", b"1e308", b"true", b"null", b"'text'", b"[]", b"{}", b"[1, [2, {a: 3}]]", b"{kind: core_dead}",
    b"{sweep: []}", b"{sweep: [1, 2, 3]}", b"{sweep: {a: 1}}", b"{sweep: [{sweep: [1]}]}", b"*nowhere", b"&a [*a]",
    b"!!python/object/apply:os.system ['touch canary']", b"!!python/object/new:os.system [touch canary]", b"!!binary aaaa", b"1e-3",
    b"0x7fffffffffffffff", b"0xffffffffffffffffff", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf", "²".encode(), "٣".encode(), "1²".encode(), "−1".encode(), b"core_dead",
    b"delta", b"2026-01-01", b"on", b"1_000", b"- 3", b"? x", b"'\\ud800'", b"\"\\ud800\"", b"\"\\UFFFFFFFF\"", b"~", b"3.5", b"1000000000",
    b"[" * 60, b"{a: " * 60, b"'0-99999999999'", b"\"0-4000000000\"", b"'core:0-99999999999999999999'", b"'core:\xd9\xa3'", b"/dev/stdin", b"/dev/zero",
    b"''", b"'" + b"x" * 5000 + b"'", b"{all_of: [{all_of: ['core:0']}]}", b"[[0, 0], [0, 0]]", b"[[1, 2, 3]]", b"['1,0:E']", b"[9999999999999999999]",
)  # fmt: skip
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 255, 2**31, 2**53, 2**63, 2**64, 10**30, -(2**63) - 1, 0.5, 1e308, -0.0, "", "text", "²", "x" * 5000, [], {}, [[]], [1, "a"],
    {"array": "array_0"}, {"when": {}}, {"when": {"start": 3, "stop": 1}}, float("nan"), float("inf"), ["a", "b"], [1, 1], {"kind": "core_dead"},
)  # fmt: skip


def spoiled_bytes(data: bytes, chance: Chance) -> bytes:
    """Return bytes with one to sixteen of them flipped, cut, doubled, or set to what breaks sizes."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        at = chance.randrange(len(out))
        match chance.randrange(7):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                out[at] = chance.randrange(256)
            case 2:
                size = chance.choice((1, 2, 4, 8))
                out[at : at + size] = chance.choice((b"\xff", b"\x00", b"\x7f", b"\x80")) * size
            case 3:
                del out[at : at + chance.choice((1, 3, 16, 200))]
            case 4:
                out[at:at] = out[at : at + chance.choice((1, 4, 64))]
            case 5:
                del out[at:]
            case _:
                other = chance.randrange(len(out))
                out[at : at + 8] = out[other : other + 8]
    return bytes(out)


def spoiled_text(data: bytes, chance: Chance) -> bytes:
    """Return a YAML document with one to four mistakes, most of the time."""
    if chance.random() < 0.03:
        return chance.choice(
            (
                data.decode("utf-8", "replace").encode("utf-16"),
                b"\xef\xbb\xbf" + data,
                data + b"\x00",
                b"",
                spoiled_bytes(data, chance),
            )
        )
    lines = data.split(b"\n")
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(lines))
        line = lines[at]
        match chance.randrange(12):
            case 0:
                lines.pop(at)
                lines = lines or [b""]
            case 1:
                lines.insert(at, chance.choice(lines))
            case 2 if line:
                place = chance.randrange(len(line))
                lines[at] = line[:place] + bytes([chance.randrange(256)]) + line[place + 1 :]
            case 3 if line:
                place = chance.randrange(len(line))
                lines[at] = line[:place] + line[place + 1 :]
            case 4 | 5 | 6 if b":" in line:
                key, _, rest = line.partition(b":")
                parts = rest.split(b",")
                if len(parts) > 1 and chance.random() < 0.6:
                    index = chance.randrange(len(parts))
                    inner, colon, _ = parts[index].partition(b":")
                    tail = b"}" if parts[index].rstrip().endswith(b"}") else b""
                    parts[index] = inner + colon + b" " + chance.choice(VALUES) + tail if colon else b" " + chance.choice(VALUES)
                    lines[at] = key + b":" + b",".join(parts)
                else:
                    lines[at] = key + b": " + chance.choice(VALUES)
            case 7 if b":" in line:
                key, _, rest = line.partition(b":")
                lines[at] = key[: len(key) // 2] + key[len(key) // 2 + 1 :] + b":" + rest
            case 8:
                lines[at] = b"  " * chance.randrange(5) + line.lstrip()
            case 9:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 10:
                deep = b"[" * chance.choice((10, 40, 5000)) + b"]" * chance.choice((10, 40, 5000))
                bomb = b"a: &a [x, x]\n" + b"\n".join(
                    b"%c: &%c [*%c, *%c, *%c, *%c]" % (98 + i, 98 + i, *[97 + i] * 4) for i in range(chance.choice((3, 12)))
                )
                lines.insert(at, chance.choice((b"deep: " + deep, bomb)))
            case _:
                lines[at] = line + b" # " + bytes(chance.randrange(256) for _ in range(3))
    return b"\n".join(lines)


def fault_word(chance: Chance, *, listed: bool = False) -> bytes:
    """Return ``{kind: …, …}`` with fields that fit and values that may not; ``listed``: its sites are named."""
    kind = chance.choice(tuple(faults.KINDS))
    model = faults.KINDS[kind]
    names = [name for name in model.model_fields if name not in ("count", "rate", model.list_field)]
    good = {
        "count": b"2", "rate": b"0.5", "where": b"clustered", "layer": b"hidden", "at": b"'core:0-3'", "when": b"{kind: transient, start: 1, stop: 3}", "bit": b"2",
        "factor": b"1.5", "offset": b"3", "value": b"7", "sigma": b"0.2", "bits": b"'0,3'", "probability": b"0.3", "level": b"1", "reroute": b"true",
        "cores": b"[1, '2-3']", "neurons": b"[0, 1]", "synapses": b"[[0, 1]]", "synapse_bits": b"[[0, 1, 2]]", "words": b"[[0, 0]]", "axons": b"[[0, 1]]",
        "links": b"['0,0:E']", "routers": b"['0,0']", "headers": b"[[0, 0]]", "pixels": b"[0, 3]",
    }  # fmt: skip
    said = {"kind": kind.encode(), model.list_field if listed else chance.choice(("count", "rate", model.list_field)): b""}
    for name in chance.sample(names, chance.randrange(3)):
        said[name] = b""
    said = {name: value or good.get(name, b"1") for name, value in said.items()}
    if chance.random() < 0.1:
        said["rate"] = b"{environment: low_earth_orbit, days: %s}" % chance.choice((b"3", *VALUES))
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        said[chance.choice((*list(said)[chance.random() < 0.9 :], "when", "at"))] = chance.choice(VALUES)
    if chance.random() < 0.2:
        part = chance.choice((b"start", b"stop", b"on", b"off", b"period", b"at", b"shape", b"clock", b"kind"))
        said["when"] = b"{kind: %s, %s: %s}" % (
            chance.choice((b"transient", b"intermittent", b"once", b"ageing", b"death")),
            part,
            chance.choice(VALUES),
        )
    word = b"{" + b", ".join(name.encode() + b": " + value for name, value in said.items()) + b"}"
    return spoiled_bytes(word, chance) if chance.random() < 0.2 else word


def defect_map(chance: Chance) -> bytes:
    """Return a defect map of one to three faults."""
    text = b"defects:\n" + b"".join(
        b"  - " + fault_word(chance, listed=chance.random() < 0.9).replace(b"\n", b" ") + b"\n"
        for _ in range(chance.randrange(1, 4))
    )
    return spoiled_text(text, chance) if chance.random() < 0.3 else text


def _within(data: Any, chance: Chance) -> Any:
    """Replace, drop or double one value somewhere in JSON data, in place; return the data."""
    holder, key = {"": data}, ""
    while chance.random() < 0.85:
        inner = holder[key]
        if not inner or not isinstance(inner, dict | list):
            break
        holder, key = inner, chance.choice([*inner]) if isinstance(inner, dict) else chance.randrange(len(inner))
    match chance.randrange(4):
        case 0 if isinstance(holder, dict) and key:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = chance.choice(JSON_VALUES)
    return data


def other_array(chance: Chance, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array that is not quite the one that belongs there."""
    like = np.atleast_1d(like)
    match chance.randrange(8):
        case 0:
            return like.astype(chance.choice((np.float64, np.int8, np.uint64, np.complex64, np.bool_)))
        case 1:
            return like.reshape(*like.shape, 1)
        case 2:
            return like[:0]
        case 3:
            return np.concatenate([like, like])
        case 4:
            spoiled = like.copy()
            if spoiled.size:
                whole = np.iinfo(like.dtype) if like.dtype.kind in "iu" else None
                value = chance.choice((0, 1, -1, 2**31 - 1) if whole else (np.nan, np.inf, -1, 0, 1e30))
                spoiled.reshape(-1)[chance.randrange(spoiled.size)] = max(whole.min, min(value, whole.max)) if whole else value
            return spoiled
        case 5:
            return np.array(chance.choice((0, -1, 10**18, 1.5)))
        case 6:
            return np.asfortranarray(like.astype(like.dtype.newbyteorder(">")))
        case _:
            return like[::-1].copy()


def header(shape: str, descr: str = "<i8") -> bytes:
    """Return the header of a ``.npy`` file that may promise anything."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


class _Canary:
    """A pickle of it makes the canary when it is loaded as Python would."""

    def __reduce__(self) -> Any:
        import os

        return os.system, (f"touch {CANARY}",)


def plan_seed(chip: Deployment, path: Path) -> bytes:
    """Return the bytes of a plan of many kinds."""
    words = [
        {"kind": kind, "count": 1}
        for kind in ("core_dead", "neuron_dead", "synapse_dead", "synapse_bit_flip", "axon_lost", "link_dead", "neuron_stuck")
    ]
    words += [
        {"kind": "neuron_threshold", "count": 2, "factor": 1.5},
        {"kind": "state_upset", "count": 1, "when": {"kind": "once", "at": 2}},
    ]
    words += [
        {"kind": "synapse_delay", "count": 1, "bit": 1},
        {"kind": "core_hung", "count": 1},
        {"kind": "trace_stuck", "count": 1},
    ]
    faults.save_plan(faults.plan(chip, words, seed=1), path)
    return path.read_bytes()


def spoiled_plan(seed: bytes, chance: Chance) -> bytes:
    """Return a plan file with other JSON, other arrays, other headers, or other bytes."""
    if chance.random() < 0.25:
        return spoiled_bytes(seed, chance)
    with np.load(io.BytesIO(seed)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    out = io.BytesIO()
    if chance.random() < 0.1:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(
                "plan.npy",
                header(
                    chance.choice(("(10**18,)", "(4611686018427387904,)", "(-1,)", "(1000000000, 1000000000)", "()", "(2,)")),
                    chance.choice(("<i8", "|O", "|u1", "|V8", "<U9")),
                )
                + bytes(chance.choice((0, 8, 1 << 20))),
            )
        return out.getvalue()
    if chance.random() < 0.02:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("plan.npy", header("(100000000,)", "|u1") + bytes(100_000_000))
        return out.getvalue()
    if chance.random() < 0.05:
        np.savez(out, plan=np.array([_Canary()], object))
        return out.getvalue()
    if chance.random() < 0.6:
        data = json.loads(arrays["plan"].tobytes())
        for _ in range(chance.choice((1, 1, 2))):
            data = _within(data, chance)
        with suppress(ValueError):  # a mapping inside itself is no JSON: the plan stays sound
            arrays["plan"] = np.frombuffer(json.dumps(data).encode(), np.uint8)
    else:
        name = chance.choice([*arrays])
        arrays[name] = other_array(chance, arrays[name])
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def nir_seeds(path: Path) -> list[bytes]:
    """Return small NIR files: linear and convolutional, with and without our own metadata."""
    from neurofault.convert.nir_graph import from_nir
    from neurofault.deploy.nir_export import to_nir

    random_numbers = np.random.default_rng(1)

    def neurons(*shape: int) -> Any:
        ones = np.ones(shape, np.float32)
        return nir.LIF(tau=2 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones)

    def weights(*shape: int) -> Any:
        return random_numbers.normal(size=shape).astype(np.float32)

    def graph(shape: tuple[int, ...], **nodes: Any) -> Any:
        whole = {"input": nir.Input(np.array(shape)), **nodes, "output": nir.Output(np.array([3]))}
        names = [*whole]
        made = nir.NIRGraph(whole, list(itertools.pairwise(names)), type_check=False)
        made.metadata = {"dt": 1.0}
        return made

    dense = graph((6,), fc=nir.Affine(weights(5, 6), weights(5)), cells=neurons(5), out=nir.Linear(weights(3, 5)), last=neurons(3))
    two = np.array([2, 2])
    convolution = graph(
        (2, 8, 8),
        conv=nir.Conv2d((8, 8), weights(4, 2, 3, 3), 1, 1, 1, 1, weights(4)), cells=neurons(4, 8, 8), pool=nir.SumPool2d(two, two, np.array([0, 0])),
        flat=nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1), out=nir.Linear(weights(3, 64)), last=neurons(3),
    )  # fmt: skip
    files = []
    for made in (dense, convolution):
        nir.write(path, made)
        files.append(path.read_bytes())
        to_nir(from_nir(path), path)
        files.append(path.read_bytes())
    path.unlink()
    return files


def spoiled_nir(seed: bytes, chance: Chance) -> bytes:
    """Return an HDF5 file with another data set, link, size or type, or with other bytes."""
    if chance.random() < 0.4:
        return spoiled_bytes(seed, chance)
    buffer = io.BytesIO(seed)
    try:
        with h5py.File(buffer, "r+") as file:
            names: list[str] = []
            file.visit(names.append)
            for _ in range(chance.choice((1, 1, 2))):
                name = chance.choice(names)
                if name in file:
                    _spoil(file, name, chance)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):  # what h5py itself will not write
        return spoiled_bytes(seed, chance)
    return buffer.getvalue()


def _spoil(file: Any, name: str, chance: Chance) -> None:
    item, parent, key = file[name], file[name].parent, name.rsplit("/")[-1]
    small = isinstance(item, h5py.Dataset) and item.size is not None and item.size < 1 << 20  # another change may have made it huge
    array = np.asarray(item[()]) if small else np.zeros(2)
    if key == "neurofault" and chance.random() < 0.8:
        said = json.loads(item[()])
        del parent[key]
        parent[key] = json.dumps(_within(said, chance))
        return
    match chance.randrange(12):
        case 0:
            parent.move(key, chance.choice(("x", "type", "weight", "shape", "é", "a" * 300)) + "2")
        case 1:
            del parent[key]
        case 2:
            del parent[key]
            parent[key] = chance.choice(
                (h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/node"), h5py.SoftLink("/" + name), h5py.SoftLink(".."))
            )
        case 3:
            del parent[key]
            parent[key] = file[chance.choice(("/", "/node", "/node/nodes"))]
        case 4:
            del parent[key]
            shape = chance.choice(((10**9, 10**9), (2 * 10**9,), (10**18,), (1 << 24,), (0,), (1,) * 20))
            chunks = None if 0 in shape or len(shape) > 8 else tuple(min(size, 1000) for size in shape)
            parent.create_dataset(
                key, shape, chance.choice(("f4", "f8", "i1")), chunks=chunks, compression=None if chunks is None else "gzip"
            )
        case 5:
            del parent[key]
            parent.create_dataset(
                key, data=np.zeros(chance.choice((1 << 10, 1 << 20, 1 << 23)), np.int8), compression="gzip", compression_opts=9
            )
        case 6:
            del parent[key]
            parent[key] = chance.choice(
                (
                    "text",
                    b"\xff\xfe",
                    "²",
                    "LIF",
                    "NIRGraph",
                    "Delay",
                    "",
                    [b"a", b"b"],
                    h5py.Empty("f8"),
                    True,
                    2**63,
                    -1,
                    0,
                    7,
                    10**9,
                    1e308,
                )
            )
        case 7:
            del parent[key]
            parent.create_dataset(key, (2,), h5py.ref_dtype)
        case 8:
            del parent[key]
            parent.create_dataset(key, (2,), np.dtype([("a", "f8"), ("b", "i4")]))
        case 9:
            del parent[key]
            deep = parent.create_group(key)
            for _ in range(chance.choice((3, 30))):
                deep = deep.create_group("a")
        case 10:
            item.attrs["canary"] = np.zeros(3)
            item.attrs["type"] = "text"
        case _ if array.dtype != object:
            del parent[key]
            parent[key] = other_array(chance, array)


def state_seeds() -> list[bytes]:
    """Return state dicts of :func:`fuzz_net.net`, as new and as old versions of torch write them."""
    torch.manual_seed(1)
    state = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10)).state_dict()
    files = []
    for options in ({}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}):
        buffer = io.BytesIO()
        torch.save(state, buffer, **options)
        files.append(buffer.getvalue())
    return files


def spoiled_state(seed: bytes, chance: Chance) -> bytes:
    """Return a torch file with another pickle, other storages, other tensors, or other bytes."""
    out = io.BytesIO()
    if chance.random() < 0.1:
        odd = chance.choice((
            _Canary(), {"0.weight": _Canary()}, {1: torch.eye(2)}, {"a": {"b": torch.eye(2)}}, [torch.eye(2)], torch.eye(2), {"a": torch.eye(2).to_sparse()},
            {"a": torch.ones(1).expand(10**9)}, {"a": torch.full((3,), float("nan"))}, {"a": torch.eye(2, dtype=torch.complex64)}, {"a": 1}, {"a": np.zeros(3)},
            {"0.weight": torch.zeros(8, 64), "0.bias": torch.zeros(8), "2.weight": torch.zeros(10, 8), "2.bias": torch.full((10,), float("inf"))},
        ))  # fmt: skip
        torch.save(odd, out, _use_new_zipfile_serialization=chance.random() < 0.7)
        return out.getvalue()
    if chance.random() < 0.05:
        return pickle.dumps(chance.choice((_Canary(), {"a": _Canary()}, {"a": 1}, b"x" * 1000)), protocol=chance.choice((0, 2, 4)))
    if chance.random() < 0.3 or not seed.startswith(b"PK"):
        return spoiled_bytes(seed, chance)
    with zipfile.ZipFile(io.BytesIO(seed)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice([name for name in entries if name.endswith("data.pkl")] * 4 + [*entries])
    match chance.randrange(8):
        case 0:
            del entries[name]
        case 1:
            entries[name + "x"] = entries.pop(name)
        case 2:
            entries[name] = entries[name] + bytes(chance.choice((1, 4, 1 << 20)))
        case _:
            entries[name] = spoiled_bytes(entries[name], chance)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if chance.random() < 0.1 else zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def idx_seeds() -> dict[str, bytes]:
    """Return the four files of a tiny MNIST by name."""
    numbers = np.random.default_rng(2)
    files = {}
    for stem in IDX_STEMS:
        shape = (12, 28, 28) if "images" in stem else (12,)
        head = (0x0800 | len(shape)).to_bytes(4, "big") + b"".join(size.to_bytes(4, "big") for size in shape)
        files[stem] = head + numbers.integers(0, 10, shape, np.uint8).tobytes()
    return files


def packed(data: bytes, chance: Chance) -> bytes:
    """Return data as they are, as gzip or as xz; now and then with so many zeros behind them that they unpack without end."""
    if chance.random() < 0.01:
        data = data + bytes(200_000_000)
    return chance.choice((lambda raw: raw, lambda raw: gzip.compress(raw, 1), lambda raw: lzma.compress(raw, preset=0)))(data)


def spoiled_images(seed: bytes, chance: Chance) -> bytes:
    """Return an image file spoiled before or after it is packed."""
    return packed(spoiled_bytes(seed, chance), chance) if chance.random() < 0.6 else spoiled_bytes(packed(seed, chance), chance)


def cifar_seed() -> bytes:
    """Return CIFAR's archive with two images a batch, not packed."""
    out = io.BytesIO()
    records = np.random.default_rng(3).integers(0, 10, (2, 3073), np.uint8).tobytes()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
            member = tarfile.TarInfo(f"{CIFAR_FOLDER}/{name}")
            member.size = len(records)
            archive.addfile(member, io.BytesIO(records))
    return out.getvalue()


def spoiled_archive(seed: bytes, chance: Chance) -> bytes:
    """Return CIFAR's archive with other bytes, most of the time in a member's header (its sum made right again, or not)."""
    if chance.random() < 0.4:
        return spoiled_images(seed, chance)
    out = bytearray(seed)
    start = chance.randrange(7) * (512 + 3073 + 511) // 512 * 512
    field, size = chance.choice(((0, 100), (100, 8), (124, 12), (148, 8), (156, 1), (257, 8), (345, 155)))
    value = chance.choice((b"\xff", b"\x80", b"7", b"\x00", b"S", b"x", b"g", b"L", b"1", b"9")) * size
    out[start + field : start + field + size] = value[:size]
    if chance.random() < 0.8:
        head = out[start : start + 512]
        head[148:156] = b" " * 8
        out[start + 148 : start + 156] = b"%06o\0 " % (sum(head) % 0o777777)
    return packed(bytes(out), chance)


def journal_seed() -> list[dict[str, Any]]:
    """Return rows as a campaign writes them."""
    return [
        {
            "trial": f"{number:032x}",
            "draw": number,
            "status": "ok",
            "correct": 40 + number,
            "samples": 50,
            "healthy_correct": 48,
            "message": None,
        }
        for number in range(6)
    ]


def spoiled_journal(chance: Chance) -> bytes:
    """Return a journal whose lines may be anything; most of their sums are right."""
    lines = []
    for row in journal_seed():
        if chance.random() < 0.3:
            content = (
                json.dumps(_within(row, chance)).encode()
                if chance.random() < 0.7
                else spoiled_bytes(json.dumps(row).encode(), chance)
            )
            content = chance.choice((content, content, content, b"[" * 20_000, b"9" * 5000, b"\xff" * 9)).replace(b"\n", b"")
            lines.append(hashlib.blake2b(content, digest_size=8).hexdigest().encode() + b" " + content + b"\n")
        else:
            lines.append(line_of(row))
    text = b"".join(lines)
    return spoiled_bytes(text, chance) if chance.random() < 0.4 else text


def spoiled_json(seed: bytes, chance: Chance) -> bytes:
    """Return a resolved campaign with other values or other bytes."""
    if chance.random() < 0.4:
        return spoiled_text(seed, chance)
    return json.dumps(_within(json.loads(seed), chance), indent=1).encode()


def setting(chance: Chance) -> bytes:
    """Return PLACE=VALUE for ``--set``."""
    place = chance.choice(
        (
            b"faults.0.count",
            b"repeats.draws",
            b"network.dt",
            b"faults.0",
            b"limits.seconds",
            b"data.samples",
            b"x",
            b"faults.\xc2\xb2.count",
            b"repeats",
            b"rescue.9.cycles",
            b"convert.timesteps",
        )
    )
    word = place + b"=" + chance.choice((*VALUES, fault_word(chance)))
    return spoiled_bytes(word, chance) if chance.random() < 0.2 else word
