"""What in learning matters: margin, feedback, step size, one part changed at a time; and the other learners beside.

python experiments/bench/learners.py --data-dir ../shared/data --json learners.json

`mnist-mlp` on Loihi 2, 8 neurons a core, 6 cores of hidden1 dead; one cycle of 10,000 training images. Everything is measured on
VALIDATION images and on draws of another seed than the ones that are reported elsewhere: this is where the learners' defaults come
from. Recovered: mean(final − damaged) / mean(healthy − damaged). Sham: points lost by the same learning without damage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import arguments, finish

from neurofault.damage.damage import Damage
from neurofault.faults import CoreDead, inject
from neurofault.rescue.examples import Examples
from neurofault.rescue.learners.by_name import learner_named
from neurofault.rescue.learners.errors import delta, dfa
from neurofault.rescue.lesson import Learner, Lesson
from neurofault.streams import generator
from neurofault.study.prepare import Setup, prepare

SEED = 101


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    setup = Setup(network="mnist-mlp", data_dir=options.data_dir, neurons_per_core=8)
    prepared = prepare(setup, lambda *_: None)
    chip, train, validation = prepared.deployment, prepared.data.train, prepared.data.validation
    size, draws, cycles = (500, 1, 1) if options.quick else (10_000, 4, 4)
    inputs, labels = chip.encode(train.images[:size]), train.labels[:size].astype(np.int64)
    judge = Examples(chip.encode(validation.images), validation.labels)
    hurt = [inject(chip, CoreDead(count=6, layer="hidden1"), seed=SEED, draw=draw) for draw in range(draws)]
    healthy, damaged = judge.accuracy(chip), np.array([judge.accuracy(each) for each in hurt])
    usual_delta, usual = delta(chip, inputs, labels), dfa(chip, inputs, labels)
    margin = usual.margin
    variants: list[tuple[str, Learner, int]] = [
        ("delta, default", usual_delta, 1),
        *((f"delta, margin × {by:g}", delta(chip, inputs, labels, margin=int(margin * by)), 1) for by in (0.25, 0.5, 2, 4, 16)),
        *((f"delta, readout step 2^{e}", delta(chip, inputs, labels, readout_exponent=e), 1) for e in (-7, -5, -4)),
        ("dfa, default", usual, 1),
        ("dfa, random ±1 feedback", dfa(chip, inputs, labels, feedback="random"), 1),
        *((f"dfa, feedback / 2^{s}", dfa(chip, inputs, labels, feedback_shift=s), 1) for s in (8, 9, 11, 12)),
        *((f"dfa, hidden impulse {i}", dfa(chip, inputs, labels, hidden_impulse=i), 1) for i in (2, 4)),
        *((f"dfa, margin × {by:g}", dfa(chip, inputs, labels, margin=int(margin * by)), 1) for by in (0.5, 2)),
        *((f"{name}, default", learner_named(name, chip, inputs, labels), 1) for name in ("emstdp", "homeostasis", "host")),
        (f"delta, default, {cycles} cycles", usual_delta, cycles),
        (f"dfa, default, {cycles} cycles", usual, cycles),
    ]
    rows: list[tuple[str, str]] = []
    answer: dict[str, Any] = {
        "network": "mnist-mlp", "margin": margin, "cycle_samples": size, "draws": draws, "seed": SEED, "split": "validation",
        "healthy": healthy, "damaged": float(damaged.mean()), "quick": options.quick, "variants": [],
    }  # fmt: skip
    for name, learner, passes in variants:
        finals = np.array([judge.accuracy(taught(learner, each, inputs, labels, passes)) for each in hurt])
        sham = judge.accuracy(taught(learner, chip.with_damage(Damage()), inputs, labels, passes))
        recovered = float((finals - damaged).mean() / (healthy - damaged).mean())
        rows.append(
            (name, f"final {100 * finals.mean():.2f} %  recovered {100 * recovered:.0f} %  sham {100 * (sham - healthy):+.2f}")
        )
        answer["variants"].append({"name": name, "final": float(finals.mean()), "recovered": recovered, "sham": sham - healthy})
    finish(f"error learning, healthy {100 * healthy:.2f} %, damaged {100 * damaged.mean():.2f} %", rows, answer, options.json)


def taught(learner: Learner, chip: Any, inputs: Any, labels: Any, cycles: int) -> Any:
    """Return the chip after some cycles."""
    memory = None
    for cycle in range(cycles):
        order = generator(SEED, "order", cycle).permutation(len(labels))
        shown = type(inputs)(bias=inputs.bias[order])
        lesson = Lesson(shown, labels[order], cycle * len(labels), len(labels), SEED)
        done = learner.teach(chip, lesson, memory)
        chip, memory = done.deployment, done.memory
    return chip


if __name__ == "__main__":
    main()
