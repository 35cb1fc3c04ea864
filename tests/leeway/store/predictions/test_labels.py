from __future__ import annotations

from datetime import date, datetime

import pytest
import sqlalchemy as sa

from leeway.store.bulk_insert import insert_rows
from leeway.store.predictions import PredictionLabel, PredictionLog
from leeway.store.tables import Tables
from tests.leeway.store.records import HOUR, IDS, MONTH, NOON, a_record, some_records


def add_snapshot_label(
    database: tuple[sa.Engine, Tables, PredictionLog], user_id: str, as_of: date, label: int
) -> None:
    """Put in the label of a month, as ingesting it does."""
    engine, tables, _ = database
    with engine.begin() as connection:
        insert_rows(connection, tables.snapshot_labels, ("user_id", "as_of", "label"), [(user_id, as_of, label)])


def test_the_last_label_of_a_prediction_counts(log: PredictionLog) -> None:
    """Within one call and from one call to the next."""
    log.write_batch(some_records(2))
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[0], 1), PredictionLabel(IDS[1], 1)], NOON)
    log.write_labels([PredictionLabel(IDS[1], 0)], NOON + HOUR)
    found = log.labelled("v1", 10)
    assert found.labels == [0, 1]
    assert (found.labelled_from, found.labelled_to) == (NOON, NOON + HOUR)


def test_a_label_may_come_before_its_prediction(log: PredictionLog) -> None:
    """Feedback goes straight to the database; the prediction may still wait in the spool."""
    log.write_labels([PredictionLabel(IDS[0], 1)], NOON)
    log.write_batch([a_record(0, score=0.9)])
    assert (log.labelled("v1", 10).scores, log.labelled("v1", 10).labels) == ([0.9], [1])


def test_no_labels_are_no_error(log: PredictionLog) -> None:
    """An empty list of labels is stored at once."""
    log.write_labels([], NOON)
    assert log.labelled("v1", 10).labels == []


def test_a_label_needs_an_aware_time(log: PredictionLog) -> None:
    """As everywhere."""
    with pytest.raises(ValueError, match="no time zone"):
        log.write_labels([], datetime(2026, 3, 1))  # noqa: DTZ001 (naive on purpose)


def test_the_newest_labelled_predictions_come_first(log: PredictionLog) -> None:
    """The limit counts labelled predictions only."""
    log.write_batch([a_record(number, score=number / 10) for number in range(6)])
    log.write_labels([PredictionLabel(IDS[number], 1) for number in (0, 2, 4)], NOON)
    assert log.labelled("v1", 2).scores == [0.4, 0.2]


def test_only_this_model_s_predictions_are_judged(log: PredictionLog) -> None:
    """The performance of the model before it is another matter."""
    log.write_batch([a_record(0, model_version="v0"), a_record(1)])
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[1], 1)], NOON)
    assert log.labelled("v1", 10).labels == [1]


def test_an_ingested_month_labels_what_was_predicted_from_it(
    database: tuple[sa.Engine, Tables, PredictionLog],
) -> None:
    """Same customer and same month; another month's label, or another customer's, is not taken."""
    log = database[2]
    log.write_batch([a_record(0, user_id="a"), a_record(1, user_id="b"), a_record(2, user_id=None, as_of=None)])
    add_snapshot_label(database, "a", MONTH, 1)
    add_snapshot_label(database, "b", date(2026, 1, 31), 1)
    found = log.labelled("v1", 10)
    assert (found.labels, found.labelled_from) == ([1], None)


def test_a_check_is_judged_by_nobody(database: tuple[sa.Engine, Tables, PredictionLog]) -> None:
    """Its label says nothing of how the model did for those who wanted to know."""
    log = database[2]
    log.write_batch([a_record(0, user_id="a", is_synthetic=True)])
    add_snapshot_label(database, "a", MONTH, 1)
    assert log.labelled("v1", 10).labels == []


def test_feedback_goes_before_the_month_s_label(database: tuple[sa.Engine, Tables, PredictionLog]) -> None:
    """And a prediction that has both counts once."""
    log = database[2]
    log.write_batch([a_record(0, user_id="a")])
    add_snapshot_label(database, "a", MONTH, 1)
    log.write_labels([PredictionLabel(IDS[0], 0)], NOON)
    assert log.labelled("v1", 10).labels == [0]


def test_one_outcome_counts_once(database: tuple[sa.Engine, Tables, PredictionLog]) -> None:
    """A customer asked for a thousand times from one snapshot is one label, with the last score."""
    log = database[2]
    log.write_batch([a_record(number, user_id="a", score=number / 1_000) for number in range(1_000)])
    add_snapshot_label(database, "a", MONTH, 1)
    found = log.labelled("v1", 10)
    assert (found.scores, found.labels) == ([0.999], [1])
