"""The `leeway` command. Each command imports what it runs only when it is called, so `--help` is fast."""

from __future__ import annotations

import sys
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated

import typer

from cli.commands import demo, doctor, ingest, serve, setup, traffic, train
from cli.commands.drift import drift
from cli.commands.faults import faults
from cli.commands.keys import keys
from cli.commands.log import log
from cli.commands.reference import reference
from cli.commands.source import source
from cli.options import HELP, PlainGroup, examples

app = typer.Typer(
    name="leeway",
    cls=PlainGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: importing rich would take longer than all the rest
    pretty_exceptions_show_locals=False,
    context_settings=HELP,
    epilog=examples(
        "leeway demo                     # everything, in about a minute",
        "leeway setup && leeway serve    # generated customers, a model, the API",
        "leeway COMMAND --help           # the flags of a command",
    ),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"leeway {version('leeway')}")
        raise typer.Exit


@app.callback()
def leeway(
    shown: Annotated[  # noqa: ARG001 (its callback prints it)
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve a model and see its latency and its drift on one time axis.

    Settings are LEEWAY_* environment variables; a flag takes precedence over its variable. Exit codes: 0 done,
    1 failed, 2 bad input or settings.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for terminals that lack a character


def _add(short_help: str, command: object, *lines: str) -> None:
    app.command(short_help=short_help, epilog=examples(*lines) if lines else None)(command)  # type: ignore[type-var]


_add("Load a month-end extract: feature snapshots and labels.", ingest.ingest, *ingest.EXAMPLES)
_add("Train a model and write its bundle.", train.train, *train.EXAMPLES)
_add("Create what is missing: tables, customers, a model.", setup.setup)
_add("Run the API.", serve.serve, *serve.EXAMPLES)
app.add_typer(drift, name="drift")
app.add_typer(faults, name="faults")
app.add_typer(keys, name="keys")
app.add_typer(log, name="log")
app.add_typer(source, name="source")
app.add_typer(reference, name="reference")
_add("Send realistic requests at a fixed rate.", traffic.traffic, *traffic.EXAMPLES)
_add("Check what answers, which signals arrive, and what to do.", doctor.doctor, *doctor.EXAMPLES)
_add("Show everything on this machine, without Docker or network.", demo.demo)


if __name__ == "__main__":
    app()
