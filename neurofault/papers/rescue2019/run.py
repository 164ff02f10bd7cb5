"""The figures, one after the other, into a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from neurofault.errors import UsageError, nearest
from neurofault.papers.rescue2019 import chip_pictures, pictures
from neurofault.papers.rescue2019.availability import availability
from neurofault.papers.rescue2019.bases import one_thread
from neurofault.papers.rescue2019.chip_setting import ChipSetting, ChipStudy
from neurofault.papers.rescue2019.cnn import cnn
from neurofault.papers.rescue2019.crew import Crew, check_jobs
from neurofault.papers.rescue2019.curves import curves
from neurofault.papers.rescue2019.damages import damages
from neurofault.papers.rescue2019.declines import declines
from neurofault.papers.rescue2019.fig1 import fig1
from neurofault.papers.rescue2019.fig2 import fig2
from neurofault.papers.rescue2019.fig3 import fig3
from neurofault.papers.rescue2019.fig4 import fig4
from neurofault.papers.rescue2019.float_setting import FULL, FloatSetting, FloatStudy, Separate
from neurofault.papers.rescue2019.floats import Floats
from neurofault.papers.rescue2019.networks import networks
from neurofault.papers.rescue2019.others import heartbeats, maps
from neurofault.papers.rescue2019.output import Figure, write
from neurofault.papers.rescue2019.parts import parts_of, subject_of
from neurofault.papers.rescue2019.ranking import ranking
from neurofault.papers.rescue2019.subject import Subject
from neurofault.papers.rescue2019.units import Units
from neurofault.progress import Progress, silent

FIGURES: Mapping[str, Callable[[Subject], Figure]] = {"fig1": fig1, "fig2": fig2, "fig3": fig3, "fig4": fig4}

ON_FLOATS: Mapping[str, Callable[[FloatStudy], Figure]] = {"curves": curves}
"""Figures that only networks of floats have."""

ON_CHIP: Mapping[str, Callable[[ChipStudy], Figure]] = {
    "ranking": ranking,
    "networks": networks,
    "declines": declines,
    "availability": availability,
    "damages": damages,
    "heartbeats": heartbeats,
    "maps": maps,
}
"""Figures that only chips have."""

APART = ("heartbeats", "maps")
"""Figures of chips that ``all`` leaves out: their data are not downloaded, or their networks take their time to train."""

SEPARATE: Mapping[str, Callable[[Separate], Figure]] = {"cnn": cnn}
"""Figures that ``all`` leaves out: each trains a large network of its own."""


def figures_named(name: str, setting: FloatSetting | ChipSetting) -> tuple[str, ...]:
    """Return the names of the figures that one of their names, or ``all``, means.

    Args:
        name: of :data:`FIGURES`, of :data:`ON_FLOATS` or on chips of :data:`ON_CHIP` too, or ``all``.
        setting: of networks of floats, or of chips.

    Raises:
        UsageError: neither.
    """
    known = (*FIGURES, *(ON_CHIP if isinstance(setting, ChipSetting) else ON_FLOATS))
    apart = () if isinstance(setting, ChipSetting) else tuple(SEPARATE)
    if name == "all":
        return tuple(one for one in known if one not in APART)
    if name not in known:
        allowed = (*known, "all", *apart)
        raise UsageError(f"no figure {name!r}; figures: {', '.join(allowed)}{nearest(name, allowed)}")
    return (name,)


def folder_for(out: Path) -> Path:
    """Make the folder that figures are written to.

    Raises:
        UsageError: it cannot be made, or nothing can be drawn.
    """
    pictures.check_drawing()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}") from error
    return out


def published(figure: Figure, out: Path) -> Figure:
    """Write a figure's JSON, CSV and pictures, and return it.

    Args:
        figure: as it was computed.
        out: the folder.

    Raises:
        UsageError: the folder cannot be written.
    """
    write(figure, out)
    pictures.draw(figure, out, {**pictures.PAINTERS, **chip_pictures.PAINTERS})
    return figure


def paper(
    names: Sequence[str],
    out: Path,
    *,
    setting: FloatSetting | ChipSetting = FULL,
    data_dir: Path | None = None,
    progress: Progress = silent,
    jobs: int = 1,
) -> list[Figure]:
    """Compute figures and write them: ``<figure>.json``, ``<figure>_<table>.csv``, ``<figure>.png``, ``<figure>.svg``.

    On chips all names begin with ``chip_``. What is done is kept in ``units.jsonl`` in the same folder (and trained networks in the cache), so
    that a run that was broken off goes on where it stopped. The same setting gives the same bytes.

    Args:
        names: of :data:`FIGURES`, of :data:`ON_FLOATS` or on chips of :data:`ON_CHIP` too, or ``all``.
        out: the folder; it is made.
        setting: every choice; it says what the figures are made on.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
        progress: told what is being done.
        jobs: processes that compute units, 1 to 256; their number changes no byte of the JSON, CSV and pictures.

    Raises:
        UsageError: an unknown figure, another number of processes, a worker that ended, a folder that cannot be written, or no matplotlib.
        DataError: the data set is missing or damaged.
    """
    check_jobs(jobs)
    chosen = [figure for name in names for figure in figures_named(name, setting)]
    with one_thread(), Units(folder_for(out) / "units.jsonl") as units:
        subject = subject_of(setting, units, data_dir, progress)
        if jobs > 1:
            with Crew(jobs, setting, units, data_dir, progress) as crew:
                for name in chosen:
                    crew.work(name, parts_of(subject, name))
        if isinstance(subject, Floats):
            return [
                published(ON_FLOATS[name](subject.study) if name in ON_FLOATS else FIGURES[name](subject), out) for name in chosen
            ]
        return [published(ON_CHIP[name](subject.study) if name in ON_CHIP else FIGURES[name](subject), out) for name in chosen]


def paper_separate(name: str, out: Path, *, data_dir: Path | None = None, progress: Progress = silent) -> Figure:
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
    with Units(folder_for(out) / "units.jsonl") as units:
        return published(SEPARATE[name](Separate(units, progress, data_dir)), out)
