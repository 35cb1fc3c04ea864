"""Answers as msgspec writes them; `service.http.schemas.PredictionAnswer` describes them in OpenAPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from leeway.schema import FeatureSchema
from service.core.predictor import Prediction


class Answer(msgspec.Struct, gc=False):
    """The members of one answer."""

    user_id: str | None
    prediction: int
    probability: float
    features_used: Any
    as_of: date | None
    model: Mapping[str, str]
    prediction_id: str
    recorded: bool
    trace_id: str | None


def answers_of(schema: FeatureSchema, model: Mapping[str, str]) -> Callable[[Prediction], Answer]:
    """What turns a prediction by `model` (its name and version), for features of `schema`, into its answer."""
    features_used = msgspec.defstruct(
        "FeaturesUsed",
        [f"f{place}" for place in range(len(schema))],
        rename={f"f{place}": name for place, name in enumerate(schema.names)},
        gc=False,
    )

    def answer(prediction: Prediction) -> Answer:
        record = prediction.record
        return Answer(
            record.user_id,
            record.prediction,
            record.score,
            features_used(*record.features),
            record.as_of,
            model,
            record.prediction_id,
            prediction.recorded,
            prediction.trace_id,
        )

    return answer
