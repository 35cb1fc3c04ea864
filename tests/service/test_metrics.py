from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client.parser import text_string_to_metric_families

from leeway.bundle import Bundle, OnnxScorer
from leeway.population import Population
from leeway.telemetry import names
from service.__main__ import assemble
from service.probe import REJECTION_REASONS
from tests.service.observed import (
    STRANGE,
    STRANGER,
    UNUSUAL,
    Observed,
    captured_log,
    entries,
    observed_service,
)
from tests.telemetry import span_id, telemetry_in_memory, trace_id

OF_THE_SERVICE = [
    names.HTTP_REQUEST_DURATION,
    names.HTTP_ACTIVE_REQUESTS,
    names.PREDICTION_DURATION,
    names.PREDICTION_SCORES,
    names.UNUSUAL_FEATURES,
    names.INFERENCE_DURATION,
    names.LOOKUP_DURATION,
    names.REQUEST_REJECTED,
    names.LOG_SPOOLED,
    names.LOG_WRITTEN,
    names.LOG_UNRECORDED,
    names.LOG_BACKLOG,
    names.SPOOL_SIZE,
    names.SPOOL_LIMIT,
    names.SCORE_REFERENCE,
]
"""Every metric that this process emits."""
SERVICE_METRICS = pytest.mark.parametrize("metric", OF_THE_SERVICE, ids=lambda metric: metric.name)
HISTOGRAMS = pytest.mark.parametrize(
    "metric", [metric for metric in OF_THE_SERVICE if metric.kind == "histogram"], ids=lambda metric: metric.name
)
KINDS: dict[str, tuple[type, ...]] = {"histogram": (Histogram,), "counter": (Sum,), "gauge": (Gauge, Sum)}
"""What holds each kind in OTLP; a gauge may be a sum that goes up and down."""


@pytest.fixture
def service(bundle: Bundle, people: Population, tmp_path: Path) -> Iterator[Observed]:
    """A service with twenty customers, that nobody has asked yet."""
    with observed_service(bundle, tmp_path, people) as observed:
        yield observed


