from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.store import retention
from leeway.store.drift_runs import DriftLog, DriftRun
from leeway.store.engine import DatabaseError, create_tables
from leeway.store.predictions import PredictionLabel, PredictionLog
from leeway.store.rejections import ANY, RejectedItems, RejectionLog
from leeway.store.retention import prune
from leeway.store.tables import Tables, tables_for
from tests.leeway.store.databases import empty_postgres
from tests.leeway.store.records import HOUR, IDS, NOON, OTHER_SCHEMA, a_record

DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, engine: sa.Engine) -> Iterator[sa.Engine]:
    """Each kind of database, empty."""
    if request.param == "sqlite":
        yield engine
    else:
        with empty_postgres() as opened:
            yield opened


def a_run(run_id: str, finished_at: datetime, model: str = "churn", share: float | None = 0.1) -> DriftRun:
    """A finished run."""
    state: dict[str, Any] = {}
    return DriftRun(
        *(run_id, finished_at, model, "v1", finished_at - HOUR, finished_at, 1, 1, share, "NO_ACTION", "NO_ACTION"),
        *("", state, state, None),
    )


def fill(database: sa.Engine, tables: Tables) -> None:
    """Five predictions a day apart with labels, an orphaned label, rejection counts, and runs of two models."""
    log = PredictionLog(database, tables)
    log.write_batch([a_record(number, predicted_at=NOON + number * DAY) for number in range(5)])
    log.write_labels([PredictionLabel(IDS[number], 1) for number in (0, 4)], NOON + 4 * DAY)
    log.write_labels([PredictionLabel(IDS[9], 1)], NOON)
    counts = [RejectedItems(NOON + number * DAY, "a", ANY, ANY, 2) for number in range(5)]
    RejectionLog(database, tables).write(counts)
    runs = DriftLog(database, tables)
    for number in range(5):
        runs.save(a_run(f"run-{number}", NOON + number * DAY, share=None if number else 0.1))
    runs.save(a_run("other", NOON, "other"))


def left(database: sa.Engine, tables: Tables) -> dict[str, set[Any]]:
    """The keys of all rows."""
    columns = {
        "predictions": tables.predictions.c.prediction_id,
        "labels": tables.prediction_labels.c.prediction_id,
        "rejections": tables.rejections.c.minute,
        "runs": tables.drift_runs.c.run_id,
    }
    with database.connect() as connection:
        return {name: set(connection.scalars(sa.select(column))) for name, column in columns.items()}


def test_what_is_older_is_deleted(database: sa.Engine, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches; the newest run of each model stays, and its newest with a result. A dry run counts the same."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    fill(database, tables)
    before = left(database, tables)
    counted = prune(database, NOON + 3 * DAY, is_dry_run=True)
    assert left(database, tables) == before
    assert counted == {"predictions": 3, "labels": 2, "rejection counts": 3, "drift runs": 2}
    assert prune(database, NOON + 3 * DAY) == counted
    assert left(database, tables) == {
        "predictions": set(IDS[3:5]),
        "labels": {IDS[4]},
        "rejections": {NOON + 3 * DAY, NOON + 4 * DAY},
        "runs": {"run-0", "run-3", "run-4", "other"},
    }
    assert not prune(database, NOON + 3 * DAY).total()


def test_other_schemas_are_pruned_too(engine: sa.Engine, tables: Tables) -> None:
    """A database may hold several models."""
    others = tables_for(OTHER_SCHEMA)
    create_tables(engine, others)
    log = PredictionLog(engine, others)
    log.write_batch([a_record(number, features=(0.5, "a", 1), predicted_at=NOON) for number in range(3)])
    assert prune(engine, NOON + DAY)["predictions"] == 3
    assert log.window(NOON, NOON + HOUR).rows == 0
    assert left(engine, tables)["predictions"] == set()


def test_an_interrupted_run_can_be_repeated(engine: sa.Engine, tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it deleted is the oldest, with its labels, and the next run deletes the rest."""
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    fill(engine, tables)
    delete, calls = retention._delete, []

    def interrupted(*args: Any) -> int:  # noqa: ANN401 (passed on)
        calls.append(args)
        if len(calls) == 4:  # in the second batch, between its labels and its predictions
            raise KeyboardInterrupt
        return delete(*args)

    monkeypatch.setattr(retention, "_delete", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prune(engine, NOON + 5 * DAY)
    assert left(engine, tables)["predictions"] == set(IDS[2:5])
    assert left(engine, tables)["labels"] == {IDS[4], IDS[9]}
    assert prune(engine, NOON + 5 * DAY)["predictions"] == 3


def test_an_empty_database_has_nothing_to_delete() -> None:
    """Before the first start there are no tables."""
    engine = sa.create_engine("sqlite://")
    assert not prune(engine, NOON)
    engine.dispose()


def test_a_naive_time_is_rejected(engine: sa.Engine) -> None:
    """It could mean any time zone."""
    with pytest.raises(ValueError, match="no time zone"):
        prune(engine, NOON.replace(tzinfo=None))


def test_an_unreachable_database_is_an_error(unreachable: sa.Engine) -> None:
    """The driver's error is translated."""
    with pytest.raises(DatabaseError):
        prune(unreachable, NOON)
