"""Builds the FastAPI application from finished objects. The composition root applies the instrumentation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leeway.model.bundle import Bundle
from service.core.faults import FaultSwitch
from service.core.feedback import Feedback
from service.core.predictor import Predictor
from service.core.readiness import Readiness
from service.core.rejections import RejectionTally
from service.http.fault_routes import fault_routes
from service.http.problems import Problems, of_status
from service.http.routes import feedback_routes, operation_routes, prediction_routes
from service.http.schemas import with_exact_limits
from service.telemetry.probe import PredictionProbe

MAX_BODY_BYTES = 2**20
_DESCRIPTION = """
Serves predictions and records each one. Every prediction and every error carries a `trace_id`;
errors are problem documents (RFC 9457).
"""


def create_app(
    predictor: Predictor,
    feedback: Feedback,
    bundle: Bundle,
    readiness: Callable[[], Readiness],
    probe: PredictionProbe,
    tally: RejectionTally,
    *,
    metrics_text: Callable[[], tuple[bytes, str]] | None = None,
    faults: FaultSwitch | None = None,
    faults_hosts: Collection[str] = (),
) -> FastAPI:
    """Build the API from finished objects. Without `faults` it has no `/faults`.

    `faults_hosts` are names under which `/faults` answers, besides addresses and names that nobody can register.

    >>> tally = RejectionTally(bundle.schema.names)
    >>> ready = Readiness(spool="ok", database="ok", drainer="ok")
    >>> app = create_app(predictor, feedback, bundle, lambda: ready, PredictionProbe(), tally)
    >>> with TestClient(app) as client:
    ...     client.post("/predict", json={"features": bundle.card.example}).json()["recorded"]
    True
    """
    app = FastAPI(
        title=f"Leeway: {bundle.name}",
        version=bundle.version,
        description=_DESCRIPTION,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
        },  # the composition root instruments the app, with our own providers
    )
    problems = Problems(probe, tally)
    app.include_router(prediction_routes(predictor, bundle, problems, probe))
    app.include_router(feedback_routes(feedback))
    app.include_router(operation_routes(public_card(bundle), readiness, metrics_text))
    if faults is not None:
        app.include_router(fault_routes(faults, more_hosts=faults_hosts))
    problems.install(app)
    rounded = app.openapi
    app.openapi = lambda: with_exact_limits(rounded(), bundle.schema)  # type: ignore[method-assign]
    app.add_middleware(BodyLimit, problems=problems)
    return app


class BodyLimit:
    """Rejects a body over `MAX_BODY_BYTES` before it is read whole, with a problem document.

    FastAPI's own `max_body_size` answers in plain text where the request has a content length.
    """

    def __init__(self, app: ASGIApp, problems: Problems) -> None:
        self._app = app
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _content_length(scope) > MAX_BODY_BYTES:
            await self._problems.response(of_status(413))(scope, receive, send)
            return
        received_bytes = 0

        async def receive_within_limit() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > MAX_BODY_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within_limit, send)


def _content_length(scope: Scope) -> int:
    """The content length of a request in bytes; 0 where it has none (what arrives is counted anyway)."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0  # noqa: PLR2004 (digits of 64 bits)
    return 0


def public_card(bundle: Bundle) -> dict[str, Any]:
    """The response of `GET /model`: the card, and each feature with kind, unit, limits and what training saw."""
    card = {name: value for name, value in msgspec.to_builtins(bundle.card).items() if name != "example"}
    return {**card, **msgspec.to_builtins(bundle.schema)}
