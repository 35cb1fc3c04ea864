"""Reads metrics where they arrive: from Prometheus, or where there is none from the service's own `/metrics`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import quote

from cli.doctor.asking import NOT_FOUND, OK, Deadline, EndpointError, ask
from cli.doctor.finding import Finding
from cli.doctor.traces import Origin
from leeway.settings import DoctorSettings
from leeway.telemetry.environment import export_interval_s
from leeway.telemetry.names import HTTP_REQUEST_DURATION, HTTP_ROUTE, prometheus_label

COUNT = f'{HTTP_REQUEST_DURATION.prometheus_name}_count{{{prometheus_label(HTTP_ROUTE)}="/predict"}}'
_CHECK_OF_JOB = {
    "otel-collector": "collector",
    "leeway/leeway-service": "service",
    "leeway/leeway-drift": "drift worker",
}
_OWN_VERSION = re.compile(r'^target_info\{[^}]*service_version="([^"]+)"', re.MULTILINE)
_CHAIN = (
    "follow its way: OTEL_EXPORTER_OTLP_ENDPOINT of the service, then docker compose logs service, then docker compose"
    " logs otel-collector; or wait longer, with --timeout: the service exports every OTEL_METRIC_EXPORT_INTERVAL (60 s"
    " where nobody sets it), and Prometheus scrapes after that"
)
_LOG_OF_SERVICE = "name the service itself with LEEWAY_URL, not one of several; then read its log"
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
SCRAPE_S = 15.0
"""From an export to a scrape of it, as a rule; ours takes 5 s."""
MOST_WAIT_S = 600.0
Series: TypeAlias = list[tuple[dict[str, str], float]]
Counts: TypeAlias = Mapping[frozenset[tuple[str, str]], float]
"""By the labels of each series: added up, one that goes would hide another's rise."""


class NoMetrics(Exception):
    """There is no place where metrics could be read; the message says what to set."""


def query(url: str, expression: str, timeout_s: float) -> Series:
    """The series of an instant query, each with its labels and its value.

    Raises:
        EndpointError: Prometheus does not answer, or not as it should.
    """
    document = ask(url, f"/api/v1/query?query={quote(expression)}", timeout_s).document()
    try:
        return [(dict(each["metric"]), float(each["value"][1])) for each in document["data"]["result"]]
    except (KeyError, TypeError, ValueError) as error:
        raise EndpointError(f"answers, but not as it should: {document.get('error', error)}") from error


def predictions_counted(settings: DoctorSettings, timeout_s: float) -> Counts:
    """How many requests for a prediction have been counted, by each who counts and by answer.

    Raises:
        EndpointError: who should know does not answer.
        NoMetrics: nobody can be asked.
    """
    if settings.prometheus_url is not None:
        series = query(settings.prometheus_url, COUNT, timeout_s)
        return {frozenset(labels.items()): value for labels, value in series}
    name, _, label = COUNT.rstrip("}").partition("{")
    lines = (line for line in _own_metrics(settings, timeout_s).splitlines() if line.startswith(f"{name}{{"))
    return {frozenset(_LABEL.findall(line)): float(line.rpartition(" ")[2]) for line in lines if label in line}


def increases(before: Counts, now: Counts) -> Counts:
    """By how much each series rose. One that fell began anew, as `increase()` has it; one that went is no fall."""
    rises = {
        series: count - before[series] if count >= before.get(series, math.inf) else count
        for series, count in now.items()
    }
    return {series: rise for series, rise in rises.items() if rise > 0}


def versions(settings: DoctorSettings, timeout_s: float) -> dict[str, str]:
    """The versions that processes say of themselves, by the check that they belong to; empty where nobody tells."""
    try:
        if settings.prometheus_url is None:
            match = _OWN_VERSION.search(_own_metrics(settings, timeout_s))
            return {"service": match[1]} if match else {}
        found = {
            _CHECK_OF_JOB.get(labels.get("job", "")): labels.get("service_version") or labels.get("service.version")
            for labels, _ in query(settings.prometheus_url, "target_info", timeout_s)
        }
    except (EndpointError, NoMetrics):
        return {}
    return {check: version for check, version in found.items() if check and version}


