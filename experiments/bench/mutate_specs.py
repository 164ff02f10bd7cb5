"""Mutate valid campaign files and profiles at random: never a traceback, always a record or one clear error, within a second.

    python experiments/bench/mutate_specs.py --n 10000 [--cli 40] [--json docs/data/bench/mutate_specs.json]

Mutations: characters, lines, keys, types, values (huge numbers, NaN, texts), structure, encoding, anchors that expand, deep nesting. In
one process; a sample goes through the command line. Memory: the growth of this process' peak over all of them.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from neurofault.deploy.profile import load_profile
from neurofault.errors import NeurofaultError
from neurofault.study.campaign.spec import load_campaign

HERE = Path(__file__).resolve().parents[2]
VALUES = (
    b"1e999", b"-1", b"0", b"1" * 60, b"9" * 30, b".nan", b"-.inf", b"true", b"null", b"'text'", b"[]", b"{}", b"[1, [2, {a: 3}]]", b"{sweep: []}",
    b"{sweep: [1, 2, 3]}", b"{sweep: {a: 1}}", b"{sweep: [{sweep: [1]}]}", b"*nowhere", b"&a [*a]", b"!!python/object:os.system x", b"1e-3",
    b"0x7fffffffffffffff", b"\xff\xfe", b"\x00", b"core_dead", b"delta", b"2026-01-01", b"on", b"1_000", b"- 3", b"? x", b"{kind: core_dead}",
    b"'\\ud800'", b"\"\\ud800\"", b"\"\\UFFFFFFFF\"", b"~", b"3.5", b"1000000000", b"[" * 60, b"{a: " * 60,
)  # fmt: skip


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return a document with one to four mistakes, most of the time."""
    lines = data.split(b"\n")
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(lines))
        line = lines[at]
        match chance.randrange(12):
            case 0:
                lines.pop(at)
                lines = lines or [b""]
            case 1:
                lines.insert(at, chance.choice(lines))
            case 2 if line:
                place = chance.randrange(len(line))
                lines[at] = line[:place] + bytes([chance.randrange(256)]) + line[place + 1 :]
            case 3 if line:
                place = chance.randrange(len(line))
                lines[at] = line[:place] + line[place + 1 :]
            case 4 | 5 | 6 if b":" in line:
                key, _, rest = line.partition(b":")
                parts = rest.split(b",")
                if len(parts) > 1 and chance.random() < 0.6:
                    index = chance.randrange(len(parts))
                    inner, colon, _ = parts[index].partition(b":")
                    tail = b"}" if parts[index].rstrip().endswith(b"}") else b""
                    parts[index] = inner + colon + b" " + chance.choice(VALUES) + tail if colon else b" " + chance.choice(VALUES)
                    lines[at] = key + b":" + b",".join(parts)
                else:
                    lines[at] = key + b": " + chance.choice(VALUES)
            case 7 if b":" in line:
                key, _, rest = line.partition(b":")
                lines[at] = key[: len(key) // 2] + key[len(key) // 2 + 1 :] + b":" + rest
            case 8:
                lines[at] = b"  " * chance.randrange(5) + line.lstrip()
            case 9:
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 10:
                deep = b"[" * chance.choice((10, 40, 5000)) + b"]" * chance.choice((10, 40, 5000))
                bomb = b"a: &a [x, x]\n" + b"\n".join(
                    b"%c: &%c [*%c, *%c, *%c, *%c]" % (98 + i, 98 + i, *[97 + i] * 4) for i in range(chance.choice((3, 12)))
                )
                lines.insert(at, chance.choice((b"deep: " + deep, bomb)))
            case _:
                lines[at] = line + b" # " + bytes(chance.randrange(256) for _ in range(3))
    return b"\n".join(lines)


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--cli", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    campaigns = [path.read_bytes() for path in sorted((HERE / "experiments").glob("*.yaml"))]
    profiles = [path.read_bytes() for path in sorted((HERE / "hardware_profiles").glob("*.yaml"))]
    good: dict[str, int] = {"campaign": 0, "profile": 0}
    bad: dict[str, int] = {"campaign": 0, "profile": 0}
    tracebacks, slowest, without_place = [], 0.0, 0
    work = Path(tempfile.mkdtemp()) / "mutant.yaml"
    readers: dict[str, Callable[[Path], object]] = {"campaign": load_campaign, "profile": load_profile}
    for path in sorted((HERE / "experiments").glob("*.yaml")):
        load_campaign(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(options.n):
        kind = "profile" if number % 4 == 3 else "campaign"
        mutant = mutate(chance.choice(profiles if kind == "profile" else campaigns), chance)
        work.write_bytes(mutant)
        began = time.perf_counter()
        try:
            readers[kind](work)
            good[kind] += 1
        except NeurofaultError as error:
            bad[kind] += 1
            without_place += not str(error).startswith(str(work) + ":")
        except Exception:
            tracebacks.append((mutant.decode("utf-8", "replace"), traceback.format_exc()))
        slowest = max(slowest, time.perf_counter() - began)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    codes: dict[int, int] = {}
    program = str(Path(sys.executable).with_name("neurofault"))
    for _ in range(options.cli):
        work.write_bytes(mutate(chance.choice(campaigns), chance))
        done = subprocess.run([program, "campaign", "check", str(work)], capture_output=True, text=True, check=False)
        codes[done.returncode] = codes.get(done.returncode, 0) + 1
        if "Traceback" in done.stderr:
            tracebacks.append((work.read_bytes().decode("utf-8", "replace"), done.stderr))
    answer = {
        "mutations": options.n, "read": good, "refused": bad, "refused_without_file_name": without_place, "tracebacks": len(tracebacks),
        "slowest_second": round(slowest, 3), "memory_growth_megabytes": grown >> 10, "cli_exit_codes": codes,
    }  # fmt: skip
    print(json.dumps(answer, indent=1))
    for text, trace in tracebacks[:5]:
        print(text, trace, sep="\n", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(answer, indent=1) + "\n")
    sys.exit(1 if tracebacks or set(codes) - {0, 2} else 0)


if __name__ == "__main__":
    main()
