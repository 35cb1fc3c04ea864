"""Request and response models. The features' model is built from the bundle's schema, so `/docs` shows each feature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, create_model, model_validator
from pydantic.fields import FieldInfo

from leeway.schema import INT64_MAX, INT64_MIN, MAX_CATEGORY_LENGTH, Feature, FeatureRow, FeatureSchema, Kind
from service.core.predictor import PredictionRequest

MAX_ITEMS = 1_000
MAX_USER_ID_LENGTH = 128
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
UserId: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_USER_ID_LENGTH, pattern=PRINTABLE)]
_TYPE: dict[Kind, type[float | bool | str]] = {"number": float, "integer": int, "flag": bool, "category": str}


class Strict(BaseModel):
    """No unknown fields, no silent coercion, no NaN or Infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Features(Strict):
    """Base of the model that `request_models` builds, with one field a feature under the feature's name."""

    def row(self) -> FeatureRow:
        """The values, in the schema's order."""
        return tuple(self.__dict__.values())


class PredictItem(Strict):
    """One thing to predict: exactly one of `user_id` and `features`."""

    user_id: UserId | None = Field(None, description="A customer, whose newest feature snapshot is used")
    features: Features | None = Field(None, description="The features themselves")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.user_id is None) == (self.features is None):
            raise ValueError("must hold exactly one of user_id and features")
        return self

    def request(self, *, is_synthetic: bool = False) -> PredictionRequest:
        """The same in the use case's words."""
        return PredictionRequest(self.user_id, None if self.features is None else self.features.row(), is_synthetic)


class PredictBatch(Strict):
    """Up to 1,000 things to predict. Items are validated one by one, so that a bad one fails alone."""

    items: list[Any]


@dataclass(frozen=True)
class RequestModels:
    """The request models of one feature schema."""

    item: type[PredictItem]
    batch: type[PredictBatch]


def request_models(schema: FeatureSchema) -> RequestModels:
    """Build the request models of `schema`."""
    fields: dict[str, Any] = {f"f{place}": _field(each) for place, each in enumerate(schema)}  # names are aliases
    features: Any = create_model("Features", __base__=Features, __doc__="Every feature of the model.", **fields)
    item: Any = create_model(
        "PredictRequest",
        __base__=PredictItem,
        __doc__=PredictItem.__doc__,
        features=(features | None, Field(None, description="The features themselves")),
    )
    batch: Any = create_model(
        "PredictBatchRequest",
        __base__=PredictBatch,
        __doc__=PredictBatch.__doc__,
        items=(Annotated[list[SkipValidation[item]], Field(min_length=1, max_length=MAX_ITEMS)], ...),
    )
    return RequestModels(item, batch)


def _field(feature: Feature) -> tuple[Any, FieldInfo]:
    kind = python_type(feature)
    info: FieldInfo = Field(
        default=None if feature.nullable else ...,
        alias=feature.name,
        title=feature.name,
        description=_description(feature),
        json_schema_extra=partial(_complete, feature),
        **limits(feature),
    )
    return (kind | None if feature.nullable else kind, info)


def python_type(feature: Feature) -> type[float | bool | str]:
    """The type of a feature's values that are there."""
    return _TYPE[feature.kind]


def limits(feature: Feature) -> dict[str, Any]:
    """The valid limits of a feature's values that are there, as pydantic and msgspec both call them."""
    if feature.kind == "number":
        return {"ge": feature.minimum, "le": feature.maximum}
    if feature.kind == "integer":
        return {
            "ge": INT64_MIN if feature.minimum is None else math.ceil(feature.minimum),
            "le": INT64_MAX if feature.maximum is None else math.floor(feature.maximum),
        }
    if feature.kind == "category":
        return {"min_length": 1, "max_length": MAX_CATEGORY_LENGTH, "pattern": PRINTABLE}
    return {}


def _complete(feature: Feature, schema: dict[str, Any]) -> None:
    """Add to a feature's JSON schema its unit and the width of its numbers.

    The limits of 64 bits go by the width: OpenAPI takes limits as floats, and so rounds these to what is not valid.
    """
    if feature.unit:
        schema["x-unit"] = feature.unit
    kind = schema["anyOf"][0] if feature.nullable else schema
    if feature.kind == "number":
        kind["format"] = "double"
    elif feature.kind == "integer":
        kind["format"] = "int64"
        for name, limit in (("minimum", feature.minimum), ("maximum", feature.maximum)):
            if limit is None:
                kind.pop(name)


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


class Label(Strict):
    """What turned out to be true of one prediction."""

    prediction_id: Annotated[UUID, Field(strict=False, description="As the answer gave it")]
    label: Annotated[int, Field(ge=0, le=1, description="1 or 0")]


class FeedbackRequest(Strict):
    """Labels of up to 1,000 predictions; where a prediction comes twice, the last label counts."""

    items: Annotated[list[Label], Field(min_length=1, max_length=MAX_ITEMS)]


class FeedbackAnswer(BaseModel):
    """How many labels were taken."""

    accepted: int


class ModelRef(BaseModel):
    """Which model answered."""

    name: str
    version: str


class PredictionAnswer(BaseModel):
    """An answered prediction."""

    user_id: str | None
    prediction: Literal[0, 1]
    probability: float = Field(description="Probability of the positive class")
    features_used: dict[str, Any] = Field(description="Feature name to value, as scored")
    as_of: str | None = Field(description="Date of the snapshot; null where features were given")
    model: ModelRef
    prediction_id: str = Field(description="UUIDv7; give it back with the label to POST /feedback")
    recorded: bool = Field(description="Whether this answer will reach the database")
    trace_id: str | None = Field(description="32 hex digits; null where telemetry is off")


class FailedItem(BaseModel):
    """One item of a batch that was not answered."""

    error: dict[str, Any] = Field(description="A problem document (RFC 9457)")


class BatchAnswer(BaseModel):
    """The answers, in the order of the items."""

    results: list[PredictionAnswer | FailedItem]
