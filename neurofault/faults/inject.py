"""`inject`: a new deployment in which a fault plan has happened. The healthy one is untouched."""

from __future__ import annotations

from neurofault.deploy.deployment import Deployment
from neurofault.faults.plan import FaultPlan, Faults, plan


def inject(deployment: Deployment, faults: Faults | FaultPlan, *, seed: int = 0, draw: int = 0) -> Deployment:
    """Return the deployment with more damage; what was already broken stays broken.

    Args:
        deployment: the chip, healthy or not.
        faults: models (or their mappings), or a plan that was resolved on this deployment.
        seed: key of the random streams (unused for a plan), with
        draw: which draw of this seed.

    Raises:
        FaultError: see :func:`plan`.
    """
    resolved = faults if isinstance(faults, FaultPlan) else plan(deployment, faults, seed=seed, draw=draw)
    damage = deployment.damage
    for planned in resolved.faults:
        damage = damage.plus(planned.edits, planned.hit, planned.dead_cores)
    return deployment.with_damage(damage)
