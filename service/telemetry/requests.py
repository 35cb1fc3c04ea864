"""Traces, spans and measurements of the requests that are answered below ASGI.

They equal those of the instrumentation for FastAPI, which sees all other requests; a test compares both. What an answer
needs, the trace's id and whether it is sampled, is decided by the configured propagators, id generator and sampler when
a request arrives. The spans are made later, by the thread of the `SpanBuffer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from time import time_ns
from typing import Final

from msgspec import Struct
from opentelemetry.context import Context, attach, detach
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.asgi import asgi_getter, collect_request_attributes
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import AttributeValue

from leeway.telemetry import names
from leeway.telemetry.providers import Providers
from leeway.telemetry.span_buffer import SpanBuffer
from leeway.telemetry.span_records import (
    NO_ATTRIBUTES,
    CommonValues,
    OwnValues,
    SharedAttributes,
    SpanRecord,
    SpanShape,
)
from leeway.telemetry.tally import SampledSpan, context_of
from service.telemetry.http_instrumentation import SCRUBBED, HttpMeter, handles_headers
from service.telemetry.otel import OTelPredictionProbe, typicality
from service.telemetry.probe import (
    BATCH,
    SINGLE,
    AnsweredRequest,
    BatchProbe,
    Headers,
    LookupCall,
    ModelCall,
    PredictionProbe,
    RequestProbe,
    TimedRequest,
    TraceRef,
)

METHOD, STATUS = "POST", 200
SPANS_PER_REQUEST: Final = 2
"""The server span and the score's; a lookup has another."""
_ROOT: Final = Context()
KEEPS_ROOTS: Final = (DEFAULT_ON, ALWAYS_ON)
"""Samplers that keep each trace that begins here, whatever its attributes are, and add nothing; one is the default."""


class Client(Struct, frozen=True):
    """The attributes of requests of one connection: as the sampler sees them, and as spans have them."""

    name: str
    seen: dict[str, AttributeValue]
    shared: SharedAttributes


