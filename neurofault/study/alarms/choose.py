"""Where watchers go: greedily, each where it shows most of the faults that those before do not, window by window.

The incremental engine counts, for every fault and window, the spikes of every neuron and the scores of the outputs. From these follows for each candidate whether it alarms by
the window's end; what happens in between can only add alarms, so that the choice counts none that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.activity import DEAD_SCORE, Activity
from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines import Presented, as_inputs
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import UsageError
from neurofault.inputs import Inputs
from neurofault.numerals import plural, whole_number
from neurofault.progress import Progress, silent
from neurofault.streams import permutation_prefix, stream_key
from neurofault.study.alarms.alarm_set import HEARTBEATS, PER, AlarmSet
from neurofault.study.alarms.on_chip import check_law
from neurofault.study.alarms.thresholds import Candidates, candidates_of, order_of, rank_of, vouched
from neurofault.study.alarms.watchers import SCOPES, WATCHER_KINDS, known_words
from neurofault.study.patterns.cover import columns_of, greedy
from neurofault.study.patterns.fault_list import FaultList, single_faults
from neurofault.study.patterns.pattern_set import chip_digest

MARGIN = 1.25
"""q by which watchers are chosen, before it is known what q of the chosen ones is vouched for: a quarter beyond the largest healthy number."""
_TOGETHER = 512


@dataclass(frozen=True, eq=False)
class ChosenAlarms:
    """Alarms and how they were chosen.

    Attributes:
        alarms: the watchers.
        q: by which their thresholds are set (:mod:`neurofault.study.alarms.thresholds`).
        candidates: everybody who could have been watched.
        picked: which of them are, in the order of the choice.
        faults: how many single faults the choice was made by: those that change the class of enough of its samples.
        shown: how many of these alarm in some window by the first 1, 2 … watchers.
        windows: how many windows the choice saw.
    """

    alarms: AlarmSet
    q: float
    candidates: Candidates
    picked: tuple[int, ...]
    faults: int
    shown: tuple[int, ...]
    windows: int


def choose_alarms(
    chip: Deployment,
    samples: Inputs | Presented | Mapping[str, Presented],
    stream: Inputs | Presented | Mapping[str, Presented] | None = None,
    *,
    size: int = 8,
    window: int = 10,
    false_alarms: float = 20.0,
    watchers: Sequence[str] = WATCHER_KINDS,
    scopes: Sequence[str] = SCOPES,
    populations: Sequence[str] | None = None,
    faults: Sequence[str] = ("core_dead", "neuron_dead"),
    critical: int = 1,
    most: int = 2000,
    windows: int = 10,
    heartbeat: str = "watchers",
    labels: NDArray[np.integer] | None = None,
    placement: str = "greedy",
    seed: int = 1,
    data: str = "samples",
    threads: int | None = None,
    progress: Progress = silent,
) -> ChosenAlarms:
    """Choose whom to watch on a healthy chip, and at what its watchers alarm.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.random.default_rng(1).random((400, 4, 2)) < 0.5)
    >>> found = choose_alarms(chip, shown, window=10, false_alarms=100, faults=["neuron_dead"])
    >>> [str(one) for one in found.alarms.watchers], found.shown[-1] == found.faults
    (['idle hands 0…1'], True)

    Args:
        chip: healthy, without alarms.
        samples: N healthy ones, as :func:`neurofault.run` takes them; half of them give scales and see the faults, the other half vouch for the thresholds.
        stream: samples that set no threshold, which the alarms carry to be tried on; None: the last tenth of ``samples``, which then does nothing else.
        size: most watchers, at least 1; fewer where more show nothing more.
        window: W, samples that a watcher takes together, at least 1.
        false_alarms: per 10,000 healthy samples, of all watchers together, at most, above 0.
        watchers: kinds of watchers (:mod:`neurofault.study.alarms.watchers`).
        scopes: whom one watcher of spikes may listen to: ``neuron``, ``core`` (those of a layer there), ``layer``.
        populations: whom they may watch; None: everybody.
        faults: kinds of single faults, as of :func:`neurofault.choose_patterns`.
        critical: of how many samples a fault changes the class to be counted in the choice; 0: all faults are.
        most: faults of each kind, keyed ones where there are more.
        windows: how many windows the choice sees, at most.
        heartbeat: which cores have a heartbeat, whose silence is an alarm: ``watchers`` (those that hold one), ``all``, ``none``.
        labels: int [N], classes: healthy samples then come class by class, in windows of one class. None: shuffled.
        placement: ``greedy``, or ``random``: as many candidates as they come, a control.
        seed: key of the order of samples, of faults that are left out, and of the random placement.
        data: where the samples are from, in words, for the file.
        threads: worker threads; None: one for each usable core.
        progress: called as work goes on.

    Raises:
        UsageError: no neuron fires, a window longer than the data or than a watcher counts, too few samples for so few false alarms, no fault that matters,
            no such kind or population, a number out of range, or a damaged chip.
        UnsupportedError: neurons of the chip have another law than Loihi's, or the samples are one stream.
    """
    seed = whole_number(seed, "seed")
    check_law(chip)
    kinds, around = known_words("watcher", watchers, WATCHER_KINDS), known_words("scope", scopes, SCOPES)
    beats = known_words("heartbeat", [heartbeat], HEARTBEATS)[0]
    names = tuple(one.name for one in chip.populations) if populations is None else tuple(populations)
    for name in names:
        chip.population(name)
    _check({"size": size, "window": window, "most": most, "windows": windows}, critical, false_alarms, placement, chip)
    every = as_inputs(chip, samples)
    if labels is not None and np.shape(labels) != (len(every),):
        raise UsageError(f"labels have the shape {np.shape(labels)}, but there are {plural(len(every), 'sample')}")
    kept = len(every) if stream is not None else len(every) - max(window, len(every) // 10)
    trial = every[max(kept, 0) :] if stream is None else as_inputs(chip, stream)
    order = order_of(max(kept, 0), seed, None if labels is None else np.asarray(labels)[: max(kept, 0)], window)
    middle = len(order) // (2 * window) * window
    scales, vouching = every.take(order[:middle]), every.take(order[middle:])
    if not middle or len(trial) < window:
        raise UsageError(
            f"a window of {plural(window, 'sample')} is longer than the data: {len(every):,} samples are for scales, for vouching and to be tried on"
        )
    rank_of((len(order) - middle) // window, window, false_alarms)
    found = candidates_of(chip, scales, kinds, around, names, window, threads)
    listed = single_faults(chip, faults)
    seen, matters, many = _seen(chip, found, listed, scales, window, windows, critical, most, seed, threads, progress)
    rows = seen[:, matters].reshape(-1, len(found))
    if placement == "random":
        key = stream_key(seed, "alarms", "random")
        picked = tuple(permutation_prefix(key, len(found), min(size, len(found))).tolist())
    else:
        picked = greedy(columns_of(np.packbits(rows, axis=1), len(found)), len(rows), size).samples
    if not picked:
        raise UsageError(
            f"no watcher shows any of {plural(int(matters.sum()), 'fault')} in {plural(many, 'window')} of {plural(window, 'sample')}: a longer window, other kinds of watchers or more samples"
        )
    chosen = found.taken(picked)
    q, number = vouched(chip, vouching, chosen, window, false_alarms, threads)
    shown = tuple(int(seen[:, matters][:, :, list(picked[: at + 1])].any(axis=(0, 2)).sum()) for at in range(len(picked)))
    alarms = AlarmSet(
        chip.name, chip_digest(chip), chosen.watchers(q), window, chip.timesteps, beats, float(false_alarms), number, labels is not None, data, trial,
    )  # fmt: skip
    return ChosenAlarms(alarms, q, found, picked, int(matters.sum()), shown, many)


def _check(from_1: Mapping[str, int], critical: int, false_alarms: float, placement: str, chip: Deployment) -> None:
    for name, number in from_1.items():
        if number < 1:
            raise UsageError(f"{name} must be at least 1, is {number}")
    if critical < 0:
        raise UsageError(f"critical must be at least 0, is {critical}")
    if not 0 < false_alarms <= PER:
        raise UsageError(f"false_alarms must be above 0 and at most {PER:,}, is {false_alarms:g}")
    if placement not in ("greedy", "random"):
        raise UsageError(f"no placement {placement!r} of watchers; there are: greedy, random")
    if chip.damage.edits:
        raise UsageError(
            f"alarms are chosen on a healthy chip; this one is damaged already ({plural(len(chip.damage.edits), 'edit')})"
        )


def _seen(
    chip: Deployment, found: Candidates, listed: FaultList, inputs: Inputs, window: int, windows: int, critical: int, most: int, seed: int,
    threads: int | None, progress: Progress,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], int]:  # fmt: skip
    """Return which candidates surely alarm, bool [windows, F, C], by which faults, which of these matter, bool [F], and how many windows there are."""
    which = np.concatenate([
        listed.first[part] + np.sort(permutation_prefix(stream_key(seed, "alarms", "faults", part), count, min(count, most)))
        for part, count in enumerate(np.diff(listed.first).tolist())
    ])  # fmt: skip
    number = min(windows, len(inputs) // window)
    broken = [chip.with_damage(Damage(listed.edits(int(at)))) for at in which]
    alarmed, changed = np.zeros((number, len(which), len(found)), bool), np.zeros(len(which), np.int64)
    thresholds, engine, places = found.thresholds(MARGIN), IncrementalEngine(threads), found.places(chip)
    for at in range(number):
        own = inputs[at * window : (at + 1) * window]
        healthy = engine.run(chip, own).predictions
        for start in range(0, len(broken), _TOGETHER):
            for fault, run in enumerate(engine.run_many(broken[start : start + _TOGETHER], own), start):
                alarmed[at, fault] = at_least(chip, found, places, run, window) > thresholds
                changed[fault] += int((run.predictions != healthy).sum())
            progress("faults seen", at * len(broken) + min(start + _TOGETHER, len(broken)), number * len(broken), "")
    matters = changed >= critical
    if not matters.any():
        raise UsageError(
            f"nothing to watch for: none of {plural(len(which), 'single fault')} ({' and '.join(listed.kinds)}) changes the class of {critical:,} or more of {plural(number * window, 'sample')}"
        )
    return alarmed, matters, number


def at_least(
    chip: Deployment, found: Candidates, places: tuple[NDArray[np.int64], NDArray[np.int64]], run: Activity, window: int
) -> NDArray[np.int64]:
    """Return what the numbers of a window are at least, int64 [C], from the counts of spikes and the scores of its samples; ``places``: of the candidates."""
    steps = window * chip.timesteps
    every, starts = places
    counts = np.add.reduceat(np.concatenate([run.spike_counts[one.name] for one in chip.populations])[every], starts)
    scores = np.where(run.scores == DEAD_SCORE, 0, run.scores) if chip.readout.how == "potential" else None
    dead = (run.scores == DEAD_SCORE).all(axis=0)
    numbers = np.full(len(found), np.iinfo(np.int64).min)
    for k, kind in enumerate(found.kinds):
        own = np.flatnonzero(found.kind == k)
        first = found.first[own]
        match kind:
            case "busy":
                numbers[own] = found.weight[own] * counts[own]
            case "idle":
                numbers[own] = np.maximum(-(-(found.bias[own] * steps - 64 * found.weight[own] * counts[own]) // 64), 0)
            case "silence":
                numbers[own] = np.where(counts[own] == 0, steps, 0)
            case "above" if scores is not None:
                numbers[own] = scores.max(axis=0)[first]
            case "below" if scores is not None:
                numbers[own] = -scores.min(axis=0)[first]
            case "still":
                numbers[own] = np.where(dead[first], 0, numbers[own])
            case _:
                pass
    return numbers
