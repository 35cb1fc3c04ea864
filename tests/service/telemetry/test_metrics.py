from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client.parser import text_string_to_metric_families

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.onnx import OnnxScorer
from leeway.telemetry import names
from service.__main__ import assemble
from service.telemetry.probe import REJECTION_REASONS
from tests.service.observed import (
    CUSTOMER,
    STRANGE,
    STRANGER,
    UNUSUAL,
    Observed,
    broken,
    captured_log,
    entries,
    observed_service,
)
from tests.telemetry import span_id, telemetry_in_memory, trace_id

# --- latency ------------------------------------------------------------------------------------------------------


def test_latency_is_measured_by_route_and_status(service: Observed) -> None:
    """A request counts once, in seconds, under its method, route and status."""
    (point,) = service.changes(service.predict).points(names.HTTP_REQUEST_DURATION)
    assert point.attributes == {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "/predict", names.HTTP_STATUS: 200}
    assert point.count == 1
    assert 0 < point.sum < 5


def test_latency_links_to_its_trace(service: Observed) -> None:
    """The exemplar is the request's span."""
    (exemplar,) = service.changes(service.predict).exemplars(names.HTTP_REQUEST_DURATION)
    server = service.telemetry.server_span()
    assert (exemplar.trace_id, exemplar.span_id) == (int(trace_id(server), 16), int(span_id(server), 16))


