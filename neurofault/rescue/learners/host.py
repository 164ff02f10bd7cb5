"""Off-chip repair, `host`: a computer retrains a copy of the damaged chip and writes the result back.

The copy is the snnTorch twin of :func:`neurofault.engines.on_snntorch.engine.twin`: the chip's own integers, with a surrogate gradient
(fast sigmoid, Zenke & Ganguli 2018, Neural Computation 30(6)) through its spikes, and the damage in it. The loss is the multi-class
hinge of Crammer & Singer 2001 (JMLR 2), with the margin of the learners on chip: it leaves a network that is right alone, where cross
entropy would go on pulling. Where targets are to be answered it is half the squared error, in margins. Weights are float shadows that the forward pass sees rounded to the stored grid (BinaryConnect, Courbariaux et al. 2015,
arXiv:1511.00363). After each step every synapse that is dead, stuck or not plastic is put back, whatever an optimiser's momentum says,
and what an optimiser remembers is forgotten whenever the chip was damaged or re-placed.

Charged: weights read and written, labels (the host has the samples already). The host's own computing is not the chip's and not charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from neurofault.damage.stored import field_shift
from neurofault.deploy.deployment import Deployment
from neurofault.deploy.memory import WriteGate, stored_weights, write, write_gate
from neurofault.engines.on_snntorch.engine import check_twin, twin
from neurofault.errors import UnsupportedError, UsageError
from neurofault.graph import Dense
from neurofault.graph.chip import ChipConnection
from neurofault.inputs import Inputs
from neurofault.metrics import Expected
from neurofault.rescue.budget import Spent
from neurofault.rescue.charge import cost_of_writes
from neurofault.rescue.guard import Differences
from neurofault.rescue.learners import gain
from neurofault.rescue.learners.errors import usual_margin
from neurofault.rescue.learners.unchanging import arriving_spikes
from neurofault.rescue.lesson import Lesson, Plasticity, Taught, check_labels
from neurofault.rescue.provision import Provision

if TYPE_CHECKING:
    from torch import Tensor, optim

Optimiser = Literal["sgd", "momentum", "adam"]
_LIMIT = 10.0
"""Largest :func:`host_gain`; on ``mnist-mlp`` on Loihi 2, where the rate was tuned, it is 7.4."""

_SQUARED_LIMIT = 0.5
"""The same where squared errors are made smaller, whose steps grow with the error: with a momentum of 0.9 those above 3.8 diverge."""

OPTIMISERS: tuple[Optimiser, ...] = ("sgd", "momentum", "adam")


@dataclass(frozen=True, eq=False)
class HostMemory:
    """What the host keeps between lessons.

    Attributes:
        shadow: connection → float32 [n_out, n_in], weights before rounding.
        optimiser: state of the optimiser; None: forgotten.
        writes: connection → int32 [n_out, n_in], how often each synapse was written.
    """

    shadow: Mapping[str, NDArray[np.float32]]
    optimiser: dict[str, Any] | None
    writes: Mapping[str, NDArray[np.int32]]


@final
@dataclass(frozen=True)
class HostLearning:
    """Surrogate-gradient training off chip; made by :func:`host`.

    Attributes:
        margin: of the loss, > 0, in the unit of v (spikes for a count readout).
        optimiser: ``sgd``, ``momentum`` (0.9) or ``adam``.
        rate: learning rate of the first sample, > 0; weights count in stored units, scores in margins; for ``adam`` in weight units a step.
        decay: after c cycles the rate is ``rate / (1 + decay · c)``, at least 0.
        batch: samples of a step, at least 1.
    """

    margin: float
    optimiser: Optimiser = "momentum"
    rate: float = 10_000.0
    decay: float = 4.0
    batch: int = 100

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UsageError(f"host: optimiser must be {', '.join(OPTIMISERS)}, is {self.optimiser!r}")
        for name in ("margin", "rate", "batch"):
            if not getattr(self, name) > 0:
                raise UsageError(f"host: {name} must be above 0, is {getattr(self, name)}")
        if not self.decay >= 0:
            raise UsageError(f"host: decay must be at least 0, is {self.decay}")

    @property
    def name(self) -> str:
        """``host``."""
        return "host"

    @property
    def on_chip(self) -> bool:
        """False."""
        return False

    def trainable(self, deployment: Deployment) -> tuple[str, ...]:
        """Return the names of the dense connections: the write gate takes no others."""
        return tuple(one.name for one in deployment.connections if isinstance(one.synapses, Dense))

    def provide(self, deployment: Deployment, plasticity: Plasticity) -> Provision:
        """Return nothing: the chip itself does not learn.

        Raises:
            UnsupportedError: the twin would not be the chip; the text names the population or connection.
        """
        check_twin(deployment)
        return Provision()

    def teach(self, deployment: Deployment, lesson: Lesson, memory: HostMemory | None = None) -> Taught:
        """See :meth:`neurofault.rescue.lesson.Learner.teach`."""
        check_labels(deployment, lesson)
        plastic = lesson.plasticity.chosen(self.trainable(deployment))
        if not plastic:
            raise UsageError(f"host can train {', '.join(self.trainable(deployment))}, none of which is plastic")
        if not deployment.damage.plain:
            raise UnsupportedError(
                "host: the damage comes and goes in time, which the host's copy of the chip cannot follow; learners that can: delta, dfa, falling, homeostasis"
            )
        gates = {name: write_gate(deployment, name) for name in plastic}
        stored = {name: stored_weights(deployment, name) for name in plastic}
        speed = {name: _speed(gate, lesson.plasticity) for name, gate in gates.items()}
        shadow = {name: _shadow(weights, _step(gates[name].connection), memory, name) for name, weights in stored.items()}
        known = np.flatnonzero(lesson.labels >= 0)
        state = None if memory is None or lesson.fresh else memory.optimiser
        if known.size:
            shadow, state = self._train(deployment, lesson, known, shadow, speed, state)
        counts = {
            name: np.zeros(weights.shape, np.int32) if memory is None or name not in memory.writes else memory.writes[name].copy()
            for name, weights in stored.items()
        }
        taught, written = _write_back(deployment, lesson, gates, stored, shadow, speed, counts)
        read = sum(weight.size for weight in stored.values()) if memory is None or lesson.fresh else 0
        width = max(gate.connection.weight_bits for gate in gates.values())
        moved = read * width // 8 + written * 8 + lesson.bytes_told
        energy, time = cost_of_writes(deployment.profile, written)
        spent = Spent(samples=len(lesson.labels), writes=written, host_bytes=moved, energy=energy, time=time)
        return Taught(taught, spent, HostMemory(shadow, state, counts))

    def written_back(self, memory: HostMemory | None, differing: Differences) -> HostMemory | None:
        """See :meth:`neurofault.rescue.lesson.Learner.written_back`; shadows follow the chip by themselves."""
        if memory is None:
            return None
        writes = {
            name: done + differing.weights[name] if name in differing.weights else done for name, done in memory.writes.items()
        }
        return HostMemory(memory.shadow, None, writes)

    def _train(
        self,
        deployment: Deployment,
        lesson: Lesson,
        known: NDArray[np.int64],
        shadow: dict[str, NDArray[np.float32]],
        speed: dict[str, NDArray[np.float32]],
        state: dict[str, Any] | None,
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Return the shadows and the optimiser's state after one pass over the labelled samples."""
        import torch
        from torch.nn import functional

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # batches are too small to share, and sums must not depend on the number of threads
        try:
            module = twin(deployment)
            weights: dict[str, Tensor] = {name: module.weight(name) for name in shadow}
            floats = {name: torch.from_numpy(values.copy()) for name, values in shadow.items()}
            rates = {name: torch.from_numpy(values) for name, values in speed.items()}
            steps = {name: float(_step(deployment.connection(name))) for name in shadow}
            ranges = {name: _range(deployment.connection(name)) for name in shadow}
            for parameter in module.parameters():
                parameter.requires_grad_(False)
            for weight in weights.values():
                weight.requires_grad_(True)
            optimiser = self._optimiser(list(floats.values()))
            if state is not None:
                optimiser.load_state_dict(state)
            for start in range(0, known.size, self.batch):
                chosen = known[start : start + self.batch]
                arriving = _events(deployment, lesson.inputs, chosen)
                with torch.no_grad():
                    for name, weight in weights.items():
                        rounded = torch.round(floats[name] / steps[name]) * steps[name]
                        weight.copy_(rounded.clamp(*ranges[name]))
                        weight.grad = None
                response = module(arriving)
                scores = response.potential if deployment.readout.how == "potential" else response.counts
                dead = module.population(deployment.readout.population).alive == 0
                if lesson.targets is None:
                    scores = scores.masked_fill(dead, -1e9)
                    hinge = functional.multi_margin_loss(scores / self.margin, torch.from_numpy(lesson.labels[chosen]))
                    loss = hinge * (scores.shape[1] / 2)  # torch takes the mean over classes
                else:
                    wanted = torch.from_numpy(lesson.targets[chosen]).to(scores.dtype)
                    loss = (((scores - wanted) / self.margin).masked_fill(dead, 0.0) ** 2).sum(dim=1).mean() / 2
                loss.backward()
                before = {name: values.clone() for name, values in floats.items()}
                for name, weight in weights.items():
                    floats[name].grad = weight.grad
                for group in optimiser.param_groups:
                    group["lr"] = self.rate / (1 + self.decay * (lesson.first + int(chosen[0])) / lesson.cycle)
                optimiser.step()
                with torch.no_grad():
                    for name, values in floats.items():
                        moved = before[name] + rates[name] * (values - before[name])
                        values.copy_(moved.clamp(*ranges[name]))
            return {name: values.numpy() for name, values in floats.items()}, optimiser.state_dict()
        finally:
            torch.set_num_threads(threads)

    def _optimiser(self, weights: list[Tensor]) -> optim.Optimizer:
        from torch import optim

        match self.optimiser:
            case "adam":
                return optim.Adam(weights, self.rate)
            case "momentum":
                return optim.SGD(weights, self.rate, momentum=0.9)
            case _:
                return optim.SGD(weights, self.rate)


