"""A trial's identity: a hash of everything that can change its result, and of nothing else."""

from __future__ import annotations

import json
from typing import Any

from neurofault.deploy.deployment import Deployment
from neurofault.deploy.protection import Protection
from neurofault.digest import Record, canonical, digest_of
from neurofault.faults import fault_to_mapping
from neurofault.study.campaign.files import digests_in
from neurofault.study.campaign.rows import SEMANTICS
from neurofault.study.campaign.spec import Campaign, Cell
from neurofault.study.chain_identity import chip_record


def chip_digest(chip: Deployment) -> str:
    """Return the digest of a healthy chip: integers, placement, time, input tables, readout, profile without its texts, protection where there is any."""
    profile = chip.profile.model_dump(mode="json", exclude={"name", "title", "sources", "facts"})
    if profile["arithmetic"] == "loihi":
        profile["arithmetic"] = "lava"  # as it was called, and the same integers
    if profile["synapse"]["format"] == "loihi":
        del profile["synapse"]["format"]  # as when there was no other
    profile = {key: value for key, value in profile.items() if value or key not in ("dead_chips", "dead_links")}
    return digest_of(
        chip_record(chip), canonical(_without_texts(profile)), *([_guards(chip.protection)] if chip.protection else [])
    )


def _guards(protection: Protection) -> Record:
    """Return what protects a chip; kinds that are not there are left out, as when there were no such kinds."""
    held = {name: value for name, value in vars(protection).items() if value or name in ("words", "ranges", "asked")}
    return Record("Protection", held)


def _without_texts(data: Any) -> Any:
    """Return a profile's data without sources, notes and evidence of its numbers, and without sections that it leaves out."""
    if isinstance(data, dict):
        kept = {
            key: value
            for key, value in data.items()
            if key not in ("source", "note", "evidence") and (value is not None or key == "value")
        }
        return {key: _without_texts(value) for key, value in kept.items()}
    return [_without_texts(value) for value in data] if isinstance(data, list) else data


def settings_of(campaign: Campaign) -> str:
    """Return the digest of what a campaign asks for: its document, files by their bytes, without the limits of a trial."""
    data = digests_in(campaign.root, campaign.base)
    return document_digest({key: value for key, value in data.items() if key != "limits"})


def document_digest(data: Any) -> str:
    """Return the digest of a document's data, equal before it is written as JSON and after it is read again."""
    return digest_of(json.dumps(data, sort_keys=True))


def trial_id(cell: Cell, draw: int, chip: str, images: str, adapt: str, *, metric: str = "accuracy") -> str:
    """Return the identity of one trial: of all that can change a column of its row (but the volatile ones), and of nothing else.

    The engine counts, although engines are equal: a row says which engine computed it, and one must not stand in for another. Limits and
    the rule that ends the draws do not count: they decide whether a trial runs to its end, not what comes of it.

    Args:
        cell: what is done.
        draw: which draw.
        chip: :func:`chip_digest`.
        images: digest of the images that are reported on and their labels.
        adapt: digest of those that a rescue adapts to, or that pass by until it notices the damage; counts wherever something heals.
        metric: name of what is measured; the labels' digest knows whether they are of steps, so it counts where there is a choice.
    """
    heals = cell.rescue.strategy != "none"
    return digest_of(
        {
            "semantics": SEMANTICS,
            "chip": chip,
            "images": images,
            "adapt": adapt if heals else None,
            "faults": [fault_to_mapping(fault) for fault in cell.faults],
            "rescue": cell.rescue.model_dump(exclude_defaults=True) if heals else {"strategy": "none"},
            "engine": cell.spec.engine,
            "seed": cell.spec.repeats.seed,
            "draw": draw,
            **({"metric": metric} if metric.startswith("top-") else {}),
        }
    )
