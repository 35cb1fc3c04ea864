"""`leeway source`: describe a table of predictions that another service writes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.drift import MappingFile, SourceUrl
from cli.options import FAILED, HELP, examples, plain_errors, stop
from leeway.settings import SourceSettings

source = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Map a table of predictions of another service.",
    help="Describe a table of predictions that another service writes, for `leeway drift --source`.",
)


@source.callback()
def source_group() -> None:
    """Describe a table of predictions that another service writes."""


@source.command(
    "init",
    short_help="Propose a mapping from what a table is like.",
    epilog=examples("leeway source init --source sqlite:///shop.db --out source.yaml"),
)
def init(
    url: SourceUrl = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="The table; by default the likely one")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it; default: print it")] = None,
) -> None:
    """Propose a mapping: which column means what, and which are features. It asks nothing; edit the result.

    Exit codes: 0 done, 2 bad input, or the source cannot be read.
    """
    from drift.sources.errors import SourceError
    from drift.sources.mapping import mapping_text
    from drift.sources.opening import opened
    from drift.sources.proposal import propose

    settings = SourceSettings.read(source=url)
    with plain_errors(SourceError), opened(required(settings.source), timeout_s=settings.source_timeout) as found:
        mapping, notes = propose(found, table)
    text = mapping_text(mapping, notes)
    if out is None:
        print(text, end="")
        return
    if out.exists():
        stop(f"{out} exists: remove it first, or choose another --out")
    with plain_errors(OSError):
        out.write_text(text, encoding="utf-8")
    print("\n".join(notes))
    print(f"wrote {out}; check it with: leeway source check --mapping {out}")


@source.command(
    "check",
    short_help="Check a source against its mapping.",
    epilog=examples("leeway source check --source predictions/ --mapping source.yaml"),
)
def check(url: SourceUrl = None, mapping: MappingFile = None) -> None:
    """Check that a source has what its mapping says. One line a problem.

    Exit codes: 0 nothing is wrong, 1 something is, 2 bad input.
    """
    from drift.sources.checking import check as check_source
    from drift.sources.errors import SourceError
    from drift.sources.mapping import read_mapping
    from drift.sources.opening import opened

    settings = SourceSettings.read(source=url, mapping=mapping)
    with plain_errors(SourceError), opened(required(settings.source), timeout_s=settings.source_timeout) as found:
        problems, facts = check_source(found, read_mapping(settings.mapping))
    print("\n".join(map(str, problems or facts)))
    raise typer.Exit(FAILED if problems else 0)


def required(url: str | None) -> str:
    """The source's URL; without one the command ends."""
    return url or stop("give --source (or LEEWAY_SOURCE): postgresql://…, sqlite:///…, duckdb:///… or Parquet")
