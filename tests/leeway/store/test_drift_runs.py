from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.drift_runs import DriftLog, DriftLogError, DriftRun
from leeway.store.engine import create_tables, open_engine
from leeway.store.tables import tables_for

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
RUN = DriftRun(
    run_id="1",
    finished_at=NOON,
    model_name="churn",
    model_version="v1",
    window_from=NOON - timedelta(minutes=15),
    window_to=NOON,
    rows=900,
    subjects=450,
    share=0.5,
    decision="RETRAIN",
    recommendation="INVESTIGATE",
    reason="Not yet confirmed.",
    result={"schema": 1, "share": 0.5},
    state={"confirmed": 1},
    trace_id=None,
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database with its tables."""
    engine = open_engine(f"sqlite:///{tmp_path / 'drift.db'}")
    create_tables(engine, tables_for(CHURN_SCHEMA))
    yield engine
    engine.dispose()


@pytest.fixture
def log(engine: sa.Engine) -> DriftLog:
    """The drift log over it."""
    return DriftLog(engine, tables_for(CHURN_SCHEMA))


def test_a_run_comes_back_as_it_was_saved(log: DriftLog) -> None:
    """Times stay aware, and the documents stay what they were."""
    log.save(RUN)
    assert log.last("churn") == RUN


def test_the_newest_run_of_the_model_is_the_last(log: DriftLog) -> None:
    """An older run and another model's do not count."""
    log.save(replace(RUN, run_id="2", finished_at=NOON + timedelta(minutes=1)))
    log.save(RUN)
    log.save(replace(RUN, run_id="3", model_name="other", finished_at=NOON + timedelta(minutes=2)))
    found = log.last("churn")
    assert found is not None
    assert found.run_id == "2"


def test_the_last_run_that_could_see_is_found_behind_blind_ones(log: DriftLog) -> None:
    """`seen` passes over runs without a share."""
    log.save(RUN)
    log.save(replace(RUN, run_id="2", finished_at=NOON + timedelta(minutes=1), share=None, recommendation="UNKNOWN"))
    found = log.last("churn", seen=True)
    assert found is not None
    assert found.run_id == "1"


def test_without_runs_there_is_no_last(log: DriftLog) -> None:
    """An empty table is no error."""
    assert log.last("churn") is None


def test_a_database_that_is_not_there_is_one_kind_of_error(tmp_path: Path) -> None:
    """The driver's error is translated once."""
    folder = tmp_path / "gone"
    engine = open_engine(f"sqlite:///{folder / 'drift.db'}")
    folder.rmdir()
    with pytest.raises(DriftLogError):
        DriftLog(engine, tables_for(CHURN_SCHEMA)).save(RUN)
    engine.dispose()
