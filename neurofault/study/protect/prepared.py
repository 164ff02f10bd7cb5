"""A prepared chip, protected: which bits are covered is chosen on training samples, never on those that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import Copies
from neurofault.errors import UsageError
from neurofault.faults.base import Fault
from neurofault.faults.places import populations_named
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


_ROLES = ("any", "hidden", "input", "output", "spare")
"""What ``layer`` may mean besides populations: the same on a protected chip, with all that protects it."""


def hit_alike(bare: Deployment, safe: Deployment, faults: Sequence[Fault]) -> tuple[Fault, ...] | None:
    """Return faults of a protected chip as they hit the one without protection; None: they hit what that one does not have.

    The neurons of a layer that is muted or copied are a population of another name, and its own name is that of relays or voters.

    Args:
        bare: the chip without protection.
        safe: the same chip, protected.
        faults: of the protected chip.

    Raises:
        UsageError: a layer means relays or voters on the protected chip, and neurons on the other.
        FaultError: no such layer.
    """
    names = [one.name for one in bare.populations]
    found = []
    for fault in faults:
        layer = fault.layer
        if layer is None or (layer in _ROLES and layer not in names):
            found.append(fault)
            continue
        for one in safe.protection.built_in:
            copied = isinstance(one, Copies)
            own, beside = (one.copies[0], one.copies[1:]) if isinstance(one, Copies) else (one.own, (one.watchers,))
            if one.population in populations_named(safe, layer) or (
                layer not in (own, *beside) and one.population in populations_named(bare, layer)
            ):
                raise UsageError(
                    f"{fault.kind}: layer {layer!r} is {'copied' if copied else 'muted'}: on the protected chip that name is of the {'voters' if copied else 'relays'} alone, on the other of "
                    f"its neurons; neurons: {own!r}, {'their copies' if copied else 'watchers'}: {', '.join(map(repr, beside))}, all of them: 'hidden'"
                )
            if layer == own:
                fault = fault.model_copy(update={"layer": one.population})
        if fault.layer is not None and fault.layer not in names:
            return None
        found.append(fault)
    return tuple(found)
