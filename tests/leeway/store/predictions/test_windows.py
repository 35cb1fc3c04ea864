from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.predictions import PredictionLog, PredictionLogError
from leeway.store.tables import tables_for
from tests.leeway.store.records import HOUR, IDS, NOON, OTHER_SCHEMA, a_database, a_record, some_records


def test_a_window_is_half_open(log: PredictionLog) -> None:
    """A prediction at its start is in, one at its end is in the next: none is counted twice."""
    log.write_batch([a_record(0), a_record(1, predicted_at=NOON + HOUR)])
    first, second = log.window(NOON, NOON + HOUR), log.window(NOON + HOUR, NOON + 2 * HOUR)
    assert (first.columns["prediction_id"], second.columns["prediction_id"]) == ([IDS[0]], [IDS[1]])


def test_a_window_s_times_may_be_of_any_zone(log: PredictionLog) -> None:
    """What counts is the moment."""
    east = timezone(timedelta(hours=5))
    log.write_batch([a_record(0)])
    assert log.window(NOON.astimezone(east), (NOON + HOUR).astimezone(east)).rows == 1


def test_naive_times_are_refused(log: PredictionLog) -> None:
    """Nobody can know what they mean."""
    with pytest.raises(ValueError, match="no time zone"):
        log.window(datetime(2026, 3, 1), NOON)  # noqa: DTZ001 (naive on purpose)


def test_a_subject_s_last_prediction_counts(log: PredictionLog) -> None:
    """A customer who is asked for three times is one row, the last; rows and subjects are both told."""
    log.write_batch([a_record(number, user_id="one", score=number / 10) for number in (2, 0, 1)] + [a_record(3)])
    window = log.window(NOON, NOON + HOUR)
    assert (window.rows, window.subjects, window.taken) == (4, 2, 2)
    assert sorted(window.columns["prediction_id"]) == [IDS[2], IDS[3]]


def test_a_request_without_a_customer_is_its_own_subject(log: PredictionLog) -> None:
    """Two predictions from given features are two subjects."""
    log.write_batch([a_record(number, user_id=None) for number in range(2)])
    assert log.window(NOON, NOON + HOUR).subjects == 2


def test_only_predictions_inside_the_window_are_a_subject_s_last(log: PredictionLog) -> None:
    """A later call, after the window, does not take the subject out of it."""
    log.write_batch([a_record(0, user_id="one"), a_record(1, user_id="one", predicted_at=NOON + HOUR)])
    assert log.window(NOON, NOON + HOUR).columns["prediction_id"] == [IDS[0]]


def test_a_window_s_lists_stand_side_by_side(log: PredictionLog) -> None:
    """Features keep the schema's order and Python's types; each row reads across the lists."""
    log.write_batch([a_record(0)])
    window = log.window(NOON, NOON + HOUR)
    assert list(window.features) == list(CHURN_SCHEMA.names)
    assert tuple(values[0] for values in window.features.values()) == a_record(0).features
    assert window.features["paperless_billing"][0] is True
    assert {name: values[0] for name, values in window.columns.items()} == {
        "prediction_id": IDS[0],
        "predicted_at": NOON,
        "score": 0.25,
        "prediction": 0,
        "unusual_features": 1,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
    }


def test_a_window_leaves_checks_out(log: PredictionLog) -> None:
    """Who tries whether all works moves no window: not its rows, not its subjects, not a customer's last prediction."""
    log.write_batch(
        [a_record(0, user_id="one"), a_record(1, user_id="one", is_synthetic=True), a_record(2, is_synthetic=True)]
    )
    window = log.window(NOON, NOON + HOUR)
    assert (window.rows, window.subjects, window.columns["prediction_id"]) == (1, 1, [IDS[0]])


def test_an_empty_window_has_empty_lists(log: PredictionLog) -> None:
    """A quiet night is no error."""
    window = log.window(NOON, NOON + HOUR)
    assert (window.rows, window.subjects, window.taken) == (0, 0, 0)
    assert window.features == {name: [] for name in CHURN_SCHEMA.names}


def test_a_limit_takes_the_same_subjects_every_time(log: PredictionLog) -> None:
    """A sample that changed from one reading to the next would look like drift; the counts are of the whole."""
    log.write_batch(some_records(60))
    first, second = (log.window(NOON, NOON + HOUR, 20) for _ in range(2))
    assert (first.rows, first.subjects, first.taken) == (60, 60, 20)
    assert first.columns == second.columns


def test_a_limit_takes_no_corner_of_the_window(log: PredictionLog) -> None:
    """The sample comes from the whole window, early and late."""
    log.write_batch(some_records(100))
    times = log.window(NOON, NOON + HOUR, 30).columns["predicted_at"]
    early = sum(moment < NOON + timedelta(seconds=50) for moment in times)
    assert 8 <= early <= 22


def test_a_feature_may_bear_one_of_our_names(tmp_path: Path) -> None:
    """A model with a feature called `score` has both: its feature, and our score."""
    engine, _, log = a_database(tmp_path, OTHER_SCHEMA)
    log.write_batch([a_record(0, features=(1.5, "x", 2))])
    window = log.window(NOON, NOON + HOUR, 5)
    assert window.features == {"score": [1.5], "subject": ["x"], "rows": [2]}
    assert (window.columns["score"], window.rows) == ([0.25], 1)
    engine.dispose()


def test_a_window_of_a_database_that_is_away_says_so(tmp_path: Path) -> None:
    """Reading translates the driver's errors as writing does."""
    away = PredictionLog(sa.create_engine(f"sqlite:///{tmp_path / 'gone' / 'x.db'}"), tables_for(CHURN_SCHEMA))
    with pytest.raises(PredictionLogError):
        away.window(NOON, NOON + HOUR)
