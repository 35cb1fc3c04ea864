"""Checks the other parts of the stack: the Collector, Prometheus, Jaeger, Grafana, and the drift worker's page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cli.doctor.check import CheckResult
from cli.http import OK, EndpointError, HttpResponse, ask
from leeway.settings import DoctorSettings

_JAEGER_VERSION = re.compile(rb'"gitVersion"\s*:\s*"v?(\d[\w.+-]*)"')
"""In the HTML of Jaeger's page."""
_WORKER = "start it with `leeway drift worker` (in compose: docker compose up --detach drift)"
_BUILD_INFO = "/api/v1/status/buildinfo"


@dataclass(frozen=True)
class Endpoint:
    """A process that should answer at `url`, the value of `variable`: how to read its version, and how to start it."""

    check: str
    variable: str
    url: str | None
    version: Callable[[HttpResponse], str | None]
    start: str
    path: str = "/"
    api_key: str | None = None
    is_required: bool = True
    """Whether it is a failure if nothing answers; otherwise the check is skipped."""


def endpoints(settings: DoctorSettings) -> list[Endpoint]:
    """All of them, at the addresses of the settings."""
    named = "reports_url" in settings.model_fields_set
    prometheus, grafana = settings.prometheus_url, settings.grafana_url
    return [
        Endpoint(
            *("drift worker", "LEEWAY_REPORTS_URL", settings.reports_url, _own_page, _WORKER),
            api_key=settings.api_key,
            is_required=named,
        ),
        Endpoint("collector", "LEEWAY_COLLECTOR_URL", settings.collector_url, _no_version, _up("otel-collector")),
        Endpoint(
            "prometheus", "LEEWAY_PROMETHEUS_URL", prometheus, _prometheus_version, _up("prometheus"), _BUILD_INFO
        ),
        Endpoint("jaeger", "LEEWAY_JAEGER_URL", settings.jaeger_url, _jaeger_version, _up("jaeger")),
        Endpoint("grafana", "LEEWAY_GRAFANA_URL", grafana, _grafana_version, _up("grafana"), "/api/health"),
    ]


def answers(endpoint: Endpoint, timeout_s: float) -> CheckResult:
    """Whether it answers, and its version."""
    if endpoint.url is None:
        return CheckResult(endpoint.check, "skipped", f"not checked: {endpoint.variable} is not set")
    try:
        answer = ask(endpoint.url, endpoint.path, timeout_s, api_key=endpoint.api_key)
        version = _version(endpoint, answer)
    except EndpointError as error:
        if endpoint.is_required:
            next_step = f"{endpoint.start}, or correct {endpoint.variable}"
            return CheckResult(endpoint.check, "failed", str(error), next_step)
        return CheckResult(endpoint.check, "skipped", f"{error}; {endpoint.start}, or set {endpoint.variable}")
    found = f"answers at {endpoint.url}"
    return CheckResult(endpoint.check, "ok", found, version=version, clock_ahead_s=answer.clock_ahead_s)


def _version(endpoint: Endpoint, answer: HttpResponse) -> str | None:
    if answer.status != OK:
        raise EndpointError(f"answers at {endpoint.url} with status {answer.status}")
    try:
        return endpoint.version(answer)
    except (KeyError, TypeError) as error:
        raise EndpointError(f"is something else: the server at {endpoint.url} gives no version") from error


def _up(service: str) -> str:
    return f"start it (docker compose up --detach {service}), read its log (docker compose logs {service})"


def _no_version(_answer: HttpResponse) -> None:
    return None


def _own_page(answer: HttpResponse) -> None:
    """The drift worker's page names itself in a header."""
    if answer.server != "leeway":
        raise KeyError(answer.server)


def _prometheus_version(answer: HttpResponse) -> str:
    return str(answer.document()["data"]["version"])


def _grafana_version(answer: HttpResponse) -> str:
    return str(answer.document()["version"])


def _jaeger_version(answer: HttpResponse) -> str | None:
    match = _JAEGER_VERSION.search(answer.body)
    return match and match[1].decode()
