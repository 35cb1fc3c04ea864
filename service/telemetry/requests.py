"""Traces, spans and measurements of the requests that are answered below ASGI.

They equal those of the instrumentation for FastAPI, which sees all other requests; a test compares both. What an answer
needs, the trace's id and whether it is sampled, is decided by the configured propagators, id generator and sampler when
a request arrives. The spans are made later, by the thread of the `SpanBuffer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Final

from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.asgi import asgi_getter, collect_request_attributes
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import AttributeValue

from leeway.telemetry import names
from leeway.telemetry.providers import Providers
from leeway.telemetry.span_buffer import SpanBuffer
from leeway.telemetry.span_records import NO_ATTRIBUTES, SharedAttributes, SpanRecord, SpanShape
from service.telemetry.http_instrumentation import SCRUBBED, HttpMeter, handles_headers
from service.telemetry.otel import OTelPredictionProbe, typicality
from service.telemetry.probe import AnsweredRequest, Headers, PredictionProbe, RequestProbe, TraceRef

METHOD, ROUTE, STATUS = "POST", "/predict", 200
NAME: Final = f"{METHOD} {ROUTE}"
SPANS_PER_REQUEST: Final = 2
"""The server span and the score's; a lookup has another."""
_FOUND: Final = True
_ROOT: Final = Context()


class Client(Struct, frozen=True):
    """The attributes of requests of one connection: as the sampler sees them, and as spans have them."""

    seen: dict[str, AttributeValue]
    shared: SharedAttributes


class RequestTrace(TraceRef, frozen=True, gc=False):
    """The context of a server span."""

    trace_number: int
    span_number: int
    parent: SpanContext | None
    client: Client
    more: Mapping[str, AttributeValue] | None
    trace_state: TraceState | None


def request_probe(
    providers: Providers, http: HttpMeter | None, predictions: PredictionProbe, model_version: str
) -> RequestProbe | None:
    """A probe for these providers; None where requests have to reach the instrumentation."""
    if not providers.enabled:
        return RequestProbe()
    provider, buffer = providers.tracer_provider, providers.span_buffer
    if http is None or buffer is None or not isinstance(provider, TracerProvider) or handles_headers():
        return None
    assert isinstance(predictions, OTelPredictionProbe)  # noqa: S101 (that of enabled providers)
    return OTelRequestProbe(provider, buffer, http, predictions, model_version)


