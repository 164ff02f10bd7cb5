"""Mutants of what users bring: their own ``.npz``, netx files, and files of event recordings, each of which some reader reads."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from fuzz_mutants import Chance, header, other_array, spoiled_bytes

RECORDINGS = ("dat", "aedat", "bin", "mat")
"""Formats of single recordings, by how their names end."""
_EVENTS = [(3, 5, 1, 7), (0, 9, 0, 7), (11, 0, 1, 2_000), (8, 8, 0, 60_000), (1, 2, 1, 61_000)]


def npz_seeds() -> list[bytes]:
    """Return small data sets as users write them: images, events, sparse events; with and without a training part."""
    random = np.random.default_rng(4)
    labels = np.arange(12) % 3
    images = random.normal(size=(12, 5))
    events = random.random((12, 4, 5)) < 0.3
    sample, step, neuron = np.nonzero(events)
    sparse = {"sample": sample, "step": step, "neuron": neuron, "timesteps": np.array(4), "shape": np.array([5])}
    seeds = []
    for arrays in (
        {"images": images, "labels": labels},
        {
            "images": (images > 0).astype(np.uint8),
            "labels": labels,
            "train_images": (images > 1).astype(np.uint8)[:6],
            "train_labels": labels[:6],
        },
        {"events": events, "labels": labels},
        {**sparse, "labels": labels},
        {"events": events, "labels": np.repeat(labels[:, None], 4, axis=1)},
    ):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        seeds.append(buffer.getvalue())
    return seeds


def spoiled_npz(seed: bytes, chance: Chance) -> bytes:
    """Return an archive with another array, another name, a header that promises anything, or other bytes."""
    if chance.random() < 0.3:
        return spoiled_bytes(seed, chance)
    with np.load(io.BytesIO(seed)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = chance.choice([*arrays])
    out = io.BytesIO()
    if chance.random() < 0.15:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for other, array in arrays.items():
                buffer = io.BytesIO()
                np.save(buffer, array)
                promised = header(
                    chance.choice(("(10**18,)", "(4611686018427387904,)", "(-1,)", "(1000000000, 1000000000)", "()", "(2,)")),
                    chance.choice(("<i8", "|O", "|u1", "|V8", "<U9", "<f8")),
                ) + bytes(chance.choice((0, 8, 1 << 16)))
                archive.writestr(f"{other}.npy", promised if other == name else buffer.getvalue())
        return out.getvalue()
    match chance.randrange(4):
        case 0:
            del arrays[name]
        case 1:
            arrays[chance.choice(("lables", "train_labels", "validation_images", "events", "images2", name + "_"))] = arrays[name]
        case 2:
            wild = arrays[name].astype(np.float64)
            wild.reshape(-1)[: 1 + chance.randrange(3)] = chance.choice((np.nan, np.inf, -1, 1e30, 2**40, 0.5))
            arrays[name] = wild if chance.random() < 0.5 else wild.astype(np.float32)
        case _:
            arrays[name] = other_array(chance, arrays[name])
    np.savez(out, **arrays)
    return out.getvalue()


def netx_seeds(path: Path) -> list[bytes]:
    """Return small networks as lava-dl writes them: dense, convolutional with a pool, recurrent."""

    def neuron(group: Any, name: str) -> None:
        for field, value in {"type": "LOIHI", "iDecay": 1024, "vDecay": 128, "vThMant": 5, "refDelay": 1, "wgtExp": 0}.items():
            group[f"{name}/neuron/{field}"] = value

    random = np.random.default_rng(6)
    seeds = []
    for kind in ("dense", "conv", "recurrent"):
        with h5py.File(path, "w") as file:
            layers = file.create_group("layer")
            if kind == "conv":
                layers["0/type"], layers["0/shape"] = "input", np.array([2, 6, 6])
                layers["1/type"], layers["1/shape"] = "conv", np.array([3, 4, 4])
                layers["1/weight"] = 2.0 * random.integers(-20, 20, (3, 2, 3, 3))
                for field, value in {
                    "inFeatures": 2,
                    "outFeatures": 3,
                    "kernelSize": [3, 3],
                    "stride": [1, 1],
                    "padding": [0, 0],
                    "dilation": [1, 1],
                    "groups": 1,
                }.items():
                    layers[f"1/{field}"] = value
                neuron(layers, "1")
                layers["2/type"], layers["2/shape"] = "flatten", np.array([48])
                layers["3/type"], layers["3/shape"], layers["3/weight"] = (
                    "dense",
                    np.array([3]),
                    2.0 * random.integers(-20, 20, (3, 48)),
                )
                neuron(layers, "3")
            else:
                layers["0/type"], layers["0/shape"] = "input", np.array([4])
                layers["1/type"], layers["1/shape"], layers["1/weight"] = (
                    "dense",
                    np.array([5]),
                    2.0 * random.integers(-20, 20, (5, 4)),
                )
                layers["1/delay"] = np.array([0, 1, 2, 0, 1])
                neuron(layers, "1")
                if kind == "recurrent":
                    layers["1/type"][()] = "recurrent"
                    layers["1/weight_rec"] = 2.0 * random.integers(-9, 9, (5, 5))
                layers["2/type"], layers["2/shape"], layers["2/weight"] = (
                    "dense",
                    np.array([3]),
                    2.0 * random.integers(-20, 20, (3, 5)),
                )
                neuron(layers, "2")
            file["simulation/Ts"], file["simulation/tSample"] = 1, 8
        seeds.append(path.read_bytes())
    return seeds


def recording_seeds() -> dict[str, bytes]:
    """Return one recording of each format, by how its name ends."""
    dat = b"% Data file\n% Version 2\n% Height 12\n% Width 12\n\x00\x08" + b"".join(
        struct.pack("<II", t, x | y << 14 | p << 28) for x, y, p, t in _EVENTS
    )
    body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for x, y, p, t in _EVENTS)
    packet = struct.pack("<HHIIIIII", 1, 1, 8, 4, 0, len(_EVENTS), len(_EVENTS), len(_EVENTS)) + body
    aedat = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n" + packet
    address = b"".join(struct.pack(">BBBH", x, y, p << 7 | t >> 16, t & 0xFFFF) for x, y, p, t in _EVENTS)
    buffer = io.BytesIO()
    spikes = np.random.default_rng(7).random((100, 40)) < 0.05
    scipy.io.savemat(buffer, {"spiketrain": np.vstack([spikes, np.linspace(0, 0.2, 40)])})
    return {"dat": dat, "aedat": aedat, "bin": address, "mat": buffer.getvalue()}


def hdf5_seed(path: Path) -> bytes:
    """Return recordings as SHD has them."""
    random = np.random.default_rng(8)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (12,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (12,), h5py.vlen_dtype(np.uint16))
        for place in range(12):
            times[place] = np.sort(random.random(9)).astype(np.float16)
            units[place] = random.integers(0, 700, 9).astype(np.uint16)
        file["labels"] = np.arange(12) % 3
    return path.read_bytes()
