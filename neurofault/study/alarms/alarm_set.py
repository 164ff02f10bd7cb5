"""`AlarmSet`: watchers with their thresholds, and what is stated of their false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.inputs import Inputs
from neurofault.study.alarms.watchers import Watcher

Heartbeat = Literal["none", "watchers", "all"]
HEARTBEATS: tuple[Heartbeat, ...] = get_args(Heartbeat)
PER = 10_000
"""False alarms are stated per so many samples."""


@dataclass(frozen=True, eq=False)
class AlarmSet:
    """Watchers that alarm together.

    >>> import numpy as np
    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
    >>> found = nf.choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"])
    >>> len(found.alarms), found.alarms.steps
    (1, 40)

    Attributes:
        network: its name.
        chip: 32 hexadecimal digits by which the healthy chip is known (:func:`neurofault.study.patterns.pattern_set.chip_digest`).
        watchers: in the order in which they were chosen.
        window: W, samples.
        timesteps: T.
        heartbeat: which cores have a neuron that fires in the last step of every window, so that its silence is seen: ``watchers``, those that hold one; ``all``,
            all that are in use; ``none``.
        stated: false alarms per 10,000 healthy samples, at most, in expectation, of samples that come as those by which the thresholds are vouched for.
        vouched: how many windows these were.
        by_class: whether samples came class by class there.
        data: where samples are from, in words.
        stream: samples that set no threshold, to try the alarms on.
    """

    network: str
    chip: str
    watchers: tuple[Watcher, ...]
    window: int
    timesteps: int
    heartbeat: Heartbeat
    stated: float
    vouched: int
    by_class: bool
    data: str
    stream: Inputs

    def __len__(self) -> int:
        return len(self.watchers)

    @property
    def steps(self) -> int:
        """S, steps of a window."""
        return self.window * self.timesteps

    def watched(self) -> dict[str, NDArray[np.int64]]:
        """Return population → int64, the neurons of it that are watched, each once, rising.

        >>> import numpy as np
        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
        >>> found = nf.choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"])
        >>> sorted(found.alarms.watched())
        ['hands']
        """
        names = dict.fromkeys(one.population for one in self.watchers)
        return {
            name: np.unique([neuron for one in self.watchers if one.population == name for neuron in one.neurons]).astype(np.int64)
            for name in names
        }

    @property
    def potentials(self) -> tuple[str, ...]:
        """Populations of which potentials are watched."""
        return tuple(dict.fromkeys(one.population for one in self.watchers if not one.spiking))
