"""The wheel that users install: it holds the profiles, the type marker and the licence, and works away from the source."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from neurofault.deploy.profile import bundled_profiles, load_profile

ROOT = Path(__file__).parents[1]

PROBE = """
import neurofault
from neurofault.deploy.profile import bundled_profiles, load_profile
print(neurofault.__file__)
print(*bundled_profiles())
print(*(load_profile(name).chip.cores.known for name in bundled_profiles()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    [file] = folder.glob("*.whl")
    return file


def test_the_wheel_holds_the_package_its_profiles_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"neurofault", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
    assert {f"neurofault/hardware_profiles/{name}.yaml" for name in bundled_profiles()} <= set(names)
    assert {"neurofault/py.typed", "neurofault/study/campaign/report.html"} <= set(names)
    assert any(name.endswith("LICENSE") for name in names)
    sources = {f"neurofault/{file.relative_to(ROOT / 'neurofault').as_posix()}" for file in (ROOT / "neurofault").rglob("*.py")}
    assert sources <= set(names)


def test_an_installed_wheel_finds_its_own_profiles(wheel, tmp_path):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n{PROBE}"
    probe = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr
    file, names, cores = probe.stdout.splitlines()
    assert Path(file).is_relative_to(site)
    assert names.split() == bundled_profiles()
    assert cores.split() == [str(load_profile(name).chip.cores.known) for name in bundled_profiles()]


def test_the_wheel_gives_the_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [entry] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "neurofault = neurofault.cli.app:main" in archive.read(entry).decode()
