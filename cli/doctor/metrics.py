"""Checks metrics: in Prometheus, or without Prometheus in the service's own `/metrics`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import quote

from cli.doctor.check import CheckResult, Deadline
from cli.doctor.traces import TraceOrigin
from cli.http import NOT_FOUND, OK, EndpointError, ask
from leeway.settings import DoctorSettings
from leeway.telemetry.environment import export_interval_s
from leeway.telemetry.names import HTTP_REQUEST_DURATION, HTTP_ROUTE, prometheus_label

COUNT = f'{HTTP_REQUEST_DURATION.prometheus_name}_count{{{prometheus_label(HTTP_ROUTE)}="/predict"}}'
_SERVICE = "leeway/leeway-service"
"""Also the job of the service's own metrics, which do not name it."""
_CHECK_BY_JOB = {
    "otel-collector": "collector",
    _SERVICE: "service",
    "leeway/leeway-drift": "drift worker",
}
_LOST = (
    "check OTEL_EXPORTER_OTLP_ENDPOINT of the service, then docker compose logs service, then docker compose logs"
    " otel-collector; or wait longer with --timeout: the service exports every OTEL_METRIC_EXPORT_INTERVAL (default"
    " 60 s), and Prometheus scrapes after that"
)
_ONE_SERVICE = "set LEEWAY_URL to one service, not to a load balancer; then read its log"
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SCRAPE_S = 15.0
"""The usual time from an export to its scrape; ours takes 5 s."""
MOST_WAIT_S = 600.0
Series: TypeAlias = list[tuple[dict[str, str], float]]
Counts: TypeAlias = Mapping[frozenset[tuple[str, str]], float]
"""By the labels of each series: in a sum, a series that ends would hide another one's rise."""


class NoMetrics(Exception):
    """There are no metrics to read; the message says what to set."""


def query(url: str, expression: str, timeout_s: float) -> Series:
    """The series of an instant query, each with its labels and its value.

    Raises:
        EndpointError: Prometheus does not answer, or answers in another shape.
    """
    document = ask(url, f"/api/v1/query?query={quote(expression)}", timeout_s).document()
    try:
        return [(dict(each["metric"]), float(each["value"][1])) for each in document["data"]["result"]]
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointError(f"gives an unexpected answer: {document.get('error', error)}") from error


def prediction_counts(settings: DoctorSettings, timeout_s: float) -> Counts:
    """The number of requests for single predictions so far, by process and status.

    Raises:
        EndpointError: Prometheus or the service does not answer.
        NoMetrics: neither has metrics.
    """
    return {frozenset(labels.items()): value for labels, value in _series(settings, COUNT, timeout_s)}


def _series(settings: DoctorSettings, expression: str, timeout_s: float) -> Series:
    """The series of an expression, a name with at most one label: from Prometheus, or from the service's `/metrics`."""
    if settings.prometheus_url is not None:
        return query(settings.prometheus_url, expression, timeout_s)
    name, _, label = expression.rstrip("}").partition("{")
    lines = (line for line in _own_metrics(settings, timeout_s).splitlines() if line.startswith(f"{name}{{"))
    return [(dict(_LABEL.findall(line)), float(line.rpartition(" ")[2])) for line in lines if label in line]


def increases(before: Counts, now: Counts) -> Counts:
    """How much each series rose. A series that fell was reset, as in `increase()`; a series that ended did not fall."""
    rises = {}
    for series, count in now.items():
        earlier = before.get(series, 0.0)
        rises[series] = count - earlier if count >= earlier else count
    return {series: rise for series, rise in rises.items() if rise > 0}


def versions(settings: DoctorSettings, timeout_s: float) -> dict[str, str]:
    """The versions that processes report in their metrics, by check; empty without metrics."""
    try:
        found = {
            _CHECK_BY_JOB.get(labels.get("job", _SERVICE)): labels.get("service_version")
            or labels.get("service.version")
            for labels, _ in _series(settings, "target_info", timeout_s)
        }
    except (EndpointError, NoMetrics):
        return {}
    return {check: version for check, version in found.items() if check and version}


