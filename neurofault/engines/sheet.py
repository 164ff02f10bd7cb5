"""Where an engine that goes step by step writes down what it sees, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import TRACES, Activity, Traces, scores_from
from neurofault.deploy.deployment import Deployment
from neurofault.damage.fold_neurons import silent_at_the_end


@dataclass(frozen=True, eq=False)
class Sheet:
    """Results of N samples, filled in a step at a time.

    Attributes:
        deployment: the chip.
        potential: int64 [N, n_out], v of the output layer after its T-th step.
        output_counts: int64 [N, n_out], its spikes.
        spike_counts: for each layer int64 [n], spikes of each neuron.
        sample_spikes: int64 [N], spikes of all layers.
        traces: for each layer the wanted ones of ``u``, ``v``, ``spikes``, [N, T, n].
    """

    deployment: Deployment
    potential: NDArray[np.int64]
    output_counts: NDArray[np.int64]
    spike_counts: tuple[NDArray[np.int64], ...]
    sample_spikes: NDArray[np.int64]
    traces: tuple[dict[str, NDArray[np.generic]], ...]

    @classmethod
    def blank(cls, deployment: Deployment, samples: int, record: Collection[str]) -> Sheet:
        """Return a sheet with room for ``samples`` samples and for the traces of ``record``."""
        sizes, steps = [layer.size for layer in deployment.layers], deployment.timesteps
        kinds = {name: np.bool_ if name == "spikes" else np.int32 for name in TRACES if name in record}
        return cls(
            deployment,
            np.zeros((samples, sizes[-1]), np.int64),
            np.zeros((samples, sizes[-1]), np.int64),
            tuple(np.zeros(size, np.int64) for size in sizes),
            np.zeros(samples, np.int64),
            tuple({name: np.zeros((samples, steps, size), kind) for name, kind in kinds.items()} for size in sizes),
        )

    def note(
        self,
        layer: int,
        step: int,
        samples: slice,
        spikes: NDArray[np.bool_],
        u: NDArray[np.floating] | None = None,
        v: NDArray[np.floating] | None = None,
    ) -> None:
        """Write down one step of one layer.

        Args:
            layer: index of the layer.
            step: 0 to T − 1.
            samples: which of the N.
            spikes: [samples, n], what left the neurons.
            u: [samples, n] after the step; None: 0.
            v: the same.
        """
        own = spikes.sum(axis=1, dtype=np.int64)
        self.sample_spikes[samples] += own
        self.spike_counts[layer][:] += spikes.sum(axis=0, dtype=np.int64)
        for name, values in (("u", u), ("v", v), ("spikes", spikes)):
            if name in self.traces[layer] and values is not None:
                self.traces[layer][name][samples, step] = values
        if layer == len(self.deployment.layers) - 1:
            self.output_counts[samples] += spikes
            if step == self.deployment.timesteps - 1 and v is not None:
                self.potential[samples] = v

    def activity(self, first_sample: int = 0) -> Activity:
        """Return the result; ``first_sample`` is the index of sample 0 in the whole data set."""
        names = [layer.name for layer in self.deployment.layers]
        dead = silent_at_the_end(self.deployment, first_sample, len(self.potential))
        return Activity(
            scores_from(self.potential, self.output_counts, self.deployment.readout, dead),
            dict(zip(names, self.spike_counts, strict=True)),
            self.sample_spikes,
            {name: Traces(**trace) for name, trace in zip(names, self.traces, strict=True) if trace},  # type: ignore[arg-type]  # keys are field names of Traces
        )
