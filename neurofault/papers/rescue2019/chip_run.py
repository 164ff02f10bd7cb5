"""The figures on the chip, one after the other, into a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from neurofault.papers.rescue2019.bases import one_thread
from neurofault.papers.rescue2019.chip_fig1 import fig1
from neurofault.papers.rescue2019.chip_fig2 import fig2
from neurofault.papers.rescue2019.chip_fig3 import fig3
from neurofault.papers.rescue2019.chip_fig4 import fig4
from neurofault.papers.rescue2019.chip_pictures import PAINTERS
from neurofault.papers.rescue2019.chip_setting import FULL, ChipSetting, ChipStudy
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.ranking import ranking
from neurofault.papers.rescue2019.run import figures_named, folder_for, published
from neurofault.progress import Progress

FIGURES: Mapping[str, Callable[[ChipStudy], Figure]] = {
    "fig1": fig1,
    "fig2": fig2,
    "fig3": fig3,
    "fig4": fig4,
    "ranking": ranking,
}


def paper_on_chip(
    names: Sequence[str],
    out: Path,
    *,
    setting: ChipSetting = FULL,
    data_dir: Path | None = None,
    progress: Progress = lambda *_: None,
) -> list[Figure]:
    """Compute figures on the chip and write them: ``chip_<figure>.json``, ``chip_<figure>_<table>.csv``, pictures.

    What is done is kept in ``units.jsonl`` in the same folder, so that a run that was broken off goes on where it stopped. The same setting
    gives the same bytes.

    Args:
        names: of :data:`FIGURES`, or ``all``.
        out: the folder; it is made.
        setting: every choice.
        data_dir: as :func:`neurofault.data.datasets.load` takes it.
        progress: told what is being done.

    Raises:
        UsageError: an unknown figure, a folder that cannot be written, or no matplotlib.
        DataError: the data set is missing or damaged.
    """
    chosen = [figure for name in names for figure in figures_named(name, FIGURES)]
    with one_thread():
        study = ChipStudy.begin(setting, folder_for(out), data_dir, progress)
        return [published(FIGURES[name](study), out, PAINTERS) for name in chosen]
