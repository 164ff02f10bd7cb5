"""The atlas of every synapse on every sample: seconds, peak memory, and random sites against the full engine.

python experiments/bench/atlas.py --data-dir ../shared/data --field ../shared/data/field [--bits] --json atlas.json

784-512-10 on all of MNIST's test images (``seconds``); Intel's N-MNIST network 2312-512-10 on 100 recordings × 300 steps (``nmnist_seconds``); with
``--bits`` also every bit of every synapse of the first (``bits_seconds``). Each part runs in a process of its own, so that ``peak_bytes`` is the largest of theirs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import numpy as np
from common import arguments, finish, intel, require, wide
from numpy.typing import NDArray

from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.inputs import Inputs
from neurofault.study.atlas import atlas
from neurofault.study.atlas_sites import Kind, all_sites


def part(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Measure one of the atlases."""
    chip, inputs, labels = network(options, name)
    kind: Kind = "synapse_bit_flip" if name == "bits" else "synapse_dead"
    answer: dict[str, Any] = {}
    for threads, tag in ((1, "_1_thread"), (2, "")) if name == "" else ((2, ""),):
        atlas(chip, inputs[:2], labels[:2], "synapse_dead", threads=threads)  # compiles
        begin = time.perf_counter()
        found = atlas(chip, inputs, labels, kind, threads=threads)
        seconds = time.perf_counter() - begin
        answer |= {f"seconds{tag}": seconds, f"rate{tag}": len(found) * len(inputs) / seconds}
    sites, engine = all_sites(chip, kind, "any"), ExactEngine()
    assert found.changes is not None
    checked = np.random.default_rng(5).choice(len(found), 10 if options.quick else 1000, replace=False)
    for row in checked.tolist():
        expected = found.predictions.copy()
        first, stop = np.searchsorted(found.changes.faults, [row, row + 1])
        expected[found.changes.samples[first:stop]] = found.changes.predictions[first:stop]
        hurt = chip.with_damage(Damage(sites.edits[row]))
        require(np.array_equal(engine.run(hurt, inputs).predictions, expected), f"{name} site {row}")
    return answer | {
        "sites": len(found), "samples": len(inputs), "changed_predictions": int(np.sum(found.sites["changed"])),
        "sites_equal_to_the_full_engine": len(checked), "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def network(options: argparse.Namespace, name: str) -> tuple[Deployment, Inputs, NDArray[np.int64]]:
    """Return a chip, its encoded samples and their labels."""
    if name == "nmnist":
        chip, inputs, labels = intel(options.field)
        return (chip, inputs[:4], labels[:4]) if options.quick else (chip, inputs, labels)
    prepared, inputs, _ = wide(options, 200 if options.quick else None)
    return prepared.deployment, inputs, prepared.test.labels


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", "bits")
    names = ["", *(["nmnist"] if options.field is not None else []), *(["bits"] if options.bits else [])]
    rows, answer = [], {"network": "784-100-10" if options.quick else "784-512-10", "quick": options.quick}
    peaks = []
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(part, (options, name))
        peaks.append(found.pop("peak_bytes"))
        answer |= {f"{name}_{key}" if name else key: value for key, value in found.items()}
        what = f"{found['sites']:,} sites × {found['samples']:,} samples"
        rows.append(
            (
                f"{name or 'synapses'}, 2 threads: {what}",
                f"{found['seconds']:.1f} s, {found['rate']:.3g} fault-samples/s, {peaks[-1] / 1e9:.2f} GB",
            )
        )
        if "seconds_1_thread" in found:
            rows.append(("1 thread", f"{found['seconds_1_thread']:.1f} s"))
    answer["peak_bytes"] = max(peaks)
    finish("atlas of single synapses", rows, answer, options.json)


if __name__ == "__main__":
    main()
