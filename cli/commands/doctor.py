"""`leeway doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import FAILED, console, setting
from leeway.settings import DoctorSettings

EXAMPLES = ("leeway doctor", "docker compose exec service leeway doctor")


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
            help="How long a signal may take to arrive; default 30, and for metrics as long as an export takes",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON and nothing else")] = False,
) -> None:
    """Check which parts of the stack answer and which signals arrive, and say what to do if they don't.

    Sends one synthetic prediction, which drift windows ignore, and looks for its row, its trace and its count. With
    compose, run it where everything is reachable: docker compose exec service leeway doctor. Exit codes: 0 everything
    that is set up works, 1 something does not, 2 bad settings.
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
    """Run the checks, print the results, and return whether none failed."""
    from contextlib import nullcontext

    import msgspec

    from cli.doctor.report import document, show
    from cli.doctor.run import run_checks

    out = console()
    is_lively = out.is_terminal and not as_json
    with (
        out.status("Checking the stack, and waiting for the signals of one prediction") if is_lively else nullcontext()
    ):
        results = run_checks(settings, wait_s)
    if as_json:
        print(msgspec.json.encode(document(results)).decode())
    else:
        show(out, results)
    return results.all_well
