"""`neurofault campaign`: many trials from one YAML file, with an answer that has error bars."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurofault.cli import complete, options
from neurofault.cli.output import JsonOut, check_file
from neurofault.cli.progress import StderrProgress
from neurofault.cli.tables import tabled, tell, width
from neurofault.cli.telling import of_campaign, of_trials
from neurofault.errors import UsageError
from neurofault.numerals import plural

if TYPE_CHECKING:
    from neurofault.study.campaign.spec import Campaign
    from neurofault.study.campaign.summary import Found

app = typer.Typer(no_args_is_help=True, help="Many trials from one YAML file, and an answer with error bars.")

File = Annotated[Path, typer.Argument(help="Campaign file (YAML).", autocompletion=complete.campaigns)]
Where = Annotated[Path, typer.Argument(help="Campaign file, or its run folder.", autocompletion=complete.campaigns)]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="PLACE=VALUE, e.g. faults.0.count='{sweep: [1, 2]}'; may be repeated.")
]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/NAME.")]


@app.command()
def check(file: File, set_: Set = None) -> None:
    """Say everything that is wrong with a file, or how many trials it has."""
    campaign = _loaded(file, set_)
    print(f"{file}: {plural(campaign.n_cells, 'cell')}, {plural(campaign.n_trials, 'trial')}; axes: {_axes(campaign)}")


@app.command()
def schema() -> None:
    """Print a JSON Schema for editors."""
    from neurofault.study.campaign.schema import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def plan(file: File, set_: Set = None, data_dir: options.DataDir = None) -> None:
    """Show cells and trials, and estimate time and memory from a few trials run on this machine."""
    campaign = _loaded(file, set_)
    from neurofault.study.campaign.estimate import estimate
    from neurofault.study.campaign.run import ready

    with StderrProgress() as progress:
        found = estimate(ready(campaign, data_dir, progress), progress)
    heads = ("cell", "faults", "rescue", "axes", "trials", "seconds each", "cannot matter")
    rows = []
    for row in found.cells:
        axes = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in row.cell.axes.items()) or "–"
        masked = "fails" if row.problem else "–" if not row.sites else f"{row.masked:,} of {row.sites:,}"
        seconds = "not measured" if row.seconds is None else f"{row.seconds:.3f}"
        kinds = " + ".join(each.kind for each in row.cell.faults)
        rows.append((str(row.cell.index), kinds, row.cell.rescue.label, axes, f"{row.trials:,}", seconds, masked))
    at_most = "at most " if campaign.spec.repeats.stop else ""
    tell(*tabled(heads, rows, ("faults", "rescue", "axes"), width()))
    tell(
        f"\n{plural(campaign.n_cells, 'cell')}, {at_most}{plural(found.trials, 'trial')}; about {found.total_seconds:,.0f} s on one worker and "
        f"{found.megabytes:,} MB a worker, measured here with one trial of each of {plural(found.measured, 'cell')}",
        "cannot matter: parts of the first draw that cannot change any spike on these images (analytic masking), of all it changes",
    )
    for problem, cells in found.problems.items():
        print(f"{len(cells):,} of {plural(campaign.n_cells, 'cell')} fail, the first is {cells[0]}: {problem}", file=sys.stderr)


@app.command()
def run(
    file: File,
    out: Out = None,
    set_: Set = None,
    workers: Annotated[int | None, typer.Option(help="Local processes. Default: one for each core that it may use.")] = None,
    dask: Annotated[
        str | None, typer.Option(help="A dask.distributed scheduler: tcp://host:port, or its scheduler file (….json); or local.")
    ] = None,
    shard: Annotated[str, typer.Option(help="i/n: run only the i-th of n parts (for arrays of jobs); merge them later.")] = "1/1",
    retry: Annotated[bool, typer.Option("--retry", help="Run failed trials again.")] = False,
    data_dir: options.DataDir = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Run what has not run yet; a run that was broken off goes on. Then write the report."""
    from neurofault.cores import usable_cores
    from neurofault.study.campaign.folder import check_folder, default_folder
    from neurofault.study.campaign.rows import failed
    from neurofault.study.page import check_tools

    check_tools()
    campaign = _loaded(file, set_)
    from neurofault.study.campaign.run import Executor, ready, run_campaign
    from neurofault.study.campaign.summary import earlier_words, found_in

    executor = Executor(usable_cores() if workers is None else workers, dask, _shard(shard), retry)
    folder = out or default_folder(campaign)
    check_folder(folder, campaign, named=out is not None)
    with StderrProgress(verbose=verbose) as progress:
        made = ready(campaign, data_dir, progress)
        progress.part("networks and chips", lambda: of_campaign(made))
        done = run_campaign(folder, made, executor, progress)
        progress.part("trials", lambda: of_trials(done, executor))
    found = found_in(folder)
    lost = sum(map(failed, found.rows))
    said = f"{folder}: {plural(done.ran, 'trial')} run, {done.kept:,} kept from before, {lost:,} failed"
    if done.signal is not None:
        with suppress(OSError):  # the terminal may be gone
            tell(said)
            print("stopped; what is done is kept, and the same command goes on", file=sys.stderr)
        raise typer.Exit(128 + done.signal)
    _answer(found, (said, *([earlier_words(done.earlier)] if done.earlier else [])), quiet=quiet)
    if lost:
        raise typer.Exit(1)


