"""One answered prediction, as it goes from the answer to the spool and from there to the database."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime
from math import isfinite
from typing import Any, get_type_hints

import msgspec
import orjson
from msgspec.structs import astuple

from leeway.schema import Row

CHECK_HEADER = "leeway-check"
"""The request header that marks a prediction as a check only."""


@dataclass(slots=True)
class PredictionRecord:
    """What was asked, what was answered, when and how fast.

    Not to be changed; not frozen, because that makes making one three times as dear.

    `predicted_at` is an aware UTC time, `features` go in the order of the model's schema, `score` is a probability,
    durations are seconds. `trace_id` and `span_id` (of the server span) are None where the trace was not sampled: a
    link to it would lead nowhere. `is_check` is True where nobody wanted to know, but somebody tried whether all works:
    no drift window counts it.
    """

    prediction_id: str
    predicted_at: datetime
    model_version: str
    user_id: str | None
    as_of: date | None
    features: Row
    score: float
    prediction: int
    unusual_features: int
    lookup_duration_s: float | None
    inference_duration_s: float
    trace_id: str | None
    span_id: str | None
    is_check: bool = False

    def to_json(self) -> str:
        """One compact JSON array, the fields in their order: this is written for every answer.

        Features go without their names, which the schema has: a spool holds nearly twice as many. `is_check` is there
        only where it is True.

        Raises:
            ValueError: a value has no JSON form: a score that is no number, an integer beyond 64 bits, broken text.
        """
        if not isfinite(self.score):
            raise ValueError(f"the score is {self.score}, no probability")
        values = (
            self.prediction_id,
            self.predicted_at.timestamp(),
            self.model_version,
            self.user_id,
            None if self.as_of is None else self.as_of.isoformat(),
            self.features,
            self.score,
            self.prediction,
            self.unusual_features,
            self.lookup_duration_s,
            self.inference_duration_s,
            self.trace_id,
            self.span_id,
        )
        try:
            return orjson.dumps((*values, True) if self.is_check else values).decode()
        except TypeError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def from_json(cls, text: str) -> PredictionRecord:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is something else.
        """
        written = _decoder.decode(text)
        if isinstance(written.features, dict):  # with the features' names: so it was written once
            written.features = tuple(written.features.values())
        record = cls(*astuple(written))
        if record.predicted_at.tzinfo is None or not isinstance(record.is_check, bool):
            raise ValueError("not a prediction record: its time or its mark is none")
        return record


def _written() -> Any:  # noqa: ANN401 (a struct, made from the record's fields)
    """What `to_json` writes, for msgspec to read: the fields of a record, in their order."""
    kinds = get_type_hints(PredictionRecord) | {"features": tuple[Any, ...] | dict[str, Any], "is_check": Any}
    required = [(each.name, kinds[each.name]) for each in fields(PredictionRecord) if each.default is MISSING]
    return msgspec.defstruct("_Written", [*required, ("is_check", kinds["is_check"], False)], array_like=True, gc=False)


_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_written(), strict=False)  # not strict: a time is a number
