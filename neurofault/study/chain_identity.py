"""How chips and networks enter a digest: chains as when there was nothing but chains, so that what was run then is still known; graphs as they are.

A chain was a list of layers, each of which held its neurons and the synapses into it. The records here have those classes' names and fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from neurofault.deploy.deployment import Deployment, Placement
from neurofault.digest import Record
from neurofault.graph import Conv, CubaLif, Encoding, Network, Population, Readout, Source
from neurofault.graph.chains import ChainLink, links, not_a_chain
from neurofault.graph.chip import ChipConnection, ChipPopulation
from neurofault.graph.law import USUAL, Law
from neurofault.graph.neurons import FIRST
from neurofault.graph.populations import Connection
from neurofault.graph.schedule import Edge
from neurofault.graph.synapses import Synapses


def chip_record(chip: Deployment) -> list[Any]:
    """Return what a chip's digest is of: integers, placement, time, input tables, readout."""
    placement = _placement(chip.placement, [one.name for one in chip.populations])
    stream = [] if chip.reset == "sample" else [f"reset: {chip.reset}"]  # samples used to start anew, always
    if not _is_old(not_a_chain(chip), chip.connections):
        return [
            [_chip_population(one) for one in chip.populations],
            chip.connections,
            placement,
            chip.timesteps,
            _readout(chip.readout),
            *stream,
        ]
    layers = [_chip_layer(link) for link in links(chip, "the identity of a chain")]
    how = chip.readout.how if chip.readout.when is None else str(chip.readout)
    return [layers, placement, chip.timesteps, chip.encoding, how, *stream]


def network_record(network: Network, *, written: bool) -> list[Any]:
    """Return what a network's digest is of.

    Args:
        network: the network.
        written: it was read from a file that :func:`neurofault.deploy.nir_export.to_nir` wrote; the bias of its inputs, 0, was then one of
            each.
    """
    if not _is_old(not_a_chain(network), network.connections):
        return [[_population(one) for one in network.populations], network.connections, _readout(network.readout)]
    return [_layer(link, written=written) for link in links(network, "the identity of a chain")]


def _readout(readout: Readout) -> Record:
    """Return what a readout was before it had steps; its own count."""
    steps = {} if readout.when is None else {"when": readout.when}
    return Record("Readout", {"population": readout.population, "how": readout.how} | steps)


def _chip_population(population: ChipPopulation) -> Record:
    """Return what a population was before it had a law; one of its own counts."""
    known = {one.name: getattr(population, one.name) for one in fields(population) if one.name != "law"}
    return Record("ChipPopulation", known | _own_law(population.law))


def _own_law(law: Law) -> dict[str, Any]:
    """Return in what a law differs from Lava's."""
    other = {one.name: getattr(law, one.name) for one in fields(law)}
    kept = {name: value for name, value in other.items() if isinstance(value, np.ndarray) or value != getattr(USUAL, name)}
    return {"law": Record("Law", kept)} if kept else {}


def _population(population: Population) -> Any:
    neuron = population.neuron
    own = _source(neuron) if isinstance(neuron, Source) else _cuba_lif(neuron)
    return Record("Population", {"name": population.name, "shape": population.shape, "neuron": own})


def _source(source: Source) -> Record:
    """Return what a source was before it had a reset; one that is not to zero counts."""
    return Record(
        "Source", {one.name: getattr(source, one.name) for one in fields(source) if one.name != "reset"} | _own_reset(source)
    )


def _own_reset(source: Source) -> dict[str, Any]:
    return {} if source.reset == "zero" else {"reset": source.reset}


def _cuba_lif(neuron: CubaLif) -> Record:
    """Return what a neuron was before it had a law; what is not as it was then counts."""
    usual = CubaLif(None)
    return Record(
        "CubaLif",
        {
            one.name: getattr(neuron, one.name)
            for one in fields(neuron)
            if one.name in FIRST or not np.array_equal(getattr(neuron, one.name), getattr(usual, one.name))
        },
    )