def host(deployment: Deployment, inputs: Inputs, labels: Expected, *, scaled: bool = True, **options: Any) -> HostLearning:
    """Return `host`, its margin and its rate taken from the healthy chip.

    Args:
        deployment: the chip.
        inputs: encoded samples, from which the usual distance between scores is read.
        labels: int [N]; or targets, as of :func:`neurofault.rescue.learners.errors.delta`.
        scaled: whether the rate follows from the chip (:func:`host_gain`; never for ``adam``, whose steps have no scale); else it is the
            attribute's default.
        options: attributes of :class:`HostLearning`, in the place of what follows from the chip.
    """
    learner = HostLearning(float(usual_margin(deployment, inputs, labels)))
    if scaled and options.get("optimiser") != "adam":
        seen = gain.seen(deployment, inputs, [one.name for one in deployment.into(deployment.readout.population)])
        limit = _SQUARED_LIMIT if labels.dtype.kind == "f" else _LIMIT
        while host_gain(learner, seen) > limit:
            learner = replace(learner, rate=learner.rate / 2)
    return replace(learner, **options)


def host_gain(learner: HostLearning, seen: gain.Seen) -> float:
    """Return by how many margins a step at the first sample's rate would move the scores of a sample if it were the whole batch.

    A weight moves by rate · spikes · unit / margin, and its score by that · spikes · unit, summed over the connections seen; see :mod:`neurofault.rescue.learners.gain`.
    """
    squares = {name: float((spikes.astype(np.float64) ** 2).sum(axis=1).mean()) for name, spikes in seen.spikes.items()}
    return sum(learner.rate * each * (seen.unit(name) / learner.margin) ** 2 for name, each in squares.items())


