"""`neurofault doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from neurofault.cli.doctor import doctor
from neurofault.engines import ENGINES
from neurofault.engines.availability import EXTRAS, OF_ENGINE

app = typer.Typer()
app.command()(doctor)


def ask(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return str(result.output)


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name.split(".")[0] in modules else find(name, package)
    )


def test_every_engine_is_known() -> None:
    assert OF_ENGINE.keys() == ENGINES.keys()


def test_what_is_there_is_shown_with_its_version() -> None:
    rows = dict(line.split()[:2] for line in ask().splitlines() if line and not line.startswith(" "))
    assert rows["python"] == platform.python_version()
    for package in ("numpy", "torch", "numba"):
        assert rows[package] == importlib.metadata.version(package)


def test_what_is_missing_is_shown_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "lava", "brian2", "snntorch", "nir")
    shown = ask()
    for name in ("brian2", "snntorch", "nir"):
        assert any(line.startswith(f"  {name} ") and f'pip install "neurofault[{name}]"' in line for line in shown.splitlines())
        assert len(re.findall(rf"pip install .*\b{name}\b", shown)) == 1
    assert shown.count("lava-nc==0.10.0" if sys.version_info >= (3, 11) else "neurofault[lava]") == 1
    assert [line.split()[0] for line in shown.splitlines() if " missing " in line] == ["lava-nc", "brian2", "snntorch", "nir"]
    without(monkeypatch, "numba", "nir")
    assert ask().endswith("\n\nmissing, and without it little runs:\n  numba: pip install numba\n")


def test_json_goes_to_a_file_or_to_stdout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without(monkeypatch, "brian2")
    target = tmp_path / "doctor.json"
    assert ask("--json", str(target)).splitlines()[1].startswith("python ")
    answer = json.loads(target.read_text())
    assert answer == json.loads(ask("--json", "-"))
    assert answer["python"] == platform.python_version()
    rows = {row["package"]: row for row in answer["packages"]}
    assert rows["brian2"] == {
        "package": "brian2", "version": None, "for": "engine brian2", "install": 'pip install "neurofault[brian2]"',
    }  # fmt: skip
    assert rows["numpy"]["version"] == importlib.metadata.version("numpy")
    assert [row for row in answer["engines"] if row["engine"] in ("exact", "brian2")] == [
        {"engine": "exact", "there": True, "self_test": None},
        {"engine": "brian2", "there": False, "self_test": None},
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Brian2's, of pyparsing
def test_run_compares_every_engine_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurofault.engines.self_test.spikes_equal_exact", lambda engine: engine != "snntorch")
    without(monkeypatch, "lava")
    rows = {row["engine"]: row["self_test"] for row in json.loads(ask("--run", "--json", "-"))["engines"]}
    assert rows["exact"] == "same spikes as exact"
    assert rows["lava"] == "not installed"
    if OF_ENGINE["snntorch"].version is not None:
        assert rows["snntorch"] == "OTHER SPIKES than exact"
        assert "; snntorch fails the test; " in ask("--run", "--quiet")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("engine", OF_ENGINE)
def test_the_self_test_runs_the_engine(engine: str) -> None:
    from neurofault.engines.self_test import spikes_equal_exact

    if OF_ENGINE[engine].version is None:
        pytest.skip(f"{engine} is not installed")
    assert spikes_equal_exact(engine)


def test_the_self_test_sees_other_spikes(monkeypatch: pytest.MonkeyPatch) -> None:
    from neurofault.engines import self_test
    from neurofault.engines.exact.engine import ExactEngine

    class Deaf:
        name = "deaf"

        def supports(self, deployment):
            return None

        def run(self, deployment, inputs, *, record=()):
            deaf = type(inputs)(bias=inputs.bias * 0)
            return ExactEngine().run(deployment, deaf, record=record)

    monkeypatch.setattr(self_test, "get_engine", lambda name: Deaf() if name == "deaf" else ExactEngine())
    assert not self_test.spikes_equal_exact("deaf")
    assert self_test.spikes_equal_exact("exact")


def test_extras_are_those_of_the_package_and_say_which_of_their_parts_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(__file__).parents[2] / "pyproject.toml"
    text = file.read_text().split("[project.optional-dependencies]")[1].split("\n[")[0]
    named = {
        name: set(re.findall(r'"([A-Za-z0-9_-]+)', parts))
        for name, parts in re.findall(r"^(\w+) = (\[[^\]]*\])", text, re.MULTILINE)
        if name not in ("all", "dev")
    }
    assert {one.name: set(one.modules) for one in EXTRAS} == named
    without(monkeypatch, "jinja2", "distributed")
    extras = {row["extra"]: row for row in json.loads(ask("--json", "-"))["extras"]}
    assert {name: row["lacks"] for name, row in extras.items() if name in ("campaign", "dask", "paper")} == {
        "campaign": ["jinja2"], "dask": ["distributed"], "paper": [],
    }  # fmt: skip
    assert extras["dask"]["install"] == 'pip install "neurofault[dask]"'


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from neurofault.cli.doctor import doctor; doctor(run=False, quiet=False, json_=None); "
        "print([m for m in ('torch', 'numba', 'brian2', 'snntorch', 'lava.magma') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=600).stdout
    assert out.splitlines()[-1] == "[]"