def _is_old(not_chain: str | None, connections: Iterable[Edge]) -> bool:
    """Whether it is a chain whose connections have their targets' names: random numbers are keyed by names."""
    return not_chain is None and all(one.name == one.target for one in connections)


def _placement(placement: Placement, names: list[str]) -> Record:
    return Record(
        "Placement",
        {
            "chips": placement.chips, "cores_per_chip": placement.cores_per_chip, "core_of": [placement.core_of[name] for name in names],
            "spare_cores": placement.spare_cores, "bad_cores": placement.bad_cores, "strategy": placement.strategy,
            **({} if placement.spares_for == "all" else {"spares_for": placement.spares_for, "spare_layers": sorted(placement.spare_layers.items())}),
        },
    )  # fmt: skip


def _synapses(synapses: Synapses) -> Any:
    if not isinstance(synapses, Conv) or synapses.delay is not None:
        return synapses
    return Record(
        "Conv",
        {
            "weight": synapses.weight, "in_shape": synapses.in_shape, "stride": synapses.stride, "padding": synapses.padding,
            "dilation": synapses.dilation, "groups": synapses.groups,
        },
    )  # fmt: skip


def _chip_layer(link: ChainLink[ChipPopulation, ChipConnection]) -> Record:
    population, own = link.population, link.connection
    return Record(
        "ChipLayer",
        {
            "name": population.name, "shape": population.shape, "synapses": None if own is None else _synapses(own.synapses),
            "weight_exponent": 0 if own is None else own.weight_exponent, "weight_bits": 8 if own is None else own.weight_bits,
            "sign_mode": "mixed" if own is None else own.sign_mode, "du": population.du, "dv": population.dv, "vth": population.vth,
            "bias_mantissa": population.bias_mantissa, "bias_exponent": population.bias_exponent, "v_init": population.v_init,
            "fires": population.fires,
        }
        | _own_law(population.law),
    )  # fmt: skip


def _layer(link: ChainLink[Population, Connection], *, written: bool) -> Record:
    population, own = link.population, link.connection
    match population.neuron:
        case Source() as source:
            neuron, stored = _input(source, population.size, written=written), source.threshold is not None
        case neuron:
            stored = neuron.bias_exponent is not None
    form = {} if own is None or own.stored is None else {
        "weight_exponent": own.stored.weight_exponent, "weight_bits": own.stored.weight_bits, "sign_mode": own.stored.sign_mode,
    }  # fmt: skip
    usual = {"weight_exponent": 0, "weight_bits": 8, "sign_mode": "mixed"}
    return Record(
        "Layer",
        {
            "name": population.name, "shape": population.shape, "synapses": None if own is None else _synapses(own.synapses),
            "threshold": neuron.threshold, "bias": neuron.bias, "du": neuron.du, "dv": neuron.dv, "start": neuron.start,
            "stored": Record("StoredFormat", {**usual, **form, "bias_exponent": neuron.bias_exponent}) if stored else None,
        }
        | {name: value for name, value in _cuba_lif(neuron).fields.items() if name not in FIRST},
    )  # fmt: skip


def _input(source: Source, size: int, *, written: bool) -> CubaLif:
    """Return the neurons that an input was described by; it has integers if it says its threshold."""
    encoding = source.encoding
    if encoding is None:  # its neurons do nothing: events are their spikes
        return CubaLif(1.0, 0.0, source.du, source.dv, float(source.start or 0), source.bias_exponent, source.reset)
    if source.threshold is not None:
        return CubaLif(
            source.threshold, source.bias, source.du, source.dv, float(source.start or 0), source.bias_exponent, source.reset
        )
    bias = np.zeros(size) if written else 0.0
    return CubaLif(float(encoding.threshold), bias, source.du, source.dv, _fraction(encoding), reset=source.reset)


def _fraction(encoding: Encoding) -> float:
    """Return the shortest fraction of the threshold from which the start of a pixel table comes."""
    full = encoding.threshold << 6
    found = (round(encoding.start / full, digits) for digits in range(1, 18))
    return next((one for one in found if int(one * full) == encoding.start), encoding.start / full)
