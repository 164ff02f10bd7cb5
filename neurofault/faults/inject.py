"""`inject`: a new deployment in which a fault plan has happened. The healthy one is untouched."""

from __future__ import annotations

from neurofault.damage.broken import BrokenChecks, BrokenMesh
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.plan import FaultPlan, Faults, plan
from neurofault.faults.plan_check import missing
from neurofault.faults.protected import remaining


def inject(deployment: Deployment, faults: Faults | FaultPlan, *, seed: int = 0, draw: int = 0) -> Deployment:
    """Return the deployment with more damage; what was already broken stays broken.

    On a protected chip (:func:`neurofault.protect`) the damage is what its protection leaves of all that is broken.

    >>> import neurofault as nf, numpy as np
    >>> eyes, hands = nf.Population("eyes", (2,), nf.Source()), nf.Population("hands", (2,), nf.CubaLif(1.0))
    >>> chip = nf.deploy(nf.chain("reflex", [eyes, hands], [nf.Dense(np.eye(2) * 2)], timesteps=4), neurons_per_core=1)
    >>> hurt = inject(chip, [nf.faults.CoreDead(cores=(2,))])
    >>> hurt.damage.hits[0].cores, chip.damage.hits
    ((2,), ())

    Args:
        deployment: the chip, healthy or not.
        faults: models (or their mappings), or a plan that was resolved on this deployment.
        seed: key of the random streams (unused for a plan), with
        draw: which draw of this seed.

    Raises:
        FaultError: see :func:`plan`; or the plan names what this deployment does not have.
    """
    if isinstance(faults, FaultPlan):
        _check(deployment, faults)
        resolved = faults
    else:
        resolved = plan(deployment, faults, seed=seed, draw=draw)
    damage = deployment.damage.cells
    for planned in resolved.faults:
        damage = damage.plus(planned.edits, planned.hit, planned.dead_cores)
    return deployment.with_damage(remaining(deployment, damage))


def _check(deployment: Deployment, resolved: FaultPlan) -> None:
    """Refuse a plan that was made on a chip of another shape."""
    cores = deployment.placement.chips * deployment.placement.cores_per_chip
    for planned in resolved.faults:
        kept = [broken.core for broken in planned.hit.broken if not isinstance(broken, BrokenMesh)]
        if beyond := [core for core in (*planned.dead_cores, *kept) if core >= cores]:
            raise FaultError(
                f"{planned.fault.kind}: the plan was made on another chip: it hits core {beyond[0]}, but here cores are 0 to {cores - 1}"
            )
        if any(_beyond(deployment, broken) for broken in planned.hit.broken if isinstance(broken, BrokenChecks)):
            raise FaultError(
                f"{planned.fault.kind}: the plan was made on a chip of other protection: it hits check bits that are not here"
            )
        for edit in planned.edits:
            if (problem := missing(deployment, edit)) is not None:
                raise FaultError(f"{planned.fault.kind}: the plan was made on another chip: {problem}")


def _beyond(deployment: Deployment, broken: BrokenChecks) -> bool:
    """Whether a chip does not have all of some check bits."""
    words = deployment.protection.words_of(broken.connection)
    return words is None or any(
        word >= len(words) or bit >= words.check_bits[word] for word, bit in zip(broken.words, broken.bits, strict=True)
    )
