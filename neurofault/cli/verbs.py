"""The verbs by name: each is loaded when it is called, so that help, and every other verb, need not wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from neurofault.cli.examples import EXAMPLES

VERBS: Final[Mapping[str, str]] = {
    "inject": "Break part of a chip, and see what it costs.",
    "rescue": "Break a chip, and heal it in several ways on the same draws.",
    "atlas": "The effect of every single fault on every sample.",
    "map": "Draw the grid of cores with a network on it.",
    "train": "Train a network of the zoo.",
    "profiles": "List the hardware profiles that come with it.",
    "convert": "Convert a network to NIR, or to one of its kin.",
    "paper": "The founding paper's figures, on floats and on the chip.",
    "diagnose": "Rank what may be broken, by the answers to a test.",
    "doctor": "What is installed, and whether it works.",
    "alarms": "Choose neurons that watch a chip at work.",
    "campaign": "Many trials from one YAML file, with error bars.",
    "faults": "List the kinds of faults, or describe one.",
    "profile": "Write, check, show and compare hardware profiles.",
    "testset": "Choose the fewest samples that expose the faults.",
}
"""Name → what it is for, in the order of the help. The module has the same name (``map``: ``map_``), and in it ``app``, or a function."""

STYLE: Final[Mapping[str, Any]] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
"""How help and mistakes are shown."""


def loaded(name: str) -> Any:
    """Return the command of a verb of :data:`VERBS` as Typer makes it."""
    module = import_module(f"neurofault.cli.{'map_' if name == 'map' else name}")
    holder = typer.Typer(**STYLE)
    holder.callback()(lambda: None)
    verbs = getattr(module, "app", None)  # of a verb with verbs of its own
    if verbs is None:
        holder.command(name)(getattr(module, module.__name__.rpartition(".")[2]))
    else:
        holder.add_typer(verbs, name=name)
    command = typer.main.get_group(holder).commands[name]
    _with_examples(command, (name,))
    return command


def _with_examples(command: Any, words: tuple[str, ...]) -> None:
    """Give a verb, and the verbs that it has, their examples as the end of their help."""
    own = EXAMPLES.get(" ".join(words))
    if own:
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  neurofault {line}" for line in own)
    for inner, one in getattr(command, "commands", {}).items():
        _with_examples(one, (*words, inner))


class Verb(TyperCommand):
    """A verb that is not loaded yet."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the verb and let it read its words."""
        return loaded(self.name or "").make_context(info_name, args, parent=parent, **extra)


class Verbs(TyperGroup):
    """All verbs, none of them loaded."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = {name: Verb(name, help=text, rich_markup_mode=None) for name, text in VERBS.items()}
