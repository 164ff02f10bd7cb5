"""Figure 3 for damage that is no dead core: lost links and ageing, repaired in batch or as they come; and flipped bits that a scrub puts right."""

from __future__ import annotations

from dataclasses import replace

from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.networks import of_cases
from neurofault.papers.rescue2019.output import Figure
from neurofault.papers.rescue2019.scrub import scrub_rows


def damages(study: ChipStudy) -> Figure:
    """Compute the figure.

    JSON and tables: as of :func:`neurofault.papers.rescue2019.networks.of_cases`, with ``scrub``, the rows of :func:`neurofault.papers.rescue2019.scrub.scrub_rows`, and a table
    ``scrub_draws``.
    """
    cases = study.setting.damages
    figure = of_cases(study, "damages", cases)
    rows, draws = scrub_rows(study, cases)
    return replace(figure, answer={**figure.answer, "scrub": rows}, tables={**figure.tables, "scrub": rows, "scrub_draws": draws})
