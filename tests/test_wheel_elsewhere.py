"""`experiments/wheel_test.py`: two wheels are compared by what they hold, and only an environment's own neurofault is tested."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    "test_good.py": "def test_one(): pass\ndef test_two(): pass\n",
    "test_bad.py": "import pytest\ndef test_wrong(): assert 1 == 2\n@pytest.mark.skip\ndef test_left(): pass\n",
    "test_broken.py": "import no_such_module\n",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheel_test_script", ROOT / "experiments" / "wheel_test.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """An environment without neurofault that sees pytest, its site-packages, and a folder with a few tests."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    venv.create(tmp_path / "environment", with_pip=False, symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    [site] = (tmp_path / "environment").glob("lib/python*/site-packages")
    (site / "seen.pth").write_text(sysconfig.get_path("purelib") + "\n")
    tests = tmp_path / "away" / "tests"
    tests.mkdir(parents=True)
    for name, text in EXAMPLES.items():
        (tests / name).write_text(text)
    return python, site, tests.parent


def test_passed_failed_and_skipped_tests_of_an_installed_package_are_counted(script, elsewhere):
    python, site, away = elsewhere
    (site / "neurofault").mkdir()
    (site / "neurofault" / "__init__.py").write_text("")
    assert script.installed(python, away) == site / "neurofault" / "__init__.py"
    every = script.tried(python, away)
    assert (every.passed, every.skipped, len(every.failed)) == (2, 1, 2)
    assert any("test_wrong" in name for name in every.failed)
    good = script.tried(python, away, ["tests/test_good.py"], "nir")
    assert (good.passed, good.skipped, good.failed) == (2, 0, ())
    assert good.line().startswith(
        f"Python {sys.version.split()[0]} with the extras nir: pip check clean; 2 passed, 0 failed, 0 skipped of tests/test_good.py; "
    )
    with pytest.raises(script.NotClean, match=r"^pytest ran no test of tests/nothing.py"):
        script.tried(python, away, ["tests/nothing.py"])


def test_a_package_of_the_working_folder_is_refused(script, elsewhere):
    python, _, away = elsewhere
    (away / "neurofault").mkdir()
    (away / "neurofault" / "__init__.py").write_text("")
    with pytest.raises(script.NotClean, match=r"which is not of its own environment"):
        script.tried(python, away)


def test_the_environment_sees_nothing_of_the_one_outside(script, elsewhere, monkeypatch):
    python, _, away = elsewhere
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # an editable install leaves a folder with profiles alone among the site-packages that this environment sees: no module with a file
    with pytest.raises(script.NotClean, match=r"No module named 'neurofault'|imports (None|.*site-packages.*), which is not"):
        script.installed(python, away)


def test_wheels_that_hold_other_things_are_refused_by_name(script):
    script.same({"a": b"1"}, {"a": b"1"})
    with pytest.raises(script.NotClean, match=r"another one than that of the source: a, b, c$"):
        script.same({"a": b"1", "b": b"2", "d": b""}, {"a": b"2", "c": b"3", "d": b""})


def test_the_tests_go_away_without_the_package_and_the_tests_of_the_source(script, tmp_path):
    source = tmp_path / "neurofault-1"
    for name in ("neurofault/__init__.py", "docs/page.md", "tests/test_api.py", *script.OF_THE_SOURCE):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    with tarfile.open(tmp_path / "neurofault-1.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    away = script.away(tmp_path / "neurofault-1.tar.gz", tmp_path / "away")
    assert {file.relative_to(away).as_posix() for file in away.rglob("*") if file.is_file()} == {
        "docs/page.md",
        "tests/test_api.py",
    }
    beside_the_source = (ROOT / "neurofault").is_dir()  # these tests go away too
    assert [(ROOT / name).is_file() for name in script.OF_THE_SOURCE] == [beside_the_source] * len(script.OF_THE_SOURCE)


WANTING = {
    "test_top.py": "import nir\ndef test_one(): pass\n",
    "test_inside.py": "def test_two():\n    import nir\n",
    "test_other.py": "def test_three():\n    import no_such_module\n",
    "test_fixture.py": "import pytest\n@pytest.fixture\ndef file():\n    import nir\ndef test_four(file): pass\n",
}
NOT_THERE = """
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "nir":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "nir" else found(name, *rest)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider"]))
"""


def test_what_needs_an_extra_that_is_not_there_is_skipped_and_nothing_else(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    for name, text in WANTING.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", NOT_THERE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 3 skipped" in done.stdout.splitlines()[-1], done.stdout
    assert "no_such_module" in done.stdout


ANOTHER_COLLECTOR = """
from _pytest import doctest
class Other(doctest.DoctestModule):
    def collect(self):
        raise IndexError("another collector")
doctest.DoctestModule = Other
"""


def test_examples_of_a_package_elsewhere_are_collected_by_pytest_whatever_one_of_its_modules_imports(tmp_path):
    away, package = tmp_path / "away", tmp_path / "site" / "kept_apart"
    for folder in (away, package / "later"):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "conftest.py", away)
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text(ANOTHER_COLLECTOR)
    (package / "later" / "__init__.py").write_text('"""\n>>> 1 + 1\n2\n"""\n')
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "--pyargs", "kept_apart"],
        cwd=away,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT)]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith("1 passed"), done.stdout
