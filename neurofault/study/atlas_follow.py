"""The sites of an atlas that can be followed from one healthy run, batch by batch, so that memory stays bounded and what is done can be kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.digest import digest_of
from neurofault.engines.exact.exponents import cut_off, cut_weights
from neurofault.engines.incremental.fault_rows import edit_rows, joined_rows
from neurofault.engines.incremental.golden import Changes, FaultBatch, Golden, effects
from neurofault.engines.incremental.limits import not_followed
from neurofault.errors import DataError
from neurofault.files import read_arrays
from neurofault.kernel_sources import sources_digest
from neurofault.study.atlas_sites import Sites, SynapseSites
from neurofault.study.campaign.rows import SEMANTICS

_OURS = re.compile(r"[0-9a-f]{32}-\d+\.npz")
_BATCH = 1 << 18
"""Sites that are followed at a time."""


@dataclass(frozen=True, eq=False)
class Followed:
    """What was followed.

    Attributes:
        sites: int64 [k], which of the sites.
        changed: int64 [k], images whose prediction each changes.
        correct: int64 [k], change in the number of images classified as labelled.
        changes: every changed prediction, by the site's place in ``sites``; None if they were not asked for.
    """

    sites: NDArray[np.int64]
    changed: NDArray[np.int64]
    correct: NDArray[np.int64]
    changes: Changes | None


def follow(
    healthy: Golden,
    sites: Sites,
    labels: NDArray[np.integer],
    *,
    changes: bool,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
    keep: Path | None = None,
) -> Followed:
    """Follow every site that the incremental engine follows.

    Args:
        healthy: the healthy run.
        sites: of an atlas.
        labels: int [N].
        changes: whether to keep which predictions change.
        threads: worker threads; None: one for each usable core.
        progress: called as ``progress(done, all)``, of images times batches of sites.
        keep: folder for what is done, one file a batch; what is there already, of the same chip, samples and sites, is not done again.
    """
    which = able(healthy, sites)
    batches = [slice(start, min(start + _BATCH, len(which))) for start in range(0, len(which), _BATCH)]
    known = "" if keep is None else _identity(healthy, sites, labels, changes=changes)
    changed, correct = np.zeros(len(which), np.int64), np.zeros(len(which), np.int64)
    found = [np.empty((0, 3), np.int32)]
    for number, batch in enumerate(batches):
        done = None if keep is None else _kept(keep / f"{known}-{number}.npz", batch.stop - batch.start)
        if done is None:

            def told(images: int, total: int, before: int = number * len(healthy)) -> None:
                if progress is not None:
                    progress(before + images, len(batches) * total)

            made = effects(rows_of(healthy, sites, which[batch]), labels, threads=threads, changes=changes, progress=told)
            own = made.changes
            listed = (
                np.empty((0, 3), np.int32)
                if own is None
                else np.stack([own.faults, own.samples, own.predictions.astype(np.int32)], axis=1)
            )
            done = made.changed, made.correct, listed
            if keep is not None:
                _write(keep / f"{known}-{number}.npz", done)
        elif progress is not None:
            progress((number + 1) * len(healthy), len(batches) * len(healthy))
        changed[batch], correct[batch] = done[0], done[1]
        found.append(done[2] + np.array([batch.start, 0, 0], np.int32))
    rows = np.concatenate(found)
    every = Changes(rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].astype(np.int16)) if changes else None
    return Followed(which, changed, correct, every)


def forget(keep: Path) -> None:
    """Remove what :func:`follow` kept in a folder, and the folder, if nothing else is in it."""
    for path in keep.glob("*.npz"):
        if _OURS.fullmatch(path.name):
            path.unlink()
    if keep.is_dir() and not any(keep.iterdir()):
        keep.rmdir()


def able(healthy: Golden, sites: Sites) -> NDArray[np.int64]:
    """Return the sites that are followed, rising; of the synapses of one connection all are, or none, but for those that newly make its sums rounded."""
    chip, left_out = healthy.deployment, healthy.flat.unfollowed
    if sites.parts:
        parts = [_able(healthy, part) for part in sites.parts]
        return np.flatnonzero(np.concatenate(parts)).astype(np.int64)
    return np.array([at for at, edits in enumerate(sites.edits) if not_followed(chip, edits, left_out) is None], np.int64)


def _able(healthy: Golden, part: SynapseSites) -> NDArray[np.bool_]:
    """Return which sites of one connection are followed."""
    chip = healthy.deployment
    connection, own = chip.connection(part.connection), np.ones(len(part), bool)
    if connection.weight_exponent < 0 and not cut_off(chip, connection):
        cut = np.concatenate([[0], np.cumsum(cut_weights(connection, part.values))])
        own = cut[part.starts[1:]] == cut[part.starts[:-1]]
    (which,) = np.nonzero(own)
    if which.size and not_followed(chip, [part.edit(int(which[0]))], healthy.flat.unfollowed) is not None:
        own[:] = False
    return own


def rows_of(healthy: Golden, sites: Sites, which: NDArray[np.int64], *, whole: bool = False) -> FaultBatch:
    """Return a batch of sites that are followed, int64 [k], rising; ``whole``: as of :func:`neurofault.engines.incremental.fault_rows.edit_rows`."""
    if not sites.parts:
        return edit_rows(healthy, [sites.edits[int(site)] for site in which], whole=whole)
    return joined_rows(healthy, list(_runs(sites, which)), whole=whole)


def _runs(
    sites: Sites, which: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield connection, window of each site, sources, targets, values of rising sites, part by part."""
    begin = 0
    for part in sites.parts:
        own = which[np.searchsorted(which, begin) : np.searchsorted(which, begin + len(part))] - begin
        begin += len(part)
        if not own.size:
            continue
        lengths = part.starts[own + 1] - part.starts[own]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        synapses = np.repeat(part.starts[own] - starts[:-1], lengths) + np.arange(starts[-1])
        yield part.connection, starts, part.sources[synapses], part.targets[synapses], part.values[synapses]


def _identity(healthy: Golden, sites: Sites, labels: NDArray[np.integer], *, changes: bool) -> str:
    chip = healthy.deployment
    readout, inputs = chip.readout, healthy.inputs
    parts = [value for name in sorted(inputs.parts) for value in vars(inputs.parts[name]).values()]
    return digest_of(
        sources_digest(), SEMANTICS, _BATCH, list(chip.populations), list(chip.connections), [readout.population, readout.how], chip.timesteps, list(chip.damage.edits),
        [part for part in parts if isinstance(part, np.ndarray | int)], inputs.first_sample, list(sites.columns.values()), labels, changes,
        [chip.placement.core_of[one.name] for one in chip.populations], [[part.starts, part.sources, part.targets, part.values] for part in sites.parts],
    )  # fmt: skip


_Done = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]


def _kept(path: Path, count: int) -> _Done | None:
    """Return what was done, of so many sites; None where it is not there, or damaged."""
    try:
        held = read_arrays(path)
        done = tuple(held[name] for name in ("changed", "correct", "changes"))
    except (DataError, KeyError):
        return None
    if [part.dtype for part in done] != [np.int64, np.int64, np.int32] or [part.shape for part in done[:2]] != [(count,)] * 2:
        return None
    return np.asarray(done[0], np.int64), np.asarray(done[1], np.int64), np.asarray(done[2], np.int32).reshape(-1, 3)


def _write(path: Path, done: _Done) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.part.npz")
    np.savez(part, changed=done[0], correct=done[1], changes=done[2])
    part.replace(path)
