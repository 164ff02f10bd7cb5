"""A chip at work under its watchers: who alarms, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import Activity
from neurofault.deploy.deployment import Deployment
from neurofault.engines import Presented, as_inputs
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import StalledError, UsageError
from neurofault.inputs import Inputs, Spikes
from neurofault.numerals import plural
from neurofault.study.alarms.alarm_set import AlarmSet
from neurofault.study.alarms.on_chip import BEATS, WATCHERS, check_alarms, has_alarms, watchers_alone
from neurofault.study.alarms.recorded import Recorded, in_windows, recorded
from neurofault.study.alarms.watchers import Watcher, potential_alarms


@dataclass(frozen=True, eq=False)
class Watched:
    """Alarms of a run, window by window.

    Attributes:
        alarms: the watchers.
        spikes: bool [n, S, K], in which steps each watcher alarms.
        beats: bool [n, c], whether each heartbeat came at the end of the window; none without heartbeats.
        beat_cores: int64 [c], their cores.
        activity: of the watchers' own neurons, for what they cost; None where there are none, or the chip stalls.
        stalled: whether the chip stalls, and answers nothing.
    """

    alarms: AlarmSet
    spikes: NDArray[np.bool_]
    beats: NDArray[np.bool_]
    beat_cores: NDArray[np.int64]
    activity: Activity | None = None
    stalled: bool = False

    @property
    def alarmed(self) -> NDArray[np.bool_]:
        """Whether in each window, bool [n], some watcher alarms or a heartbeat is missing."""
        return np.asarray(self.spikes.any(axis=(1, 2)) | ~self.beats.all(axis=1))

    def first(self, after: int = 0) -> int | None:
        """Return the step of the first alarm, counted from the first window's first step, that is not before step ``after``; None: there is none."""
        windows, steps, _ = self.spikes.shape
        some = np.array(self.spikes.any(axis=2), bool)
        some[:, -1] |= ~self.beats.all(axis=1)
        found = np.flatnonzero(some.reshape(windows * steps)[after:])
        return int(found[0]) + after if len(found) else None

    def but_for(self, other: Watched) -> Watched:
        """Return the same without what a watcher says in windows in which it alarms in another run, too."""
        return replace(self, spikes=self.spikes & ~other.spikes.any(axis=1, keepdims=True))

    def who(self, step: int) -> tuple[str, ...]:
        """Return in words who alarms in a step, as of :meth:`first`."""
        window, at = divmod(step, self.spikes.shape[1])
        names = [str(self.alarms.watchers[number]) for number in np.flatnonzero(self.spikes[window, at])]
        if at == self.spikes.shape[1] - 1:
            names += [f"no heartbeat of core {core}" for core in self.beat_cores[~self.beats[window]].tolist()]
        return tuple(names)


