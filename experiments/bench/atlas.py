"""The atlas of every synapse of 784-512-10 on every test image: seconds, peak memory, and random sites against the full engine.

python experiments/bench/atlas.py --data-dir ../shared/data --json atlas.json
"""

from __future__ import annotations

import resource
import time

import numpy as np
from common import arguments, finish, require, wide

from neurofault.damage.damage import Damage, SetSynapses
from neurofault.engines.exact.engine import ExactEngine
from neurofault.study.atlas import atlas


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    prepared, inputs, sizes = wide(options, 200 if options.quick else None)
    chip, labels = prepared.deployment, prepared.test.labels
    atlas(chip, inputs[:2], labels[:2], "synapse_dead")  # compiles
    rows, answer = [], {"network": sizes, "images": len(inputs), "quick": options.quick}
    for threads in (1, 2):
        begin = time.perf_counter()
        found = atlas(chip, inputs, labels, "synapse_dead", threads=threads)
        seconds = time.perf_counter() - begin
        tag = "" if threads == 2 else "_1_thread"
        answer |= {f"seconds{tag}": seconds, f"rate{tag}": len(found) * len(inputs) / seconds}
        rows.append(
            (
                f"{threads} threads: {len(found):,} sites",
                f"{seconds:.1f} s, {len(found) * len(inputs) / seconds:.3g} fault-images/s",
            )
        )
    answer |= {"sites": len(found), "changed_predictions": int(found.sites["changed"].sum())}
    answer["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    checked = np.random.default_rng(5).choice(len(found), 10 if options.quick else 1000, replace=False)
    engine = ExactEngine()
    assert found.changes is not None
    for row in checked:
        layer, source, target = (int(found.sites[name][row]) for name in ("layer", "source", "target"))
        edit = SetSynapses(found.layers[layer], np.array([source]), np.array([target]), np.zeros(1, np.int32))
        expected = found.predictions.copy()
        first, stop = np.searchsorted(found.changes.faults, [row, row + 1])
        expected[found.changes.samples[first:stop]] = found.changes.predictions[first:stop]
        require(np.array_equal(engine.run(chip.with_damage(Damage((edit,))), inputs).predictions, expected), f"site {row}")
    answer["sites_equal_to_the_full_engine"] = len(checked)
    rows += [("peak memory", f"{answer['peak_bytes'] / 1e9:.2f} GB"), ("sites equal to the full engine", str(len(checked)))]
    finish("atlas of single dead synapses", rows, answer, options.json)


if __name__ == "__main__":
    main()
