from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # no test fails because others are at work


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the published image files; tests that need them are skipped where there is none."""
    named = os.environ.get("NEUROFAULT_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no image data: {folder} does not exist (set NEUROFAULT_DATA)")
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, no data folder and no network; returns the cache folder."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("NEUROFAULT_CACHE", str(cache))
    monkeypatch.delenv("NEUROFAULT_DATA", raising=False)
    for scheme in ("http", "https"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return cache


@pytest.fixture(scope="session", autouse=True)
def _kept_cache() -> Iterator[None]:
    """Keep trained zoo networks between test runs, in a folder that git ignores."""
    with pytest.MonkeyPatch.context() as patch:
        if "NEUROFAULT_CACHE" not in os.environ:
            patch.setenv("NEUROFAULT_CACHE", str(Path(__file__).parents[1] / ".neurofault" / "cache"))
        yield


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return ``cli(*arguments) -> (exit code, stdout, stderr)``, the command line run in this process."""
    from neurofault.cli.app import main

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["neurofault", *arguments])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
