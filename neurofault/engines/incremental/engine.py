"""The incremental engine: whole damaged deployments as differences from one healthy run, else the exact engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from neurofault.activity import DEAD_SCORE, Activity
from neurofault.damage.damage import Damage, SingleSynapses
from neurofault.deploy.deployment import Deployment
from neurofault.engines.exact.engine import ExactEngine
from neurofault.engines.incremental.fault_rows import edit_rows
from neurofault.engines.incremental.golden import KEPT_BYTES, Golden, follow_faults, golden
from neurofault.engines.incremental.limits import Course, course, refusal
from neurofault.engines.on_torch.devices import CPU
from neurofault.engines.on_torch.engine import TorchEngine, exact_on
from neurofault.errors import UnsupportedError
from neurofault.graph.synapses import Conv, Sparse, Synapses
from neurofault.inputs import Bias, Inputs, Spikes, State

_MOST_SHARE = 0.5
_TALLIED_BYTES = 256 << 20


@dataclass(eq=False)
class IncrementalEngine:
    """Runs damaged chips as differences from their healthy side; falls back to the exact engine where that would not pay, or cannot be.

    The healthy run is kept from call to call for the same integers and the same encoded samples.

    Attributes:
        threads: worker threads; None: one for each usable core. Results do not depend on it.
        keep_bytes: how much of the healthy run is kept.
        device: where the exact engine runs what is not followed (:data:`neurofault.engines.on_torch.devices.DEVICES`).
        name: the engine's.
        whole: how many chips the exact engine has run so far.
    """

    threads: int | None = None
    keep_bytes: int = KEPT_BYTES
    device: str = CPU
    name: str = "incremental"
    whole: int = 0
    _kept: Golden | None = field(default=None, repr=False)

    def supports(self, deployment: Deployment) -> str | None:
        """Return None if this engine or the exact one can run the deployment, else the reason, naming the connection."""
        return self._exact.supports(deployment)

    @property
    def _exact(self) -> ExactEngine | TorchEngine:
        return exact_on(self.device, self.threads)

    def run(
        self,
        deployment: Deployment,
        inputs: Inputs,
        *,
        record: Collection[str] = (),
        state: State | None = None,
        stop: int | None = None,
    ) -> Activity:
        """Present every sample for T steps, or for some of them (see :class:`neurofault.engines.base.Engine`)."""
        if record or state is not None or stop is not None:
            return self._exact.run(deployment, inputs, record=record, state=state, stop=stop)
        return self.run_many([deployment], inputs)[0]

    def run_many(self, deployments: Sequence[Deployment], inputs: Inputs) -> list[Activity]:
        """Present every sample to each of several deployments that differ in their damage alone.

        Raises:
            StalledError: a hung core stops one of the chips.
            UnsupportedError: nothing runs one of them; the text says why.
        """
        if deployments:
            inputs = inputs.named(deployments[0].inputs)
        for chip in deployments:
            if (reason := self._exact.supports(chip)) is not None:
                raise UnsupportedError(f"engine 'incremental' cannot run {reason}")
        chosen = [at for at, chip in enumerate(deployments) if self.why_whole(chip, len(inputs), len(deployments)) is None]
        whole = self._healthy(deployments[chosen[0]], inputs) if chosen else None
        if whole is None:
            chosen = []
        chosen = [index for index in chosen if whole is not None and _same_side(deployments[index], whole.deployment)]
        found = dict(zip(chosen, self._activities(whole, [deployments[index] for index in chosen]), strict=True)) if whole else {}
        self.whole += len(deployments) - len(found)
        return [found[index] if index in found else self._exact.run(chip, inputs) for index, chip in enumerate(deployments)]

    def _healthy(self, deployment: Deployment, inputs: Inputs) -> Golden | None:
        """Return the healthy run, an earlier one if it is the same; None where the engine cannot do it."""
        kept = self._kept
        if kept is not None and _same_side(kept.deployment, deployment) and _same(kept.inputs, inputs):
            return kept
        try:
            self._kept = golden(deployment.with_damage(Damage()), inputs, threads=self.threads, keep_bytes=self.keep_bytes)
        except UnsupportedError:
            return None
        return self._kept

    def why_whole(self, deployment: Deployment, samples: int, together: int = 1) -> str | None:
        """Return None if a damaged chip is run as a difference from its healthy side, else why the exact engine runs it whole.

        Args:
            deployment: the chip.
            samples: how many are presented.
            together: how many chips are run at a time (:meth:`run_many`).
        """
        found = self._course(deployment)
        if isinstance(found, str):
            return found
        share = touched_share(deployment, found)
        if share >= _MOST_SHARE:
            return f"damage that may touch {min(share, 1):.0%} of the work"
        size = sum(one.size for one in deployment.populations if not one.is_source) * deployment.timesteps * 4 * samples
        return "one chip alone, whose healthy run is too large to be kept" if size > self.keep_bytes and together < 2 else None

    def explained(self, deployment: Deployment, samples: int, together: int = 1) -> str:
        """Say how a damaged chip is run, and why it is not followed all the way, or not at all; arguments as of :meth:`why_whole`."""
        whole, found = self.why_whole(deployment, samples, together), self._course(deployment)
        if whole is not None or isinstance(found, str):
            return f"whole: {whole}"
        if not found.rest:
            return "followed"
        names = ", ".join(repr(one.name) for one in deployment.populations if one.name in found.rest)
        where = "run on every sample" if found.always else "run on the samples in which anything reaches them"
        return f"followed, but layers {names} {where}: {found.why}"

    def _course(self, deployment: Deployment) -> Course | str:
        healthy = deployment.with_damage(Damage())
        return refusal(healthy) or course(healthy, deployment.damage.edits)

    def _activities(self, whole: Golden, deployments: Sequence[Deployment]) -> list[Activity]:
        done: list[Activity] = []
        flat = whole.flat
        per = max(1, _TALLIED_BYTES // (8 * (whole.scores.size + len(whole) + flat.neurons)))
        for start in range(0, len(deployments), per):
            part = deployments[start : start + per]
            batch = edit_rows(whole, [chip.damage.edits for chip in part], whole=True)
            tally, _ = follow_faults(batch, None, self.threads, full=True)
            for row, chip in enumerate(part):
                spikes = whole.spikes + tally.spikes[row]
                scores = tally.scores[row].copy()
                scores[:, chip.damage.silent(chip.output.name, chip.output.size)] = DEAD_SCORE
                counts = {one.name: spikes[flat.place_of[one.name]] for one in chip.populations}
                done.append(Activity(scores, counts, whole.sample_spikes + tally.sample_spikes[row]))
        return done


def _same_side(first: Deployment, second: Deployment) -> bool:
    """Whether two deployments differ in nothing but their damage, as far as an engine sees."""
    return _same_integers(first, second) and first.readout == second.readout and first.timesteps == second.timesteps


def _same_integers(first: Deployment, second: Deployment) -> bool:
    return first.populations is second.populations and first.connections is second.connections


def _same(first: Inputs, second: Inputs) -> bool:
    """Whether two inputs, by name, are equal."""
    if first.parts.keys() != second.parts.keys() or first.first_sample != second.first_sample:
        return False
    return all(_same_part(first.parts[name], second.parts[name]) for name in first.parts)


def _same_part(first: Bias | Spikes, second: Bias | Spikes) -> bool:
    """Whether two parts are equal; the first is the healthy run's own copy."""
    if isinstance(first, Bias) and isinstance(second, Bias):
        return np.array_equal(first.mantissa, second.mantissa)
    if isinstance(first, Spikes) and isinstance(second, Spikes):
        return (first.timesteps, first.size) == (second.timesteps, second.size) and all(
            np.array_equal(one, other)
            for one, other in (
                (first.starts, second.starts),
                (first.steps, second.steps),
                (first.neurons, second.neurons),
            )
        )
    return False


