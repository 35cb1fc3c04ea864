"""The `leeway` command. A command imports what it runs only when it is called, so that `--help` answers at once."""

from __future__ import annotations

from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.doctor import doctor
from cli.commands.drift import drift
from cli.commands.faults import faults
from cli.commands.traffic import TRAFFIC_EXAMPLES, traffic
from cli.demo.story import LASTS_S, SHORTEST_S
from cli.options import HELP, BundleFolder, DatabaseUrl, PlainGroup, a_date, examples, setting
from leeway.settings import ServiceSettings, Settings, SetupSettings

app = typer.Typer(
    name="leeway",
    cls=PlainGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich alone would take longer than all the rest
    pretty_exceptions_show_locals=False,
    context_settings=HELP,
    epilog=examples(
        "leeway demo                     # all of it, in about a minute",
        "leeway setup && leeway serve    # made-up customers, a model, the API",
        "leeway COMMAND --help           # what a command takes",
    ),
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"leeway {version('leeway')}")
        raise typer.Exit


@app.callback()
def leeway(
    shown: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve a model and see it: latency and drift on one time axis.

    Settings are LEEWAY_* environment variables; a flag goes before its variable. Exit codes: 0 done, 1 failed, 2 bad
    input or settings.
    """


@app.command(
    short_help="Load a month-end extract: feature snapshots and labels.",
    epilog=examples("leeway ingest --as-of 2024-01-31 extracts/2024-01-31"),
)
def ingest(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A month-end extract: CSV files")],
    as_of: Annotated[
        date, typer.Option("--as-of", parser=a_date, metavar="DATE", help="The extract's date: YYYY-MM-DD")
    ],
    database_url: DatabaseUrl = None,
) -> None:
    """Load a month-end extract as feature snapshots and labels; the same month again replaces it."""
    from cli.commands.ingest import run_ingest

    run_ingest(folder, as_of, Settings.read(database_url=database_url))


@app.command(
    short_help="Fit a model and write its bundle.",
    epilog=examples(
        "leeway train                                # the newest month with labels",
        "leeway train --data any.csv --target left   # any table",
    ),
)
def train(
    as_of: Annotated[
        date | None,
        typer.Option("--as-of", parser=a_date, metavar="DATE", help="Snapshot date; default: the newest labelled"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Any CSV or Parquet file instead of snapshots")
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="With --data: what to predict, 0 or 1")] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="With --data: what names a row, and is no feature")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name; default: churn, or the file's name")
    ] = None,
    database_url: DatabaseUrl = None,
    bundle: BundleFolder = None,
) -> None:
    """Fit a model on 70 % of the rows and write its bundle; its figures come from the other 30 %."""
    from cli.commands.train import run_train

    run_train(
        Settings.read(database_url=database_url, bundle=bundle),
        as_of=as_of,
        data=data,
        target=target,
        id_column=id_column,
        name=name,
    )


@app.command(short_help="Make what is missing: tables, customers, a model.")
def setup(
    extract: Annotated[Path | None, setting(SetupSettings, "extract")] = None,
    database_url: DatabaseUrl = None,
    bundle: BundleFolder = None,
) -> None:
    """Make what the service needs and is not there yet: tables, customers, a model. Can be run at every start."""
    from cli.commands.setup import run_setup

    run_setup(SetupSettings.read(extract=extract, database_url=database_url, bundle=bundle))


@app.command(
    short_help="Run the API.",
    epilog=examples("leeway serve", "leeway serve --port 0 --spans-file spans.jsonl   # any free port"),
)
def serve(
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Processes; several need a Collector")] = 1,
    supervise: Annotated[
        bool, typer.Option("--supervise", help="Keep the port open while a killed process is replaced: callers wait")
    ] = False,
    host: Annotated[str | None, setting(ServiceSettings, "host")] = None,
    port: Annotated[int | None, setting(ServiceSettings, "port")] = None,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
    spool: Annotated[Path | None, setting(ServiceSettings, "spool")] = None,
    recording: Annotated[str | None, setting(ServiceSettings, "recording")] = None,
    spans_file: Annotated[Path | None, setting(ServiceSettings, "spans_file")] = None,
) -> None:
    """Run the API until SIGTERM or Ctrl-C. Its docs are at /docs, its metrics, without a Collector, at /metrics."""
    settings = ServiceSettings.read(
        host=host,
        port=port,
        bundle=bundle,
        database_url=database_url,
        spool=spool,
        recording=recording,
        spans_file=spans_file,
    )
    if supervise or workers > 1:
        from service.process.workers import supervise as run

        raise typer.Exit(run(settings, workers))
    from service.__main__ import main

    raise typer.Exit(main(settings))


app.add_typer(drift, name="drift")
app.add_typer(faults, name="faults")
app.command(short_help="Send realistic requests at a rate.", epilog=TRAFFIC_EXAMPLES)(traffic)
app.command(
    short_help="Say what answers, which signals arrive, and what to do.",
    epilog=examples("leeway doctor", "docker compose exec service leeway doctor"),
)(doctor)


@app.command(short_help="See all of it on this machine, without Docker or network.")
def demo(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Where it keeps what it makes")] = Path("demo"),
    duration: Annotated[
        float, typer.Option(min=SHORTEST_S, max=3600, metavar="SECONDS", help="How long the story's acts take")
    ] = LASTS_S,
    rate: Annotated[float, typer.Option(min=20, max=1000, metavar="N", help="Requests a second, on average")] = 50.0,
) -> None:
    """A story of about a minute on this machine, without Docker and network; it leaves a page, demo/index.html.

    A model is trained and served. Its inputs drift; then scoring slows; then the model turns out to be a coin while all
    else is green. Ctrl-C ends it at any time. Exit codes: 0 told, 1 failed, 2 no place for it, 130 Ctrl-C.
    """
    from cli.commands.demo import run_demo

    raise typer.Exit(run_demo(folder, duration, rate))


if __name__ == "__main__":
    app()
