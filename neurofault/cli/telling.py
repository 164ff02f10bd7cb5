"""What `--verbose` says on stderr, line by line: what was chosen and why, where everything sits, and what each sample is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from neurofault.convert.asked import CALIBRATION_IMAGES
from neurofault.deploy.arithmetic_spec import computes
from neurofault.numerals import plural

if TYPE_CHECKING:
    from neurofault.convert.asked import Candidate
    from neurofault.deploy.deployment import Deployment
    from neurofault.study.campaign.run import CampaignOutcome, Executor, Ready
    from neurofault.study.inject_report import Injection
    from neurofault.study.prepare import Prepared


def of_prepared(prepared: Prepared, *, reports: bool = True, **roles: str) -> Iterator[str]:
    """Yield what was chosen for a healthy chip.

    Args:
        prepared: the chip, and where it came from.
        reports: whether anything is measured on the test samples.
        roles: further samples, as words: what they are for → how many of which.
    """
    profile = prepared.profile
    yield f"chip: {profile.title}, profile {profile.name}; simulated with {computes(profile.arithmetic, profile.name)}"
    yield f"network: {prepared.setup.network}, weights {prepared.weights}"
    yield f"conversion: {_conversion(prepared)}"
    yield from of_placement(prepared.deployment)
    if prepared.calibration is not None:
        train, validation = prepared.data.train, prepared.data.validation
        yield f"samples to set thresholds: {min(len(train), CALIBRATION_IMAGES):,} of {train.name}; to choose the conversion: {prepared.calibration.trials[-1].samples:,} of {validation.name}"
    if reports:
        yield f"samples to report on: {len(prepared.test):,} of {prepared.test.name}"
    for role, words in roles.items():
        yield f"samples to {role.replace('_', ' ')}: {words}"


def of_placement(chip: Deployment) -> Iterator[str]:
    """Yield where a network sits."""
    place = chip.placement
    each = ", ".join(f"{one.name} {len(place.cores_of(one.name)):,}" for one in chip.populations)
    spare = f"; {len(place.spare_cores):,} kept free" if place.spare_cores else ""
    chips = plural(place.chips, "chip")
    yield f"placement: {place.strategy}, {plural(len(place.used_cores), 'core')} on {chips} ({each}){spare}"


def of_engine(result: Injection) -> Iterator[str]:
    """Yield which engine ran the draws, and how and why so."""
    yield f"engine: {result.engine}, on {result.device}"
    for how, draws in result.how.items():
        yield f"{len(draws):,} of {plural(len(result.lesion.draws), 'draw')} {how}"


def of_campaign(made: Ready) -> Iterator[str]:
    """Yield what was chosen for each chip of a campaign."""
    for key, prepared in made.prepared.items():
        cells = sum(chip == key for chip in made.chip_of.values())
        engines = sorted({cell.spec.engine for cell in made.campaign.cells() if made.chip_of[cell.index] == key})
        yield f"{key}: {cells:,} of {plural(made.campaign.n_cells, 'cell')}, engine {' and '.join(engines)}, {plural(len(made.chips[key].expected), 'sample')} a trial"
        yield from (f"  {line}" for line in of_prepared(prepared, reports=False))


def of_trials(done: CampaignOutcome, executor: Executor) -> Iterator[str]:
    """Yield who ran the trials of a campaign, and how many were there already."""
    who = (
        f"Dask, {executor.dask}"
        if executor.dask is not None
        else f"at most {plural(executor.workers, 'local process', 'local processes')}"
    )
    yield f"{plural(done.ran, 'trial')} run by {who}; {done.kept:,} came from the journal"


def _conversion(prepared: Prepared) -> str:
    found = prepared.calibration
    if found is None:
        return "none, the network is spiking already"
    last = [trial for trial in found.trials if trial.candidate == found.chosen][-1]
    tried, first, most = len({trial.candidate for trial in found.trials}), found.trials[0].samples, found.trials[-1].samples
    why = "the best, or near it where learning is stable," if prepared.setup.learns else "the best"
    few = f", the best few on {most:,}" if most > first else ""
    return f"{_words(found.chosen)}: {why} of {plural(tried, 'candidate')} on {plural(first, 'sample')}{few}; it reached {last.accuracy:.2%} on {last.samples:,}"


def _words(one: Candidate) -> str:
    words = [
        f"peak rate {one.peak_rate:g}",
        f"start {one.start:g}",
        f"full rate {one.full_rate:g}",
        f"reset {one.reset}",
        f"pooling {one.pooling}",
    ]
    return ", ".join([*words, *(["settled"] if one.settled else [])])
