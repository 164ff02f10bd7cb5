"""Small campaigns for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neurofault.study.campaign.folder import JOURNAL
from neurofault.study.campaign.journal import read_rows
from neurofault.study.campaign.rows import VOLATILE, best
from neurofault.study.campaign.run import CampaignOutcome, Executor, Ready, ready, run_campaign
from neurofault.study.campaign.spec import load_campaign

SMALL = """\
name: small
network: {zoo: digits-mlp}
data: {samples: 60, adapt: 40}
faults:
  - {kind: core_dead, count: {sweep: [1, 3]}}
  - {kind: synapse_bit_flip, rate: 1e-2}
rescue:
  - {strategy: none}
  - {strategy: batch, learner: delta}
repeats: {draws: 3, seed: 7}
"""


def written(folder: Path, text: str = SMALL) -> Path:
    """Write a campaign file and return its path."""
    path = folder / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def made_ready(folder: Path, text: str = SMALL, settings: tuple[str, ...] = ()) -> Ready:
    return ready(load_campaign(written(folder, text), settings), None, lambda *_: None)


def ran(folder: Path, state: Ready, executor: Executor | None = None, progress: Any = lambda *_: None) -> CampaignOutcome:
    return run_campaign(folder, state, executor or Executor(), progress)


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """Return what must be equal of a run's rows, however it ran."""
    rows = best(read_rows(folder / JOURNAL).rows)
    return [{key: value for key, value in rows[trial].items() if key not in VOLATILE} for trial in sorted(rows)]
