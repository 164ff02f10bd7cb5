"""Shell completion, asked in the protocols of bash and zsh that Typer's scripts speak, and by a bash itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neurofault.deploy.profile import bundled_profiles
from neurofault.engines import ENGINES
from neurofault.faults.models import KINDS
from neurofault.rescue.learners.by_name import LEARNERS
from neurofault.rescue.strategies import STRATEGIES
from neurofault.zoo import RECIPES
from neurofault.zoo.events import EVENT_RECIPES

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "numba", "scipy.stats", "sklearn", "matplotlib", "pandas")

RUN = """
import contextlib, io, json, os, sys
from neurofault.cli.app import main
lines, heavy = json.loads(sys.argv[1])
sys.argv, answers = ["neurofault"], []
for line in lines:
    words, said = line.split(" "), [io.StringIO(), io.StringIO()]
    for shell, out in zip(("bash", "zsh"), said):
        os.environ |= {"_NEUROFAULT_COMPLETE": "complete_" + shell, "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
        with contextlib.redirect_stdout(out):
            try:
                main()
            except SystemExit as end:
                assert not end.code, (line, end.code)
    answers.append([one.getvalue() for one in said])
print(json.dumps([answers, [name for name in heavy if name in sys.modules]]))
"""

LINES = {
    "neurofault inj": {"inject"},
    "neurofault campaign ": {"check", "export", "merge", "plan", "report", "run", "schema", "status"},
    "neurofault inject --kill": {"--kill-cores"},
    "neurofault diagnose --qu": {"--quiet"},
    "neurofault campaign run --ver": {"--verbose"},
    "neurofault inject --network ": {*RECIPES, *EVENT_RECIPES, "mine.nir", "mine.net"},
    "neurofault inject --network mnist-mlp": {name for name in RECIPES if name.startswith("mnist-mlp")},
    "neurofault map --profile ": {*bundled_profiles(), "chip.yaml"},
    "neurofault profile show lo": {"loihi1", "loihi2"},
    "neurofault inject --fault ": set(KINDS),
    "neurofault inject --fault core_dead --fault syn": {kind for kind in KINDS if kind.startswith("syn")},
    "neurofault faults describe core": {kind for kind in KINDS if kind.startswith("core")},
    "neurofault atlas --fault ": {"synapse_dead", "synapse_bit_flip", "neuron_dead", "core_dead"},
    "neurofault inject --engine ": set(ENGINES),
    "neurofault rescue --learner ": set(LEARNERS),
    "neurofault rescue --strategy ": {name for name, one in STRATEGIES.items() if not one.control},
    "neurofault rescue --strategy batch,rem": {"batch,remap", "batch,remap+learn"},
    "neurofault rescue --control ": {name for name, one in STRATEGIES.items() if one.control} | {"dropout", "none"},
    "neurofault train ": {*RECIPES, *EVENT_RECIPES},
    "neurofault campaign run ": {"losses.yaml"},
    "neurofault campaign status lo": {"losses.yaml"},
    "neurofault campaign run mo": {"more/"},
    "neurofault campaign run more/": {"more/inner.yaml"},
    "neurofault convert ": {*RECIPES, *EVENT_RECIPES, "mine.nir", "mine.net"},
}
"""What is typed → all that it may become, in a folder with a campaign, a profile, networks and a folder with another campaign."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("typed")
    campaign = "name: x\nnetwork: {zoo: digits-mlp}\nfaults: [{kind: core_dead, count: 1}]\n"
    (made / "losses.yaml").write_text(campaign, encoding="utf-8")
    (made / "more").mkdir()
    (made / "more" / "inner.yaml").write_text(campaign, encoding="utf-8")
    (made / "chip.yaml").write_text("extends: loihi2\nname: mine\n", encoding="utf-8")
    for name in ("mine.nir", "mine.net", "notes.txt"):
        (made / name).write_text("", encoding="utf-8")
    return made


def test_each_word_becomes_what_the_code_knows_in_bash_and_zsh_and_nothing_that_computes_is_loaded(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([list(LINES), HEAVY])],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers, loaded = json.loads(done.stdout)
    assert loaded == []
    for (line, expected), (bash, zsh) in zip(LINES.items(), answers, strict=True):
        assert set(bash.split()) == expected, line
        assert set(re.findall(r'^(?:_arguments \'\*: :\(\()?"([^"]+)"', zsh, re.MULTILINE)) == expected, line


def test_a_bash_that_reads_the_script_completes(folder: Path, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    command = tmp_path / "neurofault"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom neurofault.cli.app import main\nmain()\n",
        encoding="utf-8",
    )
    command.chmod(0o755)
    script = (
        'eval "$(_NEUROFAULT_COMPLETE=source_bash neurofault)"\n'
        'COMP_WORDS=(neurofault campaign run "") COMP_CWORD=3\n_neurofault_completion neurofault\necho "${COMPREPLY[@]}"\ncomplete -p neurofault\n'
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["losses.yaml", "complete -o default -F _neurofault_completion neurofault"]
