"""Reads metrics where they arrive: from Prometheus, or where there is none from the service's own `/metrics`."""

from __future__ import annotations

import re
from urllib.parse import quote

from cli.doctor.asking import NOT_FOUND, OK, Patience, Unanswered, ask
from cli.doctor.finding import Finding
from leeway.settings import DoctorSettings
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
    " logs otel-collector"
)
_LOG_OF_SERVICE = "name the service itself with LEEWAY_URL, not one of several; then read its log"
Series = list[tuple[dict[str, str], float]]


class NoMetrics(Exception):
    """There is no place where metrics could be read; the message says what to set."""


def query(url: str, expression: str, timeout_s: float) -> Series:
    """The series of an instant query, each with its labels and its value.

    Raises:
        Unanswered: Prometheus does not answer, or not as it should.
    """
    document = ask(url, f"/api/v1/query?query={quote(expression)}", timeout_s).document()
    try:
        return [(dict(each["metric"]), float(each["value"][1])) for each in document["data"]["result"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Unanswered(f"answers, but not as it should: {document.get('error', error)}") from error


def predictions_counted(settings: DoctorSettings, timeout_s: float) -> float:
    """How many requests for a prediction have been counted.

    Raises:
        Unanswered: who should know does not answer.
        NoMetrics: nobody can be asked.
    """
    if settings.prometheus_url is not None:
        return sum(value for _, value in query(settings.prometheus_url, f"sum({COUNT})", timeout_s))
    name, _, label = COUNT.rstrip("}").partition("{")
    lines = (line for line in _own_metrics(settings, timeout_s).splitlines() if line.startswith(f"{name}{{"))
    return sum(float(line.rpartition(" ")[2]) for line in lines if label in line)


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
    except (Unanswered, NoMetrics):
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
        raise Unanswered(f"answers /metrics with status {answer.status}")
    return answer.body.decode("utf-8", "replace")


def risen(settings: DoctorSettings, before: float | Exception, timeout_s: float, patience: Patience) -> Finding:
    """Whether the count of predictions rises above what it was `before` ours (or why that is not known)."""
    where, whose = (
        ("the service's /metrics", "service") if settings.prometheus_url is None else ("Prometheus", "prometheus")
    )
    if isinstance(before, NoMetrics):
        return Finding("metric", "skipped", str(before))
    if isinstance(before, Exception):
        return Finding("metric", "failed", f"{where} {before}", f"see to {whose} first")
    counted = before

    def look() -> float | None:
        now = predictions_counted(settings, timeout_s)
        return now if now > counted else None

    try:
        now = patience.wait_for(look)
    except (Unanswered, NoMetrics) as error:
        return Finding("metric", "failed", f"{where} {error}", f"see to {whose} first")
    if now is None:
        found = f"the count of predictions in {where} has not risen in {patience.wait_s:g} s"
        return Finding("metric", "failed", found, _LOG_OF_SERVICE if settings.prometheus_url is None else _CHAIN)
    found = f"the count of predictions in {where} rose from {counted:,.0f} to {now:,.0f} in {patience.waited_s:.1f} s"
    return Finding("metric", "ok", found)


def targets(settings: DoctorSettings, timeout_s: float) -> Finding:
    """Whether Prometheus reaches all that it scrapes."""
    if settings.prometheus_url is None:
        return Finding("scrapes", "skipped", "not looked for: LEEWAY_PROMETHEUS_URL is not set")
    try:
        series = query(settings.prometheus_url, "up", timeout_s)
    except Unanswered as error:
        return Finding("scrapes", "failed", f"Prometheus {error}", "see to prometheus first")
    down = sorted(f"{labels.get('job')} at {labels.get('instance')}" for labels, value in series if value != 1)
    if not series or down:
        found = f"Prometheus does not reach {', '.join(down)}" if down else "Prometheus scrapes nothing"
        next_step = f"start what is down; {settings.prometheus_url}/targets says why it fails"
        return Finding("scrapes", "failed", found, next_step)
    return Finding("scrapes", "ok", f"Prometheus reaches all {len(series)} that it scrapes")
