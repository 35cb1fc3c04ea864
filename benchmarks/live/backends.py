"""Queries to Prometheus, Jaeger and Alertmanager."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.live.stack import ALERTMANAGER, JAEGER, PROMETHEUS, StackError, get


def query(expression: str) -> list[tuple[dict[str, str], float]]:
    """The series of an instant query, each with its labels and its value.

    Raises:
        StackError: Prometheus refuses the expression.
    """
    document = get(f"{PROMETHEUS}/api/v1/query", query=expression).json()
    if document["status"] != "success":
        raise StackError(f"{expression}: {document.get('error')}")
    result = document["data"]["result"]
    if document["data"]["resultType"] == "scalar":
        return [({}, float(result[1]))]
    return [(series["metric"], float(series["value"][1])) for series in result]


def is_answered(expression: str, over_s: float, step_s: float = 15) -> bool:
    """Whether a range query finds any series in the last `over_s` seconds.

    Raises:
        StackError: Prometheus refuses the expression.
    """
    now_s = time.time()
    answer = get(f"{PROMETHEUS}/api/v1/query_range", query=expression, start=now_s - over_s, end=now_s, step=step_s)
    document = answer.json()
    if document["status"] != "success":
        raise StackError(f"{expression}: {document.get('error')}")
    return bool(document["data"]["result"])


def value(expression: str) -> float:
    """The value of an instant query with one series; 0 without a series."""
    return sum(number for _, number in query(expression))


def exemplar_trace_ids(expression: str, since_s: float = 120) -> list[str]:
    """The trace ids of these series' exemplars, the newest first."""
    now_s = time.time()
    data = get(f"{PROMETHEUS}/api/v1/query_exemplars", query=expression, start=now_s - since_s, end=now_s).json()[
        "data"
    ]
    found = [exemplar for series in data for exemplar in series["exemplars"]]
    return [each["labels"]["trace_id"] for each in sorted(found, key=lambda each: -float(each["timestamp"]))]


def targets() -> dict[str, str]:
    """The health of each scrape job's target."""
    active = get(f"{PROMETHEUS}/api/v1/targets").json()["data"]["activeTargets"]
    return {target["scrapePool"]: target["health"] for target in active}


def rules() -> list[dict[str, Any]]:
    """Every rule with its health and last error."""
    groups = get(f"{PROMETHEUS}/api/v1/rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def spans(trace_id: str) -> list[dict[str, Any]]:
    """A trace's spans in Jaeger's OTLP format, with `service`; empty if Jaeger does not have the trace."""
    answer = get(f"{JAEGER}/api/v3/traces/{trace_id}")
    if answer.status_code == 404:
        return []
    resources = answer.raise_for_status().json()["result"]["resourceSpans"]
    return [
        span | {"service": attributes(resource["resource"])["service.name"]}
        for resource in resources
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def attributes(holder: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span, an event, a link or a resource, as plain values."""
    return {each["key"]: next(iter(each["value"].values())) for each in holder.get("attributes", [])}


def newest_traces(service: str, operation: str, limit: int = 20) -> list[str]:
    """The ids of the newest traces with this operation."""
    found = get(f"{JAEGER}/api/traces", service=service, operation=operation, limit=limit, lookback="1h").json()
    return [trace["traceID"] for trace in found["data"] or []]


def monitor(what: str, service: str) -> list[float]:
    """The data of Jaeger's Monitor tab: calls, errors or latencies of a service over the last five minutes."""
    parameters = {"service": service, "endTs": int(time.time() * 1_000), "lookback": 300_000, "step": 15_000}
    more = {"quantile": 0.95} if what == "latencies" else {}
    answer = get(f"{JAEGER}/api/metrics/{what}", ratePer=60_000, **parameters, **more).raise_for_status().json()
    points = [point for metric in answer["metrics"] for point in metric["metricPoints"]]
    return [point["gaugeValue"]["doubleValue"] for point in points if point.get("gaugeValue")]


def alerts() -> list[str]:
    """The names of the alerts in Alertmanager."""
    return [each["labels"]["alertname"] for each in get(f"{ALERTMANAGER}/api/v2/alerts").json()]
