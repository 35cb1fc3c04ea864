"""Tells OpenTelemetry about each request sent: a CLIENT span, so that the service's trace has its root.

Attributes follow the semantic conventions for HTTP clients. No URL and no attribute holds a customer's id.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry.propagate import inject
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from cli.http import ServiceAddress
from leeway.telemetry import names
from leeway.telemetry.environment import disabled, exports
from leeway.telemetry.providers import ProcessIdentity, providers_from_environment

FIRST_ERROR_STATUS = 400


class TrafficProbe:
    """Makes a span of each request; without a tracer, requests carry no trace context."""

    def __init__(self, target: ServiceAddress, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or NoOpTracer()
        self._target = target

    def sends(self, path: str, kind: str, drift: float) -> PendingRequest:
        """A POST to `path` begins; `drift` is the strength of its drift, 0…1."""
        attributes: dict[str, AttributeValue] = {
            names.HTTP_METHOD: "POST",
            names.SERVER_ADDRESS: self._target.host,
            names.SERVER_PORT: self._target.port,
            names.URL_FULL: self._target.url + path,
            names.URL_TEMPLATE: path,
            names.TRAFFIC_KIND: kind,
            names.TRAFFIC_DRIFT: drift,
        }
        name = names.SPAN_CLIENT.format(method="POST", path=path)
        return PendingRequest(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))


class PendingRequest:
    """A request without an answer yet. `headers` are to be sent with it: the trace context."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}
        inject(self.headers, set_span_in_context(span))

    def answered(self, status: int) -> None:
        """The answer arrived."""
        self._span.set_attribute(names.HTTP_STATUS, status)
        self._end(str(status) if status >= FIRST_ERROR_STATUS else None)

    def failed(self, error: BaseException) -> None:
        """No answer arrived."""
        self._end(type(error).__name__)

    def _end(self, error_type: str | None) -> None:
        if error_type is not None:
            self._span.set_attribute(names.ERROR_TYPE, error_type)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


@contextmanager
def probe_from_environment(target: ServiceAddress) -> Iterator[TrafficProbe]:
    """Yield a probe that exports spans if an OTLP endpoint is set, else one without a tracer.

    Raises:
        leeway.telemetry.environment.TelemetryError: an `OTEL_*` variable is invalid.
    """
    if disabled() or not exports("TRACES"):
        yield TrafficProbe(target)
        return
    identity = ProcessIdentity("leeway-traffic", version("leeway"), f"{socket.gethostname()}-{os.getpid()}")
    with providers_from_environment(identity, metrics_endpoint=False) as providers:
        yield TrafficProbe(target, providers.tracer)
