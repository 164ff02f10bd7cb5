"""The command line: one small file a verb. Mistakes of the user end in one clear text on stderr and exit code 2."""

from __future__ import annotations

import sys

import typer

from neurofault.cli import atlas, campaign, convert, doctor, faults, inject, map_, paper, profiles, rescue, train
from neurofault.cli.words import check_numbers
from neurofault.errors import NeurofaultError

app = typer.Typer(
    name="neurofault",
    help="Break a simulated neuromorphic chip, see what it costs, and heal it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("inject")(inject.inject)
app.command("rescue")(rescue.rescue)
app.command("atlas")(atlas.atlas)
app.command("map")(map_.map_)
app.command("train")(train.train)
app.command("profiles")(profiles.profiles)
app.command("convert")(convert.convert)
app.command("paper")(paper.paper)
app.command("doctor")(doctor.doctor)
app.add_typer(campaign.app, name="campaign")
app.add_typer(faults.app, name="faults")


def main() -> None:
    """Run the command line and end the process with its exit code: 0, or 2 for a mistake that the user can mend."""
    try:
        check_numbers(sys.argv[1:])
        app()
    except NeurofaultError as error:
        print(f"neurofault: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("neurofault: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        sys.exit(0)
