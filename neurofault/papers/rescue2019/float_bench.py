"""A network of floats under repair: the bench on which the strategies of :mod:`neurofault.rescue.strategies` work without a chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurofault.errors import UsageError
from neurofault.papers.rescue2019.bases import Roles, epoch_order
from neurofault.papers.rescue2019.descent import Descent, Optimiser
from neurofault.papers.rescue2019.network import FloatNetwork, fresh, gradients, living, put_back, silence, touches
from neurofault.rescue.budget import Budget, Spent
from neurofault.rescue.outcome import Point
from neurofault.rescue.plans import Plan

FINE = (1, 2, 5, 10, 20, 50, 100, 200)
"""Minibatches after a strike at which the network is evaluated inside the first cycle; then once a cycle."""


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired network and its history.

    Attributes:
        network: in the end.
        points: what was seen on the way, with test accuracies; ``spent.samples`` counts what was shown, ``spent.updates`` the weights
            and biases that were changed, step by step.
        validation: images classified as labelled at each point, or −1 where nobody looked.
        test: likewise on the test set.
        steps_taken: gradient steps learned at each point.
        learned: gradient steps in all.
        since_strike: of these, those after the last strike.
        cycle: gradient steps of a cycle.
        strikes: damage steps.
    """

    network: FloatNetwork
    points: tuple[Point, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    steps_taken: tuple[int, ...]
    learned: int
    since_strike: int
    cycle: int
    strikes: int


@final
class FloatBench:
    """What a strategy works with. It starts with the healthy network; :meth:`strike` breaks it.

    Dead nodes are zero and are left out of what learns, and the optimiser forgets its state at every change of the network: with momentum
    or Adam, what it remembers from before the damage would bring them back.

    Args:
        base: the healthy network; it is not changed.
        nodes: int [M], the hidden nodes that will have died in the end, in the order of their death; ``plan.steps`` equal parts.
        roles: ``train`` is the adapt set (a cycle shows each sample once), ``validation`` stops, ``test`` reports.
        optimiser: of the repair.
        budget: its ``cycles`` (or ``samples``) limit the learning in all; the other limits are a chip's and must be unset.
        plan: how to go about it.
        batch: samples a step; what is left over at the end of a cycle is not shown in it.
        seed: of sample orders and fresh weights, common to all strategies.
        sustained: evaluations in a row within ``plan.tolerance`` that end a step's learning.
        fine: evaluate inside the first cycle after a strike too.
        snapshots: keep the networks on the way in ``snapshots``: the base, then after each strike and each learning.

    Raises:
        UsageError: nodes that do not exist or are named twice, a batch larger than the adapt set, or a chip's budget.
    """

    def __init__(
        self,
        base: FloatNetwork,
        nodes: NDArray[np.int64],
        roles: Roles,
        optimiser: Optimiser,
        budget: Budget,
        plan: Plan,
        *,
        batch: int = 100,
        seed: int = 0,
        sustained: int = 1,
        fine: bool = True,
        snapshots: bool = False,
    ) -> None:
        _check(base, nodes, roles, budget, batch)
        self.network, self.roles, self.budget, self.plan = base.copy(), roles, budget, plan
        self.parts: Sequence[NDArray[np.int64]] = np.array_split(np.asarray(nodes, np.int64), plan.steps)
        self.batch, self.seed, self.sustained, self.fine = batch, seed, sustained, fine
        self.alive = torch.ones(base.hidden, dtype=torch.bool)
        self.descent = Descent(optimiser)
        self.strikes, self.shown, self.learned, self.since_strike = 0, 0, 0, 0
        self.points, self.validation, self.test, self.steps_taken = list[Point](), list[int](), list[int](), list[int]()
        self._scale: list[Tensor] | None = None
        self._updates = 0
        self._goal = self.look("healthy")
        self.snapshots: list[NDArray[np.float32]] | None = [self.network.vector()] if snapshots else None

    @property
    def cycle(self) -> int:
        """Gradient steps of a cycle."""
        return len(self.roles.train) // self.batch

    def look(self, what: str) -> int:
        """Evaluate the network and note it down; return how many validation images are classified as labelled."""
        test = self.network.correct(self.roles.test)
        self.validation.append(self.network.correct(self.roles.validation))
        self.test.append(test)
        self.steps_taken.append(self.learned)
        spent = Spent(samples=self.shown, updates=self._updates)
        self.points.append(Point(self.shown, self.strikes, test / len(self.roles.test), spent, what))
        return self.validation[-1]

    def strike(self, steps: int | None = None) -> None:
        """Let the next damage steps happen; None: all that are left."""
        for part in self.parts[self.strikes : None if steps is None else self.strikes + steps]:
            self.alive[torch.from_numpy(part)] = False
            self.strikes += 1
        silence(self.network, self.alive)
        self.descent.forget()
        self.since_strike = 0
        self.look("strike")
        self._snap()

    def wait(self, samples: int) -> None:
        """Serve samples without learning; nothing changes."""
        if samples:
            self.shown += samples
            self.look("wait")

    def embryos(self) -> None:
        """Put fresh nodes in the place of the dead ones.

        They have torch's default weights and biases, and outgoing weights as ``plan.outgoing`` says. From now on they learn at the full
        rate, all else at the rate / 2^``plan.old_shift``, or not at all.
        """
        new = ~self.alive
        drawn = fresh(self.network.sizes, self.seed, "embryos")
        chosen = touches(self.network, new)
        first = 0
        for layer, width in enumerate(self.network.sizes[1:-1]):
            born = new[first : first + width]
            first += width
            self.network.weights[layer][:, born] = drawn.weights[layer][:, born]
            self.network.biases[layer][born] = drawn.biases[layer][born]
            leaving = drawn.weights[layer + 1][born]
            self.network.weights[layer + 1][born] = leaving if self.plan.outgoing == "random" else torch.zeros_like(leaving)
        self.alive = torch.ones_like(self.alive)
        slow = 0.0 if self.plan.old_shift is None else 0.5**self.plan.old_shift
        self._scale = [torch.where(mask, 1.0, slow) for mask in chosen]
        self.descent.forget()
        self.look("embryos")

    def renew(self) -> None:
        """Give the whole network fresh weights; what is dead stays dead."""
        for old, drawn in zip(self.network.parameters, fresh(self.network.sizes, self.seed, "renewed").parameters, strict=True):
            old.copy_(drawn)
        silence(self.network, self.alive)
        self.descent.forget()
        self.look("renew")

    def learn(self, cycles: float | None = None, share: float = 1.0) -> None:  # networks of floats have no such limits
        """Learn; None: what is left of the budget. Ends early where the budget ends or the tolerance is met."""
        allowed = self.budget.samples_allowed(self.cycle * self.batch) // self.batch - self.learned
        end = self.learned + max(0, allowed if cycles is None else min(allowed, round(cycles * self.cycle)))
        within = 0
        while self.learned < end:
            self._teach(min(end, self._next_look()))
            seen = self.look("learn")
            if self.plan.tolerance is not None:
                close = seen >= self._goal - self.plan.tolerance * len(self.roles.validation)
                within = within + 1 if close else 0
                if within == self.sustained:
                    break
        self._snap()

    def _snap(self) -> None:
        if self.snapshots is not None:
            self.snapshots.append(self.network.vector())

    def _next_look(self) -> int:
        """Return the number of steps learned at which the network is looked at next."""
        marks = [mark for mark in FINE if self.fine and self.since_strike < mark < self.cycle]
        ahead = marks[0] if marks else self.cycle * (self.since_strike // self.cycle + 1)
        return self.learned + ahead - self.since_strike

    def _teach(self, end: int) -> None:
        """Take gradient steps until ``end`` have been taken in all."""
        train, learning, damaged, scale = self.roles.train, self._learning(), not bool(self.alive.all()), self._scale
        functioning = self.network
        if damaged:
            parts = living(self.network, self.alive, self.network.parameters)
            functioning = FloatNetwork(tuple(parts[::2]), tuple(parts[1::2]))
            scale = None if scale is None else living(self.network, self.alive, scale)
        parameters = functioning.parameters
        while self.learned < end:
            cycle, start = divmod(self.learned, self.cycle)
            order = torch.from_numpy(epoch_order(len(train), self.seed, "order", cycle))
            for chosen in torch.split(order[start * self.batch : self.cycle * self.batch], self.batch)[: end - self.learned]:
                self.descent.step(parameters, gradients(functioning, train.x[chosen], train.y[chosen]), scale)
                self.learned += 1
                self.since_strike += 1
                self.shown += self.batch
                self._updates += learning
        if damaged:
            put_back(self.network, self.alive, parameters)

    def _learning(self) -> int:
        """Return how many weights and biases a step may change."""
        dead = touches(self.network, ~self.alive)
        scale = self._scale or [torch.ones_like(mask, dtype=torch.float32) for mask in dead]
        return sum(int((~mask & (factor > 0)).sum()) for mask, factor in zip(dead, scale, strict=True))

    def result(self) -> Repaired:
        """Return what came of it."""
        return Repaired(
            self.network, tuple(self.points), tuple(self.validation), tuple(self.test), tuple(self.steps_taken),
            self.learned, self.since_strike, self.cycle, self.strikes,
        )  # fmt: skip


def _check(base: FloatNetwork, nodes: NDArray[np.int64], roles: Roles, budget: Budget, batch: int) -> None:
    named = np.asarray(nodes)
    if named.size and not 0 <= int(named.min()) <= int(named.max()) < base.hidden:
        raise UsageError(f"nodes lie in {named.min()} … {named.max()}; allowed: 0 to {base.hidden - 1}")
    if len(np.unique(named)) != named.size:
        raise UsageError("a node is named twice among those that die")
    if not 1 <= batch <= len(roles.train):
        raise UsageError(f"batch is {batch}; allowed: 1 to {len(roles.train)}, the samples to adapt to")
    for name in ("writes", "writes_per_synapse", "energy", "time"):
        if getattr(budget, name) is not None:
            raise UsageError(f"budget: {name} is a chip's; a network of floats takes cycles or samples")
    if budget.labels != 1:
        raise UsageError(f"budget: labels is {budget.labels}; a network of floats learns with all labels")
