"""docs/your_own_chip.md: its files and its commands, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_chip.md").read_text(encoding="utf-8")


def commands() -> list[tuple[str, list[str]]]:
    """Each command of the page, and the lines of its answer that stand there."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_what_the_page_shows_happens(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        name = re.search(r"^name: (\w+)$", text, re.MULTILINE)[1]
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert len(commands()) == 8
    for command, answer in commands():
        program, *words = shlex.split(command)
        code, out, err = cli(*words)
        assert (program, code) == ("neurofault", 0), err
        lines = out.splitlines()
        assert [line for line in answer if line not in lines] == []


def test_every_key_that_it_names_is_one():
    from neurofault.deploy.profile import Chip, Core, NeuronRanges, Synapse

    table = PAGE.split("## The questions, in order")[1].split("## The law")[0]
    named = set(re.findall(r"`(?:\w+\.)?(\w+)`", table))
    keys = {key for record in (Chip, Core, Synapse, NeuronRanges) for key in record.model_fields}
    known = keys | {"name", "title", "sources", "arithmetic", "available", "third_factor", "energy_tables", "dead_cores"}
    assert named - known - {"lava", "crossbar"} == set()