def _own_metrics(settings: DoctorSettings, timeout_s: float) -> str:
    answer = ask(settings.url, "/metrics", timeout_s)
    if answer.status == NOT_FOUND:
        raise NoMetrics(
            "not looked for: the service serves no /metrics (LEEWAY_METRICS_ENDPOINT), and LEEWAY_PROMETHEUS_URL is"
            " not set"
        )
    if answer.status != OK:
        raise EndpointError(f"answers /metrics with status {answer.status}")
    return answer.body.decode("utf-8", "replace")


def wait_s(settings: DoctorSettings, others_s: float) -> float:
    """How long our count may be on its way, where the other signals may be for `others_s`: one export and one scrape.

    The environment is taken to be the service's, as it is in compose.
    """
    if settings.prometheus_url is None:
        return others_s
    return max(others_s, min(export_interval_s() + SCRAPE_S, MOST_WAIT_S))


def risen(
    settings: DoctorSettings,
    before: Counts | Exception,
    origin: Origin | None,
    timeout_s: float,
    patience: Deadline,
) -> Finding:
    """Whether the count of predictions rises above what it was `before` ours (or why that is not known).

    Where it is known who answered, and Prometheus tells the processes apart, only what that one counts is looked at.
    """
    where, whose = (
        ("the service's /metrics", "service") if settings.prometheus_url is None else ("Prometheus", "prometheus")
    )
    if isinstance(before, NoMetrics):
        return Finding("metric", "skipped", str(before))
    if isinstance(before, Exception):
        return Finding("metric", "failed", f"{where} {before}", f"see to {whose} first")
    counted, now = before, before

    def look() -> Counts | None:
        nonlocal now
        now = predictions_counted(settings, timeout_s)
        return _only(origin, counted, now) or None

    try:
        rises = patience.wait_for(look)
    except (EndpointError, NoMetrics) as error:
        return Finding("metric", "failed", f"{where} {error}", f"see to {whose} first")
    is_told = _tells(origin, counted, now)
    of = f" of {origin.job}, instance {origin.instance}," if origin and is_told else ""
    if rises is None:
        found = f"the count of predictions{of} in {where} has not risen in {patience.wait_s:g} s"
        return Finding("metric", "failed", found, _LOG_OF_SERVICE if settings.prometheus_url is None else _CHAIN)
    found = f"the count of predictions{of} in {where} rose by {sum(rises.values()):,.0f} in {patience.waited_s:.1f} s"
    return Finding("metric", "ok", found if of else f"{found}; others' requests count there too")


def _tells(origin: Origin | None, *counts: Counts) -> bool:
    """Whether the series name their processes as OTLP does; where Prometheus scrapes services itself they do not."""
    return origin is not None and any(("job", origin.job) in series for each in counts for series in each)


def _only(origin: Origin | None, before: Counts, now: Counts) -> Counts:
    rises = increases(before, now)
    if origin is None or not _tells(origin, before, now):
        return rises
    ours = {("job", origin.job), ("instance", origin.instance)}
    return {series: rise for series, rise in rises.items() if ours <= series}


def targets(settings: DoctorSettings, timeout_s: float) -> Finding:
    """Whether Prometheus reaches all that it scrapes."""
    if settings.prometheus_url is None:
        return Finding("scrapes", "skipped", "not looked for: LEEWAY_PROMETHEUS_URL is not set")
    try:
        series = query(settings.prometheus_url, "up", timeout_s)
    except EndpointError as error:
        return Finding("scrapes", "failed", f"Prometheus {error}", "see to prometheus first")
    down = sorted(f"{labels.get('job')} at {labels.get('instance')}" for labels, value in series if value != 1)
    if not series or down:
        found = f"Prometheus does not reach {', '.join(down)}" if down else "Prometheus scrapes nothing"
        next_step = f"start what is down; {settings.prometheus_url}/targets says why it fails"
        return Finding("scrapes", "failed", found, next_step)
    return Finding("scrapes", "ok", f"Prometheus reaches all {len(series)} that it scrapes")
