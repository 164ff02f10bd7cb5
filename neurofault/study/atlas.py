"""The atlas: what every single site of a chip does to every test image; a table a site, a table of changed predictions.

A site is one stored synapse, one bit of it, a neuron or a core. Of a chain that the incremental engine can run all sites are followed in one pass over
the images; any other network runs once for each site. Only predictions that change are kept, so memory does not grow with sites × images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.damage import Damage
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_rows import FaultBatch, FlatNetwork, neuron_rows, refusal, synapse_rows
from neurofault.engines.incremental.golden import Changes, effects, golden
from neurofault.errors import UnsupportedError, UsageError, nearest
from neurofault.graph.chains import ChainLink, links
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.network import samples_apart
from neurofault.inputs import Inputs
from neurofault.study.atlas_sites import COLUMNS, KINDS, Kind, graph_sites, stored_sites

Placed = ChainLink[ChipPopulation, ChipConnection]
"""A layer of the chip: a population with what drives it."""

_MOST_ANSWERS = 1 << 15
"""Outputs whose numbers fit the 16 bits in which changed answers are kept."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Every site of one kind.

    Attributes:
        kind: of the fault.
        layers: names of the chip's layers; of synapses of what is no chain, of its connections.
        samples: N, number of images.
        healthy_correct: images that the healthy chip classifies as labelled.
        sites: by name of :data:`COLUMNS`, int64 [F]: where the site is; ``changed``: images whose prediction it
            changes; ``correct``: change in the number of images classified as labelled.
        changes: every changed prediction; None if they were not asked for.
        predictions: int64 [N], what the healthy chip answers.
    """

    kind: Kind
    layers: tuple[str, ...]
    samples: int
    healthy_correct: int
    sites: dict[str, NDArray[np.int64]]
    changes: Changes | None
    predictions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sites["layer"])

    @property
    def accuracy_change(self) -> NDArray[np.float64]:
        """Float64 [F]: accuracy with the fault less the healthy accuracy."""
        return np.asarray(self.sites["correct"] / self.samples)

    def most_critical(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of the sites that cost most: by images lost, then by predictions changed, then in order."""
        return np.asarray(np.lexsort((np.arange(len(self)), -self.sites["changed"], self.sites["correct"]))[:count], np.int64)


