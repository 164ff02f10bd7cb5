"""`neurofault profile`: write, check, show and compare hardware profiles."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from neurofault.cli import complete, options
from neurofault.cli.output import write_text
from neurofault.cli.tables import tell

app = typer.Typer(help="Write, check, show and compare hardware profiles.", no_args_is_help=True)

_Name = Annotated[
    str,
    typer.Argument(
        help="A bundled profile, as `neurofault profiles` lists them, or a YAML file.", autocompletion=complete.profiles
    ),
]


@app.command("new")
def new(
    file: Annotated[str, typer.Argument(help="The YAML file to write; one that is there is left alone.")],
    extends: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="Take over from this one (bundled, or a file) all that the new file does not say.",
            autocompletion=complete.profiles,
        ),
    ] = None,
) -> None:
    """Write a template of a profile, every key explained, and beside it the JSON Schema that editors read."""
    from neurofault.deploy.profile_file import profile_path, read_profile_file
    from neurofault.deploy.profile_schema import FILL, SCHEMA_FILE, profile_schema, template
    from neurofault.errors import UsageError

    path = Path(file)
    if path.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{file}: the name of a profile's file ends in .yaml")
    if path.exists() or path.is_symlink():
        raise UsageError(f"{file}: is there already; give another name, or remove it")
    if extends is not None:
        read_profile_file(profile_path(extends))
        extends = os.path.relpath(extends, path.parent) if Path(extends).is_file() else extends
    schema = path.with_name(SCHEMA_FILE)
    write_text("FILE", path, template(path.stem, extends))
    write_text("FILE", schema, json.dumps(profile_schema(), indent=1, ensure_ascii=False) + "\n")
    tell(
        f"{file}: write something at each {FILL}, then: neurofault profile check {file}",
        f"{schema}: what editors read as you write",
    )


@app.command("check")
def check(file: _Name, quiet: options.Quiet = False) -> None:
    """Say every mistake of a profile, each with its place, or what it does not know."""
    from neurofault.deploy.profile import load_sheet
    from neurofault.deploy.profile_file import profile_path, read_profile_file
    from neurofault.deploy.profile_schema import FILL, to_fill
    from neurofault.deploy.profile_text import beyond_usable, law_of, unknown
    from neurofault.errors import SpecError
    from neurofault.specnodes import at

    path = profile_path(file)
    places = to_fill(read_profile_file(path).root)
    if places:
        raise SpecError([at(str(path), mark, f"{key}: write something in the place of {FILL}") for key, mark in places])
    profile = load_sheet(file).profile
    tell(f"{file}: {profile.name} ({profile.title}) holds together; {law_of(profile)}")
    if quiet:
        return
    if left := beyond_usable(profile):
        tell(f"good cores beyond usable_cores, never used: {left} of each chip")
    not_known = unknown(profile)
    tell(f"not known, so not checked or counted: {'; '.join(not_known) or 'nothing'}")


@app.command("show")
def show(
    name: _Name,
    sources: Annotated[bool, typer.Option("--sources", help="Also show where each number was read, and its note.")] = False,
) -> None:
    """Show what a profile says, how each number is known, and what it has from the one that it extends."""
    from neurofault.deploy.profile import load_sheet
    from neurofault.deploy.profile_text import basis, keys_of, shown
    from neurofault.deploy.quantity import Quantity

    sheet = load_sheet(name)
    tell(f"{sheet.profile.name}: {sheet.profile.title}")
    section = ""
    for path, said in keys_of(sheet.profile).items():
        above, _, key = path.rpartition(".")
        if above != section:
            section = above
            tell(f"\n{section}" if section else "")
        words = [shown(said)]
        if isinstance(said, Quantity) and said.value is not None:
            words.append(f"({basis(said) if sources else said.evidence})")
        if path in sheet.inherited:
            words.append(f"from {sheet.inherited[path]}")
        tell(f"{'  ' * bool(above)}{key}: {' '.join(words)}")
        if sources and isinstance(said, Quantity) and said.note:
            tell(f"      {said.note}")
    if sources:
        tell("\nsources")
        for key, source in sheet.profile.sources.items():
            where = ", ".join(
                part for part in (source.doi and f"doi:{source.doi}", source.url, source.year and str(source.year)) if part
            )
            tell(f"  {key}: {source.title}{f' ({where})' if where else ''}")
            if source.note:
                tell(f"      {source.note}")


@app.command("diff")
def diff(first: _Name, second: _Name) -> None:
    """Show each key whose value differs between two profiles, with both values and how they are known."""
    from neurofault.deploy.profile import load_profile
    from neurofault.deploy.profile_text import basis, difference, shown

    one, other = load_profile(first), load_profile(second)
    found = difference(one, other)
    names = (one.name, other.name) if one.name != other.name else (first, second)
    for key, pair in found.items():
        tell(key)
        for name, said in zip(names, pair, strict=True):
            how = "" if said is None else basis(said)
            tell(f"  {name}: {'not there' if said is None else shown(said)}{f' ({how})' if how else ''}")
    if not found:
        tell(f"{names[0]} and {names[1]} have the same values")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a profile's file."""
    from neurofault.deploy.profile_schema import profile_schema

    print(json.dumps(profile_schema(), indent=1, ensure_ascii=False))
