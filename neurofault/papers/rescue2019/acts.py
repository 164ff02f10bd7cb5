"""What happens to something that is damaged besides the strategies of :mod:`neurofault.rescue.strategies`."""

from __future__ import annotations

from neurofault.rescue.bench import Bench


def wait(bench: Bench) -> None:
    """Damage in steps, and nothing is repaired."""
    for _ in bench.parts:
        bench.strike(1)
        bench.wait(bench.plan.watchdog)
