"""The test that a repair is given where none was chosen for it, and what its answers mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurofault.deploy.deployment import Deployment
from neurofault.inputs import Inputs
from neurofault.progress import Progress, silent
from neurofault.study.patterns.choose import choose_patterns
from neurofault.study.patterns.diagnose import FaultDictionary, fault_dictionary
from neurofault.study.patterns.pattern_set import PatternSet

SAMPLES, MADE, SIZE = 300, 64, 20
"""Samples that the test is chosen from, inputs that are made beside them, and samples of the test: at most so many."""
SUSPECTED = ("core_dead", "neuron_dead")


def dictionary_for(
    chip: Deployment,
    samples: Inputs,
    patterns: PatternSet | None = None,
    suspected: Sequence[str] | None = None,
    progress: Progress = silent,
    threads: int | None = None,
) -> FaultDictionary:
    """Work out what each single fault answers to a test; where there is none, choose one of the chip's cores and neurons, by their potentials.

    Args:
        chip: healthy.
        samples: N samples, none that results are reported on; the first :data:`SAMPLES` are tried where a test is to be chosen.
        patterns: the test; None: one is chosen.
        suspected: kinds of single faults, as of :func:`neurofault.fault_dictionary`; None: :data:`SUSPECTED`.
        progress: called as work goes on.
        threads: worker threads; None: one for each usable core. The result does not depend on it.

    Raises:
        UsageError: the test is of another chip; nothing that is shown exposes any dead core or neuron; or as of :func:`neurofault.fault_dictionary`.
        UnsupportedError: the samples are one stream.
    """
    if patterns is None:
        patterns = choose_patterns(
            chip, samples.take(np.arange(min(SAMPLES, len(samples)))), faults=SUSPECTED, observe="potential", aim="detectable", most=SAMPLES, made=MADE, size=SIZE,
            draws=0, check=0, seconds=0, threads=threads, progress=progress,
        ).patterns  # fmt: skip
    return fault_dictionary(chip, patterns, suspected or SUSPECTED, threads=threads, progress=progress)
