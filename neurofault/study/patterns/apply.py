"""A test applied: to a chip, or to answers that somebody recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.brief import brief
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.errors import DataError, StalledError, UsageError
from neurofault.files import read_arrays
from neurofault.numerals import plural
from neurofault.study.patterns.pattern_set import PatternSet, chip_digest
from neurofault.study.patterns.seen import seen_of


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a test says of a chip.

    Attributes:
        differs: bool [K], which samples are answered otherwise than by the healthy chip.
        answers: int64 [K, k], what was seen; None: the chip stalls and answers nothing.
    """

    differs: NDArray[np.bool_]
    answers: NDArray[np.int64] | None

    __repr__ = brief

    @property
    def passed(self) -> bool:
        """Whether every sample is answered as by the healthy chip."""
        return not bool(self.differs.any())


def apply_patterns(patterns: PatternSet, chip: Deployment, engine: str = "exact") -> Verdict:
    """Show a test to a chip and compare its answers with those of the healthy chip.

    >>> import neurofault as nf
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4).with_readout("count"))
    >>> shown = nf.Spikes.dense(np.tile(np.array([[[1, 0]], [[0, 1]]]), (1, 4, 1)))
    >>> patterns = nf.choose_patterns(chip, shown, faults=["neuron_dead"]).patterns
    >>> apply_patterns(patterns, chip).passed, apply_patterns(patterns, nf.inject(chip, nf.faults.CoreDead(layer="hands", count=1))).passed
    (True, False)

    Args:
        patterns: the test.
        chip: healthy or broken; the same network in the same integers, placed anywhere.
        engine: name of the engine.

    Raises:
        UsageError: the test is of another chip.
        UnsupportedError: the engine cannot run the chip.
    """
    check_chip(patterns, chip)
    try:
        activity = run(chip, patterns.inputs, engine=engine).activity
    except StalledError:
        return Verdict(np.ones(len(patterns), bool), None)
    return compared(patterns, seen_of(patterns.observe, activity))


def check_chip(patterns: PatternSet, chip: Deployment) -> None:
    """Refuse a test that was made for another chip.

    Raises:
        UsageError: it was.
    """
    if chip_digest(chip) != patterns.chip:
        raise UsageError(
            f"the test was made for network {patterns.network!r} with other weights, readout or steps than this chip of {chip.name!r} holds"
            " (damage apart): a chip that has learned, or was converted anew, needs a test of its own"
        )


def compared(patterns: PatternSet, answers: NDArray[np.int64]) -> Verdict:
    """Compare answers with those of the healthy chip.

    Args:
        patterns: the test.
        answers: int64 [K, k], as the test observes them; [K] where k is 1.

    Raises:
        UsageError: another shape.
    """
    healthy = patterns.answers
    if answers.ndim == 1 and healthy.shape[1] == 1:
        answers = answers[:, None]
    if answers.shape != healthy.shape:
        raise UsageError(
            f"answers have the shape {answers.shape}, but the test has {plural(len(patterns), 'sample')} and sees {healthy.shape[1]} numbers of each ({patterns.observe}): {healthy.shape}"
        )
    return Verdict(np.asarray((answers != healthy).any(axis=1)), answers)


def read_answers(path: str | Path) -> NDArray[np.int64]:
    """Read recorded answers: the array ``answers``, whole numbers, of a NumPy archive (``.npz``).

    Raises:
        UsageError: no such file or array, or other numbers.
    """
    try:
        arrays = read_arrays(Path(path))
    except DataError as error:
        raise UsageError(f"{error}") from None
    if "answers" not in arrays or arrays["answers"].dtype.kind not in "iu":
        raise UsageError(f"{path}: holds no array 'answers' of whole numbers")
    return arrays["answers"].astype(np.int64)
