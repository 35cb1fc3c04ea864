"""Request and response models. Those with features are built from the bundle's schema: `/docs` shows each feature.

pydantic reads requests and describes responses; msgspec writes them (`response_writer`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from uuid import UUID

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    WrapValidator,
    create_model,
    model_validator,
)

from leeway.schema import (
    INT64_MAX,
    INT64_MIN,
    MAX_CATEGORY_LENGTH,
    TEXT_PATTERN,
    Feature,
    FeatureRow,
    FeatureSchema,
    Kind,
    Target,
    Task,
    class_name,
    whole,
)
from leeway.store.record import PredictionRecord
from service.core.predictor import Prediction, PredictionRequest
from service.core.readiness import Health

MAX_ITEMS = 1_000
MAX_USER_ID_LENGTH = 128
UserId: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_USER_ID_LENGTH, pattern=TEXT_PATTERN)]
TYPES: dict[Kind, type[float | bool | str]] = {"number": float, "integer": int, "flag": bool, "category": str}
"""The types of features' values, missing ones aside."""


class Strict(BaseModel):
    """Base of request models: no unknown fields, no silent conversion, no NaN or Infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


# --- predictions ------------------------------------------------------------------------------------------------------


class Features(Strict):
    """Base of the model that `prediction_models` builds, with a field for each feature, under the feature's name."""

    def row(self) -> FeatureRow:
        """The values, in the schema's order."""
        return tuple(self.__dict__.values())


def _one_of_two(schema: dict[str, Any]) -> None:
    """State in a request's JSON schema that exactly one of its two members is given; the other may be null."""
    members = {name: member.pop("anyOf")[0] | member for name, member in schema.pop("properties").items()}
    del schema["type"], schema["additionalProperties"]
    schema["oneOf"] = [
        {
            "title": f"By {name}",
            "type": "object",
            "required": [name],
            "properties": {other: member if other == name else {"type": "null"} for other, member in members.items()},
            "additionalProperties": False,
        }
        for name in members
    ]


class PredictItem(Strict):
    """What to predict for: exactly one of `user_id` and `features`."""

    model_config = ConfigDict(json_schema_extra=_one_of_two)

    user_id: UserId | None = Field(None, description="A customer; the newest feature snapshot is used")
    features: Features | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.user_id is None) == (self.features is None):
            raise ValueError("must contain exactly one of user_id and features")
        return self

    def request(self, *, is_synthetic: bool = False) -> PredictionRequest:
        """The same as a request to the use case."""
        return PredictionRequest(self.user_id, None if self.features is None else self.features.row(), is_synthetic)


class PredictBatch(Strict):
    """Up to 1,000 items. Each is validated on its own: an invalid item does not affect the others."""

    items: list[Any]


class ModelRef(BaseModel):
    """The model that answered."""

    name: str
    version: str


TraceId: TypeAlias = Annotated[
    str | None, Field(description="32 hex digits; null if telemetry is off", json_schema_extra={"examples": [None]})
]


class Subject(BaseModel):
    """Whom a prediction is for."""

    user_id: str | None


class PredictionResponse(BaseModel):
    """A prediction. `prediction_models` puts its subject and what the model's task answers with in front."""

    features_used: dict[str, Any] = Field(description="The features that were scored, by name")
    as_of: Annotated[str, WithJsonSchema({"type": "string", "format": "date"})] | None = Field(
        description="Date of the snapshot; null if the request contained features"
    )
    model: ModelRef
    prediction_id: Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})] = Field(
        description="UUIDv7; send it with the label to POST /feedback"
    )
    recorded: bool = Field(description="Whether this prediction will reach the database")
    trace_id: TraceId


class InvalidField(BaseModel):
    """One invalid field."""

    field: str
    reason: str