def _events(deployment: Deployment, inputs: Inputs, chosen: NDArray[np.int64]) -> Inputs:
    """Return chosen samples as the input populations' spikes."""
    driven = [one.name for one in deployment.populations if not one.is_source]
    return Inputs(events=arriving_spikes(deployment, inputs.take(chosen), driven)[0])


def _step(connection: ChipConnection) -> int:
    """Return the distance between two stored weights as they are read."""
    return 1 << field_shift(connection.weight_bits, connection.sign_mode)


def _range(connection: ChipConnection) -> tuple[float, float]:
    """Return the lowest and the highest stored weight."""
    step, bits = _step(connection), connection.weight_bits
    match connection.sign_mode:
        case "mixed" | "signed":
            return -float(step << (bits - 1)), float(step * ((1 << (bits - 1)) - 1))
        case "excitatory":
            return 0.0, float(step * ((1 << bits) - 1))
        case _:
            return -float(step * ((1 << bits) - 1)), 0.0


def _speed(gate: WriteGate, plasticity: Plasticity) -> NDArray[np.float32]:
    """Return float32 [n_out, n_in]: how fast each synapse learns; 0: it is dead, wholly stuck or not plastic."""
    speed = np.where((gate.keep != 0) & gate.alive[:, None], np.float32(1), np.float32(0))
    if any(mask.any() for mask in plasticity.new.values()):
        shape = speed.shape
        into = plasticity.new.get(gate.connection.target, np.zeros(shape[0], bool))[:, None]
        new = into | plasticity.new.get(gate.connection.source, np.zeros(shape[1], bool))
        old = np.float32(0) if plasticity.old_shift is None else np.float32(2.0**-plasticity.old_shift)
        speed = np.where(new, speed, speed * old)
    return speed.astype(np.float32)


