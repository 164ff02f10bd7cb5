"""How robust a network on a chip is, as one number: the area under its damage curve, with its interval.

For each draw of faults the same chip breaks further and further, the first sites of one keyed permutation each time, so that a draw is one curve::

    kept(x) = (accuracy(x) − chance) / (healthy − chance)            R = mean of kept over the grid's range, by the trapezoid rule

``x`` is the share of the sites that are dead, from 0, where nothing is lost, on a linear scale; of bits it is the decimal logarithm of the rate of flips. So R is 1 where nothing is
lost, 0 where everything is from the first fault on, and may pass both by what accuracy varies. ``chance`` is what the best constant answer reaches. R of different kinds, grids,
samples or grains of placement are different quantities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.on_torch.devices import check_device
from neurofault.errors import UsageError, nearest
from neurofault.faults import fault_from_mapping, inject
from neurofault.faults.places import core_blocks, populations_named
from neurofault.inputs import Bias, Inputs, Spikes
from neurofault.metrics import ACCURACY
from neurofault.numerals import plural, whole_number
from neurofault.plotting import axes_or_new, band
from neurofault.progress import Asked, listening
from neurofault.study.statistics import Interval, t_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES: Final = tuple(step / 8 for step in range(9))
"""Shares of the sites that are dead, unless others are asked for: 0, an eighth, … all."""
RATES: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Rates of flipped bits, unless others are asked for."""
GRIDS: Final = {"core_dead": SHARES, "neuron_dead": SHARES, "synapse_dead": SHARES, "synapse_bit_flip": RATES}
"""Kind → what it is measured at."""
_NOUNS: Final = {"core_dead": "cores", "neuron_dead": "neurons", "synapse_dead": "synapses"}


