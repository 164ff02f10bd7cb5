"""`inject`: a new deployment in which a fault plan has happened. The healthy one is untouched."""

from __future__ import annotations

from neurofault.damage.broken import BrokenMesh
from neurofault.damage.damage import Detour
from neurofault.deploy.deployment import Deployment
from neurofault.errors import FaultError
from neurofault.faults.plan import FaultPlan, Faults, plan


def inject(deployment: Deployment, faults: Faults | FaultPlan, *, seed: int = 0, draw: int = 0) -> Deployment:
    """Return the deployment with more damage; what was already broken stays broken.

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
    damage = deployment.damage
    for planned in resolved.faults:
        damage = damage.plus(planned.edits, planned.hit, planned.dead_cores)
    return deployment.with_damage(damage)


def _check(deployment: Deployment, resolved: FaultPlan) -> None:
    """Refuse a plan that was made on a chip of another shape."""
    sizes = [layer.size for layer in deployment.layers]
    cores = deployment.placement.chips * deployment.placement.cores_per_chip
    for planned in resolved.faults:
        kept = [broken.core for broken in planned.hit.broken if not isinstance(broken, BrokenMesh)]
        if beyond := [core for core in (*planned.dead_cores, *kept) if core >= cores]:
            raise FaultError(
                f"{planned.fault.kind}: the plan was made on another chip: it hits core {beyond[0]}, but here cores are 0 to {cores - 1}"
            )
        for edit in planned.edits:
            layer = getattr(edit, "layer", 0)
            for name, index in (("neurons", layer), ("targets", layer), ("sources", layer - 1)):
                if isinstance(edit, Detour) or not hasattr(edit, name):
                    continue
                ids = getattr(edit, name)
                if layer >= len(sizes) or (ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < sizes[index]):
                    have = f"layer {index} has {sizes[index]} neurons" if layer < len(sizes) else f"there are {len(sizes)} layers"
                    raise FaultError(
                        f"{planned.fault.kind}: the plan was made on another chip: it hits layer {layer}, but here {have}"
                    )
