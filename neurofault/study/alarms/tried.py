"""What alarms are worth: how often they alarm on a healthy chip, how many faults they see and how late, on samples that set no threshold.

A draw is shown all samples, or a stretch of its own. A fault strikes before a keyed sample of the first window and stays. Before it the chip is the healthy one; a watcher that the fault breaks counts as broken in that whole
window. The delay is counted from the fault's first step to the end of the step in which the first watcher alarms. What alarmed before, and a watcher in a window in which it
alarms on the healthy chip too, does not count: that would be a false alarm by chance at the right time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage, Edit, Silence
from neurofault.deploy.cost import Cost, cost, cost_by_place
from neurofault.deploy.deployment import Deployment
from neurofault.engines import Presented, as_inputs
from neurofault.engines.exact.engine import ExactEngine
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.numerals import plural, whole_number
from neurofault.progress import Progress, silent
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.alarms.alarm_set import PER, AlarmSet
from neurofault.study.alarms.on_chip import BEATS, WATCHERS, check_alarms, without_alarms
from neurofault.study.alarms.recorded import parts, recorded
from neurofault.study.alarms.watch import Watched, watched
from neurofault.study.patterns.fault_list import single_faults
from neurofault.study.statistics import Interval, wilson


@dataclass(frozen=True)
class FalseAlarms:
    """Alarms of a healthy chip.

    Attributes:
        windows: how many windows were shown.
        alarmed: in how many of them some watcher alarmed.
        share: of windows, with Wilson's interval.
        window: W.
    """

    windows: int
    alarmed: int
    share: Interval
    window: int

    @property
    def per_samples(self) -> tuple[float, float, float]:
        """False alarms per 10,000 samples, and the ends of their interval."""
        scale = PER / self.window
        assert self.share.low is not None
        assert self.share.high is not None
        return self.share.mean * scale, self.share.low * scale, self.share.high * scale


@dataclass(frozen=True)
class TriedFaults:
    """Keyed draws of single faults of a kind.

    Attributes:
        kind: of the faults.
        draws: how many.
        critical: how many of them change the class of a sample within the horizon.
        steps: of each draw the steps from the fault to the alarm; None: there was none within the horizon.
        matters: of each draw, whether it is critical.
        first: of each draw, who alarmed first; none.
    """

    kind: str
    draws: int
    critical: int
    steps: tuple[int | None, ...]
    matters: tuple[bool, ...]
    first: tuple[tuple[str, ...], ...]

    @property
    def seen(self) -> Interval:
        """Share of the draws that alarm within the horizon, with Wilson's interval."""
        return wilson(sum(step is not None for step in self.steps), self.draws)

    @property
    def critical_seen(self) -> Interval | None:
        """The same, of critical draws; None: there are none."""
        own = [step is not None for step, matters in zip(self.steps, self.matters, strict=True) if matters]
        return wilson(sum(own), len(own)) if own else None

    def delay(self, share: float, *, critical: bool = True) -> int | None:
        """Return within how many steps a share of the (critical) draws alarm; None: never within the horizon, or there are none."""
        own = [step for step, matters in zip(self.steps, self.matters, strict=True) if matters or not critical]
        known = sorted(step for step in own if step is not None)
        place = int(np.ceil(share * len(own))) - 1
        return known[place] if 0 <= place < len(known) else None


@dataclass(frozen=True)
class AlarmCost:
    """What watchers take of a chip.

    Attributes:
        neurons, synapses, cores: watchers and heartbeats, synapses to them, cores that hold nothing else.
        compartments: of potentials, in cores that are there anyway.
        plain, watched: of a sample without and with watchers (a compartment costs an active update in every step).
        energy: joules a sample that they add; None: the table does not know.
    """

    neurons: int
    synapses: int
    cores: int
    compartments: int
    plain: Cost
    watched: Cost
    energy: float | None


