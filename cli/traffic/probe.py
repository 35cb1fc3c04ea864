"""Tells OpenTelemetry of each request sent: a CLIENT span, so that the trace of an answer has its root.

Attributes follow the semantic conventions for HTTP clients. No address and no attribute holds a customer's id.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Protocol

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from cli.http import Target
from leeway.telemetry import names
from leeway.telemetry.environment import disabled, exports
from leeway.telemetry.providers import ProcessIdentity, providers_from_environment

FIRST_ERROR_STATUS = 400


class Sent(Protocol):
    """One request under way."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the request carries, so that the service's spans hang below ours."""
        ...

    def answered(self, status: int) -> None:
        """There is an answer."""
        ...

    def failed(self, error: BaseException) -> None:
        """There is none."""
        ...


class TrafficProbe(Protocol):
    """Is told of requests."""

    def sends(self, path: str, kind: str, drift: float) -> Sent:
        """A POST to `path` begins; `drift` is the strength of its drift, 0…1."""
        ...


class NullTrafficProbe:
    """Tells nobody: requests carry no `traceparent`."""

    headers: Mapping[str, str] = {}

    def sends(self, path: str, kind: str, drift: float) -> NullTrafficProbe:  # noqa: ARG002 (see `TrafficProbe`)
        """See `TrafficProbe`."""
        return self

    def answered(self, status: int) -> None:
        """See `Sent`."""

    def failed(self, error: BaseException) -> None:
        """See `Sent`."""


class OTelTrafficProbe:
    """Tells OpenTelemetry."""

    def __init__(self, tracer: Tracer, target: Target) -> None:
        self._tracer = tracer
        self._url = target.url
        self._always: dict[str, AttributeValue] = {
            names.HTTP_METHOD: "POST",
            names.SERVER_ADDRESS: target.host,
            names.SERVER_PORT: target.port,
        }

    def sends(self, path: str, kind: str, drift: float) -> OTelSent:
        """See `TrafficProbe`."""
        attributes = {
            **self._always,
            names.URL_FULL: self._url + path,
            names.URL_TEMPLATE: path,
            names.TRAFFIC_KIND: kind,
            names.TRAFFIC_DRIFT: drift,
        }
        name = names.SPAN_CLIENT.format(method="POST", path=path)
        return OTelSent(self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes))


class OTelSent:
    """One request's span."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self.headers: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(self.headers, set_span_in_context(span))

    def answered(self, status: int) -> None:
        """See `Sent`."""
        self._span.set_attribute(names.HTTP_STATUS, status)
        if status >= FIRST_ERROR_STATUS:
            self._end_with_error(str(status))
        else:
            self._span.end()

    def failed(self, error: BaseException) -> None:
        """See `Sent`."""
        self._end_with_error(type(error).__name__)

    def _end_with_error(self, error_type: str) -> None:
        self._span.set_attribute(names.ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


@contextmanager
def probe_from_environment(target: Target) -> Iterator[TrafficProbe]:
    """Yield a probe that sends spans where an OTLP endpoint is set, else one that tells nobody.

    Raises:
        leeway.telemetry.environment.TelemetryError: an `OTEL_*` variable cannot be used.
    """
    if disabled() or not exports("TRACES"):
        yield NullTrafficProbe()
        return
    identity = ProcessIdentity("leeway-traffic", version("leeway"), f"{socket.gethostname()}-{os.getpid()}")
    with providers_from_environment(identity, metrics_endpoint=False) as providers:
        yield OTelTrafficProbe(providers.tracer, target)
