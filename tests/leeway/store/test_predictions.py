from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.bulk_insert import insert_rows
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLabel, PredictionLog, PredictionLogError, RecordRejected
from leeway.store.tables import Tables, tables_for
from tests.leeway.store.databases import empty_tables
from tests.leeway.store.records import (
    HOUR,
    IDS,
    MONTH,
    NOON,
    OTHER_SCHEMA,
    a_database,
    a_record,
    some_records,
    stored_ids,
)


def test_a_prediction_is_read_as_it_was_written(engine: sa.Engine, tables: Tables, log: PredictionLog) -> None:
    """Every column of the table holds what the record held."""
    record = a_record(3)
    log.write_batch([record])
    with engine.connect() as connection:
        row: dict[str, Any] = dict(connection.execute(sa.select(tables.predictions)).one()._mapping)
    assert tuple(row.pop(name) for name in CHURN_SCHEMA.names) == record.features
    assert row == {name: getattr(record, name) for name in row}


def test_writing_twice_stores_once(engine: sa.Engine, log: PredictionLog) -> None:
    """A batch that overlaps the stored records adds only the new ones."""
    log.write_batch(some_records(3))
    log.write_batch(some_records(5))
    assert stored_ids(engine) == IDS[:5]


@pytest.mark.parametrize(
    "changes",
    [
        {"score": None},
        {"features": CHURN_SCHEMA.row({"months_active": 2**64})},
        {"features": CHURN_SCHEMA.row({"paperless_billing": "perhaps"})},
        {"features": tuple({"not": "text"} if name == "net_service" else None for name in CHURN_SCHEMA.names)},
        {"features": CHURN_SCHEMA.row({})[1:]},
        {"predicted_at": datetime(2026, 3, 1)},  # noqa: DTZ001 (naive on purpose)
        {"user_id": "\ud800"},
    ],
    ids=["missing", "too large", "not a flag", "not text", "too few", "naive time", "not UTF-8"],
)
def test_a_record_that_can_never_be_stored_is_rejected(
    engine: sa.Engine, log: PredictionLog, changes: dict[str, Any]
) -> None:
    """The error differs from an outage, and no record of the batch is stored."""
    with pytest.raises(RecordRejected):
        log.write_batch([a_record(0), a_record(1, **changes)])
    assert stored_ids(engine) == []


def test_missing_tables_do_not_reject_the_record(tmp_path: Path) -> None:
    """It may succeed later, so the record must remain in the spool."""
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(PredictionLogError, match="no such table") as raised:
        PredictionLog(engine, tables_for(CHURN_SCHEMA)).write_batch([a_record()])
    assert not isinstance(raised.value, RecordRejected)
    engine.dispose()


def test_a_synthetic_prediction_is_marked(log: PredictionLog) -> None:
    """The mark is False for any other, and None for one that is not stored."""
    log.write_batch([a_record(0), a_record(1, is_synthetic=True)])
    assert [log.is_synthetic(prediction_id) for prediction_id in IDS[:3]] == [False, True, None]


def test_ping_returns_if_the_database_responds(log: PredictionLog) -> None:
    """A ping that raises nothing means that the log can be read."""
    log.ping()
    assert log.window(NOON, NOON + HOUR).rows == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda log: log.ping(),
        lambda log: log.window(NOON, NOON + HOUR),
        lambda log: log.labelled("v1", 1),
        lambda log: log.is_synthetic(IDS[0]),
        lambda log: log.write_batch([a_record()]),
        lambda log: log.write_labels([PredictionLabel(IDS[0], 1)], NOON),
    ],
)
def test_an_unreachable_database_is_a_prediction_log_error(
    unreachable: sa.Engine, tables: Tables, use: Callable[[PredictionLog], object]
) -> None:
    """Every method translates the driver's error; none rejects a record for it."""
    with pytest.raises(PredictionLogError, match="unable to open") as caught:
        use(PredictionLog(unreachable, tables))
    assert not isinstance(caught.value, RecordRejected)


def test_a_window_is_half_open(log: PredictionLog) -> None:
    """A prediction at its start belongs to it, one at its end to the next window: none counts twice."""
    log.write_batch([a_record(0), a_record(1, predicted_at=NOON + HOUR)])
    first, second = log.window(NOON, NOON + HOUR), log.window(NOON + HOUR, NOON + 2 * HOUR)
    assert (first.columns["prediction_id"], second.columns["prediction_id"]) == ([IDS[0]], [IDS[1]])


def test_a_window_takes_times_of_any_zone(log: PredictionLog) -> None:
    """Only the moment matters."""
    east = timezone(timedelta(hours=5))
    log.write_batch([a_record(0)])
    assert log.window(NOON.astimezone(east), (NOON + HOUR).astimezone(east)).rows == 1