def false_alarms(
    chip: Deployment, alarms: AlarmSet, samples: Inputs | Presented | Mapping[str, Presented], *, threads: int | None = None
) -> FalseAlarms:
    """Count the windows of healthy samples in which watchers alarm; samples come in the order in which they are given.

    Args:
        chip: healthy, with these alarms.
        alarms: the watchers.
        samples: as :func:`neurofault.run` takes them.
        threads: worker threads; None: one for each usable core.

    Raises:
        UsageError: a damaged chip, other alarms, or fewer samples than a window.
    """
    check_alarms(chip, alarms)
    if chip.damage.edits:
        raise UsageError(
            f"false alarms are those of a healthy chip; this one is damaged ({plural(len(chip.damage.edits), 'edit')})"
        )
    inputs = as_inputs(chip, samples)
    windows = len(inputs) // alarms.window
    if not windows:
        raise UsageError(f"a window of {plural(alarms.window, 'sample')} is longer than the data: {plural(len(inputs), 'sample')}")
    found = 0
    for part in parts(chip, inputs[: windows * alarms.window], alarms.watched(), alarms.potentials, alarms.window, threads):
        found += int(watched(chip, alarms, part, threads).alarmed.sum())
    return FalseAlarms(windows, found, wilson(found, windows), alarms.window)


def try_alarms(
    chip: Deployment,
    alarms: AlarmSet,
    samples: Inputs | Presented | Mapping[str, Presented] | None = None,
    *,
    faults: Sequence[str] = ("core_dead", "neuron_dead", "synapse_dead"),
    draws: int = 100,
    horizon: int | None = None,
    seed: int = 1,
    threads: int | None = None,
    progress: Progress = silent,
) -> tuple[TriedFaults, ...]:
    """Break a chip with watchers by single faults, drawn at random, and see which alarm.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
    >>> alarms = nf.choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"]).alarms
    >>> (found,) = try_alarms(nf.with_alarms(chip, alarms), alarms, shown[:40], faults=["core_dead"], draws=10)
    >>> found.critical, found.critical_seen.mean
    (9, 1.0)

    Args:
        chip: healthy, with these alarms; faults hit its watchers as all else.
        alarms: the watchers.
        samples: as :func:`neurofault.run` takes them. None: those that the alarms carry.
        faults: kinds of single faults, as of :func:`neurofault.choose_patterns`.
        draws: of each kind, at least 1.
        horizon: how many consecutive samples each draw is shown, from a keyed one on; at least a window. None: all of them, the same in every draw.
        seed: key of the draws; draw d is the same however many are drawn.
        threads: worker threads; None: one for each usable core.
        progress: called as work goes on.

    Raises:
        UsageError: a damaged chip, other alarms, fewer samples than a window or than the horizon, no such kind, or a number out of range.
    """
    return tried_together(
        [(chip, alarms)], samples, faults=faults, draws=draws, horizon=horizon, seed=seed, threads=threads, progress=progress
    )[0]


def tried_together(
    watched_chips: Sequence[tuple[Deployment, AlarmSet]],
    samples: Inputs | Presented | Mapping[str, Presented] | None = None,
    *,
    faults: Sequence[str],
    draws: int,
    horizon: int | None = None,
    seed: int = 1,
    threads: int | None = None,
    progress: Progress = silent,
) -> list[tuple[TriedFaults, ...]]:
    """Try several alarms of one network with the same draws, each of which is run once; arguments as of :func:`try_alarms`.

    The draws are faults of the chip with its watchers where there is one of them, else of the network alone.
    """
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    first, alarms = watched_chips[0]
    for chip, own in watched_chips:
        check_alarms(chip, own)
        if chip.damage.edits:
            raise UsageError(
                f"faults are drawn on a healthy chip; this one is damaged already ({plural(len(chip.damage.edits), 'edit')})"
            )
    if draws < 1:
        raise UsageError(f"draws must be at least 1, is {draws}")
    inputs = as_inputs(first, alarms.stream if samples is None else samples)
    longest = max(own.window for _, own in watched_chips)
    if len(inputs) < longest:
        raise UsageError(f"a window of {plural(longest, 'sample')} is longer than the data: {plural(len(inputs), 'sample')}")
    stretch = len(inputs) if horizon is None else horizon
    if not longest <= stretch <= len(inputs):
        raise UsageError(
            f"horizon must be from a window, {plural(longest, 'sample')}, to all {plural(len(inputs), 'sample')}, is {horizon:,}"
        )
    neurons: dict[str, NDArray[np.int64]] = {}
    for _, own in watched_chips:
        for name, which in own.watched().items():
            neurons[name] = np.union1d(neurons.get(name, which), which)
    potentials = sorted({name for _, own in watched_chips for name in own.potentials})
    plain = without_alarms(first)
    every = recorded(plain, inputs, neurons, potentials, threads)
    usual: dict[int, list[Watched]] = {}
    listed = single_faults(first if len(watched_chips) == 1 else plain, faults)
    found: list[list[TriedFaults]] = [[] for _ in watched_chips]
    for part, kind in enumerate(listed.kinds):
        rows: list[list[tuple[int | None, bool, tuple[str, ...]]]] = [[] for _ in watched_chips]
        number = int(listed.first[part + 1] - listed.first[part])
        for draw in range(draws):
            key = stream_key(seed, "alarms", "draw", kind, draw)
            site = int(permutation_prefix(key, number, 1)[0])
            edits = listed.edits(int(listed.first[part]) + site)
            core = int(listed.sites[part].columns["core"][site]) if kind == "core_dead" and len(watched_chips) > 1 else -1
            start = stream_key(seed, "alarms", "stretch", kind, draw) % (len(inputs) - stretch + 1)
            healthy = every.taken(np.arange(start, start + stretch))
            if start not in usual:
                usual = {start: [watched(chip, own, healthy, threads) for chip, own in watched_chips]}
            broken = recorded(
                without_alarms(first.with_damage(Damage(edits))), inputs[start : start + stretch], neurons, potentials, threads
            )
            for at, (chip, own) in enumerate(watched_chips):
                onset = stream_key(seed, "alarms", "onset", kind, draw) % own.window
                run = watched(chip.with_damage(Damage(_with_beats(chip, edits, core))), own, broken.after(healthy, onset), threads)
                rows[at].append(
                    _row(
                        run.but_for(usual[start][at]),
                        onset,
                        chip.timesteps,
                        bool((broken.predictions != healthy.predictions)[onset:].any()),
                    )
                )
            progress(f"draws of {kind}", draw + 1, draws, "")
        for at, own_rows in enumerate(rows):
            steps, matters, who = zip(*own_rows, strict=True)
            found[at].append(TriedFaults(kind, draws, sum(matters), steps, matters, who))
    return [tuple(own) for own in found]