@dataclass(frozen=True, eq=False)
class Robustness:
    """The damage curves of one kind of fault.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> found = nf.robustness(chip, x, y, "synapse_dead", layer="any", grid=(0.0, 1.0), draws=2)
    >>> found.areas.tolist()
    [0.5, 0.5]

    Attributes:
        fault: kind.
        layer: whose sites break.
        grid: shares of dead sites, or rates of flipped bits, increasing.
        healthy: accuracy of the unbroken chip.
        chance: accuracy of the best constant answer.
        accuracy: float64 [draws, len(grid)].
        samples: on how many.
    """

    fault: str
    layer: str
    grid: tuple[float, ...]
    healthy: float
    chance: float
    accuracy: NDArray[np.float64]
    samples: int

    @property
    def kept(self) -> NDArray[np.float64]:
        """Return what is kept, [draws, len(grid)]: 1 where nothing is lost, 0 at chance."""
        return np.asarray((self.accuracy - self.chance) / (self.healthy - self.chance), np.float64)

    @property
    def areas(self) -> NDArray[np.float64]:
        """Return R of each draw, [draws]."""
        x = np.log10(self.grid) if GRIDS[self.fault] is RATES else np.array(self.grid)
        heights = (self.kept[:, 1:] + self.kept[:, :-1]) / 2
        return np.asarray(heights @ np.diff(x) / (x[-1] - x[0]), np.float64)

    @property
    def area(self) -> Interval:
        """Return R: the mean over draws and its interval (none of one draw)."""
        return t_interval(self.areas)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the damage curve: the mean over draws of what is kept, with its 95 % interval; the area R under it is shaded, and said in the legend.

        The scale of rates is logarithmic, as R takes them.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> found = nf.robustness(*reflex(), "synapse_dead", layer="any", grid=(0.0, 1.0), draws=2)
        >>> found.plot().lines[0].get_ydata().tolist()
        [1.0, 0.0]

        Args:
            axes: of matplotlib, to draw into; None: new ones.

        Returns:
            The axes.

        Raises:
            UsageError: matplotlib is not installed.
        """
        axes = axes_or_new(axes)
        at = [t_interval(kept) for kept in self.kept.T]
        mean = [each.mean for each in at]
        low = [each.mean if each.low is None else each.low for each in at]
        high = [each.mean if each.high is None else each.high for each in at]
        area = self.area
        ends = "" if area.low is None or area.high is None else f" [{area.low:.3f}, {area.high:.3f}]"
        axes.fill_between(self.grid, 0.0, mean, color="#999999", alpha=0.2, linewidth=0, label=f"R = {area.mean:.3f}{ends}")
        band(axes, self.grid, low, mean, high, f"{self.fault} in {self.layer}, {plural(area.n, 'draw')}")
        if GRIDS[self.fault] is RATES:
            axes.set_xscale("log")
        axes.set_xlabel(
            "rate of flipped bits" if GRIDS[self.fault] is RATES else f"share of the {_NOUNS[self.fault]} that are dead"
        )
        axes.set_ylabel("kept (1: healthy, 0: chance)")
        axes.legend()
        return axes

    def __str__(self) -> str:
        """Return one line."""
        area = self.area
        interval = "" if area.low is None or area.high is None else f" ({area.low:.3f} … {area.high:.3f})"
        over = f"{'rates' if GRIDS[self.fault] is RATES else 'shares'} {self.grid[0]:g} … {self.grid[-1]:g}"
        return f"R({self.fault}) = {area.mean:.3f}{interval} over {over} of {self.layer}, {plural(area.n, 'draw')}, {plural(self.samples, 'sample')}, healthy {self.healthy:.2%}"


def robustness(
    chip: Deployment,
    inputs: Inputs | Bias | Spikes,
    labels: ArrayLike,
    fault: str = "core_dead",
    *,
    layer: str = "hidden",
    grid: Sequence[float] | None = None,
    draws: int = 10,
    seed: int = 1,
    device: str = "cpu",
    progress: Asked = None,
) -> Robustness:
    """Measure the damage curves of one kind of fault, and so R, the area under them.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4, how="count"))
    >>> events = nf.Spikes.dense(np.repeat(np.eye(2, dtype=bool)[:, None], 4, axis=1))
    >>> print(robustness(chip, events, [0, 1], "synapse_dead", layer="any", grid=(0.0, 1.0), draws=1))
    R(synapse_dead) = 0.500 over shares 0 … 1 of any, 1 draw, 2 samples, healthy 100.00%

    Args:
        chip: the healthy chip.
        inputs: what it is shown.
        labels: int [N].
        fault: one of :data:`GRIDS`: ``core_dead``, ``neuron_dead``, ``synapse_dead`` by share, ``synapse_bit_flip`` by rate.
        layer: whose sites break, as faults name it: ``hidden``, ``any``, or a name.
        grid: at least two shares or rates, increasing, shares from 0; None: :data:`GRIDS`.
        draws: curves.
        seed: of the faults.
        device: where engine ``exact`` runs.
        progress: True: a bar; False: nothing; None: a bar in a notebook or at a prompt; or called as ``progress("robustness", runs done, all, "")``.

    Raises:
        UsageError: an unknown kind, a grid or number out of range, or a healthy chip that is no better than chance.
        FaultError: the chip has no such sites.
    """
    check_device(device)
    seed, draws = whole_number(seed, "seed"), whole_number(draws, "draws")
    points = checked_grid(fault, grid, draws)
    truth = np.asarray(labels, np.int64)

    def reached(one: Deployment) -> float:
        accuracy = run(one, inputs, truth, device=device).accuracy
        assert accuracy is not None
        return accuracy

    healthy, chance = reached(chip), ACCURACY.chance(truth)
    if healthy <= chance:
        raise UsageError(
            f"robustness: the healthy chip answers {healthy:.2%}, no better than the best constant answer ({chance:.2%}); there is nothing to lose"
        )
    accuracy = np.full((draws, len(points)), healthy)
    with listening(progress) as say:
        for number, (draw, at) in enumerate(np.ndindex(accuracy.shape), 1):
            if points[at] != 0:
                accuracy[draw, at] = reached(broken_at(chip, fault, layer, points[at], seed, draw))
            say("robustness", number, accuracy.size, "")
    return Robustness(fault, layer, points, healthy, chance, accuracy, len(truth))


def broken_at(chip: Deployment, fault: str, layer: str, point: float, seed: int, draw: int) -> Deployment:
    """Return a chip at a point of a draw's curve: that share of the cores or neurons is dead, to the nearest whole number (at least one); of synapses and bits each with that probability."""
    asked: dict[str, Any] = {"kind": fault, "layer": layer}
    if fault in ("core_dead", "neuron_dead"):
        named = populations_named(chip, layer)
        sites = len(core_blocks(chip, named)) if fault == "core_dead" else sum(chip.population(name).size for name in named)
        asked["count"] = max(1, round(point * sites))
    else:
        asked["rate"] = point
    return inject(chip, [fault_from_mapping(asked)], seed=seed, draw=draw)


def checked_grid(fault: str, grid: Sequence[float] | None, draws: int) -> tuple[float, ...]:
    """Return what damage is measured at, :data:`GRIDS` if nothing is asked for.

    Raises:
        UsageError: an unknown kind; no draws; fewer than two points, not increasing, beyond 1, or (of shares) not from 0, (of rates) not above it.
    """
    if fault not in GRIDS:
        raise UsageError(f"robustness: no damage curve of {fault!r}{nearest(fault, GRIDS)}; allowed: {', '.join(GRIDS)}")
    if draws < 1:
        raise UsageError(f"robustness: draws must be at least 1, is {draws}")
    points = GRIDS[fault] if grid is None else tuple(map(float, grid))
    said = ", ".join(f"{one:g}" for one in points) or "none"
    if len(points) < 2 or not all(after > before for before, after in pairwise(points)) or points[-1] > 1:
        raise UsageError(f"robustness: a grid is two or more increasing numbers up to 1, not {said}")
    if GRIDS[fault] is RATES and points[0] <= 0:
        raise UsageError(f"robustness: rates of {fault} lie above 0, because their scale is logarithmic; the grid is {said}")
    if GRIDS[fault] is not RATES and points[0] != 0:
        raise UsageError(f"robustness: shares of {fault} start at 0, the healthy chip; the grid is {said}")
    return points
