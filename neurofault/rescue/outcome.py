"""What came of a rescue, with the accountings of the founding paper side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurofault.brief import html_table
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError
from neurofault.frames import frame_of
from neurofault.metrics import ACCURACY, Metric
from neurofault.numerals import plural
from neurofault.plotting import COLOURS, axes_or_new
from neurofault.rescue.budget import Spent
from neurofault.rescue.detection import Detection
from neurofault.rescue.guard import Guarded
from neurofault.rescue.provision import Provision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True)
class Point:
    """One moment of a repair.

    Attributes:
        samples: shown since the first strike (or since the beginning, where nothing struck).
        strikes: damage steps that have happened.
        accuracy: on the test examples, of targets their mean squared error; None without any.
        spent: in all so far.
        what: what had just happened: ``healthy``, ``strike``, ``learn``, ``restore``, ``wait``, ``remap``, ``embryos``, ``renew``, ``test``,
            ``put back``.
        total: that ``accuracy`` is the share or the mean of: right answers, or the sum of squared errors; None: not kept.
    """

    samples: int
    strikes: int
    accuracy: float | None
    spent: Spent
    what: str
    total: int | float | None = None


@dataclass(frozen=True, eq=False)
class Rescued:
    """A repaired chip and its history.

    >>> import neurofault as nf
    >>> from neurofault.examples import reflex
    >>> chip, x, y = reflex()
    >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
    >>> done = nf.rescue(hurt, x, y, strategy="none", test=(x, y))
    >>> done.worst, done.final
    (0.5, 0.5)

    Attributes:
        deployment: the chip in the end.
        points: what was seen on the way, in order; the first is the healthy chip.
        spent: in all.
        cycle: samples of a cycle.
        samples_learned: samples shown while the chip learned.
        samples_since_strike: of these, those after the last strike.
        steps: damage steps.
        provision: what learning takes from the chip; None: nothing learned.
        notes: what else must be known.
        guarded: what the guard did; None: nothing was held back.
        metric: what is called accuracy.
        scale: beside what a loss is small or large (:meth:`neurofault.metrics.Metric.scale`).
        detection: what a test found and what was moved; None: the strategy does not test.
    """

    deployment: Deployment
    points: tuple[Point, ...]
    spent: Spent
    cycle: int
    samples_learned: int
    samples_since_strike: int
    steps: int
    provision: Provision | None
    notes: tuple[str, ...]
    guarded: Guarded | None = None
    metric: Metric = ACCURACY
    scale: float = 1.0
    detection: Detection | None = None

    def __repr__(self) -> str:
        seen = [self.metric.shown(value) for value in (self.points[0].accuracy, self.worst, self.final) if value is not None]
        how = f"{self.metric.words} {seen[0]} healthy, {seen[1]} at worst, {seen[2]} in the end; " if len(seen) == 3 else ""
        return f"Rescued({self.deployment.name!r}: {how}{self.cycles_total:.2f} cycles of {plural(self.cycle, 'sample')}, {self.spent.writes:,.0f} writes)"

    def _repr_html_(self) -> str:
        """Return what was seen on the way, as notebooks show it."""
        rows = [
            (
                point.what,
                f"{point.samples:,}",
                "–" if point.accuracy is None else self.metric.shown(point.accuracy),
                f"{point.spent.writes:,}",
            )
            for point in self.points
        ]
        return html_table(repr(self), ("what", "samples", self.metric.words, "writes"), rows)

    def table(self) -> DataFrame:
        """Return one row a look at the chip, in order; the first is the healthy chip.

        Columns: ``samples`` (shown since the first strike), ``cycles`` (the same in passes over the adapt set), ``strikes``, ``what`` (see
        :class:`Point`), ``accuracy`` (0 to 1; missing where no test examples were given) or ``mean_squared_error``; and what was spent up to then
        (:class:`neurofault.rescue.budget.Spent`): ``samples_shown``, ``updates``, ``writes``, ``axon_updates``, ``spikes``,
        ``synaptic_operations``, ``host_bytes``, ``energy_joule`` and ``time_second``, these two by the profile's default table (missing where it does not know them).

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
        >>> done = nf.rescue(hurt, x, y, strategy="none", test=(x, y))
        >>> done.table()["accuracy"].tolist()
        [1.0, 0.5]

        Raises:
            UnsupportedError: pandas is not installed.
        """
        table = self.deployment.profile.default_energy
        columns = {name.replace("accuracy", self.metric.key): kind for name, kind in _COLUMNS.items()}
        return frame_of(columns, [self.metric.named(_look(point, self.cycle, table)) for point in self.points])

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw what was seen on the way: accuracy in percent, or the mean squared error, over cycles since the first strike; each strike is a dotted line.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
        >>> done = nf.rescue(hurt, x, y, strategy="none", test=(x, y))
        >>> done.plot().lines[0].get_ydata().tolist()
        [100.0, 50.0]

        Args:
            axes: of matplotlib, to draw into; None: new ones.

        Returns:
            The axes.

        Raises:
            UsageError: matplotlib is not installed, or no look measured anything, as without ``test=``.
        """
        points = [point for point in self.points if point.accuracy is not None]
        if not points:
            raise UsageError("nothing to draw: no test examples were given (test=), so no look says how good the chip was")
        axes = axes_or_new(axes)
        times = 1 if self.metric.lower else 100
        cycles = [point.samples / self.cycle for point in points]
        axes.plot(
            cycles, [times * (point.accuracy or 0.0) for point in points], marker="o", color=COLOURS[0], label=self.metric.words
        )
        first = "strike"
        for at in [point.samples / self.cycle for point in self.points if point.what == "strike"]:
            axes.axvline(at, color="#777777", linewidth=1, linestyle=":", label=first)
            first = "_"
        if self.points[0].what == "healthy" and self.points[0].accuracy is not None:
            axes.axhline(times * self.points[0].accuracy, color="#777777", linewidth=1, linestyle="--", label="healthy")
        axes.set_xlabel(f"cycles since the first strike (a cycle: {plural(self.cycle, 'sample')})")
        axes.set_ylabel(self.metric.words + ("" if self.metric.lower else " (%)"))
        axes.legend()
        return axes

    @property
    def cycles_total(self) -> float:
        """Cycles of learning in all."""
        return self.samples_learned / self.cycle

    @property
    def cycles_after_last_damage(self) -> float:
        """Cycles of learning after the last strike (in all, where nothing struck)."""
        return self.samples_since_strike / self.cycle

    @property
    def cycles_per_step(self) -> float:
        """Cycles of learning for each damage step."""
        return self.cycles_total / max(1, self.steps)

    @property
    def final(self) -> float | None:
        """Accuracy in the end, or mean squared error."""
        return self.points[-1].accuracy

    @property
    def worst(self) -> float | None:
        """Lowest accuracy from the first strike on, or largest error."""
        known = [point.accuracy for point in served(self.points) if point.accuracy is not None]
        return self.metric.worst(known) if known else None

    def mean_served(self, horizon: int) -> float | None:
        """Return the mean accuracy of an answer from the first strike to ``horizon`` samples later (availability).

        Between two looks the accuracy is taken to change linearly, at a strike and at a remap it jumps, after the last look it stays.

        >>> import neurofault as nf
        >>> from neurofault.examples import reflex
        >>> chip, x, y = reflex()
        >>> hurt = nf.inject(chip, nf.faults.NeuronDead(count=1, layer="hands"), seed=1)
        >>> done = nf.rescue(hurt, x, y, strategy="none", test=(x, y))
        >>> done.mean_served(10)
        0.5

        Args:
            horizon: in samples; at least what the rescue has shown, else that is taken.
        """
        return mean_served(self.points, horizon)


