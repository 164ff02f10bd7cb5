"""Samples that a device has run, run again by the CPU's kernels: a device that computes anything else must not give results."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import scores_from
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine, RunSheet
from neurofault.errors import EngineError
from neurofault.inputs import Inputs


def compare(
    device: str, deployment: Deployment, part: Collection[str], inputs: Inputs, kept: NDArray[np.int64],
    seen: Mapping[str, NDArray[np.bool_]], sheet: RunSheet, record: Collection[str], *, first_sample: int, threads: int | None,
) -> None:  # fmt: skip
    """Compare spikes, traces that are recorded, and scores of some samples.

    Args:
        device: its name, for the message.
        deployment: the chip.
        part: the populations that ran.
        inputs: the batch.
        kept: int64 [k], the samples of it that are compared.
        seen: their spikes on the device, by population, bool [k, T, n].
        sheet: results of the batch.
        record: traces that are recorded.
        first_sample: number of the batch's first sample, for the message.
        threads: of the CPU's kernels.

    Raises:
        EngineError: they differ; the text names the first population that does, its first step, sample and neuron.
    """
    expected = ExactEngine(threads).run_part(deployment, part, inputs.take(kept), {*record, "spikes"})
    for name in (name for island in deployment.schedule.islands for name in island if name in part):
        own, there = expected.traces[name], sheet.traces[name]
        pairs: list[tuple[str, NDArray[np.generic] | None, NDArray[np.generic] | None]] = [
            ("spike", seen[name], own.spikes),
            ("u", None if there.u is None else there.u[kept], own.u),
            ("v", None if there.v is None else there.v[kept], own.v),
        ]
        for what, found, right in pairs:
            if found is None or right is None or np.array_equal(found, right):
                continue
            step, sample, neuron = (int(one[0]) for one in np.nonzero(np.moveaxis(found != right, 1, 0)))
            _refuse(
                device,
                f"{what} of neuron {neuron} of population {name!r} in step {step} of sample {first_sample + int(kept[sample])}",
                found[sample, step, neuron],
                right[sample, step, neuron],
            )
    readout = deployment.readout
    if readout.population in part:
        dead = deployment.damage.silent(readout.population, deployment.output.size)
        scores = scores_from(sheet.potential[kept], sheet.output_counts[kept], readout.how, dead)
        for sample, neuron in np.argwhere(scores != expected.scores)[:1]:
            _refuse(
                device,
                f"score of neuron {neuron} of population {readout.population!r} for sample {first_sample + int(kept[sample])}",
                scores[sample, neuron],
                expected.scores[sample, neuron],
            )


def _refuse(device: str, what: str, found: np.generic, right: np.generic) -> None:
    raise EngineError(
        f"device {device} computes otherwise than the CPU: {what} is {int(found)} there, {int(right)} on the CPU; no result of it is kept. Run with --device cpu"
    )
