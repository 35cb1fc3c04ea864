"""Every signal of a request and of a drift run arrives where people look for it."""

from __future__ import annotations

import json
import time

import pytest

from leeway.telemetry import names
from tests.stack import backends
from tests.stack.composed import DRIFT_INTERVAL_S, REPORTS, SERVICE, Stack, eventually, get
from tests.stack.load import Load
from tests.stack.ports import USUAL

pytestmark = pytest.mark.stack

ARRIVES_S = 30.0
"""Two exports, two scrapes, and some patience."""


@pytest.fixture(scope="module")
def answered(load: Load) -> str:
    """The trace of a customer's prediction that was answered a moment ago."""
    return next(each.trace_id for each in reversed(load.sent) if each.kind == "customer" and each.trace_id)


@pytest.fixture(scope="module")
def drift_run(load: Load) -> list[dict[str, object]]:
    """The spans of a finished drift run that saw a window with drift in it."""
    assert load.sent

    def newest() -> list[dict[str, object]]:
        for trace_id in backends.newest_traces("leeway-drift", names.SPAN_DRIFT_RUN):
            spans = backends.spans(trace_id)
            if any(names.DRIFT_SHARE.name in backends.attributes(span) for span in spans):
                return spans
        return []

    return eventually(newest, 60 + 3 * DRIFT_INTERVAL_S)


def test_an_answers_trace_is_in_jaeger(answered: str) -> None:
    """The trace that an answer names is there: one server span, the lookup and the score below it."""
    spans = eventually(lambda: backends.spans(answered), ARRIVES_S)
    (server,) = [span for span in spans if span["name"] == "POST /predict"]
    assert {span["name"] for span in spans} == {"POST /predict", names.SPAN_SNAPSHOT_LOOKUP, names.SPAN_SCORE}
    assert {span.get("parentSpanId") for span in spans if span is not server} == {server["spanId"]}


def test_requests_are_in_prometheus(load: Load) -> None:
    """Prometheus counts what was answered: all that was sent until a moment ago, and nothing twice."""
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
def test_an_exemplar_leads_to_a_trace(load: Load, metric: names.Metric) -> None:
    """A click on an exemplar finds its trace."""
    assert load.sent
    ids = eventually(lambda: backends.exemplar_trace_ids(f"{metric.prometheus_name}_bucket"), ARRIVES_S)
    assert eventually(lambda: backends.spans(ids[-1]), ARRIVES_S)


def test_the_drift_share_arrives(load: Load) -> None:
    """After a worker's cycle the share and the verdicts are in Prometheus."""
    assert load.sent
    eventually(lambda: backends.query(names.DRIFT_SHARE.prometheus_name), 60 + 3 * DRIFT_INTERVAL_S)
    questions = {labels["leeway_drift_question"] for labels, _ in backends.query(names.DRIFT_VERDICT.prometheus_name)}
    assert questions >= {"quality", "covariate", "prediction"}


def test_a_drift_run_is_a_trace(drift_run: list[dict[str, object]]) -> None:
    """A run reads as it went: load, compare, judge, publish, below one span."""
    assert {span["name"] for span in drift_run} == {
        names.SPAN_DRIFT_RUN,
        names.SPAN_LOAD_REFERENCE,
        names.SPAN_LOAD_WINDOW,
        names.SPAN_COMPARE,
        names.SPAN_JUDGE,
        names.SPAN_PUBLISH,
    }


def test_a_drift_run_links_to_predictions_that_are_there(drift_run: list[dict[str, object]]) -> None:
    """The links of a run lead to traces of predictions, each with the unusual features that earned it the link."""
    (root,) = [span for span in drift_run if span["name"] == names.SPAN_DRIFT_RUN]
    links = root["links"]
    assert isinstance(links, list)
    assert links
    for link in links:
        (server,) = [span for span in backends.spans(link["traceId"]) if span["spanId"] == link["spanId"]]
        assert server["service"] == "leeway-service"
        assert int(backends.attributes(server)[names.UNUSUAL_COUNT]) > 0