@app.command()
def status(where: Where, out: Out = None) -> None:
    """Say how far a run is."""
    found = _found(where, out)
    rows = found.rows
    counts = Counter(row["status"] for row in rows)
    said = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none yet"
    at_most = "at most " if found.campaign.spec.repeats.stop and len(rows) < found.trials else ""
    tell(f"{found.folder}: {len(rows):,} of {at_most}{plural(found.trials, 'trial has', 'trials have')} a row: {said}")
    _remarks(found)
    if found.damaged_lines:
        tell(
            f"{plural(found.damaged_lines, 'damaged line in the journal is', 'damaged lines in the journal are')} passed over; what stood there runs again"
        )


@app.command()
def report(where: Where, out: Out = None, quiet: options.Quiet = False, json_file: options.Json = None) -> None:
    """Write report.html, figures and trials.parquet from what is done, and show the table."""
    from neurofault.study.campaign.summary import answer_of

    result_file = JsonOut(json_file)
    with result_file.working():
        found = _found(where, out)
        answer = answer_of(found)
    result_file.write(answer)
    if not result_file.alone:
        _answer(found, quiet=quiet)


@app.command()
def export(where: Where, to: Annotated[Path, typer.Argument(help="Parquet or CSV file to write.")], out: Out = None) -> None:
    """Write the rows as one table."""
    from neurofault.study.campaign.tables import write_csv, write_parquet

    if to.suffix not in (".parquet", ".csv"):
        raise UsageError(f"{to}: rows are written as .parquet or .csv")
    check_file("export", to)
    found = _found(where, out)
    (write_parquet if to.suffix == ".parquet" else write_csv)(found, to)
    tell(f"wrote {plural(len(found.rows), 'row')} to {to}")


@app.command()
def merge(
    into: Annotated[Path, typer.Argument(help="Run folder that takes the rows.")],
    folders: Annotated[list[Path], typer.Argument(help="Run folders of the shards.")],
) -> None:
    """Bring the journals of shards together."""
    from neurofault.study.campaign.run import merge as bring

    added, known = bring(into, folders)
    print(f"{into}: {plural(added, 'row')} added, {known:,} were there already")
    found = _found(into, None)
    if len(found.rows) < found.trials:
        print(
            f"{into}: {len(found.rows):,} of {plural(found.trials, 'trial has', 'trials have')} a row; those of other shards are still missing"
        )


def _axes(campaign: Campaign) -> str:
    return ", ".join(f"{axis.name} ({len(axis.values)})" for axis in campaign.axes) or "none"


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None:
        raise UsageError(f"--shard {text}: expected i/n, such as 1/8")
    return int(found[1]), int(found[2])


def _loaded(file: Path, set_: list[str] | None) -> Campaign:
    """Read a campaign file, with the files that it names."""
    from neurofault.study.campaign.spec import load_campaign

    return load_campaign(file, set_ or [], files=True)


def _found(where: Path, out: Path | None) -> Found:
    """Read the run folder that is meant; refuse one that holds the run of another file than the one that was named."""
    from neurofault.study.campaign.folder import default_folder, whose
    from neurofault.study.campaign.spec import load_campaign
    from neurofault.study.campaign.summary import found_in

    if where.is_dir():
        return found_in(where)
    campaign = load_campaign(where)
    folder = out or default_folder(campaign)
    differs = whose(folder, campaign)
    found = found_in(folder)
    if differs is not None:
        print(differs, file=sys.stderr)
    return found


