"""One answered prediction, as it goes to the spool and from there to the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from math import isfinite
from typing import Annotated, Final

import msgspec

from leeway.schema import FeatureRow, Label

SYNTHETIC_HEADER = "leeway-synthetic"
"""The request header that marks a synthetic request."""


class PredictionRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The request, the answer, and how long it took.

    `predicted_at` is an aware UTC time, `features` are in the order of the model's schema, durations are seconds.
    `score`, `prediction` and `probabilities` are those of `leeway.model.answers`; `probabilities` is empty but for more
    than two classes. `trace_id` and `span_id` (of the server span) are None if the trace was not sampled, because a
    link to it would lead nowhere. A synthetic request is excluded from drift windows.
    """

    prediction_id: str
    predicted_at: Annotated[datetime, msgspec.Meta(tz=True)]
    model_version: str
    user_id: str | None
    as_of: date | None
    features: FeatureRow
    score: float
    prediction: Label
    unusual_features: int
    lookup_duration_s: float | None
    inference_duration_s: float
    trace_id: str | None
    span_id: str | None
    is_synthetic: bool = False
    probabilities: tuple[float, ...] = ()

    def to_json(self) -> bytes:
        """Encode as a compact JSON array, the fields in their order.

        The features' names are left out, because the schema has them: a spool then holds twice as many records.

        Raises:
            ValueError: a value has no JSON form: the score is not finite, or a text has a lone surrogate.
        """
        return encode_all([self])[0]

    @classmethod
    def from_json(cls, text: bytes | str) -> PredictionRecord:
        """Decode what `to_json` encoded.

        Raises:
            ValueError: the text is not a prediction record.
        """
        try:
            return _decoder.decode(text)
        except RecursionError as error:
            raise ValueError("not a prediction record: it is nested too deeply") from error


def encode_all(records: Sequence[PredictionRecord]) -> list[bytes]:
    """Encode each record as `PredictionRecord.to_json` does, in less time than one by one.

    Raises:
        ValueError: a value has no JSON form.
    """
    for record in records:
        if not isfinite(record.score):
            raise ValueError(f"the score is {record.score}, not a finite number")
    encode = _encoder.encode
    try:
        return [encode(record) for record in records]
    except TypeError as error:
        raise ValueError(str(error)) from error


RECORD_COLUMNS: Final = tuple(
    name for name in PredictionRecord.__struct_fields__ if name not in {"features", "probabilities"}
)
"""The columns of a record besides its features and the probabilities of its classes."""

_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(PredictionRecord)
