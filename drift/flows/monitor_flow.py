"""The monthly comparison as a Prefect flow: `python monitor_flow.py` runs it once, `--serve` schedules it.

Each step is a task: both months have rows, compare, judge, publish, notify. It ends as COMPLETED with the
recommendation, or as FAILED with the reason.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import httpx
from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.schedules import Cron
from prefect.states import Completed

from drift.flows import monthly
from drift.flows.monthly import Comparison, FlowSettings, Months

ARTIFACT = "drift-verdicts"
DEPLOYMENT = "monthly"
SCHEDULE = "0 6 2 * *"
"""At 06:00 UTC on the second day of the month."""
LATE_MONTH = {"retries": 24, "retry_delay_s": 3_600.0}
"""The scheduled flow looks for a late month for a day."""
WEBHOOK_TIMEOUT_S = 5.0


@task(name="both months have rows", cache_policy=NO_CACHE)
def check_months(months: Months, source: str | None) -> None:
    """Check that there is something to compare; it is retried, as a month may arrive late."""
    get_run_logger().info(monthly.check(months, source))


@task(name="compare", cache_policy=NO_CACHE)
def compare(months: Months, source: str | None, report_dir: str | None) -> Comparison:
    """Compare, and print the lines of `leeway drift run`."""
    comparison = monthly.compare(months, source, report_dir)
    for line in comparison.lines:
        print(line, flush=True)  # noqa: T201 (what the command prints, for people and scripts)
        get_run_logger().info(line)
    return comparison


@task(name="judge", cache_policy=NO_CACHE)
def judge(comparison: Comparison) -> str:
    """The recommendation; without a comparison the flow fails with the reason."""
    return monthly.judge(comparison)


@task(name="publish", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=2)
def publish(comparison: Comparison, reports_url: str | None) -> None:
    """Publish the verdicts as an artifact; its key is the same each month, so that Prefect shows its history."""
    text = monthly.markdown(comparison, reports_url)
    create_markdown_artifact(text, key=ARTIFACT, description=str(comparison.months))


@task(name="notify", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=2)
def notify(comparison: Comparison, settings: FlowSettings) -> None:
    """Post the result to `LEEWAY_WEBHOOK_URL`, if it is set."""
    if settings.webhook_url:
        _post(settings.webhook_url, monthly.event(comparison, settings.reports_url))


def notify_failure(_flow: Flow[Any, Any], run: FlowRun, state: State[Any]) -> None:
    """Post the reason of a failed flow run."""
    if url := FlowSettings.read().webhook_url:
        _post(url, monthly.failure_event(str(run.id), state.message))


@flow(name="monitor", on_failure=[notify_failure])
def monitor(
    reference: str | None = None,
    current: str | None = None,
    source: str | None = None,
    report_dir: str | None = None,
    retries: int = 0,
    retry_delay_s: float = 60.0,
) -> State[Any]:
    """Compare two months, by default the last full month with the one before it, and publish the verdicts.

    Args:
        reference: the month to compare with, like 2024-01-31; of a source its days, like 2024-01-01..2024-01-31.
        current: the month to judge.
        source: a table of predictions as for `leeway drift run --source`; by default LEEWAY_SOURCE. Prefect shows it
            to everybody who can open its page: keep passwords in LEEWAY_SOURCE.
        report_dir: the folder of the report; by default REPORT_DIR.
        retries: how many times to look again for a missing month, and to compare again after an error.
        retry_delay_s: seconds between two tries.
    """
    settings = FlowSettings.read()
    scheduled = runtime.flow_run.scheduled_start_time
    months = Months.chosen(reference, current, today=scheduled.date(), of_source=bool(source or settings.source))
    again: dict[str, Any] = {"retries": retries, "retry_delay_seconds": retry_delay_s}
    check_months.with_options(**again)(months, source)
    comparison = compare.with_options(**again)(months, source, report_dir or settings.report_dir)
    recommendation = judge(comparison)
    publish(comparison, settings.reports_url)
    notify(comparison, settings)
    return Completed(message=f"{months}: {recommendation}")


def main(arguments: list[str] | None = None) -> int:
    """Run the flow once, or serve it; return the exit code: 0 completed, 1 failed."""
    parser = argparse.ArgumentParser(
        description="Compare two months as a Prefect flow. Exit codes: 0 completed, 1 failed."
    )
    parser.add_argument(
        "--reference", metavar="DATE", help="the month to compare with; default: the one before current"
    )
    parser.add_argument("--current", metavar="DATE", help="the month to judge; default: the last full month")
    parser.add_argument("--source", metavar="URL", help="predictions of another service, as for leeway drift run")
    parser.add_argument("--report-dir", metavar="FOLDER", help="folder of the report; default: REPORT_DIR")
    parser.add_argument("--serve", action="store_true", help="schedule the flow, and run it until SIGTERM")
    parser.add_argument("--cron", default=SCHEDULE, help="with --serve: when to run it, in UTC (default: %(default)s)")
    given = parser.parse_args(arguments)
    chosen = {name: getattr(given, name) for name in ("reference", "current", "source", "report_dir")}
    if given.serve:
        return serve(given.cron, chosen)
    state = monitor(**chosen, return_state=True)
    if not state.is_completed():
        print(state.message, file=sys.stderr)  # noqa: T201 (a script)
    return 0 if state.is_completed() else 1


def serve(cron: str, chosen: dict[str, str | None]) -> int:
    """Create the deployment with its schedule, and run what is due until SIGTERM.

    After a restart the schedule goes on, and a run that was missed is made.
    """
    parameters = {name: value for name, value in chosen.items() if value is not None}
    monitor.serve(
        name=DEPLOYMENT,
        schedule=Cron(cron, timezone="UTC"),
        parameters=parameters | LATE_MONTH,
        pause_on_shutdown=False,
        webserver=True,
        limit=1,
    )
    return 0


def _post(url: str, document: dict[str, Any]) -> None:
    """Post a CloudEvent; redirects are failures, as with the drift worker's webhook."""
    headers = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
    httpx.post(url, json=document, headers=headers, timeout=WEBHOOK_TIMEOUT_S).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
