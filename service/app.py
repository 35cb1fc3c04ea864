"""Builds the FastAPI application from finished objects. The composition root applies the instrumentation."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import msgspec
from fastapi import FastAPI

from leeway.model.bundle import Bundle
from service.core.faults import FaultSwitch
from service.core.feedback import Feedback
from service.core.predictor import Predictor
from service.core.readiness import Readiness
from service.core.rejections import RejectionTally
from service.http.bodies import Bodies
from service.http.docs import docs_routes
from service.http.fault_routes import fault_routes
from service.http.keys import Gate, Keys, with_keys
from service.http.methods import ImpliedMethods, methods_of
from service.http.problems import Problems
from service.http.routes import feedback_routes, operation_routes, prediction_routes
from service.http.schemas import with_exact_limits
from service.telemetry.probe import PredictionProbe

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
    root_path: str = "",
    gate: Gate | None = None,
) -> FastAPI:
    """Build the API from finished objects. Without `faults` it has no `/faults`, without `gate` it needs no keys.

    `root_path` is the path under which a proxy serves it, whether the proxy removes it or not. `faults_hosts` are names
    under which `/faults` answers, besides addresses and names that nobody can register.

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
        docs_url=None,  # FastAPI's own pages load their scripts from the internet
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the scheme and the host that this process sees
        root_path=root_path,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
        },  # the composition root instruments the app, with our own providers
    )
    problems = Problems(probe, tally)
    app.include_router(prediction_routes(predictor, bundle, problems, probe))
    app.include_router(feedback_routes(feedback, bundle))
    app.include_router(docs_routes(app.title))
    app.include_router(operation_routes(public_card(bundle), readiness, metrics_text))
    if faults is not None:
        app.include_router(fault_routes(faults, more_hosts=faults_hosts))
    problems.install(app)
    rounded = app.openapi

    def openapi() -> dict[str, Any]:
        document = with_exact_limits(rounded(), bundle.schema)
        return document if gate is None else with_keys(document)

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_middleware(Bodies, problems=problems)
    app.add_middleware(ImpliedMethods, methods_of=partial(methods_of, app))
    if gate is not None:
        app.add_middleware(Keys, gate=gate, problems=problems, is_known=lambda scope: bool(methods_of(app, scope)))
    return app


def public_card(bundle: Bundle) -> dict[str, Any]:
    """The response of `GET /model`: the card, and each feature with kind, unit, limits and what training saw."""
    card = {name: value for name, value in msgspec.to_builtins(bundle.card).items() if name != "example"}
    return {**card, **msgspec.to_builtins(bundle.schema)}
