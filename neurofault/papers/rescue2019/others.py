"""Figures 1 to 3 for other kinds of networks on the chip: a recurrent one that follows heartbeats, and a convolutional one that loses feature maps.

Their hidden layers are what no learner of a chip here can train, so the readout alone learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neurofault.papers.rescue2019.cases import Case
from neurofault.papers.rescue2019.chip_setting import ChipStudy
from neurofault.papers.rescue2019.declines import declined
from neurofault.papers.rescue2019.networks import of_cases
from neurofault.papers.rescue2019.output import Figure

DYING = ("cores", "feature maps", "recurrent synapses")
"""What dies, of what breaks: single neurons are left out, for every outcome of a convolutional network is a run of its own."""


def heartbeats(study: ChipStudy) -> Figure:
    """Compute the figure of heartbeats; see :func:`whole`."""
    return whole(study, "heartbeats", study.setting.heartbeats)


def maps(study: ChipStudy) -> Figure:
    """Compute the figure of feature maps; see :func:`whole`."""
    return whole(study, "maps", study.setting.maps)


def whole(study: ChipStudy, name: str, cases: Sequence[Case]) -> Figure:
    """Compute figures 1 to 3 of networks.

    Args:
        study: the setting at work.
        name: of the figure, without what stands before it on chips.
        cases: of the setting.

    JSON and tables: as of :func:`neurofault.papers.rescue2019.networks.of_cases`, with ``declines`` and ``curves``, the rows and curves of
    :func:`neurofault.papers.rescue2019.declines.declined`, and tables ``declines``, ``curves`` and ``decline_draws``.
    """
    figure = of_cases(study, name, cases)
    found, tables = declined(study, f"{name}, decline", cases, DYING)
    return replace(
        figure,
        answer={**figure.answer, "declines": found["rows"], "curves": found["curves"]},
        tables={
            **figure.tables, "declines": tables["rows"], "curves": tables["curves"], "decline_draws": tables["draws"],
        },
    )  # fmt: skip
