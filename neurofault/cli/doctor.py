"""`neurofault doctor`: what is installed, and how to get the rest."""

from __future__ import annotations

import platform
from typing import Annotated, Any

import typer

from neurofault.cli import options
from neurofault.cli.headlines import of_doctor
from neurofault.cli.output import JsonOut
from neurofault.cli.tables import tell


def doctor(
    run: Annotated[bool, typer.Option("--run", help="Also run 3 steps on each engine and compare its spikes with exact.")] = False,
    quiet: options.Quiet = False,
    json_: options.Json = None,
) -> None:
    """Show Python, the packages, engines and extras that are there, what lacks for what, and the command to get the rest."""
    from neurofault.engines.availability import BASE, EXTRAS, FORMATS, OF_ENGINE

    result_file = JsonOut(json_)

    with result_file.working():
        packages: list[dict[str, Any]] = [
            {"package": package.distribution, "version": package.version, "for": package.purpose, "install": package.install}
            for package in (*BASE, *OF_ENGINE.values(), *FORMATS)
        ]
        engines: list[dict[str, Any]] = [
            {"engine": name, "there": package.version is not None, "self_test": _self_test(name, package.version) if run else None}
            for name, package in OF_ENGINE.items()
        ]
        extras: list[dict[str, Any]] = [
            {"extra": one.name, "for": one.purpose, "lacks": list(one.lacks), "install": one.install} for one in EXTRAS
        ]
    answer = {"python": platform.python_version(), "packages": packages, "engines": engines, "extras": extras}
    result_file.write(answer)
    if result_file.alone:
        return
    tell(of_doctor(answer))
    if quiet:
        return
    print(f"{'python':12s} {platform.python_version()}")
    for package in packages:
        print(f"{package['package']:12s} {package['version'] or 'missing':12s} {package['for']}")
    for engine in engines if run else []:
        print(f"engine {engine['engine']:12s} {engine['self_test']}")
    print("\nextras of the package")
    for extra in extras:
        lacks = f"lacks {', '.join(extra['lacks'])}: {extra['install']}" if extra["lacks"] else "there"
        tell(f"  {extra['extra']:9s} {extra['for']}; {lacks}")
    told = {extra["install"] for extra in extras if extra["lacks"]}
    missing = [each for each in packages if each["version"] is None and each["install"] not in told]
    if missing:
        print("\nmissing, and without it little runs:")
        print("\n".join(f"  {each['package']}: {each['install']}" for each in missing))


def _self_test(engine: str, version: str | None) -> str:
    """Return how 3 steps on an engine went."""
    if version is None:
        return "not installed"
    from neurofault.engines.self_test import spikes_equal_exact
    from neurofault.errors import NeurofaultError

    try:
        return "same spikes as exact" if spikes_equal_exact(engine) else "OTHER SPIKES than exact"
    except (NeurofaultError, ImportError) as error:
        return f"failed: {error}"
