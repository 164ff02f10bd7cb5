"""Why a test exposes a fault by no sample: it changes nothing there, or what it changes makes no difference that is seen.

The rules are those of :mod:`neurofault.faults.masking`, for single sites at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from neurofault.deploy.deployment import Deployment
from neurofault.faults.places import weights_at
from neurofault.study.atlas_sites import Sites
from neurofault.study.patterns.fault_list import FaultList

Why = Literal["nothing changes", "source never fires", "neurons never fire", "redundant"]
WHYS: tuple[Why, ...] = get_args(Why)
"""``nothing changes``: the chip reads what it read before. ``source never fires``, ``neurons never fire``: on none of the samples. ``redundant``: spikes or
sums may differ, but nothing that is seen."""


def why_hidden(
    chip: Deployment, faults: FaultList, which: NDArray[np.int64], spike_counts: Mapping[str, NDArray[np.integer]]
) -> NDArray[np.int64]:
    """Return why nothing shows some faults, int64 [k], places in :data:`WHYS`.

    Args:
        chip: the healthy chip.
        faults: the list.
        which: int64 [k], rising, faults that no sample exposes.
        spike_counts: of the healthy chip on all samples that were shown: population → int [n].
    """
    found = np.full(len(which), WHYS.index("redundant"), np.int64)
    for part, sites in enumerate(faults.sites):
        begin, stop = np.searchsorted(which, faults.first[part : part + 2])
        own = which[begin:stop] - faults.first[part]
        found[begin:stop] = (
            _of_synapses(chip, sites, own, spike_counts) if sites.parts else _of_neurons(chip, sites, own, spike_counts)
        )
    return found


def _of_synapses(
    chip: Deployment, sites: Sites, own: NDArray[np.int64], counts: Mapping[str, NDArray[np.integer]]
) -> NDArray[np.int64]:
    found, begin = np.full(len(own), WHYS.index("redundant"), np.int64), 0
    for part in sites.parts:
        here = (own >= begin) & (own < begin + len(part))
        mine = own[here] - begin
        begin += len(part)
        site_of = np.repeat(np.arange(len(part)), np.diff(part.starts))
        changed = weights_at(chip, part.connection, part.sources, part.targets) != part.values
        fires = counts[chip.connection(part.connection).source][part.sources] > 0
        some = np.bincount(site_of, changed, len(part)) > 0
        heard = np.bincount(site_of, changed & fires, len(part)) > 0
        found[here] = np.where(
            ~some[mine],
            WHYS.index("nothing changes"),
            np.where(heard[mine], WHYS.index("redundant"), WHYS.index("source never fires")),
        )
    return found


def _of_neurons(
    chip: Deployment, sites: Sites, own: NDArray[np.int64], counts: Mapping[str, NDArray[np.integer]]
) -> NDArray[np.int64]:
    found = np.full(len(own), WHYS.index("redundant"), np.int64)
    for at, site in enumerate(own.tolist()):
        hit = [edit for edit in sites.edits[site] if edit.population != chip.readout.population]
        if len(hit) == len(sites.edits[site]) and not any(counts[edit.population][edit.neurons].any() for edit in hit):
            found[at] = WHYS.index("neurons never fire")
    return found
