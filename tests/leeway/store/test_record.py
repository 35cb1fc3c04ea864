from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
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
def test_survives_the_journey(changes: dict[str, Any]) -> None:
    """A record that goes through JSON comes back the same."""
    record = a_record(**changes)
    assert PredictionRecord.from_json(record.to_json()) == record


@pytest.mark.parametrize("microsecond", [0, 1, 123_457, 999_999])
def test_times_keep_their_microseconds(microsecond: int) -> None:
    """No rounding moves a prediction's time."""
    moment = datetime(2031, 7, 4, 23, 59, 59, microsecond, tzinfo=UTC)
    assert PredictionRecord.from_json(a_record(predicted_at=moment).to_json()).predicted_at == moment


@pytest.mark.parametrize(("mark", "is_synthetic"), [("", False), (",true", True)])
def test_a_record_of_before_is_read(mark: str, is_synthetic: bool) -> None:  # noqa: FBT001 (the parameter's value)
    """An older service wrote the time as a number, the features with their names, and the mark only of checks."""
    older = '["id",1772366400.000001,"v","u","2026-02-28",{"a":1,"b":null,"c":"x"},0.5,1,2,0.25,0.125,"t","s"' + mark
    assert PredictionRecord.from_json(f"{older}]") == PredictionRecord(
        "id",
        datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
        "v",
        "u",
        date(2026, 2, 28),
        (1, None, "x"),
        0.5,
        1,
        2,
        0.25,
        0.125,
        "t",
        "s",
        is_synthetic,
    )


def test_is_one_line() -> None:
    """The text is one line without blanks between members, whatever is in it."""
    text = a_record(features=("two\nlines",)).to_json()
    assert "\n" not in text
    assert json.loads(text)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_refuses_a_score_that_is_none(score: float) -> None:
    """A score without a JSON form is an error at once, not a text that nobody can read later."""
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
        a_record().to_json()[:-1],
        *(a_record(is_synthetic=True).to_json()[:-5] + mark for mark in ("1]", '"true"]', "null]")),
        "[" * 3_000,
        '{"a":' * 3_000,
        a_record().to_json()[:-1] + "," + "[" * 3_000,
        '["id","soon","v",null,null,{},0.5,1,0,null,0.1,null,null]',
        '["id",1e300,"v",null,null,{},0.5,1,0,null,0.1,null,null]',
        '["id",1,"v",null,"never",{},0.5,1,0,null,0.1,null,null]',
        '["id",1,"v",null,5,{},0.5,1,0,null,0.1,null,null]',
    ],
)
def test_refuses_another_text(text: str) -> None:
    """Whatever is no record is a ValueError, and nothing else."""
    with pytest.raises(ValueError, match=r"\w"):
        PredictionRecord.from_json(text)


def test_times_are_aware() -> None:
    """A record comes back with an aware UTC time."""
    assert PredictionRecord.from_json(a_record().to_json()).predicted_at.utcoffset() == timedelta(0)
