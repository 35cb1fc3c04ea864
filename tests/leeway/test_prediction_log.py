from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.database import create_tables, insert_rows, open_engine
from leeway.prediction_log import PredictionLabel, PredictionLog, PredictionLogError, RecordRefused
from leeway.schema import CHURN_SCHEMA
from leeway.sink import database_sink
from leeway.tables import Tables, tables_for
from tests.leeway.records import MONTH, NOON, OTHER_SCHEMA, a_database, a_record, some_records, stored_ids

HOUR = timedelta(hours=1)
IDS = [record.prediction_id for record in some_records(10)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[sa.Engine, Tables, PredictionLog]]:
    """An engine on a new SQLite file, the tables of the built-in schema, and the log on them."""
    engine, tables, log = a_database(tmp_path)
    yield engine, tables, log
    engine.dispose()


@pytest.fixture
def engine(database: tuple[sa.Engine, Tables, PredictionLog]) -> sa.Engine:
    """The engine alone."""
    return database[0]


@pytest.fixture
def log(database: tuple[sa.Engine, Tables, PredictionLog]) -> PredictionLog:
    """The log alone."""
    return database[2]


def add_snapshot_label(
    database: tuple[sa.Engine, Tables, PredictionLog], user_id: str, as_of: date, label: int
) -> None:
    """Put in the label of a month, as ingesting it does."""
    engine, tables, _ = database
    with engine.begin() as connection:
        insert_rows(connection, tables.snapshot_labels, [{"user_id": user_id, "as_of": as_of, "label": label}])


# --- writing ------------------------------------------------------------------------------------------------------


def test_a_prediction_is_read_as_it_was_written(database: tuple[sa.Engine, Tables, PredictionLog]) -> None:
    """Every column of the table holds what the record held."""
    engine, tables, log = database
    record = a_record(3)
    log.write_batch([record])
    with engine.connect() as connection:
        row: dict[str, Any] = dict(connection.execute(sa.select(tables.predictions)).one()._mapping)
    assert {name: row.pop(name) for name in record.features} == record.features
    assert row == {name: getattr(record, name) for name in row}


def test_writing_twice_stores_once(engine: sa.Engine, log: PredictionLog) -> None:
    """A batch that overlaps what is there adds only what is new."""
    log.write_batch(some_records(3))
    log.write_batch(some_records(5))
    assert stored_ids(engine) == IDS[:5]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": None},
        {"features": {"months_active": 2**64}},
        {"features": {"paperless_billing": "perhaps"}},
        {"features": {"net_service": {"not": "text"}}},
        {"predicted_at": datetime(2026, 3, 1)},  # noqa: DTZ001 (naive on purpose)
        {"user_id": "\ud800"},
    ],
    ids=["missing", "too large", "no flag", "no text", "naive time", "no UTF-8"],
)
def test_a_record_that_can_never_be_stored_is_refused(
    engine: sa.Engine, log: PredictionLog, changes: dict[str, Any]
) -> None:
    """That is told apart from a database that is away, and nothing of the batch is stored."""
    with pytest.raises(RecordRefused):
        log.write_batch([a_record(0), a_record(1, **changes)])
    assert stored_ids(engine) == []


def test_a_database_without_our_tables_is_not_the_record_s_fault(tmp_path: Path) -> None:
    """What may work later is no refusal: the record must stay in the spool."""
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(PredictionLogError, match="no such table") as raised:
        PredictionLog(engine, tables_for(CHURN_SCHEMA)).write_batch([a_record()])
    assert not isinstance(raised.value, RecordRefused)
    engine.dispose()


def test_a_check_is_told_from_a_prediction_that_was_wanted(log: PredictionLog) -> None:
    """And from one that is not there."""
    log.write_batch([a_record(0), a_record(1, is_check=True)])
    assert [log.mark(prediction_id) for prediction_id in IDS[:3]] == [False, True, None]


def test_ping_tells_whether_the_database_answers(tmp_path: Path, log: PredictionLog) -> None:
    """It is silent where it does, and raises where it does not."""
    log.ping()
    away = PredictionLog(sa.create_engine(f"sqlite:///{tmp_path / 'gone' / 'x.db'}"), tables_for(CHURN_SCHEMA))
    with pytest.raises(PredictionLogError, match="unable to open"):
        away.ping()