def touched_share(deployment: Deployment, way: Course) -> float:
    """Return the share of a full run's work that following the damage may take at most, roughly (0: nothing, 1: all); what is run anew counts where it is on every sample."""
    total = work = 0.0
    changed: dict[str, float] = {}
    for island in deployment.schedule.islands:
        for name in island:
            population = deployment.population(name)
            own = np.zeros(population.size, bool)
            reached, arriving = 0.0, 8.0 * population.size
            for edit in deployment.damage.of_population(name):
                own[edit.neurons] = True
            for one in deployment.into(name):
                for broken in deployment.damage.of_connection(one.name):
                    if isinstance(broken, SingleSynapses):
                        own[broken.targets] = True
                        work += len(broken.targets)
                share, fan_out = changed.get(one.source, 0.0), _fan_out(one.synapses)
                arriving += one.synapses.n_in * fan_out
                if name != deployment.readout.population or isinstance(one.synapses, Conv):
                    work += 2 * share * one.synapses.n_in * fan_out
                    spread = (1.0 if share else 0.0) if not isinstance(one.synapses, Conv) else min(1.0, share * fan_out)
                    reached = max(reached, spread)
            total += arriving
            if way.always and name in way.rest:
                work += arriving
                continue
            if name != deployment.readout.population:
                work += 12.0 * population.size * max(reached, float(own.mean()))
            changed[name] = 1.0 if reached else float(own.mean())
    return work / max(total, 1.0)


def _fan_out(synapses: Synapses) -> float:
    """Return how many synapses a source has, on average."""
    match synapses:
        case Conv(weight=weight):
            return float(weight[:, 0].size)
        case Sparse():
            return len(synapses.targets) / max(synapses.n_in, 1)
        case _:
            return float(synapses.n_out)