def _remarks(found: Found, *, quiet: bool = False) -> None:
    """Say why trials failed, and, unless the answer stands alone, that the journal holds more than is shown."""
    from neurofault.study.campaign.rows import failed
    from neurofault.study.campaign.summary import earlier_words

    reasons = Counter(f"{row['status']}: {row['message']}" for row in found.rows if failed(row))
    for reason, count in reasons.most_common(5):
        print(f"{count:,} × {reason}", file=sys.stderr)
    if len(reasons) > 5:
        print(f"and {plural(len(reasons) - 5, 'other reason')}; the report lists all", file=sys.stderr)
    if quiet:
        return
    if found.others:
        tell(f"{plural(found.others, 'row of other settings is', 'rows of other settings are')} kept in the journal and not shown")
    if found.earlier:
        tell(earlier_words(found.earlier))


def _answer(found: Found, said: Sequence[str] = (), *, quiet: bool = False) -> None:
    """Write everything that is made from the journal, and print the answer, what else is said and the table, also where nothing can be written."""
    from neurofault.study.campaign.report import details, sentence, write_report
    from neurofault.study.campaign.summary import answer_of
    from neurofault.study.campaign.tables import write_parquet

    answer, trials = answer_of(found), found.folder / "trials.parquet"
    problem = None
    try:
        with StderrProgress() as progress:
            progress("trials.parquet", 0, 1, "")
            write_parquet(found, trials)
            progress("trials.parquet", 1, 1, "")
            wrote = f"wrote {write_report(found.folder, answer, progress)} and {trials}"
    except UsageError as error:
        problem = error
    tell(sentence(answer))
    if not quiet:
        tell(*said, *filter(None, [details(answer)]))
        _table(answer)
    _remarks(found, quiet=quiet)
    if problem is not None:
        raise problem
    if not quiet:
        tell(wrote)


def _table(answer: dict[str, Any]) -> None:
    from neurofault.study.campaign.report import at_words
    from neurofault.study.campaign.summary import metric_in
    from neurofault.study.campaign.tested import axis_words
    from neurofault.study.statistics import methods_in_words

    metric = metric_in(answer)
    points = [point for curve in answer["curves"] for point in curve["points"]]
    ways = {point["method"] for point in points if point["low"] is not None}
    healthy = "–" if answer["healthy"] is None else metric.shown(answer["healthy"])
    tell(
        f"{answer['network']} on {answer['profile']}, {answer['samples']:,} {'recordings' if metric.of_steps else 'samples' if metric.lower else 'images'} of {answer['data']}; "
        f"healthy {healthy}, chance {metric.shown(answer['chance'])}"
        + (f"; 95 % intervals: {methods_in_words(ways)}" if ways else "")
    )
    tell(*(f"note: {note}" for note in answer["notes"]), "")
    axes = {axis_words(answer["plans"], curve["axis"]) for curve in answer["curves"]} - {""}
    heads = [
        "what",
        axes.pop() if len(axes) == 1 else "at",
        answer.get("metric", "accuracy"),
        "95 % interval",
        *(["method"] if len(ways) > 1 else []),
        "loss recovered",
        "draws",
        "failed",
    ]
    stalls = any(point["stalled"] for point in points)
    rows = []
    for curve, at in zip(answer["curves"], at_words(answer), strict=True):
        for point in curve["points"]:
            share = point["recovered"]
            row = [
                curve["label"],
                "–" if point["x"] is None else f"{at}{point['x']}",
                "–" if point["mean"] is None else metric.shown(point["mean"]),
                "–" if point["low"] is None else f"{metric.shown(point['low'])} … {metric.shown(point['high'])}",
                *([] if len(ways) < 2 else ["–" if point["low"] is None else point["method"]]),
                "–" if share is None else f"{100 * share['mean']:.0f} %",
                f"{point['draws']}{'†' if point['narrow'] is False else ''}",
                str(point["failed"]),
            ]
            rows.append([*row, str(point["stalled"])] if stalls else row)
    tell(*tabled([*heads, "stalled"] if stalls else heads, rows, ("what", "95 % interval", "method"), width()))
    if any(point["narrow"] is False for point in points):
        tell("† the most draws were reached before the interval was narrow enough")
