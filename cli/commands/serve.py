"""`leeway serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import BundleFolder, DatabaseUrl, setting
from leeway.settings import ServiceSettings

EXAMPLES = ("leeway serve", "leeway serve --port 0 --spans-file spans.jsonl   # any free port")


def serve(
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of processes; more than 1 need a Collector")
    ] = 1,
    supervise: Annotated[
        bool,
        typer.Option("--supervise", help="Keep the port open while a killed process is replaced: requests wait"),
    ] = False,
    host: Annotated[str | None, setting(ServiceSettings, "host")] = None,
    port: Annotated[int | None, setting(ServiceSettings, "port")] = None,
    certificate: Annotated[Path | None, setting(ServiceSettings, "certificate")] = None,
    key: Annotated[Path | None, setting(ServiceSettings, "key")] = None,
    bundle: BundleFolder = None,
    database_url: DatabaseUrl = None,
    spool: Annotated[Path | None, setting(ServiceSettings, "spool")] = None,
    recording: Annotated[str | None, setting(ServiceSettings, "recording")] = None,
    spans_file: Annotated[Path | None, setting(ServiceSettings, "spans_file")] = None,
) -> None:
    """Run the API until SIGTERM or Ctrl-C.

    The API's docs are at /docs; without a Collector, its metrics are at /metrics.
    """
    settings = ServiceSettings.read(
        host=host,
        port=port,
        certificate=certificate,
        key=key,
        bundle=bundle,
        database_url=database_url,
        spool=spool,
        recording=recording,
        spans_file=spans_file,
    )
    from service.process.workers import serve_alone
    from service.process.workers import supervise as run_workers

    raise typer.Exit(run_workers(settings, workers) if supervise or workers > 1 else serve_alone(settings))