def test_naive_window_times_are_rejected(log: PredictionLog) -> None:
    """A time without a zone is ambiguous."""
    with pytest.raises(ValueError, match="no time zone"):
        log.window(datetime(2026, 3, 1), NOON)  # noqa: DTZ001 (naive on purpose)


def test_only_a_subjects_last_prediction_counts(log: PredictionLog) -> None:
    """Three predictions for one customer give one row, the last; rows and subjects are both counted."""
    log.write_batch([a_record(number, user_id="one", score=number / 10) for number in (2, 0, 1)] + [a_record(3)])
    window = log.window(NOON, NOON + HOUR)
    assert (window.rows, window.subjects, window.taken) == (4, 2, 2)
    assert sorted(window.columns["prediction_id"]) == [IDS[2], IDS[3]]


def test_a_request_without_a_customer_is_its_own_subject(log: PredictionLog) -> None:
    """Two predictions from given features are two subjects."""
    log.write_batch([a_record(number, user_id=None) for number in range(2)])
    assert log.window(NOON, NOON + HOUR).subjects == 2


def test_predictions_after_the_window_do_not_matter(log: PredictionLog) -> None:
    """A later prediction does not remove the subject from the window."""
    log.write_batch([a_record(0, user_id="one"), a_record(1, user_id="one", predicted_at=NOON + HOUR)])
    assert log.window(NOON, NOON + HOUR).columns["prediction_id"] == [IDS[0]]


def test_a_windows_lists_are_aligned(log: PredictionLog) -> None:
    """Features keep the schema's order and Python's types; entries of one place belong to one row."""
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


def test_a_window_excludes_synthetic_requests(log: PredictionLog) -> None:
    """They change neither rows nor subjects nor a customer's last prediction."""
    log.write_batch(
        [a_record(0, user_id="one"), a_record(1, user_id="one", is_synthetic=True), a_record(2, is_synthetic=True)]
    )
    window = log.window(NOON, NOON + HOUR)
    assert (window.rows, window.subjects, window.columns["prediction_id"]) == (1, 1, [IDS[0]])


def test_an_empty_window_has_empty_lists(log: PredictionLog) -> None:
    """A window without predictions is not an error."""
    window = log.window(NOON, NOON + HOUR)
    assert (window.rows, window.subjects, window.taken) == (0, 0, 0)
    assert window.features == {name: [] for name in CHURN_SCHEMA.names}


def test_a_limit_samples_the_same_subjects_every_time(log: PredictionLog) -> None:
    """A sample that changed between reads would look like drift. The counts are those of the whole window."""
    log.write_batch(some_records(60))
    first, second = (log.window(NOON, NOON + HOUR, 20) for _ in range(2))
    assert (first.rows, first.subjects, first.taken) == (60, 60, 20)
    assert first.columns == second.columns


def test_a_limit_samples_the_whole_window(log: PredictionLog) -> None:
    """The sample has early and late predictions."""
    log.write_batch(some_records(100))
    times = log.window(NOON, NOON + HOUR, 30).columns["predicted_at"]
    early = sum(moment < NOON + timedelta(seconds=50) for moment in times)
    assert 8 <= early <= 22


def test_a_feature_may_have_the_name_of_our_column(tmp_path: Path) -> None:
    """The window of a model with a feature called `score` has both its feature and our score."""
    engine, _, log = a_database(tmp_path, OTHER_SCHEMA)
    log.write_batch([a_record(0, features=(1.5, "x", 2))])
    window = log.window(NOON, NOON + HOUR, 5)
    assert window.features == {"score": [1.5], "subject": ["x"], "rows": [2]}
    assert (window.columns["score"], window.rows) == ([0.25], 1)
    engine.dispose()


def add_snapshot_label(engine: sa.Engine, tables: Tables, user_id: str, as_of: date, label: int) -> None:
    """Add the label of a month, as ingest does."""
    with engine.begin() as connection:
        insert_rows(connection, tables.snapshot_labels, ("user_id", "as_of", "label"), [(user_id, as_of, label)])


def test_the_last_label_of_a_prediction_counts(log: PredictionLog) -> None:
    """This holds within one call and across calls."""
    log.write_batch(some_records(2))
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[0], 1), PredictionLabel(IDS[1], 1)], NOON)
    log.write_labels([PredictionLabel(IDS[1], 0)], NOON + HOUR)
    found = log.labelled("v1", 10)
    assert found.labels == [0, 1]
    assert (found.labelled_from, found.labelled_to) == (NOON, NOON + HOUR)


def test_a_label_may_come_before_its_prediction(log: PredictionLog) -> None:
    """Feedback bypasses the spool, where the prediction may still wait."""
    log.write_labels([PredictionLabel(IDS[0], 1)], NOON)
    log.write_batch([a_record(0, score=0.9)])
    assert (log.labelled("v1", 10).scores, log.labelled("v1", 10).labels) == ([0.9], [1])


