"""All signals of a request and of a drift run arrive in the backends."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks.live import backends
from benchmarks.live.load import Load
from benchmarks.live.ports import USUAL
from benchmarks.live.stack import DRIFT_INTERVAL_S, REPORTS, SERVICE, Stack, eventually, get
from leeway.telemetry import names

pytestmark = pytest.mark.stack

ARRIVES_S = 30.0
"""Two exports, two scrapes, and a margin."""


@pytest.fixture(scope="module")
def answered(load: Load) -> str:
    """The trace id of a recent prediction for a customer."""
    return next(each.trace_id for each in reversed(load.sent) if each.kind == "customer" and each.trace_id)


@pytest.fixture(scope="module")
def drift_run(load: Load) -> list[dict[str, object]]:
    """The spans of a finished drift run that compared a window."""
    assert load.sent

    def newest() -> list[dict[str, object]]:
        for trace_id in backends.newest_traces("leeway-drift", names.SPAN_DRIFT_RUN):
            spans = backends.spans(trace_id)
            if any(names.DRIFT_SHARE.name in backends.attributes(span) for span in spans):
                return spans
        return []

    return eventually(newest, 60 + 3 * DRIFT_INTERVAL_S)


def test_the_trace_of_a_response_is_in_jaeger(answered: str) -> None:
    """Jaeger has the trace of a response: one server span with two children, the lookup and the score."""
    spans = eventually(lambda: backends.spans(answered), ARRIVES_S)
    (server,) = [span for span in spans if span["name"] == "POST /predict"]
    assert {span["name"] for span in spans} == {"POST /predict", names.SPAN_SNAPSHOT_LOOKUP, names.SPAN_SCORE}
    assert {span.get("parentSpanId") for span in spans if span is not server} == {server["spanId"]}


def test_requests_are_in_prometheus(load: Load) -> None:
    """Prometheus counts each answered request exactly once."""
    until_s = time.monotonic()
    answered = len(load.between(0, until_s, "features", "customer"))
    count = (
        names.HTTP_REQUEST_DURATION.prometheus_name + '_count{http_route="/predict",http_response_status_code="200"}'
    )
    eventually(lambda: backends.value(count) >= answered, ARRIVES_S)
    assert backends.value(count) <= len(load.between(0, time.monotonic(), "features", "customer")) + 1


@pytest.mark.parametrize(
    "metric", [names.HTTP_REQUEST_DURATION, names.PREDICTION_DURATION, names.UNUSUAL_FEATURES], ids=lambda m: m.name
)
def test_exemplars_lead_to_traces(load: Load, metric: names.Metric) -> None:
    """Jaeger has the traces of exemplars."""
    assert load.sent
    ids = eventually(lambda: backends.exemplar_trace_ids(f"{metric.prometheus_name}_bucket"), ARRIVES_S)
    assert eventually(lambda: backends.spans(ids[-1]), ARRIVES_S)


def test_the_drift_share_arrives(load: Load) -> None:
    """After a drift run, Prometheus has the share and the verdicts."""
    assert load.sent
    eventually(lambda: backends.query(names.DRIFT_SHARE.prometheus_name), 60 + 3 * DRIFT_INTERVAL_S)
    questions = {labels["leeway_drift_question"] for labels, _ in backends.query(names.DRIFT_VERDICT.prometheus_name)}
    assert questions >= {"quality", "covariate", "prediction"}


def test_a_drift_run_is_a_trace(drift_run: list[dict[str, object]]) -> None:
    """A drift run is one span with its stages as children: load, compare, judge, publish."""
    assert {span["name"] for span in drift_run} == {
        names.SPAN_DRIFT_RUN,
        names.SPAN_LOAD_REFERENCE,
        names.SPAN_LOAD_WINDOW,
        names.SPAN_COMPARE,
        names.SPAN_JUDGE,
        names.SPAN_PUBLISH,
    }


def test_a_drift_run_links_to_predictions(drift_run: list[dict[str, object]]) -> None:
    """A drift run links to traces of predictions with unusual features."""
    (root,) = [span for span in drift_run if span["name"] == names.SPAN_DRIFT_RUN]
    links = root["links"]
    assert isinstance(links, list)
    assert links
    for link in links:
        (server,) = [span for span in backends.spans(link["traceId"]) if span["spanId"] == link["spanId"]]
        assert server["service"] == "leeway-service"
        assert int(backends.attributes(server)[names.UNUSUAL_COUNT]) > 0


def test_a_drift_runs_report_is_served(drift_run: list[dict[str, object]]) -> None:
    """The URL on a drift run's span is the page of the run."""
    (root,) = [span for span in drift_run if span["name"] == names.SPAN_DRIFT_RUN]
    url = str(backends.attributes(root)[names.DRIFT_REPORT_URL])
    assert url.startswith(REPORTS)
    assert get(url).is_success