def watch(chip: Deployment, alarms: AlarmSet, samples: Inputs | Presented | None = None, *, threads: int | None = None) -> Watched:
    """Show samples to a chip with watchers, healthy or broken, and say which of them alarm.

    Network and watchers are run by the exact engine: the network sample by sample, its watchers, which are not reset between samples, window by
    window on the spikes that the network sends them.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
    >>> alarms = nf.choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"]).alarms
    >>> chip = nf.with_alarms(chip, alarms)
    >>> hurt = nf.inject(chip, nf.faults.CoreDead(layer="hands", count=1))
    >>> watch(chip, alarms, shown[:40]).first() is None, watch(hurt, alarms, shown[:40]).first() is None
    (True, False)

    Args:
        chip: what :func:`neurofault.with_alarms` made, and what was broken of it.
        alarms: the same alarms.
        samples: as :func:`neurofault.run` takes them, at least a window; the samples behind the last whole window are left out. None: those that the alarms carry.
        threads: worker threads; None: one for each usable core.

    Raises:
        UsageError: other alarms, a chip without them, or fewer samples than a window.
        UnsupportedError: watchers that are broken for a time.
    """
    check_alarms(chip, alarms)
    inputs = as_inputs(chip, alarms.stream if samples is None else samples)
    if len(inputs) < alarms.window:
        raise UsageError(f"a window of {plural(alarms.window, 'sample')} is longer than the data: {plural(len(inputs), 'sample')}")
    try:
        trains = recorded(chip, inputs, alarms.watched(), alarms.potentials, threads)
    except StalledError:
        return _stalled(chip, alarms, len(inputs) // alarms.window)
    return watched(chip, alarms, trains, threads)


def watched(chip: Deployment, alarms: AlarmSet, trains: Recorded, threads: int | None = None) -> Watched:
    """Return the alarms of a run whose watched neurons are recorded; arguments as of :func:`watch`."""
    windows = trains.windows(alarms.window)
    spiking = [at for at, one in enumerate(alarms.watchers) if one.spiking]
    if not has_alarms(chip) and (spiking or alarms.heartbeat != "none"):
        raise UsageError(f"the chip of {chip.name!r} has no watchers: nf.with_alarms puts them there")
    spikes = np.zeros((windows, alarms.steps, len(alarms)), bool)
    beats, cores, activity = np.zeros((windows, 0), bool), np.empty(0, np.int64), None
    if has_alarms(chip):
        alone = watchers_alone(chip, alarms)
        activity = ExactEngine(threads).run(alone, _spikes(alone.inputs, chip, alarms, trains, windows), record=("spikes",))
        if spiking:
            found = activity.traces[WATCHERS].spikes
            assert found is not None
            spikes[:, :, spiking] = found
        if BEATS in activity.traces:
            found = activity.traces[BEATS].spikes
            assert found is not None
            beats, cores = found[:, -1], chip.placement.core_of[BEATS].astype(np.int64)
    gone = dead_cores(chip)
    for at, one in enumerate(alarms.watchers):
        if not one.spiking and int(chip.placement.core_of[one.population][one.neurons[0]]) not in gone:
            spikes[:, :, at] = _of_potential(one, alarms, trains)
    return Watched(alarms, spikes, beats, cores, activity)


def dead_cores(chip: Deployment) -> set[int]:
    """Return the cores that are dead: those that are said to be, and those of which every neuron is silent for good."""
    live: set[int] = set()
    for one in chip.populations:
        live |= set(chip.placement.core_of[one.name][~chip.damage.silent(one.name, one.size)].tolist())
    return (set(chip.placement.used_cores.tolist()) - live) | set(chip.damage.dead_cores)


def _of_potential(one: Watcher, alarms: AlarmSet, trains: Recorded) -> NDArray[np.bool_]:
    place = trains.column(one.population, one.neurons[0])
    v: NDArray[np.int32] = in_windows(trains.v[one.population][:, :, place : place + 1], alarms.window)[:, :, 0].astype(np.int32)
    return potential_alarms(one.kind, v, one.threshold)


def _spikes(names: tuple[str, ...], chip: Deployment, alarms: AlarmSet, trains: Recorded, windows: int) -> Inputs:
    """Return what the watchers are shown: windows of spikes of those that they watch."""
    if not names:
        return Inputs(samples=windows)
    shown = {}
    for name in names:
        window, step, place = np.nonzero(in_windows(trains.spikes[name], alarms.window))
        neuron = trains.neurons[name][place]
        shown[name] = Spikes.of(window, step, neuron, samples=windows, timesteps=alarms.steps, size=chip.population(name).size)
    return Inputs(events=shown)


def _stalled(chip: Deployment, alarms: AlarmSet, windows: int) -> Watched:
    """Return what is seen of a chip that stands still: no alarm, and, where there are heartbeats, none of them."""
    cores = chip.placement.core_of.get(BEATS, np.empty(0, np.int32)).astype(np.int64)
    quiet = np.zeros((windows, alarms.steps, len(alarms)), bool)
    return Watched(alarms, quiet, np.zeros((windows, len(cores)), bool), cores, stalled=True)
