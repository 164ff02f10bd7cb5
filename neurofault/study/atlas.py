"""The atlas: what every single site of a chip does to every test image; a table a site, a table of changed predictions.

A site is one stored synapse, one bit of it, a neuron or a core. What the incremental engine follows is followed from one healthy run,
many sites in a pass over the images; sites that reach a loop, and networks whose steps or targets are to be answered, run once for each site. Only answers that change are kept, so memory does not grow with sites × images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.deploy.deployment import Deployment
from neurofault.engines import check_expected, expected_of
from neurofault.engines.incremental.golden import MOST_ANSWERS, Changes, golden
from neurofault.engines.incremental.limits import refusal
from neurofault.engines.on_torch.devices import CPU
from neurofault.errors import UnsupportedError, UsageError, nearest
from neurofault.graph.network import samples_apart
from neurofault.inputs import Inputs
from neurofault.metrics import Expected, Metric
from neurofault.numerals import plural
from neurofault.plotting import axes_or_new
from neurofault.study.atlas_follow import follow
from neurofault.study.atlas_runs import answers_of, by_runs
from neurofault.study.atlas_sites import KINDS, Kind, all_sites

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Atlas:
    """Every site of one kind.

    Attributes:
        kind: of the fault.
        layers: names of the chip's layers; of synapses of what is no chain, of its connections.
        samples: N, number of images.
        healthy_total: images that the healthy chip classifies as labelled, or steps; of targets the sum of squared errors.
        sites: by name of :data:`COLUMNS`, int64 [F]: where the site is; ``changed``: images whose prediction it
            changes, or steps whose answer, or samples whose squared error; ``correct``: change in the number of images classified as labelled, or of
            steps; of targets in its place ``squared_error``, float64 [F], change in the sum of squared errors.
        changes: every changed prediction; None if they were not asked for.
        predictions: int64 [N], what the healthy chip answers, or [N, T] of steps; of targets float64 [N], the squared error of each sample.
        metric: what is measured.
        number: by which a total is divided.
        whole: sites for which all of the network ran; the others were followed as differences, loops and what lies behind them run where anything reached them.
    """

    kind: Kind
    layers: tuple[str, ...]
    samples: int
    healthy_total: int | float
    sites: dict[str, NDArray[np.generic]]
    changes: Changes | None
    predictions: NDArray[np.generic]
    metric: Metric
    number: int
    whole: int

    __repr__ = brief

    def __len__(self) -> int:
        return len(self.sites["layer"])

    @property
    def healthy(self) -> float:
        """Accuracy of the healthy chip, or its mean squared error."""
        return self.healthy_total / self.number

    @property
    def accuracy_change(self) -> NDArray[np.float64]:
        """Float64 [F]: accuracy, or mean squared error, with the fault less the healthy one."""
        return np.asarray(self.sites[self.metric.stored], np.float64) / self.number

    def most_critical(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of the sites that cost most: by images lost, then by predictions changed, then in order."""
        worst = np.asarray(self.sites[self.metric.stored], np.float64) * (-1 if self.metric.lower else 1)
        changed = np.asarray(self.sites["changed"], np.int64)
        return np.asarray(np.lexsort((np.arange(len(self)), -changed, worst))[:count], np.int64)


def atlas(
    deployment: Deployment,
    inputs: Inputs,
    labels: Expected,
    kind: Kind,
    *,
    unit: float | None = None,
    layer: str = "any",
    changes: bool = True,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: Path | None = None,
    device: str = CPU,
) -> Atlas:
    """Follow every site of a kind over every image.

    Args:
        deployment: the healthy chip.
        inputs: N encoded samples.
        labels: int [N], or of every step, [N, T]; with ``unit`` targets, [N, K] or [N, T, K].
        kind: one of :data:`neurofault.study.atlas_sites.KINDS`.
        unit: of targets, as of :func:`neurofault.run`; None: of labels.
        layer: which layers' sites are meant, as faults name them: ``any``, ``hidden``, ``input``, ``hidden1`` …, ``output``, or a name; of
            synapses their target's, or a connection's.
        changes: whether to keep which predictions change.
        threads: worker threads; None: one for each usable core.
        progress: called as ``progress(done, all)``, of images times batches of sites, or of sites where the network runs once for each.
        keep: folder in which what is followed is kept, batch by batch, so that a run that was broken off goes on there; None: nowhere. What runs once for
            each site is not kept. :func:`neurofault.study.atlas_follow.forget` empties it.
        device: where the network runs for what is not followed, as of :func:`neurofault.run`; differences are followed on the CPU.

    Raises:
        FaultError: no such layer.
        UsageError: no such kind, or a layer without such sites; labels or targets that do not fit; the chip is protected.
        UnsupportedError: the samples are one stream, or there are more than 32,768 outputs.
    """
    if kind not in KINDS:
        raise UsageError(f"no atlas of {kind!r}; kinds: {', '.join(KINDS)}{nearest(kind, KINDS)}")
    expected, metric = expected_of(deployment, labels, unit)
    check_expected(deployment, inputs, expected)
    assert metric is not None
    samples_apart(deployment, "an atlas")
    if deployment.protection.reads_otherwise:
        raise UsageError("an atlas is of single faults on the chip without protection, of which a protected one shows what is left")
    if deployment.output.size > MOST_ANSWERS:
        raise UnsupportedError(
            f"an atlas keeps answers in 16 bits; layer {deployment.output.name!r} has {deployment.output.size:,} outputs"
        )
    number = metric.number(expected)
    places = all_sites(deployment, kind, layer)
    names = metric.stored
    if metric.lower or metric.of_steps or refusal(deployment) is not None:
        columns, kept, seen, ran = by_runs(
            deployment, inputs, expected, metric, places, changes=changes, threads=threads, device=device, progress=progress
        )  # fmt: skip
        answers = answers_of(seen, expected, metric)
        return Atlas(
            kind,
            places.layers,
            len(inputs),
            metric.total(seen, expected),
            {**places.columns, **columns},
            kept,
            answers,
            metric,
            number,
            ran,
        )
    whole, labelled = golden(deployment, inputs, threads=threads), np.asarray(expected, np.int64)
    found = follow(whole, places, labelled, changes=changes, threads=threads, progress=progress, keep=keep)
    changed, correct = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
    changed[found.sites], correct[found.sites] = found.changed, found.correct
    lists = [] if found.changes is None else [(found.sites, found.changes)]
    left = np.setdiff1d(np.arange(len(places)), found.sites)
    ran = 0
    if left.size:
        columns, others, _, ran = by_runs(
            deployment, inputs, expected, metric, places.chosen(left), changes=changes, threads=threads, device=device, progress=progress
        )  # fmt: skip
        changed[left], correct[left] = columns["changed"], columns[names]
        lists += [] if others is None else [(left, others)]
    table: dict[str, NDArray[np.generic]] = {**places.columns, "changed": changed, names: correct}
    healthy = int(np.count_nonzero(whole.predictions == labelled))
    every = _together(lists) if changes else None
    return Atlas(kind, places.layers, len(inputs), healthy, table, every, whole.predictions, metric, number, ran)


