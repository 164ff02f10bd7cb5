"""`neurofault campaign`: many trials from one YAML file, with an answer that has error bars."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from neurofault.cli import options
from neurofault.cli.output import JsonOut, percent
from neurofault.cli.progress import StderrProgress
from neurofault.errors import UsageError

if TYPE_CHECKING:
    from neurofault.study.campaign.spec import Campaign
    from neurofault.study.campaign.summary import Found

app = typer.Typer(no_args_is_help=True, help="Many trials from one YAML file, and an answer with error bars.")

File = Annotated[Path, typer.Argument(help="Campaign file (YAML).")]
Where = Annotated[Path, typer.Argument(help="Campaign file, or its run folder.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="PLACE=VALUE, e.g. faults.0.count='{sweep: [1, 2]}'; may be repeated.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/NAME.")]


@app.command()
def check(file: File, set_: Set = None) -> None:
    """Say everything that is wrong with a file, or how many trials it has."""
    from neurofault.study.campaign.spec import load_campaign

    campaign = load_campaign(file, set_ or [])
    print(f"{file}: {campaign.n_cells:,} cells, {campaign.n_trials:,} trials; axes: {_axes(campaign)}")


@app.command()
def schema() -> None:
    """Print a JSON Schema for editors."""
    from neurofault.study.campaign.schema import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def plan(file: File, set_: Set = None, data_dir: options.DataDir = None) -> None:
    """Show cells and trials, and estimate time and memory from a few trials run on this machine."""
    from neurofault.study.campaign.estimate import estimate
    from neurofault.study.campaign.run import ready
    from neurofault.study.campaign.spec import load_campaign

    campaign = load_campaign(file, set_ or [])
    with StderrProgress() as progress:
        found = estimate(ready(campaign, data_dir, progress), progress)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("cell", "faults", "rescue", "axes", "trials", "seconds each", "cannot matter"):
        table.add_column(name, justify="left" if name in ("faults", "rescue", "axes") else "right")
    for row in found.cells:
        axes = ", ".join(f"{name} = {json.dumps(value)}" for name, value in row.cell.axes.items()) or "–"
        masked = "–" if not row.sites else f"{row.masked:,} of {row.sites:,}"
        table.add_row(
            str(row.cell.index), " + ".join(each.kind for each in row.cell.faults), row.cell.rescue.label, axes, f"{row.trials:,}",
            "not measured" if row.seconds is None else f"{row.seconds:.3f}", masked,
        )  # fmt: skip
    console.print(table)
    at_most = "at most " if campaign.spec.repeats.stop else ""
    console.print(
        f"\n{campaign.n_cells:,} cells, {at_most}{found.trials:,} trials; about {found.total_seconds:,.0f} s on one worker and "
        f"{found.megabytes:,} MB a worker, measured here with one trial of each of {found.measured} cells\n"
        f"cannot matter: parts of the first draw that cannot change any spike on these images (analytic masking), of all it changes"
    )


@app.command()
def run(
    file: File,
    out: Out = None,
    set_: Set = None,
    workers: Annotated[int | None, typer.Option(help="Local processes. Default: one a core.")] = None,
    dask: Annotated[str | None, typer.Option(help="Address of a dask.distributed scheduler (tcp://host:port), or local.")] = None,
    shard: Annotated[str, typer.Option(help="i/n: run only the i-th of n parts (for arrays of jobs); merge them later.")] = "1/1",
    retry: Annotated[bool, typer.Option("--retry", help="Run failed trials again.")] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Run what has not run yet; a run that was broken off goes on. Then write the report."""
    import os

    from neurofault.study.campaign.folder import default_folder
    from neurofault.study.campaign.report import check_tools
    from neurofault.study.campaign.run import Executor, ready, run_campaign
    from neurofault.study.campaign.spec import load_campaign

    check_tools()
    campaign = load_campaign(file, set_ or [])
    executor = Executor(os.cpu_count() or 1 if workers is None else workers, dask, _shard(shard), retry)
    folder = out or default_folder(campaign)
    with StderrProgress() as progress:
        done = run_campaign(folder, ready(campaign, data_dir, progress), executor, progress)
    print(f"{folder}: {done.ran:,} trials run, {done.kept:,} kept from before, {done.failed:,} failed")
    if done.stopped:
        print("stopped; what is done is kept, and the same command goes on", file=sys.stderr)
        raise typer.Exit(130)
    _answer(folder)
    if done.failed:
        raise typer.Exit(1)


@app.command()
def status(where: Where, out: Out = None) -> None:
    """Say how far a run is."""
    found = _found(where, out)
    rows = found.rows
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    said = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none yet"
    at_most = "at most " if found.campaign.spec.repeats.stop and len(rows) < found.trials else ""
    print(f"{found.folder}: {len(rows):,} of {at_most}{found.trials:,} trials have a row: {said}")
    _remarks(found)
    if found.damaged_lines:
        print(f"{found.damaged_lines} damaged lines in the journal are passed over; their trials run again")


