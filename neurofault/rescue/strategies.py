"""In which order damage and repair follow each other. A strategy is a function of a workbench; users write their own.

Those that need no spare cores take any :class:`~neurofault.rescue.bench.Bench`: the networks of floats of the founding paper's
reproduction (:mod:`neurofault.papers.rescue2019`) are repaired by the same functions as a chip.

The names are those of the founding paper, "Efficient rescue of damaged neural networks" (NeurIPS 2019 workshop Real Neurons & Hidden
Units): D_i kills, r_S repairs while everything in S stays dead; ``batch`` is r ∘ D_S, ``iterative`` (r ∘ D)^m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from neurofault.errors import UsageError, nearest
from neurofault.rescue.bench import Bench
from neurofault.rescue.detection import find_and_move
from neurofault.rescue.workbench import Workbench

Act = Callable[[Workbench], None]


@dataclass(frozen=True)
class Strategy:
    """One way of healing.

    Attributes:
        act: what it does.
        learns: whether it needs a learner.
        spares: whether it needs spare cores.
        control: whether it is there to compare with, not to heal.
        text: what it is.
        chains: whether it takes chains only.
        tests: whether it finds out by a test what is broken.
    """

    act: Act
    learns: bool
    spares: bool
    control: bool
    text: str
    chains: bool = False
    tests: bool = False


def none(bench: Bench) -> None:
    """No repair: all damage at once, and that is that."""
    bench.strike()


def batch(bench: Bench) -> None:
    """All damage at once, then the functioning sub-network learns."""
    bench.strike()
    bench.wait(bench.plan.watchdog)
    bench.learn()


def iterative(bench: Bench) -> None:
    """Damage in equal steps; after each, the same share of the cycles."""
    if bench.budget.cycles is None:
        raise UsageError("iterative repair shares its cycles among the steps: give the budget cycles")
    for step in range(len(bench.parts)):
        bench.strike(1)
        bench.wait(bench.plan.watchdog)
        bench.learn(bench.budget.cycles / len(bench.parts), _share(bench, step))


def _share(bench: Bench, step: int) -> float:
    """Return which share of the limits may be used by the end of a step, counted from 0."""
    return 1.0 if bench.plan.spend == "greedy" else (step + 1) / len(bench.parts)


def remap(bench: Workbench) -> None:
    """All damage at once, then orphans move to spare cores."""
    bench.strike()
    bench.wait(bench.plan.watchdog)
    bench.remap()


def remap_and_learn(bench: Workbench) -> None:
    """Damage in steps; orphans move to spare cores as they are noticed, and what is left is learned."""
    if bench.budget.cycles is None:
        raise UsageError("remap+learn shares its cycles among the steps: give the budget cycles")
    for step in range(len(bench.parts)):
        bench.strike(1)
        bench.wait(bench.plan.watchdog)
        bench.remap()
        bench.learn(bench.budget.cycles / len(bench.parts), _share(bench, step))


def diagnose(bench: Workbench) -> None:
    """All damage at once; a test notices and names it, what it names moves to spare cores, and the test is shown again."""
    bench.strike()
    bench.wait(bench.plan.watchdog)
    find_and_move(bench)


def diagnose_and_learn(bench: Workbench) -> None:
    """As diagnose; where the test fails to the end, what is left is learned."""
    diagnose(bench)
    if bench.detection is not None and not bench.detection.passed:
        bench.learn()


def embryonic(bench: Bench) -> None:
    """Fresh neurons on spare cores replace the dead ones and learn, alone or faster than the old ones (chains only)."""
    bench.strike()
    bench.wait(bench.plan.watchdog)
    bench.embryos()
    bench.learn()


def sham(bench: Bench) -> None:
    """Control: no damage, the same learning."""
    bench.learn()


def fresh_subnetwork(bench: Bench) -> None:
    """Control: all damage at once, then what is left starts from fresh weights."""
    bench.strike()
    bench.renew()
    bench.learn()


def fresh_network(bench: Bench) -> None:
    """Control: no damage, and the whole network starts from fresh weights."""
    bench.renew()
    bench.learn()


STRATEGIES: Mapping[str, Strategy] = {
    "none": Strategy(none, False, False, False, "no repair"),
    "batch": Strategy(batch, True, False, False, "all damage, then learning"),
    "iterative": Strategy(iterative, True, False, False, "damage in steps, learning between"),
    "remap": Strategy(remap, False, True, False, "what sat on dead cores moves to spare cores, as far as these reach"),
    "remap+learn": Strategy(remap_and_learn, True, True, False, "what sat on dead cores moves to spare cores, then learning"),
    "diagnose": Strategy(diagnose, False, True, False, "a test names what is broken, which moves to spare cores", tests=True),
    "diagnose+learn": Strategy(
        diagnose_and_learn,
        True,
        True,
        False,
        "a test names what is broken, which moves to spare cores; what is left is learned",
        tests=True,
    ),
    "embryonic": Strategy(embryonic, True, True, False, "fresh neurons on spare cores learn", chains=True),
    "sham": Strategy(sham, True, False, True, "no damage, the same learning"),
    "fresh-subnetwork": Strategy(fresh_subnetwork, True, False, True, "all damage, fresh weights, learning"),
    "fresh-network": Strategy(fresh_network, True, False, True, "no damage, fresh weights, learning"),
}
"""By name; controls last."""


def strategy_named(name: str) -> Strategy:
    """Return a strategy.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in STRATEGIES:
        raise UsageError(f"no strategy {name!r}; strategies: {', '.join(STRATEGIES)}{nearest(name, STRATEGIES)}")
    return STRATEGIES[name]
