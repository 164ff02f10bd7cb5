"""`neurofault inject` as a value: the whole experiment from a setup to one JSON-ready mapping."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from neurofault.deploy.cost import CostByPlace, EnergyChange, cost_by_place, energy_changes
from neurofault.deploy.deployment import Deployment
from neurofault.engines import run
from neurofault.engines.health import cut_off
from neurofault.errors import FaultError, UsageError
from neurofault.faults import CoreDead, Fault, fault_to_mapping
from neurofault.faults.idle import idle_notes, of_draws
from neurofault.faults.places import populations_named
from neurofault.faults.timing import PERMANENT
from neurofault.metrics import ACCURACY
from neurofault.numerals import plural
from neurofault.progress import Progress
from neurofault.study.hits import hits_to_json
from neurofault.study.lesion import Lesion, Measured, how_run, lesion, measure
from neurofault.study.prepare import Prepared
from neurofault.study.protect.charge import Charge, charge
from neurofault.study.protect.prepared import hit_alike
from neurofault.study.shown import shown

_LOOKED_AT = 100
"""Samples on which the chip without rounding is looked at."""


@dataclass(frozen=True, eq=False)
class Injection:
    """Everything that `neurofault inject` reports.

    Attributes:
        prepared: the healthy chip and where it came from.
        engine: which engine ran it.
        seed: of the faults.
        ann_accuracy: of the torch network on the same images; None for a network that was spiking already.
        spiking_accuracy: on the chip's arithmetic with 15-bit weights: the conversion without the rounding.
        tried: lesions with fewer faults that did not yet show (only where no number was asked for).
        lesion: the one that is reported.
        unrounded_notes: what is wrong with the figure ``spiking_accuracy``.
        device: where engine exact ran; no result says it, since none depends on it.
        bare: of a protected chip, the same faults on the chip without protection, where that has what they hit; else None.
    """

    prepared: Prepared
    engine: str
    seed: int
    ann_accuracy: float | None
    spiking_accuracy: float
    tried: tuple[Lesion, ...]
    lesion: Lesion
    unrounded_notes: tuple[str, ...] = ()
    device: str = "cpu"
    bare: Lesion | None = None

    @cached_property
    def charge(self) -> Charge:
        """What the chip's protection costs."""
        return charge(self.prepared.deployment, self.lesion.healthy.spike_counts, len(self.prepared.test))

    @property
    def regained(self) -> float | None:
        """Share of the loss that the protection takes back, of the means over draws; None where nothing is lost, or there is no protection."""
        hurt = None if self.bare is None else self.bare.accuracy
        safe, whole = self.lesion.accuracy, self.lesion.healthy.accuracy
        if hurt is None or safe is None or hurt.mean == whole:
            return None
        return (safe.mean - hurt.mean) / (whole - hurt.mean)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is suspect about the healthy chip, and which faults did nothing in which draws."""
        samples = len(self.prepared.test)
        idle = of_draws((draw.draw, idle_notes(draw.deployment, samples, self.lesion.faults)) for draw in self.lesion.draws)
        return (*self.prepared.notes, *self.unrounded_notes, *idle)

    @property
    def headline(self) -> str:
        """The answer in one sentence: what was lost, with its 95 % interval over draws, or exactly where all outcomes are known.

        The interval is that of the damaged value, taken from the healthy one, which is the same in every draw.
        """
        lesions, metric = self.lesion, self.prepared.metric
        found, healthy = lesions.accuracy, lesions.healthy.accuracy
        what = _what_fails(self.prepared.deployment, lesions.faults)
        what = what if self.prepared.bare is None else f"With its protection, {what[0].lower()}{what[1:]}"
        if found is None:
            return f"{what} stalls the chip in every draw: nothing is answered"
        scale, sign = (1.0, 1) if metric.lower else (100.0, -1)
        if found.low is None or found.high is None:
            bounds = "one draw, no interval"
        elif lesions.exact is not None:
            bounds = "exact: the only outcome" if lesions.exact.n == 1 else f"exact: all {plural(lesions.exact.n, 'outcome')}"
        else:
            low, high = sorted(scale * sign * (end - healthy) for end in (found.low, found.high))
            bounds = f"{low:.4g}, {high:.4g}" if metric.lower else f"{low:.2f}, {high:.2f}"
        without = None if self.bare is None else self.bare.accuracy
        beside = "" if without is None else f"; without it {metric.shown(without.mean)}"
        if metric.lower:
            return (
                f"{what} adds {found.mean - healthy:.4g} [{bounds}] to the {metric.words}, {healthy:.4g} → {found.mean:.4g}{beside}"
            )
        cost, change = 100 * (healthy - found.mean), f"{metric.shown(healthy)} → {metric.shown(found.mean)}"
        return f"{what} {'costs' if cost >= 0 else 'gains'} {abs(cost):.2f} points of {metric.words} [{bounds}], {change}{beside}"

    @property
    def how(self) -> dict[str, list[int]]:
        """How the draws were run, each with its draws (:func:`neurofault.study.lesion.how_run`)."""
        found: dict[str, list[int]] = {}
        inputs = shown(self.prepared.deployment, self.prepared.test)
        for draw, how in zip(self.lesion.draws, how_run(self.lesion, inputs, engine=self.engine), strict=True):
            found.setdefault(how, []).append(draw.draw)
        return found

    @cached_property
    def energy_changes(self) -> dict[int, tuple[EnergyChange, ...]]:
        """Draw → the places at which it changes the energy of an inference; draws that stalled, and all where the table knows no energy, are left out."""
        samples = len(self.prepared.test)

        def places(chip: Deployment, measured: Measured) -> CostByPlace:
            return cost_by_place(chip, measured.spike_counts, samples)

        if self.lesion.healthy.cost.energy.value is None:
            return {}
        healthy = places(self.prepared.deployment, self.lesion.healthy)
        return {
            draw.draw: energy_changes(healthy, places(draw.deployment, draw.measured))
            for draw in self.lesion.draws
            if draw.measured is not None and draw.measured.cost.energy.value is not None
        }

    @property
    def energy_by_core(self) -> dict[int, float]:
        """Core → joules a sample more than healthy, a mean over the draws that ran; cores at which nothing changes are left out."""
        return _summed([one for changes in self.energy_changes.values() for one in changes], len(self.energy_changes), "core")

    @property
    def chance(self) -> float:
        """What the best constant answer reaches on these images, by the metric."""
        return self.prepared.metric.chance(self.prepared.test.expected)


def injection(
    prepared: Prepared,
    faults: Sequence[Fault] | None,
    *,
    layer: str,
    draws: int,
    seed: int,
    engine: str,
    progress: Progress,
    device: str = "cpu",
) -> Injection:
    """Run a lesion experiment on a prepared chip.

    Args:
        prepared: from :func:`neurofault.study.prepare.prepare`.
        faults: one plan; None: kill 1, 2, 3 … cores of ``layer`` until the damaged mean is below the healthy accuracy by more than three
            half-widths of the interval over draws.
        layer: where cores are killed if ``faults`` is None.
        draws: number of draws, at least 1; at least 2 if ``faults`` is None.
        seed: of the faults.
        engine: name of the engine.
        progress: called as work goes on.
        device: where engine ``exact`` runs, as of :func:`neurofault.run`.
    """
    if draws < 1:
        raise UsageError(f"draws must be at least 1, is {draws}")
    if faults is None and draws < 2:
        raise UsageError("one draw has no interval, so nothing says when an effect shows; give --draws 2 or more, or --kill-cores")
    chip, test, metric = prepared.deployment, prepared.test, prepared.metric
    inputs = shown(chip, test)

    def attempt(plan: Sequence[Fault], healthy: Measured | None) -> Lesion:
        return lesion(
            chip,
            test,
            plan,
            draws=draws,
            seed=seed,
            engine=engine,
            metric=metric,
            healthy=healthy,
            progress=progress,
            device=device,
        )

    if prepared.bare is not None:
        hit_alike(
            prepared.bare, chip, [CoreDead(count=1, layer=layer)] if faults is None else faults
        )  # refused before anything runs
    tried: list[Lesion] = []
    if faults is not None:
        seen = attempt(faults, None)
    else:
        healthy = measure(chip, inputs, test, engine=engine, metric=metric, device=device)
        count = 1
        seen = attempt([CoreDead(count=count, layer=layer)], healthy)
        while not seen.shows():
            tried.append(seen)
            count += 1
            try:
                seen = attempt([CoreDead(count=count, layer=layer)], healthy)
            except FaultError:  # every core of the layer is dead already: report that
                seen = tried.pop()
                break
    bare = None
    if prepared.bare is not None and (alike := hit_alike(prepared.bare, chip, seen.faults)) is not None:
        same = not chip.protection.computes_otherwise
        bare = lesion(
            prepared.bare, test, alike, draws=draws, seed=seed, engine=engine, metric=metric,
            healthy=seen.healthy if same else None, progress=progress, device=device,
        )  # fmt: skip
    unrounded = prepared.unrounded()
    spiking = measure(unrounded, inputs, test, engine="exact", metric=prepared.metric_on(unrounded), device=device)
    wrong = tuple(
        f"of the row 'spiking', weights not yet rounded: {note}"
        for note in cut_off(unrounded, run(unrounded, inputs[: min(len(inputs), _LOOKED_AT)]).activity)
    )
    return Injection(prepared, engine, seed, prepared.ann_accuracy(), spiking.accuracy, tuple(tried), seen, wrong, device, bare)


def _what_fails(chip: Deployment, faults: Sequence[Fault]) -> str:
    """Return in words what fails, as the subject of a sentence."""
    match faults:
        case [CoreDead(count=int(count), cores=None, at=None, where="random") as fault] if fault.when == PERMANENT:
            layer = fault.layer or "hidden"
            cores = {core for name in populations_named(chip, layer) for core in chip.placement.cores_of(name)}
            where = "" if layer == "any" else f" {layer}"
            return f"Losing {count} of {plural(len(cores), f'{where} core'.strip())}"
    return " and ".join(map(in_words, faults))


def in_words(fault: Fault) -> str:
    """Return a fault as ``kind (key value, …)``, without keys that say nothing."""
    spec = dict(fault_to_mapping(fault))
    kind = spec.pop("kind")
    return f"{kind} ({', '.join(f'{key} {value}' for key, value in spec.items() if value is not None)})"


def _summed(changes: Sequence[EnergyChange], draws: int, by: Literal["core", "population"]) -> dict[Any, float]:
    """Return what changes at each core or population, a mean over so many draws."""
    found: dict[Any, list[float]] = {}
    for one in changes:
        found.setdefault(getattr(one, by), []).append(one.change)
    means = {place: math.fsum(values) / draws for place, values in sorted(found.items())}
    return {place: mean for place, mean in means.items() if mean}


def _changes(changes: Sequence[EnergyChange], draws: int) -> dict[str, Any]:
    """Return changes of the energy as JSON, nothing where there are none."""
    if not changes:
        return {}
    return {
        "energy_change_joule_per_inference": {
            "by_core": {str(core): value for core, value in _summed(changes, draws, "core").items()},
            "by_population": _summed(changes, draws, "population"),
        }
    }


def _bound(lesions: Lesion) -> dict[str, Any]:
    """Return what an energy that is not known is at least, as JSON; nothing where it is known, or nothing of it is."""
    least = lesions.healthy.cost.energy.at_least
    if least is None:
        return {}
    damaged = [draw.measured.cost.energy.at_least for draw in lesions.draws if draw.measured is not None]
    return {
        "energy_at_least_joule_per_inference": least.value,
        "energy_at_least_joule_per_inference_damaged": _mean([None if each is None else each.value for each in damaged]),
        "energy_at_least_of": list(least.events),
    }


def _protection(result: Injection) -> dict[str, Any]:
    """Return what protects the chip, what it costs and what it takes back, as JSON; nothing where nothing does."""
    if result.prepared.bare is None:
        return {}
    cost, hurt = result.charge, None if result.bare is None else result.bare.accuracy
    return {
        "protection": {
            "asked": [json.loads(text) for text in result.prepared.deployment.protection.asked],
            "unprotected_accuracy": {
                "mean": None if hurt is None else hurt.mean,
                "low": None if hurt is None else hurt.low,
                "high": None if hurt is None else hurt.high,
            },
            "regained": result.regained,
            "stored_bits": cost.stored_bits,
            "data_bits": cost.data_bits,
            "check_bits": cost.check_bits,
            "map_bits": cost.map_bits,
            "copied_bits": cost.copied_bits,
            "added_bits_share": cost.added,
            "cores": cost.cores,
            "bits_read_per_inference": cost.bits_read,
            "energy_joule_per_inference": cost.energy,
            "time_second_per_inference": cost.time,
        }
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def to_json(result: Injection, *, explain: bool = False) -> dict[str, Any]:
    """Return the result as JSON-ready types; no paths, times or machine facts, so that equal runs give equal bytes.

    ``encoding`` (:class:`neurofault.data.scaling.Scaling`) stands there where the data are real values; ``reset`` where it is ``never``, ``calibrate`` where it is not ``usual``, ``metric``
    where it is not ``accuracy``, all ``…accuracy`` being its values then, and ``labels``, how many count, where they are of steps (of targets ``values``). Of targets (``metric`` is ``mean-squared-error``, or ``mean-squared-error-step``) ``mean_squared_error`` stands in every name in the place of ``accuracy``. Of a protected chip ``protection`` says what it was, what it costs, and what the same faults do without it. With ``explain``, ``explained`` says how the draws were run (:attr:`Injection.how`). ``notes`` stands at the end where something is suspect about the healthy chip or a fault did nothing in some draw, else it is left out.

    ``energy_change_joule_per_inference`` says where a draw takes more energy than the healthy chip (less: negative), ``by_core`` (core id as a string → joules a sample) and ``by_population``; beside ``draws`` it is the mean over the
    draws that ran. Places at which nothing changes are left out, and the key where nothing does.
    """
    prepared, lesions = result.prepared, result.lesion
    chip = prepared.deployment
    cost = lesions.healthy.cost
    interval = lesions.accuracy
    found = (
        {
            "profile": prepared.profile.name,
            "network": prepared.setup.network,
            "weights": prepared.weights,
            "data": prepared.data.name,
            "samples": len(prepared.test),
            "timesteps": chip.timesteps,
            **({} if chip.reset == "sample" else {"reset": chip.reset}),
            **({} if prepared.setup.calibrate == "usual" else {"calibrate": prepared.setup.calibrate}),
            **({} if prepared.metric == ACCURACY else {"metric": prepared.metric.name}),
            **(
                {"values" if prepared.metric.lower else "labels": prepared.metric.number(prepared.test.expected)}
                if prepared.metric.of_steps
                else {}
            ),
            "seed": result.seed,
            "engine": result.engine,
            "weight_bits": prepared.setup.weight_bits,
            "chips": chip.placement.chips,
            "cores_used": len(chip.placement.used_cores),
            "cores_by_layer": {one.name: len(chip.placement.cores_of(one.name)) for one in chip.populations},
            "ann_accuracy": result.ann_accuracy,
            "spiking_accuracy": result.spiking_accuracy,
            "healthy_accuracy": lesions.healthy.accuracy,
            "chance_accuracy": result.chance,
            "damaged_accuracy": {
                "mean": None if interval is None else interval.mean,
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "interval": None if interval is None or interval.low is None else interval.method,
                "outcomes": None if lesions.exact is None else lesions.exact.n,
            },
            "faults": [fault_to_mapping(fault) for fault in lesions.faults],
            "n_draws": len(lesions.draws),
            "draws": [
                {
                    "draw": draw.draw,
                    "status": draw.status,
                    "accuracy": None if draw.measured is None else draw.measured.accuracy,
                    "spikes": None if draw.measured is None else draw.measured.spikes,
                    "energy_joule_per_inference": None if draw.measured is None else draw.measured.cost.energy.value,
                    "faults": hits_to_json(draw.deployment),
                    **_changes(result.energy_changes.get(draw.draw, ()), 1),
                }
                for draw in lesions.draws
            ],
            "spikes_healthy": lesions.healthy.spikes,
            "energy_joule_per_inference": cost.energy.value,
            "energy_joule_per_inference_damaged": _mean(
                [draw.measured.cost.energy.value for draw in lesions.draws if draw.measured is not None]
            ),
            **_changes([one for part in result.energy_changes.values() for one in part], len(result.energy_changes)),
            "energy_evidence": cost.energy.evidence,
            "energy_table": cost.table,
            "energy_not_included": list(cost.energy.missing),
            **_bound(lesions),
            "static_energy_joule_per_inference": cost.static_energy.value,
            "time_second_per_inference": cost.time.value,
            "time_evidence": cost.time.evidence,
        }
        | ({"encoding": prepared.scaling.to_json()} if prepared.scaling is not None else {})
        | _protection(result)
        | ({"explained": result.how} if explain else {})
        | ({"notes": list(result.notes)} if result.notes else {})
    )
    return dict(prepared.metric.named(found))
