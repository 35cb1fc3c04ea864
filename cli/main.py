"""The `leeway` command. A command imports what it runs only when it is called, so that `--help` answers at once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.doctor.command import doctor
from cli.faults import faults
from cli.options import PlainGroup, setting
from leeway.settings import ClientSettings, DriftSettings, ServiceSettings, Settings, SetupSettings

app = typer.Typer(
    name="leeway",
    cls=PlainGroup,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich alone would take longer than all the rest
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Serve a model and see it: latency and drift on one time axis.\n\nSettings are LEEWAY_* environment variables;"
    " a flag goes before its variable. Exit codes: 0 done, 1 failed, 2 bad input or settings.",
)

DATE_FORMATS = ["%Y-%m-%d"]
DatabaseUrl = Annotated[str | None, setting(Settings, "database_url")]
BundleFolder = Annotated[Path | None, setting(Settings, "bundle")]


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(help="Folder with a month-end extract (CSV files)")],
    as_of: Annotated[datetime, typer.Option("--as-of", formats=DATE_FORMATS, help="The extract's date")],
    database_url: DatabaseUrl = None,
) -> None:
    """Load a month-end extract as feature snapshots and labels; the same month again replaces it."""
    from cli.ingest import run_ingest

    run_ingest(folder, as_of.date(), Settings.read(database_url=database_url))


@app.command()
def train(
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", formats=DATE_FORMATS, help="Snapshot date; default: the newest labelled"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Any CSV or Parquet file instead of snapshots")] = None,
    target: Annotated[str | None, typer.Option(help="With --data: the column to predict")] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="With --data: the column that names a row")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name; default: churn, or the file's name")] = None,
    database_url: DatabaseUrl = None,
    bundle: BundleFolder = None,
) -> None:
    """Fit the model and write its bundle."""
    from cli.data import run_train

    run_train(
        Settings.read(database_url=database_url, bundle=bundle),
        as_of=as_of.date() if as_of else None,
        data=data,
        target=target,
        id_column=id_column,
        name=name,
    )


@app.command()
def setup(
    extract: Annotated[Path | None, setting(SetupSettings, "extract")] = None,
    database_url: DatabaseUrl = None,
    bundle: BundleFolder = None,
) -> None:
    """Make what the service needs and is not there yet: tables, customers, a model. Can be run at every start."""
    from cli.setup import run_setup

    run_setup(SetupSettings.read(extract=extract, database_url=database_url, bundle=bundle))


@app.command()
def serve(
    workers: Annotated[int, typer.Option(min=1, help="Processes; more than one needs a Collector")] = 1,
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
    """Run the API until SIGTERM or Ctrl-C."""
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
        from service.supervisor import supervise as run

        raise typer.Exit(run(settings, workers))
    from service.__main__ import main

    raise typer.Exit(main(settings))


drift = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare what was served with what the model was trained on.",
)
app.add_typer(drift, name="drift")


@drift.command("run")
def drift_run(
    reference: Annotated[str, typer.Option(help="An ingested month (YYYY-MM-DD), or `bundle`")],
    current: Annotated[str, typer.Option(help="An ingested month (YYYY-MM-DD), or `live`")],
    window: Annotated[str, typer.Option(help="With `live`: how far back, like 90s, 15m or 1h")] = "15m",
    report_dir: Annotated[Path | None, setting(DriftSettings, "reports", "--report-dir")] = None,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="Exit code 3 for RETRAIN")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result document and nothing else")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the two lines only")] = False,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make one comparison. Exit codes: 0 made, 1 could not be made, 2 bad input, 3 RETRAIN with --fail-on-drift."""
    from cli.drift import run_once

    settings = DriftSettings.read(reports=report_dir, bundle=bundle, database_url=database_url)
    code = run_once(
        settings, reference, current, window=window, as_json=as_json, quiet=quiet, fail_on_drift=fail_on_drift
    )
    raise typer.Exit(code)


