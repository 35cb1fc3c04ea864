"""Requests that are answered below ASGI leave the same telemetry as those that the instrumentation sees."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagators.b3 import B3SingleFormat
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode, TraceState, get_current_span

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.store.snapshots import SnapshotsUnavailable
from leeway.telemetry import names
from leeway.telemetry.propagation import NoPropagation
from leeway.telemetry.providers import Providers
from leeway.telemetry.span_buffer import SpanBuffer
from service.http.fast_path import FastPath
from service.telemetry.http_instrumentation import HttpMeter
from service.telemetry.otel import OTelPredictionProbe
from service.telemetry.requests import KEEPS_ROOTS, OTelRequestProbe, request_probe
from tests.fixtures import RealBundle
from tests.leeway.model.bundles import golden_card
from tests.service.observed import CUSTOMER, STRANGER, UNUSUAL, Observed, noting, observed_service, served
from tests.telemetry import Changes, attributes_of, span_id, trace_id

FAST, ORDINARY = "application/json", "application/json; charset=utf-8"
"""The content types of the two paths."""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
OF_ONE_REQUEST = {names.PREDICTION_ID}
METRICS = (
    names.HTTP_REQUEST_DURATION,
    names.HTTP_ACTIVE_REQUESTS,
    names.PREDICTION_DURATION,
    names.PREDICTION_SCORES,
    names.PREDICTION_OUTCOMES,
    names.UNUSUAL_FEATURES,
    names.INFERENCE_DURATION,
    names.LOOKUP_DURATION,
    names.LOG_SPOOLED,
)


@dataclass
class Both:
    """A served service, and a client that keeps one connection."""

    observed: Observed
    client: httpx2.Client
    prefix: str = ""

    def ask(self, body: object, content_type: str, headers: Mapping[str, str]) -> httpx2.Response:
        """Ask for a prediction on the path of this content type; check that it was taken."""
        fast_path = self.observed.service.fast_path
        assert fast_path is not None
        path = "/predict/batch" if isinstance(body, dict) and "items" in body else "/predict"
        with noting(fast_path) as taken:
            found = self.client.post(
                self.prefix + path, content=json.dumps(body).encode(), headers={**headers, "content-type": content_type}
            )
            self.client.get("/health/live")  # once it is answered, nothing of the other request is left to do
        provider = self.observed.telemetry.providers.tracer_provider
        assert isinstance(provider, TracerProvider)
        provider.force_flush()
        assert len(taken) == (content_type == FAST)
        return found

    def spans(self, body: object, content_type: str, headers: Mapping[str, str]) -> list[ReadableSpan]:
        """The spans of one request."""
        self.observed.telemetry.forget_spans()
        self.ask(body, content_type, headers).raise_for_status()
        return self.observed.telemetry.spans()


@pytest.fixture(scope="module")
def both(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """One service for all tests of this module."""
    with (
        observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed,
        served(observed.service) as url,
        httpx2.Client(base_url=url) as client,
    ):
        started = Both(observed, client)
        started.ask({"features": observed.example}, FAST, {})  # starts the threads that later requests use
        started.ask({"user_id": CUSTOMER}, FAST, {})
        started.ask({"user_id": CUSTOMER}, ORDINARY, {})
        yield started


def shape(span: ReadableSpan, server: ReadableSpan) -> dict[str, Any]:
    """What must be equal of two spans: everything but ids and times."""
    attributes = {key: value for key, value in attributes_of(span).items() if key not in OF_ONE_REQUEST}
    scope, context = span.instrumentation_scope, span.get_span_context()
    assert scope is not None
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind,
        "parent": None
        if span.parent is None
        else (span.parent.is_remote, span.parent.span_id == int(span_id(server), 16)),
        "trace flags": context.trace_flags.sampled,
        "trace state": context.trace_state.to_header(),
        "links": list(span.links),
        "events": list(span.events),
        "status": (span.status.status_code, span.status.description),
        "attributes": attributes,
        "scope": (scope.name, scope.version, scope.schema_url, dict(scope.attributes or {})),
        "resource": dict(span.resource.attributes),
    }


BODIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "features": lambda example: {"features": example},
    "unusual features": lambda example: {"features": example | UNUSUAL},
    "a customer": lambda _: {"user_id": CUSTOMER},
    "a batch": lambda example: {
        "items": [{"features": example}, {"user_id": CUSTOMER}, {"user_id": STRANGER}, {"features": example | UNUSUAL}]
    },
    "a batch of one": lambda example: {"items": [{"features": example | UNUSUAL}]},
    "a batch of customers": lambda _: {"items": [{"user_id": CUSTOMER}] * 2},
    "a batch of strangers": lambda _: {"items": [{"user_id": STRANGER}]},
}
HEADERS: dict[str, dict[str, str]] = {
    "none": {},
    "a sampled parent": {"traceparent": SAMPLED},
    "a parent with a state": {"traceparent": SAMPLED, "tracestate": "vendor=1,other=2"},
    "an invalid parent": {"traceparent": f"00-{'0' * 32}-{PARENT}-01"},
    "baggage": {"traceparent": SAMPLED, "baggage": "tenant=blue"},
    "a bot": {"user-agent": "Googlebot/2.1"},
    "another host": {"host": "example.org:81"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("body_of", BODIES.values(), ids=BODIES)
def test_spans_equal_those_of_the_instrumentation(
    both: Both, body_of: Callable[[dict[str, Any]], Any], headers: dict[str, str]
) -> None:
    """Names, kinds, parents, links, attributes, status, scope and resource are the same on both paths."""
    body, found = body_of(both.observed.example), []
    for path in (FAST, ORDINARY):
        spans = both.spans(body, path, headers)
        (server,) = both.observed.telemetry.server_spans()
        found.append([shape(span, server) for span in spans])
    assert found[0] == found[1]


@pytest.mark.parametrize("prefix", ["", "/leeway"], ids=["removed", "kept"])
def test_the_path_does_not_depend_on_the_root_path(both: Both, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Behind a proxy, whether it removes its prefix or not, both paths take the same requests and tell the same."""
    service = both.observed.service
    assert service.fast_path is not None
    monkeypatch.setattr(service.app, "root_path", "/leeway")
    behind = FastPath(
        service.predictor.bundle, service.predictor, service.fast_path.probe, is_open=lambda: True, root_path="/leeway"
    )
    monkeypatch.setattr(service.fast_path, "singles", behind.singles)
    found = []
    for path in (FAST, ORDINARY):
        spans = replace(both, prefix=prefix).spans({"features": both.observed.example}, path, {})
        found.append([shape(span, both.observed.telemetry.server_span()) for span in spans])
    assert found[0] == found[1]
    assert found[0][-1]["attributes"]["url.path"] == f"{prefix}/predict"


