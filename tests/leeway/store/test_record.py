from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leeway.store.record import PredictionRecord
from tests.leeway.store.records import a_record


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"user_id": None, "as_of": None, "lookup_duration_s": None, "trace_id": None, "span_id": None},
        {"features": ("ünïcödé 🎬", None, -(2**63), 1e-300, True)},
        {"score": 0.1 + 0.2},
        {"is_synthetic": True},
    ],
)
def test_round_trip(changes: dict[str, Any]) -> None:
    """A record that is encoded and decoded is the same."""
    record = a_record(**changes)
    assert PredictionRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("microsecond", [0, 1, 123_457, 999_999])
def test_times_keep_their_microseconds(microsecond: int) -> None:
    """No rounding changes a prediction's time, and it stays aware and in UTC."""
    moment = datetime(2031, 7, 4, 23, 59, 59, microsecond, tzinfo=UTC)
    found = PredictionRecord.from_json(a_record(predicted_at=moment).to_json()).predicted_at
    assert (found, found.utcoffset()) == (moment, timedelta(0))


def test_is_one_line() -> None:
    """The text is one line, even if a feature has line ends."""
    text = a_record(features=("two\nlines",)).to_json()
    assert b"\n" not in text
    assert json.loads(text)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_rejected(score: float) -> None:
    """A score without a JSON form is an error on encoding, not on decoding."""
    with pytest.raises(ValueError, match="score"):
        a_record(score=score).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "5",
        "null",
        "[]",
        "[1,2,3]",
        "{}",
        a_record().to_json().decode()[:-1],
        *(a_record(is_synthetic=True).to_json().decode()[:-5] + mark for mark in ("1]", '"true"]', "null]")),
        "[" * 3_000,
        '{"a":' * 3_000,
        a_record().to_json().decode()[:-1] + "," + "[" * 3_000,
        '["id","soon","v",null,null,{},0.5,1,0,null,0.1,null,null]',
        '["id",1e300,"v",null,null,{},0.5,1,0,null,0.1,null,null]',
        '["id",1,"v",null,"never",{},0.5,1,0,null,0.1,null,null]',
        '["id",1,"v",null,5,{},0.5,1,0,null,0.1,null,null]',
        '["id",1772366400.5,"v",null,null,[],0.5,1,0,null,0.1,null,null]',
        '["id","2026-03-01T12:00:00","v",null,null,[],0.5,1,0,null,0.1,null,null]',
        '["id","2026-03-01T12:00:00Z","v",null,null,{"a":1},0.5,1,0,null,0.1,null,null]',
    ],
)
def test_any_other_text_is_rejected(text: str) -> None:
    """Any other text is a ValueError."""
    with pytest.raises(ValueError, match=r"\w"):
        PredictionRecord.from_json(text)
