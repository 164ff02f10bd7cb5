"""The single faults that a test is to expose: the sites of an atlas, of several kinds, one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Edit
from neurofault.deploy.deployment import Deployment
from neurofault.errors import UsageError, nearest
from neurofault.study.atlas_sites import KINDS, Kind, Sites, all_sites


@dataclass(frozen=True, eq=False)
class FaultList:
    """Single faults, numbered from 0, kind by kind.

    Attributes:
        kinds: of each part.
        sites: of each part.
        first: int64 [parts + 1], number of each part's first fault.
    """

    kinds: tuple[Kind, ...]
    sites: tuple[Sites, ...]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.first[-1])

    def edits(self, fault: int) -> tuple[Edit, ...]:
        """Return what a fault does to the chip."""
        part = int(np.searchsorted(self.first, fault, "right")) - 1
        return self.sites[part].edits[fault - int(self.first[part])]

    def column(self, name: str) -> NDArray[np.int64]:
        """Return a column of :data:`neurofault.study.atlas_sites.COLUMNS`, int64 [F]; −1 where it does not apply."""
        return np.concatenate([part.columns[name] for part in self.sites])

    @property
    def kind(self) -> NDArray[np.int64]:
        """Int64 [F], place of each fault's kind in ``kinds``."""
        return np.repeat(np.arange(len(self.kinds)), np.diff(self.first))

    def layers(self) -> list[str]:
        """Return the name of each fault's layer, of synapses of what is no chain, of its connection."""
        return [part.layers[at] for part in self.sites for at in part.columns["layer"].tolist()]

    def says(self, fault: int) -> str:
        """Return a fault in words.

        It names the kind and the place, such as ``synapse_dead hidden1 17 → 3 (core 99)``.
        """
        part = int(np.searchsorted(self.first, fault, "right")) - 1
        sites, at = self.sites[part], fault - int(self.first[part])
        layer, source, target, bit, core = (int(sites.columns[name][at]) for name in ("layer", "source", "target", "bit", "core"))
        kind = self.kinds[part]
        if kind == "core_dead":
            return f"{kind} core {core}"
        if kind == "neuron_dead":
            return f"{kind} {sites.layers[layer]} {target} (core {core})"
        return f"{kind} {sites.layers[layer]} {source} → {target}{'' if bit < 0 else f' bit {bit}'} (core {core})"


def single_faults(chip: Deployment, kinds: Sequence[str], layer: str = "any") -> FaultList:
    """List every single fault of some kinds.

    Args:
        chip: the healthy chip.
        kinds: of :data:`neurofault.study.atlas_sites.KINDS`, at least one, each once.
        layer: as of :func:`neurofault.study.atlas_sites.all_sites`.

    Raises:
        UsageError: no such kind, none at all, one twice, or no such layer.
    """
    known: list[Kind] = []
    for name in kinds:
        kind = next((each for each in KINDS if each == name), None)
        if kind is None:
            raise UsageError(f"no test for single faults of kind {name!r}{nearest(name, KINDS)}; kinds: {', '.join(KINDS)}")
        if kind in known:
            raise UsageError(f"kind {name!r} is named twice")
        known.append(kind)
    if not known:
        raise UsageError(f"no kind of fault is named; kinds: {', '.join(KINDS)}")
    sites = tuple(all_sites(chip, kind, layer) for kind in known)
    return FaultList(tuple(known), sites, np.concatenate([[0], np.cumsum([len(part) for part in sites])]).astype(np.int64))
