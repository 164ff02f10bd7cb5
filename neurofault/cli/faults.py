"""`neurofault faults`: what can break."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from neurofault.cli import complete, options
from neurofault.cli.tables import tell
from neurofault.numerals import plural

app = typer.Typer(help="List the kinds of faults, or describe one.", no_args_is_help=True)


@app.command("list")
def list_(quiet: options.Quiet = False) -> None:
    """List every kind of fault by what it breaks."""
    from neurofault.faults import FAMILIES, describe

    tell(
        f"{plural(sum(map(len, FAMILIES.values())), 'kind')} of faults in {plural(len(FAMILIES), 'family', 'families')}"
        + ("" if quiet else "\n")
    )
    for family, models in () if quiet else FAMILIES.items():
        print(f"{family}:")
        for model in models:
            print(f"  {model.kind:18s} {describe(model.kind).summary}")


@app.command("describe")
def describe_(
    kind: Annotated[
        str, typer.Argument(help="Kind of fault, as `neurofault faults list` shows it.", autocompletion=complete.kinds)
    ],
    quiet: options.Quiet = False,
) -> None:
    """Show a kind's mechanism, equation, parameters with ranges and units, sources and an example."""
    from neurofault.faults import describe

    info = describe(kind)
    tell(f"{info.kind} ({info.family}): {info.summary}" + ("" if quiet else "\n"))
    if quiet:
        return
    print(f"equation     {info.equation}")
    print(f"mechanism    {info.mechanism}")
    print(f"elsewhere    {info.neighbours}")
    print(f"a site is    {info.site}")
    print(f"when         {', '.join(info.whens)}")
    print("parameters")
    for parameter in info.parameters:
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        allowed = f" ({parameter.allowed})" if parameter.allowed else ""
        default = "" if parameter.default is None else f"; default {parameter.default}"
        print(f"  {parameter.name:12s} {parameter.text}{unit}{allowed}{default}")
    for source in info.sources:
        print(f"source       {source}")
    print(f"example      neurofault inject --fault '{json.dumps(dict(info.example))}'")
