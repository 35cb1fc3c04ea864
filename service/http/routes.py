"""From HTTP to the use cases and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from fastapi import APIRouter, Header, params
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response
from pydantic import ValidationError

from leeway.model.bundle import Bundle
from leeway.store.predictions import PredictionLabel
from service.core.feedback import Feedback
from service.core.predictor import Prediction, PredictionRequest, Predictor
from service.core.readiness import Readiness
from service.http.problems import Problems, of_domain, responses
from service.http.schemas import (
    FeedbackRequest,
    FeedbackResponse,
    LivenessResponse,
    PredictBatch,
    PredictItem,
    ReadinessResponse,
    feedback_model,
    prediction_models,
    response_writer,
)
from service.telemetry.probe import BATCH, SINGLE, PredictionProbe

EXAMPLE_ID = "01a20733-8e39-71aa-9fec-4c4f5f21ed60"
_to_json = msgspec.json.Encoder().encode
SyntheticHeader: TypeAlias = Annotated[
    bool,
    Header(
        description="Marks a synthetic request: served, measured and stored, but excluded from drift windows and"
        " rejection counts. In a batch it marks every item."
    ),
]
"""The parameter is named after the header, `leeway.store.record.SYNTHETIC_HEADER`."""


def as_json(document: object, status: int = 200) -> Response:
    """A JSON response. The service's own output is not validated again."""
    return Response(_to_json(document), status, media_type="application/json")


def prediction_routes(predictor: Predictor, bundle: Bundle, problems: Problems, probe: PredictionProbe) -> APIRouter:
    """`POST /predict` and `POST /predict/batch`, for the features of the bundle's schema."""
    router = APIRouter(tags=["predictions"])
    models = prediction_models(bundle.schema)
    response = response_writer(bundle.schema, {"name": bundle.name, "version": bundle.version})

    async def predict(body: PredictItem, *, leeway_synthetic: SyntheticHeader = False) -> Response:
        """Predict for one customer (`user_id`) or for given `features`."""
        request = body.request(is_synthetic=leeway_synthetic)
        if request.user_id is None:  # scoring takes microseconds; a lookup may wait for a database
            return as_json(response(predictor.predict(request)))
        return as_json(response(await run_in_threadpool(predictor.predict, request)))

    def predict_batch(body: PredictBatch, *, leeway_synthetic: SyntheticHeader = False) -> Response:
        """Predict for up to 1,000 items, in order. An item that cannot be answered has an `error` instead."""
        probe.batch_received(len(body.items))
        items = [validated(item, is_synthetic=leeway_synthetic) for item in body.items]
        found = iter(results([item for item in items if isinstance(item, PredictionRequest)]))
        return as_json({"results": [next(found) if isinstance(item, PredictionRequest) else item for item in items]})

    def validated(item: object, *, is_synthetic: bool) -> PredictionRequest | dict[str, Any]:
        try:
            return models.item.model_validate(item).request(is_synthetic=is_synthetic)
        except ValidationError as error:
            return {"error": problems.rejected_item(error.errors(), is_synthetic=is_synthetic)}

    def results(requests: Sequence[PredictionRequest]) -> list[object]:
        return [
            response(each) if isinstance(each, Prediction) else {"error": problems.document(of_domain(each))}
            for each in predictor.predict_batch(requests)
        ]

    # Types that are built from the schema cannot be written in the signatures.
    example = {"features": bundle.card.example}
    predict.__annotations__["body"] = Annotated[models.item, _body(example)]
    predict_batch.__annotations__["body"] = Annotated[models.batch, _body({"items": [example]})]
    router.add_api_route(
        SINGLE,
        predict,
        methods=["POST"],
        response_model=models.response,
        responses=responses(400, 404, 408, 413, 415, 422, 500, 503),
    )
    router.add_api_route(
        BATCH,
        predict_batch,
        methods=["POST"],
        response_model=models.batch_response,
        responses=responses(400, 408, 413, 415, 422, 500, 503),
    )
    return router


def _body(example: Mapping[str, Any]) -> params.Body:
    """The request's body, with an example that works when tried in /docs."""
    return params.Body(openapi_examples={"typical": {"value": dict(example)}})


def feedback_routes(feedback: Feedback, bundle: Bundle) -> APIRouter:
    """`POST /feedback`, for labels of the bundle's target."""
    router = APIRouter(tags=["predictions"])

    def send_feedback(body: FeedbackRequest) -> FeedbackResponse:
        """Store the actual outcome of predictions. The last label of a prediction counts."""
        feedback.accept([PredictionLabel(str(each.prediction_id), each.label) for each in body.items])
        return FeedbackResponse(accepted=len(body.items))

    example = {"items": [{"prediction_id": EXAMPLE_ID, "label": bundle.card.typical_label}]}
    send_feedback.__annotations__["body"] = Annotated[feedback_model(bundle.schema.target), _body(example)]
    router.add_api_route(
        "/feedback",
        send_feedback,
        methods=["POST"],
        status_code=202,
        responses=responses(400, 408, 413, 415, 422, 503),
    )
    return router


def operation_routes(
    card: Mapping[str, Any],
    readiness: Callable[[], Readiness],
    metrics_text: Callable[[], tuple[bytes, str]] | None,
) -> APIRouter:
    """`GET /model`, `/health/live`, `/health/ready`, and `/metrics` where it is served."""
    router = APIRouter(tags=["operation"])

    @router.get("/model")
    def get_model() -> dict[str, Any]:
        """The model's card: version, features with kinds and units, metrics on held-out rows."""
        return dict(card)

    @router.get("/health/live")
    async def get_liveness() -> LivenessResponse:
        """Whether the process is running."""
        return LivenessResponse()

    @router.get(
        "/health/ready",
        response_model=ReadinessResponse,
        responses={503: {"model": ReadinessResponse, "description": "Predictions cannot be recorded"}},
    )
    def get_readiness() -> Response:
        """Whether predictions are answered and recorded; `degraded` while the database or the drainer is failing."""
        state = readiness()
        checks = {
            "bundle": state.bundle,
            "spool": state.spool,
            "database": state.database,
            "drainer": state.drainer,
        }
        return as_json({"status": state.status, "checks": checks}, 200 if state.ready else 503)

    if metrics_text is not None:

        @router.get("/metrics", response_class=PlainTextResponse)
        def get_metrics() -> Response:
            """Metrics in Prometheus' text format."""
            body, content_type = metrics_text()
            return Response(body, media_type=content_type)

    return router
