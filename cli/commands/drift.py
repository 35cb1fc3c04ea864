"""`leeway drift` and what is below it. What a command runs is imported only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import HELP, BundleFolder, DatabaseUrl, examples, setting
from leeway.settings import DriftSettings

drift = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    help="Compare what was served with what the model was trained on.",
)


@drift.command(
    "run",
    short_help="Make one comparison and print it.",
    epilog=examples(
        "leeway drift run --reference bundle --current live --window 1h",
        "leeway drift run --reference 2024-01-31 --current 2024-02-29",
    ),
)
def drift_run(
    reference: Annotated[
        str, typer.Option(metavar="DATE|bundle", help="An ingested month, or what the model was trained on")
    ],
    current: Annotated[str, typer.Option(metavar="DATE|live", help="An ingested month, or what was served")],
    window: Annotated[str, typer.Option(metavar="TIME", help="With `live`: how far back, like 90s, 15m or 1h")] = "15m",
    report_dir: Annotated[Path | None, setting(DriftSettings, "reports", "--report-dir")] = None,
    fail_on_drift: Annotated[bool, typer.Option("--fail-on-drift", help="Exit code 3 for RETRAIN")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result document and nothing else")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the two lines only")] = False,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make one comparison. Exit codes: 0 made, 1 could not be made, 2 bad input, 3 RETRAIN with --fail-on-drift."""
    from cli.commands.drift_runner import run_once

    settings = DriftSettings.read(reports=report_dir, bundle=bundle, database_url=database_url)
    code = run_once(
        settings, reference, current, window=window, as_json=as_json, quiet=quiet, fail_on_drift=fail_on_drift
    )
    raise typer.Exit(code)


@drift.command("worker", short_help="Compare again and again, and show the reports page.")
def drift_worker(
    interval: Annotated[float | None, setting(DriftSettings, "drift_interval", "--interval")] = None,
    window: Annotated[float | None, setting(DriftSettings, "drift_window", "--window")] = None,
    reports: Annotated[Path | None, setting(DriftSettings, "reports")] = None,
    port: Annotated[int | None, setting(DriftSettings, "reports_port", "--port")] = None,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Compare the live window with the reference, again and again, and serve the reports page, until Ctrl-C."""
    from cli.commands.drift_runner import run_worker

    settings = DriftSettings.read(
        drift_interval=interval,
        drift_window=window,
        reports=reports,
        reports_port=port,
        bundle=bundle,
        database_url=database_url,
    )
    raise typer.Exit(run_worker(settings))
