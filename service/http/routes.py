"""From HTTP to the use case and back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import msgspec
from fastapi import APIRouter, Header, params
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import ValidationError

from leeway.schema import FeatureSchema
from leeway.store.record import SYNTHETIC_HEADER
from service.core.predictor import Prediction, PredictionError, PredictionRequest
from service.http.answers import Answer, answers_of
from service.http.problems import document, of_domain, of_item, responses
from service.http.quick import quick_route
from service.http.schemas import (
    BatchAnswer,
    FeedbackAnswer,
    FeedbackRequest,
    Label,
    PredictBatch,
    PredictionAnswer,
    PredictItem,
    request_models,
)
from service.http.valid_batch import batch_reader
from service.telemetry.probe import PredictionProbe

FEEDBACK_EXAMPLE = {"items": [{"prediction_id": "01a20733-8e39-71aa-9fec-4c4f5f21ed60", "label": 1}]}
Check = Literal["ok", "failing"]
_to_json = msgspec.json.Encoder().encode
SyntheticHeader: TypeAlias = Annotated[
    bool,
    Header(
        description="True where nobody wants to know and you only try whether all works, as `leeway doctor` does: the"
        " prediction is answered, measured, traced and stored as any other, and no drift window counts it, nor what is"
        " refused of it. Of a batch it marks every item."
    ),
]
"""The header of a prediction that is a check only; the parameter's name gives it its own, `SYNTHETIC_HEADER`."""


class PredictUseCase(Protocol):
    """`service.core.predictor.Predictor`, or a fake."""

    def predict(self, request: PredictionRequest) -> Prediction:
        """Answer one request, or raise a `PredictionError`."""
        ...

    def predict_batch(self, requests: Sequence[PredictionRequest]) -> list[Prediction | PredictionError]:
        """Answer many, in order."""
        ...


class FeedbackUseCase(Protocol):
    """Where labels go."""

    def accept(self, labels: Sequence[Label]) -> None:
        """Keep the labels, or raise `service.http.problems.LabelStoreDown`."""
        ...


@dataclass(frozen=True)
class Readiness:
    """What the process depends on: without bundle or spool it is not ready; without the database it is degraded."""

    bundle: Check
    spool: Check
    database: Check

    @property
    def ready(self) -> bool:
        """Whether predictions can be answered and recorded."""
        return self.bundle == self.spool == "ok"

    def document(self) -> dict[str, Any]:
        """The body of `/health/ready`."""
        whole = "ok" if self.database == "ok" else "degraded"
        checks = {"bundle": self.bundle, "spool": self.spool, "database": self.database}
        return {"status": whole if self.ready else "not ready", "checks": checks}


def as_json(document: Mapping[str, Any] | Answer, status: int = 200) -> Response:
    """A JSON response without a second validation of what we made ourselves."""
    return Response(_to_json(document), status, media_type="application/json")


