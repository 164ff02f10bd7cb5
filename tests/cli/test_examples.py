"""The examples at the end of each verb's help: all of them parse, name what there is, and the cheap ones are run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from neurofault.cli.app import app
from neurofault.cli.examples import EXAMPLES
from neurofault.cli.verbs import VERBS, loaded

ROOT = Path(__file__).parents[2]
LINES = [line for lines in EXAMPLES.values() for line in lines]

CHEAP = (
    "map", "map --sanafe sanafe --quiet", "profiles", "profiles --json -", "train digits-mlp", "doctor", "faults list", "faults describe core_dead", "campaign check experiments/core_loss.yaml",
    "campaign schema", "profile new my_chip.yaml", "profile check hardware_profiles/loihi2.yaml", "profile show loihi2", "profile show speck2f --sources",
    "profile diff loihi1 loihi2", "profile schema", "convert digits-mlp --check",
)  # fmt: skip


def leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield words
    for name, one in inner.items():
        yield from leaves(one, (*words, name))


def context_of(line: str) -> Any:
    """Return what the command line makes of a line, without running it."""
    context = typer.main.get_command(app).make_context("neurofault", shlex.split(line))
    while getattr(context.command, "commands", None):
        rest = [*context._protected_args, *context.args]
        if not rest:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context


def test_every_verb_has_examples_and_every_example_a_verb() -> None:
    verbs = {" ".join(words) for name in VERBS for words in leaves(loaded(name), (name,))}
    assert set(EXAMPLES) == verbs
    assert all(line == verb or line.startswith(verb + " ") for verb, lines in EXAMPLES.items() for line in lines)


def test_the_help_ends_with_them(cli) -> None:
    for verb in ("inject", "campaign run", "testset"):
        code, out, _ = cli(*verb.split(), "--help")
        assert code == 0
        examples = out.split("Examples:\n")[1]
        assert [line.strip() for line in examples.strip().splitlines()] == [f"neurofault {line}" for line in EXAMPLES[verb]]


@pytest.mark.parametrize("line", LINES)
def test_it_parses_and_what_it_names_is_there(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    context = context_of(line)
    assert "help" not in line
    for parameter in context.command.params:
        value = context.params.get(parameter.name)
        if (
            value is None
            or context.get_parameter_source(parameter.name).name != "COMMANDLINE"
            or parameter._custom_shell_complete is None
        ):
            continue
        for word in value if isinstance(value, list | tuple) else [value]:
            if Path(str(word)).parts[0] == "runs":
                continue
            offered = {item.value for item in parameter.shell_complete(context, str(word))}
            assert str(word) in offered, f"{parameter.name} {word}"


def test_the_cheap_ones_are_examples() -> None:
    assert set(CHEAP) <= set(LINES)


@pytest.mark.parametrize("line", CHEAP)
def test_the_cheap_ones_run(line: str, cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for folder in ("experiments", "hardware_profiles"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*shlex.split(line))
    assert (code, "Traceback" in err) == (0, False), err
    assert out
