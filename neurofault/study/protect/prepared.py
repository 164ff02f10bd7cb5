"""A prepared chip, protected: which bits are covered is chosen on training samples, never on those that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neurofault.progress import Progress
from neurofault.study.prepare import Prepared
from neurofault.study.protect.spec import AnySpec, Given, OrderSpec, RangeSpec, specs_of
from neurofault.study.shown import shown


def protected(prepared: Prepared, protections: Sequence[Given], *, seed: int, progress: Progress) -> Prepared:
    """Return a prepared chip with protection; as it is where none is asked for.

    Args:
        prepared: from :func:`neurofault.study.prepare.prepare`.
        protections: as of :func:`neurofault.protect`.
        seed: of what is chosen at random.
        progress: called as work goes on.
    """
    specs = specs_of(protections)
    if not specs:
        return prepared
    from neurofault.study.protect.api import protect  # compiled, and only a protected chip needs it

    chip, train = prepared.deployment, prepared.data.train
    most = most_samples(specs)
    if not most:
        return replace(prepared, deployment=protect(chip, specs, seed=seed, progress=progress), bare=chip)
    part = train.first(min(most, len(train)))
    safe = protect(chip, specs, shown(chip, part), part.expected, unit=prepared.metric.unit, seed=seed, progress=progress)
    return replace(prepared, deployment=safe, bare=chip)


def most_samples(specs: Sequence[AnySpec]) -> int:
    """Return how many samples the choices of bits look at."""
    return max((one.samples for one in specs if not isinstance(one, RangeSpec | OrderSpec) and one.needs_samples), default=0)
