"""Who else should answer: the Collector, Prometheus, Jaeger, Grafana, and the drift worker's page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from cli.doctor.asking import OK, Answer, EndpointError, ask
from cli.doctor.finding import Finding
from leeway.settings import DoctorSettings

_JAEGER_VERSION = re.compile(rb'"gitVersion"\s*:\s*"v?(\d[\w.+-]*)"')
"""In Jaeger's page, which holds it for its own menu."""


@dataclass(frozen=True)
class Place:
    """Somebody who should answer at `url`: what to ask, how to read the version off the answer, how to start them."""

    check: str
    variable: str
    url: str | None
    path: str
    version: Callable[[Answer], str | None]
    start: str
    is_expected: bool = True
    """Whether it is a failure that nobody is there; else it is only said."""


def places(settings: DoctorSettings) -> list[Place]:
    """All of them, where the settings say they are."""
    return [
        Place(
            "drift worker",
            "LEEWAY_REPORTS_URL",
            settings.reports_url,
            "/",
            _own_page,
            "start it with `leeway drift worker` (in compose: docker compose up --detach drift)",
            is_expected="reports_url" in settings.model_fields_set,
        ),
        Place("collector", "LEEWAY_COLLECTOR_URL", settings.collector_url, "/", _no_version, _up("otel-collector")),
        Place(
            "prometheus",
            "LEEWAY_PROMETHEUS_URL",
            settings.prometheus_url,
            "/api/v1/status/buildinfo",
            lambda answer: str(answer.document()["data"]["version"]),
            _up("prometheus"),
        ),
        Place("jaeger", "LEEWAY_JAEGER_URL", settings.jaeger_url, "/", _jaeger_version, _up("jaeger")),
        Place(
            "grafana",
            "LEEWAY_GRAFANA_URL",
            settings.grafana_url,
            "/api/health",
            lambda answer: str(answer.document()["version"]),
            _up("grafana"),
        ),
    ]


def answers(place: Place, timeout_s: float) -> Finding:
    """Whether they answer, and with which version."""
    if place.url is None:
        return Finding(place.check, "skipped", f"not looked for: {place.variable} is not set")
    try:
        answer, version = _heard(place, place.url, timeout_s)
    except EndpointError as error:
        if place.is_expected:
            next_step = f"{place.start}, or set {place.variable} to where it answers"
            return Finding(place.check, "failed", str(error), next_step)
        return Finding(place.check, "skipped", f"{error}; {place.start}, or set {place.variable}")
    found = f"answers at {place.url}"
    return Finding(place.check, "ok", found, version=version, clock_ahead_s=answer.clock_ahead_s)


def _heard(place: Place, url: str, timeout_s: float) -> tuple[Answer, str | None]:
    answer = ask(url, place.path, timeout_s)
    if answer.status != OK:
        raise EndpointError(f"answers at {url} with status {answer.status}")
    try:
        return answer, place.version(answer)
    except (KeyError, TypeError) as error:
        raise EndpointError(f"is something else: what answers at {url} tells no version") from error


def _up(service: str) -> str:
    return f"start it (docker compose up --detach {service}), read its log (docker compose logs {service})"


def _no_version(_answer: Answer) -> None:
    return None


def _own_page(answer: Answer) -> None:
    """The drift reports' page says in a header whose it is."""
    if answer.server != "leeway":
        raise KeyError(answer.server)


def _jaeger_version(answer: Answer) -> str | None:
    match = _JAEGER_VERSION.search(answer.body)
    return match and match[1].decode()