def test_a_drift_runs_report_is_served(drift_run: list[dict[str, object]]) -> None:
    """The address on a run's span answers with that run's page."""
    (root,) = [span for span in drift_run if span["name"] == names.SPAN_DRIFT_RUN]
    url = str(backends.attributes(root)[names.DRIFT_REPORT_URL])
    assert url.startswith(REPORTS)
    assert get(url).is_success


@pytest.mark.parametrize("what", ["calls", "latencies"])
def test_jaegers_monitor_is_fed(load: Load, what: str) -> None:
    """The Monitor tab's query gives numbers above zero."""
    assert load.sent
    assert eventually(lambda: [point for point in backends.monitor(what, "leeway-service") if point > 0], 60)


def test_every_target_is_up(stack: Stack) -> None:
    """Prometheus reaches all it scrapes."""
    assert stack.services
    eventually(lambda: set(backends.targets().values()) == {"up"}, ARRIVES_S)
    assert {"applications", "otel-collector", "prometheus", "jaeger"} <= backends.targets().keys()


def test_every_rule_is_healthy(stack: Stack) -> None:
    """Every rule was evaluated, and none with an error."""
    assert stack.services
    eventually(lambda: all(rule["health"] != "unknown" for rule in backends.rules()), 60)
    assert {rule["name"]: rule.get("lastError") for rule in backends.rules() if rule["health"] != "ok"} == {}


def test_prometheus_sees_prediction_drift_as_the_worker_does(load: Load) -> None:
    """The distance that Prometheus computes by itself is within 0.02 of the worker's."""
    assert load.sent

    def both() -> tuple[float, float] | None:
        worker = backends.query(names.DRIFT_PREDICTION_SCORE.prometheus_name)
        rule = backends.query("leeway:score:wasserstein5m")
        return (worker[0][1], rule[0][1]) if worker and rule else None

    # Both look back five minutes, at moments that differ by a worker's cycle: compared once the window is well filled.
    eventually(lambda: len(load.sent) > 2_500, 150)
    eventually(lambda: (pair := both()) and abs(pair[0] - pair[1]) <= 0.02, 60)


def test_nothing_personal_passes_the_collector(stack: Stack) -> None:
    """Attributes that name a person, or look like it, are deleted or masked, on spans and on their events."""
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


def test_bad_input_is_told_by_feature(load: Load) -> None:
    """What was refused is counted under the feature that was at fault."""
    assert load.sent
    fee = names.REQUEST_REJECTED.prometheus_name + '{leeway_feature_name="monthly_fee"}'
    eventually(lambda: backends.value(fee) > 0, ARRIVES_S)


def test_otlp_stays_inside(stack: Stack) -> None:
    """Nothing but the pages for people is published, and that on this machine alone."""
    rows = [json.loads(line) for line in stack.compose("ps", "--format", "json").splitlines()]
    published = [each for row in rows for each in row["Publishers"] if each["PublishedPort"]]
    assert {each["URL"] for each in published} == {"127.0.0.1"}
    assert {each["TargetPort"] for each in published} <= set(USUAL.values())


def test_the_doctor_finds_all_well(stack: Stack, load: Load) -> None:
    """From inside the network each of its checks goes well, but of who has no image here."""
    assert load.sent
    told = ["--env", "LEEWAY_GRAFANA_URL="] if "grafana" in stack.without else []
    found = json.loads(stack.compose("exec", "--no-TTY", *told, "service", "leeway", "doctor", "--json"))
    states = {each["check"]: each["state"] for each in found["checks"]}
    assert {check for check, state in states.items() if state != "ok"} <= stack.without
    assert found["ok"] is True


def test_an_answer_names_its_trace() -> None:
    """The very first thing a newcomer tries works: the docs' example, and the trace id of its answer."""
    document = get(f"{SERVICE}/openapi.json").json()
    assert document["info"]["title"]
    assert get(f"{SERVICE}/health/ready").json()
