"""What the figures on the chip are made of, cell by cell."""

from __future__ import annotations

from neurofault.papers.rescue2019.chip_repairs import ONE_RATE, WAYS, ChipWay
from neurofault.papers.rescue2019.chip_setting import ChipSetting, Loss


def decline_jobs(setting: ChipSetting) -> list[tuple[Loss, int, bool]]:
    """Return the curves of figure 1: what dies, stored bits a weight, and whether the network was trained with dropout."""
    listed = [(loss, bits, dropout) for loss in setting.losses for bits in setting.decline_bits for dropout in (False, True)]
    return [job for job in listed if job[1] == setting.decline_bits[-1] or not job[2]]


def recovery_jobs(setting: ChipSetting) -> list[tuple[ChipWay, Loss, int, str | None]]:
    """Return the cells of figure 2: strategy, what dies, how many, and the learner."""
    return [
        (way, loss, m, learner)
        for way in WAYS
        for loss in (setting.losses if way.hurts else setting.losses[:1])
        for m in (loss.recovery[-1:] if way.control else loss.recovery if way.hurts else (0,))
        for learner in ((setting.way_learner,) if way.control else setting.learners if way.learns else (None,))
        if not way.spares or (loss.name == "cores" and m <= setting.spare_cores and learner not in ONE_RATE)
    ]


def match_jobs(setting: ChipSetting) -> list[tuple[Loss, int, str]]:
    """Return the cells of figure 3: what dies, how many, and the learner."""
    return [(loss, m, name) for loss in setting.losses for m in loss.deaths for name in setting.learners]