def test_an_unexpected_error_is_measured(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request has status 500, the prediction the error's type, and no request stays in flight."""
    service.predict()
    monkeypatch.setattr(OnnxScorer, "score", broken)
    changes = service.changes(service.predict)
    assert changes.total(names.HTTP_REQUEST_DURATION, {names.HTTP_STATUS: 500, names.ERROR_TYPE: "500"}) == 1
    assert changes.total(names.PREDICTION_DURATION, {names.ERROR_TYPE: "RuntimeError"}) == 1
    assert changes.after.total(names.HTTP_ACTIVE_REQUESTS) == 0


def test_a_rejected_request_counts_as_latency(service: Observed) -> None:
    """A 422 is measured with its status."""
    changes = service.changes(lambda: service.predict({"monthly_fee": -1}))
    assert changes.total(names.HTTP_REQUEST_DURATION, {names.HTTP_STATUS: 422}) == 1


def test_an_unknown_customer_counts_as_a_prediction(service: Observed) -> None:
    """A failed prediction is measured under its reason."""
    changes = service.changes(lambda: service.predict_customer(STRANGER))
    assert changes.total(names.PREDICTION_DURATION, {names.ERROR_TYPE: "UnknownCustomer"}) == 1


def test_batches_are_not_in_the_duration_of_predictions(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither answered nor failed ones are, so its share of errors is one of single predictions."""
    statuses: list[int] = []

    def send_batches() -> None:
        for _ in range(2):
            answer = service.client.post("/predict/batch", json={"items": [{"user_id": CUSTOMER}]})
            statuses.append(answer.status_code)
            monkeypatch.setattr(OnnxScorer, "score", broken)

    assert service.changes(send_batches).total(names.PREDICTION_DURATION) == 0
    assert statuses == [200, 500]
    assert "without batches" in names.PREDICTION_DURATION.description


@pytest.mark.parametrize(("changes", "expected"), [({}, "usual"), (UNUSUAL, "unusual"), (STRANGE, "strange")])
def test_typicality_divides_latency(service: Observed, changes: dict[str, Any], expected: str) -> None:
    """The duration of a prediction carries how unusual its input was."""
    (point,) = service.changes(lambda: service.predict(changes)).points(names.PREDICTION_DURATION)
    assert point.attributes[names.TYPICALITY] == expected


def test_a_look_up_is_measured(service: Observed) -> None:
    """Looking up a customer is measured; given features need no lookup."""
    assert service.changes(service.predict_customer).total(names.LOOKUP_DURATION) == 1
    assert service.changes(service.predict).total(names.LOOKUP_DURATION) == 0


# --- drift --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "expected"), [({}, 0), (UNUSUAL, 1), (STRANGE, 3)])
def test_unusual_features_are_counted(service: Observed, changes: dict[str, Any], expected: int) -> None:
    """The histogram holds how many features of the request are outside the reference's range."""
    (point,) = service.changes(lambda: service.predict(changes)).points(names.UNUSUAL_FEATURES)
    assert (point.count, point.sum) == (1, expected)


def test_unusual_features_link_to_their_trace(service: Observed) -> None:
    """The exemplar is the request that was unusual."""
    (exemplar,) = service.changes(lambda: service.predict(STRANGE)).exemplars(names.UNUSUAL_FEATURES)
    server = service.telemetry.server_span()
    ids = (format_trace_id(exemplar.trace_id or 0), format_span_id(exemplar.span_id or 0), exemplar.value)
    assert ids == (trace_id(server), span_id(server), 3)


def test_an_unsampled_request_leaves_no_exemplar(service: Observed) -> None:
    """A link to a trace that was not kept would lead nowhere."""
    unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    changes = service.changes(lambda: service.predict(STRANGE, traceparent=unsampled))
    assert changes.exemplars(names.UNUSUAL_FEATURES) == []


def test_every_row_of_a_batch_counts(service: Observed) -> None:
    """Scores and unusual features are measured for each item of a batch."""
    items = [{"features": service.example}, {"features": service.example | STRANGE}]
    changes = service.changes(lambda: service.client.post("/predict/batch", json={"items": items}))
    assert (changes.total(names.PREDICTION_SCORES), changes.total(names.UNUSUAL_FEATURES)) == (2, 2)


def test_scores_and_classes_are_counted(service: Observed) -> None:
    """A score counts under the model's version, and its class beside the other one."""
    answers: list[dict[str, Any]] = []
    changes = service.changes(lambda: answers.append(service.predict().json()))
    (point,), (answer,) = changes.points(names.PREDICTION_SCORES), answers
    version = {names.MODEL_VERSION: answer["model"]["version"]}
    assert point.attributes == version
    assert point.sum == pytest.approx(answer["probability"])
    assert changes.total(names.PREDICTION_OUTCOMES, version | {names.OUTCOME: str(answer["prediction"])}) == 1
    assert changes.total(names.PREDICTION_OUTCOMES) == 1


def test_the_classes_of_the_reference_are_reported(service: Observed) -> None:
    """Each class has its share among the predictions for the reference, and so has a place to compare its count."""
    points = service.telemetry.collect().points(names.OUTCOME_REFERENCE)
    assert {point.attributes[names.OUTCOME] for point in points} == {"0", "1"}
    assert sum(point.value for point in points) == pytest.approx(1)


def test_the_references_scores_are_reported_by_bucket(service: Observed) -> None:
    """The reference's cumulative shares have the bounds of the score histogram, and end at 1."""
    points = service.telemetry.collect().points(names.SCORE_REFERENCE)
    shares = {float(point.attributes["le"]): point.value for point in points}
    assert tuple(sorted(shares)) == names.SCORE_BUCKETS
    assert shares[1.0] == 1


# --- rejections ---------------------------------------------------------------------------------------------------

REJECTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": ({"monthly_fee": None}, "monthly_fee", "missing"),
    "of a wrong type": ({"monthly_fee": "much"}, "monthly_fee", "wrong_type"),
    "out of range": ({"monthly_fee": -1}, "monthly_fee", "out_of_range"),
    "unknown": ({"favourite_colour": "red"}, names.OTHER, "unknown"),
}


@pytest.mark.parametrize("case", REJECTIONS)
def test_a_rejection_is_counted_by_feature_and_reason(service: Observed, case: str) -> None:
    """It counts under the feature at fault and the reason; an unknown feature counts as `_other`."""
    features, feature, reason = REJECTIONS[case]
    changes = service.changes(lambda: service.predict(features))
    assert changes.total(names.REQUEST_REJECTED, {names.FEATURE_NAME: feature, names.ERROR_TYPE: reason}) == 1
    assert changes.total(names.REQUEST_REJECTED) == 1


def test_broken_json_is_counted(service: Observed) -> None:
    """A body that is not JSON counts as malformed, of no feature."""
    json_type = {"content-type": "application/json"}
    changes = service.changes(lambda: service.client.post("/predict", content="{", headers=json_type))
    attributes = {names.FEATURE_NAME: names.OTHER, names.ERROR_TYPE: "malformed"}
    assert changes.total(names.REQUEST_REJECTED, attributes) == 1


def test_every_counter_starts_at_zero(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """Before the first request each counter holds 0 for every known attribute value.

    Otherwise `increase()` would never see the first event.
    """
    with observed_service(bundle, tmp_path, people) as fresh:
        measured = fresh.telemetry.collect()
    pairs = {
        (point.attributes[names.FEATURE_NAME], point.attributes[names.ERROR_TYPE])
        for point in measured.points(names.REQUEST_REJECTED)
    }
    by_feature = itertools.product(fresh.example, REJECTION_REASONS[:3])
    assert pairs == {*by_feature, *((names.OTHER, reason) for reason in REJECTION_REASONS)}
    for counter in (names.REQUEST_REJECTED, names.LOG_SPOOLED, names.LOG_WRITTEN, names.LOG_UNRECORDED):
        assert {point.value for point in measured.points(counter)} == {0}


# --- the spool ----------------------------------------------------------------------------------------------------


def test_recorded_answers_are_counted(service: Observed) -> None:
    """Each answer that was appended to the spool counts."""
    assert service.changes(service.predict).total(names.LOG_SPOOLED) == 1
    assert service.changes(service.predict_customer).total(names.LOG_SPOOLED) == 1


def test_the_size_of_the_spool_is_reported_with_its_limit(service: Observed) -> None:
    """Bytes in use and the limit are two gauges."""
    measured = service.telemetry.collect()
    assert measured.total(names.SPOOL_LIMIT) == service.settings.spool_limit
    assert 0 < measured.total(names.SPOOL_SIZE) < service.settings.spool_limit


def test_of_several_workers_one_reports_on_the_spool(service: Observed) -> None:
    """The spool is shared: a sum over all workers would count it several times."""
    with telemetry_in_memory() as telemetry, ExitStack() as stack:
        assemble(service.settings, telemetry.providers, stack, is_first=False)
        metrics = telemetry.collect().metrics
    assert not {names.LOG_BACKLOG.name, names.SPOOL_SIZE.name, names.SPOOL_LIMIT.name} & metrics.keys()


def test_the_last_flush_reports_the_backlog(service: Observed) -> None:
    """It comes after the spool was closed, and logs no error."""
    with captured_log() as log, telemetry_in_memory() as telemetry:
        with ExitStack() as stack:
            assemble(service.settings, telemetry.providers, stack)
        measured = telemetry.collect()
    assert measured.total(names.LOG_BACKLOG) == 0
    assert entries(log) == []


# --- names, as exported -------------------------------------------------------------------------------------------

OF_THE_SERVICE = [
    names.HTTP_REQUEST_DURATION,
    names.HTTP_ACTIVE_REQUESTS,
    names.PREDICTION_DURATION,
    names.PREDICTION_SCORES,
    names.PREDICTION_OUTCOMES,
    names.UNUSUAL_FEATURES,
    names.INFERENCE_DURATION,
    names.LOOKUP_DURATION,
    names.REQUEST_REJECTED,
    names.LOG_SPOOLED,
    names.LOG_WRITTEN,
    names.LOG_UNRECORDED,
    names.LOG_BACKLOG,
    names.LOG_BACKLOG_AGE,
    names.DRAINER_UP,
    names.SPOOL_SIZE,
    names.SPOOL_LIMIT,
    names.SCORE_REFERENCE,
    names.OUTCOME_REFERENCE,
]
"""Every metric that this process exports."""
SERVICE_METRICS = pytest.mark.parametrize("metric", OF_THE_SERVICE, ids=lambda metric: metric.name)
KINDS: dict[str, tuple[type, ...]] = {"histogram": (Histogram,), "counter": (Sum,), "gauge": (Gauge, Sum)}
"""The OTLP type of each kind; a gauge may be a sum that goes up and down."""
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


@pytest.fixture(scope="module")
def busy(running: Observed) -> Observed:
    """A service after requests that give every metric something to measure."""
    running.predict_customer()
    running.predict_customer(STRANGER)
    running.predict(STRANGE)
    running.predict({"monthly_fee": -1})
    return running


def samples(service: Observed) -> dict[str, list[dict[str, str]]]:
    """The labels of each sample in `/metrics`, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(service.client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@SERVICE_METRICS
def test_a_metric_is_exported_as_names_says(busy: Observed, metric: names.Metric) -> None:
    """In OTLP it has the name, unit, kind, description and attributes in `names`."""
    measured = busy.telemetry.collect()
    found, points = measured.metrics[metric.name], measured.points(metric)
    assert isinstance(found.data, KINDS[metric.kind])
    assert found.unit == metric.unit
    assert metric.name.startswith("http.") or found.description == metric.description
    assert points
    assert {key for point in points for key in point.attributes} <= {*metric.attributes, names.ERROR_TYPE}


@SERVICE_METRICS
def test_a_metric_has_its_prometheus_name_and_kind(busy: Observed, metric: names.Metric) -> None:
    """`/metrics` has its `prometheus_name` with the suffixes of its kind, a TYPE line, and our buckets."""
    found = samples(busy)
    assert {f"{metric.prometheus_name}{suffix}" for suffix in SUFFIXES[metric.kind]} <= found.keys()
    assert f"# TYPE {metric.prometheus_name} {metric.kind}" in busy.client.get("/metrics").text.splitlines()
    bounds = {float(labels["le"]) for labels in found.get(f"{metric.prometheus_name}_bucket", [])}
    assert bounds == ({*metric.buckets, float("inf")} if metric.kind == "histogram" else set())


def test_nothing_else_is_exported(busy: Observed) -> None:
    """OTLP and `/metrics` hold exactly the metrics listed here, and `target_info`."""
    known = {f"{metric.prometheus_name}{suffix}" for metric in OF_THE_SERVICE for suffix in SUFFIXES[metric.kind]}
    assert set(busy.telemetry.collect().metrics) == {metric.name for metric in OF_THE_SERVICE}
    assert samples(busy).keys() <= {*known, "target_info"}


# --- cardinality --------------------------------------------------------------------------------------------------


def flood(service: Observed, seed: str) -> None:
    """Send what a hostile client would: names, paths, methods, hosts and values of its own."""
    for number in range(5):
        invented = f"{seed}{number}"
        service.client.get(f"/{invented}", headers={"host": f"{invented}.example"})
        service.client.request(invented.upper(), "/predict")
        service.client.request("PURGE", f"/{invented}")
        service.client.get(f"/model?{invented}={invented}", headers={"user-agent": invented})
        service.predict({"net_service": invented})
        service.predict({invented: 1})
        service.predict_customer(invented)
        items = [{"user_id": invented}, {"features": {invented: invented}}, {invented: invented}, invented]
        service.client.post("/predict/batch", json={"items": items})
        service.client.post("/feedback", json={"items": [{invented: 1}]})
        service.client.post("/predict", content=invented, headers={"content-type": f"text/{invented}"})


@pytest.mark.parametrize(
    "series", [lambda service: service.telemetry.collect().series(), samples], ids=["OTLP", "/metrics"]
)
def test_no_client_can_create_series(busy: Observed, series: Callable[[Observed], object]) -> None:
    """A second flood of inventions adds no series to those of the first; all of them are fewer than 200."""
    flood(busy, "first")
    before = series(busy)
    flood(busy, "second")
    assert series(busy) == before
    assert len(busy.telemetry.collect().series()) < 200
