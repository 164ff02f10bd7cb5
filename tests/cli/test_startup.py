"""What is wrong with a file, or with a word, is said before any heavy library is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numba", "scipy.stats", "scipy.sparse", "sklearn", "snntorch", "lava", "brian2", "matplotlib", "pandas")

RUN = """
import contextlib, io, json, sys
from neurofault.cli.app import main
cases, heavy, answers = *json.loads(sys.argv[1]), []
for words in cases:
    sys.argv, said = ["neurofault", *words], io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
    answers.append([code, said.getvalue(), [name for name in heavy if name in sys.modules]])
print(json.dumps(answers))
"""


def test_broken_files_and_words_are_refused_without_heavy_libraries(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("nir")
    broken, other, spec = tmp_path / "broken.nir", tmp_path / "other.nir", tmp_path / "broken.yaml"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with h5py.File(other, "w") as file:
        file["node/type"] = "NIRGraph"
    netx, data = tmp_path / "broken.net", tmp_path / "broken.npz"
    netx.write_bytes(broken.read_bytes())
    data.write_bytes(b"PK\x03\x04 and no archive")
    spec.write_text("name: x\nfaults: [{kind: core_ded}]\n", encoding="utf-8")
    cases = (
        (["--help"], None),
        (["inject", "--help"], None),
        (["inject", "--network", str(broken)], broken),
        (["rescue", "--network", str(other)], other),
        (["map", "--network", str(netx)], netx),
        (["inject", "--data", str(data)], data),
        (["inject", "--profile", str(spec)], spec),
        (["inject", "--fault", "{kind: core_ded}"], "core_ded"),
        (["convert", str(broken), str(tmp_path / "out.nir")], broken),
        (["convert", str(other), "--check"], other),
        (["campaign", "check", str(spec)], spec),
        (["campaign", "run", str(spec)], spec),
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([[words for words, _ in cases], HEAVY])], capture_output=True, text=True, check=True
    )
    for (words, named), (code, said, loaded) in zip(cases, json.loads(done.stdout), strict=True):
        assert loaded == [], words
        assert code == (0 if named is None else 2), (words, said)
        assert named is None or (str(named) in said and "Traceback" not in said), (words, said)
