"""The command `leeway doctor`; what it runs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import FAILED, console, setting
from leeway.settings import DoctorSettings


def doctor(
    url: Annotated[str | None, setting(DoctorSettings, "url")] = None,
    database_url: Annotated[str | None, setting(DoctorSettings, "database_url")] = None,
    prometheus_url: Annotated[str | None, setting(DoctorSettings, "prometheus_url")] = None,
    jaeger_url: Annotated[str | None, setting(DoctorSettings, "jaeger_url")] = None,
    spans_file: Annotated[Path | None, setting(DoctorSettings, "spans_file")] = None,
    collector_url: Annotated[str | None, setting(DoctorSettings, "collector_url")] = None,
    grafana_url: Annotated[str | None, setting(DoctorSettings, "grafana_url")] = None,
    reports_url: Annotated[str | None, setting(DoctorSettings, "reports_url")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=600,
            metavar="SECONDS",
            help="How long a signal may take to arrive; by default 30, and metrics as long as an export of them takes",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else")] = False,
) -> None:
    """Say what of the stack answers and which signals arrive, and what to do where they don't.

    Sends one prediction, marked as a check so that no drift window counts it, and looks for its row, its trace and its
    count. In compose, from where all can be reached: docker compose exec service leeway doctor. Exit codes: 0 all that
    is set up works, 1 something does not, 2 bad settings.
    """
    settings = DoctorSettings.read(
        url=url,
        database_url=database_url,
        prometheus_url=prometheus_url,
        jaeger_url=jaeger_url,
        spans_file=spans_file,
        collector_url=collector_url,
        grafana_url=grafana_url,
        reports_url=reports_url,
    )
    raise typer.Exit(0 if run_doctor(settings, timeout, as_json=as_json) else FAILED)


def run_doctor(settings: DoctorSettings, wait_s: float | None, *, as_json: bool) -> bool:
    """Examine, print what was found, and say whether all is well."""
    import json
    from contextlib import nullcontext

    from cli.doctor.examination import examine
    from cli.doctor.report import document, show

    out = console()
    is_lively = out.is_terminal and not as_json
    with out.status("Asking all who should answer, and waiting for one prediction") if is_lively else nullcontext():
        examination = examine(settings, wait_s)
    if as_json:
        print(json.dumps(document(examination), ensure_ascii=False, allow_nan=False))
    else:
        show(out, examination)
    return examination.is_well