@app.command()
def report(where: Where, out: Out = None, json_file: options.Json = None) -> None:
    """Write report.html, figures and trials.parquet from what is done, and show the table."""
    from neurofault.study.campaign.summary import answer_of

    result_file = JsonOut(json_file)
    with result_file.working():
        found = _found(where, out)
        answer = answer_of(found)
    result_file.write(answer)
    if not result_file.alone:
        _answer(found.folder)


@app.command()
def export(where: Where, to: Annotated[Path, typer.Argument(help="Parquet or CSV file to write.")], out: Out = None) -> None:
    """Write the rows as one table."""
    from neurofault.study.campaign.tables import write_csv, write_parquet

    if to.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{to}: rows are written as .parquet or .csv")
    found = _found(where, out)
    (write_parquet if to.suffix == ".parquet" else write_csv)(found, to)
    print(f"wrote {len(found.rows):,} rows to {to}")


@app.command()
def merge(
    into: Annotated[Path, typer.Argument(help="Run folder that takes the rows.")],
    folders: Annotated[list[Path], typer.Argument(help="Run folders of the shards.")],
) -> None:
    """Bring the journals of shards together."""
    from neurofault.study.campaign.run import merge as bring

    added, known = bring(into, folders)
    print(f"{into}: {added:,} rows added, {known:,} were there already")
    found = _found(into, None)
    if len(found.rows) < found.trials:
        print(f"{into}: {len(found.rows):,} of {found.trials:,} trials have a row; those of other shards are still missing")


def _axes(campaign: Campaign) -> str:
    return ", ".join(f"{axis.name} ({len(axis.values)})" for axis in campaign.axes) or "none"


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit()):
        raise UsageError(f"--shard {text}: expected i/n, such as 1/8")
    return int(number), int(of)


def _found(where: Path, out: Path | None) -> Found:
    from neurofault.study.campaign.folder import default_folder
    from neurofault.study.campaign.spec import load_campaign
    from neurofault.study.campaign.summary import found_in

    if where.is_dir():
        return found_in(where)
    return found_in(out or default_folder(load_campaign(where)))


def _remarks(found: Found) -> None:
    """Say why trials failed, and that the journal holds more than is shown."""
    reasons = Counter(f"{row['status']}: {row['message']}" for row in found.rows if row["status"] not in ("ok", "stalled"))
    for reason, count in reasons.most_common(5):
        print(f"{count:,} × {reason}", file=sys.stderr)
    if len(reasons) > 5:
        print(f"and {len(reasons) - 5:,} other reasons; the report lists all", file=sys.stderr)
    if found.others:
        print(f"{found.others:,} rows of other settings are kept in the journal and not shown")


def _answer(folder: Path) -> None:
    """Write everything that is made from the journal, and print the table."""
    from neurofault.study.campaign.report import write_report
    from neurofault.study.campaign.summary import answer_of, found_in
    from neurofault.study.campaign.tables import write_parquet

    found = found_in(folder)
    answer = answer_of(found)
    _table(answer)
    _remarks(found)
    write_parquet(found, folder / "trials.parquet")
    print(f"wrote {write_report(folder, answer)} and {folder / 'trials.parquet'}")


def _table(answer: dict[str, Any]) -> None:
    from neurofault.study.campaign.tested import axis_words

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    healthy = "–" if answer["healthy"] is None else percent(answer["healthy"])
    console.print(
        f"[bold]{answer['network']}[/] on [bold]{answer['profile']}[/], {answer['samples']:,} images of {answer['data']}; "
        f"healthy {healthy}, chance {percent(answer['chance'])}; intervals: 95 %, over draws\n"
    )
    heads = {axis_words(answer["plans"], curve["axis"]) for curve in answer["curves"]} - {""}
    table = Table(box=None, pad_edge=False)
    for name in ("what", ", ".join(sorted(heads)) or "at", "accuracy", "95 % interval", "loss recovered", "draws", "failed"):
        table.add_column(name, justify="left" if name in ("what", "95 % interval") else "right")
    for curve in answer["curves"]:
        for point in curve["points"]:
            share = point["recovered"]
            table.add_row(
                curve["label"],
                "–" if point["x"] is None else str(point["x"]),
                "–" if point["mean"] is None else percent(point["mean"]),
                "–" if point["low"] is None else f"{percent(point['low'])} … {percent(point['high'])}",
                "–" if share is None else f"{100 * share['mean']:.0f} %",
                f"{point['draws']}{'†' if point['narrow'] is False else ''}",
                str(point["failed"]),
            )
    console.print(table)
    if any(point["narrow"] is False for curve in answer["curves"] for point in curve["points"]):
        console.print("† the most draws were reached before the interval was narrow enough")