@pytest.mark.parametrize("error", [SnapshotsUnavailable("away"), None], ids=["unreachable", "empty"])
def test_a_failed_lookup_of_a_batch_is_the_same_span(
    both: Both, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    """Its status is ERROR on both paths, and the items with features are answered."""
    predictor = both.observed.service.predictor

    def look_up(_: object) -> dict[str, Any]:
        if error is not None:
            raise error
        return {}

    monkeypatch.setattr(predictor.snapshots, "lookup_many", look_up)
    monkeypatch.setattr(predictor.snapshots, "is_empty", lambda: True)
    body = {"items": [{"user_id": CUSTOMER}, {"features": both.observed.example}]}
    found = []
    for path in (FAST, ORDINARY):
        spans = both.spans(body, path, {})
        found.append([shape(span, both.observed.telemetry.server_span()) for span in spans])
    assert found[0] == found[1]
    assert found[0][0]["status"][0] is StatusCode.ERROR


def test_a_parent_that_is_not_sampled_leaves_no_span(both: Both) -> None:
    """The answer names the caller's trace, the record names none, and nothing is exported."""
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    body = {"features": both.observed.example}
    for path in (FAST, ORDINARY):
        assert both.spans(body, path, headers) == []
        assert both.ask(body, path, headers).json()["trace_id"] == TRACE


def test_the_answer_names_its_trace(both: Both) -> None:
    """The trace id of the answer is that of the exported server span, with or without a caller's trace."""
    for headers in ({}, {"traceparent": SAMPLED}):
        both.observed.telemetry.forget_spans()
        answer = both.ask({"features": both.observed.example}, FAST, headers).json()
        assert answer["trace_id"] == trace_id(both.observed.telemetry.server_span())
        assert attributes_of(both.observed.telemetry.server_span())[names.PREDICTION_ID] == answer["prediction_id"]


def trace_of(answer: dict[str, Any]) -> str:
    """The trace that an answer, or the first item of a batch, names."""
    first = answer["results"][0] if "results" in answer else answer
    return str(first.get("error", first)["trace_id"])


def measured(changes: Changes) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """Every series that changed, with the number of measurements."""
    return {
        metric.name: sorted(((point.attributes, point.count) for point in changes.points(metric)), key=str)
        for metric in METRICS
    }


@pytest.mark.parametrize("body_of", BODIES.values(), ids=BODIES)
def test_measurements_equal_those_of_the_instrumentation(both: Both, body_of: Callable[[dict[str, Any]], Any]) -> None:
    """Each instrument has the same series with as many measurements, and an exemplar of the request's own trace."""
    body = body_of(both.observed.example)
    found, exemplars = [], []
    for path in (FAST, ORDINARY):
        answers: list[Any] = []

        def ask(path: str = path, answers: list[Any] = answers) -> None:
            answers.append(trace_of(both.ask(body, path, {}).json()))

        changed = both.observed.changes(ask)
        found.append(measured(changed))
        traces = {
            metric.name: {format(each.trace_id or 0, "032x") == answers[0] for each in changed.exemplars(metric)}
            for metric in METRICS
        }
        exemplars.append(traces)
    assert found[0] == found[1]
    assert exemplars[0] == exemplars[1]


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_each_task_is_the_same_on_both_paths(name: str, real_bundle: RealBundle, tmp_path: Path) -> None:
    """The answers, spans and measurements of several classes and of numbers do not depend on the path."""
    with (
        observed_service(real_bundle(name), tmp_path, None) as observed,
        served(observed.service) as url,
        httpx2.Client(base_url=url) as client,
    ):
        both, of_one = Both(observed, client), {"prediction_id", "trace_id"}
        single = {"features": observed.example}
        found: list[list[object]] = [[], []]
        for here, path in zip(found, (FAST, ORDINARY), strict=True):
            both.ask(single, path, {})  # starts threads
            for body in (single, {"items": [single, single]}):
                spans = both.spans(body, path, {})
                here += [shape(span, observed.telemetry.server_span()) for span in spans]
                answers: list[dict[str, Any]] = []

                def ask(body: object = body, path: str = path, answers: list[dict[str, Any]] = answers) -> None:
                    reply = both.ask(body, path, {}).json()
                    answers.extend(reply.get("results", [reply]))

                here.append(measured(observed.changes(ask)))
                here += [{key: value for key, value in each.items() if key not in of_one} for each in answers]
    assert found[0] == found[1]


# --- decisions before the answer ------------------------------------------------------------------------------------


class OwnSampler(Sampler):
    """Samples what has a parent; adds an attribute and a trace state."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def should_sample(self, parent_context: Context | None, *args: Any) -> SamplingResult:  # noqa: ANN401 (the SDK calls it so)
        """See `Sampler`."""
        _, name, kind, attributes, *_ = args
        self.seen.append({"name": name, "kind": kind, **attributes})
        is_child = get_current_span(parent_context).get_span_context().is_valid
        decision = Decision.RECORD_AND_SAMPLE if is_child else Decision.DROP
        return SamplingResult(decision, {"sampler.rule": "ours"}, TraceState([("sampler", "1")]))

    def get_description(self) -> str:
        """See `Sampler`."""
        return "ours"


class OwnIds(IdGenerator):
    """Ids that can be foretold."""

    def generate_trace_id(self) -> int:
        """See `IdGenerator`."""
        return 0xABC

    def generate_span_id(self) -> int:
        """See `IdGenerator`."""
        return 0xDEF


SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "scheme": "http",
    "http_version": "1.1",
    "server": ("127.0.0.1", 8000),
    "client": ("127.0.0.1", 5000),
    "headers": [(b"host", b"localhost")],
}


def own_probe(sampler: Sampler) -> OTelRequestProbe:
    """A probe over a provider with this sampler and ids of our own."""
    provider = TracerProvider(sampler=sampler, id_generator=OwnIds(), shutdown_on_exit=False)
    providers = Providers(provider, NoOpMeterProvider(), span_buffer=SpanBuffer(provider))
    predictions = OTelPredictionProbe(providers.tracer, providers.meter, golden_card(), ["age"])
    http = HttpMeter(providers.meter, InstrumentationScope("http"))
    probe = request_probe(providers, http, predictions, "v1")
    assert isinstance(probe, OTelRequestProbe)
    return probe


def test_the_configured_sampler_and_ids_decide() -> None:
    """They are asked before the answer, with what the instrumentation would tell them; what they add is kept."""
    sampler = OwnSampler()
    probe = own_probe(sampler)
    client = probe.client(SCOPE)
    root = probe.arrived(client, [])
    child = probe.arrived(client, [(b"traceparent", SAMPLED.encode())])
    assert (root.trace_id, root.span_id, root.sampled) == (f"{0xABC:032x}", f"{0xDEF:016x}", False)
    assert (child.trace_id, child.sampled, child.more) == (TRACE, True, {"sampler.rule": "ours"})
    assert child.trace_state is not None
    assert child.trace_state.to_header() == "sampler=1"
    expected = {"name": "POST /predict", "http.request.method": "POST", "http.route": "/predict", "client.port": 5000}
    assert [seen | expected for seen in sampler.seen] == sampler.seen


@pytest.mark.parametrize("sampler", KEEPS_ROOTS, ids=Sampler.get_description)
def test_a_sampler_that_is_not_asked_would_keep_the_trace(sampler: Sampler) -> None:
    """For a trace that begins here the answer of these samplers is always the same, and adds nothing."""
    seen = {"http.route": "/predict"}
    result = sampler.should_sample(Context(), 0xABC, "POST /predict", SpanKind.SERVER, seen, ())
    assert (result.decision, dict(result.attributes)) == (Decision.RECORD_AND_SAMPLE, seen)
    assert result.trace_state is None
    found = (probe := own_probe(sampler)).arrived(probe.client(SCOPE), [])
    assert (found.sampled, found.more, found.trace_state) == (True, None, None)


def test_without_propagators_every_trace_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_PROPAGATORS=none` makes each request the root of a trace."""
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", NoPropagation())
    probe = own_probe(ALWAYS_ON)
    found = probe.arrived(probe.client(SCOPE), [(b"traceparent", SAMPLED.encode())])
    assert (found.trace_id, found.parent, found.sampled) == (f"{0xABC:032x}", None, True)


def test_other_propagators_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `OTEL_PROPAGATORS=b3` a request continues the trace of the header `b3`."""
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", B3SingleFormat())
    probe = own_probe(ALWAYS_ON)
    found = probe.arrived(probe.client(SCOPE), [(b"b3", f"{TRACE}-{PARENT}-1".encode())])
    assert (found.trace_id, found.parent and found.parent.span_id) == (TRACE, int(PARENT, 16))


def test_what_the_buffer_cannot_do_needs_the_instrumentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a buffer, or where headers are captured, requests go to the application."""
    provider = TracerProvider(shutdown_on_exit=False)
    providers = Providers(provider, NoOpMeterProvider(), span_buffer=SpanBuffer(provider))
    predictions = OTelPredictionProbe(providers.tracer, providers.meter, golden_card(), ["age"])
    http = HttpMeter(providers.meter, InstrumentationScope("http"))
    assert request_probe(providers, http, predictions, "v1") is not None
    assert request_probe(replace(providers, span_buffer=None), http, predictions, "v1") is None
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "accept")
    assert request_probe(providers, http, predictions, "v1") is None
