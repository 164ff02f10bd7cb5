"""What of a figure can be computed apart from the rest: calls that fill the journal, in stages.

A part is called with the subject of its figure and need not return anything: what counts are the units that it asks for. What is left after
all parts (t-SNE, tables, pictures) is made by the figure itself, from the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from neurofault.engines.incremental.engine import IncrementalEngine
from neurofault.papers.rescue2019.cases import Case, CaseHarm, Mission
from neurofault.papers.rescue2019.chip_jobs import decline_jobs, match_jobs, recovery_jobs
from neurofault.papers.rescue2019.chip_match import control_repairs, drawn
from neurofault.papers.rescue2019.chip_repairs import ChipRepair, ChipWay, history, until_recovered, whole_way
from neurofault.papers.rescue2019.chip_setting import ChipSetting, ChipStudy, Loss
from neurofault.papers.rescue2019.chips import Chips, decline
from neurofault.papers.rescue2019.declines import DYING, dying
from neurofault.papers.rescue2019.float_parts import FLOAT_PARTS
from neurofault.papers.rescue2019.float_setting import FloatSetting, FloatStudy
from neurofault.papers.rescue2019.floats import Floats
from neurofault.papers.rescue2019.missions import Arm, arms, at_work, flown, missions_of
from neurofault.papers.rescue2019.networks import CaseTraining, counts, healthy, trainings
from neurofault.papers.rescue2019.others import DYING as ALSO_DYING
from neurofault.papers.rescue2019.ranking import cells
from neurofault.papers.rescue2019.scrub import scrubbed
from neurofault.papers.rescue2019.units import Results
from neurofault.progress import Progress

Part = Callable[[Any], object]
"""Called with a subject, :class:`Floats` or :class:`Chips`; it can be pickled."""

Stages = Sequence[Sequence[Part]]
"""Parts of a stage need nothing of each other; those of the next begin when all are done."""


def subject_of(setting: FloatSetting | ChipSetting, units: Results, data_dir: Path | None, progress: Progress) -> Floats | Chips:
    """Return what the figures of a setting are made of."""
    if isinstance(setting, FloatSetting):
        return Floats(FloatStudy.begin(setting, units, data_dir, progress))
    return Chips(ChipStudy(setting, units, progress, data_dir))


def _chip(chips: Chips, bits: int, dropout: bool) -> None:
    """Train a network unless its weights are there."""
    chips.study.chip(bits, dropout)


def _history(chips: Chips, repair: ChipRepair) -> None:
    history(chips.study, repair)


@lru_cache(maxsize=1)
def _engine(network: str, bits: int, dropout: bool) -> IncrementalEngine:
    """Return the engine of a chip, which knows its healthy run."""
    return IncrementalEngine()


def _decline(chips: Chips, loss: Loss, bits: int, dropout: bool, draw: int) -> None:
    decline(chips.study, loss.name, bits, dropout, draw, _engine(chips.study.setting.network, bits, dropout))


def _recover(chips: Chips, way: ChipWay, loss: Loss, learner: str | None, m: int, draw: int) -> None:
    history(chips.study, until_recovered(chips.study, way, loss, learner, m, draw))


def _match(chips: Chips, loss: Loss, m: int, learner: str, draw: int) -> None:
    drawn(chips.study, loss, learner, m, draw)


def _way(chips: Chips, loss: Loss, draw: int) -> None:
    history(chips.study, whole_way(chips.study, loss, draw))
    chips.shape(loss, draw)


def _line(chips: Chips, loss: Loss, one: tuple[int, int], other: tuple[int, int]) -> None:
    chips.line(loss, one, other)


@lru_cache(maxsize=1)
def _at_work(study: ChipStudy, training: CaseTraining) -> ChipStudy:
    """Return a training at work; one is held at a time, for each holds its data set."""
    return training.at_work(study)


def _placed(chips: Chips, training: CaseTraining) -> None:
    _at_work(chips.study, training).chip()


def _trained(chips: Chips, training: CaseTraining) -> None:
    healthy(_at_work(chips.study, training))


def _harmed(chips: Chips, training: CaseTraining, harm: CaseHarm, draw: int) -> None:
    counts(_at_work(chips.study, training), training.case, harm, draw)


def _declined(chips: Chips, training: CaseTraining, loss: str, draw: int) -> None:
    study = _at_work(chips.study, training)
    decline(study, loss, study.bits, False, draw, _engine(training.name, study.bits, False))


def _launched(chips: Chips, mission: Mission, training: CaseTraining) -> None:
    at_work(chips.study, mission, training).chip()


def _flown(chips: Chips, mission: Mission, training: CaseTraining, arm: Arm, draw: int) -> None:
    flown(at_work(chips.study, mission, training), mission, arm, draw)


def _chips(chips: Chips) -> list[Part]:
    return [partial(_chip, bits=chips.study.bits, dropout=dropout) for dropout in (False, True)]


def _fig1(chips: Chips) -> Stages:
    setting = chips.study.setting
    draws = range(setting.decline_draws)
    return [
        _chips(chips),
        [
            partial(_decline, loss=loss, bits=bits, dropout=dropout, draw=draw)
            for loss, bits, dropout in decline_jobs(setting)
            for draw in draws
        ],
    ]


def _fig2(chips: Chips) -> Stages:
    return [_chips(chips), [
        partial(_recover, way=way, loss=loss, learner=learner, m=m, draw=draw)
        for way, loss, m, learner in recovery_jobs(chips.study.setting) for draw in chips.study.draws
    ]]  # fmt: skip


def _fig3(chips: Chips) -> Stages:
    cells_ = [
        partial(_match, loss=loss, m=m, learner=name, draw=draw) for loss, m, name in match_jobs(chips.study.setting) for draw in chips.study.draws
    ]  # fmt: skip
    return [
        _chips(chips),
        [*cells_, *(partial(_history, repair=repair) for one in control_repairs(chips.study) for repair in one.repairs)],
    ]


def _fig4(chips: Chips) -> Stages:
    losses, draws = chips.study.setting.losses, chips.study.draws
    lines = [partial(_line, loss=loss, one=one, other=other) for loss in losses for _, one, other in chips.ends(loss)]
    return [_chips(chips), [*(partial(_way, loss=loss, draw=draw) for loss in losses for draw in draws), *lines]]


def _ranking(chips: Chips) -> Stages:
    return [[partial(_history, repair=repair) for cell in cells(chips.study) for repair in (*cell.batch, *cell.iterative)]]


def _scrubbed(chips: Chips, training: CaseTraining, draw: int) -> None:
    scrubbed(_at_work(chips.study, training), training.case, draw)


def _networks(chips: Chips) -> Stages:
    return _of_cases(chips, chips.study.setting.cases)


def _damages(chips: Chips) -> Stages:
    trained, harmed = _of_cases(chips, chips.study.setting.damages)
    listed = trainings(chips.study.setting, chips.study.setting.damages)
    return [trained, [*harmed, *(partial(_scrubbed, training=one, draw=draw) for one in listed for draw in one.draws)]]


def _of_cases(chips: Chips, cases: Sequence[Case]) -> Stages:
    listed = trainings(chips.study.setting, cases)
    return [[partial(_trained, training=one) for one in listed], [
        partial(_harmed, training=one, harm=harm, draw=draw) for one in listed for harm in one.case.harms for draw in one.draws
    ]]  # fmt: skip


def _declines(chips: Chips) -> Stages:
    return _of_declines(chips, chips.study.setting.cases, DYING)


def _of_declines(chips: Chips, cases: Sequence[Case], kinds: Sequence[str]) -> Stages:
    listed = trainings(chips.study.setting, cases)
    return [[partial(_placed, training=one) for one in listed], [
        partial(_declined, training=one, loss=loss, draw=draw) for one in listed for loss in dying(one.case, kinds) for draw in one.draws
    ]]  # fmt: skip


def _heartbeats(chips: Chips) -> Stages:
    return _whole(chips, chips.study.setting.heartbeats)


def _maps(chips: Chips) -> Stages:
    return _whole(chips, chips.study.setting.maps)


def _whole(chips: Chips, cases: Sequence[Case]) -> Stages:
    (trained, harmed), (_, declined) = _of_cases(chips, cases), _of_declines(chips, cases, ALSO_DYING)
    return [trained, [*harmed, *declined]]


def _availability(chips: Chips) -> Stages:
    listed = missions_of(chips.study)
    return [[partial(_launched, mission=mission, training=one) for mission, one in listed], [
        partial(_flown, mission=mission, training=one, arm=arm, draw=draw) for mission, one in listed for arm in arms(mission) for draw in one.draws
    ]]  # fmt: skip


CHIP_PARTS: Mapping[str, Callable[[Chips], Stages]] = {
    "fig1": _fig1, "fig2": _fig2, "fig3": _fig3, "fig4": _fig4, "ranking": _ranking, "networks": _networks, "declines": _declines,
    "availability": _availability,
    "damages": _damages,
    "heartbeats": _heartbeats,
    "maps": _maps,
}  # fmt: skip
"""Figure on chips → its parts."""


def parts_of(subject: Floats | Chips, figure: str) -> Stages:
    """Return the parts of a figure, by its name in :data:`neurofault.papers.rescue2019.run.FIGURES` or ``ON_CHIP``."""
    return CHIP_PARTS[figure](subject) if isinstance(subject, Chips) else FLOAT_PARTS[figure](subject)