_COUNTS = ("updates", "writes", "axon_updates", "spikes", "synaptic_operations", "host_bytes")
_COLUMNS = {
    "samples": int, "cycles": float, "strikes": int, "what": str, "accuracy": float, "samples_shown": int, **dict.fromkeys(_COUNTS, int),
    "energy_joule": float, "time_second": float,
}  # fmt: skip


def _look(point: Point, cycle: int, table: str | None) -> dict[str, int | float | str | None]:
    spent = point.spent
    return {
        "samples": point.samples, "cycles": point.samples / cycle, "strikes": point.strikes, "what": point.what,
        "accuracy": point.accuracy, "samples_shown": spent.samples, **{name: getattr(spent, name) for name in _COUNTS},
        "energy_joule": spent.joules(table), "time_second": spent.seconds(table),
    }  # fmt: skip


SHAM_LOSS = 0.003
"""Accuracy that learning may cost a healthy chip before it is said; of errors, as a share of chance."""

SHAM_GAIN = 0.01
"""Likewise what learning may gain on a healthy chip before it is said that this is no repair."""


def sham_notes(done: Rescued) -> tuple[str, ...]:
    """Return a note where learning cost a chip without damage more than :data:`SHAM_LOSS`; none where nothing was measured."""
    healthy = done.points[0].accuracy
    return () if healthy is None or done.final is None else sham_warning(healthy, done.final, metric=done.metric, scale=done.scale)