def _together(lists: list[tuple[NDArray[np.int64], Changes]]) -> Changes:
    """Put lists of changes into one, by site, then sample; each comes with the sites that its numbers mean."""
    sites = np.concatenate([which[own.faults] for which, own in lists])
    samples = np.concatenate([own.samples for _, own in lists])
    answers = np.concatenate([own.predictions for _, own in lists])
    order = np.lexsort((samples, sites))
    return Changes(sites[order].astype(np.int32), samples[order], answers[order])


def write_parquet(found: Atlas, folder: Path) -> tuple[Path, ...]:
    """Write ``sites.parquet`` (one row a site) and, if changes were kept, ``changes.parquet`` (one row a changed prediction).

    A site's prediction of an image that ``changes`` does not name is the healthy one, in ``healthy.parquet``. Of labels of steps ``step`` stands beside
    ``image`` there; of targets ``squared_error`` (of a sample, a sum) in the place of ``prediction``, and in ``sites`` also in that of ``correct``.

    Raises:
        UsageError: pyarrow is not installed, or the folder cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError("an atlas is written with pyarrow, which is not installed: pip install pyarrow") from error
    names = np.array(found.layers)
    tables = {
        "sites": {
            "site": np.arange(len(found)),
            **found.sites,
            "layer": names[np.asarray(found.sites["layer"], np.int64)],
            f"{found.metric.key}_change": found.accuracy_change,
        },
        "healthy": _of_steps(found.predictions, found),
    }
    if found.changes is not None:
        kept = found.changes
        steps = {} if kept.steps is None else {"step": kept.steps}
        tables["changes"] = {"site": kept.faults, "image": kept.samples, **steps, _answer(found): kept.predictions}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, columns in tables.items():
            path = folder / f"{name}.parquet"
            part = path.with_name(path.name + ".part")
            parquet.write_table(pa.table(columns), part, compression="zstd")
            part.replace(path)
            paths.append(path)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    return tuple(paths)


def _answer(found: Atlas) -> str:
    """Return how the column of answers is called."""
    return "squared_error" if found.metric.lower else "prediction"


def _of_steps(answers: NDArray[np.generic], found: Atlas) -> dict[str, NDArray[np.generic]]:
    """Return the columns of the healthy answers: one row an image, or of answers of steps one row a step."""
    at = np.indices(answers.shape).reshape(answers.ndim, -1)
    return {**dict(zip(("image", "step"), at, strict=False)), _answer(found): answers.ravel()}


def picture(found: Atlas, path: Path) -> None:
    """Draw :func:`draw` into a file.

    Raises:
        UsageError: matplotlib is not installed, or the file cannot be written.
    """
    figure = draw(found).figure
    try:
        figure.savefig(path, dpi=150)  # type: ignore[union-attr]  # axes that draw() makes have a whole figure
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def draw(found: Atlas, axes: Axes | None = None) -> Axes:
    """Draw how many predictions each site changes: sites by layer, the critical ones first, on logarithmic axes.

    Args:
        found: the atlas.
        axes: to draw into; None: those of a new figure.

    Raises:
        UsageError: matplotlib is not installed.
    """
    axes = axes_or_new(axes)
    changed, layer = (np.asarray(found.sites[name], np.int64) for name in ("changed", "layer"))
    what = "squared errors" if found.metric.lower else "predictions"
    for index in np.unique(layer):
        own = np.sort(changed[layer == index])[::-1]
        axes.plot(np.arange(1, len(own) + 1), own, label=f"{found.layers[index]} ({plural(len(own), 'site')})")
    axes.set(
        xscale="log",
        yscale="symlog",
        xlabel="rank of the site",
        ylabel=f"{what} changed, of {found.predictions.size:,}",
        title=found.kind,
    )
    axes.set_ylim(bottom=0)
    axes.legend()
    return axes