def _shadow(stored: NDArray[np.int32], step: int, memory: HostMemory | None, name: str) -> NDArray[np.float32]:
    """Return the shadow weights; where the chip holds something else than they round to, the chip is right."""
    present = stored.astype(np.float32)
    if memory is None or name not in memory.shadow:
        return present
    kept = memory.shadow[name]
    return np.where(np.abs(kept - present) <= step / 2, kept, present)


def _write_back(
    deployment: Deployment,
    lesson: Lesson,
    gates: Mapping[str, WriteGate],
    stored: Mapping[str, NDArray[np.int32]],
    shadow: Mapping[str, NDArray[np.float32]],
    speed: Mapping[str, NDArray[np.float32]],
    counts: Mapping[str, NDArray[np.int32]],
) -> tuple[Deployment, int]:
    """Write what has changed, largest changes first where writes are limited; ``counts`` is updated."""
    asked, gain = {}, {}
    for name, gate in gates.items():
        step = _step(gate.connection)
        wanted = np.rint(shadow[name] / step).astype(np.int64) * step
        asked[name] = wanted
        changes = (gate.admit(wanted, stored[name]) != stored[name]) & (speed[name] > 0)
        if lesson.writes_per_synapse is not None:
            changes &= counts[name] < lesson.writes_per_synapse
        gain[name] = np.where(changes, np.abs(wanted - stored[name]), 0)
    least = _least(np.concatenate([each.ravel() for each in gain.values()]), lesson.writes)
    left = None if lesson.writes is None else lesson.writes
    total = 0
    for name in gates:
        chosen = gain[name] >= max(least, 1)
        if left is not None:
            places = np.flatnonzero(chosen)
            order = np.argsort(-gain[name].ravel()[places], kind="stable")[: max(0, left - total)]
            chosen = np.zeros(chosen.size, bool)
            chosen[places[order]] = True
            chosen = chosen.reshape(gain[name].shape)
        deployment = write(deployment, name, asked[name], chosen)
        counts[name][chosen] += 1
        total += int(chosen.sum())
    return deployment, total


def _least(gain: NDArray[np.int64], allowed: int | None) -> int:
    """Return the smallest change that is still written where only so many are allowed."""
    changes = np.sort(gain[gain > 0])[::-1]
    if allowed is None or len(changes) <= allowed:
        return 1
    return int(changes[allowed - 1]) if allowed else int(changes[0]) + 1
