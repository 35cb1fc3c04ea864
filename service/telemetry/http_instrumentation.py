"""One server span and the HTTP metrics for each request, with explicit providers and without customer data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.propagators import get_global_response_propagator
from opentelemetry.metrics import Histogram, Meter, MeterProvider, NoOpMeter, NoOpMeterProvider, UpDownCounter
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span
from opentelemetry.util.http import sanitize_method
from opentelemetry.util.types import Attributes
from starlette.types import ASGIApp, Receive, Scope, Send

from leeway.telemetry import names
from leeway.telemetry.instruments import histogram, tallied
from leeway.telemetry.logs import log_with_context
from leeway.telemetry.propagation import propagator
from leeway.telemetry.providers import Providers

UNTRACED = "^[^/]*//[^/]*/(health/live|health/ready|metrics)$"
SCRUBBED = {names.CLIENT_ADDRESS: names.OTHER, names.USER_AGENT: names.OTHER}
"""Client attributes that we overwrite on every span: cheaper than checking whether they are set."""


def instrument(app: FastAPI, providers: Providers) -> HttpMeter | None:
    """Add a server span and HTTP metrics to each request, by the stable conventions (seconds, `http.route`).

    Returns the instruments, for requests that do not reach `app`; None without telemetry.
    """
    if not providers.enabled:
        return None
    set_global_textmap(propagator())
    meter_provider = HttpMeterProvider(providers.meter_provider)
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"  # the instrumentation reads it once
    known = {route.path for route in iter_route_contexts(app.routes)}

    def scrub(span: Span, scope: Mapping[str, object]) -> None:
        """Keep only known paths and methods: a client can put a customer's id into any of these fields."""
        log_with_context(span.get_span_context())
        span.set_attributes(SCRUBBED)
        if scope.get("query_string"):
            span.set_attribute("url.query", names.OTHER)
        path = str(scope.get("path"))
        if path not in known and path.removeprefix(str(scope.get("root_path", ""))) not in known:
            span.set_attribute("url.path", f"/{names.OTHER}")
        if sanitize_method(str(scope["method"])) != scope["method"]:
            span.set_attribute("http.request.method_original", names.OTHER)

    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=providers.tracer_provider,
        meter_provider=meter_provider,
        excluded_urls=UNTRACED,
        exclude_spans=["receive", "send"],
        server_request_hook=scrub,
    )
    return meter_provider.meter


def handles_headers() -> bool:
    """Whether the environment or a global propagator makes the instrumentation read or write headers."""
    variable = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER"
    propagator = get_global_response_propagator()  # type: ignore[no-untyped-call]
    return propagator is not None or any(os.environ.get(f"{variable}_{kind}") for kind in ("REQUEST", "RESPONSE"))


class HttpMeterProvider(NoOpMeterProvider):
    """Gives the instrumentation an `HttpMeter`."""

    meter: HttpMeter

    def __init__(self, provider: MeterProvider) -> None:
        self._provider = provider

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Attributes = None
    ) -> Meter:
        """See `MeterProvider`; the instrumentation calls it once."""
        scope = InstrumentationScope(name, version, schema_url)
        self.meter = HttpMeter(self._provider.get_meter(name, version, schema_url, attributes), scope)
        return self.meter


class HttpMeter(NoOpMeter):
    """Creates the two instruments that we report, with our attributes only: a client could invent hosts."""

    def __init__(self, meter: Meter, scope: InstrumentationScope) -> None:
        super().__init__(meter.name, meter.version, meter.schema_url)
        self.scope = scope
        """Also the scope of the instrumentation's spans."""
        self.duration = histogram(meter, names.HTTP_REQUEST_DURATION)
        self.active = tallied(meter, names.HTTP_ACTIVE_REQUESTS)

    def rejected(self, method: str, route: str | None, status: int, duration_s: float) -> None:
        """Record a request that was rejected before the instrumentation saw it."""
        attributes: dict[str, str | int] = {names.HTTP_METHOD: sanitize_method(method), names.HTTP_STATUS: status}
        if route is not None:
            attributes[names.HTTP_ROUTE] = route
        self.duration.record(duration_s, attributes)

    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> Histogram:  # noqa: ANN401 (passed on)
        """See `Meter`; body sizes are not reported."""
        if name == names.HTTP_REQUEST_DURATION.name:
            return self.duration
        return super().create_histogram(name, *args, **kwargs)

    def create_up_down_counter(self, name: str, *args: Any, **kwargs: Any) -> UpDownCounter:  # noqa: ANN401 (as above)
        """See `Meter`."""
        if name == names.HTTP_ACTIVE_REQUESTS.name:
            return self.active
        return super().create_up_down_counter(name, *args, **kwargs)


class Utf8Headers:
    r"""Middleware that replaces bytes of request headers that are not UTF-8 by U+FFFD, as browsers do.

    It wraps the instrumentation, which decodes such bytes with Python's escapes: it raises on `\xff\x` before our code
    sees the request, and the text that it makes of `\xff\ud800` cannot be encoded again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; nearly all headers are ASCII and pass unchanged."""
        for _, value in scope.get("headers", ()):
            if not value.isascii():
                scope["headers"] = [(name, _as_utf8(value)) for name, value in scope["headers"]]
                break
        await self._app(scope, receive, send)


def _as_utf8(value: bytes) -> bytes:
    return value.decode("utf-8", "replace").encode()