@pytest.mark.parametrize("what", ["calls", "latencies"])
def test_jaegers_monitor_has_data(load: Load, what: str) -> None:
    """The queries of the Monitor tab return values above zero."""
    assert load.sent
    assert eventually(lambda: [point for point in backends.monitor(what, "leeway-service") if point > 0], 60)


def test_every_target_is_up(stack: Stack) -> None:
    """Prometheus reaches all scrape targets."""
    assert stack.services
    eventually(lambda: set(backends.targets().values()) == {"up"}, ARRIVES_S)
    assert {"applications", "otel-collector", "prometheus", "jaeger"} <= backends.targets().keys()


def test_every_rule_is_healthy(stack: Stack) -> None:
    """Prometheus evaluates all rules without errors."""
    assert stack.services
    eventually(lambda: all(rule["health"] != "unknown" for rule in backends.rules()), 60)
    assert {rule["name"]: rule.get("lastError") for rule in backends.rules() if rule["health"] != "ok"} == {}


def test_prediction_drift_matches_the_worker(load: Load) -> None:
    """The distance that Prometheus computes is within 0.02 of the worker's."""
    assert load.sent

    def both() -> tuple[float, float] | None:
        worker = backends.query(names.DRIFT_PREDICTION_SCORE.prometheus_name)
        rule = backends.query("leeway:score:wasserstein5m")
        return (worker[0][1], rule[0][1]) if worker and rule else None

    # Both look back five minutes, but not at the same time: compare them when the window is well filled.
    eventually(lambda: len(load.sent) > 2_500, 150)
    eventually(lambda: (pair := both()) and abs(pair[0] - pair[1]) <= 0.02, 60)


def test_the_collector_redacts_personal_data(stack: Stack) -> None:
    """Personal data in attributes of spans and events is deleted or masked."""
    trace_id = stack.python("drift", _SPAN_WITH_A_PERSON).strip()
    (span,) = eventually(lambda: backends.spans(trace_id), ARRIVES_S)
    kept = backends.attributes(span)
    assert kept["harmless"] == "yes"
    assert "client.address" not in kept
    text = json.dumps(span)
    assert [each for each in ("7590-VHVEG", "ann@example.org", "10.1.2.3") if each in text] == []


_SPAN_WITH_A_PERSON = """
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import format_trace_id
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
attributes = {"harmless": "yes", "user_id": "7590-VHVEG", "note": "ann@example.org", "client.address": "10.1.2.3"}
with provider.get_tracer("test").start_as_current_span("a person", attributes=attributes) as span:
    span.add_event("exception", {"exception.message": "no customer 7590-VHVEG"})
print(format_trace_id(span.get_span_context().trace_id))
provider.shutdown()
"""


def test_rejections_are_counted_by_feature(load: Load) -> None:
    """A rejected request is counted under the feature that is invalid."""
    assert load.sent
    fee = names.REQUEST_REJECTED.prometheus_name + '{leeway_feature_name="monthly_fee"}'
    eventually(lambda: backends.value(fee) > 0, ARRIVES_S)


def test_otlp_stays_inside(stack: Stack) -> None:
    """Only the user-facing ports are published, and only on 127.0.0.1."""
    rows = [json.loads(line) for line in stack.compose("ps", "--format", "json").splitlines()]
    published = [each for row in rows for each in row["Publishers"] if each["PublishedPort"]]
    assert {each["URL"] for each in published} == {"127.0.0.1"}
    assert {each["TargetPort"] for each in published} <= set(USUAL.values())


def test_the_doctor_finds_no_problem(stack: Stack, load: Load) -> None:
    """Inside the network, all checks of `leeway doctor` pass, except for services without an image."""
    assert load.sent
    options = ["--env", "LEEWAY_GRAFANA_URL="] if "grafana" in stack.without else []
    found = json.loads(stack.compose("exec", "--no-TTY", *options, "service", "leeway", "doctor", "--json"))
    states = {each["check"]: each["state"] for each in found["checks"]}
    assert {check for check, state in states.items() if state != "ok"} <= stack.without
    assert found["ok"] is True


def test_the_documented_example_works() -> None:
    """The example of the API's documentation works, and its response has a trace id."""
    document = get(f"{SERVICE}/openapi.json").json()
    assert document["info"]["title"]
    assert get(f"{SERVICE}/health/ready").json()
