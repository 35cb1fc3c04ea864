"""Finished objects in, a FastAPI application out. Instrumentation is applied by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leeway.model.bundle import Bundle
from service.core.faults import FaultSwitch
from service.http import problems
from service.http.fault_routes import fault_routes
from service.http.routes import (
    FeedbackUseCase,
    PredictUseCase,
    Readiness,
    feedback_routes,
    operation_routes,
    prediction_routes,
)
from service.telemetry.probe import PredictionProbe

MAX_BODY_BYTES = 2**20
_DESCRIPTION = """
Predicts, and records what it predicted. Every answer carries the id of its trace; every error is a problem document
(RFC 9457) that carries it too.
"""


def create_app(
    predictor: PredictUseCase,
    feedback: FeedbackUseCase,
    bundle: Bundle,
    readiness: Callable[[], Readiness],
    probe: PredictionProbe,
    *,
    metrics_text: Callable[[], tuple[bytes, str]] | None = None,
    faults: FaultSwitch | None = None,
    faults_hosts: Collection[str] = (),
) -> FastAPI:
    """Build the API round finished objects; tests hand in fakes. Without `faults` none can be switched on.

    By `faults_hosts` they may be, besides by names that nobody owns.
    """
    app = FastAPI(
        title=f"Leeway: {bundle.name}",
        version=bundle.version,
        description=_DESCRIPTION,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
        },  # instrumented once, by hand, with our own providers
    )
    model = {"name": bundle.name, "version": bundle.version}
    app.include_router(prediction_routes(predictor, bundle.schema, model, probe, bundle.card.example))
    app.include_router(feedback_routes(feedback))
    app.include_router(operation_routes(public_card(bundle), readiness, metrics_text))
    if faults is not None:
        app.include_router(fault_routes(faults, more_hosts=faults_hosts))
    problems.install(app, probe)
    app.add_middleware(BodyLimit, probe=probe)
    return app


class BodyLimit:
    """Refuses a body over `MAX_BODY_BYTES` before it is read whole, with a problem document.

    FastAPI's own `max_body_size` answers in plain text where the request states its length.
    """

    def __init__(self, app: ASGIApp, probe: PredictionProbe) -> None:
        self._app = app
        self._probe = probe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _stated_length(scope) > MAX_BODY_BYTES:
            await problems.respond(problems.of_status(413), self._probe)(scope, receive, send)
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


def _stated_length(scope: Scope) -> int:
    """The content length that a request states, in bytes; 0 where it states none (what comes is counted anyway)."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0  # noqa: PLR2004 (digits of 64 bits)
    return 0


def public_card(bundle: Bundle) -> dict[str, Any]:
    """What `GET /model` answers: the card, and each feature with kind, unit, limits and what was seen."""
    card = {name: value for name, value in bundle.card.to_json().items() if name != "example"}
    return {**card, **bundle.schema.to_json()}
