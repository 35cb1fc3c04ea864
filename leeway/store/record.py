"""One answered prediction, as it goes from the answer to the spool and from there to the database."""

from __future__ import annotations

from datetime import date, datetime
from math import isfinite
from typing import Annotated

import msgspec

from leeway.schema import FeatureRow

SYNTHETIC_HEADER = "leeway-synthetic"
"""The request header that marks a prediction as a check only."""


class PredictionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was asked, what was answered, when and how fast.

    `predicted_at` is an aware UTC time, `features` go in the order of the model's schema, `score` is a probability,
    durations are seconds. `trace_id` and `span_id` (of the server span) are None where the trace was not sampled: a
    link to it would lead nowhere. `is_synthetic` is True where nobody wanted to know, but somebody tried whether all
    works: no drift window counts it.
    """

    prediction_id: str
    predicted_at: Annotated[datetime, msgspec.Meta(tz=True)]
    model_version: str
    user_id: str | None
    as_of: date | None
    features: FeatureRow
    score: float
    prediction: int
    unusual_features: int
    lookup_duration_s: float | None
    inference_duration_s: float
    trace_id: str | None
    span_id: str | None
    is_synthetic: bool = False

    def to_json(self) -> str:
        """One compact JSON array, the fields in their order: this is written for every answer.

        Features go without their names, which the schema has: a spool holds twice as many.

        Raises:
            ValueError: a value has no JSON form: a score that is no number, broken text.
        """
        if not isfinite(self.score):
            raise ValueError(f"the score is {self.score}, no probability")
        try:
            return _encoder.encode(self).decode()
        except TypeError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def from_json(cls, text: str) -> PredictionRecord:
        """Read what `to_json` wrote, now or before.

        Raises:
            ValueError: the text is something else.
        """
        try:
            try:
                return _decoder.decode(text)
            except msgspec.ValidationError:
                return msgspec.convert(_as_now(msgspec.json.decode(text)), cls)
        except RecursionError as error:
            raise ValueError("not a prediction record: it is nested too deeply") from error


def _as_now(values: object) -> object:
    """What was written before: the time as a number, in seconds, and the features with their names."""
    if not isinstance(values, list) or len(values) < len(PredictionRecord.__struct_fields__) - 1:
        return values
    prediction_id, moment, version, user_id, as_of, features, *others = values
    if isinstance(moment, float):
        moment = msgspec.convert(moment, datetime, strict=False)
    if isinstance(features, dict):
        features = list(features.values())
    return [prediction_id, moment, version, user_id, as_of, features, *others]


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(PredictionRecord)