class OTelRequestProbe(RequestProbe):
    """Reports requests as the instrumentation does."""

    def __init__(
        self,
        provider: TracerProvider,
        buffer: SpanBuffer,
        http: HttpMeter,
        predictions: OTelPredictionProbe,
        model_version: str,
    ) -> None:
        self._sampler, self._ids = provider.sampler, provider.id_generator
        self._buffer = buffer
        self._predictions = predictions
        self._duration = http.duration
        self._durations = http.duration.series(
            {names.HTTP_METHOD: METHOD, names.HTTP_ROUTE: ROUTE, names.HTTP_STATUS: STATUS}
        )
        self._active = http.active.cell({names.HTTP_METHOD: METHOD})
        self._model = SharedAttributes({names.MODEL_VERSION: model_version})
        ours = InstrumentationScope("leeway", "")
        self._server = SpanShape(
            NAME,
            SpanKind.SERVER,
            http.scope,
            own_keys=(names.PREDICTION_ID, names.PREDICTION_SCORE),
            common_keys=(names.OUTCOME, names.TYPICALITY, names.UNUSUAL_COUNT),
        )
        score_keys = (names.UNUSUAL_COUNT, names.UNUSUAL_NAMES)
        self._score = SpanShape(names.SPAN_SCORE, SpanKind.INTERNAL, ours, common_keys=score_keys)
        lookup_keys = (names.SNAPSHOT_FOUND,)
        self._lookup = SpanShape(names.SPAN_SNAPSHOT_LOOKUP, SpanKind.INTERNAL, ours, common_keys=lookup_keys)

    def client(self, scope: Mapping[str, object]) -> Client:
        """See `RequestProbe`."""
        collected: dict[str, AttributeValue] = collect_request_attributes(scope, _StabilityMode.HTTP)  # type: ignore[no-untyped-call]
        seen = {**collected, names.HTTP_ROUTE: ROUTE}
        answered = {names.HTTP_STATUS: STATUS, names.PREDICTION_RECORDED: True, **self._model}
        return Client(seen, SharedAttributes({**seen, **SCRUBBED, **answered}))

    def arrived(self, client: object, headers: Headers) -> RequestTrace:
        """See `RequestProbe`."""
        assert isinstance(client, Client)  # noqa: S101 (it comes from `client`)
        context, parent = _ROOT, None
        if headers:
            context = get_global_textmap().extract({"headers": headers}, Context(), asgi_getter) or _ROOT
            parent = get_current_span(context).get_span_context()
            parent = parent if parent.is_valid else None
        trace_number = self._ids.generate_trace_id() if parent is None else parent.trace_id
        result = self._sampler.should_sample(context, trace_number, NAME, SpanKind.SERVER, client.seen, ())
        span_number = self._ids.generate_span_id()
        more = None
        if result.attributes != client.seen:
            more = {name: value for name, value in result.attributes.items() if name not in client.seen}
        self._active.amount += 1
        return RequestTrace(
            f"{trace_number:032x}",
            f"{span_number:016x}",
            result.decision is Decision.RECORD_AND_SAMPLE,
            trace_number,
            span_number,
            parent,
            client,
            more,
            result.trace_state,
        )

    def abandoned(self) -> None:
        """See `RequestProbe`."""
        self._active.amount -= 1

    def answered(self, requests: Sequence[AnsweredRequest]) -> None:
        """See `RequestProbe`."""
        self._active.amount -= len(requests)
        spans = [_sampled(request) for request in requests]
        at_ns = time_ns()
        self._duration.record_each(
            [
                (self._durations, (request.answered_ns - request.arrived_ns) / 1e9, span)
                for request, span in zip(requests, spans, strict=True)
            ],
            at_ns,
        )
        self._predictions.answered_together(requests, spans, at_ns)
        sampled = [request for request, span in zip(requests, spans, strict=True) if span]
        if sampled:
            lookups = sum(request.lookup is not None for request in sampled)
            self._buffer.add(self._spans_of, sampled, spans=SPANS_PER_REQUEST * len(sampled) + lookups)

    def _spans_of(self, request: AnsweredRequest) -> list[SpanRecord]:
        """The server span and those below it."""
        trace, record, call = request.trace, request.record, request.call
        assert isinstance(trace, RequestTrace)  # noqa: S101 (it comes from `arrived`)
        unusual = call.unusual[request.row]

        def step(shape: SpanShape, began_at_ns: int, duration_ns: int, *values: AttributeValue | None) -> SpanRecord:
            """A span below the server span."""
            return SpanRecord(
                shape,
                trace.trace_number,
                self._ids.generate_span_id(),
                trace.span_number,
                began_at_ns,
                began_at_ns + duration_ns,
                values,
                self._model if shape is self._score else NO_ATTRIBUTES,
                None,
                trace.trace_state,
            )

        server = SpanRecord(
            self._server,
            trace.trace_number,
            trace.span_number,
            trace.parent,
            request.arrived_at_ns,
            request.arrived_at_ns + request.answered_ns - request.arrived_ns,
            (record.prediction_id, record.score, record.prediction, typicality(len(unusual)), len(unusual)),
            trace.client.shared,
            trace.more,
            trace.trace_state,
        )
        score = step(self._score, call.began_at_ns, call.duration_ns, len(unusual), unusual or None)
        if request.lookup is None:
            return [score, server]
        return [step(self._lookup, request.lookup.began_at_ns, request.lookup.duration_ns, _FOUND), score, server]


def _sampled(request: AnsweredRequest) -> tuple[int, int] | None:
    trace = request.trace
    return (trace.trace_number, trace.span_number) if isinstance(trace, RequestTrace) and trace.sampled else None
