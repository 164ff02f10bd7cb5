"""The figures, one after the other, into a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from neurofault.errors import UsageError, nearest
from neurofault.papers.rescue2019.bases import one_thread
from neurofault.papers.rescue2019.cnn import cnn
from neurofault.papers.rescue2019.fig1 import fig1
from neurofault.papers.rescue2019.fig2 import fig2
from neurofault.papers.rescue2019.fig3 import fig3
from neurofault.papers.rescue2019.fig4 import fig4
from neurofault.papers.rescue2019.journal import Journal
from neurofault.papers.rescue2019.output import Figure, write
from neurofault.papers.rescue2019.pictures import Painter, check_drawing, draw
from neurofault.papers.rescue2019.setting import FULL, Separate, Setting, Study
from neurofault.progress import Progress

FIGURES: Mapping[str, Callable[[Study], Figure]] = {"fig1": fig1, "fig2": fig2, "fig3": fig3, "fig4": fig4}

SEPARATE: Mapping[str, Callable[[Separate], Figure]] = {"cnn": cnn}
"""Figures that ``all`` leaves out: each trains a large network of its own."""


def figures_named(name: str, known: Collection[str] = FIGURES, apart: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of the figures that one of their names, or ``all``, means.

    Args:
        name: one of ``known``, or ``all``.
        known: the figures that there are.
        apart: those that there are besides, made by another function; only for the message.

    Raises:
        UsageError: neither.
    """
    if name == "all":
        return tuple(known)
    if name not in known:
        allowed = (*known, "all", *apart)
        raise UsageError(f"no figure {name!r}; figures: {', '.join(allowed)}{nearest(name, allowed)}")
    return (name,)


def folder_for(out: Path) -> Path:
    """Make the folder that figures are written to.

    Raises:
        UsageError: it cannot be made, or nothing can be drawn.
    """
    check_drawing()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from error
    return out


def published(figure: Figure, out: Path, painters: Mapping[str, tuple[Painter, float]] | None = None) -> Figure:
    """Write a figure's JSON, CSV and pictures, and return it.

    Args:
        figure: as it was computed.
        out: the folder.
        painters: as :func:`neurofault.papers.rescue2019.pictures.draw` takes them.

    Raises:
        UsageError: the folder cannot be written.
    """
    write(figure, out)
    draw(figure, out, painters)
    return figure


def paper(
    names: Sequence[str],
    out: Path,
    *,
    setting: Setting = FULL,
    data_dir: Path | None = None,
    progress: Progress = lambda *_: None,
) -> list[Figure]:
    """Compute figures and write them: ``<figure>.json``, ``<figure>_<table>.csv``, ``<figure>.png``, ``<figure>.svg``.

    What is done is kept in ``units.jsonl`` in the same folder (and trained networks in the cache), so that a run that was broken off goes
    on where it stopped. The same setting gives the same bytes.

    Args:
        names: of :data:`FIGURES`.
        out: the folder; it is made.
        setting: every choice.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
        progress: told what is being done.

    Raises:
        UsageError: an unknown figure, a folder that cannot be written, or no matplotlib.
        DataError: the data set is missing or damaged.
    """
    chosen = [figure for name in names for figure in figures_named(name, FIGURES, SEPARATE)]
    with one_thread():
        study = Study.begin(setting, folder_for(out), data_dir, progress)
        return [published(FIGURES[name](study), out) for name in chosen]


def paper_separate(name: str, out: Path, *, data_dir: Path | None = None, progress: Progress = lambda *_: None) -> Figure:
    """Compute a figure of :data:`SEPARATE` and write it, as :func:`paper` does.

    Args:
        name: of :data:`SEPARATE`.
        out: the folder; it is made.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
        progress: told what is being done.

    Raises:
        UsageError: a folder that cannot be written, or no matplotlib.
        DataError: the data set is missing or damaged.
    """
    return published(SEPARATE[name](Separate(Journal(folder_for(out) / "units.jsonl"), progress, data_dir)), out)
