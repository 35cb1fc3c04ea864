"""One server span and the HTTP metrics for each request, with explicit providers and nothing that names a customer."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.trace import Span
from opentelemetry.util.http import sanitize_method

from leeway.telemetry import names
from leeway.telemetry.logs import speak_of
from leeway.telemetry.providers import Providers

UNTRACED = "^[^/]*//[^/]*/(health/live|health/ready|metrics)$"


def instrument(app: FastAPI, providers: Providers) -> None:
    """Give `app` one server span and the HTTP metrics a request, by the stable conventions (seconds, `http.route`)."""
    if not providers.enabled:
        return
    os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"  # read once by the instrumentation, so set before it
    known = {route.path for route in iter_route_contexts(app.routes)}

    def scrub(span: Span, scope: Mapping[str, object]) -> None:
        """A client can put a customer's id into any address; only ours are kept."""
        speak_of(span.get_span_context())
        if scope.get("query_string"):
            span.set_attribute("url.query", names.OTHER)
        if scope.get("path") not in known:
            span.set_attribute("url.path", f"/{names.OTHER}")
        if sanitize_method(str(scope["method"])) != scope["method"]:
            span.set_attribute("http.request.method_original", names.OTHER)

    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=providers.tracer_provider,
        meter_provider=providers.meter_provider,
        excluded_urls=UNTRACED,
        exclude_spans=["receive", "send"],
        server_request_hook=scrub,
    )