class RequestTrace(TraceRef, frozen=True, gc=False):
    """The context of a server span; `ids` are its trace's id and its own."""

    ids: SampledSpan
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
        self._keeps_roots = self._sampler in KEEPS_ROOTS
        self._buffer = buffer
        self._predictions = predictions
        self._duration = http.duration
        self._durations = {
            route: http.duration.series({names.HTTP_METHOD: METHOD, names.HTTP_ROUTE: route, names.HTTP_STATUS: STATUS})
            for route in (SINGLE, BATCH)
        }
        self._active = http.active.cell({names.HTTP_METHOD: METHOD})
        self._model = SharedAttributes({names.MODEL_VERSION: model_version})
        ours = InstrumentationScope("leeway", "")
        answer_keys = (names.OUTCOME, names.TYPICALITY, names.UNUSUAL_COUNT, names.PREDICTION_RECORDED)
        self._server = SpanShape(
            _name(SINGLE),
            SpanKind.SERVER,
            http.scope,
            own_keys=(names.PREDICTION_ID, names.PREDICTION_SCORE),
            common_keys=answer_keys,
        )
        self._batch = SpanShape(_name(BATCH), SpanKind.SERVER, http.scope, common_keys=(names.BATCH_SIZE,))
        score_keys = (names.UNUSUAL_COUNT, names.UNUSUAL_NAMES, names.SCORE_ROWS)
        self._score = SpanShape(names.SPAN_SCORE, SpanKind.INTERNAL, ours, common_keys=score_keys)
        lookup_keys = (names.SNAPSHOT_FOUND, names.ERROR_TYPE, names.SNAPSHOT_ASKED)

        def lookup(error: str | None) -> SpanShape:
            return SpanShape(names.SPAN_SNAPSHOT_LOOKUP, SpanKind.INTERNAL, ours, common_keys=lookup_keys, error=error)

        self._lookup, self._failed_lookup = lookup(None), cache(lookup)

    def client(self, scope: Mapping[str, object], key_name: str | None = None) -> Client:
        """See `RequestProbe`."""
        route = BATCH if str(scope["path"]).endswith(BATCH) else SINGLE
        collected: dict[str, AttributeValue] = collect_request_attributes(scope, _StabilityMode.HTTP)  # type: ignore[no-untyped-call]
        seen = {**collected, names.HTTP_ROUTE: route}
        answered = {names.HTTP_STATUS: STATUS, **self._model}
        if key_name is not None:
            answered[names.API_KEY_NAME] = key_name
        return Client(_name(route), seen, SharedAttributes({**seen, **SCRUBBED, **answered}))

    def arrived(self, client: object, headers: Headers) -> RequestTrace:
        """See `RequestProbe`."""
        assert isinstance(client, Client)  # noqa: S101 (it comes from `client`)
        context, parent = _ROOT, None
        if headers:
            context = get_global_textmap().extract({"headers": headers}, Context(), asgi_getter) or _ROOT
            parent = get_current_span(context).get_span_context()
            parent = parent if parent.is_valid else None
        self._active.amount += 1
        number = self._ids.generate_trace_id() if parent is None else parent.trace_id
        is_sampled, more, trace_state = True, None, None
        if parent is not None or not self._keeps_roots:
            result = self._sampler.should_sample(context, number, client.name, SpanKind.SERVER, client.seen, ())
            is_sampled, trace_state = result.decision is Decision.RECORD_AND_SAMPLE, result.trace_state
            if result.attributes != client.seen:
                more = {name: value for name, value in result.attributes.items() if name not in client.seen}
        ids = trace_id, span_id = number.to_bytes(16, "big"), self._new_span_id()
        return RequestTrace(trace_id.hex(), span_id.hex(), is_sampled, ids, parent, client, more, trace_state)

    def _new_span_id(self) -> bytes:
        return self._ids.generate_span_id().to_bytes(8, "big")

    def abandoned(self) -> None:
        """See `RequestProbe`."""
        self._active.amount -= 1

    def answered(self, requests: Sequence[AnsweredRequest]) -> None:
        """See `RequestProbe`."""
        self._active.amount -= len(requests)
        spans = [_sampled(request) for request in requests]
        at_ns = time_ns()
        durations_s = [(request.answered_ns - request.arrived_ns) / 1e9 for request in requests]
        self._duration.record_each(self._durations[SINGLE], durations_s, spans, at_ns)
        self._predictions.answered_together(requests, spans, durations_s, at_ns)
        sampled = [request for request, span in zip(requests, spans, strict=True) if span]
        if sampled:
            lookups = sum(request.lookup is not None for request in sampled)
            self._buffer.add(self._spans_of, sampled, spans=SPANS_PER_REQUEST * len(sampled) + lookups)

    def batch_measured(self, batch: BatchProbe) -> None:
        """See `RequestProbe`; the measurements are those of the ordinary path, with the batch's trace as exemplar."""
        token = attach(_exemplar_context(batch.trace))
        try:
            if batch.lookup is not None:
                self._predictions.looked_up(batch.lookup)
            if batch.call is not None:
                self._predictions.scored(batch.call)
            self._predictions.batch_answered(batch.records)
        finally:
            detach(token)

    def batch_answered(self, request: TimedRequest, batch: BatchProbe, items: int) -> None:
        """See `RequestProbe`."""
        self._active.amount -= 1
        span = _sampled(request)
        duration_s = (request.answered_ns - request.arrived_ns) / 1e9
        self._duration.record_each(self._durations[BATCH], [duration_s], [span], time_ns())
        if span:
            steps = []  # made now, because the records and names of a thousand rows should not wait with the request
            if batch.lookup is not None:
                steps.append(self._lookup_span(request.trace, batch.lookup))
            if batch.call is not None:
                unusual = batch.call.unusual
                steps.append(
                    self._score_span(
                        *(request.trace, batch.call, max(map(len, unusual))),
                        *(unusual[0] if len(unusual) == 1 else (), len(unusual)),
                    )
                )
            self._buffer.add(self._spans_of_batch, [(request, steps, items)], spans=1 + len(steps))

    def _spans_of_batch(self, answered: tuple[TimedRequest, list[SpanRecord], int]) -> list[SpanRecord]:
        """The spans of a batch."""
        request, steps, items = answered
        return [*steps, self._server_span(self._batch, request, (), (items,))]

    def _spans_of(self, request: AnsweredRequest) -> list[SpanRecord]:
        """The spans of a single prediction."""
        trace, record, call = request.trace, request.record, request.call
        unusual = call.unusual[request.row]
        common = self._predictions.outcome(record), typicality(len(unusual)), len(unusual), request.recorded
        spans = [self._lookup_span(trace, request.lookup, is_shared=True)] if request.lookup is not None else []
        spans.append(self._score_span(trace, call, len(unusual), unusual))
        spans.append(self._server_span(self._server, request, (record.prediction_id, record.score), common))
        return spans

    def _server_span(self, shape: SpanShape, request: TimedRequest, own: OwnValues, common: CommonValues) -> SpanRecord:
        trace = request.trace
        assert isinstance(trace, RequestTrace)  # noqa: S101 (it comes from `arrived`)
        return SpanRecord(
            shape,
            *trace.ids,
            trace.parent,
            request.arrived_at_ns,
            request.arrived_at_ns + request.answered_ns - request.arrived_ns,
            own,
            common,
            trace.client.shared,
            trace.more,
            trace.trace_state,
        )

    def _score_span(
        self, trace: TraceRef | None, call: ModelCall, count: int, unusual: Sequence[str], rows: int = 1
    ) -> SpanRecord:
        common = count, unusual or None, rows if rows > 1 else None
        return self._step(self._score, trace, call, common, self._model)

    def _lookup_span(self, trace: TraceRef | None, call: LookupCall, *, is_shared: bool = False) -> SpanRecord:
        """The span of a lookup; of one that several requests share, each has found its own customer."""
        if is_shared:
            return self._step(self._lookup, trace, call, (True, None, None), NO_ATTRIBUTES)
        shape = self._failed_lookup(call.error) if call.error else self._lookup
        asked = call.asked if call.asked > 1 else None
        return self._step(shape, trace, call, (call.found == call.asked, call.error, asked), NO_ATTRIBUTES)

    def _step(
        self,
        shape: SpanShape,
        trace: TraceRef | None,
        call: ModelCall | LookupCall,
        common: CommonValues,
        shared: SharedAttributes,
    ) -> SpanRecord:
        """A span below the server span."""
        assert isinstance(trace, RequestTrace)  # noqa: S101 (it comes from `arrived`)
        trace_id, parent_id = trace.ids
        return SpanRecord(
            shape,
            trace_id,
            self._new_span_id(),
            parent_id,
            call.began_at_ns,
            call.began_at_ns + call.duration_ns,
            (),
            common,
            shared,
            None,
            trace.trace_state,
        )


def _name(route: str) -> str:
    return f"{METHOD} {route}"


def _exemplar_context(trace: TraceRef | None) -> Context:
    """A context in which nothing is recorded but measurements, with this trace as their exemplar."""
    if not isinstance(trace, RequestTrace):
        return Context()
    return context_of(trace.ids, is_sampled=trace.sampled)


def _sampled(request: TimedRequest) -> SampledSpan | None:
    trace = request.trace
    return trace.ids if isinstance(trace, RequestTrace) and trace.sampled else None
