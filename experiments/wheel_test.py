"""Install the built wheel into clean environments of several Pythons and run the project's tests there, away from the source.

    make wheel-test                                                              # each python3.10 … python3.13 on PATH
    python experiments/wheel_test.py [--python python3.13 …] [--extras campaign,pandas] [--with torch==2.13.0 …] [--json FILE|-] [TESTS …]

Needs `pip install build hatchling` where it runs, and the interpreters. Builds the sdist, and the wheel twice: from the source and from the sdist, which must be the same, byte for byte.
For each Python it makes a new environment, in which pip installs the wheel (with ``--extras``, and with other requirements first: ``--with``), ``pip check`` is run and ``neurofault doctor`` says what lacks;
then pytest and hypothesis, and the tests in a folder that holds what the sdist holds but for the package itself, so that ``import neurofault`` can only mean the installed wheel. Left out are the tests of
the source (``test_architecture.py``, ``test_wheel.py``). TESTS are files, folders or tests (``tests/faults tests/test_api.py``), or modules whose examples are run
(``neurofault.graph``); without them all, the examples of all docstrings among them.

Ends with one line a Python, and with exit code 1 if a wheel differs, an environment is broken or a test failed. A Python that is not there is said, and not counted. pip is told by its own
variables where else to look (``PIP_FIND_LINKS``, ``PIP_CONSTRAINT``); the tests' data are found as always (``NEUROFAULT_DATA``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13")
EVERYTHING = ("./tests", "neurofault")  # and the examples of the installed docstrings
OF_THE_SOURCE = ("tests/test_architecture.py", "tests/test_wheel.py")
RUNS_TESTS = ("pytest>=8", "hypothesis>=6.100")


class NotClean(Exception):
    """Something that a user of the wheel would meet; its text says what."""


@dataclass(frozen=True)
class Outcome:
    """What the tests of one Python gave: counts, whole seconds, and the names of what failed (errors among them)."""

    python: str
    extras: str
    tests: str
    passed: int
    skipped: int
    failed: tuple[str, ...]
    seconds: int

    def line(self) -> str:
        """Say it in one line."""
        what = f" with the extras {self.extras}" if self.extras else ""
        return (
            f"Python {self.python}{what}: pip check clean; {self.passed:,} passed, {len(self.failed):,} failed, "
            f"{self.skipped:,} skipped of {self.tests}; {self.seconds // 60} min {self.seconds % 60} s"
        )


def alone() -> dict[str, str]:
    """Return an environment in which nothing of a checkout or of the user's own packages is found."""
    kept = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return kept | {"PYTHONNOUSERSITE": "1"}