def sham_warning(
    healthy: float, final: float, learner: str | None = None, *, metric: Metric = ACCURACY, scale: float = 1.0
) -> tuple[str, ...]:
    """Return what must be said of a sham control: nothing, that learning alone costs more than :data:`SHAM_LOSS`, or that it gains more than :data:`SHAM_GAIN`.

    Args:
        healthy: accuracy before, 0 to 1, or error.
        final: after learning without damage; a mean over draws where a learner is named.
        learner: None: this is one run of a learner.
        metric: what is measured.
        scale: beside what a loss is small or large.
    """
    lost = metric.loss(healthy, final)
    ends = f"({metric.shown(healthy)} to {metric.shown(final)})"
    if lost < -SHAM_GAIN * scale - 1e-12:
        gain = (
            f"answers with a {metric.words} smaller by {-lost:.3g} {ends}"
            if metric.lower
            else f"gains {-100 * lost:.1f} points {ends}"
        )
        return (
            f"sham: a healthy chip {gain} by learning alone; so much of what a repair brings back is no repair"
            if learner is None
            else f"learner {learner!r} improves a healthy chip, too: its sham control {gain}; so much of what it brings back is no repair",
        )
    if lost <= SHAM_LOSS * scale + 1e-12:
        return ()
    loss = f"answers with a {metric.words} larger by {lost:.3g} {ends}" if metric.lower else f"loses {100 * lost:.1f} points {ends}"
    return (
        f"sham: a healthy chip {loss} by learning alone"
        if learner is None
        else f"learner {learner!r} harms a healthy chip: its sham control {loss}",
    )


def served(points: Sequence[Point]) -> Sequence[Point]:
    """Return the points from the first strike on; all of them where nothing struck."""
    struck = [at for at, point in enumerate(points) if point.what == "strike"]
    return points[struck[0] :] if struck else points


def mean_served(points: Sequence[Point], horizon: int) -> float | None:
    """Return the mean accuracy of an answer from the first strike to ``horizon`` samples later; see :meth:`Rescued.mean_served`."""
    seen = served(points)
    if not seen or any(point.accuracy is None for point in seen):
        return None
    accuracies = [point.accuracy or 0.0 for point in seen]
    area, last = 0.0, seen[-1].samples
    for before, after, low, high in zip(seen, seen[1:], accuracies, accuracies[1:], strict=False):
        area += (after.samples - before.samples) * (low + high) / 2
    end = max(horizon, last - seen[0].samples)
    area += (seen[0].samples + end - last) * accuracies[-1]
    return area / end if end else accuracies[-1]