def _own_metrics(settings: DoctorSettings, timeout_s: float) -> str:
    answer = ask(settings.url, "/metrics", timeout_s, api_key=settings.api_key)
    if answer.status == NOT_FOUND:
        raise NoMetrics(
            "not checked: the service has no /metrics (LEEWAY_METRICS_ENDPOINT), and LEEWAY_PROMETHEUS_URL is not set"
        )
    if answer.status != OK:
        raise EndpointError(f"answers /metrics with status {answer.status}")
    return answer.body.decode("utf-8", "replace")


def wait_s(settings: DoctorSettings, others_s: float) -> float:
    """How long a count may take to arrive, if other signals may take `others_s`: one export and one scrape.

    The export interval is read from the environment, which in compose is the service's too.
    """
    if settings.prometheus_url is None:
        return others_s
    return max(others_s, min(export_interval_s() + SCRAPE_S, MOST_WAIT_S))


def risen(
    settings: DoctorSettings,
    before: Counts | Exception,
    origin: TraceOrigin | None,
    timeout_s: float,
    deadline: Deadline,
) -> CheckResult:
    """Whether the number of predictions rises above `before` (the counts, or why they are unknown).

    If `origin` is known and Prometheus distinguishes the processes, only the counts of that process matter.
    """
    where, name = (
        ("the service's /metrics", "service") if settings.prometheus_url is None else ("Prometheus", "prometheus")
    )
    if isinstance(before, NoMetrics):
        return CheckResult("metric", "skipped", str(before))
    if isinstance(before, Exception):
        return CheckResult("metric", "failed", f"{where} {before}", f"fix {name} first")
    counted, now = before, before

    def look() -> Counts | None:
        nonlocal now
        now = prediction_counts(settings, timeout_s)
        return _only(origin, counted, now) or None

    try:
        rises = deadline.wait_for(look)
    except (EndpointError, NoMetrics) as error:
        return CheckResult("metric", "failed", f"{where} {error}", f"fix {name} first")
    of = f" of {origin.job}, instance {origin.instance}," if origin and _names_processes(origin, counted, now) else ""
    if rises is None:
        found = f"the number of predictions{of} in {where} has not risen within {deadline.wait_s:g} s"
        return CheckResult("metric", "failed", found, _ONE_SERVICE if settings.prometheus_url is None else _LOST)
    found = (
        f"the number of predictions{of} in {where} rose by {sum(rises.values()):,.0f} within {deadline.waited_s:.1f} s"
    )
    return CheckResult("metric", "ok", found if of else f"{found}; it includes requests of other clients")


def _names_processes(origin: TraceOrigin | None, *counts: Counts) -> bool:
    """Whether the series name their processes as OTLP does; if Prometheus scrapes the services itself they do not."""
    return origin is not None and any(("job", origin.job) in series for each in counts for series in each)


def _only(origin: TraceOrigin | None, before: Counts, now: Counts) -> Counts:
    rises = increases(before, now)
    if origin is None or not _names_processes(origin, before, now):
        return rises
    ours = {("job", origin.job), ("instance", origin.instance)}
    return {series: rise for series, rise in rises.items() if ours <= series}


def targets(settings: DoctorSettings, timeout_s: float) -> CheckResult:
    """Whether Prometheus reaches all its targets."""
    if settings.prometheus_url is None:
        return CheckResult("scrapes", "skipped", "not checked: LEEWAY_PROMETHEUS_URL is not set")
    try:
        series = query(settings.prometheus_url, "up", timeout_s)
    except EndpointError as error:
        return CheckResult("scrapes", "failed", f"Prometheus {error}", "fix prometheus first")
    down = sorted(f"{labels.get('job')} at {labels.get('instance')}" for labels, value in series if value != 1)
    if not series or down:
        found = f"Prometheus does not reach {', '.join(down)}" if down else "Prometheus has no targets"
        next_step = f"start what is down; {settings.prometheus_url}/targets shows the reason"
        return CheckResult("scrapes", "failed", found, next_step)
    return CheckResult("scrapes", "ok", f"Prometheus reaches all its {len(series)} targets")