def test_the_sink_makes_the_tables_it_needs(tmp_path: Path) -> None:
    """A database that is new, or came back empty, gains the tables of the records' schema."""
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    sink = database_sink(engine)
    sink(CHURN_SCHEMA, [a_record(0)])
    with engine.begin() as connection:
        tables_for(CHURN_SCHEMA).metadata.drop_all(connection)
    with pytest.raises(PredictionLogError):
        sink(CHURN_SCHEMA, [a_record(1)])
    sink(CHURN_SCHEMA, [a_record(1)])
    assert stored_ids(engine) == [IDS[1]]
    engine.dispose()


# --- windows ------------------------------------------------------------------------------------------------------


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
    assert {name: values[0] for name, values in window.features.items()} == a_record(0).features
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
    log.write_batch([a_record(0, user_id="one"), a_record(1, user_id="one", is_check=True), a_record(2, is_check=True)])
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
    log.write_batch([a_record(0, features={"score": 1.5, "subject": "x", "rows": 2})])
    window = log.window(NOON, NOON + HOUR, 5)
    assert window.features == {"score": [1.5], "subject": ["x"], "rows": [2]}
    assert (window.columns["score"], window.rows) == ([0.25], 1)
    engine.dispose()


def test_a_window_of_a_database_that_is_away_says_so(tmp_path: Path) -> None:
    """Reading translates the driver's errors as writing does."""
    away = PredictionLog(sa.create_engine(f"sqlite:///{tmp_path / 'gone' / 'x.db'}"), tables_for(CHURN_SCHEMA))
    with pytest.raises(PredictionLogError):
        away.window(NOON, NOON + HOUR)


# --- labels -------------------------------------------------------------------------------------------------------


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
    log.write_batch([a_record(0, user_id="a", is_check=True)])
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


# --- PostgreSQL, where one is given -------------------------------------------------------------------------------


@pytest.fixture
def postgres() -> Iterator[sa.Engine]:
    """A PostgreSQL server with our tables, empty; they are dropped afterwards."""
    url = os.environ.get("LEEWAY_TEST_POSTGRES_URL")
    if not url:
        pytest.skip("LEEWAY_TEST_POSTGRES_URL is not set")
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    tables.metadata.drop_all(engine)
    create_tables(engine, tables)
    yield engine
    tables.metadata.drop_all(engine)
    engine.dispose()


def test_postgresql_does_the_same(postgres: sa.Engine) -> None:
    """Batches by COPY are idempotent, refuse what they must, and windows, limits and labels read the same."""
    log = PredictionLog(postgres, tables_for(CHURN_SCHEMA))
    log.write_batch(some_records(3))
    log.write_batch([*some_records(5), a_record(5, user_id=None), a_record(6, user_id="customer-4")])
    for changes in ({"score": None}, {"features": {"months_active": 2**64}}, {"user_id": "a\0b"}):
        with pytest.raises(RecordRefused):
            log.write_batch([a_record(7), a_record(8, **changes)])
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[1], 1)], datetime.now(UTC))
    log.write_labels([PredictionLabel(IDS[0], 1)], datetime.now(UTC))
    window = log.window(NOON, NOON + HOUR, 4)
    assert (window.rows, window.subjects, window.taken) == (7, 6, 4)
    assert log.window(NOON, NOON + HOUR).features["plan_stream_tv"] == [None] * 6
    assert log.labelled("v1", 10).labels == [1, 1]
    assert stored_ids(postgres) == IDS[:7]


def test_postgresql_gains_the_mark_too(postgres: sa.Engine) -> None:
    """A table of before there were checks gets its column; from then on checks are left out there as well."""
    tables = tables_for(CHURN_SCHEMA)
    log = PredictionLog(postgres, tables)
    log.write_batch(some_records(2))
    with postgres.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN is_check")
    create_tables(postgres, tables)
    log.write_batch([a_record(2, is_check=True)])
    assert [log.mark(prediction_id) for prediction_id in IDS[:3]] == [False, False, True]
    assert log.window(NOON, NOON + HOUR).rows == 2