@drift.command("worker")
def drift_worker(
    interval: Annotated[float | None, setting(DriftSettings, "drift_interval", "--interval")] = None,
    window: Annotated[float | None, setting(DriftSettings, "drift_window", "--window")] = None,
    reports: Annotated[Path | None, setting(DriftSettings, "reports")] = None,
    port: Annotated[int | None, setting(DriftSettings, "reports_port", "--port")] = None,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare the live window with the reference, again and again, and serve the reports page."""
    from cli.drift import run_worker

    settings = DriftSettings.read(
        drift_interval=interval,
        drift_window=window,
        reports=reports,
        reports_port=port,
        bundle=bundle,
        database_url=database_url,
    )
    raise typer.Exit(run_worker(settings))


@drift.command("power")
def drift_power(
    out: Annotated[Path, typer.Argument(help="Where the table goes")] = Path("docs/drift-power.md"),
) -> None:
    """Measure the smallest shift that is found in 9 of 10 windows, and write the table."""
    from cli.drift import run_power

    run_power(out)


@app.command()
def traffic(
    url: Annotated[str | None, setting(ClientSettings, "url")] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="Requests a second, on average")] = 20.0,
    duration: Annotated[float, typer.Option(min=0, help="Seconds; 0 goes on until Ctrl-C or SIGTERM")] = 60.0,
    mix: Annotated[str, typer.Option(help="Weights: by user_id, by features, batches of up to 20")] = "60/30/10",
    drift: Annotated[
        float, typer.Option(min=0, max=1, help="A worse network: less watched, more rebuffering, skips, tickets")
    ] = 0.0,
    concept_drift: Annotated[
        float, typer.Option(min=0, max=1, help="With --labels: what makes customers leave changes; 1 leaves a coin")
    ] = 0.0,
    drift_after: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds before both begin; default: a third of --duration, else 60"),
    ] = None,
    drift_ramp: Annotated[float, typer.Option(min=0, help="Seconds in which they rise; 0 is a step")] = 0.0,
    drift_for: Annotated[float | None, typer.Option(min=0, help="Seconds after which they end; default: never")] = None,
    bad_input: Annotated[float, typer.Option(min=0, max=1, help="Share of requests that must be refused")] = 0.0,
    labels: Annotated[bool, typer.Option("--labels", help="Tell by POST /feedback what turned out to be true")] = False,
    label_delay: Annotated[float, typer.Option(min=0, help="Seconds from an answer to its label")] = 10.0,
    users: Annotated[Path | None, typer.Option(help="File of customers' ids, one a line, instead of ours")] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same requests")] = 7,
    max_errors: Annotated[int, typer.Option(min=0, help="More errors than this end in exit code 1")] = 0,
    max_in_flight: Annotated[
        int, typer.Option(min=1, max=10_000, help="Most requests at once; any more are errors, not sent")
    ] = 256,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds to wait for an answer")] = 10.0,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the service before the start")] = 10.0,
) -> None:
    """Send realistic requests at a rate, late answers or not; latency counts from when a request was due.

    Drifted requests go by features, since snapshots of customers do not drift. Where OTEL_EXPORTER_OTLP_ENDPOINT is
    set, each request is the root of its trace. Exit codes: 0 done, 1 more than --max-errors failed, 2 no such service.
    """
    from cli.traffic import run_traffic
    from cli.traffic_prepare import Wanted, weights

    if concept_drift and not labels:
        raise typer.BadParameter("it shows in labels alone: add --labels", param_hint="--concept-drift")
    wanted = Wanted(
        rate=rate,
        duration_s=duration,
        mix=weights(mix),
        drift=drift,
        concept_drift=concept_drift,
        drift_after_s=drift_after,
        drift_ramp_s=drift_ramp,
        drift_for_s=drift_for,
        bad_share=bad_input,
        labels=labels,
        label_delay_s=label_delay,
        users=users,
        seed=seed,
        max_errors=max_errors,
        max_in_flight=max_in_flight,
        timeout_s=timeout,
        wait_s=wait,
    )
    raise typer.Exit(run_traffic(ClientSettings.read(url=url), wanted))


app.add_typer(faults, name="faults")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps what it makes")] = Path("demo"),
    duration: Annotated[float, typer.Option(min=15, max=3600, help="Seconds that the story's acts take")] = 52.0,
    rate: Annotated[float, typer.Option(min=20, max=1000, help="Requests a second, on average")] = 50.0,
) -> None:
    """A story of about a minute on this machine, without Docker and network; it leaves a page, demo/index.html.

    A model is trained and served. Its inputs drift; then scoring slows; then the model turns out to be a coin while all
    else is green. Ctrl-C ends it at any time. Exit codes: 0 told, 1 failed, 2 no place for it, 130 Ctrl-C.
    """
    from cli.demo import run_demo

    raise typer.Exit(run_demo(folder, duration, rate))


app.command()(doctor)


if __name__ == "__main__":
    app()