class ProblemDocument(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(description="The kind of problem, for programs", json_schema_extra={"format": "uri"})
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do, for people")
    errors: list[InvalidField] = Field([], description="The invalid fields")
    trace_id: TraceId


class FailedItem(BaseModel):
    """An item of a batch that could not be answered."""

    error: ProblemDocument


class BatchResponse(BaseModel):
    """The answers, in the order of the items."""

    results: list[PredictionResponse | FailedItem]


@dataclass(frozen=True)
class PredictionModels:
    """The request and response models of one feature schema."""

    item: type[PredictItem]
    batch: type[PredictBatch]
    response: type[PredictionResponse]
    batch_response: type[BatchResponse]


def prediction_models(schema: FeatureSchema) -> PredictionModels:
    """Build the request and response models of `schema` and its target."""
    fields: dict[str, Any] = {f"f{place}": _field(each) for place, each in enumerate(schema)}  # names are aliases
    features: Any = create_model("Features", __base__=Features, __doc__="Every feature of the model.", **fields)
    item: Any = _like(PredictItem, "PredictRequest", features=(features | None, None))
    unvalidated = Annotated[item, WrapValidator(lambda value, _validate: value)]  # in the schema, but validated later
    items = Annotated[list[unvalidated], Field(min_length=1, max_length=MAX_ITEMS)]
    batch = _like(PredictBatch, "BatchRequest", items=(items, ...))
    used = Field(description="The features that were scored")
    answer = _like(Subject, "Answer", **_answer_fields(schema.target))
    response: Any = create_model(
        "PredictionResponse",
        __base__=(PredictionResponse, answer),
        __doc__="A prediction.",
        features_used=(features, used),
    )
    batch_response = _like(BatchResponse, "BatchResponse", results=(list[response | FailedItem], ...))
    return PredictionModels(item, batch, response, batch_response)


def _answer_fields(target: Target) -> dict[str, Any]:
    """What the response has for the target's task, each with its exact JSON schema."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    predicted: dict[str, Any]
    if target.task == "regression":
        predicted = {"type": "number", "format": "double", "description": f"The predicted {target.name}"}
        return {"prediction": (Annotated[float, WithJsonSchema(predicted)], ...)}
    predicted = {"enum": list(target.classes), "description": f"The predicted class of {target.name}"}
    fields = {"prediction": (Annotated[Any, WithJsonSchema(predicted)], ...)}
    if target.positive is not None:
        positive = {**share, "description": f"Probability of the positive class, {class_name(target.positive)}"}
        return fields | {"probability": (Annotated[float, WithJsonSchema(positive)], ...)}
    shares = {
        "type": "object",
        "properties": dict.fromkeys(target.class_names, share),
        "required": list(target.class_names),
        "additionalProperties": False,
        "description": "Probability of each class; the greatest is that of the prediction",
    }
    return fields | {"probabilities": (Annotated[dict[str, float], WithJsonSchema(shares)], ...)}


def _like(base: type[BaseModel], name: str, **fields: Any) -> Any:  # noqa: ANN401 (a class that is made at run time)
    """A model like `base` in which these fields replace its own."""
    return create_model(name, __base__=base, __doc__=base.__doc__, **fields)


def _field(feature: Feature) -> tuple[Any, Any]:
    kind: Any = Annotated[TYPES[feature.kind], Field(**limits(feature))]
    if feature.kind == "integer":
        kind = Annotated[kind, BeforeValidator(whole)]
    info: Any = Field(
        default=None if feature.nullable else ...,
        alias=feature.name,
        title=feature.name,
        description=_description(feature),
        json_schema_extra=partial(_complete, feature),
    )
    return (kind | None if feature.nullable else kind, info)


def limits(feature: Feature) -> dict[str, Any]:
    """The valid limits of a feature's values, as pydantic and msgspec both call them."""
    if feature.kind == "number":
        return {"ge": feature.minimum, "le": feature.maximum}
    if feature.kind == "integer":
        return {
            "ge": INT64_MIN if feature.minimum is None else math.ceil(feature.minimum),
            "le": INT64_MAX if feature.maximum is None else math.floor(feature.maximum),
        }
    if feature.kind == "category":
        return {"min_length": 1, "max_length": MAX_CATEGORY_LENGTH, "pattern": TEXT_PATTERN}
    return {}


def _complete(feature: Feature, schema: dict[str, Any]) -> None:
    """Add the unit and the width of numbers to a feature's JSON schema."""
    if feature.unit:
        schema["x-unit"] = feature.unit
    if width := {"number": "double", "integer": "int64"}.get(feature.kind):
        (schema["anyOf"][0] if feature.nullable else schema)["format"] = width


def with_exact_limits(document: dict[str, Any], schema: FeatureSchema) -> dict[str, Any]:
    """The OpenAPI document with exact limits of integers: FastAPI makes them floats, which rounds 64 bits."""
    properties = document["components"]["schemas"]["Features"]["properties"]
    for feature in schema:
        if feature.kind == "integer":
            shown = properties[feature.name]
            exact = limits(feature)
            (shown["anyOf"][0] if feature.nullable else shown).update(minimum=exact["ge"], maximum=exact["le"])
    return document


def _description(feature: Feature) -> str:
    seen = feature.seen
    parts = [feature.description or feature.kind]
    if feature.unit:
        parts.append(f"unit {feature.unit}")
    if seen.categories:
        parts.append(f"seen in training: {', '.join(seen.categories[:20])}")
    elif seen.minimum is not None and feature.kind != "flag":
        parts.append(f"seen in training: {seen.minimum:g} to {seen.maximum:g}")
    return "; ".join(parts)


_ANSWER: Final[dict[Task, tuple[str, ...]]] = {
    "binary": ("prediction", "probability"),
    "multiclass": ("prediction", "probabilities"),
    "regression": ("prediction",),
}
"""The members of a response that depend on the task."""


def response_writer(schema: FeatureSchema, model: Mapping[str, str]) -> Callable[[Prediction], msgspec.Struct]:
    """A function from a prediction by `model` (name and version), for features of `schema`, to its response.

    Its members are those of `PredictionResponse`, as msgspec writes them.
    """
    target = schema.target
    features_used = msgspec.defstruct(
        "FeaturesUsed",
        [f"f{place}" for place in range(len(schema))],
        rename={f"f{place}": name for place, name in enumerate(schema.names)},
        gc=False,
    )
    rest = ("features_used", "as_of", "model", "prediction_id", "recorded", "trace_id")
    made = msgspec.defstruct("Response", ["user_id", *_ANSWER[target.task], *rest], gc=False)

    def answer(record: PredictionRecord) -> tuple[object, ...]:
        if target.task == "binary":
            return record.prediction, record.score
        if target.task == "multiclass":
            return record.prediction, dict(zip(target.class_names, record.probabilities, strict=True))
        return (record.prediction,)

    def response(prediction: Prediction) -> msgspec.Struct:
        record = prediction.record
        return made(
            record.user_id,
            *answer(record),
            features_used(*record.features),
            record.as_of,
            model,
            record.prediction_id,
            prediction.recorded,
            prediction.trace_id,
        )

    return response


# --- feedback ---------------------------------------------------------------------------------------------------------


class Label(Strict):
    """The actual outcome of one prediction. `feedback_model` gives the label the target's type."""

    prediction_id: Annotated[UUID, Field(strict=False, description="The prediction_id of the response")]
    label: Any


class FeedbackRequest(Strict):
    """Labels of up to 1,000 predictions; the last label of a prediction counts."""

    items: Annotated[list[Label], Field(min_length=1, max_length=MAX_ITEMS)]


def feedback_model(target: Target) -> type[FeedbackRequest]:
    """The request model of labels of `target`."""
    if target.task == "regression":
        wanted: dict[str, Any] = {"type": "number", "format": "double", "description": f"The actual {target.name}"}
    else:
        also = ((0, 1) if target.kind == "flag" else (False, True)) if target.takes_flags else ()
        positive = "" if target.positive is None else f"; {class_name(target.positive)} is the positive one"
        described = f"The actual class of {target.name}{positive}"
        wanted = {"enum": [*target.classes, *also], "description": described}
    schema = WithJsonSchema({"title": "Label", **wanted})
    label: Any = _like(Label, "Label", label=(Annotated[Any, PlainValidator(target.label), schema], ...))
    items = Annotated[list[label], Field(min_length=1, max_length=MAX_ITEMS)]
    model: type[FeedbackRequest] = _like(FeedbackRequest, "FeedbackRequest", items=(items, ...))
    return model


class FeedbackResponse(BaseModel):
    """The number of labels that were stored."""

    accepted: int


# --- operation --------------------------------------------------------------------------------------------------------


class LivenessResponse(BaseModel):
    """The process is running."""

    status: Literal["ok"] = "ok"


class Checks(BaseModel):
    """The state of each dependency."""

    bundle: Health
    spool: Health
    database: Health
    drainer: Health


class ReadinessResponse(BaseModel):
    """Whether predictions can be answered and recorded."""

    status: Literal["ok", "degraded", "not ready"]
    checks: Checks
