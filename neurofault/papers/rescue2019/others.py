"""Figures 1 to 3 for other kinds of networks on the chip: a convolutional one that loses feature maps, and a recurrent one that follows heartbeats.

Their hidden layers are what no learner of a chip here can train, so the readout alone learns.
"""

from __future__ import annotations

from dataclasses import replace

from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.declines import declined
from neurofault.papers.rescue2019.networks import of_cases
from neurofault.papers.rescue2019.output import Figure

DYING = ("cores", "feature maps", "recurrent synapses")
"""What dies, of what breaks: single neurons are left out, for every outcome of a convolutional network is a run of its own."""


def others(study: ChipStudy) -> Figure:
    """Compute the figure.

    JSON and tables: as of :func:`neurofault.papers.rescue2019.networks.of_cases`, with ``declines`` and ``curves``, the rows and curves of
    :func:`neurofault.papers.rescue2019.declines.declined`, and tables ``declines``, ``curves`` and ``decline_draws``.
    """
    cases = study.setting.others
    figure = of_cases(study, "others", cases)
    found, tables = declined(study, "others, decline", cases, DYING)
    return replace(
        figure,
        answer={**figure.answer, "declines": found["rows"], "curves": found["curves"]},
        tables={
            **figure.tables, "declines": tables["rows"], "curves": tables["curves"], "decline_draws": tables["draws"],
        },
    )  # fmt: skip