def call(words: Sequence[str | Path], where: Path) -> str:
    """Run a command and return what it printed.

    Raises:
        NotClean: its exit code is not 0; with the end of what it said.
    """
    done = subprocess.run(list(words), cwd=where, env=alone(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotClean(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def contents(wheel: Path) -> dict[str, bytes]:
    """Return what a wheel holds, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def same(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> None:
    """Compare what two wheels hold.

    Raises:
        NotClean: they differ; with the names.
    """
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if names:
        raise NotClean(f"the wheel built from the sdist is another one than that of the source: {', '.join(names)}")


def built(source: Path, folder: Path) -> tuple[Path, Path]:
    """Build sdist and wheel of a source; return both files, the wheel from the sdist being the same as that of the source.

    Raises:
        NotClean: the build failed, or the wheels differ.
    """
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    call([*build, folder / "of_source", "--sdist", "--wheel", source], folder)
    [sdist] = (folder / "of_source").glob("*.tar.gz")
    [wheel] = (folder / "of_source").glob("*.whl")
    unpacked = unpack(sdist, folder / "unpacked")
    call([*build, folder / "of_sdist", "--wheel", unpacked], folder)
    [other] = (folder / "of_sdist").glob("*.whl")
    same(contents(wheel), contents(other))
    return sdist, wheel


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist; return the one folder that it holds."""
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:  # Python before 3.10.12
            archive.extractall(folder)
    [inside] = folder.iterdir()
    return inside


def away(sdist: Path, folder: Path) -> Path:
    """Return a folder with all that the sdist holds but the package and the tests of the source."""
    inside = unpack(sdist, folder)
    shutil.rmtree(inside / "neurofault")
    for name in OF_THE_SOURCE:
        (inside / name).unlink()
    return inside


def environment(python: str, folder: Path, wheel: Path, extras: str = "", first: Sequence[str] = ()) -> Path:
    """Make a clean environment with the wheel in it; return its interpreter.

    Raises:
        NotClean: it cannot be made or installed, or ``pip check`` finds something.
    """
    call([python, "-m", "venv", folder], folder.parent)
    inside = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [inside, "-m", "pip", "--disable-pip-version-check"]
    if first:
        call([*pip, "install", "--quiet", *first], folder)
    call([*pip, "install", "--quiet", f"{wheel}[{extras}]" if extras else wheel], folder)
    call([*pip, "check"], folder)
    return inside


def installed(python: Path, where: Path) -> Path:
    """Return the file of the ``neurofault`` that an interpreter imports in a folder.

    Raises:
        NotClean: it is none of the environment's own.
    """
    told = call([python, "-c", "import sys, neurofault; print(sys.prefix); print(neurofault.__file__)"], where)
    prefix, file = map(Path, told.splitlines())
    if prefix not in file.parents or "site-packages" not in file.parts:
        raise NotClean(f"{python} imports {file}, which is not of its own environment {prefix}")
    return file


def lacking(python: Path, where: Path) -> str:
    """Return what ``neurofault doctor`` says is missing, one line an extra: what lacks and the command that adds it."""
    doctor = json.loads(call([python.with_name("neurofault"), "doctor", "--json", "-"], where))
    return "\n".join(
        f"  {one['extra']:9s} lacks {', '.join(one['lacks'])}: {one['install']}" for one in doctor["extras"] if one["lacks"]
    )


def tried(python: Path, where: Path, tests: Sequence[str] = (), extras: str = "") -> Outcome:
    """Run tests with an interpreter's own ``neurofault``, in a folder that :func:`away` made.

    Raises:
        NotClean: another ``neurofault`` would be tested, or pytest ran no test.
    """
    installed(python, where)
    version = call([python, "-c", "import platform; print(platform.python_version())"], where).strip()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        words = [
            python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--pyargs",
            "--continue-on-collection-errors",
            f"--junitxml={report}",
            *(tests or EVERYTHING),
        ]
        code = subprocess.run(words, cwd=where, env=alone(), check=False).returncode
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    if not cases:
        raise NotClean(f"pytest ran no test of {' '.join(tests or EVERYTHING)} (exit code {code})")
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return Outcome(
        version,
        extras,
        " ".join(tests) or "all tests",
        len(cases) - len(bad) - skipped,
        skipped,
        tuple(f"{case.get('classname')}::{case.get('name')}" for case in bad),
        round(time.monotonic() - begin),
    )


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "tests", nargs="*", metavar="TESTS", help="files, folders or tests under tests/, or modules of the package; default: all"
    )
    parser.add_argument(
        "--python", action="append", metavar="PYTHON", help=f"an interpreter; default: each of {', '.join(PYTHONS)} on PATH"
    )
    parser.add_argument("--extras", default="", metavar="A,B", help="extras of the package")
    parser.add_argument(
        "--with", action="append", default=[], dest="first", metavar="REQUIREMENT", help="installed before the wheel"
    )
    parser.add_argument(
        "--folder", type=Path, help="where environments are made and kept; default: a temporary one, removed at the end"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the outcomes; - for stdout")
    return parser.parse_args()


def main() -> int:
    """Build, install, test and print."""
    options = arguments()
    outcomes: list[Outcome] = []
    broken = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            print(f"{folder} is not empty: give --folder a new one", file=sys.stderr)
            return 2
        try:
            sdist, wheel = built(ROOT, folder)
        except NotClean as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{sdist.name} gives the same {wheel.name} as the source", flush=True)
        where = away(sdist, folder / "away")
        for number, python in enumerate(options.python or PYTHONS):
            if shutil.which(python) is None:
                print(f"{python} is not there: not tried", flush=True)
                continue
            try:
                inside = environment(python, folder / f"environment{number}", wheel, options.extras, options.first)
                print(
                    f"{python}: {installed(inside, where)}; {lacking(inside, where) and 'doctor:'}\n{lacking(inside, where)}",
                    flush=True,
                )
                call([inside, "-m", "pip", "install", "--quiet", *RUNS_TESTS], where)
                outcomes.append(tried(inside, where, options.tests, options.extras))
            except NotClean as error:
                print(f"{python}: {error}", file=sys.stderr, flush=True)
                broken = True
    for outcome in outcomes:
        print("\n".join([outcome.line(), *(f"  failed: {name}" for name in outcome.failed)]))
    if options.json:
        text = json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text, encoding="utf-8")
    return int(broken or not outcomes or any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
