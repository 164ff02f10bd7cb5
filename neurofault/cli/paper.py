"""`neurofault paper`: the founding paper's figures, on networks of floats and on the chip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurofault.cli import complete, options
from neurofault.cli.headlines import of_paper
from neurofault.cli.output import check_folder
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tell
from neurofault.errors import UsageError, nearest

PLACES = ("floats", "chip")
"""What the figures can be made on."""


def paper(
    figure: Annotated[
        str,
        typer.Argument(
            help="fig1, fig2, fig3, fig4 or all; on floats also curves (curved paths between repaired networks) and cnn (figure 1 for CIFAR-10); on the chip also ranking, networks, declines, availability and damages, and, which all leaves out, heartbeats (a recurrent network) and maps (CIFAR-10).",
            autocompletion=complete.words(
                "fig1",
                "fig2",
                "fig3",
                "fig4",
                "curves",
                "all",
                "cnn",
                "ranking",
                "networks",
                "declines",
                "availability",
                "damages",
                "heartbeats",
                "maps",
            ),
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for JSON, CSV and pictures; a run that was broken off goes on there.")],
    on: Annotated[
        str,
        typer.Option(
            help="floats: networks of floats, as published; chip: dead cores and neurons of a chip.",
            autocompletion=complete.words("floats", "chip"),
        ),
    ] = "floats",
    quick: Annotated[bool, typer.Option("--quick", help="Small networks on digits, about a minute, instead of MNIST.")] = False,
    jobs: Annotated[
        int, typer.Option(help="Processes that compute parts of the figures; any number of them gives the same bytes.")
    ] = 1,
    data_dir: options.DataDir = None,
    quiet: options.Quiet = False,
) -> None:
    """Reproduce the figures of "Efficient rescue of damaged neural networks" and put its claims to the test."""
    from neurofault.papers.rescue2019 import chip_setting, float_setting
    from neurofault.papers.rescue2019.run import SEPARATE, paper, paper_separate
    from neurofault.papers.rescue2019.summary import lines

    if on not in PLACES:
        raise UsageError(f"--on {on!r}; allowed: {', '.join(PLACES)}{nearest(on, PLACES)}")
    check_folder("--out", out)
    settings = chip_setting if on == "chip" else float_setting
    with StderrProgress() as progress:
        if on == "floats" and figure in SEPARATE:
            if quick:
                raise UsageError(f"{figure} has no quick version: it needs a network that takes its time to train")
            if jobs != 1:
                raise UsageError(f"{figure} has no parts that several processes could compute: leave --jobs out")
            done = [paper_separate(figure, out, data_dir=data_dir, progress=progress)]
        else:
            setting = settings.QUICK if quick else settings.FULL
            done = paper([figure], out, setting=setting, data_dir=data_dir, progress=progress, jobs=jobs)
    said = [line for one in done for line in lines(one)]
    tell(of_paper([one.name for one in done], said, out))
    if not quiet:
        tell(*said)