def prediction_routes(
    predictor: PredictUseCase,
    schema: FeatureSchema,
    model: Mapping[str, str],
    probe: PredictionProbe,
    example: Mapping[str, Any] | None,
) -> APIRouter:
    """`POST /predict` and `POST /predict/batch`, for the features of `schema`."""
    router = APIRouter(tags=["predictions"])
    models, answer = request_models(schema), answers_of(schema, model)
    one = {"features": dict(example or {})}

    async def predict(body: PredictItem, *, leeway_synthetic: SyntheticHeader = False) -> Response:
        """Answer for one customer (`user_id`) or for given `features`."""
        request = body.request(is_synthetic=leeway_synthetic)
        if request.user_id is None:  # scoring takes microseconds; a look-up may wait for a database
            return as_json(answer(predictor.predict(request)))
        return as_json(answer(await run_in_threadpool(predictor.predict, request)))

    def predict_batch(body: PredictBatch, *, leeway_synthetic: SyntheticHeader = False) -> Response:
        """Answer for up to 1,000 items, in order; an item that cannot be answered carries its `error`."""
        probe.batch_asked(len(body.items))
        items = [_validated(models.item, item, probe, is_synthetic=leeway_synthetic) for item in body.items]
        answers = iter(predictor.predict_batch([item for item in items if isinstance(item, PredictionRequest)]))
        results = [
            _result(next(answers), answer, probe) if isinstance(item, PredictionRequest) else item for item in items
        ]
        return as_json({"results": results})

    async def predict_valid_batch(requests: Sequence[PredictionRequest]) -> Response:
        probe.batch_asked(len(requests))
        return await run_in_threadpool(_answer_all, requests)

    def _answer_all(requests: Sequence[PredictionRequest]) -> Response:
        answers = predictor.predict_batch(requests)
        return as_json({"results": [_result(each, answer, probe) for each in answers]})

    # What is built from the schema cannot stand in the signatures.
    predict.__annotations__["body"] = Annotated[models.item, _body(one)]
    predict_batch.__annotations__["body"] = Annotated[models.batch, _body({"items": [one]})]
    router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        response_model=PredictionAnswer,
        route_class_override=quick_route(models.item.model_validate_json, predict, careful_with=SYNTHETIC_HEADER),
        responses=responses(400, 404, 413, 415, 422, 503),
    )
    router.add_api_route(
        "/predict/batch",
        predict_batch,
        methods=["POST"],
        response_model=BatchAnswer,
        route_class_override=quick_route(batch_reader(schema), predict_valid_batch, careful_with=SYNTHETIC_HEADER),
        responses=responses(400, 413, 415, 422, 503),
    )
    return router


def _body(example: Mapping[str, Any]) -> params.Body:
    """The request's body, with an example that works when tried in /docs."""
    return params.Body(openapi_examples={"typical": {"value": dict(example)}})


def _validated(
    model: type[PredictItem], item: object, probe: PredictionProbe, *, is_synthetic: bool
) -> PredictionRequest | dict[str, Any]:
    try:
        return model.model_validate(item).request(is_synthetic=is_synthetic)
    except ValidationError as error:
        return {"error": document(of_item(error.errors(), probe, is_synthetic=is_synthetic), probe)}


def _result(
    result: Prediction | PredictionError, answer: Callable[[Prediction], Answer], probe: PredictionProbe
) -> Answer | dict[str, Any]:
    if isinstance(result, PredictionError):
        return {"error": document(of_domain(result), probe)}
    return answer(result)


def feedback_routes(feedback: FeedbackUseCase) -> APIRouter:
    """`POST /feedback`."""
    router = APIRouter(tags=["predictions"])

    @router.post("/feedback", status_code=202, responses=responses(400, 413, 415, 422, 503))
    def accept(body: Annotated[FeedbackRequest, _body(FEEDBACK_EXAMPLE)]) -> FeedbackAnswer:
        """Tell what turned out to be true; the last label of a prediction counts."""
        feedback.accept(body.items)
        return FeedbackAnswer(accepted=len(body.items))

    return router


def operation_routes(
    card: Mapping[str, Any],
    readiness: Callable[[], Readiness],
    metrics_text: Callable[[], tuple[bytes, str]] | None,
) -> APIRouter:
    """`GET /model`, `/health/live`, `/health/ready`, and `/metrics` where it is served."""
    router = APIRouter(tags=["operation"])

    @router.get("/model")
    def model() -> dict[str, Any]:
        """The model's card: version, features with kinds and units, training figures."""
        return dict(card)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @router.get("/health/ready")
    def ready() -> Response:
        """200 where predictions are answered and recorded; `degraded` while the database is away; else 503."""
        state = readiness()
        return as_json(state.document(), 200 if state.ready else 503)

    if metrics_text is not None:

        @router.get("/metrics")
        def metrics() -> Response:
            """Metrics in Prometheus' text format."""
            body, content_type = metrics_text()
            return Response(body, media_type=content_type)

    return router