def atlas(
    deployment: Deployment,
    inputs: Inputs,
    labels: NDArray[np.integer],
    kind: Kind,
    *,
    layer: str = "any",
    changes: bool = True,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Follow every site of a kind over every image.

    Args:
        deployment: the healthy chip.
        inputs: N encoded samples.
        labels: int [N].
        kind: one of :data:`neurofault.study.atlas_sites.KINDS`.
        layer: name of the target layer whose sites are meant, or ``any``; of synapses of what is no chain, also of a connection.
        changes: whether to keep which predictions change.
        threads: worker threads; None: one for each usable core.
        progress: called as ``progress(done, all)``, of images, or of sites where the network runs once for each.

    Raises:
        UsageError: no such kind or layer, or a layer without such sites; labels that are not one a sample.
        UnsupportedError: the samples are one stream, or there are more than 32,768 outputs.
    """
    if kind not in KINDS:
        raise UsageError(f"no atlas of {kind!r}; kinds: {', '.join(KINDS)}{nearest(kind, KINDS)}")
    if np.shape(labels) != (len(inputs),):
        raise UsageError(
            f"labels have the shape {np.shape(labels)}, but there are {len(inputs)} samples; an atlas takes one a sample"
        )
    samples_apart(deployment, "an atlas")
    if deployment.output.size > _MOST_ANSWERS:
        raise UnsupportedError(
            f"an atlas keeps answers in 16 bits; layer {deployment.output.name!r} has {deployment.output.size:,} outputs"
        )
    if refusal(deployment) is not None:
        return _by_runs(deployment, inputs, labels, kind, layer, changes, threads, progress)
    whole = golden(deployment, inputs, threads=threads)
    batch, sites = _sites(deployment, kind, layer, whole.flat)
    found = effects(whole, batch, labels, threads=threads, changes=changes, progress=progress)
    sites |= {"changed": found.changed, "correct": found.correct}
    healthy = int(np.count_nonzero(whole.predictions == labels))
    layers = tuple(each.name for each in deployment.populations)
    return Atlas(kind, layers, len(inputs), healthy, sites, found.changes, whole.predictions)


def _by_runs(
    deployment: Deployment,
    inputs: Inputs,
    labels: NDArray[np.integer],
    kind: Kind,
    layer: str,
    changes: bool,
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> Atlas:
    """Run the exact engine once for each site."""
    sites, engine = graph_sites(deployment, kind, layer), ExactEngine(threads)
    whole = engine.run(deployment, inputs).predictions
    changed, correct = np.zeros(len(sites.edits), np.int64), np.zeros(len(sites.edits), np.int64)
    found: list[tuple[int, NDArray[np.int64], NDArray[np.int64]]] = []
    for number, edits in enumerate(sites.edits):
        hurt = deployment.with_damage(Damage((*deployment.damage.edits, *edits)))
        answers = engine.run(hurt, inputs).predictions
        (where,) = np.nonzero(answers != whole)
        changed[number], correct[number] = len(where), np.count_nonzero(answers == labels) - np.count_nonzero(whole == labels)
        if changes:
            found.append((number, where, answers[where]))
        if progress is not None:
            progress(number + 1, len(sites.edits))
    kept = None
    if changes:
        kept = Changes(
            np.repeat([number for number, _, _ in found], [len(where) for _, where, _ in found]).astype(np.int32),
            np.concatenate([where for _, where, _ in found]).astype(np.int32),
            np.concatenate([answers for _, _, answers in found]).astype(np.int16),
        )
    table = sites.columns | {"changed": changed, "correct": correct}
    return Atlas(kind, sites.layers, len(inputs), int(np.count_nonzero(whole == labels)), table, kept, whole)


def _sites(deployment: Deployment, kind: Kind, layer: str, flat: FlatNetwork) -> tuple[FaultBatch, dict[str, NDArray[np.int64]]]:
    """List all sites of a kind."""
    chain = links(deployment, "an atlas")
    core_of = [deployment.placement.core_of[link.population.name] for link in chain]
    chosen = _chosen(chain, layer, with_synapses=kind.startswith("synapse"))
    if kind.startswith("synapse"):
        parts = [part for link in chosen for part in _stored(deployment, link, kind)]
        layers, sources, targets, bits, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        batches = [_of_layer(deployment, link.index, layers, sources, targets, values, flat) for link in chosen]
        core = np.concatenate([core_of[link.index][targets[layers == link.index]] for link in chosen])
        return _joined(deployment, batches), _table(layers, sources, targets, bits, core)
    if kind == "neuron_dead":
        places = [(link.index, neuron) for link in chosen for neuron in range(link.population.size)]
        layers, targets = (np.array(column, np.int64) for column in zip(*places, strict=True))
        core = np.array([core_of[index][neuron] for index, neuron in places], np.int64)
        none = np.full(len(places), -1)
        groups = [[(index, np.array([neuron]))] for index, neuron in places]
        return neuron_rows(deployment, groups, flat), _table(layers, none, targets, none, core)
    cores = np.unique(np.concatenate([core_of[link.index] for link in chosen]))
    held = [[(index, np.flatnonzero(own == core)) for index, own in enumerate(core_of) if (own == core).any()] for core in cores]
    none = np.full(len(cores), -1)
    first = np.array([group[0][0] for group in held], np.int64)
    return neuron_rows(deployment, held, flat), _table(first, none, none, none, cores)


def _chosen(chain: Sequence[Placed], layer: str, *, with_synapses: bool) -> Sequence[Placed]:
    """Return the layers whose sites are meant."""
    if layer == "any":
        return chain[1:] if with_synapses else chain
    found = [link for link in chain if link.population.name == layer]
    if not found:
        names = [link.population.name for link in chain]
        raise UsageError(f"no layer {layer!r}; layers: {', '.join(names)}{nearest(layer, names)}")
    if with_synapses and found[0].connection is None:
        raise UsageError(f"layer {layer!r} has no synapses")
    return found


def _of_layer(
    deployment: Deployment,
    index: int,
    layers: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    values: NDArray[np.int64],
    flat: FlatNetwork,
) -> FaultBatch:
    own = layers == index
    return synapse_rows(deployment, index, sources[own], targets[own], values[own], flat)


def _table(*columns: NDArray[np.integer]) -> dict[str, NDArray[np.int64]]:
    return {name: np.asarray(column, np.int64) for name, column in zip(COLUMNS, columns, strict=False)}


def _stored(deployment: Deployment, link: Placed, kind: Kind) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """Yield layer, source, target, bit and new weight of every stored synapse, or of every bit of it, of a dense layer."""
    for part in stored_sites(deployment, f"layer {link.population.name!r}", link.incoming, kind):
        yield np.full(len(part.sources), link.index), part.sources, part.targets, part.bits, part.values


def _joined(deployment: Deployment, batches: list[FaultBatch]) -> FaultBatch:
    """Put batches of single synapses of different layers, in the order of layers, one behind the other."""
    if len(batches) == 1:
        return batches[0]
    count, first, row = 0, np.zeros_like(batches[0].rows.first), []
    for batch in batches:
        row.append(batch.rows.single_row + count)
        first = first + batch.rows.first
        count += len(batch)
    joined = batches[0].rows._replace(
        faults=count,
        first=first,
        single_row=np.concatenate(row),
        single_target=np.concatenate([batch.rows.single_target for batch in batches]),
        single_delta=np.concatenate([batch.rows.single_delta for batch in batches]),
    )
    return FaultBatch(deployment, joined)


def write_parquet(found: Atlas, folder: Path) -> tuple[Path, ...]:
    """Write ``sites.parquet`` (one row a site) and, if changes were kept, ``changes.parquet`` (one row a changed prediction).

    A site's prediction of an image that ``changes`` does not name is the healthy one, in ``healthy.parquet``.

    Raises:
        UsageError: pyarrow is not installed, or the folder cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError("an atlas is written with pyarrow, which is not installed: pip install pyarrow") from error
    names = np.array(found.layers)
    tables = {
        "sites": {
            "site": np.arange(len(found)),
            **found.sites,
            "layer": names[found.sites["layer"]],
            "accuracy_change": found.accuracy_change,
        },
        "healthy": {"image": np.arange(found.samples), "prediction": found.predictions},
    }
    if found.changes is not None:
        tables["changes"] = {
            "site": found.changes.faults, "image": found.changes.samples, "prediction": found.changes.predictions
        }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, columns in tables.items():
            path = folder / f"{name}.parquet"
            part = path.with_name(path.name + ".part")
            parquet.write_table(pa.table(columns), part, compression="zstd")
            part.replace(path)
            paths.append(path)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    return tuple(paths)


def picture(found: Atlas, path: Path) -> None:
    """Draw how many predictions each site changes: sites by layer, the critical ones first, on logarithmic axes.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("pictures are drawn with matplotlib, which is not installed: pip install matplotlib") from error
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for index in np.unique(found.sites["layer"]):
        own = np.sort(found.sites["changed"][found.sites["layer"] == index])[::-1]
        axes.plot(np.arange(1, len(own) + 1), own, label=f"{found.layers[index]} ({len(own):,} sites)")
    axes.set(
        xscale="log",
        yscale="symlog",
        xlabel="rank of the site",
        ylabel=f"predictions changed, of {found.samples:,}",
        title=found.kind,
    )
    axes.legend()
    figure.savefig(path, dpi=150)
