"""`neurofault paper`: the founding paper's figures, on networks of floats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurofault.cli import options
from neurofault.cli.progress import StderrProgress


def paper(
    figure: Annotated[str, typer.Argument(help="fig1, fig2, fig3, fig4 or all.")],
    out: Annotated[Path, typer.Option(help="Folder for JSON, CSV and pictures; a run that was broken off goes on there.")],
    quick: Annotated[bool, typer.Option("--quick", help="Small networks on digits, about a minute, instead of MNIST.")] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Reproduce the figures of "Efficient rescue of damaged neural networks" and put its claims to the test."""
    from neurofault.study.paper.run import figures_named, paper
    from neurofault.study.paper.setting import FULL, QUICK
    from neurofault.study.paper.summary import lines

    names = figures_named(figure)
    with StderrProgress() as progress:
        done = paper(names, out, setting=QUICK if quick else FULL, data_dir=data_dir, progress=progress)
    for one in done:
        for line in lines(one):
            print(line)
    print(f"wrote {', '.join(one.name for one in done)} to {out}")