def alarm_cost(
    chip: Deployment,
    alarms: AlarmSet,
    samples: Inputs | Presented | Mapping[str, Presented] | None = None,
    *,
    threads: int | None = None,
) -> AlarmCost:
    """Work out what watchers take, on the samples that the alarms carry or others; arguments as of :func:`neurofault.watch`.

    Raises:
        UsageError: other alarms, or fewer samples than a window.
    """
    check_alarms(chip, alarms)
    inputs = as_inputs(chip, alarms.stream if samples is None else samples)
    plain = without_alarms(chip)
    trains = recorded(plain, inputs, alarms.watched(), alarms.potentials, threads)
    inputs = inputs[: trains.windows(alarms.window) * alarms.window]
    run = ExactEngine(threads).run(plain, inputs)
    own = watched(chip, alarms, trains, threads).activity
    counts = dict(run.spike_counts)
    if own is not None:
        counts |= {name: own.spike_counts[name] for name in (WATCHERS, BEATS) if name in own.spike_counts}
    before, after = cost(plain, run, len(inputs)), cost_by_place(chip, counts, len(inputs)).total
    compartments = sum(not one.spiking for one in alarms.watchers)
    table = chip.profile.costs
    update = None if table is None else table.energy.neuron_update_active.value
    energy = None
    if before.energy.value is not None and after.energy.value is not None and update is not None:
        energy = after.energy.value - before.energy.value + compartments * chip.timesteps * update
    placed = {name: chip.placement.core_of[name] for name in (WATCHERS, BEATS) if name in chip.placement.core_of}
    return AlarmCost(
        sum(map(len, placed.values())), sum(len(one.synapses.weight) for one in chip.connections if one.target == WATCHERS),
        len(np.setdiff1d(chip.placement.used_cores, plain.placement.used_cores)), compartments, before, after, energy,
    )  # fmt: skip


def _row(run: Watched, onset: int, timesteps: int, matters: bool) -> tuple[int | None, bool, tuple[str, ...]]:
    step = run.first(onset * timesteps)
    return (None, matters, ()) if step is None else (step - onset * timesteps + 1, matters, run.who(step))


def _with_beats(chip: Deployment, edits: tuple[Edit, ...], core: int) -> tuple[Edit, ...]:
    """Return what a dead core of the network takes along on a chip with alarms: the heartbeat that sits on it."""
    beats = np.flatnonzero(chip.placement.core_of.get(BEATS, np.empty(0, np.int32)) == core)
    return (*edits, Silence(BEATS, beats)) if len(beats) else edits
