"""Kill a campaign at random moments, resume it, and compare the rows with those of a run that nobody disturbed.

    python experiments/bench/kill_campaign.py --kills 300 [--who all|coordinator|any] [--json docs/data/bench/kill_campaign.json]

``--who``: the whole process group (default), the coordinator alone, or any one process of the run. After the last two, no process of the run
may be left 20 seconds later (Linux: they are looked up in ``/proc``).

A run that came to its end is followed by one in an empty folder, until the number of kills is reached. Checked after every run that
ended: the rows are those of the undisturbed run (seconds, host and worker aside). Checked at the end of each: no trial has two rows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine

from neurofault.study.campaign.folder import JOURNAL
from neurofault.study.campaign.journal import read_rows
from neurofault.study.campaign.rows import VOLATILE, best

SPEC = """
name: kill
network: {zoo: digits-mlp}
data: {samples: 100, adapt: 200}
faults: [{kind: core_dead, count: {sweep: [1, 2, 3, 4]}}]
rescue: [{strategy: none}, {strategy: batch, learner: delta}]
repeats: {draws: 40, seed: 5}
"""


def start(spec: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own."""
    command = [
        str(Path(sys.executable).with_name("neurofault")),
        "campaign",
        "run",
        str(spec),
        "--out",
        str(folder),
        "--workers",
        "2",
        "--retry",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def members(session: int) -> list[int]:
    """Return the processes of a session that are alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            rest = (entry / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(rest[3]) == session and rest[0] != "Z":
            found.append(int(entry.name))
    return found


def orphans(process: subprocess.Popen[bytes], seconds: float = 20.0) -> int:
    """Return how many processes of a run whose coordinator has ended are still there after a while, and end them."""
    end = time.monotonic() + seconds
    while members(process.pid) and time.monotonic() < end:
        time.sleep(0.1)
    left = members(process.pid)
    for one in left:
        os.kill(one, signal.SIGKILL)
    return len(left)


def rows_of(folder: Path) -> list[dict[str, object]]:
    """Return what must be equal of a run's rows."""
    rows = best(read_rows(folder / JOURNAL).rows)
    return [{key: value for key, value in rows[trial].items() if key not in VOLATILE} for trial in sorted(rows)]


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--who", choices=("all", "coordinator", "any"), default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    work = Path(tempfile.mkdtemp())
    spec = work / "kill.yaml"
    spec.write_text(SPEC)
    whole_run = 0.0
    for _ in range(2):  # the first run compiles
        shutil.rmtree(work / "calm", ignore_errors=True)
        began = time.monotonic()
        assert start(spec, work / "calm").wait() == 0
        whole_run = time.monotonic() - began
    expected = rows_of(work / "calm")
    kills = torn = resumes = ended = twice = different = left = 0
    folder = work / "stormy"
    while kills < options.kills:
        process = start(spec, folder)
        try:
            code = process.wait(timeout=chance.uniform(0, whole_run))
        except subprocess.TimeoutExpired:
            kills += 1
            if options.who == "all":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                victim = process.pid if options.who == "coordinator" else chance.choice(members(process.pid))
                os.kill(victim, signal.SIGKILL)
                if victim != process.pid:  # the run goes on without it
                    process.send_signal(signal.SIGTERM)
            process.wait()
            left += orphans(process)
            if (folder / JOURNAL).exists():
                resumes += 1
                torn += read_rows(folder / JOURNAL).torn > 0
            print(f"{kills} kills, {ended} runs brought to their end", file=sys.stderr, flush=True)
            continue
        if code != 0:
            sys.exit(f"a resumed run ended with {code}: {process.stderr.read().decode() if process.stderr else ''}")
        ended += 1
        trials = [row["trial"] for row in read_rows(folder / JOURNAL).rows if row["status"] == "ok"]
        twice += len(trials) - len(set(trials))
        different += rows_of(folder) != expected
        shutil.rmtree(folder)
    process = start(spec, folder)
    assert process.wait() == 0
    ended += 1
    trials = [row["trial"] for row in read_rows(folder / JOURNAL).rows if row["status"] == "ok"]
    twice += len(trials) - len(set(trials))
    different += rows_of(folder) != expected
    answer = {
        "kills": kills, "kills_with_a_journal": resumes, "torn_tails": torn, "runs_ended": ended, "trials": len(expected),
        "rows_twice": twice, "runs_with_other_rows": different, "who": options.who, "orphans": left, "machine": machine(),
    }  # fmt: skip
    print(json.dumps(answer, indent=1))
    if options.json:
        options.json.write_text(json.dumps(answer, indent=1) + "\n")
    shutil.rmtree(work)
    sys.exit(1 if twice or different or left else 0)


if __name__ == "__main__":
    main()
