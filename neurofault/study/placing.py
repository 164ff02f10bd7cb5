"""Placement for damage: fewest hops of the measured traffic, and the least loss when k cores die, weighed against each other.

    objective = (1 − damage) · hops / hops of the start + damage · worst loss / worst loss of the start

Spikes are measured on samples. The annealing (:mod:`neurofault.deploy.annealed`) moves parts of populations between as many cores as the start has, and
believes of the loss of a core what it can sum up: of each population but the readout the shares that die of what it sends (spikes × the weights that
carry them) when a class is shown, of each of its maps, and of each part of the image, squared, since what is left stands in for little; of the
readout the share of its neurons, for nothing stands in for them. What is believed of each population is scaled by what its cores cost at the start, measured. What is found, for several weights of that belief, is then measured: every core
in use dies once, all samples are run. The best measured placement is kept, and that is the start where nothing is better.

Traffic and mapping alone is what SpiNeMap (Balaji et al. 2020, IEEE TVLSI 28(1): partition by a greedy Kernighan–Lin, then cores placed by particle swarm) and
SENMap (Nembhani et al. 2025, IJCNN, arXiv:2506.03450: several objectives, heuristic search) do; neither asks what dies with a core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neurofault.data.splits import DataSet
from neurofault.deploy.anneal_words import ANNEAL, Annealing
from neurofault.deploy.annealed.search import Harm, Search, believed_worst, hops_of
from neurofault.deploy.deployment import Deployment, Placement
from neurofault.engines import Presented, as_inputs, run
from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.errors import UsageError
from neurofault.faults import inject
from neurofault.faults.cores import CoreDead
from neurofault.faults.importance import neuron_scores
from neurofault.graph.network import samples_apart
from neurofault.inputs import Inputs
from neurofault.numerals import whole_number
from neurofault.progress import Progress, silent
from neurofault.study.shown import shown

MOVES = 200_000
"""Moves that are tried, unless said."""

COUNTED, CHECKED = 64, 200
"""Of a data set so many training samples count spikes, so many validation samples measure dead cores."""

_TOGETHER = 16
"""Chips that are run at a time; a healthy run is shared by all."""

_LEAST = 0.1
"""What is believed of a population is not scaled by less."""

_REGIONS = 4
"""Parts of an image along each side."""


@dataclass(frozen=True, eq=False)
class DeadCores:
    """What a healthy chip loses with its cores.

    Attributes:
        cores: int64 [S], in use.
        losses: float64 [S], share of the samples that are answered wrong once this core alone is dead, less that of the healthy chip.
        worst: cores, the worst one, then the one that is worst beside it, and so on, k of them.
        loss: when all of ``worst`` are dead, at least 0; of k > 1 cores a lower bound of the worst.
    """

    cores: NDArray[np.int64]
    losses: NDArray[np.float64]
    worst: tuple[int, ...]
    loss: float


@dataclass(frozen=True, eq=False)
class Rated:
    """A placement and what it is worth.

    Attributes:
        name: ``start``, or ``anneal`` and the weight of the believed damage in its search.
        chip: healthy, so placed.
        hops: of all messages, a sample's mean, from chip to chip too.
        dead: what its cores cost when they die; None where damage does not count.
        objective: 1 at the start where traffic and damage can both be lowered.
    """

    name: str
    chip: Deployment
    hops: float
    dead: DeadCores | None
    objective: float

    @property
    def loss(self) -> float:
        """Of the worst cores; 0 where damage does not count."""
        return 0.0 if self.dead is None else self.dead.loss


@dataclass(frozen=True, eq=False)
class FoundPlacement:
    """What a search found.

    Attributes:
        start: the placement that it began with.
        tried: what was measured, the start first.
        best: of the least objective; of equal ones the first.
        healthy: accuracy of the healthy chip on the samples on which losses are measured; None where damage does not count.
        damage, k: what was asked for.
    """

    start: Rated
    tried: tuple[Rated, ...]
    best: Rated
    healthy: float | None
    damage: float
    k: int

    @property
    def placement(self) -> Placement:
        """The best, as :func:`neurofault.deploy` takes it."""
        return self.best.chip.placement

    @property
    def chip(self) -> Deployment:
        """The healthy chip, so placed."""
        return self.best.chip


def search_placement(
    chip: Deployment,
    x: Inputs | Presented | Mapping[str, Presented],
    y: NDArray[np.integer] | None = None,
    *,
    check: tuple[Inputs | Presented | Mapping[str, Presented], NDArray[np.integer]] | None = None,
    damage: float = 0.5,
    k: int = 1,
    moves: int = MOVES,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
) -> FoundPlacement:
    """Search for a placement of fewer hops and of a lower worst loss of k dead cores, on no more cores than the chip uses.

    A core holds no more neurons than the fullest does at the start, and no more of any resource than the profile gives it; neurons of several
    populations may share one. Spikes, and so answers, are those of the start.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (4,), nf.Source()), nf.Population("hands", (4,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(4) * 2)], timesteps=4, how="count"), neurons_per_core=2, strategy="spread")
    >>> shown = nf.Spikes.dense(np.repeat(np.eye(4, dtype=int)[:, None], 4, axis=1))
    >>> found = search_placement(chip, shown, np.arange(4), damage=0.25, moves=2000)
    >>> found.best.hops < found.start.hops, found.best.loss <= found.start.loss
    (True, True)

    Args:
        chip: healthy, placed by ``pack``, ``spread`` or ``random``: where the search starts, and what it must beat.
        x: samples on which spikes are counted, as :func:`neurofault.run` takes them; none that results are reported on.
        y: int [N], their labels; needed where damage counts.
        check: other samples and their labels, on which dead cores are measured; None: ``x`` and ``y``.
        damage: weight of the worst loss, 0 to 1; hops have the rest.
        k: cores that die, at least 1.
        moves: how many the annealing tries, at least 1.
        seed: key of its random numbers.
        threads: of the runs; None: one for each usable core. Results do not depend on it.
        progress: called as ``progress("placing", done, total, text)``.

    Raises:
        UsageError: an argument is out of range, there are no labels, the chip is broken, is placed by a search already, or cannot be placed so.
    """
    seed = whole_number(seed, "seed")
    _check(chip, damage, k, moves)
    if chip.placement.strategy == ANNEAL:
        raise UsageError("the chip was placed by a search already: start from pack, spread or random")
    if damage:
        samples_apart(chip, "the loss of dead cores")
    inputs = as_inputs(chip, x)
    labels = None if y is None else _labels(y, len(inputs), "y")
    if damage and labels is None:
        raise UsageError("y is missing: what dead cores cost is measured by labels; give them, or damage=0")
    spikes = run(chip, inputs, engine="exact").activity.spike_counts
    meter = None
    if damage:
        seen, truth = (inputs, labels) if check is None else (as_inputs(chip, check[0]), check[1])
        assert truth is not None
        meter = _Meter(chip, seen, _labels(truth, len(seen), "check"), k, threads)
    hops = hops_of(chip, spikes)
    begin = Rated("start", chip, hops / len(inputs), None if meter is None else meter.losses(chip), 1.0)
    tried = [_rated(begin, begin, damage)]
    weights = (0.0,) if not damage else tuple(dict.fromkeys((damage, (1 + damage) / 2, (9 + damage) / 10)))
    total = len(weights) + 1
    progress("placing", 1, total, _said(begin))
    harm = _scaled(_harm(chip, inputs, labels if damage else None, spikes), begin)
    search, loss = Search(chip, spikes, harm), believed_worst(chip.placement, harm, k)
    for weight in weights:
        found = search.run(damage=weight, k=k, seed=seed, moves=moves, hops=hops, loss=loss)
        if found is not None:
            placed = replace(chip, placement=found.placement)
            one = Rated(
                f"{ANNEAL} {weight:.3g}",
                placed,
                hops_of(placed, spikes) / len(inputs),
                None if meter is None else meter.losses(placed),
                1.0,
            )
            tried.append(_rated(one, begin, damage))
        progress("placing", min(len(tried), total), total, _said(tried[-1]))
    best = min(tried, key=lambda one: one.objective)
    return FoundPlacement(tried[0], tuple(tried), best, None if meter is None else meter.healthy, damage, k)


def placed_for(chip: Deployment, data: DataSet, how: Annealing, *, seed: int, progress: Progress) -> Deployment:
    """Return a chip placed by a search on its data set: spikes of the first training samples, dead cores on the first validation samples.

    Args:
        chip: healthy, placed by ``pack``.
        data: with labels, one a sample, where damage counts.
        how: what is lowered.
        seed: of the search.
        progress: as of :func:`search_placement`.

    Raises:
        UsageError: as of :func:`search_placement`.
    """
    train, check = (split.first(min(len(split), most)) for split, most in ((data.train, COUNTED), (data.validation, CHECKED)))
    if not how.damage:
        return search_placement(chip, shown(chip, train), damage=0.0, seed=seed, progress=progress).chip
    if train.targets is not None or train.labels.ndim != 1:
        raise UsageError(
            f"place {how}: the loss of dead cores is measured by one label a sample, which {data.name} has not; {ANNEAL}:0 lowers hops alone"
        )
    return search_placement(
        chip, shown(chip, train), train.labels, check=(shown(chip, check), check.labels), damage=how.damage, k=how.k, seed=seed,
        progress=progress,
    ).chip  # fmt: skip


def _check(chip: Deployment, damage: float, k: int, moves: int) -> None:
    if not (math.isfinite(damage) and 0 <= damage <= 1):
        raise UsageError(f"damage must lie in 0 to 1, is {damage}")
    if moves < 1:
        raise UsageError(f"moves must be at least 1, is {moves}")
    cores = len(chip.placement.used_cores)
    if not 1 <= k <= cores:
        raise UsageError(f"k must be 1 to {cores}, the cores in use, is {k}")
    if chip.damage.hits or chip.damage.edits:
        raise UsageError("the chip is broken: search a placement of the healthy one")


def _labels(y: NDArray[np.integer], samples: int, what: str) -> NDArray[np.int64]:
    labels = np.asarray(y)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (samples,):
        raise UsageError(f"{what}: labels must be {samples} whole numbers, one a sample, are {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def _said(one: Rated) -> str:
    return f"{one.name}: {one.hops:,.0f} hops" + (f", worst loss {one.loss:.1%}" if one.dead is not None else "")


def _rated(one: Rated, start: Rated, damage: float) -> Rated:
    """Return a placement with its objective."""
    hops, loss = (a / b if b else 0.0 for a, b in ((one.hops, start.hops), (one.loss, start.loss)))
    return replace(one, objective=(1 - damage) * hops + damage * loss)


def dead_cores(
    chip: Deployment,
    x: Inputs | Presented | Mapping[str, Presented],
    y: NDArray[np.integer],
    *,
    k: int = 1,
    threads: int | None = None,
) -> DeadCores:
    """Let every core in use die, one at a time, and find the k that are worst together, one after the other.

    Args:
        chip: healthy.
        x: samples, as :func:`neurofault.run` takes them.
        y: int [N], labels.
        k: cores that die, at least 1.
        threads: of the runs; None: one for each usable core. Results do not depend on it.

    Raises:
        UsageError: as of :func:`search_placement`.
    """
    _check(chip, 0.0, k, 1)
    samples_apart(chip, "the loss of dead cores")
    inputs = as_inputs(chip, x)
    return _Meter(chip, inputs, _labels(y, len(inputs), "y"), k, threads).losses(chip)


class _Meter:
    """Measures what dead cores cost on the same samples; the healthy run is shared, since a placement changes no spike."""

    def __init__(self, chip: Deployment, inputs: Inputs, labels: NDArray[np.int64], k: int, threads: int | None) -> None:
        self._inputs, self._labels, self._k, self._engine = inputs, labels, k, IncrementalEngine(threads)
        self.healthy = float(run(chip, inputs, labels).accuracy or 0.0)

    def losses(self, chip: Deployment) -> DeadCores:
        """Measure one placement."""
        cores = chip.placement.used_cores
        alone = self._each(chip, [(core,) for core in cores.tolist()])
        worst: tuple[int, ...] = (int(cores[alone.argmax()]),)
        loss = float(alone.max())
        while len(worst) < self._k:
            beside = [core for core in cores.tolist() if core not in worst]
            more = self._each(chip, [(*worst, core) for core in beside])
            worst, loss = (*worst, beside[int(more.argmax())]), float(more.max())
        return DeadCores(cores, alone, worst, max(0.0, loss))

    def _each(self, chip: Deployment, dead: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """Return the loss of each of several sets of dead cores."""
        found: list[float] = []
        for at in range(0, len(dead), _TOGETHER):
            hurt = [inject(chip, CoreDead(cores=cores)) for cores in dead[at : at + _TOGETHER]]
            for activity in self._engine.run_many(hurt, self._inputs):
                found.append(self.healthy - float(np.mean(activity.predictions == self._labels)))
        return np.array(found)


def _harm(chip: Deployment, inputs: Inputs, labels: NDArray[np.int64] | None, spikes: Mapping[str, NDArray[np.int64]]) -> Harm:
    """Return what the search believes of dead neurons; nothing where damage does not count."""
    if labels is None:
        return Harm({one.name: np.zeros((one.size, 0)) for one in chip.populations}, np.empty(0), np.empty(0))
    classes = np.unique(labels)
    by_class = [run(chip, inputs.take(np.flatnonzero(labels == each))).activity.spike_counts for each in classes.tolist()]
    columns: dict[str, list[NDArray[np.float64]]] = {}
    linear: list[float] = []
    square: list[float] = []
    for one in chip.populations:
        own: list[NDArray[np.float64]] = []
        if one.name == chip.readout.population:
            own.append(np.full(one.size, 1 / one.size))
            linear.append(1.0)
            square.append(0.0)
        else:
            sent = neuron_scores(chip, one.name)
            kinds = [[each[one.name] * sent for each in by_class]]
            if len(one.shape) == 3:
                whole = (spikes[one.name] * sent).reshape(one.shape)
                kinds += [_maps(whole), _regions(whole)]
            for kind in kinds:
                own += [each / each.sum() if each.sum() else each for each in kind]
                linear += [0.0] * len(kind)
                square += [1 / (len(kinds) * len(kind))] * len(kind)
        columns[one.name] = own
    shares, first = {}, 0
    for one in chip.populations:
        shares[one.name] = np.zeros((one.size, len(linear)))
        shares[one.name][:, first : first + len(columns[one.name])] = np.stack(columns[one.name], axis=1)
        first += len(columns[one.name])
    return Harm(shares, np.array(linear), np.array(square))


def _scaled(harm: Harm, start: Rated) -> Harm:
    """Return what the search believes, each population's in the measure of what its cores cost when they died at the start.

    A population whose neurons matter more than another's for the same share gets so much more weight; 0 is never believed, for few samples may show no loss.
    """
    if start.dead is None:
        return harm
    linear, square = harm.linear.copy(), harm.square.copy()
    for name, shares in harm.shares.items():
        cores, seats = np.unique(start.chip.placement.core_of[name], return_inverse=True)
        held = np.zeros((len(cores), len(linear)))
        np.add.at(held, seats.reshape(-1), shares)
        told = float((held @ harm.linear + held**2 @ harm.square).sum())
        seen = float(np.maximum(start.dead.losses[np.searchsorted(start.dead.cores, cores)], 0.0).sum())
        own = shares.any(axis=0)
        factor = max(seen / told, _LEAST) if told else 1.0
        linear[own] *= factor
        square[own] *= factor
    return Harm(harm.shares, linear, square)


def _maps(whole: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return what each map sends, flat, all else 0."""
    found = []
    for channel in range(len(whole)):
        only = np.zeros_like(whole)
        only[channel] = whole[channel]
        found.append(only.reshape(-1))
    return found


def _regions(whole: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return what each part of the image sends, flat, all else 0."""
    _, height, width = whole.shape
    rows, columns = np.arange(height) * _REGIONS // height, np.arange(width) * _REGIONS // width
    return [
        np.where((rows[:, None] == y) & (columns == x), whole, 0.0).reshape(-1)
        for y in np.unique(rows).tolist()
        for x in np.unique(columns).tolist()
    ]