@pytest.fixture(scope="module")
def busy(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """A service that has met all that gives it something to measure."""
    with observed_service(bundle, tmp_path_factory.mktemp("busy"), people) as observed:
        observed.predict_customer()
        observed.predict_customer(STRANGER)
        observed.predict(STRANGE)
        observed.predict({"monthly_fee": -1})
        yield observed


def broken(*_: object) -> Any:  # noqa: ANN401 (it never returns)
    """Stands for a model that fails."""
    raise RuntimeError("the model broke")


# --- names, kinds and units -----------------------------------------------------------------------------------------


@SERVICE_METRICS
def test_a_metric_is_exported_as_its_record_says(busy: Observed, metric: names.Metric) -> None:
    """In OTLP a metric has the name, unit, kind and description that `names` states."""
    found = busy.telemetry.collect().metrics[metric.name]
    assert isinstance(found.data, KINDS[metric.kind])
    assert found.unit == metric.unit
    assert metric.name.startswith("http.") or found.description == metric.description


@SERVICE_METRICS
def test_a_metric_has_no_attributes_but_those_of_its_record(busy: Observed, metric: names.Metric) -> None:
    """In OTLP a metric's series carry only attributes that `names` states."""
    points = busy.telemetry.collect().points(metric)
    assert points
    assert {key for point in points for key in point.attributes} <= {*metric.attributes, names.ERROR_TYPE}


def test_nothing_is_exported_that_has_no_record(busy: Observed) -> None:
    """The service emits exactly the metrics that are listed here, all of them from `names`."""
    assert set(busy.telemetry.collect().metrics) == {metric.name for metric in OF_THE_SERVICE}


@SERVICE_METRICS
def test_a_metric_has_its_prometheus_name(busy: Observed, metric: names.Metric) -> None:
    """In `/metrics` a metric has its `prometheus_name`, with the suffixes of its kind and nothing more."""
    suffixes = {"_bucket", "_sum", "_count"} if metric.kind == "histogram" else {""}
    assert {f"{metric.prometheus_name}{suffix}" for suffix in suffixes} <= samples(busy).keys()


@SERVICE_METRICS
def test_a_metric_has_its_kind_in_prometheus(busy: Observed, metric: names.Metric) -> None:
    """The TYPE line of `/metrics` states the kind."""
    assert f"# TYPE {metric.prometheus_name} {metric.kind}" in busy.client.get("/metrics").text.splitlines()


def test_nothing_stands_in_prometheus_that_has_no_record(busy: Observed) -> None:
    """`/metrics` holds no series but those of the listed metrics, and `target_info`."""
    known = {"target_info"}
    for metric in OF_THE_SERVICE:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        known |= {f"{metric.prometheus_name}{suffix}" for suffix in suffixes}
    assert samples(busy).keys() <= known


def samples(service: Observed) -> dict[str, list[dict[str, str]]]:
    """The labels of each sample in `/metrics`, by its name."""
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(service.client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@HISTOGRAMS
def test_our_buckets_stand_in_prometheus(busy: Observed, metric: names.Metric) -> None:
    """`/metrics` holds one bucket for each bound of ours, and one for the rest."""
    bounds = {float(labels["le"]) for labels in samples(busy)[f"{metric.prometheus_name}_bucket"]}
    assert bounds == {*metric.buckets, float("inf")}


# --- latency --------------------------------------------------------------------------------------------------------


def test_latency_is_measured_by_route_and_status(service: Observed) -> None:
    """A request counts once, in seconds, under its method, route and status."""
    service.predict()
    (point,) = service.telemetry.collect().points(names.HTTP_REQUEST_DURATION)
    attributes = {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: "/predict", names.HTTP_STATUS: 200}
    assert (dict(point.attributes), point.count) == (attributes, 1)
    assert 0 < point.sum < 5


def test_latency_leads_to_its_trace(service: Observed) -> None:
    """The latency's exemplar is the request's span."""
    service.predict()
    server = service.telemetry.server_span()
    (exemplar,) = service.telemetry.collect().exemplars(names.HTTP_REQUEST_DURATION)
    assert (exemplar.trace_id, exemplar.span_id) == (int(trace_id(server), 16), int(span_id(server), 16))


def test_no_request_stays_in_flight(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that end well and badly both leave the number in flight at 0."""
    service.predict()
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    assert service.telemetry.collect().total(names.HTTP_ACTIVE_REQUESTS) == 0


def test_an_unexpected_error_counts_as_latency(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that ended in an exception is measured, with status 500 and the error's type."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    measured = service.telemetry.collect()
    assert measured.total(names.HTTP_REQUEST_DURATION, {names.HTTP_STATUS: 500, names.ERROR_TYPE: "500"}) == 1


def test_an_unexpected_error_counts_as_a_prediction(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prediction that broke is measured under its error's type."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    service.predict()
    assert service.telemetry.collect().total(names.PREDICTION_DURATION, {names.ERROR_TYPE: "RuntimeError"}) == 1


def test_a_refused_request_counts_as_latency(service: Observed) -> None:
    """A 422 is measured with its status."""
    service.predict({"monthly_fee": -1})
    assert service.telemetry.collect().total(names.HTTP_REQUEST_DURATION, {names.HTTP_STATUS: 422}) == 1


def test_an_unknown_customer_counts_as_a_prediction(service: Observed) -> None:
    """A prediction that could not be made is measured under the reason."""
    service.predict_customer(STRANGER)
    assert service.telemetry.collect().total(names.PREDICTION_DURATION, {names.ERROR_TYPE: "UnknownCustomer"}) == 1


@pytest.mark.parametrize(("changes", "expected"), [({}, "usual"), (UNUSUAL, "unusual"), (STRANGE, "strange")])
def test_typicality_divides_latency(service: Observed, changes: dict[str, Any], expected: str) -> None:
    """The time of a prediction is told apart by how unusual its input was."""
    service.predict(changes)
    (point,) = service.telemetry.collect().points(names.PREDICTION_DURATION)
    assert point.attributes[names.TYPICALITY] == expected


def test_a_lookup_is_measured(service: Observed) -> None:
    """Looking a customer up is measured; given features need none."""
    service.predict_customer()
    service.predict()
    assert service.telemetry.collect().total(names.LOOKUP_DURATION) == 1


# --- drift on every request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "expected"), [({}, 0), (UNUSUAL, 1), (STRANGE, 3)])
def test_unusual_features_are_counted(service: Observed, changes: dict[str, Any], expected: int) -> None:
    """The histogram holds how many features of the request lie outside what the reference held."""
    service.predict(changes)
    (point,) = service.telemetry.collect().points(names.UNUSUAL_FEATURES)
    assert (point.count, point.sum) == (1, expected)


def test_unusual_features_lead_to_their_trace(service: Observed) -> None:
    """The exemplar is the very request that was unusual."""
    answer = service.predict(STRANGE).json()
    (exemplar,) = service.telemetry.collect().exemplars(names.UNUSUAL_FEATURES)
    server = service.telemetry.server_span()
    ids = (format_trace_id(exemplar.trace_id or 0), format_span_id(exemplar.span_id or 0), exemplar.value)
    assert ids == (answer["trace_id"], span_id(server), 3)


def test_an_unsampled_request_leaves_no_exemplar(service: Observed) -> None:
    """A link to a trace that was not kept would lead nowhere."""
    service.predict(STRANGE, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    assert service.telemetry.collect().exemplars(names.UNUSUAL_FEATURES) == []


def test_every_row_of_a_batch_counts(service: Observed) -> None:
    """Scores and unusual features are measured for each item of a batch."""
    items = [{"features": service.example}, {"features": service.example | STRANGE}]
    service.client.post("/predict/batch", json={"items": items})
    measured = service.telemetry.collect()
    assert (measured.total(names.PREDICTION_SCORES), measured.total(names.UNUSUAL_FEATURES)) == (2, 2)


def test_scores_are_measured_by_outcome(service: Observed) -> None:
    """A score lands under the model's version and the prediction that it became."""
    answer = service.predict().json()
    (point,) = service.telemetry.collect().points(names.PREDICTION_SCORES)
    attributes = {names.MODEL_VERSION: answer["model"]["version"], names.OUTCOME: answer["prediction"]}
    assert (dict(point.attributes), point.sum) == (attributes, answer["probability"])


def test_the_references_scores_are_told_by_bucket(service: Observed) -> None:
    """The reference's cumulative shares carry the bounds of the score histogram, and end at 1."""
    points = service.telemetry.collect().points(names.SCORE_REFERENCE)
    shares = {float(point.attributes["le"]): point.value for point in points}
    assert tuple(sorted(shares)) == names.SCORE_BUCKETS
    assert shares[1.0] == 1


# --- refusals -------------------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "missing": ({"monthly_fee": None}, "monthly_fee", "missing"),
    "of a wrong type": ({"monthly_fee": "much"}, "monthly_fee", "wrong_type"),
    "out of range": ({"monthly_fee": -1}, "monthly_fee", "out_of_range"),
    "unknown": ({"favourite_colour": "red"}, names.OTHER, "unknown"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refused_feature_is_counted_by_name_and_reason(service: Observed, case: str) -> None:
    """A refusal is counted under the feature at fault and the reason; what is no feature counts as `_other`."""
    changes, feature, reason = REFUSALS[case]
    service.predict(changes)
    measured = service.telemetry.collect()
    assert measured.total(names.REQUEST_REJECTED, {names.FEATURE_NAME: feature, names.ERROR_TYPE: reason}) == 1
    assert measured.total(names.REQUEST_REJECTED) == 1


def test_broken_json_is_counted(service: Observed) -> None:
    """A body that is no JSON counts as malformed, of no feature."""
    service.client.post("/predict", content="{", headers={"content-type": "application/json"})
    attributes = {names.FEATURE_NAME: names.OTHER, names.ERROR_TYPE: "malformed"}
    assert service.telemetry.collect().total(names.REQUEST_REJECTED, attributes) == 1


def test_every_counter_begins_at_zero(service: Observed) -> None:
    """Before the first request each counter holds 0 for every known attribute value.

    Or `increase()` would never see the first event.
    """
    measured = service.telemetry.collect()
    pairs = {
        (point.attributes[names.FEATURE_NAME], point.attributes[names.ERROR_TYPE])
        for point in measured.points(names.REQUEST_REJECTED)
    }
    by_feature = itertools.product(service.example, REJECTION_REASONS[:3])
    assert pairs == {*by_feature, *((names.OTHER, reason) for reason in REJECTION_REASONS)}
    for counter in (names.REQUEST_REJECTED, names.LOG_SPOOLED, names.LOG_WRITTEN, names.LOG_UNRECORDED):
        assert {point.value for point in measured.points(counter)} == {0}


# --- the spool ------------------------------------------------------------------------------------------------------


def test_recorded_answers_are_counted(service: Observed) -> None:
    """Each answer that went into the spool counts."""
    service.predict()
    service.predict_customer()
    assert service.telemetry.collect().total(names.LOG_SPOOLED) == 2


def test_the_spool_is_held_against_its_limit(service: Observed) -> None:
    """Bytes in use and the most that may be used are both told."""
    measured = service.telemetry.collect()
    assert measured.total(names.SPOOL_LIMIT) == service.settings.spool_limit
    assert 0 < measured.total(names.SPOOL_SIZE) < service.settings.spool_limit


def test_of_several_workers_one_reports_on_the_spool(service: Observed) -> None:
    """The spool is shared: were all to report it, a sum over the instances would count it many times."""
    with telemetry_in_memory() as telemetry, ExitStack() as stack:
        assemble(service.settings, telemetry.providers, stack, is_first=False)
        metrics = telemetry.collect().metrics
    assert not {names.LOG_BACKLOG.name, names.SPOOL_SIZE.name, names.SPOOL_LIMIT.name} & metrics.keys()


def test_a_spool_that_was_closed_is_a_gap(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The last flush, after the spool was closed, tells no backlog and logs no error."""
    with observed_service(bundle, tmp_path, people) as service:
        settings = service.settings
    with captured_log() as log, telemetry_in_memory() as telemetry:
        with ExitStack() as stack:
            assemble(settings, telemetry.providers, stack)
        measured = telemetry.collect()
    assert measured.points(names.LOG_BACKLOG) == []
    assert entries(log) == []


# --- cardinality ----------------------------------------------------------------------------------------------------


def flood(service: Observed, seed: str) -> None:
    """Send what a hostile client would: names, paths, methods, hosts and values of its own."""
    for number in range(10):
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


def test_no_client_can_make_series(busy: Observed) -> None:
    """However much a client invents, a second flood of inventions adds no series to those of the first."""
    flood(busy, "first")
    before = busy.telemetry.collect().series()
    flood(busy, "second")
    assert busy.telemetry.collect().series() == before


def test_no_client_can_make_series_in_prometheus(busy: Observed) -> None:
    """The same holds of `/metrics`."""
    flood(busy, "third")
    before = samples(busy)
    flood(busy, "fourth")
    assert samples(busy) == before


def test_the_number_of_series_is_small(busy: Observed) -> None:
    """All that one process can be made to report stays a few hundred series."""
    flood(busy, "fifth")
    assert len(busy.telemetry.collect().series()) < 200
