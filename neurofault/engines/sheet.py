"""Where an engine that goes step by step writes down what it sees, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import TRACES, Activity, Traces, gather, scores_from
from neurofault.damage.fold_neurons import silent_at_the_end
from neurofault.deploy.deployment import Deployment


@dataclass(frozen=True, eq=False)
class Sheet:
    """Results of N samples, filled in a step at a time.

    Attributes:
        deployment: the chip.
        potential: int64 [N, n_out], what was read of v of the readout (:func:`neurofault.activity.gather`).
        output_counts: int64 [N, n_out], its spikes in the steps that are read.
        spike_counts: population → int64 [n], spikes of each neuron.
        sample_spikes: int64 [N], spikes of all populations.
        traces: population → the wanted ones of ``u``, ``v``, ``spikes``, [N, T, n].
    """

    deployment: Deployment
    potential: NDArray[np.int64]
    output_counts: NDArray[np.int64]
    spike_counts: Mapping[str, NDArray[np.int64]]
    sample_spikes: NDArray[np.int64]
    traces: Mapping[str, dict[str, NDArray[np.generic]]]

    @classmethod
    def blank(cls, deployment: Deployment, samples: int, record: Collection[str]) -> Sheet:
        """Return a sheet with room for ``samples`` samples and for the traces of ``record``."""
        sizes = {population.name: population.size for population in deployment.populations}
        kinds = {name: np.bool_ if name == "spikes" else np.int32 for name in TRACES if name in record}
        return cls(
            deployment,
            np.zeros((samples, deployment.output.size), np.int64),
            np.zeros((samples, deployment.output.size), np.int64),
            {name: np.zeros(size, np.int64) for name, size in sizes.items()},
            np.zeros(samples, np.int64),
            {
                name: {trace: np.zeros((samples, deployment.timesteps, size), kind) for trace, kind in kinds.items()}
                for name, size in sizes.items()
            },
        )

    def note(
        self,
        population: str,
        step: int,
        samples: slice,
        spikes: NDArray[np.bool_],
        u: NDArray[np.floating] | None = None,
        v: NDArray[np.floating] | None = None,
    ) -> None:
        """Write down one step of one population.

        Args:
            population: its name.
            step: 0 to T − 1.
            samples: which of the N.
            spikes: [samples, n], what left the neurons.
            u: [samples, n] after the step; None: 0.
            v: the same.
        """
        own = spikes.sum(axis=1, dtype=np.int64)
        self.sample_spikes[samples] += own
        self.spike_counts[population][:] += spikes.sum(axis=0, dtype=np.int64)
        for name, values in (("u", u), ("v", v), ("spikes", spikes)):
            if name in self.traces[population] and values is not None:
                self.traces[population][name][samples, step] = values
        readout = self.deployment.readout
        if population == readout.population and step in (read := readout.steps(self.deployment.timesteps)):
            self.output_counts[samples] += spikes
            if v is not None:
                gather(self.potential[samples], v, readout.how, first=step == read.start)

    def activity(self, first_sample: int = 0) -> Activity:
        """Return the result; ``first_sample`` is the index of sample 0 in the whole data set."""
        dead = silent_at_the_end(self.deployment, first_sample, len(self.potential))
        return Activity(
            scores_from(self.potential, self.output_counts, self.deployment.readout.how, dead),
            self.spike_counts,
            self.sample_spikes,
            {name: Traces(**trace) for name, trace in self.traces.items() if trace},  # type: ignore[arg-type]  # keys are field names of Traces
        )
