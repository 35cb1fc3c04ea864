"""Tells OpenTelemetry about each request sent: a CLIENT span, so that the service's trace has its root.

Attributes follow the semantic conventions for HTTP clients. No URL and no attribute holds a customer's id.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from cli.http import Target
from leeway.telemetry import names
from leeway.telemetry.environment import disabled, exports
from leeway.telemetry.providers import ProcessIdentity, providers_from_environment

FIRST_ERROR_STATUS = 400


class PendingRequest:
    """A request without an answer yet, and without telemetry."""

    headers: Mapping[str, str] = {}
    """Headers to send with the request: the trace context."""

    def answered(self, status: int) -> None:
        """The answer arrived."""

    def failed(self, error: BaseException) -> None:
        """No answer arrived."""


class TrafficProbe:
    """Learns of each request. This one does nothing: requests carry no `traceparent`."""

    def sends(self, path: str, kind: str, drift: float) -> PendingRequest:  # noqa: ARG002 (for subclasses)
        """A POST to `path` begins; `drift` is the strength of its drift, 0…1."""
        return PendingRequest()


class OTelTrafficProbe(TrafficProbe):
    """Makes a span of each request."""

    def __init__(self, tracer: Tracer, target: Target) -> None:
        self._tracer = tracer
        self._url = target.url
        self._always: dict[str, AttributeValue] = {
            names.HTTP_METHOD: "POST",
            names.SERVER_ADDRESS: target.host,
            names.SERVER_PORT: target.port,
        }

    def sends(self, path: str, kind: str, drift: float) -> PendingRequest:
        """See `TrafficProbe`."""
        attributes = {
            **self._always,
            names.URL_FULL: self._url + path,
            names.URL_TEMPLATE: path,
            names.TRAFFIC_KIND: kind,
            names.TRAFFIC_DRIFT: drift,
        }
        name = names.SPAN_CLIENT.format(method="POST", path=path)
        return _TracedRequest(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))


class _TracedRequest(PendingRequest):
    """One request's span."""

    def __init__(self, span: Span) -> None:
        self._span = span
        headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
        self.headers = headers

    def answered(self, status: int) -> None:
        """See `PendingRequest`."""
        self._span.set_attribute(names.HTTP_STATUS, status)
        if status >= FIRST_ERROR_STATUS:
            self._end_with_error(str(status))
        else:
            self._span.end()

    def failed(self, error: BaseException) -> None:
        """See `PendingRequest`."""
        self._end_with_error(type(error).__name__)

    def _end_with_error(self, error_type: str) -> None:
        self._span.set_attribute(names.ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


@contextmanager
def probe_from_environment(target: Target) -> Iterator[TrafficProbe]:
    """Yield a probe that exports spans if an OTLP endpoint is set, else one that does nothing.

    Raises:
        leeway.telemetry.environment.TelemetryError: an `OTEL_*` variable is invalid.
    """
    if disabled() or not exports("TRACES"):
        yield TrafficProbe()
        return
    identity = ProcessIdentity("leeway-traffic", version("leeway"), f"{socket.gethostname()}-{os.getpid()}")
    with providers_from_environment(identity, metrics_endpoint=False) as providers:
        yield OTelTrafficProbe(providers.tracer, target)