def test_no_labels_are_not_an_error(log: PredictionLog) -> None:
    """An empty list of labels changes nothing."""
    log.write_labels([], NOON)
    assert log.labelled("v1", 10).labels == []


def test_a_label_needs_an_aware_time(log: PredictionLog) -> None:
    """A naive time is rejected."""
    with pytest.raises(ValueError, match="no time zone"):
        log.write_labels([], datetime(2026, 3, 1))  # noqa: DTZ001 (naive on purpose)


def test_the_newest_labelled_predictions_come_first(log: PredictionLog) -> None:
    """The limit counts only labelled predictions."""
    log.write_batch([a_record(number, score=number / 10) for number in range(6)])
    log.write_labels([PredictionLabel(IDS[number], 1) for number in (0, 2, 4)], NOON)
    assert log.labelled("v1", 2).scores == [0.4, 0.2]


def test_only_predictions_of_the_model_version_count(log: PredictionLog) -> None:
    """Those of an earlier version are excluded."""
    log.write_batch([a_record(0, model_version="v0"), a_record(1)])
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[1], 1)], NOON)
    assert log.labelled("v1", 10).labels == [1]


def test_an_ingested_month_labels_its_predictions(engine: sa.Engine, tables: Tables, log: PredictionLog) -> None:
    """The label must be of the same customer and the same month."""
    log.write_batch([a_record(0, user_id="a"), a_record(1, user_id="b"), a_record(2, user_id=None, as_of=None)])
    add_snapshot_label(engine, tables, "a", MONTH, 1)
    add_snapshot_label(engine, tables, "b", date(2026, 1, 31), 1)
    found = log.labelled("v1", 10)
    assert (found.labels, found.labelled_from) == ([1], None)


def test_labelled_excludes_synthetic_requests(engine: sa.Engine, tables: Tables, log: PredictionLog) -> None:
    """The label of a synthetic prediction does not count."""
    log.write_batch([a_record(0, user_id="a", is_synthetic=True)])
    add_snapshot_label(engine, tables, "a", MONTH, 1)
    assert log.labelled("v1", 10).labels == []


def test_feedback_takes_precedence_over_the_months_label(engine: sa.Engine, tables: Tables, log: PredictionLog) -> None:
    """A prediction that has both counts once."""
    log.write_batch([a_record(0, user_id="a")])
    add_snapshot_label(engine, tables, "a", MONTH, 1)
    log.write_labels([PredictionLabel(IDS[0], 0)], NOON)
    assert log.labelled("v1", 10).labels == [0]


def test_one_outcome_counts_once(engine: sa.Engine, tables: Tables, log: PredictionLog) -> None:
    """A thousand predictions from one snapshot of a customer give one label, with the last score."""
    log.write_batch([a_record(number, user_id="a", score=number / 1_000) for number in range(1_000)])
    add_snapshot_label(engine, tables, "a", MONTH, 1)
    found = log.labelled("v1", 10)
    assert (found.scores, found.labels) == ([0.999], [1])


@pytest.fixture
def postgres(postgresql: str) -> Iterator[sa.Engine]:
    """PostgreSQL with our tables."""
    with empty_tables(postgresql) as engine:
        yield engine


def test_postgresql_behaves_like_sqlite(postgres: sa.Engine) -> None:
    """COPY is idempotent and rejects the same records; windows, limits, labels and the synthetic mark read the same."""
    log = PredictionLog(postgres, tables_for(CHURN_SCHEMA))
    log.write_batch(some_records(3))
    log.write_batch([*some_records(5), a_record(5, user_id=None), a_record(6, user_id="customer-4")])
    for changes in ({"score": None}, {"features": CHURN_SCHEMA.row({"months_active": 2**64})}, {"user_id": "a\0b"}):
        with pytest.raises(RecordRejected):
            log.write_batch([a_record(7), a_record(8, **changes)])
    log.write_labels([PredictionLabel(IDS[0], 0), PredictionLabel(IDS[1], 1)], datetime.now(UTC))
    log.write_labels([PredictionLabel(IDS[0], 1)], datetime.now(UTC))
    window = log.window(NOON, NOON + HOUR, 4)
    assert (window.rows, window.subjects, window.taken) == (7, 6, 4)
    assert log.window(NOON, NOON + HOUR).features["plan_stream_tv"] == [None] * 6
    assert log.labelled("v1", 10).labels == [1, 1]
    assert stored_ids(postgres) == IDS[:7]
    log.write_batch([a_record(9, is_synthetic=True)])
    assert [log.is_synthetic(prediction_id) for prediction_id in (*IDS[:1], *IDS[8:])] == [False, None, True]
    assert log.window(NOON, NOON + HOUR).rows == 7
