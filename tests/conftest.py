from __future__ import annotations

import os
from pathlib import Path

import pytest


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
